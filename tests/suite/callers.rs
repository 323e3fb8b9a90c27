//! Callers that are slow, that leave, that ask for several things at once.

use std::time::Duration;

use weir_shared::ledger::Outcome;
use weir_tests::gateway::{eventually, within};
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Call, Dialect, Exact, Gateway, Model, Request, Setup, Table, Wire, clock};

/// A hang-up is heard within a second; in a test on a shared machine, within ten.
const HEARD: Duration = Duration::from_secs(10);

fn chat(weir: &Gateway, model: &str, stream: bool) -> Vec<u8> {
    Call::Chat.request(model, stream).bytes(&weir.key)
}

#[test]
fn a_slow_head_is_not_waited_for() {
    let mut setup = Setup::new("callers-slow-head");
    setup.folder("[gateway.times]\nheader = \"1s\"\nkeepalive = \"2s\"\nbody = \"1s\"");
    let weir = setup.start();
    // Half-open heads by the hundred do not disturb anybody.
    let mut slow: Vec<Wire> = (0..300).map(|_| weir.wire()).collect();
    for wire in &mut slow {
        wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    }
    let started = clock::now();
    assert_eq!(weir.chat("good-openai").status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    // A byte now and then does not help.
    for _ in 0..4 {
        for wire in slow.iter_mut().take(20) {
            wire.send("y");
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    for mut wire in slow {
        let said = wire.rest(PATIENCE).expect("it is closed");
        let text = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    }
    weir.lives();
}

#[test]
fn a_slow_body_is_not_waited_for() {
    let mut setup = Setup::new("callers-slow-body");
    setup.folder("[gateway.times]\nbody = \"1s\"");
    let weir = setup.start();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        weir.key
    );
    let mut table = Table::new();
    for (name, lines, drip) in [
        ("silent", "Content-Length: 100\r\n\r\n{", ""),
        ("silent, chunked", "Transfer-Encoding: chunked\r\n\r\n64\r\n{", ""),
        ("a byte at a time", "Content-Length: 30000000\r\n\r\n{", " "),
        ("nothing at all", "Content-Length: 100\r\n\r\n", ""),
        ("a large one, silent", "Content-Length: 3000000\r\n\r\n{", ""),
    ] {
        let mut wire = weir.wire();
        wire.send(format!("{head}{lines}"));
        let started = clock::now();
        while !drip.is_empty() && started.elapsed() < Duration::from_secs(4) && wire.send(drip) {
            std::thread::sleep(Duration::from_millis(200));
        }
        let said = wire.rest(PATIENCE);
        let text = said.map(|said| String::from_utf8_lossy(&said).into_owned());
        table.case(
            name,
            match text {
                Ok(text) => ensure(text.is_empty() || text.starts_with("HTTP/1.1 408 "), text),
                Err(why) => Err(why),
            },
        );
    }
    same("calls", weir.vendor().counter("name=good,events=3").requests, 0).expect("no call to the vendor");
    weir.lives();
    table.end();
}

#[test]
fn an_idle_connection_ends() {
    let mut setup = Setup::new("callers-idle");
    setup.folder("[gateway.times]\nkeepalive = \"1s\"");
    let weir = setup.start();
    let mut fresh = weir.wire();
    let mut used = weir.wire();
    used.send(chat(&weir, "good-openai", false));
    assert_eq!(used.answer().status, 200);
    assert!(used.is_silent_for(Duration::from_millis(300)));
    assert!(used.closes_within(HEARD) && fresh.closes_within(HEARD));
    weir.lives();
}

/// How a caller leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Fin,
    HalfClose,
    Rst,
}

impl Leaves {
    /// What is still open then.
    fn leave(self, mut wire: Wire) -> Option<Wire> {
        match self {
            Self::Fin => drop(wire),
            Self::HalfClose => {
                wire.half_close();
                return Some(wire);
            }
            Self::Rst => wire.reset(),
        }
        None
    }
}

#[test]
fn who_leaves_stops_the_vendor() {
    let mut setup = Setup::new("callers-leave");
    let mut cases = Vec::new();
    for (phase, words, stream, until) in [
        ("waiting for a head", "fault=stall", false, &b""[..]),
        ("waiting for a stream", "fault=stall", true, b""),
        ("in a whole answer", "events=20,fault=stall@3", false, b""),
        ("streaming", "events=10000,pace=20ms", true, b"data: "),
        ("streaming fast", "fault=endless@1", true, b"data: "),
        ("the vendor is silent", "events=10,fault=stall@2", true, b"data: "),
    ] {
        for leaves in [Leaves::Fin, Leaves::HalfClose, Leaves::Rst] {
            let words = format!("name={},{words}", cases.len());
            cases.push((phase, leaves, stream, until, setup.model(Dialect::OpenAi, &words), words));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (phase, leaves, stream, until, model, words) in &cases {
        let mut wire = weir.wire();
        wire.send(chat(&weir, model, *stream));
        let live = || weir.vendor().counter(words).live == 1;
        let begun = within(PATIENCE, live);
        if !until.is_empty() {
            wire.until(until);
        }
        std::thread::sleep(Duration::from_millis(100));
        let left = clock::now();
        let kept = leaves.leave(wire);
        let heard = within(HEARD, || weir.vendor().counter(words).aborted == 1);
        let took = left.elapsed();
        drop(kept);
        table.case(
            format!("{phase}, {leaves:?}"),
            ensure(begun, "the vendor was not asked")
                .and_then(|()| ensure(heard, "the vendor is not told"))
                .and_then(|()| ensure(took < HEARD, format!("after {took:?}")))
                .and_then(|()| same("calls", weir.vendor().counter(words).requests, 1)),
        );
    }
    let records = weir.records();
    for (phase, leaves, _, _, model, _) in &cases {
        let outcomes: Vec<_> =
            records.iter().filter(|record| record.model == *model).map(|record| record.outcome).collect();
        table.case(format!("{phase}, {leaves:?}: its record"), same("outcomes", outcomes, vec![Outcome::Cancelled]));
    }
    weir.lives();
    table.end();
}

/// Not even while an error's body is awaited.
#[test]
fn who_leaves_in_an_error_stops_the_vendor() {
    let mut setup = Setup::new("callers-leave-error");
    let mut cases = Vec::new();
    for leaves in [Leaves::Fin, Leaves::HalfClose, Leaves::Rst] {
        for stream in [false, true] {
            let begun = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
            let vendor = Exact::start(|_| begun.into());
            let model = setup.add(Model::new(Dialect::OpenAi, "").base_url(&vendor.url()));
            cases.push((leaves, stream, model, vendor));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (leaves, stream, model, vendor) in &cases {
        let mut wire = weir.wire();
        wire.send(chat(&weir, model, *stream));
        let begun = within(PATIENCE, || vendor.asked() == 1);
        std::thread::sleep(Duration::from_millis(100));
        let kept = leaves.leave(wire);
        let heard = within(HEARD, || vendor.left() == 1);
        drop(kept);
        table.case(
            format!("{leaves:?}, stream={stream}"),
            ensure(begun, "the vendor was not asked")
                .and_then(|()| ensure(heard, "the vendor is not told"))
                .and_then(|()| same("calls", vendor.asked(), 1)),
        );
    }
    // Cancelled, not refused: it is the caller's leaving that ended it, no deadline.
    let records = weir.records();
    for (leaves, stream, model, _) in &cases {
        let outcomes: Vec<_> =
            records.iter().filter(|record| record.model == *model).map(|record| record.outcome).collect();
        table.case(
            format!("{leaves:?}, stream={stream}: its record"),
            same("outcomes", outcomes, vec![Outcome::Cancelled]),
        );
    }
    weir.lives();
    table.end();
}

/// Whoever has sent more than is read ahead is still watched.
#[test]
fn who_leaves_behind_a_flood_stops_the_vendor() {
    let mut setup = Setup::new("callers-leave-flood");
    let mut cases = Vec::new();
    for bytes in [1 << 10, 60 << 10, 64 << 10, 200 << 10] {
        for (stream, words) in [(false, "fault=stall"), (true, "fault=stall"), (true, "events=10,fault=stall@2")] {
            let words = format!("name={bytes}{stream},{words}");
            cases.push((bytes, stream, setup.model(Dialect::OpenAi, &words), words));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (bytes, stream, model, words) in &cases {
        let mut wire = weir.wire();
        wire.send(chat(&weir, model, *stream));
        let begun = within(PATIENCE, || weir.vendor().counter(words).live == 1);
        let next = chat(&weir, "good-openai", false);
        wire.send(&next.repeat(bytes / next.len() + 1)[..*bytes]);
        std::thread::sleep(Duration::from_millis(100));
        wire.reset();
        let heard = within(HEARD, || weir.vendor().counter(words).aborted == 1);
        table.case(
            words,
            ensure(begun, "the vendor was not asked").and_then(|()| ensure(heard, "the vendor is not told")),
        );
    }
    let records = weir.records();
    for (_, _, model, words) in &cases {
        let outcomes: Vec<_> =
            records.iter().filter(|record| record.model == *model).map(|record| record.outcome).collect();
        table.case(format!("{words}: its record"), same("outcomes", outcomes, vec![Outcome::Cancelled]));
    }
    weir.lives();
    table.end();
}

/// A reader that stands still makes the vendor stand still, and goes in the end.
#[test]
fn a_stuck_reader_holds_one_buffer() {
    let mut setup = Setup::new("callers-stuck");
    let words = "fault=endless@1,text=1000";
    let model = setup.add(Model::new(Dialect::OpenAi, words).times("idle = \"20s\""));
    setup.folder("[gateway.times]\nwrite = \"3s\"");
    let weir = setup.start();
    weir.chat("good-openai");
    let before = weir.memory();
    let mut stuck = weir.wire();
    stuck.send(chat(&weir, &model, true));
    std::thread::sleep(Duration::from_secs(2));
    let taken = weir.vendor().counter(words).bytes_out;
    assert!(taken < 24 << 20, "{taken} bytes for a reader that does not read");
    assert!(weir.memory().saturating_sub(before) < 16 << 20, "memory grows");
    assert_eq!(weir.chat("good-openai").status, 200);
    assert!(eventually(|| weir.vendor().counter(words).aborted == 1), "it is never dropped");
    weir.settle();
    drop(stuck);
    weir.lives();
}

/// Slow, but reading: it gets everything.
#[test]
fn a_slow_reader_gets_everything() {
    let mut setup = Setup::new("callers-slow-reader");
    let model = setup.model(Dialect::OpenAi, "events=2000,text=1000,batch=50");
    let weir = setup.start();
    let mut wire = weir.wire();
    let _ = socket2::SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10);
    wire.send(chat(&weir, &model, true));
    std::thread::sleep(Duration::from_secs(2));
    let answer = wire.answer();
    let reading = answer.finished(Call::Chat.grammar()).map_err(|why| why.chars().take(300).collect::<String>());
    assert_eq!(reading.expect("a legal stream").text.len(), 2_000_000);
    weir.lives();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut setup = Setup::new("callers-pipeline");
    let slow = setup.model(Dialect::OpenAi, "ttfb=300ms,events=2");
    let fast = setup.model(Dialect::OpenAi, "events=3");
    let weir = setup.start();
    let mut wire = weir.wire();
    let mut all = chat(&weir, &slow, true);
    for round in 0..7 {
        all.extend(chat(&weir, &fast, round % 2 == 0));
    }
    wire.send(all);
    for number in 0..8 {
        let answer = wire.answer();
        assert_eq!((answer.status, answer.broken.clone()), (200, None), "{number}");
        let streamed = answer.text().starts_with("data: ");
        assert_eq!(streamed, number == 0 || (number - 1) % 2 == 0, "{number}: {}", answer.text());
    }
    // Junk behind a good request: the good one is answered, the junk refused, then it is over.
    let mut wire = weir.wire();
    wire.send([chat(&weir, &fast, false), b"junk\0junk\r\n\r\n".to_vec()].concat());
    assert_eq!(wire.answer().status, 200);
    assert_eq!(wire.answer().status, 400);
    assert!(wire.closes_within(HEARD));
    weir.lives();
}

/// Also behind a request that has no body and no key, and behind one that is refused.
#[test]
fn what_is_pipelined_behind_any_request_is_answered() {
    let weir = Setup::new("callers-pipeline-any").start();
    let last = Call::Chat.request("good-openai", false).header("Connection", "close").bytes(&weir.key);
    let mut table = Table::new();
    for (method, target, keyless, status) in [
        ("OPTIONS", "/v1/chat/completions", true, 204),
        ("OPTIONS", "/v1/chat/completions", false, 204),
        ("OPTIONS", "/", true, 204),
        ("GET", "/", true, 200),
        ("GET", "/", false, 200),
        ("HEAD", "/", true, 200),
        ("GET", "/v1/models", false, 200),
        ("GET", "/v1/models/none", false, 404),
        ("GET", "/nowhere", false, 404),
        ("DELETE", "/v1/chat/completions", false, 405),
    ] {
        let request = Request::new(method, target).header("Origin", "http://localhost");
        let first = if keyless { request.keyless() } else { request }.bytes(&weir.key);
        for (name, pieces, statuses) in [
            ("at once", vec![[&first[..], &last].concat()], vec![status, 200]),
            ("cut", vec![[&first[..], &last[..40]].concat(), last[40..].to_vec()], vec![status, 200]),
            ("three", vec![[&first[..], &first, &last].concat()], vec![status, status, 200]),
        ] {
            let mut wire = weir.wire();
            for piece in pieces {
                wire.send(piece);
                std::thread::sleep(Duration::from_millis(20));
            }
            let outcome = wire.rest(HEARD).and_then(|said| {
                let said = String::from_utf8_lossy(&said);
                let answers = said.split("HTTP/1.1 ").skip(1);
                let found: Vec<u16> = answers.filter_map(|answer| answer.get(..3)?.parse().ok()).collect();
                same("the list of answers", found, statuses)
            });
            table.case(format!("{method} {target} keyless={keyless}, {name}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

#[test]
fn a_connection_serves_many_requests_cut_anywhere() {
    let mut setup = Setup::new("callers-keepalive");
    let model = setup.model(Dialect::OpenAi, "events=4");
    let weir = setup.start();
    let mut wire = weir.wire();
    for round in 0..60 {
        let request = chat(&weir, &model, round % 3 == 0);
        // Two pieces, cut at another place each time.
        let cut = request.len() * round / 60;
        wire.send(&request[..cut]);
        if round % 4 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        wire.send(&request[cut..]);
        let answer = wire.answer();
        assert_eq!((answer.status, answer.broken.clone()), (200, None), "{round}: {}", answer.text());
    }
    // Byte by byte.
    for byte in chat(&weir, &model, true) {
        wire.send([byte]);
    }
    wire.answer().finished(Call::Chat.grammar()).expect("a legal stream");
    assert_eq!(weir.metric("weir_connections_total"), 1);
    // Asked to, it closes.
    wire.send(Call::Chat.request(&model, false).header("Connection", "close").bytes(&weir.key));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(wire.closes_within(HEARD));
    weir.lives();
}

#[test]
fn one_hundred_is_said_when_it_is_true() {
    let weir = Setup::new("callers-expect").start();
    let body = Call::Chat.body("good-openai", false, "");
    let head = |key: &str, version: &str| {
        format!(
            "POST /v1/chat/completions {version}\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        )
    };
    let mut wire = weir.wire();
    wire.send(head(&weir.key, "HTTP/1.1"));
    let said = wire.until(b"\r\n\r\n");
    assert!(said.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&said));
    assert!(wire.is_silent_for(Duration::from_millis(100)));
    wire.send(&body);
    assert_eq!(wire.answer().status, 200);
    // The connection goes on.
    wire.send(chat(&weir, "good-openai", false));
    assert_eq!(wire.answer().status, 200);
    // A stranger is refused without an invitation.
    let mut wire = weir.wire();
    wire.send(head("nobody", "HTTP/1.1"));
    let said = wire.until(b"\r\n\r\n");
    assert!(said.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&said));
    // Who sends it all at once needs none, either.
    let mut wire = weir.wire();
    wire.send([head(&weir.key, "HTTP/1.1").as_bytes(), body.as_bytes()].concat());
    assert_eq!(wire.answer().status, 200);
    // HTTP/1.0 knows no 100.
    let mut wire = weir.wire();
    wire.send(head(&weir.key, "HTTP/1.0"));
    wire.send(&body);
    let said = wire.rest(PATIENCE).expect("it closes");
    assert!(said.starts_with(b"HTTP/1.1 200 ") || said.starts_with(b"HTTP/1.0 200 "));
    weir.lives();
}

/// A storm of connections that are reset leaves nothing behind.
#[test]
fn a_storm_of_connections() {
    let weir = Setup::new("callers-storm").start();
    weir.chat("good-openai");
    let before = weir.descriptors();
    for _ in 0..4 {
        let wires: Vec<Wire> = (0..400).map(|_| weir.wire()).collect();
        wires.into_iter().enumerate().for_each(|(number, mut wire)| {
            if number % 2 == 0 {
                wire.send("POST /v1/chat/completions HTTP/1.1\r\n");
            }
            wire.reset();
        });
    }
    let started = clock::now();
    assert_eq!(weir.chat("good-openai").status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(eventually(|| weir.descriptors() <= before + 8), "{} descriptors, {before} before", weir.descriptors());
    weir.lives();
}

/// After everything, as much is held as before.
#[test]
fn nothing_is_left_behind() {
    let mut setup = Setup::new("callers-leak");
    let endless = setup.model(Dialect::OpenAi, "fault=endless@1,pace=5ms");
    let faulty = setup.model(Dialect::OpenAi, "events=5,fault=reset@2");
    let weir = setup.start();
    let round = || {
        for _ in 0..40 {
            weir.chat("good-openai");
            weir.stream("good-openai");
            weir.stream(&faulty);
            let mut wire = weir.wire();
            wire.send(chat(&weir, &endless, true));
            wire.until(b"data: ");
        }
    };
    round();
    weir.settle();
    let (memory, descriptors) = (weir.memory(), weir.descriptors());
    for _ in 0..5 {
        round();
    }
    weir.settle();
    assert!(
        eventually(|| weir.descriptors() <= descriptors + 16),
        "{} descriptors, {descriptors} before",
        weir.descriptors()
    );
    let grown = weir.memory().saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more");
    weir.lives();
}

/// Each piece in time is not enough: the whole has an end, too, as a body, as a form, and as an answer that is taken.
#[test]
fn who_dribbles_is_not_waited_for_in_the_end() {
    let mut setup = Setup::new("callers-dribble");
    setup.folder("[gateway.times]\nbody = \"1s\"\ntotal = \"6s\"\nwrite = \"4s\"");
    // The vendor has its time; what is short is the caller's.
    let large = setup.add(Model::new(Dialect::OpenAi, "events=30,text=1000000").times("total = \"60s\""));
    let weir = setup.start();
    let head = format!("HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 30000000\r\n", weir.key);
    let form = "--BOUND\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngood-openai\r\n--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let mut table = Table::new();
    for (name, begun) in [
        ("JSON", format!("POST /v1/chat/completions {head}\r\n{{")),
        (
            "a form",
            format!(
                "POST /v1/audio/transcriptions {head}Content-Type: multipart/form-data; boundary=BOUND\r\n\r\n{form}"
            ),
        ),
    ] {
        let mut wire = weir.wire();
        wire.send(begun);
        let started = clock::now();
        // Four times the least rate.
        while started.elapsed() < Duration::from_secs(20) && wire.send(vec![b' '; 1 << 10]) {
            std::thread::sleep(Duration::from_millis(250));
        }
        let took = started.elapsed();
        table.case(name, ensure(took < Duration::from_secs(16), format!("still taken after {took:?}")));
    }
    weir.settle();
    // An answer of 30 MB, taken at ten times the rate that each piece of it must have.
    let mut wire = weir.wire();
    let _ = socket2::SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10);
    wire.send(chat(&weir, &large, false));
    let mut taken = wire.until(b"\r\n\r\n").len();
    let started = clock::now();
    let mut buffer = vec![0; 64 << 10];
    let mut ended = false;
    while !ended && started.elapsed() < Duration::from_secs(20) {
        use std::io::Read;
        match wire.socket.read(&mut buffer) {
            Ok(0) | Err(_) => ended = true,
            Ok(count) => taken += count,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    table.case("an answer", ensure(ended && taken > 1 << 20, format!("ended={ended} after {taken} bytes")));
    weir.settle();
    weir.lives();
    table.end();
}

/// PROXY protocol, version 2: the signature, version and command, family, length, addresses.
fn proxied(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
    let length = (addresses.len() + more.len()) as u16;
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length.to_be_bytes(), addresses, more].concat()
}

/// Balancers that are trusted say whose connection it is before its first byte; nobody else is listened to.
#[test]
fn what_a_balancer_says_of_a_caller() {
    let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 1, 1, 1, 187];
    let v6: Vec<u8> = ["2001:db8::7", "2001:db8::1"]
        .iter()
        .flat_map(|text| text.parse::<std::net::Ipv6Addr>().expect("an address").octets())
        .chain([1, 1, 1, 187])
        .collect();
    let mapped: Vec<u8> = [[0; 10].as_slice(), &[255, 255, 198, 51, 100, 7], &[0; 16], &[1, 1, 1, 187]].concat();
    let tlvs = [&[0x04, 0, 3, 0, 0, 0][..], &[0x20, 1, 0], &[7; 256]].concat();
    // Header, and the address that it makes; none: the connection ends.
    let cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("none", Vec::new(), Some("127.0.0.1")),
        ("TCP4", proxied(1, 0x11, &v4, b""), Some("198.51.100.7")),
        ("TCP6", proxied(1, 0x21, &v6, b""), Some("2001:db8::7")),
        ("mapped", proxied(1, 0x21, &mapped, b""), Some("198.51.100.7")),
        ("with more to say", proxied(1, 0x11, &v4, &tlvs), Some("198.51.100.7")),
        ("its own check", proxied(0, 0x00, b"", b""), Some("127.0.0.1")),
        ("its own check, with addresses", proxied(0, 0x11, &v4, b""), Some("127.0.0.1")),
        ("unspecified", proxied(1, 0x00, b"", b""), Some("127.0.0.1")),
        ("a local socket", proxied(1, 0x31, &[0; 216], b""), Some("127.0.0.1")),
        ("too short", proxied(1, 0x11, &v4[..11], b""), None),
        ("a command that is none", proxied(2, 0x11, &v4, b""), None),
        ("a family that is none", proxied(1, 0x71, &v4, b""), None),
        ("endless", proxied(1, 0x11, &v4, &[0; 60_000]), None),
        ("twice", [proxied(1, 0x11, &v4, b""), proxied(1, 0x11, &v4, b"")].concat(), None),
        ("not quite", b"\r\n\r\n\0\r\nQUIX\n!\x11\0\0".to_vec(), None),
    ];
    let mut table = Table::new();
    for trusted in [true, false] {
        let mut setup = Setup::new("callers-proxied");
        setup.folder("[gateway.times]\nheader = \"1s\"");
        if trusted {
            setup.folder("[gateway]\ntrusted_proxies = [\"127.0.0.1/32\"]");
        }
        let identity = weirbench::provider::tls::identity(weirbench::provider::tls::Leaf::Good).expect("a certificate");
        identity.write(&setup.scratch.join("tls")).expect("writable");
        let path = |file: &str| setup.scratch.join("tls").join(file).display().to_string();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        setup.option("--tls-listen", "127.0.0.1:0").option("--tls-cert", &cert).option("--tls-key", &key);
        let config = weirbench::http::trusting_pem(identity.ca_pem.as_bytes()).expect("an authority");
        let weir = setup.start();
        let mut served = Vec::new();
        for (name, header, address) in &cases {
            let address = address.filter(|_| trusted || header.is_empty());
            for (how, piece) in [("at once", usize::MAX), ("in pieces", 7)] {
                let name = format!("{name} {how} trusted={trusted}");
                let mut wire = weir.wire();
                let all = [header.clone(), chat(&weir, "good-openai", false)].concat();
                for bytes in all.chunks(piece.min(all.len())).take(400) {
                    if !wire.send(bytes) {
                        break;
                    }
                    if piece < 100 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                let answer = wire.answer_within(HEARD, false);
                match address {
                    Some(address) => {
                        table.case(&name, same("status", answer.status, 200));
                        served.push((name, answer.request_id(), address));
                    }
                    None => table.case(&name, ensure(matches!(answer.status, 0 | 400), answer.text())),
                }
            }
            // The same in front of a TLS handshake.
            let name = format!("{name} TLS trusted={trusted}");
            let request = Call::Chat.request("good-openai", false).header("Connection", "close").bytes(&weir.key);
            let answer = over_tls(weir.tls.expect("it listens with TLS"), &config, header, &request);
            match address {
                Some(address) => {
                    let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split('\r').next());
                    table.case(&name, ensure(answer.starts_with("HTTP/1.1 200 "), answer.clone()));
                    served.push((name, id.unwrap_or("none").to_owned(), address));
                }
                None => table.case(&name, ensure(answer.is_empty(), answer)),
            }
        }
        // A balancer that opens a connection and says nothing yet may do so for as long as any caller.
        let mut early = weir.wire();
        std::thread::sleep(Duration::from_millis(1_500));
        early.send(chat(&weir, "good-openai", false));
        table.case(format!("opened early, trusted={trusted}"), same("status", early.answer().status, 200));
        // Begun, the header has its time.
        let mut cut = weir.wire();
        cut.send(&proxied(1, 0x11, &v4, b"")[..9]);
        table.case(format!("cut, trusted={trusted}"), ensure(cut.rest(HEARD).is_ok(), "it is waited for"));
        let log = weir.log();
        for (name, id, address) in served {
            let line = log.lines().find(|line| line.contains(&id)).unwrap_or_default();
            table.case(format!("{name}: address"), ensure(line.contains(&format!("\"from\":\"{address}\"")), line));
        }
        weir.lives();
    }
    table.end();
}

/// What is said behind a handshake that follows these bytes; nothing when there is none.
fn over_tls(
    to: std::net::SocketAddr,
    config: &std::sync::Arc<rustls::ClientConfig>,
    first: &[u8],
    request: &[u8],
) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(to).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    let _ = socket.write_all(first);
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let mut client = rustls::ClientConnection::new(std::sync::Arc::clone(config), name).expect("a client");
    let mut stream = rustls::Stream::new(&mut client, &mut socket);
    let mut answer = Vec::new();
    if stream.write_all(request).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
