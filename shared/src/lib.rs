//! The vocabulary both planes speak: values and pure functions.
//!
//! The control plane turns an operator's folder into a [`draft::Draft`]; both planes walk the one road from there to a
//! [`snapshot::Snapshot`], which is all that a worker obeys. Nothing here opens a socket or asks for the time. The only
//! input and output is in [`store`], behind a feature.

#![forbid(unsafe_code)]

pub mod id;
pub mod hash;
pub mod fault;
pub mod money;
pub mod usage;
pub mod price;
pub mod ledger;
pub mod policy;
pub mod catalog;
pub mod key;
pub mod draft;
pub mod reach;
pub mod resolve;
pub mod health;
pub mod routing;
pub mod overlay;
pub mod sealed;
pub mod stored;
pub mod snapshot;
pub mod keyspace;
#[cfg(feature = "store")]
pub mod secret;
#[cfg(feature = "store")]
pub mod store;
