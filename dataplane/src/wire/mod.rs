//! Codecs: bytes in, frames out. No sockets, no clocks, no policy. Every parser here has a fuzz target, and any input cut
//! at any byte gives the same output.

pub mod lanes;
pub mod json;
pub mod proxy;
pub mod http1;
pub mod chunked;
pub mod sse;
pub mod eventstream;
pub mod template;
pub mod multipart;
pub mod media;
