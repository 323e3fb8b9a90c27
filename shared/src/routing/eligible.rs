//! The hard constraints, before any choice. Only this file can say that a candidate may see a call.

use crate::catalog::{Model, Vendor};
use crate::policy::mirroring::Mirror;
use crate::policy::routing::{CANDIDATES_MAX, Require, Route};
use crate::snapshot::{Key, Snapshot};

use super::way::{Way, is_able};
use super::{Shape, dice, need};

/// Why a candidate may not see a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Unfit {
    /// The key or its tenant may not use the model.
    Forbidden,
    /// None of its regions is allowed.
    Region,
    /// It keeps what it is sent, or nobody said that it does not.
    Retention,
    /// It trains on what it is sent, or nobody said that it does not.
    Training,
    /// It cannot do what the call needs, as far as anybody said, and another can.
    Capability,
    /// The call cannot be said in its language.
    Language,
    /// The prompt is longer than what it can read, as far as its length tells, and another's is not.
    Context,
}

impl Unfit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "the key may not use it",
            Self::Region => "its region is not allowed",
            Self::Retention => "it may keep what it is sent",
            Self::Training => "it may train on what it is sent",
            Self::Capability => "it cannot do what the call needs",
            Self::Language => "the call cannot be said in its language",
            Self::Context => "the prompt is too long for it",
        }
    }
}

/// The candidates of a way that may see a call. There is no other way to make one, and `rank` takes nothing else: no
/// fallback can leave the set.
#[derive(Clone, Copy, Debug)]
pub struct Eligible {
    mask: u16,
    unfit: [Option<Unfit>; CANDIDATES_MAX],
}

impl Eligible {
    pub fn of(way: &Way<'_>, snapshot: &Snapshot, key: &Key, shape: &Shape) -> Self {
        let mut eligible = Self { mask: 0, unfit: [None; CANDIDATES_MAX] };
        let mut short = 0;
        let anything = Snapshot::may_use_anything(key);
        let of_tenant = Some(&key.tenant.require).filter(|require| !require.is_nothing());
        for (at, &place) in way.places().iter().enumerate() {
            let model = &snapshot.catalog.models[place as usize];
            let unfit = if !anything && !snapshot.may_use(place, key) {
                Some(Unfit::Forbidden)
            } else {
                let required = [way.require().filter(|_| !way.meets(at)), of_tenant];
                unfit(required, snapshot, shape, shape.reach & 1 << at != 0, model)
            };
            eligible.unfit[at] = unfit;
            match unfit {
                None => eligible.mask |= 1 << at,
                Some(Unfit::Context | Unfit::Capability) => short |= 1 << at,
                Some(_) => {}
            }
        }
        if eligible.mask == 0 {
            // A guess about tokens, or what a list says of a model, refuses nobody: the vendor knows better, and says so in
            // its own words.
            eligible.mask = short;
        }
        eligible
    }

    pub fn holds(&self, at: u8) -> bool {
        self.mask & 1 << at != 0
    }

    pub fn is_empty(&self) -> bool {
        self.mask == 0
    }

    /// Why a candidate is not among them. The first reason that was met.
    pub fn reason(&self, at: u8) -> Option<Unfit> {
        self.unfit.get(usize::from(at)).copied().flatten().filter(|_| !self.holds(at))
    }
}

/// Of a model that the key may use. `reached`: the call can be said in its language.
fn unfit(
    required: [Option<&Require>; 2],
    snapshot: &Snapshot,
    shape: &Shape,
    reached: bool,
    model: &Model,
) -> Option<Unfit> {
    for require in required.into_iter().flatten() {
        if let Some(unfit) = breaks(require, snapshot.vendor_of(model)) {
            return Some(unfit);
        }
    }
    if !reached {
        return Some(Unfit::Language);
    }
    if !is_able(model, shape.needs) {
        return Some(Unfit::Capability);
    }
    // Four fifths: the guess is a token for every four bytes, and some texts take fewer.
    let prompt = u64::from(shape.prompt_tokens) * 4 / 5;
    let media = shape.needs & (need::IMAGES | need::AUDIO | need::FILES) != 0;
    (model.context_tokens > 0 && prompt > model.context_tokens && !media).then_some(Unfit::Context)
}

/// What a call of this route also goes to: drawn by its dice, and held to the same constraints as any candidate, a guess
/// included. `None`: not drawn. `reached`: the call can be said in the mirror's language.
pub fn mirrored<'s>(
    route: &'s Route,
    snapshot: &Snapshot,
    key: &Key,
    shape: &Shape,
    reached: impl Fn(&Model) -> bool,
) -> Option<(&'s Mirror, Result<(), Unfit>)> {
    let mirror = route.mirror.as_ref()?;
    if dice(shape.seed, MIRROR_DICE) % 100 >= u64::from(mirror.percent) {
        return None;
    }
    let model = &snapshot.catalog.models[mirror.model as usize];
    if !snapshot.may_use(mirror.model, key) {
        return Some((mirror, Err(Unfit::Forbidden)));
    }
    let required = [Some(&route.require), Some(&key.tenant.require)];
    let unfit = unfit(required, snapshot, shape, reached(model), model);
    Some((mirror, unfit.map_or(Ok(()), Err)))
}

/// Candidates and branches have numbers of their own below this.
const MIRROR_DICE: u64 = 0x2_0000;

/// What of this a vendor breaks.
pub fn breaks(require: &Require, vendor: &Vendor) -> Option<Unfit> {
    let within = |region: &std::sync::Arc<str>| require.regions.contains(region);
    if !require.regions.is_empty() && (vendor.regions.is_empty() || !vendor.regions.iter().all(within)) {
        return Some(Unfit::Region);
    }
    if require.zero_retention && !vendor.zero_retention {
        return Some(Unfit::Retention);
    }
    (require.no_training && !vendor.no_training).then_some(Unfit::Training)
}
