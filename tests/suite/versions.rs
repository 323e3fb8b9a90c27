//! Builds of different versions at one store: what an older one wrote is read, and written the same; what a newer one writes is
//! refused by its line where it cannot be understood, and the node goes on with what it had.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use weir_shared::draft::part;
use weir_shared::keyspace::Manifest;
use weir_shared::store::{Folder, Store};
use weir_tests::binary::root;
use weir_tests::gateway::{eventually, try_ctl};
use weir_tests::{Gateway, Setup};

fn store(weir: &Gateway) -> Folder {
    Folder::open(weir.state().join("store")).unwrap()
}

fn newest(store: &Folder) -> Manifest {
    store.manifest(&store.pointer().unwrap().unwrap()).unwrap()
}

/// A revision as a newer `weirctl` might write it: the newest with these parts, and whatever else is changed of it.
fn publish(weir: &Gateway, parts: &[(&str, Value)], change: impl FnOnce(&mut Manifest)) -> u64 {
    let store = store(weir);
    let before = store.pointer().unwrap();
    let mut manifest = newest(&store);
    manifest.revision += 1;
    for (name, value) in parts {
        let digest = store.put_value(value.to_string().as_bytes()).unwrap();
        manifest.parts.insert((*name).to_owned(), digest);
    }
    change(&mut manifest);
    store.publish(&manifest, before.as_ref()).unwrap();
    manifest.revision
}

fn node(weir: &Gateway) -> Value {
    let status = weir.ctl(&["status", "--json"]);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    nodes.into_iter().find(|node| node["node"] == "suite").unwrap_or_default()
}

/// It refused this revision in these words, and serves what it had.
#[track_caller]
fn refuses(weir: &Gateway, revision: u64, words: &[&str]) {
    let said = || node(weir)["refused"].clone();
    assert!(eventually(|| said()["revision"] == revision), "{:#}", node(weir));
    let reason = said()["reason"].as_str().unwrap_or_default().to_owned();
    assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    weir.lives();
}

#[test]
fn what_a_newer_build_writes_is_refused_by_its_line() {
    let weir = Setup::new("versions-newer").start();
    let before = newest(&store(&weir)).revision;
    let at = json!({"file": "teams/blue.toml", "line": 7});
    let tenant = json!({"source": at, "is": {"name": "blue", "colour": "blue"}});
    let fine = json!({"source": {"file": "teams/a.toml", "line": 1}, "is": {"name": "default"}});
    let word = json!({"schema": 1, "items": [fine, tenant]});
    let revision = publish(&weir, &[(part::TENANTS, word)], |_| {});
    refuses(&weir, revision, &["teams/blue.toml:7: tenants cannot be read", "unknown field `colour`"]);

    // The command line of this version says the same, changes nothing of it, and goes back where it is told to.
    let (exit, said) = try_ctl(&weir.setup, &["apply", "--wait", "--json"]);
    assert!(exit == 8 && said.contains("teams/blue.toml:7") && said.contains("use a newer weirctl"), "{exit}: {said}");
    assert_eq!(newest(&store(&weir)).revision, revision);
    weir.ctl(&["rollback", &before.to_string(), "--wait", "--json"]);
    weir.lives();

    let higher = json!({"schema": 2, "items": [{"source": at, "is": {"name": "blue"}}]});
    let revision = publish(&weir, &[(part::TENANTS, higher)], |_| {});
    refuses(&weir, revision, &["teams/blue.toml:7: tenants has schema 2, this build reads up to 1"]);
    weir.ctl(&["rollback", &before.to_string(), "--wait", "--json"]);

    let revision = publish(&weir, &[("guards", json!({"schema": 1, "items": []}))], |_| {});
    refuses(&weir, revision, &["guards is a part that this build does not know"]);
    weir.ctl(&["rollback", &before.to_string(), "--wait", "--json"]);

    // What is the control plane's alone concerns no node, and is carried over by who does not know it.
    let notes = json!({"schema": 9, "anything": true});
    let revision = publish(&weir, &[("beside/notes", notes)], |_| {});
    assert!(eventually(|| node(&weir)["applied"] == revision), "{:#}", node(&weir));
    weir.new_key(&["--name", "later"]);
    assert!(newest(&store(&weir)).parts.contains_key("beside/notes"));

    let revision = publish(&weir, &[], |manifest| manifest.schema = 2);
    refuses(&weir, revision, &["its manifest has schema 2"]);
    let (exit, said) = try_ctl(&weir.setup, &["key", "create", "--json"]);
    assert!(exit == 8 && said.contains("was written by a newer weirctl"), "{exit}: {said}");
}

/// Also within one entry of what was done by hand: a drain of a newer build for one region alone is no drain everywhere.
#[test]
fn a_newer_word_of_what_was_done_by_hand_is_refused() {
    let weir = Setup::new("versions-by-hand").start();
    let drain = json!({"what": "vendor-good-openai", "author": "t", "reason": "", "since": 1, "regions": ["eu"]});
    let revision = publish(&weir, &[(part::OVERLAY, json!({"schema": 1, "drains": [drain]}))], |_| {});
    refuses(&weir, revision, &["overlay cannot be read", "unknown field `regions`", "`until`"]);
    let (exit, said) = try_ctl(&weir.setup, &["route", "list", "--json"]);
    assert!(exit == 8 && said.contains("unknown field `regions`"), "{exit}: {said}");
}

/// In one fleet: the newer node serves what the older one refuses, and a page says more than this version knows.
#[test]
fn nodes_of_two_versions_are_told_apart() {
    let weir = Setup::new("versions-mixed").start();
    let overlay = json!({"schema": 1, "drains": [], "detours": [{"from": "a"}]});
    let revision = publish(&weir, &[(part::OVERLAY, overlay)], |_| {});
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let page = json!({
        "node": "newer", "applied": revision, "admin": "127.0.0.1:1", "data": "127.0.0.1:1", "version": "9.9.9",
        "started": now, "seen": now, "pid": 1, "mood": "bright",
    });
    std::fs::write(weir.state().join("store/nodes/newer.json"), page.to_string()).unwrap();
    refuses(&weir, revision, &["overlay cannot be read", "detours"]);
    let status = weir.ctl(&["status", "--json"]);
    let nodes = status["nodes"].as_array().unwrap().iter();
    let states: BTreeMap<_, _> =
        nodes.filter_map(|node| Some((node["node"].as_str()?, node["state"].as_str()?))).collect();
    assert_eq!(states.get("newer"), Some(&"current"), "{status:#}");
    assert_eq!(states.get("suite"), Some(&"refused"), "{status:#}");
}

#[test]
fn what_an_older_build_wrote_is_read_and_written_the_same() {
    let mut setup = Setup::new("versions-older");
    setup.models.clear();
    let older = root().join("tests/stores/older");
    copy(&older.join("store"), &setup.scratch.join("state/store"));
    copy(&older.join("weir.d"), &setup.scratch.join("weir.d"));
    let weir = Gateway::boot(setup, String::new());
    assert!(eventually(|| node(&weir)["applied"] == 4), "{:#}", node(&weir));
    assert_eq!(weir.ctl(&["key", "list", "--json"])["keys"].as_array().unwrap().len(), 2);
    // Applied anew, and with one thing more: all other parts keep their bytes, so an older node goes on to read them.
    assert_eq!(weir.ctl(&["apply", "--json"])["changed"], false);
    let before = newest(&store(&weir)).parts;
    let path = weir.setup.scratch.join("weir.d/weir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("quick = \"small\"", "quick = \"large\"")).unwrap();
    weir.ctl(&["apply", "--wait", "--json"]);
    let after = newest(&store(&weir)).parts;
    let changed: Vec<_> =
        after.iter().filter(|(name, digest)| before.get(*name) != Some(*digest)).map(|p| p.0).collect();
    assert_eq!(changed, ["aliases"]);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let there = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &there),
            false => drop(std::fs::copy(entry.path(), there).unwrap()),
        }
    }
}
