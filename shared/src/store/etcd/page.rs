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
    pub(super) fn put_page(&self, page: &NodePage) -> Result<(), StoreError> {
        let (key, text) = (self.names.node(&page.node), serde_json::to_vec(page).unwrap_or_default());
        let mut held = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = match held.take() {
            Some(mut lease) => self.link.within(CALL, lease.renew()).unwrap_or(false).then_some(lease),
            None => None,
        };
        let lease = match renewed {
            Some(lease) => lease,
            None => self.link.call(grant)?,
        };
        let id = lease.keeper.id();
        let put = self.link.call(|mut client| {
            let (key, text) = (key.clone(), text.clone());
            async move {
                match client.put(key, text, Some(PutOptions::new().with_lease(id))).await {
                    Ok(_) => Ok(true),
                    // It ended between two steps. The next renewal takes a new one.
                    Err(error) if is_lease_gone(&error) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })?;
        if put {
            *held = Some(lease);
        }
        Ok(())
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
