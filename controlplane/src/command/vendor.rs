//! `vendor`: secrets that lie sealed in the store, and the keys under which they are sealed.

use std::io::{IsTerminal, Read};

use clap::{ArgMatches, FromArgMatches, Subcommand};
use serde_json::{Map, Value, json};
use weir_shared::fault::Exit;
use weir_shared::keyspace::Pointer;
use weir_shared::overlay::Part;
use weir_shared::sealed::{Kek, Place as SealedPlace, Ring, SECRET_BYTES_MAX, SealedDraft, Unsealable, Version};
use weir_shared::secret;
use weir_shared::store::Store;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::follow::{Verdict, Wait, follow};
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::{Table, count, harmless};
use crate::when;

#[derive(Subcommand)]
pub enum Vendor {
    /// Put vendors' secrets into the store, sealed before they leave this machine
    #[command(subcommand)]
    Credential(Credential),
    /// The keys under which vendors' secrets are sealed
    #[command(subcommand)]
    Kek(KekVerb),
}

impl Vendor {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Credential(Credential::Set(set)) => set.run(place, screen, false),
            Self::Credential(Credential::Rotate(rotate)) => rotate.set.run(place, screen, true),
            Self::Credential(Credential::Put(put)) => put.run(place, screen),
            Self::Credential(Credential::Revert(revert)) => revert.run(place, screen),
            Self::Credential(Credential::Remove(remove)) => remove.run(place, screen),
            Self::Credential(Credential::List(list)) => list.run(place, screen),
            Self::Kek(verb) => verb.run(place, screen),
        }
    }
}

#[derive(Subcommand)]
pub enum Credential {
    Set(Set),
    Rotate(Rotate),
    Put(Put),
    Revert(Revert),
    Remove(Remove),
    List(List),
}

/// Seal a vendor's secret into the store
///
/// Reads it from standard input or a file, never from the command line, where others of this machine would see it. The folder says
/// `sealed = true` in place of env or file; every node that has the key-encryption key opens it, and keeps it out of logs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential set openai < key.txt           # its credential main
  weirctl vendor credential set openai#spare --wait        # asks for it
  weirctl vendor credential set vertex --from service-account.json")]
pub struct Set {
    /// VENDOR or VENDOR#CREDENTIAL
    #[arg(value_name = "WHAT")]
    what: String,

    /// A file with the secret [default: standard input]
    #[arg(long, value_name = "FILE")]
    from: Option<std::path::PathBuf>,

    #[command(flatten)]
    wait: Wait,
}

/// Seal another secret in the place of the one that is there, and keep that one beside it
///
/// A node that cannot open the new one goes on with the one before it and says so. `revert` goes back to it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential rotate openai --wait < new-key.txt")]
pub struct Rotate {
    #[command(flatten)]
    set: Set,
}

/// Put a secret there that was sealed elsewhere
///
/// What `set` and `rotate` ask a `weirctl serve` for: the secret is sealed where they run, under the keys that are there.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential put openai --sealed '{\"version\": 1, …}' --wait")]
pub struct Put {
    /// VENDOR or VENDOR#CREDENTIAL
    #[arg(value_name = "WHAT")]
    what: String,

    /// Of the version that comes next, as the store keeps it: JSON
    #[arg(long, value_name = "JSON")]
    sealed: String,

    /// Keep the one that is there beside it
    #[arg(long)]
    keeps: bool,

    #[command(flatten)]
    wait: Wait,
}

/// Go back to the secret before the last rotation
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential revert openai --wait")]
pub struct Revert {
    /// VENDOR or VENDOR#CREDENTIAL
    #[arg(value_name = "WHAT")]
    what: String,

    #[command(flatten)]
    wait: Wait,
}

/// Take a vendor's secret out of the store
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential remove openai#spare")]
pub struct Remove {
    /// VENDOR or VENDOR#CREDENTIAL
    #[arg(value_name = "WHAT")]
    what: String,

    #[command(flatten)]
    wait: Wait,
}

/// List sealed secrets: whose, which version, since when, under which key; never what they are
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor credential list
  weirctl vendor credential list --json")]
pub struct List {}

#[derive(Subcommand)]
pub enum KekVerb {
    Add(KekAdd),
    Rotate(KekRotate),
    Forget(KekForget),
    List(KekList),
}

/// Make a key-encryption key beside the others, which opens and does not seal yet
///
/// So that it can be taken to every node before anything is sealed under it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor kek add       # then copy the file to every node, then `weirctl vendor kek rotate`")]
pub struct KekAdd {}

/// Seal everything under the newest key-encryption key
///
/// The last one of the file becomes the first, and the keys of all secrets are sealed under it; with only one there, another
/// is made. No secret is touched. The old ones stay until `forget`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor kek rotate --wait && weirctl vendor kek forget     # one machine, one state folder
  weirctl vendor kek add                                            # several: then copy the file to each,
  weirctl vendor kek rotate --wait                                  # and the file once more after this and forget")]
pub struct KekRotate {
    #[command(flatten)]
    wait: Wait,
}

/// Remove key-encryption keys under which nothing of the newest revision is sealed
///
/// Older revisions are no reason to keep one: a rollback takes the secrets as they are now.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor kek forget")]
pub struct KekForget {}

/// List key-encryption keys by their ids, and how many secrets are sealed under each
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl vendor kek list")]
pub struct KekList {}

/// A vendor's only credential is called so when the folder does not say how.
const USUAL: &str = "main";

fn named(what: &str) -> Result<(String, String), Failure> {
    match Part::parse(what) {
        Some(Part::Vendor(vendor)) => Ok((vendor.into(), USUAL.into())),
        Some(Part::Credential(vendor, credential)) => Ok((vendor.into(), credential.into())),
        _ => {
            let failure = Failure::new(Exit::Usage, format!("{what:?} names no credential"));
            Err(failure.next("write VENDOR, which means VENDOR#main, or VENDOR#CREDENTIAL"))
        }
    }
}

impl Set {
    fn run(&self, place: &Place, screen: &Screen, keeps: bool) -> Result<Value, Failure> {
        let (vendor, credential) = named(&self.what)?;
        let secret = self.secret()?;
        let store = place.existing_store()?;
        let ring = ring_or_new(place, screen)?;
        let verb = if keeps { "rotate" } else { "set" };
        let stamp = place.stamp(format!("vendor credential {verb} {vendor}#{credential}"));
        let (version, pointer) = publish::change_sealed(&*store, &stamp, |_, all| {
            let version = next_version(all, &vendor, &credential);
            let (since, author) = (stamp.time, &*stamp.author);
            let place = SealedPlace { vendor: &vendor, credential: &credential, version, since, author };
            let current = ring.seal(&place, secret.as_bytes()).map_err(unsealable)?;
            put(all, (&vendor, &credential), current, keeps)?;
            Ok(version)
        })?;
        arrived(&*store, (&vendor, &credential), version, pointer, &self.wait, screen)
    }

    fn secret(&self) -> Result<Zeroizing<String>, Failure> {
        let most = SECRET_BYTES_MAX as u64 + 1;
        let mut bytes = Zeroizing::new(Vec::new());
        let read = match &self.from {
            Some(path) => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
            None => hidden(|| std::io::stdin().lock().take(most).read_to_end(&mut bytes)),
        };
        let from = self.from.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
        let wrong =
            |what: String| Failure::new(Exit::Failed, what).next("give the secret on standard input or with --from");
        read.map_err(|error| wrong(format!("{from} cannot be read: {error}")))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(format!("{from} is no text")))?.trim();
        if text.is_empty() || text.len() > SECRET_BYTES_MAX {
            return Err(wrong(format!("{from} holds {} bytes; 1 to {SECRET_BYTES_MAX} are a secret", text.len())));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl Put {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (vendor, credential) = named(&self.what)?;
        let wrong = |why: String| Failure::new(Exit::Usage, format!("--sealed: {why}"));
        if self.sealed.len() > SEALED_BYTES_MAX {
            return Err(wrong(format!("more than {SEALED_BYTES_MAX} bytes")));
        }
        let sealed: Version = serde_json::from_str(&self.sealed).map_err(|error| wrong(error.to_string()))?;
        let store = place.existing_store()?;
        let verb = if self.keeps { "rotate" } else { "set" };
        let stamp = place.stamp(format!("vendor credential {verb} {vendor}#{credential}"));
        let (version, pointer) = publish::change_sealed(&*store, &stamp, |_, all| {
            // It is bound to its version: under another it would open nowhere.
            if sealed.version != next_version(all, &vendor, &credential) {
                let what = format!("somebody else put a secret of {vendor}#{credential} there in between");
                return Err(Failure::new(Exit::Conflict, what).next("try again; nothing was changed"));
            }
            let current = Version { since: stamp.time, author: stamp.author.clone(), ..sealed.clone() };
            put(all, (&vendor, &credential), current, self.keeps)?;
            Ok(sealed.version)
        })?;
        arrived(&*store, (&vendor, &credential), version, pointer, &self.wait, screen)
    }
}

/// What a server is asked for in the place of `set` or `rotate`: the arguments of `put`, with the secret sealed here. `next` is
/// the version that the server's store has next.
pub fn sealed_here(
    own: &ArgMatches,
    keeps: bool,
    place: &Place,
    screen: &Screen,
    next: impl FnOnce(&str, &str) -> Result<u64, Failure>,
) -> Result<Map<String, Value>, Failure> {
    let set = Set::from_arg_matches(own).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let (vendor, credential) = named(&set.what)?;
    let version = next(&vendor, &credential)?;
    let secret = set.secret()?;
    let ring = ring_or_new(place, screen)?;
    let stamp = place.stamp("");
    let (since, author) = (stamp.time, &*stamp.author);
    let at = SealedPlace { vendor: &vendor, credential: &credential, version, since, author };
    let sealed = ring.seal(&at, secret.as_bytes()).map_err(unsealable)?;
    let mut given = Map::new();
    given.insert("what".into(), format!("{vendor}#{credential}").into());
    given.insert("sealed".into(), json!(sealed).to_string().into());
    given.insert("keeps".into(), keeps.into());
    given.insert("wait".into(), set.wait.wait.into());
    given.insert("timeout".into(), format!("{}ms", set.wait.timeout.as_millis()).into());
    Ok(given)
}

/// Twice in hexadecimal, and what belongs to it.
const SEALED_BYTES_MAX: usize = 3 * SECRET_BYTES_MAX + (4 << 10);

fn next_version(all: &[SealedDraft], vendor: &str, credential: &str) -> u64 {
    let there = all.iter().find(|sealed| sealed.vendor == vendor && sealed.credential == credential);
    1 + there.map_or(0, highest)
}

/// In the place of the one that is there.
fn put(
    all: &mut Vec<SealedDraft>,
    (vendor, credential): (&str, &str),
    current: Version,
    keeps: bool,
) -> Result<(), Failure> {
    match all.iter_mut().find(|sealed| sealed.vendor == vendor && sealed.credential == credential) {
        Some(sealed) => {
            let before = std::mem::replace(&mut sealed.current, current);
            sealed.previous = keeps.then_some(before);
        }
        None if keeps => {
            let what = format!("{vendor}#{credential} has no sealed secret to rotate");
            return Err(Failure::new(Exit::Missing, what).next("put one there with `weirctl vendor credential set`"));
        }
        None => {
            let (vendor, credential) = (vendor.to_owned(), credential.to_owned());
            all.push(SealedDraft { vendor, credential, current, previous: None });
        }
    }
    Ok(())
}

/// Says that it is there, and what nodes make of it.
fn arrived(
    store: &dyn Store,
    (vendor, credential): (&str, &str),
    version: u64,
    pointer: Option<Pointer>,
    wait: &Wait,
    screen: &Screen,
) -> Result<Value, Failure> {
    let said = format!("{vendor}#{credential} is sealed, version {version}");
    if !is_asked_for(store, vendor, credential)? {
        let fix = format!("say sealed = true at the credential {credential:?} of vendor {vendor:?}, and apply");
        screen.note(format!("the published folder does not ask for it: {fix}"));
    }
    let nodes = told(store, pointer.as_ref(), &said, wait, screen)?;
    Ok(json!({
        "vendor": vendor, "credential": credential, "version": version, "nodes": nodes,
        "revision": pointer.map(|pointer| pointer.revision),
    }))
}

/// At a terminal, what is typed is not shown.
fn hidden<T>(read: impl FnOnce() -> T) -> T {
    if !std::io::stdin().is_terminal() {
        return read();
    }
    eprintln!("paste the secret, then Enter and Ctrl-D; it is not shown");
    let stty = |word: &str| std::process::Command::new("stty").arg(word).stdin(std::process::Stdio::inherit()).status();
    let quiet = stty("-echo");
    let read = read();
    if quiet.is_ok() {
        let _ = stty("echo");
    }
    read
}

fn highest(sealed: &SealedDraft) -> u64 {
    sealed.previous.as_ref().map_or(0, |previous| previous.version).max(sealed.current.version)
}

impl Revert {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (vendor, credential) = named(&self.what)?;
        let store = place.existing_store()?;
        let stamp = place.stamp(format!("vendor credential revert {vendor}#{credential}"));
        let (version, pointer) = publish::change_sealed(&*store, &stamp, |_, all| {
            let there = all.iter_mut().find(|sealed| sealed.vendor == vendor && sealed.credential == credential);
            let Some(previous) = there.as_ref().and_then(|sealed| sealed.previous.clone()) else {
                let what = format!("{vendor}#{credential} has no earlier secret");
                return Err(
                    Failure::new(Exit::Missing, what).next("`weirctl vendor credential list` shows what there is")
                );
            };
            let version = previous.version;
            // Back and forth: what is left stays to be gone back to.
            there.into_iter().for_each(|sealed| {
                let left = std::mem::replace(&mut sealed.current, previous.clone());
                sealed.previous = Some(left);
            });
            Ok(version)
        })?;
        let said = format!("{vendor}#{credential} is version {version} again");
        let nodes = told(&*store, pointer.as_ref(), &said, &self.wait, screen)?;
        Ok(json!({"vendor": vendor, "credential": credential, "version": version, "nodes": nodes}))
    }
}

impl Remove {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (vendor, credential) = named(&self.what)?;
        let store = place.existing_store()?;
        let stamp = place.stamp(format!("vendor credential remove {vendor}#{credential}"));
        let ((), pointer) = publish::change_sealed(&*store, &stamp, |_, all| {
            let before = all.len();
            all.retain(|sealed| sealed.vendor != vendor || sealed.credential != credential);
            match all.len() < before {
                true => Ok(()),
                false => Err(Failure::new(Exit::Missing, format!("{vendor}#{credential} has no sealed secret"))
                    .next("`weirctl vendor credential list` shows what there is")),
            }
        })?;
        let said = format!("{vendor}#{credential} is removed");
        let nodes = told(&*store, pointer.as_ref(), &said, &self.wait, screen)?;
        Ok(json!({"vendor": vendor, "credential": credential, "nodes": nodes}))
    }
}

impl List {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let base = Base::read(&*store)?;
        let (all, draft) = (base.sealed(&*store)?, base.draft(&*store)?);
        let mut rows: Vec<(String, String, bool)> = Vec::new();
        for vendor in &draft.vendors {
            for credential in vendor.is.credentials.iter().filter(|credential| credential.sealed) {
                rows.push((vendor.is.name.clone(), credential.name.clone(), true));
            }
        }
        for sealed in &all {
            let name = (sealed.vendor.clone(), sealed.credential.clone());
            if !rows.iter().any(|(vendor, credential, _)| (vendor, credential) == (&name.0, &name.1)) {
                rows.push((name.0, name.1, false));
            }
        }
        let mut table = Table::new(["credential", ">version", "since", "by", "key", "before", "the folder"]);
        let mut list = Vec::new();
        for (vendor, credential, asked) in rows {
            let sealed = all.iter().find(|sealed| sealed.vendor == vendor && sealed.credential == credential);
            let current = sealed.map(|sealed| &sealed.current);
            let before = sealed.and_then(|sealed| sealed.previous.as_ref());
            let told = |say: fn(&weir_shared::sealed::Version) -> String| current.map_or("–".into(), say);
            table.row([
                format!("{vendor}#{credential}"),
                told(|version| version.version.to_string()),
                told(|version| when::stamp(version.since)),
                told(|version| version.author.clone()),
                told(|version| version.kek.clone()),
                before.map_or(String::new(), |before| format!("version {}", before.version)),
                match (asked, current.is_some()) {
                    (true, true) => "asks for it".into(),
                    (true, false) => "asks for it, and it is missing".into(),
                    (false, _) => "does not ask for it".into(),
                },
            ]);
            list.push(json!({
                "vendor": vendor, "credential": credential, "asked_for": asked,
                "next_version": next_version(&all, &vendor, &credential),
                "version": current.map(|version| version.version), "kek": current.map(|version| &version.kek),
                "since": current.map(|version| when::stamp(version.since)),
                "author": current.map(|version| &version.author), "previous": before.map(|version| version.version),
            }));
        }
        match table.is_empty() {
            true => screen.say("no secret is sealed, and the folder asks for none"),
            false => screen.say(table.render(screen.paint)),
        }
        Ok(json!({"credentials": list}))
    }
}

impl KekVerb {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Add(KekAdd {}) => add(place, screen),
            Self::Rotate(rotate) => rotate.run(place, screen),
            Self::Forget(KekForget {}) => forget(place, screen),
            Self::List(KekList {}) => list_keks(place, &ring(place)?, screen),
        }
    }
}

fn add(place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let _held = hold(place)?;
    let mut ring = ring(place)?;
    ring.0.push(new_kek()?);
    keep(place, &ring)?;
    screen.say(format!("made key {}; it opens, and seals after `weirctl vendor kek rotate`", last(&ring)));
    Ok(json!({"keys": ids(&ring)}))
}

impl KekRotate {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let (ring, sealed, pointer) = self.sealed_anew(place, &*store)?;
        let newest = ring.0.first().map(Kek::id).unwrap_or_default();
        let said = format!("{} sealed under key {newest}", count(sealed, "secret"));
        let nodes = told(&*store, pointer.as_ref(), &said, &self.wait, screen)?;
        let revision = pointer.map(|pointer| pointer.revision);
        Ok(json!({"key": newest, "sealed": sealed, "nodes": nodes, "keys": ids(&ring), "revision": revision}))
    }

    fn sealed_anew(&self, place: &Place, store: &dyn Store) -> Result<(Ring, usize, Option<Pointer>), Failure> {
        let _held = hold(place)?;
        let mut ring = ring(place)?;
        if ring.0.len() < 2 {
            ring.0.push(new_kek()?);
        }
        ring.0.rotate_right(1);
        // What these keys do not open is found before one of them is written.
        rewrap(&ring, &mut Base::read(store)?.sealed(store)?)?;
        // Both are in the file before anything is sealed under the new one: whatever ends this in the middle, all opens.
        keep(place, &ring)?;
        let newest = ring.0.first().map(Kek::id).unwrap_or_default();
        let stamp = place.stamp(format!("vendor kek rotate: {newest}"));
        let (sealed, pointer) = publish::change_sealed(store, &stamp, |_, all| rewrap(&ring, all))?;
        Ok((ring, sealed, pointer))
    }
}

/// Under the first of these keys; how many versions were not.
fn rewrap(ring: &Ring, all: &mut [SealedDraft]) -> Result<usize, Failure> {
    let mut count = 0;
    for sealed in all {
        let SealedDraft { vendor, credential, current, previous } = sealed;
        for version in [Some(current), previous.as_mut()].into_iter().flatten() {
            let closed = |why: Unsealable| Failure {
                what: format!("{vendor}#{credential}, version {} {why}", version.version),
                ..unsealable(why)
            };
            if let Some(anew) = ring.rewrap(vendor, credential, version).map_err(closed)? {
                *version = anew;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn forget(place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let store = place.existing_store()?;
    let _held = hold(place)?;
    let ring = ring(place)?;
    let used = used(&Base::read(&*store)?.sealed(&*store)?);
    let mut kept: Vec<Kek> = Vec::new();
    for (at, kek) in ring.0.iter().enumerate() {
        // The first seals what comes next.
        if at == 0 || used.contains(&kek.id()) {
            kept.push(kek.clone());
        }
    }
    let gone = ring.0.len() - kept.len();
    let ring = Ring(kept);
    if gone > 0 {
        keep(place, &ring)?;
    }
    screen.say(format!("{} removed; {} left", count(gone, "key"), ids(&ring).join(", ")));
    Ok(json!({"removed": gone, "keys": ids(&ring)}))
}

fn list_keks(place: &Place, ring: &Ring, screen: &Screen) -> Result<Value, Failure> {
    let used = match place.existing_store() {
        Ok(store) => used(&Base::read(&*store)?.sealed(&*store)?),
        Err(_) => Vec::new(),
    };
    let mut table = Table::new(["key", "what it does", ">versions under it"]);
    let mut list = Vec::new();
    for (at, id) in ids(ring).into_iter().enumerate() {
        let under = used.iter().filter(|used| **used == id).count();
        let does = if at == 0 { "seals and opens" } else { "opens" };
        table.row([id.clone(), does.to_owned(), under.to_string()]);
        list.push(json!({"key": id, "seals": at == 0, "versions": under}));
    }
    let elsewhere: Vec<_> = used.iter().filter(|used| !ids(ring).contains(used)).collect();
    match table.is_empty() {
        true => screen.say("there is no key-encryption key here; the first secret that is set makes one"),
        false => screen.say(table.render(screen.paint)),
    }
    if !elsewhere.is_empty() {
        screen.note(format!("{} under keys that are not here", count(elsewhere.len(), "version")));
    }
    Ok(json!({"keys": list, "elsewhere": elsewhere.len()}))
}

/// The ids of the keys under which something is sealed, one for each version.
fn used(all: &[SealedDraft]) -> Vec<String> {
    let versions = all.iter().flat_map(|sealed| [Some(&sealed.current), sealed.previous.as_ref()]);
    versions.flatten().map(|version| version.kek.clone()).collect()
}

fn ids(ring: &Ring) -> Vec<String> {
    ring.0.iter().map(Kek::id).collect()
}

fn last(ring: &Ring) -> String {
    ring.0.last().map(Kek::id).unwrap_or_default()
}

fn new_kek() -> Result<Kek, Failure> {
    Kek::new().map_err(unsealable)
}

fn unsealable(why: Unsealable) -> Failure {
    Failure::new(Exit::Failed, format!("it {why}")).next("`weirctl vendor kek list` shows which keys are here")
}

fn ring(place: &Place) -> Result<Ring, Failure> {
    secret::read_keks(&place.state).map_err(|why| Failure::new(Exit::Failed, why).next("restore it from a copy"))
}

/// As long as this is held, nobody else changes them.
fn hold(place: &Place) -> Result<std::fs::File, Failure> {
    secret::hold_keks(&place.state).map_err(|why| Failure::new(Exit::Failed, why).next("nothing was changed"))
}

fn keep(place: &Place, ring: &Ring) -> Result<(), Failure> {
    let next = "nothing was changed; `weirctl vendor kek forget` removes keys that seal nothing";
    secret::write_keks(&place.state, ring).map_err(|why| Failure::new(Exit::Failed, why).next(next))
}

/// The first secret makes the first key.
fn ring_or_new(place: &Place, screen: &Screen) -> Result<Ring, Failure> {
    let there = ring(place)?;
    if !there.0.is_empty() {
        return Ok(there);
    }
    let _held = hold(place)?;
    // Somebody else may have made one while it was waited for.
    let mut ring = ring(place)?;
    if ring.0.is_empty() {
        ring.0.push(new_kek()?);
        keep(place, &ring)?;
        let path = secret::kek_path(&place.state);
        screen.note(format!(
            "made a key-encryption key in {}: every node needs it, and a copy in a safe place",
            path.display()
        ));
    }
    Ok(ring)
}

fn is_asked_for(store: &dyn Store, vendor: &str, credential: &str) -> Result<bool, Failure> {
    let draft = Base::read(store)?.draft(store)?;
    let own = draft.vendors.iter().filter(|known| known.is.name == vendor);
    let mut own = own.flat_map(|known| &known.is.credentials);
    Ok(own.any(|known| known.name == credential && known.sealed))
}

fn told(
    store: &dyn Store,
    pointer: Option<&Pointer>,
    said: &str,
    wait: &Wait,
    screen: &Screen,
) -> Result<Vec<Verdict>, Failure> {
    let Some(pointer) = pointer else {
        screen.say(format!("{}; nothing to publish", harmless(said)));
        return Ok(Vec::new());
    };
    screen.say(screen.paint.good(&format!("published revision {}: {said}", pointer.revision)));
    follow(store, pointer, wait, screen)
}
