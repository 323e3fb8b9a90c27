//! The nodes' journals, read and never written: also those that a node is writing now.

use std::path::{Path, PathBuf};

use weir_shared::fault::Exit;
use weir_shared::ledger::{Damage, Link, Record, Records, SegmentHeader};

use crate::failure::Failure;

/// All segments below a folder: of nodes in folders of their own, or right in it. By core and sequence.
pub fn segments(root: &Path) -> Result<Vec<Segment>, Failure> {
    if !root.is_dir() {
        let what = format!("there is no journal at {}", root.display());
        return Err(Failure::new(Exit::Missing, what).next("a node writes one; name it with --journal or --state"));
    }
    let mut paths = Vec::new();
    collect(root, 1, &mut paths)?;
    let mut segments = Vec::with_capacity(paths.len());
    for path in paths {
        let mut head = Vec::new();
        use std::io::Read;
        let read = std::fs::File::open(&path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
        read.map_err(|error| unreadable(&path, &error))?;
        // A file that a node has made and not yet begun is no damage.
        if head.iter().all(|byte| *byte == 0) {
            continue;
        }
        segments.push(Segment { header: SegmentHeader::decode(&head), path });
    }
    segments.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(segments)
}

pub struct Segment {
    pub path: PathBuf,
    pub header: Result<SegmentHeader, Damage>,
}

/// Where the reading of a segment ended.
#[derive(Clone, Debug)]
pub struct End {
    pub records: u64,
    /// The number that the next record has to have, and what it has to name.
    pub sequence: u64,
    pub link: Link,
    pub damage: Option<(usize, Damage)>,
}

impl Segment {
    /// Gives every whole record to `each`, up to the end or to the first that is not whole.
    pub fn read(&self, mut each: impl FnMut(&Record<'_>)) -> Result<End, Failure> {
        let bytes = std::fs::read(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        let mut end = End { records: 0, sequence: 0, link: Link::default(), damage: None };
        match Records::open(&bytes) {
            Err(damage) => end.damage = Some((0, damage)),
            Ok((_, mut records)) => {
                loop {
                    match records.next() {
                        None => break,
                        Some(Ok(record)) => {
                            end.records += 1;
                            each(&record);
                        }
                        Some(Err(damage)) => {
                            end.damage = Some((records.position(), damage));
                            break;
                        }
                    }
                }
                (end.sequence, end.link) = (records.sequence(), records.link());
            }
        }
        Ok(end)
    }

    fn order(&self) -> (Option<(&str, u32, u64)>, &Path) {
        let header = self.header.as_ref().ok();
        (header.map(|header| (header.node.as_str(), header.core, header.first_sequence)), &self.path)
    }
}

const HEAD_BYTES: u64 = weir_shared::ledger::HEADER_BYTES as u64;

fn collect(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "wj") {
            paths.push(path);
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} cannot be read: {error}", path.display())).next("check who may read it")
}
