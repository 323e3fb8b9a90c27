//! Bytes in, bytes out: each file of `golden/<language>/` is a call in a caller's words with the bytes that vendors get, or a
//! vendor's stream with the bytes that callers get, in each of the other languages, through the real process.
//!
//! A new case is a new file with its first part. `WEIR_BLESS=1` writes the other parts; look at them before they are committed.

use std::fs;
use std::path::{Path, PathBuf};

use weir::wire::eventstream::{Framer, Kind, Open};
use weir_tests::binary::root;
use weir_tests::{Answer, Dialect, Exact, Gateway, Model, Request, Setup, Table};

/// One of the six languages: its folder, what its vendors are called in an operator's folder, and how a caller asks.
struct Tongue {
    name: &'static str,
    dialect: Dialect,
    version: &'static str,
    vendor: &'static str,
    model: &'static str,
    target: fn(&str, bool) -> String,
    hello: fn(&str) -> String,
}

const TONGUES: &[Tongue] = &[
    Tongue {
        name: "openai_chat",
        dialect: Dialect::OpenAi,
        version: "/v1",
        vendor: "responses = false",
        model: "",
        target: |_, _| "/v1/chat/completions".into(),
        hello: |model| {
            format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"stream":true,"stream_options":{{"include_usage":true}}}}"#
            )
        },
    },
    Tongue {
        name: "openai_responses",
        dialect: Dialect::OpenAi,
        version: "/v1",
        vendor: "",
        model: "path = \"responses\"",
        target: |_, _| "/v1/responses".into(),
        hello: |model| {
            format!(
                r#"{{"model":"{model}","input":"hi","stream":true,"store":false,"include":["reasoning.encrypted_content"]}}"#
            )
        },
    },
    Tongue {
        name: "anthropic",
        dialect: Dialect::Anthropic,
        version: "/v1",
        vendor: "",
        model: "",
        target: |_, _| "/v1/messages".into(),
        hello: |model| {
            format!(
                r#"{{"model":"{model}","max_tokens":99,"messages":[{{"role":"user","content":"hi"}}],"stream":true}}"#
            )
        },
    },
    Tongue {
        name: "gemini",
        dialect: Dialect::Gemini,
        version: "/v1beta",
        vendor: "",
        model: "",
        target: |model, stream| match stream {
            true => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            false => format!("/v1beta/models/{model}:generateContent"),
        },
        hello: |_| r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.into(),
    },
    Tongue {
        name: "cohere",
        dialect: Dialect::Cohere,
        version: "",
        vendor: "",
        model: "",
        target: |_, _| "/v2/chat".into(),
        hello: |model| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"stream":true}}"#),
    },
    Tongue {
        name: "bedrock",
        dialect: Dialect::Bedrock,
        version: "",
        vendor: "",
        model: "",
        target: |model, stream| format!("/model/{model}/converse{}", if stream { "-stream" } else { "" }),
        hello: |_| r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#.into(),
    },
];

const CALL: &str = "── the caller's call";
const STREAM: &str = "── the vendor's stream";
const CUT_OFF: &str = "── the vendor's stream, cut off";

struct Case {
    tongue: &'static Tongue,
    path: PathBuf,
    /// All that stands in the file.
    text: String,
    kind: &'static str,
    /// Its first part.
    given: String,
}

impl Case {
    fn name(&self) -> String {
        format!("{}-{}", self.tongue.name, self.path.file_stem().unwrap_or_default().to_string_lossy())
    }
}

#[test]
fn bytes_in_are_bytes_out() {
    let cases = cases();
    let bless = std::env::var_os("WEIR_BLESS").is_some_and(|value| value == "1");
    assert!(bless || cases.len() >= 50, "only {} cases", cases.len());
    let weir = started(&cases);
    let mut table = Table::new();
    for case in &cases {
        let mut found = format!("{}\n{}", case.kind, case.given);
        for other in TONGUES.iter().filter(|other| other.name != case.tongue.name) {
            let said = if case.kind == CALL { called(&weir, case, other) } else { streamed(&weir, case, other) };
            found += &format!("── {}\n{}\n", other.name, said.trim_end());
        }
        if bless {
            fs::write(&case.path, &found).expect("the folder can be written");
        }
        table.case(case.name(), if bless { Ok(()) } else { alike(&case.text, &found) });
    }
    weir.lives();
    table.end();
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for tongue in TONGUES {
        let folder = root().join("tests/golden").join(tongue.name);
        let mut files: Vec<_> = fs::read_dir(&folder).expect("a folder for each language").flatten().collect();
        files.sort_by_key(fs::DirEntry::path);
        cases.extend(files.iter().map(|file| read(tongue, &file.path())));
    }
    cases
}

fn read(tongue: &'static Tongue, path: &Path) -> Case {
    let text = fs::read_to_string(path).expect("text");
    let (first, rest) = text.split_once('\n').expect("a first line");
    let known = [CALL, CUT_OFF, STREAM].into_iter().find(|kind| *kind == first);
    let kind = known.unwrap_or_else(|| panic!("{}: it begins with {first:?}", path.display()));
    let end = rest.find("\n── ").map_or(rest.len(), |at| at + 1);
    let given = format!("{}\n", rest[..end].trim_end());
    Case { tongue, path: path.to_owned(), text: text.clone(), kind, given }
}

fn started(cases: &[Case]) -> Gateway {
    let mut setup = Setup::new("golden");
    setup.folder("[gateway]\nuntranslatable = \"drop\"");
    for tongue in TONGUES {
        setup.add(model(tongue, &words(tongue)).id(&asked(tongue)));
    }
    for case in cases.iter().filter(|case| case.kind != CALL) {
        let (kind, bytes) = match case.tongue.dialect {
            Dialect::Bedrock => ("application/vnd.amazon.eventstream", framed(&case.given)),
            // With the blank line that ends the last event.
            _ => ("text/event-stream", format!("{}\n", case.given).into_bytes()),
        };
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: ";
        let cut = [format!("{head}{kind}\r\n\r\n{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        let whole = [&cut[..], b"0\r\n\r\n"].concat();
        let vendor = Exact::start_and_close(|_| if case.kind == CUT_OFF { cut } else { whole });
        let base = format!("http://{}{}", vendor.address, case.tongue.version);
        setup.add(model(case.tongue, "name=exact").id(&case.name()).base_url(&base));
    }
    setup.start()
}

fn model(tongue: &Tongue, words: &str) -> Model {
    Model::new(tongue.dialect, words).vendor(tongue.vendor).model(&format!("{}\nreasoning = true", tongue.model))
}

fn words(tongue: &Tongue) -> String {
    format!("name=asked-{}", tongue.name)
}

fn asked(tongue: &Tongue) -> String {
    format!("asked-{}", tongue.name)
}

/// What the vendor of this language gets of a call, and what fell on the way.
fn called(weir: &Gateway, case: &Case, to: &Tongue) -> String {
    let model = asked(to);
    let body = case.given.trim_end().replace("MODEL", &model);
    let answer = weir.call(&request(case.tongue, (case.tongue.target)(&model, false), body));
    if answer.status != 200 {
        return format!("{} {}", answer.status, settled(&answer));
    }
    let got = weir.vendor().last(&words(to)).expect("the vendor was asked");
    let left_out = answer.header("x-weir-dropped").map(|names| format!("\nleft out: {names}")).unwrap_or_default();
    String::from_utf8_lossy(&got.body).into_owned() + &left_out
}

/// What a caller of this language gets of a vendor's stream.
fn streamed(weir: &Gateway, case: &Case, to: &Tongue) -> String {
    let model = case.name();
    let answer = weir.call(&request(to, (to.target)(&model, true), (to.hello)(&model)));
    let text = if to.dialect == Dialect::Bedrock { Answer { body: unframed(&answer.body), ..answer } } else { answer };
    settled(&text)
}

fn request(tongue: &Tongue, target: String, body: String) -> Request {
    let request = Request::post(&target, body);
    if tongue.dialect == Dialect::Anthropic { request.header("anthropic-version", "2023-06-01") } else { request }
}

/// Without what differs from run to run: ids that are made of the request's, and the time.
fn settled(answer: &Answer) -> String {
    let id = answer.request_id();
    let mut text = answer.text();
    for id in [id.as_str(), id.trim_start_matches("req_")].into_iter().filter(|id| !id.is_empty()) {
        text = text.replace(id, "ID");
    }
    for name in ["\"created\":", "\"created_at\":", "\"completed_at\":"] {
        let mut parts = text.split(name);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out += name;
            out += if part.starts_with(|first: char| first.is_ascii_digit()) { "0" } else { "" };
            out += part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        }
        text = out;
    }
    text
}

/// Frames of Amazon's from their text: a line that names the event, a line with its payload, a blank line.
fn framed(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for event in text.split("\n\n").map(str::trim).filter(|event| !event.is_empty()) {
        let (name, payload) = event.split_once('\n').expect("two lines");
        let open = match name.split_once(": ").expect("a kind and a name") {
            ("event", name) => Open::event(&mut out, name),
            (_, name) => Open::exception(&mut out, name),
        };
        out.extend_from_slice(payload.strip_prefix("data: ").expect("a payload").as_bytes());
        assert!(open.close(&mut out), "it is small");
    }
    out
}

fn unframed(bytes: &[u8]) -> Vec<u8> {
    let mut framer = Framer::default();
    let mut out = Vec::new();
    while let Ok(Some(frame)) = framer.next(bytes) {
        let kind = if frame.kind == Kind::Event { "event" } else { "exception" };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, payload) = (text(frame.name.of(bytes)), text(frame.payload.of(bytes)));
        out.extend_from_slice(format!("{kind}: {name}\ndata: {payload}\n\n").as_bytes());
    }
    if out.is_empty() { bytes.to_vec() } else { out }
}

fn alike(expected: &str, found: &str) -> Result<(), String> {
    let part = |text: &str, at: usize| {
        let before: Vec<&str> = text.lines().take(at + 1).collect();
        before.iter().rev().find(|line| line.starts_with("── ")).map_or(String::new(), |line| (*line).to_owned())
    };
    let (mut old, mut new) = (expected.lines(), found.lines());
    for at in 0.. {
        match (old.next(), new.next()) {
            (None, None) => return Ok(()),
            (old, new) if old == new => {}
            (old, new) => {
                let nothing = "nothing";
                return Err(format!(
                    "line {}, below {:?}\n     was {}\n  became {}\n  (WEIR_BLESS=1 writes what became)",
                    at + 1,
                    part(found, at),
                    old.unwrap_or(nothing),
                    new.unwrap_or(nothing)
                ));
            }
        }
    }
    Ok(())
}
