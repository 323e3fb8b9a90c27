//! A call that is understood, on its way through its candidates: chosen, admitted, and asked one after the other until one
//! has delivered.

use std::cell::Cell;
use std::pin::pin;

use weir_shared::fault::Code;
use weir_shared::ledger;
use weir_shared::policy::resilience::{Harm, Trying};
use weir_shared::policy::time::Times;
use weir_shared::routing::{Candidate, Shape, need};
use weir_shared::snapshot::Key;

use super::aim::{Aim, Telling};
use super::attempt::{self, Attempted, CALLS_MAX, Found, Missed, Onward, Plan, Round};
use super::deliver::{self, Delivered, Manner};
use super::hedge::{self, Hedging};
use super::mirror::{self, Drawn};
use super::queue::{self, Placed};
use super::waiter::Waiter;
use super::{Done, Scene, Teller, fields, objects, open_meter, settle};
use super::{continuation, fan_out};
use crate::accept::{Request, Sink};
use crate::admit::{self, Place};
use crate::clock;
use crate::deadline::{Deadline, TICK_MS};
use crate::dialect::text::Text;
use crate::gauge::Counter;
use crate::meter::{self, Meter};
use crate::parse::{self, Route};
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::resolve;
use crate::route::line::Stood;
use crate::route::{self, Choice, FURTHER_ATTEMPTS};
use crate::translate::{self, Translation};

/// A call as its caller said it: the same for every candidate.
pub struct Asked<'a, 'l> {
    pub scene: &'a Scene<'l>,
    pub route: &'a Route,
    pub call: &'a parse::Call<'a>,
    pub bytes: &'a [u8],
    /// The body is a form, and no JSON.
    pub is_form: bool,
    /// With the vendors' own ids in it, when it names objects.
    pub opened: Option<&'a [u8]>,
    pub key: &'l Key,
    pub query: &'a [u8],
    pub request: &'a Request,
    pub pin: Option<&'a objects::Pin>,
}

impl<'a> Asked<'a, '_> {
    /// What a model reads of it, as far as bytes tell: a form is pictures and sound.
    pub fn prompt(&self) -> &'a [u8] {
        if self.is_form { b"" } else { self.bytes }
    }
}

pub async fn serve<'l>(
    asked: &Asked<'_, 'l>,
    place: Place<'l>,
    sink: &mut Sink<'_>,
    teller: &mut Teller<'l>,
) -> Result<Done, Refusal> {
    let (scene, call) = (asked.scene, asked.call);
    let choice = match queue::placed(asked, sink, teller).await? {
        Placed::Chosen(choice) => Some(choice),
        Placed::Object => None,
        Placed::Gone => return Ok(Done::Gone(None)),
    };
    let Prepared { mut remaining, first: mut aim, tokens, room, told, hedging, mirror } =
        prepare(asked, choice, teller)?;
    if let Some(known) = aim.translation.as_deref().and_then(Translation::known) {
        return fields::guessed(scene, asked.request, sink, &known).await;
    }
    // Each of several answers takes as much.
    let reserved = tokens.saturating_mul(u64::from(remaining.fan_out));
    let ticket = admit::admit(place, reserved, &scene.core.journal, room, call.stream, asked.request.started)?;
    teller.stream = call.stream;
    FURTHER_ATTEMPTS.earn(&asked.key.tenant);
    let mut meter = open_meter(scene, ticket, aim.model, aim.vendor, call.stream, asked.request, asked.prompt().len());
    told.into_iter().for_each(|told| meter.chosen(told));
    let twin = mirror.and_then(|drawn| mirror::send(asked, &drawn));
    let late_ms = hedging.as_ref().zip(aim.model).and_then(|(hedging, model)| hedging.late_after(model));
    let result = remaining.run(asked, &mut aim, tokens, hedging.as_ref().zip(late_ms), sink, &mut meter).await;
    if let (Some(hedging), Some(model), true) = (&hedging, aim.model, meter.delivered) {
        hedging.earn(model);
    }
    let ended = settle(result, &mut meter, teller);
    twin.into_iter().for_each(|twin| twin.original(&ended));
    ended
}

/// What is known before anybody is asked. The choice itself is not kept: a stream may last for minutes, and of a thousand of
/// them each kilobyte counts.
struct Prepared<'a, 'l> {
    remaining: Remaining,
    first: Aim<'a, 'l>,
    tokens: u64,
    room: usize,
    /// For the record, when there was something to choose.
    told: Option<Box<ledger::Choice<'l>>>,
    /// When its route asks a second one while the first is late.
    hedging: Option<Hedging<'l>>,
    /// When a copy of the call goes to somebody else.
    mirror: Option<Drawn<'l>>,
}

/// `choice`: none for a call about an object, which goes to its vendor.
fn prepare<'a, 'l>(
    asked: &Asked<'a, 'l>,
    choice: Option<Choice<'l>>,
    teller: &mut Teller<'l>,
) -> Result<Prepared<'a, 'l>, Refusal> {
    let Some(choice) = choice else {
        let mut remaining = Remaining::of_objects(asked)?;
        let first = remaining.aim_next(asked)?;
        let room = meter::record_bytes(None, first.vendor, &asked.key.tenant.name);
        return Ok(Prepared { remaining, first, tokens: 0, room, told: None, hedging: None, mirror: None });
    };
    let mut remaining = Remaining::of_choice(asked, &choice)?;
    let first = remaining.aim_next(asked)?;
    let (tokens, room) = (tokens(asked, &choice), record_bytes(asked, &choice, &first));
    let told = choice.is_told().then(|| Box::new(record_of(asked, &choice)));
    if told.is_some() {
        teller.route = (choice.way.name(), choice.ranked.label.map_or("", |label| label));
    }
    let hedging = Hedging::of(&choice, asked.call.stream).filter(|_| generates(asked) && remaining.has_more());
    let mirror = mirror::drawn(asked, &choice);
    Ok(Prepared { remaining, first, tokens, room, told, hedging, mirror })
}

/// A generated answer may be generated twice: what the first left at its vendor, nobody knows the id of.
pub fn generates(asked: &Asked<'_, '_>) -> bool {
    let language = asked.route.language;
    language.speech().is_some() || language.leaves_nothing(asked.route.endpoint)
}

fn record_of<'l>(asked: &Asked<'_, 'l>, choice: &Choice<'l>) -> ledger::Choice<'l> {
    ledger::Choice {
        // As it was said: what an alias meant stands in the revision.
        asked: asked.call.model.to_string().into(),
        label: choice.ranked.label.map_or("", |label| label),
        shape: choice.shape,
        vitals: choice.vitals,
        candidates: choice.way.places().len() as u8,
    }
}

/// What is reserved: for the candidate that may say most.
fn tokens(asked: &Asked<'_, '_>, choice: &Choice<'_>) -> u64 {
    let models = &asked.scene.live.snapshot.catalog.models;
    let eligible = choice.way.places().iter().enumerate().filter(|(at, _)| choice.eligible.holds(*at as u8));
    let expected = |(_, &place): (usize, &u32)| {
        let most = models[place as usize].output_tokens_max;
        admit::expected_tokens(asked.bytes.len(), asked.call.tokens_max, most, asked.call.choices)
    };
    eligible.map(expected).max().unwrap_or(0)
}

/// Room for the record, whichever candidate ends up in it.
fn record_bytes(asked: &Asked<'_, '_>, choice: &Choice<'_>, first: &Aim<'_, '_>) -> usize {
    let tenant = &asked.key.tenant.name;
    if !choice.is_told() {
        return meter::record_bytes(first.model, first.vendor, tenant);
    }
    let catalog = &asked.scene.live.snapshot.catalog;
    let of = |&place: &u32| {
        let model = &catalog.models[place as usize];
        meter::record_bytes(Some(model), &catalog.vendors[model.vendor as usize], tenant)
    };
    let largest = choice.way.places().iter().map(of).max().unwrap_or(0);
    largest + ledger::CHOICE_BYTES_MAX + asked.call.model.len() + 3 * 3
}

/// Who is still to be asked.
pub struct Remaining {
    waiting: Vec<Candidate>,
    /// How many of them have had their turn.
    at: usize,
    /// Of a call without a model, which goes to its vendor and nowhere else.
    vendor: Option<u32>,
    /// Candidates that were asked, one that was asked again counted each time.
    turns: u32,
    trying: Trying,
    seed: u64,
    /// Where calls may wait for places: what the call is like, and where it has stood in line.
    waits_by: Option<Box<(Shape, Option<Stood>)>>,
    /// Answers to the call.
    fan_out: u32,
    /// What the first candidate's language could not say; told when nobody's can.
    unsayable: Option<Box<Refusal>>,
}

impl Remaining {
    fn of_objects(asked: &Asked<'_, '_>) -> Result<Self, Refusal> {
        let scene = asked.scene;
        let vendor = match asked.pin {
            Some(pin) => {
                resolve::may_see(scene.live, asked.key, pin.vendor)?;
                pin.vendor
            }
            None => objects::vendor(scene, asked.key, asked.request)?,
        };
        if asked.route.endpoint.path == "batches" {
            objects::may_batch(scene.live, asked.key, vendor)?;
        }
        let trying = Trying::default();
        Ok(Self {
            waiting: Vec::new(),
            at: 0,
            vendor: Some(vendor),
            turns: 0,
            trying,
            seed: 0,
            waits_by: None,
            fan_out: 1,
            unsayable: None,
        })
    }

    fn of_choice(asked: &Asked<'_, '_>, choice: &Choice<'_>) -> Result<Self, Refusal> {
        let mut waiting: Vec<Candidate> = choice.ranked.each().collect();
        if waiting.is_empty() {
            waiting.extend(choice.last_resort());
        }
        if let Some(pin) = asked.pin {
            // What it names lives at one vendor, whatever the route says.
            let models = &asked.scene.live.snapshot.catalog.models;
            waiting.retain(|candidate| models[candidate.model as usize].vendor == pin.vendor);
            if waiting.is_empty() {
                return Err(Refusal::plain(Code::ObjectNotFound));
            }
        }
        let (mut trying, seed) = (choice.way.trying(), choice.shape.seed);
        // What its vendor keeps, another does not know.
        trying.continues &= asked.call.stream && asked.pin.is_none() && asked.route.language.speech().is_some();
        let fan_out = fan_out_of(asked, choice)?;
        trying.attempts_max = trying.attempts_max.max(fan_out);
        let may_wait = asked.scene.live.snapshot.catalog.gateway.queue.wait_ms > 0;
        let waits_by = may_wait.then(|| Box::new((choice.shape, choice.stood)));
        Ok(Self { waiting, at: 0, vendor: None, turns: 0, trying, seed, waits_by, fan_out, unsayable: None })
    }

    /// The next candidate in whose language the call can be said.
    pub fn aim_next<'a, 'l>(&mut self, asked: &Asked<'a, 'l>) -> Result<Aim<'a, 'l>, Refusal> {
        if let Some(vendor) = self.vendor {
            return Aim::at(asked, None, vendor, Telling::Once);
        }
        let models = &asked.scene.live.snapshot.catalog.models;
        while let Some(candidate) = self.waiting.get(self.at) {
            self.at += 1;
            let model = &models[candidate.model as usize];
            let telling = if self.trying.continues || self.fan_out > 1 { Telling::Lasting } else { Telling::Once };
            match Aim::at(asked, Some(model), model.vendor, telling) {
                Ok(aim) => return Ok(aim),
                Err(refusal) => {
                    self.unsayable.get_or_insert_with(|| Box::new(refusal));
                }
            }
        }
        Err(self.unsayable.take().map_or_else(|| Refusal::plain(Code::UpstreamError), |refusal| *refusal))
    }

    /// What decided whether the candidate that has its turn takes this call, should it be coming back.
    fn dice(&self) -> u64 {
        let candidate = self.at.checked_sub(1).and_then(|at| self.waiting.get(at));
        route::candidate_dice(self.seed, candidate.map_or(0, |candidate| candidate.at))
    }

    /// Whether the route and the record have room for one more.
    pub fn may_go_on(&self, calls: &Cell<usize>) -> bool {
        self.turns < self.trying.attempts_max && calls.get() < CALLS_MAX
    }

    pub fn has_more(&self) -> bool {
        self.at < self.waiting.len()
    }

    /// The aim is somebody else's: what is handed over to a future lies in it twice.
    async fn run<'a, 'l>(
        &mut self,
        asked: &Asked<'a, 'l>,
        aim: &mut Aim<'a, 'l>,
        tokens: u64,
        mut hedging: Option<(&Hedging<'l>, u64)>,
        sink: &mut Sink<'_>,
        meter: &mut Meter<'l>,
    ) -> Result<Delivered, Refusal> {
        debug_assert!(meter.ticket().is_some(), "no ticket, no upstream");
        let calls = Cell::new(0);
        let began_ms = clock::coarse_ms();
        loop {
            meter.aim(aim.model, aim.vendor);
            let outcome = match hedging.take() {
                Some((hedging, late_ms)) => {
                    let round = hedge::Both { hedging, late_ms, tokens, began_ms, calls: &calls };
                    // Only who may have two pays for the room that two take.
                    Box::pin(hedge::run(self, asked, aim, &round, sink, meter)).await
                }
                None if self.fan_out > 1 => {
                    let way = fan_out::Way { answers: self.fan_out, tokens, began_ms, calls: &calls };
                    Box::pin(fan_out::run(self, asked, aim, &way, sink, meter)).await
                }
                None if self.trying.continues => {
                    let way = continuation::Way { tokens, began_ms, calls: &calls };
                    Box::pin(continuation::run(self, asked, aim, &way, sink, meter)).await
                }
                None => {
                    let plan = aim.plan(asked, tokens, began_ms);
                    let times = plan.times();
                    let round = self.round(&times, began_ms, &calls);
                    let elsewhere = self.may_go_on(&calls) && self.has_more();
                    one(&plan, asked, sink, meter, &times, &round, elsewhere).await
                }
            };
            let missed = match outcome {
                Ok(delivered) => return Ok(delivered),
                Err(missed) => missed,
            };
            meter.missed();
            match self.go_on(asked, &missed, &calls) {
                Next::Candidate(next) => {
                    asked.scene.core.gauges.add(Counter::Failovers, 1);
                    *aim = *next;
                }
                Next::Again => {
                    if !pause(sink).await {
                        return Ok(Delivered::gone(meter));
                    }
                    asked.scene.core.gauges.add(Counter::Retries, 1);
                }
                Next::Nowhere => {
                    let may_wait = calls.get() == 0 && missed.is_full && self.waits_by.is_some();
                    let refusal = if may_wait {
                        match Box::pin(self.stand_again(asked, aim, missed.refusal, sink)).await {
                            Ok(true) => continue,
                            Ok(false) => return Ok(Delivered::gone(meter)),
                            Err(refusal) => refusal,
                        }
                    } else {
                        missed.refusal
                    };
                    let plan = aim.plan(asked, tokens, began_ms);
                    return attempt::tell(refusal, &plan, sink, meter).await;
                }
            }
        }
    }

    /// Waits for a place once more, and begins anew with what is chosen then. False: the caller has gone. When it is in
    /// vain, what was missing is worth more than that it was waited for.
    async fn stand_again<'a, 'l>(
        &mut self,
        asked: &Asked<'a, 'l>,
        aim: &mut Aim<'a, 'l>,
        missing: Refusal,
        sink: &mut Sink<'_>,
    ) -> Result<bool, Refusal> {
        let Some((shape, stood)) = self.waits_by.as_deref().copied() else { return Err(missing) };
        let again = match queue::placed_again(asked, shape, stood, sink).await {
            Ok(None) => return Ok(false),
            Ok(Some(choice)) => Self::of_choice(asked, &choice),
            Err(_) => return Err(missing),
        };
        *self = again?;
        *aim = self.aim_next(asked)?;
        Ok(true)
    }

    /// One candidate's turn.
    pub fn round<'r>(&mut self, times: &Times, began_ms: u64, calls: &'r Cell<usize>) -> Round<'r> {
        let answer_by_ms = self.share_of(began_ms + times.first_byte, times.first_byte);
        let round = Round {
            calls,
            answer_by_ms,
            // A tick of the clock is no difference.
            is_short: answer_by_ms + TICK_MS < clock::coarse_ms() + times.first_byte / 2,
            calls_max: CALLS_MAX - usize::from(self.has_more()),
            dice: self.dice(),
            asking: Cell::new(None),
        };
        self.turns += 1;
        round
    }

    /// One that takes what was said so far as the start of its own answer.
    pub fn goes_on<'a, 'l>(
        &mut self,
        asked: &Asked<'a, 'l>,
        said: &Text<'static>,
        calls: &Cell<usize>,
    ) -> Option<Box<Aim<'a, 'l>>> {
        let models = &asked.scene.live.snapshot.catalog.models;
        while let Some(candidate) = self.waiting.get(self.at) {
            if !self.may_go_on(calls) {
                return None;
            }
            self.at += 1;
            let model = &models[candidate.model as usize];
            if model.can.is_none_or(|can| can & need::PREFILL == 0) {
                continue;
            }
            if self.turns > 1 && !FURTHER_ATTEMPTS.spend(&asked.key.tenant) {
                return None;
            }
            if let Ok(aim) = Aim::at(asked, Some(model), model.vendor, Telling::GoingOn(said.clone())) {
                return Some(Box::new(aim));
            }
        }
        None
    }

    /// A second one beside the first, which has not failed.
    pub fn second<'a, 'l>(
        &mut self,
        asked: &Asked<'a, 'l>,
        hedging: &Hedging<'l>,
        calls: &Cell<usize>,
    ) -> Option<Box<Aim<'a, 'l>>> {
        if !self.may_go_on(calls) {
            return None;
        }
        let aim = self.aim_next(asked).ok()?;
        if aim.model.is_some_and(|model| hedging.spend(model)) {
            return Some(Box::new(aim));
        }
        // Too dear now: it keeps its place, should the first fail.
        self.at -= 1;
        None
    }

    /// While there is somebody else to ask, one candidate's silence may take half of the time that is left. Whoever is
    /// asked late, because somebody before took long to fail, has a quarter of the usual time all the same.
    fn share_of(&self, by_ms: u64, usual_ms: u64) -> u64 {
        let now = clock::coarse_ms();
        let left = by_ms.saturating_sub(now);
        let share = if self.has_more() { left / 2 } else { left };
        now + share.max(usual_ms / 4)
    }

    /// Whether a call that came to this may be said to somebody else, and to the same one again.
    pub fn may_follow(&self, asked: &Asked<'_, '_>, missed: &Missed) -> (bool, bool) {
        match missed.onward {
            Onward::Elsewhere => (true, true),
            Onward::Ambiguous if self.trying.retry_ambiguous => {
                (generates(asked), asked.route.language.leaves_nothing(asked.route.endpoint))
            }
            Onward::Ambiguous | Onward::Nowhere => (false, false),
        }
    }

    fn go_on<'a, 'l>(&mut self, asked: &Asked<'a, 'l>, missed: &Missed, calls: &Cell<usize>) -> Next<'a, 'l> {
        let (elsewhere, again) = self.may_follow(asked, missed);
        if !self.may_go_on(calls) {
            return Next::Nowhere;
        }
        // The first change to somebody else who is well costs nothing; whatever follows comes out of the budget.
        if elsewhere
            && self.has_more()
            && (self.turns == 1 || FURTHER_ATTEMPTS.spend(&asked.key.tenant))
            && let Ok(aim) = self.aim_next(asked)
        {
            return Next::Candidate(Box::new(aim));
        }
        if again && missed.again && self.vendor.is_none() && FURTHER_ATTEMPTS.spend(&asked.key.tenant) {
            Next::Again
        } else {
            Next::Nowhere
        }
    }
}

/// How many answers the call's route gives. What is not generated is there once; what an object of a vendor's is part of,
/// only its vendor answers.
fn fan_out_of(asked: &Asked<'_, '_>, choice: &Choice<'_>) -> Result<u32, Refusal> {
    let answers = choice.way.route.map_or(1, |route| route.fan_out);
    if answers < 2 || asked.pin.is_some() {
        return Ok(1);
    }
    match translate::has_room_for_several(asked.route) {
        None => Ok(1),
        Some(true) => Ok(answers),
        Some(false) => Err(Refusal::new(Code::DialectMismatch, ONE_ANSWER)),
    }
}

const ONE_ANSWER: &str = "This model gives several answers to a call, and an answer of this path has room for one. Ask for \
                          it by chat completions, or by Gemini's generateContent.";

enum Next<'a, 'l> {
    Candidate(Box<Aim<'a, 'l>>),
    /// The same once more.
    Again,
    Nowhere,
}

/// A moment before the same vendor is asked again: chance puts it between two ticks. False when the caller goes meanwhile.
async fn pause(sink: &mut Sink<'_>) -> bool {
    let pulse = Deadline::bare();
    pulse.nudge_after(BACKOFF_MS);
    let mut due = pin!(pulse.nudged());
    let mut gone = pin!(sink.caller.gone());
    matches!(either(due.as_mut(), gone.as_mut()).await, Either::First(()))
}

/// The sweeper looks ten times a second, so this becomes ten to a hundred milliseconds.
const BACKOFF_MS: u64 = 10;

/// Asks one candidate and delivers what it answers.
async fn one<'l>(
    plan: &Plan<'_, 'l>,
    asked: &Asked<'_, 'l>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
    times: &Times,
    round: &Round<'_>,
    elsewhere: bool,
) -> Result<Delivered, Missed> {
    match attempt::run(plan, &mut Waiter::Caller(sink), meter.calls(), times, round).await? {
        Attempted::Answered(mut found) => hand_over(plan, asked, &mut found, sink, meter, times, elsewhere).await,
        Attempted::Gone => Ok(Delivered::gone(meter)),
    }
}

pub async fn hand_over<'l>(
    plan: &Plan<'_, 'l>,
    asked: &Asked<'_, 'l>,
    found: &mut Found<'l>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
    times: &Times,
    elsewhere: bool,
) -> Result<Delivered, Missed> {
    // By reference: what is handed over to a future lies in it twice.
    let Found { answer, pass, trial } = found;
    let delivered = match deliver::manner(plan, answer) {
        Ok(Manner::Stream) => {
            let wants = deliver::Wants { usage: asked.call.usage_asked, elsewhere, goes_on: false };
            deliver::stream(plan, answer, pass, trial, sink, meter, wants, times, None).await
        }
        Ok(Manner::Document) => deliver::document(plan, answer, pass, trial, sink, meter, times).await,
        Ok(Manner::Bytes) => deliver::bytes(plan, answer, sink, meter, times).await.map_err(deliver::unheard),
        Err(refusal) => {
            trial.iter_mut().for_each(|trial| trial.bad(Harm::Invalid));
            Err(deliver::unheard(refusal))
        }
    };
    pass.used(meter.reading.usage.map_or(plan.tokens, |usage| usage.tokens()));
    delivered
}
