//! Objects with ids and forms: sealed on their way down, opened on their way up, nobody else's.

use std::time::Duration;

use serde_json::Value;
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Answer, Call, Dialect, Exact, Gateway, Model, Request, Setup, Table};

const WORDS: &str = "name=objects,events=3";

struct Desk {
    weir: Gateway,
    model: String,
    other: String,
}

impl Desk {
    /// Two credentials, so that an object has to find its way back to the right one.
    fn open(name: &str) -> Self {
        let mut setup = Setup::new(name);
        // Nothing else may keep objects: whose vendor comes first would be asked.
        setup.models.clear();
        let two: &[(&str, &str, &str)] = &[("one", "secret-one-0001", ""), ("two", "secret-two-0002", "")];
        let model = setup.add(Model::new(Dialect::OpenAi, WORDS).credentials(two));
        setup.add(Model::new(Dialect::OpenAi, "name=good,events=3").id("good-openai"));
        setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"other\"");
        setup.cores = 1;
        let weir = setup.start();
        let other = weir.new_key(&["--tenant", "other"]);
        Self { weir, model, other }
    }

    fn form(&self, fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend(
                format!("--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        body.extend(b"--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n--BOUND--\r\n");
        body
    }

    fn upload(&self, path: &str, body: Vec<u8>) -> Answer {
        let mut request = Request::new("POST", path).header("Content-Type", "multipart/form-data; boundary=BOUND");
        request.body = body;
        self.weir.call(&request)
    }

    fn get(&self, path: &str) -> Answer {
        self.weir.call(&Request::get(path))
    }
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_default().to_owned()
}

fn is_sealed(id: &str, prefix: &str) -> Result<(), String> {
    ensure(id.starts_with(&format!("{prefix}w1")), format!("{id} is not sealed"))
}

#[test]
fn files_and_batches() {
    let desk = Desk::open("objects-files");
    let mut table = Table::new();
    for round in 0..4 {
        let file = desk.upload("/v1/files", desk.form(&[("purpose", "batch")], b"{\"a\":1}\n"));
        let file_id = id(&file.json());
        table.case(
            format!("create {round}"),
            same("status", file.status, 200).and_then(|()| is_sealed(&file_id, "file-")),
        );
        let one = desk.get(&format!("/v1/files/{file_id}"));
        table.case(format!("get {round}"), same("(status, id)", (one.status, id(&one.json())), (200, file_id.clone())));
        table.case(
            format!("content {round}"),
            same("status", desk.get(&format!("/v1/files/{file_id}/content")).status, 200),
        );
        let batch = Request::post(
            "/v1/batches",
            format!(
                "{{\"input_file_id\":\"{file_id}\",\"endpoint\":\"/v1/chat/completions\",\"completion_window\":\"24h\"}}"
            ),
        );
        let batch = desk.weir.call(&batch);
        let sent = String::from_utf8_lossy(&desk.weir.vendor().last(WORDS).unwrap_or_default().body).into_owned();
        let batch_id = id(&batch.json());
        table.case(
            format!("batch {round}"),
            same("status", batch.status, 200)
                .and_then(|()| is_sealed(&batch_id, "batch_"))
                .and_then(|()| ensure(sent.contains("\"file-") && !sent.contains("file-w1"), sent)),
        );
        let got = desk.get(&format!("/v1/batches/{batch_id}"));
        table.case(
            format!("get batch {round}"),
            same("(status, id)", (got.status, id(&got.json())), (200, batch_id.clone())),
        );
        // Another tenant, and who guesses, finds nothing: the same nothing.
        let nothing = desk.get("/v1/files/file-w1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        for path in
            [format!("/v1/files/{file_id}"), format!("/v1/files/{file_id}/content"), format!("/v1/batches/{batch_id}")]
        {
            let stranger = desk.weir.call(&Request::get(&path).key(&desk.other));
            table.case(
                format!("another tenant {path}"),
                same("answer", (stranger.status, stranger.text()), (404, nothing.text())),
            );
        }
        let theirs = desk.weir.call(
            &Request::post("/v1/batches", format!("{{\"input_file_id\":\"{file_id}\",\"endpoint\":\"/v1/x\"}}"))
                .key(&desk.other),
        );
        table.case("another tenant's batch", same("status", theirs.status, 404));
        let cancelled = desk.weir.call(&Request::post(&format!("/v1/batches/{batch_id}/cancel"), "{}"));
        table.case("cancel", same("status", cancelled.status, 200));
        let deleted = desk.weir.call(&Request::new("DELETE", &format!("/v1/files/{file_id}")));
        table.case("delete", same("status", deleted.status, 200));
    }
    // Whatever is changed in an id does not open.
    let file_id = id(&desk.upload("/v1/files", desk.form(&[("purpose", "batch")], b"x")).json());
    let before = desk.weir.vendor().counter(WORDS).requests;
    for place in (0..file_id.len()).step_by(5) {
        let letter = if file_id.as_bytes()[place] == b'A' { "B" } else { "A" };
        let mut changed = file_id.clone();
        changed.replace_range(place..place + 1, letter);
        let answer = desk.get(&format!("/v1/files/{changed}"));
        let same_object = answer.status == 200 && place + 1 == file_id.len();
        table.case(
            format!("changed at {place}"),
            ensure(answer.status == 404 || same_object, format!("{}", answer.status)),
        );
    }
    table.case(
        "calls",
        ensure(desk.weir.vendor().counter(WORDS).requests <= before + 1, "a changed id reached the vendor"),
    );
    // The vendor's own ids open nothing either.
    table.case("a plain id", same("status", desk.get("/v1/files/file-abc123").status, 404));
    desk.weir.lives();
    table.end();
}

#[test]
fn responses_stay_with_their_credential() {
    let desk = Desk::open("objects-responses");
    let mut table = Table::new();
    for stream in [false, true] {
        for round in 0..4 {
            let name = format!("stream={stream} {round}");
            let answer = desk.weir.call(&Call::Responses.request(&desk.model, stream));
            let response = if stream {
                answer.finished(Call::Responses.grammar()).map(|reading| reading.id.unwrap_or_default())
            } else {
                Ok(id(&answer.json()))
            };
            let response = match response {
                Ok(response) => response,
                Err(why) => {
                    table.case(name, Err(why));
                    continue;
                }
            };
            table.case(&name, is_sealed(&response, "resp_"));
            table.case(
                format!("{name} get"),
                same("status", desk.get(&format!("/v1/responses/{response}")).status, 200),
            );
            let more = format!(",\"previous_response_id\":\"{response}\"");
            let next = desk.weir.call(&Call::Responses.request_with(&desk.model, stream, &more));
            let sent = String::from_utf8_lossy(&desk.weir.vendor().last(WORDS).unwrap_or_default().body).into_owned();
            table.case(
                format!("{name} next"),
                same("status", next.status, 200)
                    .and_then(|()| ensure(!sent.contains("resp_w1") && sent.contains("resp_"), sent)),
            );
            let stranger = desk.weir.call(&Call::Responses.request_with(&desk.model, stream, &more).key(&desk.other));
            table.case(format!("{name} stranger"), same("status", stranger.status, 404));
            let stranger = desk.weir.call(&Request::get(&format!("/v1/responses/{response}")).key(&desk.other));
            table.case(format!("{name} stranger gets"), same("status", stranger.status, 404));
            let gone = desk.weir.call(&Request::new("DELETE", &format!("/v1/responses/{response}")));
            table.case(format!("{name} delete"), same("status", gone.status, 200));
        }
    }
    let unknown = ",\"previous_response_id\":\"resp_of_somebody_else\"";
    let answer = desk.weir.call(&Call::Responses.request_with(&desk.model, false, unknown));
    table.case("a plain id", ensure(matches!(answer.status, 400 | 404), format!("{}", answer.status)));
    desk.weir.lives();
    table.end();
}

/// The model in a form is found and replaced; every other byte is the caller's.
#[test]
fn forms_pass_untouched() {
    let desk = Desk::open("objects-forms");
    let noise: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let tricky = b"--BOUN\r\nx--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nnot-this\r\n".to_vec();
    let mut table = Table::new();
    for (name, path, file) in [
        ("small", "/v1/audio/transcriptions", b"RIFF....".to_vec()),
        ("large", "/v1/audio/transcriptions", noise.clone()),
        ("image", "/v1/images/edits", noise[..100_000].to_vec()),
        ("empty", "/v1/audio/translations", Vec::new()),
        ("tricky", "/v1/audio/transcriptions", tricky),
    ] {
        for chunked in [false, true] {
            let body = desk.form(&[("model", &desk.model), ("language", "en"), ("prompt", "model")], &file);
            let answer = if chunked {
                let mut wire = desk.weir.wire();
                wire.send(format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=BOUND\r\nTransfer-Encoding: chunked\r\n\r\n",
                    desk.weir.key
                ));
                for piece in body.chunks(77_777) {
                    wire.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
                wire.send("0\r\n\r\n");
                wire.answer()
            } else {
                desk.upload(path, body)
            };
            let expected = desk.form(&[("model", "upstream-model"), ("language", "en"), ("prompt", "model")], &file);
            let sent = desk.weir.vendor().last(WORDS).unwrap_or_default().body;
            table.case(
                format!("{name} chunked={chunked}"),
                same("status", answer.status, 200).map_err(|why| format!("{why}: {}", answer.text())).and_then(|()| {
                    ensure(sent == expected, format!("the form differs: {} bytes, not {}", sent.len(), expected.len()))
                }),
            );
        }
    }
    // The same connection serves on after a form.
    let mut wire = desk.weir.wire();
    for _ in 0..3 {
        let body = desk.form(&[("model", &desk.model)], b"abc");
        wire.send(format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=\"BOUND\"\r\nContent-Length: {}\r\n\r\n",
            desk.weir.key,
            body.len()
        ));
        wire.send(body);
        table.case("kept alive", same("status", wire.answer().status, 200));
    }
    let records = desk.weir.records();
    table.case("records", ensure(records.iter().all(|record| record.status == 200), "a record without an answer"));
    desk.weir.lives();
    table.end();
}

/// However late the model comes, the form waits for it, and leaves nothing behind.
#[test]
fn a_model_behind_its_file_is_found() {
    let mut setup = Setup::new("objects-late-model");
    setup.folder("[gateway.sizes]\nforwarded_bytes_max = 20000000");
    let model = setup.model(Dialect::OpenAi, WORDS);
    let weir = setup.start();
    let noise: Vec<u8> = (0..15_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let form = |file: &[u8], model: &str| {
        let head = b"--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        let field = |name: &str, value: &str| {
            format!("\r\n--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}")
        };
        let tail = field("language", "en") + &field("model", model) + &field("prompt", "x") + "\r\n--BOUND--\r\n";
        [head, file, tail.as_bytes()].concat()
    };
    let mut table = Table::new();
    for (size, status) in [(0, 200), (3_000_000, 200), (4_194_304, 200), (4_300_000, 200), (15_000_000, 200)] {
        for chunked in [false, true] {
            let body = form(&noise[..size], &model);
            let framing =
                if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {}", body.len()) };
            let mut wire = weir.wire();
            wire.send(format!(
                "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=BOUND\r\n{framing}\r\n\r\n",
                weir.key
            ));
            if chunked {
                for piece in body.chunks(99_991) {
                    wire.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
                wire.send("0\r\n\r\n");
            } else {
                wire.send(&body);
            }
            let answer = wire.answer();
            let sent = weir.vendor().last(WORDS).unwrap_or_default().body;
            table.case(
                format!("{size} chunked={chunked}"),
                same("status", answer.status, status)
                    .map_err(|why| format!("{why}: {}", answer.text()))
                    .and_then(|()| ensure(sent == form(&noise[..size], "upstream-model"), "the form differs")),
            );
            // The connection serves on.
            wire.send(Call::Chat.request("good-openai", false).bytes(&weir.key));
            table.case(format!("{size} chunked={chunked}: kept"), same("status", wire.answer().status, 200));
        }
    }
    // Without one at all, and beyond what a form may have.
    let mut request =
        Request::new("POST", "/v1/audio/transcriptions").header("Content-Type", "multipart/form-data; boundary=BOUND");
    request.body = form(&noise[..6_000_000], &model);
    let at = memchr::memmem::rfind(&request.body, b"\"model\"").expect("it is there");
    request.body[at + 1] = b'n';
    table.case("none", same("status", weir.call(&request).status, 400));
    let mut wire = weir.wire();
    wire.send(format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=BOUND\r\nTransfer-Encoding: chunked\r\n\r\n",
        weir.key
    ));
    let long = [&form(&noise, "x")[..10_000_000], &noise].concat();
    for piece in long.chunks(99_991) {
        if !wire.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()) {
            break;
        }
    }
    table.case("too long", ensure(matches!(wire.answer().status, 0 | 413), "it is taken"));
    // Who leaves in the middle leaves no file.
    for _ in 0..5 {
        let mut wire = weir.wire();
        wire.send(format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=BOUND\r\nContent-Length: 15000000\r\n\r\n",
            weir.key
        ));
        wire.send(&form(&noise[..6_000_000], "x")[..6_000_000]);
    }
    let open = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", weir.pid())).into_iter().flatten().flatten();
        all.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("/spool/")))
            .count()
    };
    table.case("files", ensure(weir_tests::gateway::eventually(|| open() == 0), "files stay open"));
    let left = std::fs::read_dir(weir.state().join("spool")).map_or(0, Iterator::count);
    table.case("names", same("files in the spool", left, 0));
    let free = || weir.metric("weir_memory_held_bytes") == 0;
    table.case("memory", ensure(weir_tests::gateway::eventually(free), "memory is still held"));
    weir.lives();
    table.end();
}

/// A form that is still here whole is said again with the next credential.
#[test]
fn the_next_credential_for_a_form() {
    let mut setup = Setup::new("objects-form-credentials");
    setup.models.clear();
    setup.cores = 1;
    let two: &[(&str, &str, &str)] = &[("bad", "secret-first-bad", ""), ("good", "secret-second-good", "")];
    let mut cases = Vec::new();
    for (number, status) in [401, 403, 429].into_iter().enumerate() {
        let words = format!("name=forms-{number},error={status},error_for=bad,events=3");
        cases.push((status, setup.add(Model::new(Dialect::OpenAi, &words).credentials(two)), words));
    }
    setup.add(Model::new(Dialect::OpenAi, "name=good,events=3").id("good-openai"));
    let weir = setup.start();
    let mut table = Table::new();
    for (status, model, words) in &cases {
        for (name, size, first) in [("small", 1_000, true), ("large, the model last", 6_000_000, false)] {
            for round in 0..3 {
                let file = vec![b'x'; size];
                let field = format!("--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
                let part = [
                    b"--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
                    &file[..],
                    b"\r\n",
                ]
                .concat();
                let (one, other) = if first { (field.into_bytes(), part) } else { (part, field.into_bytes()) };
                let mut request = Request::new("POST", "/v1/audio/transcriptions")
                    .header("Content-Type", "multipart/form-data; boundary=BOUND");
                request.body = [&one[..], &other, b"--BOUND--\r\n"].concat();
                let answer = weir.call(&request);
                let sent = weir.vendor().last(words).unwrap_or_default().body.len();
                table.case(
                    format!("{status} {name} {round}"),
                    same("status", answer.status, 200)
                        .map_err(|why| why + &answer.text())
                        .and_then(|()| same("bytes", sent, request.body.len() + "upstream-model".len() - model.len())),
                );
                let attempts = weir.record(&answer.request_id()).attempts.len();
                table.case(
                    format!("{status} {name} {round}: attempts"),
                    ensure((1..=2).contains(&attempts), format!("{attempts}")),
                );
            }
        }
    }
    let records = weir.records();
    for (status, model, _) in &cases {
        let twice = records.iter().filter(|record| record.model == *model && record.attempts.len() == 2).count();
        table.case(format!("{status}: the other was asked first"), ensure(twice > 0, "never"));
    }
    weir.lives();
    table.end();
}

/// A route leads a form to its candidates, and a vendor that fails leaves it to the next: as the form was, but for the model.
#[test]
fn the_next_candidate_for_a_form() {
    let mut setup = Setup::new("objects-form-candidates");
    setup.folder(weir_tests::NO_BREAKER);
    let faults = ["error=503", "error=429", "fault=reset@0", "events=1"];
    for (place, words) in faults.iter().enumerate() {
        setup.add(Model::new(Dialect::OpenAi, &format!("name=ill-{place},{words}")).id(&format!("ill-{place}")));
        let to = format!("[[route]]\nname = \"hear-{place}\"\nto.order = [\"claude\", \"ill-{place}\", \"well\"]\n");
        setup.folder(&to);
    }
    setup.add(Model::new(Dialect::OpenAi, "name=well,events=3").id("well"));
    // Another language has no word for sound.
    setup.add(Model::new(Dialect::Anthropic, "name=claude,events=3").id("claude"));
    let weir = setup.start();
    let form = |model: &str| {
        let field = format!("--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
        let part = "--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\u{7f}\"model\":\r\n--BOUND--\r\n";
        (field + part).into_bytes()
    };
    let mut table = Table::new();
    for (place, words) in faults.iter().enumerate() {
        let name = format!("hear-{place}");
        let mut request = Request::new("POST", "/v1/audio/transcriptions")
            .header("Content-Type", "multipart/form-data; boundary=BOUND");
        request.body = form(&name);
        let answer = weir.call(&request);
        let outcome = || {
            same("status", answer.status, 200).map_err(|why| why + &answer.text())?;
            let record = weir.record(&answer.request_id());
            let (model, calls) = if *words == "events=1" { ("ill-3", 1) } else { ("well", 2) };
            same("model", (record.model, record.attempts.len()), (model, calls))?;
            let asked = if calls == 1 { format!("name=ill-{place},{words}") } else { "name=well,events=3".to_owned() };
            let sent = weir.vendor().last(&asked).ok_or("nobody was asked")?.body;
            ensure(sent == form("upstream-model"), String::from_utf8_lossy(&sent))?;
            let told = weir.ctl(&["explain", &answer.request_id(), "--json"]);
            same("candidates", told["choice"]["candidates"].as_array().map(Vec::len), Some(3))
        };
        table.case(*words, outcome());
    }
    let mut request =
        Request::new("POST", "/v1/audio/transcriptions").header("Content-Type", "multipart/form-data; boundary=BOUND");
    request.body = form("nobody");
    table.case("nobody", same("status", weir.call(&request).status, 404));
    weir.lives();
    table.end();
}

#[test]
fn forms_that_are_none() {
    let desk = Desk::open("objects-bad-forms");
    let before = desk.weir.vendor().counter(WORDS).requests;
    let mut table = Table::new();
    let path = "/v1/audio/transcriptions";
    let cases = [
        ("no model", desk.form(&[("language", "en")], b"x"), 400),
        ("an unknown model", desk.form(&[("model", "nobody")], b"x"), 404),
        ("an empty model", desk.form(&[("model", "")], b"x"), 404),
        ("not a form", b"hello".to_vec(), 400),
        ("cut", b"--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n".to_vec(), 400),
    ];
    for (name, body, status) in cases {
        table.case(name, same("status", desk.upload(path, body).status, status));
    }
    let mut request = Request::new("POST", path).header("Content-Type", "multipart/form-data");
    request.body = desk.form(&[("model", &desk.model)], b"x");
    table.case("no boundary", same("status", desk.weir.call(&request).status, 400));
    table.case("no calls", same("calls", desk.weir.vendor().counter(WORDS).requests - before, 0));
    desk.weir.lives();
    table.end();
}

/// The model that is asked for is the model that the vendor reads, however the form is written.
#[test]
fn forms_that_two_readers_could_read_differently() {
    let desk = Desk::open("objects-two-readers");
    let key = desk.weir.new_key(&["--model", &desk.model]);
    let before = desk.weir.vendor().counter(WORDS).requests;
    let field =
        |name: &str, value: &str| format!("--BOUND\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n");
    let good = field("name=\"model\"", &desk.model);
    let bad = field("name=\"model\"", "forbidden");
    let one = "multipart/form-data; boundary=BOUND";
    let mut table = Table::new();
    for (name, types, body) in [
        ("twice", vec![one], format!("{good}{bad}--BOUND--\r\n")),
        ("twice, the other first", vec![one], format!("{bad}{good}--BOUND--\r\n")),
        ("a delimiter within a line", vec![one], format!("x{good}{bad}--BOUND--\r\n")),
        ("a part before the form", vec![one], format!("x\r\n{good}{bad}--BOUND--\r\n")),
        (
            "a boundary within a parameter",
            vec!["multipart/form-data; xboundary=BOUND; boundary=OTHER"],
            format!("{good}--BOUND--\r\n{}--OTHER--\r\n", bad.replace("BOUND", "OTHER")),
        ),
        (
            "two boundaries",
            vec!["multipart/form-data; boundary=BOUND; boundary=OTHER"],
            format!("{good}--BOUND--\r\n{}--OTHER--\r\n", bad.replace("BOUND", "OTHER")),
        ),
        (
            "two content types",
            vec![one, "multipart/form-data; boundary=OTHER"],
            format!("{good}--BOUND--\r\n{}--OTHER--\r\n", bad.replace("BOUND", "OTHER")),
        ),
        ("a name in capitals", vec![one], format!("{}{good}--BOUND--\r\n", field("Name=\"model\"", "forbidden"))),
    ] {
        let mut request = Request::new("POST", "/v1/audio/transcriptions").key(&key);
        for value in types {
            request = request.header("Content-Type", value);
        }
        request.body = body.into_bytes();
        let answer = desk.weir.call(&request);
        table.case(name, ensure(matches!(answer.status, 400 | 404), format!("{} {}", answer.status, answer.text())));
    }
    // A form may have begun to pass when it turns out to be none; it never passes whole.
    let sent = desk.weir.vendor().last(WORDS).unwrap_or_default().body;
    let sent = String::from_utf8_lossy(&sent).into_owned();
    let calls = desk.weir.vendor().counter(WORDS).requests - before;
    table.case("what the vendor read", ensure(calls == 0 || !sent.contains("forbidden"), sent));
    desk.weir.lives();
    table.end();
}

/// A vendor's own id opens nothing, wherever it stands and however its name is written.
#[test]
fn plain_ids_open_nothing() {
    let desk = Desk::open("objects-plain-ids");
    let before = desk.weir.vendor().counter(WORDS).requests;
    let mut table = Table::new();
    for member in [
        r#""previous_response_id":"resp_raw""#,
        r#""previous_response\u005fid":"resp_raw""#,
        r#""x":{"file_id":"file-raw"}"#,
        r#""x":{"file\u005fid":"file-raw"}"#,
        r#""tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-raw"]}}]"#,
        r#""tools":[{"type":"file_search","vector_store_ids":["vs_raw"]}]"#,
        r#""tools":[{"type":"file_search","vector_store\u005fids":["x","vs_raw"]}]"#,
        r#""conversation":"conv_raw""#,
        r#""conversatio\u006e":"conv_raw""#,
        r#""conversation":{"id":"conv_raw"}"#,
        r#""conversation":{"x":1,"i\u0064":"conv_raw"}"#,
    ] {
        let answer = desk.weir.call(&Call::Responses.request_with(&desk.model, false, &format!(",{member}")));
        table.case(member, ensure(matches!(answer.status, 400 | 404), format!("{} {}", answer.status, answer.text())));
    }
    table.case("calls", same("calls", desk.weir.vendor().counter(WORDS).requests - before, 0));
    // What names nothing passes, and so does a word of a caller's own.
    for (name, request) in [
        ("no conversation", Call::Responses.request_with(&desk.model, false, r#","conversation":null"#)),
        ("metadata", Call::Chat.request_with(&desk.model, false, r#","metadata":{"conversation":"conv_mine"}"#)),
    ] {
        table.case(name, same("status", desk.weir.call(&request).status, 200));
    }
    // An id of one's own within a part that is replaced itself.
    let own = id(&desk.weir.call(&Call::Responses.request(&desk.model, false)).json());
    let within = format!(r#","stream_options":{{"include_usage":{{"id":"{own}"}}}}"#);
    let answer = desk.weir.call(&Call::Chat.request_with(&desk.model, true, &within));
    table.case("an id within what is replaced", ensure(answer.status != 0, format!("{:?}", answer.broken)));
    desk.weir.lives();
    table.end();
}

/// What a vendor names is sealed wherever it stands, also in arrays and in events of several data lines, and opens again.
#[test]
fn every_id_is_sealed() {
    let mut setup = Setup::new("objects-every-id");
    let document = r#"{"id":"resp_raw1","object":"response","status":"completed","previous_response_id":"resp_raw2","conversation":{"id":"conv_raw3"},"tools":[{"type":"file_search","vector_store_ids":["vs_raw4","vs_raw5"]},{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-raw6"]}}],"output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[{"type":"file_citation","file_id":"file-raw7"}]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;
    let vendor = Exact::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{document}", document.len()).into_bytes()
    });
    let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
    let words = "name=multiline,events=3,style=multiline";
    let lines = setup.model(Dialect::OpenAi, words);
    let weir = setup.start();
    let mut table = Table::new();
    let answer = weir.call(&Call::Responses.request(&model, false));
    table.case("raw ids", ensure(answer.status == 200 && !answer.text().contains("_raw"), answer.text()));
    table.case("raw files", ensure(!answer.text().contains("file-raw"), answer.text()));
    let said = answer.json();
    // Everything that was told can be said again.
    for member in [
        format!("\"previous_response_id\":{}", said["id"]),
        format!("\"conversation\":{}", said["conversation"]["id"]),
        format!("\"conversation\":{}", said["conversation"]),
        format!("\"tools\":{}", said["tools"]),
    ] {
        let answer = weir.call(&Call::Responses.request_with(&model, false, &format!(",{member}")));
        table.case(&member, same("status", answer.status, 200));
    }
    let stream = weir.call(&Call::Responses.request(&lines, true));
    let reading = stream.finished(Call::Responses.grammar());
    table.case("several data lines", reading.and_then(|reading| is_sealed(&reading.id.unwrap_or_default(), "resp_")));
    let raw = stream.text().split("\"resp_").skip(1).filter(|rest| !rest.starts_with("w1")).count();
    table.case("several data lines, raw", same("ids", raw, 0).map_err(|why| format!("{why} {}", stream.tail())));
    weir.lives();
    table.end();
}

/// Some servers do not read the body of a GET or DELETE, and take it for the next request: none is sent on.
#[test]
fn bodies_where_none_belong() {
    let desk = Desk::open("objects-bodies");
    let file = id(&desk.upload("/v1/files", desk.form(&[("purpose", "batch")], b"x")).json());
    let before = desk.weir.vendor().counter(WORDS).requests;
    let mut table = Table::new();
    for method in ["GET", "DELETE"] {
        for (kind, body) in [
            ("application/json", b"{}".to_vec()),
            ("text/plain", b"GET /v1/models HTTP/1.1\r\n\r\n".to_vec()),
            ("multipart/form-data; boundary=BOUND", desk.form(&[], b"x")),
        ] {
            let mut request = Request::new(method, &format!("/v1/files/{file}")).header("Content-Type", kind);
            request.body = body;
            table.case(format!("{method} {kind}"), same("status", desk.weir.call(&request).status, 400));
        }
    }
    table.case("calls", same("calls", desk.weir.vendor().counter(WORDS).requests - before, 0));
    table.case("without one", same("status", desk.get(&format!("/v1/files/{file}")).status, 200));
    desk.weir.lives();
    table.end();
}

/// A vendor's list names everybody's objects, and nobody here remembers whose is whose: it is refused, and says why.
#[test]
fn lists_are_not_served() {
    let desk = Desk::open("objects-lists");
    let before = desk.weir.vendor().counter(WORDS).requests;
    let mut table = Table::new();
    for path in ["/v1/files", "/v1/batches", "/v1/videos", "/files?limit=5", "/v1/files/"] {
        let answer = desk.get(path);
        table.case(
            path,
            same("answer", (answer.status, answer.code()), (501, "not_implemented".into()))
                .and_then(|()| ensure(answer.text().contains("keep the ids"), answer.text())),
        );
    }
    for (method, path, status) in
        [("DELETE", "/v1/files", 405), ("GET", "/v1/responses", 501), ("GET", "/v1/audio/speech", 405)]
    {
        let answer = desk.weir.call(&Request::new(method, path));
        table.case(format!("{method} {path}"), same("status", answer.status, status));
    }
    table.case("calls", same("calls", desk.weir.vendor().counter(WORDS).requests - before, 0));
    desk.weir.lives();
    table.end();
}

/// What a caller still sends of a form that was answered already is nobody's request.
#[test]
fn a_form_that_is_answered_early() {
    let mut setup = Setup::new("objects-early-form");
    let vendor = Exact::start_and_close(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"text\":\"hi\"}".to_vec()
    });
    let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
    let weir = setup.start();
    let begun = format!(
        "--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
    );
    let mut wire = weir.wire();
    wire.send(format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=BOUND\r\nContent-Length: 5000000\r\n\r\n{begun}",
        weir.key
    ));
    std::thread::sleep(Duration::from_millis(300));
    wire.send("a".repeat(200_000));
    std::thread::sleep(Duration::from_millis(300));
    wire.send(format!("GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", weir.key));
    wire.half_close();
    let said = String::from_utf8_lossy(&wire.rest(PATIENCE).expect("it closes")).into_owned();
    assert!(said.matches("HTTP/1.1 ").count() <= 1, "{said}");
    weir.lives();
}
