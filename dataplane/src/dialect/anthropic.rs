//! Anthropic's messages.

mod read_call;
mod read_events;
#[cfg(test)]
mod speech_tests;
mod write_call;
mod write_events;

use weir_shared::catalog::{Deviations, Dialect};
use weir_shared::fault::{Code, anthropic_type_of};
use weir_shared::usage::{Class, Tier, Usage};

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::repeats::Repeats;
use super::speech::{Asked, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::{AnswerKind, BodyKind, Endpoint, InvalidUsage, Language, Reading, Sense, StreamWhen, number};
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};
use crate::wire::template;

pub struct Messages;

impl Language for Messages {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Anthropic
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn call(path: &'static str, stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods: &[Method::Post], body: BodyKind::ModelInJson, answer: AnswerKind::Json, stream }
        }
        // Its /models is told apart from OpenAI's by the caller's header, in `parse`.
        const LIST: &[Endpoint] =
            &[call("messages", StreamWhen::Asked), call("messages/count_tokens", StreamWhen::Never)];
        LIST
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        Some(&Messages)
    }

    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        let mut kind: &[u8] = event;
        let mut message: Option<&[u8]> = None;
        let mut usage: Option<&[u8]> = None;
        let mut output_bytes = 0;
        let mut stopped = false;
        let mut error: &[u8] = b"";
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"type") => kind = member.value.get(1..member.value.len().saturating_sub(1)).unwrap_or_default(),
            (1, b"message") => message = Some(member.value),
            (1, b"error") => error = member.value,
            (1, b"usage") if member.value != b"null" => usage = Some(member.value),
            (2, b"stop_reason") => stopped |= member.value.len() > 2 && member.value.starts_with(b"\""),
            (2, key) if template::is_output(key) && member.value.starts_with(b"\"") => {
                output_bytes += member.value.len() as u64 - 2
            }
            _ => {}
        })?;
        match kind {
            b"content_block_delta" => {
                reading.output_bytes += output_bytes;
                return Ok(Sense::Plain);
            }
            b"message_start" => {
                let message = message.unwrap_or_default();
                if let Some(usage) = json::get(message, "usage").filter(|usage| *usage != b"null") {
                    take(usage, reading);
                }
            }
            b"message_delta" => {
                reading.finished |= stopped;
                if let Some(usage) = usage {
                    take(usage, reading);
                }
            }
            b"message_stop" => (reading.ended, reading.finished) = (true, true),
            b"error" => {
                reading.failed = true;
                reading.blames_caller |= blames_caller(error);
                return Ok(Sense::Failed);
            }
            _ => {}
        }
        Ok(Sense::Marked)
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        let mut output_bytes = 0;
        let mut usage = None;
        let mut counted = None;
        json::scan(body, |member| match (member.depth, member.key) {
            (1, b"usage") if member.value != b"null" => usage = Some(member.value),
            (1, b"input_tokens") => counted = Some(()),
            (1, b"error") if member.value != b"null" => {
                reading.failed = true;
                reading.blames_caller |= blames_caller(member.value);
            }
            (_, key) if template::is_output(key) && member.value.starts_with(b"\"") => {
                output_bytes += member.value.len() as u64 - 2
            }
            _ => {}
        })?;
        reading.output_bytes += output_bytes;
        reading.finished = true;
        if let Some(usage) = usage {
            take(usage, reading);
        } else if counted.is_some() {
            // Counting tokens costs nothing.
            reading.usage = Some(Usage::NONE);
        }
        Ok(())
    }

    fn terminator(&self) -> &'static [u8] {
        b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    }

    fn heartbeat(&self) -> &'static [u8] {
        b"event: ping\ndata: {\"type\": \"ping\"}\n\n"
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        write_error(out, code, message);
    }
}

fn write_error(out: &mut Vec<u8>, code: Code, message: &str) {
    out.extend_from_slice(b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"");
    out.extend_from_slice(anthropic_type_of(code.status()).as_bytes());
    out.extend_from_slice(b"\",\"message\":\"");
    json::escape_into(out, message);
    // Extra members are allowed; programs that know the gateway read the code.
    out.extend_from_slice(b"\",\"code\":\"");
    out.extend_from_slice(code.name().as_bytes());
    out.extend_from_slice(b"\"}}\n\n");
}

const PARAMS: ParamTable = &[
    (Param::Temperature, "temperature"),
    (Param::TopP, "top_p"),
    (Param::TopK, "top_k"),
    (Param::User, "metadata.user_id"),
    (Param::ServiceTier, "service_tier"),
];

impl Speech for Messages {
    fn tongue(&self) -> Tongue {
        Tongue::Messages
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
        Box::new(write_events::Writer::of(heading))
    }

    fn write_answer(&self, answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
        write_events::write_answer(answer, heading, out);
    }
}

/// Whether it is the request that is wrong, by the error's type.
fn blames_caller(error: &[u8]) -> bool {
    matches!(json::get(error, "type").map(json::inner), Some(b"invalid_request_error" | b"request_too_large"))
}

fn take(usage: &[u8], reading: &mut Reading) {
    if let Some(tier) = json::get(usage, "service_tier").and_then(json::text) {
        reading.tier = Tier::of_vendor_word(&tier);
    }
    reading.take_usage(read_usage(usage));
}

/// Anthropic's classes are disjoint already: what was read from or written to the cache stands beside the input.
fn read_usage(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    if !usage.starts_with(b"{") {
        return Err(InvalidUsage);
    }
    let (mut read, mut written, mut short, mut long, mut lifetimes) = (Usage::NONE, 0, 0, 0, false);
    let mut compacted = Usage::NONE;
    for (key, value) in json::members(usage) {
        match key {
            b"input_tokens" => read.set(Class::Input, number(value)?),
            b"output_tokens" => read.set(Class::Output, number(value)?),
            b"cache_read_input_tokens" => read.set(Class::CacheRead, number(value)?),
            b"cache_creation_input_tokens" => written = number(value)?,
            b"cache_creation" => {
                for (key, value) in json::members(value) {
                    match key {
                        b"ephemeral_5m_input_tokens" => short = number(value)?,
                        b"ephemeral_1h_input_tokens" => long = number(value)?,
                        _ => continue,
                    }
                    lifetimes = true;
                }
            }
            b"iterations" => compacted = compactions(value)?,
            b"server_tool_use" => {
                let searches = json::get(value, "web_search_requests").map_or(Ok(0), number)?;
                read.set(Class::ServerTool, searches);
            }
            _ => {}
        }
    }
    // The parts hold when they add up; otherwise everything counts as the short one.
    let parts_hold = lifetimes && (short + long == written || written == 0);
    read.set(Class::CacheWrite5m, if parts_hold { short } else { written });
    read.set(Class::CacheWrite1h, if parts_hold { long } else { 0 });
    for (class, count) in compacted.each() {
        read.set(class, read.of(class).saturating_add(count));
    }
    Ok(read)
}

/// The runs in which the vendor compacted the conversation: billed like the answer, and left out of its totals. Runs of
/// other kinds are contained in the totals, or were another model's.
fn compactions(iterations: &[u8]) -> Result<Usage, InvalidUsage> {
    let mut sum = Usage::NONE;
    let runs = json::elements(iterations).filter(|run| json::get(run, "type") == Some(b"\"compaction\""));
    for run in runs {
        for (class, count) in read_usage(run)?.each() {
            sum.set(class, sum.of(class).saturating_add(count));
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulative_usage_takes_the_last_word() {
        let mut reading = Reading::default();
        let mut read = |data: &str| Messages.read_event(b"", data.as_bytes(), &mut reading).unwrap();
        read(
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,"cache_read_input_tokens":90,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":1}}}  "#,
        );
        assert_eq!(
            read(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#),
            Sense::Plain
        );
        read(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#);
        read(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#);
        read(r#"{"type":"message_stop"}"#);
        assert!(reading.ended && reading.finished);
        let usage = reading.usage.unwrap();
        let seen: Vec<_> = usage.each().map(|(class, count)| (class.name(), count)).collect();
        assert_eq!(
            seen,
            [("input", 10), ("cache_read", 90), ("cache_write_5m", 3), ("cache_write_1h", 4), ("output", 5)]
        );
        assert_eq!(reading.output_bytes, 2);
    }

    #[test]
    fn a_unary_answer_is_read() {
        let mut reading = Reading::default();
        let body = br#"{"content":[{"type":"text","text":"hello"}],"usage":{"input_tokens":2,"output_tokens":3,"server_tool_use":{"web_search_requests":1}}}"#;
        Messages.read_answer(body, &mut reading).unwrap();
        assert_eq!(reading.usage.map(|u| (u.tokens(), u.of(Class::ServerTool))), Some((5, 1)));
        Messages.read_answer(br#"{"usage":{"input_tokens":"2"}}"#, &mut reading).unwrap();
        assert!(reading.usage_invalid);
    }

    #[test]
    fn the_short_way_reads_what_the_long_one_does() {
        let delta = |index: u32, kind: &str, member: &str, text: &str| {
            format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":"{text}"}}  }}"#
            )
        };
        let block = |index: u32, block: &str| {
            format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
        };
        let mut stream = vec![
            ("message_start", r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}"#.to_owned()),
            ("content_block_start", block(0, r#"{"type":"thinking","thinking":""}"#)),
        ];
        let deltas = |index, kind, member| {
            let texts = ["a", "b c", "", "\\n", "é"].into_iter();
            texts.map(move |text| ("content_block_delta", delta(index, kind, member, text)))
        };
        let stop = |index: u32| ("content_block_stop", format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
        stream.extend(deltas(0, "thinking_delta", "thinking"));
        stream.push(("content_block_delta", delta(0, "signature_delta", "signature", "s")));
        stream.push(stop(0));
        stream.push(("content_block_start", block(1, r#"{"type":"text","text":""}"#)));
        stream.extend(deltas(1, "text_delta", "text"));
        stream.push(stop(1));
        stream.push(("content_block_start", block(2, r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#)));
        stream.extend(deltas(2, "input_json_delta", "partial_json"));
        stream.push(stop(2));
        let end = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#;
        stream.push(("message_delta", end.to_owned()));
        let stream: Vec<(&str, &str)> = stream.iter().map(|(name, data)| (*name, data.as_str())).collect();
        crate::dialect::repeats::tests::both_ways(read_events::Reader::default, &stream);
    }
}
