//! The one file of the tests that asks for the time: what a test measures is real.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a test of a deadline needs the clock on the wall")]
pub fn now() -> Instant {
    Instant::now()
}
