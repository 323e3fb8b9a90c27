//! Several candidates answer, and the caller gets all of their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use weir_shared::ledger::{Outcome, flag};
use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::{Answer, Call, Dialect, Gateway, NO_BREAKER, Setup, Table};
use weirbench::grammar::End;

use super::add;
use super::caller::{Ask, Speaks};

fn route(name: &str, answers: u32, to: &[&str]) -> String {
    format!("[[route]]\nname = \"{name}\"\nfan_out = {answers}\nto.order = {to:?}\n")
}

/// What each choice says, by its number.
fn choices(caller: Speaks, answer: &Answer, stream: bool) -> BTreeMap<u64, String> {
    let text = answer.text();
    let chunks: Vec<Value> = if stream {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
    } else {
        vec![answer.json()]
    };
    let list = if caller == Speaks::Chat { "choices" } else { "candidates" };
    let mut said: BTreeMap<u64, String> = BTreeMap::new();
    for choice in chunks.iter().filter_map(|chunk| chunk[list].as_array()).flatten() {
        let words = match caller {
            Speaks::Chat => [&choice["delta"]["content"], &choice["message"]["content"]].map(Value::as_str),
            _ => [choice["content"]["parts"][0]["text"].as_str(), None],
        };
        let index = choice["index"].as_u64().unwrap_or(0);
        words.into_iter().flatten().for_each(|words| said.entry(index).or_default().push_str(words));
    }
    said
}

fn own_words(weir: &Gateway, model: &str, stream: bool) -> String {
    let answer = weir.call(&Speaks::Chat.request(model, &Ask { stream, ..Ask::of("hi") }));
    choices(Speaks::Chat, &answer, stream).remove(&0).expect("an answer")
}

/// Three vendors' languages, two callers', whole and as a stream.
#[test]
fn each_answer_is_a_choice() {
    let mut setup = Setup::new("fan-out-all");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "gpt", "events=3");
    add(&mut setup, Dialect::Anthropic, "claude", "events=5");
    add(&mut setup, Dialect::Gemini, "gemini", "events=7");
    setup.folder(&route("r", 3, &["gpt", "claude", "gemini"]));
    let weir = setup.start();
    let mut table = Table::new();
    for stream in [false, true] {
        let own: BTreeMap<_, _> =
            ["gpt", "claude", "gemini"].map(|model| (model, own_words(&weir, model, stream))).into();
        for caller in [Speaks::Chat, Speaks::Generate] {
            table.case(format!("{caller:?} {stream}"), all_answer(&weir, caller, stream, &own));
        }
    }
    // A language whose answers have no room for a second one says so, and nobody is asked.
    for caller in [Speaks::Messages, Speaks::Responses, Speaks::Cohere, Speaks::Converse] {
        let asked = |weir: &Gateway| weir.vendor().counter("name=gpt,events=3").requests;
        let before = asked(&weir);
        let answer = weir.call(&caller.request("r", &Ask::of("hi")));
        let outcome = || {
            same("status", answer.status, 400)?;
            ensure(answer.text().contains("several answers"), answer.text())?;
            same("asked", asked(&weir), before)
        };
        table.case(format!("{caller:?}"), outcome());
    }
    weir.lives();
    table.end();
}

fn all_answer(weir: &Gateway, caller: Speaks, stream: bool, own: &BTreeMap<&str, String>) -> Result<(), String> {
    let answer = weir.call(&caller.request("r", &Ask { stream, ..Ask::of("hi") }));
    same("end", caller.read(&answer, stream)?.end, End::Finished)?;
    let said = choices(caller, &answer, stream);
    same("choices", said.len(), 3)?;
    let whose: Vec<String> = match answer.header("x-weir-choices") {
        Some(names) => names.split(", ").map(str::to_owned).collect(),
        None => {
            let text = answer.text();
            let named = text.lines().filter_map(|line| line.strip_prefix(": x-weir-choice: "));
            named.filter_map(|named| Some(named.split_once(' ')?.1.to_owned())).collect()
        }
    };
    same("names", whose.len(), 3)?;
    for (choice, words) in &said {
        let model = whose[*choice as usize].as_str();
        same(model, words.as_str(), own[model].as_str())?;
    }
    let record = weir.record(&answer.request_id());
    same("outcome", record.outcome, Outcome::Complete)?;
    ensure(record.flags & flag::FANNED_OUT != 0, "the record does not say so")?;
    same("calls", record.attempts.len(), 3)?;
    ensure(record.attempts.iter().all(|call| call.outcome == Outcome::Complete), format!("{:?}", record.attempts))?;
    ensure(record.attempts.iter().all(|call| call.cost.0 > 0), format!("{:?}", record.attempts))?;
    same("cost", record.attempts.iter().map(|call| call.cost.0).sum::<i64>(), record.cost.0)
}

/// Who fails before the first word leaves its place to the next; who breaks off in its words ends nobody else's.
#[test]
fn one_that_fails_ends_nobody_elses_answer() {
    let mut setup = Setup::new("fan-out-fails");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "gpt", "events=6");
    add(&mut setup, Dialect::Anthropic, "claude", "events=5");
    add(&mut setup, Dialect::OpenAi, "dead", "error=503");
    add(&mut setup, Dialect::Gemini, "mute", "events=5,fault=reset@0");
    add(&mut setup, Dialect::OpenAi, "broken", "events=9,fault=reset@3");
    setup.folder(&route("next", 2, &["dead", "gpt", "claude"]));
    setup.folder(&route("few", 2, &["gpt", "dead"]));
    setup.folder(&route("none", 2, &["dead", "mute"]));
    add(&mut setup, Dialect::OpenAi, "endless", "events=4,finish=no");
    setup.folder(&route("broken", 2, &["broken", "gpt"]));
    add(&mut setup, Dialect::Anthropic, "maybe", "events=4,fault=reset");
    setup.folder(&format!("{}retry_ambiguous = false\n", route("once", 2, &["maybe", "dead", "gpt"])));
    setup.folder(&route("endless", 2, &["endless", "dead"]));
    let weir = setup.start();
    let mut table = Table::new();
    for stream in [false, true] {
        let ask = |name: &str| weir.call(&Speaks::Chat.request(name, &Ask { stream, ..Ask::of("hi") }));
        for (name, answers) in [("next", 2), ("few", 1)] {
            let answer = ask(name);
            let outcome = || {
                same("end", Speaks::Chat.read(&answer, stream)?.end, End::Finished)?;
                let said = choices(Speaks::Chat, &answer, stream);
                same("choices", said.len(), answers)?;
                ensure(said.keys().copied().eq(0..answers as u64), format!("{:?}", said.keys()))?;
                let record = weir.record(&answer.request_id());
                same("outcome", record.outcome, Outcome::Complete)?;
                let good = record.attempts.iter().filter(|call| call.outcome == Outcome::Complete).count();
                same("good calls", good, answers)
            };
            table.case(format!("{name} {stream}"), outcome());
        }
        // Words without an end are no whole answer, and nobody's bill.
        let answer = ask("endless");
        let record = weir.record(&answer.request_id());
        let untold = !stream && answer.status >= 500 && record.sale.0 == 0;
        let partial = stream && record.outcome == Outcome::Partial && record.sale.0 > 0;
        table.case(format!("endless {stream}"), ensure(untold || partial, format!("{} {record:?}", answer.text())));
        let answer = ask("none");
        table.case(format!("none {stream}"), ensure(answer.status >= 500, answer.text()));
        let record = weir.record(&answer.request_id());
        let failed = record.outcome == Outcome::Failed && record.sale.0 == 0 && record.attempts.len() >= 2;
        table.case(format!("none {stream}, its record"), ensure(failed, format!("{record:?}")));
    }
    // Where no call is said twice, one that may have been taken leaves its place to nobody.
    let answer = weir.chat("once");
    table.case("once", ensure(answer.status == 200, answer.text()));
    let named = answer.header("x-weir-choices").unwrap_or_default().to_owned();
    table.case("once, one answer", same("choices", named.as_str(), "gpt"));
    let answer = weir.stream("broken");
    let outcome = || {
        let reading = answer.read(Call::Chat.grammar())?;
        ensure(reading.end != End::Finished, "it is told as whole")?;
        let said = choices(Speaks::Chat, &answer, true);
        let whole = own_words(&weir, "gpt", true);
        ensure(said.values().any(|words| *words == whole), format!("{said:?}"))?;
        same("choices", said.len(), 2)?;
        let record = weir.record(&answer.request_id());
        same("outcome", record.outcome, Outcome::Partial)?;
        ensure(record.attempts.iter().all(|call| call.cost.0 > 0), format!("{:?}", record.attempts))?;
        same("cost", record.attempts.iter().map(|call| call.cost.0).sum::<i64>(), record.cost.0)
    };
    table.case("broken", outcome());
    weir.lives();
    table.end();
}

/// A caller who leaves ends all calls, and pays for what it heard.
#[test]
fn a_hang_up_ends_all_of_them() {
    let mut setup = Setup::new("fan-out-gone");
    setup.folder(NO_BREAKER);
    let words = ["events=400,pace=20ms", "events=400,pace=25ms"];
    add(&mut setup, Dialect::OpenAi, "one", words[0]);
    add(&mut setup, Dialect::Anthropic, "two", words[1]);
    setup.folder(&route("r", 2, &["one", "two"]));
    let weir = setup.start();
    let mut wire = weir.wire();
    wire.send(Call::Chat.request("r", true).bytes(&weir.key));
    wire.until(b"\"index\":1");
    let live = || {
        let of = |(name, words): (&str, &str)| weir.vendor().counter(&format!("name={name},{words}")).live;
        of(("one", words[0])) + of(("two", words[1]))
    };
    assert_eq!(live(), 2);
    drop(wire);
    assert!(within(Duration::from_secs(10), || live() == 0), "{} vendors still work", live());
    let records = weir.records();
    let record = records.iter().find(|record| record.flags & flag::FANNED_OUT != 0).expect("a record");
    assert_eq!((record.outcome, record.attempts.len()), (Outcome::Cancelled, 2), "{record:?}");
    assert!(record.cost.0 > 0);
    weir.lives();
}
