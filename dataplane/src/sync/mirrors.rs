//! How the models that routes mirror to did beside those whose answers counted, for `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_shared::policy::mirroring::{Mirror, MirrorTally, Sums};

use crate::live::Live;

pub fn metrics(live: &Live, out: &mut String) {
    let routes = live.snapshot.catalog.routes();
    let mirrors: Vec<(&str, &Mirror)> =
        routes.filter_map(|route| Some((&*route.name, route.mirror.as_ref()?))).collect();
    if mirrors.is_empty() {
        return;
    }
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let _ = writeln!(
        out,
        "# HELP weir_mirror_compared_total Calls that were mirrored, by who answered them well.\n\
         # TYPE weir_mirror_compared_total counter"
    );
    for (route, mirror) in &mirrors {
        for (name, count) in MirrorTally::OUTCOMES.iter().zip(&mirror.tally.outcomes) {
            let labels = labels(route, mirror);
            let _ = writeln!(out, "weir_mirror_compared_total{{{labels},good=\"{name}\"}} {}", load(count));
        }
    }
    let _ = writeln!(
        out,
        "# HELP weir_mirror_not_sent_total Calls that were drawn to be mirrored, and were not.\n\
         # TYPE weir_mirror_not_sent_total counter"
    );
    for (route, mirror) in &mirrors {
        let labels = labels(route, mirror);
        let _ = writeln!(out, "weir_mirror_not_sent_total{{{labels}}} {}", load(&mirror.tally.not_sent));
    }
    type Of = fn(&Sums) -> &AtomicU64;
    let sums: [(&str, &str, Of); 4] = [
        ("weir_mirror_first_byte_microseconds_total", "Time to the first byte of", |sums| &sums.first_byte_us),
        ("weir_mirror_microseconds_total", "Time to the end of", |sums| &sums.total_us),
        ("weir_mirror_tokens_output_total", "Tokens in", |sums| &sums.tokens_out),
        ("weir_mirror_cost_nanodollars_total", "Cost of", |sums| &sums.cost_nano),
    ];
    for (name, what, of) in sums {
        let _ = writeln!(
            out,
            "# HELP {name} {what} answers to calls that both sides answered well.\n# TYPE {name} counter"
        );
        for (route, mirror) in &mirrors {
            for (side, sums) in [("original", &mirror.tally.original), ("mirror", &mirror.tally.mirror)] {
                let _ = writeln!(out, "{name}{{{},side=\"{side}\"}} {}", labels(route, mirror), load(of(sums)));
            }
        }
    }
}

/// Names of routes and models have no characters that a label would have to escape.
fn labels(route: &str, mirror: &Mirror) -> String {
    format!("route=\"{route}\",to=\"{}\"", mirror.to)
}
