//! `export`: the operator's folder, back from the store.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};
use weir_shared::draft::{Draft, ModelDraft, VendorDraft};
use weir_shared::fault::Exit;

use crate::catalog::Catalog;
use crate::change;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::place::Place;
use crate::price;
use crate::publish::Base;
use crate::screen::Screen;
use crate::table::count;

/// Write the operator's folder anew, from the store
///
/// Everything that a revision says, as files that `apply` reads: weir.toml, and a file for each vendor with its models, numbered
/// in their order of preference. What came from the catalog is written out, so that the folder means the same under any
/// version of it. Comments and the division into files are not in the store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl export --to weir.d.restored
  weirctl export 41 --to /tmp/r41 && diff -r /tmp/r41 weir.d.restored
  weirctl export --json | jq -r '.files[\"weir.toml\"]'")]
pub struct Export {
    /// A revision of `weirctl history` [default: the newest]
    #[arg(value_name = "REV")]
    revision: Option<u64>,

    /// A folder that does not exist yet, or is empty [default: only show the files' names]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Export {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let base = match self.revision {
            Some(revision) => Base::of_revision(&*store, revision)?,
            None => Base::read(&*store)?,
        };
        let draft = base.draft(&*store)?;
        let files = files(&draft);
        proven(&draft, &files)?;
        if let Some(folder) = &self.to {
            write(folder, &files)?;
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        screen.say(match &self.to {
            Some(folder) => {
                format!("revision {} in {}, {}", base.revision(), folder.display(), count(files.len(), "file"))
            }
            None => format!("revision {} would be {}; --to writes them", base.revision(), names.join(", ")),
        });
        let files: Map<String, Value> = files.into_iter().map(|(name, text)| (name, text.into())).collect();
        Ok(json!({"revision": base.revision(), "to": self.to, "files": files}))
    }
}

/// A folder that means something else than the store would be worse than none.
fn proven(draft: &Draft, files: &[(String, String)]) -> Result<(), Failure> {
    let read = Folder::parse(files.to_vec(), &Catalog::built_in());
    let changes = change::between(draft, &read.draft);
    match (changes.is_empty(), read.compile()) {
        (true, Ok(_)) => Ok(()),
        (_, Err(faults)) => Err(crate::publish::with_faults("what was written would not be read", &faults)),
        (false, _) => {
            let what = format!("what was written would not mean the same: {}", change::reason(&changes));
            Err(Failure::new(Exit::Failed, what).next("this is a mistake of weirctl; nothing was written"))
        }
    }
}

fn write(folder: &std::path::Path, files: &[(String, String)]) -> Result<(), Failure> {
    let failed = |path: &std::path::Path, error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()))
            .next("name another with --to")
    };
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let what = format!("{} is not empty, and what people wrote is not written over", folder.display());
        return Err(Failure::new(Exit::Failed, what).next("name a new folder with --to, and compare the two"));
    }
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Names and texts, in the order in which they are read.
pub fn files(draft: &Draft) -> Vec<(String, String)> {
    let width = draft.vendors.len().to_string().len();
    let mut files: Vec<_> = draft
        .vendors
        .iter()
        .enumerate()
        .map(|(place, vendor)| {
            let models = draft.models.iter().map(|model| &model.is).filter(|model| model.vendor == vendor.is.name);
            let name: String =
                vendor.is.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            (format!("vendors/{:0width$}-{name}.toml", place + 1), vendor_text(&vendor.is, models))
        })
        .collect();
    files.push(("weir.toml".into(), rest_text(draft)));
    files
}

fn vendor_text<'m>(vendor: &VendorDraft, models: impl Iterator<Item = &'m ModelDraft>) -> String {
    let mut tables = Map::new();
    tables.insert("vendor".into(), vec![plain(vendor)].into());
    let models: Vec<Value> = models.map(written).collect();
    if !models.is_empty() {
        tables.insert("model".into(), models.into());
    }
    text(tables)
}

fn rest_text(draft: &Draft) -> String {
    let mut tables = Map::new();
    if let Some(gateway) = &draft.gateway {
        tables.insert("gateway".into(), plain(&gateway.is));
    }
    let aliases: Map<String, Value> =
        draft.aliases.iter().map(|alias| (alias.is.name.clone(), alias.is.target.clone().into())).collect();
    if !aliases.is_empty() {
        tables.insert("alias".into(), aliases.into());
    }
    let tenants: Vec<Value> = draft.tenants.iter().map(|tenant| plain(&tenant.is)).collect();
    let routes: Vec<Value> = draft.routes.iter().map(|route| plain(&route.is)).collect();
    for (name, items) in [("tenant", tenants), ("route", routes)] {
        if !items.is_empty() {
            tables.insert(name.into(), items.into());
        }
    }
    text(tables)
}

fn text(tables: Map<String, Value>) -> String {
    // Values that were read from TOML once: nothing that it could refuse.
    toml::to_string(&tables).unwrap_or_default()
}

/// Without what is nothing when it is left out.
fn plain(item: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(item).unwrap_or_default();
    if let Value::Object(object) = &mut value {
        let off = |name: &str, value: &Value| SWITCHES.contains(&name) && *value == false;
        let zero = |name: &str, value: &Value| name == "markup_bp" && *value == 0;
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        object.retain(|name, value| !(off(name, value) || zero(name, value) || empty(value)));
    }
    value
}

/// Off when left out; other switches are three-valued.
const SWITCHES: &[&str] = &["internal", "zero_retention", "no_training", "reasoning", "free", "unverified"];

/// A model with its price as people write it: rates, bands and tiers in one table.
fn written(model: &ModelDraft) -> Value {
    let mut value = plain(model);
    if let Some(price) = value.get_mut("price") {
        *price = price::written(price.take());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Deployment;

    /// Every vendor of the catalog, and everything else that a folder can say: what comes back means the same.
    #[test]
    fn what_was_published_comes_back() {
        let at = Deployment::new("export");
        let mut text = String::new();
        let catalog = Catalog::built_in();
        for listed in catalog.names().filter_map(|name| catalog.vendor(name)?.ok()) {
            text += &format!("[[vendor]]\ncatalog = {:?}\nproject = \"mine\"\n", listed.vendor.name);
            if listed.vendor.base_url_placeholder {
                text += "base_url = \"https://mine.example/v1\"\n";
            }
            if listed.vendor.credential_env.is_none() {
                text += "[[vendor.credential]]\nenv = \"MINE\"\n";
            }
        }
        at.write("a.toml", &text);
        at.write("b.toml", EVERYTHING);
        at.run(&["apply"]).unwrap();
        let folder = at.root.join("back");
        at.run(&["export", "--to", folder.to_str().unwrap()]).unwrap();
        let again = at.run(&["export", "1", "--to", folder.to_str().unwrap()]).unwrap_err();
        assert!(again.what.contains("is not empty"), "{}", again.what);
        let diff = at.run(&["plan", folder.to_str().unwrap(), "--all"]).unwrap();
        assert_eq!((&diff["changed"], &diff["changes"]), (&json!(false), &json!([])), "{diff:#}");
        let shown = std::fs::read_to_string(folder.join("weir.toml")).unwrap();
        assert!(shown.contains("cost_header = false") && !shown.contains("markup_bp = 0"), "{shown}");
    }

    const EVERYTHING: &str = r#"
[gateway]
cost_header = false
[gateway.times]
idle = "5s"
[gateway.breaker]
counts = []
[alias]
"odd name" = "own/m"
[[tenant]]
name = "default"
[[tenant]]
name = "t"
markup_bp = -5
regions = ["eu"]
[[vendor]]
name = "own"
dialect = "openai"
base_url = "https://own.example/v1"
responses = false
headers = { "x-a" = "b" }
[[vendor.path]]
endpoint = "chat/completions"
to = "x/{model}"
without = ["model"]
[[vendor.credential]]
name = "one"
env = "ONE"
requests_per_minute = 5
[[vendor.credential]]
name = "two"
file = "/run/two"
[[model]]
vendor = "own"
id = "m"
can = []
[model.price]
input = "1.25"
output = "10"
[[model.price.above]]
input_tokens = 200000
input = "2.50"
[model.price.batch]
input = "0.5"
[[model.price.batch.above]]
input_tokens = 200000
input = "1"
[[model]]
vendor = "own"
id = "gratis"
free = true
[[route]]
name = "r"
regions = ["eu"]
[route.to]
order = [{ when = { tools = true }, model = "own/m" }, { weight = [{ model = "m", share = 3 }, "gratis"] }]
"#;
}
