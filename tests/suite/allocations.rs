//! What an event costs in memory, counted by the allocator: in the midst of a stream nothing is asked of it, between any two
//! of our languages and where both are the same.
//!
//! Where nothing is allocated and nothing is kept, an event's bytes have nowhere to go but into the buffer that leaves: what is
//! copied is what is written. What is kept is the exception, in memory that doubles as it grows: all of it for Responses'
//! callers, whose last events say it once more, and arguments for Gemini's, whose calls leave whole.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use weir::dialect::call::{Call, Tongue};
use weir::dialect::event::{Block, Event, Piece};
use weir::dialect::relay::{Heard, Relay};
use weir::dialect::speech::{Framing, Heading, Speech};
use weir::dialect::text::Text;
use weir::dialect::{self, Language, Reading};
use weir::wire::{eventstream, sse};
use weir_shared::catalog::Deviations;
use weir_tests::Table;
use weir_tests::table::{ensure, same};

struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
    static KEPT: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: everything is the system's; the counters are cells of the thread, without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(asked: u64, kept: i64) {
    // A thread that ends has no counters any more.
    let _ = ASKED.try_with(|counter| counter.set(counter.get() + asked));
    let _ = KEPT.try_with(|counter| counter.set(counter.get() + kept));
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Events of which none is counted: shapes are learned, buffers have grown.
const BEFORE: usize = 200;
const COUNTED: usize = 10_000;
/// What arrives at once.
const READ_BYTES: usize = 4 << 10;

/// What the counted events came to.
struct Cost {
    events: u64,
    allocations: u64,
    /// Memory that is held when they are over, beyond what was held before.
    kept: i64,
}

#[test]
fn no_event_of_a_translated_stream_asks_for_memory() {
    let mut table = Table::new();
    let pairs = Tongue::ALL.iter().flat_map(|from| Tongue::ALL.iter().map(move |to| (*from, *to)));
    for (from, to) in pairs.filter(|(from, to)| from != to) {
        for kind in [Block::Text, Block::Reasoning, call()] {
            let name = format!("{from:?} to {to:?}, {}", word(&kind));
            let keeps = to == Tongue::Responses || to == Tongue::Generate && matches!(kind, Block::ToolCall { .. });
            let cost = translated(from, to, kind);
            table.case(name, judged(&cost, keeps));
        }
    }
    table.end();
}

#[test]
fn no_event_of_a_passing_stream_asks_for_memory() {
    let mut table = Table::new();
    for tongue in Tongue::ALL {
        let language = dialect::ALL.iter().find(|language| language.speech().is_some_and(|it| it.tongue() == *tongue));
        let language = *language.expect("each is a language");
        let cost = passed(language, &stream_of(*tongue, Block::Text));
        table.case(format!("{tongue:?}"), judged(&cost, false));
    }
    table.end();
}

fn judged(cost: &Cost, keeps: bool) -> Result<(), String> {
    ensure(cost.events >= COUNTED as u64 - 64, format!("only {} events", cost.events))?;
    if !keeps {
        same("allocations", cost.allocations, 0)?;
        return same("bytes kept", cost.kept, 0);
    }
    // A text of so many events doubles its memory so often, and once more for what it is put into.
    ensure(cost.allocations <= 16, format!("{} allocations in {} events", cost.allocations, cost.events))
}

fn call() -> Block<'static> {
    Block::ToolCall { id: Text::of_raw(b"c1"), name: Text::of_raw(b"f"), proof: None }
}

fn word(kind: &Block<'_>) -> &'static str {
    match kind {
        Block::Text => "text",
        Block::Reasoning => "thoughts",
        _ => "arguments",
    }
}

fn speech(tongue: Tongue) -> &'static dyn Speech {
    dialect::speech_of(tongue).expect("it is translated")
}

fn translated(from: Tongue, to: Tongue, kind: Block<'static>) -> Cost {
    let stream = stream_of(from, kind);
    let call = Call { stream: true, ..Call::default() };
    let heading = Heading { id: "0123456789abcdef", model: "m", created_s: 1_700_000_000, call: &call, sse: true };
    let reader = speech(from).reader(Deviations::NONE);
    let mut relay = Relay::new(speech(from).framing(), reader, speech(to).writer(&heading));
    let (mut reading, mut held) = (Reading::default(), Vec::with_capacity(4 * READ_BYTES));
    let mut out = Vec::with_capacity(1 << 20);
    counted(&stream, |piece| {
        held.extend_from_slice(piece);
        out.clear();
        let heard = relay.feed(&held, &mut out, &mut reading);
        assert!(matches!(heard, Heard::More), "{heard:?}");
        let done = relay.unfinished();
        held.drain(..done);
        relay.moved(done);
        reading.events
    })
}

fn passed(language: &'static dyn Language, stream: &[u8]) -> Cost {
    let (mut reading, mut held) = (Reading::default(), Vec::with_capacity(4 * READ_BYTES));
    let (mut lines, mut frames) = (sse::Framer::default(), eventstream::Framer::default());
    counted(stream, |piece| {
        held.extend_from_slice(piece);
        let done = match language.framing() {
            Framing::Sse => {
                while let Some(event) = lines.next(&held) {
                    let (name, data) = (event.name.of(&held), event.data.of(&held));
                    if !event.is_silent() {
                        language.read_event(name, data, &mut reading).expect("an event");
                        reading.events += 1;
                    }
                }
                let done = lines.unfinished();
                lines.moved(done);
                done
            }
            Framing::EventStream => {
                while let Some(frame) = frames.next(&held).expect("a frame") {
                    let (name, data) = (frame.name.of(&held), frame.payload.of(&held));
                    language.read_event(name, data, &mut reading).expect("an event");
                    reading.events += 1;
                }
                let done = frames.unfinished();
                frames.moved(done);
                done
            }
        };
        held.drain(..done);
        reading.events
    })
}

/// Feeds a stream without its ends; `feed` tells how many events there were so far.
fn counted(stream: &[u8], mut feed: impl FnMut(&[u8]) -> u64) -> Cost {
    let mut start = None;
    let mut events = 0;
    for piece in stream.chunks(READ_BYTES) {
        events = feed(piece);
        if start.is_none() && events >= BEFORE as u64 {
            start = Some((events, ASKED.get(), KEPT.get()));
        }
    }
    let (first, asked, kept) = start.expect("the stream is longer");
    Cost { events: events - first, allocations: ASKED.get() - asked, kept: KEPT.get() - kept }
}

/// A stream of this language up to the last piece of one block.
fn stream_of(tongue: Tongue, kind: Block<'static>) -> Vec<u8> {
    const WORDS: [&str; 5] = ["the water ", "behind\\nthe ", "boards", " rises slowly, ", "\\u00e9t\\u00e9 "];
    let call = Call { stream: true, ..Call::default() };
    let heading = Heading { id: "fedcba9876543210", model: "m", created_s: 1_700_000_000, call: &call, sse: true };
    let mut writer = speech(tongue).writer(&heading);
    let mut out = Vec::new();
    writer.write(Event::Start { id: Text::of_raw(b"a1") }, &mut out);
    let is_call = matches!(kind, Block::ToolCall { .. });
    writer.write(Event::Open { block: 0, choice: 0, kind }, &mut out);
    for number in 0..BEFORE + COUNTED + 64 {
        let text = Text::of_raw(WORDS[number % WORDS.len()].as_bytes());
        let piece = if is_call { Piece::Arguments(text) } else { Piece::Text(text) };
        writer.write(Event::Piece { block: 0, piece }, &mut out);
    }
    if is_call && tongue == Tongue::Generate {
        // Its calls leave whole: there are no pieces in the midst of one.
        return stream_of(tongue, Block::Text);
    }
    out
}
