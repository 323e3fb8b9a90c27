//! How likely the tokens of a text were: OpenAI tells a list of tokens with their alternatives, Google two lists side by side.
//! The middle carries OpenAI's form, see [`super::event::Piece::Likely`].

use super::compose::{Array, Object, number, quoted};
use super::text::plain;
use crate::wire::json;

/// A token, or one that could have stood in its place.
struct Token<'a> {
    /// As the inside of a string.
    words: &'a [u8],
    logprob: &'a [u8],
    /// A list of them, where half a letter can be a token. Empty when they are those of the words.
    bytes: &'a [u8],
    /// Of a token that was said: a list of others like it.
    others: &'a [u8],
}

impl<'a> Token<'a> {
    fn of_openai(token: &'a [u8]) -> Self {
        Self::read(token, b"logprob")
    }

    fn of_google(candidate: &'a [u8]) -> Self {
        Self::read(candidate, b"logProbability")
    }

    fn read(token: &'a [u8], likely: &[u8]) -> Self {
        let mut read = Self { words: b"", logprob: IMPOSSIBLE, bytes: b"", others: b"" };
        for (key, value) in json::members(token) {
            match key {
                b"token" => read.words = json::inner(value),
                b"bytes" if value.starts_with(b"[") => read.bytes = value,
                b"top_logprobs" => read.others = value,
                key if key == likely && is_number(value) => read.logprob = value,
                _ => {}
            }
        }
        read
    }

    fn write_openai(&self, object: &mut Object<'_>) {
        quoted(object.member("token"), self.words);
        object.raw("logprob", self.logprob);
        if !self.bytes.is_empty() {
            object.array("bytes", |bytes| json::elements(self.bytes).for_each(|byte| _ = bytes.raw(byte)));
            return;
        }
        object.array("bytes", |bytes| {
            for byte in plain(self.words).bytes() {
                number(bytes.element(), u64::from(byte));
            }
        });
    }

    fn write_google(&self, list: &mut Array<'_>) {
        list.object(|object| {
            quoted(object.member("token"), self.words);
            object.raw("logProbability", self.logprob);
        });
    }
}

/// What both vendors say of a token that nobody would have expected.
const IMPOSSIBLE: &[u8] = b"-9999.0";

fn is_number(value: &[u8]) -> bool {
    value.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
}

/// OpenAI's tokens, whole, behind those that are in the list already: what stands between its brackets.
pub fn append(tokens: &[u8], list: &mut Vec<u8>) {
    for token in json::elements(tokens).map(Token::of_openai) {
        if !list.is_empty() {
            list.push(b',');
        }
        Object::write(list, |object| {
            token.write_openai(object);
            object.array("top_logprobs", |others| {
                for other in json::elements(token.others).map(Token::of_openai) {
                    others.object(|object| other.write_openai(object));
                }
            });
        });
    }
}

/// The same as Google's `logprobsResult`.
pub fn write_google(tokens: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |result| {
        result.array("topCandidates", |all| {
            for token in json::elements(tokens).map(Token::of_openai) {
                all.object(|step| {
                    step.array("candidates", |list| {
                        json::elements(token.others).map(Token::of_openai).for_each(|other| other.write_google(list));
                    });
                });
            }
        });
        result.array("chosenCandidates", |list| {
            json::elements(tokens).map(Token::of_openai).for_each(|token| token.write_google(list));
        });
    });
}

/// From Google's. Empty when there is none.
pub fn of_google(result: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    let mut steps = json::get(result, "topCandidates").into_iter().flat_map(json::elements);
    Array::write(&mut list, |list| {
        for chosen in json::get(result, "chosenCandidates").into_iter().flat_map(json::elements) {
            let others = steps.next().and_then(|step| json::get(step, "candidates")).unwrap_or_default();
            list.object(|object| {
                Token::of_google(chosen).write_openai(object);
                object.array("top_logprobs", |all| {
                    for other in json::elements(others).map(Token::of_google) {
                        all.object(|object| other.write_openai(object));
                    }
                });
            });
        }
    });
    if list == b"[]" { Vec::new() } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAI: &str = r#"{"token":"\u00e9","logprob":-0.5,"bytes":[195,169],"top_logprobs":[{"token":"a","logprob":-1,"bytes":[97]}]}"#;

    #[test]
    fn tokens_go_to_google_and_back() {
        let mut google = Vec::new();
        write_google(format!("[{OPENAI}]").as_bytes(), &mut google);
        let want = r#"{"topCandidates":[{"candidates":[{"token":"a","logProbability":-1}]}],"chosenCandidates":[{"token":"\u00e9","logProbability":-0.5}]}"#;
        assert_eq!(std::str::from_utf8(&google).unwrap(), want);
        assert_eq!(String::from_utf8(of_google(&google)).unwrap(), format!("[{OPENAI}]"));
        assert_eq!(of_google(b"{}"), b"");
    }

    #[test]
    fn what_a_vendor_leaves_out_is_filled_in() {
        let mut list = Vec::new();
        append(br#"[{"token":"a","logprob":-1}, {"token":"b","logprob":null,"top_logprobs":null}]"#, &mut list);
        let want = r#"{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]},{"token":"b","logprob":-9999.0,"bytes":[98],"top_logprobs":[]}"#;
        assert_eq!(String::from_utf8(list).unwrap(), want);
    }
}
