//! The short way through a reader: most events of a stream differ from the one before only in what they say.
//!
//! Who reads such an event the long way learns nothing that the one before did not tell, but for a piece of an open block. So
//! its shape is learned from two of them ([`Template`]), and as long as events have that shape, only the piece is taken
//! out. Whatever has another shape goes the long way, which is always right, and ends what was learned: a block may have
//! been closed by it. Fit for readers whose memory a piece does not change; `tests` holds one way against the other.

use super::event::{Event, Piece};
use super::speech::{Malformed, ReadEvents, Step};
use super::text::Text;
use crate::wire::template::{EVENT_BYTES_MAX, Template};

pub struct Repeats<R> {
    reader: R,
    /// The last event, when it was one piece and nothing else.
    before: Vec<u8>,
    name: Vec<u8>,
    said: Option<Said>,
    shape: Option<Template>,
    lessons: u32,
}

/// A piece's block, and whether it is of a call's arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    block: u32,
    arguments: bool,
}

/// A stream in which no shape lasts is not worth more lessons than this.
const LESSONS_MAX: u32 = 64;

impl<R: ReadEvents> Repeats<R> {
    pub fn new(reader: R) -> Self {
        let (before, name) = (Vec::new(), Vec::new());
        Self { reader, before, name, said: None, shape: None, lessons: 0 }
    }

    #[inline]
    fn recognise<'d>(&self, name: &[u8], data: &'d [u8]) -> Option<(Said, &'d [u8])> {
        let output = self.shape.as_ref()?.output(data)?;
        (name == self.name).then_some((self.said?, output))
    }

    /// After the long way: `said` when the event was one piece.
    fn learn(&mut self, name: &[u8], data: &[u8], said: Option<Said>) {
        self.shape = None;
        if said.is_none() || self.lessons >= LESSONS_MAX || data.len() > EVENT_BYTES_MAX {
            self.said = None;
            return;
        }
        if said == self.said && name == self.name {
            self.lessons += 1;
            self.shape = Template::learn(&self.before, data, 0, data.len());
        }
        self.said = said;
        self.name.clear();
        self.name.extend_from_slice(name);
        self.before.clear();
        self.before.extend_from_slice(data);
    }
}

impl<R: ReadEvents> ReadEvents for Repeats<R> {
    fn read_event(&mut self, name: &[u8], data: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<Step, Malformed> {
        if let Some((Said { block, arguments }, output)) = self.recognise(name, data) {
            if !output.is_empty() {
                let text = Text::of_raw(output);
                each(Event::Piece { block, piece: if arguments { Piece::Arguments(text) } else { Piece::Text(text) } });
            }
            return Ok(Step::More);
        }
        let (mut events, mut said) = (0, None);
        let read = self.reader.read_event(name, data, &mut |event| {
            events += 1;
            said = match &event {
                Event::Piece { block, piece: Piece::Text(_) } => Some(Said { block: *block, arguments: false }),
                Event::Piece { block, piece: Piece::Arguments(_) } => Some(Said { block: *block, arguments: true }),
                _ => None,
            };
            each(event);
        });
        self.learn(name, data, said.filter(|_| events == 1 && read == Ok(Step::More)));
        read
    }

    fn end(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        self.reader.end(each);
    }

    fn read_answer(&mut self, body: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
        self.reader.read_answer(body, each)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// One piece for each event that has words; memory that counts who came the long way.
    #[derive(Default)]
    struct Slow {
        read: usize,
    }

    impl ReadEvents for Slow {
        fn read_event(&mut self, _: &[u8], data: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<Step, Malformed> {
            crate::wire::json::validate(data)?;
            self.read += 1;
            let text = crate::wire::json::get(data, "text").and_then(Text::of_value);
            text.into_iter().for_each(|text| each(Event::Piece { block: 0, piece: Piece::Text(text) }));
            Ok(Step::More)
        }

        fn end(&mut self, _: &mut dyn FnMut(Event<'_>)) {}

        fn read_answer(&mut self, _: &[u8], _: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
            Ok(())
        }
    }

    #[test]
    fn only_what_has_the_learned_shape_goes_the_short_way() {
        let mut repeats = Repeats::new(Slow::default());
        let mut said = String::new();
        let mut read = |name: &str, data: &str| {
            let read = repeats.read_event(name.as_bytes(), data.as_bytes(), &mut |event| {
                if let Event::Piece { piece: Piece::Text(text), .. } = event {
                    said.push_str(&text.plain());
                }
            });
            (read.is_ok(), repeats.reader.read)
        };
        for (name, data, want) in [
            ("d", r#"{"text":"a","n":1}"#, (true, 1)),
            ("d", r#"{"text":"b","n":2}"#, (true, 2)),
            ("d", r#"{"text":"\n","n":3}"#, (true, 2)),
            ("d", r#"{"text":"","n":4}"#, (true, 2)),
            ("e", r#"{"text":"d","n":5}"#, (true, 3)),
            ("e", r#"{"text":"e","n":6}"#, (true, 4)),
            ("e", r#"{"text":"f","n":7}"#, (true, 4)),
            ("e", r#"{"text":"g","n":8}}"#, (false, 4)),
            ("e", r#"{"text":"h","n":9}"#, (true, 5)),
            ("e", r#"{"text":"i","x":9}"#, (true, 6)),
            ("e", r#"{"text":"j","n":9}"#, (true, 7)),
            ("e", r#"{"n":9}"#, (true, 8)),
            ("e", r#"{"text":"k","n":9}"#, (true, 9)),
        ] {
            assert_eq!(read(name, data), want, "{name} {data}");
        }
        assert_eq!(said, "ab\ndefhijk");
    }

    /// Whatever a stream of this reader's language is made into, both ways say the same of it.
    pub fn both_ways<R: ReadEvents>(make: impl Fn() -> R, stream: &[(&str, &str)]) {
        let mut state = 7u64;
        let mut roll = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below.max(1)
        };
        let mut short = 0;
        for round in 0..3_000 {
            let (mut long, mut repeats) = (make(), Repeats::new(Counted { reader: make(), long: 0 }));
            let mut events: Vec<(&str, Vec<u8>)> = Vec::new();
            for _ in 0..stream.len() + 8 {
                // Mostly in their order, some again, some out of it, some with a byte changed.
                let place = if roll(8) == 0 { roll(stream.len()) } else { (events.len() / 2).min(stream.len() - 1) };
                let (name, data) = stream[place];
                let mut data = data.as_bytes().to_vec();
                if round > 0 && roll(12) == 0 && !data.is_empty() {
                    let at = roll(data.len());
                    data[at] = b"\"\\{}[]:,0x1 \xff"[roll(13)];
                }
                events.push((name, data));
            }
            for (name, data) in &events {
                let (mut wanted, mut got) = (Vec::new(), Vec::new());
                let want = long.read_event(name.as_bytes(), data, &mut |event| wanted.push(format!("{event:?}")));
                let read = repeats.read_event(name.as_bytes(), data, &mut |event| got.push(format!("{event:?}")));
                assert_eq!((read, got), (want, wanted), "{}", String::from_utf8_lossy(data));
                if want != Ok(Step::More) {
                    break;
                }
                short += 1;
            }
            short -= repeats.reader.long;
        }
        assert!(short > 1_000, "hardly any event went the short way: {short}");
    }

    struct Counted<R> {
        reader: R,
        long: i64,
    }

    impl<R: ReadEvents> ReadEvents for Counted<R> {
        fn read_event(&mut self, name: &[u8], data: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<Step, Malformed> {
            let read = self.reader.read_event(name, data, each);
            self.long += i64::from(read == Ok(Step::More));
            read
        }

        fn end(&mut self, each: &mut dyn FnMut(Event<'_>)) {
            self.reader.end(each);
        }

        fn read_answer(&mut self, body: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
            self.reader.read_answer(body, each)
        }
    }
}
