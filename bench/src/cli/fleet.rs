//! `weirbench fleet`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use weirbench::fleet::{self, Options};

use super::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Only these of applied, revoked, large, one_key
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// So many nodes follow one store
    #[arg(long, default_value_t = 10)]
    nodes: usize,
    /// Cores of each of them
    #[arg(long, default_value_t = 2)]
    cores: usize,
    /// So many changes for each row
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Keys of the large deployment
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Models of the large deployment
    #[arg(long, default_value_t = 10_000)]
    models: usize,
    /// The store is an etcd that is started for it, in place of a folder
    #[arg(long)]
    etcd: bool,
    #[arg(long, env = "WEIR_ETCD", default_value = "etcd")]
    etcd_program: PathBuf,
    /// The processor of the node whose cost is measured
    #[arg(long, default_value_t = 0)]
    node_core: usize,
    /// The processor of everything else then
    #[arg(long, default_value_t = 1)]
    rig_core: usize,
    /// Beside this program when not given
    #[arg(long)]
    weir: Option<PathBuf>,
    #[arg(long)]
    weirctl: Option<PathBuf>,
    /// Keep folders, stores and logs here
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The table as JSON, with all samples
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let terminal = std::io::stderr().is_terminal();
    let options = Options {
        nodes: args.nodes.max(1),
        cores: args.cores.max(1),
        changes: args.changes.max(1),
        keys: args.keys.max(2),
        models: args.models.max(1),
        etcd: args.etcd,
        only: args.only,
        weir: args.weir,
        weirctl: args.weirctl,
        etcd_program: args.etcd_program,
        node_core: args.node_core,
        rig_core: args.rig_core,
        folder: args.folder,
    };
    // Where nobody looks on, a line for each of a hundred changes says nothing.
    let mut say = |line: &str| {
        if terminal {
            eprint!("\r\x1b[K{line}")
        }
    };
    let outcome = fleet::run(options, &mut say)?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&outcome)?),
        false => print!("{outcome}"),
    }
    Ok(if outcome.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
