//! The store of more than one machine: etcd. What its keys are called is in [`crate::keyspace::Keyspace`].
//!
//! etcd 3.4 takes 128 operations and 1.5 MiB a request. So values are written one by one, in pieces, before a manifest
//! names them, and a revision is one small transaction that writes the manifest and moves the pointer. A watch only wakes
//! whoever waits: what holds is always read, linearizably, so that a lost, late or repeated event, a compaction or a new
//! leader can delay a reader and never mislead it.

pub mod address;
mod link;
mod page;
mod sweep;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
    WatchOptions, WatchStream,
};

use self::address::Address;
use self::link::Link;
use super::{Store, StoreError};
use crate::id::Digest;
use crate::keyspace::{Canary, Keyspace, MANIFESTS_KEPT, Manifest, NodePage, Pointer, is_node_name};

pub struct Etcd {
    link: Link,
    names: Keyspace,
    manifests_kept: usize,
    watch: Mutex<Option<WatchStream>>,
    page: Mutex<Option<page::Lease>>,
    cluster: Mutex<Option<u64>>,
}

/// Of a value; below etcd's 1.5 MiB a request.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// etcd is made for what fits into memory several times.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// Answers stay below the 4 MiB that a gRPC client takes.
const PIECES_AT_ONCE: usize = 2;
const MANIFESTS_AT_ONCE: usize = 3;
const KEYS_AT_ONCE: usize = 500;

/// Of compares and of operations in one transaction.
const OPERATIONS_MAX: usize = 128;

/// Others may move something in between so often.
const PUBLISH_TRIES: u32 = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// A key as it stands: its bytes, and etcd's number of its last write.
type Found = Option<(Vec<u8>, i64)>;

impl Etcd {
    /// `patience` is for the first answer; later calls have [`link::CALL`] each.
    pub fn open(address: &str, patience: Duration) -> Result<Self, StoreError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = Address::parse(address, &env)?;
        let names = Keyspace::new(&address.prefix);
        let store = Self {
            link: Link::open(address, patience)?,
            names,
            manifests_kept: MANIFESTS_KEPT,
            watch: Mutex::new(None),
            page: Mutex::new(None),
            cluster: Mutex::new(None),
        };
        store.link.call_within(patience, |mut client| {
            let pointer = store.names.pointer();
            async move { client.get(pointer, None).await }
        })?;
        Ok(store)
    }

    /// Fewer than the usual number of manifests, for tests.
    pub fn keeping(mut self, manifests: usize) -> Self {
        self.manifests_kept = manifests.max(1);
        self
    }

    fn get(&self, key: &str) -> Result<Found, StoreError> {
        let answer = self.link.call(|mut client| async move { client.get(key, None).await })?;
        Ok(answer.kvs().first().map(|kv| (kv.value().to_vec(), kv.mod_revision())))
    }

    fn txn(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        self.link.call(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        })
    }

    /// Up to `most` keys of a prefix, page by page.
    fn range(&self, prefix: &str, most: usize, order: Order, options: GetOptions) -> Result<Vec<KeyValue>, StoreError> {
        self.range_by(KEYS_AT_ONCE, prefix, most, order, options)
    }

    fn range_by(
        &self,
        at_once: usize,
        prefix: &str,
        most: usize,
        order: Order,
        options: GetOptions,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let mut found: Vec<KeyValue> = Vec::new();
        let (mut from, mut end) = (prefix.as_bytes().to_vec(), behind(prefix));
        while found.len() < most {
            let limit = at_once.min(most - found.len());
            let mut options = options.clone().with_range(end.clone()).with_limit(limit as i64);
            if order == Order::Descending {
                options = options.with_sort(SortTarget::Key, SortOrder::Descend);
            }
            let mut answer = self.link.call(|mut client| {
                let (from, options) = (from.clone(), options.clone());
                async move { client.get(from, Some(options)).await }
            })?;
            let more = answer.more();
            let kvs = answer.take_kvs();
            let Some(last) = kvs.last() else { break };
            match order {
                Order::Ascending => from = [last.key(), &[0]].concat(),
                Order::Descending => end = last.key().to_vec(),
            }
            found.extend(kvs);
            if !more {
                break;
            }
        }
        Ok(found)
    }

    /// The pointer, and etcd's number of its last write; 0 when there is none.
    fn pointer_at(&self) -> Result<(Option<Pointer>, i64), StoreError> {
        let key = self.names.pointer();
        let answer = self.link.call(|mut client| {
            let key = key.clone();
            async move { client.get(key, None).await }
        })?;
        if let Some(header) = answer.header() {
            *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(header.cluster_id());
        }
        match answer.kvs().first() {
            None => Ok((None, 0)),
            Some(kv) => Ok((Some(read_pointer(kv.value())?), kv.mod_revision())),
        }
    }

    /// The first of these values that is not whole in the store. Piece 0 is written last and deleted with the others.
    fn first_missing<'a>(&self, parts: &[(&'a str, Digest)]) -> Result<Option<&'a str>, StoreError> {
        for some in parts.chunks(OPERATIONS_MAX) {
            let count = |(_, digest): &(&str, Digest)| {
                TxnOp::get(self.names.piece(digest, 0), Some(GetOptions::new().with_count_only()))
            };
            let answer = self.txn(Txn::new().and_then(some.iter().map(count).collect::<Vec<_>>()))?;
            for ((name, _), found) in some.iter().zip(answer.op_responses()) {
                if !matches!(found, TxnOpResponse::Get(found) if found.count() > 0) {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }

    fn put_pieces(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(PIECE_BYTES_MAX).collect() };
        // The first one comes last: where it is, all are.
        for (number, piece) in pieces.iter().enumerate().rev() {
            let key = self.names.piece(digest, number);
            self.link.call(|mut client| {
                let key = key.clone();
                async move { client.put(key, *piece, None).await }
            })?;
        }
        Ok(())
    }

    /// Opens a watch whose first answer has come: what moves from now on is told.
    fn watching(&self) -> Result<WatchStream, StoreError> {
        let key = self.names.pointer();
        self.link.call(|mut client| {
            let key = key.clone();
            async move {
                // What a canary is called begins like the pointer.
                let options = WatchOptions::new().with_prefix();
                let mut stream = client.watch(key, Some(options)).await?;
                match stream.message().await? {
                    Some(answer) if answer.created() && !answer.canceled() => Ok(stream),
                    Some(answer) => Err(etcd_client::Error::WatchError(answer.cancel_reason().to_owned())),
                    None => Err(etcd_client::Error::WatchError("it ended at once".into())),
                }
            }
        })
    }

    /// True when the pointer was written meanwhile; the stream is only good for more when it is given back.
    fn listen(&self, mut stream: WatchStream, most: Duration) -> Result<(bool, Option<WatchStream>), StoreError> {
        match self.link.within(most, stream.message()) {
            None => Ok((false, Some(stream))),
            Some(Ok(Some(answer))) if !answer.canceled() => Ok((!answer.events().is_empty(), Some(stream))),
            // Compacted, without a leader, or not allowed any more: the next wait begins with a look at what holds.
            Some(Ok(_)) => Ok((false, None)),
            Some(Err(error)) => Err(self.link.explain(&error)),
        }
    }
}

/// The first key behind all that begin so. Prefixes here end with `/`.
fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn read_pointer(bytes: &[u8]) -> Result<Pointer, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt("the pointer".into()))
}

impl Store for Etcd {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError> {
        self.pointer_at().map(|(pointer, _)| pointer)
    }

    fn cluster(&self) -> Option<String> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).map(|id| format!("{id:016x}"))
    }

    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError> {
        let name = || format!("manifest of revision {}", at.revision);
        let found = self.get(&self.names.manifest(at.epoch, at.revision))?;
        let (bytes, _) = found.ok_or_else(|| StoreError::Missing(name()))?;
        if Digest::of(&bytes) != at.digest {
            return Err(StoreError::Corrupt(name()));
        }
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Corrupt(name()))
    }

    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let name = || format!("value {digest}");
        let most = VALUE_BYTES_MAX / PIECE_BYTES_MAX;
        let pieces =
            self.range_by(PIECES_AT_ONCE, &self.names.value(digest), most, Order::Ascending, GetOptions::new())?;
        if pieces.is_empty() {
            return Err(StoreError::Missing(name()));
        }
        let bytes = pieces.iter().map(KeyValue::value).collect::<Vec<_>>().concat();
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Corrupt(name())) }
    }

    fn put_value(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > VALUE_BYTES_MAX {
            let mib = bytes.len() >> 20;
            let most = VALUE_BYTES_MAX >> 20;
            return Err(StoreError::Refused(format!(
                "a value of {mib} MiB is more than {most}; split the folder's tables"
            )));
        }
        let digest = Digest::of(bytes);
        match self.value(&digest) {
            Ok(_) if !self.is_unnamed(&digest)? => {}
            Ok(_) | Err(StoreError::Missing(_) | StoreError::Corrupt(_)) => self.put_pieces(&digest, bytes)?,
            Err(error) => return Err(error),
        }
        Ok(digest)
    }

    fn publish(&self, manifest: &Manifest, expected: Option<&Pointer>) -> Result<Pointer, StoreError> {
        let (pointer, bytes) = (manifest.pointer(), manifest.encode());
        if bytes.len() > PIECE_BYTES_MAX {
            let parts = manifest.parts.len();
            return Err(StoreError::Refused(format!(
                "a manifest of {parts} parts is more than etcd takes in one request"
            )));
        }
        let text = serde_json::to_vec(&pointer).unwrap_or_default();
        // A transaction of ours whose answer was lost: done or not.
        let mut open = false;
        for _ in 0..PUBLISH_TRIES {
            let (now, moved) = self.pointer_at()?;
            if open && now == Some(pointer) {
                return Ok(pointer);
            }
            if now.as_ref() != expected || now.is_some_and(|now| !pointer.is_after(&now)) {
                return Err(StoreError::Conflict { now });
            }
            // From here on, nothing that is there may be deleted before the pointer has moved.
            let (_, unnamed) = self.unnamed()?;
            let parts: Vec<_> = manifest.parts.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
            if let Some(name) = self.first_missing(&parts)? {
                return Err(StoreError::Missing(format!("value of {name}")));
            }
            let as_it_was = [
                Compare::mod_revision(self.names.pointer(), CompareOp::Equal, moved),
                Compare::mod_revision(self.names.unnamed(), CompareOp::Equal, unnamed),
            ];
            let then = [
                TxnOp::put(self.names.manifest(manifest.epoch, manifest.revision), bytes.clone(), None),
                TxnOp::put(self.names.pointer(), text.clone(), None),
            ];
            let txn = Txn::new().when(as_it_was).and_then(then);
            match self.link.once(|mut client| async move { client.txn(txn).await }) {
                Ok(done) if done.succeeded() => {
                    // The revision holds. What could not be cleared away now is cleared away by a later one.
                    let _ = self.prune(manifest);
                    return Ok(pointer);
                }
                Ok(_) => {}
                Err(StoreError::Unavailable(_)) => open = true,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict { now: self.pointer()? })
    }

    fn history(&self, most: usize) -> Result<Vec<Manifest>, StoreError> {
        let prefix = self.names.manifests();
        let found = self.range_by(MANIFESTS_AT_ONCE, &prefix, most, Order::Descending, GetOptions::new())?;
        Ok(found.iter().filter_map(|kv| serde_json::from_slice(kv.value()).ok()).collect())
    }

    fn canary(&self) -> Result<Option<Canary>, StoreError> {
        // One of a newer form is as good as none: whoever wrote it waits for nodes that understand it.
        Ok(self.get(&self.names.canary())?.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok()))
    }

    fn set_canary(&self, canary: Option<&Canary>, expected: Option<&Canary>) -> Result<(), StoreError> {
        let key = self.names.canary();
        let found = self.get(&key)?;
        let now = found.as_ref().and_then(|(bytes, _)| serde_json::from_slice::<Canary>(bytes).ok());
        if now.as_ref() != expected {
            return Err(StoreError::Conflict { now: self.pointer()? });
        }
        let as_it_was = Compare::mod_revision(key.clone(), CompareOp::Equal, found.map_or(0, |(_, moved)| moved));
        let then = match canary {
            Some(canary) => TxnOp::put(key, serde_json::to_vec(canary).unwrap_or_default(), None),
            None => TxnOp::delete(key, None),
        };
        match self.txn(Txn::new().when([as_it_was]).and_then([then]))?.succeeded() {
            true => Ok(()),
            false => Err(StoreError::Conflict { now: self.pointer()? }),
        }
    }

    fn wait(&self, seen: Option<&Pointer>, most: Duration) -> Result<bool, StoreError> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match watch.take() {
            Some(stream) => stream,
            None => {
                // Watch first and look second, so that a move in between is seen.
                let stream = self.watching()?;
                if self.pointer()?.as_ref() != seen {
                    *watch = Some(stream);
                    return Ok(true);
                }
                stream
            }
        };
        let (written, stream) = self.listen(stream, most)?;
        *watch = stream;
        if written { Ok(self.pointer()?.as_ref() != seen) } else { Ok(false) }
    }

    fn write_page(&self, page: &NodePage) -> Result<(), StoreError> {
        named(&page.node)?;
        self.put_page(page)
    }

    fn pages(&self) -> Result<Vec<NodePage>, StoreError> {
        let found = self.range(&self.names.nodes(), usize::MAX, Order::Ascending, GetOptions::new())?;
        Ok(found.iter().filter_map(|kv| serde_json::from_slice(kv.value()).ok()).collect())
    }

    fn remove_page(&self, node: &str) -> Result<(), StoreError> {
        named(node)?;
        let key = self.names.node(node);
        self.link.call(|mut client| {
            let key = key.clone();
            async move { client.delete(key, None).await }
        })?;
        Ok(())
    }
}

fn named(node: &str) -> Result<(), StoreError> {
    if is_node_name(node) { Ok(()) } else { Err(StoreError::Refused(format!("{node:?} is not a usable node name"))) }
}
