//! What vendors really sent, through the middle language: each recorded answer must mean what its vendor's SDK made of it,
//! and must mean the same in each of our six languages, as a stream and as a whole. `WEIR_RECORDINGS` names the recordings.

#[path = "translation/failures.rs"]
mod failures;
#[path = "translation/projections.rs"]
mod projections;

use std::path::PathBuf;

use base64_lite::decode;
use serde_json::Value;
use weir::dialect::answer::Answer;
use weir::dialect::call::{Call, Tongue};
use weir::dialect::event::{Block, Finish};
use weir::dialect::relay::{self, Heard, Relay};
use weir::dialect::speech::{Heading, Speech};
use weir::dialect::{self, Reading};
use weir_shared::catalog::{Deviation, Deviations};
use weir_shared::usage::Class;
use weir_tests::Table;
use weir_tests::table::{ensure, same};
use weirbench::grammar;

struct Recording {
    id: String,
    tongue: Tongue,
    deviations: Deviations,
    stream: bool,
    body: Vec<u8>,
    expected: Value,
}

/// What all languages can say of an answer.
#[derive(Clone, PartialEq, Debug, Default)]
struct Meaning {
    text: String,
    thoughts: String,
    tools: Vec<(String, Value)>,
    finish: Option<String>,
    prompt: u64,
    answer: u64,
    /// Part of `answer` that some SDKs leave out.
    reasoning: u64,
}

fn recordings() -> Option<Vec<Recording>> {
    let Some(folder) = std::env::var_os("WEIR_RECORDINGS").map(PathBuf::from) else {
        eprintln!("SKIPPED: WEIR_RECORDINGS names no folder of recorded vendor traffic");
        return None;
    };
    let read = |path: PathBuf| -> Value {
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let expected = read(folder.join("EXPECTED.json"));
    let mut found = Vec::new();
    for (id, expected) in expected.as_object().expect("an object") {
        let Some(tongue) = expected["api"].as_str().and_then(tongue) else { continue };
        if expected["http"] != 200 || expected["text"].is_null() {
            continue;
        }
        let provider = expected["provider"].as_str().unwrap_or_default();
        let recording = read(folder.join(provider).join(format!("{id}.json")));
        let response = &recording["response"];
        let body = match (&response["body"], response["encoding"].as_str()) {
            (Value::String(text), Some("base64")) => decode(text),
            (Value::String(text), _) => text.clone().into_bytes(),
            (other, _) => other.to_string().into_bytes(),
        };
        // Some recordings are several answers, one behind the other, and one is of the older completions.
        let text = String::from_utf8_lossy(&body);
        let answers =
            text.matches("\"type\":\"message_start\"").count() + text.matches("\"type\":\"response.created\"").count();
        // One says that there will be an answer.
        if answers > 1
            || expected["finish_native"] == "queued"
            || text.contains("\"object\": \"text_completion\"")
            || text.contains("\"object\":\"text_completion\"")
        {
            continue;
        }
        let stream = expected["stream"] == true;
        let mut expected = expected.clone();
        if tongue == Tongue::Responses {
            // Its SDK puts thoughts nowhere but into their items, and the list of expectations has none.
            expected["thinking"] = thoughts_of_items(&body, stream).into();
        }
        found.push(Recording { id: id.clone(), tongue, deviations: deviations(provider), stream, body, expected });
    }
    assert!(found.len() > 500, "only {} recordings", found.len());
    Some(found)
}

/// The summaries of each reasoning item, or the thoughts themselves where there are none: paragraphs.
fn thoughts_of_items(body: &[u8], stream: bool) -> String {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let items: Vec<Value> = if stream {
        let events = text.lines().filter_map(|line| line.strip_prefix("data:")).map(parse);
        events.filter(|event| event["type"] == "response.output_item.done").map(|event| event["item"].clone()).collect()
    } else {
        parse(&text)["output"].as_array().cloned().unwrap_or_default()
    };
    let texts = |list: &Value| -> Vec<String> {
        let parts = list.as_array().into_iter().flatten();
        parts.filter_map(|part| part["text"].as_str().map(str::to_owned)).collect()
    };
    let thoughts = items.iter().filter(|item| item["type"] == "reasoning").map(|item| {
        let summary = texts(&item["summary"]);
        if summary.is_empty() { texts(&item["content"]) } else { summary }.join("\n\n")
    });
    thoughts.collect()
}

fn tongue(api: &str) -> Option<Tongue> {
    Some(match api {
        "openai_chat" => Tongue::Chat,
        "openai_responses" => Tongue::Responses,
        "anthropic_messages" => Tongue::Messages,
        "gemini_generate" | "gemini_stream" => Tongue::Generate,
        "cohere_chat" => Tongue::Cohere,
        "bedrock_converse" | "bedrock_converse_stream" => Tongue::Converse,
        _ => return None,
    })
}

/// As the built-in catalog says.
fn deviations(provider: &str) -> Deviations {
    // Not in the catalog, for want of its prices: what an operator would write.
    if provider == "snowflake" {
        return Deviations::NONE.with(Deviation::NoId).with(Deviation::EmptyFinish);
    }
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../controlplane/catalog").join(format!("{provider}.toml"));
    let Ok(text) = std::fs::read_to_string(path) else { return Deviations::NONE };
    let line = text.lines().find(|line| line.starts_with("deviations")).unwrap_or_default();
    let known = Deviation::ALL.iter().filter(|deviation| line.contains(&format!("\"{}\"", deviation.name())));
    known.fold(Deviations::NONE, |set, deviation| set.with(*deviation))
}

fn speech(tongue: Tongue) -> &'static dyn Speech {
    dialect::speech_of(tongue).unwrap_or_else(|| panic!("{tongue:?} is not translated"))
}

fn heading<'h>(call: &'h Call<'h>) -> Heading<'h> {
    Heading { id: "0123456789abcdef", model: "a-model", created_s: 1_700_000_000, call, sse: true }
}

/// A stream of one language as another's, in pieces of this size.
fn relayed(from: Tongue, to: Tongue, deviations: Deviations, body: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    relayed_in(from, to, deviations, body.chunks(piece.max(1)))
}

fn relayed_in<'p>(
    from: Tongue,
    to: Tongue,
    deviations: Deviations,
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Result<Vec<u8>, String> {
    let call = Call { stream: true, usage_asked: true, ..Call::default() };
    let heading = heading(&call);
    let mut relay = Relay::new(speech(from).framing(), speech(from).reader(deviations), speech(to).writer(&heading));
    let (mut out, mut reading) = (Vec::new(), Reading::default());
    let (mut held, mut over) = (Vec::new(), false);
    for piece in pieces.chain([&b"\n\n"[..]].into_iter().filter(|_| from != Tongue::Converse)) {
        held.extend_from_slice(piece);
        match relay.feed(&held, &mut out, &mut reading) {
            Heard::More => {}
            Heard::Over => over = true,
            Heard::Failed => return Err(format!("failed: {:?}", relay.words())),
            Heard::Malformed(why) => return Err(format!("malformed: {why}")),
        }
        let done = relay.unfinished();
        held.drain(..done);
        relay.moved(done);
        if over {
            break;
        }
    }
    relay.close(&mut out, &mut reading);
    relay.end(&mut out);
    Ok(out)
}

/// A stream's meaning is that of the answer it folds into.
fn folded(tongue: Tongue, deviations: Deviations, body: &[u8]) -> Result<(Answer, Reading), String> {
    let collector = Collector::default();
    let mut reading = Reading::default();
    {
        let writer = Box::new(Into_(&collector));
        let mut relay = Relay::new(speech(tongue).framing(), speech(tongue).reader(deviations), writer);
        let mut bytes = body.to_vec();
        if tongue != Tongue::Converse {
            bytes.extend_from_slice(b"\n\n");
        }
        let mut out = Vec::new();
        match relay.feed(&bytes, &mut out, &mut reading) {
            Heard::Failed => return Err(format!("failed: {:?}", relay.words())),
            Heard::Malformed(why) => return Err(format!("malformed: {why}")),
            Heard::More | Heard::Over => {}
        }
        relay.close(&mut out, &mut reading);
    }
    collector.order.into_inner().end()?;
    Ok((collector.answer.into_inner(), reading))
}

#[derive(Default)]
struct Collector {
    answer: std::cell::RefCell<Answer>,
    order: std::cell::RefCell<Order>,
}

struct Into_<'c>(&'c Collector);

impl dialect::speech::WriteEvents for Into_<'_> {
    fn write(&mut self, event: dialect::event::Event<'_>, _: &mut Vec<u8>) {
        self.0.order.borrow_mut().see(&event);
        self.0.answer.borrow_mut().take(event);
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn fail(&mut self, _: weir_shared::fault::Code, _: &str, _: &mut Vec<u8>) {}
}

/// The order that `dialect/event.rs` promises.
#[derive(Default)]
struct Order {
    started: bool,
    open: Vec<bool>,
    wrong: Option<String>,
}

impl Order {
    fn see(&mut self, event: &dialect::event::Event<'_>) {
        use dialect::event::Event;
        let good = match event {
            Event::Start { .. } => !std::mem::replace(&mut self.started, true),
            Event::Open { block, .. } => {
                let next = *block as usize == self.open.len();
                self.open.push(true);
                next && self.started
            }
            Event::Piece { block, .. } => self.open.get(*block as usize) == Some(&true),
            Event::Close { block } => {
                self.open.get_mut(*block as usize).is_some_and(|open| std::mem::replace(open, false))
            }
            Event::Finish { .. } | Event::Usage { .. } | Event::UsageInvalid | Event::Failed { .. } => self.started,
        };
        if !good && self.wrong.is_none() {
            self.wrong = Some(format!("out of order: {event:?}"));
        }
    }

    fn end(self) -> Result<(), String> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if self.open.contains(&true) => Err("a block is never closed".into()),
            None => Ok(()),
        }
    }
}

fn meaning(answer: &Answer, reading: &Reading) -> Meaning {
    let mut meaning = Meaning::default();
    let empty = dialect::answer::Choice::default();
    let choice = answer.choices.first().unwrap_or(&empty);
    for block in &choice.blocks {
        match &block.kind {
            Block::Text => meaning.text += &block.text().plain(),
            Block::Reasoning => meaning.thoughts += &block.text().plain(),
            Block::ToolCall { name, .. } => {
                let arguments = match &block.object {
                    Some(object) => serde_json::from_slice(object).unwrap_or(Value::Null),
                    None => serde_json::from_str(&block.text().plain()).unwrap_or(Value::Null),
                };
                // No arguments and an empty object are the same call.
                let arguments = if arguments.is_null() { Value::Object(Default::default()) } else { arguments };
                meaning.tools.push((name.plain().into_owned(), arguments));
            }
            Block::Refusal | Block::VendorTool { .. } | Block::Media { .. } => {}
        }
    }
    meaning.finish = choice.finish.as_ref().map(|finish| match finish {
        Finish::Stop | Finish::Sequence(_) | Finish::Paused => "stop".to_owned(),
        Finish::Length => "length".to_owned(),
        Finish::ToolCalls => "tool_calls".to_owned(),
        Finish::Filtered => "content_filter".to_owned(),
        Finish::Other(reason) => reason.plain().into_owned(),
    });
    let usage = reading.usage.unwrap_or(weir_shared::usage::Usage::NONE);
    (meaning.prompt, meaning.answer) = (usage.prompt_tokens(), usage.answer_tokens());
    meaning.reasoning = usage.of(Class::Reasoning);
    meaning
}

fn read(recording: &Recording) -> Result<(Answer, Reading), String> {
    if recording.stream {
        return folded(recording.tongue, recording.deviations, &recording.body);
    }
    let mut reading = Reading::default();
    let mut reader = speech(recording.tongue).reader(recording.deviations);
    let answer =
        relay::fold(reader.as_mut(), &recording.body, &mut reading).map_err(|why| format!("malformed: {why:?}"))?;
    Ok((answer, reading))
}

/// Where an SDK reads less than the vendor said, or tells it apart.
const READ_OTHERWISE: &[(&str, &str, &str)] = &[
    ("gemini-bc6428115564", "tools", "arguments in pieces are not put together"),
    ("gemini-be3fd1428568", "tools", "arguments in pieces are not put together"),
    ("gemini-c7a75a1e4f65", "tools", "arguments in pieces are not put together"),
    ("vertex-19527a848e62", "finish", "a prompt that was blocked has no candidate to finish"),
    ("openai-d543f0c1d7de", "text", "its pieces were shortened by whoever recorded it"),
    ("cohere-1d7dceabc850", "thoughts", "a plan is a thought, and has a member of its own"),
    ("cohere-45c71e72ccdb", "thoughts", "a plan is a thought, and has a member of its own"),
    ("cohere-62034b6200f6", "thoughts", "a plan is a thought, and has a member of its own"),
    ("cohere-708c93077552", "thoughts", "a plan is a thought, and has a member of its own"),
];

/// Where we read more of an answer than the SDK that was asked.
fn on_purpose(recording: &Recording) -> Value {
    let mut expected = recording.expected.clone();
    // Thoughts between tags are thoughts to us, and text to an SDK that does not know the vendor.
    if recording.deviations.has(Deviation::ThinkTagsInText)
        && let Some((thought, text)) =
            expected["text"].as_str().and_then(|text| text.trim_start().strip_prefix("<think>")?.split_once("</think>"))
    {
        let (thought, text) = (thought.to_owned(), text.trim_start().to_owned());
        expected["thinking"] = thought.into();
        expected["text"] = text.into();
    }
    // Whose ends have no reason is listed; to callers they are ends.
    if recording.deviations.has(Deviation::EmptyFinish) && expected["finish"].as_str().is_none_or(str::is_empty) {
        expected["finish"] = "stop".into();
    }
    // A compacted conversation is paid for twice: for the compaction and for the answer. The SDK tells the second only.
    if recording.id == "anthropic-6df8fe341e84" {
        expected["usage"] = serde_json::json!({"prompt": [100 + 181 + 55_096], "completion": [83 + 8]});
    }
    expected
}

fn agrees(meaning: &Meaning, recording: &Recording) -> Result<(), String> {
    let expected = &on_purpose(recording);
    let otherwise = |what| READ_OTHERWISE.iter().any(|(id, known, _)| *id == recording.id && *known == what);
    let tools: Vec<(String, Value)> = expected["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| (tool["name"].as_str().unwrap_or_default().to_owned(), tool["args"].clone()))
        .collect();
    if !otherwise("text") {
        same("text", &*meaning.text, expected["text"].as_str().unwrap_or_default())?;
    }
    if !otherwise("thoughts") {
        same("thoughts", &*meaning.thoughts, expected["thinking"].as_str().unwrap_or_default())?;
    }
    if !otherwise("tools") {
        same("tools", numbers_alike(&meaning.tools), numbers_alike(&tools))?;
    }
    let finish = expected["finish"].as_str().filter(|finish| !finish.is_empty());
    if !otherwise("finish") {
        same("finish", meaning.finish.as_deref(), finish)?;
    }
    let allowed = |side: &str| -> Vec<u64> {
        expected["usage"][side].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let fits = |list: &[u64], found: u64| list.is_empty() || list.contains(&found);
    let (prompt, answer) = (allowed("prompt"), allowed("completion"));
    let fit = fits(&prompt, meaning.prompt)
        && (fits(&answer, meaning.answer) || fits(&answer, meaning.answer - meaning.reasoning));
    if fit {
        Ok(())
    } else {
        Err(format!("usage ({}, {}), not ({prompt:?}, {answer:?})", meaning.prompt, meaning.answer))
    }
}

/// 7006652 and 7006652.0 are one number.
fn numbers_alike(tools: &[(String, Value)]) -> Vec<(String, Value)> {
    fn alike(value: &Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().map_or(value.clone(), Value::from),
            Value::Array(items) => items.iter().map(alike).collect(),
            Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), alike(value))).collect(),
            other => other.clone(),
        }
    }
    tools.iter().map(|(name, arguments)| (name.clone(), alike(arguments))).collect()
}

#[test]
fn recorded_answers_mean_what_their_sdks_read() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in &recordings {
        let Some(_) = dialect::speech_of(recording.tongue) else { continue };
        let failed = !recording.expected["error"].is_null();
        let outcome = match read(recording) {
            Err(why) if failed && why.starts_with("failed") => Ok(()),
            Err(why) => Err(why),
            Ok((answer, reading)) => agrees(&meaning(&answer, &reading), recording),
        };
        table.case(format!("{:?} {}", recording.tongue, recording.id), outcome);
    }
    table.end();
}

/// Through each language and back, as a stream and as a whole, nothing of the meaning is lost.
#[test]
fn answers_mean_the_same_in_every_language() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in &recordings {
        if dialect::speech_of(recording.tongue).is_none() {
            continue;
        }
        let Ok((answer, reading)) = read(recording) else { continue };
        let before = meaning(&answer, &reading);
        for to in Tongue::ALL.iter().copied().filter(|to| dialect::speech_of(*to).is_some()) {
            let case = format!("{:?} to {to:?} {}", recording.tongue, recording.id);
            table.case(format!("{case} whole"), whole_and_back(&answer, to, &before));
            if recording.stream {
                for piece in [usize::MAX, 1_000, 7] {
                    let outcome = relayed(recording.tongue, to, recording.deviations, &recording.body, piece)
                        .and_then(|bytes| streamed_back(to, &bytes, &before));
                    table.case(format!("{case} stream in {piece}"), outcome);
                }
            }
        }
    }
    table.end();
}

/// Every recorded stream, cut at every byte, into every language: the bytes that callers get are those of the whole stream.
///
/// Once byte by byte, and then with each place as a lone cut between larger pieces; a small stream also in two pieces, at
/// each place. The middle of a character, of a line end and of a frame are among these places.
#[test]
fn a_cut_anywhere_changes_no_byte() {
    let Some(recordings) = recordings() else { return };
    let streams: Vec<_> = recordings.iter().filter(|recording| recording.stream).collect();
    assert!(streams.len() > 80, "only {} streams", streams.len());
    let mut table = Table::new();
    for (place, recording) in streams.into_iter().enumerate() {
        table.case(format!("{:?} {}", recording.tongue, recording.id), cut_everywhere(recording, place));
    }
    table.end();
}

/// A prime, so that no rhythm of a stream's own keeps in step with it.
const APART: usize = 61;
const TWO_PIECES_BELOW: usize = 3_000;

fn cut_everywhere(recording: &Recording, seed: usize) -> Result<(), String> {
    let Recording { tongue, deviations, body, .. } = recording;
    let mut whole = Vec::new();
    for to in Tongue::ALL {
        let bytes = relayed(*tongue, *to, *deviations, body, usize::MAX);
        let pieces = relayed(*tongue, *to, *deviations, body, 1);
        ensure(bytes == pieces, format!("to {to:?}, byte by byte: {}", apart(&bytes, &pieces)))?;
        whole.push(bytes);
    }
    let check = |at: usize, cuts: &mut dyn Iterator<Item = usize>| {
        let to = Tongue::ALL[(seed + at) % Tongue::ALL.len()];
        let mut from = 0;
        let ends: Vec<usize> = cuts.chain([body.len()]).collect();
        let pieces = ends.iter().map(|end| &body[std::mem::replace(&mut from, *end)..*end]);
        let found = relayed_in(*tongue, to, *deviations, pieces);
        let expected = &whole[(seed + at) % Tongue::ALL.len()];
        ensure(*expected == found, format!("to {to:?}, cuts from {at}: {}", apart(expected, &found)))
    };
    for first in 0..APART {
        check(first, &mut (first..body.len()).step_by(APART))?;
    }
    let small = body.len() < TWO_PIECES_BELOW;
    (0..if small { body.len() } else { 0 }).try_for_each(|at| check(at, &mut std::iter::once(at)))
}

/// Where two streams part.
fn apart(one: &Result<Vec<u8>, String>, other: &Result<Vec<u8>, String>) -> String {
    let (Ok(one), Ok(other)) = (one, other) else {
        return format!("{:?}, {:?}", one.as_ref().err(), other.as_ref().err());
    };
    let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
    let shown =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..bytes.len().min(at + 80)]).into_owned();
    format!("{:?} became {:?}", shown(one), shown(other))
}

/// A `[DONE]` that a vendor leaves out, or says although its language has none, and lines that end in CRLF.
#[test]
fn ends_and_line_ends_may_differ() {
    let Some(recordings) = recordings() else { return };
    let mut table = Table::new();
    for recording in recordings.iter().filter(|recording| recording.stream && recording.tongue != Tongue::Converse) {
        let Recording { tongue, deviations, body, .. } = recording;
        let Ok(text) = std::str::from_utf8(body) else { continue };
        let done = "data: [DONE]\n\n";
        let without = text.replace("data: [DONE]\n", "");
        let with = format!("{}\n\n{done}", without.trim_end());
        let as_crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        for to in Tongue::ALL {
            let whole = relayed(*tongue, *to, *deviations, body, usize::MAX);
            for (name, body) in [("without [DONE]", &without), ("with [DONE]", &with), ("with CRLF", &as_crlf)] {
                // To Google, that is an event which is no JSON.
                if *tongue == Tongue::Generate && name == "with [DONE]" {
                    continue;
                }
                let case = format!("{tongue:?} to {to:?} {} {name}", recording.id);
                for piece in [usize::MAX, 1] {
                    let found = relayed(*tongue, *to, *deviations, body.as_bytes(), piece);
                    table.case(&case, ensure(whole == found, apart(&whole, &found)));
                }
            }
        }
    }
    table.end();
}

fn whole_and_back(answer: &Answer, to: Tongue, before: &Meaning) -> Result<(), String> {
    let call = Call::default();
    let mut body = Vec::new();
    speech(to).write_answer(answer, &heading(&call), &mut body);
    let text = || String::from_utf8_lossy(&body).into_owned();
    serde_json::from_slice::<Value>(&body).map_err(|error| format!("no JSON: {error}: {}", text()))?;
    let mut reading = Reading::default();
    let mut reader = speech(to).reader(Deviations::NONE);
    let back = relay::fold(reader.as_mut(), &body, &mut reading).map_err(|why| format!("{why:?}: {}", text()))?;
    alike(&meaning(&back, &reading), before, to).map_err(|why| format!("{why}\n{}", text()))
}

fn streamed_back(to: Tongue, bytes: &[u8], before: &Meaning) -> Result<(), String> {
    legal(to, bytes).map_err(|why| format!("{why}\n{}", String::from_utf8_lossy(bytes)))?;
    let (answer, reading) =
        folded(to, Deviations::NONE, bytes).map_err(|why| format!("{why}\n{}", String::from_utf8_lossy(bytes)))?;
    alike(&meaning(&answer, &reading), before, to).map_err(|why| format!("{why}\n{}", String::from_utf8_lossy(bytes)))
}

/// By a checker that shares no code with the gateway.
fn legal(to: Tongue, bytes: &[u8]) -> Result<(), String> {
    grammar::check(grammar_of(to), bytes).map(drop).map_err(|illegal| illegal.to_string())
}

fn grammar_of(tongue: Tongue) -> grammar::Dialect {
    match tongue {
        Tongue::Chat => grammar::Dialect::OpenAiChat,
        Tongue::Responses => grammar::Dialect::OpenAiResponses,
        Tongue::Messages => grammar::Dialect::Anthropic,
        Tongue::Generate => grammar::Dialect::Gemini,
        Tongue::Cohere => grammar::Dialect::Cohere,
        Tongue::Converse => grammar::Dialect::Converse,
    }
}

fn alike(after: &Meaning, before: &Meaning, to: Tongue) -> Result<(), String> {
    let before = projected(before, to);
    same("text", &*after.text, &*before.text)?;
    same("thoughts", &*after.thoughts, &*before.thoughts)?;
    same("tools", numbers_alike(&after.tools), numbers_alike(&before.tools))?;
    same("finish", after.finish.as_deref(), before.finish.as_deref())?;
    same("usage", (after.prompt, after.answer), (before.prompt, before.answer))
}

/// What a language cannot say, and what it says instead. Short, and each with its reason.
fn projected(meaning: &Meaning, to: Tongue) -> Meaning {
    let mut projected = meaning.clone();
    // A vendor's own reason to stop has no word elsewhere: it is an end.
    let own = |finish: &str| to == Tongue::Generate && finish == "UNEXPECTED_TOOL_CALL";
    let known =
        |finish: &String| ["stop", "length", "tool_calls", "content_filter"].contains(&finish.as_str()) || own(finish);
    projected.finish = Some(projected.finish.filter(known).unwrap_or_else(|| "stop".into()));
    // Where a call is told, the end is told as one that waits for it.
    let waits = matches!(to, Tongue::Chat | Tongue::Generate | Tongue::Responses) && !projected.tools.is_empty();
    if waits && projected.finish.as_deref() == Some("stop") {
        projected.finish = Some("tool_calls".into());
    }
    projected
}

/// Standard base64, for the recordings of binary streams.
mod base64_lite {
    pub fn decode(text: &str) -> Vec<u8> {
        let value = |byte: u8| match byte {
            b'A'..=b'Z' => Some(byte - b'A'),
            b'a'..=b'z' => Some(byte - b'a' + 26),
            b'0'..=b'9' => Some(byte - b'0' + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        };
        let mut out = Vec::with_capacity(text.len() * 3 / 4);
        let (mut bits, mut held) = (0u32, 0);
        for six in text.bytes().filter_map(value) {
            bits = bits << 6 | u32::from(six);
            held += 6;
            if held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
            }
        }
        out
    }
}
