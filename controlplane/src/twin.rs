//! Twins of what the operator's folder says, for haste: a command changes it in the store, as a revision with author and
//! reason. Where the folder is kept in git it is refused, with the place to edit.

use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::{Exit, Source};

use crate::change;
use crate::failure::Failure;
use crate::follow::{Wait, follow};
use crate::place::Place;
use crate::publish;
use crate::screen::Screen;
use crate::tree;

/// What every one of them takes.
#[derive(clap::Args, Clone, Debug)]
pub struct How {
    /// Why, for `weirctl history`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    pub wait: Wait,
}

/// `words` is the command, for the history. `change` says where the thing is written, for whoever has to edit it there.
pub fn publish(
    place: &Place,
    screen: &Screen,
    words: &str,
    how: &How,
    mut change: impl FnMut(&mut Draft) -> Result<Source, Failure>,
) -> Result<Value, Failure> {
    let store = place.existing_store()?;
    let reason = how.reason.as_ref().map_or(words.to_owned(), |reason| format!("{words}: {reason}"));
    let changed = publish::change_catalog(&*store, &place.stamp(reason), |draft| Ok(((), change(draft)?)));
    let ((), pointer, changes) = changed?;
    let Some(pointer) = pointer else {
        screen.say("nothing to change");
        return Ok(json!({"changed": false, "changes": [], "nodes": []}));
    };
    screen.say(change::render(&changes, screen.paint, usize::MAX));
    screen.say(screen.paint.good(&format!("published revision {}", pointer.revision)));
    screen.note("the folder does not say this yet; `weirctl apply` will ask about it");
    let nodes = follow(&*store, &pointer, &how.wait, screen)?;
    Ok(json!({"changed": true, "revision": pointer.revision, "changes": changes, "nodes": nodes}))
}

/// Where a command is the one who wrote something.
pub fn source(place: &Place, words: &str) -> Source {
    Source { file: format!("`weirctl {words}` by {}", place.stamp("").author), line: 0 }
}

/// The thing is not there, and perhaps it was meant to be called otherwise.
pub fn missing<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> Failure {
    let near = tree::nearest(name, known);
    let next = near.map_or("`weirctl show` lists what there is".to_owned(), |near| format!("did you mean {near:?}?"));
    Failure::new(Exit::Missing, format!("there is no {what} {name:?}")).next(next)
}
