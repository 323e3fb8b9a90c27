//! Where a call goes, once there is a place for it: when all credentials of its vendors are at their limits it waits in line,
//! for as long as the operator says.

use std::pin::pin;
use std::time::Duration;

use weir_shared::routing::dice;

use super::Teller;
use super::candidates::Asked;
use super::waiter::Waiter;
use crate::accept::Sink;
use crate::clock;
use crate::dialect::BodyKind;
use crate::gauge::Counter;
use crate::refusal::Refusal;
use crate::route::line::Standing;
use crate::route::{self, Choice, Wish};
use crate::translate;

/// `None`: the caller has gone. No choice: the call is about an object, which lives at one vendor.
pub async fn placed<'l>(
    asked: &Asked<'_, 'l>,
    sink: &mut Sink<'_>,
    teller: &mut Teller<'l>,
) -> Result<Option<Option<Choice<'l>>>, Refusal> {
    let name = &asked.call.model;
    if asked.route.endpoint.body == BodyKind::Object && name.is_empty() {
        return Ok(Some(None));
    }
    let choice = choose(asked).inspect_err(|_| teller.asked = start_of(name))?;
    let rules = &asked.scene.live.snapshot.catalog.gateway.queue;
    match choice.queues_at(asked.scene.live).filter(|_| rules.wait_ms > 0) {
        None => Ok(Some(Some(choice))),
        Some(vendor) => {
            let Some(standing) = Standing::take(vendor, &asked.key.tenant.name, asked.key.priority, rules) else {
                return Ok(Some(Some(choice)));
            };
            // Only who waits pays for the room that this takes.
            Box::pin(wait(asked, standing, rules.wait_ms, choice, sink)).await
        }
    }
}

/// The first in line looks often, so that no place lies idle for long; the others only whether they are the first.
const FIRST_LOOKS_MS: u64 = 5;
const OTHERS_LOOK_MS: u64 = 25;

async fn wait<'l>(
    asked: &Asked<'_, 'l>,
    standing: Standing,
    for_ms: u64,
    mut choice: Choice<'l>,
    sink: &mut Sink<'_>,
) -> Result<Option<Option<Choice<'l>>>, Refusal> {
    asked.scene.core.gauges.add(Counter::Queued, 1);
    let until_ms = clock::now() / 1_000_000 + for_ms;
    loop {
        let is_first = standing.is_first();
        let pause = pin!(pause(if is_first { FIRST_LOOKS_MS } else { OTHERS_LOOK_MS }));
        if Waiter::Caller(sink).beside(pause).await.is_none() {
            return Ok(None);
        }
        let is_late = clock::now() / 1_000_000 >= until_ms;
        if is_first || is_late {
            choice = choose(asked)?;
        }
        // Who has waited in vain is refused like one who did not wait.
        if is_late || is_first && !choice.is_full() {
            return Ok(Some(Some(choice)));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tick of the table is too long for a place to lie idle, and few calls wait here"
)]
async fn pause(for_ms: u64) {
    monoio::time::sleep(Duration::from_millis(for_ms)).await;
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
        body: asked.bytes,
        reaches: &|model| translate::reaches(asked.route, model),
        seed: dice(scene.request_id.0 as u64, 0),
        now: clock::now(),
    };
    Ok(route::choose(&wish, scene.live, asked.key)?)
}
