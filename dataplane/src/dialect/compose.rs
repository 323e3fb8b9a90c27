//! JSON written member by member, straight into the buffer that leaves.

use super::text::{Json, Text, escape_json};
use crate::wire::json;

/// An object being written. Its closing brace comes with [`Object::close`], or when the closure that fills it returns.
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub fn write(out: &'o mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        let mut object = Object::open(out);
        fill(&mut object);
        object.close();
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    /// The place of a value: whatever is appended to it becomes the member's value.
    pub fn member(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub fn raw(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.member(key).extend_from_slice(value.as_ref());
        self
    }

    pub fn json(&mut self, key: &str, value: &Json<'_>) -> &mut Self {
        self.raw(key, value.raw())
    }

    pub fn text(&mut self, key: &str, value: &Text<'_>) -> &mut Self {
        quoted(self.member(key), value.raw());
        self
    }

    /// A string that holds no character in need of an escape, or anything: it is escaped.
    pub fn str(&mut self, key: &str, value: &str) -> &mut Self {
        let out = self.member(key);
        out.push(b'"');
        json::escape_into(out, value);
        out.push(b'"');
        self
    }

    pub fn number(&mut self, key: &str, value: u64) -> &mut Self {
        number(self.member(key), value);
        self
    }

    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    pub fn null(&mut self, key: &str) -> &mut Self {
        self.raw(key, "null")
    }

    /// A JSON value within a string.
    pub fn json_in_string(&mut self, key: &str, value: &[u8]) -> &mut Self {
        let out = self.member(key);
        out.push(b'"');
        escape_json(out, value);
        out.push(b'"');
        self
    }

    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        Object::write(self.member(key), fill);
        self
    }

    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        Array::write(self.member(key), fill);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.empty
    }
}

pub struct Array<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Array<'o> {
    pub fn write(out: &'o mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
        out.push(b'[');
        let mut array = Array { out, empty: true };
        fill(&mut array);
        array.out.push(b']');
    }

    /// The place of the next element.
    pub fn element(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    pub fn raw(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.element().extend_from_slice(value.as_ref());
        self
    }

    pub fn text(&mut self, value: &Text<'_>) -> &mut Self {
        quoted(self.element(), value.raw());
        self
    }

    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        Object::write(self.element(), fill);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.empty
    }
}

/// `data:image/png;base64,…`, as the inside of a string.
pub fn data_url(mime: &Text<'_>, base64: &Text<'_>, out: &mut Vec<u8>) {
    for piece in [b"data:", mime.raw(), b";base64,", base64.raw()] {
        out.extend_from_slice(piece);
    }
}

pub fn quoted(out: &mut Vec<u8>, raw: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(raw);
    out.push(b'"');
}

pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut out = Vec::new();
        Object::write(&mut out, |object| {
            object.str("a", "x\"y").number("n", 0).number("m", u64::MAX).bool("t", true).null("z");
            object.text("raw", &Text::of_raw(br"\u00e9"));
            object.object("o", |_| {});
            object.array("l", |array| {
                array.raw("1").text(&Text::of_plain("two")).object(|object| {
                    object.json_in_string("s", br#"{"a":"b"}"#);
                });
            });
        });
        let want = r#"{"a":"x\"y","n":0,"m":18446744073709551615,"t":true,"z":null,"raw":"\u00e9","o":{},"l":[1,"two",{"s":"{\"a\":\"b\"}"}]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
