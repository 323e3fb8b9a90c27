//! What hostile callers and vendors tried, and was mended: each stays mended.

use std::io::Read;
use std::time::Duration;

use weir_shared::ledger::{Outcome, flag};
use weir_shared::usage::Class;
use weir_tests::gateway::{eventually, within};
use weir_tests::model::SECRET;
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Call, Dialect, Exact, Gateway, Model, Request, Setup, Table, Wire, clock, proxy};
use weirbench::grammar::End;

/// A vendor that gives this answer to whatever it is asked.
fn says(setup: &mut Setup, dialect: Dialect, kind: &str, body: &str) -> String {
    let vendor = Exact::start(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close");
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    setup.add(Model::new(dialect, "").base_url(&vendor.url()))
}

fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    body.extend(b"--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
    [&body, file, b"\r\n--BOUND--\r\n"].concat()
}

fn upload(path: &str, body: Vec<u8>) -> Request {
    let mut request = Request::new("POST", path).header("Content-Type", "multipart/form-data; boundary=BOUND");
    request.body = body;
    request
}

/// What is delivered as bytes is estimated, never free; speech is paid by the characters that the vendor reads.
#[test]
fn nothing_that_has_a_price_is_free() {
    let mut setup = Setup::new("attacks-free");
    let text = "word ".repeat(400);
    let plain = says(&mut setup, Dialect::OpenAi, "text/plain", &text);
    let quiet = says(&mut setup, Dialect::OpenAi, "application/json", &format!("{{\"text\":\"{text}\"}}"));
    let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"word word word word\"}\n\n".repeat(50);
    let stream = says(&mut setup, Dialect::OpenAi, "text/event-stream", &events);
    let voice = setup.add(Model::new(Dialect::OpenAi, "name=voice").price("character_million = \"15\"\n"));
    let weir = setup.start();
    let mut table = Table::new();
    for (name, model) in [("text", &plain), ("JSON without usage", &quiet), ("a stream", &stream)] {
        let body = form(&[("model", model), ("response_format", "text")], &[b'x'; 4_000]);
        let answer = weir.call(&upload("/v1/audio/transcriptions", body));
        let record = weir.record(&answer.request_id());
        table.case(
            name,
            same("status", answer.status, 200)
                .and_then(|()| same("estimated", record.flags & flag::ESTIMATED, flag::ESTIMATED))
                .and_then(|()| {
                    ensure(record.cost.0 >= 500_000, format!("{} nano-dollars for {:?}", record.cost.0, record.usage))
                }),
        );
    }
    let thousand = "c".repeat(1_000);
    for (name, input, status) in [
        ("plain", format!(r#""input":"{thousand}""#), 200),
        ("escaped", format!(r#""inp\u0075t":"{thousand}""#), 200),
        ("escapes", format!(r#""input":"{}""#, "\\u0063".repeat(1_000)), 200),
        ("twice", format!(r#""input":"","input":"{thousand}""#), 400),
        ("twice, escaped", format!(r#""input":"","inp\u0075t":"{thousand}""#), 400),
    ] {
        let body = format!(r#"{{"model":"{voice}","voice":"a",{input}}}"#);
        let answer = weir.call(&Request::post("/v1/audio/speech", body));
        table.case(name, same("status", answer.status, status));
        if status == 200 {
            let record = weir.record(&answer.request_id());
            table.case(format!("{name}: paid"), same("characters", record.usage.of(Class::Character), 1_000));
            table.case(format!("{name}: cost"), same("nano-dollars", record.cost.0, 15_000_000));
        }
    }
    weir.lives();
    table.end();
}

/// A vendor that answers before it has read the request is heard, in its own words and once.
#[test]
fn an_early_refusal_is_heard() {
    let mut setup = Setup::new("attacks-early");
    let vendor = Exact::start_and_close(|_| {
        let body = r#"{"error":{"message":"much too large, friend","type":"invalid_request_error"}}"#;
        let head = "HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nConnection: close";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
    let weir = setup.start();
    let large = format!(",\"x\":\"{}\"", "y".repeat(9 << 20));
    for round in 1..=5 {
        let answer = weir.call(&Call::Chat.request_with(&model, round % 2 == 0, &large));
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.text().contains("much too large, friend"), "{}", answer.text());
        assert_eq!(vendor.asked(), round, "asked twice");
    }
    weir.lives();
}

/// A vendor's count that cannot be true becomes no bill, no debt for a month, no counter that goes back, and no panic.
#[test]
fn absurd_counts_are_not_believed() {
    let mut setup = Setup::new("attacks-counts");
    let chat = |tokens: u64| {
        format!(
            r#"{{"id":"c","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{tokens},"completion_tokens":{tokens},"total_tokens":1}}}}"#
        )
    };
    let most = says(&mut setup, Dialect::OpenAi, "application/json", &chat(1 << 48));
    let much = says(&mut setup, Dialect::OpenAi, "application/json", &chat(30_000_000));
    let parts = r#"{"modality":"AUDIO","tokenCount":281474976710656},"#.repeat(66_000);
    let gemini = says(
        &mut setup,
        Dialect::Gemini,
        "application/json",
        &format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"hi"}}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":9,"candidatesTokenCount":1,"totalTokenCount":10,"promptTokensDetails":[{}]}}}}"#,
            parts.trim_end_matches(',')
        ),
    );
    let weir = setup.start();
    let mut table = Table::new();
    let mut total = 0;
    for round in 0..3 {
        for (name, request) in
            [("chat", Call::Chat.request(&most, false)), ("gemini", Call::Generate.request(&gemini, false))]
        {
            let answer = weir.call(&request);
            table.case(format!("{name} {round}"), same("status", answer.status, 200));
            let record = weir.record(&answer.request_id());
            let both = flag::ESTIMATED | flag::USAGE_INVALID;
            table.case(format!("{name} {round}: flags"), same("flags", record.flags, both));
            let cost = record.cost.0;
            table.case(format!("{name} {round}: cost"), ensure((1..1_000_000).contains(&cost), format!("{cost}")));
            let now = weir.metric("weir_cost_nanodollars_total");
            table.case(format!("{name} {round}: counter"), same("sum", now, total + cost.unsigned_abs()));
            total = now;
        }
    }
    // What may be true is charged; the key is out for minutes, not for a month.
    let key = weir.new_key(&["--tpm", "100000"]);
    let call = || weir.call(&Call::Chat.request(&much, false).key(&key));
    table.case("much", same("status", call().status, 200));
    let refused = call();
    let wait: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(0);
    table.case("much: then", same("status", refused.status, 429));
    table.case("much: how long", ensure((60..=301).contains(&wait), format!("{wait} seconds")));
    weir.lives();
    table.end();
}

/// Refused without a configuration, a body is still no request.
#[test]
fn a_body_that_nobody_reads_is_no_request() {
    let weir = Gateway::boot(Setup::new("attacks-bare"), String::new());
    let smuggled = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut wire = weir.wire();
    wire.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    ));
    let first = wire.until(b"\r\n\r\n");
    assert!(first.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&first));
    wire.send(smuggled);
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let rest = wire.rest(PATIENCE).expect("it closes");
    let rest = String::from_utf8_lossy(&rest);
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "of the last one: {rest}");
}

/// Answers that nobody takes are counted until they are taken, and shed when they are too many.
#[test]
fn answers_that_nobody_reads_are_counted() {
    let mut setup = Setup::new("attacks-unread");
    setup.folder("[gateway.sizes]\nmemory_bytes_max = 134217728\n[gateway.times]\nwrite = \"20s\"");
    let model = setup.model(Dialect::OpenAi, "events=20,text=1000000");
    let weir = setup.start();
    weir.chat("good-openai");
    let before = weir.memory();
    let wires: Vec<Wire> = (0..12)
        .map(|_| {
            let mut wire = weir.wire();
            let _ = socket2::SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10);
            wire.send(Call::Chat.request(&model, false).bytes(&weir.key));
            wire
        })
        .collect();
    let held = || weir.metric("weir_memory_held_bytes");
    assert!(within(PATIENCE, || held() > 30 << 20), "{} bytes are counted", held());
    std::thread::sleep(Duration::from_secs(3));
    assert!(held() > 30 << 20 && held() <= 128 << 20, "{} bytes are counted", held());
    let grown = weir.memory().saturating_sub(before);
    assert!(grown < 400 << 20, "{grown} bytes more for 128 MiB");
    drop(wires);
    assert!(eventually(|| held() == 0), "{} bytes are still counted", held());
    weir.lives();
}

/// Who reads steadily gets the whole of a large answer, though it takes longer than any one write may.
#[test]
fn a_steady_reader_gets_everything() {
    let mut setup = Setup::new("attacks-steady");
    setup.folder("[gateway.times]\nwrite = \"3s\"");
    let model = setup.model(Dialect::OpenAi, "events=24,text=1000000");
    let weir = setup.start();
    let mut wire = weir.wire();
    let _ = socket2::SockRef::from(&wire.socket).set_recv_buffer_size(128 << 10);
    wire.send(Call::Chat.request(&model, false).bytes(&weir.key));
    let (mut taken, mut buffer) = (wire.until(b"\r\n\r\n").len(), vec![0; 128 << 10]);
    let started = clock::now();
    loop {
        match wire.socket.read(&mut buffer) {
            Ok(count) if count > 0 => taken += count,
            _ => break,
        }
        if taken > 24_000_000 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(taken > 24_000_000, "{taken} bytes after {:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(3), "too fast to say anything");
    weir.lives();
}

/// Invitations to send a body are written with a deadline, too: who pipelines them and never reads is cut.
#[test]
fn invitations_that_nobody_reads_end() {
    let mut setup = Setup::new("attacks-invited");
    setup.folder("[gateway.times]\nwrite = \"2s\"");
    let model = setup.model(Dialect::OpenAi, "events=1,text=100000");
    let weir = setup.start();
    let body = Call::Chat.body(&model, false, "");
    let one = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n{body}",
        weir.key,
        body.len()
    );
    let wires: Vec<Wire> = (0..8)
        .map(|_| {
            let mut wire = weir.wire();
            let _ = socket2::SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10);
            wire.send(one.repeat(150));
            wire
        })
        .collect();
    assert!(within(PATIENCE, || weir.metric("weir_connections_open") <= 1), "{}", weir.metrics());
    drop(wires);
    weir.lives();
}

/// The end of another dialect ends nothing: the caller of a response is told that it failed.
#[test]
fn an_end_of_another_dialect_is_none() {
    let mut setup = Setup::new("attacks-done");
    let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":0,"status":"in_progress","error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"m","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"usage":null}}"#;
    let stream = format!("event: response.created\ndata: {created}\n\ndata: [DONE]\n\n");
    let model = says(&mut setup, Dialect::OpenAi, "text/event-stream", &stream);
    let weir = setup.start();
    let answer = weir.call(&Call::Responses.request(&model, true));
    let reading = answer.read(Call::Responses.grammar()).expect("a legal stream");
    assert!(!matches!(reading.end, End::Finished), "{}", answer.text());
    assert!(answer.text().contains("response.failed") && !answer.text().contains("[DONE]"), "{}", answer.text());
    assert_ne!(weir.record(&answer.request_id()).outcome, Outcome::Complete);
    weir.lives();
}

/// An error that is told under a good status is an error, and tells nothing of the vendor.
#[test]
fn an_error_in_a_good_answer_is_an_error() {
    let mut setup = Setup::new("attacks-200");
    let body = format!(r#"{{"error":{{"message":"bad key {SECRET} at 127.0.0.1","type":"x"}}}}"#);
    let fine = r#"{"id":"c","object":"chat.completion","choices":[],"error":null}"#;
    let mut cases = Vec::new();
    for call in [Call::Chat, Call::Messages, Call::Generate] {
        cases.push((call, says(&mut setup, call.dialect(), "application/json", &body), 502));
    }
    let array = format!("[{{\"candidates\":[]}},{body}]");
    cases.push((Call::Generate, says(&mut setup, Dialect::Gemini, "application/json", &array), 502));
    cases.push((Call::Responses, says(&mut setup, Dialect::OpenAi, "application/json", &body), 502));
    // A response that failed is an object all the same.
    let failed = body.replacen('{', r#"{"id":"resp_1","object":"response","status":"failed","output":[],"#, 1);
    cases.push((Call::Responses, says(&mut setup, Dialect::OpenAi, "application/json", &failed), 200));
    cases.push((Call::Chat, says(&mut setup, Dialect::OpenAi, "application/json", fine), 200));
    let weir = setup.start();
    let mut table = Table::new();
    for (call, model, status) in cases {
        let answer = weir.call(&call.request(&model, false));
        let told = answer.text();
        let outcome = if status == 200 { Outcome::Complete } else { Outcome::Failed };
        table.case(
            format!("{call:?} {status}"),
            same("status", answer.status, status)
                .and_then(|()| ensure(!told.contains(SECRET) && !told.contains("127.0.0.1"), told))
                .and_then(|()| same("outcome", weir.record(&answer.request_id()).outcome, outcome)),
        );
    }
    weir.lives();
    table.end();
}

/// A batch runs whatever its file says: it is for keys that may run all of it.
#[test]
fn batches_are_for_keys_without_limits() {
    let mut setup = Setup::new("attacks-batches");
    setup.models.clear();
    let words = "name=batches";
    setup.add(Model::new(Dialect::OpenAi, words).id("good-openai"));
    let weir = setup.start();
    let some = weir.new_key(&["--model", "good-*"]);
    let file = weir.call(&upload("/v1/files", form(&[("purpose", "batch")], b"{}"))).json();
    let all_of_it = weir.new_key(&[]);
    let batch = |key: &str| {
        let body = format!(r#"{{"input_file_id":{},"endpoint":"/v1/x","completion_window":"24h"}}"#, file["id"]);
        weir.call(&Request::post("/v1/batches", body).key(key)).status
    };
    // The pattern happens to cover the only model there is.
    assert_eq!((batch(&all_of_it), batch(&some)), (200, 200));
    let calls = weir.vendor().counter(words).requests;
    let none = weir.new_key(&["--model", "other-*"]);
    assert_eq!(batch(&none), 404);
    assert_eq!(weir.vendor().counter(words).requests, calls);
    weir.lives();
}

/// What would be told, and have to be paid, only when somebody fetches it later.
#[test]
fn background_responses_are_refused() {
    let mut setup = Setup::new("attacks-background");
    let words = "name=background";
    let model = setup.model(Dialect::OpenAi, words);
    let weir = setup.start();
    let mut table = Table::new();
    for (member, status) in [
        (r#""background":true"#, 400),
        (r#""backgroun\u0064":true"#, 400),
        (r#""background":false,"background":true"#, 400),
        (r#""background":false"#, 200),
        (r#""background":null"#, 200),
    ] {
        let before = weir.vendor().counter(words).requests;
        let answer = weir.call(&Call::Responses.request_with(&model, false, &format!(",{member}")));
        let calls = weir.vendor().counter(words).requests - before;
        table.case(member, same("(status, calls)", (answer.status, calls), (status, u64::from(status == 200))));
    }
    weir.lives();
    table.end();
}

/// Where a caller is, is told by the proxies that are trusted, the nearest first, on however many lines.
#[test]
fn only_trusted_proxies_tell_where_a_caller_is() {
    let mut table = Table::new();
    let cases: &[(&str, &[&str], &str)] = &[
        ("nothing", &[], "127.0.0.1"),
        ("one", &["198.51.100.7"], "198.51.100.7"),
        ("a caller's own word in front", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("through two of ours", &["203.0.113.9, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("a caller's own line", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("two lines of ours", &["203.0.113.9, 198.51.100.7", "10.9.9.9"], "198.51.100.7"),
        ("IPv6", &["2001:db8::7"], "2001:db8::7"),
        ("no address", &["198.51.100.7, unknown"], "127.0.0.1"),
        ("only ours", &["10.1.1.1, 10.9.9.9"], "10.1.1.1"),
    ];
    for trusted in [true, false] {
        let mut setup = Setup::new("attacks-forwarded");
        if trusted {
            setup.folder("[gateway]\ntrusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]");
        }
        let weir = setup.start();
        let mut asked = Vec::new();
        for (name, lines, expected) in cases {
            let request = Call::Chat.request("good-openai", false);
            let request = lines.iter().fold(request, |request, line| request.header("X-Forwarded-For", line));
            let answer = weir.call(&request);
            asked.push((name, answer.request_id(), if trusted { *expected } else { "127.0.0.1" }));
        }
        let log = weir.log();
        for (name, id, expected) in asked {
            let line = log.lines().find(|line| line.contains(&id)).unwrap_or_default();
            let there = line.contains(&format!("\"{expected}\""));
            table.case(format!("{name}, trusted={trusted}"), ensure(there, line));
        }
        weir.lives();
    }
    table.end();
}

/// Vendors are called through their proxy; what goes wrong there is the vendor's fault, in time, and told to nobody.
#[test]
fn vendors_behind_a_proxy() {
    let mut setup = Setup::new("attacks-proxy");
    let mut cases = Vec::new();
    for (name, answer, status) in [
        ("good", "HTTP/1.1 200 Connection Established\r\n\r\n", 200),
        ("with fields", "HTTP/1.0 200 OK\r\nVia: 1.1 proxy-secret\r\n\r\n", 200),
        ("refuses", "HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nproxy-secret", 502),
        ("asks for a password", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 502),
        ("says nothing", "", 504),
        ("is no proxy", "SSH-2.0-OpenSSH_9.2 proxy-secret\r\n\r\n", 502),
    ] {
        let (url, told) = proxy::start(answer);
        let lines = format!("proxy = \"{url}\"");
        let model = setup.add(
            Model::new(Dialect::OpenAi, &format!("name=proxied-{status},events=3"))
                .vendor(&lines)
                .times("connect = \"700ms\""),
        );
        cases.push((name, model, status, told));
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (name, model, status, told) in cases {
        for stream in [false, true] {
            let started = clock::now();
            let answer = weir.call(&Call::Chat.request(&model, stream));
            table.case(
                format!("{name} stream={stream}"),
                same("status", answer.status, status)
                    .and_then(|()| ensure(!answer.text().contains("proxy-secret"), answer.text()))
                    .and_then(|()| ensure(started.elapsed() < Duration::from_secs(7), "it took too long")),
            );
        }
        let asked = told.recv_timeout(PATIENCE).unwrap_or_default();
        let address = weir.vendor().addr.to_string();
        table.case(
            format!("{name}: asked"),
            ensure(asked.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), asked.clone())
                .and_then(|()| ensure(!asked.contains(SECRET) && !asked.contains(&weir.key), "it tells a secret")),
        );
    }
    weir.lives();
    table.end();
}

/// Videos are objects like any other: their ids open for their tenant only.
#[test]
fn videos_stay_with_their_tenant() {
    let mut setup = Setup::new("attacks-videos");
    setup.models.clear();
    let words = "name=videos";
    let model = setup.add(Model::new(Dialect::OpenAi, words));
    setup.add(Model::new(Dialect::OpenAi, "name=good,events=3").id("good-openai"));
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"other\"");
    let weir = setup.start();
    let other = weir.new_key(&["--tenant", "other"]);
    let mut table = Table::new();
    let create = Request::post("/v1/videos", format!(r#"{{"model":"{model}","prompt":"a fish"}}"#));
    let as_form = upload("/v1/videos", form(&[("model", &model), ("prompt", "a fish")], b"x"));
    for (name, request) in [("JSON", create), ("a form", as_form)] {
        let made = weir.call(&request);
        let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
        table.case(name, same("status", made.status, 200));
        table.case(format!("{name}: sealed"), ensure(id.starts_with("video_w1"), made.text()));
        for path in [format!("/v1/videos/{id}"), format!("/v1/videos/{id}/content")] {
            let (mine, theirs) = (weir.call(&Request::get(&path)), weir.call(&Request::get(&path).key(&other)));
            table.case(format!("{name}: {path}"), same("(mine, theirs)", (mine.status, theirs.status), (200, 404)));
        }
        let remix = Request::post(&format!("/v1/videos/{id}/remix"), r#"{"prompt":"two fish"}"#);
        let (theirs, mine) = (weir.call(&remix.clone().key(&other)), weir.call(&remix));
        table.case(format!("{name}: remix"), same("(mine, theirs)", (mine.status, theirs.status), (200, 404)));
        let raw = mine.text().split("\"video_").skip(1).filter(|rest| !rest.starts_with("w1")).count();
        table.case(format!("{name}: remix ids"), same("raw ids", raw, 0).map_err(|why| why + &mine.text()));
        let delete = Request::new("DELETE", &format!("/v1/videos/{id}"));
        let (theirs, mine) = (weir.call(&delete.clone().key(&other)), weir.call(&delete));
        table.case(format!("{name}: delete"), same("(mine, theirs)", (mine.status, theirs.status), (200, 404)));
    }
    weir.lives();
    table.end();
}

/// A route over models, in their order.
fn route(setup: &mut Setup, name: &str, models: &[&str]) {
    let listed: Vec<String> = models.iter().map(|model| format!("\"{model}\"")).collect();
    setup.folder(&format!("[[route]]\nname = \"{name}\"\n[route.to]\norder = [{}]", listed.join(", ")));
}

/// What a tenant's calls are bound to, and what is drained, holds for forms and objects as well.
#[test]
fn forms_and_objects_stay_where_they_are_allowed() {
    let mut setup = Setup::new("attacks-bound");
    let vendor = Model::new(Dialect::OpenAi, "name=us,events=2").id("whisper-1").vendor("regions = [\"us\"]");
    setup.add(vendor.model("kind = \"audio\""));
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"europe\"\nregions = [\"eu\"]");
    let weir = setup.start();
    let europe = weir.new_key(&["--tenant", "europe", "--name", "europe"]);
    let calls = |key: &str| {
        let form = |path: &str, fields: &[(&str, &str)]| {
            Request { body: form(fields, b"x"), ..Request::new("POST", path) }
                .header("Content-Type", "multipart/form-data; boundary=BOUND")
                .header("x-weir-vendor", "vendor-whisper-1")
                .key(key)
        };
        [
            form("/v1/audio/transcriptions", &[("model", "whisper-1")]),
            form("/v1/files", &[("purpose", "batch")]),
            Request::post("/v1/batches", "{\"endpoint\":\"/v1/chat/completions\"}")
                .header("x-weir-vendor", "vendor-whisper-1")
                .key(key),
        ]
        .map(|request| weir.call(&request))
    };
    for answer in calls(&europe) {
        assert_eq!((answer.status, answer.code().as_str()), (403, "no_eligible_vendor"), "{}", answer.text());
    }
    assert_eq!(weir.vendor().counter("name=us,events=2").requests, 0);
    assert!(calls(&weir.key)[..2].iter().all(|answer| answer.status == 200));
    weir.ctl(&["route", "drain", "vendor-whisper-1", "--wait", "--json"]);
    let before = weir.vendor().counter("name=us,events=2").requests;
    for answer in &calls(&weir.key)[..2] {
        assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_drained"), "{}", answer.text());
    }
    assert_eq!(weir.vendor().counter("name=us,events=2").requests, before);
    weir.lives();
}

/// Whatever callers do, or what a vendor says of their requests, trips nobody's vendor.
#[test]
fn no_caller_trips_a_vendor_for_the_others() {
    let mut setup = Setup::new("attacks-trip");
    let times = "first_byte = \"10s\"\nidle = \"1500ms\"\ntotal = \"30s\"";
    setup.add(Model::new(Dialect::OpenAi, "name=flood,events=4000,text=4000").id("flood").times(times));
    let slow = Model::new(Dialect::OpenAi, "name=slow,events=2,ttfb=700ms").id("slow").times(times);
    setup.add(slow.vendor("breaker = { first_event_max = \"300ms\" }"));
    let failed = r#"event: response.failed
data: {"type":"response.failed","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"failed","error":{"code":"invalid_prompt","message":"no"},"output":[]}}

"#;
    let blamed = says(&mut setup, Dialect::OpenAi, "text/event-stream", failed);
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n";
    let scolded = says(&mut setup, Dialect::Anthropic, "text/event-stream", error);
    // Larger than what the gateway takes.
    setup.add(Model::new(Dialect::OpenAi, "name=large,events=1000,text=1000").id("large"));
    setup.folder("[gateway.sizes]\nanswer_bytes_max = 300000");
    route(&mut setup, "further", &[&blamed, "good-openai"]);
    let weir = setup.start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // Reads nothing for longer than the vendor may be silent.
                let mut wire = weir.wire();
                wire.send(Call::Chat.request("flood", true).bytes(&weir.key));
                std::thread::sleep(Duration::from_millis(2_500));
            });
            scope.spawn(|| assert_eq!(weir.chat("slow").status, 200));
            scope.spawn(|| weir.call(&Call::Responses.request(&blamed, true)));
            scope.spawn(|| weir.call(&Call::Messages.request(&scolded, true)));
            scope.spawn(|| assert_eq!(weir.chat("large").status, 502));
        }
    });
    let status = weir.ask_admin("/status").json();
    let candidates = status["candidates"].as_array().expect("candidates");
    for candidate in candidates {
        assert_eq!(candidate["state"], "passing", "{candidate}");
        assert_eq!(candidate["harms"], serde_json::json!({}), "{candidate}");
    }
    assert_eq!(candidates.len(), 5, "{candidates:?}");
    // What is wrong with the request is told in the vendor's words, and nobody else is asked.
    let told = weir.call(&Call::Responses.request("further", true));
    assert!(told.text().contains("invalid_prompt"), "{}", told.text());
    assert_eq!(weir.record(&told.request_id()).attempts.len(), 1);
    weir.lives();
}

/// Somebody else is asked, however many credentials the first has, and gets time of its own.
#[test]
fn somebody_else_gets_a_call_and_time() {
    let mut setup = Setup::new("attacks-else");
    let four = [("a", "sk-a", ""), ("b", "sk-b", ""), ("c", "sk-c", ""), ("d", "sk-d", "")];
    setup.add(Model::new(Dialect::OpenAi, "name=busy,error=429").id("busy").credentials(&four));
    setup.add(Model::new(Dialect::OpenAi, "name=locked,error=401").id("locked").credentials(&four));
    let times = "first_byte = \"1s\"\nidle = \"1500ms\"\ntotal = \"8s\"";
    setup.add(Model::new(Dialect::OpenAi, "name=hangs,fault=stall@0").id("hangs").times(times));
    setup.add(Model::new(Dialect::OpenAi, "name=late,events=2,ttfb=100ms").id("late").times(times));
    for (name, first) in [("r-busy", "busy"), ("r-locked", "locked")] {
        route(&mut setup, name, &[first, "good-openai"]);
    }
    route(&mut setup, "r-hangs", &["hangs", "late"]);
    let weir = setup.start();
    for name in ["r-busy", "r-locked"] {
        for _ in 0..2 {
            assert_eq!(weir.chat(name).status, 200, "{name}");
            std::thread::sleep(Duration::from_millis(1_100));
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| weir.stream("r-hangs").finished(Call::Chat.grammar()).expect("the other answers"));
        }
    });
    let status = weir.ask_admin("/status").json();
    let late =
        status["candidates"].as_array().unwrap().iter().find(|one| one["model"] == "late").expect("it was asked");
    assert_eq!((&late["state"], &late["harms"]), (&"passing".into(), &serde_json::json!({})), "{late}");
    // The attempt that came to nothing says so.
    let record = weir.record(&weir.stream("r-hangs").request_id());
    let outcomes: Vec<_> = record.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Complete]);
    weir.lives();
}

/// One of several credentials that is drained carries nothing.
#[test]
fn a_drained_credential_carries_nothing() {
    let mut setup = Setup::new("attacks-credential");
    let two = [("a", "sk-aaaa", ""), ("b", "sk-bbbb", "")];
    setup.add(Model::new(Dialect::OpenAi, "name=two,events=2").id("two").credentials(&two));
    let weir = setup.start();
    weir.ctl(&["route", "drain", "vendor-two#b", "--wait", "--json"]);
    for _ in 0..6 {
        let answer = weir.chat("two");
        assert_eq!(answer.status, 200);
        assert_eq!(weir.record(&answer.request_id()).credential, "a");
    }
    weir.lives();
}

/// While the preamble is kept back, the caller hears that it is not forgotten.
#[test]
fn kept_back_is_not_silent() {
    let mut setup = Setup::new("attacks-silent");
    setup.folder("[gateway.times]\nheartbeat = \"400ms\"");
    setup.add(Model::new(Dialect::OpenAi, "name=mumbles,events=2,fault=comments=3000@0").id("mumbles"));
    route(&mut setup, "r", &["mumbles", "good-openai"]);
    let weir = setup.start();
    let mut wire = weir.wire();
    wire.send(Call::Chat.request("r", true).bytes(&weir.key));
    let started = clock::now();
    wire.until(b": ");
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    wire.until(b"data: [DONE]");
    weir.lives();
}

/// A rerank that claims more searches than its documents can be is not billed by its word.
#[test]
fn absurd_searches_are_not_billed() {
    let mut setup = Setup::new("attacks-searches");
    let body =
        r#"{"id":"r","results":[{"index":0,"relevance_score":0.5}],"meta":{"billed_units":{"search_units":1000000}}}"#;
    let vendor = Exact::start(|_| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    });
    let model = Model::new(Dialect::Cohere, "").id("ranks").base_url(&vendor.url().replace("/v1", ""));
    setup.add(model.model("kind = \"rerank\"").price("request = \"0.002\"\n"));
    let weir = setup.start();
    let request = Request::post("/v2/rerank", r#"{"model":"ranks","query":"a","documents":["b"]}"#);
    let answer = weir.call(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = weir.record(&answer.request_id());
    assert!(record.cost.0 <= 4_000_000, "{:?}", record.cost);
    assert!(record.flags & flag::USAGE_INVALID != 0);
    weir.lives();
}
