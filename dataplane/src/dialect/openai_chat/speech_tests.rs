//! Forms of this language that vendors really send, and what becomes of them.

use weir_shared::catalog::{Deviation, Deviations, Thinking};

use super::{Conversation, read_events::Reader};
use crate::dialect::answer::Answer;
use crate::dialect::call::{Amount, Call, Effort, MediaKind, Param, Proof, Source, What};
use crate::dialect::event::{Block, Event, Finish};
use crate::dialect::repeats::tests::both_ways;
use crate::dialect::speech::{Asked, Heading, Lost, Malformed, ReadEvents, Recipient, Speech};

fn read(chunks: &[&str]) -> Result<Answer, Malformed> {
    let mut reader = Reader::new(Deviations::NONE);
    let mut answer = Answer::default();
    let mut take = |event: Event<'_>| answer.take(event);
    for chunk in chunks {
        reader.read_event(b"", chunk.as_bytes(), &mut take)?;
    }
    reader.end(&mut take);
    Ok(answer)
}

/// Chunks of one choice, from their deltas.
fn deltas(deltas: &[&str]) -> Result<Answer, Malformed> {
    let mut chunks: Vec<String> =
        deltas.iter().map(|delta| format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{delta}}}]}}"#)).collect();
    chunks.push(r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.into());
    read(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}

fn tools(answer: &Answer) -> Vec<(String, String, String)> {
    let blocks = answer.choices.iter().flat_map(|choice| &choice.blocks);
    let call = |block: &crate::dialect::answer::Whole| match &block.kind {
        Block::ToolCall { id, name, .. } => {
            let arguments = block.object.as_ref().unwrap_or(&block.text);
            let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
            Some((text(id.raw()), text(name.raw()), text(arguments)))
        }
        _ => None,
    };
    blocks.filter_map(call).collect()
}

#[test]
fn calls_come_in_many_ways() {
    let call = |id: &str, name: &str, arguments: &str| (id.to_owned(), name.to_owned(), arguments.to_owned());
    let one = |index: &str, id: &str, name: &str, arguments: &str| {
        format!(
            r#"{{"tool_calls":[{{"index":{index},"id":{id},"type":"function","function":{{"name":{name},"arguments":{arguments}}}}}]}}"#
        )
    };
    for (what, steps, want) in [
        (
            "pieces of two calls in turn",
            vec![
                one("0", "\"a\"", "\"f\"", "\"\""),
                one("1", "\"b\"", "\"g\"", "\"\""),
                one("0", "null", "null", "\"{1\""),
                one("1", "null", "null", "\"{2\""),
                one("0", "null", "null", "\"}\""),
            ],
            vec![call("a", "f", "{1}"), call("b", "g", "{2")],
        ),
        (
            "all calls numbered alike",
            vec![one("0", "\"a\"", "\"f\"", "\"{}\""), one("0", "\"b\"", "\"f\"", "\"{}\"")],
            vec![call("a", "f", "{}"), call("b", "f", "{}")],
        ),
        (
            "the name in every piece, an id of its own for each that names nothing",
            vec![
                one("0", "\"a\"", "\"f\"", "\"{\""),
                one("0", "\"a\"", "\"f\"", "\"1\""),
                one("0", "\"x\"", "null", "\"}\""),
            ],
            vec![call("a", "f", "{1}")],
        ),
        (
            "no index",
            vec![
                one("null", "\"a\"", "\"f\"", "\"{\""),
                one("null", "\"\"", "\"\"", "\"}\""),
                one("null", "\"b\"", "\"g\"", "\"{}\""),
            ],
            vec![call("a", "f", "{}"), call("b", "g", "{}")],
        ),
        (
            "arguments in front of the name",
            vec![one("0", "\"a\"", "\"\"", "\"{\""), one("0", "null", "\"f\"", "\"}\"")],
            vec![call("a", "f", "{}")],
        ),
        (
            "an object for arguments, and no id",
            vec![one("0", "null", "\"f\"", r#"{"a":[1]}"#)],
            vec![call("", "f", r#"{"a":[1]}"#)],
        ),
        ("nothing at all", vec![one("0", "null", "null", "\"\"")], vec![]),
    ] {
        let answer = deltas(&steps.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(tools(&answer), want, "{what}");
        let finish = if want.is_empty() { Finish::Stop } else { Finish::ToolCalls };
        assert_eq!(answer.choices[0].finish, Some(finish), "{what}");
    }
    let nameless = one("0", "\"a\"", "null", "\"{}\"");
    assert_eq!(deltas(&[&nameless]).unwrap_err(), Malformed("a tool call without a name"));
}

#[test]
fn entries_of_reasoning_details_reach_the_caller_as_they_were() {
    let entries = concat!(
        r#"[{"type":"reasoning.text","text":"hm","signature":"s","format":"anthropic-claude-v1","index":0},"#,
        r#"{"type":"reasoning.encrypted","data":"gAAA","format":"openai-responses-v1","id":"rs_1","index":1}]"#,
    );
    let answer = deltas(&[&format!(r#"{{"reasoning":"hm","reasoning_details":{entries}}}"#), r#"{"content":"x"}"#]);
    let call = Call::default();
    let heading = Heading { id: "a", model: "m", created_s: 1, call: &call, sse: true };
    let mut out = Vec::new();
    Conversation.write_answer(&answer.unwrap(), &heading, &mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(entries), "{out}");
    // And back, when the caller sends them with the next turn.
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"assistant","content":"x","reasoning_content":"hm","reasoning_details":{entries}}}]}}"#
    );
    let (call, written, lost) = rewritten(&body);
    let thoughts = call.turns[0].parts.iter().filter_map(|part| match &part.what {
        What::Reasoning(thought) => {
            Some((thought.text.plain(), thought.proof.as_ref().map(|proof: &Proof<'_>| proof.sealed)))
        }
        _ => None,
    });
    assert_eq!(thoughts.collect::<Vec<_>>(), [("hm".into(), Some(false)), ("".into(), Some(true))]);
    assert!(written.contains(entries), "{written}");
    assert!(lost.is_empty() && call.unmapped.is_empty());
}

/// A call that was read, and as it is written for a vendor whose model thinks.
fn rewritten(body: &str) -> (Call<'_>, String, Vec<Lost>) {
    written_for(body, Deviations::NONE)
}

fn written_for(body: &str, deviations: Deviations) -> (Call<'_>, String, Vec<Lost>) {
    let call = Conversation.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap();
    let to = Recipient { model: "v", output_tokens_max: 0, reasoning: true, thinking: Thinking::Effort, deviations };
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    Conversation.write_call(&call, &to, &mut lost, &mut out);
    (call, String::from_utf8(out).unwrap(), lost)
}

#[test]
fn what_many_say_beside_the_language_is_understood() {
    let read = |member: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{member}}}"#);
        let call = Conversation.read_call(&Asked { body: body.leak().as_bytes(), streams: false }).unwrap();
        (call.reasoning.map(|reasoning| (reasoning.amount, reasoning.shown)), call.unmapped)
    };
    let none = Vec::<String>::new();
    let effort = Some(Amount::Effort(Effort::Low));
    for (member, want) in [
        (r#""thinking":{"type":"enabled"}"#, Some((Some(Amount::Auto), None))),
        (r#""thinking":{"type":"enabled","budget_tokens":9}"#, Some((Some(Amount::Tokens(9)), None))),
        (r#""thinking":{"budget_tokens":9,"type":"enabled"}"#, Some((Some(Amount::Tokens(9)), None))),
        (r#""thinking":{"type":"disabled"}"#, Some((Some(Amount::Off), None))),
        (r#""reasoning_effort":"low","thinking":{"type":"enabled"}"#, Some((effort, None))),
        (r#""thinking":{"type":"enabled"},"reasoning_effort":"low""#, Some((effort, None))),
        (r#""enable_thinking":false"#, Some((Some(Amount::Off), None))),
        (r#""include_reasoning":false"#, Some((None, Some(false)))),
        (r#""reasoning_format":"parsed","usage":{"include":true},"reasoning_effort":null"#, None),
    ] {
        assert_eq!(read(member), (want, none.clone()), "{member}");
    }
    assert_eq!(read(r#""thinking":{"type":"enabled","keep":"all"}"#).1, ["thinking.keep"]);
    assert_eq!(read(r#""response_format":{"type":"text","x":1}"#).1, ["response_format.x"]);
    let parts = concat!(
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AA=="}},"#,
        r#"{"type":"document_url","document_url":"https://a/b.pdf"}]},{"role":"assistant","content":"x","prefix":false,"tool_calls":null}],"top_k":5}"#,
    );
    let (call, _, lost) = rewritten(parts);
    assert!(call.unmapped.is_empty());
    let kinds = call.turns[0].parts.iter().map(|part| match &part.what {
        What::Media(media) => Some((media.kind, matches!(media.source, Source::Data { .. }))),
        _ => None,
    });
    assert_eq!(kinds.collect::<Vec<_>>(), [Some((MediaKind::Video, true)), Some((MediaKind::Document, false))]);
    assert_eq!(lost, [Lost::Param(Param::TopK), Lost::Thing("videos"), Lost::Thing("documents by URL")]);
}

#[test]
fn thoughts_go_back_to_vendors_who_want_them_with_a_call() {
    let history = |thought: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"assistant",{thought},"tool_calls":[{{"id":"a","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}}]}}"#
        )
    };
    let plain = Deviations::NONE;
    let wants = plain.with(Deviation::ThoughtsTakenBack);
    for (deviations, thought, want) in [
        (wants, r#""reasoning_content":"h\nm""#, Some(r#""reasoning_content":"h\nm""#)),
        (plain, r#""reasoning_content":"h\nm""#, None),
        (wants, r#""reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"weir.messages.p.x"}]"#, None),
        (wants, r#""reasoning_details":[{"type":"reasoning.text","text":"hm"}]"#, Some(r#""reasoning_content":"hm""#)),
    ] {
        let body = history(thought);
        let written = written_for(&body, deviations).1;
        assert_eq!(want.is_some(), written.contains("reasoning_content"), "{written}");
        assert!(want.is_none_or(|want| written.contains(want)), "{written}");
    }
    assert!(wants.of_answers().is_empty(), "calls that want more do not make answers pass another way");
}

#[test]
fn how_likely_each_token_was_is_told_on() {
    let chunk = |text: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}},"logprobs":{{"content":[{{"token":"{text}","logprob":-0.1,"bytes":[97],"top_logprobs":[]}}],"refusal":null}}}}]}}"#
        )
    };
    let finish = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop","logprobs":{"content":[]}}]}"#;
    let chunks = [chunk("a").replace("-0.1,", "-0.1,\n"), chunk("b"), finish.to_owned()];
    let call = Call::default();
    let heading = Heading { id: "a", model: "m", created_s: 1, call: &call, sse: true };
    let mut out = Vec::new();
    let whole = read(&chunks.each_ref().map(|chunk| &**chunk)).unwrap();
    Conversation.write_answer(&whole, &heading, &mut out);
    let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(answer["choices"][0]["logprobs"]["content"][1]["token"], "b");
    assert_eq!(answer["choices"][0]["logprobs"]["content"].as_array().map(Vec::len), Some(2));
    // As a stream, and read again, it is the same.
    let (mut reader, mut writer, mut out) = (Reader::new(Deviations::NONE), Conversation.writer(&heading), Vec::new());
    for chunk in &chunks {
        reader.read_event(b"", chunk.as_bytes(), &mut |event| writer.write(event, &mut out)).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let again: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let mut likely = whole.choices[0].blocks[0].likely.clone();
    likely.retain(|byte| *byte != b'\n');
    assert_eq!(read(&again).unwrap().choices[0].blocks[0].likely, likely);
}

#[test]
fn the_short_way_reads_what_the_long_one_does() {
    let delta = |delta: &str, pad: &str| {
        format!(
            r#"{{"id":"c","created":1,"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"obfuscation":"{pad}"}}"#
        )
    };
    let call = |n: u32, arguments: &str| {
        format!(r#"{{"tool_calls":[{{"index":{n},"id":"i{n}","function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#)
    };
    let mut stream = vec![delta(r#"{"role":"assistant","content":""}"#, "")];
    stream.extend(["hm", " well", "\\n", ""].map(|text| delta(&format!(r#"{{"reasoning_content":"{text}"}}"#), text)));
    stream.extend(["he", "llo", " é", "\\u00e9", "!"].map(|text| delta(&format!(r#"{{"content":"{text}"}}"#), text)));
    stream.extend(
        [(0, "{"), (0, "1"), (1, "{"), (0, "2"), (1, "3"), (1, "4"), (1, "5")]
            .map(|(n, raw)| delta(&call(n, raw), raw)),
    );
    stream.push(
        r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#.into(),
    );
    let stream: Vec<(&str, &str)> = stream.iter().map(|data| ("", data.as_str())).collect();
    both_ways(|| Reader::new(Deviations::NONE), &stream);
}
