//! The operator's folder: every `*.toml` below it, merged by kind into one draft in which everything knows its line.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use weir_shared::draft::{AliasDraft, Draft, GatewayDraft, ModelDraft, Sourced, TenantDraft, VendorDraft};
use weir_shared::fault::{Exit, Fault, Source};
use weir_shared::policy::routing::RouteDraft;
use weir_shared::policy::size::SizesDraft;
use weir_shared::policy::time::TimesDraft;
use weir_shared::resolve::Pattern;
use weir_shared::snapshot::Snapshot;

use crate::catalog::{self, Catalog, Listed, ListedModel};
use crate::failure::Failure;
use crate::price;
use crate::tree::{self, Is, Node, Table};

/// What was read, with everything that is wrong with it.
pub struct Folder {
    pub draft: Draft,
    pub files: usize,
    /// Vendors of the draft that take from the catalog, and how many of its models were left out for lack of a price.
    pub left_out: Vec<(String, usize)>,
    pub taking: Vec<Taking>,
    faults: Vec<Fault>,
    /// The tables as they were written, to find the line of a key.
    tables: HashMap<Source, Table>,
    /// Keys of tables about which something has been told already.
    told: HashSet<(Source, String)>,
    /// A file could not be read as TOML, so what is missing elsewhere may stand in it.
    torn: bool,
    /// A vendor's catalog was not found, so an alias that leads nowhere may be right.
    models_unknown: bool,
}

impl Folder {
    pub fn read(root: &Path, catalog: &Catalog) -> Result<Self, Failure> {
        Ok(Self::parse(Self::texts(root)?, catalog))
    }

    /// Every file's name (relative to the folder) and text, in the order of preference.
    pub fn texts(root: &Path) -> Result<Vec<(String, String)>, Failure> {
        let mut files = Vec::new();
        if !root.is_dir() {
            let what = format!("there is no folder {}", root.display());
            return Err(
                Failure::new(Exit::Missing, what).next("write one with `weirctl init`, or name yours with --folder")
            );
        }
        collect(root, root, 0, &mut files)?;
        files.sort();
        let mut texts = Vec::with_capacity(files.len());
        for (name, path) in files {
            texts.push((name, read_text(&path)?));
        }
        Ok(texts)
    }

    /// From what [`Self::texts`] gave.
    pub fn parse(texts: Vec<(String, String)>, catalog: &Catalog) -> Self {
        let folder = Self {
            draft: Draft::default(),
            files: texts.len(),
            left_out: Vec::new(),
            taking: Vec::new(),
            faults: Vec::new(),
            tables: HashMap::new(),
            told: HashSet::new(),
            torn: false,
            models_unknown: false,
        };
        let mut reader = Reader { folder, catalog, models: Vec::new() };
        for (name, text) in &texts {
            reader.file(name, text);
        }
        reader.finish()
    }

    /// The snapshot that this folder means, or all that keeps it from being one, in the order of files and lines.
    pub fn compile(&self) -> Result<Snapshot, Vec<Fault>> {
        let mut faults = self.faults.clone();
        let compiled = match self.torn {
            true => Err(Vec::new()),
            false => Snapshot::compile(0, &self.draft),
        };
        let found = match compiled {
            Ok(snapshot) if faults.is_empty() => return Ok(snapshot),
            Ok(_) => Vec::new(),
            Err(found) => found,
        };
        // What followed only from what was left out is not told again.
        let root = |fault: &Fault| fault.key.split('.').next().unwrap_or_default().to_owned();
        let followed = |fault: &Fault| {
            self.told.contains(&(fault.source.clone(), root(fault))) || self.models_unknown && fault.key == "target"
        };
        faults.extend(found.into_iter().filter(|fault| !followed(fault)).map(|fault| self.located(fault)));
        faults.sort_by(|a, b| (&a.source.file, a.source.line).cmp(&(&b.source.file, b.source.line)));
        faults.dedup();
        Err(faults)
    }

    /// The fault at the line of its key instead of the line of its table.
    fn located(&self, mut fault: Fault) -> Fault {
        let table = self.tables.get(&fault.source);
        if let Some(line) = table.and_then(|table| table.line_of(&fault.key)) {
            fault.source.line = line;
        }
        fault
    }
}

/// How deep folders nest, and how large one of their files may be: an operator's folder is read by people.
const DEPTH_MAX: usize = 8;
const FILE_BYTES_MAX: u64 = 16 << 20;
const FILES_MAX: usize = 10_000;

fn collect(root: &Path, at: &Path, depth: usize, files: &mut Vec<(String, PathBuf)>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{} cannot be read: {error}", at.display())).next("check who may read it")
    };
    for entry in std::fs::read_dir(at).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // Version control, editors, and the hidden half of a mounted Kubernetes map.
        if name.starts_with('.') {
            continue;
        }
        // Follows links: a mounted map consists of them.
        if path.is_dir() {
            if depth < DEPTH_MAX {
                collect(root, &path, depth + 1, files)?;
            }
        } else if name.ends_with(".toml") {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push((relative.to_string_lossy().into_owned(), path.clone()));
        }
        if files.len() > FILES_MAX {
            let what = format!("{} holds more than {FILES_MAX} files", root.display());
            return Err(Failure::new(Exit::Failed, what).next("is it the folder you mean?"));
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let failed =
        |why: String| Failure::new(Exit::Failed, format!("{} cannot be read: {why}", path.display())).next("mend it");
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

struct Reader<'a> {
    folder: Folder,
    catalog: &'a Catalog,
    /// Models are read last, when all vendors are known.
    models: Vec<(Source, Table)>,
}

/// A vendor that takes from the catalog.
pub struct Taking {
    pub vendor: String,
    pub listed: Rc<Listed>,
    patterns: Option<Vec<Pattern>>,
}

impl Taking {
    /// The operator takes all of the vendor's models, or this one.
    pub fn wants(&self, id: &str) -> bool {
        self.patterns.as_ref().is_none_or(|all| all.iter().any(|pattern| pattern.matches(id)))
    }

    pub fn find(&self, id: &str) -> Option<&Rc<ListedModel>> {
        self.listed.models.iter().find(|model| model.is.id == id)
    }
}

const TOP: &[&str] = &["gateway", "alias", "tenant", "vendor", "model", "route"];

impl Reader<'_> {
    fn file(&mut self, name: &str, text: &str) {
        let source = |line| Source { file: name.to_owned(), line };
        let tree = match tree::parse(text) {
            Ok(tree) => tree,
            Err(wrongs) => {
                self.folder.torn = true;
                let faults = wrongs.into_iter().map(|wrong| Fault::new(&source(wrong.line), wrong.what, wrong.fix));
                return self.folder.faults.extend(faults);
            }
        };
        for (key, line, node) in tree.each() {
            match (key, &node.is) {
                ("gateway", Is::Table(table)) => self.gateway(source(line), table),
                ("alias", Is::Table(table)) => self.aliases(name, table),
                ("tenant" | "vendor" | "model" | "route", Is::List(items)) => {
                    for item in items {
                        let Is::Table(table) = &item.is else {
                            self.fault(&source(item.line), format!("{key} is no table"), format!("write [[{key}]]"));
                            continue;
                        };
                        match key {
                            "tenant" => self.tenant(source(item.line), table),
                            "vendor" => self.vendor(source(item.line), table),
                            "route" => self.route(source(item.line), table),
                            _ => {
                                let table = self.remember(&source(item.line), table);
                                self.models.push((source(item.line), table));
                            }
                        }
                    }
                }
                ("tenant" | "vendor" | "model" | "route", Is::Table(_)) => {
                    let what = format!("[{key}] stands for one of many");
                    self.fault(&source(line), what, format!("write [[{key}]] with two brackets"));
                }
                ("gateway" | "alias", _) => {
                    self.fault(&source(line), format!("{key} must be a table"), format!("write [{key}]"));
                }
                ("key" | "keys", _) => {
                    let what = "callers' keys are not kept in the folder, where they could reach version control";
                    self.fault(&source(line), what.into(), "make one with `weirctl key create`".into());
                }
                ("credential", _) => {
                    let fix = "write [[vendor.credential]] below its [[vendor]]";
                    self.fault(&source(line), "a credential belongs to a vendor".into(), fix.into());
                }
                _ => {
                    let fix = tree::suggestion(key, TOP.iter().copied());
                    self.fault(&source(line), format!("{key:?} is not known"), fix);
                }
            }
        }
    }

    fn gateway(&mut self, source: Source, table: &Table) {
        if let Some(first) = &self.folder.draft.gateway {
            let what = format!("[gateway] is written twice, first at {}", first.source);
            return self.fault(&source, what, "keep one of them".into());
        }
        let mut table = self.remember(&source, table);
        for (group, keys) in [("times", tree::keys_of::<TimesDraft>()), ("sizes", tree::keys_of::<SizesDraft>())] {
            for key in keys {
                let Some(line) = table.key_line(key) else { continue };
                table.take(key);
                let at = Source { line, ..source.clone() };
                self.fault(&at, format!("{key} stands in [gateway]"), format!("move it below [gateway.{group}]"));
            }
        }
        if let Some(draft) = self.take::<GatewayDraft>(&source, &table, &[]) {
            self.folder.draft.gateway = Some(Sourced { source, is: draft });
        }
    }

    fn aliases(&mut self, file: &str, table: &Table) {
        for (name, line, node) in table.each() {
            let source = Source { file: file.to_owned(), line };
            match &node.is {
                Is::Text(target) => {
                    let is = AliasDraft { name: name.to_owned(), target: target.clone() };
                    self.folder.draft.aliases.push(Sourced { source, is });
                }
                _ => self.fault(&source, format!("alias {name:?} must be text"), format!("{name} = \"vendor/model\"")),
            }
        }
    }

    fn tenant(&mut self, source: Source, table: &Table) {
        let table = self.remember(&source, table);
        if let Some(is) = self.take::<TenantDraft>(&source, &table, &[]) {
            self.folder.draft.tenants.push(Sourced { source, is });
        }
    }

    fn route(&mut self, source: Source, table: &Table) {
        let table = self.remember(&source, table);
        if let Some(is) = self.take::<RouteDraft>(&source, &table, &[]) {
            self.folder.draft.routes.push(Sourced { source, is });
        }
    }

    fn vendor(&mut self, source: Source, table: &Table) {
        let mut table = self.remember(&source, table);
        let line = source.line;
        let catalog = self.text_of(&source, &mut table, "catalog");
        let wanted = table.take("models");
        let listed = catalog.as_deref().and_then(|name| self.listed(&source, name));
        if let (Some(node), None) = (&wanted, &catalog) {
            let at = Source { line: node.line, ..source.clone() };
            let what = "models chooses from the catalog, and this vendor has no catalog";
            self.fault(&at, what.into(), "add catalog = \"…\", or write each model as [[model]]".into());
        }
        if let Some(listed) = &listed {
            let vendor = &listed.vendor;
            table.default_to("name", line, || Is::Text(vendor.name.clone()));
            table.default_to("dialect", line, || Is::Text(vendor.dialect.clone()));
            for (key, is) in listed.taken() {
                table.default_to(key, line, || is.clone());
            }
            if !table.has("base_url") && vendor.base_url_placeholder {
                let what = format!("vendor {:?}: part of its address is known to you alone", vendor.name);
                self.fault(&source, what, format!("add base_url = {:?}, with your part in it", vendor.base_url));
            }
            table.default_to("base_url", line, || Is::Text(vendor.base_url.clone()));
            if let Some(variable) = &vendor.credential_env {
                table.default_to("credential", line, || {
                    let mut credential = Table::default();
                    credential.insert("env", line, Is::Text(variable.clone()));
                    Is::List(vec![Node { line, is: Is::Table(credential) }])
                });
            }
        } else if catalog.is_some() {
            // The catalog's name was wrong, which has been told; what it would have given is not missing as well.
            self.folder.models_unknown = true;
            let name = catalog.clone().unwrap_or_default();
            table.default_to("name", line, || Is::Text(name));
            table.default_to("dialect", line, || Is::Text("openai".into()));
            table.default_to("base_url", line, || Is::Text("https://invalid".into()));
        }
        self.credentials(&source, &mut table);
        let Some(is) = self.take::<VendorDraft>(&source, &table, &["catalog", "models"]) else { return };
        if let Some(listed) = listed {
            let patterns = wanted.and_then(|node| self.patterns(&source, &node, &listed));
            self.folder.taking.push(Taking { vendor: is.name.clone(), listed, patterns });
        }
        self.folder.draft.vendors.push(Sourced { source, is });
    }

    /// A lone credential needs no name, and no credential holds a secret.
    fn credentials(&mut self, source: &Source, table: &mut Table) {
        let Some(line) = table.key_line("credential") else { return };
        let Some(mut node) = table.take("credential") else { return };
        if let Is::List(items) = &mut node.is {
            let alone = items.len() == 1;
            for item in items {
                let Is::Table(credential) = &mut item.is else { continue };
                if alone {
                    credential.default_to("name", item.line, || Is::Text("main".into()));
                }
                for secret in ["key", "api_key", "secret", "token", "value"] {
                    let Some(line) = credential.key_line(secret) else { continue };
                    credential.take(secret);
                    let at = Source { line, ..source.clone() };
                    let what = format!("a credential cannot hold its secret ({secret})");
                    let fix = "name where the node finds it: env = \"VARIABLE\" or file = \"/path\"; \
                               and change the secret if it reached version control";
                    self.fault(&at, what, fix.into());
                }
            }
        }
        table.put_back("credential", line, node);
    }

    fn patterns(&mut self, source: &Source, node: &Node, listed: &Listed) -> Option<Vec<Pattern>> {
        let Is::List(items) = &node.is else {
            let at = Source { line: node.line, ..source.clone() };
            self.fault(&at, "models must be a list".into(), "write it like models = [\"gpt-4o*\"]".into());
            return None;
        };
        let mut patterns = Vec::new();
        for item in items {
            let at = Source { line: item.line, ..source.clone() };
            let Is::Text(text) = &item.is else {
                self.fault(&at, "models must be a list of text".into(), "write each in double quotes".into());
                continue;
            };
            let pattern = Pattern::new(text);
            if !listed.models.iter().any(|model| pattern.matches(&model.is.id)) {
                let what = format!("models: {text:?} is no model of the catalog {:?}", listed.vendor.name);
                let near = tree::nearest(text, listed.models.iter().map(|model| model.is.id.as_str()));
                let fix = match near {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "write it as [[model]] with its price, or correct it".into(),
                };
                self.fault(&at, what, fix);
            }
            patterns.push(pattern);
        }
        Some(patterns)
    }

    fn listed(&mut self, source: &Source, name: &str) -> Option<Rc<Listed>> {
        let at = self.at_key(source, "catalog");
        match self.catalog.vendor(name) {
            Some(Ok(listed)) => Some(listed),
            Some(Err(wrongs)) => {
                for wrong in wrongs {
                    let there = Source { file: catalog::source_file(name), line: wrong.line };
                    self.fault(&there, wrong.what, wrong.fix);
                }
                None
            }
            None => {
                let fix = match tree::nearest(name, self.catalog.names()) {
                    Some(near) => format!("did you mean {near:?}? `weirctl init --list` lists them"),
                    None => "`weirctl init --list` lists them".into(),
                };
                self.fault(&at, format!("the catalog has no vendor {name:?}"), fix);
                None
            }
        }
    }

    /// What a folder says of a model, over what the catalog says of it.
    fn model(&mut self, source: Source, mut table: Table) {
        let vendor = table.text("vendor").unwrap_or_default().to_owned();
        let taking = self.folder.taking.iter().find(|taking| taking.vendor == vendor);
        let named = |key| table.text(key).and_then(|id| taking?.find(id));
        let listed = named("id").or_else(|| named("upstream")).map(Rc::clone);
        price::shape(&mut table);
        let Some(mut is) = self.take::<ModelDraft>(&source, &table, &[]) else { return };
        if let Some(ListedModel { is: known, .. }) = listed.as_deref() {
            let said = |key| table.has(key);
            if !said("upstream") && known.id == is.id {
                is.upstream.clone_from(&known.upstream);
            }
            if !said("kind") {
                is.kind.clone_from(&known.kind);
            }
            if !said("reasoning") {
                is.reasoning = known.reasoning;
            }
            if !said("context_tokens") {
                is.context_tokens = known.context_tokens;
            }
            if !said("output_tokens_max") {
                is.output_tokens_max = known.output_tokens_max;
            }
            if !said("can") {
                is.can.clone_from(&known.can);
            }
            if !said("price") && !said("free") {
                is.price.clone_from(&known.price);
                is.free = known.free;
                is.price_source.clone_from(&known.price_source);
                is.unverified = known.unverified;
            }
        }
        self.folder.draft.models.push(Sourced { source, is });
    }

    fn finish(mut self) -> Folder {
        for (source, table) in std::mem::take(&mut self.models) {
            self.model(source, table);
        }
        let own: HashSet<(String, String)> =
            self.folder.draft.models.iter().map(|model| (model.is.vendor.clone(), model.is.id.clone())).collect();
        for taking in &self.folder.taking {
            let mut left_out = 0;
            for model in &taking.listed.models {
                if !taking.wants(&model.is.id) || own.contains(&(taking.vendor.clone(), model.is.id.clone())) {
                    continue;
                }
                if !model.has_price() {
                    left_out += 1;
                    continue;
                }
                let source = Source { file: catalog::source_file(&model.file), line: model.line };
                let is = ModelDraft { vendor: taking.vendor.clone(), ..model.is.clone() };
                self.folder.draft.models.push(Sourced { source, is });
            }
            self.folder.left_out.push((taking.vendor.clone(), left_out));
        }
        self.folder
    }

    /// Keeps the table as it was written, and gives a copy to work on.
    fn remember(&mut self, source: &Source, table: &Table) -> Table {
        self.folder.tables.insert(source.clone(), table.clone());
        table.clone()
    }

    fn take<T: DeserializeOwned>(&mut self, source: &Source, table: &Table, aside: &[&str]) -> Option<T> {
        let folder = &mut self.folder;
        let draft = tree::read(table, source.line, aside, |wrong| {
            let at = Source { line: wrong.line, ..source.clone() };
            folder.faults.push(Fault::new(&at, price::as_written(&wrong.what), wrong.fix));
            folder.told.insert((source.clone(), wrong.key));
        });
        // Nothing can be said of what names a thing that could not be read at all.
        folder.torn |= draft.is_none();
        draft
    }

    fn text_of(&mut self, source: &Source, table: &mut Table, key: &str) -> Option<String> {
        let line = table.key_line(key)?;
        match table.take(key)?.is {
            Is::Text(text) => Some(text),
            _ => {
                let at = Source { line, ..source.clone() };
                self.fault(&at, format!("{key} must be text"), "write it in double quotes".into());
                None
            }
        }
    }

    fn fault(&mut self, source: &Source, what: String, fix: String) {
        self.folder.faults.push(Fault::new(source, what, fix));
    }

    fn at_key(&self, source: &Source, key: &str) -> Source {
        let line = self.folder.tables.get(source).and_then(|table| table.key_line(key));
        Source { line: line.unwrap_or(source.line), ..source.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(texts: &[(&str, &str)]) -> Folder {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Folder::parse(texts, &Catalog::built_in())
    }

    const VENDOR: &str = "[[vendor]]\nname = \"v\"\ndialect = \"openai\"\nbase_url = \"https://v.example/v1\"\n";
    const MODEL: &str = "[[model]]\nvendor = \"v\"\nid = \"m\"\nfree = true\n";

    /// The text stands below a good vendor (lines 1–4) and a good model (lines 5–8), so it starts at line 9.
    fn faults(text: &str) -> Vec<String> {
        let whole = format!("{VENDOR}{MODEL}{text}");
        let Err(faults) = folder(&[("a.toml", &whole)]).compile() else { return Vec::new() };
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_fault_has_its_line_and_its_fix() {
        let mut wrong = Vec::new();
        let mut one = |text: &str, expected: &str| {
            let told = faults(text);
            if told != [expected] {
                wrong.push((text.to_owned(), told, expected.to_owned()));
            }
        };
        one(
            "[alias]\n\nfast = \"v/n\"",
            "a.toml:11: alias \"fast\" leads to \"v/n\", which no vendor serves; name a model as `weirctl check --models` lists it, or add the model",
        );
        one("[[modle]]\nid = \"x\"", "a.toml:9: \"modle\" is not known; did you mean \"model\"?");
        one("[vendors]\nname = \"x\"", "a.toml:9: \"vendors\" is not known; did you mean \"vendor\"?");
        one(
            "[[key]]\nid = \"x\"",
            "a.toml:9: callers' keys are not kept in the folder, where they could reach version control; make one with `weirctl key create`",
        );
        one(
            "[[tenant]]\nname = \"t\"\nmarkup = 5",
            "a.toml:11: the key \"markup\" is not known; did you mean \"markup_bp\"?",
        );
        one(
            "[[tenant]]\nname = \"t\"\nmarkup_bp = \"5\"",
            "a.toml:11: markup_bp is text and must be a whole number; write a whole number without quotes",
        );
        one(
            "[[tenant]]\nname = \"t\"\n\nmarkup_bp = -20000",
            "a.toml:12: tenant \"t\": markup_bp = -20000 is out of range; between -10000 (free) and 1000000 (a hundred times) basis points",
        );
        one("[[tenant]]\nmarkup_bp = 5", "a.toml:9: name is missing; add name = …");
        one(
            "[gateway.times]\nidle = \"soon\"",
            "a.toml:10: times.idle is not a duration; write a number and a unit, such as \"250ms\", \"10s\", \"5m\"",
        );
        one("[gateway]\nidle = \"5s\"", "a.toml:10: idle stands in [gateway]; move it below [gateway.times]");
        one("[gateway.times]\nidel = \"5s\"", "a.toml:10: the key \"times.idel\" is not known; did you mean \"idle\"?");
        one(
            "[[model]]\nvendor = \"w\"\nid = \"n\"\nfree = true",
            "a.toml:10: model \"n\": its vendor \"w\" does not exist; add a [[vendor]] of that name, or correct it",
        );
        one(
            "[[model]]\nvendor = \"v\"\nid = \"n\"",
            "a.toml:9: model \"n\" has no price; add [model.price], or say free = true",
        );
        one(
            "[[model]]\nvendor = \"v\"\nid = \"n\"\n[model.price]\ninput = 0.15",
            "a.toml:13: price.input is a number with a fraction and must be text; write it in double quotes",
        );
        one(
            "[[model]]\nvendor = \"v\"\nid = \"n\"\n[model.price]\ninput = \"1\"\n[model.price.batch]\noutput = \"0.0000001\"",
            "a.toml:15: model \"n\": price output = \"0.0000001\": finer than a pico-dollar: at most 6 decimals, rounded by you and not by us; a decimal string of dollars",
        );
        one(
            "[[model]]\nvendor = \"v\"\nid = \"n\"\n[model.price]\nimput = \"1\"",
            "a.toml:13: model \"n\": price class \"imput\" is not known; one of input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, image_input, image_output, image, request, second, page, character_million, server_tool",
        );
        one(
            "[[model]]\nvendor = \"v\"\nid = \"n\"\n[model.price]\ninput = \"1\"\n[[model.price.above]]\ninput_tokens = 5\noutput = \"-1\"",
            "a.toml:16: model \"n\": price output = \"-1\": a price cannot be negative; a decimal string of dollars",
        );
        one(
            "[[vendor]]\nname = \"w\"\ndialect = \"opnai\"\nbase_url = \"https://x/\"",
            "a.toml:11: vendor \"w\": dialect \"opnai\" is not known; one of openai, anthropic, gemini, cohere, bedrock",
        );
        one(
            "[[vendor]]\nname = \"w\"\ncatalog = \"opnai\"\n[alias]\nx = \"w/gpt-4o\"",
            "a.toml:11: the catalog has no vendor \"opnai\"; did you mean \"openai\"? `weirctl init --list` lists them",
        );
        one(
            "[[vendor]]\ncatalog = \"openai\"\nmodels = [\n  \"gpt-4o*\",\n  \"gtp-4o\",\n]",
            "a.toml:13: models: \"gtp-4o\" is no model of the catalog \"openai\"; did you mean \"gpt-4o\"?",
        );
        one(
            "[[vendor]]\ncatalog = \"azure\"",
            "a.toml:9: vendor \"azure\": part of its address is known to you alone; add base_url = \"https://YOUR-RESOURCE.openai.azure.com/openai/v1\", with your part in it",
        );
        one(
            "[[vendor]]\ncatalog = \"openai\"\n[[vendor.credential]]\nname = \"a\"\nenv = \"A\"\n[[vendor.credential]]\nname = \"b\"",
            "a.toml:14: vendor \"openai\", credential \"b\": it needs exactly one of env, file and sealed; env = \"NAME_OF_A_VARIABLE\", file = \"/path\", or sealed = true and `weirctl vendor credential set`",
        );
        one(
            "[gateway]\n\n[model]\n",
            "a.toml:11: this is not TOML: duplicate key; correct the line; strings stand in double quotes, tables in [brackets]",
        );
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_secret_in_the_folder_is_told_and_not_repeated() {
        let told =
            faults("[[vendor]]\ncatalog = \"openai\"\n[[vendor.credential]]\napi_key = \"sk-canary\"\nenv = \"A\"");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("a.toml:12: a credential cannot hold its secret (api_key)"));
        assert!(!told[0].contains("canary"));
    }

    #[test]
    fn all_faults_of_all_files_come_at_once_in_order() {
        let texts = [
            ("b.toml", "[[model]]\nvendor = \"nobody\"\nid = \"x\"\nfree = 1\n"),
            ("a.toml", "[[vendor]]\nname = \"v\"\ndialect = 7\nbase_url = \"v.example\"\nproxi = \"x\"\n"),
        ];
        let faults = folder(&texts).compile().unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.source.to_string()).collect();
        // The wrong dialect is told once, as a number; that it is then missing is no news.
        assert_eq!(places, ["a.toml:1", "a.toml:3", "a.toml:4", "a.toml:5", "b.toml:2", "b.toml:4"], "{faults:#?}");
    }

    /// Whatever table a word stands in, and however deep: it is told with its line, or it would be passed over in silence.
    #[test]
    fn no_table_takes_a_word_that_nobody_knows() {
        let text = "[gateway]\ncost_header = true\n[gateway.times]\n[gateway.sizes]\n[gateway.breaker]\n[gateway.queue]\nwait = \"1s\"\n\
            [[tenant]]\nname = \"t\"\n\
            [[vendor]]\nname = \"v\"\ncatalog = \"openai\"\nmodels = [\"gpt-4o*\"]\n\
            [vendor.times]\n[vendor.breaker]\n[[vendor.path]]\nendpoint = \"files\"\nto = \"files\"\n\
            [[vendor.credential]]\nname = \"main\"\nenv = \"A\"\nshare = [{ key = \"k*\", percent = 5 }]\n\
            [[model]]\nvendor = \"v\"\nid = \"m\"\n[model.price]\ninput = \"1\"\noutput = \"2\"\n\
            [[model.price.above]]\ninput_tokens = 5\ninput = \"2\"\n\
            [model.price.batch]\ninput = \"1\"\noutput = \"1\"\n[[model.price.batch.above]]\ninput_tokens = 9\ninput = \"1\"\n\
            [[route]]\nname = \"r\"\n[route.to]\norder = [\n{ when = { tools = true }, model = \"v/m\" },\n\
            { weight = [{ share = 2, model = \"v/gpt-4o\" }, \"v/m\"] }]\n[route.hedge]\nextra_percent = 3\n[route.mirror]\nto = \"v/m\"\npercent = 1\n";
        let whole = folder(&[("a.toml", text)]);
        assert_eq!(whole.compile().map(drop), Ok(()));
        let mut places: Vec<usize> = text.match_indices("]\n").map(|(at, _)| at + 2).collect();
        let ends = |at: &usize| text[..*at].lines().next_back().is_some_and(|line| line.starts_with('['));
        places.retain(ends);
        let tables = places.len();
        places.extend(text.match_indices("{ ").map(|(at, _)| at + 2));
        assert!(tables >= 15 && places.len() >= tables + 5);
        for (number, at) in places.into_iter().enumerate() {
            let word = if number < tables { "zzz = \"1\"\n" } else { "zzz = \"1\", " };
            let with = format!("{}{word}{}", &text[..at], &text[at..]);
            let line = text[..at].matches('\n').count() as u32 + 1;
            let faults = folder(&[("a.toml", &with)]).compile().map(drop).unwrap_err();
            let told = |fault: &Fault| fault.source.line == line && fault.what.contains("zzz");
            assert!(faults.iter().any(told), "line {line}: {faults:#?}\n{with}");
        }
    }

    #[test]
    fn a_line_of_a_vendor_is_enough_when_the_catalog_knows_the_rest() {
        let folder = folder(&[("v.toml", "[[vendor]]\ncatalog = \"openai\"\n")]);
        folder.compile().unwrap();
        let vendor = &folder.draft.vendors[0].is;
        assert_eq!((vendor.name.as_str(), vendor.dialect.as_str()), ("openai", "openai"));
        assert_eq!(vendor.credentials[0].name, "main");
        assert_eq!(vendor.credentials[0].env.as_deref(), Some("OPENAI_API_KEY"));
        assert!(folder.draft.models.len() > 100);
    }

    #[test]
    fn the_folder_wins_over_the_catalog_key_by_key() {
        let text = "[[vendor]]\nname = \"mine\"\ncatalog = \"openai\"\nmodels = [\"gpt-4o-mini\"]\n\
                    [[model]]\nvendor = \"mine\"\nid = \"gpt-4o\"\ncontext_tokens = 5\n\
                    [[model]]\nvendor = \"mine\"\nid = \"deployment\"\nupstream = \"gpt-4o\"\n\
                    [[model]]\nvendor = \"mine\"\nid = \"gpt-4.1\"\n[model.price]\ninput = \"9\"\n";
        let folder = folder(&[("v.toml", text)]);
        folder.compile().unwrap();
        let ids: Vec<_> = folder.draft.models.iter().map(|model| model.is.id.as_str()).collect();
        assert_eq!(ids, ["gpt-4o", "deployment", "gpt-4.1", "gpt-4o-mini"]);
        let model = |id: &str| &folder.draft.models.iter().find(|model| model.is.id == id).unwrap().is;
        assert_eq!(model("gpt-4o").context_tokens, Some(5));
        assert!(model("gpt-4o").price.is_some());
        assert_eq!(model("deployment").upstream.as_deref(), Some("gpt-4o"));
        assert_eq!(model("deployment").price, model("gpt-4o").price);
        assert_eq!(model("gpt-4.1").price.as_ref().unwrap().rates.len(), 1);
        assert_eq!(model("gpt-4.1").price_source, None);
    }

    #[test]
    fn every_vendor_of_the_catalog_compiles() {
        let catalog = Catalog::built_in();
        let mut text = String::new();
        for name in catalog.names() {
            text += &format!("[[vendor]]\ncatalog = {name:?}\n");
            if catalog.vendor(name).unwrap().unwrap().vendor.base_url.contains("{project}") {
                text += "project = \"mine\"\n";
            }
            if catalog.vendor(name).unwrap().unwrap().vendor.base_url_placeholder {
                text += "base_url = \"https://mine.example/v1\"\n";
            }
        }
        let folder = folder(&[("all.toml", &text)]);
        folder.compile().unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert!(folder.draft.models.len() > 1_000);
    }

    /// What a cloud needs beyond an address comes from the catalog, and what only the operator knows is asked for.
    #[test]
    fn clouds_are_reached_by_the_catalogs_data_and_the_operators_words() {
        let text = "[[vendor]]\ncatalog = \"vertex_anthropic\"\nproject = \"mine\"\nregion = \"europe-west1\"\n\
                    [[vendor]]\ncatalog = \"azure_deployments\"\nbase_url = \"https://r.openai.azure.com/openai\"\n\
                    api_version = \"2025-01-01-preview\"\nauth = \"azure-entra\"\nmodels = [\"gpt-4o\"]\n";
        let folder = folder(&[("a.toml", text)]);
        let snapshot = folder.compile().unwrap_or_else(|faults| panic!("{faults:#?}"));
        let [vertex, azure] = &snapshot.catalog.vendors[..] else { panic!() };
        assert_eq!(&*vertex.base.host, "europe-west1-aiplatform.googleapis.com");
        assert_eq!(&*vertex.base.path, "/v1/projects/mine/locations/europe-west1/publishers/anthropic");
        assert_eq!((vertex.paths.len(), vertex.auth.name()), (2, "google-service-account"));
        let rule = weir_shared::reach::rule_for(&azure.paths, "chat/completions", true).unwrap();
        assert_eq!(
            (&*rule.template(false).query, azure.auth.name()),
            ("api-version=2025-01-01-preview", "azure-entra")
        );
        assert!(snapshot.catalog.models.iter().any(|model| &*model.id == "gpt-4o"), "models of another file");
    }

    #[test]
    fn what_a_cloud_lacks_is_told_at_its_line() {
        let told = |text: &str| {
            let faults = folder(&[("a.toml", text)]).compile().unwrap_err();
            let tell = |fault: &Fault| format!("{}|{}|{}", fault.source, fault.what, fault.fix);
            faults.iter().map(tell).collect::<Vec<_>>()
        };
        let vendor = |lines: &str| {
            told(&format!(
                "[[vendor]]\nname = \"v\"\ndialect = \"anthropic\"\nbase_url = \"https://v/v1\"\n{lines}\n\
                 [[vendor.credential]]\nenv = \"X\"\n"
            ))
        };
        let one = |faults: Vec<String>| {
            assert_eq!(faults.len(), 1, "{faults:#?}");
            faults.into_iter().next().unwrap_or_default()
        };
        let missing = one(told("[[vendor]]\ncatalog = \"vertex\"\n"));
        assert!(missing.starts_with("a.toml:1|") && missing.ends_with("|add project = \"my-project\""), "{missing}");
        let region = one(vendor("auth = \"aws-sigv4\""));
        assert!(region.contains("for a region|add region = "), "{region}");
        let token = one(vendor("auth = \"azure-entra\"\ntoken_url = \"http://login.example/token\""));
        assert!(token.starts_with("a.toml:6|") && token.contains("in the open"), "{token}");
        let useless = one(vendor("scope = \"x\""));
        assert!(useless.starts_with("a.toml:5|"), "{useless}");
        let unknown = one(vendor("auth = \"kerberos\""));
        assert!(unknown.starts_with("a.toml:5|") && unknown.contains("aws-sigv4, azure-entra"), "{unknown}");
        let path = one(vendor("[[vendor.path]]\nendpoint = \"messages\"\nto = \"models/{modle}\""));
        assert!(path.starts_with("a.toml:5|") && path.contains("{modle"), "{path}");
    }

    #[test]
    fn hidden_folders_are_passed_over_and_the_order_is_that_of_names() {
        let root = std::env::temp_dir().join(format!("weirctl-folder-{}", std::process::id()));
        for (name, text) in [("b/v.toml", VENDOR), (".git/x.toml", "["), ("a.toml", "[alias]\n"), ("c.txt", "[")] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let folder = Folder::read(&root, &Catalog::built_in()).unwrap();
        assert_eq!(folder.files, 2);
        assert_eq!(folder.draft.vendors[0].source.to_string(), "b/v.toml:1");
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// Cut anywhere and with any letter changed, a folder gives a snapshot or faults with lines, and never a panic.
    #[test]
    fn no_text_is_too_strange() {
        let text = format!(
            "{VENDOR}[[vendor.credential]]\nname=\"a\"\nenv=\"A\"\n[vendor.times]\nidle=\"5s\"\n\
             [[model]]\nvendor=\"v\"\nid=\"m\"\n[model.price]\ninput=\"0.15\"\n[[model.price.above]]\ninput_tokens=5\n\
             input=\"1\"\n[model.price.batch]\noutput=\"1\"\n[gateway]\ncors_origins=[\"*\"]\n[alias]\nx=\"m\"\n\
             [[tenant]]\nname=\"t\"\nmarkup_bp=5\nmodels=[\"a*\"]\n"
        );
        folder(&[("a.toml", &text)]).compile().unwrap();
        let lines = text.lines().count() as u32;
        let judge = |text: &str| {
            for fault in folder(&[("a.toml", text)]).compile().err().unwrap_or_default() {
                assert!((1..=lines + 1).contains(&fault.source.line), "{fault} in\n{text}");
            }
        };
        for cut in 0..text.len() {
            judge(&text[..cut]);
            judge(&text[cut..]);
            for letter in ["", "x", "[", "\"", "\n", "=", ".", "7", "{"] {
                judge(&format!("{}{letter}{}", &text[..cut], &text[cut + 1..]));
            }
        }
    }
}
