//! A TOML file as a tree in which everything knows its line, and from there to the drafts of `weir-shared`.
//!
//! The drafts say with serde which keys they have. So a key is listed in one place only, and what is wrong comes back as
//! a list with lines and suggestions instead of as the first error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: u32,
    pub is: Is,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Is {
    Text(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// A date, a fraction or a number beyond 64 bits: nothing of ours is written so.
    Strange(&'static str),
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Table {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// Where the key stands.
    line: u32,
    node: Node,
}

/// Something about a table that its draft cannot take.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    pub line: u32,
    /// The outermost key of the table that it is about.
    pub key: String,
    pub what: String,
    pub fix: String,
}

/// The tree of a whole file; everything that is not TOML comes back as faults.
pub fn parse(text: &str) -> Result<Table, Vec<Wrong>> {
    let lines = Lines::of(text);
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(convert_table(table.get_ref(), &lines));
    }
    let wrong = |error: &toml::de::Error| Wrong {
        key: String::new(),
        line: lines.at(error.span().map_or(text.len(), |span| span.start)),
        what: format!("this is not TOML: {}", error.message()),
        fix: "correct the line; strings stand in double quotes, tables in [brackets]".into(),
    };
    Err(errors.iter().map(wrong).collect())
}

/// The draft that a table means. Whatever cannot be taken is told and left out, so that one reading finds all of it.
///
/// `aside` are keys that the caller has dealt with: they are only known here so that they can be suggested.
pub fn read<T: DeserializeOwned>(table: &Table, line: u32, aside: &[&str], mut tell: impl FnMut(Wrong)) -> Option<T> {
    let mut node = Node { line, is: Is::Table(table.clone()) };
    let mut filled = BTreeSet::new();
    // Each turn takes something out, or fills in what has not been filled in before: it ends.
    loop {
        match T::deserialize(&node) {
            Ok(draft) => return Some(draft),
            Err(error) => {
                let mended = error.mend(&mut node, aside, &mut filled, &mut tell);
                if !mended {
                    return None;
                }
            }
        }
    }
}

/// The keys that a draft knows.
pub fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut table = Table::default();
    table.insert("?", 0, Is::Flag(true));
    match T::deserialize(&Node { line: 0, is: Is::Table(table) }) {
        Err(Error { kind: Kind::Unknown { known, .. }, .. }) => known,
        _ => &[],
    }
}

/// The known word that was probably meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = |known: &'a str| {
        let (word, lower) = (word.to_ascii_lowercase(), known.to_ascii_lowercase());
        // "markup" for "markup_bp": a word that was only begun.
        let begun = word.len() >= 4 && (lower.starts_with(&word) || word.starts_with(&lower));
        let distance = if begun { 1 } else { distance(&word, &lower) };
        (distance <= 1 + word.len().min(known.len()) / 4).then_some((distance, known))
    };
    known.into_iter().filter_map(close).min().map(|(_, known)| known)
}

/// "did you mean …?", or all that is known.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => {
            let known: Vec<_> = known.into_iter().collect();
            format!("known are {}", known.join(", "))
        }
    }
}

impl Table {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key).map(|entry| &entry.node)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.is {
            Is::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn insert(&mut self, key: &str, line: u32, is: Is) {
        self.entries.insert(key.to_owned(), Entry { line, node: Node { line, is } });
    }

    /// Only when the key is not there yet.
    pub fn default_to(&mut self, key: &str, line: u32, is: impl FnOnce() -> Is) {
        if !self.has(key) {
            self.insert(key, line, is());
        }
    }

    pub fn take(&mut self, key: &str) -> Option<Node> {
        self.entries.remove(key).map(|entry| entry.node)
    }

    pub fn put_back(&mut self, key: &str, key_line: u32, node: Node) {
        self.entries.insert(key.to_owned(), Entry { line: key_line, node });
    }

    pub fn key_line(&self, key: &str) -> Option<u32> {
        self.entries.get(key).map(|entry| entry.line)
    }

    /// In the order of their lines.
    pub fn each(&self) -> Vec<(&str, u32, &Node)> {
        let mut all: Vec<_> = self.entries.iter().map(|(key, e)| (key.as_str(), e.line, &e.node)).collect();
        all.sort_by_key(|(_, line, _)| *line);
        all
    }

    /// The line of the deepest part of a dotted path (`price.batch.input`, `credential.0`) that exists here.
    pub fn line_of(&self, path: &str) -> Option<u32> {
        let mut line = None;
        let mut table = self;
        let mut rest = path;
        while !rest.is_empty() {
            // A header's name may hold a dot itself, so the whole rest is tried first.
            let (key, next) = match table.has(rest) {
                true => (rest, ""),
                false => rest.split_once('.').unwrap_or((rest, "")),
            };
            let Some(entry) = table.entries.get(key) else { break };
            line = Some(entry.line);
            rest = next;
            let mut node = &entry.node;
            if let Is::List(items) = &node.is {
                let (place, next) = rest.split_once('.').unwrap_or((rest, ""));
                let Some(item) = place.parse().ok().and_then(|place: usize| items.get(place)) else { break };
                (line, rest, node) = (Some(item.line), next, item);
            }
            match &node.is {
                Is::Table(inner) => table = inner,
                _ => break,
            }
        }
        line
    }
}

/// Byte offsets to line numbers.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> u32 {
        1 + self.0.partition_point(|newline| *newline < offset) as u32
    }
}

fn convert_table(table: &toml::de::DeTable<'_>, lines: &Lines) -> Table {
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let line = lines.at(key.span().start);
        entries.insert(key.get_ref().to_string(), Entry { line, node: convert(value, lines) });
    }
    Table { entries }
}

fn convert(value: &toml::Spanned<toml::de::DeValue<'_>>, lines: &Lines) -> Node {
    use toml::de::DeValue;
    let is = match value.get_ref() {
        DeValue::String(text) => Is::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Is::Whole(number),
            Err(_) => Is::Strange("a number that is too large"),
        },
        DeValue::Float(_) => Is::Strange("a number with a fraction"),
        DeValue::Boolean(flag) => Is::Flag(*flag),
        DeValue::Datetime(_) => Is::Strange("a date"),
        DeValue::Array(items) => Is::List(items.iter().map(|item| convert(item, lines)).collect()),
        DeValue::Table(table) => Is::Table(convert_table(table, lines)),
    };
    Node { line: lines.at(value.span().start), is }
}

/// Number of letters to change, add or remove.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Why serde stopped, and at which step of the tree (the innermost first).
#[derive(Debug)]
pub struct Error {
    path: Vec<Step>,
    kind: Kind,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Place(usize),
}

#[derive(Debug)]
enum Kind {
    Unknown { key: String, known: &'static [&'static str] },
    Missing(&'static str),
    Type { found: String, expected: String },
    Other(String),
}

impl Error {
    fn under(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// Tells what is wrong and takes it out of the tree (or puts what is missing in), so that the next try comes further.
    ///
    /// `filled` are the paths of what was missing and has been put in.
    fn mend(
        self,
        root: &mut Node,
        aside: &[&str],
        filled: &mut BTreeSet<String>,
        tell: &mut impl FnMut(Wrong),
    ) -> bool {
        let top = self.path.is_empty();
        let name = self.dotted();
        let outermost = match self.path.last() {
            Some(Step::Key(key)) => Some(key.clone()),
            _ => None,
        };
        let mut steps = self.path;
        match self.kind {
            Kind::Unknown { key, known } => {
                let Some(Node { is: Is::Table(table), .. }) = walk(root, steps.iter().rev()) else { return false };
                let Some(entry) = table.entries.remove(&key) else { return false };
                let full = if top { key.clone() } else { format!("{name}.{key}") };
                let aside = if top { aside } else { &[] };
                let fix = suggestion(&key, known.iter().chain(aside).copied());
                let outermost = outermost.unwrap_or(key);
                tell(Wrong { line: entry.line, key: outermost, what: format!("the key {full:?} is not known"), fix });
                true
            }
            Kind::Missing(key) => {
                let Some(Node { line, is: Is::Table(table) }) = walk(root, steps.iter().rev()) else { return false };
                let place = if top { String::new() } else { format!("{name}: ") };
                let fix = format!("add {key} = …");
                let outermost = outermost.unwrap_or_else(|| key.to_owned());
                tell(Wrong { line: *line, key: outermost, what: format!("{place}{key} is missing"), fix });
                let line = *line;
                table.insert(key, line, Is::Text(String::new()));
                filled.insert(if top { key.to_owned() } else { format!("{name}.{key}") })
            }
            // What was filled in is text at first, and a number where that is wrong.
            Kind::Type { .. } if filled.contains(&name) => match walk(root, steps.iter().rev()) {
                Some(Node { is: is @ Is::Text(_), .. }) => {
                    *is = Is::Whole(0);
                    true
                }
                _ => false,
            },
            Kind::Type { found, expected } => {
                let Some(last) = (!steps.is_empty()).then(|| steps.remove(0)) else { return false };
                let Some(line) = remove(root, &steps, &last) else { return false };
                let fix = match expected.as_str() {
                    "text" => "write it in double quotes",
                    "true or false" => "write true or false without quotes",
                    "a list" => "write it in brackets: [\"…\", \"…\"]",
                    "a table" => "write it as a table of its own",
                    _ => "write a whole number without quotes",
                };
                let key = outermost.unwrap_or_default();
                tell(Wrong { line, key, what: format!("{name} is {found} and must be {expected}"), fix: fix.into() });
                true
            }
            Kind::Other(why) => {
                let Some(last) = (!steps.is_empty()).then(|| steps.remove(0)) else { return false };
                let Some(line) = remove(root, &steps, &last) else { return false };
                let key = outermost.unwrap_or_default();
                tell(Wrong { line, key, what: format!("{name}: {why}"), fix: "correct it or remove it".into() });
                true
            }
        }
    }

    fn dotted(&self) -> String {
        let mut out = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => out.push_str(&format!(".{key}")),
                Step::Place(place) => out.push_str(&format!("[{place}]")),
            }
        }
        out
    }
}

fn walk<'n, 's>(root: &'n mut Node, steps: impl Iterator<Item = &'s Step>) -> Option<&'n mut Node> {
    let mut node = root;
    for step in steps {
        node = match (step, &mut node.is) {
            (Step::Key(key), Is::Table(table)) => &mut table.entries.get_mut(key)?.node,
            (Step::Place(place), Is::List(items)) => items.get_mut(*place)?,
            _ => return None,
        };
    }
    Some(node)
}

/// Takes one node out and returns its line.
fn remove(root: &mut Node, parent: &[Step], last: &Step) -> Option<u32> {
    let parent = walk(root, parent.iter().rev())?;
    match (last, &mut parent.is) {
        (Step::Key(key), Is::Table(table)) => table.entries.remove(key).map(|entry| entry.line),
        (Step::Place(place), Is::List(items)) if *place < items.len() => Some(items.remove(*place).line),
        _ => None,
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: Display>(why: T) -> Self {
        Self { path: Vec::new(), kind: Kind::Other(why.to_string()) }
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self { path: Vec::new(), kind: Kind::Unknown { key: key.to_owned(), known } }
    }

    fn missing_field(key: &'static str) -> Self {
        Self { path: Vec::new(), kind: Kind::Missing(key) }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Other(what) => what.to_owned(),
            Unexpected::Str(_) => "text".into(),
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => "a number".into(),
            Unexpected::Bool(flag) => flag.to_string(),
            Unexpected::Seq => "a list".into(),
            Unexpected::Map => "a table".into(),
            other => other.to_string(),
        };
        Self { path: Vec::new(), kind: Kind::Type { found, expected: plain(expected) } }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            other => other.to_string(),
        };
        Self { path: Vec::new(), kind: Kind::Type { found, expected: plain(expected) } }
    }
}

/// Serde's word for a type, in an operator's words.
fn plain(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a string" => "text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        "i32" | "i64" => "a whole number".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" => "a whole number from 0 on".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.to_owned(),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.is {
            Is::Text(text) => visitor.visit_str(text),
            Is::Whole(number) => visitor.visit_i64(*number),
            Is::Flag(flag) => visitor.visit_bool(*flag),
            Is::List(items) => visitor.visit_seq(Items { items, at: 0 }),
            Is::Table(table) => visitor.visit_map(Entries { rest: table.entries.iter(), value: None }),
            Is::Strange(what) => Err(Error::invalid_type(Unexpected::Other(what), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.get(self.at) else { return Ok(None) };
        self.at += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.under(Step::Place(self.at - 1)))
    }
}

struct Entries<'de> {
    rest: std::collections::btree_map::Iter<'de, String, Entry>,
    value: Option<(&'de String, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, entry)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, &entry.node));
        let key: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, node)) = self.value.take() else { return Err(Error::custom("a value without a key")) };
        seed.deserialize(node).map_err(|error| error.under(Step::Key(key.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_line() {
        let text = "# a comment\n[gateway]\ncost_header = true\n\n[[vendor]]\nname = \"a\"\n[[vendor.credential]]\nname = \"x\"\n\n[[vendor]]\nname = \"b\"\n[vendor.times]\nidle = \"5s\"\n";
        let tree = parse(text).unwrap();
        let Some(Node { is: Is::List(vendors), .. }) = tree.get("vendor") else { panic!("{tree:?}") };
        let lines: Vec<_> = vendors.iter().map(|vendor| vendor.line).collect();
        assert_eq!(lines, [5, 10]);
        assert_eq!(tree.line_of("gateway.cost_header"), Some(3));
        assert_eq!(tree.line_of("vendor.0.credential.0"), Some(7));
        assert_eq!(tree.line_of("vendor.1.times.idle"), Some(13));
        assert_eq!(tree.line_of("vendor.1.times.idel"), Some(12));
        assert_eq!(tree.line_of("nothing"), None);
    }

    #[test]
    fn all_that_is_wrong_with_a_table_is_told_at_once() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape is asked for")]
        struct Draft {
            name: String,
            #[serde(default)]
            count: Option<u32>,
            #[serde(default)]
            list: Vec<String>,
        }
        let tree = parse("cuont = 3\ncount = -1\nlist = [\"a\", 2, 3.5]\nstranger = 1\n").unwrap();
        let mut told = Vec::new();
        let draft = read::<Draft>(&tree, 9, &["models"], |wrong| told.push(wrong)).unwrap();
        assert_eq!(draft.list, ["a"]);
        told.sort_by_key(|wrong| wrong.line);
        let told: Vec<_> = told.iter().map(|w| format!("{}: {}; {}", w.line, w.what, w.fix)).collect();
        assert_eq!(
            told,
            [
                "1: the key \"cuont\" is not known; did you mean \"count\"?",
                "2: count is -1 and must be a whole number from 0 to 4294967295; write a whole number without quotes",
                "3: list[1] is a number and must be text; write it in double quotes",
                "3: list[1] is a number with a fraction and must be text; write it in double quotes",
                "4: the key \"stranger\" is not known; known are name, count, list, models",
                "9: name is missing; add name = …",
            ]
        );
        assert_eq!(keys_of::<Draft>(), ["name", "count", "list"]);
    }

    #[test]
    fn a_missing_number_is_told_once() {
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only its shape is asked for")]
        struct Band {
            tokens: u64,
            on: bool,
        }
        #[derive(serde::Deserialize, Debug)]
        struct Draft {
            bands: Vec<Band>,
        }
        let tree = parse("[[bands]]\non = true\n\n[[bands]]\non = true\n").unwrap();
        let mut told = Vec::new();
        let draft = read::<Draft>(&tree, 1, &[], |wrong| told.push((wrong.line, wrong.what))).unwrap();
        assert_eq!(draft.bands.len(), 2);
        assert_eq!(told, [(1, "bands[0]: tokens is missing".into()), (4, "bands[1]: tokens is missing".into())]);
        // A truth value cannot be filled in; the reading ends all the same.
        let tree = parse("[[bands]]\ntokens = 1\n").unwrap();
        assert!(read::<Draft>(&tree, 1, &[], |_| {}).is_none());
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        let wrong = parse("a = 1\nb = \nc = \"x\n").unwrap_err();
        assert_eq!(wrong.iter().map(|wrong| wrong.line).collect::<Vec<_>>(), [2, 3], "{wrong:?}");
    }
}
