//! What a content type says, as far as anybody here asks.

fn kind(content_type: &[u8]) -> &[u8] {
    content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

pub fn is_json(content_type: &[u8]) -> bool {
    let kind = kind(content_type);
    kind.eq_ignore_ascii_case(b"application/json") || kind.to_ascii_lowercase().ends_with(b"+json")
}

pub fn is_event_stream(content_type: &[u8]) -> bool {
    kind(content_type).eq_ignore_ascii_case(b"text/event-stream")
}

pub fn is_form(content_type: &[u8]) -> bool {
    kind(content_type).eq_ignore_ascii_case(b"multipart/form-data")
}
