//! Bedrock's Converse.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use super::{function_name, given, is_base64, list, refuse, text};
use crate::provider::payload::bedrock::SIGNATURE;

pub fn judge(body: &Value) -> Result<(), String> {
    fits(body, &Shape::Fields(BODY), "")?;
    for (index, tool) in list(&body["toolConfig"], "tools").iter().enumerate() {
        let (tool, at) = (&tool["toolSpec"], format!("toolConfig.tools.{index}.toolSpec"));
        if tool.is_object() {
            function_name(text(tool, "name"), &format!("{at}.name"))?;
            if tool["inputSchema"]["json"]["type"] != "object" {
                return refuse(format!("{at}.inputSchema.json.type: must be `object`"));
            }
        }
    }
    turns(body, list(body, "messages"))
}

fn turns(body: &Value, messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        let role = text(message, "role");
        if role != ["user", "assistant"][index % 2] {
            return refuse(format!(
                "{at}: a conversation must begin with a user message and alternate between user and assistant"
            ));
        }
        for (number, block) in list(message, "content").iter().enumerate() {
            let at = format!("{at}.content.{number}");
            let tool = given(block, "toolUse") || given(block, "toolResult");
            if tool && !given(body, "toolConfig") {
                return refuse(
                    "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
                );
            }
            // What the vendor ran itself has a type, and stands beside its result.
            let callers = |kind: &str| block.get(kind).filter(|block| !given(block, "type"));
            if (given(block, "toolUse") || given(block, "reasoningContent")) && role != "assistant"
                || callers("toolResult").is_some() && role != "user"
            {
                return refuse(format!("{at}: may not be said by `{role}`"));
            }
            if let Some(call) = callers("toolUse") {
                function_name(text(call, "name"), &format!("{at}.toolUse.name"))?;
                function_name(text(call, "toolUseId"), &format!("{at}.toolUse.toolUseId"))?;
                open.push(text(call, "toolUseId"));
            }
            if let Some(result) = callers("toolResult") {
                let id = text(result, "toolUseId");
                match open.iter().position(|known| *known == id) {
                    Some(place) => drop(open.remove(place)),
                    None => return refuse(format!("{at}: toolResult without toolUse of the previous turn: {id}")),
                }
            }
            let thought = &block["reasoningContent"]["reasoningText"];
            if thought.is_object() && text(thought, "signature") != SIGNATURE {
                return refuse(format!("{at}.reasoningContent: invalid signature"));
            }
            for media in ["image", "document", "video"] {
                let bytes = &block[media]["source"]["bytes"];
                if bytes.as_str().is_some_and(|bytes| !is_base64(bytes)) {
                    return refuse(format!("{at}.{media}.source.bytes: no base64"));
                }
            }
            if given(block, "document") {
                document_name(text(&block["document"], "name"), &at)?;
            }
        }
        if role == "user" && !open.is_empty() {
            return refuse(format!("{at}: expected toolResult blocks for these ids: {}", open.join(", ")));
        }
    }
    if open.is_empty() { Ok(()) } else { refuse("messages: toolUse without toolResult at the end") }
}

fn document_name(name: &str, at: &str) -> Result<(), String> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || " -()[]".contains(letter);
    if !name.is_empty() && name.chars().all(legal) && !name.contains("  ") {
        Ok(())
    } else {
        refuse(format!(
            "{at}.document.name: `{name}` holds more than letters, digits, single spaces, hyphens and brackets"
        ))
    }
}

const SOURCE: Shape =
    Shape::OneOf(&[may("bytes", Shape::Filled), may("s3Location", Shape::Object), may("text", Shape::Filled)], &[]);
const IMAGE: Shape =
    Shape::Fields(&[must("format", Shape::Word(&["png", "jpeg", "gif", "webp"])), must("source", SOURCE)]);
const DOCUMENT: Shape = Shape::Fields(&[
    must("format", Shape::Word(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])),
    must("name", Shape::Filled),
    must("source", SOURCE),
    may("context", Shape::Text),
    may("citations", Shape::Object),
]);
const VIDEO: Shape = Shape::Fields(&[must("format", Shape::Filled), must("source", SOURCE)]);
const CACHE: Shape = Shape::Fields(&[must("type", Shape::Word(&["default"])), may("ttl", Shape::Word(&["5m", "1h"]))]);
const RESULT: Shape = Shape::Fields(&[
    must("toolUseId", Shape::Filled),
    must(
        "content",
        Shape::List(&Shape::OneOf(
            &[
                may("json", Shape::Object),
                may("text", Shape::Filled),
                may("image", IMAGE),
                may("document", DOCUMENT),
                may("video", VIDEO),
            ],
            &[],
        )),
    ),
    may("status", Shape::Word(&["success", "error"])),
    may("type", Shape::Text),
]);
const THOUGHT: Shape = Shape::OneOf(
    &[
        may("reasoningText", Shape::Fields(&[must("text", Shape::Text), may("signature", Shape::Filled)])),
        may("redactedContent", Shape::Filled),
    ],
    &[],
);
const BLOCK: Shape = Shape::OneOf(
    &[
        may("text", Shape::Said),
        may("image", IMAGE),
        may("document", DOCUMENT),
        may("video", VIDEO),
        may("audio", VIDEO),
        may(
            "toolUse",
            Shape::Fields(&[
                must("toolUseId", Shape::Filled),
                must("name", Shape::Filled),
                must("input", Shape::Object),
                may("type", Shape::Text),
            ]),
        ),
        may("toolResult", RESULT),
        may("reasoningContent", THOUGHT),
        may("cachePoint", CACHE),
        may("guardContent", Shape::Object),
    ],
    &[],
);
const CHOICE: Shape = Shape::OneOf(
    &[
        may("auto", Shape::Fields(&[])),
        may("any", Shape::Fields(&[])),
        may("tool", Shape::Fields(&[must("name", Shape::Filled)])),
    ],
    &[],
);
const TOOL: Shape = Shape::OneOf(
    &[
        may(
            "toolSpec",
            Shape::Fields(&[
                must("name", Shape::Filled),
                must("inputSchema", Shape::Fields(&[must("json", Shape::Object)])),
                may("description", Shape::Filled),
                may("strict", Shape::Flag),
            ]),
        ),
        may("cachePoint", CACHE),
        may("systemTool", Shape::Object),
    ],
    &[],
);
const SCHEMA: Shape =
    Shape::Fields(&[must("schema", Shape::Filled), may("name", Shape::Filled), may("description", Shape::Filled)]);
const BODY: &[Field] = &[
    must(
        "messages",
        Shape::Some(&Shape::Fields(&[
            must("role", Shape::Word(&["user", "assistant"])),
            must("content", Shape::Some(&BLOCK)),
        ])),
    ),
    may(
        "system",
        Shape::List(&Shape::OneOf(
            &[may("text", Shape::Filled), may("cachePoint", CACHE), may("guardContent", Shape::Object)],
            &[],
        )),
    ),
    may(
        "inferenceConfig",
        Shape::Fields(&[
            may("maxTokens", Shape::Whole(1)),
            may("temperature", Shape::Between(0.0, 1.0)),
            may("topP", Shape::Between(0.0, 1.0)),
            may("stopSequences", Shape::List(&Shape::Filled)),
        ]),
    ),
    may("toolConfig", Shape::Fields(&[must("tools", Shape::Some(&TOOL)), may("toolChoice", CHOICE)])),
    may("additionalModelRequestFields", Shape::Object),
    may("additionalModelResponseFieldPaths", Shape::List(&Shape::Text)),
    may("guardrailConfig", Shape::Object),
    may("performanceConfig", Shape::Fields(&[may("latency", Shape::Word(&["standard", "optimized"]))])),
    may("promptVariables", Shape::Object),
    may("requestMetadata", Shape::Object),
    may("serviceTier", Shape::Fields(&[must("type", Shape::Filled)])),
    may(
        "outputConfig",
        Shape::Fields(&[may(
            "textFormat",
            Shape::Fields(&[
                must("type", Shape::Word(&["json_schema"])),
                must("structure", Shape::OneOf(&[may("jsonSchema", SCHEMA)], &[])),
            ]),
        )]),
    ),
];
