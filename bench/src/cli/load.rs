//! `weirbench load`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use weirbench::load::{self, Dialect, Mode, Options, Target, target::Wish};

use super::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// http://host:port or https://host:port, with what stands before /v1
    #[arg(long)]
    url: String,
    #[arg(long, env = "WEIR_KEY", default_value = "weirbench")]
    key: String,
    #[arg(long, value_enum, default_value = "openai")]
    dialect: Dialect,
    #[arg(long, default_value = "gpt-4o-mini")]
    model: String,
    /// Ask for a stream
    #[arg(long)]
    stream: bool,
    /// Open loop: so many requests a second, whether they are answered or not
    #[arg(long, conflicts_with_all = ["concurrency", "idle"])]
    rate: Option<u64>,
    /// Closed loop: so many callers
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Open so many connections, send one request on each, hold them
    #[arg(long, conflicts_with = "concurrency")]
    idle: Option<usize>,
    /// Seconds to measure; 10 when --requests is not given
    #[arg(long)]
    duration: Option<f64>,
    /// Stop after so many answers
    #[arg(long)]
    requests: Option<u64>,
    /// Seconds before counting begins
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    #[arg(long, default_value_t = 512)]
    body_bytes: usize,
    /// The authority to trust, for https
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    #[arg(long, overrides_with = "no_keepalive")]
    keepalive: bool,
    /// A new connection for every request
    #[arg(long)]
    no_keepalive: bool,
    /// Judge every stream by the grammar (dear)
    #[arg(long)]
    judge: bool,
    /// Seconds of silence after which a request has failed
    #[arg(long, default_value_t = 30.0)]
    patience: f64,
    /// Open loop: so many connections at a time; what is due beyond them waits, and its latency counts
    #[arg(long, default_value_t = load::CONNECTIONS_MAX)]
    connections: usize,
    /// Bind the load to this processor
    #[arg(long)]
    pin: Option<usize>,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    weirbench::raise_open_files();
    let wish = Wish {
        url: &args.url,
        key: &args.key,
        dialect: args.dialect,
        model: &args.model,
        stream: args.stream,
        body_bytes: args.body_bytes,
        turns: 1,
        tls_ca: args.tls_ca.as_deref(),
    };
    let mode = match (args.rate, args.idle) {
        (Some(0), _) => return Err("--rate 0 asks for nothing".into()),
        (Some(rate), _) => Mode::Open(rate),
        (None, Some(connections)) => Mode::Idle(connections),
        (None, None) => Mode::Closed(args.concurrency),
    };
    let seconds = args.duration.or(if args.requests.is_none() { Some(10.0) } else { None });
    let running = load::start(Options {
        target: Target::new(&wish)?,
        mode,
        duration: seconds.map(span).transpose()?,
        requests: args.requests,
        warmup: span(args.warmup)?,
        keepalive: !args.no_keepalive,
        judge: args.judge,
        patience: span(args.patience)?,
        connections_max: args.connections,
        pin: args.pin,
    })?;
    let terminal = std::io::stderr().is_terminal();
    let mut last = (0, 0);
    while !running.finished() {
        std::thread::sleep(PROGRESS);
        if terminal {
            let now = (running.live.requests.load(Relaxed), running.live.events.load(Relaxed));
            let (open, failed) = (running.live.open.load(Relaxed), running.live.failed.load(Relaxed));
            eprint!(
                "\r\x1b[K{}/s  {} events/s  {open} connections  {failed} failed",
                (now.0 - last.0) * 5,
                (now.1 - last.1) * 5
            );
            let _ = std::io::stderr().flush();
            last = now;
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    let report = running.join()?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.failed == 0 && report.requests > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn span(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{seconds} s: {error}"))
}

const PROGRESS: Duration = Duration::from_millis(200);
