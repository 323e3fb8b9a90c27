//! The server's certificates. They are read anew while connections come and go; a broken file leaves the old one in
//! place.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig, SignatureScheme};

use super::pem::{self, SetupFault};

/// TLS 1.3 and 1.2, `http/1.1` and nothing else: a caller that offers other protocols only is refused (RFC 7301,
/// 3.2), one that offers none is taken at its word that it speaks HTTP. Tickets are sealed with keys that rotate
/// every six hours.
pub fn server_config(store: Arc<CertStore>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The certificates that a server shows, by name.
#[derive(Debug)]
pub struct CertStore {
    files: Vec<KeyPairFiles>,
    /// One for one with `files`. A handshake takes the lock for as long as it takes to clone the `Arc`.
    loaded: RwLock<Arc<[Loaded]>>,
}

/// A certificate chain, leaf first, and the leaf's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a `reload` did. Pairs with a fault serve on as they were.
#[derive(Debug, Default)]
pub struct Reloaded {
    pub replaced: usize,
    pub faults: Vec<SetupFault>,
}

impl CertStore {
    /// All files must be good to begin with. The first pair serves callers that ask for no name, or for one that
    /// nobody covers.
    pub fn open(files: Vec<KeyPairFiles>) -> Result<Arc<Self>, SetupFault> {
        if files.is_empty() || files.len() > PAIRS_MAX {
            return Err(SetupFault {
                what: format!("{} TLS certificates", files.len()),
                fix: "give one to 32, each with its key",
            });
        }
        let loaded = files.iter().map(Loaded::read).collect::<Result<Arc<[_]>, _>>()?;
        Ok(Arc::new(Self { files, loaded: RwLock::new(loaded) }))
    }

    /// Read the files again. Every pair that is good and new is taken, every other one stays as it is: a certificate
    /// without its new key yet is a fault now and good at the next call. This reads files, so call it outside the
    /// data path.
    pub fn reload(&self) -> Reloaded {
        let mut done = Reloaded::default();
        let fresh = self
            .files
            .iter()
            .zip(self.now().iter())
            .map(|(files, old)| match Loaded::read(files) {
                Ok(new) if new.digest != old.digest => {
                    done.replaced += 1;
                    new
                }
                Ok(_) => old.clone(),
                Err(fault) => {
                    done.faults.push(fault);
                    old.clone()
                }
            })
            .collect();
        if done.replaced > 0 {
            *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        done
    }

    fn now(&self) -> Arc<[Loaded]> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let pairs = self.now();
        let signs = |pair: &&Loaded| pair.certified.key.choose_scheme(schemes).is_some();
        let named = name.and_then(|name| ServerName::try_from(name).ok()).and_then(|name| {
            // One certificate serves everybody; there is nothing to match.
            let covers = |pair: &&Loaded| pairs.len() > 1 && pair.covers(&name);
            pairs.iter().filter(signs).find(covers)
        });
        let chosen = named.or_else(|| pairs.iter().find(signs)).or(pairs.first());
        chosen.map(|pair| pair.certified.clone())
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED_FOR.set(name.map(Box::from));
        self.choose(name, hello.signature_schemes())
    }
}

/// The name that the ClientHello asked for which this thread has just processed.
///
/// rustls's unbuffered connection has no way to ask for it, but it calls the resolver, on the same stack.
pub(super) fn take_server_name() -> Option<Box<str>> {
    ASKED_FOR.take()
}

#[derive(Debug, Clone)]
struct Loaded {
    certified: Arc<CertifiedKey>,
    /// Of both files as they were read.
    digest: blake3::Hash,
}

impl Loaded {
    fn read(files: &KeyPairFiles) -> Result<Self, SetupFault> {
        let chain_pem = pem::read(&files.certificate)?;
        let key_pem = pem::read(&files.key)?;
        let chain = pem::certificates(&files.certificate, &chain_pem)?;
        let key = pem::private_key(&files.key, &key_pem)?;
        check_leaf(files, &chain)?;

        let provider: CryptoProvider = aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => SetupFault::of_file(
                &files.key,
                "is not the key of the first certificate in the other file",
                "write both files anew, the server's own certificate first",
            ),
            error => SetupFault::of_file(&files.key, error, "use an RSA, ECDSA or Ed25519 key in PEM"),
        })?;

        let mut digest = blake3::Hasher::new();
        digest.update(&(chain_pem.len() as u64).to_le_bytes());
        digest.update(&chain_pem).update(&key_pem);
        Ok(Self { certified: Arc::new(certified), digest: digest.finalize() })
    }

    fn covers(&self, name: &ServerName<'_>) -> bool {
        let leaf = self.certified.cert.first().map(ParsedCertificate::try_from);
        matches!(leaf, Some(Ok(leaf)) if verify_server_name(&leaf, name).is_ok())
    }
}

fn check_leaf(files: &KeyPairFiles, chain: &[CertificateDer<'_>]) -> Result<(), SetupFault> {
    match chain.first().map(ParsedCertificate::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(SetupFault::of_file(
            &files.certificate,
            "the first certificate cannot be parsed",
            "use an X.509 version 3 certificate",
        )),
    }
}

thread_local! {
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// A gateway has a handful of names, and every handshake with a name looks through all of them (about a microsecond
/// each).
const PAIRS_MAX: usize = 32;

/// TLS 1.2 callers without tickets resume from here; all others carry their state themselves. About 200 bytes each.
const SESSIONS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::SignatureScheme;

    use super::super::pair::{Ca, Pair};
    use super::*;

    #[test]
    fn a_new_certificate_is_taken_while_connections_come() {
        let ca = Ca::new();
        let files = ca.issue("a", &["localhost"]);
        let store = CertStore::open(vec![files.clone()]).unwrap();
        let server = server_config(store.clone()).unwrap();
        let client = ca.client();
        let before = shown(&store, None);
        Pair::ready(&client, &server);

        let unchanged = store.reload();
        assert_eq!((unchanged.replaced, unchanged.faults.len()), (0, 0));
        assert_eq!(shown(&store, None), before);

        ca.issue("a", &["localhost"]);
        assert_eq!(store.reload().replaced, 1);
        assert_ne!(shown(&store, None), before);
        Pair::ready(&client, &server);
    }

    #[test]
    fn a_broken_file_keeps_the_old_certificate_and_says_why() {
        let ca = Ca::new();
        let files = ca.issue("a", &["localhost"]);
        let other = ca.issue("b", &["b.example"]);
        let store = CertStore::open(vec![files.clone(), other.clone()]).unwrap();
        let server = server_config(store.clone()).unwrap();
        let before = shown(&store, None);
        let good = fs::read(&files.certificate).unwrap();

        let foreign = fs::read(&other.certificate).unwrap();
        for (broken, why) in [
            (&b""[..], "holds no certificate"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be parsed"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA", "missing section end"),
            (&good[..good.len() / 2], "missing section end"),
            (&foreign, "is not the key of"),
        ] {
            fs::write(&files.certificate, broken).unwrap();
            // The other pair is renewed all the same.
            ca.issue("b", &["b.example"]);
            let reloaded = store.reload();
            assert_eq!(reloaded.replaced, 1);
            let [fault] = &reloaded.faults[..] else { panic!("{reloaded:?}") };
            assert!(fault.what.contains(why), "{fault}");
            assert!(fault.what.contains(ca.path("a.").to_str().unwrap()), "{fault}");
            assert!(!fault.fix.is_empty());
            assert_eq!(shown(&store, None), before);
            Pair::ready(&ca.client(), &server);
        }
        fs::remove_file(&files.key).unwrap();
        fs::write(&files.certificate, &good).unwrap();
        assert_eq!(store.reload().faults.len(), 1);
        assert_eq!(shown(&store, None), before);
    }

    #[test]
    fn the_name_chooses_and_the_first_is_for_the_rest() {
        let ca = Ca::new();
        let store =
            CertStore::open(vec![ca.issue("a", &["a.example"]), ca.issue("b", &["b.example", "*.b.example"])]).unwrap();
        let first = shown(&store, Some("a.example"));
        let second = shown(&store, Some("b.example"));
        assert_ne!(first, second);
        assert_eq!(shown(&store, Some("B.example")), second);
        assert_eq!(shown(&store, Some("x.b.example")), second);
        assert_eq!(shown(&store, Some("x.y.b.example")), first);
        assert_eq!(shown(&store, Some("c.example")), first);
        assert_eq!(shown(&store, None), first);

        let server = server_config(store).unwrap();
        for host in ["a.example", "x.b.example"] {
            let mut pair = Pair::new(&ca.client(), &server, host);
            pair.shake(usize::MAX).unwrap();
            assert_eq!(pair.server.session.server_name(), Some(host));
        }
    }

    #[test]
    fn a_store_opens_with_good_files_only() {
        let ca = Ca::new();
        let good = ca.issue("a", &["localhost"]);
        let missing = KeyPairFiles { certificate: ca.path("none.pem"), key: good.key.clone() };
        let swapped = KeyPairFiles { certificate: good.certificate.clone(), key: good.certificate.clone() };
        assert!(CertStore::open(vec![]).is_err());
        assert!(CertStore::open(vec![good.clone(); PAIRS_MAX + 1]).is_err());
        let fault = CertStore::open(vec![good.clone(), missing]).unwrap_err();
        assert!(fault.what.contains("none.pem"), "{fault}");
        let fault = CertStore::open(vec![swapped]).unwrap_err();
        assert!(fault.what.contains("holds no private key"), "{fault}");
    }

    fn shown(store: &CertStore, name: Option<&str>) -> Vec<u8> {
        let chosen = store.choose(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
        chosen.cert[0].to_vec()
    }
}
