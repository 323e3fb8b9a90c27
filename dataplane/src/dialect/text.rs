//! Pieces of JSON on their way from one language into another, as they stood between the quotes.

use std::borrow::{Borrow, Cow};

use crate::wire::json;

/// The inside of a JSON string, escapes and all.
///
/// Text is a JSON string in all our languages, so what arrived in one is copied into another as it is: nothing is unescaped
/// on the way, and nothing is escaped again.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Text<'a>(Cow<'a, [u8]>);

/// Bytes and text of the same bytes are hashed alike.
impl Borrow<[u8]> for Text<'_> {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> Text<'a> {
    /// From a string value of a validated document, quotes included. `None` when it is no string.
    pub fn of_value(value: &'a [u8]) -> Option<Self> {
        let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(Self(Cow::Borrowed(inner)))
    }

    /// What stood between the quotes of a validated document.
    pub fn of_raw(raw: &'a [u8]) -> Self {
        Self(Cow::Borrowed(raw))
    }

    pub fn of_raw_owned(raw: Vec<u8>) -> Self {
        Self(Cow::Owned(raw))
    }

    pub fn of_plain(plain: &str) -> Self {
        let mut escaped = Vec::with_capacity(plain.len() + 8);
        json::escape_into(&mut escaped, plain);
        Self(Cow::Owned(escaped))
    }

    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// What stands between `start`, with which it must begin, and the first `end`, and what stands behind that. Borrowed
    /// when this is; an escaped slash, which some writers of JSON make of every slash, is a slash.
    pub fn split_behind(&self, start: &str, end: &str) -> Option<(Text<'a>, Text<'a>)> {
        let rest = self.0.strip_prefix(start.as_bytes())?;
        let at = memchr::memmem::find(rest.get(..SPLIT_WITHIN.min(rest.len()))?, end.as_bytes())?;
        let behind = start.len() + at + end.len();
        let cut = |from: usize, to: usize| match &self.0 {
            Cow::Borrowed(raw) => Text(Cow::Borrowed(&raw[from..to])),
            Cow::Owned(raw) => Text(Cow::Owned(raw[from..to].to_vec())),
        };
        Some((cut(start.len(), start.len() + at).unslashed(), cut(behind, self.0.len()).unslashed()))
    }

    /// Without its first bytes, which must end at a letter's end.
    pub fn without_front(self, bytes: usize) -> Self {
        Self(match self.0 {
            Cow::Borrowed(raw) => Cow::Borrowed(raw.get(bytes..).unwrap_or_default()),
            Cow::Owned(mut raw) => {
                raw.drain(..bytes.min(raw.len()));
                Cow::Owned(raw)
            }
        })
    }

    fn unslashed(self) -> Self {
        if memchr::memmem::find(&self.0, b"\\/").is_none() {
            return self;
        }
        Self::of_plain(&self.plain())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the text says.
    pub fn plain(&self) -> Cow<'_, str> {
        plain(&self.0)
    }

    /// Puts another one behind it. Halves of a surrogate pair that were apart become whole by that.
    pub fn append(&mut self, more: &[u8]) {
        self.0.to_mut().extend_from_slice(more);
    }

    /// The same for longer than its document.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    pub fn shorter(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }
}

/// A media type is no longer.
const SPLIT_WITHIN: usize = 256;

/// What the inside of a JSON string says. Half a surrogate pair, which no UTF-8 can say, becomes the replacement character.
pub fn plain(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    Cow::Owned(unescape(raw))
}

fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(step) = memchr::memchr(b'\\', &raw[at..]) {
        out.extend_from_slice(&raw[at..at + step]);
        at += step + 1;
        let Some(&escape) = raw.get(at) else { break };
        at += 1;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let (letter, used) = letter(&raw[at..]);
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                at += used;
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(raw.get(at..).unwrap_or_default());
    String::from_utf8_lossy(&out).into_owned()
}

/// The letter behind `\u`, and how many bytes name it: four, or ten for a pair.
fn letter(digits: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let four = std::str::from_utf8(digits.get(at..at + 4)?).ok()?;
        u32::from_str_radix(four, 16).ok()
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if (0xD800..0xDC00).contains(&first)
        && digits.get(4..6) == Some(b"\\u")
        && let Some(second) = unit(6).filter(|second| (0xDC00..0xE000).contains(second))
    {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// A whole JSON value as it stood in a validated document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Json<'a>(Cow<'a, [u8]>);

impl<'a> Json<'a> {
    pub fn of(value: &'a [u8]) -> Self {
        Self(Cow::Borrowed(value))
    }

    pub fn owned(value: Vec<u8>) -> Self {
        Self(Cow::Owned(value))
    }

    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    pub fn into_owned(self) -> Json<'static> {
        Json(Cow::Owned(self.0.into_owned()))
    }
}

/// The arguments of a tool call: some languages send a JSON object, others a string that holds one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arguments<'a> {
    Object(Json<'a>),
    InString(Text<'a>),
}

impl Arguments<'_> {
    /// As a JSON value. What a model wrote into a string need not be one: then it is an empty object when nothing was said,
    /// and `None` otherwise.
    pub fn write_object(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Object(json) => out.extend_from_slice(json.raw()),
            Self::InString(text) => {
                let plain = text.plain();
                let trimmed = plain.trim();
                if trimmed.is_empty() {
                    out.extend_from_slice(b"{}");
                } else if trimmed.starts_with('{') && json::validate(trimmed.as_bytes()).is_ok() {
                    out.extend_from_slice(trimmed.as_bytes());
                } else {
                    return None;
                }
            }
        }
        Some(())
    }

    /// As the inside of a string.
    pub fn write_in_string(&self, out: &mut Vec<u8>) {
        match self {
            Self::Object(json) => escape_json(out, json.raw()),
            Self::InString(text) => out.extend_from_slice(text.raw()),
        }
    }
}

/// A JSON value as the inside of a string.
pub fn escape_json(out: &mut Vec<u8>, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(text) => json::escape_into(out, text),
        Err(_) => out.extend_from_slice(b"{}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_unescaped_only_when_somebody_asks() {
        let text = Text::of_value(br#""a\"\u00e9\ud83d\ude00\n\ud83d!""#).unwrap();
        assert_eq!(text.raw(), br#"a\"\u00e9\ud83d\ude00\n\ud83d!"#);
        assert_eq!(text.plain(), "a\"é😀\n\u{fffd}!");
        assert_eq!(Text::of_plain("a\"\n").raw(), br#"a\"\n"#);
        assert_eq!(Text::of_value(b"12"), None);
        assert_eq!(plain(b"\\"), "");
        assert_eq!(plain(b"\\u12"), "\u{fffd}12");
    }

    #[test]
    fn arguments_change_their_clothes() {
        let write = |arguments: Arguments<'_>| {
            let (mut object, mut string) = (Vec::new(), Vec::new());
            let legal = arguments.write_object(&mut object).is_some();
            arguments.write_in_string(&mut string);
            (legal.then(|| String::from_utf8(object).unwrap()), String::from_utf8(string).unwrap())
        };
        let object = Arguments::Object(Json::of(br#"{"a":"b"}"#));
        assert_eq!(write(object), (Some(r#"{"a":"b"}"#.into()), r#"{\"a\":\"b\"}"#.into()));
        let string = Arguments::InString(Text::of_raw(br#"{\"a\":1}"#));
        assert_eq!(write(string), (Some(r#"{"a":1}"#.into()), r#"{\"a\":1}"#.into()));
        assert_eq!(write(Arguments::InString(Text::default())).0, Some("{}".into()));
        assert_eq!(write(Arguments::InString(Text::of_raw(b"{broken"))).0, None);
    }
}
