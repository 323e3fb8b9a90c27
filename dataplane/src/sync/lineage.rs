//! Whether what a store says can follow what this node serves: a store that was restored from an older copy, or another
//! store at the same address, is refused until an operator says that it is meant.

use std::path::{Path, PathBuf};

use weir_shared::keyspace::Pointer;
use weir_shared::store::{Store, StoreError};

/// The cluster that the served revision came from, kept beside the last good one.
pub struct Lineage {
    file: PathBuf,
    cluster: Option<String>,
}

const MEANT: &str = "when it is meant, say so with `weirctl apply --accept-regress`; this node keeps what it has";

impl Lineage {
    pub fn open(folder: &Path) -> Self {
        let file = folder.join("cluster");
        let cluster = std::fs::read_to_string(&file).ok().filter(|id| !id.is_empty());
        Self { file, cluster }
    }

    /// Why this pointer of this store cannot follow the served one; `None` when it can.
    pub fn objection(
        &self,
        served: &Pointer,
        pointer: &Pointer,
        store: &dyn Store,
    ) -> Result<Option<String>, StoreError> {
        if pointer.epoch > served.epoch {
            return Ok(None);
        }
        if let (Some(own), Some(other)) = (&self.cluster, store.cluster())
            && *own != other
        {
            return Ok(Some(format!("the store is another cluster, {other} and not {own}; {MEANT}")));
        }
        if pointer == served {
            return Ok(None);
        }
        let (from, to) = (served.revision, pointer.revision);
        if !pointer.is_after(served) {
            return Ok(Some(format!(
                "the store went back from revision {from} to {to}: it was restored from an older copy, or it is another store; {MEANT}"
            )));
        }
        // A copy on which others went on has as high a number, and another revision where the served one was.
        match store.confirm(served) {
            Err(StoreError::Corrupt(_)) => Ok(Some(format!(
                "the store's revision {from} is not the one that is served here: it was restored from an older copy, or it is another store; {MEANT}"
            ))),
            // So old that the store does not keep it: nothing is known against the new one.
            Ok(_) | Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is served came from there.
    pub fn keep(&mut self, cluster: Option<String>) {
        if cluster == self.cluster {
            return;
        }
        let beside = self.file.with_extension("new");
        if std::fs::write(&beside, cluster.as_deref().unwrap_or_default()).is_ok() {
            let _ = std::fs::rename(&beside, &self.file);
        }
        self.cluster = cluster;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use weir_shared::keyspace::{Manifest, Origin};
    use weir_shared::store::Folder;

    fn manifest(epoch: u64, revision: u64, reason: &str) -> Manifest {
        let (author, reason) = ("t".to_owned(), reason.to_owned());
        Manifest { schema: 1, revision, epoch, author, reason, time: 0, parts: BTreeMap::new(), origin: Origin::Unsaid }
    }

    #[test]
    fn what_can_follow_what() {
        let root = std::env::temp_dir().join(format!("weir-lineage-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let store = Folder::open(&root).unwrap();
        let fifth = store.publish(&manifest(1, 5, "five"), None).unwrap();
        store.publish(&manifest(1, 6, "six"), Some(&fifth)).unwrap();
        let lineage = Lineage { file: root.join("cluster"), cluster: Some("a".into()) };
        let at = |epoch, revision| manifest(epoch, revision, "x").pointer();
        for (served, pointer, word) in [
            (fifth, at(1, 6), None),
            (fifth, fifth, None),
            (at(1, 3), at(1, 6), None),
            (fifth, at(1, 4), Some("went back from revision 5 to 4")),
            (fifth, at(0, 9), Some("went back from revision")),
            (fifth, at(1, 5), Some("went back from revision")),
            // Its number is higher, and the road from 5 to 6 is not the one that was taken here.
            (at(1, 5), at(1, 6), Some("revision 5 is not the one")),
            (at(1, 5), at(2, 1), None),
        ] {
            let said = lineage.objection(&served, &pointer, &store).unwrap();
            assert_eq!(said.is_some(), word.is_some(), "{served:?} {pointer:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(word.unwrap_or_default()));
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
