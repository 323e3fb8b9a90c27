//! One key of very many changes: what that costs a node, and what its traffic feels of it.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{PATIENCE, Rig, Row, SETTLED};
use crate::clock::Moment;
use crate::deployment::{Deployment, Node, on_core};
use crate::load::{self, Mode, Target, target::Wish};
use crate::meter;

pub fn measure(rig: &mut Rig<'_>) -> io::Result<Vec<Row>> {
    let (node_core, changes) = (rig.options.node_core, rig.options.changes.min(CHANGES_MAX));
    let mut many = {
        rig.many()?;
        rig.many.take()
    }
    .ok_or_else(|| io::Error::other("no deployment"))?;
    let node = many.deployment.node("measured", 1, Some(node_core))?;
    node.chat(&many.keys[0].1, "m0")?;
    std::thread::sleep(SETTLED);
    many.deployment.ctl_by = beside(rig);
    let id = many.keys[1].0.clone();
    let cost = cost(rig, &many.deployment, &node, &id, changes)?;
    let kib = meter::rss_kib(&[node.pid()]) as f64 / 1024.0;
    let mut rows = vec![
        Row::middle(
            "one_key",
            format!("processor of a node for one changed key of {}, ms", rig.options.keys),
            cost,
            Some(1.0),
        ),
        Row::middle("", format!("memory of the node after {changes} changes, MiB"), vec![kib], None),
    ];
    if rig.etcd.is_none() {
        rows.extend(felt(rig, &many.deployment, &node, &many.keys[0].1, &id)?);
    }
    rig.many = Some(many);
    Ok(rows)
}

/// Processor time between before the change and when everything is over, less what the node takes when nothing happens.
fn cost(rig: &mut Rig<'_>, deployment: &Deployment, node: &Node, id: &str, changes: usize) -> io::Result<Vec<f64>> {
    let pid = [node.pid()];
    let (from, cpu) = (Moment::now(), meter::cpu_ns(&pid));
    std::thread::sleep(IDLE_WINDOW);
    let idle = (meter::cpu_ns(&pid) - cpu) as f64 / from.elapsed().as_nanos() as f64;
    let mut costs = Vec::new();
    for change in 1..=changes {
        (rig.say)(&format!("one_key · {change} of {changes}"));
        let before = node.revision()?;
        let (from, cpu) = (Moment::now(), meter::cpu_ns(&pid));
        change_key(deployment, id, change)?;
        std::thread::sleep(SETTLED);
        let (cpu, span) = ((meter::cpu_ns(&pid) - cpu) as f64, from.elapsed().as_nanos() as f64);
        costs.push((cpu - idle * span) / 1e6);
        if node.revision()? == before {
            return Err(io::Error::other(format!("{} does not follow a change", node.name)));
        }
    }
    Ok(costs)
}

fn change_key(deployment: &Deployment, id: &str, change: usize) -> io::Result<()> {
    let limit = (1_000_000 + change).to_string();
    deployment.ctl(&["limit", "set", id, "--rpm", &limit]).map(drop)
}

/// The p99 of traffic while keys change, beside the same changes in a copy of the store that the node does not follow: so
/// that what the command line itself takes from the machine is in both.
fn felt(rig: &mut Rig<'_>, deployment: &Deployment, node: &Node, key: &str, id: &str) -> io::Result<Vec<Row>> {
    let mut elsewhere = rig.deployment("elsewhere")?;
    elsewhere.ctl_by = beside(rig);
    let (from, to) = (folder_of(&deployment.store), folder_of(&elsewhere.store));
    copy(Path::new(from), Path::new(to))?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        (rig.say)(&format!("one_key · traffic {round} of {ROUNDS}"));
        without.push(p99(rig, &elsewhere, node, key, id, round)?);
        with.push(p99(rig, deployment, node, key, id, round)?);
    }
    Ok(vec![
        Row::middle("", format!("p99 of {RATE} requests a second while keys change, µs"), with, None),
        Row::middle("", "p99 while the same keys change in a store that it does not follow, µs".into(), without, None),
    ])
}

fn p99(rig: &Rig<'_>, changed: &Deployment, node: &Node, key: &str, id: &str, round: usize) -> io::Result<f64> {
    let target = Target::new(&Wish {
        url: &format!("http://{}", node.data),
        key,
        dialect: load::Dialect::Openai,
        model: "m0",
        stream: false,
        body_bytes: 512,
        turns: 1,
        tls_ca: None,
    })?;
    let running = load::start(load::Options {
        target,
        mode: Mode::Open(RATE),
        duration: None,
        requests: None,
        warmup: Duration::from_millis(300),
        keepalive: true,
        judge: false,
        patience: PATIENCE,
        connections_max: load::CONNECTIONS_MAX,
        pin: Some(rig.options.rig_core),
    })?;
    let begun = Moment::now();
    let mut change = round * 1_000;
    while begun.elapsed() < TRAFFIC_WINDOW {
        change_key(changed, id, change)?;
        change += 1;
    }
    let report = running.stop()?;
    match report.failed {
        0 => Ok(report.answer_us.p99 as f64),
        failed => Err(io::Error::other(format!("{failed} requests failed: {:?}", report.failures))),
    }
}

/// The command line takes only what nobody else wants of the rig's processor.
fn beside(rig: &Rig<'_>) -> Vec<String> {
    let idle = ["chrt", "--idle", "0"].map(str::to_owned).to_vec();
    [on_core(rig.options.rig_core), idle].concat()
}

fn folder_of(store: &str) -> &str {
    store.strip_prefix("folder:").unwrap_or(store)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            // Who follows the one store does not follow the other.
            true if entry.file_name() == "nodes" => {}
            true => copy(&entry.path(), &there)?,
            false => drop(std::fs::copy(entry.path(), there)?),
        }
    }
    Ok(())
}

const IDLE_WINDOW: Duration = Duration::from_secs(10);
const CHANGES_MAX: usize = 20;
const ROUNDS: usize = 5;
const RATE: u64 = 500;
const TRAFFIC_WINDOW: Duration = Duration::from_secs(3);
