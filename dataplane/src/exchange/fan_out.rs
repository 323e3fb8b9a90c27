//! Several candidates answer one call, and the caller gets all of their answers: as the choices of one, where its language has
//! room for more than one.
//!
//! Each lane is a place for one answer. A candidate that fails before it has said anything leaves its lane to the next one,
//! as long as there is one. What one has begun and breaks off does not end the others; the stream is told at its end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use weir_shared::catalog::{Model, Vendor};
use weir_shared::fault::Code;
use weir_shared::ledger::{Attempt, Outcome};
use weir_shared::policy::time::Times;

use super::aim::Aim;
use super::attempt::{self, Attempted, Found, Missed, Onward, Plan};
use super::candidates::{Asked, Remaining};
use super::deliver::{self, Delivered, Manner};
use super::waiter::Waiter;
use crate::accept::{HEAD_ROOM, Sink};
use crate::buffer;
use crate::clock::{self, Nanos};
use crate::deadline::Deadline;
use crate::dialect::Reading;
use crate::dialect::answer::Answer;
use crate::dialect::chorus::{self, Chorus};
use crate::dialect::relay::Relay;
use crate::gauge::Counter;
use crate::memory::Hold;
use crate::meter::{self, Meter, called};
use crate::refusal::Refusal;
use crate::route::FURTHER_ATTEMPTS;
use crate::stream::{Apart, End};

/// What all lanes share.
struct Stage<'s, 'a, 'l, 'h> {
    asked: &'s Asked<'a, 'l>,
    remaining: RefCell<&'s mut Remaining>,
    calls: &'s Cell<usize>,
    tokens: u64,
    began_ms: u64,
    /// Of a stream.
    chorus: Option<&'s Chorus<'h>>,
    /// What is to leave next.
    said: &'s RefCell<Vec<u8>>,
    /// Whose answer each lane's is.
    names: RefCell<Vec<&'l str>>,
    /// Of the vendors that are being read, for who waits for the caller.
    clocks: RefCell<Vec<Option<Deadline>>>,
    /// What the caller's writer keeps of all answers.
    hold: RefCell<Hold>,
}

/// One answer.
#[derive(Default)]
struct Lane<'l> {
    number: usize,
    calls: Vec<Attempt<'l>>,
    /// Who is being asked, and since when; who has answered.
    by: Option<(Option<&'l Model>, &'l Vendor, Nanos)>,
    reading: Reading,
    answer: Option<Answer>,
    /// What the answer takes of the memory budget, until the caller has it.
    hold: Hold,
    first_byte: Option<Nanos>,
    ended: Option<Result<End, Missed>>,
    /// Its vendor was answering when the caller left.
    is_owed: bool,
}

impl Lane<'_> {
    /// Somebody is to pay for it.
    fn is_delivered(&self) -> bool {
        self.is_owed || self.reading.output_bytes > 0 || matches!(self.ended, Some(Ok(End::Complete)))
    }
}

pub struct Way<'w> {
    pub answers: u32,
    pub tokens: u64,
    pub began_ms: u64,
    pub calls: &'w Cell<usize>,
}

/// Asks as many candidates as there are to be answers. `Err`: none has said anything.
pub async fn run<'a, 'l>(
    remaining: &mut Remaining,
    asked: &Asked<'a, 'l>,
    aim: &Aim<'a, 'l>,
    way: &Way<'_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'l>,
) -> Result<Delivered, Missed> {
    let plan = aim.plan(asked, way.tokens, way.began_ms);
    let heading = plan.heading();
    let writer = heading.as_ref().and_then(|heading| plan.translation?.writer(heading));
    let Some(writer) = writer else {
        return Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Nowhere));
    };
    let chorus = Chorus::new(writer);
    let said = RefCell::new(head_room());
    // All that are to answer are settled before any is asked, so that each knows whether somebody could take its place.
    let mut others: Vec<Aim<'a, 'l>> = Vec::new();
    while others.len() + 1 < way.answers as usize
        && let Ok(other) = remaining.aim_next(asked)
    {
        others.push(other);
    }
    let count = 1 + others.len();
    let stage = Stage {
        asked,
        remaining: RefCell::new(remaining),
        calls: way.calls,
        tokens: way.tokens,
        began_ms: way.began_ms,
        chorus: plan.stream.then_some(&chorus),
        said: &said,
        names: RefCell::new(vec![""; count]),
        clocks: RefCell::new((0..count).map(|_| None).collect()),
        hold: RefCell::default(),
    };
    let mut lanes: Vec<Lane<'l>> = (0..count).map(|number| Lane { number, ..Lane::default() }).collect();
    let came = {
        let aims = std::iter::once(aim).chain(&others);
        let all = lanes
            .iter_mut()
            .zip(aims)
            .map(|(lane, aim)| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(stage.lane(lane, aim)) });
        listen(&plan, &stage, all.collect(), sink).await
    };
    if came.is_none() {
        lanes.iter_mut().for_each(|lane| cancelled(lane, plan.stream));
        tell(&mut lanes, meter);
        return Ok(Delivered::gone(meter));
    }
    let broke = tell(&mut lanes, meter);
    let names = stage.names.into_inner();
    if !lanes.iter().any(Lane::is_delivered) {
        return Err(missed(lanes));
    }
    asked.scene.core.gauges.add(Counter::FannedOut, 1);
    let said = said.into_inner();
    if plan.stream {
        Ok(end_stream(&plan, &chorus, broke, said, sink, meter).await)
    } else {
        buffer::give_back(said);
        Ok(whole(&plan, lanes, &names, sink, meter).await)
    }
}

/// Lets all lanes go on until they have ended, and writes what they say. `None`: the caller has gone.
async fn listen<'f>(
    plan: &Plan<'_, '_>,
    stage: &Stage<'_, '_, '_, '_>,
    mut lanes: Vec<Pin<Box<dyn Future<Output = ()> + 'f>>>,
    sink: &mut Sink<'_>,
) -> Option<()> {
    let heartbeat_ms = plan.times().heartbeat;
    let mut named = 0;
    while !lanes.is_empty() {
        {
            let progress = pin!(poll_fn(|cx| {
                let before = lanes.len();
                lanes.retain_mut(|lane| lane.as_mut().poll(cx).is_pending());
                let is_said = stage.said.borrow().len() > HEAD_ROOM;
                if is_said || lanes.len() < before { Poll::Ready(()) } else { Poll::Pending }
            }));
            let mut waiter = Waiter::Caller(sink);
            waiter.beside_alive(plan, heartbeat_ms, progress).await?;
        }
        let Some(chorus) = stage.chorus else { continue };
        if stage.said.borrow().len() > HEAD_ROOM {
            if !sink.has_begun() {
                deliver::begin_stream(plan, sink);
            }
            name(plan, stage, chorus, &mut named, sink);
            let out = stage.said.take();
            // A slow reader is not its vendors' silence.
            let left: Vec<_> = stage.clocks.borrow().iter().map(|clock| clock.as_ref().map(Deadline::pause)).collect();
            let (written, spare) = sink.chunk(out, false).await;
            for (clock, left) in stage.clocks.borrow().iter().zip(left) {
                clock.iter().zip(left).for_each(|(clock, left)| clock.resume(left));
            }
            *stage.said.borrow_mut() = spare;
            written.ok()?;
        }
    }
    Some(())
}

/// Whose answer a choice is, in a comment before its first words.
fn name(
    plan: &Plan<'_, '_>,
    stage: &Stage<'_, '_, '_, '_>,
    chorus: &Chorus<'_>,
    named: &mut usize,
    sink: &mut Sink<'_>,
) {
    for (choice, voice) in chorus.choices().into_iter().enumerate().skip(*named) {
        *named = choice + 1;
        let names = stage.names.borrow();
        let words = format!("x-weir-choice: {choice} {}", names.get(voice).copied().unwrap_or_default());
        sink.aside(&plan.route.language.comment(&words));
    }
}

impl<'a, 'l> Stage<'_, 'a, 'l, '_> {
    async fn lane(&self, lane: &mut Lane<'l>, first: &Aim<'a, 'l>) {
        if self.ask(lane, first).await {
            return;
        }
        while let Some(aim) = self.next() {
            if self.ask(lane, &aim).await {
                return;
            }
        }
    }

    fn next(&self) -> Option<Box<Aim<'a, 'l>>> {
        let remaining = &mut *self.remaining.borrow_mut();
        if !remaining.may_go_on(self.calls) || !remaining.has_more() || !FURTHER_ATTEMPTS.spend(&self.asked.key.tenant)
        {
            return None;
        }
        remaining.aim_next(self.asked).ok().map(Box::new)
    }

    /// Asks one candidate. Whether the lane is over with that.
    async fn ask(&self, lane: &mut Lane<'l>, aim: &Aim<'a, 'l>) -> bool {
        let plan = aim.plan(self.asked, self.tokens, self.began_ms);
        let times = plan.times();
        let round = self.remaining.borrow_mut().round(&times, self.began_ms, self.calls);
        lane.by = Some((aim.model, aim.vendor, clock::now()));
        self.names.borrow_mut()[lane.number] = aim.model.map_or("", |model| &model.id);
        let attempted = attempt::run(&plan, &mut Waiter::Other, &mut lane.calls, &times, &round).await;
        let heard = match attempted {
            Ok(Attempted::Answered(mut found)) => self.hear(&plan, &mut found, lane, &times).await,
            // Only a caller goes.
            Ok(Attempted::Gone) => Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Nowhere)),
            Err(missed) => Err(missed),
        };
        let is_over = match &heard {
            Ok(_) => true,
            Err(missed) => !self.remaining.borrow().may_follow(self.asked, missed).0,
        };
        lane.ended = Some(heard);
        is_over
    }

    async fn hear(
        &self,
        plan: &Plan<'_, 'l>,
        found: &mut Found<'l>,
        lane: &mut Lane<'l>,
        times: &Times,
    ) -> Result<End, Missed> {
        lane.reading = Reading::default();
        let heard = match deliver::manner(plan, &found.answer) {
            Ok(Manner::Stream) => self.stream(plan, found, lane, times).await,
            Ok(Manner::Document) => document(plan, found, lane, times).await?,
            Ok(Manner::Bytes) | Err(_) => End::Broken(Code::UpstreamInvalid),
        };
        deliver::judge(&mut found.trial, heard, &lane.reading);
        let usage = lane.reading.usage;
        found.pass.used(usage.map_or(plan.tokens, |usage| usage.tokens()));
        let told = plan.model.and_then(|model| meter::told_cost(model, &lane.reading));
        if let (Some(trial), Some((cost, usage))) = (&found.trial, told) {
            trial.earned(cost, usage.answer_tokens());
        }
        let is_unheard = heard != End::Complete && !(plan.stream && lane.reading.output_bytes > 0);
        if let (true, Some((cost, _)), Some(last)) = (is_unheard, told, lane.calls.last_mut())
            && found.pass.credential.tenant.is_none()
        {
            last.cost = cost;
        }
        match heard {
            End::Complete => Ok(End::Complete),
            // What was said stays said.
            end if plan.stream && lane.reading.output_bytes > 0 => Ok(end),
            End::Broken(code) if lane.reading.blames_caller => Err(Missed::of(Refusal::plain(code), Onward::Nowhere)),
            End::Broken(code) => Err(deliver::missed(code)),
            _ => Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Elsewhere)),
        }
    }

    async fn stream(&self, plan: &Plan<'_, 'l>, found: &mut Found<'l>, lane: &mut Lane<'l>, times: &Times) -> End {
        let read_by = plan.translation.and_then(|translation| translation.reader(plan.vendor));
        let (Some((framing, reader)), Some(chorus)) = (read_by, self.chorus) else {
            return End::Broken(Code::UpstreamInvalid);
        };
        let relay = Relay::new(framing, reader, Box::new(chorus.voice(lane.number)));
        let event_bytes_max = plan.scene.live.snapshot.catalog.gateway.sizes.event_bytes_max;
        let mut apart = Apart::new(relay, times, plan.admitted_ms + times.total, event_bytes_max);
        let mut incoming = found.answer.take_body();
        let mut input = buffer::small();
        self.clocks.borrow_mut()[lane.number] = incoming.link().map(|link| link.deadline.handle());
        apart.begin(&incoming);
        let end = loop {
            let (read, bytes) = incoming.more(input).await;
            let (rest, mut end) = apart.arrived(&incoming, &read, bytes, &mut self.said.borrow_mut());
            input = rest;
            // Whoever ends this lane from outside bills what it has said until then.
            lane.reading = apart.reading.clone();
            if lane.reading.output_bytes > 0 {
                let now = clock::now();
                lane.first_byte.get_or_insert(now);
                found.trial.iter_mut().for_each(|trial| trial.first_event(now));
            }
            let held = chorus.held();
            if held > buffer::LARGE && self.hold.borrow_mut().grow_to(held as u64).is_err() {
                end = end.or(Some(End::Broken(Code::Overloaded)));
            }
            if let Some(end) = end {
                break end;
            }
            // What came leaves before more is read: a vendor that floods cannot keep the core for itself.
            once().await;
        };
        buffer::give_back(input);
        self.clocks.borrow_mut()[lane.number] = None;
        if end == End::Complete {
            incoming.drain_now();
            deliver::give_back(plan, &mut incoming);
        }
        end
    }
}

/// Lets others go on for a moment.
async fn once() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Of each of several answers in one piece.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

async fn document(
    plan: &Plan<'_, '_>,
    found: &mut Found<'_>,
    lane: &mut Lane<'_>,
    times: &Times,
) -> Result<End, Missed> {
    let Some(translation) = plan.translation else { return Ok(End::Broken(Code::UpstreamInvalid)) };
    let total_at_ms = plan.admitted_ms + times.total;
    let gathered = deliver::gather(found.answer.take_body(), DOCUMENT_BYTES_MAX, total_at_ms).await;
    let (body, hold, mut incoming) = gathered.map_err(|stopped| stopped.missed(&mut found.trial))?;
    deliver::give_back(plan, &mut incoming);
    let mut reading = Reading::default();
    let read = translation.fold(plan.vendor, &body, &mut reading);
    buffer::give_back(body);
    Ok(match read {
        // Nobody hears what is no whole answer, so nobody pays for it.
        Some(Ok(_)) if reading.failed => {
            lane.reading.blames_caller = reading.blames_caller;
            End::VendorFailed
        }
        Some(Ok(answer)) => {
            lane.first_byte.get_or_insert(clock::now());
            (lane.answer, lane.reading, lane.hold) = (Some(answer), reading, hold);
            End::Complete
        }
        Some(Err(_)) | None => End::Broken(Code::UpstreamInvalid),
    })
}

fn cancelled(lane: &mut Lane<'_>, stream: bool) {
    if lane.ended.is_some() {
        return;
    }
    match (lane.calls.last_mut(), lane.by) {
        (Some(last), _) if last.outcome == Outcome::Complete => {
            last.outcome = Outcome::Cancelled;
            // As of any answer in one piece: its prompt was read.
            lane.is_owed = !stream;
        }
        (_, Some((_, vendor, since))) => {
            lane.calls.push(called(&vendor.name, "", 0, Outcome::Cancelled, since));
        }
        _ => {}
    }
}

/// The record's calls, and each answer at its own prices; the last one is left for the end. Says what those broke off with
/// that had begun.
fn tell<'l>(lanes: &mut [Lane<'l>], meter: &mut Meter<'l>) -> Option<Code> {
    meter.fanned_out();
    meter.delivered = lanes.iter().any(Lane::is_delivered);
    lanes.iter().filter_map(|lane| lane.first_byte).min().into_iter().for_each(|at| meter.first_byte(at));
    let mut broke = None;
    let (delivered, others): (Vec<_>, Vec<_>) = lanes.iter_mut().partition(|lane| lane.is_delivered());
    for lane in others {
        if let Some(last) = lane.calls.last_mut().filter(|last| last.outcome == Outcome::Complete) {
            last.outcome = Outcome::Failed;
        }
        meter.calls().append(&mut lane.calls);
    }
    let mut earlier: Option<Outcome> = None;
    for lane in delivered {
        if let Some(outcome) = earlier {
            meter.carry(outcome);
        }
        meter.calls().append(&mut lane.calls);
        if let Some((model, vendor, _)) = lane.by {
            let call = meter.calls().len().saturating_sub(1);
            meter.aim_at_call(model, vendor, call);
        }
        meter.reading = lane.reading.clone();
        let (_, code, outcome) = lane
            .ended
            .as_ref()
            .and_then(|ended| ended.as_ref().ok())
            .map_or((true, None, Outcome::Cancelled), |end| deliver::ending(*end));
        broke = broke.or(code);
        earlier = Some(outcome);
    }
    broke
}

/// None has said anything: what the first one's failure was is told.
fn missed(lanes: Vec<Lane<'_>>) -> Missed {
    let failed = lanes.into_iter().find_map(|lane| lane.ended?.err());
    failed.unwrap_or_else(|| Missed::of(Refusal::plain(Code::UpstreamError), Onward::Nowhere))
}

async fn end_stream(
    plan: &Plan<'_, '_>,
    chorus: &Chorus<'_>,
    broke: Option<Code>,
    mut said: Vec<u8>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'_>,
) -> Delivered {
    if !sink.has_begun() {
        deliver::begin_stream(plan, sink);
    }
    match broke {
        None => chorus.end(meter.used_so_far(), &mut said),
        Some(code) => {
            plan.scene.core.gauges.refused(code);
            chorus.fail(code, code.meaning(), &mut said);
        }
    }
    let outcome = if broke.is_some() { Outcome::Partial } else { Outcome::Complete };
    // The record is in the journal before the last chunk leaves.
    let bill = meter.close(200, broke, outcome);
    let (written, spare) = sink.chunk(said, true).await;
    buffer::give_back(spare);
    Delivered { status: 200, code: broke, outcome, bill, gone: written.is_err() }
}

async fn whole(
    plan: &Plan<'_, '_>,
    lanes: Vec<Lane<'_>>,
    names: &[&str],
    sink: &mut Sink<'_>,
    meter: &mut Meter<'_>,
) -> Delivered {
    let (answers, _holds): (Vec<_>, Vec<_>) =
        lanes.into_iter().filter_map(|lane| Some(((lane.number, lane.answer?), lane.hold))).unzip();
    let mut head = attempt::answer_head(plan, 200, None);
    head.field(b"content-type", b"application/json");
    let mut body = Vec::new();
    if let (Some((answer, whose)), Some(translation)) = (chorus::together(answers), plan.translation) {
        let whose: Vec<&str> = whose.iter().map(|lane| names[*lane]).collect();
        head.field(b"x-weir-choices", whose.join(", ").as_bytes());
        translation.say(&answer, plan.naming(), &mut body);
    }
    deliver::cost_field(&mut head, plan, meter);
    let bill = meter.close(200, None, Outcome::Complete);
    let written = sink.answer(head, &body).await;
    Delivered { status: 200, code: None, outcome: Outcome::Complete, bill, gone: written.is_err() }
}

fn head_room() -> Vec<u8> {
    let mut buffer = buffer::small();
    buffer.resize(HEAD_ROOM, 0);
    buffer
}
