//! How a vendor shall behave, told in the path: `/~k=v,k=v/v1/…`. The list of words is data; help and README print it.

use std::time::Duration;

/// One behaviour, parsed. `Scenario::default()` is a healthy vendor.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub events: u32,
    pub text: u32,
    pub pace: Duration,
    pub batch: u32,
    pub ttfb: Duration,
    pub connclose: bool,
    pub staleclose: bool,
    pub frame: Frame,
    pub eol: Option<Eol>,
    pub style: Style,
    pub answer: Answer,
    pub utf8: bool,
    pub echo: bool,
    pub unique: bool,
    pub id_prefix: String,
    pub usage: UsageStyle,
    pub tokens_in: u64,
    pub tokens_out: Option<u64>,
    pub tokens_cached: u64,
    pub tokens_cache_write: u64,
    pub tokens_reasoning: u64,
    pub cache: bool,
    pub done: Done,
    pub finish: bool,
    pub length: bool,
    pub error: Option<u16>,
    pub error_for: Option<String>,
    pub retry_after: Option<String>,
    pub quota: Option<Quota>,
    pub auth: Option<String>,
    pub faults: Vec<Fault>,
    pub fault_for: Option<String>,
    pub first: Option<u64>,
    pub every: Option<u64>,
    pub reused: bool,
    pub early: bool,
    pub strict: bool,
    pub plan: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            events: 16,
            text: 0,
            pace: Duration::ZERO,
            batch: 1,
            ttfb: Duration::ZERO,
            connclose: false,
            staleclose: false,
            frame: Frame::Chunked,
            eol: None,
            style: Style::Plain,
            answer: Answer::Text,
            utf8: false,
            echo: false,
            unique: false,
            id_prefix: String::new(),
            usage: UsageStyle::Honest,
            tokens_in: 24,
            tokens_out: None,
            tokens_cached: 0,
            tokens_cache_write: 0,
            tokens_reasoning: 0,
            cache: false,
            done: Done::Once,
            finish: true,
            length: false,
            error: None,
            error_for: None,
            retry_after: None,
            quota: None,
            auth: None,
            faults: Vec::new(),
            fault_for: None,
            first: None,
            every: None,
            reused: false,
            early: false,
            strict: false,
            plan: false,
        }
    }
}

/// So many requests of each credential within the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u64,
    pub window_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    Chunked,
    Length,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eol {
    Lf,
    CrLf,
    Cr,
}

impl Eol {
    pub fn text(self) -> &'static str {
        match self {
            Eol::Lf => "\n",
            Eol::CrLf => "\r\n",
            Eol::Cr => "\r",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    NoSpace,
    Comments,
    MultiLine,
    Bom,
    ByteWise,
    /// `id:` and `retry:` fields, and an `event:` where the dialect has none.
    Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Text,
    Tool,
    Tools,
    Reasoning,
    /// Thoughts, a sentence, two calls: what a step of an agent looks like.
    Agent,
    /// Text that is an object, for callers who asked for one.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageStyle {
    Honest,
    None,
    Negative,
    Text,
    Huge,
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Once,
    No,
    Twice,
    Trailing,
}

/// `stall@3`, `giant=1000000@2`, `silent=500@1`: what goes wrong, how much of it, and after how many deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub at: Option<u32>,
    pub amount: u64,
}

/// Reads the words between `~` and the next slash. The error names the word that is not known or not understood.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let Some(known) = WORDS.iter().find(|known| known.name == name) else {
            return Err(format!("scenario: unknown word `{name}`"));
        };
        (known.set)(&mut scenario, value)
            .map_err(|why| format!("scenario: `{word}`: {why}; {name}={}", known.takes))?;
    }
    Ok(scenario)
}

/// One word of the language: its name, what it takes, what it does, and how it is obeyed.
pub struct Word {
    pub name: &'static str,
    pub takes: &'static str,
    pub help: &'static str,
    set: fn(&mut Scenario, &str) -> Result<(), String>,
}

macro_rules! word {
    ($name:literal, $takes:literal, $help:literal, $set:expr) => {
        Word { name: $name, takes: $takes, help: $help, set: $set }
    };
}

pub const WORDS: &[Word] = &[
    word!(
        "name",
        "TEXT",
        "tells two scenarios with the same words apart (own counters); the words behind a name can be changed through the control socket",
        |_, _| Ok(())
    ),
    word!("events", "N", "deltas in a stream, default 16; also the words of a unary answer", |s, v| {
        s.events = number(v)?;
        within(u64::from(s.events), EVENTS_MAX)
    }),
    word!("text", "BYTES", "bytes of text in each delta (default: one word)", |s, v| {
        s.text = number(v)?;
        within(u64::from(s.text), TEXT_BYTES_MAX)
    }),
    word!("pace", "TIME", "time between two sends of a stream: 50ms, 1s", |s, v| set(&mut s.pace, span(v))),
    word!(
        "batch",
        "all|N",
        "events in one send, default 1; all = the whole stream with its head in one send",
        |s, v| {
            s.batch = if v == "all" { BATCH_ALL } else { number(v)? };
            if s.batch == 0 { Err("at least 1".into()) } else { Ok(()) }
        }
    ),
    word!("ttfb", "TIME", "silence before the first byte of the head", |s, v| set(&mut s.ttfb, span(v))),
    word!("connclose", "", "`Connection: close`, and closes after the answer", |s, _| set(&mut s.connclose, Ok(true))),
    word!(
        "staleclose",
        "",
        "closes after the answer without having said so: the pooled connection goes stale",
        |s, _| set(&mut s.staleclose, Ok(true))
    ),
    word!("frame", "chunked|length|close", "how the end of a stream's body is told", |s, v| {
        set(&mut s.frame, one_of(v, &[("chunked", Frame::Chunked), ("length", Frame::Length), ("close", Frame::Close)]))
    }),
    word!("eol", "lf|crlf|cr", "line ends of the stream (default: crlf for Gemini, else lf)", |s, v| {
        s.eol = Some(one_of(v, &[("lf", Eol::Lf), ("crlf", Eol::CrLf), ("cr", Eol::Cr)])?);
        Ok(())
    }),
    word!(
        "style",
        "plain|nospace|comments|multiline|bom|bytewise|fields",
        "legal but unusual SSE: no space after the colon, comment lines, one JSON over several data lines, a byte order mark, one byte per send, id/retry/event fields (Converse: head fields of all types)",
        |s, v| {
            set(
                &mut s.style,
                one_of(
                    v,
                    &[
                        ("plain", Style::Plain),
                        ("nospace", Style::NoSpace),
                        ("comments", Style::Comments),
                        ("multiline", Style::MultiLine),
                        ("bom", Style::Bom),
                        ("bytewise", Style::ByteWise),
                        ("fields", Style::Fields),
                    ],
                ),
            )
        }
    ),
    word!(
        "answer",
        "text|tool|tools|reasoning|agent|json",
        "what the model says: text, one tool call, two tool calls, reasoning and then text, all of it with two tool calls, or text that is an object",
        |s, v| {
            set(
                &mut s.answer,
                one_of(
                    v,
                    &[
                        ("text", Answer::Text),
                        ("tool", Answer::Tool),
                        ("tools", Answer::Tools),
                        ("reasoning", Answer::Reasoning),
                        ("agent", Answer::Agent),
                        ("json", Answer::Json),
                    ],
                ),
            )
        }
    ),
    word!("plan", "", "Cohere: says what it is going to do before it calls a tool", |s, _| set(&mut s.plan, Ok(true))),
    word!("utf8", "", "text of two, three and four byte characters", |s, _| set(&mut s.utf8, Ok(true))),
    word!("echo", "", "the text is the last message of the request instead of our own", |s, _| set(
        &mut s.echo,
        Ok(true)
    )),
    word!(
        "ids",
        "fixed|unique",
        "fixed: one id per scenario and model (cheap, the default); unique: one per answer",
        |s, v| { set(&mut s.unique, one_of(v, &[("fixed", false), ("unique", true)])) }
    ),
    word!("id_prefix", "TEXT", "every id of an answer starts with it", |s, v| {
        s.id_prefix = v.to_owned();
        within(v.len() as u64, 64)
    }),
    word!(
        "usage",
        "honest|none|negative|string|huge|late",
        "token counts: left out, below zero, in quotes, beyond 64 bits, or half a second after the finish",
        |s, v| {
            set(
                &mut s.usage,
                one_of(
                    v,
                    &[
                        ("honest", UsageStyle::Honest),
                        ("none", UsageStyle::None),
                        ("negative", UsageStyle::Negative),
                        ("string", UsageStyle::Text),
                        ("huge", UsageStyle::Huge),
                        ("late", UsageStyle::Late),
                    ],
                ),
            )
        }
    ),
    word!("tokens_in", "N", "prompt tokens that were not cached, default 24", |s, v| set(&mut s.tokens_in, number(v))),
    word!("tokens_out", "N", "completion tokens with reasoning, default: one per delta", |s, v| {
        s.tokens_out = Some(number(v)?);
        Ok(())
    }),
    word!("tokens_cached", "N", "prompt tokens read from the cache, default 0", |s, v| set(
        &mut s.tokens_cached,
        number(v)
    )),
    word!("tokens_cache_write", "N", "prompt tokens written to the cache (Anthropic), default 0", |s, v| set(
        &mut s.tokens_cache_write,
        number(v)
    )),
    word!("tokens_reasoning", "N", "completion tokens spent on reasoning, default 0", |s, v| set(
        &mut s.tokens_reasoning,
        number(v)
    )),
    word!(
        "cache",
        "",
        "keeps prompts: a token for each four bytes of the messages, those that were seen before in blocks of a kilobyte counted as read from the cache",
        |s, _| set(&mut s.cache, Ok(true))
    ),
    word!(
        "done",
        "once|no|twice|trailing",
        "the last event of the dialect: as it should be, left out, twice, or followed by more data",
        |s, v| {
            set(
                &mut s.done,
                one_of(
                    v,
                    &[("once", Done::Once), ("no", Done::No), ("twice", Done::Twice), ("trailing", Done::Trailing)],
                ),
            )
        }
    ),
    word!("finish", "yes|no|length", "the finish reason: stop, left out, or cut by the length", |s, v| {
        s.length = v == "length";
        set(&mut s.finish, one_of(v, &[("yes", true), ("no", false), ("length", true)]))
    }),
    word!("error", "STATUS", "answers with this status and the vendor's error body", |s, v| {
        let status: u16 = number(v)?;
        if !(400..600).contains(&status) {
            return Err("a status from 400 to 599".into());
        }
        s.error = Some(status);
        Ok(())
    }),
    word!("error_for", "SUFFIX", "only credentials that end like this get the error (default 429)", |s, v| {
        s.error_for = Some(filled(v)?);
        Ok(())
    }),
    word!("retry_after", "SECONDS|date", "Retry-After of the error; date: an HTTP date 30 s from now", |s, v| {
        s.retry_after = Some(filled(v)?);
        Ok(())
    }),
    word!(
        "quota",
        "NinTIME",
        "takes N requests of each credential and refills steadily within TIME; says what is left, and 429 when nothing is",
        |s, v| {
            let (requests, window) = v.split_once("in").ok_or("a count and a time, like 5in2s")?;
            let quota = Quota { requests: number(requests)?, window_ms: span(window)?.as_millis() as u64 };
            if quota.requests == 0 || quota.window_ms < quota.requests || quota.window_ms > 86_400_000 {
                return Err("at least one request, and a millisecond for each".into());
            }
            s.quota = Some(quota);
            Ok(())
        }
    ),
    word!("auth", "SECRET", "demands this credential; any other is answered 401", |s, v| {
        s.auth = Some(filled(v)?);
        Ok(())
    }),
    word!(
        "fault",
        "NAME[=AMOUNT][@K]",
        "see the list of faults; @K: after K deltas; may be given several times",
        |s, v| {
            s.faults.push(fault(v)?);
            Ok(())
        }
    ),
    word!("fault_for", "SUFFIX", "only credentials that end like this meet the fault", |s, v| {
        s.fault_for = Some(filled(v)?);
        Ok(())
    }),
    word!("first", "N", "errors and faults only for the first N requests of the scenario, then healthy", |s, v| {
        s.first = Some(number(v)?);
        Ok(())
    }),
    word!("every", "N", "errors and faults only for each Nth request of the scenario", |s, v| {
        s.every = Some(number(v)?);
        if s.every == Some(0) { Err("at least 1".into()) } else { Ok(()) }
    }),
    word!("when", "reused", "errors and faults only on a connection that has already answered once", |s, v| set(
        &mut s.reused,
        one_of(v, &[("reused", true)])
    )),
    word!(
        "strict",
        "yes|no",
        "refuses with 400 what the real vendor refuses: unknown members, turns out of order, calls without results, thoughts that are not its own",
        |s, v| set(&mut s.strict, one_of(v, &[("yes", true), ("no", false)]))
    ),
    word!("early", "", "answers at the end of the head, before the body is read", |s, _| set(&mut s.early, Ok(true))),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Refuse,
    Blackhole,
    Mute,
    AcceptClose,
    Rst,
    Stall,
    Eof,
    Reset,
    BadJson,
    BadUtf8,
    BadSum,
    ErrorEvent,
    ErrorNamed,
    Html,
    Empty,
    NoContent,
    Truncate,
    ClLarge,
    ClSmall,
    ClDup,
    ClNeg,
    ClTe,
    BadChunk,
    HeadNul,
    HeadFlood,
    Head64k,
    Flood1xx,
    Early103,
    Redirect,
    Gzip,
    GzipBomb,
    GzipBroken,
    EvilHeaders,
    JsonForStream,
    Giant,
    NoLine,
    Endless,
    Silent,
    Comments,
}

/// One fault: its name, its amount where it has one, and what the gateway will see.
pub struct FaultWord {
    pub name: &'static str,
    pub kind: FaultKind,
    /// What the amount counts, and its default; empty when it takes none.
    pub amount: &'static str,
    pub amount_default: u64,
    pub help: &'static str,
}

const fn f(name: &'static str, kind: FaultKind, help: &'static str) -> FaultWord {
    FaultWord { name, kind, amount: "", amount_default: 0, help }
}

const fn fa(name: &'static str, kind: FaultKind, amount: &'static str, default: u64, help: &'static str) -> FaultWord {
    FaultWord { name, kind, amount, amount_default: default, help }
}

pub const FAULTS: &[FaultWord] = &[
    f(
        "refuse",
        FaultKind::Refuse,
        "connection refused: only through the address `refused` of the ready line or Handle::url; in a path it resets",
    ),
    f(
        "blackhole",
        FaultKind::Blackhole,
        "connect hangs: only through the address `blackhole` or Handle::url; in a path it stalls",
    ),
    f(
        "mute",
        FaultKind::Mute,
        "connects, then never a byte (also no TLS handshake): only through the address `mute` or Handle::url; in a path it stalls",
    ),
    f("accept_close", FaultKind::AcceptClose, "FIN after the request, not a byte of an answer"),
    f("rst", FaultKind::Rst, "RST after the request, not a byte of an answer"),
    f("stall", FaultKind::Stall, "says nothing more: before the head, or @K"),
    f("eof", FaultKind::Eof, "FIN: before the head, or @K in the middle of the body (the body stays unfinished)"),
    f("reset", FaultKind::Reset, "RST: before the head, or @K"),
    f(
        "badjson",
        FaultKind::BadJson,
        "unary: a body that is not JSON; stream: one event that is not JSON @K, then on as usual",
    ),
    f("badutf8", FaultKind::BadUtf8, "a body or an event @K with bytes that are not UTF-8, then on as usual"),
    f(
        "badsum",
        FaultKind::BadSum,
        "Converse: a frame @K whose checksum is wrong, then on as usual; elsewhere as badjson",
    ),
    f("errorevent", FaultKind::ErrorEvent, "the dialect's in-band error @K, then the stream ends"),
    f(
        "errornamed",
        FaultKind::ErrorNamed,
        "the same as `event: error`, as Groq sends it inside a 200, also where the dialect has no names",
    ),
    f("html", FaultKind::Html, "200 text/html"),
    f("empty", FaultKind::Empty, "200 with an empty body"),
    f("204", FaultKind::NoContent, "204 No Content"),
    f(
        "truncate",
        FaultKind::Truncate,
        "half of the JSON in well-formed HTTP; a stream: the last event is cut and the body ends well",
    ),
    f("cl_large", FaultKind::ClLarge, "Content-Length is larger than the body, then FIN"),
    f("cl_small", FaultKind::ClSmall, "Content-Length is smaller than the body"),
    f("cl_dup", FaultKind::ClDup, "two Content-Length that differ"),
    f("cl_neg", FaultKind::ClNeg, "Content-Length: -1"),
    f("cl_te", FaultKind::ClTe, "Content-Length and Transfer-Encoding: chunked"),
    f("badchunk", FaultKind::BadChunk, "a chunk size that is no number @K, then FIN"),
    f("headnul", FaultKind::HeadNul, "a NUL in a header of the answer"),
    f("headflood", FaultKind::HeadFlood, "header lines without end"),
    fa("head64k", FaultKind::Head64k, "bytes", 70_000, "a head larger than 64 KiB that does end"),
    fa("flood1xx", FaultKind::Flood1xx, "count", 200_000, "interim answers, then the real one"),
    f("early103", FaultKind::Early103, "103 Early Hints, then the real answer"),
    f(
        "redirect",
        FaultKind::Redirect,
        "302 to the scenario `name=trap` of this vendor, whose counters tell who followed",
    ),
    f("gzip", FaultKind::Gzip, "Content-Encoding: gzip, valid"),
    fa("gzipbomb", FaultKind::GzipBomb, "bytes", 1 << 30, "gzip of so many spaces"),
    f("gzip_broken", FaultKind::GzipBroken, "Content-Encoding: gzip, but it is not"),
    f(
        "evilheaders",
        FaultKind::EvilHeaders,
        "cookies, hop-by-hop, organisation ids, a server name: nothing a caller should see",
    ),
    f("jsonforstream", FaultKind::JsonForStream, "a unary JSON answer where a stream was asked for"),
    fa("giant", FaultKind::Giant, "bytes", 16 << 20, "one delta with so many bytes of text @K"),
    f("noline", FaultKind::NoLine, "one event whose line never ends @K"),
    f("endless", FaultKind::Endless, "deltas without end @K (at the pace, or as fast as they are read)"),
    fa("silent", FaultKind::Silent, "ms", 1_000, "so many milliseconds of silence @K, then on"),
    fa(
        "comments",
        FaultKind::Comments,
        "ms",
        1_000,
        "@K: a comment line each 100 ms for so many milliseconds, then on",
    ),
];

/// The words and faults as text for `--help` and README.
pub fn manual() -> String {
    let mut text = String::from("Scenario words (base_url = http://ADDR/~word=value,word=value/v1):\n");
    for word in WORDS {
        let usage = if word.takes.is_empty() { word.name.to_owned() } else { format!("{}={}", word.name, word.takes) };
        text += &format!("  {usage:<34} {}\n", word.help);
    }
    text += "\nFaults (fault=NAME, fault=NAME@K, fault=NAME=AMOUNT@K):\n";
    for fault in FAULTS {
        let usage =
            if fault.amount.is_empty() { fault.name.to_owned() } else { format!("{}={}", fault.name, fault.amount) };
        let default =
            if fault.amount.is_empty() { String::new() } else { format!(" (default {})", fault.amount_default) };
        text += &format!("  {usage:<34} {}{default}\n", fault.help);
    }
    text
}

fn fault(value: &str) -> Result<Fault, String> {
    let (rest, at) = match value.split_once('@') {
        Some((rest, at)) => (rest, Some(number(at)?)),
        None => (value, None),
    };
    let (name, amount) = match rest.split_once('=') {
        Some((name, amount)) => (name, Some(amount.trim_end_matches("ms"))),
        None => (rest, None),
    };
    let known = FAULTS.iter().find(|known| known.name == name).ok_or_else(|| format!("unknown fault `{name}`"))?;
    let amount = match amount {
        Some(_) if known.amount.is_empty() => return Err(format!("the fault `{name}` takes no amount")),
        Some(amount) => number(amount)?,
        None => known.amount_default,
    };
    within(amount, AMOUNT_MAX)?;
    Ok(Fault { kind: known.kind, at, amount })
}

fn set<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{value}` is not a number that fits"))
}

fn filled(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("needs a value".into()) } else { Ok(value.to_owned()) }
}

fn span(value: &str) -> Result<Duration, String> {
    let (digits, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let count: u64 = number(digits)?;
    within(count, 86_400_000)?;
    match unit {
        "ms" | "" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "us" => Ok(Duration::from_micros(count)),
        _ => Err(format!("`{unit}` is no unit of time (us, ms, s)")),
    }
}

fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, choice)| *choice)
        .ok_or_else(|| format!("`{value}` is not one of them"))
}

fn within(value: u64, max: u64) -> Result<(), String> {
    if value > max { Err(format!("at most {max}")) } else { Ok(()) }
}

/// `batch=all`.
pub const BATCH_ALL: u32 = u32::MAX;
/// A precomputed stream of so many events is some 30 MB: enough for any burst, little enough to keep. For more: `fault=endless`.
pub const EVENTS_MAX: u64 = 100_000;
/// Above the largest event that a gateway has to carry; the larger ones come from `fault=giant`, which repeats a block.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Amounts are sent by repeating a block, so that they cost no memory here; this bounds what they cost the other side.
const AMOUNT_MAX: u64 = 1 << 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let read =
            parse("events=3,pace=50ms,batch=all,fault=silent=500ms@2,fault=reset@3,error_for=abc,style=bom").unwrap();
        assert_eq!((read.events, read.pace, read.batch), (3, Duration::from_millis(50), BATCH_ALL));
        assert_eq!(
            read.faults,
            [
                Fault { kind: FaultKind::Silent, at: Some(2), amount: 500 },
                Fault { kind: FaultKind::Reset, at: Some(3), amount: 0 },
            ]
        );
        assert_eq!(read.error_for.as_deref(), Some("abc"));
        assert_eq!(parse(""), Ok(Scenario::default()));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, part) in [
            ("evnts=3", "evnts"),
            ("events=x", "events=x"),
            ("fault=explode", "explode"),
            ("error=200", "400 to 599"),
            ("pace=3weeks", "weeks"),
            ("events=4000000000", "at most"),
            ("fault=stall=3", "takes no amount"),
            ("frame=http3", "http3"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn every_fault_is_reachable_by_its_name() {
        for word in FAULTS {
            assert_eq!(parse(&format!("fault={}@1", word.name)).unwrap().faults[0].kind, word.kind);
        }
        assert!(manual().lines().count() > WORDS.len() + FAULTS.len());
    }
}
