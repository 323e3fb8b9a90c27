//! A vendor's cache of prompts, as callers feel it in their bill.

use std::collections::HashSet;
use std::sync::Mutex;

use super::payload;
use super::registry::lock;

/// The starts of prompts that are in the cache, by the hashes of their blocks.
#[derive(Default)]
pub struct Prompts(Mutex<HashSet<u64>>);

/// What one block holds, and how many are kept.
const BLOCK_BYTES: usize = 1 << 10;
const BLOCKS_MAX: usize = 1 << 16;

impl Prompts {
    /// How many bytes of this prompt were there before; from now on its whole blocks are.
    pub fn read(&self, prompt: &[u8]) -> usize {
        let mut known = lock(&self.0);
        if known.len() > BLOCKS_MAX {
            known.clear();
        }
        let (mut chain, mut cached, mut is_known) = (0u64, 0, true);
        for block in prompt.chunks_exact(BLOCK_BYTES) {
            chain = chain.rotate_left(7) ^ payload::hash(block);
            is_known &= !known.insert(chain);
            cached += if is_known { BLOCK_BYTES } else { 0 };
        }
        cached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_that_was_there_is_cached() {
        let prompts = Prompts::default();
        let (one, two) = (vec![b'a'; 5_000], [vec![b'a'; 3_000], vec![b'b'; 3_000]].concat());
        assert_eq!(prompts.read(&one), 0);
        assert_eq!(prompts.read(&one), 4 * BLOCK_BYTES);
        assert_eq!(prompts.read(&two), 2 * BLOCK_BYTES);
        assert_eq!(prompts.read(&two), 5 * BLOCK_BYTES);
    }
}
