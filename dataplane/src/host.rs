//! What the process asks of the machine once, when it starts.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// As many descriptors as the system grants; and no core dump or debugger of another user sees the secrets in memory.
pub fn prepare() {
    // SAFETY: plain system calls on values of this function.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        // Two arenas: memory that one core frees serves the next, instead of lying in its own corner.
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// One listener per core on the same address: the kernel spreads new connections over them.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listener that others than its core may shut: when the process drains, and when its core is stuck.
#[derive(Clone)]
pub struct Door(Arc<Mutex<TcpListener>>);

impl Door {
    pub fn of(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(listener.try_clone()?))))
    }

    /// It leaves its SO_REUSEPORT group, and an accept that waits on it returns; a listener that is only closed still
    /// accepts on io_uring.
    pub fn shut(&self) {
        let listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(SockRef::from(&*listener).shutdown(Shutdown::Both));
    }

    pub fn is_open(&self) -> bool {
        let listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        SockRef::from(&*listener).is_listener().unwrap_or(false)
    }

    /// A new one on the same address: one that was shut never returns to its group.
    pub fn open_again(&self) -> io::Result<TcpListener> {
        let mut listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = listen(listener.local_addr()?)?;
        *listener = new.try_clone()?;
        Ok(new)
    }
}

/// How much of its time a thread has work, by the scheduler's own account: what it ran, and what it waited to run.
pub struct Effort {
    account: Option<File>,
    ran_ns: u64,
    waited_ns: u64,
}

impl Effort {
    /// Of the calling thread.
    pub fn mine() -> Self {
        let mut effort = Self { account: File::open("/proc/thread-self/schedstat").ok(), ran_ns: 0, waited_ns: 0 };
        effort.since();
        effort
    }

    /// Nanoseconds that it ran since the last look, and that it waited to run; `None` where the kernel keeps no account.
    pub fn since(&mut self) -> Option<(u64, u64)> {
        let mut bytes = [0; 64];
        let length = self.account.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let mut numbers = std::str::from_utf8(&bytes[..length]).ok()?.split_ascii_whitespace();
        let (ran, waited): (u64, u64) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let before = (std::mem::replace(&mut self.ran_ns, ran), std::mem::replace(&mut self.waited_ns, waited));
        Some((ran.saturating_sub(before.0), waited.saturating_sub(before.1)))
    }
}

/// Connections that wait to be accepted; the kernel caps it by `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Binds the calling thread to one processor, when the process may use several.
pub fn pin_to(number: usize) {
    // SAFETY: `cpu_set_t` is a plain bit set for which zero is a value; both calls get its true size.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &mut allowed) != 0 {
            return;
        }
        let mine = (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &allowed)).nth(number);
        if let Some(cpu) = mine {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut one);
            libc::sched_setaffinity(0, size, &one);
        }
    }
}
