//! A failed vendor is invisible: routes, breakers, failover, constraints, and what operators change by hand.

use std::collections::HashMap;
use std::time::Duration;

use weir_shared::ledger::{Outcome, Record};
use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::{Answer, Call, Dialect, Exact, Gateway, Model, NO_BREAKER, Setup, Table, clock};
use weirbench::grammar::End;

use caller::{Ask, Speaks};

#[allow(dead_code, reason = "the pairs ask for more")]
#[path = "pairs/caller.rs"]
mod caller;

const TIMES: &str = "connect = \"400ms\"\nfirst_byte = \"2s\"\nidle = \"800ms\"\ntotal = \"5s\"";

/// What a vendor may do before the model has said anything.
const BEFORE: &[&str] = &[
    "fault=refuse",
    "fault=blackhole",
    "fault=mute",
    "fault=accept_close",
    "fault=rst",
    "fault=eof",
    "fault=reset",
    "fault=stall",
    "ttfb=30s",
    "fault=html",
    "fault=empty",
    "fault=204",
    "fault=cl_dup",
    "fault=headnul",
    "fault=head64k",
    "fault=redirect",
    "fault=gzip_broken",
    "error=500",
    "error=502",
    "error=503",
    "error=529",
    "error=429,retry_after=7",
    "error=429",
    "error=401",
    "error=403",
];
/// The same for a stream whose head has come, and for a whole answer.
const BEFORE_OUTPUT: &[&str] =
    &["fault=eof@0", "fault=reset@0", "fault=stall@0", "fault=errorevent@0", "fault=errornamed@0", "fault=badjson@0"];
const WHOLE: &[&str] =
    &["fault=badjson", "fault=badutf8", "fault=truncate", "fault=eof@3", "fault=reset@3", "fault=cl_large"];

fn route(name: &str, to: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\n[route.to]\n{to}\n")
}

/// A model that does this, with short times.
fn add(setup: &mut Setup, dialect: Dialect, id: &str, words: &str) {
    let words = format!("name={id},{words}");
    setup.add(Model::new(dialect, &words).id(id).times(TIMES));
}

fn calls(weir: &Gateway, id: &str, words: &str) -> u64 {
    weir.vendor().counter(&format!("name={id},{words}")).requests
}

struct Case {
    words: &'static str,
    caller: Speaks,
    stream: bool,
    route: String,
}

/// With a healthy second candidate, every fault before the first output is a good answer, in every caller's language.
#[test]
fn faults_before_the_first_output_are_invisible() {
    every_fault("routing-before", &["well"], unseen);
}

/// Without one, it is an error that the caller's language knows, and that tells nothing of the vendor.
#[test]
fn faults_of_the_only_candidate_are_told() {
    every_fault("routing-alone", &[], told);
}

/// Judges an answer, and what the record of it says.
type Judge = fn(&Case, &Answer, Duration, &Record<'_>) -> Result<(), String>;

/// Each fault before the first output meets each caller's language, whole and as a stream where it can.
fn every_fault(name: &str, others: &[&str], judge: Judge) {
    let mut setup = Setup::new(name);
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::Anthropic, "well", "events=4");
    let mut cases = Vec::new();
    let faults = BEFORE.iter().flat_map(|words| [(*words, false), (*words, true)]);
    let faults = faults.chain(BEFORE_OUTPUT.iter().map(|words| (*words, true)));
    for (place, (words, stream)) in faults.chain(WHOLE.iter().map(|words| (*words, false))).enumerate() {
        let id = format!("ill-{place}");
        add(&mut setup, Dialect::OpenAi, &id, words);
        let name = format!("r-{place}");
        let candidates: Vec<&str> = std::iter::once(id.as_str()).chain(others.iter().copied()).collect();
        setup.folder(&route(&name, &format!("order = {candidates:?}")));
        for caller in Speaks::ALL {
            cases.push(Case { words, caller, stream, route: name.clone() });
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    let mut answers: Vec<(Answer, Duration)> = Vec::new();
    let weir = &weir;
    for group in cases.chunks(48) {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let asked = |case: &Case| {
                let started = clock::now();
                let ask = Ask { stream: case.stream, ..Ask::of("hi") };
                let answer = weir.call(&case.caller.request(&case.route, &ask));
                (answer, started.elapsed())
            };
            let threads: Vec<_> = group.iter().map(|case| scope.spawn(move || asked(case))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        answers.extend(outcomes);
    }
    let records: HashMap<String, Record<'_>> =
        weir.records().into_iter().map(|record| (record.id.to_string(), record)).collect();
    for (case, (answer, took)) in cases.iter().zip(&answers) {
        let record = records.get(&answer.request_id()).ok_or_else(|| format!("no record: {}", answer.text()));
        let outcome = record.and_then(|record| judge(case, answer, *took, record));
        table.case(format!("{:?} {} {}", case.caller, case.stream, case.words), outcome);
    }
    weir.lives();
    table.end();
}

fn told(case: &Case, answer: &Answer, _: Duration, record: &Record<'_>) -> Result<(), String> {
    let text = format!("{:?} {}", answer.headers, answer.text());
    for word in ["127.0.0.1", "vendor-ill", "secret", "os error"] {
        ensure(!text.contains(word), format!("it tells {word:?}: {text}"))?;
    }
    ensure(record.outcome != Outcome::Complete, format!("{:?}", record.outcome))?;
    if answer.status == 200 {
        // The head was out when the vendor failed.
        ensure(case.stream, format!("a good answer: {text}"))?;
        let reading = case.caller.read(answer, true)?;
        return ensure(reading.end != End::Finished, "it looks finished");
    }
    ensure(answer.status >= 400, format!("{}", answer.status))?;
    let json = serde_json::from_slice::<serde_json::Value>(&answer.body).map_err(|_| format!("no JSON: {text}"))?;
    let words = match case.caller {
        Speaks::Cohere | Speaks::Converse => &json["message"],
        Speaks::Messages if json["type"] != "error" => return Err(format!("no error of its language: {json}")),
        _ => &json["error"]["message"],
    };
    ensure(words.as_str().is_some_and(|words| !words.is_empty()), format!("no words: {json}"))
}

fn unseen(case: &Case, answer: &Answer, took: Duration, record: &Record<'_>) -> Result<(), String> {
    let reading = case.caller.read(answer, case.stream)?;
    same("end", reading.end, End::Finished)?;
    ensure(!reading.text.is_empty(), "no text")?;
    ensure(took < Duration::from_secs(6), format!("took {took:?}"))?;
    same("vendor", record.vendor, "vendor-well")?;
    same("outcome", record.outcome, Outcome::Complete)?;
    // One that refused its credential rests: the next call goes elsewhere at once.
    ensure((1..=4).contains(&record.attempts.len()), format!("{:?}", record.attempts))?;
    same("status of the last attempt", record.attempts.last().map(|attempt| attempt.status), Some(200))?;
    ensure(record.cost.0 > 0, "free")
}

/// After the first output there is no second attempt: the caller is told in its stream.
#[test]
fn after_the_first_output_nobody_else_is_asked() {
    let mut setup = Setup::new("routing-after");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "well", "events=4");
    let faults = ["fault=eof@3", "fault=reset@3", "fault=errorevent@3", "fault=badjson@3", "fault=stall@3"];
    for (place, words) in faults.iter().enumerate() {
        add(&mut setup, Dialect::OpenAi, &format!("ill-{place}"), words);
        setup.folder(&route(&format!("r-{place}"), &format!("order = [\"ill-{place}\", \"well\"]")));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (place, words) in faults.iter().enumerate() {
        for caller in [Speaks::Chat, Speaks::Messages] {
            let ask = Ask { stream: true, ..Ask::of("hi") };
            let answer = weir.call(&caller.request(&format!("r-{place}"), &ask));
            let outcome = caller.read(&answer, true).and_then(|reading| {
                ensure(reading.end != End::Finished, "it looks finished")?;
                ensure(!reading.text.is_empty(), "the text is lost")?;
                same("attempts", weir.record(&answer.request_id()).attempts.len(), 1)
            });
            table.case(format!("{caller:?} {words}"), outcome);
        }
    }
    same("calls to the other", calls(&weir, "well", "events=4"), 0).unwrap();
    weir.lives();
    table.end();
}

/// A whole answer or the preamble of a stream that fails on the last candidate is told as it always was.
#[test]
fn the_last_candidates_failure_is_told() {
    let mut setup = Setup::new("routing-last");
    setup.folder(NO_BREAKER);
    add(&mut setup, Dialect::OpenAi, "one", "error=500");
    add(&mut setup, Dialect::OpenAi, "two", "error=503");
    add(&mut setup, Dialect::OpenAi, "three", "error=400");
    setup.folder(&route("both", "order = [\"one\", \"two\"]"));
    setup.folder(&route("mistaken", "order = [\"three\", \"good-openai\"]"));
    let weir = setup.start();
    for stream in [false, true] {
        let answer = weir.call(&Call::Chat.request("both", stream));
        assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_overloaded"), "{}", answer.text());
        // The caller's own mistake is nobody else's to try.
        let before = calls(&weir, "three", "error=400");
        let answer = weir.call(&Call::Chat.request("mistaken", stream));
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(calls(&weir, "three", "error=400"), before + 1);
        assert_eq!(weir.record(&answer.request_id()).attempts.len(), 1);
    }
    weir.lives();
}

/// When everything is down, a hundred requests cost at most a hundred and fifty calls, and an open breaker answers at once.
#[test]
fn a_total_outage_is_cheap() {
    let mut setup = Setup::new("routing-outage");
    for id in ["one", "two", "three"] {
        add(&mut setup, Dialect::OpenAi, id, "error=500");
    }
    setup.folder("[gateway.breaker]\nprobe_after = \"30s\"\nprobe_after_max = \"60s\"");
    setup.folder(&route("all", "order = [\"one\", \"two\", \"three\"]"));
    let weir = setup.start();
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let started = clock::now();
        let answer = weir.call(&Call::Chat.request("all", number % 2 == 0));
        assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
        if answer.code() == "upstream_unavailable" {
            slowest = slowest.max(started.elapsed());
            assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        }
    }
    let made: u64 = ["one", "two", "three"].iter().map(|id| calls(&weir, id, "error=500")).sum();
    assert!(made <= 300, "{made} calls");
    assert!(slowest > Duration::ZERO && slowest < Duration::from_millis(50), "{slowest:?}");
    weir.lives();
}

/// A vendor that recovers gets traffic again within five seconds, and not all at once.
#[test]
fn recovery_is_quick_and_slow() {
    let mut setup = Setup::new("routing-recovery");
    add(&mut setup, Dialect::OpenAi, "ill", "error=500");
    add(&mut setup, Dialect::OpenAi, "well", "events=2");
    setup.folder(&route("r", "order = [\"ill\", \"well\"]"));
    let weir = setup.start();
    for _ in 0..20 {
        assert_eq!(weir.chat("r").status, 200);
    }
    let ill = "name=ill,error=500";
    let tried = weir.vendor().counter(ill).requests;
    assert!(tried <= 10, "{tried} calls before the breaker tripped");
    weir.vendor().set(ill, "events=2").unwrap();
    let began = clock::now();
    let mut order = Vec::new();
    while began.elapsed() < Duration::from_secs(9) {
        let answer = weir.chat("r");
        assert_eq!(answer.status, 200, "{}", answer.text());
        order.push((began.elapsed(), weir.vendor().counter(ill).requests));
        std::thread::sleep(Duration::from_millis(10));
    }
    let first = order.iter().find(|(_, count)| *count > tried).expect("it gets traffic again").0;
    assert!(first < Duration::from_secs(5), "{first:?}");
    // While it comes back, others still take calls; at the end it has all.
    let taken = |from: Duration, to: Duration| {
        let within: Vec<_> = order.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, count)| *count).collect();
        within.windows(2).filter(|pair| pair[1] > pair[0]).count() as f64 / (within.len().max(2) - 1) as f64
    };
    let early = taken(first, first + Duration::from_secs(2));
    let late = taken(Duration::from_millis(8_300), Duration::from_secs(9));
    assert!(early < 0.9, "{early}");
    assert!(late > 0.9, "{late}");
    weir.lives();
}

/// 429 cools: while `Retry-After` runs, nobody bothers that vendor, and its breaker stays as it is.
#[test]
fn too_many_requests_cool_and_do_not_trip() {
    let mut setup = Setup::new("routing-cool");
    add(&mut setup, Dialect::OpenAi, "busy", "error=429,retry_after=2");
    add(&mut setup, Dialect::OpenAi, "well", "events=2");
    setup.folder(&route("r", "order = [\"busy\", \"well\"]"));
    let weir = setup.start();
    let began = clock::now();
    let mut requests = 0;
    while began.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(weir.chat("r").status, 200);
        requests += 1;
    }
    assert!(requests > 10);
    assert_eq!(calls(&weir, "busy", "error=429,retry_after=2"), 1);
    weir.vendor().set("name=busy,error=429,retry_after=2", "events=2").unwrap();
    let again = within(Duration::from_secs(5), || {
        weir.chat("r");
        calls(&weir, "busy", "error=429,retry_after=2") > 1
    });
    assert!(again && began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    // No ramp: it was well all the time.
    let record = weir.record(&weir.chat("r").request_id());
    assert_eq!(record.vendor, "vendor-busy");
    weir.lives();
}

/// One call that is larger than a limit itself is refused for itself: the credential goes on carrying the others' calls.
#[test]
fn a_call_that_outgrows_a_limit_cools_nobody() {
    let said = |message: &str| {
        let body = format!(
            r#"{{"error":{{"message":"{message}","type":"tokens","param":null,"code":"rate_limit_exceeded"}}}}"#
        );
        let head =
            "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 60\r\nConnection: close";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let outgrown =
        Exact::start_and_close(|_| said("Request too large for m on tokens per min (TPM): Limit 10, Requested 20."));
    let many = Exact::start_and_close(|_| said("Rate limit reached for m on tokens per min (TPM): Limit 10, Used 9."));
    let mut setup = Setup::new("routing-outgrown");
    setup.add(Model::new(Dialect::OpenAi, "").id("outgrown").base_url(&outgrown.url()));
    setup.add(Model::new(Dialect::OpenAi, "").id("many").base_url(&many.url()));
    add(&mut setup, Dialect::OpenAi, "well", "events=2");
    for model in ["outgrown", "many"] {
        setup.folder(&route(&format!("r-{model}"), &format!("order = [\"{model}\", \"well\"]")));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (model, vendor, asked) in [("outgrown", &outgrown, 3), ("many", &many, 1)] {
        let told: Vec<_> = (0..3).map(|_| weir.chat(&format!("r-{model}")).status).collect();
        table.case(model, same("told", told, vec![200; 3]).and_then(|()| same("asked", vendor.asked(), asked)));
    }
    weir.lives();
    table.end();
}

/// A head that left as a sign of life says what fell for the candidate that was asked then. Whoever answers in its place may
/// be told otherwise, and a comment says so.
#[test]
fn what_fell_is_told_of_whoever_answers() {
    let mut setup = Setup::new("routing-fell");
    setup.folder("[gateway.times]\nheartbeat = \"300ms\"");
    let dialects = [(Dialect::Gemini, "gemini"), (Dialect::Anthropic, "anthropic")];
    for (dialect, name) in dialects {
        let late = format!("name=late-{name},ttfb=900ms,error=503");
        setup.add(Model::new(dialect, &late).id(&format!("late-{name}")));
        setup.add(Model::new(dialect, &format!("name=well-{name},events=2")).id(&format!("well-{name}")));
    }
    for (_, late) in dialects {
        for (_, well) in dialects {
            let to = format!("order = [\"late-{late}\", \"well-{well}\"]");
            setup.folder(&route(&format!("{late}-{well}"), &to));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    // Google has no word for a user.
    for (route, head, comment) in [
        ("gemini-anthropic", Some("user"), Some("nothing")),
        ("anthropic-gemini", None, Some("user")),
        ("gemini-gemini", Some("user"), None),
        ("anthropic-anthropic", None, None),
    ] {
        let answer = weir.call(&Call::Chat.request_with(route, true, ",\"user\":\"u1\""));
        let text = answer.text();
        let said: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(": x-weir-dropped: ")).collect();
        let outcome = same("status", answer.status, 200)
            .and_then(|()| same("head", answer.header("x-weir-dropped"), head))
            .and_then(|()| same("comments", said, comment.into_iter().collect::<Vec<_>>()))
            .and_then(|()| answer.read(Call::Chat.grammar()).map(|_| ()));
        table.case(route, outcome.map_err(|why| format!("{why}: {text}")));
    }
    weir.lives();
    table.end();
}

/// What a vendor says of its limits in the heads of its answers is obeyed by all cores: what it would surely refuse is not
/// sent, its credentials are one pool, and it has its traffic back when its limit is whole.
#[test]
fn what_a_vendor_would_refuse_is_not_sent() {
    let mut setup = Setup::new("routing-quota");
    let words = |name: &str, quota: &str| format!("name={name},events=2,quota={quota}");
    for (dialect, id) in [(Dialect::OpenAi, "openai"), (Dialect::Anthropic, "anthropic")] {
        add(&mut setup, dialect, &format!("alone-{id}"), "events=2,quota=4in60s");
    }
    let pooled = words("pooled", "3in60s");
    let three = [("a", "sk-aaaa", ""), ("b", "sk-bbbb", ""), ("c", "sk-cccc", "")];
    setup.add(Model::new(Dialect::OpenAi, &pooled).id("pooled").credentials(&three));
    add(&mut setup, Dialect::OpenAi, "brief", "events=2,quota=2in2s");
    add(&mut setup, Dialect::OpenAi, "well", "events=2");
    setup.folder(&route("r", "order = [\"brief\", \"well\"]"));
    let weir = setup.start();
    let mut table = Table::new();
    let statuses = |model: &str, count: usize| (0..count).map(|_| weir.chat(model).status).collect::<Vec<_>>();
    for (id, word) in [("alone-openai", "openai"), ("alone-anthropic", "anthropic")] {
        let told = statuses(id, 7);
        table.case(word, same("told", told, vec![200, 200, 200, 200, 429, 429, 429]));
        table.case(format!("{word}, asked"), same("calls", calls(&weir, id, "events=2,quota=4in60s"), 4));
        let refused = weir.chat(id);
        let again: u64 = refused.header("retry-after").and_then(|value| value.parse().ok()).unwrap_or(0);
        // One of four comes back in a quarter of the minute; Anthropic's moments are whole seconds.
        let outcome = same("code", refused.code().as_str(), "upstream_rate_limit")
            .and_then(|()| ensure((8..=16).contains(&again), format!("again in {again} s")));
        table.case(format!("{word}, refused"), outcome);
    }
    let told = statuses("pooled", 11);
    table.case("pooled", same("told", told, [vec![200; 9], vec![429; 2]].concat()));
    table.case("pooled, asked", same("calls", weir.vendor().counter(&pooled).requests, 9));
    // What is left is seen by those who look on.
    let status = weir.ask_admin("/status").json();
    let left = |id: &str| {
        let all = status["candidates"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|candidate| candidate["model"] == id).cloned().unwrap_or_default();
        (found["quota"]["requests"]["left"].clone(), found["quota"]["requests"]["limit"].clone())
    };
    table.case("status", same("left", left("alone-openai"), (0.into(), 4.into())));
    let labels = "vendor=\"vendor-alone-openai\",model=\"alone-openai\",credential=\"main\",of=\"requests\"";
    let metrics = weir.metrics();
    for line in
        [format!("weir_candidate_quota_left{{{labels}}} 0"), format!("weir_candidate_quota_limit{{{labels}}} 4")]
    {
        table.case(&line, ensure(metrics.lines().any(|found| found == line), "no such line"));
    }
    // With somebody else to ask, the caller notices nothing; why it went there is told.
    let began = clock::now();
    let served: Vec<_> = (0..6)
        .map(|_| {
            let answer = weir.chat("r");
            assert_eq!(answer.status, 200);
            answer.request_id()
        })
        .collect();
    if began.elapsed() < Duration::from_millis(900) {
        table.case("brief, asked", same("calls", calls(&weir, "brief", "events=2,quota=2in2s"), 2));
        let said = weir.ctl(&["explain", &served[5], "--json"]);
        let first = said["choice"]["candidates"].as_array().into_iter().flatten().find(|one| one["rank"].is_null());
        let why = first.map(|one| one["why"].clone()).unwrap_or_default();
        table.case("explain", same("why", why, "passed over: at its vendor's limits".into()));
    }
    let back = within(Duration::from_secs(5), || weir.record(&weir.chat("r").request_id()).vendor == "vendor-brief");
    table.case("back", ensure(back, "it has no traffic again"));
    weir.lives();
    table.end();
}

/// A share of a credential is its key's own: others find it spent when it is the owner's that is left, whether the operator
/// wrote the limit or the vendor said it. The owner has its share first, and of the rest what there is.
#[test]
fn a_share_is_kept_for_its_key() {
    let mut setup = Setup::new("routing-share");
    let share = "share = [{ key = \"owner\", percent = 40 }]";
    for id in ["written", "written-too"] {
        let words = format!("name={id},events=2");
        let lines = format!("requests_per_minute = 10\n{share}");
        setup.add(Model::new(Dialect::OpenAi, &words).id(id).credentials(&[("main", "sk-main-0001", &lines)]));
    }
    let learnt = ["name=learnt,events=2,quota=10in600s", "name=learnt-too,events=2,quota=10in600s"];
    for (id, words) in ["learnt", "learnt-too"].iter().zip(learnt) {
        setup.add(Model::new(Dialect::OpenAi, words).id(id).credentials(&[("main", "sk-main-0002", share)]));
    }
    let weir = setup.start();
    let (owner, other) = (weir.new_key(&["--name", "owner"]), weir.new_key(&["--name", "somebody"]));
    let good = |model: &str, key: &str| {
        (0..12).filter(|_| weir.call(&Call::Chat.request(model, false).key(key)).status == 200).count()
    };
    let mut table = Table::new();
    table.case("written, the other first", same("good", (good("written", &other), good("written", &owner)), (6, 4)));
    table.case(
        "written, the owner first",
        same("good", (good("written-too", &owner), good("written-too", &other)), (10, 0)),
    );
    table.case("learnt, the other first", same("good", (good("learnt", &other), good("learnt", &owner)), (6, 4)));
    table.case(
        "learnt, the owner first",
        same("good", (good("learnt-too", &owner), good("learnt-too", &other)), (10, 0)),
    );
    for words in learnt {
        table.case(words, same("asked", weir.vendor().counter(words).requests, 10));
    }
    weir.lives();
    table.end();
}

/// Many at once, on all cores, send what is left and hardly more: those that left before the first word was heard, too.
#[test]
fn cores_share_what_a_vendor_has_left() {
    let mut setup = Setup::new("routing-quota-cores");
    let words = "name=shared,events=1,quota=120in6000s";
    setup.add(Model::new(Dialect::OpenAi, words).id("shared"));
    let weir = setup.start();
    let good = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    if weir.chat("shared").status == 200 {
                        good.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let asked = weir.vendor().counter(words).requests;
    assert_eq!(good.into_inner(), 120);
    // Who looks at once with another may leave at once with it.
    assert!((120..=128).contains(&asked), "{asked} calls for 120 places");
    weir.lives();
}

/// Whatever a vendor says of its limits, it keeps out nobody but itself, and itself for a minute at most.
#[test]
fn absurd_limits_bind_nobody() {
    let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let vendor = |fields: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        let bytes = format!("{head}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        Exact::start_and_close(|_| bytes)
    };
    let mut setup = Setup::new("routing-quota-absurd");
    let mut table = Table::new();
    let mut vendors = Vec::new();
    for (fields, stays_out) in [
        ("x-ratelimit-remaining-requests: -1\r\n", false),
        ("x-ratelimit-remaining-requests: 99999999999999999999999\r\nx-ratelimit-limit-requests: 0\r\n", false),
        ("x-ratelimit-limit-requests: 5\r\nx-ratelimit-reset-requests: 9999d\r\n", false),
        ("x-ratelimit-remaining-requests: 18446744073709551615\r\nx-ratelimit-limit-requests: 1\r\n", false),
        ("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: -5s\r\n", true),
        (
            "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-limit-requests: 1\r\nx-ratelimit-reset-requests: 9999999d\r\n",
            true,
        ),
        ("x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 99999999999999999999s\r\n", true),
        (
            "anthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: 9999-12-31T23:59:59Z\r\n",
            true,
        ),
    ] {
        let id = format!("absurd-{}", vendors.len());
        let vendor = vendor(fields);
        setup.add(Model::new(Dialect::OpenAi, "").id(&id).base_url(&vendor.url()));
        vendors.push((id, fields, vendor, stays_out));
    }
    let weir = setup.start();
    for (id, fields, vendor, stays_out) in &vendors {
        let (first, second) = (weir.chat(id), weir.chat(id));
        let outcome = same("first", first.status, 200).and_then(|()| match stays_out {
            false => same("second", second.status, 200).and_then(|()| same("asked", vendor.asked(), 2)),
            true => {
                let again: u64 = second.header("retry-after").and_then(|value| value.parse().ok()).unwrap_or(0);
                same("second", second.status, 429)
                    .and_then(|()| ensure((1..=60).contains(&again), format!("again in {again} s")))
                    .and_then(|()| same("asked", vendor.asked(), 1))
            }
        });
        table.case(fields, outcome);
    }
    weir.lives();
    table.end();
}

/// What a key's calls are bound to holds, whoever is down.
#[test]
fn a_fallback_never_leaves_what_is_allowed() {
    let mut setup = Setup::new("routing-allowed");
    setup.folder(NO_BREAKER);
    let model = |id: &str, words: &str, lines: &str| {
        Model::new(Dialect::OpenAi, &format!("name={id},{words}")).id(id).times(TIMES).vendor(lines)
    };
    setup.add(model("eu", "error=503", "regions = [\"eu\"]\nzero_retention = true"));
    setup.add(model("us", "events=2", "regions = [\"us\"]"));
    setup.add(model("both", "events=2", "regions = [\"us\", \"eu\"]\nno_training = true"));
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"europe\"\nregions = [\"eu\"]");
    setup.folder("[[tenant]]\nname = \"quiet\"\nzero_retention = true\n[[tenant]]\nname = \"own\"\nno_training = true");
    setup.folder(&route("r", "order = [\"eu\", \"us\", \"both\"]"));
    setup.folder(&route("abroad", "order = [\"us\", \"both\"]"));
    let weir = setup.start();
    let ask = |tenant: &str, name: &str| {
        let key = weir.new_key(&["--tenant", tenant, "--name", tenant]);
        weir.call(&Call::Chat.request(name, false).key(&key))
    };
    let answered = |answer: &Answer| weir.record(&answer.request_id()).vendor;
    assert_eq!(answered(&weir.chat("r")), "vendor-us");
    for tenant in ["europe", "quiet"] {
        // Down is down: the only vendor that is allowed says so, and nobody else is asked.
        let answer = ask(tenant, "r");
        assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_overloaded"), "{}", answer.text());
        let answer = ask(tenant, "abroad");
        assert_eq!((answer.status, answer.code().as_str()), (403, "no_eligible_vendor"), "{}", answer.text());
    }
    assert_eq!(answered(&ask("own", "r")), "vendor-both");
    // A key that may not use a model does not get it through a route either, and cannot tell that it is there.
    let key = weir.new_key(&["--name", "narrow", "--model", "nothing-*"]);
    let answer = weir.call(&Call::Chat.request("r", false).key(&key));
    assert_eq!((answer.status, answer.code().as_str()), (404, "model_not_found"));
    assert_eq!(calls(&weir, "us", "events=2"), 1);
    weir.lives();
}

/// What operators do at one in the morning holds on every core within a second, and is undone as quickly.
#[test]
fn a_drain_and_a_shift_hold_at_once() {
    let mut setup = Setup::new("routing-hand");
    add(&mut setup, Dialect::OpenAi, "one", "events=2");
    add(&mut setup, Dialect::OpenAi, "two", "events=2");
    setup.folder(&route("r", "order = [\"one\", \"two\"]"));
    let weir = setup.start();
    // How many of so many calls each of them got.
    let share = |name: &str, count: u64| {
        let before = ["one", "two"].map(|id| calls(&weir, id, "events=2"));
        (0..count).for_each(|_| assert_eq!(weir.chat(name).status, 200));
        let [one, two] = ["one", "two"].map(|id| calls(&weir, id, "events=2"));
        (one - before[0], two - before[1])
    };
    assert_eq!(share("r", 4), (4, 0));
    weir.ctl(&["route", "drain", "vendor-one", "--reason", "a test", "--wait", "--json"]);
    assert_eq!(share("r", 6), (0, 6));
    // A name with nobody else is refused, with words that say who did it.
    let answer = weir.chat("one");
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_drained"), "{}", answer.text());
    // It survives an apply.
    weir.apply();
    assert_eq!(share("r", 4), (0, 4));
    weir.ctl(&["route", "restore", "vendor-one", "--wait", "--json"]);
    assert_eq!(share("r", 4), (4, 0));
    weir.ctl(&["route", "shift", "vendor-one", "vendor-two/two", "100%", "--wait", "--json"]);
    assert_eq!(share("r", 6), (0, 6));
    assert_eq!(share("one", 6), (0, 6), "a name without a route is shifted, too");
    weir.ctl(&["route", "shift", "vendor-one", "vendor-two/two", "30%", "--for", "20s", "--wait", "--json"]);
    let (_, moved) = share("r", 100);
    assert!((12..50).contains(&moved), "{moved}");
    assert!(within(Duration::from_secs(40), || share("r", 12) == (12, 0)), "it ends by itself");
    weir.lives();
}

/// `explain` makes the same choice again from the record, whatever the tree, the health and what was done by hand.
#[test]
fn explain_says_what_was_done() {
    let mut setup = Setup::new("routing-explain");
    for (id, words) in [("one", "events=2"), ("two", "error=500"), ("three", "events=2"), ("four", "events=2")] {
        add(&mut setup, Dialect::OpenAi, id, words);
    }
    setup.folder("[gateway.breaker]\nprobe_after = \"30s\"\nprobe_after_max = \"60s\"");
    setup.folder(&route(
        "w",
        "weight = [{ model = \"one\", share = 3 }, \"two\", { least_busy = [\"three\", \"four\"] }]",
    ));
    setup.folder(&route("l", "least_latency = [\"three\", \"four\", \"one\"]"));
    setup.folder(&route("s", "sticky = [\"one\", \"three\", \"four\"]\nby = \"user\""));
    setup.folder(&route("c", "order = [{ when = { header = \"x-plan: gold\" }, model = \"four\" }, \"one\"]"));
    let weir = setup.start();
    let mut ids = Vec::new();
    for round in 0..6 {
        if round == 3 {
            weir.ctl(&["route", "drain", "vendor-one", "--wait", "--json"]);
        }
        for name in ["w", "w", "l", "s"] {
            let request = Call::Chat.request_with(name, false, &format!(",\"user\":\"u{round}\""));
            ids.push(weir.call(&request).request_id());
        }
        let gold = Call::Chat.request("c", false).header("X-Plan", "gold");
        ids.push(weir.call(&gold).request_id());
    }
    let records = weir.records();
    let mut table = Table::new();
    for id in &ids {
        let record = records.iter().find(|record| record.id.to_string() == *id).expect("a record");
        let said = weir.ctl(&["explain", id, "--json"]);
        let order: Vec<String> =
            said["choice"]["order"].as_array().into_iter().flatten().map(|one| one.to_string()).collect();
        let tried: Vec<_> = record.attempts.iter().map(|attempt| attempt.vendor).collect();
        // Each attempt was at the next of the order, or once more at the same.
        let mut at = 0;
        let followed = tried.iter().all(|vendor| {
            let is = |order: &String| order.trim_matches('"').split('/').next() == Some(vendor);
            let found = order.iter().skip(at).position(is).is_some_and(|ahead| ahead <= 1);
            at = order.iter().position(is).unwrap_or(at);
            found
        });
        table.case(id, ensure(followed && !tried.is_empty(), format!("{tried:?} by {order:?}: {said}")));
    }
    let said = weir_tests::gateway::try_ctl(&weir.setup, &["explain", "req_0"]);
    assert_eq!(said.0, 7, "{}", said.1);
    weir.lives();
    table.end();
}

/// The scenarios that a gateway is bought for.
#[test]
fn the_nights_that_nobody_is_woken() {
    let mut setup = Setup::new("routing-nights");
    add(&mut setup, Dialect::OpenAi, "gpt-4o", "error=429,retry_after=600");
    add(&mut setup, Dialect::Anthropic, "claude-3-5-haiku", "events=3");
    add(&mut setup, Dialect::Gemini, "gemini-1.5-flash", "events=3");
    add(&mut setup, Dialect::OpenAi, "mistral-large", "ttfb=30s");
    add(&mut setup, Dialect::OpenAi, "qwen-max", "events=3");
    add(&mut setup, Dialect::OpenAi, "llama-3", "events=3");
    add(&mut setup, Dialect::OpenAi, "deepseek-chat", "fault=refuse");
    add(&mut setup, Dialect::OpenAi, "mistral-small", "events=3");
    let dear =
        Model::new(Dialect::OpenAi, "name=thinker,events=3").id("thinker").price("input = \"15\"\noutput = \"60\"\n");
    setup.add(dear);
    let cheap =
        Model::new(Dialect::OpenAi, "name=nano,events=3").id("nano").price("input = \"0.05\"\noutput = \"0.4\"\n");
    setup.add(cheap);
    setup
        .folder(&route("assistant", "order = [\"gpt-4o\", { weight = [\"claude-3-5-haiku\", \"gemini-1.5-flash\"] }]"));
    setup.folder(&route("fast", "order = [\"mistral-large\", \"qwen-max\", \"llama-3\"]"));
    setup.folder(&route("batch", "order = [\"deepseek-chat\", \"mistral-small\"]"));
    setup.folder(&route(
        "auto",
        "order = [{ when = { reasoning = true }, model = \"thinker\" }, { least_cost = [\"thinker\", \"nano\"] }]",
    ));
    let weir = setup.start();
    let vendor = |answer: &Answer| -> String {
        assert_eq!(answer.status, 200, "{}", answer.text());
        weir.record(&answer.request_id()).vendor.to_owned()
    };
    // GPT-4o answers 429: Claude or Gemini answer, in OpenAI's words, streamed and whole.
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..12 {
        let answer = weir.call(&Call::Chat.request("assistant", number % 2 == 0));
        seen.insert(vendor(&answer));
        if number % 2 == 0 {
            answer.finished(Call::Chat.grammar()).unwrap();
        }
    }
    let both = ["vendor-claude-3-5-haiku", "vendor-gemini-1.5-flash"].map(str::to_owned);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), both);
    assert_eq!(calls(&weir, "gpt-4o", "error=429,retry_after=600"), 1, "it said when to come again");
    // Mistral is slow: Qwen.
    assert_eq!(vendor(&weir.stream("fast")), "vendor-qwen-max");
    // DeepSeek is down in the middle of a batch of calls: Mistral, for all of them.
    assert!((0..6).all(|_| vendor(&weir.chat("batch")) == "vendor-mistral-small"));
    // Simple calls go to the cheapest, those that ask for thought to the dearest.
    assert_eq!(vendor(&weir.chat("auto")), "vendor-nano");
    let thoughtful = Call::Chat.request_with("auto", false, ",\"reasoning_effort\":\"high\"");
    assert_eq!(vendor(&weir.call(&thoughtful)), "vendor-thinker");
    weir.lives();
}

/// A branch of a split that a key may not use is nobody's failure: nothing is drained, and nobody is to be woken.
#[test]
fn a_branch_that_a_key_may_not_use_is_not_out_of_traffic() {
    let mut setup = Setup::new("routing-split-forbidden");
    add(&mut setup, Dialect::OpenAi, "mine", "events=2");
    add(&mut setup, Dialect::OpenAi, "theirs", "events=2");
    setup.folder(&route(
        "r",
        "split = [{ name = \"a\", model = \"mine\", share = 1 }, { name = \"b\", model = \"theirs\", share = 1 }]",
    ));
    let weir = setup.start();
    let key = weir.new_key(&["--model", "mine"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = weir.call(&Call::Chat.request("r", false).key(&key));
        seen.insert((answer.status, if answer.status == 200 { String::new() } else { answer.code() }));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(200, String::new()), (404, "model_not_found".into())]);
}

/// A split's branch stands in the record, a cohort stays itself, and `/v1/models` lists routes.
#[test]
fn splits_are_told_and_cohorts_stay() {
    let mut setup = Setup::new("routing-split");
    add(&mut setup, Dialect::OpenAi, "one", "events=2");
    add(&mut setup, Dialect::OpenAi, "two", "events=2");
    setup.folder(&route(
        "ab",
        "split = [{ name = \"control\", model = \"one\", share = 1 }, { name = \"canary\", model = \"two\", share = 1 }]",
    ));
    setup.folder(&route("steady", "sticky = [\"one\", \"two\"]\nby = \"header:x-cohort\""));
    let weir = setup.start();
    let ids: Vec<_> = (0..30).map(|_| weir.chat("ab").request_id()).collect();
    let records: Vec<Record<'_>> =
        weir.records().into_iter().filter(|record| ids.contains(&record.id.to_string())).collect();
    assert_eq!(records.len(), 30);
    for record in &records {
        let choice = record.choice.as_ref().expect("a route tells its choice");
        let expected = if record.vendor == "vendor-one" { "control" } else { "canary" };
        assert_eq!((choice.label, &*choice.asked), (expected, "ab"));
    }
    assert!(records.iter().any(|record| record.vendor == "vendor-one"));
    assert!(records.iter().any(|record| record.vendor == "vendor-two"));
    let mut firsts = std::collections::BTreeSet::new();
    for cohort in 0..8 {
        let request = Call::Chat.request("steady", false).header("X-Cohort", &format!("c{cohort}"));
        let vendors: Vec<_> = (0..3).map(|_| weir.record(&weir.call(&request).request_id()).vendor).collect();
        assert!(vendors.iter().all(|vendor| *vendor == vendors[0]), "{vendors:?}");
        firsts.insert(vendors[0].to_owned());
    }
    assert_eq!(firsts.len(), 2);
    let listed = weir.call(&weir_tests::Request::get("/v1/models")).json();
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert!(ids.contains(&"ab") && ids.contains(&"steady"), "{ids:?}");
    weir.lives();
}

/// Agents say all of the conversation again with each step. Where its start is still in a vendor's cache, that costs a tenth:
/// the branch that sticks to it pays half of what the fastest vendor's turn costs, or less.
#[test]
fn what_sticks_keeps_prompt_caches_warm() {
    const VENDORS: usize = 8;
    let mut setup = Setup::new("routing-caches");
    let price = "input = \"10\"\noutput = \"0\"\ncache_read = \"1\"\n";
    for name in ["sticky", "fast"] {
        let ids: Vec<String> = (0..VENDORS).map(|place| format!("{name}-{place}")).collect();
        for id in &ids {
            setup.add(Model::new(Dialect::OpenAi, &format!("name={id},cache,events=2")).id(id).price(price));
        }
        let way = match name {
            "sticky" => format!("sticky = {ids:?}\nby = \"conversation\""),
            _ => format!("least_latency = {ids:?}"),
        };
        setup.folder(&route(name, &way));
    }
    let weir = setup.start();
    let step = |agent: usize, step: usize| {
        let said = |turn: usize| {
            let text = format!("{agent} found out {turn} ").repeat(120);
            serde_json::json!({"role": if turn.is_multiple_of(2) { "user" } else { "assistant" }, "content": text})
        };
        (0..=2 * step).map(said).collect::<Vec<_>>()
    };
    let cost = |route: &str| -> i64 {
        let call = |agent: usize, number: usize| {
            let body = serde_json::json!({"model": route, "stream": true, "messages": step(agent, number)}).to_string();
            let answer = weir.call(&weir_tests::Request::post("/v1/chat/completions", body));
            assert_eq!(answer.status, 200, "{}", answer.text());
            weir.record(&answer.request_id()).cost.0
        };
        (0..8).map(|number| (0..6).map(|agent| call(agent, number)).sum::<i64>()).sum()
    };
    let (sticky, fast) = (cost("sticky"), cost("fast"));
    assert!(sticky > 0 && sticky * 2 <= fast, "{sticky} beside {fast}");
}
