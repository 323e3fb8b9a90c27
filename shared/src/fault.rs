//! What can be wrong, and who must act: faults of a draft, codes that callers see, exit codes of the command line.

use std::fmt;

/// Where an operator wrote something.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, serde::Serialize, serde::Deserialize)]
pub struct Source {
    pub file: String,
    pub line: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One thing that keeps a draft from becoming a snapshot: where, what, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    pub source: Source,
    /// The key within the table at `source`, dotted (`price.batch.input`); empty when the table as a whole is meant.
    /// Who still has the text finds the key's own line by it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    pub what: String,
    pub fix: String,
}

impl Fault {
    pub fn new(source: &Source, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { source: source.clone(), key: String::new(), what: what.into(), fix: fix.into() }
    }

    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.source, self.what, self.fix)
    }
}

/// Who has to do something about an error. It decides the alarm and whether another try makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actor {
    Caller,
    Operator,
    Vendor,
    Gateway,
}

macro_rules! codes {
    ($($code:ident $name:literal $status:literal $actor:ident $meaning:literal,)+) => {
        /// Every reason the gateway gives for not answering a call, as callers see it in `error.code`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Code { $($code,)+ }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$code => $status,)+ }
            }

            pub fn actor(self) -> Actor {
                match self { $(Self::$code => Actor::$actor,)+ }
            }

            pub fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning,)+ }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" 400 Caller "The request is not valid HTTP.",
    HeadTimeout "request_timeout" 408 Caller "The request's head or body came too slowly.",
    HeadTooLarge "head_too_large" 431 Caller "The request's head is larger than the gateway reads.",
    UriTooLong "uri_too_long" 414 Caller "The request's path is longer than the gateway reads.",
    BodyTooLarge "body_too_large" 413 Caller "The request's body is larger than this route allows.",
    UnsupportedEncoding "unsupported_content_encoding" 415 Caller "The request's body is compressed; send it plain.",
    ExpectationFailed "expectation_failed" 417 Caller "Only 'Expect: 100-continue' is understood.",
    VersionUnsupported "http_version_not_supported" 505 Caller "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
    NotImplemented "not_implemented" 501 Caller "The gateway does not do this.",
    InvalidJson "invalid_json" 400 Caller "The body is not valid JSON.",
    InvalidBody "invalid_body" 400 Caller "The body lacks something that routing needs.",
    Untranslatable "unsupported_parameter" 400 Caller "The model's vendor has no word for something in the request.",
    UnknownKey "invalid_api_key" 401 Caller "No key, or not a valid one.",
    UnknownRoute "not_found" 404 Caller "The gateway does not serve this path.",
    MethodNotAllowed "method_not_allowed" 405 Caller "The path exists, but not with this method.",
    ModelNotFound "model_not_found" 404 Caller "No such model, or this key may not use it.",
    NoEligibleVendor "no_eligible_vendor" 403 Caller "No vendor of this model satisfies what the operator demands for this key's calls.",
    ObjectNotFound "object_not_found" 404 Caller "No such object, or it belongs to somebody else.",
    DialectMismatch "dialect_unsupported" 400 Caller "The model's vendor speaks another dialect than this path.",
    RateLimited "rate_limit_exceeded" 429 Caller "The key's limit per minute or of concurrent requests is reached.",
    TooManyFailures "too_many_failed_keys" 429 Caller "Too many wrong keys from this address.",
    VendorRateLimited "upstream_rate_limit" 429 Vendor "The vendor's rate limit is reached.",
    Overloaded "overloaded" 503 Gateway "The gateway is short of memory and sheds load.",
    BillingUnavailable "billing_unavailable" 503 Operator "Usage cannot be recorded now, so nothing is served.",
    ConfigUnavailable "config_unavailable" 503 Operator "The gateway has no configuration yet.",
    NoCredential "no_upstream_credential" 503 Operator "No usable credential for this vendor.",
    ShuttingDown "server_shutdown" 503 Gateway "The gateway is shutting down.",
    Internal "internal_error" 500 Gateway "The gateway failed; the request id finds the reason in its log.",
    UpstreamUnreachable "upstream_unreachable" 502 Vendor "The vendor did not accept a connection.",
    UpstreamTripped "upstream_unavailable" 503 Vendor "The vendor failed too often just now; it is tried again shortly.",
    UpstreamDrained "upstream_drained" 503 Operator "An operator has taken the vendor out of traffic.",
    UpstreamTimeout "upstream_timeout" 504 Vendor "The vendor did not answer in time.",
    UpstreamIdle "upstream_idle_timeout" 504 Vendor "The vendor fell silent in the middle of its answer.",
    UpstreamTls "upstream_tls" 502 Vendor "The vendor's certificate or TLS handshake is not acceptable.",
    UpstreamAuth "upstream_auth" 502 Operator "The vendor refused the gateway's credential.",
    UpstreamError "upstream_error" 502 Vendor "The vendor failed.",
    UpstreamOverloaded "upstream_overloaded" 503 Vendor "The vendor is overloaded.",
    UpstreamInvalid "upstream_invalid_response" 502 Vendor "The vendor's answer is not valid.",
    UpstreamCut "upstream_connection_lost" 502 Vendor "The vendor's answer ended before its end.",
    UpstreamDns "upstream_unresolved" 503 Vendor "The vendor's name does not resolve.",
}

impl Code {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// OpenAI's coarse word for it, in `error.type`.
    pub fn openai_type(self) -> &'static str {
        match self.status() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "service_unavailable_error",
            _ => "server_error",
        }
    }
}

pub fn anthropic_type_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

pub fn gemini_status_of(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

pub fn bedrock_type_of(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        503 | 529 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

macro_rules! exits {
    ($($exit:ident $number:literal $name:literal $meaning:literal,)+) => {
        /// What `weirctl` ends with, so that scripts can tell.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Exit { $(#[doc = $meaning] $exit = $number,)+ }

        impl Exit {
            pub const ALL: &[Self] = &[$(Self::$exit,)+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$exit => $name,)+ }
            }

            pub fn meaning(self) -> &'static str {
                match self { $(Self::$exit => $meaning,)+ }
            }
        }
    };
}

exits! {
    Done 0 "done" "Done.",
    Failed 1 "failed" "Something else failed; the message says what.",
    Changes 2 "changes" "Nothing failed; there are changes, and --exit-code asked to be told.",
    Faults 3 "faults" "The operator's folder has faults; nothing was published.",
    Conflict 4 "conflict" "Somebody else published in between; nothing was overwritten.",
    Refused 5 "refused" "A node refused the revision.",
    Waiting 6 "waiting" "Not every node answered in time.",
    Missing 7 "missing" "The thing that was named does not exist.",
    Store 8 "store" "The store cannot be reached.",
    TakenBack 9 "taken_back" "It was published, went wrong by a rule of --rollback-on, and was taken back.",
    Usage 64 "usage" "The command line itself was wrong.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        for &code in Code::ALL {
            assert_eq!(Code::parse(code.name()), Some(code));
            assert!((400..600).contains(&code.status()));
        }
    }
}
