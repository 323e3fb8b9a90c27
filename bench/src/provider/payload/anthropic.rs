//! Anthropic's Messages: blocks that open and close, a ping, usage at both ends, and spaces behind some objects.

use super::{Block, Finish, Frame, Part, Saying, quote};
use crate::provider::scenario::Done;

pub fn stream(saying: &Saying) -> Vec<Frame> {
    let mut steps = Steps { frames: Vec::new() };
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage(saying, 1)) } else { String::new() };
    steps.push(
        Part::Preamble,
        "message_start",
        &format!(
            "\"message\":{{\"model\":{},\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null{usage}}}",
            quote(&saying.model),
            saying.ids.id("msg_01", 0)
        ),
    );
    for (index, block) in saying.blocks.iter().enumerate() {
        let start = |block: &str| format!("\"index\":{index},\"content_block\":{block}");
        let opened = match block {
            Block::Text(_) => start("{\"type\":\"text\",\"text\":\"\"}"),
            Block::Reasoning(_) => start("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"),
            Block::Tool { name, .. } => start(&format!(
                "{{\"type\":\"tool_use\",\"id\":\"{}\",\"name\":{},\"input\":{{}}}}",
                saying.ids.id("toolu_01", index as u64 + 1),
                quote(name)
            )),
        };
        steps.push(Part::Preamble, "content_block_start", &opened);
        if index == 0 {
            steps.push(Part::Preamble, "ping", "");
        }
        let (pieces, kind, field) = match block {
            Block::Text(texts) => (texts, "text_delta", "text"),
            Block::Reasoning(texts) => (texts, "thinking_delta", "thinking"),
            Block::Tool { arguments, .. } => (arguments, "input_json_delta", "partial_json"),
        };
        for piece in pieces {
            steps.push(
                Part::Delta,
                "content_block_delta",
                &format!("\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{field}\":{}}}", quote(piece)),
            );
        }
        if matches!(block, Block::Reasoning(_)) {
            steps.push(
                Part::Between,
                "content_block_delta",
                &format!("\"index\":{index},\"delta\":{{\"type\":\"signature_delta\",\"signature\":\"{SIGNATURE}\"}}"),
            );
        }
        steps.push(Part::Between, "content_block_stop", &format!("\"index\":{index}"));
    }
    if saying.finish != Finish::Missing {
        let usage = if saying.tokens.told() {
            format!(",\"usage\":{}", self::usage(saying, saying.tokens.output))
        } else {
            String::new()
        };
        steps.push(
            Part::Finish,
            "message_delta",
            &format!("\"delta\":{{\"stop_reason\":\"{}\",\"stop_sequence\":null}}{usage}", stop_reason(saying.finish)),
        );
    }
    match saying.done {
        Done::No => {}
        Done::Once => steps.push(Part::Done, "message_stop", ""),
        Done::Twice => {
            steps.push(Part::Done, "message_stop", "");
            steps.push(Part::Done, "message_stop", "");
        }
        Done::Trailing => {
            steps.push(Part::Done, "message_stop", "");
            steps.push(
                Part::Done,
                "content_block_delta",
                "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"late\"}",
            );
        }
    }
    steps.frames
}

pub fn unary(saying: &Saying) -> String {
    let blocks: Vec<String> = saying
        .blocks
        .iter()
        .enumerate()
        .map(|(index, block)| match block {
            Block::Text(texts) => format!("{{\"type\":\"text\",\"text\":{}}}", quote(&texts.concat())),
            Block::Reasoning(texts) => format!(
                "{{\"type\":\"thinking\",\"thinking\":{},\"signature\":\"{SIGNATURE}\"}}",
                quote(&texts.concat())
            ),
            Block::Tool { name, arguments } => format!(
                "{{\"type\":\"tool_use\",\"id\":\"{}\",\"name\":{},\"input\":{}}}",
                saying.ids.id("toolu_01", index as u64 + 1),
                quote(name),
                arguments.concat()
            ),
        })
        .collect();
    let stop = if saying.finish == Finish::Missing { "null".to_owned() } else { quote(stop_reason(saying.finish)) };
    let usage = if saying.tokens.told() {
        format!(",\"usage\":{}", usage(saying, saying.tokens.output))
    } else {
        String::new()
    };
    format!(
        "{{\"model\":{},\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{}],\"stop_reason\":{stop},\"stop_sequence\":null{usage}}}",
        quote(&saying.model),
        saying.ids.id("msg_01", 0),
        blocks.join(",")
    )
}

pub fn count_tokens(saying: &Saying) -> String {
    format!("{{\"input_tokens\":{}}}", saying.tokens.write(saying.tokens.fresh))
}

pub fn models() -> String {
    let list: Vec<String> = MODELS.iter().map(|model| model_object(model)).collect();
    format!(
        "{{\"data\":[{}],\"has_more\":false,\"first_id\":\"{}\",\"last_id\":\"{}\"}}",
        list.join(","),
        MODELS[0],
        MODELS[MODELS.len() - 1]
    )
}

pub fn model_object(model: &str) -> String {
    format!(
        "{{\"type\":\"model\",\"id\":{0},\"display_name\":{0},\"created_at\":\"2025-01-01T00:00:00Z\"}}",
        quote(model)
    )
}

struct Steps {
    frames: Vec<Frame>,
}

impl Steps {
    fn push(&mut self, part: Part, name: &'static str, fields: &str) {
        let comma = if fields.is_empty() { "" } else { "," };
        // The real vendor pads its objects with spaces to hide their length; a reader that compares text meets it here.
        let padding = " ".repeat(self.frames.len() * 5 % 11);
        self.frames.push(Frame {
            name: Some(name),
            data: format!("{{\"type\":\"{name}\"{comma}{fields}{padding}}}"),
            part,
        });
    }
}

fn usage(saying: &Saying, output: u64) -> String {
    let tokens = &saying.tokens;
    format!(
        "{{\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"cache_creation\":{{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":0}},\"output_tokens\":{},\"service_tier\":\"standard\"}}",
        tokens.write(tokens.fresh),
        tokens.cache_write,
        tokens.cached,
        tokens.cache_write,
        tokens.write(output),
    )
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Missing => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tools => "tool_use",
    }
}

pub const SIGNATURE: &str = "d2VpcmJlbmNoLXNpZ25hdHVyZS1vZi1hLXRob3VnaHQ=";
const MODELS: [&str; 3] = ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1"];
