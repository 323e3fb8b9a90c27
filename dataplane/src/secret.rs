//! What a vendor is shown to know who pays, and how long it holds. The ways to show it are in `upstream/credential`.
//!
//! None of these types has a `Debug`: nothing of them may reach a log, an error or a metric.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One way to tell a vendor who asks.
pub trait Sign: Send + Sync {
    /// What goes behind the target as a pair of its query; empty when it is not told there.
    fn query(&self) -> &[u8] {
        b""
    }

    /// Appends header fields to the head that has begun, each with its line end.
    fn fields(&self, unsigned: &Unsigned<'_>, head: &mut Vec<u8>);

    /// What must never be read by a caller, in whatever form a vendor could repeat it.
    fn hidden(&self) -> &[Box<[u8]>];
}

/// A request as it is about to leave, for those ways that sign all of it.
pub struct Unsigned<'u> {
    pub method: &'u str,
    /// Where path and query stand in the head, as they are sent.
    pub target: Range<usize>,
    pub authority: &'u [u8],
    pub content_type: Option<&'u [u8]>,
    /// `None`: it is passed on while it comes, and nobody knows it yet.
    pub body: Option<&'u dyn Pieces>,
    pub wall_seconds: u64,
}

/// A body that lies in pieces.
pub trait Pieces {
    fn each(&self, take: &mut dyn FnMut(&[u8]));
}

/// What is shown, and until when a vendor takes it.
pub struct Badge {
    pub sign: Box<dyn Sign>,
    /// Wall clock, milliseconds.
    pub until_ms: Option<u64>,
}

/// A credential's place on this node. What it shows may change while requests are under way: each takes what is there.
pub struct Secret {
    held: Held,
    /// Until when (monotonic nanoseconds) it is passed over, after the vendor refused it.
    resting_until: AtomicU64,
    /// The vendor did not take it: whoever keeps it may want another.
    doubted: AtomicBool,
}

enum Held {
    Fixed(Badge),
    Changing(Mutex<Option<Arc<Badge>>>),
}

/// A badge that stays what it is as long as a request needs it.
pub enum Shown<'s> {
    Fixed(&'s Badge),
    Changing(Arc<Badge>),
}

impl Deref for Shown<'_> {
    type Target = Badge;

    fn deref(&self) -> &Badge {
        match self {
            Self::Fixed(badge) => badge,
            Self::Changing(badge) => badge,
        }
    }
}

impl Secret {
    /// One that never changes while the process runs.
    pub fn fixed(badge: Badge) -> Self {
        Self::of(Held::Fixed(badge))
    }

    /// One that somebody else fills, and fills anew.
    pub fn changing() -> Self {
        Self::of(Held::Changing(Mutex::default()))
    }

    fn of(held: Held) -> Self {
        Self { held, resting_until: AtomicU64::new(0), doubted: AtomicBool::new(false) }
    }

    /// What to show now. `None`: nothing was ever there, or it has ended.
    pub fn shown(&self, wall_ms: impl FnOnce() -> u64) -> Option<Shown<'_>> {
        let shown = match &self.held {
            Held::Fixed(badge) => Shown::Fixed(badge),
            Held::Changing(held) => {
                Shown::Changing(held.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Arc::clone)?)
            }
        };
        let ended = shown.until_ms.is_some_and(|until| until <= wall_ms());
        (!ended).then_some(shown)
    }

    /// Another badge takes the place of the one before; what the vendor refused was that one.
    pub fn set(&self, badge: Badge) {
        if let Held::Changing(held) = &self.held {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(badge));
            self.resting_until.store(0, Ordering::Relaxed);
            self.doubted.store(false, Ordering::Relaxed);
        }
    }

    pub fn rest_until(&self, until: u64) {
        self.resting_until.fetch_max(until, Ordering::Relaxed);
    }

    pub fn rests(&self, now: u64) -> bool {
        self.resting_until.load(Ordering::Relaxed) > now
    }

    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether it was doubted since this was asked last.
    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Sign for Nothing {
        fn fields(&self, _: &Unsigned<'_>, _: &mut Vec<u8>) {}

        fn hidden(&self) -> &[Box<[u8]>] {
            &[]
        }
    }

    #[test]
    fn what_has_ended_is_as_good_as_missing() {
        let badge = |until_ms| Badge { sign: Box::new(Nothing), until_ms };
        let secret = Secret::changing();
        assert!(secret.shown(|| 5).is_none());
        secret.set(badge(Some(100)));
        let held = secret.shown(|| 99).unwrap();
        assert!(secret.shown(|| 100).is_none());
        secret.rest_until(7);
        assert!(secret.rests(6));
        secret.set(badge(Some(200)));
        assert!(secret.shown(|| 100).is_some() && !secret.rests(6));
        assert_eq!(held.until_ms, Some(100), "a request keeps what it took");
        assert!(Secret::fixed(badge(None)).shown(|| u64::MAX).is_some());
    }
}
