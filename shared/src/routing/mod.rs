//! Where a call goes, as a pure function of a snapshot, what the call is like, and how its candidates are doing.
//!
//! The data plane feeds it health and obeys it; `weirctl explain` and `weirctl plan` run it again from what a record
//! holds. So nothing here asks for time or chance: the dice are in the [`Shape`], health is a [`Vital`] for each candidate.

mod compile;
mod eligible;
mod rank;
mod way;

#[cfg(test)]
mod million_tests;
#[cfg(test)]
mod tests;

pub use compile::{compile, require};
pub use eligible::{Eligible, Unfit, breaks, mirrored};
pub use rank::{Candidate, Ranked, Seen, Unseen, Witness, likely_cost, rank};
pub use way::{Asker, Way, conditions, holds, sticky_hash};

use crate::policy::routing::{CANDIDATES_MAX, STICKY_MAX};

/// What a call wants of whoever answers it, one bit each.
pub mod need {
    pub const IMAGES: u16 = 1;
    pub const AUDIO: u16 = 2;
    pub const FILES: u16 = 4;
    pub const TOOLS: u16 = 8;
    pub const SCHEMA: u16 = 16;
    pub const REASONING: u16 = 32;
    /// What a model must be able to do; the rest only decides conditions.
    pub const CAPABILITIES: u16 = IMAGES | AUDIO | FILES | TOOLS | SCHEMA | PREFILL;
    pub const STREAM: u16 = 64;
    /// Goes on with an answer that was begun for it. No call asks for this; a route may.
    pub const PREFILL: u16 = 128;
    pub const NAMES: &[(u16, &str)] = &[
        (IMAGES, "images"),
        (AUDIO, "audio"),
        (FILES, "files"),
        (TOOLS, "tools"),
        (SCHEMA, "schema"),
        (REASONING, "reasoning"),
        (STREAM, "stream"),
        (PREFILL, "prefill"),
    ];

    pub fn parse(name: &str) -> Option<u16> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(bit, _)| *bit)
    }
}

/// All that a choice depends on beside the snapshot and health. It stands in the record; nothing of a prompt is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    pub seed: u64,
    pub needs: u16,
    pub prompt_tokens: u32,
    pub answer_tokens: u32,
    /// Those of the route's conditions that are true.
    pub conditions: u64,
    /// What the route's branches stick to, hashed.
    pub sticky: [u64; STICKY_MAX],
    /// The candidates whose language this call can be told in.
    pub reach: u16,
    /// Seconds since 1970: what an operator did by hand ends by itself.
    pub now_s: u32,
}

/// How a candidate is, as far as the next call is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Grade {
    #[default]
    Passing,
    /// Its breaker lets one call find out whether it is well, and this may be the one.
    Probe,
    /// It is coming back, and this call is not among those that it takes.
    HeldBack,
    Tripped,
    /// The vendor has had enough of it for now.
    Cooling,
    /// Its credentials are at their limits.
    Full,
    /// An operator took it out of traffic.
    Drained,
    /// No credential of it can be used on this node.
    Barred,
    /// By the vendor's own word, its credentials have nothing left for this call.
    Spent,
}

impl Grade {
    pub const ALL: &[Self] = &[
        Self::Passing,
        Self::Probe,
        Self::HeldBack,
        Self::Tripped,
        Self::Cooling,
        Self::Full,
        Self::Drained,
        Self::Barred,
        Self::Spent,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Probe => "probing",
            Self::HeldBack => "held back",
            Self::Tripped => "tripped",
            Self::Cooling => "cooling",
            Self::Full => "at its limits",
            Self::Drained => "drained",
            Self::Barred => "without credential",
            Self::Spent => "at its vendor's limits",
        }
    }

    /// How far it is from taking calls, for comparing credentials. Records hold grades by number, so newer ones stand last.
    pub fn distance(self) -> u8 {
        match self {
            Self::Spent => 2 * Self::Full as u8 + 1,
            other => 2 * other as u8,
        }
    }

    pub fn takes_calls(self) -> bool {
        matches!(self, Self::Passing | Self::Probe)
    }
}

/// Health of one candidate, coarse enough for a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vital {
    pub grade: Grade,
    /// Time to the first event, in the steps of [`crate::health::Pace::quantised`]; 0 when it is not known.
    pub pace: u8,
    /// Calls under way.
    pub busy: u8,
}

/// One for each candidate of a [`Way`], at the same place.
pub type Vitals = [Vital; CANDIDATES_MAX];

/// Dice of their own for everything that is decided by chance within one call.
pub fn dice(seed: u64, what: u64) -> u64 {
    let mut word = seed ^ what.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
