//! Exactly one record for each admitted request, with what was used, in disjoint classes, at the price of its admission.

use std::time::Duration;

use weir_shared::ledger::{Outcome, Record, flag};
use weir_shared::usage::Class;
use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Call, Dialect, Model, NO_BREAKER, Request, Setup, Table};

/// What `model::PRICE` makes of a record's usage, in nano-dollars.
fn cost(record: &Record<'_>) -> i64 {
    let of = |class| record.usage.of(class) as i64;
    let input = of(Class::Input) * 1_000 + of(Class::CacheRead) * 500 + of(Class::CacheWrite5m) * 1_250;
    input + (of(Class::Output) + of(Class::Reasoning)) * 2_000
}

fn classes(record: &Record<'_>) -> [u64; 5] {
    [Class::Input, Class::CacheRead, Class::CacheWrite5m, Class::Output, Class::Reasoning]
        .map(|class| record.usage.of(class))
}

#[test]
fn every_dialect_says_what_was_used() {
    let mut setup = Setup::new("money-usage");
    let words = "tokens_in=100,tokens_out=50,tokens_cached=40,tokens_reasoning=20,events=3";
    let written = "tokens_in=100,tokens_out=50,tokens_cached=40,tokens_cache_write=7,events=3";
    let mut cases = Vec::new();
    for call in Call::ALL {
        cases.push((*call, setup.model(call.dialect(), words), [100, 40, 0, 30, 20]));
        let expected = if *call == Call::Messages { [100, 40, 7, 50, 0] } else { [100, 40, 0, 50, 0] };
        cases.push((*call, setup.model(call.dialect(), written), expected));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (call, model, mut expected) in cases {
        if call == Call::Messages && expected[4] > 0 {
            // Anthropic does not tell reasoning apart.
            expected = [100, 40, 0, 50, 0];
        }
        for stream in [false, true] {
            let answer = weir.call(&call.request(&model, stream));
            let record = weir.record(&answer.request_id());
            let outcome = same("classes", classes(&record), expected)
                .and_then(|()| same("cost", (record.cost.0, record.sale.0), (cost(&record), cost(&record))))
                .and_then(|()| same("flags", record.flags & !flag::STREAM, 0))
                .and_then(|()| same("stream", record.flags & flag::STREAM != 0, stream))
                .and_then(|()| same("outcome", (record.outcome, record.status), (Outcome::Complete, 200)))
                .and_then(|()| same("names", (record.model, record.upstream_model), (model.as_str(), "upstream-model")))
                .and_then(|()| same("attempts", record.attempts.len(), 1));
            table.case(format!("{call:?} {model} stream={stream}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

/// After everything that can happen to a request: as many records as admitted requests, each id once.
#[test]
fn exactly_one_record() {
    let mut setup = Setup::new("money-one");
    setup.folder(NO_BREAKER);
    let models: Vec<_> = [
        "events=3",
        "error=400",
        "error=401",
        "error=500",
        "fault=rst",
        "fault=html",
        "fault=eof@1",
        "fault=badjson@1",
        "fault=errorevent@1",
        "usage=none",
        "done=no",
        "fault=refuse",
        "fault=empty",
        "fault=cl_large",
    ]
    .iter()
    .map(|words| setup.model(Dialect::OpenAi, words))
    .collect();
    let endless = setup.model(Dialect::OpenAi, "fault=endless@1,pace=10ms");
    let weir = setup.start();
    let mut ids = Vec::new();
    for round in 0..3 {
        for model in &models {
            ids.push(weir.call(&Call::Chat.request(model, round % 2 == 0)).request_id());
        }
        let mut wire = weir.wire();
        wire.send(Call::Chat.request(&endless, true).bytes(&weir.key));
        let head = String::from_utf8(wire.until(b"data: ")).expect("text");
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
        ids.push(id.to_owned());
    }
    // Refused before admission: no record.
    for request in [
        Request::post("/v1/chat/completions", "{"),
        Request::post("/v1/chat/completions", "{\"model\":\"none\"}"),
        Call::Chat.request(&models[0], false).key("nobody"),
        Request::get("/v1/models"),
    ] {
        weir.call(&request);
    }
    let records = weir.records();
    let mut recorded: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    recorded.sort();
    ids.sort();
    assert_eq!(recorded, ids);
    let admitted = weir.metric("weir_requests_admitted_total");
    let ended: u64 = ["completed", "failed", "cancelled", "partial"]
        .iter()
        .map(|outcome| weir.metric(&format!("weir_requests_{outcome}_total")))
        .sum();
    assert_eq!((admitted, ended), (records.len() as u64, records.len() as u64));
    // Nothing delivered, nothing owed; and every sum is what its classes make of it.
    for record in &records {
        assert_eq!(record.cost.0, cost(record), "{record:?}");
        if record.outcome == Outcome::Failed {
            assert_eq!((record.cost.0, record.usage.tokens()), (0, 0), "{record:?}");
        }
    }
    // The sequence of each core has no gap, its time never goes back.
    for core in 0..2u128 {
        let mine: Vec<_> = records.iter().filter(|record| (record.id.0 >> 48) & 0xff == core).collect();
        for (place, pair) in mine.windows(2).enumerate() {
            assert_eq!(pair[0].sequence + 1, pair[1].sequence, "core {core} at {place}");
            assert!(pair[0].time_ns < pair[1].time_ns);
        }
    }
    weir.lives();
}

/// Who hangs up pays for what came, never nothing, never more than the whole.
#[test]
fn a_hang_up_is_billed_for_what_was_delivered() {
    let mut setup = Setup::new("money-cancel");
    setup.cores = 1;
    let mut cases = Vec::new();
    for call in Call::ALL {
        let words = format!("name={call:?},events=60,pace=30ms,text=40,tokens_in=10,tokens_out=900");
        cases.push((*call, setup.model(call.dialect(), &words)));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (call, model) in cases {
        let mut costs = Vec::new();
        for cut in [1usize, 6, 14, 30] {
            let mut wire = weir.wire();
            wire.send(call.request(&model, true).bytes(&weir.key));
            let mut said = String::new();
            while said.matches("data: ").count() < cut + 4 {
                said += &String::from_utf8_lossy(&wire.until(b"\n"));
            }
            drop(wire);
            let id = said.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id").to_owned();
            let record = weir.record(&id);
            table.case(
                format!("{call:?} after {cut}"),
                same("outcome", record.outcome, Outcome::Cancelled)
                    .and_then(|()| {
                        ensure(record.flags & flag::ESTIMATED != 0 || record.usage.answer_tokens() > 0, "no usage")
                    })
                    .and_then(|()| ensure(record.usage.prompt_tokens() > 0, "no prompt"))
                    .and_then(|()| same("cost", record.cost.0, cost(&record))),
            );
            costs.push(record.cost.0);
        }
        let whole = weir.record(&weir.call(&call.request(&model, true)).request_id()).cost.0;
        costs.push(whole);
        let rising = costs.windows(2).all(|pair| 0 < pair[0] && pair[0] <= pair[1]);
        table.case(format!("{call:?}: rising"), ensure(rising, format!("{costs:?}")));
    }
    weir.lives();
    table.end();
}

/// No usage, or none to be believed: counted by us and flagged, never nothing.
#[test]
fn usage_that_is_missing_or_absurd() {
    let mut setup = Setup::new("money-absurd");
    let mut cases = Vec::new();
    for (usage, flags) in [
        ("none", flag::ESTIMATED),
        ("negative", flag::ESTIMATED | flag::USAGE_INVALID),
        ("string", flag::ESTIMATED | flag::USAGE_INVALID),
        ("huge", flag::ESTIMATED | flag::USAGE_INVALID),
        ("late", 0),
    ] {
        for call in Call::ALL {
            let model = setup.model(call.dialect(), &format!("usage={usage},events=20,text=40"));
            cases.push((usage, flags, *call, model));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (usage, flags, call, model) in cases {
        for stream in [false, true] {
            let answer = weir.call(&call.request(&model, stream));
            let record = weir.record(&answer.request_id());
            let outcome = same("status", answer.status, 200)
                .and_then(|()| same("flags", record.flags & !flag::STREAM, flags))
                .and_then(|()| ensure(record.usage.prompt_tokens() > 0, "no prompt"))
                .and_then(|()| {
                    let told = record.usage.answer_tokens();
                    ensure((10..1_000).contains(&told), format!("{told} tokens for 800 bytes"))
                })
                .and_then(|()| same("cost", record.cost.0, cost(&record)));
            table.case(format!("{usage} {call:?} stream={stream}"), outcome);
        }
    }
    assert!(weir.metric("weir_usage_estimated_total") > 0);
    weir.lives();
    table.end();
}

/// A vendor that breaks off in the middle is paid for what it delivered.
#[test]
fn a_broken_stream_is_billed_for_what_was_delivered() {
    let mut setup = Setup::new("money-partial");
    let cases: Vec<_> = Call::ALL
        .iter()
        .map(|call| (*call, setup.model(call.dialect(), "events=20,text=100,fault=reset@10")))
        .collect();
    let weir = setup.start();
    for (call, model) in cases {
        let record = weir.record(&weir.call(&call.request(&model, true)).request_id());
        assert_eq!(record.outcome, Outcome::Partial, "{call:?}");
        let told = record.usage.answer_tokens();
        assert!((100..1_200).contains(&told), "{call:?}: {told} tokens for 1000 bytes");
        assert_eq!(record.cost.0, cost(&record), "{call:?}");
    }
    weir.lives();
}

/// The price at admission holds, whatever is published meanwhile.
#[test]
fn a_new_price_is_for_new_requests() {
    let mut setup = Setup::new("money-price");
    let words = "events=40,pace=50ms,tokens_in=1000,tokens_out=1000";
    let model = setup.model(Dialect::OpenAi, words);
    let mut weir = setup.start();
    let mut open: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = weir.wire();
            wire.send(Call::Chat.request(&model, true).bytes(&weir.key));
            wire
        })
        .collect();
    assert!(within(PATIENCE, || weir.vendor().counter(words).live == 20));
    weir.setup.models.iter_mut().find(|known| known.id == model).expect("it is there").price =
        "input = \"10\"\noutput = \"20\"\n".into();
    weir.apply();
    let after = weir.record(&weir.stream(&model).request_id());
    assert_eq!(after.cost.0, 1_000 * 10_000 + 1_000 * 20_000);
    for wire in &mut open {
        let answer = wire.answer();
        answer.finished(Call::Chat.grammar()).expect("a reload cuts no stream");
        let record = weir.record(&answer.request_id());
        assert_eq!(record.cost.0, 1_000 * 1_000 + 1_000 * 2_000);
        assert!(record.price_version < after.price_version);
    }
    weir.lives();
}

/// The header, the record, the log, the metrics and `weirctl usage` tell the same.
#[test]
fn one_sum_everywhere() {
    let mut setup = Setup::new("money-everywhere");
    setup.folder("[gateway]\ncost_header = true\n[[tenant]]\nname = \"default\"\nmarkup_bp = 500");
    let model = setup.add(
        Model::new(Dialect::OpenAi, "tokens_in=333,tokens_out=77,tokens_cached=11,events=2")
            .price("input = \"0.15\"\ncache_read = \"0.075\"\noutput = \"0.60\"\n"),
    );
    let weir = setup.start();
    let mut cost = 0;
    let mut sale = 0;
    for _ in 0..25 {
        let answer = weir.chat(&model);
        let record = weir.record(&answer.request_id());
        // 333 × 150 + 11 × 75 + 77 × 600 = 96 975 nano-dollars; five per cent more for the caller.
        assert_eq!((record.cost.0, record.sale.0), (96_975, 101_824));
        assert_eq!(answer.header("x-weir-cost"), Some(record.sale.to_string().as_str()));
        cost += record.cost.0;
        sale += record.sale.0;
    }
    let usage = weir.ctl(&["usage", "--by", "model", "--json"]);
    let row = usage["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| row["model"] == model.as_str())
        .expect("a row")
        .clone();
    assert_eq!((&row["requests"], &row["cost_nano"], &row["sale_nano"]), (&25.into(), &cost.into(), &sale.into()));
    assert_eq!(row["usage"]["input"], 25 * 333);
    assert_eq!(weir.metric("weir_cost_nanodollars_total") as i64, cost);
    assert_eq!(weir.metric("weir_sale_nanodollars_total") as i64, sale);
    let lines = weir.log();
    assert_eq!(lines.lines().filter(|line| line.contains(&format!("\"model\":\"{model}\""))).count(), 25, "{lines}");
    weir.ctl(&["usage", "verify", "--json"]);
    weir.lives();
}

/// What costs nothing says so; what an answer cannot know is not made up.
#[test]
fn free_models_and_calls_without_a_price() {
    let mut setup = Setup::new("money-free");
    let model = setup.add(Model::new(Dialect::OpenAi, "events=3").price("").model("free = true"));
    let weir = setup.start();
    let record = weir.record(&weir.chat(&model).request_id());
    assert_eq!((record.cost.0, record.usage.tokens()), (0, 27));
    let embeddings = Request::post("/v1/embeddings", r#"{"model":"good-openai","input":"hi"}"#);
    let record = weir.record(&weir.call(&embeddings).request_id());
    assert!(record.usage.of(Class::Input) > 0 && record.usage.answer_tokens() == 0);
    assert_eq!(record.cost.0, cost(&record));
    weir.lives();
}

/// A batch of absurd limits reserves, and takes nothing for good.
#[test]
fn absurd_limits_overflow_nothing() {
    let weir = Setup::new("money-overflow").start();
    let key = weir.new_key(&["--tpm", "1000000"]);
    for more in [
        r#","max_tokens":9223372036854775807"#,
        r#","max_tokens":18446744073709551615,"n":1000"#,
        r#","max_tokens":9999999999999999999999999"#,
        r#","max_completion_tokens":-5"#,
        r#","max_tokens":1e30"#,
    ] {
        let answer = weir.call(&Call::Chat.request_with("good-openai", false, more).key(&key));
        assert!(matches!(answer.status, 200 | 429), "{more}: {} {}", answer.status, answer.text());
    }
    std::thread::sleep(Duration::from_millis(100));
    let answer = weir.call(&Call::Chat.request_with("good-openai", false, r#","max_tokens":10"#).key(&key));
    assert_eq!(answer.status, 200, "{}", answer.text());
    weir.lives();
}
