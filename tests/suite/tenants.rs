//! Vendors' credentials that are a tenant's own.

use weir_shared::ledger::{Record, flag};
use weir_tests::gateway::try_ctl;
use weir_tests::{Answer, Call, Dialect, Gateway, Model, Setup};

const OURS: &str = "sk-0123456789-ours";
const ACME: &str = "sk-0123456789-acme";

/// Three tenants at one vendor; the credential `acme` is the own one of that tenant, whose table has these lines.
fn start(name: &str, words: &str, acme: &str) -> (Gateway, [String; 2]) {
    let mut setup = Setup::new(name);
    setup.folder("[gateway.breaker]\ncounts = []");
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"other\"\nmarkup_bp = 1000");
    setup.folder(&format!("[[tenant]]\nname = \"acme\"\nmarkup_bp = 1000\n{acme}"));
    let credentials = [("ours", OURS, ""), ("acme", ACME, "tenant = \"acme\"")];
    setup.add(Model::new(Dialect::OpenAi, words).id("m").credentials(&credentials));
    let weir = setup.start();
    let keys = ["acme", "other"].map(|tenant| weir.new_key(&["--tenant", tenant, "--name", tenant]));
    (weir, keys)
}

fn call(weir: &Gateway, key: &str) -> Answer {
    weir.call(&Call::Chat.request("m", false).key(key))
}

/// Which credential carried a call, what it cost, and what it was sold for.
#[track_caller]
fn carried(weir: &Gateway, key: &str) -> (String, i64, i64) {
    let answer = call(weir, key);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = weir.record(&answer.request_id());
    assert_eq!(record.flags & flag::OWN_CREDENTIAL != 0, record.credential == "acme", "{record:?}");
    (record.credential.to_owned(), record.cost.0, record.sale.0)
}

/// Ten tokens at one dollar a million and five at two are twenty thousand nano-dollars.
const WORDS: &str = "tokens_in=10,tokens_out=5,events=2";
const LIST: i64 = 20_000;

#[test]
fn it_is_used_first_and_priced_by_its_own_rule() {
    let (weir, [acme, other]) = start("tenants-first", WORDS, "own_price_bp = 500");
    for _ in 0..6 {
        assert_eq!(carried(&weir, &acme), ("acme".into(), 0, LIST / 20));
        assert_eq!(carried(&weir, &other), ("ours".into(), LIST, LIST * 11 / 10));
    }
    let answer = call(&weir, &acme);
    let told = weir.ctl(&["explain", &answer.request_id(), "--json"]);
    assert_eq!((&told["attempts"][0]["credential"], &told["attempts"][0]["tenant"]), (&"acme".into(), &"acme".into()));
    // The vendor was shown what it should have been.
    let sent = weir.vendor().last(WORDS).expect("it was called");
    assert!(String::from_utf8_lossy(&sent.head).contains(&format!("Bearer {ACME}")), "{sent:?}");
    weir.lives();
}

#[test]
fn without_a_price_it_costs_nothing_and_streams_are_no_different() {
    let (weir, [acme, _]) = start("tenants-free", WORDS, "");
    assert_eq!(carried(&weir, &acme), ("acme".into(), 0, 0));
    let answer = weir.call(&Call::Chat.request("m", true).key(&acme));
    let record: Record<'_> = weir.record(&answer.request_id());
    assert_eq!((record.credential, record.cost.0, record.sale.0), ("acme", 0, 0));
    assert!(record.usage.tokens() > 0, "what was used is counted all the same");
    weir.lives();
}

/// Its own is refused by the vendor: the operator's goes on, at the operator's price; unless it is never to.
#[test]
fn behind_it_is_the_operators_or_nothing() {
    let words = format!("error=429,error_for=acme,{WORDS}");
    for own in ["first", "only"] {
        let lines = format!("own_credentials = \"{own}\"\nown_price_bp = 500");
        let (weir, [acme, other]) = start(&format!("tenants-behind-{own}"), &words, &lines);
        assert_eq!(carried(&weir, &other), ("ours".into(), LIST, LIST * 11 / 10));
        match own {
            "first" => assert_eq!(carried(&weir, &acme), ("ours".into(), LIST, LIST * 11 / 10)),
            _ => assert_eq!(call(&weir, &acme).status, 429),
        }
        weir.lives();
    }
}

/// The operator's are used first, and its own when they cannot.
#[test]
fn as_the_last_resort_it_waits() {
    let (weir, [acme, _]) = start("tenants-last", WORDS, "own_credentials = \"last\"\nown_price_bp = 500");
    assert_eq!(carried(&weir, &acme), ("ours".into(), LIST, LIST * 11 / 10));
    weir.ctl(&["route", "drain", "vendor-m#ours", "--reason", "a test", "--wait"]);
    assert_eq!(carried(&weir, &acme), ("acme".into(), 0, LIST / 20));
    weir.lives();
}

/// With the operator's out of traffic, who has none of their own gets nothing of a stranger's.
#[test]
fn nobody_else_is_ever_carried_by_it() {
    let (weir, [acme, other]) = start("tenants-others", WORDS, "");
    weir.ctl(&["route", "drain", "vendor-m#ours", "--reason", "a test", "--wait"]);
    for request in [
        Call::Chat.request("m", false).key(&other),
        Call::Chat.request("m", true).key(&other),
        Call::Messages.request("m", false).key(&other),
        Call::Chat.request("m", false),
    ] {
        let answer = weir.call(&request);
        assert!((400..600).contains(&answer.status), "{}: {}", answer.status, answer.text());
    }
    assert_eq!(weir.vendor().counter(WORDS).requests, 0);
    assert_eq!(call(&weir, &acme).status, 200);
    // Also as what is left of another's limits or shares it is nobody else's.
    assert!(weir.records().iter().all(|record| record.credential != "acme" || record.tenant == "acme"));
    weir.lives();
}

#[test]
fn what_cannot_be_is_refused_where_it_is_written() {
    let (mut weir, _) = start("tenants-faults", WORDS, "");
    let good = weir.setup.folder.clone();
    for (lines, words) in [
        ("[[tenant]]\nname = \"t\"\nown_credentials = \"sometimes\"", "own_credentials = "),
        ("[[tenant]]\nname = \"t\"\nown_credentials = \"only\"", "and has none"),
        ("[[tenant]]\nname = \"t\"\nown_price_bp = -1", "own_price_bp = -1 is out of range"),
    ] {
        weir.setup.folder = format!("{good}{lines}\n");
        std::fs::write(weir.setup.scratch.join("weir.d/weir.toml"), weir.setup.toml()).unwrap();
        let (exit, said) = try_ctl(&weir.setup, &["check"]);
        assert!(exit == 3 && said.contains(words) && said.contains("weir.toml:"), "{lines}: {said}");
    }
    weir.setup.folder = good.replace("name = \"acme\"", "name = \"acme2\"");
    std::fs::write(weir.setup.scratch.join("weir.d/weir.toml"), weir.setup.toml()).unwrap();
    let (exit, said) = try_ctl(&weir.setup, &["check"]);
    assert!(exit == 3 && said.contains("its tenant \"acme\" does not exist"), "{said}");
    weir.lives();
}
