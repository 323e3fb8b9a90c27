//! What becomes of everything that a caller can say, for each pair of languages: asked of the code, not of its authors.
//!
//! The page `dataplane/src/dialect/FATES.md` is what this prints. `WEIR_BLESS=1` writes it anew.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use weir::dialect;
use weir::dialect::call::Tongue;
use weir::dialect::fallen::Fallen;
use weir::dialect::speech::{Asked, Recipient};
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
    "instructions: by the developer",
    "instructions: amid the turns",
    "several turns",
    "a refusal before",
    "an answer begun",
    "an answer begun: a space at its end",
    "image, data",
    "image, URL",
    "detail of an image",
    "PDF, data",
    "PDF, URL",
    "document of plain text",
    "name of a file",
    "sound, data",
    "video, data",
    "file by id",
    "tools",
    "strict tools",
    "tool choice: some",
    "tool choice: named",
    "no tool: not now",
    "one tool at a time",
    "several calls at once",
    "tool result",
    "tool result: failed",
    "tool result: image",
    "earlier thoughts",
    "ids of items",
    "states of items",
    "participant's name",
    "JSON object",
    "JSON schema",
    "name of a schema",
    "description of a schema",
    "effort of thinking",
    "budget of thinking",
    "no thinking",
    "thinking beside a forced tool",
    "thoughts shown",
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
    "cache mark: an hour",
    "cache key",
    "end user",
    "metadata",
    "service tier",
    "service tier: no better one",
    "verbosity",
    "an answer in sound",
    "bias of tokens",
    "safety settings",
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
        "detail of an image" => {
            user(json!({"type": "image_url", "image_url": {"url": url("image/png"), "detail": "low"}}))
        }
        "name of a file" => user(json!({"type": "file", "file": {"filename": "weir.pdf",
            "file_data": format!("data:application/pdf;base64,{PNG}")}})),
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
        "earlier thoughts" => json!({"messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": "b", "reasoning_content": "hm"}, {"role": "user", "content": "c"}]}),
        "participant's name" => json!({"messages": [{"role": "user", "name": "ann", "content": "hi"}]}),
        "JSON object" => json!({"response_format": {"type": "json_object"}}),
        "JSON schema" => json!({"response_format": {"type": "json_schema",
            "json_schema": {"name": "s", "schema": schema(), "strict": true}}}),
        "name of a schema" => json!({"response_format": {"type": "json_schema",
            "json_schema": {"name": "weir", "schema": schema()}}}),
        "effort of thinking" => json!({"reasoning_effort": "low"}),
        "thinking beside a forced tool" => {
            json!({"tools": tool, "tool_choice": "required", "reasoning_effort": "low"})
        }
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
        "cache key" => json!({"prompt_cache_key": "k1"}),
        "end user" => json!({"user": "u1"}),
        "metadata" => json!({"metadata": {"a": "b"}}),
        "service tier" => json!({"service_tier": "priority"}),
        "verbosity" => json!({"verbosity": "low"}),
        "bias of tokens" => json!({"logit_bias": {"7": 5}}),
        "vendor's own tool" => json!({"web_search_options": {}}),
        "unknown member" => json!({"surprise": 1}),
        "instructions: by the developer" => {
            json!({"messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]})
        }
        "instructions: amid the turns" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "system", "content": "be kind"}, {"role": "user", "content": "c"}]}),
        "a refusal before" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "refusal": "no"}, {"role": "user", "content": "c"}]}),
        "an answer begun" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}]}),
        "an answer begun: a space at its end" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b "}]}),
        "strict tools" => json!({"tools": [{"type": "function", "function": {"name": "f", "description": "d",
            "parameters": schema(), "strict": true}}]}),
        "no tool: not now" => json!({"tools": tool, "tool_choice": "none"}),
        "several calls at once" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"c\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
            {"role": "tool", "tool_call_id": "c2", "content": "gone"}]}),
        "description of a schema" => json!({"response_format": {"type": "json_schema",
            "json_schema": {"name": "s", "description": "weir", "schema": schema()}}}),
        "budget of thinking" => json!({"reasoning": {"max_tokens": 2048}}),
        "no thinking" => json!({"reasoning_effort": "none"}),
        "cache mark: an hour" => json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
            "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]}),
        "an answer in sound" => {
            json!({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}})
        }
        "service tier: no better one" => json!({"service_tier": "default"}),
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
        "detail of an image" => user(json!({"type": "input_image", "image_url": url("image/png"), "detail": "low"})),
        "name of a file" => user(json!({"type": "input_file", "filename": "weir.pdf",
            "file_data": format!("data:application/pdf;base64,{PNG}")})),
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
        "tool result: image" => json!({"tools": tool, "input": [{"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":\"b\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": [
                {"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}]}]}),
        "earlier thoughts" => json!({"input": [{"role": "user", "content": "hi"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}),
        "JSON object" => json!({"text": {"format": {"type": "json_object"}}}),
        "JSON schema" => {
            json!({"text": {"format": {"type": "json_schema", "name": "s", "schema": schema(), "strict": true}}})
        }
        "name of a schema" => {
            json!({"text": {"format": {"type": "json_schema", "name": "weir", "schema": schema()}}})
        }
        "effort of thinking" => json!({"reasoning": {"effort": "low"}}),
        "thinking beside a forced tool" => {
            json!({"tools": tool, "tool_choice": "required", "reasoning": {"effort": "low"}})
        }
        "thoughts shown" => json!({"reasoning": {"effort": "low", "summary": "auto"}}),
        "limit of tokens" => json!({"max_output_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"top_p": 0.5}),
        "log probabilities" => json!({"top_logprobs": 2, "include": ["message.output_text.logprobs"]}),
        "cache key" => json!({"prompt_cache_key": "k1"}),
        "end user" => json!({"user": "u1"}),
        "metadata" => json!({"metadata": {"a": "b"}}),
        "service tier" => json!({"service_tier": "priority"}),
        "verbosity" => json!({"text": {"verbosity": "low"}}),
        "vendor's own tool" => json!({"tools": [{"type": "web_search"}]}),
        "stored conversation" => json!({"previous_response_id": "resp_1"}),
        "unknown member" => json!({"surprise": 1}),
        "instructions: by the developer" => {
            json!({"input": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]})
        }
        "instructions: amid the turns" => json!({"input": [{"role": "user", "content": "a"},
            {"role": "system", "content": "be kind"}, {"role": "user", "content": "c"}]}),
        "a refusal before" => json!({"input": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, {"role": "user", "content": "c"}]}),
        "an answer begun" => {
            json!({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
        }
        "an answer begun: a space at its end" => {
            json!({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b "}]})
        }
        "PDF, URL" => user(json!({"type": "input_file", "file_url": "https://example.com/a.pdf"})),
        "strict tools" => json!({"tools": [{"type": "function", "name": "f", "description": "d",
            "parameters": schema(), "strict": true}]}),
        "no tool: not now" => json!({"tools": tool, "tool_choice": "none"}),
        "several calls at once" => json!({"tools": tool, "input": [{"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":\"b\"}"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{\"a\":\"c\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "function_call_output", "call_id": "c2", "output": "gone"}]}),
        "ids of items" => json!({"input": [{"role": "user", "content": "hi"},
            {"type": "message", "id": "msg_1", "role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}),
        "states of items" => json!({"input": [{"role": "user", "content": "hi"}, {"type": "message",
            "status": "completed", "role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}),
        "description of a schema" => json!({"text": {"format": {"type": "json_schema", "name": "s",
            "description": "weir", "schema": schema()}}}),
        "no thinking" => json!({"reasoning": {"effort": "none"}}),
        "service tier: no better one" => json!({"service_tier": "default"}),
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
        "name of a file" => user(json!({"type": "document", "title": "weir.pdf", "source": data("application/pdf")})),
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
        "tool result: failed" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done",
                "is_error": true}]}]}),
        "tool result: image" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [
                {"type": "image", "source": data("image/png")}]}]}]}),
        "earlier thoughts" => json!({"messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "b"}]}, {"role": "user", "content": "c"}]}),
        "JSON schema" => json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}}),
        "effort of thinking" => json!({"max_tokens": 4096, "output_config": {"effort": "low"}}),
        "budget of thinking" => {
            json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}})
        }
        "thinking beside a forced tool" => json!({"tools": tool, "tool_choice": {"type": "any"},
            "output_config": {"effort": "low"}}),
        "thoughts shown" => json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048,
            "display": "summarized"}}),
        "stop sequences" => json!({"stop_sequences": ["x"]}),
        "limit of tokens" => json!({"max_tokens": 50}),
        "temperature" => json!({"temperature": 0.5}),
        "top_p" => json!({"top_p": 0.5}),
        "top_k" => json!({"top_k": 5}),
        "cache mark" => json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
            "cache_control": {"type": "ephemeral"}}]}]}),
        "end user" => json!({"metadata": {"user_id": "u1"}}),
        "service tier: no better one" => json!({"service_tier": "standard_only"}),
        "vendor's own tool" => json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        "unknown member" => json!({"surprise": 1}),
        "instructions: amid the turns" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "system", "content": "be kind"}, {"role": "user", "content": "c"}]}),
        "an answer begun" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}]}),
        "PDF, URL" => user(json!({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}})),
        "document of plain text" => {
            user(json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "weir"}}))
        }
        "strict tools" => {
            json!({"tools": [{"name": "f", "description": "d", "input_schema": schema(), "strict": true}]})
        }
        "no tool: not now" => json!({"tools": tool, "tool_choice": {"type": "none"}}),
        "several calls at once" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "b"}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {"a": "c"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "gone"}]}]}),
        "no thinking" => json!({"thinking": {"type": "disabled"}}),
        "cache mark: an hour" => json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
            "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]}),
        "an answer begun: a space at its end" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b "}]}),
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
        "name of a file" => user(json!({"inlineData": {"mimeType": "application/pdf", "data": PNG,
            "displayName": "weir.pdf"}})),
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
        "tool choice: named" => json!({"tools": tool,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
        "tool result" => json!({"tools": tool, "contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "done"}}}]}]}),
        "tool result: failed" => json!({"tools": tool, "contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "done"}}}]}]}),
        "tool result: image" => json!({"tools": tool, "contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}, "parts": [
                data("image/png")]}}]}]}),
        "earlier thoughts" => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "b"}]},
            {"role": "user", "parts": [{"text": "c"}]}]}),
        "JSON object" => config(json!({"responseMimeType": "application/json"})),
        "JSON schema" => config(json!({"responseMimeType": "application/json", "responseJsonSchema": schema()})),
        "effort of thinking" => config(json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
        "budget of thinking" => config(json!({"thinkingConfig": {"thinkingBudget": 2048}})),
        "thinking beside a forced tool" => json!({"tools": tool,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}),
        "thoughts shown" => config(json!({"thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": true}})),
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
        "safety settings" => json!({"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT",
            "threshold": "BLOCK_NONE"}]}),
        "vendor's own tool" => json!({"tools": [{"googleSearch": {}}]}),
        "stored conversation" => json!({"cachedContent": "cachedContents/1"}),
        "unknown member" => json!({"surprise": 1}),
        "an answer begun" => json!({"contents": [{"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b"}]}]}),
        "an answer begun: a space at its end" => json!({"contents": [{"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b "}]}]}),
        "PDF, URL" => {
            user(json!({"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}}))
        }
        "video, data" => user(data("video/mp4")),
        "no tool: not now" => json!({"tools": tool, "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
        "several calls at once" => json!({"tools": tool, "contents": [{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f", "args": {"a": "b"}}},
                {"functionCall": {"id": "c2", "name": "f", "args": {"a": "c"}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"result": "done"}}},
                {"functionResponse": {"id": "c2", "name": "f", "response": {"result": "gone"}}}]}]}),
        "no thinking" => config(json!({"thinkingConfig": {"thinkingBudget": 0}})),
        "an answer in sound" => config(json!({"responseModalities": ["AUDIO"]})),
        "detail of an image" => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}, data("image/png")]}],
            "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}),
        "strict tools" => json!({"tools": tool, "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}}),
        "service tier" => json!({"serviceTier": "priority"}),
        "service tier: no better one" => json!({"serviceTier": "standard"}),
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
        "detail of an image" => {
            user(json!({"type": "image_url", "image_url": {"url": url("image/png"), "detail": "low"}}))
        }
        "tools" => json!({"tools": tool}),
        "tool choice: some" => json!({"tools": tool, "tool_choice": "REQUIRED"}),
        "tool result" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"}]}),
        "earlier thoughts" => json!({"messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"}]}),
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
        "instructions: by the developer" => {
            json!({"messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]})
        }
        "instructions: amid the turns" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "system", "content": "be kind"}, {"role": "user", "content": "c"}]}),
        "an answer begun" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}]}),
        "an answer begun: a space at its end" => json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b "}]}),
        "strict tools" => json!({"tools": tool, "strict_tools": true}),
        "no tool: not now" => json!({"tools": tool, "tool_choice": "NONE"}),
        "several calls at once" => json!({"tools": tool, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"c\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
            {"role": "tool", "tool_call_id": "c2", "content": "gone"}]}),
        "no thinking" => json!({"thinking": {"type": "disabled"}}),
        "effort of thinking" => json!({"reasoning_effort": "low"}),
        "thinking beside a forced tool" => {
            json!({"tools": tool, "tool_choice": "REQUIRED", "reasoning_effort": "low"})
        }
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
        "name of a file" => user(json!({"document": {"format": "pdf", "name": "weir", "source": {"bytes": PNG}}})),
        "tools" => json!({"toolConfig": {"tools": tools}}),
        "tool choice: some" => json!({"toolConfig": {"tools": tools, "toolChoice": {"any": {}}}}),
        "tool choice: named" => json!({"toolConfig": {"tools": tools, "toolChoice": {"tool": {"name": "f"}}}}),
        "tool result" => {
            json!({"toolConfig": {"tools": tools}, "messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": "b"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "done"}]}}]}]})
        }
        "tool result: failed" => {
            json!({"toolConfig": {"tools": tools}, "messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": "b"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "done"}],
                "status": "error"}}]}]})
        }
        "tool result: image" => {
            json!({"toolConfig": {"tools": tools}, "messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": "b"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [
                {"image": {"format": "png", "source": {"bytes": PNG}}}]}}]}]})
        }
        "earlier thoughts" => json!({"messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"text": "b"}]},
            {"role": "user", "content": [{"text": "c"}]}]}),
        "name of a schema" => json!({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {
            "jsonSchema": {"name": "weir", "schema": schema().to_string()}}}}}),
        "JSON schema" => json!({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {
            "jsonSchema": {"schema": schema().to_string()}}}}}),
        "budget of thinking" => {
            json!({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}})
        }
        "stop sequences" => config(json!({"stopSequences": ["x"]})),
        "limit of tokens" => config(json!({"maxTokens": 50})),
        "temperature" => config(json!({"temperature": 0.5})),
        "top_p" => config(json!({"topP": 0.5})),
        "cache mark" => user(json!({"cachePoint": {"type": "default"}})),
        "metadata" => json!({"requestMetadata": {"a": "b"}}),
        "service tier" => json!({"serviceTier": {"type": "priority"}}),
        "vendor's own tool" => json!({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}),
        "unknown member" => json!({"surprise": 1}),
        "an answer begun" => json!({"messages": [{"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"text": "b"}]}]}),
        "an answer begun: a space at its end" => json!({"messages": [{"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"text": "b "}]}]}),
        "document of plain text" => {
            user(json!({"document": {"format": "txt", "name": "a", "source": {"text": "weir"}}}))
        }
        "sound, data" => user(json!({"audio": {"format": "wav", "source": {"bytes": PNG}}})),
        "video, data" => user(json!({"video": {"format": "mp4", "source": {"bytes": PNG}}})),
        "strict tools" => json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "d",
            "inputSchema": {"json": schema()}, "strict": true}}]}}),
        "several calls at once" => {
            json!({"toolConfig": {"tools": tools}, "messages": [{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": "b"}}},
                {"toolUse": {"toolUseId": "c2", "name": "f", "input": {"a": "c"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "done"}]}},
                {"toolResult": {"toolUseId": "c2", "content": [{"text": "gone"}]}}]}]})
        }
        "description of a schema" => json!({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {
            "jsonSchema": {"name": "s", "description": "weir", "schema": schema().to_string()}}}}}),
        "effort of thinking" => json!({"additionalModelRequestFields": {"output_config": {"effort": "low"}}}),
        "no thinking" => json!({"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}),
        "cache mark: an hour" => user(json!({"cachePoint": {"type": "default", "ttl": "1h"}})),
        "thoughts shown" => json!({"additionalModelRequestFields": {"thinking": {"type": "enabled",
            "budget_tokens": 2048, "display": "summarized"}}}),
        "top_k" => json!({"additionalModelRequestFields": {"top_k": 5}}),
        "service tier: no better one" => json!({"serviceTier": {"type": "default"}}),
        _ => return None,
    })
}

/// Where a thing stands in a body of this language, and what it looks like there: all of these must be found.
fn look(to: Tongue, feature: &str) -> Option<Vec<(&'static str, Value)>> {
    let found = match to {
        Tongue::Chat => in_chat(feature),
        Tongue::Responses => in_responses(feature),
        Tongue::Messages => in_messages(feature),
        Tongue::Generate => in_generate(feature),
        Tongue::Cohere => in_cohere(feature),
        Tongue::Converse => in_converse(feature),
    };
    (!found.is_empty()).then_some(found)
}

fn url(mime: &str) -> Value {
    format!("data:{mime};base64,{PNG}").into()
}

fn in_chat(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/messages/0/role", json!("system")), ("/messages/0/content", json!("be kind"))],
        "several turns" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content", json!("b"))],
        "image, data" => vec![("/messages/0/content/1/image_url/url", url("image/png"))],
        "image, URL" => vec![("/messages/0/content/1/image_url/url", json!("https://example.com/a.png"))],
        "detail of an image" => vec![("/messages/0/content/1/image_url/detail", json!("low"))],
        "PDF, data" => vec![("/messages/0/content/1/file/file_data", url("application/pdf"))],
        "name of a file" => vec![("/messages/0/content/1/file/filename", json!("weir"))],
        "sound, data" => vec![("/messages/0/content/1/input_audio/data", json!(PNG))],
        "file by id" => vec![("/messages/0/content/1/file/file_id", json!("file-1"))],
        "tools" => vec![
            ("/tools/0/function/name", json!("f")),
            ("/tools/0/function/description", json!("d")),
            ("/tools/0/function/parameters", schema()),
        ],
        "tool choice: some" => vec![("/tool_choice", json!("required"))],
        "tool choice: named" => vec![("/tool_choice/function/name", json!("f"))],
        "one tool at a time" => vec![("/parallel_tool_calls", json!(false))],
        "tool result" => vec![("/messages/2/role", json!("tool")), ("/messages/2/content", json!("done"))],
        "tool result: failed" => vec![("/messages/2/content", json!("Error: done"))],
        "tool result: image" => vec![("/messages/3/content/0/image_url/url", url("image/png"))],
        "participant's name" => vec![("/messages/0/name", json!("ann"))],
        "JSON object" => vec![("/response_format/type", json!("json_object"))],
        "JSON schema" => vec![("/response_format/json_schema/schema", schema())],
        "name of a schema" => vec![("/response_format/json_schema/name", json!("weir"))],
        "effort of thinking" | "budget of thinking" | "thinking beside a forced tool" => {
            vec![("/reasoning_effort", json!("low"))]
        }
        "stop sequences" => vec![("/stop/0", json!("x"))],
        "limit of tokens" => vec![("/max_completion_tokens", json!(50))],
        "temperature" => vec![("/temperature", json!(0.5))],
        "top_p" => vec![("/top_p", json!(0.5))],
        "frequency penalty" => vec![("/frequency_penalty", json!(0.5))],
        "presence penalty" => vec![("/presence_penalty", json!(0.5))],
        "seed" => vec![("/seed", json!(7))],
        "several answers" => vec![("/n", json!(2))],
        "log probabilities" => vec![("/logprobs", json!(true))],
        "end user" => vec![("/user", json!("u1"))],
        "metadata" => vec![("/metadata/a", json!("b"))],
        "service tier" => vec![("/service_tier", json!("priority"))],
        "service tier: no better one" => vec![("/service_tier", json!("default"))],
        "cache key" => vec![("/prompt_cache_key", json!("k1"))],
        "verbosity" => vec![("/verbosity", json!("low"))],
        "instructions: by the developer" => {
            vec![("/messages/0/role", json!("system")), ("/messages/0/content", json!("be kind"))]
        }
        "instructions: amid the turns" => vec![("/messages/1/content", json!("be kind"))],
        "a refusal before" => vec![("/messages/1/refusal", json!("no"))],
        "an answer begun" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content", json!("b"))],
        "an answer begun: a space at its end" => vec![("/messages/1/content", json!("b "))],
        "strict tools" => vec![("/tools/0/function/strict", json!(true))],
        "no tool: not now" => vec![("/tool_choice", json!("none"))],
        "several calls at once" => vec![
            ("/messages/1/tool_calls/1/function/name", json!("f")),
            ("/messages/2/content", json!("done")),
            ("/messages/3/content", json!("gone")),
        ],
        "description of a schema" => vec![("/response_format/json_schema/description", json!("weir"))],
        "no thinking" => vec![("/reasoning_effort", json!("none"))],
        "document of plain text" => vec![("/messages/0/content/1/text", json!("weir"))],
        "an answer in sound" => vec![("/modalities/1", json!("audio")), ("/audio/format", json!("pcm16"))],
        _ => vec![],
    }
}

fn in_responses(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/instructions", json!("be kind"))],
        "several turns" => vec![("/input/1/role", json!("assistant")), ("/input/1/content/0/text", json!("b"))],
        "image, data" => vec![("/input/0/content/1/image_url", url("image/png"))],
        "image, URL" => vec![("/input/0/content/1/image_url", json!("https://example.com/a.png"))],
        "detail of an image" => vec![("/input/0/content/1/detail", json!("low"))],
        "PDF, data" => vec![("/input/0/content/1/file_data", url("application/pdf"))],
        "name of a file" => vec![("/input/0/content/1/filename", json!("weir"))],
        "sound, data" => vec![("/input/0/content/1/input_audio/data", json!(PNG))],
        "file by id" => vec![("/input/0/content/1/file_id", json!("file-1"))],
        "tools" => {
            vec![("/tools/0/name", json!("f")), ("/tools/0/description", json!("d")), ("/tools/0/parameters", schema())]
        }
        "tool choice: some" => vec![("/tool_choice", json!("required"))],
        "tool choice: named" => vec![("/tool_choice/name", json!("f"))],
        "one tool at a time" => vec![("/parallel_tool_calls", json!(false))],
        "tool result" => vec![("/input/2/type", json!("function_call_output")), ("/input/2/output", json!("done"))],
        "tool result: failed" => vec![("/input/2/output", json!("Error: done"))],
        "tool result: image" => vec![("/input/2/output/0/image_url", url("image/png"))],
        "JSON object" => vec![("/text/format/type", json!("json_object"))],
        "JSON schema" => vec![("/text/format/schema", schema())],
        "name of a schema" => vec![("/text/format/name", json!("weir"))],
        "effort of thinking" | "budget of thinking" | "thinking beside a forced tool" => {
            vec![("/reasoning/effort", json!("low"))]
        }
        "thoughts shown" => vec![("/reasoning/summary", json!("auto"))],
        "limit of tokens" => vec![("/max_output_tokens", json!(50))],
        "temperature" => vec![("/temperature", json!(0.5))],
        "top_p" => vec![("/top_p", json!(0.5))],
        "log probabilities" => vec![("/top_logprobs", json!(2))],
        "end user" => vec![("/user", json!("u1"))],
        "metadata" => vec![("/metadata/a", json!("b"))],
        "service tier" => vec![("/service_tier", json!("priority"))],
        "service tier: no better one" => vec![("/service_tier", json!("default"))],
        "cache key" => vec![("/prompt_cache_key", json!("k1"))],
        "verbosity" => vec![("/text/verbosity", json!("low"))],
        "instructions: by the developer" => vec![("/instructions", json!("be kind"))],
        "instructions: amid the turns" => vec![("/input/1/content/0/text", json!("be kind"))],
        "a refusal before" => vec![("/input/1/content/0/refusal", json!("no"))],
        "an answer begun" => vec![("/input/1/role", json!("assistant")), ("/input/1/content/0/text", json!("b"))],
        "an answer begun: a space at its end" => vec![("/input/1/content/0/text", json!("b "))],
        "PDF, URL" => vec![("/input/0/content/1/file_url", json!("https://example.com/a.pdf"))],
        "strict tools" => vec![("/tools/0/strict", json!(true))],
        "no tool: not now" => vec![("/tool_choice", json!("none"))],
        "several calls at once" => {
            vec![("/input/2/name", json!("f")), ("/input/3/output", json!("done")), ("/input/4/output", json!("gone"))]
        }
        "description of a schema" => vec![("/text/format/description", json!("weir"))],
        "no thinking" => vec![("/reasoning/effort", json!("none"))],
        "document of plain text" => vec![("/input/0/content/1/text", json!("weir"))],
        _ => vec![],
    }
}

fn in_messages(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/system", json!("be kind"))],
        "several turns" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "image, data" => vec![("/messages/0/content/1/source/data", json!(PNG))],
        "image, URL" => vec![("/messages/0/content/1/source/url", json!("https://example.com/a.png"))],
        "PDF, data" => vec![("/messages/0/content/1/source/data", json!(PNG))],
        "name of a file" => vec![("/messages/0/content/1/title", json!("weir"))],
        "tools" => vec![
            ("/tools/0/name", json!("f")),
            ("/tools/0/description", json!("d")),
            ("/tools/0/input_schema", schema()),
        ],
        "tool choice: some" => vec![("/tool_choice/type", json!("any"))],
        "tool choice: named" => vec![("/tool_choice/name", json!("f"))],
        "one tool at a time" => vec![("/tool_choice/disable_parallel_tool_use", json!(true))],
        "tool result" => vec![("/messages/2/content/0/content", json!("done"))],
        "tool result: failed" => vec![("/messages/2/content/0/is_error", json!(true))],
        "tool result: image" => vec![("/messages/2/content/0/content/0/source/data", json!(PNG))],
        "JSON schema" => vec![("/output_config/format/schema/properties", schema()["properties"].clone())],
        "name of a schema" => vec![("/output_config/format/schema/title", json!("weir"))],
        "effort of thinking" => vec![("/thinking/budget_tokens", json!(1024))],
        "budget of thinking" => vec![("/thinking/budget_tokens", json!(2048))],
        "thoughts shown" => vec![("/thinking/type", json!("enabled"))],
        "stop sequences" => vec![("/stop_sequences/0", json!("x"))],
        "limit of tokens" => vec![("/max_tokens", json!(50))],
        "temperature" => vec![("/temperature", json!(0.5))],
        "top_p" => vec![("/top_p", json!(0.5))],
        "top_k" => vec![("/top_k", json!(5))],
        "cache mark" => vec![("/messages/0/content/0/cache_control/type", json!("ephemeral"))],
        "end user" => vec![("/metadata/user_id", json!("u1"))],
        "service tier" => vec![("/service_tier", json!("auto"))],
        "instructions: by the developer" => vec![("/system", json!("be kind"))],
        "instructions: amid the turns" => vec![("/system", json!("be kind"))],
        "a refusal before" => vec![("/messages/1/content/0/text", json!("no"))],
        "an answer begun" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "an answer begun: a space at its end" => vec![("/messages/1/content/0/text", json!("b"))],
        "PDF, URL" => vec![("/messages/0/content/1/source/url", json!("https://example.com/a.pdf"))],
        "document of plain text" => vec![("/messages/0/content/1/source/data", json!("weir"))],
        "strict tools" => vec![("/tools/0/strict", json!(true))],
        "no tool: not now" => vec![("/tool_choice/type", json!("none"))],
        "several calls at once" => vec![
            ("/messages/1/content/1/name", json!("f")),
            ("/messages/2/content/0/content", json!("done")),
            ("/messages/2/content/1/content", json!("gone")),
        ],
        "description of a schema" => vec![("/output_config/format/schema/description", json!("weir"))],
        "no thinking" => vec![("/thinking", ABSENT)],
        "cache mark: an hour" => vec![("/messages/0/content/0/cache_control/ttl", json!("1h"))],
        "service tier: no better one" => vec![("/service_tier", json!("standard_only"))],
        _ => vec![],
    }
}

fn in_generate(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/systemInstruction/parts/0/text", json!("be kind"))],
        "several turns" => vec![("/contents/1/role", json!("model")), ("/contents/1/parts/0/text", json!("b"))],
        "image, data" | "PDF, data" | "sound, data" => vec![("/contents/0/parts/1/inlineData/data", json!(PNG))],
        "image, URL" => vec![("/contents/0/parts/1/fileData/fileUri", json!("https://example.com/a.png"))],
        "detail of an image" => vec![("/generationConfig/mediaResolution", json!("MEDIA_RESOLUTION_LOW"))],
        "tools" => vec![
            ("/tools/0/functionDeclarations/0/name", json!("f")),
            ("/tools/0/functionDeclarations/0/description", json!("d")),
            ("/tools/0/functionDeclarations/0/parametersJsonSchema", schema()),
        ],
        "tool choice: some" => vec![("/toolConfig/functionCallingConfig/mode", json!("ANY"))],
        "tool choice: named" => vec![("/toolConfig/functionCallingConfig/allowedFunctionNames/0", json!("f"))],
        "tool result" => vec![("/contents/2/parts/0/functionResponse/response/result", json!("done"))],
        "tool result: failed" => vec![("/contents/2/parts/0/functionResponse/response/error", json!("done"))],
        "tool result: image" => vec![("/contents/3/parts/0/inlineData/data", json!(PNG))],
        "earlier thoughts" => vec![("/contents/1/parts/0/text", json!("hm"))],
        "JSON object" => vec![("/generationConfig/responseMimeType", json!("application/json"))],
        "JSON schema" => {
            vec![("/generationConfig/responseJsonSchema/properties", schema()["properties"].clone())]
        }
        "name of a schema" => vec![("/generationConfig/responseJsonSchema/title", json!("weir"))],
        "effort of thinking" | "thinking beside a forced tool" => {
            vec![("/generationConfig/thinkingConfig/thinkingBudget", json!(1024))]
        }
        "budget of thinking" => vec![("/generationConfig/thinkingConfig/thinkingBudget", json!(2048))],
        "thoughts shown" => vec![("/generationConfig/thinkingConfig/includeThoughts", json!(true))],
        "stop sequences" => vec![("/generationConfig/stopSequences/0", json!("x"))],
        "limit of tokens" => vec![("/generationConfig/maxOutputTokens", json!(50))],
        "temperature" => vec![("/generationConfig/temperature", json!(0.5))],
        "top_p" => vec![("/generationConfig/topP", json!(0.5))],
        "top_k" => vec![("/generationConfig/topK", json!(5))],
        "frequency penalty" => vec![("/generationConfig/frequencyPenalty", json!(0.5))],
        "presence penalty" => vec![("/generationConfig/presencePenalty", json!(0.5))],
        "seed" => vec![("/generationConfig/seed", json!(7))],
        "several answers" => vec![("/generationConfig/candidateCount", json!(2))],
        "log probabilities" => vec![("/generationConfig/responseLogprobs", json!(true))],
        "metadata" => vec![("/labels/a", json!("b"))],
        "service tier" => vec![("/serviceTier", json!("priority"))],
        "service tier: no better one" => vec![("/serviceTier", ABSENT)],
        "instructions: by the developer" => vec![("/systemInstruction/parts/0/text", json!("be kind"))],
        "instructions: amid the turns" => vec![("/systemInstruction/parts/0/text", json!("be kind"))],
        "a refusal before" => vec![("/contents/1/parts/0/text", json!("no"))],
        "an answer begun" => vec![("/contents/1/role", json!("model")), ("/contents/1/parts/0/text", json!("b"))],
        "an answer begun: a space at its end" => vec![("/contents/1/parts/0/text", json!("b "))],
        "PDF, URL" => vec![("/contents/0/parts/1/fileData/fileUri", json!("https://example.com/a.pdf"))],
        "document of plain text" => vec![("/contents/0/parts/1/text", json!("weir"))],
        "video, data" => vec![("/contents/0/parts/1/inlineData/data", json!(PNG))],
        "strict tools" => vec![("/toolConfig/functionCallingConfig/mode", json!("VALIDATED"))],
        "no tool: not now" => vec![("/toolConfig/functionCallingConfig/mode", json!("NONE"))],
        "several calls at once" => vec![
            ("/contents/1/parts/1/functionCall/name", json!("f")),
            ("/contents/2/parts/0/functionResponse/response/result", json!("done")),
            ("/contents/2/parts/1/functionResponse/response/result", json!("gone")),
        ],
        "description of a schema" => vec![("/generationConfig/responseJsonSchema/description", json!("weir"))],
        "no thinking" => vec![("/generationConfig/thinkingConfig/thinkingBudget", json!(0))],
        _ => vec![],
    }
}

fn in_cohere(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/messages/0/role", json!("system")), ("/messages/0/content", json!("be kind"))],
        "several turns" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "image, data" => vec![("/messages/0/content/1/image_url/url", url("image/png"))],
        "image, URL" => vec![("/messages/0/content/1/image_url/url", json!("https://example.com/a.png"))],
        "detail of an image" => vec![("/messages/0/content/1/image_url/detail", json!("low"))],
        "tools" => vec![
            ("/tools/0/function/name", json!("f")),
            ("/tools/0/function/description", json!("d")),
            ("/tools/0/function/parameters", schema()),
        ],
        "tool choice: some" | "tool choice: named" => {
            vec![("/tool_choice", json!("REQUIRED")), ("/tools/0/function/name", json!("f"))]
        }
        "tool result" => vec![("/messages/2/role", json!("tool")), ("/messages/2/content", json!("done"))],
        "tool result: failed" => vec![("/messages/2/content", json!("Error: done"))],
        "tool result: image" => vec![("/messages/3/content/0/image_url/url", url("image/png"))],
        "earlier thoughts" => vec![("/messages/1/content/0/thinking", json!("hm"))],
        "JSON object" => vec![("/response_format/type", json!("json_object"))],
        "JSON schema" => vec![("/response_format/json_schema", schema())],
        "effort of thinking" | "thinking beside a forced tool" => vec![("/thinking/token_budget", json!(1024))],
        "budget of thinking" | "thoughts shown" => vec![("/thinking/type", json!("enabled"))],
        "stop sequences" => vec![("/stop_sequences/0", json!("x"))],
        "limit of tokens" => vec![("/max_tokens", json!(50))],
        "temperature" => vec![("/temperature", json!(0.5))],
        "top_p" => vec![("/p", json!(0.5))],
        "top_k" => vec![("/k", json!(5))],
        "frequency penalty" => vec![("/frequency_penalty", json!(0.5))],
        "presence penalty" => vec![("/presence_penalty", json!(0.5))],
        "seed" => vec![("/seed", json!(7))],
        "log probabilities" => vec![("/logprobs", json!(true))],
        "instructions: by the developer" => {
            vec![("/messages/0/role", json!("system")), ("/messages/0/content", json!("be kind"))]
        }
        "instructions: amid the turns" => vec![("/messages/1/content", json!("be kind"))],
        "a refusal before" => vec![("/messages/1/content/0/text", json!("no"))],
        "an answer begun" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "an answer begun: a space at its end" => vec![("/messages/1/content/0/text", json!("b "))],
        "document of plain text" => vec![("/messages/0/content/1/text", json!("weir"))],
        "strict tools" => vec![("/strict_tools", json!(true))],
        "no tool: not now" => vec![("/tool_choice", json!("NONE"))],
        "several calls at once" => vec![
            ("/messages/1/tool_calls/1/function/name", json!("f")),
            ("/messages/2/content", json!("done")),
            ("/messages/3/content", json!("gone")),
        ],
        "no thinking" => vec![("/thinking/type", json!("disabled"))],
        _ => vec![],
    }
}

fn in_converse(feature: &str) -> Vec<(&'static str, Value)> {
    match feature {
        "instructions" => vec![("/system/0/text", json!("be kind"))],
        "several turns" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "image, data" => vec![("/messages/0/content/1/image/source/bytes", json!(PNG))],
        "PDF, data" => vec![("/messages/0/content/1/document/source/bytes", json!(PNG))],
        "name of a file" => vec![("/messages/0/content/1/document/name", json!("weir"))],
        "sound, data" => vec![("/messages/0/content/1/audio/source/bytes", json!(PNG))],
        "tools" => vec![
            ("/toolConfig/tools/0/toolSpec/name", json!("f")),
            ("/toolConfig/tools/0/toolSpec/description", json!("d")),
            ("/toolConfig/tools/0/toolSpec/inputSchema/json", schema()),
        ],
        "tool choice: some" => vec![("/toolConfig/toolChoice/any", json!({}))],
        "tool choice: named" => vec![("/toolConfig/toolChoice/tool/name", json!("f"))],
        "tool result" => vec![("/messages/2/content/0/toolResult/content/0/text", json!("done"))],
        "tool result: failed" => vec![("/messages/2/content/0/toolResult/status", json!("error"))],
        "tool result: image" => {
            vec![("/messages/2/content/0/toolResult/content/0/image/source/bytes", json!(PNG))]
        }
        "JSON schema" => {
            vec![("/outputConfig/textFormat/structure/jsonSchema/schema", json!(schema().to_string()))]
        }
        "name of a schema" => vec![("/outputConfig/textFormat/structure/jsonSchema/name", json!("weir"))],
        "effort of thinking" => vec![("/additionalModelRequestFields/thinking/budget_tokens", json!(1024))],
        "budget of thinking" => vec![("/additionalModelRequestFields/thinking/budget_tokens", json!(2048))],
        "thoughts shown" => vec![("/additionalModelRequestFields/thinking/type", json!("enabled"))],
        "stop sequences" => vec![("/inferenceConfig/stopSequences/0", json!("x"))],
        "limit of tokens" => vec![("/inferenceConfig/maxTokens", json!(50))],
        "temperature" => vec![("/inferenceConfig/temperature", json!(0.5))],
        "top_p" => vec![("/inferenceConfig/topP", json!(0.5))],
        "top_k" => vec![("/additionalModelRequestFields/top_k", json!(5))],
        "cache mark" => vec![("/messages/0/content/1/cachePoint/type", json!("default"))],
        "metadata" => vec![("/requestMetadata/a", json!("b"))],
        "service tier" => vec![("/serviceTier/type", json!("priority"))],
        "service tier: no better one" => vec![("/serviceTier", ABSENT)],
        "instructions: by the developer" => vec![("/system/0/text", json!("be kind"))],
        "instructions: amid the turns" => vec![("/system/0/text", json!("be kind"))],
        "a refusal before" => vec![("/messages/1/content/0/text", json!("no"))],
        "an answer begun" => vec![("/messages/1/role", json!("assistant")), ("/messages/1/content/0/text", json!("b"))],
        "an answer begun: a space at its end" => vec![("/messages/1/content/0/text", json!("b"))],
        "document of plain text" => vec![("/messages/0/content/1/document/source/bytes", json!("d2Vpcg=="))],
        "video, data" => vec![("/messages/0/content/1/video/source/bytes", json!(PNG))],
        "strict tools" => vec![("/toolConfig/tools/0/toolSpec/strict", json!(true))],
        "no tool: not now" => vec![("/toolConfig", ABSENT)],
        "several calls at once" => vec![
            ("/messages/1/content/1/toolUse/name", json!("f")),
            ("/messages/2/content/0/toolResult/content/0/text", json!("done")),
            ("/messages/2/content/1/toolResult/content/0/text", json!("gone")),
        ],
        "description of a schema" => vec![("/outputConfig/textFormat/structure/jsonSchema/description", json!("weir"))],
        "no thinking" => vec![("/additionalModelRequestFields/thinking", ABSENT)],
        "cache mark: an hour" => vec![("/messages/0/content/1/cachePoint/ttl", json!("1h"))],
        _ => vec![],
    }
}

/// What a refusal or a header calls it, in any caller's language: one of these is among the letters.
fn words(feature: &str) -> &'static [&'static str] {
    match feature {
        "image, URL" => &["by URL"],
        "detail of an image" => &["detail", "mediaResolution"],
        "PDF, data" => &["documents", "media other than images"],
        "name of a file" => &["names of files", "media other than images"],
        "sound, data" => &["sounds", "media other than images"],
        "file by id" => &["files by id", "files that another vendor keeps"],
        "one tool at a time" => &["one tool call at a time"],
        "earlier thoughts" => &["earlier thoughts"],
        "participant's name" => &["names of participants"],
        "JSON object" => &["JSON without a schema"],
        "name of a schema" => &["the schema's name"],
        "thinking beside a forced tool" => &["thinking beside a forced tool"],
        "thoughts shown" => &["that thoughts are shown"],
        "stop sequences" => &["stop"],
        "top_k" => &["top_k", "topK", "k"],
        "frequency penalty" => &["frequency_penalty", "frequencyPenalty"],
        "presence penalty" => &["presence_penalty", "presencePenalty"],
        "seed" => &["seed"],
        "several answers" => &["several answers", "more than one answer"],
        "log probabilities" => &["logprobs", "Logprobs"],
        "cache mark" | "cache mark: an hour" => &["cache marks"],
        "cache key" => &["prompt_cache_key"],
        "end user" => &["user"],
        "metadata" => &["metadata", "labels", "requestMetadata"],
        "service tier" | "service tier: no better one" => &["service_tier", "serviceTier"],
        "verbosity" => &["verbosity"],
        "bias of tokens" => &["logit_bias"],
        "safety settings" => &["safetySettings"],
        "vendor's own tool" => &["web_search", "googleSearch", "documents", "guardrailConfig"],
        "stored conversation" => &["previous_response_id", "cachedContent"],
        "a refusal before" => &["refusals"],
        "an answer begun" => &["prefill"],
        "an answer begun: a space at its end" => &["space that the answer"],
        "PDF, URL" => &["by URL", "documents", "media other than images"],
        "document of plain text" => &["documents"],
        "video, data" => &["videos", "media other than images"],
        "strict tools" => &["strict", "validated"],
        "no tool: not now" => &["tool_choice"],
        "ids of items" => &["ids of items"],
        "states of items" => &["states of items"],
        "description of a schema" => &["the schema's description"],
        "effort of thinking" | "budget of thinking" => &["the exact amount of thinking"],
        "no thinking" => &["that nothing at all is thought"],
        "an answer in sound" => &["modalities", "responseModalities", "audio"],
        "unknown member" => &["surprise"],
        _ => &[],
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Found in the vendor's body.
    Said,
    /// Found in the vendor's body, nearly, and named in a header.
    Roughly,
    /// Named in a header.
    Told,
    /// Named in a 400.
    Refused,
}

/// What becomes of it, by what is found: in the vendor's body, or among the names of what fell.
fn fate(from: Tongue, to: Tongue, feature: &str, body: &Value) -> Result<Fate, String> {
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
    let written: Value = serde_json::from_slice(&out).map_err(|error| format!("not JSON: {error}"))?;
    let Fallen { wishes, hints } = Fallen::of(speech(from), &call, &lost);
    let names_it = |name: &String| words(feature).iter().any(|word| name.contains(word));
    if let Some(other) = wishes.iter().find(|name| !names_it(name)) {
        return Err(format!("refused as {other:?}, which is something else"));
    }
    let missing = |(pointer, value): &(&str, Value)| !is_alike(written.pointer(pointer), value);
    let found = look(to, feature).map(|all| all.into_iter().find(missing));
    match (found, wishes.is_empty(), hints.iter().any(names_it)) {
        (_, false, _) => Ok(Fate::Refused),
        (Some(None), true, true) => Ok(Fate::Roughly),
        (_, true, true) => Ok(Fate::Told),
        (Some(None), true, false) => Ok(Fate::Said),
        (Some(Some((pointer, value))), true, false) => {
            Err(format!("fell in silence: no {value} at {pointer} of {written}"))
        }
        (None, true, false) => Err(format!("fell in silence (nobody knows where it would stand): {written}")),
    }
}

/// Where saying nothing says it.
const ABSENT: Value = Value::Null;

/// Names may be cleaned or have lost an ending.
fn is_alike(found: Option<&Value>, wanted: &Value) -> bool {
    match (found, wanted) {
        (found, &ABSENT) => found.is_none(),
        (Some(Value::String(found)), Value::String(wanted)) if wanted == "weir" => found.starts_with(wanted),
        (found, wanted) => found == Some(wanted),
    }
}

fn page() -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    let mut page = String::from(HEAD);
    for from in Tongue::ALL {
        let _ = writeln!(page, "\n## {}\n", name(*from));
        let others: Vec<_> = Tongue::ALL.iter().copied().filter(|to| to != from).collect();
        let names: Vec<_> = others.iter().map(|to| name(*to)).collect();
        let _ = writeln!(page, "| | {} |", names.join(" | "));
        let _ = writeln!(page, "|---|{}", "---|".repeat(others.len()));
        for feature in FEATURES {
            let Some(body) = request(*from, feature) else { continue };
            let mut row = format!("| {feature} |");
            for to in &others {
                let fate = fate(*from, *to, feature, &body);
                if let Err(why) = &fate {
                    wrong.push(format!("{from:?} to {to:?}, {feature}: {why}"));
                }
                let word = match fate {
                    Ok(Fate::Said) => "yes",
                    Ok(Fate::Roughly) => "roughly",
                    Ok(Fate::Told) => "told",
                    Ok(Fate::Refused) => "no",
                    Err(_) => "?",
                };
                let _ = write!(row, " {word} |");
            }
            let _ = writeln!(page, "{row}");
        }
        let wordless: Vec<_> = FEATURES.iter().copied().filter(|feature| request(*from, feature).is_none()).collect();
        let _ = writeln!(page, "\nThis language has no word for: {}.", wordless.join("; "));
    }
    (page, wrong)
}

const HEAD: &str = "# What becomes of everything that a caller can say

For each language of callers, one table: a row is something that it can say, a column the language of the vendor that
is asked.

* `yes`: it is said in the vendor's words, or what the vendor does unasked is just that.
* `roughly`: it is said as nearly as the vendor's words allow, and `x-weir-dropped` names what of it is not exact.
* `told`: a hint, which changes no answer, and for which the vendor's language has no word. The call is made without it, and
  `x-weir-dropped` names it.
* `no`: the vendor's language has no word for it. The call is refused with a 400 that names it; where the operator set
  `untranslatable = \"drop\"` it is made without, and `x-weir-dropped` names it.

Between the same languages nothing is translated and everything passes.

This page is generated by running the code (`tests/suite/fates.rs`, `WEIR_BLESS=1`). Each cell is proved: what the row says
is put into a call and looked for in the vendor's body, in the refusal, or in the header. What is found nowhere fails the
test, and so does a page that is stale.
";

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

/// What a vendor of a language is told, its callers can say: a row that is missing there was forgotten.
#[test]
fn what_a_language_is_told_its_callers_can_say() {
    let mut forgotten = Vec::new();
    for tongue in Tongue::ALL {
        for feature in FEATURES {
            let is_told = look(*tongue, feature).is_some();
            let is_said = request(*tongue, feature).is_some();
            let is_elsewhere = SAID_AS_ANOTHER.contains(&(*tongue, *feature));
            if is_told && is_said == is_elsewhere {
                forgotten.push(format!("{tongue:?}: {feature}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "{}", forgotten.join("\n"));
}

/// What callers of a language say in the words of another row.
const SAID_AS_ANOTHER: &[(Tongue, &str)] = &[
    // Text is text, wherever it came from.
    (Tongue::Chat, "document of plain text"),
    (Tongue::Responses, "document of plain text"),
    (Tongue::Generate, "document of plain text"),
    (Tongue::Cohere, "document of plain text"),
    // So is what a model said instead of an answer.
    (Tongue::Messages, "a refusal before"),
    (Tongue::Generate, "a refusal before"),
    (Tongue::Cohere, "a refusal before"),
    (Tongue::Converse, "a refusal before"),
    // There is one kind of instructions, and in two languages one place for them.
    (Tongue::Messages, "instructions: by the developer"),
    (Tongue::Generate, "instructions: by the developer"),
    (Tongue::Generate, "instructions: amid the turns"),
    (Tongue::Converse, "instructions: by the developer"),
    (Tongue::Converse, "instructions: amid the turns"),
    // A result is words, and what they tell is between the model and the tool.
    (Tongue::Chat, "tool result: failed"),
    (Tongue::Responses, "tool result: failed"),
    (Tongue::Cohere, "tool result: failed"),
    (Tongue::Chat, "tool result: image"),
    (Tongue::Cohere, "tool result: image"),
    // Within the schema, which passes as it is.
    (Tongue::Messages, "name of a schema"),
    (Tongue::Messages, "description of a schema"),
    (Tongue::Generate, "name of a schema"),
    (Tongue::Generate, "description of a schema"),
    // An effort.
    (Tongue::Responses, "budget of thinking"),
    // A budget: who thinks is shown.
    (Tongue::Cohere, "thoughts shown"),
    // Offering one tool and demanding some.
    (Tongue::Cohere, "tool choice: named"),
    // Offering none.
    (Tongue::Converse, "no tool: not now"),
    // A better tier is what is bought, and taken unless it is declined.
    (Tongue::Messages, "service tier"),
];

/// What this product promises that callers can say, and the rows that prove it, pair by pair.
const PROMISED: &[(&str, &[&str])] = &[
    (
        "system and developer prompts",
        &["instructions", "instructions: by the developer", "instructions: amid the turns"],
    ),
    ("multi-turn", &["several turns", "a refusal before", "an answer begun", "an answer begun: a space at its end"]),
    ("images", &["image, data", "image, URL", "detail of an image"]),
    ("files", &["PDF, data", "PDF, URL", "document of plain text", "name of a file", "file by id"]),
    ("sounds", &["sound, data", "video, data", "an answer in sound"]),
    (
        "tools and their choice",
        &["tools", "strict tools", "tool choice: some", "tool choice: named", "no tool: not now"],
    ),
    ("parallel calls", &["one tool at a time", "several calls at once"]),
    ("tool results", &["tool result", "tool result: failed", "tool result: image"]),
    ("structured output", &["JSON object", "JSON schema", "name of a schema", "description of a schema"]),
    (
        "reasoning",
        &[
            "effort of thinking",
            "budget of thinking",
            "no thinking",
            "thoughts shown",
            "earlier thoughts",
            "thinking beside a forced tool",
        ],
    ),
    ("stop sequences", &["stop sequences"]),
    ("sampling", &["temperature", "top_p", "top_k", "frequency penalty", "presence penalty", "bias of tokens"]),
    ("lengths", &["limit of tokens", "verbosity"]),
    ("seeds", &["seed"]),
    ("log probabilities", &["log probabilities"]),
    ("n", &["several answers"]),
    ("cache markers", &["cache mark", "cache mark: an hour", "cache key"]),
    ("metadata", &["metadata", "end user", "participant's name"]),
    ("service tier", &["service tier", "service tier: no better one"]),
    (
        "whatever else",
        &[
            "ids of items",
            "states of items",
            "safety settings",
            "vendor's own tool",
            "stored conversation",
            "unknown member",
        ],
    ),
];

/// Each promise has its rows, each row is some caller's, and no row is nobody's promise.
#[test]
fn every_promise_has_its_rows() {
    let promised: Vec<&str> = PROMISED.iter().flat_map(|(_, rows)| *rows).copied().collect();
    for row in &promised {
        assert!(FEATURES.contains(row), "{row} is no row");
        assert!(Tongue::ALL.iter().any(|tongue| request(*tongue, row).is_some()), "nobody says {row}");
    }
    for row in FEATURES {
        assert!(promised.contains(row), "{row} is promised nowhere");
    }
}
