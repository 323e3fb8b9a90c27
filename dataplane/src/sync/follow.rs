//! Following the store: on a thread of its own, with calls that block.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_shared::key::Pepper;
use weir_shared::keyspace::{Manifest, NODE_RENEWAL_SECONDS, NodePage, Pointer, Refusal};
use weir_shared::snapshot::Snapshot;
use weir_shared::store::{self, Folder, Store, StoreError};

use super::addresses::Book;
use super::build::{Builder, Made};
use super::credentials::Kept;
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

pub struct Follower {
    settings: Settings,
    store: Option<Box<dyn Store>>,
    mirror: Folder,
    builder: Builder,
    newest: Arc<Newest>,
    state: Arc<State>,
    current: Option<(Pointer, Arc<Live>)>,
    /// Applied, and not yet kept beside us as the last good one.
    unkept: Option<(Pointer, Manifest)>,
    /// The newest pointer that was tried, applied or not.
    tried: Option<Pointer>,
}

const RETRY: Duration = Duration::from_secs(1);

impl Follower {
    pub fn new(settings: Settings, newest: Arc<Newest>) -> Result<Self, String> {
        let folder = settings.state.join("snapshot");
        let mirror = Folder::open(&folder).map_err(|error| error.to_string())?.keeping(2);
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
            stale: AtomicBool::new(true),
            looked_at: AtomicU64::new(0),
        });
        let builder = Builder::new(settings.pepper.clone(), settings.seal);
        Ok(Self { settings, store: None, mirror, builder, newest, state, current: None, unkept: None, tried: None })
    }

    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The first configuration: the store's, or the last good one when the store is not there.
    pub fn first(&mut self) {
        if let Err(error) = self.look() {
            say("warning", "store_unavailable", &error.to_string());
        }
        if self.current.is_none()
            && let Ok(Some(pointer)) = self.mirror.pointer()
        {
            match self.mirror.manifest(&pointer) {
                Ok(manifest) => match self.load(&pointer, &manifest, true) {
                    Ok(()) => {
                        // Also when the store could be read: it is empty, and knows nothing of what is served.
                        self.state.stale.store(true, Ordering::Relaxed);
                        say("warning", "serving_last_good", &format!("revision {}", pointer.revision));
                    }
                    Err(reason) => say("error", "last_good_unusable", &reason),
                },
                Err(error) => say("error", "last_good_unusable", &error.to_string()),
            }
        }
        // Whoever publishes next must know that this node is there.
        self.renew_page();
    }

    /// Follows for ever.
    pub fn run(mut self) {
        if let Some((pointer, manifest)) = self.unkept.take() {
            self.keep(&pointer, &manifest);
        }
        loop {
            let waited = match &self.store {
                Some(store) => store.wait(self.tried.as_ref(), Duration::from_secs(NODE_RENEWAL_SECONDS)),
                None => Err(StoreError::Unavailable("not opened".into())),
            };
            if waited.is_err() {
                std::thread::sleep(RETRY);
            }
            if self.look().is_err() {
                self.state.stale.store(true, Ordering::Relaxed);
            }
            self.renew_page();
            // After the page: whoever waits for this revision need not wait for our own copy of it.
            if let Some((pointer, manifest)) = self.unkept.take() {
                self.keep(&pointer, &manifest);
            }
        }
    }

    /// One look at the store; applies what is new.
    fn look(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            self.store = Some(store::open(&self.settings.store)?);
        }
        let Some(store) = &self.store else { return Ok(()) };
        let pointer = store.pointer()?;
        self.state.looked_at.store(clock::wall_seconds(), Ordering::Relaxed);
        self.state.stale.store(false, Ordering::Relaxed);
        let Some(pointer) = pointer else {
            // An empty store knows nothing of what is served here: its folder was moved away, or is another one.
            self.state.stale.store(self.current.is_some(), Ordering::Relaxed);
            return Ok(());
        };
        if self.tried == Some(pointer) {
            return Ok(());
        }
        let manifest = store.manifest(&pointer)?;
        if let Some((current, _)) = &self.current
            && !pointer.is_after(current)
        {
            let reason = format!(
                "the store went back from revision {} to {}: it was restored from an older copy, or it is another store",
                current.revision, pointer.revision
            );
            self.tried = Some(pointer);
            self.refuse(pointer.revision, reason);
            return Ok(());
        }
        self.tried = Some(pointer);
        match self.load(&pointer, &manifest, false) {
            Ok(()) => self.unkept = Some((pointer, manifest)),
            Err(reason) => self.refuse(pointer.revision, reason),
        }
        self.renew_page();
        Ok(())
    }

    fn load(&mut self, pointer: &Pointer, manifest: &Manifest, from_mirror: bool) -> Result<(), String> {
        let store: &dyn Store = match (&self.store, from_mirror) {
            (Some(store), false) => &**store,
            _ => &self.mirror,
        };
        let previous = self.current.as_ref().map(|(_, live)| &live.snapshot);
        let fetch = |_: &str, digest: &weir_shared::id::Digest| store.value(digest);
        let snapshot = Snapshot::advance(pointer.revision, &manifest.parts, previous, fetch)
            .map_err(|refused| refused.to_string())?;
        let Made { live, warnings, kept } = self.builder.build(snapshot, &self.state.book)?;
        memory::set_limit(live.snapshot.catalog.gateway.sizes.memory_bytes_max);
        let live = Arc::new(live);
        self.state.names_changed.notify_one();
        self.newest.set(Arc::clone(&live));
        *self.state.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        *self.state.warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
        self.state.tell_warnings();
        self.state.kept_changed.notify_one();
        self.current = Some((*pointer, live));
        metrics::gauge!("weir_config_revision").set(pointer.revision as f64);
        let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.applied = pointer.revision;
        page.applied_digest = Some(pointer.digest);
        if page.refused.as_ref().is_some_and(|refused| refused.revision <= pointer.revision) {
            page.refused = None;
        }
        Ok(())
    }

    fn refuse(&self, revision: u64, reason: String) {
        say("error", "revision_refused", &format!("revision {revision}: {reason}"));
        metrics::counter!("weir_config_refused_total").increment(1);
        let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.refused = Some(Refusal { revision, reason });
    }

    /// The last good revision, beside us: values first, the pointer last, each checked by its digest when it is read.
    fn keep(&self, pointer: &Pointer, manifest: &Manifest) {
        let Some(store) = &self.store else { return };
        let copy = || -> Result<(), StoreError> {
            for digest in manifest.parts.values() {
                if self.mirror.value(digest).is_err() {
                    self.mirror.put_value(&store.value(digest)?)?;
                }
            }
            let before = self.mirror.pointer()?;
            if before.as_ref() != Some(pointer) {
                self.mirror.publish(manifest, before.as_ref())?;
            }
            Ok(())
        };
        if let Err(error) = copy() {
            say("error", "last_good_not_kept", &error.to_string());
        }
    }

    fn renew_page(&self) {
        let page = {
            let mut page = self.state.page.lock().unwrap_or_else(PoisonError::into_inner);
            page.seen = clock::wall_seconds();
            page.clone()
        };
        if let Some(store) = &self.store
            && let Err(error) = store.write_page(&page)
        {
            say("warning", "page_not_written", &error.to_string());
        }
    }
}
