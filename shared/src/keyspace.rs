//! The form of the store, whatever holds it: content-addressed values, a manifest per revision, one pointer to the
//! newest manifest, and a page per node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// One revision: which values hold. A reader that follows the pointer sees all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u32,
    pub revision: u64,
    /// Raised by an operator who means to go back in time, after a store was restored from an older copy.
    #[serde(default)]
    pub epoch: u64,
    pub author: String,
    pub reason: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Names as in [`crate::draft::part`], each with the digest of its value.
    pub parts: BTreeMap<String, Digest>,
    #[serde(default, skip_serializing_if = "Origin::is_unsaid")]
    pub origin: Origin,
}

/// Where the operator's part of a revision was written: whoever changes it elsewhere must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// By a build that did not say.
    #[default]
    Unsaid,
    Folder,
    /// A folder that is kept in version control: what is changed elsewhere is lost with the next `apply`.
    Git,
    /// Changed in the store, by a command, since it came from a folder.
    Verb,
}

impl Origin {
    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}

/// What the one pointer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pointer {
    pub revision: u64,
    #[serde(default)]
    pub epoch: u64,
    /// Of the manifest's bytes; a manifest that does not match is not believed.
    pub digest: Digest,
}

impl Pointer {
    /// Later in time: a higher epoch wins over any revision.
    pub fn is_after(&self, other: &Self) -> bool {
        (self.epoch, self.revision) > (other.epoch, other.revision)
    }
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        // Strings, integers and a map with string keys: serde_json cannot refuse.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn pointer(&self) -> Pointer {
        Pointer { revision: self.revision, epoch: self.epoch, digest: Digest::of(&self.encode()) }
    }
}

/// A revision that some nodes try before it is the newest: it holds for them while the pointer stands where it stood, and
/// until its time is over. So a command line that dies in the middle leaves nothing behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Canary {
    pub manifest: Manifest,
    pub over: Pointer,
    pub nodes: Vec<String>,
    /// Seconds since 1970.
    pub until: u64,
}

impl Canary {
    pub fn holds_for(&self, node: &str, pointer: &Pointer, now: u64) -> bool {
        self.over == *pointer && now < self.until && self.nodes.iter().any(|named| named == node)
    }
}

/// How many manifests stay for `rollback` and `history`.
pub const MANIFESTS_KEPT: usize = 200;

/// What a node says of itself, at `nodes/<id>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodePage {
    pub node: String,
    /// The revision that it serves now; 0 before the first.
    pub applied: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_digest: Option<Digest>,
    /// What it serves is a canary's, ahead of the store's newest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// The newest revision that it refused, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// What it applied but could not use whole, such as a credential whose variable is not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Where `/status` and `/metrics` answer.
    pub admin: String,
    pub data: String,
    pub version: String,
    /// Seconds since 1970: when it started, and when it last wrote this page.
    pub started: u64,
    pub seen: u64,
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub revision: u64,
    /// Of the manifest: two canaries may have the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    pub reason: String,
}

impl Refusal {
    /// Whether it is this revision that was refused, or one that came later.
    pub fn is_about(&self, at: &Pointer) -> bool {
        self.revision > at.revision
            || self.revision == at.revision && self.digest.is_none_or(|digest| digest == at.digest)
    }
}

/// How often a node renews its page, and after how long without renewal it counts as gone.
pub const NODE_RENEWAL_SECONDS: u64 = 2;
pub const NODE_GONE_SECONDS: u64 = 10;

/// Whether a node of this name can have a page: it becomes a file's name and a key.
pub fn is_node_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(good)
}

/// The keys of a store that has keys. All of them begin with the prefix of the address and the version of this form, so
/// that two deployments, or two forms, can live in one etcd.
///
/// ```text
/// <prefix>/v1/pointer                          JSON, a Pointer; moved by compare-and-swap
/// <prefix>/v1/pointer-canary                   JSON, a Canary; a watch of the pointer sees it, too
/// <prefix>/v1/manifests/<epoch>-<revision>     JSON, a Manifest; written in the transaction that moves the pointer
/// <prefix>/v1/values/<digest>/<piece>          at most a MiB each, in order; the digest is of all pieces together
/// <prefix>/v1/nodes/<id>                       JSON, a NodePage, under a lease of its node
/// <prefix>/v1/unnamed                          JSON, values that no kept manifest names, and since when
/// ```
#[derive(Clone, Debug)]
pub struct Keyspace {
    root: String,
}

impl Keyspace {
    pub fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}/v1") }
    }

    pub fn pointer(&self) -> String {
        format!("{}/pointer", self.root)
    }

    pub fn canary(&self) -> String {
        format!("{}-canary", self.pointer())
    }

    pub fn manifests(&self) -> String {
        format!("{}/manifests/", self.root)
    }

    /// Sorts by time because of its leading zeros.
    pub fn manifest(&self, epoch: u64, revision: u64) -> String {
        format!("{}{epoch:06}-{revision:012}", self.manifests())
    }

    pub fn values(&self) -> String {
        format!("{}/values/", self.root)
    }

    /// All pieces of one value.
    pub fn value(&self, digest: &Digest) -> String {
        format!("{}{digest}/", self.values())
    }

    pub fn piece(&self, digest: &Digest, number: usize) -> String {
        format!("{}{number:04}", self.value(digest))
    }

    /// Whose piece this key is.
    pub fn digest_of(&self, key: &str) -> Option<Digest> {
        Digest::parse(key.strip_prefix(&self.values())?.split('/').next()?)
    }

    pub fn nodes(&self) -> String {
        format!("{}/nodes/", self.root)
    }

    pub fn node(&self, name: &str) -> String {
        format!("{}{name}", self.nodes())
    }

    pub fn unnamed(&self) -> String {
        format!("{}/unnamed", self.root)
    }
}
