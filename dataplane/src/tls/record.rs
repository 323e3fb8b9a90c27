//! How records lie in a buffer. Only lengths are read here; everything else about a record is rustls's business.

/// The end of the last whole record in `cipher`, when looking from `start`, where a record begins.
///
/// A record that announces more than [`RECORD_BYTES_MAX`] gets a length that rustls refuses on sight. rustls itself
/// would let it grow to 18 437 bytes, past every buffer of ours, before it refused it; and an alert can only come
/// from rustls.
pub(super) fn whole_until(cipher: &mut [u8], start: usize) -> usize {
    let mut end = start;
    while let Some(len) = announced_len(&cipher[end..]) {
        if len > RECORD_BYTES_MAX {
            cipher[end + 3..end + HEADER_BYTES].copy_from_slice(&[0xff, 0xff]);
            break;
        }
        if len > cipher.len() - end {
            break;
        }
        end += len;
    }
    end
}

/// How many bytes the record at the front of `cipher` still misses; 0 when `cipher` is empty.
/// Before the header is whole nobody knows the length, and this is what the header misses.
pub(super) fn missing(cipher: &[u8]) -> usize {
    match announced_len(cipher) {
        Some(len) => len.saturating_sub(cipher.len()),
        None if cipher.is_empty() => 0,
        None => HEADER_BYTES - cipher.len(),
    }
}

/// Room that the ciphertext of `plain` bytes never exceeds, when they are sealed in one go.
pub const fn sealed_len_max(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD_PLAIN_MAX) * OVERHEAD_BYTES_MAX
}

fn announced_len(cipher: &[u8]) -> Option<usize> {
    match cipher {
        [_, _, _, high, low, ..] => Some(HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// Plaintext in one record (RFC 8446, 5.1).
pub const RECORD_PLAIN_MAX: usize = 1 << 14;

/// A whole record on the wire: header, plaintext, and 256 bytes for type, padding and tag (RFC 8446, 5.2). The suites
/// that we speak in TLS 1.2 add 24 at most, so what that version allows beyond is never needed.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + RECORD_PLAIN_MAX + 256;

/// Whole records of one handshake message that a client holds until the message is complete, with the record that is
/// arriving. rustls takes messages of 64 KiB: four full records and what is left over. A server's callers send a
/// ClientHello of one or two KiB, so a server takes [`RECORD_BYTES_MAX`] and strangers never make it grow a buffer.
pub const HANDSHAKE_BYTES_MAX: usize = 5 * RECORD_BYTES_MAX;

const HEADER_BYTES: usize = 5;

/// Header, explicit nonce (TLS 1.2 AES-GCM), inner type (TLS 1.3), tag.
const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + 8 + 1 + 16;

const _: () = assert!(RECORD_BYTES_MAX == 16_645);
const _: () = assert!(sealed_len_max(RECORD_PLAIN_MAX) <= RECORD_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_records_end_where_the_last_one_does() {
        let mut two_and_a_half = [0x17, 3, 3, 0, 1, 9, 0x17, 3, 3, 0, 2, 9, 9, 0x17, 3, 3, 0, 4, 9];
        assert_eq!(whole_until(&mut two_and_a_half, 0), 13);
        assert_eq!(whole_until(&mut two_and_a_half, 6), 13);
        assert_eq!(missing(&two_and_a_half[13..]), 3);
        assert_eq!(missing(&two_and_a_half[..3]), 2);
        assert_eq!(missing(&[]), 0);
    }

    #[test]
    fn an_oversized_record_is_marked() {
        let mut largest = [0x17, 3, 3, 0x41, 0x00];
        assert_eq!(whole_until(&mut largest, 0), 0);
        assert_eq!(missing(&largest), RECORD_BYTES_MAX - HEADER_BYTES);

        let mut larger = [0x17, 3, 3, 0x41, 0x01];
        assert_eq!(whole_until(&mut larger, 0), 0);
        assert_eq!(larger[3..], [0xff, 0xff]);
    }
}
