//! What the standard library does not offer: epoll, the clock the kernel shares between processes, affinity, limits.
//!
//! The rig runs on a plain epoll loop and not on the gateway's runtime: so a fault of that runtime cannot hide on both
//! sides of a measurement, and a reset, a stall or half a record are one system call each.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Edge-triggered interest in everything, registered once per socket: there is nothing to re-arm later.
pub struct Poller {
    fd: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

/// What the kernel said about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed its side, or the connection is gone: read until it says so.
    pub ending: bool,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        // SAFETY: no pointers are passed; the result is checked before it is owned.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller { fd, ready: Vec::with_capacity(READY_MAX) })
    }

    pub fn add(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.register(socket.as_raw_fd(), interest as u32, token)
    }

    /// A listener is level-triggered, so that connections left in the queue by a busy round are seen in the next one.
    pub fn add_listener(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.register(socket.as_raw_fd(), libc::EPOLLIN as u32, token)
    }

    fn register(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` lives across the call and both descriptors are open.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits with the resolution of nanoseconds: whole milliseconds would be seen in every latency.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.ready.clear();
        let limit = libc::timespec {
            tv_sec: timeout.as_secs().min(3600) as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the buffer has room for READY_MAX events, `limit` lives across the call, no signal mask is passed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.ready.as_mut_ptr(),
                READY_MAX as libc::c_int,
                &limit as *const libc::timespec,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel has filled exactly `count` events, and `count` is at most READY_MAX.
        unsafe { self.ready.set_len(count as usize) };
        Ok(())
    }

    /// How many sockets the last wait found.
    pub fn count(&self) -> usize {
        self.ready.len()
    }

    pub fn get(&self, index: usize) -> Ready {
        let event = self.ready[index];
        let has = |flag: libc::c_int| event.events & flag as u32 != 0;
        Ready {
            token: event.u64,
            readable: has(libc::EPOLLIN) || has(libc::EPOLLRDHUP) || has(libc::EPOLLHUP) || has(libc::EPOLLERR),
            writable: has(libc::EPOLLOUT),
            ending: has(libc::EPOLLRDHUP) || has(libc::EPOLLHUP) || has(libc::EPOLLERR),
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC: the same clock for every process of the machine, so that the moment a caller hung up
/// in one and the moment the vendor noticed in another can be subtracted.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives across the call; CLOCK_MONOTONIC exists on every kernel that runs this.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Processor time of the calling thread, user and system together, in microseconds.
pub fn thread_cpu_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives across the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Binds the calling thread (and what it will start) to these processors.
pub fn pin_thread(cores: &[usize]) -> io::Result<()> {
    // SAFETY: `cpu_set_t` is plain old data, for which all zeroes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such processor"));
        }
        // SAFETY: `core` is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` lives across the call and has the size that is passed; 0 names the calling thread.
    check(unsafe { libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set) })?;
    Ok(())
}

/// Raises the limit of open files as far as asked and allowed; says what it is now.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives across the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    for hard in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: wanted.min(hard).max(limit.rlim_cur), rlim_max: hard };
        // SAFETY: `raised` lives across the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return raised.rlim_cur;
        }
    }
    limit.rlim_cur
}

/// Timers of this thread fire when they are due, not up to 50 µs later.
pub fn sharp_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one number and no pointer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}

/// Asks a child process to end.
pub fn terminate(pid: u32) {
    // SAFETY: `kill` takes two numbers; the process is a child of ours that has not been reaped.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Events taken in one round: enough that a tick of a thousand streams is a handful of calls.
const READY_MAX: usize = 512;
