//! How the requests of some nodes went while they are watched.

use std::collections::BTreeMap;

/// Requests and errors since the first look at each node.
#[derive(Default)]
pub struct Tally {
    nodes: BTreeMap<String, Seen>,
    pub requests: u64,
    pub errors: u64,
}

#[derive(Default)]
struct Seen {
    /// What it had counted at the last look.
    last: Option<(u64, u64)>,
    silent: u32,
}

/// A node that cannot be asked so often in a row is gone.
const SILENT_MAX: u32 = 4;

impl Tally {
    /// One look at one node: what it has counted since it started, or nothing when it could not be asked. `Err`: it is not
    /// the node any more that was to be watched.
    pub fn look(&mut self, node: &str, counted: Option<(u64, u64)>) -> Result<(), String> {
        let seen = self.nodes.entry(node.to_owned()).or_default();
        let Some((requests, errors)) = counted else {
            seen.silent += 1;
            return if seen.silent >= SILENT_MAX { Err(format!("{node} does not answer any more")) } else { Ok(()) };
        };
        seen.silent = 0;
        // What it did before it was watched does not count.
        let (before, failed) = seen.last.replace((requests, errors)).unwrap_or((requests, errors));
        if requests < before || errors < failed {
            return Err(format!("{node} was started anew"));
        }
        self.requests += requests - before;
        self.errors += errors - failed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_counts_from_its_first_look() {
        let mut tally = Tally::default();
        assert_eq!(tally.look("a", Some((100, 90))), Ok(()));
        assert_eq!(tally.look("b", None), Ok(()));
        assert_eq!(tally.look("a", Some((110, 91))), Ok(()));
        assert_eq!(tally.look("b", Some((1_000, 900))), Ok(()), "it could not be asked at first");
        assert_eq!(tally.look("b", Some((1_005, 900))), Ok(()));
        assert_eq!((tally.requests, tally.errors), (15, 1));
    }

    #[test]
    fn who_falls_over_has_failed() {
        let mut tally = Tally::default();
        tally.look("a", Some((100, 0))).unwrap();
        assert!(tally.look("a", Some((3, 0))).is_err());
        let mut tally = Tally::default();
        tally.look("a", Some((100, 0))).unwrap();
        let looks = (0..10).map(|_| tally.look("a", None)).take_while(Result::is_ok).count();
        assert_eq!(looks, SILENT_MAX as usize - 1);
    }
}
