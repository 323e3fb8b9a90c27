//! The attempts at one candidate: each credential of its vendor once, until one is answered.

use std::cell::Cell;
use std::pin::pin;

use weir_shared::catalog::{Dialect, Model, Vendor};
use weir_shared::fault::Code;
use weir_shared::ledger::{Attempt, Outcome};
use weir_shared::money::Nano;
use weir_shared::policy::resilience::Harm;
use weir_shared::policy::time::Times;
use weir_shared::snapshot::Key;
use weir_shared::usage::{Class, Tier, Usage};

use super::deliver::Delivered;
use super::waiter::Waiter;
use super::{Scene, fields};
use crate::accept::{HEAD_ROOM, Head, Request, Sink};
use crate::admit::BYTES_PER_TOKEN;
use crate::buffer;
use crate::clock::{self, Nanos};
use crate::deadline::Why;
use crate::dialect::error::scrub;
use crate::dialect::relay::{Relay, words_of_error};
use crate::dialect::speech::Heading;
use crate::gauge::{Counter, Timing};
use crate::live::Target;
use crate::meter::{Meter, called};
use crate::parse::{Route, Splices};
use crate::refusal::Refusal;
use crate::route::{Errand, FURTHER_ATTEMPTS, NoPass, Pass, Passes, REST_NS, REST_NS_MAX, Trial};
use crate::secret::{Badge, Pieces, Secret};
use crate::translate::{Naming, Translation};
use crate::upstream::shape::{Place, write_target};
use crate::upstream::{self, Answer, Failure, Incoming, Length, Outgoing, Taken};
use crate::wire::http1::{Framing, Method, Name};
use crate::wire::json;
use crate::wire::media;

/// One admitted call, and everything that an attempt needs of it.
pub struct Plan<'p, 's> {
    pub scene: &'p Scene<'s>,
    pub route: &'p Route,
    /// Between the caller's language and the vendor's, where they differ.
    pub translation: Option<&'p Translation<'p>>,
    pub vendor: &'s Vendor,
    pub target: &'s Target,
    pub model: Option<&'s Model>,
    /// As the caller named it.
    pub asked_model: &'p str,
    pub key: &'s Key,
    pub query: &'p [u8],
    pub request: &'p Request,
    pub body: &'p [u8],
    pub splices: &'p Splices,
    pub tokens: u64,
    pub stream: bool,
    /// From here on its time runs: what the caller took to send it is not the vendor's.
    pub admitted_ms: u64,
    pub pinned: Option<usize>,
    pub object_id: &'p str,
    /// The call is the operator's own doing: no credential of a tenant's own carries it.
    pub operators: bool,
}

impl<'s> Plan<'_, 's> {
    pub fn times(&self) -> Times {
        let mut times = self.vendor.times;
        let reasoning = self.model.is_some_and(|model| model.reasoning);
        if reasoning {
            times.first_byte = times.first_byte_reasoning;
        } else if !self.stream {
            // A unary answer comes when it is complete.
            times.first_byte = times.total;
        }
        times
    }

    /// The request's head for one credential.
    pub fn head(&self, badge: &Badge, length: Length, body: Option<&dyn Pieces>) -> Vec<u8> {
        // Where both speak the same, the call is the caller's own, its query too.
        let (route, query) = match self.translation.filter(|translation| translation.body.is_some()) {
            Some(translation) => (&translation.route, translation.query),
            None => (self.route, self.query),
        };
        let model = self.model.map(|model| &*model.upstream);
        let place = Place { route, model, object_id: self.object_id, query, stream: self.stream };
        let path = |out: &mut Vec<u8>| write_target(self.vendor, &place, out);
        // A caller's fields are of its own language.
        let foreign = self.translation.filter(|translation| translation.body.is_some());
        let own_fields = foreign.map(|translation| translation.fields);
        let mut head = buffer::small();
        let id = self.scene.request_text.as_bytes();
        let idempotency = self.idempotency();
        upstream::write_head(
            &mut head,
            self.request,
            self.request.head.method,
            self.vendor,
            badge,
            path,
            length,
            body,
            id,
            idempotency.as_deref(),
            own_fields,
        );
        head
    }

    /// What the caller calls its request when it may say it twice, told so that it is another tenant's at no vendor where
    /// both are one account, and not what another model was asked. A copy of a call is another request.
    fn idempotency(&self) -> Option<String> {
        let said = self.request.get(Name::IdempotencyKey).filter(|_| !self.operators)?;
        let mut told = blake3::Hasher::new_derive_key("weir 1: what a vendor takes for one request");
        for part in [self.key.tenant.name.as_bytes(), self.asked_upstream(), said] {
            told.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Some(told.finalize().to_hex()[..32].to_owned())
    }

    fn asked_upstream(&self) -> &[u8] {
        self.model.map_or(&b""[..], |model| model.upstream.as_bytes())
    }

    /// The vendor's credentials for this call, one after the other.
    pub fn passes(&self) -> Passes<'_, 's> {
        let Self { vendor, target, model, key, tokens, pinned, operators, .. } = *self;
        Passes::new(Errand { live: self.scene.live, vendor, target, model, key, tokens, pinned, operators })
    }

    /// About how long the prompt is.
    pub fn prompt_tokens(&self) -> u64 {
        self.body.len() as u64 / BYTES_PER_TOKEN + 1
    }

    fn length(&self) -> Length {
        match self.splices.length(self.body.len()) as u64 {
            0 if self.request.head.method != Method::Post => Length::None,
            length => Length::Sized(length),
        }
    }

    /// What a translated answer tells of itself.
    pub fn naming(&self) -> Naming<'_> {
        Naming { id: self.scene.request_text, model: self.asked_model, created_s: clock::wall_seconds() }
    }

    /// What of the call was left out for this candidate, as the caller is told.
    pub fn dropped(&self) -> Option<Box<str>> {
        let dropped = &self.translation?.dropped;
        (!dropped.is_empty()).then(|| dropped.join(", ").into())
    }

    /// What must live as long as a stream that is said again.
    pub fn heading(&self) -> Option<Heading<'_>> {
        self.translation?.heading(self.naming())
    }

    /// How such a stream is said again.
    pub fn relay<'h>(&self, heading: &'h Heading<'h>) -> Option<Relay<'h>> {
        self.translation?.relay(self.vendor, heading)
    }

    /// The answer names objects that the vendor keeps; of a translated one, nothing is kept.
    pub fn names_objects(&self) -> bool {
        self.translation.is_none() && self.route.language.names_objects()
    }

    /// What a caller must never see in a vendor's words.
    pub fn secrets<'a>(&'a self, badge: &'a Badge) -> impl Iterator<Item = &'a [u8]> {
        let base = &self.vendor.base;
        let own = badge.sign.hidden().iter().map(|text| &**text);
        own.chain([base.authority.as_bytes(), base.host.as_bytes(), base.path.as_bytes()])
    }
}

/// The body as it leaves, without being put together for it.
impl Pieces for Plan<'_, '_> {
    fn each(&self, take: &mut dyn FnMut(&[u8])) {
        self.splices.each(self.body, take);
    }
}

/// At most so many upstream calls for one request.
pub const CALLS_MAX: usize = weir_shared::ledger::ATTEMPTS_MAX;

/// What the attempts at one candidate came to.
pub enum Attempted<'s> {
    /// The vendor answers; the rest is delivery.
    Answered(Found<'s>),
    /// The caller has gone.
    Gone,
}

/// An answer that has begun, by which credential it came, and how its candidate's health hears of it.
pub struct Found<'s> {
    pub answer: Answer,
    pub pass: Pass<'s>,
    pub trial: Option<Trial<'s>>,
}

/// A candidate that gave no answer, and where the call may go on.
#[derive(Debug)]
pub struct Missed {
    pub refusal: Refusal,
    pub onward: Onward,
    /// Asking the same one again may help.
    pub again: bool,
    /// The caller has heard a part of its answer: only who can go on with that may be asked.
    pub said: bool,
    /// Nobody was asked: a place among what a credential may do at a time was all that was missing.
    pub is_full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Onward {
    /// It has not done it: another may be asked.
    Elsewhere,
    /// It may have done it without telling: another may be asked where that does no harm.
    Ambiguous,
    /// Another would say the same.
    Nowhere,
}

impl Missed {
    pub fn of(refusal: Refusal, onward: Onward) -> Self {
        Self { refusal, onward, again: false, said: false, is_full: false }
    }

    fn without_pass(none: NoPass) -> Self {
        let is_full = matches!(none, NoPass::Busy { is_full: true, .. });
        Self { is_full, ..Self::of(none.into(), Onward::Elsewhere) }
    }

    /// Nothing arrived, or nothing that is an answer.
    pub fn failed(failure: Failure, taken: Taken) -> Self {
        let (onward, again) = match failure {
            Failure::Unresolved | Failure::Tls(_) => (Onward::Elsewhere, false),
            Failure::Unreachable | Failure::ConnectTimeout => (Onward::Elsewhere, true),
            Failure::Cut if taken == Taken::No => (Onward::Elsewhere, true),
            Failure::Cut => (Onward::Ambiguous, true),
            Failure::TimedOut(Why::Drain) => (Onward::Nowhere, false),
            Failure::TimedOut(_) | Failure::Invalid(_) | Failure::Broken => (Onward::Ambiguous, false),
        };
        Self { again, ..Self::of(failure.into(), onward) }
    }
}

/// What counts against a candidate of how it failed.
pub fn harm_of(failure: &Failure) -> Option<Harm> {
    match failure {
        Failure::Unresolved | Failure::Unreachable | Failure::ConnectTimeout => Some(Harm::Connect),
        Failure::Tls(_) => Some(Harm::Tls),
        Failure::Cut => Some(Harm::Cut),
        Failure::TimedOut(Why::Drain) => None,
        Failure::TimedOut(_) => Some(Harm::Timeout),
        Failure::Invalid(_) | Failure::Broken => Some(Harm::Invalid),
    }
}

/// What all candidates of a call share.
pub struct Round<'r> {
    /// Upstream calls so far.
    pub calls: &'r Cell<usize>,
    /// The head of the answer is due then, whoever gives it.
    pub answer_by_ms: u64,
    /// That is less than half of what the vendor is given as a rule.
    pub is_short: bool,
    /// One call is kept for somebody else, when there is somebody else.
    pub calls_max: usize,
    /// What the candidate was chosen by, should it be coming back.
    pub dice: u64,
    /// By which credential it is being asked, and since when.
    pub asking: Cell<Option<(usize, Nanos)>>,
}

/// The call that is under way when nobody waits for it any more: its vendor has read the prompt all the same.
pub fn given_up<'l>(plan: &Plan<'_, 'l>, round: &Round<'_>) -> Option<Attempt<'l>> {
    let (place, since) = round.asking.take()?;
    let credential = &plan.vendor.credentials[place].name;
    let call = called(&plan.vendor.name, credential, 0, Outcome::Cancelled, since);
    Some(Attempt { cost: prompt_cost(plan, credential), ..call })
}

/// What the prompt alone costs; what is a tenant's own credential's costs nobody else.
pub fn prompt_cost(plan: &Plan<'_, '_>, credential: &str) -> Nano {
    let is_own = plan.vendor.credentials.iter().any(|it| it.tenant.is_some() && *it.name == *credential);
    let prompt = Usage::NONE.with(Class::Input, plan.prompt_tokens());
    let price = plan.model.filter(|_| !is_own).map(|model| &model.price);
    price.and_then(|price| price.cost(&prompt, Tier::Standard).ok()?.round(0).ok()).unwrap_or_default()
}

/// Asks one candidate: each of its credentials once, until one is answered.
pub async fn run<'s>(
    plan: &Plan<'_, 's>,
    waiter: &mut Waiter<'_, '_>,
    calls: &mut Vec<Attempt<'s>>,
    times: &Times,
    round: &Round<'_>,
) -> Result<Attempted<'s>, Missed> {
    let gauges = &plan.scene.core.gauges;
    let mut passes = plan.passes();
    let mut last: Option<Missed> = None;
    while round.calls.get() < round.calls_max {
        // The first change of credential is free, like the first change of candidate.
        if passes.count() > 1 && !FURTHER_ATTEMPTS.spend(&plan.key.tenant) {
            break;
        }
        let since = clock::now();
        let pass = match passes.next(since) {
            Ok(pass) => pass,
            // What the vendor said to the one before is worth more than that nothing is left.
            Err(none) => return Err(last.unwrap_or_else(|| Missed::without_pass(none))),
        };
        let mut trial = match plan.model.map(|model| Trial::begin(plan.vendor, model, pass.place, round.dice, since)) {
            Some(None) if plan.pinned.is_none() => {
                let tripped =
                    || Missed::of(Refusal::plain(Code::UpstreamTripped).retry_in(1_000_000_000), Onward::Elsewhere);
                last.get_or_insert_with(tripped);
                continue;
            }
            trial => trial.flatten(),
        };
        if passes.count() > 1 {
            gauges.add(Counter::CredentialsSkipped, 1);
        }
        if round.calls.get() == 0 {
            gauges.time(Timing::Admission, (since - plan.request.started) / 1_000);
        }
        let credential: &'s str = &plan.vendor.credentials[pass.place].name;
        let sent = Cell::new(0);
        round.asking.set(Some((pass.place, since)));
        let asked = ask(plan, &pass, waiter, times, round, &sent).await;
        round.asking.set(None);
        let mut note = |status, outcome| calls.push(called(&plan.vendor.name, credential, status, outcome, since));
        if sent.get() > 1 {
            // Said again on a fresh connection: nobody knows what the first saying cost.
            note(0, Outcome::Failed);
        }
        let answer = match asked {
            Some(Ok(answer)) => answer,
            None => {
                note(0, Outcome::Cancelled);
                return Ok(Attempted::Gone);
            }
            Some(Err((failure, taken))) => {
                note(0, Outcome::Failed);
                // Less time than half of what it is given as a rule says nothing of it: that was ours to run out of.
                let hurried = matches!(failure, Failure::TimedOut(_)) && round.is_short;
                let harm = harm_of(&failure).filter(|_| !hurried);
                trial.iter_mut().zip(harm).for_each(|(trial, harm)| trial.bad(harm));
                return Err(Missed::failed(failure, taken));
            }
        };
        let status = answer.head.status;
        trial.iter().for_each(|trial| trial.answered(&answer.head, &answer.head_bytes));
        if (200..300).contains(&status) {
            note(status, Outcome::Complete);
            return Ok(Attempted::Answered(Found { answer, pass, trial }));
        }
        note(status, Outcome::Failed);
        let Some(refusal) = read_refusal(plan, answer, &pass.shown, waiter).await else {
            return Ok(Attempted::Gone);
        };
        trial.iter_mut().for_each(|trial| tell_trial(trial, status, &refusal));
        if !matches!(status, 401 | 403 | 429) {
            return Err(refused(status, refusal));
        }
        rest(pass.secret, &refusal, status);
        last = Some(Missed::of(refusal, Onward::Elsewhere));
    }
    // No call was left for it: that is no word of its own.
    Err(last.unwrap_or_else(|| Missed::of(Refusal::plain(Code::UpstreamError), Onward::Elsewhere)))
}

/// A vendor that refuses is alive, unless it says that it is not.
fn tell_trial(trial: &mut Trial<'_>, status: u16, refusal: &Refusal) {
    match status {
        // The next call may be smaller.
        429 if refusal.only_this => trial.good(),
        429 => trial.limited(told_rest_ms(refusal).unwrap_or(COOL_MS)),
        // The credential rests; its vendor may be well.
        401 | 403 => {}
        300..=399 => trial.bad(Harm::Invalid),
        500.. => trial.bad(Harm::Status),
        _ => trial.good(),
    }
}

/// After a 429 that does not say for how long, others are asked first for this long.
const COOL_MS: u64 = 1_000;

fn refused(status: u16, refusal: Refusal) -> Missed {
    match status {
        300..=399 => Missed::of(refusal, Onward::Elsewhere),
        408 | 500.. => Missed { again: true, ..Missed::of(refusal, Onward::Elsewhere) },
        _ => Missed::of(refusal, Onward::Nowhere),
    }
}

/// Asks the vendor, while somebody waits for it. `None`: the caller has gone.
async fn ask(
    plan: &Plan<'_, '_>,
    pass: &Pass<'_>,
    waiter: &mut Waiter<'_, '_>,
    times: &Times,
    round: &Round<'_>,
    own: &Cell<usize>,
) -> Option<Result<Answer, (Failure, Taken)>> {
    let core = plan.scene.core;
    let head = plan.head(&pass.shown, plan.length(), Some(plan));
    let method = plan.request.head.method;
    let outgoing = Outgoing {
        head: &head,
        body: plan.body,
        splices: plan.splices,
        leaves_nothing: matches!(method, Method::Get | Method::Head)
            || plan.route.language.leaves_nothing(plan.route.endpoint),
        calls: round.calls,
        calls_max: round.calls_max,
        own,
    };
    let answers_head = method == Method::Head;
    let asked = {
        let calling = pin!(upstream::call(
            &core.pools,
            &core.gauges,
            plan.vendor,
            plan.target,
            &outgoing,
            times,
            round.answer_by_ms,
            answers_head
        ));
        // Dropping the call closes its connection: nothing of it is needed any more.
        waiter.beside_alive(plan, times.heartbeat, calling).await
    };
    buffer::give_back(head);
    asked
}

/// A refusal goes back as it is, unless the stream has begun: then it is told in-band, as its last event.
pub async fn tell(
    refusal: Refusal,
    plan: &Plan<'_, '_>,
    sink: &mut Sink<'_>,
    meter: &mut Meter<'_>,
) -> Result<Delivered, Refusal> {
    if !sink.has_begun() {
        return Err(refusal);
    }
    plan.scene.core.gauges.refused(refusal.code);
    let bill = meter.close(200, Some(refusal.code), Outcome::Failed);
    let mut event = buffer::small();
    event.resize(HEAD_ROOM, 0);
    plan.route.language.error_event(&mut event, refusal.code, &refusal.message, &meter.reading);
    let (written, spare) = sink.chunk(event, true).await;
    buffer::give_back(spare);
    Ok(Delivered { status: 200, code: Some(refusal.code), outcome: Outcome::Failed, bill, gone: written.is_err() })
}

/// The credential is passed over for a while: as long as the vendor says, within reason.
pub fn rest(secret: &Secret, refusal: &Refusal, status: u16) {
    if !matches!(status, 401 | 403 | 429) || refusal.only_this {
        return;
    }
    let nanos = match (status, told_rest_ms(refusal)) {
        (429, Some(millis)) => millis * 1_000_000,
        // Too many at once is over as soon as it is said; the credential's own limits spread what follows.
        (429, None) => return,
        _ => REST_NS,
    };
    if status == 401 {
        secret.doubt();
    }
    secret.rest_until(clock::now() + nanos);
}

/// What a vendor says of when to come again, as far as it is believed.
fn told_rest_ms(refusal: &Refusal) -> Option<u64> {
    let text = std::str::from_utf8(refusal.retry_after.as_deref()?).ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000).min(REST_NS_MAX / 1_000_000))
}

/// An error's body is read up to here; the rest is not worth a word.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// And within this time; what the vendor has to say about an error is short.
const ERROR_BODY_MS: u64 = 5_000;

/// A vendor's refusal, in words that a caller may see. `None`: the caller has gone meanwhile.
pub async fn read_refusal(
    plan: &Plan<'_, '_>,
    mut answer: Answer,
    badge: &Badge,
    waiter: &mut Waiter<'_, '_>,
) -> Option<Refusal> {
    let status = answer.head.status;
    let retry_after =
        answer.head.get(Name::RetryAfter, &answer.head_bytes).filter(|value| is_retry_after(value)).map(<[u8]>::to_vec);
    let code = match status {
        401 | 403 => Code::UpstreamAuth,
        429 => Code::VendorRateLimited,
        529 | 503 => Code::UpstreamOverloaded,
        504 => Code::UpstreamTimeout,
        500.. | 300..=399 => Code::UpstreamError,
        _ => Code::InvalidBody,
    };
    let own_words = |mut refusal: Refusal| {
        refusal.retry_after = retry_after.clone();
        Some(refusal)
    };
    let shown = match status {
        // The caller's own mistakes, and the vendor's limits, keep their status and their words.
        400 | 402 | 404..=499 => status,
        529 if plan.route.language.dialect() == Dialect::Anthropic => {
            return own_words(Refusal::plain(code).with_status(529));
        }
        // Whatever else it says is not for the caller: it is not even read, and its connection ends.
        _ => return own_words(Refusal::plain(code)),
    };
    let is_json = answer.head.get(Name::ContentType, &answer.head_bytes).is_some_and(media::is_json);
    let incoming = answer.take_body();
    if let Some(link) = incoming.link() {
        link.deadline.set(ERROR_BODY_MS, Why::FirstByte);
    }
    let mut body = buffer::small();
    let whole = {
        // Dropped when the caller goes: the connection is dropped with it.
        let collecting = pin!(collect(incoming, &mut body, ERROR_BYTES_MAX, plan));
        waiter.beside(collecting).await?
    };
    let mut refusal = Refusal::new(code, vendor_words(status)).with_status(shown);
    if whole && is_json && json::validate(&body).is_ok() {
        let spoken = plan.translation.map_or(plan.route, |translation| &translation.route).language;
        refusal.only_this = status == 429 && spoken.outgrows_limit(&body);
        let scrubbed = scrub(&body, plan.secrets(badge));
        match plan.translation {
            // In another language only the words can be told.
            Some(_) => words_of_error(&scrubbed).into_iter().for_each(|words| refusal.message = words.into()),
            None => refusal.vendor_body = Some(scrubbed),
        }
    }
    buffer::give_back(body);
    own_words(refusal)
}

fn vendor_words(status: u16) -> &'static str {
    match status {
        429 => Code::VendorRateLimited.meaning(),
        _ => "The vendor refused the request.",
    }
}

/// Seconds or an HTTP date: nothing else goes into our header.
fn is_retry_after(value: &[u8]) -> bool {
    value.len() <= 40
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b',' | b':' | b'.'))
}

/// Collects an answer's body. False when it was cut or too long; its connection goes back to the pool when it may.
pub async fn collect(mut incoming: Box<Incoming>, body: &mut Vec<u8>, most: usize, plan: &Plan<'_, '_>) -> bool {
    loop {
        let (read, bytes) = incoming.more(std::mem::take(body)).await;
        *body = bytes;
        match read {
            Ok(0) => break,
            Ok(_) if body.len() > most => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    if let Some(link) = incoming.take_reusable() {
        plan.scene.core.pools.give(link);
    }
    true
}

/// Fields of a vendor's answer that reach the caller, and ours.
pub fn answer_head(plan: &Plan<'_, '_>, status: u16, answer: Option<&Answer>) -> Head {
    let mut head = Head::new(status);
    let dialect = plan.route.language.dialect();
    if let Some(dropped) = plan.dropped() {
        head.field(b"x-weir-dropped", dropped.as_bytes());
    }
    if let Some(answer) = answer.filter(|_| plan.translation.is_none()) {
        // Of what is said twice, the first holds: the answer was judged by that.
        let mut seen = 0u64;
        for field in &answer.head.fields {
            let name = field.name_in(&answer.head_bytes);
            let kind = if field.name == Name::Other { 0 } else { 1 << (field.name as u64) };
            if seen & kind == 0 && crate::dialect::passes_down(field.name, name, dialect) {
                seen |= kind;
                head.field(name, field.value_in(&answer.head_bytes));
            }
        }
    }
    fields::identity(&mut head, dialect, plan.scene.request_text);
    fields::limits(&mut head, dialect, plan.key);
    fields::cors(&mut head, plan.request, plan.scene.live);
    head
}

/// An answer whose body is neither plain nor ours to decode.
pub fn is_encoded(answer: &Answer) -> bool {
    answer
        .head
        .get(Name::ContentEncoding, &answer.head_bytes)
        .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

pub fn is_bodyless(answer: &Answer) -> bool {
    answer.head.framing == Framing::None
}
