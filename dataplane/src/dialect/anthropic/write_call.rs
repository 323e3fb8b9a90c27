//! A call for a vendor that speaks Messages.

use base64::Engine;

use super::PARAMS;
use crate::dialect::budget::{self, Plan, Thoughts};
use crate::dialect::call::{
    CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Role, Source, Tongue, Tool, ToolCall,
    ToolChoice, ToolResult, What,
};
use crate::dialect::compose::{Array, Object, quoted};
use crate::dialect::speech::{Lost, Recipient};
use crate::dialect::text::Text;
use crate::dialect::turns::{self, NOTHING_SAID};

/// Every call must name a limit. Who names none to a model without one in the catalog gets what all models of this
/// language give.
const TOKENS_MAX: u64 = 4_096;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    let turns = turns::conversation(call, Tongue::Messages);
    let plan = budget::plan(call, to, &turns, Tongue::Messages, lost);
    let mut writer = Writer { call, lost };
    turns::lose(PARAMS, turns::HINTS, Tongue::Messages, call, writer.lost);
    Object::write(out, |body| {
        body.str("model", to.model);
        body.number("max_tokens", plan.tokens_max.unwrap_or(TOKENS_MAX));
        let spoken = !turns.is_empty();
        if spoken {
            writer.system(body);
        }
        body.array("messages", |messages| writer.messages(&turns, messages));
        writer.tools(body);
        writer.thinking(&plan, body);
        writer.output(&plan, body);
        if !call.stop.is_empty() {
            body.array("stop_sequences", |list| {
                // Blank ones are refused.
                call.stop.iter().filter(|stop| !turns::is_blank(stop)).for_each(|stop| _ = list.text(stop));
            });
        }
        writer.single_values(&plan, body);
        if call.stream {
            body.bool("stream", true);
        }
    });
}

struct Writer<'w> {
    call: &'w Call<'w>,
    lost: &'w mut Vec<Lost>,
}

impl Writer<'_> {
    fn lose(&mut self, thing: &'static str) {
        turns::lose_thing(thing, self.lost);
    }

    fn system(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        let said = |part: &&Part<'_>| !matches!(&part.what, What::Text(text) if turns::is_blank(text));
        let parts: Vec<&Part<'_>> = call.instructions().filter(said).collect();
        match &parts[..] {
            [] => {}
            [Part { what: What::Text(text), cache: None }] => _ = body.text("system", text),
            parts => {
                body.array("system", |list| parts.iter().for_each(|part| self.instruction(part, list)));
            }
        }
    }

    fn instruction(&mut self, part: &Part<'_>, list: &mut Array<'_>) {
        match &part.what {
            What::Text(text) => text_block(text, part.cache, list),
            _ => self.lose("anything but text in instructions"),
        }
    }

    fn messages(&mut self, turns: &[(Role, Vec<&Part<'_>>)], messages: &mut Array<'_>) {
        let call = self.call;
        if turns.is_empty() {
            // Instructions alone are what the user says.
            message("user", messages, |list| {
                call.instructions().for_each(|part| self.instruction(part, list));
                if list.is_empty() {
                    text_block(&Text::of_plain(NOTHING_SAID), None, list);
                }
            });
            return;
        }
        if turns.first().is_some_and(|(role, _)| *role == Role::Assistant) {
            message("user", messages, |list| text_block(&Text::of_plain(NOTHING_SAID), None, list));
        }
        let last = turns.len() - 1;
        for (place, (role, parts)) in turns.iter().enumerate() {
            match role {
                Role::Assistant => message("assistant", messages, |list| self.assistant(parts, place == last, list)),
                Role::User | Role::System => message("user", messages, |list| self.user(parts, list)),
            }
        }
    }

    fn user(&mut self, parts: &[&Part<'_>], list: &mut Array<'_>) {
        for part in parts {
            match &part.what {
                What::Text(text) | What::Refusal(text) => text_block(text, part.cache, list),
                What::Media(media) => self.media(media, part.cache, list),
                What::ToolResult(result) => self.result(result, part.cache, list),
                What::Reasoning(_) | What::ToolCall(_) => self.lose("thoughts and calls among what the user said"),
            }
        }
    }

    fn assistant(&mut self, parts: &[&Part<'_>], is_last: bool, list: &mut Array<'_>) {
        for (place, part) in parts.iter().enumerate() {
            match &part.what {
                // What the model is to go on with may not end in space.
                What::Text(text) | What::Refusal(text) if is_last && place + 1 == parts.len() => {
                    text_block(&turns::begun(text, self.lost), part.cache, list);
                }
                What::Text(text) | What::Refusal(text) => text_block(text, part.cache, list),
                What::Reasoning(thought) => {
                    thought.proof.iter().for_each(|proof| thought_block(&thought.text, proof, list));
                }
                What::ToolCall(call) => tool_use(call, part.cache, list),
                What::Media(_) => self.lose("images and files among what the model said"),
                What::ToolResult(_) => self.lose("tool results among what the model said"),
            }
        }
    }

    fn result(&mut self, result: &ToolResult<'_>, cache: Option<CacheMark>, list: &mut Array<'_>) {
        list.object(|block| {
            block.str("type", "tool_result");
            quoted(block.member("tool_use_id"), &turns::id(&result.id));
            match &result.content[..] {
                [] => {}
                [Part { what: What::Text(text), .. }] => _ = block.text("content", text),
                parts => {
                    block.array("content", |list| {
                        for part in parts {
                            match &part.what {
                                What::Text(text) if turns::is_blank(text) => {}
                                What::Text(text) => text_block(text, None, list),
                                What::Media(media) => self.media(media, None, list),
                                _ => self.lose("thoughts and calls within tool results"),
                            }
                        }
                    });
                }
            }
            if result.failed {
                block.bool("is_error", true);
            }
            mark(cache, block);
        });
    }

    fn media(&mut self, media: &Media<'_>, cache: Option<CacheMark>, list: &mut Array<'_>) {
        let mut source = Vec::new();
        let written = match media.kind {
            MediaKind::Image => self.image(&media.source, &mut source),
            MediaKind::Document => self.document(&media.source, &mut source),
            MediaKind::Audio => self.none("sounds"),
            MediaKind::Video => self.none("videos"),
        };
        if written.is_none() {
            return;
        }
        list.object(|block| {
            let is_image = media.kind == MediaKind::Image;
            block.str("type", if is_image { "image" } else { "document" }).raw("source", source);
            if let Some(name) = media.name.as_ref().filter(|name| !is_image && !name.is_empty()) {
                block.text("title", name);
            }
            mark(cache, block);
        });
    }

    fn none(&mut self, thing: &'static str) -> Option<()> {
        self.lose(thing);
        None
    }

    fn image(&mut self, source: &Source<'_>, out: &mut Vec<u8>) -> Option<()> {
        match source {
            Source::Data { mime, base64 } => {
                let mime = if mime.raw() == b"image/jpg" { b"image/jpeg" } else { mime.raw() };
                data(mime, base64.raw(), out);
            }
            Source::Url { url, .. } => Object::write(out, |source| _ = source.str("type", "url").text("url", url)),
            Source::Id(_) => return self.none("files that another vendor keeps"),
            Source::Text(_) => return self.none("images that are text"),
        }
        Some(())
    }

    fn document(&mut self, source: &Source<'_>, out: &mut Vec<u8>) -> Option<()> {
        match source {
            Source::Data { mime, base64 } if mime.raw() == b"application/pdf" => data(mime.raw(), base64.raw(), out),
            Source::Data { mime, base64 } if mime.raw().starts_with(b"text/") => {
                let plain = base64::engine::general_purpose::STANDARD.decode(base64.plain().as_bytes());
                let Some(plain) = plain.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
                    return self.none("text documents that are not UTF-8");
                };
                text_source(&Text::of_plain(&plain), out);
            }
            Source::Data { .. } => return self.none("documents but PDF and text"),
            Source::Url { url, .. } => Object::write(out, |source| _ = source.str("type", "url").text("url", url)),
            Source::Text(text) => text_source(text, out),
            Source::Id(_) => return self.none("files that another vendor keeps"),
        }
        Some(())
    }

    fn tools(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        let offered = turns::offered(call);
        let called = if offered.is_empty() { turns::called_names(call) } else { Vec::new() };
        if !offered.is_empty() {
            body.array("tools", |list| offered.iter().for_each(|tool| write_tool(tool, list)));
        } else if !called.is_empty() {
            // Nobody offers them any more; their names are all that is known.
            body.array("tools", |list| {
                for name in called {
                    list.object(|tool| _ = tool.text("name", name).raw("input_schema", turns::NO_ARGUMENTS));
                }
            });
        }
        let single = call.parallel_tools == Some(false) && !offered.is_empty();
        let (kind, name) = match &call.tool_choice {
            None if single => ("auto", None),
            None => return,
            Some(ToolChoice::Auto | ToolChoice::None) if offered.is_empty() => return,
            Some(ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => ("auto", None),
            Some(ToolChoice::None) => ("none", None),
            Some(ToolChoice::Required | ToolChoice::Among { required: true, .. }) => ("any", None),
            Some(ToolChoice::Named(name)) => ("tool", Some(name)),
        };
        body.object("tool_choice", |choice| {
            choice.str("type", kind);
            name.iter().for_each(|name| _ = choice.text("name", name));
            if single && kind != "none" {
                choice.bool("disable_parallel_tool_use", true);
            }
        });
    }

    fn thinking(&mut self, plan: &Plan, body: &mut Object<'_>) {
        let shown = self.call.reasoning.and_then(|reasoning| reasoning.shown);
        if plan.thoughts == Thoughts::Unsaid {
            return;
        }
        body.object("thinking", |thinking| budget::write(plan.thoughts, shown, thinking));
    }

    fn output(&mut self, plan: &Plan, body: &mut Object<'_>) {
        let call = self.call;
        if call.format == Some(Format::Json) {
            self.lose("JSON without a schema");
        }
        let schema = match &call.format {
            Some(Format::Schema { name, schema, description, .. }) => Some((schema, name, description)),
            _ => None,
        };
        let effort = plan.effort.map(|effort| effort.max(Effort::Low).name());
        budget::tell_plan(call, plan, effort, self.lost);
        if effort.is_none() && schema.is_none() {
            return;
        }
        body.object("output_config", |config| {
            if let Some(effort) = effort {
                config.str("effort", effort);
            }
            if let Some((schema, name, description)) = schema {
                config.object("format", |format| {
                    format.str("type", "json_schema");
                    let out = format.member("schema");
                    turns::described(schema.raw(), name.as_ref(), description.as_ref(), self.lost, out);
                });
            }
        });
    }

    fn single_values(&mut self, plan: &Plan, body: &mut Object<'_>) {
        for (param, path) in PARAMS {
            let Some(value) = self.call.params.get(*param) else { continue };
            let raw = value.raw();
            match param {
                Param::Temperature | Param::TopP | Param::TopK => {
                    match turns::sampled(*param, raw, plan.thinks()) {
                        Ok(value) => _ = body.raw(path, value),
                        Err(None) => {}
                        Err(Some(lost)) => self.lost.push(lost),
                    }
                    if turns::is_too_warm(*param, raw) {
                        self.lose("a temperature above 1");
                    }
                }
                Param::User => {
                    body.object("metadata", |metadata| _ = metadata.json("user_id", value));
                }
                Param::ServiceTier => match raw {
                    // What is prior where some of that was bought.
                    b"\"auto\"" | b"\"priority\"" => _ = body.str(path, "auto"),
                    b"\"default\"" | b"\"standard\"" | b"\"standard_only\"" => _ = body.str(path, "standard_only"),
                    _ => self.lost.push(Lost::Param(*param)),
                },
                _ => _ = body.json(path, value),
            }
        }
    }
}

fn message(role: &str, messages: &mut Array<'_>, fill: impl FnOnce(&mut Array<'_>)) {
    messages.object(|message| {
        message.str("role", role).array("content", |list| {
            fill(list);
            // What could not be said is told as lost; a turn without anything is refused before that.
            if list.is_empty() {
                text_block(&Text::of_plain(NOTHING_SAID), None, list);
            }
        });
    });
}

fn text_block(text: &Text<'_>, cache: Option<CacheMark>, list: &mut Array<'_>) {
    list.object(|block| {
        block.str("type", "text").text("text", text);
        mark(cache, block);
    });
}

fn thought_block(text: &Text<'_>, proof: &Proof<'_>, list: &mut Array<'_>) {
    list.object(|block| {
        if proof.sealed {
            block.str("type", "redacted_thinking").text("data", &proof.data);
        } else {
            block.str("type", "thinking").text("thinking", text).text("signature", &proof.data);
        }
    });
}

fn tool_use(call: &ToolCall<'_>, cache: Option<CacheMark>, list: &mut Array<'_>) {
    list.object(|block| {
        block.str("type", "tool_use");
        quoted(block.member("id"), &turns::id(&call.id));
        block.text("name", &call.name);
        turns::arguments(&call.arguments, block.member("input"));
        mark(cache, block);
    });
}

fn mark(cache: Option<CacheMark>, block: &mut Object<'_>) {
    match cache {
        None => {}
        Some(CacheMark::FiveMinutes) => _ = block.raw("cache_control", "{\"type\":\"ephemeral\"}"),
        Some(CacheMark::OneHour) => _ = block.raw("cache_control", "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"),
    }
}

fn data(mime: &[u8], base64: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |source| {
        source.str("type", "base64");
        source.text("media_type", &Text::of_raw(mime)).text("data", &Text::of_raw(base64));
    });
}

fn text_source(text: &Text<'_>, out: &mut Vec<u8>) {
    Object::write(out, |source| _ = source.str("type", "text").str("media_type", "text/plain").text("data", text));
}

fn write_tool(tool: &Tool<'_>, list: &mut Array<'_>) {
    list.object(|object| {
        object.text("name", &tool.name);
        tool.description.iter().for_each(|text| _ = object.text("description", text));
        match &tool.schema {
            Some(schema) => turns::object_schema(schema.raw(), object.member("input_schema")),
            None => _ = object.raw("input_schema", turns::NO_ARGUMENTS),
        }
        if tool.strict == Some(true) {
            object.bool("strict", true);
        }
        mark(tool.cache, object);
    });
}
