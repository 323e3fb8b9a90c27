//! The ways to show a vendor who pays: what arrives there, what happens when it changes or ends, and that nobody else
//! ever reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use weir_tests::cloud::{Grants, TOKEN};
use weir_tests::gateway::{eventually, within};
use weir_tests::{Call, Cloud, Dialect, Exact, Gateway, Model, Request, Setup, clock, proxy};
use weirbench::provider::tls::Leaf;

/// A secret of each kind; none of it may be read anywhere.
const CLIENT_SECRET: &str = "entra~client-secret-4711-do-not-show";
const AWS_SECRET: &str = "aws/secret+access-key-4711-do-not-show";
const KEY: &str = "sk-plain-key-4711-do-not-show";

fn entra(cloud: &Cloud, id: &str) -> Model {
    let secret = format!("tenant-1:client-1:{CLIENT_SECRET}");
    Model::new(Dialect::OpenAi, "")
        .id(id)
        .base_url(&cloud.url("/openai/v1"))
        .vendor(&format!("auth = \"azure-entra\"\ntoken_url = \"{}\"", cloud.url("/{tenant}/token")))
        .credentials(&[("main", &secret, "")])
}

fn keyed(cloud: &Cloud, id: &str, auth: &str, secret: &str) -> Model {
    Model::new(Dialect::OpenAi, "")
        .id(id)
        .base_url(&cloud.url("/v1"))
        .vendor(&format!("auth = \"{auth}\""))
        .credentials(&[("main", secret, "")])
}

/// Nothing that the gateway leaves behind holds a secret.
#[track_caller]
fn keeps_quiet(weir: &Gateway, secrets: &[&str]) {
    let mut said = vec![weir.log(), weir.stderr(), weir.metrics(), weir.ask_admin("/status").text()];
    said.push(weir.ctl(&["status", "--json"]).to_string());
    let mut folders = vec![weir.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => said.push(String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()),
            }
        }
    }
    for (text, secret) in said.iter().flat_map(|text| secrets.iter().map(move |secret| (text, secret))) {
        assert!(!text.contains(secret), "{secret} in {}", &text[..text.len().min(2_000)]);
    }
}

#[test]
fn tokens_end_under_traffic_and_no_request_notices() {
    let cloud = Cloud::start(Grants::Seconds(2));
    let mut setup = Setup::new("credentials-traffic");
    setup.add(entra(&cloud, "azure"));
    let weir = setup.start();
    assert!(eventually(|| weir.chat("azure").status == 200), "{}", weir.stderr());
    let over = AtomicBool::new(false);
    let wrong = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut wrong = Vec::new();
                    let mut wire = weir.wire();
                    while !over.load(Ordering::Relaxed) {
                        wire.send(Call::Chat.request("azure", false).bytes(&weir.key));
                        let answer = wire.answer();
                        if answer.status != 200 {
                            wrong.push(answer.text());
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    wrong
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(8));
        over.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(cloud.refused(), 0, "a token that had ended was shown");
    let asked = cloud.forms().len();
    assert!((5..=9).contains(&asked), "asked for {asked} tokens of two seconds in eight");
    assert!(weir.metric("weir_token_fetches_total{vendor=\"vendor-azure\",result=\"got\"}") >= 5, "{}", weir.metrics());
    keeps_quiet(&weir, &[CLIENT_SECRET, TOKEN]);
    weir.lives();
}

#[test]
fn a_dead_token_server_costs_nothing_until_the_token_ends() {
    let cloud = Cloud::start(Grants::Seconds(5));
    let mut setup = Setup::new("credentials-dead");
    setup.add(entra(&cloud, "azure"));
    let weir = setup.start();
    assert!(eventually(|| weir.chat("azure").status == 200), "{}", weir.stderr());
    cloud.grant(Grants::Dead);
    let since = clock::now();
    let mut served = 0;
    let last = loop {
        let answer = weir.chat("azure");
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(since.elapsed() < Duration::from_secs(8), "a token that has ended is still shown");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(since.elapsed() > Duration::from_secs(3) && served > 50, "it ended after {:?}", since.elapsed());
    assert_eq!((last.status, last.code().as_str()), (503, "no_upstream_credential"), "{}", last.text());
    assert_eq!(cloud.refused(), 0, "a token that had ended was shown");
    assert!(cloud.forms().len() >= 3, "it was not asked again");
    let warnings = weir.ask_admin("/status").json()["node"]["warnings"].to_string();
    assert!(warnings.contains("no token from 127.0.0.1"), "{warnings}");
    cloud.grant(Grants::Seconds(60));
    assert!(within(Duration::from_secs(40), || weir.chat("azure").status == 200), "{}", weir.stderr());
    assert!(weir.ask_admin("/status").json()["node"].get("warnings").is_none());
    keeps_quiet(&weir, &[CLIENT_SECRET, TOKEN]);
}

#[test]
fn a_secret_that_is_refused_is_told_by_its_code_and_nothing_else() {
    let said = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret '{CLIENT_SECRET}'."}}"#
    );
    let cloud = Cloud::start(Grants::Refuses(401, said));
    let mut setup = Setup::new("credentials-refused");
    setup.add(entra(&cloud, "azure"));
    let weir = setup.start();
    assert!(eventually(|| weir.stderr().contains("AADSTS7000215")), "{}", weir.stderr());
    let answer = weir.chat("azure");
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_upstream_credential"), "{}", answer.text());
    let status = weir.ask_admin("/status").text();
    assert!(status.contains("status 401: invalid_client AADSTS7000215"), "{status}");
    assert_eq!(weir.ask_admin("/ready").status, 200, "the others serve");
    keeps_quiet(&weir, &[CLIENT_SECRET]);
    weir.lives();
}

#[test]
fn a_redirect_of_the_token_server_is_not_followed() {
    let elsewhere = Cloud::start(Grants::Seconds(60));
    let to = format!("HTTP/1.1 307 Go\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url("/x/token"));
    let server = Exact::start(|_| to.into_bytes());
    let mut setup = Setup::new("credentials-redirect");
    let model = entra(&elsewhere, "azure").vendor("# below");
    let own = format!("http://{}", server.address);
    let lines = model.vendor.replace(&elsewhere.url(""), &own);
    setup.add(Model { vendor: lines, ..model });
    let weir = setup.start();
    assert!(eventually(|| weir.stderr().contains("status 307")), "{}", weir.stderr());
    assert!(elsewhere.forms().is_empty(), "the secret travelled on");
}

#[test]
fn internal_token_servers_need_leave() {
    let cloud = Cloud::start(Grants::Seconds(60));
    let mut setup = Setup::new("credentials-internal");
    // A name, so that no literal address tells it early; and TLS, which such a vendor must have.
    let url = format!("https://localhost:{}/t/token", cloud.address.port());
    let model = Model::new(Dialect::OpenAi, "")
        .id("azure")
        .base_url("https://example.invalid/v1")
        .vendor(&format!("internal = false\nauth = \"azure-entra\"\ntoken_url = \"{url}\""))
        .credentials(&[("main", &format!("t:c:{CLIENT_SECRET}"), "")]);
    setup.add(model);
    let weir = setup.start();
    assert!(eventually(|| weir.stderr().contains("its addresses are internal")), "{}", weir.stderr());
    assert!(cloud.forms().is_empty());
}

/// With a private authority, through a proxy, in chunks; and not with any other certificate.
#[test]
fn tokens_are_fetched_by_the_way_that_the_vendor_is_reached() {
    let good = Cloud::start_tls(Grants::Seconds(60), Leaf::Good);
    let mut setup = Setup::new("credentials-tls");
    let mut trusting = |cloud: &Cloud, id: &str, more: &str| {
        let ca = setup.scratch.join(format!("{id}.pem"));
        cloud.write_ca(&ca);
        setup.add(entra(cloud, id).vendor(&format!("roots = {:?}\n{more}", ca.display().to_string())));
    };
    let (proxy, told) = proxy::start("HTTP/1.1 200 Connection Established\r\n\r\n");
    trusting(&good, "direct", "");
    trusting(&good, "proxied", &format!("proxy = \"{proxy}\""));
    let wrong: Vec<_> = [("untrusted", Leaf::Untrusted), ("expired", Leaf::Expired), ("wrong_host", Leaf::WrongHost)]
        .map(|(id, leaf)| (id, Cloud::start_tls(Grants::Seconds(60), leaf)))
        .into();
    for (id, cloud) in &wrong {
        trusting(cloud, id, "");
    }
    setup.add(entra(&good, "stranger"));
    let weir = setup.start();
    for id in ["direct", "proxied"] {
        assert!(eventually(|| weir.chat(id).status == 200), "{id}: {}", weir.stderr());
    }
    let asked = told.recv_timeout(Duration::from_secs(5)).expect("the proxy was asked");
    assert!(asked.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", good.address)), "{asked}");
    assert_eq!(good.forms().len(), 2);
    for (id, cloud) in &wrong {
        assert!(eventually(|| weir.stderr().contains(&format!("no token from 127.0.0.1: {id}"))), "{}", weir.stderr());
        assert!(cloud.forms().is_empty() && weir.chat(id).code() == "no_upstream_credential");
    }
    assert!(eventually(|| weir
        .stderr()
        .contains("vendor-stranger, credential main: no token from 127.0.0.1: untrusted")));
    keeps_quiet(&weir, &[CLIENT_SECRET, TOKEN]);
}

fn account(key: &KeyPair, token_uri: &str) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().expect("a key that was just made");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64(der.as_ref()));
    serde_json::json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem,
        "client_email": "weir@p.iam.gserviceaccount.com", "token_uri": token_uri,
    })
    .to_string()
}

fn base64(bytes: &[u8]) -> String {
    let text = weir_shared::key::base64url(bytes).replace('-', "+").replace('_', "/");
    let padding = (4 - text.len() % 4) % 4;
    text + &"=".repeat(padding)
}

fn unbase64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let digit = |byte: &u8| DIGITS.iter().position(|known| known == byte).expect("a digit") as u32;
        let word = chunk.iter().fold(0, |word, byte| word << 6 | digit(byte)) << (6 * (4 - chunk.len()));
        out.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    out
}

const VERTEX_CLAUDE: &str = r#"auth = "google-service-account"
project = "my-project"
region = "europe-west4"
[[vendor.path]]
endpoint = "messages"
to = "models/{model}:rawPredict"
stream = "models/{model}:streamRawPredict"
without = ["model"]
with = { anthropic_version = "vertex-2023-10-16" }
[[vendor.path]]
endpoint = "messages/count_tokens"
to = "models/count-tokens:rawPredict"
with = { anthropic_version = "vertex-2023-10-16" }
"#;

#[test]
fn a_service_account_reaches_both_of_vertexs_publishers() {
    let cloud = Cloud::start(Grants::Seconds(3_600));
    let key = KeyPair::generate(KeySize::Rsa2048).expect("randomness");
    let account = account(&key, &cloud.url("/token"));
    let secret = [("main", account.as_str(), "")];
    let mut setup = Setup::new("credentials-vertex");
    let base =
        |publisher: &str| cloud.url(&format!("/v1/projects/{{project}}/locations/{{region}}/publishers/{publisher}"));
    let gemini = Model::new(Dialect::Gemini, "")
        .id("gemini")
        .base_url(&base("google"))
        .credentials(&secret)
        .vendor("auth = \"google-service-account\"\nproject = \"my-project\"\nregion = \"europe-west4\"");
    let claude = Model::new(Dialect::Anthropic, "").id("claude").base_url(&base("anthropic")).credentials(&secret);
    setup.add(gemini);
    setup.add(Model { upstream: "claude-sonnet-4@20250514".into(), ..claude.vendor(VERTEX_CLAUDE) });
    let weir = setup.start();
    assert!(eventually(|| weir.call(&Call::Generate.request("gemini", false)).status == 200), "{}", weir.stderr());
    let below = "/v1/projects/my-project/locations/europe-west4/publishers";
    assert_eq!(cloud.last().target(), format!("{below}/google/models/upstream-model:generateContent"));

    let form = cloud.forms().remove(0);
    let assertion = form.split_once("&assertion=").expect("an assertion").1;
    let (said, signature) = assertion.rsplit_once('.').expect("three parts");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    public.verify(said.as_bytes(), &unbase64url(signature)).expect("the public key takes it");

    assert!(eventually(|| weir.call(&Call::Messages.request("claude", false)).status == 200), "{}", weir.stderr());
    let version = |body: &serde_json::Value| body["anthropic_version"] == "vertex-2023-10-16";
    let call = cloud.last();
    assert_eq!(call.target(), format!("{below}/anthropic/models/claude-sonnet-4@20250514:rawPredict"));
    assert!(version(&call.json()) && call.json().get("model").is_none(), "{}", call.json());
    assert_eq!(call.json()["messages"][0]["content"], "hi");
    assert!(call.header("authorization").is_some_and(|value| value.starts_with(&format!("Bearer {TOKEN}"))));

    weir.call(&Call::Messages.request("claude", true));
    let call = cloud.last();
    assert_eq!(call.target(), format!("{below}/anthropic/models/claude-sonnet-4@20250514:streamRawPredict"));
    assert!(version(&call.json()) && call.json()["stream"] == true);

    let count = Request::post("/v1/messages/count_tokens", Call::Messages.body("claude", false, ""));
    assert_eq!(weir.call(&count.header("anthropic-version", "2023-06-01")).json()["input_tokens"], 5);
    let call = cloud.last();
    assert_eq!(call.target(), format!("{below}/anthropic/models/count-tokens:rawPredict"));
    assert!(version(&call.json()) && call.json()["model"] == "claude-sonnet-4@20250514", "{}", call.json());

    // From another language, too.
    let answer = weir.chat("claude");
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello", "{}", answer.text());
    let call = cloud.last();
    assert_eq!(call.target(), format!("{below}/anthropic/models/claude-sonnet-4@20250514:rawPredict"));
    assert!(version(&call.json()) && call.json().get("model").is_none(), "{}", call.json());
    assert!(call.json()["messages"][0]["content"].to_string().contains("hi"), "{}", call.json());
    weir.stream("claude");
    assert!(cloud.last().target().ends_with(":streamRawPredict") && cloud.last().json()["stream"] == true);
    keeps_quiet(&weir, &[TOKEN, "PRIVATE KEY", assertion]);
}

#[test]
fn azures_deployments_are_reached_by_their_paths() {
    let cloud = Cloud::start(Grants::Dead);
    let mut setup = Setup::new("credentials-azure");
    let paths = r#"auth = "api-key"
api_version = "2024-10-21"
[[vendor.path]]
endpoint = "responses"
to = "{path}?api-version={api_version}"
[[vendor.path]]
endpoint = "*"
to = "deployments/{model}/{path}?api-version={api_version}"
[[vendor.path]]
endpoint = "*"
to = "{path}?api-version={api_version}"
"#;
    let model = Model::new(Dialect::OpenAi, "").id("gpt").base_url(&cloud.url("/openai")).vendor(paths);
    setup.add(Model { upstream: "my/deployment".into(), ..model.credentials(&[("main", KEY, "")]) });
    let weir = setup.start();
    assert_eq!(weir.chat("gpt").status, 200);
    let call = cloud.last();
    assert_eq!(call.target(), "/openai/deployments/my%2Fdeployment/chat/completions?api-version=2024-10-21");
    assert_eq!((call.header("api-key"), call.header("authorization")), (Some(KEY), None));
    let asked = Request::post("/v1/embeddings?x=1&api-key=no", r#"{"model":"gpt","input":"a"}"#);
    weir.call(&asked);
    assert_eq!(cloud.last().target(), "/openai/deployments/my%2Fdeployment/embeddings?api-version=2024-10-21&x=1");
    weir.call(&Call::Responses.request("gpt", false));
    assert_eq!(cloud.last().target(), "/openai/responses?api-version=2024-10-21");
    // From another language, too.
    let answer = weir.call(&Call::Generate.request("gpt", false));
    assert_eq!(answer.json()["candidates"][0]["content"]["parts"][0]["text"], "hello", "{}", answer.text());
    let call = cloud.last();
    assert_eq!(call.target(), "/openai/deployments/my%2Fdeployment/chat/completions?api-version=2024-10-21");
    assert_eq!(call.json()["messages"][0]["content"], "hi", "{}", call.json());
    weir.call(&Request::get("/v1/files?vendor=vendor-gpt"));
    keeps_quiet(&weir, &[KEY]);
}

#[test]
fn a_key_in_the_query_arrives_and_is_read_by_nobody_else() {
    let cloud = Cloud::start(Grants::Dead);
    let body = format!(r#"{{"error":{{"message":"no such thing: https://v/x?key={KEY}&y"}}}}"#);
    let refusing = Exact::start(|_| {
        format!("HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    });
    let mut setup = Setup::new("credentials-query");
    setup.add(keyed(&cloud, "plain", "query-key", KEY));
    setup.add(keyed(&cloud, "refused", "query-key", KEY).base_url(&refusing.url()));
    let weir = setup.start();
    assert_eq!(weir.chat("plain").status, 200);
    let call = cloud.last();
    assert_eq!((call.target(), call.header("authorization")), (&*format!("/v1/chat/completions?key={KEY}"), None));
    let asked = Request::post("/v1/chat/completions?x=1&key=of-the-caller", Call::Chat.body("plain", false, ""));
    assert_eq!(weir.call(&asked).status, 200);
    assert_eq!(cloud.last().target(), format!("/v1/chat/completions?x=1&key={KEY}"));
    let refused = weir.chat("refused");
    assert!(refused.status == 400 && refused.text().contains("?key=***&y"), "{}", refused.text());
    keeps_quiet(&weir, &[KEY]);
}

#[test]
fn amazons_signature_is_over_what_leaves() {
    let cloud = Cloud::start(Grants::Dead);
    let mut setup = Setup::new("credentials-sigv4");
    let keys = format!(
        "{{\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"{AWS_SECRET}\",\"SessionToken\":\"session-1-do-not-show\"}}"
    );
    let model = keyed(&cloud, "bedrock", "aws-sigv4", &keys).vendor("region = \"eu-west-1\"");
    setup.add(model);
    let weir = setup.start();
    // The model's name and the request for usage are spliced in.
    weir.stream("bedrock");
    let call = cloud.last();
    let hash = digest::digest(&digest::SHA256, &call.body);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(call.json()["model"] == "upstream-model" && call.json()["stream_options"]["include_usage"] == true);
    assert_eq!(call.header("x-amz-content-sha256"), Some(hash.as_str()));
    assert_eq!(call.header("x-amz-security-token"), Some("session-1-do-not-show"));
    let date = call.header("x-amz-date").expect("a date").to_owned();
    let authorization = call.header("authorization").expect("a signature");
    let scope = format!("Credential=AKIDEXAMPLE/{}/eu-west-1/bedrock/aws4_request", &date[..8]);
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=content-type;host;")));
    keeps_quiet(&weir, &[AWS_SECRET, "session-1-do-not-show"]);
}

#[test]
fn a_file_that_changes_is_taken_without_a_revision() {
    let cloud = Cloud::start(Grants::Dead);
    let mut setup = Setup::new("credentials-file");
    let path = setup.scratch.join("key");
    std::fs::write(&path, "sk-first-4711-do-not-show\n").expect("the scratch folder is writable");
    let later = setup.scratch.join("later");
    let file = |path: &std::path::Path| format!("file = {:?}", path.display().to_string());
    setup.add(keyed(&cloud, "filed", "bearer", "").credentials(&[("main", "", &file(&path))]));
    setup.add(keyed(&cloud, "later", "bearer", "").credentials(&[("main", "", &file(&later))]));
    let weir = setup.start();
    let shown = || {
        let status = weir.chat("filed").status;
        (status, cloud.last().header("authorization").unwrap_or_default().to_owned())
    };
    assert_eq!(shown(), (200, "Bearer sk-first-4711-do-not-show".into()));
    assert_eq!(weir.chat("later").code(), "no_upstream_credential");
    let warnings = || weir.ask_admin("/status").json()["node"]["warnings"].to_string();
    assert!(warnings().contains("later cannot be read on this node"), "{}", warnings());
    // As secrets are mounted: written beside, and renamed into place.
    std::fs::write(path.with_extension("new"), "sk-second-4711-do-not-show\n").expect("writable");
    std::fs::rename(path.with_extension("new"), &path).expect("writable");
    std::fs::write(&later, "sk-later-4711-do-not-show").expect("writable");
    assert!(within(Duration::from_secs(10), || shown() == (200, "Bearer sk-second-4711-do-not-show".into())));
    assert!(within(Duration::from_secs(10), || weir.chat("later").status == 200));
    assert_eq!(warnings(), "null");
    // A file that goes away or breaks takes nothing with it.
    std::fs::remove_file(&path).expect("it is there");
    assert!(within(Duration::from_secs(10), || warnings().contains("cannot be read on this node")));
    assert_eq!(shown(), (200, "Bearer sk-second-4711-do-not-show".into()));
    keeps_quiet(&weir, &["sk-first-4711", "sk-second-4711", "sk-later-4711"]);
}
