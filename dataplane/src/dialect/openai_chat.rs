//! OpenAI's chat completions and completions, and everybody who speaks like them.

mod details;
mod read_call;
mod read_events;
mod sound;
#[cfg(test)]
mod speech_tests;
mod think;
mod write_call;
mod write_events;

use weir_shared::catalog::{Deviation, Deviations, Dialect};
use weir_shared::fault::Code;
use weir_shared::usage::Tier;

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Tongue};
use super::repeats::Repeats;
use super::speech::{Asked, Heading, Lost, ReadEvents, Recipient, Speech, Unreadable, WriteEvents};
use super::{
    AnswerKind, BodyKind, Endpoint, Language, Reading, Sense, StreamWhen, UsageRequest, error, openai_error,
    openai_usage,
};
use crate::wire::http1::Method;
use crate::wire::json::{self, Member, NotJson};
use crate::wire::template;

/// Chat completions, and the older completions: two paths of one language.
pub struct Chat {
    name: &'static str,
    endpoints: [Endpoint; 1],
}

pub static CHAT: Chat = Chat { name: "openai_chat", endpoints: [endpoint("chat/completions")] };
pub static COMPLETIONS: Chat = Chat { name: "openai_completions", endpoints: [endpoint("completions")] };

const fn endpoint(path: &'static str) -> Endpoint {
    Endpoint {
        path,
        methods: &[Method::Post],
        body: BodyKind::ModelInJson,
        answer: AnswerKind::Json,
        stream: StreamWhen::Asked,
    }
}

impl Language for Chat {
    fn name(&self) -> &'static str {
        self.name
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn endpoints(&'static self) -> &'static [Endpoint] {
        &self.endpoints
    }

    fn speech(&self) -> Option<&'static dyn Speech> {
        (self.name == CHAT.name).then_some(&Conversation)
    }

    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        true
    }

    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
        read_event(event, data, reading)
    }

    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
        read_answer(body, reading)
    }

    fn terminator(&self) -> &'static [u8] {
        b"data: [DONE]\n\n"
    }

    fn outgrows_limit(&self, body: &[u8]) -> bool {
        openai_error::outgrows_limit(body)
    }

    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, _: &Reading) {
        error_event(out, code, message);
    }

    fn usage_request(&self) -> Option<UsageRequest> {
        Some(UsageRequest { member: "stream_options", inner: "include_usage" })
    }
}

/// Chat completions as a language that is translated; the older completions are not.
struct Conversation;

const PARAMS: ParamTable = &[
    (Param::Temperature, "temperature"),
    (Param::TopP, "top_p"),
    (Param::FrequencyPenalty, "frequency_penalty"),
    (Param::PresencePenalty, "presence_penalty"),
    (Param::Seed, "seed"),
    (Param::User, "user"),
    (Param::Metadata, "metadata"),
    (Param::ServiceTier, "service_tier"),
    (Param::CacheKey, "prompt_cache_key"),
    (Param::Verbosity, "verbosity"),
    (Param::Logprobs, "logprobs"),
    (Param::TopLogprobs, "top_logprobs"),
    (Param::LogitBias, "logit_bias"),
    (Param::Modalities, "modalities"),
];

impl Speech for Conversation {
    fn tongue(&self) -> Tongue {
        Tongue::Chat
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

    fn reader(&self, deviations: Deviations) -> Box<dyn ReadEvents> {
        let reader = read_events::Reader::new(deviations);
        // Where thoughts stand in the text, what a piece says decides what the next one is.
        if deviations.has(Deviation::ThinkTagsInText) { Box::new(reader) } else { Box::new(Repeats::new(reader)) }
    }

    fn writer<'h>(&self, heading: &'h Heading<'h>) -> Box<dyn WriteEvents + 'h> {
        Box::new(write_events::Writer::new(heading))
    }

    fn write_answer(&self, answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
        write_events::write_answer(answer, heading, out);
    }
}

fn read_event(event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson> {
    if data.trim_ascii() == b"[DONE]" {
        reading.ended = true;
        return Ok(Sense::End);
    }
    let mut found = Found::default();
    json::scan(data, |member| found.take(member))?;
    reading.output_bytes += found.output_bytes;
    reading.finished |= found.finished;
    if let Some(tier) = found.tier {
        reading.tier = Tier::of_vendor_word(tier);
    }
    if found.error.is_some() || event == b"error" {
        reading.failed = true;
        reading.blames_caller |= openai_error::blames_caller(found.error.unwrap_or(data));
        return Ok(Sense::Failed);
    }
    let Some(usage) = found.usage else {
        return Ok(if found.finished { Sense::Marked } else { Sense::Plain });
    };
    reading.take_usage(openai_usage::read(usage));
    Ok(if found.no_choices { Sense::UsageOnly } else { Sense::Marked })
}

fn read_answer(body: &[u8], reading: &mut Reading) -> Result<(), NotJson> {
    let mut found = Found::default();
    json::scan(body, |member| {
        if member.depth == 1 {
            found.take(member);
        }
    })?;
    (reading.finished, reading.failed) = (true, found.error.is_some());
    reading.blames_caller |= found.error.is_some_and(openai_error::blames_caller);
    if let Some(tier) = found.tier {
        reading.tier = Tier::of_vendor_word(tier);
    }
    if let Some(usage) = found.usage {
        reading.take_usage(openai_usage::read(usage));
    }
    if reading.usage.is_none() {
        // Only then does it matter how much was said.
        json::scan(body, |member| found.take(member))?;
        reading.output_bytes += found.output_bytes;
    }
    Ok(())
}

#[derive(Default)]
struct Found<'a> {
    usage: Option<&'a [u8]>,
    tier: Option<&'a str>,
    error: Option<&'a [u8]>,
    finished: bool,
    no_choices: bool,
    output_bytes: u64,
}

impl<'a> Found<'a> {
    fn take(&mut self, member: Member<'a>) {
        let Member { key, value, depth, .. } = member;
        match (depth, key) {
            (1, b"usage") if value != b"null" => self.usage = Some(value),
            // Groq tells it here.
            (1, b"x_groq") => self.usage = self.usage.or_else(|| json::get(value, "usage").filter(|v| *v != b"null")),
            (1, b"error") if value != b"null" => self.error = Some(value),
            (1, b"service_tier") => {
                self.tier = value.get(1..value.len().saturating_sub(1)).and_then(|v| std::str::from_utf8(v).ok())
            }
            (1, b"choices") => self.no_choices = json::is_empty_array(value),
            // An empty reason is none: one vendor writes it in every event.
            (3, b"finish_reason") if value.len() > 2 && value.starts_with(b"\"") => self.finished = true,
            _ if template::is_output(key) && value.starts_with(b"\"") => self.output_bytes += value.len() as u64 - 2,
            _ => {}
        }
    }
}

fn error_event(out: &mut Vec<u8>, code: Code, message: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&error::body(Dialect::OpenAi, code.status(), code, message, ""));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::usage::Class;

    fn read(data: &str, reading: &mut Reading) -> Sense {
        read_event(b"", data.as_bytes(), reading).unwrap()
    }

    #[test]
    fn a_stream_is_understood() {
        let mut reading = Reading::default();
        let plain = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"hé"},"finish_reason":null}],"usage":null}"#;
        assert_eq!(read(plain, &mut reading), Sense::Plain);
        assert_eq!(reading.output_bytes, 3);
        let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(read(finish, &mut reading), Sense::Marked);
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        assert_eq!(read(usage, &mut reading), Sense::UsageOnly);
        assert_eq!(read("[DONE]", &mut reading), Sense::End);
        assert!(reading.finished && reading.ended && !reading.failed);
        assert_eq!(reading.usage.map(|usage| usage.of(Class::Output)), Some(2));
    }

    #[test]
    fn usage_on_a_chunk_with_choices_is_not_hidden_and_errors_are_seen() {
        let mut reading = Reading::default();
        let both = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
        assert_eq!(read(both, &mut reading), Sense::Marked);
        assert_eq!(read(r#"{"error":{"message":"x"}}"#, &mut reading), Sense::Failed);
        assert!(read_event(b"", b"{broken", &mut reading).is_err());
        let groq = r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":4}}}"#;
        read(groq, &mut reading);
        assert_eq!(reading.usage.map(|usage| usage.of(Class::Input)), Some(9));
        read(r#"{"choices":[],"usage":{"prompt_tokens":-1}}"#, &mut reading);
        assert!(reading.usage_invalid);
    }
}
