//! `weirbench compare`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use weirbench::compare::{self, Options};

use super::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Only these workloads (unary,slow_streams,…)
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these of weir, nginx, haproxy
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Each workload is measured so many times, contenders in turn; the median is shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that are measured in each round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The processor of the proxy under measurement
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// The processor of vendor and load
    #[arg(long, default_value_t = 1)]
    rig_core: usize,
    /// Beside this program when not given
    #[arg(long)]
    weir: Option<PathBuf>,
    #[arg(long)]
    weirctl: Option<PathBuf>,
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    #[arg(long, default_value = "haproxy")]
    haproxy: PathBuf,
    /// A folder of workloads of your own (*.toml)
    #[arg(long)]
    scenarios: Option<PathBuf>,
    /// Keep configurations, state and logs here
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write all samples and the table as JSON here
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let terminal = std::io::stderr().is_terminal();
    let options = Options {
        proxy_core: args.proxy_core,
        rig_core: args.rig_core,
        rounds: args.rounds.max(1),
        window: Duration::try_from_secs_f64(args.seconds)?,
        only: args.only,
        scenarios: args.scenarios,
        weir: args.weir,
        weirctl: args.weirctl,
        nginx: args.nginx,
        haproxy: args.haproxy,
        contenders: args.contenders,
        folder: args.folder,
    };
    let outcome = compare::run(options, |line| if terminal { eprint!("\r\x1b[K{line}") } else { eprintln!("{line}") })?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    print!("{outcome}");
    if let Some(path) = args.out {
        std::fs::write(path, serde_json::to_string_pretty(&outcome)?)?;
    }
    Ok(if outcome.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
