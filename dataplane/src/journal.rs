//! The core's journal: where a request's record is before its last byte leaves.
//!
//! A segment is a file whose space is allocated and which is mapped, so that a record that was written survives the
//! process without a system call. A thread of its own keeps the next segment ready and syncs what was written, in
//! groups. When there is no room for one more record, nothing is admitted: usage that cannot be recorded is not sold.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;
use weir_shared::ledger::{FRAME_BYTES_MAX, HEADER_BYTES, Link, Record, Records, SegmentHeader};

/// The usual size first; smaller ones for a disk that is nearly full.
const SEGMENT_BYTES: &[u64] = &[16 << 20, 1 << 20, 128 << 10];

/// One core's end of the journal.
pub struct Journal {
    current: RefCell<Option<Segment>>,
    link: Cell<Link>,
    sequence: Cell<u64>,
    time_ns: Cell<u64>,
    /// Bytes promised to requests that are running.
    promised: Cell<u64>,
    desk: Arc<Desk>,
}

/// What a core shares with the journal's thread.
struct Desk {
    folder: PathBuf,
    node: String,
    core: u32,
    next: Mutex<Option<Segment>>,
    /// Bytes that `next` has room for; read without its lock.
    next_room: AtomicU64,
    retired: Mutex<Vec<Retired>>,
    current: Mutex<Option<Arc<File>>>,
    dirty: AtomicBool,
    /// The current segment could not be synced: the next record goes to another file.
    sync_failed: AtomicBool,
    segments: AtomicU64,
}

struct Segment {
    map: MmapMut,
    file: Arc<File>,
    at: usize,
}

struct Retired {
    file: Arc<File>,
    length: u64,
}

/// Room in the journal for one record. Dropped unused, it goes back.
pub struct Slot {
    journal: Rc<Journal>,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Journal {
    /// Continues this core's journal, and reports what the last run left damaged.
    pub fn open(folder: &Path, node: &str, core: u32, keeper: &Keeper) -> io::Result<(Rc<Self>, Option<String>)> {
        let folder = folder.join(node);
        fs::create_dir_all(&folder)?;
        let last = recover(&folder, core)?;
        let desk = Arc::new(Desk {
            folder,
            node: node.to_owned(),
            core,
            next: Mutex::new(None),
            next_room: AtomicU64::new(0),
            retired: Mutex::default(),
            current: Mutex::default(),
            dirty: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
            segments: AtomicU64::new(last.segments),
        });
        desk.prepare();
        keeper.desks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&desk));
        let journal = Self {
            current: RefCell::new(None),
            link: Cell::new(last.link),
            sequence: Cell::new(last.sequence),
            time_ns: Cell::new(last.time_ns),
            promised: Cell::new(0),
            desk,
        };
        Ok((Rc::new(journal), last.damage))
    }

    /// Room for one record of at most so many bytes.
    pub fn reserve(self: &Rc<Self>, bytes: usize) -> Result<Slot, Full> {
        let bytes = bytes.min(FRAME_BYTES_MAX) as u64;
        let promised = self.promised.get() + bytes;
        // A record needs `FRAME_BYTES_MAX` free to be encoded, and a segment's end is lost when one does not fit.
        let slack = 2 * FRAME_BYTES_MAX as u64;
        let current = self.current.borrow().as_ref().map_or(0, Segment::room);
        if promised + slack > current && promised + slack > current + self.desk.next_room.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.promised.set(promised);
        Ok(Slot { journal: Rc::clone(self), bytes })
    }

    pub fn has_room(self: &Rc<Self>) -> bool {
        self.reserve(FRAME_BYTES_MAX).is_ok()
    }

    /// `record.time_ns` is the wall clock as its writer saw it.
    fn append(&self, record: &mut Record<'_>) -> bool {
        record.sequence = self.sequence.get();
        // Never back, not even when the wall clock goes.
        record.time_ns = record.time_ns.max(self.time_ns.get() + 1);
        let mut current = self.current.borrow_mut();
        let failed = self.desk.sync_failed.load(Ordering::Relaxed);
        if (failed || current.as_ref().is_none_or(|segment| segment.room() < FRAME_BYTES_MAX as u64))
            && let Some(next) = self.turn_over(record.time_ns)
            && let Some(Segment { map, file, at }) = current.replace(next)
        {
            // Unmapped before its unused end may be cut off.
            drop(map);
            self.desk.retire(file, at as u64);
        }
        let Some(segment) = current.as_mut() else { return false };
        let Some((length, link)) = record.encode(&self.link.get(), &mut segment.map[segment.at..]) else {
            return false;
        };
        segment.at += length;
        self.link.set(link);
        self.sequence.set(record.sequence + 1);
        self.time_ns.set(record.time_ns);
        self.desk.dirty.store(true, Ordering::Release);
        true
    }

    fn turn_over(&self, created_ns: u64) -> Option<Segment> {
        let mut segment = self.desk.next.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.desk.next_room.store(0, Ordering::Relaxed);
        let header = SegmentHeader {
            node: self.desk.node.clone(),
            core: self.desk.core,
            created_ns,
            first_sequence: self.sequence.get(),
            previous: self.link.get(),
        };
        segment.map[..HEADER_BYTES].copy_from_slice(&header.encode());
        segment.at = HEADER_BYTES;
        let mut current = self.desk.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(&segment.file));
        // Only now: until there is another file, the one that failed is remembered.
        self.desk.sync_failed.store(false, Ordering::Relaxed);
        drop(current);
        Some(segment)
    }

    /// The process ends: what is written is synced and the unused space given back.
    pub fn close(&self) {
        if let Some(Segment { map, file, at }) = self.current.borrow_mut().take() {
            drop(map);
            self.desk.retire(file, at as u64);
        }
        self.desk.sync();
        if let Some(next) = self.desk.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(next);
            let _ = fs::remove_file(self.desk.path(self.desk.segments.load(Ordering::Relaxed)));
        }
    }
}

impl Slot {
    /// Writes the record. False when the disk failed in spite of the promise; the caller's thread reports it.
    pub fn write(self, record: &mut Record<'_>) -> bool {
        self.journal.append(record)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.journal.promised.set(self.journal.promised.get() - self.bytes);
    }
}

impl Segment {
    fn room(&self) -> u64 {
        (self.map.len() - self.at) as u64
    }
}

impl Desk {
    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("core-{}-{number:09}.wj", self.core))
    }

    /// Makes the next segment when there is none.
    fn prepare(&self) {
        if self.next.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        let number = self.segments.load(Ordering::Relaxed) + 1;
        let path = self.path(number);
        for &bytes in SEGMENT_BYTES {
            match allocate(&path, bytes) {
                Ok(segment) => {
                    self.segments.store(number, Ordering::Relaxed);
                    *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment);
                    self.next_room.store(bytes, Ordering::Relaxed);
                    return;
                }
                Err(_) => drop(fs::remove_file(&path)),
            }
        }
    }

    fn retire(&self, file: Arc<File>, length: u64) {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(Retired { file, length });
    }

    fn sync(&self) {
        let retired = std::mem::take(&mut *self.retired.lock().unwrap_or_else(PoisonError::into_inner));
        for Retired { file, length } in retired {
            // Its mapping is gone, so its unused end may go, too.
            let _ = file.set_len(length);
            let _ = file.sync_data();
        }
        if self.dirty.swap(false, Ordering::Acquire) {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(file) = current
                && let Err(error) = file.sync_data()
            {
                // The pages that failed are clean now and a second try would be believed: the file is retired instead,
                // if it is still the one that is written to.
                let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &file)) {
                    self.sync_failed.store(true, Ordering::Relaxed);
                }
                drop(current);
                eprintln!("{{\"level\":\"error\",\"event\":\"journal_sync_failed\",\"error\":\"{error}\"}}");
            }
        }
    }
}

fn allocate(path: &Path, bytes: u64) -> io::Result<Segment> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    // SAFETY: a plain system call on a descriptor that is open.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the file is ours: nobody else writes to it, and it is not shortened before the mapping is gone (`sync`
    // shortens retired files only). Its space is allocated, so no page of it can fail for want of room.
    let map = unsafe { MmapMut::map_mut(&file)? };
    Ok(Segment { map, file: Arc::new(file), at: HEADER_BYTES })
}

/// Where a core's journal goes on.
struct Last {
    segments: u64,
    link: Link,
    sequence: u64,
    time_ns: u64,
    damage: Option<String>,
}

/// Reads the newest segment of a core and cuts off what is not a whole record.
fn recover(folder: &Path, core: u32) -> io::Result<Last> {
    let prefix = format!("core-{core}-");
    let number = |name: &str| name.strip_prefix(&prefix)?.strip_suffix(".wj")?.parse::<u64>().ok();
    let mut numbers: Vec<u64> =
        fs::read_dir(folder)?.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    let mut last =
        Last { segments: numbers.last().copied().unwrap_or(0), link: [0; 16], sequence: 0, time_ns: 0, damage: None };
    while let Some(number) = numbers.pop() {
        let path = folder.join(format!("{prefix}{number:09}.wj"));
        let bytes = fs::read(&path)?;
        if bytes.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
            // Prepared and never used.
            fs::remove_file(&path)?;
            continue;
        }
        let Ok((_, mut records)) = Records::open(&bytes) else {
            last.damage = Some(format!("{}: its header is damaged; a new chain begins", path.display()));
            break;
        };
        for record in records.by_ref() {
            match record {
                Ok(record) => last.time_ns = record.time_ns,
                Err(damage) => {
                    last.damage = Some(format!("{}: {damage}; cut there", path.display()));
                    break;
                }
            }
        }
        (last.link, last.sequence) = (records.link(), records.sequence());
        if bytes.len() > records.position() {
            OpenOptions::new().write(true).open(&path)?.set_len(records.position() as u64)?;
        }
        break;
    }
    Ok(last)
}

/// The journal's thread: keeps segments ready and syncs, every so often.
#[derive(Clone, Default)]
pub struct Keeper {
    desks: Arc<Mutex<Vec<Arc<Desk>>>>,
}

impl Keeper {
    pub const PERIOD_MS: u64 = 50;

    pub fn start(&self) -> io::Result<()> {
        let desks = Arc::clone(&self.desks);
        std::thread::Builder::new().name("weir-journal".into()).spawn(move || {
            loop {
                std::thread::sleep(std::time::Duration::from_millis(Self::PERIOD_MS));
                let desks = desks.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for desk in desks {
                    desk.prepare();
                    desk.sync();
                }
            }
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("weir-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn write(journal: &Rc<Journal>, count: u64) {
        for _ in 0..count {
            let mut record = Record { tenant: "t", model: "m", ..Record::default() };
            assert!(journal.reserve(700).unwrap().write(&mut record));
        }
    }

    fn read_all(folder: &Path) -> Vec<u64> {
        let mut files: Vec<_> = fs::read_dir(folder.join("n")).unwrap().flatten().map(|entry| entry.path()).collect();
        files.sort();
        let mut sequences = Vec::new();
        for file in files {
            let bytes = fs::read(file).unwrap();
            let Ok((_, records)) = Records::open(&bytes) else { continue };
            sequences.extend(records.map(|record| record.unwrap().sequence));
        }
        sequences
    }

    #[test]
    fn a_killed_core_goes_on_where_its_records_end() {
        let folder = folder("kill");
        for run in 0..3 {
            let (journal, damage) = Journal::open(&folder, "n", 0, &Keeper::default()).unwrap();
            assert_eq!(damage, None, "run {run}");
            write(&journal, 10);
            // No close: as if it had been killed.
        }
        assert_eq!(read_all(&folder), (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_journal_promises_nothing_and_recovers() {
        let folder = folder("full");
        let (journal, _) = Journal::open(&folder, "n", 0, &Keeper::default()).unwrap();
        let mut slots = Vec::new();
        while let Ok(slot) = journal.reserve(FRAME_BYTES_MAX) {
            slots.push(slot);
        }
        assert!(slots.len() > 4_000);
        for slot in slots {
            assert!(slot.write(&mut Record::default()), "a promise was broken");
        }
        write(&journal, 10);
        journal.close();
        assert_eq!(read_all(&folder).len() as u64, journal.sequence.get());
    }

    #[test]
    fn a_file_that_failed_is_left_as_soon_as_there_is_another() {
        let folder = folder("failed");
        let keeper = Keeper::default();
        let (journal, _) = Journal::open(&folder, "n", 0, &keeper).unwrap();
        write(&journal, 1);
        // The only file there is: what was promised goes into it all the same.
        journal.desk.sync_failed.store(true, Ordering::Relaxed);
        write(&journal, 1);
        journal.desk.prepare();
        write(&journal, 1);
        journal.desk.prepare();
        // One failure, one file.
        write(&journal, 1);
        journal.close();
        let of = |number: u64| fs::read(folder.join(format!("n/core-0-{number:09}.wj"))).unwrap();
        let counts = [1, 2].map(|number| Records::open(&of(number)).unwrap().1.count());
        assert_eq!((counts, read_all(&folder)), ([2, 2], vec![0, 1, 2, 3]));
    }

    #[test]
    fn segments_turn_over_without_a_gap() {
        let folder = folder("turn");
        let keeper = Keeper::default();
        let (journal, _) = Journal::open(&folder, "n", 0, &keeper).unwrap();
        for _ in 0..30 {
            write(&journal, 4_000);
            keeper.desks.lock().unwrap().iter().for_each(|desk| {
                desk.prepare();
                desk.sync();
            });
        }
        journal.close();
        assert!(fs::read_dir(folder.join("n")).unwrap().count() > 1);
        assert_eq!(read_all(&folder), (0..120_000).collect::<Vec<_>>());
    }
}
