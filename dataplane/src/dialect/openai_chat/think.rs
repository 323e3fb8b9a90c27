//! Thoughts that stand in the text, between `<think>` and `</think>`: told apart however the pieces are cut.

/// Where in the text of one choice we are.
#[derive(Default)]
pub struct Splitter {
    place: Place,
    /// The beginning of what may become a tag.
    held: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has been said yet: only here can thoughts begin.
    #[default]
    Front,
    Thought,
    Text,
}

const OPEN: &[u8] = b"<think>";
const CLOSE: &[u8] = b"</think>";
/// Blanks that are held back in front of what may become a tag: more of them are text.
const FRONT_BYTES_MAX: usize = 64;

impl Splitter {
    /// Says each piece, and whether it is thought. The bytes are the inside of a JSON string; neither tag needs an escape,
    /// and an escaped `<` is nobody's.
    pub fn feed(&mut self, raw: &[u8], say: &mut dyn FnMut(bool, &[u8])) {
        let joined;
        let mut rest = raw;
        if !self.held.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(raw);
            joined = held;
            rest = &joined;
        }
        while !rest.is_empty() {
            match self.place {
                Place::Front => {
                    let blank = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
                    // Line ends in front are escaped: `\n`.
                    let blank = escaped_blank(rest, blank);
                    let word = &rest[blank..];
                    if word.starts_with(OPEN) {
                        self.place = Place::Thought;
                        rest = &word[OPEN.len()..];
                    } else if OPEN.starts_with(word) && rest.len() <= FRONT_BYTES_MAX {
                        self.held = rest.to_vec();
                        return;
                    } else {
                        self.place = Place::Text;
                    }
                }
                Place::Thought => match memchr::memmem::find(rest, CLOSE) {
                    Some(at) => {
                        say(true, &rest[..at]);
                        self.place = Place::Text;
                        rest = &rest[at + CLOSE.len()..];
                        let blank = escaped_blank(rest, 0);
                        rest = &rest[blank..];
                    }
                    None => {
                        let kept = (1..CLOSE.len()).rev().find(|length| rest.ends_with(&CLOSE[..*length])).unwrap_or(0);
                        let (said, tail) = rest.split_at(rest.len() - kept);
                        if !said.is_empty() {
                            say(true, said);
                        }
                        self.held = tail.to_vec();
                        return;
                    }
                },
                Place::Text => {
                    say(false, rest);
                    return;
                }
            }
        }
    }

    /// Nothing follows: what might have become a tag is what it is.
    pub fn flush(&mut self, say: &mut dyn FnMut(bool, &[u8])) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            say(self.place == Place::Thought, &held);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' '
}

/// Behind spaces and escaped line ends, from `at` on.
fn escaped_blank(raw: &[u8], mut at: usize) -> usize {
    loop {
        match raw.get(at..) {
            Some([b' ', ..]) => at += 1,
            Some([b'\\', b'n' | b'r' | b't', ..]) => at += 2,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_told_apart_in_any_cut() {
        for (text, thought, words) in [
            ("<think>hm</think>hello", "hm", "hello"),
            ("\\n<think>\\nhm <b> </thin</think>\\n\\nhello <think>", "\\nhm <b> </thin", "hello <think>"),
            ("hello <think>no</think>", "", "hello <think>no</think>"),
            ("<think>never closed </th", "never closed </th", ""),
            ("<thin", "", "<thin"),
            ("", "", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let mut splitter = Splitter::default();
                let (mut thoughts, mut said) = (Vec::new(), Vec::new());
                let mut say = |thought: bool, piece: &[u8]| {
                    if thought { thoughts.extend_from_slice(piece) } else { said.extend_from_slice(piece) }
                };
                // A cut never falls into an escape: pieces are whole JSON strings.
                let mut at = 0;
                while at < text.len() {
                    let mut end = (at + size).min(text.len());
                    while text.as_bytes()[end - 1] == b'\\' {
                        end += 1;
                    }
                    splitter.feed(&text.as_bytes()[at..end], &mut say);
                    at = end;
                }
                splitter.flush(&mut say);
                let (thoughts, said) = (String::from_utf8(thoughts).unwrap(), String::from_utf8(said).unwrap());
                if said.trim_start_matches("\\n") != words.trim_start_matches("\\n") || thoughts != thought {
                    panic!("{text:?} in {size}: {thoughts:?} {said:?}");
                }
            }
        }
    }
}
