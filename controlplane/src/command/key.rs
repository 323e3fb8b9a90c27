//! `key`: who may call. Keys live in the store; the store holds fingerprints only.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::{Exit, Source};
use weir_shared::key::{self, Fingerprint, KeyDraft, LimitsDraft, Pepper};
use weir_shared::keyspace::Pointer;
use weir_shared::policy::limit::Priority;
use weir_shared::secret;
use weir_shared::snapshot::{DEFAULT_TENANT, Snapshot};
use weir_shared::store::Store;

use crate::failure::Failure;
use crate::follow::{Verdict, Wait, follow, is_live};
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::{Table, count, grouped, harmless};
use crate::tree;
use crate::when;

#[derive(Subcommand)]
pub enum Key {
    Create(Create),
    List(List),
    Show(Show),
    Revoke(Revoke),
    Rotate(Rotate),
}

impl Key {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Create(create) => create.run(place, screen),
            Self::List(list) => list.run(place, screen),
            Self::Show(show) => show.run(place, screen),
            Self::Revoke(revoke) => revoke.run(place, screen),
            Self::Rotate(rotate) => rotate.run(place, screen),
        }
    }
}

/// Make a key and print it, once
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl key create --name alice
  weirctl key create --name ci --tenant research --model 'gpt-*' --rpm 60 --expires 30d --wait
  weirctl key create --name app --alias default=openai/gpt-4o-mini
  KEY=$(weirctl key create --name script --quiet)

A pattern of --model is compared with a model's id and with vendor/id. Without one, the key may
use what its tenant may. The store keeps a fingerprint only: whoever loses a key gets a new one
with `weirctl key rotate`.")]
pub struct Create {
    /// What the key is for, in listings
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,

    /// Whose key it is
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TENANT)]
    tenant: String,

    /// A model that the key may use; `*` stands for anything, and it can be given often
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,

    /// A name of this key's own for a model
    #[arg(long = "alias", value_name = "NAME=TARGET", value_parser = alias)]
    aliases: Vec<(String, String)>,

    /// Requests per minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rpm: Option<u64>,

    /// Tokens per minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tpm: Option<u64>,

    /// Requests at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: Option<u32>,

    /// Whose calls are taken when a node cannot take all: low, normal or high
    #[arg(long, value_name = "CLASS", default_value = "normal", value_parser = priority)]
    priority: Priority,

    /// When it ends: 30d from now, or a date
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,

    /// So many keys in one revision, for load tests
    #[arg(long, value_name = "N", default_value_t = 1, hide = true, value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    count: u32,

    /// Print the key and nothing else
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    wait: Wait,
}

/// A hundred thousand keys are ordinary; more in one command are a mistyped number.
const COUNT_MAX: i64 = 100_000;
/// Of a key's models, and of its aliases: all are looked through when it lists what it may use.
const NAMES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 512;

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, target)) if !name.is_empty() && !target.is_empty() => Ok((name.to_owned(), target.to_owned())),
        _ => Err("write it as NAME=TARGET, such as fast=openai/gpt-4o-mini".into()),
    }
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).ok_or_else(|| "low, normal or high".into())
}

impl Create {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.store()?;
        let template = self.template()?;
        let pepper = pepper(place)?;
        let mut made = Vec::with_capacity(self.count as usize);
        for number in 1..=self.count {
            let mut draft = template.clone();
            if self.count > 1 && !self.name.is_empty() {
                draft.name = format!("{}-{number}", self.name);
            }
            made.push(mint(draft, &pepper)?);
        }
        let reason = match made.as_slice() {
            [(key, _)] => format!("key create {}", key.id),
            many => format!("key create --count {}", many.len()),
        };
        let quiet = Screen::new(true);
        let voice = if self.quiet { &quiet } else { screen };
        let (_, pointer) = publish::change_keys(&*store, &place.stamp(reason), |base, keys| {
            self.check(base, &*store, voice)?;
            made.iter().try_for_each(|(key, _)| keys.add(key.clone()))
        })?;
        self.tell(&*store, &made, pointer, screen)
    }

    fn template(&self) -> Result<KeyDraft, Failure> {
        let now = when::now();
        let expires = self.expires.as_deref().map(|text| when::deadline(text, now)).transpose();
        Ok(KeyDraft {
            id: String::new(),
            hash: String::new(),
            name: harmless(&self.name),
            tenant: self.tenant.clone(),
            models: self.models.clone(),
            aliases: self.aliases.iter().cloned().collect::<BTreeMap<_, _>>(),
            limits: LimitsDraft {
                requests_per_minute: self.rpm,
                tokens_per_minute: self.tpm,
                concurrent_requests: self.concurrent,
            },
            priority: self.priority,
            created: now,
            expires: expires.map_err(|why| Failure::new(Exit::Usage, format!("--expires: {why}")))?,
            revoked: None,
            source: Source::default(),
        })
    }

    /// The tenant must exist; a model or alias that leads nowhere today is only worth a note.
    fn check(&self, base: &Base, store: &dyn Store, screen: &Screen) -> Result<(), Failure> {
        let tenants = base.tenants(store)?;
        let tenants = tenants.iter().map(|tenant| tenant.is.name.as_str()).chain([DEFAULT_TENANT]);
        if !tenants.clone().any(|tenant| tenant == self.tenant) {
            return Err(Failure::new(Exit::Missing, format!("there is no tenant {:?}", self.tenant)).next(format!(
                "{}; a new one is a [[tenant]] in the folder, then `weirctl apply`",
                tree::suggestion(&self.tenant, tenants)
            )));
        }
        let names = self.models.iter().chain(self.aliases.iter().flat_map(|(name, target)| [name, target]));
        if self.models.len().max(self.aliases.len()) > NAMES_MAX
            || names.into_iter().any(|name| name.len() > NAME_BYTES_MAX)
        {
            let what =
                format!("a key has at most {NAMES_MAX} models and aliases, of at most {NAME_BYTES_MAX} bytes each");
            return Err(Failure::new(Exit::Usage, what).next("name a pattern such as openai/*, or a route"));
        }
        if base.pointer.is_none() {
            screen.note("nothing has been published yet, so the key can use nothing; `weirctl apply` comes next");
            return Ok(());
        }
        if self.aliases.is_empty() && self.models.is_empty() {
            return Ok(());
        }
        let draft = base.draft(store)?;
        let Ok(snapshot) = Snapshot::compile(base.revision(), &draft) else { return Ok(()) };
        let catalog = &snapshot.catalog;
        let target_of = |name: &str| draft.aliases.iter().find(|a| a.is.name == name).map(|a| a.is.target.clone());
        for (name, target) in &self.aliases {
            let there = target_of(target).unwrap_or_else(|| target.clone());
            if catalog.named(&there).next().is_none() {
                screen.note(format!("alias {name} leads to {target:?}, which no vendor serves now"));
            }
        }
        for pattern in &self.models {
            let allowed = weir_shared::resolve::Allowed::new(std::slice::from_ref(pattern));
            if !catalog.models.iter().any(|model| allowed.allows(&snapshot.vendor_of(model).name, &model.id)) {
                screen.note(format!("no model matches {pattern:?} now; `weirctl check --models` lists them"));
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        store: &dyn Store,
        made: &[(KeyDraft, String)],
        pointer: Option<Pointer>,
        screen: &Screen,
    ) -> Result<Value, Failure> {
        let revision = pointer.map_or(0, |pointer| pointer.revision);
        if self.quiet && !screen.json {
            made.iter().for_each(|(_, text)| screen.print(text));
        } else if let [(key, text)] = made {
            let name = if key.name.is_empty() { String::new() } else { format!(" ({})", key.name) };
            screen.say(format!("key {}{name} of tenant {}, revision {revision}", key.id, key.tenant));
            screen.say(format!("\n  {}\n\n", screen.paint.bold(text)));
            screen.say("It is shown this once; the store keeps a fingerprint.");
        } else {
            made.iter().for_each(|(_, text)| screen.say(text));
        }
        if let ([_], false) = (made, self.quiet) {
            try_it(store, screen)?;
        }
        // The key is out before anything can fail.
        let quiet = Screen::new(true);
        let nodes = followed(store, pointer, &self.wait, if self.quiet { &quiet } else { screen });
        let nodes = nodes.map_err(|failure| match (screen.json, made) {
            (true, [(key, text)]) => failure.detail("id", key.id.clone()).detail("key", text.clone()),
            _ => failure,
        })?;
        let one = |(key, text): &(KeyDraft, String)| {
            let mut object = describe(key, key.created);
            object["key"] = json!(text);
            object
        };
        Ok(match made {
            [made] => {
                let mut object = one(made);
                object["revision"] = json!(revision);
                object["nodes"] = json!(nodes);
                object
            }
            many => json!({"keys": many.iter().map(one).collect::<Vec<_>>(), "revision": revision, "nodes": nodes}),
        })
    }
}

/// List the keys: who may call, what, until when
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl key list
  weirctl key list --tenant research
  weirctl key list --all --json     # also those that were revoked or have expired")]
pub struct List {
    /// Only keys of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Also keys that were revoked or have expired
    #[arg(long)]
    all: bool,
}

impl List {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let now = when::now();
        let mut keys = Base::read(&*store)?.keys(&*store)?;
        let total = keys.len();
        keys.retain(|key| self.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant));
        keys.retain(|key| self.all || state(key, now) == "active");
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let mut table = Table::new(["id", "name", "tenant", "models", "limits", "created", "state"]);
        for key in &keys {
            let ends = key.expires.filter(|_| state(key, now) == "active");
            table.row([
                key.id.clone(),
                key.name.clone(),
                key.tenant.clone(),
                if key.models.is_empty() { "all of the tenant's".into() } else { key.models.join(", ") },
                limits(key),
                when::day(key.created),
                ends.map_or_else(|| state(key, now).into(), |ends| format!("active until {}", when::stamp(ends))),
            ]);
        }
        match table.is_empty() {
            false => screen.say(table.render(screen.paint)),
            true if total > 0 => screen.say("no key is active here; --all shows the others"),
            true => screen.say("there are no keys; make one with `weirctl key create`"),
        }
        Ok(json!({"keys": keys.iter().map(|key| describe(key, now)).collect::<Vec<_>>()}))
    }
}

/// Show what a key is, may use, and is limited to; never the key itself
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl key show abcdefgh
  weirctl key show abcdefgh --json | jq .limits")]
pub struct Show {
    /// The id of a key: the eight letters after `weir-`
    #[arg(value_name = "ID")]
    id: String,
}

impl Show {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let (id, now) = (id_of(&self.id), when::now());
        let base = Base::read(&*store)?;
        let keys = base.keys(&*store)?;
        let Some(key) = keys.iter().find(|key| key.id == id) else {
            let failure = Failure::new(Exit::Missing, format!("there is no key {id}"));
            return Err(failure.next("`weirctl key list --all` shows their ids"));
        };
        let draft = Draft { keys: vec![key.clone()], ..base.draft(&*store)? };
        let reached = reached(&draft, base.revision());
        let mut table = Table::new(["", ""]);
        let or = |text: String, nothing: &str| if text.is_empty() { nothing.to_owned() } else { text };
        let aliases: Vec<_> = key.aliases.iter().map(|(name, target)| format!("{name} = {target}")).collect();
        for (what, is) in [
            ("name", key.name.clone()),
            ("tenant", key.tenant.clone()),
            ("state", state(key, now).to_owned()),
            ("made", when::stamp(key.created)),
            ("ends", key.expires.map_or("never".into(), when::stamp)),
            ("models", or(key.models.join(", "), "all of the tenant's")),
            ("reaches", count(reached, "model")),
            ("own names", or(aliases.join(", "), "none")),
            ("limits", or(limits(key), "none")),
        ] {
            table.row([what.to_owned(), is]);
        }
        screen.say(screen.paint.bold(&id));
        screen.say(table.render(screen.paint));
        let mut object = describe(key, now);
        object["reaches"] = reached.into();
        Ok(object)
    }
}

/// How many models of the catalog the one key of the draft may use.
fn reached(draft: &Draft, revision: u64) -> usize {
    let Ok(snapshot) = Snapshot::compile(revision, draft) else { return 0 };
    let Some(key) = snapshot.keys().next() else { return 0 };
    (0..snapshot.catalog.models.len() as u32).filter(|&place| snapshot.may_use(place, key)).count()
}

/// Take a key out of use; every node refuses it within a second
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl key revoke abcdefgh --wait    # returns when every live node refuses the key

It cannot be undone: make another key instead.")]
pub struct Revoke {
    /// The id of a key: the eight letters after `weir-`
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    #[command(flatten)]
    wait: Wait,
}

impl Revoke {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let ids: Vec<_> = self.ids.iter().map(|id| id_of(id)).collect();
        let now = when::now();
        let stamp = place.stamp(format!("key revoke {}", ids.join(" ")));
        let (fresh, pointer) = publish::change_keys(&*store, &stamp, |_, keys| {
            let mut fresh = 0;
            for id in &ids {
                fresh +=
                    keys.change(id, |key| Ok(usize::from(key.revoked.replace(key.revoked.unwrap_or(now)).is_none())))?;
            }
            Ok(fresh)
        })?;
        let pointer = match pointer {
            Some(pointer) => {
                screen.say(format!("revoked {}, revision {}", count(fresh, "key"), pointer.revision));
                Some(pointer)
            }
            None => {
                screen.say("nothing to change: revoked already");
                store.pointer()?
            }
        };
        let nodes = followed(&*store, pointer, &self.wait, screen)?;
        let revision = pointer.map_or(0, |pointer| pointer.revision);
        Ok(json!({"ids": ids, "revoked": fresh, "revision": revision, "nodes": nodes}))
    }
}

/// Make a new key with the settings of an old one, which ends after a grace
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl key rotate abcdefgh                 # the old key works for another 24 hours
  weirctl key rotate abcdefgh --grace 0s      # it was leaked: the old key ends now")]
pub struct Rotate {
    /// The id of the old key
    #[arg(value_name = "ID")]
    id: String,

    /// How long the old key goes on
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = when::duration)]
    grace: std::time::Duration,

    /// Print the new key and nothing else
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    wait: Wait,
}

impl Rotate {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let (id, pepper, now) = (id_of(&self.id), pepper(place)?, when::now());
        let random = random()?;
        let stamp = place.stamp(format!("key rotate {id}"));
        let ((new, text, ends), pointer) = publish::change_keys(&*store, &stamp, |_, keys| {
            let (template, ends) = keys.change(&id, |old| {
                if state(old, now) != "active" {
                    return Err(Failure::new(Exit::Failed, format!("key {id} is {} already", state(old, now)))
                        .next("make another one with `weirctl key create`"));
                }
                let template = old.clone();
                let ends = old.expires.map_or(now + self.grace.as_secs(), |e| e.min(now + self.grace.as_secs()));
                match self.grace.is_zero() {
                    true => old.revoked = Some(now),
                    false => old.expires = Some(ends),
                }
                Ok((template, ends))
            })?;
            let (new, text) = from_random(KeyDraft { created: now, ..template }, &random, &pepper)?;
            keys.add(new.clone())?;
            Ok((new, text, ends))
        })?;
        let revision = pointer.map_or(0, |pointer| pointer.revision);
        let quiet = Screen::new(true);
        let voice = if self.quiet { &quiet } else { screen };
        if self.quiet && !screen.json {
            screen.print(&text);
        }
        voice.say(format!("key {} takes the place of {id}, revision {revision}", new.id));
        voice.say(format!("\n  {}\n\n", voice.paint.bold(&text)));
        voice.say(match self.grace.is_zero() {
            true => format!("{id} has ended."),
            false => format!("{id} ends at {}; until then both work.", when::stamp(ends)),
        });
        let nodes = followed(&*store, pointer, &self.wait, voice)?;
        let mut object = describe(&new, now);
        object["key"] = json!(text);
        object["old"] = json!({"id": id, "ends": when::stamp(ends)});
        object["revision"] = json!(revision);
        object["nodes"] = json!(nodes);
        Ok(object)
    }
}

fn try_it(store: &dyn Store, screen: &Screen) -> Result<(), Failure> {
    let now = when::now();
    if let Some(page) = store.pages()?.iter().find(|page| is_live(page, now) && !page.data.is_empty()) {
        let address = harmless(&page.data);
        screen.say(format!("Try it: curl http://{address}/v1/models -H \"authorization: Bearer $KEY\""));
    }
    Ok(())
}

fn followed(store: &dyn Store, at: Option<Pointer>, wait: &Wait, screen: &Screen) -> Result<Vec<Verdict>, Failure> {
    match &at {
        Some(pointer) => follow(store, pointer, wait, screen),
        None => Ok(Vec::new()),
    }
}

/// Whoever pastes a whole key means its id; the rest of it goes no further.
pub fn id_of(text: &str) -> String {
    let rest = text.strip_prefix("weir-").unwrap_or(text);
    rest.split('-').next().unwrap_or(rest).to_owned()
}

fn pepper(place: &Place) -> Result<Pepper, Failure> {
    let failed = |why| {
        Failure::new(Exit::Failed, format!("the pepper cannot be read: {why}"))
            .next("run this as the user who owns the state folder, or name the file in WEIR_PEPPER_FILE")
    };
    secret::read_or_create(&place.state, secret::PEPPER).map(Pepper).map_err(failed)
}

fn random() -> Result<[u8; 37], Failure> {
    let mut random = [0; 37];
    let failed = |error| Failure::new(Exit::Failed, format!("the system gives no random numbers: {error}"));
    getrandom::fill(&mut random).map_err(failed)?;
    Ok(random)
}

fn mint(draft: KeyDraft, pepper: &Pepper) -> Result<(KeyDraft, String), Failure> {
    from_random(draft, &random()?, pepper)
}

fn from_random(draft: KeyDraft, random: &[u8; 37], pepper: &Pepper) -> Result<(KeyDraft, String), Failure> {
    let minted = key::mint(random);
    match Fingerprint::of(minted.text.as_bytes(), pepper) {
        Some(print) => Ok((KeyDraft { id: minted.id.to_string(), hash: print.hex(), ..draft }, minted.text)),
        None => Err(Failure::new(Exit::Failed, "the key that was made is not well formed")),
    }
}

fn state(key: &KeyDraft, now: u64) -> &'static str {
    match (key.revoked, key.expires) {
        (Some(_), _) => "revoked",
        (None, Some(expires)) if expires <= now => "expired",
        _ => "active",
    }
}

fn limits(key: &KeyDraft) -> String {
    let limits = &key.limits;
    let said = [
        (!key.priority.is_normal()).then(|| format!("{} priority", key.priority.name())),
        limits.requests_per_minute.map(|n| format!("{} req/min", grouped(n.into()))),
        limits.tokens_per_minute.map(|n| format!("{} tok/min", grouped(n.into()))),
        limits.concurrent_requests.map(|n| format!("{} at once", grouped(n.into()))),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn describe(key: &KeyDraft, now: u64) -> Value {
    json!({
        "id": key.id, "name": key.name, "tenant": key.tenant, "models": key.models, "aliases": key.aliases,
        "limits": key.limits, "priority": key.priority.name(), "created": when::stamp(key.created), "expires": key.expires.map(when::stamp),
        "revoked": key.revoked.map(when::stamp), "state": state(key, now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Deployment;

    fn keys(at: &Deployment, words: &[&str]) -> Vec<Value> {
        at.run(&[&["key", "list"], words].concat()).unwrap()["keys"].as_array().unwrap().clone()
    }

    #[test]
    fn a_key_lives_and_ends() {
        let at = Deployment::new("key");
        let made =
            at.run(&["key", "create", "--name", "a", "--rpm", "5", "--expires", "30d", "--alias", "x=y"]).unwrap();
        let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert!(text.starts_with(&format!("weir-{id}-")) && text.len() == key::TEXT_BYTES);
        assert_eq!(keys(&at, &[])[0]["limits"]["requests_per_minute"], 5);

        let rotated = at.run(&["key", "rotate", id]).unwrap();
        assert_eq!(rotated["aliases"]["x"], "y");
        assert_ne!(rotated["id"], made["id"]);
        assert_eq!(keys(&at, &[]).len(), 2, "both work for the time of the grace");
        let new = rotated["id"].as_str().unwrap();
        at.run(&["key", "rotate", new, "--grace", "0s"]).unwrap();
        assert_eq!(at.run(&["key", "rotate", new]).unwrap_err().exit, Exit::Failed);

        assert_eq!(at.run(&["key", "revoke", text]).unwrap()["revoked"], 1, "a whole key is as good as its id");
        let revision = at.run(&["key", "revoke", id]).unwrap();
        assert_eq!((&revision["revoked"], &revision["revision"]), (&json!(0), &json!(4)));
        assert_eq!(at.run(&["key", "revoke", "zzzzzzzz"]).unwrap_err().exit, Exit::Missing);
        assert_eq!((keys(&at, &[]).len(), keys(&at, &["--all"]).len()), (1, 3));
    }

    #[test]
    fn the_store_holds_no_usable_key() {
        let at = Deployment::new("canary");
        let made = at.run(&["key", "create"]).unwrap();
        let secret = made["key"].as_str().unwrap()[14..].to_owned();
        let mut folders = vec![at.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => {
                        let bytes = std::fs::read(entry.path()).unwrap();
                        assert!(!String::from_utf8_lossy(&bytes).contains(&secret), "{:?}", entry.path());
                    }
                }
            }
        }
    }

    #[test]
    fn the_tenant_must_exist_and_many_keys_are_one_revision() {
        let at = Deployment::new("tenants");
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n[[tenant]]\nname = \"team\"\n");
        at.run(&["apply"]).unwrap();
        let failure = at.run(&["key", "create", "--tenant", "taem"]).unwrap_err();
        assert!(failure.exit == Exit::Missing && failure.next.contains("did you mean \"team\"?"), "{failure:?}");
        let made = at.run(&["key", "create", "--tenant", "team", "--name", "n", "--count", "300"]).unwrap();
        assert_eq!((made["keys"].as_array().unwrap().len(), &made["revision"]), (300, &json!(2)));
        assert_eq!(keys(&at, &["--tenant", "team"]).len(), 300);
        assert_eq!(at.run(&["apply"]).unwrap()["changed"], false);
        at.write("v.toml", "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o\"]\n");
        assert_eq!(at.run(&["apply"]).unwrap_err().exit, Exit::Faults, "its keys would hang in the air");
    }

    #[test]
    fn quiet_prints_the_key_alone() {
        let at = Deployment::new("quiet");
        let said = at.show(&["key", "create", "--quiet", "--count", "2", "--wait"]);
        assert!(said.lines().count() == 2 && said.lines().all(|line| line.len() == key::TEXT_BYTES), "{said}");
    }

    #[test]
    fn four_writers_lose_no_key() {
        let at = Deployment::new("writers");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..8).for_each(|_| drop(at.run(&["key", "create"]).unwrap())));
            }
        });
        assert_eq!(keys(&at, &[]).len(), 32);
        assert_eq!(at.run(&["status"]).unwrap()["revision"], 32);
    }
}
