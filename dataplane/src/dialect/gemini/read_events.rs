//! Google's answers. Each event is a whole GenerateContentResponse; nothing says where a block begins, ends, or which one is
//! the last event.

use weir_shared::usage::Tier;

use super::grounding::{Sources, is_ascii};
use super::media::kind_of;
use super::partial::Partial;
use super::{blames_caller, read_usage};
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::event::{Block, Event, Finish, Piece};
use crate::dialect::likely;
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::Text;
use crate::wire::json::{self, Member};

#[derive(Default)]
pub struct Reader {
    started: bool,
    /// Blocks that have been opened.
    blocks: u32,
    choices: Vec<Choice>,
    /// The last word about usage, as it stood: only the last of all is read.
    usage: Vec<u8>,
}

#[derive(Default)]
struct Choice {
    open: Option<(u32, Kind)>,
    /// A call whose arguments are still coming.
    partial: Option<(u32, Partial)>,
    called: bool,
    finished: bool,
    /// Blocks of text so far, and whether all of it was ASCII: Google counts in bytes, everybody else in characters.
    texts: u32,
    beyond_ascii: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Reasoning,
}

/// More candidates than this are no answer.
const CHOICES_MAX: usize = 64;

type Each<'e> = &'e mut dyn FnMut(Event<'_>);

impl ReadEvents for Reader {
    fn read_event(&mut self, _: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        let mut glance = Glance::default();
        json::scan(data, |member| glance.take(member))?;
        if let Some(error) = glance.error {
            fail(error, each);
            return Ok(Step::Over);
        }
        if !self.started {
            self.started = true;
            each(Event::Start { id: glance.id.and_then(Text::of_value).unwrap_or_default() });
        }
        match glance.only_text() {
            Some(text) if self.partials_none() => self.text(glance.index, text, each),
            _ => self.response(data, each)?,
        }
        if let Some(usage) = glance.usage {
            self.usage.clear();
            self.usage.extend_from_slice(usage);
        }
        if self.choices.iter().any(|choice| choice.finished) {
            self.tell_usage(each);
        }
        Ok(Step::More)
    }

    fn end(&mut self, each: Each<'_>) {
        for choice in &mut self.choices {
            choice.close(each);
            choice.end_partial(each);
        }
        self.tell_usage(each);
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        // A stream that was not asked for as events comes as one array.
        if body.trim_ascii_start().starts_with(b"[") {
            json::validate(body)?;
            for element in json::elements(body) {
                if self.read_event(b"", element, each)? == Step::Over {
                    return Ok(());
                }
            }
        } else if self.read_event(b"", body, each)? == Step::Over {
            return Ok(());
        }
        self.end(each);
        Ok(())
    }
}

/// What one pass over an event finds, so that events with nothing but a piece of text need no second one.
#[derive(Default)]
struct Glance<'a> {
    id: Option<&'a [u8]>,
    usage: Option<&'a [u8]>,
    error: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    texts: u32,
    index: u64,
    indices: u32,
    /// There is more to it.
    rich: bool,
}

impl<'a> Glance<'a> {
    #[inline(always)]
    fn take(&mut self, Member { key, value, depth, scalar, .. }: Member<'a>) {
        // candidates[ { content { parts [ {
        const CANDIDATE: usize = 3;
        const PART: usize = 6;
        match (depth, key) {
            (PART, b"text") => (self.text, self.texts) = (Some(value), self.texts + 1),
            (1, b"responseId") => self.id = Some(value),
            (1, b"usageMetadata") => self.usage = Some(value),
            (1, b"error") if value != b"null" => self.error = Some(value),
            (1, b"promptFeedback") => self.rich = true,
            (CANDIDATE, b"index") => (self.index, self.indices) = (json::integer(value).unwrap_or(0), self.indices + 1),
            (CANDIDATE, b"finishReason") => self.rich |= value != b"null",
            (PART.., _) if scalar => self.rich = true,
            _ => {}
        }
    }

    fn only_text(&self) -> Option<&'a [u8]> {
        let simple = self.texts == 1 && self.indices < 2 && !self.rich && self.index < CHOICES_MAX as u64;
        self.text.filter(|text| simple && text.starts_with(b"\"")).map(json::inner)
    }
}

impl Reader {
    fn partials_none(&self) -> bool {
        self.choices.iter().all(|choice| choice.partial.is_none())
    }

    fn choice(&mut self, index: u64) -> Option<(u32, &mut Choice, &mut u32)> {
        let place = usize::try_from(index).ok().filter(|place| *place < CHOICES_MAX)?;
        if self.choices.len() <= place {
            self.choices.resize_with(place + 1, Choice::default);
        }
        Some((place as u32, &mut self.choices[place], &mut self.blocks))
    }

    fn text(&mut self, index: u64, raw: &[u8], each: Each<'_>) {
        if let Some((number, choice, blocks)) = self.choice(index) {
            choice.text(number, Kind::Text, raw, blocks, each);
        }
    }

    fn response(&mut self, response: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let mut blocked = false;
        for (key, value) in json::members(response) {
            match key {
                b"candidates" => {
                    for (place, candidate) in json::elements(value).enumerate() {
                        self.candidate(candidate, place, each)?;
                    }
                }
                b"promptFeedback" => {
                    blocked = json::get(value, "blockReason").is_some_and(|reason| reason.starts_with(b"\""));
                }
                _ => {}
            }
        }
        if blocked && let Some((number, choice, _)) = self.choice(0) {
            choice.finish(number, Finish::Filtered, each);
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: &[u8], place: usize, each: Each<'_>) -> Result<(), Malformed> {
        let index = json::get(candidate, "index").and_then(json::integer).unwrap_or(place as u64);
        let Some((number, choice, blocks)) = self.choice(index) else { return Ok(()) };
        if choice.finished {
            return Ok(());
        }
        let (mut parts, mut reason, mut likely) = (None, None, None);
        let mut sources = Sources::default();
        for (key, value) in json::members(candidate) {
            match key {
                b"content" => parts = json::get(value, "parts"),
                b"finishReason" if value.len() > 2 && value.starts_with(b"\"") => reason = Some(json::inner(value)),
                b"groundingMetadata" => sources.grounding = Some(value),
                b"logprobsResult" => likely = Some(likely::of_google(value)),
                b"citationMetadata" => sources.citations = json::get(value, "citations"),
                _ => {}
            }
        }
        for part in parts.into_iter().flat_map(json::elements) {
            choice.part(number, part, &mut sources, blocks, each)?;
        }
        if let (Some(tokens), Some((block, Kind::Text))) = (likely.filter(|tokens| !tokens.is_empty()), choice.open) {
            each(Event::Piece { block, piece: Piece::Likely(&tokens) });
        }
        if sources.is_some() {
            choice.open(number, Kind::Text, blocks, each);
            choice.cite(&mut sources, each);
        }
        if let Some(reason) = reason {
            let why = finish_of(reason, choice.called);
            choice.finish(number, why, each);
        }
        Ok(())
    }

    fn tell_usage(&mut self, each: Each<'_>) {
        if self.usage.is_empty() {
            return;
        }
        match read_usage(&self.usage) {
            Ok(usage) => {
                let tier = json::get(&self.usage, "serviceTier").and_then(json::text);
                let tier = tier.map_or(Tier::Standard, |tier| Tier::of_vendor_word(&tier.to_ascii_lowercase()));
                each(Event::Usage { usage, tier });
            }
            Err(_) => each(Event::UsageInvalid),
        }
        self.usage.clear();
    }
}

/// What a part of an answer is.
#[derive(Default)]
struct PartOf<'a> {
    text: Option<&'a [u8]>,
    thought: bool,
    proof: Option<Proof<'a>>,
    call: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
    /// Of a tool that Google runs.
    vendor: Option<Text<'a>>,
}

impl<'a> PartOf<'a> {
    fn read(part: &'a [u8]) -> Self {
        let mut found = Self::default();
        for (key, value) in json::members(part) {
            match key {
                b"text" if value.starts_with(b"\"") => found.text = Some(json::inner(value)),
                b"thought" => found.thought = value == b"true",
                b"thoughtSignature" if value.len() > 2 && value.starts_with(b"\"") => {
                    found.proof =
                        Some(Proof { of: Tongue::Generate, data: Text::of_raw(json::inner(value)), sealed: false });
                }
                b"functionCall" if value.starts_with(b"{") => found.call = Some(value),
                b"inlineData" if value.starts_with(b"{") => found.data = Some(value),
                b"executableCode" | b"codeExecutionResult" => found.vendor = Some(Text::of_raw(b"code_execution")),
                b"toolCall" | b"toolResponse" => {
                    found.vendor = Some(json::get(value, "toolType").and_then(Text::of_value).unwrap_or_default());
                }
                _ => {}
            }
        }
        found
    }
}

impl Choice {
    fn part<'a>(
        &mut self,
        number: u32,
        part: &'a [u8],
        sources: &mut Sources<'a>,
        blocks: &mut u32,
        each: Each<'_>,
    ) -> Result<(), Malformed> {
        let found = PartOf::read(part);
        if let Some(call) = found.call {
            return self.call(number, call, found.proof, blocks, each);
        }
        if let Some(text) = found.text.filter(|text| !text.is_empty()) {
            self.text(number, if found.thought { Kind::Reasoning } else { Kind::Text }, text, blocks, each);
        }
        if let Some(data) = found.data {
            self.close(each);
            let mime = json::get(data, "mimeType").and_then(Text::of_value).unwrap_or_default();
            let kind = kind_of(&mime.plain());
            let block = next(blocks);
            each(Event::Open { block, choice: number, kind: Block::Media { kind, mime } });
            if let Some(data) = json::get(data, "data").and_then(Text::of_value) {
                each(Event::Piece { block, piece: Piece::Data(data) });
            }
            each(Event::Close { block });
        }
        if let Some(name) = found.vendor {
            // Its signature is worth nothing without it.
            self.close(each);
            let block = next(blocks);
            each(Event::Open { block, choice: number, kind: Block::VendorTool { name } });
            each(Event::Close { block });
        } else if let Some(proof) = found.proof {
            // Of the thought that it stands on; of anything else, a thought without words.
            if !found.thought {
                self.cite(sources, each);
                self.close(each);
            }
            let block = self.open(number, Kind::Reasoning, blocks, each);
            each(Event::Piece { block, piece: Piece::Proof(proof) });
            self.close(each);
        }
        Ok(())
    }

    fn text(&mut self, number: u32, kind: Kind, raw: &[u8], blocks: &mut u32, each: Each<'_>) {
        if raw.is_empty() || self.finished {
            return;
        }
        let block = self.open(number, kind, blocks, each);
        if kind == Kind::Text && !self.beyond_ascii {
            self.beyond_ascii = !is_ascii(raw);
        }
        each(Event::Piece { block, piece: Piece::Text(Text::of_raw(raw)) });
    }

    /// The open block of this kind; any other is closed.
    fn open(&mut self, number: u32, kind: Kind, blocks: &mut u32, each: Each<'_>) -> u32 {
        match self.open {
            Some((block, open)) if open == kind => return block,
            _ => self.close(each),
        }
        let block = next(blocks);
        self.open = Some((block, kind));
        self.texts += u32::from(kind == Kind::Text);
        let kind = if kind == Kind::Text { Block::Text } else { Block::Reasoning };
        each(Event::Open { block, choice: number, kind });
        block
    }

    fn close(&mut self, each: Each<'_>) {
        if let Some((block, _)) = self.open.take() {
            each(Event::Close { block });
        }
    }

    fn call(
        &mut self,
        number: u32,
        call: &[u8],
        proof: Option<Proof<'_>>,
        blocks: &mut u32,
        each: Each<'_>,
    ) -> Result<(), Malformed> {
        let (mut name, mut id, mut args, mut pieces, mut more) = (None, Text::default(), None, None, false);
        for (key, value) in json::members(call) {
            match key {
                b"name" => name = Text::of_value(value).filter(|name| !name.is_empty()),
                b"id" => id = Text::of_value(value).unwrap_or_default(),
                b"args" if value.starts_with(b"{") => args = Some(value),
                b"partialArgs" => pieces = Some(value),
                b"willContinue" => more = value == b"true",
                _ => {}
            }
        }
        if let Some(name) = name {
            self.end_partial(each);
            self.close(each);
            self.called = true;
            let block = next(blocks);
            each(Event::Open { block, choice: number, kind: Block::ToolCall { id, name, proof } });
            if more || pieces.is_some() {
                self.partial = Some((block, Partial::default()));
            } else {
                each(Event::Piece { block, piece: Piece::ArgumentsObject(args.unwrap_or(b"{}")) });
                each(Event::Close { block });
            }
        }
        if let Some((_, partial)) = &mut self.partial {
            for piece in pieces.into_iter().flat_map(json::elements) {
                partial.take(piece)?;
            }
            if !more {
                self.end_partial(each);
            }
        }
        Ok(())
    }

    fn end_partial(&mut self, each: Each<'_>) {
        if let Some((block, partial)) = self.partial.take() {
            let mut object = Vec::new();
            partial.write(&mut object);
            each(Event::Piece { block, piece: Piece::ArgumentsObject(&object) });
            each(Event::Close { block });
        }
    }

    fn finish(&mut self, number: u32, why: Finish<'_>, each: Each<'_>) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.close(each);
        self.end_partial(each);
        each(Event::Finish { choice: number, why });
    }

    /// What the text rests on, once.
    fn cite(&mut self, sources: &mut Sources<'_>, each: Each<'_>) {
        let Some((block, Kind::Text)) = self.open else { return };
        let counts = self.texts == 1 && !self.beyond_ascii;
        sources.tell(counts, &mut |citation| each(Event::Piece { block, piece: Piece::Citation(citation) }));
    }
}

/// `STOP` is said of calls, too.
fn finish_of(reason: &[u8], called: bool) -> Finish<'_> {
    match reason {
        b"STOP" if called => Finish::ToolCalls,
        b"STOP" => Finish::Stop,
        b"MAX_TOKENS" => Finish::Length,
        reason if FILTERS.contains(&reason) => Finish::Filtered,
        reason => Finish::Other(Text::of_raw(reason)),
    }
}

const FILTERS: &[&[u8]] = &[
    b"SAFETY",
    b"RECITATION",
    b"BLOCKLIST",
    b"PROHIBITED_CONTENT",
    b"SPII",
    b"MODEL_ARMOR",
    b"IMAGE_SAFETY",
    b"IMAGE_PROHIBITED_CONTENT",
    b"IMAGE_RECITATION",
];

fn fail(error: &[u8], each: Each<'_>) {
    let message = json::get(error, "message").and_then(Text::of_value).or_else(|| Text::of_value(error));
    each(Event::Failed { message: message.unwrap_or_default(), blames_caller: blames_caller(error) });
}

fn next(blocks: &mut u32) -> u32 {
    let block = *blocks;
    *blocks = blocks.saturating_add(1);
    block
}
