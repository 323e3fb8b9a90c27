//! The suite's harness: the real processes on 127.0.0.1, a caller that writes exact bytes, and readers of everything that
//! the gateway leaves behind. A test should be its data; what it takes to run it is here.

pub mod answer;
pub mod binary;
pub mod call;
pub mod clock;
pub mod cloud;
pub mod etcd;
pub mod exact;
pub mod gateway;
pub mod journal;
pub mod model;
pub mod process;
pub mod proxy;
pub mod scratch;
pub mod setup;
pub mod shim;
pub mod table;
pub mod wire;

pub use answer::Answer;
pub use call::{Call, Request};
pub use cloud::Cloud;
pub use etcd::Etcd;
pub use exact::Exact;
pub use gateway::Gateway;
pub use model::{Dialect, Model};
pub use setup::{NO_BREAKER, Setup};
pub use shim::Shim;
pub use table::Table;
pub use wire::Wire;
