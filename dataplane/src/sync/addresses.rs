//! Names to addresses, off the request path. What was last good stays, on disk as well, so that neither a dead resolver
//! nor a dead resolver at boot matters.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;

use super::follow::State;
use crate::live::Addresses;

/// All names that any vendor is reached by.
pub struct Book {
    file: PathBuf,
    names: Mutex<HashMap<Arc<str>, Arc<Addresses>>>,
}

/// Resolvers tell how long an answer holds; vendors' front ends move within minutes.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_secs(1);

impl Book {
    /// With the addresses of the last run.
    pub fn open(file: PathBuf) -> Self {
        let known: BTreeMap<String, Vec<IpAddr>> =
            std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let entry = |(name, list): (String, Vec<IpAddr>)| {
            let addresses = Addresses::default();
            addresses.set(list.into());
            (Arc::from(name.as_str()), Arc::new(addresses))
        };
        Self { file, names: Mutex::new(known.into_iter().map(entry).collect()) }
    }

    /// The addresses of a name; literal ones are known at once.
    pub fn of(&self, host: &Arc<str>) -> Arc<Addresses> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = names.entry(Arc::clone(host)).or_default();
        if let Ok(literal) = host.parse::<IpAddr>() {
            addresses.set([literal].into());
        }
        Arc::clone(addresses)
    }

    fn to_resolve(&self) -> Vec<(Arc<str>, Arc<Addresses>)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let named = names.iter().filter(|(host, _)| host.parse::<IpAddr>().is_err());
        named.map(|(host, addresses)| (Arc::clone(host), Arc::clone(addresses))).collect()
    }

    /// Whether every name has an address.
    pub fn is_complete(&self) -> bool {
        self.to_resolve().iter().all(|(_, addresses)| !addresses.get().is_empty())
    }

    fn save(&self) {
        let known: BTreeMap<String, Vec<IpAddr>> =
            self.to_resolve().iter().map(|(host, addresses)| (host.to_string(), addresses.get().to_vec())).collect();
        let beside = self.file.with_extension("new");
        if std::fs::write(&beside, serde_json::to_vec(&known).unwrap_or_default()).is_ok() {
            let _ = std::fs::rename(&beside, &self.file);
        }
    }
}

pub async fn keep_fresh(state: Arc<State>) {
    let Some(resolver) = TokioResolver::builder_tokio().ok().and_then(|builder| builder.build().ok()) else {
        super::say(
            "error",
            "no_resolver",
            "the system's resolver configuration cannot be read; last good addresses stay",
        );
        return;
    };
    loop {
        let mut changed = false;
        for (host, addresses) in state.book.to_resolve() {
            let found: Vec<IpAddr> = match &*host {
                // Never a question for a server (RFC 6761).
                "localhost" => vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])],
                host => match resolver.lookup_ip(format!("{}.", host.trim_end_matches('.'))).await {
                    Ok(found) => found.iter().collect(),
                    Err(_) => Vec::new(),
                },
            };
            if found.is_empty() {
                metrics::counter!("weir_resolve_failures_total").increment(1);
            } else if *addresses.get() != *found {
                addresses.set(found.into());
                changed = true;
            }
        }
        if changed {
            state.book.save();
        }
        let pause = if state.book.is_complete() { REFRESH_EVERY } else { RETRY_EVERY };
        // A new revision may bring new names.
        let _ = tokio::time::timeout(pause, state.names_changed.notified()).await;
    }
}
