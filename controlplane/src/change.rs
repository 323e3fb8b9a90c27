//! What one revision says differently from another, in words. Where something stands in a file is no difference.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use weir_shared::draft::{Draft, ModelDraft, PriceDraft, Sourced, VendorDraft};
use weir_shared::key::KeyDraft;
use weir_shared::sealed::{SealedDraft, Version};

use crate::price;
use crate::table::{Paint, count, harmless};
use crate::when;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Added,
    Removed,
    Changed,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    pub verb: Verb,
    /// gateway, vendor, model, alias, tenant, route, key, sealed
    pub kind: &'static str,
    /// A model is named `vendor/id`.
    pub name: String,
    /// What was added or removed, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Detail {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// Everything but the keys.
pub fn between(old: &Draft, new: &Draft) -> Vec<Change> {
    let mut changes = Vec::new();
    let gateway = |draft: &Draft| {
        let value = draft.gateway.as_ref().map(|gateway| flat(&gateway.is));
        BTreeMap::from([("gateway".to_owned(), (value.unwrap_or_default(), String::new()))])
    };
    compare("gateway", &gateway(old), &gateway(new), &mut changes);
    compare("vendor", &vendors(old), &vendors(new), &mut changes);
    if let Some(order) = order(old, new) {
        changes.push(order);
    }
    compare("model", &models(old, new), &models(new, old), &mut changes);
    let aliases = |draft: &Draft| named(&draft.aliases, |alias| (alias.name.clone(), format!("for {}", alias.target)));
    compare("alias", &aliases(old), &aliases(new), &mut changes);
    let tenants = |draft: &Draft| {
        named(&draft.tenants, |tenant| {
            let markup = if tenant.markup_bp == 0 { String::new() } else { format!("markup {} bp", tenant.markup_bp) };
            (tenant.name.clone(), markup)
        })
    };
    compare("tenant", &tenants(old), &tenants(new), &mut changes);
    let routes = |draft: &Draft| named(&draft.routes, |route| (route.name.clone(), String::new()));
    compare("route", &routes(old), &routes(new), &mut changes);
    changes
}

pub fn between_keys(old: &[KeyDraft], new: &[KeyDraft]) -> Vec<Change> {
    let items = |keys: &[KeyDraft]| {
        let item = |key: &KeyDraft| {
            let mut fields = flat(key);
            fields.retain(|name, _| name != "hash" && !name.starts_with("source."));
            for name in ["created", "expires", "revoked"] {
                if let Some(value) = fields.get_mut(name) {
                    *value = value.parse().map_or_else(|_| value.clone(), when::stamp);
                }
            }
            let about = if key.name.is_empty() { key.tenant.clone() } else { format!("{}, {}", key.name, key.tenant) };
            (key.id.clone(), (fields, about))
        };
        keys.iter().map(item).collect::<Items>()
    };
    let mut changes = Vec::new();
    compare("key", &items(old), &items(new), &mut changes);
    changes
}

/// Vendors' secrets: that there is one, which version and under which key; what is sealed of it is nobody's to compare.
pub fn between_sealed(old: &[SealedDraft], new: &[SealedDraft]) -> Vec<Change> {
    let items = |all: &[SealedDraft]| {
        let item = |sealed: &SealedDraft| {
            let number = |version: &Version| version.version.to_string();
            let mut fields = Fields::from([("version".to_owned(), number(&sealed.current))]);
            fields.insert("key".to_owned(), sealed.current.kek.clone());
            fields.extend(sealed.previous.as_ref().map(|previous| ("before".to_owned(), number(previous))));
            (
                format!("{}#{}", sealed.vendor, sealed.credential),
                (fields, format!("version {}", sealed.current.version)),
            )
        };
        all.iter().map(item).collect::<Items>()
    };
    let mut changes = Vec::new();
    compare("sealed", &items(old), &items(new), &mut changes);
    changes
}

/// At most `most` changes of each kind and verb are shown.
pub fn render(changes: &[Change], paint: Paint, most: usize) -> String {
    let mut out = String::new();
    let mut shown: BTreeMap<(&str, u8), usize> = BTreeMap::new();
    for change in changes {
        let so_far = shown.entry((change.kind, change.verb as u8)).or_default();
        *so_far += 1;
        if *so_far > most {
            continue;
        }
        out.push_str(&line(change, paint));
        let width = change.details.iter().map(|detail| detail.key.chars().count()).max().unwrap_or(0);
        for Detail { key, old, new } in &change.details {
            let said = match (old, new) {
                (Some(old), Some(new)) => format!("{} → {}", harmless(old), harmless(new)),
                (None, Some(new)) => format!("→ {}", harmless(new)),
                (Some(old), None) => format!("{} → nothing", harmless(old)),
                (None, None) => continue,
            };
            out.push_str(&format!("      {key:<width$}  {said}\n"));
        }
    }
    for ((kind, verb), total) in shown {
        if let Some(more) = total.checked_sub(most).filter(|more| *more > 0) {
            let verb = [Verb::Added, Verb::Removed, Verb::Changed][usize::from(verb)];
            let verb = format!("{verb:?}").to_lowercase();
            out.push_str(&format!("  … and {} {verb}\n", count(more, &format!("more {kind}"))));
        }
    }
    out
}

pub fn summary(changes: &[Change]) -> String {
    let tally = |verb: Verb| changes.iter().filter(|change| change.verb == verb).count();
    let words = [(Verb::Added, "added"), (Verb::Changed, "changed"), (Verb::Removed, "removed")];
    let said: Vec<_> = words
        .iter()
        .filter(|(verb, _)| tally(*verb) > 0)
        .map(|(verb, word)| format!("{} {word}", tally(*verb)))
        .collect();
    said.join(", ")
}

/// For `history`, when nobody gave a reason: the first changes by name.
pub fn reason(changes: &[Change]) -> String {
    let mut said: Vec<_> = changes
        .iter()
        .take(NAMED_MAX)
        .map(|change| format!("{} {} {}", change.verb.sign(), change.kind, change.name))
        .collect();
    if let Some(more) = changes.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        said.push(format!("and {more} more"));
    }
    if said.is_empty() { "apply".to_owned() } else { said.join(", ") }
}

const NAMED_MAX: usize = 3;

impl Verb {
    fn sign(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        }
    }
}

fn line(change: &Change, paint: Paint) -> String {
    let about = if change.about.is_empty() { String::new() } else { format!("  {}", harmless(&change.about)) };
    let text = format!("{:<7} {}", change.kind, harmless(&change.name));
    match change.verb {
        Verb::Added => format!("  {}{}\n", paint.good(&format!("+ {text}")), paint.dim(&about)),
        Verb::Removed => format!("  {}{}\n", paint.bad(&format!("- {text}")), paint.dim(&about)),
        Verb::Changed => format!("  {}\n", paint.odd(&format!("~ {text}"))),
    }
}

type Fields = BTreeMap<String, String>;
/// By name: what it says, and what it is in a few words.
type Items = BTreeMap<String, (Fields, String)>;

fn compare(kind: &'static str, old: &Items, new: &Items, changes: &mut Vec<Change>) {
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (verb, about, details) = match (old.get(name), new.get(name)) {
            (None, Some((_, about))) => (Verb::Added, about.clone(), Vec::new()),
            (Some((_, about)), None) => (Verb::Removed, about.clone(), Vec::new()),
            (Some((old, _)), Some((new, _))) if old != new => (Verb::Changed, String::new(), details(old, new)),
            _ => continue,
        };
        changes.push(Change { verb, kind, name: name.clone(), about, details });
    }
}

fn details(old: &Fields, new: &Fields) -> Vec<Detail> {
    let keys = old.keys().chain(new.keys()).collect::<BTreeSet<_>>();
    let differs = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differs
        .map(|key| Detail { key: price::as_written(key), old: old.get(key).cloned(), new: new.get(key).cloned() })
        .collect()
}

fn named<T: Serialize>(items: &[Sourced<T>], about: impl Fn(&T) -> (String, String)) -> Items {
    let item = |item: &Sourced<T>| {
        let (name, about) = about(&item.is);
        (name, (flat(&item.is), about))
    };
    items.iter().map(item).collect()
}

fn vendors(draft: &Draft) -> Items {
    named(&draft.vendors, |vendor: &VendorDraft| {
        let models = draft.models.iter().filter(|model| model.is.vendor == vendor.name).count();
        (vendor.name.clone(), format!("{}, {}", vendor.base_url, count(models, "model")))
    })
}

/// A model whose vendor comes or goes as a whole is told with its vendor.
fn models(draft: &Draft, other: &Draft) -> Items {
    let stays: BTreeSet<_> = other.vendors.iter().map(|vendor| vendor.is.name.as_str()).collect();
    let there: BTreeSet<_> = draft.vendors.iter().map(|vendor| vendor.is.name.as_str()).collect();
    let told = |model: &&Sourced<ModelDraft>| {
        let vendor = model.is.vendor.as_str();
        stays.contains(vendor) || !there.contains(vendor)
    };
    let item = |model: &Sourced<ModelDraft>| {
        (format!("{}/{}", model.is.vendor, model.is.id), (flat(&model.is), price_in_words(&model.is)))
    };
    draft.models.iter().filter(told).map(item).collect()
}

pub fn price_in_words(model: &ModelDraft) -> String {
    let rate = |price: &PriceDraft, class: &str| price.rates.get(class).map(|rate| format!("{class} ${rate}"));
    match &model.price {
        _ if model.free => "free".into(),
        None => "no price".into(),
        Some(price) => {
            let mut said: Vec<_> = ["input", "output"].iter().filter_map(|class| rate(price, class)).collect();
            if said.is_empty() {
                said = price.rates.keys().filter_map(|class| rate(price, class)).collect();
            }
            said.join(", ")
        }
    }
}

/// Which of two vendors serves a bare name.
fn order(old: &Draft, new: &Draft) -> Option<Change> {
    let names = |draft: &Draft, other: &Draft| -> Vec<String> {
        let both = draft.vendors.iter().filter(|v| other.vendors.iter().any(|other| other.is.name == v.is.name));
        both.map(|vendor| vendor.is.name.clone()).collect()
    };
    let (before, after) = (names(old, new), names(new, old));
    (before != after).then(|| Change {
        verb: Verb::Changed,
        kind: "vendor",
        name: "order of preference".into(),
        about: String::new(),
        details: vec![Detail { key: "order".into(), old: Some(before.join(", ")), new: Some(after.join(", ")) }],
    })
}

/// Every leaf under its dotted path; items of a list under their name where they have one.
fn flat(item: &impl Serialize) -> Fields {
    let mut fields = Fields::new();
    flatten("", &serde_json::to_value(item).unwrap_or_default(), &mut fields);
    fields
}

fn flatten(path: &str, value: &Value, fields: &mut Fields) {
    let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| flatten(&under(key), value, fields)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (place, item) in items.iter().enumerate() {
                let name = match (&item["name"], &item["input_tokens"]) {
                    (Value::String(name), _) => name.clone(),
                    (_, Value::Number(tokens)) => tokens.to_string(),
                    _ => place.to_string(),
                };
                flatten(&under(&name), item, fields);
            }
        }
        Value::Array(items) => {
            let words: Vec<_> =
                items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned)).collect();
            if !words.is_empty() {
                fields.insert(path.to_owned(), words.join(", "));
            }
        }
        Value::String(text) => drop(fields.insert(path.to_owned(), text.clone())),
        Value::Null => {}
        other => drop(fields.insert(path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::folder::Folder;

    fn draft(text: &str) -> Draft {
        Folder::parse(vec![("a.toml".into(), text.into())], &Catalog::built_in()).draft
    }

    fn words(old: &str, new: &str) -> String {
        render(&between(&draft(old), &draft(new)), Paint::default(), 3)
    }

    const OLD: &str = "[[vendor]]\nname=\"v\"\ndialect=\"openai\"\nbase_url=\"https://v\"\n[[vendor.credential]]\nname=\"a\"\nenv=\"A\"\n\
        [[model]]\nvendor=\"v\"\nid=\"m\"\n[model.price]\ninput=\"0.15\"\noutput=\"1\"\n[[model.price.above]]\ninput_tokens=5\ninput=\"2\"\n";

    #[test]
    fn a_moved_line_is_no_difference() {
        assert_eq!(words(OLD, &format!("# a comment\n\n{OLD}")), "");
    }

    #[test]
    fn prices_old_and_new() {
        let new = OLD.replace("0.15", "0.20").replace("input=\"2\"", "input=\"3\"");
        assert_eq!(
            words(OLD, &new),
            "  ~ model   v/m\n      price.above.5.input  2 → 3\n      price.input          0.15 → 0.20\n"
        );
    }

    #[test]
    fn what_comes_and_goes_is_told_by_name() {
        let new = format!("{OLD}[alias]\nx=\"m\"\n[[tenant]]\nname=\"t\"\nmarkup_bp=5\n[gateway.times]\nidle=\"5s\"\n")
            .replace("env=\"A\"", "env=\"B\"");
        assert_eq!(
            words(OLD, &new),
            "  ~ gateway gateway\n      times.idle  → 5s\n  ~ vendor  v\n      credential.a.env  A → B\n  \
             + alias   x  for m\n  + tenant  t  markup 5 bp\n"
        );
        assert!(words(&new, OLD).contains("- tenant  t"));
    }

    #[test]
    fn a_vendor_comes_with_its_models_in_one_line_and_long_lists_are_cut() {
        let listed = "[[vendor]]\ncatalog = \"openai\"\n";
        let told = words(OLD, &format!("{OLD}{listed}"));
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with("  + vendor  openai  https://api.openai.com/v1, 1"), "{told}");
        let told = words("[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n", listed);
        assert!(told.lines().count() == 4 && told.contains("more models added"), "{told}");
    }
}
