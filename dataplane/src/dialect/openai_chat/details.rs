//! `reasoning_details`: where those who serve several vendors in this language keep proofs of thoughts.
//!
//! An entry has a format and an id beside what is signed or encrypted, and is taken back only with both. The middle carries
//! the three in one, `format~id~data`; where there is neither, the data alone.

use crate::dialect::call::{Proof, Tongue};
use crate::dialect::compose::Object;
use crate::dialect::proof;
use crate::dialect::text::Text;
use crate::wire::json;

const BETWEEN: u8 = b'~';

/// One entry, as a vendor of this language says it or a caller brings it back.
pub struct Detail<'a> {
    pub text: Text<'a>,
    pub proof: Option<Proof<'a>>,
}

impl<'a> Detail<'a> {
    pub fn read(entry: &'a [u8]) -> Self {
        let (mut text, mut data, mut signature) = (None, None, None);
        let (mut format, mut id) = (Text::default(), Text::default());
        for (key, value) in json::members(entry) {
            let Some(said) = Text::of_value(value).filter(|said| !said.is_empty()) else { continue };
            match key {
                b"text" | b"summary" => text = Some(said),
                b"data" => data = Some(said),
                b"signature" => signature = Some(said),
                b"format" => format = said,
                b"id" => id = said,
                _ => {}
            }
        }
        let sealed = data.is_some();
        let proof = data.or(signature).map(|data| carried(format, id, data, sealed));
        Self { text: text.unwrap_or_default(), proof }
    }
}

fn carried<'a>(format: Text<'a>, id: Text<'a>, data: Text<'a>, sealed: bool) -> Proof<'a> {
    let label = proof::unwrap(data.raw(), Tongue::Chat, sealed);
    let (of, sealed, skipped) = (label.of, label.sealed, data.raw().len() - label.data.raw().len());
    if skipped > 0 {
        return Proof { of, data: data.without_front(skipped), sealed };
    }
    let ambiguous = [&format, &id].iter().any(|part| part.raw().contains(&BETWEEN));
    if ambiguous || (format.is_empty() && id.is_empty() && !data.raw().contains(&BETWEEN)) {
        return Proof { of, data, sealed };
    }
    let joined = [format.raw(), id.raw(), data.raw()].join(&BETWEEN);
    Proof { of, data: Text::of_raw_owned(joined), sealed }
}

/// The format, the id and the data of a proof of this language.
fn parts<'p>(proof: &'p Proof<'_>) -> (&'p [u8], &'p [u8], &'p [u8]) {
    let raw = proof.data.raw();
    let mut parts = raw.splitn(3, |byte| *byte == BETWEEN);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(format), Some(id), Some(data)) => (format, id, data),
        _ => (b"", b"", raw),
    }
}

/// The members of an entry: with the thought's text, where it is told with its proof and not in front of it.
pub fn write(proof: &Proof<'_>, text: Option<&Text<'_>>, index: u64, entry: &mut Object<'_>) {
    let wrapped = proof::wrap(proof, Tongue::Chat);
    let own = proof.of == Tongue::Chat;
    let (format, id, data) = if own { parts(proof) } else { (&b""[..], &b""[..], &*wrapped) };
    let text = text.filter(|text| !text.is_empty());
    if proof.sealed {
        entry.str("type", "reasoning.encrypted").text("data", &Text::of_raw(data));
        text.iter().for_each(|text| _ = entry.text("summary", text));
    } else {
        entry.str("type", "reasoning.text");
        text.iter().for_each(|text| _ = entry.text("text", text));
        entry.text("signature", &Text::of_raw(data));
    }
    for (key, value) in [("format", format), ("id", id)] {
        if !value.is_empty() {
            entry.text(key, &Text::of_raw(value));
        }
    }
    entry.number("index", index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for entry in [
            r#"{"type":"reasoning.encrypted","data":"gAAA~_-=","format":"openai-responses-v1","id":"rs_1","index":0}"#,
            r#"{"type":"reasoning.encrypted","data":"weir.messages.s.EqQB","index":0}"#,
            r#"{"type":"reasoning.encrypted","data":"a~b~c","index":0}"#,
            r#"{"type":"reasoning.text","text":"h\nm","signature":"EqQB\/=","format":"anthropic-claude-v1","index":0}"#,
            r#"{"type":"reasoning.text","text":"hm","signature":"weir.messages.p.x","index":0}"#,
            r#"{"type":"reasoning.text","text":"hm","signature":"s","id":"i","index":0}"#,
        ] {
            let detail = Detail::read(entry.as_bytes());
            let proof = detail.proof.expect("a proof");
            assert_eq!(proof.sealed, entry.contains("encrypted"));
            assert_eq!(proof.of == Tongue::Messages, entry.contains("weir.messages"));
            let mut out = Vec::new();
            Object::write(&mut out, |object| write(&proof, Some(&detail.text), 0, object));
            assert_eq!(String::from_utf8(out).unwrap(), entry);
        }
    }
}
