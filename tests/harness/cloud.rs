//! A cloud in small: a server that grants tokens, and a vendor beside it that takes no other and none that has ended.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};
use weirbench::provider::tls::{self, Identity, Leaf};

use crate::clock;

/// Both live at one address: what is posted to `/…/token` asks for one, everything else is a call.
#[derive(Clone)]
pub struct Cloud {
    pub address: SocketAddr,
    tls: Option<Arc<Identity>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    grants: Grants,
    tokens: HashMap<String, Instant>,
    forms: Vec<String>,
    calls: Vec<Call>,
    refused: u64,
}

/// What the token server does.
#[derive(Clone, Debug, Default)]
pub enum Grants {
    /// Tokens that hold so many seconds.
    Seconds(u64),
    /// This status and body.
    Refuses(u16, String),
    /// Connections end without a word.
    #[default]
    Dead,
}

/// A call as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub head: String,
    pub body: Vec<u8>,
}

impl Call {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Every token that was ever granted begins like this.
pub const TOKEN: &str = "granted-token-0815-do-not-show";

impl Cloud {
    pub fn start(grants: Grants) -> Self {
        Self::listen(grants, None)
    }

    /// Over TLS, with a certificate of this kind; what it says comes in chunks.
    pub fn start_tls(grants: Grants, leaf: Leaf) -> Self {
        Self::listen(grants, Some(Arc::new(tls::identity(leaf).expect("a certificate"))))
    }

    fn listen(grants: Grants, tls: Option<Arc<Identity>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let cloud = Self { address, tls, state: Arc::default() };
        cloud.grant(grants);
        let own = cloud.clone();
        // Its threads end with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let own = own.clone();
                thread::spawn(move || own.accept(socket));
            }
        });
        cloud
    }

    pub fn grant(&self, grants: Grants) {
        self.state().grants = grants;
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// What the token server was asked, form by form.
    pub fn forms(&self) -> Vec<String> {
        self.state().forms.clone()
    }

    pub fn last(&self) -> Call {
        self.state().calls.last().cloned().unwrap_or_default()
    }

    /// Calls without a token, or with one that has ended.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authority that its certificate is from.
    pub fn write_ca(&self, path: &Path) {
        let pem = self.tls.as_ref().map_or("", |identity| &identity.ca_pem);
        std::fs::write(path, pem).expect("the scratch folder is writable");
    }

    fn accept(&self, socket: TcpStream) {
        match &self.tls {
            None => self.serve(socket),
            Some(identity) => {
                let connection = ServerConnection::new(Arc::clone(&identity.config)).expect("a good configuration");
                self.serve(StreamOwned::new(connection, socket));
            }
        }
    }

    fn serve(&self, mut socket: impl Read + Write) {
        let mut held = Vec::new();
        while let Some(call) = read(&mut socket, &mut held) {
            let answer = if call.target().ends_with("/token") { self.token(&call) } else { Some(self.call(call)) };
            let Some((status, body)) = answer else { return };
            let mut said = format!("HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n");
            if self.tls.is_some() {
                said += "transfer-encoding: chunked\r\n\r\n";
                for part in body.as_bytes().chunks(7) {
                    said += &format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
                }
                said += "0\r\n\r\n";
            } else {
                said += &format!("content-length: {}\r\n\r\n{body}", body.len());
            }
            // Not in one piece, as it comes from afar.
            let (first, rest) = said.as_bytes().split_at(said.len() / 2);
            for part in [first, rest] {
                if socket.write_all(part).and_then(|()| socket.flush()).is_err() {
                    return;
                }
            }
        }
    }

    fn token(&self, call: &Call) -> Option<(u16, String)> {
        let mut state = self.state();
        state.forms.push(String::from_utf8_lossy(&call.body).into_owned());
        match state.grants.clone() {
            Grants::Seconds(seconds) => {
                let token = format!("{TOKEN}-{}", state.tokens.len());
                state.tokens.insert(token.clone(), clock::now() + Duration::from_secs(seconds));
                let answer = serde_json::json!({
                    "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
                });
                Some((200, answer.to_string()))
            }
            Grants::Refuses(status, body) => Some((status, body)),
            Grants::Dead => None,
        }
    }

    fn call(&self, call: Call) -> (u16, String) {
        let mut state = self.state();
        let now = clock::now();
        let shown = call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        // Without tokens at all it is a vendor that takes whatever comes.
        let good = state.tokens.is_empty() || state.tokens.get(shown).is_some_and(|until| *until > now);
        let (target, shown) = (call.target().to_owned(), shown.to_owned());
        state.calls.push(call);
        if !good {
            state.refused += 1;
            return (401, format!("{{\"error\":{{\"message\":\"the token {shown} has ended\"}}}}"));
        }
        (200, answer(&target).to_string())
    }
}

/// One request with its body; bodies have a length.
fn read(socket: &mut impl Read, held: &mut Vec<u8>) -> Option<Call> {
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            let mut call = Call { head, body: Vec::new() };
            let length = call.header("content-length").map_or(0, |length| length.parse().unwrap_or(0));
            if held.len() >= end + length {
                call.body = held[end..end + length].to_vec();
                held.drain(..end + length);
                return Some(call);
            }
        }
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => held.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

/// An answer in the language that the path is of.
fn answer(target: &str) -> serde_json::Value {
    if target.contains(":generateContent") {
        return serde_json::json!({
            "candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
        });
    }
    if target.contains("count-tokens") {
        return serde_json::json!({"input_tokens": 5});
    }
    if target.contains("awPredict") || target.contains("/messages") {
        return serde_json::json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "stop_sequence": null, "content": [{"type": "text", "text": "hello"}],
            "usage": {"input_tokens": 3, "output_tokens": 1},
        });
    }
    serde_json::json!({
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    })
}
