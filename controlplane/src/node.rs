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
    let address = admin.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or("its admin address is none")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    let limits = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let sent = limits.and_then(|()| stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    sent.and_then(|()| stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)).map_err(|error| error.to_string())?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("it does not speak HTTP")?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err("it does not answer with 200".into());
    }
    serde_json::from_slice(&answer[split + 4..]).map_err(|_| "its answer is no JSON".into())
}
