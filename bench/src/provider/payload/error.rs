//! What a vendor says when it refuses: in the body of an answer, or in the middle of a stream.

use super::{Frame, Part, quote};
use crate::provider::route::{Dialect, Endpoint};

/// The body of an error. `told` stands in the message of a 401, as real vendors do with a key: nothing of it may reach a caller.
pub fn body(dialect: Dialect, status: u16, told: &str) -> String {
    let (kind, code, message) = words(dialect, status);
    let message = if told.is_empty() { message.to_owned() } else { format!("{message}: {told}") };
    let message = quote(&message);
    match dialect {
        Dialect::OpenAi => format!(
            "{{\n  \"error\": {{\n    \"message\": {message},\n    \"type\": \"{kind}\",\n    \"param\": null,\n    \"code\": {}\n  }}\n}}\n",
            nullable(code)
        ),
        Dialect::Anthropic => format!(
            "{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":{message}}},\"request_id\":\"req_011weirbench\"}}"
        ),
        Dialect::Gemini => format!(
            "{{\n  \"error\": {{\n    \"code\": {status},\n    \"message\": {message},\n    \"status\": \"{kind}\"\n  }}\n}}\n"
        ),
        Dialect::Cohere => format!("{{\"id\":\"00000000-0000-4000-8000-weirbench000\",\"message\":{message}}}"),
        Dialect::Bedrock => format!("{{\"message\":{message}}}"),
    }
}

/// Amazon tells the kind of an error in its head.
pub fn headers(dialect: Dialect, status: u16) -> String {
    if dialect != Dialect::Bedrock {
        return String::new();
    }
    let (kind, ..) = words(dialect, status);
    format!("x-amzn-errortype: {kind}:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n")
}

/// The in-band error. `number` is the next sequence number, which Responses counts.
pub fn in_band(dialect: Dialect, endpoint: &Endpoint, number: usize) -> Frame {
    let (name, data) = match dialect {
        Dialect::Anthropic => (Some("error"), "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}".to_owned()),
        Dialect::Gemini => (None, "{\"error\": {\"code\": 503,\"message\": \"The model is overloaded.\",\"status\": \"UNAVAILABLE\"}}".to_owned()),
        Dialect::Cohere => (
            Some("message-end"),
            "{\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"internal server error, this has been reported to our developers\"}}".to_owned(),
        ),
        Dialect::Bedrock => (
            Some("internalServerException"),
            "{\"message\":\"The system encountered an unexpected error during processing. Try your request again.\"}".to_owned(),
        ),
        Dialect::OpenAi if matches!(endpoint, Endpoint::Responses) => (
            Some("error"),
            format!("{{\"type\":\"error\",\"sequence_number\":{number},\"code\":\"server_error\",\"message\":\"The server had an error while processing your request.\",\"param\":null}}"),
        ),
        Dialect::OpenAi => (
            None,
            "{\"error\":{\"message\":\"The server had an error while processing your request.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}".to_owned(),
        ),
    };
    Frame { name, data, part: Part::Done }
}

fn nullable(code: &str) -> String {
    if code.is_empty() { "null".to_owned() } else { format!("\"{code}\"") }
}

fn words(dialect: Dialect, status: u16) -> (&'static str, &'static str, &'static str) {
    match dialect {
        Dialect::OpenAi => match status {
            401 => ("invalid_request_error", "invalid_api_key", "Incorrect API key provided"),
            403 => (
                "invalid_request_error",
                "unsupported_country_region_territory",
                "Country, region, or territory not supported for org-weirbench0000",
            ),
            404 => (
                "invalid_request_error",
                "model_not_found",
                "The model does not exist or you do not have access to it.",
            ),
            429 => (
                "tokens",
                "rate_limit_exceeded",
                "Rate limit reached for organization org-weirbench0000 on tokens per min",
            ),
            400 | 409 | 413 | 422 => ("invalid_request_error", "", "The request was not understood by this model."),
            503 => ("server_error", "", "The engine is currently overloaded, please try again later"),
            _ => ("server_error", "", "The server had an error while processing your request."),
        },
        Dialect::Anthropic => match status {
            401 => ("authentication_error", "", "invalid x-api-key"),
            403 => ("permission_error", "", "Your API key does not have permission to use the specified resource."),
            404 => ("not_found_error", "", "The requested resource could not be found."),
            413 => ("request_too_large", "", "Request exceeds the maximum allowed number of bytes."),
            429 => (
                "rate_limit_error",
                "",
                "This request would exceed the rate limit of your organization (weirbench-org)",
            ),
            529 => ("overloaded_error", "", "Overloaded"),
            400 | 409 | 422 => ("invalid_request_error", "", "The request was not understood by this model."),
            _ => ("api_error", "", "Internal server error"),
        },
        Dialect::Gemini => match status {
            401 => ("UNAUTHENTICATED", "", "API key not valid. Please pass a valid API key"),
            403 => ("PERMISSION_DENIED", "", "Permission denied on resource project weirbench-project"),
            404 => {
                ("NOT_FOUND", "", "The model is not found for this API version, or is not supported for this method.")
            }
            429 => ("RESOURCE_EXHAUSTED", "", "You exceeded your current quota for project weirbench-project"),
            400 | 409 | 413 | 422 => ("INVALID_ARGUMENT", "", "The request was not understood by this model."),
            503 | 529 => ("UNAVAILABLE", "", "The model is overloaded. Please try again later."),
            504 => ("DEADLINE_EXCEEDED", "", "Deadline expired before operation could complete."),
            _ => ("INTERNAL", "", "An internal error has occurred."),
        },
        // No kinds: only words.
        Dialect::Cohere => match status {
            401 => ("", "", "invalid api token"),
            403 => ("", "", "your account is not allowed to use this model (team weirbench-team)"),
            404 => ("", "", "model 'weirbench' not found, make sure the correct model ID was used"),
            429 => (
                "",
                "",
                "You are past the per minute request limit of weirbench-team, please wait and try again later.",
            ),
            400 | 409 | 413 | 422 => ("", "", "invalid request: the request was not understood by this model"),
            503 => ("", "", "the service is overloaded, please try again later"),
            _ => ("", "", "internal server error, this has been reported to our developers"),
        },
        Dialect::Bedrock => match status {
            401 | 403 => {
                ("AccessDeniedException", "", "Authentication failed: Please make sure your API Key is valid.")
            }
            404 => ("ResourceNotFoundException", "", "Could not resolve the foundation model from arn:aws:weirbench."),
            408 => {
                ("ModelTimeoutException", "", "Model has timed out in processing the request. Try your request again.")
            }
            424 => ("ModelErrorException", "", "The model returned an error. Try your request again."),
            429 => ("ThrottlingException", "", "Too many tokens, please wait before trying again."),
            400 | 409 | 413 | 422 => ("ValidationException", "", "The request was not understood by this model."),
            503 | 529 => ("ServiceUnavailableException", "", "Bedrock is unable to process your request."),
            _ => ("InternalServerException", "", "The system encountered an unexpected error. Try your request again."),
        },
    }
}
