//! A call for a vendor that speaks Anthropic's messages.

use weir_shared::catalog::Thinking;

use super::PARAMS;
use crate::dialect::call::{
    Amount, CacheMark, Call, Effort, Format, Media, MediaKind, Param, Part, Role, Source, Tongue, ToolChoice,
    ToolResult, What,
};
use crate::dialect::compose::{Array, Object};
use crate::dialect::speech::{Lost, Recipient, lose_params};
use crate::dialect::text::Text;

/// The vendor insists on a limit. This one is given when neither the caller nor the catalog knows one.
const TOKENS_MAX_DEFAULT: u64 = 4_096;
/// Nobody who names no limit wants more at once, whatever the model could.
const TOKENS_MAX_UNASKED: u64 = 32_000;
/// The vendor refuses smaller budgets.
const BUDGET_MIN: u64 = 1_024;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    lose_params(PARAMS, call, Param::ALL, lost);
    if call.choices.is_some() {
        lost.push(Lost::Thing("several answers to one call"));
    }
    let thinking = thinking(call, to, lost);
    let most = limit(call, to, &thinking);
    Object::write(out, |body| {
        body.str("model", to.model).number("max_tokens", most);
        write_system(call, lost, body);
        body.array("messages", |messages| {
            for (role, parts) in call.conversation() {
                write_turn(role, &parts, messages, lost);
            }
        });
        write_tools(call, body);
        write_thinking(&thinking, most, body);
        write_output(call, &thinking, lost, body);
        if !call.stop.is_empty() {
            body.array("stop_sequences", |stop| call.stop.iter().for_each(|one| _ = stop.text(one)));
        }
        for (param, path) in PARAMS {
            if let Some(value) = call.params.get(*param) {
                write_param(*param, path, value.raw(), body, lost);
            }
        }
        if call.stream {
            body.bool("stream", true);
        }
    });
}

fn write_param(param: Param, path: &str, value: &[u8], body: &mut Object<'_>, lost: &mut Vec<Lost>) {
    match param {
        Param::User => {
            body.object("metadata", |metadata| _ = metadata.raw("user_id", value));
        }
        Param::ServiceTier => match value {
            b"\"default\"" | b"\"standard\"" | b"\"standard_only\"" => _ = body.str(path, "standard_only"),
            b"\"auto\"" | b"\"priority\"" => _ = body.str(path, "auto"),
            _ => lost.push(Lost::Param(param)),
        },
        // Others go up to 2; there is no warmer than 1 here.
        Param::Temperature if value.first() == Some(&b'-') => lost.push(Lost::Param(param)),
        Param::Temperature => {
            let warm = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok());
            if warm.is_some_and(|warm| warm > 1.0) {
                lost.push(Lost::Thing("a temperature above 1"));
            }
            body.raw(path, if warm.is_some_and(|warm| warm > 1.0) { b"1" } else { value });
        }
        _ => {
            body.raw(path, value);
        }
    }
}

/// What is said about thinking.
enum Said {
    Nothing,
    Off,
    Budget(u64),
    Adaptive(Option<Effort>),
}

fn thinking(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>) -> Said {
    let Some(amount) = call.reasoning.and_then(|reasoning| reasoning.amount) else { return Said::Nothing };
    if !to.reasoning {
        if !matches!(amount, Amount::Off) {
            lost.push(Lost::Thing("thinking, which this model does not do"));
        }
        return Said::Nothing;
    }
    // The vendor takes no forced tool beside thoughts; the tool is what the caller insists on.
    let forced = matches!(
        call.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Among { required: true, .. })
    );
    match (to.thinking, amount) {
        (_, Amount::Off) if to.thinking == Thinking::Effort => Said::Nothing,
        (_, Amount::Off) => Said::Off,
        _ if forced => {
            lost.push(Lost::Thing("thinking beside a forced tool"));
            Said::Nothing
        }
        (Thinking::Effort, Amount::Auto) => Said::Adaptive(None),
        (Thinking::Effort, Amount::Effort(effort)) => Said::Adaptive(Some(effort)),
        (Thinking::Effort, Amount::Tokens(tokens)) => Said::Adaptive(Some(Effort::of_tokens(tokens))),
        (Thinking::Budget, Amount::Auto) => Said::Budget(Effort::Medium.tokens()),
        (Thinking::Budget, Amount::Effort(effort)) => Said::Budget(effort.tokens()),
        (Thinking::Budget, Amount::Tokens(tokens)) => Said::Budget(tokens.max(BUDGET_MIN)),
    }
}

/// The limit counts thoughts in: what the caller wants to read comes on top of the budget.
fn limit(call: &Call<'_>, to: &Recipient<'_>, thinking: &Said) -> u64 {
    let model = if to.output_tokens_max == 0 { u64::MAX } else { to.output_tokens_max };
    let unasked = if to.output_tokens_max == 0 { TOKENS_MAX_DEFAULT } else { model.min(TOKENS_MAX_UNASKED) };
    let asked = call.tokens_max.unwrap_or(unasked);
    match thinking {
        Said::Budget(budget) if asked <= *budget => asked.saturating_add(*budget).min(model),
        _ => asked.min(model),
    }
}

fn write_thinking(thinking: &Said, most: u64, body: &mut Object<'_>) {
    match thinking {
        Said::Nothing => {}
        Said::Off => _ = body.raw("thinking", "{\"type\":\"disabled\"}"),
        Said::Adaptive(_) => _ = body.raw("thinking", "{\"type\":\"adaptive\"}"),
        // A budget must leave room for words; without room for a budget there is none.
        Said::Budget(_) if most <= BUDGET_MIN => {}
        Said::Budget(budget) => {
            body.object("thinking", |thinking| {
                thinking.str("type", "enabled").number("budget_tokens", (*budget).min(most - 1));
            });
        }
    }
}

fn write_output(call: &Call<'_>, thinking: &Said, lost: &mut Vec<Lost>, body: &mut Object<'_>) {
    let effort = match thinking {
        Said::Adaptive(effort) => *effort,
        _ => None,
    };
    let schema = match &call.format {
        Some(Format::Schema { schema, .. }) => Some(schema),
        Some(Format::Json) => {
            lost.push(Lost::Thing("JSON without a schema"));
            None
        }
        None | Some(Format::Text) => None,
    };
    if effort.is_none() && schema.is_none() {
        return;
    }
    body.object("output_config", |config| {
        if let Some(effort) = effort {
            config.str("effort", spoken(effort));
        }
        if let Some(schema) = schema {
            config.object("format", |format| _ = format.str("type", "json_schema").json("schema", schema));
        }
    });
}

fn spoken(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal => "low",
        other => other.name(),
    }
}

fn write_system(call: &Call<'_>, lost: &mut Vec<Lost>, body: &mut Object<'_>) {
    let mut texts = Vec::new();
    for part in call.instructions() {
        match &part.what {
            What::Text(text) if !text.is_empty() => texts.push((text, part.cache)),
            What::Text(_) => {}
            _ => lost.push(Lost::Thing("instructions that are no text")),
        }
    }
    match &texts[..] {
        [] => {}
        [(text, None)] => _ = body.text("system", text),
        many => {
            body.array("system", |system| {
                for (text, cache) in many {
                    system.object(|block| {
                        block.str("type", "text").text("text", text);
                        write_cache(*cache, block);
                    });
                }
            });
        }
    }
}

fn write_cache(cache: Option<CacheMark>, block: &mut Object<'_>) {
    match cache {
        None => {}
        Some(CacheMark::FiveMinutes) => _ = block.raw("cache_control", "{\"type\":\"ephemeral\"}"),
        Some(CacheMark::OneHour) => _ = block.raw("cache_control", "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"),
    }
}

fn write_turn(role: Role, parts: &[&Part<'_>], messages: &mut Array<'_>, lost: &mut Vec<Lost>) {
    // Results come first in their turn: the vendor looks for them right behind the calls.
    let is_result = |part: &&&Part<'_>| matches!(part.what, What::ToolResult(_));
    let mut blocks = Vec::new();
    let mut empty = true;
    Array::write(&mut blocks, |list| {
        for part in parts.iter().filter(is_result).chain(parts.iter().filter(|part| !is_result(part))) {
            write_part(role, part, list, lost);
        }
        empty = list.is_empty();
    });
    if empty {
        return;
    }
    messages.object(|message| {
        message.str("role", if role == Role::Assistant { "assistant" } else { "user" });
        message.raw("content", &blocks);
    });
}

fn write_part(role: Role, part: &Part<'_>, list: &mut Array<'_>, lost: &mut Vec<Lost>) {
    match &part.what {
        // An empty block is refused.
        What::Text(text) | What::Refusal(text) if text.is_empty() => {}
        What::Text(text) | What::Refusal(text) => {
            list.object(|block| {
                block.str("type", "text").text("text", text);
                write_cache(part.cache, block);
            });
        }
        What::Media(_) if role == Role::Assistant => lost.push(Lost::Thing("images and files of the assistant's")),
        What::Media(media) => write_media(media, part.cache, list, lost),
        What::Reasoning(thought) => {
            // Unsigned, or signed by somebody else, it is refused; and nobody else's is ours to sign.
            let Some(proof) = thought.proof.as_ref().filter(|proof| proof.of == Tongue::Messages) else { return };
            list.object(|block| {
                if proof.sealed {
                    block.str("type", "redacted_thinking").text("data", &proof.data);
                } else {
                    block.str("type", "thinking").text("thinking", &thought.text).text("signature", &proof.data);
                }
            });
        }
        What::ToolCall(call) => {
            list.object(|block| {
                block.str("type", "tool_use").text("id", &tool_id(&call.id)).text("name", &call.name);
                let input = block.member("input");
                let before = input.len();
                if call.arguments.write_object(input).is_none() {
                    input.truncate(before);
                    input.extend_from_slice(b"{}");
                    lost.push(Lost::Thing("arguments of a tool call that are no JSON object"));
                }
                write_cache(part.cache, block);
            });
        }
        What::ToolResult(result) => write_result(result, part.cache, list, lost),
    }
}

/// The vendor takes letters, digits, `_` and `-`; what others put into ids is replaced, alike in call and result.
fn tool_id<'t>(id: &'t Text<'_>) -> Text<'t> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if id.raw().iter().all(good) && !id.is_empty() {
        return id.borrow();
    }
    let clean: String = id.raw().iter().map(|byte| if good(byte) { char::from(*byte) } else { '_' }).collect();
    Text::of_plain(if clean.is_empty() { "_" } else { &clean })
}

fn write_result(result: &ToolResult<'_>, cache: Option<CacheMark>, list: &mut Array<'_>, lost: &mut Vec<Lost>) {
    list.object(|block| {
        block.str("type", "tool_result").text("tool_use_id", &tool_id(&result.id));
        match &result.content[..] {
            [] => {}
            [Part { what: What::Text(text), cache: None }] => _ = block.text("content", text),
            parts => {
                block.array("content", |content| {
                    parts.iter().for_each(|part| write_part(Role::User, part, content, lost));
                });
            }
        }
        if result.failed {
            block.bool("is_error", true);
        }
        write_cache(cache, block);
    });
}

fn write_media(media: &Media<'_>, cache: Option<CacheMark>, list: &mut Array<'_>, lost: &mut Vec<Lost>) {
    let kind = match (media.kind, &media.source) {
        (MediaKind::Image, Source::Text(_)) | (MediaKind::Audio | MediaKind::Video, _) => {
            lost.push(Lost::Thing("sounds and videos"));
            return;
        }
        (MediaKind::Image, _) => "image",
        (MediaKind::Document, Source::Data { mime, .. }) if !is_document(mime.raw()) => {
            lost.push(Lost::Thing("documents that are neither PDF nor text"));
            return;
        }
        (MediaKind::Document, _) => "document",
    };
    if matches!(media.source, Source::Id(_)) {
        // An id is its own vendor's; whoever carries it here from another language means another one's.
        lost.push(Lost::Thing("files by id"));
        return;
    }
    list.object(|block| {
        block.str("type", kind);
        block.object("source", |source| match &media.source {
            Source::Data { mime, base64 } => {
                source.str("type", "base64").text("media_type", mime).text("data", base64);
            }
            Source::Url { url, .. } => _ = source.str("type", "url").text("url", url),
            Source::Text(text) => {
                source.str("type", "text").str("media_type", "text/plain").text("data", text);
            }
            Source::Id(id) => _ = source.str("type", "file").text("file_id", id),
        });
        if kind == "document" {
            media.name.iter().for_each(|name| _ = block.text("title", name));
        }
        write_cache(cache, block);
    });
}

fn is_document(mime: &[u8]) -> bool {
    matches!(mime, b"application/pdf" | b"application\\/pdf")
}

fn write_tools(call: &Call<'_>, body: &mut Object<'_>) {
    if call.tools.is_empty() {
        return;
    }
    body.array("tools", |tools| {
        for tool in &call.tools {
            tools.object(|object| {
                object.text("name", &tool.name);
                tool.description.iter().for_each(|text| _ = object.text("description", text));
                match &tool.schema {
                    Some(schema) => _ = object.json("input_schema", schema),
                    None => _ = object.raw("input_schema", "{\"type\":\"object\",\"properties\":{}}"),
                }
                if tool.strict == Some(true) {
                    object.bool("strict", true);
                }
                write_cache(tool.cache, object);
            });
        }
    });
    let alone = call.parallel_tools == Some(false);
    let kind = match &call.tool_choice {
        None if !alone => return,
        None | Some(ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => "auto",
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Required | ToolChoice::Among { required: true, .. }) => "any",
        Some(ToolChoice::Named(_)) => "tool",
    };
    body.object("tool_choice", |choice| {
        choice.str("type", kind);
        if let Some(ToolChoice::Named(name)) = &call.tool_choice {
            choice.text("name", name);
        }
        if alone && kind != "none" {
            choice.bool("disable_parallel_tool_use", true);
        }
    });
}
