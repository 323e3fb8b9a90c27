//! A call for a vendor that speaks OpenAI's responses. Nothing is stored there: a model's thoughts come back encrypted.

use super::{PARAMS, carried};
use crate::dialect::budget::{self, Said};
use crate::dialect::call::{
    Amount, Call, Effort, Format, Media, MediaKind, Param, Part, Role, Source, ToolCall, ToolChoice, ToolResult, Turn,
    What,
};
use crate::dialect::compose::{Array, Object, data_url, number, quoted};
use crate::dialect::hints::{self, Hint};
use crate::dialect::pairing::Pairing;
use crate::dialect::results;
use crate::dialect::speech::{Lost, Recipient, lose_params};
use crate::dialect::text::Text;
use crate::dialect::turns::EARLIER_THOUGHTS;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    let front = call.turns.iter().take_while(|turn| turn.role == Role::System).count();
    let mut writer = Writer { call, to, lost, made_up: Pairing::default(), calls: 0 };
    Object::write(out, |body| {
        body.str("model", to.model).bool("stream", call.stream).bool("store", false);
        writer.instructions(&call.turns[..front], body);
        body.array("input", |items| call.turns[front..].iter().for_each(|turn| writer.turn(turn, items)));
        writer.tools(body);
        writer.text(body);
        writer.thinking(body);
        writer.include(body);
        if let Some(tokens) = call.tokens_max {
            if tokens < TOKENS_MIN {
                Lost::Hint("a limit under 16 tokens").tell(writer.lost);
            }
            body.number("max_output_tokens", tokens.max(TOKENS_MIN));
        }
        for (param, path) in PARAMS {
            if let Some(value) = call.params.get(*param).filter(|_| !path.contains('.')) {
                match (param, value.raw()) {
                    // Anthropic's word for it.
                    (Param::ServiceTier, b"\"standard_only\"" | b"\"standard\"") => _ = body.str(path, "default"),
                    _ => _ = body.json(path, value),
                }
            }
        }
    });
    if !call.stop.is_empty() {
        lost.push(Lost::Thing("stop sequences"));
    }
    if call.choices.is_some_and(|choices| choices > 1) {
        lost.push(Lost::Thing("more than one answer"));
    }
    hints::lose(HINTS, call, lost);
    lose_params(PARAMS, call, Param::ALL, lost);
}

/// OpenAI refuses a lower limit, which programs that only try a key like to send.
const TOKENS_MIN: u64 = 16;

const HINTS: &[Hint] = &[
    Hint::ImageDetail,
    Hint::FileDetail,
    Hint::FileNames,
    Hint::SchemaName,
    Hint::SchemaDescription,
    Hint::ThoughtsShown,
    Hint::ThoughtsHidden,
];

struct Writer<'w> {
    call: &'w Call<'w>,
    to: &'w Recipient<'w>,
    lost: &'w mut Vec<Lost>,
    /// Calls without an id, under the ids that they got here.
    made_up: Pairing<'w>,
    calls: u64,
}

impl<'w> Writer<'w> {
    fn instructions(&mut self, turns: &[Turn<'_>], body: &mut Object<'_>) {
        let mut said = Vec::new();
        for part in turns.iter().flat_map(|turn| &turn.parts) {
            match &part.what {
                What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                What::Text(text) | What::Refusal(text) => {
                    if !said.is_empty() {
                        said.extend_from_slice(super::read_call::BETWEEN_TEXTS);
                    }
                    said.extend_from_slice(text.raw());
                }
                _ => self.lose("anything but text in instructions"),
            }
        }
        if !said.is_empty() {
            quoted(body.member("instructions"), &said);
        }
    }

    fn turn(&mut self, turn: &'w Turn<'_>, items: &mut Array<'_>) {
        if turn.name.is_some() {
            self.lose("names of participants");
        }
        match turn.role {
            Role::System => self.said("developer", turn.parts.iter(), items),
            Role::Assistant => self.assistant(turn, items),
            Role::User => {
                for part in &turn.parts {
                    if let What::ToolResult(result) = &part.what {
                        self.result(result, items);
                    }
                }
                let others = turn.parts.iter().filter(|part| !matches!(part.what, What::ToolResult(_)));
                self.said("user", others, items);
            }
        }
    }

    fn said<'p>(&mut self, role: &str, parts: impl Iterator<Item = &'p Part<'p>>, items: &mut Array<'_>) {
        let mut content = Vec::new();
        Array::write(&mut content, |list| {
            for part in parts {
                match &part.what {
                    What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                    What::Text(text) | What::Refusal(text) => input_text(text, list),
                    What::Media(media) if role == "user" => self.media(media, list),
                    What::Media(_) => self.lose("anything but text in instructions"),
                    _ => self.lose("thoughts and calls among what the user said"),
                }
            }
        });
        message(role, &content, items);
    }

    fn assistant(&mut self, turn: &'w Turn<'_>, items: &mut Array<'_>) {
        let mut said = Vec::new();
        for part in &turn.parts {
            match &part.what {
                What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                What::Text(text) => {
                    part_begins(&mut said);
                    said.extend_from_slice(b"{\"type\":\"output_text\",\"text\":");
                    quoted(&mut said, text.raw());
                    said.extend_from_slice(b",\"annotations\":[]}");
                }
                What::Refusal(text) => {
                    part_begins(&mut said);
                    said.extend_from_slice(b"{\"type\":\"refusal\",\"refusal\":");
                    quoted(&mut said, text.raw());
                    said.push(b'}');
                }
                What::Reasoning(thought) => {
                    // Without its own proof it is text for people.
                    let Some((id, encrypted)) = thought.proof.as_ref().and_then(carried::parts) else {
                        Lost::Hint(EARLIER_THOUGHTS).tell(self.lost);
                        continue;
                    };
                    flush(&mut said, items);
                    items.object(|item| {
                        item.str("type", "reasoning");
                        if !id.is_empty() {
                            quoted(item.member("id"), id);
                        }
                        item.array("summary", |summary| {
                            if !thought.text.is_empty() {
                                summary.object(|part| {
                                    part.str("type", "summary_text").text("text", &thought.text);
                                });
                            }
                        });
                        quoted(item.member("encrypted_content"), encrypted);
                    });
                }
                What::ToolCall(call) => {
                    flush(&mut said, items);
                    self.tool_call(call, items);
                }
                What::Media(_) => self.lose("media among what the model said"),
                What::ToolResult(_) => self.lose("tool results among what the model said"),
            }
        }
        flush(&mut said, items);
    }

    fn tool_call(&mut self, call: &'w ToolCall<'_>, items: &mut Array<'_>) {
        let mut id = call.id.raw().to_vec();
        if id.is_empty() {
            id.extend_from_slice(b"call_");
            number(&mut id, self.calls);
            self.made_up.called(Text::of_raw_owned(id.clone()), call.name.shorter());
        }
        self.calls += 1;
        let mut arguments = Vec::new();
        call.arguments.write_in_string(&mut arguments);
        items.object(|item| {
            item.str("type", "function_call");
            quoted(item.member("call_id"), &id);
            item.text("name", &call.name);
            quoted(item.member("arguments"), if arguments.is_empty() { b"{}" } else { &arguments });
        });
    }

    fn result(&mut self, result: &ToolResult<'_>, items: &mut Array<'_>) {
        let mut id = result.id.raw().to_vec();
        if id.is_empty()
            && let Some((made_up, _)) = self.made_up.answer(&result.id, result.name.as_ref())
        {
            id = made_up.raw().to_vec();
        }
        let failure = results::told_failure(result);
        let mut content = Vec::new();
        let mut only = None;
        let mut parts = 0;
        Array::write(&mut content, |list| {
            for part in failure.as_ref().unwrap_or(&result.content) {
                parts += 1;
                match &part.what {
                    What::Text(text) | What::Refusal(text) => {
                        only = Some(text);
                        input_text(text, list);
                    }
                    What::Media(media) => self.media(media, list),
                    _ => self.lose("thoughts and calls among results"),
                }
            }
        });
        items.object(|item| {
            item.str("type", "function_call_output");
            quoted(item.member("call_id"), &id);
            match only {
                Some(text) if parts == 1 => item.text("output", text),
                _ if content == b"[]" => item.str("output", ""),
                _ => item.raw("output", &content),
            };
        });
    }

    fn media(&mut self, media: &Media<'_>, list: &mut Array<'_>) {
        match (media.kind, &media.source) {
            (_, Source::Text(text)) => input_text(text, list),
            (MediaKind::Image | MediaKind::Document, Source::Id(id)) if !id.raw().starts_with(b"file-") => {
                self.lose("files by id");
            }
            (MediaKind::Image, source) => {
                list.object(|part| {
                    part.str("type", "input_image");
                    match source {
                        Source::Data { mime, base64 } => write_data(part.member("image_url"), mime, base64),
                        Source::Url { url, .. } => quoted(part.member("image_url"), url.raw()),
                        Source::Id(id) => quoted(part.member("file_id"), id.raw()),
                        Source::Text(_) => {}
                    }
                    match &media.detail {
                        Some(detail) => part.text("detail", detail),
                        None => part.str("detail", "auto"),
                    };
                });
            }
            (MediaKind::Document, source) => {
                list.object(|part| {
                    part.str("type", "input_file");
                    match source {
                        Source::Data { mime, base64 } => {
                            match &media.name {
                                Some(name) => part.text("filename", name),
                                // It must have one.
                                None if mime.raw().starts_with(b"text/") => part.str("filename", "document.txt"),
                                None => part.str("filename", "document.pdf"),
                            };
                            write_data(part.member("file_data"), mime, base64);
                        }
                        Source::Url { url, .. } => quoted(part.member("file_url"), url.raw()),
                        Source::Id(id) => quoted(part.member("file_id"), id.raw()),
                        Source::Text(_) => {}
                    }
                    media.detail.iter().for_each(|detail| _ = part.text("detail", detail));
                });
            }
            (MediaKind::Audio, Source::Data { mime, base64 }) => {
                let format = match mime.raw() {
                    b"audio/wav" | b"audio/x-wav" | b"audio/wave" => "wav",
                    b"audio/mpeg" | b"audio/mp3" => "mp3",
                    _ => return self.lose("audio but for WAV and MP3"),
                };
                list.object(|part| {
                    part.str("type", "input_audio").object("input_audio", |audio| {
                        audio.text("data", base64).str("format", format);
                    });
                });
            }
            (MediaKind::Audio, _) => self.lose("audio by URL"),
            (MediaKind::Video, _) => self.lose("videos"),
        }
    }

    fn tools(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        if call.tools.is_empty() {
            return;
        }
        body.array("tools", |list| {
            for tool in &call.tools {
                list.object(|object| {
                    object.str("type", "function").text("name", &tool.name);
                    if let Some(description) = &tool.description {
                        object.text("description", description);
                    }
                    match &tool.schema {
                        Some(schema) => object.json("parameters", schema),
                        None => object.raw("parameters", br#"{"type":"object","properties":{}}"#),
                    };
                    // What is not said here is true.
                    object.bool("strict", tool.strict == Some(true));
                });
            }
        });
        if let Some(choice) = &call.tool_choice {
            write_tool_choice(choice, body);
        }
        if let Some(parallel) = call.parallel_tools {
            body.bool("parallel_tool_calls", parallel);
        }
    }

    fn text(&mut self, body: &mut Object<'_>) {
        let mut text = Vec::new();
        Object::write(&mut text, |text| {
            write_format(self.call.format.as_ref(), text);
            if let Some(verbosity) = self.call.params.get(Param::Verbosity) {
                text.json("verbosity", verbosity);
            }
        });
        if text != b"{}" {
            body.raw("text", &text);
        }
    }

    fn thinking(&mut self, body: &mut Object<'_>) {
        let reasoning = self.call.reasoning.unwrap_or_default();
        if !self.to.reasoning {
            if !matches!(reasoning.amount, None | Some(Amount::Off | Amount::Auto)) {
                self.lose("thinking, by a model that does not");
            }
            return;
        }
        let effort = match reasoning.amount {
            None | Some(Amount::Auto) => None,
            Some(Amount::Off) => Some("none"),
            Some(Amount::Effort(effort)) => Some(effort.min(Effort::XHigh).name()),
            Some(Amount::Tokens(tokens)) => Some(Effort::of_tokens(tokens).name()),
        };
        effort.iter().for_each(|word| budget::tell(self.call, Said::Effort(word), self.lost));
        let shown = reasoning.shown == Some(true);
        if effort.is_some() || shown {
            body.object("reasoning", |object| {
                if let Some(effort) = effort {
                    object.str("effort", effort);
                }
                if shown {
                    object.str("summary", "auto");
                }
            });
        }
    }

    fn include(&mut self, body: &mut Object<'_>) {
        let likely = self.call.params.get(Param::Logprobs).is_some_and(|wanted| wanted.raw() == b"true");
        if !self.to.reasoning && !likely {
            return;
        }
        body.array("include", |list| {
            if self.to.reasoning {
                list.raw("\"reasoning.encrypted_content\"");
            }
            if likely {
                list.raw("\"message.output_text.logprobs\"");
            }
        });
    }

    fn lose(&mut self, thing: &'static str) {
        Lost::Thing(thing).tell(self.lost);
    }
}

pub fn write_tool_choice(choice: &ToolChoice<'_>, body: &mut Object<'_>) {
    match choice {
        ToolChoice::Auto => body.str("tool_choice", "auto"),
        ToolChoice::None => body.str("tool_choice", "none"),
        ToolChoice::Required => body.str("tool_choice", "required"),
        ToolChoice::Named(name) => body.object("tool_choice", |object| {
            object.str("type", "function").text("name", name);
        }),
        ToolChoice::Among { names, required } => body.object("tool_choice", |object| {
            object.str("type", "allowed_tools").str("mode", if *required { "required" } else { "auto" });
            object.array("tools", |list| {
                for name in names {
                    list.object(|tool| {
                        tool.str("type", "function").text("name", name);
                    });
                }
            });
        }),
    };
}

pub fn write_format(format: Option<&Format<'_>>, text: &mut Object<'_>) {
    match format {
        None => {}
        Some(Format::Text) => {
            text.raw("format", br#"{"type":"text"}"#);
        }
        Some(Format::Json) => {
            text.raw("format", br#"{"type":"json_object"}"#);
        }
        Some(Format::Schema { name, description, schema, strict }) => {
            text.object("format", |object| {
                object.str("type", "json_schema");
                match name {
                    Some(name) => object.text("name", name),
                    None => object.str("name", "answer"),
                };
                if let Some(description) = description {
                    object.text("description", description);
                }
                object.json("schema", schema).bool("strict", *strict == Some(true));
            });
        }
    }
}

fn input_text(text: &Text<'_>, list: &mut Array<'_>) {
    list.object(|part| {
        part.str("type", "input_text").text("text", text);
    });
}

fn message(role: &str, content: &[u8], items: &mut Array<'_>) {
    if content != b"[]" {
        items.object(|item| {
            item.str("type", "message").str("role", role).raw("content", content);
        });
    }
}

fn part_begins(said: &mut Vec<u8>) {
    said.push(if said.is_empty() { b'[' } else { b',' });
}

/// What the model said up to here is a message of its own.
fn flush(said: &mut Vec<u8>, items: &mut Array<'_>) {
    if !said.is_empty() {
        said.push(b']');
        message("assistant", said, items);
        said.clear();
    }
}

fn write_data(out: &mut Vec<u8>, mime: &Text<'_>, base64: &Text<'_>) {
    out.push(b'"');
    data_url(mime, base64, out);
    out.push(b'"');
}
