//! A revision as one transaction: new values that are small, the manifest, the pointer, and the oldest manifests, which go.
//!
//! etcd writes to its disk once for each transaction, and whoever publishes waits for that. So there is one, after one look.

use std::sync::PoisonError;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};

use super::kv::behind;
use super::{Etcd, PIECE_BYTES_MAX, read_pointer};
use crate::id::Digest;
use crate::keyspace::{Manifest, Pointer};
use crate::store::{Store, StoreError};

/// Of compares and of operations in one transaction.
const OPERATIONS_MAX: usize = 128;

/// Values that go along with their manifest, and old manifests that go: together far fewer operations than etcd takes.
const ALONG_MAX: usize = 64;
const DROPPED_MAX: usize = 32;
const _: () = assert!(2 + ALONG_MAX + DROPPED_MAX <= OPERATIONS_MAX);

/// Others may move something in between so often.
const PUBLISH_TRIES: u32 = 8;

/// How the store stood at one moment, as far as a publisher has to know.
struct Standing<'a> {
    pointer: Option<Pointer>,
    /// etcd's number of the pointer's last write; 0 when there is none.
    moved: i64,
    /// The same of what is unnamed: nothing is deleted without writing it.
    unnamed: i64,
    /// Manifests that are more than are kept, once there is another.
    surplus: Vec<String>,
    /// The first part whose value is not there, of those that were looked for.
    missing: Option<&'a str>,
}

type Part<'a> = (&'a str, Digest);

impl Etcd {
    pub(super) fn publish_all(
        &self,
        values: &[Vec<u8>],
        manifest: &Manifest,
        expected: Option<&Pointer>,
    ) -> Result<Pointer, StoreError> {
        let (pointer, bytes) = (manifest.pointer(), manifest.encode());
        if bytes.len() > PIECE_BYTES_MAX {
            let parts = manifest.parts.len();
            return Err(StoreError::Refused(format!(
                "a manifest of {parts} parts is more than etcd takes in one request"
            )));
        }
        let along = self.along(values, bytes.len())?;
        let parts = manifest.parts.iter().map(|(name, digest)| (name.as_str(), *digest));
        let parts: Vec<Part<'_>> =
            parts.filter(|(_, digest)| !along.iter().any(|(along, _)| along == digest)).collect();
        let (first, rest) = parts.split_at(parts.len().min(OPERATIONS_MAX - LOOKED_AT));
        let text = serde_json::to_vec(&pointer).unwrap_or_default();
        // A transaction of ours whose answer was lost: done or not.
        let mut open = false;
        for _ in 0..PUBLISH_TRIES {
            let standing = self.standing(first)?;
            let now = standing.pointer;
            if open && now == Some(pointer) {
                return Ok(pointer);
            }
            if now.as_ref() != expected || now.is_some_and(|now| !pointer.is_after(&now)) {
                return if open { self.is_ours(&pointer, now) } else { Err(StoreError::Conflict { now }) };
            }
            // From that look on, nothing that is there may be deleted before the pointer has moved.
            if let Some(name) = standing.missing.or(self.first_missing(rest)?) {
                return Err(StoreError::Missing(format!("value of {name}")));
            }
            let txn = self.revision(manifest, (&bytes, &text), &along, &standing);
            match self.kv.link.once(|mut client| async move { client.txn(txn).await }) {
                Ok(done) if done.succeeded() => {
                    self.sweep_now_and_then(manifest);
                    return Ok(pointer);
                }
                Ok(_) => {}
                Err(StoreError::Unavailable(_)) => open = true,
                Err(error) => return Err(error),
            }
        }
        self.is_ours(&pointer, self.pointer()?)
    }

    /// Whether the revision was published after all, and others on top of it: its manifest comes with its pointer or not at
    /// all.
    fn is_ours(&self, pointer: &Pointer, now: Option<Pointer>) -> Result<Pointer, StoreError> {
        match self.manifest(pointer) {
            Ok(_) => Ok(*pointer),
            Err(StoreError::Unavailable(why)) => Err(StoreError::Unavailable(why)),
            Err(_) => Err(StoreError::Conflict { now }),
        }
    }

    /// The values that go along. Those that are too large for that are put there now.
    fn along<'v>(&self, values: &'v [Vec<u8>], manifest_bytes: usize) -> Result<Vec<(Digest, &'v [u8])>, StoreError> {
        let (mut along, mut room) = (Vec::new(), PIECE_BYTES_MAX - manifest_bytes);
        for value in values {
            let digest = Digest::of(value);
            if along.iter().any(|(known, _)| *known == digest) {
                continue;
            }
            match room.checked_sub(value.len()).filter(|_| along.len() < ALONG_MAX) {
                Some(left) => {
                    room = left;
                    along.push((digest, value.as_slice()));
                }
                None => drop(self.put_value(value)?),
            }
        }
        Ok(along)
    }

    fn standing<'a>(&self, parts: &[Part<'a>]) -> Result<Standing<'a>, StoreError> {
        let names = &self.kv.names;
        let manifests = names.manifests();
        let oldest = GetOptions::new().with_range(behind(&manifests)).with_keys_only().with_limit(DROPPED_MAX as i64);
        let looks = [
            TxnOp::get(names.pointer(), None),
            TxnOp::get(names.unnamed(), Some(GetOptions::new().with_keys_only())),
            TxnOp::get(manifests, Some(oldest)),
        ];
        let looks: Vec<_> = looks.into_iter().chain(parts.iter().map(|part| self.is_there(part))).collect();
        let answer = self.kv.txn(Txn::new().and_then(looks))?;
        self.note_cluster(answer.header());
        let said = answer.op_responses();
        let [TxnOpResponse::Get(pointer), TxnOpResponse::Get(unnamed), TxnOpResponse::Get(oldest), there @ ..] =
            said.as_slice()
        else {
            return Err(StoreError::Unavailable("etcd answers less than it was asked".into()));
        };
        let written = |found: &etcd_client::GetResponse| found.kvs().first().map_or(0, |kv| kv.mod_revision());
        let surplus = (oldest.count().max(0) as usize + 1).saturating_sub(self.manifests_kept);
        let key = |kv: &etcd_client::KeyValue| String::from_utf8_lossy(kv.key()).into_owned();
        Ok(Standing {
            pointer: pointer.kvs().first().map(|kv| read_pointer(kv.value())).transpose()?,
            moved: written(pointer),
            unnamed: written(unnamed),
            surplus: oldest.kvs().iter().take(surplus).map(key).collect(),
            missing: missing(parts, there),
        })
    }

    fn revision(
        &self,
        manifest: &Manifest,
        (bytes, pointer): (&[u8], &[u8]),
        along: &[(Digest, &[u8])],
        standing: &Standing<'_>,
    ) -> Txn {
        let names = &self.kv.names;
        let as_it_was = [
            Compare::mod_revision(names.pointer(), CompareOp::Equal, standing.moved),
            Compare::mod_revision(names.unnamed(), CompareOp::Equal, standing.unnamed),
        ];
        let mut then = vec![
            TxnOp::put(names.manifest(manifest.epoch, manifest.revision), bytes, None),
            TxnOp::put(names.pointer(), pointer, None),
        ];
        then.extend(along.iter().map(|(digest, value)| TxnOp::put(names.piece(digest, 0), *value, None)));
        then.extend(standing.surplus.iter().map(|key| TxnOp::delete(key.as_str(), None)));
        Txn::new().when(as_it_was).and_then(then)
    }

    /// The first of these values that is not whole in the store.
    fn first_missing<'a>(&self, parts: &[Part<'a>]) -> Result<Option<&'a str>, StoreError> {
        for some in parts.chunks(OPERATIONS_MAX) {
            let looks: Vec<_> = some.iter().map(|part| self.is_there(part)).collect();
            let answer = self.kv.txn(Txn::new().and_then(looks))?;
            if let Some(name) = missing(some, &answer.op_responses()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Piece 0 is written last and deleted with the others.
    fn is_there(&self, (_, digest): &Part<'_>) -> TxnOp {
        TxnOp::get(self.kv.names.piece(digest, 0), Some(GetOptions::new().with_count_only()))
    }

    /// Beside whoever published: that the revision holds is all that is waited for. What could not be cleared away is cleared
    /// away by a later one.
    fn sweep_now_and_then(&self, manifest: &Manifest) {
        if !manifest.revision.is_multiple_of(super::sweep::EVERY) {
            return;
        }
        self.rest();
        let (kv, now) = (self.kv.clone(), manifest.time);
        let sweep = move || drop(kv.sweep(now));
        let begun = std::thread::Builder::new().name("weir-sweep".into()).spawn(sweep);
        *self.sweeping.lock().unwrap_or_else(PoisonError::into_inner) = begun.ok();
    }

    /// Waits until nothing is being cleared away. Each of its calls has a deadline.
    pub fn rest(&self) {
        let sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sweeping) = sweeping {
            let _ = sweeping.join();
        }
    }
}

/// The pointer, what is unnamed, and the oldest manifests.
const LOOKED_AT: usize = 3;

fn missing<'a>(parts: &[Part<'a>], found: &[TxnOpResponse]) -> Option<&'a str> {
    let there = |found: Option<&TxnOpResponse>| matches!(found, Some(TxnOpResponse::Get(found)) if found.count() > 0);
    parts.iter().enumerate().find(|(at, _)| !there(found.get(*at))).map(|(_, (name, _))| *name)
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.rest();
    }
}
