//! Which call a result belongs to, however many there were: by its id, or where it has none by its name and their order.

use std::collections::{HashMap, VecDeque};

use super::compose::number;
use super::text::Text;
use crate::wire::json;

/// The calls of a conversation, in their order.
#[derive(Default)]
pub struct Pairing<'a> {
    calls: Vec<Called<'a>>,
    /// The last one of each id.
    by_id: HashMap<Text<'a>, usize>,
    /// Those of each name that nobody has answered, and perhaps some that somebody has.
    by_name: HashMap<Text<'a>, VecDeque<usize>>,
    /// Before this one all are answered.
    oldest: usize,
}

struct Called<'a> {
    id: Text<'a>,
    name: Text<'a>,
    answered: bool,
}

impl<'a> Pairing<'a> {
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn called(&mut self, id: Text<'a>, name: Text<'a>) {
        let place = self.calls.len();
        if !id.is_empty() {
            self.by_id.insert(id.clone(), place);
        }
        self.by_name.entry(name.clone()).or_default().push_back(place);
        self.calls.push(Called { id, name, answered: false });
    }

    pub fn name(&self, id: &Text<'_>) -> Option<&Text<'a>> {
        self.by_id.get(id.raw()).map(|place| &self.calls[*place].name)
    }

    /// The id and the name of the call that a result answers. One without an id answers the first of its name that waits, or
    /// the first of any.
    pub fn answer(&mut self, id: &Text<'_>, name: Option<&Text<'_>>) -> Option<(&Text<'a>, &Text<'a>)> {
        let place = if id.is_empty() { self.waiting(name) } else { self.by_id.get(id.raw()).copied() }?;
        let called = &mut self.calls[place];
        called.answered = true;
        Some((&called.id, &called.name))
    }

    fn waiting(&mut self, name: Option<&Text<'_>>) -> Option<usize> {
        if let Some(waiting) = name.and_then(|name| self.by_name.get_mut(name.raw())) {
            while let Some(place) = waiting.pop_front() {
                if !self.calls[place].answered {
                    return Some(place);
                }
            }
        }
        while self.calls.get(self.oldest)?.answered {
            self.oldest += 1;
        }
        Some(self.oldest)
    }
}

/// The vendor's id of a call, or one of ours that its result can be paired by. The strictest SDKs take no other letters.
pub fn call_id(given: &[u8], answer: &str, block: u32, out: &mut Vec<u8>) {
    if !given.is_empty() {
        out.extend_from_slice(given);
        return;
    }
    out.extend_from_slice(b"call_");
    json::escape_into(out, answer);
    out.push(b'_');
    number(out, u64::from(block));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_find_their_calls() {
        let text = |words: &'static str| Text::of_raw(words.as_bytes());
        let mut pairing = Pairing::default();
        for (id, name) in [("1", "f"), ("2", "g"), ("3", "f"), ("1", "h")] {
            pairing.called(text(id), text(name));
        }
        assert_eq!(pairing.name(&text("1")), Some(&text("h")), "the last of an id");
        let mut answer = |id, name: Option<&'static str>| {
            let name = name.map(text);
            pairing
                .answer(&text(id), name.as_ref())
                .map(|(id, name)| (id.plain().into_owned(), name.plain().into_owned()))
        };
        let pair = |id: &str, name: &str| Some((id.to_owned(), name.to_owned()));
        assert_eq!(answer("", Some("f")), pair("1", "f"));
        assert_eq!(answer("2", Some("f")), pair("2", "g"), "an id is more exact than a name");
        assert_eq!(answer("", Some("g")), pair("3", "f"), "nobody of that name waits: the first that does");
        assert_eq!(answer("", None), pair("1", "h"));
        assert_eq!(answer("", None), None);
        assert_eq!(answer("9", None), None);
    }

    #[test]
    fn many_calls_cost_no_more_each() {
        let mut pairing = Pairing::default();
        let name = |number: usize| Text::of_plain(["f", "g"][number & 1]);
        for number in 0..100_000 {
            pairing.called(Text::of_plain(&number.to_string()), name(number));
        }
        // All of one name first: then the other's are the oldest.
        for number in (0..100_000).step_by(2).chain((1..100_000).step_by(2)) {
            let (id, _) = pairing.answer(&Text::default(), Some(&name(number))).unwrap();
            assert_eq!(id.plain(), number.to_string());
        }
    }
}
