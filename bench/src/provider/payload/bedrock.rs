//! Bedrock's Converse: events are named in the head of their frame, texts open no block, and every event carries padding so
//! that its length tells nothing.

use super::{Block, Finish, Frame, Part, Saying, quote};
use crate::provider::scenario::Done;

pub fn stream(saying: &Saying) -> Vec<Frame> {
    let mut steps = Steps { frames: Vec::new() };
    steps.push(Part::Preamble, "messageStart", "\"role\":\"assistant\"");
    for (index, block) in saying.blocks.iter().enumerate() {
        let at = format!("\"contentBlockIndex\":{index}");
        let (pieces, before, after) = match block {
            Block::Text(texts) => (texts, "{\"text\":", "}"),
            Block::Reasoning(texts) => (texts, "{\"reasoningContent\":{\"text\":", "}}"),
            Block::Tool { name, arguments } => {
                let start = format!(
                    "{at},\"start\":{{\"toolUse\":{{\"name\":{},\"toolUseId\":\"{}\"}}}}",
                    quote(name),
                    call_id(saying, index)
                );
                steps.push(Part::Preamble, "contentBlockStart", &start);
                (arguments, "{\"toolUse\":{\"input\":", "}}")
            }
        };
        for piece in pieces {
            let delta = format!("{at},\"delta\":{before}{}{after}", quote(piece));
            steps.push(Part::Delta, "contentBlockDelta", &delta);
        }
        if matches!(block, Block::Reasoning(_)) {
            let proof = format!("{at},\"delta\":{{\"reasoningContent\":{{\"signature\":\"{SIGNATURE}\"}}}}");
            steps.push(Part::Between, "contentBlockDelta", &proof);
        }
        steps.push(Part::Between, "contentBlockStop", &at);
    }
    if saying.finish != Finish::Missing {
        steps.push(Part::Finish, "messageStop", &format!("\"stopReason\":\"{}\"", stop_reason(saying.finish)));
    }
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage(saying)) } else { String::new() };
    let metadata = format!("\"metrics\":{{\"latencyMs\":223}}{usage}");
    match saying.done {
        Done::No => {}
        Done::Once => steps.push(Part::Usage, "metadata", &metadata),
        Done::Twice => {
            steps.push(Part::Usage, "metadata", &metadata);
            steps.push(Part::Done, "metadata", &metadata);
        }
        Done::Trailing => {
            steps.push(Part::Usage, "metadata", &metadata);
            steps.push(Part::Done, "contentBlockDelta", "\"contentBlockIndex\":0,\"delta\":{\"text\":\"late\"}");
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
            Block::Text(texts) => format!("{{\"text\":{}}}", quote(&texts.concat())),
            Block::Reasoning(texts) => format!(
                "{{\"reasoningContent\":{{\"reasoningText\":{{\"text\":{},\"signature\":\"{SIGNATURE}\"}}}}}}",
                quote(&texts.concat())
            ),
            Block::Tool { name, arguments } => format!(
                "{{\"toolUse\":{{\"toolUseId\":\"{}\",\"name\":{},\"input\":{}}}}}",
                call_id(saying, index),
                quote(name),
                arguments.concat()
            ),
        })
        .collect();
    let stop = match saying.finish {
        Finish::Missing => String::new(),
        finish => format!(",\"stopReason\":\"{}\"", stop_reason(finish)),
    };
    let usage = if saying.tokens.told() { format!(",\"usage\":{}", usage(saying)) } else { String::new() };
    format!(
        "{{\"metrics\":{{\"latencyMs\":407}},\"output\":{{\"message\":{{\"content\":[{}],\"role\":\"assistant\"}}}}{stop}{usage}}}",
        blocks.join(",")
    )
}

struct Steps {
    frames: Vec<Frame>,
}

impl Steps {
    fn push(&mut self, part: Part, name: &'static str, fields: &str) {
        let mut state = self.frames.len() as u64 + 1;
        let padding = &PADDING[..(super::next(&mut state) % PADDING.len() as u64) as usize];
        self.frames.push(Frame { name: Some(name), data: format!("{{{fields},\"p\":\"{padding}\"}}"), part });
    }
}

fn call_id(saying: &Saying, index: usize) -> String {
    saying.ids.id("tooluse_", index as u64 + 1)
}

fn usage(saying: &Saying) -> String {
    let tokens = &saying.tokens;
    let total = tokens.fresh + tokens.cached + tokens.cache_write + tokens.output;
    let mut text = format!(
        "{{\"inputTokens\":{},\"outputTokens\":{},\"totalTokens\":{}",
        tokens.write(tokens.fresh),
        tokens.write(tokens.output),
        tokens.write(total)
    );
    if tokens.cached + tokens.cache_write > 0 {
        text += &format!(
            ",\"cacheReadInputTokens\":{0},\"cacheReadInputTokenCount\":{0},\"cacheWriteInputTokens\":{1},\"cacheWriteInputTokenCount\":{1}",
            tokens.cached, tokens.cache_write
        );
    }
    text + ",\"serverToolUsage\":{}}"
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Missing => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tools => "tool_use",
    }
}

pub const SIGNATURE: &str = "RXBFR0NrWUlDeEFDR0FJcVFCd2VpcmJlbmNoLWNvbnZlcnNl";
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
