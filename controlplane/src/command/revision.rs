//! `rollback`, `history`, `diff`: the revisions that the store keeps.

use serde_json::{Value, json};
use weir_shared::keyspace::MANIFESTS_KEPT;

use super::check;
use crate::change::{self, Change};
use crate::failure::Failure;
use crate::follow::{Wait, follow};
use crate::place::Place;
use crate::publish::{self, Base, Values};
use crate::screen::Screen;
use crate::table::Table;
use crate::when;

/// Go back to what an earlier revision said
///
/// Publishes a new revision with everything of the operator's folder as it was at REV. Callers' keys stay as they are now.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl history
  weirctl rollback 41 --wait

The operator's folder is not touched: correct it before the next `weirctl apply`, or that brings
the change back.")]
pub struct Rollback {
    /// A revision of `weirctl history`
    #[arg(value_name = "REV")]
    revision: u64,

    /// Why, for `weirctl history`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    wait: Wait,
}

impl Rollback {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let (base, target) = (Base::read(&*store)?, Base::of_revision(&*store, self.revision)?);
        let draft = target.draft(&*store)?;
        // What a newer weirctl wrote must not keep this one from going back to what it can read.
        let old = base.draft(&*store).inspect_err(|unread| {
            screen.note(format!("what it takes back cannot be shown: {}", unread.what));
        });
        let changes = old.as_ref().map_or_else(|_| Vec::new(), |old| change::between(old, &draft));
        let mut pointer = base.pointer;
        if changes.is_empty() && old.is_ok() {
            screen.say(format!("nothing to change: revision {} says the same as {}", base.revision(), self.revision));
        } else {
            screen.say(change::render(&changes, screen.paint, CHANGES_SHOWN_MAX));
            let reason = self.reason.clone().unwrap_or_else(|| format!("rollback to revision {}", self.revision));
            let parts = target.catalog_parts();
            let stamp = publish::Stamp { origin: Some(target.origin), ..place.stamp(reason) };
            let now = publish::replace_catalog(&*store, &base, &draft, &Values::published(parts), &stamp, false)?;
            let said = format!("published revision {}, which says what {} said", now.revision, self.revision);
            screen.say(screen.paint.good(&said));
            pointer = Some(now);
        }
        let nodes = match &pointer {
            Some(pointer) => follow(&*store, pointer, &self.wait, screen)?,
            None => Vec::new(),
        };
        let revision = pointer.map_or(0, |pointer| pointer.revision);
        let changed = pointer != base.pointer;
        Ok(json!({"changed": changed, "revision": revision, "changes": changes, "nodes": nodes}))
    }
}

/// More of one kind than this would push the end of the answer off the screen.
pub const CHANGES_SHOWN_MAX: usize = 20;

/// List the revisions that can be gone back to
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl history
  weirctl history --last 200 --json")]
pub struct History {
    /// How many, the newest first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: usize,
}

impl History {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let current = store.pointer()?;
        let mut table = Table::new([">revision", "", "time", "author", "reason"]);
        let mut revisions = Vec::new();
        for manifest in store.history(self.last.min(MANIFESTS_KEPT))? {
            let now =
                current.is_some_and(|pointer| pointer.revision == manifest.revision && pointer.epoch == manifest.epoch);
            let mark = if now { "current" } else { "" };
            table.row([
                manifest.revision.to_string(),
                mark.into(),
                when::stamp(manifest.time),
                manifest.author.clone(),
                manifest.reason.clone(),
            ]);
            revisions.push(json!({
                "revision": manifest.revision, "epoch": manifest.epoch, "time": when::stamp(manifest.time),
                "author": manifest.author, "reason": manifest.reason, "current": now,
            }));
        }
        match table.is_empty() {
            true => screen.say("nothing has been published yet; start with `weirctl apply`"),
            false => screen.say(table.render(screen.paint)),
        }
        Ok(json!({"revisions": revisions}))
    }
}

/// Show what differs between two revisions, or between the store and the folder
///
/// Without a revision: what `apply` would change. With one: from it to now. With two: from the first to the second.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl diff              # what `weirctl apply` would change; `weirctl plan` adds what that does to traffic
  weirctl diff 41           # what changed since revision 41
  weirctl diff 41 43 --all")]
pub struct Diff {
    #[arg(value_name = "REV")]
    from: Option<u64>,

    #[arg(value_name = "REV")]
    to: Option<u64>,

    /// Show all of long lists
    #[arg(long)]
    all: bool,
}

impl Diff {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (from, to, changes) = match self.from {
            None => against_folder(place)?,
            Some(from) => between_revisions(place, from, self.to)?,
        };
        match changes.is_empty() {
            true => screen.say(format!("{from} and {to} say the same")),
            false => {
                screen.say(format!("from {from} to {to}: {}", change::summary(&changes)));
                let most = if self.all { usize::MAX } else { CHANGES_SHOWN_MAX };
                screen.say(change::render(&changes, screen.paint, most));
            }
        }
        Ok(json!({"from": from, "to": to, "changes": changes}))
    }
}

type Difference = (String, String, Vec<Change>);

fn against_folder(place: &Place) -> Result<Difference, Failure> {
    let folder = check::read(place)?;
    let (revision, old) = match place.existing_store() {
        Ok(store) => {
            let base = Base::read(&*store)?;
            (base.revision(), base.draft(&*store)?)
        }
        Err(_) => Default::default(),
    };
    let changes = change::between(&old, &folder.draft);
    Ok((format!("revision {revision}"), place.folder_name(), changes))
}

fn between_revisions(place: &Place, from: u64, to: Option<u64>) -> Result<Difference, Failure> {
    let store = place.existing_store()?;
    let old = Base::of_revision(&*store, from)?;
    let new = match to {
        Some(to) => Base::of_revision(&*store, to)?,
        None => Base::read(&*store)?,
    };
    let changes = publish::between(&*store, &old, &new)?;
    Ok((format!("revision {from}"), format!("revision {}", new.revision()), changes))
}
