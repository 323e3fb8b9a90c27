//! Calls for embeddings.

use weir_shared::catalog::{Dialect, Model, Vendor};

use super::{Kind, Naming, Task, Translation, Untranslated, judge, route_to, written};
use crate::dialect::call::Tongue;
use crate::dialect::embed::{Manner, Told, Wish};
use crate::dialect::fallen::Fallen;
use crate::dialect::speech::{Lost, Malformed, Unreadable};
use crate::dialect::{Language, Reading};
use crate::parse::Route;

pub struct Embedding<'b> {
    vendor: Manner,
    caller: Manner,
    wish: Wish<'b>,
}

/// How the caller asks, when this endpoint is for embeddings.
pub fn caller(route: &Route) -> Option<Manner> {
    // On Bedrock's path the body says whose form it is; such calls pass.
    let known = [Manner::OpenAi, Manner::Gemini, Manner::GeminiBatch, Manner::Cohere];
    known.into_iter().find(|manner| manner.path() == route.endpoint.path)
}

pub fn translate<'b>(task: &Task<'_, 'b>, caller: Manner) -> Result<Option<Translation<'b>>, Untranslated> {
    if task.vendor.dialect == task.route.language.dialect() {
        return Ok(None);
    }
    let wish = caller.read_call(task.body).map_err(|Unreadable(why)| Untranslated::Unreadable(why))?;
    let nowhere = Untranslated::NoSuchService("embeddings");
    let vendor = manner_of(task.vendor, task.model, wish.texts.len()).ok_or(nowhere.clone())?;
    let route = route_to(task.vendor.dialect, vendor.path()).ok_or(nowhere)?;
    let (mut lost, mut body) = (Vec::new(), Vec::with_capacity(task.body.len() + 128));
    vendor.write_call(&wish, &task.model.upstream, &mut lost, &mut body);
    let dropped = judge(fallen(&wish, &lost), task.untranslatable)?;
    let kind = Kind::Embed(Embedding { vendor, caller, wish });
    Ok(Some(written(kind, route, Tongue::Chat, body, dropped)))
}

fn fallen(wish: &Wish<'_>, lost: &[Lost]) -> Fallen {
    let mut fallen = Fallen { wishes: wish.unmapped.clone(), hints: Vec::new() };
    for lost in lost {
        let name = match lost {
            Lost::Thing(thing) | Lost::Hint(thing) => (*thing).to_owned(),
            Lost::Param(param) => format!("{param:?}"),
        };
        if lost.is_hint() { &mut fallen.hints } else { &mut fallen.wishes }.push(name);
    }
    fallen
}

fn manner_of(vendor: &Vendor, model: &Model, texts: usize) -> Option<Manner> {
    match vendor.dialect {
        Dialect::OpenAi => Some(Manner::OpenAi),
        Dialect::Gemini if texts == 1 => Some(Manner::Gemini),
        Dialect::Gemini => Some(Manner::GeminiBatch),
        Dialect::Cohere => Some(Manner::Cohere),
        // One path, and the bodies of whoever made the model.
        Dialect::Bedrock if model.upstream.contains("cohere.") => Some(Manner::CohereOnBedrock),
        Dialect::Bedrock => Some(Manner::Titan),
        Dialect::Anthropic => None,
    }
}

impl Embedding<'_> {
    pub fn document(
        &self,
        vendor: &'static dyn Language,
        naming: Naming<'_>,
        body: &[u8],
        reading: &mut Reading,
    ) -> Result<Vec<u8>, Malformed> {
        vendor.read_answer(body, reading)?;
        let vectors = self.vendor.read_answer(body)?;
        let prompt_tokens = reading.usage.map_or(0, |usage| usage.prompt_tokens());
        let told = Told { id: naming.id, model: naming.model, prompt_tokens, wish: &self.wish };
        let mut out = Vec::with_capacity(body.len() + 256);
        self.caller.write_answer(&vectors, &told, &mut out)?;
        Ok(out)
    }
}
