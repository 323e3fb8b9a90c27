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

/// RFC 3339, UTC. Days to a date by the count of 400-year eras that start in March.
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
    }
}
