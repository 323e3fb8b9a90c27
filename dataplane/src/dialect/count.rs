//! How many tokens a call has, asked in one language and answered in another: the call itself goes through the middle
//! language, this adds what each vendor puts around it.

use super::call::Tongue;
use super::compose::Object;
use crate::wire::json;

/// The endpoint that counts; `None` where a language has none.
pub fn path(tongue: Tongue) -> Option<&'static str> {
    match tongue {
        Tongue::Responses => Some("responses/input_tokens"),
        Tongue::Messages => Some("messages/count_tokens"),
        Tongue::Generate => Some("models/{model}:countTokens"),
        Tongue::Converse => Some("model/{model}/count-tokens"),
        Tongue::Chat | Tongue::Cohere => None,
    }
}

/// The call within a caller's question.
pub fn call_within(tongue: Tongue, body: &[u8]) -> &[u8] {
    match tongue {
        Tongue::Generate => json::get(body, "generateContentRequest")
            .or_else(|| json::get(body, "generate_content_request"))
            .unwrap_or(body),
        Tongue::Converse => json::dig(body, &["input", "converse"]).unwrap_or(body),
        _ => body,
    }
}

/// A vendor's question around a call that was written in its language: vendors refuse members that do not count.
pub fn question(tongue: Tongue, call: &[u8], model: &str, out: &mut Vec<u8>) {
    match tongue {
        Tongue::Generate => Object::write(out, |question| {
            question.object("generateContentRequest", |request| {
                request.str("model", &format!("models/{model}"));
                copy(call, &["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"], request);
            });
        }),
        Tongue::Converse => Object::write(out, |question| {
            question.object("input", |input| {
                input.object("converse", |request| copy(call, &["messages", "system", "toolConfig"], request));
            });
        }),
        Tongue::Messages => Object::write(out, |question| {
            copy(call, &["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"], question);
        }),
        Tongue::Responses | Tongue::Chat | Tongue::Cohere => Object::write(out, |question| {
            const COUNTED: &[&str] =
                &["model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls"];
            copy(call, COUNTED, question);
        }),
    }
}

fn copy(call: &[u8], names: &[&str], into: &mut Object<'_>) {
    for (key, value) in json::members(call) {
        if let Some(name) = names.iter().find(|name| name.as_bytes() == key) {
            into.raw(name, value);
        }
    }
}

/// What a vendor counted.
pub fn read_answer(tongue: Tongue, body: &[u8]) -> Option<u64> {
    json::validate(body).ok()?;
    let name = match tongue {
        Tongue::Generate => "totalTokens",
        Tongue::Converse => "inputTokens",
        _ => "input_tokens",
    };
    json::get(body, name).and_then(json::integer)
}

pub fn write_answer(tongue: Tongue, tokens: u64, out: &mut Vec<u8>) {
    Object::write(out, |answer| match tongue {
        Tongue::Generate => {
            answer.number("totalTokens", tokens);
        }
        Tongue::Converse => {
            answer.number("inputTokens", tokens);
        }
        Tongue::Responses => {
            answer.str("object", "response.input_tokens").number("input_tokens", tokens);
        }
        Tongue::Messages | Tongue::Chat | Tongue::Cohere => {
            answer.number("input_tokens", tokens);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_hold_the_call_and_answers_the_number() {
        let call = br#"{"model":"m","contents":[1],"messages":[2],"input":[3],"max_tokens":9,"stream":true}"#;
        for tongue in [Tongue::Responses, Tongue::Messages, Tongue::Generate, Tongue::Converse] {
            let mut out = Vec::new();
            question(tongue, call, "m", &mut out);
            json::validate(&out).unwrap();
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(!text.contains("max_tokens") && !text.contains("stream"), "{text}");
            let within = call_within(tongue, &out);
            assert!(json::members(within).any(|(_, value)| value.starts_with(b"[")), "{text}");
            let mut answer = Vec::new();
            write_answer(tongue, 17, &mut answer);
            assert_eq!(read_answer(tongue, &answer), Some(17));
        }
        assert_eq!(read_answer(Tongue::Messages, b"{\"input_tokens\":-1}"), None);
        assert_eq!(read_answer(Tongue::Messages, b"{"), None);
    }
}
