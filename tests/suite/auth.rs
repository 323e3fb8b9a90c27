//! Who may call. Strangers learn nothing, and a key that ends, ends everywhere.

use std::time::Duration;

use weir_tests::gateway::within;
use weir_tests::table::{ensure, same};
use weir_tests::{Answer, Call, Dialect, Request, Setup, Shim, Table, clock};

/// The body without the ids that differ from request to request.
fn without_ids(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text().replace(&answer.request_id(), "ID"))
}

#[test]
fn a_key_is_found_wherever_programs_put_it() {
    let weir = Setup::new("auth-places").start();
    let chat = || Call::Chat.request("good-openai", false).keyless();
    let key = weir.key.clone();
    let bearer = |scheme: &str| chat().header("Authorization", &format!("{scheme}{key}"));
    let mut in_query = chat();
    in_query.target = format!("/v1/chat/completions?key={key}");
    let mut table = Table::new();
    for (place, request, status) in [
        ("Bearer", bearer("Bearer "), 200),
        ("bearer", bearer("bearer "), 200),
        ("BEARER, two spaces", bearer("BEARER  "), 200),
        ("x-api-key", chat().header("x-api-key", &key), 200),
        ("X-Goog-Api-Key", chat().header("X-Goog-Api-Key", &key), 200),
        ("api-key", chat().header("api-key", &key), 200),
        ("?key=", in_query, 200),
        ("nowhere", chat(), 401),
        ("Basic", bearer("Basic "), 401),
        ("without a scheme", bearer(""), 401),
        ("empty", bearer("Bearer ").header("x", "y").keyless(), 200),
        ("empty key", chat().header("Authorization", "Bearer "), 401),
        ("a letter too many", bearer("Bearer x"), 401),
        ("in a cookie", chat().header("Cookie", &format!("key={key}")), 401),
    ] {
        table.case(place, same("status", weir.call(&request).status, status));
    }
    // The key goes nowhere else.
    let sent = weir.vendor().last("name=good,events=3").expect("the vendor was asked");
    let text = String::from_utf8_lossy(&[sent.head, sent.body].concat()).into_owned();
    table.case("not to the vendor", ensure(!text.contains("weir-"), text.clone()));
    weir.lives();
    table.end();
}

#[test]
fn strangers_are_told_apart_by_nobody() {
    let mut setup = Setup::new("auth-strangers");
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"other\"\nmodels = [\"nothing\"]");
    let weir = setup.start();
    let revoked = weir.new_key(&["--name", "gone"]);
    weir.ctl(&["key", "revoke", &revoked[5..13], "--wait"]);
    let mut wrong = weir.key.clone();
    wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('A') { "B" } else { "A" });
    let another = weir_shared::key::mint(&[7; 37]).text;
    let mut table = Table::new();
    for call in Call::ALL {
        let model = format!("good-{}", call.dialect().name());
        let answer = |key: &str| weir.call(&call.request(&model, false).key(key));
        let reference = without_ids(&answer("weir-aaaaaaaa-not-a-key"));
        table.case(format!("{call:?}"), same("status", reference.0, 401));
        for (name, key) in [("revoked", &revoked), ("one letter off", &wrong), ("unknown", &another)] {
            table.case(format!("{call:?} {name}"), same("answer", without_ids(&answer(key)), reference.clone()));
        }
    }
    // In the shape of each dialect.
    let shapes = [
        (Call::Chat, "/error/code", "invalid_api_key"),
        (Call::Messages, "/error/type", "authentication_error"),
        (Call::Generate, "/error/status", "UNAUTHENTICATED"),
    ];
    for (call, pointer, word) in shapes {
        let answer = weir.call(&call.request("x", false).key("no"));
        let found = answer.json().pointer(pointer).and_then(|value| value.as_str().map(str::to_owned));
        table.case(format!("{call:?} shape"), same(pointer, found, Some(word.to_owned())));
    }
    // Another tenant's key is a key; what it may not use does not exist.
    let other = weir.new_key(&["--tenant", "other"]);
    let forbidden = weir.call(&Call::Chat.request("good-openai", false).key(&other));
    let unknown = weir.call(&Call::Chat.request("no-such-model", false).key(&other));
    table.case("forbidden is unknown", same("answer", without_ids(&forbidden), without_ids(&unknown)));
    table.case("forbidden", same("status", forbidden.status, 404));
    weir.lives();
    table.end();
}

#[test]
fn a_revoked_key_ends_within_a_second() {
    let mut setup = Setup::new("auth-revoked");
    let slow = setup.model(Dialect::OpenAi, "events=30,pace=50ms");
    let weir = setup.start();
    let key = weir.new_key(&["--name", "soon gone"]);
    let call = |key: &str| weir.call(&Call::Chat.request("good-openai", false).key(key)).status;
    assert_eq!(call(&key), 200);
    let mut open = weir.wire();
    open.send(Call::Chat.request(&slow, true).key(&key).bytes(""));
    open.until(b"data: ");
    // Without --wait: how long it takes is the question.
    weir.ctl(&["key", "revoke", &key[5..13]]);
    let revoked = clock::now();
    assert!(within(Duration::from_secs(10), || (0..8).all(|_| call(&key) == 401)), "it still works");
    let took = revoked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // A new one works as soon as the command has said so.
    let granted = weir.new_key(&["--name", "new"]);
    assert_eq!(call(&granted), 200);
    // What runs, runs on.
    assert!(String::from_utf8_lossy(&open.until(b"data: [DONE]")).contains("data: "));
    weir.lives();
}

/// Expiry is told by the node's own clock, with a minute of slack; expired, a key is like one that never was.
#[test]
fn an_expired_key_is_none() {
    let mut setup = Setup::new("auth-expired");
    setup.cores = 1;
    let shim = Shim::install(&mut setup);
    let weir = setup.start();
    let key = weir.new_key(&["--expires", "1h"]);
    let call = |key: &str| weir.call(&Call::Chat.request("good-openai", false).key(key));
    let mut table = Table::new();
    for (seconds, status) in
        [(0, 200), (3_500, 200), (3_630, 200), (3_700, 401), (90_000, 401), (-90_000, 200), (0, 200)]
    {
        shim.wall_offset_seconds(seconds);
        let answer = call(&key);
        table.case(format!("{seconds} seconds later"), same("status", answer.status, status));
        if status == 401 {
            let unknown = call(&weir_shared::key::mint(&[7; 37]).text);
            table.case(format!("{seconds}: like an unknown one"), same("body", answer.text(), unknown.text()));
        }
        // A key that does not expire is none of the clock's business.
        table.case(format!("{seconds}: another"), same("status", call(&weir.key).status, 200));
    }
    weir.lives();
    table.end();
}

/// Who guesses is slowed down; who knows the key is not.
#[test]
fn guessing_does_not_slow_down_a_good_key() {
    let weir = Setup::new("auth-guessing").start();
    let mut statuses = std::collections::BTreeMap::new();
    let guesses: Vec<_> = (0..8)
        .map(|thread| {
            let (data, request) = (weir.data, Call::Chat.request("good-openai", false));
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                for guess in 0..100u8 {
                    let mut random = [thread; 37];
                    random[0] = guess;
                    let key = weir_shared::key::mint(&random).text;
                    let mut wire = weir_tests::Wire::open(data);
                    wire.send(request.clone().key(&key).bytes(""));
                    seen.push(wire.answer().status);
                }
                seen
            })
        })
        .collect();
    for _ in 0..20 {
        let started = clock::now();
        assert_eq!(weir.chat("good-openai").status, 200);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    for guess in guesses {
        for status in guess.join().expect("a thread that guesses") {
            *statuses.entry(status).or_insert(0) += 1;
        }
    }
    assert!(statuses.keys().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    assert!(statuses.get(&429).is_some_and(|count| *count > 100), "nobody is slowed: {statuses:?}");
    weir.lives();
}

/// A stranger's body is never collected, and never judged.
#[test]
fn strangers_make_us_buffer_nothing() {
    let weir = Setup::new("auth-buffer").start();
    let before = weir.memory();
    let mut wires: Vec<_> = (0..50)
        .map(|_| {
            let mut wire = weir.wire();
            wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer no\r\nContent-Length: 33554432\r\n\r\n");
            for _ in 0..32 {
                wire.send([b' '; 32 << 10]);
            }
            wire
        })
        .collect();
    for wire in &mut wires {
        let answer = wire.answer();
        assert!(matches!(answer.status, 401 | 429), "{}", answer.status);
    }
    let grown = weir.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for strangers");
    weir.lives();
}

/// The published pattern finds our keys, and a dump of everything that is stored holds none.
#[test]
fn nothing_that_is_stored_is_a_key() {
    let weir = Setup::new("auth-stored").start();
    let secret = weir.key.rsplit('-').next().expect("a secret").to_owned();
    let full = &weir.key[14..];
    let mut files = 0;
    let mut folders = vec![weir.setup.scratch.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(full.as_bytes()) && (secret.len() < 8 || !holds(secret.as_bytes())), "{:?}", entry.path());
            assert!(!holds(weir_tests::model::SECRET.as_bytes()), "{:?}", entry.path());
            files += 1;
        }
    }
    assert!(files > 5);
    use std::os::unix::fs::PermissionsExt;
    for name in ["secret/pepper", "secret/seal"] {
        let mode = std::fs::metadata(weir.state().join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    weir.lives();
}

/// `x-weir-vendor` and what callers say of themselves choose nothing that they may not use.
#[test]
fn callers_cannot_say_who_they_are() {
    let weir = Setup::new("auth-identity").start();
    for (name, value) in [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1"), ("X-Weir-Tenant", "other")] {
        let answer = weir.call(&Request::get("/v1/models").header(name, value));
        assert_eq!(answer.status, 200);
    }
    assert!(!weir.log().contains("10.0.0.1"));
    weir.lives();
}
