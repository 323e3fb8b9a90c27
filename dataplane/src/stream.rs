//! A vendor's stream on its way to the caller: whole events only, each checked, one write per read.

mod apart;
mod overheard;
mod relayed;

pub use apart::Apart;
pub use overheard::overhear;
pub use relayed::relay;

use std::borrow::Cow;
use std::pin::pin;

use weir_shared::fault::Code;
use weir_shared::policy::time::Times;

use crate::accept::{HEAD_ROOM, Sink};
use crate::buffer;
use crate::clock;
use crate::deadline::{Deadline, Why};
use crate::dialect::{Language, Reading, Sense};
use crate::gauge::{Counter, Gauges};
use crate::memory::Hold;
use crate::race::{Either, either};
use crate::upstream::{Failure, Incoming};
use crate::wire::json;
use crate::wire::sse::{Event, Framer};
use crate::wire::template::{EVENT_BYTES_MAX, Template};

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Complete,
    /// The caller went away.
    Cancelled,
    /// The vendor said so in its own words, which were forwarded.
    VendorFailed,
    /// It was broken off; the caller has been told, in its own language.
    Broken(Code),
    /// It was broken off before the model had said anything: nothing of it has reached the caller, and another candidate
    /// may answer in its place.
    Unheard(Code),
    /// It was broken off in the middle of its words; the caller has not been told, since another may go on with them.
    Suspended(Code),
}

/// What a stream is forwarded by.
pub struct Rules<'a> {
    pub language: &'static dyn Language,
    pub times: &'a Times,
    /// The caller did not ask for the usage that was asked for in its name.
    pub hide_usage: bool,
    pub strict: bool,
    pub event_bytes_max: u64,
    pub total_at_ms: u64,
    /// Takes out of a vendor's error what no caller may see.
    pub scrub: &'a dyn Fn(&[u8]) -> Vec<u8>,
    /// The vendor bills to the end anyhow: a caller's hang-up does not stop it, so that its usage is known.
    pub drain: bool,
    /// Ids of objects within events are sealed by this.
    pub rewrite: Option<Rewrite<'a>>,
    /// Somebody else could answer: what comes before the model's first output is kept back, so that nothing has to be
    /// taken back.
    pub elsewhere: bool,
    /// Somebody else could go on with what was said.
    pub goes_on: bool,
    /// Gives the answer its head, when it has none yet.
    pub begin: &'a dyn Fn(&mut Sink<'_>),
}

/// What is kept back before the first output; more than this is let go, and the stream with it.
const PREAMBLE_BYTES_MAX: usize = 64 << 10;

impl Rules<'_> {
    /// Whether a stream that is kept back is to be let go now; an end that it comes to before is another's chance.
    fn commits(&self, reading: &Reading, end: Option<End>, kept_back: usize) -> Result<bool, Code> {
        match end {
            // What is wrong with the request is the caller's to hear, in the vendor's words.
            _ if reading.output_bytes > 0 || reading.blames_caller => Ok(true),
            Some(End::Broken(code)) => Err(code),
            Some(End::VendorFailed) => Err(Code::UpstreamError),
            // An answer without a word is an answer.
            Some(_) => Ok(true),
            None => Ok(kept_back > PREAMBLE_BYTES_MAX),
        }
    }

    /// Why a stream cannot go on with what of it is not finished and what is kept of it: an event that is too long is its
    /// vendor's fault, and a shortage of memory ours.
    fn too_much(&self, unfinished: usize, kept: usize, hold: &mut Hold) -> Option<Code> {
        if unfinished as u64 > self.event_bytes_max {
            return Some(Code::UpstreamInvalid);
        }
        let kept = if kept > buffer::LARGE { kept as u64 } else { 0 };
        hold.grow_to(kept).is_err().then_some(Code::Overloaded)
    }
}

/// The data of an event with what must change in it changed; `None` when nothing must.
pub type Rewrite<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// What arrived and was checked, up to where.
struct Inspector<'a> {
    rules: &'a Rules<'a>,
    gauges: &'a Gauges,
    framer: Framer,
    templates: Vec<Template>,
    /// The last event that a template could be learned from.
    before: Vec<u8>,
    lessons_left: u32,
    /// Parts of the buffer that are not forwarded, or are replaced.
    changes: Vec<(usize, usize, Vec<u8>)>,
    saw_data: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// Everything up to here is good; more may come.
    More,
    /// The stream ends here.
    End,
    Failed,
    Malformed,
}

/// A stream whose events never repeat their form is not studied for ever.
const LESSONS: u32 = 16;
const TEMPLATES_MAX: usize = 3;

pub async fn forward(
    mut incoming: Box<Incoming>,
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    reading: &mut Reading,
    gauges: &Gauges,
    first_byte: &mut dyn FnMut(),
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    let mut inspector = Inspector::new(rules, gauges);
    let mut hold = Hold::default();
    let pulse = Deadline::bare();
    let mut buffer = with_head_room(buffer::small());
    let mut burst = false;
    // The caller has, and the rest is only read for its usage.
    let mut gone = false;
    let mut committed = !rules.elsewhere;
    let mut preamble = Vec::new();
    // Nothing of ours has been written since: the caller's wait for a sign of life begins anew.
    let mut silent = true;
    set_idle(&incoming, rules);
    loop {
        // ── wait for more, for the caller to go, or for it to be time for a sign of life
        let read;
        let arrived = if gone {
            Some(incoming.more(buffer).await)
        } else {
            let anew = std::mem::take(&mut silent) || committed;
            wait(&mut incoming, buffer, sink, rules, &pulse, anew, gauges, &mut gone).await
        };
        (read, buffer) = match arrived {
            Some(arrived) => arrived,
            None => {
                incoming.cut();
                close(End::Cancelled, reading);
                return (End::Cancelled, None);
            }
        };
        let ended = match &read {
            Ok(0) => Some(None),
            Ok(_) => None,
            Err(failure) => Some(Some(failure.code())),
        };
        if matches!(ended, Some(None)) && buffer.len() > HEAD_ROOM {
            // A last event whose empty line the vendor forgot.
            buffer.extend_from_slice(b"\n\n");
        }
        // ── check what came
        let found = inspector.inspect(&buffer, reading);
        if std::mem::take(&mut inspector.saw_data) {
            set_idle(&incoming, rules);
        }
        let end = match (found, ended) {
            (Found::Malformed, _) => Some(End::Broken(Code::UpstreamInvalid)),
            (Found::Failed, _) => Some(End::VendorFailed),
            (Found::End, _) => Some(conclude(reading)),
            (Found::More, None) => {
                // The vendor's last chunk often comes with its last event.
                let whole = incoming.is_done() || reading.ended;
                whole.then(|| conclude(reading))
            }
            (Found::More, Some(None)) => Some(conclude(reading)),
            (Found::More, Some(Some(_))) if reading.ended => Some(End::Complete),
            (Found::More, Some(Some(code))) => Some(End::Broken(code)),
        };
        let good_to = inspector.good_to();
        let kept = buffer.len() - good_to;
        let end = end.or_else(|| rules.too_much(kept, kept + preamble.len(), &mut hold).map(End::Broken));
        if !committed && !gone {
            match rules.commits(reading, end, preamble.len() + buffer.len()) {
                Ok(now) => committed = now,
                Err(code) => {
                    incoming.cut();
                    buffer::give_back(buffer);
                    return (End::Unheard(code), None);
                }
            }
        }
        // ── what is whole goes out, what is not stays
        // A read that filled its buffer is followed by more: then a large one takes it all at once.
        burst = if burst { buffer.len() > buffer::SMALL / 2 } else { buffer.len() >= buffer::SMALL - ALMOST };
        if good_to == HEAD_ROOM && kept > 0 && end.is_none() {
            // Not one whole event yet: it goes on in the same buffer. Copying what is unfinished for every read would
            // let a vendor that sends a large event in small pieces keep the core busy with that alone.
            continue;
        }
        let mut next = None;
        if kept > 0 && end.is_none() {
            let room = HEAD_ROOM + 2 * kept + CRLF;
            let fitting = if burst { buffer::with_room(room.max(buffer::SMALL + 1)) } else { buffer::with_room(room) };
            let mut tail = with_head_room(fitting);
            tail.extend_from_slice(&buffer[good_to..]);
            next = Some(tail);
        }
        buffer.truncate(good_to);
        inspector.apply_changes(&mut buffer);
        inspector.moved(good_to - HEAD_ROOM);
        if !committed || !preamble.is_empty() {
            preamble.extend_from_slice(&buffer[HEAD_ROOM..]);
            buffer.truncate(HEAD_ROOM);
            if committed {
                buffer.append(&mut preamble);
            }
        }
        if gone {
            if end.is_some() {
                close(End::Cancelled, reading);
                return (End::Cancelled, None);
            }
            buffer::give_back(std::mem::replace(&mut buffer, next.unwrap_or_else(|| with_head_room(buffer::small()))));
            continue;
        }
        let Some(end) = end else {
            if buffer.len() > HEAD_ROOM {
                first_byte();
                (rules.begin)(sink);
                let waiting = pause(&incoming);
                let (written, spare) = sink.chunk(buffer, false).await;
                resume(&incoming, waiting);
                silent = true;
                buffer = spare;
                if written.is_err() {
                    if !rules.drain {
                        incoming.cut();
                        close(End::Cancelled, reading);
                        return (End::Cancelled, None);
                    }
                    gone = true;
                }
            }
            if let Some(tail) = next {
                buffer::give_back(std::mem::replace(&mut buffer, tail));
            } else if burst != (buffer.capacity() > buffer::SMALL) {
                let fitting = if burst { buffer::large() } else { buffer::small() };
                buffer::give_back(std::mem::replace(&mut buffer, with_head_room(fitting)));
            }
            continue;
        };
        return finish(incoming, sink, rules, reading, end, buffer, first_byte, close).await;
    }
}

/// A buffer counts as filled when so few bytes are left.
const ALMOST: usize = 64;
/// What a chunk ends with.
const CRLF: usize = 2;

type Arrived = (Result<usize, Failure>, Vec<u8>);

/// Reads once. Meanwhile the caller may go, and gets signs of life while the vendor is silent. `None`: it has gone, and the
/// vendor need not go on.
#[expect(clippy::too_many_arguments, reason = "everything that a wait can end by")]
async fn wait(
    incoming: &mut Incoming,
    buffer: Vec<u8>,
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    pulse: &Deadline,
    anew: bool,
    gauges: &Gauges,
    gone: &mut bool,
) -> Option<Arrived> {
    // What is kept back is no sign of life.
    if anew {
        pulse.nudge_after(rules.times.heartbeat);
    }
    let socket = incoming.link().map(|link| link.link.socket.clone());
    let mut reading = pin!(incoming.more(buffer));
    loop {
        let first = {
            let mut hung_up = pin!(sink.caller.gone());
            let mut beat = pin!(pulse.nudged());
            let mut other = pin!(either(hung_up.as_mut(), beat.as_mut()));
            either(reading.as_mut(), other.as_mut()).await
        };
        *gone = match first {
            Either::First(arrived) => return Some(arrived),
            Either::Second(Either::First(())) => true,
            Either::Second(Either::Second(())) => {
                pulse.nudge_after(rules.times.heartbeat);
                if rules.language.heartbeat().is_empty() {
                    continue;
                }
                gauges.add(Counter::Heartbeats, 1);
                (rules.begin)(sink);
                let mut beat = with_head_room(buffer::small());
                beat.extend_from_slice(rules.language.heartbeat());
                // On the heap for its moment: in the wait's own frame it would cost every stream its room.
                let (written, spare) = Box::pin(sink.chunk(beat, false)).await;
                buffer::give_back(spare);
                written.is_err()
            }
        };
        if *gone && rules.drain {
            return Some(reading.await);
        }
        if *gone {
            // Shut first: the vendor hears of it at once, and the pending read returns instead of being dropped.
            if let Some(socket) = socket {
                socket.shut();
            }
            let (_, buffer) = reading.await;
            buffer::give_back(buffer);
            return None;
        }
    }
}

/// While a caller takes its time to read, the vendor's does not run: a slow reader is not the vendor's silence.
fn pause(incoming: &Incoming) -> Option<u64> {
    incoming.link().map(|link| link.deadline.pause())
}

fn resume(incoming: &Incoming, left_ms: Option<u64>) {
    if let (Some(link), Some(left_ms)) = (incoming.link(), left_ms) {
        link.deadline.resume(left_ms);
    }
}

/// A clean end of file without a reason to be over is a failure.
fn conclude(reading: &Reading) -> End {
    if reading.finished || reading.ended { End::Complete } else { End::Broken(Code::UpstreamCut) }
}

fn set_idle(incoming: &Incoming, rules: &Rules<'_>) {
    set_idle_at(incoming, rules.times.idle, rules.total_at_ms);
}

fn set_idle_at(incoming: &Incoming, idle_ms: u64, total_at_ms: u64) {
    if let Some(link) = incoming.link() {
        let idle_at = clock::coarse_ms() + idle_ms;
        if idle_at < total_at_ms {
            link.deadline.set_at(idle_at, Why::Idle);
        } else {
            link.deadline.set_at(total_at_ms, Why::Total);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the last step of one story")]
async fn finish(
    mut incoming: Box<Incoming>,
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    reading: &mut Reading,
    end: End,
    mut buffer: Vec<u8>,
    first_byte: &mut dyn FnMut(),
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    match end {
        End::Broken(code) => {
            incoming.cut();
            return break_off(sink, rules, reading, code, buffer, close).await;
        }
        End::Complete => {
            if !reading.ended {
                buffer.extend_from_slice(rules.language.terminator());
            }
            // What follows the end belongs to nobody; the last chunk itself may still be on its way.
            incoming.drain_now();
        }
        End::VendorFailed | End::Cancelled | End::Unheard(_) | End::Suspended(_) => incoming.poison(),
    }
    first_byte();
    (rules.begin)(sink);
    // The record is in the journal before the last chunk leaves.
    close(end, reading);
    let (written, spare) = sink.chunk(buffer, true).await;
    buffer::give_back(spare);
    if written.is_err() {
        incoming.cut();
    }
    (end, Some(incoming))
}

/// What was good goes out, then the caller is told in its own language. Never a fake end.
async fn break_off(
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    reading: &mut Reading,
    code: Code,
    mut buffer: Vec<u8>,
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    reading.failed = true;
    rules.language.error_event(&mut buffer, code, code.meaning(), reading);
    close(End::Broken(code), reading);
    (rules.begin)(sink);
    let (_, spare) = sink.chunk(buffer, true).await;
    buffer::give_back(spare);
    (End::Broken(code), None)
}

fn with_head_room(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.resize(HEAD_ROOM, 0);
    buffer
}

impl<'a> Inspector<'a> {
    fn new(rules: &'a Rules<'a>, gauges: &'a Gauges) -> Self {
        let mut framer = Framer::default();
        framer.skip_to(HEAD_ROOM);
        Self {
            rules,
            gauges,
            framer,
            templates: Vec::new(),
            before: Vec::new(),
            lessons_left: LESSONS,
            changes: Vec::new(),
            saw_data: false,
        }
    }

    fn good_to(&self) -> usize {
        self.framer.unfinished()
    }

    fn moved(&mut self, by: usize) {
        self.framer.moved(by);
    }

    fn inspect(&mut self, bytes: &[u8], reading: &mut Reading) -> Found {
        let (mut fast, mut all) = (0, 0);
        let found = loop {
            if self.framer.at_event_start()
                && let Some((length, output)) = self.recognise(&bytes[self.framer.unfinished()..])
            {
                self.framer.skip_to(self.framer.unfinished() + length);
                reading.output_bytes += output;
                fast += 1;
                continue;
            }
            let Some(event) = self.framer.next(bytes) else { break Found::More };
            all += 1;
            match self.read(event, bytes, reading) {
                Found::More => {}
                Found::End => {
                    // Nothing follows the end.
                    break Found::End;
                }
                other => break other,
            }
        };
        self.saw_data |= fast > 0;
        reading.events += fast;
        self.gauges.add(Counter::Events, fast + all);
        self.gauges.add(Counter::EventsFast, fast);
        found
    }

    /// The template that fitted last is tried first.
    #[inline]
    fn recognise(&mut self, bytes: &[u8]) -> Option<(usize, u64)> {
        for place in 0..self.templates.len() {
            if let Some(found) = self.templates[place].recognise(bytes) {
                self.templates.swap(0, place);
                return Some((found.bytes, found.output_bytes as u64));
            }
        }
        None
    }

    fn read(&mut self, event: Event, bytes: &[u8], reading: &mut Reading) -> Found {
        let whole = event.whole;
        if whole.len as u64 > self.rules.event_bytes_max {
            self.framer.skip_to(whole.at);
            return Found::Malformed;
        }
        if event.is_silent() {
            // Comments are forwarded, when they are text at all and tell nothing of the vendor.
            if simdutf8::basic::from_utf8(whole.of(bytes)).is_err() {
                return self.malformed(event);
            }
            self.hide_asides(event, &[], bytes);
            return Found::More;
        }
        let joined;
        let data = if event.data_lines > 1 {
            joined = event.join(bytes);
            &joined[..]
        } else {
            event.data.of(bytes)
        };
        let legal_name = simdutf8::basic::from_utf8(event.name.of(bytes)).is_ok();
        let sense = match self.rules.language.read_event(event.name.of(bytes), data, reading) {
            Ok(sense) if legal_name => sense,
            _ => return self.malformed(event),
        };
        self.saw_data = true;
        // What is not believed and not forwarded is no event of this stream.
        reading.events += u64::from(sense != Sense::End || reading.ended);
        match sense {
            Sense::Plain if event.asides => self.hide_asides(event, data, bytes),
            Sense::Plain => self.learn(event, bytes),
            Sense::Marked => self.rewrite(event, data, bytes, reading),
            Sense::UsageOnly if self.rules.hide_usage => self.changes.push((whole.at, whole.len, Vec::new())),
            Sense::UsageOnly => {}
            Sense::End => {
                if !reading.ended {
                    // An end of another dialect: not forwarded, and not believed.
                    self.changes.push((whole.at, whole.len, Vec::new()));
                }
                return Found::End;
            }
            Sense::Failed => {
                self.changes.push((whole.at, whole.len, self.last_words(event, data, bytes)));
                return Found::Failed;
            }
        }
        Found::More
    }

    /// A vendor's own error event, with its ids sealed and without what no caller may see.
    fn last_words(&self, event: Event, data: &[u8], bytes: &[u8]) -> Vec<u8> {
        let sealed = self.rules.rewrite.and_then(|rewrite| rewrite(data));
        match sealed {
            Some(sealed) => (self.rules.scrub)(&event.rewritten(bytes, &sealed, <[u8]>::to_vec)),
            None => (self.rules.scrub)(event.whole.of(bytes)),
        }
    }

    /// What a vendor says beside the data is no answer: it must not tell what no error may tell.
    fn hide_asides(&mut self, event: Event, data: &[u8], bytes: &[u8]) {
        let told = event.whole.of(bytes);
        if event.asides && (self.rules.scrub)(told) != told {
            let hidden = event.rewritten(bytes, data, |line| (self.rules.scrub)(line));
            self.changes.push((event.whole.at, event.whole.len, hidden));
        }
    }

    fn malformed(&mut self, event: Event) -> Found {
        if self.rules.strict {
            // Not forwarded: what is good ends where this event starts.
            self.framer.skip_to(event.whole.at);
            return Found::Malformed;
        }
        self.gauges.add(Counter::EventsDropped, 1);
        self.changes.push((event.whole.at, event.whole.len, Vec::new()));
        Found::More
    }

    /// Sealed ids take the place of the vendor's; only events that are no plain output hold any.
    fn rewrite(&mut self, event: Event, data: &[u8], bytes: &[u8], reading: &mut Reading) {
        let changed = self.rules.rewrite.and_then(|rewrite| rewrite(data));
        if self.rules.rewrite.is_some() && reading.response.is_none() {
            let id = json::dig(changed.as_deref().unwrap_or(data), &["response", "id"]).and_then(json::text);
            reading.response = id.map(Cow::into_owned);
        }
        match changed {
            None => self.hide_asides(event, data, bytes),
            Some(changed) if event.data_lines == 1 && !event.asides => {
                self.changes.push((event.data.at, event.data.len, changed));
            }
            Some(changed) => {
                let anew = event.rewritten(bytes, &changed, |line| (self.rules.scrub)(line));
                self.changes.push((event.whole.at, event.whole.len, anew));
            }
        }
    }

    fn learn(&mut self, event: Event, bytes: &[u8]) {
        let whole = event.whole.of(bytes);
        if self.lessons_left == 0 || event.data_lines != 1 || whole.len() > EVENT_BYTES_MAX {
            return;
        }
        self.lessons_left -= 1;
        let data_at = event.data.at - event.whole.at;
        match Template::learn(&self.before, whole, data_at, event.data.len) {
            Some(template) => {
                self.templates.insert(0, template);
                self.templates.truncate(TEMPLATES_MAX);
                self.before = Vec::new();
            }
            None => self.before = whole.to_vec(),
        }
    }

    /// Takes out what is hidden and puts in what is replaced; rare.
    fn apply_changes(&mut self, buffer: &mut Vec<u8>) {
        if self.changes.is_empty() {
            return;
        }
        let mut out = Vec::with_capacity(buffer.len());
        let mut at = 0;
        for (from, length, with) in self.changes.drain(..) {
            if from + length > buffer.len() {
                continue;
            }
            out.extend_from_slice(&buffer[at..from]);
            out.extend_from_slice(&with);
            at = from + length;
        }
        out.extend_from_slice(&buffer[at..]);
        buffer.clear();
        buffer.extend_from_slice(&out);
    }
}
