//! An etcd of this run's own.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::gateway::Process;
use crate::http;

pub struct Etcd {
    pub client: String,
    _process: Process,
}

impl Etcd {
    pub fn start(program: &Path, folder: &Path) -> io::Result<Etcd> {
        let (client, peer) = (free()?, free()?);
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let log = std::fs::File::create(folder.join("etcd.log"))?;
        let mut command = Command::new(program);
        command.args(["--name", "fleet", "--data-dir"]).arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("fleet={peer_url}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.map_err(|e| io::Error::other(format!("{}: {e} (Debian: etcd-server)", program.display())))?;
        let etcd = Etcd { client: client_url, _process: Process(child) };
        let health = http::request("GET", "/health", &[("connection", "close")], b"");
        for _ in 0..200 {
            if http::fetch(client, None, &health, Duration::from_secs(1)).is_ok_and(|answer| answer.status == 200) {
                return Ok(etcd);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other("etcd does not come up"))
    }
}

fn free() -> io::Result<std::net::SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
