//! The process: how it starts, follows its store, drains, and bears a machine that gives it too little.

use std::time::Duration;

use weir::sync::OwnCopy;
use weir_shared::ledger::Outcome;
use weir_tests::gateway::{self, Gateway, eventually, within};
use weir_tests::model::SECRET;
use weir_tests::{Call, Dialect, Model, Request, Setup, Shim, Wire, clock, process};

#[test]
fn the_driver_is_told() {
    let setup = Setup::new("process-driver");
    let weir = setup.start();
    match std::env::var("WEIR_DRIVER").as_deref() {
        Ok("epoll") => assert_eq!(weir.driver, "epoll"),
        Ok("uring") => assert!(weir.driver.starts_with("io_uring"), "{}", weir.driver),
        _ => assert!(!weir.driver.is_empty()),
    }
    assert_eq!(weir.metric(&format!("weir_driver{{name=\"{}\"}}", weir.driver)), 1);
    assert!(weir.ask_admin("/status").text().contains(&weir.driver));
    weir.lives();
}

/// Where io_uring is denied, epoll serves.
#[test]
fn without_io_uring_it_serves_all_the_same() {
    let mut setup = Setup::new("process-memlock");
    setup.before = "ulimit -l 0 2>/dev/null; ".into();
    let weir = setup.start();
    weir.stream("good-openai").finished(Call::Chat.grammar()).expect("a legal stream");
    weir.lives();
}

#[test]
fn the_admin_pages() {
    let weir = Setup::new("process-admin").start();
    weir.chat("good-openai");
    for (path, status) in
        [("/live", 200), ("/ready", 200), ("/status", 200), ("/metrics", 200), ("/", 404), ("/v1/models", 404)]
    {
        assert_eq!(weir.ask_admin(path).status, status, "{path}");
    }
    let ready = weir.ask_admin("/ready").json();
    assert_eq!((&ready["ready"], &ready["stale"]), (&true.into(), &false.into()));
    // Every family has a help line and a type; no label comes from a request.
    weir.call(&Call::Chat.request("model-of-my-own-invention", false));
    weir.call(&Request::get("/v1/path-of-my-own-invention"));
    let metrics = weir.metrics();
    assert!(!metrics.contains("invention"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(
            metrics.contains(&format!("# TYPE {family} ")) || metrics.contains(&format!("# TYPE {name} ")),
            "{name} has no type"
        );
        assert!(line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()), "{line}");
    }
    weir.lives();
}

fn open_streams(weir: &Gateway, model: &str, count: usize) -> Vec<Wire> {
    (0..count)
        .map(|_| {
            let mut wire = weir.wire();
            wire.send(Call::Chat.request(model, true).bytes(&weir.key));
            wire.until(b"data: ");
            wire
        })
        .collect()
}

/// A panic ends the request that it happens in, and nothing else: what runs beside it runs on, what it held comes back,
/// and it is recorded.
#[test]
fn a_panic_stays_in_its_request() {
    let mut setup = Setup::new("process-panic");
    setup.cores = 1;
    let slow = setup.model(Dialect::OpenAi, "events=40,pace=100ms");
    let shim = Shim::install(&mut setup);
    let weir = setup.start();
    let key = weir.new_key(&["--rpm", "10000", "--concurrent", "2"]);
    let mut beside = weir.wire();
    beside.send(Call::Chat.request(&slow, true).bytes(&weir.key));
    beside.until(b"data: ");
    let mut calls = 0;
    for panics in 1..=6 {
        let stream = panics % 2 == 0;
        shim.panics(1);
        // The one look at the wall clock in this call says when the limit is full again: in the answer's head.
        while shim.panics_left() > 0 {
            let mut wire = weir.wire();
            wire.send(Call::Messages.request("good-anthropic", stream).key(&key).bytes(""));
            let answer = wire.answer();
            calls += 1;
            let broke = shim.panics_left() == 0;
            assert!(calls < 500, "it never looks");
            assert_eq!(answer.status, if broke { 0 } else { 200 }, "{}", answer.text());
        }
        assert!(eventually(|| weir.metric("weir_panics_total") == panics), "{}", weir.stderr());
    }
    // Both places are free.
    let served = |_| weir.call(&Call::Messages.request("good-anthropic", false).key(&key)).status == 200;
    assert!((0..4).all(served));
    assert_eq!(weir.vendor().counter("name=good,events=3").requests, calls + 4);
    assert!(String::from_utf8_lossy(&beside.until(b"data: [DONE]")).contains("data: "));
    let records = weir.records();
    let of_key: Vec<_> = records.iter().filter(|record| record.key.as_str() == &key[5..13]).collect();
    assert_eq!(of_key.len() as u64, calls + 4, "each call has its record");
    let cancelled = of_key.iter().filter(|record| record.outcome == Outcome::Cancelled).count();
    assert_eq!(cancelled, 6, "and a panic's says that it was cut");
    weir.settle();
    assert_eq!(weir.metric("weir_memory_held_bytes"), 0);
}

/// Who holds the admin port open without a word makes room for who asks.
#[test]
fn idle_connections_do_not_hold_the_admin_port() {
    let weir = Setup::new("process-admin-idle").start();
    let idle: Vec<_> = (0..200).map(|_| weir_tests::Wire::open(weir.admin)).collect();
    for _ in 0..20 {
        for path in ["/live", "/ready", "/metrics"] {
            let answer = weir.ask_admin(path);
            assert_eq!((answer.status, answer.broken), (200, None), "{path}");
        }
    }
    drop(idle);
    weir.lives();
}

#[test]
fn sigterm_drains() {
    let mut setup = Setup::new("process-drain");
    let model = setup.model(Dialect::OpenAi, "events=40,pace=50ms");
    let mut weir = setup.start();
    let mut streams = open_streams(&weir, &model, 20);
    let mut idle = weir.wire();
    idle.send(Call::Chat.request("good-openai", false).bytes(&weir.key));
    assert_eq!(idle.answer().status, 200);
    weir.terminate();
    assert!(idle.closes_within(Duration::from_secs(5)), "an idle connection stays");
    assert!(eventually(|| std::net::TcpStream::connect(weir.data).is_err()), "it still accepts");
    for wire in &mut streams {
        let rest = wire.rest(Duration::from_secs(20)).expect("it ends");
        assert!(String::from_utf8_lossy(&rest).contains("data: [DONE]"));
    }
    assert_eq!(weir.wait_exit(Duration::from_secs(20)), Some(0));
}

/// What has not ended when the time is over is told so, in its own dialect.
#[test]
fn a_drain_has_an_end() {
    let mut setup = Setup::new("process-drain-end");
    setup.folder("[gateway.times]\ndrain = \"1s\"");
    let models: Vec<_> =
        Call::ALL.iter().map(|call| (*call, setup.model(call.dialect(), "events=2000,pace=20ms"))).collect();
    let silent = setup.model(Dialect::OpenAi, "events=5,fault=stall@2");
    let mut weir = setup.start();
    let mut wires: Vec<_> = models
        .iter()
        .map(|(call, model)| (*call, call.request(model, true)))
        .chain([(Call::Chat, Call::Chat.request(&silent, true))])
        .map(|(call, request)| {
            let mut wire = weir.wire();
            wire.send(request.bytes(&weir.key));
            (call, wire)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let started = clock::now();
    weir.terminate();
    for (call, wire) in &mut wires {
        let answer = wire.answer();
        let reading = answer.read(call.grammar()).unwrap_or_else(|why| panic!("{call:?}: {why}"));
        assert!(matches!(reading.end, weirbench::grammar::End::Error { .. }), "{call:?}: {:?}", reading.end);
        if *call != Call::Messages {
            assert!(answer.text().contains("server_shutdown"), "{call:?}: {}", answer.tail());
        }
    }
    assert!(weir.wait_exit(Duration::from_secs(20)).is_some(), "it does not end");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let records = weir_tests::journal::records(&weir.state().join("journal"));
    assert_eq!(records.len(), wires.len());
}

/// Twenty revisions during traffic: nothing fails, nothing is cut.
#[test]
fn a_reload_disturbs_nobody() {
    let mut setup = Setup::new("process-reload");
    let model = setup.model(Dialect::OpenAi, "events=100,pace=50ms");
    let mut weir = setup.start();
    let mut streams = open_streams(&weir, &model, 10);
    for round in 0..20 {
        weir.setup.models[0].price = format!("input = \"1.{round:02}\"\noutput = \"2\"\n");
        weir.apply();
        for _ in 0..20 {
            assert_eq!(weir.chat("good-openai").status, 200);
        }
    }
    for wire in &mut streams {
        wire.until(b"data: [DONE]");
    }
    weir.lives();
}

/// A revision that cannot be obeyed is refused by the CLI, and nothing changes.
#[test]
fn a_faulty_folder_changes_nothing() {
    let weir = Setup::new("process-faulty").start();
    let folder = weir.setup.scratch.join("weir.d/weir.toml");
    let good = std::fs::read_to_string(&folder).expect("a folder");
    for bad in [
        "[[model]]\nvendor = \"nobody\"\nid = \"x\"\nfree = true\n",
        "[gateway\n",
        "[gateway.times]\nidle = \"soon\"\n",
    ] {
        std::fs::write(&folder, format!("{good}\n{bad}")).expect("writable");
        let (code, said) = gateway::try_ctl(&weir.setup, &["apply", "--wait", "--json"]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("weir.toml"), "{said}");
        weir.lives();
    }
}

/// A vendor that is taken away is gone for new requests; what runs, runs on.
#[test]
fn a_model_comes_and_goes() {
    let mut setup = Setup::new("process-models");
    let model = setup.model(Dialect::OpenAi, "events=30,pace=50ms");
    let mut weir = setup.start();
    let mut open = open_streams(&weir, &model, 3);
    let gone = weir.setup.models.pop().expect("a model");
    weir.apply();
    assert_eq!(weir.chat(&model).status, 404);
    weir.setup.models.push(gone);
    weir.apply();
    assert_eq!(weir.call(&Request::get(&format!("/v1/models/{model}"))).status, 200);
    for wire in &mut open {
        assert!(String::from_utf8_lossy(&wire.until(b"[DONE]")).contains("data: "));
    }
    weir.lives();
}

/// Without its store it boots from the last good revision, and says how it is.
#[test]
fn it_boots_without_its_store() {
    let mut weir = Setup::new("process-no-store").start();
    weir.lives();
    // It serves first and keeps its own copy then.
    assert!(eventually(|| OwnCopy::open(&weir.state().join("snapshot")).is_ok_and(|copy| copy.pointer().is_some())));
    weir.kill();
    let store = weir.state().join("store");
    let aside = weir.state().join("store-aside");
    std::fs::rename(&store, &aside).expect("the store can be moved");
    weir.reboot();
    assert_eq!(weir.chat("good-openai").status, 200);
    let ready = weir.ask_admin("/ready");
    assert_eq!((ready.status, &ready.json()["stale"]), (200, &true.into()));
    std::fs::remove_dir_all(&store).ok();
    std::fs::rename(&aside, &store).expect("the store can be moved");
    assert!(eventually(|| weir.ask_admin("/ready").json()["stale"] == false), "it does not find its store again");
    let key = weir.new_key(&[]);
    assert_eq!(weir.call(&Call::Chat.request("good-openai", false).key(&key)).status, 200);
    weir.lives();
}

/// The store may vanish while it runs.
#[test]
fn it_runs_without_its_store() {
    let weir = Setup::new("process-lost-store").start();
    let store = weir.state().join("store");
    let aside = weir.state().join("store-aside");
    std::fs::rename(&store, &aside).expect("the store can be moved");
    let started = clock::now();
    while started.elapsed() < Duration::from_secs(4) {
        assert_eq!(weir.chat("good-openai").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::remove_dir_all(&store).ok();
    std::fs::rename(&aside, &store).expect("the store can be moved");
    let key = weir.new_key(&[]);
    assert!(eventually(|| weir.call(&Call::Chat.request("good-openai", false).key(&key)).status == 200));
    weir.lives();
}

/// Nothing was ever published: it lives, it is not ready, and it says why to callers.
#[test]
fn without_any_configuration() {
    let setup = Setup::new("process-empty");
    let weir = Gateway::boot(setup, "weir-none".into());
    assert_eq!((weir.ask_admin("/live").status, weir.ask_admin("/ready").status), (200, 503));
    let answer = weir.chat("good-openai");
    assert_eq!((answer.status, answer.code().as_str()), (503, "config_unavailable"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    // As soon as something is published, it serves.
    weir.apply();
    let key = weir.new_key(&[]);
    assert!(eventually(|| weir.call(&Call::Chat.request("good-openai", false).key(&key)).status == 200));
}

/// Too few descriptors: who is connected is served, who waits is served later, and nobody spins.
#[test]
fn few_descriptors() {
    let mut setup = Setup::new("process-descriptors");
    setup.before = "ulimit -n 96; ".into();
    setup.cores = 1;
    let weir = setup.start();
    weir.chat("good-openai");
    let mut connected = weir.wire();
    connected.send(Call::Chat.request("good-openai", false).bytes(&weir.key));
    assert_eq!(connected.answer().status, 200);
    let crowd: Vec<Wire> = (0..300).map(|_| weir.wire()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let ticks = process::cpu_ticks(weir.pid());
    std::thread::sleep(Duration::from_secs(2));
    let spent = process::cpu_ticks(weir.pid()) - ticks;
    assert!(spent < 100, "{spent} ticks of ten milliseconds in two seconds");
    drop(crowd);
    let started = clock::now();
    assert!(eventually(|| weir.chat("good-openai").status == 200), "it does not recover");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    weir.lives();
}

/// A small budget for memory: shed with an answer, never killed, and well again afterwards.
#[test]
fn little_memory_is_shed() {
    let mut setup = Setup::new("process-memory");
    setup.folder("[gateway.sizes]\nmemory_bytes_max = 16000000");
    let model = setup.model(Dialect::OpenAi, "events=2");
    let weir = setup.start();
    let before = weir.memory();
    let body = format!("{{\"model\":\"{model}\",\"messages\":[],\"x\":\"{}", "y".repeat(3_000_000));
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 4000000\r\n\r\n",
        weir.key
    );
    let mut wires: Vec<Wire> = (0..24).map(|_| weir.wire()).collect();
    for wire in &mut wires {
        wire.send(&head);
        wire.send(&body);
    }
    std::thread::sleep(Duration::from_millis(500));
    let shed = wires.iter_mut().filter_map(|wire| {
        let answer = wire.answer_within(Duration::from_millis(50), false);
        (answer.status != 0).then_some(answer.status)
    });
    let shed: Vec<u16> = shed.collect();
    assert!(shed.len() >= 12 && shed.iter().all(|status| *status == 503), "{shed:?}");
    assert!(weir.memory().saturating_sub(before) < 64 << 20);
    drop(wires);
    assert!(eventually(|| weir.chat("good-openai").status == 200));
    weir.lives();
}

/// Neither keys nor secrets nor prompts are anywhere but where they belong.
#[test]
fn canaries() {
    const PROMPT: &str = "canary-prompt-d41d8cd98f";
    const ANSWER: &str = "canary-answer-00b204e980";
    let mut setup = Setup::new("process-canaries");
    let mut models = Vec::new();
    for words in [
        "echo,events=3",
        "fault=rst",
        "fault=eof@2,echo",
        "error=401",
        "error=403",
        "error=500",
        "fault=html",
        "fault=badjson@1,echo",
        "fault=evilheaders",
        "fault=errorevent@2",
        "error=429",
        "error=400",
        "fault=gzip_broken",
        "fault=truncate",
        "auth=another",
    ] {
        for dialect in Dialect::ALL {
            models.push((*dialect, setup.add(Model::new(*dialect, words))));
        }
    }
    let weir = setup.start();
    let mut told = String::new();
    for (dialect, model) in &models {
        for stream in [false, true] {
            let call = match dialect {
                Dialect::OpenAi => Call::Chat,
                Dialect::Anthropic => Call::Messages,
                Dialect::Gemini => Call::Generate,
                Dialect::Cohere | Dialect::Bedrock => continue,
            };
            let mut request = call.request(model, stream);
            request.body = String::from_utf8(request.body)
                .expect("text")
                .replace("\"hi\"", &format!("\"{PROMPT} {ANSWER}\""))
                .into();
            let answer = weir.call(&request);
            if answer.status != 200 {
                told += &answer.text();
            }
            told += &format!("{:?}", answer.headers);
        }
    }
    weir.call(&Request::post("/v1/chat/completions", format!("{{\"model\":\"x\",\"{PROMPT}\": tru")));
    weir.call(&Request::get(&format!("/v1/{PROMPT}?key={}", weir.key)));
    let pages = [weir.metrics(), weir.ask_admin("/status").text(), weir.ask_admin("/ready").text()].concat();
    let environment = std::fs::read(format!("/proc/{}/environ", weir.pid())).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for (name, text) in
        [("answers", &told), ("the log", &weir.log()), ("stderr", &weir.stderr()), ("admin pages", &pages)]
    {
        for canary in [PROMPT, ANSWER, SECRET, &weir.key, "sk-weirbench"] {
            assert!(!text.contains(canary), "{canary} in {name}: …{}…", around(text, canary));
        }
    }
    // Where the kernel shows a process's environment to its own user, a secret that came by it would show.
    if environment.contains(SECRET) {
        eprintln!("note: /proc/PID/environ shows the secret to the process's own user and to root");
    }
    let memory_dumps = std::fs::read_to_string(format!("/proc/{}/status", weir.pid())).unwrap_or_default();
    assert!(memory_dumps.contains("VmRSS"));
    weir.lives();
}

fn around<'a>(text: &'a str, word: &str) -> &'a str {
    let at = text.find(word).unwrap_or(0);
    text.get(at.saturating_sub(100)..(at + 200).min(text.len())).unwrap_or("")
}

/// The log tells each request once, as JSON.
#[test]
fn the_log() {
    let mut setup = Setup::new("process-log");
    let model = setup.model(Dialect::OpenAi, "events=3");
    let weir = setup.start();
    let ids: Vec<String> =
        (0..30).map(|round| weir.call(&Call::Chat.request(&model, round % 2 == 0)).request_id()).collect();
    let stranger = weir.call(&Call::Chat.request(&model, false).key("nobody"));
    let log = weir.log();
    for id in ids.iter().chain([&stranger.request_id()]) {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(id.as_str())).collect();
        assert_eq!(lines.len(), 1, "{id}");
        let line: serde_json::Value = serde_json::from_str(lines[0]).expect("a line is JSON");
        assert_eq!(line["status"], if ids.contains(id) { 200 } else { 401 });
    }
    weir.lives();
}

/// 127.0.0.1 is only for vendors that are marked so; the metadata service is for none.
#[test]
fn addresses_that_are_not_called() {
    let mut setup = Setup::new("process-ssrf");
    let words = "name=ssrf";
    let loopback = Model::new(Dialect::OpenAi, words).vendor("internal = false");
    let mut models = vec![setup.add(loopback)];
    for (host, times) in [
        ("169.254.169.254", ""),
        ("[::1]:9", ""),
        ("10.255.255.1", ""),
        ("[::ffff:127.0.0.1]:9", ""),
        ("0.0.0.0:9", ""),
        ("localhost:9", ""),
    ] {
        let model =
            Model::new(Dialect::OpenAi, words).vendor("internal = false").base_url(&format!("http://{host}/v1"));
        models.push(setup.add(model.times(&format!("connect = \"500ms\"\n{times}"))));
    }
    // Some of it may be refused before it is published; that is as good.
    std::fs::create_dir_all(setup.scratch.join("weir.d")).expect("writable");
    std::fs::write(setup.scratch.join("weir.d/weir.toml"), setup.toml()).expect("writable");
    let (code, said) = gateway::try_ctl(&setup, &["check"]);
    if code == 3 {
        eprintln!("refused at check: {said}");
        return;
    }
    let weir = setup.start();
    for model in models {
        let started = clock::now();
        let answer = weir.chat(&model);
        assert!((502..=504).contains(&answer.status), "{model}: {} {}", answer.status, answer.text());
        assert!(started.elapsed() < Duration::from_secs(5), "{model}");
    }
    assert_eq!(weir.vendor().counter(words).requests, 0, "a loopback address was called");
    weir.lives();
}

/// Names are looked up; one that does not resolve is told as such, at once.
#[test]
fn a_name_that_does_not_resolve() {
    let mut setup = Setup::new("process-dns");
    let model = setup
        .add(Model::new(Dialect::OpenAi, "x").base_url("http://no-such-host.invalid/v1").times("connect = \"1s\""));
    let weir = setup.start();
    let started = clock::now();
    let answer = weir.chat(&model);
    assert!(matches!(answer.status, 502 | 503), "{} {}", answer.status, answer.text());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(!answer.text().contains("no-such-host"));
    weir.lives();
}

/// It is up in a moment, also with many keys.
#[test]
fn many_keys() {
    let mut weir = Setup::new("process-keys").start();
    weir.ctl(&["key", "create", "--count", "20000", "--json"]);
    let started = clock::now();
    weir.reboot();
    assert!(within(Duration::from_secs(30), || weir.chat("good-openai").status == 200));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    weir.lives();
}

/// A core that goes round in circles takes no new callers, comes back when it does, and ends the process when it never does.
#[test]
fn a_stuck_core_leaves_rotation() {
    let mut setup = Setup::new("process-stuck");
    setup.cores = 2;
    let shim = Shim::install(&mut setup);
    let mut weir = setup.start();
    // A core that has not begun yet has no pulse to miss: of so many callers some are on the first one.
    (0..16).for_each(|_| assert_eq!(weir.chat("good-openai").status, 200));
    shim.sticks(true);
    assert!(within(Duration::from_secs(20), || weir.metric("weir_cores_out") == 1), "it is noticed");
    // Every new connection reaches a core that answers.
    for _ in 0..40 {
        assert_eq!(weir.chat("good-openai").status, 200);
    }
    shim.sticks(false);
    assert!(within(Duration::from_secs(20), || weir.metric("weir_cores_out") == 0), "it comes back");
    std::thread::sleep(Duration::from_millis(300));
    // It listens again: with the other one stuck in its place nobody would answer, so both are asked by many callers.
    let mut wires: Vec<_> = (0..32).map(|_| weir.wire()).collect();
    for wire in &mut wires {
        wire.send(Call::Chat.request("good-openai", false).bytes(&weir.key));
        assert_eq!(wire.answer().status, 200);
    }
    shim.sticks(true);
    // It sticks with its next tick.
    std::thread::sleep(Duration::from_millis(300));
    for wire in &mut wires {
        wire.send(Call::Chat.request("good-openai", false).bytes(&weir.key));
    }
    let answers = wires.iter_mut().map(|wire| wire.answer_within(Duration::from_millis(150), false));
    let waiting = answers.filter(|answer| answer.status != 200).count();
    assert!((1..32).contains(&waiting), "{waiting} of 32 callers are on the first core");
    // Ten seconds without a pulse: its supervisor shall start it anew.
    assert!(weir.wait_exit(Duration::from_secs(60)).is_some_and(|code| code != 0), "it never ends");
    assert!(weir.stderr().contains("core_lost"), "{}", weir.stderr());
}
