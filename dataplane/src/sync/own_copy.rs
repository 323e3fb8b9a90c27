//! The node's own copy of the last good revision: what it serves from when it is started and its store is not there.
//!
//! One file that is only added to. Each record has its length and its checksum; values come before the revision that names
//! them, and one sync makes all of it last. Whoever reads it goes from record to record up to the first that is not whole:
//! a write that was torn, anywhere, is as if it had not been. The newest whole revision counts all of whose values are there,
//! and a value is believed by its digest alone. When more than half of the file is of no use any more it is written anew,
//! beside, and renamed.
//!
//! ```text
//! magic            4 bytes
//! length           4 bytes, of what follows the checksums
//! checksum         8 bytes, of what follows
//! checksum         8 bytes, of these sixteen
//! kind, content    a value behind its digest; or a pointer, with its length, and the manifest
//! ```

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use weir_shared::id::Digest;
use weir_shared::keyspace::{Manifest, Pointer};
use weir_shared::store::{Folder, Store, StoreError};

pub struct OwnCopy {
    path: PathBuf,
    file: Option<File>,
    /// Behind the last whole record: the next one goes there.
    end: u64,
    /// Something stands behind it that is no use, and has to go before anything is written: what was torn is not to be taken
    /// for what follows.
    ragged: bool,
    /// A file of this length may be worth writing anew.
    anew_at: u64,
    values: HashMap<Digest, Place>,
    newest: Option<(Pointer, Manifest)>,
}

/// Where a value's bytes are.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    bytes: u32,
}

const NAME: &str = "last-good";
const MAGIC: [u8; 4] = *b"WRc1";
const HEAD_BYTES: usize = 24;
const DIGEST_BYTES: usize = 32;

/// Of one record. Values are smaller in every store.
const RECORD_BYTES_MAX: usize = 128 << 20;

/// A file smaller than this is not worth writing anew.
const SPARE_BYTES: u64 = 1 << 20;

const VALUE: u8 = 1;
const REVISION: u8 = 2;

impl OwnCopy {
    /// What is whole of the copy in this folder. One of an earlier version's form is taken over.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        // What was not finished when the node was stopped.
        let _ = std::fs::remove_file(path.with_extension("new"));
        let mut copy =
            Self { path, file: None, end: 0, ragged: false, anew_at: 0, values: HashMap::new(), newest: None };
        match OpenOptions::new().read(true).write(true).open(&copy.path) {
            Ok(file) => copy.read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if copy.newest.is_none() {
            // What cannot be taken over is as if it were not there.
            let _ = copy.take_over(folder);
        }
        Ok(copy)
    }

    pub fn pointer(&self) -> Option<Pointer> {
        self.newest.as_ref().map(|(pointer, _)| *pointer)
    }

    /// Of the newest revision.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.newest.as_ref().map(|(_, manifest)| manifest)
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.values.contains_key(digest)
    }

    /// Checked against its digest.
    pub fn value(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let name = || format!("value {digest} of the node's own copy");
        let (Some(place), Some(file)) = (self.values.get(digest), &self.file) else {
            return Err(StoreError::Missing(name()));
        };
        let mut bytes = vec![0; place.bytes as usize];
        file.read_exact_at(&mut bytes, place.at).map_err(|error| self.unavailable(&error))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Corrupt(name())) }
    }

    /// Adds a value; it lasts once a revision has been kept after it.
    pub fn put(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.has(digest) {
            let place = self.append(VALUE, &digest.0, bytes)?;
            self.values.insert(*digest, place);
        }
        Ok(())
    }

    /// Makes this revision the last good one. All its values have been put.
    pub fn keep(&mut self, pointer: &Pointer, manifest: &Manifest) -> Result<(), StoreError> {
        let (pointer_text, manifest_text) = (serde_json::to_vec(pointer).unwrap_or_default(), manifest.encode());
        let length = (pointer_text.len() as u32).to_le_bytes();
        self.append(REVISION, &[&length[..], &pointer_text].concat(), &manifest_text)?;
        self.sync().map_err(|error| self.unavailable(&error))?;
        self.newest = Some((*pointer, manifest.clone()));
        if self.end <= self.anew_at {
            return Ok(());
        }
        self.anew_at = SPARE_BYTES + 2 * self.used();
        if self.end > self.anew_at && self.write_anew().is_err() {
            // The revision is kept as it is; the file is only longer than it need be.
            let _ = std::fs::remove_file(self.path.with_extension("new"));
            self.anew_at = self.end.saturating_mul(2);
        }
        Ok(())
    }

    fn unavailable(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.path.display()))
    }

    /// One record at the end. Where it cannot be written whole, what was there stays as it was.
    fn append(&mut self, kind: u8, front: &[u8], content: &[u8]) -> Result<Place, StoreError> {
        let record = record(kind, front, content).ok_or_else(|| {
            StoreError::Refused(format!("a record of {} bytes is more than a node keeps", content.len()))
        })?;
        let (at, ragged) = (self.end, std::mem::replace(&mut self.ragged, true));
        let written = self.opened().and_then(|file| {
            if ragged {
                file.set_len(at)?;
            }
            file.write_all_at(&record, at)
        });
        written.map_err(|error| self.unavailable(&error))?;
        self.ragged = false;
        self.end += record.len() as u64;
        Ok(Place { at: self.end - content.len() as u64, bytes: content.len() as u32 })
    }

    fn opened(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&self.path)?;
            self.file = Some(made);
            self.end = 0;
            // So that the file itself is there after the power fails.
            if let Some(folder) = self.path.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        self.file.as_ref().ok_or_else(|| io::Error::other("it was just opened"))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// What the newest revision needs of the file.
    fn used(&self) -> u64 {
        let Some((_, manifest)) = &self.newest else { return 0 };
        let values = manifest.parts.values().filter_map(|digest| self.values.get(digest));
        values.map(|place| u64::from(place.bytes) + (HEAD_BYTES + 1 + DIGEST_BYTES) as u64).sum()
    }

    /// Only what the newest revision needs, beside, and then in the place of what is there.
    fn write_anew(&mut self) -> Result<(), StoreError> {
        let Some((pointer, manifest)) = self.newest.clone() else { return Ok(()) };
        let path = self.path.with_extension("new");
        let mut anew =
            Self { path, file: None, end: 0, ragged: false, anew_at: 0, values: HashMap::new(), newest: None };
        for digest in manifest.parts.values() {
            let value = match self.value(digest) {
                Ok(value) => value,
                Err(error) => {
                    // It has changed on the disk; the store is asked for it again.
                    self.values.remove(digest);
                    return Err(error);
                }
            };
            anew.put(digest, &value)?;
        }
        anew.keep(&pointer, &manifest)?;
        std::fs::rename(&anew.path, &self.path).map_err(|error| self.unavailable(&error))?;
        anew.path = std::mem::take(&mut self.path);
        *self = anew;
        // What follows is added to this file: it is to be the one that is there after the power fails.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.unavailable(&error))
    }

    /// Every record up to the first that is not whole.
    fn read(&mut self, file: File) {
        let size = file.metadata().map_or(0, |data| data.len());
        let mut content = Vec::new();
        let mut named: Vec<(Pointer, Manifest)> = Vec::new();
        while let Some(length) = whole(&file, self.end, size, &mut content) {
            let at = self.end + HEAD_BYTES as u64;
            match content.split_first() {
                Some((&VALUE, rest)) if rest.len() >= DIGEST_BYTES => {
                    let mut digest = Digest([0; DIGEST_BYTES]);
                    digest.0.copy_from_slice(&rest[..DIGEST_BYTES]);
                    let bytes = (rest.len() - DIGEST_BYTES) as u32;
                    self.values.insert(digest, Place { at: at + 1 + DIGEST_BYTES as u64, bytes });
                }
                Some((&REVISION, rest)) => named.extend(revision(rest)),
                // Whole, and of a kind that a newer version writes.
                _ => {}
            }
            self.end += HEAD_BYTES as u64 + length;
        }
        let there = |manifest: &Manifest| manifest.parts.values().all(|digest| self.values.contains_key(digest));
        self.newest = named.into_iter().rev().find(|(_, manifest)| there(manifest));
        self.ragged = self.end < size;
        self.file = Some(file);
    }

    /// Earlier versions kept a folder of files.
    fn take_over(&mut self, folder: &Path) -> Result<(), StoreError> {
        if !folder.join("pointer").is_file() {
            return Ok(());
        }
        let before = Folder::open(folder)?;
        let Some(pointer) = before.pointer()? else { return Ok(()) };
        let manifest = before.manifest(&pointer)?;
        for digest in manifest.parts.values() {
            self.put(digest, &before.value(digest)?)?;
        }
        self.keep(&pointer, &manifest)?;
        for name in ["pointer", "lock"] {
            let _ = std::fs::remove_file(folder.join(name));
        }
        for name in ["values", "manifests", "nodes"] {
            let _ = std::fs::remove_dir_all(folder.join(name));
        }
        Ok(())
    }
}

/// `None`: it is larger than a record may be.
fn record(kind: u8, front: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let length = 1 + front.len() + content.len();
    if length > RECORD_BYTES_MAX {
        return None;
    }
    let mut record = Vec::with_capacity(HEAD_BYTES + length);
    record.resize(HEAD_BYTES, 0);
    record.push(kind);
    record.extend_from_slice(front);
    record.extend_from_slice(content);
    let sum = checksum(&record[HEAD_BYTES..]);
    record[..4].copy_from_slice(&MAGIC);
    record[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    record[8..16].copy_from_slice(&sum);
    let sum = checksum(&record[..16]);
    record[16..24].copy_from_slice(&sum);
    Some(record)
}

/// The length of the record at `at`, and what is in it; `None` when there is no whole one, or it cannot be read.
fn whole(file: &File, at: u64, size: u64, content: &mut Vec<u8>) -> Option<u64> {
    let mut head = [0; HEAD_BYTES];
    let left = size.checked_sub(at)?.checked_sub(HEAD_BYTES as u64)?;
    file.read_exact_at(&mut head, at).ok()?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let is_head = head[..4] == MAGIC && head[16..] == checksum(&head[..16]);
    if !is_head || u64::from(length) > left || length as usize > RECORD_BYTES_MAX {
        return None;
    }
    content.resize(length as usize, 0);
    file.read_exact_at(content, at + HEAD_BYTES as u64).ok()?;
    (head[8..16] == checksum(content)).then_some(u64::from(length))
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(bytes);
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn revision(rest: &[u8]) -> Option<(Pointer, Manifest)> {
    let (length, rest) = rest.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (pointer, manifest) = rest.split_at_checked(length)?;
    Some((serde_json::from_slice(pointer).ok()?, serde_json::from_slice(manifest).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::keyspace::Origin;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("weir-own-copy-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    /// Revision N has a part that stays and one of its own.
    fn values(revision: u64) -> [Vec<u8>; 2] {
        [b"stays".to_vec(), format!("of revision {revision}").into_bytes()]
    }

    fn manifest(revision: u64, values: &[Vec<u8>]) -> Manifest {
        let part = |(number, value): (usize, &Vec<u8>)| (format!("part-{number}"), Digest::of(value));
        Manifest {
            schema: 1,
            revision,
            epoch: 0,
            author: "t".into(),
            reason: "r".into(),
            time: 0,
            parts: values.iter().enumerate().map(part).collect(),
            origin: Origin::Unsaid,
        }
    }

    fn keep(copy: &mut OwnCopy, revision: u64, values: &[Vec<u8>]) {
        let manifest = manifest(revision, values);
        values.iter().for_each(|value| copy.put(&Digest::of(value), value).unwrap());
        copy.keep(&manifest.pointer(), &manifest).unwrap();
    }

    /// What it serves is whole: the number of its revision.
    fn served(folder: &Path) -> Option<u64> {
        let copy = OwnCopy::open(folder).unwrap();
        let pointer = copy.pointer()?;
        let manifest = copy.manifest().unwrap();
        assert_eq!(manifest.pointer(), pointer);
        let expected = values(pointer.revision);
        let found: Vec<_> = manifest.parts.values().map(|digest| copy.value(digest).unwrap()).collect();
        assert_eq!(found, expected);
        Some(pointer.revision)
    }

    #[test]
    fn a_write_that_is_torn_at_any_byte_is_as_if_it_had_not_been() {
        let folder = folder("torn");
        let mut copy = OwnCopy::open(&folder).unwrap();
        let mut ends = Vec::new();
        for revision in 1..=3 {
            keep(&mut copy, revision, &values(revision));
            ends.push(copy.end as usize);
        }
        drop(copy);
        assert_eq!(served(&folder), Some(3));
        let path = folder.join(NAME);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), ends[2]);
        for length in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() as u64;
            // Nothing behind it, zeros as after a crash of the machine, or what was there before.
            for rest in [vec![], vec![0; bytes.len() - length], vec![0xa5; 100]] {
                std::fs::write(&path, [&bytes[..length], &rest].concat()).unwrap();
                assert_eq!(served(&folder), Some(whole).filter(|whole| *whole > 0), "torn at {length}");
            }
            // And on from there.
            let mut copy = OwnCopy::open(&folder).unwrap();
            keep(&mut copy, 9, &values(9));
            assert_eq!(served(&folder), Some(9), "torn at {length}, and written on");
        }
    }

    #[test]
    fn a_byte_that_changed_is_never_believed() {
        let folder = folder("rot");
        let mut copy = OwnCopy::open(&folder).unwrap();
        let ends: Vec<_> = (1..=3)
            .map(|revision| {
                keep(&mut copy, revision, &values(revision));
                copy.end as usize
            })
            .collect();
        let path = folder.join(NAME);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, bad).unwrap();
            let before = ends.iter().filter(|end| **end <= at).count() as u64;
            assert_eq!(served(&folder), Some(before).filter(|before| *before > 0), "changed at {at}");
        }
        // What stands behind is older than what is written over it, and of the same lengths.
        let mut bad = bytes.clone();
        bad[ends[0] + HEAD_BYTES] ^= 1;
        std::fs::write(&path, bad).unwrap();
        keep(&mut OwnCopy::open(&folder).unwrap(), 9, &values(9));
        assert_eq!(served(&folder), Some(9));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ends[1] as u64);
    }

    #[test]
    fn it_does_not_grow_without_end_and_loses_nothing_on_the_way() {
        let folder = folder("anew");
        let mut copy = OwnCopy::open(&folder).unwrap();
        let large = |revision: u64| vec![vec![7; 300 << 10], vec![revision as u8; 200 << 10]];
        let mut longest = 0;
        for revision in 1..=40 {
            keep(&mut copy, revision, &large(revision));
            longest = longest.max(std::fs::metadata(folder.join(NAME)).unwrap().len());
            let there = OwnCopy::open(&folder).unwrap();
            assert_eq!(there.pointer().map(|pointer| pointer.revision), Some(revision));
            let manifest = there.manifest().unwrap();
            assert!(manifest.parts.values().all(|digest| there.value(digest).is_ok()));
        }
        assert!(longest < 2 * (500 << 10) + SPARE_BYTES + (300 << 10), "{longest}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_an_earlier_version_kept_is_taken_over() {
        let folder = folder("before");
        let before = Folder::open(&folder).unwrap();
        let values = values(4);
        for value in &values {
            before.put_value(value).unwrap();
        }
        before.publish(&manifest(4, &values), None).unwrap();
        assert_eq!(served(&folder), Some(4));
        assert!(!folder.join("values").exists() && !folder.join("pointer").exists());
        assert_eq!(served(&folder), Some(4));
        // One that is damaged is none, and stays where it is.
        let folder = self::folder("before-bad");
        let before = Folder::open(&folder).unwrap();
        let digest = before.put_value(&values[0]).unwrap();
        before.publish(&manifest(4, &values[..1]), None).unwrap();
        std::fs::write(folder.join("values").join(digest.to_string()), "x").unwrap();
        assert_eq!(served(&folder), None);
        assert!(folder.join("pointer").exists());
    }
}
