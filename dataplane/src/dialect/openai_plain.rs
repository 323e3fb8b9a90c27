//! The rest of OpenAI's interface: embeddings, moderations, images, audio, files, batches, videos, models.

use weir_shared::catalog::Dialect;
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Usage};

use super::{AnswerKind, BodyKind, Endpoint, Language, Reading, Sense, StreamWhen, error, openai_error, openai_usage};
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};
use crate::wire::template;

pub struct Plain;

const GET: &[Method] = &[Method::Get, Method::Head];
const POST: &[Method] = &[Method::Post];

impl Language for Plain {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn call(path: &'static str, body: BodyKind, answer: AnswerKind, stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods: POST, body, answer, stream }
        }
        const fn object(path: &'static str, methods: &'static [Method]) -> Endpoint {
            Endpoint { path, methods, body: BodyKind::Object, answer: AnswerKind::Either, stream: StreamWhen::Never }
        }
        const ASKED: StreamWhen = StreamWhen::Asked;
        const NEVER: StreamWhen = StreamWhen::Never;
        const JSON: AnswerKind = AnswerKind::Json;
        const EITHER: AnswerKind = AnswerKind::Either;
        const LIST: &[Endpoint] = &[
            call("embeddings", BodyKind::ModelInJson, JSON, NEVER),
            call("moderations", BodyKind::ModelInJson, JSON, NEVER),
            call("images/generations", BodyKind::ModelInJson, EITHER, ASKED),
            call("images/edits", BodyKind::ModelInForm, EITHER, NEVER),
            call("images/variations", BodyKind::ModelInForm, EITHER, NEVER),
            call("audio/speech", BodyKind::ModelInJson, EITHER, NEVER),
            call("audio/transcriptions", BodyKind::ModelInForm, EITHER, NEVER),
            call("audio/translations", BodyKind::ModelInForm, EITHER, NEVER),
            call("videos", BodyKind::ModelInEither, JSON, NEVER),
            object("videos/{id}", &[Method::Get, Method::Delete]),
            object("videos/{id}/content", GET),
            object("videos/{id}/remix", POST),
            object("files", POST),
            object("files/{id}", &[Method::Get, Method::Delete]),
            object("files/{id}/content", GET),
            object("batches", POST),
            object("batches/{id}", GET),
            object("batches/{id}/cancel", POST),
            Endpoint { path: "models", methods: GET, body: BodyKind::Models, answer: JSON, stream: NEVER },
            Endpoint { path: "models/{model}", methods: GET, body: BodyKind::Model, answer: JSON, stream: NEVER },
        ];
        LIST
    }

    fn leaves_nothing(&self, endpoint: &Endpoint) -> bool {
        matches!(
            endpoint.path,
            "embeddings" | "moderations" | "audio/speech" | "audio/transcriptions" | "audio/translations"
        )
    }

    fn names_objects(&self) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        if data.trim_ascii() == b"[DONE]" {
            reading.ended = true;
            return Ok(Sense::End);
        }
        let mut error = (event == b"error").then_some(data);
        let mut kind: &[u8] = event;
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"error") if member.value != b"null" => error = Some(member.value),
            (1, b"type") => kind = member.value.get(1..member.value.len().saturating_sub(1)).unwrap_or_default(),
            (1, b"usage") if member.value != b"null" => reading.take_usage(openai_usage::read(member.value)),
            _ => {}
        })?;
        if kind.ends_with(b".completed") || kind.ends_with(b".done") {
            (reading.finished, reading.ended) = (true, true);
        }
        reading.failed |= error.is_some();
        reading.blames_caller |= error.is_some_and(openai_error::blames_caller);
        Ok(if error.is_some() { Sense::Failed } else { Sense::Marked })
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        let (mut pictures, mut output_bytes) = (0, 0);
        let (mut error, mut id) = (None, false);
        json::scan(body, |member| {
            if template::is_output(member.key) && member.value.starts_with(b"\"") {
                output_bytes += member.value.len() as u64 - 2;
            }
            pictures += u64::from(matches!(member.key, b"b64_json") || (member.key == b"url" && member.depth == 3));
            match (member.depth, member.key) {
                (1, b"usage") if member.value != b"null" => reading.take_usage(openai_usage::read(member.value)),
                (1, b"error") => error = Some(member.value).filter(|error| *error != b"null"),
                (1, b"id") => id = true,
                _ => {}
            }
        })?;
        if let Some(error) = error {
            reading.take_error(id, openai_error::blames_caller(error));
        }
        reading.finished = true;
        reading.output_bytes += output_bytes;
        if pictures > 0 {
            let usage = reading.usage.unwrap_or(Usage::NONE);
            reading.usage = Some(usage.with(Class::Image, pictures));
        }
        Ok(())
    }

    fn outgrows_limit(&self, body: &[u8]) -> bool {
        openai_error::outgrows_limit(body)
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error::body(Dialect::OpenAi, code.status(), code, message, ""));
        out.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_and_images_are_counted() {
        let mut reading = Reading::default();
        let body = br#"{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        Plain.read_answer(body, &mut reading).unwrap();
        assert_eq!(reading.usage.map(|usage| usage.of(Class::Input)), Some(8));
        let mut reading = Reading::default();
        Plain.read_answer(br#"{"created":1,"data":[{"b64_json":"aa"},{"b64_json":"bb"}]}"#, &mut reading).unwrap();
        assert_eq!(reading.usage.map(|usage| usage.of(Class::Image)), Some(2));
    }
}
