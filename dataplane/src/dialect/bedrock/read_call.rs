//! A call of Converse.

use std::collections::HashMap;

use super::{PARAMS, blob, media};
use crate::dialect::call::{
    Amount, CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Reasoning, Role, Source, Thought,
    Tongue, Tool, ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{At, flag, given, inside, list, object, string, whole};
use crate::dialect::proof;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text, escape_json};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let mut reader = Reader::default();
    reader.call.stream = asked.streams;
    for (key, value) in given(asked.body) {
        let at = At::of(key);
        match key {
            // The path says it.
            b"modelId" => {}
            b"messages" => reader.messages(value, at)?,
            b"system" => {
                let parts = reader.content(value, at)?;
                if !parts.is_empty() {
                    reader.call.turns.insert(0, Turn { role: Role::System, name: None, parts });
                }
            }
            b"inferenceConfig" => reader.inference(value, at)?,
            b"toolConfig" => reader.tool_config(value, at)?,
            b"additionalModelRequestFields" => reader.additional(value, at)?,
            b"outputConfig" => reader.output(value, at)?,
            b"requestMetadata" => {
                object(value, &at)?;
                read_param(PARAMS, "", key, value, &mut reader.call.params);
            }
            b"serviceTier" => reader.tier(value, at)?,
            b"performanceConfig" if is_word(value, "latency", "standard") => {}
            b"additionalModelResponseFieldPaths" if json::is_empty_array(value) => {}
            _ => reader.unmapped(at),
        }
    }
    Ok(reader.call)
}

#[derive(Default)]
struct Reader<'a> {
    call: Call<'a>,
    /// The tools that were called, by the ids of their calls.
    called: HashMap<&'a [u8], Text<'a>>,
    /// Another vendor's signature of the call that comes next.
    signed: Option<Proof<'a>>,
}

impl<'a> Reader<'a> {
    fn unmapped(&mut self, at: At<'_>) {
        self.call.unmapped.push(at.to_string());
    }

    fn messages(&mut self, messages: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        for (place, message) in list(messages, &at)?.enumerate() {
            let at = at.nth(place);
            object(message, &at)?;
            let (mut role, mut parts) = (None, Vec::new());
            for (key, value) in given(message) {
                match (key, value) {
                    (b"role", b"\"user\"") => role = Some(Role::User),
                    (b"role", b"\"assistant\"") => role = Some(Role::Assistant),
                    (b"role", _) => {}
                    (b"content", _) => parts = self.content(value, at.key(key))?,
                    _ => self.unmapped(at.key(key)),
                }
            }
            let role = role.ok_or_else(|| Unreadable(format!("{at}.role must be user or assistant")))?;
            if !parts.is_empty() {
                self.call.turns.push(Turn { role, name: None, parts });
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &'a [u8], at: At<'_>) -> Result<Vec<Part<'a>>, Unreadable> {
        let mut parts: Vec<Part<'a>> = Vec::new();
        for (place, block) in list(content, &at)?.enumerate() {
            let at = at.nth(place);
            object(block, &at)?;
            for (key, value) in given(block) {
                let at = at.key(key);
                if key == b"cachePoint" {
                    let mark = self.cache_mark(value, at)?;
                    // It marks what stands in front of it; in front of everything there is nothing to keep.
                    parts.last_mut().into_iter().for_each(|last| last.cache = Some(mark));
                    continue;
                }
                parts.extend(self.block(key, value, at)?.map(Part::from));
            }
        }
        // A signature for which no call came is one of a thought without words.
        if let Some(proof) = self.signed.take() {
            parts.push(What::Reasoning(Thought { text: Text::default(), proof: Some(proof) }).into());
        }
        Ok(parts)
    }

    /// `None`: it says nothing, or it is told by another block, or nobody else has a word for it.
    fn block(&mut self, key: &[u8], value: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        Ok(match key {
            b"text" => Some(string(value, &at)?).filter(|text| !text.is_empty()).map(What::Text),
            b"image" => self.media(value, MediaKind::Image, at)?,
            b"document" => self.media(value, MediaKind::Document, at)?,
            b"video" => self.media(value, MediaKind::Video, at)?,
            b"audio" => self.media(value, MediaKind::Audio, at)?,
            b"reasoningContent" => self.thought(value, at)?,
            b"toolUse" => self.tool_use(value, at)?,
            b"toolResult" => self.tool_result(value, at)?,
            b"citationsContent" => self.cited(value, at)?,
            _ => {
                self.unmapped(at);
                None
            }
        })
    }

    fn media(&mut self, value: &'a [u8], kind: MediaKind, at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        object(value, &at)?;
        let (mut format, mut name, mut source) = (None, None, None);
        for (key, value) in given(value) {
            let at = at.key(key);
            match key {
                b"format" => format = Some(string(value, &at)?),
                b"name" => name = Some(string(value, &at)?),
                b"source" => {
                    object(value, &at)?;
                    source = Some(value);
                }
                b"citations" if json::get(value, "enabled") != Some(b"true") => {}
                _ => self.unmapped(at),
            }
        }
        let source = source.ok_or_else(|| Unreadable(format!("{at}.source is missing")))?;
        let mime = format.as_ref().and_then(|format| media::mime(kind, &format.plain()));
        let mime = mime.map(|mime| Text::of_raw(mime.as_bytes()));
        let at = at.key(b"source");
        let mut read = None;
        for (key, value) in given(source) {
            let at = at.key(key);
            match key {
                b"bytes" => {
                    let base64 = string(value, &at)?;
                    let unknown = || Unreadable(format!("{at} is of a format that is not known"));
                    read = Some(Source::Data { mime: mime.clone().ok_or_else(unknown)?, base64 });
                }
                b"s3Location" => match json::get(value, "uri") {
                    Some(uri) => read = Some(Source::Url { url: string(uri, &at)?, mime: mime.clone() }),
                    None => return Err(Unreadable(format!("{at}.uri is missing"))),
                },
                b"text" => read = Some(Source::Text(string(value, &at)?)),
                b"content" => match joined(value) {
                    Some(text) => read = Some(Source::Text(text)),
                    None => self.unmapped(at),
                },
                _ => self.unmapped(at),
            }
            if key == b"s3Location" && json::get(value, "bucketOwner").is_some_and(|owner| owner != b"null") {
                self.unmapped(at.key(b"bucketOwner"));
            }
        }
        Ok(read.map(|source| What::Media(Media { kind, source, name, detail: None })))
    }

    fn thought(&mut self, value: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        object(value, &at)?;
        let (mut text, mut proof) = (Text::default(), None);
        for (key, value) in given(value) {
            let at = at.key(key);
            match key {
                b"reasoningText" => {
                    for (key, value) in given(value) {
                        let at = at.key(key);
                        match key {
                            b"text" => text = string(value, &at)?,
                            b"signature" => {
                                let raw = inside(value, at)?;
                                proof = (!raw.is_empty()).then(|| proof::unwrap(raw, Tongue::Converse, false));
                            }
                            _ => self.unmapped(at),
                        }
                    }
                }
                b"redactedContent" => {
                    let sealed = blob::read(inside(value, at)?);
                    if !sealed.sealed {
                        // Not a thought but the signature of a call: the writer of answers has put it in front of that.
                        proof = self.signed.replace(sealed);
                    } else if !sealed.data.is_empty() {
                        proof = Some(sealed);
                    }
                }
                _ => self.unmapped(at),
            }
        }
        let says = !text.is_empty() || proof.is_some();
        Ok(says.then_some(What::Reasoning(Thought { text, proof })))
    }

    fn tool_use(&mut self, value: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        object(value, &at)?;
        let (mut id, mut name, mut input) = (&b""[..], Text::default(), &b"{}"[..]);
        for (key, value) in given(value) {
            let at = at.key(key);
            match key {
                b"toolUseId" => id = inside(value, at)?,
                b"name" => name = string(value, &at)?,
                b"input" => input = value,
                b"type" if value == b"\"tool_use\"" => {}
                // Run by the vendor.
                _ => {
                    self.unmapped(at);
                    return Ok(None);
                }
            }
        }
        if name.is_empty() {
            return Err(Unreadable(format!("{at}.name is missing")));
        }
        self.called.insert(id, name.clone());
        let proof = self.signed.take();
        let arguments = Arguments::Object(Json::of(input));
        Ok(Some(What::ToolCall(ToolCall { id: Text::of_raw(id), name, arguments, proof })))
    }

    fn tool_result(&mut self, value: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        object(value, &at)?;
        let (mut id, mut content, mut failed) = (None, Vec::new(), false);
        for (key, value) in given(value) {
            let at = at.key(key);
            match key {
                b"toolUseId" => id = Some(inside(value, at)?),
                b"content" => content = self.result_content(value, at)?,
                b"status" => failed = value == b"\"error\"",
                // Of a tool that the vendor ran.
                _ => {
                    self.unmapped(at);
                    return Ok(None);
                }
            }
        }
        let id = id.ok_or_else(|| Unreadable(format!("{at}.toolUseId is missing")))?;
        let name = self.called.get(id).cloned();
        Ok(Some(What::ToolResult(ToolResult { id: Text::of_raw(id), name, content, failed })))
    }

    fn result_content(&mut self, content: &'a [u8], at: At<'_>) -> Result<Vec<Part<'a>>, Unreadable> {
        let mut parts = Vec::new();
        for (place, block) in list(content, &at)?.enumerate() {
            let at = at.nth(place);
            object(block, &at)?;
            for (key, value) in given(block) {
                let at = at.key(key);
                match key {
                    b"json" => {
                        let mut text = Vec::with_capacity(value.len() + 16);
                        escape_json(&mut text, value);
                        parts.push(What::Text(Text::of_raw_owned(text)).into());
                    }
                    b"text" | b"image" | b"document" | b"video" => {
                        parts.extend(self.block(key, value, at)?.map(Part::from));
                    }
                    _ => self.unmapped(at),
                }
            }
        }
        Ok(parts)
    }

    /// What was said of an earlier answer's words; the words are there.
    fn cited(&mut self, value: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        object(value, &at)?;
        if let Some(cited) = json::get(value, "citations") {
            self.call.hint(at.key(b"citations"), cited);
        }
        let text = json::get(value, "content").and_then(joined);
        Ok(text.filter(|text| !text.is_empty()).map(What::Text))
    }

    fn cache_mark(&mut self, mark: &'a [u8], at: At<'_>) -> Result<CacheMark, Unreadable> {
        object(mark, &at)?;
        let mut read = CacheMark::FiveMinutes;
        for (key, value) in given(mark) {
            match (key, value) {
                (b"type", b"\"default\"") | (b"ttl", b"\"5m\"") => {}
                (b"ttl", b"\"1h\"") => read = CacheMark::OneHour,
                _ => self.unmapped(at.key(key)),
            }
        }
        Ok(read)
    }

    fn inference(&mut self, config: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(config, &at)?;
        for (key, value) in given(config) {
            let at = at.key(key);
            match key {
                b"maxTokens" => self.call.tokens_max = Some(whole(value, &at)?),
                b"stopSequences" => {
                    for (place, stop) in list(value, &at)?.enumerate() {
                        self.call.stop.push(string(stop, &at.nth(place))?);
                    }
                }
                key if read_param(PARAMS, "inferenceConfig.", key, value, &mut self.call.params) => {}
                _ => self.unmapped(at),
            }
        }
        Ok(())
    }

    fn tool_config(&mut self, config: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(config, &at)?;
        for (key, value) in given(config) {
            let at = at.key(key);
            match key {
                b"tools" => {
                    for (place, tool) in list(value, &at)?.enumerate() {
                        self.tool(tool, at.nth(place))?;
                    }
                }
                b"toolChoice" => self.tool_choice(value, at)?,
                _ => self.unmapped(at),
            }
        }
        Ok(())
    }

    fn tool(&mut self, tool: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(tool, &at)?;
        for (key, value) in given(tool) {
            let at = at.key(key);
            match key {
                b"toolSpec" => {
                    let tool = self.tool_spec(value, at)?;
                    self.call.tools.push(tool);
                }
                b"cachePoint" => {
                    let mark = self.cache_mark(value, at)?;
                    self.call.tools.last_mut().into_iter().for_each(|last| last.cache = Some(mark));
                }
                _ => self.unmapped(at),
            }
        }
        Ok(())
    }

    fn tool_spec(&mut self, spec: &'a [u8], at: At<'_>) -> Result<Tool<'a>, Unreadable> {
        object(spec, &at)?;
        let mut read = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
        for (key, value) in given(spec) {
            let at = at.key(key);
            match key {
                b"name" => read.name = string(value, &at)?,
                b"description" => read.description = Some(string(value, &at)?),
                b"inputSchema" => {
                    object(value, &at)?;
                    for (key, value) in given(value) {
                        match key {
                            b"json" => read.schema = Some(Json::of(value)),
                            _ => self.unmapped(at.key(key)),
                        }
                    }
                }
                b"strict" => read.strict = Some(flag(value, &at)?),
                _ => self.unmapped(at),
            }
        }
        if read.name.is_empty() {
            return Err(Unreadable(format!("{at}.name is missing")));
        }
        Ok(read)
    }

    fn tool_choice(&mut self, choice: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(choice, &at)?;
        for (key, value) in given(choice) {
            let at = at.key(key);
            self.call.tool_choice = Some(match key {
                b"auto" => ToolChoice::Auto,
                b"any" => ToolChoice::Required,
                b"tool" => match json::get(value, "name") {
                    Some(name) => ToolChoice::Named(string(name, &at.key(b"name"))?),
                    None => return Err(Unreadable(format!("{at}.name is missing"))),
                },
                _ => {
                    self.unmapped(at);
                    continue;
                }
            });
        }
        Ok(())
    }

    /// What the models' makers add: of that, what is meant the same elsewhere.
    fn additional(&mut self, fields: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(fields, &at)?;
        let (mut thinking, mut effort, mut shown) = (None, None, None);
        for (key, value) in given(fields) {
            let at = at.key(key);
            match key {
                // Anthropic's, by its newer and its older name.
                b"thinking" | b"reasoning_config" => {
                    object(value, &at)?;
                    thinking = Some(self.thinking(value, &mut shown, at)?);
                }
                b"output_config" => {
                    for (key, value) in given(value) {
                        match key {
                            b"effort" => effort = Some(self.effort(value, at.key(key))?),
                            _ => self.unmapped(at.key(key)),
                        }
                    }
                }
                // Of models with open weights.
                b"reasoning_effort" => effort = Some(self.effort(value, at)?),
                // Amazon's own.
                b"reasoningConfig" => thinking = Some(self.nova(value, at)?),
                b"inferenceConfig" => {
                    for (key, value) in given(value) {
                        match key {
                            b"topK" => self.call.params.set(Param::TopK, Json::of(value)),
                            _ => self.unmapped(at.key(key)),
                        }
                    }
                }
                key if read_param(PARAMS, "additionalModelRequestFields.", key, value, &mut self.call.params) => {}
                _ => self.unmapped(at),
            }
        }
        let amount = match (thinking, effort) {
            (None | Some(Amount::Auto), Some(effort)) => Some(Amount::Effort(effort)),
            (thinking, effort) => {
                if effort.is_some() {
                    self.unmapped(at.key(b"output_config").key(b"effort"));
                }
                thinking
            }
        };
        if amount.is_some() {
            self.call.reasoning = Some(Reasoning { amount, shown: shown.filter(|_| amount != Some(Amount::Off)) });
        }
        Ok(())
    }

    fn thinking(&mut self, value: &'a [u8], shown: &mut Option<bool>, at: At<'_>) -> Result<Amount, Unreadable> {
        let mut budget = None;
        *shown = Some(true);
        for (key, value) in given(value) {
            let at = at.key(key);
            match (key, value) {
                (b"type", _) => {}
                (b"budget_tokens", _) => budget = Some(whole(value, &at)?),
                (b"display", b"\"summarized\"") => {}
                (b"display", b"\"omitted\"") => *shown = Some(false),
                _ => self.unmapped(at),
            }
        }
        match (json::get(value, "type").unwrap_or_default(), budget) {
            (b"\"disabled\"", _) => Ok(Amount::Off),
            (b"\"adaptive\"", _) => Ok(Amount::Auto),
            (b"\"enabled\"", Some(budget)) => Ok(Amount::Tokens(budget)),
            _ => Err(Unreadable(format!("{at} must be enabled with budget_tokens, adaptive or disabled"))),
        }
    }

    fn nova(&mut self, value: &'a [u8], at: At<'_>) -> Result<Amount, Unreadable> {
        object(value, &at)?;
        let mut effort = None;
        for (key, value) in given(value) {
            match key {
                b"type" => {}
                b"maxReasoningEffort" => effort = Some(self.effort(value, at.key(key))?),
                _ => self.unmapped(at.key(key)),
            }
        }
        Ok(match effort {
            _ if json::get(value, "type") == Some(b"\"disabled\"") => Amount::Off,
            Some(effort) => Amount::Effort(effort),
            None => Amount::Auto,
        })
    }

    fn effort(&mut self, value: &'a [u8], at: At<'_>) -> Result<Effort, Unreadable> {
        let word = string(value, &at)?;
        Effort::parse(&word.plain()).ok_or_else(|| Unreadable(format!("{at} is not known")))
    }

    fn output(&mut self, config: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(config, &at)?;
        for (key, value) in given(config) {
            let at = at.key(key);
            if key != b"textFormat" {
                self.unmapped(at);
                continue;
            }
            let structure = json::dig(value, &["structure", "jsonSchema"]);
            let structure = structure.ok_or_else(|| Unreadable(format!("{at}.structure.jsonSchema is missing")))?;
            let (mut schema, mut name, mut description) = (None, None, None);
            for (key, value) in given(structure) {
                match key {
                    b"schema" => schema = Some(string(value, &at)?),
                    b"name" => name = Some(string(value, &at)?),
                    b"description" => description = Some(string(value, &at)?),
                    _ => self.unmapped(at.key(key)),
                }
            }
            // A document within a string.
            let schema = schema.map(|schema| schema.plain().into_owned().into_bytes()).unwrap_or_default();
            if !schema.starts_with(b"{") || json::validate(&schema).is_err() {
                return Err(Unreadable(format!("{at}.structure.jsonSchema.schema must be JSON in a string")));
            }
            let schema = Json::owned(schema);
            self.call.format = Some(Format::Schema { name, description, schema, strict: Some(true) });
        }
        Ok(())
    }

    fn tier(&mut self, tier: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(tier, &at)?;
        for (key, value) in given(tier) {
            match key {
                b"type" => self.call.params.set(Param::ServiceTier, Json::of(value)),
                _ => self.unmapped(at.key(key)),
            }
        }
        Ok(())
    }
}

fn is_word(object: &[u8], member: &str, word: &str) -> bool {
    json::get(object, member).and_then(json::text).as_deref() == Some(word)
}

/// Pieces of text, one behind the other. `None` when there is something else among them.
fn joined(content: &[u8]) -> Option<Text<'_>> {
    let mut pieces = json::elements(content);
    let mut text = json::get(pieces.next()?, "text").and_then(Text::of_value)?;
    for piece in pieces {
        text.append(json::get(piece, "text").and_then(Text::of_value)?.raw());
    }
    Some(text)
}
