//! The control socket: counters, the last request, and changes while it runs. Plain blocking HTTP, one thread, local use.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::registry::{Captured, Registry};

/// `GET /counters[?scenario=…]` · `GET /last?scenario=…` · `POST /reset` · `POST /set?scenario=…` (body: the new words)
pub fn serve(listener: TcpListener, registry: Arc<Registry>, stop: Arc<AtomicBool>) {
    while let Ok((socket, _)) = listener.accept() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        // One at a time and never for long: whoever connects and says nothing may not hold the others up.
        let _ = socket.set_read_timeout(Some(PATIENCE));
        let _ = socket.set_write_timeout(Some(PATIENCE));
        let _ = converse(&socket, &registry);
    }
}

fn converse(socket: &TcpStream, registry: &Registry) -> io::Result<()> {
    let mut input = BufReader::new(socket.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut length = 0u64;
    loop {
        let mut field = String::new();
        if input.read_line(&mut field)? == 0 || field.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = String::new();
    input.take(length).read_to_string(&mut body)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let scenario = query.split('&').find_map(|pair| pair.strip_prefix("scenario=")).map(super::worker_decode);
    let (status, answer) = match (method, path) {
        ("GET", "/counters") => {
            let counters = registry.counters();
            let json = match scenario {
                Some(text) => serde_json::to_string(&counters.get(&text).cloned().unwrap_or_default()),
                None => serde_json::to_string(&counters),
            };
            ("200 OK", json.unwrap_or_default())
        }
        ("GET", "/last") => match registry.last(&scenario.unwrap_or_default()) {
            Some(captured) => ("200 OK", describe(&captured)),
            None => ("404 Not Found", "{\"error\":\"nothing captured: is --capture on?\"}".to_owned()),
        },
        ("POST", "/reset") => {
            registry.reset();
            ("200 OK", "{}".to_owned())
        }
        ("POST", "/set") => match registry.set(&scenario.unwrap_or_default(), body.trim()) {
            Ok(()) => ("200 OK", "{}".to_owned()),
            Err(why) => ("400 Bad Request", serde_json::json!({ "error": why }).to_string()),
        },
        _ => (
            "404 Not Found",
            "{\"error\":\"GET /counters, GET /last?scenario=, POST /reset, POST /set?scenario=\"}".to_owned(),
        ),
    };
    let mut socket = socket;
    write!(
        socket,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

/// Bytes that are not UTF-8 are shown as replacement characters; in-process callers get them as they were.
fn describe(captured: &Captured) -> String {
    let head = String::from_utf8_lossy(&captured.head);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    let headers: Vec<[&str; 2]> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| [name, value.trim()]).collect();
    serde_json::json!({
        "method": first.next(),
        "target": first.next(),
        "headers": headers,
        "body": String::from_utf8_lossy(&captured.body),
        "body_bytes": captured.body.len(),
    })
    .to_string()
}

const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: u64 = 1 << 20;
