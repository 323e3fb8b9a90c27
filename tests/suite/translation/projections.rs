//! What a language makes of an answer: `decode(encode_X(events)) = project_X(events)`, for each of our six languages, as a
//! stream and as a whole. A projection is a line of [`PROJECTIONS`]; what stands in none comes back as it was.
//!
//! The page `dataplane/src/dialect/PROJECTIONS.md` is what this prints. `WEIR_BLESS=1` writes it anew.

use std::fmt::Write;
use std::path::PathBuf;

use weir::dialect::Reading;
use weir::dialect::answer::{Answer, Whole};
use weir::dialect::call::{Call, MediaKind, Proof, Tongue};
use weir::dialect::event::{Block, Citation, Event, Finish, Piece};
use weir::dialect::relay;
use weir::dialect::text::Text;
use weir_shared::catalog::Deviations;
use weir_shared::usage::{Class, Tier, Usage};
use weir_tests::Table;
use weir_tests::table::same;

use super::{folded, heading, legal, speech};

/// What a vendor can answer, one thing at a time.
fn answers() -> Vec<(&'static str, Vec<Event<'static>>)> {
    let text = |words: &'static str| Text::of_raw(words.as_bytes());
    let block = |kind: Block<'static>, pieces: Vec<Piece<'static>>| {
        let mut events = vec![Event::Open { block: 0, choice: 0, kind }];
        events.extend(pieces.into_iter().map(|piece| Event::Piece { block: 0, piece }));
        events.push(Event::Close { block: 0 });
        events
    };
    let said = |words| block(Block::Text, vec![Piece::Text(text(words))]);
    let ends = |mut events: Vec<Event<'static>>, why| {
        events.insert(0, Event::Start { id: text("a1") });
        events.push(Event::Finish { choice: 0, why });
        events
    };
    let stops = |events| ends(events, Finish::Stop);
    let proof = |of, data, sealed| Proof { of, data: text(data), sealed };
    let call = |proof| {
        block(Block::ToolCall { id: text("c1"), name: text("f"), proof }, vec![Piece::Arguments(text(r#"{\"a\":1}"#))])
    };
    let used = |class, count| {
        let mut usage = Usage::NONE;
        usage.set(Class::Input, 10);
        usage.set(Class::Output, 20);
        usage.set(class, count);
        let mut events = said("hi");
        events.push(Event::Usage { usage, tier: Tier::Standard });
        stops(events)
    };
    let cites = |citation| stops(block(Block::Text, vec![Piece::Text(text("hello")), Piece::Citation(citation)]));
    let second = vec![
        Event::Open { block: 1, choice: 1, kind: Block::Text },
        Event::Piece { block: 1, piece: Piece::Text(text("two")) },
        Event::Close { block: 1 },
        Event::Finish { choice: 1, why: Finish::Stop },
    ];
    let mut tiered = said("hi");
    let mut usage = Usage::NONE;
    usage.set(Class::Input, 10);
    usage.set(Class::Output, 20);
    tiered.push(Event::Usage { usage, tier: Tier::Priority });
    vec![
        ("text", stops(said("hi"))),
        ("a refusal", stops(block(Block::Refusal, vec![Piece::Text(text("no"))]))),
        ("a thought", stops([block(Block::Reasoning, vec![Piece::Text(text("hm"))]), after(said("hi"))].concat())),
        (
            "a thought with a signature",
            stops(
                [
                    block(
                        Block::Reasoning,
                        vec![Piece::Text(text("hm")), Piece::Proof(proof(Tongue::Messages, "sig", false))],
                    ),
                    after(said("hi")),
                ]
                .concat(),
            ),
        ),
        (
            "a sealed thought",
            stops(
                [
                    block(Block::Reasoning, vec![Piece::Proof(proof(Tongue::Messages, "c2VhbA==", true))]),
                    after(said("hi")),
                ]
                .concat(),
            ),
        ),
        ("a call", ends(call(None), Finish::ToolCalls)),
        ("two calls at once", ends(at_once(), Finish::ToolCalls)),
        ("a signed call", ends(call(Some(proof(Tongue::Generate, "c2ln", false))), Finish::ToolCalls)),
        ("a call of the vendor's own tools", stops([block(Block::VendorTool { name: text("web_search") }, vec![]), after(said("hi"))].concat())),
        (
            "an image",
            stops(block(
                Block::Media { kind: MediaKind::Image, mime: text("image/png") },
                vec![Piece::Data(text("iVBORw0KGgo="))],
            )),
        ),
        (
            "a sound and its words",
            stops(
                [
                    said("hi"),
                    after(block(
                        Block::Media { kind: MediaKind::Audio, mime: text("audio/L16;codec=pcm;rate=24000") },
                        vec![Piece::Data(text("AAECAwQF"))],
                    )),
                ]
                .concat(),
            ),
        ),
        (
            "a cited page",
            cites(Citation { url: Some(text("https://a.b/")), title: Some(text("A")), ..Citation::default() }),
        ),
        (
            "a cited page, and where",
            cites(Citation {
                url: Some(text("https://a.b/")),
                title: Some(text("A")),
                span: Some((0, 5)),
                ..Citation::default()
            }),
        ),
        (
            "a quoted page",
            cites(Citation {
                url: Some(text("https://a.b/")),
                title: Some(text("A")),
                quote: Some(text("q")),
                span: Some((0, 5)),
                ..Citation::default()
            }),
        ),
        (
            "a cited document",
            cites(Citation { document: Some(text("d1")), title: Some(text("D")), span: Some((0, 5)), ..Citation::default() }),
        ),
        (
            "how likely tokens were",
            stops(block(
                Block::Text,
                vec![
                    Piece::Text(text("hi")),
                    Piece::Likely(
                        br#"[{"token":"hi","logprob":-0.5,"bytes":[104,105],"top_logprobs":[{"token":"ho","logprob":-1.5,"bytes":[104,111]}]}]"#,
                    ),
                ],
            )),
        ),
        ("two answers", [stops(said("one")), second].concat()),
        ("an end by a sequence", ends(said("hi"), Finish::Sequence(Some(text("x"))))),
        ("an end by the limit", ends(said("hi"), Finish::Length)),
        ("an end by a filter", ends(said("hi"), Finish::Filtered)),
        ("a pause", ends(said("hi"), Finish::Paused)),
        ("an end of the vendor's own", ends(said("hi"), Finish::Other(text("weird")))),
        ("an end that does not wait for its call", ends(call(None), Finish::Stop)),
        ("usage: read from a cache", used(Class::CacheRead, 3)),
        ("usage: written to a cache, 5 minutes", used(Class::CacheWrite5m, 3)),
        ("usage: written to a cache, 1 hour", used(Class::CacheWrite1h, 3)),
        ("usage: thoughts", used(Class::Reasoning, 3)),
        ("usage: sound in", used(Class::AudioInput, 3)),
        ("usage: sound out", used(Class::AudioOutput, 3)),
        ("usage: images in", used(Class::ImageInput, 3)),
        ("usage: images out", used(Class::ImageOutput, 3)),
        ("a better service tier", stops(tiered)),
    ]
}

/// Two calls whose arguments come in turns.
fn at_once() -> Vec<Event<'static>> {
    let text = |words: &'static str| Text::of_raw(words.as_bytes());
    let open = |block, id| Event::Open {
        block,
        choice: 0,
        kind: Block::ToolCall { id: text(id), name: text("f"), proof: None },
    };
    let piece = |block, words| Event::Piece { block, piece: Piece::Arguments(text(words)) };
    vec![
        open(0, "c1"),
        piece(0, r#"{\"a\""#),
        open(1, "c2"),
        piece(1, r#"{\"b\":"#),
        piece(0, ":1}"),
        piece(1, "2}"),
        Event::Close { block: 0 },
        Event::Close { block: 1 },
    ]
}

/// The same blocks behind one more.
fn after(events: Vec<Event<'static>>) -> Vec<Event<'static>> {
    let moved = |event| match event {
        Event::Open { block, choice, kind } => Event::Open { block: block + 1, choice, kind },
        Event::Piece { block, piece } => Event::Piece { block: block + 1, piece },
        Event::Close { block } => Event::Close { block: block + 1 },
        other => other,
    };
    events.into_iter().map(moved).collect()
}

/// What an answer says, a line for each thing.
fn facts(answer: &Answer, reading: &Reading) -> Vec<String> {
    let mut facts = Vec::new();
    for (number, choice) in answer.choices.iter().enumerate() {
        if number > 0 {
            facts.push(format!("answer {}", number + 1));
        }
        choice.blocks.iter().for_each(|whole| of_block(whole, &mut facts));
        if let Some(finish) = &choice.finish {
            facts.push(match finish {
                Finish::Sequence(Some(which)) => format!("ends: Sequence {}", which.plain()),
                Finish::Other(reason) => format!("ends: {}", reason.plain()),
                known => format!("ends: {known:?}"),
            });
        }
    }
    for (class, count) in reading.usage.iter().flat_map(Usage::each) {
        facts.push(format!("{class:?} {count}"));
    }
    if answer.tier != Tier::Standard {
        facts.push(format!("tier {:?}", answer.tier));
    }
    facts
}

fn of_block(whole: &Whole, facts: &mut Vec<String>) {
    let proof = |proof: &Option<Proof<'_>>| match proof {
        None => String::new(),
        Some(proof) => {
            let sealed = if proof.sealed { " sealed" } else { "" };
            format!(" proof of {} {}{sealed}", proof.of.name(), proof.data.plain())
        }
    };
    let words = whole.text().plain().into_owned();
    match &whole.kind {
        // Some languages say that there is nothing.
        Block::Text if words.is_empty() && whole.citations.is_empty() => {}
        Block::Text => facts.push(format!("text {words}")),
        Block::Refusal => facts.push(format!("refusal {words}")),
        Block::Reasoning => facts.push(format!("thought {words}{}", proof(&whole.proof))),
        Block::ToolCall { id, name, proof: signed } => {
            let arguments = whole.object.as_ref().map_or(words, |object| String::from_utf8_lossy(object).into_owned());
            facts.push(format!("call {} {} {arguments}{}", id.plain(), name.plain(), proof(signed)));
        }
        Block::VendorTool { name } => facts.push(format!("vendor's tool {}", name.plain())),
        Block::Media { kind, mime } => facts.push(format!("{kind:?} {} {words}", mime.plain())),
    }
    for Citation { url, title, quote, span, document } in &whole.citations {
        let mut line = String::from("cites");
        for (what, text) in [("url", url), ("title", title), ("quote", quote), ("document", document)] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                let _ = write!(line, " {what} {}", text.plain());
            }
        }
        if let Some((start, end)) = span {
            let _ = write!(line, " at {start}-{end}");
        }
        facts.push(line);
    }
    if !whole.likely.is_empty() {
        let tokens: serde_json::Value = serde_json::from_slice(&whole.likely()).unwrap_or_default();
        for token in tokens.as_array().into_iter().flatten() {
            let other = &token["top_logprobs"][0];
            let said =
                |token: &serde_json::Value| format!("{} {}", token["token"].as_str().unwrap_or("?"), token["logprob"]);
            facts.push(format!("likely {} rather than {}", said(token), said(other)));
        }
    }
}

/// What becomes of what, in which languages, and why.
struct Projection {
    what: &'static str,
    of: &'static [Tongue],
    /// The lines of [`facts`] that change, and what they become.
    from: &'static [&'static str],
    to: &'static [&'static str],
    why: &'static str,
}

include!("projections_table.rs");

fn projected(what: &str, to: Tongue, mut facts: Vec<String>) -> Vec<String> {
    for Projection { from, to, .. } in PROJECTIONS.iter().filter(|line| line.what == what && line.of.contains(&to)) {
        // Lines that are only added stand in front.
        let place = if from.is_empty() { Some(0) } else { facts.windows(from.len()).position(|lines| lines == *from) };
        if let Some(place) = place {
            facts.splice(place..place + from.len(), to.iter().map(|line| (*line).to_owned()));
        }
    }
    facts
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut table = Table::new();
    for (what, events) in answers() {
        let mut answer = Answer::default();
        let mut reading = Reading::default();
        for event in &events {
            if let Event::Usage { usage, .. } = event {
                reading.usage = Some(*usage);
            }
            answer.take(event.clone());
        }
        let before = facts(&answer, &reading);
        for to in Tongue::ALL {
            let wanted = projected(what, *to, before.clone());
            table.case(format!("{what} in {to:?}, whole"), whole(&answer, *to).and_then(|told| judged(told, &wanted)));
            table
                .case(format!("{what} in {to:?}, stream"), stream(&events, *to).and_then(|told| judged(told, &wanted)));
        }
    }
    table.end();
}

/// Who counts nothing tells zeros.
fn judged(mut told: Vec<String>, wanted: &[String]) -> Result<(), String> {
    told.retain(|fact| !fact.ends_with(" 0"));
    same("answer", told, wanted.to_vec())
}

fn whole(answer: &Answer, to: Tongue) -> Result<Vec<String>, String> {
    let call = Call::default();
    let (mut body, mut reading) = (Vec::new(), Reading::default());
    speech(to).write_answer(answer, &heading(&call), &mut body);
    let mut reader = speech(to).reader(Deviations::NONE);
    let back = relay::fold(reader.as_mut(), &body, &mut reading)
        .map_err(|why| format!("{why:?}: {}", String::from_utf8_lossy(&body)))?;
    Ok(facts(&back, &reading))
}

fn stream(events: &[Event<'static>], to: Tongue) -> Result<Vec<String>, String> {
    let call = Call { stream: true, usage_asked: true, ..Call::default() };
    let heading = heading(&call);
    let (mut writer, mut bytes) = (speech(to).writer(&heading), Vec::new());
    events.iter().for_each(|event| writer.write(event.clone(), &mut bytes));
    writer.end(&mut bytes);
    let text = || String::from_utf8_lossy(&bytes).into_owned();
    legal(to, &bytes).map_err(|why| format!("{why}: {}", text()))?;
    let (answer, reading) = folded(to, Deviations::NONE, &bytes).map_err(|why| format!("{why}: {}", text()))?;
    Ok(facts(&answer, &reading))
}

#[test]
fn the_page_of_projections_is_the_table() {
    let mut page = String::from(HEAD);
    for Projection { what, of, from, to, why } in PROJECTIONS {
        let of: Vec<_> = of.iter().map(|tongue| name(*tongue)).collect();
        let lines = |lines: &[&str]| match lines {
            [] => "left out".to_owned(),
            lines => lines.iter().map(|line| format!("`{line}`")).collect::<Vec<_>>().join("<br>"),
        };
        let _ = writeln!(page, "| {what} | {} | {} | {} | {why} |", of.join(", "), lines(from), lines(to));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dataplane/src/dialect/PROJECTIONS.md");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "{} is stale: run this test with WEIR_BLESS=1", path.display());
}

fn name(tongue: Tongue) -> &'static str {
    match tongue {
        Tongue::Chat => "Chat",
        Tongue::Responses => "Responses",
        Tongue::Messages => "Anthropic",
        Tongue::Generate => "Gemini",
        Tongue::Cohere => "Cohere",
        Tongue::Converse => "Converse",
    }
}

const HEAD: &str = "# What a language makes of an answer

Each answer that a vendor can give is written in each caller's language, as a stream and as a whole, and read back: what
comes back is what was said, but for the lines of this table.

This page is generated from the table that the test obeys (`tests/suite/translation/projections.rs`, `WEIR_BLESS=1`).

| what | in | what it was | what it becomes | why |
|---|---|---|---|---|
";

/// What this product promises that vendors can answer, and the answers that prove it, language by language. Errors are in
/// `failures.rs`.
const PROMISED: &[(&str, &[&str])] = &[
    ("text", &["text"]),
    ("refusals", &["a refusal"]),
    ("reasoning, signed or sealed", &["a thought", "a thought with a signature", "a sealed thought"]),
    ("tool calls with streamed arguments", &["a call", "a signed call", "two calls at once"]),
    ("citations", &["a cited page", "a cited page, and where", "a quoted page", "a cited document"]),
    ("images and sounds", &["an image", "a sound and its words"]),
    ("vendor-run tools", &["a call of the vendor's own tools"]),
    (
        "finish reasons",
        &[
            "an end by a sequence",
            "an end by the limit",
            "an end by a filter",
            "a pause",
            "an end of the vendor's own",
            "an end that does not wait for its call",
        ],
    ),
    (
        "usage in disjoint classes",
        &[
            "usage: read from a cache",
            "usage: written to a cache, 5 minutes",
            "usage: written to a cache, 1 hour",
            "usage: thoughts",
            "usage: sound in",
            "usage: sound out",
            "usage: images in",
            "usage: images out",
            "a better service tier",
        ],
    ),
    ("what was asked for besides", &["how likely tokens were", "two answers"]),
];

#[test]
fn every_promise_has_its_answers() {
    let answers = answers();
    let promised: Vec<&str> = PROMISED.iter().flat_map(|(_, answers)| *answers).copied().collect();
    for what in &promised {
        assert!(answers.iter().any(|(name, _)| name == what), "{what} is no answer");
    }
    for (what, _) in &answers {
        assert!(promised.contains(what), "{what} is promised nowhere");
    }
}
