//! A call in its caller's language, to a body in its vendor's. Where both speak the same, nothing is translated.

use weir_shared::catalog::{Dialect, Model, OnlyPath, Untranslatable, Vendor};

use crate::dialect::call::{Call, Tongue};
use crate::dialect::speech::{Asked, Heading, Lost, Recipient, Speech, Unreadable};
use crate::dialect::{self, Language};
use crate::memory::Hold;
use crate::parse::{self, Route};

/// One call between two languages.
pub struct Translation<'b> {
    /// Who reads what the vendor says, and who writes what the caller reads.
    pub vendor: &'static dyn Speech,
    pub caller: &'static dyn Speech,
    pub call: Call<'b>,
    /// `None`: the languages are the same, and only the answer is brought into shape.
    pub body: Option<Vec<u8>>,
    /// The vendor's path.
    pub route: Route,
    /// What was left out, with the operator's leave.
    pub dropped: Vec<String>,
    /// What the body takes of the memory budget.
    pub hold: Hold,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Untranslated {
    /// The caller's own language does not allow it.
    Unreadable(String),
    /// The vendor's language has no word for these.
    Unsayable(Vec<String>),
}

/// What is refused or dropped is told by name, up to here.
const NAMES_MAX: usize = 16;

/// The language of a vendor that this call is written in; `None` when it passes as it is.
pub fn spoken(route: &Route, vendor: &Vendor, model: &Model) -> Option<Tongue> {
    let caller = caller_tongue(route)?;
    let spoken = match vendor.dialect {
        Dialect::OpenAi => match (model.only, caller) {
            (Some(OnlyPath::Responses), _) => Tongue::Responses,
            (None, Tongue::Responses) if vendor.responses => Tongue::Responses,
            _ => Tongue::Chat,
        },
        Dialect::Anthropic => Tongue::Messages,
        Dialect::Gemini => Tongue::Generate,
        Dialect::Cohere => Tongue::Cohere,
    };
    (spoken != caller || normalised(vendor)).then_some(spoken)
}

/// The caller's language, when this endpoint is the one that generates.
fn caller_tongue(route: &Route) -> Option<Tongue> {
    let tongue = route.language.speech()?.tongue();
    [true, false].iter().any(|streams| tongue.path(*streams) == route.endpoint.path).then_some(tongue)
}

/// Whether calls of this endpoint reach vendors of another dialect.
pub fn is_translated(route: &Route) -> bool {
    caller_tongue(route).is_some()
}

/// A vendor that departs from its dialect is not passed through.
fn normalised(vendor: &Vendor) -> bool {
    !vendor.deviations.is_empty()
}

/// Brings a call into the vendor's language.
pub fn translate<'b>(
    route: &Route,
    asked: &parse::Call<'_>,
    body: &'b [u8],
    vendor: &Vendor,
    model: &Model,
    spoken: Tongue,
    untranslatable: Untranslatable,
) -> Result<Translation<'b>, Untranslated> {
    let unknown = || Untranslated::Unreadable("this language is not translated".into());
    let caller = route.language.speech().ok_or_else(unknown)?;
    let writer = dialect::speech_of(spoken).ok_or_else(unknown)?;
    let path = route_of(spoken, asked.stream).ok_or_else(unknown)?;
    if spoken == caller.tongue() {
        let call = Call { stream: asked.stream, usage_asked: asked.usage_asked, ..Call::default() };
        return Ok(Translation {
            vendor: writer,
            caller,
            call,
            body: None,
            route: route.clone(),
            dropped: Vec::new(),
            hold: Hold::default(),
        });
    }
    let mut call = caller
        .read_call(&Asked { body, streams: asked.stream })
        .map_err(|Unreadable(why)| Untranslated::Unreadable(why))?;
    (call.stream, call.usage_asked) = (asked.stream, asked.usage_asked);
    let to = Recipient {
        model: &model.upstream,
        output_tokens_max: model.output_tokens_max,
        reasoning: model.reasoning,
        thinking: model.thinking,
        deviations: vendor.deviations,
    };
    let mut lost = Vec::new();
    let mut written = Vec::with_capacity(body.len() + body.len() / 4 + 256);
    writer.write_call(&call, &to, &mut lost, &mut written);
    let dropped = names(caller, &call, &lost);
    if !dropped.is_empty() && untranslatable == Untranslatable::Refuse {
        return Err(Untranslated::Unsayable(dropped));
    }
    Ok(Translation { vendor: writer, caller, call, body: Some(written), route: path, dropped, hold: Hold::default() })
}

/// What got lost, as the caller named it. It goes into errors and header fields: nothing but graphic ASCII.
fn names(caller: &dyn Speech, call: &Call<'_>, lost: &[Lost]) -> Vec<String> {
    let path = |lost: &Lost| match lost {
        Lost::Thing(thing) => (*thing).to_owned(),
        Lost::Param(param) => {
            let known = caller.params().iter().find(|(known, _)| known == param);
            known.map_or_else(|| format!("{param:?}"), |(_, path)| (*path).to_owned())
        }
    };
    let clean = |name: String| -> String {
        let kept = name.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ');
        kept.filter(|letter| !matches!(letter, '"' | '\\' | ',')).take(80).collect()
    };
    let mut names: Vec<String> = call.unmapped.iter().cloned().chain(lost.iter().map(path)).map(clean).collect();
    names.sort();
    names.dedup();
    names.truncate(NAMES_MAX);
    names
}

/// The path of the vendor's language.
fn route_of(tongue: Tongue, streams: bool) -> Option<Route> {
    let speaks = |language: &&&'static dyn Language| language.speech().is_some_and(|speech| speech.tongue() == tongue);
    let language = *dialect::ALL.iter().find(speaks)?;
    let endpoint = language.endpoints().iter().find(|endpoint| endpoint.path == tongue.path(streams))?;
    Some(Route { language, endpoint, model: None, id: None })
}

impl Translation<'_> {
    pub fn heading<'h>(&'h self, id: &'h str, model: &'h str, created_s: u64) -> Heading<'h> {
        Heading { id, model, created_s, call: &self.call, sse: true }
    }

    /// What the vendor's path needs behind it.
    pub fn query(&self) -> &'static [u8] {
        if self.call.stream { self.vendor.tongue().stream_query() } else { b"" }
    }
}
