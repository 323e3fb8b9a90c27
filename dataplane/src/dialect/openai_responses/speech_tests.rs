//! The four duties of OpenAI's responses.

use serde_json::{Value, json};
use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::Responses;
use crate::dialect::answer::Answer;
use crate::dialect::call::{Amount, Call, Effort, Proof, Reasoning, Role, Tongue, What};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::repeats::tests::both_ways;
use crate::dialect::speech::{Asked, Heading, Lost, Recipient, Speech, Step};
use crate::dialect::text::{Json, Text};
use crate::wire::json;

fn call(body: &str) -> Call<'_> {
    json::validate(body.as_bytes()).unwrap();
    Responses.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap()
}

fn written(call: &Call<'_>, reasoning: bool) -> (Value, Vec<Lost>) {
    let to = Recipient {
        model: "m",
        output_tokens_max: 0,
        reasoning,
        thinking: Thinking::Effort,
        deviations: Deviations::NONE,
    };
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    Responses.write_call(call, &to, &mut lost, &mut out);
    (serde_json::from_slice(&out).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out))), lost)
}

fn raw(words: &str) -> Text<'_> {
    Text::of_raw(words.as_bytes())
}

#[test]
fn a_call_comes_back_as_it_was() {
    let body = r#"{"model":"m","stream":true,"store":false,"instructions":"be kind","input":[
        {"type":"message","role":"user","content":[{"type":"input_text","text":"what is it?"},
            {"type":"input_image","image_url":"data:image/png;base64,iVBO","detail":"low"},
            {"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"},
            {"type":"input_file","file_url":"https://a.b/c.pdf"},
            {"type":"input_audio","input_audio":{"data":"UklG","format":"mp3"}}]},
        {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gAAA_-="},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"let me see","annotations":[]}]},
        {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
        {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
        {"type":"function_call_output","call_id":"c1","output":"one"},
        {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"},{"type":"input_image","image_url":"https://a.b/c.png","detail":"auto"}]},
        {"type":"message","role":"developer","content":[{"type":"input_text","text":"be brief"}]},
        {"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"no"}]}],
        "tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true}],
        "tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]},"parallel_tool_calls":false,
        "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true},"verbosity":"low"},
        "reasoning":{"effort":"xhigh","summary":"auto"},"include":["reasoning.encrypted_content"],"max_output_tokens":77,
        "temperature":0.50,"top_p":0.9,"user":"u","metadata":{"a":"b"},"service_tier":"flex","prompt_cache_key":"k"}"#;
    let call = call(body);
    assert_eq!(call.unmapped, [""; 0]);
    let (got, lost) = written(&call, true);
    assert_eq!(lost, []);
    assert_eq!(got, serde_json::from_str::<Value>(body).unwrap());
    // What the model did at once is one turn, and so are the results.
    let roles: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.parts.len())).collect();
    let expected = [
        (Role::System, 1),
        (Role::User, 5),
        (Role::Assistant, 4),
        (Role::User, 2),
        (Role::System, 1),
        (Role::Assistant, 1),
    ];
    assert_eq!(roles, expected);
    let What::ToolResult(result) = &call.turns[3].parts[1].what else { panic!() };
    assert_eq!(result.name.as_ref().unwrap().raw(), b"g");
    let What::Reasoning(thought) = &call.turns[2].parts[0].what else { panic!() };
    let proof = thought.proof.as_ref().unwrap();
    assert_eq!((proof.of, proof.data.raw(), proof.sealed), (Tongue::Responses, &b"rs_1:gAAA_-="[..], false));
}

#[test]
fn every_member_is_accounted_for() {
    let body = r#"{"model":"m","input":[{"role":"user","content":"hi","odd":1},{"type":"item_reference","id":"x"},
        {"type":"web_search_call","id":"ws","status":"completed"},{"type":"custom_tool_call","call_id":"c","name":"apply_patch","input":"x"},
        {"type":"message","id":"msg_1","status":"completed","phase":"final_answer","role":"assistant","content":[{"type":"output_text","text":"x","logprobs":[],"annotations":[]},{"type":"hologram"}]}],
        "instructions":null,"store":true,"truncation":"auto","background":false,"previous_response_id":"r","conversation":"c","prompt":{"id":"p"},
        "client_metadata":{"a":"b"},"include":["reasoning.encrypted_content","message.output_text.logprobs"],"top_logprobs":3,
        "stream_options":{"include_obfuscation":false},"max_tool_calls":null,"reasoning":{"effort":null,"context":"all_turns"},
        "tools":[{"type":"custom","name":"apply_patch","format":{}},{"type":"web_search"},{"type":"mcp","server_label":"x"},{"type":"local_shell"},
            {"type":"function","name":"f","parameters":{},"defer_loading":true}],
        "tool_choice":{"type":"web_search"},"user":"a","safety_identifier":"b","surprise":1}"#;
    let call = call(body);
    assert_eq!(
        call.unmapped,
        [
            "tools[1].web_search",
            "tools[2].mcp",
            "tools[3].local_shell",
            "tools[4].defer_loading",
            "input[0].odd",
            "input[1].item_reference",
            "input[2].web_search_call",
            "input[4].content[1].hologram",
            "truncation",
            "previous_response_id",
            "conversation",
            "prompt",
            "reasoning.context",
            "tool_choice.web_search",
            "surprise",
        ]
    );
    let hints = [
        "ids of items",
        "states of items",
        "input[4].phase",
        "store",
        "client_metadata",
        "stream_options",
        "safety_identifier",
    ];
    assert_eq!(call.hints, hints);
    for wrong in [
        r#"{"input":7}"#,
        r#"{"input":[7]}"#,
        r#"{"input":[{"role":"nobody"}]}"#,
        r#"{"input":[{"type":"function_call_output","output":"x"}]}"#,
        r#"{"input":[{"type":"function_call","call_id":"c"}]}"#,
        r#"{"tools":[{"type":"function"}]}"#,
        r#"{"tool_choice":"maybe"}"#,
        r#"{"text":{"format":{"type":"xml"}}}"#,
        r#"{"reasoning":{"effort":"some"}}"#,
        r#"{"max_output_tokens":-1}"#,
    ] {
        assert!(Responses.read_call(&Asked { body: wrong.as_bytes(), streams: false }).is_err(), "{wrong}");
    }
}

#[test]
fn tools_of_a_namespace_have_one_name_elsewhere_and_two_here() {
    let body = r#"{"input":[{"type":"function_call","call_id":"c","namespace":"agents","name":"spawn","arguments":"{}"}],
        "tools":[{"type":"namespace","name":"agents","description":"About agents.","tools":[{"type":"function","name":"spawn","description":"One more.","parameters":{}},{"type":"custom","name":"x"}]},
            {"type":"namespace","name":"mcp__a__","description":"","tools":[{"type":"function","name":"b","parameters":{}}]}],
        "tool_choice":{"type":"function","namespace":"agents","name":"spawn"}}"#;
    let call = call(body);
    assert_eq!(call.unmapped, ["tools[0].tools[1].custom"]);
    let (got, _) = written(&call, false);
    assert_eq!(
        (&got["tools"][0]["name"], &got["tools"][0]["description"]),
        (&json!("agents__spawn"), &json!("About agents.\n\nOne more."))
    );
    assert_eq!(got["tools"][1]["name"], "mcp__a__b");
    assert_eq!(
        (&got["input"][0]["name"], &got["tool_choice"]["name"]),
        (&got["tools"][0]["name"], &got["tools"][0]["name"])
    );
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let kind = Block::ToolCall { id: raw("c"), name: raw("agents__spawn"), proof: None };
    let out = spoken(&heading, vec![Event::Open { block: 0, choice: 0, kind }, Event::Close { block: 0 }]);
    let last = events(&out).pop().unwrap();
    let item = &last["response"]["output"][0];
    assert_eq!((&item["name"], &item["namespace"]), (&json!("spawn"), &json!("agents")));
}

#[test]
fn what_a_vendor_cannot_take_is_named() {
    let mut call = call(r#"{"input":"hi"}"#);
    call.stop.push(raw("x"));
    call.choices = Some(2);
    call.turns[0].name = Some(raw("ann"));
    call.params.set(crate::dialect::call::Param::Seed, Json::of(b"7"));
    call.reasoning = Some(Reasoning { amount: Some(Amount::Effort(Effort::Low)), shown: None });
    call.tokens_max = Some(1);
    let (body, lost) = written(&call, false);
    let things = [
        Lost::Thing("names of participants"),
        Lost::Thing("thinking, by a model that does not"),
        Lost::Hint("a limit under 16 tokens"),
        Lost::Thing("stop sequences"),
        Lost::Thing("more than one answer"),
        Lost::Param(crate::dialect::call::Param::Seed),
    ];
    assert_eq!(lost, things);
    // OpenAI knows no lower limit.
    assert_eq!((&body["max_output_tokens"], body.get("include")), (&json!(16), None));
    call.reasoning = Some(Reasoning { amount: Some(Amount::Tokens(9_000)), shown: Some(true) });
    assert_eq!(written(&call, true).0["reasoning"], json!({"effort": "medium", "summary": "auto"}));
}

#[test]
fn calls_without_ids_find_their_results() {
    let mut call = call(
        r#"{"input":[{"type":"function_call","call_id":"","name":"f","arguments":""},{"type":"function_call","call_id":"","name":"g","arguments":"{}"},
            {"type":"function_call_output","call_id":"","output":"of g"},{"type":"function_call_output","call_id":"","output":"of f"}]}"#,
    );
    for (place, name) in ["g", "f"].into_iter().enumerate() {
        let What::ToolResult(result) = &mut call.turns[1].parts[place].what else { panic!() };
        result.name = Some(Text::of_plain(name));
    }
    let (body, _) = written(&call, false);
    let ids: Vec<_> = body["input"].as_array().unwrap().iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call_0", "call_1", "call_1", "call_0"]);
    assert_eq!(body["input"][0]["arguments"], "{}");
}

fn spoken(heading: &Heading<'_>, events: Vec<Event<'_>>) -> String {
    let mut writer = Responses.writer(heading);
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn events(stream: &str) -> Vec<Value> {
    let events: Vec<Value> = stream
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), value["type"].as_str());
            value
        })
        .collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

fn read(stream: &str) -> Answer {
    let mut reader = Responses.reader(Deviations::NONE);
    let mut answer = Answer::default();
    for event in stream.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').unwrap_or(("event: ", event));
        let (name, data) = (name.strip_prefix("event: ").unwrap(), data.strip_prefix("data: ").unwrap());
        reader.read_event(name.as_bytes(), data.as_bytes(), &mut |event| answer.take(event)).unwrap();
    }
    reader.end(&mut |event| answer.take(event));
    answer
}

fn text(words: &'static str) -> Piece<'static> {
    Piece::Text(raw(words))
}

fn proof(of: Tongue, data: &'static str) -> Proof<'static> {
    Proof { of, data: raw(data), sealed: false }
}

fn an_answer() -> Vec<Event<'static>> {
    let tool = |id, proof| Block::ToolCall { id: raw(id), name: raw("f"), proof };
    let citation = Citation { url: Some(raw("u")), title: Some(raw("t")), span: Some((0, 2)), ..Citation::default() };
    let of_all = Citation { document: Some(raw("file-1")), ..Citation::default() };
    vec![
        Event::Start { id: raw("x") },
        Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
        Event::Piece { block: 0, piece: text("hm") },
        Event::Piece { block: 0, piece: text(" yes") },
        Event::Piece { block: 0, piece: Piece::Proof(proof(Tongue::Messages, "sig/")) },
        Event::Close { block: 0 },
        Event::Open { block: 1, choice: 0, kind: Block::Text },
        Event::Piece { block: 1, piece: Piece::Citation(of_all) },
        Event::Piece { block: 1, piece: text("h\\u00e9") },
        Event::Piece { block: 1, piece: Piece::Citation(citation) },
        Event::Piece { block: 1, piece: text("llo") },
        Event::Close { block: 1 },
        Event::Open { block: 2, choice: 0, kind: Block::Text },
        Event::Piece { block: 2, piece: text("more") },
        Event::Close { block: 2 },
        Event::Open { block: 3, choice: 0, kind: Block::VendorTool { name: raw("web_search") } },
        Event::Close { block: 3 },
        Event::Open { block: 4, choice: 0, kind: tool("", Some(proof(Tongue::Generate, "EqQ+"))) },
        Event::Open { block: 5, choice: 0, kind: tool("t5", None) },
        Event::Piece { block: 4, piece: Piece::Arguments(raw("{\\\"a\\\"")) },
        Event::Piece { block: 5, piece: Piece::ArgumentsObject(b"{\"b\":2}") },
        Event::Piece { block: 4, piece: Piece::Arguments(raw(":1}")) },
        Event::Close { block: 4 },
        Event::Close { block: 5 },
        Event::Open { block: 6, choice: 0, kind: tool("t6", None) },
        Event::Close { block: 6 },
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage {
            usage: Usage::NONE
                .with(Class::Input, 5)
                .with(Class::CacheRead, 3)
                .with(Class::CacheWrite5m, 2)
                .with(Class::Output, 4)
                .with(Class::Reasoning, 6),
            tier: Tier::Flex,
        },
    ]
}

fn blocks(answer: &Answer) -> Vec<(&'static str, String)> {
    let told = answer.choices[0].blocks.iter().map(|whole| {
        let kind = match &whole.kind {
            Block::Text => "text",
            Block::Refusal => "refusal",
            Block::Reasoning => "reasoning",
            Block::ToolCall { .. } => "call",
            Block::VendorTool { .. } => "vendor",
            Block::Media { .. } => "media",
        };
        (kind, String::from_utf8(whole.text.clone()).unwrap())
    });
    told.collect()
}

#[test]
fn what_is_written_reads_back() {
    let asked = call(
        r#"{"input":"hi","instructions":"be kind","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"temperature":0.25}"#,
    );
    let heading = Heading { id: "a1", model: "a-model", created_s: 17, call: &asked, sse: true };
    let out = spoken(&heading, an_answer());
    let told = events(&out);
    assert_eq!((&told[0]["type"], &told[1]["type"]), (&json!("response.created"), &json!("response.in_progress")));
    let response = &told.last().unwrap()["response"];
    let (mut whole, mut unary) = (Answer::default(), Vec::new());
    an_answer().into_iter().for_each(|event| whole.take(event));
    Responses.write_answer(&whole, &heading, &mut unary);
    // The last event is the whole answer.
    assert_eq!(*response, serde_json::from_slice::<Value>(&unary).unwrap());
    for (member, value) in [
        ("id", json!("resp_a1")),
        ("object", json!("response")),
        ("status", json!("completed")),
        ("created_at", json!(17)),
        ("model", json!("a-model")),
        ("instructions", json!("be kind")),
        ("temperature", json!(0.25)),
        ("store", json!(false)),
        ("parallel_tool_calls", json!(true)),
        ("tool_choice", json!("auto")),
        ("metadata", json!({})),
        ("service_tier", json!("flex")),
        ("error", json!(null)),
        (
            "usage",
            json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
                "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 6}, "total_tokens": 20}),
        ),
    ] {
        assert_eq!(response[member], value, "{member}");
    }
    let kinds: Vec<_> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["reasoning", "message", "reasoning", "function_call", "function_call", "function_call"],
        "texts are parts of one message, and a call's proof stands in front of it"
    );
    assert_eq!(response["output"][1]["content"][0]["annotations"][1]["type"], "file_citation");
    let mut by_unary = Answer::default();
    Responses.reader(Deviations::NONE).read_answer(&unary, &mut |event| by_unary.take(event)).unwrap();
    for answer in [read(&out), by_unary] {
        let want = [
            ("reasoning", "hm yes"),
            ("text", "h\\u00e9llo"),
            ("text", "more"),
            ("reasoning", ""),
            ("call", "{\\\"a\\\":1}"),
            ("call", "{\\\"b\\\":2}"),
            ("call", "{}"),
        ];
        assert_eq!(blocks(&answer), want.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
        assert_eq!((answer.usage, answer.tier), (whole.usage, Tier::Flex));
        let Block::ToolCall { id, .. } = &answer.choices[0].blocks[4].kind else { panic!() };
        assert_eq!(id.raw(), b"call_a1_4");
    }
    // And what the caller gives back is what it got.
    let again = json!({ "input": response["output"] }).to_string();
    let again = call(&again);
    assert_eq!(again.unmapped, [""; 0]);
    let [thought, _, _, tool, ..] = &again.turns[0].parts[..] else { panic!("{again:?}") };
    let (What::Reasoning(thought), What::ToolCall(tool)) = (&thought.what, &tool.what) else { panic!("{again:?}") };
    assert_eq!(thought.proof, Some(proof(Tongue::Messages, "sig/")));
    assert_eq!(tool.proof, Some(proof(Tongue::Generate, "EqQ+")));
}

#[test]
fn a_vendors_own_thought_keeps_its_id() {
    let data = "rs_own:gAAA";
    let events = |late: bool| {
        let mut events = vec![
            Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
            Event::Piece { block: 0, piece: Piece::Proof(proof(Tongue::Responses, data)) },
            Event::Close { block: 0 },
        ];
        if late {
            events.insert(1, Event::Piece { block: 0, piece: text("hm") });
        }
        events
    };
    let none = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &none, sse: true };
    for late in [false, true] {
        let response = self::events(&spoken(&heading, events(late))).pop().unwrap()["response"].take();
        assert_eq!(response["output"][0]["id"] == "rs_own", !late);
        let body = json!({ "input": response["output"] }).to_string();
        let call = call(&body);
        let (body, _) = written(&call, true);
        assert_eq!(
            (&body["input"][0]["id"], &body["input"][0]["encrypted_content"]),
            (&json!("rs_own"), &json!("gAAA"))
        );
    }
}

#[test]
fn ends_are_told_apart() {
    let none = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &none, sse: true };
    for (why, word, back) in [
        (Finish::Stop, "response.completed", Finish::Stop),
        (Finish::Length, "response.incomplete", Finish::Length),
        (Finish::Filtered, "response.incomplete", Finish::Filtered),
        (Finish::Sequence(None), "response.completed", Finish::Stop),
        (Finish::Other(raw("TIMEOUT")), "response.completed", Finish::Stop),
    ] {
        let out = spoken(&heading, vec![Event::Finish { choice: 0, why }]);
        assert_eq!(events(&out).last().unwrap()["type"], word);
        assert_eq!(read(&out).choices[0].finish, Some(back));
    }
    for begun in [false, true] {
        let mut writer = Responses.writer(&heading);
        let mut out = Vec::new();
        if begun {
            writer.write(Event::Open { block: 0, choice: 0, kind: Block::Text }, &mut out);
            writer.write(Event::Piece { block: 0, piece: text("hel") }, &mut out);
        }
        writer.fail(Code::UpstreamCut, "gone \"now\"", &mut out);
        writer.end(&mut out);
        let out = String::from_utf8(out).unwrap();
        let told = events(&out);
        assert_eq!(
            (&told[0]["type"], &told.last().unwrap()["type"]),
            (&json!("response.created"), &json!("response.failed"))
        );
        assert_eq!(read(&out).failed.unwrap().plain(), "gone \"now\"");
    }
}

#[test]
fn what_was_not_said_in_pieces_is_taken_from_the_whole() {
    let stream =
        |events: &[Value]| -> String { events.iter().map(|event| format!("event: \ndata: {event}\n\n")).collect() };
    let item =
        |index: u64, item: Value| json!({"type": "response.output_item.done", "output_index": index, "item": item});
    let end = json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [],
        "usage": {"input_tokens": -1}}});
    let message = json!({"type": "message", "content": [
        {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}]},
        {"type": "refusal", "refusal": "b"}]});
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}, {"type": "summary_text", "text": "y"}],
        "content": [{"type": "reasoning_text", "text": "z"}], "encrypted_content": "enc"});
    let tool = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let image = json!({"type": "image_generation_call", "result": "iVBO", "output_format": "webp"});
    let search = json!({"type": "web_search_call", "id": "ws"});
    let output = vec![thought, search, message, tool, image];
    let by_items: Vec<Value> =
        output.iter().enumerate().map(|(at, one)| item(at as u64, one.clone())).chain([end.clone()]).collect();
    let mut whole = end;
    whole["response"]["output"] = output.clone().into();
    for told in [stream(&by_items), stream(&[whole])] {
        let answer = read(&told);
        let want = [
            ("reasoning", "x\\n\\ny"),
            ("vendor", ""),
            ("text", "a"),
            ("refusal", "b"),
            ("call", "{}"),
            ("media", "iVBO"),
        ];
        assert_eq!(blocks(&answer), want.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(answer.choices[0].blocks[2].citations.len(), 1);
        assert_eq!(answer.choices[0].blocks[0].proof.as_ref().unwrap().data.raw(), b"rs_1:enc");
        assert_eq!((answer.choices[0].finish.as_ref(), answer.usage), (Some(&Finish::ToolCalls), None));
    }
    let mut reader = Responses.reader(Deviations::NONE);
    let error = br#"{"type":"error","code":"rate_limit_exceeded","message":"slow down","sequence_number":3}"#;
    let mut failed = None;
    let step = reader.read_event(b"error", error, &mut |event| {
        if let Event::Failed { message, blames_caller } = event {
            failed = Some((message.plain().into_owned(), blames_caller));
        }
    });
    assert_eq!((step, failed), (Ok(Step::Over), Some(("slow down".into(), false))));
    let mut reader = Responses.reader(Deviations::NONE);
    assert_eq!(reader.read_event(b"", b"[DONE]", &mut |_| {}), Ok(Step::Over));
    assert!(reader.read_event(b"", b"{", &mut |_| {}).is_err());
    assert!(reader.read_answer(b"{\"object\":\"response\"}", &mut |_| {}).is_err());
}

#[test]
fn tools_that_take_text_are_functions_elsewhere_and_text_here() {
    let body = r#"{"input":[{"type":"custom_tool_call","call_id":"c","name":"apply_patch","input":"*** \"a\"\n"},
        {"type":"custom_tool_call_output","call_id":"c","output":"Done"}],
        "tools":[{"type":"custom","name":"apply_patch","description":"Edits.","format":{"type":"grammar","syntax":"lark","definition":"start: LF\n"}},
            {"type":"web_search","external_web_access":false}],
        "client_metadata":{"installation":"i"},"prompt_cache_key":"k"}"#;
    let asked = call(body);
    assert_eq!(asked.unmapped, [""; 0]);
    let (got, lost) = written(&asked, true);
    assert_eq!(lost, []);
    assert_eq!(got["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(got["tools"][0]["parameters"]["required"], json!(["input"]));
    assert_eq!(got["tools"][0]["description"], "Edits.\n\nThe input follows this grammar (lark):\nstart: LF\n");
    let arguments: Value = serde_json::from_str(got["input"][0]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"input": "*** \"a\"\n"}));
    assert_eq!(got["input"][1], json!({"type": "function_call_output", "call_id": "c", "output": "Done"}));
    let heading = Heading { id: "a1", model: "a-model", created_s: 17, call: &asked, sse: true };
    let tool = |id| Block::ToolCall { id: raw(id), name: raw("apply_patch"), proof: None };
    let answer = vec![
        Event::Start { id: raw("x") },
        Event::Open { block: 0, choice: 0, kind: tool("t1") },
        Event::Piece { block: 0, piece: Piece::Arguments(raw(r#"{\"input\": \"+"#)) },
        Event::Piece { block: 0, piece: Piece::Arguments(raw(r#"b\\n\"}"#)) },
        Event::Close { block: 0 },
        Event::Open { block: 1, choice: 0, kind: tool("t2") },
        Event::Piece { block: 1, piece: Piece::ArgumentsObject(br#"{"input":"c"}"#) },
        Event::Close { block: 1 },
        Event::Finish { choice: 0, why: Finish::ToolCalls },
    ];
    let told = events(&spoken(&heading, answer.clone()));
    let done: Vec<_> = told.iter().filter(|event| event["type"] == "response.custom_tool_call_input.done").collect();
    assert_eq!((&done[0]["input"], &done[1]["input"]), (&json!("+b\n"), &json!("c")));
    let item = json!({"id": "ctc_a1_0", "type": "custom_tool_call", "status": "completed", "call_id": "t1", "name": "apply_patch", "input": "+b\n"});
    let response = &told.last().unwrap()["response"];
    assert_eq!(response["output"][0], item);
    assert_eq!(response["tools"][0]["type"], "custom");
    let (mut whole, mut unary) = (Answer::default(), Vec::new());
    answer.into_iter().for_each(|event| whole.take(event));
    Responses.write_answer(&whole, &heading, &mut unary);
    assert_eq!(*response, serde_json::from_slice::<Value>(&unary).unwrap());
}

#[test]
fn the_short_way_reads_what_the_long_one_does() {
    let delta = |kind: &str, place: &str, text: &str| {
        format!(
            r#"{{"type":"response.{kind}.delta","item_id":"i","sequence_number":7,{place},"delta":"{text}","obfuscation":"{text}"}}"#
        )
    };
    let item = |kind: &str, index: u32, item: &str| {
        format!(r#"{{"type":"response.output_item.{kind}","sequence_number":8,"output_index":{index},"item":{item}}}"#)
    };
    let texts = || ["a", "b c", "", "\\n", "é"].into_iter();
    let mut stream = vec![
        r#"{"type":"response.created","response":{"id":"r"}}"#.to_owned(),
        item("added", 0, r#"{"type":"reasoning","id":"rs"}"#),
    ];
    for summary in ["\"output_index\":0,\"summary_index\":0", "\"output_index\":0,\"summary_index\":1"] {
        stream.extend(texts().map(|text| delta("reasoning_summary_text", summary, text)));
    }
    stream.push(item("done", 0, r#"{"type":"reasoning","id":"rs","encrypted_content":"gAAA"}"#));
    stream.push(item("added", 1, r#"{"type":"message"}"#));
    for part in ["\"output_index\":1,\"content_index\":0", "\"output_index\":1,\"content_index\":1"] {
        stream.extend(texts().map(|text| delta("output_text", part, text)));
    }
    stream.push(item("done", 1, r#"{"type":"message","content":[]}"#));
    stream.push(item("added", 2, r#"{"type":"function_call","call_id":"c","name":"f"}"#));
    stream.extend(texts().map(|text| delta("function_call_arguments", "\"output_index\":2", text)));
    stream.push(item("done", 2, r#"{"type":"function_call","call_id":"c","name":"f","arguments":"x"}"#));
    stream.push(r#"{"type":"response.completed","response":{"status":"completed"}}"#.into());
    let stream: Vec<(&str, &str)> = stream.iter().map(|data| ("", data.as_str())).collect();
    both_ways(super::read_events::Reader::default, &stream);
}
