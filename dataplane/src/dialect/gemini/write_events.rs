//! Answers for callers of Google's language. A chunk is spliced from what is the same in all of them and the raw piece; calls
//! and media leave whole, the reason to finish and the usage in the last chunk of all.

use weir_shared::fault::Code;
use weir_shared::usage::{Tier, Usage};

use super::grounding::Grounding;
use super::partial::ARGUMENTS_BYTES_MAX;
use super::write_answer::write_usage;
use super::write_call::sign;
use super::write_error;
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::{Array, Object, number, quoted};
use crate::dialect::event::{Block, Event, Finish, Piece};
use crate::dialect::likely;
use crate::dialect::pairing::call_id;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::{Arguments, Text, plain};
use crate::wire::json;

pub struct Writer {
    id: String,
    sse: bool,
    /// What every chunk ends with, from behind its parts on.
    behind: Vec<u8>,
    chunks: u64,
    blocks: Vec<Open>,
    /// Bytes of arguments and media that are not whole.
    held: usize,
    candidates: Vec<Candidate>,
    usage: Option<(Usage, Tier)>,
    over: bool,
}

/// A block of the answer.
#[derive(Default)]
struct Open {
    choice: u32,
    kind: Kind,
    /// Of a call: its part, up to the arguments. Of media: its type.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Arguments as the inside of a string, or Base64.
    held: Vec<u8>,
    object: bool,
    too_long: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing of it is shown.
    #[default]
    Silent,
    Text,
    Reasoning,
    Call,
    Media,
}

#[derive(Default)]
struct Candidate {
    finish: Option<Finish<'static>>,
    sources: Grounding,
    /// A call that is none: what the model wrote, as the inside of a string.
    malformed: Option<Vec<u8>>,
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;
const CANDIDATES_MAX: usize = 64;

impl Writer {
    pub fn new(heading: &Heading<'_>) -> Self {
        let mut behind = Vec::with_capacity(96 + heading.model.len() + heading.id.len());
        identity(heading, &mut behind);
        Self {
            id: heading.id.to_owned(),
            sse: heading.sse,
            behind,
            chunks: 0,
            blocks: Vec::with_capacity(8),
            held: 0,
            candidates: Vec::with_capacity(1),
            usage: None,
            over: false,
        }
    }

    fn open(&mut self, block: u32, choice: u32, kind: Block<'_>) {
        let place = block as usize;
        if place >= BLOCKS_MAX || choice as usize >= CANDIDATES_MAX {
            return;
        }
        if self.blocks.len() <= place {
            self.blocks.resize_with(place + 1, Open::default);
        }
        if self.candidates.len() <= choice as usize {
            self.candidates.resize_with(choice as usize + 1, Candidate::default);
        }
        let mut open = Open { choice, ..Open::default() };
        match kind {
            Block::Text | Block::Refusal => open.kind = Kind::Text,
            Block::Reasoning => open.kind = Kind::Reasoning,
            Block::ToolCall { id, name, proof } => {
                open.kind = Kind::Call;
                call_head(&id, &name, &self.id, block, &mut open.head);
                call_tail(proof.as_ref(), &mut open.tail);
            }
            Block::Media { mime, .. } => {
                open.kind = Kind::Media;
                open.head.extend_from_slice(b"{\"inlineData\":{\"mimeType\":");
                quoted(&mut open.head, mime.raw());
                open.head.extend_from_slice(b",\"data\":\"");
            }
            Block::VendorTool { .. } => {}
        }
        self.blocks[place] = open;
    }

    fn piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize) else { return };
        let choice = open.choice;
        match (open.kind, piece) {
            (Kind::Text, Piece::Text(text)) if !text.is_empty() => {
                if let Some(candidate) = self.candidates.get_mut(choice as usize) {
                    candidate.sources.count(text.raw());
                }
                self.chunk(choice, &[b"{\"text\":\"", text.raw(), b"\"}"], out);
            }
            (Kind::Reasoning, Piece::Text(text)) if !text.is_empty() => {
                self.chunk(choice, &[b"{\"thought\":true,\"text\":\"", text.raw(), b"\"}"], out);
            }
            (Kind::Reasoning, Piece::Proof(proof)) => {
                let mut part = Vec::new();
                thought(&Text::default(), Some(&proof), true, &mut part);
                self.chunk(choice, &[&part], out);
            }
            // Whole ones have no more pieces.
            (Kind::Call, Piece::Arguments(text)) if !open.object => self.held += open.hold(text.raw()),
            (Kind::Call, Piece::ArgumentsObject(object)) => {
                self.held = self.held.saturating_sub(open.held.len());
                open.held.clear();
                open.object = true;
                self.held += open.hold(object);
            }
            (Kind::Media, Piece::Data(data)) => {
                self.held += open.hold(data.raw());
                if open.too_long {
                    // Half of it is nothing, and an answer without it is another one.
                    self.fail(
                        Code::UpstreamInvalid,
                        "The vendor made a picture or sound that is too large to be told.",
                        out,
                    );
                }
            }
            (Kind::Text, Piece::Likely(list)) => {
                self.begin(out);
                out.extend_from_slice(
                    b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"index\":",
                );
                number(out, u64::from(choice));
                out.extend_from_slice(b",\"logprobsResult\":");
                likely::write_google(list, out);
                out.extend_from_slice(b"}]");
                out.extend_from_slice(&self.behind);
                self.finish_chunk(out);
            }
            (Kind::Text, Piece::Citation(citation)) => {
                if let Some(candidate) = self.candidates.get_mut(choice as usize) {
                    candidate.sources.add(&citation);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize) else { return };
        let Open { choice, kind, head, tail, held, object, too_long } = std::mem::take(open);
        self.held = self.held.saturating_sub(held.len());
        match kind {
            Kind::Media if !too_long && !held.is_empty() => self.chunk(choice, &[&head, &held, b"\"}}"], out),
            Kind::Call => {
                let mut args = Vec::new();
                let whole = if too_long {
                    None
                } else if object {
                    args = held.clone();
                    Some(())
                } else {
                    Arguments::InString(Text::of_raw(&held)).write_object(&mut args)
                };
                // Models lay out what they write in lines; here those would end the event.
                args.retain(|byte| !matches!(byte, b'\n' | b'\r'));
                match whole {
                    Some(()) => self.chunk(choice, &[&head, &args, &tail], out),
                    None => {
                        if let Some(candidate) = self.candidates.get_mut(choice as usize) {
                            candidate.malformed = Some(held);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn chunk(&mut self, choice: u32, part: &[&[u8]], out: &mut Vec<u8>) {
        self.begin(out);
        out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[");
        for piece in part {
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(b"],\"role\":\"model\"},\"index\":");
        number(out, u64::from(choice));
        out.extend_from_slice(b"}]");
        out.extend_from_slice(&self.behind);
        self.finish_chunk(out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.sse, self.chunks) {
            (true, _) => b"data: ",
            (false, 0) => b"[",
            (false, _) => b",\r\n",
        });
        self.chunks += 1;
    }

    fn finish_chunk(&self, out: &mut Vec<u8>) {
        if self.sse {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn last_chunk(&mut self, out: &mut Vec<u8>) {
        if self.candidates.is_empty() {
            self.candidates.push(Candidate::default());
        }
        self.begin(out);
        out.push(b'{');
        out.extend_from_slice(b"\"candidates\":");
        Array::write(out, |list| {
            for (index, candidate) in self.candidates.iter().enumerate() {
                list.object(|object| {
                    object.raw("content", br#"{"parts":[{"text":""}],"role":"model"}"#);
                    finish(candidate.finish.as_ref(), candidate.malformed.as_deref(), object);
                    object.number("index", index as u64);
                    candidate.sources.write(object);
                });
            }
        });
        if let Some((usage, tier)) = &self.usage {
            out.extend_from_slice(b",\"usageMetadata\":");
            write_usage(usage, *tier, out);
        }
        out.extend_from_slice(&self.behind);
        self.finish_chunk(out);
    }
}

impl Open {
    /// How many bytes more are held.
    fn hold(&mut self, raw: &[u8]) -> usize {
        if self.held.len() + raw.len() > ARGUMENTS_BYTES_MAX {
            self.too_long = true;
            return 0;
        }
        self.held.extend_from_slice(raw);
        raw.len()
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
            Event::Open { block, choice, kind } => self.open(block, choice, kind),
            Event::Close { block } => self.close(block, out),
            Event::Usage { usage, tier } => self.usage = Some((usage, tier)),
            Event::Finish { choice, why } => {
                if (choice as usize) < CANDIDATES_MAX {
                    if self.candidates.len() <= choice as usize {
                        self.candidates.resize_with(choice as usize + 1, Candidate::default);
                    }
                    self.candidates[choice as usize].finish = Some(why.into_owned());
                }
            }
            Event::Start { .. } | Event::UsageInvalid | Event::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            self.last_chunk(out);
            if !self.sse {
                out.extend_from_slice(b"]");
            }
        }
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            self.begin(out);
            write_error(out, code, message);
            self.finish_chunk(out);
            if !self.sse {
                out.extend_from_slice(b"]");
            }
        }
    }
}

pub fn identity(heading: &Heading<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"modelVersion\":\"");
    json::escape_into(out, heading.model);
    out.extend_from_slice(b"\",\"responseId\":\"");
    json::escape_into(out, heading.id);
    out.extend_from_slice(b"\"}");
}

/// Google's own signature without words is told as Google does, on an empty text.
pub fn thought(text: &Text<'_>, proof: Option<&Proof<'_>>, streamed: bool, out: &mut Vec<u8>) {
    Object::write(out, |part| {
        let own = proof.is_some_and(|proof| proof.of == Tongue::Generate);
        if streamed || !text.is_empty() || !own {
            part.bool("thought", true);
        }
        part.text("text", text);
        if let Some(proof) = proof {
            sign(proof, part);
        }
    });
}

pub fn call_head(id: &Text<'_>, name: &Text<'_>, answer: &str, block: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"functionCall\":{\"id\":\"");
    call_id(id.raw(), answer, block, out);
    out.extend_from_slice(b"\",\"name\":");
    quoted(out, name.raw());
    out.extend_from_slice(b",\"args\":");
}

pub fn call_tail(proof: Option<&Proof<'_>>, out: &mut Vec<u8>) {
    out.push(b'}');
    if let Some(proof) = proof {
        out.extend_from_slice(b",\"thoughtSignature\":\"");
        super::signature::write(proof, out);
        out.push(b'"');
    }
    out.push(b'}');
}

/// A call whose arguments are no object cannot be told as one. Google has a word for it, and tells what was written in the
/// message beside; an empty object instead would be run by callers as if the model had meant it.
pub fn finish(why: Option<&Finish<'_>>, malformed: Option<&[u8]>, object: &mut Object<'_>) {
    if let Some(written) = malformed
        && !matches!(why, Some(Finish::Length))
    {
        object.str("finishReason", "MALFORMED_FUNCTION_CALL");
        let out = object.member("finishMessage");
        out.extend_from_slice(b"\"Malformed function call: ");
        out.extend_from_slice(cut(written));
        out.push(b'"');
        return;
    }
    let reason = match why {
        None | Some(Finish::Stop | Finish::Sequence(_) | Finish::ToolCalls) => "STOP",
        Some(Finish::Length) => "MAX_TOKENS",
        Some(Finish::Filtered) => "SAFETY",
        Some(Finish::Paused) => "OTHER",
        Some(Finish::Other(reason)) => {
            if let Some(known) = REASONS.iter().find(|known| known.as_bytes() == reason.raw()) {
                known
            } else {
                object.str("finishReason", "OTHER").str("finishMessage", &plain(reason.raw()));
                return;
            }
        }
    };
    object.str("finishReason", reason);
}

/// So much of what the model wrote is repeated.
const WRITTEN_BYTES_MAX: usize = 4 << 10;

/// The front of the inside of a string, not within a letter or an escape.
fn cut(raw: &[u8]) -> &[u8] {
    if raw.len() <= WRITTEN_BYTES_MAX {
        return raw;
    }
    let front = &raw[..WRITTEN_BYTES_MAX];
    let end = front.iter().rposition(|byte| *byte == b'\\').filter(|at| *at + 6 > front.len()).unwrap_or(front.len());
    let end = if front[..end].ends_with(b"\\") { end - 1 } else { end };
    let valid = simdutf8::compat::from_utf8(&front[..end]).map_or_else(|fault| fault.valid_up_to(), |text| text.len());
    &front[..valid]
}

/// Reasons that only Google gives, and its SDKs know.
const REASONS: &[&str] = &[
    "LANGUAGE",
    "OTHER",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "FINISH_REASON_UNSPECIFIED",
];
