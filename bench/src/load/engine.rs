//! The loop: starts what is due, reads what has come, writes down how long it took.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::conn::{Conn, Step};
use super::report::Quantiles;
use super::{Live, Mode, Options, Report};
use crate::clock::Moment;
use crate::grammar;
use crate::histogram::Histogram;
use crate::sys::Poller;

pub struct Engine {
    options: Options,
    live: Arc<Live>,
    poller: Poller,
    conns: Vec<Slot>,
    free: Vec<usize>,
    /// Connections that have been answered and can be used again.
    idle: Vec<usize>,
    /// Requests that are due and have no connection.
    waiting: VecDeque<Moment>,
    started: Moment,
    counting: bool,
    counted_from: Moment,
    cpu_from: u64,
    scheduled: u64,
    latency: Histogram,
    answer: Histogram,
    refused: Histogram,
    first_event: Histogram,
    late: Histogram,
    failures: BTreeMap<String, u64>,
    requests: u64,
    failed: u64,
    events: u64,
    bytes: u64,
    open: usize,
    held: u64,
    now: Moment,
}

struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

impl Engine {
    pub fn new(options: Options, live: Arc<Live>) -> io::Result<Engine> {
        let now = Moment::now();
        Ok(Engine {
            options,
            live,
            poller: Poller::new()?,
            conns: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            started: now,
            counting: false,
            counted_from: now,
            cpu_from: 0,
            scheduled: 0,
            latency: Histogram::default(),
            answer: Histogram::default(),
            refused: Histogram::default(),
            first_event: Histogram::default(),
            late: Histogram::default(),
            failures: BTreeMap::new(),
            requests: 0,
            failed: 0,
            events: 0,
            bytes: 0,
            open: 0,
            held: 0,
            now,
        })
    }

    pub fn run(mut self) -> io::Result<Report> {
        crate::sys::sharp_timers();
        let mut scratch = vec![0; SCRATCH_BYTES];
        self.started = Moment::now();
        let mut swept = self.started;
        loop {
            self.now = Moment::now();
            let elapsed = self.now.since(self.started);
            if !self.counting && elapsed >= self.options.warmup {
                self.begin_counting();
            }
            let over = self.options.duration.is_some_and(|duration| elapsed >= self.options.warmup + duration);
            let enough = self.options.requests.is_some_and(|wanted| self.requests + self.failed >= wanted);
            if over || enough || self.live.stop.load(Relaxed) {
                break;
            }
            let next = self.start_what_is_due();
            if self.now.since(swept) >= SWEEP {
                swept = self.now;
                self.sweep();
                self.live.cpu_us.store(crate::sys::thread_cpu_us(), Relaxed);
            }
            self.poller.wait(next.since(Moment::now()).min(SWEEP))?;
            self.now = Moment::now();
            for index in 0..self.poller.count() {
                let ready = self.poller.get(index);
                let (slot, generation) = (ready.token as u32 as usize, (ready.token >> 32) as u32);
                let Some(mut conn) = self.take(slot, generation) else { continue };
                let mut step = Step::Going;
                if ready.writable {
                    step = conn.writable();
                }
                if ready.readable && matches!(step, Step::Going) {
                    step = conn.readable(&mut scratch, ready.ending, self.options.target.stream, self.now);
                }
                self.settle(slot, conn, step);
            }
        }
        Ok(self.report())
    }

    /// Begins all requests that are due; says when the next one is.
    fn start_what_is_due(&mut self) -> Moment {
        let far = self.now.plus(SWEEP);
        match self.options.mode {
            Mode::Open(rate) => {
                let due_at =
                    |number: u64| self.started.plus(Duration::from_nanos(number * 1_000_000_000 / rate.max(1)));
                let mut due = due_at(self.scheduled);
                while due <= self.now {
                    self.waiting.push_back(due);
                    self.scheduled += 1;
                    due = due_at(self.scheduled);
                }
                while let Some(&first) = self.waiting.front() {
                    if !self.dispatch(first) {
                        break;
                    }
                    self.waiting.pop_front();
                }
                due
            }
            Mode::Closed(callers) => {
                let mut begun = 0;
                while self.open < callers && begun < CONNECTS_IN_A_ROW {
                    begun += 1;
                    if !self.dispatch(self.now) {
                        break;
                    }
                }
                far
            }
            Mode::Idle(connections) => {
                let mut under_way = self.open as u64 - self.held.min(self.open as u64);
                while self.open < connections && under_way < IDLE_AT_ONCE {
                    under_way += 1;
                    if !self.dispatch(self.now) {
                        break;
                    }
                }
                far
            }
        }
    }

    /// One request that was due then: on a connection that waits, or on a new one.
    fn dispatch(&mut self, due: Moment) -> bool {
        while let Some(slot) = self.idle.pop() {
            let Some(mut conn) = self.conns[slot].conn.take() else { continue };
            if self.counting && matches!(self.options.mode, Mode::Open(_)) {
                self.late.record(Moment::now().since(due));
            }
            let step = conn.begin(due, self.now);
            self.settle(slot, conn, step);
            return true;
        }
        if self.open >= self.options.connections_max {
            return false;
        }
        let mut conn = match Conn::open(&self.options.target, self.options.judge) {
            Ok(conn) => conn,
            Err(error) => {
                self.fail(format!("connect: {}", error.kind()));
                return !matches!(self.options.mode, Mode::Closed(_) | Mode::Idle(_));
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.conns.push(Slot { generation: 0, conn: None });
            self.conns.len() - 1
        });
        let token = u64::from(self.conns[slot].generation) << 32 | slot as u64;
        if let Err(error) = self.poller.add(conn.socket(), token) {
            self.free.push(slot);
            self.fail(format!("connect: {}", error.kind()));
            return false;
        }
        self.open += 1;
        self.live.open.store(self.open as u64, Relaxed);
        let step = conn.begin(due, self.now);
        self.settle(slot, conn, step);
        true
    }

    fn take(&mut self, slot: usize, generation: u32) -> Option<Conn> {
        let slot = self.conns.get_mut(slot)?;
        if slot.generation == generation { slot.conn.take() } else { None }
    }

    fn settle(&mut self, slot: usize, mut conn: Conn, step: Step) {
        self.gather(&mut conn);
        match step {
            Step::Going => self.conns[slot].conn = Some(conn),
            Step::Failed(reason) => {
                self.note_stream_end(&conn);
                self.close(slot, conn);
                self.fail(reason);
            }
            // Its connection lives on as after any other answer.
            Step::Answered | Step::Refused(_) => {
                self.note_stream_end(&conn);
                match step {
                    Step::Refused(status) => {
                        if self.counting {
                            self.refused.record(Moment::now().since(conn.due));
                        }
                        self.fail(format!("status {status}"));
                    }
                    _ => self.answered(&conn),
                }
                if conn.reader.close || !self.options.keepalive {
                    self.close(slot, conn);
                    return;
                }
                match self.options.mode {
                    Mode::Closed(_) => {
                        let now = Moment::now();
                        let step = conn.begin(now, now);
                        // A send never answers, so this cannot go deeper than once.
                        match step {
                            Step::Going => self.conns[slot].conn = Some(conn),
                            step => self.settle(slot, conn, step),
                        }
                    }
                    Mode::Open(_) => {
                        self.conns[slot].conn = Some(conn);
                        self.idle.push(slot);
                        if let Some(due) = self.waiting.pop_front() {
                            self.dispatch(due);
                        }
                    }
                    Mode::Idle(_) => {
                        self.conns[slot].conn = Some(conn);
                        self.held += 1;
                    }
                }
            }
        }
    }

    /// Takes what a connection has counted since the last time.
    fn gather(&mut self, conn: &mut Conn) {
        let (events, bytes) = (std::mem::take(&mut conn.events), std::mem::take(&mut conn.bytes));
        if bytes == 0 {
            return;
        }
        if self.counting {
            self.events += events;
            self.bytes += bytes;
        }
        self.live.events.fetch_add(events, Relaxed);
        self.live.bytes.fetch_add(bytes, Relaxed);
        if let Some(first) = conn.first_event.filter(|first| *first >= self.now && self.options.target.stream) {
            self.live.streaming.fetch_add(1, Relaxed);
            if self.counting {
                self.first_event.record(first.since(conn.due));
            }
            // Told once: the moment stays, but before `now` of every later round.
            conn.first_event = Some(Moment(1));
        }
    }

    fn note_stream_end(&mut self, conn: &Conn) {
        if conn.first_event.is_some() && self.options.target.stream {
            self.live.streaming.fetch_sub(1, Relaxed);
        }
    }

    fn answered(&mut self, conn: &Conn) {
        let judge = self.options.judge && self.options.target.stream;
        if judge && let Err(illegal) = grammar::check(self.options.target.dialect.grammar(), &conn.body) {
            return self.fail(format!("grammar: {:?}: {}", illegal.rule, illegal.detail));
        }
        self.live.requests.fetch_add(1, Relaxed);
        if self.counting {
            self.requests += 1;
            let now = Moment::now();
            self.latency.record(now.since(conn.due));
            self.answer.record(now.since(conn.began));
        }
    }

    fn close(&mut self, slot: usize, conn: Conn) {
        drop(conn);
        self.conns[slot].generation = self.conns[slot].generation.wrapping_add(1);
        self.free.push(slot);
        self.idle.retain(|idle| *idle != slot);
        self.open -= 1;
        self.live.open.store(self.open as u64, Relaxed);
    }

    fn fail(&mut self, reason: String) {
        // A pooled connection that the peer closes between two requests is no failure of a request.
        if reason == "closed while idle" && !matches!(self.options.mode, Mode::Idle(_)) {
            return;
        }
        self.live.failed.fetch_add(1, Relaxed);
        if self.counting {
            self.failed += 1;
            if self.failures.len() < REASONS_MAX || self.failures.contains_key(&reason) {
                *self.failures.entry(reason).or_default() += 1;
            }
        }
    }

    /// Requests whose peer has been silent for too long.
    fn sweep(&mut self) {
        for slot in 0..self.conns.len() {
            let late = self.conns[slot]
                .conn
                .as_ref()
                .is_some_and(|c| c.busy && self.now.since(c.heard) > self.options.patience);
            if late && let Some(conn) = self.conns[slot].conn.take() {
                self.settle(slot, conn, Step::Failed("silence".to_owned()));
            }
        }
    }

    fn begin_counting(&mut self) {
        self.counting = true;
        self.counted_from = self.now;
        self.cpu_from = crate::sys::thread_cpu_us();
    }

    fn report(&mut self) -> Report {
        let seconds = Moment::now().since(self.counted_from).as_secs_f64();
        let cpu = crate::sys::thread_cpu_us().saturating_sub(self.cpu_from) as f64;
        let per = |count: u64| if count == 0 { 0.0 } else { cpu / count as f64 };
        Report {
            seconds,
            requests: self.requests + self.failed,
            ok: self.requests,
            failed: self.failed,
            failures: std::mem::take(&mut self.failures),
            events: self.events,
            bytes: self.bytes,
            requests_per_second: self.requests as f64 / seconds.max(1e-9),
            events_per_second: self.events as f64 / seconds.max(1e-9),
            latency_us: Quantiles::of(&self.latency),
            answer_us: Quantiles::of(&self.answer),
            refused_us: Quantiles::of(&self.refused),
            first_event_us: Quantiles::of(&self.first_event),
            late_us: Quantiles::of(&self.late),
            unsent: self.waiting.len() as u64,
            cpu_us_per_request: per(self.requests),
            cpu_us_per_event: per(self.events),
            held_connections: self.held,
        }
    }
}

const SWEEP: Duration = Duration::from_millis(200);
/// Larger than any burst that a gateway sends between two rounds.
const SCRATCH_BYTES: usize = 256 << 10;
/// The backlog of a listener is finite: connections come in waves that it can hold.
const CONNECTS_IN_A_ROW: usize = 64;
const IDLE_AT_ONCE: u64 = 64;
const REASONS_MAX: usize = 50;
