//! From a draft to a revision that nodes follow.
//!
//! Values are content-addressed, one manifest names them all, and one pointer moves by compare-and-swap. Keys and the
//! operator's catalog are parts of the same manifest with different owners: whoever changes one carries the other over
//! as it stands at that moment, and tries again when it was moved in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_shared::draft::{self, Draft, Sourced, TenantDraft, part};
use weir_shared::fault::{Exit, Fault, Source};
use weir_shared::id::Digest;
use weir_shared::key::{Fingerprint, KeyDraft};
use weir_shared::keyspace::{MANIFESTS_KEPT, Manifest, Origin, Pointer};
use weir_shared::overlay::OverlayDraft;
use weir_shared::sealed::SealedDraft;
use weir_shared::snapshot::Snapshot;
use weir_shared::store::{Store, StoreError};
use weir_shared::stored::{self, Unreadable};

use crate::catalog::SOURCE_MARK;
use crate::change::{self, Change};
use crate::failure::Failure;
use crate::role::TokenDraft;
use crate::when;

pub type Parts = BTreeMap<String, Digest>;

/// What a revision says of itself.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub author: String,
    pub reason: String,
    pub time: u64,
    /// Where the operator's part was written; as it was, when nothing of it changes.
    pub origin: Option<Origin>,
}

/// What the store holds at one moment.
#[derive(Clone, Debug)]
pub struct Base {
    schema: u32,
    pub pointer: Option<Pointer>,
    pub parts: Parts,
    pub epoch: u64,
    pub origin: Origin,
    /// Who published it, for whoever comes second.
    pub author: String,
    pub reason: String,
    pub time: u64,
}

impl Base {
    /// Before the first revision.
    pub fn empty() -> Self {
        let (author, reason) = (String::new(), String::new());
        let (schema, parts, origin) = (draft::SCHEMA, Parts::new(), Origin::Unsaid);
        Self { schema, pointer: None, parts, epoch: 0, origin, author, reason, time: 0 }
    }

    pub fn read(store: &dyn Store) -> Result<Self, Failure> {
        match store.pointer()? {
            None => Ok(Self::empty()),
            Some(pointer) => Ok(Self::of(pointer, store.manifest(&pointer)?)),
        }
    }

    fn of(pointer: Pointer, manifest: Manifest) -> Self {
        let Manifest { schema, parts, epoch, origin, author, reason, time, .. } = manifest;
        Self { schema, pointer: Some(pointer), parts, epoch, origin, author, reason, time }
    }

    /// A revision that is still kept.
    pub fn of_revision(store: &dyn Store, revision: u64) -> Result<Self, Failure> {
        let history = store.history(MANIFESTS_KEPT)?;
        match history.into_iter().find(|manifest| manifest.revision == revision) {
            Some(manifest) => Ok(Self::of(manifest.pointer(), manifest)),
            None => Err(Failure::new(Exit::Missing, format!("the store does not keep a revision {revision}"))
                .next(format!("`weirctl history` lists the kept ones (the last {MANIFESTS_KEPT})"))),
        }
    }

    pub fn revision(&self) -> u64 {
        self.pointer.map_or(0, |pointer| pointer.revision)
    }

    /// All that comes from an operator's folder.
    pub fn catalog_parts(&self) -> Parts {
        self.parts.iter().filter(|(name, _)| !is_kept(name)).map(|(name, digest)| (name.clone(), *digest)).collect()
    }

    /// All that a folder neither says nor takes away: keys, and what was changed by hand.
    pub fn kept_parts(&self) -> Parts {
        self.parts.iter().filter(|(name, _)| is_kept(name)).map(|(name, digest)| (name.clone(), *digest)).collect()
    }

    pub fn overlay(&self, store: &dyn Store) -> Result<OverlayDraft, Failure> {
        match self.parts.get(part::OVERLAY) {
            None => Ok(OverlayDraft::default()),
            Some(digest) => draft::read_overlay(&store.value(digest)?).map_err(newer),
        }
    }

    pub fn sealed(&self, store: &dyn Store) -> Result<Vec<SealedDraft>, Failure> {
        match self.parts.get(part::SEALED) {
            None => Ok(Vec::new()),
            Some(digest) => draft::read_sealed(&store.value(digest)?).map_err(newer),
        }
    }

    pub fn tokens(&self, store: &dyn Store) -> Result<Vec<TokenDraft>, Failure> {
        match self.parts.get(part::TOKENS) {
            None => Ok(Vec::new()),
            Some(digest) => stored::read_list(part::TOKENS, &store.value(digest)?).map_err(newer),
        }
    }

    /// Without the keys, what was changed by hand, and vendors' secrets.
    pub fn draft(&self, store: &dyn Store) -> Result<Draft, Failure> {
        let parts = self.catalog_parts();
        let values = store.values(&parts.values().copied().collect::<Vec<_>>())?;
        let named = parts.keys().zip(&values).map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        Draft::from_values(named).map_err(newer)
    }

    pub fn tenants(&self, store: &dyn Store) -> Result<Vec<Sourced<TenantDraft>>, Failure> {
        match self.parts.get(part::TENANTS) {
            None => Ok(Vec::new()),
            Some(digest) => stored::read_list(part::TENANTS, &store.value(digest)?).map_err(newer),
        }
    }

    pub fn keys(&self, store: &dyn Store) -> Result<Vec<KeyDraft>, Failure> {
        Keys::new(store, self.parts.clone()).all()
    }

    /// The next one. What is carried over into it must not be what this build does not know.
    fn manifest(&self, parts: Parts, stamp: &Stamp, raise_epoch: bool) -> Result<Manifest, Failure> {
        if self.schema > draft::SCHEMA {
            let what = format!("revision {} was written by a newer weirctl", self.revision());
            return Err(Failure::new(Exit::Store, what).next("use that one; nothing was changed"));
        }
        Ok(Manifest {
            schema: draft::SCHEMA,
            revision: self.revision() + 1,
            epoch: self.epoch + u64::from(raise_epoch),
            author: stamp.author.clone(),
            reason: stamp.reason.clone(),
            time: stamp.time,
            parts,
            origin: stamp.origin.unwrap_or(self.origin),
        })
    }
}

/// Only a build that writes more than this one knows leaves what this one cannot read.
fn newer(why: Unreadable) -> Failure {
    Failure::new(Exit::Store, why.to_string()).next("use a newer weirctl")
}

/// All that one revision says differently from another, keys and sealed secrets included.
pub fn between(store: &dyn Store, old: &Base, new: &Base) -> Result<Vec<Change>, Failure> {
    let mut changes = change::between(&old.draft(store)?, &new.draft(store)?);
    changes.extend(change::between_keys(&old.keys(store)?, &new.keys(store)?));
    changes.extend(change::between_sealed(&old.sealed(store)?, &new.sealed(store)?));
    Ok(changes)
}

fn is_key(part: &str) -> bool {
    part.starts_with(part::KEYS)
}

fn is_kept(part: &str) -> bool {
    is_key(part) || part == part::OVERLAY || part == part::SEALED || part == part::TOKENS
}

/// What a draft comes to in a store.
#[derive(Clone, Debug)]
pub struct Values {
    pub parts: Parts,
    /// Those that `base` does not name, so that the store may not have them yet.
    pub new: Vec<Vec<u8>>,
}

impl Values {
    pub fn of(draft: &Draft, base: &Base) -> Self {
        let known: BTreeSet<Digest> = base.parts.values().copied().collect();
        let (mut parts, mut new) = (Parts::new(), Vec::new());
        for (name, bytes) in draft.to_values() {
            let digest = Digest::of(&bytes);
            parts.insert(name, digest);
            if !known.contains(&digest) {
                new.push(bytes);
            }
        }
        Self { parts, new }
    }

    /// Those that were published before.
    pub fn published(parts: Parts) -> Self {
        Self { parts, new: Vec::new() }
    }
}

/// Puts other catalog parts in the place of those of `base`. Keys stay as they are at the moment of publishing.
///
/// Somebody who changed keys in between is merged with; somebody who changed the catalog is a conflict.
pub fn replace_catalog(
    store: &dyn Store,
    base: &Base,
    draft: &Draft,
    values: &Values,
    stamp: &Stamp,
    raise_epoch: bool,
) -> Result<Pointer, Failure> {
    let mut now = base.clone();
    for attempt in 0..ATTEMPTS_MAX {
        let manifest = merged(store, base, &now, draft, &values.parts, stamp, raise_epoch)?;
        match store.publish_with(&values.new, &manifest, now.pointer.as_ref()) {
            Ok(pointer) => return Ok(pointer),
            Err(StoreError::Conflict { .. }) => pause(attempt),
            Err(error) => return Err(error.into()),
        }
        now = Base::read(store)?;
    }
    Err(crowded())
}

/// The manifest that [`replace_catalog`] publishes when the store says what `now` says.
pub fn merged(
    store: &dyn Store,
    base: &Base,
    now: &Base,
    draft: &Draft,
    parts: &Parts,
    stamp: &Stamp,
    raise_epoch: bool,
) -> Result<Manifest, Failure> {
    if now.catalog_parts() != base.catalog_parts() || now.epoch != base.epoch {
        return Err(overtaken(now));
    }
    check_with_keys(store, now, draft)?;
    let mut merged = now.kept_parts();
    merged.extend(parts.iter().map(|(name, digest)| (name.clone(), *digest)));
    now.manifest(merged, stamp, raise_epoch)
}

/// A tenant may only go when no key of it is left: a node would refuse what the folder alone cannot show.
fn check_with_keys(store: &dyn Store, base: &Base, draft: &Draft) -> Result<(), Failure> {
    let refused =
        |faults: Vec<Fault>| Err(with_faults("with the keys of the store, the revision would be refused", &faults));
    let snapshot = match Snapshot::compile(base.revision() + 1, draft) {
        Ok(snapshot) => snapshot,
        Err(faults) => return refused(faults),
    };
    if base.parts.get(part::TENANTS) == Some(&Digest::of(&stored::list(&draft.tenants))) {
        return Ok(());
    }
    let mut faults = Vec::new();
    let keys = Keys::new(store, base.parts.clone());
    for part in keys.names() {
        faults.extend(snapshot.faults_of(&keys.of_part(&part)?));
    }
    if faults.is_empty() { Ok(()) } else { refused(faults) }
}

/// A failure that shows each fault.
pub fn with_faults(what: &str, faults: &[Fault]) -> Failure {
    let mut text = String::new();
    for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
        let place = fault.source.to_string();
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        text.push_str(&format!("\n  {place}{}; {}", fault.what, fault.fix));
    }
    if let Some(more) = faults.len().checked_sub(FAULTS_SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    Failure::new(Exit::Faults, format!("{what}:{text}"))
        .next("mend them and try again; nothing was published")
        .detail("faults", serde_json::to_value(faults).unwrap_or_default())
}

const FAULTS_SHOWN_MAX: usize = 50;

/// Whether the operator's part of the store still says what it said at revision `planned`; keys may have come and gone.
pub fn unchanged_since(store: &dyn Store, planned: u64, now: &Base) -> Result<(), Failure> {
    if planned == now.revision() || Base::of_revision(store, planned)?.catalog_parts() == now.catalog_parts() {
        return Ok(());
    }
    Err(overtaken(now))
}

fn overtaken(now: &Base) -> Failure {
    let what = format!(
        "{} published revision {} in between ({}, {:?})",
        now.author,
        now.revision(),
        when::stamp(now.time),
        now.reason
    );
    Failure::new(Exit::Conflict, what)
        .next("nothing was overwritten; see `weirctl diff` for what yours would change now, then try again")
        .detail("revision", now.revision())
}

fn crowded() -> Failure {
    Failure::new(Exit::Conflict, format!("others published {ATTEMPTS_MAX} times while this was tried"))
        .next("try again when it is quieter; nothing was changed")
}

/// So many others would have to come first, one after the other.
const ATTEMPTS_MAX: u32 = 200;

/// A different while for everybody, so that those who collided do not collide again.
fn pause(attempt: u32) {
    let mut random = [0; 1];
    let _ = getrandom::fill(&mut random);
    let most = 1u64 << attempt.min(5);
    std::thread::sleep(Duration::from_millis(1 + u64::from(random[0]) * most / 256));
}

/// The keys of a manifest, read shard by shard and written back where they changed.
pub struct Keys<'a> {
    store: &'a dyn Store,
    parts: Parts,
    read: BTreeMap<String, Vec<KeyDraft>>,
    /// As stored, of those that were only searched.
    searched: BTreeMap<String, String>,
    changed: BTreeSet<String>,
}

impl<'a> Keys<'a> {
    fn new(store: &'a dyn Store, parts: Parts) -> Self {
        Self { store, parts, read: BTreeMap::new(), searched: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn all(mut self) -> Result<Vec<KeyDraft>, Failure> {
        self.read_all()?;
        Ok(self.read.into_values().flatten().collect())
    }

    pub fn add(&mut self, key: KeyDraft) -> Result<(), Failure> {
        let Some(print) = Fingerprint::parse(&key.hash) else {
            return Err(Failure::new(Exit::Failed, "a key without a valid hash cannot be stored"));
        };
        let part = draft::key_part(print.shard());
        let there = self.shard(&part)?;
        // Said again, because nobody knew whether it had been heard: twice it would be revoked once.
        if !there.iter().any(|known| known.hash == key.hash) {
            there.push(key);
            self.changed.insert(part);
        }
        Ok(())
    }

    /// Changes the key of this id. What was wrong with it is the change's to say.
    pub fn change<T>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut KeyDraft) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let names = self.names();
        for some in names.chunks(SEARCHED_AT_ONCE) {
            self.search(some)?;
            for part in some {
                if !self.read.contains_key(part) && !self.looks_as_if(part, id) {
                    continue;
                }
                if let Some(key) = self.shard(part)?.iter_mut().find(|key| key.id == id) {
                    let before = key.clone();
                    let said = change(key)?;
                    if *key != before {
                        self.changed.insert(part.clone());
                    }
                    return Ok(said);
                }
            }
        }
        Err(Failure::new(Exit::Missing, format!("there is no key {id}")).next("`weirctl key list` shows their ids"))
    }

    fn read_all(&mut self) -> Result<(), Failure> {
        let names = self.names();
        for some in names.chunks(SEARCHED_AT_ONCE) {
            for (part, bytes) in self.values(some.iter().filter(|part| !self.read.contains_key(*part)))? {
                let keys = stored::read_list(&part, &bytes).map_err(newer)?;
                self.read.insert(part, keys);
            }
        }
        Ok(())
    }

    /// The bytes of these parts, which the store is asked for together.
    fn values<'p>(&self, parts: impl Iterator<Item = &'p String>) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let named = parts.filter_map(|part| Some((part.clone(), *self.parts.get(part)?)));
        let (names, digests): (Vec<_>, Vec<_>) = named.unzip();
        Ok(names.into_iter().zip(self.store.values(&digests)?).collect())
    }

    fn names(&self) -> Vec<String> {
        self.parts.keys().filter(|name| is_key(name)).cloned().collect()
    }

    /// Has the text of these parts ready to be searched.
    fn search(&mut self, parts: &[String]) -> Result<(), Failure> {
        let new = parts.iter().filter(|part| !self.read.contains_key(*part) && !self.searched.contains_key(*part));
        for (part, bytes) in self.values(new)? {
            self.searched.insert(part, String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(())
    }

    /// Whether a part may hold the key of this id. An id does not say which it is, and to read them all as keys would be most of
    /// what a command does with a hundred thousand of them.
    fn looks_as_if(&self, part: &str, id: &str) -> bool {
        // Within a string of JSON its quotes could not stand like this.
        let mark = format!("\"id\":\"{id}\"");
        self.searched.get(part).is_some_and(|text| text.contains(&mark))
    }

    fn value(&self, part: &str) -> Result<Vec<u8>, Failure> {
        match self.parts.get(part) {
            None => Ok(Vec::new()),
            Some(digest) => Ok(self.store.value(digest)?),
        }
    }

    /// The keys of one part as they are stored; nothing of them is kept.
    fn of_part(&self, part: &str) -> Result<Vec<KeyDraft>, Failure> {
        if !self.parts.contains_key(part) {
            return Ok(Vec::new());
        }
        stored::read_list(part, &self.value(part)?).map_err(newer)
    }

    fn shard(&mut self, part: &str) -> Result<&mut Vec<KeyDraft>, Failure> {
        if !self.read.contains_key(part) {
            let keys = self.of_part(part)?;
            self.read.insert(part.to_owned(), keys);
        }
        Ok(self.read.entry(part.to_owned()).or_default())
    }

    /// All parts as they are now, and the values that the store does not have yet.
    fn finish(mut self) -> Values {
        let mut new = Vec::new();
        for part in &self.changed {
            if let Some(keys) = self.read.get(part) {
                let bytes = stored::list(keys);
                self.parts.insert(part.clone(), Digest::of(&bytes));
                new.push(bytes);
            }
        }
        Values { parts: self.parts, new }
    }
}

/// Parts with keys, of 256.
const SEARCHED_AT_ONCE: usize = 16;

/// Changes keys, and carries everything else over. `change` is called again when somebody else published in between.
///
/// `None` when nothing was changed.
pub fn change_keys<T>(
    store: &dyn Store,
    stamp: &Stamp,
    mut change: impl FnMut(&Base, &mut Keys<'_>) -> Result<T, Failure>,
) -> Result<(T, Option<Pointer>), Failure> {
    for attempt in 0..ATTEMPTS_MAX {
        let base = Base::read(store)?;
        let mut keys = Keys::new(store, base.parts.clone());
        let said = change(&base, &mut keys)?;
        if keys.changed.is_empty() {
            return Ok((said, None));
        }
        let values = keys.finish();
        let manifest = base.manifest(values.parts, stamp, false)?;
        match store.publish_with(&values.new, &manifest, base.pointer.as_ref()) {
            Ok(pointer) => return Ok((said, Some(pointer))),
            Err(StoreError::Conflict { .. }) => pause(attempt),
            Err(error) => return Err(error.into()),
        }
    }
    Err(crowded())
}

/// Changes what the operator's folder says, in the store, and carries everything else over. Not where the folder is kept in
/// version control: `change` says where the thing is written there.
pub fn change_catalog<T>(
    store: &dyn Store,
    stamp: &Stamp,
    mut change: impl FnMut(&mut Draft) -> Result<(T, Source), Failure>,
) -> Result<(T, Option<Pointer>, Vec<Change>), Failure> {
    let stamp = Stamp { origin: Some(Origin::Verb), ..stamp.clone() };
    for attempt in 0..ATTEMPTS_MAX {
        let base = Base::read(store)?;
        let before = base.draft(store)?;
        let mut draft = before.clone();
        let (said, written) = change(&mut draft)?;
        let changes = change::between(&before, &draft);
        if changes.is_empty() {
            return Ok((said, None, changes));
        }
        if base.origin == Origin::Git {
            return Err(kept_in_git(&written));
        }
        check_with_keys(store, &base, &draft)?;
        let values = Values::of(&draft, &base);
        let mut parts = base.kept_parts();
        parts.extend(values.parts);
        match store.publish_with(&values.new, &base.manifest(parts, &stamp, false)?, base.pointer.as_ref()) {
            Ok(pointer) => return Ok((said, Some(pointer), changes)),
            Err(StoreError::Conflict { .. }) => pause(attempt),
            Err(error) => return Err(error.into()),
        }
    }
    Err(crowded())
}

fn kept_in_git(written: &Source) -> Failure {
    let place = match written.file.as_str() {
        "" => "it there".to_owned(),
        file if file.starts_with(SOURCE_MARK) => format!("the folder: a table of its own wins over {written}"),
        _ => format!("{written} there"),
    };
    let what = "the operator's folder is kept in git, and the next `apply` would take this back";
    Failure::new(Exit::Conflict, what).next(format!("edit {place}, and `weirctl apply --wait`; nothing was changed"))
}

/// Changes what is over the folder by hand, and carries everything else over. `change` is called again when somebody else
/// published in between.
pub fn change_overlay<T>(
    store: &dyn Store,
    stamp: &Stamp,
    mut change: impl FnMut(&Base, &mut OverlayDraft) -> Result<T, Failure>,
) -> Result<(T, Option<Pointer>), Failure> {
    change_part(store, stamp, part::OVERLAY, |base| {
        let before = base.overlay(store)?;
        let mut overlay = before.clone();
        let said = change(base, &mut overlay)?;
        let bytes = (overlay != OverlayDraft::default()).then(|| draft::write_overlay(&overlay));
        Ok((said, (overlay != before).then_some(bytes)))
    })
}

/// The same with vendors' secrets.
pub fn change_sealed<T>(
    store: &dyn Store,
    stamp: &Stamp,
    mut change: impl FnMut(&Base, &mut Vec<SealedDraft>) -> Result<T, Failure>,
) -> Result<(T, Option<Pointer>), Failure> {
    change_part(store, stamp, part::SEALED, |base| {
        let before = base.sealed(store)?;
        let mut sealed = before.clone();
        let said = change(base, &mut sealed)?;
        let bytes = (!sealed.is_empty()).then(|| stored::list(&sealed));
        Ok((said, (sealed != before).then_some(bytes)))
    })
}

/// The same with tokens of the admin API.
pub fn change_tokens<T>(
    store: &dyn Store,
    stamp: &Stamp,
    mut change: impl FnMut(&Base, &mut Vec<TokenDraft>) -> Result<T, Failure>,
) -> Result<(T, Option<Pointer>), Failure> {
    change_part(store, stamp, part::TOKENS, |base| {
        let before = base.tokens(store)?;
        let mut tokens = before.clone();
        let said = change(base, &mut tokens)?;
        let bytes = (!tokens.is_empty()).then(|| stored::list(&tokens));
        Ok((said, (tokens != before).then_some(bytes)))
    })
}

/// What a part is to be instead: nothing of the kind, without the part, or these bytes.
type Instead = Option<Option<Vec<u8>>>;

fn change_part<T>(
    store: &dyn Store,
    stamp: &Stamp,
    name: &str,
    mut change: impl FnMut(&Base) -> Result<(T, Instead), Failure>,
) -> Result<(T, Option<Pointer>), Failure> {
    for attempt in 0..ATTEMPTS_MAX {
        let base = Base::read(store)?;
        let (said, instead) = change(&base)?;
        let (mut parts, mut new) = (base.parts.clone(), Vec::new());
        match instead {
            None => return Ok((said, None)),
            Some(None) => drop(parts.remove(name)),
            Some(Some(bytes)) => {
                parts.insert(name.to_owned(), Digest::of(&bytes));
                new.push(bytes);
            }
        }
        match store.publish_with(&new, &base.manifest(parts, stamp, false)?, base.pointer.as_ref()) {
            Ok(pointer) => return Ok((said, Some(pointer))),
            Err(StoreError::Conflict { .. }) => pause(attempt),
            Err(error) => return Err(error.into()),
        }
    }
    Err(crowded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::draft::{AliasDraft, ModelDraft, VendorDraft};
    use weir_shared::key::Pepper;
    use weir_shared::store::Folder;

    pub fn store(name: &str) -> Folder {
        let root = std::env::temp_dir().join(format!("weirctl-publish-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        Folder::open(root).unwrap()
    }

    fn stamp(reason: &str) -> Stamp {
        Stamp { author: "t".into(), reason: reason.into(), time: 1, origin: None }
    }

    fn draft(alias: &str) -> Draft {
        let sourced = |is| Sourced { is, ..Sourced::default() };
        let vendor = VendorDraft {
            name: "v".into(),
            dialect: "openai".into(),
            base_url: "https://v.example".into(),
            ..VendorDraft::default()
        };
        let model = ModelDraft { vendor: "v".into(), id: "m".into(), free: true, ..ModelDraft::default() };
        Draft {
            vendors: vec![sourced(vendor)],
            models: vec![Sourced { is: model, ..Sourced::default() }],
            aliases: vec![Sourced { is: AliasDraft { name: alias.into(), target: "m".into() }, ..Sourced::default() }],
            ..Draft::default()
        }
    }

    fn key(seed: u8, tenant: &str) -> KeyDraft {
        let minted = weir_shared::key::mint(&std::array::from_fn(|i| (i as u8).wrapping_mul(seed).wrapping_add(seed)));
        let hash = Fingerprint::of(minted.text.as_bytes(), &Pepper([0; 32])).unwrap().hex();
        serde_json::from_value(serde_json::json!({
            "id": minted.id.as_str(), "hash": hash, "tenant": tenant, "created": 1
        }))
        .unwrap()
    }

    fn apply(store: &dyn Store, base: &Base, draft: &Draft) -> Result<Pointer, Failure> {
        replace_catalog(store, base, draft, &Values::of(draft, base), &stamp("apply"), false)
    }

    #[test]
    fn keys_that_came_in_between_are_kept_and_another_catalog_is_a_conflict() {
        let store = store("merge");
        let empty = Base::read(&store).unwrap();
        apply(&store, &empty, &draft("one")).unwrap();
        let base = Base::read(&store).unwrap();
        change_keys(&store, &stamp("key"), |_, keys| keys.add(key(3, "default"))).unwrap();
        // The base is one revision old, but only keys have moved since.
        assert_eq!(apply(&store, &base, &draft("two")).unwrap().revision, 3);
        let now = Base::read(&store).unwrap();
        assert_eq!(now.keys(&store).unwrap(), [key(3, "default")]);
        assert_eq!(now.draft(&store).unwrap(), draft("two"));
        let failure = apply(&store, &base, &draft("three")).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict, "{failure:?}");
        assert_eq!(Base::read(&store).unwrap().revision(), 3);
    }

    #[test]
    fn a_tenant_with_keys_does_not_go() {
        let store = store("tenant");
        let mut with_tenant = draft("one");
        with_tenant
            .tenants
            .push(Sourced { is: TenantDraft { name: "team".into(), ..TenantDraft::default() }, ..Sourced::default() });
        apply(&store, &Base::read(&store).unwrap(), &with_tenant).unwrap();
        change_keys(&store, &stamp("key"), |_, keys| keys.add(key(5, "team"))).unwrap();
        let failure = apply(&store, &Base::read(&store).unwrap(), &draft("one")).unwrap_err();
        assert_eq!(failure.exit, Exit::Faults);
        assert!(failure.what.contains("its tenant \"team\" does not exist"), "{failure:?}");
    }

    #[test]
    fn of_four_writers_none_loses_a_key() {
        let store = store("crowd");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..15 {
                        change_keys(store, &stamp("key"), |_, keys| keys.add(key(writer * 15 + n + 1, "default")))
                            .unwrap();
                    }
                });
            }
        });
        let base = Base::read(&store).unwrap();
        assert_eq!(base.revision(), 60);
        let ids: BTreeSet<_> = base.keys(&store).unwrap().into_iter().map(|key| key.id).collect();
        assert_eq!(ids.len(), 60);
    }

    #[test]
    fn a_change_of_nothing_publishes_nothing() {
        let store = store("nothing");
        change_keys(&store, &stamp("key"), |_, keys| keys.add(key(9, "default"))).unwrap();
        let id = key(9, "default").id;
        let (_, pointer) = change_keys(&store, &stamp("no"), |_, keys| keys.change(&id, |_| Ok(()))).unwrap();
        assert_eq!(pointer, None);
        let failure = change_keys(&store, &stamp("no"), |_, keys| keys.change("zzzzzzzz", |_| Ok(()))).unwrap_err();
        assert_eq!(failure.exit, Exit::Missing);
        assert_eq!(Base::read(&store).unwrap().revision(), 1);
        assert_eq!(Base::of_revision(&store, 7).unwrap_err().exit, Exit::Missing);
    }
}
