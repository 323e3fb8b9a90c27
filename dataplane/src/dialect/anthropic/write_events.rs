//! Answers for callers that speak Messages: one block after another, whatever the vendor has open at once.

use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use crate::dialect::answer::{Answer, Whole};
use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::{Array, Object, number, quoted};
use crate::dialect::event::{Block, Citation, Finish};
use crate::dialect::pairing::call_id;
use crate::dialect::proof;
use crate::dialect::sequence::{Form, InTurn, Kind, Message, Opened, Strict};
use crate::dialect::speech::Heading;
use crate::dialect::text::{Arguments, Json, Text};
use crate::dialect::turns;
use crate::wire::json;

pub type Writer<'h> = InTurn<Grammar<'h>>;

impl<'h> Writer<'h> {
    pub fn of(heading: &'h Heading<'h>) -> Self {
        Self::new(Grammar { heading })
    }
}

/// What a message, a block and its pieces look like on the wire.
pub struct Grammar<'h> {
    heading: &'h Heading<'h>,
}

impl Message for Grammar<'_> {
    const BEGINS_AT_ONCE: bool = false;

    fn begin(&self, used: Option<(Usage, Tier)>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_");
        json::escape_into(out, self.heading.id);
        out.extend_from_slice(b"\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"");
        json::escape_into(out, self.heading.model);
        out.extend_from_slice(b"\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        let (usage, tier) = used.unwrap_or_default();
        let prompt_only = Class::ALL.iter().filter(|class| class.is_prompt_token());
        let prompt = prompt_only.fold(Usage::NONE, |sum, class| sum.with(*class, usage.of(*class)));
        write_usage(&prompt, tier, out);
        out.extend_from_slice(b"}}\n\n");
    }

    fn end(&self, finish: Option<&Finish<'_>>, used: Option<(Usage, Tier)>, out: &mut Vec<u8>) {
        let (word, which) = finish.map_or(("end_turn", None), reason);
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\",\"stop_sequence\":");
        text_or_null(which, out);
        out.extend_from_slice(b"},\"usage\":");
        let (usage, tier) = used.unwrap_or_default();
        write_usage(&usage, tier, out);
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&self, code: Code, message: &str, out: &mut Vec<u8>) {
        super::write_error(out, code, message);
    }
}

impl Strict for Grammar<'_> {
    fn start(&self, index: u32, opened: Opened<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        number(out, u64::from(index));
        out.extend_from_slice(b",\"content_block\":");
        match opened {
            Opened::Text => out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}"),
            Opened::Thought => out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"),
            Opened::Sealed(proof) => {
                out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
                quoted(out, &proof::wrap(proof, Tongue::Messages));
                out.push(b'}');
            }
            Opened::Call { block, id, name } => {
                out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
                call_id(id, self.heading.id, block, out);
                out.extend_from_slice(b"\",\"name\":");
                quoted(out, name);
                out.extend_from_slice(b",\"input\":{}}");
            }
            // There is no such block.
            Opened::Picture(_) => out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}"),
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn piece(&self, index: u32, form: Form, raw: &[u8], out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match form {
            Form::Text | Form::Data => (b",\"delta\":{\"type\":\"text_delta\",\"text\":\"", b"\"}}\n\n"),
            Form::Thought => (b",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"", b"\"}}\n\n"),
            Form::Arguments => (b",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"", b"\"}}\n\n"),
            Form::Signature => (b",\"delta\":{\"type\":\"signature_delta\",\"signature\":\"", b"\"}}\n\n"),
            Form::Citation => (b",\"delta\":{\"type\":\"citations_delta\",\"citation\":", b"}}\n\n"),
        };
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        number(out, u64::from(index));
        out.extend_from_slice(before);
        out.extend_from_slice(raw);
        out.extend_from_slice(after);
    }

    fn stop(&self, index: u32, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        number(out, u64::from(index));
        out.extend_from_slice(b"}\n\n");
    }

    fn citation(&self, citation: &Citation<'_>, out: &mut Vec<u8>) {
        write_citation(citation, out);
    }

    fn signature(&self, proof: &Proof<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&proof::wrap(proof, Tongue::Messages));
    }

    fn stands_alone(&self, proof: &Proof<'_>, has_text: bool) -> bool {
        // Beside words another vendor's seal is carried like a signature; Anthropic's own has no words.
        proof.sealed && (!has_text || proof.of == Tongue::Messages)
    }
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    let choice = answer.choices.first();
    Object::write(out, |message| {
        message.str("id", &format!("msg_{}", heading.id)).str("type", "message").str("role", "assistant");
        message.str("model", heading.model);
        message.array("content", |content| {
            let blocks = choice.map_or(&[][..], |choice| &choice.blocks);
            for (place, block) in blocks.iter().enumerate() {
                write_block(block, place, heading.id, content);
            }
        });
        let finish = choice.and_then(|choice| choice.finish.as_ref());
        let (word, which) = finish.map_or(("end_turn", None), reason);
        message.str("stop_reason", word);
        text_or_null(which, message.member("stop_sequence"));
        write_usage(&answer.usage.unwrap_or_default(), answer.tier, message.member("usage"));
    });
}

fn write_block(block: &Whole, place: usize, id: &str, content: &mut Array<'_>) {
    let redacted = |proof: &Proof<'_>, content: &mut Array<'_>| {
        content.object(|object| {
            object.str("type", "redacted_thinking");
            quoted(object.member("data"), &proof::wrap(proof, Tongue::Messages));
        });
    };
    match &block.kind {
        Block::Text | Block::Refusal => {
            if block.text.is_empty() && block.citations.is_empty() {
                return;
            }
            content.object(|object| {
                object.str("type", "text").text("text", &block.text());
                if !block.citations.is_empty() {
                    object.array("citations", |list| {
                        block.citations.iter().for_each(|citation| write_citation(citation, list.element()));
                    });
                }
            });
        }
        Block::Reasoning => {
            let alone = |proof: &&Proof<'_>| proof.sealed && (block.text.is_empty() || proof.of == Tongue::Messages);
            let sealed = block.proof.as_ref().filter(alone);
            if !block.text.is_empty() || sealed.is_none() && block.proof.is_some() {
                let signature = block.proof.as_ref().filter(|_| sealed.is_none());
                content.object(|object| {
                    object.str("type", "thinking").text("thinking", &block.text());
                    let signature = signature.map(|proof| proof::wrap(proof, Tongue::Messages)).unwrap_or_default();
                    quoted(object.member("signature"), &signature);
                });
            }
            sealed.iter().for_each(|proof| redacted(proof, content));
        }
        Block::ToolCall { id: given, name, proof } => {
            proof.iter().for_each(|proof| redacted(proof, content));
            content.object(|object| {
                object.str("type", "tool_use");
                let out = object.member("id");
                out.push(b'"');
                call_id(given.raw(), id, place as u32, out);
                out.push(b'"');
                object.text("name", name);
                let arguments = match &block.object {
                    Some(whole) => Arguments::Object(Json::of(whole)),
                    None => Arguments::InString(block.text()),
                };
                turns::arguments(&arguments, object.member("input"));
            });
        }
        // Neither has a block that a caller of this language could make anything of.
        Block::VendorTool { .. } | Block::Media { .. } => {}
    }
}

fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    let nothing = Text::default();
    let quote = citation.quote.as_ref().unwrap_or(&nothing);
    let title = citation.title.as_ref();
    Object::write(out, |object| {
        if let Some(url) = &citation.url {
            object.str("type", "web_search_result_location").text("cited_text", quote).text("url", url);
            text_or_null(title, object.member("title"));
            // Anthropic's own handle of what it found; there is none.
            object.str("encrypted_index", "");
            return;
        }
        let document = citation.document.as_ref().and_then(|document| json::integer(document.raw()));
        object.str("type", "char_location").text("cited_text", quote);
        object.number("document_index", document.unwrap_or(0));
        text_or_null(title.or(citation.document.as_ref()), object.member("document_title"));
        object.number("start_char_index", 0).number("end_char_index", 0).null("file_id");
    });
}

fn text_or_null(text: Option<&Text<'_>>, out: &mut Vec<u8>) {
    match text {
        Some(text) => quoted(out, text.raw()),
        None => out.extend_from_slice(b"null"),
    }
}

fn reason<'f>(why: &'f Finish<'_>) -> (&'static str, Option<&'f Text<'f>>) {
    match why {
        Finish::Stop => ("end_turn", None),
        Finish::Sequence(which) => ("stop_sequence", which.as_ref()),
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::Filtered => ("refusal", None),
        Finish::Paused => ("pause_turn", None),
        Finish::Other(_) => ("end_turn", None),
    }
}

/// Anthropic's classes stand side by side; what has none there is counted where it belongs.
fn write_usage(usage: &Usage, tier: Tier, out: &mut Vec<u8>) {
    let of = |class| usage.of(class);
    let (short, long) = (of(Class::CacheWrite5m), of(Class::CacheWrite1h));
    let written = short.saturating_add(long);
    let input = usage.prompt_tokens().saturating_sub(written).saturating_sub(of(Class::CacheRead));
    Object::write(out, |object| {
        object.number("input_tokens", input).number("cache_creation_input_tokens", written);
        object.number("cache_read_input_tokens", of(Class::CacheRead));
        if long > 0 {
            object.object("cache_creation", |parts| {
                parts.number("ephemeral_5m_input_tokens", short).number("ephemeral_1h_input_tokens", long);
            });
        }
        object.number("output_tokens", usage.answer_tokens());
        if of(Class::Reasoning) > 0 {
            object.object("output_tokens_details", |parts| _ = parts.number("thinking_tokens", of(Class::Reasoning)));
        }
        if of(Class::ServerTool) > 0 {
            object.object("server_tool_use", |tools| _ = tools.number("web_search_requests", of(Class::ServerTool)));
        }
        if matches!(tier, Tier::Priority | Tier::Batch) {
            object.str("service_tier", tier.name());
        }
    });
}
