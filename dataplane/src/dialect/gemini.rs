//! Google's generateContent family. The model and the verb stand in the path.

mod grounding;
mod media;
mod partial;
mod read_call;
mod read_config;
mod read_events;
mod schema;
mod signature;
mod write_answer;
mod write_call;
mod write_config;
mod write_events;
#[cfg(test)]
mod speech_tests;

use std::borrow::Cow;

use weir_shared::catalog::{Deviations, Dialect};
use weir_shared::fault::{Code, gemini_status_of};
use weir_shared::usage::{Class, Usage};

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::speech::{Asked, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::text::plain;
use super::{AnswerKind, BodyKind, Endpoint, InvalidUsage, Language, Reading, Sense, StreamWhen, number};
use crate::wire::http1::Method;
use crate::wire::json::{self, Member, NotJson};
use crate::wire::template;

pub struct Generate;

impl Language for Generate {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Gemini
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        const fn call(path: &'static str, stream: StreamWhen) -> Endpoint {
            Endpoint { path, methods: &[Method::Post], body: BodyKind::ModelInPath, answer: AnswerKind::Json, stream }
        }
        const LIST: &[Endpoint] = &[
            call("models/{model}:generateContent", StreamWhen::Never),
            call("models/{model}:streamGenerateContent", StreamWhen::Always),
            call("models/{model}:countTokens", StreamWhen::Never),
            call("models/{model}:embedContent", StreamWhen::Never),
            call("models/{model}:batchEmbedContents", StreamWhen::Never),
        ];
        LIST
    }

    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        true
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        Some(&Generate)
    }

    fn read_event(&self, _: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        let found = Found::read(data, reading)?;
        if found.failed {
            reading.failed = true;
            reading.blames_caller |= found.blames_caller;
            return Ok(Sense::Failed);
        }
        reading.finished |= found.finished;
        // Usage stands in every event and grows; the template leaves its numbers as holes only when it is not there.
        Ok(if found.finished || found.usage { Sense::Marked } else { Sense::Plain })
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        // A stream that was not asked for as events comes as one array.
        let is_array = body.trim_ascii_start().starts_with(b"[");
        if is_array {
            json::validate(body)?;
            for element in json::elements(body) {
                let found = Found::read(element, reading)?;
                reading.failed |= found.failed;
                reading.blames_caller |= found.blames_caller;
            }
        } else {
            let found = Found::read(body, reading)?;
            reading.failed = found.failed;
            reading.blames_caller |= found.blames_caller;
            if found.counted_only {
                reading.usage = Some(Usage::NONE);
            }
        }
        reading.finished = true;
        Ok(())
    }

    fn heartbeat(&self) -> &'static [u8] {
        b": ping\r\n\r\n"
    }

    fn comment(&self, words: &str) -> Vec<u8> {
        format!(": {words}\r\n\r\n").into_bytes()
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        out.extend_from_slice(b"data: ");
        write_error(out, code, message);
        out.extend_from_slice(b"\r\n\r\n");
    }
}

impl Speech for Generate {
    fn tongue(&self) -> Tongue {
        Tongue::Generate
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

fn write_error(out: &mut Vec<u8>, code: Code, message: &str) {
    out.extend_from_slice(b"{\"error\":{\"code\":");
    out.extend_from_slice(code.status().to_string().as_bytes());
    out.extend_from_slice(b",\"message\":\"");
    json::escape_into(out, message);
    out.extend_from_slice(b"\",\"status\":\"");
    out.extend_from_slice(gemini_status_of(code.status()).as_bytes());
    out.extend_from_slice(b"\",\"details\":[{\"reason\":\"");
    out.extend_from_slice(code.name().as_bytes());
    out.extend_from_slice(b"\"}]}}");
}

/// Whether it is the request that is wrong, by the error's status.
fn blames_caller(error: &[u8]) -> bool {
    matches!(json::get(error, "status"), Some(b"\"INVALID_ARGUMENT\"" | b"\"FAILED_PRECONDITION\""))
}

#[derive(Default)]
struct Found {
    usage: bool,
    finished: bool,
    failed: bool,
    blames_caller: bool,
    counted_only: bool,
}

impl Found {
    fn read(data: &[u8], reading: &mut Reading) -> Result<Self, NotJson> {
        let mut found = Self::default();
        let mut usage: Option<&[u8]> = None;
        let mut output_bytes = 0;
        json::scan(data, |Member { key, value, depth, .. }| match (depth, key) {
            (1, b"usageMetadata") => usage = Some(value),
            (1, b"error") if value != b"null" => {
                (found.failed, found.blames_caller) = (true, blames_caller(value));
            }
            (1, b"totalTokens") => found.counted_only = true,
            // A prompt that was blocked has no candidates and ends there.
            (2, b"blockReason") => found.finished = true,
            (3, b"finishReason") if value.len() > 2 && value.starts_with(b"\"") => found.finished = true,
            (_, key) if template::is_output(key) && value.starts_with(b"\"") => output_bytes += value.len() as u64 - 2,
            _ => {}
        })?;
        reading.output_bytes += output_bytes;
        if let Some(usage) = usage {
            found.usage = true;
            // Each event tells all of it, and the last one holds, also where it is less.
            reading.replace_usage(read_usage(usage));
        }
        Ok(found)
    }
}

/// `promptTokenCount` contains what came from the cache; thoughts stand beside the candidates.
fn read_usage(usage: &[u8]) -> Result<Usage, InvalidUsage> {
    if !usage.starts_with(b"{") {
        return Err(InvalidUsage);
    }
    let prompt = count(usage, "promptTokenCount")?;
    let tools = count(usage, "toolUsePromptTokenCount")?;
    let cached = count(usage, "cachedContentTokenCount")?.min(prompt);
    let candidates = count(usage, "candidatesTokenCount")?;
    let audio_in = modality(usage, "promptTokensDetails", b"\"AUDIO\"")?.min(prompt - cached);
    let audio_out = modality(usage, "candidatesTokensDetails", b"\"AUDIO\"")?.min(candidates);
    let image_out = modality(usage, "candidatesTokensDetails", b"\"IMAGE\"")?.min(candidates - audio_out);
    Ok(Usage::NONE
        .with(Class::Input, prompt - cached - audio_in + tools)
        .with(Class::CacheRead, cached)
        .with(Class::AudioInput, audio_in)
        .with(Class::Output, candidates - audio_out - image_out)
        .with(Class::AudioOutput, audio_out)
        .with(Class::ImageOutput, image_out)
        .with(Class::Reasoning, count(usage, "thoughtsTokenCount")?))
}

/// Log probabilities are not among them: the steps of an answer have no word for those.
const PARAMS: ParamTable = &[
    (Param::Temperature, "generationConfig.temperature"),
    (Param::TopP, "generationConfig.topP"),
    (Param::TopK, "generationConfig.topK"),
    (Param::FrequencyPenalty, "generationConfig.frequencyPenalty"),
    (Param::PresencePenalty, "generationConfig.presencePenalty"),
    (Param::Seed, "generationConfig.seed"),
    (Param::Logprobs, "generationConfig.responseLogprobs"),
    (Param::TopLogprobs, "generationConfig.logprobs"),
    (Param::Modalities, "generationConfig.responseModalities"),
    (Param::Metadata, "labels"),
    (Param::SafetySettings, "safetySettings"),
    (Param::ServiceTier, "serviceTier"),
];

/// A member's name as Google's documents spell it; its parsers take `snake_case`, too.
fn camel(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.iter().any(|byte| matches!(byte, b'_' | b'\\')) {
        return Cow::Borrowed(key);
    }
    let plain = plain(key);
    let mut out = Vec::with_capacity(plain.len());
    let mut upper = false;
    for byte in plain.bytes() {
        match byte {
            b'_' => upper = !out.is_empty(),
            byte if upper => {
                out.push(byte.to_ascii_uppercase());
                upper = false;
            }
            byte => out.push(byte),
        }
    }
    Cow::Owned(out)
}

fn count(object: &[u8], key: &str) -> Result<u64, InvalidUsage> {
    json::get(object, key).map_or(Ok(0), number)
}

fn modality(usage: &[u8], list: &str, name: &[u8]) -> Result<u64, InvalidUsage> {
    let Some(list) = json::get(usage, list) else { return Ok(0) };
    let mut sum = 0;
    for entry in json::elements(list).filter(|entry| json::get(entry, "modality") == Some(name)) {
        sum = count(entry, "tokenCount")?.checked_add(sum).ok_or(InvalidUsage)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_disjoint() {
        let mut reading = Reading::default();
        let event = br#"{"candidates":[{"content":{"parts":[{"text":"hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":40,"candidatesTokenCount":7,"thoughtsTokenCount":20,"promptTokensDetails":[{"modality":"TEXT","tokenCount":90},{"modality":"AUDIO","tokenCount":10}]}}"#;
        assert_eq!(Generate.read_event(b"", event, &mut reading).unwrap(), Sense::Marked);
        assert!(reading.finished);
        let seen: Vec<_> = reading.usage.unwrap().each().map(|(class, count)| (class.name(), count)).collect();
        assert_eq!(seen, [("input", 50), ("cache_read", 40), ("output", 7), ("reasoning", 20), ("audio_input", 10)]);
        assert_eq!(reading.output_bytes, 5);
    }

    #[test]
    fn an_array_is_a_stream_at_once() {
        let mut reading = Reading::default();
        let body = br#"[{"candidates":[],"usageMetadata":{"promptTokenCount":1}},{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":4}}]"#;
        Generate.read_answer(body, &mut reading).unwrap();
        assert_eq!(reading.usage.map(|usage| usage.tokens()), Some(5));
    }
}
