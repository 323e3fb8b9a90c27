//! Where revisions are kept. One trait, so that growing past one machine is a change of address.
//!
//! All calls block: they are made by the command line and by a node's one synchronising thread, never by a request.

#[cfg(feature = "etcd")]
pub mod etcd;
mod folder;

use std::time::Duration;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
pub use folder::Folder;

use crate::id::Digest;
use crate::keyspace::{Canary, Manifest, NodePage, Pointer};

pub trait Store: Send + Sync {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError>;

    /// The id of the cluster that answered the last look at the pointer, where stores have one.
    fn cluster(&self) -> Option<String> {
        None
    }

    /// The manifest that a pointer leads to, checked against its digest.
    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError>;

    /// Whether that manifest is there and is what its pointer says; nothing of it is read.
    fn confirm(&self, at: &Pointer) -> Result<(), StoreError> {
        self.manifest(at).map(drop)
    }

    /// A value by its digest, checked against it.
    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError>;

    /// Several values, in the order of their digests.
    fn values(&self, digests: &[Digest]) -> Result<Vec<Vec<u8>>, StoreError> {
        digests.iter().map(|digest| self.value(digest)).collect()
    }

    fn put_value(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// Makes this manifest the newest one, unless somebody moved the pointer since `expected` was read.
    fn publish(&self, manifest: &Manifest, expected: Option<&Pointer>) -> Result<Pointer, StoreError>;

    /// The same, with values that the manifest names and the store may not have yet.
    fn publish_with(
        &self,
        values: &[Vec<u8>],
        manifest: &Manifest,
        expected: Option<&Pointer>,
    ) -> Result<Pointer, StoreError> {
        values.iter().try_for_each(|value| self.put_value(value).map(drop))?;
        self.publish(manifest, expected)
    }

    /// The kept manifests, the newest first.
    fn history(&self, most: usize) -> Result<Vec<Manifest>, StoreError>;

    /// What some nodes try before it is the newest.
    fn canary(&self) -> Result<Option<Canary>, StoreError>;

    /// The pointer, and what some nodes try before another is the newest.
    fn look(&self) -> Result<(Option<Pointer>, Option<Canary>), StoreError> {
        Ok((self.pointer()?, self.canary()?))
    }

    /// Puts another canary, or none, in the place of the one that is expected there.
    fn set_canary(&self, canary: Option<&Canary>, expected: Option<&Canary>) -> Result<(), StoreError>;

    /// Waits until the pointer is another one than `seen`, a canary comes or goes, or the time is up. True when the pointer
    /// moved.
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
    /// It is there, and somebody has to change something before it does this.
    Refused(String),
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
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

/// `folder:PATH` or `etcd:ENDPOINTS`. `patience` is how long the first answer of a store may take that is not on this machine.
pub fn open(address: &str, patience: Duration) -> Result<Box<dyn Store>, StoreError> {
    match address.split_once(':') {
        Some(("folder", path)) if !path.is_empty() => Ok(Box::new(Folder::open(path)?)),
        #[cfg(feature = "etcd")]
        Some(("etcd", endpoints)) => Ok(Box::new(Etcd::open(endpoints, patience)?)),
        #[cfg(not(feature = "etcd"))]
        Some(("etcd", _)) => {
            let _ = patience;
            Err(StoreError::Refused("this build knows no etcd; build it with the feature `etcd`".into()))
        }
        _ => Err(StoreError::Refused(format!(
            "{address:?} is no store address; write folder:PATH or etcd:http://HOST:PORT[,…]"
        ))),
    }
}
