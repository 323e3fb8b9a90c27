//! A running gateway, everything a test asks of it, and its end.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use weir_shared::ledger::Record;
use weirbench::provider::Handle;

use crate::answer::Answer;
use crate::call::{Call, Request};
use crate::setup::Setup;
use crate::wire::{PATIENCE, Wire};
use crate::{binary, clock, journal, process};

pub struct Gateway {
    pub setup: Setup,
    /// A key that may use everything.
    pub key: String,
    pub data: SocketAddr,
    pub tls: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub driver: String,
    child: Child,
}

struct Ready {
    child: Child,
    data: SocketAddr,
    tls: Option<SocketAddr>,
    admin: SocketAddr,
    driver: String,
}

impl Gateway {
    pub fn start(setup: Setup) -> Self {
        apply(&setup);
        let made = ctl(&setup, &["key", "create", "--name", "suite", "--json"]);
        let key = made["key"].as_str().expect("key create --json says the key").to_owned();
        Self::boot(setup, key)
    }

    /// Starts the process on a state that is there already.
    pub fn boot(setup: Setup, key: String) -> Self {
        let Ready { child, data, tls, admin, driver } = launch(&setup, "127.0.0.1:0");
        Self { setup, key, data, tls, admin, driver, child }
    }

    /// Kills what runs and starts it anew, with the same state and on the same address.
    pub fn reboot(&mut self) {
        self.kill();
        let data = self.data.to_string();
        let ready = launch(&self.setup, &data);
        (self.child, self.data, self.tls, self.admin) = (ready.child, ready.data, ready.tls, ready.admin);
    }

    pub fn vendor(&self) -> &Handle {
        &self.setup.vendor
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn state(&self) -> PathBuf {
        self.setup.scratch.join("state")
    }

    // ── callers

    pub fn wire(&self) -> Wire {
        Wire::open(self.data)
    }

    /// On a connection of its own.
    pub fn call(&self, request: &Request) -> Answer {
        let mut wire = self.wire();
        wire.send(request.bytes(&self.key));
        if request.method == "HEAD" { wire.head_answer() } else { wire.answer() }
    }

    pub fn chat(&self, model: &str) -> Answer {
        self.call(&Call::Chat.request(model, false))
    }

    pub fn stream(&self, model: &str) -> Answer {
        self.call(&Call::Chat.request(model, true))
    }

    /// Every case ends with this: an ordinary request is served, and nothing has panicked.
    #[track_caller]
    pub fn lives(&self) {
        let answer = self.chat("good-openai");
        assert_eq!(answer.status, 200, "the live check: {} {:?}", answer.text(), answer.broken);
        assert_eq!(self.metric("weir_panics_total"), 0, "a panic: {}", self.stderr());
    }

    // ── operators

    /// `weirctl`, with the folders of this gateway.
    pub fn ctl(&self, arguments: &[&str]) -> Value {
        ctl(&self.setup, arguments)
    }

    pub fn new_key(&self, arguments: &[&str]) -> String {
        let all = [&["key", "create", "--json", "--wait"], arguments].concat();
        self.ctl(&all)["key"].as_str().expect("a key").to_owned()
    }

    /// Publishes the setup as it is now, and waits until the gateway follows it.
    pub fn apply(&self) {
        write_folder(&self.setup);
        ctl(&self.setup, &["apply", "--wait", "--json"]);
    }

    pub fn ask_admin(&self, path: &str) -> Answer {
        let mut wire = Wire::open(self.admin);
        wire.send(Request::get(path).keyless().bytes(""));
        wire.answer()
    }

    pub fn metrics(&self) -> String {
        self.ask_admin("/metrics").text()
    }

    /// One value, with its labels as they stand; 0 when it is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        self.metrics().lines().find_map(value).unwrap_or(0)
    }

    // ── what it leaves behind

    /// All records so far, when nothing is under way any more.
    pub fn records(&self) -> Vec<Record<'static>> {
        self.settle();
        journal::records(&self.state().join("journal"))
    }

    /// The one record of this request.
    #[track_caller]
    pub fn record(&self, request_id: &str) -> Record<'static> {
        let mut found: Vec<_> = self.records().into_iter().filter(|r| r.id.to_string() == request_id).collect();
        assert_eq!(found.len(), 1, "records of {request_id}");
        found.remove(0)
    }

    /// Waits until no request is being answered.
    #[track_caller]
    pub fn settle(&self) {
        assert!(
            eventually(|| self.metric("weir_requests_in_flight") == 0),
            "a request does not end: {}",
            self.metrics()
        );
    }

    pub fn log(&self) -> String {
        // Lines are handed over ten times a second.
        std::thread::sleep(Duration::from_millis(250));
        std::fs::read_to_string(self.setup.scratch.join("log")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.setup.scratch.join("stderr")).unwrap_or_default()
    }

    pub fn memory(&self) -> u64 {
        process::resident_bytes(self.pid())
    }

    pub fn descriptors(&self) -> usize {
        process::descriptors(self.pid())
    }

    // ── the end

    pub fn terminate(&self) {
        process::signal(self.pid(), "TERM");
    }

    /// Waits for the process to end by itself; its exit code.
    pub fn wait_exit(&mut self, patience: Duration) -> Option<i32> {
        let until = clock::now() + patience;
        while clock::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code().or(Some(-1));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's last words: {}", self.stderr());
        }
        self.kill();
    }
}

/// Polls until it is true, up to the usual patience.
pub fn eventually(mut is: impl FnMut() -> bool) -> bool {
    within(PATIENCE, &mut is)
}

pub fn within(patience: Duration, mut is: impl FnMut() -> bool) -> bool {
    let until = clock::now() + patience;
    loop {
        if is() {
            return true;
        }
        if clock::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn write_folder(setup: &Setup) {
    let folder = setup.scratch.join("weir.d");
    std::fs::create_dir_all(&folder).expect("the scratch folder is writable");
    std::fs::write(folder.join("weir.toml"), setup.toml()).expect("the scratch folder is writable");
}

fn apply(setup: &Setup) {
    write_folder(setup);
    ctl(setup, &["apply", "--json"]);
}

/// Runs `weirctl`; its JSON, or null. Fails the test when it fails.
pub fn ctl(setup: &Setup, arguments: &[&str]) -> Value {
    let (code, said) = try_ctl(setup, arguments);
    assert_eq!(code, 0, "weirctl {arguments:?}: {said}\n{}", setup.toml());
    serde_json::from_str(said.trim()).unwrap_or(Value::Null)
}

/// Its exit code and all that it said.
pub fn try_ctl(setup: &Setup, arguments: &[&str]) -> (i32, String) {
    try_ctl_reading(setup, arguments, b"")
}

/// The same with something on its standard input.
pub fn try_ctl_reading(setup: &Setup, arguments: &[&str], input: &[u8]) -> (i32, String) {
    let mut command = Command::new(binary::weirctl());
    command.args(arguments).arg("--state").arg(setup.scratch.join("state"));
    command.arg("--folder").arg(setup.scratch.join("weir.d")).current_dir(setup.scratch.path());
    if let Some(store) = &setup.store {
        command.args(["--store", store]);
    }
    let piped = clean(&mut command)
        .envs(setup.ctl_env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("weirctl starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        // It may end without reading to the end.
        scope.spawn(move || pipe.write_all(input));
        child.wait_with_output().expect("weirctl ends")
    });
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        said += &String::from_utf8_lossy(&output.stderr);
    }
    (output.status.code().unwrap_or(-1), said)
}

/// Whatever the machine's own gateway is configured with must not reach the one under test.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_") && name != "WEIR_DRIVER") {
        command.env_remove(name);
    }
    command
}

/// Another node of the same deployment, with a state folder of its own: it shares the store and the secrets.
pub struct Node {
    pub name: String,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
}

impl Gateway {
    pub fn another(&self, name: &str) -> Node {
        let secrets = self.state().join("secret");
        let more = [
            ("WEIR_NODE", name.into()),
            ("WEIR_STATE", self.setup.scratch.join(name)),
            ("WEIR_PEPPER_FILE", secrets.join("pepper")),
            ("WEIR_SEAL_FILE", secrets.join("seal")),
        ];
        let Ready { child, data, admin, .. } = launch_as(&self.setup, "127.0.0.1:0", name, &more);
        Node { name: name.into(), data, admin, child }
    }
}

impl Node {
    pub fn call(&self, request: &Request, key: &str) -> Answer {
        let mut wire = Wire::open(self.data);
        wire.send(request.bytes(key));
        wire.answer()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(setup: &Setup, listen: &str) -> Ready {
    launch_as(setup, listen, "suite", &[("WEIR_STATE", setup.scratch.join("state"))])
}

fn launch_as(setup: &Setup, listen: &str, node: &str, more: &[(&str, PathBuf)]) -> Ready {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{} exec \"$@\"", setup.before)).arg("sh").arg(binary::weir());
    command.args(["--listen", listen, "--admin", "127.0.0.1:0", "--node", node]);
    command.arg("--cores").arg(setup.cores.to_string()).arg("--log").arg(setup.scratch.join("log"));
    command.args(&setup.options);
    let store =
        setup.store.clone().unwrap_or_else(|| format!("folder:{}", setup.scratch.join("state/store").display()));
    command.args(["--store", &store]);
    // The machine of a test has others to serve: what is late there says nothing of the gateway.
    clean(&mut command).env("WEIR_SHED_AFTER_MS", "0").envs(setup.env.iter().cloned()).envs(more.iter().cloned());
    for model in &setup.models {
        for (name, secret, _) in &model.credentials {
            command.env(model.variable(name), secret);
        }
    }
    let errors = std::fs::OpenOptions::new().create(true).append(true).open(setup.scratch.join("stderr"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.expect("the scratch folder is writable"));
    let mut child = command.spawn().expect("the gateway starts");
    let line = first_line(&mut child);
    let ready: Value = line.as_deref().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
    let address = |name: &str| ready[name].as_str().and_then(|text| text.parse().ok());
    let (Some(data), Some(admin)) = (address("data"), address("admin")) else {
        let _ = child.kill();
        let said = std::fs::read_to_string(setup.scratch.join("stderr")).unwrap_or_default();
        panic!("the gateway does not come up: {line:?} {said}");
    };
    let driver = ready["driver"].as_str().unwrap_or_default().to_owned();
    Ready { child, data, tls: address("tls"), admin, driver }
}

fn first_line(child: &mut Child) -> Option<String> {
    let output = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        // Read on to the end, so that the gateway never writes into a closed pipe.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains("\"listening\"") {
                let _ = send.send(line);
            }
        }
    });
    receive.recv_timeout(PATIENCE).ok()
}
