//! Idle connections to vendors, of one core. The last one used goes out first, so that the others can grow old.

use std::cell::RefCell;

use weir_shared::hash::NameMap;

use super::VendorLink;
use crate::clock;

#[derive(Default)]
pub struct Pools(RefCell<NameMap<u64, Vec<VendorLink>>>);

/// Idle connections to one vendor that a core keeps.
const IDLE_MAX: usize = 256;

impl Pools {
    pub fn take(&self, pool: u64, keepalive_ms: u64) -> Option<VendorLink> {
        let mut pools = self.0.borrow_mut();
        let idle = pools.get_mut(&pool)?;
        while let Some(mut link) = idle.pop() {
            let fresh = clock::coarse_ms().saturating_sub(link.idle_since) < keepalive_ms;
            // What a vendor says between two requests is no answer to the next one.
            if fresh && link.link.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    pub fn give(&self, mut link: VendorLink) {
        link.deadline.clear();
        link.idle_since = clock::coarse_ms();
        let mut pools = self.0.borrow_mut();
        let idle = pools.entry(link.pool).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }

    /// Closes what has been idle for too long, and what the vendor closed meanwhile.
    pub fn prune(&self, keepalive_ms: u64) {
        let now = clock::coarse_ms();
        self.0.borrow_mut().retain(|_, idle| {
            idle.retain_mut(|link| now.saturating_sub(link.idle_since) < keepalive_ms && link.link.is_quiet());
            !idle.is_empty()
        });
    }

    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
