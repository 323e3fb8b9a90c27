//! What is known of each scenario: its words, its counters, the last request. Workers hold references and count without a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::scenario::{self, Scenario};

/// All scenarios that were asked for, and a number that moves when a worker has to look again.
#[derive(Default)]
pub struct Registry {
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    overrides: Mutex<BTreeMap<String, String>>,
    generation: AtomicU64,
}

/// One scenario: the text of the path, what it means, what happened.
pub struct Entry {
    pub text: String,
    pub scenario: Result<Scenario, String>,
    pub stats: Arc<Stats>,
}

#[derive(Default)]
pub struct Stats {
    pub requests: AtomicU64,
    pub events: AtomicU64,
    pub connections: AtomicU64,
    pub live: AtomicU64,
    pub most_live: AtomicU64,
    pub streams: AtomicU64,
    pub finished: AtomicU64,
    pub aborted: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub last_request_us: AtomicU64,
    pub last_abort_us: AtomicU64,
    pub last_abort_ms: AtomicU64,
    pub last: Mutex<Option<Captured>>,
}

/// What the control socket says about one scenario. Times named `_us` are CLOCK_MONOTONIC, the same for every process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub requests: u64,
    /// Events handed to the kernel whole.
    pub events: u64,
    /// Connections whose first request was for this scenario.
    pub connections: u64,
    /// Answers under way, unary ones included.
    pub live: u64,
    /// The most that there were at once.
    #[serde(default)]
    pub most_live: u64,
    pub streams: u64,
    /// Answers that went their whole way.
    pub finished: u64,
    /// Answers whose peer left before their end.
    pub aborted: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub last_request_us: u64,
    pub last_abort_us: u64,
    /// The same moment in milliseconds since 1970.
    pub last_abort_ms: u64,
}

/// A request as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Registry {
    /// The entry of a scenario; new ones are made. Too many different ones share one entry, so that nobody fills the memory.
    pub fn entry(&self, text: &str) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(text) {
            return entry.clone();
        }
        let words = self.words(text);
        let known = if entries.len() >= SCENARIOS_MAX { "" } else { text };
        let stats = entries.get(known).map(|entry| entry.stats.clone()).unwrap_or_default();
        let entry = Arc::new(Entry { text: text.to_owned(), scenario: scenario::parse(&words), stats });
        if entries.len() < SCENARIOS_MAX {
            entries.insert(text.to_owned(), entry.clone());
        }
        entry
    }

    fn words(&self, text: &str) -> String {
        let overrides = lock(&self.overrides);
        overrides.get(text).cloned().unwrap_or_else(|| text.to_owned())
    }

    /// From now on requests for `text` behave as `words` say; the counters stay. Empty words: as the path says.
    pub fn set(&self, text: &str, words: &str) -> Result<(), String> {
        scenario::parse(words)?;
        let stats = self.entry(text).stats.clone();
        if words.is_empty() {
            lock(&self.overrides).remove(text);
        } else {
            lock(&self.overrides).insert(text.to_owned(), words.to_owned());
        }
        let meaning = if words.is_empty() { text } else { words };
        let entry = Arc::new(Entry { text: text.to_owned(), scenario: scenario::parse(meaning), stats });
        lock(&self.entries).insert(text.to_owned(), entry);
        self.generation.fetch_add(1, Relaxed);
        Ok(())
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub fn counters(&self) -> BTreeMap<String, Counters> {
        lock(&self.entries).iter().map(|(text, entry)| (text.clone(), entry.stats.read())).collect()
    }

    pub fn last(&self, text: &str) -> Option<Captured> {
        let entry = lock(&self.entries).get(text).cloned()?;
        let last = lock(&entry.stats.last);
        last.clone()
    }

    /// All counters to zero (what is under way stays counted as live), all captures and overrides gone.
    pub fn reset(&self) {
        lock(&self.overrides).clear();
        let mut entries = lock(&self.entries);
        for entry in entries.values_mut() {
            entry.stats.clear();
            let fresh =
                Entry { text: entry.text.clone(), scenario: scenario::parse(&entry.text), stats: entry.stats.clone() };
            *entry = Arc::new(fresh);
        }
        self.generation.fetch_add(1, Relaxed);
    }
}

impl Stats {
    pub fn read(&self) -> Counters {
        Counters {
            requests: self.requests.load(Relaxed),
            events: self.events.load(Relaxed),
            connections: self.connections.load(Relaxed),
            live: self.live.load(Relaxed),
            most_live: self.most_live.load(Relaxed),
            streams: self.streams.load(Relaxed),
            finished: self.finished.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            last_request_us: self.last_request_us.load(Relaxed),
            last_abort_us: self.last_abort_us.load(Relaxed),
            last_abort_ms: self.last_abort_ms.load(Relaxed),
        }
    }

    fn clear(&self) {
        for counter in [
            &self.requests,
            &self.events,
            &self.connections,
            &self.streams,
            &self.finished,
            &self.aborted,
            &self.bytes_in,
            &self.bytes_out,
            &self.last_request_us,
            &self.last_abort_us,
            &self.last_abort_ms,
        ] {
            counter.store(0, Relaxed);
        }
        *lock(&self.last) = None;
    }
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// A test that panicked while it held a lock must not take the vendor with it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More scenarios than any suite has cases.
const SCENARIOS_MAX: usize = 10_000;
