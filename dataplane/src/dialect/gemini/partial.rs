//! Arguments of a call that come as pieces: values, each with the path at which it belongs (`$.list[0].name`).

use crate::dialect::compose::quoted;
use crate::dialect::speech::Malformed;
use crate::dialect::text::plain;
use crate::wire::json;

/// An object that is put together from its leaves.
#[derive(Debug)]
pub struct Partial {
    root: Node,
    nodes: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Node {
    Object(Vec<(Vec<u8>, Node)>),
    Array(Vec<Node>),
    /// The inside of a string, which may go on.
    Text(Vec<u8>),
    Raw(Vec<u8>),
}

/// More than this is no call that anybody could run.
const NODES_MAX: usize = 4 << 10;
const DEPTH_MAX: usize = 64;
pub const ARGUMENTS_BYTES_MAX: usize = 16 << 20;

impl Default for Partial {
    fn default() -> Self {
        Self { root: Node::Object(Vec::new()), nodes: 0, bytes: 0 }
    }
}

impl Partial {
    /// One entry of `partialArgs`.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let path = json::get(piece, "jsonPath").and_then(json::text).ok_or(Malformed("an argument without a path"))?;
        let mut value = None;
        for (key, raw) in json::members(piece) {
            value = match key {
                b"stringValue" => Some(Node::Text(inner(raw)?.to_vec())),
                b"numberValue" | b"boolValue" => Some(Node::Raw(raw.to_vec())),
                b"nullValue" => Some(Node::Raw(b"null".to_vec())),
                _ => continue,
            };
        }
        let Some(value) = value else { return Ok(()) };
        self.bytes += piece.len();
        if self.bytes > ARGUMENTS_BYTES_MAX {
            return Err(Malformed("arguments too long"));
        }
        let mut place = &mut self.root;
        for step in steps(&path)? {
            place = place.step(step, &mut self.nodes)?;
        }
        match (place, value) {
            (Node::Text(text), Node::Text(more)) => text.extend_from_slice(&more),
            (place, value) => *place = value,
        }
        Ok(())
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.root.write(out);
    }
}

impl Node {
    /// What does not exist yet is made; what is something else becomes what the path says it is.
    fn step(&mut self, step: Step, nodes: &mut usize) -> Result<&mut Self, Malformed> {
        let empty = || Self::Raw(b"null".to_vec());
        match step {
            Step::Member(name) => {
                if !matches!(self, Self::Object(_)) {
                    *self = Self::Object(Vec::new());
                }
                let Self::Object(members) = self else { return Err(TOO_MANY) };
                let place = match members.iter().position(|(known, _)| *known == name) {
                    Some(place) => place,
                    None => {
                        *nodes += 1;
                        members.push((name, empty()));
                        members.len() - 1
                    }
                };
                if *nodes > NODES_MAX { Err(TOO_MANY) } else { Ok(&mut members[place].1) }
            }
            Step::Element(index) => {
                if !matches!(self, Self::Array(_)) {
                    *self = Self::Array(Vec::new());
                }
                let Self::Array(elements) = self else { return Err(TOO_MANY) };
                if index > NODES_MAX {
                    return Err(TOO_MANY);
                }
                if index >= elements.len() {
                    *nodes += index + 1 - elements.len();
                    if *nodes > NODES_MAX {
                        return Err(TOO_MANY);
                    }
                    elements.resize_with(index + 1, empty);
                }
                Ok(&mut elements[index])
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(raw) => out.extend_from_slice(raw),
            Self::Text(text) => quoted(out, text),
            Self::Array(elements) => {
                out.push(b'[');
                for (place, element) in elements.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    element.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    quoted(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

const TOO_MANY: Malformed = Malformed("more arguments than anybody could run");

enum Step {
    /// A member's name, as it is written in JSON.
    Member(Vec<u8>),
    Element(usize),
}

/// `$.a.b[0]['c d']` in steps.
fn steps(path: &str) -> Result<Vec<Step>, Malformed> {
    const NO_PATH: Malformed = Malformed("an argument's path is none");
    let member = |name: &str| {
        let mut raw = Vec::with_capacity(name.len());
        json::escape_into(&mut raw, name);
        Step::Member(raw)
    };
    let mut rest = path.strip_prefix('$').ok_or(NO_PATH)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == DEPTH_MAX {
            return Err(NO_PATH);
        }
        if let Some(inside) = rest.strip_prefix('[') {
            let quote = inside.chars().next().filter(|first| matches!(first, '\'' | '"'));
            if let Some(quote) = quote {
                let end = closing(inside, quote).ok_or(NO_PATH)?;
                steps.push(member(&plain(&inside.as_bytes()[1..end])));
                rest = inside[end + 1..].strip_prefix(']').ok_or(NO_PATH)?;
            } else {
                let (index, behind) = inside.split_once(']').ok_or(NO_PATH)?;
                steps.push(Step::Element(index.parse().map_err(|_| NO_PATH)?));
                rest = behind;
            }
        } else {
            let name = rest.strip_prefix('.').ok_or(NO_PATH)?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                return Err(NO_PATH);
            }
            steps.push(member(&name[..end]));
            rest = &name[end..];
        }
    }
    if steps.is_empty() { Err(NO_PATH) } else { Ok(steps) }
}

/// Where a quoted name ends.
fn closing(quoted: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    quoted.char_indices().skip(1).find_map(|(at, letter)| {
        let ends = letter == quote && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn inner(raw: &[u8]) -> Result<&[u8], Malformed> {
    let inner = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
    inner.ok_or(Malformed("a stringValue that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(pieces: &[&str]) -> Result<String, Malformed> {
        let mut partial = Partial::default();
        pieces.iter().try_for_each(|piece| partial.take(piece.as_bytes()))?;
        let mut out = Vec::new();
        partial.write(&mut out);
        json::validate(&out).unwrap();
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn leaves_become_an_object() {
        let pieces = [
            r#"{"jsonPath":"$.recipe.ingredients[0].amount","stringValue":"16 ","willContinue":true}"#,
            r#"{"jsonPath":"$.recipe.ingredients[0].amount","stringValue":"oz\n"}"#,
            r#"{"jsonPath":"$.recipe.ingredients[1].count","numberValue":2.5}"#,
            r#"{"jsonPath":"$['a \"b\"'].c","boolValue":true}"#,
            r#"{"jsonPath":"$.none","nullValue":"NULL_VALUE"}"#,
        ];
        assert_eq!(
            built(&pieces).unwrap(),
            r#"{"recipe":{"ingredients":[{"amount":"16 oz\n"},{"count":2.5}]},"a \"b\"":{"c":true},"none":null}"#
        );
        assert_eq!(built(&[]).unwrap(), "{}");
    }

    #[test]
    fn nonsense_is_malformed_and_bounded() {
        for path in ["", "x", "$", "$.", "$[", "$[-1]", "$[99999999]", "$['a", "$.a[18446744073709551615]", "$..a"] {
            let piece = format!(r#"{{"jsonPath":"{path}","stringValue":""}}"#);
            assert!(built(&[&piece]).is_err(), "{path}");
        }
        assert!(built(&[r#"{"stringValue":""}"#]).is_err());
    }
}
