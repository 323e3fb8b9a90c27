//! One request: who asks, may they, what does it say, and what came of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use serde_json::{Map, Value, json};
use weir_shared::fault::Exit;
use weir_shared::id::Digest;
use weir_shared::keyspace::Origin;

use super::Desk;
use super::guests::Known;
use crate::audit::Change;
use crate::failure::Failure;
use crate::operation::{self, Operation, Tenant};
use crate::place::{Place, Sent};
use crate::publish::Base;
use crate::role::{self, TokenDraft};
use crate::screen::Screen;
use crate::when;

/// A folder of ten thousand models is smaller.
const BODY_BYTES_MAX: usize = 16 << 20;
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Whoever guesses tokens waits for each.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(250);

/// For a thread that looks a token up.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// An answer with its status; as text for people, or as JSON.
struct Answer {
    status: u16,
    exit: Exit,
    json: Value,
    text: String,
}

type Refused = Box<Answer>;

pub async fn answer(
    request: Request<Incoming>,
    certificate: Option<Arc<[u8]>>,
    desk: Arc<Desk>,
    known: Known,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let as_text = request.headers().get(ACCEPT).is_some_and(|accept| accept == "text/plain");
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET {
        match path.as_str() {
            "/live" => return Ok(respond(200, "application/json", "{\"live\":true}\n".into(), Exit::Done)),
            "/openapi.json" => {
                return Ok(respond(200, "application/json", format!("{:#}\n", operation::openapi()), Exit::Done));
            }
            _ => {}
        }
    }
    let answer = match asked(request, certificate, &desk, &known).await {
        Ok(answer) => answer,
        Err(refused) => *refused,
    };
    Ok(match as_text && answer.status == 200 {
        true => respond(answer.status, "text/plain; charset=utf-8", answer.text, answer.exit),
        false => respond(answer.status, "application/json", format!("{:#}\n", answer.json), answer.exit),
    })
}

fn respond(status: u16, kind: &str, body: String, exit: Exit) -> Response<Full<Bytes>> {
    let built = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header("x-weir-exit", (exit as u8).to_string())
        .header("cache-control", "no-store")
        .body(Full::new(Bytes::from(body)));
    built.unwrap_or_else(|_| Response::new(Full::default()))
}

fn refused(status: u16, what: impl Into<String>, next: &str) -> Refused {
    let failure = Failure::new(Exit::Failed, what).next(next);
    Box::new(Answer { status, ..failed(failure) })
}

fn failed(failure: Failure) -> Answer {
    Answer { status: operation::status(failure.exit), exit: failure.exit, json: failure.json(), text: String::new() }
}

async fn asked(
    request: Request<Incoming>,
    certificate: Option<Arc<[u8]>>,
    desk: &Arc<Desk>,
    known: &Known,
) -> Result<Answer, Refused> {
    let Some(operation) = Operation::of_path(request.uri().path()) else {
        return Err(refused(404, "there is no such path", "see /openapi.json"));
    };
    let bearer = bearer(&request);
    let caller = authenticated(bearer, certificate, desk).await?;
    known.introduce();
    if request.method().as_str() != operation.method() {
        return Err(refused(405, format!("ask for it with {}", operation.method()), "see /openapi.json"));
    }
    if !caller.role.may(operation.needs) {
        let what = format!(
            "{} is for {}, and this token is for {}",
            operation.name(),
            operation.needs.name(),
            caller.role.name()
        );
        return Err(refused(403, what, "an admin can make another: weirctl token create"));
    }
    let as_text = request.headers().get(ACCEPT).is_some_and(|accept| accept == "text/plain");
    let given = match operation.method() {
        "GET" => of_query(request.uri().query().unwrap_or_default(), operation)?,
        _ => of_body(request).await?,
    };
    let places = if operation.waits() { &desk.watches } else { &desk.commands };
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return Err(refused(503, "too many commands are under way", "try again in a moment"));
    };
    let work = Arc::clone(desk);
    // The thread goes on when its caller has left: so does its place.
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        carry_out(operation, given, &caller, &work, as_text)
    });
    done.await.unwrap_or_else(|_| Err(refused(500, "the command failed within", "its log says more")))
}

fn bearer(request: &Request<Incoming>) -> Option<String> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(|token| token.trim().to_owned())
}

/// A token that is shown wins over a certificate.
async fn authenticated(
    bearer: Option<String>,
    certificate: Option<Arc<[u8]>>,
    desk: &Arc<Desk>,
) -> Result<TokenDraft, Refused> {
    let looks = tokio::time::timeout(LOOK_PATIENCE, Arc::clone(&desk.looks).acquire_owned()).await;
    let Ok(Ok(place)) = looks else {
        return Err(refused(503, "too many ask at once, or the store does not answer", "try again in a moment"));
    };
    let work = Arc::clone(desk);
    let found = tokio::task::spawn_blocking(move || -> Result<Option<TokenDraft>, Failure> {
        let _place = place;
        let store = work.place.store()?;
        let tokens = Base::read(&*store)?.tokens(&*store)?;
        let now = when::now();
        Ok(match (&bearer, &certificate) {
            (Some(text), _) => role::of_token(&tokens, text, now).cloned(),
            (None, Some(der)) => role::of_certificate(&tokens, der, now).cloned(),
            (None, None) => None,
        })
    });
    match found.await {
        Ok(Ok(Some(token))) => Ok(token),
        Ok(Ok(None)) => {
            tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
            Err(refused(
                401,
                "no token, or none that holds",
                "make one with `weirctl token create` on a machine with the store",
            ))
        }
        Ok(Err(failure)) => Err(Box::new(failed(failure))),
        Err(_) => Err(refused(500, "the store could not be read", "try again")),
    }
}

fn of_query(query: &str, operation: &Operation) -> Result<Map<String, Value>, Refused> {
    let mut given: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
            return Err(refused(400, "the query is not well formed", "encode its values with %XX"));
        };
        let switch =
            operation.arguments().iter().any(|arg| arg.get_id() == name.as_str() && arg.get_action().takes_values());
        let value = match value.as_str() {
            "true" | "false" if !switch => Value::Bool(value == "true"),
            _ => Value::String(value),
        };
        match given.get_mut(&name) {
            Some(Value::Array(items)) => items.push(value),
            Some(one) => *one = json!([one.take(), value]),
            None => drop(given.insert(name, value)),
        }
    }
    Ok(given)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
                bytes.push((digit(rest.next())? << 4 | digit(rest.next())?) as u8);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

async fn of_body(request: Request<Incoming>) -> Result<Map<String, Value>, Refused> {
    let read = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let bytes = match tokio::time::timeout(BODY_PATIENCE, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Err(refused(413, format!("the body is larger than {} MiB", BODY_BYTES_MAX >> 20), "send less"));
        }
        Err(_) => return Err(refused(408, "the body came too slowly", "send it within half a minute")),
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(given)) => Ok(given),
        _ => Err(refused(400, "the body is no JSON object", "see /openapi.json")),
    }
}

fn carry_out(
    operation: &Operation,
    mut given: Map<String, Value>,
    caller: &TokenDraft,
    desk: &Desk,
    as_text: bool,
) -> Result<Answer, Refused> {
    let sent = sent(operation, &mut given)?;
    bind_to_tenant(operation, &mut given, caller, desk)?;
    let wrong = |what: String| refused(400, what, "see /openapi.json");
    let line = operation.line(&given).map_err(wrong)?;
    let line =
        crate::Line::try_parse_from(line).map_err(|error| wrong(error.render().to_string().trim().to_owned()))?;
    let mut with = Value::Object(given);
    if operation.folder {
        let digest = Digest::of(format!("{:?}", sent.files).as_bytes());
        with["folder"] = json!({"files": sent.files.len(), "digest": digest});
    }
    // A secret opens only under its key, and even so has no place in a log.
    if let Some(sealed) = with.get_mut("sealed") {
        *sealed = json!({"digest": Digest::of(sealed.to_string().as_bytes())});
    }
    let place =
        Place { sent: Some(sent), author: Some(format!("{} ({})", caller.name, caller.id)), ..desk.place.clone() };
    let screen = Screen::elsewhere(!as_text);
    let change = Change { who: format!("{} ({})", caller.name, caller.id), by: "api", does: operation.name(), with };
    let done = crate::audited(&desk.log, operation.changes.then_some(&change), || line.command.run(&place, &screen));
    Ok(match done {
        Ok(json) => Answer { status: 200, exit: screen.exit(), json, text: screen.said() },
        Err(failure) => failed(failure),
    })
}

fn sent(operation: &Operation, given: &mut Map<String, Value>) -> Result<Sent, Refused> {
    let file = match operation.file {
        None => None,
        Some(name) => match given.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => return Err(refused(400, format!("{name:?} is missing"), "send the text of the file in its place")),
        },
    };
    if !operation.folder {
        return Ok(Sent { file, ..Sent::default() });
    }
    let origin = if given.remove("git") == Some(Value::Bool(true)) { Origin::Git } else { Origin::Folder };
    let Some(Value::Object(files)) = given.remove("folder") else {
        return Err(refused(400, "the folder is missing", "send \"folder\": {\"weir.toml\": \"…\"}"));
    };
    let text = |(name, text): (String, Value)| Some((name, text.as_str()?.to_owned()));
    let files: Option<Vec<_>> = files.into_iter().map(text).collect();
    let mut files = files.ok_or_else(|| refused(400, "a file of the folder is no text", "send each as a string"))?;
    files.sort();
    Ok(Sent { files, origin, file })
}

/// Who is bound to a tenant asks for it and for nothing else.
fn bind_to_tenant(
    operation: &Operation,
    given: &mut Map<String, Value>,
    caller: &TokenDraft,
    desk: &Desk,
) -> Result<(), Refused> {
    let Some(own) = &caller.tenant else { return Ok(()) };
    let forbidden =
        || refused(403, format!("this token is bound to the tenant {own}"), "an admin can make one for all tenants");
    match operation.tenant {
        Tenant::All => Err(forbidden()),
        Tenant::Named(argument) => match given.insert(argument.to_owned(), json!(own)) {
            Some(other) if other != json!(own) => Err(forbidden()),
            _ => Ok(()),
        },
        Tenant::OfKey(argument) => {
            let keys = || -> Result<Vec<weir_shared::key::KeyDraft>, Failure> {
                let store = desk.place.existing_store()?;
                Base::read(&*store)?.keys(&*store)
            };
            let keys = keys().map_err(|failure| Box::new(failed(failure)))?;
            // Exactly what the command will be given.
            let named = given.get(argument).and_then(operation::texts).unwrap_or_default();
            // A key of somebody else's and one that is not there are told alike.
            let is_own = |id: &String| keys.iter().any(|key| key.id == *id && key.tenant == *own);
            if !named.is_empty() && named.iter().all(is_own) { Ok(()) } else { Err(forbidden()) }
        }
    }
}
