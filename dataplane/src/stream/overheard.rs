//! The start of a stream that may not be the one that is delivered: read until the model has said something, and put back.

use weir_shared::fault::Code;

use super::{PREAMBLE_BYTES_MAX, with_head_room};
use crate::accept::HEAD_ROOM;
use crate::buffer;
use crate::dialect::Reading;
use crate::dialect::relay::{Heard, Relay};
use crate::upstream::Incoming;

/// `Ok`: it has begun to say something, or is over in a good way. May be dropped while it runs: its connection goes with it.
pub async fn overhear(
    incoming: &mut Incoming,
    relay: &mut Relay<'_>,
    reading: &mut Reading,
    strict: bool,
) -> Result<(), Code> {
    let mut input = buffer::small();
    let mut unheard = with_head_room(buffer::small());
    let judged = loop {
        let (read, bytes) = incoming.more(input).await;
        input = bytes;
        let heard = relay.feed(&input, &mut unheard, reading);
        unheard.truncate(HEAD_ROOM);
        if reading.output_bytes > 0 || reading.blames_caller || input.len() > PREAMBLE_BYTES_MAX {
            break Ok(());
        }
        match (heard, read) {
            (Heard::Failed, _) => break Err(Code::UpstreamError),
            (Heard::Malformed(_), _) if strict => break Err(Code::UpstreamInvalid),
            // What is left out of it is judged by whoever delivers it.
            (Heard::Malformed(_) | Heard::Over, _) => break Ok(()),
            (Heard::More, Err(failure)) => break Err(failure.code()),
            (Heard::More, Ok(_)) if incoming.is_done() => {
                break if reading.finished || reading.ended { Ok(()) } else { Err(Code::UpstreamCut) };
            }
            (Heard::More, Ok(_)) => {}
        }
    };
    buffer::give_back(unheard);
    match judged {
        Ok(()) => incoming.give_back(input),
        Err(_) => buffer::give_back(input),
    }
    judged
}
