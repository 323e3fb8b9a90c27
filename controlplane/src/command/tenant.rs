//! `tenant`: twins of `[[tenant]]`.

use clap::Subcommand;
use serde_json::{Value, json};
use weir_shared::draft::{Sourced, TenantDraft};
use weir_shared::fault::Source;

use crate::failure::Failure;
use crate::place::Place;
use crate::publish::Base;
use crate::screen::Screen;
use crate::table::Table;
use crate::twin::{self, How};

#[derive(Subcommand)]
pub enum Tenant {
    Set(Set),
    Remove(Remove),
    List(List),
}

/// Make a tenant, or change what it may use and what it pays
///
/// What is not named stays as it is. Where the folder is kept in git this is refused, and says which line to edit.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl tenant set research --markup 250 --model 'gpt-*' --region eu
  weirctl tenant set research --any-model --wait")]
pub struct Set {
    #[arg(value_name = "NAME")]
    name: String,

    /// On top of the vendors' prices, in basis points; negative is a discount
    #[arg(long, value_name = "BP", allow_negative_numbers = true)]
    markup: Option<i32>,

    /// Models that it may use, in place of those that it may now
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,

    /// It may use every model
    #[arg(long, conflicts_with = "models")]
    any_model: bool,

    /// Regions of the vendors that see its calls, in place of those that it is bound to now
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,

    /// It is bound to no region
    #[arg(long, conflicts_with = "regions")]
    any_region: bool,

    #[command(flatten)]
    how: How,
}

/// Remove a tenant that has no keys
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl tenant remove research")]
pub struct Remove {
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    how: How,
}

/// List tenants, and how many keys each has
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl tenant list")]
pub struct List {}

impl Tenant {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Set(set) => set.run(place, screen),
            Self::Remove(remove) => remove.run(place, screen),
            Self::List(List {}) => list(place, screen),
        }
    }
}

impl Set {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let words = format!("tenant set {}", self.name);
        twin::publish(place, screen, &words, &self.how, |draft| {
            let at = draft.tenants.iter().position(|tenant| tenant.is.name == self.name);
            let written =
                at.map_or(Source { file: "[[tenant]]".into(), line: 0 }, |at| draft.tenants[at].source.clone());
            let mut tenant = match at {
                Some(at) => draft.tenants.remove(at),
                None => {
                    let is = TenantDraft { name: self.name.clone(), ..TenantDraft::default() };
                    Sourced { source: twin::source(place, &words), is }
                }
            };
            let is = &mut tenant.is;
            is.markup_bp = self.markup.unwrap_or(is.markup_bp);
            for (any, named, list) in
                [(self.any_model, &self.models, &mut is.models), (self.any_region, &self.regions, &mut is.regions)]
            {
                if any || !named.is_empty() {
                    list.clone_from(named);
                }
            }
            draft.tenants.insert(at.unwrap_or(draft.tenants.len()), tenant);
            Ok(written)
        })
    }
}

impl Remove {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        twin::publish(place, screen, &format!("tenant remove {}", self.name), &self.how, |draft| {
            match draft.tenants.iter().position(|tenant| tenant.is.name == self.name) {
                Some(at) => Ok(draft.tenants.remove(at).source),
                None => {
                    let known = draft.tenants.iter().map(|tenant| tenant.is.name.as_str());
                    Err(twin::missing("tenant", &self.name, known))
                }
            }
        })
    }
}

fn list(place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let store = place.existing_store()?;
    let base = Base::read(&*store)?;
    let (draft, keys) = (base.draft(&*store)?, base.keys(&*store)?);
    let mut table = Table::new(["tenant", ">markup bp", "models", "regions", ">keys"]);
    let mut list = Vec::new();
    for tenant in draft.tenants.iter().map(|tenant| &tenant.is) {
        let own = keys.iter().filter(|key| key.tenant == tenant.name && key.revoked.is_none()).count();
        let or_all = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join(", ") };
        table.row([
            tenant.name.clone(),
            tenant.markup_bp.to_string(),
            or_all(&tenant.models),
            or_all(&tenant.regions),
            own.to_string(),
        ]);
        list.push(json!({"tenant": tenant, "keys": own}));
    }
    match table.is_empty() {
        true => screen.say("no tenant is written; every key is of `default`"),
        false => screen.say(table.render(screen.paint)),
    }
    Ok(json!({"tenants": list}))
}
