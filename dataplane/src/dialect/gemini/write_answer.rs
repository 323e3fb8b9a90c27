//! Whole answers for callers of Google's language, and what they have in common with the last chunk of a stream.

use weir_shared::usage::{Class, Tier, Usage};

use super::grounding::Grounding;
use super::write_events::{call_head, call_tail, finish, identity, thought};
use crate::dialect::answer::{Answer, Choice, Whole};
use crate::dialect::compose::{Array, Object};
use crate::dialect::event::Block;
use crate::dialect::likely;
use crate::dialect::speech::Heading;
use crate::dialect::text::{Arguments, Json};

pub fn write(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    let mut block = 0;
    if !heading.sse {
        out.push(b'[');
    }
    out.extend_from_slice(b"{\"candidates\":");
    Array::write(out, |list| {
        for (index, choice) in answer.choices.iter().enumerate() {
            list.object(|object| candidate(choice, index, heading, &mut block, object));
        }
    });
    if let Some(usage) = &answer.usage {
        out.extend_from_slice(b",\"usageMetadata\":");
        write_usage(usage, answer.tier, out);
    }
    identity(heading, out);
    if !heading.sse {
        out.push(b']');
    }
}

fn candidate(choice: &Choice, index: usize, heading: &Heading<'_>, block: &mut u32, object: &mut Object<'_>) {
    let mut malformed = None;
    let mut sources = Grounding::default();
    object.object("content", |content| {
        content.array("parts", |parts| {
            for whole in &choice.blocks {
                part(whole, heading, *block, parts, &mut malformed);
                *block += 1;
                if matches!(whole.kind, Block::Text | Block::Refusal) {
                    sources.count(&whole.text);
                    whole.citations.iter().for_each(|citation| sources.add(citation));
                }
            }
        });
        content.str("role", "model");
    });
    finish(choice.finish.as_ref(), malformed, object);
    object.number("index", index as u64);
    let likely: Vec<&[u8]> =
        choice.blocks.iter().map(|block| &block.likely[..]).filter(|list| !list.is_empty()).collect();
    if !likely.is_empty() {
        likely::write_google(&[b"[", &likely.join(&b',')[..], b"]"].concat(), object.member("logprobsResult"));
    }
    sources.write(object);
}

fn part<'w>(
    whole: &'w Whole,
    heading: &Heading<'_>,
    block: u32,
    parts: &mut Array<'_>,
    malformed: &mut Option<&'w [u8]>,
) {
    match &whole.kind {
        Block::Text | Block::Refusal => {
            parts.object(|part| {
                part.text("text", &whole.text());
            });
        }
        Block::Reasoning => {
            if !whole.text.is_empty() || whole.proof.is_some() {
                thought(&whole.text(), whole.proof.as_ref(), false, parts.element());
            }
        }
        Block::ToolCall { id, name, proof } => {
            let mut args = Vec::new();
            let arguments = match &whole.object {
                Some(object) => Arguments::Object(Json::of(object)),
                None => Arguments::InString(whole.text()),
            };
            if arguments.write_object(&mut args).is_none() {
                *malformed = Some(&whole.text);
                return;
            }
            let out = parts.element();
            call_head(id, name, heading.id, block, out);
            out.extend_from_slice(&args);
            call_tail(proof.as_ref().or(whole.proof.as_ref()), out);
        }
        Block::Media { mime, .. } => {
            parts.object(|part| {
                part.object("inlineData", |data| {
                    data.text("mimeType", mime).text("data", &whole.text());
                });
            });
        }
        Block::VendorTool { .. } => {}
    }
}

/// The prompt's count contains what came from a cache or went there; thoughts stand beside the candidates.
pub fn write_usage(usage: &Usage, tier: Tier, out: &mut Vec<u8>) {
    let of = |class| usage.of(class);
    let prompt = usage.prompt_tokens();
    let candidates = usage.answer_tokens().saturating_sub(of(Class::Reasoning));
    Object::write(out, |object| {
        object.number("promptTokenCount", prompt).number("candidatesTokenCount", candidates);
        object.number("totalTokenCount", usage.tokens());
        if of(Class::CacheRead) > 0 {
            object.number("cachedContentTokenCount", of(Class::CacheRead));
        }
        if of(Class::Reasoning) > 0 {
            object.number("thoughtsTokenCount", of(Class::Reasoning));
        }
        let prompt_by = [("AUDIO", of(Class::AudioInput)), ("IMAGE", of(Class::ImageInput))];
        modalities("promptTokensDetails", prompt, prompt_by, object);
        let answer_by = [("AUDIO", of(Class::AudioOutput)), ("IMAGE", of(Class::ImageOutput))];
        modalities("candidatesTokensDetails", candidates, answer_by, object);
        if tier != Tier::Standard {
            object.str("serviceTier", tier.name());
        }
    });
}

fn modalities(name: &str, all: u64, others: [(&str, u64); 2], object: &mut Object<'_>) {
    let rest = others.iter().fold(all, |rest, (_, count)| rest.saturating_sub(*count));
    if rest == all {
        return;
    }
    object.array(name, |list| {
        for (modality, count) in [("TEXT", rest)].into_iter().chain(others).filter(|(_, count)| *count > 0) {
            list.object(|entry| {
                entry.str("modality", modality).number("tokenCount", count);
            });
        }
    });
}
