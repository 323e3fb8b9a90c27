//! Cohere's second chat: `message-start`, contents and calls one after another, `message-end` with the reason and what is
//! billed; a failure is a reason, too.

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Usage, Wrong, index_of, object, text_of, wrong};

#[derive(Default)]
pub struct Cohere {
    started: bool,
    open: Option<Open>,
    contents: usize,
    calls: usize,
    unparsed: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Open {
    /// A text or a thought.
    Content {
        index: usize,
        kind: String,
    },
    Call {
        index: usize,
    },
}

impl Cohere {
    /// Contents and calls are counted apart, or all in one row.
    fn next(&self, event: &Value, known: usize) -> Result<usize, Wrong> {
        let index = index_of(event, "index")?;
        if let Some(open) = &self.open {
            return wrong(Rule::Order, format!("{index} opens while {open:?} is open"));
        }
        if index != known && index != self.contents + self.calls {
            return wrong(Rule::Order, format!("{index} opens where {known} is next"));
        }
        Ok(index)
    }

    fn content(&mut self, kind: &str, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let content = event.pointer("/delta/message/content").unwrap_or(&Value::Null);
        match (kind, &self.open) {
            ("content-start", _) => {
                let index = self.next(event, self.contents)?;
                let kind = text_of(content, "type")?.to_owned();
                if !["text", "thinking"].contains(&kind.as_str()) {
                    return wrong(Rule::Shape, format!("unknown content `{kind}`"));
                }
                add(content, &kind, said)?;
                self.open = Some(Open::Content { index, kind });
                self.contents += 1;
            }
            ("content-delta", Some(Open::Content { index, kind })) if *index == index_of(event, "index")? => {
                add(content, kind, said)?;
            }
            ("content-end", Some(Open::Content { index, .. })) if *index == index_of(event, "index")? => {
                self.open = None;
            }
            _ => return wrong(Rule::Order, format!("{kind} while {:?} is open", self.open)),
        }
        Ok(())
    }

    fn call(&mut self, kind: &str, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let call = event.pointer("/delta/message/tool_calls").unwrap_or(&Value::Null);
        let function = call.get("function").unwrap_or(&Value::Null);
        match (kind, &self.open) {
            ("tool-call-start", _) => {
                let index = self.next(event, self.calls)?;
                if text_of(call, "type")? != "function" {
                    return wrong(Rule::Shape, "a call of another type than function");
                }
                said.tools.push(Tool {
                    id: text_of(call, "id")?.to_owned(),
                    name: text_of(function, "name")?.to_owned(),
                    arguments: text_of(function, "arguments")?.to_owned(),
                });
                self.open = Some(Open::Call { index });
                self.calls += 1;
            }
            ("tool-call-delta", Some(Open::Call { index })) if *index == index_of(event, "index")? => {
                let piece = text_of(function, "arguments")?;
                if let Some(tool) = said.tools.last_mut() {
                    tool.arguments.push_str(piece);
                }
            }
            ("tool-call-end", Some(Open::Call { index })) if *index == index_of(event, "index")? => {
                self.open = None;
                let arguments = said.tools.last().map_or("", |tool| &tool.arguments);
                if serde_json::from_str::<Value>(arguments).is_err() && !arguments.is_empty() {
                    self.unparsed = Some(arguments.to_owned());
                }
            }
            _ => return wrong(Rule::Order, format!("{kind} while {:?} is open", self.open)),
        }
        Ok(())
    }
}

impl Grammar for Cohere {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        let event = object(data)?;
        let kind = text_of(&event, "type")?;
        if name != Some(kind) {
            return wrong(Rule::Name, format!("event `{}` carries `{kind}`", name.unwrap_or("")));
        }
        match kind {
            "message-start" if self.started => return wrong(Rule::Order, "a second message-start"),
            "message-start" => {
                self.started = true;
                said.identify(&event, "id", "model")?;
                let message = event.pointer("/delta/message").unwrap_or(&Value::Null);
                if said.id.is_none() || message.get("role").and_then(Value::as_str) != Some("assistant") {
                    return wrong(Rule::Shape, "message-start without id or role");
                }
            }
            "message-end" => {
                let delta = event.get("delta").unwrap_or(&Value::Null);
                let Some(reason) = delta.get("finish_reason").and_then(Value::as_str) else {
                    return wrong(Rule::Unfinished, "message-end without finish_reason");
                };
                if reason == "ERROR" {
                    let message = text_of(delta, "error")?.to_owned();
                    let code = delta.get("code").and_then(Value::as_str).unwrap_or("").to_owned();
                    return Ok(Some(End::Error { kind: String::new(), code, message }));
                }
                if !self.started || self.open.is_some() {
                    return wrong(Rule::Order, format!("message-end while {:?} is open", self.open));
                }
                if let Some(arguments) = self.unparsed.take().filter(|_| reason != "MAX_TOKENS") {
                    return wrong(Rule::Sum, format!("arguments that are not JSON: `{}`", super::shorten(&arguments)));
                }
                finish(reason, said)?;
                said.usage = usage(delta.get("usage"));
                return Ok(Some(End::Finished));
            }
            _ if !self.started => return wrong(Rule::Order, format!("{kind} before message-start")),
            "content-start" | "content-delta" | "content-end" => self.content(kind, &event, said)?,
            "tool-call-start" | "tool-call-delta" | "tool-call-end" => self.call(kind, &event, said)?,
            "tool-plan-delta" => {
                let message = event.pointer("/delta/message").unwrap_or(&Value::Null);
                said.plan.push_str(text_of(message, "tool_plan")?);
            }
            "citation-start" | "citation-end" | "debug" => {}
            _ => return wrong(Rule::Shape, format!("unknown event `{kind}`")),
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        wrong(Rule::Unfinished, "no message-end")
    }
}

/// An answer in one piece.
pub fn unary(answer: &Value, said: &mut Said) -> Result<End, Wrong> {
    let Some(message) = answer.get("message").filter(|message| message.is_object()) else {
        let message = text_of(answer, "message")?.to_owned();
        let code = answer.get("code").and_then(Value::as_str).unwrap_or("").to_owned();
        return Ok(End::Error { kind: String::new(), code, message });
    };
    said.identify(answer, "id", "model")?;
    if said.id.is_none() || message.get("role").and_then(Value::as_str) != Some("assistant") {
        return wrong(Rule::Shape, "no id, or not a message of the assistant");
    }
    for content in message.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        add(content, text_of(content, "type")?, said)?;
    }
    for call in message.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        let function = call.get("function").unwrap_or(&Value::Null);
        said.tools.push(Tool {
            id: text_of(call, "id")?.to_owned(),
            name: text_of(function, "name")?.to_owned(),
            arguments: text_of(function, "arguments")?.to_owned(),
        });
    }
    said.plan.push_str(message.get("tool_plan").and_then(Value::as_str).unwrap_or(""));
    finish(text_of(answer, "finish_reason")?, said)?;
    said.usage = usage(answer.get("usage"));
    Ok(End::Finished)
}

fn add(content: &Value, kind: &str, said: &mut Said) -> Result<(), Wrong> {
    match kind {
        "text" => said.text.push_str(text_of(content, "text")?),
        "thinking" => said.reasoning.push_str(text_of(content, "thinking")?),
        _ => return wrong(Rule::Shape, format!("unknown content `{kind}`")),
    }
    Ok(())
}

fn finish(reason: &str, said: &mut Said) -> Result<(), Wrong> {
    if !FINISH.contains(&reason) {
        return wrong(Rule::Finish, format!("unknown finish reason `{reason}`"));
    }
    said.finish = Some(reason.to_owned());
    Ok(())
}

/// What is billed, where that is told; else what was read.
fn usage(usage: Option<&Value>) -> Option<Usage> {
    let usage = usage.filter(|usage| usage.is_object())?;
    let counts =
        ["billed_units", "tokens"].iter().find_map(|name| usage.get(*name).filter(|counts| counts.is_object()))?;
    // Its counts are of the type `double`, and may look like it.
    let count = |value: Option<&Value>| {
        let whole = |number: f64| (0.0..1e15).contains(&number).then_some(number as u64);
        value.and_then(|value| value.as_u64().or_else(|| value.as_f64().and_then(whole)))
    };
    Some(Usage {
        input: count(counts.get("input_tokens")),
        output: count(counts.get("output_tokens")),
        cached: count(usage.get("cached_tokens")),
        cache_write: None,
        reasoning: None,
        raw: usage.clone(),
    })
}

const FINISH: [&str; 5] = ["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "TIMEOUT"];
