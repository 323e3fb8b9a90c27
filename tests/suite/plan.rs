//! `weirctl plan`: what it says of recent traffic is what recent traffic was, and what then happens is what it said.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use weir_tests::gateway::{ctl, try_ctl};
use weir_tests::{Answer, Call, Dialect, Gateway, Model, NO_BREAKER, Request, Setup, Wire};

fn route(name: &str, to: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\n[route.to]\n{to}\n")
}

fn add(setup: &mut Setup, id: &str, price: &str) {
    let price = format!("input = \"{price}\"\noutput = \"{price}\"\n");
    setup.add(Model::new(Dialect::OpenAi, &format!("name={id},events=2")).id(id).price(&price));
}

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;

/// Calls on four connections at once, that are kept.
fn send(weir: &Gateway, requests: &[Request]) {
    std::thread::scope(|scope| {
        for turn in 0..4 {
            scope.spawn(move || {
                let mut wire = weir.wire();
                for request in requests.iter().skip(turn).step_by(4) {
                    let mut answer = ask(&mut wire, request, weir);
                    // A busy machine sheds; what is shed leaves no record, and is asked again as callers do.
                    for _ in 0..200 {
                        if answer.code() != "overloaded" {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(50));
                        wire = weir.wire();
                        answer = ask(&mut wire, request, weir);
                    }
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
    });
    weir.settle();
}

fn ask(wire: &mut Wire, request: &Request, weir: &Gateway) -> Answer {
    wire.send(request.bytes(&weir.key));
    wire.answer()
}

/// What the plan says each candidate would get, then or now.
fn load(plan: &Value, when: &str) -> BTreeMap<String, u64> {
    let rows = plan["replay"]["load"].as_array().expect("a list of candidates");
    let name = |row: &Value| row["candidate"].as_str().or(row["refused"].as_str()).unwrap_or("?").to_owned();
    rows.iter()
        .map(|row| (name(row), row[when].as_u64().expect("a number")))
        .filter(|(_, number)| *number > 0)
        .collect()
}

fn moved(plan: &Value) -> u64 {
    let flows = plan["replay"]["flows"].as_array().expect("a list of flows");
    flows.iter().filter(|flow| flow["moves"] == true).map(|flow| flow["requests"].as_u64().unwrap_or(0)).sum()
}

/// Who was asked first, by the records of the requests after the first `before`.
fn happened(weir: &Gateway, before: usize) -> BTreeMap<String, u64> {
    let mut all = weir.records();
    all.sort_by_key(|record| record.time_ns);
    let mut counts = BTreeMap::new();
    for record in &all[before..] {
        *counts.entry(format!("{}/{}", record.vendor, record.model)).or_default() += 1;
    }
    counts
}

/// All ways to choose, several vendors, aliases, conditions: the present policy makes every choice again, and moves nothing.
#[test]
fn the_present_policy_makes_every_choice_again() {
    let mut setup = Setup::new("plan-present");
    setup.folder(NO_BREAKER);
    for id in ["one", "two", "three"] {
        add(&mut setup, id, "1");
    }
    let both = Model::new(Dialect::Anthropic, "name=four,events=2").id("four").model("context_tokens = 100000");
    setup.add(both);
    setup.folder("[alias]\nquick = \"one\"\nfair = \"weighed\"\n");
    setup.folder(&route("weighed", "weight = [{ model = \"one\", share = 3 }, \"two\", \"four\"]"));
    setup.folder(&route(
        "ab",
        "split = [{ name = \"a\", model = \"one\", share = 1 }, { name = \"b\", model = \"two\", share = 4 }]",
    ));
    setup.folder(&route("steady", "sticky = [\"one\", \"two\", \"three\"]\nby = \"header:x-cohort\""));
    setup.folder(&route("quickest", "least_latency = [\"one\", \"two\", \"three\", \"four\"]"));
    setup.folder(&route("idlest", "least_busy = [\"one\", \"two\"]"));
    setup.folder(&route(
        "picky",
        "order = [{ when = { header = \"x-plan: gold*\" }, model = \"three\" }, { when = { tools = true }, model = \"two\" }, \"one\"]",
    ));
    let weir = setup.start();
    let mut requests = Vec::new();
    for number in 0..240 {
        let names =
            ["weighed", "ab", "steady", "quickest", "idlest", "picky", "quick", "fair", "vendor-two/two", "one"];
        let name = names[number % names.len()];
        let tools = if number % 3 == 0 { TOOLS } else { "" };
        let request = Call::Chat.request_with(name, number % 7 == 0, tools);
        let request = if number % 4 < 2 { request.header("x-plan", "golden") } else { request };
        requests.push(request.header("X-Cohort", &format!("c{}", number % 11)));
    }
    send(&weir, &requests);
    let plan = weir.ctl(&["plan", "--json", "--exit-code"]);
    let replay = &plan["replay"];
    assert_eq!((&plan["changed"], &replay["nodes"]), (&false.into(), &1.into()), "{plan:#}");
    assert_eq!((&replay["requests"], &replay["records"]), (&240.into(), &240.into()), "{plan:#}");
    assert_eq!(replay["choices"]["told"], 216, "all but the calls that named a model of one vendor");
    assert_eq!(replay["choices"]["made_again"], replay["choices"]["told"], "{plan:#}");
    assert_eq!((moved(&plan), &replay["left_out"]), (0, &0.into()), "{plan:#}");
    assert_eq!(load(&plan, "requests_now"), happened(&weir, 0), "{plan:#}");
    assert_eq!(replay["cost"]["now_nano"], replay["cost"]["then_nano"]);
    let told: i64 = weir.records().iter().map(|record| record.cost.0).sum();
    assert_eq!(replay["cost"]["now_nano"], told, "what was replayed costs what was charged");
    // What nodes hand out is no more than what their records hold.
    let shapes = weir.ask_admin("/shapes?since=0").body;
    for secret in [weir.key.as_bytes(), b"\"hi\"", b"golden", weir_tests::model::SECRET.as_bytes()] {
        assert!(!shapes.windows(secret.len()).any(|window| window == secret));
    }
    assert_eq!(weir.ask_admin("/shapes?since=99999999999").header("x-weir-records"), Some("0"));
    weir.lives();
}

/// The shift that is predicted is within two percent of the one that then happens to other traffic.
#[test]
fn what_was_predicted_happens() {
    let mut setup = Setup::new("plan-shift");
    setup.folder(NO_BREAKER);
    for (id, price) in [("one", "1"), ("two", "2"), ("three", "3")] {
        add(&mut setup, id, price);
    }
    setup.folder("[alias]\nquick = \"one\"\n");
    setup.folder(&route("r", "weight = [{ model = \"one\", share = 8 }, { model = \"two\", share = 2 }]"));
    setup.folder(&route("steady", "sticky = [\"one\", \"two\"]\nby = \"header:x-cohort\""));
    let gold = "{ when = { header = \"x-plan: gold*\" }, model = \"two\" }";
    setup.folder(&route("picky", &format!("order = [{gold}, \"one\"]")));
    let mut weir = setup.start();
    let traffic = |from: usize| -> Vec<Request> {
        let request = |number: usize| match number % 6 {
            0 | 1 => Call::Chat.request("r", false),
            2 => Call::Chat.request_with("r", false, TOOLS),
            3 => Call::Chat.request("steady", false).header("X-Cohort", &format!("c{}", number % 997)),
            4 => Call::Chat.request("quick", false),
            _ if number % 4 < 2 => Call::Chat.request("picky", false).header("x-plan", "golden"),
            _ => Call::Chat.request("picky", false),
        };
        (from..from + COUNT).map(request).collect()
    };
    const COUNT: usize = 8_000;
    send(&weir, &traffic(0));
    let present = weir.ctl(&["plan", "--json"]);
    assert_eq!((moved(&present), &present["replay"]["choices"]["told"]), (0, &(COUNT as u64).into()), "{present:#}");

    // Another share, a condition in front of others, a third branch that cohorts stick to, an alias that leads elsewhere.
    let before = "weight = [{ model = \"one\", share = 8 }, { model = \"two\", share = 2 }]";
    let after = "order = [{ when = { tools = true }, model = \"three\" }, { weight = [{ model = \"one\", share = 3 }, \
                 { model = \"two\", share = 7 }] }]";
    for (old, new) in [
        (before, after),
        ("sticky = [\"one\", \"two\"]", "sticky = [\"one\", \"two\", \"three\"]"),
        ("quick = \"one\"", "quick = \"vendor-three/three\""),
        (gold, &format!("{{ when = {{ tools = true }}, model = \"one\" }}, {gold}")),
    ] {
        assert!(weir.setup.folder.contains(old));
        weir.setup.folder = weir.setup.folder.replace(old, new);
    }
    let other = weir.setup.scratch.join("other.d");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("weir.toml"), weir.setup.toml()).unwrap();
    let (code, said) = try_ctl(&weir.setup, &["plan", other.to_str().unwrap(), "--json", "--exit-code"]);
    assert_eq!(code, 2, "{said}");
    let plan: Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(plan["changed"], true);
    assert_eq!(plan["replay"]["guessed"]["conditions"], 0);
    assert!(moved(&plan) > COUNT as u64 / 3, "{plan:#}");

    let records = weir.records().len();
    weir.apply();
    send(&weir, &traffic(COUNT));
    let (predicted, then) = (load(&plan, "requests_then"), happened(&weir, records));
    assert_eq!(predicted.keys().collect::<Vec<_>>(), then.keys().collect::<Vec<_>>());
    for (name, count) in &then {
        let difference = predicted[name].abs_diff(*count) * 100 / COUNT as u64;
        assert!(difference < 2, "{name}: predicted {predicted:?}, happened {then:?}");
    }
    // The cost, too: of the half of the records that came after.
    let cost: i64 = weir.records().iter().map(|record| record.cost.0).sum::<i64>();
    let before = plan["replay"]["cost"]["now_nano"].as_i64().unwrap();
    let (cost, predicted) = (cost - before, plan["replay"]["cost"]["then_nano"].as_i64().unwrap());
    assert!((cost - predicted).abs() * 100 / cost < 2, "cost {cost}, predicted {predicted}");
    weir.lives();
}

/// What would be refused, where the load of a vendor lands that is down, limits that would be met, targets out of reach.
#[test]
fn what_would_go_wrong_is_told() {
    let mut setup = Setup::new("plan-wrong");
    setup.folder(NO_BREAKER);
    add(&mut setup, "one", "1");
    let two = Model::new(Dialect::OpenAi, "name=two,events=2").id("two").vendor("regions = [\"us\"]");
    let limited = ("main", weir_tests::model::SECRET, "requests_per_minute = 3");
    setup.add(two.credentials(&[limited, ("spare", "sk-spare", "requests_per_minute = 2")]));
    setup.folder("[[tenant]]\nname = \"default\"\n");
    setup.folder(&route("r", "order = [\"one\", \"two\"]"));
    setup.folder(&route("only", "order = [\"two\"]"));
    let weir = setup.start();
    let chats = |name: &str, number: usize| vec![Call::Chat.request(name, false); number];
    send(&weir, &chats("r", 30));
    send(&weir, &chats("only", 2));
    let plan = |arguments: &[&str]| {
        let (code, said) = try_ctl(&weir.setup, &[&["plan", "--json"], arguments].concat());
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(said.trim()).unwrap()
    };
    let of = |plan: &Value, name: &str| load(plan, "requests_then").get(name).copied().unwrap_or(0);

    let fault = plan(&["--fault", "vendor-one=down"]);
    assert_eq!((of(&fault, "vendor-two/two"), moved(&fault)), (32, 30), "{fault:#}");
    assert_eq!(fault["replay"]["limits"][0]["vendor"], "vendor-two", "{fault:#}");
    assert_eq!(fault["replay"]["limits"][0]["per_minute"], 5, "of its credentials together");
    let model = plan(&["--fault", "vendor-one/one=down"]);
    assert_eq!(of(&model, "vendor-two/two"), 32);
    // One of two credentials is no loss, both are.
    let one = plan(&["--fault", "vendor-two#main=down"]);
    assert_eq!((of(&one, "vendor-two/two"), moved(&one)), (2, 0));
    let both = plan(&["--fault", "vendor-two#main=down", "--fault", "vendor-two#spare=down"]);
    assert_eq!(of(&both, "refused: nobody takes calls"), 2, "{both:#}");
    let (code, said) = try_ctl(&weir.setup, &["plan", "--fault", "nobody=down"]);
    assert_eq!(code, 7, "{said}");
    assert_eq!(try_ctl(&weir.setup, &["plan", "--fault", "vendor-one=slow"]).0, 64);

    // By hand, over the folder.
    weir.ctl(&["route", "drain", "vendor-one", "--wait"]);
    let drained = plan(&[]);
    assert_eq!(of(&drained, "vendor-two/two"), 32, "{drained:#}");
    weir.ctl(&["route", "restore", "vendor-one", "--wait"]);

    let folder = weir.setup.scratch.join("weir.d/weir.toml");
    let text = std::fs::read_to_string(&folder).unwrap();
    std::fs::write(&folder, text.replace("name = \"default\"\n", "name = \"default\"\nregions = [\"eu\"]\n")).unwrap();
    let bound = plan(&[]);
    assert_eq!(of(&bound, "refused: no vendor is allowed (its region is not allowed)"), 32, "{bound:#}");
    assert_eq!(bound["replay"]["unreachable"].as_array().unwrap().len(), 3, "{bound:#}");
    let gone = text.replace("[[route]]\nname = \"only\"\n[route.to]\norder = [\"two\"]\n", "");
    assert_ne!(gone, text);
    std::fs::write(&folder, &gone).unwrap();
    let gone = plan(&[]);
    assert_eq!(of(&gone, "refused: no such model for this key"), 2, "{gone:#}");
    let (_, shown) = try_ctl(&weir.setup, &["plan"]);
    for words in ["- route   only", "2 requests that are answered now would be refused", "93.7 % of requests"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    weir.lives();
}

/// A node that is gone left its journal; a plan without any traffic still shows the difference.
#[test]
fn without_a_node_there_is_its_journal() {
    let mut setup = Setup::new("plan-journal");
    add(&mut setup, "one", "1");
    add(&mut setup, "two", "1");
    setup.folder(&route("r", "weight = [\"one\", \"two\"]"));
    let weir = setup.start();
    send(&weir, &vec![Call::Chat.request("r", false); 20]);
    let journal = weir.state().join("journal");
    let mut weir = weir;
    weir.kill();
    let silent = ctl(&weir.setup, &["plan", "--json"]);
    assert_eq!((&silent["replay"]["nodes"], &silent["replay"]["requests"]), (&0.into(), &0.into()), "{silent:#}");
    let read = ctl(&weir.setup, &["plan", "--json", "--journal", journal.to_str().unwrap()]);
    assert_eq!((&read["replay"]["requests"], &read["replay"]["choices"]["made_again"]), (&20.into(), &20.into()));
    weir.reboot();
    let again = weir.ctl(&["plan", "--json"]);
    assert_eq!(again["replay"]["requests"], 20, "a restart forgets nothing: {again:#}");
    weir.lives();
}
