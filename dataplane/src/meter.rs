//! What a request used, what that costs, and the one record that says so.
//!
//! A meter is opened with the ticket right after admission and ends in exactly one record, whichever way the request
//! goes: [`Meter::close`] writes it, and so does dropping the meter (a caller who hung up, a panic).

use weir_shared::catalog::{Credential, Model, Vendor};
use weir_shared::fault::Code;
use weir_shared::id::RequestId;
use weir_shared::ledger::{ATTEMPTS_MAX, Attempt, Choice, Outcome, Record, flag};
use weir_shared::money::{Nano, Overflow};
use weir_shared::price::PriceList;
use weir_shared::usage::{Class, Usage};

use crate::admit::{BYTES_PER_TOKEN, Ticket};
use crate::clock::{self, Nanos};
use crate::dialect::Reading;
use crate::gauge::{Counter, Gauges, Timing};

pub struct Meter<'l> {
    ticket: Option<Ticket<'l>>,
    gauges: &'l Gauges,
    price: &'l PriceList,
    /// Of the vendor that is asked: whose they are decides who is billed.
    credentials: &'l [Credential],
    markup_bp: i32,
    own_price_bp: i32,
    /// More tokens than this were never used: the vendor's word cannot be believed.
    plausible_tokens: u64,
    started: Nanos,
    first_byte: Option<Nanos>,
    prompt_bytes: u64,
    pub reading: Reading,
    /// What was delivered before another candidate went on with it.
    carried: Option<Box<Carried<'l>>>,
    /// The vendor began to answer: from here on what was said is owed.
    pub delivered: bool,
    record: Record<'l>,
    /// Calls that were made before this candidate had its turn.
    earlier: usize,
    closed: bool,
}

/// The parts of an answer that is others' to end, each at its own prices.
#[derive(Clone, Copy, Default)]
struct Carried<'l> {
    usage: Usage,
    cost: Nano,
    sale: Nano,
    /// Who said the last of it: model, the vendor's name for it, vendor, credential.
    by: [&'l str; 4],
}

/// What a closed meter says: for the log line and the headers.
pub struct Bill {
    /// Of these, what the candidate that ended the answer has earned.
    pub last_cost: Nano,
    pub last_tokens_out: u64,
    pub cost: Nano,
    pub sale: Nano,
    pub usage: Usage,
    pub flags: u16,
    pub total_us: u64,
    pub first_byte_us: u64,
    /// Wall clock, nanoseconds.
    pub time_ns: u64,
}

/// Facts about a request that do not change once it is admitted.
pub struct Subject<'l> {
    pub id: RequestId,
    pub model: Option<&'l Model>,
    pub vendor: &'l Vendor,
    pub revision: u64,
    pub trace: u128,
    pub stream: bool,
    pub started: Nanos,
    pub prompt_bytes: usize,
    /// The call that this one is a copy of: nobody is served by it, and what it costs is the operator's.
    pub mirror_of: Option<RequestId>,
}

/// A price as it is, in basis points.
const WHOLE_BP: i32 = 10_000;

/// Without a price there is nothing to pay: files, batches, and what lists them.
static FREE: PriceList = PriceList::FREE;

/// Room in the journal for a record about this subject.
pub fn record_bytes(model: Option<&Model>, vendor: &Vendor, tenant: &str) -> usize {
    const FIXED: usize = 160;
    const TAIL: usize = 3;
    let credential = vendor.credentials.iter().map(|credential| credential.name.len()).max().unwrap_or(0);
    let names = tenant.len()
        + model.map_or(0, |model| model.id.len() + model.upstream.len())
        + vendor.name.len()
        + credential
        + 32;
    let usage = Class::COUNT * (TAIL + 9);
    let attempts = ATTEMPTS_MAX * (TAIL + 16 + vendor.name.len() + credential);
    FIXED + names + 6 * TAIL + usage + attempts
}

impl<'l> Meter<'l> {
    pub fn open(ticket: Ticket<'l>, gauges: &'l Gauges, subject: &Subject<'l>) -> Self {
        if subject.mirror_of.is_none() {
            gauges.add(Counter::Admitted, 1);
            gauges.add(Counter::InFlight, 1);
        }
        let key = ticket.key;
        let record = Record {
            id: subject.id,
            key: key.id,
            revision: subject.revision,
            price_version: subject.revision,
            trace: subject.trace,
            tenant: &key.tenant.name,
            model: subject.model.map_or("", |model| &model.id),
            upstream_model: subject.model.map_or("", |model| &model.upstream),
            vendor: &subject.vendor.name,
            flags: if subject.stream { flag::STREAM } else { 0 }
                | if subject.mirror_of.is_some() { flag::MIRRORED } else { 0 },
            mirror_of: subject.mirror_of,
            outcome: Outcome::Cancelled,
            attempts: Vec::with_capacity(1),
            ..Record::default()
        };
        Self {
            gauges,
            price: subject.model.map_or(&FREE, |model| &model.price),
            credentials: &subject.vendor.credentials,
            markup_bp: key.tenant.markup_bp,
            own_price_bp: key.tenant.own_price_bp,
            plausible_tokens: plausible_tokens(subject.model),
            started: subject.started,
            first_byte: None,
            prompt_bytes: subject.prompt_bytes as u64,
            reading: Reading::default(),
            carried: None,
            delivered: false,
            record,
            earlier: 0,
            closed: false,
            ticket: Some(ticket),
        }
    }

    /// The ticket that the upstream call is made on.
    pub fn ticket(&self) -> Option<&Ticket<'l>> {
        self.ticket.as_ref()
    }

    /// Another candidate is asked: what comes from now on is its.
    pub fn aim(&mut self, model: Option<&'l Model>, vendor: &'l Vendor) {
        self.price = model.map_or(&FREE, |model| &model.price);
        self.plausible_tokens = plausible_tokens(model);
        self.record.model = model.map_or("", |model| &model.id);
        self.record.upstream_model = model.map_or("", |model| &model.upstream);
        self.record.vendor = &vendor.name;
        self.credentials = &vendor.credentials;
        self.earlier = self.record.attempts.len();
    }

    /// The same, when its call was made before anybody knew that it would count.
    pub fn aim_at_call(&mut self, model: Option<&'l Model>, vendor: &'l Vendor, earlier: usize) {
        self.aim(model, vendor);
        self.earlier = earlier.min(self.record.attempts.len());
    }

    /// How the candidates were chosen, so that the choice can be made again.
    pub fn chosen(&mut self, choice: Box<Choice<'l>>) {
        self.record.seed = choice.shape.seed;
        self.record.choice = Some(choice);
    }

    /// The last attempt came to nothing that the caller has seen. What its vendor told of its usage until then is its cost,
    /// and nobody's bill.
    pub fn missed(&mut self) {
        let reading = std::mem::take(&mut self.reading);
        let told = reading.usage.filter(|usage| !reading.usage_invalid && usage.tokens() <= self.plausible_tokens);
        let told = told.filter(|_| !self.is_by_own());
        let cost = told.and_then(|usage| self.price.cost(&usage, reading.tier).ok()?.round(0).ok());
        if let Some(last) = self.record.attempts[self.earlier..].last_mut() {
            last.outcome = Outcome::Failed;
            last.cost = cost.unwrap_or_default();
        }
    }

    /// Another is asked to go on with what was said.
    pub fn continued(&mut self) {
        self.record.flags |= flag::CONTINUED;
    }

    /// Several answer.
    pub fn fanned_out(&mut self) {
        self.record.flags |= flag::FANNED_OUT;
    }

    /// What all of it used by now.
    pub fn used_so_far(&self) -> Usage {
        let carried = self.carried.as_ref().map_or(Usage::NONE, |carried| carried.usage);
        carried.plus(self.usage(Outcome::Complete).0)
    }

    /// What was delivered until here is owed, at this candidate's prices; another may go on with it, or answer as well.
    /// Says what all of it used.
    pub fn carry(&mut self, outcome: Outcome) -> Usage {
        let (usage, flags) = self.usage(outcome);
        let flags = flags | self.whose();
        let (cost, sale) = self.amounts(&usage);
        let (cost, sale) = (cost.unwrap_or(Nano(i64::MAX)), sale.unwrap_or(Nano(i64::MAX)));
        let mut credential = "";
        if let Some(last) = self.record.attempts.last_mut() {
            (last.outcome, last.cost) = (outcome, cost);
            credential = last.credential;
        }
        self.record.flags |= flags;
        self.reading = Reading::default();
        let Record { model, upstream_model, vendor, .. } = self.record;
        let carried = self.carried.get_or_insert_default();
        carried.by = [model, upstream_model, vendor, credential];
        carried.usage = carried.usage.plus(usage);
        carried.cost = Nano(carried.cost.0.saturating_add(cost.0));
        carried.sale = Nano(carried.sale.0.saturating_add(sale.0));
        carried.usage
    }

    pub fn attempt(&mut self, credential: &'l str, status: u16, outcome: Outcome, since: Nanos) {
        let call = called(self.record.vendor, credential, status, outcome, since);
        self.calls().push(call);
    }

    /// The calls to vendors, in the order in which they ended; the last one is whose answer it is.
    pub fn calls(&mut self) -> &mut Vec<Attempt<'l>> {
        &mut self.record.attempts
    }

    /// The first byte of an answer was on its way to the caller at this moment; said twice, the first one holds.
    pub fn first_byte(&mut self, at: Nanos) {
        self.first_byte.get_or_insert(at);
    }

    /// What it costs by now, for a header that leaves before the record is closed.
    pub fn preview(&self) -> (Nano, Nano) {
        let (usage, _) = self.usage(Outcome::Complete);
        let (cost, sale) = self.amounts(&usage);
        let (before, sold) =
            self.carried.as_ref().map_or_else(Default::default, |carried| (carried.cost, carried.sale));
        let add = |amount: Nano, before: Nano| Nano(amount.0.saturating_add(before.0));
        (add(cost.unwrap_or_default(), before), add(sale.unwrap_or_default(), sold))
    }

    /// Writes the record. `None`: it had been written before.
    pub fn close(&mut self, status: u16, code: Option<Code>, outcome: Outcome) -> Option<Box<Bill>> {
        if std::mem::replace(&mut self.closed, true) {
            return None;
        }
        let now = clock::now();
        let carried = self.carried.take();
        // Who was to go on and said nothing is owed nothing.
        let is_silent = carried.is_some() && self.reading.is_empty();
        let (usage, mut flags) = if is_silent { (Usage::NONE, 0) } else { self.usage(outcome) };
        let (cost, sale) = if is_silent { (Ok(Nano(0)), Ok(Nano(0))) } else { self.amounts(&usage) };
        if cost.is_err() || sale.is_err() {
            flags |= flag::OVERFLOW;
        }
        flags |= self.whose();
        let is_mirrored = self.record.mirror_of.is_some();
        let sale = if is_mirrored { Ok(Nano(0)) } else { sale };
        let (own_cost, sale) = (cost.unwrap_or(Nano(i64::MAX)), sale.unwrap_or(Nano(i64::MAX)));
        let carried = carried.map(|carried| *carried).unwrap_or_default();
        let last_tokens_out = usage.answer_tokens();
        let usage = usage.plus(carried.usage);
        if is_silent {
            // The record names who was heard, not who was asked last.
            let record = &mut self.record;
            [record.model, record.upstream_model, record.vendor, record.credential] = carried.by;
        }
        let cost = Nano(own_cost.0.saturating_add(carried.cost.0));
        let sale = Nano(sale.0.saturating_add(carried.sale.0));
        let micros = |from: Nanos, to: Nanos| (to.saturating_sub(from)) / 1_000;
        let total_us = micros(self.started, now);
        let first_byte_us = self.first_byte.map_or(0, |at| micros(self.started, at));
        let record = &mut self.record;
        record.time_ns = clock::wall_at(now);
        record.status = status;
        record.code = code.map_or("", Code::name);
        record.outcome = outcome;
        record.tier = self.reading.tier;
        record.flags |= flags;
        record.usage = usage;
        (record.cost, record.sale) = (cost, sale);
        record.total_us = u32::try_from(total_us).unwrap_or(u32::MAX);
        record.first_byte_us = u32::try_from(first_byte_us).unwrap_or(u32::MAX);
        // What was carried over has its own word.
        if let Some(last) = record.attempts.last_mut().filter(|_| !is_silent) {
            record.credential = last.credential;
            last.outcome = outcome;
            // Of one that was given up, what its prompt cost is noted already.
            if self.delivered {
                last.cost = own_cost;
            }
        }
        let ticket = self.ticket.take();
        // A request that no vendor answered gives its place back; limits and money use the same settlement. One that a
        // vendor refused is one all the same: it counts against its credential, too.
        let is_answered = self.delivered || record.attempts.iter().any(|attempt| attempt.status != 0);
        let slot =
            ticket.and_then(|ticket| if is_answered { ticket.settle(usage.tokens(), now) } else { ticket.void(now) });
        if !slot.is_some_and(|slot| slot.write(record)) {
            eprintln!("{{\"level\":\"error\",\"event\":\"record_lost\",\"request\":\"{}\"}}", record.id);
        }
        self.count(&usage, cost, sale, outcome, total_us, first_byte_us);
        Some(Box::new(Bill {
            last_cost: own_cost,
            last_tokens_out,
            cost,
            sale,
            usage,
            flags: self.record.flags,
            total_us,
            first_byte_us,
            time_ns: self.record.time_ns,
        }))
    }

    /// The vendor's word when it can be believed; else what was delivered, counted by us.
    fn usage(&self, outcome: Outcome) -> (Usage, u16) {
        if !self.delivered {
            return (Usage::NONE, 0);
        }
        let complete = outcome == Outcome::Complete;
        let absurd = self.reading.usage.is_some_and(|usage| {
            usage.tokens() > self.plausible_tokens || usage.of(Class::Request) > self.plausible_units()
        });
        match (self.reading.usage, self.reading.usage_invalid || absurd) {
            (Some(usage), false) if complete || usage.answer_tokens() > 0 => {
                let usage = self.at_least_delivered(usage, complete);
                // No prompt is free: who tells of the answer alone leaves the prompt to be counted.
                if usage.answer_tokens() > 0 && usage.prompt_tokens() == 0 {
                    let prompt = self.prompt_bytes.div_ceil(BYTES_PER_TOKEN);
                    return (usage.with(Class::Input, prompt), if prompt > 0 { flag::ESTIMATED } else { 0 });
                }
                (usage, 0)
            }
            (_, invalid) => {
                let answer = self.reading.output_bytes.div_ceil(BYTES_PER_TOKEN);
                let prompt = self.prompt_bytes.div_ceil(BYTES_PER_TOKEN);
                let usage = match self.reading.usage.filter(|_| !invalid) {
                    // The prompt was told at the start, the answer was not.
                    Some(known) => known.with(Class::Output, answer),
                    None => Usage::NONE.with(Class::Input, prompt).with(Class::Output, answer),
                };
                (usage, flag::ESTIMATED | if invalid { flag::USAGE_INVALID } else { 0 })
            }
        }
    }

    /// Searches that a call of this size can be: one for every hundred documents, and a document takes a few bytes.
    fn plausible_units(&self) -> u64 {
        1 + self.prompt_bytes / 200
    }

    /// A stream that was cut told its usage at its start, if at all: what came since counts, too.
    fn at_least_delivered(&self, usage: Usage, complete: bool) -> Usage {
        if complete {
            return usage;
        }
        let delivered = self.reading.output_bytes.div_ceil(BYTES_PER_TOKEN);
        usage.with(Class::Output, usage.of(Class::Output).max(delivered))
    }

    fn amounts(&self, usage: &Usage) -> (Result<Nano, Overflow>, Result<Nano, Overflow>) {
        // A fee per request is owed once anything was delivered.
        let usage = if self.delivered { usage.with(Class::Request, usage.of(Class::Request).max(1)) } else { *usage };
        let exact = self.price.cost(&usage, self.reading.tier);
        if self.is_by_own() {
            // Its vendor bills the tenant.
            return (Ok(Nano(0)), exact.and_then(|pico| pico.round(self.own_price_bp - WHOLE_BP)));
        }
        (exact.and_then(|pico| pico.round(0)), exact.and_then(|pico| pico.round(self.markup_bp)))
    }

    fn whose(&self) -> u16 {
        if self.is_by_own() { flag::OWN_CREDENTIAL } else { 0 }
    }

    /// Whether the last call of this candidate was by a credential that is the tenant's own.
    fn is_by_own(&self) -> bool {
        let Some(last) = self.record.attempts.last().filter(|last| last.vendor == self.record.vendor) else {
            return false;
        };
        self.credentials.iter().any(|known| known.tenant.is_some() && *known.name == *last.credential)
    }

    fn count(&self, usage: &Usage, cost: Nano, sale: Nano, outcome: Outcome, total_us: u64, first_byte_us: u64) {
        let gauges = self.gauges;
        if self.record.flags & flag::OVERFLOW == 0 {
            gauges.add(Counter::CostNano, cost.0.unsigned_abs());
            gauges.add(Counter::SaleNano, sale.0.unsigned_abs());
        }
        if self.record.mirror_of.is_some() {
            return;
        }
        gauges.sub(Counter::InFlight, 1);
        gauges.add(
            match outcome {
                Outcome::Complete => Counter::Completed,
                Outcome::Failed => Counter::Failed,
                Outcome::Cancelled => Counter::Cancelled,
                Outcome::Partial => Counter::Partial,
            },
            1,
        );
        gauges.add(Counter::TokensIn, usage.prompt_tokens());
        gauges.add(Counter::TokensOut, usage.answer_tokens());
        if self.record.flags & flag::ESTIMATED != 0 {
            gauges.add(Counter::UsageEstimated, 1);
        }
        gauges.time(Timing::Total, total_us);
        if self.first_byte.is_some() {
            gauges.time(Timing::FirstByte, first_byte_us);
        }
    }

    pub fn names(&self) -> (&'l str, &'l str, &'l str) {
        (self.record.model, self.record.vendor, self.credential())
    }

    fn credential(&self) -> &'l str {
        if self.closed {
            return self.record.credential;
        }
        self.record.attempts.last().map_or("", |last| last.credential)
    }

    pub fn attempts(&self) -> usize {
        self.record.attempts.len()
    }
}

/// A call to a vendor that has ended, or that nobody waits for any more.
pub fn called<'l>(vendor: &'l str, credential: &'l str, status: u16, outcome: Outcome, since: Nanos) -> Attempt<'l> {
    let micros = u32::try_from(clock::now().saturating_sub(since) / 1_000).unwrap_or(u32::MAX);
    Attempt { vendor, credential, status, outcome, micros, cost: Nano(0) }
}

/// What an answer cost by its vendor's own word, where that can be believed.
pub fn told_cost(model: &Model, reading: &Reading) -> Option<(Nano, Usage)> {
    let believed = |usage: &Usage| !reading.usage_invalid && usage.tokens() <= plausible_tokens(Some(model));
    let usage = reading.usage.filter(believed)?;
    Some((model.price.cost(&usage, reading.tier).ok()?.round(0).ok()?, usage))
}

/// Many times what the model can read and write at once: several choices, runs of tools, and catalogs that lag behind.
fn plausible_tokens(model: Option<&Model>) -> u64 {
    const TIMES: u64 = 64;
    const SMALLEST: u64 = 1 << 20;
    model.map_or(SMALLEST, |model| model.context_tokens.saturating_add(model.output_tokens_max).max(SMALLEST)) * TIMES
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let status = if self.delivered { 200 } else { 0 };
        self.close(status, None, Outcome::Cancelled);
    }
}
