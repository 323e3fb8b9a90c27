//! Anthropic's Messages.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use super::{function_name, given, is_base64, list, parts, refuse, text};
use crate::provider::payload::anthropic::SIGNATURE;

pub fn judge(body: &Value) -> Result<(), String> {
    fits(body, &Shape::Fields(BODY), "")?;
    let thinking = matches!(text(&body["thinking"], "type"), "enabled" | "adaptive");
    if body["thinking"]["type"] == "enabled" {
        let (budget, most) = (body["thinking"]["budget_tokens"].as_u64(), body["max_tokens"].as_u64());
        if budget >= most {
            return refuse("thinking.budget_tokens: must be less than max_tokens");
        }
    }
    if thinking {
        if matches!(text(&body["tool_choice"], "type"), "any" | "tool") {
            return refuse("tool_choice: thinking may not be enabled when tool_choice forces tool use");
        }
        if body["temperature"].as_f64().is_some_and(|temperature| temperature != 1.0) {
            return refuse("temperature: may only be set to 1 when thinking is enabled");
        }
        if given(body, "top_k") {
            return refuse("top_k: must be unset when thinking is enabled");
        }
    }
    let tools = list(body, "tools");
    if tools.is_empty() && given(body, "tool_choice") && body["tool_choice"]["type"] != "none" {
        return refuse("tool_choice: only allowed when tools are given");
    }
    for (index, tool) in tools.iter().enumerate() {
        function_name(text(tool, "name"), &format!("tools.{index}.name"))?;
        if tool["input_schema"]["type"] != "object" {
            return refuse(format!("tools.{index}.input_schema.type: must be `object`"));
        }
    }
    turns(list(body, "messages"), !tools.is_empty(), thinking)
}

fn turns(messages: &[Value], tools: bool, thinking: bool) -> Result<(), String> {
    if messages.first().is_some_and(|first| first["role"] != "user") {
        return refuse("messages: the first message must use the role `user`");
    }
    // Neighbours of one role are one turn to the vendor.
    let mut turns: Vec<(&str, Vec<&Value>)> = Vec::new();
    for message in messages {
        let blocks = parts(message, "content").iter();
        match turns.last_mut() {
            Some((role, known)) if *role == text(message, "role") => known.extend(blocks),
            _ => turns.push((text(message, "role"), blocks.collect())),
        }
    }
    let mut open: Vec<&str> = Vec::new();
    for (index, (role, blocks)) in turns.iter().enumerate() {
        let at = format!("messages.{index}");
        for (number, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{number}");
            match text(block, "type") {
                "tool_result" if *role == "user" => {
                    let id = text(block, "tool_use_id");
                    match open.iter().position(|known| *known == id) {
                        Some(place) => drop(open.remove(place)),
                        None => return refuse(format!("{at}: unexpected `tool_use_id` in tool_result: {id}")),
                    }
                }
                "tool_use" if *role == "assistant" => {
                    let id = text(block, "id");
                    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
                        return refuse(format!("{at}.id: `{id}` should match ^[a-zA-Z0-9_-]+$"));
                    }
                    if open.contains(&id) {
                        return refuse(format!("{at}.id: tool_use ids must be unique"));
                    }
                    if !tools {
                        return refuse("tools: must be given when tool_use blocks are in the messages");
                    }
                    open.push(id);
                }
                "thinking" if *role == "assistant" && text(block, "signature") == SIGNATURE => {}
                "thinking" if *role == "assistant" => {
                    return refuse(format!("{at}: invalid `signature` in `thinking` block"));
                }
                "tool_use" | "tool_result" | "thinking" | "redacted_thinking" => {
                    return refuse(format!("{at}: {} may not be said by `{role}`", text(block, "type")));
                }
                "image" | "document"
                    if block["source"]["type"] == "base64" && !is_base64(text(&block["source"], "data")) =>
                {
                    return refuse(format!("{at}.source.data: no base64"));
                }
                _ => {}
            }
        }
        if *role == "user" && !open.is_empty() {
            return refuse(format!(
                "{at}: `tool_use` ids were found without `tool_result` blocks: {}",
                open.join(", ")
            ));
        }
        if *role == "assistant" {
            let called = blocks.iter().any(|block| block["type"] == "tool_use");
            let thought = blocks.first().is_some_and(|block| text(block, "type").ends_with("thinking"));
            // The turn whose results follow belongs to this answer: it is thought through, or not at all.
            let answering = called && index + 2 == turns.len();
            if answering && thinking && !thought {
                return refuse(format!("{at}: expected `thinking` or `redacted_thinking`, but found `tool_use`"));
            }
            if answering && !thinking && blocks.iter().any(|block| text(block, "type").ends_with("thinking")) {
                return refuse(format!("{at}: when thinking is disabled, it cannot contain `thinking`"));
            }
            let last = blocks.last().map_or("", |block| text(block, "text"));
            if index + 1 == turns.len() && last.ends_with(char::is_whitespace) {
                return refuse(format!("{at}: final assistant content cannot end with trailing whitespace"));
            }
        }
    }
    if open.is_empty() { Ok(()) } else { refuse("messages: `tool_use` without `tool_result` at the end") }
}

const CACHE: Shape = Shape::Tagged("type", &[("ephemeral", &[may("ttl", Shape::Word(&["5m", "1h"]))])]);
const TEXT: &[Field] = &[must("text", Shape::Filled), may("cache_control", CACHE), may("citations", Shape::Any)];
const SOURCE: Shape = Shape::Tagged(
    "type",
    &[
        ("base64", &[must("media_type", Shape::Filled), must("data", Shape::Filled)]),
        ("url", &[must("url", Shape::Filled)]),
        ("file", &[must("file_id", Shape::Filled)]),
        ("text", &[must("media_type", Shape::Filled), must("data", Shape::Text)]),
        ("content", &[must("content", Shape::Any)]),
    ],
);
const MEDIA: &[Field] = &[
    must("source", SOURCE),
    may("cache_control", CACHE),
    may("title", Shape::Text),
    may("context", Shape::Text),
    may("citations", Shape::Any),
];
const RESULT_PART: Shape = Shape::Tagged("type", &[("text", TEXT), ("image", MEDIA), ("document", MEDIA)]);
const BLOCK: Shape = Shape::Tagged(
    "type",
    &[
        ("text", TEXT),
        ("image", MEDIA),
        ("document", MEDIA),
        (
            "tool_use",
            &[
                must("id", Shape::Filled),
                must("name", Shape::Filled),
                must("input", Shape::Object),
                may("cache_control", CACHE),
            ],
        ),
        (
            "tool_result",
            &[
                must("tool_use_id", Shape::Filled),
                may("content", Shape::Either(&[Shape::Text, Shape::List(&RESULT_PART)])),
                may("is_error", Shape::Flag),
                may("cache_control", CACHE),
            ],
        ),
        ("thinking", &[must("thinking", Shape::Text), must("signature", Shape::Filled)]),
        ("redacted_thinking", &[must("data", Shape::Filled)]),
    ],
);
const BODY: &[Field] = &[
    must("model", Shape::Filled),
    must("max_tokens", Shape::Whole(1)),
    must(
        "messages",
        Shape::Some(&Shape::Fields(&[
            must("role", Shape::Word(&["user", "assistant"])),
            must("content", Shape::Either(&[Shape::Filled, Shape::Some(&BLOCK)])),
        ])),
    ),
    may("system", Shape::Either(&[Shape::Text, Shape::Some(&Shape::Tagged("type", &[("text", TEXT)]))])),
    may("cache_control", CACHE),
    may("container", Shape::Any),
    may("context_management", Shape::Object),
    may("metadata", Shape::Fields(&[may("user_id", Shape::Text)])),
    may(
        "output_config",
        Shape::Fields(&[
            may("effort", Shape::Word(&["low", "medium", "high", "xhigh", "max"])),
            may("format", Shape::Tagged("type", &[("json_schema", &[must("schema", Shape::Object)])])),
        ]),
    ),
    may("service_tier", Shape::Word(&["auto", "standard_only"])),
    may("stop_sequences", Shape::List(&Shape::Filled)),
    may("stream", Shape::Flag),
    may("temperature", Shape::Between(0.0, 1.0)),
    may(
        "thinking",
        Shape::Tagged(
            "type",
            &[
                ("enabled", &[must("budget_tokens", Shape::Whole(1_024)), may("display", Shape::Text)]),
                ("adaptive", &[may("display", Shape::Text)]),
                ("disabled", &[]),
            ],
        ),
    ),
    may(
        "tool_choice",
        Shape::Tagged(
            "type",
            &[
                ("auto", &[may("disable_parallel_tool_use", Shape::Flag)]),
                ("any", &[may("disable_parallel_tool_use", Shape::Flag)]),
                ("tool", &[must("name", Shape::Filled), may("disable_parallel_tool_use", Shape::Flag)]),
                ("none", &[]),
            ],
        ),
    ),
    may(
        "tools",
        Shape::List(&Shape::Fields(&[
            must("name", Shape::Filled),
            must("input_schema", Shape::Object),
            may("description", Shape::Text),
            may("type", Shape::Word(&["custom"])),
            may("strict", Shape::Flag),
            may("eager_input_streaming", Shape::Flag),
            may("cache_control", CACHE),
        ])),
    ),
    may("top_k", Shape::Whole(0)),
    may("top_p", Shape::Between(0.0, 1.0)),
];
