//! Answers of vendors that speak chat completions, and of those who nearly do.
//!
//! Much of what follows is for vendors who depart from the language. Where reading their form harms nobody else it is read
//! always, because a vendor's own catalog entry is the last to know; `deviations` decides only where a form could be meant.

use weir_shared::catalog::{Deviation, Deviations};
use weir_shared::usage::{Tier, Usage};

use super::details::Detail;
use super::sound;
use super::think::Splitter;
use crate::dialect::call::Source;
use crate::dialect::call::{MediaKind, Proof, Tongue};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::given::data_url;
use crate::dialect::speech::{Malformed, ReadEvents, Step};
use crate::dialect::text::{Text, escape_json, plain};
use crate::dialect::{openai_error, openai_usage};
use crate::wire::json;

type Each<'e> = &'e mut dyn FnMut(Event<'_>);

pub struct Reader {
    deviations: Deviations,
    started: bool,
    blocks: u32,
    choices: Vec<Choice>,
    tier: Tier,
    /// Told once, however many chunks repeat them.
    cited: usize,
}

#[derive(Default)]
struct Choice {
    /// The block of words that is open, and its kind.
    open: Option<(u32, Words)>,
    calls: Vec<Call>,
    finished: bool,
    called: bool,
    think: Option<Splitter>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Text,
    Refusal,
    Thought,
}

struct Call {
    /// The vendor's number of it.
    index: u64,
    id: Vec<u8>,
    block: Option<u32>,
    /// Arguments that came before the name, kept until the call can be opened.
    held: Vec<u8>,
}

/// More choices, calls or citations are no answer.
const CHOICES_MAX: u64 = 128;
const CALLS_MAX: usize = 1_024;
const CITATIONS_MAX: usize = 1_024;
/// Longer arguments do not wait for a name.
const HELD_BYTES_MAX: usize = 1 << 20;

impl Reader {
    pub fn new(deviations: Deviations) -> Self {
        Self { deviations, started: false, blocks: 0, choices: Vec::new(), tier: Tier::default(), cited: 0 }
    }

    fn start(&mut self, id: Text<'_>, each: Each<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            each(Event::Start { id });
        }
    }

    fn chunk(&mut self, data: &[u8], whole: bool, each: Each<'_>) -> Result<Step, Malformed> {
        let top = Top::read(data);
        if let Some(error) = top.error {
            self.start(top.id, each);
            fail(error, each);
            return Ok(Step::Over);
        }
        self.start(top.id, each);
        if let Some(tier) = top.tier {
            self.tier = Tier::of_vendor_word(tier);
        }
        for choice in json::elements(top.choices) {
            self.choice(choice, whole, each)?;
        }
        self.sources(top.citations, top.results, each);
        if let Some(usage) = top.usage {
            match openai_usage::read(usage) {
                Ok(usage) if usage == Usage::NONE && !whole => {}
                Ok(usage) => each(Event::Usage { usage, tier: self.tier }),
                Err(_) => each(Event::UsageInvalid),
            }
        }
        Ok(Step::More)
    }

    fn choice(&mut self, choice: &[u8], whole: bool, each: Each<'_>) -> Result<(), Malformed> {
        let (mut index, mut delta, mut finish, mut text, mut likely) = (0, &b""[..], None, None, None);
        for (key, value) in json::members(choice) {
            match key {
                b"index" => index = json::integer(value).unwrap_or(0),
                b"delta" if !whole => delta = value,
                b"message" if whole => delta = value,
                b"message" if delta.is_empty() => delta = value,
                b"finish_reason" if value.len() > 2 && value.starts_with(b"\"") => finish = Some(value),
                b"text" => text = Text::of_value(value),
                b"logprobs" if value != b"null" => likely = json::get(value, "content").filter(|list| *list != b"null"),
                _ => {}
            }
        }
        if index >= CHOICES_MAX {
            return Err(Malformed("more choices than anybody asks for"));
        }
        let place = index as usize;
        if self.choices.len() <= place {
            self.choices.resize_with(place + 1, Choice::default);
        }
        if self.choices[place].finished && !whole {
            // A second chunk with a reason to finish says nothing new.
            return Ok(());
        }
        if let Some(text) = text {
            self.words(place, Words::Text, text, each);
        }
        self.delta(place, delta, each)?;
        if let (Some(list), Some((block, Words::Text))) = (likely, self.choices[place].open)
            && !json::is_empty_array(list)
        {
            each(Event::Piece { block, piece: Piece::Likely(list) });
        }
        if finish.is_some()
            && self.choices[place].calls.iter().any(|call| call.block.is_none() && !call.held.is_empty())
        {
            return Err(Malformed("a tool call without a name"));
        }
        if let Some(reason) = finish {
            self.finish(place, &reason[1..reason.len() - 1], each);
        } else if whole {
            self.close_words(place, each);
            self.close_calls(place, each);
        }
        Ok(())
    }

    fn delta(&mut self, place: usize, delta: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        // Thoughts stand in front of the words they led to, whatever the order of the members.
        let (mut thought, mut details, mut content, mut refusal) = (None, None, None, None);
        let (mut calls, mut function, mut annotations, mut images, mut sound) = (None, None, None, None, None);
        for (key, value) in json::members(delta).filter(|(_, value)| *value != b"null") {
            match key {
                b"content" => content = Some(value),
                b"reasoning_content" | b"reasoning" => thought = thought.or(Text::of_value(value)),
                b"reasoning_details" => details = Some(value),
                b"refusal" => refusal = Text::of_value(value),
                b"tool_calls" => calls = Some(value),
                b"function_call" => function = Some(value),
                b"annotations" => annotations = Some(value),
                b"images" => images = Some(value),
                b"audio" => sound = Some(value),
                _ => {}
            }
        }
        self.thoughts(place, thought, details, each);
        if let Some(content) = content {
            self.content(place, content, each);
        }
        if let Some(refusal) = refusal {
            self.words(place, Words::Refusal, refusal, each);
        }
        for annotation in annotations.into_iter().flat_map(json::elements) {
            self.annotation(place, annotation, each);
        }
        for image in images.into_iter().flat_map(json::elements) {
            self.image(place, image, each);
        }
        if let Some(sound) = sound {
            self.sound(place, sound, each);
        }
        for (nth, call) in calls.into_iter().flat_map(json::elements).enumerate() {
            self.call(place, nth, call, each)?;
        }
        if let Some(function) = function.filter(|function| is_named(function)) {
            self.function(place, function, each)?;
        }
        Ok(())
    }

    fn content(&mut self, place: usize, content: &[u8], each: Each<'_>) {
        if let Some(text) = Text::of_value(content) {
            if self.deviations.has(Deviation::ThinkTagsInText) {
                self.split(place, text.raw(), each);
            } else {
                self.words(place, Words::Text, text, each);
            }
            return;
        }
        // A list of parts, thoughts among them.
        for part in json::elements(content) {
            let kind = json::get(part, "type").unwrap_or_default();
            match kind {
                b"\"thinking\"" => {
                    let inside = json::get(part, "thinking").unwrap_or_default();
                    if let Some(text) = Text::of_value(inside) {
                        self.words(place, Words::Thought, text, each);
                    }
                    for piece in json::elements(inside) {
                        if let Some(text) = json::get(piece, "text").and_then(Text::of_value) {
                            self.words(place, Words::Thought, text, each);
                        }
                    }
                }
                _ => {
                    if let Some(text) = json::get(part, "text").and_then(Text::of_value) {
                        self.words(place, Words::Text, text, each);
                    }
                }
            }
        }
    }

    /// Words between `<think>` and `</think>` are thoughts, wherever the pieces are cut.
    fn split(&mut self, place: usize, raw: &[u8], each: Each<'_>) {
        let mut splitter = self.choices[place].think.take().unwrap_or_default();
        splitter.feed(raw, &mut |thought, piece| {
            let words = if thought { Words::Thought } else { Words::Text };
            self.words(place, words, Text::of_raw(piece), each);
        });
        self.choices[place].think = Some(splitter);
    }

    fn words(&mut self, place: usize, words: Words, text: Text<'_>, each: Each<'_>) {
        if text.is_empty() {
            return;
        }
        let block = match self.choices[place].open {
            Some((block, open)) if open == words => block,
            _ => self.open_words(place, words, each),
        };
        each(Event::Piece { block, piece: Piece::Text(text) });
    }

    fn open_words(&mut self, place: usize, words: Words, each: Each<'_>) -> u32 {
        self.close_words(place, each);
        let kind = match words {
            Words::Text => Block::Text,
            Words::Refusal => Block::Refusal,
            Words::Thought => Block::Reasoning,
        };
        let block = self.open(place, kind, each);
        self.choices[place].open = Some((block, words));
        block
    }

    fn open(&mut self, place: usize, kind: Block<'_>, each: Each<'_>) -> u32 {
        let block = self.blocks;
        self.blocks += 1;
        each(Event::Open { block, choice: place as u32, kind });
        block
    }

    fn close_words(&mut self, place: usize, each: Each<'_>) {
        if let Some((block, _)) = self.choices[place].open.take() {
            each(Event::Close { block });
        }
    }

    fn close_calls(&mut self, place: usize, each: Each<'_>) {
        for call in std::mem::take(&mut self.choices[place].calls) {
            if let Some(block) = call.block {
                each(Event::Close { block });
            }
        }
    }

    fn thoughts(&mut self, place: usize, thought: Option<Text<'_>>, details: Option<&[u8]>, each: Each<'_>) {
        let mut shown = false;
        for entry in details.into_iter().flat_map(json::elements) {
            let detail = Detail::read(entry);
            if !detail.text.is_empty() {
                shown = true;
                self.words(place, Words::Thought, detail.text, each);
            }
            if let Some(proof) = detail.proof {
                let block = match self.choices[place].open {
                    Some((block, Words::Thought)) if !proof.sealed => block,
                    _ => self.open_words(place, Words::Thought, each),
                };
                each(Event::Piece { block, piece: Piece::Proof(proof) });
                self.close_words(place, each);
            }
        }
        // Those who tell details repeat them as plain text.
        if let Some(text) = thought.filter(|_| !shown) {
            self.words(place, Words::Thought, text, each);
        }
    }

    fn call(&mut self, place: usize, nth: usize, call: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        let (mut index, mut id, mut function, mut signature) = (None, Text::default(), &b""[..], None);
        for (key, value) in json::members(call) {
            match key {
                b"index" => index = json::integer(value),
                b"id" => id = Text::of_value(value).unwrap_or_default(),
                b"function" => function = value,
                b"extra_content" => {
                    signature = json::dig(value, &["google", "thought_signature"]).and_then(Text::of_value)
                }
                _ => {}
            }
        }
        // Who numbers all calls alike tells them apart by id and name; who makes up an id for each piece names none.
        let is_named =
            !id.is_empty() && json::get(function, "name").is_some_and(|name| name.len() > 2 && name != b"null");
        let known = self.choices[place].calls.iter().rposition(|known| {
            let same = id.is_empty() || known.id.is_empty() || known.id == id.raw();
            match index {
                Some(index) => known.index == index && (same || !is_named),
                // Without an index, an id tells calls apart; without both, the last one goes on.
                None => id.is_empty() || known.id == id.raw(),
            }
        });
        let at = match known {
            Some(at) => at,
            None => {
                let calls = &mut self.choices[place].calls;
                if calls.len() >= CALLS_MAX {
                    return Err(Malformed("more tool calls than anybody runs"));
                }
                let index = index.unwrap_or(nth as u64 + calls.len() as u64);
                calls.push(Call { index, id: id.raw().to_vec(), block: None, held: Vec::new() });
                calls.len() - 1
            }
        };
        if self.choices[place].calls[at].id.is_empty() {
            self.choices[place].calls[at].id = id.raw().to_vec();
        }
        self.call_step(place, at, function, signature, each)
    }

    /// The older form, of which there is one at most.
    fn function(&mut self, place: usize, function: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        if self.choices[place].calls.is_empty() {
            self.choices[place].calls.push(Call { index: 0, id: Vec::new(), block: None, held: Vec::new() });
        }
        self.call_step(place, 0, function, None, each)
    }

    fn call_step(
        &mut self,
        place: usize,
        at: usize,
        function: &[u8],
        signature: Option<Text<'_>>,
        each: Each<'_>,
    ) -> Result<(), Malformed> {
        let (mut name, mut arguments) = (Text::default(), None);
        for (key, value) in json::members(function) {
            match key {
                b"name" => name = Text::of_value(value).unwrap_or_default(),
                b"arguments" if value != b"null" => arguments = Some(value),
                _ => {}
            }
        }
        let block = match self.choices[place].calls[at].block {
            // Some repeat the name in every piece.
            Some(block) => block,
            None if name.is_empty() => return self.hold(place, at, arguments),
            None => {
                let call = &mut self.choices[place].calls[at];
                let (id, held) = (std::mem::take(&mut call.id), std::mem::take(&mut call.held));
                self.close_words(place, each);
                let proof = signature.map(|data| Proof { of: Tongue::Chat, data, sealed: false });
                let block = self.open(place, Block::ToolCall { id: Text::of_raw(&id), name, proof }, each);
                if !held.is_empty() {
                    each(Event::Piece { block, piece: Piece::Arguments(Text::of_raw(&held)) });
                }
                let call = &mut self.choices[place].calls[at];
                (call.block, call.id) = (Some(block), id);
                self.choices[place].called = true;
                block
            }
        };
        match arguments {
            Some(object) if object.starts_with(b"{") => {
                each(Event::Piece { block, piece: Piece::ArgumentsObject(object) });
            }
            Some(text) => {
                if let Some(text) = Text::of_value(text).filter(|text| !text.is_empty()) {
                    each(Event::Piece { block, piece: Piece::Arguments(text) });
                }
            }
            None => {}
        }
        Ok(())
    }

    fn hold(&mut self, place: usize, at: usize, arguments: Option<&[u8]>) -> Result<(), Malformed> {
        let held = &mut self.choices[place].calls[at].held;
        match arguments {
            Some(object) if object.starts_with(b"{") => escape_json(held, object),
            Some(text) => held.extend_from_slice(Text::of_value(text).unwrap_or_default().raw()),
            None => {}
        }
        if held.len() > HELD_BYTES_MAX { Err(Malformed("arguments of a tool without a name")) } else { Ok(()) }
    }

    fn annotation(&mut self, place: usize, annotation: &[u8], each: Each<'_>) {
        let Some(cited) = json::get(annotation, "url_citation") else { return };
        let member = |name| json::get(cited, name).and_then(Text::of_value);
        let number = |name| json::get(cited, name).and_then(json::integer);
        let citation = Citation {
            url: member("url"),
            title: member("title"),
            quote: member("content"),
            span: number("start_index").zip(number("end_index")),
            document: None,
        };
        self.cite(place, citation, each);
    }

    fn cite(&mut self, place: usize, citation: Citation<'_>, each: Each<'_>) {
        if self.cited >= CITATIONS_MAX {
            return;
        }
        self.cited += 1;
        let block = match self.choices[place].open {
            Some((block, Words::Text)) => block,
            _ => self.open_words(place, Words::Text, each),
        };
        each(Event::Piece { block, piece: Piece::Citation(citation) });
    }

    /// Perplexity tells its sources beside the choices, in every chunk anew.
    fn sources(&mut self, citations: Option<&[u8]>, results: Option<&[u8]>, each: Each<'_>) {
        let is_open = self.choices.first().is_some_and(|choice| matches!(choice.open, Some((_, Words::Text))));
        if !is_open || self.cited > 0 {
            return;
        }
        if let Some(results) = results {
            for result in json::elements(results) {
                let member = |name| json::get(result, name).and_then(Text::of_value);
                let citation = Citation { url: member("url"), title: member("title"), ..Citation::default() };
                self.cite(0, citation, each);
            }
            return;
        }
        for url in citations.into_iter().flat_map(json::elements) {
            self.cite(0, Citation { url: Text::of_value(url), ..Citation::default() }, each);
        }
    }

    fn image(&mut self, place: usize, image: &[u8], each: Each<'_>) {
        let url = json::dig(image, &["image_url", "url"]).and_then(Text::of_value);
        let Some(Source::Data { mime, base64 }) = url.as_ref().and_then(data_url) else { return };
        self.close_words(place, each);
        let block = self.open(place, Block::Media { kind: MediaKind::Image, mime }, each);
        each(Event::Piece { block, piece: Piece::Data(base64) });
        each(Event::Close { block });
    }

    /// What is heard is said in words, too. Each piece of a stream is a sound of its own: their base64 cannot be joined.
    fn sound(&mut self, place: usize, told: &[u8], each: Each<'_>) {
        let member = |name| json::get(told, name).and_then(Text::of_value).filter(|text| !text.is_empty());
        if let Some(words) = member("transcript") {
            self.words(place, Words::Text, words, each);
        }
        if let Some(data) = member("data") {
            self.close_words(place, each);
            let mime = Text::of_raw(sound::type_of(data.raw()).as_bytes());
            let block = self.open(place, Block::Media { kind: MediaKind::Audio, mime }, each);
            each(Event::Piece { block, piece: Piece::Data(data) });
            each(Event::Close { block });
        }
    }

    fn finish(&mut self, place: usize, reason: &[u8], each: Each<'_>) {
        self.flush(place, each);
        self.close_words(place, each);
        self.close_calls(place, each);
        let choice = &mut self.choices[place];
        if std::mem::replace(&mut choice.finished, true) {
            return;
        }
        let why = match reason {
            // Some say "stop" and mean a call.
            b"stop" | b"eos" | b"end_turn" if choice.called => Finish::ToolCalls,
            b"stop" | b"eos" | b"end_turn" => Finish::Stop,
            b"length" | b"max_tokens" | b"model_length" => Finish::Length,
            b"tool_calls" | b"function_call" => Finish::ToolCalls,
            b"content_filter" => Finish::Filtered,
            other => Finish::Other(Text::of_raw(other)),
        };
        each(Event::Finish { choice: place as u32, why });
    }

    /// What a splitter still held back.
    fn flush(&mut self, place: usize, each: Each<'_>) {
        let Some(mut splitter) = self.choices[place].think.take() else { return };
        splitter.flush(&mut |thought, piece| {
            let words = if thought { Words::Thought } else { Words::Text };
            self.words(place, words, Text::of_raw(piece), each);
        });
    }
}

impl ReadEvents for Reader {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: Each<'_>) -> Result<Step, Malformed> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Step::Over);
        }
        json::validate(data)?;
        if name == b"error" {
            self.start(Text::default(), each);
            fail(json::get(data, "error").unwrap_or(data), each);
            return Ok(Step::Over);
        }
        self.chunk(data, false, each)
    }

    fn end(&mut self, each: Each<'_>) {
        if !self.started {
            return;
        }
        for place in 0..self.choices.len() {
            self.flush(place, each);
            self.close_words(place, each);
            let called = self.choices[place].called;
            self.close_calls(place, each);
            // Snowflake's streams have no chunk that says why they end.
            if !self.choices[place].finished && self.deviations.has(Deviation::EmptyFinish) {
                self.choices[place].finished = true;
                let why = if called { Finish::ToolCalls } else { Finish::Stop };
                each(Event::Finish { choice: place as u32, why });
            }
        }
    }

    fn read_answer(&mut self, body: &[u8], each: Each<'_>) -> Result<(), Malformed> {
        json::validate(body)?;
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Malformed("not an object"));
        }
        self.chunk(body, true, each)?;
        self.end(each);
        Ok(())
    }
}

/// The members of a chunk, each looked at once.
struct Top<'a> {
    id: Text<'a>,
    choices: &'a [u8],
    usage: Option<&'a [u8]>,
    error: Option<&'a [u8]>,
    tier: Option<&'a str>,
    citations: Option<&'a [u8]>,
    results: Option<&'a [u8]>,
}

impl<'a> Top<'a> {
    fn read(data: &'a [u8]) -> Self {
        let mut top = Self {
            id: Text::default(),
            choices: b"",
            usage: None,
            error: None,
            tier: None,
            citations: None,
            results: None,
        };
        for (key, value) in json::members(data).filter(|(_, value)| *value != b"null") {
            match key {
                b"id" => top.id = Text::of_value(value).unwrap_or_default(),
                b"choices" => top.choices = value,
                b"usage" => top.usage = Some(value),
                b"x_groq" => {
                    top.usage = top.usage.or_else(|| json::get(value, "usage").filter(|usage| *usage != b"null"));
                    top.error = top.error.or_else(|| json::get(value, "error").filter(|error| *error != b"null"));
                }
                b"error" => top.error = Some(value),
                b"service_tier" => {
                    let inner = value.get(1..value.len().saturating_sub(1)).unwrap_or_default();
                    top.tier = std::str::from_utf8(inner).ok();
                }
                b"citations" => top.citations = Some(value),
                b"search_results" => top.results = Some(value),
                _ => {}
            }
        }
        top
    }
}

fn is_named(function: &[u8]) -> bool {
    json::members(function).any(|(_, value)| value.len() > 2)
}

fn fail(error: &[u8], each: Each<'_>) {
    let text = |value: &[u8]| Text::of_value(value).map(|text| plain(text.raw()).into_owned());
    let message = text(error).or_else(|| json::get(error, "message").and_then(text)).unwrap_or_default();
    each(Event::Failed { message: Text::of_plain(&message), blames_caller: openai_error::blames_caller(error) });
}
