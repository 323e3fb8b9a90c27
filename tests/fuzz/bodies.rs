//! What is fuzzed, as plain functions: `suite/fuzz.rs` runs them on stable over seeds and seeded random changes of them, and
//! cargo-fuzz where there is a nightly compiler. A body panics when something does not hold.

use serde::de::IgnoredAny;
use weir::dialect::{self, Reading, Sense};
use weir::wire::chunked::{Decoded, Decoder};
use weir::wire::eventstream;
use weir::wire::http1::{self, Method, Progress};
use weir::wire::json;
use weir::wire::multipart::{Found, Walker};
use weir::wire::proxy::{self, Said};
use weir::wire::sse::{Event, Framer};
use weir::wire::template::Template;
use weir::{parse, seal};
use weir_shared::key::{Fingerprint, Pepper};
use weir_shared::ledger::{HEADER_BYTES, Records};
use weir_shared::money::Rate;
use weir_shared::policy::size::JSON_DEPTH_MAX;
use weir_shared::usage::Unit;
use weirbench::grammar;
use weirctl::pricelist;

pub struct Body {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: &'static [&'static str],
}

/// A list of things is a list: a new body is one line here, and one file in `fuzz_targets`.
pub const ALL: &[Body] = &[
    Body { name: "request_head", run: request_head, seeds: HEADS },
    Body { name: "answer_head", run: answer_head, seeds: ANSWERS },
    Body { name: "chunked", run: chunked, seeds: CHUNKS },
    Body { name: "proxy", run: proxy, seeds: PROXIES },
    Body { name: "forms", run: forms, seeds: FORMS },
    Body { name: "sse", run: sse, seeds: STREAMS },
    Body { name: "eventstream", run: eventstream, seeds: STREAMS },
    Body { name: "json_like_serde", run: json_like_serde, seeds: DOCUMENTS },
    Body { name: "json_views", run: json_views, seeds: DOCUMENTS },
    Body { name: "languages", run: languages, seeds: DOCUMENTS },
    Body { name: "streams", run: streams, seeds: STREAMS },
    Body { name: "templates", run: templates, seeds: STREAMS },
    Body { name: "calls", run: calls, seeds: CALLS },
    Body { name: "routes", run: routes, seeds: PATHS },
    Body { name: "keys", run: keys, seeds: KEYS },
    Body { name: "sealed_ids", run: sealed_ids, seeds: KEYS },
    Body { name: "journal", run: journal, seeds: &["WEIRJRN1\u{1}\0\0\0", ""] },
    Body {
        name: "prices",
        run: prices,
        seeds: &["0.15", "10", "0.000001", "1e3", ".5", "-1", "18446744073709.551615"],
    },
    Body { name: "price_lists", run: price_lists, seeds: PRICE_LISTS },
];

/// A head that grows byte by byte is judged at the first moment at which it can be, and like the whole.
pub fn request_head(data: &[u8]) {
    let whole = http1::request(data, &mut Progress::default());
    let mut progress = Progress::default();
    for end in (0..=data.len()).step_by(1 + data.len() / 64).chain([data.len()]) {
        let step = http1::request(&data[..end], &mut progress);
        if !matches!(step, Ok(None)) {
            assert_eq!(format!("{step:?}"), format!("{whole:?}"), "cut at {end}");
            break;
        }
    }
    if let Ok(Some(head)) = whole {
        assert!(head.bytes <= data.len());
        for field in &head.fields {
            let (name, value) = (field.name_in(data), field.value_in(data));
            assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic));
            assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
        }
    }
}

/// Cut anywhere it asks for more, never for more than the header has, and says the same in the end.
pub fn proxy(data: &[u8]) {
    let whole = proxy::read(data);
    for end in 0..data.len() {
        match (proxy::read(&data[..end]), &whole) {
            (Ok(Said::More(more)), Ok(Said::Here { bytes, .. })) => assert!(more > 0 && end + more <= *bytes),
            (Ok(Said::More(more)), _) => assert!(more > 0),
            (step, _) => {
                assert_eq!(step, whole, "cut at {end}");
                break;
            }
        }
    }
    if let Ok(Said::Here { bytes, .. }) = whole {
        assert!((16..=data.len()).contains(&bytes));
    }
}

/// A form that comes in pieces is the form that comes at once; what is found lies within it, in order.
pub fn forms(data: &[u8]) {
    let found = |piece: usize| {
        let mut walker = Walker::of_content_type(b"multipart/form-data; boundary=B").expect("a form");
        let mut all = Vec::new();
        let outcome = data.chunks(piece.max(1)).try_for_each(|part| walker.walk(part, |found| all.push(found)));
        (outcome, all)
    };
    let whole = found(data.len());
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(found(piece), whole, "pieces of {piece}");
    }
    let mut at = 0;
    for place in whole.1.iter().map(|found| match found {
        Found::Field { value_at, .. } => *value_at,
        Found::End { value_end } => *value_end,
    }) {
        // An empty value ends before it begins: its delimiter shares the line end.
        assert!(place + 2 >= at && place <= data.len());
        at = place;
    }
}

pub fn answer_head(data: &[u8]) {
    for to_head in [false, true] {
        let whole = http1::answer(data, &mut Progress::default(), to_head);
        let mut progress = Progress::default();
        for end in (0..=data.len()).step_by(1 + data.len() / 64).chain([data.len()]) {
            let step = http1::answer(&data[..end], &mut progress, to_head);
            if !matches!(step, Ok(None)) {
                assert_eq!(format!("{step:?}"), format!("{whole:?}"), "cut at {end}");
                break;
            }
        }
    }
}

pub fn chunked(data: &[u8]) {
    let decode = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = Decoder::default();
        let mut payload = Vec::new();
        let mut consumed = 0;
        for piece in pieces {
            let mut piece = piece.to_vec();
            let Ok(Decoded { payload: length, consumed: taken, .. }) = decoder.decode(&mut piece) else { return None };
            payload.extend_from_slice(&piece[..length]);
            consumed += taken;
            if decoder.is_done() {
                break;
            }
        }
        Some((payload, consumed, decoder.is_done()))
    };
    let whole = decode(&mut std::iter::once(data));
    for size in [1, 2, 5, 17] {
        let cut = decode(&mut data.chunks(size));
        // What comes behind the end may be broken: who reads it whole sees that earlier.
        if whole.is_some() {
            assert_eq!(cut, whole, "pieces of {size}");
        }
    }
}

/// An event as it was framed: its place, its name, its data, and how many lines of data it had.
type Framed = (usize, usize, Vec<u8>, Vec<u8>, u32);

fn events(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<Framed>, usize) {
    let mut framer = Framer::default();
    let mut bytes = Vec::new();
    let mut found = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(piece);
        while let Some(event) = framer.next(&bytes) {
            let Event { whole, name, data_lines, .. } = event;
            let data = if data_lines > 1 { event.join(&bytes) } else { event.data.of(&bytes).to_vec() };
            found.push((whole.at, whole.len, name.of(&bytes).to_vec(), data, data_lines));
        }
    }
    (found, framer.unfinished())
}

/// Any cut gives the same events; together with the unfinished rest they are the whole stream.
pub fn sse(data: &[u8]) {
    let (whole, unfinished) = events(&mut std::iter::once(data));
    let mut at = 0;
    for (start, length, ..) in &whole {
        assert_eq!(*start, at, "a gap between events");
        at += length;
    }
    assert!(unfinished <= data.len());
    // A CR at a border may belong to an LF that has not come: then the LF opens the next event instead of closing this one.
    let said = |events: &[Framed]| {
        events.iter().filter(|event| event.4 > 0).map(|event| (event.2.clone(), event.3.clone())).collect::<Vec<_>>()
    };
    for size in [1, 3, 7, 64] {
        let (cut, _) = events(&mut data.chunks(size));
        assert_eq!(said(&cut), said(&whole), "pieces of {size}");
    }
}

/// Frames stand side by side, any cut gives the same ones, and what is written reads back. Checksums keep nearly everything
/// else out, so the same bytes are also the payload of a good frame and the headers of one.
pub fn eventstream(data: &[u8]) {
    let frames = |bytes: &[u8], size: usize| {
        let mut framer = eventstream::Framer::default();
        let (mut held, mut found) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            held.extend_from_slice(piece);
            loop {
                match framer.next(&held) {
                    Ok(Some(frame)) => found.push((frame, frame.payload.of(&held).to_vec())),
                    Ok(None) => break,
                    Err(fault) => return (found, framer.unfinished(), Some(fault)),
                }
            }
        }
        (found, framer.unfinished(), None)
    };
    let mut written = Vec::new();
    for name in ["contentBlockDelta", ""] {
        let frame = eventstream::Open::event(&mut written, name);
        written.extend_from_slice(data);
        assert!(frame.close(&mut written), "a payload that fits is taken back");
    }
    let (back, end, fault) = frames(&written, written.len());
    assert!(back.len() == 2 && back.iter().all(|(_, payload)| payload == data) && end == written.len(), "{fault:?}");
    written.extend_from_slice(data);
    for bytes in [data, &written] {
        let whole = frames(bytes, bytes.len().max(1));
        let mut at = 0;
        for (frame, _) in &whole.0 {
            assert_eq!(frame.whole.at, at, "a gap between frames");
            at += frame.whole.len;
        }
        for size in [1, 3, 7, 64] {
            assert_eq!(frames(bytes, size), whole, "pieces of {size}");
        }
    }
    let headers = eventstream::Headers::of(data).take_while(|header| header.is_ok()).count();
    assert!(headers <= data.len());
}

/// Ours and serde_json's idea of JSON are one, up to the depth that we allow.
pub fn json_like_serde(data: &[u8]) {
    let ours = json::validate(data);
    if depth(data) > JSON_DEPTH_MAX {
        return;
    }
    let theirs = std::str::from_utf8(data).is_ok() && serde_json::from_slice::<IgnoredAny>(data).is_ok();
    assert_eq!(ours.is_ok(), theirs, "{ours:?}");
    if let Err(fault) = ours {
        assert!(fault.at <= data.len());
    }
}

/// The deepest nesting, strings left out.
fn depth(data: &[u8]) -> usize {
    let (mut now, mut most, mut string, mut escaped) = (0usize, 0, false, false);
    for byte in data {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What looks into a document that was validated sees what serde_json sees.
pub fn json_views(data: &[u8]) {
    if json::validate(data).is_err() {
        return;
    }
    for (key, value) in json::members(data) {
        let _ = (json::text(value), json::integer(value), json::key_is(key, "model"), json::elements(value).count());
    }
    let _ = (json::text(data), json::integer(data), json::is_empty_array(data), json::dig(data, &["a", "b"]));
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    if let Some(object) = value.as_object() {
        let seen = json::members(data).count();
        assert!(seen >= object.len(), "{seen} members of {}", object.len());
    }
    if let Some(array) = value.as_array() {
        assert_eq!(json::elements(data).count(), array.len());
    }
    if let Some(text) = value.as_str() {
        let trimmed = data.trim_ascii();
        assert_eq!(json::text(trimmed).as_deref(), Some(text));
        let mut again = vec![b'"'];
        json::escape_into(&mut again, text);
        again.push(b'"');
        assert_eq!(serde_json::from_slice::<String>(&again).ok().as_deref(), Some(text));
    }
}

/// No document makes a reader panic, and what one accepts is JSON.
pub fn languages(data: &[u8]) {
    for language in dialect::ALL {
        let mut reading = Reading::default();
        let accepted = language.read_answer(data, &mut reading).is_ok();
        assert!(!accepted || json::validate(data).is_ok(), "{}", language.name());
        let mut reading = Reading::default();
        let sense = language.read_event(b"", data, &mut reading);
        let is_end = matches!(sense, Ok(Sense::End));
        assert!(is_end || sense.is_err() || json::validate(data).is_ok(), "{}", language.name());
        if let Some(usage) = reading.usage {
            let _ = usage.prompt_tokens() + usage.answer_tokens();
        }
    }
}

/// The two readers of streams agree about what is finished; neither panics.
pub fn streams(data: &[u8]) {
    for (dialect, name) in [
        (grammar::Dialect::OpenAiChat, "openai_chat"),
        (grammar::Dialect::OpenAiResponses, "openai_responses"),
        (grammar::Dialect::Anthropic, "anthropic"),
        (grammar::Dialect::Gemini, "gemini"),
    ] {
        let Some(language) = dialect::ALL.iter().find(|language| language.name() == name) else { continue };
        let judged = grammar::check(dialect, data);
        let mut reading = Reading::default();
        let mut accepted = true;
        for (_, _, event, data, lines) in events(&mut std::iter::once(data)).0 {
            if lines > 0 {
                match language.read_event(&event, &data, &mut reading) {
                    Ok(Sense::Failed) => reading.failed = true,
                    Ok(Sense::End) => reading.ended = true,
                    Ok(_) => {}
                    Err(_) => accepted = false,
                }
            }
        }
        if let Ok(judged) = judged {
            assert!(accepted, "{name}: a legal stream is refused");
            let failed = matches!(judged.end, grammar::End::Error { .. });
            assert!(!failed || reading.failed, "{name}: an error is not seen");
            assert!(failed || reading.finished || reading.ended, "{name}: the end is not seen");
        }
    }
}

/// Whatever a template recognises, the slow reader finds legal, of the same length, plain, and with as much output.
pub fn templates(data: &[u8]) {
    let Some(language) = dialect::ALL.first() else { return };
    let (found, _) = events(&mut std::iter::once(data));
    let bytes = |event: &Framed| &data[event.0..event.0 + event.1];
    for pair in found.windows(2) {
        let (before, now) = (bytes(&pair[0]), bytes(&pair[1]));
        let plain = |event: &Framed| {
            event.4 == 1 && matches!(language.read_event(&event.2, &event.3, &mut Reading::default()), Ok(Sense::Plain))
        };
        if !plain(&pair[0]) || !plain(&pair[1]) {
            continue;
        }
        let Some(data_at) = memchr::memmem::find(now, &pair[1].3) else { continue };
        let Some(template) = Template::learn(before, now, data_at, pair[1].3.len()) else { continue };
        for at in found.iter().map(|event| event.0).chain([0, data.len() / 2]) {
            let Some(recognised) = template.recognise(&data[at..]) else { continue };
            let event = &data[at..at + recognised.bytes];
            let (framed, rest) = events(&mut std::iter::once(event));
            assert_eq!((framed.len(), rest), (1, event.len()), "not exactly one event");
            let mut reading = Reading::default();
            let sense = language.read_event(&framed[0].2, &framed[0].3, &mut reading);
            assert!(matches!(sense, Ok(Sense::Plain)), "{sense:?}");
            assert_eq!(reading.output_bytes, recognised.output_bytes as u64);
        }
    }
}

/// A body that is accepted is sent on as JSON, with the vendor's name of the model and everything else as it was.
pub fn calls(data: &[u8]) {
    for path in [&b"/v1/chat/completions"[..], b"/v1/responses", b"/v1/messages", b"/v1/batches"] {
        let Ok(route) = parse::route(Method::Post, path) else { panic!("a route") };
        let Ok(call) = parse::call(&route, data, b"") else { continue };
        let splices = parse::splices(&route, &call, "the-vendor's-name", data);
        let mut sent = Vec::new();
        splices.apply(data, &mut sent);
        assert_eq!(sent.len(), splices.length(data.len()));
        assert!(json::validate(&sent).is_ok(), "{}", String::from_utf8_lossy(&sent));
        if call.places.model.is_some() {
            let model = json::get(&sent, "model").and_then(json::text);
            let escaped = model.is_none();
            assert!(escaped || model.as_deref() == Some("the-vendor's-name"), "{model:?}");
        }
        // Whatever a reader takes for the model, it is the one that was authorised.
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&sent)
            && call.places.model.is_some()
        {
            assert_eq!(value["model"], "the-vendor's-name");
        }
    }
}

pub fn routes(data: &[u8]) {
    let (path, query) = parse::split_target(data);
    for method in [Method::Get, Method::Post, Method::Delete] {
        if let Ok(route) = parse::route(method, path) {
            let mut sent = Vec::new();
            parse::upstream_path(&route, "/v1", "model", "id", query, &mut sent);
            assert!(sent.starts_with(b"/v1/"));
            let inside = |byte: &u8| !byte.is_ascii_graphic();
            assert!(!path.iter().any(inside) || !sent.iter().any(|byte| matches!(byte, b' ' | b'\r' | b'\n' | 0)));
            // What is behind the question mark is the vendor's to judge.
            let path = sent.split(|byte| *byte == b'?').next().unwrap_or_default();
            assert!(!path.windows(3).any(|window| window == b"../"), "{}", String::from_utf8_lossy(path));
        }
    }
}

pub fn keys(data: &[u8]) {
    if Fingerprint::of(data, &Pepper([1; 32])).is_some() {
        let text = std::str::from_utf8(data).expect("a key is text");
        assert!(text.starts_with("weir-") && text.len() == weir_shared::key::TEXT_BYTES);
    }
}

pub fn sealed_ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_eq!(seal::open(&[7; 32], "tenant", text), None, "somebody has guessed a seal");
    if let Some(sealed) = seal::seal(&[7; 32], "tenant", "vendor", "credential", text) {
        assert_eq!(seal::open(&[7; 32], "tenant", &sealed).map(|opened| opened.id).as_deref(), Some(text));
        assert_eq!(seal::open(&[7; 32], "other", &sealed), None);
    }
}

/// Recovery gives the longest good prefix and never panics.
pub fn journal(data: &[u8]) {
    let Ok((_, mut records)) = Records::open(data) else { return };
    let mut count = 0u64;
    while let Some(Ok(record)) = records.next() {
        count += 1;
        assert!(record.attempts.len() < 1_000);
    }
    assert!(records.position() >= HEADER_BYTES && records.position() <= data.len().max(HEADER_BYTES));
    assert!(count <= data.len() as u64 / 100);
}

/// A list is refused as a whole, or each entry is believed or left out with a reason; what is believed can be written into a
/// folder: names of visible ASCII, figures within their bounds that read back as they were.
pub fn price_lists(data: &[u8]) {
    let Ok(listing) = pricelist::read(data) else { return };
    for entry in listing.entries {
        let Ok(said) = entry.said else { continue };
        assert!(entry.id.bytes().chain(entry.vendor.bytes()).all(|byte| byte.is_ascii_graphic()));
        for (class, pico) in said.prices.values().flatten() {
            assert!((1..=pricelist::figure::most(*class)).contains(pico));
            let text = pricelist::figure::dollars(*class, *pico);
            let read = match class.unit() {
                Unit::One => Rate::per_unit(&text),
                Unit::MillionTokens | Unit::MillionCharacters => Rate::per_million(&text),
            };
            assert_eq!(read, Ok(Rate(*pico)), "{text}");
        }
    }
    // A number alone, against the only other reader of decimals that there is.
    if let Ok(text) = std::str::from_utf8(data)
        && let (Ok(found), Ok(same)) = (pricelist::figure::scaled(text, 6, u64::MAX / 16), Rate::per_million(text))
    {
        assert_eq!((Rate(found.units), found.rounded), (same, false), "{text}");
    }
}

/// A price is read exactly, or not at all.
pub fn prices(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(rate) = Rate::per_million(text) else { return };
    // Micro-dollars: six digits behind the point, all the others are zero.
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    assert!(fraction.len() <= 6, "{text} is not exact");
    let expected = format!("{whole}{fraction:0<6}");
    assert_eq!(expected.trim_start_matches('0'), rate.0.to_string().trim_start_matches('0'), "{text}");
}

const HEADS: &[&str] = &[
    "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nConnection: close, x\r\n\r\n{",
    "\r\nGET / HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    "GET http://a/b HTTP/1.1\r\nHost: [::1]\r\nX: \t y \r\n\r\n",
];
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
];
const CHUNKS: &[&str] =
    &["5\r\nhello\r\n0\r\n\r\n", "A;x=\"y\"\r\n0123456789\r\n000\r\nT: x\r\n\r\nGET", "1\r\na\r\n1\r\nb\r\n0\r\n\r\n"];
const STREAMS: &[&str] = &[
    "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yy\"},\"finish_reason\":null}]}\n\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"x\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\r\n\r\nevent: content_block_start\r\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\r\n\r\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"bc\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}],\"role\":\"model\"},\"index\":0,\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":\"ho\",\"logProbability\":-1.5}]}],\"chosenCandidates\":[{\"token\":\"hi\",\"tokenId\":7,\"logProbability\":-0.5}]}}]}\r\n\r\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"m\"}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"hi\",\"logprobs\":[{\"token\":\"hi\",\"logprob\":-0.5,\"top_logprobs\":[]}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"logprobs\":{\"content\":[{\"token\":\"h\\u00e9\",\"logprob\":-0.5,\"bytes\":null,\"top_logprobs\":[{\"token\":\"x\",\"logprob\":-9999.0,\"bytes\":[120]}]}]},\"finish_reason\":null}]}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}],\"role\":\"model\"},\"index\":0}]}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2,\"totalTokenCount\":3}}\r\n\r\n",
    "\u{feff}: comment\rid: 7\rretry: 1\rdata:a\rdata: b\r\rdata\n\nevent\n\n",
];
const DOCUMENTS: &[&str] = &[
    r#"{"a":[1,-0.5e+3,true,false,null,"\u00e9\n\\"],"b":{"c":{}},"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3}}"#,
    r#"[{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"thoughtsTokenCount":4}}]"#,
    r#"{"type":"response.completed","sequence_number":3,"response":{"id":"resp_1","usage":{"input_tokens":1,"output_tokens":2}}}"#,
    r#""a string \ud83d\ude00 é""#,
    "[DONE]",
    " [ ] ",
];
const CALLS: &[&str] = &[
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":false}}"#,
    r#" { "stream" : true , "model" : "a\u0062" , "stream_options" : { } , "n" : 2 , "max_tokens" : 5 } "#,
    r#"{"model":"m","input":"x","previous_response_id":"resp_w1abc","stream_options":null,"stream":true}"#,
    r#"{"input_file_id":"file-w1abc"}"#,
];
const PATHS: &[&str] = &[
    "/v1/chat/completions?beta=true&key=x",
    "/v1beta/models/a%2Fb:streamGenerateContent?alt=sse",
    "/v1/files/file-w1abc/content",
    "//models//x%3AgenerateContent",
];
const KEYS: &[&str] = &[
    "weir-aaaaaaaa-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "file-w1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "resp_w1_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-",
    "batch_abc",
];

const PROXIES: &[&str] = &[
    "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x01\x02\x03\x04\x0a\0\0\x01\x01\x01\x01\x02GET / HTTP/1.1\r\n",
    "\r\n\r\n\0\r\nQUIT\n!!\0\x240123456789abcdef0123456789abcdef\x01\x01\x01\x02",
    "\r\n\r\n\0\r\nQUIT\n \0\0\0",
    "\r\n\r\n\0\r\nQUIT\n!\0\0\x03\x04\0\0",
    "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
];

const FORMS: &[&str] = &[
    "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--B--\r\n",
    "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: x/y\r\n\r\n--A\r\n--\r\n\r\n--B--",
    "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n--B--\r\nmore",
];

const PRICE_LISTS: &[&str] =
    &[include_str!("../lists/litellm.json"), include_str!("../lists/models_dev.json"), "0.15", "12.000001"];
