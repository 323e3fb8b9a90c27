//! A caller's connection that writes exact bytes and reads exact bytes, with a deadline on everything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use weirbench::http::Reader;

use crate::answer::Answer;
use crate::clock;

/// Nothing that a test waits for takes longer, unless it says so.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Wire {
    pub socket: TcpStream,
    /// Read and not yet understood: the next answer.
    held: Vec<u8>,
}

impl Wire {
    pub fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway accepts connections");
        socket.set_nodelay(true).expect("a TCP socket");
        Self { socket, held: Vec::new() }
    }

    /// False when the peer does not take it any more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.set_write_timeout(Some(PATIENCE)).expect("a legal timeout");
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    pub fn answer(&mut self) -> Answer {
        self.answer_within(PATIENCE, false)
    }

    /// The answer to a `HEAD`: its length describes a body that does not come.
    pub fn head_answer(&mut self) -> Answer {
        self.answer_within(PATIENCE, true)
    }

    pub fn answer_within(&mut self, patience: Duration, to_head: bool) -> Answer {
        let until = clock::now() + patience;
        let mut reader = Reader::default();
        reader.keep_headers = true;
        let mut answer = Answer::default();
        while !(reader.done() || to_head && reader.begun()) {
            if self.held.is_empty() {
                match self.read_more(until) {
                    Ok(true) => {}
                    Ok(false) => {
                        answer.broken = reader.closed().err().map(str::to_owned);
                        break;
                    }
                    Err(why) => {
                        answer.broken = Some(why);
                        break;
                    }
                }
            }
            match reader.feed(&self.held, |piece| answer.body.extend_from_slice(piece)) {
                Ok(used) => drop(self.held.drain(..used)),
                Err(why) => {
                    answer.broken = Some(why.to_owned());
                    break;
                }
            }
        }
        (answer.status, answer.headers) = (reader.status, reader.headers);
        answer
    }

    /// All bytes until these are among them.
    pub fn until(&mut self, needle: &[u8]) -> Vec<u8> {
        let until = clock::now() + PATIENCE;
        let found = |held: &[u8]| held.windows(needle.len()).any(|window| window == needle);
        while !found(&self.held) {
            match self.read_more(until) {
                Ok(true) => {}
                other => panic!("{other:?} before {:?}: {}", String::from_utf8_lossy(needle), self.shown()),
            }
        }
        std::mem::take(&mut self.held)
    }

    /// Everything until the peer closes.
    pub fn rest(&mut self, patience: Duration) -> Result<Vec<u8>, String> {
        let until = clock::now() + patience;
        loop {
            match self.read_more(until) {
                Ok(true) => {}
                Ok(false) => return Ok(std::mem::take(&mut self.held)),
                Err(why) => return Err(format!("{why}; so far: {}", self.shown())),
            }
        }
    }

    /// The peer closes within this time, with nothing more to say.
    pub fn closes_within(&mut self, patience: Duration) -> bool {
        self.held.is_empty() && matches!(self.read_more(clock::now() + patience), Ok(false))
    }

    /// Nothing comes within this time.
    pub fn is_silent_for(&mut self, span: Duration) -> bool {
        self.held.is_empty() && matches!(self.read_more(clock::now() + span), Err(why) if why == TIMEOUT)
    }

    /// Closes the sending side only.
    pub fn half_close(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Closes with an RST.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// `Ok(false)`: closed, in whatever way.
    fn read_more(&mut self, until: Instant) -> Result<bool, String> {
        let mut buffer = [0; 64 << 10];
        loop {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(TIMEOUT.into());
            }
            self.socket.set_read_timeout(Some(left)).expect("a legal timeout");
            return match self.socket.read(&mut buffer) {
                Ok(0) => Ok(false),
                Ok(count) => {
                    self.held.extend_from_slice(&buffer[..count]);
                    Ok(true)
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(TIMEOUT.into()),
                    _ => Ok(false),
                },
            };
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.held).chars().take(2_000).collect()
    }
}

const TIMEOUT: &str = "timed out";
