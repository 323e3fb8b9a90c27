//! Cohere's second chat: every step has a name and a type, contents and calls are counted apart, and what is billed is told
//! beside what was read.

use super::{Block, Finish, Frame, Part, Saying, quote};
use crate::provider::scenario::Done;

pub fn stream(saying: &Saying) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut push = |part: Part, name: &'static str, fields: &str| {
        frames.push(Frame { name: Some(name), data: format!("{{\"type\":\"{name}\"{fields}}}"), part });
    };
    push(
        Part::Preamble,
        "message-start",
        &format!(
            ",\"id\":\"{}\",\"delta\":{{\"message\":{{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}}",
            uuid(saying)
        ),
    );
    let (mut contents, mut calls) = (0, 0);
    for block in &saying.blocks {
        let texts = match block {
            Block::Text(texts) => Some((texts, "text")),
            Block::Reasoning(texts) => Some((texts, "thinking")),
            Block::Tool { .. } => None,
        };
        match (block, texts) {
            (Block::Tool { name, arguments }, _) => {
                if calls == 0 && saying.plan {
                    for word in PLAN {
                        let fields = format!(",\"delta\":{{\"message\":{{\"tool_plan\":{}}}}}", quote(word));
                        push(Part::Between, "tool-plan-delta", &fields);
                    }
                }
                let step =
                    |call: &str| format!(",\"index\":{calls},\"delta\":{{\"message\":{{\"tool_calls\":{call}}}}}");
                let opened = format!(
                    "{{\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"\"}}}}",
                    call_id(saying, name, calls),
                    quote(name)
                );
                push(Part::Preamble, "tool-call-start", &step(&opened));
                for piece in arguments {
                    let call = format!("{{\"function\":{{\"arguments\":{}}}}}", quote(piece));
                    push(Part::Delta, "tool-call-delta", &step(&call));
                }
                push(Part::Between, "tool-call-end", &format!(",\"index\":{calls}"));
                calls += 1;
            }
            (_, Some((texts, kind))) => {
                let step = |content: &str| {
                    format!(",\"index\":{contents},\"delta\":{{\"message\":{{\"content\":{content}}}}}")
                };
                push(Part::Preamble, "content-start", &step(&format!("{{\"type\":\"{kind}\",\"{kind}\":\"\"}}")));
                for text in texts {
                    push(Part::Delta, "content-delta", &step(&format!("{{\"{kind}\":{}}}", quote(text))));
                }
                push(Part::Between, "content-end", &format!(",\"index\":{contents}"));
                contents += 1;
            }
            (_, None) => {}
        }
    }
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage(saying)) } else { String::new() };
    let mut fields = Vec::new();
    if saying.finish != Finish::Missing {
        fields.push(format!("\"finish_reason\":\"{}\"", finish_reason(saying.finish)));
    }
    let end = format!(",\"delta\":{{{}}}", (fields.join(",") + &usage).trim_start_matches(','));
    match saying.done {
        Done::No => {}
        Done::Once => push(Part::Finish, "message-end", &end),
        Done::Twice => {
            push(Part::Finish, "message-end", &end);
            push(Part::Done, "message-end", &end);
        }
        Done::Trailing => {
            push(Part::Finish, "message-end", &end);
            let late = ",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"late\"}}}";
            push(Part::Done, "content-delta", late);
        }
    }
    frames
}

pub fn unary(saying: &Saying) -> String {
    let (mut contents, mut calls) = (Vec::new(), Vec::new());
    for block in &saying.blocks {
        match block {
            Block::Text(texts) => {
                contents.push(format!("{{\"type\":\"text\",\"text\":{}}}", quote(&texts.concat())));
            }
            Block::Reasoning(texts) => {
                contents.push(format!("{{\"type\":\"thinking\",\"thinking\":{}}}", quote(&texts.concat())));
            }
            Block::Tool { name, arguments } => calls.push(format!(
                "{{\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":{}}}}}",
                call_id(saying, name, calls.len()),
                quote(name),
                quote(&arguments.concat())
            )),
        }
    }
    let mut message = vec!["\"role\":\"assistant\"".to_owned()];
    if !contents.is_empty() {
        message.push(format!("\"content\":[{}]", contents.join(",")));
    }
    if !calls.is_empty() {
        if saying.plan {
            message.push(format!("\"tool_plan\":{}", quote(&PLAN.concat())));
        }
        message.push(format!("\"tool_calls\":[{}]", calls.join(",")));
    }
    let mut members = vec![format!("\"id\":\"{}\"", uuid(saying)), format!("\"message\":{{{}}}", message.join(","))];
    if saying.finish != Finish::Missing {
        members.push(format!("\"finish_reason\":\"{}\"", finish_reason(saying.finish)));
    }
    if saying.tokens.told() {
        members.push(format!("\"usage\":{}", usage(saying)));
    }
    format!("{{{}}}", members.join(","))
}

/// What is billed is less than what is read: the vendor's own preamble and templates are on the house.
fn usage(saying: &Saying) -> String {
    let tokens = &saying.tokens;
    let input = tokens.fresh + tokens.cached;
    format!(
        "{{\"billed_units\":{{\"input_tokens\":{},\"output_tokens\":{}}},\"tokens\":{{\"input_tokens\":{},\"output_tokens\":{}}},\"cached_tokens\":{}}}",
        tokens.write(input),
        tokens.write(tokens.output),
        tokens.write(input + PREAMBLE_TOKENS),
        tokens.write(tokens.output + 1),
        tokens.cached,
    )
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Missing => "COMPLETE",
        Finish::Length => "MAX_TOKENS",
        Finish::Tools => "TOOL_CALL",
    }
}

/// Ids of calls start with the name of their tool.
fn call_id(saying: &Saying, name: &str, number: usize) -> String {
    let tail: String = saying.ids.id("", number as u64 + 1).chars().rev().take(12).collect();
    format!("{name}_{}", tail.to_lowercase())
}

fn uuid(saying: &Saying) -> String {
    let mut state = saying.ids.seed;
    let (high, low) = (super::next(&mut state), super::next(&mut state));
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    format!("{}{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}", saying.ids.prefix, low >> 48 & 0xfff, low & 0xffff_ffff_ffff)
}

const PLAN: [&str; 4] = ["I", " will", " ask", " the tool."];
const PREAMBLE_TOKENS: u64 = 1_430;
