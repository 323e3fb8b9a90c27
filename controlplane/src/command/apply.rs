//! `apply`: from the operator's folder to a revision that every node follows.

use serde_json::{Value, json};
use weir_shared::fault::Exit;
use weir_shared::keyspace::Origin;

use super::check;
use crate::change;
use crate::failure::Failure;
use crate::follow::{self, Wait, follow};
use crate::place::Place;
use crate::publish::{self, Base, Values};
use crate::rollout::{Careful, Done, Rollout};
use crate::screen::Screen;

/// Publish the operator's folder as a new revision
///
/// Checks the folder, shows what would change, and makes it the newest revision, all or nothing. Callers' keys are carried
/// over as they are. When nothing changed, nothing is published.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl apply
  weirctl apply --wait --timeout 1m --reason 'gpt-5 for everybody'
  weirctl apply --dry-run                  # what would change; `weirctl plan` says what that does to traffic
  weirctl apply --base 41 --wait           # only if 41 is still what the folder's part of the store says
  weirctl apply --wait --canary 10% --rollback-on 'refusal,error-rate>2%' --watch-for 2m

With --wait the command returns 0 only when every live node serves the revision: 5 when one
refused it, 6 when one did not answer in time.

With --canary some nodes serve it first, and nobody else has heard of it: when one refuses it, does
not answer in time or breaks a rule of --rollback-on, they go back, and nothing was published. After
that, or without a canary, the rules hold for all nodes, and going back is a revision of its own.")]
pub struct Apply {
    /// Show what would change, and publish nothing
    #[arg(long)]
    dry_run: bool,

    /// Why, for `weirctl history` [default: a summary of the changes]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// The store was restored from an older copy: make nodes follow it although they have seen newer revisions
    #[arg(long)]
    accept_regress: bool,

    /// Take back what commands such as `weirctl price set` changed in the store, where the folder does not say it
    #[arg(long)]
    over_commands: bool,

    #[command(flatten)]
    wait: Wait,

    #[command(flatten)]
    careful: Careful,

    /// Refuse when the operator's folder was published by anybody since revision REV: the one that was planned against
    #[arg(long, value_name = "REV")]
    base: Option<u64>,
}

/// More of one kind than this would push the end of the answer off the screen; `diff --all` shows everything.
const CHANGES_SHOWN_MAX: usize = 20;

impl Apply {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let folder = check::read(place)?;
        let store = if self.dry_run { place.existing_store().ok() } else { Some(place.store()?) };
        let base = match &store {
            Some(store) => Base::read(&**store)?,
            None => Base::empty(),
        };
        let old = match &store {
            Some(store) => base.draft(&**store)?,
            None => Default::default(),
        };
        if let (Some(planned), Some(store)) = (self.base, &store) {
            publish::unchanged_since(&**store, planned, &base)?;
        }
        let changes = change::between(&old, &folder.draft);
        for note in check::notes(&folder, place) {
            screen.note(note.to_string());
        }
        if changes.is_empty() && !self.accept_regress {
            screen.say(format!("nothing to change: revision {} says the same already", base.revision()));
            let nodes = match (&base.pointer, &store, self.dry_run) {
                (Some(pointer), Some(store), false) => follow(&**store, pointer, &self.wait, screen)?,
                _ => Vec::new(),
            };
            return Ok(json!({"changed": false, "revision": base.revision(), "changes": [], "nodes": nodes}));
        }
        screen.say(format!("changes against revision {}: {}", base.revision(), change::summary(&changes)));
        screen.say(change::render(&changes, screen.paint, CHANGES_SHOWN_MAX));
        if base.origin == Origin::Verb && !self.over_commands && !self.dry_run {
            let what = format!(
                "revision {} was changed in the store since a folder was applied: {}",
                base.revision(),
                base.reason
            );
            let next =
                "take over what the list above would take back (`weirctl export` writes it), or say --over-commands";
            return Err(Failure::new(Exit::Conflict, what).next(next).detail("changes", json!(changes)));
        }
        let (Some(store), false) = (store, self.dry_run) else {
            screen.say("nothing was published (--dry-run)");
            return Ok(json!({"changed": false, "revision": base.revision(), "changes": changes, "nodes": []}));
        };
        let reason = self.reason.clone().unwrap_or_else(|| change::reason(&changes));
        let rollout = Rollout {
            store: &*store,
            base: &base,
            old: &old,
            draft: &folder.draft,
            values: &Values::of(&folder.draft, &base),
            stamp: &publish::Stamp { origin: Some(place.origin()), ..place.stamp(reason) },
            raise_epoch: self.accept_regress,
            wait: &self.wait,
            careful: &self.careful,
            screen,
        };
        let Done { pointer, canary, nodes, errors } = rollout.run()?;
        let times = follow::propagation(&nodes);
        Ok(json!({
            "changed": true, "revision": pointer.revision, "digest": pointer.digest, "changes": changes, "nodes": nodes,
            "canary": canary, "errors": errors, "propagation_ms": times.map(|(p50, p99)| json!({"p50": p50, "p99": p99})),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Deployment;
    use weir_shared::keyspace::{NodePage, Refusal};
    use weir_shared::store::Store;

    #[test]
    fn what_is_published_is_followed_and_refused() {
        let at = Deployment::new("apply");
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        let first = at.run(&["apply", "--wait"]).unwrap();
        assert_eq!((&first["revision"], &first["changed"]), (&json!(1), &json!(true)));
        let again = at.run(&["apply"]).unwrap();
        assert_eq!((&again["revision"], &again["changed"]), (&json!(1), &json!(false)));
        at.write("v.toml", "# moved\n\n[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        assert_eq!(at.run(&["apply"]).unwrap()["changed"], false, "a moved line is no change");

        at.write("a.toml", "[alias]\nfast = \"gpt-4o\"\n");
        assert_eq!(at.run(&["apply", "--dry-run"]).unwrap()["revision"], 1);
        let page = NodePage { node: "n".into(), applied: 1, seen: crate::when::now(), ..NodePage::default() };
        at.store().write_page(&page).unwrap();
        let waiting = at.run(&["apply", "--wait", "--timeout", "100ms"]).unwrap_err();
        assert_eq!((waiting.exit, &waiting.details["nodes"][0]["state"]), (Exit::Waiting, &json!("waiting")));

        let refused = Some(Refusal { revision: 2, digest: None, reason: "no".into() });
        at.store().write_page(&NodePage { refused, ..page.clone() }).unwrap();
        let failure = at.run(&["apply", "--wait"]).unwrap_err();
        assert_eq!((failure.exit, &failure.details["nodes"][0]["reason"]), (Exit::Refused, &json!("no")));

        let back = at.run(&["rollback", "1", "--wait", "--timeout", "0s"]).unwrap_err();
        assert_eq!(back.exit, Exit::Waiting);
        at.store().write_page(&NodePage { applied: 3, ..page }).unwrap();
        assert_eq!(at.run(&["rollback", "1", "--wait"]).unwrap()["changed"], false);
        assert_eq!(at.run(&["diff", "1"]).unwrap()["changes"], json!([]));
        assert_eq!(at.run(&["diff", "2", "3"]).unwrap()["changes"][0]["verb"], "removed");
        assert_eq!(at.run(&["rollback", "9"]).unwrap_err().exit, Exit::Missing);
        assert_eq!(at.run(&["history"]).unwrap()["revisions"].as_array().unwrap().len(), 3);
        let status = at.run(&["status"]).unwrap();
        assert_eq!((&status["revision"], &status["nodes"][0]["state"]), (&json!(3), &json!("current")));
    }

    #[test]
    fn a_folder_with_faults_publishes_nothing() {
        let at = Deployment::new("faults");
        assert_eq!(at.run(&["apply"]).unwrap_err().exit, Exit::Missing);
        at.write("v.toml", "[[vendor]]\nname = \"v\"\n");
        let failure = at.run(&["apply"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Faults);
        assert_eq!(failure.details["faults"][0]["line"], 1);
        assert_eq!(at.run(&["status"]).unwrap_err().exit, Exit::Missing, "not even a store was made");
        at.write("v.toml", "");
        assert_eq!(at.run(&["check"]).unwrap_err().exit, Exit::Faults, "an empty folder would serve nothing");
    }

    #[test]
    fn a_restored_store_raises_its_epoch() {
        let at = Deployment::new("regress");
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        at.run(&["apply"]).unwrap();
        let page = NodePage { node: "n".into(), applied: 9, seen: crate::when::now(), ..NodePage::default() };
        at.store().write_page(&page).unwrap();
        assert_eq!(at.run(&["apply", "--wait"]).unwrap_err().exit, Exit::Refused);
        at.run(&["apply", "--accept-regress"]).unwrap();
        assert_eq!(at.run(&["status"]).unwrap()["epoch"], 1);
    }
}
