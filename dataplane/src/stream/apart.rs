//! A stream whose caller is not the one who waits for each of its pieces: read for what it says, by whoever puts several
//! answers together or only wants to know.

use weir_shared::fault::Code;
use weir_shared::policy::time::Times;

use super::relayed::{rest, say};
use super::{End, set_idle_at};
use crate::buffer;
use crate::dialect::Reading;
use crate::dialect::relay::Relay;
use crate::memory::Hold;
use crate::upstream::{Failure, Incoming};

pub struct Apart<'h> {
    relay: Relay<'h>,
    pub reading: Reading,
    idle_ms: u64,
    total_at_ms: u64,
    event_bytes_max: u64,
    hold: Hold,
}

impl<'h> Apart<'h> {
    pub fn new(relay: Relay<'h>, times: &Times, total_at_ms: u64, event_bytes_max: u64) -> Self {
        let (reading, hold) = (Reading::default(), Hold::default());
        Self { relay, reading, idle_ms: times.idle, total_at_ms, event_bytes_max, hold }
    }

    /// Before the first read: from here on the vendor must go on within its time.
    pub fn begin(&self, incoming: &Incoming) {
        set_idle_at(incoming, self.idle_ms, self.total_at_ms);
    }

    /// What one read brought; what it says goes to `output`. Gives the buffer for the next read, and how the stream ended
    /// when it has.
    pub fn arrived(
        &mut self,
        incoming: &Incoming,
        read: &Result<usize, Failure>,
        mut input: Vec<u8>,
        output: &mut Vec<u8>,
    ) -> (Vec<u8>, Option<End>) {
        let before = self.reading.events;
        let end = say(&mut self.relay, incoming, read, &mut input, output, &mut self.reading);
        if self.reading.events > before {
            self.begin(incoming);
        }
        let done = self.relay.unfinished().min(input.len());
        let kept = input.len() - done;
        let end = end.or_else(|| self.too_much(kept));
        let input = rest(input, done);
        self.relay.moved(done);
        (input, end)
    }

    fn too_much(&mut self, unfinished: usize) -> Option<End> {
        if unfinished as u64 > self.event_bytes_max {
            return Some(End::Broken(Code::UpstreamInvalid));
        }
        let kept = unfinished + self.relay.held();
        let kept = if kept > buffer::LARGE { kept as u64 } else { 0 };
        self.hold.grow_to(kept).is_err().then_some(End::Broken(Code::Overloaded))
    }
}
