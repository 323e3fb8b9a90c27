//! Server-sent events: where each event ends, what it is called, and where its data is. Nothing is copied.
//!
//! Vendors end lines with LF, CRLF or CR, start with a byte order mark, split data over lines, and send comments; all of
//! it is framed alike here, and the bytes stay as they came.

/// A span of the buffer that was framed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    pub at: usize,
    pub len: usize,
}

impl Span {
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at..self.at + self.len]
    }

    fn moved(self, by: usize) -> Self {
        Self { at: self.at.saturating_sub(by), len: self.len }
    }
}

/// One whole event, from its first line to behind its empty line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    pub whole: Span,
    pub name: Span,
    /// The data of a one-line event; of a longer one, the first line. See [`Event::join`].
    pub data: Span,
    pub data_lines: u32,
    /// It has lines of another kind: comments, ids, retry times.
    pub asides: bool,
}

impl Event {
    /// Comments, ids and retry times: nothing that a caller's program sees.
    pub fn is_silent(&self) -> bool {
        self.data_lines == 0
    }

    /// The data of an event that has several data lines, joined as the standard says.
    pub fn join(&self, bytes: &[u8]) -> Vec<u8> {
        let mut joined = Vec::new();
        let mut first = true;
        for line in self.whole.of(bytes).split(|byte| matches!(byte, b'\n' | b'\r')) {
            if let Some((b"data", value)) = field(line) {
                if !std::mem::take(&mut first) {
                    joined.push(b'\n');
                }
                joined.extend_from_slice(value);
            }
        }
        joined
    }
}

impl Event {
    /// The event written anew, with other data and with what `change` makes of its other lines.
    pub fn rewritten(&self, bytes: &[u8], data: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.whole.len + 64);
        let mut told = false;
        for line in self.whole.of(bytes).split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
            if !matches!(field(line), Some((b"data", _))) {
                out.extend_from_slice(&change(line));
                out.push(b'\n');
            } else if !std::mem::replace(&mut told, true) {
                for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
            }
        }
        out.push(b'\n');
        out
    }
}

/// Finds events in a buffer that grows at its end and is cut at its front.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// Where the event that is being read starts.
    start: usize,
    /// Where its current line starts, and how far that line has been searched.
    line: usize,
    searched: usize,
    event: Event,
    /// The line before ended in CR: an LF here still belongs to it.
    after_cr: bool,
    /// The event has a line that is not empty. Empty lines before it belong to it and mean nothing.
    begun: bool,
}

impl Framer {
    /// The next whole event, or `None` until more bytes come.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Event> {
        loop {
            if self.after_cr && self.searched == self.line && self.line < bytes.len() {
                self.after_cr = false;
                if bytes[self.line] == b'\n' {
                    // The second half of a line end whose first half ended an event: it goes out with what came before.
                    if self.start == self.line {
                        self.start += 1;
                    }
                    self.line += 1;
                    self.searched = self.line;
                }
            }
            let rest = bytes.get(self.searched..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.searched = bytes.len().max(self.searched);
                return None;
            };
            let end = self.searched + length;
            let line = Span { at: self.line, len: end - self.line };
            self.after_cr = bytes[end] == b'\r';
            if self.after_cr && bytes.get(end + 1) == Some(&b'\n') {
                self.after_cr = false;
                self.line = end + 2;
            } else {
                self.line = end + 1;
            }
            self.searched = self.line;
            if line.len > 0 {
                self.begun = true;
                self.read_line(line, bytes);
            } else if self.begun {
                let event = Event { whole: Span { at: self.start, len: self.line - self.start }, ..self.event };
                self.begin(self.line);
                return Some(event);
            }
        }
    }

    /// Where the unfinished event starts: what is before it has been given out.
    pub fn unfinished(&self) -> usize {
        self.start
    }

    /// The first `by` bytes of the buffer are gone.
    pub fn moved(&mut self, by: usize) {
        self.start = self.start.saturating_sub(by);
        self.line = self.line.saturating_sub(by);
        self.searched = self.searched.saturating_sub(by);
        self.event.name = self.event.name.moved(by);
        self.event.data = self.event.data.moved(by);
    }

    /// Somebody else recognised an event that ends here.
    pub fn skip_to(&mut self, end: usize) {
        self.begin(end);
        self.line = end;
        self.searched = end;
        self.after_cr = false;
    }

    /// Whether the next byte starts an event, so that a template may be tried there.
    pub fn at_event_start(&self) -> bool {
        self.event.data_lines == 0 && !self.after_cr && self.start == self.line
    }

    fn begin(&mut self, at: usize) {
        self.start = at;
        self.event = Event::default();
        self.begun = false;
    }

    fn read_line(&mut self, line: Span, bytes: &[u8]) {
        let content = line.of(bytes);
        let Some((name, value)) = field(content) else {
            self.event.asides = true;
            return;
        };
        let value = Span { at: line.at + (line.len - value.len()), len: value.len() };
        match name {
            b"data" => {
                if self.event.data_lines == 0 {
                    self.event.data = value;
                }
                self.event.data_lines += 1;
            }
            b"event" => self.event.name = value,
            _ => self.event.asides = true,
        }
    }
}

/// A line's field and value; `None` for a comment.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match memchr::memchr(b':', line) {
        Some(0) => None,
        Some(colon) => {
            let value = &line[colon + 1..];
            Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
        }
        None => Some((line, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, data) of all events, however the bytes were cut, with the front dropped after every event.
    fn events(bytes: &[u8], piece: usize) -> Vec<(String, String)> {
        let mut framer = Framer::default();
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        for part in bytes.chunks(piece.max(1)) {
            buffer.extend_from_slice(part);
            while let Some(event) = framer.next(&buffer) {
                let data = if event.data_lines > 1 { event.join(&buffer) } else { event.data.of(&buffer).to_vec() };
                let name = String::from_utf8_lossy(event.name.of(&buffer)).into_owned();
                if !event.is_silent() {
                    out.push((name, String::from_utf8_lossy(&data).into_owned()));
                }
            }
            let gone = framer.unfinished();
            buffer.drain(..gone);
            framer.moved(gone);
        }
        out
    }

    #[test]
    fn an_event_is_written_anew() {
        let bytes = b": a key\r\nevent: x\r\ndata: {\r\nid: 7\r\ndata: 1}\r\n\r\n";
        let event = Framer::default().next(bytes).unwrap();
        assert!(event.asides && event.data_lines == 2);
        let loud = |line: &[u8]| line.to_ascii_uppercase();
        assert_eq!(event.rewritten(bytes, b"{\n2}", loud), b": A KEY\nEVENT: X\ndata: {\ndata: 2}\nID: 7\n\n");
        assert!(!Framer::default().next(b"event: a\ndata: {}\n\n").unwrap().asides);
    }

    #[test]
    fn all_line_ends_and_cuts_give_the_same_events() {
        let model = "event: a\ndata: {\"x\":1}\n\n: comment\n\ndata:nospace\nid: 7\n\nretry: 3\n\ndata: one\ndata: two\n\n\n\ndata\n\ndata: [DONE]\n\n";
        let expected = [("a", "{\"x\":1}"), ("", "nospace"), ("", "one\ntwo"), ("", ""), ("", "[DONE]")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        for end in ["\n", "\r\n", "\r"] {
            let text = model.replace('\n', end);
            for piece in 1..=text.len() {
                assert_eq!(events(text.as_bytes(), piece), expected, "{end:?} in pieces of {piece}");
            }
            let with_mark = format!("\u{feff}{text}");
            assert_eq!(events(with_mark.as_bytes(), 3), expected);
        }
    }

    #[test]
    fn a_line_end_that_is_cut_leaves_nothing_behind() {
        let bytes = b"data: 1\r\n\r\n";
        for cut in 0..=bytes.len() {
            let mut framer = Framer::default();
            let before = framer.next(&bytes[..cut]).is_some();
            let after = framer.next(bytes).is_some();
            assert!(before != after && framer.next(bytes).is_none(), "cut at {cut}");
            assert_eq!(framer.unfinished(), bytes.len(), "cut at {cut}");
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_not_one() {
        assert!(events(b"data: {}\n", 3).is_empty());
        assert!(events(b"data: {}", 100).is_empty());
    }

    /// A vendor that sends nothing but line ends costs a look at each byte, not at each byte for each line.
    #[test]
    fn a_flood_of_empty_lines_is_walked_once() {
        let flood = vec![b'\n'; 4 << 20];
        let mut framer = Framer::default();
        assert_eq!(framer.next(&flood), None);
        let event = [&flood[..], b"data: 1\n\n"].concat();
        assert_eq!(framer.next(&event).map(|event| event.data.len), Some(1));
    }

    #[test]
    fn whole_events_are_the_bytes_as_they_came() {
        let bytes = b"\n\ndata: 1\n\n: c\r\n\r\ndata: 2\r\r";
        let mut framer = Framer::default();
        let mut whole = Vec::new();
        while let Some(event) = framer.next(bytes) {
            whole.extend_from_slice(event.whole.of(bytes));
        }
        assert_eq!(whole, bytes);
    }
}
