//! The caller's side of HTTP/1.1: an incremental reader of answers that never copies a body, and a small blocking client
//! for tests and set-up.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Reads one answer; `reset` makes it ready for the next.
#[derive(Default)]
pub struct Reader {
    state: State,
    /// An unfinished head or chunk line; empty as long as lines arrive whole.
    held: Vec<u8>,
    pub status: u16,
    pub close: bool,
    pub headers: Vec<(String, String)>,
    /// Keep the headers (tests do, load does not).
    pub keep_headers: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length(u64),
    ChunkLine,
    Chunk(u64),
    ChunkEnd(u8),
    Trailer,
    UntilClose,
    Done,
}

impl Reader {
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// The head has been read.
    pub fn begun(&self) -> bool {
        self.state != State::Head
    }

    pub fn reset(&mut self) {
        self.state = State::Head;
        self.held.clear();
        self.headers.clear();
        self.status = 0;
        self.close = false;
    }

    /// Hands the body to `body` piece by piece and says how many bytes belonged to this answer.
    pub fn feed(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<usize, &'static str> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.state {
                State::Done => return Ok(at),
                _ if rest.is_empty() => return Ok(at),
                State::Head => at += self.head(rest)?,
                State::Length(left) => {
                    let count = left.min(rest.len() as u64);
                    body(&rest[..count as usize]);
                    at += count as usize;
                    self.state = if count == left { State::Done } else { State::Length(left - count) };
                }
                State::UntilClose => {
                    body(rest);
                    at = bytes.len();
                }
                State::Chunk(left) => {
                    let count = left.min(rest.len() as u64);
                    body(&rest[..count as usize]);
                    at += count as usize;
                    self.state = if count == left { State::ChunkEnd(2) } else { State::Chunk(left - count) };
                }
                State::ChunkEnd(left) => {
                    if rest[0] != if left == 2 { b'\r' } else { b'\n' } {
                        return Err("a chunk longer than it says");
                    }
                    at += 1;
                    self.state = if left == 2 { State::ChunkEnd(1) } else { State::ChunkLine };
                }
                State::ChunkLine | State::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.hold(rest, LINE_BYTES_MAX)?;
                        return Ok(bytes.len());
                    };
                    let whole;
                    let line = if self.held.is_empty() {
                        &rest[..end]
                    } else {
                        self.hold(&rest[..end], LINE_BYTES_MAX)?;
                        whole = std::mem::take(&mut self.held);
                        &whole
                    };
                    let line = line.strip_suffix(b"\r").ok_or("a line that ends without CR")?;
                    at += end + 1;
                    self.state = match self.state {
                        State::Trailer if line.is_empty() => State::Done,
                        State::Trailer => State::Trailer,
                        _ => match chunk_size(line)? {
                            0 => State::Trailer,
                            size => State::Chunk(size),
                        },
                    };
                }
            }
        }
    }

    /// The peer has closed: an answer that its end delimits is whole now; any other is cut.
    pub fn closed(&mut self) -> Result<(), &'static str> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            State::Head if self.held.is_empty() => Err("closed before an answer"),
            State::Head => Err("closed in the head"),
            _ => Err("closed in the body"),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let held = self.held.len();
        let whole;
        let text = if held == 0 {
            bytes
        } else {
            self.hold(bytes, HEAD_BYTES_MAX + bytes.len())?;
            whole = std::mem::take(&mut self.held);
            &whole
        };
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(text) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if text.len() > HEAD_BYTES_MAX => return Err("a head without end"),
            Ok(httparse::Status::Partial) => {
                self.held = text.to_vec();
                return Ok(bytes.len());
            }
            Err(_) => return Err("not an HTTP head"),
        };
        let status = parsed.code.unwrap_or(0);
        if (100..200).contains(&status) {
            return Ok(length - held);
        }
        self.status = status;
        let (mut size, mut chunked) = (None, false);
        self.close = parsed.version == Some(0);
        for field in parsed.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                let told = std::str::from_utf8(field.value)
                    .ok()
                    .and_then(|v| v.trim().parse::<u64>().ok())
                    .ok_or("a length that is none")?;
                if size.is_some_and(|known| known != told) {
                    return Err("two lengths");
                }
                size = Some(told);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = field.value.eq_ignore_ascii_case(b"chunked");
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.close |= field.value.eq_ignore_ascii_case(b"close");
            }
            if self.keep_headers {
                self.headers.push((field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned()));
            }
        }
        self.state = match (status, chunked, size) {
            (204 | 304, ..) => State::Done,
            (_, true, Some(_)) => return Err("a length beside chunks"),
            (_, true, None) => State::ChunkLine,
            (_, false, Some(0)) => State::Done,
            (_, false, Some(size)) => State::Length(size),
            (_, false, None) => {
                self.close = true;
                State::UntilClose
            }
        };
        Ok(length - held)
    }

    fn hold(&mut self, bytes: &[u8], max: usize) -> Result<(), &'static str> {
        if self.held.len() + bytes.len() > max {
            return Err("a line without end");
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    if digits.is_empty() || digits.len() > 15 {
        return Err("a chunk size that is none");
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = (*digit as char).to_digit(16).ok_or("a chunk size that is none")?;
        Ok(sum << 4 | u64::from(digit))
    })
}

/// An answer, whole or not.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Why the answer is not whole.
    pub broken: Option<String>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A TCP connection, or TLS over one, that blocks: for tests and for setting things up.
pub enum Link {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Link {
    pub fn open(address: SocketAddr, tls: Option<&Arc<rustls::ClientConfig>>, patience: Duration) -> io::Result<Link> {
        let socket = TcpStream::connect_timeout(&address, patience)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(match tls {
            None => Link::Plain(socket),
            Some(config) => {
                let name = rustls::pki_types::ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = rustls::ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Link::Tls(Box::new(rustls::StreamOwned::new(session, socket)))
            }
        })
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.read(buffer),
            Link::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.write(bytes),
            Link::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(socket) => socket.flush(),
            Link::Tls(stream) => stream.flush(),
        }
    }
}

/// Sends one request on a new connection and reads the answer as far as it goes.
pub fn fetch(
    address: SocketAddr,
    tls: Option<&Arc<rustls::ClientConfig>>,
    request: &[u8],
    patience: Duration,
) -> io::Result<Answer> {
    let mut link = Link::open(address, tls, patience)?;
    link.write_all(request)?;
    link.flush()?;
    Ok(receive(&mut link))
}

/// Reads one answer from a connection.
pub fn receive(link: &mut Link) -> Answer {
    let mut reader = Reader { keep_headers: true, ..Reader::default() };
    let mut answer = Answer::default();
    let mut buffer = vec![0; 64 << 10];
    while !reader.done() && answer.broken.is_none() {
        let outcome = match link.read(&mut buffer) {
            Ok(0) => reader.closed(),
            Ok(count) => reader.feed(&buffer[..count], |piece| answer.body.extend_from_slice(piece)).map(|_| ()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => {
                answer.broken = Some(e.kind().to_string());
                break;
            }
        };
        if let Err(why) = outcome {
            answer.broken = Some(why.to_owned());
        }
    }
    answer.status = reader.status;
    answer.headers = reader.headers;
    answer
}

/// `METHOD target` with these headers and this body, ready to send.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    text += "\r\n";
    [text.as_bytes(), body].concat()
}

/// A client that trusts the authorities in this file and nobody else.
pub fn trusting(ca: &Path) -> io::Result<Arc<rustls::ClientConfig>> {
    trusting_pem(&std::fs::read(ca)?)
}

pub fn trusting_pem(pem: &[u8]) -> io::Result<Arc<rustls::ClientConfig>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

const FIELDS_MAX: usize = 128;
/// Larger than the heads that a fault of the vendor makes and a gateway must refuse.
const HEAD_BYTES_MAX: usize = 128 << 10;
const LINE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], cut: usize) -> Result<(u16, Vec<u8>, bool), &'static str> {
        let mut reader = Reader::default();
        let mut body = Vec::new();
        let mut left = bytes;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            let used = reader.feed(piece, |part| body.extend_from_slice(part))?;
            left = &left[used..];
        }
        if !reader.done() {
            reader.closed()?;
        }
        Ok((reader.status, body, left.is_empty()))
    }

    #[test]
    fn any_cut_gives_the_same_answer() {
        let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx: y\r\n\r\n";
        for cut in 0..=chunked.len() {
            assert_eq!(read(chunked, cut), Ok((200, b"abc0123456789".to_vec(), true)), "cut at {cut}");
        }
        let plain = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nbody";
        for cut in 0..=plain.len() {
            assert_eq!(read(plain, cut), Ok((404, b"body".to_vec(), true)), "cut at {cut}");
        }
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 3), Ok((200, b"until the end".to_vec(), true)));
    }

    #[test]
    fn what_is_cut_or_wrong_is_said() {
        for (bytes, why) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"[..], "closed in the body"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd", "a chunk longer than it says"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "closed in the body"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a chunk size that is none"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", "two lengths"),
            (b"", "closed before an answer"),
            (b"HTTP/1.1 2", "closed in the head"),
        ] {
            assert_eq!(read(bytes, 0), Err(why));
        }
    }
}
