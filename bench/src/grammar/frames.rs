//! AWS event streams: every length fits, both checksums are right, the fields of the head are known types and say what the
//! frame is.

use super::{Rule, Wrong, wrong};

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What one frame says.
pub struct Frame<'a> {
    /// The type of an event or of an exception; the code of an error.
    pub name: &'a str,
    pub payload: &'a str,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn next(&mut self) -> Result<Option<Frame<'a>>, Wrong> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.len() < PRELUDE_BYTES {
            return wrong(Rule::Framing, format!("{} bytes are no frame", rest.len()));
        }
        let (total, head) = (number(&rest[..4]) as usize, number(&rest[4..8]) as usize);
        if number(&rest[8..12]) != checksum(&rest[..8]) {
            return wrong(Rule::Framing, "the checksum of the lengths is wrong");
        }
        if total < PRELUDE_BYTES + head + 4 || total > FRAME_BYTES_MAX {
            return wrong(Rule::Framing, format!("a frame of {total} bytes with a head of {head}"));
        }
        if rest.len() < total {
            return wrong(Rule::Framing, format!("a frame of {total} bytes ends after {}", rest.len()));
        }
        if number(&rest[total - 4..total]) != checksum(&rest[..total - 4]) {
            return wrong(Rule::Framing, "the checksum of a frame is wrong");
        }
        let fields = fields(&rest[PRELUDE_BYTES..PRELUDE_BYTES + head])?;
        let payload = match std::str::from_utf8(&rest[PRELUDE_BYTES + head..total - 4]) {
            Ok(payload) => payload,
            Err(error) => return wrong(Rule::Utf8, error.to_string()),
        };
        let field = |name: &str| match fields.iter().find(|(known, _)| *known == name) {
            Some((_, Some(text))) => Ok(*text),
            _ => wrong(Rule::Framing, format!("a frame without `{name}`")),
        };
        let frame = match field(":message-type")? {
            "event" => Frame { name: field(":event-type")?, payload },
            "exception" => Frame { name: field(":exception-type")?, payload },
            "error" => Frame { name: "error", payload: field(":error-message")? },
            other => return wrong(Rule::Framing, format!("unknown `:message-type` {other}")),
        };
        if frame.name != "error" && field(":content-type")? != "application/json" {
            return wrong(Rule::Framing, "a payload that is not application/json");
        }
        self.at += total;
        Ok(Some(frame))
    }
}

/// Names and those values that are texts.
fn fields(head: &[u8]) -> Result<Vec<(&str, Option<&str>)>, Wrong> {
    let cut = || (Rule::Framing, "a head that is cut".to_owned());
    let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|error| (Rule::Utf8, error.to_string()));
    let mut fields: Vec<(&str, Option<&str>)> = Vec::new();
    let mut rest = head;
    while let Some((length, behind)) = rest.split_first() {
        let (name, behind) = behind.split_at_checked(usize::from(*length)).ok_or_else(cut)?;
        let (kind, behind) = behind.split_first().ok_or_else(cut)?;
        let (size, behind) = match kind {
            0 | 1 => (0, behind),
            2 => (1, behind),
            3 => (2, behind),
            4 => (4, behind),
            5 | 8 => (8, behind),
            6 | 7 => {
                let (size, behind) = behind.split_at_checked(2).ok_or_else(cut)?;
                (usize::from(size[0]) << 8 | usize::from(size[1]), behind)
            }
            9 => (16, behind),
            other => return wrong(Rule::Framing, format!("unknown type {other} of a field")),
        };
        let (value, behind) = behind.split_at_checked(size).ok_or_else(cut)?;
        let name = utf8(name)?;
        if name.is_empty() || fields.iter().any(|(known, _)| *known == name) {
            return wrong(Rule::Framing, format!("the field `{name}` twice, or without a name"));
        }
        fields.push((name, if *kind == 7 { Some(utf8(value)?) } else { None }));
        rest = behind;
    }
    Ok(fields)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// CRC-32, four bits at a time.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = [
        0x0000_0000,
        0x1db7_1064,
        0x3b6e_20c8,
        0x26d9_30ac,
        0x76dc_4190,
        0x6b6b_51f4,
        0x4db2_6158,
        0x5005_713c,
        0xedb8_8320,
        0xf00f_9344,
        0xd6d6_a3e8,
        0xcb61_b38c,
        0x9b64_c2b0,
        0x86d3_d2d4,
        0xa00a_e278,
        0xbdbd_f21c,
    ];
    !bytes.iter().fold(!0, |mut sum: u32, byte| {
        sum = TABLE[((sum ^ u32::from(*byte)) & 15) as usize] ^ sum >> 4;
        TABLE[((sum ^ u32::from(*byte >> 4)) & 15) as usize] ^ sum >> 4
    })
}

const PRELUDE_BYTES: usize = 12;
/// What clients allow at most.
const FRAME_BYTES_MAX: usize = 24 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        // `:message-type` event, `:event-type` x, `:content-type` application/json, and {}.
        let mut head = Vec::new();
        for (name, value) in [(":message-type", "event"), (":event-type", "x"), (":content-type", "application/json")] {
            head.push(name.len() as u8);
            head.extend(name.as_bytes());
            head.extend([7, 0, value.len() as u8]);
            head.extend(value.as_bytes());
        }
        let mut frame = ((head.len() + 18) as u32).to_be_bytes().to_vec();
        frame.extend((head.len() as u32).to_be_bytes());
        frame.extend(checksum(&frame).to_be_bytes());
        frame.extend(&head);
        frame.extend(b"{}");
        frame.extend(checksum(&frame).to_be_bytes());
        let read = |bytes: &[u8]| {
            Reader::new(bytes).next().map(|frame| frame.map(|f| (f.name.to_owned(), f.payload.to_owned())))
        };
        assert_eq!(read(&frame).unwrap(), Some(("x".to_owned(), "{}".to_owned())));
        for cut in 1..frame.len() {
            assert!(read(&frame[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 4;
            assert!(read(&bad).is_err(), "flipped at {at}");
        }
    }
}
