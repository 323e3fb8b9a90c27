//! The allocator: the system's, and in front of it what each thread remembers of small pieces.
//!
//! The system's keeps seven pieces of a size at hand. A core has sixty-four requests under way, in step, so nearly all they
//! ask for would go the long way, through lists that are searched and neighbours that are merged. Every piece here is
//! one of the system's, of a size that it gives anyhow, so nothing is larger than it was.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{copy_nonoverlapping, null_mut};

pub struct Heap;

/// The system's sizes are a word short of a multiple of sixteen.
const STEP: usize = 16;
const SMALLEST: usize = 24;
const CLASSES: usize = 32;
const LARGEST: usize = SMALLEST + (CLASSES - 1) * STEP;
/// Of each size, as many as requests usually run at once: half a megabyte of a thread, if it used every size.
const KEPT: u32 = 64;

/// Pieces of one size, chained through their own first word.
struct Shelf {
    first: Cell<*mut *mut u8>,
    count: Cell<u32>,
}

thread_local! {
    // Without a destructor, so that it is there from a thread's first word to its last. What a thread that ends still has
    // stays lost; cores and their helpers end with the process.
    static SHELVES: [Shelf; CLASSES] =
        const { [const { Shelf { first: Cell::new(null_mut()), count: Cell::new(0) } }; CLASSES] };
}

/// The class of a layout that is kept here.
#[inline(always)]
fn class(layout: Layout) -> Option<usize> {
    let small = layout.size() <= LARGEST && layout.align() <= STEP;
    small.then(|| layout.size().saturating_sub(SMALLEST - STEP + 1) / STEP)
}

/// What the system is asked for.
#[inline(always)]
fn whole(class: usize) -> Layout {
    let bytes = SMALLEST + class * STEP;
    // SAFETY: sixteen is a power of two, and the size is far from the largest.
    unsafe { Layout::from_size_align_unchecked(bytes, STEP) }
}

// SAFETY: every piece is the system's, asked for and given back with the layout of its class, which is at least as large and
// as aligned as what was asked of us; it is either somebody's or on one thread's shelf, never both; nothing here panics.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's promise, passed on.
            return unsafe { System.alloc(layout) };
        };
        SHELVES.with(|shelves| {
            let shelf = &shelves[class];
            let piece = shelf.first.get();
            if piece.is_null() {
                // SAFETY: the class's size is not zero.
                return unsafe { System.alloc(whole(class)) };
            }
            // SAFETY: what is on a shelf is free, at least a word long, and its first word is the next piece.
            shelf.first.set(unsafe { piece.read() }.cast());
            shelf.count.set(shelf.count.get() - 1);
            piece.cast()
        })
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's promise, passed on.
            return unsafe { System.dealloc(piece, layout) };
        };
        SHELVES.with(|shelves| {
            let shelf = &shelves[class];
            if shelf.count.get() == KEPT {
                // SAFETY: it came from `alloc`, with the layout of its class.
                return unsafe { System.dealloc(piece, whole(class)) };
            }
            let piece = piece.cast::<*mut u8>();
            // SAFETY: its owner has given it up; it is at least a word long and aligned to sixteen.
            unsafe { piece.write(shelf.first.get().cast()) };
            shelf.first.set(piece);
            shelf.count.set(shelf.count.get() + 1);
        });
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class(layout).is_none() {
            // SAFETY: the caller's promise, passed on. Large zeroes are the kernel's already.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise, passed on.
        let piece = unsafe { self.alloc(layout) };
        if !piece.is_null() {
            // SAFETY: it was just given out with at least this size.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is legal with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (class(layout), class(wanted)) {
            // SAFETY: the caller's promise, passed on.
            (None, None) => unsafe { System.realloc(piece, layout, bytes) },
            (Some(was), Some(is)) if was == is => piece,
            _ => {
                // SAFETY: the caller's promise, passed on.
                let other = unsafe { self.alloc(wanted) };
                if !other.is_null() {
                    // SAFETY: both are at least so long, and two pieces that are somebody's never overlap.
                    unsafe { copy_nonoverlapping(piece, other, layout.size().min(bytes)) };
                    // SAFETY: the caller gives it up.
                    unsafe { self.dealloc(piece, layout) };
                }
                other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_large_enough_and_not_larger_than_it_must_be() {
        for bytes in 1..=LARGEST {
            let class = class(Layout::from_size_align(bytes, 8).unwrap()).unwrap();
            assert!(whole(class).size() >= bytes);
            assert!(class == 0 || whole(class - 1).size() < bytes);
        }
        assert_eq!(class(Layout::from_size_align(LARGEST + 1, 8).unwrap()), None);
        assert_eq!(class(Layout::from_size_align(64, 32).unwrap()), None);
    }

    #[test]
    fn pieces_keep_what_is_written_through_every_change_of_size() {
        let mut state = 1u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let holds = |&(piece, layout, mark): &(*mut u8, Layout, u8)| {
            // SAFETY: the piece is held, and its bytes were written when it was taken.
            let bytes = unsafe { std::slice::from_raw_parts(piece, layout.size()) };
            bytes.iter().all(|byte| *byte == mark)
        };
        for round in 0..50_000usize {
            let layout = Layout::from_size_align(1 + next(700), 1 << next(5)).unwrap();
            let mark = round as u8;
            match next(4) {
                0 | 1 => {
                    // SAFETY: the size is not zero.
                    let piece = unsafe { Heap.alloc(layout) };
                    assert!((piece as usize).is_multiple_of(layout.align()));
                    // SAFETY: it is held now, and as long as its layout says.
                    unsafe { piece.write_bytes(mark, layout.size()) };
                    held.push((piece, layout, mark));
                }
                2 if !held.is_empty() => {
                    let place = next(held.len());
                    let (piece, was, before) = held.swap_remove(place);
                    let now = Layout::from_size_align(layout.size(), was.align()).unwrap();
                    // SAFETY: it is held with this layout; afterwards only the new one is.
                    let piece = unsafe { Heap.realloc(piece, was, now.size()) };
                    let kept = Layout::from_size_align(was.size().min(now.size()), was.align()).unwrap();
                    assert!(holds(&(piece, kept, before)));
                    // SAFETY: it is held now, and as long as its layout says.
                    unsafe { piece.write_bytes(mark, now.size()) };
                    held.push((piece, now, mark));
                }
                _ if !held.is_empty() => {
                    let one = held.swap_remove(next(held.len()));
                    assert!(holds(&one));
                    // SAFETY: it is held with this layout, and forgotten now.
                    unsafe { Heap.dealloc(one.0, one.1) };
                }
                _ => {}
            }
        }
        assert!(held.iter().all(holds));
        for (piece, layout, _) in held {
            // SAFETY: as above.
            unsafe { Heap.dealloc(piece, layout) };
        }
        // SAFETY: the size is not zero.
        let zeroed = unsafe { Heap.alloc_zeroed(Layout::from_size_align(100, 8).unwrap()) };
        assert!(holds(&(zeroed, Layout::from_size_align(100, 8).unwrap(), 0)));
    }
}
