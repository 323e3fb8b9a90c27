//! Whom to call and with what: one request, composed once.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Openai,
    Responses,
    Anthropic,
    Gemini,
    Cohere,
    Converse,
}

#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: Option<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>)>,
    pub request: Arc<[u8]>,
    pub stream: bool,
    pub dialect: Dialect,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}, {} bytes", self.dialect, self.address, self.request.len())
    }
}

/// What a person says about the request.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// `http://host:port` or `https://…`, with or without a path before the version.
    pub url: &'a str,
    pub key: &'a str,
    pub dialect: Dialect,
    pub model: &'a str,
    pub stream: bool,
    /// The size of the body, filled with text.
    pub body_bytes: usize,
    /// Messages that the text is spread over, from the user's first to the user's last.
    pub turns: usize,
    pub tls_ca: Option<&'a Path>,
}

impl Target {
    pub fn new(wish: &Wish<'_>) -> io::Result<Target> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", wish.url));
        let (scheme, rest) = wish.url.split_once("://").ok_or_else(|| bad("needs http:// or https://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(bad("only http and https")),
        };
        let with_port = if authority.contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if secure { 443 } else { 80 })
        };
        let address = with_port.to_socket_addrs()?.next().ok_or_else(|| bad("no address"))?;
        let host = with_port.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
        let tls = match (secure, wish.tls_ca) {
            (false, _) => None,
            (true, None) => return Err(bad("https needs --tls-ca")),
            (true, Some(ca)) => {
                let name = rustls::pki_types::ServerName::try_from(host).map_err(io::Error::other)?;
                Some((crate::http::trusting(ca)?, name))
            }
        };
        let request = compose(wish, authority, path.trim_end_matches('/'));
        Ok(Target { address, tls, request: request.into(), stream: wish.stream, dialect: wish.dialect })
    }
}

impl Dialect {
    /// What only the end of a legal stream contains.
    pub fn end_marker(self) -> &'static [u8] {
        match self {
            Dialect::Openai => b"data: [DONE]",
            Dialect::Responses => b"event: response.completed",
            Dialect::Anthropic => b"event: message_stop",
            Dialect::Gemini => b"\"finishReason\"",
            Dialect::Cohere => b"event: message-end",
            Dialect::Converse => b"\"metrics\":",
        }
    }

    /// Once in each event.
    pub fn event_end(self) -> &'static [u8] {
        match self {
            // Its lines end in one way or the other.
            Dialect::Gemini => b"\"candidates\"",
            // No line ends a frame, but each names itself once.
            Dialect::Converse => b":event-type",
            _ => b"\n\n",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Dialect::Openai => "openai",
            Dialect::Responses => "responses",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
            Dialect::Cohere => "cohere",
            Dialect::Converse => "converse",
        }
    }

    pub fn grammar(self) -> crate::grammar::Dialect {
        match self {
            Dialect::Openai => crate::grammar::Dialect::OpenAiChat,
            Dialect::Responses => crate::grammar::Dialect::OpenAiResponses,
            Dialect::Anthropic => crate::grammar::Dialect::Anthropic,
            Dialect::Gemini => crate::grammar::Dialect::Gemini,
            Dialect::Cohere => crate::grammar::Dialect::Cohere,
            Dialect::Converse => crate::grammar::Dialect::Converse,
        }
    }
}

fn compose(wish: &Wish<'_>, authority: &str, path: &str) -> Vec<u8> {
    let model = serde_json::Value::from(wish.model).to_string();
    let stream = wish.stream;
    let body = |texts: &[&str]| {
        let each = |write: &dyn Fn(&str, &str) -> String, roles: [&str; 2]| -> String {
            let written: Vec<String> =
                texts.iter().enumerate().map(|(index, text)| write(roles[index % 2], text)).collect();
            written.join(",")
        };
        let plain = |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":\"{text}\"}}");
        let messages = || each(&plain, ["user", "assistant"]);
        match wish.dialect {
            Dialect::Openai => {
                let usage = if stream { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
                format!(
                    "{{\"model\":{model},\"messages\":[{}],\"max_tokens\":256,\"stream\":{stream}{usage}}}",
                    messages()
                )
            }
            Dialect::Responses => format!(
                "{{\"model\":{model},\"input\":[{}],\"max_output_tokens\":256,\"stream\":{stream}}}",
                messages()
            ),
            Dialect::Anthropic | Dialect::Cohere => {
                format!("{{\"model\":{model},\"max_tokens\":256,\"messages\":[{}],\"stream\":{stream}}}", messages())
            }
            Dialect::Gemini => {
                let write =
                    |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"parts\":[{{\"text\":\"{text}\"}}]}}");
                format!("{{\"contents\":[{}]}}", each(&write, ["user", "model"]))
            }
            Dialect::Converse => {
                let write =
                    |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":[{{\"text\":\"{text}\"}}]}}");
                format!(
                    "{{\"messages\":[{}],\"inferenceConfig\":{{\"maxTokens\":256}}}}",
                    each(&write, ["user", "assistant"])
                )
            }
        }
    };
    // The user has the first and the last word.
    let turns = wish.turns.max(1) | 1;
    let filler = wish.body_bytes.saturating_sub(body(&vec![""; turns]).len());
    let text: String = "Tell me about weirs. ".chars().cycle().take(filler).collect();
    let cut = |turn: usize| turn * filler / turns;
    let texts: Vec<&str> = (0..turns).map(|turn| &text[cut(turn)..cut(turn + 1)]).collect();
    let body = body(&texts);
    let target = match wish.dialect {
        Dialect::Openai => "/v1/chat/completions".to_owned(),
        Dialect::Responses => "/v1/responses".to_owned(),
        Dialect::Anthropic => "/v1/messages".to_owned(),
        Dialect::Gemini if stream => format!("/v1beta/models/{}:streamGenerateContent?alt=sse", wish.model),
        Dialect::Gemini => format!("/v1beta/models/{}:generateContent", wish.model),
        Dialect::Cohere => "/v2/chat".to_owned(),
        Dialect::Converse if stream => format!("/model/{}/converse-stream", wish.model),
        Dialect::Converse => format!("/model/{}/converse", wish.model),
    };
    let credential = match wish.dialect {
        Dialect::Openai | Dialect::Responses | Dialect::Cohere | Dialect::Converse => {
            format!("authorization: Bearer {}", wish.key)
        }
        Dialect::Anthropic => format!("x-api-key: {}\r\nanthropic-version: 2023-06-01", wish.key),
        Dialect::Gemini => format!("x-goog-api-key: {}", wish.key),
    };
    let head = format!(
        "POST {path}{target} HTTP/1.1\r\nhost: {authority}\r\n{credential}\r\nuser-agent: weirbench\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_size_asked_for_and_is_json() {
        for dialect in <Dialect as clap::ValueEnum>::value_variants().iter().copied() {
            let wish = Wish {
                url: "http://127.0.0.1:1/~x/",
                key: "k",
                dialect,
                model: "m",
                stream: true,
                body_bytes: 1000,
                turns: 3,
                tls_ca: None,
            };
            let request = Target::new(&wish).unwrap().request;
            let at = memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4;
            assert_eq!(request.len() - at, 1000);
            assert!(serde_json::from_slice::<serde_json::Value>(&request[at..]).is_ok());
            assert!(request.starts_with(b"POST /~x/"));
        }
    }
}
