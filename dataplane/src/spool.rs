//! What of a form was read before it was known where it goes: in memory, and beyond that in a file without a name, which
//! goes when it is closed, however the process ends.
//!
//! The file is read and written without waiting for its disk but for what the kernel's own cache makes us wait.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{Hold, OutOfMemory};

/// SDKs write the fields before the files, and most files are smaller than this.
pub const MEMORY_BYTES_MAX: usize = 4 << 20;
/// All files together: four of the largest forms.
const FILES_BYTES_MAX: u64 = 2 << 30;
/// At most this much of it for the form of one caller, whatever the route allows.
const FILE_BYTES_MAX: u64 = FILES_BYTES_MAX / 4;

static FILES_BYTES: AtomicU64 = AtomicU64::new(0);
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where the files are made; only the process's own user may look into it.
pub fn set_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let _ = FOLDER.set(folder.to_owned());
    Ok(())
}

pub struct Spool {
    memory: Vec<u8>,
    hold: Hold,
    file: Option<File>,
    file_bytes: u64,
}

impl Spool {
    /// With what lies behind the request's head already.
    pub fn new(first: Vec<u8>, hold: Hold) -> Self {
        Self { memory: first, hold, file: None, file_bytes: 0 }
    }

    /// Takes out what it began with, to be looked at first.
    pub fn take_first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.memory)
    }

    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> u64 {
        self.memory.len() as u64 + self.file_bytes
    }

    /// Whether another byte would go into a file.
    pub fn is_large(&self) -> bool {
        self.memory.len() >= MEMORY_BYTES_MAX
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let (near, far) = bytes.split_at(bytes.len().min(MEMORY_BYTES_MAX.saturating_sub(self.memory.len())));
        if !near.is_empty() {
            self.hold.grow_body_to((self.memory.len() + near.len()) as u64)?;
            self.memory.extend_from_slice(near);
        }
        if far.is_empty() { Ok(()) } else { self.push_far(far) }
    }

    fn push_far(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let more = bytes.len() as u64;
        let fits = |held: u64| held.checked_add(more).filter(|held| *held <= FILES_BYTES_MAX);
        if self.file_bytes + more > FILE_BYTES_MAX
            || FILES_BYTES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err()
        {
            return Err(OutOfMemory);
        }
        let at = self.file_bytes;
        // Counted first: what could not be written is given back with the rest.
        self.file_bytes += more;
        if self.file.is_none() {
            self.file = Some(nameless().map_err(|_| OutOfMemory)?);
        }
        let file = self.file.as_ref().ok_or(OutOfMemory)?;
        // A full disk is like memory that is used up: others go on.
        file.write_all_at(bytes, at).map_err(|_| OutOfMemory)
    }

    /// All of it, when none is in a file.
    pub fn at_hand(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }

    /// So much of it as lies between these places and is at hand at once. Nothing behind its end.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let end = range.end.min(self.len());
        if range.start >= end {
            return Ok(Vec::new());
        }
        let near = self.memory.len() as u64;
        if range.start < near {
            return Ok(self.memory[range.start as usize..end.min(near) as usize].to_vec());
        }
        let mut bytes = vec![0; (end - range.start) as usize];
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(&mut bytes, range.start - near)?;
        Ok(bytes)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.file_bytes > 0 {
            FILES_BYTES.fetch_sub(self.file_bytes, Ordering::Relaxed);
        }
    }
}

fn nameless() -> io::Result<File> {
    let folder = FOLDER.get().cloned().unwrap_or_else(std::env::temp_dir);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.clone().custom_flags(libc::O_TMPFILE).open(&folder).or_else(|_| {
        // A file system that does not know of such: it has a name for a moment.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let file = options.create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_wherever_it_lies() {
        let mut spool = Spool::new(b"first".to_vec(), Hold::default());
        let piece: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
        let mut all = b"first".to_vec();
        for _ in 0..7 {
            spool.push(&piece).unwrap();
            all.extend_from_slice(&piece);
        }
        assert!(spool.is_large() && spool.len() == all.len() as u64);
        let mut at = 0;
        while at < all.len() as u64 {
            let part = spool.read(at..at + 70_001).unwrap();
            assert!(!part.is_empty() && part == all[at as usize..][..part.len()]);
            at += part.len() as u64;
        }
        assert!(spool.read(at..at + 1).unwrap().is_empty());
        assert_eq!(FILES_BYTES.load(Ordering::Relaxed), all.len() as u64 - MEMORY_BYTES_MAX as u64);
        drop(spool);
        assert_eq!(FILES_BYTES.load(Ordering::Relaxed), 0);
    }
}
