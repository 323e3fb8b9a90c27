//! Opening a connection to a vendor: addresses that the resolver gave, both families, through a proxy if there is one.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use weir_shared::catalog::Vendor;
use weir_shared::policy::time::Times;

use super::{Failure, Outgoing};
use crate::buffer;
use crate::clock;
use crate::deadline::{Deadline, Why};
use crate::link::{Link, LinkFault};
use crate::live::{Target, is_internal};
use crate::race::{Either, either};
use crate::socket::Socket;

/// A connection to a vendor.
pub struct VendorLink {
    pub link: Link,
    pub deadline: Deadline,
    pub pool: u64,
    /// When it went idle, in coarse milliseconds.
    pub idle_since: u64,
    /// What arrived with the handshake's end.
    pub early: Vec<u8>,
}

impl VendorLink {
    /// Writes a whole request.
    pub async fn send(&mut self, request: &Outgoing<'_>) -> Result<(), Failure> {
        let mut from = 0;
        while let Some(piece) = request.piece(&mut from) {
            self.write(piece).await?;
        }
        Ok(())
    }

    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        let (result, buffer) = self.link.write(bytes, 0).await;
        buffer::give_back(buffer);
        result.map_err(|fault| match (self.deadline.fired(), fault) {
            (Some(why), _) => Failure::TimedOut(why),
            (None, LinkFault::Io(_)) => Failure::Cut,
            (None, LinkFault::Tls(fault)) => Failure::Tls(fault),
        })
    }
}

/// The next family gets its chance after this, while the first still tries (RFC 8305 says 250 ms).
const NEXT_FAMILY_MS: u64 = 250;

pub async fn connect(vendor: &Vendor, target: &Target, times: &Times) -> Result<VendorLink, Failure> {
    let by_ms = clock::coarse_ms() + times.connect;
    let limit = Deadline::bare();
    limit.nudge_after(times.connect);
    let socket = {
        let mut opening = pin!(open_socket(vendor, target));
        match either(opening.as_mut(), pin!(limit.nudged())).await {
            Either::First(socket) => socket?,
            // Dropping a connect is allowed: nobody else knows its descriptor yet.
            Either::Second(()) => return Err(Failure::ConnectTimeout),
        }
    };
    let deadline = Deadline::of_vendor(&socket);
    // From here on the socket is shut by its own deadline; TCP and TLS share the time.
    deadline.set_at(by_ms, Why::Handshake);
    if vendor.proxy.is_some() {
        tunnel(&socket, vendor).await.map_err(|failure| match deadline.fired() {
            Some(_) => Failure::ConnectTimeout,
            None => failure,
        })?;
    }
    let (link, early) = match &target.tls {
        None => (Link::plain(socket), Vec::new()),
        Some((config, name)) => Link::connect(socket, config.clone(), name.clone()).await.map_err(|fault| {
            match (deadline.fired(), fault) {
                (Some(_), _) => Failure::ConnectTimeout,
                (None, LinkFault::Tls(fault)) => Failure::Tls(fault),
                (None, LinkFault::Io(_)) => Failure::Tls(crate::tls::TlsFault::Truncated),
            }
        })?,
    };
    deadline.clear();
    Ok(VendorLink { link, deadline, pool: target.pool, idle_since: 0, early })
}

async fn open_socket(vendor: &Vendor, target: &Target) -> Result<Socket, Failure> {
    let port = vendor.proxy.as_ref().unwrap_or(&vendor.base).port;
    // What a name resolves to is checked on the address itself, each time: a resolver can change its mind.
    let allowed = |address: &&IpAddr| vendor.internal || vendor.proxy.is_some() || !is_internal(**address);
    let addresses = target.addresses.get();
    if addresses.is_empty() {
        return Err(Failure::Unresolved);
    }
    let usable: Vec<SocketAddr> = addresses.iter().filter(allowed).map(|ip| SocketAddr::new(*ip, port)).collect();
    let Some(first) = usable.first().copied() else { return Err(Failure::Unreachable) };
    let other_family = usable.iter().copied().find(|address| address.is_ipv4() != first.is_ipv4());
    let Some(second) = other_family else {
        return try_each(&usable).await;
    };
    let mut one = pin!(try_each(std::slice::from_ref(&first)));
    let head_start = Deadline::bare();
    head_start.nudge_after(NEXT_FAMILY_MS);
    if let Either::First(Ok(socket)) = either(one.as_mut(), pin!(head_start.nudged())).await {
        return Ok(socket);
    }
    // The first has failed or is slow: the other family decides, and then whatever is left.
    match try_each(std::slice::from_ref(&second)).await {
        Ok(socket) => Ok(socket),
        Err(_) => try_each(&usable).await,
    }
}

async fn try_each(addresses: &[SocketAddr]) -> Result<Socket, Failure> {
    for &address in addresses {
        if let Ok(socket) = Socket::connect(address).await {
            return Ok(socket);
        }
    }
    Err(Failure::Unreachable)
}

/// Asks an HTTP proxy for a tunnel to the vendor.
async fn tunnel(socket: &Socket, vendor: &Vendor) -> Result<(), Failure> {
    let host = &vendor.base.host;
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let port = vendor.base.port;
    let request = format!("CONNECT {bracketed}:{port} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n\r\n");
    let (written, _) = socket.write_all(request.into_bytes(), 0).await;
    written.map_err(|_| Failure::Unreachable)?;
    let mut answer = buffer::small();
    let mut progress = crate::wire::http1::Progress::default();
    loop {
        let (read, bytes) = socket.read(answer).await;
        answer = bytes;
        if !matches!(read, Ok(count) if count > 0) || answer.len() == answer.capacity() {
            return Err(Failure::Unreachable);
        }
        // The answer to CONNECT has no body, whatever its head says.
        match crate::wire::http1::answer(&answer, &mut progress, true) {
            Ok(Some(head)) if (200..300).contains(&head.status) && head.bytes == answer.len() => return Ok(()),
            Ok(None) => {}
            _ => return Err(Failure::Unreachable),
        }
    }
}
