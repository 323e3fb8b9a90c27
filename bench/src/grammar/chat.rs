//! OpenAI's chat and legacy completions: chunks, one finish reason for each choice, perhaps usage, then `[DONE]`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Usage, Wrong, index_of, list_of, object, text_of, wrong};

pub struct Chat {
    kind: &'static str,
    /// Choices that have begun, and whether they are finished.
    choices: BTreeMap<usize, bool>,
    tools: usize,
}

impl Chat {
    pub fn new(kind: &'static str) -> Chat {
        Chat { kind, choices: BTreeMap::new(), tools: 0 }
    }

    fn choice(&mut self, choice: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = index_of(choice, "index")?;
        let finished = self.choices.entry(index).or_insert(false);
        let legacy = self.kind == "text_completion";
        let empty = Value::Object(Default::default());
        let delta = match choice.get("delta") {
            Some(delta) if delta.is_object() => delta,
            _ if legacy => &empty,
            _ => return wrong(Rule::Shape, "a choice without delta"),
        };
        let text = match if legacy { choice.get("text") } else { delta.get("content") } {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text,
            Some(_) => return wrong(Rule::Shape, "content that is no text"),
        };
        let reasoning =
            ["reasoning_content", "reasoning"].iter().find_map(|field| delta.get(field)?.as_str()).unwrap_or("");
        let refusal = delta.get("refusal").and_then(Value::as_str).unwrap_or("");
        let calls = delta.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if *finished && !(text.is_empty() && reasoning.is_empty() && refusal.is_empty() && calls.is_empty()) {
            return wrong(Rule::Order, "output after the finish reason");
        }
        if index == 0 {
            said.text.push_str(text);
            said.reasoning.push_str(reasoning);
            said.refusal.push_str(refusal);
        }
        for call in calls {
            let at = index_of(call, "index")?;
            let function = call.get("function").unwrap_or(&Value::Null);
            let name = function.get("name").and_then(Value::as_str);
            if at > self.tools {
                return wrong(Rule::Order, format!("tool call {at} before tool call {}", self.tools));
            }
            if at == self.tools && index == 0 {
                let id = text_of(call, "id")?.to_owned();
                let Some(name) = name.filter(|name| !name.is_empty()) else {
                    return wrong(Rule::Shape, "a tool call without name");
                };
                said.tools.push(Tool { id, name: name.to_owned(), arguments: String::new() });
                self.tools += 1;
            }
            if index == 0 {
                said.tools[at].arguments.push_str(function.get("arguments").and_then(Value::as_str).unwrap_or(""));
            }
        }
        match choice.get("finish_reason") {
            None | Some(Value::Null) => {}
            Some(Value::String(reason)) if FINISH.contains(&reason.as_str()) => {
                if *finished {
                    return wrong(Rule::Finish, "a second finish reason");
                }
                *finished = true;
                if index == 0 {
                    said.finish = Some(reason.clone());
                }
            }
            Some(other) => return wrong(Rule::Finish, format!("unknown finish reason {other}")),
        }
        Ok(())
    }
}

impl Grammar for Chat {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        if data == "[DONE]" {
            if self.choices.is_empty() {
                return wrong(Rule::Unfinished, "[DONE] before any choice");
            }
            return match self.choices.iter().find(|(_, finished)| !**finished) {
                Some((index, _)) => wrong(Rule::Unfinished, format!("[DONE], but choice {index} has no finish reason")),
                None => Ok(Some(End::Finished)),
            };
        }
        let chunk = object(data)?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Ok(Some(error_of(error)?));
        }
        if name.is_some_and(|name| name != "message") {
            return wrong(Rule::Name, "this dialect has no names of events");
        }
        if chunk.get("object").and_then(Value::as_str) != Some(self.kind) {
            return wrong(Rule::Shape, format!("object is not {}", self.kind));
        }
        said.identify(&chunk, "id", "model")?;
        let Some(choices) = chunk.get("choices").and_then(Value::as_array) else {
            return wrong(Rule::Shape, "no list of choices");
        };
        for choice in choices {
            self.choice(choice, said)?;
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            said.usage = Some(usage_of(usage));
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        wrong(Rule::Unfinished, "no [DONE] and no error")
    }
}

/// An answer in one piece.
pub fn unary(answer: &Value, kind: &str, said: &mut Said) -> Result<End, Wrong> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return error_of(error);
    }
    if answer.get("object").and_then(Value::as_str) != Some(kind) {
        return wrong(Rule::Shape, format!("object is not {kind}"));
    }
    said.identify(answer, "id", "model")?;
    let choices = list_of(answer, "choices")?;
    let Some(first) = choices.first() else { return wrong(Rule::Unfinished, "no choice") };
    for choice in choices {
        match choice.get("finish_reason").and_then(Value::as_str) {
            Some(reason) if FINISH.contains(&reason) => {}
            other => return wrong(Rule::Finish, format!("finish reason {other:?}")),
        }
    }
    said.finish = first.get("finish_reason").and_then(Value::as_str).map(str::to_owned);
    if kind == "text_completion" {
        said.text.push_str(text_of(first, "text")?);
    } else {
        let message = first.get("message").unwrap_or(&Value::Null);
        let text = |field: &str| message.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        if text("role") != "assistant" {
            return wrong(Rule::Shape, "a message that is not the assistant's");
        }
        said.text = text("content");
        said.refusal = text("refusal");
        said.reasoning = text("reasoning_content") + &text("reasoning");
        for call in message.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
            let function = call.get("function").unwrap_or(&Value::Null);
            let (id, name) = (text_of(call, "id")?.to_owned(), text_of(function, "name")?.to_owned());
            said.tools.push(Tool { id, name, arguments: text_of(function, "arguments")?.to_owned() });
        }
    }
    said.usage = answer.get("usage").filter(|usage| usage.is_object()).map(usage_of);
    Ok(End::Finished)
}

/// `{"message":…,"type":…,"code":…}`
pub fn error_of(error: &Value) -> Result<End, Wrong> {
    let code = match error.get("code") {
        Some(Value::String(code)) => code.clone(),
        Some(Value::Number(code)) => code.to_string(),
        _ => String::new(),
    };
    Ok(End::Error {
        kind: error.get("type").and_then(Value::as_str).unwrap_or("").to_owned(),
        code,
        message: text_of(error, "message")?.to_owned(),
    })
}

fn usage_of(usage: &Value) -> Usage {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    Usage {
        input: count("/prompt_tokens"),
        output: count("/completion_tokens"),
        cached: count("/prompt_tokens_details/cached_tokens"),
        cache_write: None,
        reasoning: count("/completion_tokens_details/reasoning_tokens"),
        raw: usage.clone(),
    }
}

const FINISH: [&str; 5] = ["stop", "length", "tool_calls", "content_filter", "function_call"];
