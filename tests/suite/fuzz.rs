//! Every fuzz body on its seeds and on seeded random changes of them: the same inputs on every machine. Campaigns with
//! coverage are in `tests/fuzz`.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use weir_tests::clock;

/// `WEIR_FUZZ_SECONDS` for each body; the ordinary run only looks for what is easily found.
fn patience() -> Duration {
    let told = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    told.map_or(Duration::from_secs(2), Duration::from_secs)
}

#[test]
fn bodies_hold() {
    let mut failures = Vec::new();
    // Quiet while it runs: what fails is told once, with its input.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = bodies::ALL.iter().map(|body| (body.name, scope.spawn(|| try_out(body)))).collect();
        threads.into_iter().map(|(name, thread)| (name, thread.join())).collect()
    });
    std::panic::set_hook(usual);
    for (name, outcome) in outcomes {
        if let Ok(Some((input, why))) = outcome {
            failures.push(format!("── {name}: {why}\n   {:?}", String::from_utf8_lossy(&input)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The first input on which it fails, and how.
fn try_out(body: &bodies::Body) -> Option<(Vec<u8>, String)> {
    let mut random = Random(0x5eed_0001 + body.name.len() as u64);
    let started = clock::now();
    let mut inputs: Vec<Vec<u8>> = body.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let mut number = 0;
    loop {
        let input = match inputs.get(number) {
            Some(seed) => seed.clone(),
            None if started.elapsed() > patience() => return None,
            None => change(&inputs, &mut random),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| (body.run)(&input)));
        if let Err(panic) = outcome {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            return Some((smaller(input, body.run), why.unwrap_or_default()));
        }
        number += 1;
        // Changes of changes, too.
        if number > body.seeds.len() && random.below(50) == 0 && inputs.len() < 500 {
            inputs.push(input);
        }
    }
}

/// Leaves out what is not needed for the failure.
fn smaller(mut input: Vec<u8>, run: fn(&[u8])) -> Vec<u8> {
    let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| run(input))).is_err();
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..at + size);
            if fails(&shorter) {
                input = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "data: ",
    "event: ",
    ":",
    " ",
    "\t",
    "\0",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
    "true",
    "-0",
    "1e9",
    "0",
    "18446744073709551615",
    "[DONE]",
    "\u{feff}",
    "é",
    "😀",
    "\u{7f}",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.1",
    "\"model\":\"x\"",
    "\"stream\":true",
    "\"error\":{}",
    "\"usage\":{}",
    "%2F",
    "%00",
    "../",
];

fn change(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(24)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            4 | 5 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            6 => input.truncate(at),
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(8 << 10);
    input
}

/// xorshift: the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
