//! One question in six languages: what the SDK of each would send for it.

use serde_json::{Value, json};
use weir_tests::{Answer, Dialect, Request};
use weirbench::grammar::{self, Reading};

/// A language, as callers and as vendors speak it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    Chat,
    Responses,
    Messages,
    Generate,
    Cohere,
    Converse,
}

/// What is asked, in no one's words.
#[derive(Clone, Default)]
pub struct Ask {
    pub stream: bool,
    pub system: Option<&'static str>,
    pub tools: bool,
    /// One of the tools must be called.
    pub forced: bool,
    pub schema: bool,
    pub image: bool,
    pub thinking: bool,
    pub stop: Option<&'static str>,
    pub temperature: bool,
    /// A member that no language knows.
    pub unknown: bool,
    /// What this language hints at, see [`Speaks::hint`].
    pub hint: bool,
    /// What was said before the last question, in the caller's own words: earlier turns, answers, results of tools.
    pub before: Vec<Value>,
    /// Without it the conversation ends with what was said before.
    pub question: Option<&'static str>,
}

impl Ask {
    pub fn of(question: &'static str) -> Self {
        Self { question: Some(question), ..Self::default() }
    }
}

pub const TOKENS_MAX: u64 = 4_000;
pub const THINKING_TOKENS: u64 = 1_024;
/// One grey pixel.
pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
pub const TOOL: &str = "get_weather";
pub const TOOL_ABOUT: &str = "Tells the \"weather\" of a city.";

pub fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"],
    })
}

pub fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

impl Speaks {
    pub const ALL: [Self; 6] =
        [Self::Chat, Self::Responses, Self::Messages, Self::Generate, Self::Cohere, Self::Converse];

    pub fn grammar(self) -> grammar::Dialect {
        match self {
            Self::Chat => grammar::Dialect::OpenAiChat,
            Self::Responses => grammar::Dialect::OpenAiResponses,
            Self::Messages => grammar::Dialect::Anthropic,
            Self::Generate => grammar::Dialect::Gemini,
            Self::Cohere => grammar::Dialect::Cohere,
            Self::Converse => grammar::Dialect::Converse,
        }
    }

    pub fn vendor(self) -> Dialect {
        match self {
            Self::Chat | Self::Responses => Dialect::OpenAi,
            Self::Messages => Dialect::Anthropic,
            Self::Generate => Dialect::Gemini,
            Self::Cohere => Dialect::Cohere,
            Self::Converse => Dialect::Bedrock,
        }
    }

    /// Its word for an answer that ended by itself, was cut, or calls tools.
    pub fn finish(self, why: &str) -> &'static str {
        match (self, why) {
            (Self::Chat, "length") => "length",
            (Self::Chat, "tools") => "tool_calls",
            (Self::Chat, _) => "stop",
            (Self::Responses, "length") => "incomplete",
            (Self::Responses, _) => "completed",
            (Self::Messages, "length") | (Self::Converse, "length") => "max_tokens",
            (Self::Messages, "tools") | (Self::Converse, "tools") => "tool_use",
            (Self::Messages | Self::Converse, _) => "end_turn",
            (Self::Generate, "length") | (Self::Cohere, "length") => "MAX_TOKENS",
            (Self::Generate, _) => "STOP",
            (Self::Cohere, "tools") => "TOOL_CALL",
            (Self::Cohere, _) => "COMPLETE",
        }
    }

    pub fn read(self, answer: &Answer, stream: bool) -> Result<Reading, String> {
        if stream {
            return answer.read(self.grammar());
        }
        if answer.status != 200 {
            return Err(format!("status {}: {}", answer.status, answer.text()));
        }
        self.read_whole(answer)
    }

    /// Whatever its status.
    pub fn read_whole(self, answer: &Answer) -> Result<Reading, String> {
        grammar::check_unary(self.grammar(), &answer.body).map_err(|illegal| format!("{illegal}\n{}", answer.text()))
    }

    /// A member that changes no answer, what `x-weir-dropped` calls it, and who else has a word for it.
    pub fn hint(self) -> Option<((&'static str, Value), &'static str, Option<Self>)> {
        let keyed = || ("prompt_cache_key", json!("k1"));
        Some(match self {
            Self::Chat => (keyed(), "prompt_cache_key", Some(Self::Responses)),
            Self::Responses => (keyed(), "prompt_cache_key", Some(Self::Chat)),
            Self::Messages => (("cache_control", json!({"type": "ephemeral"})), "cache marks", Some(Self::Converse)),
            Self::Generate => {
                let member = ("toolConfig", json!({"includeServerSideToolInvocations": true}));
                (member, "toolConfig.includeServerSideToolInvocations", None)
            }
            Self::Cohere | Self::Converse => return None,
        })
    }

    pub fn request(self, model: &str, ask: &Ask) -> Request {
        let mut body = self.body(model, ask);
        if ask.unknown {
            body["frobnicate"] = json!({"deeply": 1});
        }
        if let Some(((member, value), ..)) = self.hint().filter(|_| ask.hint) {
            body[member] = value;
        }
        let verb = |unary: &str, stream: &str| if ask.stream { stream.to_owned() } else { unary.to_owned() };
        let target = match self {
            Self::Chat => "/v1/chat/completions".to_owned(),
            Self::Responses => "/v1/responses".to_owned(),
            Self::Messages => "/v1/messages".to_owned(),
            Self::Generate => {
                let verb = verb("generateContent", "streamGenerateContent?alt=sse");
                format!("/v1beta/models/{model}:{verb}")
            }
            Self::Cohere => "/v2/chat".to_owned(),
            Self::Converse => format!("/model/{model}/{}", verb("converse", "converse-stream")),
        };
        let request = Request::post(&target, body.to_string());
        match self {
            Self::Messages => request.header("anthropic-version", "2023-06-01"),
            _ => request,
        }
    }

    fn body(self, model: &str, ask: &Ask) -> Value {
        match self {
            Self::Chat => chat(model, ask),
            Self::Responses => responses(model, ask),
            Self::Messages => messages(model, ask),
            Self::Generate => generate(ask),
            Self::Cohere => cohere(model, ask),
            Self::Converse => converse(ask),
        }
    }

    /// A turn of the user before the last one.
    pub fn said_by_user(self, text: &str) -> Value {
        match self {
            Self::Chat | Self::Responses | Self::Cohere => json!({"role": "user", "content": text}),
            Self::Messages => json!({"role": "user", "content": [{"type": "text", "text": text}]}),
            Self::Generate => json!({"role": "user", "parts": [{"text": text}]}),
            Self::Converse => json!({"role": "user", "content": [{"text": text}]}),
        }
    }

    pub fn said_by_model(self, text: &str) -> Value {
        match self {
            Self::Chat | Self::Cohere | Self::Responses => json!({"role": "assistant", "content": text}),
            Self::Messages => json!({"role": "assistant", "content": text}),
            Self::Generate => json!({"role": "model", "parts": [{"text": text}]}),
            Self::Converse => json!({"role": "assistant", "content": [{"text": text}]}),
        }
    }

    /// What a caller keeps of a whole answer, and says again with the next turn.
    pub fn kept(self, answer: &Value) -> Vec<Value> {
        match self {
            Self::Chat => vec![answer["choices"][0]["message"].clone()],
            Self::Responses => answer["output"].as_array().cloned().unwrap_or_default(),
            Self::Messages => vec![json!({"role": "assistant", "content": answer["content"]})],
            Self::Generate => vec![answer["candidates"][0]["content"].clone()],
            Self::Cohere => vec![answer["message"].clone()],
            Self::Converse => vec![answer["output"]["message"].clone()],
        }
    }

    /// The results of these calls, in the order of the calls.
    pub fn results(self, reading: &Reading, results: &[&str]) -> Vec<Value> {
        let calls = reading.tools.iter().zip(results);
        match self {
            Self::Chat => {
                calls.map(|(call, text)| json!({"role": "tool", "tool_call_id": call.id, "content": text})).collect()
            }
            Self::Responses => calls
                .map(|(call, text)| json!({"type": "function_call_output", "call_id": call.id, "output": text}))
                .collect(),
            Self::Messages => {
                let result = |(call, text): (&grammar::Tool, _)| json!({"type": "tool_result", "tool_use_id": call.id, "content": text});
                vec![json!({"role": "user", "content": calls.map(result).collect::<Vec<_>>()})]
            }
            Self::Generate => {
                let result = |(call, text): (&grammar::Tool, &&str)| {
                    let mut response = json!({"name": call.name, "response": {"output": text}});
                    if !call.id.is_empty() {
                        response["id"] = json!(call.id);
                    }
                    json!({"functionResponse": response})
                };
                vec![json!({"role": "user", "parts": calls.map(result).collect::<Vec<_>>()})]
            }
            Self::Cohere => calls
                .map(|(call, text)| {
                    json!({"role": "tool", "tool_call_id": call.id,
                        "content": [{"type": "text", "text": text}]})
                })
                .collect(),
            Self::Converse => {
                let result = |(call, text): (&grammar::Tool, _)| json!({"toolResult": {"toolUseId": call.id, "content": [{"text": text}], "status": "success"}});
                vec![json!({"role": "user", "content": calls.map(result).collect::<Vec<_>>()})]
            }
        }
    }
}

fn chat(model: &str, ask: &Ask) -> Value {
    let mut turns: Vec<Value> = ask.system.iter().map(|text| json!({"role": "system", "content": text})).collect();
    turns.extend(ask.before.iter().cloned());
    if let Some(question) = ask.question {
        let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}});
        turns.push(match ask.image {
            true => json!({"role": "user", "content": [{"type": "text", "text": question}, image]}),
            false => json!({"role": "user", "content": question}),
        });
    }
    let mut body = json!({"model": model, "messages": turns, "max_completion_tokens": TOKENS_MAX});
    if ask.stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    if ask.tools {
        let function = json!({"name": TOOL, "description": TOOL_ABOUT, "parameters": parameters()});
        body["tools"] = json!([{"type": "function", "function": function}]);
    }
    if ask.forced {
        body["tool_choice"] = json!({"type": "function", "function": {"name": TOOL}});
    }
    if ask.schema {
        let schema = json!({"name": "person", "schema": schema(), "strict": true});
        body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
    }
    if ask.thinking {
        body["reasoning_effort"] = json!("low");
    }
    sampling(&mut body, ask, "temperature", "stop");
    body
}

fn responses(model: &str, ask: &Ask) -> Value {
    let mut turns = ask.before.clone();
    if let Some(question) = ask.question {
        let image = json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")});
        turns.push(match ask.image {
            true => json!({"role": "user", "content": [{"type": "input_text", "text": question}, image]}),
            false => json!({"role": "user", "content": question}),
        });
    }
    let mut body = json!({"model": model, "input": turns, "max_output_tokens": TOKENS_MAX, "store": false});
    if let Some(text) = ask.system {
        body["instructions"] = json!(text);
    }
    if ask.stream {
        body["stream"] = json!(true);
    }
    if ask.tools {
        body["tools"] = json!([{"type": "function", "name": TOOL, "description": TOOL_ABOUT, "parameters": parameters(),
            "strict": false}]);
    }
    if ask.forced {
        body["tool_choice"] = json!({"type": "function", "name": TOOL});
    }
    if ask.schema {
        body["text"] = json!({"format": {"type": "json_schema", "name": "person", "schema": schema(), "strict": true}});
    }
    if ask.thinking {
        body["reasoning"] = json!({"effort": "low", "summary": "auto"});
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    sampling(&mut body, ask, "temperature", "");
    body
}

fn messages(model: &str, ask: &Ask) -> Value {
    let mut turns = ask.before.clone();
    if let Some(question) = ask.question {
        let source = json!({"type": "base64", "media_type": "image/png", "data": PNG});
        turns.push(match ask.image {
            true => json!({"role": "user",
                "content": [{"type": "text", "text": question}, {"type": "image", "source": source}]}),
            false => json!({"role": "user", "content": question}),
        });
    }
    let mut body = json!({"model": model, "messages": turns, "max_tokens": TOKENS_MAX});
    if let Some(text) = ask.system {
        body["system"] = json!(text);
    }
    if ask.stream {
        body["stream"] = json!(true);
    }
    if ask.tools {
        body["tools"] = json!([{"name": TOOL, "description": TOOL_ABOUT, "input_schema": parameters()}]);
    }
    if ask.forced {
        body["tool_choice"] = json!({"type": "tool", "name": TOOL});
    }
    if ask.schema {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema()}});
    }
    if ask.thinking {
        body["thinking"] = json!({"type": "enabled", "budget_tokens": THINKING_TOKENS});
    }
    sampling(&mut body, ask, "temperature", "stop_sequences");
    body
}

fn generate(ask: &Ask) -> Value {
    let mut turns = ask.before.clone();
    if let Some(question) = ask.question {
        let mut parts = vec![json!({"text": question})];
        if ask.image {
            parts.push(json!({"inlineData": {"mimeType": "image/png", "data": PNG}}));
        }
        turns.push(json!({"role": "user", "parts": parts}));
    }
    let mut config = json!({"maxOutputTokens": TOKENS_MAX});
    if ask.schema {
        config["responseMimeType"] = json!("application/json");
        config["responseJsonSchema"] = schema();
    }
    if ask.thinking {
        config["thinkingConfig"] = json!({"includeThoughts": true, "thinkingBudget": THINKING_TOKENS});
    }
    sampling(&mut config, ask, "temperature", "stopSequences");
    let mut body = json!({"contents": turns, "generationConfig": config});
    if let Some(text) = ask.system {
        body["systemInstruction"] = json!({"parts": [{"text": text}]});
    }
    if ask.tools {
        // As Google's SDK writes it: types in capitals.
        let parameters = json!({
            "type": "OBJECT",
            "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER", "minimum": 1}},
            "required": ["city"],
        });
        body["tools"] =
            json!([{"functionDeclarations": [{"name": TOOL, "description": TOOL_ABOUT, "parameters": parameters}]}]);
    }
    if ask.forced {
        let calling = json!({"mode": "ANY", "allowedFunctionNames": [TOOL]});
        body["toolConfig"] = json!({"functionCallingConfig": calling});
    }
    body
}

fn cohere(model: &str, ask: &Ask) -> Value {
    let mut turns: Vec<Value> = ask.system.iter().map(|text| json!({"role": "system", "content": text})).collect();
    turns.extend(ask.before.iter().cloned());
    if let Some(question) = ask.question {
        let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}});
        turns.push(match ask.image {
            true => json!({"role": "user", "content": [{"type": "text", "text": question}, image]}),
            false => json!({"role": "user", "content": question}),
        });
    }
    let mut body = json!({"model": model, "messages": turns, "max_tokens": TOKENS_MAX});
    if ask.stream {
        body["stream"] = json!(true);
    }
    if ask.tools {
        let function = json!({"name": TOOL, "description": TOOL_ABOUT, "parameters": parameters()});
        body["tools"] = json!([{"type": "function", "function": function}]);
    }
    if ask.forced {
        body["tool_choice"] = json!("REQUIRED");
    }
    if ask.schema {
        body["response_format"] = json!({"type": "json_object", "json_schema": schema()});
    }
    if ask.thinking {
        body["thinking"] = json!({"type": "enabled", "token_budget": THINKING_TOKENS});
    }
    sampling(&mut body, ask, "temperature", "stop_sequences");
    body
}

fn converse(ask: &Ask) -> Value {
    let mut turns = ask.before.clone();
    if let Some(question) = ask.question {
        let mut content = vec![json!({"text": question})];
        if ask.image {
            content.push(json!({"image": {"format": "png", "source": {"bytes": PNG}}}));
        }
        // Turns alternate: what is asked beside results stands in their turn.
        match turns.last_mut().filter(|turn| turn["role"] == "user") {
            Some(last) => last["content"].as_array_mut().into_iter().for_each(|before| before.append(&mut content)),
            None => turns.push(json!({"role": "user", "content": content})),
        }
    }
    let mut config = json!({"maxTokens": TOKENS_MAX});
    sampling(&mut config, ask, "temperature", "stopSequences");
    let mut body = json!({"messages": turns, "inferenceConfig": config});
    if let Some(text) = ask.system {
        body["system"] = json!([{"text": text}]);
    }
    if ask.tools {
        let tool = json!({"name": TOOL, "description": TOOL_ABOUT, "inputSchema": {"json": parameters()}});
        body["toolConfig"] = json!({"tools": [{"toolSpec": tool}]});
        if ask.forced {
            body["toolConfig"]["toolChoice"] = json!({"tool": {"name": TOOL}});
        }
    }
    if ask.schema {
        let schema = json!({"name": "person", "schema": schema().to_string()});
        body["outputConfig"] = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}});
    }
    if ask.thinking {
        let thinking = json!({"type": "enabled", "budget_tokens": THINKING_TOKENS});
        body["additionalModelRequestFields"] = json!({ "thinking": thinking });
    }
    body
}

fn sampling(body: &mut Value, ask: &Ask, temperature: &str, stop: &str) {
    if ask.temperature {
        body[temperature] = json!(0.5);
    }
    if let (Some(word), false) = (ask.stop, stop.is_empty()) {
        body[stop] = json!([word]);
    }
}
