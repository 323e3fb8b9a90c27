//! Cohere's answers: events with a type, blocks of content and calls numbered apart.

use weir_shared::usage::Tier;

use super::{FILTERED, read_usage};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::Text;
use crate::wire::json::{self, Member};

#[derive(Default)]
pub struct Reader {
    started: bool,
    /// Blocks that have been opened.
    blocks: u32,
    /// The block of content or the plan that is open. It stays open behind its end: citations follow there.
    content: Option<(u32, Kind)>,
    /// The calls that are open, by Cohere's number.
    calls: Vec<(u64, u32)>,
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Thinking,
    Plan,
}

/// More calls at once are no answer.
const CALLS_MAX: usize = 1_024;

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
        match glance.kind {
            b"content-delta" => {
                if let Some(text) = glance.text {
                    self.text(Kind::Text, text, each);
                } else if let Some(text) = glance.thinking {
                    self.text(Kind::Thinking, text, each);
                }
            }
            b"tool-plan-delta" => self.text(Kind::Plan, glance.plan.unwrap_or_default(), each),
            b"tool-call-delta" => {
                let block = self.calls.iter().find(|(index, _)| *index == glance.index).map(|(_, block)| *block);
                if let (Some(block), Some(raw)) = (block, glance.arguments.filter(|raw| !raw.is_empty())) {
                    each(Event::Piece { block, piece: Piece::Arguments(Text::of_raw(raw)) });
                }
            }
            b"tool-call-end" => self.end_call(glance.index, each),
            b"message-start" => self.start(glance.id, each),
            b"content-start" => {
                self.close(each);
                match (glance.text, glance.thinking) {
                    (_, Some(text)) => self.begin(Kind::Thinking, text, each),
                    (text, None) => self.begin(Kind::Text, text.unwrap_or_default(), each),
                }
            }
            b"tool-call-start" => {
                let call = glance.delta.and_then(|delta| json::dig(delta, &["message", "tool_calls"]));
                self.start_call(glance.index, call.unwrap_or_default(), each);
            }
            b"citation-start" => {
                let given = glance.delta.and_then(|delta| json::dig(delta, &["message", "citations"]));
                for citation in given.into_iter().flat_map(one_or_more) {
                    self.cite(citation, each);
                }
            }
            b"message-end" => {
                self.message_end(glance.delta.unwrap_or_default(), each);
                return Ok(Step::Over);
            }
            // Nobody's event but an error's has a message of its own.
            b"" if glance.message.is_some() => {
                let message = glance.message.and_then(Text::of_value).unwrap_or_default();
                each(Event::Failed { message, blames_caller: false });
                return Ok(Step::Over);
            }
            _ => {}
        }
        Ok(Step::More)
    }

    fn end(&mut self, each: Each<'_>) {
        self.close(each);
        self.close_calls(each);
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        json::validate(body)?;
        let message = json::get(body, "message").unwrap_or_default();
        if !message.starts_with(b"{") {
            return Err(Malformed("an answer without a message"));
        }
        self.start(json::get(body, "id"), each);
        if let Some(plan) = string(message, "tool_plan").filter(|plan| !plan.is_empty()) {
            self.text(Kind::Plan, plan, each);
            self.close(each);
        }
        let citations = || json::get(message, "citations").into_iter().flat_map(json::elements);
        let parts = json::get(message, "content");
        for (place, part) in parts.into_iter().flat_map(json::elements).enumerate() {
            let (kind, text) = match (string(part, "text"), string(part, "thinking")) {
                (Some(text), _) => (Kind::Text, text),
                (None, Some(text)) => (Kind::Thinking, text),
                (None, None) => continue,
            };
            self.begin(kind, text, each);
            for citation in citations() {
                let index = json::get(citation, "content_index").and_then(json::integer);
                let here = index.map_or(kind == Kind::Text, |index| index == place as u64);
                if here && json::get(citation, "type") != Some(b"\"PLAN\"") {
                    self.cite(citation, each);
                }
            }
            self.close(each);
        }
        let calls = json::get(message, "tool_calls");
        for (place, call) in calls.into_iter().flat_map(json::elements).enumerate() {
            self.start_call(place as u64, call, each);
            self.end_call(place as u64, each);
        }
        self.message_end(body, each);
        Ok(())
    }
}

/// What one pass over an event finds: most events are a piece of something, and need no second one.
#[derive(Default)]
struct Glance<'a> {
    kind: &'a [u8],
    index: u64,
    id: Option<&'a [u8]>,
    delta: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    thinking: Option<&'a [u8]>,
    plan: Option<&'a [u8]>,
    arguments: Option<&'a [u8]>,
}

impl<'a> Glance<'a> {
    #[inline(always)]
    fn take(&mut self, Member { key, value, depth, .. }: Member<'a>) {
        // { delta { message { content {
        match (depth, key) {
            (4, b"text") if value.starts_with(b"\"") => self.text = Some(json::inner(value)),
            (4, b"thinking") if value.starts_with(b"\"") => self.thinking = Some(json::inner(value)),
            (3, b"tool_plan") if value.starts_with(b"\"") => self.plan = Some(json::inner(value)),
            (5, b"arguments") if value.starts_with(b"\"") => self.arguments = Some(json::inner(value)),
            (1, b"type") => self.kind = json::inner(value),
            (1, b"index") => self.index = json::integer(value).unwrap_or(0),
            (1, b"delta") => self.delta = Some(value),
            (1, b"id") => self.id = Some(value),
            (1, b"message") if value.starts_with(b"\"") => self.message = Some(value),
            _ => {}
        }
    }
}

impl Reader {
    fn start(&mut self, id: Option<&[u8]>, each: Each<'_>) {
        if !self.started {
            self.started = true;
            each(Event::Start { id: id.and_then(Text::of_value).unwrap_or_default() });
        }
    }

    fn text(&mut self, kind: Kind, raw: &[u8], each: Each<'_>) {
        if raw.is_empty() {
            return;
        }
        let block = match self.content {
            Some((block, open)) if open == kind => block,
            _ => {
                self.begin(kind, raw, each);
                return;
            }
        };
        each(Event::Piece { block, piece: Piece::Text(Text::of_raw(raw)) });
    }

    fn begin(&mut self, kind: Kind, raw: &[u8], each: Each<'_>) {
        self.start(None, each);
        self.close(each);
        let block = self.next();
        self.content = Some((block, kind));
        each(Event::Open { block, choice: 0, kind: if kind == Kind::Text { Block::Text } else { Block::Reasoning } });
        if !raw.is_empty() {
            each(Event::Piece { block, piece: Piece::Text(Text::of_raw(raw)) });
        }
    }

    fn close(&mut self, each: Each<'_>) {
        if let Some((block, _)) = self.content.take() {
            each(Event::Close { block });
        }
    }

    fn start_call(&mut self, index: u64, call: &[u8], each: Each<'_>) {
        if !call.starts_with(b"{") || self.calls.len() >= CALLS_MAX {
            return;
        }
        self.start(None, each);
        self.close(each);
        self.end_call(index, each);
        let block = self.next();
        self.calls.push((index, block));
        let words = |path: &[&str]| json::dig(call, path).and_then(Text::of_value).unwrap_or_default();
        let kind = Block::ToolCall { id: words(&["id"]), name: words(&["function", "name"]), proof: None };
        each(Event::Open { block, choice: 0, kind });
        let arguments = words(&["function", "arguments"]);
        if !arguments.is_empty() {
            each(Event::Piece { block, piece: Piece::Arguments(arguments) });
        }
    }

    fn end_call(&mut self, index: u64, each: Each<'_>) {
        if let Some(place) = self.calls.iter().position(|(known, _)| *known == index) {
            each(Event::Close { block: self.calls.swap_remove(place).1 });
        }
    }

    fn close_calls(&mut self, each: Each<'_>) {
        for (_, block) in self.calls.drain(..) {
            each(Event::Close { block });
        }
    }

    /// A citation has one or more sources; each is one for us.
    fn cite(&mut self, citation: &[u8], each: Each<'_>) {
        let Some((block, Kind::Text)) = self.content else { return };
        let number = |key| json::get(citation, key).and_then(json::integer);
        let span = number("end").map(|end| (number("start").unwrap_or(0), end));
        let mut told = false;
        for source in json::get(citation, "sources").into_iter().flat_map(json::elements) {
            let fields = json::get(source, "document").or_else(|| json::get(source, "tool_output")).unwrap_or_default();
            let words = |key| json::get(fields, key).and_then(Text::of_value);
            let document = json::get(source, "id").and_then(Text::of_value);
            let citation = Citation { url: words("url"), title: words("title"), quote: None, span, document };
            each(Event::Piece { block, piece: Piece::Citation(citation) });
            told = true;
        }
        if !told {
            each(Event::Piece { block, piece: Piece::Citation(Citation { span, ..Citation::default() }) });
        }
    }

    /// `told` has the reason and the usage among its members: a whole answer, or the delta of the last event.
    fn message_end(&mut self, told: &[u8], each: Each<'_>) {
        self.start(None, each);
        self.close(each);
        self.close_calls(each);
        self.over = true;
        if let Some(usage) = json::get(told, "usage").filter(|usage| *usage != b"null") {
            match read_usage(usage) {
                Ok(usage) => each(Event::Usage { usage, tier: Tier::Standard }),
                Err(_) => each(Event::UsageInvalid),
            }
        }
        let error = json::get(told, "error").and_then(Text::of_value);
        let reason = json::get(told, "finish_reason").and_then(Text::of_value);
        let why = match reason.as_ref().map(Text::raw) {
            None | Some(b"") => return,
            Some(b"COMPLETE") => Finish::Stop,
            Some(b"STOP_SEQUENCE") => Finish::Sequence(None),
            Some(b"MAX_TOKENS" | b"ERROR_LIMIT") => Finish::Length,
            Some(b"TOOL_CALL") => Finish::ToolCalls,
            Some(b"ERROR_TOXIC") => Finish::Filtered,
            Some(b"ERROR") if error.as_ref().is_some_and(|error| error.raw() == FILTERED.as_bytes()) => {
                Finish::Filtered
            }
            Some(b"ERROR") => {
                each(Event::Failed { message: error.unwrap_or_default(), blames_caller: false });
                return;
            }
            Some(reason) => Finish::Other(Text::of_raw(reason)),
        };
        each(Event::Finish { choice: 0, why });
    }

    fn next(&mut self) -> u32 {
        let block = self.blocks;
        self.blocks = self.blocks.saturating_add(1);
        block
    }
}

fn string<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    json::get(object, key).filter(|value| value.starts_with(b"\"")).map(json::inner)
}

/// One object, or a list of them.
fn one_or_more(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.starts_with(b"{").then_some(value).into_iter().chain(json::elements(value))
}
