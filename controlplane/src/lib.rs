//! `weirctl`: the operator's command line. A library, so that its readers of strangers' files can be fuzzed; `main.rs` runs it.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use serde_json::Value;
use weir_shared::fault::Exit;

use crate::audit::{Change, Log};
use crate::failure::Failure;
use crate::operation::Operation;
use crate::place::Place;
use crate::screen::Screen;

mod when;
mod table;
mod screen;
mod failure;
mod tree;
mod price;
pub mod pricelist;
mod catalog;
mod folder;
mod role;
mod publish;
mod place;
mod change;
mod import;
mod follow;
mod journal;
mod node;
mod tally;
mod rollout;
mod twin;
mod shapes;
mod replay;
mod audit;
mod operation;
mod serve;
mod remote;
mod command;

/// Operates a Weir gateway: what it serves, who may call it, what it has cost
///
/// The operator's folder (vendors, models and prices, aliases, tenants, limits; kept in git) is checked and published as
/// a revision. Every node follows within a second, or refuses with a reason. Callers' keys live in the store.
#[derive(Parser)]
#[command(name = "weirctl", version, after_help = exits(), after_long_help = start(), max_term_width = 120)]
struct Line {
    #[command(flatten)]
    place: Place,

    /// Answer in JSON, also when something fails
    #[arg(long, global = true, display_order = 900)]
    json: bool,

    #[command(subcommand)]
    command: command::Command,
}

pub fn main() -> ExitCode {
    let parsed = Line::command().try_get_matches().and_then(|matches| Ok((Line::from_arg_matches(&matches)?, matches)));
    let (line, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(said) => {
            // Help and the version are answers.
            let exit = if said.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = said.print();
            return ExitCode::from(exit as u8);
        }
    };
    let screen = Screen::new(line.json);
    let done = match &line.place.server.url {
        Some(url) => remote::run(url, &matches, &line.place, &screen),
        None => {
            let change = change(&line, &matches);
            audited(&Log::of(&line.place.state), change.as_ref(), || line.command.run(&line.place, &screen))
        }
    };
    match done {
        Ok(answer) => {
            if line.json && !answer.is_null() {
                screen.print(&format!("{answer:#}"));
            }
            ExitCode::from(screen.exit() as u8)
        }
        Err(failure) => {
            screen.progress_over();
            if line.json {
                screen.print(&format!("{:#}", failure.json()));
            } else {
                screen.fail(&failure);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// What is written down of this command line: nothing of one that only looks.
fn change(line: &Line, matches: &ArgMatches) -> Option<Change> {
    let (words, with) = remote::arguments(matches);
    let does = words.join(" ");
    // The others change what a server is asked for as `put`.
    let here = ["vendor credential set", "vendor credential rotate"];
    let changes =
        Operation::of_words(&words).is_some_and(|operation| operation.changes) || here.contains(&does.as_str());
    changes.then(|| Change { who: line.place.stamp("").author, by: "cli", does, with })
}

/// Carries a change out between two lines of the audit log.
fn audited(log: &Log, change: Option<&Change>, run: impl FnOnce() -> Result<Value, Failure>) -> Result<Value, Failure> {
    let Some(change) = change else { return run() };
    log.append(change, "asked", None)?;
    let done = run();
    let (outcome, said) = match &done {
        Ok(value) => (Exit::Done, &value["revision"]),
        Err(failure) => (failure.exit, failure.details.get("revision").unwrap_or(&Value::Null)),
    };
    log.append(change, outcome.name(), said.as_u64())?;
    done
}

fn start() -> String {
    format!(
        "From nothing to the first answer:\n  \
         weirctl init --vendor openai          # writes ./weir.d\n  \
         weirctl apply                         # checks it and publishes revision 1\n  \
         weirctl key create --name me          # prints a key, once\n  \
         weir                                  # a node; it finds the rest in ./weir-state\n\n{}",
        exits()
    )
}

fn exits() -> String {
    let lines = Exit::ALL.iter().map(|exit| format!("  {:>2}  {:<9} {}", *exit as u8, exit.name(), exit.meaning()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_tells_every_exit_code() {
        Line::command().debug_assert();
        let help = Line::command().render_help().to_string();
        for exit in Exit::ALL {
            assert!(help.contains(exit.meaning()), "{}", exit.name());
        }
    }

    #[test]
    fn the_readme_lists_the_exit_codes_as_they_are() {
        let readme = include_str!("../README.md");
        for exit in Exit::ALL {
            assert!(readme.contains(&format!("| {} | {} | {} |", *exit as u8, exit.name(), exit.meaning())));
        }
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.get_subcommands().count() == 0 && command.get_name() != "help" {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains("Examples:"), "{path} shows no example");
            }
            command.get_subcommands().for_each(|inner| visit(inner, &path));
        }
        visit(&Line::command(), "");
    }

    #[test]
    fn completions_are_what_the_shell_reads() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let script = command::completions(shell);
            assert!(script.contains("weirctl") && script.contains("rollback"));
            let name = shell.to_string();
            let path = std::env::temp_dir().join(format!("weirctl-completions-{}-{name}", std::process::id()));
            std::fs::write(&path, &script).unwrap();
            // Where that shell is not installed, nobody needs its completions.
            if let Ok(output) = std::process::Command::new(&name).arg("-n").arg(&path).output() {
                assert!(output.status.success(), "{name}: {output:?}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
}
