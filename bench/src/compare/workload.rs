//! What is measured: one file of data for each, in `bench/scenario`.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{DIRECT, PASS, WEIR};
use crate::load::Dialect;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    #[serde(default)]
    pub name: String,
    pub about: String,
    pub kind: Kind,
    #[serde(default)]
    pub unit: Unit,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub tls: bool,
    /// Words for the synthetic vendor.
    #[serde(default)]
    pub scenario: String,
    /// Callers, idle connections, or tries.
    #[serde(default = "one")]
    pub callers: usize,
    /// Requests a second, open loop.
    #[serde(default)]
    pub rate: u64,
    #[serde(default = "body_bytes")]
    pub body_bytes: usize,
    #[serde(default)]
    pub keys: usize,
    #[serde(default)]
    pub models: usize,
    /// What callers speak.
    #[serde(default)]
    pub caller: Dialect,
    /// What the vendor speaks, when it is another language than the callers'.
    #[serde(default)]
    pub vendor: Option<Dialect>,
    /// Stands for one workload of each caller's and each vendor's language.
    #[serde(default)]
    pub pairs: bool,
    /// Too long for every run: only measured when it is named.
    #[serde(default)]
    pub on_demand: bool,
    /// The name leads to a route with so many candidates, with conditions, measures and constraints.
    #[serde(default = "one")]
    pub candidates: usize,
    /// The name leads to a route of two candidates that may be asked at once; `pass` is the same one after the other.
    #[serde(default)]
    pub hedge: bool,
    /// Messages of a conversation.
    #[serde(default = "one")]
    pub turns: usize,
    /// At most so many times what our own pass-through takes for the same callers.
    pub goal_pass: Option<f64>,
    /// At most so many times nginx.
    pub goal_nginx: Option<f64>,
    /// At most so many KiB for each stream or connection.
    pub goal_kib: Option<f64>,
    pub goal_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processor time for each unit, by the scheduler's own accounting.
    Cost,
    Latency,
    FirstEvent,
    Idle,
    Hangup,
    Start,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    #[default]
    Request,
    Event,
}

impl Workload {
    /// Does this contender take part?
    pub fn asks(&self, contender: &str) -> bool {
        let own = self.vendor.is_some() || self.candidates > 1 || self.hedge;
        if own || contender == PASS {
            // Nobody else translates or chooses.
            return own && [WEIR, PASS].contains(&contender);
        }
        match self.kind {
            Kind::Latency | Kind::FirstEvent => true,
            Kind::Start => contender == WEIR,
            _ => contender != DIRECT,
        }
    }

    pub fn warmup(&self) -> Duration {
        // A thousand streams need their time to begin; everything else is warm after a few thousand requests.
        Duration::from_millis(if self.callers > 256 { 2500 } else { 1000 })
    }

    /// Itself, or one for each pair of languages.
    fn each(self) -> Vec<Workload> {
        if !self.pairs {
            return vec![self];
        }
        let languages = || Dialect::value_variants().iter().copied();
        let pairs = languages().flat_map(|caller| languages().map(move |vendor| (caller, vendor)));
        let of = |(caller, vendor): (Dialect, Dialect)| Workload {
            name: format!("{}-{}", caller.name(), vendor.name()),
            caller,
            vendor: Some(vendor),
            ..self.clone()
        };
        pairs.filter(|(caller, vendor)| caller != vendor).map(of).collect()
    }

    fn parse(name: &str, text: &str) -> io::Result<Workload> {
        let mut workload: Workload = toml::from_str(text).map_err(|e| io::Error::other(format!("{name}: {e}")))?;
        workload.name = name.to_owned();
        Ok(workload)
    }
}

/// The built-in workloads in their order, those of a folder behind them (or in their place when the name is the same).
pub fn load(folder: Option<&Path>, only: &[String]) -> io::Result<Vec<Workload>> {
    let mut workloads =
        BUILT_IN.iter().map(|(name, text)| Workload::parse(name, text)).collect::<io::Result<Vec<_>>>()?;
    if let Some(folder) = folder {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml")) else { continue };
            let workload = Workload::parse(name, &std::fs::read_to_string(&path)?)?;
            match workloads.iter_mut().find(|known| known.name == name) {
                Some(known) => *known = workload,
                None => workloads.push(workload),
            }
        }
    }
    let mut wanted = Vec::new();
    for family in &workloads {
        let is_asked = |each: &Workload| match only {
            [] => !family.on_demand,
            only => only.contains(&family.name) || only.contains(&each.name),
        };
        wanted.extend(family.clone().each().into_iter().filter(is_asked));
    }
    let is_known = |name: &&String| {
        workloads.iter().any(|family| family.name == **name) || wanted.iter().any(|each| each.name == **name)
    };
    if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
        let names: Vec<&str> = workloads.iter().map(|w| w.name.as_str()).collect();
        return Err(io::Error::other(format!("no workload `{unknown}`; there are {}", names.join(", "))));
    }
    Ok(wanted)
}

fn one() -> usize {
    1
}

/// A short question: what a gateway does for each request must not hide behind copying.
fn body_bytes() -> usize {
    512
}

macro_rules! built_in {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../scenario/", $name, ".toml")))),*]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in![
    "unary",
    "slow_streams",
    "burst_events",
    "burst_whole",
    "unary_tls",
    "unary_routed",
    "slow_streams_tls",
    "latency",
    "first_event",
    "hedged_tail",
    "idle",
    "idle_tls",
    "start",
    "hangup",
    "translate_burst",
    "translate_unary_4k",
    "translate_unary_200k",
    "translate_pairs"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_workloads_are_good() {
        let all = load(None, &[]).unwrap();
        // The pairs are asked for by name.
        assert_eq!(all.len(), BUILT_IN.len() - 1);
        assert_eq!(load(None, &["translate_pairs".to_owned()]).unwrap().len(), 30);
        for workload in all {
            assert!(crate::provider::scenario::parse(&workload.scenario).is_ok(), "{}", workload.name);
        }
        assert_eq!(load(None, &["unary".to_owned()]).unwrap().len(), 1);
        assert_eq!(load(None, &["gemini-cohere".to_owned()]).unwrap()[0].vendor, Some(Dialect::Cohere));
        assert!(load(None, &["nothing".to_owned()]).is_err());
    }
}
