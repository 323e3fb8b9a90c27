//! What of a call did not find its way into the vendor's language, as its caller named it.

use super::call::Call;
use super::speech::{Lost, Speech};

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Fallen {
    /// The answer would be another one without it: refused, or dropped with the operator's leave.
    pub wishes: Vec<String>,
    /// It would not, see [`super::hints`]: told.
    pub hints: Vec<String>,
}

impl Fallen {
    pub fn of(caller: &dyn Speech, call: &Call<'_>, lost: &[Lost]) -> Self {
        let path = |lost: &Lost| match lost {
            Lost::Thing(thing) | Lost::Hint(thing) => (*thing).to_owned(),
            Lost::Param(param) => {
                let known = caller.params().iter().find(|(known, _)| known == param);
                known.map_or_else(|| format!("{param:?}"), |(_, path)| (*path).to_owned())
            }
        };
        let (hints, wishes): (Vec<_>, Vec<_>) = lost.iter().partition(|lost| lost.is_hint());
        Self {
            wishes: call.unmapped.iter().cloned().chain(wishes.into_iter().map(path)).collect(),
            hints: call.hints.iter().cloned().chain(hints.into_iter().map(path)).collect(),
        }
    }

    /// What a refusal names.
    pub fn refused(self) -> Vec<String> {
        tidy(self.wishes.into_iter())
    }

    /// What `x-weir-dropped` says.
    pub fn told(self) -> Vec<String> {
        tidy(self.wishes.into_iter().chain(self.hints))
    }
}

/// Names that go into errors and header fields: short, in order, nothing but graphic ASCII.
fn tidy(names: impl Iterator<Item = String>) -> Vec<String> {
    let clean = |name: String| -> String {
        let kept = name.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ');
        kept.filter(|letter| !matches!(letter, '"' | '\\' | ',')).take(NAME_LETTERS_MAX).collect()
    };
    let mut names: Vec<String> = names.map(clean).collect();
    names.sort();
    names.dedup();
    if names.len() > NAMES_MAX {
        let more = names.len() - (NAMES_MAX - 1);
        names.truncate(NAMES_MAX - 1);
        names.push(format!("and {more} more"));
    }
    names
}

/// What is refused or dropped is told by name, up to here; the last one says how many there were besides.
const NAMES_MAX: usize = 16;
const NAME_LETTERS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_a_header() {
        let names = tidy(["b", "a\r\nx: y", "b", "é,\"q\\"].into_iter().map(str::to_owned));
        assert_eq!(names, ["ax: y", "b", "q"]);
        let many = tidy((0..99).map(|n| format!("{n}{:0200}", 0)));
        assert_eq!((many.len(), many.last().map(String::as_str)), (16, Some("and 75 more")));
    }

    #[test]
    fn hints_refuse_nobody() {
        let fallen = Fallen { wishes: vec!["seed".into()], hints: vec!["user".into()] };
        assert_eq!(fallen.clone().refused(), ["seed"]);
        assert_eq!(fallen.told(), ["seed", "user"]);
    }
}
