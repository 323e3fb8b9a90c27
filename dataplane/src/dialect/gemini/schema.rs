//! OpenAPI's schemas, as Gemini's `parameters` and `responseSchema` have them, into JSON Schema: types in lower case, `nullable`
//! as a type, counts as numbers. What is JSON Schema already stays byte for byte.

use super::camel;
use crate::dialect::compose::{Array, Object};
use crate::dialect::text::Json;
use crate::wire::json;

pub fn to_json_schema(schema: &[u8]) -> Json<'_> {
    if is_json_schema(schema) {
        return Json::of(schema);
    }
    let mut out = Vec::with_capacity(schema.len());
    write(schema, &mut out);
    Json::owned(out)
}

/// Whether nothing in it needs another spelling.
fn is_json_schema(schema: &[u8]) -> bool {
    const SNAKES: &[&[u8]] =
        &[b"\"any_of\"", b"\"prefix_items\"", b"\"additional_properties\"", b"\"defs\"", b"\"ref\""];
    let mut clean = SNAKES.iter().all(|word| memchr::memmem::find(schema, word).is_none());
    let _ = json::scan(schema, |member| {
        let key = member.key;
        let text = member.value.starts_with(b"\"");
        clean &= !key.contains(&b'\\')
            && key != b"nullable"
            && !(key == b"type" && text && member.value.iter().any(u8::is_ascii_uppercase))
            && !(is_count(&camel(key)) && (text || key.contains(&b'_')));
    });
    clean
}

// A document is nested no deeper than its reader allows, so neither is this.
fn write(schema: &[u8], out: &mut Vec<u8>) {
    if !schema.starts_with(b"{") {
        out.extend_from_slice(schema);
        return;
    }
    let nullable = json::members(schema).any(|(key, value)| key == b"nullable" && value == b"true");
    let typed = json::members(schema).any(|(key, value)| key == b"type" && value.starts_with(b"\""));
    Object::write(out, |object| {
        for (key, value) in json::members(schema) {
            let name = camel(key);
            let name: &[u8] = match &*name {
                b"defs" => b"$defs",
                b"ref" => b"$ref",
                name => name,
            };
            let Ok(spelled) = std::str::from_utf8(name) else { continue };
            let out = |object: &mut Object<'_>, fill: &mut dyn FnMut(&mut Vec<u8>)| fill(object.member(spelled));
            match name {
                b"type" if value.starts_with(b"\"") => out(object, &mut |out| {
                    let word = value.to_ascii_lowercase();
                    if nullable {
                        out.extend_from_slice(&[b"[", &*word, b",\"null\"]"].concat());
                    } else {
                        out.extend_from_slice(&word);
                    }
                }),
                b"type" => out(object, &mut |out| out.extend_from_slice(&value.to_ascii_lowercase())),
                b"nullable" if typed || value == b"false" => {}
                b"properties" | b"$defs" | b"definitions" => out(object, &mut |out| named(value, out)),
                b"items" | b"additionalProperties" | b"not" => out(object, &mut |out| write(value, out)),
                b"anyOf" | b"oneOf" | b"allOf" | b"prefixItems" => out(object, &mut |out| {
                    Array::write(out, |array| json::elements(value).for_each(|one| write(one, array.element())));
                }),
                count if is_count(count) => out(object, &mut |out| {
                    let number = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
                    out.extend_from_slice(number.filter(|number| json::integer(number).is_some()).unwrap_or(value));
                }),
                _ => out(object, &mut |out| out.extend_from_slice(value)),
            }
        }
    });
}

/// Schemas by names that are the caller's own.
fn named(schemas: &[u8], out: &mut Vec<u8>) {
    if !schemas.starts_with(b"{") {
        out.extend_from_slice(schemas);
        return;
    }
    Object::write(out, |object| {
        for (key, value) in json::members(schemas) {
            if let Ok(key) = std::str::from_utf8(key) {
                write(value, object.member(key));
            }
        }
    });
}

/// Google's encoding of 64-bit numbers allows strings.
fn is_count(name: &[u8]) -> bool {
    matches!(name, b"minItems" | b"maxItems" | b"minLength" | b"maxLength" | b"minProperties" | b"maxProperties")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(openapi: &str) -> String {
        String::from_utf8(to_json_schema(openapi.as_bytes()).raw().to_vec()).unwrap()
    }

    #[test]
    fn openapi_becomes_json_schema() {
        assert_eq!(
            schema(
                r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true},"nullable":{"type":"ARRAY","min_items":"2","items":{"type":"INTEGER"}}},"any_of":[{"type":"NULL"}]}"#
            ),
            r#"{"type":"object","properties":{"type":{"type":["string","null"]},"nullable":{"type":"array","minItems":2,"items":{"type":"integer"}}},"anyOf":[{"type":"null"}]}"#
        );
        assert_eq!(schema(r#"{"nullable":true,"anyOf":[]}"#), r#"{"nullable":true,"anyOf":[]}"#);
    }

    #[test]
    fn json_schema_stays_byte_for_byte() {
        let same = r#"{ "type":"object", "properties":{"snake_case":{"type":["string","null"],"enum":["A_B"]}},"minItems":2 }"#;
        assert_eq!(schema(same), same);
    }
}
