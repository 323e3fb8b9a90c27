//! Three times as many calls as a core can serve: long ones that are translated, so that the node is the one that is short of
//! time, and not the rig on the other processor.

use std::io;

use super::Row;
use super::site::{Call, Site};
use crate::load::Mode;

const WORDS: &str = "name=usual,events=20";
const BODY_BYTES: usize = 64 << 10;
const CALLERS: usize = 64;

pub fn measure(site: &Site, say: &mut dyn FnMut(&str)) -> io::Result<Vec<Row>> {
    site.deployment.write(&site.model_speaking("usual", WORDS, "anthropic"))?;
    site.deployment.ctl(&["apply"])?;
    let key = site.key(&[])?;
    let (mut goodput, mut shed, mut refused_p50, mut refused_p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let node = site.node(1, Some(site.options.node_core), site.options.shed_after_ms)?;
    let call = Call { key: &key, model: "usual", stream: false, body_bytes: BODY_BYTES };
    for round in 1..=site.options.rounds {
        say(&format!("overload · {round} of {}", site.options.rounds));
        let peak = site.load(&node, &call, Mode::Closed(CALLERS), 1.0)?.join()?;
        let rate = (peak.requests_per_second * 3.0) as u64;
        let over = site.load(&node, &call, Mode::Open(rate.max(1)), 2.0)?.join()?;
        goodput.push(100.0 * over.requests_per_second / peak.requests_per_second.max(1e-9));
        shed.push(100.0 * over.failed as f64 / over.requests.max(1) as f64);
        // Without refusals nothing was measured.
        if over.failed > 0 {
            refused_p50.push(over.refused_us.p50 as f64 / 1_000.0);
            refused_p99.push(over.refused_us.p99 as f64 / 1_000.0);
        }
    }
    let inverse = goodput.iter().map(|percent| 100.0 - percent).collect();
    let after = site.options.shed_after_ms;
    Ok(vec![
        Row::middle("overload", "goodput lost at 3 × capacity, % of the peak".into(), inverse, Some(10.0)),
        Row::middle(
            "",
            format!("p50 of a refusal from when it was due (--shed-after-ms {after}), ms"),
            refused_p50,
            None,
        ),
        Row::middle("", "p99 of the same, ms".into(), refused_p99, Some(5.0)),
    ])
}
