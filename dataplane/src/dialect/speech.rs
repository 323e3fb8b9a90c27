//! The four duties of a language that is translated: read a call, write a call, read the steps of an answer, write them.

use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;

use super::answer::Answer;
use super::call::{Call, Param, ParamTable, Params, Tongue};
use super::event::Event;
use super::text::Json;

pub trait Speech: Sync {
    fn tongue(&self) -> Tongue;

    /// The single values that this language knows, by their paths.
    fn params(&self) -> ParamTable;

    /// Reads what a caller wants from a body that is valid JSON. Every member of it ends up in the call.
    fn read_call<'a>(&self, asked: &Asked<'a>) -> Result<Call<'a>, Unreadable>;

    /// Writes a body for a vendor. What its language cannot say goes to `lost`, by name.
    fn write_call(&self, call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>);

    /// How the events of a stream follow each other.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Reads one answer of a vendor.
    fn reader(&self, deviations: Deviations) -> Box<dyn ReadEvents>;

    /// Writes one stream to a caller.
    fn writer<'h>(&self, heading: &'h Heading<'h>) -> Box<dyn WriteEvents + 'h>;

    /// Writes a whole answer to a caller.
    fn write_answer(&self, answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Sse,
    /// Binary frames with checksums, as AWS sends them.
    EventStream,
}

/// A caller's request, as far as its path told it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub body: &'a [u8],
    /// The path asked for a stream; languages that say it in the body look there.
    pub streams: bool,
}

/// A call that even its own language does not allow. The message names the member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable(pub String);

/// The model and the vendor that a call is written for.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'r> {
    /// The model's name at the vendor.
    pub model: &'r str,
    /// Vendors that demand a limit get this one when the caller named none. 0: unknown.
    pub output_tokens_max: u64,
    pub reasoning: bool,
    /// How it is told how much to think.
    pub thinking: Thinking,
    pub deviations: Deviations,
}

/// Something that a vendor's language cannot say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    Param(Param),
    /// In words that fit after "cannot take": `images by URL`.
    Thing(&'static str),
    /// What changes no answer, see [`super::hints`].
    Hint(&'static str),
}

impl Lost {
    /// The call is made all the same, and its caller told. Who the caller's own user is and where a prompt is cached are
    /// hints like those.
    pub fn is_hint(&self) -> bool {
        matches!(self, Self::Hint(_) | Self::Param(Param::User | Param::CacheKey))
    }

    /// Once, however often it was said.
    pub fn tell(self, lost: &mut Vec<Self>) {
        if !lost.contains(&self) {
            lost.push(self);
        }
    }
}

pub trait ReadEvents {
    /// One event of a stream. `name` is what its frame calls it, empty when nothing.
    fn read_event(&mut self, name: &[u8], data: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<Step, Malformed>;

    /// The stream is over, by its last event or by its end: what is still open is closed.
    fn end(&mut self, each: &mut dyn FnMut(Event<'_>));

    /// A whole answer, as the same steps.
    fn read_answer(&mut self, body: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    More,
    /// Nothing that follows belongs to the answer.
    Over,
}

/// No event of this language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl From<crate::wire::json::NotJson> for Malformed {
    fn from(fault: crate::wire::json::NotJson) -> Self {
        Self(fault.why)
    }
}

pub trait WriteEvents {
    /// Appends what the caller is to read, framed. Nothing is due for some events.
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// A legal end; the last call but for none.
    fn end(&mut self, out: &mut Vec<u8>);

    /// Bytes that are kept until they may leave, or that the end repeats.
    fn held(&self) -> usize {
        0
    }

    /// The answer breaks off: an error in the caller's language, and nothing after it.
    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>);
}

/// What an answer tells about itself, whoever gave it.
#[derive(Debug)]
pub struct Heading<'h> {
    /// Ours: letters, digits and dashes.
    pub id: &'h str,
    /// As the caller named it.
    pub model: &'h str,
    pub created_s: u64,
    pub call: &'h Call<'h>,
    /// A stream leaves as server-sent events; Gemini's callers who do not ask for them get one JSON array, also of a single
    /// whole answer.
    pub sse: bool,
}

/// Takes a member of a call's body when it is in the language's table. `prefix` is the path of its object, with the dot.
pub fn read_param<'a>(table: ParamTable, prefix: &str, key: &[u8], value: &'a [u8], params: &mut Params<'a>) -> bool {
    let found = table
        .iter()
        .find(|(_, path)| path.strip_prefix(prefix).is_some_and(|rest| !rest.contains('.') && rest.as_bytes() == key));
    if let Some((param, _)) = found {
        params.set(*param, Json::of(value));
    }
    found.is_some()
}

/// What a language's table does not hold, of what the caller gave.
pub fn lose_params(table: ParamTable, call: &Call<'_>, all: &[Param], lost: &mut Vec<Lost>) {
    let unknown = |param: &&Param| call.params.get(**param).is_some() && table.iter().all(|(known, _)| known != *param);
    lost.extend(all.iter().filter(unknown).map(|param| Lost::Param(*param)));
}
