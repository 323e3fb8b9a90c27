//! The vendors that are known from the start: files of `catalog/`, built in, and an operator's own beside them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;
use weir_shared::draft::{ModelDraft, PriceDraft};
use weir_shared::fault::Exit;

use crate::failure::Failure;
use crate::price;
use crate::tree::{self, Is, Table};

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

pub struct Catalog {
    texts: BTreeMap<String, String>,
    /// Parsed when first asked for: most folders take from two or three of them.
    parsed: RefCell<BTreeMap<String, Rc<Listed>>>,
}

/// One file of the catalog.
#[derive(Debug)]
pub struct Listed {
    pub vendor: ListedVendor,
    pub models: Vec<Rc<ListedModel>>,
    /// `[vendor]` as it was written.
    table: Table,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct ListedVendor {
    pub name: String,
    pub title: String,
    pub dialect: String,
    pub base_url: String,
    /// The address has a part that only the operator knows.
    #[serde(default)]
    pub base_url_placeholder: bool,
    #[serde(default)]
    pub credential_env: Option<String>,
    pub docs: String,
    /// The vendor whose models and prices these are, where one cloud serves them by several ways.
    #[serde(default)]
    pub models_of: Option<String>,
    /// Under which names `catalog import` finds it in price lists.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListedIn>,
}

/// A vendor's place in a price list, and how its models are called there.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct ListedIn {
    /// `litellm` or `models.dev`.
    pub of: String,
    pub name: String,
    /// What stands before a model's id there and not here; the name and a slash when left out.
    #[serde(default)]
    pub cut: Option<String>,
    /// What stands before it here and not there.
    #[serde(default)]
    pub put: String,
    /// Patterns of the ids that are this vendor's; all when left out.
    #[serde(default)]
    pub only: Vec<String>,
    /// The list's prices are not known to be this vendor's own.
    #[serde(default)]
    pub unverified: bool,
}

/// Keys of `[vendor]` that a vendor of the folder takes as they stand.
const TAKEN: &[&str] =
    &["auth", "responses", "rerank", "deviations", "region", "api_version", "service", "scope", "headers", "path"];

impl Listed {
    /// What a vendor of the folder takes over, where it says nothing itself.
    pub fn taken(&self) -> impl Iterator<Item = (&'static str, &Is)> {
        TAKEN.iter().filter_map(|key| Some((*key, &self.table.get(key)?.is)))
    }

    /// A word of those.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.table.text(key)
    }
}

#[derive(Debug)]
pub struct ListedModel {
    /// The vendor whose file it stands in.
    pub file: Rc<str>,
    pub line: u32,
    /// Its vendor is whoever takes it.
    pub is: ModelDraft,
}

impl ListedModel {
    /// Without a price of the vendor's own, only an operator can say what it costs.
    pub fn has_price(&self) -> bool {
        self.is.free || self.is.price.is_some()
    }
}

impl Catalog {
    pub fn built_in() -> Self {
        let texts = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Self { texts, parsed: RefCell::default() }
    }

    /// An operator's own files, in the same form; of the same name, they take the place of the built-in ones.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Missing, format!("the catalog {} cannot be read: {error}", folder.display()))
                .next("name a folder of vendors' files with --catalog, or leave it out")
        };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(name), Some("toml")) = (name, path.extension().and_then(|e| e.to_str())) {
                self.texts.insert(name.to_owned(), std::fs::read_to_string(&path).map_err(failed)?);
            }
        }
        Ok(self)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.texts.keys().map(String::as_str)
    }

    /// `None` when there is no such vendor; all that is wrong with its file otherwise.
    pub fn vendor(&self, name: &str) -> Option<Result<Rc<Listed>, Vec<tree::Wrong>>> {
        if let Some(known) = self.parsed.borrow().get(name) {
            return Some(Ok(Rc::clone(known)));
        }
        let listed = match parse(name, self.texts.get(name)?) {
            Ok(mut listed) => {
                if let Some(of) = listed.vendor.models_of.as_deref().filter(|of| *of != name) {
                    match self.vendor(of) {
                        Some(Ok(other)) => {
                            listed.models.extend(other.models.iter().map(Rc::clone));
                            if listed.vendor.lists.is_empty() {
                                listed.vendor.lists.clone_from(&other.vendor.lists);
                            }
                        }
                        Some(Err(wrong)) => return Some(Err(wrong)),
                        None => return Some(Err(vec![no_such_models(of)])),
                    }
                }
                Rc::new(listed)
            }
            Err(wrong) => return Some(Err(wrong)),
        };
        self.parsed.borrow_mut().insert(name.to_owned(), Rc::clone(&listed));
        Some(Ok(listed))
    }
}

fn no_such_models(of: &str) -> tree::Wrong {
    let what = format!("models_of = {of:?}: the catalog has no such vendor");
    tree::Wrong { line: 1, key: "models_of".into(), what, fix: "name a file of the catalog".into() }
}

/// Where a listed model is said to stand. The parentheses tell it from a file of the operator's.
pub fn source_file(name: &str) -> String {
    format!("{SOURCE_MARK}/{name}.toml")
}

pub const SOURCE_MARK: &str = "(catalog)";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelText {
    id: String,
    #[serde(default)]
    upstream: Option<String>,
    kind: String,
    reasoning: bool,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    free: bool,
    #[serde(default)]
    context_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_max: Option<u64>,
    #[serde(default)]
    can: Option<Vec<String>>,
    source: String,
    as_of: String,
    unverified: bool,
    #[serde(default)]
    price: Option<PriceDraft>,
}

fn parse(name: &str, text: &str) -> Result<Listed, Vec<tree::Wrong>> {
    let name: Rc<str> = name.into();
    let file = tree::parse(text)?;
    let mut wrongs = Vec::new();
    let mut tell = |wrong| wrongs.push(wrong);
    let (mut vendor, mut models, mut own) = (None, Vec::new(), Table::default());
    for (key, line, node) in file.each() {
        match (key, &node.is) {
            ("vendor", Is::Table(table)) => {
                own = table.clone();
                let mut rest = table.clone();
                // What is taken over is read where it is taken.
                TAKEN.iter().for_each(|key| drop(rest.take(key)));
                vendor = tree::read::<ListedVendor>(&rest, line, TAKEN, &mut tell);
            }
            ("model", Is::List(items)) => {
                for item in items {
                    let Is::Table(table) = &item.is else { continue };
                    let mut table = table.clone();
                    price::shape(&mut table);
                    if let Some(text) = tree::read::<ModelText>(&table, item.line, &[], &mut tell) {
                        models.push(Rc::new(ListedModel { file: Rc::clone(&name), line: item.line, is: text.into() }));
                    }
                }
            }
            _ => tell(tree::Wrong {
                line,
                key: key.to_owned(),
                what: format!("{key} does not belong here"),
                fix: "a file of the catalog has one [vendor] and many [[model]]".into(),
            }),
        }
    }
    match vendor {
        Some(vendor) if wrongs.is_empty() => Ok(Listed { vendor, models, table: own }),
        _ if wrongs.is_empty() => {
            let what = "[vendor] is missing".into();
            Err(vec![tree::Wrong { line: 1, key: "vendor".into(), what, fix: "add it".into() }])
        }
        _ => Err(wrongs),
    }
}

impl From<ModelText> for ModelDraft {
    fn from(text: ModelText) -> Self {
        Self {
            vendor: String::new(),
            id: text.id,
            upstream: text.upstream,
            kind: Some(text.kind),
            reasoning: text.reasoning,
            thinking: text.thinking,
            path: text.path,
            context_tokens: text.context_tokens,
            output_tokens_max: text.output_tokens_max,
            can: text.can,
            free: text.free,
            price: text.price,
            price_source: Some(format!("{} as of {}", text.source, text.as_of)),
            unverified: text.unverified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_file_reads_and_is_named_after_its_vendor() {
        let catalog = Catalog::built_in();
        assert!(catalog.names().count() >= 30);
        for name in catalog.names() {
            let listed = catalog.vendor(name).unwrap().unwrap_or_else(|wrong| panic!("{name}: {wrong:#?}"));
            assert_eq!(listed.vendor.name, name);
        }
        assert!(catalog.vendor("nobody").is_none());
    }

    /// A breadth that is promised, and the models that README's example of a bill names, at their own vendors.
    #[test]
    fn it_is_as_wide_as_it_is_said_to_be() {
        let catalog = Catalog::built_in();
        let vendors: Vec<_> = catalog.names().map(|name| catalog.vendor(name).unwrap().unwrap()).collect();
        let own = |listed: &Rc<Listed>| listed.models.iter().filter(|model| *model.file == *listed.vendor.name).count();
        assert!(vendors.iter().filter(|listed| own(listed) > 0).count() >= 30);
        assert!(vendors.iter().map(own).sum::<usize>() >= 500);
        for (vendor, id) in [
            ("openai", "gpt-5.5"),
            ("openai", "gpt-5.5-pro"),
            ("anthropic", "claude-opus-4-8"),
            ("anthropic", "claude-sonnet-4-6"),
            ("gemini", "gemini-3.1-pro-preview"),
            ("gemini", "gemini-3.5-flash"),
            ("deepseek", "deepseek-v4-pro"),
            ("xai", "grok-4.20-0309-reasoning"),
            ("moonshotai", "kimi-k2.7-code"),
            ("alibaba", "qwen3.6-plus"),
            ("minimax", "MiniMax-M3"),
        ] {
            let listed = catalog.vendor(vendor).unwrap().unwrap();
            let model = listed.models.iter().find(|model| model.is.id == id);
            let model = model.unwrap_or_else(|| panic!("{vendor} has no {id}"));
            let price = model.is.price.as_ref().unwrap_or_else(|| panic!("{vendor}/{id} has no price"));
            assert!(price.rates.contains_key("input") && price.rates.contains_key("output"), "{vendor}/{id}");
            assert!(!model.is.unverified, "{vendor}/{id} is unverified");
        }
    }

    /// Nothing is looked up under a list that no import reads.
    #[test]
    fn price_lists_are_called_by_their_names() {
        use crate::pricelist::List;
        let catalog = Catalog::built_in();
        for name in catalog.names() {
            for place in &catalog.vendor(name).unwrap().unwrap().vendor.lists {
                let known = [List::LiteLlm, List::ModelsDev].iter().any(|list| list.name() == place.of);
                assert!(known && !place.name.is_empty(), "{name}: {place:?}");
            }
        }
    }
}
