//! Proofs in `thoughtSignature`. Google's SDKs decode that field as bytes and encode it again, in the other alphabet if they
//! like, so another vendor's proof travels there as the Base64 of its wrapped form.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};

use crate::dialect::call::{Proof, Tongue};
use crate::dialect::proof;
use crate::dialect::text::{Text, plain};
use crate::wire::json;

/// What a caller of Gemini's language carries for us.
pub fn write(proof: &Proof<'_>, out: &mut Vec<u8>) {
    let carried = proof::wrap(proof, Tongue::Generate);
    if proof.of == Tongue::Generate {
        out.extend_from_slice(&carried);
    } else {
        out.extend_from_slice(STANDARD.encode(&carried).as_bytes());
    }
}

/// What a caller brought back: the inside of a JSON string.
pub fn read(raw: &[u8]) -> Proof<'_> {
    foreign(raw).unwrap_or(Proof { of: Tongue::Generate, data: Text::of_raw(raw), sealed: false })
}

/// Base64 of `weir.`, as far as it is the same whatever follows.
const START: &[u8] = b"d2Vpci";

fn foreign(raw: &[u8]) -> Option<Proof<'static>> {
    if !raw.starts_with(START) {
        return None;
    }
    let carried = decode(plain(raw).as_bytes())?;
    let found = proof::unwrap(&carried, Tongue::Generate, false);
    // A caller can put anything there; what is spliced into a body must be the inside of a string.
    let quoted = [b"\"", found.data.raw(), b"\""].concat();
    if found.of == Tongue::Generate || json::validate(&quoted).is_err() {
        return None;
    }
    Some(found.into_owned())
}

/// What nobody padded is read as well, and bits beyond the last byte harm nobody.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Of either alphabet, padded or not.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    LENIENT.decode(standard(text).as_deref().unwrap_or(text)).ok()
}

/// Base64 in the alphabet that everybody reads: Google's SDKs write the other one. `None` when it is that already.
pub fn standard(base64: &[u8]) -> Option<Vec<u8>> {
    let other = |byte: &u8| matches!(byte, b'-' | b'_');
    if !base64.iter().any(other) {
        return None;
    }
    let mut text: Vec<u8> = base64.iter().map(|byte| if *byte == b'-' { b'+' } else { *byte }).collect();
    text.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'/');
    while !text.len().is_multiple_of(4) {
        text.push(b'=');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_proof_survives_googles_sdks() {
        for length in 0..9 {
            let data = "EqQB\\/x+y".as_bytes()[..length].to_vec();
            if data.last() == Some(&b'\\') {
                continue;
            }
            let proof = Proof { of: Tongue::Messages, data: Text::of_raw(&data), sealed: length > 4 };
            let mut carried = Vec::new();
            write(&proof, &mut carried);
            assert_eq!(read(&carried), proof);
            // The SDK for Python sends the other alphabet, others leave the padding out.
            let other: String = String::from_utf8(carried).unwrap().replace('+', "-").replace('/', "_");
            assert_eq!(read(other.as_bytes()), proof);
            assert_eq!(read(other.trim_end_matches('=').as_bytes()), proof);
        }
    }

    #[test]
    fn googles_own_stays_as_it_is() {
        let own = Proof { of: Tongue::Generate, data: Text::of_raw(b"EpYC\\/x=="), sealed: false };
        let mut carried = Vec::new();
        write(&own, &mut carried);
        assert_eq!(carried, b"EpYC\\/x==");
        assert_eq!(read(b"EpYC\\/x=="), own);
        // Nobody's label, and what is no inside of a string.
        for forged in ["weir.", "weir.messages.p.\"}", "weir.messages.p.\\", "weir.nobody.p.x"] {
            let carried = STANDARD.encode(forged);
            assert_eq!(read(carried.as_bytes()).of, Tongue::Generate, "{forged}");
        }
        assert_eq!(read(b"d2Vpci4").of, Tongue::Generate);
    }

    #[test]
    fn both_alphabets_become_one() {
        assert_eq!(standard(b"_9j_4A"), Some(b"/9j/4A==".to_vec()));
        assert_eq!(standard(b"/9j/4A=="), None);
    }
}
