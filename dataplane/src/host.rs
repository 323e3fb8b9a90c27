//! What the process asks of the machine once, when it starts.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

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
