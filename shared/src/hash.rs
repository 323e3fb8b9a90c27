//! A quick hash for tables that only an operator or this program fills. Strangers look names up in them but add none, so
//! nobody can make their entries collide, and the standard hash, which guards against that, is three times the work.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type NameMap<K, V> = HashMap<K, V, BuildHasherDefault<NameHasher>>;

#[derive(Clone, Copy, Default)]
pub struct NameHasher(u64);

impl NameHasher {
    fn mix(&mut self, word: u64) {
        // An odd number without pattern in its bits: each bit of the word reaches the upper half of the product.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.mix(last << 8 | rest.len() as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::Hash;

    #[test]
    fn names_that_are_alike_hash_apart() {
        let hash = |name: &str| {
            let mut hasher = NameHasher::default();
            name.hash(&mut hasher);
            hasher.finish()
        };
        let names: Vec<String> = (0..4_096).map(|n| format!("vendor-{}/model-{}", n / 64, n % 64)).collect();
        let places: HashSet<u64> = names.iter().map(|name| hash(name) & 0xffff).collect();
        let tags: HashSet<u64> = names.iter().map(|name| hash(name) >> 57).collect();
        // 4096 balls in 65536 places: about 3970 places are hit.
        assert!(places.len() > 3_900, "{}", places.len());
        assert_eq!(tags.len(), 128);
        assert_ne!(hash("a"), hash("a\0"));
    }
}
