//! The only file of the rig that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on the clock that all processes of the machine share, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    pub fn now() -> Moment {
        Moment(crate::sys::monotonic_ns())
    }

    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn plus(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span.as_nanos() as u64))
    }

    pub fn elapsed(self) -> Duration {
        Moment::now().since(self)
    }
}

/// Milliseconds since 1970, for people.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
