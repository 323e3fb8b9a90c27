//! No upstream call without a ticket. It holds what the request is expected to use: a place, tokens, and room for its
//! record. Dropped, it gives all of it back.

use weir_shared::policy::limit::Exceeded;
use weir_shared::snapshot::Key;

use crate::clock;
use crate::journal::{Journal, Slot};
use crate::memory::{self, Pressure};
use std::rc::Rc;

/// A place among the key's concurrent requests. It is taken before the body is read, so that a key at its limit has no
/// more bodies collected; dropped, it is given back.
pub struct Place<'l> {
    pub key: &'l Key,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.key.state.get().leave();
    }
}

pub struct Ticket<'l> {
    pub key: &'l Key,
    pub tokens: u64,
    /// Given back when the ticket goes, whichever way. None of a copy of a call: it takes nothing of the key's.
    place: Option<Place<'l>>,
    slot: Option<Slot>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exhausted {
    Limit(Exceeded),
    JournalFull,
    Memory,
}

/// What is reserved for an answer when the caller does not bound it and the model neither.
const ANSWER_TOKENS_GUESS: u64 = 1_024;
/// How many bytes make a token where nobody told the count. It errs towards more tokens for prose in an alphabet, and
/// towards fewer for numbers, for code without spaces, and for scripts of three bytes a letter, whose letters are about a
/// token each.
pub const BYTES_PER_TOKEN: u64 = 4;

/// What a request is expected to use: reserved first, and settled by what was used.
pub fn expected_tokens(body_bytes: usize, tokens_max: Option<u64>, model_max: u64, choices: u64) -> u64 {
    let answer = match (tokens_max, model_max) {
        (Some(asked), 0) => asked,
        (Some(asked), most) => asked.min(most),
        (None, 0) => ANSWER_TOKENS_GUESS,
        (None, most) => most.min(ANSWER_TOKENS_GUESS),
    };
    let prompt = body_bytes as u64 / BYTES_PER_TOKEN + 1;
    prompt.saturating_add(answer.saturating_mul(choices)).min(1 << 40)
}

/// The first half of admission: all that can be judged before the body is there.
pub fn enter(key: &Key) -> Result<Place<'_>, Exhausted> {
    if memory::pressure() >= Pressure::RefuseAll {
        return Err(Exhausted::Memory);
    }
    key.state.get().enter(&key.limits).map_err(Exhausted::Limit)?;
    Ok(Place { key })
}

/// The second half, when it is known what the request may use.
pub fn admit<'l>(
    place: Place<'l>,
    tokens: u64,
    journal: &Rc<Journal>,
    record_bytes: usize,
    stream: bool,
    now: clock::Nanos,
) -> Result<Ticket<'l>, Exhausted> {
    let shed = if stream { Pressure::RefuseStreams } else { Pressure::RefuseAll };
    if memory::pressure() >= shed {
        return Err(Exhausted::Memory);
    }
    let slot = journal.reserve(record_bytes).map_err(|_| Exhausted::JournalFull)?;
    let key = place.key;
    key.state.get().take(&key.limits, tokens, now).map_err(Exhausted::Limit)?;
    Ok(Ticket { key, tokens, place: Some(place), slot: Some(slot) })
}

/// For a copy of a call of this key: room for its record, while there is plenty of everything.
pub fn aside<'l>(
    key: &'l Key,
    tokens: u64,
    journal: &Rc<Journal>,
    record_bytes: usize,
) -> Result<Ticket<'l>, Exhausted> {
    if memory::pressure() > Pressure::None {
        return Err(Exhausted::Memory);
    }
    let slot = journal.reserve(record_bytes).map_err(|_| Exhausted::JournalFull)?;
    Ok(Ticket { key, tokens, place: None, slot: Some(slot) })
}

impl Ticket<'_> {
    /// The request is over and used so many tokens. What is left is the room for its record.
    pub fn settle(mut self, used: u64, now: clock::Nanos) -> Option<Slot> {
        if self.place.is_some() {
            self.key.state.get().used(&self.key.limits, self.tokens, used, now);
        }
        self.slot.take()
    }

    /// No vendor has answered the request.
    pub fn void(mut self, now: clock::Nanos) -> Option<Slot> {
        self.give_back(now);
        self.slot.take()
    }

    fn give_back(&self, now: clock::Nanos) {
        if self.place.is_some() {
            self.key.state.get().void(&self.key.limits, self.tokens, now);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // Settled and voided tickets have given their slot away.
        if self.slot.take().is_some() {
            self.give_back(clock::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_bounded_by_caller_and_model() {
        assert_eq!(expected_tokens(400, Some(50), 0, 1), 151);
        assert_eq!(expected_tokens(400, Some(1 << 63), 4_096, 2), 101 + 8_192);
        assert_eq!(expected_tokens(0, None, 100, 1), 101);
        assert_eq!(expected_tokens(0, Some(u64::MAX), 0, u64::MAX), 1 << 40);
    }
}
