//! `status`: what is published, and what each node makes of it.

use serde_json::{Value, json};
use weir_shared::keyspace::NodePage;

use crate::failure::Failure;
use crate::follow::is_live;
use crate::place::Place;
use crate::publish::Base;
use crate::screen::Screen;
use crate::table::{Table, count, harmless};
use crate::when;

/// Show the current revision and every node
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl status
  weirctl status --json | jq '.nodes[] | select(.state != \"current\")'

A node is current, behind (it has not answered yet), canary (it tries the next revision),
refused (it keeps what it had, and says why),
ahead (the store was restored from an older copy), or gone (it has not been heard of for 10 s).")]
pub struct Status {}

impl Status {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let base = Base::read(&*store)?;
        let now = when::now();
        match base.pointer {
            Some(pointer) => screen.say(format!(
                "{} by {}, {} ago: {}",
                screen.paint.bold(&format!("revision {}", pointer.revision)),
                harmless(&base.author),
                when::rough(now.saturating_sub(base.time)),
                harmless(&base.reason)
            )),
            None => screen.say("nothing has been published yet; start with `weirctl apply`"),
        }
        // The nodes are shown also where a newer weirctl wrote what this one cannot read.
        let overlay = base.overlay(&*store).unwrap_or_else(|unread| {
            screen.note(unread.what);
            Default::default()
        });
        for by_hand in overlay.words(now) {
            screen.say(format!("{} {}", screen.paint.odd("by hand:"), harmless(&by_hand)));
        }
        let pages = store.pages()?;
        let nodes = show_nodes(&pages, base.revision(), now, screen);
        let live = pages.iter().filter(|page| is_live(page, now)).count();
        screen.say(screen.paint.dim(&match live {
            0 | 1 => "A key's limits hold per node.".to_owned(),
            live => format!("A key's limits hold per node: over {live} nodes a key can reach {live} times its limits."),
        }));
        Ok(json!({
            "store": place.store_address(), "revision": base.revision(), "epoch": base.epoch,
            "digest": base.pointer.map(|pointer| pointer.digest), "time": when::stamp(base.time),
            "author": base.author, "reason": base.reason, "by_hand": overlay, "nodes": nodes, "live": live, "limits": "per_node",
        }))
    }
}

fn show_nodes(pages: &[NodePage], newest: u64, now: u64, screen: &Screen) -> Vec<Value> {
    let mut table = Table::new(["node", "state", ">revision", "seen", "up", "callers", "admin", "version"]);
    let mut nodes = Vec::new();
    for page in pages {
        let age = now.saturating_sub(page.seen);
        let state = state(page, newest, now);
        table.row([
            page.node.clone(),
            state.into(),
            page.applied.to_string(),
            format!("{} ago", when::rough(age)),
            if state == "gone" { String::new() } else { when::rough(now.saturating_sub(page.started)) },
            page.data.clone(),
            page.admin.clone(),
            page.version.clone(),
        ]);
        let mut node = json!(page);
        node["state"] = state.into();
        node["live"] = is_live(page, now).into();
        node["age_seconds"] = age.into();
        nodes.push(node);
    }
    if table.is_empty() {
        screen.say("no node has reported here; start one with `weir`");
        return nodes;
    }
    screen.say(table.render(screen.paint));
    for page in pages.iter().filter(|page| is_live(page, now)) {
        if let Some(refused) = page.refused.as_ref().filter(|refused| refused.revision > page.applied) {
            let reason = harmless(&refused.reason.replace('\n', "; "));
            screen.say(format!("{} refused revision {}: {reason}", harmless(&page.node), refused.revision));
        }
        for warning in &page.warnings {
            screen.say(format!("{} {}: {}", screen.paint.odd("warning:"), harmless(&page.node), harmless(warning)));
        }
    }
    let behind = pages.iter().filter(|page| state(page, newest, now) == "behind").count();
    if behind > 0 {
        screen.say(format!("{} behind; see their logs when it lasts", count(behind, "node")));
    }
    nodes
}

pub fn state(page: &NodePage, newest: u64, now: u64) -> &'static str {
    let refused = page.refused.as_ref().is_some_and(|refused| refused.revision > page.applied);
    match page.applied {
        _ if !is_live(page, now) => "gone",
        _ if page.canary => "canary",
        applied if applied == newest => "current",
        applied if applied > newest => "ahead",
        _ if refused => "refused",
        _ => "behind",
    }
}
