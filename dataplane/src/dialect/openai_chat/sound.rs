//! Sounds in answers: base64 whose type is told nowhere, and of which a whole answer holds one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::dialect::compose::{Object, quoted};

/// What streams consist of, as Google calls it: samples of sixteen bits, 24 000 of them a second.
pub const SAMPLES: &str = "audio/L16;codec=pcm;rate=24000";

/// By the first letters of its base64; what has no head of its own is samples.
pub fn type_of(base64: &[u8]) -> &'static str {
    HEADS.iter().find(|(head, _)| base64.starts_with(head)).map_or(SAMPLES, |(_, mime)| mime)
}

/// `RIFF`, `ID3`, a frame of MP3 without one, `OggS`, `fLaC`.
const HEADS: &[(&[u8], &str)] = &[
    (b"UklGR", "audio/wav"),
    (b"SUQz", "audio/mpeg"),
    (b"//uQ", "audio/mpeg"),
    (b"//PE", "audio/mpeg"),
    (b"T2dnU", "audio/ogg"),
    (b"ZkxhQ", "audio/flac"),
];

/// One that was given in pieces, each in base64 of its own. What is no base64 is left as it is, when it is alone.
pub fn joined(pieces: &[&[u8]]) -> Vec<u8> {
    if let [alone] = pieces {
        return alone.to_vec();
    }
    let bytes: Vec<u8> = pieces.iter().filter_map(|piece| STANDARD.decode(piece).ok()).flatten().collect();
    STANDARD.encode(bytes).into_bytes()
}

/// Nothing is kept under its id: it has expired when it arrives.
pub fn write(answer: &str, data: &[u8], expires_s: Option<u64>, sound: &mut Object<'_>) {
    id(answer, sound.member("id"));
    quoted(sound.member("data"), data);
    if let Some(expires_s) = expires_s {
        sound.number("expires_at", expires_s).str("transcript", "");
    }
}

fn id(answer: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"audio_");
    crate::wire::json::escape_into(out, answer);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_known_by_their_heads_and_joined_as_bytes() {
        let of = |bytes: &[u8]| type_of(STANDARD.encode(bytes).as_bytes());
        assert_eq!(of(b"RIFF\x10\0\0\0WAVE"), "audio/wav");
        assert_eq!(of(b"ID3\x04\0\0"), "audio/mpeg");
        assert_eq!(of(b"\0\x01\xff\xff"), SAMPLES);
        let pieces = [STANDARD.encode(b"a"), STANDARD.encode(b"bc")];
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        assert_eq!(joined(&pieces), STANDARD.encode(b"abc").into_bytes());
        assert_eq!(joined(&[b"no base64"]), b"no base64");
    }
}
