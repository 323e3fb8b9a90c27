//! Following the store: on a thread of its own, with calls that block.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_shared::draft::SCHEMA;
use weir_shared::id::Digest;
use weir_shared::key::Pepper;
use weir_shared::keyspace::{Manifest, NODE_RENEWAL_SECONDS, NodePage, Pointer, Refusal};
use weir_shared::snapshot::{Refused, Snapshot};
use weir_shared::store::{self, Store, StoreError};

use super::addresses::Book;
use super::build::{Builder, Made};
use super::credentials::Kept;
use super::lately::Lately;
use super::lineage::Lineage;
use super::own_copy::OwnCopy;
use super::say;
use crate::clock;
use crate::live::{Live, Newest};
use crate::memory;

/// Where this node finds what it needs.
pub struct Settings {
    pub store: String,
    pub state: PathBuf,
    pub node: String,
    pub pepper: Pepper,
    pub seal: [u8; 32],
    pub admin: String,
    pub data: String,
}

#[cfg(test)]
mod model_tests;

/// What others look at.
pub struct State {
    pub book: Book,
    pub names_changed: tokio::sync::Notify,
    pub page: Mutex<NodePage>,
    /// Credentials of the current revision that have to be looked after.
    pub kept: Mutex<Vec<Arc<Kept>>>,
    pub kept_changed: tokio::sync::Notify,
    /// What of the current revision cannot be used on this node, as of when it was built.
    pub warnings: Mutex<Vec<String>>,
    /// How requests went, for who compares.
    pub lately: Lately,
    /// The store could not be read at the last try.
    pub stale: AtomicBool,
    /// Wall clock, seconds, of the last successful look at the store.
    pub looked_at: AtomicU64,
}

impl State {
    /// Everything that cannot be used on this node now, on its page.
    pub fn tell_warnings(&self) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.extend(kept.iter().filter_map(|kept| kept.trouble()));
        self.page.lock().unwrap_or_else(PoisonError::into_inner).warnings = warnings;
    }
}

/// Why a revision is not served.
enum NotLoaded {
    Store(StoreError),
    Refused(String),
}

impl std::fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

pub struct Follower {
    settings: Settings,
    store: Option<Box<dyn Store>>,
    own: OwnCopy,
    builder: Builder,
    newest: Arc<Newest>,
    state: Arc<State>,
    current: Option<(Pointer, Arc<Live>)>,
    /// Applied, and not yet kept beside us as the last good one.
    unkept: Option<(Pointer, Manifest)>,
    /// What was read for it, so that it can be kept when the store is gone already: not more than a little, because a whole
    /// deployment would be held twice.
    read: HashMap<Digest, Vec<u8>>,
    /// The store's pointer at the last look; a wait is for another one.
    looked: Option<Pointer>,
    /// The newest pointer that was tried, applied or not.
    tried: Option<Pointer>,
    /// What this node served last, now or before it was started anew; the store may not fall behind it.
    served: Option<Pointer>,
    lineage: Lineage,
    /// Our page as the store has it.
    told: Option<NodePage>,
    /// Looks in a row that failed.
    failures: u32,
}

/// For the first answer of a store. A node that has a last good revision does not wait longer before it serves.
const FIRST_PATIENCE: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(5);

/// What a few changed parts come to.
const READ_BYTES_MAX: usize = 4 << 20;

/// Between two looks at a store that fails: the first soon, later ones spread, so that a fleet does not come back at once.
const RETRY_MAX_MS: u64 = 5_000;

impl Follower {
    pub fn new(settings: Settings, newest: Arc<Newest>) -> Result<Self, String> {
        let folder = settings.state.join("snapshot");
        let own = OwnCopy::open(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let state = Arc::new(State {
            book: Book::open(folder.join("addresses.json")),
            names_changed: tokio::sync::Notify::new(),
            page: Mutex::new(NodePage {
                node: settings.node.clone(),
                admin: settings.admin.clone(),
                data: settings.data.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: clock::wall_seconds(),
                seen: clock::wall_seconds(),
                pid: std::process::id(),
                ..NodePage::default()
            }),
            kept: Mutex::default(),
            kept_changed: tokio::sync::Notify::new(),
            warnings: Mutex::default(),
            lately: Lately::default(),
            stale: AtomicBool::new(true),
            looked_at: AtomicU64::new(0),
        });
        let builder = Builder::new(settings.pepper.clone(), settings.seal, settings.state.clone());
        let served = own.pointer();
        Ok(Self {
            settings,
            store: None,
            own,
            builder,
            newest,
            state,
            current: None,
            unkept: None,
            read: HashMap::new(),
            looked: None,
            tried: None,
            served,
            lineage: Lineage::open(&folder),
            told: None,
            failures: 0,
        })
    }

    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The first configuration: the store's, or the last good one when the store is not there.
    pub fn first(&mut self) {
        let looked = self.look(FIRST_PATIENCE);
        self.note(looked.as_ref().err());
        if self.current.is_none()
            && let Some(pointer) = self.served
        {
            match self.last_good(&pointer) {
                Ok(()) => {
                    // Also when the store could be read: it is empty, or knows less than what is served.
                    self.state.stale.store(true, Ordering::Relaxed);
                    say("warning", "serving_last_good", &format!("revision {}", pointer.revision));
                }
                Err(reason) => {
                    say("error", "last_good_unusable", &reason);
                    // What cannot be served holds nothing up.
                    (self.served, self.tried) = (None, None);
                    let _ = self.look(PATIENCE);
                }
            }
        }
        // Whoever publishes next must know that this node is there.
        if looked.is_ok() {
            self.renew_page();
        }
    }

    fn last_good(&mut self, pointer: &Pointer) -> Result<(), String> {
        let own = self.own.manifest().filter(|_| self.own.pointer() == Some(*pointer));
        let manifest = own.cloned().ok_or("this node has no copy of it")?;
        self.load(pointer, &manifest, true).map_err(|refused| refused.to_string())?;
        self.served = Some(*pointer);
        Ok(())
    }

    /// Follows for ever.
    pub fn run(mut self) {
        self.keep();
        loop {
            let waited = match &self.store {
                Some(store) => store.wait(self.looked.as_ref(), Duration::from_secs(NODE_RENEWAL_SECONDS)).map(drop),
                None => Ok(()),
            };
            // A look whatever the wait said: what is read is what holds, and a lost event costs one renewal at most.
            let looked = self.turn();
            if waited.and(looked).is_err() {
                // Not to be waited out: it is tried again as soon as the pause is over.
                self.looked = None;
                std::thread::sleep(self.pause());
            }
        }
    }

    /// One look, and all that follows from it.
    fn turn(&mut self) -> Result<(), StoreError> {
        let looked = self.look(PATIENCE);
        self.note(looked.as_ref().err());
        if looked.is_ok() {
            self.renew_page();
        }
        // After the page: whoever waits for this revision need not wait for our own copy of it.
        self.keep();
        looked
    }

    /// A different while for every node.
    fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let most = (500u64 << self.failures.min(4)).min(RETRY_MAX_MS);
        let mut random = [0; 8];
        // Without randomness it is the whole while.
        let part = aws_lc_rs::rand::fill(&mut random).map_or(u64::MAX, |()| u64::from_le_bytes(random));
        Duration::from_millis(20 + ((u128::from(part) * u128::from(most)) >> 64) as u64)
    }

    /// Says once that the store cannot be read, and once that it can again.
    fn note(&mut self, failed: Option<&StoreError>) {
        match failed {
            Some(error) if !self.state.stale.swap(true, Ordering::Relaxed) || self.failures == 0 => {
                say("warning", "store_unavailable", &error.to_string());
            }
            Some(_) => {}
            None if self.failures > 0 => {
                self.failures = 0;
                say("info", "store_available", "the store can be read again");
            }
            None => {}
        }
    }

    /// One look at the store; applies what is new.
    fn look(&mut self, patience: Duration) -> Result<(), StoreError> {
        if self.store.is_none() {
            self.store = Some(store::open(&self.settings.store, patience)?);
        }
        let Some(store) = &self.store else { return Ok(()) };
        let (pointer, canary) = store.look()?;
        self.state.looked_at.store(clock::wall_seconds(), Ordering::Relaxed);
        self.looked = pointer;
        let Some(pointer) = pointer else {
            // An empty store knows nothing of what is served here: its folder was moved away, or is another one.
            self.state.stale.store(self.current.is_some(), Ordering::Relaxed);
            return Ok(());
        };
        let objection = match &self.served {
            Some(served) => self.lineage.objection(served, &pointer, &**store)?,
            None => None,
        };
        // What is served is not what this store says: as old as if it could not be read.
        self.state.stale.store(objection.is_some(), Ordering::Relaxed);
        if let Some(reason) = objection {
            if self.tried != Some(pointer) || self.refused() != Some(pointer.revision) {
                self.tried = Some(pointer);
                self.refuse(&pointer, reason);
            }
            return Ok(());
        }
        let now = clock::wall_seconds();
        let canary = canary.filter(|canary| canary.holds_for(&self.settings.node, &pointer, now));
        match canary {
            Some(canary) => self.follow_canary(canary.manifest),
            None => self.follow_pointer(pointer),
        }
    }

    fn follow_pointer(&mut self, pointer: Pointer) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let current = self.current.as_ref().map(|(current, _)| *current);
        if current == Some(pointer) && self.served == Some(pointer) {
            self.tried = Some(pointer);
            return Ok(());
        }
        // A canary that was served is over: it was taken back, or it has become the newest.
        let leaves = current.is_some() && current != self.served;
        if self.tried == Some(pointer) && !leaves {
            return Ok(());
        }
        let cluster = store.cluster();
        let manifest = store.manifest(&pointer)?;
        match self.load(&pointer, &manifest, false) {
            Ok(()) => {
                self.served = Some(pointer);
                self.unkept = Some((pointer, manifest));
                self.lineage.keep(cluster);
            }
            // Nothing is wrong with the revision; it is tried again.
            Err(NotLoaded::Store(error)) => return Err(error),
            Err(NotLoaded::Refused(reason)) => {
                self.refuse(&pointer, reason);
                if let Some(served) = self.served.filter(|_| leaves)
                    && let Err(reason) = self.last_good(&served)
                {
                    say("error", "last_good_unusable", &reason);
                }
            }
        }
        self.tried = Some(pointer);
        self.renew_page();
        Ok(())
    }

    /// It is neither kept beside us nor what the store may not fall behind: should this node start anew, it asks again.
    fn follow_canary(&mut self, manifest: Manifest) -> Result<(), StoreError> {
        let pointer = manifest.pointer();
        if self.tried == Some(pointer) {
            return Ok(());
        }
        match self.load(&pointer, &manifest, false) {
            Ok(()) => {
                self.state.page.lock().unwrap_or_else(PoisonError::into_inner).canary = true;
                say("info", "canary", &format!("revision {}", pointer.revision));
            }
            Err(NotLoaded::Store(error)) => return Err(error),
            Err(NotLoaded::Refused(reason)) => self.refuse(&pointer, reason),
        }
        self.tried = Some(pointer);
        self.renew_page();
        Ok(())
    }

    fn refused(&self) -> Option<u64> {
        let page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.refused.as_ref().map(|refused| refused.revision)
    }

    fn load(&mut self, pointer: &Pointer, manifest: &Manifest, from_own: bool) -> Result<(), NotLoaded> {
        if manifest.schema > SCHEMA {
            let (theirs, ours) = (manifest.schema, SCHEMA);
            return Err(NotLoaded::Refused(format!(
                "its manifest has schema {theirs}, this build reads up to {ours}; upgrade this node first"
            )));
        }
        let (own, store) = (&self.own, self.store.as_ref().filter(|_| !from_own));
        let previous = self.current.as_ref().map(|(_, live)| &*live.snapshot);
        let (mut read, mut held) = (HashMap::new(), 0);
        let fetch = |_: &str, digest: &Digest| {
            // What is not new lies beside us: a change of one thing asks the store for one thing.
            let bytes = match (own.value(digest), store) {
                (Err(_), Some(store)) => store.value(digest)?,
                (own, _) => return own,
            };
            if held + bytes.len() <= READ_BYTES_MAX {
                held += bytes.len();
                read.insert(*digest, bytes.clone());
            }
            Ok(bytes)
        };
        let snapshot =
            Snapshot::advance(pointer.revision, &manifest.parts, previous, fetch).map_err(|refused| match refused {
                Refused::Store(error @ StoreError::Unavailable(_)) => NotLoaded::Store(error),
                refused => NotLoaded::Refused(refused.to_string()),
            })?;
        // Keys that come and go leave the catalog as it is, and whoever watches how it does compares with the one before it.
        let before = self.current.as_ref().and_then(|(_, live)| {
            let same = Arc::ptr_eq(&live.snapshot.catalog, &snapshot.catalog);
            if same { live.before.clone() } else { Some(Arc::clone(&live.snapshot)) }
        });
        let Made { live, warnings, kept } =
            self.builder.build(snapshot, before, &self.state.book).map_err(NotLoaded::Refused)?;
        memory::set_limit(live.snapshot.catalog.gateway.sizes.memory_bytes_max);
        let live = Arc::new(live);
        self.state.names_changed.notify_one();
        self.newest.set(Arc::clone(&live));
        *self.state.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        *self.state.warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
        self.state.tell_warnings();
        self.state.kept_changed.notify_one();
        self.current = Some((*pointer, live));
        self.read = read;
        metrics::gauge!("weir_config_revision").set(pointer.revision as f64);
        let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.applied = pointer.revision;
        page.applied_digest = Some(pointer.digest);
        page.canary = false;
        if page.refused.as_ref().is_some_and(|refused| refused.revision <= pointer.revision) {
            page.refused = None;
        }
        Ok(())
    }

    fn refuse(&self, at: &Pointer, reason: String) {
        let revision = at.revision;
        say("error", "revision_refused", &format!("revision {revision}: {reason}"));
        metrics::counter!("weir_config_refused_total").increment(1);
        let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.refused = Some(Refusal { revision, digest: Some(at.digest), reason });
    }

    /// The last good revision, beside us: values first, then what names them.
    fn keep(&mut self) {
        let Some((pointer, manifest)) = self.unkept.take() else { return };
        match self.copy(&pointer, &manifest) {
            Ok(()) => self.read = HashMap::new(),
            Err(error) => {
                say("error", "last_good_not_kept", &error.to_string());
                self.unkept = Some((pointer, manifest));
            }
        }
    }

    fn copy(&mut self, pointer: &Pointer, manifest: &Manifest) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        for digest in manifest.parts.values() {
            if self.own.has(digest) {
                continue;
            }
            match self.read.get(digest) {
                Some(bytes) => self.own.put(digest, bytes)?,
                None => self.own.put(digest, &store.value(digest)?)?,
            }
        }
        if self.own.pointer() == Some(*pointer) { Ok(()) } else { self.own.keep(pointer, manifest) }
    }

    /// Not when it says what was just written: each write is one of the store's disk, and a whole fleet writes at once.
    fn renew_page(&mut self) {
        let page = {
            let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
            page.seen = clock::wall_seconds();
            page.clone()
        };
        let Some(store) = self.store.as_ref().filter(|_| self.told.as_ref() != Some(&page)) else { return };
        match store.write_page(&page) {
            Ok(()) => self.told = Some(page),
            Err(error) => {
                self.told = None;
                say("warning", "page_not_written", &error.to_string());
            }
        }
    }
}
