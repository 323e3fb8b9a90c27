//! How large anything may be, and why.

/// The longest request or answer head: a key, a trace, and the longest cookie that browsers send.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// More header fields than this is an attack; callers of every SDK we know send fewer than thirty.
pub const HEAD_FIELDS_MAX: usize = 100;
/// The path and query of a request.
pub const URI_BYTES_MAX: usize = 16 << 10;
/// Nesting of JSON, in requests and in answers.
pub const JSON_DEPTH_MAX: usize = 128;

/// Sizes that an operator may set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// A body that is collected before it is forwarded: JSON.
    pub body_bytes_max: u64,
    /// A body that is forwarded as it comes: files, audio, images.
    pub forwarded_bytes_max: u64,
    /// One event of a stream.
    pub event_bytes_max: u64,
    /// A unary answer, which is collected to be checked and priced.
    pub answer_bytes_max: u64,
    /// All collected bodies, answers and unfinished events of the process together.
    pub memory_bytes_max: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            forwarded_bytes_max: 512 << 20,
            event_bytes_max: 16 << 20,
            answer_bytes_max: 64 << 20,
            memory_bytes_max: 1 << 30,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizesDraft {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
}

impl SizesDraft {
    pub fn over(&self, base: Sizes) -> Sizes {
        Sizes {
            body_bytes_max: self.body_bytes_max.unwrap_or(base.body_bytes_max),
            forwarded_bytes_max: self.forwarded_bytes_max.unwrap_or(base.forwarded_bytes_max),
            event_bytes_max: self.event_bytes_max.unwrap_or(base.event_bytes_max),
            answer_bytes_max: self.answer_bytes_max.unwrap_or(base.answer_bytes_max),
            memory_bytes_max: self.memory_bytes_max.unwrap_or(base.memory_bytes_max),
        }
    }
}
