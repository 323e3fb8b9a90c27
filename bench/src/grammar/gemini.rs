//! Gemini: no names, no terminal event; the last word is a `finishReason` (or a blocked prompt), after which only usage
//! may come.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Usage, Wrong, object, text_of, wrong};

#[derive(Default)]
pub struct Gemini {
    /// Candidates that have begun, and whether they are finished.
    candidates: BTreeMap<u64, bool>,
    blocked: bool,
}

impl Gemini {
    fn candidate(&mut self, candidate: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = candidate.get("index").and_then(Value::as_u64).unwrap_or(0);
        let finished = self.candidates.entry(index).or_insert(false);
        let parts = candidate.pointer("/content/parts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for part in parts {
            if !part.is_object() {
                return wrong(Rule::Shape, "a part that is no object");
            }
            let text = part.get("text").and_then(Value::as_str).unwrap_or("");
            if *finished && !(text.is_empty() && part.get("functionCall").is_none()) {
                return wrong(Rule::Order, "output after the finish reason");
            }
            if index > 0 {
                continue;
            }
            said.proofs.extend(part.get("thoughtSignature").and_then(Value::as_str).map(str::to_owned));
            if part.get("thought").and_then(Value::as_bool) == Some(true) {
                said.reasoning.push_str(text);
            } else {
                said.text.push_str(text);
            }
            if let Some(call) = part.get("functionCall") {
                // Streamed arguments: only the first piece has a name, and the pieces are paths into an object.
                if call.get("name").is_none() && !said.tools.is_empty() {
                    continue;
                }
                let arguments = match call.get("args") {
                    None | Some(Value::Null) => "{}".to_owned(),
                    Some(args) if args.is_object() => args.to_string(),
                    Some(_) => return wrong(Rule::Shape, "args that are no object"),
                };
                let id = call.get("id").and_then(Value::as_str).unwrap_or("").to_owned();
                said.tools.push(Tool { id, name: text_of(call, "name")?.to_owned(), arguments });
            }
        }
        match candidate.get("finishReason") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(_)) if *finished => wrong(Rule::Finish, "a second finish reason"),
            Some(Value::String(reason))
                if !reason.is_empty() && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') =>
            {
                *finished = true;
                if index == 0 {
                    said.finish = Some(reason.clone());
                }
                Ok(())
            }
            Some(other) => wrong(Rule::Finish, format!("unknown finish reason {other}")),
        }
    }
}

impl Grammar for Gemini {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        let event = object(data)?;
        if let Some(error) = event.get("error") {
            return Ok(Some(End::Error {
                kind: text_of(error, "status")?.to_owned(),
                code: error.get("code").map(Value::to_string).unwrap_or_default(),
                message: text_of(error, "message")?.to_owned(),
            }));
        }
        if name.is_some_and(|name| name != "message") {
            return wrong(Rule::Name, "this dialect has no names of events");
        }
        said.identify(&event, "responseId", "modelVersion")?;
        let candidates = event.get("candidates").and_then(Value::as_array);
        let known = ["candidates", "usageMetadata", "promptFeedback"].iter().any(|field| event.get(field).is_some());
        if !known {
            return wrong(Rule::Shape, "neither candidates nor usageMetadata nor promptFeedback");
        }
        for candidate in candidates.map_or(&[][..], Vec::as_slice) {
            self.candidate(candidate, said)?;
        }
        if let Some(reason) = event.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            self.blocked = true;
            said.finish.get_or_insert_with(|| reason.to_owned());
        }
        if let Some(usage) = event.get("usageMetadata").filter(|usage| usage.is_object()) {
            said.usage = Some(usage_of(usage));
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        if self.blocked {
            return Ok(End::Finished);
        }
        if self.candidates.is_empty() {
            return wrong(Rule::Unfinished, "no candidate");
        }
        match self.candidates.iter().find(|(_, finished)| !**finished) {
            Some((index, _)) => wrong(Rule::Unfinished, format!("candidate {index} has no finishReason")),
            None => Ok(End::Finished),
        }
    }
}

fn usage_of(usage: &Value) -> Usage {
    let count = |field: &str| usage.get(field).and_then(Value::as_u64);
    let said = count("candidatesTokenCount");
    let thought = count("thoughtsTokenCount");
    Usage {
        input: count("promptTokenCount"),
        // Thoughts are completion tokens, too, and not among the candidates'.
        output: said.or(thought).map(|_| said.unwrap_or(0) + thought.unwrap_or(0)),
        cached: count("cachedContentTokenCount"),
        cache_write: None,
        reasoning: thought,
        raw: usage.clone(),
    }
}
