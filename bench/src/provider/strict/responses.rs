//! OpenAI's Responses.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use super::{data_url, function_name, given, list, parts, refuse, text};
use crate::provider::payload::responses::SEALED;

pub fn judge(body: &Value) -> Result<(), String> {
    fits(body, &Shape::Fields(BODY), "")?;
    let tools = list(body, "tools");
    if tools.is_empty() && given(body, "tool_choice") && !matches!(text(body, "tool_choice"), "auto" | "none") {
        return refuse("tool_choice: only allowed when tools are given");
    }
    for (index, tool) in tools.iter().enumerate().filter(|(_, tool)| tool["type"] == "function") {
        function_name(text(tool, "name"), &format!("tools[{index}].name"))?;
    }
    if body["text"]["format"]["type"] == "json_schema" {
        function_name(text(&body["text"]["format"], "name"), "text.format.name")?;
    }
    items(body, list(body, "input"))
}

/// Calls and their outputs meet by id, in this order; thoughts are the vendor's own.
fn items(body: &Value, items: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let kept = given(body, "previous_response_id") || given(body, "conversation");
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        let starts = |prefix: &str| {
            let id = text(item, "id");
            if !given(item, "id") || id.starts_with(prefix) {
                Ok(())
            } else {
                refuse(format!("{at}.id: expected an id that begins with `{prefix}`, not `{id}`"))
            }
        };
        match text(item, "type") {
            "function_call" => {
                starts("fc_")?;
                function_name(text(item, "name"), &format!("{at}.name"))?;
                if text(item, "call_id").len() > 64 {
                    return refuse(format!("{at}.call_id: longer than 64"));
                }
                open.push(text(item, "call_id"));
            }
            "function_call_output" => {
                let id = text(item, "call_id");
                match open.iter().position(|known| *known == id) {
                    Some(place) => drop(open.remove(place)),
                    None if kept => {}
                    None => return refuse(format!("{at}: no tool call found for call_id `{id}`")),
                }
            }
            "reasoning" => {
                starts("rs_")?;
                match text(item, "encrypted_content") {
                    SEALED => {}
                    "" => return refuse(format!("{at}: an item that was not stored, without its encrypted_content")),
                    _ => return refuse(format!("{at}.encrypted_content: could not be verified")),
                }
            }
            _ => {
                if item["role"] == "assistant" {
                    starts("msg_")?;
                }
                for (number, part) in parts(item, "content").iter().enumerate() {
                    let at = format!("{at}.content[{number}]");
                    let theirs = matches!(text(part, "type"), "output_text" | "refusal");
                    if theirs != (item["role"] == "assistant") {
                        return refuse(format!("{at}.type: `{}` is not of this role", text(part, "type")));
                    }
                    if part["type"] == "input_image" && given(part, "image_url") {
                        data_url(text(part, "image_url"), &format!("{at}.image_url"))?;
                    }
                }
            }
        }
    }
    match open.first() {
        Some(id) => refuse(format!("input: no tool output found for function call `{id}`")),
        None => Ok(()),
    }
}

const SAID: &[Field] = &[
    must("text", Shape::Text),
    may("annotations", Shape::List(&Shape::Object)),
    may("logprobs", Shape::List(&Shape::Object)),
];
const PART: Shape = Shape::Tagged(
    "type",
    &[
        ("input_text", &[must("text", Shape::Text)]),
        (
            "input_image",
            &[
                may("image_url", Shape::Filled),
                may("file_id", Shape::Filled),
                may("detail", Shape::Word(&["auto", "low", "high"])),
            ],
        ),
        (
            "input_file",
            &[
                may("file_data", Shape::Filled),
                may("file_id", Shape::Filled),
                may("file_url", Shape::Filled),
                may("filename", Shape::Text),
            ],
        ),
        ("output_text", SAID),
        ("refusal", &[must("refusal", Shape::Text)]),
    ],
);
const STATUS: Shape = Shape::Word(&["in_progress", "completed", "incomplete"]);
const MESSAGE: &[Field] = &[
    must("role", Shape::Word(&["user", "assistant", "system", "developer"])),
    must("content", Shape::Either(&[Shape::Text, Shape::Some(&PART)])),
    may("id", Shape::Filled),
    may("status", STATUS),
    may("phase", Shape::Text),
];
const ITEM: Shape = Shape::Either(&[
    Shape::Fields(MESSAGE),
    Shape::Tagged(
        "type",
        &[
            ("message", MESSAGE),
            (
                "function_call",
                &[
                    must("call_id", Shape::Filled),
                    must("name", Shape::Filled),
                    must("arguments", Shape::Text),
                    may("id", Shape::Filled),
                    may("status", STATUS),
                ],
            ),
            (
                "function_call_output",
                &[
                    must("call_id", Shape::Filled),
                    must("output", Shape::Either(&[Shape::Text, Shape::Some(&PART)])),
                    may("id", Shape::Filled),
                    may("status", STATUS),
                ],
            ),
            (
                "reasoning",
                &[
                    must("id", Shape::Filled),
                    must(
                        "summary",
                        Shape::List(&Shape::Tagged("type", &[("summary_text", &[must("text", Shape::Text)])])),
                    ),
                    may("content", Shape::List(&Shape::Object)),
                    may("encrypted_content", Shape::Filled),
                    may("status", STATUS),
                ],
            ),
        ],
    ),
]);
const NAMED: &[Field] = &[must("name", Shape::Filled)];
const BODY: &[Field] = &[
    must("model", Shape::Filled),
    must("input", Shape::Either(&[Shape::Text, Shape::Some(&ITEM)])),
    may("background", Shape::Flag),
    may("conversation", Shape::Any),
    may("include", Shape::List(&Shape::Text)),
    may("instructions", Shape::Text),
    may("max_output_tokens", Shape::Whole(16)),
    may("max_tool_calls", Shape::Whole(1)),
    may("metadata", Shape::Object),
    may("parallel_tool_calls", Shape::Flag),
    may("previous_response_id", Shape::Filled),
    may("prompt", Shape::Object),
    may("prompt_cache_key", Shape::Text),
    may("prompt_cache_retention", Shape::Text),
    may(
        "reasoning",
        Shape::Fields(&[
            may("effort", Shape::Word(&["none", "minimal", "low", "medium", "high", "xhigh"])),
            may("summary", Shape::Word(&["auto", "concise", "detailed"])),
        ]),
    ),
    may("safety_identifier", Shape::Text),
    may("service_tier", Shape::Text),
    may("store", Shape::Flag),
    may("stream", Shape::Flag),
    may("stream_options", Shape::Fields(&[may("include_obfuscation", Shape::Flag)])),
    may("temperature", Shape::Between(0.0, 2.0)),
    may(
        "text",
        Shape::Fields(&[
            may(
                "format",
                Shape::Tagged(
                    "type",
                    &[
                        ("text", &[]),
                        ("json_object", &[]),
                        (
                            "json_schema",
                            &[
                                must("name", Shape::Filled),
                                must("schema", Shape::Object),
                                may("description", Shape::Text),
                                may("strict", Shape::Flag),
                            ],
                        ),
                    ],
                ),
            ),
            may("verbosity", Shape::Word(&["low", "medium", "high"])),
        ]),
    ),
    may(
        "tool_choice",
        Shape::Either(&[
            Shape::Word(&["auto", "none", "required"]),
            Shape::Tagged(
                "type",
                &[
                    ("function", NAMED),
                    (
                        "allowed_tools",
                        &[
                            must("mode", Shape::Word(&["auto", "required"])),
                            must("tools", Shape::Some(&Shape::Tagged("type", &[("function", NAMED)]))),
                        ],
                    ),
                ],
            ),
        ]),
    ),
    may(
        "tools",
        Shape::List(&Shape::Tagged(
            "type",
            &[(
                "function",
                &[
                    must("name", Shape::Filled),
                    may("description", Shape::Text),
                    may("parameters", Shape::Object),
                    may("strict", Shape::Flag),
                ],
            )],
        )),
    ),
    may("top_logprobs", Shape::Whole(0)),
    may("top_p", Shape::Between(0.0, 1.0)),
    may("truncation", Shape::Word(&["auto", "disabled"])),
    may("user", Shape::Text),
];
