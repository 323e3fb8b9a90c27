//! Answers of a vendor that speaks OpenAI's responses: items by their number, parts within them, each said in pieces and then
//! once more as a whole. The pieces count; the whole stands in for them where a vendor sent none.

use weir_shared::usage::Tier;

use super::carried;
use super::read_call::{BETWEEN_TEXTS, image_mime};
use crate::dialect::call::MediaKind;
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::Text;
use crate::dialect::{openai_error, openai_usage};
use crate::wire::json::{self, Member};

#[derive(Default)]
pub struct Reader {
    started: bool,
    over: bool,
    /// Blocks that have been opened.
    blocks: u32,
    /// A function was called.
    called: bool,
    items: Vec<Item>,
    /// Items that were told in events; where there were none, the last event tells them.
    seen: u64,
}

/// An item that is not done.
struct Item {
    index: u64,
    kind: Kind,
    block: Option<u32>,
    /// The part that the block is of: its number, and whether it is a refusal or, of a thought, the thought itself.
    part: Option<(u64, bool)>,
    /// Something of the block was said in pieces.
    said: bool,
    /// Anything of the item was, in this part or in an earlier one.
    any: bool,
    cited: bool,
    /// How likely the tokens of the part were was told.
    likely: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Message,
    Reasoning,
    Call,
    Image,
    VendorTool,
    Unknown,
}

/// More at once are no answer.
const ITEMS_MAX: usize = 1_024;

type Each<'e> = &'e mut dyn FnMut(Event<'_>);

impl ReadEvents for Reader {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Step::Over);
        }
        let mut glance = Glance { kind: name, ..Glance::default() };
        json::scan(data, |member| glance.take(member))?;
        if self.over {
            return Ok(Step::Over);
        }
        let Glance { kind, index, part, delta, .. } = glance;
        match kind {
            b"response.output_text.delta" => {
                self.text(index, (part, false), delta, each);
                self.likely(index, (part, false), glance.likely, each);
            }
            b"response.function_call_arguments.delta" => self.arguments(index, delta, each),
            b"response.reasoning_summary_text.delta" => self.thought(index, (glance.summary, false), delta, each),
            b"response.reasoning_text.delta" => self.thought(index, (part, true), delta, each),
            b"response.refusal.delta" => self.text(index, (part, true), delta, each),
            b"response.output_item.added" => self.added(index, glance.item, each),
            b"response.output_item.done" => self.done(index, glance.item, each),
            b"response.output_text.done" => self.whole_text(index, (part, false), glance.text, each),
            b"response.refusal.done" => self.whole_text(index, (part, true), glance.refusal, each),
            b"response.reasoning_summary_text.done" => {
                self.whole_thought(index, (glance.summary, false), glance.text, each);
            }
            b"response.reasoning_text.done" => self.whole_thought(index, (part, true), glance.text, each),
            b"response.function_call_arguments.done" => self.whole_arguments(index, glance.arguments, each),
            b"response.content_part.done" => self.part_done(index, part, glance.whole_part, each),
            b"response.output_text.annotation.added" => self.cite(index, part, glance.annotation, each),
            b"response.created" => self.start(glance.response, each),
            b"response.completed" | b"response.incomplete" | b"response.failed" => {
                let response = glance.response;
                if !response.starts_with(b"{") {
                    return Err(Malformed("the end of a response without the response"));
                }
                self.start(response, each);
                self.close(each);
                if self.seen == 0 {
                    self.output(response, each);
                }
                self.last(response, each);
                return Ok(Step::Over);
            }
            b"error" => {
                self.start(b"", each);
                self.close(each);
                self.over = true;
                fail(if glance.error.starts_with(b"{") { glance.error } else { data }, each);
                return Ok(Step::Over);
            }
            _ => {}
        }
        Ok(Step::More)
    }

    fn end(&mut self, each: Each<'_>) {
        self.close(each);
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        json::validate(body)?;
        let failed = json::get(body, "error").is_some_and(|error| error.starts_with(b"{"));
        if !failed && !json::get(body, "output").is_some_and(|output| output.starts_with(b"[")) {
            return Err(Malformed("a response without output"));
        }
        self.start(body, each);
        self.output(body, each);
        self.last(body, each);
        Ok(())
    }
}

/// What one pass over an event finds: most events are a piece of something, and need no second one.
#[derive(Default)]
struct Glance<'a> {
    kind: &'a [u8],
    index: u64,
    part: u64,
    summary: u64,
    delta: &'a [u8],
    text: Option<&'a [u8]>,
    refusal: Option<&'a [u8]>,
    arguments: Option<&'a [u8]>,
    likely: &'a [u8],
    item: &'a [u8],
    whole_part: &'a [u8],
    annotation: &'a [u8],
    response: &'a [u8],
    error: &'a [u8],
}

impl<'a> Glance<'a> {
    #[inline(always)]
    fn take(&mut self, Member { key, value, depth, .. }: Member<'a>) {
        if depth != 1 {
            return;
        }
        match key {
            b"type" => self.kind = json::inner(value),
            b"delta" => self.delta = json::inner(value),
            b"output_index" => self.index = json::integer(value).unwrap_or(0),
            b"content_index" => self.part = json::integer(value).unwrap_or(0),
            b"summary_index" => self.summary = json::integer(value).unwrap_or(0),
            b"text" => self.text = string_of(value),
            b"refusal" => self.refusal = string_of(value),
            b"arguments" => self.arguments = string_of(value),
            b"logprobs" => self.likely = value,
            b"item" => self.item = value,
            b"part" => self.whole_part = value,
            b"annotation" => self.annotation = value,
            b"response" => self.response = value,
            b"error" => self.error = value,
            _ => {}
        }
    }
}

impl Reader {
    fn start(&mut self, response: &[u8], each: Each<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            each(Event::Start { id: json::get(response, "id").and_then(Text::of_value).unwrap_or_default() });
        }
    }

    fn place(&self, index: u64) -> Option<usize> {
        self.items.iter().rposition(|item| item.index == index)
    }

    fn item(&mut self, index: u64) -> Option<&mut Item> {
        self.place(index).and_then(|place| self.items.get_mut(place))
    }

    fn added(&mut self, index: u64, item: &[u8], each: Each<'_>) {
        self.start(b"", each);
        if let Some(place) = self.place(index) {
            self.close_item(place, each);
        }
        if self.items.len() >= ITEMS_MAX {
            return;
        }
        self.seen += 1;
        let kind = kind_of(item);
        let mut added =
            Item { index, kind, block: None, part: None, said: false, any: false, cited: false, likely: false };
        let words = |key| json::get(item, key).and_then(Text::of_value).unwrap_or_default();
        let opens = match kind {
            Kind::Call => {
                self.called = true;
                Some(Block::ToolCall { id: words("call_id"), name: words("name"), proof: None })
            }
            Kind::VendorTool => {
                let name = string(item, "type").unwrap_or_default();
                Some(Block::VendorTool { name: Text::of_raw(name.strip_suffix(b"_call").unwrap_or(name)) })
            }
            // The others open with the first that is said.
            Kind::Message | Kind::Reasoning | Kind::Image | Kind::Unknown => None,
        };
        if let Some(kind) = opens {
            added.block = Some(self.open(kind, each));
        }
        self.items.push(added);
    }

    fn open(&mut self, kind: Block<'_>, each: Each<'_>) -> u32 {
        let block = self.blocks;
        self.blocks = self.blocks.saturating_add(1);
        each(Event::Open { block, choice: 0, kind });
        block
    }

    /// The block of this part, opened when it is not.
    fn block(&mut self, index: u64, kind: Kind, part: (u64, bool), each: Each<'_>) -> Option<u32> {
        if self.place(index).is_none() {
            // Who leaves out the beginning of an item means it all the same.
            let item: &[u8] = if kind == Kind::Message { br#"{"type":"message"}"# } else { br#"{"type":"reasoning"}"# };
            self.added(index, item, each);
        }
        let place = self.place(index)?;
        if self.items[place].kind != kind {
            return None;
        }
        if let (Some(block), Some(open)) = (self.items[place].block, self.items[place].part) {
            if open == part {
                return Some(block);
            }
            // Summaries are paragraphs of one thought; what they sum up is not said again.
            if kind == Kind::Reasoning {
                if open.1 != part.1 {
                    return None;
                }
                self.items[place].part = Some(part);
                if self.items[place].any {
                    each(Event::Piece { block, piece: Piece::Text(Text::of_raw(BETWEEN_TEXTS)) });
                }
                self.items[place].said = false;
                return Some(block);
            }
            each(Event::Close { block });
        }
        let opens = match kind {
            Kind::Reasoning => Block::Reasoning,
            _ if part.1 => Block::Refusal,
            _ => Block::Text,
        };
        let block = self.open(opens, each);
        let item = self.items.get_mut(place)?;
        (item.block, item.part, item.said) = (Some(block), Some(part), false);
        (item.cited, item.likely) = (false, false);
        Some(block)
    }

    fn text(&mut self, index: u64, part: (u64, bool), raw: &[u8], each: Each<'_>) {
        self.words(index, Kind::Message, part, raw, each);
    }

    fn thought(&mut self, index: u64, part: (u64, bool), raw: &[u8], each: Each<'_>) {
        self.words(index, Kind::Reasoning, part, raw, each);
    }

    fn words(&mut self, index: u64, kind: Kind, part: (u64, bool), raw: &[u8], each: Each<'_>) {
        if raw.is_empty() {
            return;
        }
        let Some(block) = self.block(index, kind, part, each) else { return };
        if let Some(item) = self.item(index) {
            (item.said, item.any) = (true, true);
        }
        each(Event::Piece { block, piece: Piece::Text(Text::of_raw(raw)) });
    }

    /// Whether this part has come in pieces, or was left behind by a later one.
    fn is_said(&mut self, index: u64, part: (u64, bool)) -> bool {
        self.item(index).is_some_and(|item| match item.part {
            Some(open) if open == part => item.said,
            Some(open) => open.0 > part.0,
            None => false,
        })
    }

    fn whole_text(&mut self, index: u64, part: (u64, bool), raw: Option<&[u8]>, each: Each<'_>) {
        if !self.is_said(index, part) {
            self.text(index, part, raw.unwrap_or_default(), each);
        }
    }

    fn whole_thought(&mut self, index: u64, part: (u64, bool), raw: Option<&[u8]>, each: Each<'_>) {
        if !self.is_said(index, part) {
            self.thought(index, part, raw.unwrap_or_default(), each);
        }
    }

    fn arguments(&mut self, index: u64, raw: &[u8], each: Each<'_>) {
        let Some(item) = self.item(index).filter(|item| item.kind == Kind::Call) else { return };
        if let Some(block) = item.block.filter(|_| !raw.is_empty()) {
            (item.said, item.any) = (true, true);
            each(Event::Piece { block, piece: Piece::Arguments(Text::of_raw(raw)) });
        }
    }

    fn whole_arguments(&mut self, index: u64, raw: Option<&[u8]>, each: Each<'_>) {
        if self.item(index).is_some_and(|item| !item.said) {
            self.arguments(index, raw.unwrap_or_default(), each);
        }
    }

    fn part_done(&mut self, index: u64, part: u64, whole: &[u8], each: Each<'_>) {
        let Some(place) = self.place(index).filter(|place| self.items[*place].kind == Kind::Message) else { return };
        let refused = string(whole, "type") == Some(b"refusal");
        let text = string(whole, if refused { "refusal" } else { "text" });
        self.whole_text(index, (part, refused), text, each);
        if !self.items[place].likely && !refused {
            self.likely(index, (part, false), json::get(whole, "logprobs").unwrap_or_default(), each);
        }
        let item = &self.items[place];
        if item.part.is_some_and(|(open, _)| open == part) && !item.cited {
            for annotation in json::get(whole, "annotations").into_iter().flat_map(json::elements) {
                self.cite(index, part, annotation, each);
            }
        }
    }

    fn likely(&mut self, index: u64, part: (u64, bool), list: &[u8], each: Each<'_>) {
        if list.is_empty() || json::is_empty_array(list) {
            return;
        }
        let Some(item) = self.item(index).filter(|item| item.part == Some(part)) else { return };
        item.likely = true;
        if let Some(block) = item.block {
            each(Event::Piece { block, piece: Piece::Likely(list) });
        }
    }

    fn cite(&mut self, index: u64, part: u64, annotation: &[u8], each: Each<'_>) {
        let Some(item) = self.item(index).filter(|item| item.part == Some((part, false))) else { return };
        item.cited = true;
        let Some(block) = item.block else { return };
        let words = |key| json::get(annotation, key).and_then(Text::of_value);
        let place = |key| json::get(annotation, key).and_then(json::integer);
        let span = match (place("start_index"), place("end_index"), place("index")) {
            (Some(start), Some(end), _) => Some((start, end)),
            (_, _, Some(at)) => Some((at, at)),
            _ => None,
        };
        let (url, title, document) = (words("url"), words("title").or_else(|| words("filename")), words("file_id"));
        if url.is_some() || document.is_some() {
            each(Event::Piece { block, piece: Piece::Citation(Citation { url, title, quote: None, span, document }) });
        }
    }

    fn done(&mut self, index: u64, item: &[u8], each: Each<'_>) {
        if self.place(index).is_none() {
            self.added(index, item, each);
        }
        let Some(place) = self.place(index) else { return };
        let Item { kind, any, .. } = self.items[place];
        match kind {
            Kind::Call => self.whole_arguments(index, string(item, "arguments"), each),
            Kind::Message if !any => {
                let parts = json::get(item, "content");
                for (part, whole) in parts.into_iter().flat_map(json::elements).enumerate() {
                    self.part_done(index, part as u64, whole, each);
                }
            }
            Kind::Reasoning => self.thought_done(index, item, each),
            Kind::Image => self.image(item, each),
            _ => {}
        }
        if let Some(place) = self.place(index) {
            self.close_item(place, each);
        }
    }

    fn thought_done(&mut self, index: u64, item: &[u8], each: Each<'_>) {
        for (member, is_content) in [("summary", false), ("content", true)] {
            let parts = json::get(item, member).into_iter().flat_map(json::elements);
            for (part, whole) in parts.enumerate() {
                if self.item(index).is_some_and(|known| known.part.is_none_or(|open| open.1 == is_content)) {
                    self.whole_thought(index, (part as u64, is_content), string(whole, "text"), each);
                }
            }
        }
        let Some(encrypted) = string(item, "encrypted_content").filter(|encrypted| !encrypted.is_empty()) else {
            return;
        };
        let shown = self.item(index).is_some_and(|item| item.any);
        let part = self.item(index).and_then(|item| item.part).unwrap_or((0, false));
        if let Some(block) = self.block(index, Kind::Reasoning, part, each) {
            let proof = carried::own(string(item, "id").unwrap_or_default(), encrypted, shown);
            each(Event::Piece { block, piece: Piece::Proof(proof) });
        }
    }

    fn image(&mut self, item: &[u8], each: Each<'_>) {
        let Some(data) = string(item, "result").filter(|data| !data.is_empty()) else { return };
        let mime = image_mime(string(item, "output_format").unwrap_or(b"png"));
        let block = self.open(Block::Media { kind: MediaKind::Image, mime }, each);
        each(Event::Piece { block, piece: Piece::Data(Text::of_raw(data)) });
        each(Event::Close { block });
    }

    fn close_item(&mut self, place: usize, each: Each<'_>) {
        if let Some(block) = self.items.remove(place).block {
            each(Event::Close { block });
        }
    }

    fn close(&mut self, each: Each<'_>) {
        for item in self.items.drain(..) {
            if let Some(block) = item.block {
                each(Event::Close { block });
            }
        }
    }

    /// All items at once.
    fn output(&mut self, response: &[u8], each: Each<'_>) {
        let output = json::get(response, "output");
        for (index, item) in output.into_iter().flat_map(json::elements).enumerate() {
            self.done(index as u64, item, each);
        }
    }

    /// How it ended, and what it used.
    fn last(&mut self, response: &[u8], each: Each<'_>) {
        self.over = true;
        let tier = json::get(response, "service_tier").and_then(json::text);
        let tier = tier.map_or(Tier::Standard, |tier| Tier::of_vendor_word(&tier));
        match json::get(response, "usage") {
            None | Some(b"null") => {}
            Some(usage) => match openai_usage::read(usage) {
                Ok(usage) => each(Event::Usage { usage, tier }),
                Err(_) => each(Event::UsageInvalid),
            },
        }
        let error = json::get(response, "error").filter(|error| error.starts_with(b"{"));
        let reason = json::get(response, "incomplete_details").and_then(|details| string(details, "reason"));
        let why = match (string(response, "status").unwrap_or(b"completed"), error, reason) {
            (b"failed", _, _) | (_, Some(_), _) => return fail(error.unwrap_or_default(), each),
            (b"completed" | b"complete", ..) => self.completed(),
            (b"incomplete", _, Some(b"max_output_tokens")) => Finish::Length,
            (b"incomplete", _, Some(b"content_filter")) => Finish::Filtered,
            (b"incomplete", _, Some(reason)) => Finish::Other(Text::of_raw(reason)),
            (b"queued" | b"in_progress", ..) => {
                let message = Text::of_raw(b"the response was given before it was there");
                return each(Event::Failed { message, blames_caller: false });
            }
            (other, ..) => Finish::Other(Text::of_raw(other)),
        };
        each(Event::Finish { choice: 0, why });
    }

    fn completed(&self) -> Finish<'static> {
        if self.called { Finish::ToolCalls } else { Finish::Stop }
    }
}

fn kind_of(item: &[u8]) -> Kind {
    match string(item, "type").unwrap_or_default() {
        b"message" => Kind::Message,
        b"reasoning" => Kind::Reasoning,
        b"function_call" => Kind::Call,
        b"image_generation_call" => Kind::Image,
        b"mcp_list_tools" | b"mcp_approval_request" | b"program_output" | b"tool_search_output" => Kind::VendorTool,
        kind if kind.ends_with(b"_call") || kind.ends_with(b"_call_output") => Kind::VendorTool,
        _ => Kind::Unknown,
    }
}

fn fail(error: &[u8], each: Each<'_>) {
    let message = json::get(error, "message").and_then(Text::of_value).unwrap_or_default();
    each(Event::Failed { message, blames_caller: openai_error::blames_caller(error) });
}

fn string<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    json::get(object, key).and_then(string_of)
}

fn string_of(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}
