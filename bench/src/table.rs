//! Rows of numbers beside their goals.

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub rows: Vec<Row>,
    /// `part: why` it could not be measured.
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    /// Of its part; empty where it is the one above.
    pub part: &'static str,
    pub what: String,
    pub samples: Vec<f64>,
    pub p50: f64,
    pub p99: f64,
    /// What the goal is held against.
    pub judged: &'static str,
    pub goal: Option<f64>,
    pub met: Option<bool>,
}

impl Row {
    /// Judged by what 99 of 100 do not exceed: of fewer than a hundred, the largest.
    pub fn tail(part: &'static str, what: String, samples: Vec<f64>, goal: Option<f64>) -> Row {
        Row::new(part, what, samples, goal, "p99")
    }

    /// Judged by the middle one.
    pub fn middle(part: &'static str, what: String, samples: Vec<f64>, goal: Option<f64>) -> Row {
        Row::new(part, what, samples, goal, "p50")
    }

    fn new(part: &'static str, what: String, samples: Vec<f64>, goal: Option<f64>, judged: &'static str) -> Row {
        let (p50, p99) = (at(&samples, 50), at(&samples, 99));
        let value = if judged == "p99" { p99 } else { p50 };
        let met = goal.map(|goal| value <= goal && !samples.is_empty());
        Row { part, what, samples, p50, p99, judged, goal, met }
    }
}

/// The smallest sample that so many of a hundred do not exceed.
fn at(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

impl Outcome {
    pub fn all_met(&self) -> bool {
        self.problems.is_empty() && self.rows.iter().all(|row| row.met != Some(false))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:<8} {:<width$} {:>5} {:>10} {:>10}  {:<14} met", "part", "what", "of", "p50", "p99", "goal")?;
        for row in &self.rows {
            let goal = row.goal.map_or(String::new(), |goal| format!("{} ≤ {goal}", row.judged));
            let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
            writeln!(
                f,
                "{:<8} {:<width$} {:>5} {:>10.2} {:>10.2}  {goal:<14} {met}",
                row.part,
                row.what,
                row.samples.len(),
                row.p50,
                row.p99
            )?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "! {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_judged_by_their_tail_or_their_middle() {
        let samples: Vec<f64> = (1..=200).map(f64::from).collect();
        let tail = Row::tail("p", "w".into(), samples.clone(), Some(150.0));
        assert_eq!((tail.p50, tail.p99, tail.met), (100.0, 198.0, Some(false)));
        assert_eq!(Row::middle("p", "w".into(), samples, Some(150.0)).met, Some(true));
        assert_eq!(Row::middle("p", "w".into(), Vec::new(), Some(1.0)).met, Some(false), "nothing was measured");
        let few = Row::tail("p", "w".into(), vec![3.0, 1.0, 2.0], None);
        assert_eq!((few.p50, few.p99), (2.0, 3.0));
    }
}
