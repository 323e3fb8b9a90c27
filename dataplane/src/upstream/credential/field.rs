//! A key in a header field.

use crate::secret::{Sign, Unsigned};

/// The whole field with its line end, and the key within it.
struct Field {
    line: Box<[u8]>,
    hidden: [Box<[u8]>; 1],
}

pub fn bearer(token: &str) -> Box<dyn Sign> {
    field(format!("authorization: Bearer {token}\r\n"), token)
}

pub fn named(name: &'static str, key: &str) -> Box<dyn Sign> {
    field(format!("{name}: {key}\r\n"), key)
}

fn field(line: String, key: &str) -> Box<dyn Sign> {
    Box::new(Field { line: line.into_bytes().into(), hidden: [key.as_bytes().into()] })
}

impl Sign for Field {
    fn fields(&self, _: &Unsigned<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.line);
    }

    fn hidden(&self) -> &[Box<[u8]>] {
        &self.hidden
    }
}
