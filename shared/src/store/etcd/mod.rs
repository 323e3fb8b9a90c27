//! The store of more than one machine: etcd. What its keys are called is in [`crate::keyspace::Keyspace`].
//!
//! etcd 3.4 takes 128 operations and 1.5 MiB a request. So large values are written one by one, in pieces, before a manifest
//! names them, and a revision is one small transaction that writes what is small, the manifest, and the pointer. A watch only
//! wakes whoever waits: what holds is always read, linearizably, so that a lost, late or repeated event, a compaction or a new
//! leader can delay a reader and never mislead it.

pub mod address;
mod kv;
mod link;
mod page;
mod publish;
mod sweep;

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, ResponseHeader, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchStream,
};

use self::address::Address;
use self::kv::{Kv, Order, behind};
use self::link::Link;
use super::{Store, StoreError};
use crate::id::Digest;
use crate::keyspace::{Canary, Keyspace, MANIFESTS_KEPT, Manifest, NodePage, Pointer, is_node_name};

pub struct Etcd {
    kv: Kv,
    manifests_kept: usize,
    watch: Mutex<Option<WatchStream>>,
    page: Mutex<Option<page::Lease>>,
    cluster: Mutex<Option<u64>>,
    /// Clears away what nobody names, while whoever published goes on.
    sweeping: Mutex<Option<JoinHandle<()>>>,
}

/// Of a value; below etcd's 1.5 MiB a request.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// etcd is made for what fits into memory several times.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// Answers stay below the 4 MiB that a gRPC client takes.
const PIECES_AT_ONCE: usize = 2;
const MANIFESTS_AT_ONCE: usize = 3;

impl Etcd {
    /// `patience` is for the first answer; later calls have [`link::CALL`] each.
    pub fn open(address: &str, patience: Duration) -> Result<Self, StoreError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = Address::parse(address, &env)?;
        let names = Keyspace::new(&address.prefix);
        let store = Self {
            kv: Kv { link: Link::open(address, patience)?, names },
            manifests_kept: MANIFESTS_KEPT,
            watch: Mutex::new(None),
            page: Mutex::new(None),
            cluster: Mutex::new(None),
            sweeping: Mutex::new(None),
        };
        store.kv.link.call_within(patience, |mut client| {
            let pointer = store.kv.names.pointer();
            async move { client.get(pointer, None).await }
        })?;
        Ok(store)
    }

    /// Fewer than the usual number of manifests, for tests.
    pub fn keeping(mut self, manifests: usize) -> Self {
        self.manifests_kept = manifests.max(1);
        self
    }

    fn note_cluster(&self, header: Option<&ResponseHeader>) {
        if let Some(header) = header {
            *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(header.cluster_id());
        }
    }

    /// Checked against its digest.
    fn manifest_text(&self, at: &Pointer) -> Result<Vec<u8>, StoreError> {
        let found = self.kv.get(&self.kv.names.manifest(at.epoch, at.revision))?;
        let (bytes, _) = found.ok_or_else(|| StoreError::Missing(manifest_name(at)))?;
        if Digest::of(&bytes) == at.digest { Ok(bytes) } else { Err(StoreError::Corrupt(manifest_name(at))) }
    }

    fn put_pieces(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(PIECE_BYTES_MAX).collect() };
        // The first one comes last: where it is, all are.
        for (number, piece) in pieces.iter().enumerate().rev() {
            let key = self.kv.names.piece(digest, number);
            self.kv.link.call(|mut client| {
                let key = key.clone();
                async move { client.put(key, *piece, None).await }
            })?;
        }
        Ok(())
    }

    /// Opens a watch whose first answer has come: what moves from now on is told.
    fn watching(&self) -> Result<WatchStream, StoreError> {
        let key = self.kv.names.pointer();
        self.kv.link.call(|mut client| {
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

    /// True when another pointer than `seen` was written meanwhile; the stream is only good for more when it is given back.
    fn listen(
        &self,
        mut stream: WatchStream,
        seen: Option<&Pointer>,
        most: Duration,
    ) -> Result<(bool, Option<WatchStream>), StoreError> {
        let pointer = self.kv.names.pointer();
        let is_another = |kv: &KeyValue| {
            kv.key() == pointer.as_bytes() && read_pointer(kv.value()).map_or(true, |now| Some(&now) != seen)
        };
        match self.kv.link.within(most, stream.message()) {
            None => Ok((false, Some(stream))),
            Some(Ok(Some(answer))) if !answer.canceled() => {
                let moved = answer.events().iter().any(|event| event.kv().is_some_and(is_another));
                Ok((moved, Some(stream)))
            }
            // Compacted, without a leader, or not allowed any more: the next wait begins with a look at what holds.
            Some(Ok(_)) => Ok((false, None)),
            Some(Err(error)) => Err(self.kv.link.explain(&error)),
        }
    }
}

fn manifest_name(at: &Pointer) -> String {
    format!("manifest of revision {}", at.revision)
}

fn read_pointer(bytes: &[u8]) -> Result<Pointer, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt("the pointer".into()))
}

/// One of a newer form is as good as none: whoever wrote it waits for nodes that understand it.
fn read_canary(bytes: &[u8]) -> Option<Canary> {
    serde_json::from_slice(bytes).ok()
}

impl Store for Etcd {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError> {
        let key = self.kv.names.pointer();
        let answer = self.kv.link.call(|mut client| {
            let key = key.clone();
            async move { client.get(key, None).await }
        })?;
        self.note_cluster(answer.header());
        answer.kvs().first().map(|kv| read_pointer(kv.value())).transpose()
    }

    fn cluster(&self) -> Option<String> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).map(|id| format!("{id:016x}"))
    }

    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_text(at)?;
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Corrupt(manifest_name(at)))
    }

    fn confirm(&self, at: &Pointer) -> Result<(), StoreError> {
        self.manifest_text(at).map(drop)
    }

    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let most = VALUE_BYTES_MAX / PIECE_BYTES_MAX;
        let pieces = self.kv.range_by(
            PIECES_AT_ONCE,
            &self.kv.names.value(digest),
            most,
            Order::Ascending,
            GetOptions::new(),
        )?;
        whole(digest, &pieces)
    }

    fn values(&self, digests: &[Digest]) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefixes: Vec<String> = digests.iter().map(|digest| self.kv.names.value(digest)).collect();
        let first = self.kv.link.each(&prefixes, |mut client, prefix: String| async move {
            let options = GetOptions::new().with_range(behind(&prefix)).with_limit(PIECES_AT_ONCE as i64);
            client.get(prefix, Some(options)).await
        })?;
        let read = |(digest, answer): (&Digest, etcd_client::GetResponse)| match answer.more() {
            true => self.value(digest),
            false => whole(digest, answer.kvs()),
        };
        digests.iter().zip(first).map(read).collect()
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
            Ok(_) if !self.kv.is_unnamed(&digest)? => {}
            Ok(_) | Err(StoreError::Missing(_) | StoreError::Corrupt(_)) => self.put_pieces(&digest, bytes)?,
            Err(error) => return Err(error),
        }
        Ok(digest)
    }

    fn publish(&self, manifest: &Manifest, expected: Option<&Pointer>) -> Result<Pointer, StoreError> {
        self.publish_with(&[], manifest, expected)
    }

    fn publish_with(
        &self,
        values: &[Vec<u8>],
        manifest: &Manifest,
        expected: Option<&Pointer>,
    ) -> Result<Pointer, StoreError> {
        self.publish_all(values, manifest, expected)
    }

    fn history(&self, most: usize) -> Result<Vec<Manifest>, StoreError> {
        let prefix = self.kv.names.manifests();
        let found = self.kv.range_by(MANIFESTS_AT_ONCE, &prefix, most, Order::Descending, GetOptions::new())?;
        Ok(found.iter().filter_map(|kv| serde_json::from_slice(kv.value()).ok()).collect())
    }

    fn canary(&self) -> Result<Option<Canary>, StoreError> {
        Ok(self.kv.get(&self.kv.names.canary())?.and_then(|(bytes, _)| read_canary(&bytes)))
    }

    fn look(&self) -> Result<(Option<Pointer>, Option<Canary>), StoreError> {
        let looks = [self.kv.names.pointer(), self.kv.names.canary()].map(|key| TxnOp::get(key, None));
        let answer = self.kv.txn(Txn::new().and_then(looks))?;
        self.note_cluster(answer.header());
        let said = answer.op_responses();
        let [TxnOpResponse::Get(pointer), TxnOpResponse::Get(canary)] = said.as_slice() else {
            return Err(StoreError::Unavailable("etcd answers less than it was asked".into()));
        };
        let pointer = pointer.kvs().first().map(|kv| read_pointer(kv.value())).transpose()?;
        Ok((pointer, canary.kvs().first().and_then(|kv| read_canary(kv.value()))))
    }

    fn set_canary(&self, canary: Option<&Canary>, expected: Option<&Canary>) -> Result<(), StoreError> {
        let key = self.kv.names.canary();
        let found = self.kv.get(&key)?;
        let now = found.as_ref().and_then(|(bytes, _)| serde_json::from_slice::<Canary>(bytes).ok());
        if now.as_ref() != expected {
            return Err(StoreError::Conflict { now: self.pointer()? });
        }
        let as_it_was = Compare::mod_revision(key.clone(), CompareOp::Equal, found.map_or(0, |(_, moved)| moved));
        let then = match canary {
            Some(canary) => TxnOp::put(key, serde_json::to_vec(canary).unwrap_or_default(), None),
            None => TxnOp::delete(key, None),
        };
        match self.kv.txn(Txn::new().when([as_it_was]).and_then([then]))?.succeeded() {
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
        let (moved, stream) = self.listen(stream, seen, most)?;
        *watch = stream;
        Ok(moved)
    }

    fn write_page(&self, page: &NodePage) -> Result<(), StoreError> {
        named(&page.node)?;
        self.put_page(page)
    }

    fn pages(&self) -> Result<Vec<NodePage>, StoreError> {
        let found = self.kv.range(&self.kv.names.nodes(), usize::MAX, Order::Ascending, GetOptions::new())?;
        Ok(found.iter().filter_map(|kv| serde_json::from_slice(kv.value()).ok()).collect())
    }

    fn remove_page(&self, node: &str) -> Result<(), StoreError> {
        named(node)?;
        let key = self.kv.names.node(node);
        self.kv.link.call(|mut client| {
            let key = key.clone();
            async move { client.delete(key, None).await }
        })?;
        Ok(())
    }
}

/// A value of its pieces, when they are all.
fn whole(digest: &Digest, pieces: &[KeyValue]) -> Result<Vec<u8>, StoreError> {
    let name = || format!("value {digest}");
    if pieces.is_empty() {
        return Err(StoreError::Missing(name()));
    }
    let bytes = pieces.iter().map(KeyValue::value).collect::<Vec<_>>().concat();
    if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Corrupt(name())) }
}

fn named(node: &str) -> Result<(), StoreError> {
    if is_node_name(node) { Ok(()) } else { Err(StoreError::Refused(format!("{node:?} is not a usable node name"))) }
}
