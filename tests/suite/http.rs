//! What is not exactly one HTTP request is refused, the connection ends, and nothing of it reaches a vendor.

use std::time::Duration;

use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Call, Dialect, Gateway, Request, Setup, Table, clock};

const COUNTED: &str = "name=counted,events=2";

struct Desk {
    weir: Gateway,
    body: String,
}

impl Desk {
    fn open(name: &str) -> Self {
        let mut setup = Setup::new(name);
        let model = setup.model(Dialect::OpenAi, COUNTED);
        let weir = setup.start();
        Self { weir, body: Call::Chat.body(&model, false, "") }
    }

    /// A whole chat request with these field lines (each with its CRLF) and this body, then one that must never be read.
    fn post(&self, version: &str, lines: &str, body: &str) -> Vec<u8> {
        let key = &self.weir.key;
        let head = format!(
            "POST /v1/chat/completions {version}\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{lines}\r\n"
        );
        [head.as_bytes(), body.as_bytes(), self.smuggled().as_bytes()].concat()
    }

    fn smuggled(&self) -> String {
        format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", self.weir.key)
    }

    fn calls(&self) -> u64 {
        self.weir.vendor().counter(COUNTED).requests
    }

    /// Refused with one of these statuses, in one answer, then closed, without a call to the vendor.
    fn refused(&self, bytes: &[u8], statuses: &[u16]) -> Result<(), String> {
        let before = self.calls();
        let mut wire = self.weir.wire();
        wire.send(bytes);
        let said = wire.rest(Duration::from_secs(5)).map_err(|why| format!("it does not close: {why}"))?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = said.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
        ensure(statuses.contains(&status), format!("status {status}, not one of {statuses:?}: {said}"))?;
        let answers = said.split("\r\n").filter(|line| line.contains("HTTP/1.1 ") && !line.contains('{')).count();
        same("answers", answers, 1)?;
        ensure(status == 100 || said.contains("\"error\""), format!("no error body: {said}"))?;
        ensure(!said.contains("127.0.0.1") && !said.contains(".rs:"), format!("it tells too much: {said}"))?;
        same("calls to the vendor", self.calls() - before, 0)
    }

    fn end(self, table: Table) {
        self.weir.lives();
        table.end();
    }
}

#[test]
fn lengths_and_codings_that_two_readers_could_read_differently() {
    let desk = Desk::open("http-smuggling");
    let length = desk.body.len();
    let chunked = format!("{length:x}\r\n{}\r\n0\r\n\r\n", desk.body);
    let cl = format!("Content-Length: {length}\r\n");
    let te = "Transfer-Encoding: chunked\r\n";
    let mut table = Table::new();
    let mut case = |name: &str, lines: &str, body: &str, statuses: &[u16]| {
        table.case(name, desk.refused(&desk.post("HTTP/1.1", lines, body), statuses));
    };
    for (name, lines) in [
        ("CL then TE", format!("{cl}{te}")),
        ("TE then CL", format!("{te}{cl}")),
        ("CL 0 and TE", format!("Content-Length: 0\r\n{te}")),
        ("CL and TE in other cases", format!("content-LENGTH: {length}\r\nTRANSFER-encoding: chunked\r\n")),
    ] {
        case(name, &lines, &chunked, &[400]);
    }
    for (name, value) in [
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n"),
        ("twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("once good, once not", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        ("form feed", "Transfer-Encoding: chunked\x0c\r\n"),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n"),
        ("space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("folded with a tab", "Transfer-Encoding:\r\n\tchunked\r\n"),
        ("NUL", "Transfer-Encoding: chun\0ked\r\n"),
        ("empty", "Transfer-Encoding:\r\n"),
        ("comma first", "Transfer-Encoding: ,chunked\r\n"),
        ("a prefix by bare LF", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("a prefix by bare CR", "X: y\rTransfer-Encoding: chunked\r\n"),
        ("with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
        ("space in the name", "Transfer Encoding: chunked\r\n"),
        ("underscore", "Transfer_Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
    ] {
        case(&format!("TE {name}"), value, &chunked, &[400, 501]);
    }
    for (name, value) in [
        ("twice, equal", format!("{cl}{cl}")),
        ("twice, different", format!("{cl}Content-Length: 3\r\n")),
        ("list", format!("Content-Length: {length}, {length}\r\n")),
        ("plus", format!("Content-Length: +{length}\r\n")),
        ("minus", "Content-Length: -1\r\n".to_owned()),
        ("hexadecimal", format!("Content-Length: 0x{length:x}\r\n")),
        ("empty", "Content-Length:\r\n".to_owned()),
        ("letters", "Content-Length: abc\r\n".to_owned()),
        ("fraction", format!("Content-Length: {length}.0\r\n")),
        ("exponent", "Content-Length: 1e2\r\n".to_owned()),
        ("inner space", "Content-Length: 1 2\r\n".to_owned()),
        ("NUL", format!("Content-Length: {length}\0\r\n")),
        ("space before the colon", format!("Content-Length : {length}\r\n")),
        ("semicolon", format!("Content-Length: {length};x\r\n")),
        ("digits of another script", "Content-Length: ٣\r\n".to_owned()),
    ] {
        case(&format!("CL {name}"), &value, &desk.body, &[400]);
    }
    for value in [
        "99999999999999999999999",
        "18446744073709551616",
        "9223372036854775808",
        "340282366920938463463374607431768211456",
    ] {
        case(&format!("CL {value}"), &format!("Content-Length: {value}\r\n"), &desk.body, &[400, 413]);
    }
    let old = desk.post("HTTP/1.0", te, &chunked);
    table.case("TE in HTTP/1.0", desk.refused(&old, &[400]));
    let old = desk.post("HTTP/1.0", &format!("Connection: keep-alive\r\n{te}{cl}"), &chunked);
    table.case("TE and CL in HTTP/1.0", desk.refused(&old, &[400]));
    desk.end(table);
}

#[test]
fn chunks_that_are_none() {
    let desk = Desk::open("http-chunks");
    let (body, length) = (&desk.body, desk.body.len());
    let te = "Transfer-Encoding: chunked\r\n";
    let mut table = Table::new();
    for (name, framed) in [
        ("0x", format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("plus", format!("+{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("minus", format!("-1\r\n{body}\r\n0\r\n\r\n")),
        ("leading space", format!(" {length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("trailing space", format!("{length:x} \r\n{body}\r\n0\r\n\r\n")),
        ("underscore", format!("1_0\r\n{body}\r\n0\r\n\r\n")),
        ("overflow", format!("10000000000000000{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("largest", format!("ffffffffffffffff\r\n{body}\r\n0\r\n\r\n")),
        ("no size", format!("\r\n{body}\r\n0\r\n\r\n")),
        ("only an extension", format!(";x=1\r\n{body}\r\n0\r\n\r\n")),
        ("junk", format!("zz\r\n{body}\r\n0\r\n\r\n")),
        ("bare LF behind the size", format!("{length:x}\n{body}\r\n0\r\n\r\n")),
        ("bare CR behind the size", format!("{length:x}\r{body}\r\n0\r\n\r\n")),
        ("bare LF behind the data", format!("{length:x}\r\n{body}\n0\r\n\r\n")),
        ("bare LF in an extension", format!("{length:x};a\n\r\n{body}\r\n0\r\n\r\n")),
        ("NUL in an extension", format!("{length:x};a\0\r\n{body}\r\n0\r\n\r\n")),
        ("no CRLF behind the data", format!("{length:x}\r\n{body}0\r\n\r\n")),
        ("data longer than said", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 2)),
        ("bare LF in the trailer", format!("{length:x}\r\n{body}\r\n0\r\nX: y\n\r\n")),
        ("bare LF at the end", format!("{length:x}\r\n{body}\r\n0\r\n\n")),
        ("a giant extension", format!("{length:x};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(200_000))),
        ("a giant trailer", format!("{length:x}\r\n{body}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(200_000))),
        ("many trailers", format!("{length:x}\r\n{body}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(50_000))),
        ("many leading zeros", format!("{}{length:x}\r\n{body}\r\n0\r\n\r\n", "0".repeat(100_000))),
    ] {
        table.case(name, desk.refused(&desk.post("HTTP/1.1", te, &framed), &[400, 413, 431]));
    }
    // And what is legal, in pieces: extensions and trailers are dropped.
    let legal = format!(
        "1;a=b\r\n{}\r\n{:X};c=\"d\"\r\n{}\r\n000\r\nX-Trailer: y\r\nAuthorization: no\r\n\r\n",
        &body[..1],
        length - 1,
        &body[1..]
    );
    let mut wire = desk.weir.wire();
    for byte in desk.post("HTTP/1.1", te, &legal).chunks(7) {
        wire.send(byte);
    }
    let (first, second) = (wire.answer(), wire.answer());
    let sent = desk.weir.vendor().last(COUNTED).expect("the vendor was asked");
    let head = String::from_utf8_lossy(&sent.head).to_lowercase();
    table.case(
        "legal chunks",
        same("(chat, models)", (first.status, second.status), (200, 200))
            .and_then(|()| ensure(!head.contains("trailer") && head.contains("content-length: "), head.clone())),
    );
    desk.end(table);
}

#[test]
fn heads_that_are_none() {
    let desk = Desk::open("http-heads");
    let auth = format!("Authorization: Bearer {}\r\n", desk.weir.key);
    let get = |first: &str, lines: &str| format!("{first}\r\n{lines}{auth}\r\n{}", desk.smuggled());
    let with = |line: &str| get("GET /v1/models HTTP/1.1", &format!("Host: a\r\n{line}"));
    let mut table = Table::new();
    for (name, bytes, statuses) in [
        ("bare LF everywhere", get("GET /v1/models HTTP/1.1", "Host: a\r\n").replace("\r\n", "\n"), &[400][..]),
        ("bare LF once", with("X: y\nZ: w\r\n"), &[400]),
        ("bare CR", with("X: a\rb\r\n"), &[400]),
        ("NUL", with("X: a\0b\r\n"), &[400]),
        ("bell", with("X: a\x07b\r\n"), &[400]),
        ("DEL", with("X: a\x7f\r\n"), &[400]),
        ("space in a name", with("X y: z\r\n"), &[400]),
        ("no colon", with("X\r\n"), &[400]),
        ("obs-fold", with("X: y\r\n z\r\n"), &[400]),
        ("leading space", with(" X: y\r\n"), &[400]),
        ("leading tab", with("\tX: y\r\n"), &[400]),
        ("name with é", with("Xé: y\r\n"), &[400]),
        ("empty name", with(": y\r\n"), &[400]),
        ("name with a bracket", with("X(y): z\r\n"), &[400]),
        ("no host", get("GET /v1/models HTTP/1.1", ""), &[400]),
        ("two hosts", with("Host: b\r\n"), &[400]),
        ("two equal hosts", with("Host: a\r\n"), &[400]),
        ("empty host", get("GET /v1/models HTTP/1.1", "Host:\r\n"), &[400]),
        ("host with a space", get("GET /v1/models HTTP/1.1", "Host: a b\r\n"), &[400]),
        ("host with a slash", get("GET /v1/models HTTP/1.1", "Host: a/b\r\n"), &[400]),
        ("host with a user", get("GET /v1/models HTTP/1.1", "Host: u@a\r\n"), &[400]),
        ("HTTP/0.9", "GET /v1/models\r\n\r\n".to_owned(), &[400, 505]),
        ("HTTP/2.0", get("GET /v1/models HTTP/2.0", "Host: a\r\n"), &[400, 505]),
        ("HTTP/9.9", get("GET /v1/models HTTP/9.9", "Host: a\r\n"), &[400, 505]),
        ("HTTP/1.2", get("GET /v1/models HTTP/1.2", "Host: a\r\n"), &[400, 505]),
        ("http/1.1", get("GET /v1/models http/1.1", "Host: a\r\n"), &[400, 505]),
        ("HTTP/1.10", get("GET /v1/models HTTP/1.10", "Host: a\r\n"), &[400, 505]),
        ("two spaces", get("GET  /v1/models HTTP/1.1", "Host: a\r\n"), &[400]),
        ("a tab", get("GET\t/v1/models HTTP/1.1", "Host: a\r\n"), &[400, 505]),
        ("a space in the path", get("GET /v1/mo dels HTTP/1.1", "Host: a\r\n"), &[400, 505]),
        ("a path without a slash", get("GET v1/models HTTP/1.1", "Host: a\r\n"), &[400]),
        ("the preface of h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 505]),
        ("a TLS hello", "\x16\x03\x01\x02\0\x01\0\x01\n\r\n\r\n".to_owned(), &[400]),
        ("a flood of empty lines", "\r\n".repeat(100_000), &[400, 431]),
        ("CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".to_owned(), &[400, 404, 405]),
        ("101 fields", with(&"X: y\r\n".repeat(100)), &[431]),
        ("a field of 70 KiB", with(&format!("X: {}\r\n", "y".repeat(70_000))), &[431]),
        ("a head of 70 KiB", with(&format!("X: {}\r\n", "y".repeat(1_000)).repeat(70)), &[431]),
        ("a name of 70 KiB", with(&format!("{}: y\r\n", "X".repeat(70_000))), &[431]),
        ("a URI of 64 KiB", get(&format!("GET /{} HTTP/1.1", "a".repeat(64 << 10)), "Host: a\r\n"), &[414, 431]),
        ("a URI of 20 KiB", get(&format!("GET /{} HTTP/1.1", "a".repeat(20 << 10)), "Host: a\r\n"), &[414]),
        ("a head without end", format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(500_000)), &[431]),
        ("a line without end", "A".repeat(1 << 20), &[400, 414, 431]),
        ("an unknown expectation", with("Expect: 200-ok\r\n"), &[417]),
    ] {
        table.case(name, desk.refused(bytes.as_bytes(), statuses));
    }
    desk.end(table);
}

#[test]
fn methods_and_upgrades() {
    let desk = Desk::open("http-methods");
    let mut table = Table::new();
    let ask = |method: &str, target: &str| desk.weir.call(&Request::new(method, target));
    for (method, target, statuses) in [
        ("TRACE", "/v1/models", &[405, 404, 501][..]),
        ("PUT", "/v1/chat/completions", &[405]),
        ("GET", "/v1/chat/completions", &[405]),
        ("DELETE", "/v1/models", &[405]),
        ("PATCH", "/v1/models", &[405]),
        ("FROBNICATE", "/v1/models", &[405, 404, 501]),
        ("get", "/v1/models", &[405, 404, 501, 400]),
        ("GET", "/v1/nothing", &[404]),
        ("GET", "/metrics", &[404]),
        ("GET", "/status", &[404]),
        ("GET", "/ready", &[404]),
        ("GET", "/v1/files/../models", &[404]),
        ("GET", "/v1/%2e%2e%2fadmin", &[404]),
        ("GET", "/v1/models/%0d%0aX:%20y", &[404]),
        ("GET", "/v1/models/%00", &[404]),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", &[404]),
        ("POST", "/v1/chat/completions/../models", &[404, 405]),
    ] {
        let answer = ask(method, target);
        let text = answer.text();
        table.case(
            format!("{method} {target}"),
            ensure(statuses.contains(&answer.status), format!("{} {text}", answer.status))
                .and_then(|()| ensure(!text.contains(&desk.weir.key), "it echoes the key")),
        );
    }
    for (name, lines) in [
        ("websocket", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        ("h2c", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ("TLS/1.0", "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n"),
    ] {
        let mut wire = desk.weir.wire();
        wire.send(desk.post("HTTP/1.1", &format!("{lines}Content-Length: {}\r\n", desk.body.len()), &desk.body));
        let answer = wire.answer();
        let head = String::from_utf8_lossy(&desk.weir.vendor().last(COUNTED).unwrap_or_default().head).to_lowercase();
        table.case(name, same("status", answer.status, 200).and_then(|()| ensure(!head.contains("upgrade"), head)));
    }
    desk.end(table);
}

/// An answer that comes before its request was read: those bytes never become a request.
#[test]
fn unread_bodies_are_never_requests() {
    let desk = Desk::open("http-unread");
    let smuggled = desk.smuggled();
    let mut table = Table::new();
    let inner = smuggled.repeat(3);
    let head = |target: &str, auth: &str, length: usize| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\n{auth}Content-Length: {length}\r\n\r\n")
    };
    let good = format!("Authorization: Bearer {}\r\n", desk.weir.key);
    for (name, target, auth, status) in [
        ("a stranger", "/v1/chat/completions", "Authorization: Bearer no\r\n", 401),
        ("an unknown path", "/v1/nothing", good.as_str(), 404),
        ("a wrong method", "/v1/models", good.as_str(), 405),
        ("no JSON", "/v1/chat/completions", good.as_str(), 400),
    ] {
        // What is not too much is dropped, and the next request is served. Of what is, the connection ends.
        for (size, padding, answers) in [("small", 0, 2), ("large", 300_000, 2), ("too large", 2_000_000, 1)] {
            // What is no JSON is known when it is read.
            let answers = if status == 400 { 2 } else { answers };
            let body = format!("{inner}{}", " ".repeat(padding));
            let mut wire = desk.weir.wire();
            wire.send(head(target, auth, body.len()));
            std::thread::sleep(Duration::from_millis(30));
            wire.send(&body[..body.len() / 2]);
            std::thread::sleep(Duration::from_millis(30));
            wire.send(&body[body.len() / 2..]);
            wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let said = String::from_utf8_lossy(&wire.rest(PATIENCE).unwrap_or_default()).into_owned();
            let models = said.matches("\"object\":\"list\"").count();
            table.case(
                format!("{name}, {size}"),
                ensure(said.starts_with(&format!("HTTP/1.1 {status}")), said.clone())
                    .and_then(|()| same("smuggled requests", models, 0))
                    .and_then(|()| same("answers", said.matches("HTTP/1.1 ").count(), answers)),
            );
        }
    }
    // Who wants to be asked for its body is not, and its connection ends: what it sends next could be either.
    let mut wire = desk.weir.wire();
    wire.send(head("/v1/chat/completions", "Authorization: Bearer no\r\nExpect: 100-continue\r\n", 200));
    let said = String::from_utf8_lossy(&wire.rest(PATIENCE).unwrap_or_default()).into_owned();
    table.case("who asks first", ensure(said.starts_with("HTTP/1.1 401") && said.contains("connection: close"), said));
    // A body with GET: its bytes are a body.
    let mut wire = desk.weir.wire();
    wire.send(format!(
        "GET /v1/models HTTP/1.1\r\nHost: a\r\n{good}Content-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    ));
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let said = String::from_utf8_lossy(&wire.rest(PATIENCE).unwrap_or_default()).into_owned();
    table.case("GET with a body", ensure(said.matches("\"object\":\"list\"").count() <= 1, said));
    same("vendor calls", desk.calls(), 0).expect("no call");
    desk.end(table);
}

#[test]
fn bodies_that_are_too_large() {
    let mut setup = Setup::new("http-large");
    setup.folder("[gateway.sizes]\nbody_bytes_max = 100000");
    let model = setup.model(Dialect::OpenAi, COUNTED);
    let weir = setup.start();
    let desk = Desk { body: Call::Chat.body(&model, false, ""), weir };
    let mut table = Table::new();
    let declared = desk.post("HTTP/1.1", "Content-Length: 200000\r\n", "");
    let started = clock::now();
    table.case("declared", desk.refused(&declared, &[413]));
    table.case("at once", ensure(started.elapsed() < Duration::from_secs(5), format!("{:?}", started.elapsed())));
    let expecting = desk.post("HTTP/1.1", "Content-Length: 200000\r\nExpect: 100-continue\r\n", "");
    table.case("never 100", desk.refused(&expecting, &[413]));
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    table.case(
        "chunked",
        desk.refused(&desk.post("HTTP/1.1", "Transfer-Encoding: chunked\r\n", &chunk.repeat(5)), &[413]),
    );
    let gzip = desk.post(
        "HTTP/1.1",
        &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", desk.body.len()),
        &desk.body,
    );
    table.case("compressed", desk.refused(&gzip, &[415]));
    desk.end(table);
}

#[test]
fn bodies_that_are_not_json() {
    let desk = Desk::open("http-json");
    let good = desk.body.clone();
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut table = Table::new();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("spaces", b"   ".to_vec()),
        ("a word", b"hello".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a string", b"\"x\"".to_vec()),
        ("null", b"null".to_vec()),
        ("cut", good.as_bytes()[..good.len() - 1].to_vec()),
        ("trailing data", format!("{good}x").into_bytes()),
        ("two documents", format!("{good}{good}").into_bytes()),
        ("a trailing comma", good.replace("}]", "},]").into_bytes()),
        ("a comment", with("/* no */\"x\":1").into_bytes()),
        ("single quotes", with("'x':1").into_bytes()),
        ("a bare name", with("x:1").into_bytes()),
        ("NaN", with("\"x\":NaN").into_bytes()),
        ("Infinity", with("\"x\":-Infinity").into_bytes()),
        ("a leading zero", with("\"x\":01").into_bytes()),
        ("a plus", with("\"x\":+1").into_bytes()),
        ("a dot at the end", with("\"x\":1.").into_bytes()),
        ("an empty exponent", with("\"x\":1e").into_bytes()),
        ("hexadecimal", with("\"x\":0x1").into_bytes()),
        ("a raw newline in a string", with("\"x\":\"a\nb\"").into_bytes()),
        ("a NUL in a string", with("\"x\":\"a\0b\"").into_bytes()),
        ("an unknown escape", with("\"x\":\"\\q\"").into_bytes()),
        ("half an escape", with("\"x\":\"\\u12\"").into_bytes()),
        ("not UTF-8", [&with("\"x\":\"").as_bytes()[..6], b"\xff\"", &good.as_bytes()[1..]].concat()),
        ("overlong UTF-8", with("\"x\":\"AA\"").replace("AA", "\u{1}\u{1}").into_bytes()),
        ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat()),
        ("UTF-16", utf16),
        ("100 000 deep", with(&format!("\"x\":{}{}", "[".repeat(100_000), "]".repeat(100_000))).into_bytes()),
        ("129 deep", with(&format!("\"x\":{}{}", "[".repeat(129), "]".repeat(129))).into_bytes()),
        (
            "objects 100 000 deep",
            with(&format!("\"x\":{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000))).into_bytes(),
        ),
        ("a million open brackets", "[".repeat(1_000_000).into_bytes()),
        ("model twice", with("\"model\":\"x\"").into_bytes()),
        ("model twice, escaped", with("\"mod\\u0065l\":\"x\"").into_bytes()),
        ("stream twice", with("\"stream\":true,\"stream\":false").into_bytes()),
        ("a number as model", good.replace("\"model\":\"", "\"model\":1,\"y\":\"").into_bytes()),
        ("null as model", good.replace("\"model\":\"", "\"model\":null,\"y\":\"").into_bytes()),
        ("an array as model", good.replace("\"model\":\"", "\"model\":[],\"y\":\"").into_bytes()),
        ("no model", b"{\"messages\":[]}".to_vec()),
        ("a word as stream", with("\"stream\":\"true\"").into_bytes()),
        ("a number as stream", with("\"stream\":1").into_bytes()),
    ];
    let before = desk.calls();
    for (name, body) in cases {
        let started = clock::now();
        let answer = desk.weir.call(&Request::post("/v1/chat/completions", body));
        let outcome = ensure(matches!(answer.status, 400 | 413), format!("{} {}", answer.status, answer.text()))
            .and_then(|()| {
                ensure(
                    matches!(answer.code().as_str(), "invalid_json" | "invalid_body" | "body_too_large"),
                    answer.text(),
                )
            })
            .and_then(|()| ensure(answer.body.len() < 8 << 10, "a long answer"))
            .and_then(|()| ensure(started.elapsed() < Duration::from_secs(10), "it took long"));
        table.case(name, outcome);
    }
    let answer = desk.weir.call(&Request::post("/v1/chat/completions", "{\"model\": x}"));
    table.case("where it is", ensure(answer.text().contains("at byte 10"), answer.text()));
    table.case("no call", same("calls", desk.calls() - before, 0));
    desk.end(table);
}

/// Large but legal: served, and quickly.
#[test]
fn bodies_that_are_only_odd() {
    let desk = Desk::open("http-odd");
    let with = |member: String| desk.body.replacen('{', &format!("{{{member},"), 1);
    let mut table = Table::new();
    for (name, body) in [
        ("120 deep", with(format!("\"x\":{}{}", "[".repeat(120), "]".repeat(120)))),
        ("a million digits", with(format!("\"x\":{}", "1".repeat(1_000_000)))),
        (
            "50 000 equal keys in a part that nobody reads",
            with(format!("\"x\":{{{}\"k\":0}}", "\"k\":1,".repeat(50_000))),
        ),
        ("100 000 messages", with(format!("\"m\":[{}0]", "{\"role\":\"user\",\"content\":\"x\"},".repeat(100_000)))),
        ("a million commas", with(format!("\"x\":[{}0]", "0,".repeat(1_000_000)))),
        ("lone surrogates", with("\"x\":\"\\ud800\"".into())),
        ("absurd limits", with("\"max_tokens\":9223372036854775808,\"n\":1000,\"logit_bias\":{\"1\":1e308}".into())),
        ("negative limits", with("\"max_tokens\":-1,\"n\":-1".into())),
        ("newlines", desk.body.replace(',', ",\r\n\t ")),
    ] {
        let started = clock::now();
        let answer = desk.weir.call(&Request::post("/v1/chat/completions", body));
        let quick = started.elapsed() < Duration::from_secs(30);
        table.case(name, same("(status, quick)", (answer.status, quick), (200, true)));
    }
    desk.end(table);
}

/// No name of a model opens anything, and none tells whether it exists for others.
#[test]
fn names_of_models() {
    let desk = Desk::open("http-models");
    let key = desk.weir.new_key(&["--model", "good-*"]);
    let mut table = Table::new();
    let unknown = "model-that-nobody-has".to_owned();
    let not_allowed = desk.body.split('"').nth(3).unwrap_or_default().to_owned();
    let ask = |name: &str| {
        let quoted = serde_json::to_string(name).expect("a string");
        let body = format!("{{\"model\":{quoted},\"messages\":[]}}");
        desk.weir.call(&Request::post("/v1/chat/completions", body).key(&key))
    };
    let reference = ask(&unknown).text();
    for name in [
        not_allowed.as_str(),
        "",
        "a\r\nX-Injected: 1",
        "a\0b",
        "../../../etc/passwd",
        "good-openai/../x",
        "http://127.0.0.1/",
        "*",
        "good-*",
        "${jndi:ldap://x}",
        "%67ood-openai",
        " good-openai",
        "GOOD-OPENAI",
    ] {
        let answer = ask(name);
        table.case(
            format!("{name:?}"),
            same("(status, body)", (answer.status, answer.text()), (404, reference.clone())),
        );
    }
    let answer = ask(&"m".repeat(1 << 20));
    table.case("1 MiB", same("(status, short)", (answer.status, answer.body.len() < 8 << 10), (404, true)));
    let named = desk.weir.call(&Request::get(&format!("/v1/models/{not_allowed}")).key(&key));
    let none = desk.weir.call(&Request::get("/v1/models/model-that-nobody-has").key(&key));
    table.case("/v1/models/…", same("answers", (named.status, named.text()), (404, none.text())));
    desk.end(table);
}
