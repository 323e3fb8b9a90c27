//! Values that no kept manifest names go.
//!
//! A value goes only after an hour in which nobody named it and nobody put it again: a publisher writes its values first
//! and names them seconds later. What was seen unnamed stands in a key of its own, with the time of the revision that saw
//! it and etcd's number of the value's last write. Deletes are made in transactions that touch this key, and whoever
//! moves the pointer compares it: so no manifest can name what was deleted while it was being published.

use std::collections::{BTreeMap, HashSet};

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::kv::Kv;
use crate::id::Digest;
use crate::store::StoreError;

/// By digest.
pub type Unnamed = BTreeMap<Digest, Seen>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Seconds since 1970, of the revision that saw it first.
    pub since: u64,
    /// etcd's own revision of its last write.
    pub written: i64,
}

pub const GRACE_SECONDS: u64 = 3_600;

/// Looking at every value and every kept manifest costs some reads of megabytes; it need not be done each time.
pub const EVERY: u64 = 16;

/// etcd takes 128 operations at a time: each of these is one, and so is the key that says what is unnamed.
const DELETED_AT_ONCE: usize = 100;

/// So that the key stays far below etcd's largest request. What is too much is seen the next time.
const UNNAMED_MAX: usize = 5_000;

impl Kv {
    pub fn sweep(&self, now: u64) -> Result<(), StoreError> {
        let (before, version) = self.unnamed()?;
        let kept: Vec<String> = self.keys(&self.names.manifests())?.into_iter().map(|(key, _)| key).collect();
        let all_named = self.link.each(&kept, |mut client, key: String| async move {
            let found = client.get(key, None).await?;
            Ok(found.kvs().first().and_then(|kv| serde_json::from_slice::<Named>(kv.value()).ok()))
        })?;
        let mut named = HashSet::new();
        for manifest in all_named {
            // Without knowing what a kept manifest names, nothing may go. Another one may have dropped it meanwhile.
            let Some(manifest) = manifest else { return Ok(()) };
            named.extend(manifest.parts.into_values());
        }
        let mut there: BTreeMap<Digest, i64> = BTreeMap::new();
        for (key, written) in self.keys(&self.names.values())? {
            if let Some(digest) = self.names.digest_of(&key) {
                let newest = there.entry(digest).or_default();
                *newest = written.max(*newest);
            }
        }
        let (unnamed, due) = judge(&before, &named, &there, now);
        self.forget(&unnamed, &due, version)
    }

    /// Deletes what is due, and remembers the rest. Somebody else who sweeps meanwhile has the better view.
    fn forget(&self, unnamed: &Unnamed, due: &[(Digest, i64)], mut version: i64) -> Result<(), StoreError> {
        let text = serde_json::to_vec(unnamed).unwrap_or_default();
        let none: &[(Digest, i64)] = &[];
        let batches: Vec<_> = if due.is_empty() { vec![none] } else { due.chunks(DELETED_AT_ONCE).collect() };
        for some in batches {
            let mut when = vec![Compare::mod_revision(self.names.unnamed(), CompareOp::Equal, version)];
            let mut then = vec![TxnOp::put(self.names.unnamed(), text.clone(), None)];
            for (digest, written) in some {
                // Put again since it was seen: somebody is about to name it.
                when.push(Compare::mod_revision(self.names.piece(digest, 0), CompareOp::Equal, *written));
                then.push(TxnOp::delete(self.names.value(digest), Some(DeleteOptions::new().with_prefix())));
            }
            let done = self.txn(Txn::new().when(when).and_then(then))?;
            if !done.succeeded() {
                return Ok(());
            }
            version = done.header().map_or(0, |header| header.revision());
        }
        Ok(())
    }

    pub fn is_unnamed(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.unnamed().map(|(unnamed, _)| unnamed.contains_key(digest))
    }

    /// What was seen unnamed, and etcd's number of its last write; 0 when there is none.
    fn unnamed(&self) -> Result<(Unnamed, i64), StoreError> {
        let found = self.get(&self.names.unnamed())?;
        Ok(found.map_or_else(Default::default, |(bytes, version)| {
            (serde_json::from_slice(&bytes).unwrap_or_default(), version)
        }))
    }
}

/// As much of a manifest as has to be known here.
#[derive(Deserialize)]
struct Named {
    parts: BTreeMap<String, Digest>,
}

/// What is unnamed now, and what of it may go.
fn judge(
    before: &Unnamed,
    named: &HashSet<Digest>,
    there: &BTreeMap<Digest, i64>,
    now: u64,
) -> (Unnamed, Vec<(Digest, i64)>) {
    let (mut unnamed, mut due) = (Unnamed::new(), Vec::new());
    for (digest, &written) in there.iter().filter(|(digest, _)| !named.contains(digest)) {
        let seen = before.get(digest).filter(|seen| seen.written == written).copied();
        match seen {
            Some(seen) if now.saturating_sub(seen.since) >= GRACE_SECONDS => due.push((*digest, written)),
            _ if unnamed.len() >= UNNAMED_MAX => {}
            _ => drop(unnamed.insert(*digest, seen.unwrap_or(Seen { since: now, written }))),
        }
    }
    (unnamed, due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_after_an_hour_in_which_nobody_wanted_it() {
        let digest = |n| Digest([n; 32]);
        let there = BTreeMap::from([(digest(1), 10), (digest(2), 11), (digest(3), 12)]);
        let named = HashSet::from([digest(1)]);
        let (unnamed, due) = judge(&Unnamed::new(), &named, &there, 1_000);
        assert_eq!(unnamed.keys().copied().collect::<Vec<_>>(), [digest(2), digest(3)]);
        assert_eq!(due, []);
        // One is put again meanwhile, and starts anew; the other has had its hour.
        let there = BTreeMap::from([(digest(1), 10), (digest(2), 20), (digest(3), 12)]);
        let (later, due) = judge(&unnamed, &named, &there, 1_000 + GRACE_SECONDS);
        assert_eq!(due, [(digest(3), 12)]);
        assert_eq!(later, Unnamed::from([(digest(2), Seen { since: 1_000 + GRACE_SECONDS, written: 20 })]));
        // Named again: nobody speaks of it any more. A clock that goes back deletes nothing.
        assert_eq!(judge(&later, &HashSet::from([digest(2)]), &there, 9_999).0.get(&digest(2)), None);
        assert_eq!(judge(&later, &named, &BTreeMap::from([(digest(2), 20)]), 0).1, []);
    }
}
