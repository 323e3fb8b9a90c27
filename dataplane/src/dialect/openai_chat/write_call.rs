//! A call for a vendor that speaks chat completions.

use weir_shared::catalog::Deviation;

use super::{PARAMS, details};
use crate::dialect::budget::{self, Said};
use crate::dialect::call::{
    Amount, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Role, Source, Thought, Tongue, ToolCall,
    ToolChoice, Turn, What,
};
use crate::dialect::compose::{Array, Object, data_url};
use crate::dialect::hints::{self, Hint};
use crate::dialect::results::{self, write_text};
use crate::dialect::speech::{Lost, Recipient, lose_params};
use crate::dialect::text::{Arguments, Text};
use crate::dialect::turns::EARLIER_THOUGHTS;
use crate::wire::json;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    hints::lose(HINTS, call, lost);
    lose_params(PARAMS, call, Param::ALL, lost);
    Object::write(out, |body| {
        body.str("model", to.model);
        body.array("messages", |messages| {
            let marks = to.deviations.has(Deviation::PrefixMarksPrefill);
            for (place, turn) in call.turns.iter().enumerate() {
                // An answer that was begun, for the vendor to go on with.
                let begun = marks && place + 1 == call.turns.len();
                write_turn(turn, to, begun, messages, lost);
            }
        });
        write_tools(call, body);
        write_format(call, body);
        write_reasoning(call, to, lost, body);
        if !call.stop.is_empty() {
            body.array("stop", |stop| call.stop.iter().for_each(|one| _ = stop.text(one)));
        }
        if let Some(most) = call.tokens_max {
            // Models that think count their thoughts in, and know the newer name only.
            body.number(if to.reasoning { "max_completion_tokens" } else { "max_tokens" }, most);
        }
        if let Some(choices) = call.choices {
            body.number("n", choices);
        }
        for (param, path) in PARAMS {
            if let Some(value) = call.params.get(*param) {
                write_param(*param, path, value.raw(), body, lost);
            }
        }
        if call.stream {
            body.bool("stream", true);
            // Always: what is used must be known, whether the caller asked or not.
            body.raw("stream_options", "{\"include_usage\":true}");
        }
    });
}

/// Whether thoughts are shown is each vendor's own custom.
const HINTS: &[Hint] = &[Hint::ImageDetail, Hint::FileNames, Hint::SchemaName, Hint::SchemaDescription];

/// Values that other languages give in another form.
fn write_param(param: Param, path: &str, value: &[u8], body: &mut Object<'_>, lost: &mut Vec<Lost>) {
    match param {
        // Sound comes with its words, and in a voice: who names none gets the usual one, and samples as Google's are.
        Param::Modalities if json::elements(value).any(|one| one == b"\"audio\"") => {
            body.raw(path, "[\"text\",\"audio\"]").raw("audio", "{\"voice\":\"alloy\",\"format\":\"pcm16\"}");
        }
        // Anthropic's and Google's words for the tiers.
        Param::ServiceTier if matches!(value, b"\"standard_only\"" | b"\"standard\"") => {
            body.str(path, "default");
        }
        Param::Logprobs if !matches!(value, b"true" | b"false") => lost.push(Lost::Param(param)),
        Param::Metadata if !value.starts_with(b"{") => lost.push(Lost::Param(param)),
        _ => {
            body.raw(path, value);
        }
    }
}

fn write_turn(turn: &Turn<'_>, to: &Recipient<'_>, begun: bool, messages: &mut Array<'_>, lost: &mut Vec<Lost>) {
    match turn.role {
        Role::System => write_plain("system", turn, turn.parts.iter(), messages, lost),
        Role::Assistant => write_assistant(turn, to, begun, messages, lost),
        Role::User => {
            // Results are messages of their own, in front of what else the turn says.
            results::of(turn).for_each(|result| results::write_message(result, messages));
            if results::beside(turn).next().is_some() {
                write_plain("user", turn, results::beside(turn), messages, lost);
            }
        }
    }
}

fn write_plain<'p>(
    role: &str,
    turn: &Turn<'_>,
    parts: impl Iterator<Item = &'p Part<'p>> + Clone,
    messages: &mut Array<'_>,
    lost: &mut Vec<Lost>,
) {
    messages.object(|message| {
        message.str("role", role);
        turn.name.iter().for_each(|name| _ = message.text("name", name));
        write_content(parts, message, lost);
    });
}

/// A single text is a string, which everybody understands; more are a list.
fn write_content<'p>(
    parts: impl Iterator<Item = &'p Part<'p>> + Clone,
    message: &mut Object<'_>,
    lost: &mut Vec<Lost>,
) {
    let mut peek = parts.clone();
    if let (Some(Part { what: What::Text(text), .. }), None) = (peek.next(), peek.next()) {
        message.text("content", text);
        return;
    }
    message.array("content", |content| parts.for_each(|part| write_part(part, content, lost)));
}

fn write_part(part: &Part<'_>, content: &mut Array<'_>, lost: &mut Vec<Lost>) {
    match &part.what {
        What::Text(text) | What::Refusal(text) => write_text(text, content),
        What::Media(media) => write_media(media, content, lost),
        // Thoughts and calls are told apart from the content, results are messages.
        What::Reasoning(_) | What::ToolCall(_) | What::ToolResult(_) => {}
    }
}

fn write_media(media: &Media<'_>, content: &mut Array<'_>, lost: &mut Vec<Lost>) {
    match (&media.kind, &media.source) {
        (MediaKind::Image, Source::Data { mime, base64 }) => image(media, content, |url| data_url(mime, base64, url)),
        (MediaKind::Image, Source::Url { url: given, .. }) => {
            image(media, content, |url| url.extend_from_slice(given.raw()));
        }
        (MediaKind::Audio, Source::Data { mime, base64 }) => {
            let format = match mime.raw() {
                b"audio/mpeg" | b"audio/mp3" => Text::of_plain("mp3"),
                b"audio/wav" | b"audio/x-wav" | b"audio/wave" => Text::of_plain("wav"),
                other => Text::of_plain(&String::from_utf8_lossy(other).replace("audio/", "")),
            };
            content.object(|object| {
                object.str("type", "input_audio");
                object.object("input_audio", |audio| _ = audio.text("data", base64).text("format", &format));
            });
        }
        (MediaKind::Document, Source::Data { mime, base64 }) => file(content, |file| {
            let fallback = Text::of_plain("document.pdf");
            file.text("filename", media.name.as_ref().unwrap_or(&fallback));
            let url = file.member("file_data");
            url.push(b'"');
            data_url(mime, base64, url);
            url.push(b'"');
        }),
        // What another vendor keeps means nothing here.
        (MediaKind::Document, Source::Id(id)) if id.raw().starts_with(b"file-") => {
            file(content, |file| _ = file.text("file_id", id));
        }
        (MediaKind::Document, Source::Id(_)) => lost.push(Lost::Thing("files by id")),
        (_, Source::Text(text)) => write_text(text, content),
        (MediaKind::Image, Source::Id(_)) => lost.push(Lost::Thing("images by id")),
        (MediaKind::Audio, _) => lost.push(Lost::Thing("sounds by URL or id")),
        (MediaKind::Video, _) => lost.push(Lost::Thing("videos")),
        (MediaKind::Document, Source::Url { .. }) => lost.push(Lost::Thing("documents by URL")),
    }
}

fn image(media: &Media<'_>, content: &mut Array<'_>, write_url: impl FnOnce(&mut Vec<u8>)) {
    content.object(|object| {
        object.str("type", "image_url");
        object.object("image_url", |image| {
            let url = image.member("url");
            url.push(b'"');
            write_url(url);
            url.push(b'"');
            media.detail.iter().for_each(|detail| _ = image.text("detail", detail));
        });
    });
}

fn file(content: &mut Array<'_>, fill: impl FnOnce(&mut Object<'_>)) {
    content.object(|object| {
        object.str("type", "file");
        object.object("file", fill);
    });
}

fn write_assistant(turn: &Turn<'_>, to: &Recipient<'_>, begun: bool, messages: &mut Array<'_>, lost: &mut Vec<Lost>) {
    let said = |part: &&Part<'_>| matches!(part.what, What::Text(_) | What::Media(_));
    let has_words = turn.parts.iter().any(|part| said(&part));
    let calls: Vec<&ToolCall<'_>> = turn
        .parts
        .iter()
        .filter_map(|part| match &part.what {
            What::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    let refusals = turn.parts.iter().filter_map(|part| match &part.what {
        What::Refusal(text) => Some(text.raw()),
        _ => None,
    });
    let refuses = refusals.clone().next().is_some();
    if !has_words && calls.is_empty() && !refuses {
        // Thoughts alone are no message here.
        if !turn.parts.is_empty() {
            Lost::Hint(EARLIER_THOUGHTS).tell(lost);
        }
        return;
    }
    messages.object(|message| {
        message.str("role", "assistant");
        turn.name.iter().for_each(|name| _ = message.text("name", name));
        if has_words {
            write_content(turn.parts.iter().filter(said), message, lost);
        } else {
            message.null("content");
        }
        if refuses {
            joined(refusals, message.member("refusal"));
        }
        let thoughts = turn.parts.iter().filter_map(|part| match &part.what {
            What::Reasoning(thought) => Some(thought),
            _ => None,
        });
        let are_plain = to.deviations.has(Deviation::ThoughtsTakenBack) && !calls.is_empty();
        if thoughts.clone().any(|thought| if are_plain { !is_plain(thought) } else { own_proof(thought).is_none() }) {
            Lost::Hint(EARLIER_THOUGHTS).tell(lost);
        }
        if are_plain {
            write_plain_thoughts(thoughts, message);
        } else {
            write_thoughts(thoughts, message);
        }
        if !calls.is_empty() {
            message.array("tool_calls", |list| calls.iter().for_each(|call| write_call(call, list)));
        } else if begun {
            message.bool("prefix", true);
        }
    });
}

/// Only what came from a vendor of this language, proof and all, is given back to it.
fn own_proof<'p>(thought: &'p Thought<'_>) -> Option<&'p Proof<'p>> {
    thought.proof.as_ref().filter(|proof| proof.of == Tongue::Chat)
}

fn write_thoughts<'p>(thoughts: impl Iterator<Item = &'p Thought<'p>>, message: &mut Object<'_>) {
    let mut own = thoughts.filter_map(|thought| own_proof(thought).map(|proof| (thought, proof))).peekable();
    if own.peek().is_none() {
        return;
    }
    message.array("reasoning_details", |entries| {
        for (index, (thought, proof)) in own.enumerate() {
            entries.object(|entry| details::write(proof, Some(&thought.text), index as u64, entry));
        }
    });
}

/// Vendors without proofs take the words themselves; sealed thoughts and signed ones are another vendor's.
fn is_plain(thought: &Thought<'_>) -> bool {
    let foreign = |proof: &Proof<'_>| proof.of != Tongue::Chat && !proof.data.is_empty();
    !thought.text.is_empty() && !thought.proof.as_ref().is_some_and(foreign)
}

fn write_plain_thoughts<'p>(thoughts: impl Iterator<Item = &'p Thought<'p>>, message: &mut Object<'_>) {
    let mut own = thoughts.filter(|thought| is_plain(thought)).map(|thought| thought.text.raw()).peekable();
    if own.peek().is_some() {
        joined(own, message.member("reasoning_content"));
    }
}

fn joined<'p>(pieces: impl Iterator<Item = &'p [u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    pieces.for_each(|raw| out.extend_from_slice(raw));
    out.push(b'"');
}

fn write_call(call: &ToolCall<'_>, list: &mut Array<'_>) {
    list.object(|object| {
        object.text("id", &call.id).str("type", "function");
        object.object("function", |function| {
            function.text("name", &call.name);
            write_arguments(&call.arguments, function.member("arguments"));
        });
        // A signature of a vendor of this language goes back to it as it came.
        if let Some(proof) = call.proof.as_ref().filter(|proof| proof.of == Tongue::Chat) {
            write_signature(proof.data.raw(), object);
        }
    });
}

/// Where Google's door of this language keeps it.
pub fn write_signature(raw: &[u8], call: &mut Object<'_>) {
    call.object("extra_content", |extra| {
        extra.object("google", |google| _ = google.text("thought_signature", &Text::of_raw(raw)));
    });
}

pub fn write_arguments(arguments: &Arguments<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    arguments.write_in_string(out);
    out.push(b'"');
}

fn write_tools(call: &Call<'_>, body: &mut Object<'_>) {
    if !call.tools.is_empty() {
        body.array("tools", |tools| {
            for tool in &call.tools {
                tools.object(|object| {
                    object.str("type", "function");
                    object.object("function", |function| {
                        function.text("name", &tool.name);
                        tool.description.iter().for_each(|text| _ = function.text("description", text));
                        tool.schema.iter().for_each(|schema| _ = function.json("parameters", schema));
                        tool.strict.iter().for_each(|strict| _ = function.bool("strict", *strict));
                    });
                });
            }
        });
    }
    match &call.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => _ = body.str("tool_choice", "auto"),
        Some(ToolChoice::None) => _ = body.str("tool_choice", "none"),
        Some(ToolChoice::Required) => _ = body.str("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => {
            body.object("tool_choice", |choice| {
                choice.str("type", "function");
                choice.object("function", |function| _ = function.text("name", name));
            });
        }
        Some(ToolChoice::Among { names, required }) => {
            body.object("tool_choice", |choice| {
                choice.str("type", "allowed_tools");
                choice.object("allowed_tools", |allowed| {
                    allowed.str("mode", if *required { "required" } else { "auto" });
                    allowed.array("tools", |tools| {
                        for name in names {
                            tools.object(|tool| {
                                tool.str("type", "function");
                                tool.object("function", |function| _ = function.text("name", name));
                            });
                        }
                    });
                });
            });
        }
    }
    if let Some(parallel) = call.parallel_tools.filter(|_| !call.tools.is_empty()) {
        body.bool("parallel_tool_calls", parallel);
    }
}

fn write_format(call: &Call<'_>, body: &mut Object<'_>) {
    match &call.format {
        None | Some(Format::Text) => {}
        Some(Format::Json) => {
            body.raw("response_format", "{\"type\":\"json_object\"}");
        }
        Some(Format::Schema { name, description, schema, strict }) => {
            body.object("response_format", |format| {
                format.str("type", "json_schema");
                format.object("json_schema", |inside| {
                    let unnamed = Text::of_plain("answer");
                    inside.text("name", name.as_ref().unwrap_or(&unnamed));
                    description.iter().for_each(|text| _ = inside.text("description", text));
                    inside.json("schema", schema);
                    strict.iter().for_each(|strict| _ = inside.bool("strict", *strict));
                });
            });
        }
    }
}

fn write_reasoning(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, body: &mut Object<'_>) {
    let Some(amount) = call.reasoning.and_then(|reasoning| reasoning.amount) else { return };
    let word = match amount {
        Amount::Off if !to.reasoning => return,
        Amount::Off => "none",
        // What the model does when nothing is said.
        Amount::Auto => return,
        Amount::Effort(effort) => spoken(effort),
        Amount::Tokens(tokens) => spoken(Effort::of_tokens(tokens)),
    };
    if to.reasoning {
        budget::tell(call, Said::Effort(word), lost);
        body.str("reasoning_effort", word);
    } else {
        lost.push(Lost::Thing("thinking, which this model does not do"));
    }
}

fn spoken(effort: Effort) -> &'static str {
    match effort {
        Effort::Max => "xhigh",
        other => other.name(),
    }
}
