//! The embedded store: a local folder.
//!
//! ```text
//! values/<digest>      written once, never changed
//! manifests/<epoch>-<revision>.json
//! pointer              replaced by rename, so that a reader sees the old one or the new one
//! pointer-canary       what some nodes try before it is the newest
//! lock                 held while the pointer is compared and moved
//! nodes/<id>.json
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use notify::Watcher;

use super::{Store, StoreError};
use crate::id::Digest;
use crate::keyspace::{Canary, MANIFESTS_KEPT, Manifest, NodePage, Pointer, is_node_name};

pub struct Folder {
    root: PathBuf,
    manifests_kept: usize,
    watch: Mutex<Option<Watch>>,
}

struct Watch {
    // Dropping it ends the notifications.
    _watcher: notify::RecommendedWatcher,
    moved: Receiver<()>,
}

impl Folder {
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in ["values", "manifests", "nodes"] {
            fs::create_dir_all(root.join(folder)).map_err(|error| unavailable(&root, &error))?;
        }
        Ok(Self { root, manifests_kept: MANIFESTS_KEPT, watch: Mutex::new(None) })
    }

    /// Fewer than the usual number of manifests, for tests.
    pub fn keeping(mut self, manifests: usize) -> Self {
        self.manifests_kept = manifests.max(1);
        self
    }

    fn read(&self, path: &Path, what: impl FnOnce() -> String) -> Result<Vec<u8>, StoreError> {
        fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::Missing(what()),
            _ => unavailable(path, &error),
        })
    }

    /// All or nothing: written beside, synced, renamed.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.replace_by(path, bytes, true)
    }

    fn replace_by(&self, path: &Path, bytes: &[u8], lasting: bool) -> Result<(), StoreError> {
        let write = || {
            // A name that nobody else takes: the first processes of two containers have the same id.
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(std::io::Error::other)?;
            let beside = path.with_extension(format!("new-{:016x}", u64::from_le_bytes(random)));
            let mut file = File::create_new(&beside)?;
            file.write_all(bytes)?;
            if lasting {
                file.sync_all()?;
            }
            fs::rename(&beside, path)
        };
        write().map_err(|error| unavailable(path, &error))
    }

    fn value_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("values").join(digest.to_string())
    }

    fn manifest_path(&self, epoch: u64, revision: u64) -> PathBuf {
        self.root.join("manifests").join(format!("{epoch:06}-{revision:012}.json"))
    }

    /// Checked against its digest.
    fn manifest_text(&self, at: &Pointer) -> Result<Vec<u8>, StoreError> {
        let bytes = self.read(&self.manifest_path(at.epoch, at.revision), || manifest_name(at))?;
        if Digest::of(&bytes) == at.digest { Ok(bytes) } else { Err(StoreError::Corrupt(manifest_name(at))) }
    }

    /// Names sort by time because of their leading zeros.
    fn manifest_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.root.join("manifests");
        let entries = fs::read_dir(&folder).map_err(|error| unavailable(&folder, &error))?;
        let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(json).collect();
        files.sort();
        Ok(files)
    }

    /// Drops manifests beyond the kept ones and, now and then, values that no manifest names any more.
    ///
    /// A value that somebody is about to name survives because it is younger than an hour.
    fn prune(&self, revision: u64) -> Result<(), StoreError> {
        let files = self.manifest_files()?;
        let Some(surplus) = files.len().checked_sub(self.manifests_kept).filter(|surplus| *surplus > 0) else {
            return Ok(());
        };
        for file in &files[..surplus] {
            let _ = fs::remove_file(file);
        }
        if !revision.is_multiple_of(SWEEP_EVERY) {
            return Ok(());
        }
        let mut named = std::collections::HashSet::new();
        for file in &files[surplus..] {
            let manifest = fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
            // Without knowing what a kept manifest names, nothing may go.
            let Some(manifest) = manifest else { return Ok(()) };
            named.extend(manifest.parts.into_values());
        }
        let folder = self.root.join("values");
        for entry in fs::read_dir(&folder).map_err(|error| unavailable(&folder, &error))?.flatten() {
            let digest = entry.file_name().to_str().and_then(Digest::parse);
            let old = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > VALUE_GRACE));
            if old && digest.is_none_or(|digest| !named.contains(&digest)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn watching(&self) -> Result<Watch, StoreError> {
        let (sender, moved) = std::sync::mpsc::sync_channel(1);
        let notice = move |event: notify::Result<notify::Event>| {
            let about_pointer =
                |path: &PathBuf| path.file_name().is_some_and(|name| name == "pointer" || name == CANARY);
            // Reading the pointer is an event, too; believing it would have a waiter wake itself for ever.
            let moved = |event: &notify::Event| !event.kind.is_access() && event.paths.iter().any(about_pointer);
            if event.is_ok_and(|event| moved(&event)) {
                // A full channel means that a notice is waiting already.
                let _ = sender.try_send(());
            }
        };
        let failed = |error: notify::Error| StoreError::Unavailable(error.to_string());
        let mut watcher = notify::recommended_watcher(notice).map_err(failed)?;
        watcher.watch(&self.root, notify::RecursiveMode::NonRecursive).map_err(failed)?;
        Ok(Watch { _watcher: watcher, moved })
    }
}

impl Store for Folder {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError> {
        let path = self.root.join("pointer");
        match self.read(&path, String::new) {
            Ok(bytes) => {
                let pointer = serde_json::from_slice(&bytes);
                pointer.map(Some).map_err(|_| StoreError::Corrupt("the pointer".into()))
            }
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_text(at)?;
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Corrupt(manifest_name(at)))
    }

    fn confirm(&self, at: &Pointer) -> Result<(), StoreError> {
        self.manifest_text(at).map(drop)
    }

    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let bytes = self.read(&self.value_path(digest), || format!("value {digest}"))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Corrupt(format!("value {digest}"))) }
    }

    fn put_value(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.value(&digest).is_err() {
            self.replace(&self.value_path(&digest), bytes)?;
        }
        Ok(digest)
    }

    fn publish(&self, manifest: &Manifest, expected: Option<&Pointer>) -> Result<Pointer, StoreError> {
        let _lock = self.locked()?;
        let now = self.pointer()?;
        if now.as_ref() != expected {
            return Err(StoreError::Conflict { now });
        }
        let encoded = manifest.encode();
        let pointer = Pointer { revision: manifest.revision, epoch: manifest.epoch, digest: Digest::of(&encoded) };
        if let Some(now) = now.filter(|now| !pointer.is_after(now)) {
            return Err(StoreError::Conflict { now: Some(now) });
        }
        for (name, digest) in &manifest.parts {
            if !self.value_path(digest).exists() {
                return Err(StoreError::Missing(format!("value of {name}")));
            }
        }
        self.replace(&self.manifest_path(manifest.epoch, manifest.revision), &encoded)?;
        let text = serde_json::to_vec(&pointer).unwrap_or_default();
        self.replace(&self.root.join("pointer"), &text)?;
        self.prune(manifest.revision)?;
        Ok(pointer)
    }

    fn history(&self, most: usize) -> Result<Vec<Manifest>, StoreError> {
        let files = self.manifest_files()?;
        let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        Ok(files.iter().rev().take(most).filter_map(read).collect())
    }

    fn canary(&self) -> Result<Option<Canary>, StoreError> {
        match self.read(&self.root.join(CANARY), String::new) {
            // One of a newer form is as good as none: whoever wrote it waits for nodes that understand it.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_canary(&self, canary: Option<&Canary>, expected: Option<&Canary>) -> Result<(), StoreError> {
        let _lock = self.locked()?;
        if self.canary()?.as_ref() != expected {
            return Err(StoreError::Conflict { now: self.pointer()? });
        }
        let path = self.root.join(CANARY);
        match canary {
            Some(canary) => self.replace(&path, &serde_json::to_vec(canary).unwrap_or_default()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unavailable(&path, &error)),
                _ => Ok(()),
            },
        }
    }

    fn wait(&self, seen: Option<&Pointer>, most: Duration) -> Result<bool, StoreError> {
        let mut watch = self.watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Watch first and look second, so that a move in between is seen.
        let watching = match watch.take() {
            Some(watching) => watching,
            None => self.watching()?,
        };
        if self.pointer()?.as_ref() == seen {
            match watching.moved.recv_timeout(most) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(StoreError::Unavailable("the watch ended".into())),
            }
        }
        *watch = Some(watching);
        Ok(self.pointer()?.as_ref() != seen)
    }

    fn write_page(&self, page: &NodePage) -> Result<(), StoreError> {
        let path = self.page_path(&page.node)?;
        // It is written again in two seconds, and one that a crash tears is passed over.
        self.replace_by(&path, &serde_json::to_vec(page).unwrap_or_default(), false)
    }

    fn pages(&self) -> Result<Vec<NodePage>, StoreError> {
        let folder = self.root.join("nodes");
        let entries = fs::read_dir(&folder).map_err(|error| unavailable(&folder, &error))?;
        let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let read = |path: PathBuf| serde_json::from_slice::<NodePage>(&fs::read(path).ok()?).ok();
        let mut pages: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(json).filter_map(read).collect();
        pages.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(pages)
    }

    fn remove_page(&self, node: &str) -> Result<(), StoreError> {
        let path = self.page_path(node)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unavailable(&path, &error)),
            _ => Ok(()),
        }
    }
}

impl Folder {
    /// Released when the file is closed, also when the process dies.
    fn locked(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let lock = File::create(&path).map_err(|error| unavailable(&path, &error))?;
        lock.lock().map_err(|error| unavailable(&path, &error))?;
        Ok(lock)
    }

    fn page_path(&self, node: &str) -> Result<PathBuf, StoreError> {
        if !is_node_name(node) {
            return Err(StoreError::Refused(format!("{node:?} is not a usable node name")));
        }
        Ok(self.root.join("nodes").join(format!("{node}.json")))
    }
}

fn manifest_name(at: &Pointer) -> String {
    format!("manifest of revision {}", at.revision)
}

const CANARY: &str = "pointer-canary";

/// Looking at every value and every kept manifest reads megabytes; it need not be done with each revision.
const SWEEP_EVERY: u64 = 16;

/// A publisher writes its values first and names them seconds later.
const VALUE_GRACE: Duration = Duration::from_secs(3_600);

fn unavailable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Origin;
    use std::collections::BTreeMap;

    fn folder(name: &str) -> Folder {
        let root = std::env::temp_dir().join(format!("weir-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        Folder::open(root).unwrap()
    }

    fn manifest(revision: u64, parts: BTreeMap<String, Digest>) -> Manifest {
        Manifest {
            schema: 1,
            revision,
            epoch: 0,
            author: "t".into(),
            reason: "test".into(),
            time: 0,
            parts,
            origin: Origin::Unsaid,
        }
    }

    #[test]
    fn a_revision_is_all_or_nothing() {
        let store = folder("atomic");
        let digest = store.put_value(b"{}").unwrap();
        let missing = manifest(1, BTreeMap::from([("a".into(), Digest::of(b"absent"))]));
        assert!(matches!(store.publish(&missing, None), Err(StoreError::Missing(_))));
        assert_eq!(store.pointer().unwrap(), None);
        let first = store.publish(&manifest(1, BTreeMap::from([("a".into(), digest)])), None).unwrap();
        assert_eq!(store.manifest(&first).unwrap().parts["a"], digest);
        assert!(matches!(store.publish(&manifest(2, BTreeMap::new()), None), Err(StoreError::Conflict { .. })));
        fs::write(store.value_path(&digest), b"[]").unwrap();
        assert!(matches!(store.value(&digest), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn of_many_publishers_one_wins_each_revision() {
        let store = folder("race");
        let won = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let seen = store.pointer().unwrap();
                        let next = manifest(seen.map_or(1, |seen| seen.revision + 1), BTreeMap::new());
                        match store.publish(&next, seen.as_ref()) {
                            Ok(_) => drop(won.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
                            Err(StoreError::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        assert_eq!(store.pointer().unwrap().unwrap().revision, won.into_inner());
    }

    #[test]
    fn a_waiter_wakes_when_the_pointer_moves() {
        let store = std::sync::Arc::new(folder("watch"));
        let other = std::sync::Arc::clone(&store);
        let publisher = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            other.publish(&manifest(1, BTreeMap::new()), None).unwrap();
        });
        assert!(store.wait(None, Duration::from_secs(20)).unwrap());
        let seen = store.pointer().unwrap();
        assert!(!store.wait(seen.as_ref(), Duration::from_millis(50)).unwrap());
        publisher.join().unwrap();
    }

    #[test]
    fn old_manifests_go_and_the_newest_stay() {
        let store = folder("prune").keeping(3);
        let mut seen = None;
        for revision in 1..=9 {
            seen = Some(store.publish(&manifest(revision, BTreeMap::new()), seen.as_ref()).unwrap());
        }
        let revisions: Vec<_> = store.history(10).unwrap().iter().map(|manifest| manifest.revision).collect();
        assert_eq!(revisions, [9, 8, 7]);
    }

    #[test]
    fn pages_come_and_go() {
        let store = folder("pages");
        let page = NodePage { node: "a-1".into(), applied: 3, ..NodePage::default() };
        store.write_page(&page).unwrap();
        assert_eq!(store.pages().unwrap(), [page]);
        assert!(store.write_page(&NodePage { node: "../x".into(), ..NodePage::default() }).is_err());
        store.remove_page("a-1").unwrap();
        assert!(store.pages().unwrap().is_empty());
    }
}
