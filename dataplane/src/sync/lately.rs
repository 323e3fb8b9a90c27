//! How requests went in the last minutes, for whoever asks whether they go worse since something was changed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use weir_shared::fault::{Actor, Code};

use crate::clock;
use crate::gauge::{self, Counter, Totals};

/// What a policy can be judged by, since the process began. What callers were refused by their own fault is in neither number:
/// nobody makes a policy look bad, or good, by asking for nonsense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Judged {
    pub requests: u64,
    /// Failures of vendors, of the operator's and of our own, and calls that the catalog before would have served.
    pub errors: u64,
}

impl Judged {
    pub fn of(totals: &Totals) -> Self {
        let (mut errors, mut own_fault) = (totals.of(Counter::Lost), 0);
        for (code, count) in Code::ALL.iter().zip(totals.refusals) {
            // A stream that broke off is among them, by the code that it ended with.
            if code.actor() == Actor::Caller { own_fault += count } else { errors += count }
        }
        let all = totals.of(Counter::Requests) + totals.of(Counter::Lost);
        Self { requests: all.saturating_sub(own_fault), errors }
    }
}

#[derive(Default)]
pub struct Lately(Mutex<VecDeque<(clock::Nanos, Judged)>>);

pub const EVERY: Duration = Duration::from_secs(10);
/// So far back it goes: ten minutes.
const LOOKS_MAX: usize = 60;

#[derive(Serialize)]
pub struct Since {
    seconds: u64,
    #[serde(flatten)]
    judged: Judged,
}

impl Lately {
    pub fn look(&self) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() == LOOKS_MAX {
            looks.pop_front();
        }
        looks.push_back((clock::now(), Judged::of(&gauge::totals())));
    }

    /// Since the oldest look.
    pub fn since(&self) -> Since {
        let now = Judged::of(&gauge::totals());
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, then) = looks.front().copied().unwrap_or((clock::now(), now));
        let judged = Judged {
            requests: now.requests.saturating_sub(then.requests),
            errors: now.errors.saturating_sub(then.errors),
        };
        Since { seconds: clock::now().saturating_sub(at) / 1_000_000_000, judged }
    }
}
