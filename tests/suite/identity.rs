//! Same dialect on both sides: what arrives is what was sent. Only the model's name, the credential and the request for
//! usage are spliced.

use weir_tests::table::{ensure, same};
use weir_tests::{Answer, Call, Dialect, Gateway, Model, Request, Setup, Table};

/// What the vendor itself says to the request that it captured last, asked without a gateway.
fn direct(weir: &Gateway, words: &str) -> Answer {
    let captured = weir.vendor().last(words).expect("the vendor was asked");
    let answer = weirbench::http::fetch(
        weir.vendor().addr,
        None,
        &[captured.head.as_slice(), &captured.body].concat(),
        weir_tests::wire::PATIENCE,
    );
    let answer = answer.expect("the vendor answers");
    Answer { status: answer.status, headers: answer.headers, body: answer.body, broken: answer.broken }
}

fn head(weir: &Gateway, words: &str) -> String {
    let captured = weir.vendor().last(words).expect("the vendor was asked");
    String::from_utf8(captured.head).expect("a head is text")
}

fn body(weir: &Gateway, words: &str) -> String {
    let captured = weir.vendor().last(words).expect("the vendor was asked");
    String::from_utf8(captured.body).expect("these bodies are text")
}

/// Every unusual but legal way of writing the same stream.
const STREAMS: &[&str] = &[
    "events=12",
    "events=12,style=nospace",
    "events=12,style=comments",
    "events=12,style=multiline",
    "events=12,style=bom",
    "events=5,style=bytewise",
    "events=12,style=fields",
    "events=12,eol=crlf",
    "events=12,eol=cr",
    "events=12,eol=lf",
    "events=12,batch=all",
    "events=12,batch=5",
    "events=12,frame=close",
    "events=12,frame=length",
    "events=12,utf8",
    "events=12,utf8,style=bytewise",
    "events=12,answer=tool",
    "events=12,answer=tools",
    "events=12,answer=reasoning",
    "events=12,finish=length",
    "events=300,batch=all,text=400",
    "events=3,text=60000",
    "events=4,connclose",
];

#[test]
fn streams_arrive_as_they_were_sent() {
    let mut setup = Setup::new("identity-streams");
    let mut cases = Vec::new();
    for words in STREAMS {
        for call in Call::ALL {
            let words = format!("name={call:?},{words}");
            cases.push((*call, setup.model(call.dialect(), &words), words));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (call, model, words) in cases {
        // The usage is asked for, so that nothing has to be hidden.
        let more = if matches!(call, Call::Chat | Call::Completions) {
            r#","stream_options":{"include_usage":true}"#
        } else {
            ""
        };
        let answer = weir.call(&call.request_with(&model, true, more));
        let sent = direct(&weir, &words);
        let outcome = answer.finished(call.grammar()).map(drop).and_then(|()| {
            // Ids of stored responses are sealed on their way.
            if call == Call::Responses {
                let (ours, theirs) = (answer.finished(call.grammar())?, sent.finished(call.grammar())?);
                return same("text", (ours.text, ours.tools, ours.usage), (theirs.text, theirs.tools, theirs.usage));
            }
            same("the stream", answer.text(), sent.text())
        });
        table.case(&words, outcome);
    }
    weir.lives();
    table.end();
}

#[test]
fn whole_answers_arrive_as_they_were_sent() {
    let mut setup = Setup::new("identity-unary");
    let words = ["events=12", "events=12,utf8", "events=12,answer=tools", "events=2000,text=200", "events=2,connclose"];
    let mut cases = Vec::new();
    for words in words {
        for call in Call::ALL {
            let words = format!("name={call:?},{words}");
            cases.push((*call, setup.model(call.dialect(), &words), words));
        }
    }
    let weir = setup.start();
    let mut table = Table::new();
    for (call, model, words) in cases {
        let answer = weir.call(&call.request(&model, false));
        let sent = direct(&weir, &words);
        let mut outcome = same("status", answer.status, 200);
        if outcome.is_ok() && call != Call::Responses {
            outcome = same("the body", answer.text(), sent.text());
        }
        table.case(words, outcome);
    }
    weir.lives();
    table.end();
}

#[test]
fn other_endpoints_pass_untouched() {
    let mut setup = Setup::new("identity-other");
    let words = "name=other,events=3";
    let model = setup.model(Dialect::OpenAi, words);
    let claude = setup.model(Dialect::Anthropic, "name=other-anthropic");
    let gemini = setup.model(Dialect::Gemini, "name=other-gemini");
    let weir = setup.start();
    let mut table = Table::new();
    let openai = |path: &str, body: &str| (words, Request::post(path, body.replace("MODEL", &model)));
    let cases = [
        openai("/v1/embeddings", r#"{"model":"MODEL","input":["a","b"],"encoding_format":"float"}"#),
        openai("/v1/embeddings", r#"{"model":"MODEL","input":"a","encoding_format":"base64","dimensions":256}"#),
        openai("/v1/moderations", r#"{"model":"MODEL","input":"a"}"#),
        openai("/v1/images/generations", r#"{"model":"MODEL","prompt":"a fish","n":1}"#),
        openai("/v1/audio/speech", r#"{"model":"MODEL","input":"say it","voice":"alloy"}"#),
        (
            "name=other-anthropic",
            Request::post(
                "/v1/messages/count_tokens",
                format!(r#"{{"model":"{claude}","messages":[{{"role":"user","content":"hi"}}]}}"#),
            )
            .header("anthropic-version", "2023-06-01"),
        ),
        (
            "name=other-gemini",
            Request::post(
                &format!("/v1beta/models/{gemini}:countTokens"),
                r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
            ),
        ),
        (
            "name=other-gemini",
            Request::post(&format!("/v1beta/models/{gemini}:embedContent"), r#"{"content":{"parts":[{"text":"hi"}]}}"#),
        ),
    ];
    for (words, request) in cases {
        let answer = weir.call(&request);
        let sent = direct(&weir, words);
        let outcome = same("status", (answer.status, &answer.broken), (200, &None))
            .and_then(|()| same("content type", answer.header("content-type"), sent.header("content-type")))
            .and_then(|()| ensure(answer.body == sent.body, "the body differs"))
            .and_then(|()| {
                let spliced =
                    String::from_utf8_lossy(&request.body).replace(&format!("\"{model}\""), "\"upstream-model\"");
                let spliced = spliced.replace(&format!("\"{claude}\""), "\"upstream-model\"");
                same("the request", body(&weir, words), spliced)
            });
        table.case(&request.target, outcome);
    }
    weir.lives();
    table.end();
}

#[test]
fn a_request_is_spliced_and_otherwise_sent_as_it_came() {
    let mut setup = Setup::new("identity-request");
    let openai = setup.model(Dialect::OpenAi, "name=up");
    let anthropic = setup.model(Dialect::Anthropic, "name=up");
    let weir = setup.start();
    let chat = "/v1/chat/completions";
    // What the caller writes, and what the vendor reads; MODEL is the name on either side.
    let cases = [
        // Spaces, order, unknown fields, escapes, large and odd numbers: all stay.
        (chat, r#"{ "x" : 9007199254740993 , "model" : "MODEL", "messages":[]}"#, ""),
        (chat, "{\"model\":\"MODEL\",\n\t\"messages\":[ ],\"y\":[1.0,1e5,-0,1E-7,\"\\u00e9\\/é\"] }  ", ""),
        (chat, r#"{"nested":{"model":"other","stream":true},"messages":[],"model":"MODEL"}"#, ""),
        (chat, r#"{"messages":[{"role":"user","content":"\"model\":\"x\""}],"model":"MODEL"}"#, ""),
        // Usage is asked for in the caller's name.
        (
            chat,
            r#"{"model":"MODEL","messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"MODEL","messages":[],"stream":true}"#,
        ),
        (
            chat,
            r#"{"stream":true,"stream_options":{},"model":"MODEL","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true},"model":"MODEL","messages":[]}"#,
        ),
        (
            chat,
            r#"{"stream":true,"stream_options":{"include_usage":false},"model":"MODEL","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true},"model":"MODEL","messages":[]}"#,
        ),
        (
            chat,
            r#"{"stream":true,"stream_options":{"a":1},"model":"MODEL","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"a":1},"model":"MODEL","messages":[]}"#,
        ),
        (chat, r#"{"stream":true,"stream_options":{"include_usage":true},"model":"MODEL","messages":[]}"#, ""),
        (
            chat,
            r#"{"stream":true,"stream_options":null,"model":"MODEL","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true},"model":"MODEL","messages":[]}"#,
        ),
        // Whoever does not stream is not asked.
        (chat, r#"{"model":"MODEL","messages":[],"stream":false}"#, ""),
        (chat, r#"{"model":"MODEL","messages":[],"stream":null}"#, ""),
        (
            "/v1/messages",
            r#"{"model":"MODEL","max_tokens":5,"messages":[],"stream":true,"thinking":{"type":"enabled"}}"#,
            "",
        ),
        (
            "/v1/responses",
            r#"{"model":"MODEL","input":"x","stream":true,"include":["reasoning.encrypted_content"]}"#,
            "",
        ),
    ];
    let mut table = Table::new();
    for (path, said, sent) in cases {
        let model = if path == "/v1/messages" { &anthropic } else { &openai };
        let answer = weir.call(&Request::post(path, said.replace("MODEL", model)));
        let expected = if sent.is_empty() { said } else { sent }.replace("MODEL", "upstream-model");
        let outcome =
            same("status", answer.status, 200).and_then(|()| same("the body", body(&weir, "name=up"), expected));
        table.case(said, outcome);
    }
    // A large body: nothing is lost at the borders of reads and writes.
    let padding = "€uro ".repeat(400_000);
    let large = format!(r#"{{"messages":[{{"role":"user","content":"{padding}"}}],"model":"MODEL"}}"#);
    let answer = weir.call(&Request::post(chat, large.replace("MODEL", &openai)));
    let arrived = body(&weir, "name=up") == large.replace("MODEL", "upstream-model");
    table.case("a large body", ensure(answer.status == 200 && arrived, format!("{} {arrived}", answer.status)));
    weir.lives();
    table.end();
}

#[test]
fn usage_that_was_not_asked_for_is_not_seen() {
    let mut setup = Setup::new("identity-usage");
    let model = setup.model(Dialect::OpenAi, "events=4");
    let weir = setup.start();
    let mut table = Table::new();
    for call in [Call::Chat, Call::Completions] {
        for (more, seen) in [
            ("", false),
            (r#","stream_options":{"include_usage":false}"#, false),
            (r#","stream_options":{"include_usage":true}"#, true),
        ] {
            let answer = weir.call(&call.request_with(&model, true, more));
            let outcome = answer.finished(call.grammar()).and_then(|reading| {
                same("usage seen", reading.usage.is_some(), seen)?;
                ensure(seen || !answer.text().contains("\"choices\":[]"), "the usage chunk is there")
            });
            table.case(format!("{call:?} {more}"), outcome);
            // It is paid for all the same.
            let record = weir.record(&answer.request_id());
            let tokens = record.usage.prompt_tokens() + record.usage.answer_tokens();
            table.case(
                format!("{call:?} {more}: the record"),
                same("(flags, tokens)", (record.flags & 3, tokens), (0, 28)),
            );
        }
    }
    weir.lives();
    table.end();
}

#[test]
fn a_forgotten_end_is_added_and_what_follows_the_end_is_cut() {
    let mut setup = Setup::new("identity-done");
    let words = ["done=no", "done=twice", "done=trailing", "done=no,frame=close"];
    let cases: Vec<_> =
        words.iter().map(|words| (*words, setup.model(Dialect::OpenAi, &format!("{words},events=3")))).collect();
    let weir = setup.start();
    let mut table = Table::new();
    for (words, model) in cases {
        for round in 0..3 {
            let answer = weir.stream(&model);
            let outcome = answer
                .finished(Call::Chat.grammar())
                .and_then(|_| same("ends", answer.text().matches("data: [DONE]").count(), 1));
            table.case(format!("{words} {round}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

/// A vendor that does the same request once knows one account where the gateway has many tenants: their names for requests
/// never meet there, and one tenant's second saying is known for what it is.
#[test]
fn what_a_caller_calls_its_request_is_its_tenants() {
    let mut setup = Setup::new("identity-idempotency");
    setup.folder("[[tenant]]\nname = \"other\"\n");
    let model = setup.add(Model::new(Dialect::OpenAi, "name=idempotency"));
    let weir = setup.start();
    let other = weir.new_key(&["--tenant", "other"]);
    let told = |key: &str, name: &str| {
        let request = Call::Chat.request(&model, false).header("Idempotency-Key", name).key(key);
        assert_eq!(weir.call(&request).status, 200);
        let head = head(&weir, "name=idempotency").to_lowercase();
        let line = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("it is not told: {head}"))
    };
    let first = told(&weir.key, "order-1");
    assert_eq!(told(&weir.key, "order-1"), first);
    assert_ne!(told(&weir.key, "order-2"), first);
    assert_ne!(told(&other, "order-1"), first);
    assert!(first.len() == 32 && !first.contains("order"), "{first}");
}

#[test]
fn headers_up() {
    let mut setup = Setup::new("identity-headers-up");
    let openai = setup.add(Model::new(Dialect::OpenAi, "name=headers").vendor("headers = { \"x-own\" = \"always\" }"));
    let anthropic = setup.model(Dialect::Anthropic, "name=headers");
    let weir = setup.start();
    let answer = weir.call(
        &Call::Chat
            .request(&openai, false)
            .header("User-Agent", "OpenAI/Python 2.0")
            .header("X-Stainless-Lang", "python")
            .header("X-Unknown", "stays")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("Idempotency-Key", "idem-1")
            .header("Cookie", "session=caller")
            .header("X-Forwarded-For", "10.1.2.3")
            .header("X-Forwarded-Host", "evil.example")
            .header("Forwarded", "for=10.1.2.3")
            .header("X-Real-IP", "10.1.2.3")
            .header("Connection", "keep-alive, x-hop")
            .header("X-Hop", "one connection's")
            .header("Keep-Alive", "timeout=5")
            .header("TE", "trailers")
            .header("Proxy-Authorization", "Basic eDp5")
            .header("OpenAI-Organization", "org-callers")
            .header("X-Weir-Vendor", "nobody")
            .header("X-Own", "callers")
            // Credentials and the way here, as some servers read them, too.
            .header("X_Api_Key", "denied-1")
            .header("Api_Key", "denied-2")
            .header("X_Goog_Api_Key", "denied-3")
            .header("Proxy_Authorization", "denied-4")
            .header("X-Amz-Security-Token", "denied-5")
            .header("X-Amz-Date", "denied-6")
            .header("Ocp-Apim-Subscription-Key", "denied-7")
            .header("X-Auth-Token", "denied-8")
            .header("X_Forwarded_For", "denied-9")
            .header("OpenAI_Organization", "denied-10")
            .header("X-Forwarded-Prefix", "denied-11")
            .header("X-Cluster-Client-IP", "denied-12")
            .header("Cookie2", "denied-13")
            // Another method, another path, a part of the answer, or none at all.
            .header("X-HTTP-Method-Override", "denied-14")
            .header("X_Http_Method_Override", "denied-15")
            .header("X-Method-Override", "denied-16")
            .header("X-Original-URL", "denied-17")
            .header("X-Rewrite-URL", "denied-18")
            .header("X-Original-URI", "denied-19")
            .header("Range", "denied-20")
            .header("If-None-Match", "denied-21")
            .header("If-Match", "denied-22")
            .header("If-Modified-Since", "denied-23")
            .header("If-Unmodified-Since", "denied-24")
            .header("If-Range", "denied-25")
            .header("X-Goog-Authenticated-User-Email", "denied-26")
            .header("X-Goog-Iam-Authorization-Token", "denied-27")
            .header("X-Underscored_Name", "stays, too")
            .header("Accept-Encoding", "gzip, br"),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = head(&weir, "name=headers").to_lowercase();
    let mut table = Table::new();
    for there in [
        "x-stainless-lang: python",
        "x-unknown: stays",
        "x-underscored_name: stays, too",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "accept-encoding: identity",
        "x-own: always",
        "content-type: application/json",
        "authorization: bearer sk-vendor-secret",
    ] {
        table.case(there, ensure(head.contains(there), head.clone()));
    }
    for absent in [
        "idem-1",
        "cookie",
        "10.1.2.3",
        "evil.example",
        "x-hop",
        "keep-alive",
        "trailers",
        "proxy-authorization",
        "org-callers",
        "x-weir-",
        "denied-",
        "x-own: callers",
        "gzip",
        "weir-",
        "host: localhost\r",
    ] {
        table.case(format!("no {absent}"), ensure(!head.contains(absent), head.clone()));
    }
    weir.call(&Call::Messages.request(&anthropic, false).header("anthropic-beta", "a-2025,b-2025"));
    let head = self::head(&weir, "name=headers").to_lowercase();
    for there in ["anthropic-version: 2023-06-01", "anthropic-beta: a-2025,b-2025", "x-api-key: sk-vendor-secret"] {
        table.case(there, ensure(head.contains(there), head.clone()));
    }
    // `?beta=true` goes along, a key in the query does not.
    let target = format!("/v1/messages?beta=true&key={}", weir.key);
    let body = Call::Messages.body(&anthropic, false, "");
    let answer = weir.call(&Request::post(&target, body).header("anthropic-version", "2023-06-01").keyless());
    let head = self::head(&weir, "name=headers");
    let outcome = same("status", answer.status, 200)
        .and_then(|()| ensure(head.contains("beta=true") && !head.contains(&weir.key), head));
    table.case("the query", outcome);
    // Nothing of a query that is a credential somewhere, or another reader's idea of where it ends.
    for (said, sent) in [
        ("?access_token=denied&a=1", "?a=1 "),
        ("?a=1&$.xgafv=2&%24.xgafv=2", "?a=1 "),
        ("?a=1&%6bey=denied&KEY=denied&api_key=denied&api-key=denied&oauth_token=denied", "?a=1 "),
        ("?a=1&$httpMethod=DELETE&$httpHeaders=denied&$ct=denied&$userProject=denied", "?a=1 "),
        ("?a=1#denied", "?a=1 "),
        ("?a=1;key=denied&b=2", "?b=2 "),
    ] {
        let body = Call::Messages.body(&anthropic, false, "");
        let request = Request::post(&format!("/v1/messages{said}"), body).header("anthropic-version", "2023-06-01");
        let answer = weir.call(&request);
        let head = self::head(&weir, "name=headers");
        let line = head.lines().next().unwrap_or_default().to_owned();
        table.case(said, same("status", answer.status, 200).and_then(|()| ensure(line.contains(sent), line)));
    }
    weir.lives();
    table.end();
}

#[test]
fn headers_down() {
    let mut setup = Setup::new("identity-headers-down");
    let models: Vec<_> =
        Call::ALL.iter().map(|call| (*call, setup.model(call.dialect(), "fault=evilheaders,events=3"))).collect();
    let weir = setup.start();
    const ALLOWED: &[&str] = &[
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "date",
        "x-request-id",
        "request-id",
        "openai-processing-ms",
        "openai-version",
        "openai-model",
        "x-weir-cost",
        "cache-control",
        "x-accel-buffering",
        "retry-after",
        "server-timing",
        "content-disposition",
    ];
    let mut table = Table::new();
    for (call, model) in &models {
        for stream in [false, true] {
            let answer = weir.call(&call.request(model, stream));
            let strange: Vec<_> =
                answer.headers.iter().filter(|(name, _)| !ALLOWED.contains(&name.to_lowercase().as_str())).collect();
            let outcome = same("status", answer.status, 200).and_then(|()| {
                same("broken", answer.broken.clone(), None)?;
                ensure(strange.is_empty(), format!("{strange:?}"))?;
                ensure(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "no id of ours")
            });
            table.case(format!("{call:?} stream={stream}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

/// How callers write the paths.
#[test]
fn paths_as_callers_write_them() {
    let setup = Setup::new("identity-paths");
    let weir = setup.start();
    let chat = Call::Chat.body("good-openai", false, "");
    let messages = Call::Messages.body("good-anthropic", false, "");
    let generate = Call::Generate.body("", false, "");
    let cases = [
        ("/v1/chat/completions", &chat),
        ("/chat/completions", &chat),
        ("/v1/chat/completions/", &chat),
        ("//v1//chat/completions", &chat),
        ("/v1/messages", &messages),
        ("/messages", &messages),
        ("/v1/messages/?beta=true", &messages),
        ("/v1beta/models/good-gemini:generateContent", &generate),
        ("/v1/models/good-gemini:generateContent", &generate),
        ("/v1beta/models/good-gemini%3AgenerateContent", &generate),
        ("/v1beta/models/good-gemini%3agenerateContent", &generate),
        ("/v1beta/models/vendor-good-gemini%2Fgood-gemini:generateContent", &generate),
        ("/v1beta/models/vendor-good-gemini/good-gemini:generateContent", &generate),
        ("http://elsewhere.example/v1/chat/completions", &chat),
    ];
    let mut table = Table::new();
    for (path, body) in cases {
        let answer = weir.call(&Request::post(path, body.as_bytes()));
        table.case(path, same("status", answer.status, 200));
    }
    for path in ["/", "/v1/models", "/models", "/v1/models/", "/v1/models/good-openai", "/v1beta/models"] {
        for method in ["GET", "HEAD"] {
            let answer = weir.call(&Request::new(method, path));
            let silent = method == "GET" || answer.body.is_empty();
            table.case(format!("{method} {path}"), same("(status, silent)", (answer.status, silent), (200, true)));
        }
    }
    table.case("HEAD / without a key", same("status", weir.call(&Request::new("HEAD", "/").keyless()).status, 200));
    weir.lives();
    table.end();
}

/// The list of models is told in the dialect that asks, and holds those of every dialect: all can be called.
#[test]
fn models_in_three_shapes() {
    let weir = Setup::new("identity-models").start();
    let openai = weir.call(&Request::get("/v1/models")).json();
    assert_eq!(openai["object"], "list");
    let ids = |list: &serde_json::Value, member: &str| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|one| one[member].as_str().map(str::to_owned)).collect()
    };
    let names = ["good-anthropic", "good-gemini", "good-openai"];
    assert_eq!(ids(&openai["data"], "id"), names);
    let anthropic = weir.call(&Request::get("/v1/models").header("anthropic-version", "2023-06-01")).json();
    assert_eq!(
        (ids(&anthropic["data"], "id"), &anthropic["has_more"]),
        (names.map(str::to_owned).to_vec(), &false.into())
    );
    let gemini = weir.call(&Request::get("/v1beta/models").header("x-goog-api-key", &weir.key).keyless()).json();
    assert_eq!(ids(&gemini["models"], "name"), names.map(|name| format!("models/{name}")));
    weir.lives();
}

#[test]
fn browsers_may_call_from_allowed_origins() {
    let mut setup = Setup::new("identity-cors");
    setup.folder("[gateway]\ncors_origins = [\"https://app.example\"]");
    let weir = setup.start();
    let preflight = |origin: &str| {
        weir.call(
            &Request::new("OPTIONS", "/v1/chat/completions")
                .keyless()
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST")
                .header("Access-Control-Request-Headers", "authorization, x-stainless-os"),
        )
    };
    let good = preflight("https://app.example");
    assert_eq!(good.status, 204);
    assert_eq!(good.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(good.header("access-control-allow-headers"), Some("authorization, x-stainless-os"));
    assert_eq!(preflight("https://evil.example").header("access-control-allow-origin"), None);
    let call = |origin| weir.call(&Call::Chat.request("good-openai", true).header("Origin", origin));
    assert_eq!(call("https://app.example").header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(call("https://evil.example").header("access-control-allow-origin"), None);
    weir.lives();
}

/// An old caller knows no chunks: its answer ends with the connection.
#[test]
fn http_1_0() {
    let mut setup = Setup::new("identity-http10");
    let model = setup.model(Dialect::OpenAi, "events=30");
    let weir = setup.start();
    for stream in [false, true] {
        let body = Call::Chat.body(&model, stream, "");
        let mut wire = weir.wire();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.0\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            weir.key,
            body.len()
        );
        wire.send(request);
        let text = String::from_utf8(wire.rest(weir_tests::wire::PATIENCE).expect("it closes")).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        if stream {
            weirbench::grammar::check(Call::Chat.grammar(), body.as_bytes()).expect("a legal stream");
        } else {
            serde_json::from_str::<serde_json::Value>(body).expect("JSON");
        }
    }
    weir.lives();
}
