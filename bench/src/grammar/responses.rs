//! OpenAI's Responses: items open, grow and close; every event has the next number; one of completed, incomplete or
//! failed is the last.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{End, Grammar, Rule, Said, Tool, Usage, Wrong, index_of, list_of, object, text_of, wrong};

#[derive(Default)]
pub struct Responses {
    created: bool,
    number: Option<u64>,
    items: BTreeMap<usize, Item>,
}

#[derive(Default)]
struct Item {
    kind: String,
    closed: bool,
    /// Text of its parts by content index (or summary index), and whether the part is closed.
    parts: BTreeMap<(Place, usize), (String, bool)>,
    arguments: String,
    tool: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Content,
    Summary,
}

impl Responses {
    fn item(&mut self, event: &Value) -> Result<&mut Item, Wrong> {
        let index = index_of(event, "output_index")?;
        match self.items.get_mut(&index) {
            Some(item) if !item.closed => Ok(item),
            _ => wrong(Rule::Order, format!("item {index} is not open")),
        }
    }

    fn added(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let index = index_of(event, "output_index")?;
        if index != self.items.len() {
            return wrong(Rule::Order, format!("item {index} where item {} is next", self.items.len()));
        }
        let item = event.get("item").unwrap_or(&Value::Null);
        let kind = text_of(item, "type")?.to_owned();
        let mut tool = None;
        if kind == "function_call" {
            tool = Some(said.tools.len());
            let id = text_of(item, "call_id")?.to_owned();
            said.tools.push(Tool { id, name: text_of(item, "name")?.to_owned(), arguments: String::new() });
        }
        self.items.insert(index, Item { kind, tool, ..Item::default() });
        Ok(())
    }

    fn part(&mut self, event: &Value, place: Place) -> Result<&mut (String, bool), Wrong> {
        let index = index_of(event, place.field())?;
        match self.item(event)?.parts.get_mut(&(place, index)) {
            Some(part) if !part.1 => Ok(part),
            _ => wrong(Rule::Order, format!("part {index} is not open")),
        }
    }

    fn part_added(&mut self, event: &Value, place: Place) -> Result<(), Wrong> {
        let index = index_of(event, place.field())?;
        if self.item(event)?.parts.insert((place, index), Default::default()).is_some() {
            return wrong(Rule::Order, format!("part {index} opens twice"));
        }
        Ok(())
    }

    fn same(&mut self, event: &Value, place: Place, field: &str) -> Result<(), Wrong> {
        let told = text_of(event, field)?;
        let (text, _) = self.part(event, place)?;
        if text == told { Ok(()) } else { wrong(Rule::Sum, format!("`{field}` is not what was streamed")) }
    }

    fn item_done(&mut self, event: &Value, said: &mut Said) -> Result<(), Wrong> {
        let item = self.item(event)?;
        item.closed = true;
        let told = event.get("item").unwrap_or(&Value::Null);
        if text_of(told, "type")? != item.kind {
            return wrong(Rule::Order, "an item that closes as another type");
        }
        let sealed = told.get("encrypted_content").and_then(Value::as_str);
        if item.kind == "message" {
            let whole: String = message_text(told);
            let streamed: String = item.parts.values().map(|(text, _)| text.as_str()).collect();
            if whole != streamed {
                return wrong(Rule::Sum, "the closed message is not what was streamed");
            }
        }
        if item.kind == "function_call"
            && told.get("arguments").and_then(Value::as_str) != Some(item.arguments.as_str())
        {
            return wrong(Rule::Sum, "the closed call is not what was streamed");
        }
        said.proofs.extend(sealed.map(str::to_owned));
        Ok(())
    }

    fn last(&mut self, kind: &str, event: &Value, said: &mut Said) -> Result<End, Wrong> {
        let response = event.get("response").unwrap_or(&Value::Null);
        said.identify(response, "id", "model")?;
        let status = text_of(response, "status")?;
        if kind.strip_prefix("response.") != Some(status) {
            return wrong(Rule::Shape, format!("{kind} with status `{status}`"));
        }
        said.finish = Some(status.to_owned());
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            said.usage = Some(usage_of(usage));
        }
        if kind == "response.failed" {
            return super::chat::error_of(response.get("error").unwrap_or(&Value::Null));
        }
        if let Some((index, _)) = self.items.iter().find(|(_, item)| !item.closed)
            && kind == "response.completed"
        {
            return wrong(Rule::Unfinished, format!("completed, but item {index} is open"));
        }
        let output = response.get("output").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let whole: String = output.iter().map(message_text).collect();
        if !output.is_empty() && whole != said.text.clone() + &said.refusal {
            return wrong(Rule::Sum, "the whole response is not what was streamed");
        }
        Ok(End::Finished)
    }
}

impl Grammar for Responses {
    fn event(&mut self, name: Option<&str>, data: &str, said: &mut Said) -> Result<Option<End>, Wrong> {
        let event = object(data)?;
        let kind = text_of(&event, "type")?;
        if name != Some(kind) {
            return wrong(Rule::Name, format!("event `{}` carries `{kind}`", name.unwrap_or("")));
        }
        let number = event.get("sequence_number").and_then(Value::as_u64);
        match (number, self.number) {
            (None, _) => return wrong(Rule::Identity, "no sequence_number"),
            (Some(number), None) if number > 1 => {
                return wrong(Rule::Identity, format!("sequence_number begins at {number}"));
            }
            (Some(number), Some(last)) if number != last + 1 => {
                return wrong(Rule::Identity, format!("sequence_number {number} after {last}"));
            }
            _ => self.number = number,
        }
        match kind {
            "error" => return super::chat::error_of(&event).map(Some),
            "keepalive" => {
                said.pings += 1;
                return Ok(None);
            }
            "response.created" if self.created => return wrong(Rule::Order, "a second response.created"),
            "response.created" => {
                self.created = true;
                said.identify(event.get("response").unwrap_or(&Value::Null), "id", "model")?;
            }
            _ if !self.created => return wrong(Rule::Order, format!("{kind} before response.created")),
            "response.in_progress" | "response.queued" => {
                said.identify(event.get("response").unwrap_or(&Value::Null), "id", "model")?;
            }
            "response.output_item.added" => self.added(&event, said)?,
            "response.output_item.done" => self.item_done(&event, said)?,
            "response.content_part.added" => self.part_added(&event, Place::Content)?,
            "response.reasoning_summary_part.added" => self.part_added(&event, Place::Summary)?,
            "response.content_part.done" => self.part(&event, Place::Content)?.1 = true,
            "response.reasoning_summary_part.done" => self.part(&event, Place::Summary)?.1 = true,
            "response.output_text.delta" | "response.refusal.delta" => {
                let delta = text_of(&event, "delta")?;
                self.part(&event, Place::Content)?.0.push_str(delta);
                if kind == "response.refusal.delta" { said.refusal.push_str(delta) } else { said.text.push_str(delta) }
            }
            "response.output_text.done" => self.same(&event, Place::Content, "text")?,
            "response.refusal.done" => self.same(&event, Place::Content, "refusal")?,
            "response.reasoning_summary_text.delta" => {
                let delta = text_of(&event, "delta")?;
                self.part(&event, Place::Summary)?.0.push_str(delta);
                said.reasoning.push_str(delta);
            }
            "response.reasoning_summary_text.done" => self.same(&event, Place::Summary, "text")?,
            "response.reasoning_text.delta" => {
                self.item(&event)?;
                said.reasoning.push_str(text_of(&event, "delta")?);
            }
            "response.function_call_arguments.delta" => {
                let delta = text_of(&event, "delta")?.to_owned();
                let item = self.item(&event)?;
                item.arguments.push_str(&delta);
                match item.tool {
                    Some(tool) => said.tools[tool].arguments.push_str(&delta),
                    None => return wrong(Rule::Order, "arguments for an item that is no call"),
                }
            }
            "response.function_call_arguments.done" => {
                let item = self.item(&event)?;
                if text_of(&event, "arguments")? != item.arguments {
                    return wrong(Rule::Sum, "`arguments` are not what was streamed");
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                return self.last(kind, &event, said).map(Some);
            }
            // Steps of built-in tools and whatever came after this file was written: about an item that is open.
            _ if kind.starts_with("response.") => {
                if event.get("output_index").is_some() {
                    self.item(&event)?;
                }
            }
            _ => return wrong(Rule::Shape, format!("unknown event `{kind}`")),
        }
        Ok(None)
    }

    fn end(&mut self, _: &mut Said) -> Result<End, Wrong> {
        wrong(Rule::Unfinished, "none of completed, incomplete, failed, and no error")
    }
}

/// An answer in one piece.
pub fn unary(answer: &Value, said: &mut Said) -> Result<End, Wrong> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return super::chat::error_of(error);
    }
    if answer.get("object").and_then(Value::as_str) != Some("response") {
        return wrong(Rule::Shape, "object is not response");
    }
    said.identify(answer, "id", "model")?;
    let status = text_of(answer, "status")?;
    // A response in the background is answered before it is done.
    if !matches!(status, "completed" | "incomplete" | "queued" | "in_progress" | "cancelled") {
        return wrong(Rule::Unfinished, format!("status `{status}`"));
    }
    said.finish = Some(status.to_owned());
    for item in list_of(answer, "output")? {
        match text_of(item, "type")? {
            "message" => said.text.push_str(&message_text(item)),
            "function_call" => said.tools.push(Tool {
                id: text_of(item, "call_id")?.to_owned(),
                name: text_of(item, "name")?.to_owned(),
                arguments: text_of(item, "arguments")?.to_owned(),
            }),
            "reasoning" => {
                for part in item.get("summary").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
                    said.reasoning.push_str(text_of(part, "text")?);
                }
                said.proofs.extend(item.get("encrypted_content").and_then(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    said.usage = answer.get("usage").filter(|usage| usage.is_object()).map(usage_of);
    Ok(End::Finished)
}

impl Place {
    fn field(self) -> &'static str {
        match self {
            Place::Content => "content_index",
            Place::Summary => "summary_index",
        }
    }
}

fn message_text(item: &Value) -> String {
    if item.get("type").and_then(Value::as_str) != Some("message") {
        return String::new();
    }
    let parts = item.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    parts.iter().filter_map(|part| part.get("text").or_else(|| part.get("refusal"))?.as_str()).collect()
}

fn usage_of(usage: &Value) -> Usage {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    Usage {
        input: count("/input_tokens"),
        output: count("/output_tokens"),
        cached: count("/input_tokens_details/cached_tokens"),
        cache_write: None,
        reasoning: count("/output_tokens_details/reasoning_tokens"),
        raw: usage.clone(),
    }
}
