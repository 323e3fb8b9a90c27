//! From a draft that is ready to a revision that the nodes serve: first on a few of them, when that is wished, then on all,
//! and back again when a rule says so.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::Exit;
use weir_shared::hash::NameHasher;
use weir_shared::keyspace::{Canary, Manifest, NodePage, Pointer};
use weir_shared::store::{Store, StoreError};

use crate::failure::Failure;
use crate::follow::{State, Verdict, Wait, Watched, conclude, follow, is_live, names};
use crate::node;
use crate::publish::{self, Base, Stamp, Values};
use crate::screen::Screen;
use crate::table::{count, harmless};
use crate::tally::Tally;
use crate::when::{self, Timer};

#[derive(clap::Args, Clone, Debug, Default)]
pub struct Careful {
    /// Let so many nodes, or such a part of them, serve it first: 1, 10%
    #[arg(long, value_name = "N|P%", value_parser = share, requires = "wait")]
    canary: Option<Share>,

    /// Go back when: refusal (a node refuses it), error-rate>P% (so many more of the requests than before fail by no fault of their caller)
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', value_parser = rule, requires = "wait")]
    rollback_on: Vec<Rule>,

    /// How long errors are counted for, on the canary and again on all nodes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = when::duration)]
    watch_for: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Share {
    Nodes(usize),
    Percent(usize),
}

fn share(text: &str) -> Result<Share, String> {
    let wrong = || format!("{text:?}: write a number of nodes, such as 1, or a part of them, such as 10%");
    match text.strip_suffix('%') {
        Some(percent) => {
            percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Share::Percent).ok_or_else(wrong)
        }
        None => text.parse().ok().filter(|nodes| *nodes > 0).map(Share::Nodes).ok_or_else(wrong),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Refusal,
    /// In thousandths.
    ErrorRate(u64),
}

fn rule(text: &str) -> Result<Rule, String> {
    let wrong = || format!("{text:?} is no rule; there are: refusal, error-rate>2%");
    if text == "refusal" {
        return Ok(Rule::Refusal);
    }
    let percent = text.strip_prefix("error-rate>").and_then(|rest| rest.strip_suffix('%')).ok_or_else(wrong)?;
    let (whole, tenths) = percent.split_once('.').unwrap_or((percent, "0"));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let tenth: u64 = tenths.parse().ok().filter(|_| tenths.len() == 1).ok_or_else(wrong)?;
    Some(whole * 10 + tenth).filter(|rate| *rate < 1_000).map(Rule::ErrorRate).ok_or_else(wrong)
}

/// A canary whose command line died is over a minute after it should have ended.
const GRACE: Duration = Duration::from_secs(60);
/// Values that only a canary names are kept for an hour.
const CANARY_MAX: Duration = Duration::from_secs(1_800);
/// Of fewer requests no rate is told.
const REQUESTS_MIN: u64 = 20;

pub struct Rollout<'r> {
    pub store: &'r dyn Store,
    pub base: &'r Base,
    pub old: &'r Draft,
    pub draft: &'r Draft,
    pub values: &'r Values,
    pub stamp: &'r Stamp,
    pub raise_epoch: bool,
    pub wait: &'r Wait,
    pub careful: &'r Careful,
    pub screen: &'r Screen,
}

pub struct Done {
    pub pointer: Pointer,
    /// What the canary came to; null without one.
    pub canary: Value,
    pub nodes: Vec<Verdict>,
    /// How requests went while all nodes were watched; null without a rule about them.
    pub errors: Value,
}

impl Rollout<'_> {
    pub fn run(&self) -> Result<Done, Failure> {
        let before = match self.error_rate() {
            Some(_) => Lately::of_nodes(&self.store.pages()?),
            None => Lately::default(),
        };
        let (pointer, canary) = match self.careful.canary {
            Some(share) => self.by_canary(share, &before)?,
            None => (self.publish()?, Value::Null),
        };
        self.screen.say(self.screen.paint.good(&format!("published revision {}", pointer.revision)));
        let nodes = match follow(self.store, &pointer, self.wait, self.screen) {
            Ok(nodes) => nodes,
            Err(failure) if failure.exit == Exit::Refused && self.has(Rule::Refusal) => {
                return Err(self.take_back(failure));
            }
            Err(failure) => return Err(failure),
        };
        let errors = match self.error_rate() {
            Some(most) => {
                let watched: Vec<String> = nodes.iter().map(|verdict| verdict.node.clone()).collect();
                let watched = self.watch_errors(&watched, most, &before, &mut || Ok(()));
                watched.map_err(|failure| self.take_back(failure))?
            }
            None => Value::Null,
        };
        Ok(Done { pointer, canary, nodes, errors })
    }

    fn publish(&self) -> Result<Pointer, Failure> {
        let Self { store, base, draft, values, stamp, .. } = *self;
        publish::replace_catalog(store, base, draft, values, stamp, self.raise_epoch)
    }

    fn has(&self, rule: Rule) -> bool {
        self.careful.rollback_on.contains(&rule)
    }

    fn error_rate(&self) -> Option<u64> {
        self.careful.rollback_on.iter().find_map(|rule| match rule {
            Rule::ErrorRate(most) => Some(*most),
            Rule::Refusal => None,
        })
    }

    /// What was published went wrong: what was there before is published again.
    fn take_back(&self, failure: Failure) -> Failure {
        let back = || -> Result<Pointer, Failure> {
            let now = Base::read(self.store)?;
            let reason = format!("taken back by a rule: revision {}", self.base.revision());
            let stamp = Stamp { reason, time: when::now(), origin: Some(self.base.origin), ..self.stamp.clone() };
            let values = Values::published(self.base.catalog_parts());
            publish::replace_catalog(self.store, &now, self.old, &values, &stamp, false)
        };
        let (exit, next) = match (self.base.pointer, back()) {
            (None, _) => (failure.exit, "there is no earlier revision to go back to".to_owned()),
            (_, Ok(pointer)) => (
                Exit::TakenBack,
                format!("it was taken back: revision {} says what {} said", pointer.revision, self.base.revision()),
            ),
            (_, Err(other)) => {
                (failure.exit, format!("it could not be taken back ({}); `weirctl rollback`", other.what))
            }
        };
        Failure { exit, next, ..failure }
    }

    fn by_canary(&self, share: Share, before: &Lately) -> Result<(Pointer, Value), Failure> {
        let longest = self.wait.timeout + self.careful.watch_for;
        if longest > CANARY_MAX {
            let what = "--timeout and --watch-for together are longer than half an hour, and a canary is not";
            return Err(Failure::new(Exit::Usage, what));
        }
        let pages = self.store.pages()?;
        let nodes = chosen(&pages, share, self.base.revision());
        if nodes.is_empty() {
            let next = "start one with `weir`, or publish without --canary";
            return Err(Failure::new(Exit::Missing, "no node is alive that could be a canary").next(next));
        }
        self.screen.say(format!("{} first: {}", count(nodes.len(), "node"), nodes.join(", ")));
        let mut trial = Trial::begin(self, nodes, longest + GRACE)?;
        let outcome = trial.run(before);
        // Whatever came of it, nobody goes on with a canary: those that serve it go where the pointer is.
        trial.end();
        outcome
    }

    /// Fails when, of these nodes' requests in the time that is watched, `most` thousandths more fail than did before.
    fn watch_errors(
        &self,
        nodes: &[String],
        most: u64,
        before: &Lately,
        still: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        let before = before.rate(nodes);
        let timer = Timer::start();
        let mut tally = Tally::default();
        self.look(nodes, &mut tally)?;
        loop {
            std::thread::sleep(LOOK_EVERY.min(self.careful.watch_for));
            still()?;
            self.look(nodes, &mut tally)?;
            let (requests, errors) = (tally.requests, tally.errors);
            let rate = rate(errors, requests);
            let told = json!({
                "requests": requests, "errors": errors, "nodes": nodes, "thousandths": rate, "thousandths_before": before,
            });
            if requests >= REQUESTS_MIN && rate > before + most {
                let percent = |thousandths: u64| format!("{}.{} %", thousandths / 10, thousandths % 10);
                let what = format!(
                    "{} of {} failed on {}: {}, and {} did before; more than {} more",
                    errors,
                    count(requests as usize, "request"),
                    nodes.join(", "),
                    percent(rate),
                    percent(before),
                    percent(most)
                );
                return Err(Failure::new(Exit::TakenBack, what).detail("errors", told));
            }
            let left = self.careful.watch_for.saturating_sub(timer.elapsed());
            self.screen.progress(&[format!("  {errors} of {requests} requests failed; {} s to go", left.as_secs())]);
            if left.is_zero() {
                self.screen.progress_over();
                let few = if requests < REQUESTS_MIN { ": too few to tell a rate" } else { "" };
                self.screen.say(format!("{errors} of {} failed{few}", count(requests as usize, "request")));
                return Ok(told);
            }
        }
    }

    /// One that fell over or is gone while it is watched is worse than one that fails.
    fn look(&self, nodes: &[String], tally: &mut Tally) -> Result<(), Failure> {
        let pages = self.store.pages()?;
        for node in nodes {
            let counted = pages.iter().find(|page| page.node == *node).and_then(|page| {
                let status = node::ask(&page.admin, "/status");
                let status = status.inspect_err(|why| {
                    self.screen.note(format!("{} at {}: {}", page.node, page.admin, harmless(why)));
                });
                counted(&status.ok()?, "judged")
            });
            tally.look(node, counted).map_err(|what| Failure::new(Exit::TakenBack, what))?;
        }
        Ok(())
    }
}

/// Requests and errors as a node's `/status` has them under this name. One of a version without the name tells all that it has
/// counted since it was started.
fn counted(status: &Value, name: &str) -> Option<(u64, u64)> {
    let of = |value: &Value| Some((value["requests"].as_u64()?, value["errors"].as_u64()?));
    if status[name].is_object() { of(&status[name]) } else { of(status) }
}

/// In thousandths.
fn rate(errors: u64, requests: u64) -> u64 {
    (errors * 1_000).checked_div(requests).unwrap_or(0)
}

/// How the nodes' requests went in the minutes before anything was changed.
#[derive(Default)]
struct Lately(BTreeMap<String, (u64, u64)>);

impl Lately {
    fn of_nodes(pages: &[NodePage]) -> Self {
        let now = when::now();
        let of = |page: &NodePage| {
            let status = node::ask(&page.admin, "/status").ok()?;
            Some((page.node.clone(), counted(&status, "lately")?))
        };
        Self(pages.iter().filter(|page| is_live(page, now)).filter_map(of).collect())
    }

    /// Of these nodes together; of too few requests it is taken as nothing.
    fn rate(&self, nodes: &[String]) -> u64 {
        let known = nodes.iter().filter_map(|node| self.0.get(node));
        let (requests, errors) = known.fold((0, 0), |sum, (requests, errors)| (sum.0 + requests, sum.1 + errors));
        if requests < REQUESTS_MIN { 0 } else { rate(errors, requests) }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Others each time, so that not always the same nodes carry the risk.
fn chosen(pages: &[NodePage], share: Share, revision: u64) -> Vec<String> {
    use std::hash::Hasher;
    let now = when::now();
    let mut live: Vec<_> = pages.iter().filter(|page| is_live(page, now)).map(|page| page.node.clone()).collect();
    live.sort_by_cached_key(|node| {
        let mut hasher = NameHasher::default();
        hasher.write_u64(revision);
        hasher.write(node.as_bytes());
        hasher.finish()
    });
    let most = match share {
        Share::Nodes(nodes) => nodes,
        Share::Percent(percent) => (live.len() * percent).div_ceil(100),
    };
    live.truncate(most);
    live.sort();
    live
}

/// A canary on its way. While it runs others may change keys: it is then put anew over what they published.
struct Trial<'t, 'r> {
    rollout: &'t Rollout<'r>,
    canary: Canary,
    lasts: Duration,
}

impl<'t, 'r> Trial<'t, 'r> {
    fn begin(rollout: &'t Rollout<'r>, nodes: Vec<String>, lasts: Duration) -> Result<Self, Failure> {
        let store = rollout.store;
        let Some(over) = rollout.base.pointer else {
            let what = "the first revision of a store cannot be tried by some nodes: the others have none to stay on";
            return Err(Failure::new(Exit::Usage, what).next("publish it without --canary"));
        };
        // Nodes read them before any revision of the store names them.
        rollout.values.new.iter().try_for_each(|value| store.put_value(value).map(drop))?;
        let until = when::now() + lasts.as_secs();
        let canary = Canary { manifest: Self::manifest(rollout, rollout.base)?, over, nodes, until };
        let there = store.canary()?;
        if let Some(other) = there
            .as_ref()
            .filter(|other| other.until > when::now() && Some(other.over) == store.pointer().ok().flatten())
        {
            let what = format!(
                "{} has a canary on {}: {}",
                other.manifest.author,
                other.nodes.join(", "),
                other.manifest.reason
            );
            let left = when::rough(other.until.saturating_sub(when::now()));
            return Err(
                Failure::new(Exit::Conflict, what).next(format!("wait for it; it is over in {left} at the latest"))
            );
        }
        store.set_canary(Some(&canary), there.as_ref())?;
        Ok(Self { rollout, canary, lasts })
    }

    fn manifest(rollout: &Rollout<'_>, now: &Base) -> Result<Manifest, Failure> {
        let Rollout { store, base, draft, values, stamp, raise_epoch, .. } = *rollout;
        publish::merged(store, base, now, draft, &values.parts, stamp, raise_epoch)
    }

    fn run(&mut self, before: &Lately) -> Result<(Pointer, Value), Failure> {
        let verdicts = self.until_answered()?;
        let at = self.canary.manifest.pointer();
        let Rollout { wait, screen, .. } = *self.rollout;
        conclude(&verdicts, &at, wait, screen).map_err(|failure| Failure {
            next: "only the canary has heard of it, and goes back; the newest revision is what it was".into(),
            ..failure
        })?;
        let nodes = self.canary.nodes.clone();
        let errors = match self.rollout.error_rate() {
            Some(most) => {
                let rollout = self.rollout;
                rollout.watch_errors(&nodes, most, before, &mut || self.renew().map(drop)).map_err(|failure| {
                    Failure {
                        next: "only the canary served it, and goes back; the newest revision is what it was".into(),
                        ..failure
                    }
                })?
            }
            None => Value::Null,
        };
        Ok((self.promote()?, json!({"nodes": verdicts, "errors": errors})))
    }

    fn until_answered(&mut self) -> Result<Vec<Verdict>, Failure> {
        let Rollout { store, wait, screen, .. } = *self.rollout;
        loop {
            let (at, nodes) = (self.canary.manifest.pointer(), self.canary.nodes.clone());
            let mut watched = Watched::new(&at, wait.timeout);
            watched.only = Some(&nodes);
            loop {
                if self.renew()? {
                    break;
                }
                let verdicts = watched.look(store)?;
                let answered = verdicts.len() == nodes.len() && names(&verdicts, State::Waiting).is_empty();
                if answered || watched.is_over() {
                    return Ok(absent(verdicts, &nodes));
                }
                watched.pause();
            }
            screen.note("somebody changed keys in between; the canary is put over what they published");
        }
    }

    /// Puts it over what was published in between. True when something was; a conflict when it was not only keys.
    fn renew(&mut self) -> Result<bool, Failure> {
        let store = self.rollout.store;
        if store.pointer()? == Some(self.canary.over) {
            return Ok(false);
        }
        let now = Base::read(store)?;
        let Some(over) = now.pointer else { return Err(StoreError::Conflict { now: None }.into()) };
        let manifest = Self::manifest(self.rollout, &now)?;
        let until = when::now() + self.lasts.as_secs();
        let next = Canary { manifest, over, until, nodes: self.canary.nodes.clone() };
        store.set_canary(Some(&next), Some(&self.canary))?;
        self.canary = next;
        Ok(true)
    }

    fn promote(&mut self) -> Result<Pointer, Failure> {
        loop {
            match self.rollout.store.publish(&self.canary.manifest, Some(&self.canary.over)) {
                Err(StoreError::Conflict { .. }) if self.renew()? => {}
                published => return Ok(published?),
            }
        }
    }

    fn end(&self) {
        // Where it cannot be removed now, it ends by its time.
        let _ = self.rollout.store.set_canary(None, Some(&self.canary));
    }
}

/// A node that was chosen and has gone since answers no more.
fn absent(mut verdicts: Vec<Verdict>, nodes: &[String]) -> Vec<Verdict> {
    for node in nodes {
        if !verdicts.iter().any(|verdict| verdict.node == *node) {
            let (state, reason) = (State::Waiting, "it is gone".to_owned());
            verdicts.push(Verdict { node: node.clone(), state, ms: None, reason, warnings: Vec::new() });
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rules_read() {
        assert_eq!((share("2"), share("10%")), (Ok(Share::Nodes(2)), Ok(Share::Percent(10))));
        for wrong in ["0", "0%", "101%", "-1", "", "x"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rule("refusal"), Ok(Rule::Refusal));
        assert_eq!((rule("error-rate>2%"), rule("error-rate>0.5%")), (Ok(Rule::ErrorRate(20)), Ok(Rule::ErrorRate(5))));
        for wrong in ["error-rate", "error-rate>2", "error-rate>100%", "error-rate>1.25%", "errors>1%"] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_before_is_of_the_nodes_that_are_watched() {
        let lately = |nodes: &[(&str, u64, u64)]| {
            Lately(nodes.iter().map(|(node, requests, errors)| ((*node).to_owned(), (*requests, *errors))).collect())
        };
        let before = lately(&[("a", 100, 10), ("b", 300, 0), ("c", 10, 10)]);
        let of = |nodes: &[&str]| before.rate(&nodes.iter().map(|node| (*node).to_owned()).collect::<Vec<_>>());
        assert_eq!((of(&["a"]), of(&["a", "b"]), of(&["c"]), of(&["nobody"])), (100, 25, 0, 0));
        let newer = json!({"requests": 9, "judged": {"requests": 5, "errors": 1}});
        let older = json!({"requests": 9, "errors": 2});
        assert_eq!((counted(&newer, "judged"), counted(&older, "judged")), (Some((5, 1)), Some((9, 2))));
    }

    #[test]
    fn a_part_of_the_nodes_is_chosen_and_not_always_the_same() {
        let page = |n: usize| NodePage { node: format!("n{n}"), seen: when::now(), ..NodePage::default() };
        let pages: Vec<_> = (0..10).map(page).collect();
        assert_eq!(chosen(&pages, Share::Percent(10), 1).len(), 1);
        assert_eq!(chosen(&pages, Share::Percent(11), 1).len(), 2);
        assert_eq!(chosen(&pages, Share::Nodes(99), 1).len(), 10);
        let firsts: std::collections::BTreeSet<_> = (0..20).map(|r| chosen(&pages, Share::Nodes(1), r)).collect();
        assert!(firsts.len() > 3, "{firsts:?}");
    }
}
