//! From `key revoke` to the refusal on every core of every node, while the key is used on all of them.

use std::io;
use std::time::Duration;

use super::applied;
use super::probe::Probe;
use super::{PATIENCE, Rig, Row};
use crate::clock::Moment;

pub fn measure(rig: &mut Rig<'_>) -> io::Result<Vec<Row>> {
    let (deployment, nodes) = applied::fleet(rig, "revoked")?;
    let (mut refused, mut whole) = (Vec::new(), Vec::new());
    // Who was refused often within a minute is told to wait, whatever key it shows.
    let changes = rig.options.changes.min(REFUSALS_MAX);
    for change in 1..=changes {
        (rig.say)(&format!("revoked · {change} of {changes}"));
        let (made, _) = deployment.ctl(&["key", "create", "--wait"])?;
        let (Some(id), Some(key)) = (made["id"].as_str(), made["key"].as_str()) else {
            return Err(io::Error::other(format!("no key in {made}")));
        };
        let mut probes = Vec::new();
        for node in &nodes {
            probes.extend(Probe::all(node, rig.options.cores, key)?);
        }
        let mut revoke = deployment.command(&["key", "revoke", id, "--wait"]);
        let begun = Moment::now();
        let command = std::thread::spawn(move || crate::gateway::output(&mut revoke).map(|_| begun.elapsed()));
        refused.push(until_refused(probes, key, begun)?.as_secs_f64() * 1_000.0);
        let took = command.join().map_err(|_| io::Error::other("the command's thread panicked"))??;
        whole.push(took.as_secs_f64() * 1_000.0);
    }
    let cores = rig.options.cores * nodes.len();
    Ok(vec![
        Row::tail(
            "revoked",
            format!("from the start of `key revoke` to 401 on all {cores} cores, ms"),
            refused,
            Some(200.0),
        ),
        Row::tail("", "the whole of `key revoke --wait`, ms".into(), whole, None),
    ])
}

/// How long it takes until every core has refused the key. Once refused, a connection is asked no more.
fn until_refused(mut probes: Vec<Probe>, key: &str, begun: Moment) -> io::Result<Duration> {
    loop {
        for probe in &mut probes {
            probe.send(key)?;
        }
        let mut still = Vec::new();
        for mut probe in probes {
            match probe.status()? {
                200 => still.push(probe),
                401 => {}
                status => return Err(io::Error::other(format!("{}: {status}", probe.name))),
            }
        }
        if still.is_empty() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{} still serves a revoked key", still[0].name)));
        }
        probes = still;
        std::thread::sleep(BETWEEN);
    }
}

/// Twenty cores that are asked without a pause would leave nothing of a small machine to the change itself.
const BETWEEN: Duration = Duration::from_millis(2);

/// Below what one address may get wrong within a minute.
const REFUSALS_MAX: usize = 150;
