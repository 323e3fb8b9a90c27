//! The only file that asks for the time.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds on a clock that never goes back, counted from this process's first look at it.
pub use weir_shared::policy::limit::Nanos;

#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn now() -> Nanos {
    static START: OnceLock<Instant> = OnceLock::new();
    // A clock that starts an hour in: "an hour ago" exists from the first moment.
    const HOUR: u64 = 3_600_000_000_000;
    let nanos = HOUR + START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
    COARSE_MS.set(nanos / 1_000_000);
    nanos
}

/// Wall clock, nanoseconds since 1970. It may jump; nothing that must not jump asks for it.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

pub fn wall_seconds() -> u64 {
    wall_ns() / 1_000_000_000
}

thread_local! {
    static COARSE_MS: Cell<u64> = const { Cell::new(0) };
    /// Wall clock minus this clock, as of the last tick.
    static WALL_OFFSET: Cell<u64> = const { Cell::new(0) };
}

/// The wall clock at a moment of this clock, right to a tick: what a request writes down costs no further look.
pub fn wall_at(moment: Nanos) -> u64 {
    let offset = WALL_OFFSET.get();
    if offset == 0 { wall_ns() } else { moment.wrapping_add(offset) }
}

/// Looks at both clocks; the sweeper does ten times a second.
pub fn tick() -> u64 {
    let now = now();
    WALL_OFFSET.set(wall_ns().wrapping_sub(now));
    now / 1_000_000
}

/// Milliseconds as of this thread's last look at the clock, which the sweeper takes ten times a second: good enough for
/// deadlines, and free.
pub fn coarse_ms() -> u64 {
    COARSE_MS.get()
}
