//! Who waits while a vendor works: a caller who may hang up and wants signs of life, or somebody else who
//! watches the caller and waits for several vendors at once, or nobody.

use std::future::Future;
use std::pin::{Pin, pin};

use super::attempt::Plan;
use super::deliver;
use crate::accept::{HEAD_ROOM, Sink};
use crate::buffer;
use crate::deadline::Deadline;
use crate::gauge::Counter;
use crate::race::{Either, either};

pub enum Waiter<'w, 'c> {
    Caller(&'w mut Sink<'c>),
    Other,
}

impl Waiter<'_, '_> {
    /// Waits for `work`. `None`: the caller has gone meanwhile; dropping the work ends its connection.
    pub async fn beside<W>(&mut self, mut work: Pin<&mut W>) -> Option<W::Output>
    where
        W: Future + ?Sized,
    {
        let Self::Caller(sink) = self else { return Some(work.await) };
        let mut gone = pin!(sink.caller.gone());
        match either(work.as_mut(), gone.as_mut()).await {
            Either::First(done) => Some(done),
            Either::Second(()) => None,
        }
    }

    /// The same, and whoever waits for a stream gets signs of life when it takes long.
    pub async fn beside_alive<W>(
        &mut self,
        plan: &Plan<'_, '_>,
        heartbeat_ms: u64,
        mut work: Pin<&mut W>,
    ) -> Option<W::Output>
    where
        W: Future + ?Sized,
    {
        let Self::Caller(sink) = self else { return Some(work.await) };
        let pulse = plan.stream.then(Deadline::bare);
        let beat_later = || pulse.iter().for_each(|pulse| pulse.nudge_after(heartbeat_ms));
        beat_later();
        loop {
            let first = {
                let mut gone = pin!(sink.caller.gone());
                let mut beat = pin!(nudged(pulse.as_ref()));
                let mut other = pin!(either(gone.as_mut(), beat.as_mut()));
                either(work.as_mut(), other.as_mut()).await
            };
            match first {
                Either::First(done) => return Some(done),
                Either::Second(Either::First(())) => return None,
                Either::Second(Either::Second(())) => {
                    beat_later();
                    plan.scene.core.gauges.add(Counter::Heartbeats, 1);
                    // On the heap for its moment, like those of a stream that has begun.
                    Box::pin(heartbeat(plan, sink)).await.ok()?;
                }
            }
        }
    }
}

async fn nudged(pulse: Option<&Deadline>) {
    match pulse {
        Some(pulse) => pulse.nudged().await,
        None => std::future::pending().await,
    }
}

/// The stream's head leaves before the vendor has answered: from now on everything is told in-band.
async fn heartbeat(plan: &Plan<'_, '_>, sink: &mut Sink<'_>) -> Result<(), ()> {
    let sign = plan.route.language.heartbeat();
    if sign.is_empty() {
        // An empty chunk would be the last one, and a head alone tells nobody more than silence does.
        return Ok(());
    }
    if !sink.has_begun() {
        deliver::begin_stream(plan, sink);
    }
    let mut beat = buffer::small();
    beat.resize(HEAD_ROOM, 0);
    beat.extend_from_slice(sign);
    let (written, spare) = sink.chunk(beat, false).await;
    buffer::give_back(spare);
    written.map_err(|_| ())
}
