//! `/v1/models`: what this key may use, in the shape of the dialect that asks.

use weir_shared::catalog::{Dialect, Model};
use weir_shared::fault::Code;
use weir_shared::snapshot::Key;

use super::{Done, Scene, Teller, fields, read_body};
use crate::accept::{Head, Request, Sink};
use crate::dialect::BodyKind;
use crate::memory::Hold;
use crate::parse::Route;
use crate::refusal::Refusal;
use crate::resolve;
use crate::wire::json::escape_into;

pub async fn answer(
    scene: &Scene<'_>,
    request: &mut Request,
    key: &Key,
    route: &Route,
    sink: &mut Sink<'_>,
    teller: &mut Teller<'_>,
) -> Result<Done, Refusal> {
    let mut hold = Hold::default();
    let times = &scene.live.snapshot.catalog.gateway.times;
    if read_body(request, 0, sink, &mut hold, teller, times).await?.is_none() {
        return Ok(Done::Gone(None));
    }
    let mut body = Vec::new();
    if route.endpoint.body == BodyKind::Model {
        let name = route.model.as_deref().unwrap_or_default();
        let model = resolve::resolve(scene.live, key, name, scene.dialect, |model| model.is_universal())
            .map_err(|_| Refusal::plain(Code::ModelNotFound))?;
        entry(&mut body, scene, name, model);
    } else {
        list(&mut body, scene, key);
    }
    let mut head = Head::new(200);
    head.field(b"content-type", b"application/json");
    fields::identity(&mut head, scene.dialect, scene.request_text);
    fields::cors(&mut head, request, scene.live);
    match sink.answer(head, &body).await {
        Ok(()) => Ok(Done::Answered { status: 200, code: None, outcome: None, bill: None }),
        Err(_) => Ok(Done::Gone(None)),
    }
}

fn list(body: &mut Vec<u8>, scene: &Scene<'_>, key: &Key) {
    let snapshot = &scene.live.snapshot;
    let mut names: Vec<(&str, &Model)> = Vec::new();
    let speaks = |model: &Model| model.is_universal() || snapshot.vendor_of(model).dialect == scene.dialect;
    for (place, model) in snapshot.catalog.models.iter().enumerate() {
        if speaks(model) && snapshot.may_use(place as u32, key) {
            names.push((&model.id, model));
        }
    }
    let routes = snapshot.catalog.routes().map(|route| &*route.name);
    for alias in snapshot.aliases(key).chain(routes) {
        if let Ok(model) = resolve::resolve(scene.live, key, alias, scene.dialect, |model| model.is_universal()) {
            names.push((alias, model));
        }
    }
    names.sort_by_key(|(name, _)| *name);
    names.dedup_by_key(|(name, _)| *name);
    body.extend_from_slice(match scene.dialect {
        Dialect::OpenAi => b"{\"object\":\"list\",\"data\":[".as_slice(),
        Dialect::Anthropic => b"{\"data\":[",
        Dialect::Gemini | Dialect::Cohere | Dialect::Bedrock => b"{\"models\":[",
    });
    for (place, (name, model)) in names.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        entry(body, scene, name, model);
    }
    body.extend_from_slice(b"]");
    if scene.dialect == Dialect::Anthropic {
        for (member, name) in [("first_id", names.first()), ("last_id", names.last())] {
            body.extend_from_slice(format!(",\"{member}\":").as_bytes());
            match name {
                Some((name, _)) => quote(body, name),
                None => body.extend_from_slice(b"null"),
            }
        }
        body.extend_from_slice(b",\"has_more\":false");
    }
    body.push(b'}');
}

/// No vendor tells us when a model was made; the epoch is honest.
fn entry(body: &mut Vec<u8>, scene: &Scene<'_>, name: &str, model: &Model) {
    match scene.dialect {
        Dialect::OpenAi => {
            body.extend_from_slice(b"{\"id\":");
            quote(body, name);
            body.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":");
            quote(body, &scene.live.snapshot.vendor_of(model).name);
        }
        Dialect::Anthropic => {
            body.extend_from_slice(b"{\"type\":\"model\",\"id\":");
            quote(body, name);
            body.extend_from_slice(b",\"display_name\":");
            quote(body, name);
            body.extend_from_slice(b",\"created_at\":\"1970-01-01T00:00:00Z\"");
        }
        Dialect::Gemini => {
            body.extend_from_slice(b"{\"name\":");
            quote(body, &format!("models/{name}"));
            body.extend_from_slice(b",\"displayName\":");
            quote(body, name);
            let limits = format!(
                ",\"inputTokenLimit\":{},\"outputTokenLimit\":{}",
                model.context_tokens, model.output_tokens_max
            );
            body.extend_from_slice(limits.as_bytes());
            body.extend_from_slice(b",\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]");
        }
        // Bedrock lists its models elsewhere, and nobody asks for them here.
        Dialect::Cohere | Dialect::Bedrock => {
            body.extend_from_slice(b"{\"name\":");
            quote(body, name);
            body.extend_from_slice(b",\"endpoints\":[\"chat\"]");
            body.extend_from_slice(format!(",\"context_length\":{}", model.context_tokens).as_bytes());
        }
    }
    body.push(b'}');
}

fn quote(body: &mut Vec<u8>, text: &str) {
    body.push(b'"');
    escape_into(body, text);
    body.push(b'"');
}
