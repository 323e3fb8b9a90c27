//! Every fuzz body on its seeds and on seeded random changes of them: the same inputs on every machine. Campaigns with
//! coverage are in `tests/fuzz`.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_tests::clock;

/// `WEIR_FUZZ_SECONDS` for each body; the ordinary run only looks for what is easily found.
fn patience() -> Duration {
    let told = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    told.map_or(Duration::from_secs(2), Duration::from_secs)
}

/// The longest that a body may take over one input: none is larger than a few kilobytes, and no two agree to wait.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

#[test]
fn bodies_hold() {
    let failures = quietly(|| try_all(bodies::ALL, patience(), INPUT_TIME_MAX));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What fails is told once, with its input, not by each panic on the way.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    // The hook is the process's.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = run();
    std::panic::set_hook(usual);
    outcome
}

/// What a body is at, since when.
type Now = Arc<Mutex<(Instant, Vec<u8>)>>;

/// Each body on a thread of its own. One that does not return cannot be stopped: it is named, and ends with the process.
fn try_all(all: &[bodies::Body], patience: Duration, input_time_max: Duration) -> Vec<String> {
    let threads: Vec<_> = all
        .iter()
        .map(|&bodies::Body { name, seeds, run }| {
            let now: Now = Arc::new(Mutex::new((clock::now(), Vec::new())));
            let theirs = Arc::clone(&now);
            let body = bodies::Body { name, seeds, run };
            (name, now, std::thread::spawn(move || try_out(&body, patience, &theirs)))
        })
        .collect();
    let mut failures = Vec::new();
    for (name, now, thread) in threads {
        let outcome = loop {
            let (since, input) = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if thread.is_finished() {
                break thread
                    .join()
                    .unwrap_or_else(|panic| Some((input, format!("the run itself: {}", words(&*panic)))));
            }
            if since.elapsed() > input_time_max {
                break Some((input, "it does not return".into()));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if let Some((input, why)) = outcome {
            failures.push(format!("── {name}: {why}\n   {:?}", String::from_utf8_lossy(&input)));
        }
    }
    failures
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The first input on which it fails, and how.
fn try_out(body: &bodies::Body, patience: Duration, now: &Now) -> Option<(Vec<u8>, String)> {
    let mut random = Random(0x5eed_0001 + body.name.len() as u64);
    let started = clock::now();
    let mut inputs: Vec<Vec<u8>> = body.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let mut number = 0;
    loop {
        let input = match inputs.get(number) {
            Some(seed) => seed.clone(),
            None if started.elapsed() > patience => return None,
            None => change(&inputs, &mut random),
        };
        *now.lock().unwrap_or_else(PoisonError::into_inner) = (clock::now(), input.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| (body.run)(&input)));
        if let Err(panic) = outcome {
            return Some((smaller(input, body.run), words(&*panic)));
        }
        number += 1;
        // Changes of changes, too.
        if number > body.seeds.len() && random.below(50) == 0 && inputs.len() < 500 {
            inputs.push(input);
        }
    }
}

/// What this test says of a body that panics, of one that hangs, and of one without a seed, on which the run itself panics.
#[test]
fn failures_are_named() {
    let all = [
        bodies::Body { name: "good", seeds: &["x"], run: |_| {} },
        bodies::Body { name: "bad", seeds: &["xx bad xx"], run: |input| assert!(!input.starts_with(b"xx"), "why") },
        bodies::Body { name: "no seeds", seeds: &[], run: |_| {} },
        bodies::Body { name: "hangs", seeds: &["slow"], run: |_| std::thread::sleep(Duration::from_secs(60)) },
    ];
    let failures = quietly(|| try_all(&all, Duration::from_millis(50), Duration::from_millis(500)));
    assert_eq!(failures.len(), 3, "{failures:?}");
    assert_eq!(failures[0], "── bad: why\n   \"xx\"");
    assert!(failures[1].starts_with("── no seeds: the run itself: "), "{failures:?}");
    assert_eq!(failures[2], "── hangs: it does not return\n   \"slow\"");
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
