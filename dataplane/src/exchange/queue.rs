//! Where a call goes, once there is a place for it: when all credentials of its vendors are at their limits it waits in line,
//! for as long as the operator says.

use std::pin::pin;

use weir_shared::fault::Code;
use weir_shared::routing::{Shape, dice};

use super::Teller;
use super::candidates::Asked;
use super::waiter::Waiter;
use crate::accept::Sink;
use crate::clock;
use crate::deadline::briefly;
use crate::dialect::BodyKind;
use crate::gauge::Counter;
use crate::refusal::Refusal;
use crate::route::line::{Standing, Stood, Turn};
use crate::route::{self, Choice, Wish};
use crate::translate;

#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and nearly always a choice")]
pub enum Placed<'l> {
    Chosen(Choice<'l>),
    /// There is nothing to choose: an object lives at one vendor.
    Object,
    /// The caller has gone while it waited.
    Gone,
}

pub async fn placed<'l>(
    asked: &Asked<'_, 'l>,
    sink: &mut Sink<'_>,
    teller: &mut Teller<'l>,
) -> Result<Placed<'l>, Refusal> {
    let name = &asked.call.model;
    if asked.route.endpoint.body == BodyKind::Object && name.is_empty() {
        return Ok(Placed::Object);
    }
    let choice = choose(asked).inspect_err(|_| teller.asked = start_of(name))?;
    let rules = &asked.scene.live.snapshot.catalog.gateway.queue;
    if rules.wait_ms == 0 {
        return Ok(Placed::Chosen(choice));
    }
    let now = clock::now();
    match choice.queues_at(asked.scene.live, asked.key, now) {
        None => Ok(Placed::Chosen(choice)),
        Some(line) => {
            let standing = Standing::take(line, &asked.key.tenant.name, asked.key.priority, rules, None);
            let standing = standing.ok_or_else(in_vain)?;
            asked.scene.core.gauges.add(Counter::Queued, 1);
            // Only who waits pays for the room that this takes.
            Box::pin(wait(asked, standing, choice.shape, now / 1_000_000, sink)).await
        }
    }
}

/// The place was somebody else's by the time it was gone for: in line again, where it was, for what is left of its time.
/// `None`: the caller has gone.
pub async fn placed_again<'l>(
    asked: &Asked<'_, 'l>,
    shape: Shape,
    stood: Option<Stood>,
    sink: &mut Sink<'_>,
) -> Result<Option<Choice<'l>>, Refusal> {
    let rules = &asked.scene.live.snapshot.catalog.gateway.queue;
    let now = clock::now();
    let since_ms = stood.map_or(now / 1_000_000, |stood| stood.since_ms);
    if now / 1_000_000 >= since_ms + rules.wait_ms {
        return Err(in_vain());
    }
    // Whatever looks free was not: the line is where it is found out when it is.
    let choice = route::choose_again(asked.scene.live, asked.key, &asked.call.model, shape, now)?;
    let Some(line) = choice.line(asked.scene.live, asked.key) else { return Ok(Some(choice)) };
    let standing = Standing::take(line, &asked.key.tenant.name, asked.key.priority, rules, stood);
    let standing = standing.ok_or_else(in_vain)?;
    if stood.is_none() {
        asked.scene.core.gauges.add(Counter::Queued, 1);
    }
    // What looks free may be too little for this call: it is not tried again every moment.
    let pause_ms = ((now / 1_000_000).saturating_sub(since_ms) / 16).clamp(FRONT_LOOKS_MS, OTHERS_LOOK_MS);
    let pause = pin!(briefly(pause_ms));
    if Waiter::Caller(sink).beside(pause).await.is_none() {
        return Ok(None);
    }
    Ok(match wait(asked, standing, shape, since_ms, sink).await? {
        Placed::Chosen(choice) => Some(choice),
        Placed::Object | Placed::Gone => None,
    })
}

/// Who is in front looks often, so that no place lies idle for long; the others only whether they are.
const FRONT_LOOKS_MS: u64 = 2;
const OTHERS_LOOK_MS: u64 = 20;

async fn wait<'l>(
    asked: &Asked<'_, 'l>,
    standing: Standing,
    shape: Shape,
    since_ms: u64,
    sink: &mut Sink<'_>,
) -> Result<Placed<'l>, Refusal> {
    let live = asked.scene.live;
    let until_ms = since_ms + live.snapshot.catalog.gateway.queue.wait_ms;
    loop {
        let (turn, now) = (standing.turn(), clock::now());
        let goes_past = || standing.vendor(live).is_some_and(|vendor| route::has_own_room(vendor, asked.key, now));
        if turn == Turn::Look || goes_past() {
            let mut choice = route::choose_again(live, asked.key, &asked.call.model, shape, now)?;
            // When it is no place that is missing any more, there is nothing to stand in line for.
            if !choice.is_full() {
                choice.stood = Some(standing.stood(since_ms));
                return Ok(Placed::Chosen(choice));
            }
        }
        if clock::now() / 1_000_000 >= until_ms {
            return Err(in_vain());
        }
        let pause = pin!(briefly(if turn == Turn::Later { OTHERS_LOOK_MS } else { FRONT_LOOKS_MS }));
        if Waiter::Caller(sink).beside(pause).await.is_none() {
            return Ok(Placed::Gone);
        }
    }
}

/// Too many wait already, or this one has waited long enough: nobody goes past the line.
fn in_vain() -> Refusal {
    Refusal::plain(Code::VendorRateLimited).retry_in(1_000_000_000)
}

/// Enough to find a mistyped name in the log; a caller may call a model anything.
fn start_of(name: &str) -> String {
    name[..name.floor_char_boundary(128)].to_owned()
}

fn choose<'l>(asked: &Asked<'_, 'l>) -> Result<Choice<'l>, Refusal> {
    let scene = asked.scene;
    let wish = Wish {
        live: scene.live,
        key: asked.key,
        route: asked.route,
        call: asked.call,
        request: asked.request,
        body: asked.prompt(),
        reaches: &|model| translate::reaches(asked.route, model),
        seed: dice(scene.request_id.0 as u64, 0),
        now: clock::now(),
    };
    Ok(route::choose(&wish, scene.live, asked.key)?)
}
