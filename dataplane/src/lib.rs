//! The data plane. Modules stand in the order in which a request meets them, and a module names only earlier ones;
//! `tests/suite/tidy.rs` reads this list and fails on a `crate::x` that points forward.

// ── the floor: no policy
pub mod heap;
pub mod clock;
pub mod memory;
pub mod spool;
pub mod buffer;
pub mod shelf;
pub mod wire;
pub mod tls;
pub mod dialect;
pub mod gauge;
pub mod journal;
pub mod socket;
pub mod race;
pub mod aside;
pub mod deadline;
pub mod link;
pub mod secret;
pub mod live;
pub mod seal;

// ── a request meets these, in this order
pub mod accept;
pub mod auth;
pub mod parse;
pub mod resolve;
pub mod translate;
pub mod strain;
pub mod admit;
pub mod route;
pub mod upstream;
pub mod meter;
pub mod log;
pub mod stream;
pub mod core;
pub mod refusal;

// ── who holds it together
pub mod exchange;
pub mod host;
pub mod worker;
pub mod sync;
pub mod watch;
