//! Whom we trust towards vendors.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::pem::{self, SetupFault};

/// Roots of trust, as a vendor's entry names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's, as of this build.
    Bundled,
    /// Those of the machine.
    System,
    /// Those in a PEM file, and no others: a private CA.
    File(PathBuf),
}

impl From<&str> for Roots {
    fn from(named: &str) -> Self {
        match named {
            "bundled" => Self::Bundled,
            "system" => Self::System,
            path => Self::File(path.into()),
        }
    }
}

/// TLS 1.3 and 1.2 with rustls's own verifier, `http/1.1`, sessions resumed from a bounded store. Make one per
/// `Roots` and share it: the store comes with it. This reads files.
pub fn client_config(roots: &Roots) -> Result<Arc<ClientConfig>, SetupFault> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| SetupFault { what: error.to_string(), fix: "this build lacks its ciphers: report it" })?
        .with_root_certificates(load(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

fn load(roots: &Roots) -> Result<RootCertStore, SetupFault> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Bundled => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::System => {
            // A system's bundle may hold a few that we cannot parse; the others serve.
            let found = rustls_native_certs::load_native_certs();
            let (good, _) = store.add_parsable_certificates(found.certs);
            if good == 0 {
                let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
                return Err(SetupFault {
                    what: format!("this machine has no TLS roots{why}"),
                    fix: "install ca-certificates, set SSL_CERT_FILE, or use roots = \"bundled\"",
                });
            }
        }
        Roots::File(path) => {
            for (i, root) in pem::certificates(path, &pem::read(path)?)?.into_iter().enumerate() {
                let unfit = |error| {
                    SetupFault::of_file(path, format!("certificate {}: {error}", i + 1), "remove or replace it")
                };
                store.add(root).map_err(unfit)?;
            }
        }
    }
    Ok(store)
}

/// rustls keeps up to eight tickets of a server and counts sessions: this is 128 vendors.
const SESSIONS_MAX: usize = 8 * 128;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::pair::Ca;
    use super::*;

    #[test]
    fn the_bundle_is_there_and_names_are_read() {
        client_config(&Roots::from("bundled")).unwrap();
        assert_eq!(Roots::from("system"), Roots::System);
        assert_eq!(Roots::from("/etc/ca.pem"), Roots::File("/etc/ca.pem".into()));
    }

    #[test]
    fn a_bad_file_is_named() {
        let ca = Ca::new();
        let path = ca.path("roots.pem");
        let mut two = fs::read(ca.path("ca.pem")).unwrap();
        two.extend(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (content, why) in
            [(None, "roots.pem"), (Some(&b"hello"[..]), "no certificate"), (Some(&two), "certificate 2")]
        {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let fault = client_config(&Roots::File(path.clone())).unwrap_err();
            assert!(fault.what.contains(why) && fault.what.contains("roots.pem"), "{fault}");
        }
    }
}
