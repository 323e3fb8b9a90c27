//! Policies, one file a kind; each is obeyed by one stage of the data plane.

pub mod hedging;
pub mod limit;
pub mod mirroring;
pub mod queueing;
pub mod resilience;
pub mod routing;
pub mod size;
pub mod time;
