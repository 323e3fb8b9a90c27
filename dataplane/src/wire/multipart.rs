//! `multipart/form-data`, walked while it passes: which fields it has and where their values are. Nothing is kept but the
//! few bytes that a border between reads cuts.
//!
//! Strict, because the vendor reads the same bytes with another parser: the form starts with its delimiter, a delimiter
//! stands at a line's start and ends its line, and a part says its name once, in one way.

/// A form that two readers could read differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadForm(pub &'static str);

#[derive(Clone, Debug)]
pub struct Walker {
    /// CRLF, two hyphens and the boundary.
    needle: Vec<u8>,
    state: State,
    /// What could not be decided yet; it comes again in front of the next bytes.
    carried: Vec<u8>,
    /// Where in the whole form the next byte stands.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Start,
    /// Behind a delimiter: the end of its line, or of the form.
    Delimiter,
    Head,
    Value,
    Done,
}

/// What the walk comes upon; places count from the form's first byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Field { name: Vec<u8>, value_at: usize },
    End { value_end: usize },
}

/// RFC 2046.
const BOUNDARY_BYTES_MAX: usize = 70;
/// A part's head: a disposition, a type, and a long file name.
const HEAD_BYTES_MAX: usize = 4 << 10;

impl Walker {
    /// From a content type; `None` when it is no form with one usable boundary.
    pub fn of_content_type(content_type: &[u8]) -> Option<Self> {
        let mut parts = parameters(content_type)?.into_iter();
        let (kind, none) = parts.next()?;
        if !kind.eq_ignore_ascii_case(b"multipart/form-data") || none.is_some() {
            return None;
        }
        let mut boundaries = parts.filter(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
        let (_, boundary) = boundaries.next()?;
        let boundary = boundary.filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))?;
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        if boundaries.next().is_some() || !boundary.iter().all(legal) || boundary.ends_with(b" ") {
            return None;
        }
        let needle = [b"\r\n--", &boundary[..]].concat();
        Some(Self { needle, state: State::Start, carried: Vec::new(), at: 0 })
    }

    /// Looks at the next bytes of the form.
    pub fn walk(&mut self, bytes: &[u8], mut each: impl FnMut(Found)) -> Result<(), BadForm> {
        if self.state == State::Done {
            return Ok(());
        }
        let mut window = std::mem::take(&mut self.carried);
        let base = self.at - window.len();
        self.at += bytes.len();
        window.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(next) = self.step(&window, at, base, &mut each)? {
            at = next;
        }
        if self.state != State::Done {
            // Of a value, only what may be the beginning of a delimiter matters.
            let from = if self.state == State::Value {
                at.max((window.len() + 1).saturating_sub(self.needle.len()))
            } else {
                at
            };
            self.carried = window.split_off(from);
        }
        Ok(())
    }

    /// One step from `at` in the window; `None` when it needs more bytes, or none at all.
    fn step(
        &mut self,
        window: &[u8],
        at: usize,
        base: usize,
        each: &mut impl FnMut(Found),
    ) -> Result<Option<usize>, BadForm> {
        let rest = &window[at..];
        match self.state {
            State::Start => {
                // The first delimiter has no line before it.
                let delimiter = &self.needle[2..];
                if rest.len() < delimiter.len() {
                    return Ok(None);
                }
                if !rest.starts_with(delimiter) {
                    return Err(BadForm("it does not start with its boundary"));
                }
                self.state = State::Delimiter;
                Ok(Some(at + delimiter.len()))
            }
            State::Delimiter => match rest {
                [b'\r', b'\n', ..] => {
                    self.state = State::Head;
                    Ok(Some(at + 2))
                }
                [b'-', b'-', ..] => {
                    self.state = State::Done;
                    Ok(None)
                }
                [] | [b'\r'] | [b'-'] => Ok(None),
                _ => Err(BadForm("something follows a boundary on its line")),
            },
            State::Head => {
                let Some(length) = memchr::memmem::find(rest, b"\r\n\r\n") else {
                    let long = rest.len() > HEAD_BYTES_MAX;
                    return if long { Err(BadForm("the head of a part is too long")) } else { Ok(None) };
                };
                let value_at = at + length + 4;
                each(Found::Field { name: field_name(&rest[..length])?, value_at: base + value_at });
                self.state = State::Value;
                // The empty line may be the one that a delimiter begins with.
                Ok(Some(value_at - 2))
            }
            State::Value => match memchr::memmem::find(rest, &self.needle) {
                Some(length) => {
                    // An empty value's delimiter begins with the head's own last line end.
                    each(Found::End { value_end: base + at + length });
                    self.state = State::Delimiter;
                    Ok(Some(at + length + self.needle.len()))
                }
                None => Ok(None),
            },
            State::Done => Ok(None),
        }
    }
}

/// The name that a part's head gives it, said once.
fn field_name(head: &[u8]) -> Result<Vec<u8>, BadForm> {
    let mut name = None;
    for line in head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if line.contains(&b'\r') || matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(BadForm("a part's head is folded"));
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(BadForm("a part's head is not one"));
        };
        if !line[..colon].trim_ascii().eq_ignore_ascii_case(b"content-disposition") {
            continue;
        }
        let parts = parameters(&line[colon + 1..]).ok_or(BadForm("a part's disposition is not one"))?;
        for (key, value) in parts.into_iter().skip(1) {
            // In pieces as well as encoded: some put it together, and then it is another name than this one.
            if key.len() > 4 && key[..5].eq_ignore_ascii_case(b"name*") {
                return Err(BadForm("a part's name is encoded"));
            }
            if key.eq_ignore_ascii_case(b"name") && name.replace(value.unwrap_or_default()).is_some() {
                return Err(BadForm("a part has two names"));
            }
        }
    }
    name.ok_or(BadForm("a part has no name"))
}

/// `kind; key=value; key="value"`, taken apart; `None` when the quotes do not match or hold an escape.
#[expect(clippy::type_complexity, reason = "a list of keys and values")]
fn parameters(text: &[u8]) -> Option<Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut quoted = false;
    for &byte in text.iter().chain(b";") {
        match byte {
            b'"' => {
                quoted = !quoted;
                part.push(byte);
            }
            b'\\' if quoted => return None,
            b';' if !quoted => {
                let piece = std::mem::take(&mut part);
                let piece = piece.trim_ascii();
                if !piece.is_empty() {
                    parts.push(parameter(piece)?);
                }
            }
            _ => part.push(byte),
        }
    }
    (!quoted).then_some(parts)
}

fn parameter(piece: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { return Some((piece.to_vec(), None)) };
    let (key, value) = (piece[..equals].trim_ascii(), piece[equals + 1..].trim_ascii());
    let value = match value.strip_prefix(b"\"") {
        Some(inner) => inner.strip_suffix(b"\"")?,
        None => value,
    };
    (!value.contains(&b'"')).then(|| (key.to_vec(), Some(value.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walker() -> Walker {
        Walker::of_content_type(b"multipart/form-data; boundary=XX").unwrap()
    }

    /// Fields with their values, however the form is cut.
    fn fields(form: &[u8], piece: usize) -> Result<Vec<(String, String)>, BadForm> {
        let mut walker = walker();
        let mut open: Option<(Vec<u8>, usize)> = None;
        let mut fields = Vec::new();
        for part in form.chunks(piece) {
            walker.walk(part, |found| match found {
                Found::Field { name, value_at } => open = Some((name, value_at)),
                Found::End { value_end } => {
                    if let Some((name, at)) = open.take() {
                        let value = form.get(at..value_end).unwrap_or_default();
                        fields.push((String::from_utf8_lossy(&name).into(), String::from_utf8_lossy(value).into()));
                    }
                }
            })?;
        }
        Ok(fields)
    }

    const FORM: &[u8] = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: x/y\r\n\r\na--XX\r\nb\n--XX\r\n\r\n--XX\r\ncontent-disposition: form-data; Name=model\r\n\r\nwhisper-1\r\n--XX\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\nepilogue";

    #[test]
    fn a_form_comes_apart_wherever_it_is_cut() {
        let expected = [("file", "a--XX\r\nb\n--XX\r\n"), ("model", "whisper-1"), ("empty", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for piece in 1..=FORM.len() {
            assert_eq!(fields(FORM, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for form in [
            &b"preamble\r\n--XX\r\n"[..],
            b"x--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--XX--",
            b"--XXY\r\n",
            b"--XX \r\n",
            b"--XX\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n",
            b"--XX\r\nContent-Disposition: form-data; name*=utf-8''model\r\n\r\n",
            b"--XX\r\nContent-Disposition: form-data; name=\"x\"; name*0=\"mod\"; name*1=\"el\"\r\n\r\n",
            b"--XX\r\nContent-Disposition: form-data; name=\"x\"; NAME*0*=utf-8''model\r\n\r\n",
            b"--XX\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n",
            b"--XX\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n",
            b"--XX\r\nContent-Type: x/y\r\n\r\n",
            b"--XX\r\nnonsense\r\n\r\n",
        ] {
            for piece in [1, 7, form.len()] {
                assert!(fields(form, piece).is_err(), "{:?}", String::from_utf8_lossy(form));
            }
        }
        assert!(fields(&[b"--XX\r\nX: ".as_slice(), &[b'y'; 9_000]].concat(), 512).is_err());
    }

    #[test]
    fn the_boundary_is_one_parameter() {
        let is_form = |text: &str| Walker::of_content_type(text.as_bytes()).is_some();
        assert!(
            is_form("multipart/form-data; boundary=abc") && is_form("Multipart/Form-Data; charset=x; BOUNDARY=\"a b\"")
        );
        for text in [
            "multipart/form-data",
            "multipart/form-data; xboundary=a",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
            "application/json; boundary=a",
        ] {
            assert!(!is_form(text), "{text}");
        }
    }
}
