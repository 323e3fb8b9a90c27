//! Rules of routing, on drafts as operators write them.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::draft::{AliasDraft, CredentialDraft, Draft, ModelDraft, PriceDraft, Sourced, TenantDraft, VendorDraft};
use crate::fault::Source;
use crate::overlay::{ByHand, OverlayDraft, ShiftDraft};
use crate::policy::routing::RouteDraft;
use crate::snapshot::{Key, Snapshot};

pub const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Eight vendors with a model each, `a/one` to `h/one`, each dearer than the one before.
fn draft(routes: serde_json::Value) -> Draft {
    let mut draft = Draft::default();
    for (place, name) in NAMES.iter().enumerate() {
        draft.vendors.push(Sourced {
            source: Source::default(),
            is: VendorDraft {
                name: (*name).into(),
                dialect: "openai".into(),
                base_url: "https://api.example.com/v1".into(),
                regions: vec![if place % 2 == 0 { "eu" } else { "us" }.into()],
                zero_retention: place < 4,
                credentials: vec![CredentialDraft { name: "main".into(), env: Some("K".into()), ..Default::default() }],
                ..VendorDraft::default()
            },
        });
        let price = |cents: usize| [("input".to_owned(), format!("{cents}")), ("output".to_owned(), "1".to_owned())];
        draft.models.push(Sourced {
            source: Source::default(),
            is: ModelDraft {
                vendor: (*name).into(),
                id: "one".into(),
                price: Some(PriceDraft { rates: price(place + 1).into(), ..PriceDraft::default() }),
                can: Some(if place == 0 { vec![] } else { vec!["tools".into(), "images".into()] }),
                context_tokens: Some(1_000 << place),
                ..ModelDraft::default()
            },
        });
    }
    let routes: Vec<RouteDraft> = serde_json::from_value(routes).unwrap();
    draft.routes = routes.into_iter().map(|is| sourced(7, is)).collect();
    draft.tenants.push(sourced(1, TenantDraft { name: "default".into(), ..TenantDraft::default() }));
    draft
        .tenants
        .push(sourced(1, TenantDraft { name: "europe".into(), regions: vec!["eu".into()], ..Default::default() }));
    draft.aliases.push(sourced(1, AliasDraft { name: "short".into(), target: "r".into() }));
    draft.keys = ["default", "europe"].iter().enumerate().map(|(n, tenant)| key(n as u8, tenant)).collect();
    draft
}

fn sourced<T>(line: u32, is: T) -> Sourced<T> {
    Sourced { source: Source { file: "t.toml".into(), line }, is }
}

fn key(number: u8, tenant: &str) -> crate::key::KeyDraft {
    let minted = crate::key::mint(&[number; 37]);
    let print = crate::key::Fingerprint::of(minted.text.as_bytes(), &crate::key::Pepper([0; 32])).unwrap();
    serde_json::from_value(serde_json::json!({
        "id": minted.id.as_str(), "hash": print.hex(), "tenant": tenant, "created": 1, "name": tenant
    }))
    .unwrap()
}

pub fn compiled(to: serde_json::Value) -> Snapshot {
    if to.is_null() {
        let mut draft = draft(serde_json::json!([]));
        draft.aliases.clear();
        return Snapshot::compile(1, &draft).unwrap();
    }
    Snapshot::compile(1, &draft(serde_json::json!([{ "name": "r", "to": to }]))).unwrap()
}

pub fn key_of<'s>(snapshot: &'s Snapshot, tenant: &str) -> &'s Arc<Key> {
    snapshot.keys().find(|key| &*key.tenant.name == tenant).unwrap()
}

struct Case {
    shape: Shape,
    vitals: Vitals,
}

fn case(seed: u64) -> Case {
    let shape = Shape { seed, reach: u16::MAX, prompt_tokens: 100, answer_tokens: 100, ..Shape::default() };
    Case { shape, vitals: Vitals::default() }
}

impl Case {
    fn order(&self, snapshot: &Snapshot, tenant: &str, name: &str) -> String {
        let key = key_of(snapshot, tenant);
        let way = Way::to(snapshot, name, key);
        let eligible = Eligible::of(&way, snapshot, key, &self.shape);
        let ranked = rank(&way, snapshot, &eligible, &self.shape, &self.vitals, &mut Unseen);
        ranked.each().map(|one| &*snapshot.vendor_of(&snapshot.catalog.models[one.model as usize]).name).collect()
    }
}

fn orders(to: serde_json::Value, seeds: u64) -> HashMap<String, u64> {
    let snapshot = compiled(to);
    let mut counted = HashMap::new();
    for seed in 0..seeds {
        *counted.entry(case(dice(seed, 3)).order(&snapshot, "default", "r")).or_default() += 1;
    }
    counted
}

#[test]
fn a_bare_name_means_all_its_vendors_in_their_order() {
    let snapshot = compiled(serde_json::Value::Null);
    assert_eq!(case(1).order(&snapshot, "default", "one"), "abcdefgh");
    assert_eq!(case(1).order(&snapshot, "default", "c/one"), "c");
    assert_eq!(case(1).order(&snapshot, "europe", "one"), "aceg");
    assert_eq!(case(1).order(&snapshot, "default", "nothing"), "");
}

fn route(more: serde_json::Value) -> serde_json::Value {
    let mut route = serde_json::json!({ "name": "r", "to": "a/one" });
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::json!([route])
}

#[test]
fn a_share_is_mirrored_and_held_to_what_its_call_is_bound_to() {
    let of = |to: &str, percent: u32| {
        let route = route(serde_json::json!({ "mirror": { "to": to, "percent": percent } }));
        Snapshot::compile(1, &draft(route)).unwrap()
    };
    let drawn = |snapshot: &Snapshot, tenant: &str, seed: u64, reached: bool| {
        let shape = case(seed).shape;
        let route = snapshot.catalog.route("r").unwrap();
        mirrored(route, snapshot, key_of(snapshot, tenant), &shape, |_| reached).map(|(_, fit)| fit)
    };
    let quarter = of("b/one", 25);
    let count = (0..10_000).filter(|seed| drawn(&quarter, "default", dice(*seed, 9), true).is_some()).count();
    assert!((2_300..2_700).contains(&count), "{count}");
    let all = of("b/one", 100);
    assert_eq!(drawn(&all, "default", 1, true), Some(Ok(())));
    // The second of the vendors is in the us, and the call may not be sayable there.
    assert_eq!(drawn(&all, "europe", 1, true), Some(Err(Unfit::Region)));
    assert_eq!(drawn(&all, "default", 1, false), Some(Err(Unfit::Language)));
    let plain = Snapshot::compile(1, &draft(route(serde_json::json!({})))).unwrap();
    assert_eq!(drawn(&plain, "default", 1, true), None);
}

#[test]
fn what_is_wrong_with_mirrors_and_fan_outs_is_named() {
    let faults = |more: serde_json::Value| {
        let faults = Snapshot::compile(1, &draft(route(more))).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<String>()
    };
    for (more, words) in [
        (serde_json::json!({ "mirror": { "to": "b/one", "percent": 0 } }), "percent = 0 is out of range"),
        (serde_json::json!({ "mirror": { "to": "b/one", "percent": 101 } }), "percent = 101 is out of range"),
        (serde_json::json!({ "mirror": { "to": "one", "percent": 5 } }), "served by several vendors"),
        (serde_json::json!({ "mirror": { "to": "b/none", "percent": 5 } }), "no model \"b/none\""),
        (serde_json::json!({ "fan_out": 1 }), "fan_out = 1 is out of range"),
        (serde_json::json!({ "fan_out": 5 }), "fan_out = 5 is out of range"),
        (serde_json::json!({ "fan_out": 2, "continuation": true }), "several answers, and a hedge or continuation"),
        (serde_json::json!({ "fan_out": 2, "hedge": {} }), "several answers, and a hedge or continuation"),
    ] {
        let said = faults(more);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn an_order_is_obeyed_and_an_alias_leads_to_a_route() {
    let snapshot = compiled(serde_json::json!({ "order": ["c/one", "a/one", "c/one", "b/one"] }));
    assert_eq!(case(1).order(&snapshot, "default", "r"), "cab");
    assert_eq!(case(1).order(&snapshot, "default", "short"), "cab");
    let mut sick = case(1);
    sick.vitals[0].grade = Grade::Tripped;
    assert_eq!(sick.order(&snapshot, "default", "r"), "ab");
}

#[test]
fn weights_are_met_and_the_rest_stands_behind() {
    let to = serde_json::json!({ "weight": [{ "model": "a/one", "share": 70 }, { "model": "b/one", "share": 30 }] });
    let counted = orders(to, 10_000);
    assert!((6_800..7_200).contains(&counted["ab"]) && counted.len() == 2, "{counted:?}");
}

#[test]
fn a_split_stays_within_its_branch() {
    let to = serde_json::json!({ "split": [
        { "name": "control", "model": "a/one", "share": 9 }, { "name": "canary", "order": ["b/one", "c/one"] }
    ] });
    let counted = orders(to, 10_000);
    assert!((8_800..9_200).contains(&counted["a"]) && counted.contains_key("bc") && counted.len() == 2, "{counted:?}");
}

#[test]
fn the_cheapest_is_first_at_this_calls_size() {
    assert_eq!(orders(serde_json::json!({ "least_cost": ["d/one", "b/one", "h/one", "a/one"] }), 1)["abdh"], 1);
}

#[test]
fn the_faster_of_two_that_are_drawn_is_first() {
    let snapshot = compiled(serde_json::json!({ "least_latency": ["a/one", "b/one", "c/one", "d/one"] }));
    let mut counted: HashMap<char, u32> = HashMap::new();
    for seed in 0..6_000 {
        let mut case = case(dice(seed, 1));
        for (place, pace) in [80, 60, 90, 70].into_iter().enumerate() {
            case.vitals[place].pace = pace;
        }
        *counted.entry(case.order(&snapshot, "default", "r").chars().next().unwrap()).or_default() += 1;
    }
    // Of six pairs the fastest wins three, the next two, the third one.
    assert!((2_800..3_200).contains(&counted[&'b']) && (1_800..2_200).contains(&counted[&'d']), "{counted:?}");
    assert!(!counted.contains_key(&'c'));
}

#[test]
fn the_cheapest_under_a_latency_then_the_fastest() {
    let snapshot = compiled(serde_json::json!({
        "cheapest_under": ["a/one", "b/one", "c/one", "d/one"], "latency": "500ms"
    }));
    let mut case = case(1);
    for (place, ms) in [900u64, 400, 300, 700].into_iter().enumerate() {
        case.vitals[place].pace = crate::health::Pace::quantised(ms * 1_000);
    }
    assert_eq!(case.order(&snapshot, "default", "r"), "bcda");
}

#[test]
fn what_sticks_stays_and_moves_only_when_it_must() {
    let all = ["a/one", "b/one", "c/one", "d/one"];
    let snapshot = compiled(serde_json::json!({ "sticky": all, "by": "user" }));
    let fewer = compiled(serde_json::json!({ "sticky": all[..3], "by": "user" }));
    let (mut moved, mut firsts) = (0, HashMap::<char, u32>::new());
    for user in 1..4_001u64 {
        let mut case = case(user);
        case.shape.sticky[0] = dice(user, 5);
        let order = case.order(&snapshot, "default", "r");
        case.shape.seed ^= 0xffff;
        assert_eq!(case.order(&snapshot, "default", "r"), order, "chance has no say");
        let first = order.chars().next().unwrap();
        *firsts.entry(first).or_default() += 1;
        let without = case.order(&fewer, "default", "r");
        moved += u32::from(without.chars().next().unwrap() != first);
        assert!(first == 'd' || without.starts_with(first));
    }
    assert_eq!(moved, firsts[&'d']);
    assert!(firsts.values().all(|count| (850..1_150).contains(count)), "{firsts:?}");
}

#[test]
fn conditions_decide_which_branches_are_there() {
    let snapshot = compiled(serde_json::json!({ "order": [
        { "when": { "tools": true }, "model": "b/one" },
        { "when": { "tools": false, "prompt_over": 50 }, "model": "c/one" },
        "d/one"
    ] }));
    struct Nobody<'s>(&'s Key);
    impl Asker for Nobody<'_> {
        fn key(&self) -> &Key {
            self.0
        }
        fn header(&self, _: &str) -> Option<&str> {
            None
        }
        fn metadata(&self, _: &str) -> Option<String> {
            None
        }
        fn sticky(&self, _: &crate::policy::routing::StickyBy) -> u64 {
            0
        }
    }
    let route = snapshot.catalog.route("r").unwrap();
    let asker = Nobody(key_of(&snapshot, "default"));
    for (needs, prompt, expected) in [(need::TOOLS, 100, "bd"), (0, 100, "cd"), (0, 50, "d")] {
        let mut case = case(1);
        (case.shape.needs, case.shape.prompt_tokens) = (needs, prompt);
        case.shape.conditions = conditions(route, &asker, needs, prompt);
        assert_eq!(case.order(&snapshot, "default", "r"), expected);
    }
}

#[test]
fn no_fallback_leaves_what_is_allowed() {
    let snapshot = compiled(serde_json::json!({ "order": ["a/one", "b/one", "c/one"] }));
    let mut case = case(1);
    assert_eq!(case.order(&snapshot, "europe", "r"), "ac");
    // What is allowed is down: then nobody, and not the others.
    case.vitals[0].grade = Grade::Tripped;
    case.vitals[2].grade = Grade::Tripped;
    assert_eq!(case.order(&snapshot, "europe", "r"), "");
    let mut able = self::case(1);
    able.shape.needs = need::TOOLS;
    assert_eq!(able.order(&snapshot, "default", "r"), "bc");
    able.shape.needs = need::AUDIO;
    assert_eq!(
        able.order(&snapshot, "default", "r"),
        "abc",
        "when nobody is said to be able, the vendor says it itself"
    );
    able.shape.needs = 0;
    able.shape.reach = 0b101;
    assert_eq!(able.order(&snapshot, "default", "r"), "ac");
}

#[test]
fn a_prompt_that_is_too_long_goes_where_it_fits_and_a_guess_refuses_nobody() {
    let snapshot = compiled(serde_json::json!({ "order": ["a/one", "b/one"] }));
    let mut case = case(1);
    case.shape.prompt_tokens = 2_000;
    assert_eq!(case.order(&snapshot, "default", "r"), "b");
    case.shape.prompt_tokens = 200_000;
    assert_eq!(case.order(&snapshot, "default", "r"), "ab");
}

#[test]
fn a_shift_moves_its_share_and_ends_by_itself() {
    let mut draft = draft(serde_json::json!([{ "name": "r", "to": { "order": ["a/one", "b/one"] } }]));
    let shift = |from: &str, to: &str| ShiftDraft {
        from: from.into(),
        to: to.into(),
        percent: 30,
        by: ByHand { author: "me".into(), until: Some(1_000), ..ByHand::default() },
    };
    for (to, moved_to) in [("b", "ba"), ("h/one", "hab")] {
        draft.overlay = OverlayDraft { shifts: vec![shift("a", to)], ..OverlayDraft::default() };
        let snapshot = Snapshot::compile(1, &draft).unwrap();
        let count = |now_s| {
            let moved = |seed: &u64| {
                let mut case = case(dice(*seed, 9));
                case.shape.now_s = now_s;
                case.order(&snapshot, "default", "r") == moved_to
            };
            (0..5_000).filter(moved).count()
        };
        assert!((1_350..1_650).contains(&count(999)), "{}", count(999));
        assert_eq!(count(1_000), 0);
    }
}

#[test]
fn faults_of_a_route_are_all_told() {
    let routes = serde_json::json!([
        { "name": "r", "to": { "order": ["a/one", "nobody/x", { "sticky": ["a/one"] }, {}] } },
        { "name": "r", "to": { "split": ["a/one"], "by": "user" }, "attempts": 9 },
        { "name": "s", "to": { "order": ["a/one"], "weight": ["b/one"] } },
        { "name": "t", "to": { "cheapest_under": ["a/one"], "when": { "header": "x" } } },
    ]);
    let faults = Snapshot::compile(1, &draft(routes)).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.to_string()).collect();
    for part in [
        "nobody/x",
        "sticky needs to know",
        "leads nowhere",
        "by belongs to sticky",
        "has no name",
        "attempts",
        "written twice",
        "several ways",
        "needs a latency",
        "cannot be compared",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    }
}

/// Small scope, all of it: whatever the tree, the health and the dice, only what is allowed is ranked, each once, and only
/// what takes calls; and whoever takes calls and stands in an `order` is there.
#[test]
fn nothing_leaves_the_allowed_set() {
    let trees = [
        serde_json::json!({ "order": ["a/one", "b/one", "c/one"] }),
        serde_json::json!({ "weight": ["a/one", { "order": ["b/one", "c/one"] }] }),
        serde_json::json!({ "order": [{ "least_latency": ["a/one", "b/one"] }, { "least_busy": ["c/one", "a/one"] }] }),
        serde_json::json!({ "sticky": ["a/one", { "least_cost": ["c/one", "b/one"] }], "by": "key" }),
        serde_json::json!({ "cheapest_under": ["a/one", "b/one", "c/one"], "latency": "1s" }),
    ];
    for tree in trees {
        let snapshot = compiled(tree.clone());
        for health in 0..4u32.pow(3) {
            for reach in 0..8u16 {
                for seed in 0..4 {
                    let mut case = case(dice(seed, 1));
                    case.shape.reach = reach;
                    for place in 0..3 {
                        let grades = [Grade::Passing, Grade::Probe, Grade::Tripped, Grade::Drained];
                        case.vitals[place].grade = grades[(health / 4u32.pow(place as u32) % 4) as usize];
                        case.vitals[place].pace = (dice(seed, u64::from(health)) >> (8 * place)) as u8;
                    }
                    for (tenant, allowed) in [("default", 0b111), ("europe", 0b101)] {
                        let route = snapshot.catalog.route("r").unwrap();
                        let order = case.order(&snapshot, tenant, "r");
                        let mut expected: Vec<char> = (0..3)
                            .filter(|place| allowed & 1 << bit_of(route, &snapshot, *place) != 0)
                            .filter(|place| reach & 1 << place != 0)
                            .filter(|place| case.vitals[*place].grade.takes_calls())
                            .map(|place| name_of(route, &snapshot, place))
                            .collect();
                        let mut got: Vec<char> = order.chars().collect();
                        expected.sort_unstable();
                        got.sort_unstable();
                        assert_eq!(got, expected, "{tree} {health} {reach} {tenant}");
                    }
                }
            }
        }
    }
}

fn name_of(route: &crate::policy::routing::Route, snapshot: &Snapshot, place: usize) -> char {
    let model = &snapshot.catalog.models[route.places[place] as usize];
    snapshot.vendor_of(model).name.chars().next().unwrap()
}

/// `a` is 0, `b` is 1, whatever the order of first mention.
fn bit_of(route: &crate::policy::routing::Route, snapshot: &Snapshot, place: usize) -> u8 {
    name_of(route, snapshot, place) as u8 - b'a'
}
