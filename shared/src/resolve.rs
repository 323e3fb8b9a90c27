//! A model's name and a caller, to the candidates that may serve the call. Pure; no I/O, no clock.

use std::sync::Arc;

/// A pattern of model names: `*` stands for any run of characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Arc<str>);

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// What somebody may use. An empty list means everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allowed(Vec<Pattern>);

impl Allowed {
    pub fn new(patterns: &[String]) -> Self {
        if patterns.iter().any(|pattern| pattern == "*") {
            return Self::default();
        }
        Self(patterns.iter().map(|pattern| Pattern::new(pattern)).collect())
    }

    pub fn is_anything(&self) -> bool {
        self.0.is_empty()
    }

    /// A pattern is compared with the bare name and with `vendor/name`.
    pub fn allows(&self, vendor: &str, id: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(id) || pattern.matches_joined(vendor, id))
    }
}

impl Pattern {
    fn matches_joined(&self, vendor: &str, id: &str) -> bool {
        // Only a pattern with a slash can mean a vendor; the joined name is built for those alone.
        self.0.contains('/') && self.matches(&format!("{vendor}/{id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
        assert!(matches("gpt-*", "gpt-4o-mini"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "aXbYc"));
        assert!(matches("a*b*c", "abc"));
        assert!(!matches("a*b*c", "acb"));
        assert!(!matches("gpt-4o", "gpt-4o-mini"));
        assert!(!matches("ab*ba", "aba"));
        let allowed = Allowed::new(&["openai/*".to_owned(), "claude-*".to_owned()]);
        assert!(allowed.allows("openai", "gpt-4o") && allowed.allows("anthropic", "claude-x"));
        assert!(!allowed.allows("anthropic", "gpt-4o"));
    }
}
