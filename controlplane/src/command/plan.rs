//! `plan`: what a folder would change, and what that would do to the requests of the last day.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::Exit;
use weir_shared::key::KeyId;
use weir_shared::overlay::Part;
use weir_shared::routing::breaks;
use weir_shared::snapshot::{Key, Snapshot};
use weir_shared::store::Store;

use super::check;
use super::revision::CHANGES_SHOWN_MAX;
use super::usage::dollars;
use crate::change;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::place::Place;
use crate::publish::{self, Base};
use crate::replay::{Fate, Flow, Known, Replay, Sum, name_of};
use crate::screen::Screen;
use crate::shapes::{self, Collected, Policy};
use crate::table::{Table, count, grouped, harmless};
use crate::when;

/// Show what a folder would change, and what that would do to recent traffic
///
/// Takes the shapes of the last day's requests (key, model, token counts, what a choice was made by; never a prompt) from
/// every live node, and sends them through the function that nodes route by: once under the present policy, once under the
/// folder's. Says how many requests would go elsewhere, at what cost, which nobody would be allowed to answer, and which
/// limits of vendors would be met. Publishes nothing.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl plan                              # of ./weir.d, or of what --folder names
  weirctl plan ../weir.d.new --since 1h
  weirctl plan --fault openai=down          # where the load lands; also VENDOR#CREDENTIAL and VENDOR/MODEL
  weirctl plan --exit-code --json           # for a pipeline: 0 nothing would change, 2 something would, else it failed

A request counts where it would go first. Health is as it was at the time, what was drained by hand
is as it is now. What no record can tell of the new policy (a header that no route asked for so far)
counts as not there, and the number of such guesses is told. Of more than 20 000 requests a node
gives an even sample.")]
pub struct Plan {
    /// The operator's folder [default: what --folder names]
    #[arg(value_name = "FOLDER")]
    of: Option<PathBuf>,

    /// How far back
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = when::duration)]
    since: Duration,

    /// What is imagined to be down: VENDOR=down, VENDOR#CREDENTIAL=down or VENDOR/MODEL=down; may be said again
    #[arg(long = "fault", value_name = "WHAT=down", value_parser = fault)]
    faults: Vec<Part>,

    /// Take the records of a folder of journals, in place of the live nodes'
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,

    /// End with 2 when the folder would change something
    #[arg(long)]
    exit_code: bool,

    /// Show all of long lists
    #[arg(long)]
    all: bool,
}

fn fault(text: &str) -> Result<Part, String> {
    let what =
        text.strip_suffix("=down").ok_or_else(|| format!("{text:?}: write what is down, such as openai=down"))?;
    Part::parse(what).ok_or_else(|| format!("{what:?} names no vendor, VENDOR#CREDENTIAL or VENDOR/MODEL"))
}

/// Rows of a table that people read to the end.
const ROWS_SHOWN_MAX: usize = 30;

impl Plan {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let mut place = place.clone();
        if let Some(folder) = &self.of {
            place.folder.clone_from(folder);
        }
        let folder = check::read(&place)?;
        let store = place.existing_store().ok();
        let base = match &store {
            Some(store) => Base::read(&**store)?,
            None => Base::empty(),
        };
        let old = match &store {
            Some(store) => base.draft(&**store)?,
            None => Draft::default(),
        };
        let changes = change::between(&old, &folder.draft);
        self.show_changes(&base, &place, &changes, screen);
        for note in check::notes(&folder, &place) {
            screen.note(note.to_string());
        }
        let replay = match &store {
            Some(store) if base.pointer.is_some() => self.replay(&**store, &base, &old, &folder, screen)?,
            _ => {
                screen.say("no revision is published yet, so there is no traffic to replay");
                Value::Null
            }
        };
        if self.exit_code && !changes.is_empty() {
            screen.ends_with(Exit::Changes);
        }
        Ok(json!({
            "revision": base.revision(), "folder": place.folder_name(), "changed": !changes.is_empty(),
            "changes": changes, "without_price": without_price(&folder, screen), "replay": replay,
        }))
    }

    fn show_changes(&self, base: &Base, place: &Place, changes: &[change::Change], screen: &Screen) {
        if changes.is_empty() {
            screen.say(format!("{} says what revision {} says", place.folder_name(), base.revision()));
            return;
        }
        screen.say(format!(
            "{} against revision {}: {}",
            place.folder_name(),
            base.revision(),
            change::summary(changes)
        ));
        let most = if self.all { usize::MAX } else { CHANGES_SHOWN_MAX };
        screen.say(change::render(changes, screen.paint, most));
    }

    fn replay(
        &self,
        store: &dyn Store,
        base: &Base,
        old: &Draft,
        folder: &Folder,
        screen: &Screen,
    ) -> Result<Value, Failure> {
        let now_s = when::now();
        let since = now_s.saturating_sub(self.since.as_secs());
        let collected = match &self.journal {
            Some(folder) => shapes::of_folder(folder, since)?,
            None => shapes::of_nodes(&store.pages()?, since),
        };
        let (keys, overlay) = (base.keys(store)?, base.overlay(store)?);
        let callers: HashSet<KeyId> = collected.shapes.iter().map(|asked| asked.key).collect();
        let compile = |draft: &Draft, what: &str| {
            let whole = Draft { keys: keys.clone(), overlay: overlay.clone(), ..draft.clone() };
            let compiled = Snapshot::compile(base.revision(), &whole);
            compiled.map_err(|faults| publish::with_faults(what, &faults))
        };
        let now = compile(old, "the present revision cannot be read any more")?;
        let then = compile(&folder.draft, "with the keys of the store, the folder would be refused")?;
        self.check_faults(&then)?;
        let unreachable = unreachable(&then);
        let (now, then) = (Policy::new(now, &callers), Policy::new(then, &callers));
        let revisions = shapes::revisions(store, &collected.shapes, &callers)?;
        let known = Known::of(&collected.shapes, &revisions);
        let under = |policy, down| Replay { policy, down, known: &known, now_s };
        let (now, then) = (under(&now, &[]), under(&then, &self.faults));
        let sum = Sum::of(&collected.shapes, &revisions, &now, &then);
        self.show(&collected, &sum, &then.policy.snapshot, screen);
        show_unreachable(&unreachable, screen);
        let mut answer = told(&collected, &sum, &then.policy.snapshot);
        answer["since"] = when::stamp(since).into();
        answer["unreachable"] = unreachable.iter().map(|(t, why)| json!({"target": t, "why": why})).collect();
        Ok(answer)
    }

    fn check_faults(&self, then: &Snapshot) -> Result<(), Failure> {
        match self.faults.iter().find(|part| !part.exists(&then.catalog)) {
            None => Ok(()),
            Some(part) => {
                let what = format!("--fault: the folder has no {}", part_words(part));
                Err(Failure::new(Exit::Missing, what).next("`weirctl check --models` lists what there is"))
            }
        }
    }

    fn show(&self, collected: &Collected, sum: &Sum, then: &Snapshot, screen: &Screen) {
        for silent in &collected.silent {
            screen.note(format!("not asked: {}", harmless(silent)));
        }
        if collected.shapes.is_empty() {
            screen.say("no request was recorded in this time, so nothing could be replayed");
            return;
        }
        let sampled = collected.shapes.len() as u64;
        let of =
            if sampled < collected.requests { format!("{} of ", grouped(u128::from(sampled))) } else { String::new() };
        screen.say(format!(
            "replayed {of}{} of the last {}, from {}",
            count(collected.requests as usize, "request"),
            when::rough(self.since.as_secs()),
            count(collected.nodes, "node")
        ));
        let told = format!("{} of {}", grouped(u128::from(sum.made_again)), grouped(u128::from(sum.told)));
        screen.say(match sum.told {
            0 => "none of them had a choice".to_owned(),
            _ => format!("recorded choices that the policy of their time makes again: {told}"),
        });
        for fault in &self.faults {
            screen.say(format!("{} {} is down", screen.paint.odd("imagined:"), part_words(fault)));
        }
        self.show_flows(sum, screen);
        show_load(sum, screen);
        show_cost(sum, screen);
        for limit in sum.limits(then) {
            screen.say(format!(
                "{} {} would be asked for more than its {} {} a minute in {} (now {}), at most {}",
                screen.paint.odd("limit:"),
                limit.vendor,
                grouped(u128::from(limit.per_minute)),
                limit.what,
                count(limit.minutes_then as usize, "minute"),
                limit.minutes_now,
                grouped(u128::from(limit.most))
            ));
        }
        show_guesses(sum, screen);
    }

    fn show_flows(&self, sum: &Sum, screen: &Screen) {
        let total = sum.total().requests.max(1);
        let mut moved: Vec<_> = sum.flows.iter().filter(|((from, to), _)| from != to).collect();
        moved.sort_by_key(|(_, flow)| std::cmp::Reverse(flow.requests));
        let stays = total - moved.iter().map(|(_, flow)| flow.requests).sum::<u64>().min(total);
        screen.say(format!("{} of requests go where they go now", percent(stays, total)));
        if moved.is_empty() {
            return;
        }
        let mut table = Table::new(["from", "to", ">requests", ">share", ">$ now", ">$ then"]);
        let most = if self.all { usize::MAX } else { ROWS_SHOWN_MAX };
        for ((from, to), flow) in moved.iter().take(most) {
            table.row([
                from.words(),
                to.words(),
                grouped(u128::from(whole(flow.requests))),
                percent(flow.requests, total),
                dollars(flow.cost_now / 1_000),
                dollars(flow.cost_then / 1_000),
            ]);
        }
        screen.say(table.render(screen.paint));
        if moved.len() > most {
            screen.say(format!("… and {}; --all shows them", count(moved.len() - most, "more row")));
        }
        let refused: u64 = moved.iter().filter(|((_, to), _)| to.is_refusal()).map(|(_, flow)| flow.requests).sum();
        if refused > 0 {
            let said = format!("{} that are answered now would be refused", count(whole(refused) as usize, "request"));
            screen.say(screen.paint.bad(&said));
        }
    }
}

fn show_load(sum: &Sum, screen: &Screen) {
    let total = sum.total().requests.max(1);
    let load = sum.load();
    if load.values().all(|[now, then]| now == then) {
        return;
    }
    let mut rows: Vec<_> = load.into_iter().collect();
    rows.sort_by_key(|(_, [now, then])| std::cmp::Reverse(*now.max(then)));
    let mut table = Table::new(["candidate", ">now", ">then", ">share now", ">share then"]);
    for (fate, [now, then]) in rows.into_iter().take(ROWS_SHOWN_MAX) {
        table.row([
            fate.words(),
            grouped(u128::from(whole(now))),
            grouped(u128::from(whole(then))),
            percent(now, total),
            percent(then, total),
        ]);
    }
    screen.say(table.render(screen.paint));
}

fn show_cost(sum: &Sum, screen: &Screen) {
    let Flow { cost_now, cost_then, sale_now, sale_then, .. } = sum.total();
    let line = |what: &str, now: i128, then: i128| {
        let difference = then - now;
        let sign = if difference < 0 { "−" } else { "+" };
        let rate = (difference.unsigned_abs() * 1_000).checked_div(now.unsigned_abs()).unwrap_or(0);
        let amount = dollars((difference / 1_000).abs());
        format!(
            "{what} ${} → ${}: {sign}${amount}, {sign}{}.{} %",
            dollars(now / 1_000),
            dollars(then / 1_000),
            rate / 10,
            rate % 10
        )
    };
    screen.say(line("vendors' prices, for the tokens that were used:", cost_now, cost_then));
    if (sale_now, sale_then) != (cost_now, cost_then) {
        screen.say(line("what callers pay:", sale_now, sale_then));
    }
}

fn show_guesses(sum: &Sum, screen: &Screen) {
    for (number, what) in [
        (
            sum.guessed_conditions,
            "meet a condition on a header or on metadata that no route asked for then: taken as not met",
        ),
        (sum.guessed_sticky, "meet a branch that sticks to something that nobody looked at then: drawn by chance"),
        (
            sum.guessed_needs,
            "had one candidate then, so that nobody looked whether they hold images, tools or the like: taken as none",
        ),
        (sum.left_out, "could not be replayed: their key is gone, or they name no model"),
    ] {
        if number > 0 {
            screen.note(format!("{}: {what}", count(number as usize, "record")));
        }
    }
}

fn show_unreachable(unreachable: &[(String, String)], screen: &Screen) {
    for (target, why) in unreachable {
        screen.say(format!("{} {}: {why}", screen.paint.odd("nobody can reach"), harmless(target)));
    }
}

/// What the catalog lists of a vendor without a price, which no node would serve.
fn without_price(folder: &Folder, screen: &Screen) -> Value {
    let left_out: Vec<_> = folder.left_out.iter().filter(|(_, number)| *number > 0).collect();
    for (vendor, number) in &left_out {
        let models = count(*number, "model");
        screen.say(format!("without a price, and so left out: {models} of {vendor}; a [[model]] can give one"));
    }
    left_out.iter().map(|(vendor, number)| json!({"vendor": vendor, "models": number})).collect()
}

/// Candidates of routes that no key could ever be sent to, and why.
fn unreachable(then: &Snapshot) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut kinds: BTreeMap<String, &Key> = BTreeMap::new();
    for key in then.keys() {
        kinds.entry(format!("{:?} {:?} {:?}", key.tenant.name, key.models, key.tenant.require)).or_insert(key);
    }
    if kinds.is_empty() {
        return found;
    }
    let mut routes: Vec<_> = then.catalog.routes().collect();
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    for route in routes {
        for &place in &route.places {
            let vendor = then.vendor_of(&then.catalog.models[place as usize]);
            let why = match breaks(&route.require, vendor) {
                Some(unfit) => Some(format!("the route demands otherwise: {}", unfit.name())),
                None if !kinds.values().any(|key| then.may_use(place, key)) => Some("no key may use it".to_owned()),
                None => {
                    let unfit = |key: &&Key| breaks(&key.tenant.require, vendor);
                    let users = kinds.values().copied().filter(|key| then.may_use(place, key));
                    let mut reasons = users.map(|key| unfit(&key));
                    match reasons.next().flatten() {
                        Some(first) if reasons.all(|unfit| unfit.is_some()) => {
                            Some(format!("every tenant that may use it demands otherwise: {}", first.name()))
                        }
                        _ => None,
                    }
                }
            };
            found.extend(why.map(|why| (format!("{} of route {:?}", name_of(then, place), route.name), why)));
        }
    }
    found
}

fn told(collected: &Collected, sum: &Sum, then: &Snapshot) -> Value {
    let total = sum.total();
    let fate = |fate: &Fate| match fate {
        Fate::To(name) => json!({"candidate": &**name}),
        refused => json!({"refused": refused.words()}),
    };
    let flows = sum.flows.iter().map(|((from, to), flow)| {
        json!({
            "from": fate(from), "to": fate(to), "moves": from != to, "requests": whole(flow.requests),
            "cost_now_nano": nano(flow.cost_now), "cost_then_nano": nano(flow.cost_then),
        })
    });
    let load = sum.load();
    let load = load.iter().map(|(to, [now, then])| {
        let mut row = fate(to);
        row["requests_now"] = whole(*now).into();
        row["requests_then"] = whole(*then).into();
        row
    });
    let limits = sum.limits(then);
    let limits = limits.iter().map(|limit| {
        json!({
            "vendor": limit.vendor, "what": limit.what, "per_minute": limit.per_minute, "most": limit.most,
            "minutes_now": limit.minutes_now, "minutes_then": limit.minutes_then,
        })
    });
    json!({
        "nodes": collected.nodes, "silent": collected.silent, "records": collected.shapes.len(),
        "requests": collected.requests, "left_out": sum.left_out,
        "choices": {"told": sum.told, "made_again": sum.made_again},
        "flows": flows.collect::<Vec<_>>(), "load": load.collect::<Vec<_>>(), "limits": limits.collect::<Vec<_>>(),
        "cost": {
            "now_nano": nano(total.cost_now), "then_nano": nano(total.cost_then),
            "sale_now_nano": nano(total.sale_now), "sale_then_nano": nano(total.sale_then),
        },
        "guessed": {
            "conditions": sum.guessed_conditions, "sticky": sum.guessed_sticky, "needs": sum.guessed_needs,
        },
    })
}

fn part_words(part: &Part) -> String {
    match part {
        Part::Vendor(vendor) => vendor.to_string(),
        Part::Credential(vendor, credential) => format!("{vendor}#{credential}"),
        Part::Model(vendor, model) => format!("{vendor}/{model}"),
    }
}

/// Of thousandths.
fn whole(milli: u64) -> u64 {
    (milli + 500) / 1_000
}

/// Of pico-dollars; what does not fit stands at the largest that does.
fn nano(pico: i128) -> i64 {
    i64::try_from(pico / 1_000).unwrap_or(i64::MAX)
}

fn percent(part: u64, of: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(of.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}
