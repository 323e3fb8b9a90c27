//! Requests: the ordinary call of each dialect, and the bytes of any other.

use weirbench::grammar;

use crate::model::Dialect;

/// The kinds of calls that generate text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Chat,
    Completions,
    Responses,
    Messages,
    Generate,
}

impl Call {
    pub const ALL: &[Self] = &[Self::Chat, Self::Completions, Self::Responses, Self::Messages, Self::Generate];

    pub fn dialect(self) -> Dialect {
        match self {
            Self::Chat | Self::Completions | Self::Responses => Dialect::OpenAi,
            Self::Messages => Dialect::Anthropic,
            Self::Generate => Dialect::Gemini,
        }
    }

    pub fn grammar(self) -> grammar::Dialect {
        match self {
            Self::Chat => grammar::Dialect::OpenAiChat,
            Self::Completions => grammar::Dialect::OpenAiCompletions,
            Self::Responses => grammar::Dialect::OpenAiResponses,
            Self::Messages => grammar::Dialect::Anthropic,
            Self::Generate => grammar::Dialect::Gemini,
        }
    }

    pub fn target(self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".into(),
            Self::Completions => "/v1/completions".into(),
            Self::Responses => "/v1/responses".into(),
            Self::Messages => "/v1/messages".into(),
            Self::Generate if stream => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::Generate => format!("/v1beta/models/{model}:generateContent"),
        }
    }

    /// The body, with a member of the test's own choice at its end (`,"x":1`).
    pub fn body(self, model: &str, stream: bool, more: &str) -> String {
        let flag = if stream { r#","stream":true"# } else { "" };
        match self {
            Self::Chat => format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{flag}{more}}}"#),
            Self::Completions => format!(r#"{{"model":"{model}","prompt":"hi"{flag}{more}}}"#),
            Self::Responses => format!(r#"{{"model":"{model}","input":"hi"{flag}{more}}}"#),
            Self::Messages => format!(
                r#"{{"model":"{model}","max_tokens":99,"messages":[{{"role":"user","content":"hi"}}]{flag}{more}}}"#
            ),
            Self::Generate => format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"hi"}}]}}]{more}}}"#),
        }
    }

    pub fn request(self, model: &str, stream: bool) -> Request {
        self.request_with(model, stream, "")
    }

    pub fn request_with(self, model: &str, stream: bool, more: &str) -> Request {
        let request = Request::post(&self.target(model, stream), self.body(model, stream, more));
        if self == Self::Messages { request.header("anthropic-version", "2023-06-01") } else { request }
    }
}

/// One request; the key is added by who sends it, unless it names one itself.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub keyless: bool,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new(), keyless: false }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target).header("content-type", "application/json") }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the gateway's own key.
    pub fn keyless(mut self) -> Self {
        self.keyless = true;
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.keyless().header("authorization", &format!("Bearer {key}"))
    }

    pub fn bytes(&self, key: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.target);
        if !self.keyless {
            head += &format!("Authorization: Bearer {key}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "POST" {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}
