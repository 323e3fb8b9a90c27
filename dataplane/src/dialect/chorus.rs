//! Several answers to one call, as the choices of one: each voice says its steps as if it were alone, and here they get numbers
//! that the caller's language can tell apart.

use std::cell::RefCell;

use weir_shared::fault::Code;
use weir_shared::usage::{Tier, Usage};

use super::answer::Answer;
use super::event::Event;
use super::speech::WriteEvents;

/// Who writes for all of them.
pub struct Chorus<'h> {
    writer: RefCell<Box<dyn WriteEvents + 'h>>,
    seats: RefCell<Seats>,
}

#[derive(Default)]
struct Seats {
    begun: bool,
    blocks: u32,
    /// Who says each choice, by its number: the voice's own.
    choices: Vec<usize>,
}

impl<'h> Chorus<'h> {
    pub fn new(writer: Box<dyn WriteEvents + 'h>) -> Self {
        Self { writer: RefCell::new(writer), seats: RefCell::default() }
    }

    pub fn voice<'c>(&'c self, number: usize) -> Voice<'c, 'h> {
        Voice { chorus: self, number, blocks: Vec::new(), choices: Vec::new() }
    }

    /// The voices that have said something, in the order of their choices.
    pub fn choices(&self) -> Vec<usize> {
        self.seats.borrow().choices.clone()
    }

    /// All have ended. `usage`: what all of them used.
    pub fn end(&self, usage: Usage, out: &mut Vec<u8>) {
        let mut writer = self.writer.borrow_mut();
        writer.write(Event::Usage { usage, tier: Tier::default() }, out);
        writer.end(out);
    }

    pub fn fail(&self, code: Code, message: &str, out: &mut Vec<u8>) {
        self.writer.borrow_mut().fail(code, message, out);
    }

    pub fn held(&self) -> usize {
        self.writer.borrow().held()
    }
}

/// One of the answers.
pub struct Voice<'c, 'h> {
    chorus: &'c Chorus<'h>,
    number: usize,
    /// The caller's numbers of its blocks and choices, by its own.
    blocks: Vec<Option<u32>>,
    choices: Vec<Option<u32>>,
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;
const CHOICES_MAX: usize = 128;

impl Voice<'_, '_> {
    fn choice(&mut self, own: u32) -> Option<u32> {
        let place = slot(&mut self.choices, own, CHOICES_MAX)?;
        Some(*place.get_or_insert_with(|| {
            let choices = &mut self.chorus.seats.borrow_mut().choices;
            choices.push(self.number);
            choices.len() as u32 - 1
        }))
    }

    fn opened(&mut self, own: u32) -> Option<u32> {
        let seats = &mut *self.chorus.seats.borrow_mut();
        let place = slot(&mut self.blocks, own, BLOCKS_MAX)?;
        *place = Some(seats.blocks);
        seats.blocks = seats.blocks.saturating_add(1);
        *place
    }

    fn block(&self, own: u32) -> Option<u32> {
        self.blocks.get(own as usize).copied().flatten()
    }

    /// The same step, in numbers of the caller's. `None`: it is not for the caller, or said for all of them at the end.
    fn fit<'e>(&mut self, event: Event<'e>) -> Option<Event<'e>> {
        Some(match event {
            Event::Start { id } => {
                let begun = std::mem::replace(&mut self.chorus.seats.borrow_mut().begun, true);
                return (!begun).then_some(Event::Start { id });
            }
            Event::Open { block, choice, kind } => {
                let choice = self.choice(choice)?;
                Event::Open { block: self.opened(block)?, choice, kind }
            }
            Event::Piece { block, piece } => Event::Piece { block: self.block(block)?, piece },
            Event::Close { block } => Event::Close { block: self.block(block)? },
            Event::Finish { choice, why } => Event::Finish { choice: self.choice(choice)?, why },
            Event::Usage { .. } | Event::UsageInvalid | Event::Failed { .. } => return None,
        })
    }
}

fn slot(places: &mut Vec<Option<u32>>, own: u32, most: usize) -> Option<&mut Option<u32>> {
    let place = own as usize;
    if place >= most {
        return None;
    }
    if places.len() <= place {
        places.resize(place + 1, None);
    }
    places.get_mut(place)
}

impl WriteEvents for Voice<'_, '_> {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if let Some(event) = self.fit(event) {
            self.chorus.writer.borrow_mut().write(event, out);
        }
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn fail(&mut self, _: Code, _: &str, _: &mut Vec<u8>) {}
}

/// Whole answers, as the choices of the first. Gives for each choice whose it was.
pub fn together(answers: impl IntoIterator<Item = (usize, Answer)>) -> Option<(Answer, Vec<usize>)> {
    let mut answers = answers.into_iter();
    let (first, mut all) = answers.next()?;
    let mut whose = vec![first; all.choices.len()];
    for (voice, answer) in answers {
        whose.extend(std::iter::repeat_n(voice, answer.choices.len()));
        all.usage = match (all.usage, answer.usage) {
            (Some(before), Some(more)) => Some(before.plus(more)),
            (before, more) => before.or(more),
        };
        all.choices.extend(answer.choices);
    }
    Some((all, whose))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::event::{Block, Finish, Piece};
    use crate::dialect::text::Text;

    /// Writes what it is told as words.
    struct Plain;

    impl WriteEvents for Plain {
        fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
            let words = match event {
                Event::Start { .. } => "start".to_owned(),
                Event::Open { block, choice, .. } => format!("open {block} in {choice}"),
                Event::Piece { block, piece: Piece::Text(text) } => format!("{block}: {}", text.plain()),
                Event::Close { block } => format!("close {block}"),
                Event::Finish { choice, .. } => format!("over {choice}"),
                Event::Usage { usage, .. } => format!("used {}", usage.tokens()),
                other => format!("{other:?}"),
            };
            out.extend_from_slice(words.as_bytes());
            out.push(b';');
        }

        fn end(&mut self, out: &mut Vec<u8>) {
            out.extend_from_slice(b"end");
        }

        fn fail(&mut self, _: Code, _: &str, _: &mut Vec<u8>) {}
    }

    #[test]
    fn two_voices_keep_apart() {
        let chorus = Chorus::new(Box::new(Plain));
        let (mut one, mut two, mut out) = (chorus.voice(0), chorus.voice(1), Vec::new());
        let say = |voice: &mut Voice<'_, '_>, out: &mut Vec<u8>, steps: &str| {
            for step in steps.split(' ') {
                voice.write(
                    match step {
                        "start" => Event::Start { id: Text::default() },
                        "open" => Event::Open { block: 0, choice: 0, kind: Block::Text },
                        "close" => Event::Close { block: 0 },
                        "over" => Event::Finish { choice: 0, why: Finish::Stop },
                        // Before it was opened, and of a number that nobody has.
                        "lost" => Event::Close { block: u32::MAX },
                        word => Event::Piece { block: 0, piece: Piece::Text(Text::of_raw_owned(word.into())) },
                    },
                    out,
                );
            }
        };
        say(&mut two, &mut out, "start open b");
        say(&mut one, &mut out, "lost start open a");
        say(&mut two, &mut out, "close over");
        say(&mut one, &mut out, "a close over");
        chorus.end(Usage::NONE, &mut out);
        let said = String::from_utf8(out).unwrap();
        let wanted = "start;open 0 in 0;0: b;open 1 in 1;1: a;close 0;over 0;1: a;close 1;over 1;used 0;end";
        assert_eq!(said, wanted);
        assert_eq!(chorus.choices(), [1, 0]);
    }
}
