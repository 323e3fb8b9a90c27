//! From what an operator wrote of a route to what is obeyed.

use std::sync::Arc;

use crate::catalog::{Model, Vendor};
use crate::draft::Sourced;
use crate::fault::{Fault, Source};
use crate::health::Pace;
use crate::policy::hedging::Hedge;
use crate::policy::mirroring::Mirror;
use crate::policy::resilience::Trying;
use crate::policy::routing::{
    BRANCHES_MAX, Branch, BranchDraft, BranchTable, CANDIDATES_MAX, CONDITIONS_MAX, Condition, Is, Measure, Require,
    Route, RouteDraft, STICKY_MAX, StickyBy, WhenDraft,
};
use crate::policy::time;
use crate::resolve::Pattern;

use super::eligible::breaks;
use super::need;

/// `named`: the models that a name means, in the operator's order. `before`: the route of this name so far.
pub fn compile(
    Sourced { source, is }: &Sourced<RouteDraft>,
    models: &[Model],
    vendors: &[Vendor],
    named: impl Fn(&str) -> Vec<u32>,
    before: Option<&Route>,
    faults: &mut Vec<Fault>,
) -> Route {
    let mut compiler = Compiler {
        source,
        name: &is.name,
        named: &named,
        places: Vec::new(),
        conditions: Vec::new(),
        sticky: Vec::new(),
        branches: 0,
        faults,
    };
    let root = compiler.branch(&is.to, "to", 0);
    compiler.trying(is);
    let hedge = compiler.hedge(is);
    let mirror = compiler.mirror(is, before);
    let fan_out = compiler.fan_out(is);
    compiler.bounds();
    let Compiler { places, conditions, sticky, .. } = compiler;
    let require = require(&is.regions, is.zero_retention, is.no_training);
    let met = met(&require, &places, models, vendors);
    Route {
        name: is.name.as_str().into(),
        root,
        places,
        conditions,
        sticky,
        require,
        met,
        trying: trying(is),
        hedge,
        mirror,
        fan_out,
    }
}

pub fn require(regions: &[String], zero_retention: bool, no_training: bool) -> Require {
    Require { regions: regions.iter().map(|region| region.as_str().into()).collect(), zero_retention, no_training }
}

fn met(require: &Require, places: &[u32], models: &[Model], vendors: &[Vendor]) -> u16 {
    let is_met = |&place: &u32| {
        let vendor = models.get(place as usize).and_then(|model| vendors.get(model.vendor as usize));
        vendor.is_some_and(|vendor| breaks(require, vendor).is_none())
    };
    let places = places.iter().take(CANDIDATES_MAX).enumerate();
    places.fold(0, |met, (at, place)| met | u16::from(is_met(place)) << at)
}

fn trying(is: &RouteDraft) -> Trying {
    let usual = Trying::default();
    Trying {
        attempts_max: is.attempts.unwrap_or(usual.attempts_max).clamp(1, ATTEMPTS_MAX),
        retry_ambiguous: is.retry_ambiguous.unwrap_or(usual.retry_ambiguous),
        continues: is.continuation.unwrap_or(usual.continues),
    }
}

/// Each attempt has room in the record.
const ATTEMPTS_MAX: u32 = crate::ledger::ATTEMPTS_MAX as u32;

struct Compiler<'c> {
    source: &'c Source,
    name: &'c str,
    named: &'c dyn Fn(&str) -> Vec<u32>,
    places: Vec<u32>,
    conditions: Vec<Condition>,
    sticky: Vec<StickyBy>,
    branches: usize,
    faults: &'c mut Vec<Fault>,
}

/// Deeper trees are a mistake, and a reader's stack is finite.
const DEPTH_MAX: usize = 8;
/// Branches of one level fit a word.
const WIDTH_MAX: usize = CANDIDATES_MAX;

impl Compiler<'_> {
    fn fault(&mut self, key: &str, what: impl std::fmt::Display, fix: impl Into<String>) {
        self.faults.push(Fault::new(self.source, format!("route {:?}: {what}", self.name), fix).at(key));
    }

    fn branch(&mut self, draft: &BranchDraft, key: &str, depth: usize) -> Branch {
        let table = &*draft.0;
        let number = self.branches.min(BRANCHES_MAX - 1) as u8;
        self.branches += 1;
        let when = table.when.as_ref().map(|when| self.condition(when, key));
        let is = if depth > DEPTH_MAX {
            self.fault(key, "its branches nest too deeply", format!("at most {DEPTH_MAX} deep"));
            Is::Models(Vec::new())
        } else {
            self.way(table, key, depth)
        };
        let share = table.share.unwrap_or(1);
        if share > 1_000_000 {
            self.fault(key, format!("share = {share} is out of range"), "up to 1000000");
        }
        Branch { number, when, share, label: table.name.as_deref().map(Into::into), is }
    }

    fn way(&mut self, table: &BranchTable, key: &str, depth: usize) -> Is {
        let lists = [
            ("order", &table.order),
            ("weight", &table.weight),
            ("split", &table.split),
            ("least_cost", &table.least_cost),
            ("least_latency", &table.least_latency),
            ("least_busy", &table.least_busy),
            ("cheapest_under", &table.cheapest_under),
            ("sticky", &table.sticky),
        ];
        let said: Vec<_> = lists.iter().filter_map(|(name, list)| Some((*name, list.as_ref()?))).collect();
        let (name, list) = match (&table.model, said.as_slice()) {
            (Some(model), []) => return self.models(model, key),
            (None, [only]) => *only,
            (None, []) => {
                self.fault(key, "a branch leads nowhere", WAYS);
                return Is::Models(Vec::new());
            }
            _ => {
                self.fault(key, "a branch has several ways to choose", "nest one in the other, or remove all but one");
                return Is::Models(Vec::new());
            }
        };
        let at = format!("{key}.{name}");
        if list.is_empty() || list.len() > WIDTH_MAX {
            self.fault(&at, format!("{name} has {} branches", list.len()), format!("1 to {WIDTH_MAX}"));
        }
        let branches: Vec<Branch> = list.iter().take(WIDTH_MAX).map(|b| self.branch(b, &at, depth + 1)).collect();
        self.misplaced(table, name, key);
        match name {
            "order" => Is::Order(branches),
            "weight" => Is::Weight(branches),
            "split" => {
                if branches.iter().any(|branch| branch.label.is_none()) {
                    self.fault(&at, "a branch of split has no name", "name = \"control\", to find it in records");
                }
                Is::Split(branches)
            }
            "least_cost" => Is::Least(Measure::Cost, branches),
            "least_latency" => Is::Least(Measure::Latency, branches),
            "least_busy" => Is::Least(Measure::Busy, branches),
            "cheapest_under" => Is::CheapestUnder(self.bound(table, key), branches),
            _ => Is::Sticky(self.sticky(table, key), branches),
        }
    }

    /// Keys that say something about a way to choose which is not there.
    fn misplaced(&mut self, table: &BranchTable, name: &str, key: &str) {
        if table.latency.is_some() && name != "cheapest_under" {
            self.fault(key, "latency belongs to cheapest_under", "remove it, or write cheapest_under = […]");
        }
        if table.by.is_some() && name != "sticky" {
            self.fault(key, "by belongs to sticky", "remove it, or write sticky = […]");
        }
    }

    fn models(&mut self, name: &str, key: &str) -> Is {
        let found = (self.named)(name);
        if found.is_empty() {
            let fix = "name a model as `weirctl check --models` lists it, or add the model";
            self.fault(key, format!("it leads to {name:?}, which no vendor serves"), fix);
        }
        let mut places = Vec::new();
        for model in found {
            let known = self.places.iter().position(|&known| known == model);
            let at = known.unwrap_or_else(|| {
                self.places.push(model);
                self.places.len() - 1
            });
            places.push(at.min(CANDIDATES_MAX - 1) as u8);
        }
        Is::Models(places)
    }

    fn bound(&mut self, table: &BranchTable, key: &str) -> u8 {
        match table.latency.as_deref().map(time::parse) {
            Some(Ok(latency)) => Pace::quantised(latency.as_micros() as u64),
            _ => {
                self.fault(key, "cheapest_under needs a latency", "latency = \"800ms\", to the first event");
                u8::MAX
            }
        }
    }

    fn sticky(&mut self, table: &BranchTable, key: &str) -> u8 {
        let by = match table.by.as_deref() {
            Some("key") => StickyBy::Key,
            Some("user") => StickyBy::User,
            Some("conversation") => StickyBy::Conversation,
            Some(text) if text.strip_prefix("header:").is_some_and(is_header) => {
                StickyBy::Header(text["header:".len()..].to_ascii_lowercase().into())
            }
            _ => {
                self.fault(
                    key,
                    "sticky needs to know by what",
                    "by = \"key\", \"user\", \"conversation\" or \"header:NAME\"",
                );
                StickyBy::Key
            }
        };
        let place = self.sticky.iter().position(|known| *known == by).unwrap_or_else(|| {
            self.sticky.push(by);
            self.sticky.len() - 1
        });
        place.min(STICKY_MAX - 1) as u8
    }

    fn condition(&mut self, when: &WhenDraft, key: &str) -> u8 {
        let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new);
        let mut condition = Condition {
            key: pattern(&when.key),
            tenant: pattern(&when.tenant),
            header: self.pair(when.header.as_deref(), "header", key),
            metadata: self.pair(when.metadata.as_deref(), "metadata", key),
            region: pattern(&when.region),
            prompt_over: when.prompt_over,
            prompt_up_to: when.prompt_up_to,
            ..Condition::default()
        };
        for (bit, wanted) in [
            (need::IMAGES, when.images),
            (need::AUDIO, when.audio),
            (need::FILES, when.files),
            (need::TOOLS, when.tools),
            (need::SCHEMA, when.schema),
            (need::REASONING, when.reasoning),
            (need::STREAM, when.stream),
        ] {
            match wanted {
                Some(true) => condition.needs |= bit,
                Some(false) => condition.needs_not |= bit,
                None => {}
            }
        }
        if condition == Condition::default() {
            self.fault(key, "a condition says nothing", "when = { tools = true }, or remove it");
        }
        self.conditions.push(condition);
        (self.conditions.len() - 1).min(CONDITIONS_MAX - 1) as u8
    }

    fn pair(&mut self, text: Option<&str>, name: &str, key: &str) -> Option<(Arc<str>, Pattern)> {
        let text = text?;
        match text.split_once(':') {
            Some((left, right)) if name == "metadata" || is_header(left) => {
                let left = if name == "header" { left.to_ascii_lowercase() } else { left.to_owned() };
                Some((left.into(), Pattern::new(right.trim())))
            }
            _ => {
                self.fault(key, format!("{name} = {text:?} cannot be compared"), format!("{name} = \"name: pattern\""));
                None
            }
        }
    }

    fn trying(&mut self, is: &RouteDraft) {
        if is.attempts.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
            self.fault("attempts", "attempts is out of range", format!("1 to {ATTEMPTS_MAX}"));
        }
    }

    fn hedge(&mut self, is: &RouteDraft) -> Option<Hedge> {
        let draft = is.hedge.as_ref()?;
        if is.continuation == Some(true) {
            self.fault("hedge", "it hedges and continues", "one of [route.hedge] and continuation = true");
        }
        if is.retry_ambiguous == Some(false) {
            let fix = "one of [route.hedge] and retry_ambiguous = false";
            self.fault("hedge", "it hedges, and says that no call is said twice", fix);
        }
        Some(draft.compile(|(key, what, fix)| self.fault(&key, what, fix)))
    }

    fn mirror(&mut self, is: &RouteDraft, before: Option<&Route>) -> Option<Mirror> {
        let draft = is.mirror.as_ref()?;
        if !(1..=100).contains(&draft.percent) {
            self.fault("mirror.percent", format!("percent = {} is out of range", draft.percent), "1 to 100");
        }
        let model = match (self.named)(&draft.to)[..] {
            [model] => model,
            [] => {
                let fix = "add it to the catalog, or correct the name";
                self.fault("mirror.to", format!("there is no model {:?}", draft.to), fix);
                return None;
            }
            _ => {
                let what = format!("{:?} is served by several vendors", draft.to);
                self.fault("mirror.to", what, "say which one: VENDOR/MODEL");
                return None;
            }
        };
        let before = before.and_then(|route| route.mirror.as_ref()).filter(|mirror| *mirror.to == *draft.to);
        let tally = before.map(|mirror| Arc::clone(&mirror.tally)).unwrap_or_default();
        Some(Mirror { to: draft.to.as_str().into(), model, percent: draft.percent, tally })
    }

    fn fan_out(&mut self, is: &RouteDraft) -> u32 {
        let Some(answers) = is.fan_out else { return 1 };
        if !(2..=ATTEMPTS_MAX).contains(&answers) {
            let fix = format!("2 to {ATTEMPTS_MAX}, or leave it out");
            self.fault("fan_out", format!("fan_out = {answers} is out of range"), fix);
        }
        if is.hedge.is_some() || is.continuation == Some(true) {
            let fix = "fan_out alone: all of its candidates are asked from the start";
            self.fault("fan_out", "several answers, and a hedge or continuation", fix);
        }
        answers.clamp(1, ATTEMPTS_MAX)
    }

    fn bounds(&mut self) {
        for (count, most, what) in [
            (self.places.len(), CANDIDATES_MAX, "candidates"),
            (self.conditions.len(), CONDITIONS_MAX, "conditions"),
            (self.sticky.len(), STICKY_MAX, "different things that it sticks to"),
            (self.branches, BRANCHES_MAX, "branches"),
        ] {
            if count > most {
                self.fault("to", format!("it has {count} {what}"), format!("at most {most}"));
            }
        }
    }
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

const WAYS: &str = "a model's name, or one of order, weight, split, least_cost, least_latency, least_busy, \
                    cheapest_under, sticky";
