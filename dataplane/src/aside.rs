//! Work of a core that no connection waits for: so much of it at a time, and a core ends when it has ended.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::gauge::{Counter, Gauges};

/// Pieces of work at a time.
const RUNNING_MAX: usize = 64;

#[derive(Default)]
pub struct Aside {
    running: Rc<Cell<usize>>,
}

/// One piece of it may be under way.
pub struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Aside {
    /// `None`: as much as may be is under way.
    pub fn place(&self) -> Option<Place> {
        let running = self.running.get();
        (running < RUNNING_MAX).then(|| {
            self.running.set(running + 1);
            Place(Rc::clone(&self.running))
        })
    }

    pub fn is_idle(&self) -> bool {
        self.running.get() == 0
    }
}

/// Work that nobody waits for. A panic stays in it.
pub fn spawn(place: Place, gauges: &Arc<Gauges>, work: impl Future<Output = ()> + 'static) {
    let gauges = Arc::clone(gauges);
    monoio::spawn(async move {
        let _place = place;
        if unwinding(Box::pin(work)).await.is_err() {
            gauges.add(Counter::Panics, 1);
        }
    });
}

/// Polls a future and turns its panic into an error: it stays where it is.
pub async fn unwinding<F: Future>(mut future: Pin<Box<F>>) -> Result<F::Output, ()> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_) => Poll::Ready(Err(())),
    })
    .await
}
