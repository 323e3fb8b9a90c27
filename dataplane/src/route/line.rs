//! Who waits for a place at a vendor whose credentials are all at their limits: in the order of priority, and within that of
//! arrival, on all cores together.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_shared::policy::limit::Priority;
use weir_shared::policy::queueing::Queueing;

/// Lower comes first.
type Rank = (u8, u64);

#[derive(Default)]
struct Lines {
    of: HashMap<Arc<str>, BTreeSet<Rank>>,
    /// How many of each tenant's wait.
    tenants: HashMap<Arc<str>, usize>,
    arrived: u64,
}

static LINES: Mutex<Option<Lines>> = Mutex::new(None);
/// All that wait: in calm times nobody has to lock anything to see that nobody does.
static WAITING: AtomicUsize = AtomicUsize::new(0);

fn lines() -> MutexGuard<'static, Option<Lines>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in a line. Dropped, it is given up.
#[derive(Debug)]
pub struct Standing {
    vendor: Arc<str>,
    tenant: Arc<str>,
    rank: Rank,
}

/// One tenant's part of the places.
const TENANT_PART: usize = 4;

impl Standing {
    /// `None`: too many wait already.
    pub fn take(vendor: &Arc<str>, tenant: &Arc<str>, priority: Priority, rules: &Queueing) -> Option<Self> {
        let mut lines = lines();
        let lines = lines.get_or_insert_default();
        let of_tenant = lines.tenants.get(tenant).copied().unwrap_or(0);
        if WAITING.load(Ordering::Relaxed) >= rules.length_max || of_tenant >= rules.length_max.div_ceil(TENANT_PART) {
            return None;
        }
        lines.arrived += 1;
        let rank = (u8::MAX - priority as u8, lines.arrived);
        *lines.tenants.entry(Arc::clone(tenant)).or_default() += 1;
        lines.of.entry(Arc::clone(vendor)).or_default().insert(rank);
        WAITING.fetch_add(1, Ordering::Relaxed);
        Some(Self { vendor: Arc::clone(vendor), tenant: Arc::clone(tenant), rank })
    }

    pub fn is_first(&self) -> bool {
        let lines = lines();
        let line = lines.as_ref().and_then(|lines| lines.of.get(&self.vendor));
        line.and_then(BTreeSet::first) == Some(&self.rank)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut lines = lines();
        let lines = lines.get_or_insert_default();
        if let Some(line) = lines.of.get_mut(&self.vendor) {
            line.remove(&self.rank);
            if line.is_empty() {
                lines.of.remove(&self.vendor);
            }
        }
        if let Some(count) = lines.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                lines.tenants.remove(&self.tenant);
            }
        }
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether others wait for this vendor: then nobody goes past them.
pub fn waits(vendor: &Arc<str>) -> bool {
    WAITING.load(Ordering::Relaxed) > 0 && lines().as_ref().is_some_and(|lines| lines.of.contains_key(vendor))
}

pub fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_comes_first_and_a_tenant_has_its_part() {
        let (vendor, other): (Arc<str>, Arc<str>) = ("line-test".into(), "line-other".into());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let rules = Queueing { wait_ms: 1, length_max: 8 };
        let take = |vendor: &Arc<str>, tenant: &Arc<str>, priority| Standing::take(vendor, tenant, priority, &rules);
        let low = take(&vendor, &a, Priority::Low).unwrap();
        assert!(low.is_first() && waits(&vendor) && !waits(&other));
        let normal = take(&vendor, &a, Priority::Normal).unwrap();
        assert!(take(&vendor, &a, Priority::High).is_none(), "two of eight are a quarter");
        let high = take(&vendor, &b, Priority::High).unwrap();
        let elsewhere = take(&other, &b, Priority::Low).unwrap();
        assert!(high.is_first() && !normal.is_first() && !low.is_first() && elsewhere.is_first());
        drop(high);
        assert!(normal.is_first());
        drop((normal, low));
        assert!(!waits(&vendor) && waits(&other));
        drop(elsewhere);
        assert_eq!(waiting(), 0);
    }
}
