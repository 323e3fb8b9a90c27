//! One budget of memory for everything that a stranger can make us hold: collected bodies, answers, unfinished events.
//!
//! It sheds in steps, so that what runs can finish: from 90 % on connections are not kept, from 95 % on new streams are
//! refused, from 98 % on everything is.

use std::sync::atomic::{AtomicU64, Ordering};

static HELD: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(1 << 30);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pressure {
    None,
    KeepNoConnections,
    RefuseStreams,
    RefuseAll,
}

pub fn set_limit(bytes: u64) {
    LIMIT.store(bytes.max(1), Ordering::Relaxed);
}

pub fn held() -> u64 {
    HELD.load(Ordering::Relaxed)
}

pub fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

pub fn pressure() -> Pressure {
    pressure_of(held(), limit())
}

fn pressure_of(held: u64, limit: u64) -> Pressure {
    let permille = u128::from(held) * 1_000 / u128::from(limit.max(1));
    match permille {
        0..900 => Pressure::None,
        900..950 => Pressure::KeepNoConnections,
        950..980 => Pressure::RefuseStreams,
        _ => Pressure::RefuseAll,
    }
}

/// So many bytes of the budget; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Hold(u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl Hold {
    /// For bodies that are still coming: all of them together get half of the budget, so that whoever sends large ones
    /// slowly cannot keep the others from being answered.
    pub fn grow_body_to(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        if bytes > self.0 && held().saturating_add(bytes - self.0) > limit() / 2 {
            return Err(OutOfMemory);
        }
        self.grow_to(bytes)
    }

    /// Grows (never shrinks) to `bytes`, or leaves everything as it was.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        let Some(more) = bytes.checked_sub(self.0).filter(|more| *more > 0) else { return Ok(()) };
        let limit = limit();
        let take = |held: u64| held.checked_add(more).filter(|held| *held <= limit);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| OutOfMemory)?;
        self.0 = bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0 > 0 {
            HELD.fetch_sub(self.0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_and_the_limit_holds() {
        let before = held();
        let mut hold = Hold::default();
        assert_eq!(hold.grow_to(1_000), Ok(()));
        assert_eq!(hold.grow_to(500), Ok(()));
        assert_eq!(held() - before, 1_000);
        assert_eq!(hold.grow_to(limit() + 1), Err(OutOfMemory));
        drop(hold);
        assert_eq!(held(), before);
    }

    #[test]
    fn pressure_rises_in_steps() {
        let steps = [0, 899, 900, 949, 950, 979, 980, 2_000].map(|held| pressure_of(held, 1_000));
        use Pressure::*;
        let expected =
            [None, None, KeepNoConnections, KeepNoConnections, RefuseStreams, RefuseStreams, RefuseAll, RefuseAll];
        assert_eq!(steps, expected);
    }
}
