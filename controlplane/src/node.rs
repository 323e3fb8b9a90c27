//! What a node says on its admin listener. Each question has a deadline and an answer of bounded size: a node that hangs, or
//! something else behind its address, holds nobody up.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// JSON of a path; what went wrong, in words, otherwise.
pub fn ask(admin: &str, path: &str) -> Result<Value, String> {
    let answer = fetch(admin, path, PATIENCE)?;
    serde_json::from_slice(&answer.body).map_err(|_| "its answer is no JSON".into())
}

pub struct Answer {
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of its head that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }
}

/// What a path answers with 200; what went wrong, in words, otherwise. `patience` is for each part of it.
pub fn fetch(admin: &str, path: &str, patience: Duration) -> Result<Answer, String> {
    let address = admin.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or("its admin address is none")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    let limits = stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let sent = limits.and_then(|()| stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    sent.and_then(|()| stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)).map_err(|error| error.to_string())?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("it does not speak HTTP")?;
    let body = answer.split_off(split + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    match head.split(' ').nth(1) {
        Some("200") => Ok(Answer { head, body }),
        Some("404") => Err("it does not know this question; is it of an older version?".into()),
        Some(status) => Err(format!("it answers {status}: {}", String::from_utf8_lossy(&body).trim_end())),
        None => Err("it does not speak HTTP".into()),
    }
}
