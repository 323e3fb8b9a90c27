//! OpenAI's Responses: every step of every item is an event, and every event has its number.

use super::{Block, Finish, Frame, Part, Saying, obfuscation, quote};
use crate::provider::scenario::Done;

pub fn stream(saying: &Saying, id: &str) -> Vec<Frame> {
    let mut steps = Steps { frames: Vec::new() };
    let open = response(saying, id, "in_progress", "[]", "null");
    steps.push(Part::Preamble, "response.created", &format!("\"response\":{open}"));
    steps.push(Part::Preamble, "response.in_progress", &format!("\"response\":{open}"));
    let mut items = Vec::new();
    for (index, block) in saying.blocks.iter().enumerate() {
        items.push(write_block(&mut steps, saying, index, block));
    }
    let (name, status) = last_word(saying.finish);
    if saying.finish != Finish::Missing && saying.done != Done::No {
        let whole = response(saying, id, status, &format!("[{}]", items.join(",")), &usage(saying));
        steps.push(Part::Finish, name, &format!("\"response\":{whole}"));
        match saying.done {
            Done::Twice => steps.push(Part::Done, name, &format!("\"response\":{whole}")),
            Done::Trailing => steps.push(
                Part::Done,
                "response.output_text.delta",
                "\"item_id\":\"msg_late\",\"output_index\":0,\"content_index\":0,\"delta\":\"late\"",
            ),
            Done::Once | Done::No => {}
        }
    }
    steps.frames
}

pub fn unary(saying: &Saying, id: &str) -> String {
    let mut unseen = Steps { frames: Vec::new() };
    let items: Vec<String> =
        saying.blocks.iter().enumerate().map(|(i, block)| write_block(&mut unseen, saying, i, block)).collect();
    let (_, status) = last_word(saying.finish);
    response(saying, id, status, &format!("[{}]", items.join(",")), &usage(saying))
}

struct Steps {
    frames: Vec<Frame>,
}

impl Steps {
    fn push(&mut self, part: Part, name: &'static str, fields: &str) {
        let data = format!("{{\"type\":\"{name}\",\"sequence_number\":{},{fields}}}", self.frames.len());
        self.frames.push(Frame { name: Some(name), data, part });
    }
}

/// Writes the steps of one item and returns the finished item.
fn write_block(steps: &mut Steps, saying: &Saying, index: usize, block: &Block) -> String {
    let salt = index as u64 + 10;
    match block {
        Block::Text(texts) => {
            let id = saying.ids.id("msg_", salt);
            let at = format!("\"item_id\":\"{id}\",\"output_index\":{index},\"content_index\":0");
            let item = |status: &str, content: &str| {
                format!(
                    "{{\"id\":\"{id}\",\"type\":\"message\",\"status\":\"{status}\",\"content\":[{content}],\"role\":\"assistant\"}}"
                )
            };
            let part =
                |text: &str| format!("{{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":{text}}}");
            steps.push(
                Part::Preamble,
                "response.output_item.added",
                &format!("\"output_index\":{index},\"item\":{}", item("in_progress", "")),
            );
            steps.push(Part::Preamble, "response.content_part.added", &format!("{at},\"part\":{}", part("\"\"")));
            for (number, text) in texts.iter().enumerate() {
                let filler = obfuscation(number, text);
                steps.push(
                    Part::Delta,
                    "response.output_text.delta",
                    &format!("{at},\"delta\":{},\"logprobs\":[],\"obfuscation\":\"{filler}\"", quote(text)),
                );
            }
            let whole = quote(&texts.concat());
            steps.push(Part::Between, "response.output_text.done", &format!("{at},\"text\":{whole},\"logprobs\":[]"));
            steps.push(Part::Between, "response.content_part.done", &format!("{at},\"part\":{}", part(&whole)));
            let finished = item("completed", &part(&whole));
            steps.push(
                Part::Between,
                "response.output_item.done",
                &format!("\"output_index\":{index},\"item\":{finished}"),
            );
            finished
        }
        Block::Reasoning(texts) => {
            let id = saying.ids.id("rs_", salt);
            let at = format!("\"item_id\":\"{id}\",\"output_index\":{index},\"summary_index\":0");
            let sealed = if saying.sealed { format!(",\"encrypted_content\":\"{SEALED}\"") } else { String::new() };
            let item =
                |summary: &str| format!("{{\"id\":\"{id}\",\"type\":\"reasoning\"{sealed},\"summary\":[{summary}]}}");
            let part = |text: &str| format!("{{\"type\":\"summary_text\",\"text\":{text}}}");
            steps.push(
                Part::Preamble,
                "response.output_item.added",
                &format!("\"output_index\":{index},\"item\":{}", item("")),
            );
            steps.push(
                Part::Preamble,
                "response.reasoning_summary_part.added",
                &format!("{at},\"part\":{}", part("\"\"")),
            );
            for text in texts {
                steps.push(
                    Part::Delta,
                    "response.reasoning_summary_text.delta",
                    &format!("{at},\"delta\":{}", quote(text)),
                );
            }
            let whole = quote(&texts.concat());
            steps.push(Part::Between, "response.reasoning_summary_text.done", &format!("{at},\"text\":{whole}"));
            steps.push(
                Part::Between,
                "response.reasoning_summary_part.done",
                &format!("{at},\"part\":{}", part(&whole)),
            );
            let finished = item(&part(&whole));
            steps.push(
                Part::Between,
                "response.output_item.done",
                &format!("\"output_index\":{index},\"item\":{finished}"),
            );
            finished
        }
        Block::Tool { name, arguments } => {
            let id = saying.ids.id("fc_", salt);
            let call = saying.ids.id("call_", salt);
            let at = format!("\"item_id\":\"{id}\",\"output_index\":{index}");
            let item = |status: &str, arguments: &str| {
                format!(
                    "{{\"id\":\"{id}\",\"type\":\"function_call\",\"status\":\"{status}\",\"arguments\":{arguments},\"call_id\":\"{call}\",\"name\":{}}}",
                    quote(name)
                )
            };
            steps.push(
                Part::Preamble,
                "response.output_item.added",
                &format!("\"output_index\":{index},\"item\":{}", item("in_progress", "\"\"")),
            );
            for piece in arguments {
                steps.push(
                    Part::Delta,
                    "response.function_call_arguments.delta",
                    &format!("{at},\"delta\":{}", quote(piece)),
                );
            }
            let whole = quote(&arguments.concat());
            steps.push(Part::Between, "response.function_call_arguments.done", &format!("{at},\"arguments\":{whole}"));
            let finished = item("completed", &whole);
            steps.push(
                Part::Between,
                "response.output_item.done",
                &format!("\"output_index\":{index},\"item\":{finished}"),
            );
            finished
        }
    }
}

fn last_word(finish: Finish) -> (&'static str, &'static str) {
    match finish {
        Finish::Length => ("response.incomplete", "incomplete"),
        Finish::Stop | Finish::Tools | Finish::Missing => ("response.completed", "completed"),
    }
}

pub fn response(saying: &Saying, id: &str, status: &str, output: &str, usage: &str) -> String {
    let incomplete = if status == "incomplete" { "{\"reason\":\"max_output_tokens\"}" } else { "null" };
    format!(
        "{{\"id\":\"{id}\",\"object\":\"response\",\"created_at\":{},\"status\":\"{status}\",\"background\":false,\"error\":null,\"incomplete_details\":{incomplete},\"instructions\":null,\"max_output_tokens\":null,\"model\":{},\"output\":{output},\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":{{\"effort\":null,\"summary\":null}},\"service_tier\":\"default\",\"store\":true,\"temperature\":1.0,\"text\":{{\"format\":{{\"type\":\"text\"}}}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,\"truncation\":\"disabled\",\"usage\":{usage},\"user\":null,\"metadata\":{{}}}}",
        saying.created,
        quote(&saying.model),
    )
}

fn usage(saying: &Saying) -> String {
    let tokens = &saying.tokens;
    if !tokens.told() {
        return "null".to_owned();
    }
    let input = tokens.fresh + tokens.cached;
    format!(
        "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}}},\"output_tokens\":{},\"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}}}",
        tokens.write(input),
        tokens.cached,
        tokens.write(tokens.output),
        tokens.reasoning,
        tokens.write(input + tokens.output),
    )
}

/// A thought under the vendor's own seal.
pub const SEALED: &str = "gAAAAABweirbench_sealed-thought==";
