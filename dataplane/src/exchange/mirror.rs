//! A copy of a call for the model that its route mirrors to: sent when the call is admitted, read to its end, and dropped.
//!
//! Nobody waits for it, and it takes nothing of the key's limits. It has a record of its own, whose cost is the operator's,
//! and how both answers did is compared once both have ended; when there is nothing to compare any more, because the caller
//! has gone or its call was none, the copy ends, too. A core that has enough to do sends none.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use weir_shared::catalog::{Dialect, Model};
use weir_shared::fault::Code;
use weir_shared::id::RequestId;
use weir_shared::ledger::{Attempt, Outcome};
use weir_shared::policy::mirroring::{Mirror, MirrorTally, Side};
use weir_shared::policy::time::Times;
use weir_shared::routing::{dice, mirrored};

use super::aim::{Aim, Telling};
use super::attempt::{self, Attempted, Found, Plan, Round};
use super::candidates::{Asked, generates};
use super::deliver::{self, Manner, Stopped};
use super::waiter::Waiter;
use super::{Done, Scene, fields};
use crate::accept::Request;
use crate::admit;
use crate::aside;
use crate::auth;
use crate::buffer;
use crate::clock;
use crate::core::{Core, LiveHere};
use crate::dialect::AnswerKind;
use crate::dialect::relay::Relay;
use crate::gauge::Counter;
use crate::live::Live;
use crate::memory::Hold;
use crate::meter::{self, Meter, Subject};
use crate::parse::{self, Route};
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::route::{self, Choice};
use crate::stream::{Apart, End};
use crate::translate;

/// The call's dice say that it is mirrored.
pub struct Drawn<'l> {
    mirror: &'l Mirror,
    /// A copy of it may be sent.
    is_free: bool,
}

/// Whether a copy of the call goes to what its route mirrors to.
pub fn drawn<'l>(asked: &Asked<'_, 'l>, choice: &Choice<'l>) -> Option<Drawn<'l>> {
    let (live, core) = (asked.scene.live, asked.scene.core);
    let route = choice.way.route.filter(|route| route.mirror.is_some())?;
    let snapshot = &live.snapshot;
    let reached = |model: &Model| {
        snapshot.vendor_of(model).dialect == asked.route.language.dialect() || translate::reaches(asked.route, model)
    };
    let (mirror, fit) = mirrored(route, snapshot, asked.key, &choice.shape, reached)?;
    // An object lives at one vendor, what nobody could say twice is not said twice, and sound is not compared.
    let is_comparable = asked.route.endpoint.answer == AnswerKind::Json && generates(asked);
    let is_plain = !asked.is_form && asked.pin.is_none() && asked.opened.is_none() && is_comparable;
    let is_calm = !core.strain.is_shedding() && !core.phase().is_draining();
    let is_well = || route::is_well(live, asked.key, mirror.model, &choice.shape, clock::now());
    Some(Drawn { mirror, is_free: is_plain && is_calm && fit.is_ok() && is_well() })
}

fn not_sent(tally: &MirrorTally) {
    tally.not_sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// The two answers, until both are known.
pub struct Twin {
    tally: Arc<MirrorTally>,
    original: Cell<Option<Side>>,
    copy: Cell<Option<Side>>,
    /// The copy is not wanted any more.
    withdrawn: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Twin {
    /// How the call itself ended. One whose caller left, or that nobody would have taken, says nothing of its candidate: and
    /// what costs its caller nothing is not to cost the operator a copy.
    pub fn original(&self, ended: &Result<Done, Refusal>) {
        match ended {
            Ok(Done::Gone(_)) => self.withdraw(),
            Ok(Done::Answered { status, .. }) | Err(Refusal { status, .. }) if is_callers(*status) => self.withdraw(),
            Ok(Done::Answered { status, outcome, bill, .. }) => {
                let is_good = *outcome == Some(Outcome::Complete) && (200..300).contains(status);
                self.original.set(Some(side(is_good, bill.as_deref())));
                self.compare();
            }
            Err(_) => {
                self.original.set(Some(Side::default()));
                self.compare();
            }
        }
    }

    fn withdraw(&self) {
        self.withdrawn.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn withdrawn(&self) {
        poll_fn(|cx| {
            if self.withdrawn.get() {
                return Poll::Ready(());
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn copy(&self, side: Side) {
        self.copy.set(Some(side));
        self.compare();
    }

    fn compare(&self) {
        if let (Some(original), Some(copy)) = (self.original.get(), self.copy.get()) {
            self.tally.compare(original, copy);
        }
    }
}

/// It is the caller's doing, and not its candidate's.
fn is_callers(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 429)
}

fn side(is_good: bool, bill: Option<&meter::Bill>) -> Side {
    let Some(bill) = bill else { return Side { is_good, ..Side::default() } };
    Side {
        is_good,
        first_byte_us: bill.first_byte_us,
        total_us: bill.total_us,
        tokens_out: bill.usage.answer_tokens(),
        cost_nano: bill.cost.0.unsigned_abs(),
    }
}

/// Sends a copy of the admitted call on its way.
pub fn send(asked: &Asked<'_, '_>, drawn: &Drawn<'_>) -> Option<Rc<Twin>> {
    let mirror = drawn.mirror;
    let place = drawn.is_free.then(|| asked.scene.core.aside.place()).flatten();
    let ready = place.and_then(|place| Some((place, Parcel::of(asked, mirror.model)?)));
    let Some((place, parcel)) = ready else {
        not_sent(&mirror.tally);
        return None;
    };
    let tally = Arc::clone(&mirror.tally);
    let (original, copy) = (Cell::new(None), Cell::new(None));
    let twin = Rc::new(Twin { tally, original, copy, withdrawn: Cell::new(false), waiting: Cell::new(None) });
    let core = Rc::clone(&parcel.core);
    aside::spawn(place, &core.gauges, carry(parcel, Rc::clone(&twin)));
    Some(twin)
}

/// All that a copy needs when the call itself is long over.
struct Parcel {
    core: Rc<Core>,
    live: Rc<LiveHere>,
    request: Request,
    route: Route,
    body: Vec<u8>,
    query: Vec<u8>,
    original: RequestId,
    dialect: Dialect,
    from: IpAddr,
    model: u32,
    _hold: Hold,
}

impl Parcel {
    fn of(asked: &Asked<'_, '_>, model: u32) -> Option<Self> {
        let scene = asked.scene;
        let core = scene.core.handle()?;
        // Numbers of models are of one revision: when it has just changed, the copy is not sent.
        let live = core.live().filter(|here| std::ptr::eq::<Live>(&***here, scene.live))?;
        let mut hold = Hold::of_body(asked.key.id, scene.from);
        if asked.bytes.len() > buffer::LARGE {
            hold.grow_body_to(asked.bytes.len() as u64).ok()?;
        }
        Some(Self {
            core,
            live,
            request: asked.request.head_again(clock::now()),
            route: asked.route.clone(),
            body: asked.bytes.to_vec(),
            query: asked.query.to_vec(),
            original: scene.request_id,
            dialect: scene.dialect,
            from: scene.from,
            model,
            _hold: hold,
        })
    }
}

async fn carry(parcel: Parcel, twin: Rc<Twin>) {
    let request_id = parcel.core.next_id(parcel.request.started);
    let text = request_id.text();
    let scene = Scene {
        core: &parcel.core,
        live: &parcel.live,
        request_id,
        request_text: std::str::from_utf8(&text).unwrap_or_default(),
        dialect: parcel.dialect,
        from: parcel.from,
    };
    match delivered(&parcel, &scene, &twin).await {
        Some(Some(side)) => twin.copy(side),
        // It was too long to be read, or is not wanted any more: which says nothing of it.
        Some(None) => {}
        None => not_sent(&twin.tally),
    }
}

/// `None`: no vendor was asked.
async fn delivered(parcel: &Parcel, scene: &Scene<'_>, twin: &Twin) -> Option<Option<Side>> {
    let (live, request) = (scene.live, &parcel.request);
    let key = auth::authenticate(request, &parcel.query, parcel.from, live).ok()?;
    let call = parse::call(&parcel.route, &parcel.body, &parcel.query).ok()?;
    let bytes = &parcel.body[..];
    let (route, query) = (&parcel.route, &parcel.query[..]);
    let asked =
        Asked { scene, route, call: &call, bytes, is_form: false, opened: None, key, query, request, pin: None };
    let model = &live.snapshot.catalog.models[parcel.model as usize];
    let aim = Aim::at(&asked, Some(model), model.vendor, Telling::Once).ok()?;
    let tokens = admit::expected_tokens(bytes.len(), call.tokens_max, model.output_tokens_max, call.choices);
    let room = meter::record_bytes(Some(model), aim.vendor, &key.tenant.name);
    let ticket = admit::aside(key, tokens, &scene.core.journal, room).ok()?;
    let plan = Plan { operators: true, ..aim.plan(&asked, tokens, clock::coarse_ms()) };
    let times = plan.times();
    let mut made = Vec::new();
    let calls = Cell::new(0);
    let round = round(&plan, &times, &calls);
    let attempted = match either(pin!(ask(&plan, &times, &round, &mut made)), pin!(twin.withdrawn())).await {
        Either::First(attempted) => Some(attempted),
        Either::Second(()) => None,
    };
    if attempted.is_none() {
        made.extend(attempt::given_up(&plan, &round));
    }
    if made.is_empty() {
        return None;
    }
    let subject = Subject {
        id: scene.request_id,
        model: Some(model),
        vendor: aim.vendor,
        revision: live.snapshot.revision,
        trace: fields::trace_id(request),
        stream: call.stream,
        started: request.started,
        prompt_bytes: bytes.len(),
        mirror_of: Some(parcel.original),
    };
    scene.core.gauges.add(Counter::Mirrored, 1);
    let mut meter = Meter::open(ticket, &scene.core.gauges, &subject);
    *meter.calls() = made;
    Some(match attempted {
        Some(Ok(mut found)) => {
            let heard = {
                let hearing = pin!(hear(&plan, &mut found, &mut meter, &times));
                either(hearing, pin!(twin.withdrawn())).await
            };
            match heard {
                Either::First(side) => side,
                Either::Second(()) => {
                    // Its vendor was at work on it: the prompt is owed.
                    meter.delivered = true;
                    None
                }
            }
        }
        Some(Err(refusal)) => {
            let bill = meter.close(refusal.status, Some(refusal.code), Outcome::Failed);
            Some(side(false, bill.as_deref()))
        }
        None => None,
    })
}

fn round<'r>(plan: &Plan<'_, '_>, times: &Times, calls: &'r Cell<usize>) -> Round<'r> {
    Round {
        calls,
        answer_by_ms: clock::coarse_ms() + times.first_byte,
        is_short: false,
        // One call: the budget of further ones is for those who wait.
        calls_max: 1,
        dice: dice(plan.scene.request_id.0 as u64, 0),
        asking: Cell::new(None),
    }
}

async fn ask<'s>(
    plan: &Plan<'_, 's>,
    times: &Times,
    round: &Round<'_>,
    made: &mut Vec<Attempt<'s>>,
) -> Result<Found<'s>, Refusal> {
    match attempt::run(plan, &mut Waiter::Other, made, times, round).await {
        Ok(Attempted::Answered(found)) => Ok(found),
        // Only a caller goes.
        Ok(Attempted::Gone) => Err(Refusal::plain(Code::UpstreamError)),
        Err(missed) => Err(missed.refusal),
    }
}

/// Reads the answer to its end, for its meter. `None`: it was longer than what is read.
async fn hear(plan: &Plan<'_, '_>, found: &mut Found<'_>, meter: &mut Meter<'_>, times: &Times) -> Option<Side> {
    let end = match deliver::manner(plan, &found.answer) {
        Ok(Manner::Stream) => stream(plan, found, meter, times).await,
        Ok(Manner::Document) => match document(plan, found, meter, times).await {
            Ok(end) => end,
            Err(Stopped::Failed(failure)) => End::Broken(failure.code()),
            Err(Stopped::TooLarge | Stopped::NoMemory) => {
                meter.close(200, Some(Code::Overloaded), Outcome::Cancelled);
                return None;
            }
        },
        Ok(Manner::Bytes) | Err(_) => End::Broken(Code::UpstreamInvalid),
    };
    deliver::judge(&mut found.trial, end, &meter.reading);
    meter.delivered = end == End::Complete || meter.reading.output_bytes > 0;
    let (_, code, outcome) = deliver::ending(end);
    let outcome = if meter.delivered { outcome } else { Outcome::Failed };
    let bill = meter.close(200, code, outcome);
    deliver::earned(found.trial.as_ref(), bill.as_deref());
    found.pass.used(meter.reading.usage.map_or(plan.tokens, |usage| usage.tokens()));
    Some(side(end == End::Complete, bill.as_deref()))
}

async fn stream(plan: &Plan<'_, '_>, found: &mut Found<'_>, meter: &mut Meter<'_>, times: &Times) -> End {
    let heading = plan.heading();
    let relay = heading.as_ref().and_then(|heading| plan.relay(heading));
    let relay = relay.unwrap_or_else(|| Relay::passing(plan.route.language));
    let event_bytes_max = plan.scene.live.snapshot.catalog.gateway.sizes.event_bytes_max;
    let mut apart = Apart::new(relay, times, plan.admitted_ms + times.total, event_bytes_max);
    let mut incoming = found.answer.take_body();
    let (mut input, mut said) = (buffer::small(), buffer::small());
    apart.begin(&incoming);
    let end = loop {
        let (read, bytes) = incoming.more(input).await;
        let (rest, end) = apart.arrived(&incoming, &read, bytes, &mut said);
        input = rest;
        said.clear();
        if apart.reading.output_bytes > 0 {
            let now = clock::now();
            meter.first_byte(now);
            // Should it end before its end, this much was had.
            (meter.reading, meter.delivered) = (apart.reading.clone(), true);
            found.trial.iter_mut().for_each(|trial| trial.first_event(now));
        }
        if let Some(end) = end {
            break end;
        }
    };
    buffer::give_back(input);
    buffer::give_back(said);
    meter.reading = apart.reading;
    if end == End::Complete {
        incoming.drain_now();
        deliver::give_back(plan, &mut incoming);
    }
    end
}

/// Longer answers are not worth a comparison.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

async fn document(
    plan: &Plan<'_, '_>,
    found: &mut Found<'_>,
    meter: &mut Meter<'_>,
    times: &Times,
) -> Result<End, Stopped> {
    let total_at_ms = plan.admitted_ms + times.total;
    let (body, _hold, mut incoming) =
        deliver::gather(found.answer.take_body(), DOCUMENT_BYTES_MAX, total_at_ms).await?;
    deliver::give_back(plan, &mut incoming);
    meter.first_byte(clock::now());
    let read = match plan.translation {
        Some(translation) => {
            translation.document(plan.vendor, plan.naming(), &body, &mut meter.reading).map(drop).is_ok()
        }
        None => plan.route.language.read_answer(&body, &mut meter.reading).is_ok(),
    };
    buffer::give_back(body);
    Ok(match (read, meter.reading.failed) {
        (false, _) => End::Broken(Code::UpstreamInvalid),
        (true, true) => End::VendorFailed,
        (true, false) => End::Complete,
    })
}
