//! The audit log of this machine: who asked for which change, and what came of it. Each line names the hash of the one before
//! it, so that none can be changed or taken out of the middle unseen. Whoever keeps the newest hash elsewhere sees it too when
//! the end is cut off.
//!
//! One file of JSON lines in the state folder, appended to under a lock. A change is written before it is made and again when
//! it is done: a change that nobody could write down is not made.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_shared::fault::Exit;
use weir_shared::id::Digest;

use crate::failure::Failure;
use crate::when;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts without a gap.
    pub number: u64,
    pub time: String,
    /// A token's name and id, or whoever the command line says.
    pub who: String,
    /// `cli` or `api`.
    pub by: String,
    pub does: String,
    /// Arguments; never a secret, and of a folder only its digest.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub with: Value,
    /// `asked`, `done`, or a failure's name.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Of the line before, without its end.
    pub previous: Digest,
}

/// What is written of a change.
#[derive(Clone, Debug)]
pub struct Change {
    pub who: String,
    pub by: &'static str,
    pub does: String,
    pub with: Value,
}

pub struct Log {
    path: PathBuf,
}

impl Log {
    pub fn of(state: &Path) -> Self {
        Self { path: state.join("audit").join("log.jsonl") }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn append(&self, change: &Change, outcome: &str, revision: Option<u64>) -> Result<Entry, Failure> {
        let write = || -> std::io::Result<Entry> {
            if let Some(folder) = self.path.parent() {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let mut file = OpenOptions::new().read(true).create(true).append(true).mode(0o600).open(&self.path)?;
            // Released when the file is closed.
            file.lock()?;
            let (number, previous) = last(&mut file)?;
            let Change { who, by, does, with } = change.clone();
            let (time, outcome) = (when::stamp(when::now()), outcome.to_owned());
            let with = short(with);
            let entry = Entry { number, time, who, by: by.into(), does, with, outcome, revision, previous };
            let line = serde_json::to_string(&entry).map_err(std::io::Error::other)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()?;
            Ok(entry)
        };
        write().map_err(|error| {
            let what = format!("the audit log {} cannot be written: {error}", self.path.display());
            Failure::new(Exit::Failed, what).next("what cannot be written down is not done; mend it first")
        })
    }

    /// All entries, and what is wrong with the chain: the first line that does not follow from the one before.
    pub fn read(&self) -> Result<(Vec<Entry>, Option<String>), Failure> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", self.path.display());
                return Err(Failure::new(Exit::Failed, what).next("check who may read it"));
            }
        };
        let (mut entries, mut previous) = (Vec::new(), START);
        for (at, line) in text.lines().enumerate() {
            let Ok(entry) = serde_json::from_str::<Entry>(line) else {
                return Ok((entries, Some(format!("line {} is no entry", at + 1))));
            };
            if entry.previous != previous || entry.number != at as u64 + 1 {
                return Ok((entries, Some(format!("line {} does not follow from the line before it", at + 1))));
            }
            previous = Digest::of(line.as_bytes());
            entries.push(entry);
        }
        Ok((entries, None))
    }

    /// The hash that the next entry will name.
    pub fn head(&self) -> Option<Digest> {
        File::open(&self.path).and_then(|mut file| last(&mut file)).ok().map(|(_, head)| head)
    }
}

const START: Digest = Digest([0; 32]);
/// Longer arguments stand in a line as their digest.
const ARGUMENTS_BYTES_MAX: usize = 16 << 10;
/// More than a line.
const TAIL_BYTES: u64 = 64 << 10;

fn short(with: Value) -> Value {
    let text = with.to_string();
    if text.len() <= ARGUMENTS_BYTES_MAX {
        return with;
    }
    serde_json::json!({"bytes": text.len(), "digest": Digest::of(text.as_bytes())})
}

/// The number of the next entry, and the hash of the last line.
fn last(file: &mut File) -> std::io::Result<(u64, Digest)> {
    let length = file.metadata()?.len();
    let (mut tail, mut from) = (Vec::new(), length);
    // Until the start of the last line is there, however long an earlier build has made it.
    while from > 0 && !tail.strip_suffix(b"\n").unwrap_or(&tail).contains(&b'\n') {
        from = length.saturating_sub((2 * (length - from)).max(TAIL_BYTES));
        file.seek(SeekFrom::Start(from))?;
        tail.clear();
        file.read_to_end(&mut tail)?;
    }
    let tail = String::from_utf8_lossy(&tail);
    let Some(line) = tail.lines().last() else { return Ok((1, START)) };
    let entry: Entry = serde_json::from_str(line)
        .map_err(|_| std::io::Error::other("its last line is no entry; `weirctl audit` says more"))?;
    Ok((entry.number + 1, Digest::of(line.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(does: &str) -> Change {
        Change { who: "t".into(), by: "cli", does: does.into(), with: Value::Null }
    }

    /// Nothing that somebody says keeps others from changing anything afterwards.
    #[test]
    fn a_long_argument_ends_nothing() {
        let state = std::env::temp_dir().join(format!("weirctl-audit-long-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&state);
        let log = Log::of(&state);
        let long = Change { with: serde_json::json!({"name": "A".repeat(200_000)}), ..change("key create") };
        assert!(log.append(&long, "asked", None).unwrap().with["digest"].is_string());
        // As an earlier build would have written it.
        let (number, previous) = (2, log.head().unwrap());
        let text = |text: &str| text.to_owned();
        let (time, who, by, does, outcome) = (text(""), text("t"), text("api"), text("a"), text("done"));
        let entry = Entry { number, time, who, by, does, with: long.with, outcome, revision: None, previous };
        let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
        file.write_all((serde_json::to_string(&entry).unwrap() + "\n").as_bytes()).unwrap();
        assert_eq!(log.append(&change("key revoke"), "asked", None).unwrap().number, 3);
        assert_eq!(log.read().unwrap().1, None);
        std::fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn a_line_that_is_changed_or_taken_out_is_seen() {
        let state = std::env::temp_dir().join(format!("weirctl-audit-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&state);
        let log = Log::of(&state);
        assert_eq!(log.read().unwrap(), (Vec::new(), None));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| drop(log.append(&change("a"), "done", Some(1)).unwrap())));
            }
        });
        let (entries, wrong) = log.read().unwrap();
        assert_eq!((entries.len(), wrong, entries[19].number), (20, None, 20));
        let text = std::fs::read_to_string(log.path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (broken, at) in [
            (text.replacen("\"who\":\"t\"", "\"who\":\"u\"", 1), "line 2 "),
            ([&lines[..7], &lines[8..]].concat().join("\n"), "line 8 "),
            (lines[1..].join("\n"), "line 1 "),
            (format!("{text}{}\n", lines[19]), "line 21 "),
        ] {
            std::fs::write(log.path(), broken).unwrap();
            let (_, wrong) = log.read().unwrap();
            assert!(wrong.as_ref().is_some_and(|wrong| wrong.starts_with(at)), "{at}: {wrong:?}");
        }
        // The end that is cut off is seen by whoever kept the head.
        std::fs::write(log.path(), &text).unwrap();
        let head = log.head();
        std::fs::write(log.path(), lines[..19].join("\n")).unwrap();
        assert!(log.read().unwrap().1.is_none() && log.head() != head);
        std::fs::remove_dir_all(&state).unwrap();
    }
}
