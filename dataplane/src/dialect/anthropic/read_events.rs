//! Answers of vendors that speak Anthropic's messages.

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
    blocks: u32,
    /// The vendor's number of each block that is open, and ours.
    open: Vec<(u64, u32)>,
    /// What was told of usage so far: its counts are cumulative.
    told: Reading,
    finished: bool,
}

/// No answer has more blocks open at once.
const OPEN_MAX: usize = 64;

impl Reader {
    fn start(&mut self, message: &[u8], each: Each<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            each(Event::Start { id: text(message, "id").unwrap_or_default() });
        }
        if let Some(usage) = json::get(message, "usage") {
            self.usage(usage, each);
        }
    }

    fn usage(&mut self, usage: &[u8], each: Each<'_>) {
        if usage == b"null" {
            return;
        }
        super::take(usage, &mut self.told);
        if std::mem::take(&mut self.told.usage_invalid) {
            each(Event::UsageInvalid);
        } else if let Some(usage) = self.told.usage {
            each(Event::Usage { usage, tier: self.told.tier });
        }
    }

    fn block_start(&mut self, data: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let index = json::get(data, "index").and_then(json::integer).ok_or(Malformed("a block without index"))?;
        let block = json::get(data, "content_block").unwrap_or_default();
        if self.open.len() >= OPEN_MAX {
            return Err(Malformed("more blocks at once than anybody opens"));
        }
        if !self.started {
            self.start(b"{}", each);
        }
        let ours = self.open_block(block, each);
        self.open.push((index, ours));
        // What is there already; usually it is empty.
        self.whole_block(ours, block, true, each);
        Ok(())
    }

    fn open_block(&mut self, block: &[u8], each: Each<'_>) -> u32 {
        let name = || text(block, "name").unwrap_or_default();
        let kind = match json::get(block, "type").unwrap_or_default() {
            b"\"text\"" => Block::Text,
            b"\"thinking\"" | b"\"redacted_thinking\"" => Block::Reasoning,
            b"\"tool_use\"" => Block::ToolCall { id: text(block, "id").unwrap_or_default(), name: name(), proof: None },
            // Server tools, their results, and what comes after this was written.
            _ => Block::VendorTool { name: name() },
        };
        let ours = self.blocks;
        self.blocks += 1;
        each(Event::Open { block: ours, choice: 0, kind });
        ours
    }

    /// What a block holds when it is told whole, or at its start.
    fn whole_block(&mut self, ours: u32, block: &[u8], at_start: bool, each: Each<'_>) {
        let mut say = |piece| each(Event::Piece { block: ours, piece });
        match json::get(block, "type").unwrap_or_default() {
            b"\"text\"" => {
                words(text(block, "text"), &mut say);
                for citation in json::get(block, "citations").into_iter().flat_map(json::elements) {
                    say(Piece::Citation(cited(citation)));
                }
            }
            b"\"thinking\"" => {
                words(text(block, "thinking"), &mut say);
                proof(text(block, "signature"), false, &mut say);
            }
            b"\"redacted_thinking\"" => proof(text(block, "data"), true, &mut say),
            b"\"tool_use\"" => {
                let input = json::get(block, "input").filter(|input| input.starts_with(b"{"));
                // A stream opens with an empty one, and the pieces follow.
                let has_any = input.is_some_and(|input| json::members(input).next().is_some());
                if let Some(input) = input.filter(|_| has_any || !at_start) {
                    say(Piece::ArgumentsObject(input));
                }
            }
            _ => {}
        }
    }

    fn delta(&mut self, data: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let (mut index, mut delta) = (None, &b""[..]);
        for (key, value) in json::members(data) {
            match key {
                b"index" => index = json::integer(value),
                b"delta" => delta = value,
                _ => {}
            }
        }
        let ours = self.open.iter().rev().find(|(theirs, _)| Some(*theirs) == index).map(|(_, ours)| *ours);
        let ours = ours.ok_or(Malformed("a piece of a block that is not open"))?;
        let mut say = |piece| each(Event::Piece { block: ours, piece });
        for (key, value) in json::members(delta) {
            match key {
                b"text" | b"thinking" => words(Text::of_value(value), &mut say),
                b"partial_json" => {
                    if let Some(text) = Text::of_value(value).filter(|text| !text.is_empty()) {
                        say(Piece::Arguments(text));
                    }
                }
                b"signature" => proof(Text::of_value(value), false, &mut say),
                b"citation" => say(Piece::Citation(cited(value))),
                _ => {}
            }
        }
        Ok(())
    }

    fn block_stop(&mut self, data: &[u8], each: Each<'_>) {
        let index = json::get(data, "index").and_then(json::integer);
        if let Some(place) = self.open.iter().rposition(|(theirs, _)| Some(*theirs) == index) {
            let (_, block) = self.open.remove(place);
            each(Event::Close { block });
        }
    }

    fn finish(&mut self, reason: &[u8], sequence: Option<Text<'_>>, each: Each<'_>) {
        if reason.len() <= 2 || !reason.starts_with(b"\"") || std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.close_all(each);
        let why = match &reason[1..reason.len() - 1] {
            b"end_turn" => Finish::Stop,
            b"stop_sequence" => Finish::Sequence(sequence),
            b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
            b"tool_use" => Finish::ToolCalls,
            b"refusal" => Finish::Filtered,
            b"pause_turn" => Finish::Paused,
            other => Finish::Other(Text::of_raw(other)),
        };
        each(Event::Finish { choice: 0, why });
    }

    fn close_all(&mut self, each: Each<'_>) {
        for (_, block) in self.open.drain(..) {
            each(Event::Close { block });
        }
    }
}

impl ReadEvents for Reader {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        json::validate(data)?;
        let kind = json::get(data, "type").and_then(|kind| kind.get(1..kind.len().saturating_sub(1))).unwrap_or(name);
        match kind {
            b"content_block_delta" => self.delta(data, each)?,
            b"content_block_start" => self.block_start(data, each)?,
            b"content_block_stop" => self.block_stop(data, each),
            b"message_start" => self.start(json::get(data, "message").unwrap_or_default(), each),
            b"message_delta" => {
                if !self.started {
                    self.start(b"{}", each);
                }
                if let Some(usage) = json::get(data, "usage") {
                    self.usage(usage, each);
                }
                let delta = json::get(data, "delta").unwrap_or_default();
                let reason = json::get(delta, "stop_reason").unwrap_or_default();
                self.finish(reason, text(delta, "stop_sequence"), each);
            }
            b"message_stop" => return Ok(Step::Over),
            b"error" => {
                if !self.started {
                    self.start(b"{}", each);
                }
                fail(json::get(data, "error").unwrap_or_default(), each);
                return Ok(Step::Over);
            }
            // Pings, and what comes after this was written.
            _ => {}
        }
        Ok(Step::More)
    }

    fn end(&mut self, each: Each<'_>) {
        self.close_all(each);
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        json::validate(body)?;
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Malformed("not an object"));
        }
        if json::get(body, "type") == Some(b"\"error\"") {
            self.start(b"{}", each);
            fail(json::get(body, "error").unwrap_or_default(), each);
            return Ok(());
        }
        let content = json::get(body, "content").filter(|content| content.starts_with(b"["));
        let content = content.ok_or(Malformed("no content in it"))?;
        self.start(body, each);
        for block in json::elements(content) {
            let ours = self.open_block(block, each);
            self.whole_block(ours, block, false, each);
            each(Event::Close { block: ours });
        }
        let reason = json::get(body, "stop_reason").unwrap_or_default();
        self.finish(reason, text(body, "stop_sequence"), each);
        Ok(())
    }
}

fn text<'a>(object: &'a [u8], name: &str) -> Option<Text<'a>> {
    json::get(object, name).and_then(Text::of_value)
}

fn words<'a>(text: Option<Text<'a>>, say: &mut dyn FnMut(Piece<'a>)) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        say(Piece::Text(text));
    }
}

fn proof<'a>(data: Option<Text<'a>>, sealed: bool, say: &mut dyn FnMut(Piece<'a>)) {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        say(Piece::Proof(Proof { of: Tongue::Messages, data, sealed }));
    }
}

fn cited(citation: &[u8]) -> Citation<'_> {
    let number = |name| json::get(citation, name).and_then(json::integer);
    // Places in a document are not places in the answer: no span.
    let document = number("document_index").map(|place| Text::of_plain(&place.to_string()));
    Citation {
        url: text(citation, "url").or_else(|| text(citation, "source")),
        title: text(citation, "title").or_else(|| text(citation, "document_title")),
        quote: text(citation, "cited_text"),
        span: None,
        document,
    }
}

fn fail(error: &[u8], each: Each<'_>) {
    let overloaded = json::get(error, "type") == Some(b"\"overloaded_error\"");
    each(Event::Failed { message: text(error, "message").unwrap_or_default(), overloaded });
}
