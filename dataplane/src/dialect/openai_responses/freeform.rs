//! Tools of type `custom`, which take plain text: elsewhere they are functions of one argument, and their calls become text
//! again on the way back.

use super::read_call::BETWEEN_TEXTS;
use crate::dialect::call::{Call, Tool};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::json;

/// What a model that knows functions only is told of the argument.
const SCHEMA: &[u8] = br#"{"type":"object","properties":{"input":{"type":"string","description":"All that the tool takes, as plain text."}},"required":["input"],"additionalProperties":false}"#;

pub fn is_one(call: &Call<'_>, name: &Text<'_>) -> bool {
    call.freeform.iter().any(|known| known.raw() == name.raw())
}

/// As a function. A grammar, which nobody else can enforce, is told in words.
pub fn tool<'a>(name: Text<'a>, description: Option<Text<'a>>, format: Option<&'a [u8]>) -> Tool<'a> {
    let member = |key| format.and_then(|format| json::get(format, key)).and_then(Text::of_value);
    let grammar = member("definition").map(|definition| {
        let syntax = member("syntax").unwrap_or_default();
        let words = [b"The input follows this grammar (", syntax.raw(), br"):\n", definition.raw()].concat();
        Text::of_raw_owned(words)
    });
    let description = match (description, grammar) {
        (Some(said), Some(grammar)) => Some(Text::of_raw_owned([said.raw(), BETWEEN_TEXTS, grammar.raw()].concat())),
        (said, grammar) => said.or(grammar),
    };
    Tool { name, description, schema: Some(Json::of(SCHEMA)), strict: None, cache: None }
}

/// The argument that holds this text.
pub fn arguments<'a>(input: &Text<'_>) -> Arguments<'a> {
    Arguments::Object(Json::owned([br#"{"input":""#, input.raw(), br#""}"#].concat()))
}

/// The text of a call, from its arguments within a string; all that the model said, when it did not keep to the schema.
pub fn input(arguments: &[u8]) -> Vec<u8> {
    let text = Text::of_raw(arguments);
    let plain = text.plain();
    let object = plain.trim().as_bytes();
    let said = json::validate(object).ok().and_then(|()| json::get(object, "input")).and_then(Text::of_value);
    said.map_or_else(|| arguments.to_vec(), |said| said.raw().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was() {
        for raw in [&br#"*** Begin \"Patch\"\n+\u00e9\\"#[..], b"", b"{}"] {
            let mut in_string = Vec::new();
            arguments(&Text::of_raw(raw)).write_in_string(&mut in_string);
            assert_eq!(input(&in_string), raw);
        }
        assert_eq!(input(br"*** Begin\n"), br"*** Begin\n");
        assert_eq!(input(br#"{\"other\":1}"#), br#"{\"other\":1}"#);
        assert_eq!(input(br#" {\n\"input\": \"a\\nb\"}"#), br"a\nb");
        assert!(json::validate(SCHEMA).is_ok());
    }
}
