//! Where an answer goes: heads, whole bodies and chunks, in as few writes as there are reads.

use weir_shared::money::Nano;
use weir_shared::policy::time::Times;

use crate::accept::caller::Caller;
use crate::buffer;
use crate::clock;
use crate::deadline::Why;
use crate::link::LinkFault;
use crate::wire::chunked;

/// In front of a stream's data in its buffer, so that a chunk's size can be written where the data is.
pub const HEAD_ROOM: usize = 16;
const _: () = assert!(HEAD_ROOM >= chunked::HEAD_ROOM);

/// An answer's head while it is written.
pub struct Head(Vec<u8>);

impl Head {
    pub fn new(status: u16) -> Self {
        let mut out = buffer::small();
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(&mut out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Self(out)
    }

    /// Names and values come from us, or were checked by the head parser: neither holds CR, LF or NUL.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub fn number(&mut self, name: &[u8], value: u64) -> &mut Self {
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        push_number(&mut self.0, value);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Dollars with nine decimals.
    pub fn dollars(&mut self, name: &[u8], amount: Nano) -> &mut Self {
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(if amount.0 < 0 { b": -" } else { b": " });
        let amount = amount.0.unsigned_abs();
        push_number(&mut self.0, amount / 1_000_000_000);
        let point = self.0.len();
        // A leading one keeps the zeros, and the point takes its place.
        push_number(&mut self.0, 1_000_000_000 + amount % 1_000_000_000);
        self.0[point] = b'.';
        self.0.extend_from_slice(b"\r\n");
        self
    }
}

pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[0; 2]; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    let [tens, ones] = PAIRS[number as usize];
    at -= 1;
    digits[at] = ones;
    if tens != b'0' {
        at -= 1;
        digits[at] = tens;
    }
    out.extend_from_slice(&digits[at..]);
}

/// One answer to one request.
pub struct Sink<'c> {
    pub caller: &'c mut Caller,
    times: Times,
    v11: bool,
    /// The answer has a body; one to `HEAD` has none.
    bodied: bool,
    keep_alive: bool,
    /// Written together with what comes first.
    held: Option<Vec<u8>>,
    pub started: bool,
    pub bytes: u64,
    /// What the head said of what was left out of the call.
    pub told_dropped: Option<Box<str>>,
}

impl<'c> Sink<'c> {
    pub fn new(caller: &'c mut Caller, times: Times, v11: bool, bodied: bool, keep_alive: bool) -> Self {
        Self { caller, times, v11, bodied, keep_alive, held: None, started: false, bytes: 0, told_dropped: None }
    }

    /// The connection ends after this answer.
    pub fn close_after(&mut self) {
        self.keep_alive = false;
    }

    pub fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// A whole answer, in one write when it is of a usual size.
    pub async fn answer(&mut self, mut head: Head, body: &[u8]) -> Result<(), LinkFault> {
        head.number(b"content-length", body.len() as u64);
        let mut out = self.end_head(head);
        let body = if self.bodied { body } else { &[] };
        if out.len() + body.len() <= buffer::LARGE && out.len() + body.len() > out.capacity() {
            let mut larger = buffer::large();
            larger.extend_from_slice(&out);
            buffer::give_back(std::mem::replace(&mut out, larger));
        }
        out.extend_from_slice(body);
        self.write(out, 0).await
    }

    /// The head of an answer whose length nobody knows. It leaves with the first bytes.
    pub fn begin(&mut self, mut head: Head) {
        if self.v11 {
            head.field(b"transfer-encoding", b"chunked");
        } else {
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
            self.keep_alive = false;
        }
        self.held = Some(self.end_head(head));
    }

    /// The head of an answer that is forwarded as it comes, and whose length is known.
    pub fn begin_sized(&mut self, mut head: Head, length: u64) {
        head.number(b"content-length", length);
        self.held = Some(self.end_head(head));
    }

    pub fn has_begun(&self) -> bool {
        self.started || self.held.is_some()
    }

    fn end_head(&mut self, mut head: Head) -> Vec<u8> {
        if !self.keep_alive {
            head.field(b"connection", b"close");
        } else if !self.v11 {
            head.field(b"connection", b"keep-alive");
        }
        head.0.extend_from_slice(b"\r\n");
        head.0
    }

    /// Writes data that stands in `buffer` from [`HEAD_ROOM`] on, as one chunk, and gives the buffer back with its head
    /// room and nothing else.
    pub async fn chunk(&mut self, mut buffer: Vec<u8>, last: bool) -> (Result<(), LinkFault>, Vec<u8>) {
        let length = buffer.len() - HEAD_ROOM;
        let mut from = HEAD_ROOM;
        if self.v11 && self.bodied {
            if length > 0 {
                from = chunked::write_size(&mut buffer, HEAD_ROOM, length);
                buffer.extend_from_slice(b"\r\n");
            }
            if last {
                buffer.extend_from_slice(chunked::LAST);
            }
        }
        if !self.bodied {
            buffer.truncate(from);
        }
        let result;
        (result, buffer) = match self.held.take() {
            Some(mut head) => {
                head.extend_from_slice(&buffer[from..]);
                (self.write(head, 0).await, buffer)
            }
            None if from == buffer.len() => (Ok(()), buffer),
            None => self.write_kept(buffer, from).await,
        };
        buffer.clear();
        buffer.resize(HEAD_ROOM, 0);
        (result, buffer)
    }

    /// A word beside the answer's data, in front of what comes next. Not before there is a head.
    pub fn aside(&mut self, words: &[u8]) {
        // An empty chunk would be the last one.
        if !self.bodied || words.is_empty() {
            return;
        }
        let held = self.held.get_or_insert_with(buffer::small);
        if self.v11 {
            held.extend_from_slice(format!("{:x}\r\n", words.len()).as_bytes());
        }
        held.extend_from_slice(words);
        if self.v11 {
            held.extend_from_slice(b"\r\n");
        }
    }

    /// Bytes of an answer of known length, as they are.
    pub async fn raw(&mut self, buffer: Vec<u8>) -> (Result<(), LinkFault>, Vec<u8>) {
        match self.held.take() {
            Some(mut head) => {
                head.extend_from_slice(&buffer);
                let result = self.write(head, 0).await;
                let mut buffer = buffer;
                buffer.clear();
                (result, buffer)
            }
            None => self.write_kept(buffer, 0).await,
        }
    }

    /// A line before the answer: `100 Continue`.
    pub async fn interim(&mut self, line: &[u8]) -> Result<(), LinkFault> {
        let mut out = buffer::small();
        out.extend_from_slice(line);
        self.caller.deadline.set(self.times.write, Why::Write);
        let (result, out) = self.caller.link.write(out, 0).await;
        self.caller.deadline.clear();
        buffer::give_back(out);
        result
    }

    async fn write(&mut self, out: Vec<u8>, from: usize) -> Result<(), LinkFault> {
        let (result, out) = self.write_kept(out, from).await;
        buffer::give_back(out);
        result
    }

    async fn write_kept(&mut self, out: Vec<u8>, from: usize) -> (Result<(), LinkFault>, Vec<u8>) {
        self.started = true;
        self.bytes += (out.len() - from) as u64;
        let mut from = from;
        // Progress renews the deadline: a large answer goes out in pieces, each with the whole time; all of them together
        // have as long as a request may take.
        let over_at = clock::coarse_ms() + self.times.total;
        let deadline = |times: &Times| (clock::coarse_ms() + times.write).min(over_at);
        while out.len() - from > PIECE {
            self.caller.deadline.set_at(deadline(&self.times), Why::Write);
            let piece = out[from..from + PIECE].to_vec();
            let (result, _) = self.caller.link.write(piece, 0).await;
            if result.is_err() {
                return (result, out);
            }
            from += PIECE;
        }
        self.caller.deadline.set_at(deadline(&self.times), Why::Write);
        let (result, out) = self.caller.link.write(out, from).await;
        self.caller.deadline.clear();
        (result, out)
    }
}

/// What a slow caller must take within one write deadline.
const PIECE: usize = 256 << 10;

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Status")
}
