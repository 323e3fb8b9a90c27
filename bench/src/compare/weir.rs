//! Bringing up the gateway: an operator's folder, `weirctl apply`, a key, `weir`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Rig;
use super::peer::Proxy;
use super::workload::{Kind, Workload};
use crate::gateway::{self, Programs, output};
use crate::load::Dialect;

/// The binaries, and a state folder that all samples share.
pub struct Gateway {
    programs: Programs,
    state: PathBuf,
    key: String,
    /// The state folder of `start`, with its many keys and models.
    large: Option<(PathBuf, String)>,
}

impl Gateway {
    pub fn find(rig: &Rig, workloads: &[Workload]) -> Result<Gateway, String> {
        let programs = Programs::find(rig.options.weir.as_deref(), rig.options.weirctl.as_deref())?;
        let state = rig.folder.join("weir");
        let text = folder_text(rig, workloads, 0);
        let key = prepare(rig, &programs.weirctl, &state, &text, 1).map_err(|e| e.to_string())?;
        Ok(Gateway { programs, state, key, large: None })
    }

    /// `pass`: with the vendor of a translated workload that speaks its callers' language.
    pub fn start(&mut self, rig: &Rig, workload: &Workload, pass: bool) -> io::Result<Proxy> {
        let (state, key) = if workload.kind == Kind::Start {
            if self.large.is_none() {
                let state = rig.folder.join("weir-large");
                let text = folder_text(rig, std::slice::from_ref(workload), workload.models);
                let key = prepare(rig, &self.programs.weirctl, &state, &text, workload.keys)?;
                self.large = Some((state, key));
            }
            self.large.clone().ok_or_else(|| io::Error::other("no state"))?
        } else {
            (self.state.clone(), self.key.clone())
        };
        let mut command = rig.pinned(&self.programs.weir);
        command.arg("--store").arg(format!("folder:{}", state.join("store").display()));
        command.arg("--state").arg(&state).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cores", "1"]);
        command.arg("--log").arg(rig.folder.join("weir.log"));
        // What a saturated core costs is measured, and not how it refuses what it cannot do.
        command.args(["--shed-after-ms", "0"]);
        // The folder names the credential by its variable; the gateway reads it where it runs.
        command.env(CREDENTIAL, "weirbench");
        if workload.tls {
            let tls = rig.tls_folder();
            command.args(["--tls-listen", "127.0.0.1:0", "--tls-cert"]).arg(tls.join("cert.pem"));
            command.arg("--tls-key").arg(tls.join("key.pem"));
        }
        let model = format!("bench-{}{}", workload.name, if pass { PASS_SUFFIX } else { "" });
        let gateway::Started { process, ready, born } = gateway::launch(command, &rig.folder.join("weir.stderr"))?;
        let address = if workload.tls { &ready["tls"] } else { &ready["data"] };
        let port = address.as_str().and_then(|text| text.rsplit_once(':')).map(|(_, port)| port);
        let port = port.ok_or_else(|| io::Error::other(format!("no address in {ready}")))?;
        let url = format!("{}://localhost:{port}", if workload.tls { "https" } else { "http" });
        Ok(Proxy { url, key, model, process, born })
    }
}

/// Writes the folder, applies it, makes keys; returns one of them.
fn prepare(rig: &Rig, weirctl: &Path, state: &Path, text: &str, keys: usize) -> io::Result<String> {
    let folder = state.with_extension("d");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("weir.toml"), text)?;
    let base = || {
        let mut command = Command::new(weirctl);
        command.arg("--folder").arg(&folder).arg("--state").arg(state).env(CREDENTIAL, "weirbench");
        command.current_dir(&rig.folder);
        command
    };
    output(base().arg("apply"))?;
    let create = |name: &str| -> io::Result<String> {
        let text = output(base().args(["key", "create", "--name", name, "--json"]))?;
        let made: serde_json::Value =
            serde_json::from_str(text.trim()).map_err(|e| io::Error::other(format!("key create: {e}: {text}")))?;
        made["key"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no `key` in {text}")))
    };
    let key = create("bench")?;
    if keys > 1 {
        // One command for all of them where the CLI has it; ten thousand single commands are too slow to be asked for.
        let many =
            base().args(["key", "create", "--name", "bench", "--count", &(keys - 1).to_string(), "--json"]).output()?;
        if !many.status.success() {
            return Err(io::Error::other(format!(
                "key create --count: {}",
                String::from_utf8_lossy(&many.stderr).trim()
            )));
        }
    }
    Ok(key)
}

/// One vendor and one model for each workload, because the scenario is part of the base_url; for a translated one two, the
/// second in its callers' language.
fn folder_text(rig: &Rig, workloads: &[Workload], more_models: usize) -> String {
    let mut text = String::from("[[tenant]]\nname = \"default\"\nmodels = [\"*\"]\n");
    for workload in workloads {
        let name = &workload.name;
        if workload.hedge {
            text += &hedged(rig, workload);
            continue;
        }
        if workload.candidates > 1 {
            text += &route(rig, workload);
            continue;
        }
        text += &vendor(rig, workload, name, workload.vendor.unwrap_or(workload.caller));
        for number in 0..more_models {
            text += &model(name, &format!("model-{number}"), "");
        }
        if workload.vendor.is_some() {
            text += &vendor(rig, workload, &format!("{name}{PASS_SUFFIX}"), workload.caller);
        }
    }
    text
}

/// A name that leads to many vendors by everything that a choice can be made by; and, for comparison, one that leads to one.
fn route(rig: &Rig, workload: &Workload) -> String {
    let name = &workload.name;
    let mut text = vendor(rig, workload, &format!("{name}{PASS_SUFFIX}"), workload.caller);
    let names: Vec<String> = (0..workload.candidates).map(|number| format!("{name}-{number}")).collect();
    names.iter().for_each(|name| {
        text += &vendor(rig, workload, name, workload.caller).replace("\ninternal", "\nregions = [\"eu\"]\ninternal")
    });
    let listed: Vec<String> = names.iter().map(|name| format!("\"bench-{name}\"")).collect();
    let (first, second) = listed.split_at(listed.len() / 2);
    text += &format!(
        "\n[[route]]\nname = \"bench-{name}\"\nregions = [\"eu\"]\n[route.to]\norder = [\n  {{ when = {{ tools = true }}, least_cost = [{}] }},\n  {{ least_latency = [{}] }},\n  {{ weight = [{}] }},\n]\n",
        first.join(", "),
        first.join(", "),
        second.join(", ")
    );
    text
}

/// Two vendors that are alike: a name that may ask both at once, and one that asks the second when the first has failed.
fn hedged(rig: &Rig, workload: &Workload) -> String {
    let name = &workload.name;
    let names = [format!("{name}-first"), format!("{name}-second")];
    let mut text: String = names.iter().map(|name| vendor(rig, workload, name, workload.caller)).collect();
    for (suffix, hedge) in [("", "[route.hedge]\nextra_percent = 3\nnot_before = \"25ms\"\n"), (PASS_SUFFIX, "")] {
        text += &format!(
            "\n[[route]]\nname = \"bench-{name}{suffix}\"\nto.order = [\"bench-{}\", \"bench-{}\"]\n{hedge}",
            names[0], names[1]
        );
    }
    text
}

/// A vendor that speaks this, and its model.
fn vendor(rig: &Rig, workload: &Workload, name: &str, speaks: Dialect) -> String {
    let base = rig.vendor(workload.tls).url(&workload.scenario);
    let roots = if workload.tls { format!("roots = \"{}\"\n", rig.ca().display()) } else { String::new() };
    let (dialect, version, lines, model_lines) = match speaks {
        Dialect::Openai => ("openai", "/v1", "responses = false\n", ""),
        Dialect::Responses => ("openai", "/v1", "", "path = \"responses\"\n"),
        Dialect::Anthropic => ("anthropic", "/v1", "", ""),
        Dialect::Gemini => ("gemini", "/v1beta", "", ""),
        Dialect::Cohere => ("cohere", "", "", ""),
        Dialect::Converse => ("bedrock", "", "", ""),
    };
    let vendor = format!(
        "\n[[vendor]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nbase_url = \"{base}{version}\"\ninternal = true\n{lines}{roots}[[vendor.credential]]\nname = \"main\"\nenv = \"{CREDENTIAL}\"\n"
    );
    vendor + &model(name, &format!("bench-{name}"), model_lines)
}

fn model(vendor: &str, id: &str, lines: &str) -> String {
    format!(
        "\n[[model]]\nvendor = \"{vendor}\"\nid = \"{id}\"\nupstream = \"gpt-4o-mini\"\n{lines}[model.price]\ninput = \"0.15\"\ncache_read = \"0.075\"\noutput = \"0.60\"\n"
    )
}

const PASS_SUFFIX: &str = "-pass";
const CREDENTIAL: &str = "WEIRBENCH_CREDENTIAL";
