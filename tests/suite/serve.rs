//! `weirctl serve`: the same verbs over HTTP; who may do what, what is written down, and that its description is true.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use weir_shared::ledger::{FRAME_BYTES_MAX, Link, Record, SegmentHeader};
use weir_tests::clock;
use weir_tests::gateway::{try_ctl, try_ctl_reading, within};
use weir_tests::wire::Wire;
use weir_tests::{Answer, Call, Dialect, Gateway, Model, Request, Setup, binary};

struct Serve {
    child: Child,
    address: SocketAddr,
}

impl Serve {
    fn start(weir: &Gateway, more: &[&str]) -> Self {
        let mut command = Command::new(binary::weirctl());
        command.args(["serve", "--listen", "127.0.0.1:0", "--json", "--state"]).arg(weir.state()).args(more);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = said["url"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn ask(&self, request: &Request, token: &str) -> Answer {
        let mut wire = Wire::open(self.address);
        wire.send(request.bytes(token));
        wire.answer()
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(&Request::get(path), token)
    }

    fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.ask(&Request::post(path, body.to_string()), token)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(weir: &Gateway, words: &[&str]) -> (String, String) {
    let made = weir.ctl(&[&["token", "create", "--json"], words].concat());
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap_or_default().to_owned())
}

fn admin(weir: &Gateway) -> String {
    token(weir, &["--name", "root", "--role", "admin"]).1
}

#[test]
fn every_path_is_described_and_asks_who_it_is() {
    let weir = Setup::new("serve-roles").start();
    let serve = Serve::start(&weir, &[]);
    let roles = ["viewer", "operator", "billing", "admin"];
    let tokens = roles.map(|role| token(&weir, &["--name", role, "--role", role]).1);
    assert_eq!(serve.get("/live", "").status, 200);
    let described = serve.get("/openapi.json", "").json();
    assert_eq!(described["openapi"], "3.1.0");
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 30);
    for (path, methods) in paths {
        let (method, operation) = methods.as_object().unwrap().iter().next().unwrap();
        let request = |token: &str| match method.as_str() {
            "get" => serve.get(path, token),
            _ => serve.post(path, token, json!({"no such": "argument"})),
        };
        for wrong in ["", "weirctl-00000000-00", &weir.key] {
            if path.contains("status") || path.contains("apply") {
                assert_eq!(request(wrong).status, 401, "{path}");
            }
        }
        let needs = operation["x-weir-role"].as_str().unwrap();
        for (role, token) in roles.iter().zip(&tokens) {
            let may = *role == "admin" || needs == "viewer" || *role == needs;
            let answer = request(token);
            // What is allowed fails for another reason, or is answered; and each status is described.
            assert_eq!(answer.status == 403, !may, "{role} {path}: {}", answer.text());
            assert!(operation["responses"][answer.status.to_string()].is_object(), "{path}: {}", answer.status);
            assert!(answer.json().is_object(), "{path}: {}", answer.text());
            if answer.status != 200 {
                let error = answer.json()["error"].clone();
                assert!(error["message"].is_string() && error["next"].is_string(), "{path}: {error}");
            }
        }
        let other = if method == "get" { serve.post(path, &tokens[3], json!({})) } else { serve.get(path, &tokens[3]) };
        assert_eq!(other.status, 405, "{path}");
    }
    for nowhere in ["/", "/v1/", "/v1/serve", "/v1/store/copy", "/v1/vendor/credential/set", "/v1/init"] {
        assert_eq!(serve.get(nowhere, &tokens[3]).status, 404, "{nowhere}");
    }
    weir.lives();
}

/// The command line says the same by itself and through a server, and what it changes is changed.
#[test]
fn the_command_line_speaks_to_it() {
    let weir = Setup::new("serve-cli").start();
    let serve = Serve::start(&weir, &[]);
    let file = weir.setup.scratch.join("token");
    std::fs::write(&file, admin(&weir)).unwrap();
    let url = format!("http://{}", serve.address);
    let by = |words: &[&str]| {
        let server = ["--server", &url, "--token-file", file.to_str().unwrap()];
        try_ctl(&weir.setup, &[&server[..], words].concat())
    };
    let remote = |words: &[&str]| -> Value {
        let (code, said) = by(&[words, &["--json"]].concat());
        assert_eq!(code, 0, "{words:?}: {said}");
        serde_json::from_str(said.trim()).unwrap()
    };
    for words in
        [&["history"][..], &["show"], &["route", "list"], &["key", "list", "--all"], &["diff", "1", "2"], &["export"]]
    {
        assert_eq!(remote(words), weir.ctl(&[words, &["--json"]].concat()), "{words:?}");
        assert_eq!(by(words), try_ctl(&weir.setup, words), "{words:?}, for people");
    }
    let key = remote(&["key", "create", "--name", "far", "--model", "good-*", "--rpm", "60", "--wait"]);
    let text = key["key"].as_str().unwrap();
    assert_eq!(
        (&key["models"], weir.call(&Call::Chat.request("good-openai", false).key(text)).status),
        (&json!(["good-*"]), 200)
    );
    remote(&["route", "drain", "vendor-good-openai", "--reason=--odd = 'reason'", "--wait"]);
    assert_eq!(weir.chat("good-openai").code(), "upstream_drained");
    remote(&["route", "restore", "--all", "--wait"]);
    // The folder of this machine goes along.
    let folder = weir.setup.scratch.join("weir.d/more.toml");
    std::fs::write(&folder, "[alias]\nfar = \"good-openai\"\n").unwrap();
    assert_eq!(remote(&["plan"])["changes"][0]["name"], "far");
    assert_eq!(by(&["plan", "--exit-code"]).0, 2);
    let folder_named = weir.setup.scratch.join("weir.d");
    assert_eq!(by(&["plan", folder_named.to_str().unwrap(), "--exit-code"]).0, 2);
    assert_eq!(by(&["plan", "--journal", "/tmp"]).0, 64, "this machine's, and never silently another's");
    let applied = remote(&["apply", "--wait", "--reason", "from afar"]);
    assert_eq!(applied["nodes"][0]["state"], "applied", "{applied:#}");
    assert_eq!(weir.chat("far").status, 200);
    let newest = weir.ctl(&["history", "--json"])["revisions"][0].clone();
    assert!(newest["author"].as_str().unwrap().starts_with("root ("), "{newest}");
    std::fs::write(&folder, "[alias]\nfar = \"nowhere\"\n").unwrap();
    let (code, said) = by(&["apply"]);
    assert!(code == 3 && said.contains("more.toml:2"), "{code} {said}");
    for (words, code) in [
        (&["key", "revoke", "zzzzzzzz"][..], 7),
        (&["apply", "--base", "1"], 3),
        (&["store", "copy", "--to", "folder:/tmp/x"], 64),
        (&["rollback", "99"], 7),
    ] {
        assert_eq!(by(words).0, code, "{words:?}");
    }
    std::fs::write(&file, "weirctl-00000000-00").unwrap();
    assert_eq!(by(&["status"]).0, 1);
    assert_eq!(try_ctl(&weir.setup, &["--server", "http://192.0.2.1:1", "status"]).0, 64, "a token in the open");
    assert_eq!(try_ctl(&weir.setup, &["serve", "--listen", "0.0.0.0:0"]).0, 64, "tokens in the open");
    weir.lives();
}

/// Who only waits for news, also who has left since, takes nothing from those who change something; and nothing that is said
/// ends the audit log.
#[test]
fn nobody_takes_the_server_away() {
    let mut setup = Setup::new("serve-busy");
    setup.folder("[[tenant]]\nname = \"team\"\n");
    let weir = setup.start();
    let serve = Serve::start(&weir, &[]);
    let admin = token(&weir, &["--name", "a", "--role", "admin"]).1;
    let viewer = token(&weir, &["--name", "v", "--role", "viewer"]).1;
    let mut waiting: Vec<Wire> = (0..24).map(|_| Wire::open(serve.address)).collect();
    let ask = Request::get("/v1/watch?after=99999999").header("Connection", "close");
    waiting.iter_mut().for_each(|wire| assert!(wire.send(ask.bytes(&viewer))));
    std::thread::sleep(Duration::from_millis(500));
    drop(waiting.split_off(8));
    let started = clock::now();
    let made = serve.post("/v1/key/create", &admin, json!({"name": "A".repeat(100)}));
    assert_eq!(made.status, 200, "{}", made.text());
    let long = serve.post("/v1/key/create", &admin, json!({"name": "a", "reason": "A".repeat(200_000)}));
    assert!(matches!(long.status, 200 | 400), "{}", long.text());
    let gone = serve.post("/v1/key/revoke", &admin, json!({"ids": [made.json()["id"]]}));
    assert_eq!(gone.status, 200, "{}", gone.text());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // As many as there are places, and no more of one address: the others are closed, and it ends when it is told to.
    let crowd: Vec<Wire> = (0..200).map(|_| Wire::open(serve.address)).collect();
    let mut serve = serve;
    weir_tests::process::signal(serve.child.id(), "TERM");
    assert!(within(Duration::from_secs(5), || matches!(serve.child.try_wait(), Ok(Some(_)))), "it does not end");
    drop((waiting, crowd));
}

#[test]
fn who_is_bound_to_a_tenant_sees_nothing_else() {
    let mut setup = Setup::new("serve-tenant");
    setup.folder("[[tenant]]\nname = \"default\"\n[[tenant]]\nname = \"team\"\n");
    let weir = setup.start();
    let serve = Serve::start(&weir, &[]);
    let (id, own) = token(&weir, &["--name", "lead", "--role", "operator", "--tenant", "team"]);
    let made = serve.post("/v1/key/create", &own, json!({"name": "a"})).json();
    assert_eq!(made["tenant"], "team", "{made:#}");
    let listed = serve.get("/v1/key/list", &own).json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed:#}");
    let others = weir.ctl(&["key", "list", "--tenant", "default", "--json"]);
    let others = others["keys"][0]["id"].as_str().unwrap().to_owned();
    for (answer, what) in [
        (serve.post("/v1/key/create", &own, json!({"tenant": "default"})), "another tenant's key"),
        (serve.get("/v1/key/list?tenant=default", &own), "another tenant's keys"),
        (serve.get(&format!("/v1/key/show?id={others}"), &own), "a key of another tenant"),
        (serve.post("/v1/key/revoke", &own, json!({"ids": [made["id"], others]})), "one of both"),
        (serve.post("/v1/key/revoke", &own, json!({"ids": [made["id"], [others]]})), "hidden in a list"),
        (serve.post("/v1/key/rotate", &own, json!({"id": others})), "another tenant's key"),
        (serve.get("/v1/status", &own), "what is everybody's"),
        (serve.post("/v1/rollback", &own, json!({"revision": 1})), "what is everybody's"),
        (serve.post("/v1/limit/set", &own, json!({"what": others, "rpm": 1})), "another tenant's limit"),
    ] {
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    }
    assert_eq!(serve.post("/v1/key/revoke", &own, json!({"ids": [made["id"]]})).status, 200);
    // Who may look at everything follows what is published; it never holds the connection without an end.
    let viewer = token(&weir, &["--name", "v", "--role", "viewer"]).1;
    let now = serve.get("/v1/watch?after=0", &viewer).json();
    assert_eq!(now["news"], true, "{now:#}");
    let none = serve.get(&format!("/v1/watch?after={}&lasts=100ms", now["revision"]), &viewer).json();
    assert_eq!((&none["news"], &none["revision"]), (&false.into(), &now["revision"]), "{none:#}");
    assert_eq!(serve.get("/v1/watch", &viewer).header("x-weir-exit"), Some("64"));
    assert_eq!(serve.get("/v1/watch?after=0", &own).status, 403);
    // It ends with the next request.
    weir.ctl(&["token", "revoke", &id]);
    assert_eq!(serve.get("/v1/key/list", &own).status, 401);
    weir.lives();
}

/// Each change is written down before and after; what is changed in the log is seen, and no secret is in it.
#[test]
fn what_was_asked_for_is_written_down() {
    let weir = Setup::new("serve-audit").start();
    let serve = Serve::start(&weir, &[]);
    let root = admin(&weir);
    let key = serve.post("/v1/key/create", &root, json!({"name": "noted"})).json()["key"].as_str().unwrap().to_owned();
    serve.post("/v1/rollback", &root, json!({"revision": 999}));
    serve.get("/v1/status", &root);
    weir.new_key(&["--name", "by-hand"]);
    let audit = serve.get("/v1/audit?last=4", &root).json();
    let entries = audit["entries"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (entry["does"].as_str().unwrap(), entry["by"].as_str().unwrap(), entry["outcome"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("key create", "cli", "done"),
            ("key create", "cli", "asked"),
            ("rollback", "api", "missing"),
            ("rollback", "api", "asked"),
        ],
        "{audit:#}"
    );
    assert_eq!(entries[2]["with"]["revision"], 999);
    assert!(entries[2]["who"].as_str().unwrap().starts_with("root ("));
    let head = audit["head"].as_str().unwrap().to_owned();
    weir.ctl(&["audit", "--head", &head]);
    let path = weir.state().join("audit/log.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [&root, &key, &weir.key] {
        assert!(!text.contains(secret.as_str()));
    }
    assert!(everything(&weir.state()).iter().all(|text| !text.contains(&root)), "the token itself is kept nowhere");
    let cut: Vec<_> = text.lines().collect();
    std::fs::write(&path, cut[..cut.len() - 1].join("\n") + "\n").unwrap();
    let (code, said) = try_ctl(&weir.setup, &["audit", "--head", &head]);
    assert!(code == 1 && said.contains("cut off"), "{said}");
    std::fs::write(&path, text.replacen("noted", "noise", 1)).unwrap();
    let (code, said) = try_ctl(&weir.setup, &["audit"]);
    assert!(code == 1 && said.contains("does not follow"), "{said}");
    // What cannot be written down is not done.
    std::fs::write(&path, "no entry\n").unwrap();
    let before = weir.ctl(&["status", "--json"])["revision"].clone();
    assert_eq!(serve.post("/v1/key/create", &root, json!({})).status, 500);
    assert_eq!(weir.ctl(&["status", "--json"])["revision"], before);
    weir.lives();
}

fn everything(folder: &Path) -> Vec<String> {
    let (mut folders, mut texts) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => texts.push(String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()),
            }
        }
    }
    texts
}

/// Over TLS, with a token or with a client's certificate; strangers' certificates are none.
#[test]
fn over_tls_a_certificate_is_as_good_as_a_token() {
    let weir = Setup::new("serve-tls").start();
    let folder = weir.setup.scratch.path().to_owned();
    let (ca, issuer) = authority();
    let (server, server_key) = leaf(&issuer, "localhost");
    let (client, client_key) = leaf(&issuer, "laptop");
    let (_, stranger_issuer) = authority();
    let (stranger, stranger_key) = leaf(&stranger_issuer, "laptop");
    for (name, text) in [("ca", &ca), ("server", &server), ("client", &client)] {
        std::fs::write(folder.join(format!("{name}.pem")), text).unwrap();
    }
    std::fs::write(folder.join("server.key"), server_key.serialize_pem()).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (pem, key, ca_file) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let serve = Serve::start(&weir, &["--tls-cert", &pem, "--tls-key", &key, "--client-ca", &ca_file]);
    let asked = |identity: Option<(&str, &KeyPair)>| over_tls(serve.address, &ca, identity);
    assert!(asked(None).unwrap().contains(" 401 "));
    assert!(asked(Some((&client, &client_key))).unwrap().contains(" 401 "), "nobody said what it may do");
    weir.ctl(&["token", "create", "--name", "laptop", "--role", "viewer", "--certificate", &file("client.pem")]);
    assert!(asked(Some((&client, &client_key))).unwrap().contains(" 200 "));
    assert!(asked(Some((&stranger, &stranger_key))).is_none_or(|answer| answer.is_empty()), "not of that authority");
    // The command line, with the server's authority and a token.
    std::fs::write(folder.join("token"), admin(&weir)).unwrap();
    let url = format!("https://localhost:{}", serve.address.port());
    let by = |ca: &str| {
        try_ctl(&weir.setup, &["--server", &url, "--server-ca", ca, "--token-file", &file("token"), "history"])
    };
    assert_eq!(by(&ca_file), try_ctl(&weir.setup, &["history"]));
    assert_eq!(by(&file("client.pem")).0, 8, "a server that nobody vouches for");
    // And with its own certificate, which may look and not change.
    std::fs::write(folder.join("client.key"), client_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("stranger.pem"), &stranger).unwrap();
    std::fs::write(folder.join("stranger.key"), stranger_key.serialize_pem()).unwrap();
    let as_client = |name: &str, words: &[&str]| {
        let (pem, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        let places = ["--server", &url, "--server-ca", &ca_file, "--client-cert", &pem, "--client-key", &key];
        try_ctl(&weir.setup, &[&places[..], words].concat())
    };
    assert_eq!(as_client("client", &["history"]), try_ctl(&weir.setup, &["history"]));
    assert_ne!(as_client("client", &["key", "create"]).0, 0);
    assert_ne!(as_client("stranger", &["history"]).0, 0);
    let (exit, said) = try_ctl(&weir.setup, &["--server", &url, "--client-cert", &pem, "history"]);
    assert!(exit == 64 && said.contains("--client-key"), "{said}");
    weir.lives();
}

/// A vendor's secret is sealed where the command line runs: what goes to the server, and what it leaves behind, opens nowhere else.
#[test]
fn a_vendors_secret_is_sealed_before_it_is_sent() {
    const FIRST: &str = "sk-over-the-api-first";
    const SECOND: &str = "sk-over-the-api-second";
    let mut setup = Setup::new("serve-secret");
    let model = Model::new(Dialect::OpenAi, "name=own,events=2").id("own");
    setup.add(model.credentials(&[("main", "", "sealed = true")]));
    let weir = setup.start();
    let serve = Serve::start(&weir, &[]);
    let (root, viewer) = (admin(&weir), token(&weir, &["--name", "v", "--role", "operator"]).1);
    let by = |token: &str, words: &[&str], secret: &str| {
        let file = weir.setup.scratch.join("token");
        std::fs::write(&file, token).unwrap();
        let url = format!("http://{}", serve.address);
        let places = ["--server", &url, "--token-file", file.to_str().unwrap(), "vendor", "credential"];
        try_ctl_reading(&weir.setup, &[&places[..], words, &["--wait", "--json"]].concat(), secret.as_bytes())
    };
    let shown = || {
        assert_eq!(weir.chat("own").status, 200);
        String::from_utf8_lossy(&weir.vendor().last("name=own,events=2").expect("a call").head).into_owned()
    };
    assert_eq!(by(&root, &["rotate", "vendor-own"], FIRST).0, 7, "there is none to rotate");
    assert_ne!(by(&viewer, &["set", "vendor-own"], FIRST).0, 0, "not for operators");
    let (exit, said) = by(&root, &["set", "vendor-own"], FIRST);
    assert_eq!(exit, 0, "{said}");
    assert!(shown().contains(FIRST));
    let (exit, said) = by(&root, &["rotate", "vendor-own"], SECOND);
    assert!(exit == 0 && said.contains("\"version\": 2"), "{said}");
    assert!(shown().contains(SECOND));
    weir.ctl(&["vendor", "credential", "revert", "vendor-own", "--wait"]);
    assert!(shown().contains(FIRST));
    // One that was sealed for another place or version, or is nothing of the kind, is refused or opens nowhere.
    for (sealed, exit) in
        [("{}", 64), ("x", 64), (r#"{"version":9,"kek":"k","wrapped":"","sealed":"","since":0,"author":""}"#, 4)]
    {
        let answer = serve.post("/v1/vendor/credential/put", &root, json!({"what": "vendor-own", "sealed": sealed}));
        assert_eq!(answer.header("x-weir-exit"), Some(&*exit.to_string()), "{sealed}: {}", answer.text());
    }
    let left = everything(&weir.state()).join("\n") + &weir.log() + &weir.stderr();
    assert!(!left.contains(FIRST) && !left.contains(SECOND), "it lies in the open");
    weir.lives();
}

/// The keys that seal are made, put to use and forgotten where the server runs; nobody is told more of them than their ids.
#[test]
fn the_keys_that_seal_are_rotated_where_the_server_runs() {
    let mut setup = Setup::new("serve-kek");
    let model = Model::new(Dialect::OpenAi, "name=own,events=2").id("own");
    setup.add(model.credentials(&[("main", "", "sealed = true")]));
    let weir = setup.start();
    let serve = Serve::start(&weir, &[]);
    let (root, operator) = (admin(&weir), token(&weir, &["--name", "o", "--role", "operator"]).1);
    let set = ["vendor", "credential", "set", "vendor-own", "--wait"];
    assert_eq!(try_ctl_reading(&weir.setup, &set, b"sk-sealed").0, 0);
    let file = weir.state().join("secret/kek");
    let old = std::fs::read_to_string(&file).unwrap();
    assert_eq!(serve.post("/v1/vendor/kek/rotate", &operator, json!({})).status, 403);
    let listed = serve.get("/v1/vendor/kek/list", &operator).json();
    assert_eq!(listed["keys"][0]["versions"], 1, "{listed:#}");
    let rotated = serve.post("/v1/vendor/kek/rotate", &root, json!({"wait": true})).json();
    assert_eq!((&rotated["sealed"], &rotated["nodes"][0]["state"]), (&1.into(), &"applied".into()), "{rotated:#}");
    // The command line asks the server, and not what lies beside itself.
    let (token_file, url) = (weir.setup.scratch.join("token"), format!("http://{}", serve.address));
    std::fs::write(&token_file, &root).unwrap();
    let forget = ["--server", &url, "--token-file", token_file.to_str().unwrap(), "vendor", "kek", "forget", "--json"];
    let (exit, said) = try_ctl(&weir.setup, &forget);
    assert!(exit == 0 && said.contains("\"removed\": 1"), "{said}");
    let new = std::fs::read_to_string(&file).unwrap();
    assert!(!new.contains(old.trim()) && new.lines().count() == 1);
    assert_eq!(weir.chat("own").status, 200);
    for key in [old.trim(), new.trim()] {
        assert!(![&rotated.to_string(), &said].iter().any(|told| told.contains(key)));
    }
    // Of several that come at once none undoes another, and there is an end to it.
    let made: usize = std::thread::scope(|scope| {
        let add = || serve.post("/v1/vendor/kek/add", &root, json!({})).status == 200;
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(add)).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!((made, std::fs::read_to_string(&file).unwrap().lines().count()), (7, 8));
    assert_eq!(serve.get("/v1/vendor/kek/list", &root).json()["keys"].as_array().unwrap().len(), 8);
    weir.ctl(&["apply", "--wait", "--accept-regress"]);
    assert_eq!(weir.chat("own").status, 200);
    // Where the keys are not, nothing is rotated, and no key is made that would open nothing.
    std::fs::remove_file(&file).unwrap();
    let refused = serve.post("/v1/vendor/kek/rotate", &root, json!({}));
    assert_eq!(refused.header("x-weir-exit"), Some("1"), "{}", refused.text());
    assert!(!file.exists());
    let audit = serve.get("/v1/audit?last=1", &root).json();
    assert_eq!(audit["entries"][0]["does"], "vendor kek rotate", "{audit:#}");
    weir.lives();
}

/// What removes records is for admins alone, and is written down.
#[test]
fn old_records_are_removed_where_the_server_runs() {
    let weir = Setup::new("serve-prune").start();
    let serve = Serve::start(&weir, &[]);
    let (root, billing) = (admin(&weir), token(&weir, &["--name", "b", "--role", "billing"]).1);
    let folder = weir.state().join("journal/gone");
    std::fs::create_dir_all(&folder).unwrap();
    let mut link = Link::default();
    for number in 0..3 {
        link = segment(&folder.join(format!("core-0-{number}.wj")), number, link);
    }
    let left = || std::fs::read_dir(&folder).unwrap().count();
    let asked = json!({"before": "1970-01-02", "dry_run": true});
    assert_eq!(serve.post("/v1/usage/prune", &billing, asked.clone()).status, 403);
    let would = serve.post("/v1/usage/prune", &root, asked).json();
    assert_eq!(
        (&would["records"], would["segments"].as_array().unwrap().len(), left()),
        (&1.into(), 1, 3),
        "{would:#}"
    );
    let elsewhere = json!({"before": "1970-01-02", "journal": "/"});
    assert_eq!(serve.post("/v1/usage/prune", &root, elsewhere).status, 400, "the server's own journals alone");
    let done = serve.post("/v1/usage/prune", &root, json!({"before": "1970-01-02"})).json();
    assert_eq!((&done["records"], left()), (&1.into(), 2), "{done:#}");
    let audit = serve.get("/v1/audit?last=2", &root).json();
    let entry = &audit["entries"][0];
    assert_eq!((&entry["does"], &entry["outcome"]), (&"usage prune".into(), &"done".into()), "{audit:#}");
    assert_eq!(entry["with"]["before"], "1970-01-02");
    weir.lives();
}

/// A segment with one record of that day since 1970; what the next one has to name.
fn segment(path: &Path, day: u64, previous: Link) -> Link {
    let header = SegmentHeader { node: "gone".into(), core: 0, created_ns: 0, first_sequence: day, previous };
    let mut bytes = header.encode().to_vec();
    let mut frame = [0; FRAME_BYTES_MAX];
    let record = Record { sequence: day, time_ns: day * 86_400_000_000_000, ..Record::default() };
    let (length, next) = record.encode(&previous, &mut frame).unwrap();
    bytes.extend_from_slice(&frame[..length]);
    std::fs::write(path, bytes).unwrap();
    next
}

/// A list goes along with the folder; what comes of it is written where it was asked for.
#[test]
fn a_list_and_a_folder_go_along_and_what_comes_of_them_is_written_here() {
    const LITELLM: &str = include_str!("../lists/litellm.json");
    let weir = Setup::new("serve-import").start();
    let serve = Serve::start(&weir, &[]);
    let token_file = weir.setup.scratch.join("token");
    std::fs::write(&token_file, token(&weir, &["--name", "v", "--role", "viewer"]).1).unwrap();
    let url = format!("http://{}", serve.address);
    let import = |places: &[&str], more: &[&str]| {
        let words = ["catalog", "import", "-", "--called", "groq=vendor-good-openai"];
        let (exit, said) = try_ctl_reading(&weir.setup, &[places, &words, more].concat(), LITELLM.as_bytes());
        assert_eq!(exit, 0, "{said}");
        said
    };
    let remote = ["--server", &url, "--token-file", token_file.to_str().unwrap()];
    assert_eq!(import(&remote, &["--json"]), import(&[], &["--json"]));
    let shown = import(&remote, &[]);
    assert!(shown.contains("would write prices/vendor-good-openai.toml"), "{shown}");
    let prices = weir.setup.scratch.join("weir.d/prices/vendor-good-openai.toml");
    assert!(!prices.exists(), "it was only shown");
    let shown = import(&remote, &["--write"]);
    assert!(shown.contains("wrote") && prices.exists(), "{shown}");
    let written = std::fs::read_to_string(&prices).unwrap();
    std::fs::remove_file(&prices).unwrap();
    let said: Value = serde_json::from_str(&import(&remote, &["--write", "--json"])).unwrap();
    assert_eq!((&said["written"], &said["texts"]), (&true.into(), &Value::Null));
    assert_eq!(std::fs::read_to_string(&prices).unwrap(), written);
    std::fs::remove_file(&prices).unwrap();
    import(&[], &["--write"]);
    assert_eq!(std::fs::read_to_string(&prices).unwrap(), written, "as if it had been done here");
    weir.ctl(&["apply", "--wait"]);
    assert_eq!(weir.chat("llama-test").status, 200);
    // Over HTTP alone: the texts come back, and a list or a folder that is missing is told.
    let root = admin(&weir);
    let folder = json!({"weir.toml": "[[vendor]]\ncatalog = \"openai\"\n"});
    let said = serve.post("/v1/catalog/import", &root, json!({"file": LITELLM, "folder": folder})).json();
    assert!(said["texts"]["prices/openai.toml"].as_str().is_some_and(|text| text.contains("gpt-4o-mini")), "{said:#}");
    for wrong in [json!({"folder": folder}), json!({"file": LITELLM}), json!({"file": 1, "folder": folder})] {
        assert_eq!(serve.post("/v1/catalog/import", &root, wrong).status, 400);
    }
    let hostile = serve.post("/v1/catalog/import", &root, json!({"file": "{\"a\": NaN}", "folder": folder}));
    assert!(hostile.status == 500 && hostile.text().contains("nothing was written"), "{}", hostile.text());
    weir.lives();
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str) -> (String, KeyPair) {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key)
}

/// What the server says to a request without a token; `None` when it says nothing.
fn over_tls(address: SocketAddr, ca: &str, identity: Option<(&str, &KeyPair)>) -> Option<String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((pem, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connection = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}
