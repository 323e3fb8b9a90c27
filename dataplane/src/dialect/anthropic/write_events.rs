//! Answers for callers of Anthropic's messages.
//!
//! Blocks follow one another here: while one is open, what other vendors say of later ones is held back until it closes.

use weir_shared::fault::Code;
use weir_shared::usage::{Class, Usage};

use crate::dialect::answer::{Answer, Choice, Whole};
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::{Array, Object, number};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::proof;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::{Text, escape_json};

pub struct Writer {
    id: String,
    model: String,
    started: bool,
    over: bool,
    blocks: Vec<Told>,
    /// The block that is open on the caller's side.
    open: Option<u32>,
    /// The number of the next one there.
    next: u64,
    finish: Option<Finish<'static>>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct Told {
    kind: Kind,
    /// Everything but its opening, for a block whose turn has not come.
    held: Vec<u8>,
    opening: Vec<u8>,
    begun: bool,
    closed: bool,
    said: bool,
    place: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Silent,
    Text,
    Thinking,
    Call,
}

/// More are no answer, and more is not held back.
const BLOCKS_MAX: usize = 16 << 10;
const HELD_BYTES_MAX: usize = 16 << 20;

impl Writer {
    pub fn new(heading: &Heading<'_>) -> Self {
        Self {
            id: heading.id.to_owned(),
            model: heading.model.to_owned(),
            started: false,
            over: false,
            blocks: Vec::with_capacity(8),
            open: None,
            next: 0,
            finish: None,
            usage: None,
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        Object::write(out, |message| {
            message_head(&self.id, &self.model, message);
            message.raw("content", "[]").null("stop_reason").null("stop_sequence");
            write_usage(&self.usage.unwrap_or(Usage::NONE), message.member("usage"));
        });
        out.extend_from_slice(b"}\n\n");
    }

    fn open(&mut self, block: u32, choice: u32, kind: Block<'_>, out: &mut Vec<u8>) {
        let place = block as usize;
        if place >= BLOCKS_MAX {
            return;
        }
        if self.blocks.len() <= place {
            self.blocks.resize_with(place + 1, Told::default);
        }
        let mut told = Told::default();
        // There is one answer to a call.
        match kind {
            _ if choice != 0 => {}
            Block::Text | Block::Refusal => {
                told.kind = Kind::Text;
                told.opening.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}");
            }
            Block::Reasoning => told.kind = Kind::Thinking,
            Block::ToolCall { id, name, proof } => {
                told.kind = Kind::Call;
                if let Some(proof) = proof {
                    self.signed(&proof, out);
                }
                call_head(&id, &name, &self.id, block, &mut told.opening);
                told.opening.extend_from_slice(b"\"input\":{}}");
            }
            Block::VendorTool { .. } | Block::Media { .. } => {}
        }
        // A thought is opened when it is known what it is: words, or something sealed.
        let opens = matches!(told.kind, Kind::Text | Kind::Call);
        self.blocks[place] = told;
        if opens && self.open.is_none() {
            self.begin(block, out);
        }
    }

    /// The signature of a call rides in a sealed thought in front of it, where callers bring it back.
    fn signed(&mut self, proof: &Proof<'_>, out: &mut Vec<u8>) {
        if self.open.is_some() {
            return;
        }
        let mut opening = Vec::new();
        redacted(proof, &mut opening);
        block_start(self.next, &opening, out);
        block_stop(self.next, out);
        self.next += 1;
    }

    fn begin(&mut self, block: u32, out: &mut Vec<u8>) {
        let next = self.next;
        let Some(told) = self.blocks.get_mut(block as usize) else { return };
        (told.begun, told.place) = (true, next);
        block_start(next, &told.opening, out);
        told.opening = Vec::new();
        self.open = Some(block);
        self.next += 1;
    }

    /// A piece of the open block goes out, one of another is held back.
    fn say(&mut self, block: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.open.is_none() {
            self.begin(block, out);
        }
        if self.open == Some(block) {
            let place = self.blocks[block as usize].place;
            out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
            number(out, place);
            out.extend_from_slice(b",\"delta\":{");
            fill(out);
            out.extend_from_slice(b"}}\n\n");
            return;
        }
        let told = &mut self.blocks[block as usize];
        if told.held.len() < HELD_BYTES_MAX {
            // Separated by a byte that no JSON text holds.
            fill(&mut told.held);
            told.held.push(0);
        }
    }

    fn piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(told) = self.blocks.get_mut(block as usize).filter(|told| !told.closed) else { return };
        match (told.kind, piece) {
            (Kind::Text, Piece::Text(text)) if !text.is_empty() => self.say(block, out, |out| {
                out.extend_from_slice(b"\"type\":\"text_delta\",\"text\":\"");
                out.extend_from_slice(text.raw());
                out.push(b'"');
            }),
            (Kind::Text, Piece::Citation(citation)) => self.say(block, out, |out| {
                out.extend_from_slice(b"\"type\":\"citations_delta\",\"citation\":");
                Object::write(out, |cited| citation_of(&citation, cited));
            }),
            (Kind::Thinking, Piece::Text(text)) if !text.is_empty() => {
                if !told.begun && told.opening.is_empty() {
                    told.opening.extend_from_slice(THINKING);
                }
                self.say(block, out, |out| {
                    out.extend_from_slice(b"\"type\":\"thinking_delta\",\"thinking\":\"");
                    out.extend_from_slice(text.raw());
                    out.push(b'"');
                });
            }
            (Kind::Thinking, Piece::Proof(proof)) => {
                told.said = true;
                if !told.begun && told.opening.is_empty() {
                    if proof.sealed {
                        redacted(&proof, &mut told.opening);
                        if self.open.is_none() {
                            self.begin(block, out);
                        }
                        return;
                    }
                    told.opening.extend_from_slice(THINKING);
                }
                self.say(block, out, |out| {
                    out.extend_from_slice(b"\"type\":\"signature_delta\",\"signature\":\"");
                    out.extend_from_slice(&proof::wrap(&proof, Tongue::Messages));
                    out.push(b'"');
                });
            }
            (Kind::Call, Piece::Arguments(text)) if !text.is_empty() => self.say(block, out, |out| {
                out.extend_from_slice(b"\"type\":\"input_json_delta\",\"partial_json\":\"");
                out.extend_from_slice(text.raw());
                out.push(b'"');
            }),
            (Kind::Call, Piece::ArgumentsObject(object)) => self.say(block, out, |out| {
                out.extend_from_slice(b"\"type\":\"input_json_delta\",\"partial_json\":\"");
                escape_json(out, object);
                out.push(b'"');
            }),
            _ => {}
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(told) = self.blocks.get_mut(block as usize) else { return };
        told.closed = true;
        if self.open == Some(block) {
            block_stop(told.place, out);
            self.open = None;
            self.catch_up(out);
        }
    }

    /// The next blocks that were held back, as far as they have come.
    fn catch_up(&mut self, out: &mut Vec<u8>) {
        while self.open.is_none() {
            let waits = |told: &Told| !told.begun && told.kind != Kind::Silent && !told.opening.is_empty();
            let Some(block) = self.blocks.iter().position(waits) else { return };
            self.begin(block as u32, out);
            let held = std::mem::take(&mut self.blocks[block].held);
            for piece in held.split(|byte| *byte == 0).filter(|piece| !piece.is_empty()) {
                self.say(block as u32, out, |out| out.extend_from_slice(piece));
            }
            if self.blocks[block].closed {
                block_stop(self.blocks[block].place, out);
                self.open = None;
            }
        }
    }
}

const THINKING: &[u8] = b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}";

impl WriteEvents for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Piece { block, piece } => self.piece(block, piece, out),
            // What the prompt took is told at the start where the vendor says so early: it is waited for a moment.
            Event::Start { .. } => {}
            Event::Usage { usage, .. } => self.usage = Some(usage),
            Event::Open { block, choice, kind } => {
                self.start(out);
                self.open(block, choice, kind, out);
            }
            Event::Close { block } => self.close(block, out),
            Event::Finish { choice: 0, why } => self.finish = Some(why.into_owned()),
            Event::Finish { .. } | Event::UsageInvalid | Event::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.start(out);
        for block in 0..self.blocks.len() {
            self.blocks[block].closed = true;
        }
        if let Some(block) = self.open {
            self.close(block, out);
        }
        self.catch_up(out);
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
        let mut delta = Vec::new();
        Object::write(&mut delta, |delta| stop(self.finish.as_ref(), delta));
        out.extend_from_slice(&delta[1..]);
        out.extend_from_slice(b",\"usage\":");
        write_usage(&self.usage.unwrap_or(Usage::NONE), out);
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            super::write_error(out, code, message);
        }
    }
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    const NOTHING: &Choice = &Choice { blocks: Vec::new(), finish: None };
    let choice = answer.choices.first().unwrap_or(NOTHING);
    Object::write(out, |message| {
        message_head(heading.id, heading.model, message);
        message.array("content", |content| {
            for (place, block) in choice.blocks.iter().enumerate() {
                whole_block(block, place as u32, heading, content);
            }
        });
        stop(choice.finish.as_ref(), message);
        write_usage(&answer.usage.unwrap_or(Usage::NONE), message.member("usage"));
    });
}

fn message_head(id: &str, model: &str, message: &mut Object<'_>) {
    message.str("id", &format!("msg_{id}")).str("type", "message").str("role", "assistant").str("model", model);
}

fn whole_block(block: &Whole, place: u32, heading: &Heading<'_>, content: &mut Array<'_>) {
    match &block.kind {
        Block::Text | Block::Refusal if block.text.is_empty() && block.citations.is_empty() => {}
        Block::Text | Block::Refusal => {
            content.object(|object| {
                object.str("type", "text").text("text", &block.text());
                if !block.citations.is_empty() {
                    object.array("citations", |list| {
                        block.citations.iter().for_each(|citation| {
                            list.object(|cited| citation_of(citation, cited));
                        });
                    });
                }
            });
        }
        Block::Reasoning => match &block.proof {
            Some(proof) if proof.sealed && block.text.is_empty() => redacted(proof, content.element()),
            proof => {
                if block.text.is_empty() && proof.is_none() {
                    return;
                }
                content.object(|object| {
                    object.str("type", "thinking").text("thinking", &block.text());
                    let carried = proof.as_ref().map(|proof| proof::wrap(proof, Tongue::Messages)).unwrap_or_default();
                    object.text("signature", &Text::of_raw(&carried));
                });
            }
        },
        Block::ToolCall { id, name, proof } => {
            if let Some(proof) = proof {
                redacted(proof, content.element());
            }
            let out = content.element();
            call_head(id, name, heading.id, place, out);
            out.extend_from_slice(b"\"input\":");
            input(block, out);
            out.push(b'}');
        }
        Block::VendorTool { .. } | Block::Media { .. } => {}
    }
}

/// An object, whatever the model wrote: what is no JSON is told as text under one name, since a caller's program reads an
/// object here and nothing else.
fn input(block: &Whole, out: &mut Vec<u8>) {
    use crate::dialect::text::{Arguments, Json};
    let arguments = match &block.object {
        Some(object) => Arguments::Object(Json::of(object)),
        None => Arguments::InString(block.text()),
    };
    let before = out.len();
    if arguments.write_object(out).is_none() {
        out.truncate(before);
        Object::write(out, |object| _ = object.text("arguments", &block.text()));
    }
}

fn call_head(id: &Text<'_>, name: &Text<'_>, own: &str, block: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
    if id.is_empty() {
        out.extend_from_slice(format!("call_{own}_{block}").as_bytes());
    } else {
        out.extend_from_slice(id.raw());
    }
    out.extend_from_slice(b"\",\"name\":\"");
    out.extend_from_slice(name.raw());
    out.extend_from_slice(b"\",");
}

fn redacted(proof: &Proof<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":\"");
    out.extend_from_slice(&proof::wrap(proof, Tongue::Messages));
    out.extend_from_slice(b"\"}");
}

fn block_start(place: u64, block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
    number(out, place);
    out.extend_from_slice(b",\"content_block\":");
    out.extend_from_slice(block);
    out.extend_from_slice(b"}\n\n");
}

fn block_stop(place: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    number(out, place);
    out.extend_from_slice(b"}\n\n");
}

fn citation_of(citation: &Citation<'_>, cited: &mut Object<'_>) {
    let nothing = Text::default();
    let quote = citation.quote.as_ref().unwrap_or(&nothing);
    match (&citation.url, &citation.document) {
        (None, Some(document)) => {
            cited.str("type", "char_location").text("cited_text", quote);
            let place = std::str::from_utf8(document.raw()).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            cited.number("document_index", place);
            match &citation.title {
                Some(title) => _ = cited.text("document_title", title),
                None => _ = cited.null("document_title"),
            }
            cited.number("start_char_index", 0).number("end_char_index", 0).null("file_id");
        }
        (url, _) => {
            cited.str("type", "web_search_result_location").text("cited_text", quote);
            cited.text("url", url.as_ref().unwrap_or(&nothing));
            cited.text("title", citation.title.as_ref().unwrap_or(&nothing)).str("encrypted_index", "");
        }
    }
}

fn stop(finish: Option<&Finish<'_>>, object: &mut Object<'_>) {
    let reason = match finish {
        Some(Finish::Stop | Finish::Other(_)) | None => "end_turn",
        Some(Finish::Sequence(_)) => "stop_sequence",
        Some(Finish::Length) => "max_tokens",
        Some(Finish::ToolCalls) => "tool_use",
        Some(Finish::Filtered) => "refusal",
        Some(Finish::Paused) => "pause_turn",
    };
    object.str("stop_reason", reason);
    match finish {
        Some(Finish::Sequence(Some(which))) => _ = object.text("stop_sequence", which),
        _ => _ = object.null("stop_sequence"),
    }
}

/// Disjoint, as the middle counts; what this language has no class for counts as input or output.
fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let (read, short, long) =
        (usage.of(Class::CacheRead), usage.of(Class::CacheWrite5m), usage.of(Class::CacheWrite1h));
    let input = usage.prompt_tokens().saturating_sub(read).saturating_sub(short).saturating_sub(long);
    Object::write(out, |told| {
        told.number("input_tokens", input);
        told.number("cache_creation_input_tokens", short + long).number("cache_read_input_tokens", read);
        told.object("cache_creation", |parts| {
            parts.number("ephemeral_5m_input_tokens", short).number("ephemeral_1h_input_tokens", long);
        });
        told.number("output_tokens", usage.answer_tokens());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::Call;
    use crate::wire::json;

    fn write(events: Vec<Event<'_>>) -> String {
        let call = Call::default();
        let heading = Heading { id: "r1", model: "m", created_s: 0, call: &call, sse: true };
        let mut writer = Writer::new(&heading);
        let mut out = Vec::new();
        events.into_iter().for_each(|event| writer.write(event, &mut out));
        writer.end(&mut out);
        for line in out.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: ")) {
            json::validate(line).unwrap_or_else(|why| panic!("{why:?} {}", String::from_utf8_lossy(line)));
        }
        String::from_utf8(out).unwrap()
    }

    fn call(name: &'static str) -> Block<'static> {
        Block::ToolCall { id: Text::of_raw(name.as_bytes()), name: Text::of_raw(name.as_bytes()), proof: None }
    }

    #[test]
    fn blocks_that_were_open_at_once_follow_one_another() {
        let piece = |block, raw: &'static [u8]| Event::Piece { block, piece: Piece::Arguments(Text::of_raw(raw)) };
        let out = write(vec![
            Event::Start { id: Text::default() },
            Event::Open { block: 0, choice: 0, kind: call("a") },
            Event::Open { block: 1, choice: 0, kind: call("b") },
            piece(1, b"{\\\"x\\\""),
            piece(0, b"{}"),
            piece(1, b":1}"),
            Event::Close { block: 1 },
            Event::Close { block: 0 },
            Event::Finish { choice: 0, why: Finish::ToolCalls },
        ]);
        let kinds: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        let expected = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(kinds, expected, "{out}");
        assert!(out.contains("\"tool_use\"") && out.ends_with("{\"type\":\"message_stop\"}\n\n"));
    }

    #[test]
    fn a_sealed_thought_and_a_signed_call_ride_as_redacted_thoughts() {
        let sealed = Proof { of: Tongue::Responses, data: Text::of_raw(b"abc"), sealed: true };
        let signed = Proof { of: Tongue::Generate, data: Text::of_raw(b"sig"), sealed: false };
        let kind = Block::ToolCall { id: Text::default(), name: Text::of_raw(b"f"), proof: Some(signed) };
        let out = write(vec![
            Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
            Event::Piece { block: 0, piece: Piece::Proof(sealed) },
            Event::Close { block: 0 },
            Event::Open { block: 1, choice: 0, kind },
            Event::Close { block: 1 },
        ]);
        assert!(out.contains("\"data\":\"weir.responses.s.abc\""), "{out}");
        assert!(out.contains("\"data\":\"weir.generate.p.sig\""), "{out}");
        assert!(out.contains("\"id\":\"call_r1_1\""), "{out}");
    }
}
