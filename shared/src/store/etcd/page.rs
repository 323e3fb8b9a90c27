//! A node's page, under a lease that the node renews: when it is gone for good, etcd removes the page by itself.

use std::sync::PoisonError;

use etcd_client::{Client, Error, LeaseKeepAliveStream, LeaseKeeper, PutOptions};

use super::Etcd;
use super::link::{CALL, is_lease_gone};
use crate::keyspace::{NODE_GONE_SECONDS, NodePage};
use crate::store::StoreError;

pub struct Lease {
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Etcd {
    /// The page first, because somebody may be waiting for what it says; then its lease is renewed.
    pub(super) fn put_page(&self, page: &NodePage) -> Result<(), StoreError> {
        let (key, text) = (self.kv.names.node(&page.node), serde_json::to_vec(page).unwrap_or_default());
        let mut held = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = match held.take() {
            Some(lease) if self.put_under(&lease, &key, &text)? => Some(lease),
            // There is none yet, or it ended since the last time.
            _ => {
                let lease = self.kv.link.call(grant)?;
                self.put_under(&lease, &key, &text)?.then_some(lease)
            }
        };
        if let Some(mut lease) = lease {
            // One that cannot be renewed is not used again: the next time takes a new one.
            let renewed = self.kv.link.within(CALL, lease.renew()).unwrap_or(false);
            *held = renewed.then_some(lease);
        }
        Ok(())
    }

    /// False when the lease is no longer there.
    fn put_under(&self, lease: &Lease, key: &str, text: &[u8]) -> Result<bool, StoreError> {
        let id = lease.keeper.id();
        self.kv.link.call(|mut client| async move {
            match client.put(key, text, Some(PutOptions::new().with_lease(id))).await {
                Ok(_) => Ok(true),
                Err(error) if is_lease_gone(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}

/// The page may not go between two renewals of which one is late.
const SECONDS: i64 = NODE_GONE_SECONDS as i64;

async fn grant(mut client: Client) -> Result<Lease, Error> {
    let id = client.lease_grant(SECONDS, None).await?.id();
    let (keeper, answers) = client.lease_keep_alive(id).await?;
    Ok(Lease { keeper, answers })
}

impl Lease {
    /// False when it has ended, or the way to it has.
    async fn renew(&mut self) -> bool {
        if self.keeper.keep_alive().await.is_err() {
            return false;
        }
        matches!(self.answers.message().await, Ok(Some(answer)) if answer.ttl() > 0)
    }
}
