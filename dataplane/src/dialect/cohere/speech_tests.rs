//! The four duties of Cohere's language.

use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::Chat;
use crate::dialect::answer::Answer;
use crate::dialect::call::{Call, Proof, Tongue, ToolChoice, What};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::speech::{Asked, Heading, Lost, Recipient, Speech, Step};
use crate::dialect::text::Text;
use crate::wire::json;

fn call(body: &str) -> Call<'_> {
    json::validate(body.as_bytes()).unwrap();
    Chat.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap()
}

fn written(call: &Call<'_>, reasoning: bool) -> (serde_json::Value, Vec<Lost>) {
    let to = Recipient {
        model: "m",
        output_tokens_max: 0,
        reasoning,
        thinking: Thinking::Budget,
        deviations: Deviations::NONE,
    };
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    Chat.write_call(call, &to, &mut lost, &mut out);
    (serde_json::from_slice(&out).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out))), lost)
}

#[test]
fn a_call_comes_back_as_it_was() {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"system","content":"be kind"},
        {"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO","detail":"low"}},
            {"type":"image_url","image_url":{"url":"https://a.b/c.png"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"let me see"}],
            "tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"t2","type":"function","function":{"name":"g","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"t1","content":"one"},
        {"role":"tool","tool_call_id":"t2","content":[{"type":"text","text":"two"},{"type":"text","text":"three"}]},
        {"role":"user","content":"and?"}],
        "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],
        "tool_choice":"REQUIRED","strict_tools":true,"response_format":{"type":"json_object","json_schema":{"type":"object"}},
        "thinking":{"type":"enabled","token_budget":99},"max_tokens":7,"stop_sequences":["x"],"temperature":0.50,"p":0.9,"k":4,
        "frequency_penalty":0.1,"presence_penalty":0.2,"seed":9007199254740993}"#;
    let call = call(body);
    assert_eq!(call.unmapped, [""; 0]);
    assert_eq!(call.turns.len(), 5);
    let (got, lost) = written(&call, true);
    assert_eq!(lost, []);
    assert_eq!(got, serde_json::from_str::<serde_json::Value>(body).unwrap());
    let names: Vec<_> = call.turns[3]
        .parts
        .iter()
        .map(|part| match &part.what {
            What::ToolResult(result) => result.name.as_ref().unwrap().plain().into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["f", "g"]);
}

#[test]
fn every_member_is_accounted_for() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"audio","audio":1}],"odd":1},
        {"role":"assistant","content":"x","citations":[{"start":1}],"tool_plan":null},
        {"role":"tool","tool_call_id":"t","content":[{"type":"document","document":{"id":"1","data":{"a":1,"b":"c"}}},{"type":"document","document":{"data":"plain"}}]}],
        "documents":["d"],"citation_options":{"mode":"FAST"},"safety_mode":"STRICT","logprobs":true,"raw_prompting":false,
        "tools":[{"type":"web"}],"response_format":{"type":"text"},"priority":3}"#;
    let call = call(body);
    assert_eq!(
        call.unmapped,
        [
            "messages[0].content[0].audio",
            "messages[0].content[0]",
            "messages[0].odd",
            "documents",
            "citation_options",
            "safety_mode",
            "logprobs",
            "tools[0].type",
            "priority"
        ]
    );
    let What::ToolResult(result) = &call.turns[1].parts[0].what else { panic!("{:?}", call.turns[1]) };
    let said: Vec<_> = result
        .content
        .iter()
        .map(|part| match &part.what {
            What::Text(text) => text.plain().into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, [r#"{"a":1,"b":"c"}"#, "plain"]);
    for wrong in [
        r#"{"messages":[7]}"#,
        r#"{"messages":[{"role":"nobody"}]}"#,
        r#"{"messages":[{"role":"tool","content":"x"}]}"#,
        r#"{"tool_choice":"AUTO"}"#,
        r#"{"max_tokens":-1}"#,
    ] {
        assert!(Chat.read_call(&Asked { body: wrong.as_bytes(), streams: false }).is_err(), "{wrong}");
    }
}

#[test]
fn plans_belong_to_models_that_do_not_think() {
    let body = r#"{"messages":[{"role":"assistant","tool_plan":"I will","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}]}"#;
    let call = call(body);
    assert_eq!(written(&call, false).0["messages"][0]["tool_plan"], "I will");
    assert_eq!(written(&call, true).0["messages"][0]["content"][0]["thinking"], "I will");
}

#[test]
fn one_tool_is_chosen_by_offering_no_other() {
    let mut call = call(
        r#"{"messages":[],"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]}"#,
    );
    call.tool_choice = Some(ToolChoice::Named(Text::of_raw(b"g")));
    call.choices = Some(2);
    let (body, lost) = written(&call, false);
    assert_eq!(body["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!((&body["tools"][0]["function"]["name"], &body["tool_choice"]), (&"g".into(), &"REQUIRED".into()));
    assert_eq!(lost, [Lost::Thing("more than one answer")]);
}

#[test]
fn anothers_proof_travels_with_what_it_is_of() {
    let proof = Proof { of: Tongue::Generate, data: Text::of_raw(b"sig\\/"), sealed: false };
    let events = [
        Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
        Event::Piece { block: 0, piece: text("hm") },
        Event::Piece { block: 0, piece: Piece::Proof(proof.clone()) },
        Event::Open {
            block: 1,
            choice: 0,
            kind: Block::ToolCall { id: Text::of_raw(b"t"), name: Text::of_raw(b"f"), proof: Some(proof.clone()) },
        },
    ];
    let mut whole = Answer::default();
    events.into_iter().for_each(|event| whole.take(event));
    let (none, mut out) = (Call::default(), Vec::new());
    Chat.write_answer(&whole, &heading(&none), &mut out);
    let message = json::get(&out, "message").unwrap();
    let body = format!(r#"{{"messages":[{}]}}"#, std::str::from_utf8(message).unwrap());
    let call = call(&body);
    let [thought, tool] = &call.turns[0].parts[..] else { panic!("{call:?}") };
    let What::Reasoning(thought) = &thought.what else { panic!() };
    let What::ToolCall(tool) = &tool.what else { panic!() };
    assert_eq!((thought.proof.as_ref(), tool.proof.as_ref()), (Some(&proof), Some(&proof)));
}

fn read(stream: &str) -> Answer {
    let mut reader = Chat.reader(Deviations::NONE);
    let mut answer = Answer::default();
    for event in stream.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').unwrap();
        let (name, data) = (name.strip_prefix("event: ").unwrap(), data.strip_prefix("data: ").unwrap());
        reader.read_event(name.as_bytes(), data.as_bytes(), &mut |event| answer.take(event)).unwrap();
    }
    reader.end(&mut |event| answer.take(event));
    answer
}

fn blocks(answer: &Answer) -> Vec<(&'static str, String)> {
    let told = answer.choices[0].blocks.iter().map(|whole| {
        let kind = match &whole.kind {
            Block::Text => "text",
            Block::Reasoning => "reasoning",
            Block::ToolCall { .. } => "call",
            other => panic!("{other:?}"),
        };
        (kind, String::from_utf8(whole.text.clone()).unwrap())
    });
    told.collect()
}

fn heading<'h>(call: &'h Call<'h>) -> Heading<'h> {
    Heading { id: "a1", model: "m", created_s: 0, call, sse: true }
}

fn spoken(events: Vec<Event<'_>>) -> String {
    let call = Call::default();
    let heading = heading(&call);
    let mut writer = Chat.writer(&heading);
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn text(words: &'static str) -> Piece<'static> {
    Piece::Text(Text::of_raw(words.as_bytes()))
}

fn an_answer() -> Vec<Event<'static>> {
    let tool = |id: &'static str, name: &'static str| Block::ToolCall {
        id: Text::of_raw(id.as_bytes()),
        name: Text::of_raw(name.as_bytes()),
        proof: None,
    };
    let citation = Citation {
        url: Some(Text::of_raw(b"u")),
        title: Some(Text::of_raw(b"t")),
        span: Some((0, 2)),
        ..Citation::default()
    };
    vec![
        Event::Start { id: Text::default() },
        Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
        Event::Piece { block: 0, piece: text("hm") },
        Event::Close { block: 0 },
        Event::Open { block: 1, choice: 0, kind: Block::Text },
        Event::Piece { block: 1, piece: text("h\\u00e9") },
        Event::Piece { block: 1, piece: Piece::Citation(citation) },
        Event::Open { block: 2, choice: 0, kind: tool("", "f") },
        Event::Open { block: 3, choice: 0, kind: tool("t3", "g") },
        Event::Open { block: 4, choice: 0, kind: tool("t4", "h") },
        Event::Piece { block: 2, piece: Piece::Arguments(Text::of_raw(b"{\\\"a\\\"")) },
        Event::Piece { block: 3, piece: Piece::ArgumentsObject(b"{\"b\":2}") },
        Event::Piece { block: 2, piece: Piece::Arguments(Text::of_raw(b":1}")) },
        Event::Close { block: 1 },
        Event::Close { block: 2 },
        Event::Close { block: 3 },
        Event::Close { block: 4 },
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage {
            usage: Usage::NONE.with(Class::Input, 5).with(Class::CacheRead, 3).with(Class::Output, 4),
            tier: Tier::Standard,
        },
    ]
}

#[test]
fn what_is_written_reads_back() {
    let out = spoken(an_answer());
    let delta = r#"event: content-delta
data: {"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"h\u00e9"}}}}

"#;
    assert!(out.contains(delta), "{out}");
    let (call, mut whole, mut unary) = (Call::default(), Answer::default(), Vec::new());
    an_answer().into_iter().for_each(|event| whole.take(event));
    Chat.write_answer(&whole, &heading(&call), &mut unary);
    let mut by_unary = Answer::default();
    Chat.reader(Deviations::NONE).read_answer(&unary, &mut |event| by_unary.take(event)).unwrap();
    let want = [
        ("reasoning", "hm"),
        ("text", "h\\u00e9"),
        ("call", "{\\\"a\\\":1}"),
        ("call", "{\\\"b\\\":2}"),
        ("call", "{}"),
    ];
    for answer in [read(&out), by_unary] {
        assert_eq!(blocks(&answer), want.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
        // What is billed has no classes.
        assert_eq!(answer.usage, Some(Usage::NONE.with(Class::Input, 8).with(Class::Output, 4)));
        let Block::ToolCall { id, name, .. } = &answer.choices[0].blocks[2].kind else { panic!() };
        assert_eq!((id.raw(), name.raw()), (&b"call_a1_2"[..], &b"f"[..]));
        let citation = &answer.choices[0].blocks[1].citations;
        assert_eq!(citation.len(), 1);
        assert_eq!((citation[0].url.as_ref().unwrap().raw(), citation[0].span), (&b"u"[..], Some((0, 2))));
    }
    let unary = String::from_utf8(unary).unwrap();
    assert!(unary.contains(r#""start":0,"end":2,"text":"hé""#), "{unary}");
}

#[test]
fn one_block_leaves_after_another() {
    let out = spoken(an_answer());
    let kinds: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let calls = ["tool-call-start", "tool-call-delta", "tool-call-end"];
    let first = ["tool-call-start", "tool-call-delta", "tool-call-delta", "tool-call-end"];
    let want = [
        &["message-start", "content-start", "content-delta", "content-end"][..],
        &["content-start", "content-delta", "citation-start", "citation-end", "content-end"],
        &first,
        &calls,
        &calls,
        &["message-end"],
    ];
    assert_eq!(kinds, want.concat());
}

#[test]
fn what_waits_has_an_end() {
    let tool = || Block::ToolCall { id: Text::default(), name: Text::of_raw(b"f"), proof: None };
    let mut events =
        vec![Event::Open { block: 0, choice: 0, kind: tool() }, Event::Open { block: 1, choice: 0, kind: tool() }];
    let long: &'static [u8] = Box::leak(vec![b'x'; 1 << 20].into_boxed_slice());
    events.extend((0..20).map(|_| Event::Piece { block: 1, piece: Piece::Arguments(Text::of_raw(long)) }));
    let out = spoken(events);
    assert!(out.len() < 1 << 20 && out.contains("\"finish_reason\":\"ERROR\""), "{}", out.len());
}

#[test]
fn ends_are_told_apart() {
    for (why, word) in [
        (Finish::Stop, "COMPLETE"),
        (Finish::Sequence(None), "STOP_SEQUENCE"),
        (Finish::Length, "MAX_TOKENS"),
        (Finish::Filtered, "ERROR"),
        (Finish::Other(Text::of_raw(b"TIMEOUT")), "TIMEOUT"),
    ] {
        let out = spoken(vec![Event::Finish { choice: 0, why: why.clone() }]);
        assert!(out.contains(&format!("\"finish_reason\":\"{word}\"")), "{out}");
        assert_eq!(read(&out).choices[0].finish, Some(why));
    }
    let call = Call::default();
    let heading = heading(&call);
    let mut writer = Chat.writer(&heading);
    let mut out = Vec::new();
    writer.fail(Code::UpstreamCut, "gone \"now\"", &mut out);
    writer.end(&mut out);
    let answer = read(std::str::from_utf8(&out).unwrap());
    assert_eq!(answer.failed.unwrap().plain(), "gone \"now\"");
}

#[test]
fn a_plan_is_a_thought_and_late_citations_find_their_text() {
    let answer = read(
        r#"event: message-start
data: {"id":"x","type":"message-start","delta":{"message":{"role":"assistant","content":[]}}}

event: tool-plan-delta
data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I"}}}

event: tool-plan-delta
data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":" will"}}}

event: content-start
data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}

event: content-delta
data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"hello"}}}}

event: content-end
data: {"type":"content-end","index":0}

event: citation-start
data: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":5,"text":"hello","sources":[{"type":"document","id":"d","document":{"id":"d","title":"T"}}],"type":"TEXT_CONTENT"}}}}

event: unheard-of
data: {"type":"unheard-of"}

event: message-end
data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":2,"output_tokens":1}}}}

"#,
    );
    assert_eq!(answer.id.raw(), b"x");
    assert_eq!(blocks(&answer), [("reasoning", "I will".to_owned()), ("text", "hello".to_owned())]);
    let citation = &answer.choices[0].blocks[1].citations[0];
    assert_eq!((citation.document.as_ref().unwrap().raw(), citation.span), (&b"d"[..], Some((0, 5))));
    assert_eq!(answer.choices[0].finish, Some(Finish::Stop));
    let mut reader = Chat.reader(Deviations::NONE);
    assert_eq!(reader.read_event(b"", b"[DONE]", &mut |_| {}), Ok(Step::Over));
    assert!(reader.read_event(b"", b"{", &mut |_| {}).is_err());
}

#[test]
fn no_conversation_ends_with_instructions() {
    let body = r#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"},{"role":"system","content":"c"},
        {"role":"user","content":"d"},{"role":"system","content":"e"}]}"#;
    let (got, _) = written(&call(body), false);
    let said: String = got["messages"].as_array().unwrap().iter().filter_map(|one| one["content"].as_str()).collect();
    assert_eq!(said, "aebcd");
    let (got, _) = written(&call(r#"{"model":"m","messages":[{"role":"system","content":"a"}]}"#), false);
    assert_eq!(got["messages"].as_array().map(Vec::len), Some(1));
}
