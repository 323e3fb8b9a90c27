//! Limits per minute and of concurrency, exact however many cores share them. Time is an argument.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::key::LimitsDraft;

/// Nanoseconds on a clock that never goes back.
pub type Nanos = u64;

const MINUTE: Nanos = 60_000_000_000;
/// Of a bucket that was overdrawn by what a request really used.
const DEBT_MINUTES: u64 = 5;

/// Whose calls are taken when not all can be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub const ALL: &[Self] = &[Self::Low, Self::Normal, Self::High];

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|priority| priority.name() == name)
    }

    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    pub requests: Option<PerMinute>,
    pub tokens: Option<PerMinute>,
    pub concurrent: Option<u32>,
}

impl From<LimitsDraft> for Limits {
    fn from(draft: LimitsDraft) -> Self {
        Self {
            requests: draft.requests_per_minute.map(PerMinute::new),
            tokens: draft.tokens_per_minute.map(PerMinute::new),
            concurrent: draft.concurrent_requests,
        }
    }
}

impl Limits {
    /// So many hundredths of them, and of nothing nothing. Who has a part has at least one of what is counted.
    pub fn part(self, percent: u8) -> Self {
        let part = |whole: u64| if percent == 0 { 0 } else { (whole.saturating_mul(percent.into()) / 100).max(1) };
        let per_minute = |limit: PerMinute| PerMinute::new(part(limit.units));
        Self {
            requests: self.requests.map(per_minute),
            tokens: self.tokens.map(per_minute),
            concurrent: self.concurrent.map(|most| part(most.into()) as u32),
        }
    }
}

/// A bucket that holds a minute's worth and refills steadily.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerMinute {
    pub units: u64,
    /// Time that one unit takes to come back; rounded up, so that the bucket never gives more than it says.
    unit_ns: Nanos,
}

impl PerMinute {
    pub fn new(units: u64) -> Self {
        Self { units, unit_ns: MINUTE.div_ceil(units.max(1)) }
    }

    /// Nothing larger than this is ever asked of a bucket, which keeps the products below within 64 bits.
    fn time_of(self, units: u64) -> Nanos {
        units.min(1 << 32).saturating_mul(self.unit_ns)
    }

    fn full(self) -> Nanos {
        self.units.saturating_mul(self.unit_ns)
    }
}

/// The one word a bucket is: the moment at which it will be full again. Ahead of now by how much was taken.
///
/// Padded to a pair of cache lines: two keys that two cores use never share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LimitState {
    requests_full_at: AtomicU64,
    tokens_full_at: AtomicU64,
    running: AtomicU32,
}

/// Counts that are made when they are first needed: most keys of a large deployment never call a node. Snapshots share the
/// cell and not what is in it, so that a key's first call is counted once, whichever snapshot it began with.
#[derive(Debug, Default)]
pub struct LimitCell(OnceLock<Box<LimitState>>);

impl LimitCell {
    pub fn get(&self) -> &LimitState {
        self.0.get_or_init(Box::default)
    }
}

/// What is left of a limit, for the headers that tell callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    pub limit: u64,
    pub remaining: u64,
    pub full_in: Nanos,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exceeded {
    Requests {
        retry_in: Nanos,
    },
    Tokens {
        retry_in: Nanos,
    },
    /// The request alone is larger than the whole limit; waiting does not help.
    TokensNever,
    Concurrency,
}

impl LimitState {
    /// Takes one request, `tokens` tokens and one place, or nothing at all.
    pub fn admit(&self, limits: &Limits, tokens: u64, now: Nanos) -> Result<(), Exceeded> {
        self.enter(limits)?;
        self.take(limits, tokens, now).inspect_err(|_| self.leave())
    }

    /// The request is over. `reserved` tokens were taken for it and `used` were used.
    pub fn settle(&self, limits: &Limits, reserved: u64, used: u64, now: Nanos) {
        self.leave();
        self.used(limits, reserved, used, now);
    }

    /// Takes one of the places for concurrent requests, before anything else of the request is known.
    pub fn enter(&self, limits: &Limits) -> Result<(), Exceeded> {
        let Some(limit) = limits.concurrent else {
            self.running.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let enter = |running: u32| (running < limit).then_some(running + 1);
        match self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter) {
            Ok(_) => Ok(()),
            Err(_) => Err(Exceeded::Concurrency),
        }
    }

    pub fn leave(&self) {
        let before = self.running.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a request left that never entered");
    }

    /// Takes one request and `tokens` tokens for somebody who has a place, or nothing at all.
    pub fn take(&self, limits: &Limits, tokens: u64, now: Nanos) -> Result<(), Exceeded> {
        self.take_requests(limits, now)?;
        self.take_tokens(limits, tokens, now).inspect_err(|_| {
            if let Some(limit) = limits.requests {
                give(&self.requests_full_at, limit.time_of(1));
            }
        })
    }

    /// Of what was taken, so many tokens were used.
    pub fn used(&self, limits: &Limits, reserved: u64, used: u64, now: Nanos) {
        let Some(limit) = limits.tokens else { return };
        if used > reserved {
            charge(&self.tokens_full_at, limit, used - reserved, now);
        } else {
            give(&self.tokens_full_at, limit.time_of(reserved - used));
        }
    }

    /// No vendor has answered the request: what was taken for it comes back, itself among the requests, too.
    pub fn void(&self, limits: &Limits, reserved: u64, now: Nanos) {
        self.used(limits, reserved, 0, now);
        if let Some(limit) = limits.requests {
            give(&self.requests_full_at, limit.time_of(1));
        }
    }

    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    pub fn requests_left(&self, limits: &Limits, now: Nanos) -> Option<Left> {
        limits.requests.map(|limit| left(&self.requests_full_at, limit, now))
    }

    pub fn tokens_left(&self, limits: &Limits, now: Nanos) -> Option<Left> {
        limits.tokens.map(|limit| left(&self.tokens_full_at, limit, now))
    }

    fn take_requests(&self, limits: &Limits, now: Nanos) -> Result<(), Exceeded> {
        let Some(limit) = limits.requests else { return Ok(()) };
        take(&self.requests_full_at, limit, 1, now).map_err(|retry_in| Exceeded::Requests { retry_in })
    }

    fn take_tokens(&self, limits: &Limits, tokens: u64, now: Nanos) -> Result<(), Exceeded> {
        let Some(limit) = limits.tokens else { return Ok(()) };
        if tokens > limit.units {
            return Err(Exceeded::TokensNever);
        }
        take(&self.tokens_full_at, limit, tokens, now).map_err(|retry_in| Exceeded::Tokens { retry_in })
    }
}

fn take(full_at: &AtomicU64, limit: PerMinute, units: u64, now: Nanos) -> Result<(), Nanos> {
    let cost = limit.time_of(units);
    let mut seen = full_at.load(Ordering::Relaxed);
    loop {
        let wanted = seen.max(now).saturating_add(cost);
        let over = (wanted - now).saturating_sub(limit.full());
        if over > 0 {
            return Err(over);
        }
        match full_at.compare_exchange_weak(seen, wanted, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(()),
            Err(newer) => seen = newer,
        }
    }
}

/// Takes without asking: what was used was used.
fn charge(full_at: &AtomicU64, limit: PerMinute, units: u64, now: Nanos) {
    // However wrong a vendor's count is, it locks nobody out for longer than a few minutes.
    let furthest = now.saturating_add(DEBT_MINUTES * limit.full());
    let charge = |seen: u64| Some(seen.max(now).saturating_add(limit.time_of(units)).min(furthest.max(seen)));
    let _ = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge);
}

fn give(full_at: &AtomicU64, cost: Nanos) {
    let give = |seen: u64| Some(seen.saturating_sub(cost));
    let _ = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
}

fn left(full_at: &AtomicU64, limit: PerMinute, now: Nanos) -> Left {
    let full_in = full_at.load(Ordering::Relaxed).saturating_sub(now);
    let remaining = limit.full().saturating_sub(full_in) / limit.unit_ns.max(1);
    Left { limit: limit.units, remaining: remaining.min(limit.units), full_in }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u64, tokens: u64, concurrent: u32) -> Limits {
        Limits {
            requests: Some(PerMinute::new(requests)),
            tokens: Some(PerMinute::new(tokens)),
            concurrent: Some(concurrent),
        }
    }

    #[test]
    fn a_burst_gets_exactly_the_limit_and_then_a_steady_refill() {
        let (state, limits) = (LimitState::default(), limits(7, 1_000_000, 100));
        let t0 = 5 * MINUTE;
        for _ in 0..7 {
            assert_eq!(state.admit(&limits, 1, t0), Ok(()));
            state.settle(&limits, 1, 1, t0);
        }
        let Err(Exceeded::Requests { retry_in }) = state.admit(&limits, 1, t0) else { panic!("an eighth passed") };
        assert_eq!(state.admit(&limits, 1, t0 + retry_in - 1), Err(Exceeded::Requests { retry_in: 1 }));
        assert_eq!(state.admit(&limits, 1, t0 + retry_in), Ok(()));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let (state, limits) = (LimitState::default(), limits(10, 100, 1));
        assert_eq!(state.admit(&limits, 101, 0), Err(Exceeded::TokensNever));
        assert_eq!(state.admit(&limits, 100, 0), Ok(()));
        assert_eq!(state.admit(&limits, 1, 0), Err(Exceeded::Concurrency));
        state.settle(&limits, 100, 100, 0);
        assert!(matches!(state.admit(&limits, 1, 0), Err(Exceeded::Tokens { .. })));
        assert_eq!(state.requests_left(&limits, 0).map(|left| left.remaining), Some(9));
        assert_eq!(state.running(), 0);
    }

    #[test]
    fn what_was_reserved_too_much_comes_back_and_what_was_used_more_is_charged() {
        let (state, limits) = (LimitState::default(), limits(100, 1_000, 9));
        let remaining = |state: &LimitState| state.tokens_left(&limits, 0).map(|left| left.remaining);
        assert_eq!(state.admit(&limits, 600, 0), Ok(()));
        assert_eq!(remaining(&state), Some(400));
        state.settle(&limits, 600, 100, 0);
        assert_eq!(remaining(&state), Some(900));
        assert_eq!(state.admit(&limits, 100, 0), Ok(()));
        state.settle(&limits, 100, 300, 0);
        assert_eq!(remaining(&state), Some(600));
        assert_eq!(state.admit(&limits, 100, 0), Ok(()));
        state.void(&limits, 100, 0);
        state.leave();
        assert_eq!(state.running(), 0);
        assert_eq!(state.requests_left(&limits, 0).map(|left| left.remaining), Some(98));
    }

    #[test]
    fn eight_threads_together_get_exactly_the_limit() {
        let state = LimitState::default();
        let limits = limits(1_000, 1_000_000, u32::MAX);
        let passed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        passed.fetch_add(u32::from(state.admit(&limits, 1, 9).is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1_000);
    }
}
