//! Header fields that answers carry, and what is answered without a key.

use weir_shared::catalog::Dialect;
use weir_shared::fault::Code;
use weir_shared::policy::limit::Left;
use weir_shared::snapshot::Key;

use super::{Done, Scene};
use crate::accept::{Head, Request, Sink};
use crate::clock;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::wire::http1::{Framing, Method, Name};

/// `/` (some programs look there first) and preflights of browsers.
pub async fn without_key(scene: &Scene<'_>, request: &Request, sink: &mut Sink<'_>) -> Option<Done> {
    let method = request.head.method;
    let answered = |status| Done::Answered { status, code: None, outcome: None, bill: None };
    if method == Method::Options {
        if request.head.framing != Framing::None {
            sink.close_after();
        }
        let mut head = Head::new(204);
        identity(&mut head, scene.dialect, scene.request_text);
        if cors(&mut head, request, scene.live) {
            head.field(b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS");
            let wanted = request.get(Name::AccessControlRequestHeaders).unwrap_or(b"authorization, content-type");
            head.field(b"access-control-allow-headers", wanted);
            head.field(b"access-control-max-age", b"86400");
        }
        let sent = sink.answer(head, b"").await;
        return Some(if sent.is_ok() { answered(204) } else { Done::Gone(None) });
    }
    if matches!(method, Method::Get | Method::Head) && request.target() == b"/" && request.head.framing == Framing::None
    {
        let mut head = Head::new(200);
        head.field(b"content-type", b"application/json");
        identity(&mut head, scene.dialect, scene.request_text);
        let sent = sink.answer(head, b"{\"service\":\"weir\"}").await;
        return Some(if sent.is_ok() { answered(200) } else { Done::Gone(None) });
    }
    None
}

/// A count that no vendor was asked for, and says so.
pub async fn guessed(scene: &Scene<'_>, request: &Request, sink: &mut Sink<'_>, body: &[u8]) -> Result<Done, Refusal> {
    let mut head = Head::new(200);
    head.field(b"content-type", b"application/json");
    head.field(b"x-weir-estimated", b"true");
    identity(&mut head, scene.dialect, scene.request_text);
    cors(&mut head, request, scene.live);
    match sink.answer(head, body).await {
        Ok(()) => Ok(Done::Answered { status: 200, code: None, outcome: None, bill: None }),
        Err(_) => Ok(Done::Gone(None)),
    }
}

/// The gateway's own id of the request, under the names that callers' SDKs look for.
pub fn identity(head: &mut Head, dialect: Dialect, id: &str) {
    head.field(b"x-request-id", id.as_bytes());
    let own: Option<&[u8]> = match dialect {
        Dialect::Anthropic => Some(b"request-id"),
        Dialect::Bedrock => Some(b"x-amzn-requestid"),
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere => None,
    };
    own.into_iter().for_each(|name| _ = head.field(name, id.as_bytes()));
}

/// Browsers may read the answer when the operator allows their origin.
pub fn cors(head: &mut Head, request: &Request, live: &Live) -> bool {
    let Some(origin) = request.get(Name::Origin) else { return false };
    let origins = &live.snapshot.catalog.gateway.cors_origins;
    if !origins.iter().any(|allowed| &**allowed == "*" || allowed.as_bytes() == origin) {
        return false;
    }
    head.field(b"access-control-allow-origin", origin);
    head.field(b"vary", b"origin");
    head.field(b"access-control-expose-headers", b"x-request-id, x-weir-cost, retry-after");
    true
}

/// How much of the key's limits is left, in the manner of the dialect's vendor.
pub fn limits(head: &mut Head, dialect: Dialect, key: &Key) {
    if key.limits.requests.is_none() && key.limits.tokens.is_none() {
        return;
    }
    let now = clock::now();
    let requests = key.state.get().requests_left(&key.limits, now);
    let tokens = key.state.get().tokens_left(&key.limits, now);
    for (left, word) in [(requests, "requests"), (tokens, "tokens")] {
        let Some(left) = left else { continue };
        match dialect {
            Dialect::OpenAi => openai_limit(head, word, left),
            Dialect::Anthropic => anthropic_limit(head, word, left),
            // The others tell nothing of the kind.
            Dialect::Gemini | Dialect::Cohere | Dialect::Bedrock => {}
        }
    }
}

fn openai_limit(head: &mut Head, word: &str, left: Left) {
    head.number(format!("x-ratelimit-limit-{word}").as_bytes(), left.limit);
    head.number(format!("x-ratelimit-remaining-{word}").as_bytes(), left.remaining);
    let millis = left.full_in.div_ceil(1_000_000);
    let reset = match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{}.{:03}s", millis / 1_000, millis % 1_000),
        _ => format!("{}m{}s", millis / 60_000, millis / 1_000 % 60),
    };
    head.field(format!("x-ratelimit-reset-{word}").as_bytes(), reset.as_bytes());
}

fn anthropic_limit(head: &mut Head, word: &str, left: Left) {
    head.number(format!("anthropic-ratelimit-{word}-limit").as_bytes(), left.limit);
    head.number(format!("anthropic-ratelimit-{word}-remaining").as_bytes(), left.remaining);
    let reset = clock::rfc3339(clock::wall_seconds() + left.full_in.div_ceil(1_000_000_000));
    head.field(format!("anthropic-ratelimit-{word}-reset").as_bytes(), reset.as_bytes());
}

/// Where the caller really is: the last hop that a trusted proxy tells of.
pub fn client_address(request: &Request, peer: std::net::IpAddr, live: &Live) -> std::net::IpAddr {
    let trusted = |address| live.snapshot.catalog.gateway.trusts(address);
    if !trusted(peer) {
        return peer;
    }
    // Some proxies add to the last line, some add a line: all lines are one list, and what a caller wrote is at its front.
    let head = request.head_bytes();
    let lines = request.head.fields.iter().rev().filter(|field| field.name == Name::XForwardedFor);
    let hops = lines
        .flat_map(|field| std::str::from_utf8(field.value_in(head)).unwrap_or("?").rsplit(','))
        .map_while(|hop| hop.trim().parse().ok());
    // From the nearest hop outwards: the first that is not one of ours.
    let mut farthest = peer;
    for hop in hops {
        farthest = hop;
        if !trusted(hop) {
            break;
        }
    }
    farthest
}

/// The trace of `traceparent: 00-<trace>-<span>-<flags>`; 0 when there is none.
pub fn trace_id(request: &Request) -> u128 {
    let Some(value) = request.get(Name::TraceParent) else { return 0 };
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split('-')
        .nth(1)
        .filter(|trace| trace.len() == 32)
        .and_then(|trace| u128::from_str_radix(trace, 16).ok())
        .unwrap_or(0)
}

/// A declared length is judged before a byte of the body is read, and before `100 Continue`.
pub fn check_length(request: &Request, limit: u64) -> Result<(), Refusal> {
    match request.head.framing {
        Framing::Sized(length) if length > limit => Err(Refusal::plain(Code::BodyTooLarge).closing()),
        _ => Ok(()),
    }
}
