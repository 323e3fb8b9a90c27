//! A chat of Cohere's second interface.

use super::PARAMS;
use crate::dialect::call::{
    Amount, Call, Effort, Format, Media, MediaKind, Part, Proof, Reasoning, Role, Source, Thought, Tongue, Tool,
    ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{data_url, given, object};
use crate::dialect::pairing::Pairing;
use crate::dialect::proof;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text, escape_json};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let call = Call { stream: asked.streams, ..Call::default() };
    let mut reader = Reader { call, called: Pairing::default() };
    let mut strict = None;
    for (key, value) in given(asked.body) {
        match key {
            b"messages" => reader.messages(value)?,
            b"tools" => reader.tools(value)?,
            b"tool_choice" => {
                reader.call.tool_choice = Some(match json::text(value).as_deref() {
                    Some("REQUIRED") => ToolChoice::Required,
                    Some("NONE") => ToolChoice::None,
                    _ => return Err(Unreadable("tool_choice must be REQUIRED or NONE".into())),
                });
            }
            b"strict_tools" => strict = Some(value == b"true"),
            b"response_format" => reader.format(value)?,
            b"thinking" => reader.thinking(value)?,
            b"reasoning_effort" => reader.effort(value)?,
            b"stop_sequences" => {
                for stop in json::elements(value) {
                    reader.call.stop.push(string(stop, "stop_sequences")?);
                }
            }
            b"max_tokens" => reader.call.tokens_max = Some(whole(value, "max_tokens")?),
            b"stream" => reader.call.stream |= value == b"true",
            // Its safety instruction for Cohere's own models, as it is when nothing is said.
            b"safety_mode" if value == b"\"CONTEXTUAL\"" => {}
            b"priority" if value == b"0" => {}
            // The path of the request is chosen by it before anything is read here.
            b"model" => {}
            name if read_param(PARAMS, "", name, value, &mut reader.call.params) => {}
            _ => reader.unmapped("", key, value),
        }
    }
    for tool in &mut reader.call.tools {
        tool.strict = strict;
    }
    Ok(reader.call)
}

struct Reader<'a> {
    call: Call<'a>,
    called: Pairing<'a>,
}

impl<'a> Reader<'a> {
    fn messages(&mut self, messages: &'a [u8]) -> Result<(), Unreadable> {
        for (place, message) in json::elements(messages).enumerate() {
            self.message(message, &format!("messages[{place}]"))?;
        }
        Ok(())
    }

    fn message(&mut self, message: &'a [u8], at: &str) -> Result<(), Unreadable> {
        object(message, at)?;
        let role = json::get(message, "role").and_then(json::text).unwrap_or_default();
        let is_tool = role == "tool";
        let role = match &*role {
            "system" | "developer" => Role::System,
            "user" | "tool" => Role::User,
            "assistant" => Role::Assistant,
            other => return Err(Unreadable(format!("{at}.role: {other:?} is not known"))),
        };
        let (mut content, mut plan, mut calls, mut id) = (Vec::new(), None, None, None);
        for (key, value) in given(message) {
            match key {
                b"role" => {}
                b"content" => content = self.content(value, &format!("{at}.content"))?,
                b"tool_plan" => plan = Some(string(value, &format!("{at}.tool_plan"))?),
                b"tool_calls" => calls = Some(value),
                b"tool_call_id" => id = Some(string(value, &format!("{at}.tool_call_id"))?),
                // What Cohere said of its own text, and hears again without using it.
                b"citations" => self.call.hint(format_args!("{at}.citations"), value),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if is_tool {
            let id = id.ok_or_else(|| Unreadable(format!("{at}.tool_call_id is missing")))?;
            let name = self.called.name(&id).cloned();
            let result = What::ToolResult(ToolResult { id, name, content, failed: false });
            // Results of calls that were made at once are one turn, as elsewhere.
            if let Some(last) = self.call.turns.last_mut().filter(|turn| is_answers(turn)) {
                last.parts.push(result.into());
            } else {
                self.call.turns.push(Turn { role, name: None, parts: vec![result.into()] });
            }
            return Ok(());
        }
        let mut parts = Vec::with_capacity(content.len() + 1);
        if let Some(plan) = plan.filter(|plan| !plan.is_empty()) {
            parts.push(What::Reasoning(Thought { text: plan, proof: None }).into());
        }
        parts.append(&mut content);
        for (place, call) in calls.into_iter().flat_map(json::elements).enumerate() {
            let call = self.tool_call(call, &format!("{at}.tool_calls[{place}]"))?;
            self.called.called(call.id.clone(), call.name.clone());
            parts.push(What::ToolCall(call).into());
        }
        if !parts.is_empty() {
            self.call.turns.push(Turn { role, name: None, parts });
        }
        Ok(())
    }

    fn content(&mut self, content: &'a [u8], at: &str) -> Result<Vec<Part<'a>>, Unreadable> {
        if let Some(text) = Text::of_value(content) {
            let text = Some(text).filter(|text| !text.is_empty());
            return Ok(text.map(|text| What::Text(text).into()).into_iter().collect());
        }
        if !content.starts_with(b"[") {
            return Err(Unreadable(format!("{at} must be a string or a list")));
        }
        let mut parts = Vec::new();
        for (place, part) in json::elements(content).enumerate() {
            let at = format!("{at}[{place}]");
            object(part, &at)?;
            parts.extend(self.part(part, &at)?.map(Part::from));
        }
        Ok(parts)
    }

    fn part(&mut self, part: &'a [u8], at: &str) -> Result<Option<What<'a>>, Unreadable> {
        let kind = json::get(part, "type").and_then(json::text).unwrap_or_default();
        let (mut text, mut inside, mut signed) = (None, None, None);
        for (key, value) in given(part) {
            match key {
                b"type" => {}
                b"text" | b"thinking" if key == kind.as_bytes() => text = Some(string(value, at)?),
                b"image_url" | b"document" if key == kind.as_bytes() => inside = Some(value),
                b"signature" => signed = Text::of_value(value).and_then(|_| foreign(value)),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let missing = || Unreadable(format!("{at}.{kind} is missing"));
        Ok(match &*kind {
            "text" => Some(What::Text(text.ok_or_else(missing)?)).filter(|what| *what != What::Text(Text::default())),
            "thinking" => {
                let text = text.ok_or_else(missing)?;
                let thought = Thought { text, proof: signed };
                (!thought.text.is_empty() || thought.proof.is_some()).then_some(What::Reasoning(thought))
            }
            "image_url" => Some(What::Media(self.image(inside.ok_or_else(missing)?, at)?)),
            "document" => {
                let inside = inside.ok_or_else(missing)?;
                // For citations only.
                let id = json::get(inside, "id").filter(|id| *id != b"null" && json::get(inside, "data").is_some());
                id.iter().for_each(|id| self.call.hint(format_args!("{at}.document.id"), id));
                Some(document(inside))
            }
            _ => {
                self.call.unmapped.push(at.to_owned());
                None
            }
        })
    }

    fn image(&mut self, image: &'a [u8], at: &str) -> Result<Media<'a>, Unreadable> {
        let (mut url, mut detail) = (Text::of_value(image), None);
        for (key, value) in given(image) {
            match key {
                b"url" => url = Some(string(value, at)?),
                b"detail" if value == b"\"auto\"" => {}
                b"detail" => detail = Some(string(value, at)?),
                _ => self.unmapped(&format!("{at}.image_url."), key, value),
            }
        }
        let url = url.ok_or_else(|| Unreadable(format!("{at}.image_url.url is missing")))?;
        let source = data_url(&url).unwrap_or(Source::Url { url, mime: None });
        Ok(Media { kind: MediaKind::Image, source, name: None, detail })
    }

    fn tool_call(&mut self, call: &'a [u8], at: &str) -> Result<ToolCall<'a>, Unreadable> {
        object(call, at)?;
        let (mut id, mut name, mut arguments, mut signed) = (Text::default(), Text::default(), Text::default(), None);
        for (key, value) in given(call) {
            match key {
                b"id" => id = string(value, at)?,
                b"type" if value == b"\"function\"" => {}
                b"signature" => signed = foreign(value),
                b"function" => {
                    for (key, value) in given(value) {
                        match key {
                            b"name" => name = string(value, at)?,
                            b"arguments" => arguments = string(value, at)?,
                            _ => self.unmapped(&format!("{at}.function."), key, value),
                        }
                    }
                }
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        Ok(ToolCall { id, name, arguments: Arguments::InString(arguments), proof: signed })
    }

    fn tools(&mut self, tools: &'a [u8]) -> Result<(), Unreadable> {
        for (place, tool) in json::elements(tools).enumerate() {
            let at = format!("tools[{place}]");
            object(tool, &at)?;
            let mut read = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
            let mut is_function = true;
            for (key, value) in given(tool) {
                match key {
                    b"type" if value == b"\"function\"" => {}
                    b"type" => {
                        is_function = false;
                        self.unmapped(&format!("{at}."), key, value);
                    }
                    b"function" => {
                        for (key, value) in given(value) {
                            match key {
                                b"name" => read.name = string(value, &at)?,
                                b"description" => read.description = Some(string(value, &at)?),
                                b"parameters" => read.schema = Some(Json::of(value)),
                                _ => self.unmapped(&format!("{at}.function."), key, value),
                            }
                        }
                    }
                    _ => self.unmapped(&format!("{at}."), key, value),
                }
            }
            if is_function {
                self.call.tools.push(read);
            }
        }
        Ok(())
    }

    fn format(&mut self, format: &'a [u8]) -> Result<(), Unreadable> {
        let (mut kind, mut schema) = (None, None);
        for (key, value) in given(format) {
            match key {
                b"type" => kind = json::text(value),
                b"json_schema" | b"schema" => schema = Some(Json::of(value)),
                _ => self.unmapped("response_format.", key, value),
            }
        }
        self.call.format = match (kind.as_deref(), schema) {
            (None | Some("text"), None) => None,
            (Some("json_object"), None) => Some(Format::Json),
            (Some("json_object"), Some(schema)) => {
                Some(Format::Schema { name: None, description: None, schema, strict: None })
            }
            _ => return Err(Unreadable("response_format must be text or json_object".into())),
        };
        Ok(())
    }

    /// Its thoughts are always shown.
    fn thinking(&mut self, thinking: &'a [u8]) -> Result<(), Unreadable> {
        let (mut on, mut budget) = (true, None);
        for (key, value) in given(thinking) {
            match key {
                b"type" if value == b"\"disabled\"" => on = false,
                b"type" if value == b"\"enabled\"" => {}
                b"token_budget" => budget = Some(whole(value, "thinking.token_budget")?),
                _ => self.unmapped("thinking.", key, value),
            }
        }
        let amount = if on { budget.map_or(Amount::Auto, Amount::Tokens) } else { Amount::Off };
        self.call.reasoning = Some(Reasoning { amount: Some(amount), shown: on.then_some(true) });
        Ok(())
    }

    fn effort(&mut self, effort: &'a [u8]) -> Result<(), Unreadable> {
        let word = json::text(effort).unwrap_or_default();
        let amount = match Effort::parse(&word) {
            Some(effort) => Amount::Effort(effort),
            None if word == "none" => Amount::Off,
            None => return Err(Unreadable(format!("reasoning_effort: {word:?} is not known"))),
        };
        self.call.reasoning = Some(Reasoning { amount: Some(amount), shown: (amount != Amount::Off).then_some(true) });
        Ok(())
    }

    /// Names a member that the middle language has no word for, unless it says nothing.
    fn unmapped(&mut self, at: &str, key: &[u8], value: &[u8]) {
        if !matches!(value, b"false" | b"\"\"" | b"[]" | b"{}") {
            self.call.unmapped.push(format!("{at}{}", String::from_utf8_lossy(key)));
        }
    }
}

fn is_answers(turn: &Turn<'_>) -> bool {
    turn.parts.iter().all(|part| matches!(part.what, What::ToolResult(_)))
}

/// Cohere signs nothing, so what is there is another vendor's, from us.
fn foreign(value: &[u8]) -> Option<Proof<'_>> {
    let raw = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(proof::unwrap(raw, Tongue::Cohere, false)).filter(|proof| proof.of != Tongue::Cohere)
}

/// A document that the model may cite: its words, or all its fields as JSON.
fn document(document: &[u8]) -> What<'_> {
    let data = json::get(document, "data").unwrap_or(document);
    let mut members = json::members(data);
    let only = members.next().filter(|_| members.next().is_none());
    let text = match only {
        Some((b"text" | b"snippet" | b"content", value)) => Text::of_value(value),
        _ => Text::of_value(data),
    };
    What::Text(text.unwrap_or_else(|| {
        let mut text = Vec::with_capacity(data.len() + 16);
        escape_json(&mut text, data);
        Text::of_raw_owned(text)
    }))
}

fn string<'a>(value: &'a [u8], at: &str) -> Result<Text<'a>, Unreadable> {
    Text::of_value(value).ok_or_else(|| Unreadable(format!("{at} holds something that must be a string")))
}

fn whole(value: &[u8], at: &str) -> Result<u64, Unreadable> {
    json::integer(value.strip_suffix(b".0").unwrap_or(value))
        .ok_or_else(|| Unreadable(format!("{at} must be a whole number")))
}
