//! What was asked lately: the nodes' records as shapes, and the revisions that they were served under.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_shared::key::KeyId;
use weir_shared::keyspace::{MANIFESTS_KEPT, NodePage};
use weir_shared::ledger::{Record, Records, flag};
use weir_shared::routing::{Shape, Vitals, dice};
use weir_shared::snapshot::{Key, Snapshot};
use weir_shared::store::Store;
use weir_shared::usage::{Tier, Usage};

use crate::failure::Failure;
use crate::follow::is_live;
use crate::journal;
use crate::node;
use crate::when;

/// One request, as its record tells it; nothing of a prompt is in it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many thousandths of a request it stands for.
    pub weight: u64,
    pub time_s: u64,
    pub revision: u64,
    /// The dice, also of a call for which none were thrown.
    pub seed: u64,
    pub key: KeyId,
    pub tier: Tier,
    pub stream: bool,
    pub usage: Usage,
    /// The model that answered; empty for calls that name none.
    pub model: String,
    /// Who was asked, in the order in which they were done: of two that were asked at once, the first may come second.
    pub vendors: Vec<String>,
    pub told: Option<Told>,
}

/// What the choice was made by.
#[derive(Clone, Debug)]
pub struct Told {
    pub asked: String,
    pub label: String,
    pub shape: Shape,
    pub vitals: Vitals,
}

impl Asked {
    fn of(record: &Record<'_>, weight: u64) -> Self {
        let told = record.choice.as_ref().map(|choice| Told {
            asked: choice.asked.clone().into_owned(),
            label: choice.label.to_owned(),
            shape: choice.shape,
            vitals: choice.vitals,
        });
        Self {
            weight,
            time_s: record.time_ns / 1_000_000_000,
            revision: record.revision,
            seed: dice(record.id.0 as u64, 0),
            key: record.key,
            tier: record.tier,
            stream: record.flags & flag::STREAM != 0,
            usage: record.usage,
            model: record.model.to_owned(),
            vendors: record.attempts.iter().map(|attempt| attempt.vendor.to_owned()).collect(),
            told,
        }
    }

    /// The name as the caller said it.
    pub fn name(&self) -> &str {
        self.told.as_ref().map_or(&self.model, |told| &told.asked)
    }
}

/// All that was collected.
#[derive(Default)]
pub struct Collected {
    /// By time.
    pub shapes: Vec<Asked>,
    /// What they stand for.
    pub requests: u64,
    pub nodes: usize,
    /// Nodes that were asked in vain, and why.
    pub silent: Vec<String>,
}

/// A node may read a quarter of a gigabyte before it says a word.
const PATIENCE: Duration = Duration::from_secs(9);

/// From every live node.
pub fn of_nodes(pages: &[NodePage], since: u64) -> Collected {
    let mut collected = Collected::default();
    for page in pages.iter().filter(|page| is_live(page, when::now())) {
        match of_node(page, since) {
            Ok((shapes, requests)) => {
                collected.nodes += 1;
                collected.requests += requests;
                collected.shapes.extend(shapes);
            }
            Err(why) => collected.silent.push(format!("{} at {}: {why}", page.node, page.admin)),
        }
    }
    collected.shapes.sort_by_key(|shape| shape.time_s);
    collected
}

fn of_node(page: &NodePage, since: u64) -> Result<(Vec<Asked>, u64), String> {
    let answer = node::fetch(&page.admin, &format!("/shapes?since={since}"), PATIENCE)?;
    let (_, records) = Records::open(&answer.body).map_err(|damage| damage.to_string())?;
    let records: Vec<Record<'_>> = records.collect::<Result<_, _>>().map_err(|damage| damage.to_string())?;
    let requests = answer.number("x-weir-requests").unwrap_or(records.len() as u64);
    let weight = u128::from(requests) * 1_000 / (records.len().max(1) as u128);
    Ok((records.iter().map(|record| Asked::of(record, weight as u64)).collect(), requests))
}

/// From journals in a folder: of nodes that are gone.
pub fn of_folder(folder: &Path, since: u64) -> Result<Collected, Failure> {
    let mut collected = Collected::default();
    let mut nodes = BTreeSet::new();
    for segment in journal::segments(folder)? {
        segment.read(|record| {
            if record.time_ns / 1_000_000_000 >= since && record.mirror_of.is_none() {
                collected.shapes.push(Asked::of(record, 1_000));
            }
        })?;
        nodes.extend(segment.header.ok().map(|header| header.node));
    }
    collected.nodes = nodes.len();
    collected.requests = collected.shapes.len() as u64;
    collected.shapes.sort_by_key(|shape| shape.time_s);
    Ok(collected)
}

/// A revision with those of its keys that are asked for, by their ids.
pub struct Policy {
    pub snapshot: Snapshot,
    keys: HashMap<KeyId, Arc<Key>>,
}

impl Policy {
    pub fn new(snapshot: Snapshot, callers: &HashSet<KeyId>) -> Self {
        let calling = snapshot.keys().filter(|key| callers.contains(&key.id));
        let keys = calling.map(|key| (key.id, Arc::clone(key))).collect();
        Self { snapshot, keys }
    }

    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id).map(|key| &**key)
    }
}

/// The revisions that these were served under, as far as the store still keeps them. Each is built on the one before, so
/// that two hundred that differ in a key cost little more than one.
pub fn revisions(
    store: &dyn Store,
    shapes: &[Asked],
    callers: &HashSet<KeyId>,
) -> Result<BTreeMap<u64, Policy>, Failure> {
    let wanted: BTreeSet<u64> = shapes.iter().map(|shape| shape.revision).collect();
    let mut manifests = store.history(MANIFESTS_KEPT)?;
    manifests.retain(|manifest| wanted.contains(&manifest.revision));
    manifests.sort_by_key(|manifest| (manifest.epoch, manifest.revision));
    let mut policies: BTreeMap<u64, Policy> = BTreeMap::new();
    for manifest in manifests {
        let previous = policies.last_key_value().map(|(_, policy)| &policy.snapshot);
        let fetch = |_: &str, digest: &weir_shared::id::Digest| store.value(digest);
        // One that this build cannot read any more is as good as one that is not kept.
        if let Ok(snapshot) = Snapshot::advance(manifest.revision, &manifest.parts, previous, fetch) {
            policies.insert(manifest.revision, Policy::new(snapshot, callers));
        }
    }
    Ok(policies)
}
