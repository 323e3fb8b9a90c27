//! Buffers of one core. A connection that waits holds none; one that works borrows one and gives it back.
//!
//! Two sizes. A small one is parked under a waiting read of a slow stream; a large one takes what a burst brings, so that
//! hundreds of events cost one read and one write.

use std::cell::RefCell;

/// Holds a usual event several times over, and keeps a thousand slow streams within a few megabytes. Measured, as the
/// other one: dataplane/README.md.
pub const SMALL: usize = 7 << 8;
/// Holds a usual request or answer whole. Measured: beyond it a burst gains little, see dataplane/README.md.
pub const LARGE: usize = 32 << 10;

/// What the pool keeps of each size when it is not used; the rest goes back to the allocator.
const KEPT: usize = 64;

#[derive(Default)]
struct Pool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), large: Vec::new() }) };
}

pub fn small() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| pool.small.pop()).unwrap_or_else(|| Vec::with_capacity(SMALL))
}

pub fn large() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| pool.large.pop()).unwrap_or_else(|| Vec::with_capacity(LARGE))
}

/// A buffer with room for so many bytes: from the pool when it fits, from the allocator when it does not.
pub fn with_room(bytes: usize) -> Vec<u8> {
    match bytes {
        0..=SMALL => small(),
        _ if bytes <= LARGE => large(),
        _ => Vec::with_capacity(bytes),
    }
}

/// Gives a buffer back. One that has grown beyond its size is not kept.
pub fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    POOL.with_borrow_mut(|pool| {
        let shelf = match buffer.capacity() {
            SMALL => &mut pool.small,
            LARGE => &mut pool.large,
            _ => return,
        };
        if shelf.len() < KEPT {
            shelf.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_to_their_shelf_and_grown_ones_do_not() {
        let buffer = small();
        let address = buffer.as_ptr();
        give_back(buffer);
        let again = small();
        assert_eq!(again.as_ptr(), address);
        let mut grown = large();
        grown.resize(LARGE * 2, 0);
        give_back(grown);
        assert_eq!(large().capacity(), LARGE);
    }
}
