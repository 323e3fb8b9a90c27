//! Proofs in `redactedContent`: Amazon's SDKs decode that member, so what is no Base64 would break their callers.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::dialect::call::{Proof, Tongue};
use crate::dialect::proof;
use crate::dialect::text::Text;
use crate::wire::json;

/// Amazon's own stays as it is; another vendor's is wrapped in Base64, label and all.
pub fn write(proof: &Proof<'_>, out: &mut Vec<u8>) {
    match proof::wrap(proof, Tongue::Converse) {
        Cow::Borrowed(own) => out.extend_from_slice(own),
        Cow::Owned(wrapped) => out.extend_from_slice(STANDARD.encode(wrapped).as_bytes()),
    }
}

pub fn read(raw: &[u8]) -> Proof<'_> {
    foreign(raw).unwrap_or(Proof { of: Tongue::Converse, data: Text::of_raw(raw), sealed: true })
}

/// The first letters of every label in Base64.
const LABELLED: &[u8] = b"d2Vpci";

fn foreign(raw: &[u8]) -> Option<Proof<'static>> {
    if !raw.starts_with(LABELLED) {
        return None;
    }
    let text = Text::of_raw(raw);
    let bytes = STANDARD.decode(text.plain().as_bytes()).ok()?;
    let read = proof::unwrap(&bytes, Tongue::Converse, true);
    // Anybody can encode anything: only what stood between the quotes of a string goes back there.
    let quoted = [b"\"", read.data.raw(), b"\""].concat();
    let is_text = read.of != Tongue::Converse && json::validate(&quoted).is_ok();
    is_text.then(|| Proof { of: read.of, data: Text::of_raw_owned(read.data.raw().to_vec()), sealed: read.sealed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_proof_survives_amazons_sdks() {
        for of in Tongue::ALL {
            let proof = Proof { of: *of, data: Text::of_raw(b"EqQB/x+y="), sealed: true };
            let mut carried = Vec::new();
            write(&proof, &mut carried);
            let decoded = STANDARD.decode(&carried);
            assert_eq!(decoded.is_ok(), *of != Tongue::Converse);
            assert_eq!(read(&carried), proof);
        }
        assert_eq!(read(b"d2Vpciw=").of, Tongue::Converse);
        assert_eq!(read(b"d2Vpci").of, Tongue::Converse);
        let evil = STANDARD.encode(b"weir.chat.s.\",\"x\":\"");
        assert_eq!(read(evil.as_bytes()).of, Tongue::Converse);
    }
}
