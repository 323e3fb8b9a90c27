//! Gemini's generateContent. The real vendor takes its names in two spellings, and no other.

use serde_json::{Map, Value};

use super::shape::{Field, Shape, fits, may, must};
use super::{function_name, given, is_base64, list, refuse, text};
use crate::provider::payload::gemini::SIGNATURE;

pub fn judge(body: &Value) -> Result<(), String> {
    let body = &camel(body, "");
    fits(body, &Shape::Fields(BODY), "")?;
    for (index, tool) in list(body, "tools").iter().enumerate() {
        for (number, function) in list(tool, "functionDeclarations").iter().enumerate() {
            let at = format!("tools[{index}].function_declarations[{number}]");
            function_name(text(function, "name"), &format!("{at}.name"))?;
            if given(function, "parameters") && given(function, "parametersJsonSchema") {
                return refuse(format!("{at}: parameters and parameters_json_schema: only one of them"));
            }
            schema(&function["parameters"], &format!("{at}.parameters"))?;
        }
    }
    schema(&body["generationConfig"]["responseSchema"], "generation_config.response_schema")?;
    turns(list(body, "contents"))
}

/// As many answers as calls, right behind them; calls right behind the user.
fn turns(contents: &[Value]) -> Result<(), String> {
    let mut open: Vec<&Value> = Vec::new();
    let mut before = "";
    for (index, content) in contents.iter().enumerate() {
        let at = format!("contents[{index}]");
        let role = text(content, "role");
        let of = |kind: &str| list(content, "parts").iter().filter(|part| given(part, kind)).collect::<Vec<_>>();
        let (calls, answers) = (of("functionCall"), of("functionResponse"));
        if role == "model" && !answers.is_empty() || role != "model" && !calls.is_empty() {
            return refuse(format!("{at}: calls are the model's, responses are the user's"));
        }
        if !calls.is_empty() && before != "user" {
            return refuse(format!("{at}: a function call turn must come immediately after a user turn"));
        }
        if open.len() != answers.len() {
            return refuse(format!(
                "{at}: the number of function response parts must be equal to that of the function call turn ({}, {})",
                answers.len(),
                open.len()
            ));
        }
        let name = |part: &&Value, kind: &str| text(&part[kind], "name").to_owned();
        let mut called: Vec<String> = open.iter().map(|part| name(part, "functionCall")).collect();
        for answer in &answers {
            let name = name(answer, "functionResponse");
            match called.iter().position(|known| *known == name) {
                Some(place) => drop(called.remove(place)),
                None => return refuse(format!("{at}: a response of `{name}`, which was not called")),
            }
        }
        for (number, part) in list(content, "parts").iter().enumerate() {
            let proof = text(part, "thoughtSignature");
            if given(part, "thoughtSignature") && ![SIGNATURE, NO_SIGNATURE].contains(&proof) {
                return refuse(format!("{at}.parts[{number}]: thought signature is not valid"));
            }
            if given(part, "inlineData") && !is_base64(text(&part["inlineData"], "data")) {
                return refuse(format!("{at}.parts[{number}].inline_data.data: base64 decoding failed"));
            }
        }
        open = calls;
        before = if role == "model" { "model" } else { "user" };
    }
    if open.is_empty() { Ok(()) } else { refuse("contents: a function call without its response at the end") }
}

/// `parameters` and `responseSchema` are no JSON schema, but a message of its own with fewer words.
fn schema(schema: &Value, at: &str) -> Result<(), String> {
    let Some(members) = schema.as_object() else { return Ok(()) };
    for (name, value) in members {
        let at = format!("{at}.{name}");
        match name.as_str() {
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    self::schema(inner, &format!("{at}.{name}"))?;
                }
            }
            "items" => self::schema(value, &at)?,
            "anyOf" => {
                for inner in value.as_array().into_iter().flatten() {
                    self::schema(inner, &at)?;
                }
            }
            "type" if !value.is_string() => return refuse(format!("{at}: must be one word")),
            known if SCHEMA.contains(&known) => {}
            _ => return refuse(format!("Unknown name \"{name}\" at '{at}': cannot find field.")),
        }
    }
    Ok(())
}

/// One spelling for both; what belongs to the caller keeps its own.
fn camel(value: &Value, under: &str) -> Value {
    match value {
        Value::Object(members) if !FREE.contains(&under) => {
            let named = |(name, value): (&String, &Value)| {
                let name = spelled(name);
                let value = camel(value, &name);
                (name, value)
            };
            Value::Object(members.iter().map(named).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| camel(item, under)).collect()),
        other => other.clone(),
    }
}

fn spelled(name: &str) -> String {
    let mut words = name.split('_');
    let mut whole = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        whole.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        whole.push_str(letters.as_str());
    }
    whole
}

/// For histories that come from elsewhere, as the vendor documents it.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
const FREE: [&str; 7] =
    ["args", "response", "properties", "parametersJsonSchema", "responseJsonSchema", "_responseJsonSchema", "labels"];
const SCHEMA: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
];
const PART: Shape = Shape::OneOf(
    &[
        may("text", Shape::Text),
        may(
            "inlineData",
            Shape::Fields(&[
                must("mimeType", Shape::Filled),
                must("data", Shape::Filled),
                may("displayName", Shape::Text),
            ]),
        ),
        may(
            "fileData",
            Shape::Fields(&[
                must("fileUri", Shape::Filled),
                may("mimeType", Shape::Filled),
                may("displayName", Shape::Text),
            ]),
        ),
        may(
            "functionCall",
            Shape::Fields(&[must("name", Shape::Filled), may("args", Shape::Object), may("id", Shape::Text)]),
        ),
        may(
            "functionResponse",
            Shape::Fields(&[
                must("name", Shape::Filled),
                must("response", Shape::Object),
                may("id", Shape::Text),
                may("parts", Shape::List(&Shape::Object)),
                may("willContinue", Shape::Flag),
                may("scheduling", Shape::Text),
            ]),
        ),
        may("executableCode", Shape::Object),
        may("codeExecutionResult", Shape::Object),
    ],
    &[
        may("thought", Shape::Flag),
        may("thoughtSignature", Shape::Filled),
        may("videoMetadata", Shape::Object),
        may("mediaResolution", Shape::Any),
        may("partMetadata", Shape::Object),
    ],
);
const CONTENT: Shape =
    Shape::Fields(&[may("role", Shape::Word(&["user", "model", "function"])), must("parts", Shape::Some(&PART))]);
const CONFIG: Shape = Shape::Fields(&[
    may("temperature", Shape::Between(0.0, 2.0)),
    may("topP", Shape::Between(0.0, 1.0)),
    may("topK", Shape::Number),
    may("candidateCount", Shape::Whole(1)),
    may("maxOutputTokens", Shape::Whole(1)),
    may("stopSequences", Shape::List(&Shape::Filled)),
    may("responseMimeType", Shape::Word(&["text/plain", "application/json", "text/x.enum"])),
    may("responseSchema", Shape::Object),
    may("responseJsonSchema", Shape::Object),
    may("_responseJsonSchema", Shape::Object),
    may("presencePenalty", Shape::Between(-2.0, 2.0)),
    may("frequencyPenalty", Shape::Between(-2.0, 2.0)),
    may("seed", Shape::Whole(i32::MIN as i64)),
    may("responseLogprobs", Shape::Flag),
    may("logprobs", Shape::Whole(0)),
    may("responseModalities", Shape::List(&Shape::Text)),
    may("speechConfig", Shape::Object),
    may("imageConfig", Shape::Object),
    may("mediaResolution", Shape::Text),
    may("audioTimestamp", Shape::Flag),
    may("enableEnhancedCivicAnswers", Shape::Flag),
    may(
        "thinkingConfig",
        Shape::Fields(&[
            may("includeThoughts", Shape::Flag),
            may("thinkingBudget", Shape::Whole(-1)),
            may(
                "thinkingLevel",
                Shape::Word(&["minimal", "low", "medium", "high", "LOW", "MEDIUM", "HIGH", "MINIMAL"]),
            ),
        ]),
    ),
]);
const FUNCTION: Shape = Shape::Fields(&[
    must("name", Shape::Filled),
    may("description", Shape::Text),
    may("parameters", Shape::Object),
    may("parametersJsonSchema", Shape::Object),
    may("response", Shape::Object),
    may("responseJsonSchema", Shape::Object),
    may("behavior", Shape::Text),
]);
const TOOL: Shape = Shape::Fields(&[
    may("functionDeclarations", Shape::Some(&FUNCTION)),
    may("googleSearch", Shape::Object),
    may("googleSearchRetrieval", Shape::Object),
    may("codeExecution", Shape::Object),
    may("urlContext", Shape::Object),
    may("googleMaps", Shape::Object),
    may("fileSearch", Shape::Object),
]);
const CALLING: Shape = Shape::Fields(&[
    may("mode", Shape::Word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
    may("allowedFunctionNames", Shape::List(&Shape::Filled)),
]);
const BODY: &[Field] = &[
    must("contents", Shape::Some(&CONTENT)),
    may("model", Shape::Text),
    may("systemInstruction", Shape::Fields(&[may("role", Shape::Text), must("parts", Shape::Some(&PART))])),
    may("generationConfig", CONFIG),
    may("tools", Shape::Either(&[TOOL, Shape::List(&TOOL)])),
    may(
        "toolConfig",
        Shape::Fields(&[
            may("functionCallingConfig", CALLING),
            may("retrievalConfig", Shape::Object),
            may("includeServerSideToolInvocations", Shape::Flag),
        ]),
    ),
    may(
        "safetySettings",
        Shape::List(&Shape::Fields(&[
            must("category", Shape::Filled),
            must("threshold", Shape::Filled),
            may("method", Shape::Text),
        ])),
    ),
    may("cachedContent", Shape::Filled),
    may("labels", Shape::Object),
    may("serviceTier", Shape::Text),
    may("store", Shape::Flag),
];
