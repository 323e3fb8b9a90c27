//! What a body gives: the small steps that every reader of calls takes.

use std::fmt::{self, Display};

use super::call::Source;
use super::speech::Unreadable;
use super::text::Text;
use crate::wire::json;

/// The members of an object that say anything: `null` is not given.
pub fn given(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    json::members(object).filter(|(_, value)| *value != b"null")
}

pub fn object(value: &[u8], at: &(impl Display + ?Sized)) -> Result<(), Unreadable> {
    if value.starts_with(b"{") { Ok(()) } else { Err(Unreadable(format!("{at} must be an object"))) }
}

pub fn list<'a>(value: &'a [u8], at: &(impl Display + ?Sized)) -> Result<json::Elements<'a>, Unreadable> {
    if value.starts_with(b"[") { Ok(json::elements(value)) } else { Err(Unreadable(format!("{at} must be a list"))) }
}

pub fn string<'a>(value: &'a [u8], at: &(impl Display + ?Sized)) -> Result<Text<'a>, Unreadable> {
    Text::of_value(value).ok_or_else(|| Unreadable(format!("{at} must be a string")))
}

/// What stands between a string's quotes, for as long as the body lives.
pub fn inside<'a>(value: &'a [u8], at: At<'_>) -> Result<&'a [u8], Unreadable> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.ok_or_else(|| Unreadable(format!("{at} must be a string")))
}

pub fn whole(value: &[u8], at: &(impl Display + ?Sized)) -> Result<u64, Unreadable> {
    json::integer(value).ok_or_else(|| Unreadable(format!("{at} must be a whole number that is not negative")))
}

pub fn flag(value: &[u8], at: &(impl Display + ?Sized)) -> Result<bool, Unreadable> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(Unreadable(format!("{at} must be true or false"))),
    }
}

/// Where a reader is, told only when somebody asks: `messages[2].content[0]`.
#[derive(Clone, Copy)]
pub enum At<'p> {
    Top,
    In(&'p At<'p>, &'p [u8]),
    Nth(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    pub fn of(name: &'p [u8]) -> Self {
        Self::In(&At::Top, name)
    }

    pub fn key(&'p self, name: &'p [u8]) -> Self {
        Self::In(self, name)
    }

    pub fn nth(&'p self, place: usize) -> Self {
        Self::Nth(self, place)
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::In(Self::Top, name) => f.write_str(&String::from_utf8_lossy(name)),
            Self::In(outer, name) => write!(f, "{outer}.{}", String::from_utf8_lossy(name)),
            Self::Nth(outer, place) => write!(f, "{outer}[{place}]"),
        }
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
