//! Amazon's Titan models: one text, by `invoke`.

use super::{Malformed, Told, Vector, Wish};
use crate::dialect::compose::Object;
use crate::dialect::speech::{Lost, Unreadable};
use crate::dialect::text::{Json, Text};
use crate::wire::json;

pub fn read_call(body: &[u8]) -> Result<Wish<'_>, Unreadable> {
    let mut wish = Wish::default();
    for (key, value) in json::members(body).filter(|(_, value)| *value != b"null") {
        match key {
            b"inputText" => match Text::of_value(value) {
                Some(text) => wish.texts.push(text),
                None => return Err(Unreadable("'inputText' must be a text".into())),
            },
            b"dimensions" => wish.dimensions = Some(Json::of(value)),
            // It is what all the others do.
            b"normalize" if value == b"true" => {}
            b"embeddingTypes" if value == b"[\"float\"]" => {}
            other => wish.unmapped.push(String::from_utf8_lossy(other).into_owned()),
        }
    }
    Ok(wish)
}

pub fn write_call(wish: &Wish<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    if wish.texts.len() > 1 {
        lost.push(Lost::Thing("several texts at once"));
    }
    Object::write(out, |call| {
        call.text("inputText", &wish.texts.first().cloned().unwrap_or_default());
        wish.dimensions.iter().for_each(|dimensions| {
            call.json("dimensions", dimensions);
        });
    });
}

pub fn read_answer(body: &[u8]) -> Vec<Vector<'_>> {
    json::get(body, "embedding").filter(|value| value.starts_with(b"[")).map(Vector::Numbers).into_iter().collect()
}

pub fn write_answer(vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut outcome = Ok(());
    Object::write(out, |answer| {
        if let Some(vector) = vectors.first() {
            outcome = vector.write_numbers(answer.member("embedding"));
        }
        answer.number("inputTextTokenCount", told.prompt_tokens);
    });
    outcome
}
