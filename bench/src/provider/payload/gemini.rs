//! Gemini: every event is a whole answer so far unsaid, with spaces in its JSON and usage on each.

use super::{Block, Finish, Frame, Part, Saying, quote};
use crate::provider::scenario::Done;

pub fn stream(saying: &Saying) -> Vec<Frame> {
    let mut parts: Vec<String> = Vec::new();
    for block in &saying.blocks {
        match block {
            Block::Text(texts) => parts.extend(texts.iter().enumerate().map(|(index, text)| {
                let proof = if index + 1 == texts.len() { proof(saying) } else { "" };
                format!("{{\"text\": {}{proof}}}", quote(text))
            })),
            Block::Reasoning(texts) => {
                parts.extend(texts.iter().map(|text| format!("{{\"text\": {},\"thought\": true}}", quote(text))))
            }
            Block::Tool { name, arguments } => parts.push(call(name, arguments)),
        }
    }
    let count = parts.len();
    let mut frames: Vec<Frame> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let last = index + 1 == count;
            let finish = if last { finish_field(saying) } else { String::new() };
            Frame { name: None, data: answer(saying, part, &finish, last), part: Part::Delta }
        })
        .collect();
    match saying.done {
        Done::Once => {}
        Done::No => {
            frames.pop();
        }
        Done::Twice => frames.extend(frames.last().cloned()),
        Done::Trailing => frames.extend(frames.first().cloned()),
    }
    frames
}

pub fn unary(saying: &Saying) -> String {
    let parts: Vec<String> = saying
        .blocks
        .iter()
        .map(|block| match block {
            Block::Text(texts) => format!("{{\"text\": {}{}}}", quote(&texts.concat()), proof(saying)),
            Block::Reasoning(texts) => format!("{{\"text\": {},\"thought\": true}}", quote(&texts.concat())),
            Block::Tool { name, arguments } => call(name, arguments),
        })
        .collect();
    answer(saying, &parts.join(","), &finish_field(saying), true)
}

pub fn count_tokens(saying: &Saying) -> String {
    let count = saying.tokens.write(saying.tokens.fresh);
    format!(
        "{{\"totalTokens\": {count},\"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": {count}}}]}}"
    )
}

pub fn embed(batch: bool) -> String {
    let values = super::openai::vector(1, super::openai::EMBEDDING_DIMS);
    if batch {
        format!("{{\"embeddings\": [{{\"values\": [{values}]}}]}}")
    } else {
        format!("{{\"embedding\": {{\"values\": [{values}]}}}}")
    }
}

pub fn models() -> String {
    let list: Vec<String> = MODELS.iter().map(|model| model_object(model)).collect();
    format!("{{\"models\": [{}]}}", list.join(","))
}

pub fn model_object(model: &str) -> String {
    format!(
        "{{\"name\": {},\"displayName\": {},\"inputTokenLimit\": 1048576,\"outputTokenLimit\": 65536,\"supportedGenerationMethods\": [\"generateContent\",\"countTokens\"]}}",
        quote(&format!("models/{model}")),
        quote(model)
    )
}

fn answer(saying: &Saying, parts: &str, finish: &str, last: bool) -> String {
    let usage =
        if saying.tokens.told() { format!("\"usageMetadata\": {},", usage(saying, last)) } else { String::new() };
    format!(
        "{{\"candidates\": [{{\"content\": {{\"parts\": [{parts}],\"role\": \"model\"}}{finish},\"index\": 0}}],{usage}\"modelVersion\": {},\"responseId\": \"{}\"}}",
        quote(&saying.model),
        saying.ids.id("", 0)
    )
}

fn call(name: &str, arguments: &[String]) -> String {
    format!(
        "{{\"functionCall\": {{\"name\": {},\"args\": {}}},\"thoughtSignature\": \"{SIGNATURE}\"}}",
        quote(name),
        arguments.concat()
    )
}

/// Where there were thoughts, the last piece of the text carries their signature.
fn proof(saying: &Saying) -> &'static str {
    let thought = saying.blocks.iter().any(|block| matches!(block, Block::Reasoning(_)));
    if thought { ",\"thoughtSignature\": \"c2lnbmVk\"" } else { "" }
}

fn finish_field(saying: &Saying) -> String {
    match saying.finish {
        Finish::Missing => String::new(),
        Finish::Length => ",\"finishReason\": \"MAX_TOKENS\"".to_owned(),
        // A call of a tool ends with STOP, too.
        Finish::Stop | Finish::Tools => ",\"finishReason\": \"STOP\"".to_owned(),
    }
}

fn usage(saying: &Saying, last: bool) -> String {
    let tokens = &saying.tokens;
    let prompt = tokens.fresh + tokens.cached;
    let said = tokens.output.saturating_sub(tokens.reasoning);
    let mut text = format!("{{\"promptTokenCount\": {}", tokens.write(prompt));
    if last {
        text += &format!(",\"candidatesTokenCount\": {}", tokens.write(said));
    }
    text += &format!(",\"totalTokenCount\": {}", tokens.write(if last { prompt + tokens.output } else { prompt }));
    if tokens.cached > 0 {
        text += &format!(",\"cachedContentTokenCount\": {}", tokens.cached);
    }
    text += &format!(",\"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": {}}}]", tokens.write(prompt));
    if tokens.reasoning > 0 {
        text += &format!(",\"thoughtsTokenCount\": {}", tokens.reasoning);
    }
    text + "}"
}

pub const SIGNATURE: &str = "c2lnbmVk";
const MODELS: [&str; 3] = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash"];
