//! Errors as OpenAI and those who speak like it tell them within an answer.

use crate::wire::json;

/// Whether it is the request that is wrong, by the error's `type` or its `code`.
pub fn blames_caller(error: &[u8]) -> bool {
    json::members(error)
        .filter(|(key, _)| matches!(*key, b"type" | b"code"))
        .any(|(_, value)| OF_REQUESTS.contains(&json::inner(value)))
}

/// Whether a refusal for too much is about this one call, which is larger than the limit itself: waiting does not help it,
/// and others are not concerned. The code is that of every limit, so the words must do.
pub fn outgrows_limit(body: &[u8]) -> bool {
    json::dig(body, &["error", "message"]).is_some_and(|message| message.starts_with(b"\"Request too large"))
}

const OF_REQUESTS: &[&[u8]] = &[
    b"invalid_request_error",
    b"request_too_large",
    b"invalid_prompt",
    b"context_length_exceeded",
    b"string_above_max_length",
    b"content_filter",
    b"content_policy_violation",
    b"image_content_policy_violation",
    b"image_parse_error",
    b"image_too_large",
    b"image_too_small",
    b"image_file_too_large",
    b"image_file_not_found",
    b"empty_image_file",
    b"invalid_image",
    b"invalid_image_format",
    b"invalid_image_url",
    b"invalid_base64_image",
    b"invalid_image_mode",
    b"unsupported_image_media_type",
    b"failed_to_download_image",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_larger_than_its_limit_is_told_from_too_many() {
        let said = |message: &str| format!(r#"{{"error":{{"message":"{message}","code":"rate_limit_exceeded"}}}}"#);
        assert!(outgrows_limit(
            said("Request too large for m on tokens per min (TPM): Limit 1, Requested 2.").as_bytes()
        ));
        assert!(!outgrows_limit(said("Rate limit reached for m on tokens per min (TPM).").as_bytes()));
        assert!(!outgrows_limit(b"{}"));
    }

    #[test]
    fn a_word_counts_where_it_names_the_error() {
        assert!(blames_caller(br#"{"message":"m","type":"invalid_request_error","code":null}"#));
        assert!(blames_caller(br#"{"type":"error","code":"context_length_exceeded"}"#));
        assert!(!blames_caller(br#"{"type":"server_error","message":"invalid_prompt","param":"invalid_prompt"}"#));
        assert!(!blames_caller(br#""invalid_prompt""#));
        assert!(!blames_caller(br#"{"code":400}"#));
    }
}
