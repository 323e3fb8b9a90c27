//! Calls to vendors: connections, what is written to them, and what comes back.
//!
//! A vendor is reached by its `base_url` only. Redirects are not followed, encodings are not asked for, and nothing that
//! a caller sends chooses where a connection goes.

mod connect;
pub mod credential;
mod head;
mod incoming;
mod pool;
pub mod shape;

pub use connect::VendorLink;
pub use head::{Length, Outgoing, write_head};
pub use incoming::Incoming;
pub use pool::Pools;

use std::io;

use weir_shared::catalog::Vendor;
use weir_shared::fault::Code;
use weir_shared::policy::time::Times;

use crate::deadline::Why;
use crate::gauge::{Counter, Gauges};
use crate::link::LinkFault;
use crate::live::Target;
use crate::tls::TlsFault;
use crate::wire::http1::{self, AnswerHead, BadHead, Framing};

/// Why an attempt gave no answer. Nothing of it names a host, a port or a key.
#[derive(Debug)]
pub enum Failure {
    Unresolved,
    Unreachable,
    ConnectTimeout,
    Tls(TlsFault),
    /// The connection ended before an answer's head.
    Cut,
    TimedOut(Why),
    Invalid(BadHead),
    /// The answer itself breaks its framing.
    Broken,
}

impl Failure {
    pub fn code(&self) -> Code {
        match self {
            Self::Unresolved => Code::UpstreamDns,
            Self::Unreachable => Code::UpstreamUnreachable,
            Self::ConnectTimeout | Self::TimedOut(Why::FirstByte | Why::Total) => Code::UpstreamTimeout,
            Self::TimedOut(Why::Drain) => Code::ShuttingDown,
            Self::TimedOut(_) => Code::UpstreamIdle,
            Self::Tls(_) => Code::UpstreamTls,
            Self::Cut | Self::Broken => Code::UpstreamCut,
            Self::Invalid(_) => Code::UpstreamInvalid,
        }
    }
}

/// The answer's head, and the connection that the rest comes from.
pub struct Answer {
    pub head: AnswerHead,
    pub head_bytes: Vec<u8>,
    /// Until somebody takes it.
    pub body: Option<Box<Incoming>>,
}

impl Answer {
    pub fn take_body(&mut self) -> Box<Incoming> {
        self.body.take().unwrap_or_else(Incoming::nothing)
    }

    /// For the length of a stream the head is not needed.
    pub fn forget_head(&mut self) {
        crate::buffer::give_back(std::mem::take(&mut self.head_bytes));
        self.head.fields = Default::default();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        crate::buffer::give_back(std::mem::take(&mut self.head_bytes));
    }
}

/// One attempt: sends the whole request and waits for the answer's head, until a moment that all attempts share.
///
/// A pooled connection that turns out to be gone is replaced by a fresh one, once; that is no failure of the vendor's.
/// When the vendor had the whole request before it closed, it may be at work on it: then only what leaves nothing behind
/// is said again.
#[expect(clippy::too_many_arguments, reason = "what is called, by what, and until when")]
pub async fn call(
    pools: &Pools,
    gauges: &Gauges,
    vendor: &Vendor,
    target: &Target,
    request: &Outgoing<'_>,
    times: &Times,
    answer_by_ms: u64,
    answers_head: bool,
) -> Result<Answer, (Failure, Taken)> {
    let count = || {
        gauges.add(Counter::UpstreamCalls, 1);
        request.calls.set(request.calls.get() + 1);
        request.own.set(request.own.get() + 1);
    };
    // The last call that a request may cause goes on a connection that cannot be stale.
    let may_be_stale = request.calls.get() + 1 < request.calls_max;
    count();
    if may_be_stale && let Some(link) = pools.take(target.pool, times.upstream_keepalive) {
        gauges.add(Counter::UpstreamReused, 1);
        match exchange(link, request, answer_by_ms, answers_head).await {
            Err((Failure::Cut, Taken::No)) => {}
            Err((Failure::Cut, Taken::Perhaps)) if request.leaves_nothing => {}
            Err(failed) => return Err(failed),
            Ok(answer) => return Ok(answer),
        }
        gauges.add(Counter::UpstreamStale, 1);
        if request.calls.get() >= request.calls_max {
            // Somebody beside this call took the last one meanwhile.
            return Err((Failure::Cut, Taken::No));
        }
        count();
    }
    let link = open(gauges, vendor, target, times).await.map_err(|failure| (failure, Taken::No))?;
    exchange(link, request, answer_by_ms, answers_head).await
}

/// Whether a vendor that gave no answer has the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It cannot have it whole: writing failed, it reset the connection, or it had closed before the request arrived.
    No,
    /// All of it had arrived when it closed.
    Perhaps,
    /// It has begun to answer, or time ran out.
    Yes,
}

/// A fresh connection.
pub async fn open(gauges: &Gauges, vendor: &Vendor, target: &Target, times: &Times) -> Result<VendorLink, Failure> {
    gauges.add(Counter::UpstreamConnects, 1);
    let opened = connect::connect(vendor, target, times).await;
    if matches!(opened, Err(Failure::Tls(_))) {
        gauges.add(Counter::UpstreamTlsFailed, 1);
    }
    opened
}

async fn exchange(
    mut link: VendorLink,
    request: &Outgoing<'_>,
    answer_by_ms: u64,
    answers_head: bool,
) -> Result<Answer, (Failure, Taken)> {
    link.deadline.set_at(answer_by_ms, Why::FirstByte);
    if let Err(failure) = link.send(request).await {
        // A vendor that refuses early stops reading; its answer may be there already.
        link.deadline.set(EARLY_ANSWER_MS, Why::FirstByte);
        return match (failure, await_head(link, answers_head).await) {
            (Failure::Cut, Ok(answer)) => Ok(answer),
            (failure, _) => Err((failure, Taken::No)),
        };
    }
    await_head(link, answers_head).await
}

/// Until the answer of a vendor that has stopped reading.
const EARLY_ANSWER_MS: u64 = 1_000;

/// Interim answers (100, 103) that are passed over before the real one.
const INTERIM_MAX: usize = 8;

/// Waits for the answer's head. With the failure comes whether the vendor has the request all the same.
pub async fn await_head(mut link: VendorLink, answers_head: bool) -> Result<Answer, (Failure, Taken)> {
    let mut bytes = std::mem::take(&mut link.early);
    if bytes.capacity() == 0 {
        bytes = crate::buffer::large();
    }
    let mut progress = http1::Progress::default();
    let mut interim = 0;
    loop {
        if !bytes.is_empty() {
            match http1::answer(&bytes, &mut progress, answers_head) {
                Ok(Some(head)) if head.status == 101 => {
                    return Err((Failure::Invalid(BadHead::Malformed("101")), Taken::Yes));
                }
                Ok(Some(head)) if head.status < 200 => {
                    interim += 1;
                    if interim > INTERIM_MAX {
                        return Err((Failure::Invalid(BadHead::TooManyFields), Taken::Yes));
                    }
                    bytes.drain(..head.bytes);
                    progress = http1::Progress::default();
                    continue;
                }
                Ok(Some(head)) => return Ok(answer(link, head, bytes)),
                Ok(None) => {}
                Err(bad) => return Err((Failure::Invalid(bad), Taken::Yes)),
            }
            if bytes.len() == bytes.capacity() {
                bytes.reserve(crate::buffer::LARGE);
            }
        }
        let nothing_came = bytes.is_empty();
        let (read, buffer) = link.link.read_parked(bytes).await;
        bytes = buffer;
        if let Some(why) = link.deadline.fired() {
            return Err((Failure::TimedOut(why), Taken::Yes));
        }
        match read {
            Err(LinkFault::Io(error)) if nothing_came && error.kind() == io::ErrorKind::ConnectionReset => {
                // Kernels reset what is closed with bytes that were never read.
                return Err((Failure::Cut, Taken::No));
            }
            Ok(0) | Err(LinkFault::Io(_) | LinkFault::Tls(TlsFault::Truncated)) => {
                let taken = match nothing_came {
                    true if link.link.socket.is_acknowledged() => Taken::Perhaps,
                    true => Taken::No,
                    false => Taken::Yes,
                };
                return Err((Failure::Cut, taken));
            }
            Err(LinkFault::Tls(fault)) => return Err((Failure::Tls(fault), Taken::Yes)),
            Ok(_) => {}
        }
    }
}

fn answer(link: VendorLink, head: AnswerHead, mut bytes: Vec<u8>) -> Answer {
    // The head is short and goes into a buffer of its own; the body stays in the one that it was read into.
    let mut head_bytes = crate::buffer::small();
    head_bytes.extend_from_slice(&bytes[..head.bytes]);
    bytes.drain(..head.bytes);
    let reusable = head.keep_alive;
    let framing = match head.framing {
        Framing::Sized(0) => Framing::None,
        framing => framing,
    };
    Answer { body: Some(Incoming::new(link, framing, bytes, reusable)), head, head_bytes }
}
