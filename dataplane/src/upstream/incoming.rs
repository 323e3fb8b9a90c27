//! The body of a vendor's answer, without its framing.

use super::{Failure, VendorLink};
use crate::buffer;
use crate::link::LinkFault;
use crate::tls::TlsFault;
use crate::wire::chunked::Decoder;
use crate::wire::http1::Framing;

pub struct Incoming {
    link: Option<VendorLink>,
    framing: Framing,
    /// Of a body of known length.
    left: u64,
    decoder: Decoder,
    /// What was read together with the head, or was given back.
    behind_head: Vec<u8>,
    /// It was given back, without its framing.
    unread: bool,
    done: bool,
    reusable: bool,
}

impl Incoming {
    /// On the heap: it is handed on from stage to stage, and each would move it and keep its place.
    pub fn new(link: VendorLink, framing: Framing, behind_head: Vec<u8>, reusable: bool) -> Box<Self> {
        let left = if let Framing::Sized(length) = framing { length } else { 0 };
        let done = framing == Framing::None;
        // Something behind an answer without a body poisons the connection.
        let reusable = reusable && (!done || behind_head.is_empty());
        let behind_head = if behind_head.is_empty() {
            buffer::give_back(behind_head);
            Vec::new()
        } else {
            behind_head
        };
        Box::new(Self {
            link: Some(link),
            framing,
            left,
            decoder: Decoder::default(),
            behind_head,
            unread: false,
            done,
            reusable,
        })
    }

    /// In the place of one that was taken out already.
    pub fn nothing() -> Box<Self> {
        Box::new(Self {
            link: None,
            framing: Framing::None,
            left: 0,
            decoder: Decoder::default(),
            behind_head: Vec::new(),
            unread: false,
            done: true,
            reusable: false,
        })
    }

    pub fn is_done(&self) -> bool {
        self.done && !self.unread
    }

    /// What was read of the body is read again by whoever comes next.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.behind_head.is_empty(), "what follows was not read yet");
        self.unread = !bytes.is_empty();
        self.behind_head = bytes;
    }

    pub fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Sized(length) => Some(length),
            Framing::None => Some(0),
            _ => None,
        }
    }

    pub fn link(&self) -> Option<&VendorLink> {
        self.link.as_ref()
    }

    /// Appends what comes next. 0 at the end of the body; an end that comes too early is a failure.
    ///
    /// Must not be dropped while it runs, see `socket`.
    pub async fn more(&mut self, mut buffer: Vec<u8>) -> (Result<usize, Failure>, Vec<u8>) {
        loop {
            if self.is_done() {
                return (Ok(0), buffer);
            }
            let from = buffer.len();
            let is_plain = std::mem::take(&mut self.unread);
            if !self.behind_head.is_empty() {
                let mut arrived = std::mem::take(&mut self.behind_head);
                if buffer.is_empty() {
                    std::mem::swap(&mut buffer, &mut arrived);
                } else {
                    buffer.append(&mut arrived);
                }
                buffer::give_back(arrived);
            } else {
                let Some(link) = &mut self.link else { return (Err(Failure::Cut), buffer) };
                if buffer.capacity() - buffer.len() < ROOM_MIN {
                    buffer.reserve(buffer::LARGE);
                }
                let (read, filled) = link.link.read(buffer).await;
                buffer = filled;
                if let Some(why) = link.deadline.fired() {
                    // What came in the same moment still counts, without its framing.
                    if self.unframe(&mut buffer, from).is_err() {
                        buffer.truncate(from);
                    }
                    return (Err(Failure::TimedOut(why)), buffer);
                }
                match read {
                    Ok(0) if self.framing == Framing::UntilClose => {
                        self.done = true;
                        return (Ok(0), buffer);
                    }
                    Ok(0) => return (Err(Failure::Cut), buffer),
                    Ok(_) => {}
                    Err(LinkFault::Tls(TlsFault::Truncated) | LinkFault::Io(_)) => return (Err(Failure::Cut), buffer),
                    Err(LinkFault::Tls(fault)) => return (Err(Failure::Tls(fault)), buffer),
                }
            }
            if is_plain {
                return (Ok(buffer.len() - from), buffer);
            }
            match self.unframe(&mut buffer, from) {
                Ok(0) if !self.done => {}
                result => return (result, buffer),
            }
        }
    }

    /// Takes the framing out of what was appended from `from` on.
    fn unframe(&mut self, buffer: &mut Vec<u8>, from: usize) -> Result<usize, Failure> {
        let arrived = buffer.len() - from;
        match self.framing {
            Framing::UntilClose => Ok(arrived),
            Framing::None => Ok(0),
            Framing::Sized(_) => {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(arrived);
                self.left -= take as u64;
                self.done = self.left == 0;
                self.reusable &= take == arrived;
                buffer.truncate(from + take);
                Ok(take)
            }
            Framing::Chunked => {
                let Ok(decoded) = self.decoder.decode(&mut buffer[from..]) else {
                    buffer.truncate(from + self.decoder.good());
                    return Err(Failure::Broken);
                };
                self.done = decoded.done;
                self.reusable &= decoded.consumed == arrived;
                buffer.truncate(from + decoded.payload);
                Ok(decoded.payload)
            }
        }
    }

    /// The connection, when another request may follow on it.
    pub fn take_reusable(&mut self) -> Option<VendorLink> {
        if self.is_done() && self.reusable { self.link.take() } else { None }
    }

    /// Whatever the vendor still says is not for anybody.
    pub fn poison(&mut self) {
        self.reusable = false;
    }

    /// Ends the connection now: the vendor stops working for a caller who has gone.
    pub fn cut(&mut self) {
        if let Some(link) = self.link.take() {
            link.link.socket.shut();
        }
    }

    /// Whether the vendor's last chunk is all that is missing, and whether it is there already.
    pub fn drain_now(&mut self) {
        if self.done || !self.behind_head.is_empty() {
            return;
        }
        let Some(link) = &mut self.link else { return };
        let mut buffer = buffer::small();
        if let Ok(Some(count)) = link.link.read_now(&mut buffer)
            && count > 0
            && !matches!(self.unframe(&mut buffer, 0), Ok(0))
        {
            self.reusable = false;
        }
        buffer::give_back(buffer);
    }
}

/// Smaller reads cost a system call each for little.
const ROOM_MIN: usize = 1 << 10;
