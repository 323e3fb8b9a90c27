//! What callers notice when it storms: a vendor that turns bad under load, more calls than a core can do, a tenant that asks
//! for ten times what it may.

mod failover;
mod noisy;
mod overload;
mod site;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::gateway::Programs;
use crate::table::{Outcome, Row};

use self::site::Site;

#[derive(Clone, Debug)]
pub struct Options {
    /// Names of [`PARTS`]; empty for all.
    pub only: Vec<String>,
    /// Streams a second while a vendor turns bad.
    pub rate: u64,
    /// How long each load runs.
    pub seconds: f64,
    /// How often each is measured; the median counts.
    pub rounds: usize,
    /// `--shed-after-ms` of the node that is overloaded.
    pub shed_after_ms: u64,
    pub weir: Option<PathBuf>,
    pub weirctl: Option<PathBuf>,
    /// The processor of a node of one core, and the one of vendor and load.
    pub node_core: usize,
    pub rig_core: usize,
}

pub const PARTS: [(&str, Measure); 3] =
    [("failover", failover::measure), ("overload", overload::measure), ("noisy", noisy::measure)];

type Measure = fn(&Site, &mut dyn FnMut(&str)) -> io::Result<Vec<Row>>;

/// Measures; `say` hears how far it is.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
    crate::raise_open_files();
    if let Some(unknown) = options.only.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let known = PARTS.map(|(part, _)| part).join(", ");
        return Err(io::Error::other(format!("there is no part {unknown}; there are: {known}")));
    }
    let programs = Programs::find(options.weir.as_deref(), options.weirctl.as_deref()).map_err(io::Error::other)?;
    let folder = std::env::temp_dir().join(format!("weirbench-storm-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut outcome = Outcome::default();
    for (part, measure) in PARTS {
        if options.only.is_empty() || options.only.iter().any(|name| name == part) {
            let measured = Site::new(&options, &programs, folder.join(part)).and_then(|site| measure(&site, say));
            match measured {
                Ok(rows) => outcome.rows.extend(rows),
                Err(why) => outcome.problems.push(format!("{part}: {why}")),
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(outcome)
}

/// Nobody waits longer for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
