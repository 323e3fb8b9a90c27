//! What a core works with: a snapshot, and what this node adds to it (the vendors' secrets, roots and addresses).
//!
//! It is built off the hot cores, swapped by pointer, and a request keeps the one it started with.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use weir_shared::catalog::Vendor;
use weir_shared::key::Pepper;
use weir_shared::snapshot::Snapshot;

use crate::secret::Secret;

pub struct Live {
    pub snapshot: Arc<Snapshot>,
    /// The last one with another catalog: what is refused now and was not by this one, is the new one's doing.
    pub before: Option<Arc<Snapshot>>,
    /// One for each of the snapshot's vendors, at the same place.
    pub targets: Vec<Target>,
    pub pepper: Pepper,
    pub seal: [u8; 32],
}

/// How a vendor is reached from this node.
pub struct Target {
    /// Connections may be shared by all targets with the same name for their pool.
    pub pool: u64,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// One for each credential, at the same place; `None` when its variable is missing here. What it shows may come later.
    pub secrets: Vec<Option<Arc<Secret>>>,
    pub addresses: Arc<Addresses>,
}

/// The addresses of a vendor's name, as last resolved. The last good ones stay while resolution fails.
#[derive(Default)]
pub struct Addresses(Mutex<Arc<[IpAddr]>>);

impl Addresses {
    pub fn get(&self) -> Arc<[IpAddr]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, addresses: Arc<[IpAddr]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

impl Live {
    pub fn target(&self, vendor: u32) -> (&Vendor, &Target) {
        (&self.snapshot.catalog.vendors[vendor as usize], &self.targets[vendor as usize])
    }
}

/// Where all cores look for the newest configuration: one load when nothing has changed.
#[derive(Default)]
pub struct Newest {
    generation: AtomicU64,
    live: Mutex<Option<Arc<Live>>>,
}

impl Newest {
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn get(&self) -> Option<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, live: Arc<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// Addresses that no vendor may resolve to unless the operator said `internal`: loopback, private, link-local, metadata.
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || (a == 100 && (64..128).contains(&b))
                || a == 0
                || a >= 240
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_internal(IpAddr::V4(v4));
            }
            let first = v6.segments()[0];
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_known() {
        for internal in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.9.9",
            "169.254.169.254",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "0.0.0.0",
            "100.64.0.1",
        ] {
            assert!(is_internal(internal.parse().unwrap()), "{internal}");
        }
        for public in ["8.8.8.8", "104.18.7.192", "2606:4700::1", "172.32.0.1"] {
            assert!(!is_internal(public.parse().unwrap()), "{public}");
        }
    }
}
