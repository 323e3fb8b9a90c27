//! Whole answers for callers of Cohere's language, and what they have in common with its streams.

use weir_shared::usage::{Class, Usage};

use super::FILTERED;
use super::write_events::{signature, tool_call};
use crate::dialect::answer::{Answer, Choice, Whole};
use crate::dialect::compose::{Array, Object, quoted};
use crate::dialect::event::{Block, Citation, Finish};
use crate::dialect::speech::Heading;
use crate::dialect::text::{escape_json, plain};

pub fn write(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    const NOTHING: &Choice = &Choice { blocks: Vec::new(), finish: None };
    let choice = answer.choices.first().unwrap_or(NOTHING);
    Object::write(out, |object| {
        object.str("id", heading.id);
        object.object("message", |message| whole_message(choice, heading, message));
        finish(choice.finish.as_ref(), object);
        if let Some(usage) = &answer.usage {
            write_usage(usage, object.member("usage"));
        }
    });
}

fn whole_message(choice: &Choice, heading: &Heading<'_>, message: &mut Object<'_>) {
    message.str("role", "assistant");
    let (mut contents, mut calls, mut citations) = (Vec::new(), Vec::new(), Vec::new());
    let mut index = 0;
    Array::write(&mut contents, |list| {
        for whole in &choice.blocks {
            match whole.kind {
                Block::Text | Block::Refusal => {
                    list.object(|part| {
                        part.str("type", "text").text("text", &whole.text());
                    });
                }
                Block::Reasoning if !whole.text.is_empty() || whole.proof.is_some() => {
                    let out = list.element();
                    out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
                    quoted(out, &whole.text);
                    signature(whole.proof.as_ref(), out);
                    out.push(b'}');
                }
                _ => continue,
            }
            for citation in &whole.citations {
                if !citations.is_empty() {
                    citations.push(b',');
                }
                write_citation(citation, index, Some(&whole.text), &mut citations);
            }
            index += 1;
        }
    });
    Array::write(&mut calls, |list| {
        for (block, whole) in choice.blocks.iter().enumerate() {
            if let Block::ToolCall { id, name, proof } = &whole.kind {
                let proof = proof.as_ref().or(whole.proof.as_ref());
                tool_call(id, name, proof, heading.id, block as u32, |out| all_arguments(whole, out), list.element());
            }
        }
    });
    if contents == b"[]" && calls == b"[]" {
        // Callers look at the first part.
        contents = br#"[{"type":"text","text":""}]"#.to_vec();
    }
    if contents != b"[]" {
        message.raw("content", &contents);
    }
    if calls != b"[]" {
        message.raw("tool_calls", &calls);
    }
    if !citations.is_empty() {
        let out = message.member("citations");
        out.push(b'[');
        out.extend_from_slice(&citations);
        out.push(b']');
    }
}

fn all_arguments(whole: &Whole, out: &mut Vec<u8>) {
    match &whole.object {
        Some(object) => escape_json(out, object),
        None if whole.text.is_empty() => out.extend_from_slice(b"{}"),
        None => out.extend_from_slice(&whole.text),
    }
}

pub fn write_citation(citation: &Citation<'_>, content: u64, text: Option<&[u8]>, out: &mut Vec<u8>) {
    Object::write(out, |object| {
        if let Some((start, end)) = citation.span {
            object.number("start", start).number("end", end);
            if let Some(cited) = text.and_then(|text| cited(text, start, end)) {
                object.str("text", &cited);
            }
        }
        object.array("sources", |sources| {
            sources.object(|source| {
                source.str("type", "document");
                if let Some(id) = citation.document.as_ref().or(citation.url.as_ref()) {
                    source.text("id", id);
                }
                source.object("document", |document| {
                    let fields = [("title", &citation.title), ("url", &citation.url), ("snippet", &citation.quote)];
                    for (key, value) in fields {
                        if let Some(value) = value {
                            document.text(key, value);
                        }
                    }
                });
            });
        });
        object.number("content_index", content).str("type", "TEXT_CONTENT");
    });
}

/// The letters from `start` to `end` of the inside of a string.
fn cited(raw: &[u8], start: u64, end: u64) -> Option<String> {
    let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
    let words: String = plain(raw).chars().skip(start).take(end.checked_sub(start)?).collect();
    (!words.is_empty()).then_some(words)
}

pub fn finish(why: Option<&Finish<'_>>, object: &mut Object<'_>) {
    let reason = match why {
        None | Some(Finish::Stop) => "COMPLETE",
        Some(Finish::Sequence(_)) => "STOP_SEQUENCE",
        Some(Finish::Length) => "MAX_TOKENS",
        Some(Finish::ToolCalls) => "TOOL_CALL",
        Some(Finish::Filtered) => {
            object.str("finish_reason", "ERROR").str("error", FILTERED);
            return;
        }
        Some(Finish::Other(reason)) if reason.raw() == b"TIMEOUT" => "TIMEOUT",
        // Another vendor's own reason has no word here: it is an end.
        Some(Finish::Other(_) | Finish::Paused) => "COMPLETE",
    };
    object.str("finish_reason", reason);
}

pub fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let counts = |object: &mut Object<'_>| {
        object.number("input_tokens", usage.prompt_tokens()).number("output_tokens", usage.answer_tokens());
    };
    Object::write(out, |object| {
        object.object("billed_units", counts).object("tokens", counts);
        object.number("cached_tokens", usage.of(Class::CacheRead));
    });
}
