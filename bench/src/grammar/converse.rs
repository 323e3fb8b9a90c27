//! Bedrock's Converse: `messageStart`, blocks one after another (only calls are opened by an event), `messageStop`, then
//! `metadata` as the last word; or an exception.

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Usage, Wrong, index_of, list_of, object, text_of, wrong};

#[derive(Default)]
pub struct Converse {
    started: bool,
    open: Option<Kind>,
    blocks: usize,
    unparsed: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Opened, and not yet known as what.
    Unknown,
    Text,
    Reasoning,
    Tool,
    /// Run by the vendor, or newer than this file.
    Other,
}

impl Converse {
    fn open(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        self.begin(index_of(event, "contentBlockIndex")?, Kind::Unknown)?;
        let Some(start) = event.get("start").and_then(Value::as_object) else {
            return wrong(Rule::Shape, "a contentBlockStart without start");
        };
        self.open = Some(match start.get("toolUse") {
            Some(call) if call.get("type").is_none() => {
                let (id, name) = (text_of(call, "toolUseId")?.to_owned(), text_of(call, "name")?.to_owned());
                said.tools.push(Tool { id, name, arguments: String::new() });
                Kind::Tool
            }
            _ if start.is_empty() => Kind::Unknown,
            _ => Kind::Other,
        });
        Ok(())
    }

    fn begin(&mut self, index: usize, kind: Kind) -> Result<(), Wrong> {
        if self.open.is_some() || index != self.blocks {
            return wrong(Rule::Order, format!("block {index} begins where block {} is open or next", self.blocks));
        }
        self.open = Some(kind);
        Ok(())
    }

    fn delta(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = index_of(event, "contentBlockIndex")?;
        let delta = event.get("delta").unwrap_or(&Value::Null);
        let (kind, piece) = match delta.as_object().and_then(|delta| delta.iter().next()) {
            Some((name, piece)) if name == "text" => (Kind::Text, piece),
            Some((name, piece)) if name == "reasoningContent" => (Kind::Reasoning, piece),
            Some((name, piece)) if name == "toolUse" => (Kind::Tool, piece),
            // Of the text that is open.
            Some((name, piece)) if name == "citation" => (Kind::Text, piece),
            Some((_, piece)) => (Kind::Other, piece),
            None => return wrong(Rule::Shape, "a contentBlockDelta without delta"),
        };
        if self.open.is_none() && kind != Kind::Tool {
            self.begin(index, kind)?;
        }
        match self.open {
            Some(open) if index == self.blocks => match (open, kind) {
                (Kind::Unknown, kind) => self.open = Some(kind),
                (Kind::Other, _) => return Ok(()),
                (open, kind) if open == kind => {}
                (open, kind) => return wrong(Rule::Order, format!("a delta of {kind:?} in a block of {open:?}")),
            },
            _ => return wrong(Rule::Order, format!("a delta for block {index}, which is not open")),
        }
        match kind {
            Kind::Text if piece.is_string() => said.text.push_str(piece.as_str().unwrap_or_default()),
            Kind::Text if delta.get("citation").is_some() => {}
            Kind::Text => return wrong(Rule::Shape, "a text that is none"),
            Kind::Reasoning => {
                let known = ["text", "signature", "redactedContent"];
                if !known.iter().any(|name| piece.get(*name).is_some_and(Value::is_string)) {
                    return wrong(Rule::Shape, "reasoningContent with neither text nor signature nor redactedContent");
                }
                said.reasoning.push_str(piece.get("text").and_then(Value::as_str).unwrap_or_default());
                if let Some(proof) = ["signature", "redactedContent"].iter().find_map(|name| piece.get(*name)?.as_str())
                {
                    said.proofs.push(proof.to_owned());
                }
            }
            Kind::Tool => {
                let piece = text_of(piece, "input")?;
                if let Some(tool) = said.tools.last_mut() {
                    tool.arguments.push_str(piece);
                }
            }
            Kind::Other | Kind::Unknown => {}
        }
        Ok(())
    }

    fn close(&mut self, event: &Value, said: &Said) -> Result<(), Wrong> {
        let index = index_of(event, "contentBlockIndex")?;
        let Some(open) = self.open.take().filter(|_| index == self.blocks) else {
            return wrong(Rule::Order, format!("block {index} closes, but is not open"));
        };
        self.blocks += 1;
        let arguments = said.tools.last().map_or("", |tool| &tool.arguments);
        if open == Kind::Tool && !arguments.is_empty() && serde_json::from_str::<Value>(arguments).is_err() {
            self.unparsed = Some(arguments.to_owned());
        }
        Ok(())
    }
}

impl Grammar for Converse {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        let name = name.unwrap_or_default();
        if name == "error" {
            return Ok(Some(End::Error { kind: name.to_owned(), code: String::new(), message: data.to_owned() }));
        }
        let event = object(data)?;
        if name.ends_with("Exception") {
            let message = text_of(&event, "message")?.to_owned();
            return Ok(Some(End::Error { kind: name.to_owned(), code: String::new(), message }));
        }
        match name {
            "messageStart" if self.started => return wrong(Rule::Order, "a second messageStart"),
            "messageStart" => {
                self.started = true;
                if event.get("role").and_then(Value::as_str) != Some("assistant") {
                    return wrong(Rule::Shape, "messageStart of another role than the assistant's");
                }
            }
            _ if !self.started => return wrong(Rule::Order, format!("{name} before messageStart")),
            "metadata" if said.finish.is_none() => return wrong(Rule::Unfinished, "metadata before messageStop"),
            "metadata" => {
                if event.pointer("/metrics/latencyMs").is_none_or(|latency| !latency.is_u64()) {
                    return wrong(Rule::Shape, "metadata without metrics.latencyMs");
                }
                usage(event.get("usage"), said);
                return Ok(Some(End::Finished));
            }
            _ if said.finish.is_some() => return wrong(Rule::Order, format!("{name} after messageStop")),
            "contentBlockStart" => self.open(&event, said)?,
            "contentBlockDelta" => self.delta(&event, said)?,
            "contentBlockStop" => self.close(&event, said)?,
            "messageStop" => {
                if self.open.is_some() {
                    return wrong(Rule::Order, "messageStop while a block is open");
                }
                let reason = stop_reason(&event)?;
                if let Some(arguments) = self.unparsed.take().filter(|_| reason != "max_tokens") {
                    return wrong(Rule::Sum, format!("arguments that are not JSON: `{}`", super::shorten(&arguments)));
                }
                said.finish = Some(reason);
            }
            _ => return wrong(Rule::Shape, format!("unknown event `{name}`")),
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        wrong(Rule::Unfinished, "no metadata and no exception")
    }
}

/// An answer in one piece.
pub fn unary(answer: &Value, said: &mut Said) -> Result<End, Wrong> {
    let Some(output) = answer.get("output") else {
        let message = text_of(answer, "message")?.to_owned();
        return Ok(End::Error { kind: String::new(), code: String::new(), message });
    };
    let message = output.get("message").unwrap_or(&Value::Null);
    if message.get("role").and_then(Value::as_str) != Some("assistant") {
        return wrong(Rule::Shape, "not a message of the assistant");
    }
    for block in list_of(message, "content")? {
        let Some((kind, inner)) =
            block.as_object().filter(|block| block.len() == 1).and_then(|block| block.iter().next())
        else {
            return wrong(Rule::Shape, "a block must be of exactly one kind");
        };
        match kind.as_str() {
            "text" => said.text.push_str(text_of(block, "text")?),
            "reasoningContent" => {
                if let Some(thought) = inner.get("reasoningText") {
                    said.reasoning.push_str(text_of(thought, "text")?);
                }
                let proof = inner.pointer("/reasoningText/signature").or(inner.get("redactedContent"));
                said.proofs.extend(proof.and_then(Value::as_str).map(str::to_owned));
            }
            "toolUse" if inner.get("type").is_none() => said.tools.push(Tool {
                id: text_of(inner, "toolUseId")?.to_owned(),
                name: text_of(inner, "name")?.to_owned(),
                arguments: inner
                    .get("input")
                    .filter(|input| input.is_object())
                    .ok_or((Rule::Shape, "no input".to_owned()))?
                    .to_string(),
            }),
            _ => {}
        }
    }
    said.finish = Some(stop_reason(answer)?);
    if answer.pointer("/metrics/latencyMs").is_none_or(|latency| !latency.is_u64()) {
        return wrong(Rule::Shape, "an answer without metrics.latencyMs");
    }
    usage(answer.get("usage"), said);
    Ok(End::Finished)
}

fn stop_reason(value: &Value) -> Result<String, Wrong> {
    let reason = text_of(value, "stopReason")?;
    if STOP.contains(&reason) {
        Ok(reason.to_owned())
    } else {
        wrong(Rule::Finish, format!("unknown stop reason `{reason}`"))
    }
}

fn usage(usage: Option<&Value>, said: &mut Said) {
    let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
    let count = |field: &str| usage.get(field).and_then(Value::as_u64);
    said.usage = Some(Usage {
        input: count("inputTokens"),
        output: count("outputTokens"),
        cached: count("cacheReadInputTokens"),
        cache_write: count("cacheWriteInputTokens"),
        reasoning: None,
        raw: usage.clone(),
    });
}

const STOP: [&str; 9] = [
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
];
