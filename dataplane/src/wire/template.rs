//! The fast path of a stream: most events differ from the one before only inside of a string or a number.
//!
//! A template is learned from two events that passed the whole check. It consists of fixed bytes and holes. An event that
//! has the same fixed bytes and a legal string or number in every hole is legal by construction, framing included, and
//! means the same as the events it was learned from; no parser needs to run. Anything else takes the slow path, which is
//! always right: `tests::fast_equals_slow` holds one against the other.

use super::json;

#[derive(Clone, Debug)]
pub struct Template {
    /// Fixed bytes, each followed by a hole.
    pieces: Vec<(Box<[u8]>, Hole)>,
    /// The fixed bytes at the end, with the event's empty line.
    end: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// Inside of a string; the flag says whether it is output that counts.
    Text { counts: bool },
    /// A whole number that is not negative.
    Number,
}

/// An event that a template recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub bytes: usize,
    /// Bytes of output in it, as they stand in the JSON.
    pub output_bytes: usize,
}

/// Longer events are not worth remembering.
pub const EVENT_BYTES_MAX: usize = 4 << 10;
const HOLES_MAX: usize = 6;

/// Members whose value is what the model says. What is delivered is counted by them when a vendor tells no usage.
pub fn is_output(key: &[u8]) -> bool {
    matches!(
        key,
        b"content"
            | b"text"
            | b"delta"
            | b"arguments"
            | b"partial_json"
            | b"reasoning"
            | b"reasoning_content"
            | b"thinking"
            | b"refusal"
            | b"transcript"
            | b"tool_plan"
    )
}

/// Members whose value says what kind of event it is. Never a hole.
fn is_meaning(key: &[u8]) -> bool {
    matches!(
        key,
        b"type"
            | b"object"
            | b"event"
            | b"status"
            | b"code"
            | b"finish_reason"
            | b"finishReason"
            | b"stop_reason"
            | b"service_tier"
            | b"role"
            | b"id"
            | b"response_id"
            | b"previous_response_id"
    )
}

impl Template {
    /// Recognises an event at the start of `bytes`.
    #[inline]
    pub fn recognise(&self, bytes: &[u8]) -> Option<Match> {
        let mut output_bytes = 0;
        let bytes = self.walk(bytes, |output| output_bytes += output.len())?;
        Some(Match { bytes, output_bytes })
    }

    /// What an event says, when all of `bytes` is one and has one place for output.
    #[inline]
    pub fn output<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (mut found, mut others) = (None, 0);
        let matched = self.walk(bytes, |output| {
            others += usize::from(found.replace(output).is_some());
        })?;
        found.filter(|_| others == 0 && matched == bytes.len())
    }

    /// Where the event ends.
    #[inline]
    fn walk<'b>(&self, bytes: &'b [u8], mut output: impl FnMut(&'b [u8])) -> Option<usize> {
        let mut at = 0;
        for (fixed, hole) in &self.pieces {
            if !bytes[at..].starts_with(fixed) {
                return None;
            }
            at += fixed.len();
            let start = at;
            match hole {
                Hole::Text { counts } => {
                    at = json::string_end(bytes, at).ok()?;
                    if *counts {
                        output(&bytes[start..at]);
                    }
                }
                Hole::Number => {
                    at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if at == start || (bytes[start] == b'0' && at > start + 1) {
                        return None;
                    }
                }
            }
        }
        if !bytes[at..].starts_with(&self.end) {
            return None;
        }
        at += self.end.len();
        let legal = simdutf8::basic::from_utf8(&bytes[..at]).is_ok();
        legal.then_some(at)
    }

    /// From two whole events with one line of JSON data each, both found legal and without meaning beyond their output.
    ///
    /// `data_at` is where the JSON starts, in both.
    pub fn learn(before: &[u8], now: &[u8], data_at: usize, data_len: usize) -> Option<Self> {
        if now.len() > EVENT_BYTES_MAX || before.get(..data_at)? != &now[..data_at] {
            return None;
        }
        let mut pair = Pair { before, now, b: data_at, n: data_at, fixed_from: 0, pieces: Vec::new() };
        let end = data_at + data_len;
        let mut objects: u128 = 0;
        let mut key: &[u8] = &[];
        let mut expects_key = false;
        while pair.n < end {
            match *now.get(pair.n)? {
                b'"' if expects_key => {
                    let start = pair.n + 1;
                    pair.same_string()?;
                    key = &now[start..pair.n - 1];
                    expects_key = false;
                }
                b'"' => pair.string(key)?,
                byte if byte == b'-' || byte.is_ascii_digit() => pair.number()?,
                byte => {
                    match byte {
                        b'{' => objects = objects << 1 | 1,
                        b'[' => objects <<= 1,
                        b'}' | b']' => objects >>= 1,
                        _ => {}
                    }
                    // An array's strings have no name of their own.
                    match byte {
                        b'{' => expects_key = true,
                        b',' => expects_key = objects & 1 == 1,
                        b'[' | b']' | b'}' => key = &[],
                        _ => {}
                    }
                    pair.same_byte()?;
                }
            }
        }
        if now[pair.n..] != *before.get(pair.b..)? || pair.pieces.is_empty() {
            return None;
        }
        let end = now[pair.fixed_from..].into();
        Some(Self { pieces: pair.pieces, end })
    }
}

/// Two events walked side by side.
struct Pair<'a> {
    before: &'a [u8],
    now: &'a [u8],
    b: usize,
    n: usize,
    fixed_from: usize,
    pieces: Vec<(Box<[u8]>, Hole)>,
}

impl Pair<'_> {
    fn same_byte(&mut self) -> Option<()> {
        let same = self.before.get(self.b)? == &self.now[self.n];
        (self.b, self.n) = (self.b + 1, self.n + 1);
        same.then_some(())
    }

    fn strings(&self) -> Option<(usize, usize)> {
        if self.before.get(self.b) != Some(&b'"') {
            return None;
        }
        let now_end = json::string_end(self.now, self.n + 1).ok()?;
        let before_end = json::string_end(self.before, self.b + 1).ok()?;
        Some((before_end, now_end))
    }

    fn same_string(&mut self) -> Option<()> {
        let (before_end, now_end) = self.strings()?;
        let same = self.before[self.b..before_end] == self.now[self.n..now_end];
        (self.b, self.n) = (before_end + 1, now_end + 1);
        same.then_some(())
    }

    /// The same string in both is fixed; another one is a hole, unless it says what the event is.
    fn string(&mut self, key: &[u8]) -> Option<()> {
        let (before_end, now_end) = self.strings()?;
        let same = self.before[self.b..before_end] == self.now[self.n..now_end];
        // Output is a hole even when it happened to be the same twice.
        if (!same || is_output(key)) && !is_meaning(key) {
            self.hole(self.n + 1, now_end, Hole::Text { counts: is_output(key) })?;
        } else if !same {
            return None;
        }
        (self.b, self.n) = (before_end + 1, now_end + 1);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let run = |bytes: &[u8], at: usize| {
            let number = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
            bytes.get(at..).unwrap_or_default().iter().take_while(number).count()
        };
        let (before, now) = (run(self.before, self.b), run(self.now, self.n));
        let (old, new) = (&self.before[self.b..self.b + before], &self.now[self.n..self.n + now]);
        if old != new {
            if !new.iter().chain(old).all(u8::is_ascii_digit) || old.is_empty() {
                return None;
            }
            self.hole(self.n, self.n + now, Hole::Number)?;
        }
        (self.b, self.n) = (self.b + before, self.n + now);
        Some(())
    }

    fn hole(&mut self, from: usize, to: usize, hole: Hole) -> Option<()> {
        self.pieces.push((self.now[self.fixed_from..from].into(), hole));
        self.fixed_from = to;
        (self.pieces.len() <= HOLES_MAX).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sse::Framer;

    fn learn(before: &str, now: &str) -> Option<Template> {
        let event = Framer::default().next(now.as_bytes())?;
        Template::learn(before.as_bytes(), now.as_bytes(), event.data.at, event.data.len)
    }

    fn chunk(text: &str, pad: &str) -> String {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"obfuscation\":\"{pad}\"}}\n\n"
        )
    }

    #[test]
    fn what_varies_becomes_a_hole() {
        let template = learn(&chunk("Hel", "x"), &chunk("lo", "yy")).unwrap();
        for text in ["", " world", "\\n\\u00e9", "é", &"long ".repeat(100)] {
            let event = chunk(text, "zzz");
            let found = template.recognise(event.as_bytes());
            assert_eq!(found, Some(Match { bytes: event.len(), output_bytes: text.len() }), "{text}");
        }
        for other in [
            chunk("a\"b", ""),
            chunk("a\nb", ""),
            chunk("a\\xb", ""),
            chunk("a", "").replace("null", "\"stop\""),
            chunk("a", "").replace("\n\n", "\n"),
            chunk("a", "")[..40].to_owned(),
            "data: [DONE]\n\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(template.recognise(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn meaning_is_never_a_hole() {
        let event = |kind: &str, n: u32| {
            format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{n},\"delta\":\"x\"}}\n\n")
        };
        assert!(learn(&event("a", 1), &event("b", 2)).is_none());
        let template = learn(&event("a", 9), &event("a", 10)).unwrap();
        assert!(template.recognise(event("a", 123_456).as_bytes()).is_some());
        assert!(template.recognise(event("a", 0).as_bytes()).is_some());
        assert!(template.recognise(event("b", 1).as_bytes()).is_none());
        assert!(template.recognise(event("a", 1).replace(":1,", ":01,").as_bytes()).is_none());
        assert!(template.recognise(event("a", 1).replace(":1,", ":-1,").as_bytes()).is_none());
    }

    /// Whatever the fast path accepts, the slow path accepts, with the same end and the same members but for the holes.
    #[test]
    fn fast_equals_slow() {
        let learned: Vec<(Template, String)> = [
            (chunk("a", "b"), chunk("c", "dd")),
            (
                "event: d\r\ndata: {\"type\":\"d\",\"index\":0,\"delta\":{\"text\":\"a\"}}\r\n\r\n".into(),
                "event: d\r\ndata: {\"type\":\"d\",\"index\":10,\"delta\":{\"text\":\"b\"}}\r\n\r\n".into(),
            ),
            ("data: [\"a\",1,{\"text\":\"\"}]\n\n".into(), "data: [\"b\",2,{\"text\":\"\"}]\n\n".into()),
        ]
        .into_iter()
        .map(|(before, now)| (learn(&before, &now).unwrap(), now))
        .collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut accepted = 0;
        for round in 0..120_000 {
            let (template, seed) = &learned[round % learned.len()];
            let mut event = seed.clone().into_bytes();
            for _ in 0..=next(2) {
                let place = next(event.len());
                match next(3) {
                    0 => drop(event.remove(place)),
                    1 => event.insert(place, b"{}[],:\"\\ntu0e-. \n\r\x01\xc3\xa9aaaa"[next(25)]),
                    _ => event[place] = next(256) as u8,
                }
            }
            let Some(fast) = template.recognise(&event) else { continue };
            accepted += 1;
            let shown = String::from_utf8_lossy(&event).into_owned();
            let slow = Framer::default().next(&event).expect("framed");
            assert_eq!((slow.whole.at, slow.whole.len), (0, fast.bytes), "{shown}");
            assert_eq!(slow.data_lines, 1);
            let mut output = 0;
            json::scan(slow.data.of(&event), |member| {
                if member.value.starts_with(b"\"") && is_output(member.key) {
                    output += member.value.len() - 2;
                }
            })
            .expect("valid JSON");
            assert_eq!(output, fast.output_bytes, "{shown}");
        }
        assert!(accepted > 1_000, "the fuzz never took the fast path: {accepted}");
    }
}
