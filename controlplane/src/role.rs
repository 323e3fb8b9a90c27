//! Who may do what through the admin API.

use serde::{Deserialize, Serialize};
use weir_shared::id::Digest;
use weir_shared::key::Fingerprint;

use crate::failure::Failure;
use weir_shared::fault::Exit;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads what is published and how it goes.
    Viewer,
    /// Publishes, and changes routes, keys, limits and models.
    Operator,
    /// Reads what it all cost, and changes prices and what tenants pay.
    Billing,
    /// Everything, also who may do what.
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Billing => "billing",
            Self::Admin => "admin",
        }
    }

    /// Whether this role may do what needs that one. Everybody may look.
    pub fn may(self, needed: Self) -> bool {
        self == Self::Admin || needed == Self::Viewer || self == needed
    }
}

/// Who may speak to the admin API, as the store has it: nothing in it can be shown in place of a token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenDraft {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// The only tenant that it may see and change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// BLAKE3 of the token, which is 256 random bits, or of a client's certificate.
    pub hash: Digest,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificate: bool,
    /// Seconds since 1970.
    pub created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl TokenDraft {
    pub fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// `weirctl-<id8>-<secret64>`: secret scanners can find it by its form.
const PREFIX: &str = "weirctl-";
const ID_BYTES: usize = 4;

/// A token's id, the token, and what is stored of it.
pub fn mint() -> Result<(String, String, Digest), Failure> {
    let mut random = [0; 32 + ID_BYTES];
    let failed = |error| Failure::new(Exit::Failed, format!("the system gives no random numbers: {error}"));
    getrandom::fill(&mut random).map_err(failed)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (id, secret) = (hex(&random[..ID_BYTES]), hex(&random[ID_BYTES..]));
    let text = format!("{PREFIX}{id}-{secret}");
    let hash = Digest::of(text.as_bytes());
    Ok((id, text, hash))
}

/// Whose token this is, as long as it holds. Compared by hashes, in constant time.
pub fn of_token<'t>(tokens: &'t [TokenDraft], text: &str, now: u64) -> Option<&'t TokenDraft> {
    text.strip_prefix(PREFIX)?;
    of_hash(tokens, &Digest::of(text.as_bytes()), false, now)
}

pub fn of_certificate<'t>(tokens: &'t [TokenDraft], der: &[u8], now: u64) -> Option<&'t TokenDraft> {
    of_hash(tokens, &Digest::of(der), true, now)
}

fn of_hash<'t>(tokens: &'t [TokenDraft], hash: &Digest, certificate: bool, now: u64) -> Option<&'t TokenDraft> {
    let same = |token: &&TokenDraft| Fingerprint(token.hash.0).matches(&Fingerprint(hash.0));
    tokens.iter().find(same).filter(|token| token.certificate == certificate && !token.is_over(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_may_what_they_are_for() {
        for (role, needed, may) in [
            (Role::Viewer, Role::Viewer, true),
            (Role::Viewer, Role::Operator, false),
            (Role::Operator, Role::Viewer, true),
            (Role::Operator, Role::Billing, false),
            (Role::Billing, Role::Operator, false),
            (Role::Admin, Role::Billing, true),
            (Role::Operator, Role::Admin, false),
        ] {
            assert_eq!(role.may(needed), may, "{} {}", role.name(), needed.name());
        }
    }

    #[test]
    fn a_token_is_found_by_itself_alone_and_until_it_ends() {
        let (id, text, hash) = mint().unwrap();
        let token = TokenDraft {
            id,
            name: "n".into(),
            role: Role::Viewer,
            tenant: None,
            hash,
            certificate: false,
            created: 0,
            expires: Some(10),
        };
        let all = [token.clone()];
        assert_eq!(of_token(&all, &text, 9), Some(&token));
        assert_eq!(of_token(&all, &text, 10), None);
        assert_eq!(of_token(&all, &text[..text.len() - 1], 9), None);
        assert_eq!(of_token(&all, &hash.to_string(), 9), None, "what the store has is no token");
        assert_eq!(of_certificate(&all, text.as_bytes(), 9), None);
        assert!(!serde_json::to_string(&token).unwrap().contains(&text[17..]));
    }
}
