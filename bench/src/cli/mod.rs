//! The command line: one file per verb.

mod compare;
mod fleet;
mod load;
mod provider;
mod storm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "weirbench", version, about = "Synthetic vendors, load, and the comparison with nginx and HAProxy")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Play a vendor: all six languages, with faults on demand
    Provider(provider::Args),
    /// Send requests and measure the answers
    Load(load::Args),
    /// Measure the gateway beside nginx and HAProxy
    Compare(compare::Args),
    /// Measure what an operator's change costs a fleet of nodes
    Fleet(fleet::Args),
    /// Measure what callers notice of failing vendors, of too much load, and of each other
    Storm(storm::Args),
}

pub fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Provider(args) => provider::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Compare(args) => compare::run(args),
        Verb::Fleet(args) => fleet::run(args),
        Verb::Storm(args) => storm::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weirbench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a verb may fail with: shown to a person, never matched.
pub type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;
