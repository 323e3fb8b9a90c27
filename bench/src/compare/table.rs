//! Medians, goals, and how they are shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::measure::Sample;
use super::workload::{Kind, Unit, Workload};
use super::{DIRECT, HAPROXY, NGINX, PASS, WEIR};

/// All samples of one workload.
pub struct Measured {
    pub workload: Workload,
    pub samples: BTreeMap<&'static str, Vec<Sample>>,
    pub problems: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
pub struct Outcome {
    pub rows: Vec<Row>,
    /// `workload · contender: why`
    pub problems: Vec<String>,
    /// Every sample by workload and contender, in the order of the rounds.
    pub samples: BTreeMap<String, BTreeMap<&'static str, Vec<Sample>>>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub workload: String,
    pub what: String,
    pub weir: Option<f64>,
    /// Our own pass-through, where the workload is translated.
    pub pass: Option<f64>,
    pub nginx: Option<f64>,
    pub haproxy: Option<f64>,
    /// Ours over our pass-through where there is one, else over nginx.
    pub ratio: Option<f64>,
    pub goal: String,
    pub met: Option<bool>,
}

enum Goal {
    None,
    Nginx(f64),
    Pass(f64),
    At(f64),
}

impl Outcome {
    pub fn new(measured: Vec<Measured>) -> Outcome {
        let rows = measured.iter().flat_map(rows_of).collect();
        let mut problems: Vec<String> = measured
            .iter()
            .flat_map(|m| m.problems.iter().map(|(contender, why)| format!("{} · {contender}: {why}", m.workload.name)))
            .collect();
        // A gateway that does not start is one problem, not twelve.
        let why = |problem: &str| problem.split_once(" · ").map(|(_, why)| why.to_owned());
        let mut seen = Vec::new();
        problems.retain(|problem| {
            let new = !seen.contains(&why(problem));
            seen.push(why(problem));
            new
        });
        let samples = measured.into_iter().map(|m| (m.workload.name, m.samples)).collect();
        Outcome { rows, problems, samples }
    }

    pub fn all_met(&self) -> bool {
        self.problems.is_empty() && self.rows.iter().all(|row| row.met != Some(false))
    }
}

fn rows_of(measured: &Measured) -> Vec<Row> {
    let workload = &measured.workload;
    let ratio = |goal: Option<f64>| match (goal, workload.goal_pass) {
        (_, Some(times)) => Goal::Pass(times),
        (Some(times), None) => Goal::Nginx(times),
        (None, None) => Goal::None,
    };
    let at_most = |goal: Option<f64>| goal.map_or(Goal::None, Goal::At);
    let unit = if workload.unit == Unit::Event { "event" } else { "request" };
    let row = |what: &str, metric: &'static str, goal: Goal| {
        row(measured, what, goal, |contender| median(measured, contender, metric))
    };
    let added = |what: &str, metric: &'static str| {
        let base = median(measured, DIRECT, metric);
        self::row(measured, what, ratio(workload.goal_nginx), |contender| {
            Some(median(measured, contender, metric)? - base?)
        })
    };
    match workload.kind {
        Kind::Cost => {
            let mut rows = vec![row(&format!("processor µs/{unit}"), "cpu_us", ratio(workload.goal_nginx))];
            if workload.goal_kib.is_some() {
                rows.push(row("memory KiB/stream", "kib_each", at_most(workload.goal_kib)));
            }
            rows.push(row(&format!("  rig: vendor+load µs/{unit}"), "rig_us", Goal::None));
            rows.push(row(&format!("  {unit}s/s"), "per_second", Goal::None));
            rows.push(row("  cores used by others", "others", Goal::None));
            rows
        }
        Kind::Latency => vec![added("added p50 µs", "p50_us"), added("added p99 µs", "p99_us")],
        Kind::FirstEvent if workload.hedge => {
            vec![row("p50 µs", "p50_us", Goal::None), row("p99 µs", "p99_us", ratio(None))]
        }
        Kind::FirstEvent => vec![added("added p50 µs", "p50_us"), added("added p99 µs", "p99_us")],
        Kind::Idle => vec![row("memory KiB/connection", "kib_each", at_most(workload.goal_kib))],
        Kind::Hangup => {
            vec![row("median ms", "ms", Goal::None), row("longest ms", "max_ms", at_most(workload.goal_ms))]
        }
        Kind::Start => vec![
            row("exec to first 200, ms", "ms", at_most(workload.goal_ms)),
            row("memory MiB", "rss_mib", Goal::None),
        ],
    }
}

fn row(measured: &Measured, what: &str, goal: Goal, value: impl Fn(&str) -> Option<f64>) -> Row {
    let (weir, nginx, haproxy) = (value(WEIR), value(NGINX), value(HAPROXY));
    let pass = value(PASS);
    let base = pass.or(nginx);
    let ratio = weir.zip(base).map(|(ours, theirs)| ours / theirs);
    // Added latency can be nothing, or less than the noise: then a difference is compared and not a quotient.
    let ratio = ratio.filter(|ratio| ratio.is_finite() && base.is_some_and(|theirs| theirs > 0.0));
    let (goal, met) = match goal {
        Goal::None => (String::new(), None),
        Goal::Nginx(times) => {
            (format!("≤ {times:.2} × nginx"), weir.zip(nginx).map(|(ours, theirs)| ours <= theirs * times))
        }
        Goal::Pass(times) => {
            (format!("≤ {times:.2} × pass"), weir.zip(pass).map(|(ours, theirs)| ours <= theirs * times))
        }
        Goal::At(most) => (format!("≤ {most}"), weir.map(|ours| ours <= most)),
    };
    Row {
        workload: measured.workload.name.clone(),
        what: what.to_owned(),
        weir,
        pass,
        nginx,
        haproxy,
        ratio,
        goal,
        met,
    }
}

fn median(measured: &Measured, contender: &str, metric: &str) -> Option<f64> {
    let mut values: Vec<f64> =
        measured.samples.get(contender)?.iter().filter_map(|sample| sample.get(metric).copied()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |value: Option<f64>| match value {
            None => "—".to_owned(),
            Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
            Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
            Some(value) => format!("{value:.2}"),
        };
        let mut lines =
            vec![["workload", "what", "goal", "weir", "pass", "nginx", "haproxy", "ratio", "met"].map(str::to_owned)];
        let mut last = "";
        for row in &self.rows {
            let met = row.met.map_or(String::new(), |met| if met { "yes" } else { "NO" }.to_owned());
            let name = if row.workload == last { String::new() } else { row.workload.clone() };
            last = &row.workload;
            lines.push([
                name,
                row.what.clone(),
                row.goal.clone(),
                number(row.weir),
                number(row.pass),
                number(row.nginx),
                number(row.haproxy),
                row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
                met,
            ]);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 9] = std::array::from_fn(width);
        for line in &lines {
            for (column, text) in line.iter().enumerate() {
                let gap = " ".repeat(widths[column] - text.chars().count());
                // Names to the left, numbers to the right.
                if column < 3 { write!(f, "{text}{gap}  ")? } else { write!(f, "{gap}{text}  ")? }
            }
            writeln!(f)?;
        }
        for problem in &self.problems {
            writeln!(f, "! {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, samples: &[(&'static str, &[f64])]) -> Measured {
        let workload = super::super::workload::load(None, &[name.to_owned()]).unwrap().remove(0);
        let metric = if workload.kind == Kind::Cost { "cpu_us" } else { "p50_us" };
        let samples =
            samples.iter().map(|(who, values)| (*who, values.iter().map(|v| BTreeMap::from([(metric, *v)])).collect()));
        Measured { workload, samples: samples.collect(), problems: BTreeMap::new() }
    }

    #[test]
    fn medians_and_goals() {
        let outcome = Outcome::new(vec![measured("unary", &[(WEIR, &[9.0, 1.0, 7.0]), (NGINX, &[10.0, 30.0, 10.0])])]);
        let row = &outcome.rows[0];
        assert_eq!((row.weir, row.nginx, row.haproxy, row.met), (Some(7.0), Some(10.0), None, Some(true)));
        assert!(outcome.to_string().contains("0.70"));
    }

    #[test]
    fn latency_is_what_the_proxy_adds() {
        let outcome =
            Outcome::new(vec![measured("latency", &[(DIRECT, &[100.0]), (WEIR, &[160.0]), (NGINX, &[150.0])])]);
        assert_eq!(
            (outcome.rows[0].weir, outcome.rows[0].nginx, outcome.rows[0].met),
            (Some(60.0), Some(50.0), Some(false))
        );
        assert!(!outcome.all_met());
    }
}
