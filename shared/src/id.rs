//! Names of things: content digests, request ids.

use std::fmt;

/// BLAKE3 of a stored value: its name in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub fn parse(hex: &str) -> Option<Self> {
        let mut out = [0; 32];
        decode_hex(hex.as_bytes(), &mut out).then_some(Self(out))
    }

    /// A manifest holds hundreds of them, and every revision reads and writes some manifests.
    fn hex<'t>(&self, text: &'t mut [u8; 64]) -> &'t str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 64]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex(&mut [0; 64]))
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;

        impl serde::de::Visitor<'_> for Hex {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest of 64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                Digest::parse(text).ok_or_else(|| E::custom("a digest is 64 hexadecimal digits"))
            }
        }

        deserializer.deserialize_str(Hex)
    }
}

/// The gateway's own name for a request: wall clock, node, core and sequence, so that it is unique without asking anyone
/// and sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RequestId(pub u128);

impl RequestId {
    /// `millis` keeps 48 bits (until the year 10 889), the node 24, the core 8, the sequence 48.
    pub fn new(millis: u64, node: u32, core: u8, sequence: u64) -> Self {
        let millis = u128::from(millis & 0xffff_ffff_ffff) << 80;
        let node = u128::from(node & 0x00ff_ffff) << 56;
        Self(millis | node | u128::from(core) << 48 | u128::from(sequence & 0xffff_ffff_ffff))
    }

    pub const TEXT_BYTES: usize = 36;

    /// `req_` and 32 hexadecimal digits.
    pub fn text(self) -> [u8; Self::TEXT_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = *b"req_00000000000000000000000000000000";
        for (place, digit) in out[4..].iter_mut().enumerate() {
            *digit = DIGITS[(self.0 >> (124 - 4 * place)) as usize & 15];
        }
        out
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:032x}", self.0)
    }
}

/// Everything but letters, digits and `-_.~`, as `%XX`: one part of a path, a value of a query or of a form.
pub fn percent_encode(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Decodes exactly `out.len()` bytes; false when the text is anything else.
pub fn decode_hex(text: &[u8], out: &mut [u8]) -> bool {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    text.len() == out.len() * 2
        && text.chunks_exact(2).zip(out).all(|(pair, byte)| match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(b"weir");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("abc"), None);
        assert_eq!(Digest::parse(&"g".repeat(64)), None);
    }

    #[test]
    fn request_ids_sort_by_time_and_print_alike() {
        let early = RequestId::new(1_000, 7, 3, 9);
        let late = RequestId::new(1_001, 0, 0, 0);
        assert!(early < late);
        assert_eq!(early.to_string().as_bytes(), early.text());
    }
}
