//! Vendors' secrets in the store: sealed on the way there, opened by nodes alone, rotated, and read by nobody else.

use std::path::PathBuf;

use serde_json::Value;
use weir_tests::gateway::{eventually, try_ctl, try_ctl_reading};
use weir_tests::{Call, Dialect, Gateway, Model, Setup};

const FIRST: &str = "sk-sealed-first-4711-do-not-show";
const SECOND: &str = "sk-sealed-second-4712-do-not-show";

fn sealed(name: &str) -> Gateway {
    let mut setup = Setup::new(name);
    let model = Model::new(Dialect::OpenAi, "name=own,events=2").id("own");
    setup.add(model.credentials(&[("main", "", "sealed = true")]));
    setup.start()
}

fn put(weir: &Gateway, words: &[&str], secret: &str) -> Value {
    let arguments = [&["vendor", "credential"], words, &["--wait", "--json"]].concat();
    let (code, said) = try_ctl_reading(&weir.setup, &arguments, secret.as_bytes());
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(said.trim()).unwrap()
}

/// What the vendor was shown last.
fn shown(weir: &Gateway) -> String {
    let answer = weir.chat("own");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let captured = weir.vendor().last("name=own,events=2").expect("the vendor was asked");
    let head = String::from_utf8_lossy(&captured.head).into_owned();
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:")).expect("a credential");
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

fn warnings(weir: &Gateway) -> Value {
    weir.ctl(&["status", "--json"])["nodes"][0]["warnings"].clone()
}

fn kek(weir: &Gateway) -> PathBuf {
    weir.state().join("secret/kek")
}

/// All that is left behind, and all that can be asked, holds none of it.
fn keeps_quiet(weir: &Gateway) {
    let mut said = vec![weir.log(), weir.stderr(), weir.metrics(), weir.ask_admin("/status").text()];
    said.push(String::from_utf8_lossy(&weir.ask_admin("/shapes?since=0").body).into_owned());
    for words in
        [&["show"][..], &["history"], &["export"], &["diff", "1"], &["vendor", "credential", "list"], &["plan"]]
    {
        said.push(try_ctl(&weir.setup, words).1);
        said.push(try_ctl(&weir.setup, &[words, &["--json"]].concat()).1);
    }
    let mut folders = vec![weir.state(), weir.setup.scratch.join("weir.d")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => said.push(String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()),
            }
        }
    }
    let key = std::fs::read_to_string(kek(weir)).unwrap_or_default();
    let inside = weir.state().join("secret");
    for text in &said {
        for secret in [FIRST, SECOND] {
            assert!(!text.contains(secret), "{secret} in {}", &text[..text.len().min(2_000)]);
        }
        // The key itself is in its own file alone.
        for line in key.lines().filter(|_| *text != key) {
            assert!(!text.contains(line), "the key of {} in {}", inside.display(), &text[..text.len().min(2_000)]);
        }
    }
}

#[test]
fn a_secret_is_sealed_rotated_and_told_to_its_vendor_alone() {
    let weir = sealed("secrets-life");
    let answer = weir.chat("own");
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_upstream_credential"), "{}", answer.text());
    assert!(warnings(&weir)[0].as_str().unwrap().contains("weirctl vendor credential set vendor-own#main"));
    let first = put(&weir, &["set", "vendor-own"], &format!("{FIRST}\n"));
    assert_eq!((&first["version"], shown(&weir).as_str()), (&1.into(), FIRST));
    assert_eq!(put(&weir, &["rotate", "vendor-own#main"], SECOND)["version"], 2);
    assert_eq!(shown(&weir), SECOND);
    put(&weir, &["revert", "vendor-own"], "");
    assert_eq!(shown(&weir), FIRST);
    put(&weir, &["revert", "vendor-own"], "");
    assert_eq!((shown(&weir).as_str(), warnings(&weir)), (SECOND, Value::Null));
    let list = weir.ctl(&["vendor", "credential", "list", "--json"]);
    let row = &list["credentials"][0];
    assert_eq!((&row["version"], &row["previous"], &row["asked_for"]), (&2.into(), &1.into(), &true.into()));
    // The folder changes nothing of it, and a rollback neither.
    weir.ctl(&["rollback", "1", "--wait"]);
    weir.apply();
    assert_eq!(shown(&weir), SECOND);
    let diff = weir.ctl(&["diff", "1", "--json"]);
    assert_eq!(
        (&diff["changes"][1]["kind"], &diff["changes"][1]["name"]),
        (&"sealed".into(), &"vendor-own#main".into())
    );
    keeps_quiet(&weir);
    // Not by the command line, not for names that are none, not when there is nothing.
    assert_eq!(try_ctl(&weir.setup, &["vendor", "credential", "set", "vendor-own", FIRST]).0, 64);
    assert_eq!(try_ctl_reading(&weir.setup, &["vendor", "credential", "set", "a/b"], b"x").0, 64);
    assert_eq!(try_ctl_reading(&weir.setup, &["vendor", "credential", "set", "a"], b" \n").0, 1);
    assert_eq!(try_ctl_reading(&weir.setup, &["vendor", "credential", "rotate", "a"], b"x").0, 7);
    weir.ctl(&["vendor", "credential", "remove", "vendor-own", "--wait"]);
    assert_eq!(weir.chat("own").status, 503);
    weir.lives();
}

#[test]
fn the_key_that_seals_changes_and_the_old_one_goes() {
    let mut weir = sealed("secrets-kek");
    put(&weir, &["set", "vendor-own"], FIRST);
    put(&weir, &["rotate", "vendor-own"], SECOND);
    let old = std::fs::read_to_string(kek(&weir)).unwrap();
    assert_eq!(weir.ctl(&["vendor", "kek", "add", "--json"])["keys"].as_array().unwrap().len(), 2);
    let rotated = weir.ctl(&["vendor", "kek", "rotate", "--wait", "--json"]);
    assert_eq!(rotated["sealed"], 2, "the version before, too: {rotated:#}");
    assert_eq!((shown(&weir).as_str(), warnings(&weir)), (SECOND, Value::Null));
    assert_eq!(weir.ctl(&["vendor", "kek", "forget", "--json"])["removed"], 1);
    let new = std::fs::read_to_string(kek(&weir)).unwrap();
    assert!(!new.contains(old.trim()) && new.lines().count() == 1);
    // From what is on its disk, and without the store.
    weir.reboot();
    assert_eq!(shown(&weir), SECOND);
    put(&weir, &["revert", "vendor-own"], "");
    assert_eq!(shown(&weir), FIRST);
    keeps_quiet(&weir);

    // A node without the key serves everybody else's models, and says what it lacks.
    std::fs::write(kek(&weir), &old).unwrap();
    weir.reboot();
    assert_eq!(weir.chat("own").status, 503);
    assert!(eventually(|| warnings(&weir)[0]
        .as_str()
        .is_some_and(|why| why.contains("a key-encryption key that is not here"))));
    assert_eq!(try_ctl(&weir.setup, &["vendor", "kek", "rotate"]).0, 1, "what does not open is not sealed anew");
    // From a variable, as containers have it.
    std::fs::remove_file(kek(&weir)).unwrap();
    weir.setup.env.push(("WEIR_KEK".into(), new.trim().into()));
    weir.reboot();
    assert_eq!(shown(&weir), FIRST);
    weir.lives();
}

/// Of two versions the one before holds when the newest does not open.
#[test]
fn a_node_goes_on_with_the_version_before() {
    let mut weir = sealed("secrets-before");
    put(&weir, &["set", "vendor-own"], FIRST);
    let old = std::fs::read_to_string(kek(&weir)).unwrap();
    // Sealed by somebody whose key this node does not have.
    std::fs::remove_file(kek(&weir)).unwrap();
    put(&weir, &["rotate", "vendor-own"], SECOND);
    std::fs::write(kek(&weir), &old).unwrap();
    weir.reboot();
    assert_eq!(shown(&weir), FIRST);
    assert!(eventually(|| warnings(&weir)[0].as_str().is_some_and(|why| why.contains("the one before it is used"))));
    assert_eq!(weir.call(&Call::Chat.request("own", true)).status, 200);
    weir.lives();
}
