//! `weirbench provider`: runs until a signal ends it.

use std::net::SocketAddr;
use std::path::PathBuf;

use weirbench::provider::{self, Options, scenario, tls::Leaf};

use super::Outcome;

#[derive(clap::Args)]
#[command(after_long_help = scenario::manual())]
pub struct Args {
    /// Where vendors' calls are answered; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Where counters are told: GET /counters, GET /last?scenario=, POST /reset, POST /set?scenario=
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Threads, each with its own loop
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Bind the threads to these processors (0,1)
    #[arg(long, value_delimiter = ',')]
    pin: Vec<usize>,
    /// Keep the last request of each scenario for /last
    #[arg(long)]
    capture: bool,
    /// Answer with TLS; the authority and the leaf (localhost, 127.0.0.1) are made at start
    #[arg(long)]
    tls: bool,
    /// What is wrong with the leaf
    #[arg(long, value_enum, default_value = "good")]
    leaf: Leaf,
    /// Write ca.pem, cert.pem and key.pem here
    #[arg(long, requires = "tls")]
    cert_out: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    weirbench::raise_open_files();
    let handle = provider::start(Options {
        listen: args.listen,
        control: args.control,
        cores: args.cores,
        pin: args.pin,
        capture: args.capture,
        tls: args.tls.then_some(args.leaf),
        cert_out: args.cert_out,
    })?;
    println!(
        "{}",
        serde_json::json!({
            "event": "listening",
            "data": handle.addr,
            "control": handle.control,
            "refused": handle.refused,
            "blackhole": handle.blackhole,
            "mute": handle.mute,
            "tls": args.tls,
        })
    );
    loop {
        std::thread::park();
    }
}
