//! After publishing: what became of a revision on every live node.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use weir_shared::fault::Exit;
use weir_shared::keyspace::{NODE_GONE_SECONDS, NodePage, Pointer};
use weir_shared::store::Store;

use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::{count, harmless};
use crate::when::{self, Timer};

#[derive(clap::Args, Clone, Debug)]
pub struct Wait {
    /// Return only when every live node has applied or refused it
    #[arg(long)]
    pub wait: bool,

    /// How long to wait for the nodes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = when::duration)]
    pub timeout: Duration,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    pub node: String,
    pub state: State,
    /// Milliseconds until its answer was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Applied,
    Refused,
    Waiting,
}

/// What the live nodes say of the revision at `at`. `newest` is the newest revision of the store.
pub fn judge(pages: &[NodePage], at: &Pointer, newest: u64, now: u64) -> Vec<Verdict> {
    pages.iter().filter(|page| is_live(page, now)).map(|page| verdict(page, at, newest)).collect()
}

pub fn is_live(page: &NodePage, now: u64) -> bool {
    now.saturating_sub(page.seen) <= NODE_GONE_SECONDS
}

fn serves(page: &NodePage, at: &Pointer) -> bool {
    page.applied == at.revision && page.applied_digest.is_none_or(|digest| digest == at.digest)
}

fn verdict(page: &NodePage, at: &Pointer, newest: u64) -> Verdict {
    let served = serves(page, at);
    let refused = page.refused.as_ref().filter(|refused| refused.is_about(at));
    let (state, reason) = if served || (page.applied > at.revision && page.applied <= newest) {
        (State::Applied, String::new())
    } else if page.canary {
        // Somebody else's, which is over as soon as the pointer moves.
        (State::Waiting, String::new())
    } else if page.applied > newest {
        // The store was restored from an older copy; the node will not go back on its own.
        let reason =
            format!("it serves revision {}, newer than the store's; publish with --accept-regress", page.applied);
        (State::Refused, reason)
    } else if let Some(refused) = refused {
        (State::Refused, refused.reason.clone())
    } else {
        (State::Waiting, String::new())
    };
    Verdict { node: page.node.clone(), state, ms: None, reason, warnings: page.warnings.clone() }
}

/// Waits as the operator wished, says how it ended, and returns what a script wants to know.
pub fn follow(store: &dyn Store, at: &Pointer, wait: &Wait, screen: &Screen) -> Result<Vec<Verdict>, Failure> {
    if !wait.wait {
        return Ok(Vec::new());
    }
    let verdicts = Watched::new(at, wait.timeout).until_answered(store, screen)?;
    conclude(&verdicts, at, wait, screen)?;
    Ok(verdicts)
}

/// The nodes on their way to a revision.
pub struct Watched<'a> {
    at: &'a Pointer,
    timeout: Duration,
    /// Only these nodes; all live ones when there are none.
    pub only: Option<&'a [String]>,
    timer: Timer,
    /// When each node's answer was seen first.
    answered: BTreeMap<String, u64>,
}

impl<'a> Watched<'a> {
    pub fn new(at: &'a Pointer, timeout: Duration) -> Self {
        Self { at, timeout, only: None, timer: Timer::start(), answered: BTreeMap::new() }
    }

    /// One look at every node's page.
    pub fn look(&mut self, store: &dyn Store) -> Result<Vec<Verdict>, Failure> {
        let pages = store.pages()?;
        // Only of a node that serves something else, as new or newer, is it asked what the newest is.
        let is_ahead = |page: &NodePage| page.applied >= self.at.revision && !serves(page, self.at);
        let newest = match pages.iter().any(is_ahead) {
            true => store.pointer()?.map_or(0, |pointer| pointer.revision),
            false => self.at.revision,
        };
        let mut verdicts = judge(&pages, self.at, newest, when::now());
        if let Some(only) = self.only {
            verdicts.retain(|verdict| only.contains(&verdict.node));
        }
        let now = self.timer.elapsed().as_millis() as u64;
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.state != State::Waiting) {
            verdict.ms = Some(*self.answered.entry(verdict.node.clone()).or_insert(now));
        }
        Ok(verdicts)
    }

    /// Until each has applied or refused it, or the time is up.
    pub fn until_answered(&mut self, store: &dyn Store, screen: &Screen) -> Result<Vec<Verdict>, Failure> {
        let mut said = Vec::new();
        loop {
            let verdicts = self.look(store)?;
            let waiting = verdicts.iter().any(|verdict| verdict.state == State::Waiting);
            if !waiting || self.is_over() {
                screen.progress_over();
                return Ok(verdicts);
            }
            let lines = progress(&verdicts);
            if lines != said {
                screen.progress(&lines);
                said = lines;
            }
            self.pause();
        }
    }

    pub fn is_over(&self) -> bool {
        self.timer.elapsed() >= self.timeout
    }

    /// Pages are small files or one range of a store. Most nodes answer within a tenth of a second; who does not is asked
    /// less often.
    pub fn pause(&self) {
        let soon = self.timer.elapsed() < Duration::from_millis(500);
        std::thread::sleep(if soon { Duration::from_millis(5) } else { Duration::from_millis(50) });
    }
}

/// A line for each node, those that have not answered first.
fn progress(verdicts: &[Verdict]) -> Vec<String> {
    let mut sorted: Vec<_> = verdicts.iter().collect();
    sorted.sort_by_key(|verdict| verdict.state != State::Waiting);
    let width = sorted.iter().map(|verdict| verdict.node.len()).max().unwrap_or(0);
    let line = |verdict: &&Verdict| {
        let node = harmless(&verdict.node);
        let ms = verdict.ms.map_or(String::new(), |ms| format!("{ms} ms"));
        match verdict.state {
            State::Waiting => format!("  {node:<width$}  …"),
            State::Applied => format!("  {node:<width$}  applied  {ms}"),
            State::Refused => {
                let first = verdict.reason.lines().next().unwrap_or_default();
                format!("  {node:<width$}  refused  {ms}  {}", harmless(first))
            }
        }
    };
    let mut lines: Vec<_> = sorted.iter().take(LINES_SHOWN_MAX).map(line).collect();
    if let Some(more) = sorted.len().checked_sub(LINES_SHOWN_MAX).filter(|more| *more > 0) {
        lines.push(format!("  … and {}", count(more, "more node")));
    }
    lines
}

/// A terminal has few lines, and what scrolls away cannot be written over.
const LINES_SHOWN_MAX: usize = 20;

/// The times of all answers: the middle one, and the one that 99 of 100 do not exceed.
pub fn propagation(verdicts: &[Verdict]) -> Option<(u64, u64)> {
    let mut times: Vec<u64> = verdicts.iter().filter_map(|verdict| verdict.ms).collect();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some((at(50)?, at(99)?))
}

pub fn conclude(verdicts: &[Verdict], at: &Pointer, wait: &Wait, screen: &Screen) -> Result<(), Failure> {
    let revision = at.revision;
    for verdict in verdicts {
        for warning in &verdict.warnings {
            screen.note(format!("{}: {}", harmless(&verdict.node), harmless(warning)));
        }
    }
    let json = serde_json::to_value(verdicts).unwrap_or_default();
    let failure =
        |exit, what: String| Failure::new(exit, what).detail("revision", revision).detail("nodes", json.clone());
    let (refused, waiting) = (names(verdicts, State::Refused), names(verdicts, State::Waiting));
    if !refused.is_empty() {
        let mut what =
            format!("revision {revision} was refused by {} of {}:", refused.len(), count(verdicts.len(), "node"));
        for verdict in verdicts.iter().filter(|verdict| verdict.state == State::Refused) {
            what.push_str(&format!("\n  {}: {}", harmless(&verdict.node), indented(&verdict.reason)));
        }
        let next = "they go on with what they had; mend it and apply again, or `weirctl rollback` to a revision of `weirctl history`";
        return Err(failure(Exit::Refused, what).next(next));
    }
    if !waiting.is_empty() {
        let what = format!(
            "after {} s, {} of {} did not answer for revision {revision}: {}",
            wait.timeout.as_secs(),
            waiting.len(),
            count(verdicts.len(), "node"),
            waiting.join(", ")
        );
        let next = "the revision is published and they will follow when they can; see `weirctl status` and their logs";
        return Err(failure(Exit::Waiting, what).next(next));
    }
    match verdicts.len() {
        0 => screen.say("no node is running; the first to start will follow this revision"),
        nodes => {
            let (p50, p99) = propagation(verdicts).unwrap_or_default();
            let names = names(verdicts, State::Applied).join(", ");
            screen.say(format!("applied by {}, p50 {p50} ms, p99 {p99} ms: {names}", count(nodes, "node")));
        }
    }
    Ok(())
}

pub fn names(verdicts: &[Verdict], state: State) -> Vec<String> {
    verdicts.iter().filter(|verdict| verdict.state == state).map(|verdict| harmless(&verdict.node)).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_shared::id::Digest;
    use weir_shared::keyspace::Refusal;

    fn page(node: &str, applied: u64, refused: Option<u64>, seen: u64) -> NodePage {
        let refused = refused.map(|revision| Refusal { revision, digest: None, reason: "because".into() });
        NodePage { node: node.into(), applied, refused, seen, ..NodePage::default() }
    }

    #[test]
    fn what_pages_mean() {
        let at = Pointer { revision: 5, epoch: 0, digest: Digest([1; 32]) };
        let pages = [
            page("applied", 5, None, 100),
            page("later", 6, None, 100),
            page("ahead", 9, None, 100),
            page("behind", 4, None, 100),
            page("refused", 4, Some(5), 100),
            page("refused-long-ago", 4, Some(3), 100),
            page("refused-then-applied", 5, Some(5), 100),
            page("gone", 4, None, 100 - NODE_GONE_SECONDS - 1),
            NodePage { applied_digest: Some(Digest([2; 32])), ..page("other", 5, None, 100) },
        ];
        let verdicts = judge(&pages, &at, 6, 100);
        let states: Vec<_> = verdicts.iter().map(|verdict| (verdict.node.as_str(), verdict.state)).collect();
        use State::{Applied, Refused, Waiting};
        assert_eq!(
            states,
            [
                ("applied", Applied),
                ("later", Applied),
                ("ahead", Refused),
                ("behind", Waiting),
                ("refused", Refused),
                ("refused-long-ago", Waiting),
                ("refused-then-applied", Applied),
                ("other", Waiting),
            ]
        );
    }
}
