//! AWS event streams: a length, a checksum of it, header fields, a payload, a checksum of all. Written from the format's
//! description, and shared with nobody: the gateway reads them with its own code, the grammar with a third one.

use super::encode::crc32;

/// A field of a frame's head. Real vendors send texts only; the format knows more, and a reader has to walk over them.
pub enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Number(i32),
    Moment(i64),
    Bytes(&'a [u8]),
}

/// One frame, whole and right.
pub fn frame(fields: &[(&str, Value<'_>)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(128);
    for (name, value) in fields {
        head.push(name.len() as u8);
        head.extend(name.as_bytes());
        match value {
            Value::Flag(true) => head.push(0),
            Value::Flag(false) => head.push(1),
            Value::Number(number) => {
                head.push(4);
                head.extend(number.to_be_bytes());
            }
            Value::Bytes(bytes) => {
                head.push(6);
                head.extend((bytes.len() as u16).to_be_bytes());
                head.extend(*bytes);
            }
            Value::Text(text) => {
                head.push(7);
                head.extend((text.len() as u16).to_be_bytes());
                head.extend(text.as_bytes());
            }
            Value::Moment(ms) => {
                head.push(8);
                head.extend(ms.to_be_bytes());
            }
        }
    }
    let mut bytes = prelude(head.len() + payload.len() + OVERHEAD, head.len());
    bytes.extend(head);
    bytes.extend(payload);
    let sum = crc32(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// The beginning of a frame of this size, which need not follow.
pub fn prelude(total: usize, head: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(total.min(1 << 20));
    bytes.extend((total as u32).to_be_bytes());
    bytes.extend((head as u32).to_be_bytes());
    let sum = crc32(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// Two lengths and two checksums.
const OVERHEAD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that were computed by hand from the description of the format.
    #[test]
    fn a_frame_is_what_the_format_says() {
        let empty = frame(&[], b"");
        assert_eq!(empty, [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
        let one = frame(&[(":t", Value::Text("ab"))], b"{}");
        assert_eq!(one.len(), 16 + 3 + 1 + 2 + 2 + 2);
        assert_eq!(&one[12..22], b"\x02:t\x07\x00\x02ab{}");
    }
}
