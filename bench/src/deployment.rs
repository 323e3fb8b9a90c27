//! An operator's folder, a store, and nodes that follow it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Moment;
use crate::gateway::{self, Process, Programs, Started};
use crate::http;

/// The variable that holds what the vendor is shown.
pub const CREDENTIAL: &str = "WEIRBENCH_CREDENTIAL";

/// Nobody waits longer for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Deployment {
    programs: Programs,
    root: PathBuf,
    pub store: String,
    /// What stands before `weirctl`: words that say where and how urgently it runs.
    pub ctl_by: Vec<String>,
}

pub struct Node {
    pub name: String,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    pub born: Moment,
    process: Process,
}

impl Deployment {
    pub fn new(programs: Programs, root: PathBuf, store: String) -> io::Result<Deployment> {
        std::fs::create_dir_all(root.join("weir.d"))?;
        Ok(Deployment { programs, root, store, ctl_by: Vec::new() })
    }

    /// The whole of the operator's folder.
    pub fn write(&self, text: &str) -> io::Result<()> {
        std::fs::write(self.root.join("weir.d/weir.toml"), text)
    }

    /// What `weirctl` said, and how long the whole command took.
    pub fn ctl(&self, words: &[&str]) -> io::Result<(Value, Duration)> {
        let mut command = self.command(words);
        let begun = Moment::now();
        let said = gateway::output(&mut command)?;
        let took = begun.elapsed();
        Ok((serde_json::from_str(said.trim()).map_err(|e| io::Error::other(format!("weirctl {words:?}: {e}")))?, took))
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = wrapped(&self.ctl_by, &self.programs.weirctl);
        command.args(words).arg("--json").args(["--store", &self.store]);
        command.arg("--state").arg(self.root.join("state")).arg("--folder").arg(self.root.join("weir.d"));
        command.env(CREDENTIAL, "weirbench").current_dir(&self.root);
        command
    }

    /// A node of this name, with a state folder of its own; the secrets are the deployment's.
    pub fn node(&self, name: &str, cores: usize, core: Option<usize>) -> io::Result<Node> {
        self.node_following(name, cores, core, &self.store)
    }

    pub fn node_following(&self, name: &str, cores: usize, core: Option<usize>, store: &str) -> io::Result<Node> {
        self.start(name, cores, core, store, 0)
    }

    /// One that refuses calls when it is so late.
    pub fn node_shedding(&self, name: &str, cores: usize, core: Option<usize>, after_ms: u64) -> io::Result<Node> {
        self.start(name, cores, core, &self.store, after_ms)
    }

    fn start(
        &self,
        name: &str,
        cores: usize,
        core: Option<usize>,
        store: &str,
        shed_after_ms: u64,
    ) -> io::Result<Node> {
        let by = core.map_or_else(Vec::new, on_core);
        let mut command = wrapped(&by, &self.programs.weir);
        command.args(["--store", store, "--node", name, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--log", "off", "--shed-after-ms"]).arg(shed_after_ms.to_string());
        command.arg("--cores").arg(cores.to_string());
        command.arg("--state").arg(self.root.join(name)).env(CREDENTIAL, "weirbench");
        let secrets = self.root.join("state/secret");
        command.env("WEIR_PEPPER_FILE", secrets.join("pepper")).env("WEIR_SEAL_FILE", secrets.join("seal"));
        let Started { process, ready, born } = gateway::launch(command, &self.root.join(format!("{name}.stderr")))?;
        let address = |what: &str| ready[what].as_str().and_then(|text| text.parse().ok());
        let (data, admin) = (address("data"), address("admin"));
        let (Some(data), Some(admin)) = (data, admin) else {
            return Err(io::Error::other(format!("no addresses in {ready}")));
        };
        Ok(Node { name: name.to_owned(), data, admin, born, process })
    }
}

impl Node {
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// One call on a connection of its own.
    pub fn chat(&self, key: &str, model: &str) -> io::Result<()> {
        let body = format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}");
        let bearer = format!("Bearer {key}");
        let request = http::request("POST", "/v1/chat/completions", &[("authorization", &bearer)], body.as_bytes());
        let answer = http::fetch(self.data, None, &request, PATIENCE)?;
        match (answer.status, &answer.broken) {
            (200, None) => Ok(()),
            (status, broken) => Err(io::Error::other(format!("{}: {status} {broken:?} {}", self.name, answer.text()))),
        }
    }

    /// The one that it serves.
    pub fn revision(&self) -> io::Result<u64> {
        let answer = http::fetch(self.admin, None, &http::request("GET", "/status", &[], b""), PATIENCE)?;
        let status: Value = serde_json::from_slice(&answer.body).map_err(io::Error::other)?;
        status["node"]["applied"]
            .as_u64()
            .ok_or_else(|| io::Error::other(format!("{}: no revision in {status}", self.name)))
    }
}

/// Words that run a program on this processor.
pub fn on_core(core: usize) -> Vec<String> {
    ["taskset", "-c"].map(str::to_owned).into_iter().chain([core.to_string()]).collect()
}

fn wrapped(by: &[String], program: &std::path::Path) -> Command {
    match by.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}
