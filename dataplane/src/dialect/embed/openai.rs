//! `POST /v1/embeddings`.

use super::{Malformed, Told, Vector, Wish, texts};
use crate::dialect::compose::Object;
use crate::dialect::speech::{Lost, Unreadable};
use crate::dialect::text::{Json, Text};
use crate::wire::json;

pub fn read_call(body: &[u8]) -> Result<Wish<'_>, Unreadable> {
    let mut wish = Wish::default();
    for (key, value) in json::members(body).filter(|(_, value)| *value != b"null") {
        match key {
            b"model" => {}
            b"input" => wish.texts = texts(value, "input")?,
            b"dimensions" => wish.dimensions = Some(Json::of(value)),
            b"encoding_format" if value == b"\"base64\"" => wish.base64 = true,
            b"encoding_format" if value == b"\"float\"" => {}
            b"user" => wish.user = Text::of_value(value),
            other => wish.unmapped.push(String::from_utf8_lossy(other).into_owned()),
        }
    }
    Ok(wish)
}

pub fn write_call(wish: &Wish<'_>, model: &str, _: &mut Vec<Lost>, out: &mut Vec<u8>) {
    Object::write(out, |call| {
        call.str("model", model);
        call.array("input", |input| {
            wish.texts.iter().for_each(|text| {
                input.text(text);
            })
        });
        wish.dimensions.iter().for_each(|dimensions| {
            call.json("dimensions", dimensions);
        });
        call.str("encoding_format", if wish.base64 { "base64" } else { "float" });
        wish.user.iter().for_each(|user| {
            call.text("user", user);
        });
    });
}

pub fn read_answer(body: &[u8]) -> Vec<Vector<'_>> {
    let data = json::get(body, "data").unwrap_or_default();
    let vector = |entry| match json::get(entry, "embedding")? {
        value if value.starts_with(b"[") => Some(Vector::Numbers(value)),
        value => Text::of_value(value).map(Vector::Base64),
    };
    json::elements(data).filter_map(vector).collect()
}

pub fn write_answer(vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut outcome = Ok(());
    Object::write(out, |answer| {
        answer.str("object", "list");
        answer.array("data", |data| {
            for (place, vector) in vectors.iter().enumerate() {
                data.object(|entry| {
                    entry.str("object", "embedding").number("index", place as u64);
                    outcome = outcome.and(vector.write(told.wish.base64, entry.member("embedding")));
                });
            }
        });
        answer.str("model", told.model);
        answer.object("usage", |usage| {
            usage.number("prompt_tokens", told.prompt_tokens).number("total_tokens", told.prompt_tokens);
        });
    });
    outcome
}
