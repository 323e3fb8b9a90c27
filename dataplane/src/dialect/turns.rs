//! Turns and ids for vendors who are strict about them: Anthropic, and whoever is reached by way of Bedrock.

use std::borrow::Cow;
use std::collections::HashSet;

use super::call::{Call, Param, ParamTable, Part, Role, Tongue, Tool, ToolChoice, What};
use super::compose::{Object, quoted};
use super::hints::{self, Hint};
use super::speech::{Lost, lose_params};
use super::text::{Arguments, Text};
use crate::wire::json;

/// What a vendor of this language can be told, neighbours of one role joined, beginning with the user.
///
/// Blank text is refused there and says nothing; a thought is taken back with the vendor's own proof only.
pub fn conversation<'c, 'a>(call: &'c Call<'a>, own: Tongue) -> Vec<(Role, Vec<&'c Part<'a>>)> {
    let mut joined: Vec<(Role, Vec<&'c Part<'a>>)> = Vec::with_capacity(call.turns.len());
    for turn in call.turns.iter().filter(|turn| turn.role != Role::System) {
        let mut parts = turn.parts.iter().filter(|part| is_told(part, own)).peekable();
        if parts.peek().is_none() {
            continue;
        }
        match joined.last_mut() {
            Some((role, last)) if *role == turn.role => last.extend(parts),
            _ => joined.push((turn.role, parts.collect())),
        }
    }
    // Results are looked for at the front of their turn.
    for (_, parts) in &mut joined {
        parts.sort_by_key(|part| !matches!(part.what, What::ToolResult(_)));
    }
    joined
}

/// Stands where a user's turn must be and the caller has none: an answer that comes first, or instructions alone.
pub const NOTHING_SAID: &str = ".";

fn is_told(part: &Part<'_>, own: Tongue) -> bool {
    match &part.what {
        What::Text(text) | What::Refusal(text) => !is_blank(text),
        What::Reasoning(thought) => thought.proof.as_ref().is_some_and(|proof| proof.of == own),
        What::Media(_) | What::ToolCall(_) | What::ToolResult(_) => true,
    }
}

pub fn is_blank(text: &Text<'_>) -> bool {
    without_trailing_space(text.raw()).is_empty()
}

/// What the model is to go on with. It may not end in space, and who ended it there is told.
pub fn begun<'t>(text: &'t Text<'_>, lost: &mut Vec<Lost>) -> Text<'t> {
    let kept = without_trailing_space(text.raw());
    if kept.len() < text.raw().len() {
        Lost::Hint("the space that the answer's beginning ends in").tell(lost);
    }
    Text::of_raw(kept)
}

/// The inside of a string up to its last letter.
fn without_trailing_space(mut raw: &[u8]) -> &[u8] {
    loop {
        raw = match raw {
            [front @ .., b' '] => front,
            [front @ .., b'\\', b'n' | b't' | b'r'] if !ends_in_backslash(front) => front,
            other => return other,
        };
    }
}

/// Whether the next byte would be escaped.
fn ends_in_backslash(raw: &[u8]) -> bool {
    raw.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// An id in letters, digits, `_` and `-`, at most 64 of them: the same one for the same id.
pub fn id<'i>(given: &'i Text<'_>) -> Cow<'i, [u8]> {
    let raw = given.raw();
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if raw.len() <= ID_BYTES_MAX && raw.iter().all(legal) && !raw.is_empty() {
        return Cow::Borrowed(raw);
    }
    // What is replaced or cut is told by a hash, so that two ids stay two.
    let hash = raw
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let kept = raw.iter().take(ID_BYTES_MAX - 17).map(|byte| if legal(byte) { *byte } else { b'_' });
    let mut made: Vec<u8> = kept.collect();
    made.extend_from_slice(format!("_{hash:016x}").as_bytes());
    Cow::Owned(made)
}

const ID_BYTES_MAX: usize = 64;

/// Arguments as an object. What a model once wrote instead of one is part of the conversation all the same.
pub fn arguments(arguments: &Arguments<'_>, out: &mut Vec<u8>) {
    let before = out.len();
    if arguments.write_object(out).is_none() || out.get(before) != Some(&b'{') {
        out.truncate(before);
        Object::write(out, |object| {
            let mut text = Vec::new();
            arguments.write_in_string(&mut text);
            quoted(object.member("arguments"), &text);
        });
    }
}

/// The schema of arguments, which must say itself that they are an object.
pub fn object_schema(schema: &[u8], out: &mut Vec<u8>) {
    match schema.strip_prefix(b"{") {
        Some(rest) if json::get(schema, "type").is_none() => {
            out.extend_from_slice(b"{\"type\":\"object\"");
            if rest.trim_ascii_start().first() != Some(&b'}') {
                out.push(b',');
            }
            out.extend_from_slice(rest);
        }
        Some(_) => out.extend_from_slice(schema),
        None => out.extend_from_slice(NO_ARGUMENTS.as_bytes()),
    }
}

pub const NO_ARGUMENTS: &str = "{\"type\":\"object\",\"properties\":{}}";

/// What Anthropic's models are told of hints, here and on Bedrock.
pub const HINTS: &[Hint] = &[
    Hint::CacheMarks,
    Hint::FileNames,
    // As the schema's own title and description, where it has no place beside it.
    Hint::SchemaName,
    Hint::SchemaDescription,
    Hint::ThoughtsShown,
    Hint::ThoughtsHidden,
];

/// What of a call neither a language's tables hold nor its vendor would miss.
pub fn lose(table: ParamTable, known: &[Hint], own: Tongue, call: &Call<'_>, lost: &mut Vec<Lost>) {
    hints::lose(known, call, lost);
    let thoughts =
        call.turns.iter().flat_map(|turn| &turn.parts).filter(|part| matches!(part.what, What::Reasoning(_)));
    if thoughts.into_iter().any(|part| !is_told(part, own)) {
        Lost::Hint(EARLIER_THOUGHTS).tell(lost);
    }
    if call.stop.iter().any(is_blank) {
        Lost::Hint("blank stop sequences").tell(lost);
    }
    let mut unknown = Vec::new();
    lose_params(table, call, Param::ALL, &mut unknown);
    let says_nothing = |lost: &Lost| match lost {
        Lost::Param(param) => call.params.get(*param).is_some_and(|value| is_default(*param, value.raw())),
        Lost::Thing(_) | Lost::Hint(_) => false,
    };
    unknown.retain(|lost| !says_nothing(lost));
    lost.append(&mut unknown);
    if call.choices.is_some_and(|choices| choices > 1) {
        lose_thing("several answers at once", lost);
    }
    if call.turns.iter().any(|turn| turn.name.is_some()) {
        lose_thing("names of participants", lost);
    }
}

pub fn lose_thing(thing: &'static str, lost: &mut Vec<Lost>) {
    Lost::Thing(thing).tell(lost);
}

/// What another model thought, or this one without its proof: for people, and no vendor takes it back.
pub const EARLIER_THOUGHTS: &str = "earlier thoughts";

/// A schema, under the title and with the description that its caller gave beside it. A title of its own stays, and whether
/// that is another name is told.
pub fn described(
    schema: &[u8],
    name: Option<&Text<'_>>,
    description: Option<&Text<'_>>,
    lost: &mut Vec<Lost>,
    out: &mut Vec<u8>,
) {
    let Some(rest) = schema.strip_prefix(b"{") else { return out.extend_from_slice(schema) };
    let members = [("title", name, Hint::SchemaName), ("description", description, Hint::SchemaDescription)];
    out.push(b'{');
    let front = out.len();
    for (member, said, hint) in members {
        let Some(said) = said else { continue };
        match json::get(schema, member).map(|own| Text::of_value(own).is_some_and(|own| own == *said)) {
            Some(true) => {}
            Some(false) => Lost::Hint(hint.name()).tell(lost),
            None => {
                out.extend_from_slice(if out.len() == front { b"\"" } else { b",\"" });
                out.extend_from_slice(member.as_bytes());
                out.extend_from_slice(b"\":");
                quoted(out, said.raw());
            }
        }
    }
    if out.len() > front && rest.trim_ascii_start().first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(rest);
}

/// What says the same as nothing.
fn is_default(param: Param, value: &[u8]) -> bool {
    match param {
        Param::FrequencyPenalty | Param::PresencePenalty | Param::MinP | Param::TopLogprobs => {
            number(value) == Some(0.0)
        }
        Param::Logprobs => value == b"false",
        Param::Verbosity => value == b"\"medium\"",
        Param::Metadata | Param::LogitBias => value == b"{}",
        Param::SafetySettings => value == b"[]",
        Param::Modalities => value.eq_ignore_ascii_case(b"[\"text\"]"),
        _ => false,
    }
}

/// With Anthropic's thoughts, a smaller one is refused.
const TOP_P_MIN_THINKING: f64 = 0.95;

/// How warm, and from how many words: thoughts are sampled as the vendor likes. `Err`: it is not said, and whether that is a
/// loss.
pub fn sampled(param: Param, value: &[u8], thinks: bool) -> Result<&[u8], Option<Lost>> {
    let said = number(value);
    match param {
        Param::Temperature if thinks => Err(Some(Lost::Param(param)).filter(|_| said != Some(1.0))),
        Param::Temperature if is_too_warm(param, value) => Ok(b"1"),
        Param::TopP if thinks && said.is_none_or(|top| top < TOP_P_MIN_THINKING) => Err(Some(Lost::Param(param))),
        Param::TopK if thinks => Err(Some(Lost::Param(param))),
        _ => Ok(value),
    }
}

/// Others go up to 2; there is no warmer than 1 here.
pub fn is_too_warm(param: Param, value: &[u8]) -> bool {
    param == Param::Temperature && number(value).is_some_and(|warm| warm > 1.0)
}

fn number(raw: &[u8]) -> Option<f64> {
    str::from_utf8(raw).ok()?.parse().ok()
}

/// The tools that were called in a conversation, each once.
pub fn called_names<'c>(call: &'c Call<'_>) -> Vec<&'c Text<'c>> {
    let parts = call.turns.iter().flat_map(|turn| &turn.parts);
    let mut seen = HashSet::new();
    let called = parts.filter_map(|part| match &part.what {
        What::ToolCall(call) => Some(&call.name),
        _ => None,
    });
    called.filter(|name| seen.insert(name.raw())).collect()
}

/// Some of the tools may be called: the others are not offered. But a conversation in which tools were called needs some.
pub fn offered<'c, 'a>(call: &'c Call<'a>) -> Vec<&'c Tool<'a>> {
    match &call.tool_choice {
        Some(ToolChoice::Among { names, .. }) => {
            let names: HashSet<&[u8]> = names.iter().map(Text::raw).collect();
            call.tools.iter().filter(|tool| names.contains(tool.name.raw())).collect()
        }
        _ => call.tools.iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::{Proof, Thought, Turn};

    #[test]
    fn turns_are_what_a_strict_vendor_takes() {
        let text = |words: &'static str| Part::from(What::Text(Text::of_raw(words.as_bytes())));
        let thought = |of| {
            let proof = Some(Proof { of, data: Text::of_raw(b"x"), sealed: false });
            Part::from(What::Reasoning(Thought { text: Text::of_raw(b"hm"), proof }))
        };
        let turn = |role, parts| Turn { role, name: None, parts };
        let turns = vec![
            turn(Role::User, vec![text("a")]),
            turn(Role::Assistant, vec![text(r" \n\t"), thought(Tongue::Chat)]),
            turn(Role::User, vec![text("b")]),
            turn(Role::Assistant, vec![thought(Tongue::Messages), text("c")]),
        ];
        let call = Call { turns, ..Call::default() };
        let shape: Vec<_> =
            conversation(&call, Tongue::Messages).into_iter().map(|(role, parts)| (role, parts.len())).collect();
        assert_eq!(shape, [(Role::User, 2), (Role::Assistant, 2)]);
    }

    #[test]
    fn space_at_the_end_goes_and_backslashes_stay() {
        assert_eq!(without_trailing_space(br"a \n\t "), b"a");
        assert_eq!(without_trailing_space(br"a\\n"), br"a\\n");
        assert_eq!(without_trailing_space(br"a\\\n"), br"a\\");
        assert_eq!(without_trailing_space(b"\\"), b"\\");
    }

    #[test]
    fn ids_are_legal_and_stay_two() {
        let made = |raw: &str| String::from_utf8(id(&Text::of_raw(raw.as_bytes())).into_owned()).unwrap();
        assert_eq!(made("toolu_1-A"), "toolu_1-A");
        assert_ne!(made("functions.f:0"), made("functions_f:0"));
        for odd in ["", "functions.f:0", &"x".repeat(400), "é"] {
            let id = made(odd);
            assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            assert_eq!(id, made(odd));
        }
    }
}
