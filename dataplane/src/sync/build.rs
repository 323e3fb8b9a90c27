//! From a snapshot to what a core works with: secrets, roots and addresses of this node.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use weir_shared::catalog::{AuthScheme, Credential, Roots, SecretRef, Vendor};
use weir_shared::key::Pepper;
use weir_shared::snapshot::Snapshot;

use super::addresses::Book;
use crate::live::{Live, Secret, Target};
use crate::tls;

/// Keeps what outlives a revision: configurations (their session tickets make handshakes cheap) and rests of credentials.
pub struct Builder {
    pub pepper: Pepper,
    pub seal: [u8; 32],
    configs: HashMap<Roots, Arc<ClientConfig>>,
    secrets: HashMap<(String, String), Arc<Secret>>,
}

impl Builder {
    pub fn new(pepper: Pepper, seal: [u8; 32]) -> Self {
        Self { pepper, seal, configs: HashMap::new(), secrets: HashMap::new() }
    }

    /// The configuration for the cores, and what of it cannot be used on this node. `Err`: a vendor cannot be reached at
    /// all the way the operator means it; then the whole revision is refused.
    pub fn build(&mut self, snapshot: Snapshot, book: &Book) -> Result<(Live, Vec<String>), String> {
        let mut warnings = Vec::new();
        let mut targets = Vec::with_capacity(snapshot.catalog.vendors.len());
        for vendor in &snapshot.catalog.vendors {
            targets.push(self.target(vendor, book, &mut warnings)?);
        }
        let pepper = self.pepper.clone();
        Ok((Live { snapshot, targets, pepper, seal: self.seal }, warnings))
    }

    fn target(&mut self, vendor: &Vendor, book: &Book, warnings: &mut Vec<String>) -> Result<Target, String> {
        let tls = match vendor.base.tls {
            false => None,
            true => {
                let name = ServerName::try_from(vendor.base.host.to_string()).map_err(|_| {
                    format!("vendor {}: its host is no name that a certificate could hold", vendor.name)
                })?;
                Some((self.config(&vendor.roots).map_err(|why| format!("vendor {}: {why}", vendor.name))?, name))
            }
        };
        let secrets = vendor.credentials.iter().map(|credential| self.secret(vendor, credential, warnings)).collect();
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

    fn secret(&mut self, vendor: &Vendor, credential: &Credential, warnings: &mut Vec<String>) -> Option<Arc<Secret>> {
        let place = (vendor.name.to_string(), credential.name.to_string());
        match read_secret(&credential.secret) {
            Ok(value) => {
                let known = self.secrets.get(&place).filter(|known| *known.value == *value.as_bytes());
                let secret = match known {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(Secret::new(field(vendor.auth, &value), value.into_bytes().into())),
                };
                self.secrets.insert(place, Arc::clone(&secret));
                Some(secret)
            }
            Err(why) => {
                warnings.push(format!(
                    "vendor {}, credential {}: {} {why}",
                    vendor.name, credential.name, credential.secret
                ));
                None
            }
        }
    }
}

fn field(auth: AuthScheme, value: &str) -> Box<[u8]> {
    let text = match auth {
        AuthScheme::Bearer => format!("authorization: Bearer {value}\r\n"),
        AuthScheme::XApiKey => format!("x-api-key: {value}\r\n"),
        AuthScheme::XGoogApiKey => format!("x-goog-api-key: {value}\r\n"),
    };
    text.into_bytes().into()
}

fn read_secret(from: &SecretRef) -> Result<String, &'static str> {
    let text = match from {
        SecretRef::Env(name) => std::env::var(&**name).map_err(|_| "is not set on this node")?,
        SecretRef::File(path) => std::fs::read_to_string(&**path).map_err(|_| "cannot be read on this node")?,
    };
    let value = text.lines().next().unwrap_or_default().trim();
    match value {
        "" => Err("is empty on this node"),
        value if value.len() > 8 << 10 => Err("is longer than 8 KiB"),
        value if !value.bytes().all(|byte| byte.is_ascii_graphic()) => Err("holds a character that no header may hold"),
        value => Ok(value.to_owned()),
    }
}
