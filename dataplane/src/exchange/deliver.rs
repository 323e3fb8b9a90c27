//! A vendor's good answer on its way to the caller: a stream, a checked document, or bytes as they come.

use std::cell::Cell;
use std::pin::pin;

use weir_shared::catalog::OnHangUp;
use weir_shared::fault::Code;
use weir_shared::ledger::Outcome;
use weir_shared::policy::resilience::Harm;
use weir_shared::policy::time::Times;
use weir_shared::usage::{Class, Usage};

use super::attempt::{Missed, Onward, Plan, answer_head, harm_of, is_bodyless, is_encoded};
use super::objects;
use super::waiter::Waiter;
use crate::accept::{Head, Sink};
use crate::buffer;
use crate::clock;
use crate::deadline::Why;
use crate::dialect::error::scrub;
use crate::dialect::relay::Relay;
use crate::dialect::speech::Framing;
use crate::dialect::{AnswerKind, BodyKind, Endpoint, Reading};
use crate::memory::Hold;
use crate::meter::{Bill, Meter};
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::route::{Pass, Trial};
use crate::stream::{self, End, Rewrite, Rules};
use crate::translate::Translation;
use crate::upstream::{Answer, Failure, Incoming, Taken};
use crate::wire::http1::Name;
use crate::wire::json;
use crate::wire::media;

/// What became of an admitted call.
pub struct Delivered {
    pub status: u16,
    pub code: Option<Code>,
    pub outcome: Outcome,
    /// There already when the record had to be written before the last bytes left.
    pub bill: Option<Box<Bill>>,
    pub gone: bool,
}

impl Delivered {
    pub fn gone(meter: &mut Meter<'_>) -> Self {
        let status = if meter.delivered { 200 } else { 499 };
        let bill = meter.close(status, None, Outcome::Cancelled);
        Self { status: 499, code: None, outcome: Outcome::Cancelled, bill, gone: true }
    }
}

/// How an answer is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Stream,
    Document,
    Bytes,
}

/// `Err`: it can be delivered in no manner that the caller asked for.
pub fn manner(plan: &Plan<'_, '_>, answer: &Answer) -> Result<Manner, Refusal> {
    if is_encoded(answer) {
        // Identity was asked for; what came can be neither checked nor counted.
        return Err(Refusal::plain(Code::UpstreamInvalid));
    }
    let content_type = answer.head.get(Name::ContentType, &answer.head_bytes).unwrap_or_default();
    match plan.stream {
        true if streams_as(plan, content_type) => Ok(Manner::Stream),
        true => Err(Refusal::plain(Code::UpstreamInvalid)),
        false if is_collected(plan.route.endpoint, content_type) => Ok(Manner::Document),
        false => Ok(Manner::Bytes),
    }
}

/// Whether this is the type that a stream of the vendor's language has.
fn streams_as(plan: &Plan<'_, '_>, content_type: &[u8]) -> bool {
    let own = plan.route.language.framing();
    match plan.translation.and_then(Translation::framings).map_or(own, |(vendor, _)| vendor) {
        Framing::EventStream => is_aws_stream(content_type),
        Framing::Sse => media::is_event_stream(content_type),
    }
}

fn is_aws_stream(content_type: &[u8]) -> bool {
    content_type.get(..AWS_STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(AWS_STREAM.as_bytes()))
}

const AWS_STREAM: &str = "application/vnd.amazon.eventstream";

/// Whether the answer to a call that does not stream is collected and checked.
fn is_collected(endpoint: &Endpoint, content_type: &[u8]) -> bool {
    match endpoint.answer {
        AnswerKind::Json => true,
        AnswerKind::Bytes => false,
        AnswerKind::Either => media::is_json(content_type),
    }
}

/// The head of a stream, in a vendor's silence before there is an answer.
pub fn begin_stream(plan: &Plan<'_, '_>, sink: &mut Sink<'_>) {
    begin(plan, stream_head(plan, None), sink);
}

fn begin(plan: &Plan<'_, '_>, head: Head, sink: &mut Sink<'_>) {
    sink.begin(head);
    sink.told_dropped = plan.dropped();
}

/// A head that left as a sign of life tells what fell of the call for the candidate that was asked then. When another one
/// answers, what fell for that one is told in a comment, which programs overlook like the sign of life itself.
fn correct(plan: &Plan<'_, '_>, sink: &mut Sink<'_>) {
    let dropped = plan.dropped();
    if sink.told_dropped == dropped {
        return;
    }
    let said = dropped.as_deref().unwrap_or("nothing");
    sink.aside(&plan.route.language.comment(&format!("x-weir-dropped: {said}")));
    sink.told_dropped = dropped;
}

/// It leaves with the first events.
fn stream_head(plan: &Plan<'_, '_>, answer: Option<&Answer>) -> Head {
    let mut head = answer_head(plan, 200, answer);
    match plan.translation.and_then(Translation::framings).map(|(_, caller)| caller) {
        Some(Framing::EventStream) => {
            head.field(b"content-type", AWS_STREAM.as_bytes());
        }
        Some(Framing::Sse) => {
            head.field(b"content-type", b"text/event-stream; charset=utf-8");
        }
        None if answer.is_none() && plan.route.language.framing() == Framing::EventStream => {
            head.field(b"content-type", AWS_STREAM.as_bytes());
        }
        None if answer.is_none() => {
            head.field(b"content-type", b"text/event-stream; charset=utf-8");
        }
        None => {}
    }
    head.field(b"cache-control", b"no-cache");
    // Proxies in front of us must not collect what we do not.
    head.field(b"x-accel-buffering", b"no");
    head
}

/// What goes in front of a stream's first events.
#[derive(Default)]
enum First {
    Head(Head),
    /// The head is out.
    Correction,
    #[default]
    Done,
}

/// What a stream is asked for beside its text.
#[derive(Clone, Copy)]
pub struct Wants {
    /// The caller wants to see its usage.
    pub usage: bool,
    /// Somebody else could answer, as long as the model has said nothing.
    pub elsewhere: bool,
    /// Somebody else could go on with what it has said.
    pub goes_on: bool,
}

/// An answer that cannot be delivered: its vendor has answered, so it may have done what it was asked for.
pub fn unheard(refusal: Refusal) -> Missed {
    Missed::of(refusal, Onward::Ambiguous)
}

/// What counts against a candidate whose answer ended like this.
fn harm_of_end(code: Code) -> Option<Harm> {
    match code {
        Code::UpstreamCut => Some(Harm::Truncated),
        Code::UpstreamIdle | Code::UpstreamTimeout => Some(Harm::Timeout),
        Code::UpstreamInvalid => Some(Harm::Invalid),
        Code::UpstreamError => Some(Harm::InBand),
        _ => None,
    }
}

pub fn earned(trial: Option<&Trial<'_>>, bill: Option<&Bill>) {
    if let (Some(trial), Some(bill)) = (trial, bill) {
        trial.earned(bill.last_cost, bill.last_tokens_out);
    }
}

pub fn judge(trial: &mut Option<Trial<'_>>, end: End, reading: &Reading) {
    let Some(trial) = trial else { return };
    match end {
        End::Complete => trial.good(),
        End::Cancelled if reading.output_bytes > 0 => trial.good(),
        End::Cancelled => {}
        // A vendor that says what is wrong with the request is well.
        End::VendorFailed | End::Broken(_) | End::Unheard(_) | End::Suspended(_) if reading.blames_caller => {
            trial.good()
        }
        // An answer that went on for as long as any may.
        End::Broken(Code::UpstreamTimeout) if reading.output_bytes > 0 => {}
        End::VendorFailed => trial.bad(Harm::InBand),
        End::Broken(code) | End::Unheard(code) | End::Suspended(code) => {
            harm_of_end(code).into_iter().for_each(|harm| trial.bad(harm))
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "an answer, and all that watches over it")]
pub async fn stream<'s>(
    plan: &Plan<'_, 's>,
    answer: &mut Answer,
    pass: &Pass<'_>,
    trial: &mut Option<Trial<'_>>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
    wants: Wants,
    times: &Times,
    lasting: Option<&mut Relay<'_>>,
) -> Result<Delivered, Missed> {
    let first = if sink.has_begun() { First::Correction } else { First::Head(stream_head(plan, Some(answer))) };
    let first = Cell::new(first);
    let begin = |sink: &mut Sink<'_>| match first.take() {
        First::Head(head) if !sink.has_begun() => begin(plan, head, sink),
        First::Head(_) | First::Correction => correct(plan, sink),
        First::Done => {}
    };
    if !wants.elsewhere {
        begin(sink);
    }
    let incoming = answer.take_body();
    answer.forget_head();
    let (live, key) = (plan.scene.live, plan.key);
    let rewrite = |data: &[u8]| objects::seal_ids(live, key, &plan.vendor.name, &pass.credential.name, data);
    let scrub = |event: &[u8]| scrub(event, plan.secrets(&pass.shown));
    let rules = Rules {
        language: plan.route.language,
        times,
        hide_usage: !wants.usage,
        strict: plan.vendor.strict_events,
        event_bytes_max: live.snapshot.catalog.gateway.sizes.event_bytes_max,
        total_at_ms: plan.admitted_ms + times.total,
        scrub: &scrub,
        drain: plan.vendor.on_hang_up == OnHangUp::Drain,
        rewrite: plan.names_objects().then_some(&rewrite as Rewrite<'_>),
        elsewhere: wants.elsewhere,
        goes_on: wants.goes_on,
        begin: &begin,
    };
    meter.delivered = true;
    let mut reading = Reading::default();
    let mut bill = None;
    let first_byte_at: Cell<Option<clock::Nanos>> = Cell::new(None);
    let (end, incoming) = {
        let meter = &mut *meter;
        let mut first_byte = || {
            if first_byte_at.get().is_none() {
                let now = clock::now();
                first_byte_at.set(Some(now));
                trial.iter_mut().for_each(|trial| trial.first_event(now));
            }
        };
        let mut close = |end: End, reading: &Reading| {
            meter.reading = reading.clone();
            first_byte_at.get().into_iter().for_each(|at| meter.first_byte(at));
            let (_, code, outcome) = ending(end);
            bill = meter.close(200, code, outcome);
        };
        let gauges = &plan.scene.core.gauges;
        let heading = if lasting.is_none() { plan.heading() } else { None };
        let said = heading.as_ref().and_then(|heading| plan.relay(heading));
        // Frames are no lines: they pass one by one.
        let framed = plan.route.language.framing() == Framing::EventStream;
        let said = said.or_else(|| (framed && lasting.is_none()).then(|| Relay::passing(plan.route.language)));
        let (first, close) = (&mut first_byte, &mut close);
        // Only who is translated pays for the room that this takes.
        match (lasting, said) {
            (None, None) => stream::forward(incoming, sink, &rules, &mut reading, gauges, first, close).await,
            (Some(relay), _) => {
                Box::pin(stream::relay(incoming, sink, &rules, relay, &mut reading, gauges, first, close)).await
            }
            (None, Some(mut relay)) => {
                Box::pin(stream::relay(incoming, sink, &rules, &mut relay, &mut reading, gauges, first, close)).await
            }
        }
    };
    judge(trial, end, &reading);
    if let End::Unheard(code) = end {
        meter.delivered = false;
        return Err(missed(code));
    }
    if let End::Suspended(code) = end {
        first_byte_at.get().into_iter().for_each(|at| meter.first_byte(at));
        meter.reading = reading;
        return Err(Missed { said: true, ..Missed::of(Refusal::plain(code), Onward::Elsewhere) });
    }
    earned(trial.as_ref(), bill.as_deref());
    if let Some(mut incoming) = incoming {
        give_back(plan, &mut incoming);
    }
    let (gone, code, outcome) = ending(end);
    if let Some(code) = code {
        plan.scene.core.gauges.refused(code);
    }
    if gone {
        // Whatever else was the end, its last chunk is out, and nobody was told that the connection ends with it.
        sink.close_after();
    }
    Ok(Delivered { status: 200, code, outcome, bill, gone })
}

/// A stream that ended before it had said anything.
pub fn missed(code: Code) -> Missed {
    match code {
        // Ours: nobody else's answer would fit either.
        Code::Overloaded => Missed::of(Refusal::plain(code).retry_in(1_000_000_000), Onward::Nowhere),
        Code::UpstreamError => Missed::of(Refusal::plain(code), Onward::Elsewhere),
        _ => unheard(Refusal::plain(code)),
    }
}

pub fn ending(end: End) -> (bool, Option<Code>, Outcome) {
    match end {
        End::Complete => (false, None, Outcome::Complete),
        End::Cancelled => (true, None, Outcome::Cancelled),
        End::VendorFailed => (false, Some(Code::UpstreamError), Outcome::Partial),
        End::Broken(code) | End::Unheard(code) | End::Suspended(code) => (false, Some(code), Outcome::Partial),
    }
}

/// The connection returns to its pool when its answer has ended; one whose last chunk is still under way is not waited for.
pub fn give_back(plan: &Plan<'_, '_>, incoming: &mut Incoming) {
    if let Some(link) = incoming.take_reusable() {
        plan.scene.core.pools.give(link);
    }
}

/// JSON: collected, checked, priced, and only then answered, in one write.
pub async fn document<'s>(
    plan: &Plan<'_, 's>,
    answer: &mut Answer,
    pass: &Pass<'_>,
    trial: &mut Option<Trial<'_>>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
    times: &Times,
) -> Result<Delivered, Missed> {
    let invalid = |trial: &mut Option<Trial<'_>>| {
        trial.iter_mut().for_each(|trial| trial.bad(Harm::Invalid));
        unheard(Refusal::plain(Code::UpstreamInvalid))
    };
    let object = plan.route.endpoint.body == BodyKind::Object;
    if is_bodyless(answer) && !(object && answer.head.status == 204) {
        return Err(invalid(trial));
    }
    let status = answer.head.status;
    let limit = plan.scene.live.snapshot.catalog.gateway.sizes.answer_bytes_max;
    if answer.body.as_ref().and_then(|body| body.length()).is_some_and(|length| length > limit) {
        return Err(Missed::of(Refusal::plain(Code::UpstreamInvalid), Onward::Nowhere));
    }
    let incoming = answer.take_body();
    let gathered = {
        let gathering = pin!(gather(incoming, limit, plan.admitted_ms + times.total));
        Waiter::Caller(sink).beside(gathering).await
    };
    let Some(gathered) = gathered else {
        meter.delivered = true;
        return Ok(Delivered::gone(meter));
    };
    // What it takes of the memory budget is held until the caller has taken it.
    let (mut body, _hold, mut incoming) = gathered.map_err(|stopped| stopped.missed(trial))?;
    let mut translated = None;
    if let Some(translation) = plan.translation {
        let said = translation.document(plan.vendor, plan.naming(), &body, &mut meter.reading);
        translated = Some(said.map_err(|_| invalid(trial))?);
    } else if !body.is_empty() || status != 204 {
        // Never a 200 with broken JSON.
        plan.route.language.read_answer(&body, &mut meter.reading).map_err(|_| invalid(trial))?;
    }
    if meter.reading.failed {
        // An error told under a good status is an error all the same.
        if meter.reading.blames_caller {
            trial.iter_mut().for_each(Trial::good);
            return Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Nowhere));
        }
        trial.iter_mut().for_each(|trial| trial.bad(Harm::InBand));
        return Err(Missed::of(Refusal::plain(Code::UpstreamError), Onward::Elsewhere));
    }
    if meter.reading.tells_failure {
        // A stored response, a video: what its vendor says of its failure is for the caller, where it lives is not.
        body = scrub(&body, plan.secrets(&pass.shown));
    }
    give_back(plan, &mut incoming);
    meter.delivered = true;
    let now = clock::now();
    meter.first_byte(now);
    // How long a whole answer takes says nothing of how soon it was begun.
    trial.iter_mut().for_each(Trial::good);
    let mut head = answer_head(plan, status, Some(answer));
    if translated.is_some() {
        head.field(b"content-type", b"application/json");
    }
    cost_field(&mut head, plan, meter);
    let body = translated.unwrap_or(body);
    let sealed = plan
        .names_objects()
        .then(|| objects::seal_ids(plan.scene.live, plan.key, &plan.vendor.name, &pass.credential.name, &body))
        .flatten();
    // The record is in the journal before the answer leaves.
    let bill = meter.close(status, None, Outcome::Complete);
    earned(trial.as_ref(), bill.as_deref());
    let written = sink.answer(head, sealed.as_deref().unwrap_or(&body)).await;
    buffer::give_back(body);
    Ok(Delivered { status, code: None, outcome: Outcome::Complete, bill, gone: written.is_err() })
}

pub fn cost_field(head: &mut Head, plan: &Plan<'_, '_>, meter: &Meter<'_>) {
    if plan.scene.live.snapshot.catalog.gateway.cost_header && plan.model.is_some() {
        let (_, sale) = meter.preview();
        head.dollars(b"x-weir-cost", sale);
    }
}

/// Why a whole answer was not collected.
pub enum Stopped {
    Failed(Failure),
    /// What was asked for is larger than what is allowed here: no harm of the vendor's, and no better elsewhere.
    TooLarge,
    NoMemory,
}

impl Stopped {
    /// As the failure of a candidate whose answer it was.
    pub fn missed(self, trial: &mut Option<Trial<'_>>) -> Missed {
        match self {
            Self::Failed(failure) => {
                trial.iter_mut().zip(harm_of(&failure)).for_each(|(trial, harm)| trial.bad(harm));
                // It was at work on it and billed it: the same one is not asked to do it again.
                Missed { again: false, ..Missed::failed(failure, Taken::Yes) }
            }
            Self::TooLarge => Missed::of(Refusal::plain(Code::UpstreamInvalid), Onward::Nowhere),
            Self::NoMemory => Missed::of(Refusal::plain(Code::Overloaded).retry_in(1_000_000_000), Onward::Nowhere),
        }
    }
}

/// A whole answer, and what it takes of the memory budget. May be dropped while it runs: its connection goes with it.
pub async fn gather(
    mut incoming: Box<Incoming>,
    most: u64,
    total_at_ms: u64,
) -> Result<(Vec<u8>, Hold, Box<Incoming>), Stopped> {
    if let Some(link) = incoming.link() {
        link.deadline.set_at(total_at_ms, Why::Total);
    }
    let mut hold = Hold::default();
    let mut body = match incoming.length() {
        Some(length) => buffer::with_room((length as usize).min(buffer::LARGE)),
        None => buffer::small(),
    };
    loop {
        if body.len() > buffer::LARGE && hold.grow_to(2 * body.len() as u64).is_err() {
            return Err(Stopped::NoMemory);
        }
        let (read, bytes) = incoming.more(body).await;
        body = bytes;
        match read {
            Ok(_) if incoming.is_done() => return Ok((body, hold, incoming)),
            Ok(0) => return Ok((body, hold, incoming)),
            Ok(_) if body.len() as u64 > most => return Err(Stopped::TooLarge),
            Ok(_) => {}
            Err(failure) => return Err(Stopped::Failed(failure)),
        }
    }
}

/// Audio, files, pictures: forwarded as they come. What they cost is known without reading them, or not at all.
pub async fn bytes<'s>(
    plan: &Plan<'_, 's>,
    answer: &mut Answer,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
    times: &Times,
) -> Result<Delivered, Refusal> {
    let status = answer.head.status;
    let mut head = answer_head(plan, status, Some(answer));
    let mut incoming = answer.take_body();
    meter.delivered = true;
    meter.reading.usage = known_usage(plan);
    cost_field(&mut head, plan, meter);
    let length = incoming.length();
    match length {
        Some(length) => sink.begin_sized(head, length),
        None => sink.begin(head),
    }
    answer.forget_head();
    let mut buffer = head_room(buffer::large());
    let total_at_ms = plan.admitted_ms + times.total;
    loop {
        if let Some(link) = incoming.link() {
            link.deadline.set_at((clock::coarse_ms() + times.idle).min(total_at_ms), Why::Idle);
        }
        let socket = incoming.link().map(|link| link.link.socket.clone());
        let (read, bytes) = {
            let mut reading = pin!(incoming.more(buffer));
            let first = {
                let mut gone = pin!(sink.caller.gone());
                either(reading.as_mut(), gone.as_mut()).await
            };
            match first {
                Either::First(arrived) => arrived,
                Either::Second(()) => {
                    if let Some(socket) = socket {
                        socket.shut();
                    }
                    drop(reading.await);
                    return Ok(Delivered::gone(meter));
                }
            }
        };
        buffer = bytes;
        let last = match read {
            Ok(count) => count == 0 || incoming.is_done(),
            Err(failure) => {
                // The head has promised a body that will not come: only a cut connection is honest.
                meter.first_byte(clock::now());
                let code = failure.code();
                let bill = meter.close(status, Some(code), Outcome::Partial);
                sink.caller.link.socket.shut();
                return Ok(Delivered { status, code: Some(code), outcome: Outcome::Partial, bill, gone: true });
            }
        };
        meter.first_byte(clock::now());
        meter.reading.output_bytes += (buffer.len() - crate::accept::HEAD_ROOM) as u64;
        let bill = last.then(|| meter.close(status, None, Outcome::Complete)).flatten();
        let written;
        (written, buffer) = match length {
            None => sink.chunk(buffer, last).await,
            Some(_) => {
                buffer.drain(..crate::accept::HEAD_ROOM);
                let (written, spare) = sink.raw(buffer).await;
                (written, head_room(spare))
            }
        };
        if written.is_err() {
            incoming.cut();
            return Ok(Delivered { bill, ..Delivered::gone(meter) });
        }
        if last {
            give_back(plan, &mut incoming);
            buffer::give_back(buffer);
            return Ok(Delivered { status, code: None, outcome: Outcome::Complete, bill, gone: false });
        }
    }
}

fn head_room(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.resize(crate::accept::HEAD_ROOM, 0);
    buffer
}

/// What bytes cost that nobody reads. Speech is paid by the characters that were asked for, and objects cost nothing; of
/// anything else the vendor's usage is missing, and what is delivered is counted.
fn known_usage(plan: &Plan<'_, '_>) -> Option<Usage> {
    if plan.model.is_none() {
        return Some(Usage::NONE);
    }
    if plan.route.endpoint.path != "audio/speech" {
        return None;
    }
    let input = json::members(plan.body).find(|(key, _)| json::key_is(key, "input"));
    let characters = input.and_then(|(_, value)| json::text(value)).map_or(0, |text| text.chars().count() as u64);
    Some(Usage::NONE.with(Class::Character, characters))
}
