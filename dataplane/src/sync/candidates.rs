//! How each candidate does, for those who look on: a model by one of its vendor's credentials. Only candidates that were
//! asked on this node are told, so that a large catalog makes no large page.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use weir_shared::health::{Health, Left, PACE_BUCKETS, Room, Standing};
use weir_shared::policy::resilience::Harm;

use crate::clock;
use crate::live::Live;

struct Row<'l> {
    vendor: &'l str,
    model: &'l str,
    credential: &'l str,
    health: &'l Health,
    standing: Standing,
}

fn rows(live: &Live) -> impl Iterator<Item = Row<'_>> {
    let now_ms = clock::now() / 1_000_000;
    live.snapshot.catalog.models.iter().flat_map(move |model| {
        let vendor = live.snapshot.vendor_of(model);
        model.health.iter().zip(&vendor.credentials).filter_map(move |(cell, credential)| {
            let health = cell.known()?;
            let standing = health.breaker.standing(&vendor.breaker, now_ms);
            Some(Row { vendor: &vendor.name, model: &model.id, credential: &credential.name, health, standing })
        })
    })
}

impl Row<'_> {
    /// Names of the operator's, which hold no quotes.
    fn labels(&self) -> String {
        format!("vendor=\"{}\",model=\"{}\",credential=\"{}\"", self.vendor, self.model, self.credential)
    }

    fn state(&self, now_ms: u64) -> &'static str {
        match self.standing {
            _ if self.health.cools_for(now_ms).is_some() => "cooling",
            Standing::Passing if matches!(self.health.quota.room(0, 0, now_ms), Room::None { .. }) => "spent",
            Standing::Passing => "passing",
            Standing::Ramping { .. } => "ramping",
            Standing::Due | Standing::Tripped { .. } => "tripped",
        }
    }
}

pub fn status(live: &Live) -> Value {
    let now_ms = clock::now() / 1_000_000;
    let told = |row: Row<'_>| {
        let tally = &row.health.tally;
        let of = |cell: &std::sync::atomic::AtomicU64| cell.load(Ordering::Relaxed);
        let harms: serde_json::Map<String, Value> = Harm::ALL
            .iter()
            .filter(|harm| of(&tally.harms[**harm as usize]) > 0)
            .map(|harm| (harm.name().to_owned(), of(&tally.harms[*harm as usize]).into()))
            .collect();
        let quota = &row.health.quota;
        let quota: serde_json::Map<String, Value> = [("requests", &quota.requests), ("tokens", &quota.tokens)]
            .into_iter()
            .filter_map(|(name, window)| Some((name.to_owned(), told_left(window.read(now_ms)?))))
            .collect();
        json!({
            "vendor": row.vendor, "model": row.model, "credential": row.credential, "state": row.state(now_ms),
            "running": row.health.running(), "attempts": of(&tally.attempts), "good": of(&tally.good),
            "limited": of(&tally.limited), "harms": harms, "first_event_us": row.health.pace.read(now_ms),
            "first_event_p95_us": row.health.pace.slowest(), "cost_nano": of(&tally.cost_nano),
            "tokens_out": of(&tally.tokens_out), "quota": quota,
        })
    };
    rows(live).map(told).collect()
}

fn told_left(left: Left) -> Value {
    json!({"left": left.left, "limit": left.limit, "full_in_ms": left.full_in_ms})
}

pub fn metrics(live: &Live, out: &mut String) {
    let rows: Vec<Row<'_>> = rows(live).collect();
    if rows.is_empty() {
        return;
    }
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Row<'_>) -> u64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for row in &rows {
            let _ = writeln!(out, "{name}{{{}}} {}", row.labels(), value(row));
        }
    };
    let load = |cell: &std::sync::atomic::AtomicU64| cell.load(Ordering::Relaxed);
    family("weir_candidate_attempts_total", "counter", "Calls made to a candidate.", &|row| {
        load(&row.health.tally.attempts)
    });
    family("weir_candidate_good_total", "counter", "Calls that a candidate answered well.", &|row| {
        load(&row.health.tally.good)
    });
    family("weir_candidate_limited_total", "counter", "Calls that a candidate answered with 429.", &|row| {
        load(&row.health.tally.limited)
    });
    family("weir_candidate_running", "gauge", "Calls to a candidate under way.", &|row| {
        u64::from(row.health.running())
    });
    family("weir_candidate_tokens_output_total", "counter", "Tokens that a candidate wrote.", &|row| {
        load(&row.health.tally.tokens_out)
    });
    family("weir_candidate_cost_nanodollars_total", "counter", "What a candidate charged.", &|row| {
        load(&row.health.tally.cost_nano)
    });
    family("weir_candidate_breaker", "gauge", "0 passing, 1 ramping, 2 may be probed, 3 tripped.", &|row| match row
        .standing
    {
        Standing::Passing => 0,
        Standing::Ramping { .. } => 1,
        Standing::Due => 2,
        Standing::Tripped { .. } => 3,
    });
    quotas(&rows, out);
    let _ = writeln!(
        out,
        "# HELP weir_candidate_harm_total What went wrong at a candidate.\n# TYPE weir_candidate_harm_total counter"
    );
    for row in &rows {
        for &harm in Harm::ALL {
            let count = load(&row.health.tally.harms[harm as usize]);
            if count > 0 {
                let _ = writeln!(out, "weir_candidate_harm_total{{{},harm=\"{}\"}} {count}", row.labels(), harm.name());
            }
        }
    }
    first_events(&rows, out);
}

/// Only of those whose vendors said something of late.
fn quotas(rows: &[Row<'_>], out: &mut String) {
    let now_ms = clock::now() / 1_000_000;
    let mut told = Vec::new();
    for row in rows {
        let quota = &row.health.quota;
        for (of, window) in [("requests", &quota.requests), ("tokens", &quota.tokens)] {
            told.extend(window.read(now_ms).map(|left| (format!("{},of=\"{of}\"", row.labels()), left)));
        }
    }
    let mut family = |name: &str, help: &str, value: fn(&Left) -> u64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, left) in &told {
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(left));
        }
    };
    family("weir_candidate_quota_left", "What a vendor said that it still takes, less what was sent since.", |left| {
        left.left
    });
    family("weir_candidate_quota_limit", "How much a vendor takes at most, by its own word.", |left| left.limit);
}

fn first_events(rows: &[Row<'_>], out: &mut String) {
    const NAME: &str = "weir_candidate_first_event_seconds";
    let _ = writeln!(
        out,
        "# HELP {NAME} From a call to a candidate to the first event of its answer.\n# TYPE {NAME} histogram"
    );
    for row in rows {
        let labels = row.labels();
        let mut total = 0;
        for (place, cell) in row.health.pace.buckets().iter().enumerate() {
            total += cell.load(Ordering::Relaxed);
            if place + 1 < PACE_BUCKETS {
                // The bucket holds what is below this power of two of milliseconds.
                let ms = 1u64 << place;
                let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{}.{:03}\"}} {total}", ms / 1_000, ms % 1_000);
            }
        }
        let sum = row.health.pace.sum_us();
        let _ = writeln!(
            out,
            "{NAME}_bucket{{{labels},le=\"+Inf\"}} {total}\n{NAME}_sum{{{labels}}} {}.{:06}\n{NAME}_count{{{labels}}} {total}",
            sum / 1_000_000,
            sum % 1_000_000
        );
    }
}
