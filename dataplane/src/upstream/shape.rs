//! Where a vendor's own paths take the place of its dialect's, and what changes in a body with them. The rules are data
//! of the vendor's entry.

use std::ops::Range;

use weir_shared::catalog::Vendor;
use weir_shared::reach::{PathRule, Piece, rule_for};

use crate::parse::{self, Route, Splices};
use crate::wire::json;

/// What is asked of the vendor, as far as its path depends on it.
pub struct Place<'a> {
    pub route: &'a Route,
    pub model: Option<&'a str>,
    pub object_id: &'a str,
    pub query: &'a [u8],
    pub stream: bool,
}

/// The vendor's rule for this endpoint, when it has one.
pub fn rule<'v>(vendor: &'v Vendor, route: &Route, has_model: bool) -> Option<&'v PathRule> {
    if vendor.paths.is_empty() { None } else { rule_for(&vendor.paths, route.endpoint.path, has_model) }
}

/// Appends path and query as this vendor wants them.
pub fn write_target(vendor: &Vendor, asked: &Place<'_>, out: &mut Vec<u8>) {
    let (route, model, id) = (asked.route, asked.model.unwrap_or_default(), asked.object_id);
    let Some(rule) = rule(vendor, route, asked.model.is_some()) else {
        return parse::upstream_path(route, &vendor.base.path, model, id, asked.query, out);
    };
    let template = rule.template(asked.stream);
    out.extend_from_slice(vendor.base.path.as_bytes());
    out.push(b'/');
    for (place, piece) in template.path.iter().enumerate() {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Model => {
                let behind = template.path.get(place + 1);
                let more = behind.is_some_and(|piece| matches!(piece, Piece::Text(text) if text.starts_with('/')));
                parse::push_model(model, more, out);
            }
            Piece::Path => parse::dialect_path(route, model, id, out),
        }
    }
    let mut mark = b'?';
    if !template.query.is_empty() {
        out.push(mark);
        out.extend_from_slice(template.query.as_bytes());
        mark = b'&';
    }
    parse::push_query(asked.query, mark, out);
}

/// The changes that a rule makes in a body: valid JSON, an object.
pub fn splice(rule: &PathRule, body: &[u8], splices: &mut Splices) {
    let Some(open) = body.iter().position(|byte| *byte == b'{').map(|at| at + 1) else { return };
    let mut left = Vec::new();
    let mut kept = 0;
    let mut set = vec![false; rule.with.len()];
    for (key, value) in json::members(body) {
        let span = span_of(key, body).start - 1..span_of(value, body).end;
        if rule.without.iter().any(|name| json::key_is(key, name)) {
            left.push((span, kept));
            continue;
        }
        kept += 1;
        if let Some(at) = rule.with.iter().position(|(name, _)| json::key_is(key, name)) {
            set[at] = true;
            splices.replace(span_of(value, body), quoted(&rule.with[at].1));
        }
    }
    let missing: Vec<_> = rule.with.iter().zip(&set).filter(|(_, set)| !**set).map(|(pair, _)| pair).collect();
    let mut first = Vec::new();
    for (name, value) in &missing {
        for part in [b"\"", name.as_bytes(), b"\":", &quoted(value), b","] {
            first.extend_from_slice(part);
        }
    }
    if kept == 0 {
        first.pop();
    }
    if !first.is_empty() {
        splices.replace(open..open, first);
    }
    for (span, kept_before) in left {
        splices.replace(with_comma(body, span, kept_before == kept), Vec::new());
    }
}

/// A member together with the comma that would be left over: the one behind it, or, where only such members follow, the
/// one in front.
fn with_comma(body: &[u8], span: Range<usize>, last: bool) -> Range<usize> {
    let space = |byte: &u8| byte.is_ascii_whitespace();
    let behind = span.end + body[span.end..].iter().take_while(|byte| space(byte)).count();
    if !last && body.get(behind) == Some(&b',') {
        return span.start..behind + 1;
    }
    let front = span.start - body[..span.start].iter().rev().take_while(|byte| space(byte)).count();
    match front.checked_sub(1) {
        Some(comma) if body[comma] == b',' => comma..span.end,
        // The first of all, and none of them is kept: what follows takes its own comma along.
        _ => span,
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    json::escape_into(&mut out, text);
    out.push(b'"');
    out
}

/// Where a part of the body stands in it.
fn span_of(part: &[u8], body: &[u8]) -> Range<usize> {
    let at = part.as_ptr() as usize - body.as_ptr() as usize;
    at..at + part.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_shared::draft::{PathDraft, VendorDraft};

    use super::*;

    fn rule_of(without: &[&str], with: &[(&str, &str)]) -> PathRule {
        let path = PathDraft {
            endpoint: "messages".into(),
            to: "models/{model}:rawPredict".into(),
            stream: None,
            without: without.iter().map(|name| (*name).to_owned()).collect(),
            with: with.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        };
        let draft = VendorDraft { paths: vec![path], ..VendorDraft::default() };
        weir_shared::reach::compile_paths(&draft, |_, what, _| panic!("{what}")).remove(0)
    }

    fn changed(rule: &PathRule, body: &str) -> serde_json::Value {
        let mut splices = Splices::default();
        splice(rule, body.as_bytes(), &mut splices);
        let mut out = Vec::new();
        splices.apply(body.as_bytes(), &mut out);
        serde_json::from_slice(&out).unwrap_or_else(|why| panic!("{body} -> {}: {why}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn members_come_and_go_wherever_they_stand() {
        let rule = rule_of(&["model", "service_tier"], &[("anthropic_version", "vertex-2023-10-16")]);
        let kept = serde_json::json!({"messages": [], "anthropic_version": "vertex-2023-10-16"});
        for body in [
            r#"{"model":"m","messages":[]}"#,
            r#"{"messages":[],"model":"m"}"#,
            r#" { "messages" : [] , "model" : "m" } "#,
            r#"{"model":"m","service_tier":"auto","messages":[]}"#,
            r#"{"messages":[],"model":"m","service_tier":{"a":[1,2]}}"#,
            r#"{"model":"m","messages":[],"service_tier":null}"#,
            r#"{"mod\u0065l":"m","messages":[]}"#,
            r#"{"messages":[],"anthropic_version":"2023-06-01","model":"m"}"#,
            r#"{"model":"m","anthropic_version":7,"messages":[]}"#,
        ] {
            assert_eq!(changed(&rule, body), kept, "{body}");
        }
        let alone = serde_json::json!({"anthropic_version": "vertex-2023-10-16"});
        for body in ["{}", r#"{"model":"m"}"#, r#"{ "model":"m" , "service_tier":1 }"#] {
            assert_eq!(changed(&rule, body), alone, "{body}");
        }
        assert_eq!(changed(&rule_of(&["model"], &[]), r#"{"model":"m","service_tier":1}"#)["service_tier"], 1);
        assert_eq!(changed(&rule_of(&["model"], &[]), r#"{"model":"m"}"#), serde_json::json!({}));
        assert_eq!(changed(&rule_of(&["a", "b"], &[]), r#"{"a":1,"b":2}"#), serde_json::json!({}));
        let three = rule_of(&["a", "b"], &[]);
        assert_eq!(changed(&three, r#"{"a":1,"b":2,"c":3,"a":4,"b":5}"#), serde_json::json!({"c": 3}));
    }
}
