//! The four duties of Google's language.

use weir_shared::catalog::{Deviations, Thinking};
use weir_shared::fault::Code;
use weir_shared::usage::{Class, Tier, Usage};

use super::Generate;
use crate::dialect::answer::Answer;
use crate::dialect::call::{Call, Format, MediaKind, Param, Proof, Role, Source, Tongue, ToolChoice, What};
use crate::dialect::event::{Block, Event, Finish, Piece};
use crate::dialect::speech::{Asked, Heading, Lost, Recipient, Speech, Step};
use crate::dialect::text::Text;
use crate::wire::json;

fn call(body: &str) -> Call<'_> {
    json::validate(body.as_bytes()).unwrap();
    Generate.read_call(&Asked { body: body.as_bytes(), streams: false }).unwrap()
}

fn written(call: &Call<'_>, thinking: Thinking) -> (serde_json::Value, Vec<Lost>) {
    let to =
        Recipient { model: "gemini-x", output_tokens_max: 0, reasoning: true, thinking, deviations: Deviations::NONE };
    let (mut lost, mut out) = (Vec::new(), Vec::new());
    Generate.write_call(call, &to, &mut lost, &mut out);
    (serde_json::from_slice(&out).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out))), lost)
}

/// Read and written again, in our spelling, nothing lost.
fn same(body: &str, thinking: Thinking, want: &str) {
    let call = call(body);
    assert_eq!(call.unmapped, [""; 0]);
    let (got, lost) = written(&call, thinking);
    assert_eq!(lost, []);
    assert_eq!(got, serde_json::from_str::<serde_json::Value>(want).unwrap());
}

#[test]
fn a_call_in_either_spelling_is_the_same_call() {
    let want = r#"{"systemInstruction":{"parts":[{"text":"be kind"}]},
        "contents":[{"role":"user","parts":[{"text":"hi\u00e9"},{"inlineData":{"mimeType":"image/png","data":"/+8="}}]}],
        "tools":[{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object"}}]}],
        "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f","g"]}},
        "generationConfig":{"temperature":0.50,"topK":40,"maxOutputTokens":9,"stopSequences":["x"],"responseMimeType":"application/json",
            "responseJsonSchema":{"type":"string"},"thinkingConfig":{"thinkingBudget":-1,"includeThoughts":true}},
        "safetySettings":[{"category":"C","threshold":"T"}],"labels":{"a":"b"},"serviceTier":"flex"}"#;
    let snake = want
        .replace("systemInstruction", "system_instruction")
        .replace("inlineData", "inline_data")
        .replace("mimeType", "mime_type")
        .replace("functionDeclarations", "function_declarations")
        .replace("parametersJsonSchema", "parameters")
        .replace("{\"type\":\"object\"}", "{\"type\":\"OBJECT\"}")
        .replace("toolConfig", "tool_config")
        .replace("allowedFunctionNames", "allowed_function_names")
        .replace("maxOutputTokens\":9", "max_output_tokens\":\"9\"")
        .replace("\"topK\":40", "\"top_k\":40.0")
        .replace("thinkingBudget", "thinking_budget")
        .replace("\"tools\":[{", "\"tools\":{")
        .replace("]}],\n        \"tool", "]},\n        \"tool")
        .replace("/+8=", "_-8")
        .replace("\"flex\"", "\"FLEX\"");
    // A single object where a list belongs.
    let snake = snake.replace("{\"type\":\"OBJECT\"}}]}]", "{\"type\":\"OBJECT\"}}]}");
    same(want, Thinking::Budget, want);
    same(&snake.replace("\"contents\":[{", "\"contents\":{").replace("}}]}],", "}}]},"), Thinking::Budget, want);
}

#[test]
fn a_list_of_no_settings_sets_nothing() {
    let call = call(r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}],"safetySettings": []}"#);
    assert!(call.unmapped.is_empty() && !format!("{:?}", call.params).contains("SafetySettings"), "{call:?}");
}

#[test]
fn every_member_is_accounted_for() {
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"x","videoMetadata":{"fps":1}},{"codeExecutionResult":{"outcome":"OK"}}],"odd":1}],
        "tools":[{"googleSearch":{}},{"functionDeclarations":[{"name":"f","response":{"type":"STRING"}}]}],"toolConfig":{"retrievalConfig":{"a":1}},
        "generationConfig":{"responseLogprobs":true,"speechConfig":{"a":1},"candidateCount":1,"responseModalities":["TEXT"],"logprobs":null},
        "cachedContent":"cachedContents/1","model":"m","store":true}"#;
    let call = call(body);
    assert_eq!(
        call.unmapped,
        [
            "contents[0].odd",
            "contents[0].parts[0].videoMetadata",
            "contents[0].parts[1].codeExecutionResult",
            "tools[0].googleSearch",
            "tools[1].functionDeclarations[0].response",
            "toolConfig.retrievalConfig",
            "generationConfig.speechConfig",
            "cachedContent",
            "store"
        ]
    );
    for wrong in [
        r#"{"contents":[7]}"#,
        r#"{"contents":[{"role":"nobody","parts":[]}]}"#,
        r#"{"contents":[{"parts":[{"text":7}]}]}"#,
        r#"{"contents":[{"parts":[{"functionCall":{"args":"x"}}]}]}"#,
        r#"{"contents":[],"generationConfig":{"maxOutputTokens":-1}}"#,
    ] {
        assert!(Generate.read_call(&Asked { body: wrong.as_bytes(), streams: false }).is_err(), "{wrong}");
    }
}

#[test]
fn calls_without_ids_are_paired_by_name_and_order() {
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},
        {"role":"model","parts":[{"functionCall":{"name":"a","args":{"n":1}}},{"functionCall":{"name":"b"}},{"functionCall":{"name":"a","args":{"n":2}}}]},
        {"role":"function","parts":[{"functionResponse":{"name":"b","response":{"error":"no"}}},{"functionResponse":{"name":"a","response":{"result":{"x":1}}}},
            {"functionResponse":{"name":"a","response":{"p":1,"q":2}}}]}]}"#;
    let call = call(body);
    let results: Vec<_> = call.turns[2]
        .parts
        .iter()
        .map(|part| match &part.what {
            What::ToolResult(result) => {
                let What::Text(text) = &result.content[0].what else { panic!() };
                (result.id.plain().into_owned(), text.plain().into_owned(), result.failed)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let want = [("call_1", "no", true), ("call_0", r#"{"x":1}"#, false), ("call_2", r#"{"p":1,"q":2}"#, false)];
    assert_eq!(results, want.map(|(id, text, failed)| (id.to_owned(), text.to_owned(), failed)));
    assert_eq!(call.turns[2].role, Role::User);
}

#[test]
fn what_was_streamed_comes_back_whole() {
    // Google's SDKs keep one content for every chunk.
    let foreign = Proof { of: Tongue::Messages, data: Text::of_raw(b"EqQB\\/x=="), sealed: false };
    let mut carried = Vec::new();
    super::signature::write(&foreign, &mut carried);
    let body = format!(
        r#"{{"contents":[{{"role":"user","parts":[{{"text":"a"}}]}},
        {{"role":"model","parts":[{{"thought":true,"text":"h"}}]}},{{"role":"model","parts":[{{"thought":true,"text":"m"}}]}},
        {{"role":"model","parts":[{{"thought":true,"text":"","thoughtSignature":"{}"}}]}},
        {{"role":"model","parts":[{{"text":"he"}}]}},{{"role":"model","parts":[{{"text":"llo"}}]}},
        {{"role":"model","parts":[{{"text":"","thoughtSignature":"Own/+="}}]}}]}}"#,
        String::from_utf8(carried).unwrap()
    );
    let call = call(&body);
    assert_eq!(call.turns.len(), 2);
    let parts: Vec<_> = call.turns[1].parts.iter().map(|part| &part.what).collect();
    let [What::Reasoning(thought), What::Text(text), What::Reasoning(own)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((thought.text.raw(), thought.proof.as_ref()), (&b"hm"[..], Some(&foreign)));
    assert_eq!(text.raw(), b"hello");
    assert_eq!(own.proof.as_ref().map(|proof| (proof.of, proof.data.raw())), Some((Tongue::Generate, &b"Own/+="[..])));
    // Another vendor's proof never reaches Google.
    let (got, _) = written(&call, Thinking::Effort);
    assert_eq!(
        got["contents"][1]["parts"],
        serde_json::json!([{"text":"hm","thought":true},{"text":"hello"},{"text":"","thoughtSignature":"Own/+="}])
    );
}

#[test]
fn calls_of_another_model_are_marked_as_google_says() {
    let body = r#"{"contents":[{"parts":[{"text":"x"}]},
        {"role":"model","parts":[{"functionCall":{"id":"1","name":"a"}}]},{"parts":[{"functionResponse":{"id":"1","response":{"result":"ok"}}}]},
        {"role":"model","parts":[{"text":"done"}]},{"parts":[{"text":"more"}]},
        {"role":"model","parts":[{"functionCall":{"id":"2","name":"b"}},{"functionCall":{"id":"3","name":"b"}}]},
        {"parts":[{"functionResponse":{"id":"2","response":{"result":"ok"}}},{"functionResponse":{"id":"3","response":{"result":"ok"}}}]},
        {"role":"model","parts":[{"functionCall":{"id":"4","name":"b"},"thoughtSignature":"own"}]},
        {"parts":[{"functionResponse":{"id":"4","response":{"result":"ok"}}}]}]}"#;
    let call = call(body);
    let signatures = |value: &serde_json::Value| -> Vec<String> {
        let contents = value["contents"].as_array().unwrap().iter();
        let parts = contents.flat_map(|content| content["parts"].as_array().unwrap().clone());
        parts
            .filter(|part| part["functionCall"].is_object())
            .map(|part| part["thoughtSignature"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let (third, _) = written(&call, Thinking::Effort);
    assert_eq!(signatures(&third), ["", "skip_thought_signature_validator", "", "own"]);
    let (second, _) = written(&call, Thinking::Budget);
    assert_eq!(signatures(&second), ["", "", "", "own"]);
    assert_eq!(third["contents"][2]["parts"][0]["functionResponse"]["name"], "a");
}

#[test]
fn what_google_cannot_say_is_lost_by_name() {
    let mut call = call(r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#);
    call.parallel_tools = Some(false);
    call.tools[0].strict = Some(true);
    call.params.set(Param::LogitBias, crate::dialect::text::Json::of(b"{}"));
    let (body, lost) = written(&call, Thinking::Budget);
    assert_eq!(lost, [Lost::Thing("one tool call at a time"), Lost::Param(Param::LogitBias)]);
    assert_eq!(body["toolConfig"]["functionCallingConfig"]["mode"], "VALIDATED");
    call.tool_choice = Some(ToolChoice::Named(Text::of_raw(b"f")));
    let (body, _) = written(&call, Thinking::Budget);
    assert_eq!(body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"][0], "f");
}

#[test]
fn images_are_looked_at_as_closely_as_wished() {
    let mut call = call(
        r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}"#,
    );
    let mut look = |detail: [Option<&'static str>; 2], thinking| {
        for (part, detail) in call.turns[0].parts.iter_mut().zip(detail) {
            let What::Media(media) = &mut part.what else { panic!() };
            media.detail = detail.map(|detail| Text::of_raw(detail.as_bytes()));
        }
        written(&call, thinking)
    };
    let (body, lost) = look([Some("low"), Some("low")], Thinking::Budget);
    assert_eq!((&body["generationConfig"]["mediaResolution"], lost), (&"MEDIA_RESOLUTION_LOW".into(), vec![]));
    let (_, lost) = look([Some("low"), None], Thinking::Budget);
    assert_eq!(lost, [Lost::Hint("how closely one image of several is looked at")]);
    let (body, lost) = look([Some("low"), None], Thinking::Effort);
    let parts = &body["contents"][0]["parts"];
    assert_eq!((&parts[0]["mediaResolution"]["level"], lost), (&"MEDIA_RESOLUTION_LOW".into(), vec![]));
    assert!(parts[1].get("mediaResolution").is_none() && body.get("generationConfig").is_none());
}

#[test]
fn files_are_told_by_who_can_open_them() {
    let body = r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://a.b/c.mp4","mimeType":"video/mp4"}},
        {"file_data":{"file_uri":"gs://bucket/x.wav","mime_type":"audio/wav"}}]}]}"#;
    let call = call(body);
    let media: Vec<_> = call.turns[0]
        .parts
        .iter()
        .map(|part| match &part.what {
            What::Media(media) => (media.kind, matches!(media.source, Source::Id(_))),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(media, [(MediaKind::Video, false), (MediaKind::Audio, true)]);
    assert!(matches!(call.format, None | Some(Format::Text)));
}

fn read(events: &[&str]) -> Answer {
    let mut reader = Generate.reader(Deviations::NONE);
    let mut answer = Answer::default();
    for event in events {
        reader.read_event(b"", event.as_bytes(), &mut |event| answer.take(event)).unwrap();
    }
    reader.end(&mut |event| answer.take(event));
    answer
}

/// Kind, text, and arguments of each block of the first choice.
fn blocks(answer: &Answer) -> Vec<(&'static str, String)> {
    let told = answer.choices[0].blocks.iter().map(|whole| {
        let kind = match &whole.kind {
            Block::Text => "text",
            Block::Reasoning => "reasoning",
            Block::ToolCall { .. } => "call",
            Block::VendorTool { .. } => "vendor",
            Block::Media { .. } => "media",
            Block::Refusal => "refusal",
        };
        let text = whole.object.as_ref().unwrap_or(&whole.text);
        (kind, String::from_utf8(text.clone()).unwrap())
    });
    told.collect()
}

#[test]
fn a_stream_becomes_blocks() {
    let answer = read(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"},"index":0}],"responseId":"r1"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"he"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":1}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"llo"}],"role":"model"},"index":0}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"executableCode":{"code":"x"},"thoughtSignature":"no"},{"text":""}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"sig"}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"g","willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.id","stringValue":"A","willContinue":true}],"willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"end"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":3}}"#,
    ]);
    assert_eq!(answer.id.raw(), b"r1");
    let want = [
        ("reasoning", "hm"),
        ("text", "hello"),
        ("vendor", ""),
        ("call", r#"{"a":1}"#),
        ("call", r#"{"id":"A"}"#),
        ("reasoning", ""),
    ];
    assert_eq!(blocks(&answer), want.map(|(kind, text)| (kind, text.to_owned())));
    assert_eq!(answer.choices[0].finish, Some(Finish::ToolCalls));
    let Block::ToolCall { proof: Some(proof), .. } = &answer.choices[0].blocks[3].kind else { panic!() };
    assert_eq!((proof.of, proof.data.raw()), (Tongue::Generate, &b"sig"[..]));
    assert_eq!(answer.choices[0].blocks[5].proof.as_ref().unwrap().data.raw(), b"end");
    let usage = answer.usage.unwrap();
    assert_eq!([usage.of(Class::Input), usage.of(Class::Output), usage.of(Class::Reasoning)], [5, 2, 3]);
}

#[test]
fn ends_are_told_apart() {
    let finish = |event: &str| read(&[event]).choices.remove(0).finish;
    assert_eq!(finish(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#), Some(Finish::Filtered));
    assert_eq!(finish(r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#), Some(Finish::Length));
    assert_eq!(finish(r#"{"candidates":[{"finishReason":"RECITATION"}]}"#), Some(Finish::Filtered));
    let odd = Finish::Other(Text::of_raw(b"UNEXPECTED_TOOL_CALL"));
    assert_eq!(finish(r#"{"candidates":[{"finishReason":"UNEXPECTED_TOOL_CALL"}]}"#), Some(odd));
    let mut reader = Generate.reader(Deviations::NONE);
    let mut failed = None;
    let event = br#"{"error":{"code":503,"message":"no \"room\"","status":"UNAVAILABLE"}}"#;
    let step = reader.read_event(b"", event, &mut |event| {
        if let Event::Failed { message, blames_caller } = event {
            failed = Some((message.plain().into_owned(), blames_caller));
        }
    });
    assert_eq!((step, failed), (Ok(Step::Over), Some(("no \"room\"".to_owned(), false))));
}

#[test]
fn sources_become_citations() {
    let grounding = r#""groundingMetadata":{"groundingChunks":[{"web":{"uri":"u","title":"t"}},{"retrievedContext":{"text":"q","documentName":"d"}}],
        "groundingSupports":[{"segment":{"endIndex":5,"text":"hello"},"groundingChunkIndices":[0,1,9]}]}"#;
    let event = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"hello"}},{{"text":"","thoughtSignature":"s"}}]}},"finishReason":"STOP",{grounding}}}]}}"#
    );
    let answer = read(&[&event]);
    let citations = &answer.choices[0].blocks[0].citations;
    assert_eq!(citations.len(), 2);
    assert_eq!((citations[0].url.as_ref().unwrap().raw(), citations[0].span), (&b"u"[..], Some((0, 5))));
    assert_eq!(citations[1].document.as_ref().unwrap().raw(), b"d");
    // Bytes are no letters.
    let answer = read(&[&event.replace("{\"text\":\"hello\"}", "{\"text\":\"hellö\"}")]);
    assert_eq!(answer.choices[0].blocks[0].citations[0].span, None);
}

fn heading<'h>(call: &'h Call<'h>, sse: bool) -> Heading<'h> {
    Heading { id: "a1", model: "m\"x", created_s: 0, call, sse }
}

fn spoken(events: &[Event<'_>], sse: bool) -> String {
    let call = Call::default();
    let heading = heading(&call, sse);
    let mut writer = Generate.writer(&heading);
    let mut out = Vec::new();
    for event in events {
        writer.write(event.clone(), &mut out);
    }
    writer.end(&mut out);
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn text(words: &'static str) -> Piece<'static> {
    Piece::Text(Text::of_raw(words.as_bytes()))
}

fn an_answer() -> Vec<Event<'static>> {
    let proof = |of| Proof { of, data: Text::of_raw(b"sig"), sealed: false };
    let tool =
        |name: &'static str, proof| Block::ToolCall { id: Text::default(), name: Text::of_raw(name.as_bytes()), proof };
    vec![
        Event::Start { id: Text::of_raw(b"theirs") },
        Event::Open { block: 0, choice: 0, kind: Block::Reasoning },
        Event::Piece { block: 0, piece: text("hm") },
        Event::Piece { block: 0, piece: Piece::Proof(proof(Tongue::Messages)) },
        Event::Close { block: 0 },
        Event::Open { block: 1, choice: 0, kind: Block::Text },
        Event::Piece { block: 1, piece: text("h\\u00e9") },
        Event::Open { block: 2, choice: 0, kind: tool("f", None) },
        Event::Open { block: 3, choice: 0, kind: tool("g", Some(proof(Tongue::Generate))) },
        Event::Piece { block: 2, piece: Piece::Arguments(Text::of_raw(b"{\\\"a\\\"")) },
        Event::Piece { block: 3, piece: Piece::ArgumentsObject(b"{\"b\":2}") },
        Event::Piece { block: 2, piece: Piece::Arguments(Text::of_raw(b":1}")) },
        Event::Close { block: 1 },
        Event::Close { block: 2 },
        Event::Close { block: 3 },
        Event::Finish { choice: 0, why: Finish::ToolCalls },
        Event::Usage {
            usage: Usage::NONE
                .with(Class::Input, 5)
                .with(Class::CacheRead, 3)
                .with(Class::AudioInput, 2)
                .with(Class::Output, 4)
                .with(Class::Reasoning, 1),
            tier: Tier::Flex,
        },
    ]
}

#[test]
fn what_is_written_reads_back() {
    let out = spoken(&an_answer(), true);
    let events: Vec<&str> =
        out.split_terminator("\r\n\r\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(events.len(), 6);
    assert_eq!(
        events[2],
        r#"{"candidates":[{"content":{"parts":[{"text":"h\u00e9"}],"role":"model"},"index":0}],"modelVersion":"m\"x","responseId":"a1"}"#
    );
    let array = spoken(&an_answer(), false);
    let list: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
    assert_eq!(list.len(), 6);
    let mut by_array = Answer::default();
    Generate.reader(Deviations::NONE).read_answer(array.as_bytes(), &mut |event| by_array.take(event)).unwrap();
    let mut unary = Vec::new();
    let (call, mut whole) = (Call::default(), Answer::default());
    an_answer().into_iter().for_each(|event| whole.take(event));
    Generate.write_answer(&whole, &heading(&call, true), &mut unary);
    let mut by_unary = Answer::default();
    Generate.reader(Deviations::NONE).read_answer(&unary, &mut |event| by_unary.take(event)).unwrap();
    let mut listed = Vec::new();
    Generate.write_answer(&whole, &heading(&call, false), &mut listed);
    assert_eq!(listed, [b"[", &unary[..], b"]"].concat());
    for answer in [read(&events), by_array, by_unary] {
        let want = [("reasoning", "hm"), ("text", "h\\u00e9"), ("call", "{\"a\":1}"), ("call", "{\"b\":2}")];
        assert_eq!(blocks(&answer), want.map(|(kind, text)| (kind, text.to_owned())));
        let choice = &answer.choices[0];
        assert_eq!(choice.finish, Some(Finish::ToolCalls));
        assert_eq!((answer.usage, answer.tier), (whole.usage, Tier::Flex));
        let Block::ToolCall { id, .. } = &choice.blocks[2].kind else { panic!() };
        assert_eq!(id.raw(), b"call_a1_2");
    }
}

#[test]
fn a_call_that_is_none_is_told_as_google_tells_it() {
    let tool = Block::ToolCall { id: Text::default(), name: Text::of_raw(b"f"), proof: None };
    let events = |why| {
        vec![
            Event::Open { block: 0, choice: 0, kind: tool.clone() },
            Event::Piece { block: 0, piece: Piece::Arguments(Text::of_raw(b"{\\\"a\\\":")) },
            Event::Close { block: 0 },
            Event::Finish { choice: 0, why },
        ]
    };
    let out = spoken(&events(Finish::ToolCalls), true);
    assert!(
        out.contains(r#""finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"Malformed function call: {\"a\":""#)
    );
    assert!(!out.contains("functionCall"));
    assert!(spoken(&events(Finish::Length), true).contains(r#""finishReason":"MAX_TOKENS""#));
}

#[test]
fn an_error_ends_either_manner() {
    for sse in [true, false] {
        let call = Call::default();
        let heading = heading(&call, sse);
        let mut writer = Generate.writer(&heading);
        let mut out = Vec::new();
        writer.write(Event::Open { block: 0, choice: 0, kind: Block::Text }, &mut out);
        writer.write(Event::Piece { block: 0, piece: text("x") }, &mut out);
        writer.fail(Code::UpstreamCut, "gone", &mut out);
        writer.end(&mut out);
        let out = String::from_utf8(out).unwrap();
        if sse {
            assert!(out.ends_with("\"}]}}\r\n\r\n"), "{out}");
        } else {
            let list: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
            assert_eq!(list[1]["error"]["message"], "gone");
        }
    }
}
