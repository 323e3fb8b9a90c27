//! What a body gives: the small steps that every reader of calls takes.

use super::call::Source;
use super::speech::Unreadable;
use super::text::Text;
use crate::wire::json;

/// The members of an object that say anything: `null` is not given.
pub fn given(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    json::members(object).filter(|(_, value)| *value != b"null")
}

pub fn object(value: &[u8], at: &str) -> Result<(), Unreadable> {
    if value.starts_with(b"{") { Ok(()) } else { Err(Unreadable(format!("{at} must be an object"))) }
}

pub fn list<'a>(value: &'a [u8], at: &str) -> Result<json::Elements<'a>, Unreadable> {
    if value.starts_with(b"[") { Ok(json::elements(value)) } else { Err(Unreadable(format!("{at} must be a list"))) }
}

pub fn string<'a>(value: &'a [u8], at: &str) -> Result<Text<'a>, Unreadable> {
    Text::of_value(value).ok_or_else(|| Unreadable(format!("{at} must be a string")))
}

pub fn whole(value: &[u8], at: &str) -> Result<u64, Unreadable> {
    json::integer(value).ok_or_else(|| Unreadable(format!("{at} must be a whole number that is not negative")))
}

pub fn flag(value: &[u8], at: &str) -> Result<bool, Unreadable> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(Unreadable(format!("{at} must be true or false"))),
    }
}

/// The path of a member, as its caller would write it.
pub fn path(at: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    if at.is_empty() { key.into_owned() } else { format!("{at}.{key}") }
}

/// `data:image/png;base64,…`, taken apart. `None` when it is another URL.
pub fn data_url<'a>(url: &Text<'a>) -> Option<Source<'a>> {
    let (mime, base64) = url.split_behind("data:", ";base64,")?;
    Some(Source::Data { mime, base64 })
}
