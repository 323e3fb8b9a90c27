//! `usage`: what was used and what it cost, from the nodes' journals. Sums are integers of 128 bits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use weir_shared::fault::Exit;
use weir_shared::ledger::{Link, Outcome, Record, flag};
use weir_shared::usage::Class;

use super::prune::Prune;
use crate::failure::Failure;
use crate::journal::{self, End, Segment};
use crate::place::Place;
use crate::screen::Screen;
use crate::table::{Table, count, grouped};
use crate::when;

/// Sum up what was used and what it cost
///
/// Reads every journal below the state folder, also while nodes write to it. Days are UTC.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  weirctl usage                                     # by vendor and model
  weirctl usage --by key,model --since 7d
  weirctl usage --by day --since 2026-01-01 --until 2026-02-01    # January
  weirctl usage --by tenant --csv > bill.csv
  weirctl usage verify                              # is every journal whole?
  weirctl usage prune --before 90d                  # nothing else removes records

Cost is what the vendors charge, sale what callers pay, lost what answers cost that nobody heard
(of who was overtaken, or failed after it was asked): it is not within cost, and stands with
whoever was heard. A call that several answered, one after the other or together, stands with
the last of them. All in dollars. Estimated are requests for which the vendor told no usage, or
none to be believed."
)]
pub struct Usage {
    /// What to sum up by
    #[arg(long, value_delimiter = ',', value_name = "WHAT,…", default_value = "vendor,model")]
    by: Vec<By>,

    /// From when on: 7d ago, or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Until when, not included
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,

    /// Only this key
    #[arg(long, value_name = "ID")]
    key: Option<String>,

    /// The folder of journals [default: <state>/journal]
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,

    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    #[command(subcommand)]
    other: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Verify(Verify),
    Prune(Prune),
}

/// Check that every journal is whole and that no segment of a chain is missing
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl usage verify
  weirctl usage verify --journal /backup/journal

Every record names the hash of the one before it. Exit code 1 when a chain is broken.")]
struct Verify {
    /// The folder of journals [default: <state>/journal]
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum By {
    Key,
    Model,
    Vendor,
    Day,
    Tenant,
    Credential,
    Outcome,
    Code,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Vendor => "vendor",
            Self::Day => "day",
            Self::Tenant => "tenant",
            Self::Credential => "credential",
            Self::Outcome => "outcome",
            Self::Code => "code",
        }
    }

    fn of(self, record: &Record<'_>, out: &mut String) {
        match self {
            Self::Key | Self::Tenant if record.mirror_of.is_some() => out.push_str(OPERATOR),
            Self::Key => out.push_str(record.key.as_str()),
            Self::Model => out.push_str(record.model),
            Self::Vendor => out.push_str(record.vendor),
            Self::Day => out.push_str(&when::day(record.time_ns / NANOS)),
            Self::Tenant => out.push_str(record.tenant),
            Self::Credential => out.push_str(record.credential),
            Self::Outcome => out.push_str(record.outcome.name()),
            Self::Code => out.push_str(record.code),
        }
    }
}

/// Whose copies of calls are that a route mirrors.
const OPERATOR: &str = "(operator)";
const NANOS: u64 = 1_000_000_000;
/// Between the parts of a group's name: no name holds it.
const SEPARATOR: char = '\u{1f}';

#[derive(Clone, Default)]
struct Sum {
    outcomes: [u64; Outcome::ALL.len()],
    estimated: u64,
    counts: [u128; Class::COUNT],
    cost: i128,
    sale: i128,
    /// What vendors charge for answers that nobody heard.
    lost: i128,
}

impl Sum {
    fn add(&mut self, record: &Record<'_>) {
        self.outcomes[record.outcome as usize] += 1;
        self.estimated += u64::from(record.flags & (flag::ESTIMATED | flag::USAGE_INVALID) != 0);
        for (class, count) in record.usage.each() {
            self.counts[class as usize] += u128::from(count);
        }
        // 2^63 records of 2^63 nano-dollars fit.
        self.cost += i128::from(record.cost.0);
        self.sale += i128::from(record.sale.0);
        let called: i128 = record.attempts.iter().map(|attempt| i128::from(attempt.cost.0)).sum();
        self.lost += (called - i128::from(record.cost.0)).max(0);
    }

    fn merge(&mut self, other: &Self) {
        for (sum, number) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += number;
        }
        for (sum, number) in self.counts.iter_mut().zip(other.counts) {
            *sum += number;
        }
        self.estimated += other.estimated;
        self.cost += other.cost;
        self.sale += other.sale;
        self.lost += other.lost;
    }

    fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("requests".into(), self.requests().into());
        for &outcome in Outcome::ALL {
            object.insert(outcome.name().into(), self.of(outcome).into());
        }
        object.insert("estimated".into(), self.estimated.into());
        let used = Class::ALL.iter().filter(|class| self.counts[**class as usize] > 0);
        let counts = used.map(|class| (class.name().to_owned(), number(self.counts[*class as usize] as i128)));
        object.insert("usage".into(), Value::Object(counts.collect()));
        for (name, amount) in [("cost", self.cost), ("sale", self.sale), ("lost", self.lost)] {
            object.insert(name.into(), dollars(amount).into());
            object.insert(format!("{name}_nano"), number(amount));
        }
        object
    }
}

/// All journals, summed up.
struct Read {
    /// By the parts of a group's name, joined.
    sums: BTreeMap<String, Sum>,
    warnings: Vec<String>,
    segments: usize,
}

impl Usage {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match &self.other {
            Some(Command::Verify(verify)) => return verify.run(place, screen),
            Some(Command::Prune(prune)) => return prune.run(place, screen),
            None => {}
        }
        let now = when::now();
        let moment = |name: &str, text: &Option<String>| {
            let read = text.as_deref().map(|text| when::moment(text, now)).transpose();
            read.map_err(|why| Failure::new(Exit::Usage, format!("--{name}: {why}")))
        };
        let (since, until) = (moment("since", &self.since)?, moment("until", &self.until)?);
        let Read { sums, warnings, segments } = self.read(place, since, until)?;
        for warning in &warnings {
            screen.note(warning);
        }
        let mut total = Sum::default();
        sums.values().for_each(|sum| total.merge(sum));
        if self.csv {
            screen.print(&self.csv(&sums));
            return Ok(Value::Null);
        }
        screen.say(self.table(&sums, &total).render(screen.paint));
        let rows: Vec<_> = sums
            .iter()
            .map(|(group, sum)| {
                let mut row: Map<String, Value> =
                    self.parts(group).map(|(by, part)| (by.name().to_owned(), part.into())).collect();
                row.extend(sum.json());
                Value::Object(row)
            })
            .collect();
        Ok(json!({
            "by": self.by.iter().map(|by| by.name()).collect::<Vec<_>>(), "since": since.map(when::stamp),
            "until": until.map(when::stamp), "rows": rows, "total": total.json(), "segments": segments,
            "warnings": warnings,
        }))
    }

    fn read(&self, place: &Place, since: Option<u64>, until: Option<u64>) -> Result<Read, Failure> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let mut group = String::new();
        let mut warnings = Vec::new();
        let segments = segments(&self.journal, place)?;
        let from = since.map_or(0, |since| since.saturating_mul(NANOS));
        let to = until.map_or(u64::MAX, |until| until.saturating_mul(NANOS));
        for segment in &segments {
            let end = segment.read(|record| {
                let is_own = record.mirror_of.is_none();
                let wanted = self.key.as_deref().is_none_or(|key| is_own && key == record.key.as_str());
                if !wanted || record.time_ns < from || record.time_ns >= to {
                    return;
                }
                group.clear();
                for (place, by) in self.by.iter().enumerate() {
                    if place > 0 {
                        group.push(SEPARATOR);
                    }
                    by.of(record, &mut group);
                }
                match sums.get_mut(&group) {
                    Some(sum) => sum.add(record),
                    None => sums.entry(group.clone()).or_default().add(record),
                }
            })?;
            if let Some(damage) = damage(segment, &end) {
                warnings.push(format!("{damage}; `weirctl usage verify` says whether anything is lost"));
            }
        }
        Ok(Read { sums, warnings, segments: segments.len() })
    }

    fn parts<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (By, &'a str)> {
        self.by.iter().copied().zip(group.split(SEPARATOR))
    }

    /// A class stands in the table when it was used at all.
    fn table(&self, sums: &BTreeMap<String, Sum>, total: &Sum) -> Table {
        let classes: Vec<_> = Class::ALL.iter().filter(|class| total.counts[**class as usize] > 0).collect();
        let broken = [Outcome::Failed, Outcome::Cancelled, Outcome::Partial];
        let broken: Vec<_> = broken.into_iter().filter(|outcome| total.of(*outcome) > 0).collect();
        let mut columns: Vec<_> = self.by.iter().map(|by| by.name().to_owned()).collect();
        columns.push(">requests".into());
        columns.extend(broken.iter().map(|outcome| format!(">{}", outcome.name())));
        columns.extend(classes.iter().map(|class| format!(">{}", class.name())));
        if total.estimated > 0 {
            columns.push(">estimated".into());
        }
        columns.extend([">cost $".into(), ">sale $".into()]);
        if total.lost > 0 {
            columns.push(">lost $".into());
        }
        let mut table = Table::new(&columns);
        let cells = |sum: &Sum| {
            let mut cells = vec![grouped(sum.requests().into())];
            cells.extend(broken.iter().map(|outcome| grouped(sum.of(*outcome).into())));
            cells.extend(classes.iter().map(|class| grouped(sum.counts[**class as usize])));
            if total.estimated > 0 {
                cells.push(grouped(sum.estimated.into()));
            }
            cells.extend([dollars(sum.cost), dollars(sum.sale)]);
            if total.lost > 0 {
                cells.push(dollars(sum.lost));
            }
            cells
        };
        for (group, sum) in sums {
            table.row(self.parts(group).map(|(_, part)| part.to_owned()).chain(cells(sum)));
        }
        let mut last = vec![String::new(); self.by.len()];
        if let Some(first) = last.first_mut() {
            *first = "total".into();
        }
        table.row(last.into_iter().chain(cells(total)));
        table
    }

    fn csv(&self, sums: &BTreeMap<String, Sum>) -> String {
        let mut heads: Vec<_> = self.by.iter().map(|by| by.name().to_owned()).collect();
        heads.push("requests".into());
        heads.extend(Outcome::ALL.iter().map(|outcome| outcome.name().to_owned()));
        heads.push("estimated".into());
        heads.extend(Class::ALL.iter().map(|class| class.name().to_owned()));
        heads.extend(["cost".into(), "sale".into(), "lost".into()]);
        let mut out = heads.join(",") + "\n";
        for (group, sum) in sums {
            let mut cells: Vec<_> = self.parts(group).map(|(_, part)| quoted(part)).collect();
            cells.push(sum.requests().to_string());
            cells.extend(Outcome::ALL.iter().map(|outcome| sum.of(*outcome).to_string()));
            cells.push(sum.estimated.to_string());
            cells.extend(sum.counts.iter().map(u128::to_string));
            cells.extend([dollars(sum.cost), dollars(sum.sale), dollars(sum.lost)]);
            out += &(cells.join(",") + "\n");
        }
        out
    }
}

impl Verify {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let segments = segments(&self.journal, place)?;
        let mut chains: Vec<Chain> = Vec::new();
        for segment in &segments {
            let end = segment.read(|_| {})?;
            let (node, core) = match &segment.header {
                Ok(header) => (header.node.clone(), header.core),
                Err(_) => (segment.path.display().to_string(), 0),
            };
            let known = chains.last_mut().filter(|chain| segment.header.is_ok() && chain.is(&node, core));
            match known {
                Some(chain) => chain.follow(segment, end),
                None => chains.push(Chain::start(node, core, segment, end)),
            }
        }
        for chain in &mut chains {
            chain.finish();
        }
        let mut table = Table::new(["node", ">core", ">segments", ">records", ">from", ">to", "state"]);
        for chain in &chains {
            table.row([
                chain.node.clone(),
                chain.core.to_string(),
                chain.segments.to_string(),
                grouped(chain.records.into()),
                chain.first.to_string(),
                chain.next.to_string(),
                if chain.broken.is_empty() { "whole".into() } else { "broken".to_owned() },
            ]);
        }
        screen.say(table.render(screen.paint));
        for note in chains.iter().flat_map(|chain| &chain.notes) {
            screen.note(note);
        }
        let broken: Vec<_> = chains.iter().flat_map(|chain| chain.broken.iter().cloned()).collect();
        let records: u64 = chains.iter().map(|chain| chain.records).sum();
        let list = json!(chains.iter().map(Chain::json).collect::<Vec<_>>());
        if broken.is_empty() {
            let said = format!("{} in {}: whole", count(records as usize, "record"), count(segments.len(), "segment"));
            screen.say(screen.paint.good(&said));
            return Ok(json!({"ok": true, "records": records, "segments": segments.len(), "chains": list}));
        }
        let what = format!("the journal is damaged:\n  {}", broken.join("\n  "));
        Err(Failure::new(Exit::Failed, what)
            .next("keep the files as they are; what stands before the damage is counted by `weirctl usage`")
            .detail("ok", false)
            .detail("chains", list))
    }
}

/// The segments of one core, one after the other.
struct Chain {
    node: String,
    core: u32,
    segments: usize,
    records: u64,
    first: u64,
    next: u64,
    link: Link,
    /// Damage of the last segment read: forgiven when the next one goes on from the last good record.
    open: Option<String>,
    broken: Vec<String>,
    notes: Vec<String>,
}

impl Chain {
    fn start(node: String, core: u32, segment: &Segment, end: End) -> Self {
        let (first, previous) = match &segment.header {
            Ok(header) => (header.first_sequence, header.previous),
            Err(_) => (0, Link::default()),
        };
        let mut chain = Self {
            node,
            core,
            segments: 1,
            records: end.records,
            first,
            next: end.sequence,
            link: end.link,
            open: damage(segment, &end),
            broken: Vec::new(),
            notes: Vec::new(),
        };
        if previous != Link::default() {
            let what = format!("{}: older segments of this chain are not here", segment.path.display());
            chain.notes.push(what);
        }
        chain
    }

    fn is(&self, node: &str, core: u32) -> bool {
        self.node == node && self.core == core
    }

    fn follow(&mut self, segment: &Segment, end: End) {
        let Ok(header) = &segment.header else { return };
        let goes_on = header.first_sequence == self.next && header.previous == self.link;
        match (goes_on, self.open.take()) {
            (true, Some(damage)) => self.notes.push(format!("{damage}; the next segment goes on from there")),
            (true, None) => {}
            (false, damage) => {
                self.broken.extend(damage);
                let path = segment.path.display();
                self.broken.push(match header.first_sequence.checked_sub(self.next).filter(|gap| *gap > 0) {
                    Some(gap) => format!("{path}: {} before it missing", count(gap as usize, "record")),
                    None => format!("{path}: it does not follow from the segment before it"),
                });
            }
        }
        self.segments += 1;
        self.records += end.records;
        self.open = damage(segment, &end);
        (self.next, self.link) = (end.sequence, end.link);
    }

    fn finish(&mut self) {
        self.broken.extend(self.open.take());
    }

    fn json(&self) -> Value {
        json!({
            "node": self.node, "core": self.core, "segments": self.segments, "records": self.records,
            "first_sequence": self.first, "next_sequence": self.next, "broken": self.broken, "notes": self.notes,
        })
    }
}

fn damage(segment: &Segment, end: &End) -> Option<String> {
    let (at, damage) = end.damage?;
    let before = count(end.records as usize, "record");
    Some(format!("{}: {damage} (byte {at}, after {before})", segment.path.display()))
}

/// A deployment that has served nothing yet has used nothing; a mistyped path is an error.
pub fn segments(given: &Option<PathBuf>, place: &Place) -> Result<Vec<Segment>, Failure> {
    match given {
        Some(folder) => journal::segments(folder),
        None => {
            let own = place.state.join("journal");
            if place.state.is_dir() && !own.exists() { Ok(Vec::new()) } else { journal::segments(&own) }
        }
    }
}

/// Dollars with nine decimals, exact.
pub fn dollars(nano: i128) -> String {
    let (sign, amount) = (if nano < 0 { "-" } else { "" }, nano.unsigned_abs());
    let nanos = u128::from(NANOS);
    format!("{sign}{}.{:09}", amount / nanos, amount % nanos)
}

/// A JSON number as long as readers keep it exact, text beyond.
fn number(amount: i128) -> Value {
    match i64::try_from(amount) {
        Ok(amount) => amount.into(),
        Err(_) => amount.to_string().into(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::command::testing::Deployment;
    use weir_shared::key::KeyId;
    use weir_shared::ledger::{FRAME_BYTES_MAX, SegmentHeader};
    use weir_shared::money::Nano;
    use weir_shared::usage::Usage as Counts;

    const DAY: u64 = 86_400 * NANOS;

    fn record(sequence: u64) -> Record<'static> {
        let failed = sequence % 5 == 4;
        Record {
            sequence,
            time_ns: sequence * DAY / 2,
            key: KeyId(if sequence.is_multiple_of(2) { *b"aaaaaaaa" } else { *b"bbbbbbbb" }),
            outcome: if failed { Outcome::Failed } else { Outcome::Complete },
            flags: if sequence.is_multiple_of(3) { flag::ESTIMATED } else { 0 },
            usage: if failed {
                Counts::NONE
            } else {
                Counts::NONE.with(Class::Input, 10).with(Class::Output, sequence)
            },
            cost: Nano(if failed { 0 } else { 1_000_000_001 }),
            sale: Nano(if failed { 0 } else { i64::MAX }),
            tenant: "default",
            model: "m,1",
            vendor: "v",
            ..Record::default()
        }
    }

    /// Writes a segment and returns how the next one has to begin.
    pub fn segment(at: &Deployment, name: &str, previous: Link, sequences: std::ops::Range<u64>) -> Link {
        let header =
            SegmentHeader { node: "n".into(), core: 0, created_ns: 5, first_sequence: sequences.start, previous };
        let (mut bytes, mut link) = (header.encode().to_vec(), previous);
        for sequence in sequences {
            let start = bytes.len();
            bytes.resize(start + FRAME_BYTES_MAX, 0);
            let (length, next) = record(sequence).encode(&link, &mut bytes[start..]).unwrap();
            bytes.truncate(start + length);
            link = next;
        }
        bytes.resize(bytes.len() + 5_000, 0);
        let folder = at.root.join("state/journal/n");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
        link
    }
}

#[cfg(test)]
mod tests {
    use super::testing::segment;
    use super::*;
    use crate::command::testing::Deployment;

    #[test]
    fn sums_are_exact_and_by_what_was_asked() {
        let at = Deployment::new("usage");
        assert_eq!(at.run(&["usage"]).unwrap_err().exit, Exit::Missing);
        std::fs::create_dir_all(at.root.join("state")).unwrap();
        assert_eq!(at.run(&["usage"]).unwrap()["total"]["requests"], 0);
        let link = segment(&at, "core-0-2.wj", Link::default(), 0..6);
        segment(&at, "core-0-10.wj", link, 6..10);
        let usage = at.run(&["usage"]).unwrap();
        let total = &usage["total"];
        assert_eq!((&total["requests"], &total["failed"], &total["estimated"]), (&json!(10), &json!(2), &json!(4)));
        assert_eq!((&total["cost"], &total["cost_nano"]), (&json!("8.000000008"), &json!(8_000_000_008_i64)));
        assert_eq!(total["sale_nano"], json!((8 * i128::from(i64::MAX)).to_string()));
        assert_eq!(total["usage"], json!({"input": 80, "output": 32}));
        let by_key = at.run(&["usage", "--by", "key,day", "--key", "aaaaaaaa"]).unwrap();
        assert_eq!(by_key["rows"].as_array().unwrap().len(), 5);
        assert_eq!(by_key["rows"][0]["day"], "1970-01-01");
        let days = at.run(&["usage", "--by", "day", "--since", "1970-01-02", "--until", "1970-01-04"]).unwrap();
        assert_eq!((days["rows"].as_array().unwrap().len(), &days["total"]["requests"]), (2, &json!(4)));
        assert!(at.run(&["usage", "--since", "soon"]).is_err_and(|failure| failure.exit == Exit::Usage));
        let csv = at.show(&["usage", "--by", "model", "--csv"]);
        assert!(csv.lines().nth(1).unwrap().starts_with("\"m,1\",10,8,2,0,0,4,80,"), "{csv}");
        let table = at.show(&["usage"]);
        assert!(table.lines().last().unwrap().starts_with("total"), "{table}");
        assert_eq!(at.run(&["usage", "verify"]).unwrap()["records"], 10);
    }

    #[test]
    fn damage_is_told_and_what_is_before_it_counts() {
        let at = Deployment::new("damage");
        let link = segment(&at, "core-0-0.wj", Link::default(), 0..5);
        let path = at.root.join("state/journal/n/core-0-0.wj");
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        // In the last record: no segment follows that would forgive it.
        let last = bad.iter().rposition(|byte| *byte != 0).unwrap();
        bad[last] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let usage = at.run(&["usage"]).unwrap();
        assert_eq!((&usage["total"]["requests"], usage["warnings"].as_array().unwrap().len()), (&json!(4), 1));
        assert_eq!(at.run(&["usage", "verify"]).unwrap_err().exit, Exit::Failed);

        // A node that came back after a crash goes on from the last good record.
        segment(&at, "core-0-1.wj", link_after(&good, 4), 4..6);
        let whole = at.run(&["usage", "verify"]).unwrap();
        assert_eq!((&whole["records"], whole["chains"][0]["notes"].as_array().unwrap().len()), (&json!(6), 1));

        // A segment that was taken out is missed.
        segment(&at, "core-0-1.wj", link, 7..8);
        std::fs::write(&path, &good).unwrap();
        let failure = at.run(&["usage", "verify"]).unwrap_err();
        assert!(failure.what.contains("2 records before it missing"), "{}", failure.what);
    }

    fn link_after(bytes: &[u8], records: usize) -> Link {
        let (_, mut reader) = weir_shared::ledger::Records::open(bytes).unwrap();
        reader.by_ref().take(records).for_each(|record| drop(record.unwrap()));
        reader.link()
    }
}
