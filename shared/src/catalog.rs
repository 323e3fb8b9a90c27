//! Vendors and models as workers see them.

use std::sync::{Arc, OnceLock};

use crate::health::Health;
use crate::policy::limit::{LimitState, Limits};
use crate::policy::resilience::BreakerRules;
use crate::policy::time::Times;
use crate::price::PriceList;
use crate::reach::{PathRule, Signing};
use crate::resolve::Pattern;

/// The wire languages. One line here, one file in the data plane's `dialect/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Cohere,
    Bedrock,
}

impl Dialect {
    pub const ALL: &[Self] = &[Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Cohere, Self::Bedrock];

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.name() == name)
    }

    fn own_auth(self) -> AuthScheme {
        match self {
            Self::OpenAi | Self::Cohere | Self::Bedrock => AuthScheme::Bearer,
            Self::Anthropic => AuthScheme::XApiKey,
            Self::Gemini => AuthScheme::XGoogApiKey,
        }
    }
}

/// Where a vendor departs from the dialect it claims. One line here, one rule in that dialect's reader or writer.
macro_rules! deviations {
    ($($(#[$doc:meta])* $deviation:ident $name:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Deviation { $($(#[$doc])* $deviation,)+ }

        impl Deviation {
            pub const ALL: &[Self] = &[$(Self::$deviation,)+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$deviation => $name,)+ }
            }
        }
    };
}

deviations! {
    /// Content is a list of parts, thoughts among them (Mistral's reasoning models).
    ContentPartsList "content_parts_list",
    /// A streamed tool call may have no index.
    ToolIndexNull "tool_index_null",
    /// The first delta does not say whose it is.
    FirstDeltaWithoutRole "first_delta_without_role",
    /// Usage stands under `x_groq`.
    UsageUnderXGroq "usage_under_x_groq",
    /// A stream that fails says so as `event: error`, under 200.
    ErrorEventIn200 "error_event_in_200",
    ErrorInStream "error_in_stream",
    /// Thoughts stand in the text, between `<think>` and `</think>`.
    ThinkTagsInText "think_tags_in_text",
    TwoFinishChunks "two_finish_chunks",
    CommentLines "comment_lines",
    UsageOnEveryChunk "usage_on_every_chunk",
    ObjectChatCompletionDone "object_chat_completion_done",
    /// Answers carry no id (Snowflake).
    NoId "no_id",
    /// The reason to finish is an empty string, or there is no chunk with one.
    EmptyFinish "empty_finish",
    /// Of calls, not of answers: what was thought in front of a tool's call is wanted back with it, as `reasoning_content`.
    ThoughtsTakenBack "thoughts_taken_back",
    /// Of calls, not of answers: an answer that was begun is marked with `prefix` where it is to be gone on with.
    PrefixMarksPrefill "prefix_marks_prefill",
}

impl Deviation {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|deviation| deviation.name() == name)
    }
}

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Deviations(u32);

impl Deviations {
    pub const NONE: Self = Self(0);

    pub fn with(self, deviation: Deviation) -> Self {
        Self(self.0 | 1 << deviation as u8)
    }

    pub fn has(self, deviation: Deviation) -> bool {
        self.0 & 1 << deviation as u8 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that an answer shows; where there are none, answers pass as they come.
    pub fn of_answers(self) -> Self {
        let of_calls = 1 << Deviation::ThoughtsTakenBack as u8 | 1 << Deviation::PrefixMarksPrefill as u8;
        Self(self.0 & !of_calls)
    }
}

/// How a model that thinks is told how much to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Thinking {
    /// By a number of tokens.
    #[default]
    Budget,
    /// By a word: low, medium, high.
    Effort,
}

/// The form in which a vendor of OpenAI's dialect, which has no word for it, is asked to rank documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rerank {
    /// `rerank` with `top_n`, answered by `results`: Jina, Together, SiliconFlow, Novita, vLLM and most others.
    #[default]
    Jina,
    /// `rerank` with `top_k`, answered by `data`.
    Voyage,
    /// `reranking` with `input` and `top_k`, answered by `data` with a `score`.
    Mixedbread,
}

impl Rerank {
    pub const ALL: &[Self] = &[Self::Jina, Self::Voyage, Self::Mixedbread];

    pub fn name(self) -> &'static str {
        match self {
            Self::Jina => "jina",
            Self::Voyage => "voyage",
            Self::Mixedbread => "mixedbread",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnlyPath {
    Chat,
    Responses,
}

/// What becomes of a parameter that the vendor's dialect has no word for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Untranslatable {
    #[default]
    Refuse,
    Drop,
}

/// How a vendor is shown who pays. One line here, one in the data plane's `upstream/credential`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AuthScheme {
    Bearer,
    XApiKey,
    XGoogApiKey,
    /// Azure's field for a resource's key.
    ApiKey,
    /// `?key=`
    QueryKey,
    /// Each request is signed.
    AwsSigV4,
    /// An application's secret is exchanged for tokens.
    AzureEntra,
    /// A private key's signature is exchanged for tokens.
    GoogleServiceAccount,
}

impl AuthScheme {
    pub const ALL: &[Self] = &[
        Self::Bearer,
        Self::XApiKey,
        Self::XGoogApiKey,
        Self::ApiKey,
        Self::QueryKey,
        Self::AwsSigV4,
        Self::AzureEntra,
        Self::GoogleServiceAccount,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::XApiKey => "x-api-key",
            Self::XGoogApiKey => "x-goog-api-key",
            Self::ApiKey => "api-key",
            Self::QueryKey => "query-key",
            Self::AwsSigV4 => "aws-sigv4",
            Self::AzureEntra => "azure-entra",
            Self::GoogleServiceAccount => "google-service-account",
        }
    }

    /// What is shown to the vendor is fetched, and ends.
    pub fn has_tokens(self) -> bool {
        matches!(self, Self::AzureEntra | Self::GoogleServiceAccount)
    }

    pub fn parse(name: Option<&str>, dialect: Dialect) -> Option<Self> {
        match name {
            None => Some(dialect.own_auth()),
            Some(name) => Self::ALL.iter().copied().find(|scheme| scheme.name() == name),
        }
    }
}

/// `scheme://host:port/path`, taken apart once.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct BaseUrl {
    pub tls: bool,
    /// As in the URL, an IPv6 address without its brackets.
    pub host: Arc<str>,
    pub port: u16,
    /// Without a slash at its end; empty or starting with one.
    pub path: Arc<str>,
    /// What stands in the `Host` field.
    pub authority: Arc<str>,
}

impl BaseUrl {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("it must start with https:// or http://"),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it holds a character that no URL may hold");
        }
        if rest.contains(['?', '#', '@', '\\', '"']) {
            return Err("it may hold no query, fragment or user");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or("its IPv6 address lacks a ]")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in [] is no IPv6 address")?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(name_byte) {
            return Err("its host is not a name or an address");
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("its port is not a number up to 65535")?,
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let path = path.trim_end_matches('/');
        Ok(Self { tls, host: host.into(), port, path: path.into(), authority: authority.into() })
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Roots {
    Bundled,
    System,
    File(Arc<str>),
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum SecretRef {
    Env(Arc<str>),
    File(Arc<str>),
    /// In the store, under the names of the vendor and the credential.
    Sealed,
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Sealed => f.write_str("its sealed secret"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Credential {
    pub name: Arc<str>,
    pub secret: SecretRef,
    /// Whose own it is; everybody's, when nobody's.
    pub tenant: Option<Arc<str>>,
    /// What everybody has, less the shares that are somebody's own.
    pub limits: Limits,
    /// Shared by the cores, and carried from one snapshot to the next.
    pub state: Arc<LimitState>,
    pub shares: Vec<Share>,
}

/// A part of what a credential may, by its limits and by its vendor's word, that is kept for some keys.
#[derive(Clone, Debug)]
pub struct Share {
    /// Of the name or the id.
    pub key: Pattern,
    pub percent: u8,
    pub limits: Limits,
    pub state: Arc<LimitState>,
}

/// What becomes of a vendor's stream when the caller has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnHangUp {
    Abort,
    Drain,
}

#[derive(Clone, Debug)]
pub struct Vendor {
    pub name: Arc<str>,
    pub dialect: Dialect,
    pub base: BaseUrl,
    pub auth: AuthScheme,
    pub signing: Signing,
    /// Paths that are not the dialect's own; the first that fits holds.
    pub paths: Vec<PathRule>,
    pub internal: bool,
    pub roots: Roots,
    pub proxy: Option<BaseUrl>,
    pub times: Times,
    pub on_hang_up: OnHangUp,
    pub strict_events: bool,
    /// Serves OpenAI's Responses beside chat completions.
    pub responses: bool,
    pub rerank: Rerank,
    pub deviations: Deviations,
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    pub regions: Vec<Arc<str>>,
    pub zero_retention: bool,
    pub no_training: bool,
    pub breaker: BreakerRules,
    pub credentials: Vec<Credential>,
}

impl Vendor {
    /// Whether any of its credentials is a tenant's own.
    pub fn has_owned(&self) -> bool {
        self.credentials.iter().any(|credential| credential.tenant.is_some())
    }
}

#[derive(Clone, Debug)]
pub struct Model {
    /// Place of its vendor in [`crate::snapshot::Snapshot::vendors`].
    pub vendor: u32,
    pub id: Arc<str>,
    pub upstream: Arc<str>,
    pub kind: Arc<str>,
    pub reasoning: bool,
    pub thinking: Thinking,
    /// Of OpenAI's two languages the only one it is served in.
    pub only: Option<OnlyPath>,
    pub context_tokens: u64,
    pub output_tokens_max: u64,
    /// Bits of [`crate::routing::need`]; `None` when nobody said.
    pub can: Option<u16>,
    pub price: Arc<PriceList>,
    /// How it does with each of its vendor's credentials, at the same place.
    pub health: Vec<HealthCell>,
}

/// Made when it is first needed: most models of a large catalog are never called on a node.
#[derive(Clone, Debug, Default)]
pub struct HealthCell(OnceLock<Arc<Health>>);

impl HealthCell {
    pub fn get(&self) -> &Arc<Health> {
        self.0.get_or_init(Arc::default)
    }

    /// `None`: it was never needed, so there is nothing to know.
    pub fn known(&self) -> Option<&Arc<Health>> {
        self.0.get()
    }
}

impl Model {
    /// It answers in words, in vectors or in ranks: calls of any dialect that has such calls reach it.
    pub fn is_universal(&self) -> bool {
        matches!(&*self.kind, "chat" | "embedding" | "rerank")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_come_apart() {
        let url = BaseUrl::parse("https://api.openai.com/v1/").unwrap();
        assert_eq!((url.tls, &*url.host, url.port, &*url.path), (true, "api.openai.com", 443, "/v1"));
        let url = BaseUrl::parse("http://[::1]:9100/~events=3/v1").unwrap();
        assert_eq!((&*url.host, url.port, &*url.path, &*url.authority), ("::1", 9100, "/~events=3/v1", "[::1]:9100"));
        for wrong in [
            "ftp://x",
            "https://",
            "https://a b",
            "https://u@h",
            "https://h?x",
            "http://h:0",
            "http://h:99999",
            "http://[zz]/",
        ] {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
