//! A vendor's stream in another language than the caller's: read, said again, and written once per read.

use weir_shared::fault::Code;

use super::{End, Rules, pause, resume, set_idle, wait, with_head_room};
use crate::accept::{HEAD_ROOM, Sink};
use crate::buffer;
use crate::deadline::Deadline;
use crate::dialect::Reading;
use crate::dialect::relay::{Heard, Relay};
use crate::gauge::{Counter, Gauges};
use crate::memory::Hold;
use crate::upstream::{Failure, Incoming};

/// A vendor's own words about its failure are told only when there are any.
const FAILED: &str = "The vendor failed in the middle of its answer.";

#[expect(clippy::too_many_arguments, reason = "the same as for a stream that passes, and the relay")]
pub async fn relay(
    mut incoming: Box<Incoming>,
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    relay: &mut Relay<'_>,
    reading: &mut Reading,
    gauges: &Gauges,
    first_byte: &mut dyn FnMut(),
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    let mut hold = Hold::default();
    let pulse = Deadline::bare();
    let mut input = buffer::small();
    let mut output = with_head_room(buffer::small());
    let mut gone = false;
    let mut committed = !rules.elsewhere;
    let mut silent = true;
    set_idle(&incoming, rules);
    loop {
        // ── wait for more, for the caller to go, or for it to be time for a sign of life
        let read;
        let arrived = if gone {
            Some(incoming.more(input).await)
        } else {
            let anew = std::mem::take(&mut silent) || committed;
            wait(&mut incoming, input, sink, rules, &pulse, anew, gauges, &mut gone).await
        };
        (read, input) = match arrived {
            Some(arrived) => arrived,
            None => {
                incoming.cut();
                close(End::Cancelled, reading);
                return (End::Cancelled, None);
            }
        };
        // ── say it again
        let before = reading.events;
        let end = say(relay, &incoming, &read, &mut input, &mut output, reading);
        gauges.add(Counter::Events, reading.events - before);
        if reading.events > before {
            set_idle(&incoming, rules);
        }
        // ── what is not whole stays
        let done = relay.unfinished().min(input.len());
        let kept = input.len() - done;
        let kept_back = if committed { 0 } else { output.len() };
        let end = end.or_else(|| rules.too_much(kept, kept + relay.held() + kept_back, &mut hold).map(End::Broken));
        if !committed && !gone {
            match rules.commits(reading, end, output.len()) {
                Ok(now) => committed = now,
                Err(code) => {
                    incoming.cut();
                    buffer::give_back(input);
                    buffer::give_back(output);
                    return (End::Unheard(code), None);
                }
            }
        }
        if let Some(End::Broken(code)) = end
            && rules.goes_on
            && !gone
            && can_be_mended(code, reading)
            && relay.begun().is_some()
        {
            incoming.cut();
            buffer::give_back(input);
            return suspend(sink, rules, code, output, reading, first_byte, close).await;
        }
        if let Some(end) = end {
            buffer::give_back(input);
            if gone {
                close(End::Cancelled, reading);
                return (End::Cancelled, None);
            }
            return finish(incoming, sink, rules, relay, reading, end, output, first_byte, close).await;
        }
        input = rest(input, done);
        relay.moved(done);
        if gone {
            output.truncate(HEAD_ROOM);
            continue;
        }
        if output.len() > HEAD_ROOM && committed {
            first_byte();
            (rules.begin)(sink);
            let waiting = pause(&incoming);
            let (written, spare) = sink.chunk(output, false).await;
            resume(&incoming, waiting);
            silent = true;
            output = spare;
            if written.is_err() {
                if !rules.drain {
                    incoming.cut();
                    close(End::Cancelled, reading);
                    return (End::Cancelled, None);
                }
                gone = true;
            }
        }
    }
}

/// Says again what a read brought. `Some`: how the stream ended with it.
pub(super) fn say(
    relay: &mut Relay<'_>,
    incoming: &Incoming,
    read: &Result<usize, Failure>,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
    reading: &mut Reading,
) -> Option<End> {
    if matches!(read, Ok(0)) {
        relay.last_line(input);
    }
    let ended = match read {
        Ok(0) => Some(None),
        Ok(_) => None,
        Err(failure) => Some(Some(failure.code())),
    };
    match (relay.feed(input, output, reading), ended) {
        (Heard::Malformed(_), _) => Some(End::Broken(Code::UpstreamInvalid)),
        (Heard::Failed, _) => Some(End::Broken(Code::UpstreamError)),
        (Heard::More, None) if !incoming.is_done() => None,
        (Heard::More, Some(Some(code))) => Some(End::Broken(code)),
        (Heard::Over | Heard::More, _) => {
            relay.close(output, reading);
            // A last event is no reason to be over: what was cut short often has one, too.
            Some(if reading.finished { End::Complete } else { End::Broken(Code::UpstreamCut) })
        }
    }
}

/// Whether another vendor may do better than this one did.
fn can_be_mended(code: Code, reading: &Reading) -> bool {
    let vendors = matches!(
        code,
        Code::UpstreamCut | Code::UpstreamIdle | Code::UpstreamInvalid | Code::UpstreamError | Code::UpstreamTls
    );
    vendors && !reading.blames_caller
}

/// What is whole goes out, and nothing tells that there is no more of it.
async fn suspend(
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    code: Code,
    output: Vec<u8>,
    reading: &mut Reading,
    first_byte: &mut dyn FnMut(),
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    if output.len() > HEAD_ROOM {
        first_byte();
        (rules.begin)(sink);
        let (written, spare) = sink.chunk(output, false).await;
        buffer::give_back(spare);
        if written.is_err() {
            close(End::Cancelled, reading);
            return (End::Cancelled, None);
        }
    }
    (End::Suspended(code), None)
}

/// The unfinished tail in a buffer that fits it and what comes: large in a burst, small again behind it.
pub(super) fn rest(mut input: Vec<u8>, done: usize) -> Vec<u8> {
    let kept = input.len() - done;
    if done == 0 && kept > 0 {
        // One event that is longer than what was read so far: it goes on in the same buffer.
        return input;
    }
    let filled = input.len() + ALMOST >= input.capacity();
    let sparse = input.len() <= buffer::SMALL / 2;
    let is_large = input.capacity() > buffer::SMALL;
    if is_large == (filled || is_large && !sparse) {
        input.drain(..done);
        return input;
    }
    let room = if is_large { 0 } else { buffer::SMALL + 1 };
    let mut fitting = buffer::with_room(room.max(2 * kept));
    fitting.extend_from_slice(&input[done..]);
    buffer::give_back(input);
    fitting
}

/// A buffer counts as filled when so few bytes are left.
const ALMOST: usize = 64;

#[expect(clippy::too_many_arguments, reason = "the last step of one story")]
async fn finish(
    mut incoming: Box<Incoming>,
    sink: &mut Sink<'_>,
    rules: &Rules<'_>,
    relay: &mut Relay<'_>,
    reading: &mut Reading,
    end: End,
    mut output: Vec<u8>,
    first_byte: &mut dyn FnMut(),
    close: &mut dyn FnMut(End, &Reading),
) -> (End, Option<Box<Incoming>>) {
    match end {
        End::Broken(code) => {
            incoming.cut();
            reading.failed = true;
            let scrubbed = relay.words().map(|words| (rules.scrub)(words.as_bytes()));
            let words = scrubbed.as_deref().and_then(|words| std::str::from_utf8(words).ok());
            let told = if code == Code::UpstreamError { words.unwrap_or(FAILED) } else { code.meaning() };
            relay.fail(code, told, &mut output);
        }
        _ => {
            relay.end(&mut output);
            // What follows the end belongs to nobody; the last chunk itself may still be on its way.
            incoming.drain_now();
        }
    }
    first_byte();
    (rules.begin)(sink);
    // The record is in the journal before the last chunk leaves.
    close(end, reading);
    let (written, spare) = sink.chunk(output, true).await;
    buffer::give_back(spare);
    if written.is_err() {
        incoming.cut();
    }
    let reusable = end == End::Complete;
    (end, reusable.then_some(incoming))
}
