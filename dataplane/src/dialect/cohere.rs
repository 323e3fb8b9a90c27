//! Cohere's second interface: chat, embeddings and rerank. Its paths carry their version, because `rerank` has two.

mod read_call;
mod read_events;
#[cfg(test)]
mod speech_tests;
mod write_answer;
mod write_call;
mod write_events;

use weir_shared::catalog::{Deviations, Dialect};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Usage};

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::speech::{Asked, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::{AnswerKind, BodyKind, Endpoint, InvalidUsage, Language, Reading, Sense, StreamWhen, number};
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};
use crate::wire::template;

pub struct Chat;

impl Language for Chat {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Cohere
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn call(path: &'static str, stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods: &[Method::Post], body: BodyKind::ModelInJson, answer: AnswerKind::Json, stream }
        }
        const LIST: &[Endpoint] = &[
            call("v2/chat", StreamWhen::Asked),
            call("v2/embed", StreamWhen::Never),
            call("v2/rerank", StreamWhen::Never),
            call("v1/rerank", StreamWhen::Never),
        ];
        LIST
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        Some(&Chat)
    }

    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        if data.trim_ascii() == b"[DONE]" {
            reading.ended = true;
            return Ok(Sense::End);
        }
        let mut kind: &[u8] = event;
        let mut delta: Option<&[u8]> = None;
        let mut output_bytes = 0;
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"type") => kind = json::inner(member.value),
            (1, b"delta") => delta = Some(member.value),
            (2.., key) if template::is_output(key) && member.value.starts_with(b"\"") => {
                output_bytes += member.value.len() as u64 - 2
            }
            _ => {}
        })?;
        match kind {
            b"content-delta" | b"tool-plan-delta" | b"tool-call-delta" => {
                reading.output_bytes += output_bytes;
                return Ok(Sense::Plain);
            }
            b"message-end" => {
                let delta = delta.unwrap_or_default();
                if let Some(usage) = json::get(delta, "usage").filter(|usage| *usage != b"null") {
                    reading.take_usage(read_usage(usage));
                }
                let reason =
                    json::get(delta, "finish_reason").filter(|reason| reason.len() > 2 && reason.starts_with(b"\""));
                if reason.is_none() {
                    // It would look whole to whoever reads it, and nobody knows that it is.
                    return Err(NotJson { at: 0, why: "an end without a reason" });
                }
                (reading.finished, reading.ended) = (true, true);
                if reason == Some(b"\"ERROR\"") {
                    reading.failed = true;
                    return Ok(Sense::Failed);
                }
            }
            _ => {}
        }
        Ok(Sense::Marked)
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        let mut output_bytes = 0;
        let mut usage = None;
        json::scan(body, |member| match (member.depth, member.key) {
            // Embeddings and rerank tell what they bill under `meta`, in the same words.
            (1, b"usage" | b"meta") if member.value != b"null" => usage = Some(member.value),
            (2.., key) if template::is_output(key) && member.value.starts_with(b"\"") => {
                output_bytes += member.value.len() as u64 - 2
            }
            _ => {}
        })?;
        reading.output_bytes += output_bytes;
        reading.finished = true;
        if let Some(usage) = usage {
            reading.take_usage(read_usage(usage));
        }
        Ok(())
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        write_error(out, code, message);
    }
}

impl Speech for Chat {
    fn tongue(&self) -> Tongue {
        Tongue::Cohere
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
        Box::new(read_events::Reader::default())
    }

    fn writer<'h>(&self, heading: &'h Heading<'h>) -> Box<dyn WriteEvents + 'h> {
        Box::new(write_events::Writer::new(heading))
    }

    fn write_answer(&self, answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
        write_answer::write(answer, heading, out);
    }
}

/// Log probabilities are not among them: the steps of an answer have no word for those.
const PARAMS: ParamTable = &[
    (Param::Temperature, "temperature"),
    (Param::TopP, "p"),
    (Param::TopK, "k"),
    (Param::FrequencyPenalty, "frequency_penalty"),
    (Param::PresencePenalty, "presence_penalty"),
    (Param::Seed, "seed"),
];

/// The error of an answer that a filter stopped: Cohere has no reason of its own for that.
const FILTERED: &str = "content_filter";

fn write_error(out: &mut Vec<u8>, code: Code, message: &str) {
    out.extend_from_slice(
        b"event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"",
    );
    json::escape_into(out, message);
    // Extra members are allowed; programs that know the gateway read the code.
    out.extend_from_slice(b"\",\"code\":\"");
    out.extend_from_slice(code.name().as_bytes());
    out.extend_from_slice(b"\"}}\n\n");
}

/// What Cohere bills is told apart from what its models read: preambles and templates are on the house. Where nothing is
/// billed apart, all tokens count, and those that came from the cache are among the input.
fn read_usage(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    if !usage.starts_with(b"{") {
        return Err(InvalidUsage);
    }
    let given = |member: &str| json::get(usage, member).filter(|value| value.starts_with(b"{"));
    if let Some(billed) = given("billed_units") {
        return Ok(Usage::NONE
            .with(Class::Input, count(billed, "input_tokens")?)
            .with(Class::Output, count(billed, "output_tokens")?)
            .with(Class::Request, count(billed, "search_units")?)
            .with(Class::Image, count(billed, "images")?)
            .with(Class::Page, count(billed, "pages")?));
    }
    let tokens = given("tokens").unwrap_or_default();
    let input = count(tokens, "input_tokens")?;
    let cached = count(usage, "cached_tokens")?.min(input);
    Ok(Usage::NONE
        .with(Class::Input, input - cached)
        .with(Class::CacheRead, cached)
        .with(Class::Output, count(tokens, "output_tokens")?))
}

/// Cohere's counts are of the type `double`, and may say so.
fn count(object: &[u8], key: &str) -> Result<u64, InvalidUsage> {
    json::get(object, key).map_or(Ok(0), |value| number(value.strip_suffix(b".0").unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(reading: &Reading) -> Vec<(&'static str, u64)> {
        reading.usage.iter().flat_map(|usage| usage.each()).map(|(class, count)| (class.name(), count)).collect()
    }

    #[test]
    fn what_is_billed_counts() {
        let mut reading = Reading::default();
        let delta = br#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"hello"}}}}"#;
        assert_eq!(Chat.read_event(b"content-delta", delta, &mut reading).unwrap(), Sense::Plain);
        assert_eq!((reading.output_bytes, reading.finished), (5, false));
        let end = br#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":41.0,"output_tokens":28},"cached_tokens":1040,"tokens":{"input_tokens":1442,"output_tokens":29}}}}"#;
        assert_eq!(Chat.read_event(b"message-end", end, &mut reading).unwrap(), Sense::Marked);
        assert!(reading.finished && reading.ended);
        assert_eq!(seen(&reading), [("input", 41), ("output", 28)]);
    }

    #[test]
    fn an_end_without_a_reason_is_none() {
        let mut reading = Reading::default();
        for end in [r#"{"type":"message-end","delta":{}}"#, r#"{"type":"message-end","delta":{"finish_reason":null}}"#]
        {
            assert!(Chat.read_event(b"message-end", end.as_bytes(), &mut reading).is_err(), "{end}");
        }
        assert!(!reading.finished && !reading.ended);
    }

    #[test]
    fn without_a_bill_all_tokens_count() {
        let mut reading = Reading::default();
        let body = br#"{"id":"x","usage":{"cached_tokens":40,"tokens":{"input_tokens":100,"output_tokens":29}}}"#;
        Chat.read_answer(body, &mut reading).unwrap();
        assert_eq!(seen(&reading), [("input", 60), ("cache_read", 40), ("output", 29)]);
    }

    #[test]
    fn embeddings_and_rerank_tell_under_meta() {
        let mut reading = Reading::default();
        let body =
            br#"{"id":"x","results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2}}}"#;
        Chat.read_answer(body, &mut reading).unwrap();
        assert_eq!(seen(&reading), [("request", 2)]);
    }

    #[test]
    fn an_error_ends_the_stream() {
        let mut out = Vec::new();
        Chat.error_event(&mut out, Code::UpstreamError, "a \"b\"", &Reading::default());
        let data = &out[b"event: message-end\ndata: ".len()..out.len() - 2];
        let mut reading = Reading::default();
        assert_eq!(Chat.read_event(b"message-end", data, &mut reading).unwrap(), Sense::Failed);
    }
}
