//! Errors inside a 200: what a vendor says of its failure in the midst of a stream or instead of a whole answer is a failure
//! in each of our languages, and whose it is the vendor's own word says, whoever reads it.

use weir::dialect::call::{Call, Tongue};
use weir::dialect::relay::{self, Heard, Relay};
use weir::dialect::speech::Framing;
use weir::dialect::{self, Language, Reading};
use weir::wire::eventstream;
use weir_shared::catalog::Deviations;
use weir_shared::fault::Code;
use weir_tests::Table;
use weir_tests::table::{ensure, same};
use weirbench::grammar::{self, End};

use super::{grammar_of, heading, speech};

/// What fails, and whose failure it is.
struct Failure {
    of: Tongue,
    /// The frame's name in a stream; none for whole answers only.
    event: Option<&'static str>,
    data: &'static str,
    /// It may come instead of a whole answer.
    whole: bool,
    blames_caller: bool,
}

const fn failure(
    of: Tongue,
    event: Option<&'static str>,
    data: &'static str,
    whole: bool,
    blames_caller: bool,
) -> Failure {
    Failure { of, event, data, whole, blames_caller }
}

const FAILURES: &[Failure] = &[
    failure(Tongue::Chat, Some(""), r#"{"error":{"message":"gone","type":"server_error","code":null}}"#, true, false),
    failure(
        Tongue::Chat,
        Some(""),
        r#"{"error":{"message":"gone","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
        true,
        true,
    ),
    // Groq's way, and a word that stands somewhere else.
    failure(
        Tongue::Chat,
        Some("error"),
        r#"{"message":"gone","type":"server_error","param":"invalid_prompt"}"#,
        false,
        false,
    ),
    failure(
        Tongue::Responses,
        Some("error"),
        r#"{"type":"error","code":"server_error","message":"gone","sequence_number":1}"#,
        false,
        false,
    ),
    failure(
        Tongue::Responses,
        Some("error"),
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"x","message":"gone"},"sequence_number":1}"#,
        false,
        true,
    ),
    failure(
        Tongue::Responses,
        Some("response.failed"),
        r#"{"type":"response.failed","sequence_number":1,"response":{"id":"r","status":"failed","error":{"code":"invalid_prompt","message":"gone"}}}"#,
        false,
        true,
    ),
    failure(Tongue::Responses, None, r#"{"error":{"code":"server_error","message":"gone"}}"#, true, false),
    failure(Tongue::Responses, None, r#"{"error":{"code":"invalid_prompt","message":"gone"}}"#, true, true),
    failure(
        Tongue::Messages,
        Some("error"),
        r#"{"type":"error","error":{"type":"overloaded_error","message":"gone"}}"#,
        true,
        false,
    ),
    failure(
        Tongue::Messages,
        Some("error"),
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"gone"}}"#,
        true,
        true,
    ),
    failure(
        Tongue::Generate,
        Some(""),
        r#"{"error":{"code":503,"message":"gone","status":"UNAVAILABLE"}}"#,
        true,
        false,
    ),
    failure(
        Tongue::Generate,
        Some(""),
        r#"{"error":{"code":400,"message":"gone","status":"INVALID_ARGUMENT"}}"#,
        true,
        true,
    ),
    failure(
        Tongue::Cohere,
        Some("message-end"),
        r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"gone"}}"#,
        false,
        false,
    ),
    failure(Tongue::Converse, Some("modelStreamErrorException"), r#"{"message":"gone"}"#, false, false),
    failure(Tongue::Converse, Some("validationException"), r#"{"message":"gone"}"#, false, true),
];

#[test]
fn a_failure_inside_a_200_is_one_in_every_language() {
    let mut table = Table::new();
    for failure in FAILURES {
        let Failure { of, event, data, .. } = failure;
        for to in Tongue::ALL {
            if event.is_some() {
                table.case(format!("{of:?} in {to:?}, stream: {data}"), streamed(failure, *to));
            }
        }
        if failure.whole {
            table.case(format!("{of:?}, whole: {data}"), folded(failure));
            table.case(format!("{of:?}, whole, passing: {data}"), passed_whole(failure));
        }
        if event.is_some() {
            table.case(format!("{of:?}, passing: {data}"), passed(failure));
        }
    }
    table.end();
}

/// What was said before, and the error in the caller's own language behind it.
fn streamed(failure: &Failure, to: Tongue) -> Result<(), String> {
    let call = Call { stream: true, ..Call::default() };
    let heading = heading(&call);
    let from = speech(failure.of);
    let mut relay = Relay::new(from.framing(), from.reader(Deviations::NONE), speech(to).writer(&heading));
    let (mut out, mut reading) = (Vec::new(), Reading::default());
    same("heard", relay.feed(&frame(failure), &mut out, &mut reading), Heard::Failed)?;
    same("the caller's", reading.blames_caller, failure.blames_caller)?;
    same("words", relay.words(), Some("gone"))?;
    relay.fail(Code::UpstreamError, "gone", &mut out);
    let read = grammar::check(grammar_of(to), &out).map_err(|why| format!("{why:?}"))?;
    ensure(matches!(&read.end, End::Error { message, .. } if message == "gone"), format!("it ends with {:?}", read.end))
}

fn passed(failure: &Failure) -> Result<(), String> {
    let mut reading = Reading::default();
    let (name, data) = (failure.event.unwrap_or_default().as_bytes(), failure.data.as_bytes());
    let sense = language(failure.of).read_event(name, data, &mut reading).map_err(|why| format!("{why:?}"))?;
    same("sense", sense, dialect::Sense::Failed)?;
    same("the caller's", (reading.failed, reading.blames_caller), (true, failure.blames_caller))
}

fn folded(failure: &Failure) -> Result<(), String> {
    let mut reading = Reading::default();
    let mut reader = speech(failure.of).reader(Deviations::NONE);
    let answer =
        relay::fold(reader.as_mut(), failure.data.as_bytes(), &mut reading).map_err(|why| format!("{why:?}"))?;
    same("words", answer.failed.map(|words| words.plain().into_owned()), Some("gone".into()))?;
    same("the caller's", (reading.failed, reading.blames_caller), (true, failure.blames_caller))
}

fn passed_whole(failure: &Failure) -> Result<(), String> {
    let mut reading = Reading::default();
    language(failure.of).read_answer(failure.data.as_bytes(), &mut reading).map_err(|why| format!("{why:?}"))?;
    same("the caller's", (reading.failed, reading.blames_caller), (true, failure.blames_caller))
}

fn language(tongue: Tongue) -> &'static dyn Language {
    let found = dialect::ALL.iter().find(|language| language.speech().is_some_and(|speech| speech.tongue() == tongue));
    *found.expect("each is a language")
}

fn frame(Failure { of, event, data, .. }: &Failure) -> Vec<u8> {
    let event = event.unwrap_or_default();
    match speech(*of).framing() {
        Framing::EventStream => {
            let mut out = Vec::new();
            let frame = eventstream::Open::exception(&mut out, event);
            out.extend_from_slice(data.as_bytes());
            frame.close(&mut out);
            out
        }
        Framing::Sse if event.is_empty() => format!("data: {data}\n\n").into_bytes(),
        Framing::Sse => format!("event: {event}\ndata: {data}\n\n").into_bytes(),
    }
}
