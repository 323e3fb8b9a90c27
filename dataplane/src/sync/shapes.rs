//! What was asked of this node lately, for `weirctl plan`: a sample of its own journal, as a journal. A record holds names,
//! numbers and what a choice was made by; there is nothing of a prompt in one.
//!
//! It costs a request nothing: the records are there anyway, and survive a restart. It runs on a thread of its own, and what it
//! reads and holds is bounded, however much was asked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use weir_shared::ledger::{FRAME_BYTES_MAX, HEADER_BYTES, Record, Records, SegmentHeader};

pub struct Sample {
    pub journal: Vec<u8>,
    pub records: u64,
    /// What they stand for.
    pub requests: u64,
}

/// So far back a plan looks.
pub const USUAL_SECONDS: u64 = 24 * 3600;
/// A share of a half is known to a third of a percent from so many.
pub const RECORDS_MAX: usize = 20_000;
/// Of segments that are read for one sample: about a second's work. Of more, every second, third … is read.
const READ_BYTES_MAX: u64 = 256 << 20;

pub fn sample(folder: &Path, since_s: u64, most: usize) -> io::Result<Sample> {
    let segments = since(segments(folder)?, since_s);
    let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let step = total.div_ceil(READ_BYTES_MAX).max(1) as usize;
    let mut thinned = Thinned { kept: Vec::new(), every: 1, seen: 0, most: most.max(2) };
    let mut read = 0;
    for segment in segments.iter().step_by(step) {
        let bytes = std::fs::read(&segment.path)?;
        read += segment.bytes;
        let Ok((_, records)) = Records::open(&bytes) else { continue };
        // A damaged end is the journal's to report.
        let asked = |record: &Record<'_>| record.time_ns / 1_000_000_000 >= since_s && record.mirror_of.is_none();
        for record in records.map_while(Result::ok).filter(asked) {
            thinned.offer(record);
        }
    }
    let (total, read) = (u128::from(total.max(1)), u128::from(read.max(1)));
    let requests = (u128::from(thinned.seen) * total / read) as u64;
    Ok(Sample { records: thinned.kept.len() as u64, requests, journal: chained(&thinned.kept) })
}

struct Segment {
    path: PathBuf,
    header: SegmentHeader,
    bytes: u64,
}

/// By core, in the order in which they were written.
fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wj") {
            continue;
        }
        let mut head = Vec::new();
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        file.take(HEADER_BYTES as u64).read_to_end(&mut head)?;
        // One that is prepared and not begun has no header yet.
        if let Ok(header) = SegmentHeader::decode(&head) {
            found.push(Segment { path, header, bytes });
        }
    }
    found.sort_by_key(|segment| (segment.header.core, segment.header.first_sequence));
    Ok(found)
}

/// Without those that ended before: the next of the same core began before.
fn since(segments: Vec<Segment>, since_s: u64) -> Vec<Segment> {
    let next: Vec<Option<u64>> = segments
        .iter()
        .zip(segments.iter().skip(1).map(Some).chain([None]))
        .map(|(segment, next)| next.filter(|n| n.header.core == segment.header.core).map(|n| n.header.created_ns))
        .collect();
    let still_written = |next: &Option<u64>| next.is_none_or(|created_ns| created_ns / 1_000_000_000 >= since_s);
    segments.into_iter().zip(next).filter(|(_, next)| still_written(next)).map(|(segment, _)| segment).collect()
}

/// Every so-manieth of what is offered; when there are too many, every second of them goes.
struct Thinned {
    kept: Vec<Box<[u8]>>,
    every: u64,
    seen: u64,
    most: usize,
}

impl Thinned {
    fn offer(&mut self, mut record: Record<'_>) {
        self.seen += 1;
        if !(self.seen - 1).is_multiple_of(self.every) {
            return;
        }
        if self.kept.len() == self.most {
            let mut stays = false;
            self.kept.retain(|_| {
                stays = !stays;
                stays
            });
            self.every *= 2;
            // The one that is offered has its place only in every second of the new steps.
            if !(self.seen - 1).is_multiple_of(self.every) {
                return;
            }
        }
        record.sequence = 0;
        let mut frame = [0; FRAME_BYTES_MAX];
        if let Some((length, _)) = record.encode(&FIRST.previous, &mut frame) {
            self.kept.push(frame[..length].into());
        }
    }
}

const FIRST: SegmentHeader =
    SegmentHeader { node: String::new(), core: 0, created_ns: 0, first_sequence: 0, previous: [0; 16] };

/// The frames, each alone so far, as one chain.
fn chained(frames: &[Box<[u8]>]) -> Vec<u8> {
    let header = FIRST.encode();
    let mut out = header.to_vec();
    let mut link = FIRST.previous;
    let mut sequence = 0;
    for frame in frames {
        let alone = [&header[..], frame].concat();
        let Some(mut record) = Records::open(&alone).ok().and_then(|(_, mut records)| records.next()?.ok()) else {
            continue;
        };
        record.sequence = sequence;
        let start = out.len();
        out.resize(start + FRAME_BYTES_MAX, 0);
        if let Some((length, next)) = record.encode(&link, &mut out[start..]) {
            out.truncate(start + length);
            (link, sequence) = (next, sequence + 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, first: u64, records: u64) {
        let header = SegmentHeader { core: 1, first_sequence: first, created_ns: (first + 1) * 1_000_000_000, ..FIRST };
        let mut bytes = header.encode().to_vec();
        let mut link = header.previous;
        for sequence in first..first + records {
            let start = bytes.len();
            bytes.resize(start + FRAME_BYTES_MAX, 0);
            let record = Record {
                sequence,
                time_ns: (sequence + 1) * 1_000_000_000,
                model: "m",
                seed: sequence,
                ..Record::default()
            };
            let (length, next) = record.encode(&link, &mut bytes[start..]).unwrap();
            bytes.truncate(start + length);
            link = next;
        }
        bytes.resize(bytes.len() + 5_000, 0);
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn what_is_sampled_is_spread_evenly_and_reads_as_a_journal() {
        let folder = std::env::temp_dir().join(format!("weir-shapes-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        write(&folder, "core-1-000000001.wj", 0, 1_000);
        write(&folder, "core-1-000000002.wj", 1_000, 500);
        std::fs::write(folder.join("core-1-000000003.wj"), [0; 100]).unwrap();
        let seeds = |since: u64, most: usize| {
            let sample = sample(&folder, since, most).unwrap();
            let (_, records) = Records::open(&sample.journal).unwrap();
            let seeds: Vec<u64> = records.map(|record| record.unwrap().seed).collect();
            assert_eq!(seeds.len() as u64, sample.records);
            (seeds, sample.requests)
        };
        assert_eq!(seeds(0, 5_000), ((0..1_500).collect(), 1_500));
        assert_eq!(seeds(1_201, 5_000), ((1_200..1_500).collect(), 300));
        let (thin, requests) = seeds(0, 100);
        assert_eq!(requests, 1_500);
        assert!((50..=100).contains(&thin.len()), "{}", thin.len());
        assert!(thin.windows(2).all(|pair| pair[1] - pair[0] == thin[1] - thin[0]), "{thin:?}");
        assert!(*thin.last().unwrap() + (thin[1] - thin[0]) >= 1_500);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
