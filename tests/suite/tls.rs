//! TLS on both sides.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use weir_tests::gateway::{Gateway, eventually};
use weir_tests::table::{ensure, same};
use weir_tests::wire::PATIENCE;
use weir_tests::{Answer, Call, Dialect, Model, Setup, Shim, Table, clock};
use weirbench::provider::tls::Leaf;
use weirbench::provider::{self, Options};

fn with_leaf(leaf: Leaf) -> Options {
    Options { capture: true, tls: Some(leaf), ..Options::default() }
}

/// A gateway whose only model is served over TLS by this vendor.
fn beside(name: &str, leaf: Leaf, words: &str) -> (Gateway, String) {
    let mut setup = Setup::beside(name, with_leaf(leaf));
    let ca = setup.scratch.join("ca.pem");
    setup.vendor.write_ca(&ca).expect("writable");
    let lines = format!("roots = \"{}\"", ca.display());
    let model = setup.add(Model::new(Dialect::OpenAi, words).vendor(&lines));
    (setup.start(), model)
}

#[test]
fn vendors_over_tls() {
    let (weir, model) = beside("tls-vendor", Leaf::Good, "events=200,text=100");
    for round in 0..20 {
        let answer = weir.call(&Call::Chat.request(&model, round % 2 == 0));
        assert_eq!((answer.status, answer.broken.clone()), (200, None), "{}", answer.text());
        if round % 2 == 0 {
            answer.finished(Call::Chat.grammar()).expect("a legal stream");
        }
    }
    // Connections are kept: not a handshake for each call.
    assert!(weir.metric("weir_upstream_connects_total") <= 4, "{}", weir.metric("weir_upstream_connects_total"));
}

#[test]
fn certificates_that_are_not_accepted() {
    let mut table = Table::new();
    for (name, leaf) in [("untrusted", Leaf::Untrusted), ("expired", Leaf::Expired), ("wrong host", Leaf::WrongHost)] {
        let (weir, model) = beside("tls-refused", leaf, "events=2");
        for stream in [false, true] {
            let answer = weir.call(&Call::Chat.request(&model, stream));
            table.case(
                format!("{name} stream={stream}"),
                same("(status, code)", (answer.status, answer.code().as_str()), (502, "upstream_tls"))
                    .and_then(|()| same("requests", weir.vendor().counter("events=2").requests, 0))
                    .and_then(|()| ensure(!answer.text().contains("127.0.0.1"), answer.text())),
            );
        }
        table
            .case(format!("{name}: counted"), ensure(weir.metric("weir_upstream_tls_failed_total") > 0, "not counted"));
    }
    // The right certificate, but nobody said to trust its authority.
    let mut setup = Setup::beside("tls-roots", with_leaf(Leaf::Good));
    let model = setup.model(Dialect::OpenAi, "events=2");
    let weir = setup.start();
    let answer = weir.chat(&model);
    table.case(
        "an authority that is not configured",
        same("(status, code)", (answer.status, answer.code().as_str()), (502, "upstream_tls")),
    );
    table.end();
}

/// A handshake that never comes, and plain HTTP where TLS was expected.
#[test]
fn handshakes_that_stall() {
    let mut setup = Setup::beside("tls-stall", with_leaf(Leaf::Good));
    let plain = provider::start(Options::default()).expect("a second vendor");
    let mute = setup.add(Model::new(Dialect::OpenAi, "fault=mute").times("connect = \"500ms\""));
    let wrong = setup.add(Model::new(Dialect::OpenAi, "x").base_url(&format!("https://{}/v1", plain.addr)));
    let weir = setup.start();
    let started = clock::now();
    let answer = weir.chat(&mute);
    assert!((502..=504).contains(&answer.status), "{}", answer.text());
    assert!(started.elapsed() < Duration::from_secs(5));
    let answer = weir.chat(&wrong);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"), "{}", answer.text());
}

/// Faults in the middle look the same through TLS.
#[test]
fn faults_through_tls() {
    let mut setup = Setup::beside("tls-faults", with_leaf(Leaf::Good));
    let ca = setup.scratch.join("ca.pem");
    setup.vendor.write_ca(&ca).expect("writable");
    let lines = format!("roots = \"{}\"", ca.display());
    let mut cases = Vec::new();
    for (words, good) in [
        ("events=8,fault=eof@3", false),
        ("events=8,fault=reset@3", false),
        ("events=8,fault=badjson@3", false),
        ("events=8,frame=close", true),
        ("events=8,done=no", true),
        ("events=4,style=bytewise", true),
        ("events=8,batch=all", true),
        ("events=3,fault=giant=500000@1", true),
    ] {
        cases.push((words, good, setup.add(Model::new(Dialect::OpenAi, words).vendor(&lines))));
    }
    let endless = setup.add(Model::new(Dialect::OpenAi, "fault=endless@1,pace=10ms").vendor(&lines));
    let weir = setup.start();
    let mut table = Table::new();
    for (words, good, model) in &cases {
        let answer = weir.stream(model);
        let outcome = answer.read(Call::Chat.grammar());
        table.case(
            words,
            outcome.and_then(|reading| same("finished", reading.end == weirbench::grammar::End::Finished, *good)),
        );
    }
    let mut wire = weir.wire();
    wire.send(Call::Chat.request(&endless, true).bytes(&weir.key));
    wire.until(b"data: ");
    drop(wire);
    let heard = eventually(|| weir.vendor().counter("fault=endless@1,pace=10ms").aborted == 1);
    table.case("a hang-up", ensure(heard, "the vendor is not told"));
    table.end();
}

// ── callers

struct Front {
    weir: Gateway,
    config: Arc<rustls::ClientConfig>,
}

fn front(name: &str) -> Front {
    front_of(Setup::new(name))
}

/// A caller that has not been here before.
fn fresh(front: &Front) -> rustls::ClientConfig {
    let pem = std::fs::read(front.weir.setup.scratch.join("tls/ca.pem")).expect("an authority");
    let config = weirbench::http::trusting_pem(&pem).expect("an authority");
    rustls::ClientConfig::clone(&config)
}

fn front_of(mut setup: Setup) -> Front {
    let identity = provider::tls::identity(Leaf::Good).expect("a certificate");
    identity.write(&setup.scratch.join("tls")).expect("writable");
    let path = |file: &str| setup.scratch.join("tls").join(file).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    setup.option("--tls-listen", "127.0.0.1:0").option("--tls-cert", &cert).option("--tls-key", &key);
    let config = weirbench::http::trusting_pem(identity.ca_pem.as_bytes()).expect("an authority");
    Front { weir: setup.start(), config }
}

impl Front {
    fn call(&self, stream: bool, config: &Arc<rustls::ClientConfig>) -> std::io::Result<Answer> {
        let request = Call::Chat.request("good-openai", stream).bytes(&self.weir.key);
        let address = self.weir.tls.expect("it listens with TLS");
        let answer = weirbench::http::fetch(address, Some(config), &request, PATIENCE)?;
        Ok(Answer { status: answer.status, headers: answer.headers, body: answer.body, broken: answer.broken })
    }
}

#[test]
fn callers_over_tls() {
    let front = front("tls-callers");
    for round in 0..20 {
        let answer = front.call(round % 2 == 0, &front.config).expect("an answer");
        assert_eq!((answer.status, answer.broken.clone()), (200, None), "{}", answer.text());
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let roots = weirbench::http::trusting(&front.weir.setup.scratch.join("tls/ca.pem"));
        roots.expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut store = rustls::RootCertStore::empty();
        let pem = std::fs::read(front.weir.setup.scratch.join("tls/ca.pem")).expect("an authority");
        use rustls::pki_types::pem::PemObject;
        for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(&pem) {
            store.add(certificate.expect("a certificate")).expect("an authority");
        }
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let config = builder.with_protocol_versions(&[version]).expect("a version");
        let config = Arc::new(config.with_root_certificates(store).with_no_client_auth());
        assert_eq!(front.call(true, &config).expect("an answer").status, 200, "{version:?}");
    }
    front.weir.lives();
}

/// Handshakes that go wrong are counted, and disturb nobody.
#[test]
fn broken_handshakes() {
    let mut front = front("tls-broken");
    front.weir.data = front.weir.tls.expect("it listens with TLS");
    let mut wires = Vec::new();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"",
        b"\0\0\0\0\0\0\0\0",
    ] {
        for _ in 0..20 {
            let mut wire = front.weir.wire();
            wire.send(bytes);
            wires.push(wire);
        }
    }
    assert_eq!(front.call(false, &front.config).expect("an answer").status, 200);
    assert!(eventually(|| front.weir.metric("weir_tls_handshakes_failed_total") >= 20));
    drop(wires);
    assert_eq!(front.call(false, &front.config).expect("an answer").status, 200);
}

/// Connections that never begin their handshake take no place from those that do.
#[test]
fn silent_connections_close_no_door() {
    let front = front("tls-silent");
    let address = front.weir.tls.expect("it listens with TLS");
    let silent: Vec<_> = (0..800).map(|_| weir_tests::Wire::open(address)).collect();
    for round in 0..10 {
        let started = clock::now();
        assert_eq!(front.call(round % 2 == 0, &front.config).expect("an answer").status, 200);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    drop(silent);
    front.weir.lives();
}

/// Tickets resume a session, and the keys that seal them change: what was sealed half a day ago opens nothing.
#[test]
fn ticket_keys_rotate() {
    let mut setup = Setup::new("tls-tickets");
    setup.cores = 1;
    let shim = Shim::install(&mut setup);
    let front = front_of(setup);
    let handshake = |config: &Arc<rustls::ClientConfig>| {
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut socket = std::net::TcpStream::connect(front.weir.tls.expect("TLS")).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut stream = rustls::Stream::new(&mut client, &mut socket);
        let request = Call::Chat.request("good-openai", false).header("Connection", "close").bytes(&front.weir.key);
        stream.write_all(&request).expect("it is taken");
        let mut answer = Vec::new();
        // Tickets come with the answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        client.handshake_kind().expect("a handshake")
    };
    // Each caller has tickets of its own.
    let caller = || Arc::new(fresh(&front));
    const HOUR: i64 = 3_600;
    let (kept, daily) = (caller(), caller());
    assert_eq!(handshake(&kept), rustls::HandshakeKind::Full);
    assert_eq!(handshake(&kept), rustls::HandshakeKind::Resumed);
    assert_eq!(handshake(&daily), rustls::HandshakeKind::Full);
    // Not at once: the key before still opens.
    shim.wall_offset_seconds(7 * HOUR);
    assert_eq!(handshake(&caller()), rustls::HandshakeKind::Full);
    assert_eq!(handshake(&kept), rustls::HandshakeKind::Resumed);
    for hours in [14, 21] {
        shim.wall_offset_seconds(hours * HOUR);
        handshake(&caller());
    }
    assert_eq!(handshake(&daily), rustls::HandshakeKind::Full, "a ticket of yesterday opens");
    front.weir.lives();
}

/// A new certificate is served without a restart.
#[test]
fn certificates_are_changed_while_it_runs() {
    let front = front("tls-reload");
    assert_eq!(front.call(false, &front.config).expect("an answer").status, 200);
    let next = provider::tls::identity(Leaf::Good).expect("a certificate");
    next.write(&front.weir.setup.scratch.join("tls")).expect("writable");
    let config = weirbench::http::trusting_pem(next.ca_pem.as_bytes()).expect("an authority");
    let changed = eventually(|| front.call(false, &config).is_ok_and(|answer| answer.status == 200));
    assert!(changed, "it still serves the old one");
    // A broken file changes nothing.
    std::fs::write(front.weir.setup.scratch.join("tls/cert.pem"), "not a certificate").expect("writable");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(front.call(true, &config).expect("an answer").status, 200);
    front.weir.lives();
}
