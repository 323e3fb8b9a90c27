//! `apply --wait` to several nodes: an alias that leads elsewhere, again and again.

use std::io;

use super::{Rig, Row, model_table};
use crate::deployment::{Deployment, Node};

pub fn measure(rig: &mut Rig<'_>) -> io::Result<Vec<Row>> {
    let (deployment, nodes) = fleet(rig, "applied")?;
    let (mut followed, mut whole) = (Vec::new(), Vec::new());
    for change in 1..=rig.options.changes {
        (rig.say)(&format!("applied · {change} of {}", rig.options.changes));
        deployment.write(&text(rig, change))?;
        let (said, took) = deployment.ctl(&["apply", "--wait"])?;
        let times: Vec<u64> =
            said["nodes"].as_array().into_iter().flatten().filter_map(|node| node["ms"].as_u64()).collect();
        if times.len() != nodes.len() {
            return Err(io::Error::other(format!("{} of {} nodes answered", times.len(), nodes.len())));
        }
        followed.push(times.iter().copied().max().unwrap_or(0) as f64);
        whole.push(took.as_secs_f64() * 1_000.0);
    }
    let what = |words: &str| format!("{words}, {} nodes, ms", nodes.len());
    Ok(vec![
        Row::tail("applied", what("from published to applied by all"), followed, Some(100.0)),
        Row::tail("", what("the whole of `apply --wait`"), whole, Some(100.0)),
    ])
}

/// A deployment with three models, and its nodes.
pub fn fleet(rig: &mut Rig<'_>, name: &str) -> io::Result<(Deployment, Vec<Node>)> {
    let deployment = rig.deployment(name)?;
    deployment.write(&text(rig, 0))?;
    deployment.ctl(&["apply"])?;
    // It makes the secrets that all nodes share.
    deployment.ctl(&["key", "create", "--name", name])?;
    let nodes: io::Result<Vec<Node>> =
        (0..rig.options.nodes).map(|number| deployment.node(&format!("n{number}"), rig.options.cores, None)).collect();
    Ok((deployment, nodes?))
}

/// The operator's folder at this change.
fn text(rig: &Rig<'_>, change: usize) -> String {
    let models: String = ["a", "b", "c"].map(|id| model_table("v", id)).concat();
    let leads = if change.is_multiple_of(2) { "a" } else { "b" };
    format!("{}{models}[alias]\nquick = \"{leads}\"\nnumber-{change} = \"c\"\n", rig.vendor_table("v"))
}
