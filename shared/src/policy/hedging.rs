//! When a second candidate is asked although the first has not failed, and what that may cost.
//!
//! ```toml
//! [route.hedge]
//! extra_percent = 3      # what second calls may cost beyond, of what first ones are expected to
//! not_before = "100ms"   # however fast the first one is as a rule
//! ```
//!
//! `at_once = true` in their place is a race: the first two are asked together, whatever it costs.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::resilience::Wrong;
use super::time;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HedgeDraft {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<bool>,
}

/// Of one route, shared by the cores of a node. It starts with nothing saved up: a new revision spends no more than the
/// one before.
#[derive(Debug)]
pub struct Hedge {
    pub extra_percent: u32,
    pub not_before_ms: u64,
    /// Two are asked together.
    pub at_once: bool,
    /// In hundredths of a nano-dollar.
    saved: AtomicU64,
}

/// Nobody needs more, and more would no longer be a hedge.
const PERCENT_MAX: u32 = 100;
/// What a quiet hour saves up is worth so many calls like the last one.
const SAVED_CALLS_MAX: u64 = 8;

impl HedgeDraft {
    pub fn compile(&self, mut wrong: impl FnMut(Wrong)) -> Hedge {
        let at_once = self.at_once == Some(true);
        let mut hedge = Hedge { extra_percent: 3, not_before_ms: 100, at_once, saved: AtomicU64::new(0) };
        if at_once && (self.extra_percent.is_some() || self.not_before.is_some()) {
            wrong((
                "hedge.at_once".into(),
                "a race has no cap and no moment".into(),
                "leave out extra_percent and not_before, or at_once".into(),
            ));
        }
        match self.extra_percent {
            None => {}
            Some(percent @ 1..=PERCENT_MAX) => hedge.extra_percent = percent,
            Some(percent) => wrong((
                "hedge.extra_percent".into(),
                format!("extra_percent = {percent} is out of range"),
                format!("1 to {PERCENT_MAX}, or leave out [route.hedge]"),
            )),
        }
        if let Some(text) = &self.not_before {
            match time::parse(text) {
                Ok(read) => hedge.not_before_ms = read.as_millis() as u64,
                Err(_) => wrong((
                    "hedge.not_before".into(),
                    format!("not_before = {text:?} is not a duration"),
                    "write a number and a unit, such as \"100ms\"".into(),
                )),
            }
        }
        hedge
    }
}

impl Hedge {
    /// A first call that is expected to cost this was admitted.
    pub fn earn(&self, nano: u64) {
        let nano = worth(nano);
        let most = nano.saturating_mul(100 * SAVED_CALLS_MAX);
        let earned = nano.saturating_mul(u64::from(self.extra_percent));
        let add = |saved: u64| Some(saved.saturating_add(earned).min(most.max(saved)));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether a second call that is expected to cost this may be made.
    pub fn spend(&self, nano: u64) -> bool {
        if self.at_once {
            return true;
        }
        let cost = worth(nano).saturating_mul(100);
        let take = |saved: u64| saved.checked_sub(cost);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// What costs nothing is counted by the call.
fn worth(nano: u64) -> u64 {
    nano.clamp(1, 1 << 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_calls_never_cost_more_than_their_share() {
        for (first, second) in [(1_000, 1_000), (1_000, 7_000), (0, 0), (u64::MAX, u64::MAX)] {
            let hedge = HedgeDraft::default().compile(|wrong| panic!("{wrong:?}"));
            assert!(!hedge.spend(second), "nothing is saved at the start");
            let mut calls = 0u64;
            for _ in 0..10_000 {
                hedge.earn(first);
                calls += u64::from(hedge.spend(second));
            }
            let (spent, allowed) = (u128::from(worth(second)) * u128::from(calls), u128::from(worth(first)) * 300);
            assert!(spent <= allowed, "{spent} of {allowed}");
            assert!(spent * 10 >= allowed * 9, "{spent} of {allowed}: what is allowed can be used");
        }
    }

    #[test]
    fn a_quiet_hour_saves_up_little() {
        let hedge = HedgeDraft::default().compile(|wrong| panic!("{wrong:?}"));
        (0..1_000_000).for_each(|_| hedge.earn(500));
        let burst = (0..1_000).take_while(|_| hedge.spend(500)).count();
        assert_eq!(burst as u64, SAVED_CALLS_MAX);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let draft = HedgeDraft { extra_percent: Some(0), not_before: Some("soon".into()), at_once: Some(true) };
        let mut wrong = Vec::new();
        draft.compile(|(key, _, _)| wrong.push(key));
        assert_eq!(wrong, ["hedge.at_once", "hedge.extra_percent", "hedge.not_before"]);
    }
}
