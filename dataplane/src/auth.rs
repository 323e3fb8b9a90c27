//! Who calls. Reads the head alone: a stranger never makes us buffer a body.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use weir_shared::key::Fingerprint;
use weir_shared::snapshot::{Key, Snapshot};

use crate::accept::Request;
use crate::clock;
use crate::live::Live;
use crate::wire::http1::Name;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stranger {
    /// No key, a malformed one, an unknown, revoked or expired one: all alike.
    Unknown,
    /// Too many of these from one address.
    TooMany,
}

/// Clocks of nodes and of the control plane differ a little.
const EXPIRY_SLACK_SECONDS: u64 = 60;

pub fn authenticate<'l>(request: &Request, query: &[u8], from: IpAddr, live: &'l Live) -> Result<&'l Key, Stranger> {
    let known = key_of(request, query, live, &live.snapshot).filter(|key| {
        let expired = key.expires.is_some_and(|at| clock::wall_seconds() > at.saturating_add(EXPIRY_SLACK_SECONDS));
        !expired
    });
    known.ok_or_else(|| count_failure(from))
}

/// The caller's key as a snapshot has it, newest or not.
pub fn key_of<'s>(request: &Request, query: &[u8], live: &Live, snapshot: &'s Snapshot) -> Option<&'s Key> {
    let print = Fingerprint::of(presented(request, query)?, &live.pepper)?;
    snapshot.key(&print).map(|key| &**key)
}

/// The key wherever callers' programs put it.
fn presented<'a>(request: &'a Request, query: &'a [u8]) -> Option<&'a [u8]> {
    let bearer = request.get(Name::Authorization).and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    bearer
        .or_else(|| request.get(Name::XApiKey))
        .or_else(|| request.get(Name::XGoogApiKey))
        .or_else(|| request.get(Name::ApiKey))
        .or_else(|| query.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"key=")))
}

/// Wrong keys of one address within a minute, after which they are answered with 429. A right key is never slowed.
const FAILURES_MAX: u32 = 200;
const WINDOW_MS: u64 = 60_000;
/// Beyond so many addresses the oldest window is forgotten all at once: bounded, and harmless.
const ADDRESSES_MAX: usize = 4_096;

thread_local! {
    static FAILURES: RefCell<HashMap<IpAddr, (u64, u32)>> = RefCell::default();
}

fn count_failure(from: IpAddr) -> Stranger {
    let now = clock::coarse_ms();
    FAILURES.with_borrow_mut(|failures| {
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&from) {
            failures.clear();
        }
        let (since, count) = failures.entry(from).or_insert((now, 0));
        if now - *since > WINDOW_MS {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > FAILURES_MAX { Stranger::TooMany } else { Stranger::Unknown }
    })
}
