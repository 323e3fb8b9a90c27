//! Answers of vendors that speak Messages.

use super::{blames_caller, take};
use crate::dialect::Reading;
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::Text;
use crate::wire::json;

type Each<'e> = &'e mut dyn FnMut(Event<'_>);

#[derive(Default)]
pub struct Reader {
    started: bool,
    /// How many blocks there were so far: the next one's number.
    blocks: u32,
    open: Vec<Open>,
    reading: Reading,
}

/// A block that is not closed, by the vendor's number and ours.
#[derive(Clone, Copy)]
struct Open {
    index: u64,
    block: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Call,
    /// Run by the vendor, or newer than this file.
    Silent,
}

/// More at once are no answer; Anthropic has one.
const OPEN_MAX: usize = 64;
const BLOCKS_MAX: u32 = 16 << 10;

/// What an event has, found in one pass.
#[derive(Default)]
struct Found<'a> {
    kind: &'a [u8],
    index: Option<u64>,
    /// The whole of `message`, `content_block`, `usage` or `error`.
    message: &'a [u8],
    block: &'a [u8],
    usage: &'a [u8],
    error: &'a [u8],
    /// Of the delta.
    piece: Option<(Form, &'a [u8])>,
    is_citation: bool,
    stop: &'a [u8],
    sequence: &'a [u8],
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Thought,
    Arguments,
    Signature,
}

impl ReadEvents for Reader {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        let mut found = Found { kind: name, ..Found::default() };
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"type") => found.kind = json::inner(member.value),
            (1, b"index") => found.index = json::integer(member.value),
            (1, b"message") => found.message = member.value,
            (1, b"content_block") => found.block = member.value,
            (1, b"usage") if member.value != b"null" => found.usage = member.value,
            (1, b"error") => found.error = member.value,
            (2, b"text") => found.piece = Some((Form::Text, member.value)),
            (2, b"thinking") => found.piece = Some((Form::Thought, member.value)),
            (2, b"partial_json") => found.piece = Some((Form::Arguments, member.value)),
            (2, b"signature") => found.piece = Some((Form::Signature, member.value)),
            (2, b"type") if member.value == b"\"citations_delta\"" => found.is_citation = true,
            (2, b"stop_reason") => found.stop = json::inner(member.value),
            (2, b"stop_sequence") => found.sequence = member.value,
            _ => {}
        })?;
        match found.kind {
            b"content_block_delta" => self.delta(&found, data, each),
            b"content_block_start" => self.open(&found, each)?,
            b"content_block_stop" => self.close(found.index, each),
            b"message_start" => {
                self.start(found.message, each);
                self.usage(json::get(found.message, "usage").unwrap_or_default(), each);
            }
            b"message_delta" => {
                self.start(b"", each);
                self.usage(found.usage, each);
                if !found.stop.is_empty() {
                    each(Event::Finish { choice: 0, why: finish(found.stop, found.sequence) });
                }
            }
            b"message_stop" => return Ok(Step::Over),
            b"error" => {
                self.start(b"", each);
                fail(found.error, each);
                return Ok(Step::Over);
            }
            _ => {}
        }
        Ok(Step::More)
    }

    fn end(&mut self, each: Each<'_>) {
        for open in std::mem::take(&mut self.open) {
            each(Event::Close { block: open.block });
        }
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let (mut id, mut error, mut content, mut usage) = (None, None, &b""[..], &b""[..]);
        let (mut reason, mut sequence) = (&b""[..], &b""[..]);
        json::scan(body, |member| match (member.depth, member.key) {
            (1, b"id") => id = Text::of_value(member.value),
            (1, b"error") => error = Some(member.value).filter(|error| error.starts_with(b"{")),
            (1, b"content") => content = member.value,
            (1, b"usage") => usage = member.value,
            (1, b"stop_reason") => reason = json::inner(member.value),
            (1, b"stop_sequence") => sequence = member.value,
            _ => {}
        })?;
        self.start_as(id, each);
        if let Some(error) = error {
            fail(error, each);
            return Ok(());
        }
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Malformed("no message"));
        }
        for block in json::elements(content) {
            self.whole(block, each)?;
        }
        self.usage(usage, each);
        if !reason.is_empty() {
            each(Event::Finish { choice: 0, why: finish(reason, sequence) });
        }
        Ok(())
    }
}

impl Reader {
    fn start(&mut self, message: &[u8], each: Each<'_>) {
        if !self.started {
            self.start_as(json::get(message, "id").and_then(Text::of_value), each);
        }
    }

    fn start_as(&mut self, id: Option<Text<'_>>, each: Each<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            each(Event::Start { id: id.unwrap_or_default() });
        }
    }

    fn delta(&mut self, found: &Found<'_>, data: &[u8], each: Each<'_>) {
        let Some(open) = self.open.iter().rev().find(|open| Some(open.index) == found.index) else { return };
        let block = open.block;
        if found.is_citation {
            if open.kind == Kind::Text
                && let Some(citation) = json::dig(data, &["delta", "citation"])
            {
                each(Event::Piece { block, piece: Piece::Citation(cited(citation)) });
            }
            return;
        }
        let Some((form, text)) = found.piece.and_then(|(form, value)| Some((form, Text::of_value(value)?))) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        let piece = match (form, open.kind) {
            (Form::Text, Kind::Text) | (Form::Thought, Kind::Thought) => Piece::Text(text),
            (Form::Arguments, Kind::Call) => Piece::Arguments(text),
            (Form::Signature, Kind::Thought) => Piece::Proof(own(text, false)),
            _ => return,
        };
        each(Event::Piece { block, piece });
    }

    fn open(&mut self, found: &Found<'_>, each: Each<'_>) -> Result<(), Malformed> {
        self.start(b"", each);
        let index = found.index.ok_or(Malformed("a block without an index"))?;
        if self.open.len() >= OPEN_MAX {
            return Err(Malformed("more blocks at once than anybody sends"));
        }
        let (block, kind) = self.begin(found.block, each)?;
        self.open.push(Open { index, block, kind });
        // What the block starts with is its first piece; it is nearly always empty.
        self.contents(found.block, block, kind, each);
        Ok(())
    }

    fn close(&mut self, index: Option<u64>, each: Each<'_>) {
        if let Some(place) = self.open.iter().rposition(|open| Some(open.index) == index) {
            let open = self.open.remove(place);
            each(Event::Close { block: open.block });
        }
    }

    fn whole(&mut self, content: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let (block, kind) = self.begin(content, each)?;
        self.contents(content, block, kind, each);
        each(Event::Close { block });
        Ok(())
    }

    fn begin(&mut self, content: &[u8], each: Each<'_>) -> Result<(u32, Kind), Malformed> {
        let block = self.blocks;
        if block >= BLOCKS_MAX {
            return Err(Malformed("more blocks than an answer has"));
        }
        self.blocks += 1;
        let member = |name: &str| json::get(content, name).and_then(Text::of_value).unwrap_or_default();
        let (kind, opened) = match json::get(content, "type").map(json::inner).unwrap_or_default() {
            b"text" => (Kind::Text, Block::Text),
            b"thinking" | b"redacted_thinking" => (Kind::Thought, Block::Reasoning),
            b"tool_use" => (Kind::Call, Block::ToolCall { id: member("id"), name: member("name"), proof: None }),
            other => {
                let name = Some(member("name")).filter(|name| !name.is_empty()).unwrap_or(Text::of_raw(other));
                (Kind::Silent, Block::VendorTool { name })
            }
        };
        each(Event::Open { block, choice: 0, kind: opened });
        Ok((block, kind))
    }

    fn contents(&mut self, content: &[u8], block: u32, kind: Kind, each: Each<'_>) {
        for (key, value) in json::members(content) {
            let text = || Text::of_value(value).filter(|text| !text.is_empty());
            let piece = match (kind, key) {
                (Kind::Text, b"text") | (Kind::Thought, b"thinking") => text().map(Piece::Text),
                (Kind::Thought, b"signature") => text().map(|text| Piece::Proof(own(text, false))),
                (Kind::Thought, b"data") => text().map(|text| Piece::Proof(own(text, true))),
                (Kind::Call, b"input") => {
                    (value.starts_with(b"{") && !is_empty_object(value)).then_some(Piece::ArgumentsObject(value))
                }
                (Kind::Text, b"citations") => {
                    for citation in json::elements(value) {
                        each(Event::Piece { block, piece: Piece::Citation(cited(citation)) });
                    }
                    None
                }
                _ => None,
            };
            if let Some(piece) = piece {
                each(Event::Piece { block, piece });
            }
        }
    }

    fn usage(&mut self, usage: &[u8], each: Each<'_>) {
        if !usage.starts_with(b"{") {
            return;
        }
        take(usage, &mut self.reading);
        if std::mem::take(&mut self.reading.usage_invalid) {
            each(Event::UsageInvalid);
        } else if let Some(usage) = self.reading.usage {
            each(Event::Usage { usage, tier: self.reading.tier });
        }
    }
}

fn own(data: Text<'_>, sealed: bool) -> Proof<'_> {
    Proof { of: Tongue::Messages, data, sealed }
}

fn is_empty_object(value: &[u8]) -> bool {
    json::members(value).next().is_none()
}

fn cited(citation: &[u8]) -> Citation<'_> {
    let text = |name: &str| json::get(citation, name).and_then(Text::of_value).filter(|text| !text.is_empty());
    // Where it stands in a document that the caller gave is no place in the answer.
    let number = json::get(citation, "document_index").filter(|value| json::integer(value).is_some());
    Citation {
        url: text("url").or_else(|| text("source")),
        title: text("title").or_else(|| text("document_title")),
        quote: text("cited_text"),
        span: None,
        document: number.map(Text::of_raw),
    }
}

fn finish<'a>(reason: &'a [u8], sequence: &'a [u8]) -> Finish<'a> {
    match reason {
        b"end_turn" => Finish::Stop,
        b"stop_sequence" => Finish::Sequence(Text::of_value(sequence)),
        b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
        b"tool_use" => Finish::ToolCalls,
        b"refusal" => Finish::Filtered,
        b"pause_turn" => Finish::Paused,
        other => Finish::Other(Text::of_raw(other)),
    }
}

fn fail(error: &[u8], each: Each<'_>) {
    let message = json::get(error, "message").and_then(Text::of_value).unwrap_or_default();
    each(Event::Failed { message, blames_caller: blames_caller(error) });
}
