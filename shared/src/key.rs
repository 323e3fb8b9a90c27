//! A caller's key: its form, its fingerprint, and what is stored of it (never the key itself).
//!
//! `weir-<id8>-<secret43>`: the secret is 256 random bits in base64url; the id is eight letters of which the first five
//! are random and name the key, and the last three are a checksum over name and secret, so that a mistyped key is
//! refused without a look-up. Secret scanners can search for [`SCAN_PATTERN`].

use crate::fault::Source;
use crate::policy::limit::Priority;

pub const SCAN_PATTERN: &str = "weir-[a-z2-7]{8}-[A-Za-z0-9_-]{43}";
pub const TEXT_BYTES: usize = 5 + ID_BYTES + 1 + SECRET_CHARS;
pub const ID_BYTES: usize = 8;
const NAME_BYTES: usize = 5;
const SECRET_CHARS: usize = 43;

/// The public part of a key: it stands in logs, records and listings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct KeyId(pub [u8; ID_BYTES]);

impl KeyId {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; ID_BYTES] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("????????")
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The deployment's secret under which keys are hashed: a stolen store gives no usable key without it.
#[derive(Clone)]
pub struct Pepper(pub [u8; 32]);

/// A keyed hash of a whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// `None` when the text has not the form of a key, or its checksum is wrong.
    pub fn of(key: &[u8], pepper: &Pepper) -> Option<Self> {
        well_formed(key).then(|| Self(*blake3::keyed_hash(&pepper.0, key).as_bytes()))
    }

    /// In constant time: how long it takes says nothing about where two fingerprints differ.
    pub fn matches(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }

    pub fn shard(&self) -> u8 {
        self.0[0]
    }

    pub fn hex(&self) -> String {
        crate::id::Digest(self.0).to_string()
    }

    pub fn parse(hex: &str) -> Option<Self> {
        crate::id::Digest::parse(hex).map(|digest| Self(digest.0))
    }
}

/// A key that was just made: the only moment at which its text exists.
pub struct NewKey {
    pub id: KeyId,
    pub text: String,
}

/// `random` are 256 bits for the secret and 40 for the name.
pub fn mint(random: &[u8; 37]) -> NewKey {
    let secret = base64url(&random[..32]);
    let mut id = [0; ID_BYTES];
    for (letter, byte) in id.iter_mut().zip(&random[32..]) {
        *letter = ALPHABET[usize::from(byte & 31)];
    }
    let sum = checksum(&id[..NAME_BYTES], secret.as_bytes());
    id[NAME_BYTES..].copy_from_slice(&sum);
    let id = KeyId(id);
    NewKey { id, text: format!("weir-{id}-{secret}") }
}

fn well_formed(key: &[u8]) -> bool {
    let Ok(key): Result<&[u8; TEXT_BYTES], _> = key.try_into() else { return false };
    let (id, secret) = (&key[5..5 + ID_BYTES], &key[TEXT_BYTES - SECRET_CHARS..]);
    key.starts_with(b"weir-") && key[5 + ID_BYTES] == b'-' && checksum(&id[..NAME_BYTES], secret) == id[NAME_BYTES..]
}

fn checksum(name: &[u8], secret: &[u8]) -> [u8; ID_BYTES - NAME_BYTES] {
    let sum = crc32c::crc32c_append(crc32c::crc32c(name), secret);
    [0, 5, 10].map(|shift| ALPHABET[(sum >> shift) as usize & 31])
}

/// Without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(DIGITS[(word >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
    out
}

/// Lower-case base32: no letter that a person reads as another.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What the store keeps of a key.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDraft {
    pub id: String,
    /// [`Fingerprint::hex`].
    pub hash: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub tenant: String,
    /// Patterns of model names; empty means whatever the tenant may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// This key's own names for models.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub aliases: std::collections::BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "LimitsDraft::is_none")]
    pub limits: LimitsDraft,
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Seconds since 1970.
    pub created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    #[serde(default)]
    pub source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsDraft {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u32>,
}

impl LimitsDraft {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_well_formed_and_one_letter_off_is_not() {
        let key = mint(&std::array::from_fn(|i| (i * 37) as u8));
        assert_eq!(key.text.len(), TEXT_BYTES);
        let pepper = Pepper([7; 32]);
        assert!(Fingerprint::of(key.text.as_bytes(), &pepper).is_some());
        let mut refused = 0;
        for place in 5..TEXT_BYTES {
            let mut wrong = key.text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
            refused += usize::from(Fingerprint::of(&wrong, &pepper).is_none());
        }
        assert_eq!(refused, TEXT_BYTES - 5);
        assert!(Fingerprint::of(b"sk-1234", &pepper).is_none());
        assert!(Fingerprint::of(b"", &pepper).is_none());
    }

    #[test]
    fn the_pepper_matters() {
        let key = mint(&[9; 37]).text;
        let one = Fingerprint::of(key.as_bytes(), &Pepper([1; 32])).map(|f| f.hex());
        let two = Fingerprint::of(key.as_bytes(), &Pepper([2; 32])).map(|f| f.hex());
        assert!(one.is_some() && one != two);
    }
}
