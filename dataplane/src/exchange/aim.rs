//! A call in the words of one candidate.

use weir_shared::catalog::{Model, Vendor};
use weir_shared::fault::Code;

use super::attempt::Plan;
use super::candidates::Asked;
use super::objects;
use crate::buffer;
use crate::dialect::text::Text;
use crate::live::Target;
use crate::memory::Hold;
use crate::parse::{self, Splices};
use crate::refusal::Refusal;
use crate::translate::{self, Task, Translation};
use crate::upstream::shape;

pub struct Aim<'a, 'l> {
    pub model: Option<&'l Model>,
    pub vendor: &'l Vendor,
    target: &'l Target,
    pub translation: Option<Box<Translation<'a>>>,
    splices: Splices,
}

/// How a candidate is to be told.
pub enum Telling<'a> {
    Once,
    /// Another may have to go on with what it says.
    Lasting,
    /// Goes on with what was said so far.
    GoingOn(Text<'a>),
}

impl<'a, 'l> Aim<'a, 'l> {
    pub fn at(
        asked: &Asked<'a, 'l>,
        model: Option<&'l Model>,
        vendor: u32,
        telling: Telling<'a>,
    ) -> Result<Self, Refusal> {
        let live = asked.scene.live;
        let (vendor, target) = live.target(vendor);
        let translation = translated(asked, vendor, model, telling)?;
        let foreign = translation.as_ref().and_then(|translation| translation.body.as_deref());
        let asked_route = translation.as_ref().map_or(asked.route, |translation| &translation.route);
        let shape =
            shape::rule(vendor, asked_route, model.is_some()).filter(|rule| rule.changes_body() && !asked.is_form);
        let mut splices = Splices::default();
        if foreign.is_none() {
            let leaves = shape.is_some_and(|rule| rule.without.iter().any(|name| &**name == "model"));
            let named: &str = if leaves { &asked.call.model } else { model.map_or("", |model| &model.upstream) };
            splices = parse::splices(asked.route, asked.call, named, asked.bytes);
            objects::unseal_into(&mut splices, live, asked.key, asked.call, asked.bytes);
        }
        if let Some(rule) = shape {
            shape::splice(rule, foreign.unwrap_or(asked.bytes), &mut splices);
        }
        Ok(Self { model, vendor, target, translation, splices })
    }

    pub fn plan<'p>(&'p self, asked: &'p Asked<'_, 'l>, tokens: u64, admitted_ms: u64) -> Plan<'p, 'l> {
        let foreign = self.translation.as_ref().and_then(|translation| translation.body.as_deref());
        Plan {
            scene: asked.scene,
            route: asked.route,
            translation: self.translation.as_deref(),
            vendor: self.vendor,
            target: self.target,
            model: self.model,
            asked_model: &asked.call.model,
            key: asked.key,
            query: asked.query,
            request: asked.request,
            body: foreign.unwrap_or(asked.bytes),
            splices: &self.splices,
            tokens,
            stream: asked.call.stream,
            admitted_ms,
            pinned: asked.pin.map(|pin| pin.credential),
            object_id: asked.pin.map_or("", |pin| &pin.id),
            operators: false,
        }
    }
}

/// The call in its vendor's language, when that is another than its caller's.
fn translated<'b>(
    asked: &Asked<'b, '_>,
    vendor: &Vendor,
    model: Option<&Model>,
    telling: Telling<'b>,
) -> Result<Option<Box<Translation<'b>>>, Refusal> {
    let Some(model) = model else { return Ok(None) };
    let untranslatable = asked.scene.live.snapshot.catalog.gateway.untranslatable;
    let body = asked.opened.unwrap_or(asked.bytes);
    let lasting = matches!(telling, Telling::Lasting);
    let task = Task { route: asked.route, asked: asked.call, body, vendor, model, untranslatable, lasting };
    let translation = match telling {
        Telling::GoingOn(said) => Some(translate::go_on(&task, said)?),
        Telling::Once | Telling::Lasting => translate::translate(&task)?,
    };
    let Some(mut translation) = translation else { return Ok(None) };
    let more = translation.body.as_ref().map_or(0, Vec::len);
    if more > buffer::LARGE {
        let overloaded = |_| Refusal::plain(Code::Overloaded).retry_in(1_000_000_000);
        let (key, from) = (asked.key.id, asked.scene.from);
        translation.hold = Hold::of_body(key, from);
        translation.hold.grow_body_to(more as u64).map_err(overloaded)?;
    }
    Ok(Some(Box::new(translation)))
}
