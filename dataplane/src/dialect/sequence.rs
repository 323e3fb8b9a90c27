//! Blocks one after another, for languages in which only one is open at a time: pieces of a later block are kept until the
//! earlier ones are closed.

use std::collections::VecDeque;
use std::ops::Range;

use weir_shared::fault::Code;
use weir_shared::usage::{Tier, Usage};

use super::call::{MediaKind, Proof};
use super::event::{Block, Citation, Event, Finish, Piece};
use super::speech::WriteEvents;
use super::text::escape_json;

/// How a language writes the steps of its blocks. `index` counts the blocks that were written.
pub trait Strict {
    fn start(&self, index: u32, opened: Opened<'_>, out: &mut Vec<u8>);

    /// `raw` is what stands between the quotes of a string; of a citation, a JSON value.
    fn piece(&self, index: u32, form: Form, raw: &[u8], out: &mut Vec<u8>);

    fn stop(&self, index: u32, kind: Kind, out: &mut Vec<u8>);

    /// As the JSON value that [`Form::Citation`] takes.
    fn citation(&self, citation: &Citation<'_>, out: &mut Vec<u8>);

    fn signature(&self, proof: &Proof<'_>, out: &mut Vec<u8>);

    /// The proof is a block of its own, and no signature of the thought.
    fn stands_alone(&self, proof: &Proof<'_>, has_text: bool) -> bool;

    /// An image of this type can be told.
    fn shows(&self, _mime: &[u8]) -> bool {
        false
    }
}

/// The message around the blocks.
pub trait Message: Strict {
    /// It begins with the answer; others begin when there is something to say, by when the vendor may have told what the
    /// prompt costs.
    const BEGINS_AT_ONCE: bool;

    fn begin(&self, used: Option<(Usage, Tier)>, out: &mut Vec<u8>);

    fn end(&self, finish: Option<&Finish<'_>>, used: Option<(Usage, Tier)>, out: &mut Vec<u8>);

    fn fail(&self, code: Code, message: &str, out: &mut Vec<u8>);
}

/// A writer of such a language: its events, from the first to the last.
pub struct InTurn<M> {
    sequence: Sequence,
    message: M,
    began: bool,
    over: bool,
    used: Option<(Usage, Tier)>,
    finish: Option<Finish<'static>>,
}

impl<M: Message> InTurn<M> {
    pub fn new(message: M) -> Self {
        Self { sequence: Sequence::new(), message, began: false, over: false, used: None, finish: None }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.began, true) {
            self.message.begin(self.used, out);
        }
    }
}

impl<M: Message> WriteEvents for InTurn<M> {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Piece { block, piece } => self.sequence.piece(block, piece, &self.message, out),
            Event::Open { block, choice, kind } => {
                self.begin(out);
                self.sequence.open(block, choice, kind, &self.message, out);
            }
            Event::Close { block } => self.sequence.close(block, &self.message, out),
            Event::Usage { usage, tier } => self.used = Some((usage, tier)),
            Event::Finish { choice: 0, why } => {
                self.begin(out);
                self.finish = Some(why.into_owned());
            }
            Event::Start { .. } if M::BEGINS_AT_ONCE => self.begin(out),
            Event::Start { .. } | Event::Finish { .. } | Event::UsageInvalid | Event::Failed { .. } => {}
        }
        if self.sequence.is_too_much() {
            self.fail(Code::UpstreamInvalid, "The answer does not come in an order that can be told.", out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.begin(out);
        self.sequence.end(&self.message, out);
        self.message.end(self.finish.as_ref(), self.used, out);
    }

    fn held(&self) -> usize {
        self.sequence.held()
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            self.message.fail(code, message, out);
        }
    }
}

#[derive(Clone, Copy)]
pub enum Opened<'a> {
    Text,
    Thought,
    Sealed(&'a Proof<'a>),
    Call {
        block: u32,
        id: &'a [u8],
        name: &'a [u8],
    },
    /// Of this media type.
    Picture(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Text,
    Thought,
    Arguments,
    Signature,
    Citation,
    /// Base64.
    Data,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Thought,
    Call,
    Picture,
    /// Nothing of it is told.
    Silent,
}

pub struct Sequence {
    blocks: Vec<Slot>,
    /// The block that is being written.
    current: Option<u32>,
    waiting: VecDeque<u32>,
    /// How many blocks were written to their end: the index of the next one, or of the open one.
    index: u32,
    held_bytes: usize,
    too_much: bool,
}

struct Slot {
    kind: Kind,
    /// Its start is written.
    started: bool,
    closed: bool,
    held: Option<Box<Held>>,
}

/// A block whose turn has not come.
#[derive(Default)]
struct Held {
    id: Vec<u8>,
    /// Of a call; of a picture its media type.
    name: Vec<u8>,
    proof: Option<Proof<'static>>,
    bytes: Vec<u8>,
    pieces: Vec<Kept>,
}

enum Kept {
    Raw(Form, Range<usize>),
    Proof(Proof<'static>),
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;
const HELD_BYTES_MAX: usize = 16 << 20;

impl Sequence {
    /// Bytes of blocks whose turn has not come.
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    pub fn new() -> Self {
        Self {
            blocks: Vec::with_capacity(8),
            current: None,
            waiting: VecDeque::with_capacity(4),
            index: 0,
            held_bytes: 0,
            too_much: false,
        }
    }

    /// More waits than is kept: the answer must break off.
    pub fn is_too_much(&self) -> bool {
        self.too_much
    }

    pub fn open(&mut self, block: u32, choice: u32, kind: Block<'_>, grammar: &impl Strict, out: &mut Vec<u8>) {
        if block as usize != self.blocks.len() || self.blocks.len() >= BLOCKS_MAX {
            return;
        }
        let told = match &kind {
            _ if choice > 0 => Kind::Silent,
            Block::Text | Block::Refusal => Kind::Text,
            Block::Reasoning => Kind::Thought,
            Block::ToolCall { .. } => Kind::Call,
            Block::Media { kind: MediaKind::Image, mime } if grammar.shows(mime.raw()) => Kind::Picture,
            Block::VendorTool { .. } | Block::Media { .. } => Kind::Silent,
        };
        let mut slot = Slot { kind: told, started: false, closed: false, held: None };
        if told == Kind::Silent {
            self.blocks.push(slot);
            return;
        }
        if self.current.is_none() {
            self.current = Some(block);
            if let Block::ToolCall { id, name, proof } = &kind {
                self.call(block, id.raw(), name.raw(), proof.as_ref(), grammar, out);
                slot.started = true;
            }
            if let (Kind::Picture, Block::Media { mime, .. }) = (told, &kind) {
                grammar.start(self.index, Opened::Picture(mime.raw()), out);
                slot.started = true;
            }
            self.blocks.push(slot);
            return;
        }
        let mut held = Held::default();
        match kind {
            Block::ToolCall { id, name, proof } => {
                (held.id, held.name) = (id.raw().to_vec(), name.raw().to_vec());
                held.proof = proof.map(Proof::into_owned);
            }
            Block::Media { mime, .. } => held.name = mime.raw().to_vec(),
            _ => {}
        }
        self.held_bytes += held.id.len() + held.name.len();
        slot.held = Some(Box::new(held));
        self.blocks.push(slot);
        self.waiting.push_back(block);
    }

    pub fn piece(&mut self, block: u32, piece: Piece<'_>, grammar: &impl Strict, out: &mut Vec<u8>) {
        let Some(slot) = self.blocks.get_mut(block as usize) else { return };
        let form = match (slot.kind, &piece) {
            (Kind::Text, Piece::Text(_)) => Form::Text,
            (Kind::Thought, Piece::Text(_)) => Form::Thought,
            (Kind::Call, Piece::Arguments(_) | Piece::ArgumentsObject(_)) => Form::Arguments,
            (Kind::Thought, Piece::Proof(_)) => Form::Signature,
            (Kind::Text, Piece::Citation(_)) => Form::Citation,
            (Kind::Picture, Piece::Data(_)) => Form::Data,
            _ => return,
        };
        if self.current == Some(block) {
            match piece {
                Piece::Text(text) | Piece::Arguments(text) | Piece::Data(text) => {
                    if !text.is_empty() {
                        self.said(block, form, text.raw(), grammar, out);
                    }
                }
                Piece::Proof(proof) => self.proof(block, &proof, grammar, out),
                Piece::ArgumentsObject(object) => {
                    let mut escaped = Vec::with_capacity(object.len() + 16);
                    escape_json(&mut escaped, object);
                    self.said(block, form, &escaped, grammar, out);
                }
                Piece::Citation(citation) => {
                    let mut written = Vec::with_capacity(128);
                    grammar.citation(&citation, &mut written);
                    self.said(block, form, &written, grammar, out);
                }
                Piece::Likely(_) => {}
            }
            return;
        }
        let Some(held) = slot.held.as_mut() else { return };
        let before = held.bytes.len();
        match piece {
            Piece::Text(text) | Piece::Arguments(text) | Piece::Data(text) => held.bytes.extend_from_slice(text.raw()),
            Piece::ArgumentsObject(object) => escape_json(&mut held.bytes, object),
            Piece::Citation(citation) => grammar.citation(&citation, &mut held.bytes),
            Piece::Proof(proof) => {
                self.held_bytes += proof.data.raw().len();
                held.pieces.push(Kept::Proof(proof.into_owned()));
            }
            Piece::Likely(_) => {}
        }
        let end = held.bytes.len();
        self.held_bytes += end - before;
        match held.pieces.last_mut() {
            // Pieces that wait become one.
            Some(Kept::Raw(last, range)) if *last == form && form != Form::Citation => range.end = end,
            _ if end > before => held.pieces.push(Kept::Raw(form, before..end)),
            _ => {}
        }
        self.too_much |= self.held_bytes > HELD_BYTES_MAX;
    }

    pub fn close(&mut self, block: u32, grammar: &impl Strict, out: &mut Vec<u8>) {
        let Some(slot) = self.blocks.get_mut(block as usize) else { return };
        slot.closed = true;
        if self.current == Some(block) {
            self.stop(block, grammar, out);
            self.advance(grammar, out);
        }
    }

    /// Whatever is open or waits is told.
    pub fn end(&mut self, grammar: &impl Strict, out: &mut Vec<u8>) {
        self.blocks.iter_mut().for_each(|slot| slot.closed = true);
        if let Some(block) = self.current {
            self.stop(block, grammar, out);
            self.advance(grammar, out);
        }
    }

    /// The next one that waits, as far as it is known; and on, while they are closed.
    fn advance(&mut self, grammar: &impl Strict, out: &mut Vec<u8>) {
        self.current = None;
        while let Some(block) = self.waiting.pop_front() {
            self.current = Some(block);
            let Some(slot) = self.blocks.get_mut(block as usize) else { return };
            let (kind, closed, held) = (slot.kind, slot.closed, slot.held.take().unwrap_or_default());
            if kind == Kind::Call {
                slot.started = true;
                self.call(block, &held.id, &held.name, held.proof.as_ref(), grammar, out);
            } else if kind == Kind::Picture {
                slot.started = true;
                grammar.start(self.index, Opened::Picture(&held.name), out);
            }
            for kept in &held.pieces {
                match kept {
                    Kept::Raw(form, range) => self.said(block, *form, &held.bytes[range.clone()], grammar, out),
                    Kept::Proof(proof) => self.proof(block, proof, grammar, out),
                }
            }
            let proof_bytes = |kept: &Kept| if let Kept::Proof(proof) = kept { proof.data.raw().len() } else { 0 };
            let gone = held.bytes.len() + held.id.len() + held.name.len();
            let gone = gone + held.pieces.iter().map(proof_bytes).sum::<usize>();
            self.held_bytes = self.held_bytes.saturating_sub(gone);
            if !closed {
                return;
            }
            self.stop(block, grammar, out);
            self.current = None;
        }
    }

    fn call(
        &mut self,
        block: u32,
        id: &[u8],
        name: &[u8],
        proof: Option<&Proof<'_>>,
        grammar: &impl Strict,
        out: &mut Vec<u8>,
    ) {
        // A call has no place for the signature that Google gives it: a block in front of it has.
        if let Some(proof) = proof {
            self.sealed(proof, grammar, out);
        }
        grammar.start(self.index, Opened::Call { block, id, name }, out);
    }

    fn sealed(&mut self, proof: &Proof<'_>, grammar: &impl Strict, out: &mut Vec<u8>) {
        grammar.start(self.index, Opened::Sealed(proof), out);
        grammar.stop(self.index, Kind::Thought, out);
        self.index += 1;
    }

    #[inline]
    fn said(&mut self, block: u32, form: Form, raw: &[u8], grammar: &impl Strict, out: &mut Vec<u8>) {
        let Some(slot) = self.blocks.get_mut(block as usize) else { return };
        if !slot.started {
            slot.started = true;
            let opened = if slot.kind == Kind::Thought { Opened::Thought } else { Opened::Text };
            grammar.start(self.index, opened, out);
        }
        grammar.piece(self.index, form, raw, out);
    }

    fn proof(&mut self, block: u32, proof: &Proof<'_>, grammar: &impl Strict, out: &mut Vec<u8>) {
        let has_text = self.blocks.get(block as usize).is_some_and(|slot| slot.started);
        if grammar.stands_alone(proof, has_text) {
            self.stop(block, grammar, out);
            self.sealed(proof, grammar, out);
            return;
        }
        let mut signature = Vec::with_capacity(proof.data.raw().len() + 24);
        grammar.signature(proof, &mut signature);
        self.said(block, Form::Signature, &signature, grammar, out);
    }

    fn stop(&mut self, block: u32, grammar: &impl Strict, out: &mut Vec<u8>) {
        let Some(slot) = self.blocks.get_mut(block as usize) else { return };
        // A block that said nothing was never begun.
        if std::mem::take(&mut slot.started) {
            grammar.stop(self.index, slot.kind, out);
            self.index += 1;
        }
    }
}
