//! Strict framing: UTF-8, lines that end in LF, CR LF or CR, the four fields of the standard and comments, every event
//! closed by an empty line.

use super::{Rule, Wrong, shorten, wrong};

pub struct Event<'a> {
    pub name: Option<&'a str>,
    pub data: &'a str,
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    comments: usize,
    /// Data of several lines has to be joined.
    joined: String,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Reader { bytes, at, comments: 0, joined: String::new() }
    }

    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn comments(&self) -> usize {
        self.comments
    }

    /// The next event with data. `None` at the end, which must be behind an empty line.
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Wrong> {
        let mut name = None;
        let mut data: Option<&'a str> = None;
        self.joined.clear();
        let mut open = false;
        loop {
            let Some(line) = self.line()? else {
                return if open {
                    wrong(Rule::Framing, "the last event is not closed by an empty line")
                } else {
                    Ok(None)
                };
            };
            if line.is_empty() {
                let Some(single) = data else {
                    if name.is_some() {
                        return wrong(Rule::Framing, "an event without data");
                    }
                    // Behind comments, or behind fields that only steer the connection.
                    open = false;
                    continue;
                };
                return Ok(Some(Event { name, data: if self.joined.is_empty() { single } else { &self.joined } }));
            }
            open = true;
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => {
                    self.comments += 1;
                    open = data.is_some() || name.is_some();
                }
                "data" => match data {
                    None => data = Some(value),
                    Some(first) => {
                        if self.joined.is_empty() {
                            self.joined.push_str(first);
                        }
                        self.joined.push('\n');
                        self.joined.push_str(value);
                    }
                },
                "event" if name.is_some() => return wrong(Rule::Framing, "two names for one event"),
                "event" => name = Some(value),
                "id" | "retry" => {}
                _ => return wrong(Rule::Framing, format!("unknown field `{}`", shorten(field))),
            }
        }
    }

    fn line(&mut self) -> Result<Option<&'a str>, Wrong> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
            return wrong(Rule::Framing, format!("a line without end: `{}`", shorten(&String::from_utf8_lossy(rest))));
        };
        let line = match std::str::from_utf8(&rest[..length]) {
            Ok(line) => line,
            Err(error) => return wrong(Rule::Utf8, error.to_string()),
        };
        let end = if rest[length..].starts_with(b"\r\n") { 2 } else { 1 };
        self.at += length + end;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(Option<String>, String)>, Rule> {
        let mut reader = Reader::new(text.as_bytes());
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(event)) => events.push((event.name.map(str::to_owned), event.data.to_owned())),
                Ok(None) => return Ok(events),
                Err((rule, _)) => return Err(rule),
            }
        }
    }

    #[test]
    fn all_line_ends_and_forms() {
        let want = vec![(Some("a".to_owned()), "1\n2".to_owned()), (None, "3".to_owned())];
        for eol in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}: hello\n\nevent: a\ndata:1\ndata: 2\n\nid: 7\nretry: 1\n\ndata: 3\n\n: bye\n"
                .replace('\n', eol);
            assert_eq!(read(&text), Ok(want.clone()), "{eol:?}");
        }
    }

    #[test]
    fn what_is_not_framing() {
        for text in
            ["data: 1", "data: 1\n", "foo: 1\n\n", "event: a\n\n", "data: 1\n\ndata", "event: a\nevent: b\ndata: 1\n\n"]
        {
            assert_eq!(read(text), Err(Rule::Framing), "{text:?}");
        }
        let mut reader = Reader::new(b"data: \xff\n\n");
        assert!(matches!(reader.next(), Err((Rule::Utf8, _))));
    }
}
