//! What a route's conditions and sticky branches ask of a call.

use weir_shared::policy::routing::StickyBy;
use weir_shared::routing::{Asker, sticky_hash};
use weir_shared::snapshot::Key;

use super::Wish;
use crate::wire::json;

pub struct Calling<'c, 'w> {
    pub wish: &'c Wish<'w>,
}

impl Asker for Calling<'_, '_> {
    fn key(&self) -> &Key {
        self.wish.key
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (fields, bytes) = (&self.wish.request.head.fields, self.wish.request.head_bytes());
        let field = fields.iter().find(|field| field.name_in(bytes).eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(field.value_in(bytes)).ok()
    }

    fn metadata(&self, name: &str) -> Option<String> {
        let metadata = self.member("metadata")?;
        let (_, value) = json::members(metadata).find(|(key, _)| json::key_is(key, name))?;
        json::text(value).map(|text| text.into_owned())
    }

    fn sticky(&self, by: &StickyBy) -> u64 {
        match by {
            StickyBy::Key => sticky_hash(self.wish.key.id.as_str().as_bytes()),
            StickyBy::Header(name) => self.header(name).map_or(0, |value| sticky_hash(value.as_bytes())),
            StickyBy::User => self.user().map_or(0, |user| sticky_hash(user.as_bytes())),
            StickyBy::Conversation => sticky_hash(self.start_of_conversation()),
        }
    }
}

/// A conversation is known by so much of its start: what the operator's prompt says and the first words of the user. What
/// follows changes with every turn.
const START_BYTES: usize = 1_024;

impl Calling<'_, '_> {
    fn member(&self, name: &str) -> Option<&[u8]> {
        json::members(self.wish.body).find(|(key, _)| json::key_is(key, name)).map(|(_, value)| value)
    }

    /// The end user as the six languages name it.
    fn user(&self) -> Option<String> {
        let plain = ["user", "safety_identifier", "prompt_cache_key"].iter().find_map(|name| self.member(name));
        let own = plain.and_then(json::text).map(|text| text.into_owned());
        own.or_else(|| self.metadata("user_id"))
    }

    /// The first message and what the model was told before it; tools and instructions do not change within it either.
    fn start_of_conversation(&self) -> &[u8] {
        let turns = ["messages", "input", "contents"].iter().find_map(|name| self.member(name)).unwrap_or_default();
        &turns[..turns.len().min(START_BYTES)]
    }
}
