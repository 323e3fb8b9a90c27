//! The loop of one core: accepts, reads requests, finds or composes the plan, walks plans, keeps one ticker for all.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::body;
use super::conn::{Conn, Next};
use super::payload;
use super::plan::{self, Plan, Want};
use super::registry::{Captured, Entry, Registry, add, lock};
use super::request::{self, Body, Parsed, Request};
use super::route::{self, Dialect, Endpoint};
use super::scenario::{Answer, Scenario};
use super::strict;
use crate::clock::{Moment, unix_ms};
use crate::sys::{Poller, Ready};

pub struct Worker {
    pub listener: TcpListener,
    pub address: SocketAddr,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub registry: Arc<Registry>,
    pub capture: bool,
    /// A byte, or the end, on this socket ends the loop.
    pub stop: UnixStream,
}

impl Worker {
    pub fn run(self) -> io::Result<()> {
        crate::sys::sharp_timers();
        let mut poller = Poller::new()?;
        self.listener.set_nonblocking(true)?;
        poller.add_listener(&self.listener, LISTENER)?;
        poller.add_listener(&self.stop, STOP)?;
        let mut state = State {
            registry: self.registry,
            capture: self.capture,
            tls: self.tls.is_some(),
            address: self.address,
            conns: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            entries: HashMap::new(),
            plans: HashMap::new(),
            generation: 0,
            serial: 0,
            key: Vec::new(),
            created: unix_ms() / 1000,
            now: Moment::now(),
        };
        let mut scratch = vec![0; SCRATCH_BYTES];
        loop {
            let wait =
                state.timers.peek().map_or(Duration::from_secs(3600), |Reverse((due, ..))| due.since(Moment::now()));
            poller.wait(wait)?;
            state.now = Moment::now();
            for index in 0..poller.count() {
                match poller.get(index) {
                    Ready { token: LISTENER, .. } => state.accept(&self.listener, &self.tls, &poller),
                    Ready { token: STOP, .. } => return Ok(()),
                    ready => state.ready(ready, &mut scratch),
                }
            }
            state.tick();
        }
    }
}

struct State {
    registry: Arc<Registry>,
    capture: bool,
    tls: bool,
    address: SocketAddr,
    conns: Vec<Slot>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(Moment, u32, u32)>>,
    entries: HashMap<Box<str>, Arc<Entry>>,
    plans: HashMap<Box<[u8]>, Rc<Plan>>,
    generation: u64,
    serial: u64,
    key: Vec<u8>,
    created: u64,
    now: Moment,
}

struct Slot {
    generation: u32,
    conn: Option<Conn>,
    /// The walk stopped at a full socket.
    blocked: bool,
}

impl State {
    fn accept(&mut self, listener: &TcpListener, tls: &Option<Arc<rustls::ServerConfig>>, poller: &Poller) {
        for _ in 0..ACCEPTS_IN_A_ROW {
            let Ok((socket, _)) = listener.accept() else { return };
            let Ok(conn) = Conn::new(socket, tls.clone()) else { continue };
            let index = self.free.pop().unwrap_or_else(|| {
                self.conns.push(Slot { generation: 0, conn: None, blocked: false });
                self.conns.len() as u32 - 1
            });
            let slot = &mut self.conns[index as usize];
            if poller.add(conn.socket(), token(index, slot.generation)).is_ok() {
                slot.conn = Some(conn);
                slot.blocked = false;
            } else {
                self.free.push(index);
            }
        }
    }

    fn ready(&mut self, ready: Ready, scratch: &mut [u8]) {
        let (index, generation) = (ready.token as u32, (ready.token >> 32) as u32);
        let Some(mut conn) = self.take(index, generation) else { return };
        let mut alive = true;
        if ready.readable {
            alive = self.read(&mut conn, index, ready, scratch);
        }
        if alive && ready.writable && self.conns[index as usize].blocked {
            alive = self.walk(&mut conn, index);
        }
        self.put_back(conn, index, alive);
    }

    /// Fires what is due. Moments are rounded up to the tick, so that streams of one tick leave in one round.
    fn tick(&mut self) {
        while let Some(Reverse((due, index, generation))) = self.timers.peek().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop();
            let Some(mut conn) = self.take(index, generation) else { continue };
            let alive = self.walk(&mut conn, index);
            self.put_back(conn, index, alive);
        }
    }

    fn take(&mut self, index: u32, generation: u32) -> Option<Conn> {
        let slot = self.conns.get_mut(index as usize)?;
        if slot.generation == generation { slot.conn.take() } else { None }
    }

    fn put_back(&mut self, mut conn: Conn, index: u32, alive: bool) {
        let slot = &mut self.conns[index as usize];
        if alive {
            slot.conn = Some(conn);
        } else {
            conn.abandoned();
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
    }

    fn read(&mut self, conn: &mut Conn, index: u32, ready: Ready, scratch: &mut [u8]) -> bool {
        loop {
            match conn.read(scratch) {
                Ok(None) => return true,
                Ok(Some(0)) | Err(_) => return false,
                Ok(Some(count)) => {
                    if !self.feed(conn, index, &scratch[..count]) {
                        return false;
                    }
                    if count < scratch.len() && !ready.ending && !self.tls {
                        return true;
                    }
                }
            }
        }
    }

    fn feed(&mut self, conn: &mut Conn, index: u32, mut bytes: &[u8]) -> bool {
        if conn.deaf > 0 {
            let skipped = conn.deaf.min(bytes.len());
            conn.deaf -= skipped;
            bytes = &bytes[skipped..];
        }
        if bytes.is_empty() {
            return true;
        }
        if conn.inbox.is_empty() && !conn.busy() {
            let used = match self.requests(conn, index, bytes) {
                Some(used) => used,
                None => return false,
            };
            conn.inbox.extend_from_slice(&bytes[used.min(bytes.len())..]);
            return true;
        }
        conn.inbox.extend_from_slice(bytes);
        if conn.busy() {
            return conn.inbox.len() <= PIPELINED_BYTES_MAX;
        }
        if conn.inbox.len() < conn.wanted {
            return true;
        }
        self.next_requests(conn, index)
    }

    fn next_requests(&mut self, conn: &mut Conn, index: u32) -> bool {
        let inbox = std::mem::take(&mut conn.inbox);
        let Some(used) = self.requests(conn, index, &inbox) else { return false };
        if used < inbox.len() {
            let rest = if used == 0 { inbox } else { inbox[used..].to_vec() };
            conn.inbox = rest;
        }
        true
    }

    /// Answers the requests that are whole; says how many bytes they took. None: the connection is over.
    fn requests(&mut self, conn: &mut Conn, index: u32, bytes: &[u8]) -> Option<usize> {
        let mut used = 0;
        conn.wanted = 0;
        while used < bytes.len() && !conn.busy() {
            let rest = &bytes[used..];
            match request::parse(rest) {
                Parsed::Whole(request) => {
                    used += request.total;
                    self.begin(conn, rest, request);
                    if !self.walk(conn, index) {
                        return None;
                    }
                }
                Parsed::Partial { head: Some(request), wants_continue } => {
                    if self.entry_of(&rest[request.target.clone()]).scenario.as_ref().is_ok_and(|s| s.early) {
                        conn.deaf = request.total.saturating_sub(rest.len());
                        let total = request.total;
                        self.begin(
                            conn,
                            rest,
                            Request { total: rest.len(), body: Body::Plain(request.head..request.head), ..request },
                        );
                        if !self.walk(conn, index) || total == usize::MAX {
                            return None;
                        }
                        return Some(bytes.len());
                    }
                    if request.total != usize::MAX {
                        conn.wanted = request.total;
                    }
                    if wants_continue && rest.len() == request.head {
                        conn.say(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    return Some(used);
                }
                Parsed::Partial { head: None, .. } => return Some(used),
                Parsed::Broken(why) => {
                    let entry = self.entry("");
                    conn.start(Rc::new(plan::misunderstood(why)), entry.stats.clone(), true, self.now);
                    self.walk(conn, index);
                    return None;
                }
            }
        }
        Some(used)
    }

    fn walk(&mut self, conn: &mut Conn, index: u32) -> bool {
        let next = conn.walk(self.now);
        let slot = &mut self.conns[index as usize];
        slot.blocked = next == Next::Writable;
        match next {
            Next::Timer(due) => {
                let due = Moment(due.0.div_ceil(TICK_NS) * TICK_NS);
                self.timers.push(Reverse((due, index, slot.generation)));
                true
            }
            Next::Idle if !conn.inbox.is_empty() && conn.inbox.len() >= conn.wanted => self.next_requests(conn, index),
            Next::Idle | Next::Writable | Next::Hang => true,
            Next::Gone => false,
        }
    }

    fn begin(&mut self, conn: &mut Conn, bytes: &[u8], request: Request) {
        let body = match &request.body {
            Body::Plain(range) => &bytes[range.clone()],
            Body::Unchunked(body) => body,
        };
        let target = &bytes[request.target.clone()];
        let entry = self.entry_of(target);
        add(&entry.stats.bytes_in, request.total as u64);
        if self.capture {
            let captured = Captured { head: bytes[..request.head].to_vec(), body: body.to_vec() };
            *lock(&entry.stats.last) = Some(captured);
        }
        let plan = self.plan_for(conn, &entry, bytes, &request, body);
        conn.start(plan, entry.stats.clone(), request.close, self.now);
    }

    fn entry_of(&mut self, target: &[u8]) -> Arc<Entry> {
        let text = split_target(target).0;
        self.entry(&text)
    }

    fn entry(&mut self, text: &str) -> Arc<Entry> {
        let generation = self.registry.generation();
        if generation != self.generation {
            self.generation = generation;
            self.entries.clear();
            self.plans.clear();
        }
        if let Some(entry) = self.entries.get(text) {
            return entry.clone();
        }
        let entry = self.registry.entry(text);
        self.entries.insert(text.into(), entry.clone());
        entry
    }

    fn plan_for(&mut self, conn: &Conn, entry: &Entry, bytes: &[u8], request: &Request, body: &[u8]) -> Rc<Plan> {
        let scenario = match &entry.scenario {
            Ok(scenario) => scenario,
            Err(why) => return Rc::new(plan::misunderstood(why)),
        };
        let target = &bytes[request.target.clone()];
        let method = &bytes[request.method.clone()];
        let query_key = memchr::memchr(b'?', target)
            .and_then(|at| target[at + 1..].split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(b"key=")));
        let credential = request.credential.clone().map(|range| &bytes[range]).or(query_key).unwrap_or_default();
        let ends_with =
            |suffix: &Option<String>| suffix.as_ref().is_none_or(|suffix| credential.ends_with(suffix.as_bytes()));
        let before = entry.stats.requests.load(Relaxed);
        let in_force = scenario.first.is_none_or(|first| before < first)
            && scenario.every.is_none_or(|every| (before + 1).is_multiple_of(every))
            && (!scenario.reused || conn.served > 0);
        let error =
            in_force && (scenario.error.is_some() || scenario.error_for.is_some()) && ends_with(&scenario.error_for);
        let faults = in_force && ends_with(&scenario.fault_for);
        let denied =
            credential.is_empty() || scenario.auth.as_ref().is_some_and(|demanded| demanded.as_bytes() != credential);
        let asked = body::scan(body).unwrap_or_default();
        let model = asked.model.or_else(|| multipart_model(body));
        let owner = payload::hash(credential);

        let bit = |flag: bool, at: u8| u8::from(flag) << at;
        self.key.clear();
        self.key.push(
            bit(asked.stream, 0)
                | bit(asked.include_usage, 1)
                | bit(error, 2)
                | bit(faults, 3)
                | bit(denied, 4)
                | bit(request.anthropic, 5)
                | bit(request.google || query_key.is_some(), 6)
                | bit(asked.sealed, 7),
        );
        self.key.extend_from_slice(&owner.to_le_bytes());
        self.key.extend_from_slice(method);
        self.key.push(b' ');
        self.key.extend_from_slice(target);
        self.key.push(b' ');
        self.key.extend_from_slice(model.unwrap_or_default());
        if scenario.answer != Answer::Text {
            self.key.extend_from_slice(&payload::hash(asked.tools).to_le_bytes());
        }
        if target.ends_with(b"embeddings") {
            self.key.extend_from_slice(&payload::hash(asked.input).to_le_bytes());
        }
        // What a strict vendor says depends on every byte of the body.
        let counted = scenario.quota.map(|quota| entry.stats.buckets.take(quota, owner, self.now.0));
        let kept = !scenario.unique && !scenario.echo && !scenario.strict && !scenario.cache && counted.is_none();
        if kept && let Some(plan) = self.plans.get(self.key.as_slice()) {
            return plan.clone();
        }

        let (_, path, query) = split_target(target);
        let hint = if request.anthropic {
            Dialect::Anthropic
        } else if request.google || query_key.is_some() {
            Dialect::Gemini
        } else {
            Dialect::OpenAi
        };
        let method = String::from_utf8_lossy(method);
        let route = route::route(&method, &path, &query, hint);
        let knock = matches!(&route, Some(route) if route.endpoint == Endpoint::Root);
        let refused = match &route {
            Some(route) if scenario.strict => strict::refuses(&route.endpoint, body),
            _ => None,
        };
        self.serial += 1;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let priced = scenario.cache.then(|| {
            let cached = entry.stats.prompts.read(asked.messages);
            let fresh = asked.messages.len() - cached;
            Scenario { tokens_in: fresh as u64 / 4, tokens_cached: cached as u64 / 4, ..scenario.clone() }
        });
        let want = Want {
            scenario: priced.as_ref().unwrap_or(scenario),
            error,
            faults,
            route,
            head_only: method == "HEAD",
            model: model.map(text),
            stream: asked.stream,
            include_usage: asked.include_usage,
            sealed: asked.sealed,
            refused,
            echo: if scenario.echo { body::last_said(asked.messages) } else { None },
            tool: body::first_tool(asked.tools),
            input: asked.input.to_vec(),
            counted,
            denied: (denied && !knock).then(|| text(credential)),
            owner,
            seed: payload::hash(entry.text.as_bytes()) ^ if scenario.unique { self.serial } else { 0 },
            created: self.created,
            origin: format!("{}://{}", if self.tls { "https" } else { "http" }, self.address),
            hint,
        };
        let plan = Rc::new(plan::plan(&want));
        if kept {
            if self.plans.len() >= PLANS_MAX {
                self.plans.clear();
            }
            self.plans.insert(self.key.as_slice().into(), plan.clone());
        }
        plan
    }
}

/// Scenario, path and query of a target.
fn split_target(target: &[u8]) -> (String, String, String) {
    let target = String::from_utf8_lossy(target);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    // Clients may have written the tilde and the words with percent signs.
    let tilde = path.strip_prefix("/~").or_else(|| path.strip_prefix("/%7E")).or_else(|| path.strip_prefix("/%7e"));
    match tilde {
        Some(rest) => {
            let (words, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (decode(words), path.to_owned(), query.to_owned())
        }
        None => (String::new(), path.to_owned(), query.to_owned()),
    }
}

pub fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `model` of a form with files.
fn multipart_model(body: &[u8]) -> Option<&[u8]> {
    if !body.starts_with(b"--") {
        return None;
    }
    let at = memchr::memmem::find(body, b"name=\"model\"")?;
    let start = at + memchr::memmem::find(&body[at..], b"\r\n\r\n")? + 4;
    let end = start + memchr::memmem::find(&body[start..], b"\r\n")?;
    Some(&body[start..end])
}

fn token(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
/// A request of ordinary size arrives in one read.
const SCRATCH_BYTES: usize = 64 << 10;
const ACCEPTS_IN_A_ROW: usize = 256;
/// A peer that sends this much while it is being answered is not pipelining but flooding.
const PIPELINED_BYTES_MAX: usize = 64 << 20;
/// Composed answers that are kept: a few for each case of a suite.
const PLANS_MAX: usize = 4096;
const TICK_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let split = |target: &str| split_target(target.as_bytes());
        assert_eq!(
            split("/~events=3,fault=stall@2/v1/x?a=b"),
            ("events=3,fault=stall@2".into(), "/v1/x".into(), "a=b".into())
        );
        assert_eq!(split("/%7Eevents%3D3/v1"), ("events=3".into(), "/v1".into(), String::new()));
        assert_eq!(split("/v1"), (String::new(), "/v1".into(), String::new()));
        assert_eq!(split("/~x%zz"), ("x%zz".into(), String::new(), String::new()));
    }

    #[test]
    fn the_model_of_a_form() {
        let form = b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
        assert_eq!(multipart_model(form), Some(&b"whisper-1"[..]));
    }
}
