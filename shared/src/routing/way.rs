//! What a name leads to for one call: the candidates and the tree that orders them.

use std::hash::Hasher;

use crate::catalog::Model;
use crate::hash::NameHasher;
use crate::overlay::{Overlay, Part};
use crate::policy::resilience::Trying;
use crate::policy::routing::{Branch, CANDIDATES_MAX, Condition, Require, Route, StickyBy};
use crate::snapshot::{Catalog, Key, Snapshot};

use super::need;

/// Either a route of the operator's, or all vendors that serve a bare name, in their order.
#[derive(Clone, Debug)]
pub struct Way<'s> {
    places: [u32; CANDIDATES_MAX],
    count: u8,
    pub route: Option<&'s Route>,
}

impl<'s> Way<'s> {
    pub fn of_route(route: &'s Route) -> Self {
        Self { route: Some(route), ..Self::of_models(route.places.iter().copied()) }
    }

    /// More vendors than a route may have candidates are never needed to find one that is well.
    pub fn of_models(models: impl Iterator<Item = u32>) -> Self {
        let mut way = Self { places: [0; CANDIDATES_MAX], count: 0, route: None };
        models.take(CANDIDATES_MAX).for_each(|place| way.add(place));
        way
    }

    /// What this name means for this key. Whether the key may use any of it is not decided here.
    pub fn to(snapshot: &'s Snapshot, name: &str, key: &Key) -> Self {
        let catalog = &*snapshot.catalog;
        let name = catalog.followed(name, key);
        let mut way = match catalog.route(name) {
            Some(route) => Self::of_route(route),
            None => Self::of_models(catalog.named(name)),
        };
        if !snapshot.overlay.shifts.is_empty() {
            way.reach_shifted(catalog, &snapshot.overlay);
        }
        way
    }

    /// Where traffic of these candidates was moved to by hand is a candidate, too.
    fn reach_shifted(&mut self, catalog: &Catalog, overlay: &Overlay) {
        for shift in &overlay.shifts {
            let from: Vec<u32> =
                self.places().iter().copied().filter(|&place| shift.from.covers(catalog, place)).collect();
            for place in from {
                let id = &catalog.models[place as usize].id;
                match &shift.to {
                    // To another vendor of the same model.
                    Part::Vendor(_) => {
                        let there: Vec<u32> = catalog.named(id).filter(|&to| shift.to.covers(catalog, to)).collect();
                        there.into_iter().for_each(|place| self.add(place));
                    }
                    Part::Model(_, id) => {
                        let there: Vec<u32> = catalog.named(id).filter(|&to| shift.to.covers(catalog, to)).collect();
                        there.into_iter().for_each(|place| self.add(place));
                    }
                    Part::Credential(..) => {}
                }
            }
        }
    }

    /// One more candidate behind the others, when it is not there yet and there is room.
    pub fn add(&mut self, model: u32) {
        if usize::from(self.count) < CANDIDATES_MAX && !self.places().contains(&model) {
            self.places[usize::from(self.count)] = model;
            self.count += 1;
        }
    }

    /// Places of models in the catalog.
    pub fn places(&self) -> &[u32] {
        &self.places[..usize::from(self.count)]
    }

    pub fn root(&self) -> Option<&'s Branch> {
        self.route.map(|route| &route.root)
    }

    pub fn require(&self) -> Option<&'s Require> {
        self.route.map(|route| &route.require)
    }

    /// Whether the vendor of this candidate is known to meet what the route requires.
    pub fn meets(&self, at: usize) -> bool {
        // A candidate that was added by hand is none of the route's.
        let is_known = |route: &Route| route.met & 1 << at != 0 && route.places.get(at) == self.places().get(at);
        self.route.is_none_or(is_known)
    }

    pub fn trying(&self) -> Trying {
        self.route.map_or_else(Trying::default, |route| route.trying)
    }

    pub fn name(&self) -> &'s str {
        self.route.map_or("", |route| &route.name)
    }
}

/// Who asks, as far as conditions and sticky branches want to know.
pub trait Asker {
    fn key(&self) -> &Key;
    fn header(&self, name: &str) -> Option<&str>;
    fn metadata(&self, name: &str) -> Option<String>;
    /// A hash of what a branch sticks to; 0 when the call has nothing of the kind.
    fn sticky(&self, by: &StickyBy) -> u64;
}

/// What a branch sticks to, as a [`super::Shape`] has it. Stable across builds and nodes: a conversation stays where it is
/// when a node is replaced.
pub fn sticky_hash(bytes: &[u8]) -> u64 {
    let mut hasher = NameHasher::default();
    hasher.write(bytes);
    hasher.finish().max(1)
}

/// The conditions of a route that are true, one bit each.
pub fn conditions(route: &Route, asker: &dyn Asker, needs: u16, prompt_tokens: u32) -> u64 {
    let mut bits = 0;
    for (place, condition) in route.conditions.iter().enumerate() {
        bits |= u64::from(holds(condition, asker, needs, prompt_tokens)) << place;
    }
    bits
}

pub fn holds(condition: &Condition, asker: &dyn Asker, needs: u16, prompt_tokens: u32) -> bool {
    let key = asker.key();
    let prompt = u64::from(prompt_tokens);
    needs & condition.needs == condition.needs
        && needs & condition.needs_not == 0
        && condition.prompt_over.is_none_or(|over| prompt > over)
        && condition.prompt_up_to.is_none_or(|most| prompt <= most)
        && condition.key.as_ref().is_none_or(|p| p.matches(&key.name) || p.matches(key.id.as_str()))
        && condition.tenant.as_ref().is_none_or(|pattern| pattern.matches(&key.tenant.name))
        && condition.region.as_ref().is_none_or(|p| key.tenant.require.regions.iter().any(|r| p.matches(r)))
        && condition.header.as_ref().is_none_or(|(name, p)| asker.header(name).is_some_and(|v| p.matches(v)))
        && condition.metadata.as_ref().is_none_or(|(name, p)| asker.metadata(name).is_some_and(|v| p.matches(&v)))
}

/// Whether a model can do what a call needs; what nobody said of it is taken as given.
pub fn is_able(model: &Model, needs: u16) -> bool {
    model.can.is_none_or(|can| needs & need::CAPABILITIES & !can == 0)
}
