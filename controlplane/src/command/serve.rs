//! `serve`, `token`, `audit`: the admin API, who may speak to it, and what was asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use weir_shared::fault::Exit;
use weir_shared::id::Digest;

use crate::audit::Log;
use crate::failure::Failure;
use crate::place::Place;
use crate::publish::{self, Base};
use crate::role::{self, Role, TokenDraft};
use crate::screen::Screen;
use crate::serve::{self, Options};
use crate::table::{Table, harmless};
use crate::when;

/// Answer the admin API: the verbs of this command line over HTTP
///
/// Callers show a token (`weirctl token create`), or a certificate whose issuer is --client-ca. On this machine's own address it
/// speaks plain HTTP; wider it refuses to without TLS. Every change is written to the audit log before it is made. Its
/// description is at /openapi.json. Several may run over one store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl token create --name ci --role operator > token
  weirctl serve &
  weirctl --server http://127.0.0.1:8082 --token-file token status
  weirctl serve --listen 0.0.0.0:8082 --tls-cert cert.pem --tls-key key.pem --client-ca ca.pem
  curl -H \"authorization: Bearer $(cat token)\" http://127.0.0.1:8082/v1/history")]
pub struct Serve {
    /// Where it answers
    #[arg(long, env = "WEIR_SERVE_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,

    /// PEM file of the certificate chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// PEM file of those whose clients' certificates are believed; which client may do what says `weirctl token create --certificate`
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
}

impl Serve {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let options = Options {
            listen: self.listen,
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            client_ca: self.client_ca.clone(),
        };
        serve::run(place, &options, screen).map(|()| Value::Null)
    }
}

#[derive(Subcommand)]
pub enum Token {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Let somebody speak to the admin API; the token is printed, once
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl token create --name ci --role operator --expires 90d
  weirctl token create --name team-lead --role operator --tenant research
  weirctl token create --name laptop --role admin --certificate laptop.pem     # shown in place of a token

A viewer looks; an operator publishes and changes routes, keys, limits and models; billing changes
prices and tenants; an admin may do everything. Who is bound to a tenant sees and changes its keys alone.")]
pub struct Create {
    /// Who it is, for the history and the audit log
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What it may do
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Role,

    /// The only tenant that it may see and change
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// When it ends: 90d from now, or a date
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,

    /// PEM file of a client's certificate, which is shown in place of a token
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

/// List who may speak to the admin API; never their tokens
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl token list")]
pub struct List {}

/// Take a token away; it ends with the next request
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl token revoke 1a2b3c4d")]
pub struct Revoke {
    /// As `token list` has it
    #[arg(value_name = "ID")]
    id: String,
}

impl Token {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Create(create) => create.run(place, screen),
            Self::List(List {}) => list(place, screen),
            Self::Revoke(revoke) => revoke.run(place, screen),
        }
    }
}

impl Create {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let now = when::now();
        let expires = self.expires.as_ref().map(|text| when::deadline(text, now)).transpose();
        let expires = expires.map_err(|why| Failure::new(Exit::Usage, format!("--expires: {why}")))?;
        let (id, text, minted) = role::mint()?;
        let hash = match &self.certificate {
            Some(path) => {
                let first = serve::certificates(path)?.into_iter().next();
                first.map_or(minted, |first| Digest::of(first.as_ref()))
            }
            None => minted,
        };
        let token = TokenDraft {
            id: id.clone(),
            name: self.name.clone(),
            role: self.role,
            tenant: self.tenant.clone(),
            hash,
            certificate: self.certificate.is_some(),
            created: now,
            expires,
        };
        let store = place.store()?;
        let stamp = place.stamp(format!("token create {id}: {}, {}", self.name, self.role.name()));
        publish::change_tokens(&*store, &stamp, |_, tokens| {
            // What is over goes with the next change.
            tokens.retain(|token| !token.is_over(now));
            tokens.push(token.clone());
            Ok(())
        })?;
        let mut answer = describe(&token, now);
        match self.certificate.is_some() {
            true => screen.say(format!("the certificate is token {id}")),
            false => {
                // The token alone on standard output, so that it can be kept in a file.
                screen.say(&text);
                screen.note(format!("this is token {id}, shown once"));
                answer["token"] = text.into();
            }
        }
        Ok(answer)
    }
}

fn describe(token: &TokenDraft, now: u64) -> Value {
    json!({
        "id": token.id, "name": token.name, "role": token.role, "tenant": token.tenant,
        "certificate": token.certificate, "created": when::stamp(token.created),
        "expires": token.expires.map(when::stamp), "holds": !token.is_over(now),
    })
}

fn list(place: &Place, screen: &Screen) -> Result<Value, Failure> {
    let store = place.existing_store()?;
    let (tokens, now) = (Base::read(&*store)?.tokens(&*store)?, when::now());
    let mut table = Table::new(["id", "name", "role", "tenant", "is", "made", "ends"]);
    for token in &tokens {
        let ends = token.expires.map_or("never".into(), when::stamp);
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.role.name().to_owned(),
            token.tenant.clone().unwrap_or_else(|| "all".into()),
            if token.certificate { "a certificate".into() } else { "a token".to_owned() },
            when::day(token.created),
            if token.is_over(now) { format!("{ends}: over") } else { ends },
        ]);
    }
    match table.is_empty() {
        true => screen.say("nobody may speak to the admin API; `weirctl token create` makes a token"),
        false => screen.say(table.render(screen.paint)),
    }
    Ok(json!({"tokens": tokens.iter().map(|token| describe(token, now)).collect::<Vec<_>>()}))
}

impl Revoke {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let stamp = place.stamp(format!("token revoke {}", self.id));
        publish::change_tokens(&*store, &stamp, |_, tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.id != self.id);
            match tokens.len() < before {
                true => Ok(()),
                false => Err(Failure::new(Exit::Missing, format!("there is no token {}", self.id))
                    .next("`weirctl token list` shows their ids")),
            }
        })?;
        screen.say(format!("token {} is revoked", self.id));
        Ok(json!({"id": self.id, "revoked": true}))
    }
}

/// Show what was asked for on this machine, by whom, and what came of it; and prove that nothing was changed
///
/// Each entry names the hash of the one before it. The newest hash, kept elsewhere, shows later whether the end was cut off.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl audit
  weirctl audit --last 1000 --json | jq '.entries[] | select(.does == \"apply\")'
  weirctl audit --head 5f1c…          # as it was noted: fails when that entry is not there any more")]
pub struct Audit {
    /// How many, the newest first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: usize,

    /// A hash that was the newest once
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

impl Audit {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let log = Log::of(&place.state);
        let (entries, wrong) = log.read()?;
        let head = log.head().filter(|_| !entries.is_empty());
        if let Some(wrong) = wrong {
            let what = format!("{}: {wrong}", log.path().display());
            let next = "somebody changed it, or a disk did; the lines before are good";
            return Err(Failure::new(Exit::Failed, what).next(next).detail("good", entries.len()));
        }
        if let Some(noted) = &self.head {
            let is_there = head.is_some_and(|head| head.to_string() == *noted)
                || entries.iter().any(|entry| entry.previous.to_string() == *noted);
            if !is_there {
                let what = format!("{}: no entry has the hash {noted}; its end was cut off", log.path().display());
                return Err(Failure::new(Exit::Failed, what).next("restore it from a copy"));
            }
        }
        let mut table = Table::new([">entry", "time", "who", "by", "does", "outcome", ">revision"]);
        let shown: Vec<_> = entries.iter().rev().take(self.last).collect();
        for entry in &shown {
            table.row([
                entry.number.to_string(),
                entry.time.clone(),
                entry.who.clone(),
                entry.by.clone(),
                entry.does.clone(),
                entry.outcome.clone(),
                entry.revision.map_or(String::new(), |revision| revision.to_string()),
            ]);
        }
        match (table.is_empty(), head) {
            (false, Some(head)) => {
                screen.say(table.render(screen.paint));
                screen.say(format!("{} entries, each names the one before it; the newest is {head}", entries.len()));
            }
            _ => screen
                .say(format!("nothing was changed on this machine: {}", harmless(&log.path().display().to_string()))),
        }
        Ok(json!({"entries": shown, "number": entries.len(), "head": head}))
    }
}
