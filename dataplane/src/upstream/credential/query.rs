//! A key in the query: `?key=…`.

use weir_shared::id::percent_encode;

use crate::secret::{Sign, Unsigned};

struct Query {
    pair: Box<[u8]>,
    /// As it is, and as it is written in a URL: vendors repeat URLs in their errors.
    hidden: [Box<[u8]>; 2],
}

pub fn key(key: &str) -> Box<dyn Sign> {
    let mut value = Vec::new();
    percent_encode(key.as_bytes(), &mut value);
    let pair = [b"key=", &*value].concat().into();
    Box::new(Query { pair, hidden: [key.as_bytes().into(), value.into()] })
}

impl Sign for Query {
    fn query(&self) -> &[u8] {
        &self.pair
    }

    fn fields(&self, _: &Unsigned<'_>, _: &mut Vec<u8>) {}

    fn hidden(&self) -> &[Box<[u8]>] {
        &self.hidden
    }
}
