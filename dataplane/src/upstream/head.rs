//! What is written to a vendor: a head that is built from typed parts, and the caller's body with its splices.

use std::cell::Cell;
use std::ops::Range;

use weir_shared::catalog::Vendor;

use crate::accept::Request;
use crate::buffer;
use crate::clock;
use crate::parse::Splices;
use crate::secret::{Badge, Pieces, Unsigned};
use crate::wire::http1::{self, Method, Name};

/// A request on its way: its head, and the body that it forwards.
pub struct Outgoing<'a> {
    pub head: &'a [u8],
    pub body: &'a [u8],
    pub splices: &'a Splices,
    /// It may be said again when nobody can tell whether the vendor took it.
    pub leaves_nothing: bool,
    /// How many calls its caller's request has caused, and how many it may.
    pub calls: &'a Cell<usize>,
    pub calls_max: usize,
    /// How often this one has been sent.
    pub own: &'a Cell<usize>,
}

/// Up to this size a request leaves in one write; larger ones in pieces of it.
const PIECE: usize = 256 << 10;

impl Outgoing<'_> {
    /// The next piece, starting at `from` of head and body together; `None` when all is out.
    pub fn piece(&self, from: &mut usize) -> Option<Vec<u8>> {
        let total = self.head.len() + self.splices.length(self.body.len());
        if *from >= total {
            return None;
        }
        if *from == 0 && (total <= PIECE || !self.splices.is_empty()) {
            // A spliced body is put together at once: the pieces of a large one are large themselves.
            let mut out = buffer::with_room(total);
            out.extend_from_slice(self.head);
            self.splices.apply(self.body, &mut out);
            *from = total;
            return Some(out);
        }
        let end = (*from + PIECE).min(total);
        let mut out = Vec::with_capacity(end - *from);
        let head = self.head.len();
        if *from < head {
            out.extend_from_slice(&self.head[*from..]);
        }
        out.extend_from_slice(&self.body[from.saturating_sub(head)..end - head]);
        *from = end;
        Some(out)
    }
}

/// How the length of the body is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    None,
    Sized(u64),
    Chunked,
}

/// Writes a vendor's request head: its own path, host and credential; of the caller's fields everything but what
/// belongs to the caller's connection or names it. With `foreign`, the caller speaks another language than the vendor: only
/// what is universal passes, and these fields are added. What a caller calls its request passes as the gateway tells it.
#[expect(clippy::too_many_arguments, reason = "a head is made of all of these")]
pub fn write_head(
    out: &mut Vec<u8>,
    request: &Request,
    method: Method,
    vendor: &Vendor,
    badge: &Badge,
    write_path: impl FnOnce(&mut Vec<u8>),
    length: Length,
    body: Option<&dyn Pieces>,
    request_id: &[u8],
    idempotency: Option<&str>,
    foreign: Option<&[u8]>,
) {
    out.extend_from_slice(method.name().as_bytes());
    out.push(b' ');
    let target = out.len();
    write_path(out);
    let pair = badge.sign.query();
    if !pair.is_empty() {
        out.push(if out[target..].contains(&b'?') { b'&' } else { b'?' });
        out.extend_from_slice(pair);
    }
    let target = target..out.len();
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(vendor.base.authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    let head = request.head_bytes();
    sign(out, target, request, method, vendor, badge, body);
    let named_by_connection = request.get(Name::Connection);
    for field in &request.head.fields {
        let name = field.name_in(head);
        let passes = if foreign.is_some() { is_universal(field.name) } else { passes_up(field.name, name) };
        if !passes || is_listed(named_by_connection, name) {
            continue;
        }
        if vendor.headers.iter().any(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name)) {
            continue;
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value_in(head));
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in &vendor.headers {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(foreign.unwrap_or_default());
    if let Some(key) = idempotency {
        for part in ["idempotency-key: ", key, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    // Compressed answers could neither be checked nor counted.
    out.extend_from_slice(b"accept-encoding: identity\r\nx-client-request-id: ");
    out.extend_from_slice(request_id);
    match length {
        Length::None => {}
        Length::Sized(length) => {
            out.extend_from_slice(b"\r\ncontent-length: ");
            crate::accept::push_number(out, length);
        }
        Length::Chunked => out.extend_from_slice(b"\r\ntransfer-encoding: chunked"),
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the fields that tell the vendor who pays.
fn sign(
    out: &mut Vec<u8>,
    target: Range<usize>,
    request: &Request,
    method: Method,
    vendor: &Vendor,
    badge: &Badge,
    body: Option<&dyn Pieces>,
) {
    let own_type = vendor.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let unsigned = Unsigned {
        method: method.name(),
        target,
        authority: vendor.base.authority.as_bytes(),
        content_type: own_type.map(|(_, value)| value.as_bytes()).or_else(|| request.get(Name::ContentType)),
        body,
        // Of this attempt: the request may have begun long ago.
        wall_seconds: clock::wall_at(clock::coarse_ms() * 1_000_000) / 1_000_000_000,
    };
    badge.sign.fields(&unsigned, out);
}

/// What means the same in every language.
fn is_universal(name: Name) -> bool {
    matches!(name, Name::ContentType | Name::TraceParent)
}

/// Everything but credentials, what concerns one connection, cookies, and what tells of the way here.
fn passes_up(name: Name, text: &[u8]) -> bool {
    match name {
        Name::ContentType | Name::Accept | Name::AnthropicVersion | Name::TraceParent => true,
        Name::Other if text.contains(&b'_') => {
            // Many servers read `_` as `-`.
            let plain: Vec<u8> = text.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
            http1::classify_name(&plain) == Name::Other && is_harmless(&plain)
        }
        Name::Other => is_harmless(text),
        _ => false,
    }
}

fn is_harmless(text: &[u8]) -> bool {
    // Nearly every field there is: those of SDKs, and whatever starts like no denied one.
    let first = text.first().map_or(0, |byte| (byte | 0x20).wrapping_sub(b'a'));
    if first >= 26 || FIRST_LETTERS >> first & 1 == 0 || is_prefixed(text, b"x-stainless-") {
        return true;
    }
    !DENIED_PREFIXES.iter().any(|prefix| is_prefixed(text, prefix))
        && !DENIED.iter().any(|name| text.eq_ignore_ascii_case(name))
}

fn is_prefixed(text: &[u8], prefix: &[u8]) -> bool {
    text.len() > prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// One bit a letter.
const FIRST_LETTERS: u32 = first_letters(DENIED_PREFIXES) | first_letters(DENIED);

const fn first_letters(names: &[&[u8]]) -> u32 {
    let (mut letters, mut place) = (0, 0);
    while place < names.len() {
        letters |= 1 << (names[place][0] - b'a');
        place += 1;
    }
    letters
}

/// Ours; the way here; accounts and identities of Google's front ends; Amazon's signatures; methods in disguise.
const DENIED_PREFIXES: &[&[u8]] =
    &[b"x-weir-", b"x-forwarded-", b"x-goog-iam-", b"x-goog-authenticated-", b"x-amz-", b"x-http-"];

const DENIED: &[&[u8]] = &[
    b"x-client-request-id",
    // An account of the operator's at the vendor.
    b"openai-organization",
    b"openai-project",
    b"x-goog-user-project",
    // Credentials by other names.
    b"cookie2",
    b"x-auth-token",
    b"x-access-token",
    b"ocp-apim-subscription-key",
    // Where the caller is.
    b"true-client-ip",
    b"cf-connecting-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-originating-ip",
    b"x-remote-ip",
    b"x-remote-addr",
    // Another method, another path.
    b"x-method-override",
    b"x-original-url",
    b"x-original-uri",
    b"x-original-host",
    b"x-rewrite-url",
    // A part of an answer, or none at all: nobody could count that.
    b"range",
    b"if-range",
    b"if-match",
    b"if-none-match",
    b"if-modified-since",
    b"if-unmodified-since",
];

fn is_listed(connection: Option<&[u8]>, name: &[u8]) -> bool {
    connection
        .is_some_and(|list| list.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_denied_however_it_is_written() {
        for name in DENIED {
            let text = std::str::from_utf8(name).unwrap();
            for written in [text.to_owned(), text.to_uppercase(), text.replace('-', "_")] {
                assert!(!passes_up(http1::classify_name(written.as_bytes()), written.as_bytes()), "{written}");
            }
        }
        for prefix in DENIED_PREFIXES {
            let name = [*prefix, b"anything"].concat();
            assert!(!passes_up(Name::Other, &name) && !passes_up(Name::Other, &name.to_ascii_uppercase()));
        }
        for name in ["X_Api_Key", "cookie", "x_forwarded_for", "Authorization"] {
            assert!(!passes_up(http1::classify_name(name.as_bytes()), name.as_bytes()), "{name}");
        }
        for name in
            ["user-agent", "anthropic-beta", "x-stainless-lang", "x-title", "x_own", "openai-beta", "~", "range-x"]
        {
            assert!(passes_up(http1::classify_name(name.as_bytes()), name.as_bytes()), "{name}");
        }
    }
}
