//! Which etcd, and as whom: what stands behind `etcd:` and in the environment.

use std::net::IpAddr;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::store::StoreError;

/// The variables that say as whom, since none of it belongs on a command line.
pub const CA: &str = "WEIR_ETCD_CA";
pub const CERT: &str = "WEIR_ETCD_CERT";
pub const KEY: &str = "WEIR_ETCD_KEY";
pub const USER: &str = "WEIR_ETCD_USER";
pub const PASSWORD: &str = "WEIR_ETCD_PASSWORD";
pub const PASSWORD_FILE: &str = "WEIR_ETCD_PASSWORD_FILE";
/// `1`: an `http://` address outside this machine is allowed, and whoever listens on the way reads and writes the policy.
pub const INSECURE: &str = "WEIR_ETCD_INSECURE";

pub struct Address {
    pub endpoints: Vec<String>,
    pub prefix: String,
    pub options: ConnectOptions,
}

const PREFIX: &str = "weir";

/// A connection on which nothing comes back is given up within both together.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));

const CONNECT: Duration = Duration::from_secs(1);

impl Address {
    /// `ENDPOINT[,ENDPOINT…][/PREFIX]`, and what the environment says.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, StoreError> {
        let (hosts, prefix) = split_prefix(text);
        let prefix = if prefix.is_empty() { PREFIX } else { prefix };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        if !prefix.bytes().all(good) || prefix.split('/').any(str::is_empty) {
            return Err(wrong(format!(
                "{prefix:?} cannot be a prefix of keys: letters, digits, -, _, . and / between them"
            )));
        }
        let endpoints: Vec<String> =
            hosts.split(',').map(|endpoint| endpoint.trim_end_matches('/').to_owned()).collect();
        let encrypted = endpoints.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
        if encrypted != 0 && encrypted != endpoints.len() {
            return Err(wrong("all endpoints of an etcd are https, or none is".into()));
        }
        for endpoint in &endpoints {
            check(endpoint, env(INSECURE).is_some_and(|value| value == "1"))?;
        }
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if encrypted > 0 {
            options = options.with_tls(tls(env)?);
        } else if [CA, CERT, KEY].iter().any(|name| env(name).is_some()) {
            return Err(wrong(format!("{CA}, {CERT} and {KEY} are for https endpoints; {text} is none")));
        }
        if let Some(user) = env(USER) {
            let password = match (env(PASSWORD), env(PASSWORD_FILE)) {
                (Some(password), _) => password,
                (None, Some(path)) => String::from_utf8(read(PASSWORD_FILE, &path)?)
                    .map_err(|_| wrong(format!("{PASSWORD_FILE} {path} is not text")))?
                    .trim_end()
                    .to_owned(),
                (None, None) => return Err(wrong(format!("{USER} is set without {PASSWORD} or {PASSWORD_FILE}"))),
            };
            options = options.with_user(user, password);
        }
        Ok(Self { endpoints, prefix: prefix.to_owned(), options })
    }
}

/// The path of the last endpoint is the prefix of all keys.
fn split_prefix(text: &str) -> (&str, &str) {
    let last = text.rfind("://").map_or(0, |at| at + 3);
    match text[last..].find('/') {
        Some(slash) => (&text[..last + slash], text[last + slash..].trim_matches('/')),
        None => (text, ""),
    }
}

fn check(endpoint: &str, insecure: bool) -> Result<(), StoreError> {
    let usage =
        || wrong(format!("{endpoint:?} is no endpoint of an etcd; write http://HOST:PORT or https://HOST:PORT"));
    let (scheme, authority) = endpoint.split_once("://").ok_or_else(usage)?;
    let (host, port) = authority.rsplit_once(':').ok_or_else(usage)?;
    let odd = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'@' | b'?' | b'#');
    if host.is_empty() || host.bytes().any(odd) || port.parse::<u16>().is_err() {
        return Err(usage());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_here || insecure => Ok(()),
        "http" => Err(wrong(format!(
            "{endpoint} is neither encrypted nor on this machine: use https://, or say {INSECURE}=1 when nobody else is on that network"
        ))),
        _ => Err(usage()),
    }
}

fn tls(env: &dyn Fn(&str) -> Option<String>) -> Result<TlsOptions, StoreError> {
    let mut tls = match env(CA) {
        Some(path) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(CA, &path)?)),
        None => TlsOptions::new().with_native_roots(),
    };
    match (env(CERT), env(KEY)) {
        (Some(cert), Some(key)) => tls = tls.identity(Identity::from_pem(read(CERT, &cert)?, read(KEY, &key)?)),
        (None, None) => {}
        _ => return Err(wrong(format!("{CERT} and {KEY} belong together; one of them is not set"))),
    }
    Ok(tls)
}

fn read(name: &str, path: &str) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(|error| wrong(format!("{name} {path} cannot be read: {error}")))
}

fn wrong(why: String) -> StoreError {
    StoreError::Refused(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<(Vec<String>, String), String> {
        let env = |name: &str| variables.iter().find(|(is, _)| *is == name).map(|(_, value)| (*value).to_owned());
        let address = Address::parse(text, &env).map_err(|error| error.to_string())?;
        Ok((address.endpoints, address.prefix))
    }

    #[test]
    fn endpoints_and_a_prefix() {
        let one = |endpoint: &str| vec![endpoint.to_owned()];
        let local = "http://127.0.0.1:2379";
        assert_eq!(parse(local, &[]), Ok((one(local), "weir".into())));
        assert_eq!(parse("http://[::1]:9/", &[]), Ok((one("http://[::1]:9"), "weir".into())));
        assert_eq!(parse("https://a.example:1/team/blue", &[]), Ok((one("https://a.example:1"), "team/blue".into())));
        let two = parse("https://a.example:1,https://b.example:2/x", &[]).unwrap();
        assert_eq!(two, (vec!["https://a.example:1".into(), "https://b.example:2".into()], "x".into()));
    }

    #[test]
    fn what_is_refused_says_what_to_do() {
        for (text, variables, word) in [
            ("", &[][..], "no endpoint"),
            ("127.0.0.1:2379", &[], "write http://"),
            ("ftp://127.0.0.1:2379", &[], "write http://"),
            ("http://127.0.0.1", &[], "write http://"),
            ("http://user@127.0.0.1:1", &[], "write http://"),
            ("http://10.0.0.1:2379", &[], "WEIR_ETCD_INSECURE=1"),
            ("http://localhost.example:2379", &[], "WEIR_ETCD_INSECURE=1"),
            ("http://127.0.0.1:1,https://a.example:2", &[], "or none is"),
            ("http://127.0.0.1:1/a//b", &[], "prefix"),
            ("http://127.0.0.1:1", &[(CA, "/ca.pem")], "https"),
            ("http://127.0.0.1:1", &[(USER, "weir")], "WEIR_ETCD_PASSWORD"),
            ("http://127.0.0.1:1", &[(USER, "weir"), (PASSWORD_FILE, "/no/such/file")], "cannot be read"),
            ("https://127.0.0.1:1", &[(CERT, "/c.pem")], "belong together"),
            ("https://127.0.0.1:1", &[(CA, "/no/such/file")], "cannot be read"),
        ] {
            let why = parse(text, variables).expect_err(text);
            assert!(why.contains(word), "{text}: {why}");
        }
        assert!(parse("http://10.0.0.1:2379", &[(INSECURE, "1")]).is_ok());
        assert!(parse("http://127.0.0.1:1", &[(USER, "weir"), (PASSWORD, "")]).is_ok());
    }
}
