//! JSON that is only looked at: one pass that validates and reports spans, without building anything.
//!
//! Strict: RFC 8259, UTF-8, nesting up to a limit, one document and nothing behind it. What is forwarded has passed here,
//! so a vendor or a caller never gets to see two parsers disagree.

use weir_shared::policy::size::JSON_DEPTH_MAX;

use super::lanes::{LANES, ends_plain_text};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotJson {
    pub at: usize,
    pub why: &'static str,
}

/// A member of an object: the raw bytes of its key (between the quotes) and of its value (with its own quotes, if any).
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// Where the value starts in the document.
    pub at: usize,
    /// 1 for a member of the outermost object.
    pub depth: usize,
    /// A string, number or literal: not an object or an array.
    pub scalar: bool,
    /// No member itself, but a scalar within an array: the key is the array's.
    pub element: bool,
    /// The key has an escape in it, so that it may mean another name than it looks like.
    pub escaped: bool,
}

/// Validates a whole document and calls `each` for every member of the outermost object, and for every member with a
/// scalar value at any depth.
pub fn scan<'a>(document: &'a [u8], each: impl FnMut(Member<'a>)) -> Result<(), NotJson> {
    scan_as::<false>(document, each)
}

/// The same, and every scalar within an array, under the array's key.
pub fn scan_with_elements<'a>(document: &'a [u8], each: impl FnMut(Member<'a>)) -> Result<(), NotJson> {
    scan_as::<true>(document, each)
}

#[inline(always)]
fn scan_as<'a, const ELEMENTS: bool>(document: &'a [u8], each: impl FnMut(Member<'a>)) -> Result<(), NotJson> {
    if simdutf8::basic::from_utf8(document).is_err() {
        let at = simdutf8::compat::from_utf8(document).map_or_else(|error| error.valid_up_to(), |_| 0);
        return Err(NotJson { at, why: "not UTF-8" });
    }
    let end = space(document, walk::<ELEMENTS>(document, space(document, 0), each)?);
    if end < document.len() { fail(end, "something follows the document") } else { Ok(()) }
}

/// The members of an object whose document has been validated already, reported like those of a document of its own.
pub fn scan_valid<'a>(object: &'a [u8], each: impl FnMut(Member<'a>)) {
    // What was found good once is good: there is nothing to tell of the end.
    let _ = walk::<false>(object, space(object, 0), each);
}

/// Validates and reports nothing.
pub fn validate(document: &[u8]) -> Result<(), NotJson> {
    scan(document, |_| {})
}

/// The members of an object whose document has been validated already.
pub fn members(object: &[u8]) -> Members<'_> {
    let at = space(object, 0);
    // Anything but an object has no members: the iterator starts behind its end.
    Members { bytes: object, at: if byte(object, at) == b'{' { at + 1 } else { object.len() } }
}

pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = space_and_comma(self.bytes, self.at);
        if byte(self.bytes, at) != b'"' {
            return None;
        }
        let (key, at) = member_name(self.bytes, at).ok()?;
        self.at = skip(self.bytes, at);
        Some((key.bytes, self.bytes.get(at..self.at)?))
    }
}

/// The elements of an array whose document has been validated already.
pub fn elements(array: &[u8]) -> Elements<'_> {
    let at = space(array, 0);
    Elements { bytes: array, at: if byte(array, at) == b'[' { at + 1 } else { array.len() } }
}

pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let at = space_and_comma(self.bytes, self.at);
        if matches!(byte(self.bytes, at), b']' | 0) {
            return None;
        }
        self.at = skip(self.bytes, at);
        self.bytes.get(at..self.at).filter(|element| !element.is_empty())
    }
}

/// Whether an array that has been validated already holds anything.
pub fn is_empty_array(array: &[u8]) -> bool {
    let at = space(array, 0);
    byte(array, at) == b'[' && byte(array, space(array, at + 1)) == b']'
}

/// The value of one member of an object that has been validated already.
pub fn get<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    members(object).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// The value at the end of a path of member names.
pub fn dig<'a>(object: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter().try_fold(object, |object, key| get(object, key))
}

/// The text of a string value; `None` when the value is no string.
pub fn text(value: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.contains(&b'\\') {
        return std::str::from_utf8(inner).ok().map(std::borrow::Cow::Borrowed);
    }
    serde_json::from_slice(value).ok().map(std::borrow::Cow::Owned)
}

/// What stands between a string's quotes; nothing when it is none.
pub fn inner(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or_default()
}

/// Whether a raw key means this name, escapes or not.
pub fn key_is(raw: &[u8], name: &str) -> bool {
    if !raw.contains(&b'\\') {
        return raw == name.as_bytes();
    }
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    text(&quoted).is_some_and(|text| text == name)
}

/// A whole number that is not negative.
pub fn integer(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 20 {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Appends `text` as the inside of a JSON string.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let run = plain_run(bytes, 0);
    out.extend_from_slice(&bytes[..run]);
    if run < bytes.len() {
        escape_rest(out, bytes, run);
    }
}

/// From the first byte on that needs an escape.
#[cold]
fn escape_rest(out: &mut Vec<u8>, bytes: &[u8], mut at: usize) {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
            }
        }
        let run = plain_run(bytes, at + 1);
        out.extend_from_slice(&bytes[at + 1..run]);
        at = run;
    }
}

/// The place of a string's closing quote, when everything from `at` (behind the opening one) to there is legal.
#[inline(always)]
pub(super) fn string_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    let end = plain_run(bytes, at);
    if byte(bytes, end) == b'"' { Ok(end) } else { escaped_end(bytes, end) }
}

/// The same, from where the string is no longer plain. Few strings are not.
#[inline(never)]
fn escaped_end(bytes: &[u8], mut at: usize) -> Result<usize, NotJson> {
    loop {
        match byte(bytes, at) {
            b'"' => return Ok(at),
            b'\\' => at = escape_end(bytes, at)?,
            _ if at >= bytes.len() => return fail(at, "a string does not end"),
            _ => return fail(at, "a control character in a string"),
        }
        at = plain_run(bytes, at);
    }
}

/// NUL is no legal byte outside of a string, so it can stand for the end.
#[inline(always)]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline(always)]
fn fail<T>(at: usize, why: &'static str) -> Result<T, NotJson> {
    Err(NotJson { at, why })
}

#[inline(always)]
fn space(bytes: &[u8], mut at: usize) -> usize {
    // Nearly always there is none.
    while byte(bytes, at) <= b' ' && matches!(byte(bytes, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

fn space_and_comma(bytes: &[u8], at: usize) -> usize {
    let at = space(bytes, at);
    if byte(bytes, at) == b',' { space(bytes, at + 1) } else { at }
}

/// A member's name as it is written: without its quotes.
#[derive(Clone, Copy, Default)]
struct Key<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

/// A member's name and where its value starts.
#[inline(always)]
fn member_name(bytes: &[u8], at: usize) -> Result<(Key<'_>, usize), NotJson> {
    if byte(bytes, at) != b'"' {
        return fail(at, "expected a member's name");
    }
    let mut end = plain_run(bytes, at + 1);
    let escaped = byte(bytes, end) != b'"';
    if escaped {
        end = escaped_end(bytes, end)?;
    }
    let mut colon = end + 1;
    if byte(bytes, colon) != b':' {
        colon = space(bytes, colon);
        if byte(bytes, colon) != b':' {
            return fail(colon, "expected :");
        }
    }
    Ok((Key { bytes: &bytes[at + 1..end], escaped }, space(bytes, colon + 1)))
}

/// One value, however deep, in one loop: a stranger's nesting never becomes our stack. Returns where it ends.
#[inline(always)]
fn walk<'a, const ELEMENTS: bool>(
    bytes: &'a [u8],
    mut at: usize,
    mut each: impl FnMut(Member<'a>),
) -> Result<usize, NotJson> {
    // Whether the level that is being read is an object; of those around it, one bit each, the nearest lowest.
    let mut in_object = false;
    let mut around: u128 = 0;
    let mut depth: usize = 0;
    // Of the member of the outermost object that is being read: its key and where its value starts.
    let mut outer: (Key<'a>, usize) = (Key::default(), 0);
    let mut key = Key::default();
    loop {
        // A value starts here.
        let start = at;
        if in_object && depth == 1 {
            outer = (key, start);
        }
        let mut scalar = true;
        match byte(bytes, at) {
            b'"' => at = string_end(bytes, at + 1)? + 1,
            open @ (b'{' | b'[') => {
                if depth == JSON_DEPTH_MAX {
                    return fail(at, "nested too deeply");
                }
                at = space(bytes, at + 1);
                // In ASCII a closing bracket stands two behind its opening one.
                if byte(bytes, at) == open + 2 {
                    at += 1;
                    scalar = false;
                } else {
                    around = around << 1 | u128::from(in_object);
                    depth += 1;
                    in_object = open == b'{';
                    if in_object {
                        (key, at) = member_name(bytes, at)?;
                    }
                    continue;
                }
            }
            b'0'..=b'9' => at = integer_end(bytes, at)?,
            b'-' => at = number_end(bytes, at)?,
            b't' => at = literal_end(bytes, at, b"true")?,
            b'f' => at = literal_end(bytes, at, b"false")?,
            b'n' => at = literal_end(bytes, at, b"null")?,
            _ => return fail(at.min(bytes.len()), "a value is missing"),
        }
        let told = if in_object { scalar || depth == 1 } else { ELEMENTS && scalar && depth > 0 };
        if told {
            let Key { bytes: key, escaped } = key;
            let value = &bytes[start..at];
            each(Member { key, value, at: start, depth, scalar, element: !in_object, escaped });
        }
        // A value ended here: what follows closes levels or goes on.
        loop {
            if depth == 0 {
                return Ok(at);
            }
            let mut follows = byte(bytes, at);
            if follows <= b' ' {
                at = space(bytes, at);
                follows = byte(bytes, at);
            }
            if follows == b',' {
                at = space(bytes, at + 1);
                if in_object {
                    (key, at) = member_name(bytes, at)?;
                }
                break;
            }
            if follows != if in_object { b'}' } else { b']' } {
                return fail(at.min(bytes.len()), if in_object { "expected , or }" } else { "expected , or ]" });
            }
            at += 1;
            in_object = around & 1 == 1;
            around >>= 1;
            depth -= 1;
            if depth == 1 && in_object {
                let (Key { bytes: key, escaped }, from) = outer;
                let value = &bytes[from..at];
                each(Member { key, value, at: from, depth, scalar: false, element: false, escaped });
            }
        }
    }
}

/// Behind a value of a document that has been validated already.
fn skip(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    loop {
        match byte(bytes, at) {
            b'"' => match closing_quote(bytes, at + 1) {
                Some(end) => at = end + 1,
                None => return bytes.len(),
            },
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            0 if at >= bytes.len() => return at,
            _ => {
                // A number or a word: to where it ends. At least one byte, whatever it is: nothing here may stand still.
                at += 1;
                while !matches!(byte(bytes, at), b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The same as [`string_end`] where nothing has to be checked any more: only a backslash hides a quote.
#[inline(always)]
fn closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Most strings end within the first block, and nearly all within the second.
    for _ in 0..2 {
        let Some(found) = block(bytes, at).map(ends_plain_text) else { break };
        if found != 0 {
            at += found.trailing_zeros() as usize;
            break;
        }
        at += LANES;
    }
    if byte(bytes, at) == b'"' { Some(at) } else { far_closing_quote(bytes, at) }
}

#[inline(never)]
fn far_closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if byte(bytes, at) == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn escape_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    match byte(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => fail(at, "\\u needs four hexadecimal digits"),
        },
        _ => fail(at, "not an escape"),
    }
}

#[inline(always)]
fn literal_end(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, NotJson> {
    if bytes[at..].starts_with(word) { Ok(at + word.len()) } else { fail(at, "not a value") }
}

/// A number without a sign; nearly all are whole.
#[inline(always)]
fn integer_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    let mut end = at;
    while byte(bytes, end).is_ascii_digit() {
        end += 1;
    }
    let whole = !matches!(byte(bytes, end), b'.' | b'e' | b'E') && (byte(bytes, at) != b'0' || end == at + 1);
    if whole { Ok(end) } else { number_end(bytes, at) }
}

#[inline(never)]
fn number_end(bytes: &[u8], mut at: usize) -> Result<usize, NotJson> {
    if byte(bytes, at) == b'-' {
        at += 1;
    }
    at = match byte(bytes, at) {
        b'0' => at + 1,
        b'1'..=b'9' => digits_end(bytes, at),
        _ => return fail(at, "not a number"),
    };
    if byte(bytes, at) == b'.' {
        let end = digits_end(bytes, at + 1);
        if end == at + 1 {
            return fail(end, "not a number");
        }
        at = end;
    }
    if matches!(byte(bytes, at), b'e' | b'E') {
        let sign = usize::from(matches!(byte(bytes, at + 1), b'+' | b'-'));
        let end = digits_end(bytes, at + 1 + sign);
        if end == at + 1 + sign {
            return fail(end, "not a number");
        }
        at = end;
    }
    Ok(at)
}

#[inline(always)]
fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    at
}

/// The first place from `at` on that a string does not simply contain: a quote, a backslash or a control character.
#[inline(always)]
pub(super) fn plain_run(bytes: &[u8], at: usize) -> usize {
    // Most strings end within the first block, and nearly all within the third.
    let mut at = at;
    for _ in 0..3 {
        let Some(found) = block(bytes, at).map(ends_plain_text) else { return plain_tail(bytes, at) };
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += LANES;
    }
    plain_long(bytes, at)
}

#[inline(always)]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; LANES]> {
    bytes.get(at..at + LANES)?.first_chunk()
}

#[inline(never)]
fn plain_long(bytes: &[u8], mut at: usize) -> usize {
    // Four blocks at once while the text is long.
    while let Some(four) = bytes.get(at..at + 4 * LANES) {
        let (blocks, _) = four.as_chunks::<LANES>();
        if blocks.iter().fold(0, |found, block| found | ends_plain_text(block)) != 0 {
            break;
        }
        at += 4 * LANES;
    }
    while let Some(found) = block(bytes, at).map(ends_plain_text) {
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += LANES;
    }
    plain_tail(bytes, at)
}

/// The last bytes, fewer than a block: the last whole one holds them, if there is any.
#[inline(never)]
fn plain_tail(bytes: &[u8], at: usize) -> usize {
    let Some(last) = bytes.last_chunk::<LANES>() else {
        let rest = bytes.get(at..).unwrap_or_default();
        let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        return rest.iter().position(special).map_or(bytes.len().max(at), |place| at + place);
    };
    let seen = (LANES + at).saturating_sub(bytes.len());
    match ends_plain_text(last).checked_shr(seen as u32) {
        None | Some(0) => bytes.len().max(at),
        Some(found) => at + found.trailing_zeros() as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> bool {
        validate(text.as_bytes()).is_ok()
    }

    #[test]
    fn the_grammar_holds() {
        for good in [
            "{}",
            "[]",
            "null",
            " true ",
            "-0",
            "0.5e-7",
            "1E+9",
            r#""\u00e9\n""#,
            r#"{"a":[1,{"b":null}],"c":"d"}"#,
            "\t[ 1 , 2 ]\r\n",
            r#"["",{}]"#,
        ] {
            assert!(valid(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "NaN",
            "Infinity",
            "'a'",
            "\"a",
            "\"\t\"",
            r#""\x""#,
            r#""\u12g4""#,
            "{} {}",
            "[1 2]",
            "truex",
            "nul",
            "{a:1}",
            "\u{feff}{}",
            "[1}",
            r#"{"a":1]"#,
            "-",
            "--1",
            "\0",
        ] {
            assert!(!valid(bad), "{bad:?}");
        }
        assert!(validate(b"\"\xff\"").is_err());
        assert_eq!(validate(b"{\"a\":\"\xc3\x28\"}").map_err(|e| e.at), Err(6));
    }

    #[test]
    fn depth_is_bounded_without_a_stack() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(valid(&nested(JSON_DEPTH_MAX)));
        assert!(!valid(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!valid(&"[".repeat(1_000_000)));
        assert!(!valid(&"{\"a\":".repeat(1_000_000)));
    }

    #[test]
    fn members_are_reported_once_with_their_spans() {
        let document = br#" {"model":"m","messages":[{"role":"user","n":{"deep":[1]}}],"stream":true,"o":{}} "#;
        let mut seen = Vec::new();
        scan(document, |m| {
            assert_eq!(&document[m.at..m.at + m.value.len()], m.value);
            seen.push((String::from_utf8_lossy(m.key).into_owned(), m.depth, m.scalar));
        })
        .unwrap();
        let expected =
            [("model", 1, true), ("role", 3, true), ("messages", 1, false), ("stream", 1, true), ("o", 1, false)];
        assert_eq!(seen, expected.map(|(key, depth, scalar)| (key.to_owned(), depth, scalar)));
        assert_eq!(get(document, "stream"), Some(&b"true"[..]));
        let message = elements(get(document, "messages").unwrap()).next().unwrap();
        assert_eq!(dig(message, &["n", "deep"]), Some(&b"[1]"[..]));
    }

    #[test]
    fn escaped_keys_are_recognised() {
        assert!(key_is(br"mod\u0065l", "model"));
        assert!(!key_is(br"mod\u0065", "model"));
        assert_eq!(text(br#""a\nb""#).as_deref(), Some("a\nb"));
        assert_eq!(integer(b"42"), Some(42));
        assert_eq!(integer(b"-1"), None);
        assert_eq!(integer(b"1e3"), None);
        assert_eq!(integer(b"99999999999999999999"), None);
    }

    /// Against another implementation, on mutations of real-looking documents.
    #[test]
    fn agrees_with_serde_json() {
        let seeds: &[&[u8]] = &[
            br#"{"id":"c-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"h\u00e9\n"},"finish_reason":null}],"usage":null}"#,
            "{\"a\":[1,-2.5e3,true,false,null,\"\\ud83d\\ude00 é\"],\"b\":{\"c\":{}}}".as_bytes(),
            b"[[],[[]],{\"\":\"\"},0,1e9]",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..60_000 {
            let mut document = seeds[round % seeds.len()].to_vec();
            for _ in 0..=next(3) {
                let place = next(document.len());
                match next(4) {
                    0 => drop(document.remove(place)),
                    1 => document.insert(place, b"{}[],:\"\\ntu0e-. \x01\xc3"[next(18)]),
                    2 => document[place] = next(256) as u8,
                    _ => document.truncate(place),
                }
                if document.is_empty() {
                    break;
                }
            }
            // serde_json refuses lone surrogates when it builds strings; RawValue and IgnoredAny do not build them.
            let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(&document).is_ok()
                && std::str::from_utf8(&document).is_ok();
            assert_eq!(validate(&document).is_ok(), theirs, "{:?}", String::from_utf8_lossy(&document));
        }
    }
}
