//! A candidate that is late is not waited for: a second one is asked, and whoever says something first is heard.

use std::time::Duration;

use weir_shared::ledger::{Outcome, Record};
use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::{Call, Dialect, Gateway, Model, NO_BREAKER, Setup, Table, clock};
use weirbench::grammar::End;

use caller::{Ask, Speaks};

#[allow(dead_code, reason = "the pairs ask for more")]
#[path = "pairs/caller.rs"]
mod caller;

const WELL: &str = "events=4";
/// Much longer than any of these answers takes, and much shorter than the patience of the tests.
const LATE: &str = "fault=silent=2500@0";

fn hedged(name: &str, first: &str, second: &str, extra_percent: u32) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nto.order = [\"{first}\", \"{second}\"]\n\
         [route.hedge]\nextra_percent = {extra_percent}\nnot_before = \"20ms\"\n"
    )
}

fn add(setup: &mut Setup, dialect: Dialect, id: &str, words: &str) {
    setup.add(Model::new(dialect, &format!("name={id},{words}")).id(id));
}

/// How late a candidate is as a rule must be known before it can be late.
fn teach(weir: &Gateway, route: &str, calls: usize) {
    for _ in 0..calls {
        let answer = weir.call(&Call::Chat.request(route, true));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// From now on it does this.
fn turn(weir: &Gateway, id: &str, words: &str) {
    weir.vendor().set(&format!("name={id},{WELL}"), words).expect("words");
}

fn took(record: &Record<'_>) -> Vec<(String, Outcome)> {
    record.attempts.iter().map(|attempt| (attempt.vendor.to_owned(), attempt.outcome)).collect()
}

/// In every caller's language: the answer is the second one's, whole and once, and both calls are in the record.
#[test]
fn a_late_candidate_is_not_waited_for() {
    let mut setup = Setup::new("hedging-late");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "late", WELL);
    add(&mut setup, Dialect::Anthropic, "second", WELL);
    setup.folder(&hedged("r", "late", "second", 100));
    let weir = setup.start();
    teach(&weir, "r", 60);
    assert_eq!(weir.metric("weir_hedges_total"), 0, "nobody was late");
    turn(&weir, "late", LATE);
    let mut table = Table::new();
    for caller in Speaks::ALL.iter().copied() {
        table.case(format!("{caller:?}"), overtaken(&weir, caller));
    }
    let counted = weir.metric("weir_hedges_won_total");
    table.case("counted", same("won", counted, Speaks::ALL.len() as u64));
    // Nobody works for a caller who has another's answer.
    let free = within(Duration::from_secs(2), || weir.vendor().counter(&format!("name=late,{WELL}")).live == 0);
    table.case("cancelled", ensure(free, "the late one still works"));
    weir.lives();
    table.end();
}

fn overtaken(weir: &Gateway, caller: Speaks) -> Result<(), String> {
    let started = clock::now();
    let answer = weir.call(&caller.request("r", &Ask { stream: true, ..Ask::of("hi") }));
    let took_ms = started.elapsed().as_millis();
    let reading = caller.read(&answer, true)?;
    same("end", reading.end, End::Finished)?;
    ensure(took_ms < 2_000, format!("it waited for {took_ms} ms"))?;
    let record = weir.record(&answer.request_id());
    let calls = took(&record);
    let wanted = [("vendor-late".to_owned(), Outcome::Cancelled), ("vendor-second".to_owned(), Outcome::Complete)];
    same("calls", calls.as_slice(), wanted.as_slice())?;
    same("vendor", record.vendor, "vendor-second")?;
    let [late, second] = [&record.attempts[0], &record.attempts[1]];
    ensure(late.cost.0 > 0, "its prompt was read for nothing")?;
    same("what the answer cost", second.cost, record.cost)
}

/// Who fails while both are at work leaves it to the other, whichever it is; when both do, the caller hears of it.
#[test]
fn one_that_fails_leaves_it_to_the_other() {
    let cases = [
        ("fault=silent=400@0,fault=reset@0", "ttfb=900ms", Some("vendor-second")),
        ("fault=silent=700@0", "error=503", Some("vendor-late")),
        ("fault=silent=700@0", "fault=errorevent@0", Some("vendor-late")),
        ("fault=silent=400@0,fault=reset@0", "ttfb=300ms,error=500", None),
    ];
    let mut setup = Setup::new("hedging-fails");
    setup.folder(NO_BREAKER);
    for place in 0..cases.len() {
        add(&mut setup, Dialect::OpenAi, &format!("late{place}"), WELL);
        add(&mut setup, Dialect::OpenAi, &format!("second{place}"), WELL);
        setup.folder(&hedged(&format!("r{place}"), &format!("late{place}"), &format!("second{place}"), 100));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (place, (late, second, winner)) in cases.into_iter().enumerate() {
        let route = format!("r{place}");
        teach(&weir, &route, 60);
        turn(&weir, &format!("late{place}"), late);
        turn(&weir, &format!("second{place}"), second);
        let answer = weir.call(&Call::Chat.request(&route, true));
        let outcome = || {
            let record = weir.record(&answer.request_id());
            ensure(record.attempts.len() >= 2, format!("{:?}", record.attempts))?;
            let Some(winner) = winner else {
                return ensure(record.outcome == Outcome::Failed, format!("{:?}", record.outcome));
            };
            same("end", answer.finished(Call::Chat.grammar())?.end, End::Finished)?;
            same("vendor", record.vendor.to_owned(), format!("{winner}{place}"))
        };
        table.case(format!("{late} · {second}"), outcome());
    }
    weir.lives();
    table.end();
}

/// A race waits for nothing: the faster of two is heard from the first call on.
#[test]
fn two_are_asked_at_once_where_the_route_says_so() {
    let mut setup = Setup::new("hedging-race");
    add(&mut setup, Dialect::OpenAi, "slow", "events=2,ttfb=15s");
    add(&mut setup, Dialect::Gemini, "fast", WELL);
    setup.folder("[[route]]\nname = \"r\"\nto.order = [\"slow\", \"fast\"]\nhedge.at_once = true\n");
    let weir = setup.start();
    for stream in [true, false] {
        let answer = weir.call(&Call::Messages.request("r", stream));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(weir.record(&answer.request_id()).vendor, "vendor-fast");
    }
    assert_eq!(weir.metric("weir_hedges_won_total"), 2);
    // Who was overtaken has read the prompt: it is nobody's bill, but it is told.
    let total = weir.ctl(&["usage", "--json"])["total"].clone();
    let lost: i128 = total["lost_nano"].to_string().trim_matches('"').parse().expect("a number");
    assert!(lost > 0, "{total}");
}

/// What second calls may cost holds, however often the first is late.
#[test]
fn the_cap_on_what_it_costs_wins() {
    let mut setup = Setup::new("hedging-cap");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "late", WELL);
    add(&mut setup, Dialect::OpenAi, "second", WELL);
    setup.folder(&hedged("r", "late", "second", 3));
    let weir = setup.start();
    teach(&weir, "r", 100);
    // From now on every second one is late: the trigger would fire for half of them.
    turn(&weir, "late", "events=2,fault=silent=400@0,every=2");
    teach(&weir, "r", 100);
    let hedges = weir.metric("weir_hedges_total");
    // Three of a hundred, and what was saved up at most.
    assert!((1..=200 * 3 / 100).contains(&hedges), "{hedges}");
}

/// What a second one says against a call, or says that is no answer, is nothing to the first that is at work on it.
#[test]
fn a_second_that_is_no_help_leaves_the_first_at_work() {
    let mut setup = Setup::new("hedging-no-help");
    setup.folder(NO_BREAKER);
    let words = ["error=404", "error=402", "error=400", "fault=html", "fault=gzip_broken", "events=0,finish=no"];
    for place in 0..words.len() {
        add(&mut setup, Dialect::OpenAi, &format!("late{place}"), WELL);
        add(&mut setup, Dialect::OpenAi, &format!("second{place}"), WELL);
        setup.folder(&hedged(&format!("r{place}"), &format!("late{place}"), &format!("second{place}"), 100));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (place, words) in words.into_iter().enumerate() {
        let route = format!("r{place}");
        teach(&weir, &route, 60);
        turn(&weir, &format!("late{place}"), "events=4,fault=silent=900@0");
        turn(&weir, &format!("second{place}"), words);
        let answer = weir.call(&Call::Chat.request(&route, true));
        let outcome = || {
            same("end", answer.finished(Call::Chat.grammar())?.end, End::Finished)?;
            let record = weir.record(&answer.request_id());
            same("vendor", record.vendor.to_owned(), format!("vendor-late{place}"))?;
            // One call to each, and none that never was.
            let vendors: Vec<_> = record.attempts.iter().map(|call| call.vendor.to_owned()).collect();
            same("calls", vendors, vec![format!("vendor-second{place}"), format!("vendor-late{place}")])
        };
        table.case(words, outcome());
    }
    table.end();
}

/// What a caller asks for and never gets pays for no second calls.
#[test]
fn nothing_is_saved_up_by_what_was_refused() {
    let mut setup = Setup::new("hedging-saved");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "late", WELL);
    add(&mut setup, Dialect::OpenAi, "second", WELL);
    setup.folder(&hedged("r", "late", "second", 1));
    let weir = setup.start();
    teach(&weir, "r", 60);
    turn(&weir, "late", "error=400");
    for _ in 0..20 {
        let greedy = weir.call(&Call::Chat.request_with("r", true, r#","max_tokens":4000000000"#));
        assert_eq!(greedy.status, 400, "{}", greedy.text());
    }
    turn(&weir, "late", "events=2,fault=silent=60@0");
    teach(&weir, "r", 40);
    assert!(weir.metric("weir_hedges_total") <= 2, "{}", weir.metric("weir_hedges_total"));
}

/// A caller who leaves while two are at work ends both.
#[test]
fn a_hang_up_ends_both() {
    let mut setup = Setup::new("hedging-hangup");
    add(&mut setup, Dialect::OpenAi, "late", WELL);
    add(&mut setup, Dialect::OpenAi, "second", WELL);
    setup.folder(&hedged("r", "late", "second", 100));
    let weir = setup.start();
    teach(&weir, "r", 60);
    turn(&weir, "late", LATE);
    turn(&weir, "second", LATE);
    let mut wire = weir.wire();
    wire.send(Call::Chat.request("r", true).bytes(&weir.key));
    let live = |id: &str| weir.vendor().counter(&format!("name={id},{WELL}")).live;
    assert!(within(Duration::from_secs(2), || live("late") == 1 && live("second") == 1), "both are asked");
    drop(wire);
    assert!(within(Duration::from_secs(1), || live("late") == 0 && live("second") == 0), "both are told");
    weir.lives();
}
