//! A vendor, a node, and loads between them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Options, PATIENCE};
use crate::deployment::{Deployment, Node};
use crate::gateway::Programs;
use crate::http;
use crate::load::{self, Dialect, Mode, Running, Target, target::Wish};
use crate::provider::{self, Handle};

pub struct Site {
    pub options: Options,
    pub vendor: Handle,
    pub deployment: Deployment,
}

impl Site {
    pub fn new(options: &Options, programs: &Programs, root: PathBuf) -> io::Result<Site> {
        let vendor =
            provider::start(provider::Options { pin: vec![options.rig_core], ..provider::Options::default() })?;
        let store = format!("folder:{}", root.join("store").display());
        let deployment = Deployment::new(programs.clone(), root, store)?;
        Ok(Site { options: options.clone(), vendor, deployment })
    }

    /// A vendor of this name with one model of the same name.
    pub fn model(&self, name: &str, words: &str) -> String {
        self.model_speaking(name, words, "openai")
    }

    pub fn model_speaking(&self, name: &str, words: &str, dialect: &str) -> String {
        let base = self.vendor.url(words);
        let lines = if dialect == "openai" { "responses = false\n" } else { "" };
        format!(
            "[[vendor]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nbase_url = \"{base}/v1\"\ninternal = true\n{lines}\
             [[vendor.credential]]\nname = \"main\"\nenv = \"{}\"\n\
             [[model]]\nvendor = \"{name}\"\nid = \"{name}\"\nupstream = \"gpt-4o-mini\"\n\
             price = {{ input = \"0.15\", output = \"0.60\" }}\n",
            crate::deployment::CREDENTIAL
        )
    }

    pub fn key(&self, words: &[&str]) -> io::Result<String> {
        let (made, _) = self.deployment.ctl(&[&["key", "create"], words].concat())?;
        made["key"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no key in {made}")))
    }

    pub fn node(&self, cores: usize, core: Option<usize>, shed_after_ms: u64) -> io::Result<Node> {
        self.deployment.node_shedding("node", cores, core, shed_after_ms)
    }

    pub fn load(&self, node: &Node, call: &Call<'_>, mode: Mode, warmup: f64) -> io::Result<Running> {
        let url = format!("http://{}", node.data);
        let target = Target::new(&Wish {
            url: &url,
            key: call.key,
            dialect: Dialect::Openai,
            model: call.model,
            stream: call.stream,
            body_bytes: call.body_bytes,
            turns: 1,
            tls_ca: None,
        })?;
        load::start(load::Options {
            target,
            mode,
            duration: Some(Duration::from_secs_f64(self.options.seconds)),
            requests: None,
            warmup: Duration::from_secs_f64(warmup),
            keepalive: true,
            judge: false,
            patience: PATIENCE,
            connections_max: CONNECTIONS_MAX,
            pin: Some(self.options.rig_core),
        })
    }
}

/// More than any load here needs while it goes well, and no more than a crowd of callers keeps open when it does not.
const CONNECTIONS_MAX: usize = 1_000;

pub struct Call<'c> {
    pub key: &'c str,
    pub model: &'c str,
    pub stream: bool,
    pub body_bytes: usize,
}

/// One number of a node's `/metrics`, by its name and labels.
pub fn metric(node: &Node, name: &str) -> io::Result<Option<f64>> {
    let answer = http::fetch(node.admin, None, &http::request("GET", "/metrics", &[], b""), PATIENCE)?;
    let text = answer.text();
    Ok(text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()))
}
