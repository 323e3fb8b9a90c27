//! From frames to bytes: SSE in all its legal forms, chunks, gzip without a library, dates.

use super::frames;
use super::payload::Frame;
use super::route::Dialect;
use super::scenario::{Eol, Scenario, Style};

/// Writes events in the scenario's style.
pub struct Encoder {
    eol: &'static str,
    style: Style,
    /// Frames of AWS event streams instead of lines.
    binary: bool,
}

impl Encoder {
    pub fn new(scenario: &Scenario, dialect: Dialect) -> Encoder {
        let eol = scenario.eol.unwrap_or(if dialect == Dialect::Gemini { Eol::CrLf } else { Eol::Lf });
        Encoder { eol: eol.text(), style: scenario.style, binary: dialect == Dialect::Bedrock }
    }

    pub fn event(&self, index: usize, event: &Frame) -> Vec<u8> {
        if self.binary {
            return self.frame(index, event.name.unwrap_or("event"), event.data.as_bytes());
        }
        let mut bytes = Vec::with_capacity(event.data.len() + 64);
        if self.style == Style::Bom && index == 0 {
            bytes.extend("\u{feff}".as_bytes());
        }
        if self.style == Style::Comments {
            bytes.extend(self.comment());
        }
        let eol = self.eol;
        if self.style == Style::Fields {
            bytes.extend(format!("id: {index}{eol}retry: 3000{eol}").into_bytes());
            if event.name.is_none() {
                bytes.extend(format!("event: message{eol}").into_bytes());
            }
        }
        let space = if self.style == Style::NoSpace { "" } else { " " };
        if let Some(name) = event.name {
            bytes.extend(format!("event:{space}{name}{eol}").into_bytes());
        }
        let lines = if self.style == Style::MultiLine { split_json(&event.data) } else { vec![event.data.as_str()] };
        for line in lines {
            bytes.extend(format!("data:{space}{line}{eol}").into_bytes());
        }
        bytes.extend(eol.as_bytes());
        bytes
    }

    /// A plain event with exactly these bytes as its data, whatever they are.
    pub fn wrap(&self, name: Option<&str>, data: &[u8]) -> Vec<u8> {
        if self.binary {
            return self.frame(0, name.unwrap_or("event"), data);
        }
        let (start, end) = self.around(name);
        [start.as_bytes(), data, end.as_bytes()].concat()
    }

    /// The beginning of an event that will never end.
    pub fn open(&self, name: Option<&str>) -> Vec<u8> {
        if self.binary { frames::prelude(u32::MAX as usize, 0) } else { self.around(name).0.into_bytes() }
    }

    /// What stands before and behind the data of a one-line event.
    pub fn around(&self, name: Option<&str>) -> (String, String) {
        let eol = self.eol;
        let name = name.map_or(String::new(), |name| format!("event: {name}{eol}"));
        (format!("{name}data: "), format!("{eol}{eol}"))
    }

    /// Nothing, where a dialect has no word for it.
    pub fn comment(&self) -> Vec<u8> {
        if self.binary { Vec::new() } else { format!(": weirbench is thinking{0}{0}", self.eol).into_bytes() }
    }

    fn frame(&self, index: usize, name: &str, payload: &[u8]) -> Vec<u8> {
        use frames::Value;
        let json = (":content-type", Value::Text("application/json"));
        if name == "error" {
            let text = String::from_utf8_lossy(payload);
            let fields = [
                (":message-type", Value::Text("error")),
                (":error-code", Value::Text("InternalError")),
                (":error-message", Value::Text(&text)),
            ];
            return frames::frame(&fields, b"");
        }
        if name.ends_with("Exception") {
            let kind = (":exception-type", Value::Text(name));
            return frames::frame(&[kind, json, (":message-type", Value::Text("exception"))], payload);
        }
        let mut fields = vec![(":event-type", Value::Text(name)), json, (":message-type", Value::Text("event"))];
        if self.style == Style::Fields {
            fields.push(("flag", Value::Flag(index.is_multiple_of(2))));
            fields.push(("number", Value::Number(index as i32)));
            fields.push((":date", Value::Moment(1_700_000_000_000)));
            fields.push(("bytes", Value::Bytes(b"\0\xff")));
        }
        frames::frame(&fields, payload)
    }
}

/// Cuts JSON where white space is allowed: behind the first bracket and behind two commas that are not in a string.
fn split_json(data: &str) -> Vec<&str> {
    let mut cuts = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in data.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b',' if !quoted && cuts.len() < 3 => cuts.push(at + 1),
            _ => {}
        }
    }
    let mut lines = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().filter(|cut| *cut < data.len()) {
        lines.push(&data[from..cut]);
        from = cut;
    }
    lines.push(&data[from..]);
    lines
}

pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// gzip with stored blocks: valid, and no shorter than what is in it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GZIP_HEAD.to_vec();
    let mut pieces = bytes.chunks(0xffff).peekable();
    if pieces.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(piece) = pieces.next() {
        let length = piece.len() as u16;
        out.push(u8::from(pieces.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(piece);
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// gzip of very many spaces, as a block that repeats: eight copies of 258 bytes are 104 bits, thirteen whole bytes.
pub struct GzipBomb {
    pub start: Vec<u8>,
    pub block: Vec<u8>,
    pub times: u64,
    pub end: Vec<u8>,
}

impl GzipBomb {
    pub fn new(wanted: u64) -> GzipBomb {
        let times = (wanted / BOMB_BLOCK_BYTES).max(1);
        let mut bits = Bits::default();
        // Last block, fixed codes; one literal space (0x30 + 0x20, eight bits), then nothing but copies of it.
        bits.push(0b1, 1);
        bits.push(0b01, 2);
        bits.push_code(0x30 + 0x20, 8);
        let phase = bits.bytes.len();
        // The three bits that hang over the byte are the beginning of the repeating block.
        let mut whole = bits;
        for _ in 0..8 * BOMB_BLOCK_COPIES + 8 {
            // Length 258 is code 285: eight bits, 0b11000101; distance 1 is five zero bits.
            whole.push_code(0b1100_0101, 8);
            whole.push_code(0, 5);
        }
        let block_bytes = 13 * BOMB_BLOCK_COPIES;
        let mut start = GZIP_HEAD.to_vec();
        // The first whole byte and the next: from there the pattern has the period of the block.
        start.extend(&whole.bytes[..phase + 1]);
        let block = whole.bytes[phase + 1..phase + 1 + block_bytes].to_vec();
        // The rest: the bits of the copies that the start had begun, and the end of the block (seven zero bits).
        let used_bits = (phase + 1) * 8;
        let copies_bits_in_start = used_bits - 11;
        let mut tail = Bits::default();
        let begun = copies_bits_in_start % 13;
        let copies_in_start = copies_bits_in_start / 13;
        let pattern = copy_pattern();
        let mut closing_copies = 0;
        if begun > 0 {
            for bit in &pattern[begun..] {
                tail.push(u32::from(*bit), 1);
            }
            closing_copies = 1;
        }
        tail.push_code(0, 7);
        let mut end = tail.finish();
        let copies = copies_in_start as u64 + times * 8 * BOMB_BLOCK_COPIES as u64 + closing_copies;
        let total = 1 + copies * 258;
        end.extend(crc32_of_run(b' ', total).to_le_bytes());
        end.extend((total as u32).to_le_bytes());
        GzipBomb { start, block, times, end }
    }
}

fn copy_pattern() -> [bool; 13] {
    let mut pattern = [false; 13];
    for (at, bit) in pattern.iter_mut().take(8).enumerate() {
        *bit = 0b1100_0101 >> (7 - at) & 1 == 1;
    }
    pattern
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, bits: u32) {
        for at in 0..bits {
            self.held |= (value >> at & 1) << self.count;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.held as u8);
                (self.held, self.count) = (0, 0);
            }
        }
    }

    /// Huffman codes are written with their first bit first.
    fn push_code(&mut self, code: u32, bits: u32) {
        for at in (0..bits).rev() {
            self.push(code >> at & 1, 1);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        while self.count != 0 {
            self.push(0, 1);
        }
        self.bytes
    }
}

/// The checksum of gzip and of event streams.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| crc_step(crc, *byte))
}

/// The checksum of one byte so many times over, by squaring: the step on the register is affine, so it composes.
fn crc32_of_run(byte: u8, count: u64) -> u32 {
    // An affine map on 32 bits: where each single bit goes, and where zero goes.
    #[derive(Clone, Copy)]
    struct Map {
        columns: [u32; 32],
        zero: u32,
    }
    impl Map {
        fn apply(&self, value: u32) -> u32 {
            (0..32).filter(|bit| value >> bit & 1 == 1).fold(self.zero, |sum, bit| sum ^ self.columns[bit])
        }
        fn then(&self, next: &Map) -> Map {
            let zero = next.apply(self.zero);
            let columns = std::array::from_fn(|bit| next.apply(self.columns[bit] ^ self.zero) ^ zero);
            Map { columns, zero }
        }
    }
    let zero = crc_step(0, byte);
    let mut power = Map { columns: std::array::from_fn(|bit| crc_step(1 << bit, byte) ^ zero), zero };
    let mut register = !0u32;
    let mut left = count;
    while left > 0 {
        if left & 1 == 1 {
            register = power.apply(register);
        }
        power = power.then(&power);
        left >>= 1;
    }
    !register
}

fn crc_step(crc: u32, byte: u8) -> u32 {
    let mut crc = crc ^ u32::from(byte);
    for _ in 0..8 {
        crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    }
    crc
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(unix_seconds: u64) -> String {
    let Civil { days, year, month, day, hour, minute, second } = civil(unix_seconds);
    let month = month - 1;
    format!(
        "{}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
        ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize],
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize]
    )
}

pub fn rfc3339(unix_seconds: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = civil(unix_seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

struct Civil {
    days: u64,
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

fn civil(unix_seconds: u64) -> Civil {
    let days = unix_seconds / 86_400;
    let (hour, minute, second) = (unix_seconds / 3600 % 24, unix_seconds / 60 % 60, unix_seconds % 60);
    // Days since 1 March of the year 0, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = (month_shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    Civil { days, year, month, day, hour, minute, second }
}

pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        424 => "Failed Dependency",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// One block of the bomb is 13 000 bytes: about what a send carries.
const BOMB_BLOCK_COPIES: usize = 1000;
const BOMB_BLOCK_BYTES: u64 = 8 * BOMB_BLOCK_COPIES as u64 * 258;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    /// The system's gunzip, where there is one.
    fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut input = child.stdin.take()?;
        let owned = bytes.to_vec();
        let feeder = std::thread::spawn(move || input.write_all(&owned));
        let mut out = Vec::new();
        child.stdout.take()?.read_to_end(&mut out).ok()?;
        feeder.join().ok()?.ok()?;
        assert!(child.wait().ok()?.success(), "gzip does not accept it");
        Some(out)
    }

    #[test]
    fn gzip_is_what_gunzip_reads() {
        for size in [0, 1, 70_000] {
            let text = vec![b'w'; size];
            if let Some(read) = gunzip(&gzip(&text)) {
                assert_eq!(read, text);
            }
        }
        let bomb = GzipBomb::new(5_000_000);
        let whole = [bomb.start.clone(), bomb.block.repeat(bomb.times as usize), bomb.end.clone()].concat();
        if let Some(read) = gunzip(&whole) {
            assert!(read.len() > 4_000_000 && read.iter().all(|b| *b == b' '), "{}", read.len());
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32_of_run(b'x', 1000), crc32(&[b'x'; 1000]));
    }

    #[test]
    fn json_is_cut_where_it_may_be() {
        let data = r#"{"a":"x,{\",","b":[1,2],"c":{}}"#;
        let lines = split_json(data);
        assert_eq!(lines.len(), 4);
        let joined = lines.join("\n");
        assert!(serde_json::from_str::<serde_json::Value>(&joined).is_ok(), "{joined}");
        assert_eq!(split_json("[DONE]"), ["[DONE]"]);
    }

    #[test]
    fn dates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
    }
}
