//! A model's name to the candidates that may serve this call. The rules are in `weir_shared::snapshot`; here they meet
//! the endpoint's dialect.

use weir_shared::catalog::{Dialect, Model};
use weir_shared::routing::{Eligible, Shape, Unfit, Way, breaks};
use weir_shared::snapshot::{Key, Snapshot};

use crate::clock;
use crate::live::Live;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// Unknown or forbidden: a caller cannot tell which.
    NotFound,
    /// Every vendor that serves it speaks another dialect, and calls of this endpoint are not translated.
    OtherDialect(Dialect),
    /// What the operator demands of whoever sees the call is true of none.
    NotAllowed(Unfit),
    /// An operator took all of them out of traffic.
    Drained,
}

/// Longer names are nobody's.
pub const NAME_BYTES_MAX: usize = 256;

/// The first candidate, in the operator's order, that may see the call and whose vendor speaks the caller's dialect, or any
/// when it is translated. For calls that go to one candidate and no further.
pub fn resolve<'l>(
    live: &'l Live,
    key: &Key,
    name: &str,
    dialect: Dialect,
    reaches: impl Fn(&Model) -> bool,
) -> Result<&'l Model, Unresolved> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Unresolved::NotFound);
    }
    let snapshot = &live.snapshot;
    let way = Way::to(snapshot, name, key);
    let shape = Shape { reach: reach(live, &way, dialect, reaches), ..Shape::default() };
    let eligible = Eligible::of(&way, snapshot, key, &shape);
    if eligible.is_empty() {
        return Err(none_eligible(live, &way, &eligible));
    }
    let now_s = clock::wall_seconds();
    let fit = way.places().iter().enumerate().filter(|(at, _)| eligible.holds(*at as u8)).map(|(_, place)| *place);
    let mut undrained = fit.filter(|&place| !snapshot.overlay.drains_model(&snapshot.catalog, place, now_s));
    undrained.next().map(|place| &snapshot.catalog.models[place as usize]).ok_or(Unresolved::Drained)
}

/// The candidates in whose language a call can be told, one bit each.
pub fn reach(live: &Live, way: &Way<'_>, dialect: Dialect, reaches: impl Fn(&Model) -> bool) -> u16 {
    let mut bits = 0;
    for (at, &place) in way.places().iter().enumerate() {
        let model = &live.snapshot.catalog.models[place as usize];
        let reached = live.snapshot.vendor_of(model).dialect == dialect || reaches(model);
        bits |= u16::from(reached) << at;
    }
    bits
}

/// The nearest miss is worth telling; what the key may not use, is not there.
pub fn none_eligible(live: &Live, way: &Way<'_>, eligible: &Eligible) -> Unresolved {
    let reasons = (0..way.places().len() as u8).filter_map(|at| eligible.reason(at));
    match reasons.filter(|unfit| *unfit != Unfit::Forbidden).max_by_key(|unfit| *unfit as u8) {
        None => Unresolved::NotFound,
        Some(Unfit::Language) => {
            let first = way.places().first().map(|&place| &live.snapshot.catalog.models[place as usize]);
            first.map_or(Unresolved::NotFound, |model| Unresolved::OtherDialect(live.snapshot.vendor_of(model).dialect))
        }
        Some(unfit) => Unresolved::NotAllowed(unfit),
    }
}

/// Whether a snapshot led this key's calls to a vendor that may see them; to one of this dialect, where it is named.
pub fn leads_somewhere(snapshot: &Snapshot, key: &Key, name: &str, dialect: Option<Dialect>) -> bool {
    if name.len() > NAME_BYTES_MAX {
        return false;
    }
    let way = Way::to(snapshot, name, key);
    let required = || way.require().into_iter().chain([&key.tenant.require]);
    way.places().iter().any(|&place| {
        let vendor = snapshot.vendor_of(&snapshot.catalog.models[place as usize]);
        snapshot.may_use(place, key)
            && required().all(|require| breaks(require, vendor).is_none())
            && dialect.is_none_or(|dialect| vendor.dialect == dialect)
    })
}

/// The vendor that a call without a model goes to: the named one, or the first of this dialect that the key may use and
/// that may see its calls.
pub fn vendor_for_objects(live: &Live, key: &Key, dialect: Dialect, named: Option<&str>) -> Result<u32, Unresolved> {
    let catalog = &live.snapshot.catalog;
    let usable = |place: &u32| {
        let model = &catalog.models[*place as usize];
        let vendor = &catalog.vendors[model.vendor as usize];
        vendor.dialect == dialect
            && named.is_none_or(|name| name == &*vendor.name)
            && live.snapshot.may_use(*place, key)
    };
    let vendors = (0..catalog.models.len() as u32).filter(usable).map(|place| catalog.models[place as usize].vendor);
    let mut vendors: Vec<u32> = vendors.collect();
    vendors.sort_unstable();
    vendors.dedup();
    let mut why = Unresolved::NotFound;
    for vendor in vendors {
        match may_see(live, key, vendor) {
            Ok(()) => return Ok(vendor),
            Err(unresolved) => why = unresolved,
        }
    }
    Err(why)
}

/// Whether a vendor may see calls of this key that name no model.
pub fn may_see(live: &Live, key: &Key, vendor: u32) -> Result<(), Unresolved> {
    let vendor = &live.snapshot.catalog.vendors[vendor as usize];
    if let Some(unfit) = breaks(&key.tenant.require, vendor) {
        return Err(Unresolved::NotAllowed(unfit));
    }
    if live.snapshot.overlay.drains_vendor(&vendor.name, clock::wall_seconds()) {
        return Err(Unresolved::Drained);
    }
    Ok(())
}
