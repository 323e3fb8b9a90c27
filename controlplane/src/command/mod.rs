//! The commands, one file a noun.

mod apply;
mod catalog;
mod check;
mod explain;
mod export;
mod init;
mod key;
mod limit;
mod model;
mod plan;
mod prune;
mod revision;
mod route;
mod serve;
mod show;
mod status;
mod store;
mod tenant;
mod top;
mod usage;
mod vendor;
mod watch;

pub use catalog::{list_here, written_here};
pub use vendor::sealed_here;

use clap::{CommandFactory, Subcommand};
use serde_json::Value;

use crate::failure::Failure;
use crate::place::Place;
use crate::screen::Screen;

#[derive(Subcommand)]
pub enum Command {
    Init(init::Init),
    Check(check::Check),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Rollback(revision::Rollback),
    History(revision::History),
    Diff(revision::Diff),
    Show(show::Show),
    Export(export::Export),
    Status(status::Status),
    Watch(watch::Watch),
    /// Make, list and revoke callers' keys
    #[command(subcommand)]
    Key(key::Key),
    /// Take vendors, credentials or models out of traffic, move traffic, and put it back
    #[command(subcommand)]
    Route(route::Route),
    /// Put vendors' secrets into the store, sealed, and rotate them
    #[command(subcommand)]
    Vendor(vendor::Vendor),
    /// Change prices in the store, in haste
    #[command(subcommand)]
    Price(model::Price),
    /// Add, name and retire models in the store, in haste
    #[command(subcommand)]
    Model(model::Model),
    /// Make, change and remove tenants in the store, in haste
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Change limits of keys and of vendors' credentials
    #[command(subcommand)]
    Limit(limit::Limit),
    /// Copy the store to another address
    #[command(subcommand)]
    Store(store::StoreVerb),
    Serve(serve::Serve),
    /// Who may speak to the admin API
    #[command(subcommand)]
    Token(serve::Token),
    Audit(serve::Audit),
    Explain(explain::Explain),
    Top(top::Top),
    Usage(usage::Usage),
    /// Compare prices with public lists, and take them over
    #[command(subcommand)]
    Catalog(catalog::CatalogVerb),
    Completions(Completions),
}

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl completions bash > /etc/bash_completion.d/weirctl
  weirctl completions zsh > ~/.zfunc/_weirctl")]
pub struct Completions {
    shell: clap_complete::Shell,
}

impl Command {
    /// What a script gets under `--json`; people have been told on the way.
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Init(init) => init.run(place, screen),
            Self::Check(check) => check.run(place, screen),
            Self::Plan(plan) => plan.run(place, screen),
            Self::Apply(apply) => apply.run(place, screen),
            Self::Rollback(rollback) => rollback.run(place, screen),
            Self::History(history) => history.run(place, screen),
            Self::Diff(diff) => diff.run(place, screen),
            Self::Show(show) => show.run(place, screen),
            Self::Export(export) => export.run(place, screen),
            Self::Watch(watch) => watch.run(place, screen),
            Self::Status(status) => status.run(place, screen),
            Self::Key(key) => key.run(place, screen),
            Self::Route(route) => route.run(place, screen),
            Self::Vendor(vendor) => vendor.run(place, screen),
            Self::Price(price) => price.run(place, screen),
            Self::Model(model) => model.run(place, screen),
            Self::Tenant(tenant) => tenant.run(place, screen),
            Self::Limit(limit) => limit.run(place, screen),
            Self::Store(verb) => verb.run(place, screen),
            Self::Serve(serve) => serve.run(place, screen),
            Self::Token(token) => token.run(place, screen),
            Self::Audit(audit) => audit.run(place, screen),
            Self::Explain(explain) => explain.run(place, screen),
            Self::Top(top) => top.run(place, screen),
            Self::Usage(usage) => usage.run(place, screen),
            Self::Catalog(verb) => verb.run(place, screen),
            Self::Completions(Completions { shell }) => {
                screen.print(&completions(*shell));
                Ok(Value::Null)
            }
        }
    }
}

pub fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Line::command(), "weirctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use clap::Parser;
    use std::path::PathBuf;
    use weir_shared::store::{Folder, Store};

    /// A state folder and an operator's folder of a test's own, and the whole command line over them.
    pub struct Deployment {
        pub root: PathBuf,
    }

    impl Deployment {
        pub fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("weirctl-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&root);
            Self { root }
        }

        pub fn write(&self, name: &str, text: &str) {
            let path = self.root.join("weir.d").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        pub fn store(&self) -> impl Store + use<> {
            Folder::open(self.root.join("state/store")).unwrap()
        }

        pub fn run(&self, words: &[&str]) -> Result<Value, Failure> {
            self.run_with(words, &Screen::new(true))
        }

        /// As people see it.
        pub fn show(&self, words: &[&str]) -> String {
            let screen = Screen::new(false);
            self.run_with(words, &screen).unwrap();
            screen.said()
        }

        fn run_with(&self, words: &[&str], screen: &Screen) -> Result<Value, Failure> {
            let (state, folder) = (self.root.join("state"), self.root.join("weir.d"));
            let places = ["weirctl", "--author", "t", "--state", state.to_str().unwrap(), "--folder"];
            let line = places.iter().copied().chain([folder.to_str().unwrap()]).chain(words.iter().copied());
            let line = crate::Line::try_parse_from(line).unwrap();
            line.command.run(&line.place, screen)
        }
    }

    impl Drop for Deployment {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}
