//! Amazon Bedrock's Converse: one language for the models of many makers. The model stands in the path, streams come in
//! event-stream frames.

mod blob;
mod media;
mod read_call;
mod read_events;
#[cfg(test)]
mod speech_tests;
mod write_call;
mod write_events;

use weir_shared::catalog::{Deviations, Dialect};
use weir_shared::fault::{Code, bedrock_type_of};
use weir_shared::usage::{Class, Tier, Usage};

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::repeats::Repeats;
use super::speech::{Asked, Framing, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::{AnswerKind, BodyKind, Endpoint, InvalidUsage, Language, Reading, Sense, StreamWhen, number};
use crate::wire::eventstream::Open;
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};

pub struct Converse;

impl Language for Converse {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Bedrock
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn call(path: &'static str, stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods: &[Method::Post], body: BodyKind::ModelInPath, answer: AnswerKind::Json, stream }
        }
        const LIST: &[Endpoint] = &[
            call("model/{model}/converse", StreamWhen::Never),
            call("model/{model}/converse-stream", StreamWhen::Always),
            call("model/{model}/count-tokens", StreamWhen::Never),
            // Whatever the model's maker speaks; embeddings are asked for by it.
            call("model/{model}/invoke", StreamWhen::Never),
        ];
        LIST
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        Some(&Converse)
    }

    fn framing(&self) -> Framing {
        Framing::EventStream
    }

    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        let (mut usage, mut tier, mut stopped, mut output_bytes) = (None, None, false, 0);
        json::scan(data, |member| match (member.depth, member.key) {
            (1, b"usage") => usage = Some(member.value),
            (1, b"serviceTier") => tier = Some(member.value),
            (1, b"stopReason") => stopped = member.value.len() > 2,
            (2 | 3, b"text" | b"input") if member.value.starts_with(b"\"") => {
                output_bytes += member.value.len() as u64 - 2
            }
            _ => {}
        })?;
        match event {
            b"contentBlockDelta" => {
                reading.output_bytes += output_bytes;
                return Ok(Sense::Plain);
            }
            b"messageStop" => reading.finished |= stopped,
            b"metadata" => {
                take(usage, tier, reading);
                reading.ended = true;
            }
            event if is_exception(event) => {
                reading.failed = true;
                reading.blames_caller |= blames_caller(event);
                return Ok(Sense::Failed);
            }
            _ => {}
        }
        Ok(Sense::Marked)
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        let (mut usage, mut tier, mut output_bytes) = (None, None, 0);
        json::scan(body, |member| match (member.depth, member.key) {
            (1, b"usage") => usage = Some(member.value),
            (1, b"serviceTier") => tier = Some(member.value),
            // Counting tokens costs nothing.
            (1, b"inputTokens") => reading.usage = Some(Usage::NONE),
            // Amazon's embeddings, by `invoke`.
            (1, b"inputTextTokenCount") => {
                reading.take_usage(number(member.value).map(|count| Usage::NONE.with(Class::Input, count)));
            }
            (_, b"text") if member.value.starts_with(b"\"") => output_bytes += member.value.len() as u64 - 2,
            _ => {}
        })?;
        reading.output_bytes += output_bytes;
        reading.finished = true;
        take(usage, tier, reading);
        Ok(())
    }

    /// There is no frame that every program overlooks.
    fn heartbeat(&self) -> &'static [u8] {
        b""
    }

    fn comment(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        write_error(out, code, message);
    }
}

fn is_exception(event: &[u8]) -> bool {
    event.ends_with(b"Exception")
}

/// Whether it is the request that is wrong: the kind of an error stands beside its data.
fn blames_caller(event: &[u8]) -> bool {
    event.eq_ignore_ascii_case(b"validationException")
}

fn write_error(out: &mut Vec<u8>, code: Code, message: &str) {
    // Streams have fewer names for it, and begin them small.
    let name = match bedrock_type_of(code.status()) {
        "ThrottlingException" => "throttlingException",
        "ServiceUnavailableException" => "serviceUnavailableException",
        "InternalServerException" => "internalServerException",
        "ModelTimeoutException" | "ModelErrorException" => "modelStreamErrorException",
        _ => "validationException",
    };
    let frame = Open::exception(out, name);
    out.extend_from_slice(b"{\"message\":\"");
    json::escape_into(out, message);
    out.extend_from_slice(b"\"}");
    frame.close(out);
}

fn take(usage: Option<&[u8]>, tier: Option<&[u8]>, reading: &mut Reading) {
    if let Some(tier) = tier.and_then(|tier| json::get(tier, "type")).and_then(json::text) {
        reading.tier = Tier::of_vendor_word(&tier);
    }
    // `invoke` answers have other names in it: those are counted.
    if let Some(usage) = usage.filter(|usage| json::get(usage, "inputTokens").is_some()) {
        reading.take_usage(read_usage(usage));
    }
}

/// The classes stand side by side, for all makers' models.
fn read_usage(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    let (mut read, mut written, mut short, mut long) = (Usage::NONE, 0, 0, 0);
    for (key, value) in json::members(usage) {
        match key {
            b"inputTokens" => read.set(Class::Input, number(value)?),
            b"outputTokens" => read.set(Class::Output, number(value)?),
            b"cacheReadInputTokens" => read.set(Class::CacheRead, number(value)?),
            b"cacheWriteInputTokens" => written = number(value)?,
            b"cacheDetails" => {
                for detail in json::elements(value) {
                    let count = json::get(detail, "inputTokens").map_or(Ok(0), number)?;
                    match json::get(detail, "ttl") {
                        Some(b"\"1h\"") => long += count,
                        _ => short += count,
                    }
                }
            }
            _ => {}
        }
    }
    // The parts hold when they add up; otherwise everything counts as the short one.
    let parts_hold = short + long == written;
    read.set(Class::CacheWrite5m, if parts_hold { short } else { written });
    read.set(Class::CacheWrite1h, if parts_hold { long } else { 0 });
    Ok(read)
}

impl Speech for Converse {
    fn tongue(&self) -> Tongue {
        Tongue::Converse
    }

    fn params(&self) -> ParamTable {
        PARAMS
    }

    fn framing(&self) -> Framing {
        Framing::EventStream
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

const PARAMS: ParamTable = &[
    (Param::Temperature, "inferenceConfig.temperature"),
    (Param::TopP, "inferenceConfig.topP"),
    (Param::TopK, "additionalModelRequestFields.top_k"),
    (Param::Metadata, "requestMetadata"),
    (Param::ServiceTier, "serviceTier"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_stands_side_by_side() {
        let mut reading = Reading::default();
        let data = br#"{"usage":{"inputTokens":3,"outputTokens":288,"totalTokens":2365,"cacheReadInputTokens":9,
            "cacheWriteInputTokens":2074,"cacheDetails":[{"ttl":"5m","inputTokens":74},{"ttl":"1h","inputTokens":2000}]},
            "metrics":{"latencyMs":1},"serviceTier":{"type":"flex"},"p":"abc"}"#;
        assert_eq!(Converse.read_event(b"metadata", data, &mut reading), Ok(Sense::Marked));
        let seen: Vec<_> = reading.usage.unwrap().each().map(|(class, count)| (class.name(), count)).collect();
        let want = [("input", 3), ("cache_read", 9), ("cache_write_5m", 74), ("cache_write_1h", 2000), ("output", 288)];
        assert_eq!(seen, want);
        assert_eq!((reading.tier, reading.ended), (Tier::Flex, true));
        let sense = Converse.read_event(b"throttlingException", br#"{"message":"slow"}"#, &mut reading);
        assert!(sense == Ok(Sense::Failed) && reading.failed);
    }

    #[test]
    fn events_like_the_one_before_are_read_alike() {
        let delta = |index: u32, inside: &str, said: &str, pad: usize| {
            let inside = inside.replace('@', said);
            let padding = &"abcdefghijklmnop"[..pad];
            format!(r#"{{"contentBlockIndex":{index},"delta":{inside},"p":"{padding}"}}"#)
        };
        let mut stream = vec![("messageStart", r#"{"role":"assistant","p":"abc"}"#.to_owned())];
        let call = r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f"}},"p":""}"#;
        for (index, inside) in
            [(0, r#"{"reasoningContent":{"text":"@"}}"#), (1, r#"{"text":"@"}"#), (2, r#"{"toolUse":{"input":"@"}}"#)]
        {
            if index == 2 {
                stream.push(("contentBlockStart", call.to_owned()));
            }
            for (pad, said) in ["a", "b c", "", "\\n", "é", "x"].into_iter().enumerate() {
                stream.push(("contentBlockDelta", delta(index, inside, said, 3 * pad)));
            }
            stream.push(("contentBlockStop", format!(r#"{{"contentBlockIndex":{index},"p":"a"}}"#)));
        }
        stream.push(("messageStop", r#"{"stopReason":"tool_use"}"#.to_owned()));
        let stream: Vec<(&str, &str)> = stream.iter().map(|(name, data)| (*name, data.as_str())).collect();
        crate::dialect::repeats::tests::both_ways(read_events::Reader::default, &stream);
    }

    #[test]
    fn other_answers_are_counted_too() {
        let usage_of = |body: &str| {
            let mut reading = Reading::default();
            Converse.read_answer(body.as_bytes(), &mut reading).unwrap();
            reading.usage.map(|usage| usage.tokens())
        };
        assert_eq!(usage_of(r#"{"inputTokens":17}"#), Some(0));
        assert_eq!(usage_of(r#"{"embedding":[0.1],"inputTextTokenCount":5}"#), Some(5));
        assert_eq!(usage_of(r#"{"usage":{"input_tokens":5}}"#), None);
    }
}
