//! Usage as OpenAI and those who speak like it tell it: totals that contain their parts.

use weir_shared::usage::{Class, Usage};

use super::{InvalidUsage, count};
use crate::wire::json;

/// Totals into disjoint classes. Members of chat (`prompt_tokens`) and of the newer interfaces (`input_tokens`) alike.
pub fn read(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    if !usage.starts_with(b"{") {
        return Err(InvalidUsage);
    }
    let either =
        |one: &str, other: &str| count(usage, one).and_then(|n| if n > 0 { Ok(n) } else { count(usage, other) });
    let prompt = either("prompt_tokens", "input_tokens")?;
    let answer = either("completion_tokens", "output_tokens")?;
    let total = count(usage, "total_tokens")?;
    let details = |names: &[&str], key: &str| {
        names.iter().find_map(|name| json::get(usage, name)).map_or(Ok(0), |object| count(object, key))
    };
    const PROMPT: &[&str] = &["prompt_tokens_details", "input_tokens_details", "input_token_details"];
    const ANSWER: &[&str] = &["completion_tokens_details", "output_tokens_details", "output_token_details"];
    let cached = match details(PROMPT, "cached_tokens")? {
        0 => count(usage, "prompt_cache_hit_tokens")?,
        cached => cached,
    };
    let written = details(PROMPT, "cache_write_tokens")?;
    let audio_in = details(PROMPT, "audio_tokens")?;
    let image_in = details(PROMPT, "image_tokens")?;
    let mut reasoning = details(ANSWER, "reasoning_tokens")?;
    let audio_out = details(ANSWER, "audio_tokens")?;
    let image_out = details(ANSWER, "image_tokens")?;

    let mut read = Usage::NONE;
    read.set(Class::CacheRead, cached);
    read.set(Class::CacheWrite5m, written);
    read.set(Class::AudioInput, audio_in);
    read.set(Class::ImageInput, image_in);
    read.set(Class::Input, less(prompt, &[cached, written, audio_in, image_in])?);
    // Some vendors count reasoning beside the answer and not within it; their total says so.
    let beside = reasoning > 0 && total == prompt + answer + reasoning;
    let within = if beside { 0 } else { reasoning };
    // Some report more reasoning than answer: then all of the answer was reasoning.
    reasoning = if beside { reasoning } else { reasoning.min(answer) };
    read.set(Class::Reasoning, reasoning);
    read.set(Class::AudioOutput, audio_out);
    read.set(Class::ImageOutput, image_out);
    read.set(Class::Output, less(answer, &[within.min(answer), audio_out, image_out])?);
    read.set(Class::Second, count_seconds(usage)?);
    Ok(read)
}

/// A part that is larger than its total is nonsense.
fn less(total: u64, parts: &[u64]) -> Result<u64, InvalidUsage> {
    parts.iter().try_fold(total, |left, part| left.checked_sub(*part)).ok_or(InvalidUsage)
}

/// Transcriptions are told in seconds, whole or with decimals; a begun second counts.
fn count_seconds(usage: &[u8]) -> Result<u64, InvalidUsage> {
    let Some(value) = json::get(usage, "seconds").filter(|value| *value != b"null") else { return Ok(0) };
    let text = std::str::from_utf8(value).map_err(|_| InvalidUsage)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = json::integer(whole.as_bytes()).ok_or(InvalidUsage)?;
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
    fn nonsense_is_refused() {
        for text in [
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":"12"}"#,
            r#"{"prompt_tokens":1.5}"#,
            r#"{"prompt_tokens":999999999999999999}"#,
            r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}"#,
            "[]",
            "12",
        ] {
            assert_eq!(read(text.as_bytes()), Err(InvalidUsage), "{text}");
        }
    }
}
