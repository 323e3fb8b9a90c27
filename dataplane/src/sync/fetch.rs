//! One POST to a token's server: one connection, one answer, all of it bounded.
//!
//! A client library would bring its own redirects, proxies, pools and resolver, each with rules that differ from those
//! by which vendors are reached. What is asked for once an hour needs none of them: the codecs of the data plane over a
//! socket of tokio's are enough, and the rules stay the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_shared::catalog::BaseUrl;

use crate::live::is_internal;
use crate::tls::Session;
use crate::wire::chunked::Decoder;
use crate::wire::http1::{self, Framing};

/// Who is asked, and by which way.
pub struct Way<'w> {
    pub url: &'w BaseUrl,
    pub config: Arc<ClientConfig>,
    pub proxy: Option<&'w BaseUrl>,
    /// Of the URL's host, or of the proxy's.
    pub addresses: Arc<[IpAddr]>,
    /// Loopback and private addresses are allowed.
    pub internal: bool,
}

/// Status and body. Errors name no secret, and nothing that the server said.
pub async fn post_form(way: Way<'_>, form: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    match tokio::time::timeout(TIME_MAX, exchange(&way, form)).await {
        Ok(answered) => answered,
        Err(_) => Err("it does not answer in time"),
    }
}

/// From the first packet to the last byte.
const TIME_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: usize = 64 << 10;

async fn exchange(way: &Way<'_>, form: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    let mut stream = connect(way).await?;
    if way.proxy.is_some() {
        tunnel(&mut stream, way.url).await?;
    }
    let mut link = Link { stream, tls: None, cipher: Vec::new() };
    if way.url.tls {
        let name =
            ServerName::try_from(way.url.host.to_string()).map_err(|_| "its host is no name of a certificate")?;
        link.start_tls(Arc::clone(&way.config), name).await?;
    }
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: weir/{}\r\naccept: application/json\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        if way.url.path.is_empty() { "/" } else { &way.url.path },
        way.url.authority,
        env!("CARGO_PKG_VERSION"),
        form.len(),
    )
    .into_bytes();
    request.extend_from_slice(form);
    link.write(&request).await?;
    read_answer(&mut link).await
}

async fn connect(way: &Way<'_>) -> Result<TcpStream, &'static str> {
    let port = way.proxy.unwrap_or(way.url).port;
    if way.addresses.is_empty() {
        return Err("its name has no address");
    }
    // The rule for vendors: what a name resolves to is judged by the address itself.
    let allowed = |address: &&IpAddr| way.internal || way.proxy.is_some() || !is_internal(**address);
    let mut failed = "its addresses are internal, and the vendor is not";
    for address in way.addresses.iter().filter(allowed) {
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) | Err(_) => failed = "it cannot be connected to",
        }
    }
    Err(failed)
}

async fn tunnel(stream: &mut TcpStream, url: &BaseUrl) -> Result<(), &'static str> {
    const FAILED: &str = "the proxy opens no way to it";
    let bracketed = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.to_string() };
    let ask = format!("CONNECT {bracketed}:{0} HTTP/1.1\r\nHost: {bracketed}:{0}\r\n\r\n", url.port);
    stream.write_all(ask.as_bytes()).await.map_err(|_| FAILED)?;
    let mut answer = Vec::with_capacity(4 << 10);
    let mut progress = http1::Progress::default();
    while answer.len() < answer.capacity() {
        if stream.read_buf(&mut answer).await.map_err(|_| FAILED)? == 0 {
            break;
        }
        match http1::answer(&answer, &mut progress, true) {
            Ok(Some(head)) if (200..300).contains(&head.status) && head.bytes == answer.len() => return Ok(()),
            Ok(None) => {}
            _ => break,
        }
    }
    Err(FAILED)
}

async fn read_answer(link: &mut Link) -> Result<(u16, Vec<u8>), &'static str> {
    const BROKEN: &str = "its answer breaks off, or is no HTTP";
    let mut bytes = Vec::with_capacity(4 << 10);
    let mut progress = http1::Progress::default();
    let head = loop {
        match http1::answer(&bytes, &mut progress, false) {
            Ok(Some(head)) => break head,
            Ok(None) if bytes.len() <= ANSWER_BYTES_MAX && link.read(&mut bytes).await? > 0 => {}
            _ => return Err(BROKEN),
        }
    };
    let mut body = bytes.split_off(head.bytes);
    let mut decoder = Decoder::default();
    let mut decoded = 0;
    loop {
        match head.framing {
            Framing::None => return Ok((head.status, Vec::new())),
            Framing::Sized(length) if body.len() as u64 >= length => {
                body.truncate(length as usize);
                return Ok((head.status, body));
            }
            Framing::Chunked => {
                let found = decoder.decode(&mut body[decoded..]).map_err(|_| BROKEN)?;
                decoded += found.payload;
                body.truncate(decoded);
                if found.done {
                    return Ok((head.status, body));
                }
            }
            _ => {}
        }
        if body.len() > ANSWER_BYTES_MAX {
            return Err("its answer is larger than 64 KiB");
        }
        if link.read(&mut body).await? == 0 {
            return if head.framing == Framing::UntilClose { Ok((head.status, body)) } else { Err(BROKEN) };
        }
    }
}

/// A connection that may or may not be encrypted.
struct Link {
    stream: TcpStream,
    tls: Option<Session>,
    cipher: Vec<u8>,
}

impl Link {
    async fn start_tls(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<(), &'static str> {
        self.tls = Some(Session::client(config, name).map_err(|fault| fault.reason())?);
        let mut early = Vec::new();
        loop {
            self.flush().await?;
            if self.tls.as_ref().is_some_and(Session::is_ready) {
                return Ok(());
            }
            if self.read_some(&mut early).await? == 0 {
                return Err("it ends the TLS handshake");
            }
        }
    }

    async fn write(&mut self, plain: &[u8]) -> Result<(), &'static str> {
        let mut sealed = Vec::new();
        let bytes = match &mut self.tls {
            None => plain,
            Some(session) => {
                session.seal(plain, &mut sealed).map_err(|fault| fault.reason())?;
                &sealed
            }
        };
        self.stream.write_all(bytes).await.map_err(|_| "it cannot be written to")
    }

    async fn flush(&mut self) -> Result<(), &'static str> {
        let mut out = Vec::new();
        if let Some(session) = &mut self.tls {
            session.pending(&mut out);
        }
        self.stream.write_all(&out).await.map_err(|_| "it cannot be written to")
    }

    /// Appends what comes; 0 is the end.
    async fn read(&mut self, plain: &mut Vec<u8>) -> Result<usize, &'static str> {
        loop {
            let before = plain.len();
            let ended = self.read_some(plain).await? == 0;
            if plain.len() > before || ended {
                return Ok(plain.len() - before);
            }
        }
    }

    /// One read from the socket; 0 is its end, and bytes that held no plaintext are some.
    async fn read_some(&mut self, plain: &mut Vec<u8>) -> Result<usize, &'static str> {
        const FAILED: &str = "it cannot be read from";
        let Some(session) = &mut self.tls else {
            plain.reserve(READ_BYTES);
            return self.stream.read_buf(plain).await.map_err(|_| FAILED);
        };
        self.cipher.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.cipher).await.map_err(|_| FAILED)?;
        if count == 0 {
            return session.end_of_file().map(|()| 0).map_err(|fault| fault.reason());
        }
        let fed = session.feed(&mut self.cipher, plain).map_err(|fault| fault.reason())?;
        self.cipher.drain(..fed.consumed);
        Ok(if fed.peer_closed { 0 } else { count })
    }
}

/// A whole record has room.
const READ_BYTES: usize = crate::tls::RECORD_BYTES_MAX;
