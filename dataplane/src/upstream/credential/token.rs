//! Secrets that are exchanged for tokens: what the token's server is asked, and what its answer means.
//!
//! Nothing here waits or connects: whoever keeps the credentials does, off the hot cores.
//!
//! * Entra: an application's id and secret, RFC 6749 section 4.4, as
//!   learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow has it.
//! * Google: an assertion that the service account's key signs, RFC 7523, as
//!   developers.google.com/identity/protocols/oauth2/service-account has it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use weir_shared::catalog::{BaseUrl, Vendor};
use weir_shared::id::percent_encode;
use weir_shared::key::base64url;

use super::{Unusable, field, graphic};
use crate::secret::Badge;

/// A secret that tokens are asked for with.
pub struct Token {
    pub url: BaseUrl,
    way: Way,
}

enum Way {
    Entra {
        client: String,
        secret: String,
        scope: String,
    },
    Google {
        email: String,
        key_id: String,
        key: Box<KeyPair>,
        scope: String,
        /// The URL as text: what the assertion is for.
        audience: String,
    },
}

/// `tenant:client:secret`, or JSON as the cloud's own tools write it.
pub fn entra(text: &str, vendor: &Vendor) -> Result<Token, Unusable> {
    let text = text.trim();
    let (tenant, client, secret) = if text.starts_with('{') {
        let written: Application =
            serde_json::from_str(text).map_err(|_| "is no JSON with tenant, client_id and client_secret")?;
        (written.tenant, written.client, written.secret)
    } else {
        let mut words = text.lines().next().unwrap_or_default().trim().splitn(3, ':').map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(tenant), Some(client), Some(secret)) => (tenant, client, secret),
            _ => return Err("is neither tenant:client:secret nor JSON"),
        }
    };
    if tenant.is_empty() || !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err("names a tenant that is no id and no domain");
    }
    graphic(&client)?;
    graphic(&secret)?;
    let signing = &vendor.signing;
    let url = signing.token_url.as_deref().unwrap_or(ENTRA_URL).replace("{tenant}", &tenant);
    let scope = signing.scope.as_deref().unwrap_or(ENTRA_SCOPE).to_owned();
    Ok(Token { url: url_of(&url, vendor)?, way: Way::Entra { client, secret, scope } })
}

const ENTRA_URL: &str = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token";
/// All of Azure's inference endpoints take it.
const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

#[derive(Deserialize)]
struct Application {
    #[serde(alias = "tenant_id", alias = "tenantId")]
    tenant: String,
    #[serde(rename = "client_id", alias = "clientId", alias = "appId")]
    client: String,
    #[serde(rename = "client_secret", alias = "clientSecret", alias = "password")]
    secret: String,
}

/// The JSON file of a service account's key.
pub fn service_account(text: &str, vendor: &Vendor) -> Result<Token, Unusable> {
    let written: Account = serde_json::from_str(text)
        .map_err(|_| "is no JSON of a service account's key (type, client_email, private_key)")?;
    if written.kind != "service_account" {
        return Err("is JSON of another type than service_account");
    }
    let der = PrivatePkcs8KeyDer::from_pem_slice(written.private_key.as_bytes())
        .map_err(|_| "holds a private_key that is no PEM of PKCS #8")?;
    let key = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| "holds a private_key that is no RSA key")?;
    let signing = &vendor.signing;
    let audience = signing.token_url.as_deref().unwrap_or(&written.token_uri).to_owned();
    Ok(Token {
        url: url_of(&audience, vendor)?,
        way: Way::Google {
            email: written.client_email,
            key_id: written.private_key_id,
            key: Box::new(key),
            scope: signing.scope.as_deref().unwrap_or(GOOGLE_SCOPE).to_owned(),
            audience,
        },
    })
}

const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Google takes no assertion that is valid for longer.
const ASSERTION_SECONDS: u64 = 3_600;

#[derive(Deserialize)]
struct Account {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: String,
    #[serde(default = "google_url")]
    token_uri: String,
}

fn google_url() -> String {
    "https://oauth2.googleapis.com/token".into()
}

fn url_of(text: &str, vendor: &Vendor) -> Result<BaseUrl, Unusable> {
    match BaseUrl::parse(text) {
        Ok(url) if url.tls || vendor.internal => Ok(url),
        Ok(_) => Err("names a token URL without https"),
        Err(_) => Err("names a token URL that is none"),
    }
}

impl Token {
    /// The form that the token's server is sent now.
    pub fn form(&self, wall_seconds: u64) -> Result<Vec<u8>, Unusable> {
        let mut out = Vec::with_capacity(1 << 10);
        let mut pair = |name: &str, value: &str| {
            if !out.is_empty() {
                out.push(b'&');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            percent_encode(value.as_bytes(), &mut out);
        };
        match &self.way {
            Way::Entra { client, secret, scope } => {
                pair("grant_type", "client_credentials");
                pair("client_id", client);
                pair("client_secret", secret);
                pair("scope", scope);
            }
            Way::Google { email, key_id, key, scope, audience } => {
                let mut header = serde_json::json!({ "alg": "RS256", "typ": "JWT" });
                if !key_id.is_empty() {
                    header["kid"] = key_id.as_str().into();
                }
                let claims = serde_json::json!({
                    "iss": email, "scope": scope, "aud": audience,
                    "iat": wall_seconds, "exp": wall_seconds + ASSERTION_SECONDS,
                });
                let part = |value: &serde_json::Value| base64url(value.to_string().as_bytes());
                let said = format!("{}.{}", part(&header), part(&claims));
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature)
                    .map_err(|_| "cannot sign with its key")?;
                pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                pair("assertion", &format!("{said}.{}", base64url(&signature)));
            }
        }
        Ok(out)
    }
}

/// A token, and how many seconds it holds from the moment on that it was asked for.
pub struct Granted {
    pub badge: Badge,
    pub seconds: u64,
}

/// Reads what a token's server answered. An error has nothing of its words but their codes: they may repeat the secret.
pub fn read_answer(status: u16, body: &[u8], asked_at_ms: u64) -> Result<Granted, String> {
    if status != 200 {
        return Err(format!("status {status}{}", code_of(body)));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "its answer has no token in it".to_owned())?;
    let token = graphic_token(&answer.access_token).ok_or("its token cannot be sent")?;
    let seconds = match &answer.expires_in {
        None => LIFETIME_UNSAID,
        Some(Number::Is(seconds)) => *seconds,
        Some(Number::Says(text)) => text.parse().map_err(|_| "its token has no time that it holds".to_owned())?,
    };
    if seconds == 0 {
        return Err("its token has ended already".into());
    }
    let seconds = seconds.min(LIFETIME_MAX);
    // A request that leaves in the last moment still has to arrive.
    let holds_ms = seconds * 1_000 - (seconds * 100).min(MARGIN_MS_MAX);
    let badge = Badge { sign: field::bearer(token), until_ms: Some(asked_at_ms + holds_ms) };
    Ok(Granted { badge, seconds })
}

/// What a server that does not say is taken to mean: less than any of them grants.
const LIFETIME_UNSAID: u64 = 300;
const LIFETIME_MAX: u64 = 86_400;
const MARGIN_MS_MAX: u64 = 5_000;

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<Number>,
}

/// Some servers write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Is(u64),
    Says(String),
}

fn graphic_token(token: &str) -> Option<&str> {
    let good = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    good.then_some(token)
}

/// Entra's tokens with many groups in them reach 10 KiB.
const TOKEN_BYTES_MAX: usize = 24 << 10;

/// `: invalid_client AADSTS7000215`, as far as the body has such codes.
fn code_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let Ok(error) = serde_json::from_slice::<Error>(body) else { return String::new() };
    let word = |text: &str, good: fn(&u8) -> bool| text.bytes().take(40).take_while(good).count();
    let kind = &error.error[..word(&error.error, |byte| byte.is_ascii_lowercase() || *byte == b'_')];
    let number = error.error_description.find("AADSTS").map(|at| &error.error_description[at..]);
    let number =
        number.map_or("", |text| &text[..word(text, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())]);
    let words = [kind, number].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if words.is_empty() { words } else { format!(": {words}") }
}
