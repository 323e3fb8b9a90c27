//! Is this stream legal? Given all bytes that a caller received (the body, without chunks), says whether they are strict
//! SSE (for Converse: whole frames), UTF-8 and JSON in the order that the caller's dialect demands, ending in exactly one legal terminal event or in
//! one in-band error. Shares no code with the gateway: two readers that agree are worth more than one that is reused.

mod anthropic;
mod chat;
mod cohere;
mod converse;
mod frames;
mod gemini;
mod responses;
mod sse;

use serde_json::Value;

/// The dialects that a caller may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    OpenAiChat,
    OpenAiCompletions,
    OpenAiResponses,
    Anthropic,
    Gemini,
    Cohere,
    /// Bedrock's Converse: frames instead of lines.
    Converse,
}

/// What a legal stream said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub end: End,
    /// Text of the first choice or candidate.
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    /// Cohere: what was said before the calls.
    pub plan: String,
    /// Signatures and sealed thoughts, in their order.
    pub proofs: Vec<String>,
    pub tools: Vec<Tool>,
    /// The finish reason in the dialect's own word; for Responses the status.
    pub finish: Option<String>,
    pub usage: Option<Usage>,
    pub id: Option<String>,
    pub model: Option<String>,
    /// Events with data, the terminal one included, pings not.
    pub events: usize,
    pub pings: usize,
    pub comments: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The terminal event of the dialect.
    Finished,
    /// An error in the stream, and nothing after it.
    Error { kind: String, code: String, message: String },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    pub id: String,
    pub name: String,
    /// As it was streamed: JSON text.
    pub arguments: String,
}

/// The last usage that was told; `input` and `output` as the dialect counts them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cached: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
    pub raw: Value,
}

/// The first thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    pub rule: Rule,
    /// Number of the event, from 0, and its first byte.
    pub event: usize,
    pub offset: usize,
    pub detail: String,
    /// How much of the text had been read: what the caller has on the screen.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Utf8,
    /// Lines, fields, the empty line at the end of an event.
    Framing,
    Json,
    /// An object without the fields that its kind must have.
    Shape,
    /// The name of the event is not the type of its data.
    Name,
    /// An event where it may not stand.
    Order,
    /// Ids or sequence numbers that change or jump.
    Identity,
    /// A finish reason that is unknown or told twice.
    Finish,
    /// What is said at the end of a part is not what was streamed.
    Sum,
    /// The stream ends without a terminal event.
    Unfinished,
    /// Something follows the terminal event or the error.
    AfterEnd,
}

impl std::fmt::Display for Illegal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at event {} (byte {}): {}", self.rule, self.event, self.offset, self.detail)
    }
}

impl std::error::Error for Illegal {}

pub fn check(dialect: Dialect, bytes: &[u8]) -> Result<Reading, Illegal> {
    let mut grammar: Box<dyn Grammar> = match dialect {
        Dialect::OpenAiChat => Box::new(chat::Chat::new("chat.completion.chunk")),
        Dialect::OpenAiCompletions => Box::new(chat::Chat::new("text_completion")),
        Dialect::OpenAiResponses => Box::new(responses::Responses::default()),
        Dialect::Anthropic => Box::new(anthropic::Anthropic::default()),
        Dialect::Gemini => Box::new(gemini::Gemini::default()),
        Dialect::Cohere => Box::new(cohere::Cohere::default()),
        Dialect::Converse => Box::new(converse::Converse::default()),
    };
    let mut said = Said::default();
    let mut number = 0;
    let mut end: Option<End> = None;
    let mut reader = Reader::new(dialect, bytes);
    loop {
        let offset = reader.offset();
        let illegal = |(rule, detail): Wrong, said: &Said| Illegal {
            rule,
            event: number,
            offset,
            detail,
            text: said.text.clone(),
        };
        let event = match reader.next() {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(wrong) => return Err(illegal(wrong, &said)),
        };
        if end.is_some() {
            return Err(illegal((Rule::AfterEnd, format!("`{}` follows the end", shorten(event.data))), &said));
        }
        end = grammar.event(event.name, event.data, &mut said).map_err(|wrong| illegal(wrong, &said))?;
        number += 1;
    }
    let offset = bytes.len();
    let illegal =
        |(rule, detail): Wrong, said: &Said| Illegal { rule, event: number, offset, detail, text: said.text.clone() };
    let end = match end {
        Some(end) => end,
        None => grammar.end(&mut said).map_err(|wrong| illegal(wrong, &said))?,
    };
    let events = number - said.pings;
    Ok(said.into_reading(end, events, reader.comments()))
}

/// The same of an answer in one piece: a success, or an error body of the dialect.
pub fn check_unary(dialect: Dialect, bytes: &[u8]) -> Result<Reading, Illegal> {
    let mut said = Said::default();
    let end = unary(dialect, bytes, &mut said);
    let text = said.text.clone();
    let end = end.map_err(|(rule, detail)| Illegal { rule, event: 0, offset: 0, detail, text })?;
    Ok(said.into_reading(end, 1, 0))
}

fn unary(dialect: Dialect, bytes: &[u8], said: &mut Said) -> Result<End, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|error| (Rule::Utf8, error.to_string()))?;
    let answer = object(text)?;
    match dialect {
        Dialect::OpenAiChat => chat::unary(&answer, "chat.completion", said),
        Dialect::OpenAiCompletions => chat::unary(&answer, "text_completion", said),
        Dialect::OpenAiResponses => responses::unary(&answer, said),
        Dialect::Anthropic => anthropic::unary(&answer, said),
        Dialect::Cohere => cohere::unary(&answer, said),
        Dialect::Converse => converse::unary(&answer, said),
        Dialect::Gemini => {
            let mut grammar = gemini::Gemini::default();
            match grammar.event(None, text, said)? {
                Some(error) => Ok(error),
                None => grammar.end(said),
            }
        }
    }
}

/// Events, however they are framed.
enum Reader<'a> {
    Lines(sse::Reader<'a>),
    Frames(frames::Reader<'a>),
}

impl<'a> Reader<'a> {
    fn new(dialect: Dialect, bytes: &'a [u8]) -> Reader<'a> {
        match dialect {
            Dialect::Converse => Reader::Frames(frames::Reader::new(bytes)),
            _ => Reader::Lines(sse::Reader::new(bytes)),
        }
    }

    fn next(&mut self) -> Result<Option<sse::Event<'_>>, Wrong> {
        match self {
            Reader::Lines(lines) => lines.next(),
            Reader::Frames(frames) => {
                let frame = frames.next()?;
                Ok(frame.map(|frame| sse::Event { name: Some(frame.name), data: frame.payload }))
            }
        }
    }

    fn offset(&self) -> usize {
        match self {
            Reader::Lines(lines) => lines.offset(),
            Reader::Frames(frames) => frames.offset(),
        }
    }

    fn comments(&self) -> usize {
        match self {
            Reader::Lines(lines) => lines.comments(),
            Reader::Frames(_) => 0,
        }
    }
}

/// One dialect: takes events in order, and says when one of them was the end.
trait Grammar {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong>;

    /// The bytes are over and no event was terminal: legal only where the dialect has no terminal event.
    fn end(&mut self, said: &mut Said) -> Result<End, Wrong>;
}

type Wrong = (Rule, String);

/// What was read so far.
#[derive(Default)]
struct Said {
    text: String,
    reasoning: String,
    refusal: String,
    plan: String,
    proofs: Vec<String>,
    tools: Vec<Tool>,
    finish: Option<String>,
    usage: Option<Usage>,
    id: Option<String>,
    model: Option<String>,
    pings: usize,
}

impl Said {
    fn into_reading(self, end: End, events: usize, comments: usize) -> Reading {
        Reading {
            end,
            text: self.text,
            reasoning: self.reasoning,
            refusal: self.refusal,
            plan: self.plan,
            proofs: self.proofs,
            tools: self.tools,
            finish: self.finish,
            usage: self.usage,
            id: self.id,
            model: self.model,
            events,
            pings: self.pings,
            comments,
        }
    }

    /// The id of the whole answer may be empty in a preamble, but never another one.
    fn identify(&mut self, object: &Value, id: &str, model: &str) -> Result<(), Wrong> {
        if let Some(told) = object.get(id).and_then(Value::as_str).filter(|told| !told.is_empty()) {
            match &self.id {
                Some(known) if known != told => return wrong(Rule::Identity, format!("id `{told}` after `{known}`")),
                Some(_) => {}
                None => self.id = Some(told.to_owned()),
            }
        }
        if let Some(told) = object.get(model).and_then(Value::as_str).filter(|told| !told.is_empty()) {
            self.model.get_or_insert_with(|| told.to_owned());
        }
        Ok(())
    }
}

fn wrong<T>(rule: Rule, detail: impl Into<String>) -> Result<T, Wrong> {
    Err((rule, detail.into()))
}

/// An object, or why not.
fn object(data: &str) -> Result<Value, Wrong> {
    match serde_json::from_str::<Value>(data) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => wrong(Rule::Shape, format!("not an object: `{}`", shorten(data))),
        Err(error) => wrong(Rule::Json, format!("{error}: `{}`", shorten(data))),
    }
}

fn list_of<'a>(value: &'a Value, field: &str) -> Result<&'a [Value], Wrong> {
    value
        .get(field)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| (Rule::Shape, format!("no list in `{field}`")))
}

fn text_of<'a>(value: &'a Value, field: &str) -> Result<&'a str, Wrong> {
    value.get(field).and_then(Value::as_str).ok_or_else(|| (Rule::Shape, format!("no text in `{field}`")))
}

fn index_of(value: &Value, field: &str) -> Result<usize, Wrong> {
    value
        .get(field)
        .and_then(Value::as_u64)
        .map(|n| n as usize)
        .ok_or_else(|| (Rule::Shape, format!("no index in `{field}`")))
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
