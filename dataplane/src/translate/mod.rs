//! A call in its caller's language, to a body in its vendor's, and the answer back. Where both speak the same, nothing is
//! translated.

mod count;
mod embed;
mod generate;
mod rerank;

use weir_shared::catalog::{Dialect, Model, Untranslatable, Vendor};

use crate::dialect::answer::Answer;
use crate::dialect::call::Tongue;
use crate::dialect::fallen::Fallen;
use crate::dialect::relay::{self, Relay};
use crate::dialect::speech::{Framing, Heading, Malformed, ReadEvents, WriteEvents};
use crate::dialect::text::Text;
use crate::dialect::{self, Language, Reading};
use crate::memory::Hold;
use crate::parse::{self, Route};

/// One call between two languages.
pub struct Translation<'b> {
    kind: Kind<'b>,
    /// `None`: the languages are the same, and only the answer is brought into shape.
    pub body: Option<Vec<u8>>,
    /// The vendor's path, and what it needs behind it.
    pub route: Route,
    pub query: &'static [u8],
    /// Header fields that the vendor's language insists on.
    pub fields: &'static [u8],
    /// What was left out: hints, and what else the operator allows to drop.
    pub dropped: Vec<String>,
    /// What the body takes of the memory budget.
    pub hold: Hold,
}

enum Kind<'b> {
    Generate(Box<generate::Generation<'b>>),
    Embed(embed::Embedding<'b>),
    Count(count::Counting),
    Rank(rerank::Ranking<'b>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Untranslated {
    /// The caller's own language does not allow it.
    Unreadable(String),
    /// The vendor's language has no word for these.
    Unsayable(Vec<String>),
    /// The vendor has nothing of the kind.
    NoSuchService(&'static str),
}

/// What a call needs to be told in another language.
pub struct Task<'t, 'b> {
    pub route: &'t Route,
    pub asked: &'t parse::Call<'b>,
    pub body: &'b [u8],
    pub vendor: &'t Vendor,
    pub model: &'t Model,
    pub untranslatable: Untranslatable,
    /// Another may have to go on with the answer: it is said again step by step, also between two who speak the same.
    pub lasting: bool,
}

/// What an answer tells of itself, whoever gave it.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'n> {
    pub id: &'n str,
    pub model: &'n str,
    pub created_s: u64,
}

/// Whether calls of this endpoint reach models of this kind at vendors of any dialect.
pub fn reaches(route: &Route, model: &Model) -> bool {
    match &*model.kind {
        "chat" => generate::caller(route).is_some() || count::caller(route).is_some(),
        "embedding" => embed::caller(route).is_some(),
        "rerank" => rerank::caller(route).is_some(),
        _ => false,
    }
}

/// Whether an answer to calls of this endpoint has room for several; `None` when they generate nothing.
pub fn has_room_for_several(route: &Route) -> Option<bool> {
    generate::caller(route).map(|caller| matches!(caller.tongue(), Tongue::Chat | Tongue::Generate))
}

/// Brings a call into its vendor's language; `None` when it passes as it is.
pub fn translate<'b>(task: &Task<'_, 'b>) -> Result<Option<Translation<'b>>, Untranslated> {
    if let Some(caller) = generate::caller(task.route) {
        return generate::translate(task, caller);
    }
    if let Some(caller) = count::caller(task.route) {
        return count::translate(task, caller);
    }
    if let Some(caller) = rerank::caller(task.route) {
        return rerank::translate(task, caller);
    }
    match embed::caller(task.route) {
        Some(caller) => embed::translate(task, caller),
        None => Ok(None),
    }
}

/// The call once more, with what was said so far as the start of the answer.
pub fn go_on<'b>(task: &Task<'_, 'b>, said: Text<'b>) -> Result<Translation<'b>, Untranslated> {
    let caller = generate::caller(task.route).ok_or(Untranslated::NoSuchService("text"))?;
    generate::go_on(task, caller, said)
}

impl Translation<'_> {
    /// The frames of the vendor's stream and of the caller's; `None` when there is no stream to this kind of call.
    pub fn framings(&self) -> Option<(Framing, Framing)> {
        match &self.kind {
            Kind::Generate(generation) => Some((generation.vendor.framing(), generation.caller.framing())),
            Kind::Embed(_) | Kind::Count(_) | Kind::Rank(_) => None,
        }
    }

    /// What must live as long as the stream does.
    pub fn heading<'h>(&'h self, naming: Naming<'h>) -> Option<Heading<'h>> {
        let Kind::Generate(generation) = &self.kind else { return None };
        let Naming { id, model, created_s } = naming;
        Some(Heading { id, model, created_s, call: &generation.call, sse: true })
    }

    /// Who reads what another vendor goes on with.
    pub fn reader(&self, vendor: &Vendor) -> Option<(Framing, Box<dyn ReadEvents>)> {
        let Kind::Generate(generation) = &self.kind else { return None };
        Some((generation.vendor.framing(), generation.vendor.reader(vendor.deviations)))
    }

    /// Who writes the caller's stream.
    pub fn writer<'h>(&self, heading: &'h Heading<'h>) -> Option<Box<dyn WriteEvents + 'h>> {
        let Kind::Generate(generation) = &self.kind else { return None };
        Some(generation.caller.writer(heading))
    }

    /// A whole answer, read.
    pub fn fold(&self, vendor: &Vendor, body: &[u8], reading: &mut Reading) -> Option<Result<Answer, Malformed>> {
        let Kind::Generate(generation) = &self.kind else { return None };
        Some(relay::fold(generation.vendor.reader(vendor.deviations).as_mut(), body, reading))
    }

    /// A whole answer, as the caller reads it.
    pub fn say(&self, answer: &Answer, naming: Naming<'_>, out: &mut Vec<u8>) {
        if let Kind::Generate(generation) = &self.kind {
            generation.say(answer, naming, out);
        }
    }

    pub fn relay<'h>(&self, vendor: &Vendor, heading: &'h Heading<'h>) -> Option<Relay<'h>> {
        let Kind::Generate(generation) = &self.kind else { return None };
        let reader = generation.vendor.reader(vendor.deviations);
        Some(Relay::new(generation.vendor.framing(), reader, generation.caller.writer(heading)))
    }

    /// A whole answer, as the caller reads it.
    pub fn document(
        &self,
        vendor: &Vendor,
        naming: Naming<'_>,
        body: &[u8],
        reading: &mut Reading,
    ) -> Result<Vec<u8>, Malformed> {
        match &self.kind {
            Kind::Generate(generation) => generation.document(vendor, naming, body, reading),
            Kind::Embed(embedding) => embedding.document(self.route.language, naming, body, reading),
            Kind::Count(counting) => counting.document(body, reading),
            Kind::Rank(ranking) => ranking.document(naming, body, reading),
        }
    }

    /// An answer for which nobody has to be asked.
    pub fn known(&self) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Count(counting) => counting.known(),
            Kind::Generate(_) | Kind::Embed(_) | Kind::Rank(_) => None,
        }
    }
}

/// The language in which calls that generate reach a vendor's model.
fn spoken(vendor: &Vendor, model: &Model, caller: Tongue) -> Tongue {
    use weir_shared::catalog::OnlyPath;
    match vendor.dialect {
        Dialect::OpenAi => match (model.only, caller) {
            (Some(OnlyPath::Responses), _) => Tongue::Responses,
            (None, Tongue::Responses) if vendor.responses => Tongue::Responses,
            _ => Tongue::Chat,
        },
        Dialect::Anthropic => Tongue::Messages,
        Dialect::Gemini => Tongue::Generate,
        Dialect::Cohere => Tongue::Cohere,
        Dialect::Bedrock => Tongue::Converse,
    }
}

/// The endpoint of a dialect that has this path.
fn route_to(dialect: Dialect, path: &str) -> Option<Route> {
    let languages = dialect::ALL.iter().filter(|language| language.dialect() == dialect);
    for language in languages {
        if let Some(endpoint) = language.endpoints().iter().find(|endpoint| endpoint.path == path) {
            let language: &'static dyn Language = *language;
            return Some(Route { language, endpoint, model: None, id: None });
        }
    }
    None
}

/// Refused by name, or left out and told: hints always, the rest with the operator's leave.
fn judge(fallen: Fallen, untranslatable: Untranslatable) -> Result<Vec<String>, Untranslated> {
    if untranslatable == Untranslatable::Refuse && !fallen.wishes.is_empty() {
        return Err(Untranslated::Unsayable(fallen.refused()));
    }
    Ok(fallen.told())
}

/// The fields of a language's requests, with the call's own body.
fn written<'b>(kind: Kind<'b>, route: Route, tongue: Tongue, body: Vec<u8>, dropped: Vec<String>) -> Translation<'b> {
    Translation { kind, body: Some(body), route, query: b"", fields: tongue.fields(), dropped, hold: Hold::default() }
}
