//! Answers for callers of Cohere's language: pieces spliced between what is the same in all events of a type.

use std::collections::VecDeque;

use weir_shared::fault::Code;
use weir_shared::usage::{Class, Usage};

use super::{FILTERED, write_error};
use crate::dialect::answer::{Answer, Choice, Whole};
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::{Array, Object, number, quoted};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::proof;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::{Text, escape_json, plain};
use crate::wire::json;

pub struct Writer {
    id: String,
    started: bool,
    over: bool,
    blocks: Vec<Open>,
    /// The block whose events leave as they come, and those that wait for its end: callers read one after another.
    current: Option<u32>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    contents: u64,
    calls: u64,
    citations: u64,
    finish: Option<Finish<'static>>,
    usage: Option<Usage>,
}

/// The events of a block that opened while another was open.
struct Waiting {
    block: u32,
    events: Vec<u8>,
    closed: bool,
}

/// Arguments of calls that are made at once; more is no answer.
const WAITING_BYTES_MAX: usize = 16 << 20;

#[derive(Default, Clone, Copy)]
struct Open {
    kind: Kind,
    /// Cohere's number of it: contents and calls are counted apart.
    index: u64,
    said: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing of it can be shown.
    #[default]
    Silent,
    Text,
    Thinking,
    Call,
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;

impl Writer {
    pub fn new(heading: &Heading<'_>) -> Self {
        Self {
            id: heading.id.to_owned(),
            started: false,
            over: false,
            blocks: Vec::with_capacity(8),
            current: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            contents: 0,
            calls: 0,
            citations: 0,
            finish: None,
            usage: None,
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        out.extend_from_slice(b"event: message-start\ndata: {\"id\":\"");
        json::escape_into(out, &self.id);
        out.extend_from_slice(
            b"\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\
              \"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n",
        );
    }

    fn open(&mut self, block: u32, kind: Block<'_>, out: &mut Vec<u8>) {
        let place = block as usize;
        if self.blocks.len() <= place {
            self.blocks.resize(place + 1, Open::default());
        }
        let (kind, index) = match kind {
            Block::Text | Block::Refusal => (Kind::Text, self.contents),
            Block::Reasoning => (Kind::Thinking, self.contents),
            Block::ToolCall { id, name, proof } => {
                numbered("tool-call-start", self.calls, out);
                out.extend_from_slice(b",\"delta\":{\"message\":{\"tool_calls\":");
                tool_call(&id, &name, proof.as_ref(), &self.id, block, |_| {}, out);
                out.extend_from_slice(b"}}}\n\n");
                (Kind::Call, self.calls)
            }
            Block::VendorTool { .. } | Block::Media { .. } => (Kind::Silent, 0),
        };
        match kind {
            Kind::Text | Kind::Thinking => {
                numbered("content-start", index, out);
                out.extend_from_slice(if kind == Kind::Text {
                    br#","delta":{"message":{"content":{"type":"text","text":""}}}}"#.as_slice()
                } else {
                    br#","delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#
                });
                out.extend_from_slice(b"\n\n");
                self.contents += 1;
            }
            Kind::Call => self.calls += 1,
            Kind::Silent => {}
        }
        self.blocks[place] = Open { kind, index, said: false };
    }

    /// What belongs to a block leaves now, or when its turn has come.
    fn in_turn(&mut self, block: u32, out: &mut Vec<u8>, say: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        if self.current == Some(block) {
            return say(self, out);
        }
        let Some(place) = self.waiting.iter().position(|waiting| waiting.block == block) else { return };
        let mut events = std::mem::take(&mut self.waiting[place].events);
        let before = events.len();
        say(self, &mut events);
        self.waiting_bytes += events.len() - before;
        self.waiting[place].events = events;
        if self.waiting_bytes > WAITING_BYTES_MAX {
            self.fail(Code::UpstreamInvalid, "The vendor made calls that are too long.", out);
        }
    }

    /// The current block is over: those that waited leave in their order, up to one that goes on.
    fn next(&mut self, out: &mut Vec<u8>) {
        self.current = None;
        while let Some(waiting) = self.waiting.pop_front() {
            self.waiting_bytes -= waiting.events.len();
            out.extend_from_slice(&waiting.events);
            if !waiting.closed {
                self.current = Some(waiting.block);
                return;
            }
        }
    }

    fn piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize) else { return };
        let index = open.index;
        match (open.kind, piece) {
            (Kind::Text, Piece::Text(text)) if !text.is_empty() => {
                numbered("content-delta", index, out);
                out.extend_from_slice(b",\"delta\":{\"message\":{\"content\":{\"text\":\"");
                out.extend_from_slice(text.raw());
                out.extend_from_slice(b"\"}}}}\n\n");
            }
            (Kind::Thinking, Piece::Text(text)) if !text.is_empty() => {
                numbered("content-delta", index, out);
                out.extend_from_slice(b",\"delta\":{\"message\":{\"content\":{\"thinking\":\"");
                out.extend_from_slice(text.raw());
                out.extend_from_slice(b"\"}}}}\n\n");
            }
            (Kind::Thinking, Piece::Proof(proof)) => {
                numbered("content-delta", index, out);
                out.extend_from_slice(b",\"delta\":{\"message\":{\"content\":{\"thinking\":\"\"");
                signature(Some(&proof), out);
                out.extend_from_slice(b"}}}}\n\n");
            }
            (Kind::Call, Piece::Arguments(text)) if !text.is_empty() => {
                open.said = true;
                arguments(index, |out| out.extend_from_slice(text.raw()), out);
            }
            (Kind::Call, Piece::ArgumentsObject(object)) => {
                open.said = true;
                arguments(index, |out| escape_json(out, object), out);
            }
            (Kind::Text, Piece::Citation(citation)) => {
                numbered("citation-start", self.citations, out);
                out.extend_from_slice(b",\"delta\":{\"message\":{\"citations\":");
                write_citation(&citation, index, None, out);
                out.extend_from_slice(b"}}}\n\n");
                numbered("citation-end", self.citations, out);
                out.extend_from_slice(b"}\n\n");
                self.citations += 1;
            }
            _ => {}
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize).map(std::mem::take) else { return };
        match open.kind {
            Kind::Text | Kind::Thinking => numbered("content-end", open.index, out),
            Kind::Call => {
                if !open.said {
                    // Callers parse what there is.
                    arguments(open.index, |out| out.extend_from_slice(b"{}"), out);
                }
                numbered("tool-call-end", open.index, out);
            }
            Kind::Silent => return,
        }
        out.extend_from_slice(b"}\n\n");
    }
}

impl WriteEvents for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Piece { block, piece } => self.in_turn(block, out, |writer, out| writer.piece(block, piece, out)),
            Event::Start { .. } => self.start(out),
            Event::Open { block, choice, kind } => {
                self.start(out);
                // There is one answer to a call, and nothing but words and calls in it.
                let shown = !matches!(kind, Block::VendorTool { .. } | Block::Media { .. });
                if choice > 0 || !shown || block as usize >= BLOCKS_MAX {
                    return;
                }
                if self.current.is_none() {
                    self.current = Some(block);
                } else {
                    self.waiting.push_back(Waiting { block, events: Vec::new(), closed: false });
                }
                self.in_turn(block, out, |writer, out| writer.open(block, kind, out));
            }
            Event::Close { block } => {
                self.in_turn(block, out, |writer, out| writer.close(block, out));
                if self.current == Some(block) {
                    self.next(out);
                } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
                    waiting.closed = true;
                }
            }
            Event::Usage { usage, .. } => self.usage = Some(usage),
            Event::Finish { choice: 0, why } => self.finish = Some(why.into_owned()),
            Event::Finish { .. } | Event::UsageInvalid | Event::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.start(out);
        out.extend_from_slice(b"event: message-end\ndata: {\"type\":\"message-end\",\"delta\":");
        Object::write(out, |delta| {
            finish(self.finish.as_ref(), delta);
            if let Some(usage) = &self.usage {
                write_usage(usage, delta.member("usage"));
            }
        });
        out.extend_from_slice(b"}\n\n");
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            write_error(out, code, message);
        }
    }
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    const NOTHING: &Choice = &Choice { blocks: Vec::new(), finish: None };
    let choice = answer.choices.first().unwrap_or(NOTHING);
    Object::write(out, |object| {
        object.str("id", heading.id);
        object.object("message", |message| whole_message(choice, heading, message));
        finish(choice.finish.as_ref(), object);
        if let Some(usage) = &answer.usage {
            write_usage(usage, object.member("usage"));
        }
    });
}

fn whole_message(choice: &Choice, heading: &Heading<'_>, message: &mut Object<'_>) {
    message.str("role", "assistant");
    let (mut contents, mut calls, mut citations) = (Vec::new(), Vec::new(), Vec::new());
    let mut index = 0;
    Array::write(&mut contents, |list| {
        for whole in &choice.blocks {
            match whole.kind {
                Block::Text | Block::Refusal => {
                    list.object(|part| {
                        part.str("type", "text").text("text", &whole.text());
                    });
                }
                Block::Reasoning if !whole.text.is_empty() || whole.proof.is_some() => {
                    let out = list.element();
                    out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
                    quoted(out, &whole.text);
                    signature(whole.proof.as_ref(), out);
                    out.push(b'}');
                }
                _ => continue,
            }
            for citation in &whole.citations {
                if !citations.is_empty() {
                    citations.push(b',');
                }
                write_citation(citation, index, Some(&whole.text), &mut citations);
            }
            index += 1;
        }
    });
    Array::write(&mut calls, |list| {
        for (block, whole) in choice.blocks.iter().enumerate() {
            if let Block::ToolCall { id, name, proof } = &whole.kind {
                let proof = proof.as_ref().or(whole.proof.as_ref());
                tool_call(id, name, proof, heading.id, block as u32, |out| all_arguments(whole, out), list.element());
            }
        }
    });
    if contents == b"[]" && calls == b"[]" {
        // Callers look at the first part.
        contents = br#"[{"type":"text","text":""}]"#.to_vec();
    }
    if contents != b"[]" {
        message.raw("content", &contents);
    }
    if calls != b"[]" {
        message.raw("tool_calls", &calls);
    }
    if !citations.is_empty() {
        let out = message.member("citations");
        out.push(b'[');
        out.extend_from_slice(&citations);
        out.push(b']');
    }
}

fn all_arguments(whole: &Whole, out: &mut Vec<u8>) {
    match &whole.object {
        Some(object) => escape_json(out, object),
        None if whole.text.is_empty() => out.extend_from_slice(b"{}"),
        None => out.extend_from_slice(&whole.text),
    }
}

/// An event up to and with its number.
fn numbered(kind: &str, index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: {\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"index\":");
    number(out, index);
}

fn arguments(index: u64, fill: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    numbered("tool-call-delta", index, out);
    out.extend_from_slice(b",\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"");
    fill(out);
    out.extend_from_slice(b"\"}}}}}\n\n");
}

fn tool_call(
    id: &Text<'_>,
    name: &Text<'_>,
    proof: Option<&Proof<'_>>,
    answer: &str,
    block: u32,
    arguments: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"id\":\"");
    if id.is_empty() {
        out.extend_from_slice(b"call_");
        json::escape_into(out, answer);
        out.push(b'_');
        number(out, u64::from(block));
    } else {
        out.extend_from_slice(id.raw());
    }
    out.extend_from_slice(b"\",\"type\":\"function\",\"function\":{\"name\":");
    quoted(out, name.raw());
    out.extend_from_slice(b",\"arguments\":\"");
    arguments(out);
    out.extend_from_slice(b"\"}");
    signature(proof, out);
    out.push(b'}');
}

/// A member that Cohere does not have and its SDKs keep: callers who send a message back as they got it bring it along.
fn signature(proof: Option<&Proof<'_>>, out: &mut Vec<u8>) {
    if let Some(proof) = proof {
        out.extend_from_slice(b",\"signature\":");
        quoted(out, &proof::wrap(proof, Tongue::Cohere));
    }
}

fn write_citation(citation: &Citation<'_>, content: u64, text: Option<&[u8]>, out: &mut Vec<u8>) {
    Object::write(out, |object| {
        if let Some((start, end)) = citation.span {
            object.number("start", start).number("end", end);
            if let Some(cited) = text.and_then(|text| cited(text, start, end)) {
                object.str("text", &cited);
            }
        }
        object.array("sources", |sources| {
            sources.object(|source| {
                source.str("type", "document");
                if let Some(id) = citation.document.as_ref().or(citation.url.as_ref()) {
                    source.text("id", id);
                }
                source.object("document", |document| {
                    let fields = [("title", &citation.title), ("url", &citation.url), ("snippet", &citation.quote)];
                    for (key, value) in fields {
                        if let Some(value) = value {
                            document.text(key, value);
                        }
                    }
                });
            });
        });
        object.number("content_index", content).str("type", "TEXT_CONTENT");
    });
}

/// The letters from `start` to `end` of the inside of a string.
fn cited(raw: &[u8], start: u64, end: u64) -> Option<String> {
    let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
    let words: String = plain(raw).chars().skip(start).take(end.checked_sub(start)?).collect();
    (!words.is_empty()).then_some(words)
}

fn finish(why: Option<&Finish<'_>>, object: &mut Object<'_>) {
    let reason = match why {
        None | Some(Finish::Stop) => "COMPLETE",
        Some(Finish::Sequence(_)) => "STOP_SEQUENCE",
        Some(Finish::Length) => "MAX_TOKENS",
        Some(Finish::ToolCalls) => "TOOL_CALL",
        Some(Finish::Filtered) => {
            object.str("finish_reason", "ERROR").str("error", FILTERED);
            return;
        }
        Some(Finish::Other(reason)) if reason.raw() == b"TIMEOUT" => "TIMEOUT",
        // Another vendor's own reason has no word here: it is an end.
        Some(Finish::Other(_) | Finish::Paused) => "COMPLETE",
    };
    object.str("finish_reason", reason);
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let counts = |object: &mut Object<'_>| {
        object.number("input_tokens", usage.prompt_tokens()).number("output_tokens", usage.answer_tokens());
    };
    Object::write(out, |object| {
        object.object("billed_units", counts).object("tokens", counts);
        object.number("cached_tokens", usage.of(Class::CacheRead));
    });
}
