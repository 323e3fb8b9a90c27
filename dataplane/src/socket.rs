//! A TCP connection as the runtime and the kernel see it.
//!
//! Futures of the runtime must not be dropped while they run: on io_uring that loses bytes, on epoll it does not, so a
//! test on epoll alone passes. Therefore reads and writes here give futures that own what they need (`'static`), and the
//! callers keep them pinned until they are done. To end one early, [`Socket::shut`] the connection: it then returns.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use socket2::SockRef;

/// Clones are handles of the same connection; the last one closes it.
#[derive(Clone)]
pub struct Socket(Rc<UnsafeCell<TcpStream>>);

impl Socket {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        // Without it the first token of a stream can wait 40 ms for an acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Self(Rc::new(UnsafeCell::new(stream))))
    }

    /// The one future that may be dropped: until it is done nobody else knows its descriptor.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_addr(to).await?)
    }

    /// Appends what comes to the buffer, up to its capacity.
    pub fn read(&self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> + 'static {
        let (from, to) = (buffer.len(), buffer.capacity());
        // SAFETY: one thread; `read` uses the stream only to copy its descriptor into the operation, before it returns,
        // and the operation holds that descriptor open by itself. No reference outlives this statement.
        let reading = unsafe { &mut *self.0.get() }.read(buffer.slice_mut(from..to));
        async move {
            let (result, buffer) = reading.await;
            (result, buffer.into_inner())
        }
    }

    /// Writes all of the buffer from `from` on; gives it back as it was.
    pub async fn write_all(&self, mut buffer: Vec<u8>, mut from: usize) -> (io::Result<()>, Vec<u8>) {
        while from < buffer.len() {
            // SAFETY: as in `read`.
            let writing = unsafe { &mut *self.0.get() }.write(buffer.slice(from..));
            let (result, slice) = writing.await;
            buffer = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(written) => from += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Until there is something to read, be it the end. Holds no buffer; may be dropped.
    pub fn readable(&self) -> impl Future<Output = ()> + 'static {
        let stream = Rc::clone(&self.0);
        async move {
            // SAFETY: one thread; the shared reference lives as long as `stream`, which this future owns, and the other
            // uses of the stream do not change it (see `read`).
            let stream = unsafe { &*stream.get() };
            // Relaxed would report falsely on epoll. An error shows in the read that follows.
            let _ = stream.readable(false).await;
        }
    }

    /// Appends what is there already, without waiting: `None` when nothing is.
    pub fn read_now(&self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        // On io_uring accepted connections block: said each time, it also holds for a readiness that was none.
        match SockRef::from(&self.borrow()).recv_with_flags(buffer.spare_capacity_mut(), libc::MSG_DONTWAIT) {
            Ok(count) => {
                // SAFETY: the kernel has written `count` bytes into the spare capacity.
                unsafe { buffer.set_len(buffer.len() + count) };
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, but so many bytes at most: what follows them stays for somebody else.
    pub fn read_most(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Option<usize>> {
        buffer.reserve(most);
        let room = &mut buffer.spare_capacity_mut()[..most];
        match SockRef::from(&self.borrow()).recv_with_flags(room, libc::MSG_DONTWAIT) {
            Ok(count) => {
                // SAFETY: the kernel has written `count` bytes into the spare capacity.
                unsafe { buffer.set_len(buffer.len() + count) };
                Ok(Some(count))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drops what is there already, so many bytes at most, without a look at it: how many there were; `None`: none yet.
    pub fn skip_now(&self, most: usize) -> io::Result<Option<usize>> {
        // SAFETY: with MSG_TRUNC a TCP socket of Linux drops bytes and writes none, so that no buffer is needed (tcp(7)).
        let dropped = unsafe {
            libc::recv(self.borrow().as_raw_fd(), std::ptr::null_mut(), most, libc::MSG_TRUNC | libc::MSG_DONTWAIT)
        };
        match usize::try_from(dropped) {
            Ok(count) => Ok(Some(count)),
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The next byte, which stays where it is. `None`: there is none.
    pub fn next_byte(&self) -> Option<u8> {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        let peeked = SockRef::from(&self.borrow()).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        // SAFETY: the kernel has written one byte.
        matches!(peeked, Ok(1)).then(|| unsafe { byte[0].assume_init() })
    }

    /// Writes what the kernel takes at once.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(&self.borrow()).send_with_flags(bytes, flags) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    /// Whether the peer has said something, or has closed, since the last read.
    pub fn peek(&self) -> Peek {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        match SockRef::from(&self.borrow()).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            Ok(0) => Peek::Closed,
            Ok(_) => Peek::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Peek::Quiet,
            Err(_) => Peek::Closed,
        }
    }

    /// Ends both directions: whatever waits on this connection returns, and the peer sees its end.
    pub fn shut(&self) {
        let _ = SockRef::from(&self.borrow()).shutdown(std::net::Shutdown::Both);
    }

    pub fn shut_write(&self) {
        let _ = SockRef::from(&self.borrow()).shutdown(std::net::Shutdown::Write);
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        SockRef::from(&self.borrow()).peer_addr().ok()?.as_socket()
    }

    /// Whether the peer's kernel has confirmed all that was written. At the peer's end of the connection it tells a peer
    /// that had everything before it closed from one that closed while our bytes were still on their way.
    pub fn is_acknowledged(&self) -> bool {
        is_acknowledged(&self.borrow())
    }

    fn raw(&self) -> RawFd {
        // SAFETY: one thread, a shared reference for the length of this call.
        unsafe { &*self.0.get() }.as_raw_fd()
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open while `self` holds the stream.
        unsafe { BorrowedFd::borrow_raw(self.raw()) }
    }
}

fn is_acknowledged(socket: &impl AsRawFd) -> bool {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the descriptor is open while `socket` is borrowed, and this request (SIOCOUTQ) writes one `int`, which
    // outlives the call.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
    asked == 0 && waiting == 0
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    Quiet,
    Bytes,
    Closed,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::is_acknowledged;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn who_had_everything_before_it_closed_is_told_from_who_had_closed_before() {
        let mut byte = [0; 1];
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"x").unwrap();
        theirs.read_exact(&mut byte).unwrap();
        drop(theirs);
        assert_eq!(ours.read(&mut byte).unwrap(), 0);
        assert!(is_acknowledged(&ours));
        // It had closed when we wrote: what was written was never confirmed, also after the reset that it brings.
        let (mut ours, theirs) = pair();
        drop(theirs);
        ours.write_all(b"x").unwrap();
        for _ in 0..20 {
            assert!(!is_acknowledged(&ours));
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // It closed without reading what had arrived: a reset says so.
        let (mut ours, theirs) = pair();
        ours.write_all(b"x").unwrap();
        drop(theirs);
        assert_eq!(ours.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}
