//! Calls that generate: chat, in six languages.

use weir_shared::catalog::Vendor;

use super::count::BYTES_PER_TOKEN;
use super::{Kind, Naming, Task, Translation, Untranslated, judge, route_to, spoken, written};
use crate::dialect::answer::Answer;
use crate::dialect::call::{Call, Format, Role, Tongue, ToolChoice, Turn, What};
use crate::dialect::fallen::Fallen;
use crate::dialect::speech::{Asked, Heading, Malformed, Recipient, Speech, Unreadable};
use crate::dialect::text::Text;
use crate::dialect::{self, Reading, StreamWhen, relay};
use crate::memory::Hold;
use crate::parse::Route;

pub struct Generation<'b> {
    /// Who reads what the vendor says, and who writes what the caller reads.
    pub vendor: &'static dyn Speech,
    pub caller: &'static dyn Speech,
    pub call: Call<'b>,
    /// The path asked for a stream, and nothing for events: the whole answer is a list of one.
    pub listed: bool,
}

/// The caller's language, when this endpoint is its one that generates.
pub fn caller(route: &Route) -> Option<&'static dyn Speech> {
    let speech = route.language.speech()?;
    let path = route.endpoint.path;
    [true, false].iter().any(|streams| speech.tongue().path(*streams) == path).then_some(speech)
}

pub fn translate<'b>(
    task: &Task<'_, 'b>,
    caller: &'static dyn Speech,
) -> Result<Option<Translation<'b>>, Untranslated> {
    let tongue = spoken(task.vendor, task.model, caller.tongue());
    if tongue == caller.tongue() {
        return Ok(normalised(task, caller));
    }
    let mut call = read(caller, task.body, task.asked.stream)?;
    call.usage_asked = task.asked.usage_asked;
    said_again(task, caller, tongue, call).map(Some)
}

/// For another model to go on with. What it would answer differently for having begun is not asked of it.
pub fn go_on<'b>(
    task: &Task<'_, 'b>,
    caller: &'static dyn Speech,
    said: Text<'b>,
) -> Result<Translation<'b>, Untranslated> {
    let mut call = read(caller, task.body, task.asked.stream)?;
    call.usage_asked = task.asked.usage_asked;
    if !is_plain(&call) {
        return Err(Untranslated::Unsayable(vec!["an answer that was begun".into()]));
    }
    // It has been thought over; and where thoughts are wanted, no vendor takes an answer that lacks them.
    call.reasoning = None;
    // What was said counts as said.
    let told = said.raw().len() as u64 / BYTES_PER_TOKEN;
    call.tokens_max = call.tokens_max.map(|most| most.saturating_sub(told).max(1));
    let part = What::Text(said).into();
    match call.turns.last_mut().filter(|turn| turn.role == Role::Assistant) {
        Some(turn) => turn.parts.push(part),
        None => call.turns.push(Turn { role: Role::Assistant, name: None, parts: vec![part] }),
    }
    said_again(task, caller, spoken(task.vendor, task.model, caller.tongue()), call)
}

/// One answer in words: half an object, or a call that is owed, is nothing to go on with.
fn is_plain(call: &Call<'_>) -> bool {
    let owes_call = match &call.tool_choice {
        None | Some(ToolChoice::Auto | ToolChoice::None) => false,
        Some(ToolChoice::Among { required, .. }) => *required,
        Some(ToolChoice::Required | ToolChoice::Named(_)) => true,
    };
    call.choices.is_none_or(|choices| choices <= 1) && matches!(call.format, None | Some(Format::Text)) && !owes_call
}

fn said_again<'b>(
    task: &Task<'_, 'b>,
    caller: &'static dyn Speech,
    tongue: Tongue,
    call: Call<'b>,
) -> Result<Translation<'b>, Untranslated> {
    let streams = task.asked.stream;
    let nowhere = Untranslated::NoSuchService("text");
    let vendor = dialect::speech_of(tongue).ok_or(nowhere.clone())?;
    let route = route_to(task.vendor.dialect, tongue.path(streams)).ok_or(nowhere)?;
    let mut lost = Vec::new();
    let mut body = Vec::with_capacity(task.body.len() + task.body.len() / 4 + ROOM);
    vendor.write_call(&call, &recipient(task), &mut lost, &mut body);
    let dropped = judge(Fallen::of(caller, &call, &lost), task.untranslatable)?;
    let kind = Kind::Generate(Box::new(Generation { vendor, caller, call, listed: is_listed(task) }));
    let mut translation = written(kind, route, tongue, body, dropped);
    translation.query = if streams { tongue.stream_query() } else { b"" };
    Ok(translation)
}

/// What a body grows by at most, of small ones.
const ROOM: usize = 512;

/// A vendor that departs from its own language: its calls pass, its answers are brought into shape.
fn normalised<'b>(task: &Task<'_, 'b>, caller: &'static dyn Speech) -> Option<Translation<'b>> {
    if task.vendor.deviations.of_answers().is_empty() && !task.lasting {
        return None;
    }
    let (stream, usage_asked) = (task.asked.stream, task.asked.usage_asked);
    let call = Call { stream, usage_asked, ..Call::default() };
    Some(Translation {
        kind: Kind::Generate(Box::new(Generation { vendor: caller, caller, call, listed: is_listed(task) })),
        body: None,
        route: task.route.clone(),
        query: b"",
        fields: b"",
        dropped: Vec::new(),
        hold: Hold::default(),
    })
}

fn is_listed(task: &Task<'_, '_>) -> bool {
    task.route.endpoint.stream == StreamWhen::Always && !task.asked.stream
}

pub fn read<'b>(caller: &dyn Speech, body: &'b [u8], streams: bool) -> Result<Call<'b>, Untranslated> {
    let read = caller.read_call(&Asked { body, streams });
    let mut call = read.map_err(|Unreadable(why)| Untranslated::Unreadable(why))?;
    call.stream = streams;
    Ok(call)
}

pub fn recipient<'t>(task: &Task<'t, '_>) -> Recipient<'t> {
    Recipient {
        model: &task.model.upstream,
        output_tokens_max: task.model.output_tokens_max,
        reasoning: task.model.reasoning,
        thinking: task.model.thinking,
        deviations: task.vendor.deviations,
    }
}

impl Generation<'_> {
    pub fn document(
        &self,
        vendor: &Vendor,
        naming: Naming<'_>,
        body: &[u8],
        reading: &mut Reading,
    ) -> Result<Vec<u8>, Malformed> {
        let mut reader = self.vendor.reader(vendor.deviations);
        let answer = relay::fold(reader.as_mut(), body, reading)?;
        let mut out = Vec::with_capacity(body.len() + ROOM);
        self.say(&answer, naming, &mut out);
        Ok(out)
    }

    pub fn say(&self, answer: &Answer, naming: Naming<'_>, out: &mut Vec<u8>) {
        let Naming { id, model, created_s } = naming;
        let heading = Heading { id, model, created_s, call: &self.call, sse: !self.listed };
        self.caller.write_answer(answer, &heading, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tongue_has_its_endpoints() {
        for language in dialect::ALL {
            let Some(speech) = language.speech() else { continue };
            let tongue: Tongue = speech.tongue();
            for streams in [true, false] {
                assert!(route_to(language.dialect(), tongue.path(streams)).is_some(), "{tongue:?} {streams}");
            }
        }
    }
}
