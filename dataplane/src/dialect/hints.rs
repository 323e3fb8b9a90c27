//! Hints: what a caller may say that changes how an answer is made or kept, and not what is asked. A vendor without a word for
//! one of them gets the call all the same, and the caller is told what fell.

use super::call::{Call, Format, Media, MediaKind, Part, What};
use super::speech::Lost;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// What is worth keeping in the vendor's cache.
    CacheMarks,
    /// How closely an image is looked at.
    ImageDetail,
    FileDetail,
    FileNames,
    /// Of images and sounds.
    MediaNames,
    SchemaName,
    SchemaDescription,
    ThoughtsShown,
    ThoughtsHidden,
}

impl Hint {
    pub const ALL: &[Self] = &[
        Self::CacheMarks,
        Self::ImageDetail,
        Self::FileDetail,
        Self::FileNames,
        Self::MediaNames,
        Self::SchemaName,
        Self::SchemaDescription,
        Self::ThoughtsShown,
        Self::ThoughtsHidden,
    ];

    /// As `x-weir-dropped` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CacheMarks => "cache marks",
            Self::ImageDetail => "detail of images",
            Self::FileDetail => "detail of files",
            Self::FileNames => "names of files",
            Self::MediaNames => "names of images and sounds",
            Self::SchemaName => "the schema's name",
            Self::SchemaDescription => "the schema's description",
            Self::ThoughtsShown => "that thoughts are shown",
            Self::ThoughtsHidden => "that thoughts are hidden",
        }
    }
}

/// Tells what a call hints at and a language has no word for.
pub fn lose(known: &[Hint], call: &Call<'_>, lost: &mut Vec<Lost>) {
    let unknown = Given::of(call).0 & !set(known);
    if unknown != 0 {
        let fell = Hint::ALL.iter().filter(|hint| unknown & bit(**hint) != 0);
        lost.extend(fell.map(|hint| Lost::Hint(hint.name())));
    }
}

/// The hints of a call, a bit for each: most calls give none.
struct Given(u16);

impl Given {
    fn of(call: &Call<'_>) -> Self {
        let mut given = Self(0);
        call.turns.iter().flat_map(|turn| &turn.parts).for_each(|part| given.part(part));
        given.note(Hint::CacheMarks, call.tools.iter().any(|tool| tool.cache.is_some()));
        if let Some(Format::Schema { name, description, .. }) = &call.format {
            given.note(Hint::SchemaName, name.is_some());
            given.note(Hint::SchemaDescription, description.is_some());
        }
        let shown = call.reasoning.and_then(|reasoning| reasoning.shown);
        given.note(Hint::ThoughtsShown, shown == Some(true));
        given.note(Hint::ThoughtsHidden, shown == Some(false));
        given
    }

    fn part(&mut self, part: &Part<'_>) {
        self.note(Hint::CacheMarks, part.cache.is_some());
        match &part.what {
            What::Media(media) => self.media(media),
            // A result holds words and media, and no other result.
            What::ToolResult(result) => {
                for part in &result.content {
                    if let What::Media(media) = &part.what {
                        self.media(media);
                    }
                }
            }
            What::Text(_) | What::Refusal(_) | What::Reasoning(_) | What::ToolCall(_) => {}
        }
    }

    fn media(&mut self, media: &Media<'_>) {
        let is_file = media.kind == MediaKind::Document;
        self.note(if is_file { Hint::FileDetail } else { Hint::ImageDetail }, media.detail.is_some());
        let is_named = media.name.as_ref().is_some_and(|name| !name.is_empty());
        self.note(if is_file { Hint::FileNames } else { Hint::MediaNames }, is_named);
    }

    fn note(&mut self, hint: Hint, is_given: bool) {
        if is_given {
            self.0 |= bit(hint);
        }
    }
}

fn bit(hint: Hint) -> u16 {
    1 << hint as u16
}

fn set(hints: &[Hint]) -> u16 {
    hints.iter().fold(0, |set, hint| set | bit(*hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::{CacheMark, Role, Source, ToolResult, Turn};
    use crate::dialect::text::Text;

    #[test]
    fn what_is_given_and_not_known_is_told_once() {
        let image = || {
            let source = Source::Id(Text::of_raw(b"i"));
            What::Media(Media { kind: MediaKind::Image, source, name: None, detail: Some(Text::of_raw(b"low")) })
        };
        let result = ToolResult {
            id: Text::default(),
            name: None,
            content: vec![image().into(), image().into()],
            failed: false,
        };
        let marked = Part { what: What::ToolResult(result), cache: Some(CacheMark::OneHour) };
        let turns = vec![Turn { role: Role::User, name: None, parts: vec![marked] }];
        let call = Call { turns, ..Call::default() };
        let fell = |known: &[Hint]| {
            let mut lost = Vec::new();
            lose(known, &call, &mut lost);
            lost
        };
        assert_eq!(fell(&[]), [Lost::Hint("cache marks"), Lost::Hint("detail of images")]);
        assert_eq!(fell(&[Hint::CacheMarks, Hint::FileNames]), [Lost::Hint("detail of images")]);
        assert_eq!(fell(Hint::ALL), []);
    }
}
