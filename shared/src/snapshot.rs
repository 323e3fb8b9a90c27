//! What a worker obeys: immutable, revisioned, compiled once and swapped by pointer.
//!
//! `Draft → Snapshot` is one road that both planes walk: the command line before it publishes, a node before it swaps.
//! It reports every fault, not the first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::catalog::{
    AuthScheme, BaseUrl, Credential, Deviation, Deviations, Dialect, HealthCell, Model, OnHangUp, OnlyPath, Rerank,
    Roots, SecretRef, Share, Thinking, Untranslatable, Vendor,
};
use crate::draft::{self, Draft, ModelDraft, PriceDraft, ShareDraft, Sourced, TenantDraft, VendorDraft, part};
use crate::fault::{Fault, Source};
use crate::hash::NameMap;
use crate::id::Digest;
use crate::key::{Fingerprint, KeyDraft, KeyId};
use crate::money::Rate;
use crate::overlay::Overlay;
use crate::policy::limit::{LimitCell, Limits, Priority};
use crate::policy::queueing::Queueing;
use crate::policy::resilience::{BreakerDraft, BreakerRules};
use crate::policy::routing::{Require, Route};
use crate::policy::size::Sizes;
use crate::policy::time::{NotADuration, Times};
use crate::price::{Band, PriceList, Rates, Schedule};
use crate::reach;
use crate::resolve::{Allowed, Pattern};
use crate::routing;
use crate::sealed::SealedDraft;
use crate::stored;
use crate::usage::{Class, Tier, Unit};

/// One consistent view of everything. A request sees one from start to end.
#[derive(Debug)]
pub struct Snapshot {
    pub revision: u64,
    pub catalog: Arc<Catalog>,
    /// What operators changed by hand, over the catalog's routes.
    pub overlay: Arc<Overlay>,
    overlay_digest: Digest,
    /// Vendors' secrets as the store has them; each node opens them for itself.
    pub sealed: Arc<Vec<SealedDraft>>,
    sealed_digest: Digest,
    keys: Vec<Arc<KeyShard>>,
}

/// All that comes from the operator's folder.
#[derive(Debug)]
pub struct Catalog {
    pub gateway: Gateway,
    pub tenants: Vec<Arc<Tenant>>,
    pub vendors: Vec<Vendor>,
    pub models: Vec<Model>,
    aliases: NameMap<Box<str>, Box<str>>,
    routes: NameMap<Arc<str>, Route>,
    by_id: NameMap<Arc<str>, Vec<u32>>,
    digest: Digest,
    /// Of the part that says the tenants: keys hold on to them.
    tenants_digest: Digest,
}

#[derive(Clone, Debug, Default)]
pub struct Gateway {
    pub times: Times,
    pub sizes: Sizes,
    pub cors_origins: Vec<Box<str>>,
    pub trusted_proxies: Vec<Network>,
    pub cost_header: bool,
    pub untranslatable: Untranslatable,
    pub breaker: BreakerRules,
    pub queue: Queueing,
}

impl Gateway {
    /// Whether what this address says of where a caller is, is believed.
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

/// An address range, `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: u128,
    mask: u128,
}

#[derive(Debug)]
pub struct Tenant {
    pub name: Arc<str>,
    pub markup_bp: i32,
    pub models: Allowed,
    /// What must be true of every vendor that sees its calls.
    pub require: Require,
    pub own_credentials: OwnCredentials,
    /// What it pays for calls by a credential of its own, in basis points of the list price.
    pub own_price_bp: i32,
}

/// When a tenant's own credentials carry its calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnCredentials {
    /// And the operator's when they cannot.
    #[default]
    First,
    /// The operator's never do, at any vendor.
    Only,
    /// When the operator's cannot.
    Last,
}

impl OwnCredentials {
    fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("first") => Some(Self::First),
            Some("only") => Some(Self::Only),
            Some("last") => Some(Self::Last),
            Some(_) => None,
        }
    }
}

impl Tenant {
    /// In which round a credential is asked for this tenant's calls, the first or the second. `None`: it carries none of them,
    /// because it is another tenant's, or because this tenant uses its own alone.
    pub fn round_of(&self, credential: &Credential) -> Option<u8> {
        match (&credential.tenant, self.own_credentials) {
            (Some(owner), _) if **owner != *self.name => None,
            (Some(_), OwnCredentials::First | OwnCredentials::Only) | (None, OwnCredentials::Last) => Some(0),
            (Some(_), OwnCredentials::Last) | (None, OwnCredentials::First) => Some(1),
            (None, OwnCredentials::Only) => None,
        }
    }

    /// Tells tenants apart, most of the time, for as long as a snapshot lives.
    pub fn number(&self) -> usize {
        // Allocations are aligned: the lowest bits are the same for all.
        std::ptr::from_ref(self).addr() >> 5
    }
}

#[derive(Debug)]
pub struct Key {
    pub id: KeyId,
    pub name: Box<str>,
    pub tenant: Arc<Tenant>,
    pub models: Allowed,
    pub aliases: BTreeMap<Box<str>, Box<str>>,
    pub limits: Limits,
    pub priority: Priority,
    /// Shared by the cores, and carried from one snapshot to the next.
    pub state: Arc<LimitCell>,
    /// Seconds since 1970.
    pub expires: Option<u64>,
}

impl Key {
    /// The share of a credential that is this key's own.
    pub fn share_of<'c>(&self, credential: &'c Credential) -> Option<&'c Share> {
        credential.shares.iter().find(|share| share.key.matches(&self.name) || share.key.matches(self.id.as_str()))
    }

    /// How many hundredths of what a credential may are kept for others.
    pub fn kept_from_it(&self, credential: &Credential) -> u8 {
        if credential.shares.is_empty() {
            return 0;
        }
        let own = self.share_of(credential).map_or(0, |share| share.percent);
        credential.shares.iter().map(|share| share.percent).sum::<u8>() - own
    }
}

#[derive(Debug)]
struct KeyShard {
    digest: Digest,
    by_print: HashMap<Fingerprint, Arc<Key>, BuildHasherDefault<PrintHasher>>,
}

/// A fingerprint is uniform already; hashing it again would only cost.
#[derive(Default)]
struct PrintHasher(u64);

impl Hasher for PrintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some((_, tail)) = bytes.split_last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*tail);
        }
    }
}

const SHARDS: usize = 256;

impl Snapshot {
    /// A snapshot of a whole draft.
    pub fn compile(revision: u64, draft: &Draft) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let catalog = Arc::new(Catalog::compile(draft, [Digest([0; 32]); 2], None, &mut faults));
        let mut by_shard: BTreeMap<u8, Vec<KeyDraft>> = BTreeMap::new();
        for key in &draft.keys {
            match Fingerprint::parse(&key.hash) {
                Some(print) => by_shard.entry(print.shard()).or_default().push(key.clone()),
                None => {
                    faults.push(Fault::new(&key.source, format!("key {} has no valid hash", key.id), "create it anew"))
                }
            }
        }
        let empty = Arc::new(KeyShard::empty());
        let mut keys = vec![empty; SHARDS];
        for (shard, drafts) in by_shard {
            keys[usize::from(shard)] =
                Arc::new(KeyShard::compile(&drafts, Digest([0; 32]), &catalog, None, &mut faults));
        }
        let overlay = Arc::new(Overlay::compile(&draft.overlay));
        let none = Digest([0; 32]);
        let sealed = Arc::new(draft.sealed.clone());
        let snapshot = Self { revision, catalog, overlay, overlay_digest: none, sealed, sealed_digest: none, keys };
        if faults.is_empty() { Ok(snapshot) } else { Err(faults) }
    }

    /// The next snapshot from stored parts. What has not changed since `previous` is taken from it.
    ///
    /// `fetch` gives the bytes of a part by its digest; it is asked only for what changed.
    pub fn advance<E>(
        revision: u64,
        manifest: &BTreeMap<String, Digest>,
        previous: Option<&Self>,
        mut fetch: impl FnMut(&str, &Digest) -> Result<Vec<u8>, E>,
    ) -> Result<Self, Refused<E>> {
        let mut faults = Vec::new();
        let digest = catalog_digest(manifest);
        let tenants_digest = manifest.get(part::TENANTS).copied().unwrap_or(Digest([0; 32]));
        let same = previous.filter(|previous| previous.catalog.digest == digest);
        let catalog = match same {
            Some(previous) => Arc::clone(&previous.catalog),
            None => {
                let mut parts = Vec::new();
                for (name, digest) in manifest.iter().filter(|(name, _)| is_of_catalog(name)) {
                    parts.push((name.as_str(), fetch(name, digest).map_err(Refused::Store)?));
                }
                let parts = parts.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
                let draft = Draft::from_values(parts).map_err(Refused::Unreadable)?;
                let digests = [digest, tenants_digest];
                Arc::new(Catalog::compile(&draft, digests, previous.map(|p| &*p.catalog), &mut faults))
            }
        };
        let overlay_digest = manifest.get(part::OVERLAY).copied().unwrap_or(Digest([0; 32]));
        let overlay = match (previous, manifest.get(part::OVERLAY)) {
            (Some(previous), _) if previous.overlay_digest == overlay_digest => Arc::clone(&previous.overlay),
            (_, None) => Arc::default(),
            (_, Some(digest)) => {
                let bytes = fetch(part::OVERLAY, digest).map_err(Refused::Store)?;
                Arc::new(Overlay::compile(&draft::read_overlay(&bytes).map_err(Refused::Unreadable)?))
            }
        };
        let sealed_digest = manifest.get(part::SEALED).copied().unwrap_or(Digest([0; 32]));
        let sealed = match (previous, manifest.get(part::SEALED)) {
            (Some(previous), _) if previous.sealed_digest == sealed_digest => Arc::clone(&previous.sealed),
            (_, None) => Arc::default(),
            (_, Some(digest)) => {
                let bytes = fetch(part::SEALED, digest).map_err(Refused::Store)?;
                Arc::new(draft::read_sealed(&bytes).map_err(Refused::Unreadable)?)
            }
        };
        let same_tenants = previous.is_some_and(|previous| previous.catalog.tenants_digest == tenants_digest);
        let mut keys = Vec::with_capacity(SHARDS);
        let empty = Arc::new(KeyShard::empty());
        for shard in 0..=u8::MAX {
            let before = previous.map(|previous| &previous.keys[usize::from(shard)]);
            let name = draft::key_part(shard);
            let Some(digest) = manifest.get(&name) else {
                keys.push(Arc::clone(&empty));
                continue;
            };
            if let Some(before) = before.filter(|before| same_tenants && before.digest == *digest) {
                keys.push(Arc::clone(before));
                continue;
            }
            let bytes = fetch(&name, digest).map_err(Refused::Store)?;
            let drafts = stored::read_list(&name, &bytes).map_err(Refused::Unreadable)?;
            let before = before.map(|before| &**before);
            keys.push(Arc::new(KeyShard::compile(&drafts, *digest, &catalog, before, &mut faults)));
        }
        let snapshot = Self { revision, catalog, overlay, overlay_digest, sealed, sealed_digest, keys };
        if faults.is_empty() { Ok(snapshot) } else { Err(Refused::Faults(faults)) }
    }

    /// The key with this fingerprint, when it is known and not revoked. Whether it has expired is for who knows the time.
    pub fn key(&self, print: &Fingerprint) -> Option<&Arc<Key>> {
        let (found, key) = self.keys[usize::from(print.shard())].by_print.get_key_value(print)?;
        found.matches(print).then_some(key)
    }

    /// What would keep these keys from being keys of it.
    pub fn faults_of(&self, keys: &[KeyDraft]) -> Vec<Fault> {
        let mut faults = Vec::new();
        KeyShard::compile(keys, Digest([0; 32]), &self.catalog, None, &mut faults);
        faults
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter().flat_map(|shard| shard.by_print.values())
    }

    pub fn vendor_of(&self, model: &Model) -> &Vendor {
        &self.catalog.vendors[model.vendor as usize]
    }

    /// The models that a name means for this key, in order of preference: unknown and forbidden are alike empty.
    pub fn candidates<'a>(&'a self, name: &'a str, key: &'a Key) -> impl Iterator<Item = u32> + 'a {
        let way = routing::Way::to(self, name, key);
        let places = (0..way.places().len()).map(move |at| way.places()[at]);
        places.filter(move |&place| self.may_use(place, key))
    }

    /// Whether there is nothing that this key may not use.
    pub fn may_use_anything(key: &Key) -> bool {
        key.tenant.models.is_anything() && key.models.is_anything()
    }

    pub fn may_use(&self, place: u32, key: &Key) -> bool {
        let model = &self.catalog.models[place as usize];
        let vendor = &self.vendor_of(model).name;
        key.tenant.models.allows(vendor, &model.id) && key.models.allows(vendor, &model.id)
    }

    /// The aliases that lead this key somewhere: its own and the gateway's.
    pub fn aliases<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a str> + 'a {
        let own = key.aliases.keys().map(|name| &**name);
        own.chain(self.catalog.aliases.keys().map(|name| &**name))
    }
}

/// Why a revision did not become a snapshot.
#[derive(Debug)]
pub enum Refused<E> {
    Store(E),
    Unreadable(stored::Unreadable),
    Faults(Vec<Fault>),
}

impl<E: std::fmt::Display> std::fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Unreadable(error) => error.fmt(f),
            Self::Faults(faults) => {
                for (place, fault) in faults.iter().enumerate() {
                    write!(f, "{}{fault}", if place > 0 { "\n" } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// The operator's folder, as opposed to keys and to what was changed by hand.
fn is_of_catalog(part: &str) -> bool {
    !part.starts_with(part::KEYS) && part != part::OVERLAY && part != part::SEALED && part != part::TOKENS
}

fn catalog_digest(manifest: &BTreeMap<String, Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (name, digest) in manifest.iter().filter(|(name, _)| is_of_catalog(name)) {
        hasher.update(name.as_bytes()).update(&[0]).update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

impl Catalog {
    /// The exact string first, a `vendor/` prefix second: ids hold slashes and colons themselves.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let exact = self.by_id.get(name).map_or(&[][..], Vec::as_slice);
        let split = if exact.is_empty() { name.split_once('/') } else { None };
        let of_vendor = split.into_iter().flat_map(move |(vendor, id)| {
            let places = self.by_id.get(id).map_or(&[][..], Vec::as_slice).iter().copied();
            places.filter(move |&place| {
                let model = &self.models[place as usize];
                &*self.vendors[model.vendor as usize].name == vendor
            })
        });
        exact.iter().copied().chain(of_vendor)
    }

    /// `digests` are of all that it is made from, and of the part that says the tenants.
    fn compile(
        draft: &Draft,
        [digest, tenants_digest]: [Digest; 2],
        previous: Option<&Self>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let gateway = compile_gateway(draft, faults);
        let tenants = match previous.filter(|previous| previous.tenants_digest == tenants_digest) {
            Some(previous) => previous.tenants.clone(),
            None => compile_tenants(&draft.tenants, faults),
        };
        let mut vendors: Vec<Vendor> = Vec::with_capacity(draft.vendors.len());
        for vendor in &draft.vendors {
            if vendors.iter().any(|known| *known.name == *vendor.is.name) {
                let what = format!("vendor {:?} is written twice", vendor.is.name);
                faults.push(Fault::new(&vendor.source, what, "give one of them another name"));
            }
            let before = previous.and_then(|p| p.vendors.iter().find(|known| *known.name == *vendor.is.name));
            vendors.push(compile_vendor(vendor, &gateway, before, faults));
        }
        let (models, by_id) = compile_models(&draft.models, &vendors, previous, faults);
        let (aliases, routes) = (NameMap::default(), NameMap::default());
        let mut catalog = Self { gateway, tenants, vendors, models, aliases, routes, by_id, digest, tenants_digest };
        catalog.compile_routes(draft, previous, faults);
        catalog.check_owners(draft, faults);
        for alias in &draft.aliases {
            let (name, target) = (&alias.is.name, &alias.is.target);
            if catalog.named(target).next().is_none() && catalog.route(target).is_none() {
                let what = format!("alias {name:?} leads to {target:?}, which no vendor serves");
                let fix = "name a model as `weirctl check --models` lists it, or add the model";
                faults.push(Fault::new(&alias.source, what, fix).at("target"));
            }
            if catalog.aliases.insert(name.as_str().into(), target.as_str().into()).is_some() {
                let what = format!("alias {name:?} is written twice");
                faults.push(Fault::new(&alias.source, what, "remove one of them"));
            }
        }
        catalog
    }

    /// A credential of a tenant that does not exist would carry nothing, and one without any that uses its own alone says so of
    /// all its calls.
    fn check_owners(&self, draft: &Draft, faults: &mut Vec<Fault>) {
        for vendor in &draft.vendors {
            for (place, credential) in vendor.is.credentials.iter().enumerate() {
                let Some(owner) = &credential.tenant else { continue };
                if !self.tenants.iter().any(|tenant| *tenant.name == **owner) {
                    let (vendor_name, name) = (&vendor.is.name, &credential.name);
                    let what =
                        format!("vendor {vendor_name:?}, credential {name:?}: its tenant {owner:?} does not exist");
                    let fix = "add a [[tenant]] of that name, or correct it";
                    faults.push(Fault::new(&vendor.source, what, fix).at(format!("credential.{place}.tenant")));
                }
            }
        }
        let owned = self.vendors.iter().flat_map(|vendor| &vendor.credentials);
        for tenant in &draft.tenants {
            let owns = |credential: &Credential| credential.tenant.as_deref() == Some(tenant.is.name.as_str());
            if tenant.is.own_credentials.as_deref() == Some("only") && !owned.clone().any(owns) {
                let what = format!("tenant {:?} uses its own credentials only, and has none", tenant.is.name);
                let fix = format!("say tenant = {:?} at a [[vendor.credential]] that is its own", tenant.is.name);
                faults.push(Fault::new(&tenant.source, what, fix).at("own_credentials"));
            }
        }
    }

    fn compile_routes(&mut self, draft: &Draft, previous: Option<&Self>, faults: &mut Vec<Fault>) {
        for route in &draft.routes {
            let name = &route.is.name;
            if !good_model_name(name) {
                faults.push(
                    Fault::new(&route.source, format!("route {name:?}: not a usable name"), MODEL_NAME_FIX).at("name"),
                );
            }
            let compiled = routing::compile(
                route,
                &self.models,
                &self.vendors,
                |name| self.named(name).collect(),
                previous.and_then(|previous| previous.routes.get(name.as_str())),
                faults,
            );
            if self.routes.insert(name.as_str().into(), compiled).is_some() {
                let what = format!("route {name:?} is written twice");
                faults.push(Fault::new(&route.source, what, "remove one of them"));
            }
        }
    }

    pub fn route(&self, name: &str) -> Option<&Route> {
        // Most operators have none, and every call asks.
        if self.routes.is_empty() { None } else { self.routes.get(name) }
    }

    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// The gateway's own names, not those of a key.
    pub fn alias_names(&self) -> impl Iterator<Item = &str> {
        self.aliases.keys().map(|name| &**name)
    }

    /// What a name means once aliases are followed: a key's own first, the gateway's second.
    pub fn followed<'a>(&'a self, name: &'a str, key: &'a Key) -> &'a str {
        let own = key.aliases.get(name).map_or(name, |target| target);
        self.aliases.get(own).map_or(own, |target| target)
    }
}

fn compile_breaker(
    draft: &BreakerDraft,
    base: BreakerRules,
    mut fault: impl FnMut(&str, String, &str),
) -> BreakerRules {
    draft.over(base, |(key, what, fix)| fault(&format!("breaker.{key}"), format!("breaker: {what}"), &fix))
}

fn compile_gateway(draft: &Draft, faults: &mut Vec<Fault>) -> Gateway {
    let Some(Sourced { source, is }) = &draft.gateway else {
        return Gateway { cost_header: true, ..Gateway::default() };
    };
    let times = is.times.over(Times::default(), |name, why| faults.push(wrong_time(source, name, why)));
    let mut trusted_proxies = Vec::new();
    for text in &is.trusted_proxies {
        match Network::parse(text) {
            Some(network) => trusted_proxies.push(network),
            None => {
                let what = format!("trusted_proxies: {text:?} is no address range");
                let fix = "write an address or a range such as \"10.0.0.0/8\"";
                faults.push(Fault::new(source, what, fix).at("trusted_proxies"));
            }
        }
    }
    let untranslatable = match is.untranslatable.as_deref() {
        None | Some("refuse") => Untranslatable::Refuse,
        Some("drop") => Untranslatable::Drop,
        Some(other) => {
            let what = format!("untranslatable = {other:?} is not known");
            faults.push(Fault::new(source, what, "\"refuse\" or \"drop\"").at("untranslatable"));
            Untranslatable::Refuse
        }
    };
    let breaker = compile_breaker(&is.breaker, BreakerRules::default(), |key, what, fix| {
        faults.push(Fault::new(source, what, fix).at(key));
    });
    let queue = is.queue.compile(|(key, what, fix)| faults.push(Fault::new(source, what, fix).at(key)));
    Gateway {
        breaker,
        queue,
        times,
        sizes: is.sizes.over(Sizes::default()),
        cors_origins: is.cors_origins.iter().map(|origin| origin.as_str().into()).collect(),
        trusted_proxies,
        cost_header: is.cost_header.unwrap_or(true),
        untranslatable,
    }
}

fn wrong_time(source: &Source, name: &str, why: NotADuration) -> Fault {
    let fix = match why {
        NotADuration::Malformed => "write a number and a unit, such as \"250ms\", \"10s\", \"5m\"",
        NotADuration::OutOfRange => "between 1ms and 24h",
    };
    Fault::new(source, format!("times.{name} is not a duration"), fix).at(format!("times.{name}"))
}

fn compile_tenants(drafts: &[Sourced<TenantDraft>], faults: &mut Vec<Fault>) -> Vec<Arc<Tenant>> {
    let mut tenants: Vec<Arc<Tenant>> = Vec::new();
    for Sourced { source, is } in drafts {
        if !good_name(&is.name) {
            faults.push(wrong_name(source, "tenant", &is.name));
        }
        if tenants.iter().any(|known| *known.name == *is.name) {
            let what = format!("tenant {:?} is written twice", is.name);
            faults.push(Fault::new(source, what, "remove one of them"));
        }
        if !(-10_000..=1_000_000).contains(&is.markup_bp) {
            let what = format!("tenant {:?}: markup_bp = {} is out of range", is.name, is.markup_bp);
            let fix = "between -10000 (free) and 1000000 (a hundred times) basis points";
            faults.push(Fault::new(source, what, fix).at("markup_bp"));
        }
        let own_credentials = OwnCredentials::parse(is.own_credentials.as_deref()).unwrap_or_else(|| {
            let what = format!("tenant {:?}: own_credentials = {:?} is not known", is.name, is.own_credentials);
            faults.push(Fault::new(source, what, "\"first\", \"only\" or \"last\"").at("own_credentials"));
            OwnCredentials::Only
        });
        let own_price_bp = is.own_price_bp.unwrap_or(0);
        if !(0..=1_000_000).contains(&own_price_bp) {
            let what = format!("tenant {:?}: own_price_bp = {own_price_bp} is out of range", is.name);
            let fix = "between 0 (nothing) and 1000000 basis points of the list price; 500 is a fee of 5 %";
            faults.push(Fault::new(source, what, fix).at("own_price_bp"));
        }
        tenants.push(Arc::new(Tenant {
            name: is.name.as_str().into(),
            markup_bp: is.markup_bp,
            models: Allowed::new(&is.models),
            require: routing::require(&is.regions, is.zero_retention, is.no_training),
            own_credentials,
            own_price_bp,
        }));
    }
    if !tenants.iter().any(|tenant| &*tenant.name == DEFAULT_TENANT) {
        let name = DEFAULT_TENANT.into();
        let (models, require) = (Allowed::default(), Require::default());
        let own_credentials = OwnCredentials::default();
        tenants.push(Arc::new(Tenant { name, markup_bp: 0, models, require, own_credentials, own_price_bp: 0 }));
    }
    tenants
}

pub const DEFAULT_TENANT: &str = "default";

fn compile_vendor(
    Sourced { source, is }: &Sourced<VendorDraft>,
    gateway: &Gateway,
    before: Option<&Vendor>,
    faults: &mut Vec<Fault>,
) -> Vendor {
    let mut fault = |key: &str, what: String, fix: &str| {
        faults.push(Fault::new(source, format!("vendor {:?}: {what}", is.name), fix).at(key))
    };
    if !good_name(&is.name) {
        fault("name", "not a usable name".into(), NAME_FIX);
    }
    let dialect = Dialect::parse(&is.dialect).unwrap_or_else(|| {
        fault(
            "dialect",
            format!("dialect {:?} is not known", is.dialect),
            "one of openai, anthropic, gemini, cohere, bedrock",
        );
        Dialect::OpenAi
    });
    let nowhere =
        || BaseUrl { tls: true, host: "invalid".into(), port: 443, path: "".into(), authority: "invalid".into() };
    let base = match reach::Words::of(is).fill("base_url", &is.base_url, &[]) {
        Ok(filled) => BaseUrl::parse(&filled).unwrap_or_else(|why| {
            let what = format!("base_url {:?}: {why}", is.base_url);
            fault("base_url", what, "write it like \"https://api.openai.com/v1\"");
            nowhere()
        }),
        Err((key, what, fix)) => {
            fault(&key, what, &fix);
            nowhere()
        }
    };
    let auth = AuthScheme::parse(is.auth.as_deref(), dialect).unwrap_or_else(|| {
        let known: Vec<_> = AuthScheme::ALL.iter().map(|scheme| scheme.name()).collect();
        fault("auth", "auth is not known".into(), &format!("one of {}", known.join(", ")));
        AuthScheme::Bearer
    });
    let signing = reach::compile_signing(is, auth, &mut fault);
    let paths = reach::compile_paths(is, &mut fault);
    let proxy = is.proxy.as_deref().map(|text| {
        BaseUrl::parse(text).ok().filter(|proxy| !proxy.tls).unwrap_or_else(|| {
            fault("proxy", format!("proxy {text:?} cannot be used"), "write it like \"http://proxy.internal:3128\"");
            nowhere()
        })
    });
    let roots = match is.roots.as_deref() {
        None | Some("bundled") => Roots::Bundled,
        Some("system") => Roots::System,
        Some(path) => Roots::File(path.into()),
    };
    let on_hang_up = match is.on_hang_up.as_deref() {
        None | Some("abort") => OnHangUp::Abort,
        Some("drain") => OnHangUp::Drain,
        Some(_) => {
            fault("on_hang_up", "on_hang_up is not known".into(), "\"abort\" or \"drain\"");
            OnHangUp::Abort
        }
    };
    let strict_events = match is.events.as_deref() {
        None | Some("strict") => true,
        Some("lenient") => false,
        Some(_) => {
            fault("events", "events is not known".into(), "\"strict\" or \"lenient\"");
            true
        }
    };
    let mut deviations = Deviations::NONE;
    for name in &is.deviations {
        match Deviation::parse(name) {
            Some(deviation) => deviations = deviations.with(deviation),
            None => {
                let known: Vec<_> = Deviation::ALL.iter().map(|deviation| deviation.name()).collect();
                let fix = format!("any of {}", known.join(", "));
                fault("deviations", format!("deviation {name:?} is not known"), &fix);
            }
        }
    }
    if is.responses.is_some() && dialect != Dialect::OpenAi {
        fault("responses", "responses is of the dialect openai only".into(), "remove it");
    }
    let rerank = match is.rerank.as_deref() {
        None => Rerank::default(),
        Some(name) => Rerank::ALL.iter().copied().find(|form| form.name() == name).unwrap_or_else(|| {
            let known: Vec<_> = Rerank::ALL.iter().map(|form| form.name()).collect();
            fault("rerank", format!("rerank = {name:?} is not known"), &format!("one of {}", known.join(", ")));
            Rerank::default()
        }),
    };
    if is.rerank.is_some() && dialect != Dialect::OpenAi {
        fault("rerank", "rerank is of the dialect openai only".into(), "remove it");
    }
    for (name, value) in &is.headers {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            fault(
                &format!("headers.{name}"),
                format!("header {name:?} cannot be sent"),
                "letters, digits and - in the name; printable ASCII in the value",
            );
        }
    }
    let breaker = compile_breaker(&is.breaker, gateway.breaker, &mut fault);
    let own_times = is.times.over(gateway.times, |name, why| {
        let wrong = wrong_time(source, name, why);
        fault(&wrong.key, wrong.what, &wrong.fix);
    });
    let credentials = compile_credentials(source, is, before, faults);
    Vendor {
        name: is.name.as_str().into(),
        dialect,
        base,
        auth,
        signing,
        paths,
        internal: is.internal,
        roots,
        proxy,
        times: own_times,
        on_hang_up,
        strict_events,
        responses: is.responses.unwrap_or(true),
        rerank,
        deviations,
        headers: is.headers.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect(),
        regions: is.regions.iter().map(|region| region.as_str().into()).collect(),
        zero_retention: is.zero_retention,
        no_training: is.no_training,
        breaker,
        credentials,
    }
}

fn compile_credentials(
    source: &Source,
    is: &VendorDraft,
    before: Option<&Vendor>,
    faults: &mut Vec<Fault>,
) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    for (place, draft) in is.credentials.iter().enumerate() {
        let mut fault = |what: &str, fix: &str| {
            let what = format!("vendor {:?}, credential {:?}: {what}", is.name, draft.name);
            faults.push(Fault::new(source, what, fix).at(format!("credential.{place}")));
        };
        if !good_name(&draft.name) {
            fault("not a usable name", NAME_FIX);
        }
        if credentials.iter().any(|known| *known.name == *draft.name) {
            fault("written twice", "give one of them another name");
        }
        let secret = match (&draft.env, &draft.file, draft.sealed) {
            (Some(name), None, false) => SecretRef::Env(name.as_str().into()),
            (None, Some(path), false) => SecretRef::File(path.as_str().into()),
            (None, None, true) => SecretRef::Sealed,
            _ => {
                let fix = "env = \"NAME_OF_A_VARIABLE\", file = \"/path\", or sealed = true and `weirctl vendor credential set`";
                fault("it needs exactly one of env, file and sealed", fix);
                continue;
            }
        };
        let known = before.and_then(|v| v.credentials.iter().find(|known| *known.name == *draft.name));
        let state = known.map_or_else(Default::default, |known| Arc::clone(&known.state));
        let limits: Limits = draft.limits().into();
        let shares = compile_shares(&draft.share, limits, known, &mut fault);
        let common = 100u8.saturating_sub(shares.iter().map(|share| share.percent).sum());
        let limits = if shares.is_empty() { limits } else { limits.part(common) };
        let name: Arc<str> = draft.name.as_str().into();
        let tenant = draft.tenant.as_deref().map(Into::into);
        credentials.push(Credential { name, secret, tenant, limits, state, shares });
    }
    if is.credentials.len() > CREDENTIALS_MAX {
        let what = format!("vendor {:?} has {} credentials", is.name, is.credentials.len());
        faults.push(Fault::new(source, what, format!("at most {CREDENTIALS_MAX}")));
    }
    credentials
}

fn compile_shares(
    drafts: &[ShareDraft],
    limits: Limits,
    known: Option<&Credential>,
    fault: &mut dyn FnMut(&str, &str),
) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    let mut total = 0u32;
    for draft in drafts {
        total += u32::from(draft.percent);
        if draft.key.is_empty() || draft.percent == 0 || total > 100 {
            fault(
                "a share is of nobody, of nothing, or of more than there is",
                "share = [{ key = \"batch-*\", percent = 30 }], all of them together at most 100",
            );
            return Vec::new();
        }
        let key = Pattern::new(&draft.key);
        let before = known.and_then(|known| known.shares.iter().find(|share| share.key == key));
        let state = before.map_or_else(Default::default, |share| Arc::clone(&share.state));
        shares.push(Share { key, percent: draft.percent, limits: limits.part(draft.percent), state });
    }
    shares
}

/// A credential's place fits in a byte of a sealed object id.
const CREDENTIALS_MAX: usize = 255;

type ById = NameMap<Arc<str>, Vec<u32>>;

fn compile_models(
    drafts: &[Sourced<ModelDraft>],
    vendors: &[Vendor],
    previous: Option<&Catalog>,
    faults: &mut Vec<Fault>,
) -> (Vec<Model>, ById) {
    let mut models: Vec<Model> = Vec::with_capacity(drafts.len());
    let mut by_id = ById::with_capacity_and_hasher(drafts.len(), BuildHasherDefault::default());
    let mut kinds: Vec<Arc<str>> = Vec::new();
    for Sourced { source, is } in drafts {
        let mut fault = |key: &str, what: String, fix: &str| {
            faults.push(Fault::new(source, format!("model {:?}: {what}", is.id), fix).at(key))
        };
        let Some(vendor) = vendors.iter().position(|vendor| *vendor.name == *is.vendor) else {
            let what = format!("its vendor {:?} does not exist", is.vendor);
            fault("vendor", what, "add a [[vendor]] of that name, or correct it");
            continue;
        };
        let upstream = is.upstream.as_deref().unwrap_or(&is.id);
        if ![is.id.as_str(), upstream].into_iter().all(good_model_name) {
            fault("id", "not a usable name".into(), MODEL_NAME_FIX);
        }
        let can = is.can.as_ref().map(|names| {
            names.iter().fold(0, |bits, name| match routing::need::parse(name) {
                Some(bit) if bit & routing::need::CAPABILITIES != 0 => bits | bit,
                _ => {
                    let fix = "any of images, audio, files, tools, schema";
                    fault("can", format!("{name:?} is nothing that a model can do"), fix);
                    bits
                }
            })
        });
        let thinking = match is.thinking.as_deref() {
            None | Some("budget") => Thinking::Budget,
            Some("effort") => Thinking::Effort,
            Some(other) => {
                fault("thinking", format!("thinking = {other:?} is not known"), "\"budget\" or \"effort\"");
                Thinking::Budget
            }
        };
        let only = match is.path.as_deref() {
            None => None,
            Some("chat") => Some(OnlyPath::Chat),
            Some("responses") => Some(OnlyPath::Responses),
            Some(other) => {
                fault("path", format!("path = {other:?} is not known"), "\"chat\" or \"responses\"");
                None
            }
        };
        let price = compile_price(source, is, faults);
        let id: Arc<str> = is.id.as_str().into();
        let places = by_id.entry(Arc::clone(&id)).or_default();
        if places.iter().any(|&place| models[place as usize].vendor as usize == vendor) {
            let what = format!("model {:?} of vendor {:?} is written twice", is.id, is.vendor);
            faults.push(Fault::new(source, what, "remove one of them"));
        }
        places.push(models.len() as u32);
        models.push(Model {
            vendor: vendor as u32,
            upstream: if upstream == is.id { Arc::clone(&id) } else { upstream.into() },
            id,
            kind: one_of(&mut kinds, is.kind.as_deref().unwrap_or("chat")),
            reasoning: is.reasoning,
            thinking,
            only,
            context_tokens: is.context_tokens.unwrap_or(0),
            output_tokens_max: is.output_tokens_max.unwrap_or(0),
            can,
            price,
            health: kept_health(&vendors[vendor], &is.id, previous),
        });
    }
    for places in by_id.values_mut() {
        places.sort_by_key(|&place| models[place as usize].vendor);
    }
    (models, by_id)
}

/// Thousands of models share a handful of words.
fn one_of(known: &mut Vec<Arc<str>>, word: &str) -> Arc<str> {
    match known.iter().find(|known| ***known == *word) {
        Some(known) => Arc::clone(known),
        None => {
            known.push(word.into());
            Arc::clone(&known[known.len() - 1])
        }
    }
}

/// What is known of how a model does by each credential outlives a change of the folder.
fn kept_health(vendor: &Vendor, id: &str, previous: Option<&Catalog>) -> Vec<HealthCell> {
    let before = previous.and_then(|previous| {
        let is_same = |model: &&Model| previous.vendors[model.vendor as usize].name == vendor.name;
        let places = previous.by_id.get(id)?;
        let model = places.iter().map(|&place| &previous.models[place as usize]).find(is_same)?;
        Some((&previous.vendors[model.vendor as usize].credentials, &model.health))
    });
    let kept = |credential: &Credential| {
        let (credentials, cells) = before?;
        let place = credentials.iter().position(|known| known.name == credential.name)?;
        cells.get(place).cloned()
    };
    vendor.credentials.iter().map(|credential| kept(credential).unwrap_or_default()).collect()
}

fn compile_price(source: &Source, is: &ModelDraft, faults: &mut Vec<Fault>) -> Arc<PriceList> {
    match (&is.price, is.free) {
        (Some(price), false) => {
            let mut compiler = PriceCompiler { source, model: &is.id, faults };
            Arc::new(compiler.list(price))
        }
        (None, true) => Arc::new(PriceList::FREE),
        (Some(_), true) => {
            let what = format!("model {:?} is free and has a price", is.id);
            faults.push(Fault::new(source, what, "remove free = true, or the price").at("free"));
            Arc::new(PriceList::FREE)
        }
        (None, false) => {
            let what = format!("model {:?} has no price", is.id);
            faults.push(Fault::new(source, what, "add [model.price], or say free = true").at("price"));
            Arc::new(PriceList::FREE)
        }
    }
}

struct PriceCompiler<'a> {
    source: &'a Source,
    model: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl PriceCompiler<'_> {
    fn list(&mut self, draft: &PriceDraft) -> PriceList {
        let standard = self.schedule("price", &draft.rates, &draft.above);
        let mut tiers = Vec::new();
        for (name, tier) in &draft.tiers {
            match Tier::ALL.iter().find(|tier| tier.name() == name && **tier != Tier::Standard) {
                Some(&known) => tiers.push((known, self.schedule(&format!("price.{name}"), &tier.rates, &tier.above))),
                None => self.fault(
                    &format!("price.{name}"),
                    format!("price tier {name:?} is not known"),
                    "batch, flex or priority",
                ),
            }
        }
        PriceList { standard, tiers }
    }

    fn schedule(&mut self, under: &str, rates: &BTreeMap<String, String>, above: &[draft::BandDraft]) -> Schedule {
        let base = self.rates(under, rates, &[]);
        let mut bands: Vec<Band> = Vec::new();
        for (place, band) in above.iter().enumerate() {
            // A band names what differs; the rest of the tier holds on.
            let rates = self.rates(&format!("{under}.above.{place}"), &band.rates, &self.parsed(rates));
            bands.push(Band { above_prompt_tokens: band.input_tokens, rates });
        }
        bands.sort_by_key(|band| band.above_prompt_tokens);
        Schedule { base, bands }
    }

    fn rates(&mut self, at: &str, rates: &BTreeMap<String, String>, under: &[(Class, Rate)]) -> Rates {
        let mut list = Vec::new();
        for (name, text) in rates {
            let key = format!("{at}.{name}");
            let Some(class) = Class::parse(name) else {
                let known: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
                self.fault(&key, format!("price class {name:?} is not known"), &format!("one of {}", known.join(", ")));
                continue;
            };
            match parse_rate(class, text) {
                Ok(rate) => list.push((class, rate)),
                Err(why) => self.fault(&key, format!("price {name} = {text:?}: {why}"), "a decimal string of dollars"),
            }
        }
        list.extend(under.iter().filter(|(class, _)| !rates.contains_key(class.name())));
        Rates::from_list(&list)
    }

    /// What of these rates can be read; what cannot has been reported with the base rates.
    fn parsed(&self, rates: &BTreeMap<String, String>) -> Vec<(Class, Rate)> {
        let parse = |(name, text): (&String, &String)| {
            let class = Class::parse(name)?;
            Some((class, parse_rate(class, text).ok()?))
        };
        rates.iter().filter_map(parse).collect()
    }

    fn fault(&mut self, key: &str, what: String, fix: &str) {
        self.faults.push(Fault::new(self.source, format!("model {:?}: {what}", self.model), fix).at(key));
    }
}

fn parse_rate(class: Class, text: &str) -> Result<Rate, crate::money::NotAPrice> {
    match class.unit() {
        Unit::One => Rate::per_unit(text),
        Unit::MillionTokens | Unit::MillionCharacters => Rate::per_million(text),
    }
}

impl KeyShard {
    fn empty() -> Self {
        Self { digest: Digest([0; 32]), by_print: HashMap::default() }
    }

    fn compile(
        drafts: &[KeyDraft],
        digest: Digest,
        catalog: &Catalog,
        before: Option<&Self>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut by_print = HashMap::with_capacity_and_hasher(drafts.len(), BuildHasherDefault::default());
        for draft in drafts.iter().filter(|draft| draft.revoked.is_none()) {
            let mut fault = |what: String, fix: &str| {
                faults.push(Fault::new(&draft.source, format!("key {}: {what}", draft.id), fix))
            };
            let (Some(id), Some(print)) = (KeyId::parse(&draft.id), Fingerprint::parse(&draft.hash)) else {
                fault("its id or hash is not valid".into(), "create it anew with `weirctl key create`");
                continue;
            };
            let Some(tenant) = catalog.tenants.iter().find(|tenant| *tenant.name == *draft.tenant) else {
                fault(
                    format!("its tenant {:?} does not exist", draft.tenant),
                    "add a [[tenant]] of that name, or revoke the key",
                );
                continue;
            };
            let state = match before.and_then(|before| before.by_print.get(&print)) {
                Some(known) => Arc::clone(&known.state),
                None => Arc::default(),
            };
            let key = Key {
                id,
                name: draft.name.as_str().into(),
                tenant: Arc::clone(tenant),
                models: Allowed::new(&draft.models),
                aliases: draft.aliases.iter().map(|(n, t)| (n.as_str().into(), t.as_str().into())).collect(),
                limits: draft.limits.into(),
                state,
                priority: draft.priority,
                expires: draft.expires,
            };
            by_print.insert(print, Arc::new(key));
        }
        Self { digest, by_print }
    }
}

impl Network {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: std::net::IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return None;
        }
        let mask = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        // An IPv4 address lives in ::ffff:0:0/96, so that both families compare alike.
        Some(Self { address: as_bits(address) & mask, mask })
    }

    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        as_bits(address) & self.mask == self.address
    }
}

fn as_bits(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// What callers say for a model or a route.
fn good_model_name(name: &str) -> bool {
    let good = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    !name.is_empty() && name.len() <= 256 && name.bytes().all(good)
}

const MODEL_NAME_FIX: &str = "up to 256 printable ASCII characters without spaces, quotes and backslashes";

/// Names stand in paths, headers, metrics and journals.
fn good_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(good) && !name.starts_with('.')
}

const NAME_FIX: &str = "up to 64 letters, digits, and - _ . (not at the start)";

fn wrong_name(source: &Source, kind: &str, name: &str) -> Fault {
    Fault::new(source, format!("{kind} {name:?}: not a usable name"), NAME_FIX).at("name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{AliasDraft, CredentialDraft, GatewayDraft};
    use crate::key::Pepper;

    fn source(line: u32) -> Source {
        Source { file: "weir.d/test.toml".into(), line }
    }

    fn sourced<T>(line: u32, is: T) -> Sourced<T> {
        Sourced { source: source(line), is }
    }

    fn vendor(name: &str) -> VendorDraft {
        let credential = CredentialDraft { name: "main".into(), env: Some("KEY".into()), ..CredentialDraft::default() };
        VendorDraft {
            name: name.into(),
            dialect: "openai".into(),
            base_url: "https://api.example.com/v1".into(),
            credentials: vec![credential],
            ..VendorDraft::default()
        }
    }

    fn model(vendor: &str, id: &str) -> ModelDraft {
        ModelDraft { vendor: vendor.into(), id: id.into(), free: true, ..ModelDraft::default() }
    }

    #[test]
    fn shares_are_parts_of_what_there_is() {
        let with = |shares: &[(&str, u8)]| {
            let mut draft = good();
            let credential = &mut draft.vendors[0].is.credentials[0];
            credential.requests_per_minute = Some(100);
            credential.share =
                shares.iter().map(|(key, percent)| ShareDraft { key: (*key).into(), percent: *percent }).collect();
            Snapshot::compile(1, &draft)
        };
        let snapshot = with(&[("a*", 30), ("b", 20)]).unwrap();
        let credential = &snapshot.catalog.vendors[0].credentials[0];
        let units = |limits: &Limits| limits.requests.map(|limit| limit.units);
        let shares: Vec<_> = credential.shares.iter().map(|share| units(&share.limits)).collect();
        assert_eq!((units(&credential.limits), shares), (Some(50), vec![Some(30), Some(20)]));
        for wrong in [&[("", 10)][..], &[("a", 0)], &[("a", 60), ("b", 41)], &[("a", 255)]] {
            let faults = with(wrong).unwrap_err();
            assert!(faults.iter().any(|fault| fault.what.contains("share")), "{wrong:?}: {faults:?}");
        }
    }

    fn good() -> Draft {
        Draft {
            vendors: vec![sourced(1, vendor("openai")), sourced(2, vendor("router"))],
            models: vec![
                sourced(3, model("router", "gpt")),
                sourced(4, model("openai", "gpt")),
                sourced(5, model("router", "openai/gpt-x")),
            ],
            aliases: vec![sourced(6, AliasDraft { name: "fast".into(), target: "router/gpt".into() })],
            keys: vec![key_draft(&[1; 37])],
            ..Draft::default()
        }
    }

    fn key_draft(random: &[u8; 37]) -> KeyDraft {
        let minted = crate::key::mint(random);
        let print = Fingerprint::of(minted.text.as_bytes(), &Pepper([0; 32])).unwrap();
        serde_json::from_value(serde_json::json!({
            "id": minted.id.as_str(), "hash": print.hex(), "tenant": "default", "created": 1,
            "aliases": {"mine": "fast"}
        }))
        .unwrap()
    }

    fn names(snapshot: &Snapshot, name: &str) -> Vec<String> {
        let key = Arc::clone(snapshot.keys().next().unwrap());
        let describe = |place: u32| {
            let model = &snapshot.catalog.models[place as usize];
            format!("{}|{}", snapshot.vendor_of(model).name, model.id)
        };
        snapshot.candidates(name, &key).map(describe).collect()
    }

    #[test]
    fn names_resolve_exactly_first_and_by_vendor_second() {
        let snapshot = Snapshot::compile(1, &good()).unwrap();
        assert_eq!(names(&snapshot, "gpt"), ["openai|gpt", "router|gpt"]);
        assert_eq!(names(&snapshot, "router/gpt"), ["router|gpt"]);
        assert_eq!(names(&snapshot, "openai/gpt-x"), ["router|openai/gpt-x"]);
        assert_eq!(names(&snapshot, "router/openai/gpt-x"), ["router|openai/gpt-x"]);
        assert_eq!(names(&snapshot, "fast"), ["router|gpt"]);
        assert_eq!(names(&snapshot, "mine"), ["router|gpt"]);
        assert!(names(&snapshot, "nothing").is_empty() && names(&snapshot, "nobody/gpt").is_empty());
    }

    #[test]
    fn all_faults_are_reported_with_their_places() {
        let mut draft = good();
        draft.vendors[0].is.base_url = "api.openai.com".into();
        draft.models[0].is.free = false;
        draft.models[1].is.vendor = "nobody".into();
        draft.aliases[0].is.target = "missing".into();
        let gateway = GatewayDraft { trusted_proxies: vec!["10.0.0.0/99".into()], ..GatewayDraft::default() };
        draft.gateway = Some(sourced(7, gateway));
        let faults = Snapshot::compile(1, &draft).unwrap_err();
        let lines: Vec<_> = faults.iter().map(|fault| fault.source.line).collect();
        assert_eq!(lines, [7, 1, 3, 4, 6], "{faults:#?}");
    }

    #[test]
    fn a_price_with_bands_and_tiers_compiles() {
        let mut draft = good();
        draft.models[0].is.free = false;
        let rates = |input: &str| {
            BTreeMap::from([("input".to_owned(), input.to_owned()), ("image".to_owned(), "0.04".to_owned())])
        };
        draft.models[0].is.price = Some(PriceDraft {
            rates: rates("1.25"),
            above: vec![draft::BandDraft {
                input_tokens: 200_000,
                rates: BTreeMap::from([("input".into(), "2.5".into())]),
            }],
            tiers: BTreeMap::from([("batch".to_owned(), draft::TierDraft { rates: rates("0.5"), above: vec![] })]),
        });
        let snapshot = Snapshot::compile(1, &draft).unwrap();
        let price = &snapshot.catalog.models[0].price;
        assert_eq!(price.rates(Tier::Standard, 200_001).of(Class::Input), Rate(2_500_000));
        assert_eq!(price.rates(Tier::Standard, 200_001).of(Class::Image), Rate(40_000_000_000));
        assert_eq!(price.rates(Tier::Batch, 5).of(Class::Input), Rate(500_000));
    }

    /// Applying deltas equals compiling the whole.
    #[test]
    fn advancing_equals_compiling_and_keeps_what_did_not_change() {
        let mut draft = good();
        draft.keys = (0..40).map(|n| key_draft(&std::array::from_fn(|i| (i as u8).wrapping_mul(n) ^ n))).collect();
        let mut before: Option<Snapshot> = None;
        for step in 0..20u64 {
            match step % 4 {
                0 => drop(draft.keys.remove((step as usize * 7) % draft.keys.len())),
                1 => draft.keys[3].revoked = Some(step),
                2 => draft.models.push(sourced(9, model("openai", &format!("new-{step}")))),
                _ => draft.keys.push(key_draft(&[100 + step as u8; 37])),
            }
            let (manifest, values) = stored(&draft);
            let fetch = |_: &str, digest: &Digest| values.get(digest).cloned().ok_or("missing");
            let next = Snapshot::advance(step, &manifest, before.as_ref(), fetch).unwrap();
            let whole = Snapshot::compile(step, &draft).unwrap();
            assert_eq!(summary(&next), summary(&whole));
            if let Some(before) = &before {
                for key in next.keys() {
                    let known = before.keys().find(|known| known.id == key.id);
                    assert!(known.is_none_or(|known| Arc::ptr_eq(&known.state, &key.state)), "limits were forgotten");
                }
            }
            before = Some(next);
        }
    }

    fn stored(draft: &Draft) -> (BTreeMap<String, Digest>, HashMap<Digest, Vec<u8>>) {
        let mut values = draft.to_values();
        let mut shards: BTreeMap<u8, Vec<KeyDraft>> = BTreeMap::new();
        for key in &draft.keys {
            shards.entry(Fingerprint::parse(&key.hash).unwrap().shard()).or_default().push(key.clone());
        }
        for (shard, keys) in shards {
            values.insert(draft::key_part(shard), stored::list(&keys));
        }
        let manifest = values.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect();
        (manifest, values.into_values().map(|bytes| (Digest::of(&bytes), bytes)).collect())
    }

    fn summary(snapshot: &Snapshot) -> (Vec<String>, Vec<String>) {
        let mut keys: Vec<_> = snapshot.keys().map(|key| key.id.to_string()).collect();
        keys.sort();
        let models = snapshot.catalog.models.iter().map(|m| format!("{}/{}", snapshot.vendor_of(m).name, m.id));
        let mut models: Vec<_> = models.collect();
        models.sort();
        (keys, models)
    }

    #[test]
    fn networks_contain_what_they_should() {
        let network = Network::parse("10.0.0.0/8").unwrap();
        assert!(network.contains("10.255.1.2".parse().unwrap()) && !network.contains("11.0.0.1".parse().unwrap()));
        assert!(Network::parse("::1").unwrap().contains("::1".parse().unwrap()));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }
}
