//! `check`: would this folder be a revision?

use serde::Serialize;
use serde_json::{Value, json};
use weir_shared::catalog::BaseUrl;
use weir_shared::draft::{ModelDraft, VendorDraft};
use weir_shared::fault::{Exit, Fault, Source};
use weir_shared::resolve::Pattern;
use weir_shared::usage::Class;

use crate::catalog::SOURCE_MARK;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::place::Place;
use crate::screen::Screen;
use crate::table::{Table, count};

/// Check the operator's folder: every fault with its file, its line and what to do
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl check
  weirctl check --models            # every model with its price
  weirctl check --models 'gpt-*'    # these models
  weirctl check --json              # for a pipeline; exit code 3 when there are faults")]
pub struct Check {
    /// List models with their prices, in dollars per million tokens
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, default_missing_value = "*")]
    models: Option<String>,
}

impl Check {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let folder = read(place)?;
        let mut answer = summary(&folder, place, screen);
        if let Some(pattern) = &self.models {
            answer["list"] = models(&folder, pattern, screen);
        }
        for note in notes(&folder, place) {
            screen.note(note.to_string());
        }
        Ok(answer)
    }
}

/// The folder, when it is without faults.
pub fn read(place: &Place) -> Result<Folder, Failure> {
    let folder = match &place.sent {
        Some(sent) => Folder::parse(sent.files.clone(), &place.catalog()?),
        None => Folder::read(&place.folder, &place.catalog()?)?,
    };
    let mut faults = folder.compile().err().unwrap_or_default();
    if faults.is_empty() && folder.draft.vendors.is_empty() {
        let source = Source { file: String::new(), line: 0 };
        faults.push(Fault::new(
            &source,
            "no [[vendor]] is written here, so nothing could be served",
            "write one with `weirctl init --vendor openai`",
        ));
    }
    match faults.is_empty() {
        true => Ok(folder),
        false => Err(failure(place, faults)),
    }
}

fn failure(place: &Place, faults: Vec<Fault>) -> Failure {
    let mut what = format!("{} in {}", count(faults.len(), "fault"), place.folder_name());
    let faults: Vec<_> = faults.into_iter().map(|fault| located(place, fault)).collect();
    for fault in &faults {
        what.push_str(&format!("\n\n{}: {}\n    {}", fault.source, fault.what, fault.fix));
    }
    what.push('\n');
    let list: Vec<_> = faults.iter().map(Flat::of).collect();
    Failure::new(Exit::Faults, what)
        .next("mend them, then `weirctl check` again")
        .detail("ok", false)
        .detail("faults", json!(list))
}

/// With the path as it opens from here.
fn located(place: &Place, mut fault: Fault) -> Fault {
    if !fault.source.file.starts_with(SOURCE_MARK) {
        fault.source.file = std::path::Path::new(&place.folder_name()).join(&fault.source.file).display().to_string();
    }
    fault
}

#[derive(Serialize)]
struct Flat<'a> {
    file: &'a str,
    line: u32,
    what: &'a str,
    fix: &'a str,
}

impl<'a> Flat<'a> {
    fn of(fault: &'a Fault) -> Self {
        Self { file: &fault.source.file, line: fault.source.line, what: &fault.what, fix: &fault.fix }
    }
}

fn summary(folder: &Folder, place: &Place, screen: &Screen) -> Value {
    let draft = &folder.draft;
    screen.say(format!(
        "{} {}: no faults",
        screen.paint.bold(&place.folder_name()),
        screen.paint.dim(&format!("({})", count(folder.files, "file")))
    ));
    let mut table = Table::new(["vendor", "dialect", "base url", ">models", ">unverified", ">left out", "credentials"]);
    let mut vendors = Vec::new();
    for vendor in draft.vendors.iter().map(|vendor| &vendor.is) {
        let own = || draft.models.iter().filter(|model| model.is.vendor == vendor.name);
        let unverified = own().filter(|model| model.is.unverified).count();
        let left_out = folder.left_out.iter().find(|(name, _)| *name == vendor.name).map_or(0, |(_, number)| *number);
        let credentials: Vec<_> = vendor.credentials.iter().map(|credential| credential.name.as_str()).collect();
        table.row([
            vendor.name.clone(),
            vendor.dialect.clone(),
            vendor.base_url.clone(),
            own().count().to_string(),
            unverified.to_string(),
            left_out.to_string(),
            vendor.credentials.iter().map(super::show::named).collect::<Vec<_>>().join(", "),
        ]);
        vendors.push(json!({
            "name": vendor.name, "dialect": vendor.dialect, "base_url": vendor.base_url, "models": own().count(),
            "unverified": unverified, "left_out": left_out, "credentials": credentials,
        }));
    }
    screen.say(table.render(screen.paint));
    let unverified = draft.models.iter().filter(|model| model.is.unverified).count();
    let left_out: usize = folder.left_out.iter().map(|(_, number)| number).sum();
    screen.say(format!(
        "{}, {}, {}, {}",
        count(draft.models.len(), "model"),
        count(draft.routes.len(), "route"),
        if draft.aliases.len() == 1 { "1 alias".into() } else { format!("{} aliases", draft.aliases.len()) },
        count(draft.tenants.len().max(1), "tenant")
    ));
    if unverified > 0 {
        screen.say(format!("{unverified} of the prices are unverified: no list of the vendor's own confirms them"));
    }
    if left_out > 0 {
        screen.say(format!("{left_out} left out: the catalog knows no price; write them as [[model]] with one"));
    }
    let notes: Vec<_> = notes(folder, place).into_iter().collect();
    json!({
        "ok": true, "folder": place.folder_name(), "files": folder.files, "vendors": vendors,
        "models": draft.models.len(), "unverified": unverified, "left_out": left_out,
        "routes": draft.routes.len(), "aliases": draft.aliases.len(), "tenants": draft.tenants.len().max(1),
        "notes": notes.iter().map(Flat::of).collect::<Vec<_>>(),
    })
}

fn models(folder: &Folder, pattern: &str, screen: &Screen) -> Value {
    let pattern = Pattern::new(pattern);
    let mut table = Table::new(["model", "kind", ">input", ">cached", ">output", "more", "price from"]);
    let mut list = Vec::new();
    let mut all: Vec<_> = folder.draft.models.iter().map(|model| &model.is).collect();
    all.sort_by(|a, b| (&a.vendor, &a.id).cmp(&(&b.vendor, &b.id)));
    for model in all {
        let name = format!("{}/{}", model.vendor, model.id);
        if !pattern.matches(&model.id) && !pattern.matches(&name) {
            continue;
        }
        let rate = |class: Class| {
            let rates = model.price.as_ref().map(|price| &price.rates);
            rates.and_then(|rates| rates.get(class.name())).cloned().unwrap_or_default()
        };
        let kind = model.kind.as_deref().unwrap_or("chat").to_owned();
        let [input, cached, output] = [Class::Input, Class::CacheRead, Class::Output].map(rate);
        table.row([name, kind, input, cached, output, more(model), origin(model)]);
        list.push(json!(model));
    }
    screen.say("");
    screen.say(table.render(screen.paint));
    list.into()
}

fn more(model: &ModelDraft) -> String {
    let mut said = Vec::new();
    if model.free {
        said.push("free".to_owned());
    }
    if model.reasoning {
        said.push("reasoning".to_owned());
    }
    if let Some(price) = &model.price {
        let shown = [Class::Input, Class::CacheRead, Class::Output].map(Class::name);
        let others = price.rates.iter().filter(|(name, _)| !shown.contains(&name.as_str()));
        said.extend(others.map(|(name, rate)| format!("{name} {rate}")));
        said.extend(price.above.iter().map(|band| format!("above {}", band.input_tokens)));
        said.extend(price.tiers.keys().cloned());
    }
    said.join(", ")
}

fn origin(model: &ModelDraft) -> String {
    match (&model.price_source, model.unverified) {
        (Some(_), true) => "catalog, unverified".into(),
        (Some(_), false) => "catalog".into(),
        (None, _) => "folder".into(),
    }
}

/// What is right, and still may not work: it depends on where the nodes run.
pub fn notes(folder: &Folder, place: &Place) -> Vec<Fault> {
    let mut notes = Vec::new();
    // It was written on another machine, whose variables and files are not these.
    if place.sent.is_some() {
        return notes;
    }
    for vendor in &folder.draft.vendors {
        let mut note = |what: String, fix: &str| {
            let what = format!("vendor {:?}: {what}", vendor.is.name);
            notes.push(located(place, Fault::new(&vendor.source, what, fix)));
        };
        for credential in &vendor.is.credentials {
            if let Some(name) = credential.env.as_deref().filter(|name| std::env::var_os(name).is_none()) {
                note(format!("the variable {name} is not set here"), "it has to be set where the nodes run");
            }
            if let Some(path) = credential.file.as_deref().filter(|path| !std::path::Path::new(path).exists()) {
                note(format!("the file {path} does not exist here"), "it has to exist where the nodes run");
            }
        }
        if leads_inside(&vendor.is) && !vendor.is.internal {
            let fix = "no node will connect to it unless the vendor says internal = true";
            note(format!("{} is a loopback or private address", vendor.is.base_url), fix);
        }
    }
    notes
}

fn leads_inside(vendor: &VendorDraft) -> bool {
    let Ok(base) = BaseUrl::parse(&vendor.base_url) else { return false };
    match base.host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        Ok(std::net::IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        Err(_) => &*base.host == "localhost" || base.host.ends_with(".localhost"),
    }
}
