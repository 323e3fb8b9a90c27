//! A whole answer: the fold of its events. What is unary for the caller is written from this.

use weir_shared::usage::{Tier, Usage};

use super::call::Proof;
use super::event::{Block, Citation, Event, Finish, Piece};
use super::text::Text;

#[derive(Default, Debug)]
pub struct Answer {
    pub id: Text<'static>,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub tier: Tier,
    pub failed: Option<Text<'static>>,
    /// The choice and the place in it of each block, by its number.
    places: Vec<(usize, usize)>,
}

#[derive(Default, Debug)]
pub struct Choice {
    pub blocks: Vec<Whole>,
    pub finish: Option<Finish<'static>>,
}

#[derive(Debug)]
pub struct Whole {
    pub kind: Block<'static>,
    /// Of a text, a refusal, a thought; a tool call's arguments as the inside of a string; base64.
    pub text: Vec<u8>,
    /// A tool call's arguments that came as an object; then `text` is empty.
    pub object: Option<Vec<u8>>,
    pub proof: Option<Proof<'static>>,
    pub citations: Vec<Citation<'static>>,
    /// How likely the tokens of a text were: what stands between the brackets of such a list. Empty when nobody said.
    pub likely: Vec<u8>,
}

/// More choices or blocks than this are no answer.
const CHOICES_MAX: usize = 128;
const BLOCKS_MAX: usize = 16 << 10;

impl Answer {
    pub fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start { id } => self.id = id.into_owned(),
            Event::Open { block, choice, kind } => self.open(block as usize, choice as usize, kind),
            Event::Piece { block, piece } => {
                if let Some(whole) = self.block(block as usize) {
                    whole.take(piece);
                }
            }
            Event::Close { .. } | Event::UsageInvalid => {}
            Event::Usage { usage, tier } => (self.usage, self.tier) = (Some(usage), tier),
            Event::Finish { choice, why } => {
                if let Some(choice) = self.choice(choice as usize) {
                    choice.finish = Some(why.into_owned());
                }
            }
            Event::Failed { message, .. } => self.failed = Some(message.into_owned()),
        }
    }

    fn open(&mut self, block: usize, choice: usize, kind: Block<'_>) {
        if block != self.places.len() || block >= BLOCKS_MAX {
            return;
        }
        let Some(chosen) = self.choice(choice) else { return };
        chosen.blocks.push(Whole::new(kind.into_owned()));
        let place = chosen.blocks.len() - 1;
        self.places.push((choice, place));
    }

    fn choice(&mut self, choice: usize) -> Option<&mut Choice> {
        if choice >= CHOICES_MAX {
            return None;
        }
        if self.choices.len() <= choice {
            self.choices.resize_with(choice + 1, Choice::default);
        }
        self.choices.get_mut(choice)
    }

    fn block(&mut self, block: usize) -> Option<&mut Whole> {
        let (choice, place) = *self.places.get(block)?;
        self.choices.get_mut(choice)?.blocks.get_mut(place)
    }
}

impl Whole {
    fn new(kind: Block<'static>) -> Self {
        Self { kind, text: Vec::new(), object: None, proof: None, citations: Vec::new(), likely: Vec::new() }
    }

    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Text(text) | Piece::Arguments(text) | Piece::Data(text) => self.text.extend_from_slice(text.raw()),
            Piece::ArgumentsObject(object) => self.object = Some(object.to_vec()),
            Piece::Proof(proof) => self.proof = Some(proof.into_owned()),
            Piece::Citation(citation) => self.citations.push(citation.into_owned()),
            Piece::Likely(list) => {
                for token in crate::wire::json::elements(list) {
                    if !self.likely.is_empty() {
                        self.likely.push(b',');
                    }
                    self.likely.extend_from_slice(token);
                }
            }
        }
    }

    pub fn text(&self) -> Text<'_> {
        Text::of_raw(&self.text)
    }

    /// How likely its tokens were, as a list; empty when nobody said.
    pub fn likely(&self) -> Vec<u8> {
        if self.likely.is_empty() { Vec::new() } else { [b"[", &self.likely[..], b"]"].concat() }
    }
}

impl Proof<'_> {
    pub fn into_owned(self) -> Proof<'static> {
        Proof { of: self.of, data: self.data.into_owned(), sealed: self.sealed }
    }
}

impl Citation<'_> {
    pub fn into_owned(self) -> Citation<'static> {
        Citation {
            url: self.url.map(Text::into_owned),
            title: self.title.map(Text::into_owned),
            quote: self.quote.map(Text::into_owned),
            span: self.span,
            document: self.document.map(Text::into_owned),
        }
    }
}

impl Finish<'_> {
    pub fn into_owned(self) -> Finish<'static> {
        match self {
            Self::Stop => Finish::Stop,
            Self::Sequence(which) => Finish::Sequence(which.map(Text::into_owned)),
            Self::Length => Finish::Length,
            Self::ToolCalls => Finish::ToolCalls,
            Self::Filtered => Finish::Filtered,
            Self::Paused => Finish::Paused,
            Self::Other(reason) => Finish::Other(reason.into_owned()),
        }
    }
}

impl Block<'_> {
    pub fn into_owned(self) -> Block<'static> {
        match self {
            Self::Text => Block::Text,
            Self::Refusal => Block::Refusal,
            Self::Reasoning => Block::Reasoning,
            Self::ToolCall { id, name, proof } => {
                Block::ToolCall { id: id.into_owned(), name: name.into_owned(), proof: proof.map(Proof::into_owned) }
            }
            Self::VendorTool { name } => Block::VendorTool { name: name.into_owned() },
            Self::Media { kind, mime } => Block::Media { kind, mime: mime.into_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_whole() {
        let mut answer = Answer::default();
        let text = |words: &'static str| Piece::Text(Text::of_raw(words.as_bytes()));
        for event in [
            Event::Start { id: Text::of_raw(b"m1") },
            Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
            Event::Open { block: 1, choice: 0, kind: Block::Text },
            Event::Piece { block: 1, piece: text("he") },
            Event::Piece { block: 0, piece: text("hm") },
            Event::Piece { block: 1, piece: text("llo") },
            Event::Piece { block: 9, piece: text("nobody's") },
            Event::Open { block: 2, choice: 1 << 30, kind: Block::Text },
            Event::Finish { choice: 0, why: Finish::Stop },
        ] {
            answer.take(event);
        }
        assert_eq!(answer.choices.len(), 1);
        let words: Vec<_> = answer.choices[0].blocks.iter().map(|block| block.text.clone()).collect();
        assert_eq!(words, [b"hm".to_vec(), b"hello".to_vec()]);
        assert_eq!(answer.choices[0].finish, Some(Finish::Stop));
    }
}
