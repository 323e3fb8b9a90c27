//! One tenant asks for ten times what it may, beside another that asks for little.

use std::io;

use super::Row;
use super::site::{Call, Site};
use crate::load::Mode;

const WORDS: &str = "name=quick,events=3";
/// Of the quiet tenant, a second.
const QUIET: u64 = 50;
/// What the noisy one may ask, a second.
const MAY: u64 = 50;

pub fn measure(site: &Site, say: &mut dyn FnMut(&str)) -> io::Result<Vec<Row>> {
    let tenants = "[[tenant]]\nname = \"quiet\"\n[[tenant]]\nname = \"noisy\"\n";
    site.deployment.write(&[&site.model("quick", WORDS), tenants].concat())?;
    site.deployment.ctl(&["apply"])?;
    let quiet = site.key(&["--tenant", "quiet", "--name", "quiet"])?;
    let noisy = site.key(&["--tenant", "noisy", "--name", "noisy", "--rpm", &(MAY * 60).to_string()])?;
    let node = site.node(1, Some(site.options.node_core), site.options.shed_after_ms)?;
    let (mut slower, mut failed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let calm = Call { key: &quiet, model: "quick", stream: true, body_bytes: 512 };
    let loud = Call { key: &noisy, ..calm };
    for round in 1..=site.options.rounds {
        say(&format!("noisy · {round} of {}", site.options.rounds));
        // What it may is asked before and meanwhile: what is compared is the nine times beyond.
        let beside = site.load(&node, &loud, Mode::Open(MAY), 0.0)?;
        let before = site.load(&node, &calm, Mode::Open(QUIET), 0.5)?.join()?;
        beside.stop()?;
        let beside = site.load(&node, &loud, Mode::Open(10 * MAY), 0.0)?;
        let meanwhile = site.load(&node, &calm, Mode::Open(QUIET), 0.5)?.join()?;
        let noise = beside.stop()?;
        slower.push(meanwhile.first_event_us.p99 as f64 / before.first_event_us.p99.max(1) as f64);
        failed.push((before.failed + meanwhile.failed) as f64);
        refused.push(100.0 * noise.failed as f64 / noise.requests.max(1) as f64);
    }
    Ok(vec![
        Row::middle("noisy", "the quiet tenant's p99 to the first event, × before".into(), slower, Some(1.1)),
        Row::tail("", "its calls that failed".into(), failed, Some(0.0)),
        Row::middle("", "the noisy tenant's calls that were refused, %".into(), refused, None),
    ])
}
