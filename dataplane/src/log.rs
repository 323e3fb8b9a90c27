//! One JSON line per request, never a prompt or a completion.
//!
//! A core collects its lines and hands them over ten times a second. When nobody takes them they are dropped and counted:
//! lines may be lost, records never are.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use weir_shared::fault::Code;
use weir_shared::ledger::{Outcome, flag};

use crate::clock;
use crate::gauge::{Counter, Gauges};
use crate::meter::Bill;
use crate::wire::json::escape_into;

/// What a line tells.
pub struct Line<'a> {
    pub id: &'a str,
    pub from: std::net::IpAddr,
    pub method: &'static str,
    /// The endpoint's pattern, not what the caller wrote.
    pub endpoint: &'a str,
    pub status: u16,
    pub code: Option<Code>,
    pub key: &'a str,
    pub tenant: &'a str,
    pub model: &'a str,
    pub vendor: &'a str,
    pub credential: &'a str,
    /// The route that the name led to, and the branch of its split; empty when there was none.
    pub route: &'a str,
    pub branch: &'a str,
    pub attempts: usize,
    pub stream: bool,
    pub outcome: Option<Outcome>,
    pub bill: Option<&'a Bill>,
    pub bytes: u64,
    pub revision: u64,
}

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Handed over early when a busy core has collected so much: waking the thread that writes costs as much as a request.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that wait for the disk.
const WAITING_MAX: usize = 16;

pub struct Logger {
    sender: Option<SyncSender<Vec<u8>>>,
    spare: Mutex<Receiver<Vec<u8>>>,
}

impl Logger {
    /// `-` is standard output, `off` nothing, anything else a file that is appended to.
    pub fn start(to: &str) -> io::Result<Self> {
        let (give_back, spare) = sync_channel(WAITING_MAX);
        let spare = Mutex::new(spare);
        let mut out: Box<dyn Write + Send> = match to {
            "off" => return Ok(Self { sender: None, spare }),
            "-" => Box::new(io::stdout()),
            path => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, lines) = sync_channel::<Vec<u8>>(WAITING_MAX);
        std::thread::Builder::new().name("weir-log".into()).spawn(move || {
            while let Ok(mut batch) = lines.recv() {
                // A full disk loses lines; the journal has the records.
                let _ = out.write_all(&batch).and_then(|()| out.flush());
                batch.clear();
                let _ = give_back.try_send(batch);
            }
        })?;
        Ok(Self { sender: Some(sender), spare })
    }

    /// Hands this core's lines over.
    pub fn flush(&self, gauges: &Gauges) {
        let Some(sender) = &self.sender else { return };
        LINES.with_borrow_mut(|lines| {
            if lines.is_empty() {
                return;
            }
            let spare = self.spare.try_lock().ok().and_then(|spare| spare.try_recv().ok()).unwrap_or_default();
            let batch = std::mem::replace(lines, spare);
            if let Err(TrySendError::Full(mut batch) | TrySendError::Disconnected(mut batch)) = sender.try_send(batch) {
                gauges.add(Counter::LogLinesLost, batch.iter().filter(|byte| **byte == b'\n').count() as u64);
                batch.clear();
            }
        });
    }

    pub fn write(&self, line: &Line<'_>, gauges: &Gauges) {
        if self.sender.is_none() {
            return;
        }
        let full = LINES.with_borrow_mut(|lines| {
            render(line, lines);
            lines.len() >= BATCH_BYTES
        });
        if full {
            self.flush(gauges);
        }
    }
}

/// A member's name with all that stands around it, put together when this is compiled.
macro_rules! member {
    ($out:expr, $name:literal, $value:expr) => {
        count($out, concat!(",\"", $name, "\":").as_bytes(), $value)
    };
    ($out:expr, $name:literal = $value:expr) => {
        text($out, concat!(",\"", $name, "\":\"").as_bytes(), $value)
    };
    // Words of ours: nothing in them needs an escape.
    ($out:expr, $name:literal is $value:expr) => {
        word($out, concat!(",\"", $name, "\":\"").as_bytes(), $value)
    };
}

fn render(line: &Line<'_>, out: &mut Vec<u8>) {
    out.reserve(LINE_BYTES_USUAL);
    out.extend_from_slice(b"{\"time_ns\":");
    number(out, line.bill.map_or_else(clock::wall_ns, |bill| bill.time_ns));
    member!(out, "request" is line.id);
    // The commonest family is written without its formatter.
    match line.from {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            out.extend_from_slice(b",\"from\":\"");
            number(out, u64::from(a));
            for octet in [b, c, d] {
                out.push(b'.');
                number(out, u64::from(octet));
            }
            out.push(b'"');
        }
        from => {
            let _ = write!(out, ",\"from\":\"{from}\"");
        }
    }
    member!(out, "method" is line.method);
    member!(out, "endpoint" is line.endpoint);
    member!(out, "status", u64::from(line.status));
    if let Some(code) = line.code {
        member!(out, "code" is code.name());
    }
    if !line.key.is_empty() {
        member!(out, "key" is line.key);
    }
    if !line.tenant.is_empty() {
        member!(out, "tenant" = line.tenant);
    }
    if !line.model.is_empty() {
        member!(out, "model" = line.model);
    }
    if !line.vendor.is_empty() {
        member!(out, "vendor" = line.vendor);
    }
    if !line.credential.is_empty() {
        member!(out, "credential" = line.credential);
    }
    if !line.route.is_empty() {
        member!(out, "route" = line.route);
    }
    if !line.branch.is_empty() {
        member!(out, "branch" = line.branch);
    }
    if let Some(outcome) = line.outcome {
        member!(out, "outcome" is outcome.name());
    }
    if line.stream {
        out.extend_from_slice(b",\"stream\":true");
    }
    member!(out, "attempts", line.attempts as u64);
    if let Some(bill) = line.bill {
        member!(out, "first_byte_us", bill.first_byte_us);
        member!(out, "total_us", bill.total_us);
        for (class, used) in bill.usage.each() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(class.name().as_bytes());
            count(out, b"\":", used);
        }
        member!(out, "cost_nano", bill.cost.0.unsigned_abs());
        member!(out, "sale_nano", bill.sale.0.unsigned_abs());
        if bill.flags & !flag::STREAM != 0 {
            for (_, name) in flag::NAMES.iter().filter(|(bit, _)| bill.flags & bit & !flag::STREAM != 0) {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":true");
            }
        }
    }
    member!(out, "bytes", line.bytes);
    member!(out, "revision", line.revision);
    out.extend_from_slice(b"}\n");
}

const LINE_BYTES_USUAL: usize = 768;

#[inline(always)]
fn word(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

#[inline(always)]
fn text(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    escape_into(out, value);
    out.push(b'"');
}

#[inline(always)]
fn count(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    number(out, value);
}

use crate::accept::push_number as number;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json() {
        let line = Line {
            id: "req_7",
            from: "127.0.0.1".parse().unwrap(),
            method: "POST",
            endpoint: "chat/completions",
            status: 200,
            code: Some(Code::RateLimited),
            key: "abc",
            tenant: "t\"x",
            model: "m",
            vendor: "v",
            credential: "c",
            route: "r",
            branch: "canary",
            attempts: 1,
            stream: true,
            outcome: Some(Outcome::Complete),
            bill: None,
            bytes: 5,
            revision: 3,
        };
        let mut out = Vec::new();
        render(&line, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((value["tenant"].as_str(), value["status"].as_u64()), (Some("t\"x"), Some(200)));
        assert_eq!((value["route"].as_str(), value["branch"].as_str()), (Some("r"), Some("canary")));
    }
}
