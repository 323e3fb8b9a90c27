//! A generateContent body. Google's parsers take camelCase and snake_case, and one thing where a list belongs; its SDKs send
//! both, and one content for every chunk that they were streamed.

use super::media::{is_kept_by_google, kind_of};
use super::{PARAMS, camel, schema, signature};
use crate::dialect::call::{
    Call, Media, MediaKind, Part, Role, Source, Thought, Tool, ToolCall, ToolResult, Turn, What,
};
use crate::dialect::given::{given, object};
use crate::dialect::pairing::Pairing;
use crate::dialect::speech::{Asked, Unreadable, read_param};
use crate::dialect::text::{Arguments, Json, Text, escape_json};
use crate::wire::json;

pub fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
    let mut reader = Reader { call: Call { stream: asked.streams, ..Call::default() }, called: Pairing::default() };
    let mut system = None;
    for (key, value) in given(asked.body) {
        match &*camel(key) {
            b"contents" => reader.contents(value)?,
            b"systemInstruction" => system = Some(reader.system(value)?),
            b"tools" => reader.tools(value)?,
            b"toolConfig" => reader.tool_config(value)?,
            b"generationConfig" => reader.generation_config(value)?,
            b"serviceTier" => reader.service_tier(key, value),
            // The path names it; some programs say it twice.
            b"model" => {}
            // LangChain says it in every call; a list of no settings sets nothing.
            b"safetySettings" if value == b"[]" => {}
            name if read_param(PARAMS, "", name, value, &mut reader.call.params) => {}
            _ => reader.unmapped("", key, value),
        }
    }
    if let Some(turn) = system.filter(|turn| !turn.parts.is_empty()) {
        reader.call.turns.insert(0, turn);
    }
    Ok(reader.call)
}

pub struct Reader<'a> {
    pub call: Call<'a>,
    /// Every function call so far: results that name no id are paired with these, by name and order.
    called: Pairing<'a>,
}

impl<'a> Reader<'a> {
    fn contents(&mut self, contents: &'a [u8]) -> Result<(), Unreadable> {
        for (place, content) in list(contents).enumerate() {
            let at = format!("contents[{place}]");
            let (role, parts) = self.content(content, &at)?;
            let role = match role.as_deref() {
                None | Some("user" | "function" | "tool") => Role::User,
                Some("model" | "assistant") => Role::Assistant,
                Some("system") => Role::System,
                Some(other) => return Err(Unreadable(format!("{at}.role: {other:?} is not known"))),
            };
            let joined =
                role == Role::Assistant && self.call.turns.last().is_some_and(|turn| turn.role == Role::Assistant);
            let mut turn = match joined.then(|| self.call.turns.pop()).flatten() {
                Some(turn) => turn,
                None => Turn { role, name: None, parts: Vec::new() },
            };
            for (place, part) in parts.into_iter().flat_map(list).enumerate() {
                self.part(part, &format!("{at}.parts[{place}]"), &mut turn)?;
            }
            if !turn.parts.is_empty() {
                self.call.turns.push(turn);
            }
        }
        Ok(())
    }

    /// The role and the parts of one.
    fn content(&mut self, content: &'a [u8], at: &str) -> Result<(Option<String>, Option<&'a [u8]>), Unreadable> {
        object(content, at)?;
        let (mut role, mut parts) = (None, None);
        for (key, value) in given(content) {
            match &*camel(key) {
                b"role" => role = json::text(value).map(|role| role.into_owned()).filter(|role| !role.is_empty()),
                b"parts" => parts = Some(value),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        Ok((role, parts))
    }

    fn system(&mut self, value: &'a [u8]) -> Result<Turn<'a>, Unreadable> {
        let mut turn = Turn { role: Role::System, name: None, parts: Vec::new() };
        if let Some(text) = Text::of_value(value) {
            turn.parts.push(What::Text(text).into());
            return Ok(turn);
        }
        let at = "systemInstruction";
        let (_, parts) = self.content(value, at)?;
        for (place, part) in parts.into_iter().flat_map(list).enumerate() {
            self.part(part, &format!("{at}.parts[{place}]"), &mut turn)?;
        }
        Ok(turn)
    }

    fn part(&mut self, part: &'a [u8], at: &str, turn: &mut Turn<'a>) -> Result<(), Unreadable> {
        object(part, at)?;
        let (mut text, mut thought, mut signed, mut what) = (None, false, None, None);
        for (key, value) in given(part) {
            match &*camel(key) {
                b"text" => text = Some(string(value, at, "text")?),
                b"thought" => thought = value == b"true",
                b"thoughtSignature" => {
                    let raw = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
                    signed = raw.filter(|raw| !raw.is_empty()).map(signature::read);
                }
                b"inlineData" => what = Some(What::Media(self.media(value, &format!("{at}.inlineData"))?)),
                b"fileData" => what = Some(What::Media(self.media(value, &format!("{at}.fileData"))?)),
                b"functionCall" => {
                    what = Some(What::ToolCall(self.function_call(value, &format!("{at}.functionCall"))?))
                }
                b"functionResponse" => {
                    what = Some(What::ToolResult(self.function_response(value, &format!("{at}.functionResponse"))?));
                }
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let parts = &mut turn.parts;
        if let Some(What::ToolCall(mut call)) = what {
            call.proof = signed;
            parts.push(What::ToolCall(call).into());
            return Ok(());
        }
        match text {
            Some(text) if thought => push_thought(parts, Thought { text, proof: signed.take() }),
            Some(text) if !text.is_empty() => match parts.last_mut() {
                Some(Part { what: What::Text(last), .. }) if turn.role == Role::Assistant => last.append(text.raw()),
                _ => parts.push(What::Text(text).into()),
            },
            _ => {}
        }
        parts.extend(what.map(Part::from));
        // A signature on anything but a thought or a call: beside it, as a thought without words.
        if let Some(proof) = signed {
            parts.push(What::Reasoning(Thought { text: Text::default(), proof: Some(proof) }).into());
        }
        Ok(())
    }

    fn media(&mut self, value: &'a [u8], at: &str) -> Result<Media<'a>, Unreadable> {
        object(value, at)?;
        let (mut mime, mut data, mut uri, mut name) = (None, None, None, None);
        for (key, value) in given(value) {
            match &*camel(key) {
                b"mimeType" => mime = Some(string(value, at, "mimeType")?),
                b"data" => data = Some(string(value, at, "data")?),
                b"fileUri" => uri = Some(string(value, at, "fileUri")?),
                b"displayName" => name = Some(string(value, at, "displayName")?),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        let kind = mime.as_ref().map_or(MediaKind::Document, |mime| kind_of(&mime.plain()));
        let source = match (data, uri) {
            (Some(data), _) => {
                let base64 = signature::standard(data.raw()).map(Text::of_raw_owned).unwrap_or(data);
                Source::Data { mime: mime.unwrap_or_default(), base64 }
            }
            (None, Some(uri)) if is_kept_by_google(&uri.plain()) => Source::Id(uri),
            (None, Some(uri)) => Source::Url { url: uri, mime },
            (None, None) => return Err(Unreadable(format!("{at}: neither data nor fileUri"))),
        };
        Ok(Media { kind, source, name, detail: None })
    }

    fn function_call(&mut self, value: &'a [u8], at: &str) -> Result<ToolCall<'a>, Unreadable> {
        object(value, at)?;
        let (mut id, mut name, mut args) = (Text::default(), Text::default(), None);
        for (key, value) in given(value) {
            match &*camel(key) {
                b"id" => id = string(value, at, "id")?,
                b"name" => name = string(value, at, "name")?,
                b"args" => {
                    object(value, &format_args!("{at}.args"))?;
                    args = Some(Json::of(value));
                }
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if id.is_empty() {
            id = Text::of_plain(&format!("call_{}", self.called.len()));
        }
        self.called.called(id.clone(), name.clone());
        let arguments = Arguments::Object(args.unwrap_or(Json::of(b"{}")));
        Ok(ToolCall { id, name, arguments, proof: None })
    }

    fn function_response(&mut self, value: &'a [u8], at: &str) -> Result<ToolResult<'a>, Unreadable> {
        object(value, at)?;
        let (mut id, mut name, mut response, mut more) = (Text::default(), None, None, None);
        for (key, value) in given(value) {
            match &*camel(key) {
                b"id" => id = string(value, at, "id")?,
                b"name" => name = Some(string(value, at, "name")?).filter(|name| !name.is_empty()),
                b"response" => response = Some(value),
                b"parts" => more = Some(value),
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        if let Some((called, of_call)) = self.called.answer(&id, name.as_ref()) {
            name = name.or_else(|| Some(of_call.clone()));
            if id.is_empty() {
                id = called.clone();
            }
        }
        let (text, failed) = response.map_or((None, false), said);
        let mut content: Vec<Part<'a>> = text.map(|text| What::Text(text).into()).into_iter().collect();
        for (place, part) in more.into_iter().flat_map(list).enumerate() {
            let at = format!("{at}.parts[{place}]");
            for (key, value) in given(part) {
                match &*camel(key) {
                    b"inlineData" | b"fileData" => content.push(What::Media(self.media(value, &at)?).into()),
                    _ => self.unmapped(&format!("{at}."), key, value),
                }
            }
        }
        Ok(ToolResult { id, name, content, failed })
    }

    fn tools(&mut self, tools: &'a [u8]) -> Result<(), Unreadable> {
        for (place, tool) in list(tools).enumerate() {
            let at = format!("tools[{place}].");
            for (key, value) in given(tool) {
                if &*camel(key) != b"functionDeclarations" {
                    // An empty object switches one on.
                    self.call.unmapped.push(at.clone() + &String::from_utf8_lossy(key));
                    continue;
                }
                for (place, declaration) in list(value).enumerate() {
                    let at = format!("{at}{}[{place}]", String::from_utf8_lossy(key));
                    let tool = self.declaration(declaration, &at)?;
                    self.call.tools.push(tool);
                }
            }
        }
        Ok(())
    }

    fn declaration(&mut self, declaration: &'a [u8], at: &str) -> Result<Tool<'a>, Unreadable> {
        object(declaration, at)?;
        let mut tool = Tool { name: Text::default(), description: None, schema: None, strict: None, cache: None };
        let mut exact = false;
        for (key, value) in given(declaration) {
            match &*camel(key) {
                b"name" => tool.name = string(value, at, "name")?,
                b"description" => tool.description = Some(string(value, at, "description")?),
                b"parametersJsonSchema" => (tool.schema, exact) = (Some(Json::of(value)), true),
                b"parameters" if !exact => tool.schema = Some(schema::to_json_schema(value)),
                // Told twice.
                b"parameters" => self.call.hint(format_args!("{at}.parameters"), value),
                b"behavior" if is_word(value, &["unspecified", "blocking"]) => {}
                _ => self.unmapped(&format!("{at}."), key, value),
            }
        }
        Ok(tool)
    }

    /// Names a member that the middle language has no word for, unless it says nothing.
    pub fn unmapped(&mut self, at: &str, key: &[u8], value: &[u8]) {
        if !matches!(value, b"false" | b"\"\"" | b"[]") {
            self.call.unmapped.push(format!("{at}{}", String::from_utf8_lossy(key)));
        }
    }
}

/// Streamed thoughts come back as one part for each chunk; the proof, at their end, is of all of them.
fn push_thought<'a>(parts: &mut Vec<Part<'a>>, thought: Thought<'a>) {
    let sealed = thought.proof.as_ref().is_some_and(|proof| proof.sealed);
    match parts.last_mut() {
        Some(Part { what: What::Reasoning(last), .. }) if last.proof.is_none() && !sealed => {
            last.text.append(thought.text.raw());
            last.proof = thought.proof;
        }
        _ if thought.text.is_empty() && thought.proof.is_none() => {}
        _ => parts.push(What::Reasoning(thought).into()),
    }
}

/// What a function's response says, and whether it is an error. Google's documents call an only member `output` or `error`, its
/// SDKs `result`; anything else is the result itself.
fn said(response: &[u8]) -> (Option<Text<'_>>, bool) {
    let mut members = json::members(response);
    let (first, second) = (members.next(), members.next());
    let (value, failed) = match first {
        None if response.starts_with(b"{") => return (None, false),
        Some((b"result" | b"output", value)) if second.is_none() => (value, false),
        Some((b"error", value)) if second.is_none() => (value, true),
        _ => (response, false),
    };
    let text = Text::of_value(value).unwrap_or_else(|| {
        let mut text = Vec::with_capacity(value.len() + 16);
        escape_json(&mut text, value);
        Text::of_raw_owned(text)
    });
    (Some(text), failed)
}

/// The elements of a list, or the only thing where one belongs.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let one = (!value.starts_with(b"[")).then_some(value);
    one.into_iter().chain(json::elements(value))
}

pub fn string<'a>(value: &'a [u8], at: &str, name: &str) -> Result<Text<'a>, Unreadable> {
    Text::of_value(value).ok_or_else(|| Unreadable(format!("{at}.{name} must be a string")))
}

/// Google's encoding allows 64-bit numbers as strings, and whole ones with a fraction of nothing.
pub fn whole(value: &[u8], at: &str, name: &str) -> Result<u64, Unreadable> {
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    json::integer(bare.strip_suffix(b".0").unwrap_or(bare))
        .ok_or_else(|| Unreadable(format!("{at}.{name} must be a whole number")))
}

pub fn is_word(value: &[u8], words: &[&str]) -> bool {
    json::text(value).is_some_and(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
}
