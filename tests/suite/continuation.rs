//! An answer that breaks off in the middle of its words goes on with the next candidate, where the route says so.

use weir_shared::ledger::{Outcome, flag};
use weir_tests::table::{ensure, same};
use weir_tests::{Call, Dialect, Gateway, Model, NO_BREAKER, Setup, Table};
use weirbench::grammar::{End, Reading};

use caller::{Ask, Speaks};

#[allow(dead_code, reason = "the pairs ask for more")]
#[path = "pairs/caller.rs"]
mod caller;

const TIMES: &str = "connect = \"400ms\"\nfirst_byte = \"2s\"\nidle = \"600ms\"\ntotal = \"9s\"";

/// Languages of vendors that take an answer that was begun.
const VENDORS: &[Dialect] = &[Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Cohere, Dialect::Bedrock];

fn route(name: &str, to: &[&str]) -> String {
    format!("[[route]]\nname = \"{name}\"\ncontinuation = true\nto.order = {to:?}\n")
}

fn add(setup: &mut Setup, dialect: Dialect, id: &str, words: &str) {
    let model = Model::new(dialect, &format!("name={id},{words}")).id(id);
    // Only who is to stall needs to be found out soon.
    let model = if words.contains("fault") { model.times(TIMES) } else { model };
    setup.add(model.model("can = [\"tools\", \"schema\", \"prefill\"]"));
}

fn ask(weir: &Gateway, caller: Speaks, route: &str, ask: &Ask) -> (Result<Reading, String>, String) {
    let answer = weir.call(&caller.request(route, &Ask { stream: true, ..ask.clone() }));
    (caller.read(&answer, true), answer.request_id())
}

/// What this model says on its own.
fn whole(weir: &Gateway, model: &str) -> String {
    let answer = weir.call(&Speaks::Chat.request(model, &Ask { stream: true, ..Ask::of("hi") }));
    Speaks::Chat.read(&answer, true).expect("a good answer").text
}

/// Every caller's language, each fault, each vendor's language before and behind the break.
#[test]
fn words_that_break_off_go_on() {
    let faults = ["fault=reset@4", "fault=eof@4", "fault=stall@4", "fault=errorevent@4", "fault=badjson@4"];
    let mut setup = Setup::new("continuation-pairs");
    setup.folder(NO_BREAKER);
    for dialect in VENDORS {
        add(&mut setup, *dialect, &format!("well-{}", dialect.name()), "events=5");
        for (place, fault) in faults.iter().enumerate() {
            add(&mut setup, *dialect, &format!("ill-{}-{place}", dialect.name()), &format!("events=9,{fault}"));
        }
    }
    let mut cases = Vec::new();
    for (first_at, first) in VENDORS.iter().enumerate() {
        for (place, fault) in faults.iter().enumerate() {
            // Every caller meets every first and every second; every fault meets every caller.
            for (turn, caller) in Speaks::ALL.iter().enumerate() {
                let second = VENDORS[(first_at + place + turn) % VENDORS.len()];
                let (ill, well) = (format!("ill-{}-{place}", first.name()), format!("well-{}", second.name()));
                let name = format!("r-{first_at}-{place}-{turn}");
                setup.folder(&route(&name, &[&ill, &well]));
                cases.push((name, *caller, *fault, ill, well));
            }
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    let second: Vec<_> = VENDORS.iter().map(|dialect| format!("well-{}", dialect.name())).collect();
    let texts: std::collections::BTreeMap<_, _> =
        second.iter().map(|well| (well.clone(), whole(&weir, well))).collect();
    for group in cases.chunks(16) {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let of = |(name, caller, _, ill, well): &(String, Speaks, &str, String, String)| {
                mended(&weir, *caller, name, ill, well, &texts[well])
            };
            let threads: Vec<_> = group.iter().map(|case| scope.spawn(move || of(case))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for ((_, caller, fault, ill, well), outcome) in group.iter().zip(outcomes) {
            table.case(format!("{caller:?} {fault} {ill} {well}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

fn mended(weir: &Gateway, caller: Speaks, route: &str, ill: &str, well: &str, rest: &str) -> Result<(), String> {
    let (reading, id) = ask(weir, caller, route, &Ask::of("hi"));
    let reading = reading?;
    same("end", reading.end, End::Finished)?;
    let begun =
        reading.text.strip_suffix(rest.trim_start()).ok_or(format!("{:?} does not end in {rest:?}", reading.text))?;
    ensure(!begun.trim().is_empty(), "the second said all of it")?;
    ensure(begun.len() < reading.text.len(), "the second said nothing")?;
    let record = weir.record(&id);
    same("outcome", record.outcome, Outcome::Complete)?;
    let calls: Vec<_> = record.attempts.iter().map(|call| (call.vendor.to_owned(), call.outcome)).collect();
    let wanted = [(format!("vendor-{ill}"), Outcome::Partial), (format!("vendor-{well}"), Outcome::Complete)];
    same("calls", calls.as_slice(), wanted.as_slice())?;
    ensure(record.flags & flag::CONTINUED != 0, "the record does not say that it was continued")?;
    let sum: i64 = record.attempts.iter().map(|call| call.cost.0).sum();
    same("the sum of what the calls cost", sum, record.cost.0)?;
    ensure(record.attempts.iter().all(|call| call.cost.0 > 0), format!("{:?}", record.attempts))
}

/// What the second one is told: the call once more, and what was said so far.
#[test]
fn the_next_one_is_told_what_was_said() {
    let mut setup = Setup::new("continuation-told");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "ill", "events=9,fault=reset@4");
    add(&mut setup, Dialect::Anthropic, "claude", "events=5");
    let marked = Model::new(Dialect::OpenAi, "name=mistral,events=5").id("mistral").times(TIMES);
    setup.add(marked.model("can = [\"prefill\"]").vendor("deviations = [\"prefix_marks_prefill\"]"));
    setup.folder(&route("a", &["ill", "claude"]));
    setup.folder(&route("b", &["ill", "mistral"]));
    let weir = setup.start();
    for (name, words) in [("a", "name=claude,events=5"), ("b", "name=mistral,events=5")] {
        let (reading, _) = ask(&weir, Speaks::Chat, name, &Ask { system: Some("Be kind."), ..Ask::of("hi") });
        let text = reading.expect("a good answer").text;
        let body = weir.vendor().last(words).expect("it was asked").body;
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let last = body["messages"].as_array().and_then(|turns| turns.last()).expect("turns");
        assert_eq!(last["role"], "assistant", "{body}");
        let said = match &last["content"] {
            serde_json::Value::String(said) => said.clone(),
            parts => parts[0]["text"].as_str().expect("text").to_owned(),
        };
        assert!(!said.is_empty() && text.starts_with(&said) && said.len() < text.len(), "{said:?} of {text:?}");
        assert_eq!(last["prefix"].as_bool(), (name == "b").then_some(true), "{last}");
        assert!(body.to_string().contains("Be kind."), "{body}");
    }
}

/// A second one may break off as well: each adds its part, and the last one that failed before its first word is nobody's bill.
#[test]
fn several_may_go_on() {
    let mut setup = Setup::new("continuation-several");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::Anthropic, "one", "events=9,fault=reset@3");
    add(&mut setup, Dialect::Gemini, "two", "events=9,fault=eof@2");
    add(&mut setup, Dialect::OpenAi, "three", "events=4");
    add(&mut setup, Dialect::OpenAi, "dead", "error=503");
    add(&mut setup, Dialect::Gemini, "mute", "events=9,fault=reset@0");
    setup.folder(&route("r", &["one", "two", "three"]));
    setup.folder(&route("last", &["one", "dead"]));
    setup.folder(&route("mute", &["one", "mute"]));
    let weir = setup.start();
    std::thread::scope(|scope| {
        Speaks::ALL.iter().for_each(|caller| drop(scope.spawn(|| parts_of(&weir, *caller))));
    });
}

fn parts_of(weir: &Gateway, caller: Speaks) {
    let (reading, id) = ask(weir, caller, "r", &Ask::of("hi"));
    assert_eq!(reading.map(|reading| reading.end), Ok(End::Finished), "{caller:?}");
    let record = weir.record(&id);
    let outcomes: Vec<_> = record.attempts.iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, [Outcome::Partial, Outcome::Partial, Outcome::Complete], "{caller:?}");
    assert_eq!(record.attempts.iter().map(|call| call.cost.0).sum::<i64>(), record.cost.0);
    // Nobody is left: the caller is told, and pays for what it read.
    let (reading, id) = ask(weir, caller, "last", &Ask::of("hi"));
    let reading = reading.expect("a legal stream");
    assert!(reading.end != End::Finished && !reading.text.is_empty(), "{caller:?} {reading:?}");
    let record = weir.record(&id);
    assert_eq!((record.outcome, record.attempts.len()), (Outcome::Partial, 2), "{caller:?}");
    assert_eq!((record.attempts[1].outcome, record.attempts[1].cost.0), (Outcome::Failed, 0), "{caller:?}");
    assert_eq!(record.attempts[0].cost, record.cost, "{caller:?}");
    // One that began and said nothing is not whose answer it is.
    let (reading, id) = ask(weir, caller, "mute", &Ask::of("hi"));
    assert!(reading.is_ok_and(|reading| reading.end != End::Finished), "{caller:?}");
    let record = weir.record(&id);
    let named = (record.model, record.vendor, record.credential, record.attempts.len());
    assert_eq!(named, ("one", "vendor-one", "main", 2), "{caller:?}");
    assert_eq!((record.attempts[1].vendor, record.attempts[1].outcome), ("vendor-mute", Outcome::Failed));
    assert_eq!(record.attempts[0].cost, record.cost, "{caller:?}");
}

/// What comes behind the words is told whole: a second one that goes on with words and then calls a tool.
#[test]
fn a_call_behind_the_seam_is_told() {
    let mut setup = Setup::new("continuation-seam");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "ill", "events=9,fault=reset@4");
    for dialect in VENDORS {
        add(&mut setup, *dialect, &format!("agent-{}", dialect.name()), "answer=agent,events=5");
        setup.folder(&route(&format!("r-{}", dialect.name()), &["ill", &format!("agent-{}", dialect.name())]));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for caller in Speaks::ALL {
        for dialect in VENDORS {
            let question = Ask { tools: true, ..Ask::of("hi") };
            let (reading, _) = ask(&weir, caller, &format!("r-{}", dialect.name()), &question);
            let outcome = || {
                let reading = reading?;
                same("end", reading.end, End::Finished)?;
                same("calls", reading.tools.len(), 2)?;
                ensure(!reading.text.is_empty(), "no words")
            };
            table.case(format!("{caller:?} {}", dialect.name()), outcome());
        }
    }
    table.end();
}

/// A limit of the caller's holds over all parts, and a candidate that was never asked is nobody's vendor.
#[test]
fn limits_hold_over_the_seam_and_records_name_who_answered() {
    let mut setup = Setup::new("continuation-limits");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "ill", "events=9,text=40,fault=reset@4");
    add(&mut setup, Dialect::OpenAi, "well", "events=5");
    let busy = Model::new(Dialect::OpenAi, "name=busy,events=5").id("busy").times(TIMES);
    let busy = busy.credentials(&[("main", "sk-busy", "requests_per_minute = 1")]);
    setup.add(busy.model("can = [\"prefill\"]"));
    setup.folder(&route("r", &["ill", "well"]));
    setup.folder(&route("alone", &["ill", "busy"]));
    let weir = setup.start();
    let limited = Call::Chat.request_with("r", true, r#","max_tokens":50"#);
    assert_eq!(weir.call(&limited).finished(Call::Chat.grammar()).map(|reading| reading.end), Ok(End::Finished));
    let body = weir.vendor().last("name=well,events=5").expect("it was asked").body;
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(body["max_tokens"].as_u64().is_some_and(|most| (1..50).contains(&most)), "{body}");
    // The one that could go on has no call left: what was said stays its vendor's, and is paid.
    assert_eq!(weir.chat("busy").status, 200);
    let (_, id) = ask(&weir, Speaks::Chat, "alone", &Ask::of("hi"));
    let record = weir.record(&id);
    assert_eq!((record.vendor, record.outcome, record.attempts.len()), ("vendor-ill", Outcome::Partial, 1));
    assert_eq!((record.attempts[0].outcome, record.attempts[0].cost), (Outcome::Partial, record.cost));
    assert!(record.cost.0 > 0);
}

/// What nobody else can have begun is not gone on with.
#[test]
fn calls_and_objects_are_not_gone_on_with() {
    let mut setup = Setup::new("continuation-not");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "calls", "answer=tool,events=9,fault=reset@3");
    add(&mut setup, Dialect::OpenAi, "words", "events=9,fault=reset@3");
    add(&mut setup, Dialect::Anthropic, "well", "events=4");
    let unable = Model::new(Dialect::Anthropic, "name=unable,events=4").id("unable").times(TIMES);
    setup.add(unable.model("can = [\"tools\"]"));
    for (name, to) in [("calls", ["calls", "well"]), ("words", ["words", "well"]), ("unable", ["words", "unable"])] {
        setup.folder(&route(&format!("r-{name}"), &to));
    }
    setup.folder("[[route]]\nname = \"r-off\"\nto.order = [\"words\", \"well\"]\n");
    let weir = setup.start();
    let hi = || Ask::of("hi");
    let cases = [
        ("r-calls", Ask { tools: true, ..hi() }),
        ("r-words", Ask { schema: true, ..hi() }),
        ("r-words", Ask { tools: true, forced: true, ..hi() }),
        ("r-unable", hi()),
        ("r-off", hi()),
    ];
    let mut table = Table::new();
    for (name, question) in cases {
        let (reading, id) = ask(&weir, Speaks::Chat, name, &question);
        let outcome = || {
            ensure(reading?.end != End::Finished, "it was gone on with")?;
            let record = weir.record(&id);
            same("outcome", record.outcome, Outcome::Partial)?;
            same("calls", record.attempts.len(), 1)?;
            ensure(record.flags & flag::CONTINUED == 0, "nobody went on")?;
            ensure(record.cost.0 > 0, "its cost is lost")
        };
        table.case(format!("{name} {}", question.schema), outcome());
    }
    // The route still does what routes do: a failure before the first word is not seen.
    weir.vendor().set("name=words,events=9,fault=reset@3", "error=503").expect("words");
    let answer = weir.call(&Call::Messages.request("r-words", true));
    table.case("before the first word", answer.finished(Call::Messages.grammar()).map(drop));
    weir.lives();
    table.end();
}
