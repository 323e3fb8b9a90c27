//! A call of OpenAI's responses: a list of items, where the other languages have messages with parts.

use super::PARAMS;
use super::carried::{self, Carried};
use super::freeform;
use crate::dialect::call::{
    Amount, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Reasoning, Role, Source, Space, Thought, Tool,
    ToolCall, ToolChoice, ToolResult, Turn, What,
};
use crate::dialect::given::{data_url, flag, given, list, object, string, whole};
use crate::dialect::pairing::Pairing;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let call = Call { stream: asked.streams, usage_asked: true, ..Call::default() };
    let mut reader = Reader { call, pending: None, called: Pairing::default() };
    let (mut instructions, mut user) = (None, None);
    // What items call by two names, tools have declared.
    if let Some(tools) = json::get(asked.body, "tools").filter(|tools| *tools != b"null") {
        reader.tools(tools)?;
    }
    for (key, value) in given(asked.body) {
        match key {
            b"input" => reader.input(value)?,
            b"instructions" => instructions = Some(string(value, "instructions")?),
            b"tools" => {}
            b"tool_choice" => reader.tool_choice(value)?,
            b"parallel_tool_calls" => reader.call.parallel_tools = Some(flag(value, "parallel_tool_calls")?),
            b"text" => reader.text(value)?,
            b"reasoning" => reader.reasoning(value)?,
            b"max_output_tokens" => reader.call.tokens_max = Some(whole(value, "max_output_tokens")?),
            b"include" => {
                for (place, wanted) in list(value, "include")?.enumerate() {
                    match wanted {
                        // Given anyhow, since nothing is stored.
                        b"\"reasoning.encrypted_content\"" => {}
                        b"\"message.output_text.logprobs\"" => {
                            reader.call.params.set(Param::Logprobs, Json::of(b"true"));
                        }
                        other => {
                            let other = string(other, "include")?;
                            reader.call.unmapped.push(format!("include[{place}]: {}", other.plain()));
                        }
                    }
                }
            }
            b"safety_identifier" => user = Some(value),
            b"stream" => reader.call.stream |= value == b"true",
            // The path of the request is chosen by it before anything is read here.
            b"model" => {}
            // Nothing is stored either way; a caller who goes on from what was stored says so, and is refused. How a stream
            // is padded, and which of its installations a program is, are of no answer.
            b"store" | b"stream_options" | b"client_metadata" => {
                reader.call.hint(String::from_utf8_lossy(key), value);
            }
            b"truncation" if value == b"\"disabled\"" => {}
            b"top_logprobs" if value == b"0" => {}
            // Who wants to know which others there were wants to know.
            b"top_logprobs" => {
                reader.call.params.set(Param::Logprobs, Json::of(b"true"));
                reader.call.params.set(Param::TopLogprobs, Json::of(value));
            }
            b"metadata" if value == b"{}" => {}
            name if read_param(PARAMS, "", name, value, &mut reader.call.params) => {}
            _ => reader.unmapped("", key, value),
        }
    }
    if let Some(user) = user {
        reader.call.name_user("safety_identifier", user);
    }
    if let Some(text) = instructions.filter(|text| !text.is_empty()) {
        let parts = vec![What::Text(text).into()];
        reader.call.turns.insert(0, Turn { role: Role::System, name: None, parts });
    }
    Ok(reader.call)
}

struct Reader<'a> {
    call: Call<'a>,
    /// The proof of the call that comes next.
    pending: Option<Proof<'a>>,
    called: Pairing<'a>,
}

impl<'a> Reader<'a> {
    fn input(&mut self, input: &'a [u8]) -> Result<(), Unreadable> {
        if let Some(text) = Text::of_value(input) {
            if !text.is_empty() {
                self.say(Role::User, vec![What::Text(text).into()]);
            }
            return Ok(());
        }
        if !input.starts_with(b"[") {
            return Err(Unreadable("input must be a string or a list".into()));
        }
        for (place, item) in json::elements(input).enumerate() {
            self.item(item, &format!("input[{place}]"))?;
        }
        Ok(())
    }

    fn item(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        object(item, at)?;
        let kind = json::get(item, "type").and_then(json::text);
        match kind.as_deref() {
            // Messages in short have no type.
            None | Some("message") => self.message(item, at),
            Some("function_call") => self.tool_call(item, at),
            Some("custom_tool_call") => self.freeform_call(item, at),
            Some("function_call_output" | "custom_tool_call_output") => self.result(item, at),
            Some("reasoning") => self.thought(item, at),
            Some("image_generation_call") => self.image_made(item, at),
            // Steps of tools that their vendor runs or that have no schema, and references to what was stored.
            Some(other) => {
                self.call.unmapped.push(format!("{at}.{other}"));
                Ok(())
            }
        }
    }

    fn message(&mut self, message: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let role = match json::get(message, "role").and_then(json::text).as_deref() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            other => return Err(Unreadable(format!("{at}.role: {:?} is not known", other.unwrap_or_default()))),
        };
        let mut parts = Vec::new();
        for (key, value) in given(message) {
            match key {
                b"content" => parts = self.content(value, &format!("{at}.content"))?,
                b"type" | b"role" => {}
                b"id" | b"status" => self.stored(key),
                // Which of its texts the model meant as the last one.
                b"phase" => self.call.hint(format_args!("{at}.phase"), value),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if !parts.is_empty() {
            self.say(role, parts);
        }
        Ok(())
    }

    /// What an item is called in a store and what became of it there: of no answer, and said in every one that comes back.
    fn stored(&mut self, member: &[u8]) {
        let hint = if member == b"id" { "ids of items" } else { "states of items" };
        if self.call.hints.iter().all(|known| known != hint) {
            self.call.hints.push(hint.to_owned());
        }
    }

    /// What the model said and did at once is one turn, and so are the results that it gets at once.
    fn say(&mut self, role: Role, mut parts: Vec<Part<'a>>) {
        if role != Role::Assistant {
            self.pending = None;
        }
        let joins = |turn: &&mut Turn<'a>| match role {
            Role::Assistant => turn.role == Role::Assistant,
            Role::User => turn.role == Role::User && are_results(&turn.parts) && are_results(&parts),
            Role::System => false,
        };
        match self.call.turns.last_mut().filter(joins) {
            Some(turn) => turn.parts.append(&mut parts),
            None => self.call.turns.push(Turn { role, name: None, parts }),
        }
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
        let words = |key: &'static str| {
            let value = json::get(part, key).ok_or_else(|| Unreadable(format!("{at}.{key} is missing")))?;
            string(value, &format!("{at}.{key}"))
        };
        let (known, what): (&[&str], _) = match &*kind {
            "input_text" | "output_text" | "text" => (&["text", "annotations", "logprobs"], What::Text(words("text")?)),
            "refusal" => (&["refusal"], What::Refusal(words("refusal")?)),
            "input_image" => (&["image_url", "file_id", "detail"], What::Media(image(part, at)?)),
            "input_file" => (&["file_id", "file_url", "file_data", "filename", "detail"], What::Media(file(part, at)?)),
            "input_audio" => (&["input_audio"], What::Media(self.audio(part, at)?)),
            other => {
                self.call.unmapped.push(format!("{at}.{other}"));
                return Ok(None);
            }
        };
        for (key, value) in given(part) {
            // What the model said of its own words.
            if matches!(key, b"annotations" | b"logprobs") && known.contains(&"annotations") {
                self.call.hint(format_args!("{at}.{}", String::from_utf8_lossy(key)), value);
            } else if key != b"type" && !known.iter().any(|name| name.as_bytes() == key) {
                self.unmapped(&format!("{at}."), key, value);
            }
        }
        let is_empty = matches!(&what, What::Text(text) | What::Refusal(text) if text.is_empty());
        Ok((!is_empty).then_some(what))
    }

    fn audio(&mut self, part: &'a [u8], at: &str) -> Result<Media<'a>, Unreadable> {
        let (mut data, mut mime) = (None, None);
        for (key, value) in given(json::get(part, "input_audio").unwrap_or_default()) {
            match key {
                b"data" => data = Some(string(value, at)?),
                b"format" => {
                    mime = Some(match string(value, at)?.raw() {
                        b"mp3" => Text::of_raw(b"audio/mpeg"),
                        other => Text::of_raw_owned([b"audio/", other].concat()),
                    });
                }
                _ => self.unmapped(&format!("{at}.input_audio."), key, value),
            }
        }
        let base64 = data.ok_or_else(|| Unreadable(format!("{at}.input_audio.data is missing")))?;
        let mime = mime.unwrap_or_else(|| Text::of_raw(b"audio/wav"));
        Ok(Media { kind: MediaKind::Audio, source: Source::Data { mime, base64 }, name: None, detail: None })
    }

    fn tool_call(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut id, mut name, mut space, mut arguments) = (None, None, None, Text::default());
        for (key, value) in given(item) {
            match key {
                b"call_id" => id = Some(string(value, at)?),
                b"name" => name = Some(string(value, at)?),
                b"namespace" => space = Some(string(value, at)?),
                b"arguments" => arguments = string(value, at)?,
                b"type" => {}
                b"id" | b"status" => self.stored(key),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let id = id.ok_or_else(|| Unreadable(format!("{at}.call_id is missing")))?;
        let name = name.ok_or_else(|| Unreadable(format!("{at}.name is missing")))?;
        let name = space.map_or_else(|| name.clone(), |space| flat(&space, &name));
        let arguments = Arguments::InString(arguments);
        self.called.called(id.clone(), name.clone());
        let call = ToolCall { id, name, arguments, proof: self.pending.take() };
        self.say(Role::Assistant, vec![What::ToolCall(call).into()]);
        Ok(())
    }

    fn freeform_call(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut id, mut name, mut input) = (None, None, Text::default());
        for (key, value) in given(item) {
            match key {
                b"call_id" => id = Some(string(value, at)?),
                b"name" => name = Some(string(value, at)?),
                b"input" => input = string(value, at)?,
                b"type" => {}
                b"id" | b"status" => self.stored(key),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let id = id.ok_or_else(|| Unreadable(format!("{at}.call_id is missing")))?;
        let name = name.ok_or_else(|| Unreadable(format!("{at}.name is missing")))?;
        self.called.called(id.clone(), name.clone());
        let call = ToolCall { id, name, arguments: freeform::arguments(&input), proof: self.pending.take() };
        self.say(Role::Assistant, vec![What::ToolCall(call).into()]);
        Ok(())
    }

    fn result(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut id, mut content) = (None, Vec::new());
        for (key, value) in given(item) {
            match key {
                b"call_id" => id = Some(string(value, at)?),
                b"output" => content = self.content(value, &format!("{at}.output"))?,
                b"type" => {}
                b"id" | b"status" => self.stored(key),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let id = id.ok_or_else(|| Unreadable(format!("{at}.call_id is missing")))?;
        let name = self.called.name(&id).cloned();
        self.say(Role::User, vec![What::ToolResult(ToolResult { id, name, content, failed: false }).into()]);
        Ok(())
    }

    /// Summaries of one thought, or the thought itself where nobody summed it up.
    fn thought(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut id, mut encrypted, mut summary, mut content) = (&b""[..], None, Vec::new(), Vec::new());
        for (key, value) in given(item) {
            match key {
                b"id" => id = json::inner(value),
                b"encrypted_content" => encrypted = Some(string(value, at)?),
                b"summary" => summary = texts(value),
                b"content" => content = texts(value),
                b"type" => {}
                b"status" => self.stored(key),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let text = joined(if summary.is_empty() { &content } else { &summary });
        let raw = json::get(item, "encrypted_content").map(json::inner).filter(|_| encrypted.is_some());
        let proof = match raw.filter(|raw| !raw.is_empty()).map(|raw| carried::read(id, raw, !text.is_empty())) {
            Some(Carried::Call(proof)) => {
                self.pending = Some(proof);
                None
            }
            Some(Carried::Thought(proof)) => Some(proof),
            None => None,
        };
        if !id.is_empty() && raw.is_none() {
            self.stored(b"id");
        }
        if !text.is_empty() || proof.is_some() {
            self.say(Role::Assistant, vec![What::Reasoning(Thought { text, proof }).into()]);
        }
        Ok(())
    }

    /// A picture that the model made is what it said.
    fn image_made(&mut self, item: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let Some(base64) = json::get(item, "result").and_then(Text::of_value).filter(|data| !data.is_empty()) else {
            self.call.unmapped.push(format!("{at}.image_generation_call"));
            return Ok(());
        };
        for (key, value) in given(item) {
            match key {
                b"type" | b"result" | b"output_format" => {}
                b"id" | b"status" => self.stored(key),
                // How it was made: what was made is all that another model can see.
                _ => self.call.hint(format_args!("{at}.{}", String::from_utf8_lossy(key)), value),
            }
        }
        let format = json::get(item, "output_format").and_then(Text::of_value);
        let mime = image_mime(format.as_ref().map_or(b"png", Text::raw));
        let media = Media { kind: MediaKind::Image, source: Source::Data { mime, base64 }, name: None, detail: None };
        self.say(Role::Assistant, vec![What::Media(media).into()]);
        Ok(())
    }

    fn tools(&mut self, tools: &'a [u8]) -> Result<(), Unreadable> {
        for (place, tool) in list(tools, "tools")?.enumerate() {
            let at = format!("tools[{place}]");
            object(tool, &at)?;
            let kind = json::get(tool, "type").and_then(json::text).unwrap_or_default();
            match &*kind {
                "function" => {
                    let tool = self.tool(tool, &at)?;
                    self.call.tools.push(tool);
                }
                "custom" => self.freeform(tool, &at)?,
                "namespace" => self.space(tool, &at)?,
                // A search that may not leave its vendor's own index finds nothing that another vendor could.
                "web_search" if json::get(tool, "external_web_access") == Some(b"false") => {
                    self.call.hint(format_args!("{at}.web_search"), tool);
                }
                // Tools that the vendor runs.
                other => {
                    let name = json::get(tool, "name").and_then(json::text);
                    let name = name.map(|name| format!(".{name}")).unwrap_or_default();
                    self.call.unmapped.push(format!("{at}.{other}{name}"));
                }
            }
        }
        Ok(())
    }

    fn tool(&mut self, tool: &'a [u8], at: &str) -> Result<Tool<'a>, Unreadable> {
        let mut read = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
        for (key, value) in given(tool) {
            match key {
                b"type" => {}
                b"name" => read.name = string(value, at)?,
                b"description" => read.description = Some(string(value, at)?),
                b"parameters" => {
                    object(value, &format!("{at}.parameters"))?;
                    read.schema = Some(Json::of(value));
                }
                b"strict" => read.strict = Some(value == b"true"),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if read.name.is_empty() { Err(Unreadable(format!("{at}.name is missing"))) } else { Ok(read) }
    }

    fn freeform(&mut self, tool: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut name, mut description, mut format) = (Text::default(), None, None);
        for (key, value) in given(tool) {
            match key {
                b"type" => {}
                b"name" => name = string(value, at)?,
                b"description" => description = Some(string(value, at)?),
                b"format" => format = Some(value),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if name.is_empty() {
            return Err(Unreadable(format!("{at}.name is missing")));
        }
        self.call.freeform.push(name.clone());
        self.call.tools.push(freeform::tool(name, description, format));
        Ok(())
    }

    /// Tools that stand together under a name and a description of their own.
    fn space(&mut self, space: &'a [u8], at: &str) -> Result<(), Unreadable> {
        let (mut name, mut description, mut tools) = (Text::default(), None, &b""[..]);
        for (key, value) in given(space) {
            match key {
                b"type" => {}
                b"name" => name = string(value, at)?,
                b"description" => description = Some(string(value, at)?).filter(|text| !text.is_empty()),
                b"tools" => tools = value,
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        for (place, tool) in json::elements(tools).enumerate() {
            let at = format!("{at}.tools[{place}]");
            object(tool, &at)?;
            if json::get(tool, "type") != Some(b"\"function\"") {
                let kind = json::get(tool, "type").and_then(json::text).unwrap_or_default();
                self.call.unmapped.push(format!("{at}.{kind}"));
                continue;
            }
            let mut tool = self.tool(tool, &at)?;
            let of_all = description.iter();
            tool.description = joined_or_none(of_all.chain(tool.description.as_ref()));
            let short = std::mem::take(&mut tool.name);
            tool.name = flat(&name, &short);
            self.call.spaces.push(Space { flat: tool.name.clone(), space: name.clone(), name: short });
            self.call.tools.push(tool);
        }
        Ok(())
    }

    fn tool_choice(&mut self, choice: &'a [u8]) -> Result<(), Unreadable> {
        if let Some(word) = json::text(choice) {
            self.call.tool_choice = Some(match &*word {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                other => return Err(Unreadable(format!("tool_choice: {other:?} is not known"))),
            });
            return Ok(());
        }
        object(choice, "tool_choice")?;
        let kind = json::get(choice, "type").and_then(json::text).unwrap_or_default();
        match &*kind {
            "function" | "custom" => {
                let name = self.chosen(choice, "tool_choice")?;
                self.call.tool_choice = Some(ToolChoice::Named(name));
            }
            "allowed_tools" => {
                let (mut names, mut required) = (Vec::new(), false);
                for (key, value) in given(choice) {
                    match key {
                        b"type" => {}
                        b"mode" => required = value == b"\"required\"",
                        b"tools" => {
                            for (place, tool) in json::elements(value).enumerate() {
                                let at = format!("tool_choice.tools[{place}]");
                                object(tool, &at)?;
                                if matches!(json::get(tool, "type"), Some(b"\"function\"" | b"\"custom\"")) {
                                    names.push(self.chosen(tool, &at)?);
                                } else {
                                    self.call.unmapped.push(at);
                                }
                            }
                        }
                        _ => self.unmapped("tool_choice.", key, value),
                    }
                }
                self.call.tool_choice = Some(ToolChoice::Among { names, required });
            }
            other => self.call.unmapped.push(format!("tool_choice.{other}")),
        }
        Ok(())
    }

    fn chosen(&mut self, choice: &'a [u8], at: &str) -> Result<Text<'a>, Unreadable> {
        let (mut name, mut space) = (None, None);
        for (key, value) in given(choice) {
            match key {
                b"type" => {}
                b"name" => name = Some(string(value, at)?),
                b"namespace" => space = Some(string(value, at)?),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let name = name.ok_or_else(|| Unreadable(format!("{at}.name is missing")))?;
        Ok(space.map_or_else(|| name.clone(), |space| flat(&space, &name)))
    }

    fn text(&mut self, text: &'a [u8]) -> Result<(), Unreadable> {
        object(text, "text")?;
        for (key, value) in given(text) {
            match key {
                b"format" => self.format(value)?,
                name if read_param(PARAMS, "text.", name, value, &mut self.call.params) => {}
                _ => self.unmapped("text.", key, value),
            }
        }
        Ok(())
    }

    fn format(&mut self, format: &'a [u8]) -> Result<(), Unreadable> {
        object(format, "text.format")?;
        let (mut kind, mut name, mut description, mut schema, mut strict) = (None, None, None, None, None);
        for (key, value) in given(format) {
            match key {
                b"type" => kind = json::text(value),
                b"name" => name = Some(string(value, "text.format.name")?),
                b"description" => description = Some(string(value, "text.format.description")?),
                b"schema" => schema = Some(Json::of(value)),
                b"strict" => strict = Some(value == b"true"),
                _ => self.unmapped("text.format.", key, value),
            }
        }
        self.call.format = match (kind.as_deref(), schema) {
            (Some("text"), _) => Some(Format::Text),
            (Some("json_object"), _) => Some(Format::Json),
            (Some("json_schema"), Some(schema)) => Some(Format::Schema { name, description, schema, strict }),
            (Some("json_schema"), None) => return Err(Unreadable("text.format.schema is missing".into())),
            _ => return Err(Unreadable("text.format.type must be text, json_object or json_schema".into())),
        };
        Ok(())
    }

    fn reasoning(&mut self, reasoning: &'a [u8]) -> Result<(), Unreadable> {
        object(reasoning, "reasoning")?;
        let mut read = Reasoning::default();
        for (key, value) in given(reasoning) {
            match key {
                b"effort" => {
                    let word = json::text(value).unwrap_or_default();
                    read.amount = Some(match Effort::parse(&word) {
                        Some(effort) => Amount::Effort(effort),
                        None if word == "none" => Amount::Off,
                        None => return Err(Unreadable(format!("reasoning.effort: {word:?} is not known"))),
                    });
                }
                // How long a summary is, is its vendor's business.
                b"summary" | b"generate_summary" => {
                    read.shown = Some(value != b"\"none\"");
                    if !matches!(value, b"\"none\"" | b"\"auto\"") {
                        self.call.hint("reasoning.summary", value);
                    }
                }
                _ => self.unmapped("reasoning.", key, value),
            }
        }
        if read != Reasoning::default() {
            self.call.reasoning = Some(read);
        }
        Ok(())
    }

    /// Names a member that the middle language has no word for, unless it says nothing.
    fn unmapped(&mut self, at: &str, key: &[u8], value: &[u8]) {
        if !matches!(value, b"false" | b"\"\"" | b"[]" | b"{}") {
            self.call.unmapped.push(format!("{at}{}", String::from_utf8_lossy(key)));
        }
    }
}

fn are_results(parts: &[Part<'_>]) -> bool {
    parts.iter().all(|part| matches!(part.what, What::ToolResult(_)))
}

/// A name in two parts as one. Some namespaces bring the underscores along.
fn flat<'a>(space: &Text<'_>, name: &Text<'_>) -> Text<'a> {
    let between: &[u8] = if space.raw().ends_with(b"__") || space.is_empty() { b"" } else { b"__" };
    Text::of_raw_owned([space.raw(), between, name.raw()].concat())
}

/// The texts of a list of parts.
fn texts(parts: &[u8]) -> Vec<Text<'_>> {
    json::elements(parts).filter_map(|part| json::get(part, "text").and_then(Text::of_value)).collect()
}

/// Paragraphs.
pub const BETWEEN_TEXTS: &[u8] = br"\n\n";

fn joined<'a>(texts: &[Text<'a>]) -> Text<'a> {
    match texts {
        [] => Text::default(),
        [only] => only.clone(),
        _ => Text::of_raw_owned(texts.iter().map(Text::raw).collect::<Vec<_>>().join(BETWEEN_TEXTS)),
    }
}

fn joined_or_none<'t, 'a: 't>(texts: impl Iterator<Item = &'t Text<'a>>) -> Option<Text<'a>> {
    let texts: Vec<Text<'a>> = texts.filter(|text| !text.is_empty()).cloned().collect();
    (!texts.is_empty()).then(|| joined(&texts))
}

fn image<'a>(part: &'a [u8], at: &str) -> Result<Media<'a>, Unreadable> {
    let words = |key| json::get(part, key).and_then(Text::of_value);
    let source = match (words("image_url"), words("file_id")) {
        (Some(url), _) => data_url(&url).unwrap_or(Source::Url { url, mime: None }),
        (None, Some(id)) => Source::Id(id),
        (None, None) => return Err(Unreadable(format!("{at}.image_url is missing"))),
    };
    let detail = words("detail").filter(|detail| detail.raw() != b"auto");
    Ok(Media { kind: MediaKind::Image, source, name: None, detail })
}

fn file<'a>(part: &'a [u8], at: &str) -> Result<Media<'a>, Unreadable> {
    let words = |key| json::get(part, key).and_then(Text::of_value);
    let name = words("filename");
    let source = match (words("file_data"), words("file_url"), words("file_id")) {
        (Some(data), _, _) => data_url(&data).unwrap_or_else(|| {
            let is_text = name.as_ref().is_some_and(|name| name.raw().ends_with(b".txt"));
            let mime = Text::of_raw(if is_text { b"text/plain" } else { b"application/pdf" });
            Source::Data { mime, base64: data }
        }),
        (None, Some(url), _) => Source::Url { url, mime: None },
        (None, None, Some(id)) => Source::Id(id),
        _ => return Err(Unreadable(format!("{at}.file_data is missing"))),
    };
    let detail = words("detail").filter(|detail| detail.raw() != b"auto");
    Ok(Media { kind: MediaKind::Document, source, name, detail })
}

pub fn image_mime<'a>(format: &[u8]) -> Text<'a> {
    Text::of_raw_owned([b"image/", format].concat())
}
