//! The checker against the synthetic vendor's own streams, against broken ones, and against recorded traffic.

use super::*;

fn chat(chunks: &[&str]) -> Result<Reading, Illegal> {
    let text: String = chunks.iter().map(|data| format!("data: {data}\n\n")).collect();
    check(Dialect::OpenAiChat, text.as_bytes())
}

const ROLE: &str = r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORD: &str = r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str =
    r#"{"id":"a","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
const ERROR: &str = r#"{"error":{"message":"m","type":"server_error","param":null,"code":"upstream_reset"}}"#;

#[test]
fn a_legal_chat() {
    let read = chat(&[ROLE, WORD, WORD, STOP, USAGE, "[DONE]"]).unwrap();
    assert_eq!((read.text.as_str(), read.finish.as_deref(), read.events), ("wordword", Some("stop"), 6));
    assert_eq!(read.usage.unwrap().input, Some(3));
    let read = chat(&[ROLE, WORD, ERROR]).unwrap();
    assert_eq!(
        read.end,
        End::Error { kind: "server_error".into(), code: "upstream_reset".into(), message: "m".into() }
    );
}

#[test]
fn what_is_not_a_chat() {
    let other = WORD.replace("\"a\"", "\"b\"");
    for (chunks, rule) in [
        (&[ROLE, WORD, STOP][..], Rule::Unfinished),
        (&[ROLE, WORD, "[DONE]"], Rule::Unfinished),
        (&["[DONE]"], Rule::Unfinished),
        (&[ROLE, STOP, "[DONE]", "[DONE]"], Rule::AfterEnd),
        (&[ROLE, ERROR, "[DONE]"], Rule::AfterEnd),
        (&[ROLE, STOP, STOP, "[DONE]"], Rule::Finish),
        (&[ROLE, STOP, WORD, "[DONE]"], Rule::Order),
        (&[ROLE, &other, STOP, "[DONE]"], Rule::Identity),
        (&[ROLE, "{\"id\":", "[DONE]"], Rule::Json),
        (&[ROLE, "[1]", "[DONE]"], Rule::Shape),
        (&[], Rule::Unfinished),
    ] {
        assert_eq!(chat(chunks).unwrap_err().rule, rule, "{chunks:?}");
    }
}

/// Every cut of a legal stream is illegal: nothing but the end looks like the end.
#[test]
fn no_cut_passes() {
    let mut whole = String::new();
    for data in [ROLE, WORD, STOP, USAGE, "[DONE]"] {
        whole += &format!("data: {data}\n\n");
    }
    for cut in 0..whole.len() {
        assert!(check(Dialect::OpenAiChat, &whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn anthropic_blocks_keep_their_order() {
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let start = event(
        "message_start",
        r#","message":{"id":"m","model":"c","role":"assistant","content":[],"usage":{"input_tokens":5,"output_tokens":1}}"#,
    );
    let open = event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#);
    let word = event("content_block_delta", r#","index":0,"delta":{"type":"text_delta","text":"word"}"#);
    let close = event("content_block_stop", r#","index":0"#);
    let delta = event("message_delta", r#","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}"#);
    let (ping, stop) = (event("ping", ""), event("message_stop", ""));
    let error = event("error", r#","error":{"type":"overloaded_error","message":"Overloaded"}"#);
    let read =
        |parts: &[&String]| check(Dialect::Anthropic, parts.iter().map(|p| p.as_str()).collect::<String>().as_bytes());
    let whole = read(&[&ping, &start, &open, &ping, &word, &close, &delta, &stop]).unwrap();
    let usage = whole.usage.unwrap();
    assert_eq!((whole.text.as_str(), usage.input, usage.output, whole.pings), ("word", Some(5), Some(9), 2));
    assert!(matches!(read(&[&start, &open, &word, &error]).unwrap().end, End::Error { .. }));
    for (parts, rule) in [
        (&[&open][..], Rule::Order),
        (&[&start, &word], Rule::Order),
        (&[&start, &start], Rule::Order),
        (&[&start, &open, &delta], Rule::Order),
        (&[&start, &stop], Rule::Unfinished),
        (&[&start, &open, &close, &delta], Rule::Unfinished),
        (&[&start, &open, &close, &delta, &stop, &ping], Rule::AfterEnd),
        (&[&start, &open, &close, &delta, &delta, &stop], Rule::Finish),
    ] {
        assert_eq!(read(parts).unwrap_err().rule, rule);
    }
}

/// Recorded traffic of the vendors whose dialects these are: what the checker reads is what the vendor's own SDK read.
/// Known oddities are listed with their rule; a new one fails.
#[test]
fn recorded_streams() {
    let Some(folder) = std::env::var_os("WEIR_RECORDINGS") else {
        eprintln!("WEIR_RECORDINGS is not set: recorded streams are not looked at");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let read = |path: &std::path::Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let expected = read(&folder.join("EXPECTED.json"));
    let (mut seen, mut whole, mut odd, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for provider in std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(provider.path()).unwrap().flatten() {
            let record = read(&file.path());
            let dialect = match record["api"].as_str().unwrap_or("") {
                "openai_chat" => Dialect::OpenAiChat,
                "openai_responses" => Dialect::OpenAiResponses,
                "anthropic_messages" => Dialect::Anthropic,
                "gemini_stream" | "gemini_generate" => Dialect::Gemini,
                "cohere_chat" => Dialect::Cohere,
                "bedrock_converse" | "bedrock_converse_stream" => Dialect::Converse,
                _ => continue,
            };
            let headers = record["response"]["headers"].to_string();
            let (Some(id), Some(body)) = (record["id"].as_str(), record["response"]["body"].as_str()) else { continue };
            let body = match record["response"]["encoding"].as_str() {
                Some("base64") => unbase64(body),
                _ => body.as_bytes().to_vec(),
            };
            let streamed = headers.contains("event-stream") || headers.contains("eventstream");
            *if streamed { &mut seen } else { &mut whole } += 1;
            match if streamed { check(dialect, &body) } else { check_unary(dialect, &body) } {
                Err(illegal) => odd.push(format!("{id} {:?} {} {}", illegal.rule, record["framing"], illegal)),
                Ok(reading) => {
                    let want = &expected[id];
                    if let Some(text) = want["text"].as_str()
                        && text != reading.text
                    {
                        wrong.push(format!("{id}: text `{}` is not `{}`", shorten(&reading.text), shorten(text)));
                    }
                    if let (Some(native), Some(finish)) = (want["finish_native"].as_str(), &reading.finish)
                        && !native.eq_ignore_ascii_case(finish)
                        && dialect != Dialect::OpenAiResponses
                    {
                        wrong.push(format!("{id}: finish {finish} is not {native}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let new: Vec<&String> = odd.iter().filter(|line| !ODD.iter().any(|known| line.starts_with(known))).collect();
    assert!(new.is_empty(), "of {seen} streams and {whole} whole answers these are newly refused: {new:#?}");
}

fn unbase64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for six in text.bytes().filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte)) {
        (held, bits) = (held << 6 | six as u32, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// Recordings that break a rule which a gateway's own stream must keep: two answers in one file, no sequence numbers (older
/// or compatible vendors), a second or an empty finish reason, objects without their names, a spoilt recording.
const ODD: [&str; 18] = [
    "anthropic-23fc6698e060 Order",
    "anthropic-2c03c7e5b991 AfterEnd",
    "anthropic-6009fb584a1c AfterEnd",
    "anthropic-9a56c4a156e8 AfterEnd",
    "anthropic-a3a21df7fe0f AfterEnd",
    "moonshotai-b16254e42bdc Shape",
    "openai-03d3d2d66100 Identity",
    "openai-224bc62bc8aa AfterEnd",
    "openai-5303d0676c10 AfterEnd",
    "openai-6006fb4ad348 Framing",
    "openai-868e35feb894 Identity",
    "openai-d543f0c1d7de Sum",
    "openrouter-c57d9bed76b7 Finish",
    "snowflake-fcb941756605 Finish",
    "snowflake-eb2c0d2d491e Finish",
    "anthropic-d69566d9e36b Shape",
    "openai-8087a53c27f9 Unfinished",
    "openai-2f219e8b1215 Shape",
];

#[test]
fn cohere_contents_and_calls_keep_their_order() {
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let start = event("message-start", r#","id":"a","delta":{"message":{"role":"assistant"}}"#);
    let open = event("content-start", r#","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}"#);
    let word = event("content-delta", r#","index":0,"delta":{"message":{"content":{"text":"word"}}}"#);
    let close = event("content-end", r#","index":0"#);
    let plan = event("tool-plan-delta", r#","delta":{"message":{"tool_plan":"look"}}"#);
    let call = |index: usize| {
        let function = r#"{"id":"c","type":"function","function":{"name":"f","arguments":""}}"#;
        event("tool-call-start", &format!(r#","index":{index},"delta":{{"message":{{"tool_calls":{function}}}}}"#))
    };
    let called = |index: usize| event("tool-call-end", &format!(r#","index":{index}"#));
    let end = event(
        "message-end",
        r#","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":3,"output_tokens":2.0},"cached_tokens":1}}"#,
    );
    let failed = event("message-end", r#","delta":{"finish_reason":"ERROR","error":"m"}"#);
    let read = |parts: &[&String]| {
        check(Dialect::Cohere, parts.iter().map(|part| part.as_str()).collect::<String>().as_bytes())
    };
    let (first, second, over) = (call(0), call(1), called(0));
    let whole = read(&[&start, &open, &word, &close, &plan, &first, &over, &second, &called(1), &end]).unwrap();
    let usage = whole.usage.unwrap();
    assert_eq!((whole.text.as_str(), whole.plan.as_str(), whole.tools.len()), ("word", "look", 2));
    assert_eq!((usage.input, usage.output, usage.cached), (Some(3), Some(2), Some(1)));
    assert!(matches!(read(&[&start, &open, &word, &failed]).unwrap().end, End::Error { .. }));
    for (parts, rule) in [
        (&[&open][..], Rule::Order),
        (&[&start, &word], Rule::Order),
        (&[&start, &open, &first], Rule::Order),
        (&[&start, &second], Rule::Order),
        (&[&start, &open, &word, &end], Rule::Order),
        (&[&start, &open, &word, &close], Rule::Unfinished),
        (&[&start, &end, &end], Rule::AfterEnd),
        (&[&start, &failed, &end], Rule::AfterEnd),
    ] {
        assert_eq!(read(parts).unwrap_err().rule, rule, "{parts:?}");
    }
}
