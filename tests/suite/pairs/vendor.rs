//! What a vendor was asked, read from the body that reached it: the same few things in six languages.

use serde_json::Value;

use super::caller::Speaks;

/// Everything that a translation must bring over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub system: String,
    /// Role (`user`, `model`) and text, neighbours of one role joined.
    pub turns: Vec<(String, String)>,
    /// Kinds and bytes of images.
    pub images: Vec<(String, String)>,
    pub tools: Vec<(String, String, Value)>,
    /// A tool is demanded.
    pub forced: bool,
    pub schema: Option<Value>,
    pub tokens_max: Option<u64>,
    pub temperature: Option<f64>,
    pub stop: Vec<String>,
    /// Calls with their arguments, and results.
    pub calls: Vec<(String, Value)>,
    pub results: Vec<String>,
    pub thinking: bool,
}

impl Asked {
    fn say(&mut self, role: &str, text: &str) {
        match self.turns.last_mut() {
            Some((known, said)) if known == role => said.push_str(text),
            _ => self.turns.push((role.to_owned(), text.to_owned())),
        }
    }
}

pub fn read(vendor: Speaks, body: &[u8]) -> Asked {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("the vendor got no JSON: {error}"));
    let mut asked = Asked::default();
    match vendor {
        Speaks::Chat => chat(&body, &mut asked),
        Speaks::Responses => responses(&body, &mut asked),
        Speaks::Messages => messages(&body, &mut asked),
        Speaks::Generate => generate(&body, &mut asked),
        Speaks::Cohere => cohere(&body, &mut asked),
        Speaks::Converse => converse(&body, &mut asked),
    }
    asked
}

fn chat(body: &Value, asked: &mut Asked) {
    asked.tokens_max = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
    asked.temperature = body["temperature"].as_f64();
    asked.stop = texts(&body["stop"]);
    asked.thinking = body["reasoning_effort"].is_string();
    asked.schema = body.pointer("/response_format/json_schema/schema").cloned();
    asked.forced = body["tool_choice"] == "required" || body["tool_choice"].is_object();
    for tool in list(&body["tools"]) {
        let function = &tool["function"];
        asked.tools.push((text(&function["name"]), text(&function["description"]), function["parameters"].clone()));
    }
    for turn in list(&body["messages"]) {
        match turn["role"].as_str().unwrap_or_default() {
            "system" | "developer" => asked.system += &all_text(&turn["content"]),
            "tool" => asked.results.push(all_text(&turn["content"])),
            "assistant" => {
                asked.say("model", &all_text(&turn["content"]));
                for call in list(&turn["tool_calls"]) {
                    asked.calls.push((text(&call["function"]["name"]), parsed(&call["function"]["arguments"])));
                }
            }
            _ => {
                asked.say("user", &all_text(&turn["content"]));
                asked
                    .images
                    .extend(list(&turn["content"]).iter().filter_map(|part| data_url(part.pointer("/image_url/url")?)));
            }
        }
    }
}

fn responses(body: &Value, asked: &mut Asked) {
    asked.tokens_max = body["max_output_tokens"].as_u64();
    asked.temperature = body["temperature"].as_f64();
    asked.thinking = body["reasoning"]["effort"].is_string();
    asked.schema = body.pointer("/text/format/schema").cloned();
    asked.forced = body["tool_choice"] == "required" || body["tool_choice"].is_object();
    asked.system = text(&body["instructions"]);
    for tool in list(&body["tools"]) {
        asked.tools.push((text(&tool["name"]), text(&tool["description"]), tool["parameters"].clone()));
    }
    if let Some(input) = body["input"].as_str() {
        asked.say("user", input);
    }
    for item in list(&body["input"]) {
        match (item["type"].as_str().unwrap_or("message"), item["role"].as_str().unwrap_or_default()) {
            ("function_call", _) => asked.calls.push((text(&item["name"]), parsed(&item["arguments"]))),
            ("function_call_output", _) => asked.results.push(all_text(&item["output"])),
            ("message", "system" | "developer") => asked.system += &all_text(&item["content"]),
            ("message", "assistant") => asked.say("model", &all_text(&item["content"])),
            ("message", _) => {
                asked.say("user", &all_text(&item["content"]));
                asked.images.extend(list(&item["content"]).iter().filter_map(|part| data_url(&part["image_url"])));
            }
            _ => {}
        }
    }
}

fn messages(body: &Value, asked: &mut Asked) {
    asked.tokens_max = body["max_tokens"].as_u64();
    asked.temperature = body["temperature"].as_f64();
    asked.stop = texts(&body["stop_sequences"]);
    asked.thinking = matches!(body["thinking"]["type"].as_str(), Some("enabled" | "adaptive"));
    asked.schema = body.pointer("/output_config/format/schema").cloned();
    asked.forced = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
    asked.system = all_text(&body["system"]);
    for tool in list(&body["tools"]) {
        asked.tools.push((text(&tool["name"]), text(&tool["description"]), tool["input_schema"].clone()));
    }
    for turn in list(&body["messages"]) {
        let role = if turn["role"] == "assistant" { "model" } else { "user" };
        asked.say(role, &all_text(&turn["content"]));
        for block in list(&turn["content"]) {
            match block["type"].as_str() {
                Some("tool_use") => asked.calls.push((text(&block["name"]), block["input"].clone())),
                Some("tool_result") => asked.results.push(all_text(&block["content"])),
                Some("image") => {
                    asked.images.push((text(&block["source"]["media_type"]), text(&block["source"]["data"])));
                }
                _ => {}
            }
        }
    }
}

fn generate(body: &Value, asked: &mut Asked) {
    let config = &body["generationConfig"];
    asked.tokens_max = config["maxOutputTokens"].as_u64();
    asked.temperature = config["temperature"].as_f64();
    asked.stop = texts(&config["stopSequences"]);
    asked.thinking = config["thinkingConfig"].is_object();
    asked.schema = ["responseJsonSchema", "responseSchema"].iter().find_map(|name| config.get(*name).cloned());
    asked.forced = body.pointer("/toolConfig/functionCallingConfig/mode").is_some_and(|mode| mode == "ANY");
    asked.system = all_text(&body["systemInstruction"]["parts"]);
    for tool in list(&body["tools"]).iter().flat_map(|tool| list(&tool["functionDeclarations"])) {
        let schema = tool.get("parametersJsonSchema").or(tool.get("parameters")).cloned().unwrap_or_default();
        asked.tools.push((text(&tool["name"]), text(&tool["description"]), schema));
    }
    for turn in list(&body["contents"]) {
        let role = if turn["role"] == "model" { "model" } else { "user" };
        let spoken: Vec<Value> = list(&turn["parts"]).iter().filter(|part| part["thought"] != true).cloned().collect();
        asked.say(role, &all_text(&Value::Array(spoken)));
        for part in list(&turn["parts"]) {
            if let Some(call) = part.get("functionCall") {
                asked.calls.push((text(&call["name"]), call["args"].clone()));
            }
            if let Some(result) = part.get("functionResponse") {
                let response = &result["response"];
                let said = ["output", "result", "content"].iter().find_map(|name| response.get(*name)?.as_str());
                asked.results.push(said.map_or_else(|| response.to_string(), str::to_owned));
            }
            if let Some(data) = part.get("inlineData") {
                asked.images.push((text(&data["mimeType"]), text(&data["data"])));
            }
        }
    }
}

fn cohere(body: &Value, asked: &mut Asked) {
    asked.tokens_max = body["max_tokens"].as_u64();
    asked.temperature = body["temperature"].as_f64();
    asked.stop = texts(&body["stop_sequences"]);
    asked.thinking = body["thinking"]["type"] == "enabled";
    let format = &body["response_format"];
    asked.schema = ["json_schema", "schema"].iter().find_map(|name| format.get(*name).cloned());
    asked.forced = body["tool_choice"] == "REQUIRED";
    for tool in list(&body["tools"]) {
        let function = &tool["function"];
        asked.tools.push((text(&function["name"]), text(&function["description"]), function["parameters"].clone()));
    }
    for turn in list(&body["messages"]) {
        match turn["role"].as_str().unwrap_or_default() {
            "system" => asked.system += &all_text(&turn["content"]),
            "tool" => asked.results.push(all_text(&turn["content"])),
            "assistant" => {
                asked.say("model", &all_text(&turn["content"]));
                for call in list(&turn["tool_calls"]) {
                    asked.calls.push((text(&call["function"]["name"]), parsed(&call["function"]["arguments"])));
                }
            }
            _ => {
                asked.say("user", &all_text(&turn["content"]));
                asked
                    .images
                    .extend(list(&turn["content"]).iter().filter_map(|part| data_url(part.pointer("/image_url/url")?)));
            }
        }
    }
}

fn converse(body: &Value, asked: &mut Asked) {
    let config = &body["inferenceConfig"];
    asked.tokens_max = config["maxTokens"].as_u64();
    asked.temperature = config["temperature"].as_f64();
    asked.stop = texts(&config["stopSequences"]);
    let more = &body["additionalModelRequestFields"];
    asked.thinking = more["thinking"]["type"] == "enabled" || more.get("reasoning_config").is_some();
    let schema = body.pointer("/outputConfig/textFormat/structure/jsonSchema/schema");
    asked.schema = schema.map(parsed);
    let choice = &body["toolConfig"]["toolChoice"];
    asked.forced = choice.get("any").is_some() || choice.get("tool").is_some();
    asked.system = all_text(&body["system"]);
    for tool in list(&body["toolConfig"]["tools"]) {
        let tool = &tool["toolSpec"];
        asked.tools.push((text(&tool["name"]), text(&tool["description"]), tool["inputSchema"]["json"].clone()));
    }
    for turn in list(&body["messages"]) {
        let role = if turn["role"] == "assistant" { "model" } else { "user" };
        asked.say(role, &all_text(&turn["content"]));
        for block in list(&turn["content"]) {
            if let Some(call) = block.get("toolUse") {
                asked.calls.push((text(&call["name"]), call["input"].clone()));
            }
            if let Some(result) = block.get("toolResult") {
                asked.results.push(all_text(&result["content"]));
            }
            if let Some(image) = block.get("image") {
                asked.images.push((format!("image/{}", text(&image["format"])), text(&image["source"]["bytes"])));
            }
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A text, or the texts of all parts.
fn all_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        parts => list(parts).iter().map(|part| text(&part["text"])).collect(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        many => list(many).iter().map(text).collect(),
    }
}

fn parsed(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap_or_default()).unwrap_or_default()
}

fn data_url(url: &Value) -> Option<(String, String)> {
    let (kind, data) = url.as_str()?.strip_prefix("data:")?.split_once(";base64,")?;
    Some((kind.to_owned(), data.to_owned()))
}
