//! Whatever a vendor does, the caller gets an answer of its own dialect, in time, that tells nothing of the vendor.

use std::time::Duration;

use weir_shared::ledger::Outcome;
use weir_tests::model::SECRET;
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Answer, Call, Dialect, Exact, Gateway, Model, NO_BREAKER, Request, Setup, Table, clock};
use weirbench::grammar::End;

/// Short, so that a test of a deadline is short; still ten times what the gateway needs.
const TIMES: &str = "connect = \"500ms\"\nfirst_byte = \"1500ms\"\nidle = \"1s\"\ntotal = \"6s\"";

/// One fault: the vendor's words, the status and code that the caller sees, and the most calls that it may cause.
struct Case {
    words: &'static str,
    status: u16,
    codes: &'static [&'static str],
    calls: u64,
}

const fn case(words: &'static str, status: u16, codes: &'static [&'static str], calls: u64) -> Case {
    Case { words, status, codes, calls }
}

const CUT: &[&str] = &["upstream_connection_lost", "upstream_unreachable", "upstream_error"];
const INVALID: &[&str] = &["upstream_invalid_response"];
const LOST: &[&str] =
    &["upstream_connection_lost", "upstream_invalid_response", "upstream_error", "upstream_unreachable"];

/// Faults before anything of an answer is good: streams and whole answers alike.
const BEFORE: &[Case] = &[
    case("fault=refuse", 502, &["upstream_unreachable"], 0),
    case("fault=blackhole", 504, &["upstream_timeout", "upstream_unreachable"], 0),
    case("fault=mute", 504, &["upstream_timeout"], 0),
    case("fault=accept_close", 502, CUT, 4),
    case("fault=rst", 502, CUT, 4),
    case("fault=eof", 502, CUT, 4),
    case("fault=reset", 502, CUT, 4),
    case("fault=stall", 504, &["upstream_timeout"], 2),
    case("ttfb=30s", 504, &["upstream_timeout"], 2),
    case("fault=html", 502, INVALID, 1),
    case("fault=empty", 502, INVALID, 1),
    case("fault=204", 502, INVALID, 1),
    case("fault=cl_dup", 502, LOST, 4),
    case("fault=cl_neg", 502, LOST, 4),
    case("fault=headnul", 502, LOST, 4),
    case("fault=headflood", 502, LOST, 4),
    case("fault=head64k", 502, LOST, 4),
    case("fault=flood1xx", 502, LOST, 4),
    case("fault=redirect", 502, &["upstream_error"], 1),
    case("fault=gzip", 502, INVALID, 1),
    case("fault=gzipbomb", 502, INVALID, 1),
    case("fault=gzip_broken", 502, INVALID, 1),
    case("error=500", 502, &["upstream_error"], 4),
    case("error=502", 502, &["upstream_error"], 4),
    case("error=503", 503, &["upstream_overloaded"], 4),
    case("error=504", 504, &["upstream_timeout"], 4),
    case("error=501", 502, &["upstream_error"], 4),
    case("error=401", 502, &["upstream_auth"], 1),
    case("error=403", 502, &["upstream_auth"], 1),
];

/// Faults that only a whole answer can have.
const UNARY: &[Case] = &[
    case("fault=badjson", 502, INVALID, 1),
    case("fault=badutf8", 502, INVALID, 1),
    case("fault=truncate", 502, INVALID, 1),
    case("fault=eof@3", 502, CUT, 1),
    case("fault=reset@3", 502, CUT, 1),
    case("fault=stall@3", 504, &["upstream_timeout", "upstream_idle_timeout"], 1),
    case("fault=cl_large", 502, CUT, 1),
    case("fault=cl_te", 502, LOST, 4),
];

#[test]
fn before_the_first_byte() {
    let mut setup = Setup::new("faults-before");
    setup.folder(NO_BREAKER);
    let mut cases = Vec::new();
    for case in BEFORE {
        for call in [Call::Chat, Call::Messages, Call::Generate, Call::Responses] {
            for stream in [false, true] {
                let words = format!("name={call:?}{stream},{}", case.words);
                cases.push((case, call, stream, add(&mut setup, call.dialect(), &words), words));
            }
        }
    }
    let weir = setup.start();
    let table = run_all(&weir, &cases, |weir, (case, call, stream, model, words)| {
        (words.clone(), refused(weir, case, *call, *stream, model, words))
    });
    same("followed redirects", weir.vendor().counter("name=trap").requests, 0).expect("no redirect is followed");
    nothing_leaks(&weir);
    weir.lives();
    table.end();
}

#[test]
fn in_a_whole_answer() {
    let mut setup = Setup::new("faults-unary");
    setup.folder(NO_BREAKER);
    let mut cases = Vec::new();
    for case in UNARY {
        for call in [Call::Chat, Call::Messages, Call::Generate, Call::Responses] {
            let words = format!("name={call:?},{}", case.words);
            cases.push((case, call, false, add(&mut setup, call.dialect(), &words), words));
        }
    }
    let weir = setup.start();
    let table = run_all(&weir, &cases, |weir, (case, call, stream, model, words)| {
        (words.clone(), refused(weir, case, *call, *stream, model, words))
    });
    nothing_leaks(&weir);
    weir.lives();
    table.end();
}

fn add(setup: &mut Setup, dialect: Dialect, words: &str) -> String {
    setup.add(Model::new(dialect, words).times(TIMES))
}

/// Many cases wait for a deadline: they wait together.
fn run_all<C: Sync>(
    weir: &Gateway,
    cases: &[C],
    run: impl Fn(&Gateway, &C) -> (String, Result<(), String>) + Sync,
) -> Table {
    let mut table = Table::new();
    for group in cases.chunks(24) {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = group.iter().map(|case| scope.spawn(|| run(weir, case))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a case does not panic")).collect()
        });
        for (name, outcome) in outcomes {
            table.case(name, outcome);
        }
    }
    table
}

fn refused(weir: &Gateway, case: &Case, call: Call, stream: bool, model: &str, words: &str) -> Result<(), String> {
    let started = clock::now();
    let answer = weir.call(&call.request(model, stream));
    let took = started.elapsed();
    let shown = || format!("{} {} {:?}", answer.status, answer.text(), answer.broken);
    // Some dialects have words of their own for a vendor that is overloaded.
    ensure(answer.status == case.status, format!("not {}: {}", case.status, shown()))?;
    in_the_dialect(call, &answer)?;
    if call != Call::Messages {
        ensure(case.codes.contains(&answer.code().as_str()), format!("no code of {:?}: {}", case.codes, shown()))?;
    }
    ensure(answer.request_id().starts_with("req_"), format!("no id: {:?}", answer.headers))?;
    tells_nothing(&answer)?;
    ensure(took < Duration::from_secs(10), format!("took {took:?}"))?;
    let calls = weir.vendor().counter(words).requests;
    ensure(calls <= case.calls, format!("{calls} calls to the vendor"))
}

/// The body of an error as the dialect's SDKs read it.
fn in_the_dialect(call: Call, answer: &Answer) -> Result<(), String> {
    let json: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|_| format!("no JSON: {}", answer.text()))?;
    let error = &json["error"];
    let good = match call.dialect() {
        Dialect::OpenAi => error["message"].is_string() && error["type"].is_string() && error.get("param").is_some(),
        Dialect::Anthropic => json["type"] == "error" && error["type"].is_string() && error["message"].is_string(),
        Dialect::Gemini => {
            error["code"] == answer.status && error["message"].is_string() && error["status"].is_string()
        }
        Dialect::Cohere | Dialect::Bedrock => json["message"].is_string(),
    };
    ensure(good, format!("not an error of {:?}: {json}", call.dialect()))
}

fn tells_nothing(answer: &Answer) -> Result<(), String> {
    let text = format!("{:?} {}", answer.headers, answer.text());
    for word in [
        "127.0.0.1",
        "localhost",
        SECRET,
        "sk-vendor",
        "vendor-m",
        ".rs",
        "os error",
        "onnection refused",
        "ECONN",
        "SECRET_",
    ] {
        ensure(!text.contains(word), format!("it tells {word:?}: {text}"))?;
    }
    Ok(())
}

/// Neither logs nor metrics nor the status page hold a secret or a prompt.
fn nothing_leaks(weir: &Gateway) {
    let told =
        [weir.log(), weir.stderr(), weir.metrics(), weir.ask_admin("/status").text(), weir.ask_admin("/ready").text()];
    for text in told {
        for word in [SECRET, weir.key.as_str(), "\"content\":\"hi\"", "sk-weirbench-secret"] {
            assert!(!text.contains(word), "{word:?} in {text}");
        }
    }
}

/// A vendor's 4xx is the caller's own mistake: its status, its words, one attempt.
#[test]
fn refusals_that_are_the_callers() {
    let mut setup = Setup::new("faults-4xx");
    let mut cases = Vec::new();
    for status in [400, 402, 404, 409, 413, 422, 429] {
        for call in [Call::Chat, Call::Messages, Call::Generate] {
            let words = format!("name={call:?},error={status},retry_after=7");
            cases.push((status, call, setup.model(call.dialect(), &words), words));
        }
    }
    let dated = setup.model(Dialect::OpenAi, "error=429,retry_after=date");
    let absurd = setup.model(Dialect::OpenAi, "error=429,retry_after=999999999999999999999");
    let evil = setup.model(Dialect::OpenAi, "error=529");
    let claude = setup.model(Dialect::Anthropic, "error=529");
    let weir = setup.start();
    let mut table = Table::new();
    for (status, call, model, words) in cases {
        for stream in [false, true] {
            let before = weir.vendor().counter(&words).requests;
            let answer = weir.call(&call.request(&model, stream));
            let calls = weir.vendor().counter(&words).requests - before;
            let outcome = same("(status, calls)", (answer.status, calls), (status, 1))
                .and_then(|()| in_the_dialect(call, &answer))
                .and_then(|()| tells_nothing(&answer))
                .and_then(|()| {
                    ensure(status != 429 || answer.header("retry-after") == Some("7"), format!("{:?}", answer.headers))
                });
            // A credential that the vendor limits rests; the next case has its own.
            if status != 429 || !stream {
                table.case(format!("{words} stream={stream}"), outcome);
            }
        }
    }
    let answer = weir.chat(&dated);
    table.case(
        "a date",
        ensure(
            answer.header("retry-after").is_some_and(|value| value.ends_with("GMT")),
            format!("{:?}", answer.headers),
        ),
    );
    let started = clock::now();
    let answer = weir.chat(&absurd);
    table.case(
        "absurd",
        same("(status, quick)", (answer.status, started.elapsed() < Duration::from_secs(3)), (429, true)),
    );
    table.case("529 to OpenAI", same("status", weir.chat(&evil).status, 503));
    table.case("529 to Anthropic", same("status", weir.call(&Call::Messages.request(&claude, false)).status, 529));
    weir.lives();
    table.end();
}

/// How a stream that began ends.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// As it should.
    Good,
    /// With an error of ours.
    Ours(&'static str),
    /// With the vendor's own error.
    Theirs,
    /// With or without an error, as far as the vendor's answer was whole.
    Either,
}

const MIDDLE: &[(&str, Last)] = &[
    ("events=8,fault=eof@3", Last::Ours("upstream_connection_lost")),
    ("events=8,fault=reset@3", Last::Ours("upstream_connection_lost")),
    ("events=8,fault=eof@0", Last::Ours("upstream_connection_lost")),
    ("events=8,fault=stall@3", Last::Ours("upstream_idle_timeout")),
    ("events=8,fault=comments=5000@3", Last::Ours("upstream_idle_timeout")),
    ("events=8,fault=badjson@3", Last::Ours("upstream_invalid_response")),
    ("events=8,fault=badutf8@3", Last::Ours("upstream_invalid_response")),
    ("events=8,fault=badchunk@3", Last::Ours("upstream_connection_lost")),
    ("events=8,fault=errorevent@3", Last::Theirs),
    ("events=8,fault=errornamed@3", Last::Theirs),
    ("events=8,finish=no,done=no", Last::Ours("upstream_connection_lost")),
    ("events=8,finish=no,done=no,frame=close", Last::Ours("upstream_connection_lost")),
    ("events=8,fault=truncate", Last::Either),
    ("events=8,fault=silent=300@3", Last::Good),
    ("events=8,fault=comments=500@3", Last::Good),
    ("events=8,done=no", Last::Good),
    ("events=8,done=twice", Last::Good),
    ("events=8,done=trailing", Last::Good),
    ("events=8,usage=late", Last::Good),
    ("events=8,fault=early103", Last::Good),
    ("events=8,fault=giant=300000@3", Last::Good),
    ("events=400,pace=20ms", Last::Ours("upstream_timeout")),
];

/// An error told in a stream ends the stream, not the connection: nobody said that it would, and a caller's pool uses it again.
#[test]
fn a_connection_outlives_an_error_in_its_stream() {
    let mut setup = Setup::new("faults-outlives");
    let broken = add(&mut setup, Call::Chat.dialect(), "name=outlives,fault=reset@3");
    let weir = setup.start();
    let mut wire = weir.wire();
    for model in [&broken, &broken, "good-openai"] {
        wire.send(Call::Chat.request(model, true).bytes(&weir.key));
        let answer = wire.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, None), "{model}");
    }
    weir.lives();
}

#[test]
fn in_the_middle_of_a_stream() {
    let mut setup = Setup::new("faults-middle");
    let mut cases = Vec::new();
    for (words, last) in MIDDLE {
        for call in Call::ALL {
            // These have their own words for the end.
            let needs_done = words.contains("done=") || words.contains("finish=");
            if needs_done && !matches!(call, Call::Chat | Call::Completions) {
                continue;
            }
            let words = format!("name={call:?},{words}");
            cases.push((*last, *call, add(&mut setup, call.dialect(), &words), words));
        }
    }
    let weir = setup.start();
    let table = run_all(&weir, &cases, |weir, (last, call, model, words)| {
        let answer = weir.call(&call.request(model, true));
        let outcome = answer.read(call.grammar()).and_then(|reading| {
            match (&reading.end, last) {
                (End::Finished, Last::Good) => {}
                (End::Error { code, message, .. }, Last::Ours(expected)) => {
                    ensure(!message.is_empty(), "no message")?;
                    let told = answer.text();
                    ensure(
                        *call == Call::Messages || code.contains(expected) || told.contains(expected),
                        format!("code {code:?}, not {expected:?}: {told}"),
                    )?;
                }
                (End::Error { .. }, Last::Theirs) | (_, Last::Either) => {}
                (end, _) => return Err(format!("it ends with {end:?}: {}", answer.text())),
            }
            let good = reading.end == End::Finished;
            ensure(good || !answer.text().contains("[DONE]"), "a fake end")?;
            ensure(
                good || *last == Last::Theirs || reading.finish.as_deref().is_none_or(|word| word == "failed"),
                format!("a fake finish {:?}", reading.finish),
            )?;
            if words.contains("@3") {
                ensure(reading.text.split_whitespace().count() >= 3, format!("text is lost: {:?}", reading.text))?;
            }
            same("calls", weir.vendor().counter(words).requests, 1)?;
            // Broken off means billed, once, and marked.
            let record = weir.record(&answer.request_id());
            let expected = if good { Outcome::Complete } else { Outcome::Partial };
            same("the record's outcome", record.outcome, expected)?;
            ensure(record.cost.0 > 0, "it costs nothing")
        });
        (words.clone(), outcome.and_then(|()| tells_nothing(&answer)))
    });
    weir.lives();
    table.end();
}

/// An error within a stream that names the credential and the address: the caller reads neither, the record says failed.
#[test]
fn errors_within_a_stream_are_scrubbed() {
    let mut setup = Setup::new("faults-scrubbed");
    let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[]}}"#;
    let created = format!("event: response.created\ndata: {created}\n\n");
    let failed = r#"{"type":"response.failed","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"failed","model":"m","output":[],"error":{"code":"server_error","message":"TOLD"}}}"#;
    let in_two_lines =
        format!("{created}event: response.failed\ndata: {failed}\n\n").replace(r#","output""#, "\ndata: ,\"output\"");
    let error = r#"{"type":"error","sequence_number":1,"code":"server_error","message":"TOLD","param":null}"#;
    let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}"#;
    let chat_error = r#"{"error":{"message":"TOLD","type":"server_error","param":null,"code":null}}"#;
    let mut cases = Vec::new();
    for (name, call, stream) in [
        ("response.failed", Call::Responses, format!("{created}event: response.failed\ndata: {failed}\n\n")),
        ("in two lines", Call::Responses, in_two_lines),
        ("without space", Call::Responses, format!("{created}event:response.failed\r\ndata:{failed}\r\n\r\n")),
        ("error", Call::Responses, format!("{created}event: error\ndata: {error}\n\n")),
        ("chat", Call::Chat, format!("data: {chunk}\n\ndata: {chat_error}\n\n")),
    ] {
        let vendor = Exact::start(|address| {
            let told = format!("key {SECRET} is not known at http://{address}/ ({})", address.ip());
            event_stream(stream.replace("TOLD", &told).as_bytes())
        });
        cases.push((name, call, setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()).times(TIMES))));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (name, call, model) in &cases {
        let answer = weir.call(&call.request(model, true));
        let outcome = tells_nothing(&answer)
            .and_then(|()| answer.read(call.grammar()))
            .and_then(|reading| ensure(matches!(reading.end, End::Error { .. }), format!("{:?}", reading.end)))
            .and_then(|()| same("outcome", weir.record(&answer.request_id()).outcome, Outcome::Partial));
        table.case(name, outcome);
    }
    nothing_leaks(&weir);
    weir.lives();
    table.end();
}

/// A 200 of this event stream, whole.
fn event_stream(body: &[u8]) -> Vec<u8> {
    whole(200, "text/event-stream", body)
}

fn whole(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Oh\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An error whose body begins and never ends: the caller gets an answer all the same, though the times allow minutes.
#[test]
fn errors_that_stall() {
    let mut setup = Setup::new("faults-error-stalls");
    let mut cases = Vec::new();
    for (vendors, status) in [(500, 502), (503, 503), (401, 502), (400, 400), (404, 404), (429, 429)] {
        for length in ["Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            for stream in [false, true] {
                let vendor = stalled_error(vendors, length);
                let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
                cases.push((format!("{vendors} stream={stream} {length:?}"), status, stream, model, vendor));
            }
        }
    }
    let weir = setup.start();
    let table = run_all(&weir, &cases, |weir, (name, status, stream, model, vendor)| {
        let answer = weir.call(&Call::Chat.request(model, *stream));
        let outcome = same("(status, broken)", (answer.status, answer.broken.clone()), (*status, None))
            .and_then(|()| in_the_dialect(Call::Chat, &answer))
            .and_then(|()| tells_nothing(&answer))
            .and_then(|()| {
                let ended = weir_tests::gateway::eventually(|| vendor.left() == vendor.asked());
                ensure(ended, "a connection with half an answer is kept")
            });
        (name.clone(), outcome)
    });
    weir.lives();
    table.end();
}

fn stalled_error(status: u16, length: &str) -> Exact {
    Exact::start(|_| format!("HTTP/1.1 {status} Oh\r\nContent-Type: application/json\r\n{length}").into_bytes())
}

/// Events arrive when they are sent, not when the stream ends.
#[test]
fn events_are_not_collected() {
    let mut setup = Setup::new("faults-prompt");
    let model = setup.model(Dialect::OpenAi, "events=3,fault=silent=3000@1");
    let weir = setup.start();
    let mut wire = weir.wire();
    let started = clock::now();
    wire.send(Call::Chat.request(&model, true).bytes(&weir.key));
    wire.until(b"\"content\":");
    assert!(started.elapsed() < Duration::from_secs(2), "the first event took {:?}", started.elapsed());
    wire.until(b"[DONE]");
    assert!(started.elapsed() > Duration::from_secs(2));
    weir.lives();
}

/// A pooled connection that is gone is nobody's failure.
#[test]
fn a_stale_connection_costs_nothing() {
    let mut setup = Setup::new("faults-stale");
    setup.cores = 1;
    let stale = setup.model(Dialect::OpenAi, "staleclose,events=2");
    let reused =
        ["rst", "accept_close"].map(|fault| setup.model(Dialect::OpenAi, &format!("fault={fault},when=reused")));
    let weir = setup.start();
    for round in 0..10 {
        assert_eq!(weir.chat(&stale).status, 200, "round {round}");
        for model in &reused {
            assert_eq!(weir.chat(model).status, 200, "round {round} {model}");
        }
    }
    weir.lives();
}

/// A vendor took the whole request on a used connection and closed without a word: what leaves nothing behind is asked
/// again, once, and the record says so; what may have made something is not.
#[test]
fn what_may_have_been_taken_is_told() {
    let mut setup = Setup::new("faults-taken");
    setup.cores = 1;
    let words = |name: &str, fault: &str| format!("name={name},fault={fault},when=reused,events=2");
    let body = |model: &str| format!(r#"{{"model":"{model}","prompt":"a fish","input":"a fish"}}"#);
    let mut cases = Vec::new();
    for (name, path, fault, status, calls) in [
        ("chat", "", "accept_close", 200, 2),
        ("embeddings", "/v1/embeddings", "accept_close", 200, 2),
        ("images", "/v1/images/generations", "accept_close", 502, 1),
        ("responses", "/v1/responses", "accept_close", 502, 1),
        // Reset, it was not read.
        ("images-rst", "/v1/images/generations", "rst", 200, 2),
    ] {
        let model = setup.model(Dialect::OpenAi, &words(name, fault));
        let request =
            if path.is_empty() { Call::Chat.request(&model, false) } else { Request::post(path, body(&model)) };
        cases.push((name, request, words(name, fault), status, calls));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (name, request, words, status, calls) in cases {
        // All of these vendors live at one address: whoever was asked before leaves a connection that has been used.
        table.case(format!("{name} first"), same("status", weir.chat("good-openai").status, 200));
        let before = (weir.vendor().counter(&words).requests, weir.metric("weir_upstream_calls_total"));
        let answer = weir.call(&request);
        let after = (weir.vendor().counter(&words).requests, weir.metric("weir_upstream_calls_total"));
        table.case(name, same("status", answer.status, status));
        table.case(format!("{name} calls"), same("calls", after.0 - before.0, calls));
        table.case(format!("{name} counted"), same("counted", after.1 - before.1, calls));
        let record = weir.record(&answer.request_id());
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| attempt.outcome).collect();
        table.case(format!("{name} recorded"), same("attempts", outcomes.len() as u64, calls));
        let last = if status == 200 { Outcome::Complete } else { Outcome::Failed };
        table.case(format!("{name} outcomes"), same("last", outcomes.last().copied(), Some(last)));
        let line = weir.log().lines().find(|line| line.contains(&answer.request_id())).unwrap_or_default().to_owned();
        table.case(format!("{name} logged"), ensure(line.contains(&format!("\"attempts\":{calls}")), line));
    }
    weir.lives();
    table.end();
}

/// What stands beside the data of an event is no answer: it tells nothing of the vendor, alone or within an event, first
/// or for the twentieth time.
#[test]
fn comments_tell_nothing() {
    let mut setup = Setup::new("faults-comments");
    let event = |text: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n"
        )
    };
    let vendor = Exact::start(|address| {
        let told = format!("key {SECRET} at {address}");
        let mut body = format!(": {told}\n\n: PROCESSING\n\n");
        for number in 0..20 {
            body += &format!(": {told}\nid: {told}\n{}: and {told}\n\n", event(&format!("w{number}")));
        }
        body += &event("end").replace("null", "\"stop\"");
        body += "\ndata: [DONE]\n\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: ";
        format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
    let weir = setup.start();
    let answer = weir.stream(&model);
    let reading = answer.finished(Call::Chat.grammar()).expect("a legal stream");
    let words: String = (0..20).map(|number| format!("w{number}")).collect();
    assert_eq!(reading.text, words + "end");
    assert!(answer.text().contains(": PROCESSING\n\n"), "{}", answer.text());
    for secret in [SECRET, &vendor.address.to_string(), "127.0.0.1"] {
        assert!(!answer.text().contains(secret), "{secret}: {}", answer.text());
    }
    weir.lives();
}

/// A caller reads one content type, whatever the vendor says: the one that the answer was judged by.
#[test]
fn one_content_type() {
    let mut setup = Setup::new("faults-content-type");
    let mut cases = Vec::new();
    for (stream, first, body) in [
        (false, "application/json", r#"{"id":"c","object":"chat.completion","choices":[]}"#),
        (
            true,
            "text/event-stream",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
    ] {
        let vendor = Exact::start(|_| {
            let types = format!(
                "Content-Type: {first}\r\nContent-Type: text/html\r\nContent-Disposition: a\r\nContent-Disposition: b"
            );
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\n{types}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        });
        cases.push((stream, first, setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()))));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (stream, first, model) in cases {
        let answer = weir.call(&Call::Chat.request(&model, stream));
        let all = |name: &str| {
            let same = answer.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            same.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        table.case(first, same("content types", all("content-type"), vec![first.to_owned()]));
        table.case(format!("{first} disposition"), same("dispositions", all("content-disposition").len(), 1));
    }
    weir.lives();
    table.end();
}

/// More bytes than the length says poison nobody's answer.
#[test]
fn surplus_bytes_poison_nothing() {
    let mut setup = Setup::new("faults-poison");
    setup.folder(NO_BREAKER);
    setup.cores = 1;
    let small = setup.model(Dialect::OpenAi, "fault=cl_small,events=40,name=poison");
    let clean = setup.model(Dialect::OpenAi, "events=2,name=clean");
    let weir = setup.start();
    for _ in 0..40 {
        let answer = weir.chat(&small);
        assert!(matches!(answer.status, 200 | 502), "{} {}", answer.status, answer.text());
        if answer.status == 200 {
            answer.json();
        }
        let answer = weir.chat(&clean);
        assert_eq!(answer.status, 200);
        answer.json();
    }
    weir.lives();
}

/// 200 streams at once, half of them faulty: each caller gets exactly its own text.
#[test]
fn everybody_gets_their_own_text() {
    let mut setup = Setup::new("faults-mixed");
    setup.folder(NO_BREAKER);
    let good = setup.model(Dialect::OpenAi, "echo,events=20,pace=10ms,ids=unique");
    let bad = setup.model(Dialect::OpenAi, "echo,events=20,pace=10ms,fault=reset@5");
    let weir = setup.start();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..200)
            .map(|number| {
                let (weir, model) = (&weir, if number % 2 == 0 { &good } else { &bad });
                scope.spawn(move || {
                    let said = format!("only for caller {number} and nobody else, word by word, number {number}");
                    let body = format!(
                        "{{\"model\":\"{model}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{said}\"}}]}}"
                    );
                    let answer = weir.call(&weir_tests::Request::post("/v1/chat/completions", body));
                    let reading = answer.read(Call::Chat.grammar())?;
                    let finished = reading.end == End::Finished;
                    same("finished", finished, number % 2 == 0)?;
                    ensure(
                        said.starts_with(reading.text.trim()) || reading.text.contains(&said),
                        format!("{:?} for {said:?}", reading.text),
                    )
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic").err()).collect()
    });
    assert!(failures.is_empty(), "{} of 200: {:?}", failures.len(), failures.first());
    weir.lives();
}

/// A vendor that never stops costs a bounded amount of memory.
#[test]
fn floods_are_bounded() {
    let mut setup = Setup::new("faults-floods");
    let models: Vec<_> = [
        "fault=noline@1",
        "fault=giant=20000000@1",
        "fault=gzipbomb",
        "fault=headflood",
        "fault=flood1xx",
        "fault=head64k=5000000",
    ]
    .iter()
    .map(|words| (*words, setup.model(Dialect::OpenAi, words)))
    .collect();
    let weir = setup.start();
    weir.chat("good-openai");
    let before = weir.memory();
    let mut table = Table::new();
    for (words, model) in &models {
        let started = clock::now();
        let answer = weir.stream(model);
        let outcome = ensure(started.elapsed() < Duration::from_secs(20), format!("{:?}", started.elapsed()))
            .and_then(|()| match answer.status {
                200 => answer
                    .read(Call::Chat.grammar())
                    .and_then(|reading| {
                        ensure(matches!(reading.end, End::Error { .. }), format!("it ends with {:?}", reading.end))
                    })
                    .map_err(|why| why.chars().take(300).collect()),
                status => ensure((502..=504).contains(&status), format!("{status}")),
            })
            .and_then(|()| {
                let taken = weir.vendor().counter(words).bytes_out;
                ensure(taken < 96 << 20, format!("{taken} bytes were taken"))
            });
        table.case(words, outcome);
    }
    let grown = weir.memory().saturating_sub(before);
    table.case("memory", ensure(grown < 128 << 20, format!("grew by {grown}")));
    weir.lives();
    table.end();
}

/// Memory that is short is ours to lack: the caller is told so, and no vendor is taken for unwell. What was held back until
/// the model speaks is told before the error.
#[test]
fn a_shortage_of_memory_harms_no_vendor() {
    let mut setup = Setup::new("faults-shortage");
    setup.folder("[gateway.sizes]\nmemory_bytes_max = 4194304\nbody_bytes_max = 1048576");
    let mut table = Table::new();
    let mut ask = Vec::new();
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        // One byte of output, or none at all, and then an event that is legal and does not fit.
        for words in ["fault=giant=12000000@1", "fault=giant=12000000@0"] {
            let model = setup.model(dialect, words);
            let name = format!("r-{model}");
            setup.folder(&format!("[[route]]\nname = \"{name}\"\n[route.to]\norder = [\"{model}\", \"good-openai\"]"));
            ask.push((name, model));
        }
    }
    let weir = setup.start();
    for (name, model) in &ask {
        for call in [Call::Chat, Call::Messages] {
            for turn in 0..8 {
                let answer = weir.call(&call.request(name, true));
                let text = answer.text();
                let told = match answer.status {
                    200 => answer
                        .read(call.grammar())
                        .and_then(|reading| {
                            ensure(matches!(reading.end, End::Error { .. }), format!("it ends with {:?}", reading.end))
                        })
                        .and_then(|()| ensure(text.contains("assistant"), "what was held back is lost")),
                    // Nothing of it had been told.
                    status => same("status", status, 503)
                        .and_then(|()| ensure(answer.header("retry-after").is_some(), "no word when to come again")),
                };
                let outcome = told
                    .and_then(|()| ensure(text.contains("short of memory"), "another error"))
                    .and_then(|()| same("vendor", weir.record(&answer.request_id()).model, model));
                let outcome = outcome.map_err(|why| format!("{why}: {}", text.chars().take(600).collect::<String>()));
                table.case(format!("{name}, {call:?}, {turn}"), outcome);
            }
        }
    }
    weir.lives();
    table.end();
}

/// Megabytes of what means nothing are not a core's work: others are served meanwhile.
#[test]
fn nothing_at_length_holds_up_nobody() {
    let mut setup = Setup::new("faults-nothing");
    setup.cores = 1;
    let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let good = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let mut cases = Vec::new();
    for (name, nothing) in [
        ("line feeds", "\n"),
        ("line ends", "\r\n"),
        ("carriage returns", "\r"),
        ("comments", ":\n"),
        ("empty data", "data\n\n"),
        ("fields", "retry: 1\n"),
    ] {
        let vendor = Exact::start(|_| {
            event_stream(&[nothing.repeat((1 << 20) / nothing.len()).as_bytes(), b"\n\n", good.as_bytes()].concat())
        });
        cases.push((name, setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()))));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (name, model) in &cases {
        let mut flooded = weir.wire();
        flooded.send(Call::Chat.request(model, true).bytes(&weir.key));
        std::thread::sleep(Duration::from_millis(100));
        let started = clock::now();
        let other = weir.chat("good-openai");
        let took = started.elapsed();
        let answer = flooded.answer();
        let outcome = same("the other's status", other.status, 200)
            .and_then(|()| ensure(took < PATIENCE / 2, format!("the other waited {took:?}")))
            .and_then(|()| answer.read(Call::Chat.grammar()).map_err(|why| why.chars().take(300).collect()))
            .map(drop);
        table.case(name, outcome);
    }
    weir.lives();
    table.end();
}

/// Nor are megabytes of what is replaced, a piece at a time.
#[test]
fn replacing_at_length_holds_up_nobody() {
    let mut setup = Setup::new("faults-replacing");
    setup.cores = 1;
    let accounts = "org-aaaaaaaaaaaaaaaa ".repeat(200_000);
    let error =
        format!(r#"data: {{"error":{{"message":"{accounts}","type":"server_error","param":null,"code":null}}}}"#);
    let ids = r#"{"id":"resp_1"},"#.repeat(200_000);
    let many_ids = format!(r#"{{"id":"resp_1","object":"response","status":"completed","output":[{ids}{{}}]}}"#);
    let mut cases = Vec::new();
    for (name, call, stream, answer) in [
        ("accounts in an error", Call::Chat, true, event_stream(format!("{error}\n\n").as_bytes())),
        ("ids in an answer", Call::Responses, false, whole(200, "application/json", many_ids.as_bytes())),
    ] {
        let vendor = Exact::start(|_| answer);
        cases.push((name, call, stream, setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()))));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (name, call, stream, model) in &cases {
        let mut flooded = weir.wire();
        flooded.send(call.request(model, *stream).bytes(&weir.key));
        std::thread::sleep(Duration::from_millis(100));
        let started = clock::now();
        let other = weir.chat("good-openai");
        let took = started.elapsed();
        let answer = flooded.answer();
        let outcome = same("the other's status", other.status, 200)
            .and_then(|()| ensure(took < PATIENCE / 2, format!("the other waited {took:?}")))
            .and_then(|()| same("broken", answer.broken.clone(), None))
            .and_then(|()| ensure(!answer.text().contains("org-aaaa"), "it tells the account"));
        table.case(name, outcome);
    }
    weir.lives();
    table.end();
}

/// One event below the limit arrives whole.
#[test]
fn a_giant_event_arrives_whole() {
    let mut setup = Setup::new("faults-giant");
    let model = setup.model(Dialect::OpenAi, "events=3,fault=giant=15000000@1");
    let weir = setup.start();
    let reading =
        weir.stream(&model).finished(Call::Chat.grammar()).map_err(|why| why.chars().take(300).collect::<String>());
    assert!(reading.expect("a legal stream").text.len() >= 15_000_000);
    weir.lives();
}

/// JSON never travels as an event stream.
#[test]
fn json_for_a_stream() {
    let mut setup = Setup::new("faults-json");
    let cases: Vec<_> =
        Call::ALL.iter().map(|call| (*call, setup.model(call.dialect(), "fault=jsonforstream"))).collect();
    let weir = setup.start();
    for (call, model) in cases {
        let answer = weir.call(&call.request(&model, true));
        match answer.status {
            502 => in_the_dialect(call, &answer).expect("an error of the dialect"),
            _ => drop(answer.finished(call.grammar()).expect("a stream")),
        }
    }
    weir.lives();
}

/// A silent vendor: the caller gets signs of life, and a failure is told in-band.
#[test]
fn signs_of_life() {
    let mut setup = Setup::new("faults-life");
    let mut cases = Vec::new();
    for call in Call::ALL {
        for (words, good) in [
            ("ttfb=1500ms,events=3", true),
            ("events=3,fault=silent=1500@1", true),
            ("error=500", false),
            ("ttfb=1500ms,error=500", false),
        ] {
            let model = Model::new(call.dialect(), &format!("name={call:?},{words}")).times("heartbeat = \"300ms\"");
            cases.push((*call, words, good, setup.add(model)));
        }
    }
    let weir = setup.start();
    let table = run_all(&weir, &cases, |weir, (call, words, good, model)| {
        let answer = weir.call(&call.request(model, true));
        if answer.status != 200 {
            return (format!("{call:?} {words}"), same("status", (answer.status, *words), (502, "error=500")));
        }
        let outcome = answer.read(call.grammar()).and_then(|reading| {
            ensure(reading.pings + reading.comments > 0, format!("no sign of life: {}", answer.text()))?;
            same("finished", reading.end == End::Finished, *good)
        });
        (format!("{call:?} {words}"), outcome)
    });
    weir.lives();
    table.end();
}

/// When the vendor is well again, so are we, at once.
#[test]
fn recovery() {
    let mut setup = Setup::new("faults-recovery");
    let words = [
        "name=a,fault=rst",
        "name=b,error=500",
        "name=c,fault=stall",
        "name=d,fault=html",
        "name=e,error=429,retry_after=1",
        "name=f,error=401",
    ];
    let cases: Vec<_> = words.iter().map(|words| (*words, add(&mut setup, Dialect::OpenAi, words))).collect();
    let weir = setup.start();
    let mut table = Table::new();
    for (words, model) in &cases {
        let first = weir.chat(model).status;
        weir.vendor().set(words, "events=3").expect("legal words");
        let started = clock::now();
        let well = weir_tests::gateway::within(Duration::from_secs(50), || weir.chat(model).status == 200);
        let took = started.elapsed();
        table.case(
            words,
            ensure(
                first >= 429 && well && took < Duration::from_secs(5),
                format!("first {first}, well {well} after {took:?}"),
            ),
        );
    }
    weir.lives();
    table.end();
}
