//! One request, from its head to its bill. The stages that this page calls hold no story of their own.

mod aim;
mod attempt;
mod candidates;
mod continuation;
mod deliver;
mod fan_out;
mod fields;
mod forms;
mod hedge;
mod mirror;
mod models;
mod objects;
mod queue;
mod waiter;

use self::candidates::Asked;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use weir_shared::catalog::Dialect;
use weir_shared::fault::{Code, bedrock_type_of};
use weir_shared::id::RequestId;
use weir_shared::key::KeyId;
use weir_shared::ledger::Outcome;
use weir_shared::policy::time::Times;
use weir_shared::routing::dice;
use weir_shared::snapshot::Key;

use crate::accept::{Body, Caller, Head, Request, Sink};
use crate::admit::{self, Ticket};
use crate::auth;
use crate::core::Core;
use crate::dialect::{BodyKind, error};
use crate::gauge::Counter;
use crate::live::Live;
use crate::log::Line;
use crate::memory::{self, Hold, Pressure};
use crate::meter::{Bill, Meter, Subject};
use crate::parse::{self, NoRoute, Route};
use crate::refusal::Refusal;
use crate::resolve;
use crate::wire::http1::{Method, Name};
use crate::wire::media;

/// How a request ended.
pub enum Done {
    /// Answered; what the log says of it.
    Answered { status: u16, code: Option<Code>, outcome: Option<Outcome>, bill: Option<Box<Bill>> },
    /// There is nobody to answer.
    Gone(Option<Box<Bill>>),
}

/// What the whole story needs to know about a request, settled at its start.
struct Scene<'s> {
    core: &'s Core,
    live: &'s Live,
    request_id: RequestId,
    /// The same, as callers, vendors and logs see it.
    request_text: &'s str,
    dialect: Dialect,
    from: std::net::IpAddr,
}

/// Serves one request. Returns whether the connection may carry another.
///
/// The request stays with who calls: what is handed over to a future lies in it twice.
pub async fn serve(core: &Core, caller: &mut Caller, request: &mut Request) -> bool {
    core.gauges.add(Counter::Requests, 1);
    let request_id = core.next_id(request.started);
    let text = request_id.text();
    let request_text = std::str::from_utf8(&text).unwrap_or_default();
    let (path, query) = parse::split_target(request.target());
    let route = parse::route(request.head.method, path);
    let dialect = match &route {
        Ok(route) if !matches!(route.endpoint.body, BodyKind::Models | BodyKind::Model) => route.language.dialect(),
        // A path that the dialects share, or nobody's.
        _ => {
            let (anthropic, google) = (request.get(Name::AnthropicVersion), request.get(Name::XGoogApiKey));
            parse::dialect_of(path, anthropic.is_some(), google.is_some())
        }
    };
    let query = query.to_vec();
    let here = core.live();
    let live: Option<&Live> = here.as_deref().map(|here| &**here);
    let times = live.map_or_else(Times::default, |live| live.snapshot.catalog.gateway.times);
    let keep =
        request.head.keep_alive && !core.phase().is_draining() && memory::pressure() < Pressure::KeepNoConnections;
    let bodied = request.head.method != Method::Head;
    let from = live.map_or(caller.address, |live| fields::client_address(request, caller.address, live));
    caller.keep_next(request);
    let mut sink = Sink::new(caller, times, request.head.v11, bodied, keep);
    let mut teller = Teller { request: request_text, from, ..Teller::default() };
    let done = match live {
        None => Err(Refusal::plain(Code::ConfigUnavailable).retry_in(1_000_000_000)),
        Some(live) => {
            let scene = Scene { core, live, request_id, request_text, dialect, from };
            match fields::without_key(&scene, request, &mut sink).await {
                Some(done) => Ok(done),
                None => keyed(&scene, request, &route, &query, &mut sink, &mut teller).await,
            }
        }
    };
    let done = match done {
        Ok(done) => done,
        Err(refusal) => refuse(core, live, request, &mut sink, dialect, request_text, refusal, teller.unread).await,
    };
    finish(core, request, &sink, &teller, live, done)
}

/// What the log line tells beyond the bill; filled in as it becomes known.
struct Teller<'l> {
    request: &'l str,
    from: std::net::IpAddr,
    endpoint: &'static str,
    key: KeyId,
    tenant: &'l str,
    names: (&'l str, &'l str, &'l str),
    /// The route that the name led to, and the branch of its split.
    route: (&'l str, &'l str),
    /// What the caller called the model, when no vendor was asked for it.
    asked: String,
    attempts: usize,
    stream: bool,
    /// The body has not been taken from the connection.
    unread: bool,
    bill: Option<Box<Bill>>,
    outcome: Option<Outcome>,
}

impl Default for Teller<'_> {
    fn default() -> Self {
        Self {
            request: "",
            from: std::net::IpAddr::from([0, 0, 0, 0]),
            endpoint: "",
            key: KeyId::default(),
            tenant: "",
            names: ("", "", ""),
            route: ("", ""),
            asked: String::new(),
            attempts: 0,
            stream: false,
            unread: true,
            bill: None,
            outcome: None,
        }
    }
}

async fn keyed<'l>(
    scene: &Scene<'l>,
    request: &mut Request,
    route: &Result<Route, NoRoute>,
    query: &[u8],
    sink: &mut Sink<'_>,
    teller: &mut Teller<'l>,
) -> Result<Done, Refusal> {
    let key = auth::authenticate(request, query, scene.from, scene.live)?;
    teller.key = key.id;
    teller.tenant = &key.tenant.name;
    let route = route.as_ref().map_err(|none| *none)?;
    teller.endpoint = route.endpoint.path;
    if request.get(Name::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::plain(Code::UnsupportedEncoding).closing());
    }
    if request.head.fields.iter().filter(|field| field.name == Name::ContentType).count() > 1 {
        return Err(Refusal::new(Code::BadRequest, "The request has two content types.").closing());
    }
    if !scene.core.strain.takes(key.tenant.number(), key.priority, dice(scene.request_id.0 as u64, 2)) {
        scene.core.gauges.add(Counter::Shed, 1);
        return Err(Refusal::new(Code::Overloaded, SHED).retry_in(1_000_000_000));
    }
    let is_form = request.get(Name::ContentType).is_some_and(media::is_form);
    match route.endpoint.body {
        BodyKind::Models | BodyKind::Model => models::answer(scene, request, key, route, sink, teller).await,
        BodyKind::ModelInForm => forms::forward(scene, request, key, route, query, sink, teller).await,
        _ if is_form && route.endpoint.takes_forms() => {
            forms::forward(scene, request, key, route, query, sink, teller).await
        }
        // Ids of objects are looked for in JSON.
        _ if is_form => Err(Refusal::new(Code::InvalidBody, "This path takes JSON, and no form.")),
        _ => collected(scene, request, key, route, query, sink, teller).await,
    }
}

/// A call whose body is JSON, or that has none.
async fn collected<'l>(
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
    // A key at its limit has no more bodies collected: it is told now, and the body it announced goes unread.
    let place = admit::enter(key)?;
    let mut hold = Hold::of_body(key.id, scene.from);
    let body = read_body(request, gateway.sizes.body_bytes_max, sink, &mut hold, teller, &gateway.times).await?;
    let Some(body) = body else { return Ok(Done::Gone(None)) };
    if may_stream(body.bytes(request)) {
        request.shrink();
    }
    let bytes = body.bytes(request);
    if !bytes.is_empty() && request.head.method != Method::Post {
        // Some servers do not read it, and take it for the next request.
        return Err(Refusal::new(Code::InvalidBody, "Only POST requests have a body here."));
    }
    scene.core.gauges.add(Counter::BytesFromCallers, bytes.len() as u64);

    let empty_object = route.endpoint.body == BodyKind::Object && bytes.is_empty();
    let call = if empty_object { parse::Call::default() } else { parse::call(route, bytes, query)? };
    let object = objects::open(live, key, route, &call, bytes)?;
    // Another language gets the vendor's own ids, too.
    let opened = objects::opened(live, key, &call, bytes);
    let asked = Asked {
        scene,
        route,
        call: &call,
        bytes,
        is_form: false,
        opened: opened.as_deref(),
        key,
        query,
        request,
        pin: object.as_ref(),
    };
    let done = candidates::serve(&asked, place, sink, teller).await;
    done.inspect_err(|refusal| {
        if is_lost(scene, request, query, key, &call.model, refusal.code) {
            scene.core.gauges.add(Counter::Lost, 1);
        }
    })
}

/// Whether a refusal that looks like its caller's mistake is the newest catalog's doing: the one before it would have led the
/// call somewhere. A name that somebody made up never did.
fn is_lost(scene: &Scene<'_>, request: &Request, query: &[u8], key: &Key, name: &str, code: Code) -> bool {
    let Some(before) = scene.live.before.as_deref() else { return false };
    // A vendor of the caller's own language was never in want of a word.
    let language = match code {
        Code::ModelNotFound | Code::NoEligibleVendor => None,
        Code::DialectMismatch | Code::Untranslatable => Some(scene.dialect),
        _ => return false,
    };
    let then = auth::key_of(request, query, scene.live, before);
    then.is_some_and(|then| resolve::leads_somewhere(before, then, name, language))
        && !resolve::leads_somewhere(&scene.live.snapshot, key, name, language)
}

const SHED: &str = "The gateway has more to do than it can, and this tenant asks for more than its share.";

/// Whether the body may ask for a stream, told by a look and not by a parser: what it decides is how the body is kept.
fn may_stream(body: &[u8]) -> bool {
    static MEMBER: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"stream\""));
    let behind = MEMBER.find(body).map_or(&[][..], |at| &body[at + MEMBER.needle().len()..]);
    behind.iter().find(|byte| !matches!(byte, b':' | b' ' | b'\t' | b'\r' | b'\n')) == Some(&b't')
}

/// Whatever way the attempts went, the meter is closed and the log knows.
fn settle<'l>(
    result: Result<deliver::Delivered, Refusal>,
    meter: &mut Meter<'l>,
    teller: &mut Teller<'l>,
) -> Result<Done, Refusal> {
    teller.names = meter.names();
    teller.attempts = meter.attempts();
    match result {
        Ok(delivered) => {
            let bill = delivered.bill.or_else(|| meter.close(delivered.status, delivered.code, delivered.outcome));
            if delivered.gone {
                teller.outcome = Some(delivered.outcome);
                return Ok(Done::Gone(bill));
            }
            Ok(Done::Answered {
                status: delivered.status,
                code: delivered.code,
                outcome: Some(delivered.outcome),
                bill,
            })
        }
        Err(refusal) => {
            teller.bill = meter.close(refusal.status, Some(refusal.code), Outcome::Failed);
            teller.outcome = Some(Outcome::Failed);
            Err(refusal)
        }
    }
}

fn open_meter<'l>(
    scene: &Scene<'l>,
    ticket: Ticket<'l>,
    model: Option<&'l weir_shared::catalog::Model>,
    vendor: &'l weir_shared::catalog::Vendor,
    stream: bool,
    request: &Request,
    prompt_bytes: usize,
) -> Meter<'l> {
    let subject = Subject {
        id: scene.request_id,
        model,
        vendor,
        revision: scene.live.snapshot.revision,
        trace: fields::trace_id(request),
        stream,
        started: request.started,
        prompt_bytes,
        mirror_of: None,
    };
    Meter::open(ticket, &scene.core.gauges, &subject)
}

/// `None`: the caller has gone.
async fn read_body(
    request: &mut Request,
    limit: u64,
    sink: &mut Sink<'_>,
    hold: &mut Hold,
    teller: &mut Teller<'_>,
    times: &Times,
) -> Result<Option<Body>, Refusal> {
    fields::check_length(request, limit)?;
    if request.head.expects_continue && sink.interim(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return Ok(None);
    }
    request.head.expects_continue = false;
    let read = sink.caller.body(request, limit, times, hold).await;
    teller.unread = false;
    match read {
        Ok(body) => Ok(Some(body)),
        Err(unreadable) => Refusal::of_unreadable(unreadable).map_or(Ok(None), Err),
    }
}

/// Tells the caller, in its own dialect. When the answer has begun already, in the stream.
#[expect(clippy::too_many_arguments, reason = "everything that an answer may depend on")]
async fn refuse(
    core: &Core,
    live: Option<&Live>,
    request: &mut Request,
    sink: &mut Sink<'_>,
    dialect: Dialect,
    request_text: &str,
    refusal: Refusal,
    unread: bool,
) -> Done {
    core.gauges.refused(refusal.code);
    let done = Done::Answered { status: refusal.status, code: Some(refusal.code), outcome: None, bill: None };
    if sink.has_begun() {
        return done;
    }
    if refusal.close {
        sink.close_after();
    } else if unread && !sink.caller.discard_body(request) {
        // An answer before its request was read: those bytes must never become a request.
        sink.close_after();
    }
    let body = match refusal.vendor_body {
        Some(body) => body,
        None => error::body(dialect, refusal.status, refusal.code, &refusal.message, request_text),
    };
    let mut head = Head::new(refusal.status);
    head.field(b"content-type", b"application/json");
    fields::identity(&mut head, dialect, request_text);
    if dialect == Dialect::Bedrock {
        // Its SDKs look for the kind of an error here, and not in the body.
        head.field(b"x-amzn-errortype", bedrock_type_of(refusal.status).as_bytes());
    }
    if let Some(retry_after) = &refusal.retry_after {
        head.field(b"retry-after", retry_after);
    }
    if let Some(live) = live {
        fields::cors(&mut head, request, live);
    }
    match sink.answer(head, &body).await {
        Ok(()) => done,
        Err(_) => Done::Gone(None),
    }
}

fn finish(
    core: &Core,
    request: &Request,
    sink: &Sink<'_>,
    teller: &Teller<'_>,
    live: Option<&Live>,
    done: Done,
) -> bool {
    let (status, code, outcome, bill, keep) = match &done {
        Done::Answered { status, code, outcome, bill } => (*status, *code, *outcome, bill.as_deref(), true),
        Done::Gone(bill) => (499, None, teller.outcome.or(Some(Outcome::Cancelled)), bill.as_deref(), false),
    };
    core.gauges.add(Counter::BytesToCallers, sink.bytes);
    let line = Line {
        id: teller.request,
        from: teller.from,
        method: request.head.method.name(),
        endpoint: teller.endpoint,
        status,
        code,
        key: if teller.key == KeyId::default() { "" } else { teller.key.as_str() },
        tenant: teller.tenant,
        model: teller.names.0,
        asked: &teller.asked,
        vendor: teller.names.1,
        credential: teller.names.2,
        route: teller.route.0,
        branch: teller.route.1,
        attempts: teller.attempts,
        stream: teller.stream,
        outcome: outcome.or(teller.outcome),
        bill: bill.or(teller.bill.as_deref()),
        bytes: sink.bytes,
        revision: live.map_or(0, |live| live.snapshot.revision),
    };
    core.logger.write(&line, &core.gauges);
    keep && sink.keeps_alive()
}
