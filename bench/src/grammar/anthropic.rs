//! Anthropic's Messages: `message_start`, blocks one after another, `message_delta`, `message_stop`; pings anywhere.

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Wrong, index_of, list_of, object, text_of, wrong};

#[derive(Default)]
pub struct Anthropic {
    started: bool,
    /// The block that is open, and its type.
    open: Option<String>,
    blocks: usize,
    /// The arguments of the block that is open.
    arguments: String,
    unparsed: Option<String>,
}

impl Anthropic {
    fn start(&mut self, message: &Value, said: &mut Said) -> Result<(), Wrong> {
        if self.started {
            return wrong(Rule::Order, "a second message_start");
        }
        self.started = true;
        if message.get("role").and_then(Value::as_str) != Some("assistant")
            || !message.get("content").is_some_and(Value::is_array)
        {
            return wrong(Rule::Shape, "message_start without role or content");
        }
        said.identify(message, "id", "model")?;
        self.usage(message.get("usage"), said);
        Ok(())
    }

    fn open(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = index_of(event, "index")?;
        if self.open.is_some() || index != self.blocks {
            return wrong(Rule::Order, format!("block {index} opens where block {} is open or next", self.blocks));
        }
        let block = event.get("content_block").unwrap_or(&Value::Null);
        let kind = text_of(block, "type")?;
        if kind == "tool_use" {
            said.tools.push(Tool {
                id: text_of(block, "id")?.to_owned(),
                name: text_of(block, "name")?.to_owned(),
                arguments: String::new(),
            });
        }
        if kind == "redacted_thinking" {
            said.proofs.push(text_of(block, "data")?.to_owned());
        }
        if kind == "text" {
            said.text.push_str(block.get("text").and_then(Value::as_str).unwrap_or(""));
        }
        self.arguments.clear();
        self.open = Some(kind.to_owned());
        Ok(())
    }

    fn delta(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = index_of(event, "index")?;
        let Some(open) = self.open.as_deref().filter(|_| index == self.blocks) else {
            return wrong(Rule::Order, format!("a delta for block {index}, which is not open"));
        };
        let delta = event.get("delta").unwrap_or(&Value::Null);
        let kind = text_of(delta, "type")?;
        match (open, kind) {
            ("text", "text_delta") => said.text.push_str(text_of(delta, "text")?),
            ("text", "citations_delta") => {}
            ("thinking", "thinking_delta") => said.reasoning.push_str(text_of(delta, "thinking")?),
            ("thinking", "signature_delta") => {
                let proof = Some(text_of(delta, "signature")?).filter(|proof| !proof.is_empty());
                said.proofs.extend(proof.map(str::to_owned));
            }
            ("text" | "thinking", _) => return wrong(Rule::Order, format!("a {kind} in a block of type {open}")),
            (_, "input_json_delta") => {
                let piece = text_of(delta, "partial_json")?;
                self.arguments.push_str(piece);
                if let ("tool_use", Some(tool)) = (open, said.tools.last_mut()) {
                    tool.arguments.push_str(piece);
                }
            }
            (_, "text_delta" | "thinking_delta" | "signature_delta") => {
                return wrong(Rule::Order, format!("a {kind} in a block of type {open}"));
            }
            // Blocks that came after this file was written.
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, event: &Value) -> Result<(), Wrong> {
        let index = index_of(event, "index")?;
        if self.open.take().is_none() || index != self.blocks {
            return wrong(Rule::Order, format!("block {index} closes, but is not open"));
        }
        self.blocks += 1;
        if !self.arguments.is_empty() && serde_json::from_str::<Value>(&self.arguments).is_err() {
            self.unparsed = Some(std::mem::take(&mut self.arguments));
        }
        Ok(())
    }

    /// Counts are cumulative: what is told later replaces, field by field.
    fn usage(&mut self, usage: Option<&Value>, said: &mut Said) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
        let known = said.usage.get_or_insert_default();
        let count = |field: &str| usage.get(field).and_then(Value::as_u64);
        known.input = count("input_tokens").or(known.input);
        known.output = count("output_tokens").or(known.output);
        known.cached = count("cache_read_input_tokens").or(known.cached);
        known.cache_write = count("cache_creation_input_tokens").or(known.cache_write);
        known.raw = usage.clone();
    }
}

impl Grammar for Anthropic {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        let event = object(data)?;
        let kind = text_of(&event, "type")?;
        if name != Some(kind) {
            return wrong(Rule::Name, format!("event `{}` carries `{kind}`", name.unwrap_or("")));
        }
        match kind {
            "ping" => {
                said.pings += 1;
                return Ok(None);
            }
            "error" => return super::chat::error_of(event.get("error").unwrap_or(&Value::Null)).map(Some),
            "message_start" => {
                self.start(event.get("message").unwrap_or(&Value::Null), said)?;
                return Ok(None);
            }
            _ if !self.started => return wrong(Rule::Order, format!("{kind} before message_start")),
            _ if said.finish.is_some() && !matches!(kind, "message_stop" | "message_delta") => {
                return wrong(Rule::Order, format!("{kind} after the stop reason"));
            }
            "content_block_start" => self.open(&event, said)?,
            "content_block_delta" => self.delta(&event, said)?,
            "content_block_stop" => self.close(&event)?,
            "message_delta" => {
                if self.open.is_some() {
                    return wrong(Rule::Order, "message_delta while a block is open");
                }
                if let Some(reason) = event.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    if said.finish.is_some() {
                        return wrong(Rule::Finish, "a second stop reason");
                    }
                    if !STOP.contains(&reason) {
                        return wrong(Rule::Finish, format!("unknown stop reason `{reason}`"));
                    }
                    if let Some(arguments) = self.unparsed.take().filter(|_| reason != "max_tokens") {
                        return wrong(
                            Rule::Sum,
                            format!("tool arguments that are not JSON: `{}`", super::shorten(&arguments)),
                        );
                    }
                    said.finish = Some(reason.to_owned());
                }
                self.usage(event.get("usage"), said);
            }
            "message_stop" => {
                if self.open.is_some() || said.finish.is_none() {
                    return wrong(Rule::Unfinished, "message_stop with an open block or without a stop reason");
                }
                return Ok(Some(End::Finished));
            }
            _ => return wrong(Rule::Shape, format!("unknown event `{kind}`")),
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        wrong(Rule::Unfinished, "no message_stop and no error")
    }
}

/// An answer in one piece.
pub fn unary(answer: &Value, said: &mut Said) -> Result<End, Wrong> {
    if answer.get("type").and_then(Value::as_str) == Some("error") {
        return super::chat::error_of(answer.get("error").unwrap_or(&Value::Null));
    }
    if answer.get("type").and_then(Value::as_str) != Some("message")
        || answer.get("role").and_then(Value::as_str) != Some("assistant")
    {
        return wrong(Rule::Shape, "not a message of the assistant");
    }
    said.identify(answer, "id", "model")?;
    for block in list_of(answer, "content")? {
        match text_of(block, "type")? {
            "text" => said.text.push_str(text_of(block, "text")?),
            "thinking" => {
                said.reasoning.push_str(text_of(block, "thinking")?);
                // Empty where another vendor thought: the SDK wants the member, nobody has a proof.
                let proof = Some(text_of(block, "signature")?).filter(|proof| !proof.is_empty());
                said.proofs.extend(proof.map(str::to_owned));
            }
            "redacted_thinking" => said.proofs.push(text_of(block, "data")?.to_owned()),
            "tool_use" => said.tools.push(Tool {
                id: text_of(block, "id")?.to_owned(),
                name: text_of(block, "name")?.to_owned(),
                arguments: block
                    .get("input")
                    .filter(|input| input.is_object())
                    .ok_or((Rule::Shape, "no input".to_owned()))?
                    .to_string(),
            }),
            _ => {}
        }
    }
    let reason = text_of(answer, "stop_reason")?;
    if !STOP.contains(&reason) {
        return wrong(Rule::Finish, format!("unknown stop reason `{reason}`"));
    }
    said.finish = Some(reason.to_owned());
    Anthropic::default().usage(answer.get("usage"), said);
    Ok(End::Finished)
}

const STOP: [&str; 8] = [
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "compaction",
];
