//! A share of a route's calls also goes to another model, whose answers reach nobody.

use std::time::Duration;

use weir_shared::ledger::{Outcome, flag};
use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::{Call, Dialect, Gateway, Model, NO_BREAKER, Setup, Table, clock};
use weirbench::grammar::End;

use super::add;
use super::caller::{Ask, Speaks};

fn route(name: &str, to: &str, mirror: &str, percent: u32) -> String {
    format!("[[route]]\nname = \"{name}\"\nto = \"{to}\"\n[route.mirror]\nto = \"{mirror}\"\npercent = {percent}\n")
}

fn compared(weir: &Gateway, route: &str, to: &str, good: &str) -> u64 {
    weir.metric(&format!("weir_mirror_compared_total{{route=\"{route}\",to=\"{to}\",good=\"{good}\"}}"))
}

fn not_sent(weir: &Gateway, route: &str, to: &str) -> u64 {
    weir.metric(&format!("weir_mirror_not_sent_total{{route=\"{route}\",to=\"{to}\"}}"))
}

/// In every language, whole and as a stream: the caller hears one answer, the copy has a record that the operator pays.
#[test]
fn a_copy_is_made_and_reaches_nobody() {
    let mut setup = Setup::new("mirror-copies");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "first", "events=3");
    add(&mut setup, Dialect::Anthropic, "claude", "events=5");
    add(&mut setup, Dialect::OpenAi, "like", "events=6");
    setup.folder(&route("r", "first", "claude", 100));
    setup.folder(&route("same", "first", "like", 100));
    let weir = setup.start();
    let mut table = Table::new();
    let mut calls = 0;
    for caller in Speaks::ALL {
        for (name, mirror) in [("r", "claude"), ("same", "like")] {
            for stream in [false, true] {
                calls += 1;
                table.case(format!("{caller:?} {name} {stream}"), copied(&weir, caller, name, mirror, stream));
            }
        }
    }
    let all = || compared(&weir, "r", "claude", "both") + compared(&weir, "same", "like", "both");
    table.case("compared", ensure(within(Duration::from_secs(5), || all() == calls), format!("{} of {calls}", all())));
    let cost = |side: &str| {
        weir.metric(&format!("weir_mirror_cost_nanodollars_total{{route=\"r\",to=\"claude\",side=\"{side}\"}}"))
    };
    table.case("costs", ensure(cost("original") > 0 && cost("mirror") > cost("original"), "the costs are not told"));
    // The caller's tenant neither pays for it nor has asked more often for it.
    let usage = weir.ctl(&["usage", "--by", "tenant", "--json"]);
    let row = |tenant: &str| {
        usage["rows"].as_array().and_then(|rows| rows.iter().find(|row| row["tenant"] == tenant).cloned())
    };
    let (own, operators) = (row("default").expect("a row"), row("(operator)").expect("a row"));
    table.case("requests", same("requests", own["requests"].as_u64(), Some(calls)));
    table.case("copies", same("requests", operators["requests"].as_u64(), Some(calls)));
    table.case("sale", ensure(operators.to_string().contains("\"sale\":\"0"), operators.to_string()));
    weir.lives();
    table.end();
}

fn copied(weir: &Gateway, caller: Speaks, route: &str, mirror: &str, stream: bool) -> Result<(), String> {
    let answer = weir.call(&caller.request(route, &Ask { stream, ..Ask::of("hi") }));
    let reading = caller.read(&answer, stream)?;
    same("end", reading.end, End::Finished)?;
    let id = answer.request_id();
    let copy_of = || weir.records().into_iter().find(|r| r.mirror_of.is_some_and(|of| of.to_string() == id));
    ensure(within(Duration::from_secs(5), || copy_of().is_some()), "there is no copy")?;
    let (record, copy) = (weir.record(&id), copy_of().expect("a copy"));
    same("vendor", record.vendor, "vendor-first")?;
    same("calls", record.attempts.len(), 1)?;
    same("copy", (copy.model, copy.outcome, copy.sale.0), (mirror, Outcome::Complete, 0))?;
    ensure(copy.cost.0 > 0 && copy.flags & flag::MIRRORED != 0, format!("{copy:?}"))?;
    if caller != Speaks::Chat {
        return Ok(());
    }
    let told = weir.ctl(&["explain", &id, "--json"]);
    same("explained", told["mirrors"][0].as_str(), Some(copy.id.to_string().as_str()))?;
    let told = weir.ctl(&["explain", &copy.id.to_string(), "--json"]);
    same("explained", told["mirror_of"].as_str(), Some(id.as_str()))
}

/// Sound is not compared, so it is not copied: it would only count as its model's failure.
#[test]
fn speech_is_not_copied() {
    let mut setup = Setup::new("mirror-speech");
    add(&mut setup, Dialect::OpenAi, "first", "events=3");
    add(&mut setup, Dialect::OpenAi, "other", "events=3");
    setup.folder(&route("r", "first", "other", 100));
    let weir = setup.start();
    let mut request = weir_tests::Request::new("POST", "/v1/audio/speech").header("Content-Type", "application/json");
    request.body = br#"{"model":"r","input":"hello","voice":"alloy"}"#.to_vec();
    assert_eq!(weir.call(&request).status, 200);
    assert!(within(Duration::from_secs(5), || not_sent(&weir, "r", "other") == 1), "{}", weir.metrics());
    assert_eq!(weir.vendor().counter("name=other,events=3").requests, 0);
}

/// Who leaves at once, or says what no vendor takes, pays nothing: it is not to cost the operator an answer either.
#[test]
fn a_copy_ends_with_a_call_that_is_none() {
    let mut setup = Setup::new("mirror-withdrawn");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "slow", "ttfb=20s,events=2");
    add(&mut setup, Dialect::OpenAi, "refusing", "ttfb=300ms,error=400");
    add(&mut setup, Dialect::Anthropic, "dear", "events=400,pace=50ms");
    setup.folder(&route("left", "slow", "dear", 100));
    setup.folder(&route("refused", "refusing", "dear", 100));
    let weir = setup.start();
    let mut wire = weir.wire();
    wire.send(Call::Chat.request("left", true).bytes(&weir.key));
    let asked = |count: u64| {
        within(Duration::from_secs(5), || weir.vendor().counter("name=dear,events=400,pace=50ms").requests == count)
    };
    assert!(asked(1), "the copy is sent");
    drop(wire);
    let copies = || weir.records().into_iter().filter(|record| record.mirror_of.is_some()).collect::<Vec<_>>();
    assert!(within(Duration::from_secs(5), || copies().len() == 1), "{:?}", copies());
    assert_eq!(weir.stream("refused").status, 400);
    assert!(asked(2) && within(Duration::from_secs(5), || copies().len() == 2), "{:?}", copies());
    assert!(copies().iter().all(|copy| copy.outcome == Outcome::Cancelled), "{:?}", copies());
    let compared =
        ["both", "only_original", "only_mirror", "neither"].map(|good| compared(&weir, "left", "dear", good));
    assert_eq!(compared, [0; 4], "there was nothing to compare");
    weir.lives();
}

/// Whatever becomes of a copy, the call itself does not notice, and the key's limits are its caller's alone.
#[test]
fn a_mirror_disturbs_nobody() {
    let mut setup = Setup::new("mirror-quiet");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "first", "events=3");
    let faults =
        [("error=503", "only_original"), ("fault=reset@2", "only_original"), ("fault=badjson@1", "only_original")];
    for (place, (words, _)) in faults.iter().enumerate() {
        add(&mut setup, Dialect::Anthropic, &format!("ill{place}"), &format!("events=4,{words}"));
        setup.folder(&route(&format!("r{place}"), "first", &format!("ill{place}"), 100));
    }
    add(&mut setup, Dialect::OpenAi, "late", "ttfb=1500ms,events=2");
    setup.folder(&route("late", "first", "late", 100));
    add(&mut setup, Dialect::OpenAi, "dead", "error=500");
    setup.folder(&route("dead", "dead", "first", 100));
    let weir = setup.start();
    let mut table = Table::new();
    for (place, (words, good)) in faults.iter().enumerate() {
        let (route, to) = (format!("r{place}"), format!("ill{place}"));
        let ended = weir.stream(&route).finished(Call::Chat.grammar());
        table.case(*words, ended.map(drop));
        let counted = within(Duration::from_secs(5), || compared(&weir, &route, &to, good) == 1);
        table.case(format!("{words} counted"), ensure(counted, weir.metrics()));
    }
    assert_eq!(weir.chat("dead").status, 502);
    let counted = within(Duration::from_secs(5), || compared(&weir, "dead", "first", "only_mirror") == 1);
    table.case("the mirror alone", ensure(counted, weir.metrics()));
    // Sixty-four at a time wait for a late one; the others are not sent, and no call is late for it.
    let key = weir.new_key(&["--name", "few", "--rpm", "150", "--concurrent", "40"]);
    let started = clock::now();
    let refused: usize = std::thread::scope(|scope| {
        let caller =
            || (0..10).filter(|_| weir.call(&Call::Chat.request("late", false).key(&key)).status != 200).count();
        let callers: Vec<_> = (0..15).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).sum()
    });
    table.case("limits", same("refused", refused, 0));
    let took = started.elapsed();
    table.case("nobody waits for a copy", ensure(took < Duration::from_secs(60), format!("{took:?}")));
    let sent = || weir.vendor().counter("name=late,ttfb=1500ms,events=2").requests;
    table.case("bounded", ensure(sent() < 150 && sent() >= 60, format!("{} copies in {took:?}", sent())));
    table.case("told", ensure(not_sent(&weir, "late", "late") > 0, "nothing was left out"));
    weir.lives();
    table.end();
}

/// What is read for nobody does not hold up the end of a process, and its record is written all the same.
#[test]
fn a_copy_is_not_waited_for_at_the_end() {
    let mut setup = Setup::new("mirror-end");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "first", "events=3");
    add(&mut setup, Dialect::OpenAi, "slow", "events=4000,pace=50ms");
    setup.folder(&route("r", "first", "slow", 100));
    let mut weir = setup.start();
    assert_eq!(weir.stream("r").status, 200);
    let live = |weir: &Gateway| weir.vendor().counter("name=slow,events=4000,pace=50ms").live;
    assert!(within(Duration::from_secs(5), || live(&weir) == 1), "no copy was sent");
    weir.terminate();
    assert_eq!(weir.wait_exit(Duration::from_secs(15)), Some(0));
    let records = weir_tests::journal::records(&weir.state().join("journal"));
    let copy = records.iter().find(|record| record.mirror_of.is_some()).expect("the copy has a record");
    assert_eq!(copy.model, "slow");
}

/// A copy is held to what the call is bound to, and a share is a share.
#[test]
fn a_mirror_is_held_to_what_its_call_is_bound_to() {
    let mut setup = Setup::new("mirror-bound");
    setup.folder(NO_BREAKER);
    let model =
        |id: &str, vendor: &str| Model::new(Dialect::OpenAi, &format!("name={id},events=2")).id(id).vendor(vendor);
    setup.add(model("eu", "regions = [\"eu\"]"));
    setup.add(model("us", "regions = [\"us\"]"));
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"europe\"\nregions = [\"eu\"]");
    setup.folder(&route("r", "eu", "us", 100));
    setup.folder(&route("share", "eu", "us", 25));
    let weir = setup.start();
    let asked = || weir.vendor().counter("name=us,events=2").requests;
    let (bound, named) = (
        weir.new_key(&["--tenant", "europe", "--name", "europe"]),
        weir.new_key(&["--name", "named", "--model", "eu"]),
    );
    for key in [&bound, &named] {
        assert_eq!(weir.call(&Call::Chat.request("r", false).key(key)).status, 200);
    }
    assert!(within(Duration::from_secs(5), || not_sent(&weir, "r", "us") == 2), "{}", weir.metrics());
    assert_eq!(asked(), 0, "a copy left its region, or the key's models");
    assert_eq!(weir.chat("r").status, 200);
    assert!(within(Duration::from_secs(5), || asked() == 1));
    for _ in 0..400 {
        assert_eq!(weir.chat("share").status, 200);
    }
    let copies = || compared(&weir, "share", "us", "both") + not_sent(&weir, "share", "us");
    assert!(within(Duration::from_secs(5), || copies() >= 60), "{} of 400", copies());
    assert!(copies() <= 140, "{} of 400 are no quarter", copies());
    // Who left no record of being asked counts nowhere.
    assert_eq!(asked() - 1, compared(&weir, "share", "us", "both"));
    weir.lives();
}
