//! One step of an answer, in no vendor's words, borrowing from the buffer that it arrived in.
//!
//! A legal answer is: `Start`; for each block `Open`, its pieces, `Close`; `Finish` for each choice; with `Usage` anywhere, the
//! last word counting. Or `Failed` at any point, after which nothing follows. A unary answer is the same steps, each block
//! in one piece. Readers say them, writers obey them.

use weir_shared::usage::{Tier, Usage};

use super::call::{MediaKind, Proof};
use super::text::Text;

#[derive(Clone, PartialEq, Debug)]
pub enum Event<'a> {
    /// First of all. What the vendor called the answer; empty when it did not.
    Start {
        id: Text<'a>,
    },
    /// Blocks are numbered by the reader, from 0, in the order in which they open. Several may be open at once.
    Open {
        block: u32,
        choice: u32,
        kind: Block<'a>,
    },
    Piece {
        block: u32,
        piece: Piece<'a>,
    },
    Close {
        block: u32,
    },
    Usage {
        usage: Usage,
        tier: Tier,
    },
    /// The vendor said something about usage that cannot be true: what is delivered is counted instead.
    UsageInvalid,
    Finish {
        choice: u32,
        why: Finish<'a>,
    },
    /// The vendor gave up, in words that still have to be scrubbed.
    Failed {
        message: Text<'a>,
        /// What is wrong is the request, by the vendor's own word for it: nobody else would take it either.
        blames_caller: bool,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub enum Block<'a> {
    Text,
    /// Said instead of an answer.
    Refusal,
    Reasoning,
    /// A call of one of the caller's tools. The id is empty when the vendor gave none.
    ToolCall {
        id: Text<'a>,
        name: Text<'a>,
        proof: Option<Proof<'a>>,
    },
    /// A tool that the vendor runs itself, or its result: never one of the caller's.
    VendorTool {
        name: Text<'a>,
    },
    Media {
        kind: MediaKind,
        mime: Text<'a>,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub enum Piece<'a> {
    /// Of a text, a refusal or a thought.
    Text(Text<'a>),
    /// Of a tool call's arguments, where they come as pieces of a string.
    Arguments(Text<'a>),
    /// A tool call's arguments, whole, where they come as an object.
    ArgumentsObject(&'a [u8]),
    /// Of a thought: its signature, or all of it under seal. Whole, never in pieces.
    Proof(Proof<'a>),
    /// What the text so far rests on.
    Citation(Citation<'a>),
    /// Base64 of an image or a sound.
    Data(Text<'a>),
    /// How likely the tokens of the text were that was said last: a list of OpenAI's objects, one for each token.
    Likely(&'a [u8]),
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Citation<'a> {
    pub url: Option<Text<'a>>,
    pub title: Option<Text<'a>>,
    /// The words that are quoted from the source.
    pub quote: Option<Text<'a>>,
    /// Where in the block's text it belongs, in characters, when the vendor says.
    pub span: Option<(u64, u64)>,
    /// Of a document that the caller gave: its number, or its id.
    pub document: Option<Text<'a>>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Finish<'a> {
    Stop,
    /// One of the caller's stop sequences; which, when the vendor says.
    Sequence(Option<Text<'a>>),
    Length,
    ToolCalls,
    /// The vendor's filter, or the model's own refusal as Anthropic tells it.
    Filtered,
    /// The vendor wants to be asked to go on (Anthropic's `pause_turn`).
    Paused,
    /// A reason that only its vendor knows.
    Other(Text<'a>),
}
