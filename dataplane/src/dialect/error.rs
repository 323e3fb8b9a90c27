//! How a refusal reads in each dialect, and what is taken out of a vendor's own words before a caller sees them.

use weir_shared::catalog::Dialect;
use weir_shared::fault::{Code, anthropic_type_of, gemini_status_of};

use crate::wire::json::escape_into;

/// The body of an error of ours. `status` may differ from the code's own where the dialect has a habit.
pub fn body(dialect: Dialect, status: u16, code: Code, message: &str, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192 + message.len());
    let mut text = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    match dialect {
        Dialect::OpenAi => text(&["{\"error\":{\"message\":\""]),
        Dialect::Anthropic => {
            text(&["{\"type\":\"error\",\"error\":{\"type\":\"", anthropic_type_of(status), "\",\"message\":\""]);
        }
        Dialect::Gemini => text(&["{\"error\":{\"code\":", &status.to_string(), ",\"message\":\""]),
        Dialect::Cohere => text(&["{\"id\":\"", request_id, "\",\"message\":\""]),
        // What it is stands in a header field, see `bedrock_type_of`.
        Dialect::Bedrock => text(&["{\"message\":\""]),
    }
    escape_into(&mut out, message);
    let mut text = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    match dialect {
        Dialect::OpenAi => {
            let param = if code == Code::ModelNotFound { "\"model\"" } else { "null" };
            text(&["\",\"type\":\"", code.openai_type(), "\",\"param\":", param, ",\"code\":\"", code.name(), "\"}}"]);
        }
        Dialect::Cohere | Dialect::Bedrock => text(&["\",\"code\":\"", code.name(), "\"}"]),
        Dialect::Anthropic => text(&["\"},\"request_id\":\"", request_id, "\"}"]),
        Dialect::Gemini => {
            text(&[
                "\",\"status\":\"",
                gemini_status_of(status),
                "\",\"details\":[{\"reason\":\"",
                code.name(),
                "\"}]}}",
            ]);
        }
    }
    out
}

/// Replaces everything of a vendor's that a caller must not see: its credential, its host, and the path it is reached by.
///
/// Byte for byte, so that what surrounds it stays valid JSON: none of these holds a quote or a backslash.
pub fn scrub<'s>(text: &[u8], secrets: impl Iterator<Item = &'s [u8]>) -> Vec<u8> {
    let mut out = text.to_vec();
    for secret in secrets.filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
        out = without(&out, secret, |_| Some(0));
    }
    // Vendors name the operator's organisation and project in their words.
    for mark in [&b"org-"[..], b"proj_"] {
        out = without(&out, mark, |rest| {
            let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            (length >= ACCOUNT_BYTES_MIN).then_some(length)
        });
    }
    out
}

/// In one pass: wherever `mark` stands, it goes together with as many bytes behind it as `more` says, or stays.
fn without(text: &[u8], mark: &[u8], more: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
    if text.contains(&b'\\') {
        return without_escaped(text, mark, more);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(text, mark) {
        if found < at {
            continue;
        }
        let behind = found + mark.len();
        if let Some(length) = more(&text[behind..]) {
            out.extend_from_slice(&text[at..found]);
            out.extend_from_slice(b"***");
            at = behind + length;
        }
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// The same where characters may be written as escapes: `\/` is a slash, and `\u0073` a letter. What matches goes with all of
/// its escapes, so that what surrounds it stays valid JSON.
fn without_escaped(text: &[u8], mark: &[u8], more: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
    let (plain, starts) = unescaped(text);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(&plain, mark) {
        if starts[found] < at {
            continue;
        }
        let behind = found + mark.len();
        if let Some(length) = more(&plain[behind..]) {
            out.extend_from_slice(&text[at..starts[found]]);
            out.extend_from_slice(b"***");
            at = starts[behind + length];
        }
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// What the escapes of ASCII say, and where each byte of it starts in `text`, with the end behind the last.
fn unescaped(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut plain, mut starts) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
    let mut at = 0;
    while at < text.len() {
        let (byte, length) = match &text[at..] {
            [b'\\', b'u', rest @ ..] => {
                let code = rest.get(..4).and_then(|four| u32::from_str_radix(std::str::from_utf8(four).ok()?, 16).ok());
                match code.and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii) {
                    Some(byte) => (byte, 6),
                    None => (b'\\', 1),
                }
            }
            [b'\\', b'/', ..] => (b'/', 2),
            // Other escapes stand for nothing that a secret holds; taken whole, their second byte starts nothing.
            [b'\\', _, ..] => (0, 2),
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        plain.push(byte);
        starts.push(at);
        at += length;
    }
    starts.push(text.len());
    (plain, starts)
}

const ACCOUNT_BYTES_MIN: usize = 8;

/// A shorter one would blank half of every sentence.
const SECRET_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_json_in_every_dialect() {
        for &dialect in Dialect::ALL {
            for &code in Code::ALL {
                let body = body(dialect, code.status(), code, "a \"quoted\"\nline", "req_1");
                let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let is_flat = matches!(dialect, Dialect::Cohere | Dialect::Bedrock);
                let error = if is_flat { &value } else { &value["error"] };
                assert_eq!(error["message"], "a \"quoted\"\nline");
            }
        }
    }

    #[test]
    fn secrets_go_however_they_are_spelled() {
        let scrubbed =
            |text: &[u8]| String::from_utf8(scrub(text, [&b"sk-secret"[..], b"/v1/base"].into_iter())).unwrap();
        assert_eq!(
            scrubbed(br#"{"m":"a \u0073k-\u0073ecret at http:\/\/h\/v1\/base\/x \n"}"#),
            r#"{"m":"a *** at http:\/\/h***\/x \n"}"#
        );
        assert_eq!(
            scrubbed(br#"{"m":"\\u0073k-secret \u00e9 org-\u0061bcdefgh1"}"#),
            r#"{"m":"\\u0073k-secret \u00e9 ***"}"#
        );
        assert_eq!(scrubbed(b"\\u00"), "\\u00");
    }

    #[test]
    fn secrets_go_wherever_they_stand() {
        let text = b"{\"error\":\"key sk-1234 at api.vendor.com said sk-1234\"}";
        let clean = scrub(text, [&b"sk-1234"[..], b"api.vendor.com", b"x"].into_iter());
        assert_eq!(clean, b"{\"error\":\"key *** at *** said ***\"}");
    }
}
