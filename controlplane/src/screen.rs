//! What a command says while it works: to people on a terminal, to nobody under `--json`.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};

use weir_shared::fault::Exit;

use crate::failure::Failure;
use crate::table::Paint;

pub struct Screen {
    pub json: bool,
    /// For standard output.
    pub paint: Paint,
    /// For standard error, which may lead elsewhere.
    paint_aside: Paint,
    /// Somebody looks at standard error, so that a line may be written over.
    live: bool,
    /// Lines of progress that are written over next.
    standing: Cell<usize>,
    /// What the process ends with when nothing fails.
    exit: Cell<Exit>,
    /// What would be shown, for whoever shows it elsewhere.
    said: Option<RefCell<String>>,
}

impl Screen {
    pub fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = |terminal: bool| Paint { on: terminal && !plain && !dumb };
        Self {
            json,
            paint: colours(std::io::stdout().is_terminal()),
            paint_aside: colours(std::io::stderr().is_terminal()),
            standing: Cell::new(0),
            exit: Cell::new(Exit::Done),
            live: std::io::stderr().is_terminal() && !dumb,
            said: cfg!(test).then(RefCell::default),
        }
    }

    /// For somebody on another machine: nothing is shown here, and notes stand among the rest.
    pub fn elsewhere(json: bool) -> Self {
        Self { json, paint: Paint::default(), live: false, said: Some(RefCell::default()), ..Self::new(json) }
    }

    /// A line of the answer.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            self.print(text.as_ref());
        }
    }

    /// The answer itself, also under `--json`.
    pub fn print(&self, text: &str) {
        if let Some(said) = &self.said {
            let mut said = said.borrow_mut();
            said.push_str(text.trim_end_matches('\n'));
            said.push('\n');
            return;
        }
        let mut out = std::io::stdout().lock();
        let ended = if text.ends_with('\n') { "" } else { "\n" };
        // Whoever closed the pipe has read enough.
        if write!(out, "{text}{ended}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Nothing failed, and a script wants to know how it went all the same.
    pub fn ends_with(&self, exit: Exit) {
        self.exit.set(exit);
    }

    pub fn exit(&self) -> Exit {
        self.exit.get()
    }

    /// Whether somebody looks at standard output.
    pub fn is_watched(&self) -> bool {
        self.said.is_none() && std::io::stdout().is_terminal()
    }

    /// The next answer takes the place of what is shown.
    pub fn clear(&self) {
        if self.is_watched() && !self.json {
            self.print("\x1b[H\x1b[2J");
        }
    }

    /// Something worth knowing that is no part of the answer.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.json && self.said.is_some() && !cfg!(test) {
            self.print(&format!("note: {}", text.as_ref()));
        } else if !self.json {
            let _ = writeln!(std::io::stderr(), "{} {}", self.paint_aside.odd("note:"), text.as_ref());
        }
    }

    pub fn fail(&self, failure: &Failure) {
        let mut text = format!("{} {}\n", self.paint_aside.bad("error:"), failure.what);
        if !failure.next.is_empty() {
            text.push_str(&format!("{} {}\n", self.paint_aside.dim(" next:"), failure.next));
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Where things stand, written over the last time it was said.
    pub fn progress(&self, lines: &[String]) {
        if self.live && !self.json {
            let mut text = String::new();
            // Back to the first of the lines that stand there, and everything below goes.
            if self.standing.get() > 0 {
                text = format!("\x1b[{}A\r\x1b[J", self.standing.get());
            }
            for line in lines {
                // One that the terminal breaks in two could not be counted.
                text.extend(line.chars().take(LINE_CHARS_MAX));
                text.push('\n');
            }
            self.standing.set(lines.len());
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    pub fn progress_over(&self) {
        self.progress(&[]);
    }

    pub fn said(&self) -> String {
        self.said.as_ref().map(RefCell::take).unwrap_or_default()
    }
}

const LINE_CHARS_MAX: usize = 79;
