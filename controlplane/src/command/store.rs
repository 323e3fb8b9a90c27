//! `store`: what holds for the store as a whole.

use std::collections::HashSet;

use clap::Subcommand;
use serde_json::{Value, json};
use weir_shared::fault::Exit;
use weir_shared::id::Digest;
use weir_shared::keyspace::{MANIFESTS_KEPT, Manifest, Pointer};
use weir_shared::store::{self, Store};

use crate::failure::Failure;
use crate::place::{PATIENCE, Place};
use crate::screen::Screen;
use crate::table::count;

#[derive(Subcommand)]
pub enum StoreVerb {
    Copy(Copy),
}

impl StoreVerb {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Copy(copy) => copy.run(place, screen),
        }
    }
}

/// Copy everything into another store: revisions, keys, sealed secrets, and what was changed by hand
///
/// The other store has the same revisions afterwards, by the same numbers and digests: a node that is started anew with its address
/// goes on as if nothing had happened. What is published meanwhile comes along; said again, it goes on where it ended. Nodes' pages,
/// journals and the files of secret/ are no part of a store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl store copy --to etcd:https://a:2379,https://b:2379,https://c:2379
  weirctl --store etcd:http://127.0.0.1:2379 store copy --to folder:/backup/weir")]
pub struct Copy {
    /// The other store, as --store names one: empty, or copied into before
    #[arg(long, value_name = "ADDRESS")]
    to: String,

    /// So many revisions, the newest ones
    #[arg(long, value_name = "N", default_value_t = MANIFESTS_KEPT)]
    last: usize,
}

/// Others may go on publishing; who publishes faster than it is copied has to stop for it.
const ROUNDS_MAX: usize = 20;

impl Copy {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let from = place.existing_store()?;
        let to = store::open(&self.to, PATIENCE)?;
        let (mut revisions, mut values) = (0, HashSet::new());
        for _ in 0..ROUNDS_MAX {
            let Some(newest) = from.pointer()? else {
                return Err(Failure::new(Exit::Missing, "nothing has been published yet, so there is nothing to copy"));
            };
            let there = to.pointer()?;
            if there == Some(newest) {
                let said = format!("{} with {} copied", count(revisions, "revision"), count(values.len(), "value"));
                screen.say(screen.paint.good(&format!("{said}; the newest is {} in both", newest.revision)));
                screen.say("next: start nodes and weirctl with the new address; secret/ has to be the same for all");
                return Ok(json!({"revision": newest.revision, "revisions": revisions, "values": values.len()}));
            }
            let mut expected = there;
            for manifest in missing(self.last, &*from, there)? {
                expected = Some(carry(&manifest, &*from, &*to, expected, &mut values)?);
                revisions += 1;
                screen.progress(&[format!("  revision {}", manifest.revision)]);
            }
            screen.progress_over();
        }
        Err(Failure::new(Exit::Conflict, "others publish faster than it can be copied")
            .next("try again when it is quieter"))
    }
}

/// What the other store has not, the oldest first.
fn missing(last: usize, from: &dyn Store, there: Option<Pointer>) -> Result<Vec<Manifest>, Failure> {
    let mut history = from.history(last.clamp(1, MANIFESTS_KEPT))?;
    history.reverse();
    let Some(there) = there else { return Ok(history) };
    match history.iter().position(|manifest| manifest.pointer() == there) {
        Some(at) => Ok(history.split_off(at + 1)),
        None => {
            let what = format!("the other store is at a revision {} that this one does not have", there.revision);
            let next = "name an empty store, or another prefix: etcd:http://HOST:PORT/PREFIX";
            Err(Failure::new(Exit::Conflict, what).next(next))
        }
    }
}

fn carry(
    manifest: &Manifest,
    from: &dyn Store,
    to: &dyn Store,
    expected: Option<Pointer>,
    carried: &mut HashSet<Digest>,
) -> Result<Pointer, Failure> {
    for digest in manifest.parts.values() {
        if carried.insert(*digest) {
            to.put_value(&from.value(digest)?)?;
        }
    }
    Ok(to.publish(manifest, expected.as_ref())?)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Deployment;
    use weir_shared::fault::Exit;

    #[test]
    fn the_copy_has_the_same_revisions_and_goes_on() {
        let (at, other) = (Deployment::new("copy-from"), Deployment::new("copy-to"));
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        let to = format!("folder:{}", other.root.join("state/store").display());
        assert_eq!(at.run(&["store", "copy", "--to", &to]).unwrap_err().exit, Exit::Missing);
        at.run(&["apply"]).unwrap();
        let key = at.run(&["key", "create", "--name", "a"]).unwrap();
        at.run(&["route", "drain", "openai", "--reason", "r"]).unwrap();
        assert_eq!(at.run(&["store", "copy", "--to", &to]).unwrap()["revisions"], 3);
        for words in [&["history"][..], &["key", "list"], &["route", "list"], &["show"], &["diff", "1", "3"]] {
            assert_eq!(at.run(words).unwrap(), other.run(words).unwrap(), "{words:?}");
        }
        assert_eq!(at.run(&["store", "copy", "--to", &to]).unwrap()["revisions"], 0);
        at.run(&["key", "revoke", key["id"].as_str().unwrap()]).unwrap();
        assert_eq!(at.run(&["store", "copy", "--to", &to]).unwrap()["revisions"], 1);
        // It is a store of its own now, and is not written over.
        other.run(&["route", "restore", "--all"]).unwrap();
        assert_eq!(at.run(&["store", "copy", "--to", &to]).unwrap_err().exit, Exit::Conflict);
    }
}
