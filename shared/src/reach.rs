//! How a vendor is reached where its dialect alone does not say it: words of an operator's that stand in addresses
//! (`{region}`, `{project}`), paths that are not the dialect's own, and what a credential is exchanged or signed with.
//!
//! All of it is data of the vendor's entry. A cloud that serves a known dialect below other paths needs no code.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{AuthScheme, BaseUrl};
use crate::draft::{PathDraft, VendorDraft};

/// What the ways to sign need to know beyond the secret itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Signing {
    pub region: Option<Arc<str>>,
    /// The name under which AWS knows what is signed for.
    pub service: Option<Arc<str>>,
    /// What a token is asked for.
    pub scope: Option<Arc<str>>,
    /// Where tokens are asked for, in place of the cloud's own address.
    pub token_url: Option<Arc<str>>,
}

/// A path that takes the place of the dialect's own, and what changes in the body with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathRule {
    /// The dialect's endpoint, as its language writes it down; `None` is every one.
    endpoint: Option<Box<str>>,
    unary: Template,
    stream: Template,
    /// Members of the body that are left out.
    pub without: Vec<Box<str>>,
    /// Members that stand in the body, whatever the caller said.
    pub with: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    /// Below the vendor's base, without a slash in front.
    pub path: Vec<Piece>,
    /// Without its question mark; empty when there is none.
    pub query: Box<str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Text(Box<str>),
    /// The vendor's name for the model.
    Model,
    /// The path that the dialect has for this.
    Path,
}

impl PathRule {
    pub fn template(&self, streams: bool) -> &Template {
        if streams { &self.stream } else { &self.unary }
    }

    pub fn changes_body(&self) -> bool {
        !self.without.is_empty() || !self.with.is_empty()
    }

    /// The dialect's endpoint that it is written for, when it is for one.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    fn serves(&self, endpoint: &str, has_model: bool) -> bool {
        let named = self.endpoint.as_deref().is_none_or(|own| own == endpoint);
        named && (has_model || !self.unary.path.contains(&Piece::Model))
    }
}

/// The first of a vendor's rules that is for this endpoint.
pub fn rule_for<'r>(rules: &'r [PathRule], endpoint: &str, has_model: bool) -> Option<&'r PathRule> {
    rules.iter().find(|rule| rule.serves(endpoint, has_model))
}

/// An operator's words in place of their names in braces.
pub struct Words<'d>([(&'static str, Option<&'d str>); 3]);

type Wrong = (String, String, String);

impl<'d> Words<'d> {
    pub fn of(draft: &'d VendorDraft) -> Self {
        Self([
            ("region", draft.region.as_deref()),
            ("project", draft.project.as_deref()),
            ("api_version", draft.api_version.as_deref()),
        ])
    }

    /// The text with all of them in their places, but for those names that are `kept`. Errors are a key, what is wrong, and the fix.
    pub fn fill(&self, key: &str, text: &str, kept: &[&str]) -> Result<String, Wrong> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
            out += before;
            match self.0.iter().find(|(known, _)| *known == name) {
                Some((_, Some(word))) => out += word,
                Some((name, None)) => {
                    let what = format!("its {key} needs a {name}");
                    return Err(((*name).into(), what, format!("add {name} = \"{}\"", example(name))));
                }
                None if kept.contains(&name) && behind.contains('}') => out += &format!("{{{name}}}"),
                None => {
                    let mut known: Vec<_> = self.0.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                    known.extend(kept.iter().map(|kept| format!("{{{kept}}}")));
                    let what = format!("{key} {text:?}: {{{name} is not known");
                    return Err((key.into(), what, format!("one of {}", known.join(", "))));
                }
            }
            rest = after;
        }
        out += rest;
        Ok(out)
    }
}

fn example(name: &str) -> &'static str {
    match name {
        "region" => "us-east-1",
        "project" => "my-project",
        _ => "2024-10-21",
    }
}

/// Compiles the rules for paths; what is wrong is told as key, fault and fix.
pub fn compile_paths(draft: &VendorDraft, mut fault: impl FnMut(&str, String, &str)) -> Vec<PathRule> {
    let words = Words::of(draft);
    let mut rules = Vec::with_capacity(draft.paths.len());
    for (place, path) in draft.paths.iter().enumerate() {
        let at = format!("path.{place}");
        match compile_path(path, &words) {
            Ok(rule) => rules.push(rule),
            Err((key, what, fix)) => fault(if key == "to" { &at } else { &key }, what, &fix),
        }
    }
    rules
}

fn compile_path(draft: &PathDraft, words: &Words<'_>) -> Result<PathRule, Wrong> {
    let unary = compile_template(&draft.to, words)?;
    let stream = draft.stream.as_deref().map_or_else(|| Ok(unary.clone()), |text| compile_template(text, words))?;
    let plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\');
    let members = draft.without.iter().chain(draft.with.keys()).chain(draft.with.values());
    if let Some(text) = members.into_iter().find(|text| !plain(text)) {
        let what = format!("path {:?}: {text:?} cannot stand in a body", draft.to);
        return Err(("to".into(), what, "printable ASCII without quotes and backslashes".into()));
    }
    let boxed = |map: &BTreeMap<String, String>| {
        map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    };
    Ok(PathRule {
        endpoint: (draft.endpoint != "*").then(|| draft.endpoint.as_str().into()),
        unary,
        stream,
        without: draft.without.iter().map(|name| name.as_str().into()).collect(),
        with: boxed(&draft.with),
    })
}

fn compile_template(text: &str, words: &Words<'_>) -> Result<Template, Wrong> {
    let filled = words.fill("to", text, &["model", "path"])?;
    let wrong = |why: &str| {
        ("to".to_owned(), format!("path {text:?}: {why}"), "write it like \"models/{model}:rawPredict\"".to_owned())
    };
    let (path, query) = filled.split_once('?').unwrap_or((&filled, ""));
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "." || part == "..") {
        return Err(wrong("it goes below base_url, and starts without a slash"));
    }
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'#' | b'<' | b'>');
    if !filled.bytes().all(allowed) || query.contains(['{', '}', '?']) {
        return Err(wrong("it holds a character that no path may hold"));
    }
    let mut pieces = Vec::new();
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(if name == "model" { Piece::Model } else { Piece::Path });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Ok(Template { path: pieces, query: query.into() })
}

/// Checks what a way to sign needs.
pub fn compile_signing(draft: &VendorDraft, auth: AuthScheme, mut fault: impl FnMut(&str, String, &str)) -> Signing {
    let word = |text: &Option<String>| text.as_deref().map(Arc::from);
    for (key, text) in [
        ("region", &draft.region),
        ("project", &draft.project),
        ("api_version", &draft.api_version),
        ("service", &draft.service),
    ] {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > 128 || !text.bytes().all(good)) {
            fault(key, format!("{key} is no word that can stand in an address"), "letters, digits, and - _ . :");
        }
    }
    if auth == AuthScheme::AwsSigV4 {
        if draft.region.is_none() {
            fault("region", "AWS signatures are made for a region".into(), "add region = \"us-east-1\"");
        }
        let signed = |name: &&String| name.to_ascii_lowercase().starts_with("x-amz-");
        if let Some(name) = draft.headers.keys().find(signed) {
            let what = format!("header {name:?} would have to be signed, and is not");
            fault(&format!("headers.{name}"), what, "remove it: the signature brings its own");
        }
    } else if draft.service.is_some() {
        fault("service", "service is of auth = \"aws-sigv4\" only".into(), "remove it");
    }
    for (key, text) in [("scope", &draft.scope), ("token_url", &draft.token_url)] {
        if text.is_some() && !auth.has_tokens() {
            let what = format!("{key} is of ways that fetch tokens only");
            fault(key, what, "remove it, or set auth = \"azure-entra\" or \"google-service-account\"");
        }
        if text.as_ref().is_some_and(|text| text.is_empty() || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte))) {
            fault(key, format!("{key} cannot be sent"), "printable ASCII");
        }
    }
    if let Some(text) = &draft.token_url {
        // The tenant is part of the secret: whatever stands for it here is as good.
        match BaseUrl::parse(&text.replace("{tenant}", "tenant")) {
            Err(why) => fault(
                "token_url",
                format!("token_url {text:?}: {why}"),
                "write it like \"https://login.example.com/token\"",
            ),
            Ok(url) if !url.tls && !draft.internal => {
                fault(
                    "token_url",
                    "secrets would travel in the open".into(),
                    "write https://, or internal = true beside it",
                );
            }
            Ok(_) => {}
        }
    }
    Signing {
        region: word(&draft.region),
        service: word(&draft.service),
        scope: word(&draft.scope),
        token_url: word(&draft.token_url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vendor(paths: &[(&str, &str, Option<&str>)]) -> VendorDraft {
        let path = |(endpoint, to, stream): &(&str, &str, Option<&str>)| PathDraft {
            endpoint: (*endpoint).into(),
            to: (*to).into(),
            stream: stream.map(str::to_owned),
            ..PathDraft::default()
        };
        VendorDraft {
            region: Some("eu-west-4".into()),
            api_version: Some("2024-10-21".into()),
            paths: paths.iter().map(path).collect(),
            ..VendorDraft::default()
        }
    }

    fn compiled(draft: &VendorDraft) -> (Vec<PathRule>, Vec<String>) {
        let mut faults = Vec::new();
        let rules = compile_paths(draft, |key, what, _| faults.push(format!("{key}: {what}")));
        (rules, faults)
    }

    #[test]
    fn a_template_comes_apart_and_the_first_rule_that_fits_serves() {
        let draft = vendor(&[
            ("messages", "models/{model}:rawPredict", Some("models/{model}:streamRawPredict")),
            ("*", "deployments/{model}/{path}?api-version={api_version}", None),
            ("*", "{path}?api-version={api_version}", None),
        ]);
        let (rules, faults) = compiled(&draft);
        assert!(faults.is_empty(), "{faults:?}");
        let text = |text: &str| Piece::Text(text.into());
        let messages = rule_for(&rules, "messages", true).unwrap();
        assert_eq!(messages.template(true).path, [text("models/"), Piece::Model, text(":streamRawPredict")]);
        let chat = rule_for(&rules, "chat/completions", true).unwrap().template(true);
        assert_eq!(chat.path, [text("deployments/"), Piece::Model, text("/"), Piece::Path]);
        assert_eq!(&*chat.query, "api-version=2024-10-21");
        assert_eq!(rule_for(&rules, "files", false).unwrap().template(false).path, [Piece::Path]);
    }

    #[test]
    fn wrong_templates_are_told() {
        for (to, key) in [
            ("/models", "path.0"),
            ("", "path.0"),
            ("a/../b", "path.0"),
            ("{modle}", "path.0"),
            ("{model", "path.0"),
            ("a b", "path.0"),
            ("a?x={model}", "path.0"),
            ("{project}/x", "project"),
        ] {
            let (_, faults) = compiled(&vendor(&[("*", to, None)]));
            assert!(faults.len() == 1 && faults[0].starts_with(key), "{to}: {faults:?}");
        }
    }

    #[test]
    fn ways_to_sign_say_what_they_need() {
        let told = |auth, draft: &VendorDraft| {
            let mut keys = Vec::new();
            compile_signing(draft, auth, |key, _, _| keys.push(key.to_owned()));
            keys
        };
        let nothing = VendorDraft::default();
        assert_eq!(told(AuthScheme::AwsSigV4, &nothing), ["region"]);
        assert!(told(AuthScheme::AzureEntra, &nothing).is_empty());
        let open = VendorDraft { token_url: Some("http://10.0.0.1/token".into()), ..VendorDraft::default() };
        assert_eq!(told(AuthScheme::AzureEntra, &open), ["token_url"]);
        assert!(told(AuthScheme::AzureEntra, &VendorDraft { internal: true, ..open.clone() }).is_empty());
        assert_eq!(told(AuthScheme::Bearer, &VendorDraft { internal: true, ..open }), ["token_url"]);
        let service =
            VendorDraft { service: Some("bedrock".into()), region: Some("a b".into()), ..VendorDraft::default() };
        assert_eq!(told(AuthScheme::Bearer, &service), ["region", "service"]);
    }
}
