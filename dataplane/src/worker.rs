//! One thread per core: a runtime, a listener, and the connections that it accepted.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use monoio::net::TcpStream;
use rustls::ServerConfig;
use weir_shared::fault::Code;
use weir_shared::policy::time::Times;

use crate::accept::{Caller, Head, Sink, Unreadable};
use crate::aside::unwinding;
use crate::clock;
use crate::core::Core;
use crate::deadline::{self, Deadline, TICK_MS, Why};
use crate::exchange;
use crate::gauge::Counter;
use crate::host::{Door, Effort};
use crate::link::Link;
use crate::refusal::Refusal;
use crate::shelf;
use crate::socket::Socket;
use crate::strain::Tick;
use crate::wire::proxy::{self, BadProxy, Said};
use weir_shared::catalog::Dialect;

/// The driver under the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// io_uring; completions are collected when we ask for them, all at once (Linux 6.1). Measured: a tenth cheaper a
    /// request than the next rung.
    UringDefer,
    /// io_uring; completions run when we enter the kernel, not as interrupts of what runs. It is what makes io_uring
    /// worth it: without it epoll is cheaper.
    UringCoop,
    Uring,
    /// A small ring, for where little memory may be locked.
    UringSmall,
    Epoll,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Self::UringDefer => "io_uring+defer_taskrun",
            Self::UringCoop => "io_uring+coop_taskrun",
            Self::Uring => "io_uring",
            Self::UringSmall => "io_uring (small)",
            Self::Epoll => "epoll",
        }
    }

    /// The best that this machine allows, from the top of the ladder down.
    pub fn probe(wanted: &str) -> Result<Self, String> {
        let ladder: &[Self] = match wanted {
            "auto" => &[Self::UringDefer, Self::UringCoop, Self::Uring, Self::UringSmall, Self::Epoll],
            "uring" => &[Self::UringDefer, Self::UringCoop, Self::Uring, Self::UringSmall],
            "epoll" => &[Self::Epoll],
            other => return Err(format!("driver {other:?} is not known: auto, uring or epoll")),
        };
        let works = |driver: &&Self| match driver {
            Self::Epoll => true,
            driver => monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(driver.entries())
                .uring_builder(driver.builder())
                .build()
                .is_ok(),
        };
        ladder.iter().find(works).copied().ok_or_else(|| {
            "io_uring is not available: the kernel or a seccomp profile denies it, or too little memory may be locked \
             (ulimit -l); use --driver epoll"
                .to_owned()
        })
    }

    fn entries(self) -> u32 {
        if self == Self::UringSmall { 128 } else { 1_024 }
    }

    fn builder(self) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        match self {
            Self::UringDefer => drop(builder.setup_coop_taskrun().setup_single_issuer().setup_defer_taskrun()),
            Self::UringCoop => drop(builder.setup_coop_taskrun()),
            Self::Uring | Self::UringSmall | Self::Epoll => {}
        }
        builder
    }

    /// A connection that has come already, in the state in which this driver's own are.
    fn accept_now(self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        let (stream, address) = listener.accept().ok()?;
        stream.set_nonblocking(self == Self::Epoll).ok()?;
        Some((TcpStream::from_std(stream).ok()?, address))
    }

    fn run(self, future: impl Future<Output = ()>) -> io::Result<()> {
        if self == Self::Epoll {
            let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build()?;
            runtime.block_on(future);
        } else {
            let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(self.entries())
                .uring_builder(self.builder())
                .enable_timer()
                .build()?;
            runtime.block_on(future);
        }
        Ok(())
    }
}

/// What one core listens on.
pub struct Doors {
    plain: (Door, TcpListener),
    tls: Option<(Door, TcpListener, Arc<ServerConfig>)>,
}

impl Doors {
    pub fn plain(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { plain: (Door::of(&listener)?, listener), tls: None })
    }

    pub fn with_tls(mut self, listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        self.tls = Some((Door::of(&listener)?, listener, config));
        Ok(self)
    }

    /// The same doors, for who shuts them from outside.
    pub fn handles(&self) -> Vec<Door> {
        let tls = self.tls.as_ref().map(|(door, ..)| door);
        std::iter::once(&self.plain.0).chain(tls).cloned().collect()
    }
}

/// Runs one core until the process drains.
pub fn run(driver: Driver, core: Core, doors: Doors) -> io::Result<()> {
    let core = core.shared();
    driver.run(async move {
        // Deadlines count from the coarse clock: before its first look at the time it stands still, an hour in the past.
        core.gauges.heartbeat_ms.store(clock::tick(), Ordering::Relaxed);
        let open = Rc::new(Cell::new(0));
        let listening = doors.handles();
        let tls = doors.tls.map(|(door, listener, config)| (door, listener, Some(config)));
        for (door, listener, tls) in std::iter::once((doors.plain.0, doors.plain.1, None)).chain(tls) {
            monoio::spawn(accept(driver, Rc::clone(&core), door, listener, tls, Rc::clone(&open)));
        }
        tick(core, listening, open).await;
    })
}

/// The core's own pulse: deadlines, log lines, pools, and the end.
async fn tick(core: Rc<Core>, listening: Vec<Door>, open: Rc<Cell<usize>>) {
    let mut count: u64 = 0;
    let mut drained = false;
    let mut cut_ticks = 0;
    let mut pulse = Pulse { effort: Effort::mine(), begun_ms: clock::tick(), has_work: false };
    loop {
        core.strain.tick(pulse.tick().await);
        deadline::sweep();
        core.logger.flush(&core.gauges);
        core.gauges.heartbeat_ms.store(clock::coarse_ms(), Ordering::Relaxed);
        core.gauges.journal_full.store(u64::from(!core.journal.has_room()), Ordering::Relaxed);
        count += 1;
        if count.is_multiple_of(10) {
            let keepalive =
                core.live().map_or(Times::default(), |live| live.snapshot.catalog.gateway.times).upstream_keepalive;
            core.pools.prune(keepalive);
        }
        if core.phase().is_draining() {
            if !std::mem::replace(&mut drained, true) {
                listening.iter().for_each(Door::shut);
            }
            deadline::cut_idle();
            if core.phase().is_cut() {
                deadline::cut_vendors();
                cut_ticks += 1;
            }
            if open.get() == 0 {
                // What is left is work for nobody: it is not waited for, but its records are written.
                deadline::cut_vendors();
            }
            if (open.get() == 0 && core.aside.is_idle()) || cut_ticks > LAST_WORDS_TICKS {
                break;
            }
        }
    }
    core.pools.clear();
    core.journal.close();
    core.logger.flush(&core.gauges);
}

/// After the last call was cut, callers get so long to take the last event.
const LAST_WORDS_TICKS: u32 = 20;

/// How late what is due on a core comes.
struct Pulse {
    effort: Effort,
    begun_ms: u64,
    has_work: bool,
}

/// A core with work all the time looks so often how late it is.
const BEAT_MS: u64 = 10;

impl Pulse {
    /// Until a tick is over: how long it took, and how late the least late of its beats came. A large body makes one of them
    /// late, too much work makes all. What another took of the processor meanwhile is not work.
    async fn tick(&mut self) -> Tick {
        let beat_ms = if self.has_work { BEAT_MS } else { TICK_MS };
        let (mut beaten_ms, mut least_ms, mut busy_ns) = (self.begun_ms, u64::MAX, 0);
        let took_ms = loop {
            sleep(beat_ms).await;
            let before_ms = std::mem::replace(&mut beaten_ms, clock::tick());
            let span_ms = beaten_ms - before_ms;
            let (ran_ns, waited_ns) = self.effort.since().unwrap_or((span_ms * 1_000_000, 0));
            busy_ns += ran_ns + waited_ns;
            least_ms = least_ms.min(span_ms.saturating_sub(beat_ms + waited_ns / 1_000_000));
            let took_ms = beaten_ms - self.begun_ms;
            if took_ms >= TICK_MS {
                break took_ms;
            }
        };
        self.begun_ms = beaten_ms;
        // Late with little to do is not strain.
        self.has_work = busy_ns >= took_ms * 900_000;
        Tick { ended_ms: beaten_ms, took_ms, late_ms: if self.has_work { least_ms } else { 0 }, is_full: self.has_work }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one timer of a core")]
async fn sleep(ms: u64) {
    monoio::time::sleep(Duration::from_millis(ms)).await;
}

async fn accept(
    driver: Driver,
    core: Rc<Core>,
    door: Door,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    open: Rc<Cell<usize>>,
) {
    let Ok((mut listener, mut spare_handle)) = acceptor(listener) else { return };
    let mut reserve = File::open("/dev/null").ok();
    let handshakes = Rc::new(Cell::new(0));
    let begin = |stream, address: SocketAddr| {
        core.gauges.add(Counter::Connections, 1);
        let (core, tls) = (Rc::clone(&core), tls.clone());
        monoio::spawn(connection(core, stream, address.ip(), tls, Rc::clone(&handshakes), Rc::clone(&open)));
    };
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                begin(stream, address);
                // The runtime gives one a turn: on a full core, whose turns are long, who comes anew would wait for
                // a turn of everybody before.
                for _ in 1..ACCEPTS_A_TURN {
                    let Some((stream, address)) = driver.accept_now(&spare_handle) else { break };
                    begin(stream, address);
                }
            }
            Err(_) if core.phase().is_draining() => return,
            Err(error) => {
                // Out of descriptors: the one in reserve lets a caller go with a clean close instead of waiting for
                // nothing; then a pause, so that this is no busy loop. What is open goes on.
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    drop(reserve.take());
                    if spare_handle.accept().is_ok() {
                        core.gauges.add(Counter::ConnectionsRefused, 1);
                    }
                    reserve = File::open("/dev/null").ok();
                }
                sleep(TICK_MS).await;
                // Shut from outside while this core was stuck: it is back.
                if !door.is_open()
                    && !core.phase().is_draining()
                    && let Ok(pair) = door.open_again().and_then(acceptor)
                {
                    (listener, spare_handle) = pair;
                }
            }
        }
    }
}

/// More at a time would be more large buffers at a time, which stay resident: measured with 64, half a kibibyte to two more
/// for each of a thousand streams.
const ACCEPTS_A_TURN: usize = 8;

/// What the runtime accepts from, and a handle for when it can't.
fn acceptor(listener: TcpListener) -> io::Result<(monoio::net::TcpListener, TcpListener)> {
    listener.set_nonblocking(true)?;
    let spare = listener.try_clone()?;
    Ok((monoio::net::TcpListener::from_std(listener)?, spare))
}

/// Handshakes of one core at a time: they cost a hundred times what a request does.
const HANDSHAKES_MAX: usize = 256;

async fn connection(
    core: Rc<Core>,
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Arc<ServerConfig>>,
    handshakes: Rc<Cell<usize>>,
    open: Rc<Cell<usize>>,
) {
    open.set(open.get() + 1);
    core.gauges.add(Counter::ConnectionsOpen, 1);
    // A panic stays in its request.
    let served = Box::pin(serve(Rc::clone(&core), stream, canonical(address), tls, handshakes));
    if unwinding(served).await.is_err() {
        core.gauges.add(Counter::Panics, 1);
    }
    core.gauges.sub(Counter::ConnectionsOpen, 1);
    open.set(open.get() - 1);
}

async fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Arc<ServerConfig>>,
    handshakes: Rc<Cell<usize>>,
) {
    let Ok(socket) = Socket::new(stream) else { return };
    let mut address = address;
    let mut early = Vec::new();
    if core.live().is_some_and(|live| live.snapshot.catalog.gateway.trusts(address)) {
        let Some((told, begun)) = Box::pin(balancers_word(&core, &socket, address)).await else { return };
        (address, early) = (told, begun);
    }
    let (link, early) = match tls {
        None => (Link::plain(socket), early),
        // A handshake does not start like this.
        Some(_) if !early.is_empty() => return,
        Some(config) => {
            let shaken = Box::pin(handshake(&core, socket, config, &handshakes)).await;
            let Some(shaken) = shaken else { return };
            shaken
        }
    };
    let mut caller = Caller::new(link, early, address);
    loop {
        let times = times(&core);
        match caller.head(&times).await {
            Ok(Some(mut request)) => {
                // Elsewhere, so that an idle connection does not carry the size of a busy one.
                let keep = shelf::put(exchange::serve(&core, &mut caller, &mut request)).await;
                if !keep {
                    break;
                }
            }
            Ok(None) => return,
            Err(unreadable) => {
                Box::pin(refuse(&core, &mut caller, unreadable, &times)).await;
                break;
            }
        }
    }
    Box::pin(linger(&mut caller)).await;
}

/// Where the caller is, when a balancer that is trusted says so before the first byte; and what was read of a request
/// that only looked like it. `None`: the connection is over.
async fn balancers_word(core: &Core, socket: &Socket, address: IpAddr) -> Option<(IpAddr, Vec<u8>)> {
    let times = times(core);
    let deadline = Deadline::of_caller(socket);
    // Balancers open connections before they have a use for them.
    deadline.set(times.keepalive, Why::KeepAlive);
    socket.readable().await;
    if socket.next_byte() != Some(proxy::SIGNATURE[0]) {
        return deadline.fired().is_none().then(|| (address, Vec::new()));
    }
    deadline.set(times.header, Why::Header);
    let mut bytes = Vec::new();
    loop {
        let more = match proxy::read(&bytes) {
            Ok(Said::Here { source, .. }) => return Some((source.unwrap_or(address), Vec::new())),
            Ok(Said::Nothing) => return Some((address, bytes)),
            Ok(Said::More(more)) => more,
            Err(BadProxy) => {
                core.gauges.add(Counter::ConnectionsRefused, 1);
                return None;
            }
        };
        match socket.read_most(&mut bytes, more) {
            Ok(Some(0)) | Err(_) => return None,
            Ok(Some(_)) => {}
            Ok(None) => socket.readable().await,
        }
        if deadline.fired().is_some() {
            return None;
        }
    }
}

fn times(core: &Core) -> Times {
    core.live().map_or_else(Times::default, |live| live.snapshot.catalog.gateway.times)
}

async fn handshake(
    core: &Core,
    socket: Socket,
    config: Arc<ServerConfig>,
    running: &Cell<usize>,
) -> Option<(Link, Vec<u8>)> {
    let deadline = Deadline::of_caller(&socket);
    deadline.set(times(core).handshake, Why::Handshake);
    // Who says nothing takes no place: only a caller that has begun its handshake costs one.
    socket.readable().await;
    if running.get() >= HANDSHAKES_MAX {
        core.gauges.add(Counter::ConnectionsRefused, 1);
        return None;
    }
    running.set(running.get() + 1);
    let shaken = Link::accept(socket, config).await;
    running.set(running.get() - 1);
    if shaken.is_err() {
        core.gauges.add(Counter::HandshakesFailed, 1);
    }
    shaken.ok()
}

/// What could not be read as a request is refused in the commonest dialect.
async fn refuse(core: &Core, caller: &mut Caller, unreadable: Unreadable, times: &Times) {
    let Some(refusal) = Refusal::of_unreadable(unreadable) else { return };
    core.gauges.refused(refusal.code);
    if refusal.code == Code::HeadTimeout && caller.deadline.fired().is_some() {
        // The deadline has shut the connection already: there is nobody to tell.
        return;
    }
    let id = core.next_id(clock::now());
    let text = id.text();
    let body = crate::dialect::error::body(
        Dialect::OpenAi,
        refusal.status,
        refusal.code,
        &refusal.message,
        std::str::from_utf8(&text).unwrap_or_default(),
    );
    let mut sink = Sink::new(caller, *times, true, true, false);
    let mut head = Head::new(refusal.status);
    head.field(b"content-type", b"application/json").field(b"x-request-id", &text);
    let _ = sink.answer(head, &body).await;
}

/// What the caller still sends is read and dropped for a moment: closing on unread bytes would reset the connection and
/// take our answer with it.
async fn linger(caller: &mut Caller) {
    caller.link.close().await;
    caller.deadline.set(LINGER_MS, Why::Drain);
    caller.drain(LINGER_BYTES_MAX).await;
}

const LINGER_MS: u64 = 1_000;
const LINGER_BYTES_MAX: usize = 1 << 20;

/// IPv4 callers on an IPv6 listener are IPv4 callers.
fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4 == Ipv4Addr::UNSPECIFIED => address,
        canonical => canonical,
    }
}
