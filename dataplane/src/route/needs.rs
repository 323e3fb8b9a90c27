//! What a call wants of a model beside text, told by a look at its body and not by a parser: all six languages say it with
//! the same few words, and what stands between quotes within a text has its quotes escaped.

use weir_shared::routing::need;

use crate::wire::lanes::{self, LANES};

/// A word as a member's name or value, and what it tells; by the letters that they begin with.
const WORDS: &[(&str, u16)] = &[
    ("\"audio/", need::AUDIO),
    ("\"application/pdf\"", need::FILES),
    ("\"document\"", need::FILES),
    ("\"functions\"", need::TOOLS),
    ("\"image_url\"", need::IMAGES),
    ("\"input_image\"", need::IMAGES),
    ("\"image/", need::IMAGES),
    ("\"image\"", need::IMAGES),
    ("\"input_audio\"", need::AUDIO),
    ("\"input_file\"", need::FILES),
    ("\"json_schema\"", need::SCHEMA),
    ("\"output_format\"", need::SCHEMA),
    ("\"responseSchema\"", need::SCHEMA),
    ("\"responseJsonSchema\"", need::SCHEMA),
    ("\"reasoning_effort\"", need::REASONING),
    ("\"reasoning\"", need::REASONING),
    ("\"tools\"", need::TOOLS),
    ("\"toolConfig\"", need::TOOLS),
    ("\"thinking\"", need::REASONING),
    ("\"thinkingConfig\"", need::REASONING),
];

pub fn of(body: &[u8], stream: bool) -> u16 {
    let mut needs = if stream { need::STREAM } else { 0 };
    // One pass over the quotes: each word begins with one, and few quotes are followed by a letter that begins a word.
    let (blocks, last) = body.as_chunks::<LANES>();
    for (number, block) in blocks.iter().enumerate() {
        let mut ends = lanes::ends_plain_text(block);
        while ends != 0 {
            let at = number * LANES + ends.trailing_zeros() as usize;
            ends &= ends - 1;
            needs |= told_at(body, at, needs);
        }
    }
    (body.len() - last.len()..body.len()).fold(needs, |needs, at| needs | told_at(body, at, needs))
}

/// What the word that begins here tells beyond what is known.
#[inline(always)]
fn told_at(body: &[u8], at: usize, known: u16) -> u16 {
    let (Some(b'"'), Some(first)) = (body.get(at), body.get(at + 1)) else { return 0 };
    let letter = usize::from(first & 31);
    let (from, to) = (FROM[letter], FROM[letter + 1]);
    if from == to { 0 } else { word_at(body, at, &WORDS[usize::from(from)..usize::from(to)], known) }
}

fn word_at(body: &[u8], at: usize, words: &[(&str, u16)], known: u16) -> u16 {
    let mut told = 0;
    for (word, bit) in words {
        let word = word.as_bytes();
        // The second letter already tells most words from what is not one.
        if body.get(at + 2) == word.get(2)
            && (known | told) & bit == 0
            && body[at..].starts_with(word)
            && says(body, at, word)
        {
            told |= bit;
        }
    }
    told
}

/// Where the words of each first letter begin, by the letter's last five bits; they end where the next one's begin.
const FROM: [u8; 33] = {
    let (mut from, mut letter, mut word) = ([0; 33], 0, 0);
    while letter < from.len() {
        while word < WORDS.len() && ((WORDS[word].0.as_bytes()[1] & 31) as usize) < letter {
            word += 1;
        }
        from[letter] = word as u8;
        letter += 1;
    }
    from
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
    fn words_stand_by_their_letters() {
        assert!(WORDS.is_sorted_by_key(|(word, _)| word.as_bytes()[1] & 31));
        for (word, bit) in WORDS {
            let text =
                if word.ends_with('/') { format!("{{\"mimeType\":{word}x\"}}") } else { format!("{{{word}:[1]}}") };
            assert_eq!(of(text.as_bytes(), false), *bit, "{text}");
        }
    }

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
            // Wherever it stands in the blocks that are looked at.
            for before in 0..2 * LANES {
                let moved = " ".repeat(before) + body;
                assert_eq!(of(moved.as_bytes(), false), expected, "{moved}");
            }
        }
        assert_eq!(of(b"{}", true), need::STREAM);
    }
}
