//! JSON that is only looked at: one pass that validates and reports spans, without building anything.
//!
//! Strict: RFC 8259, UTF-8, nesting up to a limit, one document and nothing behind it. What is forwarded has passed here,
//! so a vendor or a caller never gets to see two parsers disagree.

use weir_shared::policy::size::JSON_DEPTH_MAX;

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
}

/// Validates a whole document and calls `each` for every member of the outermost object, and for every member with a
/// scalar value at any depth.
pub fn scan<'a>(document: &'a [u8], each: impl FnMut(Member<'a>)) -> Result<(), NotJson> {
    if simdutf8::basic::from_utf8(document).is_err() {
        let at = simdutf8::compat::from_utf8(document).map_or_else(|error| error.valid_up_to(), |_| 0);
        return Err(NotJson { at, why: "not UTF-8" });
    }
    Scanner { bytes: document, at: 0 }.document(each)
}

/// Validates and reports nothing.
pub fn validate(document: &[u8]) -> Result<(), NotJson> {
    scan(document, |_| {})
}

/// The members of an object whose document has been validated already.
pub fn members(object: &[u8]) -> Members<'_> {
    let mut scanner = Scanner { bytes: object, at: 0 };
    scanner.space();
    let open = scanner.take(b'{');
    Members { scanner, open }
}

pub struct Members<'a> {
    scanner: Scanner<'a>,
    open: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if !self.open {
            return None;
        }
        let found = self.scanner.member();
        self.open = found.is_some();
        found
    }
}

/// The elements of an array whose document has been validated already.
pub fn elements(array: &[u8]) -> Elements<'_> {
    let mut scanner = Scanner { bytes: array, at: 0 };
    scanner.space();
    let open = scanner.take(b'[');
    Elements { scanner, open }
}

pub struct Elements<'a> {
    scanner: Scanner<'a>,
    open: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if !self.open {
            return None;
        }
        let scanner = &mut self.scanner;
        scanner.space();
        scanner.take(b',');
        scanner.space();
        let start = scanner.at;
        self.open = scanner.skip_value().is_ok() && scanner.at > start;
        self.open.then(|| &scanner.bytes[start..scanner.at])
    }
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
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => {
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
            _ => out.push(byte),
        }
    }
}

/// Where the inside of a string ends: the place of its closing quote, when everything before it is legal.
pub(super) fn string_end(bytes: &[u8], from: usize) -> Result<usize, NotJson> {
    let mut scanner = Scanner { bytes, at: from };
    scanner.string_inside()?;
    Ok(scanner.at - 1)
}

pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    fn fail<T>(&self, why: &'static str) -> Result<T, NotJson> {
        Err(NotJson { at: self.at.min(self.bytes.len()), why })
    }

    fn peek(&self) -> u8 {
        // NUL is no legal byte outside of a string, so it can stand for the end.
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.at < self.bytes.len();
        self.at += usize::from(found);
        found
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn document(&mut self, mut each: impl FnMut(Member<'a>)) -> Result<(), NotJson> {
        self.space();
        self.value(&mut each)?;
        self.space();
        if self.at < self.bytes.len() { self.fail("something follows the document") } else { Ok(()) }
    }

    /// One value, however deep, in one loop: a stranger's nesting never becomes our stack.
    #[inline]
    fn value(&mut self, each: &mut impl FnMut(Member<'a>)) -> Result<(), NotJson> {
        // One bit per level: set when that level is an object.
        let mut objects: u128 = 0;
        let mut depth: usize = 0;
        // Of the member of the outermost object that is being read: its key and where its value starts.
        let mut outer: (&'a [u8], usize) = (&[], 0);
        let mut key: &'a [u8] = &[];
        loop {
            // A value starts here.
            let start = self.at;
            let in_object = depth > 0 && objects & 1 == 1;
            if in_object && depth == 1 {
                outer = (key, start);
            }
            let scalar = match self.peek() {
                b'"' => {
                    self.at += 1;
                    self.string_inside()?;
                    true
                }
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    if depth == JSON_DEPTH_MAX {
                        return self.fail("nested too deeply");
                    }
                    objects = objects << 1 | u128::from(open == b'{');
                    depth += 1;
                    self.space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.take(close) {
                        objects >>= 1;
                        depth -= 1;
                        false
                    } else {
                        if open == b'{' {
                            key = self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return self.fail("a value is missing"),
            };
            if in_object && (scalar || depth == 1) {
                each(Member { key, value: &self.bytes[start..self.at], at: start, depth, scalar });
            }
            // A value ended here: what follows closes levels or goes on.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.space();
                let object = objects & 1 == 1;
                if self.take(b',') {
                    self.space();
                    if object {
                        key = self.key()?;
                    }
                    break;
                }
                if !self.take(if object { b'}' } else { b']' }) {
                    return self.fail(if object { "expected , or }" } else { "expected , or ]" });
                }
                objects >>= 1;
                depth -= 1;
                if depth == 1 && objects & 1 == 1 {
                    let (key, at) = outer;
                    each(Member { key, value: &self.bytes[at..self.at], at, depth, scalar: false });
                }
            }
        }
    }

    fn key(&mut self) -> Result<&'a [u8], NotJson> {
        if !self.take(b'"') {
            return self.fail("expected a member's name");
        }
        let start = self.at;
        self.string_inside()?;
        let key = &self.bytes[start..self.at - 1];
        self.space();
        if !self.take(b':') {
            return self.fail("expected :");
        }
        self.space();
        Ok(key)
    }

    /// For documents that have been validated: the next member, or nothing at the object's end.
    fn member(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        self.space();
        self.take(b',');
        self.space();
        let key = self.key().ok()?;
        let start = self.at;
        self.skip_value().ok()?;
        Some((key, &self.bytes[start..self.at]))
    }

    fn skip_value(&mut self) -> Result<(), NotJson> {
        self.value(&mut |_| {})
    }

    /// From behind the opening quote to behind the closing one.
    #[inline]
    pub(super) fn string_inside(&mut self) -> Result<(), NotJson> {
        loop {
            self.at = plain_run(self.bytes, self.at);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                _ if self.at >= self.bytes.len() => return self.fail("a string does not end"),
                _ => return self.fail("a control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.fail("\\u needs four hexadecimal digits");
                }
                self.at += 5;
                Ok(())
            }
            _ => self.fail("not an escape"),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<bool, NotJson> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fail("not a value");
        }
        self.at += word.len();
        Ok(true)
    }

    fn number(&mut self) -> Result<bool, NotJson> {
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return self.fail("not a number");
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.fail("not a number");
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fail("not a number");
            }
        }
        Ok(true)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }
}

/// The first place from `at` on that a string does not simply contain: a quote, a backslash or a control character.
#[inline]
fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const BLOCK: usize = 32;
    // Written so that the compiler turns it into vector instructions: no early exit within a block.
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Most strings of an event are short; find their end without a block.
    let short = at + 8;
    while at < short {
        match bytes.get(at) {
            Some(&byte) if !special(byte) => at += 1,
            _ => return at,
        }
    }
    while let Some(block) = bytes.get(at..at + BLOCK) {
        if block.iter().fold(false, |found, &byte| found | special(byte)) {
            break;
        }
        at += BLOCK;
    }
    while bytes.get(at).is_some_and(|&byte| !special(byte)) {
        at += 1;
    }
    at
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
