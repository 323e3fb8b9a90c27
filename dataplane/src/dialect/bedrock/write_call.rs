//! A call for a vendor that speaks Converse.

use std::collections::HashSet;

use base64::Engine;

use super::{PARAMS, media};
use crate::dialect::budget::{self, Plan, Said, Thoughts};
use crate::dialect::call::{
    CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Proof, Role, Source, Tongue, Tool, ToolCall,
    ToolChoice, ToolResult, What,
};
use crate::dialect::compose::{Array, Object, quoted};
use crate::dialect::hints::Hint;
use crate::dialect::speech::{Lost, Recipient};
use crate::dialect::text::Text;
use crate::dialect::turns::{self, NOTHING_SAID};
use crate::wire::json;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    let turns = turns::conversation(call, Tongue::Converse);
    let plan = budget::plan(call, to, &turns, Tongue::Converse, lost);
    let maker = Maker::of(to.model, &plan);
    let hints = if maker == Maker::Anthropic { turns::HINTS } else { HINTS };
    turns::lose(PARAMS, hints, Tongue::Converse, call, lost);
    let mut writer = Writer { call, lost, names: HashSet::new(), maker };
    Object::write(out, |body| {
        if !turns.is_empty() {
            writer.system(body);
        }
        body.array("messages", |messages| writer.messages(&turns, messages));
        writer.inference(&plan, body);
        writer.tools(body);
        writer.additional(&plan, body);
        writer.output(body);
        writer.outer_params(body);
    });
}

const HINTS: &[Hint] = &[
    Hint::CacheMarks,
    Hint::FileNames,
    Hint::SchemaName,
    Hint::SchemaDescription,
    // Shown when they are there.
    Hint::ThoughtsShown,
];

/// Who made the model decides what its own fields are called: Converse has one word for most things, not for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maker {
    Anthropic,
    Amazon,
    Other,
}

impl Maker {
    fn of(model: &str, plan: &Plan) -> Self {
        // `us.anthropic.claude-…`: perhaps where it may run, then who made it.
        let maker = model.split('.').find(|part| !REGIONS.contains(part)).filter(|_| model.contains('.'));
        match maker {
            _ if model.contains("anthropic") || model.contains("claude") => Self::Anthropic,
            Some("amazon") => Self::Amazon,
            Some(maker) if maker.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Self::Other,
            // A profile's ARN, or a name of the operator's own. Only Anthropic's models are told a budget.
            _ if matches!(plan.thoughts, Thoughts::Budget(_)) => Self::Anthropic,
            _ => Self::Other,
        }
    }
}

const REGIONS: &[&str] = &["us", "eu", "apac", "jp", "au", "ca", "global", "us-gov"];

struct Writer<'w> {
    call: &'w Call<'w>,
    lost: &'w mut Vec<Lost>,
    /// Of the documents so far: each must have its own.
    names: HashSet<String>,
    maker: Maker,
}

impl Writer<'_> {
    fn lose(&mut self, thing: &'static str) {
        turns::lose_thing(thing, self.lost);
    }

    fn system(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        if call.instructions().next().is_none() {
            return;
        }
        let mut inside = Vec::new();
        Array::write(&mut inside, |list| call.instructions().for_each(|part| self.instruction(part, list)));
        if inside != b"[]" {
            body.raw("system", inside);
        }
    }

    fn instruction(&mut self, part: &Part<'_>, list: &mut Array<'_>) {
        match &part.what {
            What::Text(text) if turns::is_blank(text) => {}
            What::Text(text) => {
                text_block(text, list);
                mark(part.cache, list);
            }
            _ => self.lose("anything but text in instructions"),
        }
    }

    fn messages(&mut self, turns: &[(Role, Vec<&Part<'_>>)], messages: &mut Array<'_>) {
        let call = self.call;
        if turns.is_empty() {
            // Instructions alone are what the user says.
            message("user", messages, |list| call.instructions().for_each(|part| self.instruction(part, list)));
            return;
        }
        if turns.first().is_some_and(|(role, _)| *role == Role::Assistant) {
            message("user", messages, |_| {});
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
        let (mut document, mut words) = (false, false);
        for part in parts {
            match &part.what {
                What::Text(text) | What::Refusal(text) => {
                    words = true;
                    text_block(text, list);
                }
                What::Media(media) => document |= self.media(media, list) && media.kind == MediaKind::Document,
                What::ToolResult(result) => self.result(result, list),
                What::Reasoning(_) | What::ToolCall(_) => self.lose("thoughts and calls among what the user said"),
            }
            mark(part.cache, list);
        }
        // A document without a word beside it is refused.
        if document && !words {
            text_block(&Text::of_plain(NOTHING_SAID), list);
        }
    }

    fn assistant(&mut self, parts: &[&Part<'_>], is_last: bool, list: &mut Array<'_>) {
        for (place, part) in parts.iter().enumerate() {
            match &part.what {
                // What the model is to go on with may not end in space.
                What::Text(text) | What::Refusal(text) if is_last && place + 1 == parts.len() => {
                    text_block(&turns::begun(text, self.lost), list);
                }
                What::Text(text) | What::Refusal(text) => text_block(text, list),
                What::Reasoning(thought) => {
                    thought.proof.iter().for_each(|proof| thought_block(&thought.text, proof, list));
                    continue;
                }
                What::ToolCall(call) => tool_use(call, list),
                What::Media(_) => self.lose("images and files among what the model said"),
                What::ToolResult(_) => self.lose("tool results among what the model said"),
            }
            mark(part.cache, list);
        }
    }

    fn result(&mut self, result: &ToolResult<'_>, list: &mut Array<'_>) {
        list.object(|block| {
            block.object("toolResult", |object| {
                quoted(object.member("toolUseId"), &turns::id(&result.id));
                object.array("content", |list| {
                    for part in &result.content {
                        match &part.what {
                            What::Text(text) if turns::is_blank(text) => {}
                            What::Text(text) => text_block(text, list),
                            What::Media(media) => _ = self.media(media, list),
                            _ => self.lose("thoughts and calls within tool results"),
                        }
                    }
                    // A result that says nothing must say so.
                    if list.is_empty() {
                        list.raw("{\"json\":{}}");
                    }
                });
                if result.failed {
                    object.str("status", "error");
                }
            });
        });
    }

    /// Whether it could be said.
    fn media(&mut self, media: &Media<'_>, list: &mut Array<'_>) -> bool {
        let Some((format, source)) = self.source(media) else { return false };
        let key = match media.kind {
            MediaKind::Image => "image",
            MediaKind::Document => "document",
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        let name = (media.kind == MediaKind::Document).then(|| self.document_name(media.name.as_ref()));
        list.object(|block| {
            block.object(key, |object| {
                object.str("format", format);
                name.iter().for_each(|name| _ = object.str("name", name));
                object.raw("source", source);
            });
        });
        true
    }

    /// The format, and where the bytes are.
    fn source(&mut self, media: &Media<'_>) -> Option<(&'static str, Vec<u8>)> {
        let kind = media.kind;
        let mut out = Vec::new();
        let format = match &media.source {
            Source::Data { mime, base64 } => {
                let Some(format) = media::format(kind, &mime.plain()) else {
                    self.lose("images, files and sounds of this format");
                    return None;
                };
                Object::write(&mut out, |source| _ = source.text("bytes", base64));
                format
            }
            Source::Url { url, mime } if url.raw().starts_with(b"s3:") => {
                let said = mime.as_ref().and_then(|mime| media::format(kind, &mime.plain()));
                let path = url.plain();
                let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
                let ending = if ending == "jpg" { "jpeg" } else { &ending };
                let known = media::mime(kind, ending).and_then(|mime| media::format(kind, mime));
                let Some(format) = said.or(known) else {
                    self.lose("images and files of no known format");
                    return None;
                };
                Object::write(&mut out, |source| {
                    source.object("s3Location", |location| _ = location.text("uri", url));
                });
                format
            }
            Source::Url { .. } => {
                self.lose("images and files by URL");
                return None;
            }
            Source::Id(_) => {
                self.lose("files that another vendor keeps");
                return None;
            }
            Source::Text(text) => {
                let base64 = base64::engine::general_purpose::STANDARD.encode(text.plain().as_bytes());
                Object::write(&mut out, |source| _ = source.str("bytes", &base64));
                "txt"
            }
        };
        Some((format, out))
    }

    /// Letters, digits, single spaces, hyphens and brackets; and no two alike.
    fn document_name(&mut self, given: Option<&Text<'_>>) -> String {
        let given = given.map(Text::plain).unwrap_or_default();
        let stem = given.rsplit_once('.').map_or(&*given, |(stem, _)| stem);
        let mut name = String::with_capacity(stem.len());
        for letter in stem.chars().take(NAME_LETTERS_MAX) {
            let legal = letter.is_ascii_alphanumeric() || "-()[]".contains(letter);
            match letter {
                letter if legal => name.push(letter),
                _ if name.ends_with(' ') || name.is_empty() => {}
                _ => name.push(' '),
            }
        }
        let name = Some(name.trim_end()).filter(|name| !name.is_empty()).unwrap_or("document");
        let mut own = name.to_owned();
        let mut number = 1;
        while !self.names.insert(own.clone()) {
            number += 1;
            own = format!("{name} {number}");
        }
        own
    }

    fn inference(&mut self, plan: &Plan, body: &mut Object<'_>) {
        let call = self.call;
        let mut inside = Vec::new();
        let mut config = Object::open(&mut inside);
        // Who names no limit gets the model's own, but for thoughts, which need one that is larger.
        let said = call.tokens_max.is_some() || matches!(plan.thoughts, Thoughts::Budget(_));
        if let Some(most) = plan.tokens_max.filter(|_| said) {
            config.number("maxTokens", most);
        }
        for param in [Param::Temperature, Param::TopP] {
            let Some(value) = call.params.get(param) else { continue };
            let name = if param == Param::TopP { "topP" } else { "temperature" };
            match turns::sampled(param, value.raw(), plan.thinks() && self.maker == Maker::Anthropic) {
                Ok(value) => _ = config.raw(name, value),
                Err(None) => {}
                Err(Some(lost)) => self.lost.push(lost),
            }
            if turns::is_too_warm(param, value.raw()) {
                self.lose("a temperature above 1");
            }
        }
        let mut stops = call.stop.iter().filter(|stop| !turns::is_blank(stop)).peekable();
        if stops.peek().is_some() {
            config.array("stopSequences", |list| stops.for_each(|stop| _ = list.text(stop)));
        }
        let empty = config.is_empty();
        config.close();
        if !empty {
            body.raw("inferenceConfig", inside);
        }
    }

    fn tools(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        let called = turns::called_names(call);
        let results =
            call.turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part.what, What::ToolResult(_)));
        let has_history = !called.is_empty() || results;
        let none = call.tool_choice == Some(ToolChoice::None);
        let offered = if none && !has_history { Vec::new() } else { turns::offered(call) };
        if none && has_history && !offered.is_empty() {
            // They must be told, and there is no word for leaving them alone.
            self.lose("a prohibition of tools that were called before");
        }
        if offered.is_empty() && called.is_empty() {
            return;
        }
        if call.parallel_tools == Some(false) && !offered.is_empty() {
            self.lose("one tool call at a time");
        }
        body.object("toolConfig", |config| {
            config.array("tools", |list| {
                offered.iter().for_each(|tool| tool_spec(tool, list));
                if offered.is_empty() {
                    // Nobody offers them any more; their names are all that is known.
                    for name in &called {
                        list.object(|tool| {
                            tool.object("toolSpec", |spec| {
                                spec.text("name", name);
                                spec.object("inputSchema", |schema| _ = schema.raw("json", turns::NO_ARGUMENTS));
                            });
                        });
                    }
                }
            });
            match &call.tool_choice {
                _ if offered.is_empty() => {}
                None | Some(ToolChoice::None | ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => {}
                Some(ToolChoice::Required | ToolChoice::Among { required: true, .. }) => {
                    config.raw("toolChoice", "{\"any\":{}}");
                }
                Some(ToolChoice::Named(name)) => {
                    config.object("toolChoice", |choice| {
                        choice.object("tool", |tool| _ = tool.text("name", name));
                    });
                }
            }
        });
    }

    /// What only the model's maker has a word for.
    fn additional(&mut self, plan: &Plan, body: &mut Object<'_>) {
        let mut inside = Vec::new();
        let mut fields = Object::open(&mut inside);
        self.thinking(plan, &mut fields);
        if let Some(top) = self.call.params.get(Param::TopK) {
            match self.maker {
                Maker::Anthropic if plan.thinks() => self.lost.push(Lost::Param(Param::TopK)),
                Maker::Amazon => {
                    fields.object("inferenceConfig", |config| _ = config.json("topK", top));
                }
                Maker::Anthropic | Maker::Other => _ = fields.json("top_k", top),
            }
        }
        let empty = fields.is_empty();
        fields.close();
        if !empty {
            body.raw("additionalModelRequestFields", inside);
        }
    }

    fn thinking(&mut self, plan: &Plan, fields: &mut Object<'_>) {
        let shown = self.call.reasoning.and_then(|reasoning| reasoning.shown);
        let effort = plan.effort.map(|effort| effort.max(Effort::Low));
        match self.maker {
            Maker::Anthropic => {
                budget::tell_plan(self.call, plan, effort.map(Effort::name), self.lost);
                if plan.thoughts != Thoughts::Unsaid {
                    fields.object("thinking", |thinking| budget::write(plan.thoughts, shown, thinking));
                }
                if let Some(effort) = effort {
                    fields.object("output_config", |config| _ = config.str("effort", effort.name()));
                }
            }
            Maker::Amazon => {
                let effort = match plan.thoughts {
                    Thoughts::Budget(tokens) => Some(Effort::of_tokens(tokens)),
                    Thoughts::Adaptive => Some(effort.unwrap_or(Effort::Medium)),
                    Thoughts::Unsaid | Thoughts::Off => return,
                };
                let word = effort.map(three);
                word.iter().for_each(|word| budget::tell(self.call, Said::Effort(word), self.lost));
                fields.object("reasoningConfig", |config| {
                    config.str("type", "enabled");
                    word.iter().for_each(|word| _ = config.str("maxReasoningEffort", word));
                });
            }
            Maker::Other => {
                let effort = match plan.thoughts {
                    Thoughts::Budget(tokens) => Some(Effort::of_tokens(tokens)),
                    _ => effort,
                };
                if let Some(word) = effort.map(three) {
                    budget::tell(self.call, Said::Effort(word), self.lost);
                    fields.str("reasoning_effort", word);
                }
            }
        }
    }

    fn output(&mut self, body: &mut Object<'_>) {
        match &self.call.format {
            None | Some(Format::Text) => {}
            Some(Format::Json) => self.lose("JSON without a schema"),
            Some(Format::Schema { name, description, schema, .. }) => {
                body.object("outputConfig", |config| {
                    config.object("textFormat", |format| {
                        format.str("type", "json_schema");
                        format.object("structure", |structure| {
                            structure.object("jsonSchema", |inside| {
                                inside.json_in_string("schema", schema.raw());
                                name.iter().for_each(|name| _ = inside.text("name", name));
                                description.iter().for_each(|text| _ = inside.text("description", text));
                            });
                        });
                    });
                });
            }
        }
    }

    fn outer_params(&mut self, body: &mut Object<'_>) {
        if let Some(metadata) = self.call.params.get(Param::Metadata) {
            let texts = metadata.raw().starts_with(b"{")
                && json::members(metadata.raw()).all(|(_, value)| value.starts_with(b"\""));
            match texts {
                true if json::members(metadata.raw()).next().is_none() => {}
                true => _ = body.json("requestMetadata", metadata),
                false => self.lost.push(Lost::Param(Param::Metadata)),
            }
        }
        if let Some(tier) = self.call.params.get(Param::ServiceTier) {
            match tier.raw() {
                // What is served when nothing is said.
                b"\"auto\"" | b"\"default\"" | b"\"standard\"" | b"\"standard_only\"" => {}
                b"\"flex\"" | b"\"priority\"" | b"\"reserved\"" => {
                    body.object("serviceTier", |told| _ = told.json("type", tier));
                }
                _ => self.lost.push(Lost::Param(Param::ServiceTier)),
            }
        }
    }
}

const NAME_LETTERS_MAX: usize = 180;

/// Words that all of these models know.
fn three(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

fn message(role: &str, messages: &mut Array<'_>, fill: impl FnOnce(&mut Array<'_>)) {
    messages.object(|message| {
        message.str("role", role).array("content", |list| {
            fill(list);
            // What could not be said is told as lost; a turn without anything is refused before that.
            if list.is_empty() {
                text_block(&Text::of_plain(NOTHING_SAID), list);
            }
        });
    });
}

fn text_block(text: &Text<'_>, list: &mut Array<'_>) {
    list.object(|block| _ = block.text("text", text));
}

fn thought_block(text: &Text<'_>, proof: &Proof<'_>, list: &mut Array<'_>) {
    list.object(|block| {
        block.object("reasoningContent", |thought| {
            if proof.sealed {
                thought.text("redactedContent", &proof.data);
            } else {
                thought.object("reasoningText", |inside| {
                    inside.text("text", text).text("signature", &proof.data);
                });
            }
        });
    });
}

fn tool_use(call: &ToolCall<'_>, list: &mut Array<'_>) {
    list.object(|block| {
        block.object("toolUse", |object| {
            quoted(object.member("toolUseId"), &turns::id(&call.id));
            object.text("name", &call.name);
            turns::arguments(&call.arguments, object.member("input"));
        });
    });
}

fn tool_spec(tool: &Tool<'_>, list: &mut Array<'_>) {
    list.object(|object| {
        object.object("toolSpec", |spec| {
            spec.text("name", &tool.name);
            // An empty one is refused.
            let description = tool.description.as_ref().filter(|text| !turns::is_blank(text));
            description.iter().for_each(|text| _ = spec.text("description", text));
            spec.object("inputSchema", |schema| match &tool.schema {
                Some(given) => turns::object_schema(given.raw(), schema.member("json")),
                None => _ = schema.raw("json", turns::NO_ARGUMENTS),
            });
            if tool.strict == Some(true) {
                spec.bool("strict", true);
            }
        });
    });
    mark(tool.cache, list);
}

/// Marks stand behind what they mark, as blocks of their own.
fn mark(cache: Option<CacheMark>, list: &mut Array<'_>) {
    match cache {
        None => {}
        Some(CacheMark::FiveMinutes) => _ = list.raw("{\"cachePoint\":{\"type\":\"default\"}}"),
        Some(CacheMark::OneHour) => _ = list.raw("{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}"),
    }
}
