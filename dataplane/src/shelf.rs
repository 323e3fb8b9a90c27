//! Memory for the work of one request, used again by the next one.
//!
//! A request's future is too large for what the allocator keeps at hand, and each would be asked for and given back anew. An
//! idle connection must not keep it, so a core keeps a few.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What a core keeps: as many as requests usually run at once.
const KEPT: usize = 64;

/// Pieces of memory, all of the same layout: that of the first that was given back.
struct Shelf {
    layout: Layout,
    free: Vec<NonNull<u8>>,
}

thread_local! {
    static SHELF: RefCell<Shelf> = const { RefCell::new(Shelf { layout: Layout::new::<()>(), free: Vec::new() }) };
}

/// A future on the heap, in memory that may have been another's.
pub struct Shelved<F>(NonNull<F>);

/// Puts a future into memory of this core. It never moves again.
#[inline(always)]
pub fn put<F: Future>(future: F) -> Shelved<F> {
    let place = take(Layout::new::<F>()).cast::<F>();
    // SAFETY: `place` is valid for writes of one `F`, aligned for it, and nobody else's.
    unsafe { place.write(future) };
    Shelved(place)
}

impl<F: Future> Future for Shelved<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future was written in `put` and is dropped in `drop` only. It is never moved in between, because
        // nobody else sees its place.
        unsafe { Pin::new_unchecked(self.0.as_mut()) }.poll(cx)
    }
}

// The place on the heap does not move with its handle.
impl<F> Unpin for Shelved<F> {}

impl<F> Drop for Shelved<F> {
    fn drop(&mut self) {
        // Given back even when the future panics while it is dropped.
        let _place = Place(self.0.cast(), Layout::new::<F>());
        // SAFETY: it was written in `put`, and this happens once.
        unsafe { self.0.drop_in_place() };
    }
}

struct Place(NonNull<u8>, Layout);

impl Drop for Place {
    fn drop(&mut self) {
        give_back(self.0, self.1);
    }
}

fn take(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a future that awaits something has a size");
    let kept = SHELF.try_with(|shelf| {
        let shelf = &mut *shelf.borrow_mut();
        if shelf.layout == layout { shelf.free.pop() } else { None }
    });
    kept.ok().flatten().unwrap_or_else(|| {
        // SAFETY: the layout's size is not zero.
        let place = unsafe { alloc(layout) };
        NonNull::new(place).unwrap_or_else(|| handle_alloc_error(layout))
    })
}

fn give_back(place: NonNull<u8>, layout: Layout) {
    let kept = SHELF.try_with(|shelf| {
        let shelf = &mut *shelf.borrow_mut();
        if shelf.free.is_empty() {
            shelf.layout = layout;
        }
        let fits = shelf.layout == layout && shelf.free.len() < KEPT;
        if fits {
            shelf.free.push(place);
        }
        fits
    });
    // While the thread ends there is no shelf any more.
    if !kept.unwrap_or(false) {
        // SAFETY: it came from `alloc` with this layout, and its last user has just gone.
        unsafe { dealloc(place.as_ptr(), layout) };
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for place in self.free.drain(..) {
            // SAFETY: everything on the shelf came from `alloc` with the shelf's layout.
            unsafe { dealloc(place.as_ptr(), self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::rc::Rc;
    use std::task::Waker;

    async fn large(count: Rc<()>) -> usize {
        let bytes = [7u8; 5_000];
        ready(()).await;
        bytes.len() + Rc::strong_count(&count)
    }

    #[test]
    fn a_place_is_used_again_and_what_lay_there_is_dropped() {
        let mut cx = Context::from_waker(Waker::noop());
        let count = Rc::new(());
        let mut first = put(large(Rc::clone(&count)));
        let address = first.0;
        assert_eq!(Pin::new(&mut first).poll(&mut cx), Poll::Ready(5_002));
        drop(first);
        assert_eq!(Rc::strong_count(&count), 1);
        let again = put(large(Rc::clone(&count)));
        assert_eq!(again.0, address);
        // Another size beside it, and one that is dropped before its end.
        let held = Rc::clone(&count);
        let mut other = put(async move {
            let _held = held;
            pending::<()>().await;
        });
        assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
        drop((again, other));
        assert_eq!(Rc::strong_count(&count), 1);
    }
}
