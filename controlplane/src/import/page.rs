//! A file of `prices/`: written by an import, read by the next one, and left alone once somebody edited it.

use std::collections::BTreeMap;
use std::fmt::Write;

use weir_shared::draft::{BandDraft, ModelDraft};
use weir_shared::id::Digest;
use weir_shared::usage::Class;

use crate::price;
use crate::pricelist::List;
use crate::tree::{self, Is};

use super::Wish;

/// Where imports write, below the operator's folder.
const FOLDER: &str = "prices/";

#[derive(Clone, Debug)]
pub struct Page {
    pub vendor: String,
    pub models: Vec<ModelDraft>,
    pub text: String,
}

const MARK: &str = "# Prices, written by `weirctl catalog import`. The next import writes this file anew, and refuses once it was edited.\n\
                    # What you know better belongs into a [[model]] in a file of your own: import again, and it goes from here.\n";
const CONTENT: &str = "# content: ";

pub fn is_page(name: &str) -> bool {
    name.starts_with(FOLDER)
}

/// What an import writes is a vendor's file right in that folder.
pub fn is_page_name(name: &str) -> bool {
    let vendor = name.strip_prefix(FOLDER).and_then(|rest| rest.strip_suffix(".toml"));
    vendor.is_some_and(|vendor| !vendor.is_empty() && !vendor.starts_with('.') && !vendor.contains(['/', '\\', '\0']))
}

/// Refuses what no import wrote.
pub fn read(name: &str, text: &str) -> Result<Page, String> {
    let vendor = name.strip_prefix(FOLDER).and_then(|rest| rest.strip_suffix(".toml")).unwrap_or_default();
    let head = text.find(CONTENT).map(|at| text.split_at(at));
    let (said, body) = head
        .filter(|(head, _)| head.starts_with("# Prices, written by"))
        .and_then(|(_, rest)| rest[CONTENT.len()..].split_once('\n'))
        .ok_or_else(|| {
            format!("{name} was not written by an import, and {FOLDER} is where imports write; move it elsewhere")
        })?;
    if said != digest(body) {
        let fix = "move what you wrote to a file of your own outside of it, delete this one, and import again";
        return Err(format!("{name} was edited since an import wrote it; {fix}"));
    }
    let tree = tree::parse(body).map_err(|_| format!("{name} is not TOML"))?;
    let mut models = Vec::new();
    if let Some(Is::List(items)) = tree.get("model").map(|node| &node.is) {
        for item in items {
            let Is::Table(table) = &item.is else { continue };
            let mut table = table.clone();
            price::shape(&mut table);
            models.extend(tree::read::<ModelDraft>(&table, item.line, &[], |_| {}));
        }
    }
    Ok(Page { vendor: vendor.to_owned(), models, text: text.to_owned() })
}

impl Page {
    pub fn path(&self) -> String {
        format!("{FOLDER}{}.toml", self.vendor)
    }

    /// The models whose prices came from another list than this.
    pub fn of_other_lists(&self, list: List) -> BTreeMap<String, ModelDraft> {
        let other = |model: &&ModelDraft| !model.price_source.as_ref().is_some_and(|it| it.starts_with(list.source()));
        self.models.iter().filter(other).map(|model| (model.id.clone(), model.clone())).collect()
    }

    /// Only the day on which it was looked at differs: that is no reason to write.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let body = |page: &Self| {
            let without: Vec<_> =
                page.models.iter().cloned().map(|model| ModelDraft { price_source: None, ..model }).collect();
            (page.vendor.clone(), without)
        };
        body(self) == body(other)
    }

    /// `None` when there is nothing to say.
    pub fn write(vendor: &str, list: List, models: &[ModelDraft], wish: &Wish) -> Option<Self> {
        if models.is_empty() {
            return None;
        }
        let mut body = String::new();
        let mut models = models.to_vec();
        for model in &mut models {
            model.price_source.get_or_insert_with(|| format!("{} as of {}", list.source(), wish.as_of));
            write_model(model, &mut body);
        }
        let source =
            format!("# list: {} ({}), as of {}, read {}\n", list.name(), list.source(), wish.as_of, wish.today);
        let text = format!("{MARK}{source}{CONTENT}{}\n{body}", digest(&body));
        Some(Self { vendor: vendor.to_owned(), models, text })
    }
}

fn digest(body: &str) -> String {
    Digest::of(body.as_bytes()).to_string()[..32].to_owned()
}

fn write_model(model: &ModelDraft, out: &mut String) {
    let _ = write!(out, "\n[[model]]\nvendor = {}\nid = {}\n", quoted(&model.vendor), quoted(&model.id));
    for (key, value) in [("kind", &model.kind), ("path", &model.path)] {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {}", quoted(value));
        }
    }
    if model.reasoning {
        out.push_str("reasoning = true\n");
    }
    for (key, value) in [("context_tokens", model.context_tokens), ("output_tokens_max", model.output_tokens_max)] {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
    if let Some(source) = &model.price_source {
        let _ = writeln!(out, "price_source = {}", quoted(source));
    }
    if model.unverified {
        out.push_str("unverified = true\n");
    }
    let Some(price) = &model.price else { return };
    out.push_str("[model.price]\n");
    rates(&price.rates, out);
    bands("model.price", &price.above, out);
    for (tier, list) in &price.tiers {
        let _ = writeln!(out, "[model.price.{tier}]");
        rates(&list.rates, out);
        bands(&format!("model.price.{tier}"), &list.above, out);
    }
}

fn bands(under: &str, bands: &[BandDraft], out: &mut String) {
    for band in bands {
        let _ = write!(out, "[[{under}.above]]\ninput_tokens = {}\n", band.input_tokens);
        rates(&band.rates, out);
    }
}

/// In the order of the classes.
fn rates(rates: &BTreeMap<String, String>, out: &mut String) {
    for class in Class::ALL {
        if let Some(text) = rates.get(class.name()) {
            let _ = writeln!(out, "{} = {}", class.name(), quoted(text));
        }
    }
}

/// The names are visible ASCII, and dollars are digits; what is special in TOML is escaped all the same.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_writes_in_its_own_folder_alone() {
        assert!(is_page_name("prices/openai.toml") && is_page_name("prices/my-groq.toml"));
        for elsewhere in [
            "openai.toml",
            "prices/../x.toml",
            "prices/a/b.toml",
            "/prices/x.toml",
            "prices/.toml",
            "prices/.x.toml",
            "prices/x",
        ] {
            assert!(!is_page_name(elsewhere), "{elsewhere}");
        }
    }
}
