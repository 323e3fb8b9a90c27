//! What a key-value store is asked for, page by page.

use etcd_client::{GetOptions, KeyValue, SortOrder, SortTarget, Txn, TxnResponse};

use super::link::Link;
use crate::keyspace::Keyspace;
use crate::store::StoreError;

#[derive(Clone)]
pub struct Kv {
    pub link: Link,
    pub names: Keyspace,
}

const KEYS_AT_ONCE: usize = 500;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// A key as it stands: its bytes, and etcd's number of its last write.
pub type Found = Option<(Vec<u8>, i64)>;

impl Kv {
    pub fn get(&self, key: &str) -> Result<Found, StoreError> {
        let answer = self.link.call(|mut client| async move { client.get(key, None).await })?;
        Ok(answer.kvs().first().map(|kv| (kv.value().to_vec(), kv.mod_revision())))
    }

    pub fn txn(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        self.link.call(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        })
    }

    /// Up to `most` keys of a prefix, page by page.
    pub fn range(
        &self,
        prefix: &str,
        most: usize,
        order: Order,
        options: GetOptions,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.range_by(KEYS_AT_ONCE, prefix, most, order, options)
    }

    pub fn range_by(
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

    /// All keys below a prefix, with etcd's number of their last write.
    pub fn keys(&self, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
        let options = GetOptions::new().with_keys_only();
        let found = self.range(prefix, usize::MAX, Order::Ascending, options)?;
        Ok(found.into_iter().map(|kv| (String::from_utf8_lossy(kv.key()).into_owned(), kv.mod_revision())).collect())
    }
}

/// The first key behind all that begin so. Prefixes here end with `/`.
pub fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
