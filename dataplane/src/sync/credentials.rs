//! Keeping credentials: files that change, and tokens that end. It happens here, so that a request only reads what is
//! there and never waits for it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use weir_shared::catalog::{SecretRef, Vendor};
use weir_shared::snapshot::Catalog;
use zeroize::Zeroizing;

use super::fetch;
use super::follow::State;
use crate::clock;
use crate::secret::Secret;
use crate::upstream::credential::{self, Found, Token};

/// A credential that somebody has to look after.
pub struct Kept {
    pub secret: Arc<Secret>,
    catalog: Arc<Catalog>,
    vendor: usize,
    credential: usize,
    config: Option<Arc<ClientConfig>>,
    /// What the store had of it, opened.
    sealed: Option<Zeroizing<String>>,
    work: Arc<Mutex<Work>>,
}

/// What is known of it; it outlives a revision that leaves the credential as it is.
#[derive(Default)]
pub struct Work {
    /// Of the file, when it was looked at last.
    stamp: Option<Stamp>,
    text: Option<blake3::Hash>,
    token: Option<Arc<Token>>,
    schedule: Schedule,
    asking: bool,
    /// The token's server was asked once, whatever came of it.
    tried: bool,
    trouble: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    length: u64,
    node: u64,
}

impl Stamp {
    fn of(path: &str) -> Option<Self> {
        let known = std::fs::metadata(Path::new(path)).ok()?;
        Some(Self { modified: (known.mtime(), known.mtime_nsec()), length: known.len(), node: known.ino() })
    }
}

impl Kept {
    pub fn new(
        secret: Arc<Secret>,
        (catalog, vendor, credential): (Arc<Catalog>, usize, usize),
        config: Option<Arc<ClientConfig>>,
        sealed: Option<Zeroizing<String>>,
        work: Arc<Mutex<Work>>,
    ) -> Self {
        Self { secret, catalog, vendor, credential, config, sealed, work }
    }

    fn vendor(&self) -> &Vendor {
        &self.catalog.vendors[self.vendor]
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the secret, when it is not known or may have changed. What was last good stays.
    pub fn read(&self) {
        let from = &self.vendor().credentials[self.credential].secret;
        let stamp = if let SecretRef::File(path) = from { Stamp::of(path) } else { None };
        let mut work = self.work();
        if work.text.is_some() && work.stamp == stamp {
            return;
        }
        work.stamp = stamp;
        let told = self.sealed.clone().map_or_else(|| text(from), Ok);
        let read = told.and_then(|text| {
            let hash = blake3::hash(text.as_bytes());
            if work.text == Some(hash) {
                return Ok(());
            }
            match credential::read(self.vendor(), &text)? {
                Found::Badge(badge) => self.secret.set(badge),
                Found::Token(token) => {
                    work.token = Some(Arc::new(token));
                    work.schedule = Schedule::default();
                }
            }
            work.text = Some(hash);
            Ok(())
        });
        match read {
            // A trouble with tokens ends with a token.
            Ok(()) if work.schedule.failures > 0 => {}
            Ok(()) => work.trouble = None,
            Err(why) => self.tell(&mut work, format!("{from} {why}")),
        }
    }

    /// Says it once, until it is over or something else.
    fn tell(&self, work: &mut Work, what: String) {
        let vendor = self.vendor();
        let trouble =
            format!("vendor {}, credential {}: {what}", vendor.name, vendor.credentials[self.credential].name);
        if work.trouble.as_ref() != Some(&trouble) {
            super::say("warning", "credential_trouble", &trouble);
            work.trouble = Some(trouble);
        }
    }

    pub fn trouble(&self) -> Option<String> {
        self.work().trouble.clone()
    }

    /// It has a token, or it is known that it has none.
    pub fn is_settled(&self) -> bool {
        let work = self.work();
        work.token.is_none() || work.tried
    }

    /// The token to ask for now; whoever takes it says what came of it.
    fn due(&self, now_ms: u64) -> Option<Arc<Token>> {
        let mut work = self.work();
        if self.secret.take_doubt() {
            work.schedule.doubted(now_ms);
        }
        if work.asking || work.schedule.due_in(now_ms) > 0 {
            return None;
        }
        let token = Arc::clone(work.token.as_ref()?);
        work.asking = true;
        Some(token)
    }

    fn due_in(&self, now_ms: u64) -> Option<u64> {
        let work = self.work();
        (work.token.is_some() && !work.asking).then(|| work.schedule.due_in(now_ms))
    }

    async fn ask(&self, token: Arc<Token>, state: &State) {
        let vendor = self.vendor();
        let name = vendor.credentials[self.credential].name.to_string();
        let asked = self.fetch(&token, wall_ms(), state).await;
        let now_ms = wall_ms();
        let mut work = self.work();
        (work.asking, work.tried) = (false, true);
        if work.token.as_ref().is_none_or(|current| !Arc::ptr_eq(current, &token)) {
            // The secret has changed meanwhile: what came of the old one is of no interest.
            return;
        }
        let result = if asked.is_ok() { "got" } else { "failed" };
        metrics::counter!("weir_token_fetches_total", "vendor" => vendor.name.to_string(), "result" => result)
            .increment(1);
        match asked {
            Ok(granted) => {
                let labels = [("vendor", vendor.name.to_string()), ("credential", name)];
                let until_ms = granted.badge.until_ms.unwrap_or_default();
                metrics::gauge!("weir_token_ends_seconds", &labels).set((until_ms / 1_000) as f64);
                self.secret.set(granted.badge);
                work.schedule.fetched(now_ms, granted.seconds, jitter());
                work.trouble = None;
            }
            Err(why) => {
                work.schedule.failed(now_ms, jitter());
                self.tell(&mut work, format!("no token from {}: {why}", token.url.host));
            }
        }
    }

    async fn fetch(&self, token: &Token, asked_at_ms: u64, state: &State) -> Result<credential::Granted, String> {
        let vendor = self.vendor();
        let config = self.config.clone().ok_or("this node has no roots of trust for it")?;
        let form = token.form(asked_at_ms / 1_000)?;
        let proxy = vendor.proxy.as_ref();
        let host = &proxy.unwrap_or(&token.url).host;
        let addresses = state.book.of(host).get();
        if addresses.is_empty() {
            state.names_changed.notify_one();
        }
        let way = fetch::Way { url: &token.url, config, proxy, addresses, internal: vendor.internal };
        let (status, body) = fetch::post_form(way, &form).await?;
        credential::read_answer(status, &body, asked_at_ms)
    }
}

/// What an operator put where the credential says, as it is.
pub fn text(from: &SecretRef) -> Result<Zeroizing<String>, &'static str> {
    match from {
        SecretRef::Env(name) => std::env::var(&**name).map(Zeroizing::new).map_err(|_| "is not set on this node"),
        // Opened by whoever has the snapshot and the keys.
        SecretRef::Sealed => Err("is not open"),
        SecretRef::File(path) => {
            let known = std::fs::metadata(&**path).map_err(|_| "cannot be read on this node")?;
            if known.len() > FILE_BYTES_MAX {
                return Err("is longer than 64 KiB");
            }
            std::fs::read_to_string(&**path).map(Zeroizing::new).map_err(|_| "cannot be read on this node")
        }
    }
}

const FILE_BYTES_MAX: u64 = 64 << 10;

/// Files are looked at this often, as certificates are; they are read when they have changed.
const FILES_EVERY_MS: u64 = 5_000;
const PAUSE_MAX: Duration = Duration::from_secs(1);
const PAUSE_IDLE: Duration = Duration::from_secs(60);

/// Keeps all credentials for ever.
pub async fn keep_fresh(state: Arc<State>) {
    let mut looked_at = 0;
    loop {
        let all = state.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now_ms = wall_ms();
        let moment = clock::now() / 1_000_000;
        if moment >= looked_at + FILES_EVERY_MS {
            looked_at = moment;
            all.iter().for_each(|kept| kept.read());
            state.tell_warnings();
        }
        for kept in &all {
            let Some(token) = kept.due(now_ms) else { continue };
            let (kept, state) = (Arc::clone(kept), Arc::clone(&state));
            // Beside the others: a server that does not answer keeps nobody else waiting.
            tokio::spawn(async move {
                kept.ask(token, &state).await;
                state.tell_warnings();
                state.kept_changed.notify_one();
            });
        }
        let next = all.iter().filter_map(|kept| kept.due_in(now_ms)).min();
        let pause = match next {
            Some(next) => Duration::from_millis(next.max(1)).min(PAUSE_MAX),
            None if all.is_empty() => PAUSE_IDLE,
            None => PAUSE_MAX,
        };
        let _ = tokio::time::timeout(pause, state.kept_changed.notified()).await;
    }
}

fn wall_ms() -> u64 {
    clock::wall_ns() / 1_000_000
}

/// Thousandths: nodes that began together do not all ask together.
fn jitter() -> u64 {
    let mut random = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut random);
    u64::from(u16::from_le_bytes(random)) % 1_000
}

/// When a token is asked for next. Times are milliseconds on the wall: a machine that slept knows what it missed.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    next_ms: u64,
    fetched_ms: u64,
    failures: u32,
}

/// A refused token is doubted; a vendor that refuses every token does not have us ask for one a second.
const DOUBT_EVERY_MS: u64 = 30_000;
const RETRY_MS: u64 = 250;
const RETRY_MS_MAX: u64 = 30_000;

impl Schedule {
    fn due_in(&self, now_ms: u64) -> u64 {
        self.next_ms.saturating_sub(now_ms)
    }

    /// The next one is due when between 70 and 80 % of its time are over: of an hour, twelve minutes are left to retry.
    fn fetched(&mut self, now_ms: u64, seconds: u64, jitter: u64) {
        (self.fetched_ms, self.failures) = (now_ms, 0);
        self.next_ms = now_ms + seconds * (700 + jitter / 10);
    }

    /// Sooner at first, then half a minute apart at most, never two nodes at once.
    fn failed(&mut self, now_ms: u64, jitter: u64) {
        let pause = (RETRY_MS << self.failures.min(16)).min(RETRY_MS_MAX);
        self.failures += 1;
        self.next_ms = now_ms + pause / 2 + pause * jitter / 2_000;
    }

    fn doubted(&mut self, now_ms: u64) {
        let allowed = self.fetched_ms + DOUBT_EVERY_MS;
        if self.failures == 0 {
            self.next_ms = self.next_ms.min(now_ms.max(allowed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    #[test]
    fn a_token_is_renewed_long_before_it_ends() {
        for jitter in [0, 500, 999] {
            let mut schedule = Schedule::default();
            assert_eq!(schedule.due_in(1), 0, "the first is due at once");
            schedule.fetched(1_000, HOUR, jitter);
            let due = schedule.due_in(1_000) / 1_000;
            assert!((HOUR * 7 / 10..=HOUR * 8 / 10).contains(&due), "{due}");
        }
    }

    /// A day of simulated time: a server that is gone for a while, and how often it is asked.
    #[test]
    fn a_server_that_is_gone_is_asked_again_and_no_token_ends_meanwhile() {
        let (from, to) = (5 * HOUR * 1_000, 5 * HOUR * 1_000 + 11 * 60 * 1_000);
        for jitter in [0, 333, 999] {
            let (mut schedule, mut now, mut until, mut asked) = (Schedule::default(), 1, None, 0u32);
            while now < 24 * HOUR * 1_000 {
                now += schedule.due_in(now);
                assert!(until.is_none_or(|until| now < until), "a token ended at {now}");
                asked += 1;
                if (from..to).contains(&now) {
                    schedule.failed(now, jitter);
                    assert!(schedule.due_in(now) > 0);
                } else {
                    schedule.fetched(now, HOUR, jitter);
                    until = Some(now + HOUR * 1_000);
                }
            }
            assert!((30..110).contains(&asked), "asked {asked} times");
        }
    }

    #[test]
    fn retries_back_off_and_never_stop() {
        let mut schedule = Schedule::default();
        let pauses: Vec<u64> = (0..12)
            .map(|_| {
                schedule.failed(0, 999);
                schedule.due_in(0)
            })
            .collect();
        assert!(pauses[0] < 250 && pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert!((29_000..=30_000).contains(&pauses[11]), "{pauses:?}");
    }

    #[test]
    fn a_doubted_token_is_renewed_soon_but_not_over_and_over() {
        let mut schedule = Schedule::default();
        schedule.fetched(0, HOUR, 0);
        schedule.doubted(1_000);
        assert_eq!(schedule.due_in(1_000), 29_000);
        schedule.doubted(40_000);
        assert_eq!(schedule.due_in(40_000), 0);
        schedule.failed(40_000, 0);
        schedule.doubted(40_000);
        assert!(schedule.due_in(40_000) > 0);
    }
}
