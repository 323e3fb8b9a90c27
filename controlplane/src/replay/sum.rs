//! What replayed requests come to: how many go from where to where, what they cost, and which limits they would meet.

use std::collections::BTreeMap;

use weir_shared::money::Pico;
use weir_shared::snapshot::Snapshot;
use weir_shared::usage::Class;

use super::{Fate, Replay, Replayed, is_made_again};
use crate::shapes::{Asked, Policy};

/// Requests that go the same way, in thousandths, and what their vendors charge.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flow {
    pub requests: u64,
    pub cost_now: i128,
    pub cost_then: i128,
    pub sale_now: i128,
    pub sale_then: i128,
}

impl Flow {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.cost_now = self.cost_now.saturating_add(other.cost_now);
        self.cost_then = self.cost_then.saturating_add(other.cost_then);
        self.sale_now = self.sale_now.saturating_add(other.sale_now);
        self.sale_then = self.sale_then.saturating_add(other.sale_then);
    }
}

/// A vendor whose credentials together would be asked for more in a minute than they may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    pub vendor: String,
    pub what: &'static str,
    pub per_minute: u64,
    /// Minutes in which it would be met, now and then, and the most that any would ask for then.
    pub minutes_now: u64,
    pub minutes_then: u64,
    pub most: u64,
}

#[derive(Default)]
pub struct Sum {
    pub flows: BTreeMap<(Fate, Fate), Flow>,
    /// Choices that records tell of, and how many of them are made again by the policy that made them.
    pub told: u64,
    pub made_again: u64,
    /// Records that could not be replayed: their key is gone, or they name no model.
    pub left_out: u64,
    pub guessed_conditions: u64,
    pub guessed_sticky: u64,
    pub guessed_needs: u64,
    minutes: BTreeMap<(String, u64), Minute>,
}

/// Thousandths of requests and of tokens.
#[derive(Clone, Copy, Default)]
struct Minute {
    requests: [u64; 2],
    tokens: [u64; 2],
}

const NOW: usize = 0;
const THEN: usize = 1;

impl Sum {
    pub fn of(shapes: &[Asked], revisions: &BTreeMap<u64, Policy>, now: &Replay<'_>, then: &Replay<'_>) -> Self {
        let mut sum = Self::default();
        for asked in shapes {
            let own = revisions.get(&asked.revision);
            if let Some(again) = is_made_again(asked, own) {
                sum.told += 1;
                sum.made_again += u64::from(again);
            }
            match (now.of(asked, own), then.of(asked, own)) {
                (Some(here), Some(there)) => sum.count(asked, (now, &here), (then, &there)),
                _ => sum.left_out += 1,
            }
        }
        sum
    }

    fn count(&mut self, asked: &Asked, now: (&Replay<'_>, &Replayed), then: (&Replay<'_>, &Replayed)) {
        let (cost_now, sale_now) = money(asked, now.0, now.1);
        let (cost_then, sale_then) = money(asked, then.0, then.1);
        let flow = Flow { requests: asked.weight, cost_now, cost_then, sale_now, sale_then };
        self.flows.entry((now.1.fate.clone(), then.1.fate.clone())).or_default().add(&flow);
        let guessed = then.1.guessed;
        self.guessed_conditions += u64::from(guessed.condition);
        self.guessed_sticky += u64::from(guessed.sticky);
        self.guessed_needs += u64::from(guessed.needs);
        for (which, (replay, replayed)) in [(NOW, now), (THEN, then)] {
            let Some(place) = replayed.model else { continue };
            let snapshot = &replay.policy.snapshot;
            let vendor = &snapshot.vendor_of(&snapshot.catalog.models[place as usize]).name;
            let minute = self.minutes.entry((vendor.to_string(), asked.time_s / 60)).or_default();
            minute.requests[which] += asked.weight;
            minute.tokens[which] += asked.usage.tokens().saturating_mul(asked.weight);
        }
    }

    pub fn total(&self) -> Flow {
        let mut total = Flow::default();
        self.flows.values().for_each(|flow| total.add(flow));
        total
    }

    /// How many requests, in thousandths, each would get: now, and then.
    pub fn load(&self) -> BTreeMap<Fate, [u64; 2]> {
        let mut load: BTreeMap<Fate, [u64; 2]> = BTreeMap::new();
        for ((from, to), flow) in &self.flows {
            load.entry(from.clone()).or_default()[NOW] += flow.requests;
            load.entry(to.clone()).or_default()[THEN] += flow.requests;
        }
        load
    }

    /// The vendors' limits that would be met, by the limits that `snapshot` gives their credentials.
    pub fn limits(&self, snapshot: &Snapshot) -> Vec<Limit> {
        let mut met = Vec::new();
        for vendor in &snapshot.catalog.vendors {
            let sum = |limit: fn(&weir_shared::policy::limit::Limits) -> Option<u64>| {
                // What is one tenant's own is no room for the others.
                let shared = || vendor.credentials.iter().filter(|credential| credential.tenant.is_none());
                let each = shared().map(|credential| limit(&credential.limits));
                each.sum::<Option<u64>>().filter(|_| shared().next().is_some())
            };
            let requests = sum(|limits| limits.requests.map(|per| per.units));
            let tokens = sum(|limits| limits.tokens.map(|per| per.units));
            let own = || self.minutes.iter().filter(|((name, _), _)| **name == *vendor.name).map(|(_, minute)| minute);
            for (what, per_minute, of) in
                [("requests", requests, (|m| m.requests) as fn(&Minute) -> [u64; 2]), ("tokens", tokens, |m| m.tokens)]
            {
                let Some(per_minute) = per_minute else { continue };
                let over = |which: usize| own().filter(|m| of(m)[which] / 1_000 > per_minute).count() as u64;
                let limit = Limit {
                    vendor: vendor.name.to_string(),
                    what,
                    per_minute,
                    minutes_now: over(NOW),
                    minutes_then: over(THEN),
                    most: own().map(|m| of(m)[THEN] / 1_000).max().unwrap_or(0),
                };
                if limit.minutes_now > 0 || limit.minutes_then > 0 {
                    met.push(limit);
                }
            }
        }
        met
    }
}

/// What the vendor would charge for what was used, and what the caller would pay; nothing where nobody is asked.
fn money(asked: &Asked, replay: &Replay<'_>, replayed: &Replayed) -> (i128, i128) {
    let snapshot = &replay.policy.snapshot;
    let Some(place) = replayed.model else { return (0, 0) };
    let price = &snapshot.catalog.models[place as usize].price;
    let usage = match asked.usage.tokens() {
        0 => asked.usage,
        _ => asked.usage.with(Class::Request, asked.usage.of(Class::Request).max(1)),
    };
    let Pico(cost) = price.cost(&usage, asked.tier).unwrap_or_default();
    let markup = replay.policy.key(asked.key).map_or(0, |key| key.tenant.markup_bp);
    let weighted = cost.saturating_mul(i128::from(asked.weight)) / 1_000;
    (weighted, weighted.saturating_mul(10_000 + i128::from(markup.max(-10_000))) / 10_000)
}
