//! A call of Anthropic's messages.

use super::PARAMS;
use crate::dialect::call::{
    Amount, CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Reasoning, Role, Source, Thought,
    Tongue, Tool, ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{flag, given, list, object, path, string, whole};
use crate::dialect::proof;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let mut reader = Reader { call: Call { stream: asked.streams, ..Call::default() }, signed: None };
    let mut system = None;
    for (key, value) in given(asked.body) {
        match key {
            // The vendor is chosen by it before anything is read here.
            b"model" => {}
            b"system" => system = Some(value),
            b"messages" => reader.messages(value)?,
            b"tools" => reader.tools(value)?,
            b"tool_choice" => reader.tool_choice(value)?,
            b"thinking" => reader.thinking(value)?,
            b"output_config" => reader.output_config(value)?,
            b"output_format" => reader.format(value)?,
            b"stop_sequences" => {
                for stop in list(value, "stop_sequences")? {
                    reader.call.stop.push(string(stop, "stop_sequences")?);
                }
            }
            b"max_tokens" => reader.call.tokens_max = Some(whole(value, "max_tokens")?),
            b"stream" => reader.call.stream |= value == b"true",
            b"metadata" => {
                for (key, value) in given(value) {
                    match key {
                        b"user_id" => reader.call.params.set(Param::User, Json::of(value)),
                        other => reader.lose("metadata", other),
                    }
                }
            }
            b"service_tier" if value == b"\"auto\"" => {}
            // Marks the end of the whole prompt.
            b"cache_control" => reader.mark_the_end(value),
            name if read_param(PARAMS, "", name, value, &mut reader.call.params) => {}
            other => reader.lose("", other),
        }
    }
    if let Some(system) = system {
        let parts = reader.content(system, "system")?;
        if !parts.is_empty() {
            reader.call.turns.insert(0, Turn { role: Role::System, name: None, parts });
        }
    }
    Ok(reader.call)
}

struct Reader<'a> {
    call: Call<'a>,
    /// Another vendor's signature, met in front of the call that it belongs to.
    signed: Option<Proof<'a>>,
}

impl<'a> Reader<'a> {
    fn lose(&mut self, at: &str, key: &[u8]) {
        self.call.unmapped.push(path(at, key));
    }

    fn mark_the_end(&mut self, value: &[u8]) {
        if let Some(last) = self.call.turns.last_mut().and_then(|turn| turn.parts.last_mut()) {
            last.cache = cache_mark(value);
        }
    }

    fn messages(&mut self, messages: &'a [u8]) -> Result<(), Unreadable> {
        for (place, message) in list(messages, "messages")?.enumerate() {
            let at = format!("messages[{place}]");
            object(message, &at)?;
            let mut parts = Vec::new();
            let mut role = None;
            for (key, value) in given(message) {
                match key {
                    b"role" => role = json::text(value),
                    b"content" => parts = self.content(value, &format!("{at}.content"))?,
                    other => self.lose(&at, other),
                }
            }
            let role = match role.as_deref() {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system") => Role::System,
                other => return Err(Unreadable(format!("{at}.role: {other:?} is not known"))),
            };
            if !parts.is_empty() {
                self.call.turns.push(Turn { role, name: None, parts });
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &'a [u8], at: &str) -> Result<Vec<Part<'a>>, Unreadable> {
        if let Some(text) = Text::of_value(content) {
            return Ok(if text.is_empty() { Vec::new() } else { vec![What::Text(text).into()] });
        }
        let mut parts = Vec::new();
        for (place, block) in list(content, at)?.enumerate() {
            let at = format!("{at}[{place}]");
            object(block, &at)?;
            let cache = json::get(block, "cache_control").filter(|value| *value != b"null").and_then(cache_mark);
            if let Some(what) = self.block(block, &at)? {
                parts.push(Part { what, cache });
            }
        }
        Ok(parts)
    }

    fn block(&mut self, block: &'a [u8], at: &str) -> Result<Option<What<'a>>, Unreadable> {
        let kind = json::get(block, "type").and_then(json::text).unwrap_or_default();
        let member = |name: &str| json::get(block, name).filter(|value| *value != b"null");
        let text = |name: &str| {
            let missing = || Unreadable(format!("{at}.{name} is missing"));
            string(member(name).ok_or_else(missing)?, &format!("{at}.{name}"))
        };
        let known: &[&str] = match &*kind {
            "text" => &["text", "citations"],
            "image" | "document" => &["source", "title", "context", "citations"],
            "thinking" => &["thinking", "signature"],
            "redacted_thinking" => &["data"],
            "tool_use" => &["id", "name", "input", "caller"],
            "tool_result" => &["tool_use_id", "content", "is_error"],
            // What the vendor ran itself, and whatever else only it understands.
            _ => {
                self.call.unmapped.push(format!("{at} of type {kind}"));
                return Ok(None);
            }
        };
        for (key, _) in given(block) {
            let is_known = known.iter().any(|name| name.as_bytes() == key);
            if !is_known && !matches!(key, b"type" | b"cache_control") {
                self.lose(at, key);
            }
        }
        Ok(match &*kind {
            "text" => Some(text("text")?).filter(|text| !text.is_empty()).map(What::Text),
            "image" => Some(What::Media(self.media(member("source"), MediaKind::Image, None, at)?)),
            "document" => {
                if let Some(context) = member("context").filter(|context| context.len() > 2) {
                    _ = context;
                    self.lose(at, b"context");
                }
                let asks = member("citations").is_some_and(|asked| json::get(asked, "enabled") == Some(b"true"));
                if asks {
                    self.lose(at, b"citations");
                }
                let name = member("title").and_then(Text::of_value);
                Some(What::Media(self.media(member("source"), MediaKind::Document, name, at)?))
            }
            "thinking" => {
                let signature = member("signature").and_then(Text::of_value).filter(|raw| !raw.is_empty());
                let proof = signature.map(|raw| carried(raw, false));
                Some(What::Reasoning(Thought { text: text("thinking")?, proof }))
            }
            "redacted_thinking" => {
                let proof = carried(text("data")?, true);
                // A signature of a call rides in front of it, see `write_events`.
                if proof.of != Tongue::Messages && !proof.sealed {
                    self.signed = Some(proof);
                    return Ok(None);
                }
                Some(What::Reasoning(Thought { text: Text::default(), proof: Some(proof) }))
            }
            "tool_use" => {
                let arguments = Arguments::Object(Json::of(member("input").unwrap_or(b"{}")));
                let (id, name) = (text("id")?, text("name")?);
                Some(What::ToolCall(ToolCall { id, name, arguments, proof: self.signed.take() }))
            }
            _ => {
                let id = text("tool_use_id")?;
                let content = match member("content") {
                    Some(content) => self.content(content, &format!("{at}.content"))?,
                    None => Vec::new(),
                };
                let name = self.call.tool_called(&id).cloned();
                let failed = member("is_error") == Some(b"true");
                Some(What::ToolResult(ToolResult { id, name, content, failed }))
            }
        })
    }

    fn media(
        &mut self,
        source: Option<&'a [u8]>,
        kind: MediaKind,
        name: Option<Text<'a>>,
        at: &str,
    ) -> Result<Media<'a>, Unreadable> {
        let source = source.ok_or_else(|| Unreadable(format!("{at}.source is missing")))?;
        let member = |name: &str| {
            let value = json::get(source, name).and_then(Text::of_value);
            value.ok_or_else(|| Unreadable(format!("{at}.source.{name} is missing")))
        };
        let source = match json::get(source, "type").and_then(json::text).unwrap_or_default().as_ref() {
            "base64" => Source::Data { mime: member("media_type")?, base64: member("data")? },
            "url" => Source::Url { url: member("url")?, mime: None },
            "file" => Source::Id(member("file_id")?),
            "text" => Source::Text(member("data")?),
            "content" => match json::get(source, "content").and_then(Text::of_value) {
                Some(text) => Source::Text(text),
                None => {
                    self.lose(at, b"source.content");
                    Source::Text(Text::default())
                }
            },
            other => return Err(Unreadable(format!("{at}.source.type: {other:?} is not known"))),
        };
        Ok(Media { kind, source, name, detail: None })
    }

    fn tools(&mut self, tools: &'a [u8]) -> Result<(), Unreadable> {
        for (place, tool) in list(tools, "tools")?.enumerate() {
            let at = format!("tools[{place}]");
            object(tool, &at)?;
            let kind = json::get(tool, "type").filter(|kind| *kind != b"null").and_then(json::text);
            if kind.as_deref().is_some_and(|kind| kind != "custom") {
                self.call.unmapped.push(format!("{at} of type {}", kind.unwrap_or_default()));
                continue;
            }
            let mut read = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
            for (key, value) in given(tool) {
                match key {
                    b"type" => {}
                    b"name" => read.name = string(value, &format!("{at}.name"))?,
                    b"description" => read.description = Some(string(value, &format!("{at}.description"))?),
                    b"input_schema" => {
                        object(value, &format!("{at}.input_schema"))?;
                        read.schema = Some(Json::of(value));
                    }
                    b"strict" => read.strict = Some(flag(value, &format!("{at}.strict"))?),
                    b"cache_control" => read.cache = cache_mark(value),
                    // How the arguments are streamed; what arrives is the same.
                    b"eager_input_streaming" => {}
                    b"defer_loading" if value == b"false" => {}
                    other => self.lose(&at, other),
                }
            }
            if read.name.is_empty() {
                return Err(Unreadable(format!("{at}.name is missing")));
            }
            self.call.tools.push(read);
        }
        Ok(())
    }

    fn tool_choice(&mut self, choice: &'a [u8]) -> Result<(), Unreadable> {
        object(choice, "tool_choice")?;
        if json::get(choice, "disable_parallel_tool_use") == Some(b"true") {
            self.call.parallel_tools = Some(false);
        }
        let kind = json::get(choice, "type").and_then(json::text).unwrap_or_default();
        self.call.tool_choice = Some(match &*kind {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => {
                let name = json::get(choice, "name").and_then(Text::of_value);
                ToolChoice::Named(name.ok_or_else(|| Unreadable("tool_choice.name is missing".into()))?)
            }
            other => return Err(Unreadable(format!("tool_choice.type: {other:?} is not known"))),
        });
        Ok(())
    }

    fn thinking(&mut self, thinking: &'a [u8]) -> Result<(), Unreadable> {
        let kind = json::get(thinking, "type").and_then(json::text).unwrap_or_default();
        let effort = self.call.reasoning.and_then(|reasoning| reasoning.amount);
        let mut shown = Some(true);
        let mut budget = None;
        for (key, value) in given(thinking) {
            match key {
                b"type" => {}
                b"budget_tokens" => budget = Some(whole(value, "thinking.budget_tokens")?),
                b"display" => shown = Some(value != b"\"omitted\""),
                other => self.lose("thinking", other),
            }
        }
        let amount = match &*kind {
            "enabled" => budget.map_or(Amount::Auto, Amount::Tokens),
            // How much, the effort says when there is one.
            "adaptive" => effort.unwrap_or(Amount::Auto),
            "disabled" => Amount::Off,
            other => return Err(Unreadable(format!("thinking.type: {other:?} is not known"))),
        };
        self.call.reasoning = Some(Reasoning { amount: Some(amount), shown });
        Ok(())
    }

    fn output_config(&mut self, config: &'a [u8]) -> Result<(), Unreadable> {
        object(config, "output_config")?;
        for (key, value) in given(config) {
            match key {
                b"effort" => {
                    let word = json::text(value).unwrap_or_default();
                    let wrong = || Unreadable(format!("output_config.effort: {word:?} is not known"));
                    let effort = Effort::parse(&word).ok_or_else(wrong)?;
                    let reasoning = self.call.reasoning.get_or_insert_default();
                    if !matches!(reasoning.amount, Some(Amount::Off | Amount::Tokens(_))) {
                        reasoning.amount = Some(Amount::Effort(effort));
                    }
                }
                b"format" => self.format(value)?,
                other => self.lose("output_config", other),
            }
        }
        Ok(())
    }

    fn format(&mut self, format: &'a [u8]) -> Result<(), Unreadable> {
        let kind = json::get(format, "type").and_then(json::text).unwrap_or_default();
        if kind != "json_schema" {
            return Err(Unreadable(format!("output_config.format.type: {kind:?} is not known")));
        }
        let schema = json::get(format, "schema").filter(|schema| schema.starts_with(b"{"));
        let schema = Json::of(schema.ok_or_else(|| Unreadable("output_config.format.schema is missing".into()))?);
        self.call.format = Some(Format::Schema { name: None, description: None, schema, strict: Some(true) });
        Ok(())
    }
}

fn carried(raw: Text<'_>, sealed: bool) -> Proof<'_> {
    let read = proof::unwrap(raw.raw(), Tongue::Messages, sealed);
    let (of, sealed, length) = (read.of, read.sealed, read.data.raw().len());
    let front = raw.raw().len() - length;
    Proof { of, sealed, data: raw.without_front(front) }
}

fn cache_mark(value: &[u8]) -> Option<CacheMark> {
    let hour = json::get(value, "ttl") == Some(b"\"1h\"");
    Some(if hour { CacheMark::OneHour } else { CacheMark::FiveMinutes })
}
