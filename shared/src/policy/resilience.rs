//! What counts against a candidate, when it is passed over for it, and how often one request may try.

use serde::{Deserialize, Serialize};

use super::time::{self, NotADuration};

/// What can go wrong with an attempt, as far as breakers care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Harm {
    /// No connection: refused, unreachable, unresolved, too slow.
    Connect,
    /// A certificate or handshake that is not acceptable.
    Tls,
    /// No answer's head, or no first event, in time.
    Timeout,
    /// The connection ended before the answer did.
    Cut,
    /// A status of 500 and above.
    Status,
    /// An error told inside a good answer.
    InBand,
    /// A stream that stopped without a reason to be over.
    Truncated,
    /// What came is not an answer.
    Invalid,
    /// The first event came later than the policy's `first_event_max`.
    Slow,
}

impl Harm {
    pub const ALL: &[Self] = &[
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Cut,
        Self::Status,
        Self::InBand,
        Self::Truncated,
        Self::Invalid,
        Self::Slow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::Status => "5xx",
            Self::InBand => "error_event",
            Self::Truncated => "truncated",
            Self::Invalid => "invalid",
            Self::Slow => "slow",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// When a breaker trips, and how it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerRules {
    counts: u16,
    /// So many harms in a row trip it.
    pub in_a_row: u32,
    /// So does a smaller share of good answers than this, in percent, within the window …
    pub good_percent_min: u32,
    pub window_ms: u64,
    /// … when there were at least so many answers in it.
    pub answers_min: u32,
    /// The first probe comes after this, the next ones after twice as long each, up to the longest.
    pub probe_after_ms: u64,
    pub probe_after_ms_max: u64,
    /// After a good probe its share of the traffic grows to the whole within this.
    pub ramp_ms: u64,
    /// A first event that comes later counts as [`Harm::Slow`].
    pub first_event_ms_max: Option<u64>,
}

impl Default for BreakerRules {
    fn default() -> Self {
        let counts = Harm::ALL.iter().fold(0, |bits, harm| bits | harm.bit());
        Self {
            counts,
            in_a_row: 7,
            good_percent_min: 80,
            window_ms: 10_000,
            answers_min: 20,
            probe_after_ms: 1_000,
            // A probe that fails is a request that goes on elsewhere, so it is cheap; a vendor that is well again is
            // found within five seconds, the half that chance may add included.
            probe_after_ms_max: 3_000,
            ramp_ms: 3_000,
            first_event_ms_max: None,
        }
    }
}

impl BreakerRules {
    pub fn counts(&self, harm: Harm) -> bool {
        self.counts & harm.bit() != 0
    }
}

/// As an operator writes them, in `[gateway.breaker]` and `[vendor.breaker]`. What is not said keeps its default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerDraft {
    /// Which harms count: any of connect, tls, timeout, cut, 5xx, error_event, truncated, invalid, slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_a_row: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_percent_min: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_min: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_after_max: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_event_max: Option<String>,
}

/// A key that cannot be obeyed: its name, what is wrong, and what to write.
pub type Wrong = (String, String, String);

impl BreakerDraft {
    pub fn over(&self, base: BreakerRules, mut wrong: impl FnMut(Wrong)) -> BreakerRules {
        let mut rules = base;
        if let Some(names) = &self.counts {
            rules.counts = 0;
            for name in names {
                match Harm::ALL.iter().find(|harm| harm.name() == name) {
                    Some(harm) => rules.counts |= harm.bit(),
                    None => {
                        let known: Vec<_> = Harm::ALL.iter().map(|harm| harm.name()).collect();
                        let fix = format!("any of {}", known.join(", "));
                        wrong(("counts".into(), format!("{name:?} is nothing that a breaker counts"), fix));
                    }
                }
            }
        }
        let mut number = |name: &str, said: Option<u32>, range: std::ops::RangeInclusive<u32>, to: &mut u32| {
            let Some(said) = said else { return };
            if range.contains(&said) {
                *to = said;
            } else {
                let fix = format!("between {} and {}", range.start(), range.end());
                wrong((name.into(), format!("{name} = {said} is out of range"), fix));
            }
        };
        number("in_a_row", self.in_a_row, 1..=1_000, &mut rules.in_a_row);
        number("good_percent_min", self.good_percent_min, 0..=100, &mut rules.good_percent_min);
        number("answers_min", self.answers_min, 1..=10_000, &mut rules.answers_min);
        let mut first_event = 0;
        for (name, said, to) in [
            ("window", &self.window, &mut rules.window_ms),
            ("probe_after", &self.probe_after, &mut rules.probe_after_ms),
            ("probe_after_max", &self.probe_after_max, &mut rules.probe_after_ms_max),
            ("ramp", &self.ramp, &mut rules.ramp_ms),
            ("first_event_max", &self.first_event_max, &mut first_event),
        ] {
            duration(name, said.as_deref(), to, &mut wrong);
        }
        if first_event > 0 {
            rules.first_event_ms_max = Some(first_event);
        }
        rules.probe_after_ms_max = rules.probe_after_ms_max.max(rules.probe_after_ms);
        rules
    }
}

fn duration(name: &str, said: Option<&str>, to: &mut u64, wrong: &mut impl FnMut(Wrong)) {
    let Some(text) = said else { return };
    match time::parse(text) {
        Ok(read) => *to = read.as_millis() as u64,
        Err(why) => wrong((name.into(), format!("{name} = {text:?} is not a duration"), fix_of(why).into())),
    }
}

fn fix_of(why: NotADuration) -> &'static str {
    match why {
        NotADuration::Malformed => "write a number and a unit, such as \"250ms\", \"10s\", \"5m\"",
        NotADuration::OutOfRange => "between 1ms and 24h",
    }
}

/// How a route tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trying {
    /// Candidates that one request asks, one that is asked again counted each time.
    pub attempts_max: u32,
    /// A call whose answer never came may have been carried out; whether it is said again all the same.
    pub retry_ambiguous: bool,
    /// A stream that breaks off in the middle of its text goes on with the next candidate that can.
    pub continues: bool,
}

impl Default for Trying {
    fn default() -> Self {
        Self { attempts_max: 3, retry_ambiguous: true, continues: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_holds_and_what_is_wrong_is_named() {
        let draft = BreakerDraft {
            counts: Some(vec!["5xx".into(), "weather".into()]),
            in_a_row: Some(0),
            probe_after: Some("9s".into()),
            window: Some("long".into()),
            first_event_max: Some("2s".into()),
            ..BreakerDraft::default()
        };
        let mut wrong = Vec::new();
        let rules = draft.over(BreakerRules::default(), |(key, _, _)| wrong.push(key));
        assert_eq!(wrong, ["counts", "in_a_row", "window"]);
        assert!(rules.counts(Harm::Status) && !rules.counts(Harm::Cut));
        assert_eq!((rules.probe_after_ms, rules.probe_after_ms_max, rules.in_a_row), (9_000, 9_000, 7));
        assert_eq!(rules.first_event_ms_max, Some(2_000));
    }
}
