//! Vendors' secrets as the store holds them: sealed before they leave the operator's machine, opened by a node when it builds
//! a revision, off the cores that serve.
//!
//! Each secret is sealed by a key of its own, and that key under the deployment's key-encryption key: so a new key-encryption
//! key seals short keys anew and no secret. Both seals are bound to the vendor, the credential and the version: what is
//! moved to another place in the store does not open there.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::id::decode_hex;

/// As it stands in the store: there is nothing in it that opens without a key-encryption key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedDraft {
    pub vendor: String,
    pub credential: String,
    pub current: Version,
    /// What it was before a rotation: it is what holds when the current one does not open, and what can be gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub version: u64,
    /// The key-encryption key that opens it.
    pub kek: String,
    /// The secret's own key, under that one: nonce and ciphertext in hexadecimal.
    pub wrapped: String,
    /// The secret, under its own key.
    pub sealed: String,
    /// Seconds since 1970, and who put it there.
    pub since: u64,
    pub author: String,
}

/// A key-encryption key.
#[derive(Clone, PartialEq, Eq)]
pub struct Kek([u8; 32]);

impl Drop for Kek {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Kek {
    pub fn new() -> Result<Self, Unsealable> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| Unsealable::NoRandomness)?;
        Ok(Self(key))
    }

    /// Tells keys apart, and says nothing of them.
    pub fn id(&self) -> String {
        hex(&blake3::derive_key("weir: which key-encryption key", &self.0)[..4])
    }

    fn hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&self.0))
    }
}

/// The key-encryption keys of a deployment. The first seals, all open: so there is a time in which a new one can be taken to
/// every node before anything is sealed by it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ring(pub Vec<Kek>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsealable {
    NoRandomness,
    /// No key-encryption key is there.
    NoKey,
    /// None that is there is the one that it was sealed under.
    OtherKey,
    /// It was changed since it was sealed, or belongs elsewhere.
    Broken,
}

impl std::fmt::Display for Unsealable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoRandomness => "the system gives no randomness",
            Self::NoKey => {
                "there is no key-encryption key here (secret/kek of the state folder, WEIR_KEK_FILE or WEIR_KEK)"
            }
            Self::OtherKey => "is sealed under a key-encryption key that is not here",
            Self::Broken => "does not open: it was changed, or belongs to another credential",
        })
    }
}

impl Ring {
    /// A key a line, 64 hexadecimal digits each; in a variable blanks may stand for line ends.
    pub fn parse(text: &str) -> Option<Self> {
        let mut keys = Vec::new();
        for line in text.split_whitespace() {
            let mut key = [0; 32];
            if keys.len() == KEKS_MAX || !decode_hex(line.as_bytes(), &mut key) {
                return None;
            }
            keys.push(Kek(key));
        }
        Some(Self(keys))
    }

    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for kek in &self.0 {
            text.push_str(&kek.hex());
            text.push('\n');
        }
        text
    }

    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Version, Unsealable> {
        let kek = self.0.first().ok_or(Unsealable::NoKey)?;
        let mut own = Zeroizing::new([0; 32]);
        getrandom::fill(own.as_mut()).map_err(|_| Unsealable::NoRandomness)?;
        let sealed = seal(&own, &place.bound("secret"), secret)?;
        let wrapped = seal(&kek.0, &place.bound("key"), own.as_ref())?;
        let (since, author) = (place.since, place.author.to_owned());
        Ok(Version { version: place.version, kek: kek.id(), wrapped, sealed, since, author })
    }

    pub fn open(&self, vendor: &str, credential: &str, version: &Version) -> Result<Zeroizing<String>, Unsealable> {
        let place = Place::of(vendor, credential, version);
        let own = self.unwrap(&place, version)?;
        let secret = open(&own, &place.bound("secret"), &version.sealed)?;
        let text = String::from_utf8(secret.to_vec()).map_err(|_| Unsealable::Broken)?;
        Ok(Zeroizing::new(text))
    }

    /// The same secret, with its key under the first of these keys. `None`: it is already.
    pub fn rewrap(&self, vendor: &str, credential: &str, version: &Version) -> Result<Option<Version>, Unsealable> {
        let kek = self.0.first().ok_or(Unsealable::NoKey)?;
        if version.kek == kek.id() {
            return Ok(None);
        }
        let place = Place::of(vendor, credential, version);
        let own = self.unwrap(&place, version)?;
        let wrapped = seal(&kek.0, &place.bound("key"), own.as_ref())?;
        Ok(Some(Version { kek: kek.id(), wrapped, ..version.clone() }))
    }

    fn unwrap(&self, place: &Place<'_>, version: &Version) -> Result<Zeroizing<[u8; 32]>, Unsealable> {
        if self.0.is_empty() {
            return Err(Unsealable::NoKey);
        }
        let kek = self.0.iter().find(|kek| kek.id() == version.kek).ok_or(Unsealable::OtherKey)?;
        let own = open(&kek.0, &place.bound("key"), &version.wrapped)?;
        let own: [u8; 32] = own.as_slice().try_into().map_err(|_| Unsealable::Broken)?;
        Ok(Zeroizing::new(own))
    }
}

/// More than two are a rotation that nobody ended.
pub const KEKS_MAX: usize = 8;
/// A service account's key takes two and a half kilobytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// Whose secret it is.
pub struct Place<'p> {
    pub vendor: &'p str,
    pub credential: &'p str,
    pub version: u64,
    pub since: u64,
    pub author: &'p str,
}

impl<'p> Place<'p> {
    fn of(vendor: &'p str, credential: &'p str, version: &'p Version) -> Self {
        Self { vendor, credential, version: version.version, since: version.since, author: &version.author }
    }

    /// Names hold no zero byte; so no two places are told by the same bytes.
    fn bound(&self, what: &str) -> Vec<u8> {
        format!("weir 1\0{what}\0{}\0{}\0{}", self.vendor, self.credential, self.version).into_bytes()
    }
}

const NONCE_BYTES: usize = 24;

fn seal(key: &[u8; 32], bound: &[u8], plain: &[u8]) -> Result<String, Unsealable> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| Unsealable::NoRandomness)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let payload = Payload { msg: plain, aad: bound };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| Unsealable::Broken)?;
    Ok(hex(&nonce) + &hex(&sealed))
}

fn open(key: &[u8; 32], bound: &[u8], text: &str) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
    let mut bytes = vec![0; text.len() / 2];
    if text.len() > 4 * SECRET_BYTES_MAX || !decode_hex(text.as_bytes(), &mut bytes) {
        return Err(Unsealable::Broken);
    }
    let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(Unsealable::Broken)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let payload = Payload { msg: sealed, aad: bound };
    cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| Unsealable::Broken)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { vendor: "v", credential: "c", version: 3, since: 7, author: "t" };

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let ring = Ring(vec![Kek::new().unwrap()]);
        let version = ring.seal(&PLACE, b"sk-secret").unwrap();
        assert_eq!(*ring.open("v", "c", &version).unwrap(), "sk-secret");
        assert!(!serde_json::to_string(&version).unwrap().contains(&hex(b"sk-secret")));
        for (vendor, credential, number) in [("w", "c", 3), ("v", "d", 3), ("v", "c", 4), ("v\0c", "", 3)] {
            let moved = Version { version: number, ..version.clone() };
            assert_eq!(ring.open(vendor, credential, &moved).err(), Some(Unsealable::Broken));
        }
        // Sealed anew, nothing of it looks the same.
        let again = ring.seal(&PLACE, b"sk-secret").unwrap();
        assert!(again.sealed != version.sealed && again.wrapped != version.wrapped);
        for at in 0..version.sealed.len() {
            let mut bytes = version.sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = Version { sealed: String::from_utf8(bytes).unwrap(), ..version.clone() };
            assert_eq!(ring.open("v", "c", &changed).err(), Some(Unsealable::Broken), "{at}");
        }
        for cut in [0, 1, 10, 48, version.sealed.len() - 2] {
            let changed = Version { sealed: version.sealed[..cut].into(), ..version.clone() };
            assert_eq!(ring.open("v", "c", &changed).err(), Some(Unsealable::Broken), "{cut}");
        }
    }

    #[test]
    fn a_new_key_takes_over_and_the_old_one_goes() {
        let old = Ring(vec![Kek::new().unwrap()]);
        let version = old.seal(&PLACE, b"x").unwrap();
        let both = Ring(vec![Kek::new().unwrap(), old.0[0].clone()]);
        let after = both.rewrap("v", "c", &version).unwrap().unwrap();
        assert_eq!((&after.sealed, both.rewrap("v", "c", &after)), (&version.sealed, Ok(None)));
        let new = Ring(vec![both.0[0].clone()]);
        assert_eq!(*new.open("v", "c", &after).unwrap(), "x");
        assert_eq!(new.open("v", "c", &version).err(), Some(Unsealable::OtherKey));
        assert_eq!(Ring::default().open("v", "c", &version).err(), Some(Unsealable::NoKey));
    }

    #[test]
    fn keys_read_back_and_are_told_apart() {
        let ring = Ring(vec![Kek::new().unwrap(), Kek::new().unwrap()]);
        assert!(Ring::parse(&ring.text()) == Some(ring.clone()));
        assert!(Ring::parse(&ring.text().replace('\n', " ")) == Some(ring.clone()));
        assert_ne!(ring.0[0].id(), ring.0[1].id());
        assert!(Ring::parse("abc").is_none() && Ring::parse("") == Some(Ring::default()));
    }
}
