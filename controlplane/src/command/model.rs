//! `price` and `model`: twins of `[[model]]` and `[alias]`.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::Value;
use weir_shared::draft::{AliasDraft, Draft, ModelDraft, PriceDraft, Sourced};
use weir_shared::fault::{Exit, Source};
use weir_shared::usage::Class;

use crate::failure::Failure;
use crate::place::Place;
use crate::screen::Screen;
use crate::twin::{self, How};

#[derive(Subcommand)]
pub enum Price {
    Set(SetPrice),
}

#[derive(Subcommand)]
pub enum Model {
    Add(Add),
    Alias(Alias),
    Retire(Retire),
}

/// Change what a model costs, from the next request on
///
/// Rates that are not named stay; records keep the price under which they were made. Where the folder is kept in git this is refused,
/// and says which line to edit.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl price set openai/gpt-4o input=2.50 output=10 --reason 'new list of 1 December'
  weirctl price set openai/gpt-4o cache_read=1.25 --wait

Rates are dollars per million tokens, named by class: input, cache_read, output, reasoning, …")]
pub struct SetPrice {
    /// VENDOR/MODEL
    #[arg(value_name = "MODEL")]
    model: String,

    #[arg(value_name = "CLASS=DOLLARS", required = true, value_parser = rate)]
    rates: Vec<(String, String)>,

    #[command(flatten)]
    how: How,
}

/// Serve another model of a vendor
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl model add openai/gpt-5.5 input=1.25 output=10 --context 400000
  weirctl model add local/llama --free --upstream llama-3.3-70b")]
pub struct Add {
    /// VENDOR/MODEL: the vendor is there already
    #[arg(value_name = "MODEL")]
    model: String,

    #[arg(value_name = "CLASS=DOLLARS", value_parser = rate)]
    rates: Vec<(String, String)>,

    /// It costs nothing
    #[arg(long, conflicts_with = "rates")]
    free: bool,

    /// What the vendor calls it, when it is another name
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,

    /// Tokens that it can read
    #[arg(long, value_name = "TOKENS")]
    context: Option<u64>,

    #[command(flatten)]
    how: How,
}

/// Let a name of your own lead to a model or a route, or lead elsewhere
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl model alias fast openai/gpt-4o-mini --wait
  weirctl model alias fast --remove")]
pub struct Alias {
    #[arg(value_name = "NAME")]
    name: String,

    #[arg(value_name = "TARGET", required_unless_present = "remove", conflicts_with = "remove")]
    target: Option<String>,

    /// The name leads nowhere any more
    #[arg(long)]
    remove: bool,

    #[command(flatten)]
    how: How,
}

/// Take a model away, and let its name lead to a successor
///
/// Whoever still asks for it is answered by the successor. Routes that lead to it have to be changed first, in the folder.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl model retire openai/gpt-4 --successor openai/gpt-4o --wait
  weirctl model retire openai/gpt-4 --without-successor")]
pub struct Retire {
    /// VENDOR/MODEL
    #[arg(value_name = "MODEL")]
    model: String,

    /// Where its name leads from now on: a model or a route
    #[arg(long, value_name = "MODEL", required_unless_present = "without_successor")]
    successor: Option<String>,

    /// Callers of its name are told that there is no such model
    #[arg(long, conflicts_with = "successor")]
    without_successor: bool,

    #[command(flatten)]
    how: How,
}

fn rate(text: &str) -> Result<(String, String), String> {
    let (class, dollars) = text.split_once('=').ok_or("write CLASS=DOLLARS, such as input=2.50")?;
    match Class::parse(class) {
        Some(_) => Ok((class.to_owned(), dollars.to_owned())),
        None => {
            let all: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
            Err(format!("{class:?} is no class; there are {}", all.join(", ")))
        }
    }
}

fn parts(model: &str) -> Result<(&str, &str), Failure> {
    model.split_once('/').filter(|(vendor, id)| !vendor.is_empty() && !id.is_empty()).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{model:?} does not say whose model it is")).next("write VENDOR/MODEL")
    })
}

fn place_of(draft: &Draft, vendor: &str, id: &str) -> Result<usize, Failure> {
    let found = draft.models.iter().position(|model| model.is.vendor == vendor && model.is.id == id);
    found.ok_or_else(|| {
        let own = draft.models.iter().filter(|model| model.is.vendor == vendor).map(|model| model.is.id.as_str());
        twin::missing(&format!("model of vendor {vendor:?} called"), id, own)
    })
}

impl Price {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let Self::Set(SetPrice { model, rates, how }) = self;
        let (vendor, id) = parts(model)?;
        twin::publish(place, screen, &format!("price set {model}"), how, |draft| {
            let at = place_of(draft, vendor, id)?;
            let model = &mut draft.models[at];
            let price = model.is.price.get_or_insert_with(PriceDraft::default);
            price.rates.extend(rates.iter().cloned());
            // It is no list's price any more.
            (model.is.free, model.is.unverified, model.is.price_source) = (false, false, None);
            Ok(model.source.clone())
        })
    }
}

impl Model {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Add(add) => add.run(place, screen),
            Self::Alias(alias) => alias.run(place, screen),
            Self::Retire(retire) => retire.run(place, screen),
        }
    }
}

impl Add {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (vendor, id) = parts(&self.model)?;
        let words = format!("model add {}", self.model);
        let rates: BTreeMap<_, _> = self.rates.iter().cloned().collect();
        let price = (!rates.is_empty()).then(|| PriceDraft { rates, ..PriceDraft::default() });
        twin::publish(place, screen, &words, &self.how, |draft| {
            let Some(of) = draft.vendors.iter().find(|known| known.is.name == vendor) else {
                return Err(twin::missing("vendor", vendor, draft.vendors.iter().map(|v| v.is.name.as_str())));
            };
            let written = Source { line: 0, ..of.source.clone() };
            if place_of(draft, vendor, id).is_ok() {
                let what = format!("{} is there already", self.model);
                return Err(Failure::new(Exit::Conflict, what).next("`weirctl price set` changes what it costs"));
            }
            let is = ModelDraft {
                vendor: vendor.to_owned(),
                id: id.to_owned(),
                upstream: self.upstream.clone(),
                context_tokens: self.context,
                free: self.free,
                price: price.clone(),
                ..ModelDraft::default()
            };
            draft.models.push(Sourced { source: twin::source(place, &words), is });
            Ok(written)
        })
    }
}

impl Alias {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let words = match &self.target {
            Some(target) => format!("model alias {} {target}", self.name),
            None => format!("model alias {} --remove", self.name),
        };
        twin::publish(place, screen, &words, &self.how, |draft| {
            let at = draft.aliases.iter().position(|alias| alias.is.name == self.name);
            match (&self.target, at) {
                (Some(target), _) => Ok(lead(draft, &self.name, target, twin::source(place, &words))),
                (None, Some(at)) => Ok(draft.aliases.remove(at).source),
                (None, None) => {
                    let known = draft.aliases.iter().map(|alias| alias.is.name.as_str());
                    Err(twin::missing("alias", &self.name, known))
                }
            }
        })
    }
}

/// Lets a name lead there, and says where it was written before.
fn lead(draft: &mut Draft, name: &str, target: &str, source: Source) -> Source {
    match draft.aliases.iter_mut().find(|alias| alias.is.name == name) {
        Some(alias) => {
            target.clone_into(&mut alias.is.target);
            alias.source.clone()
        }
        None => {
            let is = AliasDraft { name: name.to_owned(), target: target.to_owned() };
            draft.aliases.push(Sourced { source, is });
            Source { file: "[alias]".into(), line: 0 }
        }
    }
}

impl Retire {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (vendor, id) = parts(&self.model)?;
        let words = match &self.successor {
            Some(successor) => format!("model retire {} → {successor}", self.model),
            None => format!("model retire {}", self.model),
        };
        twin::publish(place, screen, &words, &self.how, |draft| {
            let gone = {
                let at = place_of(draft, vendor, id)?;
                draft.models.remove(at)
            };
            let still = draft.models.iter().any(|model| model.is.id == id);
            let Some(successor) = &self.successor else { return Ok(gone.source) };
            // Who names the vendor goes to the successor; the bare name only when nobody else serves it.
            lead(draft, &self.model, successor, twin::source(place, &words));
            if !still {
                lead(draft, id, successor, twin::source(place, &words));
            }
            // What led to it by other names leads on.
            for alias in &mut draft.aliases {
                if alias.is.target == self.model || alias.is.target == id && !still {
                    alias.is.target.clone_from(successor);
                }
            }
            Ok(gone.source)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_shared::fault::Exit;

    use crate::command::testing::Deployment;

    const FOLDER: &str =
        "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\", \"gpt-4o-mini\"]\n[alias]\nfast = \"gpt-4o-mini\"\n";

    #[test]
    fn what_is_changed_in_haste_is_a_revision_and_no_apply_loses_it() {
        let at = Deployment::new("twins");
        at.write("v.toml", FOLDER);
        at.run(&["apply"]).unwrap();
        let set = at.run(&["price", "set", "openai/gpt-4o", "input=3", "--reason", "r"]).unwrap();
        let details = &set["changes"][0]["details"];
        assert!(details.as_array().unwrap().iter().any(|d| d["key"] == "price.input" && d["new"] == "3"), "{set:#}");
        assert_eq!(at.run(&["history"]).unwrap()["revisions"][0]["reason"], "price set openai/gpt-4o: r");
        assert_eq!(at.run(&["price", "set", "openai/gpt-4o", "input=3"]).unwrap()["changed"], false);
        at.run(&["model", "add", "openai/new", "input=1", "output=2"]).unwrap();
        at.run(&["model", "alias", "best", "new"]).unwrap();
        at.run(&["model", "retire", "openai/gpt-4o-mini", "--successor", "openai/new"]).unwrap();
        at.run(&["tenant", "set", "team", "--markup", "250", "--region", "eu"]).unwrap();
        let show = at.run(&["show"]).unwrap();
        let aliases: Vec<_> = show["aliases"].as_array().unwrap().iter().map(|a| a["is"].clone()).collect();
        for (name, target) in [
            ("fast", "openai/new"),
            ("best", "new"),
            ("gpt-4o-mini", "openai/new"),
            ("openai/gpt-4o-mini", "openai/new"),
        ] {
            assert!(aliases.contains(&json!({"name": name, "target": target})), "{name}: {aliases:?}");
        }
        // A price that is none, a model that is none, a name that is near.
        for (words, exit) in [
            (&["price", "set", "openai/gpt-4o", "input=-1"][..], Exit::Faults),
            (&["model", "add", "openai/gratis"], Exit::Faults),
            (&["model", "add", "openai/new", "input=1"], Exit::Conflict),
            (&["model", "alias", "x", "nowhere"], Exit::Faults),
            (&["model", "retire", "openai/gpt-4", "--without-successor"], Exit::Missing),
            (&["tenant", "remove", "taem"], Exit::Missing),
            (&["price", "set", "gpt-4o", "input=1"], Exit::Usage),
        ] {
            assert_eq!(at.run(words).unwrap_err().exit, exit, "{words:?}");
        }
        // The folder knows nothing of it.
        let lost = at.run(&["apply"]).unwrap_err();
        assert_eq!((lost.exit, lost.details["changes"].as_array().unwrap().len() > 4), (Exit::Conflict, true));
        let back = at.root.join("back");
        at.run(&["export", "--to", back.to_str().unwrap()]).unwrap();
        assert_eq!(at.run(&["plan", back.to_str().unwrap()]).unwrap()["changed"], false);
        assert_eq!(at.run(&["apply", "--over-commands"]).unwrap()["changed"], true);
        assert_eq!(at.run(&["diff", "1"]).unwrap()["changes"], json!([]));
        at.run(&["apply"]).unwrap();
    }

    #[test]
    fn what_is_kept_in_git_is_edited_there() {
        let at = Deployment::new("twins-git");
        at.write("v.toml", FOLDER);
        std::fs::create_dir_all(at.root.join(".git")).unwrap();
        at.run(&["apply"]).unwrap();
        for (words, place) in [
            (&["price", "set", "openai/gpt-4o", "input=3"][..], "openai.toml"),
            (&["model", "alias", "fast", "gpt-4o"], "v.toml:5"),
            (&["model", "add", "openai/new", "input=1", "output=1"], "v.toml"),
            (&["limit", "set", "openai#main", "--rpm", "5"], "v.toml:1"),
        ] {
            let refused = at.run(words).unwrap_err();
            assert!(refused.exit == Exit::Conflict && refused.next.contains(place), "{words:?}: {}", refused.next);
        }
        // Keys are the store's.
        let key = at.run(&["key", "create"]).unwrap();
        let id = key["id"].as_str().unwrap();
        let limited = at.run(&["limit", "set", id, "--rpm", "5", "--concurrent", "2"]).unwrap();
        assert_eq!(limited["limits"], json!({"requests_per_minute": 5, "concurrent_requests": 2}));
        let none = at.run(&["limit", "set", id, "--rpm", "none"]).unwrap();
        assert_eq!(none["limits"], json!({"concurrent_requests": 2}));
        let shown = at.run(&["key", "show", id]).unwrap();
        assert_eq!((&shown["limits"], &shown["reaches"]), (&none["limits"], &json!(2)));
    }
}
