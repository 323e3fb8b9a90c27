//! What a policy would make of requests that were made under another one, by the function that nodes route by.
//!
//! A record holds what its choice was made by: the dice, the call's needs and size, how each candidate was. All of it belongs
//! to candidates, conditions and branches of its own revision, and is carried over to those of the other policy by what
//! they are: a model by its name, a condition by what it says. What no record can know of another policy (a header that no
//! route asked for then) is taken as not there, and counted.

mod sum;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_shared::overlay::Part;
use weir_shared::policy::routing::{Condition, Route, StickyBy};
use weir_shared::routing::{
    Asker, Eligible, Grade, Shape, Unfit, Unseen, Vital, Vitals, Way, holds, need, rank, sticky_hash,
};
use weir_shared::snapshot::{Key, Snapshot};

use crate::shapes::{Asked, Policy, Told};

pub use sum::{Flow, Sum};

/// Where a request goes first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fate {
    /// To this candidate, `vendor/model`.
    To(Arc<str>),
    Refused(Why),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// The name leads nowhere for this key.
    NotFound,
    /// What the operator demands of whoever sees the call is true of none.
    NotAllowed(&'static str),
    /// All who may see it are out of traffic.
    Unavailable,
}

impl Fate {
    pub fn words(&self) -> String {
        match self {
            Self::To(name) => name.to_string(),
            Self::Refused(Why::NotFound) => "refused: no such model for this key".into(),
            Self::Refused(Why::NotAllowed(why)) => format!("refused: no vendor is allowed ({why})"),
            Self::Refused(Why::Unavailable) => "refused: nobody takes calls".into(),
        }
    }

    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// What of a request had to be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Guessed {
    /// A condition asks for a header or metadata that nobody looked at then.
    pub condition: bool,
    /// A branch sticks to something that nobody looked at then.
    pub sticky: bool,
    /// Images, tools …: there was one candidate then, and nobody looked.
    pub needs: bool,
}

/// One request, replayed.
pub struct Replayed {
    pub fate: Fate,
    /// The candidate's model in the policy's catalog.
    pub model: Option<u32>,
    pub guessed: Guessed,
}

/// How candidates were, by the records of all requests: for candidates that a request itself did not have.
#[derive(Default)]
pub struct Known(HashMap<String, Vec<(u64, Vital)>>);

impl Known {
    /// `shapes` are in the order of time.
    pub fn of(shapes: &[Asked], revisions: &BTreeMap<u64, Policy>) -> Self {
        let mut known = Self::default();
        for asked in shapes {
            let Some(then) = Then::of(asked, revisions.get(&asked.revision)) else { continue };
            for (at, name) in then.candidates() {
                if let Some(vital) = then.vital(at) {
                    known.0.entry(name).or_default().push((asked.time_s, vital));
                }
            }
        }
        known
    }

    /// The last that was known at that time, or the first that was known at all.
    fn at(&self, name: &str, time_s: u64) -> Vital {
        let Some(list) = self.0.get(name) else { return Vital::default() };
        let after = list.partition_point(|(time, _)| *time <= time_s);
        list[after.saturating_sub(1)].1
    }
}

/// A policy that requests are replayed under.
pub struct Replay<'p> {
    pub policy: &'p Policy,
    /// What is down, as an operator imagines it.
    pub down: &'p [Part],
    pub known: &'p Known,
    /// What was changed by hand holds as of now.
    pub now_s: u64,
}

impl Replay<'_> {
    /// `None`: the key is not there any more, or the call names no model.
    pub fn of(&self, asked: &Asked, own: Option<&Policy>) -> Option<Replayed> {
        let snapshot = &self.policy.snapshot;
        let key = self.policy.key(asked.key)?;
        if asked.name().is_empty() {
            return None;
        }
        let then = Then::of(asked, own);
        let way = Way::to(snapshot, asked.name(), key);
        let mut guessed = Guessed::default();
        let shape = self.shape(asked, then.as_ref(), &way, key, &mut guessed);
        let eligible = Eligible::of(&way, snapshot, key, &shape);
        if eligible.is_empty() {
            return Some(Replayed { fate: Fate::Refused(refusal(&way, &eligible)), model: None, guessed });
        }
        let vitals = self.vitals(asked, then.as_ref(), &way);
        let first = if then.as_ref().is_some_and(Then::goes_to_one) {
            let drained = |at: u8| vitals[usize::from(at)].grade == Grade::Drained;
            let first = (0..way.places().len() as u8).find(|at| eligible.holds(*at) && !drained(*at));
            first.map(|at| way.places()[usize::from(at)])
        } else {
            let ranked = rank(&way, snapshot, &eligible, &shape, &vitals, &mut Unseen);
            ranked.each().next().or_else(|| ranked.last_resort(&way, &vitals)).map(|candidate| candidate.model)
        };
        let fate = match first {
            Some(model) => Fate::To(name_of(snapshot, model).into()),
            None => Fate::Refused(Why::Unavailable),
        };
        Some(Replayed { fate, model: first, guessed })
    }

    fn shape(&self, asked: &Asked, then: Option<&Then<'_>>, way: &Way<'_>, key: &Key, guessed: &mut Guessed) -> Shape {
        let measured = then.filter(|then| then.is_measured()).and_then(|then| then.told);
        let small = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let mut shape = match measured {
            Some(told) => told.shape,
            None => Shape {
                needs: if asked.stream { need::STREAM } else { 0 },
                prompt_tokens: small(asked.usage.prompt_tokens()),
                answer_tokens: small(asked.usage.answer_tokens()),
                ..Shape::default()
            },
        };
        guessed.needs = measured.is_none() && (way.places().len() > 1 || way.route.is_some());
        (shape.seed, shape.now_s) = (asked.seed, small(self.now_s));
        shape.reach = self.reach(asked, then, way);
        (shape.conditions, shape.sticky) = Default::default();
        let Some(route) = way.route else { return shape };
        let before = measured.and(then).and_then(|then| Some((then.way.route?, then.told?)));
        for (place, condition) in route.conditions.iter().enumerate() {
            let is_true = match before.and_then(|(route, told)| said(route, told, condition)) {
                Some(is_true) => is_true,
                None => {
                    guessed.condition |= condition.header.is_some() || condition.metadata.is_some();
                    holds(condition, &Unheard { key }, shape.needs, shape.prompt_tokens)
                }
            };
            shape.conditions |= u64::from(is_true) << place;
        }
        for (place, by) in route.sticky.iter().enumerate().take(shape.sticky.len()) {
            let known = match by {
                StickyBy::Key => Some(sticky_hash(key.id.as_str().as_bytes())),
                by => before.and_then(|(route, told)| stuck(route, told, by)),
            };
            guessed.sticky |= known.is_none();
            // Chance, which spreads over the branches as many things do.
            shape.sticky[place] = known.unwrap_or(0);
        }
        shape
    }

    /// Whether a candidate's language could tell the call: as it was for the same one, or for one of its language and kind;
    /// else what is translated reaches all who do the same.
    fn reach(&self, asked: &Asked, then: Option<&Then<'_>>, way: &Way<'_>) -> u16 {
        let catalog = &self.policy.snapshot.catalog;
        let mut bits = 0;
        for (at, &place) in way.places().iter().enumerate() {
            let model = &catalog.models[place as usize];
            let vendor = &catalog.vendors[model.vendor as usize];
            let reached = match then {
                Some(then) => then.reaches(asked, &vendor.name, &model.id, vendor.dialect, &model.kind),
                None => true,
            };
            bits |= u16::from(reached) << at;
        }
        bits
    }

    fn vitals(&self, asked: &Asked, then: Option<&Then<'_>>, way: &Way<'_>) -> Vitals {
        let snapshot = &self.policy.snapshot;
        let mut vitals = Vitals::default();
        for (at, &place) in way.places().iter().enumerate() {
            let name = name_of(snapshot, place);
            let own = then.and_then(|then| then.vital(then.place(&name)?));
            vitals[at] = own.unwrap_or_else(|| self.known.at(&name, asked.time_s));
            if let Some(grade) = self.by_hand(place) {
                vitals[at].grade = grade;
            }
        }
        vitals
    }

    /// Drained, or down because somebody wants to know what then.
    fn by_hand(&self, place: u32) -> Option<Grade> {
        let snapshot = &self.policy.snapshot;
        let (catalog, overlay) = (&snapshot.catalog, &snapshot.overlay);
        let vendor = snapshot.vendor_of(&catalog.models[place as usize]);
        let all = |out: &dyn Fn(&str) -> bool| {
            !vendor.credentials.is_empty() && vendor.credentials.iter().all(|credential| out(&credential.name))
        };
        let down = |credential: &str| {
            let is = |part: &Part| matches!(part, Part::Credential(v, c) if **v == *vendor.name && **c == *credential);
            self.down.iter().any(is)
        };
        let drained = |credential: &str| overlay.drains_credential(&vendor.name, credential, self.now_s);
        if overlay.drains_model(catalog, place, self.now_s) || all(&drained) {
            return Some(Grade::Drained);
        }
        let is_down = self.down.iter().any(|part| part.covers(catalog, place));
        (is_down || all(&|credential| down(credential) || drained(credential))).then_some(Grade::Tripped)
    }
}

/// Whether the policy under which a choice was made makes it again. `None`: there was none, or its revision is not kept.
pub fn is_made_again(asked: &Asked, own: Option<&Policy>) -> Option<bool> {
    let then = Then::of(asked, own)?;
    let told = then.told?;
    let snapshot = &own?.snapshot;
    let ranked = rank(&then.way, snapshot, &then.eligible, &told.shape, &told.vitals, &mut Unseen);
    let first = ranked.each().next().or_else(|| ranked.last_resort(&then.way, &told.vitals));
    let vendor = first.map(|first| &*snapshot.vendor_of(&snapshot.catalog.models[first.model as usize]).name);
    let label = ranked.label.map_or("", |label| label);
    // A request that never came to a vendor has nobody to compare with.
    let is_among = vendor.is_some_and(|vendor| asked.vendors.iter().any(|asked| asked == vendor));
    Some(label == told.label && (asked.vendors.is_empty() || is_among))
}

/// A request as its own revision saw it.
struct Then<'p> {
    snapshot: &'p Snapshot,
    way: Way<'p>,
    eligible: Eligible,
    told: Option<&'p Told>,
}

impl<'p> Then<'p> {
    fn of(asked: &'p Asked, own: Option<&'p Policy>) -> Option<Self> {
        let policy = own?;
        let (snapshot, key) = (&policy.snapshot, policy.key(asked.key)?);
        let way = Way::to(snapshot, asked.name(), key);
        let told = asked.told.as_ref();
        // Of a call whose choice is not told, all that is known is who took it.
        let shape = told.map_or(Shape { reach: u16::MAX, ..Shape::default() }, |told| told.shape);
        let eligible = Eligible::of(&way, snapshot, key, &shape);
        Some(Self { snapshot, way, eligible, told })
    }

    /// A call that goes to one candidate and no further: a form, for one. Else its record would tell of a choice.
    fn goes_to_one(&self) -> bool {
        self.told.is_none() && (self.way.places().len() > 1 || self.way.route.is_some())
    }

    /// Whether anybody looked at what the call needs: not where there was one candidate.
    fn is_measured(&self) -> bool {
        let models = &self.snapshot.catalog.models;
        let able = || self.way.places().iter().any(|&place| models[place as usize].can.is_some());
        self.told.is_some() && (self.way.places().len() > 1 || self.way.route.is_some() || able())
    }

    fn candidates(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.way.places().iter().enumerate().map(|(at, &place)| (at, name_of(self.snapshot, place)))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.candidates().find(|(_, known)| known == name).map(|(at, _)| at)
    }

    /// How a candidate was; not of those that could not see the call anyway, and not what an operator did by hand then.
    fn vital(&self, at: usize) -> Option<Vital> {
        let vital = self.told?.vitals[at];
        (self.eligible.holds(at as u8) && vital.grade != Grade::Drained).then_some(vital)
    }

    fn reaches(
        &self,
        asked: &Asked,
        vendor: &str,
        id: &str,
        dialect: weir_shared::catalog::Dialect,
        kind: &str,
    ) -> bool {
        let catalog = &self.snapshot.catalog;
        let mut alike = None;
        for (at, &place) in self.way.places().iter().enumerate() {
            let model = &catalog.models[place as usize];
            let own = &catalog.vendors[model.vendor as usize];
            let reached = match self.told {
                Some(told) => told.shape.reach & 1 << at != 0,
                None => asked.vendors.iter().any(|vendor| **vendor == *own.name),
            };
            if *own.name == *vendor && *model.id == *id {
                return reached;
            }
            if own.dialect == dialect && *model.kind == *kind && alike != Some(true) {
                alike = Some(reached);
            }
        }
        let same_kind = || {
            let answered = self.way.places().iter().map(|&place| &catalog.models[place as usize]);
            let mut answered = answered.filter(|model| *model.id == *asked.model);
            answered.next().is_none_or(|model| *model.kind == *kind)
        };
        alike.unwrap_or_else(|| same_kind() && matches!(kind, "chat" | "embedding" | "rerank"))
    }
}

/// Whether the condition was true, when the route of then has the same.
fn said(route: &Route, told: &Told, condition: &Condition) -> Option<bool> {
    let place = route.conditions.iter().position(|known| known == condition)?;
    Some(told.shape.conditions & 1 << place != 0)
}

fn stuck(route: &Route, told: &Told, by: &StickyBy) -> Option<u64> {
    let place = route.sticky.iter().position(|known| known == by)?;
    told.shape.sticky.get(place).copied()
}

/// A caller of whose head and body nothing is known any more.
struct Unheard<'k> {
    key: &'k Key,
}

impl Asker for Unheard<'_> {
    fn key(&self) -> &Key {
        self.key
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }

    fn metadata(&self, _: &str) -> Option<String> {
        None
    }

    fn sticky(&self, _: &StickyBy) -> u64 {
        0
    }
}

fn refusal(way: &Way<'_>, eligible: &Eligible) -> Why {
    let reasons = (0..way.places().len() as u8).filter_map(|at| eligible.reason(at));
    let worst = reasons.filter(|unfit| *unfit != Unfit::Forbidden).max_by_key(|unfit| *unfit as u8);
    worst.map_or(Why::NotFound, |unfit| Why::NotAllowed(unfit.name()))
}

pub fn name_of(snapshot: &Snapshot, place: u32) -> String {
    let model = &snapshot.catalog.models[place as usize];
    format!("{}/{}", snapshot.vendor_of(model).name, model.id)
}
