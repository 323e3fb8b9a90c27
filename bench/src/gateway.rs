//! The gateway as two programs: where they are, how they are called, and what becomes of a process of ours.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Moment;

#[derive(Clone, Debug)]
pub struct Programs {
    pub weir: PathBuf,
    pub weirctl: PathBuf,
}

impl Programs {
    /// Those that are given, and beside this program those that are not.
    pub fn find(weir: Option<&Path>, weirctl: Option<&Path>) -> Result<Programs, String> {
        Ok(Programs { weir: beside("weir", weir)?, weirctl: beside("weirctl", weirctl)? })
    }
}

fn beside(name: &str, given: Option<&Path>) -> Result<PathBuf, String> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let own = std::env::current_exe().map_err(|e| e.to_string())?;
            own.parent().unwrap_or(Path::new(".")).join(name)
        }
    };
    if path.is_file() { Ok(path) } else { Err(format!("{} is not there (--{name} PATH)", path.display())) }
}

/// A process of ours: it is asked to end, and made to, when nobody holds it any more.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            crate::sys::terminate(self.0.id());
            for _ in 0..100 {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that listens, and what it said of itself.
#[derive(Debug)]
pub struct Started {
    pub process: Process,
    pub ready: Value,
    /// When it was executed.
    pub born: Moment,
}

/// Starts a node by this command line and waits until it says where it listens. `errors` is where it complains.
pub fn launch(mut command: Command, errors: &Path) -> io::Result<Started> {
    let file = std::fs::File::create(errors)?;
    let born = Moment::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn()?;
    let mut process = Process(child);
    let line =
        first_line(&mut process.0).ok_or_else(|| io::Error::other(format!("weir does not start: {}", tail(errors))))?;
    let ready = serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e}: {line}")))?;
    Ok(Started { process, ready, born })
}

/// What a command printed, when it went well.
pub fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(io::Error::other(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&said).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line that says where it listens; `None` when it ends or says nothing for too long.
fn first_line(child: &mut Child) -> Option<String> {
    let output = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        while let Some(Ok(line)) = lines.next() {
            // Read on to the end, so that the gateway never writes into a closed pipe.
            if line.contains("\"listening\"") {
                let _ = send.send(line);
            }
        }
    });
    receive.recv_timeout(Duration::from_secs(20)).ok()
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
