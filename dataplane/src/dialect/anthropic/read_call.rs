//! A call of Anthropic's Messages.

use std::collections::HashMap;

use super::PARAMS;
use crate::dialect::call::{
    Amount, CacheMark, Call, Effort, Format, Media, MediaKind, Part, Proof, Reasoning, Role, Source, Thought, Tongue,
    Tool, ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{At, flag, given, inside, list, object, string, whole};
use crate::dialect::proof;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let mut reader = Reader::default();
    let mut cache = None;
    reader.call.stream = asked.streams;
    for (key, value) in given(asked.body) {
        let at = At::of(key);
        match key {
            // The way of the request was chosen by it before anything is read here.
            b"model" => {}
            b"messages" => reader.messages(value, at)?,
            b"system" => reader.system(value, at)?,
            b"max_tokens" => reader.call.tokens_max = Some(whole(value, &at)?),
            b"stream" => reader.call.stream |= flag(value, &at)?,
            b"stop_sequences" => {
                for (place, stop) in list(value, &at)?.enumerate() {
                    reader.call.stop.push(string(stop, &at.nth(place))?);
                }
            }
            b"tools" => reader.tools(value, at)?,
            b"tool_choice" => reader.tool_choice(value, at)?,
            b"thinking" => reader.thinking(value, at)?,
            b"output_config" => reader.output(value, at)?,
            // What `output_config.format` was called before.
            b"output_format" => reader.format(value, at)?,
            b"metadata" => reader.metadata(value, at)?,
            // To keep all thoughts is what everybody does who is not told to clear them away.
            b"context_management" if keeps_all(value) => {}
            b"cache_control" => cache = reader.cache_mark(value, at)?,
            key if read_param(PARAMS, "", key, value, &mut reader.call.params) => {}
            _ => reader.unmapped(at),
        }
    }
    // A mark on the call as a whole is one on its last part.
    let last = reader.call.turns.last_mut().and_then(|turn| turn.parts.last_mut());
    if let Some(part) = last.filter(|part| part.cache.is_none()) {
        part.cache = cache;
    }
    reader.reasoning();
    Ok(reader.call)
}

fn keeps_all(management: &[u8]) -> bool {
    let is_edits = json::members(management).all(|(key, _)| key == b"edits");
    let mut edits = json::get(management, "edits").into_iter().flat_map(json::elements);
    is_edits
        && edits.all(|edit| {
            let kind = json::get(edit, "type").unwrap_or_default();
            kind.starts_with(b"\"clear_thinking_") && json::get(edit, "keep") == Some(b"\"all\"")
        })
}

#[derive(Default)]
struct Reader<'a> {
    call: Call<'a>,
    effort: Option<Effort>,
    thinking: Option<Amount>,
    shown: Option<bool>,
    /// The tools that were called, by the ids of their calls.
    called: HashMap<&'a [u8], Text<'a>>,
    /// Another vendor's signature of the call that comes next.
    signed: Option<Proof<'a>>,
}

impl<'a> Reader<'a> {
    fn unmapped(&mut self, at: At<'_>) {
        self.call.unmapped.push(at.to_string());
    }

    fn system(&mut self, value: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        let parts = self.content(value, Role::System, at)?;
        if !parts.is_empty() {
            self.call.turns.insert(0, Turn { role: Role::System, name: None, parts });
        }
        Ok(())
    }

    fn messages(&mut self, messages: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        for (place, message) in list(messages, &at)?.enumerate() {
            let at = at.nth(place);
            object(message, &at)?;
            let role = match json::get(message, "role").and_then(Text::of_value).as_ref().map(Text::raw) {
                Some(b"user") => Role::User,
                Some(b"assistant") => Role::Assistant,
                Some(b"system") => Role::System,
                _ => return Err(Unreadable(format!("{at}.role must be user or assistant"))),
            };
            let mut parts = None;
            for (key, value) in given(message) {
                match key {
                    b"role" => {}
                    b"content" => parts = Some(self.content(value, role, at.key(key))?),
                    _ => self.unmapped(at.key(key)),
                }
            }
            let parts = parts.ok_or_else(|| Unreadable(format!("{at}.content is missing")))?;
            if !parts.is_empty() {
                self.call.turns.push(Turn { role, name: None, parts });
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &'a [u8], role: Role, at: At<'_>) -> Result<Vec<Part<'a>>, Unreadable> {
        if let Some(text) = Text::of_value(content) {
            return Ok(if text.is_empty() { Vec::new() } else { vec![What::Text(text).into()] });
        }
        if !content.starts_with(b"[") {
            return Err(Unreadable(format!("{at} must be a string or a list")));
        }
        let mut parts = Vec::new();
        for (place, block) in json::elements(content).enumerate() {
            let at = at.nth(place);
            object(block, &at)?;
            let Some(what) = self.block(block, role, at)? else { continue };
            let cache = match json::get(block, "cache_control") {
                None | Some(b"null") => None,
                Some(mark) => self.cache_mark(mark, at.key(b"cache_control"))?,
            };
            parts.push(Part { what, cache });
        }
        // A signature for which no call came is one of a thought without words.
        if let Some(proof) = self.signed.take() {
            parts.push(What::Reasoning(Thought { text: Text::default(), proof: Some(proof) }).into());
        }
        Ok(parts)
    }

    /// `None`: it says nothing, or it is told by another block, or nobody else has a word for it.
    fn block(&mut self, block: &'a [u8], role: Role, at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        let kind = json::get(block, "type").unwrap_or_default();
        Ok(match kind {
            b"\"text\"" => self.text(block, role, at)?,
            b"\"image\"" => self.media(block, MediaKind::Image, at)?,
            b"\"document\"" => self.media(block, MediaKind::Document, at)?,
            b"\"thinking\"" => self.thought(block, at)?,
            b"\"redacted_thinking\"" => self.sealed_thought(block, at)?,
            b"\"tool_use\"" => Some(self.tool_use(block, at)?),
            b"\"tool_result\"" => Some(self.tool_result(block, at)?),
            _ => {
                // Tools that Anthropic runs, what it compacted, and whatever came later.
                let kind = json::text(kind).unwrap_or_default();
                self.call.unmapped.push(format!("{at} ({kind})"));
                None
            }
        })
    }

    fn text(&mut self, block: &'a [u8], role: Role, at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        let mut text = None;
        for (key, value) in given(block) {
            match key {
                b"type" | b"cache_control" => {}
                b"text" => text = Some(string(value, &at.key(key))?),
                // What was said of an earlier answer's words; the words are there.
                b"citations" if role == Role::Assistant => self.call.hint(at.key(key), value),
                b"citations" if json::is_empty_array(value) => {}
                _ => self.unmapped(at.key(key)),
            }
        }
        let text = text.ok_or_else(|| Unreadable(format!("{at}.text is missing")))?;
        Ok(Some(What::Text(text)).filter(|what| *what != What::Text(Text::default())))
    }

    fn media(&mut self, block: &'a [u8], kind: MediaKind, at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        let (mut source, mut name) = (None, None);
        for (key, value) in given(block) {
            match key {
                b"type" | b"cache_control" => {}
                b"source" => source = Some(value),
                b"title" => name = Some(string(value, &at.key(key))?),
                b"citations" if json::get(value, "enabled") != Some(b"true") => {}
                _ => self.unmapped(at.key(key)),
            }
        }
        let source = source.ok_or_else(|| Unreadable(format!("{at}.source is missing")))?;
        let source = self.source(source, at.key(b"source"))?;
        Ok(source.map(|source| What::Media(Media { kind, source, name, detail: None })))
    }

    fn source(&mut self, source: &'a [u8], at: At<'_>) -> Result<Option<Source<'a>>, Unreadable> {
        object(source, &at)?;
        let member = |name: &str| match json::get(source, name) {
            Some(value) => string(value, &at.key(name.as_bytes())),
            None => Err(Unreadable(format!("{at}.{name} is missing"))),
        };
        let (known, read): (&[&[u8]], _) = match json::get(source, "type").unwrap_or_default() {
            b"\"base64\"" => {
                let (mime, base64) = (member("media_type")?, member("data")?);
                (&[b"media_type", b"data"], Some(Source::Data { mime, base64 }))
            }
            b"\"url\"" => (&[b"url"], Some(Source::Url { url: member("url")?, mime: None })),
            b"\"file\"" => (&[b"file_id"], Some(Source::Id(member("file_id")?))),
            b"\"text\"" => (&[b"media_type", b"data"], Some(Source::Text(member("data")?))),
            b"\"content\"" => (&[b"content"], json::get(source, "content").and_then(pages).map(Source::Text)),
            _ => return Err(Unreadable(format!("{at}.type is not known"))),
        };
        if read.is_none() {
            self.unmapped(at);
        }
        for (key, _) in given(source).filter(|(key, _)| *key != b"type" && !known.contains(key)) {
            self.unmapped(at.key(key));
        }
        Ok(read)
    }

    fn thought(&mut self, block: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        let (mut text, mut signature) = (Text::default(), &b""[..]);
        for (key, value) in given(block) {
            match key {
                b"type" => {}
                b"thinking" => text = string(value, &at.key(key))?,
                b"signature" => signature = inside(value, at.key(key))?,
                _ => self.unmapped(at.key(key)),
            }
        }
        let proof = (!signature.is_empty()).then(|| proof::unwrap(signature, Tongue::Messages, false));
        let says = !text.is_empty() || proof.is_some();
        Ok(says.then_some(What::Reasoning(Thought { text, proof })))
    }

    fn sealed_thought(&mut self, block: &'a [u8], at: At<'_>) -> Result<Option<What<'a>>, Unreadable> {
        let mut data = &b""[..];
        for (key, value) in given(block) {
            match key {
                b"type" => {}
                b"data" => data = inside(value, at.key(key))?,
                _ => self.unmapped(at.key(key)),
            }
        }
        if data.is_empty() {
            return Ok(None);
        }
        let proof = proof::unwrap(data, Tongue::Messages, true);
        let thought = |proof| What::Reasoning(Thought { text: Text::default(), proof: Some(proof) });
        if proof.sealed {
            return Ok(Some(thought(proof)));
        }
        // Not a thought but the signature of a call: the writer of answers has put it in front of that.
        Ok(self.signed.replace(proof).map(thought))
    }

    fn tool_use(&mut self, block: &'a [u8], at: At<'_>) -> Result<What<'a>, Unreadable> {
        let (mut id, mut name, mut input) = (&b""[..], Text::default(), &b"{}"[..]);
        for (key, value) in given(block) {
            match key {
                b"type" | b"cache_control" => {}
                b"id" => id = inside(value, at.key(key))?,
                b"name" => name = string(value, &at.key(key))?,
                b"input" => {
                    object(value, &at.key(key))?;
                    input = value;
                }
                b"caller" if json::get(value, "type") == Some(b"\"direct\"") => {}
                _ => self.unmapped(at.key(key)),
            }
        }
        if name.is_empty() {
            return Err(Unreadable(format!("{at}.name is missing")));
        }
        self.called.insert(id, name.clone());
        let proof = self.signed.take();
        let arguments = Arguments::Object(Json::of(input));
        Ok(What::ToolCall(ToolCall { id: Text::of_raw(id), name, arguments, proof }))
    }

    fn tool_result(&mut self, block: &'a [u8], at: At<'_>) -> Result<What<'a>, Unreadable> {
        let (mut id, mut content, mut failed) = (None, Vec::new(), false);
        for (key, value) in given(block) {
            let at = at.key(key);
            match key {
                b"type" | b"cache_control" => {}
                b"tool_use_id" => id = Some(inside(value, at)?),
                b"content" => content = self.result_content(value, at)?,
                b"is_error" => failed = flag(value, &at)?,
                _ => self.unmapped(at),
            }
        }
        let id = id.ok_or_else(|| Unreadable(format!("{at}.tool_use_id is missing")))?;
        let name = self.called.get(id).cloned();
        Ok(What::ToolResult(ToolResult { id: Text::of_raw(id), name, content, failed }))
    }

    /// Text, images and documents; a result within a result would be a stranger's nesting on our stack.
    fn result_content(&mut self, content: &'a [u8], at: At<'_>) -> Result<Vec<Part<'a>>, Unreadable> {
        if !content.starts_with(b"[") {
            return self.content(content, Role::User, at);
        }
        let mut parts = Vec::new();
        for (place, block) in json::elements(content).enumerate() {
            let at = at.nth(place);
            object(block, &at)?;
            match json::get(block, "type") {
                Some(b"\"text\"" | b"\"image\"" | b"\"document\"") => {
                    parts.extend(self.block(block, Role::User, at)?.map(Part::from));
                    // The whole result is cached, or none of it.
                    if let Some(mark) = json::get(block, "cache_control").filter(|mark| *mark != b"null") {
                        self.call.hint(at.key(b"cache_control"), mark);
                    }
                }
                kind => {
                    let kind = kind.and_then(json::text).unwrap_or_default();
                    self.call.unmapped.push(format!("{at} ({kind})"));
                }
            }
        }
        Ok(parts)
    }

    fn cache_mark(&mut self, mark: &'a [u8], at: At<'_>) -> Result<Option<CacheMark>, Unreadable> {
        object(mark, &at)?;
        let mut read = CacheMark::FiveMinutes;
        for (key, value) in given(mark) {
            match (key, value) {
                (b"type", b"\"ephemeral\"") | (b"ttl", b"\"5m\"") => {}
                (b"ttl", b"\"1h\"") => read = CacheMark::OneHour,
                _ => self.unmapped(at.key(key)),
            }
        }
        Ok(Some(read))
    }

    fn tools(&mut self, tools: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        for (place, tool) in list(tools, &at)?.enumerate() {
            let at = at.nth(place);
            object(tool, &at)?;
            match json::get(tool, "type") {
                None | Some(b"null" | b"\"custom\"") => {
                    let tool = self.tool(tool, at)?;
                    self.call.tools.push(tool);
                }
                Some(kind) => {
                    let kind = json::text(kind).unwrap_or_default();
                    self.call.unmapped.push(format!("{at} ({kind})"));
                }
            }
        }
        Ok(())
    }

    fn tool(&mut self, tool: &'a [u8], at: At<'_>) -> Result<Tool<'a>, Unreadable> {
        let mut read = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
        for (key, value) in given(tool) {
            let at = at.key(key);
            match key {
                b"type" => {}
                b"name" => read.name = string(value, &at)?,
                b"description" => read.description = Some(string(value, &at)?),
                b"input_schema" => {
                    object(value, &at)?;
                    read.schema = Some(Json::of(value));
                }
                b"strict" => read.strict = Some(flag(value, &at)?),
                b"cache_control" => read.cache = self.cache_mark(value, at)?,
                // How arguments are cut on their way; what arrives is the same.
                b"eager_input_streaming" => self.call.hint(at, value),
                b"defer_loading" if value == b"false" => {}
                b"allowed_callers" if value == b"[\"direct\"]" => {}
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
        let mut name = None;
        for (key, value) in given(choice) {
            let at = at.key(key);
            match key {
                b"type" => {}
                b"name" => name = Some(string(value, &at)?),
                // Several at once are what everybody does when nothing is said.
                b"disable_parallel_tool_use" => self.call.parallel_tools = flag(value, &at)?.then_some(false),
                _ => self.unmapped(at),
            }
        }
        self.call.tool_choice = Some(match (json::get(choice, "type").unwrap_or_default(), name) {
            (b"\"auto\"", _) => ToolChoice::Auto,
            (b"\"any\"", _) => ToolChoice::Required,
            (b"\"none\"", _) => ToolChoice::None,
            (b"\"tool\"", Some(name)) => ToolChoice::Named(name),
            (b"\"tool\"", None) => return Err(Unreadable(format!("{at}.name is missing"))),
            _ => return Err(Unreadable(format!("{at}.type must be auto, any, tool or none"))),
        });
        Ok(())
    }

    fn thinking(&mut self, thinking: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(thinking, &at)?;
        let mut budget = None;
        for (key, value) in given(thinking) {
            let at = at.key(key);
            match (key, value) {
                (b"type", _) => {}
                (b"budget_tokens", _) => budget = Some(whole(value, &at)?),
                (b"display", b"\"summarized\"") => self.shown = Some(true),
                (b"display", b"\"omitted\"") => self.shown = Some(false),
                _ => self.unmapped(at),
            }
        }
        // Who asks for thoughts is shown them, unless told otherwise.
        self.shown = self.shown.or(Some(json::get(thinking, "type") != Some(b"\"disabled\"")));
        self.thinking = Some(match (json::get(thinking, "type").unwrap_or_default(), budget) {
            (b"\"disabled\"", _) => Amount::Off,
            (b"\"adaptive\"", _) => Amount::Auto,
            (b"\"enabled\"", Some(budget)) => Amount::Tokens(budget),
            (b"\"enabled\"", None) => return Err(Unreadable(format!("{at}.budget_tokens is missing"))),
            _ => return Err(Unreadable(format!("{at}.type must be enabled, adaptive or disabled"))),
        });
        Ok(())
    }

    fn output(&mut self, config: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(config, &at)?;
        for (key, value) in given(config) {
            let at = at.key(key);
            match key {
                b"effort" => {
                    let effort = string(value, &at)?;
                    let known = Effort::parse(&effort.plain());
                    self.effort = Some(known.ok_or_else(|| Unreadable(format!("{at} is not known")))?);
                }
                b"format" => self.format(value, at)?,
                _ => self.unmapped(at),
            }
        }
        Ok(())
    }

    /// One word for how much is thought: a budget or a prohibition is more exact than an effort.
    fn reasoning(&mut self) {
        let amount = match (self.thinking, self.effort) {
            (None | Some(Amount::Auto), Some(effort)) => Some(Amount::Effort(effort)),
            (thinking, effort) => {
                if effort.is_some() {
                    self.call.unmapped.push("output_config.effort".to_owned());
                }
                thinking
            }
        };
        if amount.is_some() {
            let shown = self.shown.filter(|_| amount != Some(Amount::Off));
            self.call.reasoning = Some(Reasoning { amount, shown });
        }
    }

    fn format(&mut self, format: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(format, &at)?;
        let mut schema = None;
        for (key, value) in given(format) {
            let at = at.key(key);
            match key {
                b"type" if value == b"\"json_schema\"" => {}
                b"schema" => {
                    object(value, &at)?;
                    schema = Some(Json::of(value));
                }
                _ => self.unmapped(at),
            }
        }
        let schema = schema.ok_or_else(|| Unreadable(format!("{at}.schema is missing")))?;
        self.call.format = Some(Format::Schema { name: None, description: None, schema, strict: Some(true) });
        Ok(())
    }

    fn metadata(&mut self, metadata: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(metadata, &at)?;
        for (key, value) in given(metadata) {
            if !read_param(PARAMS, "metadata.", key, value, &mut self.call.params) {
                self.unmapped(at.key(key));
            }
        }
        Ok(())
    }
}

/// A document that is told as a string or as pieces of text. `None` when there is something else in it.
fn pages(content: &[u8]) -> Option<Text<'_>> {
    if let Some(text) = Text::of_value(content) {
        return Some(text);
    }
    let mut joined = Text::default();
    for (place, block) in json::elements(content).enumerate() {
        let is_text = json::get(block, "type") == Some(b"\"text\"");
        let text = json::get(block, "text").filter(|_| is_text).and_then(Text::of_value)?;
        if place > 0 {
            joined.append(br"\n");
        }
        joined.append(text.raw());
    }
    Some(joined)
}
