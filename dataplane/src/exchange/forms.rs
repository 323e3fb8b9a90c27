//! Forms: forwarded as they come, once the model is known. A file of half a gigabyte never lies in our memory.

use std::pin::pin;

use weir_shared::fault::Code;
use weir_shared::ledger::Outcome;
use weir_shared::snapshot::Key;

use super::attempt::{self, Plan};
use super::deliver::{self, Delivered, Manner};
use super::{Done, Scene, Teller, fields, objects, open_meter, settle};
use crate::accept::{Caller, Pace, Request, Sink, Unreadable};
use crate::admit;
use crate::buffer;
use crate::clock;
use crate::deadline::Why;
use crate::dialect::BodyKind;
use crate::gauge::Counter;
use crate::memory::Hold;
use crate::meter::{self, Meter};
use crate::parse::{Route, Splices};
use crate::race::{Either, either};
use crate::refusal::Refusal;
use crate::resolve;
use crate::route;
use crate::upstream::{self, Length};
use crate::wire::chunked::{self, Decoder};
use crate::wire::http1::{Framing, Method, Name};
use crate::wire::multipart::{BadForm, Found, Walker};

pub fn is_form(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"multipart/form-data")
}

/// What may be read before the model is found. SDKs write the fields before the files.
const PROLOGUE_BYTES_MAX: usize = 4 << 20;

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
    let (model, vendor_place) = match (&found, wants_model) {
        (Some(field), _) => {
            let name = std::str::from_utf8(&source.collected[field.clone()]).unwrap_or_default().to_owned();
            let model = resolve::resolve(live, key, &name, route.language.dialect(), |_| false)
                .map_err(|error| Refusal::from(error).closing())?;
            (Some(model), model.vendor)
        }
        (None, true) => {
            return Err(Refusal::new(
                Code::InvalidBody,
                "The form has no field 'model' within its first 4 MiB; put it before the files.",
            )
            .closing());
        }
        (None, false) => (None, objects::vendor(scene, key, request).map_err(Refusal::closing)?),
    };
    let (vendor, target) = live.target(vendor_place);
    let tokens = if model.is_some() { admit::worst_case(source.collected.len(), None, 0, 1) } else { 0 };
    let room = meter::record_bytes(model, vendor, &key.tenant.name);
    let ticket = admit::admit(place, tokens, &scene.core.journal, room, false, request.started)
        .map_err(|error| Refusal::from(error).closing())?;
    let mut meter = open_meter(scene, ticket, model, vendor, false, request, 0);
    if let (Some(field), Some(model)) = (found, model) {
        source.replace(field, model.upstream.as_bytes());
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
        pinned: None,
        object_id: "",
    };
    // Whatever happens, the rest of the form is not read as a request: the connection goes on only after a good answer.
    let result = send(&plan, &mut source, sink, &mut meter).await.map_err(Refusal::closing);
    settle(result, &mut meter, teller)
}

async fn send<'s>(
    plan: &Plan<'_, 's>,
    source: &mut Source,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'s>,
) -> Result<Delivered, Refusal> {
    let core = plan.scene.core;
    let times = plan.times();
    let since = clock::now();
    let pass = route::next_pass(plan.vendor, plan.target, plan.tokens, 0, None, since)?;
    let credential: &'s str = &plan.vendor.credentials[pass.place].name;
    core.gauges.add(Counter::UpstreamCalls, 1);
    // A body that cannot be said twice goes on a fresh connection: a stale one would lose it.
    let mut link = match upstream::open(&core.gauges, plan.vendor, plan.target, &times).await {
        Ok(link) => link,
        Err(failure) => {
            meter.attempt(credential, 0, Outcome::Failed, since);
            return Err(failure.into());
        }
    };
    let length = source.length();
    let head = plan.head(&pass.shown, length, None);
    link.deadline.set(times.write, Why::FirstByte);
    let mut failed = link.write(head).await.err();
    while failed.is_none() {
        let part = match source.part(sink.caller, &times).await {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(unreadable) => {
                meter.attempt(credential, 0, Outcome::Cancelled, since);
                link.link.socket.shut();
                return match Refusal::of_unreadable(unreadable) {
                    Some(refusal) => Err(refusal),
                    None => Ok(Delivered::gone(meter)),
                };
            }
        };
        core.gauges.add(Counter::BytesFromCallers, part.len() as u64);
        link.deadline.set(times.write, Why::FirstByte);
        // A vendor that answers early stops reading: then its answer counts.
        if link.write(part).await.is_err() {
            failed = None;
            break;
        }
    }
    if !source.done {
        // The vendor answers without the rest of the form, which is still to come: its bytes must never be a request.
        sink.close_after();
    }
    if let Some(failure) = failed {
        meter.attempt(credential, 0, Outcome::Failed, since);
        return Err(failure.into());
    }
    link.deadline.set(times.first_byte, Why::FirstByte);
    let awaited = {
        let mut answering = pin!(upstream::await_head(link, false));
        let mut gone = pin!(sink.caller.gone());
        either(answering.as_mut(), gone.as_mut()).await
    };
    let answer = match awaited {
        Either::First(Ok(answer)) => answer,
        Either::First(Err((failure, _))) => {
            meter.attempt(credential, 0, Outcome::Failed, since);
            return Err(failure.into());
        }
        Either::Second(()) => {
            meter.attempt(credential, 0, Outcome::Cancelled, since);
            return Ok(Delivered::gone(meter));
        }
    };
    let status = answer.head.status;
    if (200..300).contains(&status) {
        meter.attempt(credential, status, Outcome::Complete, since);
        let delivered = match deliver::manner(plan, &answer)? {
            Manner::Stream => deliver::stream(plan, answer, &pass, sink, meter, true, &times).await,
            Manner::Document => deliver::document(plan, answer, &pass, sink, meter, &times).await,
            Manner::Bytes => deliver::bytes(plan, answer, sink, meter, &times).await,
        };
        pass.used(meter.reading.usage.map_or(plan.tokens, |usage| usage.tokens()));
        return delivered;
    }
    meter.attempt(credential, status, Outcome::Failed, since);
    match attempt::read_refusal(plan, answer, &pass.shown, sink).await {
        Some(refusal) => {
            // A form cannot be said twice: the next one takes another credential.
            attempt::rest(pass.secret, &refusal, status);
            Err(refusal)
        }
        None => Ok(Delivered::gone(meter)),
    }
}

/// A form's bytes: what was collected to find the model, then the rest as it comes.
struct Source {
    collected: Vec<u8>,
    framing: Framing,
    /// Of a sized body: what has not been read yet.
    left: u64,
    declared: u64,
    replaced_by: i64,
    decoder: Decoder,
    taken: u64,
    limit: u64,
    sent_collected: bool,
    done: bool,
    pace: Pace,
    hold: Hold,
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

impl Source {
    fn new(request: &mut Request, limit: u64, walker: Walker, hold: Hold) -> Self {
        let declared = if let Framing::Sized(length) = request.head.framing { length } else { 0 };
        Self {
            collected: Caller::take_behind_head(request),
            framing: request.head.framing,
            left: declared,
            declared,
            replaced_by: 0,
            decoder: Decoder::default(),
            taken: 0,
            limit,
            sent_collected: false,
            done: false,
            pace: Pace::start(),
            hold,
            walker,
            model: Model::Unseen,
        }
    }

    /// Reads until the model's field is there whole, and says where. Without need for a model, reads nothing.
    async fn prologue(
        &mut self,
        caller: &mut Caller,
        times: &weir_shared::policy::time::Times,
        wants_model: bool,
    ) -> Result<Option<std::ops::Range<usize>>, Unreadable> {
        let raw = std::mem::take(&mut self.collected);
        let first = self.unframe(raw, caller)?;
        self.collected = first;
        if !wants_model {
            return Ok(None);
        }
        loop {
            if let Model::At { value_at, value_end } = self.model {
                return Ok(Some(value_at..value_end));
            }
            if self.done || self.collected.len() > PROLOGUE_BYTES_MAX {
                break;
            }
            let Some(part) = self.read(caller, times).await? else { break };
            self.hold.grow_body_to((self.collected.len() + part.len()) as u64)?;
            self.collected.extend_from_slice(&part);
            buffer::give_back(part);
        }
        Ok(None)
    }

    fn replace(&mut self, field: std::ops::Range<usize>, with: &[u8]) {
        self.replaced_by = with.len() as i64 - field.len() as i64;
        self.collected.splice(field, with.iter().copied());
    }

    fn length(&self) -> Length {
        match self.framing {
            Framing::Sized(_) => Length::Sized(self.declared.saturating_add_signed(self.replaced_by)),
            _ => Length::Chunked,
        }
    }

    /// The next bytes for the vendor, framed as [`Source::length`] says.
    async fn part(
        &mut self,
        caller: &mut Caller,
        times: &weir_shared::policy::time::Times,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        if !std::mem::replace(&mut self.sent_collected, true) {
            let collected = std::mem::take(&mut self.collected);
            if !collected.is_empty() || self.done {
                return Ok(Some(self.frame(collected)));
            }
        }
        if self.done {
            return Ok(None);
        }
        match self.read(caller, times).await? {
            Some(part) => Ok(Some(self.frame(part))),
            None if self.framing == Framing::Chunked => Ok(Some(chunked::LAST.to_vec())),
            None => Ok(None),
        }
    }

    fn frame(&self, part: Vec<u8>) -> Vec<u8> {
        if self.framing != Framing::Chunked {
            return part;
        }
        let mut out = Vec::with_capacity(part.len() + 24);
        chunked::append(&mut out, &part);
        if self.done {
            out.extend_from_slice(chunked::LAST);
        }
        out
    }

    async fn read(
        &mut self,
        caller: &mut Caller,
        times: &weir_shared::policy::time::Times,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
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
