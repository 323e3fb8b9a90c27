//! `weirbench storm`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use weirbench::storm::{self, Options};

use super::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Only these of failover, overload, noisy
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Streams a second while a vendor turns bad
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Seconds of each load
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Of the node that is overloaded
    #[arg(long, default_value_t = 100)]
    shed_after_ms: u64,
    /// The processor of a node with one core
    #[arg(long, default_value_t = 0)]
    node_core: usize,
    /// The processor of vendor and load
    #[arg(long, default_value_t = 1)]
    rig_core: usize,
    /// Beside this program when not given
    #[arg(long)]
    weir: Option<PathBuf>,
    #[arg(long)]
    weirctl: Option<PathBuf>,
    /// The table as JSON, with all samples
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let terminal = std::io::stderr().is_terminal();
    let options = Options {
        only: args.only,
        rate: args.rate.max(1),
        seconds: args.seconds.clamp(1.0, 600.0),
        rounds: args.rounds.max(1),
        shed_after_ms: args.shed_after_ms,
        weir: args.weir,
        weirctl: args.weirctl,
        node_core: args.node_core,
        rig_core: args.rig_core,
    };
    let mut say = |line: &str| {
        if terminal {
            eprint!("\r\x1b[K{line}")
        }
    };
    let outcome = storm::run(options, &mut say)?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&outcome)?),
        false => print!("{outcome}"),
    }
    Ok(if outcome.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
