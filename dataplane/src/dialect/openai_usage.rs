//! Usage as OpenAI and those who speak like it tell it: totals that contain their parts.

use weir_shared::usage::{Class, Usage};

use super::{InvalidUsage, number};
use crate::wire::json::{self, Member};

/// What the members say, each looked at once.
#[derive(Default)]
struct Told {
    prompt: u64,
    answer: u64,
    total: u64,
    cache_hits: u64,
    seconds: u64,
    prompt_parts: Parts,
    answer_parts: Parts,
}

#[derive(Default)]
struct Parts {
    cached: u64,
    written: u64,
    audio: u64,
    image: u64,
    reasoning: u64,
    invalid: bool,
}

impl Told {
    fn read(usage: &[u8]) -> Result<Self, InvalidUsage> {
        let mut told = Self::default();
        let mut invalid = false;
        // Of the member that is an object and being read: what its members say, if it should turn out to be details.
        let mut parts = Parts::default();
        json::scan_valid(usage, |Member { key, value, depth, .. }| {
            if depth == 2 {
                parts.take(key, value);
                return;
            }
            if depth != 1 {
                return;
            }
            let ended = std::mem::take(&mut parts);
            let details = || if is_flat(value) { ended } else { Parts::read(value) };
            let mut count = |into: &mut u64, read: Result<u64, InvalidUsage>| match read {
                Ok(count) => *into = count,
                Err(InvalidUsage) => invalid = true,
            };
            match key {
                // Chat says one, the newer interfaces say the other; who says both says the same.
                b"prompt_tokens" | b"input_tokens" => {
                    let most = told.prompt;
                    count(&mut told.prompt, number(value).map(|count| count.max(most)));
                }
                b"completion_tokens" | b"output_tokens" => {
                    let most = told.answer;
                    count(&mut told.answer, number(value).map(|count| count.max(most)));
                }
                b"total_tokens" => count(&mut told.total, number(value)),
                b"prompt_cache_hit_tokens" => count(&mut told.cache_hits, number(value)),
                b"seconds" => count(&mut told.seconds, seconds(value)),
                b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                    told.prompt_parts = details();
                }
                b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                    told.answer_parts = details();
                }
                _ => {}
            }
        });
        invalid |= told.prompt_parts.invalid || told.answer_parts.invalid;
        if invalid { Err(InvalidUsage) } else { Ok(told) }
    }
}

/// Nothing in it is an object or an array itself, so that every member was reported.
fn is_flat(object: &[u8]) -> bool {
    memchr::memchr2(b'{', b'[', object.get(1..).unwrap_or_default()).is_none()
}

impl Parts {
    fn read(details: &[u8]) -> Self {
        let mut parts = Self::default();
        json::members(details).for_each(|(key, value)| parts.take(key, value));
        parts
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        let part = match key {
            b"cached_tokens" => &mut self.cached,
            b"cache_write_tokens" => &mut self.written,
            b"audio_tokens" => &mut self.audio,
            b"image_tokens" => &mut self.image,
            b"reasoning_tokens" => &mut self.reasoning,
            _ => return,
        };
        match number(value) {
            Ok(count) => *part = count,
            Err(InvalidUsage) => self.invalid = true,
        }
    }
}

/// Totals into disjoint classes. Members of chat (`prompt_tokens`) and of the newer interfaces (`input_tokens`) alike.
pub fn read(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    if !usage.starts_with(b"{") {
        return Err(InvalidUsage);
    }
    let Told { prompt, answer, total, cache_hits, seconds, prompt_parts, answer_parts } = Told::read(usage)?;
    let mut read = Usage::NONE;
    // Parts that overlap (a prompt that was written to the cache and read from it) count once: the first that claims a
    // token has it, so that the sum stays the vendor's total.
    let mut left = prompt;
    let mut claim = |class: Class, count: u64| {
        let count = count.min(left);
        left -= count;
        read.set(class, count);
    };
    claim(Class::CacheRead, if prompt_parts.cached > 0 { prompt_parts.cached } else { cache_hits });
    claim(Class::CacheWrite5m, prompt_parts.written);
    claim(Class::AudioInput, prompt_parts.audio);
    claim(Class::ImageInput, prompt_parts.image);
    read.set(Class::Input, left);
    // Some vendors count reasoning beside the answer and not within it; their total says so.
    let reasoning = answer_parts.reasoning;
    let beside = reasoning > 0 && total == prompt + answer + reasoning;
    let mut left = if beside { answer + reasoning } else { answer };
    let mut claim = |class: Class, count: u64| {
        let count = count.min(left);
        left -= count;
        read.set(class, count);
    };
    claim(Class::Reasoning, reasoning);
    claim(Class::AudioOutput, answer_parts.audio);
    claim(Class::ImageOutput, answer_parts.image);
    read.set(Class::Output, left);
    read.set(Class::Second, seconds);
    Ok(read)
}

/// Transcriptions are told in seconds, whole or with decimals; a begun second counts.
fn seconds(value: &[u8]) -> Result<u64, InvalidUsage> {
    if value == b"null" {
        return Ok(0);
    }
    let text = std::str::from_utf8(value).map_err(|_| InvalidUsage)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = number(whole.as_bytes())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidUsage);
    }
    Ok(whole + u64::from(fraction.bytes().any(|byte| byte != b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str) -> Vec<(&'static str, u64)> {
        read(text.as_bytes()).unwrap().each().map(|(class, count)| (class.name(), count)).collect()
    }

    #[test]
    fn parts_are_taken_out_of_their_totals() {
        let text = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"cached_tokens":60,"audio_tokens":10},
            "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5}}"#;
        let expected = [
            ("input", 30),
            ("cache_read", 60),
            ("output", 15),
            ("reasoning", 30),
            ("audio_input", 10),
            ("audio_output", 5),
        ];
        assert_eq!(classes(text), expected);
    }

    #[test]
    fn reasoning_beside_the_answer_is_not_taken_from_it() {
        let text = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100}}"#;
        assert_eq!(classes(text), [("input", 10), ("output", 5), ("reasoning", 100)]);
    }

    #[test]
    fn other_names_for_the_same() {
        assert_eq!(
            classes(r#"{"input_tokens":7,"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1}}"#),
            [("input", 7), ("output", 2), ("reasoning", 1)]
        );
        assert_eq!(
            classes(r#"{"prompt_tokens":8,"prompt_cache_hit_tokens":6,"completion_tokens":1}"#),
            [("input", 2), ("cache_read", 6), ("output", 1)]
        );
        assert_eq!(classes(r#"{"type":"duration","seconds":9.2}"#), [("second", 10)]);
    }

    #[test]
    fn parts_that_overlap_count_once() {
        let text = r#"{"prompt_tokens":2168,"prompt_tokens_details":{"cached_tokens":2161,"cache_write_tokens":2161},"completion_tokens":3}"#;
        assert_eq!(classes(text), [("cache_read", 2161), ("cache_write_5m", 7), ("output", 3)]);
        assert_eq!(classes(r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}"#), [("cache_read", 1)]);
    }

    #[test]
    fn details_are_read_whatever_stands_beside_them() {
        let text = r#"{"x":{"cached_tokens":"?"},"prompt_tokens":9,"prompt_tokens_details":{"y":{},"cached_tokens":4},
            "input_tokens_details":null,"completion_tokens":2,"completion_tokens_details":{"z":[1],"reasoning_tokens":1}}"#;
        assert_eq!(classes(text), [("input", 9), ("output", 1), ("reasoning", 1)]);
        let text = r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}"#;
        assert_eq!(classes(text), [("input", 5), ("cache_read", 4)]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            r#"{"prompt_tokens_details":{"cached_tokens":{}}}"#,
            r#"{"completion_tokens_details":{"audio_tokens":-1}}"#,
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":"12"}"#,
            r#"{"prompt_tokens":1.5}"#,
            r#"{"prompt_tokens":999999999999999999}"#,
            "[]",
            "12",
        ] {
            assert_eq!(read(text.as_bytes()), Err(InvalidUsage), "{text}");
        }
    }
}
