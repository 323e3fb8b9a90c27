//! Bodies that the real vendors take and refuse: the refused ones are what translations got wrong, each in its vendor's case.

use super::*;

fn judged(endpoint: &Endpoint, body: &str) -> Option<String> {
    refuses(endpoint, body.as_bytes())
}

fn converse() -> Endpoint {
    Endpoint::Converse { model: "m".into(), stream: false }
}

fn generate() -> Endpoint {
    Endpoint::Generate { model: "m".into() }
}

#[test]
fn a_conversation_with_tools_is_taken_by_each() {
    for (endpoint, body) in [
        (
            Endpoint::Chat,
            r#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"done"}],"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}],"tool_choice":"auto","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            Endpoint::Responses,
            r#"{"model":"m","input":[{"role":"user","content":"hi"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAABweirbench_sealed-thought=="},{"type":"function_call","call_id":"c1","name":"look","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"done"}],"tools":[{"type":"function","name":"look","parameters":{},"strict":false}],"store":false}"#,
        ),
        (
            Endpoint::Messages,
            r#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"d2VpcmJlbmNoLXNpZ25hdHVyZS1vZi1hLXRob3VnaHQ="},{"type":"tool_use","id":"c1","name":"look","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"done"}]}],"tools":[{"name":"look","input_schema":{"type":"object"}}]}"#,
        ),
        (
            generate(),
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"functionCall":{"name":"look","args":{"a_b":1}},"thought_signature":"c2lnbmVk"}]},{"role":"user","parts":[{"functionResponse":{"name":"look","response":{"output":"done"}}}]}],"tools":[{"function_declarations":[{"name":"look","parameters":{"type":"OBJECT","properties":{"a_b":{"type":"STRING"}}}}]}],"generation_config":{"top_p":0.5}}"#,
        ),
        (
            Endpoint::CohereChat,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_plan":"look","tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"done"}],"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}]}"#,
        ),
        (
            converse(),
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"look","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"c1","content":[{"text":"done"}]}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"look","description":"looks","inputSchema":{"json":{"type":"object"}}}}],"toolChoice":{"auto":{}}},"inferenceConfig":{"maxTokens":9}}"#,
        ),
    ] {
        assert_eq!(judged(&endpoint, body), None, "{endpoint:?}");
    }
}

#[test]
fn what_translations_get_wrong_is_refused_and_named() {
    let user = r#"{"role":"user","content":"hi"}"#;
    let messages = |rest: &str| (Endpoint::Messages, format!(r#"{{"model":"m",{rest}}}"#));
    let chat = |rest: &str| (Endpoint::Chat, format!(r#"{{"model":"m","messages":[{user}{rest}]}}"#));
    let blocks =
        |rest: &str| (converse(), format!(r#"{{"messages":[{{"role":"user","content":[{{"text":"hi"}}]}}{rest}]}}"#));
    let turns =
        |rest: &str| (generate(), format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"hi"}}]}}{rest}]}}"#));
    for ((endpoint, body), named) in [
        (messages(&format!(r#""messages":[{user}]"#)), "max_tokens"),
        (messages(r#""max_tokens":9,"messages":[{"role":"system","content":"x"}]"#), "role"),
        (
            messages(
                r#""max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"c9","content":"x"}]}]"#,
            ),
            "tool_use_id",
        ),
        (
            messages(&format!(
                r#""max_tokens":9,"messages":[{user},{{"role":"assistant","content":[{{"type":"thinking","thinking":"x"}}]}},{user}]"#
            )),
            "signature",
        ),
        (
            messages(&format!(
                r#""max_tokens":9,"messages":[{user},{{"role":"assistant","content":[{{"type":"thinking","thinking":"x","signature":"forged"}}]}},{user}]"#
            )),
            "signature",
        ),
        (
            messages(&format!(
                r#""max_tokens":1024,"thinking":{{"type":"enabled","budget_tokens":1024}},"messages":[{user}]"#
            )),
            "less than max_tokens",
        ),
        (messages(&format!(r#""max_tokens":9,"temperature":1.5,"messages":[{user}]"#)), "temperature"),
        (messages(&format!(r#""max_tokens":9,"seed":1,"messages":[{user}]"#)), "seed: unknown name"),
        (chat(r#",{"role":"tool","tool_call_id":"c1","content":"x"}"#), "must follow"),
        (chat(r#",{"role":"user","content":[{"type":"input_text","text":"x"}]}"#), "input_text"),
        (
            chat(r#",{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":{}}}]}"#),
            "arguments",
        ),
        (chat(r#",{"role":"model","content":"x"}"#), "role"),
        ((Endpoint::Responses, r#"{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":"x"}]}"#.into()), "no tool call"),
        ((Endpoint::Responses, r#"{"model":"m","input":[{"role":"assistant","content":[{"type":"input_text","text":"x"}]}]}"#.into()), "not of this role"),
        ((Endpoint::Responses, r#"{"model":"m","input":"x","stop":["y"]}"#.into()), "stop: unknown"),
        (blocks(r#",{"role":"user","content":[{"text":"x"}]}"#), "alternate"),
        (blocks(r#",{"role":"assistant","content":[{"text":""}]}"#), "not empty"),
        (blocks(r#",{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"f","input":{}}}]}"#), "toolConfig"),
        (
            (converse(), r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"","inputSchema":{"json":{"type":"object"}}}}]}}"#.into()),
            "description",
        ),
        ((converse(), r#"{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}"#.into()), "model: unknown"),
        (turns(r#"],"top_p":[1"#), "topP: unknown"),
        (
            turns(r#",{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":"x"}}]}"#),
            "response: must be an object",
        ),
        (turns(r#",{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"text":"x"}]}"#), "equal"),
        (
            (generate(), r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"object","additionalProperties":false}}]}]}"#.into()),
            "additionalProperties",
        ),
        ((Endpoint::CohereChat, r#"{"model":"m","messages":[{"role":"user","content":""}]}"#.into()), "blank"),
        ((Endpoint::CohereChat, r#"{"model":"m","messages":[{"role":"user","content":"x"}],"top_p":0.5}"#.into()), "top_p: unknown"),
        ((Endpoint::CohereChat, r#"{"model":"m","messages":[{"role":"tool","tool_call_id":"c","content":"x"}]}"#.into()), "preceding"),
    ] {
        let why = judged(&endpoint, &body);
        assert!(why.as_ref().is_some_and(|why| why.contains(named)), "{endpoint:?} {body}: {why:?} does not name {named}");
    }
}

/// Requests that the real vendors took. What is not taken here is either the vendor's own proof of a thought, which only it
/// can check, or a feature that no translation uses.
#[test]
fn what_real_vendors_took_is_taken() {
    let Some(folder) = std::env::var_os("WEIR_RECORDINGS").map(std::path::PathBuf::from) else {
        eprintln!("WEIR_RECORDINGS is not set: recorded requests are not looked at");
        return;
    };
    let (mut taken, mut refused) = (0, Vec::new());
    for file in ["openai", "anthropic", "gemini", "bedrock", "cohere"]
        .iter()
        .flat_map(|provider| std::fs::read_dir(folder.join(provider)).unwrap().flatten())
    {
        let record: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        let endpoint = match text(&record, "api") {
            "openai_chat" => Endpoint::Chat,
            "openai_responses" => Endpoint::Responses,
            "anthropic_messages" => Endpoint::Messages,
            "gemini_generate" | "gemini_stream" => generate(),
            "cohere_chat" => Endpoint::CohereChat,
            "bedrock_converse" | "bedrock_converse_stream" => converse(),
            _ => continue,
        };
        let body = &record["request"]["body"];
        if record["status"] != 200 || body.as_object().is_none_or(|body| body.len() < 2) {
            continue;
        }
        let body = body.to_string();
        // Long ones were cut when they were recorded.
        let Some(why) = judged(&endpoint, &body).filter(|_| !body.contains("...[cut ")) else {
            taken += 1;
            continue;
        };
        if !OWN.iter().any(|known| why.contains(known)) {
            refused.push(format!("{} {why}", text(&record, "id")));
        }
    }
    assert!(refused.is_empty() && taken > 300, "{taken} are taken; these are not:\n{}", refused.join("\n"));
}

/// Complaints about what only its own vendor takes.
const OWN: [&str; 20] = [
    // Proofs of thoughts that were not thought here.
    "signature",
    "could not be verified",
    "without its encrypted_content",
    // Tools that the vendor runs, what they said, and how they are found.
    "is not one of function",
    "must be one of custom",
    "is not one of message, function_call",
    "is not one of text, image, document",
    "defer_loading",
    "max_tokens: unknown name",
    "mcp_servers",
    // Newer than these tables, or in a beta.
    "role: must be one of user, assistant, not \"system\"",
    "prompt_cache_breakpoint",
    "prompt_cache_options",
    "reasoning.context",
    "task_budget",
    "toolConfig.tools[1].systemTool",
    "input[0].type: ``",
    "moderation",
    "speed",
    "inference_geo",
];
