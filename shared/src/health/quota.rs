//! How much more a vendor takes, by its own word in the heads of its answers. Time is an argument.
//!
//! The word is as old as the answer that brought it. Requests that were sent behind the one that was answered are counted
//! here, so that all cores together send no more than is left; what comes back meanwhile comes back steadily, as vendors
//! refill. It is believed for a while only, whatever it says: a vendor that is wrong keeps itself out for no longer.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Quota {
    pub requests: Window,
    pub tokens: Window,
}

/// One thing that a vendor counts.
#[derive(Debug, Default)]
pub struct Window {
    /// How many were ever sent; tokens are counted by the vendor alone.
    sent: AtomicU64,
    /// How many may ever be sent until some come back.
    edge: AtomicU64,
    limit: AtomicU64,
    left: AtomicU64,
    /// Milliseconds; 0: the vendor has said nothing yet.
    learnt_at: AtomicU64,
    /// From then on, until the limit is whole again.
    full_in: AtomicU64,
}

/// What the head of an answer says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Word {
    pub left: u64,
    pub limit: Option<u64>,
    pub full_in_ms: Option<u64>,
}

/// What is left, as far as anybody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    pub limit: u64,
    pub left: u64,
    pub full_in_ms: u64,
}

/// Whether a vendor has room for one more call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    Enough,
    /// It may refuse: by a rough count the call needs more tokens than are left.
    Scarce,
    /// It would surely refuse.
    None {
        retry_in_ms: u64,
    },
}

/// No word is believed for longer, like no `Retry-After`.
const BELIEVED_MS: u64 = 60_000;
/// What is spent comes back after this, when nobody says when.
const UNSAID_MS: u64 = 1_000;

impl Quota {
    /// A call is about to leave; its number is what [`Quota::learn`] wants to know of it.
    pub fn send(&self) -> u64 {
        self.requests.sent.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The call of this number was answered, and the answer's head says this.
    pub fn learn(&self, requests: Option<Word>, tokens: Option<Word>, number: u64, now_ms: u64) {
        requests.into_iter().for_each(|word| self.requests.learn(word, number, now_ms));
        tokens.into_iter().for_each(|word| self.tokens.learn(word, 0, now_ms));
    }

    /// `kept`: so many hundredths of the limits are somebody else's.
    pub fn room(&self, tokens: u64, kept: u8, now_ms: u64) -> Room {
        match (self.requests.wait(1, kept, now_ms), self.tokens.wait(1, kept, now_ms)) {
            (None, None) if self.tokens.wait(tokens, kept, now_ms).is_some() => Room::Scarce,
            (None, None) => Room::Enough,
            (requests, tokens) => Room::None { retry_in_ms: requests.max(tokens).unwrap_or(UNSAID_MS) },
        }
    }
}

impl Window {
    fn learn(&self, word: Word, number: u64, now_ms: u64) {
        let limit = word.limit.unwrap_or(word.left).max(word.left);
        self.edge.store(number.saturating_add(word.left), Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.left.store(word.left, Ordering::Relaxed);
        self.full_in.store(word.full_in_ms.unwrap_or(UNSAID_MS), Ordering::Relaxed);
        self.learnt_at.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// What is left now; `None`: nothing is known, or not any more.
    pub fn read(&self, now_ms: u64) -> Option<Left> {
        let (elapsed, full_in) = self.known(now_ms)?;
        let (limit, spent) = (self.limit.load(Ordering::Relaxed), self.spent());
        let left = self.edge.load(Ordering::Relaxed).saturating_sub(self.sent.load(Ordering::Relaxed));
        let back = u128::from(spent) * u128::from(elapsed) / u128::from(full_in.max(1));
        let left = left.saturating_add(u64::try_from(back).unwrap_or(u64::MAX)).min(limit);
        Some(Left { limit, left, full_in_ms: full_in - elapsed })
    }

    /// How long it takes until so many are left; `None`: they are, as far as anybody knows.
    fn wait(&self, wanted: u64, kept: u8, now_ms: u64) -> Option<u64> {
        let (elapsed, full_in) = self.known(now_ms)?;
        let kept = u128::from(self.limit.load(Ordering::Relaxed)) * u128::from(kept) / 100;
        let wanted = wanted.saturating_add(u64::try_from(kept).unwrap_or(u64::MAX));
        let most = self.edge.load(Ordering::Relaxed).saturating_sub(self.sent.load(Ordering::Relaxed));
        let missing = wanted.saturating_sub(most);
        if missing == 0 {
            return None;
        }
        let forgotten_in = full_in.min(BELIEVED_MS) - elapsed;
        // Where none comes back, the word is believed until it is forgotten.
        let spent = u128::from(self.spent());
        let back_in = (u128::from(missing) * u128::from(full_in)).checked_div(spent).unwrap_or(u128::MAX);
        let back_in = u64::try_from(back_in).unwrap_or(u64::MAX).saturating_sub(elapsed);
        Some(back_in.min(forgotten_in)).filter(|wait| *wait > 0)
    }

    /// What comes back until the limit is whole.
    fn spent(&self) -> u64 {
        self.limit.load(Ordering::Relaxed).saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// How old the word is, and how old it is when the limit is whole again.
    fn known(&self, now_ms: u64) -> Option<(u64, u64)> {
        let learnt_at = self.learnt_at.load(Ordering::Relaxed);
        let elapsed = now_ms.saturating_sub(learnt_at);
        let full_in = self.full_in.load(Ordering::Relaxed);
        (learnt_at != 0 && elapsed < full_in.min(BELIEVED_MS)).then_some((elapsed, full_in))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: Word = Word { left: 0, limit: Some(60), full_in_ms: Some(60_000) };

    fn told(requests: Option<Word>, tokens: Option<Word>) -> Quota {
        let quota = Quota::default();
        let number = quota.send();
        quota.learn(requests, tokens, number, 1_000);
        quota
    }

    #[test]
    fn nothing_is_known_before_a_word_and_after_it_is_old() {
        assert_eq!(Quota::default().room(1_000_000, 0, 5), Room::Enough);
        let quota = told(Some(WORD), None);
        assert_eq!(quota.room(1, 0, 1_000), Room::None { retry_in_ms: 1_000 });
        assert_eq!(quota.room(1, 0, 61_000), Room::Enough);
        assert_eq!(quota.requests.read(61_000), None);
    }

    #[test]
    fn what_is_sent_behind_the_answered_call_is_counted() {
        let quota = Quota::default();
        let first = quota.send();
        let others: Vec<u64> = (0..4).map(|_| quota.send()).collect();
        quota.learn(Some(Word { left: 6, ..WORD }), None, first, 1_000);
        assert_eq!(quota.requests.read(1_000), Some(Left { limit: 60, left: 2, full_in_ms: 60_000 }));
        // Answers that overtake each other say the same.
        quota.learn(Some(Word { left: 3, ..WORD }), None, others[2], 1_000);
        quota.learn(Some(Word { left: 4, ..WORD }), None, others[1], 1_000);
        assert_eq!(quota.requests.read(1_000).map(|left| left.left), Some(2));
        quota.send();
        quota.send();
        assert!(matches!(quota.room(1, 0, 1_000), Room::None { .. }));
    }

    #[test]
    fn what_is_spent_comes_back_steadily() {
        let quota = told(Some(WORD), None);
        assert_eq!(quota.room(1, 0, 1_999), Room::None { retry_in_ms: 1 });
        assert_eq!(quota.room(1, 0, 2_000), Room::Enough);
        assert_eq!(quota.requests.read(11_000).map(|left| left.left), Some(10));
    }

    #[test]
    fn tokens_that_may_not_do_are_scarce_and_none_at_all_are_none() {
        let quota = told(None, Some(Word { left: 100, limit: Some(1_000), full_in_ms: Some(6_000) }));
        assert_eq!(quota.room(100, 0, 1_000), Room::Enough);
        assert_eq!(quota.room(101, 0, 1_000), Room::Scarce);
        assert_eq!(quota.room(400, 0, 3_001), Room::Enough);
        let quota = told(None, Some(Word { left: 0, limit: Some(1_000), full_in_ms: Some(6_000) }));
        assert_eq!(quota.room(1, 0, 1_000), Room::None { retry_in_ms: 6 });
    }

    #[test]
    fn what_is_kept_for_others_is_not_there() {
        let quota = told(Some(Word { left: 31, limit: Some(100), full_in_ms: Some(60_000) }), None);
        assert_eq!(quota.room(1, 30, 1_000), Room::Enough);
        quota.send();
        assert!(matches!(quota.room(1, 30, 1_000), Room::None { .. }));
        assert_eq!(quota.room(1, 0, 1_000), Room::Enough);
    }

    #[test]
    fn absurd_words_hold_for_a_minute_at_most() {
        for word in [
            Word { left: 0, limit: Some(0), full_in_ms: Some(u64::MAX) },
            Word { left: 0, limit: Some(u64::MAX), full_in_ms: Some(u64::MAX) },
            Word { left: 0, limit: None, full_in_ms: None },
            Word { left: u64::MAX, limit: Some(1), full_in_ms: Some(0) },
            Word { left: u64::MAX, limit: Some(u64::MAX), full_in_ms: Some(u64::MAX) },
        ] {
            let quota = told(Some(word), Some(word));
            for now in [0, 1_000, 1_001, 30_000, u64::MAX] {
                if let Room::None { retry_in_ms } = quota.room(u64::MAX, 0, now) {
                    assert!(retry_in_ms <= BELIEVED_MS, "{word:?}");
                }
                quota.requests.read(now);
            }
            assert_eq!(quota.room(u64::MAX, 0, 1_000 + BELIEVED_MS), Room::Enough, "{word:?}");
        }
        let unsaid = told(Some(Word { left: 0, limit: None, full_in_ms: None }), None);
        assert_eq!(unsaid.room(1, 0, 1_000), Room::None { retry_in_ms: UNSAID_MS });
    }

    #[test]
    fn cores_together_send_what_is_left() {
        let quota = told(Some(Word { left: 1_000, limit: Some(1_000), full_in_ms: Some(60_000) }), None);
        let sent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while quota.room(1, 0, 1_000) == Room::Enough {
                        quota.send();
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        // Who looks at once with another may send at once with it.
        assert!((1_000..=1_003).contains(&sent.into_inner()));
    }
}
