//! Waiting for the first of several things without dropping the others: what loses stays pinned where it is and can be
//! waited for again. This is the only kind of select here; see `socket`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

#[derive(Debug)]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// When both are ready, the first wins.
pub async fn either<A: Future + ?Sized, B: Future + ?Sized>(
    mut a: Pin<&mut A>,
    mut b: Pin<&mut B>,
) -> Either<A::Output, B::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        b.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
