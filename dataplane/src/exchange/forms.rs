//! Forms: forwarded as they come, once the model is known. A file of half a gigabyte never lies in our memory.
//!
//! What comes before the model waits in a spool. A form that is there whole in memory goes the way of all calls: its
//! name may be a route's, and after a failure the next candidate gets it. A larger one goes to one vendor: there whole, it is said
//! again after a refusal with the next credential; still coming, it can be said once only.

use std::ops::Range;
use std::pin::pin;

use weir_shared::fault::Code;
use weir_shared::ledger::Outcome;
use weir_shared::policy::time::Times;
use weir_shared::snapshot::Key;

use super::attempt::{self, Plan};
use super::candidates::{self, Asked};
use super::deliver::{self, Delivered, Manner, Wants};
use super::waiter::Waiter;
use super::{Done, Scene, Teller, fields, objects, open_meter, settle};
use crate::accept::{Caller, Pace, Request, Sink, Unreadable};
use crate::admit;
use crate::buffer;
use crate::clock;
use crate::deadline::Why;
use crate::dialect::BodyKind;
use crate::gauge::{Counter, Timing};
use crate::memory::Hold;
use crate::meter::{self, Meter};
use crate::parse::{self, Route, Splices};
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::resolve;
use crate::route::{self, Pass};
use crate::spool::{MEMORY_BYTES_MAX, Spool};
use crate::upstream::{self, Length};
use crate::wire::chunked::{self, Decoder};
use crate::wire::http1::{Framing, Method, Name};
use crate::wire::multipart::{BadForm, Found, Walker};

pub async fn forward<'l>(
    scene: &Scene<'l>,
    request: &mut Request,
    key: &'l Key,
    route: &Route,
    query: &[u8],
    sink: &mut Sink<'_>,
    teller: &mut Teller<'l>,
) -> Result<Done, Refusal> {
    let live = scene.live;
    let gateway = &live.snapshot.catalog.gateway;
    let limit = gateway.sizes.forwarded_bytes_max;
    let walker = request.get(Name::ContentType).and_then(Walker::of_content_type).ok_or_else(|| {
        Refusal::new(Code::InvalidBody, "The content type must be multipart/form-data with one boundary.").closing()
    })?;
    if request.head.method != Method::Post {
        return Err(Refusal::new(Code::InvalidBody, "Only POST requests have a body here.").closing());
    }
    fields::check_length(request, limit)?;
    if request.head.framing == Framing::None {
        return Err(Refusal::new(Code::InvalidBody, "The form is empty."));
    }
    let place = admit::enter(key)?;
    if request.head.expects_continue && sink.interim(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return Ok(Done::Gone(None));
    }
    request.head.expects_continue = false;
    teller.unread = false;
    let wants_model = matches!(route.endpoint.body, BodyKind::ModelInForm | BodyKind::ModelInEither);
    let mut source = Source::new(request, limit, walker, Hold::of_body(key.id, scene.from));
    let found = match source.prologue(sink.caller, &gateway.times, wants_model).await {
        Ok(found) => found,
        Err(unreadable) => return Refusal::of_unreadable(unreadable).map_or(Ok(Done::Gone(None)), Err),
    };
    if wants_model && found.is_none() {
        return Err(Refusal::new(Code::InvalidBody, "The form has no field 'model'.").closing());
    }
    if source.done
        && let Some(bytes) = source.spool.at_hand()
    {
        scene.core.gauges.add(Counter::BytesFromCallers, bytes.len() as u64);
        let name = found.as_ref().map(|field| source.name(field)).unwrap_or_default();
        let call = parse::Call::of_form(name.into(), found.map(|at| at.start as usize..at.end as usize));
        let opened = None;
        let asked = Asked { scene, route, call: &call, bytes, is_form: true, opened, key, query, request, pin: None };
        return candidates::serve(&asked, place, sink, teller).await;
    }
    let (model, vendor_place) = match &found {
        Some(field) => {
            let name = source.name(field);
            let model = resolve::resolve(live, key, &name, route.language.dialect(), |_| false)
                .map_err(|error| Refusal::from(error).closing())?;
            (Some(model), model.vendor)
        }
        None => (None, objects::vendor(scene, key, request).map_err(Refusal::closing)?),
    };
    let (vendor, target) = live.target(vendor_place);
    let tokens = if model.is_some() { admit::expected_tokens(source.spool.len() as usize, None, 0, 1) } else { 0 };
    let room = meter::record_bytes(model, vendor, &key.tenant.name);
    let ticket = admit::admit(place, tokens, &scene.core.journal, room, false, request.started)
        .map_err(|error| Refusal::from(error).closing())?;
    let mut meter = open_meter(scene, ticket, model, vendor, false, request, 0);
    if let (Some(field), Some(model)) = (found, model) {
        source.splice = Some((field, model.upstream.as_bytes().to_vec()));
    }
    let splices = Splices::default();
    let plan = Plan {
        scene,
        route,
        translation: None,
        vendor,
        target,
        model,
        asked_model: "",
        key,
        query,
        request,
        body: b"",
        splices: &splices,
        tokens,
        stream: false,
        admitted_ms: clock::coarse_ms(),
        pinned: None,
        object_id: "",
        operators: false,
    };
    // Whatever happens, the rest of the form is not read as a request.
    let result = send(&plan, &mut source, sink, &mut meter).await;
    let result = if source.done { result } else { result.map_err(Refusal::closing) };
    settle(result, &mut meter, teller)
}

/// Each credential once, as long as the form can be said again.
async fn send<'s>(
    plan: &Plan<'_, 's>,
    source: &mut Source,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
) -> Result<Delivered, Refusal> {
    let gauges = &plan.scene.core.gauges;
    let is_whole = source.done;
    let mut passes = plan.passes();
    let mut last: Option<Refusal> = None;
    for _ in 0..attempt::CALLS_MAX {
        let since = clock::now();
        let pass = match passes.next(since) {
            Ok(pass) => pass,
            Err(none) => return Err(last.unwrap_or_else(|| none.into())),
        };
        match last {
            None => gauges.time(Timing::Admission, (since - plan.request.started) / 1_000),
            Some(_) => gauges.add(Counter::CredentialsSkipped, 1),
        }
        let (refusal, status) = match say(plan, &pass, source, sink, meter, since).await? {
            Said::Delivered(delivered) => return Ok(delivered),
            Said::Refused(refusal, status) => (refusal, status),
        };
        attempt::rest(pass.secret, &refusal, status);
        if !is_whole || !matches!(status, 401 | 403 | 429) {
            return Err(refusal);
        }
        source.again();
        last = Some(refusal);
    }
    Err(last.unwrap_or_else(|| Refusal::plain(Code::UpstreamError)))
}

enum Said {
    Delivered(Delivered),
    /// The vendor's own words, and its status.
    Refused(Refusal, u16),
}

/// Says the form once.
async fn say<'s>(
    plan: &Plan<'_, 's>,
    pass: &Pass<'s>,
    source: &mut Source,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
    since: clock::Nanos,
) -> Result<Said, Refusal> {
    let core = plan.scene.core;
    let times = plan.times();
    let credential: &'s str = &plan.vendor.credentials[pass.place].name;
    core.gauges.add(Counter::UpstreamCalls, 1);
    // A body that may not be said twice goes on a fresh connection: a stale one would lose it.
    let mut link = match upstream::open(&core.gauges, plan.vendor, plan.target, &times).await {
        Ok(link) => link,
        Err(failure) => {
            meter.attempt(credential, 0, Outcome::Failed, since);
            return Err(failure.into());
        }
    };
    let health = plan.model.and_then(|model| model.health.get(pass.place));
    let counted = health.map(|cell| (&cell.get().quota, cell.get().quota.send()));
    let head = plan.head(&pass.shown, source.length(), None);
    link.deadline.set(times.write, Why::FirstByte);
    if let Err(failure) = link.write(head).await {
        meter.attempt(credential, 0, Outcome::Failed, since);
        return Err(failure.into());
    }
    loop {
        let part = match source.part(sink.caller, &times).await {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(unreadable) => {
                meter.attempt(credential, 0, Outcome::Cancelled, since);
                link.link.socket.shut();
                return match Refusal::of_unreadable(unreadable) {
                    Some(refusal) => Err(refusal),
                    None => Ok(Said::Delivered(Delivered::gone(meter))),
                };
            }
        };
        core.gauges.add(Counter::BytesFromCallers, part.len() as u64);
        link.deadline.set(times.write, Why::FirstByte);
        // A vendor that answers early stops reading: then its answer counts.
        if link.write(part).await.is_err() {
            break;
        }
    }
    if !source.done {
        // The vendor answers without the rest of the form, which is still to come: its bytes must never be a request.
        sink.close_after();
    }
    link.deadline.set(times.first_byte, Why::FirstByte);
    let awaited = {
        let mut answering = pin!(upstream::await_head(link, false));
        let mut gone = pin!(sink.caller.gone());
        either(answering.as_mut(), gone.as_mut()).await
    };
    let mut answer = match awaited {
        Either::First(Ok(answer)) => answer,
        Either::First(Err((failure, _))) => {
            meter.attempt(credential, 0, Outcome::Failed, since);
            return Err(failure.into());
        }
        Either::Second(()) => {
            meter.attempt(credential, 0, Outcome::Cancelled, since);
            return Ok(Said::Delivered(Delivered::gone(meter)));
        }
    };
    if let Some((quota, number)) = counted {
        route::learn(quota, number, &answer.head, &answer.head_bytes);
    }
    let status = answer.head.status;
    if (200..300).contains(&status) {
        meter.attempt(credential, status, Outcome::Complete, since);
        let delivered = match deliver::manner(plan, &answer)? {
            Manner::Stream => {
                let wants = Wants { usage: true, elsewhere: false, goes_on: false };
                let told = deliver::stream(plan, &mut answer, pass, &mut None, sink, meter, wants, &times, None).await;
                told.map_err(|missed| missed.refusal)
            }
            Manner::Document => {
                let told = deliver::document(plan, &mut answer, pass, &mut None, sink, meter, &times).await;
                told.map_err(|missed| missed.refusal)
            }
            Manner::Bytes => deliver::bytes(plan, &mut answer, sink, meter, &times).await,
        };
        pass.used(meter.reading.usage.map_or(plan.tokens, |usage| usage.tokens()));
        return delivered.map(Said::Delivered);
    }
    meter.attempt(credential, status, Outcome::Failed, since);
    match attempt::read_refusal(plan, answer, &pass.shown, &mut Waiter::Caller(sink)).await {
        Some(refusal) => Ok(Said::Refused(refusal, status)),
        None => Ok(Said::Delivered(Delivered::gone(meter))),
    }
}

/// A form's bytes: what was spooled to find the model, then the rest as it comes.
struct Source {
    spool: Spool,
    /// The model's value, as the vendor calls it.
    splice: Option<(Range<u64>, Vec<u8>)>,
    /// How much of the spool has been said, and whether the splice has.
    said: u64,
    spliced: bool,
    framing: Framing,
    /// Of a sized body: what has not been read yet.
    left: u64,
    declared: u64,
    /// The vendor is told no length.
    chunked: bool,
    decoder: Decoder,
    taken: u64,
    limit: u64,
    done: bool,
    pace: Pace,
    walker: Walker,
    model: Model,
}

/// Where the field `model` is, as far as it has been seen. A form that has it twice is nobody's to forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Model {
    Unseen,
    Open { value_at: usize },
    At { value_at: usize, value_end: usize },
}

/// As much of the spool is said at once.
const PIECE: u64 = 256 << 10;
/// A longer one is no model's name.
const NAME_BYTES_MAX: u64 = 1 << 10;

impl Source {
    fn new(request: &mut Request, limit: u64, walker: Walker, hold: Hold) -> Self {
        let declared = if let Framing::Sized(length) = request.head.framing { length } else { 0 };
        Self {
            spool: Spool::new(Caller::take_behind_head(request), hold),
            splice: None,
            said: 0,
            spliced: false,
            framing: request.head.framing,
            left: declared,
            declared,
            chunked: false,
            decoder: Decoder::default(),
            taken: 0,
            limit,
            done: false,
            pace: Pace::start(),
            walker,
            model: Model::Unseen,
        }
    }

    /// Reads until the model's field is there whole, and says where; a form that is small enough, to its end.
    async fn prologue(
        &mut self,
        caller: &mut Caller,
        times: &Times,
        wants_model: bool,
    ) -> Result<Option<Range<u64>>, Unreadable> {
        let raw = self.spool.take_first();
        let first = self.unframe(raw, caller)?;
        self.spool.push(&first)?;
        buffer::give_back(first);
        loop {
            let model = match self.model {
                Model::At { value_at, value_end } => Some(value_at as u64..value_end as u64),
                _ => None,
            };
            let large = self.spool.is_large() || self.declared > MEMORY_BYTES_MAX as u64;
            if self.done || (large && (model.is_some() || !wants_model)) {
                self.chunked = !self.done && self.framing == Framing::Chunked;
                return Ok(model.filter(|_| wants_model));
            }
            if let Some(part) = self.read(caller, times).await? {
                self.spool.push(&part)?;
                buffer::give_back(part);
            }
        }
    }

    /// What the model's field says; empty when it is nobody's name.
    fn name(&self, field: &Range<u64>) -> String {
        if field.end - field.start > NAME_BYTES_MAX {
            return String::new();
        }
        // It may lie on both sides of the spool's border.
        let mut bytes = self.spool.read(field.clone()).unwrap_or_default();
        let more = self.spool.read(field.start + bytes.len() as u64..field.end).unwrap_or_default();
        bytes.extend_from_slice(&more);
        String::from_utf8(bytes).unwrap_or_default()
    }

    fn length(&self) -> Length {
        if self.chunked {
            return Length::Chunked;
        }
        let all = if self.done { self.spool.len() } else { self.declared };
        let other =
            self.splice.as_ref().map_or(0, |(field, with)| with.len() as i64 - (field.end - field.start) as i64);
        Length::Sized(all.saturating_add_signed(other))
    }

    /// From its beginning, for another credential.
    fn again(&mut self) {
        (self.said, self.spliced) = (0, false);
    }

    /// The next bytes for the vendor, framed as [`Source::length`] says.
    async fn part(&mut self, caller: &mut Caller, times: &Times) -> Result<Option<Vec<u8>>, Unreadable> {
        if let Some(part) = self.spooled()? {
            return Ok(Some(self.frame(part)));
        }
        if self.done {
            return Ok(None);
        }
        match self.read(caller, times).await? {
            Some(part) => Ok(Some(self.frame(part))),
            None if self.chunked => Ok(Some(chunked::LAST.to_vec())),
            None => Ok(None),
        }
    }

    fn spooled(&mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut end = self.said + PIECE;
        if let Some((field, with)) = self.splice.as_ref().filter(|_| !self.spliced) {
            if self.said == field.start {
                (self.said, self.spliced) = (field.end, true);
                return Ok(Some(with.clone()));
            }
            end = end.min(field.start);
        }
        let part = self.spool.read(self.said..end).map_err(|_| Unreadable::OutOfMemory)?;
        self.said += part.len() as u64;
        Ok(Some(part).filter(|part| !part.is_empty()))
    }

    fn frame(&self, part: Vec<u8>) -> Vec<u8> {
        if !self.chunked {
            return part;
        }
        let mut out = Vec::with_capacity(part.len() + 24);
        chunked::append(&mut out, &part);
        if self.done {
            out.extend_from_slice(chunked::LAST);
        }
        out
    }

    async fn read(&mut self, caller: &mut Caller, times: &Times) -> Result<Option<Vec<u8>>, Unreadable> {
        while !self.done {
            let raw = caller.body_part(buffer::large(), &mut self.pace, times).await?;
            let part = self.unframe(raw, caller)?;
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Every byte of the form is looked at while it passes: the model that was admitted is the only one in it.
    fn look(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let mut model = self.model;
        let mut twice = false;
        let walked = self.walker.walk(bytes, |found| match (found, model) {
            (Found::Field { name, value_at }, Model::Unseen) if name == b"model" => model = Model::Open { value_at },
            (Found::Field { name, .. }, _) => twice |= name == b"model",
            (Found::End { value_end }, Model::Open { value_at }) => {
                // An empty value ends before it begins: its delimiter shares the line end.
                model = Model::At { value_at, value_end: value_end.max(value_at) };
            }
            _ => {}
        });
        self.model = model;
        match walked {
            Ok(()) if twice => Err(Unreadable::Form(BadForm("it has two fields 'model'"))),
            walked => walked.map_err(Unreadable::Form),
        }
    }

    /// Takes the caller's framing off; what lies behind the body goes back to the connection.
    fn unframe(&mut self, mut raw: Vec<u8>, caller: &mut Caller) -> Result<Vec<u8>, Unreadable> {
        match self.framing {
            Framing::Sized(_) => {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(raw.len());
                caller.put_back(&raw[take..]);
                raw.truncate(take);
                self.left -= take as u64;
                self.done = self.left == 0;
            }
            _ => {
                let decoded = self.decoder.decode(&mut raw).map_err(Unreadable::Chunk)?;
                caller.put_back(&raw[decoded.consumed..]);
                raw.truncate(decoded.payload);
                self.done = decoded.done;
            }
        }
        self.look(&raw)?;
        self.taken += raw.len() as u64;
        if self.taken > self.limit { Err(Unreadable::BodyTooLarge) } else { Ok(raw) }
    }
}
