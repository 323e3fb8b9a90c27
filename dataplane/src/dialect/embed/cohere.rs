//! `POST /v2/embed`, and the same body without its model on Bedrock.

use super::{Malformed, Purpose, Told, Vector, Wish, texts};
use crate::dialect::compose::Object;
use crate::dialect::speech::{Lost, Unreadable};
use crate::dialect::text::{Json, Text};
use crate::wire::json;

const TYPES: &[(Purpose, &str)] = &[
    (Purpose::Query, "search_query"),
    (Purpose::Document, "search_document"),
    (Purpose::Classification, "classification"),
    (Purpose::Clustering, "clustering"),
];

pub fn read_call(body: &[u8]) -> Result<Wish<'_>, Unreadable> {
    let mut wish = Wish::default();
    for (key, value) in json::members(body).filter(|(_, value)| *value != b"null") {
        match key {
            b"model" => {}
            b"texts" if value.starts_with(b"[") => wish.texts = texts(value, "texts")?,
            b"texts" => return Err(Unreadable("'texts' must be a list of texts".into())),
            b"output_dimension" => wish.dimensions = Some(Json::of(value)),
            b"input_type" => {
                let said = json::text(value).unwrap_or_default();
                wish.purpose = TYPES.iter().find(|(_, name)| *name == said).map(|(purpose, _)| *purpose);
                if wish.purpose.is_none() {
                    wish.unmapped.push("input_type".into());
                }
            }
            b"embedding_types" => {
                match json::elements(value).map(|kind| Text::of_value(kind).unwrap_or_default()).collect::<Vec<_>>() {
                    kinds if kinds.iter().all(|kind| kind.raw() == b"float") => {}
                    kinds if kinds.iter().all(|kind| kind.raw() == b"base64") => wish.base64 = true,
                    _ => wish.unmapped.push("embedding_types".into()),
                }
            }
            // Longer texts are refused by those who do not cut them, which is what END and NONE are about.
            b"truncate" => {}
            other => wish.unmapped.push(String::from_utf8_lossy(other).into_owned()),
        }
    }
    Ok(wish)
}

pub fn write_call(wish: &Wish<'_>, model: Option<&str>, _: &mut Vec<Lost>, out: &mut Vec<u8>) {
    // The vendor insists on a purpose; what is embedded without one is nearly always kept to be found.
    let purpose = wish.purpose.unwrap_or(Purpose::Document);
    let kind = TYPES.iter().find(|(known, _)| *known == purpose).map(|(_, name)| *name);
    Object::write(out, |call| {
        model.iter().for_each(|model| {
            call.str("model", model);
        });
        call.array("texts", |texts| {
            wish.texts.iter().for_each(|text| {
                texts.text(text);
            })
        });
        // Similarity has no word of its own here.
        call.str("input_type", kind.unwrap_or("clustering"));
        call.raw("embedding_types", if wish.base64 { "[\"base64\"]" } else { "[\"float\"]" });
        wish.dimensions.iter().for_each(|dimensions| {
            call.json("output_dimension", dimensions);
        });
    });
}

pub fn read_answer(body: &[u8]) -> Vec<Vector<'_>> {
    let embeddings = json::get(body, "embeddings").unwrap_or_default();
    if embeddings.starts_with(b"[") {
        return json::elements(embeddings).map(Vector::Numbers).collect();
    }
    let floats = json::get(embeddings, "float").filter(|floats| floats.starts_with(b"["));
    match floats {
        Some(floats) => json::elements(floats).map(Vector::Numbers).collect(),
        None => {
            let coded = json::get(embeddings, "base64").unwrap_or_default();
            json::elements(coded).filter_map(|text| Text::of_value(text).map(Vector::Base64)).collect()
        }
    }
}

pub fn write_answer(vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut outcome = Ok(());
    Object::write(out, |answer| {
        answer.str("id", told.id);
        answer.object("embeddings", |embeddings| {
            let kind = if told.wish.base64 { "base64" } else { "float" };
            embeddings.array(kind, |list| {
                for vector in vectors {
                    outcome = outcome.and(vector.write(told.wish.base64, list.element()));
                }
            });
        });
        answer.array("texts", |texts| {
            told.wish.texts.iter().for_each(|text| {
                texts.text(text);
            })
        });
        answer.object("meta", |meta| {
            meta.raw("api_version", "{\"version\":\"2\"}");
            meta.object("billed_units", |units| {
                units.number("input_tokens", told.prompt_tokens);
            });
        });
        answer.str("response_type", "embeddings_by_type");
    });
    outcome
}
