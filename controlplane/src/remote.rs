//! A command that a `weirctl serve` carries out: what was said on this command line is sent there, and its answer is shown.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use weir_shared::fault::Exit;
use weir_shared::keyspace::Origin;

use crate::command::{list_here, sealed_here, written_here};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::operation::{self, Operation};
use crate::place::Place;
use crate::screen::Screen;
use crate::serve::certificates;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// `apply --wait` with a canary may take half an hour.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3_600);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

pub fn run(url: &str, matches: &ArgMatches, place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let (words, own) = leaf(matches);
    if let ["vendor", "credential", verb @ ("set" | "rotate")] = *words.iter().map(String::as_str).collect::<Vec<_>>() {
        return sealed(url, own, verb == "rotate", place, screen);
    }
    let Some(operation) = Operation::of_words(&words) else {
        let why = operation::not_here(&words).map_or(String::new(), |why| format!(": {why}"));
        let what = format!("`weirctl {}` is not done by a server{why}", words.join(" "));
        return Err(Failure::new(Exit::Usage, what).next("leave --server (WEIR_SERVER) out, and name the store"));
    };
    let mut given = given(operation, own);
    // A folder that is named behind the command is this machine's, and goes along like any other.
    let named = own.try_get_one::<PathBuf>("of").ok().flatten().filter(|_| operation.folder);
    let said = |id: &str| own.value_source(id) == Some(ValueSource::CommandLine);
    let import = operation.file.is_some();
    // What comes back is written here when that is asked for.
    let is_here = |id: &str| id == "of" && named.is_some() || id == "write" && import;
    if let Some(other) = operation.without.iter().find(|id| said(id) && !is_here(id)) {
        let what =
            format!("`{}` of `weirctl {}` means this machine, and is not done by a server", other, words.join(" "));
        return Err(Failure::new(Exit::Usage, what).next("leave it out, or leave --server out and name the store"));
    }
    let place = &Place { folder: named.cloned().unwrap_or_else(|| place.folder.clone()), ..place.clone() };
    if operation.folder {
        let texts = Folder::texts(&place.folder)?;
        given.insert(
            "folder".into(),
            texts.into_iter().map(|(name, text)| (name, text.into())).collect::<Map<_, _>>().into(),
        );
        given.insert("git".into(), (place.origin() == Origin::Git).into());
    }
    if let Some(file) = operation.file {
        given.insert(file.to_owned(), list_here(own)?.into());
        return imported(url, operation, given, own, place, screen);
    }
    let answer = ask(url, operation, given, place, screen.json)?;
    shown(url, answer, screen)
}

/// The server says what a list would change; what is to be written is written here.
fn imported(
    url: &str,
    operation: &Operation,
    given: Map<String, Value>,
    own: &ArgMatches,
    place: &Place,
    screen: &Screen,
) -> Result<Value, Failure> {
    if !screen.json {
        shown(url, ask(url, operation, given.clone(), place, false)?, screen)?;
    }
    let answer = ask(url, operation, given, place, true)?;
    if answer.status != 200 {
        return Err(told(url, &answer));
    }
    let mut said = serde_json::from_slice(&answer.body).map_err(|_| strange(url, "its answer is no JSON"))?;
    written_here(own, &mut said, place, screen)?;
    Ok(if screen.json { said } else { Value::Null })
}

/// A vendor's secret never goes there: it is sealed here, for the version that comes next there.
fn sealed(url: &str, own: &ArgMatches, keeps: bool, place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let operation = |verb: &str| {
        let words = ["vendor", "credential", verb].map(str::to_owned);
        Operation::of_words(&words).ok_or_else(|| strange(url, "it does not take secrets"))
    };
    let (list, put) = (operation("list")?, operation("put")?);
    let next = |vendor: &str, credential: &str| {
        let answer = ask(url, list, Map::new(), place, true)?;
        if answer.status != 200 {
            return Err(told(url, &answer));
        }
        let said: Value = serde_json::from_slice(&answer.body).map_err(|_| strange(url, "its answer is no JSON"))?;
        let known = said["credentials"].as_array().into_iter().flatten();
        let mut own = known.filter(|known| known["vendor"] == vendor && known["credential"] == credential);
        Ok(own.next().and_then(|known| known["next_version"].as_u64()).unwrap_or(1))
    };
    let given = sealed_here(own, keeps, place, screen, next)?;
    shown(url, ask(url, put, given, place, screen.json)?, screen)
}

fn shown(url: &str, answer: Answer, screen: &Screen) -> Result<Value, Failure> {
    if answer.exit == Exit::Changes as u8 {
        screen.ends_with(Exit::Changes);
    }
    match (answer.status, screen.json) {
        (200, true) => serde_json::from_slice(&answer.body).map_err(|_| strange(url, "its answer is no JSON")),
        (200, false) => {
            screen.say(String::from_utf8_lossy(&answer.body));
            Ok(Value::Null)
        }
        _ => Err(told(url, &answer)),
    }
}

/// The words of the command, and what was said behind them.
fn leaf(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut words, mut at) = (Vec::new(), matches);
    while let Some((word, inner)) = at.subcommand() {
        words.push(word.to_owned());
        at = inner;
    }
    (words, at)
}

fn given(operation: &Operation, own: &ArgMatches) -> Map<String, Value> {
    let mut given = Map::new();
    for arg in operation.arguments() {
        let id = arg.get_id().as_str();
        if own.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = match arg.get_action().takes_values() {
            false => Value::Bool(own.get_flag(id)),
            true => {
                let said = own.get_raw(id).into_iter().flatten();
                let mut said: Vec<Value> = said.map(|text| text.to_string_lossy().into_owned().into()).collect();
                if said.len() == 1 { said.remove(0) } else { said.into() }
            }
        };
        given.insert(id.to_owned(), value);
    }
    given
}

struct Answer {
    status: u16,
    exit: u8,
    body: Vec<u8>,
}

fn strange(url: &str, why: &str) -> Failure {
    Failure::new(Exit::Store, format!("{url}: {why}")).next("is it the address of a `weirctl serve`?")
}

/// The failure as it was there.
fn told(url: &str, answer: &Answer) -> Failure {
    let Ok(Value::Object(mut details)) = serde_json::from_slice::<Value>(&answer.body) else {
        return strange(url, &format!("it answers {}", answer.status));
    };
    let error = details.remove("error").unwrap_or_default();
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let exit = Exit::ALL.iter().copied().find(|exit| *exit as u8 == answer.exit).unwrap_or(Exit::Failed);
    Failure { exit, what: text("message"), next: text("next"), details }
}

fn token(place: &Place) -> Result<Option<String>, Failure> {
    match &place.server.token_file {
        Some(path) => {
            let read = std::fs::read_to_string(path).map(|text| Some(text.trim().to_owned()));
            read.map_err(|error| {
                Failure::new(Exit::Usage, format!("{}: {error}", path.display())).next("name a file with a token")
            })
        }
        None => Ok(std::env::var("WEIR_TOKEN").ok().filter(|token| !token.is_empty())),
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

fn ask(
    url: &str,
    operation: &Operation,
    given: Map<String, Value>,
    place: &Place,
    as_json: bool,
) -> Result<Answer, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Store, format!("{url}: {why}")).next("check --server, --server-ca and whether it runs")
    };
    let (tls, authority) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest.trim_end_matches('/')),
        Some(("http", rest)) => (false, rest.trim_end_matches('/')),
        _ => return Err(Failure::new(Exit::Usage, format!("{url:?} is no address")).next("write https://HOST:PORT")),
    };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:{}", if tls { 443 } else { 80 })
    };
    let address = with_port.to_socket_addrs().map_err(|error| wrong(error.to_string()))?.next();
    let address = address.ok_or_else(|| wrong("it has no address".into()))?;
    if !tls && !address.ip().is_loopback() {
        let what = format!("{url}: without TLS a token could be read on its way");
        return Err(Failure::new(Exit::Usage, what).next("write https://"));
    }
    let socket = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).map_err(|error| wrong(error.to_string()))?;
    let limits =
        socket.set_read_timeout(Some(ANSWER_PATIENCE)).and_then(|()| socket.set_write_timeout(Some(CONNECT_PATIENCE)));
    limits.map_err(|error| wrong(error.to_string()))?;
    let mut stream: Box<dyn Stream> =
        if tls { Box::new(encrypted(socket, host, place).map_err(wrong)?) } else { Box::new(socket) };
    let request = request(operation, given, authority, token(place)?, as_json);
    let mut bytes = Vec::new();
    let sent = stream.write_all(&request).and_then(|()| stream.flush());
    // A peer that ends without TLS's own end has said all when the length is right.
    let read = sent.and_then(|()| match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    });
    read.map_err(|error| wrong(error.to_string()))?;
    answer(&bytes).ok_or_else(|| strange(url, "it does not speak HTTP"))
}

fn encrypted(
    socket: TcpStream,
    host: &str,
    place: &Place,
) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>, String> {
    let mut roots = rustls::RootCertStore::empty();
    match &place.server.server_ca {
        Some(path) => {
            for root in certificates(path).map_err(|failure| failure.what)? {
                roots.add(root).map_err(|error| error.to_string())?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match (&place.server.client_cert, &place.server.client_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate).map_err(|failure| failure.what)?;
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", key.display());
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&error))?;
            config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        _ => config.with_no_client_auth(),
    };
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    Ok(rustls::StreamOwned::new(connection, socket))
}

fn request(
    operation: &Operation,
    given: Map<String, Value>,
    authority: &str,
    token: Option<String>,
    as_json: bool,
) -> Vec<u8> {
    let (query, body) = match operation.method() {
        "GET" => (query(&given), String::new()),
        _ => (String::new(), Value::Object(given).to_string()),
    };
    let accept = if as_json { "application/json" } else { "text/plain" };
    let token =
        token.map_or(String::new(), |token| format!("authorization: Bearer {}\r\n", token.replace(['\r', '\n'], "")));
    let head = format!(
        "{} /v1/{}{query} HTTP/1.1\r\nhost: {authority}\r\naccept: {accept}\r\n{token}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        operation.method(),
        operation.path(),
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn query(given: &Map<String, Value>) -> String {
    let encoded = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
    };
    let one = |name: &str, value: &Value| {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        format!("{}={}", encoded(name), encoded(&text))
    };
    let pairs = given.iter().flat_map(|(name, value)| match value {
        Value::Array(items) => items.iter().map(|item| one(name, item)).collect(),
        value => vec![one(name, value)],
    });
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// An answer of a connection that is closed after it: its body is the rest, not longer than it says.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let body = bytes.get(split + 4..split + 4 + length)?.to_vec();
    let exit = field("x-weir-exit").and_then(|exit| exit.parse().ok()).unwrap_or(Exit::Failed as u8);
    Some(Answer { status, exit, body })
}

/// What of a command line an audit log may hold: the same as what a server would be sent.
pub fn arguments(matches: &ArgMatches) -> (Vec<String>, Value) {
    let (words, own) = leaf(matches);
    match Operation::of_words(&words) {
        Some(operation) => {
            let given = given(operation, own);
            (words, json!(given))
        }
        None => (words, Value::Null),
    }
}
