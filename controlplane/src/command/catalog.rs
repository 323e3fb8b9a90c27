//! `catalog`: prices from the lists that others keep, into the operator's folder.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, FromArgMatches, Subcommand};
use serde_json::{Value, json};
use weir_shared::fault::Exit;

use crate::failure::Failure;
use crate::folder::Folder;
use crate::import::{self, Change, Outcome, Verb, Wish};
use crate::place::Place;
use crate::pricelist;
use crate::screen::Screen;
use crate::table::{Table, count};
use crate::when;

#[derive(Subcommand)]
pub enum CatalogVerb {
    Import(Import),
}

impl CatalogVerb {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Import(import) => import.run(place, screen),
        }
    }
}

/// Compare the folder's prices with a public list, and take them over
///
/// Reads LiteLLM's model_prices_and_context_window.json or models.dev's api.json, whichever it is, and shows what would
/// change for the vendors of the folder. Nothing is written without --write, or a yes at the terminal. Nothing is fetched.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl catalog import model_prices_and_context_window.json            # what would change
  weirctl catalog import model_prices_and_context_window.json --write    # and write it to weir.d/prices/
  curl -s https://models.dev/api.json | weirctl catalog import - --vendor openai --known-only
  weirctl catalog import api.json --called groq=my-groq                  # the list's groq is your my-groq

What it writes: prices/<vendor>.toml in the operator's folder, with the list and the day in it; no other file is
touched, and a file there that somebody edited stops the import. A [[model]] of yours wins over both. Then
`weirctl plan` and `weirctl apply`, as after any edit.

What it takes: figures that the list names, each exact to a pico-dollar, or rounded and told. What the list has no
word for stays as the catalog says; a price is marked unverified where a part of it was left so although the rest
moved, where the list names money that no class here means, or says a model twice, or is a reseller's. A price of
zero is no price: it may mean free or unknown, so say free = true yourself. Negative, absurd or unreadable figures
leave their model out, with the reason.")]
pub struct Import {
    /// The list: a file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write what is shown
    #[arg(long)]
    write: bool,

    /// Only this vendor of the folder; it can be given often
    #[arg(long = "vendor", value_name = "NAME")]
    vendors: Vec<String>,

    /// What the list calls a vendor that the catalog does not know there
    #[arg(long = "called", value_name = "LIST=VENDOR", value_parser = called)]
    called: Vec<(String, String)>,

    /// Only models that are served already
    #[arg(long)]
    known_only: bool,

    /// The day of the list [default: today]
    #[arg(long, value_name = "DATE", value_parser = day)]
    as_of: Option<String>,
}

fn called(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, vendor)) if !name.is_empty() && !vendor.is_empty() => Ok((name.to_owned(), vendor.to_owned())),
        _ => Err("write it as LIST=VENDOR, such as groq=my-groq".into()),
    }
}

fn day(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no day; write 2026-01-31");
    let seconds = when::moment(text, 0).map_err(|_| wrong())?;
    if when::day(seconds) == text { Ok(text.to_owned()) } else { Err(wrong()) }
}

impl Import {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let text = match &place.sent {
            Some(sent) => sent.file.clone().unwrap_or_default().into_bytes(),
            None => read(&self.file)?,
        };
        let refused =
            |what: String| Failure::new(Exit::Failed, format!("{}: {what}", self.name())).next("nothing was written");
        let listing = pricelist::read(&text).map_err(refused)?;
        let catalog = place.catalog()?;
        let texts = match &place.sent {
            Some(sent) => sent.files.clone(),
            None => Folder::texts(&place.folder)?,
        };
        let today = when::day(when::now());
        let wish = Wish {
            vendors: self.vendors.clone(),
            called: self.called.clone(),
            known_only: self.known_only,
            as_of: self.as_of.clone().unwrap_or_else(|| today.clone()),
            today,
        };
        let known = Folder::parse(texts.clone(), &catalog);
        let named = self.vendors.iter().chain(self.called.iter().map(|(_, vendor)| vendor));
        for name in named {
            if !known.draft.vendors.iter().any(|vendor| vendor.is.name == *name) {
                let what = format!("{} has no vendor {name:?}", place.folder_name());
                return Err(Failure::new(Exit::Missing, what).next("`weirctl check` lists them"));
            }
        }
        let outcome = import::import(texts, &catalog, &listing, &wish).map_err(|what| {
            Failure::new(Exit::Failed, format!("{}: {what}", place.folder_name())).next("nothing was written")
        })?;
        show(&outcome, screen);
        let write = !outcome.files.is_empty() && (self.write || self.asked(&outcome, place, screen));
        let elsewhere = place.sent.is_some();
        if write || elsewhere {
            // The one road from a folder to a snapshot judges what is about to be written, here or by whoever asked.
            if let Err(faults) = Folder::parse(outcome.texts.clone(), &catalog).compile() {
                let what =
                    format!("{} would have {}: {}", place.folder_name(), count(faults.len(), "fault"), faults[0]);
                return Err(
                    Failure::new(Exit::Faults, what).next("nothing was written; mend it, `weirctl check` tells all")
                );
            }
        }
        if write {
            for (name, text) in &outcome.files {
                put(&place.folder, name, text.as_deref())?;
            }
        }
        self.told(&outcome, write, place, screen);
        let mut answer = answer(&outcome, listing.list, &wish, write);
        if elsewhere {
            answer["texts"] = json!(outcome.files);
        }
        Ok(answer)
    }

    fn name(&self) -> String {
        match self.file.to_str() {
            Some("-") => "the list".into(),
            _ => self.file.display().to_string(),
        }
    }

    /// A yes at the terminal; whoever reads the list from there, or from a script, says --write.
    fn asked(&self, outcome: &Outcome, place: &Place, screen: &Screen) -> bool {
        let people = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if screen.json || !people || self.file == Path::new("-") {
            return false;
        }
        print!("Write {} below {}? [y/N] ", count(outcome.files.len(), "file"), place.folder_name());
        let mut line = String::new();
        let read = std::io::stdout().flush().and_then(|()| std::io::stdin().lock().take(64).read_line(&mut line));
        read.is_ok() && ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str())
    }

    fn told(&self, outcome: &Outcome, written: bool, place: &Place, screen: &Screen) {
        for (name, text) in &outcome.files {
            let verb = match (written, text) {
                (true, Some(_)) => "wrote",
                (true, None) => "removed",
                (false, Some(_)) => "would write",
                (false, None) => "would remove",
            };
            // A folder that was sent is somebody else's, wherever this server's own is.
            let path = if place.sent.is_some() { PathBuf::from(name) } else { place.folder.join(name) };
            screen.say(format!("{verb} {}", path.display()));
        }
        if outcome.files.is_empty() {
            screen.say("nothing to write: the folder's prices are the list's");
        } else if written {
            screen.say("next: weirctl plan, weirctl apply --wait");
        } else if place.sent.is_none() {
            screen.note("nothing was written; --write writes it");
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Missing, format!("{} cannot be read: {error}", path.display()))
            .next("name the list's file, or - to read it from standard input")
    };
    let mut text = Vec::new();
    // One byte more than is taken, so that too much is told from just enough.
    let most = pricelist::BYTES_MAX as u64 + 1;
    match path.to_str() {
        Some("-") => std::io::stdin().lock().take(most).read_to_end(&mut text).map_err(failed)?,
        _ => std::fs::File::open(path).map_err(failed)?.take(most).read_to_end(&mut text).map_err(failed)?,
    };
    Ok(text)
}

/// What goes to a server in the place of the list's name.
pub fn list_here(own: &ArgMatches) -> Result<String, Failure> {
    let import = Import::from_arg_matches(own).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    String::from_utf8(read(&import.file)?).map_err(|_| {
        Failure::new(Exit::Failed, format!("{}: it is no text", import.name())).next("nothing was written")
    })
}

/// Writes to this machine's folder what a server says of it, when that was asked for.
pub fn written_here(own: &ArgMatches, answer: &mut Value, place: &Place, screen: &Screen) -> Result<(), Failure> {
    let texts = answer.as_object_mut().and_then(|answer| answer.remove("texts"));
    let texts: BTreeMap<String, Option<String>> =
        texts.and_then(|texts| serde_json::from_value(texts).ok()).unwrap_or_default();
    if let Some(strange) = texts.keys().find(|name| !import::is_page_name(name)) {
        let what = format!("the server would write {strange:?}, where no import writes");
        return Err(Failure::new(Exit::Store, what).next("nothing was written; is it a `weirctl serve`?"));
    }
    if texts.is_empty() {
        return Ok(());
    }
    if !own.get_flag("write") {
        screen.note("nothing was written; --write writes it");
        return Ok(());
    }
    for (name, text) in &texts {
        put(&place.folder, name, text.as_deref())?;
        let verb = if text.is_some() { "wrote" } else { "removed" };
        screen.say(format!("{verb} {}", place.folder.join(name).display()));
    }
    screen.say("next: weirctl plan, weirctl apply --wait");
    answer["written"] = true.into();
    Ok(())
}

/// A whole file or none: an operator may be looking at the folder, and `weirctl apply` may be reading it.
fn put(folder: &Path, name: &str, text: Option<&str>) -> Result<(), Failure> {
    let path = folder.join(name);
    let done = || -> std::io::Result<()> {
        let Some(text) = text else { return std::fs::remove_file(&path) };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
            // What is written here stays here.
            if parent != folder && std::fs::symlink_metadata(parent)?.is_symlink() {
                return Err(std::io::Error::other("its folder is a link to another place"));
            }
        }
        // Hidden, so that no reader of the folder takes it for a file of its own.
        let half = path.with_file_name(format!(
            ".{}.{}",
            path.file_name().unwrap_or_default().to_string_lossy(),
            std::process::id()
        ));
        std::fs::write(&half, text)?;
        std::fs::rename(&half, &path)
    };
    done().map_err(|error| {
        Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()))
            .next("check who may write there; the other files are written or as they were")
    })
}

fn show(outcome: &Outcome, screen: &Screen) {
    let mut table = Table::new(["", "vendor", "model", "price", ">old", ">new", ""]);
    outcome.changes.iter().for_each(|change| rows(change, &mut table));
    if !table.is_empty() {
        screen.say(table.render(screen.paint));
    }
    let tally = |verb: Verb| outcome.changes.iter().filter(|change| change.verb == verb).count();
    screen.say(format!(
        "{} added, {} changed, {} removed",
        count(tally(Verb::Added), "model"),
        tally(Verb::Changed),
        tally(Verb::Removed)
    ));
    let mut kept = Table::new(["", "vendor", "model", "price", ">yours", ">the list's", ""]);
    outcome.kept.iter().for_each(|change| rows(change, &mut kept));
    if !kept.is_empty() {
        screen.say(format!("\n{}\n{}", screen.paint.bold("yours, and left as they are"), kept.render(screen.paint)));
    }
    let mut rounded = Table::new(["vendor", "model", "rounded to a pico-dollar"]);
    outcome.rounded.iter().for_each(|it| rounded.row([it.vendor.clone(), it.model.clone(), it.figure.clone()]));
    if !rounded.is_empty() {
        screen.say(format!("\n{}", rounded.render(screen.paint)));
    }
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for it in &outcome.left_out {
        reasons.entry((&it.vendor, &it.why)).or_default().push(&it.model);
    }
    let mut left_out = Table::new(["vendor", ">models", "left out because", "such as"]);
    for ((vendor, why), models) in reasons {
        left_out.row([vendor.to_owned(), models.len().to_string(), why.to_owned(), models[0].to_owned()]);
    }
    if !left_out.is_empty() {
        screen.say(format!("\n{}", left_out.render(screen.paint)));
    }
    if !outcome.absent.is_empty() {
        screen.note(format!(
            "the list has nothing of {}; --called NAME=VENDOR says what it calls a vendor",
            outcome.absent.join(", ")
        ));
    }
    if outcome.changes.iter().any(|change| change.leap) {
        screen.note("a price moved more than tenfold (×10): look whether its unit is meant");
    }
}

/// A changed model has a line for each figure; one that comes or goes has one line.
fn rows(change: &Change, table: &mut Table) {
    let mut note = Vec::new();
    if change.leap {
        note.push("×10");
    }
    if change.unverified {
        note.push("unverified");
    }
    let note = note.join(", ");
    let model = |sign: &str| [sign.to_owned(), change.vendor.clone(), change.model.clone()];
    if change.verb == Verb::Changed {
        for figure in &change.figures {
            let [sign, vendor, name] = model("~");
            let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
            table.row([
                sign,
                vendor,
                name,
                figure.price.clone(),
                side(&figure.old),
                format!("→ {}", side(&figure.new)),
                note.clone(),
            ]);
        }
        return;
    }
    let usual: Vec<_> =
        change.figures.iter().filter(|figure| ["input", "output"].contains(&figure.price.as_str())).collect();
    let told = if usual.is_empty() { change.figures.iter().take(2).collect() } else { usual };
    let names: Vec<_> = told.iter().map(|figure| figure.price.as_str()).collect();
    let side = |of: fn(&import::Changed) -> Option<&String>| {
        told.iter().filter_map(|figure| of(figure)).cloned().collect::<Vec<_>>().join(" / ")
    };
    let [sign, vendor, name] = model(if change.verb == Verb::Added { "+" } else { "-" });
    table.row([sign, vendor, name, names.join(" / "), side(|it| it.old.as_ref()), side(|it| it.new.as_ref()), note]);
}

fn answer(outcome: &Outcome, list: pricelist::List, wish: &Wish, written: bool) -> Value {
    json!({
        "list": list.name(), "source": list.source(), "as_of": wish.as_of,
        "changes": outcome.changes, "kept": outcome.kept, "rounded": outcome.rounded, "left_out": outcome.left_out,
        "absent": outcome.absent, "files": outcome.files.keys().collect::<Vec<_>>(), "written": written,
    })
}

#[cfg(test)]
mod tests;
