//! What vendors really sent, read by the gateway's own readers: usage, ends and errors must be what the vendors' SDKs made of
//! them. The recordings are not part of the project; `WEIR_RECORDINGS` names their folder.

use std::path::PathBuf;

use serde_json::Value;
use weir::dialect::{self, Language, Reading, Sense};
use weir::wire::sse::Framer;
use weir_shared::usage::{Class, Usage};
use weir_tests::Table;
use weir_tests::table::{ensure, same};

struct Recording {
    id: String,
    language: &'static dyn Language,
    stream: bool,
    body: Vec<u8>,
    expected: Value,
}

/// `None`, and a word about it, where there are none.
fn recordings() -> Option<Vec<Recording>> {
    let Some(folder) = std::env::var_os("WEIR_RECORDINGS").map(PathBuf::from) else {
        eprintln!("SKIPPED: WEIR_RECORDINGS names no folder of recorded vendor traffic");
        return None;
    };
    let read = |path: PathBuf| -> Value {
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let expected = read(folder.join("EXPECTED.json"));
    let mut found = Vec::new();
    for (id, expected) in expected.as_object().expect("an object") {
        let Some(language) = expected["api"].as_str().and_then(language) else { continue };
        let provider = expected["provider"].as_str().unwrap_or_default();
        let recording = read(folder.join(provider).join(format!("{id}.json")));
        let response = &recording["response"];
        if response["encoding"] != "text" {
            continue;
        }
        let body = match &response["body"] {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        // Some recordings are several answers, one behind the other.
        let text = String::from_utf8_lossy(&body);
        let answers =
            text.matches("\"type\":\"message_start\"").count() + text.matches("\"type\":\"response.created\"").count();
        if answers > 1 {
            continue;
        }
        found.push(Recording {
            id: id.clone(),
            language,
            stream: expected["stream"] == true,
            body,
            expected: expected.clone(),
        });
    }
    assert!(found.len() > 500, "only {} recordings", found.len());
    Some(found)
}

fn language(api: &str) -> Option<&'static dyn Language> {
    let name = match api {
        "openai_chat" => "openai_chat",
        "openai_responses" => "openai_responses",
        "openai_embeddings" => "openai",
        "anthropic_messages" => "anthropic",
        "gemini_generate" | "gemini_stream" => "gemini",
        _ => return None,
    };
    let found = dialect::ALL.iter().copied().find(|language| language.name() == name);
    Some(found.unwrap_or_else(|| panic!("no language {name}")))
}

/// What the gateway learns from a stream that arrives in these pieces.
fn read_stream<'a>(
    language: &dyn Language,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(Reading, usize), String> {
    let mut framer = Framer::default();
    let mut bytes = Vec::new();
    let mut reading = Reading::default();
    let mut events = 0;
    for piece in pieces.chain([&b"\n\n"[..]]) {
        bytes.extend_from_slice(piece);
        while let Some(event) = framer.next(&bytes) {
            if event.is_silent() {
                continue;
            }
            events += 1;
            let joined = (event.data_lines > 1).then(|| event.join(&bytes));
            let data = joined.as_deref().unwrap_or(event.data.of(&bytes));
            let sense = language.read_event(event.name.of(&bytes), data, &mut reading);
            match sense {
                Err(why) => return Err(format!("event {events} is refused: {why:?}")),
                Ok(Sense::Failed) => reading.failed = true,
                Ok(Sense::End) => reading.ended = true,
                Ok(_) => {}
            }
        }
    }
    Ok((reading, events))
}

fn read(recording: &Recording) -> Result<Reading, String> {
    if recording.stream {
        return read_stream(recording.language, std::iter::once(&recording.body[..])).map(|(reading, _)| reading);
    }
    let mut reading = Reading::default();
    recording.language.read_answer(&recording.body, &mut reading).map_err(|why| format!("refused: {why:?}"))?;
    Ok(reading)
}

/// The numbers that the vendor's SDK may have read; several where versions of it differ.
fn allowed(usage: &Value, side: &str) -> Vec<u64> {
    usage[side].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// A compacted conversation is paid for twice: for the compaction and for the answer. The SDK tells the second only.
const PAID: &[(&str, u64, u64)] = &[("anthropic-6df8fe341e84", 100 + 181 + 55_096, 83 + 8)];

#[test]
fn usage_is_what_the_vendor_said() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in recordings.iter().filter(|recording| recording.expected["usage"].is_object()) {
        let usage = &recording.expected["usage"];
        let paid = PAID.iter().find(|(id, ..)| *id == recording.id);
        let (prompt, completion) = match paid {
            Some((_, prompt, completion)) => (vec![*prompt], vec![*completion]),
            None => (allowed(usage, "prompt"), allowed(usage, "completion")),
        };
        let outcome = read(recording).and_then(|reading| {
            ensure(!reading.usage_invalid, "called invalid")?;
            let read = reading.usage.unwrap_or(Usage::NONE);
            let (input, output) = (read.prompt_tokens(), read.answer_tokens());
            // Where reasoning stands beside the completion, SDKs leave it out; it is paid all the same.
            let without_reasoning = output - read.of(Class::Reasoning);
            let fits = |list: &[u64], found: u64| list.is_empty() || list.contains(&found);
            ensure(
                fits(&prompt, input) && (fits(&completion, output) || fits(&completion, without_reasoning)),
                format!("({input}, {output}), not ({prompt:?}, {completion:?}): {read:?}"),
            )
        });
        table.case(&recording.id, outcome);
    }
    table.end();
}

#[test]
fn ends_and_errors_are_seen() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in recordings.iter().filter(|recording| recording.stream && recording.expected["http"] == 200) {
        let has_error = !recording.expected["error"].is_null();
        let finish = !recording.expected["finish_native"].is_null() && recording.expected["finish_native"] != "";
        let outcome = read(recording).and_then(|reading| {
            same("failed", reading.failed, has_error)?;
            ensure(!finish || reading.finished, "the finish reason is not seen")?;
            ensure(
                reading.output_bytes > 0 || recording.expected["text"].as_str().is_none_or(str::is_empty),
                "no output is seen",
            )
        });
        table.case(&recording.id, outcome);
    }
    table.end();
}

/// A cut at any byte of any stream, and pieces of any size, give the same reading.
#[test]
fn cuts_do_not_matter() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in recordings.iter().filter(|recording| recording.stream) {
        let Ok((whole, events)) = read_stream(recording.language, std::iter::once(&recording.body[..])) else {
            continue;
        };
        let body = &recording.body;
        let mut outcome = Ok(());
        // Each place as a lone cut: of a small stream in two pieces, of a large one between pieces of this length.
        const APART: usize = 61;
        if body.len() < 6_000 {
            for cut in 0..=body.len() {
                let (first, second) = body.split_at(cut);
                outcome = outcome.and_then(|()| alike(recording, [first, second].into_iter(), &whole, events, cut));
            }
        } else {
            for first in 0..APART {
                let (head, rest) = body.split_at(first);
                let pieces = std::iter::once(head).chain(rest.chunks(APART));
                outcome = outcome.and_then(|()| alike(recording, pieces, &whole, events, first));
            }
        }
        for size in [1, 7, 1_000, 4_096, 16_384] {
            outcome = outcome.and_then(|()| alike(recording, body.chunks(size), &whole, events, size));
        }
        table.case(&recording.id, outcome);
    }
    table.end();
}

fn alike<'a>(
    recording: &Recording,
    pieces: impl Iterator<Item = &'a [u8]>,
    whole: &Reading,
    events: usize,
    cut: usize,
) -> Result<(), String> {
    let (reading, count) = read_stream(recording.language, pieces)?;
    same(&format!("events, cut {cut}"), count, events)?;
    same(&format!("the reading, cut {cut}"), format!("{reading:?}"), format!("{whole:?}"))
}
