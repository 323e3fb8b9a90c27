//! TLS without sockets: ciphertext in, plaintext out, and back.
//!
//! [`Session`] is one connection, of either side. It owns no buffer that an idle connection would keep: ciphertext
//! lies in a buffer of the caller's, who hears how much of it was used and gives the buffer back when nothing is
//! left. Configurations come from [`server_config`] with a [`CertStore`], and from [`client_config`] with [`Roots`].
//!
//! The rules of use:
//! * Wait for readability, then read once, `feed` once, seal once, write once.
//! * What `feed` left unconsumed comes again at the front of the next `feed`, in front of what was read since.
//! * `Fed::write_now` means that the peer waits for bytes of ours: take them with `pending` (or `seal`) and write them.
//! * After a fault: `pending` once more for the alert, write it, close the socket.
//! * End of file: ask `end_of_file`. `Truncated` is an error unless a length or a last chunk said that the body was
//!   whole.

mod certificates;
mod fault;
mod pem;
mod record;
mod roots;
mod session;

pub use certificates::{CertStore, KeyPairFiles, Reloaded, server_config};
pub use fault::TlsFault;
pub use pem::SetupFault;
pub use record::{HANDSHAKE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_PLAIN_MAX, sealed_len_max};
pub use roots::{Roots, client_config};
pub use session::{Fed, Session};

#[cfg(test)]
mod pair;
#[cfg(test)]
mod tests;
