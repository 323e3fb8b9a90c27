//! The first of two vendors turns bad in the midst of a load of streams, and is well again later.

use std::io;
use std::time::Duration;

use super::Row;
use super::site::{Call, Site, metric};
use crate::clock::Moment;
use crate::deployment::Node;
use crate::load::Mode;

const FIRST: &str = "name=first,events=3";
const SECOND: &str = "name=second,events=3";
/// What vendors do when they go down.
const FAULTS: [&str; 4] = ["error=503", "error=429", "fault=reset@0", "fault=reset"];
/// Into the load, so that what follows is most of it.
const TURNS_AFTER: Duration = Duration::from_millis(500);

pub fn measure(site: &Site, say: &mut dyn FnMut(&str)) -> io::Result<Vec<Row>> {
    let route = "[[route]]\nname = \"r\"\nto.order = [\"first\", \"second\"]\n";
    site.deployment.write(&[&site.model("first", FIRST), &site.model("second", SECOND), route].concat())?;
    site.deployment.ctl(&["apply"])?;
    let key = site.key(&[])?;
    let node = site.node(2, None, 0)?;
    let call = Call { key: &key, model: "r", stream: true, body_bytes: 512 };
    let mode = Mode::Open(site.options.rate);
    let (mut failed, mut slower, mut opened, mut back) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    site.load(&node, &call, mode, 0.0)?.join()?;
    for round in 0..site.options.rounds {
        for fault in FAULTS {
            say(&format!("failover · {fault} · {} of {}", round + 1, site.options.rounds));
            let before = site.load(&node, &call, mode, 0.5)?.join()?;
            let running = site.load(&node, &call, mode, 0.0)?;
            std::thread::sleep(TURNS_AFTER);
            site.vendor.set(FIRST, fault).map_err(io::Error::other)?;
            // 429 cools, it does not trip.
            if fault != "error=429" {
                opened.push(until(Duration::from_secs(5), || breaker(&node).map(|state| state == 3.0))?);
            }
            let during = running.join()?;
            failed.push((before.failed + during.failed) as f64);
            slower.push(during.first_event_us.p99 as f64 / before.first_event_us.p99.max(1) as f64);
            back.push(recovery(site, &node, &call, mode)?);
        }
    }
    let rate = site.options.rate;
    Ok(vec![
        Row::tail("failover", format!("calls of {rate}/s that failed, for each fault"), failed, Some(0.0)),
        Row::middle("", "p99 to the first event while it turns, × before".into(), slower, Some(2.0)),
        Row::tail("", "from the vendor's turn to the open breaker, ms".into(), opened, Some(100.0)),
        Row::tail("", "from the vendor's recovery to its first good answer, ms".into(), back, Some(5_000.0)),
    ])
}

fn breaker(node: &Node) -> io::Result<f64> {
    let name = "weir_candidate_breaker{vendor=\"first\",model=\"first\",credential=\"main\"}";
    Ok(metric(node, name)?.unwrap_or(0.0))
}

/// The vendor is well; how long it takes until it answers calls again, and until it takes all of them.
fn recovery(site: &Site, node: &Node, call: &Call<'_>, mode: Mode) -> io::Result<f64> {
    let running = site.load(node, call, mode, 0.0)?;
    let finished = || site.vendor.counter(FIRST).finished;
    let before = finished();
    site.vendor.set(FIRST, "").map_err(io::Error::other)?;
    let took = until(Duration::from_secs(10), || Ok(finished() > before))?;
    running.stop()?;
    let whole = site.load(node, call, mode, 0.0)?;
    until(Duration::from_secs(15), || breaker(node).map(|state| state == 0.0))?;
    whole.stop()?;
    Ok(took)
}

/// How long it took, in milliseconds.
fn until(patience: Duration, mut is: impl FnMut() -> io::Result<bool>) -> io::Result<f64> {
    let begun = Moment::now();
    while !is()? {
        if begun.elapsed() > patience {
            return Err(io::Error::other(format!("nothing came of it in {patience:?}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}
