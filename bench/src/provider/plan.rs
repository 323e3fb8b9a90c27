//! An answer as a list of steps: bytes to send, silences, and how it ends. Every fault is a plan; the loop that walks it
//! knows none of them. A plan is composed once and walked for each request that is like the first.

use std::time::Duration;

use super::encode::{self, Encoder};
use super::payload::{
    self, Frame, Occasion, Part, Saying, anthropic, bedrock, cohere, error, gemini, object, openai, rerank, responses,
};
use super::quota::Counted;
use super::route::{Dialect, Endpoint, Kind, Route};
use super::scenario::{BATCH_ALL, Fault, FaultKind, Frame as Framing, Scenario, Style, UsageStyle};

pub struct Plan {
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
    /// It counts as a live stream while it is walked.
    pub stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Send {
        from: usize,
        to: usize,
        events: u32,
    },
    /// The same bytes again and again: floods and bombs cost no memory here.
    Repeat {
        from: usize,
        to: usize,
        times: u64,
    },
    ByteWise {
        from: usize,
        to: usize,
        events: u32,
    },
    Wait(Duration),
    /// Until the next beat of the stream's own pace.
    Beat(Duration),
    Jump(usize),
    End(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    KeepAlive,
    /// FIN after a whole answer; with TLS a close_notify first.
    Close,
    /// FIN in the middle of something; with TLS without a close_notify.
    Cut,
    Reset,
    /// Says nothing more until the peer leaves.
    Hang,
}

/// What a plan depends on.
pub struct Want<'a> {
    pub scenario: &'a Scenario,
    /// The scenario's errors and faults are in force for this request.
    pub error: bool,
    pub faults: bool,
    pub route: Option<Route>,
    pub head_only: bool,
    /// None: the body was not the JSON that this call needs.
    pub model: Option<String>,
    pub stream: bool,
    pub include_usage: bool,
    pub sealed: bool,
    /// Why a strict vendor does not take this body.
    pub refused: Option<String>,
    pub echo: Option<String>,
    pub tool: Option<String>,
    pub input: Vec<u8>,
    /// What the vendor's limit says of this request.
    pub counted: Option<Counted>,
    /// The credential was missing or not the one demanded; its text, for the message.
    pub denied: Option<String>,
    pub owner: u64,
    pub seed: u64,
    pub created: u64,
    /// `http://host:port` of this vendor, for redirects.
    pub origin: String,
    pub hint: Dialect,
}

pub fn plan(want: &Want<'_>) -> Plan {
    let mut plan = Plan { bytes: Vec::new(), steps: Vec::new(), stream: false };
    let scenario = want.scenario;
    if !scenario.ttfb.is_zero() {
        plan.steps.push(Step::Wait(scenario.ttfb));
    }
    let faults: &[Fault] = if want.faults { &scenario.faults } else { &[] };
    if let Some(ending) = faults.iter().find_map(ends_before_the_head) {
        plan.steps.push(Step::End(ending));
        return plan;
    }
    interim(&mut plan, faults);
    let answer = answer(want, faults);
    write(&mut plan, want, faults, answer);
    plan
}

/// What is said when the words of a scenario were not understood.
pub fn misunderstood(why: &str) -> Plan {
    let body = error::body(Dialect::OpenAi, 400, why);
    let head =
        format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let bytes = [head.as_bytes(), body.as_bytes()].concat();
    let steps = vec![Step::Send { from: 0, to: bytes.len(), events: 0 }, Step::End(Ending::KeepAlive)];
    Plan { bytes, steps, stream: false }
}

enum Answer {
    Unary { status: u16, kind: &'static str, body: Vec<u8>, headers: String },
    Stream { dialect: Dialect, endpoint: Endpoint, frames: Vec<Frame>, probe: Probe },
}

/// One delta of this dialect, cut open where its text stands: for giant, broken and endless ones.
struct Probe {
    name: Option<&'static str>,
    before: String,
    after: String,
}

fn ends_before_the_head(fault: &Fault) -> Option<Ending> {
    match (fault.kind, fault.at) {
        (FaultKind::AcceptClose, _) | (FaultKind::Eof, None) => Some(Ending::Cut),
        (FaultKind::Refuse | FaultKind::Rst, _) | (FaultKind::Reset, None) => Some(Ending::Reset),
        (FaultKind::Blackhole | FaultKind::Mute, _) | (FaultKind::Stall, None) => Some(Ending::Hang),
        _ => None,
    }
}

fn interim(plan: &mut Plan, faults: &[Fault]) {
    for fault in faults {
        match fault.kind {
            FaultKind::Early103 => {
                let (from, to) = plan.keep(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
                plan.steps.push(Step::Send { from, to, events: 0 });
            }
            FaultKind::Flood1xx => {
                let block = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(FLOOD_BLOCK as usize);
                let (from, to) = plan.keep(&block);
                plan.steps.push(Step::Repeat { from, to, times: fault.amount.div_ceil(FLOOD_BLOCK) });
            }
            _ => {}
        }
    }
}

fn answer(want: &Want<'_>, faults: &[Fault]) -> Answer {
    let scenario = want.scenario;
    let dialect = want.route.as_ref().map_or(want.hint, |route| route.dialect);
    let refuse = |status: u16, told: &str, headers: String| Answer::Unary {
        status,
        kind: "application/json",
        body: error::body(dialect, status, told).into_bytes(),
        headers: headers + &error::headers(dialect, status),
    };
    if let Some(credential) = &want.denied {
        // Amazon does not tell who is unknown from who is not allowed.
        return refuse(if dialect == Dialect::Bedrock { 403 } else { 401 }, credential, String::new());
    }
    if want.counted.is_some_and(|counted| counted.refused) {
        return refuse(429, "", String::new());
    }
    if want.error {
        let status = scenario.error.unwrap_or(429);
        let retry = match scenario.retry_after.as_deref() {
            Some("date") => format!("retry-after: {}\r\n", encode::http_date(crate::clock::unix_ms() / 1000 + 30)),
            Some(value) => format!("retry-after: {value}\r\n"),
            None => String::new(),
        };
        let told = if status == 401 { "sk-weirbench-secret-1234567890" } else { "" };
        return refuse(status, told, retry);
    }
    let has = |kind: FaultKind| faults.iter().any(|fault| fault.kind == kind);
    let fixed = |status: u16, kind: &'static str, body: &[u8], headers: String| Answer::Unary {
        status,
        kind,
        body: body.to_vec(),
        headers,
    };
    if has(FaultKind::Html) {
        return fixed(
            200,
            "text/html; charset=utf-8",
            b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back.</body></html>\n",
            String::new(),
        );
    }
    if has(FaultKind::Empty) {
        return fixed(200, "application/json", b"", String::new());
    }
    if has(FaultKind::NoContent) {
        return fixed(204, "application/json", b"", String::new());
    }
    if has(FaultKind::Redirect) {
        return fixed(302, "text/plain", b"moved\n", format!("location: {}/~name=trap/v1/models\r\n", want.origin));
    }
    let Some(route) = &want.route else { return refuse(404, "", String::new()) };
    if let Some(why) = &want.refused {
        return refuse(400, why, String::new());
    }
    let model = match &route.endpoint {
        Endpoint::Generate { model }
        | Endpoint::StreamGenerate { model, .. }
        | Endpoint::CountTokens { model }
        | Endpoint::Converse { model, .. } => model.clone(),
        Endpoint::Chat
        | Endpoint::CohereChat
        | Endpoint::Completions
        | Endpoint::Responses
        | Endpoint::Embeddings
        | Endpoint::Messages
        | Endpoint::CountMessageTokens => match &want.model {
            Some(model) => model.clone(),
            None => return refuse(400, "you must provide a model parameter in a JSON body", String::new()),
        },
        _ => want.model.clone().unwrap_or_else(|| "weirbench-default".to_owned()),
    };
    let occasion = Occasion {
        seed: want.seed,
        created: want.created,
        include_usage: want.include_usage,
        sealed: want.sealed,
        echo: want.echo.clone(),
        tool: want.tool.clone(),
    };
    let mut saying = payload::compose(scenario, &model, occasion.clone());
    let response_id = object::id(Kind::Response, &scenario.id_prefix, want.owner, want.seed);
    let streams = match &route.endpoint {
        Endpoint::Chat | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages | Endpoint::CohereChat => {
            want.stream
        }
        Endpoint::StreamGenerate { sse, .. } => *sse,
        Endpoint::Converse { stream, .. } => *stream,
        _ => false,
    };
    if streams && !has(FaultKind::JsonForStream) {
        if is_measured(&route.endpoint) {
            insert_giants(&mut saying, faults);
        }
        let frames = frames_of(&route.endpoint, &saying, &response_id);
        let probing = Occasion { echo: Some(PROBE.to_owned()), tool: None, ..occasion };
        let mut open = payload::compose(scenario, &model, probing);
        open.blocks = vec![payload::Block::Text(vec![PROBE.to_owned()])];
        open.finish = payload::Finish::Missing;
        let frame = frames_of(&route.endpoint, &open, &response_id).into_iter().find(|frame| frame.part == Part::Delta);
        let probe = frame.and_then(|frame| {
            let (before, after) = frame.data.split_once(PROBE)?;
            Some(Probe { name: frame.name, before: before.to_owned(), after: after.to_owned() })
        });
        let probe = probe.unwrap_or(Probe { name: None, before: "{\"x\":\"".into(), after: "\"}".into() });
        return Answer::Stream { dialect, endpoint: route.endpoint.clone(), frames, probe };
    }
    let id_of = |kind: Kind| object::id(kind, &scenario.id_prefix, want.owner, want.seed);
    let mut kind_of = "application/json";
    let body = match &route.endpoint {
        Endpoint::Chat => openai::chat(&saying),
        Endpoint::Completions => openai::completions(&saying),
        Endpoint::Responses => responses::unary(&saying, &response_id),
        Endpoint::Embeddings => openai::embeddings(&saying, &want.input),
        Endpoint::Moderations => openai::moderations(&saying),
        Endpoint::Images => openai::images(&saying),
        Endpoint::Transcription => openai::transcription(&saying),
        Endpoint::Speech => return fixed(200, "audio/mpeg", &b"\xff\xfb\x90\x64weirbench".repeat(400), String::new()),
        Endpoint::Messages => anthropic::unary(&saying),
        Endpoint::CountMessageTokens => anthropic::count_tokens(&saying),
        Endpoint::Generate { .. } => gemini::unary(&saying),
        Endpoint::StreamGenerate { .. } => {
            // Without alt=sse the real vendor streams one JSON array.
            let items: Vec<String> = gemini::stream(&saying).into_iter().map(|frame| frame.data).collect();
            format!("[{}]\r\n", items.join(",\r\n"))
        }
        Endpoint::CohereChat => cohere::unary(&saying),
        Endpoint::Rerank(form) => rerank::unary(*form, &saying),
        Endpoint::Converse { .. } => bedrock::unary(&saying),
        Endpoint::CountTokens { .. } => gemini::count_tokens(&saying),
        Endpoint::EmbedContent { batch, .. } => gemini::embed(*batch),
        Endpoint::Models => match dialect {
            Dialect::OpenAi | Dialect::Cohere | Dialect::Bedrock => openai::models(want.created),
            Dialect::Anthropic => anthropic::models(),
            Dialect::Gemini => gemini::models(),
        },
        Endpoint::Model(model) => match dialect {
            Dialect::OpenAi | Dialect::Cohere | Dialect::Bedrock => openai::model_object(model, want.created),
            Dialect::Anthropic => anthropic::model_object(model),
            Dialect::Gemini => gemini::model_object(model),
        },
        Endpoint::Create(kind) => object::describe(*kind, &id_of(*kind), want.created, &model, false),
        Endpoint::List(kind) => format!(
            "{{\"object\":\"list\",\"data\":[{}],\"has_more\":false}}",
            object::describe(*kind, &id_of(*kind), want.created, &model, false)
        ),
        Endpoint::Get(kind, id)
        | Endpoint::Delete(kind, id)
        | Endpoint::Content(kind, id)
        | Endpoint::Cancel(kind, id)
            if !object::owned(*kind, id, want.owner) =>
        {
            return refuse(404, "", String::new());
        }
        Endpoint::ResponseItems(id) if !object::owned(Kind::Response, id, want.owner) => {
            return refuse(404, "", String::new());
        }
        Endpoint::Get(Kind::Response, id) => responses::unary(&saying, id),
        Endpoint::Get(kind, id) => object::describe(*kind, id, want.created, &model, false),
        Endpoint::Cancel(kind, id) => object::describe(*kind, id, want.created, &model, true),
        Endpoint::Delete(kind, id) => object::deleted(*kind, id),
        Endpoint::Content(Kind::Video, _) => {
            return fixed(200, "video/mp4", &b"\0\0\0\x18ftypmp42weirbench".repeat(400), String::new());
        }
        Endpoint::Content(..) => {
            kind_of = "application/octet-stream";
            "{\"custom_id\":\"one\",\"response\":{\"status_code\":200}}\n".to_owned()
        }
        Endpoint::ResponseItems(_) => "{\"object\":\"list\",\"data\":[],\"has_more\":false}".to_owned(),
        Endpoint::Root => "{}".to_owned(),
    };
    Answer::Unary { status: 200, kind: kind_of, body: body.into_bytes(), headers: String::new() }
}

/// Responses repeats the whole text at the end and numbers its events, Converse tells the length and the checksum of each:
/// a giant delta must be part of what is said.
fn is_measured(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Responses | Endpoint::Converse { .. })
}

fn insert_giants(saying: &mut Saying, faults: &[Fault]) {
    for fault in faults.iter().filter(|fault| fault.kind == FaultKind::Giant) {
        if let Some(payload::Block::Text(texts)) = saying.blocks.last_mut() {
            let at = (fault.at.unwrap_or(0) as usize).min(texts.len());
            texts.insert(at, "g".repeat(fault.amount.min(GIANT_IN_MEMORY_BYTES_MAX) as usize));
        }
    }
}

fn frames_of(endpoint: &Endpoint, saying: &Saying, response_id: &str) -> Vec<Frame> {
    match endpoint {
        Endpoint::Completions => openai::completions_stream(saying),
        Endpoint::Responses => responses::stream(saying, response_id),
        Endpoint::Messages => anthropic::stream(saying),
        Endpoint::StreamGenerate { .. } => gemini::stream(saying),
        Endpoint::CohereChat => cohere::stream(saying),
        Endpoint::Converse { .. } => bedrock::stream(saying),
        _ => openai::chat_stream(saying),
    }
}

fn write(plan: &mut Plan, want: &Want<'_>, faults: &[Fault], answer: Answer) {
    let dialect = want.route.as_ref().map_or(want.hint, |route| route.dialect);
    match answer {
        Answer::Unary { status, kind, body, headers } => {
            write_unary(plan, want, faults, Head { status, kind, headers, dialect }, body)
        }
        Answer::Stream { dialect, endpoint, frames, probe } => {
            plan.stream = true;
            write_stream(plan, want, faults, dialect, &endpoint, frames, &probe);
        }
    }
}

struct Head {
    status: u16,
    kind: &'static str,
    headers: String,
    dialect: Dialect,
}

fn write_unary(plan: &mut Plan, want: &Want<'_>, faults: &[Fault], mut head: Head, mut body: Vec<u8>) {
    let scenario = want.scenario;
    let has = |kind: FaultKind| faults.iter().find(|fault| fault.kind == kind);
    if has(FaultKind::BadJson).is_some() {
        body = b"{\"id\":\"broken\",\"choices\":[{\"index\":0,,}]".to_vec();
    }
    if has(FaultKind::Truncate).is_some() {
        body.truncate(body.len() / 2);
    }
    if has(FaultKind::BadUtf8).is_some() {
        let middle = body.iter().rposition(|b| b.is_ascii_alphabetic()).unwrap_or(0);
        body.splice(middle..middle, [0xff, 0xc3, 0x28]);
    }
    if has(FaultKind::Gzip).is_some() {
        body = encode::gzip(&body);
        head.headers += "content-encoding: gzip\r\n";
    }
    if has(FaultKind::GzipBroken).is_some() {
        head.headers += "content-encoding: gzip\r\n";
    }
    if let Some(fault) = has(FaultKind::GzipBomb) {
        head.headers += "content-encoding: gzip\r\n";
        let bomb = encode::GzipBomb::new(fault.amount);
        let length = bomb.start.len() as u64 + bomb.block.len() as u64 * bomb.times + bomb.end.len() as u64;
        let text = head_text(want, faults, &head, &format!("content-length: {length}\r\n"));
        let start = [text.as_slice(), &bomb.start].concat();
        let (from, to) = plan.keep(&start);
        plan.steps.push(Step::Send { from, to, events: 0 });
        let (from, to) = plan.keep(&bomb.block);
        plan.steps.push(Step::Repeat { from, to, times: bomb.times });
        let (from, to) = plan.keep(&bomb.end);
        plan.steps.push(Step::Send { from, to, events: 0 });
        plan.steps.push(Step::End(ending(scenario)));
        return;
    }
    let length = body.len() as u64;
    let framing = if matches!(head.status, 204 | 304) { String::new() } else { length_lines(faults, length) };
    let mut bytes = head_text(want, faults, &head, &framing);
    let head_end = bytes.len();
    if !want.head_only {
        if has(FaultKind::ClTe).is_some() {
            bytes.extend(encode::chunk(&body));
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(&body);
        }
    }
    if flood_of_headers(plan, faults, &bytes[..head_end]) {
        return;
    }
    for fault in faults {
        let broken = match fault.kind {
            FaultKind::Stall => Ending::Hang,
            FaultKind::Eof => Ending::Cut,
            FaultKind::Reset => Ending::Reset,
            FaultKind::Silent => {
                // Half of the answer, the silence, the other half.
                let middle = head_end + (bytes.len() - head_end) / 2;
                let (from, _) = plan.keep(&bytes[..middle]);
                plan.steps.push(Step::Send { from, to: from + middle, events: 0 });
                plan.steps.push(Step::Wait(Duration::from_millis(fault.amount)));
                let (from, to) = plan.keep(&bytes[middle..]);
                plan.steps.push(Step::Send { from, to, events: 0 });
                plan.steps.push(Step::End(ending(scenario)));
                return;
            }
            _ => continue,
        };
        let middle = head_end + (bytes.len() - head_end) / 2;
        let (from, to) = plan.keep(&bytes[..middle]);
        plan.steps.push(Step::Send { from, to, events: 0 });
        plan.steps.push(Step::End(broken));
        return;
    }
    let (from, to) = plan.keep(&bytes);
    plan.steps.push(if scenario.style == Style::ByteWise {
        Step::ByteWise { from, to, events: 0 }
    } else {
        Step::Send { from, to, events: 0 }
    });
    plan.steps.push(Step::End(ending_after(scenario, faults)));
}

fn write_stream(
    plan: &mut Plan,
    want: &Want<'_>,
    faults: &[Fault],
    dialect: Dialect,
    endpoint: &Endpoint,
    frames: Vec<Frame>,
    probe: &Probe,
) {
    let scenario = want.scenario;
    let encoder = Encoder::new(scenario, dialect);
    let has = |kind: FaultKind| faults.iter().find(|fault| fault.kind == kind);
    let by_length = matches!(scenario.frame, Framing::Length)
        || faults
            .iter()
            .any(|f| matches!(f.kind, FaultKind::ClLarge | FaultKind::ClSmall | FaultKind::ClDup | FaultKind::ClNeg));
    let chunked = !by_length && scenario.frame == Framing::Chunked || has(FaultKind::ClTe).is_some();
    let events: Vec<Vec<u8>> = frames.iter().enumerate().map(|(index, frame)| encoder.event(index, frame)).collect();

    let kind = match dialect {
        Dialect::Gemini | Dialect::Cohere => "text/event-stream",
        Dialect::Bedrock => "application/vnd.amazon.eventstream",
        Dialect::OpenAi | Dialect::Anthropic => "text/event-stream; charset=utf-8",
    };
    let mut head = Head { status: 200, kind, headers: String::new(), dialect };
    if has(FaultKind::Gzip).is_some() || has(FaultKind::GzipBroken).is_some() {
        head.headers += "content-encoding: gzip\r\n";
    }
    if has(FaultKind::Gzip).is_some() {
        let body = encode::gzip(&events.concat());
        let mut bytes = head_text(want, faults, &head, &format!("content-length: {}\r\n", body.len()));
        bytes.extend(body);
        let (from, to) = plan.keep(&bytes);
        plan.steps.push(Step::Send { from, to, events: events.len() as u32 });
        plan.steps.push(Step::End(ending(scenario)));
        return;
    }
    if has(FaultKind::GzipBomb).is_some() {
        write_unary(plan, want, faults, head, Vec::new());
        return;
    }
    let endless = has(FaultKind::Endless).is_some() || has(FaultKind::NoLine).is_some();
    let apart = |fault: &&Fault| fault.kind == FaultKind::Giant && !is_measured(endpoint);
    let giant: u64 = faults.iter().filter(apart).map(|fault| fault.amount + 4096).sum();
    let length = if endless { 1 << 40 } else { events.iter().map(|event| event.len() as u64).sum::<u64>() + giant };
    let framing = if has(FaultKind::ClTe).is_some() {
        length_lines(faults, length)
    } else if chunked {
        "transfer-encoding: chunked\r\n".to_owned()
    } else if by_length {
        length_lines(faults, length)
    } else {
        "connection: close\r\n".to_owned()
    };
    let head_bytes = head_text(want, faults, &head, &framing);
    if flood_of_headers(plan, faults, &head_bytes) {
        return;
    }

    let mut out = Sender { plan, pending: head_bytes, events: 0, scenario, chunked, started: false };
    let mut due: Vec<&Fault> = faults.iter().filter(|fault| happens_in_a_stream(fault.kind)).collect();
    due.retain(|fault| fault.kind != FaultKind::Giant || !is_measured(endpoint));
    due.sort_by_key(|fault| fault.at.unwrap_or(0));
    let mut due = due.into_iter().peekable();
    let deltas_total = frames.iter().filter(|frame| frame.part == Part::Delta).count() as u32;
    let mut deltas = 0;
    let last_frame = frames.len().saturating_sub(1);
    for (index, frame) in frames.iter().enumerate() {
        let over = matches!(frame.part, Part::Finish | Part::Usage | Part::Done) && deltas == deltas_total;
        while let Some(fault) =
            due.next_if(|fault| over || (frame.part == Part::Delta && fault.at.unwrap_or(0) <= deltas))
        {
            if out.misbehave(fault, &encoder, probe, dialect, endpoint, index) {
                return;
            }
        }
        if frame.part == Part::Usage && scenario.usage == UsageStyle::Late {
            out.wait(LATE);
        }
        if index == last_frame && has(FaultKind::Truncate).is_some() {
            let half = &events[index][..events[index].len() / 2];
            out.event(half);
        } else {
            out.event(&events[index]);
        }
        deltas += u32::from(frame.part == Part::Delta);
    }
    for fault in due {
        if out.misbehave(fault, &encoder, probe, dialect, endpoint, frames.len()) {
            return;
        }
    }
    out.finish(ending_after(scenario, faults), by_length || chunked);
}

fn happens_in_a_stream(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Stall
            | FaultKind::Eof
            | FaultKind::Reset
            | FaultKind::BadJson
            | FaultKind::BadUtf8
            | FaultKind::BadSum
            | FaultKind::ErrorEvent
            | FaultKind::ErrorNamed
            | FaultKind::BadChunk
            | FaultKind::Giant
            | FaultKind::NoLine
            | FaultKind::Endless
            | FaultKind::Silent
            | FaultKind::Comments
    )
}

/// Gathers events into sends.
struct Sender<'a> {
    plan: &'a mut Plan,
    pending: Vec<u8>,
    events: u32,
    scenario: &'a Scenario,
    chunked: bool,
    started: bool,
}

impl Sender<'_> {
    fn event(&mut self, event: &[u8]) {
        if self.events == 0 && self.started && !self.scenario.pace.is_zero() {
            self.plan.steps.push(Step::Beat(self.scenario.pace));
        }
        self.raw(event);
        self.events += 1;
        if self.scenario.batch != BATCH_ALL && self.events >= self.scenario.batch {
            self.flush();
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.chunked {
            self.pending.extend(encode::chunk(bytes));
        } else {
            self.pending.extend(bytes);
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let events = std::mem::take(&mut self.events);
        let (from, to) = self.plan.keep(&pending);
        let bytewise = self.scenario.style == Style::ByteWise;
        self.plan.steps.push(if bytewise {
            Step::ByteWise { from, to, events }
        } else {
            Step::Send { from, to, events }
        });
        self.started = true;
    }

    fn wait(&mut self, span: Duration) {
        self.flush();
        self.plan.steps.push(Step::Wait(span));
    }

    /// The same bytes so many times, each as a chunk of its own.
    fn repeat(&mut self, block: &[u8], times: u64) {
        self.flush();
        let bytes = if self.chunked { encode::chunk(block) } else { block.to_vec() };
        let (from, to) = self.plan.keep(&bytes);
        if times == u64::MAX {
            let here = self.plan.steps.len();
            self.plan.steps.push(Step::Send { from, to, events: 0 });
            self.plan.steps.push(Step::Jump(here));
        } else if times > 0 {
            self.plan.steps.push(Step::Repeat { from, to, times });
        }
    }

    fn end(&mut self, ending: Ending) {
        self.flush();
        self.plan.steps.push(Step::End(ending));
    }

    fn finish(&mut self, ending: Ending, delimited: bool) {
        if self.chunked {
            // The last chunk leaves with the last event, as it does at real vendors.
            match self.plan.steps.last_mut() {
                Some(Step::Send { to, .. } | Step::ByteWise { to, .. })
                    if self.pending.is_empty() && *to == self.plan.bytes.len() =>
                {
                    self.plan.bytes.extend(b"0\r\n\r\n");
                    *to += 5;
                }
                _ => self.pending.extend(b"0\r\n\r\n"),
            }
        }
        let ending = if delimited || ending != Ending::KeepAlive { ending } else { Ending::Close };
        self.end(ending);
    }

    /// Says whether the stream ended with it.
    fn misbehave(
        &mut self,
        fault: &Fault,
        encoder: &Encoder,
        probe: &Probe,
        dialect: Dialect,
        endpoint: &Endpoint,
        number: usize,
    ) -> bool {
        let around =
            |inner: &[u8]| encoder.wrap(probe.name, &[probe.before.as_bytes(), inner, probe.after.as_bytes()].concat());
        match fault.kind {
            FaultKind::Stall => self.end(Ending::Hang),
            FaultKind::Eof => self.end(Ending::Cut),
            FaultKind::Reset => self.end(Ending::Reset),
            FaultKind::BadChunk => {
                self.flush();
                self.pending.extend(b"ZZ\r\ndata: {}\r\n");
                self.end(Ending::Cut);
            }
            FaultKind::ErrorEvent | FaultKind::ErrorNamed => {
                let mut frame = error::in_band(dialect, endpoint, number);
                if fault.kind == FaultKind::ErrorNamed {
                    frame.name = Some("error");
                }
                self.event(&encoder.event(number, &frame));
                self.finish(ending(self.scenario), self.chunked || self.scenario.frame == Framing::Length);
            }
            FaultKind::Endless => {
                let event = around(b"on and on ");
                self.flush();
                let here = self.plan.steps.len();
                if self.scenario.pace.is_zero() {
                    self.repeat(&event, u64::MAX);
                } else {
                    self.plan.steps.push(Step::Beat(self.scenario.pace));
                    self.raw(&event);
                    self.events = 1;
                    self.flush();
                    self.plan.steps.push(Step::Jump(here));
                }
            }
            FaultKind::NoLine => {
                self.raw(&encoder.open(probe.name));
                self.raw(probe.before.as_bytes());
                self.repeat(&[b'x'; FILLER_BYTES], u64::MAX);
            }
            FaultKind::BadSum if dialect == Dialect::Bedrock => {
                let mut event = around(b"not what was sent");
                let last = event.len() - 1;
                event[last] ^= 1;
                self.event(&event);
                return false;
            }
            FaultKind::BadJson | FaultKind::BadSum => {
                self.event(&encoder.wrap(probe.name, &[probe.before.as_bytes(), b"\",,"].concat()));
                return false;
            }
            FaultKind::BadUtf8 => {
                self.event(&around(&[0xff, 0xc3, 0x28]));
                return false;
            }
            FaultKind::Giant => {
                let (start, end) = encoder.around(probe.name);
                self.raw(start.as_bytes());
                self.raw(probe.before.as_bytes());
                self.repeat(&[b'g'; FILLER_BYTES], fault.amount / FILLER_BYTES as u64);
                self.raw(&vec![b'g'; (fault.amount % FILLER_BYTES as u64) as usize]);
                self.event(&[probe.after.as_bytes(), end.as_bytes()].concat());
                return false;
            }
            FaultKind::Silent => {
                self.wait(Duration::from_millis(fault.amount));
                return false;
            }
            FaultKind::Comments => {
                let comment = encoder.comment();
                for _ in 0..(fault.amount / 100).clamp(1, COMMENTS_MAX) {
                    self.raw(&comment);
                    self.wait(Duration::from_millis(100));
                }
                return false;
            }
            _ => return false,
        }
        true
    }
}

impl Plan {
    /// Keeps bytes and says where they are.
    fn keep(&mut self, bytes: &[u8]) -> (usize, usize) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (from, self.bytes.len())
    }
}

fn head_text(want: &Want<'_>, faults: &[Fault], head: &Head, framing: &str) -> Vec<u8> {
    let has = |kind: FaultKind| faults.iter().find(|fault| fault.kind == kind);
    let mut text =
        format!("HTTP/1.1 {} {}\r\ncontent-type: {}\r\n", head.status, encode::reason(head.status), head.kind);
    text += &match want.counted {
        Some(counted) => counted.headers(head.dialect),
        None => UNCOUNTED.headers(head.dialect),
    };
    text += match head.dialect {
        Dialect::OpenAi => OPENAI_HEADERS,
        Dialect::Anthropic => ANTHROPIC_HEADERS,
        Dialect::Gemini => GEMINI_HEADERS,
        Dialect::Cohere => COHERE_HEADERS,
        Dialect::Bedrock => BEDROCK_HEADERS,
    };
    text += &head.headers;
    text += framing;
    if has(FaultKind::EvilHeaders).is_some() {
        text += EVIL_HEADERS;
    }
    if want.scenario.connclose && !framing.starts_with("connection:") {
        text += "connection: close\r\n";
    }
    if let Some(fault) = has(FaultKind::Head64k) {
        let mut left = fault.amount as usize;
        let mut number = 0;
        while left > 0 {
            let size = left.min(4000);
            text += &format!("x-large-{number}: {}\r\n", "h".repeat(size));
            left -= size;
            number += 1;
        }
    }
    if has(FaultKind::HeadNul).is_some() {
        text += "x-nul: a\0b\r\n";
    }
    text += "\r\n";
    text.into_bytes()
}

fn flood_of_headers(plan: &mut Plan, faults: &[Fault], head: &[u8]) -> bool {
    if !faults.iter().any(|fault| fault.kind == FaultKind::HeadFlood) {
        return false;
    }
    let (from, to) = plan.keep(&head[..head.len() - 2]);
    plan.steps.push(Step::Send { from, to, events: 0 });
    let (from, to) = plan.keep(&b"x-flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(64));
    let here = plan.steps.len();
    plan.steps.push(Step::Send { from, to, events: 0 });
    plan.steps.push(Step::Jump(here));
    true
}

fn length_lines(faults: &[Fault], length: u64) -> String {
    for fault in faults {
        return match fault.kind {
            FaultKind::ClLarge => format!("content-length: {}\r\n", length + 1000),
            FaultKind::ClSmall => format!("content-length: {}\r\n", length / 2),
            FaultKind::ClDup => format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 5),
            FaultKind::ClNeg => "content-length: -1\r\n".to_owned(),
            FaultKind::ClTe => format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            _ => continue,
        };
    }
    format!("content-length: {length}\r\n")
}

fn ending(scenario: &Scenario) -> Ending {
    if scenario.connclose || scenario.staleclose { Ending::Close } else { Ending::KeepAlive }
}

fn ending_after(scenario: &Scenario, faults: &[Fault]) -> Ending {
    if faults.iter().any(|fault| fault.kind == FaultKind::ClLarge) { Ending::Cut } else { ending(scenario) }
}

const PROBE: &str = "@@HERE@@";
/// How late `usage=late` is.
const LATE: Duration = Duration::from_millis(500);
/// Interim answers in one send of the flood.
const FLOOD_BLOCK: u64 = 100;
/// Half of the largest TLS record: giant events leave in pieces that any reader meets in real traffic.
const FILLER_BYTES: usize = 8192;
/// Four copies of it are kept in the plan; four times the largest event of the contract is enough.
const GIANT_IN_MEMORY_BYTES_MAX: u64 = 64 << 20;
/// A hundred minutes of comments.
const COMMENTS_MAX: u64 = 60_000;
/// A vendor that has a limit and is far from it.
const UNCOUNTED: Counted = Counted { refused: false, limit: 10_000, left: 9_999, full_in_ms: 6 };
const OPENAI_HEADERS: &str = "openai-organization: org-weirbench0000\r\nopenai-processing-ms: 117\r\nopenai-version: 2020-10-01\r\nx-request-id: req_weirbench0000\r\n";
const ANTHROPIC_HEADERS: &str = "request-id: req_011weirbench\r\nanthropic-organization-id: 00000000-weirbench\r\n";
const GEMINI_HEADERS: &str = "server-timing: gfet4t7; dur=117\r\nvary: Origin, X-Origin, Referer\r\n";
const COHERE_HEADERS: &str =
    "num_chars: 2717\r\nnum_tokens: 41\r\nx-endpoint-monthly-call-limit: 1000\r\nx-trial-endpoint-call-limit: 20\r\n";
const BEDROCK_HEADERS: &str =
    "x-amzn-requestid: 00000000-0000-4000-8000-weirbench000\r\nx-amzn-bedrock-invocation-latency: 223\r\n";
const EVIL_HEADERS: &str = "set-cookie: session=stolen; Path=/\r\nserver: weirbench/0.1 (internal-host-17)\r\nvia: 1.1 internal-proxy\r\nkeep-alive: timeout=1\r\nproxy-authenticate: Basic realm=\"x\"\r\nwww-authenticate: Basic realm=\"x\"\r\naccess-control-allow-origin: *\r\nopenai-project: proj_secret\r\nx-accel-redirect: /etc/passwd\r\nstrict-transport-security: max-age=1\r\nalt-svc: h3=\":443\"\r\nrefresh: 0; url=http://evil.invalid/\r\nx-weir-cost: 0\r\n";
