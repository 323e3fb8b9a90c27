//! An answer that was begun by one model and is gone on with by another: what was said so far, and how the steps of the
//! second fit behind those of the first.

use weir_shared::usage::{Class, Usage};

use super::event::{Block, Event, Piece};
use super::text::Text;

/// What has been said of an answer, as far as another could go on with it.
#[derive(Default)]
pub struct Begun {
    /// As it stands in JSON.
    text: Vec<u8>,
    /// The block of text that is open.
    open: Option<u32>,
    blocks: u32,
    /// It is over, or something was said that no other model can have said: a call, a picture, a refusal.
    closed_to_others: bool,
    /// Who went on with it.
    after: Option<After>,
}

/// The steps of one that goes on.
struct After {
    /// Its blocks come behind those that were there.
    from: u32,
    /// Where its first text belongs, when that block is still open.
    into: Option<u32>,
    joined: Option<u32>,
    /// Thoughts in front of that text are its own affair: the answer had begun.
    unsaid: Option<u32>,
    /// The text so far ended in blanks, which no vendor takes at the end of what it is to go on with.
    blank: bool,
    before: Usage,
}

/// A longer answer is not begun again.
const TEXT_BYTES_MAX: usize = 1 << 20;

impl Begun {
    pub fn can_go_on(&self) -> bool {
        !self.closed_to_others && !trimmed(&self.text).is_empty()
    }

    /// What was said so far, without the blanks at its end.
    pub fn text(&self) -> Text<'static> {
        Text::of_raw_owned(trimmed(&self.text).to_vec())
    }

    pub fn held(&self) -> usize {
        self.text.capacity()
    }

    /// Another goes on. `before`: what was used until here.
    pub fn go_on(&mut self, before: Usage) {
        self.after = Some(After {
            from: self.blocks,
            into: self.open,
            joined: None,
            unsaid: None,
            blank: trimmed(&self.text).len() < self.text.len(),
            before,
        });
    }

    /// A step as the caller is to read it; `None` when it is not for the caller.
    pub fn fit<'e>(&mut self, event: Event<'e>) -> Option<Event<'e>> {
        let event = match &mut self.after {
            None => Some(event),
            Some(after) => after.fit(event),
        }?;
        self.note(&event);
        Some(event)
    }

    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Open { block, choice, kind } => {
                self.blocks = self.blocks.max(block.saturating_add(1));
                match kind {
                    Block::Text => self.open = Some(*block),
                    Block::Reasoning => {}
                    Block::Refusal | Block::ToolCall { .. } | Block::VendorTool { .. } | Block::Media { .. } => {
                        self.closed_to_others = true;
                    }
                }
                self.closed_to_others |= *choice > 0;
            }
            Event::Piece { block, piece: Piece::Text(text) } if self.open == Some(*block) => {
                self.text.extend_from_slice(text.raw());
                self.closed_to_others |= self.text.len() > TEXT_BYTES_MAX;
            }
            Event::Close { block } if self.open == Some(*block) => self.open = None,
            Event::Finish { .. } => self.closed_to_others = true,
            _ => {}
        }
    }
}

impl After {
    fn fit<'e>(&mut self, event: Event<'e>) -> Option<Event<'e>> {
        Some(match event {
            // It has begun already.
            Event::Start { .. } => return None,
            Event::Open { block, kind: Block::Text, .. } if self.into.is_some() && self.joined.is_none() => {
                self.joined = Some(block);
                return None;
            }
            Event::Open { block, kind: Block::Reasoning, .. } if self.into.is_some() && self.joined.is_none() => {
                self.unsaid = Some(block);
                return None;
            }
            Event::Open { block, choice, kind } => Event::Open { block: self.place(block), choice, kind },
            Event::Piece { block, .. } | Event::Close { block } if self.unsaid == Some(block) => return None,
            Event::Piece { block, piece: Piece::Text(text) } if std::mem::take(&mut self.blank) => {
                let rest = unblanked(text.raw());
                self.blank = rest.is_empty();
                if self.blank {
                    return None;
                }
                Event::Piece { block: self.place(block), piece: Piece::Text(Text::of_raw_owned(rest.to_vec())) }
            }
            Event::Piece { block, piece } => Event::Piece { block: self.place(block), piece },
            Event::Close { block } => Event::Close { block: self.place(block) },
            Event::Usage { usage, tier } => Event::Usage { usage: sum(usage, self.before), tier },
            other => other,
        })
    }

    fn place(&self, block: u32) -> u32 {
        match self.into {
            Some(into) if self.joined == Some(block) => into,
            _ => self.from.saturating_add(block),
        }
    }
}

pub fn sum(one: Usage, other: Usage) -> Usage {
    Class::ALL.iter().fold(one, |sum, &class| {
        let both = sum.of(class).saturating_add(other.of(class));
        sum.with(class, both)
    })
}

/// Blanks as they stand in JSON.
const BLANKS: &[&[u8]] = &[b" ", b"\\n", b"\\r", b"\\t"];

/// Without blanks at its end. A backslash that is escaped itself is no blank's.
fn trimmed(raw: &[u8]) -> &[u8] {
    let mut rest = raw;
    while let Some(shorter) = BLANKS.iter().find_map(|blank| rest.strip_suffix(*blank)) {
        let slashes = shorter.iter().rev().take_while(|byte| **byte == b'\\').count();
        if rest.len() - shorter.len() == 2 && slashes % 2 == 1 {
            break;
        }
        rest = shorter;
    }
    rest
}

fn unblanked(raw: &[u8]) -> &[u8] {
    let mut rest = raw;
    while let Some(shorter) = BLANKS.iter().find_map(|blank| rest.strip_prefix(*blank)) {
        rest = shorter;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::usage::Tier;

    fn text(block: u32, raw: &'static str) -> Event<'static> {
        Event::Piece { block, piece: Piece::Text(Text::of_raw(raw.as_bytes())) }
    }

    fn open(block: u32, kind: Block<'static>) -> Event<'static> {
        Event::Open { block, choice: 0, kind }
    }

    fn start() -> Event<'static> {
        Event::Start { id: Text::default() }
    }

    #[test]
    fn the_second_goes_on_in_the_block_of_the_first() {
        let mut begun = Begun::default();
        for event in
            [start(), open(0, Block::Reasoning), Event::Close { block: 0 }, open(1, Block::Text), text(1, "It is ")]
        {
            assert_eq!(begun.fit(event.clone()), Some(event));
        }
        assert!(begun.can_go_on());
        assert_eq!(begun.text(), Text::of_raw(b"It is"));
        let before = Usage::NONE.with(Class::Input, 7).with(Class::Output, 2);
        begun.go_on(before);
        let usage = |count| Event::Usage { usage: Usage::NONE.with(Class::Output, count), tier: Tier::Standard };
        let both = Event::Usage { usage: before.with(Class::Output, 5), tier: Tier::Standard };
        let steps = [
            (start(), None),
            (open(0, Block::Reasoning), None),
            (text(0, "hm"), None),
            (Event::Close { block: 0 }, None),
            (open(1, Block::Text), None),
            (text(1, " \\n"), None),
            (text(1, " late"), Some(text(1, "late"))),
            (text(1, " now"), Some(text(1, " now"))),
            (usage(3), Some(both)),
            (Event::Close { block: 1 }, Some(Event::Close { block: 1 })),
            (open(2, Block::Reasoning), Some(open(4, Block::Reasoning))),
        ];
        for (said, heard) in steps {
            assert_eq!(begun.fit(said.clone()), heard, "{said:?}");
        }
        assert_eq!(begun.text(), Text::of_raw(b"It is late now"));
    }

    #[test]
    fn what_no_other_can_have_said_is_not_gone_on_with() {
        let call = Block::ToolCall { id: Text::default(), name: Text::default(), proof: None };
        for kind in [call, Block::Refusal, Block::VendorTool { name: Text::default() }] {
            let mut begun = Begun::default();
            for event in [open(0, Block::Text), text(0, "a"), Event::Close { block: 0 }] {
                begun.fit(event);
            }
            assert!(begun.can_go_on());
            begun.fit(open(1, kind));
            assert!(!begun.can_go_on());
        }
        let mut begun = Begun::default();
        begun.fit(open(0, Block::Text));
        assert!(!begun.can_go_on(), "nothing was said");
        begun.fit(text(0, " \\n\\t"));
        assert!(!begun.can_go_on(), "blanks are nothing");
    }

    #[test]
    fn blanks_are_told_from_escaped_slashes() {
        assert_eq!(trimmed(br"a\n \t"), b"a");
        assert_eq!(trimmed(br"a\\n"), br"a\\n");
        assert_eq!(trimmed(br"a\\\n"), br"a\\");
        assert_eq!(unblanked(br"\n \r\\n"), br"\\n");
    }
}
