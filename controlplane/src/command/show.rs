//! `show`: what a revision says.

use serde_json::{Value, json};
use weir_shared::draft::CredentialDraft;

use super::revision::CHANGES_SHOWN_MAX;
use crate::change;
use crate::failure::Failure;
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::{Table, count, harmless};
use crate::when;

/// Show what a revision says, and what it changed
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl show              # the newest
  weirctl show 41
  weirctl show 41 --json    # all of it; keys are counted, their hashes are not shown")]
pub struct Show {
    /// A revision of `weirctl history` [default: the newest]
    #[arg(value_name = "REV")]
    revision: Option<u64>,
}

/// A credential, and whose own it is.
pub fn named(credential: &CredentialDraft) -> String {
    match &credential.tenant {
        Some(tenant) => format!("{} ({tenant}'s own)", credential.name),
        None => credential.name.clone(),
    }
}

impl Show {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let base = match self.revision {
            Some(revision) => Base::of_revision(&*store, revision)?,
            None => Base::read(&*store)?,
        };
        let (draft, keys, overlay) = (base.draft(&*store)?, base.keys(&*store)?, base.overlay(&*store)?);
        let revision = base.revision();
        screen.say(format!(
            "{} by {} at {}: {}",
            screen.paint.bold(&format!("revision {revision}")),
            harmless(&base.author),
            when::stamp(base.time),
            harmless(&base.reason)
        ));
        let mut table = Table::new(["vendor", "dialect", "base url", ">models", "credentials"]);
        for vendor in draft.vendors.iter().map(|vendor| &vendor.is) {
            let models = draft.models.iter().filter(|model| model.is.vendor == vendor.name).count();
            let credentials: Vec<_> = vendor.credentials.iter().map(named).collect();
            table.row([
                vendor.name.clone(),
                vendor.dialect.clone(),
                vendor.base_url.clone(),
                models.to_string(),
                credentials.join(", "),
            ]);
        }
        screen.say(table.render(screen.paint));
        let tenants = draft.tenants.iter().map(|tenant| tenant.is.name.as_str());
        let routes = draft.routes.iter().map(|route| route.is.name.as_str());
        for (what, names) in [("tenants", tenants.collect::<Vec<_>>()), ("routes", routes.collect())] {
            if !names.is_empty() {
                screen.say(format!("{what}: {}", names.join(", ")));
            }
        }
        screen.say(format!("{}, {}", count(draft.models.len(), "model"), count(keys.len(), "key")));
        overlay.words(base.time).iter().for_each(|words| screen.say(format!("by hand: {}", harmless(words))));
        // The one before, as far as it is kept.
        let before = revision.checked_sub(1).and_then(|before| Base::of_revision(&*store, before).ok());
        let changes = match before {
            Some(before) => {
                let changes = publish::between(&*store, &before, &base)?;
                screen.say(format!("against revision {}: {}", before.revision(), or_nothing(&changes)));
                screen.say(change::render(&changes, screen.paint, CHANGES_SHOWN_MAX));
                json!(changes)
            }
            None => Value::Null,
        };
        let items = |items: Vec<Value>| Value::from(items);
        Ok(json!({
            "revision": revision, "epoch": base.epoch, "author": base.author, "reason": base.reason,
            "time": when::stamp(base.time), "keys": keys.len(), "by_hand": overlay, "changes": changes,
            "gateway": draft.gateway.as_ref().map(|gateway| &gateway.is),
            "aliases": items(draft.aliases.iter().map(|item| json!(item)).collect()),
            "tenants": items(draft.tenants.iter().map(|item| json!(item)).collect()),
            "vendors": items(draft.vendors.iter().map(|item| json!(item)).collect()),
            "models": items(draft.models.iter().map(|item| json!(item)).collect()),
            "routes": items(draft.routes.iter().map(|item| json!(item)).collect()),
        }))
    }
}

fn or_nothing(changes: &[change::Change]) -> String {
    if changes.is_empty() { "nothing but what is by hand".to_owned() } else { change::summary(changes) }
}
