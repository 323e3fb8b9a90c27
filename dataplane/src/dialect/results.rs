//! Results of tools, for languages that know less of them: where they are messages of words alone, and cannot be failures.

use super::call::{Media, Part, Source, ToolResult, Turn, What};
use super::compose::Array;
use super::text::Text;

/// A message of the role `tool`, as OpenAI's chat has it and Cohere's.
pub fn write_message(result: &ToolResult<'_>, messages: &mut Array<'_>) {
    let failure = told_failure(result);
    let content = failure.as_ref().unwrap_or(&result.content);
    messages.object(|message| {
        message.str("role", "tool").text("tool_call_id", &result.id);
        let texts = content.iter().filter_map(words_of);
        match texts.clone().count() {
            0 => _ = message.str("content", ""),
            1 => texts.for_each(|text| _ = message.text("content", text)),
            _ => _ = message.array("content", |list| texts.for_each(|text| write_text(text, list))),
        }
    });
}

pub fn of<'t, 'a>(turn: &'t Turn<'a>) -> impl Iterator<Item = &'t ToolResult<'a>> + Clone {
    turn.parts.iter().filter_map(|part| match &part.what {
        What::ToolResult(result) => Some(result),
        _ => None,
    })
}

/// What such a message has no place for, and what else its turn says: told behind it.
pub fn beside<'t, 'a>(turn: &'t Turn<'a>) -> impl Iterator<Item = &'t Part<'a>> + Clone {
    let shown = of(turn).flat_map(|result| &result.content).filter(|part| words_of(part).is_none());
    shown.chain(turn.parts.iter().filter(|part| !matches!(part.what, What::ToolResult(_))))
}

/// The content of a failure, which says so itself. `None`: it is none.
pub fn told_failure<'a>(result: &ToolResult<'a>) -> Option<Vec<Part<'a>>> {
    if !result.failed {
        return None;
    }
    let mut content = result.content.clone();
    let first = content.iter_mut().find_map(|part| match &mut part.what {
        What::Text(text) => Some(text),
        _ => None,
    });
    match first {
        Some(text) if text.raw().get(..FAILURE.len()).is_some_and(|word| word.eq_ignore_ascii_case(FAILURE)) => {}
        Some(text) => *text = Text::of_raw_owned([FAILURE, b": ", text.raw()].concat()),
        None => content.insert(0, What::Text(Text::of_raw(FAILURE)).into()),
    }
    Some(content)
}

const FAILURE: &[u8] = b"Error";

pub fn write_text(text: &Text<'_>, content: &mut Array<'_>) {
    content.object(|object| _ = object.str("type", "text").text("text", text));
}

fn words_of<'p>(part: &'p Part<'_>) -> Option<&'p Text<'p>> {
    match &part.what {
        What::Text(text) | What::Refusal(text) | What::Media(Media { source: Source::Text(text), .. }) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_so_once() {
        let told = |content: &[&'static str], failed| {
            let content = content.iter().map(|text| What::Text(Text::of_raw(text.as_bytes())).into()).collect();
            let mut out = Vec::new();
            let result = ToolResult { id: Text::of_raw(b"c"), name: None, content, failed };
            Array::write(&mut out, |messages| write_message(&result, messages));
            let text = String::from_utf8(out).unwrap();
            text.split_once("\"content\":").unwrap().1.strip_suffix("}]").unwrap().to_owned()
        };
        assert_eq!(told(&["no file"], false), r#""no file""#);
        assert_eq!(told(&["no file"], true), r#""Error: no file""#);
        assert_eq!(told(&["ERROR 5"], true), r#""ERROR 5""#);
        assert_eq!(told(&[], true), r#""Error""#);
        assert_eq!(told(&["a", "b"], true), r#"[{"type":"text","text":"Error: a"},{"type":"text","text":"b"}]"#);
    }
}
