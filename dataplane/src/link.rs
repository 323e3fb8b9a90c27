//! A connection that may or may not be encrypted. What is above it sees plain bytes.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::buffer;
use crate::socket::{Peek, Socket};
use crate::tls::{Session, TlsFault};

pub struct Link {
    pub socket: Socket,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: Session,
    /// Ciphertext that is no whole record yet; without allocation while there is none.
    cipher: Vec<u8>,
    peer_closed: bool,
}

#[derive(Debug)]
pub enum LinkFault {
    Io(io::Error),
    Tls(TlsFault),
}

impl From<io::Error> for LinkFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TlsFault> for LinkFault {
    fn from(fault: TlsFault) -> Self {
        Self::Tls(fault)
    }
}

impl Link {
    pub fn plain(socket: Socket) -> Self {
        Self { socket, tls: None }
    }

    /// A caller's handshake. What it said right behind it comes along.
    pub async fn accept(socket: Socket, config: Arc<ServerConfig>) -> Result<(Self, Vec<u8>), LinkFault> {
        let tls = Tls::new(Session::server(config)?);
        Self::handshake(socket, tls, true).await
    }

    /// A handshake with a vendor. Our last flight leaves together with the request.
    pub async fn connect(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(Self, Vec<u8>), LinkFault> {
        let tls = Tls::new(Session::client(config, name)?);
        Self::handshake(socket, tls, false).await
    }

    async fn handshake(socket: Socket, mut tls: Box<Tls>, server: bool) -> Result<(Self, Vec<u8>), LinkFault> {
        let mut early = Vec::new();
        let mut write_now = !server;
        loop {
            if write_now {
                tls.flush(&socket).await?;
            }
            if tls.session.is_ready() {
                return Ok((Self { socket, tls: Some(tls) }, early));
            }
            if tls.fill(&socket).await? == 0 {
                tls.session.end_of_file()?;
                return Err(TlsFault::Truncated.into());
            }
            match tls.feed(&mut early) {
                Ok(now) => write_now = now && (server || !tls.session.is_ready()),
                Err(fault) => {
                    let _ = tls.flush(&socket).await;
                    return Err(fault.into());
                }
            }
        }
    }

    /// Appends what comes to the buffer; 0 is the end. With TLS, an end without the peer's word is an error.
    ///
    /// Must not be dropped while it runs, see `socket`.
    pub async fn read(&mut self, mut plain: Vec<u8>) -> (Result<usize, LinkFault>, Vec<u8>) {
        let Some(tls) = &mut self.tls else {
            let (result, plain) = self.socket.read(plain).await;
            return (result.map_err(LinkFault::Io), plain);
        };
        let before = plain.len();
        loop {
            // No record buffer waits under a slow stream: readability first, then the buffer.
            self.socket.readable().await;
            match tls.take_now(&self.socket, &mut plain) {
                Ok(Some(0)) => return (Ok(0), plain),
                Ok(_) if plain.len() > before => {
                    let count = plain.len() - before;
                    return (Ok(count), plain);
                }
                Ok(_) => {
                    if tls.session.has_pending()
                        && let Err(fault) = tls.flush(&self.socket).await
                    {
                        return (Err(fault), plain);
                    }
                }
                Err(fault) => {
                    let _ = tls.flush(&self.socket).await;
                    return (Err(fault), plain);
                }
            }
        }
    }

    /// The same, with a large buffer under the wait and not only when something is there: one operation instead of two, for
    /// who waits for one answer and not under a slow stream.
    ///
    /// Must not be dropped while it runs unless the connection is, see `socket`.
    pub async fn read_parked(&mut self, mut plain: Vec<u8>) -> (Result<usize, LinkFault>, Vec<u8>) {
        let Some(tls) = &mut self.tls else { return self.read(plain).await };
        let before = plain.len();
        loop {
            if tls.peer_closed {
                return (Ok(0), plain);
            }
            match tls.fill(&self.socket).await {
                Ok(0) => {
                    tls.shelve();
                    return (tls.session.end_of_file().map(|()| 0).map_err(LinkFault::Tls), plain);
                }
                Ok(_) => {}
                Err(fault) => {
                    tls.shelve();
                    return (Err(fault), plain);
                }
            }
            match tls.feed(&mut plain) {
                Ok(_) if plain.len() > before => {
                    let count = plain.len() - before;
                    return (Ok(count), plain);
                }
                Ok(_) => {
                    if tls.session.has_pending()
                        && let Err(fault) = tls.flush(&self.socket).await
                    {
                        return (Err(fault), plain);
                    }
                }
                Err(fault) => {
                    let _ = tls.flush(&self.socket).await;
                    return (Err(fault.into()), plain);
                }
            }
        }
    }

    /// Appends what is there already: `None` when nothing is, 0 at the end.
    pub fn read_now(&mut self, plain: &mut Vec<u8>) -> Result<Option<usize>, LinkFault> {
        match &mut self.tls {
            None => Ok(self.socket.read_now(plain)?),
            Some(tls) => tls.take_now(&self.socket, plain),
        }
    }

    /// Drops what is there already, so many bytes at most: how many there were, or `None`, or 0 at the end. What TLS opened
    /// beyond them is in `rest`, which is empty before.
    pub fn skip_now(&mut self, most: usize, rest: &mut Vec<u8>) -> Result<Option<usize>, LinkFault> {
        let Some(tls) = &mut self.tls else { return Ok(self.socket.skip_now(most)?) };
        if rest.capacity() == 0 {
            *rest = buffer::large();
        }
        let read = tls.take_now(&self.socket, rest)?;
        let dropped = rest.len().min(most);
        rest.drain(..dropped);
        Ok(read.map(|_| dropped))
    }

    /// Writes all of the buffer from `from` on and gives it back empty.
    pub async fn write(&mut self, mut bytes: Vec<u8>, from: usize) -> (Result<(), LinkFault>, Vec<u8>) {
        let Some(tls) = &mut self.tls else {
            let (result, mut bytes) = self.socket.write_all(bytes, from).await;
            bytes.clear();
            return (result.map_err(LinkFault::Io), bytes);
        };
        let mut cipher = buffer::with_room(crate::tls::sealed_len_max(bytes.len() - from));
        let sealed = tls.session.seal(&bytes[from..], &mut cipher);
        bytes.clear();
        if let Err(fault) = sealed {
            buffer::give_back(cipher);
            return (Err(fault.into()), bytes);
        }
        let (result, cipher) = self.socket.write_all(cipher, 0).await;
        buffer::give_back(cipher);
        (result.map_err(LinkFault::Io), bytes)
    }

    /// Whether an idle connection is still as it was left: nothing said, nothing closed.
    pub fn is_quiet(&mut self) -> bool {
        match (self.socket.peek(), &mut self.tls) {
            (Peek::Closed, _) => false,
            (Peek::Quiet, tls) => tls.as_ref().is_none_or(|tls| !tls.peer_closed),
            (Peek::Bytes, None) => false,
            (Peek::Bytes, Some(tls)) => {
                // Session tickets may come late; anything else is not for us.
                let mut plain = Vec::new();
                matches!(tls.take_now(&self.socket, &mut plain), Ok(None)) && plain.is_empty() && !tls.peer_closed
            }
        }
    }

    /// Says goodbye in TLS and ends the connection.
    pub async fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            let mut out = buffer::small();
            tls.session.close(&mut out);
            // What the kernel does not take at once is not worth waiting for.
            let _ = self.socket.write_now(&out);
            buffer::give_back(out);
        }
        self.socket.shut_write();
    }
}

impl Tls {
    fn new(session: Session) -> Box<Self> {
        Box::new(Self { session, cipher: Vec::new(), peer_closed: false })
    }

    async fn fill(&mut self, socket: &Socket) -> Result<usize, LinkFault> {
        let mut cipher = std::mem::take(&mut self.cipher);
        if cipher.capacity() == 0 {
            cipher = buffer::large();
        }
        cipher.reserve(READ_ROOM_MIN);
        let (result, cipher) = socket.read(cipher).await;
        self.cipher = cipher;
        Ok(result?)
    }

    /// Reads once and decrypts every whole record. `None`: nothing readable came; 0: the peer closed.
    fn take_now(&mut self, socket: &Socket, plain: &mut Vec<u8>) -> Result<Option<usize>, LinkFault> {
        if self.peer_closed {
            return Ok(Some(0));
        }
        if self.cipher.capacity() == 0 {
            self.cipher = buffer::large();
        }
        self.cipher.reserve(READ_ROOM_MIN);
        let read = socket.read_now(&mut self.cipher);
        let ended = matches!(read, Ok(Some(0)));
        if matches!(read, Ok(None)) || read.is_err() || ended {
            self.shelve();
            read?;
            if ended {
                self.session.end_of_file()?;
                return Ok(Some(0));
            }
            return Ok(None);
        }
        let before = plain.len();
        self.feed(plain)?;
        match plain.len() - before {
            0 if self.peer_closed => Ok(Some(0)),
            0 => Ok(None),
            count => Ok(Some(count)),
        }
    }

    /// Whether the peer waits for bytes of ours.
    fn feed(&mut self, plain: &mut Vec<u8>) -> Result<bool, TlsFault> {
        let fed = self.session.feed(&mut self.cipher, plain)?;
        self.peer_closed |= fed.peer_closed;
        self.cipher.drain(..fed.consumed);
        self.shelve();
        Ok(fed.write_now)
    }

    /// A buffer that holds nothing goes back to the pool.
    fn shelve(&mut self) {
        if self.cipher.is_empty() {
            buffer::give_back(std::mem::take(&mut self.cipher));
        }
    }

    async fn flush(&mut self, socket: &Socket) -> Result<(), LinkFault> {
        if !self.session.has_pending() {
            return Ok(());
        }
        let mut out = buffer::small();
        self.session.pending(&mut out);
        let (result, out) = socket.write_all(out, 0).await;
        buffer::give_back(out);
        Ok(result?)
    }
}

/// A whole record always has room, so that feeding makes progress.
const READ_ROOM_MIN: usize = crate::tls::RECORD_BYTES_MAX;
