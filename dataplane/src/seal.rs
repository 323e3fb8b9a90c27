//! Ids of vendors' objects, sealed: a file, batch, stored response or video is named by an id that only its tenant can
//! use, and that says which credential it lives under. Nothing is stored; the id carries it.
//!
//! `<prefix>w1<base64url(tag ‖ masked(vendor, credential, id))>`. The tag is a keyed hash of tenant and content, and the
//! mask is drawn from the tag: the same object always gets the same id, another tenant's id does not open, and the
//! vendor's own id does not show.

/// What is inside of a sealed id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    pub vendor: String,
    pub credential: String,
    pub id: String,
}

const MARK: &str = "w1";
const TAG_BYTES: usize = 16;
/// Vendors' ids are shorter; what is longer stays as it came.
const ID_BYTES_MAX: usize = 128;
/// Ids of objects that live on at the vendor. What only names a part of an answer is not sealed.
const PREFIXES: &[&str] = &["file-", "file_", "batch_", "resp_", "video_", "conv_", "vs_"];

/// What a member of a request may say where it names an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// A sealed id: whatever else it says may be another tenant's.
    Object,
    /// Many kinds of things; only a sealed id is one of ours.
    Perhaps,
}

/// The members that name objects, in requests and in answers: there they are sealed, all of them.
pub fn names(member: &[u8]) -> Option<Named> {
    Some(match member {
        b"file_id"
        | b"file_ids"
        | b"input_file_id"
        | b"previous_response_id"
        | b"vector_store_id"
        | b"vector_store_ids" => Named::Object,
        b"id"
        | b"output_file_id"
        | b"error_file_id"
        | b"response_id"
        | b"batch_id"
        | b"video_id"
        | b"remixed_from_video_id" => Named::Perhaps,
        // In requests it is a name of callers' own, too, but at the top of one to a dialect with conversations; see `parse`.
        b"conversation" => Named::Perhaps,
        _ => return None,
    })
}

/// Whether a JSON value (with its quotes) may be an id that [`seal`] made.
pub fn looks_sealed(value: &[u8]) -> bool {
    let inner = value.get(1..).unwrap_or_default();
    PREFIXES
        .iter()
        .any(|prefix| inner.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.starts_with(MARK.as_bytes())))
}

/// The prefix of an id that is to be sealed.
fn prefix_of(id: &str) -> Option<&'static str> {
    PREFIXES.iter().copied().find(|prefix| id.starts_with(prefix))
}

pub fn seal(key: &[u8; 32], tenant: &str, vendor: &str, credential: &str, id: &str) -> Option<String> {
    let prefix = prefix_of(id).filter(|_| id.len() <= ID_BYTES_MAX)?;
    let mut plain = Vec::with_capacity(2 + vendor.len() + credential.len() + id.len());
    for name in [vendor, credential] {
        plain.push(u8::try_from(name.len()).ok()?);
        plain.extend_from_slice(name.as_bytes());
    }
    plain.extend_from_slice(id.as_bytes());
    let tag = tag(key, tenant, &plain);
    mask(key, &tag, &mut plain);
    let mut sealed = format!("{prefix}{MARK}");
    let mut bytes = tag.to_vec();
    bytes.extend_from_slice(&plain);
    encode(&bytes, &mut sealed);
    Some(sealed)
}

/// `None`: not sealed here, or for another tenant, or changed on its way.
pub fn open(key: &[u8; 32], tenant: &str, sealed: &str) -> Option<Opened> {
    let prefix = prefix_of(sealed)?;
    let bytes = decode(sealed.strip_prefix(prefix)?.strip_prefix(MARK)?)?;
    let (found, masked) = bytes.split_first_chunk::<TAG_BYTES>()?;
    let mut plain = masked.to_vec();
    mask(key, found, &mut plain);
    let expected = blake3::Hash::from_bytes(wide(&tag(key, tenant, &plain)));
    // blake3's comparison takes constant time.
    if expected != blake3::Hash::from_bytes(wide(found)) {
        return None;
    }
    let (vendor, rest) = name(&plain)?;
    let (credential, id) = name(rest)?;
    let id = std::str::from_utf8(id).ok()?.to_owned();
    Some(Opened { vendor, credential, id })
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

fn wide(tag: &[u8; TAG_BYTES]) -> [u8; 32] {
    let mut out = [0; 32];
    out[..TAG_BYTES].copy_from_slice(tag);
    out
}

fn tag(key: &[u8; 32], tenant: &str, plain: &[u8]) -> [u8; TAG_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(b"weir object id tag")
        .update(&(tenant.len() as u64).to_le_bytes())
        .update(tenant.as_bytes())
        .update(plain);
    let mut tag = [0; TAG_BYTES];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

fn mask(key: &[u8; 32], tag: &[u8; TAG_BYTES], bytes: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"weir object id mask").update(tag);
    let mut stream = vec![0; bytes.len()];
    hasher.finalize_xof().fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(DIGITS[(word >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            word = word << 6 | DIGITS.iter().position(|digit| digit == byte)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        let bytes = word.to_be_bytes();
        out.extend_from_slice(bytes.get(1..chunk.len())?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8; 32] = &[3; 32];

    #[test]
    fn an_id_opens_for_its_tenant_only() {
        let sealed = seal(KEY, "a", "openai", "main", "file-abc123").unwrap();
        assert!(sealed.starts_with("file-w1") && !sealed.contains("abc123"));
        assert_eq!(seal(KEY, "a", "openai", "main", "file-abc123").as_ref(), Some(&sealed));
        let opened = Opened { vendor: "openai".into(), credential: "main".into(), id: "file-abc123".into() };
        assert_eq!(open(KEY, "a", &sealed), Some(opened));
        assert_eq!(open(KEY, "b", &sealed), None);
        assert_eq!(open(&[4; 32], "a", &sealed), None);
        assert_eq!(open(KEY, "a", "file-abc123"), None);
        assert!(looks_sealed(format!("\"{sealed}\"").as_bytes()) && !looks_sealed(b"\"file-abc\""));
        assert_eq!(seal(KEY, "a", "openai", "main", "msg_1"), None);
    }

    #[test]
    fn nothing_changed_opens() {
        let sealed = seal(KEY, "a", "openai", "main", "resp_0123456789").unwrap();
        for place in 0..sealed.len() {
            for letter in ['A', 'b', '_', 'é'] {
                let mut changed: String = sealed[..place].to_owned();
                changed.push(letter);
                changed.push_str(&sealed[place + 1..]);
                assert!(
                    changed == sealed
                        || open(KEY, "a", &changed)
                            .is_none_or(|opened| opened.id == "resp_0123456789" && place == sealed.len() - 1)
                );
            }
            assert_eq!(open(KEY, "a", &sealed[..place]), None);
        }
    }
}
