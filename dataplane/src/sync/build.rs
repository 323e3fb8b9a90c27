//! From a snapshot to what a core works with: secrets, roots and addresses of this node.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use weir_shared::catalog::{Credential, Roots, SecretRef, Vendor};
use weir_shared::key::Pepper;
use weir_shared::sealed::SealedDraft;
use weir_shared::secret;
use weir_shared::snapshot::{Catalog, Snapshot};
use zeroize::Zeroizing;

use super::addresses::Book;
use super::credentials::{self, Kept, Work};
use crate::live::{Live, Target};
use crate::secret::Secret;
use crate::tls;
use crate::upstream::credential::{self, Found};

/// Keeps what outlives a revision: configurations (their session tickets make handshakes cheap) and rests of credentials.
pub struct Builder {
    pub pepper: Pepper,
    pub seal: [u8; 32],
    /// Where the key-encryption keys are looked for.
    state: PathBuf,
    configs: HashMap<Roots, Arc<ClientConfig>>,
    secrets: HashMap<(String, String), Known>,
}

struct Known {
    print: blake3::Hash,
    secret: Arc<Secret>,
    work: Arc<Mutex<Work>>,
}

/// What a revision turned out to be on this node.
pub struct Made {
    pub live: Live,
    /// What of it cannot be used here.
    pub warnings: Vec<String>,
    /// Credentials that have to be looked after.
    pub kept: Vec<Arc<Kept>>,
}

impl Builder {
    pub fn new(pepper: Pepper, seal: [u8; 32], state: PathBuf) -> Self {
        Self { pepper, seal, state, configs: HashMap::new(), secrets: HashMap::new() }
    }

    /// The configuration for the cores, and what of it cannot be used on this node. `Err`: a vendor cannot be reached at
    /// all the way the operator means it; then the whole revision is refused.
    pub fn build(&mut self, snapshot: Snapshot, before: Option<Arc<Snapshot>>, book: &Book) -> Result<Made, String> {
        let catalog = Arc::clone(&snapshot.catalog);
        let (pepper, seal) = (self.pepper.clone(), self.seal);
        let snapshot = Arc::new(snapshot);
        let live = Live { snapshot, before, targets: Vec::with_capacity(catalog.vendors.len()), pepper, seal };
        let mut made = Made { live, warnings: Vec::new(), kept: Vec::new() };
        for place in 0..catalog.vendors.len() {
            let target = self.target(&catalog, place, book, &mut made)?;
            made.live.targets.push(target);
        }
        Ok(made)
    }

    fn target(&mut self, catalog: &Arc<Catalog>, place: usize, book: &Book, made: &mut Made) -> Result<Target, String> {
        let vendor = &catalog.vendors[place];
        let tls = match vendor.base.tls {
            false => None,
            true => {
                let name = ServerName::try_from(vendor.base.host.to_string()).map_err(|_| {
                    format!("vendor {}: its host is no name that a certificate could hold", vendor.name)
                })?;
                Some((self.config(&vendor.roots).map_err(|why| format!("vendor {}: {why}", vendor.name))?, name))
            }
        };
        let secrets = (0..vendor.credentials.len()).map(|credential| self.secret(catalog, (place, credential), made));
        let secrets = secrets.collect();
        let reached_by = vendor.proxy.as_ref().unwrap_or(&vendor.base);
        let mut hasher = DefaultHasher::new();
        (&vendor.base.host, vendor.base.port, vendor.base.tls, &vendor.roots, &vendor.proxy, vendor.internal)
            .hash(&mut hasher);
        Ok(Target { pool: hasher.finish(), tls, secrets, addresses: book.of(&reached_by.host) })
    }

    fn config(&mut self, roots: &Roots) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.configs.get(roots) {
            return Ok(Arc::clone(config));
        }
        let source = match roots {
            Roots::Bundled => tls::Roots::Bundled,
            Roots::System => tls::Roots::System,
            Roots::File(path) => tls::Roots::File(PathBuf::from(&**path)),
        };
        let config = tls::client_config(&source).map_err(|fault| format!("{}; {}", fault.what, fault.fix))?;
        // A file may change; it is read anew with every revision.
        if !matches!(roots, Roots::File(_)) {
            self.configs.insert(roots.clone(), Arc::clone(&config));
        }
        Ok(config)
    }

    /// The credential's place, with what outlives a revision: its rest, its token, and when the next one is due.
    fn secret(
        &mut self,
        catalog: &Arc<Catalog>,
        (at_vendor, at_credential): (usize, usize),
        made: &mut Made,
    ) -> Option<Arc<Secret>> {
        let vendor = &catalog.vendors[at_vendor];
        let credential = &vendor.credentials[at_credential];
        let place = (vendor.name.to_string(), credential.name.to_string());
        let sealed = match credential.secret {
            SecretRef::Sealed => match self.unsealed(&made.live.snapshot.sealed, vendor, credential) {
                Ok((secret, None)) => Some(secret),
                Ok((secret, Some(warning))) => {
                    made.warnings.push(warning);
                    Some(secret)
                }
                Err(warning) => {
                    made.warnings.push(warning);
                    return None;
                }
            },
            _ => None,
        };
        let is_kept = vendor.auth.has_tokens() || matches!(credential.secret, SecretRef::File(_));
        if is_kept {
            let config = vendor.auth.has_tokens().then(|| self.config(&vendor.roots).ok()).flatten();
            let print = print(vendor, credential, sealed.as_ref().map_or("", |sealed| sealed.as_str()));
            let known = self.secrets.get(&place).filter(|known| known.print == print);
            let (secret, work) = known.map_or_else(
                || (Arc::new(Secret::changing()), Arc::default()),
                |known| (Arc::clone(&known.secret), Arc::clone(&known.work)),
            );
            let kept = Kept::new(
                Arc::clone(&secret),
                (Arc::clone(catalog), at_vendor, at_credential),
                config,
                sealed,
                Arc::clone(&work),
            );
            kept.read();
            made.kept.push(Arc::new(kept));
            self.secrets.insert(place, Known { print, secret: Arc::clone(&secret), work });
            return Some(secret);
        }
        let text = sealed.map_or_else(|| credentials::text(&credential.secret), Ok);
        let found = text.and_then(|text| {
            let print = print(vendor, credential, &text);
            match self.secrets.get(&place).filter(|known| known.print == print) {
                Some(known) => Ok(Arc::clone(&known.secret)),
                None => match credential::read(vendor, &text)? {
                    Found::Badge(badge) => {
                        let secret = Arc::new(Secret::fixed(badge));
                        let known = Known { print, secret: Arc::clone(&secret), work: Arc::default() };
                        self.secrets.insert(place, known);
                        Ok(secret)
                    }
                    Found::Token(_) => Err("is exchanged for tokens"),
                },
            }
        });
        found
            .map_err(|why| {
                let (vendor, name, from) = (&vendor.name, &credential.name, &credential.secret);
                made.warnings.push(format!("vendor {vendor}, credential {name}: {from} {why}"));
            })
            .ok()
    }
}

type Unsealed = (Zeroizing<String>, Option<String>);

impl Builder {
    /// The secret, and what is worth a warning all the same; only a warning when there is none.
    fn unsealed(&self, all: &[SealedDraft], vendor: &Vendor, credential: &Credential) -> Result<Unsealed, String> {
        let (vendor, name) = (&*vendor.name, &*credential.name);
        let warning = |what: &str| format!("vendor {vendor}, credential {name}: its sealed secret {what}");
        let Some(sealed) = all.iter().find(|sealed| sealed.vendor == vendor && sealed.credential == name) else {
            let fix = format!("is not in the store; `weirctl vendor credential set {vendor}#{name}` puts it there");
            return Err(warning(&fix));
        };
        // Read anew each time: the keys change while nodes run.
        let ring = secret::read_keks(&self.state)?;
        let why = match ring.open(vendor, name, &sealed.current) {
            Ok(secret) => return Ok((secret, None)),
            Err(why) => why.to_string(),
        };
        let before = sealed.previous.as_ref().and_then(|previous| ring.open(vendor, name, previous).ok());
        match before {
            Some(secret) => Ok((secret, Some(warning(&format!("{why}; the one before it is used"))))),
            None => Err(warning(&why)),
        }
    }
}

/// What a credential comes from and how it is shown: while that is the same, it is the same credential.
fn print(vendor: &Vendor, credential: &Credential, text: &str) -> blake3::Hash {
    let told = (&vendor.auth, &vendor.signing, &credential.secret, vendor.internal);
    blake3::hash(format!("{told:?}\n{text}").as_bytes())
}
