//! Objects with ids: sealed on their way down, opened on their way up. One tenant never sees another's.

use weir_shared::fault::Code;
use weir_shared::snapshot::Key;

use super::Scene;
use crate::accept::Request;
use crate::live::Live;
use crate::parse::{Call, Route, Splices};
use crate::refusal::Refusal;
use crate::resolve::{self, Unresolved};
use crate::seal;
use crate::wire::json;

/// Where an object lives.
pub struct Pin {
    pub vendor: u32,
    pub credential: usize,
    pub id: String,
}

/// A batch runs whatever models its file names, and nobody here reads them: it is for keys that may use all of the
/// vendor's models.
pub fn may_batch(live: &Live, key: &Key, vendor: u32) -> Result<(), Refusal> {
    let models = live.snapshot.catalog.models.iter().enumerate();
    let mut of_vendor = models.filter(|(_, model)| model.vendor == vendor);
    if of_vendor.all(|(place, _)| live.snapshot.may_use(place as u32, key)) {
        return Ok(());
    }
    Err(Refusal::new(Code::ModelNotFound, "Batches are for keys that may use every model of the vendor."))
}

/// The object that a path or a body names, if any. Whatever does not open is not found.
pub fn open(live: &Live, key: &Key, route: &Route, call: &Call<'_>, body: &[u8]) -> Result<Option<Pin>, Refusal> {
    let not_found = || Refusal::plain(Code::ObjectNotFound);
    let mut found: Option<Pin> = match &route.id {
        Some(id) => Some(pin(live, key, id).ok_or_else(not_found)?),
        None => None,
    };
    for place in &call.places.ids {
        let value = json::text(&body[place.clone()]).ok_or_else(not_found)?;
        let next = pin(live, key, &value).ok_or_else(not_found)?;
        if found.as_ref().is_some_and(|first| (first.vendor, first.credential) != (next.vendor, next.credential)) {
            return Err(Refusal::new(
                Code::ObjectNotFound,
                "These objects live under different credentials; they cannot be used together.",
            ));
        }
        found.get_or_insert(next);
    }
    Ok(found)
}

fn pin(live: &Live, key: &Key, sealed: &str) -> Option<Pin> {
    let opened = seal::open(&live.seal, &key.tenant.name, sealed)?;
    let vendors = &live.snapshot.catalog.vendors;
    let vendor = vendors.iter().position(|vendor| *vendor.name == *opened.vendor)?;
    let credential = vendors[vendor].credentials.iter().position(|known| *known.name == *opened.credential)?;
    Some(Pin { vendor: vendor as u32, credential, id: opened.id })
}

/// The body with the vendor's own ids in it; `None` when it names no object.
pub fn opened(live: &Live, key: &Key, call: &Call<'_>, body: &[u8]) -> Option<Vec<u8>> {
    if call.places.ids.is_empty() {
        return None;
    }
    let mut splices = Splices::default();
    unseal_into(&mut splices, live, key, call, body);
    let mut opened = Vec::with_capacity(body.len());
    splices.apply(body, &mut opened);
    Some(opened)
}

/// Puts the vendors' own ids where the body names sealed ones.
pub fn unseal_into(splices: &mut Splices, live: &Live, key: &Key, call: &Call<'_>, body: &[u8]) {
    for place in &call.places.ids {
        let opened = json::text(&body[place.clone()]).and_then(|text| seal::open(&live.seal, &key.tenant.name, &text));
        if let Some(opened) = opened {
            let mut quoted = vec![b'"'];
            json::escape_into(&mut quoted, &opened.id);
            quoted.push(b'"');
            splices.replace(place.clone(), quoted);
        }
    }
}

/// The vendor for a call without a model: `x-weir-vendor` names it, or it is the first that the key may use.
pub fn vendor(scene: &Scene<'_>, key: &Key, request: &Request) -> Result<u32, Refusal> {
    let head = request.head_bytes();
    let named = request.head.fields.iter().find(|field| field.name_in(head).eq_ignore_ascii_case(b"x-weir-vendor"));
    let named = named.and_then(|field| std::str::from_utf8(field.value_in(head)).ok());
    resolve::vendor_for_objects(scene.live, key, scene.dialect, named).map_err(|unresolved| match unresolved {
        Unresolved::NotFound | Unresolved::OtherDialect(_) => Refusal::new(
            Code::ModelNotFound,
            "No vendor that this key may use keeps such objects; x-weir-vendor names one.",
        ),
        other => other.into(),
    })
}

/// Ids of one answer; each costs two hashes.
const SEALED_MAX: usize = 20_000;

/// An answer with the ids in it sealed; `None` when it names no object.
pub fn seal_ids(live: &Live, key: &Key, vendor: &str, credential: &str, document: &[u8]) -> Option<Vec<u8>> {
    let mut splices = Splices::default();
    let mut sealed = 0;
    let each = |member: json::Member<'_>| {
        if !member.scalar || seal::names(member.key).is_none() || seal::looks_sealed(member.value) {
            return;
        }
        sealed += 1;
        if sealed > SEALED_MAX {
            // No vendor lists so many; what is left names nothing.
            splices.replace(member.at..member.at + member.value.len(), b"null".to_vec());
            return;
        }
        let Some(text) = json::text(member.value) else { return };
        if let Some(sealed) = seal::seal(&live.seal, &key.tenant.name, vendor, credential, &text) {
            splices.replace(member.at..member.at + member.value.len(), format!("\"{sealed}\"").into_bytes());
        }
    };
    // Whoever lists no ids may list a million numbers.
    let lists = memchr::memmem::find(document, b"_ids\"").is_some();
    let scanned = if lists { json::scan_with_elements(document, each) } else { json::scan(document, each) };
    scanned.ok()?;
    if splices.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(splices.length(document.len()));
    splices.apply(document, &mut out);
    Some(out)
}
