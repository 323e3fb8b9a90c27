//! etcd as the store: a real one, and everything that may happen to it while the gateway serves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use weir::sync::OwnCopy;
use weir_shared::id::Digest;
use weir_shared::keyspace::{Canary, Manifest, NodePage, Origin, Pointer};
use weir_shared::store::{self, Folder, Store, StoreError};
use weir_tests::gateway::{self, Gateway, eventually, within};
use weir_tests::scratch::Scratch;
use weir_tests::{Call, Etcd, Setup, clock, process};

// ── what holds for every store

/// Opens the same store again and again; the number is how many manifests it keeps.
type Open<'a> = &'a dyn Fn(usize) -> Arc<dyn Store>;

type Case = fn(Open<'_>);

const CASES: &[(&str, Case)] = &[
    ("a revision is all or nothing", all_or_nothing),
    ("of many publishers one wins each revision", one_wins),
    ("a waiter wakes when the pointer moves", wakes),
    ("old manifests go and the newest stay", newest_stay),
    ("pages come and go", pages),
    ("values of every size come back", sizes),
    ("the pointer never goes back", never_back),
    ("a canary comes, wakes who waits, and goes", canaries),
    ("values go along with the revision that names them", along),
];

#[test]
fn both_stores_keep_one_contract() {
    let scratch = Scratch::new("etcd-contract");
    let etcd = Etcd::start(scratch.path());
    for (number, (name, case)) in CASES.iter().enumerate() {
        println!("{name}");
        let folder = scratch.join(format!("folder-{number}"));
        case(&|kept| Arc::new(Folder::open(&folder).unwrap().keeping(kept)));
        let address = format!("{}/case-{number}", etcd.client());
        case(&|kept| Arc::new(store::Etcd::open(&address, PATIENCE).unwrap().keeping(kept)));
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

fn manifest(revision: u64, parts: &[(&str, Digest)]) -> Manifest {
    let parts: BTreeMap<String, Digest> = parts.iter().map(|(name, digest)| ((*name).to_owned(), *digest)).collect();
    Manifest {
        schema: 1,
        revision,
        epoch: 0,
        author: "t".into(),
        reason: "test".into(),
        time: 0,
        parts,
        origin: Origin::Unsaid,
    }
}

fn all_or_nothing(open: Open<'_>) {
    let store = open(200);
    let digest = store.put_value(b"{}").unwrap();
    let missing = manifest(1, &[("a", Digest::of(b"absent"))]);
    assert!(matches!(store.publish(&missing, None), Err(StoreError::Missing(_))));
    assert_eq!(store.pointer().unwrap(), None);
    let first = store.publish(&manifest(1, &[("a", digest)]), None).unwrap();
    assert_eq!(open(200).pointer().unwrap(), Some(first));
    assert_eq!(store.manifest(&first).unwrap().parts["a"], digest);
    assert!(store.confirm(&first).is_ok());
    let other = Pointer { digest, ..first };
    assert!(matches!(store.confirm(&other), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.confirm(&Pointer { revision: 9, ..first }), Err(StoreError::Missing(_))));
    assert!(matches!(store.publish(&manifest(2, &[]), None), Err(StoreError::Conflict { .. })));
    assert!(matches!(store.value(&Digest::of(b"absent")), Err(StoreError::Missing(_))));
    // More parts than one transaction of etcd's takes.
    let many: Vec<_> =
        (0..300).map(|n| (format!("p{n}"), store.put_value(format!("{n}").as_bytes()).unwrap())).collect();
    let many: Vec<_> = many.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
    let second = store.publish(&manifest(2, &many), Some(&first)).unwrap();
    assert_eq!(store.manifest(&second).unwrap().parts.len(), 300);
}

fn along(open: Open<'_>) {
    let store = open(200);
    let there = store.put_value(b"there").unwrap();
    // More than one transaction takes, large and small, one of them twice and one that is there already.
    let mut values: Vec<Vec<u8>> = (0..100).map(|n| format!("value {n}").into_bytes()).collect();
    values.extend([b"there".to_vec(), b"value 1".to_vec(), Vec::new(), vec![1; 900 << 10], vec![2; 3 << 20]]);
    let parts: Vec<_> = values.iter().enumerate().map(|(n, value)| (format!("p{n}"), Digest::of(value))).collect();
    let named: Vec<_> = parts.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
    let first = store.publish_with(&values, &manifest(1, &named), None).unwrap();
    let other = open(200);
    assert_eq!(other.pointer().unwrap(), Some(first));
    let digests: Vec<_> = values.iter().map(|value| Digest::of(value)).collect();
    assert!(digests.contains(&there) && other.values(&digests).unwrap() == values);
    assert_eq!(other.values(&[]).unwrap(), Vec::<Vec<u8>>::new());
    let absent = [digests[0], Digest::of(b"absent")];
    assert!(matches!(other.values(&absent), Err(StoreError::Missing(_))));
    // What is named and neither there nor along is missed; whoever comes second is told, and neither leaves a trace in what holds.
    let lacking = manifest(2, &[("a", absent[1])]);
    assert!(matches!(store.publish_with(&[b"b".to_vec()], &lacking, Some(&first)), Err(StoreError::Missing(_))));
    let late = store.publish_with(&[b"late".to_vec()], &manifest(2, &[("a", Digest::of(b"late"))]), None);
    assert!(matches!(late, Err(StoreError::Conflict { now: Some(now) }) if now == first));
    assert_eq!(store.pointer().unwrap(), Some(first));
}

fn one_wins(open: Open<'_>) {
    let won = AtomicU64::new(0);
    let stores: Vec<_> = (0..4).map(|_| open(200)).collect();
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(|| {
                for _ in 0..10 {
                    let seen = store.pointer().unwrap();
                    let next = manifest(seen.map_or(1, |seen| seen.revision + 1), &[]);
                    match store.publish(&next, seen.as_ref()) {
                        Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(stores[0].pointer().unwrap().unwrap().revision, won.into_inner());
}

fn wakes(open: Open<'_>) {
    let (store, other) = (open(200), open(200));
    let publisher = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.publish(&manifest(1, &[]), None).unwrap();
    });
    assert!(store.wait(None, Duration::from_secs(20)).unwrap());
    let seen = store.pointer().unwrap();
    assert!(!store.wait(seen.as_ref(), Duration::from_millis(50)).unwrap());
    publisher.join().unwrap();
    // What moved between two waits is seen at once, or by the look that follows.
    let second = open(200).publish(&manifest(2, &[]), seen.as_ref()).unwrap();
    let _ = store.wait(seen.as_ref(), Duration::from_secs(5)).unwrap();
    assert_eq!(store.pointer().unwrap(), Some(second));
}

fn canaries(open: Open<'_>) {
    let store = open(200);
    let over = store.publish(&manifest(1, &[]), None).unwrap();
    let canary = move |until: u64| Canary { manifest: manifest(2, &[]), over, nodes: vec!["a".into()], until };
    assert_eq!(store.canary().unwrap(), None);
    let other = open(200);
    let putter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.set_canary(Some(&canary(100)), None).unwrap();
    });
    let began = clock::now();
    assert!(!store.wait(Some(&over), Duration::from_secs(20)).unwrap(), "the pointer stands");
    assert!(began.elapsed() < Duration::from_secs(10), "and who waits wakes all the same");
    putter.join().unwrap();
    assert_eq!(store.canary().unwrap(), Some(canary(100)));
    assert!(canary(100).holds_for("a", &over, 99));
    assert!(!canary(100).holds_for("b", &over, 99) && !canary(100).holds_for("a", &over, 100));
    assert!(!canary(100).holds_for("a", &manifest(3, &[]).pointer(), 99));
    for wrong in [None, Some(canary(101))] {
        assert!(matches!(store.set_canary(Some(&canary(7)), wrong.as_ref()), Err(StoreError::Conflict { .. })));
    }
    store.set_canary(Some(&canary(101)), Some(&canary(100))).unwrap();
    store.set_canary(None, Some(&canary(101))).unwrap();
    assert_eq!((store.canary().unwrap(), store.pointer().unwrap()), (None, Some(over)));
}

/// From a folder to etcd: keys, what was done by hand and sealed secrets come along, and the nodes notice nothing.
#[test]
fn a_deployment_moves_from_a_folder() {
    let mut setup = Setup::new("etcd-moves");
    setup.ctl_env.push(("WEIR_AUTHOR".into(), "t".into()));
    let scratch = Scratch::new("etcd-moves-store");
    let etcd = Etcd::start(scratch.path());
    setup.add(weir_tests::Model::new(weir_tests::Dialect::OpenAi, "name=own,events=2").id("own").credentials(&[(
        "main",
        "",
        "sealed = true",
    )]));
    let mut weir = setup.start();
    let set = ["vendor", "credential", "set", "vendor-own", "--wait"];
    let (code, said) = gateway::try_ctl_reading(&weir.setup, &set, b"sk-moved");
    assert_eq!(code, 0, "{said}");
    weir.ctl(&["route", "drain", "vendor-good-gemini", "--wait"]);
    let (history, revision) = (weir.ctl(&["history", "--json"]), weir.ctl(&["status", "--json"])["revision"].clone());
    let copied = weir.ctl(&["store", "copy", "--to", &etcd.store(), "--json"]);
    assert_eq!(copied["revision"], revision, "{copied:#}");
    weir.setup.store = Some(etcd.store());
    weir.reboot();
    assert_eq!(weir.ctl(&["history", "--json"]), history);
    assert!(eventually(|| node(&weir)["state"] == "current"), "{}", node(&weir));
    assert_eq!(weir.chat("own").status, 200, "{}", weir.stderr());
    assert_eq!(weir.call(&Call::Generate.request("good-gemini", false)).code(), "upstream_drained");
    // And on from there.
    let key = weir.new_key(&["--name", "after"]);
    assert_eq!(weir.call(&Call::Chat.request("own", false).key(&key)).status, 200);
    weir.lives();
}

fn newest_stay(open: Open<'_>) {
    let store = open(3);
    let mut seen = None;
    for revision in 1..=9 {
        seen = Some(store.publish(&manifest(revision, &[]), seen.as_ref()).unwrap());
    }
    let revisions = |most| store.history(most).unwrap().iter().map(|manifest| manifest.revision).collect::<Vec<_>>();
    assert_eq!(revisions(10), [9, 8, 7]);
    assert_eq!(revisions(2), [9, 8]);
}

fn pages(open: Open<'_>) {
    let store = open(200);
    let page = |node: &str| NodePage { node: node.into(), applied: 3, ..NodePage::default() };
    store.write_page(&page("b-2")).unwrap();
    store.write_page(&page("a-1")).unwrap();
    store.write_page(&page("a-1")).unwrap();
    assert_eq!(open(200).pages().unwrap(), [page("a-1"), page("b-2")]);
    assert!(matches!(store.write_page(&page("../x")), Err(StoreError::Refused(_))));
    store.remove_page("a-1").unwrap();
    store.remove_page("a-1").unwrap();
    assert_eq!(store.pages().unwrap(), [page("b-2")]);
}

fn sizes(open: Open<'_>) {
    let store = open(200);
    for size in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        let digest = store.put_value(&bytes).unwrap();
        assert_eq!(store.put_value(&bytes).unwrap(), digest);
        assert!(open(200).value(&digest).unwrap() == bytes, "{size}");
    }
}

fn never_back(open: Open<'_>) {
    let store = open(200);
    let first = store.publish(&manifest(5, &[]), None).unwrap();
    for revision in [4, 5] {
        assert!(matches!(store.publish(&manifest(revision, &[]), Some(&first)), Err(StoreError::Conflict { .. })));
    }
    let raised = Manifest { epoch: 1, ..manifest(1, &[]) };
    let raised = store.publish(&raised, Some(&first)).unwrap();
    assert_eq!(store.pointer().unwrap(), Some(raised));
}

/// Values that no kept manifest names go after an hour of the revisions' own time, and none that is wanted again.
#[test]
fn what_nobody_names_goes() {
    let scratch = Scratch::new("etcd-sweep");
    let etcd = Etcd::start(scratch.path());
    let store = store::Etcd::open(etcd.client(), PATIENCE).unwrap().keeping(3);
    let [old, wanted, kept] = [&b"old"[..], b"wanted again", b"kept"].map(|bytes| store.put_value(bytes).unwrap());
    let mut seen = None;
    let mut publish = |revisions: std::ops::RangeInclusive<u64>, time: u64, parts: &[(&str, Digest)]| {
        for revision in revisions {
            seen = Some(store.publish(&Manifest { time, ..manifest(revision, parts) }, seen.as_ref()).unwrap());
            // It clears away beside whoever publishes.
            store.rest();
        }
    };
    publish(1..=1, 1_000, &[("a", old), ("b", wanted), ("c", kept)]);
    publish(2..=16, 1_000, &[("c", kept)]);
    assert!(store.value(&old).is_ok(), "it has been unnamed for no time yet");
    assert_eq!(store.put_value(b"wanted again").unwrap(), wanted);
    publish(17..=32, 1_000 + 3_600, &[("c", kept)]);
    assert!(matches!(store.value(&old), Err(StoreError::Missing(_))));
    assert!(store.value(&wanted).is_ok() && store.value(&kept).is_ok());
    publish(33..=33, 1_000 + 3_600, &[("b", wanted), ("c", kept)]);
    publish(34..=64, 1_000 + 9_000, &[("b", wanted)]);
    assert!(store.value(&wanted).is_ok());
}

// ── a gateway that follows it

fn setup(name: &str) -> (Setup, Etcd) {
    let mut setup = Setup::new(name);
    let etcd = Etcd::start(setup.scratch.path());
    setup.store = Some(etcd.store());
    (setup, etcd)
}

fn status_of(weir: &Gateway, key: &str) -> u16 {
    weir.call(&Call::Chat.request("good-openai", false).key(key)).status
}

fn id(key: &str) -> &str {
    &key[5..13]
}

/// The node has the newest revision on its own disk.
#[track_caller]
fn is_kept(weir: &Gateway) {
    let newest = weir.ctl(&["status", "--json"])["revision"].as_u64();
    let kept = || OwnCopy::open(&weir.state().join("snapshot")).unwrap().pointer().map(|at| at.revision);
    assert!(eventually(|| kept() == newest), "{}", weir.stderr());
}

fn stale(weir: &Gateway) -> bool {
    weir.ask_admin("/ready").json()["stale"] == true
}

#[test]
fn every_verb_works_over_it() {
    let (setup, _etcd) = setup("etcd-verbs");
    let mut weir = setup.start();
    assert!(eventually(|| weir.ctl(&["status", "--json"])["live"] == 1));
    weir.setup.folder("[alias]\nfast = \"good-openai\"");
    weir.apply();
    assert_eq!(weir.chat("fast").status, 200);
    let revisions = weir.ctl(&["history", "--json"]);
    assert_eq!(revisions["revisions"].as_array().map(Vec::len), Some(3), "{revisions}");
    weir.ctl(&["rollback", "1", "--wait", "--json"]);
    assert_eq!(weir.chat("fast").status, 404);
    let drained = gateway::try_ctl(&weir.setup, &["route", "drain", "vendor-good-openai", "--wait", "--json"]);
    assert_eq!(drained.0, 0, "{}", drained.1);
    assert_ne!(weir.chat("good-openai").status, 200);
    weir.ctl(&["route", "restore", "vendor-good-openai", "--wait", "--json"]);
    let status = weir.ctl(&["status", "--json"]);
    assert_eq!((&status["nodes"][0]["state"], &status["nodes"][0]["node"]), (&"current".into(), &"suite".into()));
    weir.lives();
    // A node that is gone takes its page with it.
    weir.kill();
    let gone = || weir.ctl(&["status", "--json"])["nodes"].as_array().is_some_and(Vec::is_empty);
    assert!(within(Duration::from_secs(40), gone));
}

#[test]
fn a_revoked_key_is_refused_within_a_second() {
    let (setup, _etcd) = setup("etcd-revoke");
    let weir = setup.start();
    let mut worst = Duration::ZERO;
    for _ in 0..5 {
        let key = weir.new_key(&["--name", "short"]);
        assert_eq!(status_of(&weir, &key), 200);
        weir.ctl(&["key", "revoke", id(&key), "--json"]);
        let start = clock::now();
        assert!(eventually(|| status_of(&weir, &key) == 401));
        worst = worst.max(start.elapsed());
    }
    println!("revoked within {worst:?}");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    weir.lives();
}

#[test]
fn without_it_the_last_good_revision_serves_from_the_start() {
    let (setup, mut etcd) = setup("etcd-boot");
    let mut weir = setup.start();
    weir.lives();
    is_kept(&weir);
    etcd.stop();
    let start = clock::now();
    weir.reboot();
    assert_eq!(weir.chat("good-openai").status, 200);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    println!("served {:?} after the start", start.elapsed());
    let ready = weir.ask_admin("/ready");
    assert_eq!((ready.status, ready.json()["stale"].clone()), (200, true.into()));
    let (code, said) = gateway::try_ctl(&weir.setup, &["status"]);
    assert_eq!(code, 8, "{said}");
    etcd.start_again();
    assert!(eventually(|| !stale(&weir)));
    weir.new_key(&["--name", "after"]);
    weir.lives();
}

#[test]
fn without_it_and_without_a_snapshot_it_waits_and_says_so() {
    let (setup, mut etcd) = setup("etcd-nothing");
    std::fs::create_dir_all(setup.scratch.join("weir.d")).unwrap();
    std::fs::write(setup.scratch.join("weir.d/weir.toml"), setup.toml()).unwrap();
    gateway::ctl(&setup, &["apply", "--json"]);
    let key = gateway::ctl(&setup, &["key", "create", "--name", "k", "--json"]);
    etcd.stop();
    let weir = Gateway::boot(setup, key["key"].as_str().unwrap().to_owned());
    let answer = weir.chat("good-openai");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("config_unavailable"), "{}", answer.text());
    assert_eq!((weir.ask_admin("/ready").status, weir.ask_admin("/live").status), (503, 200));
    etcd.start_again();
    assert!(eventually(|| weir.chat("good-openai").status == 200), "{}", weir.stderr());
    assert_eq!(weir.ask_admin("/ready").status, 200);
    weir.lives();
}

/// Calls, one after the other, until it is told to end; how many there were, and all that were not answered with 200.
fn traffic(weir: &Gateway, end: &AtomicBool) -> (u64, Vec<u16>) {
    let (mut calls, mut bad) = (0, Vec::new());
    while !end.load(Ordering::Relaxed) {
        let answer = if calls % 2 == 0 { weir.chat("good-openai") } else { weir.stream("good-openai") };
        calls += 1;
        if answer.status != 200 || answer.broken.is_some() {
            bad.push(answer.status);
        }
    }
    (calls, bad)
}

/// Something happens under traffic, and no call notices.
fn under_traffic(weir: &Gateway, what: impl FnOnce()) {
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| traffic(weir, &end));
        what();
        end.store(true, Ordering::Relaxed);
        let (calls, bad) = calls.join().expect("the caller ends");
        assert!(calls > 20, "{calls}");
        assert!(bad.is_empty(), "{bad:?} of {calls}");
    });
}

#[test]
fn it_stops_under_traffic_and_comes_back() {
    let (setup, mut etcd) = setup("etcd-stop");
    let weir = setup.start();
    let key = weir.new_key(&["--name", "k"]);
    under_traffic(&weir, || {
        etcd.stop();
        assert!(eventually(|| stale(&weir)));
        std::thread::sleep(Duration::from_secs(3));
        etcd.start_again();
        assert!(eventually(|| !stale(&weir)));
    });
    weir.ctl(&["key", "revoke", id(&key), "--wait", "--json"]);
    assert_eq!(status_of(&weir, &key), 401);
    weir.lives();
}

#[test]
fn it_freezes_under_traffic_and_goes_on() {
    let (setup, etcd) = setup("etcd-freeze");
    let weir = setup.start();
    let key = weir.new_key(&["--name", "k"]);
    under_traffic(&weir, || {
        etcd.freeze();
        assert!(eventually(|| stale(&weir)));
        // Until the connection itself is given up.
        std::thread::sleep(Duration::from_secs(14));
        etcd.thaw();
        assert!(eventually(|| !stale(&weir)));
    });
    weir.ctl(&["key", "revoke", id(&key), "--wait", "--json"]);
    assert_eq!(status_of(&weir, &key), 401);
    weir.lives();
}

#[test]
fn what_was_revoked_in_compacted_history_is_revoked() {
    let (setup, etcd) = setup("etcd-compact");
    let weir = setup.start();
    let key = weir.new_key(&["--name", "k"]);
    assert_eq!(status_of(&weir, &key), 200);
    process::signal(weir.pid(), "STOP");
    weir.ctl(&["key", "revoke", id(&key), "--json"]);
    for n in 0..5 {
        weir.ctl(&["key", "create", "--name", &format!("k{n}"), "--json"]);
    }
    etcd.compact();
    process::signal(weir.pid(), "CONT");
    assert!(eventually(|| status_of(&weir, &key) == 401), "{}", weir.stderr());
    // And while it is connected.
    etcd.compact();
    let second = weir.new_key(&["--name", "second"]);
    weir.ctl(&["key", "revoke", id(&second), "--wait", "--json"]);
    assert_eq!(status_of(&weir, &second), 401);
    weir.lives();
}

/// How the one node stands, and what it says.
fn node(weir: &Gateway) -> Value {
    weir.ctl(&["status", "--json"])["nodes"][0].clone()
}

#[test]
fn a_restored_older_copy_is_refused_until_it_is_meant() {
    let (setup, mut etcd) = setup("etcd-restore");
    let mut weir = setup.start();
    let backup = etcd.save();
    let key = weir.new_key(&["--name", "younger than the backup"]);
    is_kept(&weir);
    etcd.restore(&backup, "etcd-cluster");
    assert!(eventually(|| node(&weir)["state"] == "ahead"), "{}", weir.stderr());
    assert!(node(&weir)["refused"]["reason"].as_str().is_some_and(|why| why.contains("--accept-regress")));
    assert_eq!(status_of(&weir, &key), 200);
    // Also a node that starts now keeps what it had.
    weir.reboot();
    assert_eq!(status_of(&weir, &key), 200);
    assert!(stale(&weir));
    assert!(eventually(|| node(&weir)["state"] == "ahead"));
    // Nor does it help that somebody publishes on top of the copy until its number is as high again.
    for n in 0..4 {
        weir.ctl(&["key", "create", "--name", &format!("k{n}"), "--json"]);
    }
    let refused = || node(&weir)["refused"]["reason"].as_str().is_some_and(|why| why.contains("is not the one"));
    assert!(eventually(refused), "{}", node(&weir));
    assert_eq!(status_of(&weir, &key), 200);
    weir.ctl(&["apply", "--accept-regress", "--wait", "--json"]);
    assert_eq!(status_of(&weir, &key), 401, "the copy does not know it");
    assert!(!stale(&weir));
    assert_eq!(node(&weir)["state"], "current");
    weir.lives();
}

#[test]
fn another_cluster_is_refused_until_it_is_meant() {
    let (setup, mut etcd) = setup("etcd-cluster");
    let mut weir = setup.start();
    is_kept(&weir);
    let backup = etcd.save();
    etcd.restore(&backup, "somebody-elses");
    let refused = |weir: &Gateway| weir.stderr().contains("another cluster");
    assert!(eventually(|| refused(&weir)), "{}", weir.stderr());
    weir.ctl(&["key", "create", "--name", "elsewhere", "--json"]);
    weir.reboot();
    assert!(eventually(|| stale(&weir)));
    weir.ctl(&["apply", "--accept-regress", "--wait", "--json"]);
    assert!(!stale(&weir));
    weir.lives();
}

#[test]
fn a_cluster_loses_its_leader_and_its_quorum() {
    let mut setup = Setup::new("etcd-three");
    let mut three = Etcd::start_three(setup.scratch.path());
    let clients: Vec<_> = three.iter().map(Etcd::client).collect();
    setup.store = Some(format!("etcd:{}", clients.join(",")));
    let weir = setup.start();
    let key = weir.new_key(&["--name", "k"]);
    let leader = three.iter().position(Etcd::leads).expect("somebody leads");
    under_traffic(&weir, || {
        three[leader].stop();
        // One of three is down: every verb works, each time.
        for n in 0..5 {
            let key = weir.new_key(&["--name", &format!("k{n}")]);
            weir.ctl(&["key", "revoke", id(&key), "--wait", "--json"]);
        }
        three[(leader + 1) % 3].stop();
        assert!(eventually(|| stale(&weir)));
        let (code, said) = gateway::try_ctl(&weir.setup, &["key", "create", "--name", "no"]);
        assert_eq!(code, 8, "{said}");
        three[leader].start_again();
        assert!(eventually(|| !stale(&weir)), "{}", weir.stderr());
    });
    weir.ctl(&["key", "revoke", id(&key), "--wait", "--json"]);
    assert_eq!(status_of(&weir, &key), 401);
    weir.lives();
}

#[test]
fn of_many_writers_none_loses_a_key() {
    let (setup, _etcd) = setup("etcd-writers");
    let weir = setup.start();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let weir = &weir;
            scope.spawn(move || {
                for n in 0..5 {
                    weir.ctl(&["key", "create", "--name", &format!("w{writer}-{n}"), "--json"]);
                }
            });
        }
    });
    let list = weir.ctl(&["key", "list", "--json"]);
    let names: std::collections::BTreeSet<_> =
        list["keys"].as_array().expect("a list").iter().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!(names.len(), 21, "{names:?}");
    weir.lives();
}

// ── who may do what

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The commands of `deploy/README.md`, as they stand there.
fn documented(mark: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(weir_tests::binary::root().join("deploy/README.md")).expect("it is there");
    let block = readme.split("```sh\n").find(|block| block.starts_with(mark)).expect("the commands are there");
    let commands = block.split("```").next().unwrap_or_default().lines();
    commands.filter_map(|line| line.strip_prefix("etcdctl ")).map(str::to_owned).collect()
}

#[test]
fn a_node_may_read_and_write_its_own_page_and_nothing_else() {
    let (mut setup, mut etcd) = setup("etcd-roles");
    for command in documented("# roles of an etcd") {
        let words: Vec<_> =
            command.replace("NODE", "suite").split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
        etcd.ctl(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    etcd.login = vec!["--user".into(), "root:ROOT-PASSWORD".into()];
    setup.env = variables(&[("WEIR_ETCD_USER", "weir-suite"), ("WEIR_ETCD_PASSWORD", "suite-PASSWORD")]);
    let (code, said) = gateway::try_ctl(&setup, &["status"]);
    assert_eq!(code, 8, "{said}");
    assert!(said.contains("WEIR_ETCD_USER"), "{said}");
    setup.ctl_env = variables(&[("WEIR_ETCD_USER", "weirctl"), ("WEIR_ETCD_PASSWORD", "weirctl-PASSWORD")]);
    let weir = setup.start();
    assert!(eventually(|| node(&weir)["state"] == "current"));
    let key = weir.new_key(&["--name", "k"]);
    weir.ctl(&["key", "revoke", id(&key), "--wait", "--json"]);
    assert_eq!(status_of(&weir, &key), 401);
    etcd.login = vec!["--user".into(), "weir-suite:suite-PASSWORD".into()];
    assert!(etcd.try_ctl(&["get", "weir/v1/pointer"]).0);
    for key in ["weir/v1/pointer", "weir/v1/nodes/other", "weir/v1/values/x/0000", "weir/v1/manifests/x", "other"] {
        let (done, said) = etcd.try_ctl(&["put", key, "mine"]);
        assert!(!done && said.contains("permission denied"), "{key}: {said}");
    }
    weir.lives();
}

/// A CA, and a certificate for 127.0.0.1 that serves both sides.
fn certificates(folder: &Path) -> [String; 3] {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.signed_by(&own, &issuer).unwrap();
    let texts = [("ca.pem", ca.pem()), ("cert.pem", cert.pem()), ("key.pem", own.serialize_pem())];
    texts.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[test]
fn with_tls_and_a_certificate_of_the_clients() {
    let mut setup = Setup::new("etcd-tls");
    let [ca, cert, key] = certificates(setup.scratch.path());
    let options = ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth"]
        .map(|word| word as &str);
    let etcd = Etcd::start_with(setup.scratch.path(), "https", &options);
    setup.store = Some(etcd.store());
    // Neither without the CA nor without a certificate.
    for some in [&[][..], &[("WEIR_ETCD_CA", ca.as_str())]] {
        setup.ctl_env = variables(some);
        assert_eq!(gateway::try_ctl(&setup, &["status"]).0, 8, "{some:?}");
    }
    let whole = [("WEIR_ETCD_CA", ca.as_str()), ("WEIR_ETCD_CERT", &cert), ("WEIR_ETCD_KEY", &key)];
    (setup.env, setup.ctl_env) = (variables(&whole), variables(&whole));
    let weir = setup.start();
    assert!(eventually(|| node(&weir)["state"] == "current"));
    weir.new_key(&["--name", "k"]);
    weir.lives();
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    let mut setup = Setup::new("etcd-address");
    for (address, word) in [
        ("etcd:http://10.0.0.1:2379", "WEIR_ETCD_INSECURE=1"),
        ("etcd:127.0.0.1:2379", "write http://"),
        ("etcd:http://127.0.0.1:1", "127.0.0.1:1"),
        ("consul:x", "etcd:http://HOST:PORT"),
    ] {
        setup.store = Some(address.into());
        let (code, said) = gateway::try_ctl(&setup, &["status"]);
        assert!(code == 8 && said.contains(word), "{address}: {code} {said}");
    }
    // A port that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.store = Some(format!("etcd:http://{}", silent.local_addr().unwrap()));
    let (code, said) = gateway::try_ctl(&setup, &["status"]);
    assert!(code == 8 && said.contains("does not answer"), "{code} {said}");
}
