//! nginx and HAProxy: their configurations filled in, the process started on the proxies' processor.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::workload::Workload;
use super::{NGINX, Rig};
use crate::clock::Moment;
use crate::gateway::Process;

/// A proxy that runs, and how to call it.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`, and for peers the scenario in the path.
    pub url: String,
    pub key: String,
    pub model: String,
    pub process: Process,
    /// When the process was started.
    pub born: Moment,
}

impl Proxy {
    pub fn family(&self) -> Vec<u32> {
        crate::meter::family(self.process.0.id())
    }
}

pub fn start(rig: &Rig, workload: &Workload, name: &str) -> io::Result<Proxy> {
    let listen = free_address()?;
    let (template, program) =
        if name == NGINX { (NGINX_CONF, &rig.options.nginx) } else { (HAPROXY_CFG, &rig.options.haproxy) };
    let file = rig.folder.join(if name == NGINX { "nginx.conf" } else { "haproxy.cfg" });
    std::fs::write(&file, fill(rig, workload, listen, template)?)?;
    let mut command = rig.pinned(program);
    match name {
        NGINX => command.arg("-c").arg(&file).arg("-p").arg(&rig.folder),
        _ => command.arg("-db").arg("-f").arg(&file),
    };
    let log = std::fs::File::create(rig.folder.join(format!("{name}.log")))?;
    let born = Moment::now();
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let path = if workload.scenario.is_empty() { String::new() } else { format!("/~{}", workload.scenario) };
    let scheme = if workload.tls { "https" } else { "http" };
    let mut proxy = Proxy {
        url: format!("{scheme}://localhost:{}{path}", listen.port()),
        key: "weirbench".to_owned(),
        model: "gpt-4o-mini".to_owned(),
        process: Process(child),
        born,
    };
    wait_for(listen, &mut proxy.process.0).map_err(|e| {
        let log = std::fs::read_to_string(rig.folder.join(format!("{name}.log"))).unwrap_or_default();
        io::Error::other(format!("{name} does not start: {e}: {}", log.trim()))
    })?;
    Ok(proxy)
}

/// Waits until somebody listens.
pub fn wait_for(address: SocketAddr, child: &mut Child) -> io::Result<()> {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(status.to_string()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("nobody listens after 5 s"))
}

pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A proxy needs two descriptors for each caller, and some to live.
pub fn callers_max(open_files: u64) -> u64 {
    open_files.saturating_sub(OPEN_FILES_OWN) / 2
}

fn fill(rig: &Rig, workload: &Workload, listen: SocketAddr, template: &str) -> io::Result<String> {
    let tls = rig.tls_folder();
    let path = |name: &str| -> PathBuf { tls.join(name) };
    let (cert, key, ca) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let both = path("both.pem");
    let on = workload.tls;
    if on {
        std::fs::write(&both, [std::fs::read(&cert)?, std::fs::read(&key)?].concat())?;
    }
    let only = |text: String| if on { text } else { String::new() };
    let values = [
        ("folder", rig.folder.display().to_string()),
        ("listen", listen.to_string()),
        ("open_files", rig.open_files.to_string()),
        ("callers_max", callers_max(rig.open_files).to_string()),
        ("vendor", rig.vendor(on).addr.to_string()),
        ("scheme", if on { "https" } else { "http" }.to_owned()),
        ("nginx_ssl", only("ssl".into())),
        (
            "nginx_certificate",
            only(format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;",
                cert.display(),
                key.display()
            )),
        ),
        (
            "nginx_upstream_tls",
            only(format!(
                "proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_session_reuse on;",
                ca.display()
            )),
        ),
        ("haproxy_bind", only(format!("ssl crt {}", both.display()))),
        (
            "haproxy_server",
            only(format!("ssl verify required ca-file {} sni str(localhost) verifyhost localhost", ca.display())),
        ),
    ];
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{{{name}}}}}"), &value);
    }
    Ok(text)
}

const OPEN_FILES_OWN: u64 = 200;
const NGINX_CONF: &str = include_str!("../../peer/nginx.conf");
const HAPROXY_CFG: &str = include_str!("../../peer/haproxy.cfg");
