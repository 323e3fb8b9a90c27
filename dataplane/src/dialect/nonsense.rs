//! Every language that is translated, fed with what nobody should send: nothing may panic, and what leaves is JSON all the same.

use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::usage::{Class, Tier, Usage};

use super::answer::Answer;
use super::call::*;
use super::event::{Block, Citation, Event, Finish, Piece};
use super::relay::fold;
use super::speech::{Asked, Framing, Heading, Recipient, Speech, Step};
use super::speech_of;
use super::text::{Arguments, Json, Text};
use crate::wire::{eventstream, json, sse};

const ROUNDS: u64 = 400;

fn spoken() -> Vec<&'static dyn Speech> {
    Tongue::ALL.iter().filter_map(|tongue| speech_of(*tongue)).collect()
}

/// Name and data of each event.
fn events(framing: Framing, stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    match framing {
        Framing::Sse => {
            let mut framer = sse::Framer::default();
            while let Some(event) = framer.next(stream) {
                if !event.is_silent() {
                    found.push((event.name.of(stream).to_vec(), event.data.of(stream).to_vec()));
                }
            }
        }
        Framing::EventStream => {
            let mut framer = eventstream::Framer::default();
            while let Ok(Some(frame)) = framer.next(stream) {
                found.push((frame.name.of(stream).to_vec(), frame.payload.of(stream).to_vec()));
            }
        }
    }
    found
}

/// Where there are checksums, what is damaged is within them.
fn damaged(dice: &mut Dice, framing: Framing, stream: &[u8]) -> Vec<u8> {
    if framing == Framing::Sse {
        return dice.damage(stream);
    }
    let mut out = Vec::new();
    for (name, data) in events(framing, stream) {
        let data = if dice.roll(4) == 0 { dice.damage(&data) } else { data };
        let frame = eventstream::Open::event(&mut out, &String::from_utf8_lossy(&name));
        out.extend_from_slice(&data);
        frame.close(&mut out);
    }
    out
}

#[test]
fn mutilated_streams() {
    let call = Call::default();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    let mut dice = Dice(1);
    for from in spoken() {
        let mut stream = Vec::new();
        let mut writer = from.writer(&heading);
        an_answer().into_iter().for_each(|event| writer.write(event, &mut stream));
        writer.end(&mut stream);
        let mut unary = Vec::new();
        from.write_answer(&folded(), &heading, &mut unary);
        for round in 0..ROUNDS {
            let damaged = if round == 0 { stream.clone() } else { damaged(&mut dice, from.framing(), &stream) };
            for to in spoken() {
                let out = translated(from, to, &damaged, &heading);
                all_json(&out, from, to);
            }
            let damaged = dice.damage(&unary);
            let mut reader = from.reader(Deviations::NONE);
            if let Ok(answer) = fold(reader.as_mut(), &damaged, &mut super::Reading::default()) {
                for to in spoken() {
                    let mut out = Vec::new();
                    to.write_answer(&answer, &heading, &mut out);
                    assert!(json::validate(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
                }
            }
        }
    }
}

#[test]
fn mutilated_calls() {
    let whole = a_call();
    let mut dice = Dice(2);
    for from in spoken() {
        let mut body = Vec::new();
        from.write_call(&whole, &recipient(Thinking::Budget), &mut Vec::new(), &mut body);
        assert!(json::validate(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
        for round in 0..ROUNDS * 4 {
            let damaged = if round == 0 { body.clone() } else { dice.damage(&body) };
            if json::validate(&damaged).is_err() {
                continue;
            }
            let Ok(call) = from.read_call(&Asked { body: &damaged, streams: true }) else { continue };
            for to in spoken() {
                for thinking in [Thinking::Budget, Thinking::Effort] {
                    let mut out = Vec::new();
                    to.write_call(&call, &recipient(thinking), &mut Vec::new(), &mut out);
                    let told =
                        || format!("{:?} to {:?}: {}", from.tongue(), to.tongue(), String::from_utf8_lossy(&out));
                    assert!(json::validate(&out).is_ok(), "{}", told());
                }
            }
        }
    }
}

fn translated(from: &dyn Speech, to: &dyn Speech, stream: &[u8], heading: &Heading<'_>) -> Vec<u8> {
    let (mut reader, mut writer) = (from.reader(Deviations::NONE), to.writer(heading));
    let mut out = Vec::new();
    for (name, data) in events(from.framing(), stream) {
        match reader.read_event(&name, &data, &mut |event| writer.write(event, &mut out)) {
            Ok(Step::More) => {}
            Ok(Step::Over) | Err(_) => break,
        }
    }
    reader.end(&mut |event| writer.write(event, &mut out));
    writer.end(&mut out);
    out
}

fn all_json(stream: &[u8], from: &dyn Speech, to: &dyn Speech) {
    for (_, data) in events(to.framing(), stream) {
        if data != b"[DONE]" {
            let told = || format!("{:?} to {:?}: {}", from.tongue(), to.tongue(), String::from_utf8_lossy(&data));
            assert!(json::validate(&data).is_ok(), "{}", told());
        }
    }
    let mut framers = (sse::Framer::default(), eventstream::Framer::default());
    let whole = match to.framing() {
        Framing::Sse => {
            while framers.0.next(stream).is_some() {}
            framers.0.unfinished()
        }
        Framing::EventStream => {
            while matches!(framers.1.next(stream), Ok(Some(_))) {}
            framers.1.unfinished()
        }
    };
    assert_eq!(whole, stream.len(), "{:?} to {:?}", from.tongue(), to.tongue());
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        // Any sequence will do, as long as it is the same one tomorrow.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    /// A few bytes changed, a piece cut out or said twice.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        match self.roll(4) {
            0 => {
                for _ in 0..=self.roll(3) {
                    let at = self.roll(out.len());
                    out[at] = b"\"\\{}[]:,0x \xff"[self.roll(12)];
                }
            }
            1 => {
                let (from, to) = self.span(&out);
                out.drain(from..to);
            }
            2 => {
                let (from, to) = self.span(&out);
                let again = out[from..to].to_vec();
                let at = self.roll(out.len());
                out.splice(at..at, again);
            }
            // Whole values for others, so that it stays JSON.
            _ => {
                let strings: Vec<usize> = memchr::memmem::find_iter(&out, b":\"").collect();
                if !strings.is_empty() {
                    let from = strings[self.roll(strings.len())] + 1;
                    let length = memchr::memchr(b'"', &out[from + 1..]).map_or(0, |end| end + 2);
                    let others: [&[u8]; 7] =
                        [b"null", b"{}", b"[]", b"-1", b"\"\"", b"[{\"type\":\"text\",\"text\":\"x\"}]", b"true"];
                    let value = others[self.roll(others.len())].to_vec();
                    out.splice(from..from + length, value);
                }
            }
        }
        out
    }

    fn span(&mut self, bytes: &[u8]) -> (usize, usize) {
        let from = self.roll(bytes.len());
        (from, (from + self.roll(64)).min(bytes.len()))
    }
}

fn text(words: &'static str) -> Text<'static> {
    Text::of_raw(words.as_bytes())
}

fn proof(of: Tongue) -> Proof<'static> {
    Proof { of, data: text("EqQB\\/x+y="), sealed: false }
}

fn an_answer() -> Vec<Event<'static>> {
    let tool = |id, proof| Block::ToolCall { id: text(id), name: text("f"), proof };
    let citation =
        Citation { url: Some(text("http://a.b")), title: Some(text("t")), span: Some((0, 2)), ..Citation::default() };
    let usage =
        Usage::NONE.with(Class::Input, 5).with(Class::CacheRead, 3).with(Class::Output, 4).with(Class::Reasoning, 2);
    vec![
        Event::Start { id: text("x") },
        Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
        Event::Piece { block: 0, piece: Piece::Text(text("hm \\ud83d\\ude00")) },
        Event::Piece { block: 0, piece: Piece::Proof(proof(Tongue::Messages)) },
        Event::Close { block: 0 },
        Event::Open { block: 1, choice: 0, kind: Block::Text },
        Event::Piece { block: 1, piece: Piece::Text(text("h\\u00e9llo \\\"")) },
        Event::Piece { block: 1, piece: Piece::Citation(citation) },
        Event::Piece { block: 1, piece: Piece::Text(text("ö")) },
        Event::Close { block: 1 },
        Event::Open { block: 2, choice: 0, kind: tool("t1", Some(proof(Tongue::Generate))) },
        Event::Piece { block: 2, piece: Piece::Arguments(text("{\\\"a\\\"")) },
        Event::Piece { block: 2, piece: Piece::Arguments(text(":1}")) },
        Event::Close { block: 2 },
        Event::Open { block: 3, choice: 0, kind: tool("", None) },
        Event::Piece { block: 3, piece: Piece::ArgumentsObject(b"{\"b\":[2]}") },
        Event::Close { block: 3 },
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage { usage, tier: Tier::Standard },
    ]
}

fn folded() -> Answer {
    let mut answer = Answer::default();
    an_answer().into_iter().for_each(|event| answer.take(event));
    answer
}

fn recipient(thinking: Thinking) -> Recipient<'static> {
    Recipient { model: "m", output_tokens_max: 9, reasoning: true, thinking, deviations: Deviations::NONE }
}

fn a_call() -> Call<'static> {
    let turn =
        |role, parts: Vec<What<'static>>| Turn { role, name: None, parts: parts.into_iter().map(Part::from).collect() };
    let image = |source| What::Media(Media { kind: MediaKind::Image, source, name: None, detail: Some(text("low")) });
    let result = ToolResult {
        id: text("t1"),
        name: Some(text("f")),
        content: vec![What::Text(text("twelve")).into(), What::Text(text("\\u00e9")).into()],
        failed: true,
    };
    let called = ToolCall {
        id: text("t1"),
        name: text("f"),
        arguments: Arguments::InString(text("{\\\"a\\\":1}")),
        proof: Some(proof(Tongue::Generate)),
    };
    let tool = |name, strict| Tool {
        name: text(name),
        description: Some(text("d")),
        schema: Some(Json::of(br#"{"type":"object","properties":{"a":{"type":"integer"}}}"#)),
        strict,
        cache: None,
    };
    let mut call = Call {
        turns: vec![
            turn(Role::System, vec![What::Text(text("be kind"))]),
            turn(
                Role::User,
                vec![
                    What::Text(text("what is it?")),
                    image(Source::Data { mime: text("image/png"), base64: text("iVBORw==") }),
                    image(Source::Url { url: text("http://a.b/c.png"), mime: None }),
                ],
            ),
            turn(
                Role::Assistant,
                vec![
                    What::Reasoning(Thought { text: text("hm"), proof: Some(proof(Tongue::Messages)) }),
                    What::Text(text("let me see")),
                    What::ToolCall(called),
                ],
            ),
            turn(Role::User, vec![What::ToolResult(result), What::Text(text("and?"))]),
        ],
        tools: vec![tool("f", None), tool("g", Some(true))],
        tool_choice: Some(ToolChoice::Required),
        format: Some(Format::Schema {
            name: Some(text("n")),
            description: None,
            schema: Json::of(br#"{"type":"object"}"#),
            strict: None,
        }),
        reasoning: Some(Reasoning { amount: Some(Amount::Effort(Effort::Low)), shown: Some(true) }),
        stop: vec![text("x")],
        tokens_max: Some(99),
        stream: true,
        ..Call::default()
    };
    call.params.set(Param::Temperature, Json::of(b"0.5"));
    call.params.set(Param::TopP, Json::of(b"0.9"));
    call
}

/// White space between tokens is anybody's to choose, and a line end in it must not become one of a stream's.
#[test]
fn line_ends_between_tokens_end_no_event() {
    let body = br#"{
      "model": "m", "metadata": {
        "a": "b"
      }, "input": "x", "tools": [{"type": "function", "name": "f", "parameters": {
        "type": "object"
      }}], "text": {"format": {"type": "json_schema", "name": "n", "schema": {
        "type": "object"
      }}}
    }"#;
    let responses = speech_of(Tongue::Responses).unwrap();
    let call = responses.read_call(&Asked { body, streams: true }).unwrap();
    let heading = Heading { id: "a1", model: "m", created_s: 0, call: &call, sse: true };
    for to in spoken() {
        let mut out = Vec::new();
        let mut writer = to.writer(&heading);
        let tool = |id| Block::ToolCall { id: Text::of_raw(id), name: Text::of_raw(b"f"), proof: None };
        for event in [
            Event::Start { id: Text::default() },
            Event::Open { block: 0, choice: 0, kind: tool(b"a") },
            Event::Piece { block: 0, piece: Piece::Arguments(text(r#"{\n  \"b\": \"c\\n\"}"#)) },
            Event::Close { block: 0 },
            Event::Open { block: 1, choice: 0, kind: tool(b"b") },
            Event::Piece { block: 1, piece: Piece::ArgumentsObject(b"{\n  \"b\":\r\n 1\n}") },
            Event::Close { block: 1 },
            Event::Finish { choice: 0, why: Finish::ToolCalls },
        ] {
            writer.write(event, &mut out);
        }
        writer.end(&mut out);
        all_json(&out, to, to);
    }
}
