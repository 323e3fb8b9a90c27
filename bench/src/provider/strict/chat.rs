//! OpenAI's chat completions.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use super::{data_url, function_name, given, list, parts, refuse, text};

pub fn judge(body: &Value) -> Result<(), String> {
    fits(body, &Shape::Fields(BODY), "")?;
    let tools = list(body, "tools");
    if tools.is_empty() {
        for lonely in ["tool_choice", "parallel_tool_calls"] {
            if given(body, lonely) {
                return refuse(format!("{lonely}: only allowed when tools are given"));
            }
        }
    }
    for (index, tool) in tools.iter().enumerate() {
        function_name(text(&tool["function"], "name"), &format!("tools[{index}].function.name"))?;
    }
    if given(body, "top_logprobs") && body["logprobs"] != true {
        return refuse("top_logprobs: only allowed when logprobs is true");
    }
    if body["response_format"]["type"] == "json_schema" {
        function_name(text(&body["response_format"]["json_schema"], "name"), "response_format.json_schema.name")?;
    }
    if given(body, "max_tokens") && given(body, "max_completion_tokens") {
        return refuse("max_tokens and max_completion_tokens: only one of them");
    }
    turns(list(body, "messages"))
}

/// Each call is answered by exactly the next messages; no answer without a call.
fn turns(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message["role"] == "tool" {
            let id = text(message, "tool_call_id");
            match open.iter().position(|known| *known == id) {
                Some(place) => drop(open.remove(place)),
                None => return refuse(format!("{at}: role `tool` must follow a message with tool_calls (`{id}`)")),
            }
            continue;
        }
        if let Some(id) = open.first() {
            return refuse(format!("{at}: tool_calls must be followed by messages for each tool_call_id (`{id}`)"));
        }
        if message["role"] == "assistant" {
            let calls = list(message, "tool_calls");
            if !given(message, "content") && calls.is_empty() && !given(message, "refusal") && !given(message, "audio")
            {
                return refuse(format!("{at}.content: is required unless there are tool_calls"));
            }
            for (number, call) in calls.iter().enumerate() {
                function_name(text(&call["function"], "name"), &format!("{at}.tool_calls[{number}].function.name"))?;
                open.push(text(call, "id"));
            }
        }
        for (number, part) in parts(message, "content").iter().enumerate() {
            if part["type"] == "image_url" {
                data_url(text(&part["image_url"], "url"), &format!("{at}.content[{number}].image_url.url"))?;
            }
        }
    }
    match open.first() {
        Some(id) => refuse(format!("messages: `{id}` has no answer")),
        None => Ok(()),
    }
}

const TEXT: &[Field] = &[must("text", Shape::Text)];
const TEXTS: Shape = Shape::Either(&[Shape::Some(&Shape::Tagged("type", &[("text", TEXT)])), Shape::Text]);
const USER_PARTS: Shape = Shape::Either(&[
    Shape::Text,
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
            (
                "input_audio",
                &[must(
                    "input_audio",
                    Shape::Fields(&[must("data", Shape::Filled), must("format", Shape::Word(&["wav", "mp3"]))]),
                )],
            ),
            (
                "file",
                &[must(
                    "file",
                    Shape::Fields(&[
                        may("file_data", Shape::Filled),
                        may("file_id", Shape::Filled),
                        may("filename", Shape::Text),
                    ]),
                )],
            ),
        ],
    )),
]);
const SAID_PARTS: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Some(&Shape::Tagged("type", &[("text", TEXT), ("refusal", &[must("refusal", Shape::Text)])])),
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
const MESSAGE: Shape = Shape::Tagged(
    "role",
    &[
        ("system", &[must("content", TEXTS), may("name", Shape::Text)]),
        ("developer", &[must("content", TEXTS), may("name", Shape::Text)]),
        ("user", &[must("content", USER_PARTS), may("name", Shape::Text)]),
        (
            "assistant",
            &[
                may("content", SAID_PARTS),
                may("refusal", Shape::Text),
                may("name", Shape::Text),
                may("tool_calls", Shape::Some(&CALL)),
                may("audio", Shape::Fields(&[must("id", Shape::Filled)])),
                may("annotations", Shape::List(&Shape::Object)),
                // Compatible vendors want their thoughts back in these.
                may("reasoning_content", Shape::Text),
                may("reasoning", Shape::Text),
                may("reasoning_details", Shape::List(&Shape::Object)),
            ],
        ),
        ("tool", &[must("content", TEXTS), must("tool_call_id", Shape::Filled)]),
    ],
);
const NAMED: &[Field] = &[must("function", Shape::Fields(&[must("name", Shape::Filled)]))];
const ALLOWED: &[Field] = &[must(
    "allowed_tools",
    Shape::Fields(&[
        must("mode", Shape::Word(&["auto", "required"])),
        must("tools", Shape::Some(&Shape::Tagged("type", &[("function", NAMED)]))),
    ]),
)];
const BODY: &[Field] = &[
    must("model", Shape::Filled),
    must("messages", Shape::Some(&MESSAGE)),
    may("audio", Shape::Object),
    may("frequency_penalty", Shape::Between(-2.0, 2.0)),
    may("logit_bias", Shape::Object),
    may("logprobs", Shape::Flag),
    may("max_completion_tokens", Shape::Whole(1)),
    may("max_tokens", Shape::Whole(1)),
    may("metadata", Shape::Object),
    may("modalities", Shape::Some(&Shape::Word(&["text", "audio"]))),
    may("n", Shape::Whole(1)),
    may("parallel_tool_calls", Shape::Flag),
    may("prediction", Shape::Object),
    may("presence_penalty", Shape::Between(-2.0, 2.0)),
    may("prompt_cache_key", Shape::Text),
    may("prompt_cache_retention", Shape::Text),
    may("reasoning_effort", Shape::Word(&["none", "minimal", "low", "medium", "high", "xhigh"])),
    may(
        "response_format",
        Shape::Tagged(
            "type",
            &[
                ("text", &[]),
                ("json_object", &[]),
                (
                    "json_schema",
                    &[must(
                        "json_schema",
                        Shape::Fields(&[
                            must("name", Shape::Filled),
                            may("description", Shape::Text),
                            may("schema", Shape::Object),
                            may("strict", Shape::Flag),
                        ]),
                    )],
                ),
            ],
        ),
    ),
    may("safety_identifier", Shape::Text),
    may("seed", Shape::Whole(i64::MIN)),
    may("service_tier", Shape::Text),
    may("stop", Shape::Either(&[Shape::Text, Shape::Some(&Shape::Text)])),
    may("store", Shape::Flag),
    may("stream", Shape::Flag),
    may("stream_options", Shape::Fields(&[may("include_usage", Shape::Flag), may("include_obfuscation", Shape::Flag)])),
    may("temperature", Shape::Between(0.0, 2.0)),
    may(
        "tool_choice",
        Shape::Either(&[
            Shape::Word(&["auto", "none", "required"]),
            Shape::Tagged("type", &[("function", NAMED), ("allowed_tools", ALLOWED)]),
        ]),
    ),
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
                        may("description", Shape::Text),
                        may("parameters", Shape::Object),
                        may("strict", Shape::Flag),
                    ]),
                )],
            )],
        )),
    ),
    may("top_logprobs", Shape::Whole(0)),
    may("top_p", Shape::Between(0.0, 1.0)),
    may("user", Shape::Text),
    may("verbosity", Shape::Word(&["low", "medium", "high"])),
    may("web_search_options", Shape::Object),
];
