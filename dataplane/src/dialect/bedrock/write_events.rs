//! Answers for callers that speak Converse: frames, one block after another.

use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::{blob, media, write_error};
use crate::dialect::answer::{Answer, Whole};
use crate::dialect::call::{MediaKind, Proof, Tongue};
use crate::dialect::compose::{Array, Object, number, quoted};
use crate::dialect::event::{Block, Citation, Finish};
use crate::dialect::pairing::call_id;
use crate::dialect::proof;
use crate::dialect::sequence::{Form, InTurn, Kind, Message, Opened, Strict};
use crate::dialect::speech::Heading;
use crate::dialect::text::{Arguments, Json, plain};
use crate::dialect::turns;
use crate::wire::eventstream::Open;
use crate::wire::json;

pub type Writer = InTurn<Grammar>;

impl Writer {
    pub fn of(heading: &Heading<'_>) -> Self {
        Self::new(Grammar { id: heading.id.to_owned() })
    }
}

pub struct Grammar {
    id: String,
}

impl Message for Grammar {
    const BEGINS_AT_ONCE: bool = true;

    fn begin(&self, _: Option<(Usage, Tier)>, out: &mut Vec<u8>) {
        frame("messageStart", out, |out| out.extend_from_slice(b"{\"role\":\"assistant\"}"));
    }

    fn end(&self, finish: Option<&Finish<'_>>, used: Option<(Usage, Tier)>, out: &mut Vec<u8>) {
        let word = finish.map_or("end_turn", reason);
        frame("messageStop", out, |out| {
            out.extend_from_slice(b"{\"stopReason\":\"");
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b"\"}");
        });
        let (usage, tier) = used.unwrap_or_default();
        frame("metadata", out, |out| Object::write(out, |metadata| costs(&usage, tier, metadata)));
    }

    fn fail(&self, code: Code, message: &str, out: &mut Vec<u8>) {
        write_error(out, code, message);
    }
}

/// One event. A payload that is larger than any frame is left out: nobody could read it.
fn frame(name: &str, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let open = Open::event(out, name);
    fill(out);
    open.close(out);
}

impl Strict for Grammar {
    /// Only calls and images are begun by an event of their own.
    fn start(&self, index: u32, opened: Opened<'_>, out: &mut Vec<u8>) {
        match opened {
            Opened::Text | Opened::Thought => {}
            Opened::Sealed(proof) => {
                let mut data = Vec::with_capacity(proof.data.raw().len() * 2);
                blob::write(proof, &mut data);
                delta(index, b"{\"reasoningContent\":{\"redactedContent\":\"", &data, b"\"}}", out);
            }
            Opened::Call { block, id, name } => frame("contentBlockStart", out, |out| {
                out.extend_from_slice(b"{\"contentBlockIndex\":");
                number(out, u64::from(index));
                out.extend_from_slice(b",\"start\":{\"toolUse\":{\"toolUseId\":\"");
                call_id(id, &self.id, block, out);
                out.extend_from_slice(b"\",\"name\":");
                quoted(out, name);
                out.extend_from_slice(b"}}}");
            }),
            Opened::Picture(mime) => frame("contentBlockStart", out, |out| {
                out.extend_from_slice(b"{\"contentBlockIndex\":");
                number(out, u64::from(index));
                out.extend_from_slice(b",\"start\":{\"image\":{\"format\":");
                quoted(out, media::format(MediaKind::Image, &plain(mime)).unwrap_or("png").as_bytes());
                out.extend_from_slice(b"}}}");
            }),
        }
    }

    fn piece(&self, index: u32, form: Form, raw: &[u8], out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match form {
            Form::Text => (b"{\"text\":\"", b"\"}"),
            Form::Thought => (b"{\"reasoningContent\":{\"text\":\"", b"\"}}"),
            Form::Arguments => (b"{\"toolUse\":{\"input\":\"", b"\"}}"),
            Form::Signature => (b"{\"reasoningContent\":{\"signature\":\"", b"\"}}"),
            Form::Citation => (b"{\"citation\":", b"}"),
            Form::Data => (b"{\"image\":{\"source\":{\"bytes\":\"", b"\"}}}"),
        };
        delta(index, before, raw, after, out);
    }

    fn stop(&self, index: u32, _: Kind, out: &mut Vec<u8>) {
        frame("contentBlockStop", out, |out| {
            out.extend_from_slice(b"{\"contentBlockIndex\":");
            number(out, u64::from(index));
            out.push(b'}');
        });
    }

    fn citation(&self, citation: &Citation<'_>, out: &mut Vec<u8>) {
        write_citation(citation, out);
    }

    fn signature(&self, proof: &Proof<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&proof::wrap(proof, Tongue::Converse));
    }

    fn stands_alone(&self, proof: &Proof<'_>, has_text: bool) -> bool {
        // Beside words another vendor's seal is carried like a signature; Amazon's own has no words.
        proof.sealed && (!has_text || proof.of == Tongue::Converse)
    }

    fn shows(&self, mime: &[u8]) -> bool {
        media::format(MediaKind::Image, &plain(mime)).is_some()
    }
}

fn delta(index: u32, before: &[u8], raw: &[u8], after: &[u8], out: &mut Vec<u8>) {
    frame("contentBlockDelta", out, |out| {
        out.extend_from_slice(b"{\"contentBlockIndex\":");
        number(out, u64::from(index));
        out.extend_from_slice(b",\"delta\":");
        for part in [before, raw, after, b"}"] {
            out.extend_from_slice(part);
        }
    });
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    let choice = answer.choices.first();
    Object::write(out, |object| {
        object.object("output", |output| {
            output.object("message", |message| {
                message.str("role", "assistant");
                message.array("content", |content| {
                    let blocks = choice.map_or(&[][..], |choice| &choice.blocks);
                    for (place, block) in blocks.iter().enumerate() {
                        write_block(block, place, heading.id, content);
                    }
                });
            });
        });
        let finish = choice.and_then(|choice| choice.finish.as_ref());
        object.str("stopReason", finish.map_or("end_turn", reason));
        costs(&answer.usage.unwrap_or_default(), answer.tier, object);
    });
}

fn write_block(block: &Whole, place: usize, id: &str, content: &mut Array<'_>) {
    let sealed = |proof: &Proof<'_>, content: &mut Array<'_>| {
        content.object(|object| {
            object.object("reasoningContent", |thought| {
                let out = thought.member("redactedContent");
                out.push(b'"');
                blob::write(proof, out);
                out.push(b'"');
            });
        });
    };
    match &block.kind {
        Block::Text | Block::Refusal if block.citations.is_empty() => {
            if !block.text.is_empty() {
                content.object(|object| _ = object.text("text", &block.text()));
            }
        }
        Block::Text | Block::Refusal => {
            content.object(|object| {
                object.object("citationsContent", |cited| {
                    cited.array("content", |list| {
                        list.object(|piece| _ = piece.text("text", &block.text()));
                    });
                    cited.array("citations", |list| {
                        block.citations.iter().for_each(|citation| write_citation(citation, list.element()));
                    });
                });
            });
        }
        Block::Reasoning => {
            let alone = |proof: &&Proof<'_>| proof.sealed && (block.text.is_empty() || proof.of == Tongue::Converse);
            let apart = block.proof.as_ref().filter(alone);
            let signature = block.proof.as_ref().filter(|_| apart.is_none());
            if !block.text.is_empty() || signature.is_some() {
                content.object(|object| {
                    object.object("reasoningContent", |thought| {
                        thought.object("reasoningText", |inside| {
                            inside.text("text", &block.text());
                            if let Some(proof) = signature {
                                quoted(inside.member("signature"), &proof::wrap(proof, Tongue::Converse));
                            }
                        });
                    });
                });
            }
            apart.iter().for_each(|proof| sealed(proof, content));
        }
        Block::ToolCall { id: given, name, proof } => {
            proof.iter().for_each(|proof| sealed(proof, content));
            content.object(|object| {
                object.object("toolUse", |call| {
                    let out = call.member("toolUseId");
                    out.push(b'"');
                    call_id(given.raw(), id, place as u32, out);
                    out.push(b'"');
                    call.text("name", name);
                    let arguments = match &block.object {
                        Some(whole) => Arguments::Object(Json::of(whole)),
                        None => Arguments::InString(block.text()),
                    };
                    turns::arguments(&arguments, call.member("input"));
                });
            });
        }
        Block::Media { kind: MediaKind::Image, mime } => {
            let Some(format) = media::format(MediaKind::Image, &mime.plain()) else { return };
            content.object(|object| {
                object.object("image", |image| {
                    image.str("format", format).object("source", |source| _ = source.text("bytes", &block.text()));
                });
            });
        }
        // Neither has a block that a caller of this language could make anything of.
        Block::VendorTool { .. } | Block::Media { .. } => {}
    }
}

fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    Object::write(out, |object| {
        citation.title.iter().for_each(|title| _ = object.text("title", title));
        if let Some(quote) = &citation.quote {
            object.array("sourceContent", |list| {
                list.object(|piece| _ = piece.text("text", quote));
            });
        }
        let document = citation.document.as_ref().and_then(|document| json::integer(document.raw()));
        match (&citation.url, document) {
            (Some(url), _) => {
                object.object("location", |location| {
                    location.object("web", |web| _ = web.text("url", url));
                });
            }
            (None, Some(index)) => {
                object.object("location", |location| {
                    location.object("documentChar", |place| {
                        place.number("documentIndex", index).number("start", 0).number("end", 0);
                    });
                });
            }
            (None, None) => {}
        }
    });
}

fn reason(why: &Finish<'_>) -> &'static str {
    match why {
        Finish::Stop | Finish::Paused => "end_turn",
        Finish::Sequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered => "content_filtered",
        Finish::Other(word) => match word.raw() {
            b"malformed_model_output" => "malformed_model_output",
            b"malformed_tool_use" => "malformed_tool_use",
            _ => "end_turn",
        },
    }
}

/// What it took. How long that was, nobody measures for the caller; the SDKs want a number.
fn costs(usage: &Usage, tier: Tier, object: &mut Object<'_>) {
    let of = |class| usage.of(class);
    let (short, long) = (of(Class::CacheWrite5m), of(Class::CacheWrite1h));
    let (read, written) = (of(Class::CacheRead), short.saturating_add(long));
    let input = usage.prompt_tokens().saturating_sub(written).saturating_sub(read);
    object.object("usage", |object| {
        object.number("inputTokens", input).number("outputTokens", usage.answer_tokens());
        object.number("totalTokens", usage.tokens());
        object.number("cacheReadInputTokens", read).number("cacheWriteInputTokens", written);
        if long > 0 {
            object.array("cacheDetails", |list| {
                for (count, lives) in [(short, "5m"), (long, "1h")] {
                    list.object(|detail| _ = detail.str("ttl", lives).number("inputTokens", count));
                }
            });
        }
    });
    object.object("metrics", |metrics| _ = metrics.number("latencyMs", 0));
    if matches!(tier, Tier::Priority | Tier::Flex) {
        object.object("serviceTier", |told| _ = told.str("type", tier.name()));
    }
}
