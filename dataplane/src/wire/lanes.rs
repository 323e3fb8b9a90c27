//! Sixteen bytes at a time: which of them are what a parser stops at, as one bit each, the first byte lowest.
//!
//! On x86-64 these are instructions that every such processor has, so nothing is detected; elsewhere the same in plain Rust,
//! and the test below holds one against the other.
#![allow(unsafe_code)]

pub const LANES: usize = 16;

/// What a JSON string does not simply contain: a quote, a backslash or a control character.
#[inline(always)]
pub fn ends_plain_text(block: &[u8; LANES]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is a part of x86-64 itself, and the function asks for nothing else.
        unsafe { x86::ends_plain_text(block) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        plain::mask(block, plain::ends_plain_text)
    }
}

/// What stands out in a head: its line feeds, its carriage returns, and what may not be in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lines {
    pub feeds: u32,
    pub returns: u32,
    /// Control characters, but for the two above and tabs.
    pub controls: u32,
}

#[inline(always)]
pub fn lines(block: &[u8; LANES]) -> Lines {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is a part of x86-64 itself, and the function asks for nothing else.
        unsafe { x86::lines(block) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        plain::lines(block)
    }
}

/// Colons, and what is neither a letter, a digit nor a dash: the bytes that nearly all names of fields are made of.
#[inline(always)]
pub fn name(block: &[u8; LANES]) -> (u32, u32) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is a part of x86-64 itself, and the function asks for nothing else.
        unsafe { x86::name(block) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        (plain::mask(block, |byte| byte == b':'), plain::mask(block, plain::is_odd_in_name))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
        _mm_sub_epi8,
    };

    use super::{LANES, Lines};

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; LANES]) -> __m128i {
        let word = u128::from_le_bytes(*block);
        _mm_set_epi64x((word >> 64) as i64, word as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn same(block: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn at_most(block: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(byte as i8)), block)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(lanes: __m128i) -> u32 {
        _mm_movemask_epi8(lanes) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn ends_plain_text(block: &[u8; LANES]) -> u32 {
        let block = load(block);
        bits(_mm_or_si128(_mm_or_si128(same(block, b'"'), same(block, b'\\')), at_most(block, 0x1f)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn lines(block: &[u8; LANES]) -> Lines {
        let block = load(block);
        let low = bits(_mm_or_si128(at_most(block, 0x1f), same(block, 0x7f)));
        if low == 0 {
            // Most blocks are the middle of a line.
            return Lines::default();
        }
        let (feeds, returns) = (bits(same(block, b'\n')), bits(same(block, b'\r')));
        Lines { feeds, returns, controls: low & !(feeds | returns | bits(same(block, b'\t'))) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn name(block: &[u8; LANES]) -> (u32, u32) {
        let block = load(block);
        // One bit apart, letters are letters; what else that bit turns into one is `@` and its kin, outside of a to z.
        let folded = _mm_or_si128(block, _mm_set1_epi8(0x20));
        let letter = at_most(_mm_sub_epi8(folded, _mm_set1_epi8(b'a' as i8)), 25);
        let digit = at_most(_mm_sub_epi8(block, _mm_set1_epi8(b'0' as i8)), 9);
        let usual = _mm_or_si128(_mm_or_si128(letter, digit), same(block, b'-'));
        (bits(same(block, b':')), !bits(usual) & 0xffff)
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain {
    use super::{LANES, Lines};

    pub fn mask(block: &[u8; LANES], is: impl Fn(u8) -> bool) -> u32 {
        block.iter().enumerate().fold(0, |mask, (place, &byte)| mask | u32::from(is(byte)) << place)
    }

    pub fn ends_plain_text(byte: u8) -> bool {
        (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    }

    pub fn is_odd_in_name(byte: u8) -> bool {
        !byte.is_ascii_alphanumeric() & (byte != b'-')
    }

    pub fn lines(block: &[u8; LANES]) -> Lines {
        let control = |byte| ((byte < 0x20) & !matches!(byte, b'\r' | b'\n' | b'\t')) | (byte == 0x7f);
        Lines {
            feeds: mask(block, |byte| byte == b'\n'),
            returns: mask(block, |byte| byte == b'\r'),
            controls: mask(block, control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_what_plain_rust_says_of_each_byte() {
        for byte in 0..=255u8 {
            for place in 0..LANES {
                let mut block = *b"a-Z0 other bytes";
                block[place] = byte;
                block[(place + 7) % LANES] = byte.wrapping_add(1);
                assert_eq!(ends_plain_text(&block), plain::mask(&block, plain::ends_plain_text), "{byte}");
                assert_eq!(lines(&block), plain::lines(&block), "{byte}");
                let colons = plain::mask(&block, |byte| byte == b':');
                assert_eq!(name(&block), (colons, plain::mask(&block, plain::is_odd_in_name)), "{byte}");
            }
        }
    }
}
