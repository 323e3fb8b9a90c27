//! Answers for callers of Cohere's language: pieces spliced between what is the same in all events of a type.

use std::collections::VecDeque;

use weir_shared::fault::Code;
use weir_shared::usage::Usage;

use super::write_answer::{finish, write_citation, write_usage};
use super::write_error;
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::{Object, number, quoted};
use crate::dialect::event::{Block, Event, Finish, Piece};
use crate::dialect::proof;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::{Text, escape_json};
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

    fn held(&self) -> usize {
        self.waiting_bytes
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            write_error(out, code, message);
        }
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

pub fn tool_call(
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
pub fn signature(proof: Option<&Proof<'_>>, out: &mut Vec<u8>) {
    if let Some(proof) = proof {
        out.extend_from_slice(b",\"signature\":");
        quoted(out, &proof::wrap(proof, Tongue::Cohere));
    }
}
