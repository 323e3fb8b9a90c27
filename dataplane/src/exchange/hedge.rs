//! Two candidates at once: a second one is asked when the first is later than all but one in twenty of its answers are, and
//! whoever says something first is heard. The other is cancelled, and stands in the record.
//!
//! A route may race instead: then both are asked from the start, whatever it costs.
//!
//! Nothing has reached the caller until then, so both are equal. What second calls may cost is the route's to say.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;

use weir_shared::catalog::Model;
use weir_shared::fault::Code;
use weir_shared::ledger::{Attempt, Outcome};
use weir_shared::policy::hedging::Hedge;
use weir_shared::policy::resilience::Harm;
use weir_shared::policy::time::Times;
use weir_shared::routing::{Shape, likely_cost};

use super::aim::Aim;
use super::attempt::{self, Attempted, Found, Missed, Onward, Plan, Round};
use super::candidates::{Asked, Remaining, hand_over};
use super::deliver::{self, Delivered, Manner};
use super::waiter::Waiter;
use crate::accept::Sink;
use crate::clock;
use crate::deadline::{Why, briefly};
use crate::dialect::Reading;
use crate::dialect::relay::Relay;
use crate::gauge::Counter;
use crate::meter::Meter;
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::route::Choice;
use crate::stream::{self, End};

/// What a route says of second calls, and what one would cost.
pub struct Hedging<'l> {
    hedge: &'l Hedge,
    prompt_tokens: u32,
    answer_tokens: u32,
}

impl<'l> Hedging<'l> {
    /// How late a whole answer is, is told by nothing but its end: only streams are hedged, and races are run for both.
    pub fn of(choice: &Choice<'l>, stream: bool) -> Option<Self> {
        let hedge = choice.way.route?.hedge.as_ref().filter(|hedge| stream || hedge.at_once)?;
        let Shape { prompt_tokens, answer_tokens, .. } = choice.shape;
        Some(Self { hedge, prompt_tokens, answer_tokens })
    }

    /// A call was answered by this model: what such a call costs is what second ones are paid from.
    pub fn earn(&self, model: &Model) {
        self.hedge.earn(self.cost(model));
    }

    /// After how long the first one, this model, is late; `None` while nobody knows.
    pub fn late_after(&self, model: &Model) -> Option<u64> {
        if self.hedge.at_once {
            return Some(0);
        }
        let known = model.health.iter().filter_map(|cell| cell.known());
        let late_us = known.filter_map(|health| health.pace.late_after()).max()?;
        Some((late_us / 1_000).max(self.hedge.not_before_ms))
    }

    pub fn spend(&self, model: &Model) -> bool {
        self.hedge.spend(self.cost(model))
    }

    fn cost(&self, model: &Model) -> u64 {
        let prompt_tokens = self.prompt_tokens;
        // A caller may ask for any number; what it can get is bounded.
        let most = if model.output_tokens_max > 0 { model.output_tokens_max } else { ANSWER_TOKENS_MAX };
        let answer_tokens = u64::from(self.answer_tokens).min(most) as u32;
        let shape = Shape { prompt_tokens, answer_tokens, ..Shape::default() };
        u64::try_from(likely_cost(model, &shape) / 1_000).unwrap_or(u64::MAX)
    }
}

/// Of a model about which nobody says how much it writes.
const ANSWER_TOKENS_MAX: u64 = 4_096;

/// What both of them share.
pub struct Both<'b, 'l> {
    pub hedging: &'b Hedging<'l>,
    pub late_ms: u64,
    pub tokens: u64,
    pub began_ms: u64,
    pub calls: &'b Cell<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// Whose word counts, and what it is; `None` when the caller has gone.
type Ended<'l> = Option<(Which, Result<Found<'l>, Missed>)>;

/// Asks one, perhaps two, and delivers what comes first. The aim is the one whose answer counts.
pub async fn run<'a, 'l>(
    remaining: &mut Remaining,
    asked: &Asked<'a, 'l>,
    aim: &mut Aim<'a, 'l>,
    both: &Both<'_, 'l>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
) -> Result<Delivered, Missed> {
    let mut other = None;
    let ended = race(remaining, asked, aim, &mut other, both, sink, meter).await;
    if let (Some((Which::Second, _)), Some(second)) = (&ended, other) {
        *aim = *second;
        let earlier = meter.calls().len().saturating_sub(1);
        meter.aim_at_call(aim.model, aim.vendor, earlier);
    }
    match ended {
        None => Ok(Delivered::gone(meter)),
        Some((_, Err(missed))) => Err(missed),
        Some((which, Ok(mut found))) => {
            if which == Which::Second {
                asked.scene.core.gauges.add(Counter::HedgesWon, 1);
            }
            let plan = aim.plan(asked, both.tokens, both.began_ms);
            let times = plan.times();
            hand_over(&plan, asked, &mut found, sink, meter, &times, false).await
        }
    }
}

async fn race<'a, 'l>(
    remaining: &mut Remaining,
    asked: &Asked<'a, 'l>,
    aim: &Aim<'a, 'l>,
    other: &mut Option<Box<Aim<'a, 'l>>>,
    both: &Both<'_, 'l>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
) -> Ended<'l> {
    let plan = aim.plan(asked, both.tokens, both.began_ms);
    let mut first = Lane::new(&plan, remaining, both);
    let heartbeat_ms = first.times.heartbeat;
    let mut waiter = Waiter::Caller(sink);
    let mut second = None;
    let ended = {
        let mut hearing = pin!(first.hear());
        let early = {
            let mut late = pin!(briefly(both.late_ms));
            let early = pin!(either(hearing.as_mut(), late.as_mut()));
            waiter.beside_alive(&plan, heartbeat_ms, early).await
        };
        match early {
            None => None,
            Some(Either::First(result)) => Some((Which::First, result)),
            Some(Either::Second(())) => {
                *other = remaining.second(asked, both.hedging, both.calls);
                match other.as_deref() {
                    None => waiter.beside_alive(&plan, heartbeat_ms, hearing).await.map(|r| (Which::First, r)),
                    Some(other) => {
                        asked.scene.core.gauges.add(Counter::Hedges, 1);
                        let plan = other.plan(asked, both.tokens, both.began_ms);
                        let mut lane = Lane::new(&plan, remaining, both);
                        let ended = Box::pin(sooner(&mut waiter, &plan, heartbeat_ms, hearing, &mut lane)).await;
                        second = Some(lane.told(&ended, Which::Second));
                        ended
                    }
                }
            }
        }
    };
    let first = first.told(&ended, Which::First);
    // Whose answer it is stands last.
    let lists = match ended {
        Some((Which::Second, _)) => [Some(first), second],
        _ => [second, Some(first)],
    };
    lists.into_iter().flatten().for_each(|calls| meter.calls().extend(calls));
    ended
}

/// The first who says something. One that fails leaves it to the other; when the first says that nobody would take the call,
/// that counts.
async fn sooner<'l, F>(
    waiter: &mut Waiter<'_, '_>,
    plan: &Plan<'_, 'l>,
    heartbeat_ms: u64,
    mut first: std::pin::Pin<&mut F>,
    lane: &mut Lane<'_, '_, 'l>,
) -> Ended<'l>
where
    F: Future<Output = Result<Found<'l>, Missed>>,
{
    let mut second = pin!(lane.hear());
    let sooner = {
        let sooner = pin!(either(first.as_mut(), second.as_mut()));
        waiter.beside_alive(plan, heartbeat_ms, sooner).await?
    };
    Some(match sooner {
        Either::First(Err(first)) if first.onward != Onward::Nowhere => {
            match waiter.beside_alive(plan, heartbeat_ms, second).await? {
                Err(_) => (Which::First, Err(first)),
                heard => (Which::Second, heard),
            }
        }
        // Whatever a second one says against the call, the first is at work on it.
        Either::Second(Err(_)) => (Which::First, waiter.beside_alive(plan, heartbeat_ms, first).await?),
        Either::First(result) => (Which::First, result),
        Either::Second(heard) => (Which::Second, heard),
    })
}

/// One of the two, and the calls that it made.
struct Lane<'p, 'b, 'l> {
    plan: &'p Plan<'p, 'l>,
    times: Times,
    round: Round<'b>,
    calls: Vec<Attempt<'l>>,
}

impl<'p, 'b, 'l> Lane<'p, 'b, 'l> {
    fn new(plan: &'p Plan<'p, 'l>, remaining: &mut Remaining, both: &Both<'b, 'l>) -> Self {
        let times = plan.times();
        let round = remaining.round(&times, both.began_ms, both.calls);
        Self { plan, times, round, calls: Vec::new() }
    }

    /// An answer that has something to say.
    async fn hear(&mut self) -> Result<Found<'l>, Missed> {
        let Self { plan, times, round, calls } = self;
        let Attempted::Answered(mut found) = attempt::run(plan, &mut Waiter::Other, calls, times, round).await? else {
            // Only a caller goes.
            return Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Nowhere));
        };
        let heard = match deliver::manner(plan, &found.answer) {
            Ok(Manner::Stream) => overhear(plan, times, &mut found).await,
            Ok(Manner::Document | Manner::Bytes) => Ok(()),
            Err(refusal) => {
                found.trial.iter_mut().for_each(|trial| trial.bad(Harm::Invalid));
                Err(deliver::unheard(refusal))
            }
        };
        if heard.is_err() {
            calls.iter_mut().rev().take(1).for_each(|call| call.outcome = Outcome::Failed);
        }
        heard.map(|()| found)
    }

    /// Its calls, for the record. One that nobody waits for any more has read the prompt all the same.
    fn told(mut self, ended: &Ended<'l>, which: Which) -> Vec<Attempt<'l>> {
        if ended.as_ref().is_some_and(|(counts, _)| *counts == which) {
            return self.calls;
        }
        self.calls.extend(attempt::given_up(self.plan, &self.round));
        if let Some(last) = self.calls.last_mut().filter(|last| last.outcome != Outcome::Failed) {
            (last.outcome, last.cost) = (Outcome::Cancelled, attempt::prompt_cost(self.plan, last.credential));
        }
        self.calls
    }
}

async fn overhear(plan: &Plan<'_, '_>, times: &Times, found: &mut Found<'_>) -> Result<(), Missed> {
    let Some(incoming) = found.answer.body.as_deref_mut() else { return Ok(()) };
    if let Some(link) = incoming.link() {
        let total_at_ms = plan.admitted_ms + times.total;
        link.deadline.set_at((clock::coarse_ms() + times.idle).min(total_at_ms), Why::Idle);
    }
    let heading = plan.heading();
    let said = heading.as_ref().and_then(|heading| plan.relay(heading));
    let mut relay = said.unwrap_or_else(|| Relay::passing(plan.route.language));
    let mut reading = Reading::default();
    let heard = stream::overhear(incoming, &mut relay, &mut reading, plan.vendor.strict_events).await;
    heard.map_err(|code| {
        deliver::judge(&mut found.trial, End::Unheard(code), &reading);
        deliver::missed(code)
    })
}
