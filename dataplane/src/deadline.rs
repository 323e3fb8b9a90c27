//! Deadlines without timers: each connection has one entry in its core's table, and a sweeper looks at all of them ten
//! times a second. Setting a deadline is two stores.
//!
//! A deadline that passes shuts its connection, so that the read or write that waits on it returns; why it returned
//! stands in the entry. A nudge only wakes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock;
use crate::socket::Socket;

/// Between which two moments the time ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    Handshake,
    Header,
    Body,
    KeepAlive,
    Write,
    FirstByte,
    Idle,
    Total,
    Drain,
}

pub struct Deadline(Rc<Entry>);

struct Entry {
    socket: Option<Socket>,
    /// A vendor's connection, not a caller's.
    upstream: bool,
    /// Milliseconds of `clock::coarse_ms`; [`NEVER`] when nothing is awaited.
    cut_at: Cell<u64>,
    why: Cell<Why>,
    fired: Cell<Option<Why>>,
    nudge_at: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

const NEVER: u64 = u64::MAX;

thread_local! {
    static TABLE: RefCell<Vec<Weak<Entry>>> = const { RefCell::new(Vec::new()) };
}

impl Deadline {
    pub fn of_caller(socket: &Socket) -> Self {
        Self::entry(Some(socket.clone()), false)
    }

    pub fn of_vendor(socket: &Socket) -> Self {
        Self::entry(Some(socket.clone()), true)
    }

    /// Without a connection to shut: for nudges alone.
    pub fn bare() -> Self {
        Self::entry(None, false)
    }

    /// The same deadline, for who stops its clock.
    pub fn handle(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    fn entry(socket: Option<Socket>, upstream: bool) -> Self {
        let entry = Rc::new(Entry {
            socket,
            upstream,
            cut_at: Cell::new(NEVER),
            why: Cell::new(Why::Header),
            fired: Cell::new(None),
            nudge_at: Cell::new(NEVER),
            waker: RefCell::new(None),
        });
        TABLE.with_borrow_mut(|table| table.push(Rc::downgrade(&entry)));
        Self(entry)
    }

    pub fn set(&self, after_ms: u64, why: Why) {
        self.set_at(clock::coarse_ms() + after_ms, why);
    }

    pub fn set_at(&self, at_ms: u64, why: Why) {
        self.0.cut_at.set(at_ms);
        self.0.why.set(why);
    }

    pub fn clear(&self) {
        self.0.cut_at.set(NEVER);
    }

    /// Stops the clock, and says what was left.
    pub fn pause(&self) -> u64 {
        let at = self.0.cut_at.replace(NEVER);
        if at == NEVER { NEVER } else { at.saturating_sub(clock::coarse_ms()) }
    }

    /// Goes on with what was left. What is shut already stays so.
    pub fn resume(&self, left_ms: u64) {
        if left_ms != NEVER && self.0.fired.get().is_none() {
            self.0.cut_at.set(clock::coarse_ms() + left_ms);
        }
    }

    /// Why the connection was shut, if it was.
    pub fn fired(&self) -> Option<Why> {
        self.0.fired.get()
    }

    pub fn nudge_after(&self, after_ms: u64) {
        self.0.nudge_at.set(clock::coarse_ms() + after_ms);
    }

    /// Until the nudge is due. May be dropped.
    pub fn nudged(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| {
            if self.0.nudge_at.get() <= clock::coarse_ms() {
                self.0.nudge_at.set(NEVER);
                return Poll::Ready(());
            }
            let mut waker = self.0.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl Entry {
    fn cut(&self, why: Why) {
        self.cut_at.set(NEVER);
        self.fired.set(Some(why));
        if let Some(socket) = &self.socket {
            socket.shut();
        }
    }

    fn sweep(&self, now_ms: u64) {
        if self.cut_at.get() <= now_ms {
            self.cut(self.why.get());
        }
        if self.nudge_at.get() <= now_ms
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

/// A wait that is shorter than a tick, for the few who need one: a candidate that is late, a place that comes free.
#[expect(clippy::disallowed_methods, reason = "the table's ticks are too long for these, and few calls wait so")]
pub async fn briefly(for_ms: u64) {
    monoio::time::sleep(Duration::from_millis(for_ms)).await;
}

/// Looks at all deadlines of this core. Called by its ticker.
pub fn sweep() {
    let now_ms = clock::tick();
    // Woken tasks run later, not within `wake`; so nothing enters the table while it is walked.
    TABLE.with_borrow_mut(|table| {
        table.retain(|entry| match entry.upgrade() {
            Some(entry) => {
                entry.sweep(now_ms);
                true
            }
            None => false,
        });
        if table.capacity() > 64 + 4 * table.len() {
            table.shrink_to(2 * table.len());
        }
    });
}

/// Ends the connections of callers who wait between two requests: nothing is lost by it.
pub fn cut_idle() {
    cut_where(
        |entry| !entry.upstream && entry.why.get() == Why::KeepAlive && entry.cut_at.get() != NEVER,
        Why::KeepAlive,
    );
}

/// Ends every call to a vendor: their callers are told why.
pub fn cut_vendors() {
    cut_where(|entry| entry.upstream, Why::Drain);
}

fn cut_where(which: impl Fn(&Entry) -> bool, why: Why) {
    TABLE.with_borrow(|table| {
        for entry in table.iter().filter_map(Weak::upgrade).filter(|entry| which(entry)) {
            entry.cut(why);
        }
    });
}

pub const TICK_MS: u64 = 100;
