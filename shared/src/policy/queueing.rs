//! How long a call waits for a place when all credentials of its vendors are at their limits, and how many may wait.
//!
//! ```toml
//! [gateway.queue]
//! wait = "2s"      # nobody waits when it is left out
//! length = 500     # calls that wait on a node; a tenant has a quarter of these places
//! ```

use serde::{Deserialize, Serialize};

use super::resilience::Wrong;
use super::time;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueDraft {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queueing {
    /// 0: a call that finds no place is refused at once.
    pub wait_ms: u64,
    pub length_max: usize,
}

impl Default for Queueing {
    fn default() -> Self {
        Self { wait_ms: 0, length_max: 500 }
    }
}

const LENGTH_MAX: u32 = 10_000;

impl QueueDraft {
    pub fn compile(&self, mut wrong: impl FnMut(Wrong)) -> Queueing {
        let mut queueing = Queueing::default();
        if let Some(text) = &self.wait {
            match time::parse(text) {
                Ok(read) => queueing.wait_ms = read.as_millis() as u64,
                Err(_) => wrong((
                    "queue.wait".into(),
                    format!("wait = {text:?} is not a duration"),
                    "write a number and a unit, such as \"2s\"".into(),
                )),
            }
        }
        match self.length {
            None => {}
            Some(length @ 1..=LENGTH_MAX) => queueing.length_max = length as usize,
            Some(length) => wrong((
                "queue.length".into(),
                format!("length = {length} is out of range"),
                format!("1 to {LENGTH_MAX}"),
            )),
        }
        queueing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_unless_it_is_said_how_long() {
        let of = |wait: Option<&str>, length| {
            let mut wrong = Vec::new();
            let draft = QueueDraft { wait: wait.map(str::to_owned), length };
            (draft.compile(|(key, ..)| wrong.push(key)), wrong)
        };
        assert_eq!(of(None, None), (Queueing::default(), vec![]));
        assert_eq!(of(Some("2s"), Some(3)), (Queueing { wait_ms: 2_000, length_max: 3 }, vec![]));
        assert_eq!(of(Some("a while"), Some(0)).1, ["queue.wait", "queue.length"]);
    }
}
