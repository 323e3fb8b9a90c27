//! One caller's connection: connects, sends, reads one answer at a time and scans it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::target::Target;
use crate::clock::Moment;
use crate::http::Reader;

pub struct Conn {
    socket: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
    connected: bool,
    request: Arc<[u8]>,
    sent: usize,
    pub reader: Reader,
    pub busy: bool,
    /// When this request should have begun.
    pub due: Moment,
    /// When it did begin.
    pub began: Moment,
    pub first_event: Option<Moment>,
    pub heard: Moment,
    pub answered: u64,
    pub events: u64,
    pub bytes: u64,
    event_end: Needle,
    end: Needle,
    pub ended: bool,
    pub body: Vec<u8>,
    keep_body: bool,
}

/// What a step came to.
pub enum Step {
    Going,
    Answered,
    /// Whole, and with another status than 200.
    Refused(u16),
    Failed(String),
}

impl Conn {
    pub fn open(target: &Target, judge: bool) -> io::Result<Conn> {
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.address.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        let tls = match &target.tls {
            Some((config, name)) => {
                Some(Box::new(rustls::ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?))
            }
            None => None,
        };
        Ok(Conn {
            socket: socket.into(),
            tls,
            connected: false,
            request: target.request.clone(),
            sent: 0,
            reader: Reader::default(),
            busy: false,
            due: Moment::default(),
            began: Moment::default(),
            first_event: None,
            heard: Moment::now(),
            answered: 0,
            events: 0,
            bytes: 0,
            event_end: Needle::new(target.dialect.event_end()),
            end: Needle::new(target.dialect.end_marker()),
            ended: false,
            body: Vec::new(),
            keep_body: judge,
        })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn begin(&mut self, due: Moment, now: Moment) -> Step {
        self.busy = true;
        self.due = due;
        self.began = Moment::now();
        self.heard = now;
        self.first_event = None;
        self.sent = 0;
        self.ended = false;
        self.body.clear();
        self.reader.reset();
        self.event_end.reset();
        self.end.reset();
        if self.connected { self.send() } else { Step::Going }
    }

    /// The socket has room, or the connection has been made.
    pub fn writable(&mut self) -> Step {
        if !self.connected {
            match self.socket.take_error() {
                Ok(None) => self.connected = true,
                Ok(Some(e)) | Err(e) => return Step::Failed(format!("connect: {}", e.kind())),
            }
        }
        if self.busy { self.send() } else { Step::Going }
    }

    fn send(&mut self) -> Step {
        if let Some(tls) = &mut self.tls {
            if self.sent < self.request.len() {
                match tls.writer().write(&self.request[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(e) => return Step::Failed(format!("write: {}", e.kind())),
                }
            }
            return match flush(tls, &self.socket) {
                Ok(()) => Step::Going,
                Err(e) => Step::Failed(format!("write: {}", e.kind())),
            };
        }
        while self.sent < self.request.len() {
            match (&self.socket).write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Step::Failed(format!("write: {}", e.kind())),
            }
        }
        Step::Going
    }

    /// Reads what is there. `ending`: the peer has closed, so read until it says so.
    pub fn readable(&mut self, scratch: &mut [u8], ending: bool, stream: bool, now: Moment) -> Step {
        loop {
            let count = match self.read(scratch) {
                Ok(None) => return Step::Going,
                Ok(Some(0)) => {
                    return match self.busy {
                        true => match self.reader.closed() {
                            Ok(()) => self.judge_end(stream),
                            Err(why) => Step::Failed(why.to_owned()),
                        },
                        false => Step::Failed("closed while idle".to_owned()),
                    };
                }
                Ok(Some(count)) => count,
                Err(e) => return Step::Failed(format!("read: {}", e.kind())),
            };
            self.heard = now;
            self.bytes += count as u64;
            let (event_end, end, body) = (&mut self.event_end, &mut self.end, &mut self.body);
            let (mut events, mut ended) = (0, self.ended);
            let keep = self.keep_body;
            let fed = self.reader.feed(&scratch[..count], |piece| {
                if stream {
                    events += event_end.count(piece);
                    ended |= end.count(piece) > 0;
                }
                if keep {
                    body.extend_from_slice(piece);
                }
            });
            self.events += events;
            self.ended = ended;
            if events > 0 && self.first_event.is_none() {
                self.first_event = Some(Moment::now());
            }
            match fed {
                Err(why) => return Step::Failed(why.to_owned()),
                Ok(used) if used < count => return Step::Failed("bytes behind the answer".to_owned()),
                Ok(_) if self.reader.done() && self.busy => return self.judge_end(stream),
                Ok(_) => {}
            }
            if self.tls.is_none() && count < scratch.len() && !ending {
                return Step::Going;
            }
        }
    }

    fn judge_end(&mut self, stream: bool) -> Step {
        self.busy = false;
        self.answered += 1;
        if self.reader.status != 200 {
            return Step::Refused(self.reader.status);
        }
        if stream && !self.ended { Step::Failed("no legal end".to_owned()) } else { Step::Answered }
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return match (&self.socket).read(scratch) {
                Ok(count) => Ok(Some(count)),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
                Err(e) => Err(e),
            };
        };
        loop {
            match tls.reader().read(scratch) {
                Ok(count) => return Ok(Some(count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            match tls.read_tls(&mut &self.socket) {
                Ok(0) => return Ok(Some(0)),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
            let outcome = tls.process_new_packets();
            flush(tls, &self.socket)?;
            outcome.map_err(io::Error::other)?;
        }
    }
}

fn flush(tls: &mut rustls::ClientConnection, mut socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut socket) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Counts a text in pieces of a stream, also where a piece ends in the middle of it.
struct Needle {
    text: &'static [u8],
    finder: memchr::memmem::Finder<'static>,
    tail: [u8; NEEDLE_BYTES_MAX],
    tail_len: usize,
}

impl Needle {
    fn new(text: &'static [u8]) -> Needle {
        debug_assert!(text.len() <= NEEDLE_BYTES_MAX);
        Needle { text, finder: memchr::memmem::Finder::new(text), tail: [0; NEEDLE_BYTES_MAX], tail_len: 0 }
    }

    fn reset(&mut self) {
        self.tail_len = 0;
    }

    fn count(&mut self, piece: &[u8]) -> u64 {
        let keep = self.text.len() - 1;
        let mut found = 0;
        if self.tail_len > 0 {
            let mut seam = [0u8; 2 * NEEDLE_BYTES_MAX];
            let head = piece.len().min(keep);
            seam[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
            seam[self.tail_len..self.tail_len + head].copy_from_slice(&piece[..head]);
            found += u64::from(self.finder.find(&seam[..self.tail_len + head]).is_some());
        }
        found += self.finder.find_iter(piece).count() as u64;
        if piece.len() >= keep {
            self.tail[..keep].copy_from_slice(&piece[piece.len() - keep..]);
            self.tail_len = keep;
        } else {
            let drop = (self.tail_len + piece.len()).saturating_sub(keep);
            self.tail.copy_within(drop..self.tail_len, 0);
            let kept = self.tail_len - drop;
            self.tail[kept..kept + piece.len()].copy_from_slice(piece);
            self.tail_len = kept + piece.len();
        }
        found
    }
}

/// The longest end marker.
const NEEDLE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_counted_across_every_cut() {
        let text = b"data: a\n\ndata: b\n\ndata: [DONE]\n\n";
        for first in 0..text.len() {
            for second in first..text.len() {
                let (mut ends, mut done) = (Needle::new(b"\n\n"), Needle::new(b"data: [DONE]"));
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let sum = |needle: &mut Needle| pieces.iter().map(|piece| needle.count(piece)).sum::<u64>();
                assert_eq!((sum(&mut ends), sum(&mut done)), (3, 1), "{first} {second}");
            }
        }
    }
}
