//! What an operator's change costs a fleet: nodes on one machine that follow one store, changes that are applied, keys that
//! are revoked, and a deployment with many keys and models.

mod applied;
mod etcd;
mod large;
mod one_key;
mod probe;
mod revoked;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use self::etcd::Etcd;
use crate::deployment::{CREDENTIAL, Deployment};
use crate::gateway::Programs;
use crate::provider::{self, Handle};
use crate::table::{Outcome, Row};

#[derive(Clone, Debug)]
pub struct Options {
    pub nodes: usize,
    /// Of each node.
    pub cores: usize,
    /// How often something is changed, for each row.
    pub changes: usize,
    /// Of the large deployment.
    pub keys: usize,
    pub models: usize,
    /// The store is an etcd of this run's own; a folder otherwise.
    pub etcd: bool,
    /// Names of [`PARTS`]; empty for all.
    pub only: Vec<String>,
    pub weir: Option<PathBuf>,
    pub weirctl: Option<PathBuf>,
    pub etcd_program: PathBuf,
    /// The processor of the node whose cost is measured, and the one of everything else, in the large deployment.
    pub node_core: usize,
    pub rig_core: usize,
    /// Where folders, stores and logs are; a fresh one when not given, removed at the end.
    pub folder: Option<PathBuf>,
}

/// What is measured, in this order.
pub const PARTS: [(&str, Measure); 4] = [
    ("applied", applied::measure),
    ("revoked", revoked::measure),
    ("large", large::measure),
    ("one_key", one_key::measure),
];

type Measure = fn(&mut Rig<'_>) -> io::Result<Vec<Row>>;

/// What all parts share.
pub struct Rig<'s> {
    options: Options,
    programs: Programs,
    vendor: Handle,
    folder: PathBuf,
    /// Made by the first part that wants it.
    many: Option<large::Many>,
    etcd: Option<Etcd>,
    say: &'s mut dyn FnMut(&str),
}

/// Measures; `say` hears how far it is.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
    crate::raise_open_files();
    if let Some(unknown) = options.only.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let known = PARTS.map(|(part, _)| part).join(", ");
        return Err(io::Error::other(format!("there is no part {unknown}; there are: {known}")));
    }
    let programs = Programs::find(options.weir.as_deref(), options.weirctl.as_deref()).map_err(io::Error::other)?;
    let (folder, made) = match &options.folder {
        Some(folder) => (folder.clone(), false),
        None => (std::env::temp_dir().join(format!("weirbench-fleet-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&folder)?;
    let vendor = provider::start(provider::Options { pin: vec![options.rig_core], ..provider::Options::default() })?;
    let etcd = if options.etcd { Some(Etcd::start(&options.etcd_program, &folder)?) } else { None };
    let mut rig = Rig { options, programs, vendor, folder: folder.clone(), many: None, etcd, say };
    let mut outcome = Outcome::default();
    for (part, measure) in PARTS {
        if rig.options.only.is_empty() || rig.options.only.iter().any(|name| name == part) {
            match measure(&mut rig) {
                Ok(rows) => outcome.rows.extend(rows),
                Err(why) => outcome.problems.push(format!("{part}: {why}")),
            }
        }
    }
    drop(rig);
    if made {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(outcome)
}

impl Rig<'_> {
    /// A deployment of its own, in a folder and below a prefix of this name.
    fn deployment(&self, name: &str) -> io::Result<Deployment> {
        let root = self.folder.join(name);
        let store = match &self.etcd {
            Some(etcd) => format!("etcd:{}/{name}", etcd.client),
            None => format!("folder:{}", root.join("store").display()),
        };
        Deployment::new(self.programs.clone(), root, store)
    }

    /// A vendor's table of the operator's folder; its models come behind it.
    fn vendor_table(&self, name: &str) -> String {
        let base = self.vendor.url("");
        format!(
            "\n[[vendor]]\nname = \"{name}\"\ndialect = \"openai\"\nbase_url = \"{base}/v1\"\ninternal = true\nresponses = false\n\
             [[vendor.credential]]\nname = \"main\"\nenv = \"{CREDENTIAL}\"\n"
        )
    }
}

fn model_table(vendor: &str, id: &str) -> String {
    format!(
        "[[model]]\nvendor = \"{vendor}\"\nid = \"{id}\"\nupstream = \"gpt-4o-mini\"\n\
         price = {{ input = \"0.15\", cache_read = \"0.075\", output = \"0.60\" }}\n"
    )
}

/// What a node does after a change beside serving it (its page, its own copy) is over then.
const SETTLED: Duration = Duration::from_millis(1_500);

const PATIENCE: Duration = Duration::from_secs(20);
