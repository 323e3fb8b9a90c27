//! The languages that vendors and callers speak: one file each, one line in [`ALL`].
//!
//! A language says which paths are its own, where the model's name stands, what an event means, what an answer used, and
//! how an error, a sign of life and an end are written. What is the same on both sides passes untouched.

pub mod text;
pub mod call;
pub mod event;
pub mod proof;
pub mod chorus;
pub mod compose;
pub mod answer;
pub mod speech;
pub mod fallen;
pub mod given;
mod hints;
mod results;
mod turns;
pub mod begun;
mod budget;
mod likely;
mod pairing;
mod sequence;
pub mod relay;
mod repeats;
pub mod embed;
pub mod rerank;
pub mod count;
mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
#[cfg(test)]
mod nonsense;
mod openai_chat;
mod openai_error;
mod openai_plain;
mod openai_responses;
mod openai_usage;
pub mod error;

use weir_shared::catalog::Dialect;
use weir_shared::fault::Code;
use weir_shared::usage::{COUNT_MAX, Tier, Usage};

use crate::wire::http1::{Method, Name};
use crate::wire::json::NotJson;

pub const ALL: &[&'static dyn Language] = &[
    &openai_chat::CHAT,
    &openai_chat::COMPLETIONS,
    &openai_responses::Responses,
    &openai_plain::Plain,
    &anthropic::Messages,
    &gemini::Generate,
    &cohere::Chat,
    &bedrock::Converse,
];

pub trait Language: Sync {
    fn name(&self) -> &'static str;

    fn dialect(&self) -> Dialect;

    fn endpoints(&'static self) -> &'static [Endpoint];

    /// The language as one that is translated from and into. `None`: it only passes.
    fn speech(&self) -> Option<&'static dyn speech::Speech> {
        None
    }

    /// How the events of a stream follow each other.
    fn framing(&self) -> speech::Framing {
        speech::Framing::Sse
    }

    /// Reads one event of a stream: validates its data and says what it means.
    fn read_event(&self, event: &[u8], data: &[u8], reading: &mut Reading) -> Result<Sense, NotJson>;

    /// Reads a whole answer: validates it and finds what was used.
    fn read_answer(&self, body: &[u8], reading: &mut Reading) -> Result<(), NotJson>;

    /// What a stream ends with when the vendor forgot it.
    fn terminator(&self) -> &'static [u8] {
        b""
    }

    /// A sign of life that no caller's program sees; empty where there is none.
    fn heartbeat(&self) -> &'static [u8] {
        b": ping\n\n"
    }

    /// The same with words in it, for people who look; empty where there is none.
    fn comment(&self, words: &str) -> Vec<u8> {
        format!(": {words}\n\n").into_bytes()
    }

    /// An error in a stream whose head is long gone: the last event of all.
    fn error_event(&self, out: &mut Vec<u8>, code: Code, message: &str, reading: &Reading);

    /// A 429 that is about this one call: it is larger than the limit itself, and the next one may well be taken.
    fn outgrows_limit(&self, _body: &[u8]) -> bool {
        false
    }

    /// Its answers name objects that live on at the vendor (files, batches, responses), and its requests name them again.
    fn names_objects(&self) -> bool {
        false
    }

    /// A call that leaves nothing behind at the vendor but its cost: when nobody can tell whether it was taken, it is said
    /// again. What makes something (pictures, batches, stored responses) is not.
    fn leaves_nothing(&self, _: &Endpoint) -> bool {
        false
    }

    /// Where a missing "tell me the usage" goes into a streaming request, and what it is. `None`: the vendor tells anyhow.
    fn usage_request(&self) -> Option<UsageRequest> {
        None
    }
}

/// What must be added to a request so that the vendor tells what a stream used.
pub struct UsageRequest {
    /// A member of the outermost object, an object itself.
    pub member: &'static str,
    /// The member within it, a boolean.
    pub inner: &'static str,
}

/// One path of a language.
pub struct Endpoint {
    /// Segments below the version, or with it where a language has several; `{model}` and `{id}` stand for one segment, `{model}:verb` for a model and a verb.
    pub path: &'static str,
    pub methods: &'static [Method],
    pub body: BodyKind,
    pub answer: AnswerKind,
    pub stream: StreamWhen,
}

impl Endpoint {
    pub fn takes_forms(&self) -> bool {
        match self.body {
            BodyKind::ModelInForm | BodyKind::ModelInEither => true,
            BodyKind::Object => self.path == "files",
            _ => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// JSON with `model` among its members.
    ModelInJson,
    /// JSON; the model stands in the path.
    ModelInPath,
    /// A form with a field `model`, forwarded as it comes once the model is known.
    ModelInForm,
    /// JSON or a form, as its content type says.
    ModelInEither,
    /// No model: an object that an id names, or that is about to get one.
    Object,
    /// Answered by the gateway itself.
    Models,
    Model,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    /// JSON, collected, checked and priced before its head leaves.
    Json,
    /// Audio, files: forwarded as it comes.
    Bytes,
    /// Whatever its content type says.
    Either,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamWhen {
    Never,
    /// The body says `"stream": true`.
    Asked,
    /// The path itself asks for it.
    Always,
}

/// What an event means to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sense {
    /// Output and nothing else: the next one like it may take the fast path.
    Plain,
    /// Forward it, and do not learn from it.
    Marked,
    /// Tells only what was used; hidden from callers who did not ask.
    UsageOnly,
    /// Nothing comes after it.
    End,
    /// The vendor gave up in the middle.
    Failed,
}

/// What has been learned of one answer so far.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub usage: Option<Usage>,
    /// The vendor said something about usage that cannot be true.
    pub usage_invalid: bool,
    pub tier: Tier,
    /// The answer has a reason to be over.
    pub finished: bool,
    /// Of a translated answer: how many choices it has, and how many of them are over.
    pub choices: u32,
    pub ends: u32,
    /// The language's terminal event was seen.
    pub ended: bool,
    pub failed: bool,
    /// What failed is the request, by the vendor's own word: nobody else would take it either.
    pub blames_caller: bool,
    /// An object that tells of a failure of its own; it is no failure of this call.
    pub tells_failure: bool,
    /// Events with data that were found good.
    pub events: u64,
    /// The id of a response, as its caller saw it.
    pub response: Option<String>,
    /// What the model said so far, in bytes as they stand in the JSON.
    pub output_bytes: u64,
}

impl Reading {
    /// Nothing was read: no event, and no whole answer.
    pub fn is_empty(&self) -> bool {
        self.events == 0 && self.output_bytes == 0 && self.usage.is_none()
    }

    /// A whole answer has an `error`. An object with an id keeps it; without one, the answer is the error.
    fn take_error(&mut self, has_id: bool, blames_caller: bool) {
        self.tells_failure |= has_id;
        self.failed |= !has_id;
        self.blames_caller |= !has_id && blames_caller;
    }

    /// The whole count anew: the last word holds.
    pub fn replace_usage(&mut self, read: Result<Usage, InvalidUsage>) {
        self.usage = None;
        self.take_usage(read);
    }

    /// A cumulative count: the last word holds, and no class ever shrinks.
    pub fn take_usage(&mut self, read: Result<Usage, InvalidUsage>) {
        match read {
            Ok(usage) => {
                let mut merged = usage;
                for (class, count) in self.usage.iter().flat_map(Usage::each) {
                    merged.set(class, merged.of(class).max(count));
                }
                self.usage = Some(merged);
            }
            Err(InvalidUsage) => self.usage_invalid = true,
        }
    }
}

/// Negative, fractional, a string, or more than anybody ever used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidUsage;

/// A count; null is zero.
fn number(value: &[u8]) -> Result<u64, InvalidUsage> {
    match value {
        b"null" => Ok(0),
        value => crate::wire::json::integer(value).filter(|count| *count <= COUNT_MAX).ok_or(InvalidUsage),
    }
}

/// Fields of a vendor's answer that reach the caller; everything else stays here.
pub fn passes_down(name: Name, text: &[u8], dialect: Dialect) -> bool {
    const OPENAI: &[&[u8]] = &[b"openai-model"];
    const ANTHROPIC: &[&[u8]] = &[b"anthropic-organization-tier"];
    const GEMINI: &[&[u8]] = &[b"server-timing"];
    const COHERE: &[&[u8]] = &[];
    // What `invoke` used is told in its head only.
    const BEDROCK: &[&[u8]] =
        &[b"x-amzn-errortype", b"x-amzn-bedrock-input-token-count", b"x-amzn-bedrock-output-token-count"];
    match name {
        Name::ContentType | Name::ContentDisposition | Name::OpenAiProcessingMs | Name::OpenAiVersion => true,
        Name::Other => {
            let extra = match dialect {
                Dialect::OpenAi => OPENAI,
                Dialect::Anthropic => ANTHROPIC,
                Dialect::Gemini => GEMINI,
                Dialect::Cohere => COHERE,
                Dialect::Bedrock => BEDROCK,
            };
            extra.iter().any(|allowed| text.eq_ignore_ascii_case(allowed))
        }
        _ => false,
    }
}

/// The language that is translated under this name.
pub fn speech_of(tongue: call::Tongue) -> Option<&'static dyn speech::Speech> {
    ALL.iter().filter_map(|language| language.speech()).find(|speech| speech.tongue() == tongue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_name_of_its_own_and_endpoints() {
        for (place, language) in ALL.iter().enumerate() {
            assert!(!language.endpoints().is_empty());
            assert!(ALL[..place].iter().all(|other| other.name() != language.name()));
        }
    }
}
