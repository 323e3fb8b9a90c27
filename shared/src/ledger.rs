//! The journal's records, final in form: what a worker appends and what everybody reads back.
//!
//! A segment is a file: a header, then frames. All integers are little-endian.
//!
//! ```text
//! header   magic[8] version:u32 core:u32 node:[u8;32] created_ns:u64 first_sequence:u64 previous:[u8;16]   (80 bytes)
//! frame    length:u32 crc32c:u32 payload[length]
//! payload  previous:[u8;16] fixed[FIXED_BYTES] tail (tag:u8 length:u16 value)*
//! ```
//!
//! `previous` is the first half of the BLAKE3 of the payload before, so that a journal is a chain: a record cannot be
//! taken out or changed without breaking every later one. A length of zero is where the journal ends for now. New facts
//! become new tags; a reader passes over tags that it does not know.

#![deny(clippy::float_arithmetic)]

use std::borrow::Cow;

use crate::id::RequestId;
use crate::key::KeyId;
use crate::money::Nano;
use crate::policy::routing::CANDIDATES_MAX;
use crate::routing::{Grade, Shape, Vital, Vitals};
use crate::usage::{Class, Tier, Usage};

pub const MAGIC: &[u8; 8] = b"WEIRJRN1";
pub const VERSION: u32 = 1;
pub const HEADER_BYTES: usize = 80;
const FRAME_HEAD_BYTES: usize = 8;

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[repr(u8)]
pub enum Outcome {
    #[default]
    Complete,
    /// Nothing was delivered and nothing is owed.
    Failed,
    /// The caller went away before the end.
    Cancelled,
    /// The vendor broke off after the first byte.
    Partial,
}

impl Outcome {
    pub const ALL: &[Self] = &[Self::Complete, Self::Failed, Self::Cancelled, Self::Partial];

    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Partial => "partial",
        }
    }
}

/// What is unusual about a record's usage, one bit each.
pub mod flag {
    /// The vendor said no usage; the counts are ours.
    pub const ESTIMATED: u16 = 1;
    /// The vendor's usage could not be believed; the counts are ours.
    pub const USAGE_INVALID: u16 = 2;
    pub const STREAM: u16 = 4;
    /// The cost does not fit; it stands at the largest that does, for a person to look at.
    pub const OVERFLOW: u16 = 8;
    /// Another candidate went on with what one had begun: usage and cost are those of both, each at its own prices.
    pub const CONTINUED: u16 = 16;
    /// A copy of somebody's call, whose answer reached nobody: its cost is the operator's.
    pub const MIRRORED: u16 = 32;
    /// Several candidates answered: usage and cost are those of all, each at its own prices.
    pub const FANNED_OUT: u16 = 64;
    /// By a credential that is the tenant's own: its vendor bills the tenant, so it cost the operator nothing.
    pub const OWN_CREDENTIAL: u16 = 128;
    pub const NAMES: &[(u16, &str)] = &[
        (ESTIMATED, "estimated"),
        (USAGE_INVALID, "usage_invalid"),
        (STREAM, "stream"),
        (OVERFLOW, "overflow"),
        (CONTINUED, "continued"),
        (MIRRORED, "mirrored"),
        (FANNED_OUT, "fanned_out"),
        (OWN_CREDENTIAL, "own_credential"),
    ];
}

/// One call to one vendor, a child of its record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attempt<'a> {
    pub vendor: &'a str,
    pub credential: &'a str,
    /// The vendor's status; 0 when no answer came.
    pub status: u16,
    pub outcome: Outcome,
    pub micros: u32,
    /// What the vendor charges for it.
    pub cost: Nano,
}

/// One request of one caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record<'a> {
    pub id: RequestId,
    /// Counts every record of a core without a gap.
    pub sequence: u64,
    /// Wall clock in nanoseconds since 1970, never going back on a core.
    pub time_ns: u64,
    pub key: KeyId,
    pub status: u16,
    pub outcome: Outcome,
    pub tier: Tier,
    pub flags: u16,
    pub first_byte_us: u32,
    pub total_us: u32,
    /// The revision that priced and admitted it.
    pub revision: u64,
    pub price_version: u64,
    /// What the vendor charges.
    pub cost: Nano,
    /// What the caller pays.
    pub sale: Nano,
    /// Kept for the simulator that replays a request's choices.
    pub seed: u64,
    /// Kept for the health of the candidates at the time of choice.
    pub health: u64,
    pub trace: u128,
    pub usage: Usage,
    pub tenant: &'a str,
    pub model: &'a str,
    pub vendor: &'a str,
    pub credential: &'a str,
    pub upstream_model: &'a str,
    pub code: &'a str,
    pub attempts: Vec<Attempt<'a>>,
    /// When there was something to choose.
    pub choice: Option<Box<Choice<'a>>>,
    /// The call that this one is a copy of.
    pub mirror_of: Option<RequestId>,
}

/// What a choice between candidates was made by, so that it can be made again. The dice are the record's `seed`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice<'a> {
    /// As the caller named it.
    pub asked: Cow<'a, str>,
    /// The branch of a split.
    pub label: &'a str,
    pub shape: Shape,
    /// How the candidates were.
    pub vitals: Vitals,
    pub candidates: u8,
}

const FIXED_BYTES: usize = 16 + 8 + 8 + 8 + 2 + 1 + 1 + 2 + 2 + 4 + 4 + 8 + 8 + 8 + 8 + 8 + 8 + 16;

/// Longer names are cut in the journal; nothing that an operator can configure is longer.
const NAME_BYTES_MAX: usize = 256;
/// A record never grows beyond this, so that room for it can be promised before it is known.
pub const FRAME_BYTES_MAX: usize = 4096;
/// So that the promise holds: no request makes more upstream calls than four, with two names each.
pub const ATTEMPTS_MAX: usize = 4;

mod tag {
    pub const TENANT: u8 = 1;
    pub const MODEL: u8 = 2;
    pub const VENDOR: u8 = 3;
    pub const CREDENTIAL: u8 = 4;
    pub const UPSTREAM_MODEL: u8 = 5;
    pub const CODE: u8 = 6;
    pub const USAGE: u8 = 7;
    pub const ATTEMPT: u8 = 8;
    pub const ASKED: u8 = 9;
    pub const LABEL: u8 = 10;
    pub const CHOICE: u8 = 11;
    pub const MIRROR_OF: u8 = 12;
}

/// The bytes that [`Choice`] may take of a record.
pub const CHOICE_BYTES_MAX: usize = SHAPE_BYTES + VITAL_BYTES * CANDIDATES_MAX + LABEL_BYTES_MAX;
const SHAPE_BYTES: usize = 2 + 4 + 4 + 8 + 2 * 8 + 2 + 4;
const VITAL_BYTES: usize = 3;
const LABEL_BYTES_MAX: usize = 64;

/// The hash by which the next record names this one.
pub type Link = [u8; 16];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    pub node: String,
    pub core: u32,
    pub created_ns: u64,
    pub first_sequence: u64,
    pub previous: Link,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.core.to_le_bytes());
        let node = cut(&self.node, 32);
        out[16..16 + node.len()].copy_from_slice(node);
        out[48..56].copy_from_slice(&self.created_ns.to_le_bytes());
        out[56..64].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[64..80].copy_from_slice(&self.previous);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader(bytes);
        if reader.array::<8>()? != *MAGIC {
            return Err(Damage::NotAJournal);
        }
        match u32::from_le_bytes(reader.array()?) {
            VERSION => {}
            version => return Err(Damage::NewerVersion(version)),
        }
        let core = u32::from_le_bytes(reader.array()?);
        let node = reader.array::<32>()?;
        let node = String::from_utf8_lossy(&node).trim_end_matches('\0').to_owned();
        let created_ns = u64::from_le_bytes(reader.array()?);
        let first_sequence = u64::from_le_bytes(reader.array()?);
        Ok(Self { node, core, created_ns, first_sequence, previous: reader.array()? })
    }
}

impl Record<'_> {
    /// Writes the frame at the start of `out` and returns its length and the link for the next one.
    ///
    /// `out` holds at least [`FRAME_BYTES_MAX`] bytes; with less, nothing is written and `None` returned. The length
    /// word is written last, so that a record half written by a dying process ends the journal instead of spoiling it.
    pub fn encode(&self, previous: &Link, out: &mut [u8]) -> Option<(usize, Link)> {
        if out.len() < FRAME_BYTES_MAX {
            return None;
        }
        let mut writer = Writer { out, at: FRAME_HEAD_BYTES };
        writer.put(previous);
        writer.put(&self.id.0.to_le_bytes());
        writer.put(&self.sequence.to_le_bytes());
        writer.put(&self.time_ns.to_le_bytes());
        writer.put(&self.key.0);
        writer.put(&self.status.to_le_bytes());
        writer.put(&[self.outcome as u8, self.tier as u8]);
        writer.put(&self.flags.to_le_bytes());
        writer.put(&[0; 2]);
        writer.put(&self.first_byte_us.to_le_bytes());
        writer.put(&self.total_us.to_le_bytes());
        writer.put(&self.revision.to_le_bytes());
        writer.put(&self.price_version.to_le_bytes());
        writer.put(&self.cost.0.to_le_bytes());
        writer.put(&self.sale.0.to_le_bytes());
        writer.put(&self.seed.to_le_bytes());
        writer.put(&self.health.to_le_bytes());
        writer.put(&self.trace.to_le_bytes());
        debug_assert_eq!(writer.at, FRAME_HEAD_BYTES + 16 + FIXED_BYTES);
        writer.name(tag::TENANT, self.tenant);
        writer.name(tag::MODEL, self.model);
        writer.name(tag::VENDOR, self.vendor);
        writer.name(tag::CREDENTIAL, self.credential);
        writer.name(tag::UPSTREAM_MODEL, self.upstream_model);
        writer.name(tag::CODE, self.code);
        for (class, count) in self.usage.each() {
            writer.tail(tag::USAGE, &[&[class as u8], &count.to_le_bytes()]);
        }
        for attempt in self.attempts.iter().take(ATTEMPTS_MAX) {
            let (vendor, credential) =
                (cut(attempt.vendor, NAME_BYTES_MAX / 2), cut(attempt.credential, NAME_BYTES_MAX / 2));
            writer.tail(
                tag::ATTEMPT,
                &[
                    &attempt.status.to_le_bytes(),
                    &[attempt.outcome as u8],
                    &attempt.micros.to_le_bytes(),
                    &attempt.cost.0.to_le_bytes(),
                    &[vendor.len() as u8],
                    vendor,
                    credential,
                ],
            );
        }
        if let Some(id) = self.mirror_of {
            writer.tail(tag::MIRROR_OF, &[&id.0.to_le_bytes()]);
        }
        if let Some(choice) = &self.choice {
            writer.name(tag::ASKED, &choice.asked);
            writer.name(tag::LABEL, &choice.label[..choice.label.floor_char_boundary(LABEL_BYTES_MAX)]);
            let mut bytes = [0; SHAPE_BYTES + VITAL_BYTES * CANDIDATES_MAX];
            let length = encode_choice(choice, &mut bytes);
            writer.tail(tag::CHOICE, &[&bytes[..length]]);
        }
        let end = writer.at;
        let payload = &out[FRAME_HEAD_BYTES..end];
        let (link, crc) = (link_of(payload), crc32c::crc32c(payload));
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out[..4].copy_from_slice(&((end - FRAME_HEAD_BYTES) as u32).to_le_bytes());
        Some((end, link))
    }
}

/// Reads the records of a segment one after the other; stops at the end, or at the first record that is not whole.
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    link: Link,
    sequence: u64,
}

/// What a segment's end is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    NotAJournal,
    NewerVersion(u32),
    /// The bytes end in the middle of a record.
    Torn,
    Checksum,
    Chain,
    Malformed,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAJournal => f.write_str("this is not a journal"),
            Self::NewerVersion(version) => write!(f, "journal version {version} is newer than this build reads"),
            Self::Torn => f.write_str("the last record is cut"),
            Self::Checksum => f.write_str("a record's checksum is wrong"),
            Self::Chain => f.write_str("a record does not follow from the one before it"),
            Self::Malformed => f.write_str("a record has an impossible form"),
        }
    }
}

impl<'a> Records<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<(SegmentHeader, Self), Damage> {
        let header = SegmentHeader::decode(bytes)?;
        let records = Self { bytes, at: HEADER_BYTES, link: header.previous, sequence: header.first_sequence };
        Ok((header, records))
    }

    /// Where the next record starts: all before it is good.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn link(&self) -> Link {
        self.link
    }

    /// The sequence number that the next record has.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn read(&mut self) -> Result<Option<Record<'a>>, Damage> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((head, body)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() else {
            return if rest.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(Damage::Torn) };
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length == 0 {
            return Ok(None);
        }
        if !(16 + FIXED_BYTES..=FRAME_BYTES_MAX).contains(&length) {
            return Err(Damage::Malformed);
        }
        let payload = body.get(..length).ok_or(Damage::Torn)?;
        if crc32c::crc32c(payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(Damage::Checksum);
        }
        let mut reader = Reader(payload);
        if reader.array::<16>()? != self.link {
            return Err(Damage::Chain);
        }
        let record = decode(reader)?;
        if record.sequence != self.sequence {
            return Err(Damage::Chain);
        }
        self.link = link_of(payload);
        self.sequence += 1;
        self.at += FRAME_HEAD_BYTES + length;
        Ok(Some(record))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn decode(mut reader: Reader<'_>) -> Result<Record<'_>, Damage> {
    let mut record = Record {
        id: RequestId(u128::from_le_bytes(reader.array()?)),
        sequence: u64::from_le_bytes(reader.array()?),
        time_ns: u64::from_le_bytes(reader.array()?),
        key: KeyId(reader.array()?),
        status: u16::from_le_bytes(reader.array()?),
        ..Record::default()
    };
    let [outcome, tier] = reader.array()?;
    record.outcome = *Outcome::ALL.get(usize::from(outcome)).ok_or(Damage::Malformed)?;
    record.tier = *Tier::ALL.get(usize::from(tier)).ok_or(Damage::Malformed)?;
    record.flags = u16::from_le_bytes(reader.array()?);
    reader.array::<2>()?;
    record.first_byte_us = u32::from_le_bytes(reader.array()?);
    record.total_us = u32::from_le_bytes(reader.array()?);
    record.revision = u64::from_le_bytes(reader.array()?);
    record.price_version = u64::from_le_bytes(reader.array()?);
    record.cost = Nano(i64::from_le_bytes(reader.array()?));
    record.sale = Nano(i64::from_le_bytes(reader.array()?));
    record.seed = u64::from_le_bytes(reader.array()?);
    record.health = u64::from_le_bytes(reader.array()?);
    record.trace = u128::from_le_bytes(reader.array()?);
    while !reader.0.is_empty() {
        let [tag, low, high] = reader.array()?;
        let value = reader.slice(usize::from(u16::from_le_bytes([low, high])))?;
        match tag {
            tag::TENANT => record.tenant = text(value)?,
            tag::MODEL => record.model = text(value)?,
            tag::VENDOR => record.vendor = text(value)?,
            tag::CREDENTIAL => record.credential = text(value)?,
            tag::UPSTREAM_MODEL => record.upstream_model = text(value)?,
            tag::CODE => record.code = text(value)?,
            tag::USAGE => {
                let mut value = Reader(value);
                let [class] = value.array()?;
                let count = u64::from_le_bytes(value.array()?);
                // A class of a newer build is passed over.
                if let Some(&class) = Class::ALL.get(usize::from(class)) {
                    record.usage.set(class, count);
                }
            }
            tag::ATTEMPT => record.attempts.push(decode_attempt(Reader(value))?),
            tag::ASKED => record.choice.get_or_insert_default().asked = text(value)?.into(),
            tag::LABEL => record.choice.get_or_insert_default().label = text(value)?,
            tag::CHOICE => {
                let seed = record.seed;
                decode_choice(Reader(value), seed, record.choice.get_or_insert_default())?;
            }
            tag::MIRROR_OF => record.mirror_of = Some(RequestId(u128::from_le_bytes(Reader(value).array()?))),
            _ => {}
        }
    }
    Ok(record)
}

fn decode_attempt(mut reader: Reader<'_>) -> Result<Attempt<'_>, Damage> {
    let status = u16::from_le_bytes(reader.array()?);
    let [outcome] = reader.array()?;
    let outcome = *Outcome::ALL.get(usize::from(outcome)).ok_or(Damage::Malformed)?;
    let micros = u32::from_le_bytes(reader.array()?);
    let cost = Nano(i64::from_le_bytes(reader.array()?));
    let [vendor_bytes] = reader.array()?;
    let vendor = text(reader.slice(usize::from(vendor_bytes))?)?;
    Ok(Attempt { vendor, credential: text(reader.0)?, status, outcome, micros, cost })
}

fn encode_choice(choice: &Choice<'_>, out: &mut [u8]) -> usize {
    let shape = &choice.shape;
    let mut writer = Writer { out, at: 0 };
    writer.put(&shape.needs.to_le_bytes());
    writer.put(&shape.prompt_tokens.to_le_bytes());
    writer.put(&shape.answer_tokens.to_le_bytes());
    writer.put(&shape.conditions.to_le_bytes());
    shape.sticky.iter().for_each(|thing| writer.put(&thing.to_le_bytes()));
    writer.put(&shape.reach.to_le_bytes());
    writer.put(&shape.now_s.to_le_bytes());
    for vital in choice.vitals.iter().take(usize::from(choice.candidates)) {
        writer.put(&[vital.grade as u8, vital.pace, vital.busy]);
    }
    writer.at
}

fn decode_choice(mut reader: Reader<'_>, seed: u64, choice: &mut Choice<'_>) -> Result<(), Damage> {
    let shape = &mut choice.shape;
    shape.seed = seed;
    shape.needs = u16::from_le_bytes(reader.array()?);
    shape.prompt_tokens = u32::from_le_bytes(reader.array()?);
    shape.answer_tokens = u32::from_le_bytes(reader.array()?);
    shape.conditions = u64::from_le_bytes(reader.array()?);
    for thing in &mut shape.sticky {
        *thing = u64::from_le_bytes(reader.array()?);
    }
    shape.reach = u16::from_le_bytes(reader.array()?);
    shape.now_s = u32::from_le_bytes(reader.array()?);
    while !reader.0.is_empty() {
        let [grade, pace, busy] = reader.array()?;
        let grade = *Grade::ALL.get(usize::from(grade)).ok_or(Damage::Malformed)?;
        let place = choice.vitals.get_mut(usize::from(choice.candidates)).ok_or(Damage::Malformed)?;
        *place = Vital { grade, pace, busy };
        choice.candidates += 1;
    }
    Ok(())
}

pub fn link_of(payload: &[u8]) -> Link {
    let mut link = [0; 16];
    link.copy_from_slice(&blake3::hash(payload).as_bytes()[..16]);
    link
}

fn text(bytes: &[u8]) -> Result<&str, Damage> {
    std::str::from_utf8(bytes).map_err(|_| Damage::Malformed)
}

/// At most `most` bytes, at a border between characters.
fn cut(text: &str, most: usize) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(most)]
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    /// The sizes above add up to less than [`FRAME_BYTES_MAX`]; a test holds the largest record against it.
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn name(&mut self, tag: u8, name: &str) {
        if !name.is_empty() {
            self.tail(tag, &[cut(name, NAME_BYTES_MAX)]);
        }
    }

    fn tail(&mut self, tag: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.put(&[tag]);
        self.put(&(length as u16).to_le_bytes());
        parts.iter().for_each(|part| self.put(part));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Torn)?;
        self.0 = rest;
        Ok(*head)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Damage::Malformed)?;
        self.0 = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(sequence: u64) -> (String, Record<'static>) {
        let long: &'static str = Box::leak("x".repeat(1_000).into_boxed_str());
        let mut usage = Usage::NONE;
        Class::ALL.iter().for_each(|&class| usage.set(class, u64::MAX));
        let attempt = Attempt { vendor: long, credential: long, status: 599, ..Attempt::default() };
        let record = Record {
            sequence,
            usage,
            tenant: long,
            model: long,
            vendor: long,
            credential: long,
            upstream_model: long,
            code: long,
            attempts: vec![attempt; 9],
            choice: Some(Box::new(Choice {
                asked: long.into(),
                label: long,
                candidates: CANDIDATES_MAX as u8,
                ..Choice::default()
            })),
            ..Record::default()
        };
        (long.to_owned(), record)
    }

    fn small(sequence: u64) -> Record<'static> {
        Record {
            id: RequestId(u128::from(sequence) << 64 | 7),
            sequence,
            time_ns: 1_000 + sequence,
            key: KeyId(*b"abcdefgh"),
            status: 200,
            usage: Usage::NONE.with(Class::Input, 12).with(Class::Output, sequence),
            cost: Nano(-5),
            sale: Nano(77),
            tenant: "default",
            model: "gpt",
            vendor: "openai",
            attempts: vec![Attempt {
                vendor: "openai",
                credential: "main",
                status: 200,
                micros: 9,
                ..Attempt::default()
            }],
            seed: 77,
            choice: sequence.is_multiple_of(2).then(|| {
                Box::new(Choice {
                    asked: "assistant".into(),
                    label: "canary",
                    shape: Shape { seed: 77, needs: 3, sticky: [1, u64::MAX], reach: 7, now_s: 9, ..Shape::default() },
                    vitals: std::array::from_fn(|place| match place {
                        0 => Vital { grade: Grade::Tripped, pace: 200, busy: 3 },
                        _ => Vital::default(),
                    }),
                    candidates: 3,
                })
            }),
            ..Record::default()
        }
    }

    fn segment(records: u64) -> Vec<u8> {
        let header = SegmentHeader { node: "n".into(), core: 1, created_ns: 5, first_sequence: 3, previous: [9; 16] };
        let mut bytes = header.encode().to_vec();
        let mut link = header.previous;
        for sequence in 3..3 + records {
            let start = bytes.len();
            bytes.resize(start + FRAME_BYTES_MAX, 0);
            let (length, next) = small(sequence).encode(&link, &mut bytes[start..]).unwrap();
            bytes.truncate(start + length);
            link = next;
        }
        bytes
    }

    #[test]
    fn records_read_back() {
        let mut bytes = segment(5);
        bytes.resize(bytes.len() + 100, 0);
        let (header, records) = Records::open(&bytes).unwrap();
        assert_eq!((header.node.as_str(), header.core), ("n", 1));
        let read: Vec<_> = records.map(Result::unwrap).collect();
        assert_eq!(read, (3..8).map(small).collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_record_fits_its_promise() {
        let mut out = vec![0; FRAME_BYTES_MAX];
        let (length, _) = largest(0).1.encode(&[0; 16], &mut out).unwrap();
        assert!(length <= FRAME_BYTES_MAX, "{length}");
        assert!(largest(0).1.encode(&[0; 16], &mut [0; 100]).is_none());
    }

    /// Cut or flipped anywhere, what is read is a prefix of what was written, and nothing panics.
    #[test]
    fn damage_leaves_the_longest_good_prefix() {
        let whole = segment(4);
        let good: Vec<_> = (3..7).map(small).collect();
        for cut in 0..whole.len() {
            let Ok((_, records)) = Records::open(&whole[..cut]) else { continue };
            let read: Vec<_> = records.map_while(Result::ok).collect();
            assert_eq!(read, good[..read.len()]);
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << bit;
                let Ok((_, records)) = Records::open(&flipped) else { continue };
                let read: Vec<_> = records.map_while(Result::ok).collect();
                assert_eq!(read, good[..read.len()], "byte {place} bit {bit}");
            }
        }
    }
}
