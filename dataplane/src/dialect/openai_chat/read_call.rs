//! A call of chat completions.

use super::PARAMS;
use super::details::Detail;
use crate::dialect::call::{
    Amount, CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Reasoning, Role, Source, Thought,
    Tongue, Tool, ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{At, data_url, flag, given, list, object, path, string, whole};
use crate::dialect::pairing::Pairing;
use crate::dialect::proof;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let call = Call { stream: asked.streams, ..Call::default() };
    let mut reader = Reader { call, called: Pairing::default() };
    let (mut functions, mut user) = (None, None);
    for (key, value) in given(asked.body) {
        match key {
            // The vendor is chosen by it before anything is read here.
            b"model" => {}
            b"messages" => reader.messages(value)?,
            b"tools" => reader.tools(value)?,
            b"tool_choice" => reader.tool_choice(value)?,
            b"functions" => functions = Some(value),
            b"function_call" => reader.tool_choice(value)?,
            b"parallel_tool_calls" => reader.call.parallel_tools = Some(flag(value, "parallel_tool_calls")?),
            b"response_format" => reader.format(value)?,
            b"reasoning_effort" => reader.effort(value)?,
            b"reasoning" => reader.reasoning(value)?,
            b"stop" => reader.stop(value)?,
            b"max_tokens" | b"max_completion_tokens" => {
                reader.call.tokens_max = Some(whole(value, "max_completion_tokens")?);
            }
            b"n" => reader.call.choices = Some(whole(value, "n")?).filter(|n| *n != 1),
            b"stream" => reader.call.stream |= value == b"true",
            b"stream_options" => reader.stream_options(value),
            b"store" | b"logprobs" if value == b"false" => {}
            b"top_logprobs" if value == b"0" => {}
            b"service_tier" if value == b"\"auto\"" => {}
            b"modalities" if is_text_alone(value) => {}
            b"logit_bias" | b"metadata" if json::members(value).next().is_none() => {}
            b"thinking" => reader.thinking(value)?,
            b"enable_thinking" => {
                let amount = if flag(value, "enable_thinking")? { Amount::Auto } else { Amount::Off };
                reader.call.reasoning.get_or_insert_default().amount.get_or_insert(amount);
            }
            b"include_reasoning" => {
                reader.call.reasoning.get_or_insert_default().shown = Some(flag(value, "include_reasoning")?);
            }
            b"reasoning_format" if value == b"\"hidden\"" => {
                reader.call.reasoning.get_or_insert_default().shown = Some(false);
            }
            // Thoughts stand apart from the text in our answers, whoever gave them.
            b"reasoning_format" if value == b"\"parsed\"" => {}
            // Not of the language, but of many who speak it.
            b"top_k" => reader.call.params.set(Param::TopK, Json::of(value)),
            b"min_p" => reader.call.params.set(Param::MinP, Json::of(value)),
            // What was used is told at the end of every whole answer.
            b"usage" => reader.usage(value),
            b"safety_identifier" => user = Some(value),
            name if read_param(PARAMS, "", name, value, &mut reader.call.params) => {}
            other => reader.call.unmapped.push(path("", other)),
        }
    }
    if let Some(user) = user {
        reader.call.name_user("safety_identifier", user);
    }
    if let Some(functions) = functions.filter(|_| reader.call.tools.is_empty()) {
        for (place, function) in list(functions, "functions")?.enumerate() {
            let tool = reader.function(function, At::of(b"functions").nth(place))?;
            reader.call.tools.push(tool);
        }
    }
    Ok(reader.call)
}

struct Reader<'a> {
    call: Call<'a>,
    called: Pairing<'a>,
}

impl<'a> Reader<'a> {
    fn lose(&mut self, at: At<'_>, key: &[u8]) {
        self.call.unmapped.push(at.key(key).to_string());
    }

    fn messages(&mut self, messages: &'a [u8]) -> Result<(), Unreadable> {
        for (place, message) in list(messages, "messages")?.enumerate() {
            self.message(message, At::of(b"messages").nth(place))?;
        }
        Ok(())
    }

    fn message(&mut self, message: &'a [u8], at: At<'_>) -> Result<(), Unreadable> {
        object(message, &at)?;
        let said = json::get(message, "role").and_then(json::text).unwrap_or_default();
        let role = match &*said {
            "system" | "developer" => Role::System,
            "user" | "tool" | "function" => Role::User,
            "assistant" => Role::Assistant,
            other => return Err(Unreadable(format!("{at}.role: {other:?} is not known"))),
        };
        let mut parts = Vec::new();
        let (mut name, mut id, mut thoughts, mut calls) = (None, None, Thoughts::default(), Vec::new());
        let mut cache = None;
        for (key, value) in given(message) {
            match key {
                b"role" => {}
                b"content" => self.content(value, at.key(b"content"), &mut parts)?,
                b"refusal" => {
                    let refusal = string(value, &at.key(b"refusal"))?;
                    if !refusal.is_empty() {
                        parts.push(What::Refusal(refusal).into());
                    }
                }
                b"name" => name = Some(string(value, &at.key(b"name"))?),
                b"tool_call_id" => id = Some(string(value, &at.key(b"tool_call_id"))?),
                b"reasoning_content" | b"reasoning" => thoughts.text = Text::of_value(value),
                b"reasoning_details" => thoughts.details = Some(value),
                b"tool_calls" => {
                    for (place, call) in list(value, &at.key(b"tool_calls"))?.enumerate() {
                        calls.push(self.tool_call(call, at.key(b"tool_calls").nth(place))?);
                    }
                }
                b"function_call" => calls.push(self.function_call(value, at.key(b"function_call"))?),
                b"cache_control" => cache = cache_mark(value),
                // Of Mistral's: the answer does not go on from here.
                b"prefix" | b"partial" if value == b"false" => {}
                // What the model showed beside its words; nobody takes it back.
                b"annotations" | b"images" if role == Role::Assistant => {
                    self.call.hint(at.key(key), value);
                }
                b"audio" if role == Role::Assistant && json::members(value).next().is_none() => {}
                other => self.lose(at, other),
            }
        }
        if let (Some(mark), Some(last)) = (cache, parts.last_mut()) {
            last.cache = Some(mark);
        }
        if matches!(&*said, "tool" | "function") {
            // The whole result is cached, or none of it.
            let cache = parts.iter_mut().filter_map(|part| part.cache.take()).last();
            self.tool_result(id, name, parts, cache);
            return Ok(());
        }
        calls.iter().for_each(|call| self.called.called(call.id.clone(), call.name.clone()));
        let mut all = thoughts.parts();
        all.append(&mut parts);
        all.extend(calls.into_iter().map(|call| What::ToolCall(call).into()));
        if !all.is_empty() {
            self.call.turns.push(Turn { role, name, parts: all });
        }
        Ok(())
    }

    /// Results of calls that were made at once are one turn, as they are in other languages.
    fn tool_result(
        &mut self,
        id: Option<Text<'a>>,
        name: Option<Text<'a>>,
        content: Vec<Part<'a>>,
        cache: Option<CacheMark>,
    ) {
        // The older functions have no ids: the name is all there is.
        let id = id.or_else(|| name.clone()).unwrap_or_default();
        let name = name.or_else(|| self.called.name(&id).cloned());
        let what = What::ToolResult(ToolResult { id, name, content, failed: false });
        let result = Part { what, cache };
        let is_results = |turn: &Turn<'_>| {
            turn.role == Role::User && turn.parts.iter().all(|part| matches!(part.what, What::ToolResult(_)))
        };
        match self.call.turns.last_mut().filter(|turn| is_results(turn)) {
            Some(last) => last.parts.push(result),
            None => self.call.turns.push(Turn { role: Role::User, name: None, parts: vec![result] }),
        }
    }

    fn content(&mut self, content: &'a [u8], at: At<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Unreadable> {
        if let Some(text) = Text::of_value(content) {
            if !text.is_empty() {
                parts.push(What::Text(text).into());
            }
            return Ok(());
        }
        for (place, part) in list(content, &at)?.enumerate() {
            let at = at.nth(place);
            object(part, &at)?;
            self.part(part, at, parts)?;
        }
        Ok(())
    }

    fn part(&mut self, part: &'a [u8], at: At<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Unreadable> {
        let kind = json::get(part, "type").and_then(json::text).unwrap_or_default();
        let (mut inside, mut cache) = (None, None);
        for (key, value) in given(part) {
            match key {
                b"type" => {}
                b"cache_control" => cache = cache_mark(value),
                b"annotations" => self.call.hint(at.key(b"annotations"), value),
                name if name == kind.as_bytes() => inside = Some(value),
                other => self.lose(at, other),
            }
        }
        let inside = inside.ok_or_else(|| Unreadable(format!("{at}.{kind} is missing")));
        let what = match &*kind {
            "text" => What::Text(string(inside?, &at.key(b"text"))?),
            "refusal" => What::Refusal(string(inside?, &at.key(b"refusal"))?),
            "image_url" => What::Media(self.image(inside?, at.key(b"image_url"))?),
            "input_audio" => What::Media(self.audio(inside?, at.key(b"input_audio"))?),
            "file" => What::Media(self.file(inside?, at.key(b"file"))?),
            "video_url" => {
                let image = self.image(inside?, at.key(b"video_url"))?;
                What::Media(Media { kind: MediaKind::Video, detail: None, ..image })
            }
            "document_url" => {
                let url = string(inside?, &at.key(b"document_url"))?;
                let source = data_url(&url).unwrap_or(Source::Url { url, mime: None });
                What::Media(Media { kind: MediaKind::Document, source, name: None, detail: None })
            }
            _ => {
                self.call.unmapped.push(format!("{at} of type {kind}"));
                return Ok(());
            }
        };
        if what != What::Text(Text::default()) {
            parts.push(Part { what, cache });
        }
        Ok(())
    }

    fn image(&mut self, image: &'a [u8], at: At<'_>) -> Result<Media<'a>, Unreadable> {
        let (mut url, mut detail) = (Text::of_value(image), None);
        for (key, value) in given(image) {
            match key {
                b"url" => url = Some(string(value, &at.key(b"url"))?),
                b"detail" if value == b"\"auto\"" => {}
                b"detail" => detail = Some(string(value, &at.key(b"detail"))?),
                other => self.lose(at, other),
            }
        }
        let url = url.ok_or_else(|| Unreadable(format!("{at}.url is missing")))?;
        let source = data_url(&url).unwrap_or(Source::Url { url, mime: None });
        Ok(Media { kind: MediaKind::Image, source, name: None, detail })
    }

    fn audio(&mut self, audio: &'a [u8], at: At<'_>) -> Result<Media<'a>, Unreadable> {
        let (mut data, mut format) = (None, Text::default());
        for (key, value) in given(audio) {
            match key {
                b"data" => data = Some(string(value, &at.key(b"data"))?),
                b"format" => format = string(value, &at.key(b"format"))?,
                other => self.lose(at, other),
            }
        }
        let base64 = data.ok_or_else(|| Unreadable(format!("{at}.data is missing")))?;
        let mime = Text::of_plain(match format.raw() {
            b"mp3" => "audio/mpeg",
            b"" | b"wav" => "audio/wav",
            other => return Ok(sound(Text::of_plain(&format!("audio/{}", String::from_utf8_lossy(other))), base64)),
        });
        Ok(sound(mime, base64))
    }

    fn file(&mut self, file: &'a [u8], at: At<'_>) -> Result<Media<'a>, Unreadable> {
        let (mut name, mut source, mut detail) = (None, None, None);
        for (key, value) in given(file) {
            match key {
                b"filename" => name = Some(string(value, &at.key(b"filename"))?),
                b"file_id" => source = Some(Source::Id(string(value, &at.key(b"file_id"))?)),
                b"file_data" => {
                    let data = string(value, &at.key(b"file_data"))?;
                    let plain = |base64| Source::Data { mime: Text::of_plain("application/pdf"), base64 };
                    source = Some(data_url(&data).unwrap_or_else(|| plain(data)));
                }
                b"file_url" => {
                    source = Some(Source::Url { url: string(value, &at.key(b"file_url"))?, mime: None });
                }
                b"detail" if value == b"\"auto\"" => {}
                b"detail" => detail = Some(string(value, &at.key(b"detail"))?),
                // Of some who serve several vendors: the type, which the data itself names.
                b"format" => self.call.hint(at.key(b"format"), value),
                other => self.lose(at, other),
            }
        }
        let source = source.ok_or_else(|| Unreadable(format!("{at}: file_data or file_id is missing")))?;
        let kind = match &source {
            Source::Data { mime, .. } if mime.raw().starts_with(b"image/") => MediaKind::Image,
            Source::Data { mime, .. } if mime.raw().starts_with(b"audio/") => MediaKind::Audio,
            Source::Data { mime, .. } if mime.raw().starts_with(b"video/") => MediaKind::Video,
            _ => MediaKind::Document,
        };
        Ok(Media { kind, source, name, detail })
    }

    fn tool_call(&mut self, call: &'a [u8], at: At<'_>) -> Result<ToolCall<'a>, Unreadable> {
        object(call, &at)?;
        let (mut id, mut function, mut signed) = (Text::default(), None, None);
        for (key, value) in given(call) {
            match key {
                b"id" => id = string(value, &at.key(b"id"))?,
                b"type" if value == b"\"function\"" => {}
                b"function" => function = Some(value),
                b"index" => {}
                // Where Google's callers of this language keep it.
                b"extra_content" => {
                    signed = json::dig(value, &["google", "thought_signature"]).and_then(Text::of_value);
                    if signed.is_none() {
                        self.lose(at, key);
                    }
                }
                other => self.lose(at, other),
            }
        }
        let function = function.ok_or_else(|| Unreadable(format!("{at}.function is missing")))?;
        let mut call = self.function_call(function, at.key(b"function"))?;
        call.id = id;
        call.proof = signed.map(|raw| foreign(raw, Tongue::Generate));
        Ok(call)
    }

    fn function_call(&mut self, function: &'a [u8], at: At<'_>) -> Result<ToolCall<'a>, Unreadable> {
        let (mut name, mut arguments) = (Text::default(), Arguments::InString(Text::default()));
        for (key, value) in given(function) {
            match key {
                b"name" => name = string(value, &at.key(b"name"))?,
                b"arguments" if value.starts_with(b"{") => arguments = Arguments::Object(Json::of(value)),
                b"arguments" => arguments = Arguments::InString(string(value, &at.key(b"arguments"))?),
                other => self.lose(at, other),
            }
        }
        Ok(ToolCall { id: name.clone(), name, arguments, proof: None })
    }

    fn tools(&mut self, tools: &'a [u8]) -> Result<(), Unreadable> {
        for (place, tool) in list(tools, "tools")?.enumerate() {
            let all = At::of(b"tools");
            let at = all.nth(place);
            let kind = json::get(tool, "type").and_then(json::text).unwrap_or_default();
            let function = json::get(tool, "function").filter(|_| kind == "function" || kind.is_empty());
            let Some(function) = function else {
                self.call.unmapped.push(format!("{at} of type {kind}"));
                continue;
            };
            let mut read = self.function(function, at.key(b"function"))?;
            for (key, value) in given(tool) {
                match key {
                    b"type" | b"function" => {}
                    b"cache_control" => read.cache = cache_mark(value),
                    other => self.lose(at, other),
                }
            }
            self.call.tools.push(read);
        }
        Ok(())
    }

    fn function(&mut self, function: &'a [u8], at: At<'_>) -> Result<Tool<'a>, Unreadable> {
        let mut tool = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
        for (key, value) in given(function) {
            match key {
                b"name" => tool.name = string(value, &at.key(b"name"))?,
                b"description" => tool.description = Some(string(value, &at.key(b"description"))?),
                b"parameters" => {
                    object(value, &at.key(b"parameters"))?;
                    tool.schema = Some(Json::of(value));
                }
                b"strict" => tool.strict = Some(flag(value, &at.key(b"strict"))?),
                b"cache_control" => tool.cache = cache_mark(value),
                other => self.lose(at, other),
            }
        }
        if tool.name.is_empty() {
            return Err(Unreadable(format!("{at}.name is missing")));
        }
        Ok(tool)
    }

    fn tool_choice(&mut self, choice: &'a [u8]) -> Result<(), Unreadable> {
        let word = json::text(choice);
        let wrong = || Unreadable("tool_choice must be none, auto, required, or name a function".into());
        self.call.tool_choice = Some(match word.as_deref() {
            Some("none") => ToolChoice::None,
            Some("auto") => ToolChoice::Auto,
            Some("required" | "any") => ToolChoice::Required,
            Some(_) => return Err(wrong()),
            None => match json::get(choice, "type").and_then(json::text).as_deref() {
                Some("allowed_tools") => {
                    let allowed = json::get(choice, "allowed_tools").unwrap_or(choice);
                    let required = json::get(allowed, "mode").is_some_and(|mode| mode == b"\"required\"");
                    let name = |tool| json::dig(tool, &["function", "name"]).or_else(|| json::get(tool, "name"));
                    let tools = json::get(allowed, "tools").unwrap_or_default();
                    let names = json::elements(tools).filter_map(|tool| name(tool).and_then(Text::of_value)).collect();
                    ToolChoice::Among { names, required }
                }
                _ => {
                    let name = json::dig(choice, &["function", "name"]).or_else(|| json::get(choice, "name"));
                    ToolChoice::Named(name.and_then(Text::of_value).ok_or_else(wrong)?)
                }
            },
        });
        Ok(())
    }

    fn format(&mut self, format: &'a [u8]) -> Result<(), Unreadable> {
        object(format, "response_format")?;
        for (key, _) in given(format).filter(|(key, _)| !matches!(*key, b"type" | b"json_schema")) {
            self.lose(At::of(b"response_format"), key);
        }
        let kind = json::get(format, "type").and_then(json::text).unwrap_or_default();
        self.call.format = match &*kind {
            "text" => None,
            "json_object" => Some(Format::Json),
            "json_schema" => {
                let inside = json::get(format, "json_schema").unwrap_or_default();
                let (mut name, mut description, mut schema, mut strict) = (None, None, None, None);
                for (key, value) in given(inside) {
                    match key {
                        b"name" => name = Text::of_value(value),
                        b"description" => description = Text::of_value(value),
                        b"schema" => schema = Some(Json::of(value)),
                        b"strict" => strict = Some(flag(value, "response_format.json_schema.strict")?),
                        other => self.lose(At::of(b"response_format.json_schema"), other),
                    }
                }
                let missing = || Unreadable("response_format.json_schema.schema is missing".into());
                Some(Format::Schema { name, description, schema: schema.ok_or_else(missing)?, strict })
            }
            other => return Err(Unreadable(format!("response_format.type: {other:?} is not known"))),
        };
        Ok(())
    }

    fn effort(&mut self, effort: &[u8]) -> Result<(), Unreadable> {
        let word = json::text(effort).unwrap_or_default();
        let amount = match Effort::parse(&word) {
            Some(effort) => Amount::Effort(effort),
            None if word == "none" => Amount::Off,
            None => return Err(Unreadable(format!("reasoning_effort: {word:?} is not known"))),
        };
        let reasoning = self.call.reasoning.get_or_insert_default();
        reasoning.amount = Some(amount);
        Ok(())
    }

    /// As those who serve several vendors in this language have it: `{"effort": …}` or `{"max_tokens": …}`.
    fn reasoning(&mut self, reasoning: &'a [u8]) -> Result<(), Unreadable> {
        object(reasoning, "reasoning")?;
        for (key, value) in given(reasoning) {
            let mut read = self.call.reasoning.unwrap_or_default();
            match key {
                b"effort" => {
                    self.effort(value)?;
                    continue;
                }
                b"max_tokens" => read.amount = Some(Amount::Tokens(whole(value, "reasoning.max_tokens")?)),
                b"exclude" => read.shown = Some(!flag(value, "reasoning.exclude")?),
                b"enabled" if read.amount.is_none() => {
                    let enabled = flag(value, "reasoning.enabled")?;
                    read.amount = Some(if enabled { Amount::Auto } else { Amount::Off });
                }
                b"enabled" => {}
                other => self.lose(At::of(b"reasoning"), other),
            }
            self.call.reasoning = Some(Reasoning { ..read });
        }
        Ok(())
    }

    /// As Anthropic says it, and vendors of this language who learned it there.
    fn thinking(&mut self, thinking: &'a [u8]) -> Result<(), Unreadable> {
        object(thinking, "thinking")?;
        let mut amount = None;
        for (key, value) in given(thinking) {
            match key {
                b"type" => {
                    let said = match value {
                        b"\"enabled\"" | b"\"adaptive\"" | b"\"auto\"" => Amount::Auto,
                        b"\"disabled\"" => Amount::Off,
                        _ => return Err(Unreadable("thinking.type must be enabled or disabled".into())),
                    };
                    amount.get_or_insert(said);
                }
                b"budget_tokens" => amount = Some(Amount::Tokens(whole(value, "thinking.budget_tokens")?)),
                other => self.lose(At::of(b"thinking"), other),
            }
        }
        // Who names an effort as well means that.
        let reasoning = self.call.reasoning.get_or_insert_default();
        reasoning.amount = match reasoning.amount {
            Some(Amount::Effort(effort)) => Some(Amount::Effort(effort)),
            _ => amount,
        };
        Ok(())
    }

    fn usage(&mut self, usage: &'a [u8]) {
        for (key, value) in given(usage) {
            match key {
                b"include" => self.call.usage_asked |= value == b"true",
                other => self.lose(At::of(b"usage"), other),
            }
        }
    }

    fn stop(&mut self, stop: &'a [u8]) -> Result<(), Unreadable> {
        if let Some(one) = Text::of_value(stop) {
            self.call.stop.push(one);
            return Ok(());
        }
        for one in list(stop, "stop")? {
            self.call.stop.push(string(one, "stop")?);
        }
        Ok(())
    }

    fn stream_options(&mut self, options: &'a [u8]) {
        for (key, value) in given(options) {
            match key {
                b"include_usage" => self.call.usage_asked = value == b"true",
                // A filler against eavesdroppers, which our own answers do without.
                b"include_obfuscation" => self.call.hint("stream_options.include_obfuscation", value),
                other => self.lose(At::of(b"stream_options"), other),
            }
        }
    }
}

/// What an assistant's message brings back of its thoughts.
#[derive(Default)]
struct Thoughts<'a> {
    text: Option<Text<'a>>,
    details: Option<&'a [u8]>,
}

impl<'a> Thoughts<'a> {
    fn parts(self) -> Vec<Part<'a>> {
        let details: Vec<_> = self.details.into_iter().flat_map(json::elements).filter_map(detail).collect();
        if details.is_empty() {
            let text = self.text.filter(|text| !text.is_empty());
            return text.map(|text| What::Reasoning(Thought { text, proof: None }).into()).into_iter().collect();
        }
        details.into_iter().map(|thought| What::Reasoning(thought).into()).collect()
    }
}

fn detail(entry: &[u8]) -> Option<Thought<'_>> {
    let Detail { text, proof } = Detail::read(entry);
    (!text.is_empty() || proof.is_some()).then_some(Thought { text, proof })
}

/// Whose it is, when it says so; otherwise it is of this language.
fn foreign(raw: Text<'_>, otherwise: Tongue) -> Proof<'_> {
    let read = proof::unwrap(raw.raw(), otherwise, false);
    let (of, sealed) = (read.of, read.sealed);
    let skipped = raw.raw().len() - read.data.raw().len();
    Proof { of, sealed, data: raw.without_front(skipped) }
}

fn sound<'a>(mime: Text<'a>, base64: Text<'a>) -> Media<'a> {
    Media { kind: MediaKind::Audio, source: Source::Data { mime, base64 }, name: None, detail: None }
}

fn cache_mark(value: &[u8]) -> Option<CacheMark> {
    let hour = json::get(value, "ttl").is_some_and(|ttl| ttl == b"\"1h\"");
    Some(if hour { CacheMark::OneHour } else { CacheMark::FiveMinutes })
}

fn is_text_alone(modalities: &[u8]) -> bool {
    json::elements(modalities).all(|one| one == b"\"text\"")
}
