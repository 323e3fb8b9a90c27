//! What a call wants of a model beside text, told by a look at its body and not by a parser: all six languages say it with
//! the same few words, and what stands between quotes within a text has its quotes escaped.

use weir_shared::routing::need;

/// A word as a member's name or value, and what it tells.
const WORDS: &[(&str, u16)] = &[
    ("\"tools\"", need::TOOLS),
    ("\"functions\"", need::TOOLS),
    ("\"toolConfig\"", need::TOOLS),
    ("\"image_url\"", need::IMAGES),
    ("\"input_image\"", need::IMAGES),
    ("\"image/", need::IMAGES),
    ("\"image\"", need::IMAGES),
    ("\"input_audio\"", need::AUDIO),
    ("\"audio/", need::AUDIO),
    ("\"input_file\"", need::FILES),
    ("\"document\"", need::FILES),
    ("\"application/pdf\"", need::FILES),
    ("\"json_schema\"", need::SCHEMA),
    ("\"responseSchema\"", need::SCHEMA),
    ("\"responseJsonSchema\"", need::SCHEMA),
    ("\"output_format\"", need::SCHEMA),
    ("\"reasoning_effort\"", need::REASONING),
    ("\"reasoning\"", need::REASONING),
    ("\"thinking\"", need::REASONING),
    ("\"thinkingConfig\"", need::REASONING),
];

pub fn of(body: &[u8], stream: bool) -> u16 {
    let mut needs = if stream { need::STREAM } else { 0 };
    // One pass over the quotes: each word begins with one, and few quotes are followed by a letter that begins a word.
    for at in memchr::memchr_iter(b'"', body) {
        let rest = &body[at..];
        let Some(first) = rest.get(1).filter(|first| STARTS & 1 << (**first & 31) != 0) else { continue };
        for (word, bit) in WORDS.iter().filter(|(word, _)| word.as_bytes()[1] == *first) {
            if needs & bit == 0 && rest.starts_with(word.as_bytes()) && says(body, at, word.as_bytes()) {
                needs |= bit;
            }
        }
    }
    needs
}

/// The letters that words begin with, by their last five bits.
const STARTS: u32 = {
    let (mut starts, mut word) = (0, 0);
    while word < WORDS.len() {
        starts |= 1 << (WORDS[word].0.as_bytes()[1] & 31);
        word += 1;
    }
    starts
};

/// A member's name with something in it, or the value of `type` and its like: not a text that is this word alone.
fn says(body: &[u8], at: usize, word: &[u8]) -> bool {
    let behind = &body[at + word.len()..];
    let blank = |byte: &&u8| !byte.is_ascii_whitespace();
    let next = behind.iter().find(blank);
    if word.ends_with(b"\"") && next == Some(&b':') {
        let value = &behind[behind.iter().position(|byte| *byte == b':').unwrap_or(0) + 1..];
        let value = value.trim_ascii_start();
        // Named and empty is as good as not said.
        return ![b"null".as_slice(), b"[]", b"false", b"{}", b"\"\""].iter().any(|nothing| value.starts_with(nothing));
    }
    let before = body[..at].trim_ascii_end();
    let Some(name) = before.strip_suffix(b":") else { return false };
    let name = name.trim_ascii_end();
    [b"\"type\"".as_slice(), b"\"mimeType\"", b"\"mime_type\"", b"\"media_type\"", b"\"url\""]
        .iter()
        .any(|known| name.ends_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_seen_and_what_is_only_spoken_of_is_not() {
        for (body, expected) in [
            (r#"{"messages":[{"role":"user","content":"hi"}]}"#, 0),
            (r#"{"tools":[{"type":"function"}]}"#, need::TOOLS),
            (r#"{"tools" : [{"name":"a"}] , "tool_choice":"auto"}"#, need::TOOLS),
            (r#"{"tools":[]}"#, 0),
            (r#"{"tools":null}"#, 0),
            (r#"{"content":[{"type":"image_url","image_url":{"url":"x"}}]}"#, need::IMAGES),
            (r#"{"content":[{"type":"image","source":{"media_type":"image/png"}}]}"#, need::IMAGES),
            (r#"{"content":[{"image":{"format":"png"}}]}"#, need::IMAGES),
            (r#"{"parts":[{"inlineData":{"mimeType":"audio/wav"}}]}"#, need::AUDIO),
            (r#"{"content":"image"}"#, 0),
            (r#"{"content":"say \"tools\": [1] and \"image_url\": 2"}"#, 0),
            (r#"{"response_format":{"type":"json_schema","json_schema":{"name":"a"}}}"#, need::SCHEMA),
            (r#"{"reasoning_effort":"high"}"#, need::REASONING),
            (r#"{"reasoning":null}"#, 0),
        ] {
            assert_eq!(of(body.as_bytes(), false), expected, "{body}");
        }
        assert_eq!(of(b"{}", true), need::STREAM);
    }
}
