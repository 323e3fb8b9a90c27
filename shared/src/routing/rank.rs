//! The order in which candidates are tried.

use std::sync::Arc;

use crate::catalog::Model;
use crate::policy::routing::{Branch, CANDIDATES_MAX, Is, Measure};
use crate::snapshot::Snapshot;
use crate::usage::{Class, Tier, Usage};

use super::eligible::{Eligible, Unfit};
use super::way::Way;
use super::{Grade, Shape, Vitals, dice};

/// A candidate that may see the call and takes calls now. Only [`rank`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Within its way.
    pub at: u8,
    /// Its model's place in the catalog.
    pub model: u32,
    pub grade: Grade,
}

/// Candidates in the order in which they are to be tried.
#[derive(Clone, Debug, Default)]
pub struct Ranked<'s> {
    list: [Option<Candidate>; CANDIDATES_MAX],
    count: u8,
    /// The branch of a `split` that the call was drawn for.
    pub label: Option<&'s Arc<str>>,
    /// Candidates that may see the call but take none now.
    pub waiting: u16,
}

impl Ranked<'_> {
    pub fn each(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.list[..usize::from(self.count)].iter().copied().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When nobody takes calls: one that only rests or is at its limits may be asked all the same, so that the caller
    /// hears the vendor's own word, or our word about its limits.
    pub fn last_resort(&self, way: &Way<'_>, vitals: &Vitals) -> Option<Candidate> {
        let grade = |at: u8| vitals[usize::from(at)].grade;
        let soft = |at: &u8| matches!(grade(*at), Grade::Cooling | Grade::Full | Grade::Spent | Grade::Barred);
        let at = (0..way.places().len() as u8).filter(|at| self.waiting & 1 << at != 0).find(soft)?;
        Some(Candidate { at, model: way.places()[usize::from(at)], grade: grade(at) })
    }
}

/// What was found out about a candidate, for those who explain a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Unfit(Unfit),
    /// It may see the call, but does not take any now.
    Graded(Grade),
    Ranked,
}

pub trait Witness {
    fn saw(&mut self, at: u8, what: Seen);
}

/// Nobody wants to know.
pub struct Unseen;

impl Witness for Unseen {
    fn saw(&mut self, _: u8, _: Seen) {}
}

pub fn rank<'s>(
    way: &Way<'s>,
    snapshot: &Snapshot,
    eligible: &Eligible,
    shape: &Shape,
    vitals: &Vitals,
    witness: &mut impl Witness,
) -> Ranked<'s> {
    let mut ranking = Ranking { way, snapshot, eligible, shape, vitals, label: None };
    let mut order = Order::default();
    match way.root() {
        Some(root) => ranking.branch(root, &mut order),
        None => (0..way.places().len() as u8).for_each(|at| order.push(at)),
    }
    ranking.shift(&mut order);
    let mut ranked = Ranked { label: ranking.label, ..Ranked::default() };
    for &at in order.each() {
        if let Some(unfit) = eligible.reason(at) {
            witness.saw(at, Seen::Unfit(unfit));
            continue;
        }
        let grade = vitals[usize::from(at)].grade;
        if !grade.takes_calls() {
            ranked.waiting |= 1 << at;
            witness.saw(at, Seen::Graded(grade));
            continue;
        }
        witness.saw(at, Seen::Ranked);
        let model = way.places()[usize::from(at)];
        ranked.list[usize::from(ranked.count)] = Some(Candidate { at, model, grade });
        ranked.count += 1;
    }
    ranked
}

/// What a call of this shape is likely to cost at a model, in pico-dollars.
pub fn likely_cost(model: &Model, shape: &Shape) -> u128 {
    let usage = Usage::NONE
        .with(Class::Input, u64::from(shape.prompt_tokens))
        .with(Class::Output, u64::from(shape.answer_tokens))
        .with(Class::Request, 1);
    model.price.cost(&usage, Tier::Standard).map_or(u128::MAX >> 1, |pico| pico.0.unsigned_abs() & (u128::MAX >> 1))
}

struct Ranking<'r, 's> {
    way: &'r Way<'s>,
    snapshot: &'r Snapshot,
    eligible: &'r Eligible,
    shape: &'r Shape,
    vitals: &'r Vitals,
    label: Option<&'s Arc<str>>,
}

/// Places within the way, each once.
#[derive(Clone, Copy, Default)]
struct Order {
    list: [u8; CANDIDATES_MAX],
    count: u8,
    /// One bit for each that is in it.
    there: u16,
}

impl Order {
    fn push(&mut self, at: u8) {
        if usize::from(self.count) < CANDIDATES_MAX && self.there & 1 << at == 0 {
            self.there |= 1 << at;
            self.list[usize::from(self.count)] = at;
            self.count += 1;
        }
    }

    fn each(&self) -> &[u8] {
        &self.list[..usize::from(self.count)]
    }
}

impl<'s> Ranking<'_, 's> {
    fn branch(&mut self, branch: &'s Branch, order: &mut Order) {
        if branch.when.is_some_and(|when| self.shape.conditions & 1 << when == 0) {
            return;
        }
        match &branch.is {
            Is::Models(models) => models.iter().for_each(|&at| order.push(at)),
            Is::Order(branches) => branches.iter().for_each(|branch| self.branch(branch, order)),
            Is::Weight(branches) => self.drawn(branch.number, branches, order),
            Is::Split(branches) => self.split(branch.number, branches, order),
            Is::Least(Measure::Latency, branches) => self.by_latency(branch.number, branches, order),
            Is::Least(measure, branches) => self.sorted(branches, order, |ranking, at| ranking.measure(*measure, at)),
            Is::CheapestUnder(bound, branches) => self.sorted(branches, order, |ranking, at| {
                let pace = ranking.vitals[usize::from(at)].pace;
                let late = u128::from(pace > *bound);
                late << 127 | if late == 1 { u128::from(pace) } else { ranking.cost(at) }
            }),
            Is::Sticky(by, branches) => self.stuck(usize::from(*by), branches, order),
        }
    }

    /// Each by chance, in proportion to its share, from those that are left.
    fn drawn(&mut self, number: u8, branches: &'s [Branch], order: &mut Order) {
        let mut left = Members::all(self.present(branches));
        while let Some(place) = self.draw(number, branches, &left) {
            left.remove(place);
            self.branch(&branches[place], order);
        }
    }

    fn split(&mut self, number: u8, branches: &'s [Branch], order: &mut Order) {
        let left = Members::all(self.present(branches));
        if let Some(place) = self.draw(number, branches, &left) {
            self.label = branches[place].label.as_ref();
            self.branch(&branches[place], order);
        }
    }

    fn draw(&self, number: u8, branches: &[Branch], left: &Members) -> Option<usize> {
        let total: u64 = left.each().map(|place| u64::from(branches[place].share)).sum();
        if total == 0 {
            return None;
        }
        let turn = left.each().count() as u64;
        let mut at = dice(self.shape.seed, u64::from(number) << 8 | turn) % total;
        left.each().find(|&place| match at.checked_sub(u64::from(branches[place].share)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        })
    }

    /// The faster of two that are drawn by chance, so that not everybody runs to the same one; then the others in order.
    fn by_latency(&mut self, number: u8, branches: &'s [Branch], order: &mut Order) {
        let mut sorted = self.measured(branches, |ranking, at| ranking.measure(Measure::Latency, at));
        let well = sorted.well();
        if well > 2 {
            let first = (dice(self.shape.seed, u64::from(number) << 8) % well as u64) as usize;
            let second = (dice(self.shape.seed, u64::from(number) << 8 | 1) % (well as u64 - 1)) as usize;
            let second = if second >= first { second + 1 } else { second };
            sorted.bring_forward(first.min(second));
        }
        sorted.each().iter().for_each(|part| part.order.each().iter().for_each(|&at| order.push(at)));
    }

    fn sorted(&mut self, branches: &'s [Branch], order: &mut Order, measure: impl Fn(&Self, u8) -> u128) {
        let sorted = self.measured(branches, measure);
        sorted.each().iter().for_each(|part| part.order.each().iter().for_each(|&at| order.push(at)));
    }

    /// Rendezvous: each branch has dice of its own for the same thing, and the highest takes it. A branch that comes or
    /// goes moves only what was its own.
    fn stuck(&mut self, by: usize, branches: &'s [Branch], order: &mut Order) {
        let thing = match self.shape.sticky[by] {
            // Nothing to stick to: chance.
            0 => self.shape.seed,
            thing => thing,
        };
        let scores: [u128; CANDIDATES_MAX] = std::array::from_fn(|place| match branches.get(place) {
            Some(branch) => {
                let luck = u128::from(dice(thing, u64::from(branch.number)) | 1);
                // The smallest of -ln(u)/share wins; 2^64/u grows as -ln(u) falls, and needs no logarithm for equal shares.
                (u128::MAX / luck) / u128::from(branch.share.max(1))
            }
            None => u128::MAX,
        });
        let mut left = Members::all(self.present(branches));
        while let Some(place) = left.each().min_by_key(|&place| scores[place]) {
            left.remove(place);
            self.branch(&branches[place], order);
        }
    }

    /// Which branches are there for this call.
    fn present(&self, branches: &[Branch]) -> u32 {
        let there = |branch: &Branch| branch.when.is_none_or(|when| self.shape.conditions & 1 << when != 0);
        branches.iter().enumerate().fold(0, |bits, (place, branch)| bits | u32::from(there(branch)) << place)
    }

    /// Branches by what their first candidate that takes calls measures; those without any come last.
    fn measured(&mut self, branches: &'s [Branch], measure: impl Fn(&Self, u8) -> u128) -> Sorted {
        let mut sorted = Sorted::default();
        let present = Members::all(self.present(branches));
        for place in present.each() {
            let mut order = Order::default();
            let label = self.label;
            self.branch(&branches[place], &mut order);
            self.label = label;
            let taker = order.each().iter().copied().find(|&at| self.takes(at));
            let weighs = taker.map_or(u128::MAX, |at| measure(self, at).min(u128::MAX - 1));
            sorted.insert(Part { weighs, order });
        }
        sorted
    }

    fn takes(&self, at: u8) -> bool {
        self.eligible.holds(at) && self.vitals[usize::from(at)].grade.takes_calls()
    }

    fn measure(&self, measure: Measure, at: u8) -> u128 {
        let vital = &self.vitals[usize::from(at)];
        match measure {
            Measure::Cost => self.cost(at),
            // One that nobody knows yet is tried.
            Measure::Latency => u128::from(vital.pace),
            Measure::Busy => u128::from(vital.busy),
        }
    }

    /// What this very call is likely to cost there.
    fn cost(&self, at: u8) -> u128 {
        likely_cost(&self.snapshot.catalog.models[self.way.places()[usize::from(at)] as usize], self.shape)
    }

    /// An operator's shift of traffic, from whoever comes first to another.
    fn shift(&mut self, order: &mut Order) {
        let Some(&first) = order.each().first() else { return };
        let catalog = &self.snapshot.catalog;
        let model = |at: u8| self.way.places()[usize::from(at)];
        for (number, shift) in self.snapshot.overlay.shifts.iter().enumerate() {
            if shift.until <= u64::from(self.shape.now_s) || !shift.from.covers(catalog, model(first)) {
                continue;
            }
            if dice(self.shape.seed, 0xff00 + number as u64) % 100 >= u64::from(shift.percent) {
                return;
            }
            let mut moved = Order::default();
            let to = (0..self.way.places().len() as u8).filter(|&at| shift.to.covers(catalog, model(at)));
            to.filter(|&at| self.eligible.holds(at)).for_each(|at| moved.push(at));
            order.each().iter().for_each(|&at| moved.push(at));
            *order = moved;
            return;
        }
    }
}

/// Branches as bits; more than 32 on one level are a fault of the draft.
#[derive(Clone, Copy)]
struct Members(u32);

impl Members {
    fn all(bits: u32) -> Self {
        Self(bits)
    }

    fn remove(&mut self, place: usize) {
        self.0 &= !(1 << place);
    }

    fn each(&self) -> impl Iterator<Item = usize> + use<> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let place = (bits != 0).then(|| bits.trailing_zeros() as usize);
            bits &= bits.wrapping_sub(1);
            place
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Part {
    weighs: u128,
    order: Order,
}

/// Few enough that inserting in order is the quickest sort.
#[derive(Default)]
struct Sorted {
    parts: [Part; CANDIDATES_MAX],
    count: usize,
}

impl Sorted {
    fn insert(&mut self, part: Part) {
        if self.count == CANDIDATES_MAX {
            return;
        }
        let mut at = self.count;
        while at > 0 && self.parts[at - 1].weighs > part.weighs {
            self.parts[at] = self.parts[at - 1];
            at -= 1;
        }
        self.parts[at] = part;
        self.count += 1;
    }

    fn well(&self) -> usize {
        self.each().iter().filter(|part| part.weighs != u128::MAX).count()
    }

    fn bring_forward(&mut self, place: usize) {
        self.parts[..=place].rotate_right(1);
    }

    fn each(&self) -> &[Part] {
        &self.parts[..self.count]
    }
}
