//! Answers for callers of chat completions: a chunk for each piece, spliced between what is the same in all of them.

use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::write_call::write_signature;
use super::{details, sound};
use crate::dialect::answer::{Answer, Choice, Whole};
use crate::dialect::call::{MediaKind, Proof, Tongue};
use crate::dialect::compose::{Array, Object, number, quoted};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::likely;
use crate::dialect::pairing::call_id;
use crate::dialect::proof;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::{Text, escape_json};
use crate::wire::json;

pub struct Writer {
    /// `data: {"id":…,"choices":[{"index":` of every chunk.
    front: Vec<u8>,
    id: String,
    usage_asked: bool,
    over: bool,
    blocks: Vec<Open>,
    /// Bytes of pictures that are not whole.
    held: usize,
    choices: Vec<Told>,
    usage: Option<Usage>,
    tier: Tier,
}

#[derive(Default, Clone)]
struct Open {
    kind: Kind,
    choice: u32,
    /// Of a call: its number within its choice.
    index: u64,
    said: bool,
    /// Of a picture: what came of it, since a data URL leaves whole.
    held: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Silent,
    Text,
    Refusal,
    Thought,
    Call,
    Picture,
    Sound,
}

#[derive(Default, Clone)]
struct Told {
    role: bool,
    calls: u64,
    thoughts: u64,
    finished: bool,
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;
const CHOICES_MAX: usize = 128;
/// A larger picture is not held.
const PICTURE_BYTES_MAX: usize = 16 << 20;

impl Writer {
    pub fn new(heading: &Heading<'_>) -> Self {
        let mut front = b"data: {\"id\":\"chatcmpl-".to_vec();
        json::escape_into(&mut front, heading.id);
        front.extend_from_slice(b"\",\"object\":\"chat.completion.chunk\",\"created\":");
        number(&mut front, heading.created_s);
        front.extend_from_slice(b",\"model\":\"");
        json::escape_into(&mut front, heading.model);
        front.extend_from_slice(b"\",\"choices\":[");
        Self {
            front,
            id: heading.id.to_owned(),
            usage_asked: heading.call.usage_asked,
            over: false,
            blocks: Vec::with_capacity(8),
            held: 0,
            choices: Vec::with_capacity(1),
            usage: None,
            tier: Tier::default(),
        }
    }

    /// One chunk of one choice; `fill` writes the members of its delta.
    fn chunk(&mut self, choice: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.front);
        out.extend_from_slice(b"{\"index\":");
        number(out, u64::from(choice));
        out.extend_from_slice(b",\"delta\":{");
        let told = self.told(choice);
        if let Some(told) = told.filter(|told| !told.role) {
            told.role = true;
            out.extend_from_slice(b"\"role\":\"assistant\",");
        }
        fill(out);
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    }

    fn told(&mut self, choice: u32) -> Option<&mut Told> {
        let place = choice as usize;
        if place >= CHOICES_MAX {
            return None;
        }
        if self.choices.len() <= place {
            self.choices.resize(place + 1, Told::default());
        }
        self.choices.get_mut(place)
    }

    fn open(&mut self, block: u32, choice: u32, kind: Block<'_>, out: &mut Vec<u8>) {
        let place = block as usize;
        if place >= BLOCKS_MAX || self.told(choice).is_none() {
            return;
        }
        if self.blocks.len() <= place {
            self.blocks.resize(place + 1, Open::default());
        }
        let mut open = Open { choice, ..Open::default() };
        open.kind = match kind {
            Block::Text => Kind::Text,
            Block::Refusal => Kind::Refusal,
            Block::Reasoning => {
                if let Some(told) = self.told(choice) {
                    (open.index, told.thoughts) = (told.thoughts, told.thoughts + 1);
                }
                Kind::Thought
            }
            Block::ToolCall { id, name, proof } => {
                if let Some(told) = self.told(choice) {
                    (open.index, told.calls) = (told.calls, told.calls + 1);
                }
                let own = self.id.clone();
                self.chunk(choice, out, |out| {
                    out.extend_from_slice(b"\"tool_calls\":[");
                    Object::write(out, |call| {
                        call.number("index", open.index);
                        call_head(&id, &own, block, call);
                        call.object("function", |function| _ = function.text("name", &name).str("arguments", ""));
                        proof.iter().for_each(|proof| signature(proof, call));
                    });
                    out.push(b']');
                });
                Kind::Call
            }
            Block::Media { kind: MediaKind::Image, mime } => {
                open.held = [b"data:", mime.raw(), b";base64,"].concat();
                self.held += open.held.len();
                Kind::Picture
            }
            Block::Media { kind: MediaKind::Audio, .. } => Kind::Sound,
            Block::VendorTool { .. } | Block::Media { .. } => Kind::Silent,
        };
        self.blocks[place] = open;
    }

    fn piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize) else { return };
        let (choice, index) = (open.choice, open.index);
        match (open.kind, piece) {
            (Kind::Text, Piece::Text(text)) => self.words(choice, b"\"content\":\"", &text, out),
            (Kind::Refusal, Piece::Text(text)) => self.words(choice, b"\"refusal\":\"", &text, out),
            (Kind::Thought, Piece::Text(text)) if !text.is_empty() => self.chunk(choice, out, |out| {
                out.extend_from_slice(b"\"reasoning_content\":\"");
                out.extend_from_slice(text.raw());
                out.extend_from_slice(b"\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"");
                out.extend_from_slice(text.raw());
                out.extend_from_slice(b"\",\"index\":");
                number(out, index);
                out.extend_from_slice(b"}]");
            }),
            (Kind::Thought, Piece::Proof(proof)) => self.chunk(choice, out, |out| {
                out.extend_from_slice(b"\"reasoning_details\":[");
                Object::write(out, |detail| details::write(&proof, None, index, detail));
                out.push(b']');
            }),
            (Kind::Call, Piece::Arguments(text)) if !text.is_empty() => {
                open.said = true;
                self.arguments(choice, index, out, |out| out.extend_from_slice(text.raw()));
            }
            (Kind::Call, Piece::ArgumentsObject(object)) => {
                open.said = true;
                self.arguments(choice, index, out, |out| escape_json(out, object));
            }
            (Kind::Text, Piece::Citation(citation)) => {
                self.chunk(choice, out, |out| {
                    out.extend_from_slice(b"\"annotations\":[");
                    annotation(&citation, out);
                    out.push(b']');
                });
            }
            (Kind::Text, Piece::Likely(list)) => {
                out.extend_from_slice(&self.front);
                out.extend_from_slice(b"{\"index\":");
                number(out, u64::from(choice));
                out.extend_from_slice(b",\"delta\":{},\"logprobs\":{\"content\":[");
                let mut tokens = Vec::new();
                likely::append(list, &mut tokens);
                out.extend_from_slice(&tokens);
                out.extend_from_slice(b"],\"refusal\":null},\"finish_reason\":null}]}\n\n");
            }
            (Kind::Sound, Piece::Data(data)) => {
                let own = self.id.clone();
                self.chunk(choice, out, |out| {
                    out.extend_from_slice(b"\"audio\":");
                    Object::write(out, |told| sound::write(&own, data.raw(), None, told));
                });
            }
            (Kind::Picture, Piece::Data(data)) => {
                self.held += data.raw().len();
                open.held.extend_from_slice(data.raw());
                if self.held > PICTURE_BYTES_MAX {
                    // Half a picture is none, and an answer without it is another one.
                    (open.kind, open.held) = (Kind::Silent, Vec::new());
                    self.fail(Code::UpstreamInvalid, "The vendor made a picture that is too large to be told.", out);
                }
            }
            _ => {}
        }
    }

    fn words(&mut self, choice: u32, member: &[u8], text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        self.chunk(choice, out, |out| {
            out.extend_from_slice(member);
            out.extend_from_slice(text.raw());
            out.push(b'"');
        });
    }

    fn arguments(&mut self, choice: u32, index: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        self.chunk(choice, out, |out| {
            out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
            number(out, index);
            out.extend_from_slice(b",\"function\":{\"arguments\":\"");
            fill(out);
            out.extend_from_slice(b"\"}}]");
        });
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize).map(std::mem::take) else { return };
        match open.kind {
            // Callers parse what there is.
            Kind::Call if !open.said => {
                self.arguments(open.choice, open.index, out, |out| out.extend_from_slice(b"{}"));
            }
            Kind::Picture => {
                self.held = self.held.saturating_sub(open.held.len());
                self.chunk(open.choice, out, |out| {
                    out.extend_from_slice(b"\"images\":[");
                    picture(&open.held, out);
                    out.push(b']');
                });
            }
            _ => {}
        }
    }

    fn finish(&mut self, choice: u32, why: &Finish<'_>, out: &mut Vec<u8>) {
        if self.told(choice).is_none_or(|told| std::mem::replace(&mut told.finished, true)) {
            return;
        }
        if self.told(choice).is_some_and(|told| !told.role) {
            self.chunk(choice, out, |out| out.extend_from_slice(b"\"content\":\"\""));
        }
        out.extend_from_slice(&self.front);
        out.extend_from_slice(b"{\"index\":");
        number(out, u64::from(choice));
        out.extend_from_slice(b",\"delta\":{},\"logprobs\":null,\"finish_reason\":\"");
        out.extend_from_slice(word(why).as_bytes());
        out.extend_from_slice(b"\"}]}\n\n");
    }
}

impl WriteEvents for Writer {
    fn held(&self) -> usize {
        self.held
    }

    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Piece { block, piece } => self.piece(block, piece, out),
            Event::Start { .. } => self.chunk(0, out, |out| out.extend_from_slice(b"\"content\":\"\"")),
            Event::Open { block, choice, kind } => self.open(block, choice, kind, out),
            Event::Close { block } => self.close(block, out),
            Event::Usage { usage, tier } => (self.usage, self.tier) = (Some(usage), tier),
            Event::Finish { choice, why } => self.finish(choice, &why, out),
            Event::UsageInvalid | Event::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if self.usage_asked {
            out.extend_from_slice(&self.front);
            out.push(b']');
            tier_member(self.tier, out);
            out.extend_from_slice(b",\"usage\":");
            write_usage(&self.usage.unwrap_or(Usage::NONE), out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            super::error_event(out, code, message);
        }
    }
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    Object::write(out, |object| {
        object.str("id", &format!("chatcmpl-{}", heading.id));
        object.str("object", "chat.completion").number("created", heading.created_s).str("model", heading.model);
        object.array("choices", |choices| {
            let empty = [Choice::default()];
            let all = if answer.choices.is_empty() { &empty[..] } else { &answer.choices[..] };
            for (place, choice) in all.iter().enumerate() {
                choices.object(|one| {
                    one.number("index", place as u64);
                    one.object("message", |message| whole_message(choice, heading, message));
                    write_likely(choice, one.member("logprobs"));
                    one.str("finish_reason", choice.finish.as_ref().map_or("stop", word));
                });
            }
        });
        if answer.tier != Tier::Standard {
            object.str("service_tier", answer.tier.name());
        }
        write_usage(&answer.usage.unwrap_or(Usage::NONE), object.member("usage"));
    });
}

fn whole_message(choice: &Choice, heading: &Heading<'_>, message: &mut Object<'_>) {
    message.str("role", "assistant");
    let of = |wanted: fn(&Block<'_>) -> bool| choice.blocks.iter().filter(move |block| wanted(&block.kind));
    let joined = |wanted: fn(&Block<'_>) -> bool| -> Option<Vec<u8>> {
        let mut blocks = of(wanted).peekable();
        blocks.peek()?;
        Some(blocks.flat_map(|block| block.text.iter().copied()).collect())
    };
    let is_call = |kind: &Block<'_>| matches!(kind, Block::ToolCall { .. });
    let is_sound = |kind: &Block<'_>| matches!(kind, Block::Media { kind: MediaKind::Audio, .. });
    match joined(|kind| matches!(kind, Block::Text)) {
        Some(text) => _ = message.text("content", &Text::of_raw(&text)),
        None if of(is_call).chain(of(is_sound)).next().is_some() => _ = message.null("content"),
        None => _ = message.str("content", ""),
    }
    match joined(|kind| matches!(kind, Block::Refusal)) {
        Some(text) => _ = message.text("refusal", &Text::of_raw(&text)),
        None => _ = message.null("refusal"),
    }
    if let Some(text) = joined(|kind| matches!(kind, Block::Reasoning)) {
        message.text("reasoning_content", &Text::of_raw(&text));
        message.array("reasoning_details", |details| {
            for (index, block) in of(|kind| matches!(kind, Block::Reasoning)).enumerate() {
                details.object(|detail| whole_thought(block, index as u64, detail));
            }
        });
    }
    if of(is_call).next().is_some() {
        message.array("tool_calls", |calls| {
            for (place, block) in choice.blocks.iter().enumerate() {
                whole_call(block, place as u32, heading, calls);
            }
        });
    }
    if choice.blocks.iter().any(|block| !block.citations.is_empty()) {
        message.array("annotations", |annotations| {
            for citation in choice.blocks.iter().flat_map(|block| &block.citations) {
                annotation(citation, annotations.element());
            }
        });
    }
    let sounds: Vec<&[u8]> = of(is_sound).map(|block| &block.text[..]).collect();
    if !sounds.is_empty() {
        let data = sound::joined(&sounds);
        message.object("audio", |told| sound::write(heading.id, &data, Some(heading.created_s), told));
    }
    let is_picture = |kind: &Block<'_>| matches!(kind, Block::Media { kind: MediaKind::Image, .. });
    if of(is_picture).next().is_some() {
        message.array("images", |images| {
            for block in of(is_picture) {
                let Block::Media { mime, .. } = &block.kind else { continue };
                let url = [b"data:", mime.raw(), b";base64,", &block.text].concat();
                picture(&url, images.element());
            }
        });
    }
}

fn write_likely(choice: &Choice, out: &mut Vec<u8>) {
    let mut tokens = Vec::new();
    choice.blocks.iter().for_each(|block| likely::append(&block.likely(), &mut tokens));
    if tokens.is_empty() {
        return out.extend_from_slice(b"null");
    }
    Object::write(out, |told| _ = told.array("content", |list| _ = list.raw(tokens)).null("refusal"));
}

fn whole_thought(block: &Whole, index: u64, detail: &mut Object<'_>) {
    match &block.proof {
        Some(proof) => details::write(proof, Some(&block.text()), index, detail),
        None => _ = detail.str("type", "reasoning.text").text("text", &block.text()).number("index", index),
    }
}

fn whole_call(block: &Whole, place: u32, heading: &Heading<'_>, calls: &mut Array<'_>) {
    let Block::ToolCall { id, name, proof } = &block.kind else { return };
    calls.object(|call| {
        call_head(id, heading.id, place, call);
        call.object("function", |function| {
            function.text("name", name);
            match &block.object {
                Some(object) => _ = function.json_in_string("arguments", object),
                None if block.text.is_empty() => _ = function.str("arguments", "{}"),
                None => _ = function.text("arguments", &block.text()),
            }
        });
        proof.iter().for_each(|proof| signature(proof, call));
    });
}

/// A call without an id of its vendor's gets one of ours, so that its result can be paired with it.
fn call_head(id: &Text<'_>, own: &str, block: u32, call: &mut Object<'_>) {
    let out = call.member("id");
    out.push(b'"');
    call_id(id.raw(), own, block, out);
    out.push(b'"');
    call.str("type", "function");
}

fn signature(proof: &Proof<'_>, call: &mut Object<'_>) {
    write_signature(&proof::wrap(proof, Tongue::Generate), call);
}

fn annotation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    Object::write(out, |annotation| {
        annotation.str("type", "url_citation");
        annotation.object("url_citation", |cited| {
            let (start, end) = citation.span.unwrap_or((0, 0));
            cited.number("start_index", start).number("end_index", end);
            let nothing = Text::default();
            cited.text("url", citation.url.as_ref().or(citation.document.as_ref()).unwrap_or(&nothing));
            cited.text("title", citation.title.as_ref().unwrap_or(&nothing));
            citation.quote.iter().for_each(|quote| _ = cited.text("content", quote));
        });
    });
}

fn picture(url: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":");
    quoted(out, url);
    out.extend_from_slice(b"}}");
}

fn word(why: &Finish<'_>) -> &'static str {
    match why {
        Finish::Stop | Finish::Sequence(_) | Finish::Paused | Finish::Other(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

fn tier_member(tier: Tier, out: &mut Vec<u8>) {
    if tier != Tier::Standard {
        out.extend_from_slice(b",\"service_tier\":");
        quoted(out, tier.name().as_bytes());
    }
}

/// Totals that contain their parts, as this language counts.
pub fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    Object::write(out, |told| {
        told.number("prompt_tokens", usage.prompt_tokens()).number("completion_tokens", usage.answer_tokens());
        told.number("total_tokens", usage.tokens());
        told.object("prompt_tokens_details", |parts| {
            parts
                .number("cached_tokens", usage.of(Class::CacheRead))
                .number("audio_tokens", usage.of(Class::AudioInput));
            let written = usage.of(Class::CacheWrite5m) + usage.of(Class::CacheWrite1h);
            if written > 0 {
                parts.number("cache_write_tokens", written);
            }
            if usage.of(Class::ImageInput) > 0 {
                parts.number("image_tokens", usage.of(Class::ImageInput));
            }
        });
        told.object("completion_tokens_details", |parts| {
            parts.number("reasoning_tokens", usage.of(Class::Reasoning));
            parts.number("audio_tokens", usage.of(Class::AudioOutput));
            parts.raw("accepted_prediction_tokens", "0").raw("rejected_prediction_tokens", "0");
            if usage.of(Class::ImageOutput) > 0 {
                parts.number("image_tokens", usage.of(Class::ImageOutput));
            }
        });
    });
}
