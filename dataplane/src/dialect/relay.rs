//! One answer on its way from a vendor's language into its caller's: frames in, frames out, and what was learned of it.

use weir_shared::fault::Code;
use weir_shared::usage::Usage;

use super::answer::Answer;
use super::begun::Begun;
use super::event::{Event, Piece};
use super::speech::{Framing, Malformed, ReadEvents, Step, WriteEvents};
use super::text::{Text, plain};
use super::{Language, Reading, Sense};
use crate::wire::eventstream::{self, Kind, NotFrame};
use crate::wire::json;
use crate::wire::sse;

/// A stream between two languages. Feed it what arrived; it appends what leaves.
pub struct Relay<'h> {
    frames: Frames,
    road: Road<'h>,
    /// The vendor's own words about its failure.
    words: Option<String>,
    /// What was said so far, where another may have to go on with it.
    begun: Option<Box<Begun>>,
}

enum Frames {
    Sse(sse::Framer),
    EventStream(eventstream::Framer),
}

enum Road<'h> {
    Said {
        reader: Box<dyn ReadEvents>,
        writer: Box<dyn WriteEvents + 'h>,
    },
    /// Both sides speak the same: frames pass as they are, once they are found good.
    Passed(&'static dyn Language),
}

/// What a piece of a stream came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    More,
    /// Nothing that follows belongs to the answer.
    Over,
    /// The vendor gave up, in [`Relay::words`].
    Failed,
    Malformed(&'static str),
}

/// No answer has more blocks.
const BLOCKS_MAX: u32 = 16 << 10;

/// More of a vendor's own words about a failure are not repeated.
const WORDS_BYTES_MAX: usize = 4 << 10;

impl<'h> Relay<'h> {
    pub fn new(framing: Framing, reader: Box<dyn ReadEvents>, writer: Box<dyn WriteEvents + 'h>) -> Self {
        Self { frames: Frames::of(framing), road: Road::Said { reader, writer }, words: None, begun: None }
    }

    /// Between two who speak the same.
    pub fn passing(language: &'static dyn Language) -> Self {
        Self { frames: Frames::of(language.framing()), road: Road::Passed(language), words: None, begun: None }
    }

    /// From the start on: another may have to go on with what this one says.
    pub fn remember(&mut self) {
        self.begun = Some(Box::default());
    }

    /// What was said so far, when another can go on with it.
    pub fn begun(&self) -> Option<Text<'static>> {
        self.begun.as_ref().filter(|begun| begun.can_go_on()).map(|begun| begun.text())
    }

    /// Another goes on: its frames are new, the caller's are the same. `before`: what was used until here.
    pub fn go_on(&mut self, framing: Framing, next: Box<dyn ReadEvents>, before: Usage) {
        self.frames = Frames::of(framing);
        self.words = None;
        if let Road::Said { reader, .. } = &mut self.road {
            *reader = next;
        }
        if let Some(begun) = &mut self.begun {
            begun.go_on(before);
        }
    }

    /// Takes every whole frame of `bytes`. What is before [`Relay::unfinished`] is done with.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, reading: &mut Reading) -> Heard {
        let Self { frames, road, words, begun } = self;
        loop {
            let joined;
            let (name, data, whole) = match frames {
                Frames::Sse(framer) => {
                    let Some(event) = framer.next(bytes) else { return Heard::More };
                    if event.is_silent() {
                        continue;
                    }
                    joined = (event.data_lines > 1).then(|| event.join(bytes));
                    let data = joined.as_deref().unwrap_or(event.data.of(bytes));
                    (event.name.of(bytes), data, event.whole.of(bytes))
                }
                Frames::EventStream(framer) => match framer.next(bytes) {
                    Err(NotFrame(why)) => return Heard::Malformed(why),
                    Ok(None) => return Heard::More,
                    // The connection itself is at fault: there is a code, and nothing for a reader of answers.
                    Ok(Some(frame)) if frame.kind == Kind::Error => {
                        *words = Some(String::from_utf8_lossy(frame.name.of(bytes)).into_owned());
                        reading.failed = true;
                        return Heard::Failed;
                    }
                    Ok(Some(frame)) => (frame.name.of(bytes), frame.payload.of(bytes), frame.whole.of(bytes)),
                },
            };
            let step = match road {
                Road::Said { reader, writer } => {
                    step(reader.as_mut(), &mut Said { writer: writer.as_mut(), begun, words }, name, data, out, reading)
                }
                Road::Passed(language) => pass_on(*language, words, name, data, whole, out, reading),
            };
            match step {
                Err(Malformed(why)) => return Heard::Malformed(why),
                Ok(_) if reading.failed => return Heard::Failed,
                Ok(Step::Over) => return Heard::Over,
                Ok(Step::More) => {}
            }
        }
    }

    /// The vendor's bytes are over: a last event whose empty line it forgot is an event all the same.
    pub fn last_line(&self, bytes: &mut Vec<u8>) {
        match self.frames {
            Frames::Sse(_) if !bytes.is_empty() => bytes.extend_from_slice(b"\n\n"),
            Frames::Sse(_) | Frames::EventStream(_) => {}
        }
    }

    pub fn unfinished(&self) -> usize {
        match &self.frames {
            Frames::Sse(framer) => framer.unfinished(),
            Frames::EventStream(framer) => framer.unfinished(),
        }
    }

    /// The first `by` bytes of the buffer are gone.
    pub fn moved(&mut self, by: usize) {
        match &mut self.frames {
            Frames::Sse(framer) => framer.moved(by),
            Frames::EventStream(framer) => framer.moved(by),
        }
    }

    /// The vendor has said all: what its language leaves open is closed. Whether the answer is whole, `reading` tells.
    pub fn close(&mut self, out: &mut Vec<u8>, reading: &mut Reading) {
        let Self { road, words, begun, .. } = self;
        if let Road::Said { reader, writer } = road {
            let mut said = Said { writer: writer.as_mut(), begun, words };
            reader.end(&mut |event| said.pass(event, out, reading));
        }
    }

    /// The caller's legal end.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match &mut self.road {
            Road::Said { writer, .. } => writer.end(out),
            Road::Passed(language) => out.extend_from_slice(language.terminator()),
        }
    }

    /// The caller's error, and nothing after it.
    pub fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        match &mut self.road {
            Road::Said { writer, .. } => writer.fail(code, message, out),
            Road::Passed(language) => language.error_event(out, code, message, &Reading::default()),
        }
    }

    /// Bytes that the caller's language keeps back.
    pub fn held(&self) -> usize {
        match &self.road {
            Road::Said { writer, .. } => writer.held() + self.begun.as_ref().map_or(0, |begun| begun.held()),
            Road::Passed(_) => 0,
        }
    }

    pub fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }
}

impl Frames {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(sse::Framer::default()),
            Framing::EventStream => Self::EventStream(eventstream::Framer::default()),
        }
    }
}

/// A frame that is found good leaves as it came; what the vendor says of its failure still has to be scrubbed.
fn pass_on(
    language: &dyn Language,
    words: &mut Option<String>,
    name: &[u8],
    data: &[u8],
    whole: &[u8],
    out: &mut Vec<u8>,
    reading: &mut Reading,
) -> Result<Step, Malformed> {
    reading.events += 1;
    match language.read_event(name, data, reading)? {
        Sense::Failed => {
            reading.failed = true;
            let message = json::get(data, "message").and_then(Text::of_value).unwrap_or_default();
            *words = Some(cut(message.plain().into_owned()));
            return Ok(Step::Over);
        }
        Sense::End => reading.ended = true,
        Sense::Plain | Sense::Marked | Sense::UsageOnly => {}
    }
    out.extend_from_slice(whole);
    Ok(if reading.ended { Step::Over } else { Step::More })
}

fn cut(mut words: String) -> String {
    let end = words.floor_char_boundary(WORDS_BYTES_MAX);
    words.truncate(end);
    words
}

/// Where the steps of an answer go.
struct Said<'s, 'h> {
    writer: &'s mut (dyn WriteEvents + 'h),
    begun: &'s mut Option<Box<Begun>>,
    words: &'s mut Option<String>,
}

fn step(
    reader: &mut dyn ReadEvents,
    said: &mut Said<'_, '_>,
    name: &[u8],
    data: &[u8],
    out: &mut Vec<u8>,
    reading: &mut Reading,
) -> Result<Step, Malformed> {
    reading.events += 1;
    reader.read_event(name, data, &mut |event| said.pass(event, out, reading))
}

impl Said<'_, '_> {
    fn pass(&mut self, event: Event<'_>, out: &mut Vec<u8>, reading: &mut Reading) {
        if reading.failed {
            return;
        }
        note(&event, reading);
        match event {
            // How it is told is decided by whoever knows what must not be told.
            Event::Failed { message, .. } => {
                *self.words = Some(cut(message.plain().into_owned()));
            }
            event => match self.begun {
                None => self.writer.write(event, out),
                Some(begun) => begun.fit(event).into_iter().for_each(|event| self.writer.write(event, out)),
            },
        }
    }
}

/// A whole answer, folded. `Err` when it is none of this language.
pub fn fold(reader: &mut dyn ReadEvents, body: &[u8], reading: &mut Reading) -> Result<Answer, Malformed> {
    let mut answer = Answer::default();
    reader.read_answer(body, &mut |event| {
        note(&event, reading);
        answer.take(event);
    })?;
    if !reading.finished && !reading.failed {
        // A 200 without a reason to be over, or without anything, is no answer.
        return Err(Malformed("no reason to be over in it"));
    }
    Ok(answer)
}

/// What a step means for the meter and for the end of the stream.
fn note(event: &Event<'_>, reading: &mut Reading) {
    match event {
        Event::Usage { usage, tier } => {
            reading.usage = Some(*usage);
            reading.tier = *tier;
        }
        Event::UsageInvalid => reading.usage_invalid = true,
        Event::Finish { .. } => {
            reading.ends += 1;
            reading.finished = reading.ends >= reading.choices.max(1);
        }
        Event::Failed { blames_caller, .. } => {
            reading.failed = true;
            reading.blames_caller |= blames_caller;
        }
        Event::Piece { piece, .. } => {
            reading.output_bytes += match piece {
                Piece::Text(text) | Piece::Arguments(text) => text.raw().len() as u64,
                Piece::ArgumentsObject(object) => object.len() as u64,
                Piece::Proof(_) | Piece::Citation(_) | Piece::Data(_) | Piece::Likely(_) => 0,
            }
        }
        // An answer is over when each of its choices is.
        Event::Open { block, choice, .. } => {
            // Writers number blocks up to here; an answer without its end must not look whole.
            reading.failed |= *block >= BLOCKS_MAX;
            reading.choices = reading.choices.max(choice.saturating_add(1));
            reading.finished &= reading.ends >= reading.choices;
        }
        Event::Start { .. } | Event::Close { .. } => {}
    }
}

/// A vendor's error body in a few words, whatever its language: what stands in `message`, wherever that is.
pub fn words_of_error(body: &[u8]) -> Option<String> {
    let mut found = None;
    crate::wire::json::scan(body, |member| {
        if found.is_none() && member.key == b"message" && member.value.starts_with(b"\"") {
            found = Some(plain(&member.value[1..member.value.len() - 1]).into_owned());
        }
    })
    .ok()?;
    let mut words = found?;
    let cut = words.floor_char_boundary(WORDS_BYTES_MAX);
    words.truncate(cut);
    Some(words)
}
