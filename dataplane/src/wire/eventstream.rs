//! AWS event-stream frames: `vnd.amazon.eventstream`, in which Bedrock streams.
//!
//! A frame is its prelude (how long it is, how long its headers are, a checksum of these two), headers, a payload, and a
//! checksum of everything before it. Nothing is copied: a frame is spans of the buffer it arrived in.

use super::sse::Span;

/// The largest frame that the protocol has.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// The most that the protocol allows the headers of one frame.
pub const HEADER_BYTES_MAX: usize = 128 << 10;

const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

/// One whole frame whose checksums hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    pub whole: Span,
    pub kind: Kind,
    /// `:event-type`, or `:exception-type`, or `:error-code`: what the payload is.
    pub name: Span,
    pub payload: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Event,
    /// The service gave up, and the payload says why.
    Exception,
    /// The connection itself is at fault; the words stand in a header.
    Error,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotFrame(pub &'static str);

/// Finds frames in a buffer that grows at its end and is cut at its front.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    start: usize,
    /// Of the frame that starts there, once its prelude has been checked: its length, and its headers'.
    prelude: Option<(usize, usize)>,
}

impl Framer {
    /// The next whole frame, or `None` until more bytes come. Behind a fault there is no way to find the next frame.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Frame>, NotFrame> {
        let rest = bytes.get(self.start..).unwrap_or_default();
        let (length, headers) = match self.prelude {
            Some(known) => known,
            None => match prelude(rest)? {
                Some(read) => *self.prelude.insert(read),
                None => return Ok(None),
            },
        };
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let (checked, checksum) = frame.split_at(length - CHECKSUM_BYTES);
        if number(checksum) != crc32(checked) {
            return Err(NotFrame("a frame's checksum does not hold"));
        }
        let within = |at: usize, len: usize| Span { at: self.start + at, len };
        let (mut kind, mut name) = (Kind::Event, Span::default());
        for header in Headers::of(&checked[PRELUDE_BYTES..PRELUDE_BYTES + headers]) {
            let header = header?;
            let Value::Text(text) = header.value else { continue };
            match header.name {
                b":message-type" => {
                    kind = match text {
                        b"event" => Kind::Event,
                        b"exception" => Kind::Exception,
                        b"error" => Kind::Error,
                        _ => return Err(NotFrame("a frame of an unknown type")),
                    }
                }
                b":event-type" | b":exception-type" | b":error-code" => {
                    name = within(PRELUDE_BYTES + header.value_at, text.len());
                }
                _ => {}
            }
        }
        let payload_at = PRELUDE_BYTES + headers;
        let payload = within(payload_at, checked.len() - payload_at);
        let whole = within(0, length);
        self.start += length;
        self.prelude = None;
        Ok(Some(Frame { whole, kind, name, payload }))
    }

    /// Where the unfinished frame starts: what is before it has been given out.
    pub fn unfinished(&self) -> usize {
        self.start
    }

    /// How long the unfinished frame will be, once that is known.
    pub fn expected(&self) -> Option<usize> {
        self.prelude.map(|(length, _)| length)
    }

    /// The first `by` bytes of the buffer are gone.
    pub fn moved(&mut self, by: usize) {
        self.start = self.start.saturating_sub(by);
    }
}

/// A frame's length and its headers' length, as soon as they are there.
fn prelude(bytes: &[u8]) -> Result<Option<(usize, usize)>, NotFrame> {
    let Some(prelude) = bytes.get(..PRELUDE_BYTES) else { return Ok(None) };
    if number(&prelude[8..]) != crc32(&prelude[..8]) {
        return Err(NotFrame("the checksum of a frame's prelude does not hold"));
    }
    let (length, headers) = (number(prelude) as usize, number(&prelude[4..]) as usize);
    if length > FRAME_BYTES_MAX || headers > HEADER_BYTES_MAX {
        return Err(NotFrame("a frame is too long"));
    }
    if length < PRELUDE_BYTES + headers + CHECKSUM_BYTES {
        return Err(NotFrame("a frame is shorter than its headers"));
    }
    Ok(Some((length, headers)))
}

/// Four bytes, big-endian. The callers have looked that they are there.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Header<'a> {
    pub name: &'a [u8],
    pub value: Value<'a>,
    /// Where the value starts among the headers.
    pub value_at: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    Bool(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    Text(&'a [u8]),
    /// Milliseconds since 1970.
    Time(i64),
    Uuid(&'a [u8; 16]),
}

/// The headers of one frame, each checked as it is reached.
pub struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Headers<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], NotFrame> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        self.at += count;
        taken.ok_or(NotFrame("a header does not end"))
    }

    fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], NotFrame> {
        self.take(N)?.first_chunk().ok_or(NotFrame("a header does not end"))
    }

    fn header(&mut self) -> Result<Header<'a>, NotFrame> {
        let [length] = *self.take_array()?;
        let name = self.take(usize::from(length))?;
        if name.is_empty() {
            return Err(NotFrame("a header without a name"));
        }
        let [kind] = *self.take_array()?;
        let mut value_at = self.at;
        let value = match kind {
            0 => Value::Bool(true),
            1 => Value::Bool(false),
            2 => Value::Integer(i64::from(i8::from_be_bytes(*self.take_array()?))),
            3 => Value::Integer(i64::from(i16::from_be_bytes(*self.take_array()?))),
            4 => Value::Integer(i64::from(i32::from_be_bytes(*self.take_array()?))),
            5 => Value::Integer(i64::from_be_bytes(*self.take_array()?)),
            6 | 7 => {
                let length = u16::from_be_bytes(*self.take_array()?);
                value_at = self.at;
                let bytes = self.take(usize::from(length))?;
                match kind {
                    6 => Value::Bytes(bytes),
                    _ if simdutf8::basic::from_utf8(bytes).is_ok() => Value::Text(bytes),
                    _ => return Err(NotFrame("a header that is not UTF-8")),
                }
            }
            8 => Value::Time(i64::from_be_bytes(*self.take_array()?)),
            9 => Value::Uuid(self.take_array()?),
            _ => return Err(NotFrame("a header of an unknown type")),
        };
        Ok(Header { name, value, value_at })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, NotFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let header = self.header();
        if header.is_err() {
            self.at = self.bytes.len();
        }
        Some(header)
    }
}

/// A frame that is being written: what is appended to the buffer until [`Open::close`] is its payload.
#[must_use = "a frame ends with `close`"]
pub struct Open {
    at: usize,
    headers: usize,
}

impl Open {
    /// An event with a payload of JSON.
    pub fn event(out: &mut Vec<u8>, name: &str) -> Self {
        Self::begin(out, b"event", b":event-type", name)
    }

    pub fn exception(out: &mut Vec<u8>, name: &str) -> Self {
        Self::begin(out, b"exception", b":exception-type", name)
    }

    fn begin(out: &mut Vec<u8>, kind: &[u8], named: &[u8], name: &str) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0; PRELUDE_BYTES]);
        header(out, named, name.as_bytes());
        header(out, b":content-type", b"application/json");
        header(out, b":message-type", kind);
        Self { at, headers: out.len() - at - PRELUDE_BYTES }
    }

    /// Fills in the lengths and the checksums. A frame that became too long is taken back, and `false`.
    pub fn close(self, out: &mut Vec<u8>) -> bool {
        let length = out.len() - self.at + CHECKSUM_BYTES;
        if length > FRAME_BYTES_MAX {
            out.truncate(self.at);
            return false;
        }
        let frame = &mut out[self.at..];
        frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
        frame[4..8].copy_from_slice(&(self.headers as u32).to_be_bytes());
        let checksum = crc32(&frame[..8]);
        frame[8..12].copy_from_slice(&checksum.to_be_bytes());
        let checksum = crc32(frame);
        out.extend_from_slice(&checksum.to_be_bytes());
        true
    }
}

fn header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    const TEXT: u8 = 7;
    // Ours are constants, and shorter than either length can say.
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.push(TEXT);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// The checksum of Ethernet and zip, eight bytes at a step.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = !0u32;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let low = sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let of = |table: usize, byte: u32| TABLES[table][(byte & 0xff) as usize];
        sum = of(7, low) ^ of(6, low >> 8) ^ of(5, low >> 16) ^ of(4, low >> 24);
        sum ^= of(3, u32::from(word[4])) ^ of(2, u32::from(word[5])) ^ of(1, u32::from(word[6]));
        sum ^= of(0, u32::from(word[7]));
    }
    for byte in rest {
        sum = sum >> 8 ^ TABLES[0][usize::from(sum as u8 ^ byte)];
    }
    !sum
}

/// What a byte adds to the checksum, from up to seven bytes away.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = (Kind, String, String);

    fn frames(bytes: &[u8], piece: usize) -> (Vec<Seen>, Option<NotFrame>) {
        let mut framer = Framer::default();
        let (mut buffer, mut seen) = (Vec::new(), Vec::new());
        for part in bytes.chunks(piece.max(1)) {
            buffer.extend_from_slice(part);
            loop {
                match framer.next(&buffer) {
                    Ok(Some(frame)) => {
                        let text = |span: Span| String::from_utf8_lossy(span.of(&buffer)).into_owned();
                        seen.push((frame.kind, text(frame.name), text(frame.payload)));
                    }
                    Ok(None) => break,
                    Err(fault) => return (seen, Some(fault)),
                }
            }
            let gone = framer.unfinished();
            buffer.drain(..gone);
            framer.moved(gone);
        }
        (seen, None)
    }

    fn stream() -> (Vec<u8>, Vec<Seen>) {
        let mut out = Vec::new();
        let said = [
            (Kind::Event, "messageStart", r#"{"role":"assistant"}"#),
            (Kind::Event, "contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"é"}}"#),
            (Kind::Event, "metadata", ""),
            (Kind::Exception, "throttlingException", r#"{"message":"slow down"}"#),
        ];
        for (kind, name, payload) in said {
            let frame = match kind {
                Kind::Exception => Open::exception(&mut out, name),
                _ => Open::event(&mut out, name),
            };
            out.extend_from_slice(payload.as_bytes());
            assert!(frame.close(&mut out));
        }
        (out, said.map(|(kind, name, payload)| (kind, name.to_owned(), payload.to_owned())).to_vec())
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }

    /// The example of an empty frame in the protocol's own description.
    #[test]
    fn the_smallest_frame_is_sixteen_bytes() {
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(frames(&empty, 16), (vec![(Kind::Event, String::new(), String::new())], None));
    }

    #[test]
    fn every_cut_gives_the_same_frames() {
        let (bytes, said) = stream();
        for piece in 1..=bytes.len() {
            assert_eq!(frames(&bytes, piece), (said.clone(), None), "pieces of {piece}");
        }
        for cut in 0..bytes.len() {
            let (seen, fault) = frames(&bytes[..cut], 7);
            assert!(fault.is_none() && seen.len() < said.len() && said.starts_with(&seen));
        }
    }

    /// Whatever byte is changed, the frame that it belongs to never passes.
    #[test]
    fn a_changed_byte_is_noticed() {
        let (bytes, said) = stream();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let (seen, fault) = frames(&changed, 64);
            assert!(fault.is_some() && said.starts_with(&seen), "byte {at}");
        }
    }

    #[test]
    fn sizes_have_an_end() {
        let sealed = |length: u32, headers: u32| {
            let mut bytes = [length.to_be_bytes(), headers.to_be_bytes()].concat();
            bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
            frames(&bytes, 12).1
        };
        assert_eq!(sealed(FRAME_BYTES_MAX as u32, 0), None);
        for (length, headers) in
            [(FRAME_BYTES_MAX as u32 + 1, 0), (u32::MAX, u32::MAX), (15, 0), (100, 85), (1 << 20, 1 << 18)]
        {
            assert!(sealed(length, headers).is_some(), "{length} {headers}");
        }
        let mut out = b"before".to_vec();
        let frame = Open::event(&mut out, "x");
        out.resize(FRAME_BYTES_MAX + 8, b' ');
        assert!(!frame.close(&mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn headers_of_all_types_are_read() {
        let mut bytes = Vec::new();
        let mut add = |name: &[u8], kind: u8, value: &[u8]| {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name);
            bytes.push(kind);
            bytes.extend_from_slice(value);
        };
        add(b"t", 0, b"");
        add(b"f", 1, b"");
        add(b"b", 2, &[0xff]);
        add(b"s", 3, &[1, 0]);
        add(b"i", 4, &[0, 0, 1, 0]);
        add(b"l", 5, &[0, 0, 0, 0, 0, 0, 0, 7]);
        add(b"y", 6, &[0, 2, 0xff, 0xfe]);
        add(b"x", 7, &[0, 2, b'h', b'i']);
        add(b"d", 8, &[0, 0, 0, 0, 0, 0, 0, 9]);
        add(b"u", 9, &[3; 16]);
        let values: Vec<_> = Headers::of(&bytes).map(|header| header.map(|header| header.value)).collect();
        let want = [
            Value::Bool(true),
            Value::Bool(false),
            Value::Integer(-1),
            Value::Integer(256),
            Value::Integer(256),
            Value::Integer(7),
            Value::Bytes(&[0xff, 0xfe]),
            Value::Text(b"hi"),
            Value::Time(9),
            Value::Uuid(&[3; 16]),
        ];
        assert_eq!(values, want.map(Ok));
        for cut in 1..bytes.len() {
            // Cut within a header it is a fault; between two, one less.
            assert!(Headers::of(&bytes[..cut]).count() <= want.len());
        }
        assert!(Headers::of(&[1, b'a', 10]).any(|header| header.is_err()));
        assert!(Headers::of(&[1, b'a', 7, 0, 1, 0xff]).any(|header| header.is_err()));
        assert!(Headers::of(&[0, 0]).any(|header| header.is_err()));
    }
}
