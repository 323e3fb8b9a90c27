//! HTTP/1.1 heads, strictly: a pre-scan of our own over what `httparse` is lenient about, then the framing rules.
//!
//! Whatever could be read in two ways is refused, because somewhere behind or before us stands a parser that reads it the
//! other way: bare LF, folded lines, odd `Transfer-Encoding`, two `Content-Length`s.

use weir_shared::policy::size::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, URI_BYTES_MAX};

use super::lanes::{self, LANES};

/// Why a head is refused. The stages turn it into a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHead {
    Malformed(&'static str),
    TooLarge,
    TooManyFields,
    UriTooLong,
    Version,
    TransferCoding,
    /// A length that does not fit in 63 bits.
    LengthTooLarge,
    Expectation,
}

/// How the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    None,
    Sized(u64),
    Chunked,
    /// Only in answers: the body ends with the connection.
    UntilClose,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Head,
    Post,
    Delete,
    Options,
    Put,
    Patch,
    Other,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

macro_rules! names {
    ($($variant:ident $text:literal,)+) => {
        /// The fields that somebody here asks for; looked at once, when the head is parsed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Name { $($variant,)+ Other }

        const NAMES: &[(&[u8], Name)] = &[$(($text.as_bytes(), Name::$variant),)+];

        /// Length and first letter nearly always tell two names apart; what is left is compared.
        const fn bucket(length: usize, first: u8) -> usize {
            (length * 7 + (first | 0x20) as usize * 3) % BUCKETS
        }

        const BUCKETS: usize = 128;
        const DEPTH: usize = 4;

        /// Places in `NAMES`, plus one; zero is empty.
        static TABLE: [[u8; DEPTH]; BUCKETS] = {
            let mut table = [[0; DEPTH]; BUCKETS];
            let mut place = 0;
            while place < NAMES.len() {
                let name = NAMES[place].0;
                let slot = bucket(name.len(), name[0]);
                let mut depth = 0;
                // Deeper than the table is a compile error: an index out of bounds.
                while table[slot][depth] != 0 {
                    depth += 1;
                }
                table[slot][depth] = place as u8 + 1;
                place += 1;
            }
            table
        };

        pub fn classify_name(name: &[u8]) -> Name {
            let Some(&first) = name.first() else { return Name::Other };
            for &place in &TABLE[bucket(name.len(), first)] {
                let Some(&(text, known)) = usize::from(place).checked_sub(1).and_then(|place| NAMES.get(place)) else { break };
                if is_same(text, name) {
                    return known;
                }
            }
            Name::Other
        }

        /// Eight bytes at a time, whatever their case. Of a token's bytes only letters change with that bit, but for marks that no
        /// known name has: so the same with it is the same.
        fn is_same(known: &[u8], token: &[u8]) -> bool {
            const CASE: u64 = 0x2020_2020_2020_2020;
            let word = |text: &[u8], at: usize| text.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
            let Some(last) = known.len().checked_sub(8) else { return known.eq_ignore_ascii_case(token) };
            let same = |at| word(known, at) == word(token, at).map(|word| word | CASE);
            known.len() == token.len() && (0..last).step_by(8).all(same) && same(last)
        }

        const _: () = assert!(NAMES.len() < 64, "a head has one bit for each");
    };
}

mod name {
    names! {
        // The first four decide where a message ends; `Rules` looks at no others.
        Host "host",
        ContentLength "content-length",
        TransferEncoding "transfer-encoding",
        Connection "connection",
        KeepAlive "keep-alive",
        ProxyConnection "proxy-connection",
        ProxyAuthorization "proxy-authorization",
        ProxyAuthenticate "proxy-authenticate",
        Te "te",
        Trailer "trailer",
        Upgrade "upgrade",
        Expect "expect",
        Authorization "authorization",
        XApiKey "x-api-key",
        XGoogApiKey "x-goog-api-key",
        ApiKey "api-key",
        ContentType "content-type",
        ContentEncoding "content-encoding",
        AcceptEncoding "accept-encoding",
        Accept "accept",
        Cookie "cookie",
        SetCookie "set-cookie",
        Forwarded "forwarded",
        Via "via",
        XForwardedFor "x-forwarded-for",
        XForwardedHost "x-forwarded-host",
        XForwardedProto "x-forwarded-proto",
        XForwardedPort "x-forwarded-port",
        XRealIp "x-real-ip",
        Origin "origin",
        Referer "referer",
        AnthropicVersion "anthropic-version",
        RetryAfter "retry-after",
        TraceParent "traceparent",
        IdempotencyKey "idempotency-key",
        ContentDisposition "content-disposition",
        OpenAiProcessingMs "openai-processing-ms",
        OpenAiVersion "openai-version",
        XRequestId "x-request-id",
        RequestId "request-id",
        AccessControlRequestMethod "access-control-request-method",
        AccessControlRequestHeaders "access-control-request-headers",
    }
}
pub use name::{Name, classify_name};

/// Places within a head, whose size they fit.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: Name,
    name_at: u16,
    name_len: u16,
    value_at: u16,
    value_len: u16,
}

const _: () = assert!(HEAD_BYTES_MAX <= 1 << 16, "a field's places are sixteen bits wide");

impl Field {
    pub fn name_in<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.name_at as usize..][..self.name_len as usize]
    }

    pub fn value_in<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.value_at as usize..][..self.value_len as usize]
    }
}

/// A request's head as places within the buffer that it was read into.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    pub framing: Framing,
    /// HTTP/1.1; else 1.0.
    pub v11: bool,
    pub keep_alive: bool,
    pub expects_continue: bool,
    /// The head's length with its empty line: the body starts here.
    pub bytes: usize,
    target: (u32, u32),
    pub fields: Vec<Field>,
    /// One bit for each name that is there: most that are asked for are not.
    present: u64,
}

impl RequestHead {
    /// Path and query as sent, without scheme and authority.
    pub fn target<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.target.0 as usize..][..self.target.1 as usize]
    }

    pub fn get<'a>(&self, name: Name, head: &'a [u8]) -> Option<&'a [u8]> {
        if self.present & 1 << name as u64 == 0 {
            return None;
        }
        self.fields.iter().find(|field| field.name == name).map(|field| field.value_in(head))
    }
}

#[derive(Clone, Debug)]
pub struct AnswerHead {
    pub status: u16,
    pub framing: Framing,
    pub keep_alive: bool,
    pub bytes: usize,
    pub fields: Vec<Field>,
    present: u64,
}

impl AnswerHead {
    pub fn get<'a>(&self, name: Name, head: &'a [u8]) -> Option<&'a [u8]> {
        if self.present & 1 << name as u64 == 0 {
            return None;
        }
        self.fields.iter().find(|field| field.name == name).map(|field| field.value_in(head))
    }
}

/// How far a head has been looked at; kept between reads so that a slow head is not scanned anew for every byte.
#[derive(Clone, Copy, Default, Debug)]
pub struct Progress {
    line_start: usize,
    lines: usize,
    empty_lines: usize,
}

/// The request head at the start of `bytes`, or `None` when it has not ended yet.
pub fn request(bytes: &[u8], progress: &mut Progress) -> Result<Option<RequestHead>, BadHead> {
    let mut lines = Lines::new();
    let Some((start, end)) = bounds(bytes, progress, &mut lines)? else {
        // What a request line may not be is known before the head has ended.
        let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
        let long = line.len() > URI_BYTES_MAX + 64;
        return if long { Err(BadHead::UriTooLong) } else { Ok(None) };
    };
    let head = &bytes[..end];
    let line = &head[start..=lines.first()];
    // Only the first line is `httparse`'s: the fields are split here, where their lines have been checked already.
    let mut parsed = httparse::Request::new(&mut []);
    if let Err(error) = parsed.parse(line) {
        return Err(translate(error, line));
    }
    let path = parsed.path.unwrap_or_default();
    if path.len() > URI_BYTES_MAX {
        return Err(BadHead::UriTooLong);
    }
    let method = Method::parse(parsed.method.unwrap_or_default());
    let target = target(path).ok_or(BadHead::Malformed("the request target is not a path"))?;
    let v11 = parsed.version == Some(1);
    let (fields, present) = fields(head, &lines)?;
    let rules = Rules::read(head, &fields)?;
    let framing = match (rules.transfer_encoding, rules.content_length) {
        (true, Some(_)) => return Err(BadHead::Malformed("both content-length and transfer-encoding")),
        (true, None) if !v11 => return Err(BadHead::Malformed("transfer-encoding in HTTP/1.0")),
        (true, None) => Framing::Chunked,
        (false, Some(0)) | (false, None) => Framing::None,
        (false, Some(length)) => Framing::Sized(length),
    };
    host(head, &fields, v11)?;
    let expects_continue = match fields.iter().find(|field| field.name == Name::Expect) {
        Some(field) if field.value_in(head).eq_ignore_ascii_case(b"100-continue") => v11,
        Some(_) => return Err(BadHead::Expectation),
        None => false,
    };
    let keep_alive = !rules.close && (v11 || rules.keep_alive);
    let target = (place(head, target), target.len() as u32);
    Ok(Some(RequestHead { method, framing, v11, keep_alive, expects_continue, bytes: end, target, fields, present }))
}

/// The answer head at the start of `bytes`, or `None` when it has not ended yet. `to_head`: it answers a `HEAD`.
pub fn answer(bytes: &[u8], progress: &mut Progress, to_head: bool) -> Result<Option<AnswerHead>, BadHead> {
    let mut lines = Lines::new();
    let Some((start, end)) = bounds(bytes, progress, &mut lines)? else { return Ok(None) };
    if start > 0 {
        return Err(BadHead::Malformed("an empty line before the status"));
    }
    let head = &bytes[..end];
    let (status, v11) = status(&head[..=lines.first()])?;
    if !(100..600).contains(&status) {
        return Err(BadHead::Malformed("no such status"));
    }
    let (fields, present) = fields(head, &lines)?;
    let rules = Rules::read(head, &fields)?;
    let bodyless = to_head || status < 200 || status == 204 || status == 304;
    let framing = match (rules.transfer_encoding, rules.content_length) {
        (true, Some(_)) => return Err(BadHead::Malformed("both content-length and transfer-encoding")),
        _ if bodyless => Framing::None,
        (true, None) if !v11 => return Err(BadHead::Malformed("transfer-encoding in HTTP/1.0")),
        (true, None) => Framing::Chunked,
        (false, Some(0)) => Framing::None,
        (false, Some(length)) => Framing::Sized(length),
        (false, None) => Framing::UntilClose,
    };
    let keep_alive = !rules.close && (v11 || rules.keep_alive) && framing != Framing::UntilClose;
    Ok(Some(AnswerHead { status, framing, keep_alive, bytes: end, fields, present }))
}

/// The status line's number, and whether it is HTTP/1.1. The usual form is read here, every other by `httparse`.
fn status(line: &[u8]) -> Result<(u16, bool), BadHead> {
    if let Some([hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ', ..]) =
        line.strip_prefix(b"HTTP/1.1 ")
    {
        let digit = |byte: &u8| u16::from(byte - b'0');
        return Ok((digit(hundreds) * 100 + digit(tens) * 10 + digit(ones), true));
    }
    let mut parsed = httparse::Response::new(&mut []);
    if let Err(error) = parsed.parse(line) {
        return Err(translate(error, line));
    }
    Ok((parsed.code.unwrap_or(0), parsed.version == Some(1)))
}

/// Where the lines of a whole head end: the places of their line feeds.
struct Lines {
    ends: [u16; LINES_MAX],
    count: usize,
}

/// The first line, the fields, the empty line, and one too many.
const LINES_MAX: usize = HEAD_FIELDS_MAX + 3;

impl Lines {
    fn new() -> Self {
        Self { ends: [0; LINES_MAX], count: 0 }
    }

    fn push(&mut self, end: usize) {
        if let Some(place) = self.ends.get_mut(self.count) {
            *place = end as u16;
        }
        self.count += 1;
    }

    fn first(&self) -> usize {
        usize::from(self.ends[0])
    }

    fn cleared(&mut self) -> &mut Self {
        self.count = 0;
        self
    }
}

/// Where the head starts (after forgiven empty lines) and where it ends, when all its lines are there.
fn bounds(bytes: &[u8], progress: &mut Progress, lines: &mut Lines) -> Result<Option<(usize, usize)>, BadHead> {
    let anew = progress.line_start == 0;
    let mut at = progress.line_start;
    // Of what was looked at: characters that may not be there, and carriage returns.
    let (mut controls, mut returns) = (0, 0);
    while at < bytes.len() {
        let found = match bytes[at..].first_chunk() {
            Some(block) => lanes::lines(block),
            None => {
                let mut last = [b' '; LANES];
                last[..bytes.len() - at].copy_from_slice(&bytes[at..]);
                lanes::lines(&last)
            }
        };
        if found == lanes::Lines::default() {
            at += LANES;
            continue;
        }
        let mut feeds = found.feeds;
        while feeds != 0 {
            let place = feeds.trailing_zeros();
            feeds &= feeds - 1;
            let end = at + place as usize;
            let start = progress.line_start;
            if end == 0 || bytes[end - 1] != b'\r' {
                return Err(BadHead::Malformed("a line ends without CR"));
            }
            progress.line_start = end + 1;
            if progress.line_start > HEAD_BYTES_MAX {
                return Err(BadHead::TooLarge);
            }
            if end - start > 1 {
                if matches!(bytes[start], b' ' | b'\t') {
                    return Err(BadHead::Malformed("a folded line, or a space before a name"));
                }
                progress.lines += 1;
                lines.push(end);
                continue;
            }
            if progress.lines == 0 {
                progress.empty_lines += 1;
                if progress.empty_lines > EMPTY_LINES_MAX {
                    return Err(BadHead::TooLarge);
                }
                continue;
            }
            if !anew {
                // It came in pieces: now that it is whole, it is looked at as a whole.
                *progress = Progress::default();
                return bounds(bytes, progress, lines.cleared());
            }
            // The only control characters of a head are the two that end each of its lines (and tabs). All line feeds have
            // been seen to follow a carriage return, so one more of anything is one that may not be there.
            let within = u32::MAX >> (u32::BITS - 1 - place);
            returns += (found.returns & within).count_ones() as usize;
            controls |= found.controls & within;
            if controls != 0 || returns != progress.lines + progress.empty_lines + 1 {
                return Err(BadHead::Malformed("a control character"));
            }
            return Ok(Some((2 * progress.empty_lines, end + 1)));
        }
        controls |= found.controls;
        returns += found.returns.count_ones() as usize;
        at += LANES;
    }
    if bytes.len() > HEAD_BYTES_MAX { Err(BadHead::TooLarge) } else { Ok(None) }
}

/// Old callers end a body with an empty line too many (RFC 9112, 2.2).
const EMPTY_LINES_MAX: usize = 2;

fn translate(error: httparse::Error, line: &[u8]) -> BadHead {
    match error {
        httparse::Error::Version => BadHead::Version,
        // A first line of two words is HTTP/0.9.
        httparse::Error::Token | httparse::Error::NewLine if line.split(|byte| *byte == b' ').count() == 2 => {
            BadHead::Version
        }
        _ => BadHead::Malformed("the first line is not HTTP"),
    }
}

/// Path and query of an origin-form or absolute-form target; whose host it names does not matter.
fn target(path: &str) -> Option<&str> {
    if path.starts_with('/') || path == "*" {
        return Some(path);
    }
    let rest = path.strip_prefix("http://").or_else(|| path.strip_prefix("https://"))?;
    rest.find('/').map(|at| &rest[at..])
}

/// The fields, one a line: a name that is a token, a colon right behind it, a value without the space around it. And which
/// of the known names are among them.
fn fields(head: &[u8], lines: &Lines) -> Result<(Vec<Field>, u64), BadHead> {
    if lines.count > HEAD_FIELDS_MAX + 1 {
        return Err(BadHead::TooManyFields);
    }
    let mut fields = Vec::with_capacity(lines.count.saturating_sub(1));
    let mut present = 0;
    let mut at = lines.first() + 1;
    for end in lines.ends[1..lines.count].iter().map(|end| usize::from(*end)) {
        // The line's end is CRLF, as `bounds` has seen.
        let stop = end - 1;
        let colon = colon(head, at, stop).ok_or(BadHead::Malformed("a field's name is not a token"))?;
        let name = name::classify_name(&head[at..colon]);
        let value = trim(&head[colon + 1..stop]);
        fields.push(Field {
            name,
            name_at: at as u16,
            name_len: (colon - at) as u16,
            value_at: (colon + 1 + value.start) as u16,
            value_len: value.len() as u16,
        });
        present |= 1 << name as u64;
        at = end + 1;
    }
    Ok((fields, present))
}

/// Where the name that starts here ends in a colon, if it is a token, before the line's end at `stop`.
fn colon(head: &[u8], from: usize, stop: usize) -> Option<usize> {
    let mut at = from;
    // Nearly all names are letters, digits and dashes: the first other byte is the colon, or else the line's end.
    while let Some(block) = head.get(at..at + LANES).and_then(|block| block.first_chunk()) {
        let (colons, odd) = lanes::name(block);
        if odd == 0 {
            at += LANES;
            continue;
        }
        let place = odd.trailing_zeros();
        at += place as usize;
        if colons >> place & 1 == 1 {
            return (at > from).then_some(at);
        }
        break;
    }
    let colon = at + head[at..stop].iter().position(|byte| !is_token(*byte))?;
    (colon > from && head[colon] == b':').then_some(colon)
}

/// Where a value is between the spaces and tabs around it.
fn trim(value: &[u8]) -> std::ops::Range<usize> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let (mut start, mut stop) = (0, value.len());
    while start < stop && is_space(&value[start]) {
        start += 1;
    }
    while stop > start && is_space(&value[stop - 1]) {
        stop -= 1;
    }
    start..stop
}

fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let marks = b"!#$%&'*+-.^_`|~";
        let mut place = 0;
        while place < marks.len() {
            table[marks[place] as usize] = true;
            place += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            if (byte as u8).is_ascii_alphanumeric() {
                table[byte] = true;
            }
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// Where a part of the head lies in it: `httparse` gives slices, we keep places.
fn place(head: &[u8], part: impl AsRef<[u8]>) -> u32 {
    (part.as_ref().as_ptr() as usize).wrapping_sub(head.as_ptr() as usize).min(head.len()) as u32
}

struct Rules {
    transfer_encoding: bool,
    content_length: Option<u64>,
    close: bool,
    keep_alive: bool,
}

impl Rules {
    fn read(head: &[u8], fields: &[Field]) -> Result<Self, BadHead> {
        let mut rules = Self { transfer_encoding: false, content_length: None, close: false, keep_alive: false };
        for field in fields {
            if field.name as u8 > Name::Connection as u8 {
                continue;
            }
            let value = field.value_in(head);
            match field.name {
                Name::TransferEncoding if rules.transfer_encoding => return Err(BadHead::TransferCoding),
                Name::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => rules.transfer_encoding = true,
                Name::TransferEncoding => return Err(BadHead::TransferCoding),
                Name::ContentLength if rules.content_length.is_some() => {
                    return Err(BadHead::Malformed("two content-lengths"));
                }
                Name::ContentLength => rules.content_length = Some(length(value)?),
                Name::Connection => {
                    for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        rules.close |= word.eq_ignore_ascii_case(b"close");
                        rules.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                _ => {}
            }
        }
        Ok(rules)
    }
}

fn length(value: &[u8]) -> Result<u64, BadHead> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadHead::Malformed("content-length is not a number"));
    }
    let significant = value.iter().position(|digit| *digit != b'0').map_or(&[][..], |at| &value[at..]);
    if significant.len() > 18 {
        return Err(BadHead::LengthTooLarge);
    }
    Ok(significant.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn host(head: &[u8], fields: &[Field], v11: bool) -> Result<(), BadHead> {
    let mut hosts = fields.iter().filter(|field| field.name == Name::Host);
    let Some(host) = hosts.next() else {
        return if v11 { Err(BadHead::Malformed("no host")) } else { Ok(()) };
    };
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    let value = host.value_in(head);
    if hosts.next().is_some() || value.is_empty() || value.len() > 255 || !value.iter().all(good) {
        return Err(BadHead::Malformed("host is not one name or address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<RequestHead>, BadHead> {
        request(text.as_bytes(), &mut Progress::default())
    }

    fn with(lines: &str) -> Result<Option<RequestHead>, BadHead> {
        parse(&format!("POST /v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    }

    #[test]
    fn a_head_is_read() {
        let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: localhost:8080\r\nX-API-Key:  secret \r\ncontent-length: 012\r\nConnection: close\r\n\r\n{";
        let head = parse(text).unwrap().unwrap();
        assert_eq!(head.target(text.as_bytes()), b"/v1/chat/completions?x=1");
        assert_eq!((head.method, head.framing, head.keep_alive), (Method::Post, Framing::Sized(12), false));
        assert_eq!(head.get(Name::XApiKey, text.as_bytes()), Some(&b"secret"[..]));
        assert_eq!(head.bytes, text.len() - 1);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\t: chunked\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: chun\0ked\r\n",
            "Transfer-Encoding:\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: \r\n",
            "Content-Length: abc\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Expect: 200-ok\r\n",
            "X: a\rb\r\n",
            "X: a\x7f\r\n",
            " X: y\r\n",
            "X y: z\r\n",
            "X\r\n",
            ": y\r\n",
            "X\u{e9}: y\r\n",
            "Host: b\r\n",
        ] {
            assert!(with(lines).is_err(), "{lines:?}");
        }
        for head in [
            "POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(parse(head).is_err(), "{head:?}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(matches!(
            parse(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000))),
            Err(BadHead::UriTooLong | BadHead::TooLarge)
        ));
        assert!(matches!(parse(&format!("GET /{}", "a".repeat(17_000))), Err(BadHead::UriTooLong)));
        assert_eq!(with(&"X: y\r\n".repeat(100)).err(), Some(BadHead::TooManyFields));
        assert_eq!(with(&format!("X: {}\r\n", "y".repeat(66_000))).err(), Some(BadHead::TooLarge));
        assert_eq!(
            parse(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(66_000))).err(),
            Some(BadHead::TooLarge)
        );
        assert_eq!(parse("\r\n\r\n\r\n").err(), Some(BadHead::TooLarge));
    }

    #[test]
    fn answers_are_framed_strictly() {
        let parse = |text: &str| answer(text.as_bytes(), &mut Progress::default(), false);
        let framing = |text: &str| parse(text).unwrap().unwrap().framing;
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Framing::Chunked);
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilClose);
        assert_eq!(framing("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n"), Framing::None);
        assert!(!parse("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap().unwrap().keep_alive);
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_known_in_any_case_and_no_others_are() {
        for (text, name) in
            [("Content-LENGTH", Name::ContentLength), ("tE", Name::Te), ("X-Goog-Api-Key", Name::XGoogApiKey)]
        {
            assert_eq!(name::classify_name(text.as_bytes()), name);
        }
        for text in ["content_length", "content-lengtH2", "content-Iength", "x-api-ke9", ""] {
            assert_eq!(name::classify_name(text.as_bytes()), Name::Other, "{text:?}");
        }
    }

    /// Any input cut at any byte gives the same output.
    #[test]
    fn cuts_do_not_matter() {
        let heads = [
            "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
        ];
        for text in heads {
            let whole = format!("{:?}", parse(text));
            let mut progress = Progress::default();
            let steps = (0..=text.len()).map(|end| request(&text.as_bytes()[..end], &mut progress));
            let first = steps.into_iter().find(|step| !matches!(step, Ok(None))).unwrap();
            assert_eq!(format!("{first:?}"), whole);
        }
    }
}
