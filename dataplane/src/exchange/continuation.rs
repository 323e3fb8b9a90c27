//! An answer that breaks off in the middle of its words goes on: the next candidate gets the call once more with what was
//! said so far as the start of its own answer, and the caller reads on in the same stream.
//!
//! Only where the route says so; only words, never a call or a half of an object; and only candidates that the catalog says
//! take an answer that was begun (`can = ["prefill"]`). Each part is billed at its own candidate's prices.

use std::cell::Cell;

use weir_shared::ledger::Outcome;
use weir_shared::policy::time::Times;

use super::aim::Aim;
use super::attempt::{self, Attempted, Found, Missed, Plan};
use super::candidates::{Asked, Remaining, hand_over};
use super::deliver::{self, Delivered, Manner, Wants};
use super::waiter::Waiter;
use crate::accept::{HEAD_ROOM, Sink};
use crate::buffer;
use crate::dialect::relay::Relay;
use crate::gauge::Counter;
use crate::meter::Meter;

/// What all candidates of the call share.
pub struct Way<'w> {
    pub tokens: u64,
    pub began_ms: u64,
    pub calls: &'w Cell<usize>,
}

/// Asks one candidate and delivers what it answers, and has others end what it does not. `Err`: the caller has heard
/// nothing yet.
pub async fn run<'a, 'l>(
    remaining: &mut Remaining,
    asked: &Asked<'a, 'l>,
    aim: &Aim<'a, 'l>,
    way: &Way<'_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
) -> Result<Delivered, Missed> {
    let plan = aim.plan(asked, way.tokens, way.began_ms);
    let times = plan.times();
    let round = remaining.round(&times, way.began_ms, way.calls);
    let elsewhere = remaining.may_go_on(way.calls) && remaining.has_more();
    let Attempted::Answered(mut found) =
        attempt::run(&plan, &mut Waiter::Caller(sink), meter.calls(), &times, &round).await?
    else {
        return Ok(Delivered::gone(meter));
    };
    let heading = plan.heading();
    let relay = heading.as_ref().and_then(|heading| plan.relay(heading));
    let streams = matches!(deliver::manner(&plan, &found.answer), Ok(Manner::Stream));
    let Some(mut relay) = relay.filter(|_| streams) else {
        return hand_over(&plan, asked, &mut found, sink, meter, &times, elsewhere).await;
    };
    relay.remember();
    match deliver_part(&plan, asked, &mut found, &mut relay, sink, meter, &times, elsewhere).await {
        Err(missed) if missed.said => mend(remaining, asked, &plan, missed, relay, way, sink, meter).await,
        other => other,
    }
}

#[expect(clippy::too_many_arguments, reason = "an answer, and all that watches over it")]
async fn deliver_part<'l>(
    plan: &Plan<'_, 'l>,
    asked: &Asked<'_, 'l>,
    Found { answer, pass, trial }: &mut Found<'l>,
    relay: &mut Relay<'_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
    times: &Times,
    elsewhere: bool,
) -> Result<Delivered, Missed> {
    let wants = Wants { usage: asked.call.usage_asked, elsewhere, goes_on: true };
    let told = deliver::stream(plan, answer, pass, trial, sink, meter, wants, times, Some(relay)).await;
    pass.used(meter.reading.usage.map_or(plan.tokens, |usage| usage.tokens()));
    told
}

/// One after the other, until one has ended it or nobody is left.
#[expect(clippy::too_many_arguments, reason = "an answer, and all that watches over it")]
async fn mend<'a, 'l>(
    remaining: &mut Remaining,
    asked: &Asked<'a, 'l>,
    first: &Plan<'_, 'l>,
    mut missed: Missed,
    mut relay: Relay<'_>,
    way: &Way<'_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
) -> Result<Delivered, Missed> {
    let mut used = meter.carry(Outcome::Partial);
    while let Some(said) = relay.begun()
        && let Some(aim) = remaining.goes_on(asked, &said, way.calls)
    {
        asked.scene.core.gauges.add(Counter::Continuations, 1);
        meter.continued();
        let plan = aim.plan(asked, way.tokens, way.began_ms);
        let times = plan.times();
        let round = remaining.round(&times, way.began_ms, way.calls);
        let asking = attempt::run(&plan, &mut Waiter::Caller(sink), meter.calls(), &times, &round).await;
        let mut found = match asking {
            Ok(Attempted::Answered(found)) => found,
            Ok(Attempted::Gone) => return Ok(Delivered::gone(meter)),
            // Its calls are noted as what they were. Whose answer it is has not changed.
            Err(_) => continue,
        };
        let earlier = meter.calls().len() - 1;
        meter.aim_at_call(aim.model, aim.vendor, earlier);
        let reader = plan.translation.and_then(|translation| translation.reader(plan.vendor));
        let streams = matches!(deliver::manner(&plan, &found.answer), Ok(Manner::Stream));
        let Some((framing, reader)) = reader.filter(|_| streams) else {
            meter.missed();
            continue;
        };
        relay.go_on(framing, reader, used);
        match deliver_part(&plan, asked, &mut found, &mut relay, sink, meter, &times, false).await {
            Ok(delivered) => return Ok(delivered),
            Err(again) => {
                // Nobody pays for one that added nothing.
                if meter.reading.output_bytes > 0 {
                    used = meter.carry(Outcome::Partial);
                } else {
                    meter.missed();
                }
                missed = again;
            }
        }
    }
    Ok(break_off(first, &missed, &mut relay, sink, meter).await)
}

/// Nobody goes on: the caller is told in its stream.
async fn break_off(
    plan: &Plan<'_, '_>,
    missed: &Missed,
    relay: &mut Relay<'_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'_>,
) -> Delivered {
    let code = missed.refusal.code;
    plan.scene.core.gauges.refused(code);
    let mut event = buffer::small();
    event.resize(HEAD_ROOM, 0);
    relay.fail(code, code.meaning(), &mut event);
    let bill = meter.close(200, Some(code), Outcome::Partial);
    let (written, spare) = sink.chunk(event, true).await;
    buffer::give_back(spare);
    Delivered { status: 200, code: Some(code), outcome: Outcome::Partial, bill, gone: written.is_err() }
}
