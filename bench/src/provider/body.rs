//! What a vendor wants to know of a JSON body: a few fields of the top level, without parsing the rest.

/// The fields that choose the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    pub model: Option<&'a [u8]>,
    pub stream: bool,
    pub include_usage: bool,
    /// Responses: thoughts are wanted in their sealed form, too.
    pub sealed: bool,
    /// `n` of images and the like is ignored; `input` tells how many vectors an embedding call wants.
    pub input: &'a [u8],
    /// The raw value of `tools`, for the name of the first.
    pub tools: &'a [u8],
    /// The raw value of the messages, whatever the dialect calls them.
    pub messages: &'a [u8],
}

/// None when the top level is not an object that is closed at the end.
pub fn scan(body: &[u8]) -> Option<Asked<'_>> {
    let mut asked = Asked::default();
    let mut at = skip_space(body, 0);
    if body.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(body, at + 1);
    if body.get(at) == Some(&b'}') {
        return Some(asked);
    }
    loop {
        let key_end = string_end(body, at)?;
        let key = &body[at + 1..key_end - 1];
        at = skip_space(body, key_end);
        if body.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(body, at + 1);
        let end = value_end(body, start)?;
        let value = &body[start..end];
        match key {
            b"model" => asked.model = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")),
            b"stream" => asked.stream = value == b"true",
            b"stream_options" => asked.include_usage = includes_usage(value),
            b"input" => {
                asked.input = value;
                asked.messages = value;
            }
            b"include" => asked.sealed = memchr::memmem::find(value, b"\"reasoning.encrypted_content\"").is_some(),
            b"tools" => asked.tools = value,
            // Converse keeps its tools in there; Gemini has both, and this one holds none.
            b"toolConfig" if asked.tools.is_empty() => asked.tools = value,
            b"messages" | b"contents" | b"prompt" => asked.messages = value,
            _ => {}
        }
        at = skip_space(body, end);
        match body.get(at)? {
            b',' => at = skip_space(body, at + 1),
            b'}' => return Some(asked),
            _ => return None,
        }
    }
}

/// The last string under a key that carries what a person said: what `echo` answers.
pub fn last_said(messages: &[u8]) -> Option<String> {
    fn walk(value: &serde_json::Value, said: &mut Option<String>) {
        match value {
            serde_json::Value::String(text) => *said = Some(text.clone()),
            serde_json::Value::Array(list) => list.iter().for_each(|item| walk(item, said)),
            serde_json::Value::Object(fields) => {
                for key in ["content", "parts", "text"] {
                    if let Some(inner) = fields.get(key) {
                        walk(inner, said);
                    }
                }
            }
            _ => {}
        }
    }
    let mut said = None;
    walk(&serde_json::from_slice(messages).ok()?, &mut said);
    said
}

/// The name of the first tool, in whichever of the dialects' places it stands.
pub fn first_tool(tools: &[u8]) -> Option<String> {
    let tools: serde_json::Value = serde_json::from_slice(tools).ok()?;
    let first = tools.get("tools").unwrap_or(&tools).get(0)?;
    [
        first.get("name"),
        first.pointer("/function/name"),
        first.pointer("/toolSpec/name"),
        first.pointer("/functionDeclarations/0/name"),
        first.pointer("/function_declarations/0/name"),
    ]
    .into_iter()
    .flatten()
    .find_map(|name| name.as_str().map(str::to_owned))
}

fn includes_usage(options: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(options, b"\"include_usage\"") else { return false };
    let at = skip_space(options, at + b"\"include_usage\"".len());
    options.get(at) == Some(&b':') && options[skip_space(options, at + 1)..].starts_with(b"true")
}

fn skip_space(body: &[u8], mut at: usize) -> usize {
    while matches!(body.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// The position behind the closing quote of the string that starts here.
fn string_end(body: &[u8], at: usize) -> Option<usize> {
    if body.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

fn value_end(body: &[u8], start: usize) -> Option<usize> {
    match body.get(start)? {
        b'"' => string_end(body, start),
        b'{' | b'[' => {
            let mut depth = 0usize;
            let mut at = start;
            loop {
                match body.get(at)? {
                    b'"' => {
                        at = string_end(body, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let length =
                body[start..].iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\r' | b'\n' | b'\t'))?;
            (length > 0).then_some(start + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_top_level_counts() {
        let body = br#" {"tools":[{"model":"inner","stream":true}],"messages":[{"role":"user","content":"say \"model\": \"x\" }"}],
            "model" : "gpt-4o-mini", "stream_options":{"include_usage" : true}, "stream": true , "n":1}"#;
        let asked = scan(body).unwrap();
        assert_eq!(asked.model, Some(&b"gpt-4o-mini"[..]));
        assert!(asked.stream && asked.include_usage);
        assert_eq!(last_said(asked.messages).unwrap(), "say \"model\": \"x\" }");
    }

    #[test]
    fn what_is_no_object_is_none() {
        for body in
            ["", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":[1}", "{\"a\":\"\\", "{\"model\"}", "{\"a\":,}"]
        {
            assert_eq!(scan(body.as_bytes()), None, "{body}");
        }
        assert_eq!(scan(b"{}"), Some(Asked::default()));
    }

    #[test]
    fn tools_of_all_dialects() {
        for tools in [
            r#"[{"name":"look"}]"#,
            r#"[{"type":"function","function":{"name":"look"}}]"#,
            r#"[{"functionDeclarations":[{"name":"look"}]}]"#,
            r#"{"tools":[{"toolSpec":{"name":"look"}}],"toolChoice":{"auto":{}}}"#,
        ] {
            assert_eq!(first_tool(tools.as_bytes()).as_deref(), Some("look"));
        }
    }
}
