//! Limits of keys are exact on all cores together; limits of credentials send a call to the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_tests::table::{ensure, same};
use weir_tests::{Answer, Call, Dialect, Gateway, Model, Setup, Table, clock};

/// Many requests at the same time, on connections of their own; how often each status came.
fn storm(weir: &Gateway, key: &str, model: &str, count: usize) -> BTreeMap<u16, usize> {
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let call = || weir.call(&Call::Chat.request(model, false).key(key));
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut statuses = BTreeMap::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    statuses
}

#[test]
fn requests_per_minute_are_exact() {
    let mut setup = Setup::new("limits-rpm");
    let words = "name=rpm,events=2";
    let model = setup.model(Dialect::OpenAi, words);
    let weir = setup.start();
    let key = weir.new_key(&["--rpm", "30"]);
    let started = clock::now();
    let statuses = storm(&weir, &key, &model, 80);
    let refilled = started.elapsed().as_secs() as usize / 2 + 1;
    let served = statuses.get(&200).copied().unwrap_or(0);
    assert!((30..=30 + refilled).contains(&served), "{statuses:?}");
    assert_eq!(served + statuses.get(&429).copied().unwrap_or(0), 80, "{statuses:?}");
    assert_eq!(weir.vendor().counter(words).requests as usize, served);
    let refused = weir.call(&Call::Chat.request(&model, false).key(&key));
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    let wait: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    // What it says is true.
    std::thread::sleep(Duration::from_secs(wait) + Duration::from_millis(200));
    assert_eq!(weir.call(&Call::Chat.request(&model, false).key(&key)).status, 200);
    // Others are not concerned.
    weir.lives();
}

/// A vendor that refuses a call has had it all the same: without end it would be sent there for nothing.
#[test]
fn what_a_vendor_refuses_is_a_request() {
    let mut setup = Setup::new("limits-refused");
    let words = "name=refusing,error=400";
    let model = setup.model(Dialect::OpenAi, words);
    let weir = setup.start();
    let key = weir.new_key(&["--rpm", "5"]);
    let statuses = storm(&weir, &key, &model, 20);
    assert!(weir.vendor().counter(words).requests <= 6, "{statuses:?}");
    assert!(statuses.get(&429).copied().unwrap_or(0) >= 14, "{statuses:?}");
}

#[test]
fn tokens_per_minute_count_what_was_used() {
    let mut setup = Setup::new("limits-tpm");
    let model = setup.model(Dialect::OpenAi, "tokens_in=400,tokens_out=100,events=2");
    let missing = setup.model(Dialect::OpenAi, "fault=stall,events=2");
    let weir = setup.start();
    let key = weir.new_key(&["--tpm", "6000"]);
    let call = |more: &str| weir.call(&Call::Chat.request_with(&model, false, more).key(&key));
    // A small worst case; then the real usage is what counts: 500 for each.
    let mut served = 0;
    while call(r#","max_tokens":10"#).status == 200 {
        served += 1;
        assert!(served < 40, "the limit does not hold");
    }
    assert!((11..=13).contains(&served), "{served} of 500 tokens each fit into 6000");
    let refused = call(r#","max_tokens":10"#);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    assert!(refused.header("retry-after").is_some());
    // A request that can never fit says so at once and takes nothing.
    let key = weir.new_key(&["--tpm", "6000"]);
    let never = weir.call(&Call::Chat.request_with(&model, false, r#","max_tokens":7000"#).key(&key));
    assert_eq!(never.status, 429, "{}", never.text());
    let fits = weir.call(&Call::Chat.request_with(&model, false, r#","max_tokens":5000"#).key(&key));
    assert_eq!(fits.status, 200);
    // Who hangs up before an answer gets everything back.
    for _ in 0..5 {
        let mut wire = weir.wire();
        wire.send(Call::Chat.request_with(&missing, false, r#","max_tokens":5000"#).key(&key).bytes(""));
        std::thread::sleep(Duration::from_millis(100));
        drop(wire);
        weir.settle();
    }
    let fits = weir.call(&Call::Chat.request_with(&model, false, r#","max_tokens":4000"#).key(&key));
    assert_eq!(fits.status, 200, "{}", fits.text());
    weir.lives();
}

#[test]
fn concurrency_is_exact_and_given_back() {
    let mut setup = Setup::new("limits-concurrency");
    let slow = setup.model(Dialect::OpenAi, "ttfb=1s,events=2");
    let faulty: Vec<_> = ["fault=rst", "error=500", "fault=eof@1", "fault=html", "error=401", "error=400"]
        .iter()
        .map(|words| setup.model(Dialect::OpenAi, words))
        .collect();
    let endless = setup.model(Dialect::OpenAi, "fault=endless@1,pace=10ms");
    let weir = setup.start();
    let key = weir.new_key(&["--concurrent", "5"]);
    for _ in 0..2 {
        let statuses = storm(&weir, &key, &slow, 20);
        assert_eq!(statuses, BTreeMap::from([(200, 5), (429, 15)]));
    }
    // Every way out gives the place back.
    for _ in 0..3 {
        for model in &faulty {
            for stream in [false, true] {
                weir.call(&Call::Chat.request(model, stream).key(&key));
            }
        }
        let mut wires: Vec<_> = (0..5).map(|_| weir.wire()).collect();
        for wire in &mut wires {
            wire.send(Call::Chat.request(&endless, true).key(&key).bytes(""));
            wire.until(b"data: ");
        }
        assert_eq!(weir.call(&Call::Chat.request(&slow, false).key(&key)).status, 429);
        drop(wires);
        weir.settle();
    }
    let statuses = storm(&weir, &key, &slow, 20);
    assert_eq!(statuses, BTreeMap::from([(200, 5), (429, 15)]));
    weir.lives();
}

#[test]
fn answers_say_what_is_left() {
    let weir = Setup::new("limits-headers").start();
    let key = weir.new_key(&["--rpm", "100", "--tpm", "100000"]);
    let mut table = Table::new();
    for stream in [false, true] {
        let answer = weir.call(&Call::Chat.request("good-openai", stream).key(&key));
        let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok());
        let outcome = same("limit", number("x-ratelimit-limit-requests"), Some(100))
            .and_then(|()| same("tokens", number("x-ratelimit-limit-tokens"), Some(100_000)))
            .and_then(|()| {
                let left = number("x-ratelimit-remaining-requests").unwrap_or(0);
                ensure((90..100).contains(&left), format!("{left} left"))
            })
            .and_then(|()| ensure(answer.header("x-ratelimit-reset-requests").is_some(), "no reset"));
        table.case(format!("OpenAI, stream={stream}"), outcome);
        let answer = weir.call(&Call::Messages.request("good-anthropic", stream).key(&key));
        let reset = answer.header("anthropic-ratelimit-tokens-reset").unwrap_or_default();
        let outcome = same("limit", answer.header("anthropic-ratelimit-requests-limit"), Some("100"))
            .and_then(|()| ensure(reset.starts_with("20") && reset.ends_with('Z'), format!("{reset:?}")));
        table.case(format!("Anthropic, stream={stream}"), outcome);
    }
    let free = weir.chat("good-openai");
    table.case("no limits, no words", same("header", free.header("x-ratelimit-limit-requests"), None));
    weir.lives();
    table.end();
}

/// Two credentials: what the vendor refuses on one, the other gets.
#[test]
fn the_next_credential() {
    let mut setup = Setup::new("limits-credentials");
    let two: &[(&str, &str, &str)] = &[("bad", "secret-first-bad", ""), ("good", "secret-second-good", "")];
    let mut cases = Vec::new();
    for (status, words) in
        [(401, "error=401"), (403, "error=403"), (429, "error=429"), (429, "error=429,retry_after=30")]
    {
        for stream in [false, true] {
            let words = format!("name={stream},{words},error_for=bad,events=3");
            cases.push((status, stream, setup.add(Model::new(Dialect::OpenAi, &words).credentials(two)), words));
        }
    }
    let all_bad = setup.add(Model::new(Dialect::OpenAi, "error=401,name=all").credentials(two));
    let all_busy = setup.add(Model::new(Dialect::OpenAi, "error=429,retry_after=17,name=busy").credentials(two));
    let server = setup.add(Model::new(Dialect::OpenAi, "error=400,error_for=bad,name=own").credentials(two));
    setup.cores = 1;
    let weir = setup.start();
    let mut table = Table::new();
    for (status, stream, model, words) in &cases {
        for round in 0..6 {
            let answer = weir.call(&Call::Chat.request(model, *stream));
            table.case(format!("{words} {round}"), same("status", answer.status, 200));
        }
        let calls = weir.vendor().counter(words).requests;
        // One that rests is not asked each time; a bare 429 says nothing about the next.
        let most = if words.contains("retry_after") || *status != 429 { 7 } else { 12 };
        table.case(format!("{words}: calls"), ensure((6..=most).contains(&calls), format!("{calls} calls")));
    }
    let records = weir.records();
    let mine: Vec<_> = records.iter().filter(|record| record.model == cases[0].2).collect();
    table.case("one record each", same("records", mine.len(), 6));
    table.case(
        "the attempts are in it",
        ensure(mine.iter().any(|record| record.attempts.len() == 2), "no second attempt"),
    );
    table.case("who answered", ensure(mine.iter().all(|record| record.credential == "good"), "another credential"));
    let answer = weir.chat(&all_bad);
    table.case("none is good", same("(status, code)", (answer.status, answer.code().as_str()), (502, "upstream_auth")));
    let answer = weir.chat(&all_busy);
    table
        .case("all are busy", same("(status, wait)", (answer.status, answer.header("retry-after")), (429, Some("17"))));
    table.case(
        "all are busy: calls",
        ensure(weir.vendor().counter("error=429,retry_after=17,name=busy").requests <= 2, "calls"),
    );
    // A 400 is the caller's own: it is not asked twice.
    let statuses: Vec<u16> = (0..4).map(|_| weir.chat(&server).status).collect();
    table.case(
        "400",
        same(
            "(statuses, calls)",
            (statuses.contains(&400), weir.vendor().counter("error=400,error_for=bad,name=own").requests),
            (true, 4),
        ),
    );
    weir.lives();
    table.end();
}

/// A credential's own limits: beyond them the next one is taken, beyond all of them the caller waits.
#[test]
fn limits_of_credentials() {
    let mut setup = Setup::new("limits-own");
    let words = "name=own-limits,events=2,ttfb=1s";
    let two: &[(&str, &str, &str)] =
        &[("one", "secret-one-0001", "concurrent_requests = 3"), ("two", "secret-two-0002", "concurrent_requests = 4")];
    let model = setup.add(Model::new(Dialect::OpenAi, words).credentials(two));
    let weir = setup.start();
    let statuses = storm(&weir, &weir.key, &model, 20);
    assert_eq!(statuses, BTreeMap::from([(200, 7), (429, 13)]));
    assert_eq!(weir.vendor().counter(words).requests, 7);
    let records = weir.records();
    let by = |name: &str| records.iter().filter(|record| record.credential == name && record.status == 200).count();
    assert_eq!((by("one"), by("two")), (3, 4));
    weir.lives();
}

/// A noisy neighbour's limits are its own.
#[test]
fn one_key_at_its_limit_disturbs_nobody() {
    let weir = Setup::new("limits-noisy").start();
    let noisy = weir.new_key(&["--rpm", "5"]);
    let other = weir.new_key(&["--rpm", "500"]);
    let statuses = storm(&weir, &noisy, "good-openai", 60);
    assert!(statuses[&429] >= 50, "{statuses:?}");
    assert_eq!(storm(&weir, &other, "good-openai", 60), BTreeMap::from([(200, 60)]));
    // A limit that is raised holds at once, and what was used stays used.
    weir.lives();
}

/// A place is taken before the body: a key that may do one thing at a time cannot have a second body collected, and who
/// sends bodies slowly on many connections takes its own share of memory, nobody else's.
#[test]
fn a_body_under_way_takes_a_place_and_a_share() {
    let mut setup = Setup::new("limits-bodies");
    // The share of a key is an eighth of the budget.
    setup.folder("[gateway.sizes]\nmemory_bytes_max = 67108864\nbody_bytes_max = 16777216");
    let words = "name=bodies,events=2";
    let model = setup.model(Dialect::OpenAi, words);
    let weir = setup.start();
    let (one, many, other) = (weir.new_key(&["--concurrent", "1"]), weir.new_key(&[]), weir.new_key(&[]));
    let head = |key: &str, length: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut table = Table::new();
    // The place: the first waits for its body, the second is told at once, and so much of a body is not waited for.
    let body = Call::Chat.body(&model, false, "");
    let mut first = weir.wire();
    first.send(head(&one, body.len()) + &body[..5]);
    std::thread::sleep(Duration::from_millis(200));
    let mut second = weir.wire();
    second.send(head(&one, 2_000_000));
    let answer = second.answer_within(Duration::from_secs(5), false);
    table.case(
        "a second body",
        same("answer", (answer.status, answer.code()), (429, "rate_limit_exceeded".into()))
            .and_then(|()| same("connection", answer.header("connection"), Some("close"))),
    );
    // Said whole, the refused request goes and the connection stays.
    let mut whole = weir.wire();
    whole.send(head(&one, body.len()) + &body);
    table.case("a second request", same("status", whole.answer().status, 429));
    first.send(&body[5..]);
    table.case("the first body", same("status", first.answer().status, 200));
    whole.send(head(&one, body.len()) + &body);
    table.case("the place is given back", same("status", whole.answer().status, 200));
    // Whatever becomes of a body, its place comes back.
    let bad = b"{]".as_slice();
    for (name, said) in
        [("gone", b"{".as_slice()), ("not JSON", bad), ("no model", b"{}"), ("unknown", br#"{"model":"x"}"#)]
    {
        let mut wire = weir.wire();
        wire.send(head(&one, if name == "gone" { 100 } else { said.len() }));
        wire.send(said);
        if name != "gone" {
            wire.answer();
        }
        drop(wire);
        std::thread::sleep(Duration::from_millis(200));
        table.case(name, same("status", weir.call(&Call::Chat.request(&model, false).key(&one)).status, 200));
    }
    // The share: many bodies of one key wait; they hold less than a quarter of what there is, and others are served.
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let mut wire = weir.wire();
            wire.send(head(&many, 6 << 20));
            wire.send(vec![b' '; 4 << 20]);
            wire
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let held = weir.metric("weir_memory_held_bytes");
    table.case("held", ensure(held <= 8 << 20, format!("{held} bytes of one key's bodies")));
    let large = format!(",\"x\":\"{}\"", "y".repeat(4 << 20));
    let answer = weir.call(&Call::Chat.request_with(&model, false, &large).key(&other));
    table.case("another key's body", same("status", answer.status, 200));
    let answer = weir.call(&Call::Chat.request_with(&model, false, &large).key(&many));
    table.case("one more of the same key", same("status", answer.status, 503));
    drop(slow);
    let free = || weir.metric("weir_memory_held_bytes") == 0;
    table.case("given back", ensure(weir_tests::gateway::eventually(free), "memory is still held"));
    let answer = weir.call(&Call::Chat.request_with(&model, false, &large).key(&many));
    table.case("and served again", same("status", answer.status, 200));
    weir.lives();
    table.end();
}

/// Many keys of one address share what the address may hold.
#[test]
fn an_address_has_a_share_too() {
    let mut setup = Setup::new("limits-address");
    setup.folder("[gateway]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[gateway.sizes]\nmemory_bytes_max = 67108864");
    let weir = setup.start();
    let keys: Vec<String> = (0..6).map(|_| weir.new_key(&[])).collect();
    let send = |key: &str, from: &str| {
        let mut wire = weir.wire();
        wire.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n",
            6 << 20
        ));
        wire.send(vec![b' '; 5 << 20]);
        wire
    };
    let mut slow: Vec<_> = keys.iter().map(|key| send(key, "192.0.2.1")).collect();
    std::thread::sleep(Duration::from_millis(500));
    let held = weir.metric("weir_memory_held_bytes");
    assert!((6 << 20..=16 << 20).contains(&held), "{held} bytes of one address's bodies");
    // Another address with the same key is another share.
    slow.push(send(&keys[5], "192.0.2.2"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(weir.metric("weir_memory_held_bytes") > held, "the other address is refused");
    drop(slow);
    weir.lives();
}
