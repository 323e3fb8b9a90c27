//! A vendor that says exactly these bytes, for what the synthetic vendor has no word for. Each connection is answered
//! once; then nothing more comes, and it stays open until the gateway ends it, unless the vendor closes itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[derive(Clone)]
pub struct Exact {
    pub address: SocketAddr,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    asked: AtomicU64,
    left: AtomicU64,
}

impl Exact {
    /// The bytes may depend on the vendor's own address.
    pub fn start(says: impl FnOnce(SocketAddr) -> Vec<u8>) -> Self {
        Self::listen(says, false)
    }

    /// Closes behind its answer, whatever of the request has not come yet.
    pub fn start_and_close(says: impl FnOnce(SocketAddr) -> Vec<u8>) -> Self {
        Self::listen(says, true)
    }

    fn listen(says: impl FnOnce(SocketAddr) -> Vec<u8>, close: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let says: Arc<[u8]> = says(address).into();
        let vendor = Self { address, counters: Arc::default() };
        let counters = vendor.counters.clone();
        // Its threads end with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (says, counters) = (says.clone(), counters.clone());
                thread::spawn(move || serve(socket, &says, close, &counters));
            }
        });
        vendor
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.counters.asked.load(Ordering::SeqCst)
    }

    /// Requests whose connection the gateway has ended.
    pub fn left(&self) -> u64 {
        self.counters.left.load(Ordering::SeqCst)
    }
}

fn serve(mut socket: TcpStream, says: &[u8], close: bool, counters: &Counters) {
    let mut request = Vec::new();
    let mut buffer = [0; 16 << 10];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    counters.asked.fetch_add(1, Ordering::SeqCst);
    let _ = socket.write_all(says);
    if close {
        return;
    }
    while matches!(socket.read(&mut buffer), Ok(count) if count > 0) {}
    counters.left.fetch_add(1, Ordering::SeqCst);
}
