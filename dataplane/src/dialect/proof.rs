//! Proof of a thought on its way through a caller whose language is not the vendor's.
//!
//! Vendors sign their models' thoughts or hand them out sealed, and want them back unchanged with the next turn. Callers carry
//! them for us, in whatever field of their language holds such a thing: there it says whose it is, so that the next turn
//! gives it to that vendor only. It is never made up, and never shown to another vendor.

use std::borrow::Cow;

use super::call::{Proof, Tongue};
use super::text::Text;

/// What a foreign proof starts with. No vendor's own holds a dot.
const MARK: &str = "weir.";

/// As a caller of `caller`'s language carries it: its own vendor's as it is, another's with a label.
pub fn wrap<'a>(proof: &'a Proof<'_>, caller: Tongue) -> Cow<'a, [u8]> {
    if proof.of == caller {
        return Cow::Borrowed(proof.data.raw());
    }
    let mut wrapped = Vec::with_capacity(MARK.len() + 16 + proof.data.raw().len());
    wrapped.extend_from_slice(MARK.as_bytes());
    wrapped.extend_from_slice(proof.of.name().as_bytes());
    wrapped.extend_from_slice(if proof.sealed { b".s." } else { b".p." });
    wrapped.extend_from_slice(proof.data.raw());
    Cow::Owned(wrapped)
}

/// What a caller of `caller`'s language brought back. `sealed` is what its language says of an own proof.
pub fn unwrap(raw: &[u8], caller: Tongue, sealed: bool) -> Proof<'_> {
    labelled(raw).unwrap_or(Proof { of: caller, data: Text::of_raw(raw), sealed })
}

fn labelled(raw: &[u8]) -> Option<Proof<'_>> {
    let rest = raw.strip_prefix(MARK.as_bytes())?;
    let dot = memchr::memchr(b'.', rest)?;
    let of = Tongue::parse(std::str::from_utf8(&rest[..dot]).ok()?)?;
    let (sealed, data) = match rest.get(dot + 1..dot + 3)? {
        b"s." => (true, &rest[dot + 3..]),
        b"p." => (false, &rest[dot + 3..]),
        _ => return None,
    };
    Some(Proof { of, data: Text::of_raw(data), sealed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_comes_back_as_it_left() {
        for of in Tongue::ALL {
            for caller in Tongue::ALL {
                let proof = Proof { of: *of, data: Text::of_raw(b"EqQB\\/x+y="), sealed: *of == Tongue::Responses };
                let carried = wrap(&proof, *caller).into_owned();
                assert_eq!(carried.starts_with(b"weir."), of != caller);
                assert_eq!(unwrap(&carried, *caller, proof.sealed), proof);
            }
        }
        assert_eq!(unwrap(b"weir.nobody.p.x", Tongue::Chat, false).of, Tongue::Chat);
        assert_eq!(unwrap(b"weir.", Tongue::Chat, false).data.raw(), b"weir.");
    }
}
