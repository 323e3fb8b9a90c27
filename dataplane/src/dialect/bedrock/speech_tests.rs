//! The four duties of Converse, there and back.

use serde_json::{Value, json};
use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::Converse;
use crate::dialect::answer::Answer;
use crate::dialect::call::*;
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::relay::{Heard, Relay};
use crate::dialect::speech::{Asked, Framing, Heading, Lost, Recipient, Speech, WriteEvents};
use crate::dialect::text::{Arguments, Json, Text};
use crate::dialect::{Language, Reading};
use crate::wire::eventstream::{Framer, Open};
use crate::wire::json::validate;

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";

fn call(body: &str) -> Call<'_> {
    Converse.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap()
}

fn written(call: &Call<'_>, model: &str, thinking: Thinking) -> (Value, Vec<Lost>) {
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    let to = Recipient { model, output_tokens_max: 8_000, reasoning: true, thinking, deviations: Deviations::NONE };
    Converse.write_call(call, &to, &mut lost, &mut out);
    (serde_json::from_slice(&out).unwrap(), lost)
}

fn text(words: &'static str) -> Part<'static> {
    What::Text(Text::of_raw(words.as_bytes())).into()
}

#[test]
fn a_call_comes_back_as_it_left() {
    let body = json!({
        "system": [{"text": "be kind"}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "look é\n"},
                {"image": {"format": "jpeg", "source": {"bytes": "iVBORw0KGgo="}}},
                {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/a.mp4"}}}},
                {"document": {"format": "pdf", "name": "a paper", "source": {"bytes": "JVBERi0="}}},
                {"cachePoint": {"type": "default", "ttl": "1h"}}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
                {"text": "I call"},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "input": {"a": "b"}}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "done"}], "status": "error"}},
                {"text": "and?"}]}],
        "inferenceConfig": {"maxTokens": 4000, "topP": 0.99, "stopSequences": ["x"]},
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "d", "strict": true,
            "inputSchema": {"json": {"type": "object"}}}}, {"cachePoint": {"type": "default"}}]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
            "schema": "{\"type\":\"object\",\"title\":\"é\"}", "name": "n", "description": "d"}}}},
        "requestMetadata": {"a": "b"}, "serviceTier": {"type": "flex"},
    });
    let text = body.to_string();
    let call = call(&text);
    assert_eq!(call.unmapped, [""; 0]);
    assert_eq!(written(&call, CLAUDE, Thinking::Budget), (body, vec![]));
    let What::ToolResult(result) = &call.turns[3].parts[0].what else { panic!("a result") };
    assert_eq!(result.name.as_ref().map(|name| name.plain().into_owned()).as_deref(), Some("f"));
}

#[test]
fn every_member_is_accounted_for() {
    let body = json!({
        "guardrailConfig": {}, "performanceConfig": {"latency": "standard"}, "promptVariables": {}, "system": null,
        "additionalModelResponseFieldPaths": ["/x"],
        "additionalModelRequestFields": {"anthropic_beta": ["x"], "reasoning_effort": "low", "top_k": 5},
        "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}], "toolChoice": {"auto": {}}},
        "messages": [
            {"role": "user", "content": [{"text": "hi"}, {"guardContent": {}}, {"document":
                {"format": "txt", "name": "d", "source": {"text": "t"}, "context": "c"}}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
                {"toolUse": {"toolUseId": "t", "name": "f", "input": {}, "type": "tool_use"}},
                {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": []}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [
                {"json": {"a": "\"b\""}}, {"searchResult": {}}]}}]}],
    });
    let text = body.to_string();
    let call = call(&text);
    let mut unmapped = call.unmapped.clone();
    unmapped.sort();
    let want = [
        "additionalModelRequestFields.anthropic_beta",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "messages[0].content[1].guardContent",
        "messages[0].content[2].document.context",
        "messages[1].content[0].toolUse.type",
        "messages[2].content[0].toolResult.content[1].searchResult",
        "promptVariables",
        "toolConfig.tools[0].systemTool",
    ];
    assert_eq!(unmapped, want);
    assert_eq!(call.reasoning.and_then(|reasoning| reasoning.amount), Some(Amount::Effort(Effort::Low)));
    assert_eq!(call.turns[1].parts[1].what, What::Text(Text::of_raw(b"ab")));
    let What::ToolResult(result) = &call.turns[2].parts[0].what else { panic!("a result") };
    assert_eq!(result.content[0].what, What::Text(Text::of_plain(r#"{"a":"\"b\""}"#)));
}

#[test]
fn turns_obey_bedrocks_rules() {
    let media = |kind, mime: &'static str, name: &'static str| {
        let source = Source::Data { mime: Text::of_plain(mime), base64: Text::of_raw(b"AAAA") };
        Part::from(What::Media(Media { kind, source, name: Some(Text::of_plain(name)), detail: None }))
    };
    let called = What::ToolCall(ToolCall {
        id: Text::of_raw(b"f:0"),
        name: Text::of_raw(b"f"),
        arguments: Arguments::InString(Text::of_raw(b"not json")),
        proof: None,
    });
    let result =
        What::ToolResult(ToolResult { id: Text::of_raw(b"f:0"), name: None, content: vec![text(" ")], failed: false });
    let turn = |role, parts| Turn { role, name: None, parts };
    let turns = vec![
        turn(
            Role::User,
            vec![
                media(MediaKind::Document, "application/pdf", "My (first) paper_v2.pdf"),
                media(MediaKind::Document, "text/csv", "My (first) paper_v2.csv"),
                media(MediaKind::Image, "image/tiff", ""),
            ],
        ),
        turn(Role::Assistant, vec![text("  "), called.into()]),
        turn(Role::User, vec![result.into()]),
    ];
    let call = Call { turns, tool_choice: Some(ToolChoice::Required), ..Call::default() };
    let (body, lost) = written(&call, CLAUDE, Thinking::Budget);
    let user = &body["messages"][0]["content"];
    assert_eq!(user[0]["document"]["name"], "My (first) paper v2");
    assert_eq!(user[1]["document"]["name"], "My (first) paper v2 2");
    // A document wants a word beside it.
    assert_eq!(user[2]["text"], ".");
    assert_eq!(lost, [Lost::Thing("images, files and sounds of this format")]);
    let made = &body["messages"][1]["content"][0]["toolUse"];
    assert_eq!(made["input"], json!({"arguments": "not json"}));
    let answered = &body["messages"][2]["content"][0]["toolResult"];
    assert_eq!((&answered["toolUseId"], &answered["content"]), (&made["toolUseId"], &json!([{"json": {}}])));
    // Tools that were called must be told, though nobody offers them any more.
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    assert!(body.get("inferenceConfig").is_none());
}

#[test]
fn each_maker_is_told_in_its_own_words() {
    let asked = |model, thinking, choice| {
        let reasoning = Some(Reasoning { amount: Some(Amount::Effort(Effort::High)), shown: None });
        let turns = vec![Turn { role: Role::User, name: None, parts: vec![text("hi")] }];
        let mut call = Call { reasoning, turns, tool_choice: choice, ..Call::default() };
        call.params.set(Param::TopK, Json::of(b"5"));
        let (body, lost) = written(&call, model, thinking);
        (body["additionalModelRequestFields"].clone(), lost)
    };
    let top_k = [Lost::Param(Param::TopK)];
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 7999}});
    let roughly = [Lost::Hint("the exact amount of thinking"), Lost::Param(Param::TopK)];
    assert_eq!(asked(CLAUDE, Thinking::Budget, None), (budget, roughly.to_vec()));
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}});
    assert_eq!(asked(CLAUDE, Thinking::Effort, None), (adaptive, top_k.to_vec()));
    let nova = json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"},
        "inferenceConfig": {"topK": 5}});
    assert_eq!(asked(NOVA, Thinking::Effort, None), (nova, vec![]));
    let open = json!({"reasoning_effort": "high", "top_k": 5});
    assert_eq!(asked("openai.gpt-oss-120b-1:0", Thinking::Effort, None), (open, vec![]));
    let profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    assert_eq!(asked(profile, Thinking::Budget, None).0["thinking"]["type"], "enabled");
    let forced = Some(ToolChoice::Required);
    assert_eq!(asked(CLAUDE, Thinking::Budget, forced).0, json!({"top_k": 5}));
}

fn spoken(events: Vec<Event<'_>>) -> Vec<u8> {
    let call = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let (mut writer, mut out) = (Converse.writer(&heading), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    writer.end(&mut out);
    out
}

/// Folds what a relay says, whatever the pieces.
struct Fold<'a>(&'a std::cell::RefCell<Answer>);

impl WriteEvents for Fold<'_> {
    fn write(&mut self, event: Event<'_>, _: &mut Vec<u8>) {
        self.0.borrow_mut().take(event);
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn fail(&mut self, _: Code, _: &str, _: &mut Vec<u8>) {}
}

fn heard(stream: &[u8], piece: usize) -> (Answer, Heard) {
    let answer = std::cell::RefCell::new(Answer::default());
    let mut relay = Relay::new(Framing::EventStream, Converse.reader(Deviations::NONE), Box::new(Fold(&answer)));
    let (mut held, mut out, mut reading) = (Vec::new(), Vec::new(), Reading::default());
    let mut last = Heard::More;
    for part in stream.chunks(piece) {
        held.extend_from_slice(part);
        last = relay.feed(&held, &mut out, &mut reading);
        let done = relay.unfinished();
        held.drain(..done);
        relay.moved(done);
        if last != Heard::More {
            break;
        }
    }
    relay.close(&mut out, &mut reading);
    drop(relay);
    (answer.into_inner(), last)
}

fn an_answer() -> Vec<Event<'static>> {
    let said = |block, words: &'static str| Event::Piece { block, piece: Piece::Text(Text::of_raw(words.as_bytes())) };
    let proof = |of, sealed| Proof { of, data: Text::of_raw(b"cHJv\\/2Y="), sealed };
    let signed = |block, of, sealed| Event::Piece { block, piece: Piece::Proof(proof(of, sealed)) };
    let open = |block, kind| Event::Open { block, choice: 0, kind };
    let close = |block| Event::Close { block };
    let made = |proof| Block::ToolCall { id: Text::default(), name: Text::of_raw(b"f"), proof };
    vec![
        Event::Start { id: Text::default() },
        open(0, Block::Reasoning),
        said(0, "hm"),
        open(1, Block::Text),
        said(1, "hel"),
        signed(0, Tongue::Messages, false),
        close(0),
        said(1, "lo"),
        open(2, made(Some(proof(Tongue::Generate, false)))),
        Event::Piece { block: 2, piece: Piece::ArgumentsObject(br#"{"a":"b"}"#) },
        close(1),
        close(2),
        open(3, Block::Reasoning),
        signed(3, Tongue::Responses, true),
        close(3),
        open(4, Block::Text),
        said(4, "cited"),
        Event::Piece {
            block: 4,
            piece: Piece::Citation(Citation { url: Some(Text::of_raw(b"https://e.com")), ..Citation::default() }),
        },
        close(4),
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage {
            usage: Usage::NONE.with(Class::Input, 5).with(Class::CacheRead, 3).with(Class::Output, 2),
            tier: Tier::Standard,
        },
    ]
}

fn blocks(answer: &Answer) -> Vec<(String, String)> {
    let told = answer.choices[0].blocks.iter().map(|block| {
        let kind = match &block.kind {
            Block::ToolCall { id, .. } => id.plain().into_owned(),
            Block::Reasoning => block.proof.as_ref().map(|proof| proof.data.plain().into_owned()).unwrap_or_default(),
            Block::Text => "text".to_owned(),
            other => format!("{other:?}"),
        };
        let words = match &block.object {
            Some(object) => String::from_utf8_lossy(object).into_owned(),
            None => block.text().plain().into_owned(),
        };
        (kind, words)
    });
    told.collect()
}

#[test]
fn what_comes_at_once_leaves_in_order_and_in_any_pieces() {
    let stream = spoken(an_answer());
    let (answer, last) = heard(&stream, stream.len());
    assert_eq!(last, Heard::Over);
    let told = blocks(&answer);
    let shown: Vec<(&str, &str)> = told.iter().map(|(kind, words)| (kind.as_str(), words.as_str())).collect();
    let want = [
        ("weir.messages.p.cHJv/2Y=", "hm"),
        ("text", "hello"),
        // Base64 of `weir.generate.p.cHJv\/2Y=`, as it stood between the quotes.
        ("d2Vpci5nZW5lcmF0ZS5wLmNISnZcLzJZPQ==", ""),
        ("call_a1_2", r#"{"a":"b"}"#),
        ("d2Vpci5yZXNwb25zZXMucy5jSEp2XC8yWT0=", ""),
        ("text", "cited"),
    ];
    assert_eq!(shown, want);
    assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
    assert_eq!(answer.usage.map(|usage| (usage.prompt_tokens(), usage.answer_tokens())), Some((8, 2)));
    assert_eq!(answer.choices[0].blocks[5].citations.len(), 1);
    for piece in [1, 7, 64] {
        assert_eq!(blocks(&heard(&stream, piece).0), told, "pieces of {piece}");
    }
    // A whole answer says the same.
    let call = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let mut folded = Answer::default();
    an_answer().into_iter().for_each(|event| folded.take(event));
    let mut whole = Vec::new();
    Converse.write_answer(&folded, &heading, &mut whole);
    let mut again = Answer::default();
    Converse.reader(Deviations::NONE).read_answer(&whole, &mut |event| again.take(event)).unwrap();
    assert_eq!(blocks(&again), told, "{}", String::from_utf8_lossy(&whole));
}

#[test]
fn proofs_find_their_way_home() {
    let body = r#"{"messages":[{"role":"assistant","content":[
        {"reasoningContent":{"reasoningText":{"text":"hm","signature":"weir.messages.p.cHJv\/2Y="}}},
        {"reasoningContent":{"redactedContent":"d2Vpci5nZW5lcmF0ZS5wLmNISnZcLzJZPQ=="}},
        {"toolUse":{"toolUseId":"c","name":"f","input":{}}},
        {"reasoningContent":{"redactedContent":"d2Vpci5yZXNwb25zZXMucy5jSEp2XC8yWT0="}},
        {"reasoningContent":{"redactedContent":"b3du"}}]}]}"#;
    let call = call(body);
    let proofs: Vec<_> = call.turns[0]
        .parts
        .iter()
        .filter_map(|part| match &part.what {
            What::Reasoning(Thought { proof, .. }) | What::ToolCall(ToolCall { proof, .. }) => proof.clone(),
            _ => None,
        })
        .map(|proof| (proof.of, proof.sealed, proof.data.plain().into_owned()))
        .collect();
    let given = "cHJv/2Y=".to_owned();
    let want = [
        (Tongue::Messages, false, given.clone()),
        (Tongue::Generate, false, given.clone()),
        (Tongue::Responses, true, given),
        (Tongue::Converse, true, "b3du".to_owned()),
    ];
    assert_eq!(proofs, want);
}

#[test]
fn a_vendors_odd_events_are_read() {
    let mut stream = Vec::new();
    for (name, payload) in [
        ("messageStart", r#"{"role":"assistant","p":"abc"}"#),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"s","name":"nova_code","type":"server_tool_use"}}}"#,
        ),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}},"p":"ab"}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"text":"a \u00e9"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"signature":"sig"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("news", r#"{"surprise":1}"#),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f","type":"tool_use"}}}"#,
        ),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"a\":1}"}}}"#),
        ("messageStop", r#"{"stopReason":"guardrail_intervened"}"#),
        ("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":5}}"#),
    ] {
        let frame = Open::event(&mut stream, name);
        stream.extend_from_slice(payload.as_bytes());
        assert!(frame.close(&mut stream));
    }
    let (answer, last) = heard(&stream, 9);
    assert_eq!(last, Heard::Over);
    let told = &answer.choices[0].blocks;
    assert_eq!(told[0].kind, Block::VendorTool { name: Text::of_raw(b"nova_code") });
    assert_eq!((told[1].text().plain(), told[1].proof.is_some()), ("a é".into(), true));
    assert_eq!(told[2].text().plain(), r#"{"a":1}"#);
    assert_eq!(answer.choices[0].finish, Some(Finish::Filtered));
    assert_eq!(answer.usage.map(|usage| usage.tokens()), Some(3));
    // Between two who speak the same, the very bytes.
    let (mut passing, mut out, mut reading) = (Relay::passing(&Converse), Vec::new(), Reading::default());
    assert_eq!(passing.feed(&stream, &mut out, &mut reading), Heard::Over);
    assert!(out == stream && reading.ended && reading.usage.is_some() && reading.events == 12);
}

#[test]
fn an_error_is_an_exception() {
    let mut stream = Vec::new();
    Converse.error_event(&mut stream, Code::UpstreamOverloaded, "a \"b\"", &Reading::default());
    let frame = Framer::default().next(&stream).unwrap().unwrap();
    assert_eq!(frame.name.of(&stream), b"serviceUnavailableException");
    assert!(validate(frame.payload.of(&stream)).is_ok());
    let (answer, last) = heard(&stream, 5);
    // The relay keeps the words: they have to be scrubbed.
    assert!(answer.failed.is_none() && last == Heard::Failed);
    let mut passing = Relay::passing(&Converse);
    let (mut out, mut reading) = (Vec::new(), Reading::default());
    assert_eq!(passing.feed(&stream, &mut out, &mut reading), Heard::Failed);
    assert_eq!((out.len(), passing.words()), (0, Some("a \"b\"")));
}
