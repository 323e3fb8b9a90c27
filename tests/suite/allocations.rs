//! What an event costs in memory, between any two of our languages and where both are the same: in the midst of a stream
//! nothing is asked of the allocator, and nothing is copied but what leaves, once.
//!
//! Both are counted. The allocator is one that counts, and so is `memcpy`: whatever it moves into the buffer that leaves is
//! output, what comes from the stack is the program's own, and everything else would be a copy on the way. Converse's frames
//! are the one thing that is written twice: twelve bytes in front of each say how long it is, which is known behind it.
//!
//! What is kept is the exception, in memory that doubles as it grows and once: all of it for Responses' callers, whose last
//! events say it again, and arguments for Gemini's, whose calls leave whole.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Range;

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

/// What is copied while an event is said again.
#[derive(Clone, Copy, Default)]
struct Copied {
    /// Into the buffer that leaves.
    out: u64,
    /// To some other place, and not from the stack.
    elsewhere: u64,
}

thread_local! {
    /// Where the buffer that leaves is; nothing is counted while nobody watches.
    static WATCHED: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    /// The test's own frame: whatever of it is on the stack is below.
    static STACK_TOP: Cell<usize> = const { Cell::new(0) };
    static COPIED: Cell<Copied> = const { Cell::new(Copied { out: 0, elsewhere: 0 }) };
}

unsafe extern "C" {
    fn memmove(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
}

/// Takes the place of the C library's: every copy whose length is not known to the compiler comes by here, and in builds
/// without optimisation nearly all others, too.
///
/// # Safety
/// As C says: both are valid for so many bytes and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void {
    if let Ok(Some(out)) = WATCHED.try_with(Cell::get) {
        note_copy(out, to as usize, from as usize, length);
    }
    // SAFETY: the caller's promise, passed on; what may overlap may also not.
    unsafe { memmove(to, from, length) }
}

fn note_copy((out, out_end): (usize, usize), to: usize, from: usize, length: usize) {
    let here = &raw const length as usize;
    let mut sum = COPIED.get();
    if (out..out_end).contains(&to) {
        sum.out += length as u64;
    } else if !(here..STACK_TOP.get()).contains(&from) {
        sum.elsewhere += length as u64;
    }
    COPIED.set(sum);
}

/// Counts what is copied meanwhile.
fn watched<T>(out: Range<*const u8>, work: impl FnOnce() -> T) -> T {
    WATCHED.set(Some((out.start as usize, out.end as usize)));
    let done = work();
    WATCHED.set(None);
    done
}

/// Events of which none is counted: shapes are learned, buffers have grown.
const BEFORE: usize = 200;
const COUNTED: usize = 10_000;
/// Of a frame: its length, the length of its headers, and their checksum.
const PRELUDE_BYTES: u64 = 12;
/// What arrives at once.
const READ_BYTES: usize = 4 << 10;

/// What the counted events came to.
struct Cost {
    events: u64,
    allocations: u64,
    /// Memory that is held when they are over, beyond what was held before.
    kept: i64,
    copied: Copied,
    /// What left.
    written: u64,
    /// What was said, as it stands in the JSON: what a writer that repeats it has to keep.
    said: u64,
}

#[test]
fn no_event_of_a_translated_stream_asks_for_memory_or_is_copied_twice() {
    let mut table = Table::new();
    STACK_TOP.set(&raw const table as usize + size_of::<Table>());
    let pairs = Tongue::ALL.iter().flat_map(|from| Tongue::ALL.iter().map(move |to| (*from, *to)));
    for (from, to) in pairs.filter(|(from, to)| from != to) {
        for kind in [Block::Text, Block::Reasoning, call()] {
            let name = format!("{from:?} to {to:?}, {}", word(&kind));
            let keeps = to == Tongue::Responses || to == Tongue::Generate && matches!(kind, Block::ToolCall { .. });
            let cost = translated(from, to, kind);
            table.case(name, judged(&cost, keeps, if to == Tongue::Converse { PRELUDE_BYTES } else { 0 }));
        }
    }
    table.end();
}

#[test]
fn no_event_of_a_passing_stream_asks_for_memory_or_is_copied() {
    let mut table = Table::new();
    STACK_TOP.set(&raw const table as usize + size_of::<Table>());
    for tongue in Tongue::ALL {
        let language = dialect::ALL.iter().find(|language| language.speech().is_some_and(|it| it.tongue() == *tongue));
        let language = *language.expect("each is a language");
        let cost = passed(language, &stream_of(*tongue, Block::Text));
        table.case(format!("{tongue:?}"), judged(&cost, false, 0));
    }
    table.end();
}

fn judged(cost: &Cost, keeps: bool, twice: u64) -> Result<(), String> {
    ensure(cost.events >= COUNTED as u64 - 64, format!("only {} events", cost.events))?;
    let Copied { out, elsewhere } = cost.copied;
    // What is written byte by byte is no copy; a counter that counted nothing would find less than half.
    let most = cost.written + twice * cost.events;
    ensure(out <= most, format!("{out} bytes were copied to write {}", cost.written))?;
    ensure(2 * out >= cost.written, format!("only {out} bytes of {} were counted", cost.written))?;
    if !keeps {
        same("allocations", cost.allocations, 0)?;
        same("bytes copied on the way", elsewhere, 0)?;
        return same("bytes kept", cost.kept, 0);
    }
    ensure(elsewhere <= cost.said, format!("{elsewhere} bytes were copied to keep {}", cost.said))?;
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
    let mut out: Vec<u8> = Vec::with_capacity(1 << 20);
    counted(&stream, |piece| {
        held.extend_from_slice(piece);
        out.clear();
        let room = out.as_ptr()..out.as_ptr().wrapping_add(out.capacity());
        let heard = watched(room, || relay.feed(&held, &mut out, &mut reading));
        assert!(matches!(heard, Heard::More), "{heard:?}");
        let done = relay.unfinished();
        held.drain(..done);
        relay.moved(done);
        Progress { events: reading.events, written: out.len() as u64, said: reading.output_bytes }
    })
}

fn passed(language: &'static dyn Language, stream: &[u8]) -> Cost {
    let (mut reading, mut held) = (Reading::default(), Vec::with_capacity(4 * READ_BYTES));
    let (mut lines, mut frames) = (sse::Framer::default(), eventstream::Framer::default());
    counted(stream, |piece| {
        held.extend_from_slice(piece);
        let nowhere = std::ptr::null()..std::ptr::null();
        let done = watched(nowhere, || match language.framing() {
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
        });
        held.drain(..done);
        Progress { events: reading.events, written: 0, said: reading.output_bytes }
    })
}

/// How far a stream has come: events and what was said from its beginning on, and what the last piece of it wrote.
#[derive(Clone, Copy, Default)]
struct Progress {
    events: u64,
    written: u64,
    said: u64,
}

/// Feeds a stream without its ends.
fn counted(stream: &[u8], mut feed: impl FnMut(&[u8]) -> Progress) -> Cost {
    let mut start = None;
    let (mut now, mut written) = (Progress::default(), 0);
    for piece in stream.chunks(READ_BYTES) {
        now = feed(piece);
        written += now.written;
        if start.is_none() && now.events >= BEFORE as u64 {
            written = 0;
            COPIED.set(Copied::default());
            start = Some((now, ASKED.get(), KEPT.get()));
        }
    }
    let (before, asked, kept) = start.expect("the stream is longer");
    Cost {
        events: now.events - before.events,
        allocations: ASKED.get() - asked,
        kept: KEPT.get() - kept,
        copied: COPIED.get(),
        written,
        said: now.said - before.said,
    }
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
