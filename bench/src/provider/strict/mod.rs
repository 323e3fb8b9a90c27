//! What real vendors refuse: one file for each language. A translation that says something its vendor would not take meets
//! here the 400 that it would meet there. The members of a body are data (`shape.rs`); the order of turns is code.

mod chat;
mod cohere;
mod converse;
mod generate;
mod messages;
mod rerank;
mod responses;
mod shape;

use serde_json::Value;

use super::route::Endpoint;

/// Why the vendor of this call does not take this body; `None` when it does, or when nothing is known of such calls.
pub fn refuses(endpoint: &Endpoint, body: &[u8]) -> Option<String> {
    let judge: fn(&Value) -> Result<(), String> = match endpoint {
        Endpoint::Chat => chat::judge,
        Endpoint::Responses => responses::judge,
        Endpoint::Messages => messages::judge,
        Endpoint::Generate { .. } | Endpoint::StreamGenerate { .. } => generate::judge,
        Endpoint::CohereChat => cohere::judge,
        Endpoint::Converse { .. } => converse::judge,
        Endpoint::Rerank(form) => {
            let form = *form;
            return match serde_json::from_slice::<Value>(body) {
                Ok(body) => rerank::judge(form, &body).err(),
                Err(error) => Some(format!("the body is not JSON: {error}")),
            };
        }
        _ => return None,
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(body) => judge(&body).err(),
        Err(error) => Some(format!("the body is not JSON: {error}")),
    }
}

/// The list under this member; nothing when it is not there.
fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn given(value: &Value, member: &str) -> bool {
    value.get(member).is_some_and(|value| !value.is_null())
}

/// A member of text that may also be a list of parts: its parts.
fn parts<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    list(value, member)
}

fn refuse(why: impl Into<String>) -> Result<(), String> {
    Err(why.into())
}

/// Every image and file that is told as a data URL is one.
fn data_url(url: &str, at: &str) -> Result<(), String> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    let good = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
        .is_some_and(|(kind, data)| kind.contains('/') && is_base64(data));
    if good { Ok(()) } else { refuse(format!("{at}: neither an address nor a data URL in base64")) }
}

fn is_base64(text: &str) -> bool {
    let filled = text.trim_end_matches('=');
    !filled.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - filled.len() <= 2
        && filled.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Names of functions, as most vendors demand them.
fn function_name(name: &str, at: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
        Ok(())
    } else {
        refuse(format!("{at}: `{name}` is no name of a function (letters, digits, _ and -, at most 64)"))
    }
}

#[cfg(test)]
mod tests;
