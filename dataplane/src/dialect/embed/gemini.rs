//! `models/{model}:embedContent` for one text, `:batchEmbedContents` for several.

use super::{Malformed, Purpose, Told, Vector, Wish};
use crate::dialect::compose::Object;
use crate::dialect::speech::{Lost, Unreadable};
use crate::dialect::text::{Json, Text};
use crate::wire::json;

const TASKS: &[(Purpose, &str)] = &[
    (Purpose::Query, "RETRIEVAL_QUERY"),
    (Purpose::Document, "RETRIEVAL_DOCUMENT"),
    (Purpose::Classification, "CLASSIFICATION"),
    (Purpose::Clustering, "CLUSTERING"),
    (Purpose::Similarity, "SEMANTIC_SIMILARITY"),
];

pub fn read_call(body: &[u8]) -> Result<Wish<'_>, Unreadable> {
    let mut wish = Wish::default();
    read_request(body, "", &mut wish)?;
    Ok(wish)
}

pub fn read_batch(body: &[u8]) -> Result<Wish<'_>, Unreadable> {
    let mut wish = Wish::default();
    for (key, value) in json::members(body) {
        match key {
            b"requests" => {
                for (place, request) in json::elements(value).enumerate() {
                    read_request(request, &format!("requests[{place}]."), &mut wish)?;
                }
            }
            b"model" => {}
            other => wish.unmapped.push(String::from_utf8_lossy(other).into_owned()),
        }
    }
    Ok(wish)
}

/// One text and how it is wanted; in a batch, all must be wanted alike.
fn read_request<'a>(request: &'a [u8], at: &str, wish: &mut Wish<'a>) -> Result<(), Unreadable> {
    let first = wish.texts.is_empty();
    let before = (wish.dimensions.clone(), wish.purpose);
    for (key, value) in json::members(request).filter(|(_, value)| *value != b"null") {
        match key {
            b"model" => {}
            b"content" => wish.texts.push(text_of(value, at)?),
            b"outputDimensionality" | b"output_dimensionality" => wish.dimensions = Some(Json::of(value)),
            b"taskType" | b"task_type" => {
                let said = json::text(value).unwrap_or_default();
                let known = TASKS.iter().find(|(_, task)| *task == said).map(|(purpose, _)| *purpose);
                if known.is_none() && said != "TASK_TYPE_UNSPECIFIED" {
                    wish.unmapped.push(format!("{at}taskType"));
                }
                wish.purpose = known;
            }
            other => wish.unmapped.push(format!("{at}{}", String::from_utf8_lossy(other))),
        }
    }
    if !first && before != (wish.dimensions.clone(), wish.purpose) {
        wish.unmapped.push(format!("{at}taskType or outputDimensionality unlike the others"));
    }
    Ok(())
}

fn text_of<'a>(content: &'a [u8], at: &str) -> Result<Text<'a>, Unreadable> {
    let parts = json::get(content, "parts").unwrap_or_default();
    let mut texts = json::elements(parts).map(|part| json::get(part, "text").and_then(Text::of_value));
    match (texts.next(), texts.next()) {
        (Some(Some(text)), None) => Ok(text),
        _ => Err(Unreadable(format!("'{at}content' must have one part with a text"))),
    }
}

pub fn write_call(wish: &Wish<'_>, model: &str, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    if wish.texts.len() > 1 {
        lost.push(Lost::Thing("several texts at once"));
    }
    let text = wish.texts.first().cloned().unwrap_or_default();
    Object::write(out, |call| write_request(wish, &text, model, call));
}

pub fn write_batch(wish: &Wish<'_>, model: &str, _: &mut Vec<Lost>, out: &mut Vec<u8>) {
    Object::write(out, |call| {
        call.array("requests", |requests| {
            for text in &wish.texts {
                requests.object(|request| write_request(wish, text, model, request));
            }
        });
    });
}

fn write_request(wish: &Wish<'_>, text: &Text<'_>, model: &str, request: &mut Object<'_>) {
    request.str("model", &format!("models/{model}"));
    request.object("content", |content| {
        content.array("parts", |parts| {
            parts.object(|part| {
                part.text("text", text);
            });
        });
    });
    if let Some((_, task)) = TASKS.iter().find(|(purpose, _)| Some(*purpose) == wish.purpose) {
        request.str("taskType", task);
    }
    wish.dimensions.iter().for_each(|dimensions| {
        request.json("outputDimensionality", dimensions);
    });
}

pub fn read_answer(body: &[u8]) -> Vec<Vector<'_>> {
    json::dig(body, &["embedding", "values"]).map(Vector::Numbers).into_iter().collect()
}

pub fn read_batch_answer(body: &[u8]) -> Vec<Vector<'_>> {
    let embeddings = json::get(body, "embeddings").unwrap_or_default();
    json::elements(embeddings).filter_map(|entry| json::get(entry, "values").map(Vector::Numbers)).collect()
}

pub fn write_answer(vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut outcome = Ok(());
    Object::write(out, |answer| {
        answer.object("embedding", |entry| {
            if let Some(vector) = vectors.first() {
                outcome = vector.write_numbers(entry.member("values"));
            }
        });
        write_usage(told, answer);
    });
    outcome
}

pub fn write_batch_answer(vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut outcome = Ok(());
    Object::write(out, |answer| {
        answer.array("embeddings", |embeddings| {
            for vector in vectors {
                embeddings.object(|entry| outcome = outcome.and(vector.write_numbers(entry.member("values"))));
            }
        });
        write_usage(told, answer);
    });
    outcome
}

fn write_usage(told: &Told<'_>, answer: &mut Object<'_>) {
    answer.object("usageMetadata", |usage| {
        usage.number("promptTokenCount", told.prompt_tokens);
    });
}
