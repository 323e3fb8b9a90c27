//! A caller's connection. Idle it holds no buffer: it waits for readability first.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use weir_shared::policy::size::HEAD_BYTES_MAX;
use weir_shared::policy::time::Times;

use crate::buffer;
use crate::clock;
use crate::deadline::{Deadline, Why};
use crate::link::{Link, LinkFault};
use crate::memory::{Hold, OutOfMemory};
use crate::wire::chunked::{BadChunk, Decoder};
use crate::wire::http1::{self, BadHead, Framing, RequestHead};
use crate::wire::multipart::BadForm;

pub struct Caller {
    pub link: Link,
    pub deadline: Deadline,
    pub address: IpAddr,
    /// What was read and not used yet: the next request, if the caller pipelines.
    inbox: Vec<u8>,
    /// So many bytes come before the next request: the rest of a body that was refused unread.
    unwanted: u64,
    /// The one wait for readability. It outlives the phases of a request: while an answer is under way it notices that
    /// the caller has gone, and afterwards it waits for the next request.
    watch: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// A request's head, and the buffer that it lies in.
pub struct Request {
    pub head: RequestHead,
    bytes: Vec<u8>,
    pub started: clock::Nanos,
}

impl Request {
    pub fn head_bytes(&self) -> &[u8] {
        &self.bytes[..self.head.bytes]
    }

    pub fn target(&self) -> &[u8] {
        self.head.target(&self.bytes)
    }

    pub fn get(&self, name: http1::Name) -> Option<&[u8]> {
        self.head.get(name, &self.bytes)
    }

    /// The same head once more, for who outlives it.
    pub fn head_again(&self, started: clock::Nanos) -> Self {
        Self { head: self.head.clone(), bytes: self.head_bytes().to_vec(), started }
    }

    /// Keeps what is there in no more memory than it takes: a stream may last for minutes.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() + 256 {
            let fitting = self.bytes.as_slice().to_vec();
            buffer::give_back(std::mem::replace(&mut self.bytes, fitting));
        }
        self.head.fields.shrink_to_fit();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        buffer::give_back(std::mem::take(&mut self.bytes));
    }
}

/// A collected body.
pub enum Body {
    /// It lies behind the head, in the request's buffer: so many bytes.
    BehindHead(usize),
    Apart(Vec<u8>),
}

impl Body {
    pub fn bytes<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        match self {
            Self::BehindHead(length) => &request.bytes[request.head.bytes..][..*length],
            Self::Apart(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
pub enum Unreadable {
    /// The caller closed, between requests or in the middle of one.
    Gone,
    /// A deadline of ours ran out.
    TooSlow(Why),
    Head(BadHead),
    Chunk(BadChunk),
    Form(BadForm),
    BodyTooLarge,
    OutOfMemory,
}

impl From<OutOfMemory> for Unreadable {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Pipelined requests wait here; what does not fit waits in the kernel.
const INBOX_BYTES_MAX: usize = HEAD_BYTES_MAX;
/// More of a refused body than this is not waited for: its connection ends.
const UNWANTED_BYTES_MAX: u64 = 1 << 20;
/// From the grace period on, a body must come at this rate.
const BODY_BYTES_PER_SECOND: u64 = 1 << 10;

impl Caller {
    pub fn new(link: Link, early: Vec<u8>, address: IpAddr) -> Self {
        let deadline = Deadline::of_caller(&link.socket);
        Self { link, deadline, address, inbox: early, unwanted: 0, watch: None }
    }

    /// The next request's head; `None` when the caller closed between two requests.
    pub async fn head(&mut self, times: &Times) -> Result<Option<Request>, Unreadable> {
        if self.unwanted > 0 && !self.skip_unwanted(times).await {
            return Ok(None);
        }
        let mut progress = http1::Progress::default();
        self.deadline.set(times.keepalive, Why::KeepAlive);
        let mut first_byte = false;
        loop {
            if !self.inbox.is_empty() {
                if let Some(head) = http1::request(&self.inbox, &mut progress).map_err(Unreadable::Head)? {
                    self.deadline.clear();
                    let bytes = std::mem::take(&mut self.inbox);
                    return Ok(Some(Request { head, bytes, started: clock::now() }));
                }
                if !std::mem::replace(&mut first_byte, true) {
                    self.deadline.set(times.header, Why::Header);
                }
            }
            match self.fill_inbox().await {
                Ok(0) | Err(Unreadable::Gone) if self.inbox.is_empty() => return Ok(None),
                Ok(0) => return Err(Unreadable::Gone),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Collects the body. What follows it stays for the next request.
    pub async fn body(
        &mut self,
        request: &mut Request,
        limit: u64,
        times: &Times,
        hold: &mut Hold,
    ) -> Result<Body, Unreadable> {
        let start = request.head.bytes;
        match request.head.framing {
            Framing::None | Framing::UntilClose => {
                self.keep_rest(request, start);
                Ok(Body::BehindHead(0))
            }
            Framing::Sized(length) if length > limit => Err(Unreadable::BodyTooLarge),
            Framing::Sized(length) => {
                let length = length as usize;
                if request.bytes.len() >= start + length {
                    self.keep_rest(request, start + length);
                    return Ok(Body::BehindHead(length));
                }
                let mut pace = Pace::start();
                if start + length <= request.bytes.capacity() {
                    while request.bytes.len() < start + length {
                        self.fill(&mut request.bytes, &mut pace, times).await?;
                    }
                    self.keep_rest(request, start + length);
                    return Ok(Body::BehindHead(length));
                }
                self.collect_apart(request, length, times, hold, pace).await
            }
            Framing::Chunked => self.collect_chunks(request, limit, times, hold).await,
        }
    }

    async fn collect_apart(
        &mut self,
        request: &mut Request,
        length: usize,
        times: &Times,
        hold: &mut Hold,
        mut pace: Pace,
    ) -> Result<Body, Unreadable> {
        let mut body = request.bytes.split_off(request.head.bytes);
        while body.len() < length {
            // Grows as bytes come, not as the caller promises.
            if body.len() == body.capacity() {
                let room = length.min((2 * body.len()).max(buffer::LARGE));
                hold.grow_body_to(room as u64)?;
                body.reserve_exact(room - body.len());
            }
            self.fill(&mut body, &mut pace, times).await?;
        }
        self.inbox.extend_from_slice(&body[length..]);
        body.truncate(length);
        Ok(Body::Apart(body))
    }

    async fn collect_chunks(
        &mut self,
        request: &mut Request,
        limit: u64,
        times: &Times,
        hold: &mut Hold,
    ) -> Result<Body, Unreadable> {
        let mut decoder = Decoder::default();
        let mut pace = Pace::start();
        let mut piece = request.bytes.split_off(request.head.bytes);
        let mut body = Vec::new();
        loop {
            let decoded = decoder.decode(&mut piece).map_err(Unreadable::Chunk)?;
            if (body.len() + decoded.payload) as u64 > limit {
                return Err(Unreadable::BodyTooLarge);
            }
            hold.grow_body_to((body.len() + decoded.payload) as u64)?;
            body.extend_from_slice(&piece[..decoded.payload]);
            if decoded.done {
                self.inbox.extend_from_slice(&piece[decoded.consumed..]);
                return Ok(Body::Apart(body));
            }
            piece.clear();
            piece.reserve(buffer::SMALL);
            self.fill(&mut piece, &mut pace, times).await?;
        }
    }

    /// A part of a body that is forwarded as it comes: whatever is there next, in the buffer given.
    pub async fn body_part(
        &mut self,
        mut buffer: Vec<u8>,
        pace: &mut Pace,
        times: &Times,
    ) -> Result<Vec<u8>, Unreadable> {
        self.fill(&mut buffer, pace, times).await?;
        Ok(buffer)
    }

    /// What lies behind the head already, of a body that is forwarded as it comes.
    pub fn take_behind_head(request: &mut Request) -> Vec<u8> {
        request.bytes.split_off(request.head.bytes)
    }

    pub fn put_back(&mut self, rest: &[u8]) {
        self.inbox.extend_from_slice(rest);
    }

    /// Forgets the body of a request that was refused, so that its bytes never become a request: what has not come yet is
    /// dropped when it does. False when the connection has to end for that.
    pub fn discard_body(&mut self, request: &mut Request) -> bool {
        let Framing::Sized(length) = request.head.framing else { return request.head.framing == Framing::None };
        let end = (request.head.bytes as u64).saturating_add(length);
        let missing = end.saturating_sub(request.bytes.len() as u64);
        // Whoever waits for our word before it sends the rest may never send it.
        if missing > 0 && (request.head.expects_continue || missing > UNWANTED_BYTES_MAX) {
            return false;
        }
        self.keep_rest(request, end.min(request.bytes.len() as u64) as usize);
        // What the watch has read ahead is of this body, too.
        let ahead = missing.min(self.inbox.len() as u64);
        self.inbox.drain(..ahead as usize);
        self.unwanted = missing - ahead;
        true
    }

    /// Whether the next request can be read now. An answer has been given: who stops in the midst of the body, or lets it
    /// trickle, just ends.
    async fn skip_unwanted(&mut self, times: &Times) -> bool {
        let mut pace = Pace::start();
        while self.unwanted > 0 {
            self.deadline.set(times.body, Why::KeepAlive);
            self.readable().await;
            if self.deadline.fired().is_some() {
                return false;
            }
            let dropped = self.link.skip_now(self.unwanted as usize, &mut self.inbox);
            if self.inbox.is_empty() {
                buffer::give_back(std::mem::take(&mut self.inbox));
            }
            match dropped {
                Ok(None) => {}
                Ok(Some(count)) if count > 0 && pace.took(count, times).is_ok() => self.unwanted -= count as u64,
                _ => return false,
            }
        }
        true
    }

    /// Until the caller has gone. Its half-closed connection counts: it cannot be told from a closed one, and an answer
    /// that nobody reads costs money. May be dropped and asked again.
    pub async fn gone(&mut self) {
        loop {
            if self.inbox.len() >= INBOX_BYTES_MAX {
                // Whoever sends so much more before the answer is not waiting for it; and with the inbox full nobody
                // could tell whether it is still there.
                return;
            }
            self.readable().await;
            self.make_room();
            match self.link.read_now(&mut self.inbox) {
                Ok(Some(0)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Drops what still comes, up to so many bytes or until the deadline.
    pub async fn drain(&mut self, most: usize) {
        let mut left = most;
        while left > 0 {
            self.readable().await;
            match self.link.socket.skip_now(left) {
                Ok(Some(0)) | Err(_) => break,
                Ok(Some(count)) => left -= count,
                Ok(None) if self.deadline.fired().is_some() => break,
                Ok(None) => {}
            }
        }
    }

    async fn fill_inbox(&mut self) -> Result<usize, Unreadable> {
        loop {
            self.readable().await;
            if let Some(why) = self.deadline.fired() {
                return Err(Unreadable::TooSlow(why));
            }
            self.make_room();
            let read = self.link.read_now(&mut self.inbox);
            if self.inbox.is_empty() {
                buffer::give_back(std::mem::take(&mut self.inbox));
            }
            match read {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(LinkFault::Io(_) | LinkFault::Tls(_)) => return Err(Unreadable::Gone),
            }
        }
    }

    fn make_room(&mut self) {
        if self.inbox.capacity() == 0 {
            self.inbox = buffer::large();
        } else if self.inbox.len() == self.inbox.capacity() {
            self.inbox.reserve(buffer::LARGE);
        }
    }

    async fn fill(&mut self, bytes: &mut Vec<u8>, pace: &mut Pace, times: &Times) -> Result<(), Unreadable> {
        if !self.inbox.is_empty() {
            // The watch may have read ahead.
            let take = self.inbox.len().min((bytes.capacity() - bytes.len()).max(1));
            bytes.extend(self.inbox.drain(..take));
            return Ok(());
        }
        loop {
            self.deadline.set(times.body, Why::Body);
            self.readable().await;
            if let Some(why) = self.deadline.fired() {
                return Err(Unreadable::TooSlow(why));
            }
            match self.link.read_now(bytes) {
                Ok(Some(0)) | Err(_) => return Err(Unreadable::Gone),
                Ok(Some(count)) => {
                    self.deadline.clear();
                    return pace.took(count, times);
                }
                Ok(None) => {}
            }
        }
    }

    async fn readable(&mut self) {
        let watch = self.watch.get_or_insert_with(|| Box::pin(self.link.socket.readable()));
        watch.await;
        self.watch = None;
    }

    /// What lies behind a request without a body is the next request, whatever becomes of this one.
    pub fn keep_next(&mut self, request: &mut Request) {
        if request.head.framing == Framing::None {
            let end = request.head.bytes;
            self.keep_rest(request, end);
        }
    }

    fn keep_rest(&mut self, request: &mut Request, end: usize) {
        if request.bytes.len() > end {
            self.make_room();
            self.inbox.extend_from_slice(&request.bytes[end..]);
            request.bytes.truncate(end);
        }
    }
}

/// How fast a body comes: after the grace period it must keep up a rate, and it is over before its request would be.
pub struct Pace {
    since_ms: u64,
    bytes: u64,
}

impl Pace {
    pub fn start() -> Self {
        Self { since_ms: clock::coarse_ms(), bytes: 0 }
    }

    fn took(&mut self, bytes: usize, times: &Times) -> Result<(), Unreadable> {
        self.bytes += bytes as u64;
        let elapsed_ms = clock::coarse_ms() - self.since_ms;
        let late = elapsed_ms > times.body && self.bytes < BODY_BYTES_PER_SECOND * elapsed_ms / 1_000;
        if late || elapsed_ms > times.total { Err(Unreadable::TooSlow(Why::Body)) } else { Ok(()) }
    }
}
