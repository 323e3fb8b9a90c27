//! Where revisions are kept. One trait, so that growing past one machine is a change of address.
//!
//! All calls block: they are made by the command line and by a node's one synchronising thread, never by a request.

mod folder;

use std::time::Duration;

pub use folder::Folder;

use crate::id::Digest;
use crate::keyspace::{Manifest, NodePage, Pointer};

pub trait Store: Send + Sync {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError>;

    /// The manifest that a pointer leads to, checked against its digest.
    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError>;

    /// A value by its digest, checked against it.
    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError>;

    fn put_value(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// Makes this manifest the newest one, unless somebody moved the pointer since `expected` was read.
    fn publish(&self, manifest: &Manifest, expected: Option<&Pointer>) -> Result<Pointer, StoreError>;

    /// The kept manifests, the newest first.
    fn history(&self, most: usize) -> Result<Vec<Manifest>, StoreError>;

    /// Waits until the pointer is another one than `seen`, or the time is up. True when it moved.
    fn wait(&self, seen: Option<&Pointer>, most: Duration) -> Result<bool, StoreError>;

    fn write_page(&self, page: &NodePage) -> Result<(), StoreError>;

    fn pages(&self) -> Result<Vec<NodePage>, StoreError>;

    fn remove_page(&self, node: &str) -> Result<(), StoreError>;
}

#[derive(Debug)]
pub enum StoreError {
    /// Somebody else moved the pointer first.
    Conflict {
        now: Option<Pointer>,
    },
    Missing(String),
    /// What was read is not what its digest says.
    Corrupt(String),
    Unavailable(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conflict { now: Some(now) } => {
                write!(f, "somebody published revision {} in between; look at it and try again", now.revision)
            }
            Self::Conflict { now: None } => f.write_str("the store was emptied in between; look at it and try again"),
            Self::Missing(what) => write!(f, "the store has no {what}"),
            Self::Corrupt(what) => write!(f, "{what} in the store does not match its digest; restore it from a copy"),
            Self::Unavailable(why) => write!(f, "the store cannot be reached: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// `folder:PATH`; `etcd:ENDPOINTS` once that store exists.
pub fn open(address: &str) -> Result<Box<dyn Store>, StoreError> {
    match address.split_once(':') {
        Some(("folder", path)) if !path.is_empty() => Ok(Box::new(Folder::open(path)?)),
        _ => Err(StoreError::Unavailable(format!("{address:?} is no store address; write folder:PATH"))),
    }
}
