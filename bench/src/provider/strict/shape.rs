//! The members that a body may have, as data.

use serde_json::Value;

/// What a value must be.
pub enum Shape {
    Any,
    Text,
    /// A text that is not empty.
    Said,
    /// A text that is not blank.
    Filled,
    Flag,
    Number,
    /// A number in these bounds, both included.
    Between(f64, f64),
    /// A whole number, at least this.
    Whole(i64),
    /// Any object.
    Object,
    Word(&'static [&'static str]),
    List(&'static Shape),
    /// A list with something in it.
    Some(&'static Shape),
    /// These members and no other.
    Fields(&'static [Field]),
    /// The text under the name says which members there are beside it.
    Tagged(&'static str, &'static [(&'static str, &'static [Field])]),
    /// Exactly one of the first, and any of the second.
    OneOf(&'static [Field], &'static [Field]),
    /// One of these; the complaint is the last one's that is a list where a list is told, or is none.
    Either(&'static [Shape]),
}

pub struct Field {
    name: &'static str,
    shape: Shape,
    needed: bool,
}

pub const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, needed: false }
}

pub const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, needed: true }
}

/// Says what does not fit, and where. `null` is the same as not being there.
pub fn fits(value: &Value, shape: &Shape, at: &str) -> Result<(), String> {
    let is = |good: bool, what: &str| if good { Ok(()) } else { Err(format!("{at}: {what}, not {}", short(value))) };
    match shape {
        Shape::Any => Ok(()),
        Shape::Text => is(value.is_string(), "must be a text"),
        Shape::Said => is(value.as_str().is_some_and(|text| !text.is_empty()), "must be a text, not empty"),
        Shape::Filled => is(value.as_str().is_some_and(|text| !text.trim().is_empty()), "must be a text, not blank"),
        Shape::Flag => is(value.is_boolean(), "must be true or false"),
        Shape::Number => is(value.is_number(), "must be a number"),
        Shape::Between(low, high) => {
            let inside = value.as_f64().is_some_and(|number| (*low..=*high).contains(&number));
            is(inside, &format!("must be a number from {low} to {high}"))
        }
        Shape::Whole(low) => {
            is(value.as_i64().is_some_and(|number| number >= *low), &format!("must be a whole number from {low}"))
        }
        Shape::Object => is(value.is_object(), "must be an object"),
        Shape::Word(words) => is(
            value.as_str().is_some_and(|word| words.contains(&word)),
            &format!("must be one of {}", words.join(", ")),
        ),
        Shape::List(item) => items(value, item, at),
        Shape::Some(item) => {
            is(value.as_array().is_none_or(|list| !list.is_empty()), "must hold something")?;
            items(value, item, at)
        }
        Shape::Fields(fields) => members(value, &[fields], "", at),
        Shape::Tagged(tag, kinds) => {
            let kind = value.get(tag).and_then(Value::as_str).unwrap_or_default();
            match kinds.iter().find(|(name, _)| *name == kind) {
                Some((_, fields)) => members(value, &[fields], tag, at),
                None => {
                    let known: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
                    Err(format!("{at}.{tag}: `{kind}` is not one of {}", known.join(", ")))
                }
            }
        }
        Shape::OneOf(arms, beside) => {
            members(value, &[arms, beside], "", at)?;
            let told = arms.iter().filter(|arm| value.get(arm.name).is_some_and(|value| !value.is_null())).count();
            is(told == 1, "must be of exactly one kind")
        }
        Shape::Either(shapes) => {
            let listed = |shape: &Shape| matches!(shape, Shape::List(_) | Shape::Some(_));
            let meant = shapes.iter().rfind(|shape| listed(shape) == value.is_array()).or(shapes.last());
            if shapes.iter().any(|shape| fits(value, shape, at).is_ok()) {
                return Ok(());
            }
            meant.map_or(Ok(()), |shape| fits(value, shape, at))
        }
    }
}

fn items(value: &Value, item: &Shape, at: &str) -> Result<(), String> {
    let Some(list) = value.as_array() else { return Err(format!("{at}: must be a list, not {}", short(value))) };
    list.iter().enumerate().try_for_each(|(index, value)| fits(value, item, &format!("{at}[{index}]")))
}

/// `tag` is known without being listed.
fn members(value: &Value, lists: &[&[Field]], tag: &str, at: &str) -> Result<(), String> {
    let Some(object) = value.as_object() else { return Err(format!("{at}: must be an object, not {}", short(value))) };
    let dot = if at.is_empty() { "" } else { "." };
    for (name, value) in object.iter().filter(|(name, value)| *name != tag && !value.is_null()) {
        let at = format!("{at}{dot}{name}");
        match lists.iter().copied().flatten().find(|field| field.name == name) {
            Some(field) => fits(value, &field.shape, &at)?,
            None => return Err(format!("{at}: unknown name")),
        }
    }
    for field in lists.iter().copied().flatten().filter(|field| field.needed) {
        if object.get(field.name).is_none_or(Value::is_null) {
            return Err(format!("{at}{dot}{}: is required", field.name));
        }
    }
    Ok(())
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}
