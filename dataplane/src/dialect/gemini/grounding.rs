//! What an answer rests on: `groundingMetadata` and `citationMetadata` as citations, and citations as the former.
//!
//! Google counts in bytes, everybody else in letters. They are the same as long as all of the text is ASCII; where it is not, a
//! citation has no place.

use super::partial::ARGUMENTS_BYTES_MAX;
use crate::dialect::compose::{Object, number};
use crate::dialect::event::Citation;
use crate::dialect::text::Text;
use crate::wire::json;

/// Whether letters and bytes are the same in what stands between a string's quotes.
pub fn is_ascii(raw: &[u8]) -> bool {
    raw.is_ascii() && memchr::memmem::find(raw, b"\\u").is_none()
}

#[derive(Default)]
pub struct Sources<'a> {
    pub grounding: Option<&'a [u8]>,
    pub citations: Option<&'a [u8]>,
}

impl<'a> Sources<'a> {
    pub fn is_some(&self) -> bool {
        let chunks = self.grounding.and_then(|grounding| json::get(grounding, "groundingChunks"));
        chunks.or(self.citations).is_some_and(|list| json::elements(list).next().is_some())
    }

    pub fn tell(&mut self, counts: bool, each: &mut dyn FnMut(Citation<'a>)) {
        let number = |object, key| json::get(object, key).and_then(json::integer);
        let span = |object| {
            let end = number(object, "endIndex").filter(|_| counts)?;
            Some((number(object, "startIndex").unwrap_or(0), end))
        };
        let words = |object, key| json::get(object, key).and_then(Text::of_value);
        for citation in self.citations.take().into_iter().flat_map(json::elements) {
            let (url, title) = (words(citation, "uri"), words(citation, "title"));
            each(Citation { url, title, span: span(citation), ..Citation::default() });
        }
        let Some(grounding) = self.grounding.take() else { return };
        let list = |key| json::get(grounding, key).into_iter().flat_map(json::elements);
        let chunks: Vec<&[u8]> = list("groundingChunks").take(CITATIONS_MAX).collect();
        let of_chunk = |chunk: &'a [u8], span| {
            let (_, source) = json::members(chunk).next()?;
            let quote = words(source, "text");
            let document = words(source, "documentName");
            Some(Citation { url: words(source, "uri"), title: words(source, "title"), quote, span, document })
        };
        let mut supported = false;
        for support in list("groundingSupports").take(CITATIONS_MAX) {
            let span = json::get(support, "segment").and_then(span);
            let indices = json::get(support, "groundingChunkIndices");
            for index in indices.into_iter().flat_map(json::elements).filter_map(json::integer) {
                let chunk = usize::try_from(index).ok().and_then(|index| chunks.get(index));
                if let Some(citation) = chunk.and_then(|chunk| of_chunk(chunk, span)) {
                    supported = true;
                    each(citation);
                }
            }
        }
        // Sources that nothing in the text points at are still its sources.
        if !supported {
            chunks.iter().filter_map(|chunk| of_chunk(chunk, None)).for_each(each);
        }
    }
}

/// Of one answer.
const CITATIONS_MAX: usize = 4_096;

/// What an answer rests on, until it is told.
#[derive(Default)]
pub struct Grounding {
    chunks: Vec<u8>,
    supports: Vec<u8>,
    count: u64,
    beyond_ascii: bool,
}

impl Grounding {
    pub fn count(&mut self, text: &[u8]) {
        if !self.beyond_ascii {
            self.beyond_ascii = !is_ascii(text);
        }
    }

    pub fn add(&mut self, citation: &Citation<'_>) {
        if self.chunks.len() + self.supports.len() > ARGUMENTS_BYTES_MAX {
            return;
        }
        let separate = |list: &mut Vec<u8>| list.extend_from_slice(if list.is_empty() { b"" } else { b"," });
        separate(&mut self.chunks);
        Object::write(&mut self.chunks, |chunk| {
            let given = citation.document.is_some() || citation.quote.is_some();
            chunk.object(if given { "retrievedContext" } else { "web" }, |source| {
                let words = [("uri", &citation.url), ("title", &citation.title), ("text", &citation.quote)];
                for (key, text) in words {
                    if let Some(text) = text {
                        source.text(key, text);
                    }
                }
                if let Some(document) = &citation.document {
                    source.text("documentName", document);
                }
            });
        });
        // Google counts in bytes, everybody else in letters: the same as long as all of them are ASCII.
        if let Some((start, end)) = citation.span.filter(|_| !self.beyond_ascii) {
            separate(&mut self.supports);
            Object::write(&mut self.supports, |support| {
                support.object("segment", |segment| {
                    segment.number("startIndex", start).number("endIndex", end);
                });
                support.array("groundingChunkIndices", |list| number(list.element(), self.count));
            });
        }
        self.count += 1;
    }

    pub fn write(&self, object: &mut Object<'_>) {
        if self.count == 0 {
            return;
        }
        object.object("groundingMetadata", |grounding| {
            for (name, list) in [("groundingChunks", &self.chunks), ("groundingSupports", &self.supports)] {
                if !list.is_empty() {
                    let out = grounding.member(name);
                    out.push(b'[');
                    out.extend_from_slice(list);
                    out.push(b']');
                }
            }
        });
    }
}
