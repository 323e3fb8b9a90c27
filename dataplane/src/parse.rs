//! What is asked: the route from the head, and the few fields that routing needs from the body. The body itself stays
//! as it came; what must be changed in it is a list of splices.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use weir_shared::catalog::Dialect;
use weir_shared::hash::NameMap;

use crate::dialect::speech::Framing;
use crate::dialect::{self, BodyKind, Endpoint, Language, StreamWhen};
use crate::seal::{self, Named};
use crate::wire::http1::Method;
use crate::wire::json::{self, NotJson};

/// Where a request wants to go. Nothing of its path is ever sent on: the vendor's path is built anew.
#[derive(Clone)]
pub struct Route {
    pub language: &'static dyn Language,
    pub endpoint: &'static Endpoint,
    /// Of a path that names its model.
    pub model: Option<String>,
    /// Of a path that names an object.
    pub id: Option<String>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?} {:?}", self.language.name(), self.endpoint.path, self.model, self.id)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoute {
    Unknown,
    Method,
    /// All objects of a kind, which nobody can tell apart by whose they are.
    List,
}

/// Path and query of a target.
pub fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

/// Versions that callers put in front, or leave out.
const VERSIONS: &[&str] = &["v1", "v1beta", "v1alpha"];

/// The paths that name nothing but themselves, as most callers write them.
fn plain_routes() -> &'static NameMap<String, Route> {
    static ROUTES: OnceLock<NameMap<String, Route>> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let mut routes = NameMap::default();
        for language in dialect::ALL {
            for endpoint in language.endpoints().iter().filter(|endpoint| !endpoint.path.contains('{')) {
                let route = Route { language: *language, endpoint, model: None, id: None };
                let path = endpoint.path;
                let full = if has_version(path) { format!("/{path}") } else { format!("/v1/{path}") };
                routes.insert(full, route);
            }
        }
        routes
    })
}

/// Whether an endpoint is served under the version that it names itself, and no other.
fn has_version(path: &str) -> bool {
    path.starts_with("v1/") || path.starts_with("v2/")
}

/// Finds the endpoint. With or without a version, with slashes too many, `%2F` and `%3A` decoded once.
pub fn route(method: Method, path: &[u8]) -> Result<Route, NoRoute> {
    let path = std::str::from_utf8(path).map_err(|_| NoRoute::Unknown)?;
    if let Some(route) = plain_routes().get(path).filter(|route| route.endpoint.methods.contains(&method)) {
        return Ok(route.clone());
    }
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let all = segments.clone();
    if segments.first().is_some_and(|first| VERSIONS.contains(first)) {
        segments.remove(0);
    }
    let mut found = Err(NoRoute::Unknown);
    for language in dialect::ALL {
        for endpoint in language.endpoints() {
            let asked = if has_version(endpoint.path) { &all } else { &segments };
            let Some(InPath { model, id }) = matches(endpoint.path, asked) else { continue };
            if endpoint.methods.contains(&method) {
                return Ok(Route { language: *language, endpoint, model, id });
            }
            let is_list = method == Method::Get && has_single(*language, endpoint.path);
            found = Err(if is_list { NoRoute::List } else { NoRoute::Method });
        }
    }
    found
}

/// Whether one object of these is served by its id.
fn has_single(language: &'static dyn Language, path: &str) -> bool {
    language.endpoints().iter().any(|endpoint| endpoint.path.strip_suffix("/{id}") == Some(path))
}

/// What a path names.
#[derive(Default)]
struct InPath {
    model: Option<String>,
    id: Option<String>,
}

fn matches(pattern: &str, segments: &[&str]) -> Option<InPath> {
    let mut named = InPath::default();
    let mut at = 0;
    let mut pattern = pattern.split('/');
    while let Some(expected) = pattern.next() {
        if let Some(verb) = expected.strip_prefix("{model}") {
            // A model's name may hold slashes itself: it takes all but what the pattern has behind it.
            let end = segments.len().checked_sub(pattern.clone().count())?;
            let name = decode(&segments.get(at..end)?.join("/"))?;
            let name = name.strip_suffix(verb).filter(|name| !name.is_empty())?;
            // Without a verb, a colon belongs to the name; a Gemini verb never does.
            named.model = Some(name.to_owned());
            at = end;
            continue;
        }
        let segment = *segments.get(at)?;
        at += 1;
        if expected == "{id}" {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if segment.len() > ID_BYTES_MAX || !segment.bytes().all(good) {
                return None;
            }
            named.id = Some(segment.to_owned());
        } else if segment != expected {
            return None;
        }
    }
    (at == segments.len()).then_some(named)
}

const ID_BYTES_MAX: usize = 512;

/// Percent-decoding, once. What decodes to a control character is no name.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let mut decoded = [0];
        if !weir_shared::id::decode_hex(tail.get(..2)?, &mut decoded) || decoded[0] < 0x20 {
            return None;
        }
        out.push(decoded[0]);
        rest = &tail[2..];
    }
    String::from_utf8(out).ok()
}

/// What a body says that routing and metering need.
#[derive(Debug, Default)]
pub struct Call<'b> {
    pub model: Cow<'b, str>,
    pub stream: bool,
    /// The caller wants to see the usage of its stream.
    pub usage_asked: bool,
    pub tokens_max: Option<u64>,
    pub choices: u64,
    /// The places of values that may have to be changed.
    pub places: Places,
}

impl<'b> Call<'b> {
    /// A form that is there whole; all that decides in it is its field `model`.
    pub fn of_form(model: Cow<'b, str>, model_at: Option<Range<usize>>) -> Self {
        let places = Places { model: model_at, model_is_bare: true, ..Places::default() };
        Self { model, choices: 1, places, ..Self::default() }
    }
}

#[derive(Debug, Default, Clone)]
pub struct Places {
    /// Right behind the outermost `{`.
    pub open: usize,
    pub model: Option<Range<usize>>,
    /// It stands there as it is, without quotes: in a form.
    pub model_is_bare: bool,
    /// The object that asks for usage (`stream_options`).
    pub usage_object: Option<Range<usize>>,
    /// The value within it.
    pub usage_value: Option<Range<usize>>,
    /// Values that name objects of a vendor's.
    pub ids: Vec<Range<usize>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Malformed {
    Json(NotJson),
    NotAnObject,
    Twice(&'static str),
    NoModel,
    ModelNotAString,
    StreamNotABoolean,
    TooManyIds,
    Background,
}

/// Objects that one request may name; each costs a hash to open.
const IDS_MAX: usize = 1_024;

/// Fields that decide; said twice, two readers could believe different ones.
const DECIDING: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "previous_response_id",
    "input_file_id",
    "input",
    "background",
    "conversation",
];
/// Six bytes a letter.
const ESCAPED_NAME_MAX: usize = 6 * 24;

/// Reads a JSON body in one validating pass.
pub fn call<'b>(route: &Route, body: &'b [u8], query: &[u8]) -> Result<Call<'b>, Malformed> {
    let mut call = Call { choices: 1, ..Call::default() };
    let mut seen: u32 = 0;
    let mut twice = None;
    let mut model: Option<&'b [u8]> = None;
    let mut stream: Option<&'b [u8]> = None;
    let mut background = false;
    json::scan_with_elements(body, |member| {
        if member.scalar && is_object_id(member.key, member.escaped, member.value) && call.places.ids.len() <= IDS_MAX {
            call.places.ids.push(member.at..member.at + member.value.len());
        }
        if member.element {
            return;
        }
        if member.depth == 2 && matches!(member.key, b"maxOutputTokens" | b"maxTokens") {
            call.tokens_max = json::integer(member.value);
        }
        if member.depth != 1 {
            return;
        }
        // No name that decides is longer, however it is escaped.
        if member.key.len() > ESCAPED_NAME_MAX {
            return;
        }
        let is = |name: &&str| name.as_bytes() == member.key || (member.escaped && json::key_is(member.key, name));
        let Some(place) = DECIDING.iter().position(is) else { return };
        if seen & 1 << place != 0 {
            twice = Some(DECIDING[place]);
        }
        seen |= 1 << place;
        let range = member.at..member.at + member.value.len();
        match DECIDING[place] {
            "model" => {
                model = Some(member.value);
                call.places.model = Some(range);
            }
            "stream" => stream = Some(member.value),
            "background" => background = member.value == b"true",
            "conversation" if route.language.names_objects() => {
                // An id, or an object with one.
                let ids = json::members(member.value).filter(|(key, _)| json::key_is(key, "id")).map(|(_, id)| id);
                let own = member.scalar.then_some(member.value).filter(|value| *value != b"null");
                call.places.ids.extend(ids.chain(own).map(|id| place_of(id, body)));
            }
            "stream_options" => call.places.usage_object = Some(range),
            "n" => call.choices = json::integer(member.value).unwrap_or(1).clamp(1, 1 << 16),
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                call.tokens_max = json::integer(member.value)
            }
            _ => {}
        }
    })
    .map_err(Malformed::Json)?;
    if call.places.ids.len() > IDS_MAX {
        return Err(Malformed::TooManyIds);
    }
    if background && route.language.name() == "openai_responses" {
        return Err(Malformed::Background);
    }
    if let Some(name) = twice {
        return Err(Malformed::Twice(name));
    }
    call.places.open = body.iter().position(|byte| *byte == b'{').ok_or(Malformed::NotAnObject)? + 1;
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed::NotAnObject);
    }
    call.model = match (route.endpoint.body, model) {
        (BodyKind::ModelInPath, _) => Cow::Owned(route.model.clone().unwrap_or_default()),
        (BodyKind::Object, None) => Cow::Borrowed(""),
        (_, None) => return Err(Malformed::NoModel),
        (_, Some(value)) => json::text(value).ok_or(Malformed::ModelNotAString)?,
    };
    call.stream = match (route.endpoint.stream, stream) {
        (StreamWhen::Always, _) if route.language.framing() == Framing::EventStream => true,
        (StreamWhen::Always, _) => query.split(|byte| *byte == b'&').any(|pair| pair == b"alt=sse"),
        (StreamWhen::Asked, Some(b"true")) => true,
        (StreamWhen::Asked, None | Some(b"false" | b"null")) | (StreamWhen::Never, _) => false,
        (StreamWhen::Asked, Some(_)) => return Err(Malformed::StreamNotABoolean),
    };
    find_usage_request(route.language, body, &mut call);
    Ok(call)
}

/// Members whose value names an object of a vendor's. What some of them name must have been sealed here, or it may be
/// another tenant's; others name things of many kinds, and only a sealed value is one of ours.
fn is_object_id(key: &[u8], escaped: bool, value: &[u8]) -> bool {
    if escaped {
        // Escaped, a name is the same name.
        let quoted = [b"\"", key, b"\""].concat();
        return json::text(&quoted).is_some_and(|name| is_object_id(name.as_bytes(), false, value));
    }
    match seal::names(key) {
        Some(Named::Object) => value.starts_with(b"\""),
        Some(Named::Perhaps) => seal::looks_sealed(value),
        None => false,
    }
}

/// Where a part of the body stands in it.
fn place_of(part: &[u8], body: &[u8]) -> Range<usize> {
    let at = part.as_ptr() as usize - body.as_ptr() as usize;
    at..at + part.len()
}

fn find_usage_request(language: &dyn Language, body: &[u8], call: &mut Call<'_>) {
    let Some(request) = language.usage_request() else {
        call.usage_asked = true;
        return;
    };
    let Some(object) = call.places.usage_object.clone() else { return };
    let inside = &body[object.clone()];
    if !inside.starts_with(b"{") {
        return;
    }
    for (_, value) in json::members(inside).filter(|(key, _)| json::key_is(key, request.inner)) {
        // Anything but a boolean is the vendor's to refuse.
        if !matches!(value, b"true" | b"false" | b"null") {
            call.usage_asked = true;
            continue;
        }
        call.places.usage_value = Some(place_of(value, body));
        call.usage_asked = value == b"true";
    }
}

/// The body as the vendor gets it: pieces of the caller's bytes, and what takes the place of the rest.
#[derive(Debug, Default)]
pub struct Splices(Vec<(Range<usize>, Vec<u8>)>);

impl Splices {
    /// In their order; they nearly always come in it. What overlaps one that is there already is left out: it lies within
    /// something that goes anyhow.
    pub fn replace(&mut self, range: Range<usize>, with: Vec<u8>) {
        let place = self.0.partition_point(|(known, _)| known.start <= range.start);
        let before = place.checked_sub(1).and_then(|before| self.0.get(before));
        if before.is_some_and(|(known, _)| known.end > range.start) {
            return;
        }
        if self.0.get(place).is_some_and(|(known, _)| range.end > known.start) {
            return;
        }
        self.0.insert(place, (range, with));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn length(&self, body: usize) -> usize {
        self.0.iter().fold(body, |length, (range, with)| length - range.len() + with.len())
    }

    /// Appends the changed body.
    pub fn apply(&self, body: &[u8], out: &mut Vec<u8>) {
        self.each(body, &mut |piece| out.extend_from_slice(piece));
    }

    /// The changed body, piece by piece.
    pub fn each(&self, body: &[u8], take: &mut dyn FnMut(&[u8])) {
        let mut at = 0;
        for (range, with) in &self.0 {
            take(&body[at..range.start]);
            take(with);
            at = range.end;
        }
        take(&body[at..]);
    }
}

/// The vendor's name for the model, and the request for usage that the caller did not make.
pub fn splices(route: &Route, call: &Call<'_>, upstream_model: &str, body: &[u8]) -> Splices {
    let mut splices = Splices::default();
    if let Some(range) = &call.places.model
        && call.model != upstream_model
    {
        let mut value = Vec::with_capacity(upstream_model.len() + 2);
        if call.places.model_is_bare {
            value.extend_from_slice(upstream_model.as_bytes());
        } else {
            value.push(b'"');
            json::escape_into(&mut value, upstream_model);
            value.push(b'"');
        }
        splices.replace(range.clone(), value);
    }
    if let Some(request) = route.language.usage_request()
        && call.stream
        && !call.usage_asked
    {
        match (&call.places.usage_value, &call.places.usage_object) {
            (Some(value), _) => splices.replace(value.clone(), b"true".to_vec()),
            (None, Some(object)) if body[object.start] == b'{' => {
                let empty = json::members(&body[object.clone()]).next().is_none();
                let comma = if empty { "" } else { "," };
                let inner = format!("\"{}\":true{comma}", request.inner);
                splices.replace(object.start + 1..object.start + 1, inner.into_bytes());
            }
            // null, or something that the vendor will refuse by itself.
            (None, Some(object)) if &body[object.clone()] == b"null" => {
                splices.replace(object.clone(), format!("{{\"{}\":true}}", request.inner).into_bytes());
            }
            (None, Some(_)) => {}
            (None, None) => {
                let open = call.places.open;
                let member = format!("\"{}\":{{\"{}\":true}},", request.member, request.inner);
                splices.replace(open..open, member.into_bytes());
            }
        }
    }
    splices
}

/// Appends the path and query that the vendor is asked for.
pub fn upstream_path(route: &Route, base: &str, upstream_model: &str, id: &str, query: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(base.as_bytes());
    out.push(b'/');
    dialect_path(route, upstream_model, id, out);
    push_query(query, b'?', out);
}

/// The path that the dialect has for this, without a slash in front.
pub fn dialect_path(route: &Route, upstream_model: &str, id: &str, out: &mut Vec<u8>) {
    let mut segments = route.endpoint.path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if let Some(verb) = segment.strip_prefix("{model}") {
            push_model(upstream_model, segments.peek().is_some(), out);
            out.extend_from_slice(verb.as_bytes());
        } else if segment == "{id}" {
            encode(id, out);
        } else {
            out.extend_from_slice(segment.as_bytes());
        }
        if segments.peek().is_some() {
            out.push(b'/');
        }
    }
}

/// A model in a path. With more of the path behind it, it is one segment whatever it holds (ARNs have slashes); at the
/// end, its slashes and colons stand as vendors write them.
pub fn push_model(model: &str, more_behind: bool, out: &mut Vec<u8>) {
    if more_behind { weir_shared::id::percent_encode(model.as_bytes(), out) } else { encode(model, out) }
}

/// What of a caller's query travels on, behind what stands there already.
pub fn push_query(query: &[u8], mut mark: u8, out: &mut Vec<u8>) {
    // The caller's key must not travel on; everything else of the query does, up to where some reader would end it.
    let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty() && may_travel(pair)) {
        out.push(mark);
        out.extend(pair.iter().filter(|byte| byte.is_ascii_graphic()));
        mark = b'&';
    }
}

/// Not credentials, however they are written, and nothing that says of a Google API how to take the call (`$.xgafv`,
/// `$httpMethod`, `$userProject`).
fn may_travel(pair: &[u8]) -> bool {
    const CREDENTIALS: &[&str] =
        &["key", "api_key", "api-key", "apikey", "access_token", "oauth_token", "token", "authorization"];
    // Some readers split at `;`, too.
    pair.split(|byte| *byte == b';').all(|part| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        let Some(name) = std::str::from_utf8(name).ok().and_then(decode) else { return false };
        !name.starts_with('$') && !CREDENTIALS.iter().any(|known| name.trim().eq_ignore_ascii_case(known))
    })
}

fn encode(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'@') {
            out.push(byte);
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// The dialect that refusals are written in, also for paths that nobody serves.
pub fn dialect_of(path: &[u8], anthropic_version: bool, goog_key: bool) -> Dialect {
    let has = |word: &[u8]| memchr::memmem::find(path, word).is_some();
    if has(b"generateContent")
        || has(b"streamGenerateContent")
        || has(b"countTokens")
        || has(b"mbedContent")
        || goog_key
    {
        Dialect::Gemini
    } else if has(b"/messages") || anthropic_version {
        Dialect::Anthropic
    } else if path.starts_with(b"/model/") {
        Dialect::Bedrock
    } else if path.starts_with(b"/v2/") || has(b"/rerank") {
        Dialect::Cohere
    } else {
        Dialect::OpenAi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: Method, path: &str) -> Result<String, NoRoute> {
        route(method, path.as_bytes()).map(|route| format!("{route:?}"))
    }

    #[test]
    fn paths_are_forgiving_and_closed() {
        for path in ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions/", "//v1//chat/completions"] {
            assert!(at(Method::Post, path).unwrap().starts_with("openai_chat "), "{path}");
        }
        assert_eq!(at(Method::Get, "/v1/chat/completions"), Err(NoRoute::Method));
        for path in [
            "/v1/chat/../files",
            "/v1/chat/completions/x",
            "/etc/passwd",
            "/v1/%2e%2e/files",
            "/v1/files/a%0d%0ab",
            "/v1",
        ] {
            assert_eq!(at(Method::Post, path), Err(NoRoute::Unknown), "{path}");
        }
    }

    #[test]
    fn a_model_in_the_middle_of_a_path_takes_what_the_rest_leaves() {
        let named = |path: &str| {
            let route = route(Method::Post, path.as_bytes()).ok()?;
            Some((route.endpoint.path, route.model.unwrap_or_default()))
        };
        let arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/m.v1:0";
        for (path, want) in [
            ("/model/us.amazon.nova-lite-v1%3A0/converse", ("model/{model}/converse", "us.amazon.nova-lite-v1:0")),
            ("/model/a/b/converse-stream", ("model/{model}/converse-stream", "a/b")),
            (
                &format!("/model/{}/converse", arn.replace(':', "%3A").replace('/', "%2F")),
                ("model/{model}/converse", arn),
            ),
            ("/v1/model/m/count-tokens", ("model/{model}/count-tokens", "m")),
        ] {
            assert_eq!(named(path), Some((want.0, want.1.to_owned())), "{path}");
        }
        assert_eq!(named("/model/converse"), None);
        assert_eq!(named("/model/m/converse/more"), None);
        let asked = route(Method::Post, b"/model/m/converse-stream").unwrap();
        let body = br#"{"messages":[],"inferenceConfig":{"maxTokens":77}}"#;
        let call = call(&asked, body, b"").unwrap();
        assert_eq!((call.stream, call.tokens_max, &*call.model), (true, Some(77), "m"));
    }

    #[test]
    fn a_path_with_a_version_of_its_own_has_no_other() {
        for path in ["/v2/chat", "//v2//chat/", "/v2/embed", "/v2/rerank", "/v1/rerank"] {
            assert!(at(Method::Post, path).unwrap().starts_with("cohere "), "{path}");
        }
        for path in ["/v1/chat", "/chat", "/rerank", "/v1/v2/chat", "/v2/chat/completions"] {
            assert_eq!(at(Method::Post, path), Err(NoRoute::Unknown), "{path}");
        }
        let mut out = Vec::new();
        let route = route(Method::Post, b"/v1/rerank").unwrap();
        upstream_path(&route, "/base", "m", "", b"", &mut out);
        assert_eq!(out, b"/base/v1/rerank");
    }

    #[test]
    fn models_in_paths_are_decoded_once() {
        let model = |path: &str| route(Method::Post, path.as_bytes()).unwrap().model.unwrap();
        assert_eq!(model("/v1beta/models/gemini-2.5-pro:generateContent"), "gemini-2.5-pro");
        assert_eq!(model("/v1/models/gemini%2Fx%3A1%3AgenerateContent"), "gemini/x:1");
        assert_eq!(model("/models/a/b:streamGenerateContent"), "a/b");
        assert_eq!(model("/v1/models/%2525:countTokens"), "%25");
        let id = route(Method::Get, b"/v1/models/meta-llama/Llama-3:free").unwrap();
        assert_eq!(id.model.as_deref(), Some("meta-llama/Llama-3:free"));
    }

    fn chat() -> Route {
        route(Method::Post, b"/v1/chat/completions").unwrap()
    }

    fn spliced(body: &str, upstream: &str) -> String {
        let (route, query) = (chat(), b"");
        let call = call(&route, body.as_bytes(), query).unwrap();
        let splices = splices(&route, &call, upstream, body.as_bytes());
        let mut out = Vec::new();
        splices.apply(body.as_bytes(), &mut out);
        assert_eq!(out.len(), splices.length(body.len()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_spans_that_must_change_do() {
        let same = r#"{ "model" : "m", "messages":[], "n":9007199254740993, "x":1.10 }"#;
        assert_eq!(spliced(same, "m"), same);
        assert_eq!(spliced(same, "other/\"m"), same.replace("\"m\"", r#""other/\"m""#));
        assert_eq!(
            spliced(r#"{"model":"m","stream":true}"#, "m"),
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
        );
        assert_eq!(
            spliced(r#"{"stream_options":{"include_usage":false,"x":1},"model":"m","stream":true}"#, "k"),
            r#"{"stream_options":{"include_usage":true,"x":1},"model":"k","stream":true}"#
        );
        assert_eq!(
            spliced(r#"{"model":"m","stream":true,"stream_options":{}}"#, "m"),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
        );
        let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        assert_eq!(spliced(asked, "m"), asked);
        assert_eq!(spliced(r#"{"mod\u0065l":"m"}"#, "k"), r#"{"mod\u0065l":"k"}"#);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let refused = |body: &str| call(&chat(), body.as_bytes(), b"").err();
        assert_eq!(refused(r#"{"model":"a","model":"b"}"#), Some(Malformed::Twice("model")));
        assert_eq!(refused(r#"{"model":"a","mod\u0065l":"b"}"#), Some(Malformed::Twice("model")));
        assert_eq!(refused(r#"{"messages":[]}"#), Some(Malformed::NoModel));
        assert_eq!(refused(r#"{"model":7}"#), Some(Malformed::ModelNotAString));
        assert_eq!(refused(r#"{"model":"a","stream":"yes"}"#), Some(Malformed::StreamNotABoolean));
        assert_eq!(refused(r#"["model"]"#), Some(Malformed::NotAnObject));
        assert!(matches!(refused(r#"{"model":"a"} x"#), Some(Malformed::Json(_))));
    }

    #[test]
    fn the_callers_key_does_not_travel_on() {
        let route = route(Method::Post, b"/v1beta/models/g:streamGenerateContent").unwrap();
        let mut out = Vec::new();
        upstream_path(&route, "/v1beta", "real name", "", b"key=secret&alt=sse&&x=1", &mut out);
        assert_eq!(out, b"/v1beta/models/real%20name:streamGenerateContent?alt=sse&x=1");
    }
}
