//! OpenAI's responses.

mod carried;
mod freeform;
mod read_call;
mod read_events;
#[cfg(test)]
mod speech_tests;
mod write_call;
mod write_events;
mod write_items;

use weir_shared::catalog::{Deviations, Dialect};
use weir_shared::fault::Code;
use weir_shared::usage::Tier;

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::repeats::Repeats;
use super::speech::{Asked, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::{AnswerKind, BodyKind, Endpoint, Language, Reading, Sense, StreamWhen, openai_error, openai_usage};
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};
use crate::wire::template;

pub struct Responses;

const GET_DELETE: &[Method] = &[Method::Get, Method::Delete];

impl Language for Responses {
    fn name(&self) -> &'static str {
        "openai_responses"
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn object(path: &'static str, methods: &'static [Method], stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods, body: BodyKind::Object, answer: AnswerKind::Either, stream }
        }
        const LIST: &[Endpoint] = &[
            Endpoint {
                path: "responses",
                methods: &[Method::Post],
                body: BodyKind::ModelInJson,
                answer: AnswerKind::Json,
                stream: StreamWhen::Asked,
            },
            Endpoint {
                path: "responses/compact",
                methods: &[Method::Post],
                body: BodyKind::ModelInJson,
                answer: AnswerKind::Json,
                stream: StreamWhen::Never,
            },
            Endpoint {
                path: "responses/input_tokens",
                methods: &[Method::Post],
                body: BodyKind::ModelInJson,
                answer: AnswerKind::Json,
                stream: StreamWhen::Never,
            },
            object("responses/{id}", GET_DELETE, StreamWhen::Asked),
            object("responses/{id}/cancel", &[Method::Post], StreamWhen::Never),
            object("responses/{id}/input_items", &[Method::Get], StreamWhen::Never),
        ];
        LIST
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        Some(&Responses)
    }

    fn names_objects(&self) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        if data.trim_ascii() == b"[DONE]" {
            // Not of this dialect, but some who imitate it say it.
            return Ok(Sense::End);
        }
        let mut kind: &[u8] = event;
        let mut response: Option<&[u8]> = None;
        let mut error: Option<&[u8]> = None;
        let mut output_bytes = 0;
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"type") => kind = member.value.get(1..member.value.len().saturating_sub(1)).unwrap_or_default(),
            (1, b"response") => response = Some(member.value),
            (1, b"error") if member.value.starts_with(b"{") => error = Some(member.value),
            // Only the deltas: the events at a part's end say the same text again.
            (1, b"delta") if member.value.starts_with(b"\"") => output_bytes += member.value.len() as u64 - 2,
            _ => {}
        })?;
        reading.output_bytes += output_bytes;
        match kind {
            b"response.completed" | b"response.incomplete" => {
                reading.finished = true;
                reading.ended = true;
                read_response(response.unwrap_or_default(), reading);
                Ok(Sense::Marked)
            }
            b"response.failed" => {
                (reading.ended, reading.failed) = (true, true);
                let response = response.unwrap_or_default();
                reading.blames_caller |= json::get(response, "error").is_some_and(openai_error::blames_caller);
                read_response(response, reading);
                Ok(Sense::Failed)
            }
            b"error" => {
                reading.failed = true;
                reading.blames_caller |= openai_error::blames_caller(error.unwrap_or(data));
                Ok(Sense::Failed)
            }
            _ if kind.ends_with(b".delta") => Ok(Sense::Plain),
            _ => Ok(Sense::Marked),
        }
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        let mut output_bytes = 0;
        let (mut error, mut id) = (None, false);
        json::scan(body, |member| {
            if template::is_output(member.key) && member.value.starts_with(b"\"") {
                output_bytes += member.value.len() as u64 - 2;
            }
            match (member.depth, member.key) {
                (1, b"error") => error = Some(member.value).filter(|error| *error != b"null"),
                (1, b"id") => id = true,
                _ => {}
            }
        })?;
        if let Some(error) = error {
            reading.take_error(id, openai_error::blames_caller(error));
        }
        reading.output_bytes += output_bytes;
        reading.finished = true;
        read_response(body, reading);
        Ok(())
    }

    fn outgrows_limit(&self, body: &[u8]) -> bool {
        openai_error::outgrows_limit(body)
    }

    /// The failed response, created first when its caller has not seen it yet.
    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, reading: &Reading) {
        let id = reading.response.as_deref().unwrap_or("resp_failed");
        let mut sequence = reading.events;
        let mut event = |kind: &str, status: &str, error: Option<&str>| {
            let head = format!(
                "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence},\"response\":{{\"id\":\""
            );
            out.extend_from_slice(head.as_bytes());
            json::escape_into(out, id);
            out.extend_from_slice(b"\",\"object\":\"response\",\"created_at\":0,\"status\":\"");
            out.extend_from_slice(status.as_bytes());
            match error {
                Some(message) => {
                    out.extend_from_slice(b"\",\"error\":{\"code\":\"");
                    out.extend_from_slice(code.name().as_bytes());
                    out.extend_from_slice(b"\",\"message\":\"");
                    json::escape_into(out, message);
                    out.extend_from_slice(b"\"}");
                }
                None => out.extend_from_slice(b"\",\"error\":null"),
            }
            out.extend_from_slice(b",\"incomplete_details\":null,\"instructions\":null,\"metadata\":{},\"model\":\"\",\"output\":[],\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[],\"usage\":null}}\n\n");
            sequence += 1;
        };
        if reading.events == 0 {
            event("response.created", "in_progress", None);
        }
        event("response.failed", "failed", Some(message));
    }
}

impl Speech for Responses {
    fn tongue(&self) -> Tongue {
        Tongue::Responses
    }

    fn params(&self) -> ParamTable {
        PARAMS
    }

    fn read_call<'a>(&self, asked: &Asked<'a>) -> Result<Call<'a>, Unreadable> {
        read_call::read(asked)
    }

    fn write_call(&self, call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
        write_call::write(call, to, lost, out);
    }

    fn reader(&self, _: Deviations) -> Box<dyn ReadEvents> {
        Box::new(Repeats::new(read_events::Reader::default()))
    }

    fn writer<'h>(&self, heading: &'h Heading<'h>) -> Box<dyn WriteEvents + 'h> {
        Box::new(write_events::Writer::new(heading))
    }

    fn write_answer(&self, answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
        write_events::write_answer(answer, heading, out);
    }
}

/// Log probabilities are not among them: the steps of an answer have no word for those.
const PARAMS: ParamTable = &[
    (Param::Temperature, "temperature"),
    (Param::TopP, "top_p"),
    (Param::User, "user"),
    (Param::Metadata, "metadata"),
    (Param::ServiceTier, "service_tier"),
    (Param::CacheKey, "prompt_cache_key"),
    (Param::Verbosity, "text.verbosity"),
    (Param::Logprobs, "include.message.output_text.logprobs"),
    (Param::TopLogprobs, "top_logprobs"),
];

fn read_response(response: &[u8], reading: &mut Reading) {
    if let Some(tier) = json::get(response, "service_tier").and_then(json::text) {
        reading.tier = Tier::of_vendor_word(&tier);
    }
    match json::get(response, "usage") {
        None | Some(b"null") => {}
        Some(usage) => reading.take_usage(openai_usage::read(usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::usage::Class;

    #[test]
    fn a_stream_is_understood() {
        let mut reading = Reading::default();
        let mut read = |data: &str| Responses.read_event(b"", data.as_bytes(), &mut reading).unwrap();
        assert_eq!(read(r#"{"type":"response.created","response":{"id":"r","usage":null}}"#), Sense::Marked);
        assert_eq!(read(r#"{"type":"response.output_text.delta","delta":"hi","sequence_number":4}"#), Sense::Plain);
        assert_eq!(read(r#"{"type":"response.output_text.done","text":"hi","sequence_number":5}"#), Sense::Marked);
        let done = r#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}}}"#;
        assert_eq!(read(done), Sense::Marked);
        assert!(reading.ended && reading.finished);
        assert_eq!(reading.output_bytes, 2);
        assert_eq!(
            reading.usage.map(|u| (u.of(Class::Input), u.of(Class::CacheRead), u.of(Class::Output))),
            Some((5, 4, 5))
        );
    }

    #[test]
    fn the_error_event_is_json() {
        let mut out = Vec::new();
        Responses.error_event(&mut out, Code::UpstreamIdle, "silent \"vendor\"", &Reading::default());
        let data = out.split(|b| *b == b'\n').nth(4).unwrap().strip_prefix(b"data: ").unwrap();
        let value: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert_eq!(value["response"]["error"]["code"], "upstream_idle_timeout");
    }
}
