//! Proof of thoughts as it travels within reasoning items.
//!
//! This language gives a thought back by its item: an id and what is encrypted. The middle carries both in one, the id, a
//! colon, the rest; neither holds a colon. What another vendor signed stands where the encrypted is, with the label of
//! [`proof`]. A signed call has no place of its own here: its proof goes in an item in front of it, marked as the call's.

use crate::dialect::call::{Proof, Tongue};
use crate::dialect::proof;
use crate::dialect::text::Text;

const BETWEEN: u8 = b':';

/// In front of a proof that belongs to the call behind it.
const OF_CALL: &[u8] = b"weir_call.";

/// What a reasoning item proves.
#[derive(Debug)]
pub enum Carried<'a> {
    Thought(Proof<'a>),
    Call(Proof<'a>),
}

/// From an item that a caller brought back, or that a vendor of this language said. `shown` is whether it has text as well.
pub fn read<'a>(id: &[u8], encrypted: &'a [u8], shown: bool) -> Carried<'a> {
    if let Some(rest) = encrypted.strip_prefix(OF_CALL) {
        return Carried::Call(proof::unwrap(rest, Tongue::Responses, true));
    }
    let unwrapped = proof::unwrap(encrypted, Tongue::Responses, !shown);
    let is_bare = unwrapped.data.raw().len() == encrypted.len();
    Carried::Thought(if is_bare { own(id, encrypted, shown) } else { unwrapped })
}

/// A vendor's own, whatever it looks like.
pub fn own<'a>(id: &[u8], encrypted: &[u8], shown: bool) -> Proof<'a> {
    let mut data = Vec::with_capacity(id.len() + 1 + encrypted.len());
    data.extend_from_slice(id);
    data.push(BETWEEN);
    data.extend_from_slice(encrypted);
    Proof { of: Tongue::Responses, data: Text::of_raw_owned(data), sealed: !shown }
}

/// The id and the encrypted part of a proof of this language.
pub fn parts<'p>(proof: &'p Proof<'_>) -> Option<(&'p [u8], &'p [u8])> {
    if proof.of != Tongue::Responses {
        return None;
    }
    let data = proof.data.raw();
    Some(match memchr::memchr(BETWEEN, data) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (b"", data),
    })
}

/// What stands in `encrypted_content` of the item `id`.
pub fn write(proof: &Proof<'_>, id: &[u8], out: &mut Vec<u8>) {
    match parts(proof) {
        Some((own, encrypted)) if own == id || own.is_empty() => out.extend_from_slice(encrypted),
        // Under its label, because the item it belongs to has got another id.
        Some(_) => out.extend_from_slice(&proof::wrap(proof, Tongue::Chat)),
        None => out.extend_from_slice(&proof::wrap(proof, Tongue::Responses)),
    }
}

/// The same for a call's, in the item in front of it.
pub fn write_of_call(proof: &Proof<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(OF_CALL);
    out.extend_from_slice(&proof::wrap(proof, Tongue::Responses));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_comes_back() {
        let foreign = Proof { of: Tongue::Generate, data: Text::of_raw(b"sig:\\/="), sealed: false };
        let ours = own(b"rs_1", b"gAAA_-=", true);
        for (proof, id) in [(foreign, &b"rs_x"[..]), (ours, b"rs_1")] {
            let mut out = Vec::new();
            for item in [id, b"rs_made_up"] {
                out.clear();
                write(&proof, item, &mut out);
                let Carried::Thought(back) = read(item, &out, true) else { panic!("{out:?}") };
                assert_eq!(back, proof);
            }
            out.clear();
            write_of_call(&proof, &mut out);
            let Carried::Call(back) = read(b"rs_other", &out, false) else { panic!("{out:?}") };
            assert_eq!((back.of, back.data), (proof.of, proof.data));
        }
        assert_eq!(parts(&own(b"", b"x", false)), Some((&b""[..], &b"x"[..])));
    }
}
