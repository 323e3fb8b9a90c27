//! Three times as many calls as a core can serve: with long answers that are translated, so that the node is the one that is
//! short of time, and not the rig on the other processor.

use std::io;

use super::Row;
use super::site::{Call, Site};
use crate::load::Mode;

const WORDS: &str = "name=usual,events=2000,text=200";
const BODY_BYTES: usize = 512;
const CALLERS: usize = 64;

pub fn measure(site: &Site, say: &mut dyn FnMut(&str)) -> io::Result<Vec<Row>> {
    site.deployment.write(&site.model_speaking("usual", WORDS, "anthropic"))?;
    site.deployment.ctl(&["apply"])?;
    let key = site.key(&[])?;
    let (mut goodput, mut shed, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let (mut refused_p50, mut refused_p99, mut answer_p99) = (Vec::new(), Vec::new(), Vec::new());
    let node = site.node(1, Some(site.options.node_core), site.options.shed_after_ms)?;
    let call = Call { key: &key, model: "usual", stream: false, body_bytes: BODY_BYTES };
    for round in 1..=site.options.rounds {
        say(&format!("overload · {round} of {}", site.options.rounds));
        let peak = site.load(&node, &call, Mode::Closed(CALLERS), 1.0)?.join()?;
        let rate = (peak.requests_per_second * 3.0) as u64;
        let over = site.load(&node, &call, Mode::Open(rate.max(1)), 2.0)?.join()?;
        goodput.push(100.0 * over.requests_per_second / peak.requests_per_second.max(1e-9));
        let refused = over.failures.get("status 503").copied().unwrap_or(0);
        let due = (rate as f64 * over.seconds).max(1.0);
        shed.push(100.0 * refused as f64 / due);
        lost.push(100.0 * (over.failed - refused) as f64 / due);
        answer_p99.push(over.answer_us.p99 as f64 / 1_000.0);
        say(&format!(
            "overload · {rate}/s due, {:.0}/s served of {:.0}, {:?}",
            over.requests_per_second, peak.requests_per_second, over.failures
        ));
        // Without refusals nothing was measured.
        if refused > 0 {
            refused_p50.push(over.refused_us.p50 as f64 / 1_000.0);
            refused_p99.push(over.refused_us.p99 as f64 / 1_000.0);
        }
    }
    let inverse = goodput.iter().map(|percent| 100.0 - percent).collect();
    let after = site.options.shed_after_ms;
    Ok(vec![
        Row::middle("overload", "goodput lost at 3 × capacity, % of the peak".into(), inverse, Some(10.0)),
        Row::middle("", "calls that were refused with 503, % of those due".into(), shed, None),
        Row::tail("", "calls that failed in another way, %".into(), lost, Some(0.0)),
        Row::middle("", "p99 of those that were served, ms".into(), answer_p99, None),
        Row::middle(
            "",
            format!("p50 of a refusal from when it was due (--shed-after-ms {after}), ms"),
            refused_p50,
            None,
        ),
        Row::middle("", "p99 of the same, ms".into(), refused_p99, Some(5.0)),
    ])
}
