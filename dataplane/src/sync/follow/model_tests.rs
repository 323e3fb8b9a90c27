//! The following code against a store of which everything is known: whatever happens in whatever order, what a node serves is
//! what the store said at one revision, whole; it never goes back unless an operator said so; and it is there in the end.
//!
//! A sequence is made from a seed. `WEIR_SEED=N` runs that one alone, `WEIR_SEQUENCES=N` so many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_shared::draft::{
    self, AliasDraft, CredentialDraft, Draft, ModelDraft, Sourced, TenantDraft, VendorDraft, part,
};
use weir_shared::key::{Fingerprint, KeyDraft};
use weir_shared::keyspace::{Canary, Origin};
use weir_shared::overlay::{ByHand, DrainDraft};
use weir_shared::{keyspace, stored};

use std::path::Path;

use super::*;

/// All that a snapshot says, as far as an operator can change it here.
type Content = BTreeSet<String>;

/// The store: what it holds, and what goes wrong at which call.
#[derive(Clone, Default)]
struct World {
    values: BTreeMap<Digest, Vec<u8>>,
    manifests: BTreeMap<(u64, u64), Manifest>,
    pointer: Option<Pointer>,
    cluster: u64,
    draft: Draft,
}

#[derive(Default)]
struct Model {
    world: World,
    backup: Option<World>,
    /// The cluster that the last look at the pointer was answered by.
    answered_by: u64,
    /// What each manifest means; `None`: nobody may serve it.
    means: BTreeMap<Digest, Option<Content>>,
    /// Calls until the store is away, and for how many it stays so.
    away: Option<(u32, u32)>,
    /// What somebody else does between two calls of the node's.
    meanwhile: Option<(u32, u64)>,
    /// It was done, since this was looked at last.
    disturbed: bool,
    /// Values that were asked for, since this was looked at last.
    asked: u32,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Model>>);

impl Shared {
    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the node's.
    fn called(&self) -> Result<std::sync::MutexGuard<'_, Model>, StoreError> {
        let mut model = self.model();
        if let Some((calls, seed)) = model.meanwhile.take() {
            match calls {
                0 => {
                    model.disturbed = true;
                    model.happens(&mut Dice(seed));
                }
                _ => model.meanwhile = Some((calls - 1, seed)),
            }
        }
        match model.away {
            Some((0, 0)) | None => model.away = None,
            Some((0, calls)) => {
                model.away = Some((0, calls - 1));
                return Err(StoreError::Unavailable("it is away".into()));
            }
            Some((until, calls)) => model.away = Some((until - 1, calls)),
        }
        Ok(model)
    }
}

impl Store for Shared {
    fn pointer(&self) -> Result<Option<Pointer>, StoreError> {
        let mut model = self.called()?;
        model.answered_by = model.world.cluster;
        Ok(model.world.pointer)
    }

    fn cluster(&self) -> Option<String> {
        Some(self.model().answered_by.to_string())
    }

    fn manifest(&self, at: &Pointer) -> Result<Manifest, StoreError> {
        let model = self.called()?;
        let found = model.world.manifests.get(&(at.epoch, at.revision));
        let found = found.ok_or_else(|| StoreError::Missing(format!("manifest of revision {}", at.revision)))?;
        if found.pointer() == *at { Ok(found.clone()) } else { Err(StoreError::Corrupt("a manifest".into())) }
    }

    fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut model = self.called()?;
        model.asked += 1;
        model.world.values.get(digest).cloned().ok_or_else(|| StoreError::Missing(format!("value {digest}")))
    }

    fn canary(&self) -> Result<Option<Canary>, StoreError> {
        self.called().map(|_| None)
    }

    fn write_page(&self, _: &NodePage) -> Result<(), StoreError> {
        self.called().map(drop)
    }

    // A node does none of these.

    fn put_value(&self, _: &[u8]) -> Result<Digest, StoreError> {
        unreachable!("a node writes no values")
    }

    fn publish(&self, _: &Manifest, _: Option<&Pointer>) -> Result<Pointer, StoreError> {
        unreachable!("a node publishes nothing")
    }

    fn history(&self, _: usize) -> Result<Vec<Manifest>, StoreError> {
        unreachable!("a node asks for no history")
    }

    fn set_canary(&self, _: Option<&Canary>, _: Option<&Canary>) -> Result<(), StoreError> {
        unreachable!("a node sets no canary")
    }

    fn wait(&self, _: Option<&Pointer>, _: Duration) -> Result<bool, StoreError> {
        unreachable!("a turn is taken without a wait")
    }

    fn pages(&self) -> Result<Vec<NodePage>, StoreError> {
        unreachable!("a node reads no pages")
    }

    fn remove_page(&self, _: &str) -> Result<(), StoreError> {
        unreachable!("a node removes no pages")
    }
}

struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    }

    fn below(&mut self, most: u64) -> u64 {
        self.word() % most
    }
}

impl Model {
    /// An operator, a cron job or an accident.
    fn happens(&mut self, dice: &mut Dice) {
        match dice.below(12) {
            0..=6 => {
                for _ in 0..=dice.below(3) {
                    self.world.change(dice);
                }
                self.publish(false, Wrong::Nothing, dice);
            }
            7 => self.publish(false, Wrong::ALL[dice.below(Wrong::ALL.len() as u64) as usize], dice),
            8 => self.compact(),
            9 => self.backup = Some(self.world.clone()),
            10 => {
                if let Some(backup) = self.backup.clone() {
                    // Restored into a cluster of its own, or where it was.
                    let cluster = if dice.below(2) == 0 { self.world.cluster } else { self.world.cluster + 1 };
                    self.world = World { cluster, ..backup };
                }
            }
            _ => self.publish(true, Wrong::Nothing, dice),
        }
    }

    fn publish(&mut self, accept_regress: bool, wrong: Wrong, dice: &mut Dice) {
        let mut values = self.world.draft.to_values();
        if !self.world.draft.overlay.drains.is_empty() {
            values.insert(part::OVERLAY.into(), draft::write_overlay(&self.world.draft.overlay));
        }
        let mut shards: BTreeMap<u8, Vec<KeyDraft>> = BTreeMap::new();
        for key in &self.world.draft.keys {
            shards.entry(Fingerprint::parse(&key.hash).unwrap().shard()).or_default().push(key.clone());
        }
        let shards = shards.into_iter().map(|(shard, keys)| (draft::key_part(shard), stored::list(&keys)));
        values.extend(shards);
        wrong.done_to(&mut values);
        let parts = values.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect();
        let before = self.world.pointer;
        let manifest = Manifest {
            schema: draft::SCHEMA,
            revision: before.map_or(0, |at| at.revision) + 1,
            epoch: before.map_or(0, |at| at.epoch) + u64::from(accept_regress),
            author: "t".into(),
            // Two that say the same are two all the same.
            reason: dice.word().to_string(),
            time: 0,
            parts,
            origin: Origin::Unsaid,
        };
        let pointer = manifest.pointer();
        let means = (wrong == Wrong::Nothing).then(|| content_of(&self.world.draft));
        self.means.insert(pointer.digest, means);
        self.world.values.extend(values.into_values().map(|bytes| (Digest::of(&bytes), bytes)));
        self.world.manifests.insert((pointer.epoch, pointer.revision), manifest);
        self.world.pointer = Some(pointer);
    }

    /// Forgets what nobody needs who follows: all but the newest two.
    fn compact(&mut self) {
        let world = &mut self.world;
        while world.manifests.len() > 2 {
            world.manifests.pop_first();
        }
        let named: BTreeSet<_> = world.manifests.values().flat_map(|manifest| manifest.parts.values()).collect();
        world.values.retain(|digest, _| named.contains(digest));
    }
}

/// What a revision may have that no node can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    NewWord,
    NewSchema,
    NewPart,
    NoTenant,
}

impl Wrong {
    const ALL: [Self; 4] = [Self::NewWord, Self::NewSchema, Self::NewPart, Self::NoTenant];

    fn done_to(self, values: &mut BTreeMap<String, Vec<u8>>) {
        let tenant =
            |name: &str| serde_json::json!({"source": {"file": "t", "line": 1}, "is": {"name": name, "new": 1}});
        match self {
            Self::Nothing => {}
            Self::NewWord => {
                let bytes = serde_json::json!({"schema": 1, "items": [tenant("t")]}).to_string();
                values.insert(part::TENANTS.into(), bytes.into_bytes());
            }
            Self::NewSchema => {
                values.insert(part::ALIASES.into(), br#"{"schema":9,"items":[]}"#.to_vec());
            }
            Self::NewPart => {
                values.insert("guards".into(), br#"{"schema":1,"items":[]}"#.to_vec());
            }
            Self::NoTenant => {
                let key = KeyDraft { tenant: "nobody".into(), ..key(&mut Dice(7)) };
                values.insert(draft::key_part(Fingerprint::parse(&key.hash).unwrap().shard()), stored::list(&[key]));
            }
        }
    }
}

impl World {
    fn new() -> Self {
        let vendor = |name: &str| VendorDraft {
            name: name.into(),
            dialect: "openai".into(),
            base_url: "http://127.0.0.1:9/v1".into(),
            internal: true,
            credentials: vec![CredentialDraft { name: "main".into(), env: Some("PATH".into()), ..Default::default() }],
            ..Default::default()
        };
        let draft = Draft {
            vendors: vec![sourced(vendor("a")), sourced(vendor("b"))],
            models: vec![sourced(model("a", "m0"))],
            tenants: vec![sourced(TenantDraft { name: "t".into(), ..Default::default() })],
            ..Draft::default()
        };
        Self { draft, ..Self::default() }
    }

    fn change(&mut self, dice: &mut Dice) {
        let draft = &mut self.draft;
        let name = |dice: &mut Dice| format!("x{}", dice.below(5));
        match dice.below(9) {
            0 | 1 => draft.keys.push(key(dice)),
            2 if !draft.keys.is_empty() => {
                let place = dice.below(draft.keys.len() as u64) as usize;
                draft.keys.remove(place);
            }
            3 if !draft.keys.is_empty() => {
                let place = dice.below(draft.keys.len() as u64) as usize;
                draft.keys[place].revoked = Some(1);
            }
            4 if !draft.keys.is_empty() => {
                let place = dice.below(draft.keys.len() as u64) as usize;
                draft.keys[place].name = name(dice);
            }
            5 => draft.tenants[0].is.markup_bp = dice.below(100) as i32,
            6 => {
                let name = name(dice);
                draft.aliases.retain(|alias| alias.is.name != name);
                if dice.below(2) == 0 {
                    draft.aliases.push(sourced(AliasDraft { name, target: "m0".into() }));
                }
            }
            7 => {
                let (vendor, id) = (["a", "b"][dice.below(2) as usize], name(dice));
                let there = draft.models.iter().position(|known| known.is.id == id && known.is.vendor == vendor);
                match there {
                    Some(place) => drop(draft.models.remove(place)),
                    None => draft.models.push(sourced(model(vendor, &id))),
                }
            }
            _ => {
                let drains = &mut draft.overlay.drains;
                match drains.pop() {
                    Some(_) => {}
                    None => drains.push(DrainDraft {
                        what: ["a", "b"][dice.below(2) as usize].into(),
                        by: ByHand { author: "t".into(), ..Default::default() },
                    }),
                }
            }
        }
    }
}

fn sourced<T>(is: T) -> Sourced<T> {
    Sourced { source: Default::default(), is }
}

fn model(vendor: &str, id: &str) -> ModelDraft {
    ModelDraft { vendor: vendor.into(), id: id.into(), free: true, ..Default::default() }
}

fn key(dice: &mut Dice) -> KeyDraft {
    let letters = |word: u64| (0..8).map(|at| char::from(b'a' + (word >> (4 * at) & 15) as u8)).collect::<String>();
    let hash = (0..4).map(|_| format!("{:016x}", dice.word())).collect::<String>();
    let json = serde_json::json!({"id": letters(dice.word()), "hash": hash, "tenant": "t", "created": 1, "name": "k"});
    serde_json::from_value(json).unwrap()
}

fn content_of(draft: &Draft) -> Content {
    let mut content = Content::new();
    let markup = draft.tenants[0].is.markup_bp;
    let keys = draft.keys.iter().filter(|key| key.revoked.is_none());
    content.extend(keys.map(|key| format!("key {} {} {markup}", key.id, key.name)));
    content.extend(draft.models.iter().map(|model| format!("model {}/{}", model.is.vendor, model.is.id)));
    content.extend(draft.aliases.iter().map(|alias| format!("alias {}", alias.is.name)));
    content.extend(draft.overlay.drains.iter().map(|drain| format!("drained {}", drain.what)));
    content
}

fn content_served(snapshot: &Snapshot) -> Content {
    let mut content = Content::new();
    let catalog = &snapshot.catalog;
    content.extend(snapshot.keys().map(|key| format!("key {} {} {}", key.id, key.name, key.tenant.markup_bp)));
    let named = |model: &weir_shared::catalog::Model| format!("{}/{}", snapshot.vendor_of(model).name, model.id);
    content.extend(catalog.models.iter().map(|model| format!("model {}", named(model))));
    content.extend(catalog.alias_names().map(|name| format!("alias {name}")));
    let drained = catalog.vendors.iter().filter(|vendor| snapshot.overlay.drains_vendor(&vendor.name, 0));
    content.extend(drained.map(|vendor| format!("drained {}", vendor.name)));
    content
}

/// A node, and what it may serve by all that has happened.
struct Run {
    seed: u64,
    folder: PathBuf,
    store: Shared,
    follower: Follower,
    /// What it serves, and the cluster that it came from.
    served: Option<(Pointer, u64)>,
    steps: Vec<String>,
}

static FOLDERS: AtomicU64 = AtomicU64::new(0);

impl Run {
    fn new(seed: u64) -> Self {
        // Where syncing to a disk costs nothing, when there is such a place.
        let root = ["/dev/shm"].into_iter().map(PathBuf::from).find(|path| path.is_dir());
        let name = format!("weir-model-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let folder = root.unwrap_or_else(std::env::temp_dir).join(name);
        let store = Shared::default();
        store.model().world = World::new();
        let follower = started(&folder, &store);
        Self { seed, folder, store, follower, served: None, steps: Vec::new() }
    }

    fn step(&mut self, dice: &mut Dice) {
        match dice.below(16) {
            0..=5 => {
                self.steps.push("something happens".into());
                self.store.model().happens(dice);
            }
            6 => {
                let (until, calls) = (dice.below(12) as u32, 1 + dice.below(6) as u32);
                self.steps.push(format!("away for {calls} calls after {until}"));
                self.store.model().away = Some((until, calls));
            }
            7 => {
                self.steps.push("something will happen between two calls".into());
                self.store.model().meanwhile = Some((dice.below(12) as u32, dice.word()));
            }
            8 => {
                self.steps.push("restart".into());
                self.follower = started(&self.folder, &self.store);
                self.follower.first();
                // What `run` begins with.
                self.follower.keep();
                self.looked("restart");
            }
            9 if dice.below(4) == 0 => {
                self.steps.push("a new node".into());
                std::fs::remove_dir_all(&self.folder).unwrap();
                self.follower = started(&self.folder, &self.store);
                self.served = None;
            }
            _ => {
                self.steps.push("turn".into());
                let _ = self.follower.turn();
                self.looked("turn");
            }
        }
    }

    /// What it serves is one revision, whole, and none that may not follow the one before.
    #[track_caller]
    fn looked(&mut self, after: &str) {
        let Some(live) = self.follower.newest.get() else {
            assert!(self.served.is_none(), "{after}: it has forgotten what it served; {}", self.story());
            return;
        };
        let at = self.follower.current.as_ref().map(|(at, _)| *at).unwrap();
        let mut model = self.store.model();
        let disturbed = std::mem::take(&mut model.disturbed);
        let means = model.means.get(&at.digest);
        let content = content_served(&live.snapshot);
        assert_eq!(Some(&Some(content)), means, "{after}: it serves what no revision says; {}", self.story());
        assert_eq!(live.snapshot.revision, at.revision, "{}", self.story());
        let page = self.follower.state.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!((page.applied, page.applied_digest), (at.revision, Some(at.digest)), "{}", self.story());
        if let Some((before, cluster)) = self.served
            && at != before
        {
            assert!(at.is_after(&before), "{after}: it went back from {before:?} to {at:?}; {}", self.story());
            let same = at.epoch > before.epoch || model.answered_by == cluster;
            assert!(same, "{after}: it followed another cluster; {}", self.story());
            let road = model.world.manifests.get(&(before.epoch, before.revision));
            let parted = road.is_some_and(|manifest| manifest.pointer() != before) && at.epoch == before.epoch;
            assert!(disturbed || !parted, "{after}: it followed a store that parted from it; {}", self.story());
        }
        let cluster = self.served.filter(|(before, _)| *before == at).map_or(model.answered_by, |(_, cluster)| cluster);
        drop(model);
        self.served = Some((at, cluster));
    }

    /// With nothing going wrong any more, it serves what the store says, or says why not.
    fn ends(&mut self) {
        {
            let mut model = self.store.model();
            (model.away, model.meanwhile) = (None, None);
        }
        for _ in 0..2 {
            assert!(self.follower.turn().is_ok(), "{}", self.story());
            self.looked("the end");
        }
        let model = self.store.model();
        let Some(pointer) = model.world.pointer else { return };
        let served = self.served.map(|(at, _)| at);
        let may = self.may_follow(&model, &pointer);
        let good = model.means.get(&pointer.digest).is_some_and(Option::is_some);
        if may && good {
            assert_eq!(served, Some(pointer), "it does not follow; {}", self.story());
            return;
        }
        // The same revision in another cluster is served, and said to be suspect.
        let same = served == Some(pointer);
        assert!(!same || good, "it serves what nobody may; {}", self.story());
        let page = self.follower.state.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = page.refused.is_some_and(|refused| refused.is_about(&pointer));
        assert!(refused, "it neither follows {pointer:?} nor says why; {}", self.story());
    }

    /// The rule, said again: a raised epoch may everything; else the cluster is the same, the revision is later, and the road
    /// to it leads through what is served, as far as it is known.
    fn may_follow(&self, model: &Model, pointer: &Pointer) -> bool {
        let Some((served, cluster)) = self.served else { return true };
        if pointer.epoch > served.epoch || *pointer == served && model.world.cluster == cluster {
            return true;
        }
        let there = model.world.manifests.get(&(served.epoch, served.revision));
        model.world.cluster == cluster
            && pointer.is_after(&served)
            && there.is_none_or(|manifest| manifest.pointer() == served)
    }

    fn story(&self) -> String {
        format!("WEIR_SEED={}: {}", self.seed, self.steps.join(", "))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn started(folder: &Path, store: &Shared) -> Follower {
    let settings = Settings {
        store: "model:".into(),
        state: folder.to_owned(),
        node: "n".into(),
        pepper: Pepper([0; 32]),
        seal: [0; 32],
        admin: String::new(),
        data: String::new(),
    };
    let mut follower = Follower::new(settings, Arc::default()).unwrap();
    follower.store = Some(Box::new(store.clone()));
    follower
}

#[test]
fn whatever_happens_a_node_serves_one_revision_whole_and_never_goes_back() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("WEIR_SEQUENCES").unwrap_or(SEQUENCES),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = seeds.clone().filter(move |seed| seed % threads == thread);
            scope.spawn(move || {
                for seed in seeds {
                    let mut dice = Dice(seed);
                    let mut run = Run::new(seed);
                    for _ in 0..STEPS {
                        run.step(&mut dice);
                    }
                    run.ends();
                }
            });
        }
    });
    assert_eq!(keyspace::MANIFESTS_KEPT, 200, "the model forgets sooner, so that it is seen");
}

/// What did not change is taken from the node's own copy: by the next revision, and by a node that is started anew.
#[test]
fn a_change_of_one_thing_asks_the_store_for_one_thing() {
    let mut run = Run::new(0);
    let mut dice = Dice(1);
    let mut asked_for = |run: &mut Run, change: &dyn Fn(&mut Draft)| {
        change(&mut run.store.model().world.draft);
        run.store.model().publish(false, Wrong::Nothing, &mut dice);
        run.follower.turn().unwrap();
        run.looked("turn");
        std::mem::take(&mut run.store.model().asked)
    };
    let first = asked_for(&mut run, &|_| {});
    assert!(first >= 3, "{first}: two vendors and a tenant");
    assert_eq!(asked_for(&mut run, &|draft| draft.models.push(sourced(model("b", "new")))), 1);
    let alias = || AliasDraft { name: "x".into(), target: "m0".into() };
    assert_eq!(asked_for(&mut run, &|draft| draft.aliases.push(sourced(alias()))), 1);
    assert_eq!(asked_for(&mut run, &|draft| draft.aliases.clear()), 0, "it was there before");
    run.follower = started(&run.folder, &run.store);
    run.follower.first();
    run.looked("restart");
    assert_eq!(run.store.model().asked, 0);
}

const SEQUENCES: u64 = 2_000;
const STEPS: usize = 24;
