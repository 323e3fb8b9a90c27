//! `limit`: what a key may, which the store owns, and what a vendor's credential may, which the folder owns.

use clap::Subcommand;
use serde_json::{Value, json};
use weir_shared::draft::CredentialDraft;
use weir_shared::overlay::Part;

use crate::failure::Failure;
use crate::follow::follow;
use crate::place::Place;
use crate::publish;
use crate::screen::Screen;
use crate::twin::{self, How};

#[derive(Subcommand)]
pub enum Limit {
    Set(Set),
}

/// Change limits per minute, and of requests at the same time
///
/// What is not named stays; `none` takes a limit away. Running requests keep their places.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl limit set abcdefgh --rpm 600 --tpm none --wait      # a key
  weirctl limit set openai#main --rpm 10000                   # a vendor's credential, in haste")]
pub struct Set {
    /// The id of a key, or VENDOR#CREDENTIAL
    #[arg(value_name = "WHAT")]
    what: String,

    /// Requests per minute
    #[arg(long, value_name = "N|none", value_parser = number)]
    rpm: Option<Number>,

    /// Tokens per minute
    #[arg(long, value_name = "N|none", value_parser = number)]
    tpm: Option<Number>,

    /// Requests at the same time
    #[arg(long, value_name = "N|none", value_parser = number)]
    concurrent: Option<Number>,

    #[command(flatten)]
    how: How,
}

#[derive(Clone, Copy, Debug)]
struct Number(Option<u64>);

fn number(text: &str) -> Result<Number, String> {
    match text.parse() {
        _ if text == "none" => Ok(Number(None)),
        Ok(number) if (1..=u64::from(u32::MAX)).contains(&number) => Ok(Number(Some(number))),
        _ => Err("write a number, or none".into()),
    }
}

impl Limit {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let Self::Set(set) = self;
        match Part::parse(&set.what) {
            Some(Part::Credential(vendor, credential)) => set.of_credential(&vendor, &credential, place, screen),
            _ => set.of_key(place, screen),
        }
    }
}

impl Set {
    fn change(&self, requests: &mut Option<u64>, tokens: &mut Option<u64>, concurrent: &mut Option<u32>) {
        let set = |number: Option<Number>, limit: &mut Option<u64>| {
            if let Some(Number(number)) = number {
                *limit = number;
            }
        };
        set(self.rpm, requests);
        set(self.tpm, tokens);
        if let Some(Number(number)) = self.concurrent {
            *concurrent = number.and_then(|number| u32::try_from(number).ok());
        }
    }

    fn of_key(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let id = super::key::id_of(&self.what);
        let stamp = place.stamp(format!("limit set {id}"));
        let (limits, pointer) = publish::change_keys(&*store, &stamp, |_, keys| {
            keys.change(&id, |key| {
                let limits = &mut key.limits;
                self.change(
                    &mut limits.requests_per_minute,
                    &mut limits.tokens_per_minute,
                    &mut limits.concurrent_requests,
                );
                Ok(*limits)
            })
        })?;
        let nodes = match &pointer {
            None => {
                screen.say("nothing to change");
                Vec::new()
            }
            Some(pointer) => {
                let said = format!("published revision {}: limits of key {id}", pointer.revision);
                screen.say(screen.paint.good(&said));
                follow(&*store, pointer, &self.how.wait, screen)?
            }
        };
        Ok(
            json!({"id": id, "limits": limits, "changed": pointer.is_some(), "revision": pointer.map(|at| at.revision), "nodes": nodes}),
        )
    }

    fn of_credential(&self, vendor: &str, name: &str, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        twin::publish(place, screen, &format!("limit set {}", self.what), &self.how, |draft| {
            let names: Vec<String> = draft.vendors.iter().map(|known| known.is.name.clone()).collect();
            let Some(known) = draft.vendors.iter_mut().find(|known| known.is.name == vendor) else {
                return Err(twin::missing("vendor", vendor, names.iter().map(String::as_str)));
            };
            let own: Vec<String> = known.is.credentials.iter().map(|credential| credential.name.clone()).collect();
            let Some(credential) = known.is.credentials.iter_mut().find(|known| known.name == name) else {
                return Err(twin::missing("credential", name, own.iter().map(String::as_str)));
            };
            let CredentialDraft { requests_per_minute, tokens_per_minute, concurrent_requests, .. } = credential;
            self.change(requests_per_minute, tokens_per_minute, concurrent_requests);
            Ok(known.source.clone())
        })
    }
}
