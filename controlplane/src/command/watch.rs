//! `watch`: revisions and nodes as they come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_shared::fault::Exit;
use weir_shared::keyspace::{NodePage, Pointer};
use weir_shared::store::Store;

use super::status::state;
use crate::change;
use crate::failure::Failure;
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::harmless;
use crate::when::{self, Timer};

/// Tell what is published, and what each node makes of it, as it happens
///
/// A line for each revision (who, why, what changed) and for each node that becomes something else: current, behind, refused,
/// canary, ahead, gone. Ends when it is interrupted.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl watch
  weirctl watch --for 10m --json     # one object a line
  weirctl watch --after 41 --for 1m  # ends with the first revision behind 41, and says where the nodes are")]
pub struct Watch {
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = when::duration)]
    lasts: Option<Duration>,

    /// End as soon as there is a revision behind REV
    #[arg(long, value_name = "REV")]
    after: Option<u64>,
}

/// A server's caller asks again: nobody's connection is held for longer.
const SERVED_MAX: Duration = Duration::from_secs(60);

/// A node that has said nothing for this long is seen to be gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Watch {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        if let Some(after) = self.after {
            return self.until_behind(after, &*store, place.sent.is_some(), screen);
        }
        if place.sent.is_some() {
            let failure = Failure::new(Exit::Usage, "a server tells of one revision at a time");
            return Err(failure.next("say `after`: the revision that you know"));
        }
        let timer = Timer::start();
        let mut seen: Option<Pointer> = None;
        let mut nodes: BTreeMap<String, (&'static str, u64)> = BTreeMap::new();
        loop {
            let base = Base::read(&*store)?;
            if base.pointer != seen {
                tell_revision(&*store, &base, seen.is_some(), screen)?;
                seen = base.pointer;
            }
            let pages = store.pages()?;
            for page in &pages {
                let now = (state(page, base.revision(), when::now()), page.applied);
                if nodes.insert(page.node.clone(), now) != Some(now) {
                    tell_node(page, now.0, screen);
                }
            }
            nodes.retain(|name, _| {
                let stays = pages.iter().any(|page| page.node == *name);
                if !stays {
                    tell(&format!("{name} is gone"), json!({"node": name, "state": "gone"}), screen);
                }
                stays
            });
            let left = self.lasts.map(|lasts| lasts.saturating_sub(timer.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Value::Null);
            }
            store.wait(seen.as_ref(), LOOK_EVERY.min(left.unwrap_or(LOOK_EVERY)))?;
        }
    }
}

impl Watch {
    /// Waits for news, and says what there is, news or not.
    fn until_behind(&self, after: u64, store: &dyn Store, is_served: bool, screen: &Screen) -> Result<Value, Failure> {
        let timer = Timer::start();
        let most = if is_served { SERVED_MAX } else { Duration::MAX };
        let lasts = self.lasts.unwrap_or(most).min(most);
        loop {
            let base = Base::read(store)?;
            let left = lasts.saturating_sub(timer.elapsed());
            if base.revision() > after || left.is_zero() {
                if !screen.json {
                    tell_revision(store, &base, true, screen)?;
                }
                let (revision, now) = (base.revision(), when::now());
                let pages = store.pages()?;
                let nodes = pages.iter().map(
                    |page| json!({"node": page.node, "state": state(page, revision, now), "applied": page.applied}),
                );
                return Ok(json!({"revision": revision, "news": revision > after, "nodes": nodes.collect::<Vec<_>>()}));
            }
            store.wait(base.pointer.as_ref(), LOOK_EVERY.min(left))?;
        }
    }
}

fn tell_revision(
    store: &dyn weir_shared::store::Store,
    base: &Base,
    is_news: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let revision = base.revision();
    let before = revision.checked_sub(1).filter(|_| is_news).and_then(|before| Base::of_revision(store, before).ok());
    let changes = match before {
        Some(before) => publish::between(store, &before, base)?,
        None => Vec::new(),
    };
    let (author, reason) = (harmless(&base.author), harmless(&base.reason));
    let summary = if changes.is_empty() { String::new() } else { format!(" ({})", change::summary(&changes)) };
    let words = format!("revision {revision} by {author}: {reason}{summary}");
    let value = json!({"revision": revision, "author": base.author, "reason": base.reason, "changes": changes});
    tell(&words, value, screen);
    Ok(())
}

fn tell_node(page: &NodePage, state: &str, screen: &Screen) {
    let refused = page.refused.as_ref().filter(|refused| refused.revision > page.applied);
    let reason = refused.map(|refused| refused.reason.clone()).unwrap_or_default();
    let why = if reason.is_empty() { String::new() } else { format!(": {}", harmless(&reason.replace('\n', "; "))) };
    let words = format!("{} is {state}, revision {}{why}", harmless(&page.node), page.applied);
    tell(&words, json!({"node": page.node, "state": state, "applied": page.applied, "reason": reason}), screen);
}

/// A line for people, an object on a line for scripts.
fn tell(words: &str, mut value: Value, screen: &Screen) {
    let time = when::stamp(when::now());
    match screen.json {
        true => {
            value["time"] = time.into();
            screen.print(&value.to_string());
        }
        false => screen.say(format!("{} {words}", screen.paint.dim(&time))),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Deployment;

    #[test]
    fn what_happens_is_told_in_lines() {
        let at = Deployment::new("watch");
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        at.run(&["apply", "--reason", "first"]).unwrap();
        let shown = std::thread::scope(|scope| {
            let watch = scope.spawn(|| at.show(&["watch", "--for", "2s"]));
            std::thread::sleep(std::time::Duration::from_millis(500));
            at.write("a.toml", "[alias]\nfast = \"gpt-4o\"\n");
            at.run(&["apply", "--reason", "second"]).unwrap();
            watch.join().unwrap()
        });
        let after = at.run(&["watch", "--after", "1"]).unwrap();
        assert_eq!((&after["revision"], &after["news"]), (&2.into(), &true.into()));
        let nothing = at.run(&["watch", "--after", "2", "--for", "100ms"]).unwrap();
        assert_eq!((&nothing["revision"], &nothing["news"]), (&2.into(), &false.into()));
        for words in ["revision 1 by t: first", "revision 2 by t: second (1 added)"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }

    #[test]
    fn a_revision_is_shown_with_what_it_changed() {
        let at = Deployment::new("show");
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        at.run(&["apply", "--reason", "first"]).unwrap();
        at.write("a.toml", "[alias]\nfast = \"gpt-4o\"\n");
        at.run(&["apply"]).unwrap();
        let shown = at.show(&["show"]);
        assert!(shown.contains("revision 2 by t") && shown.contains("+ alias   fast"), "{shown}");
        assert!(at.show(&["show", "1"]).contains(": first"));
        assert_eq!(at.run(&["show"]).unwrap()["aliases"][0]["is"]["name"], "fast");
    }
}
