//! A real etcd on ports of its own, and everything that can happen to it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::gateway::eventually;
use crate::process;

pub struct Etcd {
    child: Child,
    name: String,
    /// All members, as `--initial-cluster` wants them.
    members: String,
    folder: PathBuf,
    client: String,
    peer: String,
    options: Vec<String>,
    /// For `etcdctl`: as whom.
    pub login: Vec<String>,
}

impl Etcd {
    /// With its data below this folder.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, "http", &[])
    }

    pub fn start_with(folder: &Path, scheme: &str, options: &[&str]) -> Self {
        let peer = format!("http://127.0.0.1:{}", port());
        let members = format!("test={peer}");
        let etcd = Self::member(&folder.join("etcd"), "test", scheme, peer, members, options);
        etcd.is_up();
        etcd
    }

    /// Three members of one cluster.
    pub fn start_three(folder: &Path) -> Vec<Self> {
        let peers = ["a", "b", "c"].map(|name| (name, format!("http://127.0.0.1:{}", port())));
        let members = peers.each_ref().map(|(name, peer)| format!("{name}={peer}")).join(",");
        let start = |(name, peer): (&str, String)| {
            Self::member(&folder.join(format!("etcd-{name}")), name, "http", peer, members.clone(), &[])
        };
        let three: Vec<_> = peers.into_iter().map(start).collect();
        three.iter().for_each(Self::is_up);
        three
    }

    fn member(folder: &Path, name: &str, scheme: &str, peer: String, members: String, options: &[&str]) -> Self {
        std::fs::create_dir_all(folder).expect("the scratch folder is writable");
        let client = format!("{scheme}://127.0.0.1:{}", port());
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let (login, name) = (options_of_login(&options), name.to_owned());
        let child = launch(folder, [&name, &client, &peer, &members], &options);
        Self { child, name, members, folder: folder.to_owned(), client, peer, options, login }
    }

    /// What `--store` is told.
    pub fn store(&self) -> String {
        format!("etcd:{}", self.client)
    }

    pub fn client(&self) -> &str {
        &self.client
    }

    /// Whether this member leads the others.
    pub fn leads(&self) -> bool {
        let status = self.status();
        status["header"]["member_id"] == status["leader"]
    }

    fn status(&self) -> serde_json::Value {
        let said = self.ctl(&["endpoint", "status", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said).expect("etcdctl says JSON");
        status[0]["Status"].clone()
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.child = launch(&self.folder, [&self.name, &self.client, &self.peer, &self.members], &self.options);
        self.is_up();
    }

    /// It holds its connections and answers nothing.
    pub fn freeze(&self) {
        process::signal(self.child.id(), "STOP");
    }

    pub fn thaw(&self) {
        process::signal(self.child.id(), "CONT");
    }

    /// Forgets all history before now, as a cron job of an operator's does.
    pub fn compact(&self) {
        let revision = self.status()["header"]["revision"].as_u64().expect("a revision");
        self.ctl(&["compact", &revision.to_string()]);
    }

    pub fn save(&self) -> PathBuf {
        let path = self.folder.join("backup.db");
        let _ = std::fs::remove_file(&path);
        self.ctl(&["snapshot", "save", path.to_str().expect("a path")]);
        path
    }

    /// Comes back with what was saved, and with nothing else. Another token makes it another cluster.
    pub fn restore(&mut self, backup: &Path, token: &str) {
        self.stop();
        let data = self.folder.join("data");
        std::fs::remove_dir_all(&data).expect("its data was there");
        let (backup, data) = (backup.to_str().expect("a path"), data.to_str().expect("a path"));
        let words =
            ["snapshot", "restore", backup, "--name", "test", "--data-dir", data, "--initial-cluster", &self.members];
        self.ctl(
            &[&words[..], &["--initial-advertise-peer-urls", &self.peer, "--initial-cluster-token", token]].concat(),
        );
        self.options.extend(["--initial-cluster-token".to_owned(), token.to_owned()]);
        self.start_again();
    }

    /// `etcdctl`; what it said.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let (done, said) = self.try_ctl(arguments);
        assert!(done, "etcdctl {arguments:?}: {said}");
        said
    }

    pub fn try_ctl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(program("WEIR_ETCDCTL", "etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.client]).args(&self.login).args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("etcdctl runs; Debian has it in etcd-client");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn is_up(&self) {
        assert!(eventually(|| self.try_ctl(&["endpoint", "health"]).0), "etcd does not come up: {}", self.log());
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().rev().take(10).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(folder: &Path, [name, client, peer, members]: [&str; 4], options: &[String]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
    let mut command = Command::new(program("WEIR_ETCD", "etcd"));
    command.args(["--name", name, "--data-dir"]).arg(folder.join("data"));
    command.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", members]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("etcd starts; Debian has it in etcd-server, and $WEIR_ETCD may name it")
}

/// How `etcdctl` proves itself to a server with these options.
fn options_of_login(options: &[String]) -> Vec<String> {
    let value = |name: &str| Some(options[options.iter().position(|option| option == name)? + 1].clone());
    let mut login = Vec::new();
    for (name, of) in [("--cacert", "--trusted-ca-file"), ("--cert", "--cert-file"), ("--key", "--key-file")] {
        login.extend(value(of).map(|value| [name.to_owned(), value]).into_iter().flatten());
    }
    login
}

fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
