//! Where a call goes: the candidates of its name that may see it, in the order in which they are tried, and which
//! credential of each carries it.
//!
//! The choice itself is a pure function of the crate `shared`, so that `weirctl` makes the same one again from a record;
//! here it is fed what this node knows: how candidates are doing, and what the call is like.

mod asker;
mod budget;
pub mod line;
mod needs;
mod pass;
mod quota;
mod trial;

pub use budget::FURTHER_ATTEMPTS;
pub use pass::{Errand, NoPass, Pass, Passes, REST_NS, REST_NS_MAX, retry_in};
pub use quota::learn;
pub use trial::Trial;

use weir_shared::catalog::{Credential, Model, Vendor};
use weir_shared::health::Room;
use weir_shared::policy::limit::{LimitState, Limits};
use weir_shared::routing::{
    self, Candidate, Eligible, Grade, Ranked, Shape, Unseen, Vital, Vitals, Way, conditions, dice, rank,
};
use weir_shared::snapshot::Key;

use crate::accept::Request;
use crate::admit;
use crate::clock::{self, Nanos};
use crate::live::Live;
use crate::parse;
use crate::resolve::{self, Unresolved};
use crate::route::line::{Line, Stood};

/// What a call is to be routed by.
pub struct Wish<'w> {
    pub live: &'w Live,
    pub key: &'w Key,
    pub route: &'w parse::Route,
    pub call: &'w parse::Call<'w>,
    pub request: &'w Request,
    pub body: &'w [u8],
    /// Which models' languages this call can be told in.
    pub reaches: &'w dyn Fn(&Model) -> bool,
    /// Any number that differs from call to call; it stands in the record.
    pub seed: u64,
    pub now: Nanos,
}

/// A choice that was made, and all that it was made by.
pub struct Choice<'l> {
    pub way: Way<'l>,
    pub eligible: Eligible,
    pub shape: Shape,
    pub vitals: Vitals,
    pub ranked: Ranked<'l>,
    /// It has stood in line for this.
    pub stood: Option<Stood>,
    told: bool,
}

/// Why there is no candidate at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoWay {
    /// None may see the call.
    Unresolved(Unresolved),
    /// All are out of traffic: they failed too often just now, or an operator took them out.
    Closed { drained: bool, retry_in_ms: u64 },
}

pub fn choose<'l>(wish: &Wish<'_>, live: &'l Live, key: &Key) -> Result<Choice<'l>, NoWay> {
    let snapshot = &live.snapshot;
    if wish.call.model.len() > resolve::NAME_BYTES_MAX {
        return Err(NoWay::Unresolved(Unresolved::NotFound));
    }
    let way = Way::to(snapshot, &wish.call.model, key);
    let shape = shape(wish, &way);
    among(live, key, &wish.call.model, way, shape, wish.now)
}

/// The same call's choice some time later: what the call is like is known by then.
pub fn choose_again<'l>(live: &'l Live, key: &Key, name: &str, shape: Shape, now: Nanos) -> Result<Choice<'l>, NoWay> {
    among(live, key, name, Way::to(&live.snapshot, name, key), Shape { now_s: seconds(now), ..shape }, now)
}

fn seconds(now: Nanos) -> u32 {
    clock::wall_at(now).div_euclid(1_000_000_000) as u32
}

fn among<'l>(
    live: &'l Live,
    key: &Key,
    name: &str,
    way: Way<'l>,
    shape: Shape,
    now: Nanos,
) -> Result<Choice<'l>, NoWay> {
    let snapshot = &live.snapshot;
    let eligible = Eligible::of(&way, snapshot, key, &shape);
    if eligible.is_empty() {
        return Err(NoWay::Unresolved(resolve::none_eligible(live, &way, &eligible)));
    }
    let vitals = vitals(live, key, &way, &eligible, &shape, now);
    let ranked = rank(&way, snapshot, &eligible, &shape, &vitals, &mut Unseen);
    let called_by_its_name = |&place: &u32| *snapshot.catalog.models[place as usize].id == *name;
    let told = way.route.is_some() || way.places().len() > 1 || !way.places().iter().all(called_by_its_name);
    let choice = Choice { way, eligible, shape, vitals, ranked, stood: None, told };
    if choice.ranked.is_empty() && choice.last_resort().is_none() {
        if choice.ranked.waiting == 0 {
            // Where the dice led there is nobody whom this key may ask, which is nobody's doing.
            return Err(NoWay::Unresolved(resolve::none_eligible(live, &choice.way, &choice.eligible)));
        }
        return Err(choice.closed(live, now));
    }
    Ok(choice)
}

/// What the call is like. What only a choice between several wants to know is not looked for when there is none.
fn shape(wish: &Wish<'_>, way: &Way<'_>) -> Shape {
    let models = &wish.live.snapshot.catalog.models;
    let mut shape = Shape { seed: wish.seed, now_s: seconds(wish.now), ..Shape::default() };
    shape.reach = resolve::reach(wish.live, way, wish.route.language.dialect(), wish.reaches);
    let able = way.places().iter().any(|&place| models[place as usize].can.is_some());
    if way.places().len() < 2 && way.route.is_none() && !able {
        return shape;
    }
    let small = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    shape.prompt_tokens = small(wish.body.len() as u64 / admit::BYTES_PER_TOKEN + 1);
    shape.answer_tokens = small(admit::expected_tokens(0, wish.call.tokens_max, 0, wish.call.choices));
    shape.needs = needs::of(wish.body, wish.call.stream);
    if let Some(route) = way.route {
        let asker = asker::Calling { wish };
        shape.conditions = conditions(route, &asker, shape.needs, shape.prompt_tokens);
        for (place, by) in route.sticky.iter().enumerate().take(shape.sticky.len()) {
            shape.sticky[place] = routing::Asker::sticky(&asker, by);
        }
    }
    shape
}

fn vitals(live: &Live, key: &Key, way: &Way<'_>, eligible: &Eligible, shape: &Shape, now: Nanos) -> Vitals {
    let mut vitals = Vitals::default();
    for (at, &place) in way.places().iter().enumerate() {
        if eligible.holds(at as u8) {
            vitals[at] = vital(live, key, place, candidate_dice(shape.seed, at as u8), shape, now);
        }
    }
    vitals
}

/// What decides whether a candidate that is coming back takes this call: once, for the choice and for the attempt.
pub fn candidate_dice(seed: u64, at: u8) -> u64 {
    dice(seed, 0x1_0000 + u64::from(at))
}

/// Whether a call may go to this model although nobody waits for its answer: its vendor's places and quotas are for those
/// who wait.
pub fn is_well(live: &Live, key: &Key, model: u32, shape: &Shape, now: Nanos) -> bool {
    vital(live, key, model, candidate_dice(shape.seed, u8::MAX), shape, now).grade == Grade::Passing
}

/// A candidate is as well as the best of its credentials.
fn vital(live: &Live, key: &Key, place: u32, dice: u64, shape: &Shape, now: Nanos) -> Vital {
    let (now_s, prompt_tokens) = (shape.now_s, u64::from(shape.prompt_tokens));
    let snapshot = &live.snapshot;
    let model = &snapshot.catalog.models[place as usize];
    let (vendor, target) = live.target(model.vendor);
    let overlay = &snapshot.overlay;
    if !overlay.is_empty() && overlay.drains_model(&snapshot.catalog, place, u64::from(now_s)) {
        return Vital { grade: Grade::Drained, ..Vital::default() };
    }
    let (mut best, mut is_first) = (Vital { grade: Grade::Barred, ..Vital::default() }, true);
    for (at, credential) in vendor.credentials.iter().enumerate() {
        if key.tenant.round_of(credential).is_none() {
            continue;
        }
        let health = model.health.get(at).and_then(|cell| cell.known());
        let mut vital = health.map_or_else(Vital::default, |it| it.vital(&vendor.breaker, now / 1_000_000, dice));
        let secret = target.secrets.get(at).and_then(Option::as_deref);
        let own = if secret.is_none() {
            Grade::Barred
        } else if !overlay.is_empty() && overlay.drains_credential(&vendor.name, &credential.name, u64::from(now_s)) {
            Grade::Drained
        } else if secret.is_some_and(|secret| secret.rests(now)) {
            Grade::Cooling
        } else if is_full(credential, key, now) {
            Grade::Full
        } else if vital.grade.takes_calls()
            && health.is_some_and(|it| {
                it.quota.room(prompt_tokens, key.kept_from_it(credential), now / 1_000_000) != Room::Enough
            })
        {
            Grade::Spent
        } else {
            vital.grade
        };
        vital.grade = own;
        let order = |vital: &Vital| (vital.grade.distance(), vital.pace, vital.busy);
        if std::mem::take(&mut is_first) || order(&vital) < order(&best) {
            best = vital;
        }
    }
    best
}

/// Whether an operator took this credential out of traffic.
fn is_drained(live: &Live, vendor: &Vendor, credential: &Credential) -> bool {
    let overlay = &live.snapshot.overlay;
    !overlay.is_empty() && overlay.drains_credential(&vendor.name, &credential.name, clock::wall_seconds())
}

/// Neither the key's own share nor what is everybody's has room.
fn is_full(credential: &Credential, key: &Key, now: Nanos) -> bool {
    has_no_room(&credential.limits, &credential.state, now)
        && key.share_of(credential).is_none_or(|own| has_no_room(&own.limits, &own.state, now))
}

fn has_no_room(limits: &Limits, state: &LimitState, now: Nanos) -> bool {
    limits.concurrent.is_some_and(|most| state.running() >= most)
        || state.requests_left(limits, now).is_some_and(|left| left.remaining == 0)
        || state.tokens_left(limits, now).is_some_and(|left| left.remaining == 0)
}

/// A share of the key's own, or a credential of its tenant's, has room.
pub fn has_own_room(vendor: &Vendor, key: &Key, now: Nanos) -> bool {
    vendor.credentials.iter().any(|credential| {
        let is_own = credential.tenant.is_some() && key.tenant.round_of(credential).is_some();
        is_own && !has_no_room(&credential.limits, &credential.state, now)
            || key.share_of(credential).is_some_and(|own| !has_no_room(&own.limits, &own.state, now))
    })
}

impl<'l> Choice<'l> {
    /// Who may be asked all the same when nobody takes calls.
    pub fn last_resort(&self) -> Option<Candidate> {
        self.ranked.last_resort(&self.way, &self.vitals)
    }

    /// The line in which the call is to wait: all credentials that may carry it are at their limits, or others wait for
    /// them already.
    pub fn queues_at(&self, live: &'l Live, key: &Key, now: Nanos) -> Option<Line> {
        let first = self.ranked.each().next();
        if first.is_some() && line::waiting() == 0 {
            return None;
        }
        let candidate =
            first.or_else(|| self.last_resort()).filter(|last| first.is_some() || last.grade == Grade::Full)?;
        let vendor = live.snapshot.vendor_of(&live.snapshot.catalog.models[candidate.model as usize]);
        let line = Line::of(vendor, key);
        // Nobody waits for what is its own: who has room there goes by.
        let goes_past = || first.is_some() && has_own_room(vendor, key, now);
        (first.is_none() || line::waits(&line)).then_some(line).filter(|_| !goes_past())
    }

    /// The line of whoever is asked first, whether there is room or not.
    pub fn line(&self, live: &'l Live, key: &Key) -> Option<Line> {
        let candidate = self.ranked.each().next().or_else(|| self.last_resort())?;
        let models = &live.snapshot.catalog.models;
        Some(Line::of(live.snapshot.vendor_of(&models[candidate.model as usize]), key))
    }

    /// Whether a place is all that is missing.
    pub fn is_full(&self) -> bool {
        self.ranked.is_empty() && self.last_resort().is_some_and(|last| last.grade == Grade::Full)
    }

    /// Whether the record tells how it was made: when there was anything to choose, and when what the caller said is not
    /// the model's own name, which is in the record anyway.
    pub fn is_told(&self) -> bool {
        self.told
    }

    fn closed(&self, live: &Live, now: Nanos) -> NoWay {
        let models = &live.snapshot.catalog.models;
        let mut retry_in_ms = u64::MAX;
        for (at, &place) in self.way.places().iter().enumerate() {
            if self.ranked.waiting & 1 << at == 0 || self.vitals[at].grade == Grade::Drained {
                continue;
            }
            let model = &models[place as usize];
            let rules = &live.snapshot.vendor_of(model).breaker;
            for health in model.health.iter().filter_map(|cell| cell.known()) {
                retry_in_ms = retry_in_ms.min(health.retry_in_ms(rules, now / 1_000_000));
            }
        }
        NoWay::Closed { drained: retry_in_ms == u64::MAX, retry_in_ms: retry_in_ms.min(60_000) }
    }
}
