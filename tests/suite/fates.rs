//! What becomes of everything that a caller can say, for each pair of languages: asked of the code, not of its authors.
//!
//! The page `dataplane/src/dialect/FATES.md` is what this prints. `WEIR_BLESS=1` writes it anew.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use weir::dialect::call::Tongue;
use weir::dialect::speech::{Asked, Lost, Recipient};
use weir::dialect::{self};
use weir_shared::catalog::{Deviations, Thinking};

const PNG: &str = "iVBORw0KGgo=";

/// A request of this language that says this one thing beside a word of text; `None` when it has no word for it.
fn request(tongue: Tongue, feature: &str) -> Option<Value> {
    let mut body = base(tongue);
    let more = match tongue {
        Tongue::Chat => chat(feature),
        Tongue::Responses => responses(feature),
        Tongue::Messages => messages(feature),
        Tongue::Generate => generate(feature),
        Tongue::Cohere => cohere(feature),
        Tongue::Converse => converse(feature),
    }?;
    let (body_members, more) = (body.as_object_mut()?, more.as_object()?.clone());
    body_members.extend(more);
    Some(body)
}

const FEATURES: &[&str] = &[
    "instructions",
    "several turns",
    "image, data",
    "image, URL",
    "PDF, data",
    "sound, data",
    "file by id",
    "tools",
    "tool choice: some",
    "tool choice: named",
    "one tool at a time",
    "tool result",
    "JSON object",
    "JSON schema",
    "effort of thinking",
    "budget of thinking",
    "stop sequences",
    "limit of tokens",
    "temperature",
    "top_p",
    "top_k",
    "frequency penalty",
    "presence penalty",
    "seed",
    "several answers",
    "log probabilities",
    "cache mark",
    "end user",
    "metadata",
    "service tier",
    "vendor's own tool",
    "stored conversation",
    "unknown member",
];

fn base(tongue: Tongue) -> Value {
    match tongue {
        Tongue::Chat | Tongue::Cohere => json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        Tongue::Responses => json!({"model": "m", "input": "hi"}),
        Tongue::Messages => json!({"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}),
        Tongue::Generate => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        Tongue::Converse => json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false})
}

fn chat(feature: &str) -> Option<Value> {
    let user = |part: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]});
    let tool = json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema()}}]);
    Some(match feature {
        "instructions" => {
            json!({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]})
        }
        "several turns" => json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}]}),
        "image, data" => {
            user(json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}))
        }
        "image, URL" => user(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        "PDF, data" => user(json!({"type": "file", "file": {"filename": "a.pdf",
            "file_data": format!("data:application/pdf;base64,{PNG}")}})),
        "sound, data" => user(json!({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}})),
        "file by id" => user(json!({"type": "file", "file": {"file_id": "file-1"}})),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "tool_choice": "required"}),
        "tool choice: named" => {
            json!({"tools": tool, "tool_choice": {"type": "function", "function": {"name": "f"}}})
        }
        "one tool at a time" => json!({"tools": tool, "parallel_tool_calls": false}),
        "tool result" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"}]}),
        "JSON object" => json!({"response_format": {"type": "json_object"}}),
        "JSON schema" => json!({"response_format": {"type": "json_schema",
            "json_schema": {"name": "s", "schema": schema(), "strict": true}}}),
        "effort of thinking" => json!({"reasoning_effort": "low"}),
        "stop sequences" => json!({"stop": ["x"]}),
        "limit of tokens" => json!({"max_completion_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"top_p": 0.5}),
        "frequency penalty" => json!({"frequency_penalty": 0.5}),
        "presence penalty" => json!({"presence_penalty": 0.5}),
        "seed" => json!({"seed": 7}),
        "several answers" => json!({"n": 2}),
        "log probabilities" => json!({"logprobs": true, "top_logprobs": 2}),
        "cache mark" => json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
            "cache_control": {"type": "ephemeral"}}]}]}),
        "end user" => json!({"user": "u1"}),
        "metadata" => json!({"metadata": {"a": "b"}}),
        "service tier" => json!({"service_tier": "priority"}),
        "vendor's own tool" => json!({"web_search_options": {}}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

fn responses(feature: &str) -> Option<Value> {
    let user =
        |part: Value| json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, part]}]});
    let tool = json!([{"type": "function", "name": "f", "description": "d", "parameters": schema(), "strict": false}]);
    Some(match feature {
        "instructions" => json!({"instructions": "be kind"}),
        "several turns" => json!({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}]}),
        "image, data" => user(json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")})),
        "image, URL" => user(json!({"type": "input_image", "image_url": "https://example.com/a.png"})),
        "PDF, data" => user(json!({"type": "input_file", "filename": "a.pdf",
            "file_data": format!("data:application/pdf;base64,{PNG}")})),
        "sound, data" => user(json!({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}})),
        "file by id" => user(json!({"type": "input_file", "file_id": "file-1"})),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "tool_choice": "required"}),
        "tool choice: named" => json!({"tools": tool, "tool_choice": {"type": "function", "name": "f"}}),
        "one tool at a time" => json!({"tools": tool, "parallel_tool_calls": false}),
        "tool result" => json!({"tools": tool, "input": [{"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":\"b\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"}]}),
        "JSON object" => json!({"text": {"format": {"type": "json_object"}}}),
        "JSON schema" => {
            json!({"text": {"format": {"type": "json_schema", "name": "s", "schema": schema(), "strict": true}}})
        }
        "effort of thinking" => json!({"reasoning": {"effort": "low"}}),
        "limit of tokens" => json!({"max_output_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"top_p": 0.5}),
        "log probabilities" => json!({"top_logprobs": 2, "include": ["message.output_text.logprobs"]}),
        "end user" => json!({"user": "u1"}),
        "metadata" => json!({"metadata": {"a": "b"}}),
        "service tier" => json!({"service_tier": "priority"}),
        "vendor's own tool" => json!({"tools": [{"type": "web_search"}]}),
        "stored conversation" => json!({"previous_response_id": "resp_1"}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

fn messages(feature: &str) -> Option<Value> {
    let user = |part: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]});
    let tool = json!([{"name": "f", "description": "d", "input_schema": schema()}]);
    let data = |mime: &str| json!({"type": "base64", "media_type": mime, "data": PNG});
    Some(match feature {
        "instructions" => json!({"system": "be kind"}),
        "several turns" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}),
        "image, data" => user(json!({"type": "image", "source": data("image/png")})),
        "image, URL" => user(json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})),
        "PDF, data" => user(json!({"type": "document", "source": data("application/pdf")})),
        "file by id" => user(json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}})),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "tool_choice": {"type": "any"}}),
        "tool choice: named" => json!({"tools": tool, "tool_choice": {"type": "tool", "name": "f"}}),
        "one tool at a time" => {
            json!({"tools": tool, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})
        }
        "tool result" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"}]}]}),
        "JSON schema" => json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}}),
        "effort of thinking" => json!({"output_config": {"effort": "low"}}),
        "budget of thinking" => {
            json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}})
        }
        "stop sequences" => json!({"stop_sequences": ["x"]}),
        "limit of tokens" => json!({"max_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"top_p": 0.5}),
        "top_k" => json!({"top_k": 5}),
        "cache mark" => json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
            "cache_control": {"type": "ephemeral"}}]}]}),
        "end user" => json!({"metadata": {"user_id": "u1"}}),
        "service tier" => json!({"service_tier": "standard_only"}),
        "vendor's own tool" => json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

fn generate(feature: &str) -> Option<Value> {
    let user = |part: Value| json!({"contents": [{"role": "user", "parts": [{"text": "hi"}, part]}]});
    let tool = json!([{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema()}]}]);
    let config = |config: Value| json!({"generationConfig": config});
    let data = |mime: &str| json!({"inlineData": {"mimeType": mime, "data": PNG}});
    Some(match feature {
        "instructions" => json!({"systemInstruction": {"parts": [{"text": "be kind"}]}}),
        "several turns" => json!({"contents": [{"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b"}]}, {"role": "user", "parts": [{"text": "c"}]}]}),
        "image, data" => user(data("image/png")),
        "image, URL" => user(json!({"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}})),
        "PDF, data" => user(data("application/pdf")),
        "sound, data" => user(data("audio/wav")),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
        "tool choice: named" => json!({"tools": tool,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
        "tool result" => json!({"tools": tool, "contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "done"}}}]}]}),
        "JSON object" => config(json!({"responseMimeType": "application/json"})),
        "JSON schema" => config(json!({"responseMimeType": "application/json", "responseJsonSchema": schema()})),
        "effort of thinking" => config(json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
        "budget of thinking" => config(json!({"thinkingConfig": {"thinkingBudget": 2048}})),
        "stop sequences" => config(json!({"stopSequences": ["x"]})),
        "limit of tokens" => config(json!({"maxOutputTokens": 50})),
        "temperature" => config(json!({"temperature": 0.5})),
        "top_p" => config(json!({"topP": 0.5})),
        "top_k" => config(json!({"topK": 5})),
        "frequency penalty" => config(json!({"frequencyPenalty": 0.5})),
        "presence penalty" => config(json!({"presencePenalty": 0.5})),
        "seed" => config(json!({"seed": 7})),
        "several answers" => config(json!({"candidateCount": 2})),
        "log probabilities" => config(json!({"responseLogprobs": true, "logprobs": 2})),
        "metadata" => json!({"labels": {"a": "b"}}),
        "vendor's own tool" => json!({"tools": [{"googleSearch": {}}]}),
        "stored conversation" => json!({"cachedContent": "cachedContents/1"}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

fn cohere(feature: &str) -> Option<Value> {
    let user = |part: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]});
    let tool = json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema()}}]);
    Some(match feature {
        "instructions" => {
            json!({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]})
        }
        "several turns" => json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}]}),
        "image, data" => {
            user(json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}))
        }
        "image, URL" => user(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "tool_choice": "REQUIRED"}),
        "tool result" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"}]}),
        "JSON object" => json!({"response_format": {"type": "json_object"}}),
        "JSON schema" => json!({"response_format": {"type": "json_object", "json_schema": schema()}}),
        "budget of thinking" => json!({"thinking": {"type": "enabled", "token_budget": 2048}}),
        "stop sequences" => json!({"stop_sequences": ["x"]}),
        "limit of tokens" => json!({"max_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"p": 0.5}),
        "top_k" => json!({"k": 5}),
        "frequency penalty" => json!({"frequency_penalty": 0.5}),
        "presence penalty" => json!({"presence_penalty": 0.5}),
        "seed" => json!({"seed": 7}),
        "log probabilities" => json!({"logprobs": true}),
        "vendor's own tool" => json!({"documents": ["d"]}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

fn converse(feature: &str) -> Option<Value> {
    let user = |part: Value| json!({"messages": [{"role": "user", "content": [{"text": "hi"}, part]}]});
    let tools = json!([{"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": schema()}}}]);
    let config = |config: Value| json!({"inferenceConfig": config});
    Some(match feature {
        "instructions" => json!({"system": [{"text": "be kind"}]}),
        "several turns" => json!({"messages": [{"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"text": "b"}]}, {"role": "user", "content": [{"text": "c"}]}]}),
        "image, data" => user(json!({"image": {"format": "png", "source": {"bytes": PNG}}})),
        "PDF, data" => user(json!({"document": {"format": "pdf", "name": "a", "source": {"bytes": PNG}}})),
        "tools" => json!({"toolConfig": {"tools": tools}}),
        "tool choice: some" => json!({"toolConfig": {"tools": tools, "toolChoice": {"any": {}}}}),
        "tool choice: named" => json!({"toolConfig": {"tools": tools, "toolChoice": {"tool": {"name": "f"}}}}),
        "tool result" => {
            json!({"toolConfig": {"tools": tools}, "messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": "b"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "done"}]}}]}]})
        }
        "budget of thinking" => {
            json!({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}})
        }
        "stop sequences" => config(json!({"stopSequences": ["x"]})),
        "limit of tokens" => config(json!({"maxTokens": 50})),
        "temperature" => config(json!({"temperature": 0.5})),
        "top_p" => config(json!({"topP": 0.5})),
        "cache mark" => user(json!({"cachePoint": {"type": "default"}})),
        "metadata" => json!({"requestMetadata": {"a": "b"}}),
        "vendor's own tool" => json!({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}),
        "unknown member" => json!({"surprise": 1}),
        _ => return None,
    })
}

/// What becomes of it: said, or not, and under which names it is refused.
fn fate(from: Tongue, to: Tongue, body: &Value) -> Result<(), String> {
    let speech = |tongue| dialect::speech_of(tongue).unwrap_or_else(|| panic!("{tongue:?} is not translated"));
    let text = body.to_string();
    let call = speech(from)
        .read_call(&Asked { body: text.as_bytes(), streams: false })
        .map_err(|unreadable| format!("unreadable: {}", unreadable.0))?;
    let recipient = Recipient {
        model: "m",
        output_tokens_max: 8_192,
        reasoning: true,
        thinking: Thinking::Budget,
        deviations: Deviations::NONE,
    };
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    speech(to).write_call(&call, &recipient, &mut lost, &mut out);
    serde_json::from_slice::<Value>(&out).map_err(|error| format!("not JSON: {error}"))?;
    let mut names = call.unmapped.clone();
    names.extend(lost.iter().map(|lost| match lost {
        Lost::Thing(thing) => (*thing).to_owned(),
        Lost::Param(param) => format!("{param:?}"),
    }));
    if names.is_empty() { Ok(()) } else { Err(names.join(", ")) }
}

fn page() -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    let mut page = String::from(
        "# What becomes of everything that a caller can say\n\n\
         For each language of callers, one table: a row is something that it can say, a column the language of the vendor that\n\
         is asked. `yes`: said in the vendor's words, or not in need of saying (a cache mark, where the vendor caches by itself). `no`: the vendor's language has no word for it; the call is refused with\n\
         a 400 that names it, or it is left out and named in `x-weir-dropped` where the operator set\n\
         `untranslatable = \"drop\"`. Between the same languages nothing is translated and everything passes.\n\n\
         This page is generated by running the code (`tests/suite/fates.rs`, `WEIR_BLESS=1`); a test fails when it is stale.\n",
    );
    let spoken: Vec<Tongue> =
        Tongue::ALL.iter().copied().filter(|tongue| dialect::speech_of(*tongue).is_some()).collect();
    for from in &spoken {
        let _ = writeln!(page, "\n## {}\n", name(*from));
        let others: Vec<_> = spoken.iter().copied().filter(|to| to != from).collect();
        let names: Vec<_> = others.iter().map(|to| name(*to)).collect();
        let _ = writeln!(page, "| | {} |", names.join(" | "));
        let _ = writeln!(page, "|---|{}", "---|".repeat(others.len()));
        for feature in FEATURES {
            let Some(body) = request(*from, feature) else { continue };
            let mut row = format!("| {feature} |");
            for to in &others {
                let fate = fate(*from, *to, &body);
                if let Err(why) = &fate
                    && (why.starts_with("unreadable") || why.starts_with("not JSON"))
                {
                    wrong.push(format!("{from:?} to {to:?}, {feature}: {why}"));
                }
                if *feature == "unknown member" && fate.is_ok() {
                    wrong.push(format!("{from:?} to {to:?}: an unknown member is dropped in silence"));
                }
                let _ = write!(row, " {} |", if fate.is_ok() { "yes" } else { "no" });
            }
            let _ = writeln!(page, "{row}");
        }
    }
    (page, wrong)
}

fn name(tongue: Tongue) -> &'static str {
    match tongue {
        Tongue::Chat => "OpenAI Chat",
        Tongue::Responses => "OpenAI Responses",
        Tongue::Messages => "Anthropic Messages",
        Tongue::Generate => "Gemini",
        Tongue::Cohere => "Cohere v2",
        Tongue::Converse => "Bedrock Converse",
    }
}

#[test]
fn the_page_says_what_the_code_does() {
    let (page, wrong) = page();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dataplane/src/dialect/FATES.md");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "{} is stale: run this test with WEIR_BLESS=1", path.display());
}
