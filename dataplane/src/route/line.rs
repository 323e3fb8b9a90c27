//! Who waits for a place at a vendor whose credentials are all at their limits: in the order of priority, and within that of
//! arrival, on all cores together. Who may use other credentials there stands in another line.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_shared::catalog::Vendor;
use weir_shared::policy::limit::Priority;
use weir_shared::policy::queueing::Queueing;
use weir_shared::snapshot::Key;

use crate::live::Live;

/// What is waited for: a vendor's places, as far as they are for the same ones.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Line {
    vendor: Arc<str>,
    crowd: Crowd,
}

/// Who may use the same credentials of a vendor.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Crowd {
    All,
    /// A tenant that uses its own credentials alone.
    Tenant(Arc<str>),
}

impl Line {
    pub fn of(vendor: &Vendor, key: &Key) -> Self {
        let mut shared = vendor.credentials.iter().filter(|credential| credential.tenant.is_none());
        let uses_shared = shared.any(|credential| key.tenant.round_of(credential).is_some());
        let crowd = if uses_shared { Crowd::All } else { Crowd::Tenant(Arc::clone(&key.tenant.name)) };
        Self { vendor: Arc::clone(&vendor.name), crowd }
    }
}

/// Lower comes first.
type Rank = (u8, u64);

/// Who has stood in line, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Stood {
    rank: Rank,
    pub since_ms: u64,
}

#[derive(Default)]
struct Lines {
    of: HashMap<Line, BTreeSet<Rank>>,
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
    line: Line,
    tenant: Arc<str>,
    rank: Rank,
}

/// Who looks often whether it is its turn.
const FRONT: usize = 16;

/// One tenant's part of the places.
const TENANT_PART: usize = 4;

impl Standing {
    /// `None`: too many wait already.
    /// Who has stood there before is where it was.
    pub fn take(
        line: Line,
        tenant: &Arc<str>,
        priority: Priority,
        rules: &Queueing,
        stood: Option<Stood>,
    ) -> Option<Self> {
        let mut lines = lines();
        let lines = lines.get_or_insert_default();
        let of_tenant = lines.tenants.get(tenant).copied().unwrap_or(0);
        if WAITING.load(Ordering::Relaxed) >= rules.length_max || of_tenant >= rules.length_max.div_ceil(TENANT_PART) {
            return None;
        }
        lines.arrived += 1;
        let rank = stood.map_or((u8::MAX - priority as u8, lines.arrived), |stood| stood.rank);
        *lines.tenants.entry(Arc::clone(tenant)).or_default() += 1;
        lines.of.entry(line.clone()).or_default().insert(rank);
        WAITING.fetch_add(1, Ordering::Relaxed);
        Some(Self { line, tenant: Arc::clone(tenant), rank })
    }

    /// Whose places are waited for.
    pub fn vendor<'l>(&self, live: &'l Live) -> Option<&'l Vendor> {
        live.snapshot.catalog.vendors.iter().find(|vendor| vendor.name == self.line.vendor)
    }

    pub fn stood(&self, since_ms: u64) -> Stood {
        Stood { rank: self.rank, since_ms }
    }

    /// Whether it is its turn to look for a place. One after the other: two who look at once would both go for the same one.
    pub fn turn(&self) -> Turn {
        let lines = lines();
        let Some(line) = lines.as_ref().and_then(|lines| lines.of.get(&self.line)) else { return Turn::Look };
        match line.iter().take(FRONT).position(|rank| *rank == self.rank) {
            Some(0) => Turn::Look,
            Some(_) => Turn::Soon,
            None => Turn::Later,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    Look,
    Soon,
    Later,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut lines = lines();
        let lines = lines.get_or_insert_default();
        if let Some(line) = lines.of.get_mut(&self.line) {
            line.remove(&self.rank);
            if line.is_empty() {
                lines.of.remove(&self.line);
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

/// Whether others wait in this line: then nobody goes past them.
pub fn waits(line: &Line) -> bool {
    waiting() > 0 && lines().as_ref().is_some_and(|lines| lines.of.contains_key(line))
}

pub fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_comes_first_and_a_tenant_has_its_part() {
        let line = |vendor: &str| Line { vendor: vendor.into(), crowd: Crowd::All };
        let (vendor, other) = (line("line-test"), line("line-other"));
        let tenants: Vec<Arc<str>> = (0..8).map(|number| format!("tenant {number}").into()).collect();
        let rules = Queueing { wait_ms: 1, length_max: 8 * FRONT };
        let take = |line: &Line, tenant: usize, priority| {
            Standing::take(line.clone(), &tenants[tenant], priority, &rules, None)
        };
        let low: Vec<_> = (0..FRONT).map(|at| take(&vendor, at % 4, Priority::Low).unwrap()).collect();
        let looks = |list: &[Standing]| list.iter().filter(|standing| standing.turn() == Turn::Look).count();
        assert!(low[0].turn() == Turn::Look && looks(&low) == 1 && waits(&vendor) && !waits(&other));
        let normal = take(&vendor, 5, Priority::Normal).unwrap();
        assert_eq!((normal.turn(), low[0].turn(), low[FRONT - 1].turn()), (Turn::Look, Turn::Soon, Turn::Later));
        let high: Vec<_> = (0..2 * FRONT).map(|_| take(&vendor, 6, Priority::High).unwrap()).collect();
        assert!(take(&vendor, 6, Priority::High).is_none(), "a quarter is one tenant's");
        assert_eq!((looks(&high), normal.turn()), (1, Turn::Later));
        let elsewhere = take(&other, 7, Priority::Low).unwrap();
        assert_eq!(elsewhere.turn(), Turn::Look);
        drop((high, normal, low));
        assert!(!waits(&vendor) && waits(&other));
        drop(elsewhere);
        assert_eq!(waiting(), 0);
    }
}
