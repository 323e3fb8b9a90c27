//! Answers of vendors that speak Converse.

use super::{blames_caller, is_exception, media, take};
use crate::dialect::Reading;
use crate::dialect::call::{MediaKind, Proof, Tongue};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::Text;
use crate::wire::json;

type Each<'e> = &'e mut dyn FnMut(Event<'_>);

#[derive(Default)]
pub struct Reader {
    started: bool,
    blocks: u32,
    open: Vec<Open>,
    reading: Reading,
}

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
    Picture,
    /// Run by the vendor, or newer than this file.
    Silent,
}

const OPEN_MAX: usize = 64;
const BLOCKS_MAX: u32 = 16 << 10;

/// What an event has, found in one pass.
#[derive(Default)]
struct Found<'a> {
    index: Option<u64>,
    start: &'a [u8],
    delta: &'a [u8],
    piece: Option<(Form, &'a [u8])>,
    usage: Option<&'a [u8]>,
    tier: Option<&'a [u8]>,
    stop: &'a [u8],
    message: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Thought,
    Signature,
    Sealed,
    Arguments,
}

impl Form {
    fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::Thought | Self::Signature | Self::Sealed => Kind::Thought,
            Self::Arguments => Kind::Call,
        }
    }
}

impl ReadEvents for Reader {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        let mut found = Found::default();
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"contentBlockIndex") => found.index = json::integer(member.value),
            (1, b"start") => found.start = member.value,
            (1, b"delta") => found.delta = member.value,
            (1, b"usage") => found.usage = Some(member.value),
            (1, b"serviceTier") => found.tier = Some(member.value),
            (1, b"stopReason") => found.stop = json::inner(member.value),
            (1, b"message") => found.message = member.value,
            (2, b"text") => found.piece = Some((Form::Text, member.value)),
            (3, b"text") => found.piece = Some((Form::Thought, member.value)),
            (3, b"signature") => found.piece = Some((Form::Signature, member.value)),
            (3, b"redactedContent") => found.piece = Some((Form::Sealed, member.value)),
            (3, b"input") => found.piece = Some((Form::Arguments, member.value)),
            _ => {}
        })?;
        match name {
            b"contentBlockDelta" => self.delta(&found, each)?,
            b"contentBlockStart" => self.opened(&found, each)?,
            b"contentBlockStop" => self.close(found.index, each),
            b"messageStart" => self.start(each),
            b"messageStop" => {
                self.start(each);
                self.end(each);
                if !found.stop.is_empty() {
                    each(Event::Finish { choice: 0, why: finish(found.stop) });
                }
            }
            b"metadata" => {
                self.start(each);
                self.usage(found.usage, found.tier, each);
                return Ok(Step::Over);
            }
            name if is_exception(name) => {
                self.start(each);
                let message = Text::of_value(found.message).unwrap_or_default();
                each(Event::Failed { message, blames_caller: blames_caller(name) });
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
        json::validate(body)?;
        self.start(each);
        let Some(output) = json::get(body, "output").filter(|output| output.starts_with(b"{")) else {
            let Some(message) = json::get(body, "message").and_then(Text::of_value) else {
                return Err(Malformed("no output in it"));
            };
            each(Event::Failed { message, blames_caller: false });
            return Ok(());
        };
        for content in json::elements(json::dig(output, &["message", "content"]).unwrap_or_default()) {
            for (key, value) in json::members(content) {
                self.whole(key, value, each)?;
            }
        }
        self.usage(json::get(body, "usage"), json::get(body, "serviceTier"), each);
        let reason = json::get(body, "stopReason").map(json::inner).unwrap_or_default();
        if !reason.is_empty() {
            each(Event::Finish { choice: 0, why: finish(reason) });
        }
        Ok(())
    }
}

impl Reader {
    fn start(&mut self, each: Each<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            each(Event::Start { id: Text::default() });
        }
    }

    fn begin(&mut self, kind: Block<'_>, each: Each<'_>) -> Result<u32, Malformed> {
        self.start(each);
        let block = self.blocks;
        if block >= BLOCKS_MAX {
            return Err(Malformed("more blocks than an answer has"));
        }
        self.blocks += 1;
        each(Event::Open { block, choice: 0, kind });
        Ok(block)
    }

    fn push(&mut self, index: u64, block: u32, kind: Kind) -> Result<(), Malformed> {
        if self.open.len() >= OPEN_MAX {
            return Err(Malformed("more blocks at once than anybody sends"));
        }
        self.open.push(Open { index, block, kind });
        Ok(())
    }

    /// Only calls are always opened by an event of their own.
    fn opened(&mut self, found: &Found<'_>, each: Each<'_>) -> Result<(), Malformed> {
        let index = found.index.ok_or(Malformed("a block without an index"))?;
        let Some((key, value)) = json::members(found.start).next() else { return Ok(()) };
        self.close(Some(index), each);
        let (kind, block) = block_of(key, value);
        let block = self.begin(block, each)?;
        self.push(index, block, kind)
    }

    fn delta(&mut self, found: &Found<'_>, each: Each<'_>) -> Result<(), Malformed> {
        let index = found.index.ok_or(Malformed("a delta without an index"))?;
        let known = self.open.iter().rev().find(|open| open.index == index).copied();
        let Some((form, text)) = found.piece.and_then(|(form, value)| Some((form, Text::of_value(value)?))) else {
            return self.other_delta(index, known, found.delta, each);
        };
        let open = match known {
            Some(open) if open.kind == form.kind() => open,
            Some(Open { kind: Kind::Silent | Kind::Call | Kind::Picture, .. }) => return Ok(()),
            // Words and thoughts are begun by what is said of them.
            _ if form == Form::Arguments => return Ok(()),
            _ => {
                self.close(Some(index), each);
                let kind = form.kind();
                let block = self.begin(if kind == Kind::Text { Block::Text } else { Block::Reasoning }, each)?;
                self.push(index, block, kind)?;
                Open { index, block, kind }
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        let piece = match form {
            Form::Text | Form::Thought => Piece::Text(text),
            Form::Arguments => Piece::Arguments(text),
            Form::Signature => Piece::Proof(own(text, false)),
            Form::Sealed => Piece::Proof(own(text, true)),
        };
        each(Event::Piece { block: open.block, piece });
        Ok(())
    }

    /// Citations and pictures.
    fn other_delta(&mut self, index: u64, known: Option<Open>, delta: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let Some((key, value)) = json::members(delta).next() else { return Ok(()) };
        match (key, known) {
            (b"citation", Some(Open { kind: Kind::Text, block, .. })) => {
                each(Event::Piece { block, piece: Piece::Citation(cited(value)) });
            }
            // A citation may come before the words that it stands by.
            (b"citation", None) => {
                let block = self.begin(Block::Text, each)?;
                self.push(index, block, Kind::Text)?;
                each(Event::Piece { block, piece: Piece::Citation(cited(value)) });
            }
            (b"image", Some(Open { kind: Kind::Picture, block, .. })) => {
                let bytes = json::dig(value, &["source", "bytes"]).and_then(Text::of_value);
                bytes.into_iter().for_each(|bytes| each(Event::Piece { block, piece: Piece::Data(bytes) }));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, index: Option<u64>, each: Each<'_>) {
        if let Some(place) = self.open.iter().rposition(|open| Some(open.index) == index) {
            let open = self.open.remove(place);
            each(Event::Close { block: open.block });
        }
    }

    fn whole(&mut self, key: &[u8], value: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let (kind, opened) = block_of(key, value);
        let block = self.begin(opened, each)?;
        let mut say = |piece| each(Event::Piece { block, piece });
        match kind {
            Kind::Text if key == b"citationsContent" => {
                for piece in json::elements(json::get(value, "content").unwrap_or_default()) {
                    said(json::get(piece, "text")).map(Piece::Text).into_iter().for_each(&mut say);
                }
                for citation in json::elements(json::get(value, "citations").unwrap_or_default()) {
                    say(Piece::Citation(cited(citation)));
                }
            }
            Kind::Text => said(Some(value)).map(Piece::Text).into_iter().for_each(say),
            Kind::Thought => {
                let member = |path: &[&str]| said(json::dig(value, path));
                let signature = member(&["reasoningText", "signature"]).map(|data| Piece::Proof(own(data, false)));
                let sealed = member(&["redactedContent"]).map(|data| Piece::Proof(own(data, true)));
                let words = member(&["reasoningText", "text"]).map(Piece::Text);
                [words, signature, sealed].into_iter().flatten().for_each(say);
            }
            Kind::Call => {
                let input = json::get(value, "input").filter(|input| input.starts_with(b"{"));
                input.map(Piece::ArgumentsObject).into_iter().for_each(say);
            }
            Kind::Picture => {
                said(json::dig(value, &["source", "bytes"])).map(Piece::Data).into_iter().for_each(say);
            }
            Kind::Silent => {}
        }
        each(Event::Close { block });
        Ok(())
    }

    fn usage(&mut self, usage: Option<&[u8]>, tier: Option<&[u8]>, each: Each<'_>) {
        take(usage, tier, &mut self.reading);
        if std::mem::take(&mut self.reading.usage_invalid) {
            each(Event::UsageInvalid);
        } else if let Some(usage) = self.reading.usage {
            each(Event::Usage { usage, tier: self.reading.tier });
        }
    }
}

/// The kind of a block by the name of its only member.
fn block_of<'a>(key: &'a [u8], value: &'a [u8]) -> (Kind, Block<'a>) {
    let member = |name: &str| json::get(value, name).and_then(Text::of_value).unwrap_or_default();
    match key {
        b"text" | b"citationsContent" => (Kind::Text, Block::Text),
        b"reasoningContent" => (Kind::Thought, Block::Reasoning),
        // Some models mark their calls with a type; those of a tool that the vendor runs have another one.
        b"toolUse" if !matches!(json::get(value, "type"), Some(kind) if kind != b"\"tool_use\"" && kind != b"null") => {
            (Kind::Call, Block::ToolCall { id: member("toolUseId"), name: member("name"), proof: None })
        }
        b"toolUse" => (Kind::Silent, Block::VendorTool { name: member("name") }),
        b"toolResult" => (Kind::Silent, Block::VendorTool { name: member("type") }),
        b"image" => {
            let format = member("format");
            let mime = media::mime(MediaKind::Image, &format.plain()).unwrap_or("image/png");
            (Kind::Picture, Block::Media { kind: MediaKind::Image, mime: Text::of_raw(mime.as_bytes()) })
        }
        other => (Kind::Silent, Block::VendorTool { name: Text::of_raw(other) }),
    }
}

fn own(data: Text<'_>, sealed: bool) -> Proof<'_> {
    Proof { of: Tongue::Converse, data, sealed }
}

fn cited(citation: &[u8]) -> Citation<'_> {
    let quote = json::get(citation, "sourceContent").and_then(|content| json::elements(content).next());
    let location = json::get(citation, "location").unwrap_or_default();
    let document = json::members(location).find_map(|(_, place)| json::get(place, "documentIndex"));
    Citation {
        url: said(json::dig(location, &["web", "url"])),
        title: said(json::get(citation, "title")),
        quote: said(quote.and_then(|quote| json::get(quote, "text"))),
        span: None,
        document: document.filter(|index| json::integer(index).is_some()).map(Text::of_raw),
    }
}

fn said(value: Option<&[u8]>) -> Option<Text<'_>> {
    value.and_then(Text::of_value).filter(|text| !text.is_empty())
}

fn finish(reason: &[u8]) -> Finish<'_> {
    match reason {
        b"end_turn" => Finish::Stop,
        b"tool_use" => Finish::ToolCalls,
        b"stop_sequence" => Finish::Sequence(None),
        b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
        b"guardrail_intervened" | b"content_filtered" => Finish::Filtered,
        other => Finish::Other(Text::of_raw(other)),
    }
}
