//! Cohere's second chat.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use super::{data_url, function_name, given, list, parts, refuse, text};

pub fn judge(body: &Value) -> Result<(), String> {
    fits(body, &Shape::Fields(BODY), "")?;
    let tools = list(body, "tools");
    if tools.is_empty() && given(body, "tool_choice") {
        return refuse("tool_choice: cannot be specified without tools");
    }
    if !tools.is_empty() && body["response_format"]["type"] == "json_object" {
        return refuse("response_format: is not supported together with tools");
    }
    for (index, tool) in tools.iter().enumerate() {
        function_name(text(&tool["function"], "name"), &format!("tools[{index}].function.name"))?;
        if tool["function"]["parameters"]["type"] != "object" {
            return refuse(format!("tools[{index}].function.parameters: must be of the type `object`"));
        }
    }
    turns(list(body, "messages"))
}

fn turns(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message["role"] == "tool" {
            let id = text(message, "tool_call_id");
            match open.iter().position(|known| *known == id) {
                Some(place) => drop(open.remove(place)),
                None => return refuse(format!("{at}: the tool call id `{id}` is not of a preceding tool call")),
            }
            continue;
        }
        if let Some(id) = open.first() {
            return refuse(format!("{at}: all tool calls must be followed by their results (`{id}`)"));
        }
        if message["role"] == "assistant" {
            let calls = list(message, "tool_calls");
            if !given(message, "content") && calls.is_empty() {
                return refuse(format!("{at}: an assistant message must have content or tool_calls"));
            }
            open.extend(calls.iter().map(|call| text(call, "id")));
        }
        for (number, part) in parts(message, "content").iter().enumerate() {
            if part["type"] == "image_url" {
                data_url(text(&part["image_url"], "url"), &format!("{at}.content[{number}].image_url.url"))?;
            }
        }
    }
    match messages.last().map(|message| text(message, "role")) {
        Some("user" | "tool") if open.is_empty() => Ok(()),
        _ => refuse("messages: the last message must be the user's or the results of all tool calls"),
    }
}

const TEXT: &[Field] = &[must("text", Shape::Filled)];
const TEXTS: Shape = Shape::Either(&[Shape::Some(&Shape::Tagged("type", &[("text", TEXT)])), Shape::Filled]);
const USER: Shape = Shape::Either(&[
    Shape::Filled,
    Shape::Some(&Shape::Tagged(
        "type",
        &[
            ("text", TEXT),
            (
                "image_url",
                &[must(
                    "image_url",
                    Shape::Fields(&[must("url", Shape::Filled), may("detail", Shape::Word(&["auto", "low", "high"]))]),
                )],
            ),
        ],
    )),
]);
const SAID: Shape = Shape::Either(&[
    Shape::Filled,
    Shape::Some(&Shape::Tagged("type", &[("text", TEXT), ("thinking", &[must("thinking", Shape::Text)])])),
]);
const RESULT: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Some(&Shape::Tagged(
        "type",
        &[
            ("text", TEXT),
            ("document", &[must("document", Shape::Fields(&[must("data", Shape::Any), may("id", Shape::Text)]))]),
        ],
    )),
]);
const CALL: Shape = Shape::Tagged(
    "type",
    &[(
        "function",
        &[
            must("id", Shape::Filled),
            must("function", Shape::Fields(&[must("name", Shape::Filled), must("arguments", Shape::Text)])),
        ],
    )],
);
const BODY: &[Field] = &[
    must("model", Shape::Filled),
    must(
        "messages",
        Shape::Some(&Shape::Tagged(
            "role",
            &[
                ("system", &[must("content", TEXTS)]),
                ("user", &[must("content", USER)]),
                (
                    "assistant",
                    &[
                        may("content", SAID),
                        may("tool_calls", Shape::Some(&CALL)),
                        may("tool_plan", Shape::Text),
                        may("citations", Shape::List(&Shape::Object)),
                    ],
                ),
                ("tool", &[must("content", RESULT), must("tool_call_id", Shape::Filled)]),
            ],
        )),
    ),
    may("citation_options", Shape::Object),
    may("documents", Shape::List(&Shape::Any)),
    may("frequency_penalty", Shape::Between(0.0, 1.0)),
    may("k", Shape::Between(0.0, 500.0)),
    may("logprobs", Shape::Flag),
    may("max_tokens", Shape::Whole(1)),
    may("p", Shape::Between(0.01, 0.99)),
    may("presence_penalty", Shape::Between(0.0, 1.0)),
    may("priority", Shape::Whole(0)),
    may(
        "response_format",
        Shape::Tagged(
            "type",
            &[("text", &[]), ("json_object", &[may("json_schema", Shape::Object), may("schema", Shape::Object)])],
        ),
    ),
    may("safety_mode", Shape::Word(&["CONTEXTUAL", "STRICT", "OFF"])),
    may("seed", Shape::Whole(0)),
    may("stop_sequences", Shape::List(&Shape::Filled)),
    may("stream", Shape::Flag),
    may("strict_tools", Shape::Flag),
    may("temperature", Shape::Between(0.0, 1.0)),
    may("thinking", Shape::Tagged("type", &[("enabled", &[may("token_budget", Shape::Whole(1))]), ("disabled", &[])])),
    may("tool_choice", Shape::Word(&["REQUIRED", "NONE"])),
    may(
        "tools",
        Shape::Some(&Shape::Tagged(
            "type",
            &[(
                "function",
                &[must(
                    "function",
                    Shape::Fields(&[
                        must("name", Shape::Filled),
                        must("parameters", Shape::Object),
                        may("description", Shape::Text),
                    ]),
                )],
            )],
        )),
    ),
];
