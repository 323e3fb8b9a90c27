//! A model's name to the candidates that may serve this call. The rules are in `weir_shared::snapshot`; here they meet
//! the endpoint's dialect.

use weir_shared::catalog::{Dialect, Model};
use weir_shared::snapshot::Key;

use crate::live::Live;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// Unknown or forbidden: a caller cannot tell which.
    NotFound,
    /// Every vendor that serves it speaks another dialect, and calls of this endpoint are not translated.
    OtherDialect(Dialect),
}

/// Longer names are nobody's.
const NAME_BYTES_MAX: usize = 256;

/// The first candidate, in the operator's order, whose vendor speaks the caller's dialect, or any when it is translated.
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
    let mut other = None;
    for place in live.snapshot.candidates(name, key) {
        let model = &live.snapshot.catalog.models[place as usize];
        let spoken = live.snapshot.vendor_of(model).dialect;
        if spoken == dialect || reaches(model) {
            return Ok(model);
        }
        other.get_or_insert(spoken);
    }
    Err(other.map_or(Unresolved::NotFound, Unresolved::OtherDialect))
}

/// The vendor that a call without a model goes to: the named one, or the first of this dialect that the key may use.
pub fn vendor_for_objects(live: &Live, key: &Key, dialect: Dialect, named: Option<&str>) -> Option<u32> {
    let catalog = &live.snapshot.catalog;
    let usable = |place: &u32| {
        let model = &catalog.models[*place as usize];
        let vendor = &catalog.vendors[model.vendor as usize];
        vendor.dialect == dialect
            && named.is_none_or(|name| name == &*vendor.name)
            && live.snapshot.may_use(*place, key)
    };
    let vendors = (0..catalog.models.len() as u32).filter(usable).map(|place| catalog.models[place as usize].vendor);
    vendors.min()
}
