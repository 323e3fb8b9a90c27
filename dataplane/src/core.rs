//! What one core owns: nothing of it is shared with another thread but by the counters.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use weir_shared::id::RequestId;

use crate::aside::Aside;
use crate::clock;
use crate::gauge::Gauges;
use crate::journal::Journal;
use crate::live::{Live, Newest};
use crate::log::Logger;
use crate::strain::Strain;
use crate::upstream::Pools;

pub struct Core {
    pub number: u8,
    pub gauges: Arc<Gauges>,
    pub journal: Rc<Journal>,
    pub pools: Pools,
    pub logger: Arc<Logger>,
    pub strain: Strain,
    pub aside: Aside,
    /// For work that outlives the request that began it.
    own: OnceCell<Weak<Self>>,
    node: u32,
    sequence: Cell<u64>,
    newest: Arc<Newest>,
    seen: RefCell<(u64, Option<Rc<LiveHere>>)>,
    phase: Arc<Phase>,
}

/// This core's own handle of the configuration that all cores share: requests count it without touching the shared
/// count, which would travel between processors for every one of them.
pub struct LiveHere(Arc<Live>);

impl std::ops::Deref for LiveHere {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// Where the process is in its life.
#[derive(Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// No new connections; what runs may finish.
    pub fn drain(&self) {
        self.0.fetch_max(1, Ordering::Release);
    }

    /// The time to finish is over.
    pub fn cut(&self) {
        self.0.fetch_max(2, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) >= 1
    }

    pub fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire) >= 2
    }
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "a core is made of all of these")]
    pub fn new(
        number: u8,
        node: &str,
        journal: Rc<Journal>,
        newest: Arc<Newest>,
        logger: Arc<Logger>,
        gauges: Arc<Gauges>,
        phase: Arc<Phase>,
        late_ms: u64,
    ) -> Self {
        let hash = blake3::hash(node.as_bytes());
        let [a, b, c, ..] = *hash.as_bytes();
        Self {
            number,
            gauges,
            journal,
            pools: Pools::default(),
            logger,
            strain: Strain::new(late_ms),
            aside: Aside::default(),
            own: OnceCell::new(),
            node: u32::from_le_bytes([a, b, c, 0]),
            // So that ids of two runs within one millisecond differ.
            sequence: Cell::new(clock::wall_ns() & 0xffff_ffff),
            newest,
            seen: RefCell::new((u64::MAX, None)),
            phase,
        }
    }

    pub fn shared(self) -> Rc<Self> {
        let core = Rc::new(self);
        let _ = core.own.set(Rc::downgrade(&core));
        core
    }

    /// A handle of itself, for work that outlives the request that began it.
    pub fn handle(&self) -> Option<Rc<Self>> {
        self.own.get()?.upgrade()
    }

    /// The newest configuration. One load when nothing has changed.
    pub fn live(&self) -> Option<Rc<LiveHere>> {
        let generation = self.newest.generation();
        let mut seen = self.seen.borrow_mut();
        if seen.0 != generation {
            *seen = (generation, self.newest.get().map(|live| Rc::new(LiveHere(live))));
        }
        seen.1.clone()
    }

    /// An id for a request that arrived at this moment.
    pub fn next_id(&self, at: clock::Nanos) -> RequestId {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        RequestId::new(clock::wall_at(at) / 1_000_000, self.node, self.number, sequence)
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }
}
