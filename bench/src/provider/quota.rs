//! A vendor's limit of requests for each credential: a bucket that refills steadily, and what it says of itself.

use std::collections::HashMap;
use std::sync::Mutex;

use super::encode;
use super::registry::lock;
use super::route::Dialect;
use super::scenario::Quota;
use crate::clock;

/// When each credential's bucket is full again, nanoseconds.
#[derive(Default)]
pub struct Buckets(Mutex<HashMap<u64, u64>>);

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub refused: bool,
    pub limit: u64,
    pub left: u64,
    pub full_in_ms: u64,
}

impl Buckets {
    pub fn take(&self, quota: Quota, credential: u64, now_ns: u64) -> Counted {
        let unit_ns = quota.window_ms * 1_000_000 / quota.requests;
        let full_ns = unit_ns * quota.requests;
        let mut buckets = lock(&self.0);
        let full_at = buckets.entry(credential).or_default();
        let wanted = (*full_at).max(now_ns) + unit_ns;
        let refused = wanted - now_ns > full_ns;
        if !refused {
            *full_at = wanted;
        }
        let full_in_ns = full_at.saturating_sub(now_ns);
        let left = (full_ns - full_in_ns) / unit_ns;
        Counted { refused, limit: quota.requests, left, full_in_ms: full_in_ns.div_ceil(1_000_000) }
    }
}

impl Counted {
    /// In the words of a dialect; the others tell nothing of the kind.
    pub fn headers(&self, dialect: Dialect) -> String {
        let Self { limit, left, full_in_ms, .. } = self;
        match dialect {
            Dialect::Anthropic => {
                // Whole seconds, as the real one says it: the later one.
                let full_at = encode::rfc3339((clock::unix_ms() + full_in_ms).div_ceil(1_000));
                format!(
                    "anthropic-ratelimit-requests-limit: {limit}\r\nanthropic-ratelimit-requests-remaining: {left}\r\n\
                     anthropic-ratelimit-requests-reset: {full_at}\r\n"
                )
            }
            Dialect::OpenAi => format!(
                "x-ratelimit-limit-requests: {limit}\r\nx-ratelimit-remaining-requests: {left}\r\n\
                 x-ratelimit-reset-requests: {}.{:03}s\r\n",
                full_in_ms / 1_000,
                full_in_ms % 1_000
            ),
            Dialect::Gemini | Dialect::Cohere | Dialect::Bedrock => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_limit_and_refills() {
        let (buckets, quota) = (Buckets::default(), Quota { requests: 2, window_ms: 1_000 });
        let take = |credential, ms: u64| {
            let counted = buckets.take(quota, credential, ms * 1_000_000);
            (counted.refused, counted.left, counted.full_in_ms)
        };
        assert_eq!(take(1, 10_000), (false, 1, 500));
        assert_eq!(take(1, 10_000), (false, 0, 1_000));
        assert_eq!(take(1, 10_100), (true, 0, 900));
        assert_eq!(take(2, 10_100), (false, 1, 500));
        assert_eq!(take(1, 10_500), (false, 0, 1_000));
    }
}
