//! The vendor as its callers see it: real sockets, one process.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Handle, Options, start};
use crate::grammar::{self, Dialect, End, Rule};
use crate::http::{self, Answer, Link};

const PATIENCE: Duration = Duration::from_secs(5);
const DIALECTS: [(Dialect, &str); 7] = [
    (Dialect::OpenAiChat, "/v1/chat/completions"),
    (Dialect::OpenAiCompletions, "/v1/completions"),
    (Dialect::OpenAiResponses, "/v1/responses"),
    (Dialect::Anthropic, "/v1/messages"),
    (Dialect::Gemini, "/v1beta/models/m:streamGenerateContent?alt=sse"),
    (Dialect::Cohere, "/v2/chat"),
    (Dialect::Converse, "/model/m/converse-stream"),
];

fn vendor() -> Handle {
    start(Options { capture: true, control: Some(super::LOCAL), ..Options::default() }).unwrap()
}

fn ask(vendor: &Handle, words: &str, path: &str, body: &str) -> Answer {
    let target = if words.is_empty() { path.to_owned() } else { format!("/~{words}{path}") };
    let request = http::request("POST", &target, &[("authorization", "Bearer key-a")], body.as_bytes());
    http::fetch(vendor.addr, None, &request, PATIENCE).unwrap()
}

const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello you"}],"input":"hello you","contents":[{"parts":[{"text":"hello you"}]}]}"#;

#[test]
fn every_style_of_every_dialect_is_legal_and_says_the_same() {
    let vendor = vendor();
    for (dialect, path) in DIALECTS {
        let plain = grammar::check(dialect, &ask(&vendor, "", path, STREAM).body).unwrap();
        assert_eq!(plain.end, End::Finished);
        assert!(plain.text.starts_with("The water behind"), "{}", plain.text);
        let usage = plain.usage.clone().unwrap();
        assert_eq!((usage.input, usage.output), (Some(24), Some(16)), "{dialect:?}");
        for words in [
            "batch=all",
            "batch=5",
            "pace=1ms",
            "ttfb=5ms",
            "frame=length",
            "frame=close",
            "eol=crlf",
            "eol=cr",
            "eol=lf",
            "style=nospace",
            "style=comments",
            "style=multiline",
            "style=bom",
            "style=bytewise",
            "style=fields",
            "fault=silent=20@3",
            "fault=early103",
            "fault=comments=100@2",
            "connclose",
            "staleclose",
            "ids=unique",
            "fault=flood1xx=300",
            "fault=evilheaders",
        ] {
            let answer = ask(&vendor, words, path, STREAM);
            assert_eq!((answer.status, &answer.broken), (200, &None), "{dialect:?} {words}");
            let read = grammar::check(dialect, &answer.body);
            let read = read.unwrap_or_else(|why| panic!("{dialect:?} {words}: {why}"));
            assert_eq!((&read.text, &read.finish), (&plain.text, &plain.finish), "{dialect:?} {words}");
        }
        let big = grammar::check(dialect, &ask(&vendor, "fault=giant=300000@2", path, STREAM).body).unwrap();
        assert_eq!(big.text.len(), plain.text.len() + 300_000);
        let echoed = grammar::check(dialect, &ask(&vendor, "echo,events=3", path, STREAM).body).unwrap();
        assert_eq!(echoed.text, "hello you", "{dialect:?}");
        let wide = grammar::check(dialect, &ask(&vendor, "utf8,text=50", path, STREAM).body).unwrap();
        assert_eq!(wide.text.len(), 16 * 50);
    }
}

#[test]
fn tools_and_reasoning() {
    let vendor = vendor();
    for (dialect, path) in DIALECTS {
        if dialect == Dialect::OpenAiCompletions {
            continue;
        }
        let body = STREAM.replace("\"model\"", r#""tools":[{"name":"look","function":{"name":"look"}}],"model""#);
        for (words, count) in [("answer=tool", 1), ("answer=tools", 2)] {
            let read = grammar::check(dialect, &ask(&vendor, words, path, &body).body).unwrap();
            assert_eq!(read.tools.len(), count, "{dialect:?}");
            for tool in read.tools {
                let arguments: serde_json::Value = serde_json::from_str(&tool.arguments).unwrap();
                assert_eq!((tool.name.as_str(), &arguments["days"]), ("look", &serde_json::json!(3)));
            }
        }
        let read =
            grammar::check(dialect, &ask(&vendor, "answer=reasoning,tokens_reasoning=5", path, &body).body).unwrap();
        assert!(!read.reasoning.is_empty() && !read.text.is_empty(), "{dialect:?}");
        assert_eq!(read.usage.unwrap().output, Some(16), "{dialect:?}");
    }
}

#[test]
fn answers_in_one_piece_say_what_streams_say() {
    let vendor = vendor();
    let body = STREAM.replace("\"stream\":true,", "");
    for (dialect, path) in DIALECTS {
        let path = path.replace(":streamGenerateContent?alt=sse", ":generateContent").replace("-stream", "");
        for words in ["", "answer=reasoning", "answer=agent", "answer=tools", "tokens_cached=7", "finish=length"] {
            if words.starts_with("answer") && dialect == Dialect::OpenAiCompletions {
                continue;
            }
            let whole = grammar::check_unary(dialect, &ask(&vendor, words, &path, &body).body)
                .unwrap_or_else(|e| panic!("{dialect:?} {words} {e}"));
            let stream_path = DIALECTS.iter().find(|(known, _)| *known == dialect).unwrap().1;
            let stream = grammar::check(dialect, &ask(&vendor, words, stream_path, STREAM).body).unwrap();
            assert_eq!(
                (&whole.text, &whole.reasoning, &whole.finish),
                (&stream.text, &stream.reasoning, &stream.finish),
                "{dialect:?} {words}"
            );
            let counts = |usage: Option<grammar::Usage>| usage.map(|u| (u.input, u.output, u.cached));
            assert_eq!(counts(whole.usage), counts(stream.usage), "{dialect:?} {words}");
            let names = |tools: &[grammar::Tool]| tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&whole.tools), names(&stream.tools));
        }
        let failed = grammar::check_unary(dialect, &ask(&vendor, "error=503", &path, &body).body).unwrap();
        assert!(matches!(failed.end, End::Error { .. }));
    }
}

#[test]
fn faults_in_a_stream_look_like_what_they_are() {
    let vendor = vendor();
    for (dialect, path) in DIALECTS {
        let rule = |words: &str| match grammar::check(dialect, &ask(&vendor, words, path, STREAM).body) {
            Ok(read) => panic!("{dialect:?} {words} is legal: {:?}", read.end),
            Err(illegal) => illegal,
        };
        assert_eq!(rule("fault=badjson@2").rule, Rule::Json);
        let summed = if dialect == Dialect::Converse { Rule::Framing } else { Rule::Json };
        assert_eq!(rule("fault=badsum@2").rule, summed);
        assert_eq!(rule("fault=badutf8@2").rule, Rule::Utf8);
        for words in ["fault=eof@2", "fault=reset@2", "fault=badchunk@2"] {
            let illegal = rule(words);
            assert_eq!((illegal.rule, illegal.text.as_str()), (Rule::Unfinished, "The water"), "{dialect:?} {words}");
            let answer = ask(&vendor, words, path, STREAM);
            assert!(answer.broken.is_some(), "{dialect:?} {words}");
        }
        let failed = grammar::check(dialect, &ask(&vendor, "fault=errorevent@2", path, STREAM).body).unwrap();
        assert!(matches!(failed.end, End::Error { .. }) && failed.text == "The water", "{dialect:?} {failed:?}");
        let named = ask(&vendor, "fault=errornamed@2", path, STREAM);
        let words = if dialect == Dialect::Converse { ":error-code" } else { "event: error" };
        assert!(named.text().contains(words), "{dialect:?}");
        if dialect != Dialect::Gemini {
            assert_eq!(rule("done=twice").rule, Rule::AfterEnd, "{dialect:?}");
            assert_eq!(rule("done=trailing").rule, Rule::AfterEnd, "{dialect:?}");
        }
        assert_eq!(rule("done=no").rule, Rule::Unfinished, "{dialect:?}");
        assert_eq!(rule("finish=no").rule, Rule::Unfinished, "{dialect:?}");
        assert!(
            ask(&vendor, "fault=jsonforstream", path, STREAM)
                .header("content-type")
                .unwrap()
                .starts_with("application/json")
        );
        assert!(
            grammar::check(dialect, &ask(&vendor, "usage=none", path, STREAM).body)
                .unwrap()
                .usage
                .is_none_or(|u| u.input.is_none())
        );
        for words in ["usage=negative", "usage=string", "usage=huge"] {
            let read = grammar::check(dialect, &ask(&vendor, words, path, STREAM).body).unwrap();
            assert_eq!(read.usage.unwrap().input, None, "{dialect:?} {words}");
        }
    }
}

#[test]
fn broken_answers_are_broken_in_the_way_asked_for() {
    let vendor = vendor();
    let body = r#"{"model":"m","messages":[]}"#;
    let get = |words: &str| ask(&vendor, words, "/v1/chat/completions", body);
    for (words, status, broken) in [
        ("fault=accept_close", 0, Some("closed before an answer")),
        ("fault=eof", 0, Some("closed before an answer")),
        ("fault=html", 200, None),
        ("fault=empty", 200, None),
        ("fault=204", 204, None),
        ("fault=cl_large", 200, Some("closed in the body")),
        ("fault=cl_dup", 0, Some("two lengths")),
        ("fault=cl_neg", 0, Some("a length that is none")),
        ("fault=cl_te", 200, Some("a length beside chunks")),
        ("fault=headnul", 0, Some("not an HTTP head")),
        ("fault=headflood", 0, Some("not an HTTP head")),
        ("fault=redirect", 302, None),
        ("error=503,retry_after=7", 503, None),
        ("error=429,first=1", 429, None),
        ("error=429,first=1", 200, None),
        ("auth=other", 401, None),
        ("auth=key-a", 200, None),
        ("error=429,error_for=y-a", 429, None),
        ("error=429,error_for=y-b", 200, None),
        ("fault=eof,fault_for=y-b", 200, None),
        ("nonsense", 400, None),
    ] {
        let answer = get(words);
        assert_eq!(answer.broken.as_deref(), broken, "{words}");
        assert!(answer.status == status || broken.is_some(), "{words}: {}", answer.status);
    }
    for words in ["fault=rst", "fault=reset"] {
        assert_eq!(get(words).broken.as_deref(), Some("connection reset"));
    }
    assert_eq!(get("error=503,retry_after=7").header("retry-after"), Some("7"));
    assert!(get("fault=head64k").body.len() > 100);
    assert!(serde_json::from_slice::<serde_json::Value>(&get("fault=truncate").body).is_err());
    assert!(serde_json::from_slice::<serde_json::Value>(&get("fault=badjson").body).is_err());
    assert!(std::str::from_utf8(&get("fault=badutf8").body).is_err());
}

#[test]
fn addresses_that_are_dead_ends() {
    let vendor = vendor();
    let soon = Duration::from_millis(200);
    let open = |address: SocketAddr| Link::open(address, None, soon).err().map(|e| e.kind());
    assert_eq!(open(vendor.refused), Some(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(open(vendor.blackhole), Some(std::io::ErrorKind::TimedOut));
    assert_eq!(open(vendor.mute), None);
    let muted = http::fetch(vendor.mute, None, b"GET / HTTP/1.1\r\n\r\n", soon).unwrap();
    assert!(muted.broken.is_some());
    // What a base_url says comes back as the scenario that was meant.
    let url = vendor.url("fault=stall@2");
    let (_, path) = url.split_at(url.find("/~").unwrap());
    let request =
        http::request("POST", &format!("{path}/v1/chat/completions"), &[("x-api-key", "k")], br#"{"model":"m"}"#);
    assert!(http::fetch(vendor.addr, None, &request, soon).unwrap().broken.is_some());
    assert_eq!(vendor.counter("fault=stall@2").requests, 1);
    assert!(vendor.url("fault=refuse").contains(&vendor.refused.to_string()));
}

#[test]
fn counters_tell_who_left() {
    let vendor = vendor();
    let words = "pace=20ms,events=1000";
    let request = http::request(
        "POST",
        &format!("/~{words}/v1/chat/completions"),
        &[("authorization", "Bearer k")],
        STREAM.as_bytes(),
    );
    let mut link = Link::open(vendor.addr, None, PATIENCE).unwrap();
    std::io::Write::write_all(&mut link, &request).unwrap();
    std::io::Read::read(&mut link, &mut [0; 1000]).unwrap();
    let live = vendor.counter(words);
    assert_eq!((live.live, live.streams, live.aborted, live.connections), (1, 1, 0, 1));
    let left = crate::clock::Moment::now();
    drop(link);
    let after = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let counter = vendor.counter(words);
        (counter.aborted == 1).then_some(counter)
    });
    let after = after.expect("the vendor notices within a second");
    assert_eq!((after.live, after.finished), (0, 0));
    assert!(after.last_abort_us >= left.0 / 1000);

    let captured = vendor.last(words).unwrap();
    assert_eq!(captured.body, STREAM.as_bytes());
    let told = http::fetch(vendor.control.unwrap(), None, b"GET /counters HTTP/1.1\r\n\r\n", PATIENCE).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(told[words]["aborted"], 1);
    vendor.set(words, "error=500").unwrap();
    assert_eq!(http::fetch(vendor.addr, None, &request, PATIENCE).unwrap().status, 500);
    vendor.reset();
    assert_eq!(vendor.counter(words).requests, 0);
}

#[test]
fn objects_belong_to_their_credential() {
    let vendor = vendor();
    let made: serde_json::Value =
        serde_json::from_slice(&ask(&vendor, "", "/v1/responses", r#"{"model":"m","input":"x"}"#).body).unwrap();
    let id = made["id"].as_str().unwrap();
    let get = |method: &str, key: &str| {
        let request = http::request(method, &format!("/v1/responses/{id}"), &[("authorization", key)], b"");
        http::fetch(vendor.addr, None, &request, PATIENCE).unwrap().status
    };
    assert_eq!(
        (get("GET", "Bearer key-a"), get("DELETE", "Bearer key-a"), get("GET", "Bearer key-b"), get("GET", "")),
        (200, 200, 404, 401)
    );
}

#[test]
fn requests_behind_each_other_and_in_pieces() {
    let vendor = vendor();
    let one = http::request("POST", "/v1/chat/completions", &[("x-api-key", "k")], br#"{"model":"m","messages":[]}"#);
    let three = one.repeat(3);
    let mut link = Link::open(vendor.addr, None, PATIENCE).unwrap();
    for piece in three.chunks(7) {
        std::io::Write::write_all(&mut link, piece).unwrap();
    }
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let count = |bytes: &[u8]| memchr::memmem::find_iter(bytes, b"HTTP/1.1 200").count();
    while count(&bytes) < 3 || !bytes.ends_with(b"}\n") {
        let read = std::io::Read::read(&mut link, &mut buffer).unwrap();
        assert!(read > 0);
        bytes.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(vendor.counter("").requests, 3);
    assert_eq!(vendor.counter("").connections, 1);
}

#[test]
fn tls_good_and_bad() {
    use super::tls::Leaf;
    for leaf in [Leaf::Good, Leaf::Untrusted, Leaf::Expired, Leaf::WrongHost] {
        let vendor = start(Options { tls: Some(leaf), ..Options::default() }).unwrap();
        let config = http::trusting_pem(vendor.ca_pem.as_deref().unwrap().as_bytes()).unwrap();
        let request =
            http::request("POST", "/~batch=all/v1/chat/completions", &[("x-api-key", "k")], STREAM.as_bytes());
        let answer = http::fetch(vendor.addr, Some(&config), &request, PATIENCE);
        match (leaf, answer) {
            (Leaf::Good, Ok(answer)) => {
                assert_eq!(grammar::check(Dialect::OpenAiChat, &answer.body).unwrap().end, End::Finished)
            }
            (Leaf::Good, Err(error)) => panic!("{error}"),
            (_, Ok(answer)) => panic!("{leaf:?} was accepted: {}", answer.status),
            (_, Err(_)) => {}
        }
    }
}

/// What has no end is sent as long as it is read, costs the vendor no memory, and stops when the reader leaves.
#[test]
fn floods_flow_until_the_reader_leaves() {
    let vendor = start(Options { cores: 2, ..Options::default() }).unwrap();
    for words in ["fault=endless@1", "fault=noline@1", "fault=headflood", "fault=gzipbomb", "fault=endless@1,pace=1ms"]
    {
        let request =
            http::request("POST", &format!("/~{words}/v1/messages"), &[("x-api-key", "k")], STREAM.as_bytes());
        let mut link = Link::open(vendor.addr, None, PATIENCE).unwrap();
        std::io::Write::write_all(&mut link, &request).unwrap();
        let mut taken = 0;
        let mut buffer = vec![0; 64 << 10];
        let wanted = if words.contains("pace") { 3_000 } else { 3_000_000 };
        while taken < wanted {
            let count = std::io::Read::read(&mut link, &mut buffer).unwrap();
            assert!(count > 0, "{words} ended after {taken}");
            taken += count;
        }
        drop(link);
        let gone = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            vendor.counter(words).aborted == 1
        });
        assert!(gone, "{words}");
    }
}

#[test]
fn an_early_answer_leaves_the_body_unread() {
    let vendor = vendor();
    let mut link = Link::open(vendor.addr, None, PATIENCE).unwrap();
    let head = "POST /~early,error=413/v1/chat/completions HTTP/1.1\r\nx-api-key: k\r\ncontent-length: 10\r\n\r\nabc";
    std::io::Write::write_all(&mut link, head.as_bytes()).unwrap();
    assert_eq!(http::receive(&mut link).status, 413);
    // The rest of the body is thrown away; the next request is understood.
    let next = http::request("GET", "/v1/models", &[("x-api-key", "k")], b"");
    std::io::Write::write_all(&mut link, &[b"defghij".as_slice(), &next].concat()).unwrap();
    assert_eq!(http::receive(&mut link).status, 200);
}
