//! Where a request comes in: a caller's connection, the head and the body that are read from it, and the sink that the
//! answer is written to.

mod caller;
mod sink;

pub use caller::{Body, Caller, Pace, Request, Unreadable};
pub use sink::{HEAD_ROOM, Head, Sink, push_number};
