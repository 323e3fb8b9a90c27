//! What an operator changed by hand at one in the morning: vendors, credentials and models out of traffic, and traffic moved
//! from one to another. It lies over the folder's routes, survives `apply`, names its author, and ends by itself.

use serde::{Deserialize, Serialize};

use crate::snapshot::Catalog;

/// As it stands in the store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayDraft {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<DrainDraft>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<ShiftDraft>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "DrainWords")]
pub struct DrainDraft {
    /// `vendor`, `vendor#credential` or `vendor/model`.
    pub what: String,
    #[serde(flatten)]
    pub by: ByHand,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "ShiftWords")]
pub struct ShiftDraft {
    /// `vendor` or `vendor/model`.
    pub from: String,
    pub to: String,
    pub percent: u32,
    #[serde(flatten)]
    pub by: ByHand,
}

/// Who changed something by hand, and for how long it holds. Seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ByHand {
    pub author: String,
    pub reason: String,
    pub since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// An entry as it is read: serde refuses a word that it does not know only where no member is spread over its table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainWords {
    what: String,
    author: String,
    #[serde(default)]
    reason: String,
    since: u64,
    #[serde(default)]
    until: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftWords {
    from: String,
    to: String,
    percent: u32,
    author: String,
    #[serde(default)]
    reason: String,
    since: u64,
    #[serde(default)]
    until: Option<u64>,
}

impl From<DrainWords> for DrainDraft {
    fn from(DrainWords { what, author, reason, since, until }: DrainWords) -> Self {
        Self { what, by: ByHand { author, reason, since, until } }
    }
}

impl From<ShiftWords> for ShiftDraft {
    fn from(ShiftWords { from, to, percent, author, reason, since, until }: ShiftWords) -> Self {
        Self { from, to, percent, by: ByHand { author, reason, since, until } }
    }
}

impl ByHand {
    pub fn holds(&self, now_s: u64) -> bool {
        self.until.is_none_or(|until| until > now_s)
    }

    fn words(&self) -> String {
        match self.reason.as_str() {
            "" => format!(" (by {})", self.author),
            reason => format!(" (by {}: {reason})", self.author),
        }
    }
}

impl OverlayDraft {
    /// What holds at this moment, a line each.
    pub fn words(&self, now_s: u64) -> Vec<String> {
        let drains = self.drains.iter().filter(|drain| drain.by.holds(now_s));
        let drains = drains.map(|drain| format!("{} is drained{}", drain.what, drain.by.words()));
        let shifts = self.shifts.iter().filter(|shift| shift.by.holds(now_s)).map(|shift| {
            let ShiftDraft { from, to, percent, by } = shift;
            format!("{percent}% of {from} go to {to} first{}", by.words())
        });
        drains.chain(shifts).collect()
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, now_s: u64) {
        self.drains.retain(|drain| drain.by.holds(now_s));
        self.shifts.retain(|shift| shift.by.holds(now_s));
    }
}

/// As it is obeyed.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    pub drains: Vec<Drain>,
    pub shifts: Vec<Shift>,
}

#[derive(Clone, Debug)]
pub struct Drain {
    pub what: Part,
    pub until: u64,
}

#[derive(Clone, Debug)]
pub struct Shift {
    pub from: Part,
    pub to: Part,
    pub percent: u32,
    pub until: u64,
}

/// A part of the catalog, by its names: it may come and go while the overlay stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    Vendor(Box<str>),
    Credential(Box<str>, Box<str>),
    Model(Box<str>, Box<str>),
}

impl Part {
    pub fn parse(text: &str) -> Option<Self> {
        let named = |name: &str| Some(Box::<str>::from(name)).filter(|name| !name.is_empty());
        if let Some((vendor, credential)) = text.split_once('#') {
            return Some(Self::Credential(named(vendor)?, named(credential)?));
        }
        match text.split_once('/') {
            Some((vendor, model)) => Some(Self::Model(named(vendor)?, named(model)?)),
            None => named(text).map(Self::Vendor),
        }
    }

    /// Whether the model is (of) this part. A credential is no model.
    pub fn covers(&self, catalog: &Catalog, place: u32) -> bool {
        let Some(model) = catalog.models.get(place as usize) else { return false };
        let vendor = &catalog.vendors[model.vendor as usize].name;
        match self {
            Self::Vendor(name) => **name == **vendor,
            Self::Model(name, id) => **name == **vendor && **id == *model.id,
            Self::Credential(..) => false,
        }
    }

    /// Whether the part is there at all.
    pub fn exists(&self, catalog: &Catalog) -> bool {
        let vendor = |name: &str| catalog.vendors.iter().find(|vendor| &*vendor.name == name);
        match self {
            Self::Vendor(name) => vendor(name).is_some(),
            Self::Credential(name, credential) => {
                vendor(name).is_some_and(|v| v.credentials.iter().any(|known| *known.name == **credential))
            }
            Self::Model(..) => (0..catalog.models.len() as u32).any(|place| self.covers(catalog, place)),
        }
    }
}

impl Overlay {
    /// What cannot be read is passed over: it was checked when it was written, and a newer build may know more.
    pub fn compile(draft: &OverlayDraft) -> Self {
        let until = |until: Option<u64>| until.unwrap_or(u64::MAX);
        let drain = |d: &DrainDraft| Some(Drain { what: Part::parse(&d.what)?, until: until(d.by.until) });
        let shift = |s: &ShiftDraft| {
            let (from, to) = (Part::parse(&s.from)?, Part::parse(&s.to)?);
            Some(Shift { from, to, percent: s.percent.min(100), until: until(s.by.until) })
        };
        Self {
            drains: draft.drains.iter().filter_map(drain).collect(),
            shifts: draft.shifts.iter().filter_map(shift).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.drains.is_empty() && self.shifts.is_empty()
    }

    pub fn drains_model(&self, catalog: &Catalog, place: u32, now_s: u64) -> bool {
        self.drains.iter().any(|drain| drain.until > now_s && drain.what.covers(catalog, place))
    }

    /// Whether a vendor as a whole is out of traffic: also calls that name no model.
    pub fn drains_vendor(&self, vendor: &str, now_s: u64) -> bool {
        let is = |drain: &Drain| matches!(&drain.what, Part::Vendor(name) if **name == *vendor);
        self.drains.iter().any(|drain| drain.until > now_s && is(drain))
    }

    pub fn drains_credential(&self, vendor: &str, credential: &str, now_s: u64) -> bool {
        let is = |drain: &Drain| match &drain.what {
            Part::Credential(v, c) => **v == *vendor && **c == *credential,
            _ => false,
        };
        self.drains.iter().any(|drain| drain.until > now_s && is(drain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may be the one that keeps something from happening.
    #[test]
    fn a_word_within_an_entry_that_nobody_knows_is_refused() {
        let by = r#""author":"a","reason":"","since":1"#;
        let drain = format!(r#"{{"drains":[{{"what":"v",{by}"#);
        let shift = format!(r#"{{"shifts":[{{"from":"v","to":"w","percent":5,{by}"#);
        for entry in [drain, shift] {
            let whole = format!("{entry}}}]}}");
            let draft: OverlayDraft = serde_json::from_str(&whole).unwrap();
            assert_eq!(serde_json::to_string(&draft).unwrap(), whole, "the bytes of an older build");
            let until: OverlayDraft = serde_json::from_str(&format!("{entry},\"until\":7}}]}}")).unwrap();
            assert_ne!(until, draft);
            let error = serde_json::from_str::<OverlayDraft>(&format!("{entry},\"untl\":7}}]}}")).unwrap_err();
            assert!(error.to_string().contains("unknown field `untl`"), "{error}");
        }
    }

    #[test]
    fn parts_read() {
        assert_eq!(Part::parse("openai"), Some(Part::Vendor("openai".into())));
        assert_eq!(Part::parse("openai#main"), Some(Part::Credential("openai".into(), "main".into())));
        assert_eq!(Part::parse("router/openai/gpt"), Some(Part::Model("router".into(), "openai/gpt".into())));
        for wrong in ["", "/gpt", "openai/", "#x", "openai#"] {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }
}
