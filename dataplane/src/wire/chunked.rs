//! The chunked transfer coding: decoding in place, strictly, and the few bytes that encoding takes.

use weir_shared::policy::size::HEAD_BYTES_MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadChunk {
    Size,
    /// What follows a chunk's data is not CRLF, or a line ends in something else.
    LineEnd,
    TooLarge,
    Trailer,
}

/// Takes the framing out of bytes as they come; they may be cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Of the line that is being read: extensions and trailers are bounded, then dropped.
    line_bytes: usize,
    trailer_bytes: usize,
    /// Payload that the last call found before it failed.
    good: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    SizeStart,
    Size(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// The payload now stands in the first so many bytes.
    pub payload: usize,
    /// So many bytes were taken; what is behind them does not belong to this body.
    pub consumed: usize,
    pub done: bool,
}

/// Chunks of up to 256 MiB, with the byte behind.
const USUAL_DIGITS_MAX: usize = 8;
/// Longer than any size that we accept, with its leading zeros.
const SIZE_DIGITS_MAX: usize = 16;
/// Nobody uses extensions; a short one is passed over.
const EXTENSION_BYTES_MAX: usize = 256;

impl Decoder {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// After a failure: so many bytes at the front are payload all the same.
    pub fn good(&self) -> usize {
        self.good
    }

    /// Moves the payload within `bytes` to their front.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, BadChunk> {
        let (mut read, mut write) = (0, 0);
        while read < bytes.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let run = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - read);
                if write != read {
                    bytes.copy_within(read..read + run, write);
                }
                (read, write) = (read + run, write + run);
                let left = left - run as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            if let Some((size, line_bytes)) = self.next_chunk(&bytes[read..]) {
                read += line_bytes;
                self.state = State::Data(size);
                continue;
            }
            match self.step(bytes[read]) {
                Ok(state) => self.state = state,
                Err(bad) => {
                    self.good = write;
                    return Err(bad);
                }
            }
            read += 1;
        }
        Ok(Decoded { payload: write, consumed: read, done: self.is_done() })
    }

    /// The usual way from one chunk's data to the next one's, when all of it is there: the line end, a short size and its line
    /// end. Whatever else stands there is for `step`, which takes the same from it.
    fn next_chunk(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        let (line, before) = match self.state {
            State::SizeStart => (bytes, 0),
            State::DataCr => (bytes.strip_prefix(b"\r\n")?, 2),
            _ => return None,
        };
        let mut size = 0;
        for (place, &byte) in line.iter().take(USUAL_DIGITS_MAX).enumerate() {
            let Some(digit) = hex(byte) else {
                let ends = place > 0 && size > 0 && line[place..].starts_with(b"\r\n");
                return ends.then_some((size, before + place + 2));
            };
            size = size << 4 | digit;
        }
        None
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        let next = match (self.state, byte) {
            (State::SizeStart, _) => {
                self.line_bytes = 1;
                State::Size(hex(byte).ok_or(BadChunk::Size)?)
            }
            (State::Size(size), b'\r') => State::SizeLf(size),
            (State::Size(size), b';') => {
                self.line_bytes = 0;
                State::Extension(size)
            }
            (State::Size(size), _) => {
                self.line_bytes += 1;
                let digit = hex(byte).ok_or(BadChunk::Size)?;
                if self.line_bytes > SIZE_DIGITS_MAX || size >> 52 != 0 {
                    return Err(BadChunk::TooLarge);
                }
                State::Size(size << 4 | digit)
            }
            (State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Extension(size), _) => {
                self.line_bytes += 1;
                match byte {
                    _ if self.line_bytes > EXTENSION_BYTES_MAX => return Err(BadChunk::TooLarge),
                    b'\t' | 0x20..=0x7e | 0x80.. => State::Extension(size),
                    _ => return Err(BadChunk::LineEnd),
                }
            }
            (State::SizeLf(0), b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::Trailer, _) => {
                self.trailer_bytes += 1;
                match byte {
                    _ if self.trailer_bytes > HEAD_BYTES_MAX => return Err(BadChunk::TooLarge),
                    b'\r' => State::TrailerLf,
                    b'\t' | 0x20..=0x7e | 0x80.. => State::Trailer,
                    _ => return Err(BadChunk::Trailer),
                }
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(BadChunk::LineEnd),
        };
        Ok(next)
    }
}

fn hex(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a' + 10)),
        b'A'..=b'F' => Some(u64::from(byte - b'A' + 10)),
        _ => None,
    }
}

/// Room that a chunk's first line takes: eight digits and CRLF.
pub const HEAD_ROOM: usize = 10;
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Writes the size of a chunk right before its data, which starts at `data_at`; returns where the chunk now starts.
pub fn write_size(buffer: &mut [u8], data_at: usize, size: usize) -> usize {
    debug_assert!(data_at >= HEAD_ROOM && size >> 32 == 0 && size > 0);
    let mut at = data_at - 2;
    buffer[at..data_at].copy_from_slice(b"\r\n");
    let mut left = size;
    while left > 0 {
        at -= 1;
        buffer[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    at
}

/// One whole chunk behind what is there.
pub fn append(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let mut head = [0; HEAD_ROOM];
    let start = write_size(&mut head, HEAD_ROOM, data.len());
    out.extend_from_slice(&head[start..]);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut decoder = Decoder::default();
        let (mut out, mut total, mut from) = (Vec::new(), 0, 0);
        for &to in cuts.iter().chain([&bytes.len()]) {
            let mut piece = bytes[from..to].to_vec();
            let decoded = decoder.decode(&mut piece)?;
            out.extend_from_slice(&piece[..decoded.payload]);
            total += decoded.consumed;
            from = to;
        }
        Ok((out, total, decoder.is_done()))
    }

    #[test]
    fn chunks_come_apart_wherever_they_are_cut() {
        let text = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX: y\r\n\r\nNEXT";
        let whole = decode_in_pieces(text, &[]).unwrap();
        assert_eq!(whole, (b"hello world".to_vec(), text.len() - 4, true));
        for a in 0..text.len() {
            for b in a..text.len() {
                assert_eq!(decode_in_pieces(text, &[a, b]).unwrap(), whole, "{a} {b}");
            }
        }
    }

    /// What is read a chunk at a time is what is read a byte at a time, good or bad.
    #[test]
    fn the_short_way_is_the_long_way() {
        let seed = b"5\r\nhello\r\n0010\r\n0123456789abcdef\r\nA;x\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n";
        let mut state = 0x9e37_79b9_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut text = seed.to_vec();
            for _ in 0..next(3) {
                let place = next(text.len());
                match next(3) {
                    0 => drop(text.remove(place)),
                    1 => text.insert(place, b"\r\n0fF;g "[next(8)]),
                    _ => text[place] = b"\r\n01aZ;\0"[next(8)],
                }
            }
            let (mut short, mut long) = (Decoder::default(), Decoder::default());
            let mut whole = text.clone();
            let at_once = short.decode(&mut whole);
            let mut out = Vec::new();
            let by_byte = text.iter().find_map(|byte| {
                let mut piece = [*byte];
                match long.decode(&mut piece) {
                    Ok(decoded) => {
                        out.extend_from_slice(&piece[..decoded.payload]);
                        None
                    }
                    Err(bad) => Some(bad),
                }
            });
            assert_eq!(at_once.err(), by_byte, "{:?}", String::from_utf8_lossy(&text));
            let good = at_once.map_or(short.good(), |decoded| decoded.payload);
            assert_eq!((&whole[..good], short.is_done()), (&out[..], long.is_done()));
        }
    }

    #[test]
    fn odd_chunks_are_refused() {
        for bad in [
            &b"0x5\r\nhello\r\n"[..],
            b"+5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5_0\r\n",
            b"\r\n",
            b"g\r\n",
            b"5\nhello\r\n",
            b"5\r\nhello\n",
            b"5\r\nhelloX",
            b"5\r\nhello\r\r",
            b"5;a\nhello",
            b"10000000000000000\r\n",
            b"ffffffffffffffff\r\n",
            b"0\r\nX: y\nZ",
            b"0\r\n\n",
            b"-1\r\n",
            b"5;\0\r\n",
        ] {
            assert!(decode_in_pieces(bad, &[]).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(decode_in_pieces(&[b"5;".as_slice(), &[b'a'; 5_000]].concat(), &[]).is_err());
        assert!(decode_in_pieces(&[b"0\r\n".as_slice(), &[b'a'; 70_000]].concat(), &[]).is_err());
        assert!(!decode_in_pieces(b"5\r\nhel", &[]).unwrap().2);
    }

    #[test]
    fn what_is_encoded_decodes() {
        for size in [1, 15, 16, 255, 4_096, 70_000] {
            let mut buffer = vec![b'x'; HEAD_ROOM + size];
            let start = write_size(&mut buffer, HEAD_ROOM, size);
            let mut chunk = buffer[start..].to_vec();
            chunk.extend_from_slice(b"\r\n");
            chunk.extend_from_slice(LAST);
            let mut appended = Vec::new();
            append(&mut appended, &vec![b'x'; size]);
            appended.extend_from_slice(LAST);
            assert_eq!(chunk, appended);
            assert_eq!(decode_in_pieces(&chunk, &[]).unwrap().0.len(), size);
        }
    }
}
