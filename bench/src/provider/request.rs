//! One request out of the bytes of a connection. Lenient where a vendor's edge is, exact about where a request ends.

use std::ops::Range;

/// Where a request is in the buffer, and what the vendor wants to know of its head.
#[derive(Debug)]
pub struct Request {
    pub head: usize,
    /// Head and body together: the next request begins here.
    pub total: usize,
    pub body: Body,
    pub method: Range<usize>,
    pub target: Range<usize>,
    pub credential: Option<Range<usize>>,
    pub anthropic: bool,
    pub google: bool,
    pub close: bool,
}

#[derive(Debug)]
pub enum Body {
    Plain(Range<usize>),
    Unchunked(Vec<u8>),
}

#[derive(Debug)]
pub enum Parsed {
    Whole(Request),
    /// More bytes are needed; `head` is known when the head is there, `total` when the length was told.
    Partial {
        head: Option<Request>,
        wants_continue: bool,
    },
    Broken(&'static str),
}

pub fn parse(buffer: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let head = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if buffer.len() > HEAD_BYTES_MAX => {
            return Parsed::Broken("the head is too large");
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial { head: None, wants_continue: false },
        Err(_) => return Parsed::Broken("the head is not HTTP/1.1"),
    };
    let at = |part: &[u8]| {
        let start = part.as_ptr() as usize - buffer.as_ptr() as usize;
        start..start + part.len()
    };
    let mut request = Request {
        head,
        total: head,
        body: Body::Plain(head..head),
        method: at(parsed.method.unwrap_or("").as_bytes()),
        target: at(parsed.path.unwrap_or("").as_bytes()),
        credential: None,
        anthropic: false,
        google: false,
        close: parsed.version == Some(0),
    };
    let (mut length, mut chunked, mut wants_continue) = (None, false, false);
    for field in parsed.headers.iter() {
        let name = field.name.as_bytes();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            14 if is("content-length") => {
                match std::str::from_utf8(field.value).ok().and_then(|v| v.trim().parse::<usize>().ok()) {
                    Some(count) if length.is_none_or(|known| known == count) && count <= BODY_BYTES_MAX => {
                        length = Some(count)
                    }
                    _ => return Parsed::Broken("a length that is no length"),
                }
            }
            17 if is("transfer-encoding") => chunked = true,
            13 if is("authorization") => {
                let bearer = field.value.len() > 7 && field.value[..7].eq_ignore_ascii_case(b"bearer ");
                request.credential = Some(at(if bearer { &field.value[7..] } else { field.value }));
            }
            9 if is("x-api-key") => request.credential = Some(at(field.value)),
            14 if is("x-goog-api-key") => {
                request.credential = Some(at(field.value));
                request.google = true;
            }
            7 if is("api-key") => request.credential = Some(at(field.value)),
            17 if is("anthropic-version") => request.anthropic = true,
            10 if is("connection") => request.close |= field.value.eq_ignore_ascii_case(b"close"),
            6 if is("expect") => wants_continue = true,
            _ => {}
        }
    }
    if chunked {
        return match unchunk(&buffer[head..]) {
            Unchunked::Whole { body, used } => {
                request.total = head + used;
                request.body = Body::Unchunked(body);
                Parsed::Whole(request)
            }
            Unchunked::Partial => {
                request.total = usize::MAX;
                Parsed::Partial { head: Some(request), wants_continue }
            }
            Unchunked::Broken => Parsed::Broken("a chunk that is no chunk"),
        };
    }
    let length = length.unwrap_or(0);
    request.total = head + length;
    request.body = Body::Plain(head..head + length);
    if buffer.len() < request.total {
        Parsed::Partial { head: Some(request), wants_continue }
    } else {
        Parsed::Whole(request)
    }
}

enum Unchunked {
    Whole { body: Vec<u8>, used: usize },
    Partial,
    Broken,
}

fn unchunk(bytes: &[u8]) -> Unchunked {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") else {
            return if bytes.len() - at > CHUNK_LINE_BYTES_MAX { Unchunked::Broken } else { Unchunked::Partial };
        };
        let digits = bytes[at..at + line].split(|b| *b == b';').next().unwrap_or_default();
        let Some(size) = std::str::from_utf8(digits).ok().and_then(|v| usize::from_str_radix(v.trim(), 16).ok()) else {
            return Unchunked::Broken;
        };
        if size > BODY_BYTES_MAX || body.len() + size > BODY_BYTES_MAX {
            return Unchunked::Broken;
        }
        at += line + 2;
        if size == 0 {
            // Trailers, then an empty line.
            loop {
                let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") else { return Unchunked::Partial };
                at += line + 2;
                if line == 0 {
                    return Unchunked::Whole { body, used: at };
                }
            }
        }
        if bytes.len() < at + size + 2 {
            return Unchunked::Partial;
        }
        body.extend_from_slice(&bytes[at..at + size]);
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Unchunked::Broken;
        }
        at += size + 2;
    }
}

const FIELDS_MAX: usize = 200;
/// Twice what the gateway may send: a limit of the rig must not look like one of the gateway.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Above the largest body that the gateway collects (32 MiB) and the files that tests upload.
const BODY_BYTES_MAX: usize = 640 << 20;
const CHUNK_LINE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Request {
        match parse(bytes) {
            Parsed::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_ends_where_it_says() {
        let bytes =
            b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Api-Key: secret\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n";
        let request = whole(bytes);
        assert_eq!(&bytes[request.total..request.total + 3], b"GET");
        assert_eq!(&bytes[request.credential.unwrap()], b"secret");
        assert_eq!(&bytes[request.target], b"/v1/x");
        let chunked =
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nauthorization: Bearer k\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        let request = whole(chunked);
        assert!(matches!(request.body, Body::Unchunked(body) if body == b"{}"));
        assert_eq!(request.total, chunked.len());
        assert_eq!(&chunked[request.credential.unwrap()], b"k");
    }

    #[test]
    fn every_prefix_is_partial_and_never_a_panic() {
        for bytes in [
            &b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"[..],
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: v\r\n\r\n",
        ] {
            for cut in 0..bytes.len() {
                assert!(matches!(parse(&bytes[..cut]), Parsed::Partial { .. }), "{cut}");
            }
            assert_eq!(whole(bytes).total, bytes.len());
        }
    }

    #[test]
    fn what_is_broken_is_called_so() {
        for bytes in [
            "\0\0\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(matches!(parse(bytes.as_bytes()), Parsed::Broken(_)), "{bytes}");
        }
    }
}
