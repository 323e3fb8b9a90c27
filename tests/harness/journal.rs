//! The journal, read by the crate that says what it is.

use std::path::Path;

use weir_shared::ledger::{HEADER_BYTES, Record, Records};

/// All records of all segments below this folder, in the order of their cores and sequences. A segment that is not whole
/// fails the test.
pub fn records(folder: &Path) -> Vec<Record<'static>> {
    let mut paths = Vec::new();
    find(folder, &mut paths);
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        // Records borrow from their segment; a test process is short enough to keep what is used of them. A segment is
        // allocated whole, and a last record may end in zeros itself.
        let mut bytes = std::fs::read(&path).unwrap_or_default();
        bytes.truncate(used(&bytes) + weir_shared::ledger::FRAME_BYTES_MAX);
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        if bytes.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
            continue;
        }
        let (_, records) = Records::open(bytes).unwrap_or_else(|damage| panic!("{}: {damage}", path.display()));
        for record in records {
            all.push(record.unwrap_or_else(|damage| panic!("{}: {damage}", path.display())));
        }
    }
    all
}

/// Up to the last block that is not all zeros. Blocks are compared whole: byte by byte, a test build takes a third of a
/// second for each segment.
fn used(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    let mut blocks = bytes.chunks(ZEROS.len());
    blocks.rposition(|block| *block != ZEROS[..block.len()]).map_or(0, |last| (last + 1) * ZEROS.len())
}

fn find(folder: &Path, paths: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "wj") {
            paths.push(path);
        }
    }
}
