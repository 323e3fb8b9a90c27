//! How a part of a revision stands in the store, and what is said of one that this build does not understand.
//!
//! Builds of different versions read one store, so there are rules between them:
//!
//! * A word that a build does not know is refused, never passed over: it may be the one that keeps calls in a region. So what a
//!   newer build adds is written only where somebody used it, and a folder that uses nothing new reads in the older one.
//! * `schema` is raised when a known word changes its meaning; what is older is read, what is newer is refused.
//! * A part of an unknown name is refused like a word, unless its name begins with [`draft::part::BESIDE`](crate::draft::part):
//!   then it is the control plane's alone, and nodes pass over it.
//! * Whoever refuses names the line that an operator wrote, where there is one.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::draft::{ModelDraft, SCHEMA, Sourced, VendorDraft};
use crate::fault::Source;

/// A part that is a list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List<T> {
    schema: u32,
    items: Vec<T>,
}

/// A vendor and its models.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfVendor<V, M> {
    schema: u32,
    vendor: V,
    models: Vec<M>,
}

/// A stored part that this build cannot read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unreadable {
    NewerSchema {
        part: String,
        schema: u32,
        /// What was written there first; of the operator's folder, where it comes from there.
        source: Source,
    },
    UnknownPart {
        part: String,
    },
    Malformed {
        part: String,
        source: Source,
        reason: String,
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |source: &Source| if source.file.is_empty() { String::new() } else { format!("{source}: ") };
        match self {
            Self::NewerSchema { part, schema, source } => {
                let at = at(source);
                write!(f, "{at}{part} has schema {schema}, this build reads up to {SCHEMA}; upgrade this node first")
            }
            Self::UnknownPart { part } => {
                write!(f, "{part} is a part that this build does not know; upgrade this node first")
            }
            Self::Malformed { part, source, reason } => write!(f, "{}{part} cannot be read: {reason}", at(source)),
        }
    }
}

pub fn list<T: Serialize>(items: &[T]) -> Vec<u8> {
    encode(&List { schema: SCHEMA, items: items.iter().collect() })
}

pub fn read_list<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<Vec<T>, Unreadable> {
    match serde_json::from_slice::<List<T>>(bytes) {
        Ok(list) if list.schema <= SCHEMA => Ok(list.items),
        other => Err(unreadable(part, bytes, other.err(), |loose| loose.items.iter().find_map(|raw| wrong::<T>(raw)))),
    }
}

pub fn vendor(vendor: &Sourced<VendorDraft>, models: &[&Sourced<ModelDraft>]) -> Vec<u8> {
    encode(&OfVendor { schema: SCHEMA, vendor, models: models.to_vec() })
}

pub fn read_vendor(part: &str, bytes: &[u8]) -> Result<(Sourced<VendorDraft>, Vec<Sourced<ModelDraft>>), Unreadable> {
    match serde_json::from_slice::<OfVendor<_, _>>(bytes) {
        Ok(value) if value.schema <= SCHEMA => Ok((value.vendor, value.models)),
        other => Err(unreadable(part, bytes, other.err(), |loose| {
            let vendor = loose.vendor.and_then(wrong::<Sourced<VendorDraft>>);
            vendor.or_else(|| loose.models.iter().find_map(|raw| wrong::<Sourced<ModelDraft>>(raw)))
        })),
    }
}

/// A part that is one table, with the schema among its members.
pub fn table<T: Serialize>(table: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Table<'t, T> {
        schema: u32,
        #[serde(flatten)]
        table: &'t T,
    }
    encode(&Table { schema: SCHEMA, table })
}

pub fn read_table<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<T, Unreadable> {
    let read = || {
        let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
        let schema = members.remove("schema").and_then(|schema| schema.as_u64());
        Ok((schema, serde_json::from_value(members.into())?))
    };
    match read() {
        Ok((Some(schema), table)) if schema <= u64::from(SCHEMA) => Ok(table),
        other => Err(unreadable(part, bytes, other.err(), |_| None)),
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Strings, integers, lists and maps with string keys: nothing that serde_json could refuse.
    serde_json::to_vec(value).unwrap_or_default()
}

/// As much as can be read of a part whose words are not all known.
#[derive(Deserialize)]
struct Loose<'a> {
    #[serde(default)]
    schema: u32,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    vendor: Option<&'a RawValue>,
    #[serde(borrow, default)]
    models: Vec<&'a RawValue>,
}

/// What is wrong with a part that was not read, and where an operator wrote that.
fn unreadable(
    part: &str,
    bytes: &[u8],
    error: Option<serde_json::Error>,
    find: impl FnOnce(&Loose<'_>) -> Option<(Source, String)>,
) -> Unreadable {
    let part = part.to_owned();
    let reason = error.as_ref().map_or_else(|| "it has no schema".to_owned(), words);
    let Ok(loose) = serde_json::from_slice::<Loose<'_>>(bytes) else {
        return Unreadable::Malformed { part, source: Source::default(), reason };
    };
    if loose.schema > SCHEMA {
        let first = loose.vendor.into_iter().chain(loose.items.iter().copied()).next();
        let source = first.map(source_of).unwrap_or_default();
        return Unreadable::NewerSchema { part, schema: loose.schema, source };
    }
    let (source, reason) = find(&loose).unwrap_or((Source::default(), reason));
    Unreadable::Malformed { part, source, reason }
}

/// Why one item cannot be read; nothing when it can.
fn wrong<T: DeserializeOwned>(raw: &RawValue) -> Option<(Source, String)> {
    let error = serde_json::from_str::<T>(raw.get()).err()?;
    Some((source_of(raw), words(&error)))
}

fn source_of(raw: &RawValue) -> Source {
    #[derive(Deserialize)]
    struct At {
        #[serde(default)]
        source: Source,
    }
    serde_json::from_str::<At>(raw.get()).map(|at| at.source).unwrap_or_default()
}

/// Where in the stored bytes it was found helps nobody.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}
