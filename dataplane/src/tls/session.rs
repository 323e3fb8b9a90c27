//! One TLS connection over rustls's unbuffered engine.
//!
//! rustls decrypts in place, in the caller's buffer, and remembers offsets into it while a handshake message has come
//! in part. That is why unconsumed bytes must come again at the front, and why `held` counts those that rustls has
//! seen already.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::certificates::take_server_name;
use super::fault::{Stage, TlsFault};
use super::record::{self, HANDSHAKE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_PLAIN_MAX, sealed_len_max};

/// One TLS connection, without its socket. See the module for the rules of use.
pub struct Session {
    engine: Engine,
    /// What rustls said outside a write: handshake, tickets, alerts. It leaves with the next write.
    outgoing: Vec<u8>,
    /// The peer waits for `outgoing`.
    write_now: bool,
    /// Whole records at the front of the caller's unconsumed bytes, parts of a handshake message that is not complete.
    held: usize,
    /// A record of the peer's was understood.
    greeted: bool,
    peer_closed: bool,
    closed: bool,
    /// The first fault is the answer to everything after it.
    fault: Option<TlsFault>,
    server_name: Option<Box<str>>,
}

/// What one `feed` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Ciphertext that is done with, from the front. The rest comes again, at the front. When this is all, no buffer
    /// is needed.
    pub consumed: usize,
    /// How many bytes at least complete the record that has begun to arrive; 0 when none has.
    pub missing: usize,
    /// The peer waits for what `pending` returns. A `seal` takes it along, so a caller with something to say need not
    /// ask twice.
    pub write_now: bool,
    /// The handshake is done: `seal` works.
    pub ready: bool,
    /// The peer said close_notify: nothing more will come, and what trailed behind it was dropped. It may still read.
    pub peer_closed: bool,
}

impl Session {
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        match UnbufferedServerConnection::new(config) {
            Ok(server) => Ok(Self::new(Engine::Server(Box::new(server)))),
            Err(_) => Err(TlsFault::Internal),
        }
    }

    /// The first flight is ready at once: take it with `pending`.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFault> {
        let client = UnbufferedClientConnection::new(config, name).map_err(|_| TlsFault::Internal)?;
        let mut session = Self::new(Engine::Client(Box::new(client)));
        with_engine!(session, client => drain(client, &mut session.outgoing));
        session.write_now = true;
        Ok(session)
    }

    /// Take every whole record in `cipher` and append its plaintext to `plain`, which grows by less than was consumed.
    ///
    /// On a fault, `plain` still holds what arrived before it, authentic and in order, and all of `cipher` is to be
    /// dropped.
    pub fn feed(&mut self, cipher: &mut [u8], plain: &mut Vec<u8>) -> Result<Fed, TlsFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        // After the peer's close nothing counts; after ours nobody listens.
        if self.peer_closed || self.closed {
            return Ok(self.fed(cipher.len(), 0));
        }
        if cipher.len() < self.held {
            return Err(self.fail(TlsFault::Internal));
        }
        let whole_until = record::whole_until(cipher, self.held);
        let handshaking = !self.is_ready();

        let (consumed, absorbed) = with_engine!(self, engine => {
            let progress = absorb(engine, cipher, plain, &mut self.outgoing);
            self.write_now |= progress.write_now;
            (progress.consumed, progress.end)
        });
        if handshaking
            && let Engine::Server(_) = self.engine
            && let Some(name) = take_server_name()
        {
            self.server_name = Some(name);
        }
        match absorbed {
            Ok(peer_closed) => self.peer_closed = peer_closed,
            Err(error) => {
                let stage = match (self.is_ready(), self.greeted) {
                    (true, _) => Stage::Established,
                    (false, true) => Stage::Handshaking,
                    (false, false) => Stage::Greeting,
                };
                return Err(self.fail(TlsFault::from_rustls(&error, stage)));
            }
        }

        self.greeted |= whole_until > 0;
        if self.peer_closed {
            self.held = 0;
            return Ok(self.fed(cipher.len(), 0));
        }
        self.held = whole_until.saturating_sub(consumed);
        let arriving = &cipher[consumed + self.held..];
        let missing = record::missing(arriving);
        if self.held > 0 && self.held + arriving.len() + missing > self.handshake_bytes_max() {
            return Err(self.fail(TlsFault::TooLarge));
        }
        Ok(self.fed(consumed, missing))
    }

    /// Encrypt `plain` and append it to `cipher`, behind everything that waited to be written.
    /// [`sealed_len_max`] says how much room keeps `cipher` from growing.
    pub fn seal(&mut self, plain: &[u8], cipher: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.seal_parts(&[plain], cipher)
    }

    /// Encrypt `parts` as if they were one slice: no more records than their sum needs.
    pub fn seal_parts(&mut self, parts: &[&[u8]], cipher: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.may_write()?;
        self.pending(cipher);
        let held = self.held;
        let sealed = with_engine!(self, engine => write(engine, held, cipher, |traffic, cipher| {
            encrypt_parts(traffic, parts, cipher)
        }));
        match sealed.and_then(|encrypted| encrypted) {
            Ok(()) => Ok(()),
            Err(fault) => {
                with_engine!(self, engine => drain(engine, &mut self.outgoing));
                Err(self.fail(fault))
            }
        }
    }

    /// Append to `cipher` what must be written besides plaintext: handshake, tickets, or, after a fault, the alert.
    pub fn pending(&mut self, cipher: &mut Vec<u8>) {
        cipher.extend_from_slice(&self.outgoing);
        self.outgoing = Vec::new();
        self.write_now = false;
    }

    /// Append our close_notify. What the peer still sends is dropped from here on.
    /// Before the handshake is done, and after a fault, there is nothing to say goodbye to.
    pub fn close(&mut self, cipher: &mut Vec<u8>) {
        self.pending(cipher);
        if self.may_write().is_ok() {
            let held = self.held;
            // Only the close itself could fail here, and the socket is closed next.
            let _ = with_engine!(self, engine => write(engine, held, cipher, encrypt_close));
        }
        self.closed = true;
    }

    /// The transport has ended. `Truncated` unless one side had closed: anybody can cut a TCP connection.
    pub fn end_of_file(&self) -> Result<(), TlsFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.peer_closed || self.closed => Ok(()),
            None => Err(TlsFault::Truncated),
        }
    }

    /// The handshake is done.
    pub fn is_ready(&self) -> bool {
        !self.common().is_handshaking()
    }

    /// `pending` has something, urgent or not.
    pub fn has_pending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub fn alpn(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// The name that a caller asked for (SNI). Only on a server whose configuration is ours.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    pub fn version(&self) -> Option<ProtocolVersion> {
        self.common().protocol_version()
    }

    pub fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn new(engine: Engine) -> Self {
        Self {
            engine,
            outgoing: Vec::new(),
            write_now: false,
            held: 0,
            greeted: false,
            peer_closed: false,
            closed: false,
            fault: None,
            server_name: None,
        }
    }

    fn fed(&self, consumed: usize, missing: usize) -> Fed {
        Fed { consumed, missing, write_now: self.write_now, ready: self.is_ready(), peer_closed: self.peer_closed }
    }

    fn fail(&mut self, fault: TlsFault) -> TlsFault {
        self.held = 0;
        self.write_now = !self.outgoing.is_empty();
        self.fault = Some(fault);
        fault
    }

    fn may_write(&self) -> Result<(), TlsFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.closed => Err(TlsFault::Closed),
            None if !self.is_ready() => Err(TlsFault::NotReady),
            None => Ok(()),
        }
    }

    fn handshake_bytes_max(&self) -> usize {
        match self.engine {
            Engine::Server(_) => RECORD_BYTES_MAX,
            Engine::Client(_) => HANDSHAKE_BYTES_MAX,
        }
    }

    fn common(&self) -> &CommonState {
        match &self.engine {
            Engine::Server(server) => server,
            Engine::Client(client) => client,
        }
    }

    /// Bytes of heap for what goes to or came from the wire.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.outgoing.capacity() + self.held
    }

    #[cfg(test)]
    pub(super) fn is_ended(&self) -> bool {
        self.fault.is_some() || self.closed
    }

    /// Ask for new keys with the next write. rustls does it by itself in time; tests cannot wait for 2^24 records.
    #[cfg(test)]
    pub(super) fn rekey(&mut self) {
        let mut waiting = Vec::new();
        self.seal(b"", &mut waiting).unwrap();
        self.outgoing = waiting;
        let held = self.held;
        let refreshed = with_engine!(self, engine => match engine.process(&mut vec![0; held]).state {
            Ok(ConnectionState::WriteTraffic(traffic)) => traffic.refresh_traffic_keys(),
            state => panic!("{state:?}"),
        });
        refreshed.unwrap();
    }
}

/// Boxed, because a session moves with its connection's future and rustls's state is about a kilobyte.
enum Engine {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// rustls has one type per side and no trait over both.
trait Process {
    type Data;
    /// A TLS 1.3 server has only tickets to send once its handshake is done. The peer does not wait for them, and
    /// with the first answer they cost no write of their own. A client's last flight does not wait, and TLS 1.2 never
    /// does.
    const LAST_FLIGHT_WAITS: bool;

    fn process<'c, 'i>(&'c mut self, cipher: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn common(&self) -> &CommonState;
}

impl Process for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;
    const LAST_FLIGHT_WAITS: bool = true;

    fn process<'c, 'i>(&'c mut self, cipher: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(cipher)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Process for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;
    const LAST_FLIGHT_WAITS: bool = false;

    fn process<'c, 'i>(&'c mut self, cipher: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(cipher)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

struct Absorbed {
    consumed: usize,
    write_now: bool,
    /// Whether the peer has closed, or what rustls refused.
    end: Result<bool, Error>,
}

/// Let rustls take all that it can from `cipher`.
fn absorb<E: Process>(engine: &mut E, cipher: &mut [u8], plain: &mut Vec<u8>, outgoing: &mut Vec<u8>) -> Absorbed {
    let mut consumed = 0;
    let mut write_now = false;
    let end = loop {
        let UnbufferedStatus { mut discard, state } = engine.process(&mut cipher[consumed..]);
        let mut encoded = false;
        let end = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    Some(Err(error)) => break Some(Err(error)),
                    None => break None,
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                encode(&mut message, outgoing);
                encoded = true;
                None
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                None
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(true)),
            // Our configurations offer no early data, so rustls has none to give.
            Ok(ConnectionState::ReadEarlyData(_)) => Some(Err(Error::HandshakeNotComplete)),
            Ok(_) => Some(Ok(false)),
            Err(error) => Some(Err(error)),
        };
        let waits = E::LAST_FLIGHT_WAITS && is_established_13(engine.common());
        write_now |= encoded && !waits;
        consumed += discard;
        if let Some(end) = end {
            break end;
        }
    };
    if end.is_err() {
        drain(engine, outgoing);
    }
    Absorbed { consumed, write_now, end }
}

fn is_established_13(common: &CommonState) -> bool {
    common.protocol_version() == Some(ProtocolVersion::TLSv1_3) && !common.is_handshaking()
}

/// Take what rustls has ready to send. It is asked only while it has, so it never looks at ciphertext: after an error
/// it would find the same fault again and raise a second alert.
fn drain<E: Process>(engine: &mut E, outgoing: &mut Vec<u8>) {
    while engine.common().wants_write() {
        match engine.process(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, outgoing),
            _ => break,
        }
    }
}

/// Bring rustls to the state where it can write, and do so.
///
/// rustls looks at the ciphertext first, from the offset where it left off: a slice shorter than that would panic.
/// The bytes themselves it has seen, and an incomplete message is not read again, so zeros do.
fn write<E: Process, R>(
    engine: &mut E,
    held: usize,
    cipher: &mut Vec<u8>,
    then: impl FnOnce(&mut WriteTraffic<'_, E::Data>, &mut Vec<u8>) -> R,
) -> Result<R, TlsFault> {
    let mut seen = vec![0; held];
    loop {
        match engine.process(&mut seen).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => return Ok(then(&mut traffic, cipher)),
            Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, cipher),
            Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::Closed) => return Err(TlsFault::Closed),
            Ok(_) => return Err(TlsFault::NotReady),
            Err(error) => return Err(TlsFault::from_rustls(&error, Stage::Established)),
        }
    }
}

/// Full records are sealed where they lie; what spans parts is gathered first, because rustls seals one slice at a
/// time and a record costs a tag, a header and a pass of its own.
fn encrypt_parts<D>(traffic: &mut WriteTraffic<'_, D>, parts: &[&[u8]], cipher: &mut Vec<u8>) -> Result<(), TlsFault> {
    if let [whole] = parts {
        return encrypt(traffic, whole, cipher);
    }
    let total: usize = parts.iter().map(|part| part.len()).sum();
    cipher.reserve(sealed_len_max(total));
    let mut gathered = Vec::with_capacity(total.min(RECORD_PLAIN_MAX));
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if gathered.is_empty() && rest.len() >= RECORD_PLAIN_MAX {
                let (full, behind) = rest.split_at(RECORD_PLAIN_MAX);
                encrypt(traffic, full, cipher)?;
                rest = behind;
                continue;
            }
            let (fits, behind) = rest.split_at(rest.len().min(RECORD_PLAIN_MAX - gathered.len()));
            gathered.extend_from_slice(fits);
            rest = behind;
            if gathered.len() == RECORD_PLAIN_MAX {
                encrypt(traffic, &gathered, cipher)?;
                gathered.clear();
            }
        }
    }
    encrypt(traffic, &gathered, cipher)
}

fn encrypt<D>(traffic: &mut WriteTraffic<'_, D>, plain: &[u8], cipher: &mut Vec<u8>) -> Result<(), TlsFault> {
    if plain.is_empty() {
        return Ok(());
    }
    append(cipher, sealed_len_max(plain.len()), |room| traffic.encrypt(plain, room))
}

fn encrypt_close<D>(traffic: &mut WriteTraffic<'_, D>, cipher: &mut Vec<u8>) -> Result<(), TlsFault> {
    append(cipher, sealed_len_max(ALERT_BYTES), |room| traffic.queue_close_notify(room))
}

/// A key update that rides along may need more room than was offered: rustls then says how much and has done nothing.
fn append(
    cipher: &mut Vec<u8>,
    mut room: usize,
    mut seal: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsFault> {
    let start = cipher.len();
    loop {
        cipher.resize(start + room, 0);
        match seal(&mut cipher[start..]) {
            Ok(written) => {
                cipher.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(lacking)) if lacking.required_size > room => {
                room = lacking.required_size
            }
            Err(_) => {
                cipher.truncate(start);
                return Err(TlsFault::Exhausted);
            }
        }
    }
}

fn encode<D>(message: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) {
    // rustls tells the size of a message only by refusing to write it into too little.
    let size = match message.encode(&mut []) {
        Err(EncodeError::InsufficientSize(lacking)) => lacking.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return,
    };
    let start = outgoing.len();
    outgoing.resize(start + size, 0);
    let written = message.encode(&mut outgoing[start..]).unwrap_or(0);
    outgoing.truncate(start + written);
}

/// Level and description.
const ALERT_BYTES: usize = 2;

/// The same words for either side's engine.
macro_rules! with_engine {
    ($session:expr, $engine:ident => $body:expr) => {
        match &mut $session.engine {
            Engine::Server(server) => {
                let $engine = &mut ***server;
                $body
            }
            Engine::Client(client) => {
                let $engine = &mut ***client;
                $body
            }
        }
    };
}
use with_engine;
