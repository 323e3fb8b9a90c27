//! `apply`: on a few nodes first, on all, and back again; it returns when it is true.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use weir_tests::gateway::{Node, eventually, try_ctl, within};
use weir_tests::{Call, Dialect, Gateway, Model, NO_BREAKER, Request, Setup, binary};

/// Three nodes, and an alias that leads somewhere.
fn three(name: &str) -> (Gateway, [Node; 2]) {
    let mut setup = Setup::new(name);
    setup.folder(NO_BREAKER);
    setup.add(Model::new(Dialect::OpenAi, "name=well,events=2").id("well"));
    setup.add(Model::new(Dialect::OpenAi, "name=ill,error=500").id("ill"));
    setup.folder("[alias]\nquick = \"well\"\n");
    let weir = setup.start();
    let others = ["second", "third"].map(|name| weir.another(name));
    assert!(eventually(|| states(&weir) == ["current"; 3]), "{:?}", states(&weir));
    (weir, others)
}

/// Writes the operator's folder with this changed, and publishes nothing.
fn change(weir: &mut Gateway, old: &str, new: &str) {
    assert!(weir.setup.folder.contains(old));
    weir.setup.folder = weir.setup.folder.replace(old, new);
    std::fs::write(weir.setup.scratch.join("weir.d/weir.toml"), weir.setup.toml()).unwrap();
}

fn states(weir: &Gateway) -> Vec<String> {
    let status = weir.ctl(&["status", "--json"]);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| node["state"].as_str().unwrap_or("?").to_owned()).collect()
}

fn revision(weir: &Gateway) -> u64 {
    weir.ctl(&["status", "--json"])["revision"].as_u64().unwrap()
}

fn failed(weir: &Gateway, arguments: &[&str], code: i32) -> Value {
    let (exit, said) = try_ctl(&weir.setup, &[arguments, &["--json"]].concat());
    assert_eq!(exit, code, "{said}");
    let json = said.rfind("\n}").map_or(&*said, |end| &said[..end + 2]);
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Good to the command line, refused by every node: it cannot read the file.
const POISON: &str = "[[vendor]]\nname = \"poison\"\ndialect = \"openai\"\nbase_url = \"https://127.0.0.1:9/v1\"\n\
    internal = true\nroots = \"/nowhere/ca.pem\"\n[[vendor.credential]]\nname = \"main\"\nenv = \"HOME\"\n\
    [[model]]\nvendor = \"poison\"\nid = \"p\"\nfree = true\n[alias]\n";

#[test]
fn a_canary_that_refuses_is_all_that_ever_hears_of_it() {
    let (mut weir, others) = three("apply-refused");
    let before = revision(&weir);
    change(&mut weir, "[alias]\n", POISON);
    let said = failed(&weir, &["apply", "--wait", "--canary", "1"], 5);
    let node = &said["nodes"][0];
    assert!(node["reason"].as_str().unwrap().contains("vendor poison: "), "{said:#}");
    assert_eq!(revision(&weir), before, "nothing was published");
    assert!(eventually(|| states(&weir) == ["current"; 3]), "{:?}", states(&weir));
    let heard: Vec<_> = weir.ctl(&["status", "--json"])["nodes"].as_array().unwrap().clone();
    let heard: Vec<_> = heard.iter().filter(|node| !node["refused"].is_null()).map(|n| n["node"].clone()).collect();
    assert_eq!(heard, [node["node"].clone()]);
    // The same number again, and good: what was refused under it does not count.
    change(&mut weir, POISON, "[alias]\nfresh = \"well\"\n");
    let done = weir.ctl(&["apply", "--wait", "--canary", "1", "--json"]);
    assert_eq!((&done["revision"], done["nodes"].as_array().unwrap().len()), (&(before + 1).into(), 3), "{done:#}");
    assert!(done["propagation_ms"]["p99"].as_u64().is_some_and(|ms| ms < 5_000), "{done:#}");
    for node in &others {
        assert_eq!(node.call(&Call::Chat.request("fresh", false), &weir.key).status, 200);
    }
    weir.lives();
}

/// Without a canary, a rule takes back what was published.
#[test]
fn what_a_node_refuses_is_taken_back_by_a_rule() {
    let (mut weir, _others) = three("apply-rule");
    let before = revision(&weir);
    change(&mut weir, "[alias]\n", POISON);
    let said = failed(&weir, &["apply", "--wait", "--rollback-on", "refusal"], 9);
    assert_eq!(said["nodes"].as_array().unwrap().len(), 3, "{said:#}");
    assert_eq!(revision(&weir), before + 2);
    assert!(eventually(|| states(&weir) == ["current"; 3]), "{:?}", states(&weir));
    assert_eq!(weir.ctl(&["diff", &before.to_string(), "--json"])["changes"].as_array().unwrap().len(), 0);
    weir.lives();
}

#[test]
fn errors_on_the_canary_keep_it_from_the_others() {
    let (mut weir, others) = three("apply-errors");
    let (before, over) = (revision(&weir), AtomicBool::new(false));
    let failed_on = [const { AtomicU64::new(0) }; 3];
    change(&mut weir, "quick = \"well\"", "quick = \"ill\"");
    let request = Call::Chat.request("quick", false);
    std::thread::scope(|scope| {
        for (place, failed) in failed_on.iter().enumerate() {
            let (weir, others, over, request) = (&weir, &others, &over, &request);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = match place {
                        0 => weir.call(request),
                        place => others[place - 1].call(request, &weir.key),
                    };
                    failed.fetch_add(u64::from(answer.status != 200), Ordering::Relaxed);
                }
            });
        }
        let rule = ["--rollback-on", "error-rate>5%", "--watch-for", "20s"];
        let said = failed(&weir, &[&["apply", "--wait", "--canary", "1"], &rule[..]].concat(), 9);
        assert!(said["errors"]["errors"].as_u64().is_some_and(|errors| errors > 0), "{said:#}");
        assert!(eventually(|| states(&weir) == ["current"; 3]), "{:?}", states(&weir));
        over.store(true, Ordering::Relaxed);
    });
    let failed: Vec<_> = failed_on.iter().map(|failed| failed.load(Ordering::Relaxed)).collect();
    assert_eq!(failed.iter().filter(|failed| **failed > 0).count(), 1, "only the canary's: {failed:?}");
    assert_eq!(revision(&weir), before);
    assert_eq!(weir.call(&request).status, 200);
    weir.lives();
}

/// Calls that go on until they are told to end: how each went.
fn calls(node: &Node, key: &str, requests: &[Request], over: &AtomicBool, made: &AtomicU64) -> Vec<u16> {
    let mut said = Vec::new();
    while !over.load(Ordering::Relaxed) {
        for request in requests {
            said.push(node.call(request, key).status);
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
    said
}

/// Runs the command while these calls are made at one node; its exit code, what it said, and how the calls went.
fn applied_during(
    weir: &Gateway,
    node: &Node,
    requests: &[Request],
    (rule, watch_for): (&str, &str),
) -> (i32, String, Vec<u16>) {
    let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| calls(node, &weir.key, requests, &over, &made));
        // Some of it is before the change.
        assert!(eventually(|| made.load(Ordering::Relaxed) > 60));
        let words = ["apply", "--wait", "--json", "--rollback-on", rule, "--watch-for", watch_for];
        let (exit, said) = try_ctl(&weir.setup, &words);
        over.store(true, Ordering::Relaxed);
        (exit, said, calling.join().unwrap())
    })
}

/// Whoever asks for what never was, or says it wrongly, takes nobody's policy back, and hides nothing either.
#[test]
fn a_caller_who_asks_for_nonsense_takes_nothing_back() {
    let (mut weir, others) = three("apply-nonsense");
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    let nonsense = [
        Call::Chat.request("made-up", false),
        Call::Chat.request("vendor-well/made-up", true),
        Call::Chat.request_with("well", false, ",\"model\":\"twice\""),
        Request::post("/v1/chat/completions", "{"),
        Request::get("/v1/models/made-up"),
        Request::get("/nowhere"),
    ];
    let (exit, said, answers) = applied_during(&weir, &others[0], &nonsense, ("error-rate>1%", "2s"));
    assert!(answers.iter().all(|status| (400..500).contains(status)), "{answers:?}");
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("\"requests\": 0"), "{said}");
    // Among nine times as much nonsense, the few real calls still tell.
    change(&mut weir, "quick = \"well\"", "quick = \"ill\"");
    let mixed = [&vec![Call::Chat.request("made-up", false); 9][..], &[Call::Chat.request("quick", false)]].concat();
    let (exit, said, _) = applied_during(&weir, &others[0], &mixed, ("error-rate>20%", "20s"));
    assert_eq!(exit, 9, "{said}");
    weir.lives();
}

/// What led somewhere yesterday and leads nowhere now is the new revision's doing. A key that is made while it is watched makes no
/// new beginning.
#[test]
fn a_name_that_was_taken_away_takes_the_revision_back() {
    let (mut weir, others) = three("apply-lost");
    let (before, over) = (revision(&weir), AtomicBool::new(false));
    change(&mut weir, "quick = \"well\"", "fresh = \"well\"");
    let quick = [Call::Chat.request("quick", false), Call::Chat.request("well", false)];
    std::thread::scope(|scope| {
        let apply = scope.spawn(|| {
            let words = ["apply", "--wait", "--json", "--rollback-on", "error-rate>5%", "--watch-for", "20s"];
            try_ctl(&weir.setup, &words)
        });
        assert!(eventually(|| revision(&weir) == before + 1));
        weir.new_key(&["--name", "meanwhile"]);
        let calling = scope.spawn(|| calls(&others[0], &weir.key, &quick, &over, &AtomicU64::new(0)));
        let (exit, said) = apply.join().unwrap();
        over.store(true, Ordering::Relaxed);
        let answers = calling.join().unwrap();
        assert_eq!((exit, answers.contains(&404)), (9, true), "{said}");
    });
    assert_eq!(revision(&weir), before + 3);
    assert_eq!(others[0].call(&quick[0], &weir.key).status, 200);
    weir.lives();
}

/// A vendor that failed before fails no more for a revision that has nothing to do with it.
#[test]
fn what_failed_before_as_often_is_not_held_against_it() {
    let (mut weir, others) = three("apply-before");
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    let half = [Call::Chat.request("ill", false), Call::Chat.request("well", false)];
    let (exit, said, answers) = applied_during(&weir, &others[0], &half, ("error-rate>10%", "3s"));
    assert!(answers.iter().filter(|status| **status != 200).count() > 20, "{answers:?}");
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("\"thousandths_before\": 500") || said.contains("\"thousandths_before\": 49"), "{said}");
    weir.lives();
}

/// While a canary runs, the others stay, keys may come, and what follows has them.
#[test]
fn a_canary_runs_alone_and_keys_come_meanwhile() {
    let (mut weir, others) = three("apply-alone");
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    let rule = ["--rollback-on", "error-rate>5%", "--watch-for", "3s"];
    let (weir, others) = (&weir, &others);
    std::thread::scope(|scope| {
        let apply =
            scope.spawn(move || weir.ctl(&[&["apply", "--wait", "--json", "--canary", "30%"], &rule[..]].concat()));
        let alone = || {
            let mut states = states(weir);
            states.sort();
            states == ["canary", "current", "current"]
        };
        assert!(eventually(alone), "{:?}", states(weir));
        let serves = |status: u16| {
            let fresh = Call::Chat.request("fresh", false);
            let answers = [weir.call(&fresh), others[0].call(&fresh, &weir.key), others[1].call(&fresh, &weir.key)];
            answers.iter().filter(|answer| answer.status == status).count()
        };
        assert_eq!((serves(200), serves(404)), (1, 2));
        let second = failed(weir, &["apply", "--wait", "--canary", "1"], 4);
        assert!(second["error"]["message"].as_str().unwrap().contains("has a canary on"), "{second:#}");
        let key = weir.ctl(&["key", "create", "--name", "meanwhile", "--json"])["key"].as_str().unwrap().to_owned();
        let done = apply.join().unwrap();
        assert_eq!(
            (&done["canary"]["nodes"][0]["state"], done["nodes"].as_array().unwrap().len()),
            (&"applied".into(), 3)
        );
        assert_eq!(serves(200), 3);
        assert!(others.iter().all(|node| node.call(&Call::Chat.request("fresh", false), &key).status == 200));
    });
    weir.lives();
}

/// The command line dies while its canary runs: the next revision is everybody's.
#[test]
fn a_canary_whose_command_died_holds_nobody_up() {
    let (mut weir, _others) = three("apply-killed");
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    let mut apply = Command::new(binary::weirctl());
    apply.args(["apply", "--wait", "--canary", "1", "--rollback-on", "error-rate>5%", "--watch-for", "60s"]);
    apply.arg("--state").arg(weir.state()).arg("--folder").arg(weir.setup.scratch.join("weir.d"));
    let mut apply = apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(eventually(|| states(&weir).contains(&"canary".to_owned())), "{:?}", states(&weir));
    apply.kill().unwrap();
    apply.wait().unwrap();
    // A key is made, which is a revision.
    weir.new_key(&["--name", "next"]);
    assert!(eventually(|| states(&weir) == ["current"; 3]), "{:?}", states(&weir));
    // And the one that was tried goes its way.
    let done = weir.ctl(&["apply", "--wait", "--json", "--canary", "1"]);
    assert_eq!((&done["changed"], states(&weir)), (&true.into(), vec!["current".to_owned(); 3]));
    assert!(within(Duration::from_secs(5), || weir.call(&Call::Chat.request("fresh", false)).status == 200));
    weir.lives();
}

#[test]
fn what_was_planned_against_another_revision_is_refused() {
    let (mut weir, _others) = three("apply-stale");
    let planned = revision(&weir).to_string();
    weir.new_key(&["--name", "keys-do-not-count"]);
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    assert_eq!(weir.ctl(&["apply", "--base", &planned, "--json"])["changed"], true);
    change(&mut weir, "fresh = \"well\"", "fresh = \"ill\"");
    let said = failed(&weir, &["apply", "--base", &planned], 4);
    assert!(said["error"]["message"].as_str().unwrap().contains("published revision"), "{said:#}");
    weir.lives();
}

/// What is changed in haste holds for the next request on every node, and its twin in the folder is asked about.
#[test]
fn what_is_set_in_haste_is_on_the_next_bill() {
    let (mut weir, others) = three("apply-haste");
    let cost = |node: &Node| {
        let answer = node.call(&Call::Chat.request("well", false), &weir.key);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-weir-cost").unwrap_or_default().to_owned()
    };
    let before = cost(&others[0]);
    weir.ctl(&["price", "set", "vendor-well/well", "input=1000000", "--reason", "a test", "--wait"]);
    let after = others.each_ref().map(cost);
    assert!(after[0] != before && after[0] == after[1], "{before} {after:?}");
    weir.ctl(&["limit", "set", weir.key.split('-').nth(1).unwrap(), "--rpm", "1", "--wait"]);
    let limited = (0..4).map(|_| weir.chat("well").status).collect::<Vec<_>>();
    assert!(limited.contains(&429), "{limited:?}");
    weir.ctl(&["limit", "set", weir.key.split('-').nth(1).unwrap(), "--rpm", "none", "--wait"]);
    weir.ctl(&["model", "retire", "vendor-ill/ill", "--successor", "vendor-well/well", "--wait"]);
    assert_eq!(others[1].call(&Call::Chat.request("ill", false), &weir.key).status, 200);
    change(&mut weir, "[alias]\n", "[alias]\nfresh = \"well\"\n");
    let asked = failed(&weir, &["apply"], 4);
    assert!(asked["error"]["message"].as_str().unwrap().contains("was changed in the store"), "{asked:#}");
    weir.ctl(&["apply", "--over-commands", "--wait"]);
    weir.lives();
}
