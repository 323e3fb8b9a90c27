//! `top`: how every candidate does now, over all live nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_shared::fault::Exit;
use weir_shared::keyspace::NodePage;

use crate::failure::Failure;
use crate::follow::is_live;
use crate::node;
use crate::place::Place;
use crate::screen::Screen;
use crate::table::{Table, count, grouped, harmless};
use crate::when;

/// Watch the vendors: calls, failures, breakers, speed and cost of each candidate
///
/// A candidate is a model by one of its vendor's credentials. Asks the admin listener of every live node, once an interval,
/// and shows what came since the time before; candidates that were never called on a node are not there.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl top
  weirctl top --once                 # two looks a second apart, and done
  weirctl top --every 5s --vendor openai
  weirctl top --once --json | jq '.candidates[] | select(.state != \"passing\")'")]
pub struct Top {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = when::duration)]
    every: Duration,

    /// Look twice and end; the same when nobody watches a terminal
    #[arg(long)]
    once: bool,

    /// Only this vendor
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
}

type Name = (String, String, String);

/// Sums over all nodes.
#[derive(Clone, Default)]
struct Sum {
    /// The worst that any node says, and how many say it.
    states: BTreeMap<String, usize>,
    running: u64,
    attempts: u64,
    good: u64,
    limited: u64,
    harms: BTreeMap<String, u64>,
    first_event_us: u64,
    p95_us: u64,
    cost_nano: u64,
    tokens_out: u64,
}

struct Look {
    sums: BTreeMap<Name, Sum>,
    nodes: usize,
    silent: Vec<String>,
}

impl Top {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let live = || -> Result<Vec<NodePage>, Failure> {
            let pages: Vec<_> = store.pages()?.into_iter().filter(|page| is_live(page, when::now())).collect();
            if pages.is_empty() {
                let next = "start one with `weir`; `weirctl status` shows those that were";
                return Err(Failure::new(Exit::Missing, "no node is alive").next(next));
            }
            Ok(pages)
        };
        let mut before = self.look(&live()?);
        let once = self.once || screen.json || !screen.is_watched();
        loop {
            let timer = when::Timer::start();
            std::thread::sleep(self.every);
            let now = self.look(&live()?);
            let millis = timer.elapsed().as_millis().max(1) as u64;
            let answer = self.show(&before, &now, millis, screen, !once);
            if once {
                return Ok(answer);
            }
            before = now;
        }
    }

    fn look(&self, pages: &[NodePage]) -> Look {
        let mut look = Look { sums: BTreeMap::new(), nodes: pages.len(), silent: Vec::new() };
        for page in pages {
            match node::ask(&page.admin, "/status") {
                Ok(status) => {
                    let candidates = status["candidates"].as_array().into_iter().flatten();
                    candidates.for_each(|candidate| self.add(candidate, &mut look.sums));
                }
                Err(why) => look.silent.push(format!("{} at {}: {why}", page.node, page.admin)),
            }
        }
        look
    }

    fn add(&self, candidate: &Value, sums: &mut BTreeMap<Name, Sum>) {
        let text = |name: &str| candidate[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| candidate[name].as_u64().unwrap_or(0);
        let name = (text("vendor"), text("model"), text("credential"));
        if self.vendor.as_ref().is_some_and(|wanted| *wanted != name.0) {
            return;
        }
        let sum = sums.entry(name).or_default();
        *sum.states.entry(text("state")).or_default() += 1;
        sum.running += number("running");
        sum.attempts += number("attempts");
        sum.good += number("good");
        sum.limited += number("limited");
        for (harm, times) in candidate["harms"].as_object().into_iter().flatten() {
            *sum.harms.entry(harm.clone()).or_default() += times.as_u64().unwrap_or(0);
        }
        sum.first_event_us = sum.first_event_us.max(number("first_event_us"));
        sum.p95_us = sum.p95_us.max(number("first_event_p95_us"));
        sum.cost_nano += number("cost_nano");
        sum.tokens_out += number("tokens_out");
    }

    fn show(&self, before: &Look, now: &Look, millis: u64, screen: &Screen, over: bool) -> Value {
        let none = Sum::default();
        let mut rows: Vec<_> =
            now.sums.iter().map(|(name, sum)| (name, sum, before.sums.get(name).unwrap_or(&none))).collect();
        // The busiest first; of the idle ones, those that are not well.
        let rank =
            |sum: &Sum, last: &Sum| (sum.attempts.saturating_sub(last.attempts), sum.harms.values().sum::<u64>());
        rows.sort_by_key(|(_, sum, last)| std::cmp::Reverse(rank(sum, last)));
        let mut table = Table::new([
            "vendor",
            "model",
            "credential",
            "state",
            ">running",
            ">calls/s",
            ">good",
            ">429",
            ">failed",
            ">first ms",
            ">p95 ms",
            ">tokens/s",
            ">$/hour",
        ]);
        let mut candidates = Vec::new();
        for (name, sum, last) in rows {
            let since = |now: u64, before: u64| now.saturating_sub(before);
            let per_second = |count: u64| tenths(count * 10_000 / millis);
            let calls = since(sum.attempts, last.attempts);
            let failed = since(sum.harms.values().sum(), last.harms.values().sum());
            let nano = since(sum.cost_nano, last.cost_nano);
            let cents_an_hour = u128::from(nano) * 3_600_000 / u128::from(millis) / 10_000_000;
            let state = worst(&sum.states, now.nodes);
            table.row([
                name.0.clone(),
                name.1.clone(),
                name.2.clone(),
                state.clone(),
                sum.running.to_string(),
                per_second(calls),
                per_second(since(sum.good, last.good)),
                per_second(since(sum.limited, last.limited)),
                per_second(failed),
                (sum.first_event_us / 1_000).to_string(),
                (sum.p95_us / 1_000).to_string(),
                grouped(u128::from(since(sum.tokens_out, last.tokens_out) * 1_000 / millis)),
                format!("{}.{:02}", cents_an_hour / 100, cents_an_hour % 100),
            ]);
            candidates.push(json!({
                "vendor": name.0, "model": name.1, "credential": name.2, "state": state, "running": sum.running,
                "calls": calls, "good": since(sum.good, last.good), "limited": since(sum.limited, last.limited),
                "failed": failed, "harms": sum.harms, "first_event_us": sum.first_event_us, "first_event_p95_us": sum.p95_us,
                "tokens_out": since(sum.tokens_out, last.tokens_out), "cost_nano": nano,
            }));
        }
        if over {
            screen.clear();
        }
        screen.say(format!("{}, {}", count(now.nodes, "node"), when::stamp(when::now())));
        match table.is_empty() {
            true => screen.say("no candidate has been called yet"),
            false => screen.say(table.render(screen.paint)),
        }
        now.silent
            .iter()
            .for_each(|silent| screen.say(format!("{} {}", screen.paint.odd("silent:"), harmless(silent))));
        json!({ "nodes": now.nodes, "silent": now.silent, "milliseconds": millis, "candidates": candidates })
    }
}

/// The state that needs most to be seen; of how many nodes, where not all say it.
fn worst(states: &BTreeMap<String, usize>, nodes: usize) -> String {
    let order = ["tripped", "cooling", "ramping", "passing"];
    let found = order.iter().find_map(|state| states.get(*state).map(|times| (*state, *times)));
    match found {
        Some((state, times)) if times < nodes && nodes > 1 => format!("{state} on {times} of {nodes}"),
        Some((state, _)) => state.to_owned(),
        None => "unknown".to_owned(),
    }
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_is_shown_and_rates_are_per_second() {
        let states = |list: &[(&str, usize)]| list.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect();
        assert_eq!(worst(&states(&[("passing", 2), ("tripped", 1)]), 3), "tripped on 1 of 3");
        assert_eq!(worst(&states(&[("passing", 1)]), 1), "passing");
        assert_eq!(tenths(1_234), "123.4");
    }

    #[test]
    fn nodes_add_up() {
        let top = Top { every: Duration::from_secs(1), once: true, vendor: None };
        let candidate = |attempts: u64, state: &str| {
            json!({"vendor": "v", "model": "m", "credential": "c", "state": state, "attempts": attempts, "good": attempts,
                   "harms": {"5xx": 2}, "first_event_us": attempts * 1_000, "cost_nano": attempts * 1_000_000})
        };
        let look = |attempts: u64| {
            let mut sums = BTreeMap::new();
            top.add(&candidate(attempts, "passing"), &mut sums);
            top.add(&candidate(2 * attempts, "tripped"), &mut sums);
            Look { sums, nodes: 2, silent: vec!["n: refused".into()] }
        };
        let screen = Screen::new(false);
        let said = top.show(&look(100), &look(200), 2_000, &screen, false);
        assert_eq!((&said["candidates"][0]["calls"], &said["candidates"][0]["failed"]), (&300.into(), &0.into()));
        assert_eq!(said["candidates"][0]["state"], "tripped on 1 of 2");
        let shown = screen.said();
        // 300 calls of 0.001 dollars in two seconds.
        assert!(shown.contains("150.0") && shown.contains("540.00") && shown.contains("silent: n: refused"), "{shown}");
    }
}
