//! The data plane. Modules stand in the order in which a request meets them, and a module names only earlier ones;
//! `tests/suite/tidy.rs` reads this list and fails on a `crate::x` that points forward.

// ── the floor: no policy
pub mod clock;
pub mod memory;
pub mod buffer;
pub mod wire;
pub mod tls;
pub mod dialect;
