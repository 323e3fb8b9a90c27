//! `init`: an operator's folder to start from.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};
use weir_shared::fault::Exit;

use crate::catalog::{Catalog, Listed, ListedModel};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::Screen;
use crate::table::Table;
use crate::tree;

/// Write an operator's folder to start from
///
/// In a folder that exists already, only the files of the named vendors are added. Nothing is ever overwritten.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl init --list                               # the vendors that are known
  weirctl init --vendor openai --vendor anthropic
  weirctl init --vendor groq                        # adds vendors/groq.toml to an existing folder")]
pub struct Init {
    /// A vendor of the built-in catalog [default: those whose variable is set here, or openai]
    #[arg(long = "vendor", value_name = "NAME")]
    vendors: Vec<String>,

    /// List the vendors of the built-in catalog
    #[arg(long)]
    list: bool,
}

impl Init {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let catalog = place.catalog()?;
        if self.list {
            return list(&catalog, screen);
        }
        let vendors = self.chosen(&catalog)?;
        let mut files = vec![];
        if !place.folder.join("weir.toml").exists() || self.vendors.is_empty() {
            files.push((place.folder.join("weir.toml"), GATEWAY.to_owned()));
            files.push((place.folder.join("tenants.toml"), TENANTS.to_owned()));
            files.push((place.folder.join("aliases.toml"), aliases(&vendors)));
        }
        for listed in &vendors {
            files.push((place.folder.join(format!("vendors/{}.toml", listed.vendor.name)), vendor_file(listed)));
        }
        if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
            let what = format!("{} exists already", path.display());
            let next = "nothing was written; edit it, name another folder with --folder, or add a vendor with --vendor";
            return Err(Failure::new(Exit::Failed, what).next(next));
        }
        for (path, text) in &files {
            write(path, text)?;
            screen.say(format!("wrote {}", path.display()));
        }
        screen.say(next_steps(&vendors, screen));
        let written: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        let names: Vec<_> = vendors.iter().map(|listed| &listed.vendor.name).collect();
        Ok(json!({"folder": place.folder_name(), "written": written, "vendors": names}))
    }

    fn chosen(&self, catalog: &Catalog) -> Result<Vec<Rc<Listed>>, Failure> {
        let mut chosen = Vec::new();
        for name in &self.vendors {
            chosen.push(listed(catalog, name)?);
        }
        if self.vendors.is_empty() {
            for name in catalog.names() {
                let listed = listed(catalog, name)?;
                let variable = listed.vendor.credential_env.as_deref();
                if variable.is_some_and(|variable| std::env::var_os(variable).is_some()) {
                    chosen.push(listed);
                }
            }
            if chosen.is_empty() {
                chosen.push(listed(catalog, "openai")?);
            }
        }
        Ok(chosen)
    }
}

fn listed(catalog: &Catalog, name: &str) -> Result<Rc<Listed>, Failure> {
    match catalog.vendor(name) {
        Some(Ok(listed)) => Ok(listed),
        Some(Err(wrongs)) => {
            let first = wrongs.first().map(|wrong| format!("line {}: {}", wrong.line, wrong.what)).unwrap_or_default();
            Err(Failure::new(Exit::Failed, format!("the catalog's file of {name} cannot be read: {first}")))
        }
        None => Err(Failure::new(Exit::Missing, format!("the catalog has no vendor {name:?}")).next(format!(
            "{}; any other vendor can be written by hand, see controlplane/README.md",
            tree::suggestion(name, catalog.names())
        ))),
    }
}

fn list(catalog: &Catalog, screen: &Screen) -> Result<Value, Failure> {
    let mut table = Table::new(["vendor", "", "dialect", ">models", "variable"]);
    let mut vendors = Vec::new();
    for name in catalog.names() {
        let listed = listed(catalog, name)?;
        let vendor = &listed.vendor;
        let variable = vendor.credential_env.clone().unwrap_or_default();
        table.row([
            name.to_owned(),
            vendor.title.clone(),
            vendor.dialect.clone(),
            listed.models.len().to_string(),
            variable.clone(),
        ]);
        vendors.push(json!({
            "name": name, "title": vendor.title, "dialect": vendor.dialect, "base_url": vendor.base_url,
            "models": listed.models.len(), "credential_env": vendor.credential_env, "docs": vendor.docs,
        }));
    }
    screen.say(table.render(screen.paint));
    Ok(json!({"vendors": vendors}))
}

/// Fails when the file came into being in between.
fn write(path: &PathBuf, text: &str) -> Result<(), Failure> {
    let made = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    made().map_err(|error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()))
            .next("check who may write there")
    })
}

fn next_steps(vendors: &[Rc<Listed>], screen: &Screen) -> String {
    let mut out = format!("\n{}\n", screen.paint.bold("next"));
    for listed in vendors {
        if let Some(variable) = &listed.vendor.credential_env {
            let set = if std::env::var_os(variable).is_some() { "   # is set here" } else { "" };
            let _ = writeln!(out, "  export {variable}=…{set}");
        }
    }
    out.push_str(
        "  weirctl check                    # every fault with its line\n  \
         weirctl apply                    # publish revision 1\n  \
         weirctl key create --name me     # a key, shown once\n  \
         weir                             # a node; it takes the variables above with it\n",
    );
    out
}

fn vendor_file(listed: &Listed) -> String {
    let Listed { vendor, models, .. } = listed;
    let name = &vendor.name;
    let mut out = format!("# {}: {}\n\n[[vendor]]\nname = {name:?}\n", vendor.title, vendor.docs);
    let _ = writeln!(out, "catalog = {name:?}   # dialect, address, models and prices come from the built-in list");
    if vendor.base_url_placeholder {
        let _ = writeln!(out, "base_url = {:?}   # put your part in", vendor.base_url);
    }
    let needs = |word: &str| vendor.base_url.contains(&format!("{{{word}}}"));
    if let Some(region) = listed.word("region").or_else(|| needs("region").then_some("us-east-1")) {
        let _ = writeln!(out, "region = {region:?}   # yours");
    }
    if needs("project") {
        let _ = writeln!(out, "project = \"YOUR-PROJECT\"   # put your part in");
    }
    if let Some(version) = listed.word("api_version") {
        let _ = writeln!(out, "# api_version = {version:?}");
    }
    if vendor.base_url.starts_with("http://127.") {
        let _ = writeln!(out, "internal = true   # it may be reached on a loopback or private address");
    }
    let example = models.first().map_or("model", |model| &model.is.id);
    let _ = writeln!(out, "# models = [{example:?}, \"another-*\"]   # only these of the list; all when left out");
    if !vendor.base_url_placeholder {
        let _ = writeln!(out, "# base_url = {:?}", vendor.base_url);
    }
    out.push_str(VENDOR_OPTIONS);
    if let Some(variable) = &vendor.credential_env {
        let _ = writeln!(out, "\n[[vendor.credential]]\nname = \"main\"");
        let _ = writeln!(out, "env = {variable:?}   # a variable of the node; or file = \"/run/secrets/{name}\"");
        out.push_str(CREDENTIAL_OPTIONS);
    }
    let _ = write!(
        out,
        "\n# A model that the list lacks, or another price: what is written here wins, key by key.\n\
         # [[model]]\n# vendor = {name:?}\n# id = {example:?}\n# [model.price]   # dollars per million tokens, exact or refused\n\
         # input = \"0.15\"\n# output = \"0.60\"\n"
    );
    out
}

fn aliases(vendors: &[Rc<Listed>]) -> String {
    let mut out =
        "# Names of your own for models. Callers say the left, the gateway serves the right: a model's id, or\n\
                   # vendor/id where several vendors serve it. A key can have its own: `weirctl key create --alias`.\n\
                   [alias]\n"
            .to_owned();
    for listed in vendors {
        let usual = |model: &ListedModel| model.is.kind.as_deref() == Some("chat") && model.has_price();
        let chat = listed.models.iter().find(|model| usual(model) && !model.is.unverified);
        if let Some(model) = chat {
            let _ = writeln!(out, "# my-{} = \"{}/{}\"", listed.vendor.name, listed.vendor.name, model.is.id);
        }
    }
    out
}

const GATEWAY: &str = r##"# The gateway. Every *.toml below this folder is read, in the order of names; keep the folder in git.
#   weirctl check           every fault, with its line
#   weirctl apply --wait    publish, and wait for every node
# Callers' keys are not kept here: `weirctl key create`. Vendors' secrets are not either: a credential names a variable or a file.

[gateway]
# cors_origins = ["https://app.example.com"]   # which browsers' pages may call; "*" for all
# trusted_proxies = ["10.0.0.0/8"]             # whose X-Forwarded-For and PROXY v2 are believed
# cost_header = true                           # tell callers what an answer cost, in x-weir-cost
# untranslatable = "refuse"                    # what a vendor's dialect has no word for: refuse names it, drop leaves it out

[gateway.times]   # these are the defaults
# connect = "1s"                  # to a vendor's open connection, TLS included
# first_byte = "60s"              # to the head of a vendor's answer, over all attempts
# first_byte_reasoning = "600s"   # the same for models that think first
# idle = "60s"                    # between two events of a stream
# total = "600s"
# heartbeat = "15s"               # silence after which a streaming caller gets a sign of life
# drain = "300s"                  # from SIGTERM to the last stream cut

[gateway.sizes]   # in bytes; these are the defaults
# body_bytes_max = 33554432          # a request that is collected: JSON
# forwarded_bytes_max = 536870912    # a request that is passed through: files
# answer_bytes_max = 67108864
# memory_bytes_max = 1073741824      # all collected bodies of the process together
"##;

const TENANTS: &str = r##"# Whose keys they are: what they may use, and what they pay on top of the vendor's price.

[[tenant]]
name = "default"
# markup_bp = 500        # basis points: callers pay 5 % more; negative is a discount
# models = ["gpt-*", "anthropic/*"]   # all models when left out

# [[tenant]]
# name = "research"
"##;

const VENDOR_OPTIONS: &str = r##"# auth = "bearer"        # how it is shown who pays; other ways (x-api-key, aws-sigv4, azure-entra …) are in the catalog's README
# proxy = "http://proxy.internal:3128"   # reach it through a CONNECT proxy
# roots = "bundled"      # whom TLS trusts: bundled, system, or the path of a PEM file
# internal = false       # true: it may be reached on a loopback or private address
# on_hang_up = "abort"   # when the caller goes: abort, or drain to the usage where a vendor bills all of it anyway
# events = "strict"      # a malformed event ends the stream; lenient leaves it out
# responses = true       # dialect openai: it serves /v1/responses, too; false: such calls are translated to chat
# deviations = []        # where it departs from its dialect, so that its answers are normalised; see the catalog's README
"##;

const CREDENTIAL_OPTIONS: &str = r##"# requests_per_minute = 5000   # what the vendor grants this credential
# tokens_per_minute = 2000000
# concurrent_requests = 200
# share = [{ key = "batch-*", percent = 30 }]   # a part of these, and of what the vendor says, that is some keys' own
"##;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Deployment;
    use crate::folder::Folder;

    #[test]
    fn every_vendors_folder_checks_and_nothing_is_overwritten() {
        let at = Deployment::new("init");
        let catalog = Catalog::built_in();
        let mut words = vec!["init"];
        let usable = |name: &&str| !catalog.vendor(name).unwrap().unwrap().vendor.base_url_placeholder;
        for name in catalog.names().filter(usable) {
            words.extend(["--vendor", name]);
        }
        at.run(&words).unwrap();
        let checked = at.run(&["check"]).unwrap();
        assert_eq!(checked["ok"], true);
        assert_eq!(at.run(&words).unwrap_err().exit, Exit::Failed);
        assert_eq!(at.run(&["init"]).unwrap_err().exit, Exit::Failed);
        assert_eq!(at.run(&["init", "--vendor", "opnai"]).unwrap_err().exit, Exit::Missing);
        let added = at.run(&["init", "--vendor", "azure"]).unwrap();
        assert_eq!(added["written"].as_array().unwrap().len(), 1);
    }

    /// What stands behind a `#` in these files is there to be taken in.
    #[test]
    fn every_option_that_is_commented_out_is_a_real_one() {
        let listed = Catalog::built_in().vendor("openai").unwrap().unwrap();
        let files = [
            ("weir.toml", GATEWAY.to_owned()),
            ("tenants.toml", TENANTS.to_owned()),
            ("aliases.toml", aliases(&[Rc::clone(&listed)])),
            ("vendors/openai.toml", vendor_file(&listed)),
        ];
        let option = |line: &str| {
            let rest = line.strip_prefix("# ").unwrap_or(line);
            let key = rest.split_once(" = ").map_or("", |(key, _)| key);
            let real = rest.starts_with('[') || !key.is_empty() && !key.contains(' ');
            let real = real && !key.starts_with("another");
            let other = ["models", "internal"].contains(&key);
            if real && !other { rest.to_owned() } else { line.to_owned() }
        };
        let taken = files.map(|(name, text)| (name.into(), text.lines().map(option).collect::<Vec<_>>().join("\n")));
        let folder = Folder::parse(taken.into(), &Catalog::built_in());
        folder.compile().unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(folder.draft.tenants.len(), 2);
        assert_eq!(folder.draft.aliases.len(), 1);
        assert!(folder.draft.gateway.as_ref().unwrap().is.times.drain.is_some());
    }

    #[test]
    fn the_example_of_an_operators_folder_checks() {
        let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/example");
        let folder = Folder::read(&example, &Catalog::built_in()).unwrap();
        folder.compile().unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert!(folder.draft.vendors.len() >= 2);
    }
}
