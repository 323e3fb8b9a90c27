//! Questions of how many tokens a call has: asked of the vendor where it can tell, guessed otherwise, and said so.

use weir_shared::catalog::Dialect;
use weir_shared::usage::Usage;

use super::{Kind, Task, Translation, Untranslated, generate, judge, route_to, spoken, written};
use crate::dialect::call::Tongue;
use crate::dialect::count;
use crate::dialect::fallen::Fallen;
use crate::dialect::speech::{Malformed, Speech};
use crate::dialect::{self, Reading};
use crate::parse::Route;

pub struct Counting {
    vendor: Tongue,
    caller: Tongue,
    /// No vendor is asked: a guess from the size of the call.
    guess: Option<u64>,
}

/// The caller's language, when this endpoint is its one that counts.
pub fn caller(route: &Route) -> Option<&'static dyn Speech> {
    let of = |tongue: &&Tongue| count::path(**tongue) == Some(route.endpoint.path);
    let tongue = Tongue::ALL.iter().find(of)?;
    dialect::speech_of(*tongue)
}

/// Bytes of a call's own words that make a token, roughly, of most vendors' models.
pub const BYTES_PER_TOKEN: u64 = 4;

pub fn translate<'b>(
    task: &Task<'_, 'b>,
    caller: &'static dyn Speech,
) -> Result<Option<Translation<'b>>, Untranslated> {
    let tongue = counted_in(task, caller.tongue());
    if tongue == Some(caller.tongue()) {
        return Ok(None);
    }
    let call = generate::read(caller, count::call_within(caller.tongue(), task.body), false)?;
    let Some(tongue) = tongue else {
        let guess = Some(task.body.len() as u64 / BYTES_PER_TOKEN + 1);
        let counting = Counting { vendor: caller.tongue(), caller: caller.tongue(), guess };
        return Ok(Some(written(Kind::Count(counting), task.route.clone(), Tongue::Chat, Vec::new(), Vec::new())));
    };
    let nowhere = Untranslated::NoSuchService("counts of tokens");
    let vendor = dialect::speech_of(tongue).ok_or(nowhere.clone())?;
    let path = count::path(tongue).ok_or(nowhere.clone())?;
    let route = route_to(task.vendor.dialect, path).ok_or(nowhere)?;
    let (mut lost, mut written_call) = (Vec::new(), Vec::new());
    vendor.write_call(&call, &generate::recipient(task), &mut lost, &mut written_call);
    let dropped = judge(Fallen::of(caller, &call, &lost), task.untranslatable)?;
    let mut body = Vec::with_capacity(written_call.len() + 64);
    count::question(tongue, &written_call, &task.model.upstream, &mut body);
    let counting = Counting { vendor: tongue, caller: caller.tongue(), guess: None };
    Ok(Some(written(Kind::Count(counting), route, tongue, body, dropped)))
}

/// The language in which the vendor counts; `None` when it does not.
fn counted_in(task: &Task<'_, '_>, caller: Tongue) -> Option<Tongue> {
    let tongue = match task.vendor.dialect {
        Dialect::OpenAi if task.vendor.responses => Tongue::Responses,
        _ => spoken(task.vendor, task.model, caller),
    };
    count::path(tongue).map(|_| tongue)
}

impl Counting {
    pub fn document(&self, body: &[u8], reading: &mut Reading) -> Result<Vec<u8>, Malformed> {
        let tokens = count::read_answer(self.vendor, body).ok_or(Malformed("no count in it"))?;
        // Nothing is generated, and no vendor takes money for it.
        (reading.usage, reading.finished) = (Some(Usage::NONE), true);
        let mut out = Vec::new();
        count::write_answer(self.caller, tokens, &mut out);
        Ok(out)
    }

    pub fn known(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        count::write_answer(self.caller, self.guess?, &mut out);
        Some(out)
    }
}
