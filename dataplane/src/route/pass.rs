//! Which credential of the vendor carries the call. Limits of credentials belong here, per attempt.

use std::cell::Cell;

use weir_shared::catalog::{Credential, Model, Share, Vendor};
use weir_shared::health::Room;
use weir_shared::policy::limit::Exceeded;
use weir_shared::snapshot::Key;

use crate::clock;
use crate::live::{Live, Target};
use crate::secret::{Secret, Shown};

/// One credential for one attempt; its place among the concurrent calls is given back when it ends.
pub struct Pass<'l> {
    pub place: usize,
    pub credential: &'l Credential,
    pub secret: &'l Secret,
    /// What this attempt shows the vendor.
    pub shown: Shown<'l>,
    /// It was taken from this share, which is the key's own; otherwise from what is everybody's.
    own: Option<&'l Share>,
    tokens: u64,
    used: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPass {
    /// None is configured, or none has its secret on this node.
    None,
    /// All are at their limits or resting after a refusal. `is_full`: of one a place is all that is missing.
    Busy { retry_in_ns: u64, is_full: bool },
}

/// A place comes back; what is more than the limit as a whole never fits.
fn is_for_now(exceeded: Exceeded) -> bool {
    !matches!(exceeded, Exceeded::TokensNever)
}

/// What a credential is chosen for.
pub struct Errand<'c, 'l> {
    pub live: &'l Live,
    pub vendor: &'l Vendor,
    pub target: &'l Target,
    pub model: Option<&'l Model>,
    pub key: &'c Key,
    pub tokens: u64,
    /// Only this one may be used.
    pub pinned: Option<usize>,
    /// The call is the operator's, who does not spend what is a tenant's own.
    pub operators: bool,
}

/// The credentials of one vendor for one call, each once.
pub struct Passes<'c, 'l> {
    errand: Errand<'c, 'l>,
    tried: Tried,
}

impl<'c, 'l> Passes<'c, 'l> {
    pub fn new(errand: Errand<'c, 'l>) -> Self {
        Self { errand, tried: Tried::default() }
    }

    /// How many there have been.
    pub fn count(&self) -> u32 {
        self.tried.count()
    }

    pub fn next(&mut self, now: clock::Nanos) -> Result<Pass<'l>, NoPass> {
        let pass = next_pass(&self.errand, &self.tried, now)?;
        self.tried.add(pass.place);
        Ok(pass)
    }
}

/// The credentials that a request has been through.
#[derive(Default)]
struct Tried([u64; 4]);

impl Tried {
    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_none_or(|word| word & 1 << (place % 64) != 0)
    }

    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

thread_local! {
    /// Credentials take turns, so that their limits fill evenly.
    static TURN: Cell<usize> = const { Cell::new(0) };
}

impl Errand<'_, '_> {
    /// The places of the credentials that may carry the call, in the order in which they are asked: a tenant's own before
    /// or behind the others, as it wishes, and within that in turn.
    fn order(&self, turn: usize) -> impl Iterator<Item = usize> {
        let credentials = &self.vendor.credentials;
        let (count, owned) = (credentials.len(), self.vendor.has_owned());
        let rounds = if owned { 0..2 } else { 0..1 };
        rounds.flat_map(move |round| {
            let places = (0..count).map(move |step| (turn + step) % count);
            places.filter(move |&place| {
                let asked = self.key.tenant.round_of(&credentials[place]);
                let spared = self.operators && credentials[place].tenant.is_some();
                asked.is_some_and(|asked| !owned || asked == round)
                    && !spared
                    && self.pinned.is_none_or(|pinned| pinned == place)
            })
        })
    }
}

/// The next credential that was not tried yet.
///
/// By the vendor's own word some have nothing left for the model, and are not asked; one that may have too little is asked
/// when no other has more.
fn next_pass<'l>(errand: &Errand<'_, 'l>, tried: &Tried, now: clock::Nanos) -> Result<Pass<'l>, NoPass> {
    let Errand { live, vendor, target, model, key, tokens, pinned, .. } = *errand;
    let is_drained = |credential: &Credential| super::is_drained(live, vendor, credential);
    let turn = TURN.get();
    TURN.set(turn.wrapping_add(1));
    let mut soonest: Option<u64> = None;
    let (mut any, mut scarce, mut is_full) = (false, None, false);
    let taken = |place: usize, secret, shown| {
        let credential = &vendor.credentials[place];
        let own = take(credential, key, tokens, now)?;
        Ok(Pass { place, credential, secret, shown, own, tokens, used: Cell::new(0) })
    };
    for place in errand.order(turn).filter(|place| !tried.has(*place)) {
        let Some((secret, shown)) = presentable(target, place, now) else { continue };
        let credential = &vendor.credentials[place];
        if is_drained(credential) {
            continue;
        }
        any = true;
        if secret.rests(now) {
            soonest = Some(soonest.map_or(REST_NS, |s| s.min(REST_NS)));
            continue;
        }
        let retry = match room(model, credential, key, place, tokens, now) {
            Room::None { retry_in_ms } => retry_in_ms.saturating_mul(1_000_000),
            Room::Scarce if scarce.is_none() && pinned.is_none() => {
                scarce = Some(place);
                continue;
            }
            Room::Enough | Room::Scarce => match taken(place, secret, shown) {
                Ok(pass) => return Ok(pass),
                Err(exceeded) => {
                    is_full |= is_for_now(exceeded);
                    retry_in(exceeded)
                }
            },
        };
        soonest = Some(soonest.map_or(retry, |s| s.min(retry)));
    }
    if let Some(place) = scarce
        && let Some((secret, shown)) = presentable(target, place, now)
    {
        match taken(place, secret, shown) {
            Ok(pass) => return Ok(pass),
            Err(exceeded) => {
                is_full |= is_for_now(exceeded);
                soonest = Some(soonest.unwrap_or(u64::MAX).min(retry_in(exceeded)));
            }
        }
    }
    // A credential that rests is better than none at all when nothing else was tried.
    if tried.count() == 0 && any && soonest == Some(REST_NS) {
        for place in errand.order(0) {
            let is_spent =
                matches!(room(model, &vendor.credentials[place], key, place, tokens, now), Room::None { .. });
            if is_spent || is_drained(&vendor.credentials[place]) {
                continue;
            }
            if let Some((secret, shown)) = presentable(target, place, now)
                && let Ok(pass) = taken(place, secret, shown)
            {
                return Ok(pass);
            }
        }
    }
    match soonest {
        Some(retry_in_ns) => Err(NoPass::Busy { retry_in_ns, is_full }),
        None => Err(NoPass::None),
    }
}

/// What the vendor said that it still takes of this model by this credential.
fn room(
    model: Option<&Model>,
    credential: &Credential,
    key: &Key,
    place: usize,
    tokens: u64,
    now: clock::Nanos,
) -> Room {
    let health = model.and_then(|model| model.health.get(place)?.known());
    health.map_or(Room::Enough, |health| health.quota.room(tokens, key.kept_from_it(credential), now / 1_000_000))
}

/// Takes what the call needs: of the key's own share while there is any, and of what is everybody's.
fn take<'l>(
    credential: &'l Credential,
    key: &Key,
    tokens: u64,
    now: clock::Nanos,
) -> Result<Option<&'l Share>, Exceeded> {
    let own = key.share_of(credential).filter(|own| own.state.admit(&own.limits, tokens, now).is_ok());
    if own.is_none() {
        credential.state.admit(&credential.limits, tokens, now)?;
    }
    Ok(own)
}

/// A credential that has something to show on this node: its secret is there, and its token has not ended.
fn presentable(target: &Target, place: usize, now: clock::Nanos) -> Option<(&Secret, Shown<'_>)> {
    let secret = target.secrets.get(place)?.as_deref()?;
    Some((secret, secret.shown(|| clock::wall_at(now) / 1_000_000)?))
}

/// How long a credential is passed over after the vendor refused it.
pub const REST_NS: u64 = 10_000_000_000;
/// A vendor's `Retry-After` is believed up to this.
pub const REST_NS_MAX: u64 = 60_000_000_000;

pub fn retry_in(exceeded: Exceeded) -> u64 {
    match exceeded {
        Exceeded::Requests { retry_in } | Exceeded::Tokens { retry_in } => retry_in,
        Exceeded::TokensNever => 60_000_000_000,
        Exceeded::Concurrency => 1_000_000_000,
    }
}

impl Pass<'_> {
    pub fn used(&self, tokens: u64) {
        self.used.set(tokens);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // Only limits in time need the time.
        let all = (&self.credential.limits, &self.credential.state);
        let (limits, state) = self.own.map_or(all, |own| (&own.limits, &own.state));
        let now = if limits.tokens.is_some() { clock::now() } else { 0 };
        let used = self.used.get();
        state.settle(limits, self.tokens, used, now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_shared::draft::{CredentialDraft, Draft, ModelDraft, ShareDraft, Sourced, TenantDraft, VendorDraft};
    use weir_shared::fault::Source;
    use weir_shared::health::Word;
    use weir_shared::key::KeyDraft;
    use weir_shared::snapshot::Snapshot;

    use super::*;
    use crate::secret::{Badge, Sign, Unsigned};

    struct Nothing;

    impl Sign for Nothing {
        fn fields(&self, _: &Unsigned<'_>, _: &mut Vec<u8>) {}

        fn hidden(&self) -> &[Box<[u8]>] {
            &[]
        }
    }

    /// A vendor with three credentials, of the first of which a tenth is a key's own.
    fn snapshot() -> Arc<Snapshot> {
        snapshot_of(&[None; 3], None)
    }

    /// The same with these owners of the credentials, and when they carry the owner's calls.
    fn snapshot_of(owners: &[Option<&str>; 3], own_credentials: Option<&str>) -> Arc<Snapshot> {
        let sourced = |is| Sourced { source: Source::default(), is };
        let credential =
            |name: &str| CredentialDraft { name: name.into(), env: Some("E".into()), ..Default::default() };
        let mut credentials: Vec<_> = ["a", "b", "c"].into_iter().map(credential).collect();
        for (credential, owner) in credentials.iter_mut().zip(owners) {
            credential.tenant = owner.map(str::to_owned);
        }
        credentials[0].share = vec![ShareDraft { key: "owner".into(), percent: 10 }];
        let vendor = VendorDraft {
            name: "v".into(),
            dialect: "openai".into(),
            base_url: "https://v/v1".into(),
            credentials,
            ..Default::default()
        };
        let model = ModelDraft { vendor: "v".into(), id: "m".into(), free: true, ..Default::default() };
        let own_credentials = own_credentials.map(str::to_owned);
        let tenant = TenantDraft { name: "t".into(), own_credentials, ..Default::default() };
        let stranger = TenantDraft { name: "s".into(), ..Default::default() };
        let key = |name: &str, id: &str, tenant: &str| -> KeyDraft {
            let hash = id.repeat(8);
            let draft = serde_json::json!({"id": id, "hash": hash, "name": name, "tenant": tenant, "created": 0});
            serde_json::from_value(draft).unwrap()
        };
        let draft = Draft {
            vendors: vec![Sourced { source: Source::default(), is: vendor }],
            models: vec![Sourced { source: Source::default(), is: model }],
            tenants: vec![sourced(tenant), sourced(stranger)],
            keys: vec![key("owner", "aaaaaaaa", "t"), key("other", "bbbbbbbb", "t"), key("stranger", "cccccccc", "s")],
            ..Draft::default()
        };
        Arc::new(Snapshot::compile(1, &draft).unwrap_or_else(|faults| panic!("{faults:?}")))
    }

    const NOW: clock::Nanos = 5_000_000_000;

    /// Which credentials carry so many calls of a key, each of so many tokens; or the wait for one.
    fn carried(snapshot: &Arc<Snapshot>, key: &str, tokens: u64, calls: usize) -> Vec<Result<usize, u64>> {
        let catalog = &snapshot.catalog;
        let secret = || Some(Arc::new(Secret::fixed(Badge { sign: Box::new(Nothing), until_ms: None })));
        let secrets = (0..3).map(|_| secret()).collect();
        let target = Target { pool: 0, tls: None, secrets, addresses: Arc::default() };
        let key = snapshot.keys().find(|known| &*known.name == key).unwrap();
        let (pepper, seal) = (weir_shared::key::Pepper([0; 32]), [0; 32]);
        let live = Live { snapshot: Arc::clone(snapshot), before: None, targets: Vec::new(), pepper, seal };
        let call = |_| {
            let (vendor, model) = (&catalog.vendors[0], Some(&catalog.models[0]));
            let (live, target, pinned, operators) = (&live, &target, None, false);
            let errand = Errand { live, vendor, target, model, key, tokens, pinned, operators };
            let passed = next_pass(&errand, &Tried::default(), NOW);
            match passed {
                Ok(pass) => {
                    model.and_then(|model| model.health.get(pass.place)).unwrap().get().quota.send();
                    Ok(pass.place)
                }
                Err(NoPass::Busy { retry_in_ns, .. }) => Err(retry_in_ns),
                Err(NoPass::None) => Err(0),
            }
        };
        (0..calls).map(call).collect()
    }

    fn said(snapshot: &Snapshot, place: usize, requests: Option<u64>, tokens: Option<u64>) {
        let word = |left: u64| Word { left, limit: Some(100), full_in_ms: Some(10_000) };
        let quota = &snapshot.catalog.models[0].health[place].get().quota;
        quota.learn(requests.map(word), tokens.map(word), 0, NOW / 1_000_000);
    }

    #[test]
    fn who_has_nothing_left_is_not_asked() {
        let snapshot = snapshot();
        said(&snapshot, 0, Some(0), None);
        said(&snapshot, 1, Some(2), None);
        let places = carried(&snapshot, "other", 1, 12);
        assert!(places.iter().all(|place| matches!(place, Ok(1 | 2))), "{places:?}");
        assert_eq!(places.iter().filter(|place| **place == Ok(1)).count(), 2);
        said(&snapshot, 2, None, Some(0));
        // One of a hundred comes back in a tenth of a second, at whichever comes first.
        assert_eq!(carried(&snapshot, "other", 1, 1)[0].map_err(|wait| wait / 1_000_000), Err(100));
    }

    #[test]
    fn who_may_have_too_little_is_asked_last() {
        let snapshot = snapshot();
        said(&snapshot, 0, Some(0), None);
        said(&snapshot, 1, None, Some(50));
        assert_eq!(carried(&snapshot, "other", 60, 6), vec![Ok(2); 6]);
        said(&snapshot, 2, Some(0), None);
        assert_eq!(carried(&snapshot, "other", 60, 6), vec![Ok(1); 6]);
    }

    #[test]
    fn what_is_left_of_a_share_is_its_owners() {
        let snapshot = snapshot();
        said(&snapshot, 0, Some(10), None);
        said(&snapshot, 1, Some(0), None);
        said(&snapshot, 2, Some(0), None);
        assert!(carried(&snapshot, "other", 1, 1)[0].is_err());
        let places = carried(&snapshot, "owner", 1, 11);
        assert_eq!((&places[..10], places[10].is_err()), (&[Ok(0); 10][..], true));
    }

    #[test]
    fn a_tenants_own_carries_its_calls_alone_and_when_it_wants() {
        let mine = [Some("t"), None, Some("s")];
        for (own, owners, strangers) in [
            (None, vec![Ok(0); 6], vec![Ok(2); 6]),
            (Some("first"), vec![Ok(0); 6], vec![Ok(2); 6]),
            (Some("only"), vec![Ok(0); 6], vec![Ok(2); 6]),
            (Some("last"), vec![Ok(1); 6], vec![Ok(2); 6]),
        ] {
            let snapshot = snapshot_of(&mine, own);
            assert_eq!(carried(&snapshot, "other", 1, 6), owners, "{own:?}");
            assert_eq!(carried(&snapshot, "stranger", 1, 6), strangers, "{own:?}");
        }
        // With its own at its end the operator's is asked, unless that never is; a stranger's never.
        let snapshot = snapshot_of(&mine, None);
        said(&snapshot, 0, Some(0), None);
        assert_eq!(carried(&snapshot, "other", 1, 6), vec![Ok(1); 6]);
        said(&snapshot, 1, Some(0), None);
        assert!(carried(&snapshot, "other", 1, 1)[0].is_err());
        let snapshot = snapshot_of(&mine, Some("only"));
        said(&snapshot, 0, Some(0), None);
        assert!(carried(&snapshot, "other", 1, 1)[0].is_err());
        let snapshot = snapshot_of(&mine, Some("last"));
        said(&snapshot, 1, Some(0), None);
        assert_eq!(carried(&snapshot, "other", 1, 6), vec![Ok(0); 6]);
        let snapshot = snapshot_of(&[Some("s"), Some("s"), Some("s")], None);
        assert_eq!(carried(&snapshot, "other", 1, 1), [Err(0)], "there is none for it");
    }

    #[test]
    fn every_credential_that_a_vendor_can_have_is_remembered() {
        let mut tried = Tried::default();
        for place in 0..255 {
            assert!(!tried.has(place), "{place}");
            tried.add(place);
            assert!(tried.has(place));
            assert_eq!(tried.count() as usize, place + 1);
        }
        // A place that cannot be is not asked for ever.
        assert!(tried.has(256));
    }
}
