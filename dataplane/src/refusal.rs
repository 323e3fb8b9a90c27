//! Every way of not answering a call, in one type: what the caller is told, and who must act.

use std::borrow::Cow;

use weir_shared::catalog::Dialect;
use weir_shared::fault::Code;
use weir_shared::policy::limit::Exceeded;

use crate::accept::Unreadable;
use crate::admit::Exhausted;
use crate::auth::Stranger;
use crate::deadline::Why;
use crate::parse::{Malformed, NoRoute};
use crate::resolve::Unresolved;
use crate::route::{NoPass, NoWay, retry_in};
use crate::translate::Untranslated;
use crate::upstream::Failure;
use crate::wire::http1::BadHead;
use crate::wire::multipart::BadForm;

#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub status: u16,
    pub message: Cow<'static, str>,
    /// As it stands in the header: seconds, or the vendor's own word.
    pub retry_after: Option<Vec<u8>>,
    /// The vendor's own words, scrubbed, when they are in the caller's dialect.
    pub vendor_body: Option<Vec<u8>>,
    /// A vendor's limit that this one call alone is too large for.
    pub only_this: bool,
    /// The connection cannot go on: nobody knows where the next request starts.
    pub close: bool,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: code.status(),
            message: message.into(),
            retry_after: None,
            vendor_body: None,
            only_this: false,
            close: false,
        }
    }

    pub fn plain(code: Code) -> Self {
        Self::new(code, code.meaning())
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn retry_in(mut self, nanos: u64) -> Self {
        let seconds = nanos.div_ceil(1_000_000_000).clamp(1, 3_600);
        self.retry_after = Some(seconds.to_string().into_bytes());
        self
    }

    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Self {
        match bad {
            BadHead::Malformed(why) => Self::new(Code::BadRequest, format!("The request is not valid HTTP: {why}.")),
            BadHead::TooLarge => Self::plain(Code::HeadTooLarge),
            BadHead::TooManyFields => Self::new(Code::HeadTooLarge, "The request has more than 100 header fields."),
            BadHead::UriTooLong => Self::plain(Code::UriTooLong),
            BadHead::Version => Self::plain(Code::VersionUnsupported),
            BadHead::TransferCoding => Self::new(Code::NotImplemented, "This transfer coding is not understood."),
            BadHead::LengthTooLarge => Self::plain(Code::BodyTooLarge),
            BadHead::Expectation => Self::plain(Code::ExpectationFailed),
        }
        .closing()
    }
}

impl Refusal {
    /// `None`: the caller has gone, there is nobody to tell.
    pub fn of_unreadable(unreadable: Unreadable) -> Option<Self> {
        Some(match unreadable {
            Unreadable::Gone | Unreadable::TooSlow(Why::KeepAlive) => return None,
            Unreadable::TooSlow(_) => Self::plain(Code::HeadTimeout).closing(),
            Unreadable::Head(bad) => bad.into(),
            Unreadable::Chunk(_) => Self::new(Code::BadRequest, "The body's chunked coding is broken.").closing(),
            Unreadable::Form(BadForm(why)) => {
                Self::new(Code::InvalidBody, format!("The form cannot be read: {why}.")).closing()
            }
            Unreadable::BodyTooLarge => Self::plain(Code::BodyTooLarge).closing(),
            Unreadable::OutOfMemory => Self::plain(Code::Overloaded).retry_in(1_000_000_000).closing(),
        })
    }
}

impl From<Stranger> for Refusal {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Unknown => Self::new(
                Code::UnknownKey,
                "No valid API key was given. Send it as 'Authorization: Bearer KEY', 'x-api-key' or 'x-goog-api-key'.",
            ),
            Stranger::TooMany => Self::plain(Code::TooManyFailures).retry_in(60_000_000_000),
        }
    }
}

impl From<NoRoute> for Refusal {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::Unknown => Self::plain(Code::UnknownRoute),
            NoRoute::Method => Self::plain(Code::MethodNotAllowed),
            NoRoute::List => Self::new(
                Code::NotImplemented,
                "Lists of objects are not served: the vendor's would show what belongs to others. Each object is served \
                 by its id; keep the ids that you were given.",
            ),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Json(fault) => {
                Self::new(Code::InvalidJson, format!("The body is not valid JSON: {} at byte {}.", fault.why, fault.at))
            }
            Malformed::NotAnObject => Self::new(Code::InvalidBody, "The body must be a JSON object."),
            Malformed::Twice(name) => {
                Self::new(Code::InvalidBody, format!("The field '{name}' is given twice; give it once."))
            }
            Malformed::NoModel => Self::new(Code::InvalidBody, "The field 'model' is missing."),
            Malformed::ModelNotAString => Self::new(Code::InvalidBody, "The field 'model' must be a string."),
            // Its usage is told when it is fetched, and nobody would book it then.
            Malformed::Background => {
                Self::new(Code::InvalidBody, "Background responses are not served yet; leave 'background' out.")
            }
            Malformed::TooManyIds => Self::new(Code::InvalidBody, "The body names more than 1024 objects."),
            Malformed::StreamNotABoolean => Self::new(Code::InvalidBody, "The field 'stream' must be true or false."),
        }
    }
}

impl From<Unresolved> for Refusal {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::NotFound => Self::new(
                Code::ModelNotFound,
                "The model does not exist or this key may not use it. GET /v1/models lists what it may use.",
            ),
            Unresolved::NotAllowed(unfit) => {
                let why = format!("{} Of the nearest one: {}.", Code::NoEligibleVendor.meaning(), unfit.name());
                Self::new(Code::NoEligibleVendor, why)
            }
            Unresolved::Drained => Self::plain(Code::UpstreamDrained).retry_in(60_000_000_000),
            Unresolved::OtherDialect(dialect) => {
                let path = match dialect {
                    Dialect::OpenAi => "/v1/chat/completions",
                    Dialect::Anthropic => "/v1/messages",
                    Dialect::Gemini => "/v1beta/models/MODEL:generateContent",
                    Dialect::Cohere => "/v2/chat",
                    Dialect::Bedrock => "/model/MODEL/converse",
                };
                Self::new(Code::DialectMismatch, format!("This model is served in another dialect; call it at {path}."))
            }
        }
    }
}

impl From<NoWay> for Refusal {
    fn from(none: NoWay) -> Self {
        let seconds = |ms: u64| ms.max(1) * 1_000_000;
        match none {
            NoWay::Unresolved(unresolved) => unresolved.into(),
            NoWay::Closed { drained: true, .. } => Unresolved::Drained.into(),
            NoWay::Closed { retry_in_ms, .. } => Self::plain(Code::UpstreamTripped).retry_in(seconds(retry_in_ms)),
        }
    }
}

impl From<Untranslated> for Refusal {
    fn from(untranslated: Untranslated) -> Self {
        match untranslated {
            Untranslated::Unreadable(why) => {
                Self::new(Code::InvalidBody, format!("The request cannot be read: {why}."))
            }
            Untranslated::NoSuchService(what) => {
                Self::new(Code::DialectMismatch, format!("This model's vendor has no {what} for calls of this path."))
            }
            Untranslated::Unsayable(names) => Self::new(
                Code::Untranslatable,
                format!(
                    "This model's vendor speaks another dialect, which cannot take: {}. Leave that out; or the operator \
                     sets untranslatable = \"drop\" to have it left out here.",
                    names.join(", ")
                ),
            ),
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Memory => Self::plain(Code::Overloaded).retry_in(1_000_000_000),
            Exhausted::JournalFull => Self::plain(Code::BillingUnavailable).retry_in(1_000_000_000),
            Exhausted::Limit(exceeded) => {
                let message = match exceeded {
                    Exceeded::Requests { .. } => "This key's limit of requests per minute is reached.",
                    Exceeded::Tokens { .. } => "This key's limit of tokens per minute is reached.",
                    Exceeded::TokensNever => "This request alone is larger than the key's limit of tokens per minute.",
                    Exceeded::Concurrency => "This key's limit of concurrent requests is reached.",
                };
                Self::new(Code::RateLimited, message).retry_in(retry_in(exceeded))
            }
        }
    }
}

impl From<NoPass> for Refusal {
    fn from(none: NoPass) -> Self {
        match none {
            NoPass::None => Self::plain(Code::NoCredential),
            NoPass::Busy { retry_in_ns, .. } => Self::plain(Code::VendorRateLimited).retry_in(retry_in_ns),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::plain(failure.code())
    }
}
