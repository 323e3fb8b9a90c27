//! One connection of the synthetic vendor: bytes in, a plan walked, bytes out. With or without TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::plan::{Ending, Plan, Step};
use super::registry::{Stats, add};
use crate::clock::{Moment, unix_ms};

pub struct Conn {
    socket: TcpStream,
    tls: Option<Box<rustls::ServerConnection>>,
    /// Bytes of requests that are not whole yet; empty while idle, so that an idle connection costs nothing.
    pub inbox: Vec<u8>,
    /// Do not try to parse before so many bytes are there.
    pub wanted: usize,
    run: Option<Run>,
    pub served: u64,
    /// The rest of the input is thrown away: an answer was given before the body was read.
    pub deaf: usize,
}

struct Run {
    plan: Rc<Plan>,
    stats: Arc<Stats>,
    step: usize,
    /// Bytes of the current step that are written.
    done: usize,
    passes: u64,
    beat: Moment,
    waiting_until: Option<Moment>,
    close_after: bool,
}

/// What the loop has to do after a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The socket is full; an edge will say when it is not.
    Writable,
    /// Call `walk` again at this moment.
    Timer(Moment),
    /// The answer is out; the next request may be parsed.
    Idle,
    /// Only the peer can end it.
    Hang,
    Gone,
}

impl Conn {
    pub fn new(socket: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Conn> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let tls = match tls {
            Some(config) => {
                let mut tls = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
                tls.set_buffer_limit(Some(TLS_PENDING_BYTES_MAX));
                Some(Box::new(tls))
            }
            None => None,
        };
        Ok(Conn { socket, tls, inbox: Vec::new(), wanted: 0, run: None, served: 0, deaf: 0 })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn busy(&self) -> bool {
        self.run.is_some()
    }

    /// Reads once. `Ok(None)`: nothing there now. `Ok(Some(0))`: the peer is gone.
    pub fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return match (&self.socket).read(scratch) {
                Ok(count) => Ok(Some(count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => Ok(None),
                Err(e) => Err(e),
            };
        };
        loop {
            match tls.reader().read(scratch) {
                Ok(count) => return Ok(Some(count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            match tls.read_tls(&mut &self.socket) {
                Ok(0) => return Ok(Some(0)),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
            let outcome = tls.process_new_packets();
            if tls.wants_write() {
                // Handshake messages are small; what does not fit leaves with the next write.
                let _ = tls.write_tls(&mut &self.socket);
            }
            outcome.map_err(io::Error::other)?;
        }
    }

    pub fn start(&mut self, plan: Rc<Plan>, stats: Arc<Stats>, close_after: bool, now: Moment) {
        if self.served == 0 {
            add(&stats.connections, 1);
        }
        self.served += 1;
        add(&stats.requests, 1);
        let live = stats.live.fetch_add(1, Relaxed) + 1;
        stats.most_live.fetch_max(live, Relaxed);
        if plan.stream {
            add(&stats.streams, 1);
        }
        stats.last_request_us.store(now.0 / 1000, Relaxed);
        self.run = Some(Run { plan, stats, step: 0, done: 0, passes: 0, beat: now, waiting_until: None, close_after });
    }

    /// Walks the plan until it blocks, sleeps or ends.
    pub fn walk(&mut self, now: Moment) -> Next {
        let Some(mut run) = self.run.take() else { return Next::Idle };
        if let Some(until) = run.waiting_until {
            if now < until {
                self.run = Some(run);
                return Next::Timer(until);
            }
            run.waiting_until = None;
            run.step += 1;
        }
        // A loop without a pause must leave the others their turn.
        let mut budget = SENDS_IN_A_ROW;
        loop {
            let step = run.plan.steps.get(run.step).copied().unwrap_or(Step::End(Ending::KeepAlive));
            let outcome = match step {
                Step::Send { from, to, events } => self.send(&mut run, from, to, 1, events),
                Step::Repeat { from, to, times } => self.send(&mut run, from, to, times, 0),
                Step::ByteWise { from, to, events } => self.bytewise(&mut run, from, to, events),
                Step::Wait(span) => Ok(Some(now.plus(span))),
                Step::Beat(pace) => {
                    run.beat = run.beat.plus(pace);
                    if run.beat <= now { Ok(None) } else { Ok(Some(run.beat)) }
                }
                Step::Jump(to) => {
                    run.step = to;
                    budget -= 1;
                    if budget == 0 {
                        self.run = Some(run);
                        return Next::Timer(now);
                    }
                    continue;
                }
                Step::End(ending) => return self.end(run, ending),
            };
            match outcome {
                Ok(None) => run.step += 1,
                Ok(Some(Moment(0))) => {
                    self.run = Some(run);
                    return Next::Writable;
                }
                Ok(Some(until)) => {
                    run.waiting_until = Some(until);
                    self.run = Some(run);
                    return Next::Timer(until);
                }
                Err(_) => {
                    self.run = Some(run);
                    self.abandoned();
                    return Next::Gone;
                }
            }
        }
    }

    /// A few bytes beside the plan; lost when the socket is full, which a fresh one is not.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.write(bytes);
    }

    /// The peer left in the middle of an answer.
    pub fn abandoned(&mut self) {
        if let Some(run) = self.run.take() {
            add(&run.stats.aborted, 1);
            run.stats.last_abort_us.store(Moment::now().0 / 1000, Relaxed);
            run.stats.last_abort_ms.store(unix_ms(), Relaxed);
            run.stats.live.fetch_sub(1, Relaxed);
        }
    }

    /// `Some(Moment(0))` stands for a full socket.
    fn send(&mut self, run: &mut Run, from: usize, to: usize, times: u64, events: u32) -> io::Result<Option<Moment>> {
        while run.passes < times {
            let bytes = &run.plan.bytes[from + run.done..to];
            match self.write(bytes)? {
                None => return Ok(Some(Moment(0))),
                Some(count) => {
                    add(&run.stats.bytes_out, count as u64);
                    run.done += count;
                }
            }
            if from + run.done == to {
                run.done = 0;
                run.passes += 1;
            }
        }
        if self.unsent() {
            return Ok(Some(Moment(0)));
        }
        run.passes = 0;
        add(&run.stats.events, u64::from(events));
        Ok(None)
    }

    fn bytewise(&mut self, run: &mut Run, from: usize, to: usize, events: u32) -> io::Result<Option<Moment>> {
        while from + run.done < to {
            let at = from + run.done;
            match self.write(&run.plan.bytes[at..at + 1])? {
                None => return Ok(Some(Moment(0))),
                Some(count) => run.done += count,
            }
        }
        run.done = 0;
        add(&run.stats.bytes_out, (to - from) as u64);
        add(&run.stats.events, u64::from(events));
        Ok(None)
    }

    fn unsent(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return false };
        while tls.wants_write() {
            if tls.write_tls(&mut &self.socket).is_err() {
                return true;
            }
        }
        false
    }

    /// How many bytes were taken; `None` when the socket is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return match (&self.socket).write(bytes) {
                Ok(count) => Ok(Some(count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => Ok(Some(0)),
                Err(e) => Err(e),
            };
        };
        while tls.wants_write() {
            match tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        let taken = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(Some(taken))
    }

    fn end(&mut self, run: Run, ending: Ending) -> Next {
        if ending == Ending::Hang {
            self.run = Some(run);
            return Next::Hang;
        }
        add(&run.stats.finished, 1);
        run.stats.live.fetch_sub(1, Relaxed);
        match ending {
            Ending::KeepAlive if !run.close_after => return Next::Idle,
            Ending::KeepAlive | Ending::Close => {
                if let Some(tls) = &mut self.tls {
                    tls.send_close_notify();
                    let _ = tls.write_tls(&mut &self.socket);
                }
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            Ending::Cut => {
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            Ending::Reset => {
                let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
            }
            Ending::Hang => {}
        }
        Next::Gone
    }
}

/// The plaintext that rustls holds back at most: a whole send, so that a send stays one write.
const TLS_PENDING_BYTES_MAX: usize = 1 << 20;
const SENDS_IN_A_ROW: u32 = 64;
