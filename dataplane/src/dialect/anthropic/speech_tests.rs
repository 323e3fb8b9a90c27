//! The four duties of Messages, there and back.

use serde_json::{Value, json};
use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::Messages;
use crate::dialect::answer::Answer;
use crate::dialect::call::*;
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Asked, Heading, Lost, Recipient, Speech, Step};
use crate::dialect::text::{Arguments, Json, Text};
use crate::wire::sse;

fn call(body: &str) -> Call<'_> {
    Messages.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap()
}

fn recipient(thinking: Thinking) -> Recipient<'static> {
    Recipient { model: "claude", output_tokens_max: 0, reasoning: true, thinking, deviations: Deviations::NONE }
}

fn written(call: &Call<'_>, thinking: Thinking) -> (Value, Vec<Lost>) {
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    Messages.write_call(call, &recipient(thinking), &mut lost, &mut out);
    (serde_json::from_slice(&out).unwrap(), lost)
}

fn text(words: &'static str) -> Part<'static> {
    What::Text(Text::of_raw(words.as_bytes())).into()
}

fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn { role, name: None, parts }
}

#[test]
fn a_call_comes_back_as_it_left() {
    let body = json!({
        "model": "claude", "max_tokens": 9000,
        "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look é\n"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"},
                 "title": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "c2VhbGVk"},
                {"type": "text", "text": "I call"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done", "is_error": true},
                {"type": "text", "text": "and?"}]}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "stop_sequences": ["x"], "top_p": 0.99, "metadata": {"user_id": "u"}, "service_tier": "auto", "stream": true,
    });
    let text = body.to_string();
    let call = call(&text);
    assert_eq!(call.unmapped, [""; 0]);
    let (again, lost) = written(&call, Thinking::Budget);
    assert_eq!((again, lost), (body, vec![]));
    let What::ToolResult(result) = &call.turns[3].parts[0].what else { panic!("a result") };
    assert_eq!(result.name.as_ref().map(|name| name.plain().into_owned()).as_deref(), Some("f"));
}

#[test]
fn every_member_is_accounted_for() {
    let body = json!({
        "model": "m", "max_tokens": 5, "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "container": "c", "mcp_servers": [],
        "output_config": {"effort": "low", "task_budget": {}}, "thinking": {"type": "disabled"},
        "metadata": {"user_id": null, "other": 1}, "system": null, "top_k": null,
        "tools": [{"type": "web_search_20250305", "name": "web_search"},
                  {"type": "custom", "name": "f", "input_schema": {}, "defer_loading": true, "description": null}],
        "messages": [
            {"role": "user", "content": "hi", "surprise": 1},
            {"role": "assistant", "content": [
                {"type": "text", "text": "a", "citations": [{"cited_text": "b"}]},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "tool_reference", "tool_name": "x"}, {"type": "text", "text": "r"}]}]}],
    });
    let text = body.to_string();
    let mut unmapped = call(&text).unmapped;
    unmapped.sort();
    let mut want = [
        "container",
        "context_management",
        "mcp_servers",
        "messages[0].surprise",
        "messages[1].content[1] (server_tool_use)",
        "messages[2].content[0].content[0] (tool_reference)",
        "metadata.other",
        "output_config.effort",
        "output_config.task_budget",
        "tools[0] (web_search_20250305)",
        "tools[1].defer_loading",
    ];
    want.sort_unstable();
    assert_eq!(unmapped, want);
    for (wrong, named) in [
        (r#"{"messages":"x"}"#, "messages"),
        (r#"{"messages":[{"role":"robot","content":"x"}]}"#, "messages[0].role"),
        (r#"{"messages":[{"role":"user","content":[{"type":"image"}]}]}"#, "messages[0].content[0].source"),
        (r#"{"max_tokens":-1}"#, "max_tokens"),
    ] {
        let why = Messages.read_call(&Asked { body: wrong.as_bytes(), streams: false }).unwrap_err();
        assert!(why.0.starts_with(named), "{why:?}");
    }
}

#[test]
fn turns_obey_anthropics_rules() {
    let result = |id: &'static str| {
        let content = vec![text("r")];
        let id = Text::of_raw(id.as_bytes());
        Part::from(What::ToolResult(ToolResult { id, name: None, content, failed: false }))
    };
    let called = |id: &'static str| {
        Part::from(What::ToolCall(ToolCall {
            id: Text::of_raw(id.as_bytes()),
            name: Text::of_raw(b"f"),
            arguments: Arguments::InString(Text::of_raw(br#"{\"a\":1}"#)),
            proof: None,
        }))
    };
    let unsigned = What::Reasoning(Thought { text: Text::of_raw(b"hm"), proof: None }).into();
    let turns = vec![
        turn(Role::System, vec![text("one")]),
        turn(Role::Assistant, vec![unsigned, text("  "), called("f:0")]),
        turn(Role::User, vec![text("also"), result("f:0")]),
        turn(Role::System, vec![text("two")]),
        turn(Role::User, vec![text("go")]),
        turn(Role::Assistant, vec![text(r"so: \n")]),
    ];
    let (body, lost) = written(&Call { turns, ..Call::default() }, Thinking::Budget);
    let messages = &body["messages"];
    let id = messages[1]["content"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("f_0_"), "{id}");
    let want = json!([
        {"role": "user", "content": [{"type": "text", "text": "."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "r"},
            {"type": "text", "text": "also"}, {"type": "text", "text": "go"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "so:"}]},
    ]);
    assert_eq!(
        (messages, lost),
        (&want, vec![Lost::Hint("earlier thoughts"), Lost::Hint("the space that the answer's beginning ends in")])
    );
    assert_eq!(body["system"], json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]));
    assert_eq!(body["max_tokens"], 4096);
    // Tools that were called must be told, though nobody offers them any more.
    assert_eq!(body["tools"][0]["name"], "f");
    let alone = Call { turns: vec![turn(Role::System, vec![text("hi")])], ..Call::default() };
    let (body, _) = written(&alone, Thinking::Budget);
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]));
    assert!(body.get("system").is_none());
}

#[test]
fn thinking_obeys_anthropics_rules() {
    let asked = |amount, tokens_max, thinking, change: fn(&mut Call<'static>)| {
        let reasoning = Some(Reasoning { amount: Some(amount), shown: None });
        let turns = vec![turn(Role::User, vec![text("hi")])];
        let mut call = Call { reasoning, tokens_max, turns, ..Call::default() };
        change(&mut call);
        let (body, lost) = written(&call, thinking);
        (body["thinking"].clone(), body["max_tokens"].clone(), body["output_config"]["effort"].clone(), lost)
    };
    let no_change: fn(&mut Call<'static>) = |_| {};
    let (high, low) = (Amount::Effort(Effort::High), Amount::Tokens(9));
    let enabled = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let (budget, effort) = (Thinking::Budget, Thinking::Effort);
    let roughly = vec![Lost::Hint("the exact amount of thinking")];
    let said = |budget, tokens: u64| (enabled(budget), json!(tokens), Value::Null, roughly.clone());
    assert_eq!(asked(high, None, budget, no_change), said(24576, 28672));
    assert_eq!(asked(high, Some(2000), budget, no_change), said(1999, 2000));
    assert_eq!(asked(Amount::Tokens(2048), None, budget, no_change).3, []);
    let no_room = vec![Lost::Hint("thinking under a limit that leaves no room for it")];
    assert_eq!(asked(high, Some(1000), budget, no_change), (Value::Null, json!(1000), Value::Null, no_room));
    assert_eq!(asked(low, Some(2000), budget, no_change).0, enabled(1024));
    assert_eq!(asked(Amount::Off, Some(5), budget, no_change).0, Value::Null);
    assert_eq!(asked(Amount::Off, Some(5), effort, no_change).0, json!({"type": "disabled"}));
    assert_eq!(asked(high, Some(5), effort, no_change).0, json!({"type": "adaptive"}));
    assert_eq!(asked(high, Some(5), effort, no_change).2, "high");
    assert_eq!(asked(high, Some(5), effort, no_change).3, []);
    assert_eq!(
        (asked(low, Some(5), effort, no_change).2, asked(low, Some(5), effort, no_change).3),
        (json!("low"), roughly)
    );
    let forced: fn(&mut Call<'static>) = |call| call.tool_choice = Some(ToolChoice::Required);
    assert_eq!(asked(high, None, budget, forced).0, Value::Null);
    assert_eq!(asked(high, None, effort, forced).2, "high");
    let cold: fn(&mut Call<'static>) = |call| call.params.set(Param::Temperature, Json::of(b"0.5"));
    assert_eq!(asked(Amount::Tokens(2048), None, budget, cold).3, [Lost::Param(Param::Temperature)]);
    let in_a_loop: fn(&mut Call<'static>) = |call| {
        let id = || Text::of_raw(b"c");
        let arguments = Arguments::Object(Json::of(b"{}"));
        let made = What::ToolCall(ToolCall { id: id(), name: Text::of_raw(b"f"), arguments, proof: None });
        let content = vec![text("r")];
        let result = What::ToolResult(ToolResult { id: id(), name: None, content, failed: false });
        call.turns.push(turn(Role::Assistant, vec![made.into()]));
        call.turns.push(turn(Role::User, vec![result.into()]));
    };
    assert_eq!(asked(high, None, budget, in_a_loop).0, Value::Null);
    assert_eq!(asked(high, None, effort, in_a_loop).0, json!({"type": "adaptive"}));
}

fn spoken(events: Vec<Event<'_>>) -> String {
    let call = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let (mut writer, mut out) = (Messages.writer(&heading), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn heard(stream: &str) -> Answer {
    let (mut reader, mut framer, mut answer) =
        (Messages.reader(Deviations::NONE), sse::Framer::default(), Answer::default());
    while let Some(event) = framer.next(stream.as_bytes()) {
        let (name, data) = (event.name.of(stream.as_bytes()), event.data.of(stream.as_bytes()));
        if reader.read_event(name, data, &mut |event| answer.take(event)).unwrap() == Step::Over {
            break;
        }
    }
    reader.end(&mut |event| answer.take(event));
    answer
}

fn said(block: u32, words: &'static str) -> Event<'static> {
    Event::Piece { block, piece: Piece::Text(Text::of_raw(words.as_bytes())) }
}

fn proof(of: Tongue, sealed: bool) -> Proof<'static> {
    Proof { of, data: Text::of_raw(b"cHJvb2Y="), sealed }
}

/// Blocks that are open at once leave one after another, whole; proofs leave where Anthropic's SDKs carry them.
#[test]
fn what_comes_at_once_leaves_in_order() {
    let called =
        |id: &'static str, proof| Block::ToolCall { id: Text::of_raw(id.as_bytes()), name: Text::of_raw(b"f"), proof };
    let piece = |block, piece| Event::Piece { block, piece };
    let arguments = |block, raw: &'static [u8]| piece(block, Piece::Arguments(Text::of_raw(raw)));
    let open = |block, kind| Event::Open { block, choice: 0, kind };
    let close = |block| Event::Close { block };
    let stream = spoken(vec![
        Event::Start { id: Text::default() },
        open(0, Block::Reasoning),
        said(0, "hm"),
        open(1, Block::Text),
        open(2, called("c1", None)),
        arguments(2, br#"{\"a\""#),
        said(1, "he"),
        arguments(2, br":1}"),
        piece(0, Piece::Proof(proof(Tongue::Responses, true))),
        close(0),
        said(1, "llo"),
        close(2),
        open(3, called("", Some(proof(Tongue::Generate, false)))),
        piece(3, Piece::ArgumentsObject(br#"{"b":"x"}"#)),
        close(1),
        close(3),
        open(4, Block::Reasoning),
        piece(4, Piece::Proof(proof(Tongue::Responses, true))),
        close(4),
        open(5, Block::Reasoning),
        close(5),
        open(6, Block::VendorTool { name: Text::of_raw(b"search") }),
        close(6),
        open(7, Block::Text),
        said(7, "end"),
        piece(7, Piece::Citation(Citation { url: Some(Text::of_raw(b"https://e.com")), ..Citation::default() })),
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage {
            usage: Usage::NONE.with(Class::Input, 5).with(Class::CacheRead, 3).with(Class::Reasoning, 2),
            tier: Tier::Standard,
        },
    ]);
    let answer = heard(&stream);
    let blocks: Vec<_> = answer.choices[0]
        .blocks
        .iter()
        .map(|block| {
            let kind = match &block.kind {
                Block::ToolCall { id, .. } => id.plain().into_owned(),
                Block::Reasoning => block.proof.as_ref().map(|p| p.data.plain().into_owned()).unwrap_or_default(),
                Block::Text => "text".to_owned(),
                other => format!("{other:?}"),
            };
            (kind, block.text().plain().into_owned())
        })
        .collect();
    let want = [
        ("weir.responses.s.cHJvb2Y=", "hm"),
        ("text", "hello"),
        ("c1", r#"{"a":1}"#),
        ("weir.generate.p.cHJvb2Y=", ""),
        ("call_a1_3", r#"{"b":"x"}"#),
        ("weir.responses.s.cHJvb2Y=", ""),
        ("text", "end"),
    ];
    assert_eq!(blocks, want.map(|(kind, words)| (kind.to_owned(), words.to_owned())), "{stream}");
    assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
    assert_eq!(answer.usage.map(|usage| (usage.prompt_tokens(), usage.answer_tokens())), Some((8, 2)));
    assert_eq!(answer.choices[0].blocks[6].citations.len(), 1);
}

/// What a caller brings back of such an answer is what the vendor gave.
#[test]
fn proofs_find_their_way_home() {
    let body = r#"{"messages":[{"role":"assistant","content":[
        {"type":"thinking","thinking":"hm","signature":"weir.responses.s.cHJvb2Y="},
        {"type":"redacted_thinking","data":"weir.responses.s.cHJvb2Y="},
        {"type":"redacted_thinking","data":"b3du"},
        {"type":"redacted_thinking","data":"weir.generate.p.cHJvb2Y="},
        {"type":"tool_use","id":"c","name":"f","input":{}},
        {"type":"redacted_thinking","data":"weir.generate.p.cHJvb2Y="}]}]}"#;
    let call = call(body);
    let proofs: Vec<_> = call.turns[0]
        .parts
        .iter()
        .map(|part| match &part.what {
            What::Reasoning(thought) => ("thought", thought.proof.clone()),
            What::ToolCall(call) => ("call", call.proof.clone()),
            _ => ("?", None),
        })
        .collect();
    let own = Proof { of: Tongue::Messages, data: Text::of_raw(b"b3du"), sealed: true };
    let want = [
        ("thought", Some(proof(Tongue::Responses, true))),
        ("thought", Some(proof(Tongue::Responses, true))),
        ("thought", Some(own)),
        ("call", Some(proof(Tongue::Generate, false))),
        ("thought", Some(proof(Tongue::Generate, false))),
    ];
    assert_eq!(proofs, want);
}

#[test]
fn a_vendors_odd_events_are_read() {
    let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}   \n\n\
        event: ping\ndata: {\"type\": \"ping\"}\n\n\
        event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"abc\"}}\n\n\
        event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
        event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n\
        event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n\
        event: news\ndata: {\"type\":\"news\"}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"pause_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":9}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\nevent: x\ndata: {\n\n";
    let answer = heard(stream);
    let blocks = &answer.choices[0].blocks;
    let own = Proof { of: Tongue::Messages, data: Text::of_raw(b"abc"), sealed: false };
    assert_eq!((blocks[0].text.len(), blocks[0].proof.clone()), (0, Some(own)));
    assert_eq!(blocks[1].kind, Block::VendorTool { name: Text::of_raw(b"web_search") });
    assert!(blocks[1].text.is_empty());
    assert_eq!(answer.choices[0].finish, Some(Finish::Paused));
    assert_eq!(answer.usage.map(|usage| usage.tokens()), Some(13));
    for (reason, finish) in [
        ("refusal", Finish::Filtered),
        ("model_context_window_exceeded", Finish::Length),
        ("compaction", Finish::Other(Text::of_raw(b"compaction"))),
    ] {
        let stop = format!("data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}}}}\n\n");
        assert_eq!(heard(&stop).choices[0].finish, Some(finish));
    }
    let error =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    assert_eq!(heard(error).failed, Some(Text::of_raw(b"busy")));
    let call = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let (mut writer, mut out) = (Messages.writer(&heading), Vec::new());
    writer.write(Event::Start { id: Text::default() }, &mut out);
    writer.fail(Code::UpstreamError, "gone", &mut out);
    writer.end(&mut out);
    assert!(heard(&String::from_utf8(out).unwrap()).failed.is_some());
}
