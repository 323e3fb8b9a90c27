//! `usage prune`: removes old segments of the journals. The one command that removes records, so it removes only what
//! nobody can miss by accident: whole segments, the oldest first, that are followed by the next one of their chain.

use std::path::PathBuf;

use serde_json::{Value, json};
use weir_shared::fault::Exit;

use super::usage;
use crate::failure::Failure;
use crate::journal::Segment;
use crate::place::Place;
use crate::screen::Screen;
use crate::table::count;
use crate::when;

/// Remove segments whose records are all older than a moment
///
/// Nothing removes records by itself. A node's newest segment stays whatever its age, and so does everything from the
/// first segment on that is damaged or is not followed by its successor.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl usage prune --before 90d --dry-run
  weirctl usage --by tenant --csv > bill.csv && weirctl usage prune --before 2026-01-01

Take what you need out of them first: what is removed is in no sum any more.")]
pub struct Prune {
    /// The moment: a date, or so long ago (90d)
    #[arg(long, value_name = "WHEN")]
    before: String,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// The folder of journals [default: <state>/journal]
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
}

impl Prune {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let before = when::moment(&self.before, when::now())
            .map_err(|why| Failure::new(Exit::Usage, format!("--before: {why}")))?;
        let segments = usage::segments(&self.journal, place)?;
        let (mut removed, mut records, mut bytes) = (Vec::new(), 0, 0);
        for chain in segments.chunk_by(same_chain) {
            for pair in chain.windows(2) {
                let [old, next] = pair else { continue };
                let Some(its) = removable(old, next, before)? else { break };
                records += its;
                bytes += old.path.metadata().map_or(0, |data| data.len());
                if !self.dry_run {
                    std::fs::remove_file(&old.path).map_err(|error| {
                        Failure::new(Exit::Failed, format!("{} cannot be removed: {error}", old.path.display()))
                            .next("check who owns it; what was removed before it is gone")
                    })?;
                }
                removed.push(old.path.display().to_string());
            }
        }
        for path in &removed {
            screen.say(path);
        }
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let what = format!("{} with {}", count(removed.len(), "segment"), count(records as usize, "record"));
        screen.say(screen.paint.good(&format!("{what} {verb}; {} stay", segments.len() - removed.len())));
        Ok(json!({"dry_run": self.dry_run, "segments": removed, "records": records, "bytes": bytes}))
    }
}

fn same_chain(one: &Segment, other: &Segment) -> bool {
    match (&one.header, &other.header) {
        (Ok(one), Ok(other)) => (&one.node, one.core) == (&other.node, other.core),
        _ => false,
    }
}

/// How many records go with this segment; `None` when it stays.
fn removable(old: &Segment, next: &Segment, before: u64) -> Result<Option<u64>, Failure> {
    let mut newest_ns = old.header.as_ref().map_or(u64::MAX, |header| header.created_ns);
    let end = old.read(|record| newest_ns = newest_ns.max(record.time_ns))?;
    let follows =
        next.header.as_ref().is_ok_and(|next| (next.previous, next.first_sequence) == (end.link, end.sequence));
    let old_enough = newest_ns / 1_000_000_000 < before;
    Ok((end.damage.is_none() && follows && old_enough).then_some(end.records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Deployment;
    use crate::command::usage::testing::segment;
    use weir_shared::ledger::Link;

    fn left(at: &Deployment) -> Vec<String> {
        let folder = std::fs::read_dir(at.root.join("state/journal/n")).unwrap();
        let mut names: Vec<_> = folder.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_old_segments_that_are_followed_go() {
        let at = Deployment::new("prune");
        // Two records a day from 1970 on.
        let mut link = Link::default();
        for number in 0..5 {
            link = segment(&at, &format!("core-0-{number}.wj"), link, number * 4..(number + 1) * 4);
        }
        assert_eq!(at.run(&["usage", "prune", "--before", "soon"]).unwrap_err().exit, Exit::Usage);
        let dry = at.run(&["usage", "prune", "--before", "1970-01-06", "--dry-run"]).unwrap();
        assert_eq!((&dry["records"], left(&at).len()), (&json!(8), 5));
        let done = at.run(&["usage", "prune", "--before", "1970-01-06"]).unwrap();
        assert_eq!((&done["segments"], &done["records"]), (&dry["segments"], &json!(8)));
        assert_eq!(left(&at), ["core-0-2.wj", "core-0-3.wj", "core-0-4.wj"]);
        assert_eq!(at.run(&["usage", "prune", "--before", "1970-01-06"]).unwrap()["records"], 0);
        // What is left is whole, and the sums are of what is left.
        assert_eq!(at.run(&["usage", "verify"]).unwrap()["records"], 12);
        assert_eq!(at.run(&["usage"]).unwrap()["total"]["requests"], 12);
        // A damaged one stays, and all behind it.
        let path = at.root.join("state/journal/n/core-0-3.wj");
        let mut bad = std::fs::read(&path).unwrap();
        bad[200] ^= 1;
        std::fs::write(&path, bad).unwrap();
        at.run(&["usage", "prune", "--before", "2020-01-01"]).unwrap();
        assert_eq!(left(&at), ["core-0-3.wj", "core-0-4.wj"]);
    }

    #[test]
    fn the_newest_stays_and_so_does_what_nothing_follows() {
        let at = Deployment::new("prune-newest");
        let link = segment(&at, "core-0-0.wj", Link::default(), 0..4);
        at.run(&["usage", "prune", "--before", "2020-01-01"]).unwrap();
        assert_eq!(left(&at).len(), 1);
        // One is missing in between.
        segment(&at, "core-0-2.wj", link, 6..8);
        at.run(&["usage", "prune", "--before", "2020-01-01"]).unwrap();
        assert_eq!(left(&at).len(), 2);
    }
}
