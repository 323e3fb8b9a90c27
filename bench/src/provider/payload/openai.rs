//! OpenAI's chat and legacy completions, and the small calls that answer in one piece.

use super::{Block, Finish, Frame, Part, Saying, obfuscation, quote};
use crate::provider::scenario::Done;

pub fn chat_stream(saying: &Saying) -> Vec<Frame> {
    let head = chunk_head(saying, "chat.completion.chunk", &saying.ids.id("chatcmpl-", 0));
    let usage = if saying.include_usage { ",\"usage\":null" } else { "" };
    let mut frames = Vec::with_capacity(saying.blocks.len() * 16);
    let mut push = |part: Part, delta: &str, finish: &str, filler: &str| {
        let data = format!(
            "{head},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{usage},\"obfuscation\":\"{filler}\"}}"
        );
        frames.push(Frame { name: None, data, part });
    };
    push(Part::Preamble, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null", &obfuscation(0, ""));
    let mut tool = 0;
    for block in &saying.blocks {
        match block {
            Block::Text(texts) => {
                for (index, text) in texts.iter().enumerate() {
                    push(Part::Delta, &format!("{{\"content\":{}}}", quote(text)), "null", &obfuscation(index, text));
                }
            }
            Block::Reasoning(texts) => {
                for (index, text) in texts.iter().enumerate() {
                    push(
                        Part::Delta,
                        &format!("{{\"reasoning_content\":{}}}", quote(text)),
                        "null",
                        &obfuscation(index, text),
                    );
                }
            }
            Block::Tool { name, arguments } => {
                let id = saying.ids.id("call_", tool + 1);
                let open = format!(
                    "{{\"tool_calls\":[{{\"index\":{tool},\"id\":\"{id}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"\"}}}}]}}",
                    quote(name)
                );
                push(Part::Preamble, &open, "null", &obfuscation(0, name));
                for (index, piece) in arguments.iter().enumerate() {
                    let delta = format!(
                        "{{\"tool_calls\":[{{\"index\":{tool},\"function\":{{\"arguments\":{}}}}}]}}",
                        quote(piece)
                    );
                    push(Part::Delta, &delta, "null", &obfuscation(index, piece));
                }
                tool += 1;
            }
        }
    }
    if saying.finish != Finish::Missing {
        push(Part::Finish, "{}", &quote(finish_reason(saying.finish)), &obfuscation(1, ""));
    }
    if saying.include_usage && saying.tokens.told() {
        let data = format!("{head},\"choices\":[],\"usage\":{},\"obfuscation\":\"\"}}", usage_object(saying));
        frames.push(Frame { name: None, data, part: Part::Usage });
    }
    let again = frames.iter().find(|f| f.part == Part::Delta).map(|f| f.data.clone());
    close(frames, saying.done, again)
}

pub fn chat(saying: &Saying) -> String {
    let mut content = String::new();
    let mut reasoning = String::new();
    let mut calls = Vec::new();
    for block in &saying.blocks {
        match block {
            Block::Text(texts) => content.push_str(&texts.concat()),
            Block::Reasoning(texts) => reasoning.push_str(&texts.concat()),
            Block::Tool { name, arguments } => {
                let id = saying.ids.id("call_", calls.len() as u64 + 1);
                calls.push(format!(
                    "{{\"id\":\"{id}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":{}}}}}",
                    quote(name),
                    quote(&arguments.concat())
                ));
            }
        }
    }
    let content = if content.is_empty() && !calls.is_empty() { "null".to_owned() } else { quote(&content) };
    let calls = if calls.is_empty() { String::new() } else { format!(",\"tool_calls\":[{}]", calls.join(",")) };
    let reasoning =
        if reasoning.is_empty() { String::new() } else { format!(",\"reasoning_content\":{}", quote(&reasoning)) };
    let finish = if saying.finish == Finish::Missing { "null".to_owned() } else { quote(finish_reason(saying.finish)) };
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage_object(saying)) } else { String::new() };
    format!(
        "{{\n  \"id\": \"{}\",\n  \"object\": \"chat.completion\",\n  \"created\": {},\n  \"model\": {},\n  \"choices\": [{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":{content}{reasoning}{calls},\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":{finish}}}]{usage},\n  \"service_tier\": \"default\",\n  \"system_fingerprint\": \"fp_weirbench1\"\n}}\n",
        saying.ids.id("chatcmpl-", 0),
        saying.created,
        quote(&saying.model),
    )
}

pub fn completions_stream(saying: &Saying) -> Vec<Frame> {
    let head = chunk_head(saying, "text_completion", &saying.ids.id("cmpl-", 0));
    let usage = if saying.include_usage { ",\"usage\":null" } else { "" };
    let mut frames = Vec::new();
    let mut push = |part: Part, text: &str, finish: &str| {
        let data = format!(
            "{head},\"choices\":[{{\"text\":{},\"index\":0,\"logprobs\":null,\"finish_reason\":{finish}}}]{usage}}}",
            quote(text)
        );
        frames.push(Frame { name: None, data, part });
    };
    for text in texts(saying) {
        push(Part::Delta, text, "null");
    }
    if saying.finish != Finish::Missing {
        push(Part::Finish, "", &quote(finish_reason(saying.finish)));
    }
    if saying.include_usage && saying.tokens.told() {
        frames.push(Frame {
            name: None,
            data: format!("{head},\"choices\":[],\"usage\":{}}}", usage_object(saying)),
            part: Part::Usage,
        });
    }
    let again = frames.iter().find(|f| f.part == Part::Delta).map(|f| f.data.clone());
    close(frames, saying.done, again)
}

pub fn completions(saying: &Saying) -> String {
    let text: String = texts(saying).collect();
    let finish = if saying.finish == Finish::Missing { "null".to_owned() } else { quote(finish_reason(saying.finish)) };
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage_object(saying)) } else { String::new() };
    format!(
        "{},\"choices\":[{{\"text\":{},\"index\":0,\"logprobs\":null,\"finish_reason\":{finish}}}]{usage}}}",
        chunk_head(saying, "text_completion", &saying.ids.id("cmpl-", 0)),
        quote(&text)
    )
}

/// As many vectors as the input has entries.
pub fn embeddings(saying: &Saying, input: &[u8]) -> String {
    let count = match serde_json::from_slice::<serde_json::Value>(input) {
        Ok(serde_json::Value::Array(list)) if list.first().is_some_and(|v| !v.is_number()) => list.len().max(1),
        _ => 1,
    };
    let vectors: Vec<String> = (0..count)
        .map(|index| {
            format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":[{}]}}", vector(index, EMBEDDING_DIMS))
        })
        .collect();
    let usage = if saying.tokens.told() {
        let count = saying.tokens.write(saying.tokens.fresh);
        format!(",\"usage\":{{\"prompt_tokens\":{count},\"total_tokens\":{count}}}")
    } else {
        String::new()
    };
    format!("{{\"object\":\"list\",\"data\":[{}],\"model\":{}{usage}}}", vectors.join(","), quote(&saying.model))
}

pub fn moderations(saying: &Saying) -> String {
    format!(
        "{{\"id\":\"{}\",\"model\":{},\"results\":[{{\"flagged\":false,\"categories\":{{\"harassment\":false,\"hate\":false,\"self-harm\":false,\"sexual\":false,\"violence\":false}},\"category_scores\":{{\"harassment\":0.00011,\"hate\":0.00002,\"self-harm\":0.00001,\"sexual\":0.00003,\"violence\":0.00021}}}}]}}",
        saying.ids.id("modr-", 0),
        quote(&saying.model)
    )
}

pub fn images(saying: &Saying) -> String {
    let usage = if saying.tokens.told() {
        format!(
            ",\"usage\":{{\"input_tokens\":{},\"output_tokens\":{},\"total_tokens\":{},\"input_tokens_details\":{{\"text_tokens\":{},\"image_tokens\":0}}}}",
            saying.tokens.write(saying.tokens.fresh),
            saying.tokens.write(saying.tokens.output),
            saying.tokens.write(saying.tokens.fresh + saying.tokens.output),
            saying.tokens.write(saying.tokens.fresh),
        )
    } else {
        String::new()
    };
    format!("{{\"created\":{},\"data\":[{{\"b64_json\":\"{DOT_PNG}\"}}]{usage}}}", saying.created)
}

pub fn transcription(saying: &Saying) -> String {
    let text: String = texts(saying).collect();
    let usage = if saying.tokens.told() { ",\"usage\":{\"type\":\"duration\",\"seconds\":4}" } else { "" };
    format!("{{\"text\":{}{usage}}}", quote(&text))
}

pub fn models(created: u64) -> String {
    let list: Vec<String> = MODELS.iter().map(|model| model_object(model, created)).collect();
    format!("{{\"object\":\"list\",\"data\":[{}]}}", list.join(","))
}

pub fn model_object(model: &str, created: u64) -> String {
    format!("{{\"id\":{},\"object\":\"model\",\"created\":{created},\"owned_by\":\"weirbench\"}}", quote(model))
}

pub fn usage_object(saying: &Saying) -> String {
    let tokens = &saying.tokens;
    let prompt = tokens.fresh + tokens.cached;
    format!(
        "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":{},\"audio_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":{},\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
        tokens.write(prompt),
        tokens.write(tokens.output),
        tokens.write(prompt + tokens.output),
        tokens.cached,
        tokens.reasoning,
    )
}

fn chunk_head(saying: &Saying, object: &str, id: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":{},\"model\":{},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_weirbench1\"",
        saying.created,
        quote(&saying.model)
    )
}

fn close(mut frames: Vec<Frame>, done: Done, again: Option<String>) -> Vec<Frame> {
    let last = || Frame { name: None, data: "[DONE]".to_owned(), part: Part::Done };
    match done {
        Done::No => {}
        Done::Once => frames.push(last()),
        Done::Twice => frames.extend([last(), last()]),
        Done::Trailing => {
            frames.push(last());
            frames.extend(again.map(|data| Frame { name: None, data, part: Part::Done }));
        }
    }
    frames
}

fn texts(saying: &Saying) -> impl Iterator<Item = &str> {
    saying.blocks.iter().flat_map(|block| match block {
        Block::Text(texts) | Block::Reasoning(texts) => texts.iter().map(String::as_str),
        Block::Tool { arguments, .. } => arguments.iter().map(String::as_str),
    })
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Missing => "stop",
        Finish::Length => "length",
        Finish::Tools => "tool_calls",
    }
}

pub fn vector(seed: usize, dims: usize) -> String {
    let mut state = seed as u64 + 1;
    let numbers: Vec<String> = (0..dims).map(|_| format!("0.0{:06}", super::next(&mut state) % 1_000_000)).collect();
    numbers.join(",")
}

/// Small enough that a test prints it, large enough that it is no single packet when there are many.
pub const EMBEDDING_DIMS: usize = 64;
/// A PNG of one grey pixel.
pub const DOT_PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
pub const MODELS: [&str; 6] =
    ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "o4-mini", "text-embedding-3-small", "gpt-image-1"];
