//! Items of a response, and the response around them: the same in each event that carries one, and in a whole answer.

use weir_shared::usage::{Class, Tier, Usage};

use super::{PARAMS, carried, freeform};
use crate::dialect::call::{Amount, Call, Param, Proof, Role, What};
use crate::dialect::compose::{Object, number, quoted};
use crate::dialect::event::{Citation, Finish};
use crate::dialect::speech::Heading;
use crate::dialect::text::{Text, plain};

/// What a response says of itself, whatever has become of it: written once, and repeated as OpenAI does.
pub struct Frame {
    head: Vec<u8>,
    echo: Vec<u8>,
}

/// How a response stands.
pub enum Status<'s> {
    InProgress,
    Over(Option<&'s Finish<'s>>),
    Failed { code: &'s str, message: &'s str },
}

impl Status<'_> {
    pub fn word(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Over(Some(Finish::Length | Finish::Filtered)) => "incomplete",
            Self::Over(_) => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Frame {
    pub fn new(heading: &Heading<'_>) -> Self {
        let mut head = b"{\"id\":\"resp_".to_vec();
        head.extend_from_slice(heading.id.as_bytes());
        head.extend_from_slice(b"\",\"object\":\"response\",\"created_at\":");
        number(&mut head, heading.created_s);
        let mut echo = Vec::with_capacity(1 << 10);
        Object::write(&mut echo, |object| write_echo(heading, object));
        // It goes on where the object is open already.
        echo[0] = b',';
        // What the caller laid out in lines would end the event: between tokens a line end says nothing, and within a string
        // there is none.
        echo.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        Self { head, echo }
    }

    pub fn write(&self, status: &Status<'_>, items: &[u8], usage: Option<(&Usage, Tier)>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(status.word().as_bytes());
        out.extend_from_slice(b"\",\"error\":");
        match status {
            Status::Failed { code, message } => Object::write(out, |error| {
                error.str("code", code).str("message", message);
            }),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(match status {
            Status::Over(Some(Finish::Length)) => br#","incomplete_details":{"reason":"max_output_tokens"}"#.as_slice(),
            Status::Over(Some(Finish::Filtered)) => br#","incomplete_details":{"reason":"content_filter"}"#,
            _ => br#","incomplete_details":null"#,
        });
        out.extend_from_slice(b",\"output\":[");
        out.extend_from_slice(items);
        out.extend_from_slice(b"],\"service_tier\":\"");
        out.extend_from_slice(match usage {
            None if matches!(status, Status::InProgress) => b"auto",
            None | Some((_, Tier::Standard)) => b"default",
            Some((_, tier)) => tier.name().as_bytes(),
        });
        out.extend_from_slice(b"\",\"usage\":");
        match usage {
            Some((usage, _)) => write_usage(usage, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(&self.echo);
    }
}

fn write_echo(heading: &Heading<'_>, object: &mut Object<'_>) {
    let call = heading.call;
    object.str("model", heading.model).bool("background", false).bool("store", false);
    match instructions(call) {
        Some(text) => object.text("instructions", text),
        None => object.null("instructions"),
    };
    match call.tokens_max {
        Some(tokens) => object.number("max_output_tokens", tokens),
        None => object.null("max_output_tokens"),
    };
    object.null("max_tool_calls").null("previous_response_id");
    object.bool("parallel_tool_calls", call.parallel_tools != Some(false));
    let defaults: [(Param, &[u8]); 4] =
        [(Param::Temperature, b"1.0"), (Param::TopP, b"1.0"), (Param::Metadata, b"{}"), (Param::TopLogprobs, b"0")];
    for (param, path) in PARAMS {
        if path.contains('.') || *param == Param::ServiceTier {
            continue;
        }
        let default = defaults.iter().find(|(known, _)| known == param).map_or(&b"null"[..], |(_, default)| default);
        object.raw(path, call.params.get(*param).map_or(default, |value| value.raw()));
    }
    object.object("reasoning", |reasoning| {
        let asked = call.reasoning.unwrap_or_default();
        match asked.amount {
            Some(Amount::Off) => reasoning.str("effort", "none"),
            Some(Amount::Effort(effort)) => reasoning.str("effort", effort.name()),
            _ => reasoning.null("effort"),
        };
        if asked.shown == Some(true) {
            reasoning.str("summary", "auto")
        } else {
            reasoning.null("summary")
        };
    });
    object.object("text", |text| {
        match &call.format {
            None => {
                text.raw("format", br#"{"type":"text"}"#);
            }
            format => super::write_call::write_format(format.as_ref(), text),
        }
        text.raw("verbosity", call.params.get(Param::Verbosity).map_or(&b"\"medium\""[..], |value| value.raw()));
    });
    match &call.tool_choice {
        Some(choice) => super::write_call::write_tool_choice(choice, object),
        None => {
            object.str("tool_choice", "auto");
        }
    }
    object.array("tools", |list| {
        for tool in &call.tools {
            list.object(|object| {
                let takes_text = freeform::is_one(call, &tool.name);
                object.str("type", if takes_text { "custom" } else { "function" }).text("name", &tool.name);
                match &tool.description {
                    Some(description) => object.text("description", description),
                    None => object.null("description"),
                };
                if takes_text {
                    object.raw("format", br#"{"type":"text"}"#);
                    return;
                }
                match &tool.schema {
                    Some(schema) => object.json("parameters", schema),
                    None => object.null("parameters"),
                };
                object.bool("strict", tool.strict == Some(true));
            });
        }
    });
    object.str("truncation", "disabled");
}

/// The instructions in front, as the caller gave them.
fn instructions<'c>(call: &'c Call<'_>) -> Option<&'c Text<'c>> {
    let turn = call.turns.first().filter(|turn| turn.role == Role::System)?;
    match &turn.parts[..] {
        [part] => match &part.what {
            What::Text(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let some = |object: &mut Object<'_>, name: &str, count: u64| {
        if count > 0 {
            object.number(name, count);
        }
    };
    Object::write(out, |object| {
        object.number("input_tokens", usage.prompt_tokens());
        object.object("input_tokens_details", |details| {
            details.number("cached_tokens", usage.of(Class::CacheRead));
            let written = usage.of(Class::CacheWrite5m).saturating_add(usage.of(Class::CacheWrite1h));
            some(details, "cache_write_tokens", written);
            some(details, "audio_tokens", usage.of(Class::AudioInput));
            some(details, "image_tokens", usage.of(Class::ImageInput));
        });
        object.number("output_tokens", usage.answer_tokens());
        object.object("output_tokens_details", |details| {
            details.number("reasoning_tokens", usage.of(Class::Reasoning));
            some(details, "audio_tokens", usage.of(Class::AudioOutput));
            some(details, "image_tokens", usage.of(Class::ImageOutput));
        });
        object.number("total_tokens", usage.tokens());
    });
}

/// An item's id: the same one however the answer is told.
pub fn item_id(prefix: &str, heading: &Heading<'_>, index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix.as_bytes());
    out.push(b'_');
    out.extend_from_slice(heading.id.as_bytes());
    out.push(b'_');
    number(out, index);
}

pub fn message(id: &[u8], status: &str, parts: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |item| {
        quoted(item.member("id"), id);
        item.str("type", "message").str("status", status).str("role", "assistant");
        let content = item.member("content");
        content.push(b'[');
        content.extend_from_slice(parts);
        content.push(b']');
    });
}

/// A part of a message. `annotations` are elements of a list.
/// `likely` is what stands between the brackets of the list of its tokens.
pub fn part(refused: bool, text: &[u8], annotations: &[u8], likely: &[u8], out: &mut Vec<u8>) {
    if refused {
        out.extend_from_slice(b"{\"type\":\"refusal\",\"refusal\":");
        quoted(out, text);
        out.push(b'}');
        return;
    }
    out.extend_from_slice(b"{\"type\":\"output_text\",\"annotations\":[");
    out.extend_from_slice(annotations);
    out.extend_from_slice(b"],\"logprobs\":[");
    out.extend_from_slice(likely);
    out.extend_from_slice(b"],\"text\":");
    quoted(out, text);
    out.push(b'}');
}

/// `false` when there is nothing to point at. A citation without a place is of all the text so far.
pub fn annotation(citation: &Citation<'_>, text: &[u8], out: &mut Vec<u8>) -> bool {
    let span = || citation.span.unwrap_or_else(|| (0, plain(text).chars().count() as u64));
    let empty = Text::default();
    let title = citation.title.as_ref().unwrap_or(&empty);
    match (&citation.url, &citation.document) {
        (Some(url), _) => Object::write(out, |object| {
            let (start, end) = span();
            object.str("type", "url_citation").text("url", url).text("title", title);
            object.number("start_index", start).number("end_index", end);
        }),
        (None, Some(document)) => Object::write(out, |object| {
            object.str("type", "file_citation").text("file_id", document).text("filename", title);
            object.number("index", span().1);
        }),
        (None, None) => return false,
    }
    true
}

pub fn summary_part(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"summary_text\",\"text\":");
    quoted(out, text);
    out.push(b'}');
}

/// `encrypted` as it stands in the item; nothing when empty.
pub fn reasoning(id: &[u8], text: &[u8], encrypted: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |item| {
        quoted(item.member("id"), id);
        item.str("type", "reasoning").array("summary", |list| {
            if !text.is_empty() {
                summary_part(text, list.element());
            }
        });
        if !encrypted.is_empty() {
            quoted(item.member("encrypted_content"), encrypted);
        }
    });
}

/// The id of a thought's item: its vendor's, when that is one of this language.
pub fn thought_id(proof: Option<&Proof<'_>>, heading: &Heading<'_>, index: u64, out: &mut Vec<u8>) {
    match proof.and_then(carried::parts) {
        Some((id, _)) if !id.is_empty() => out.extend_from_slice(id),
        _ => item_id("rs", heading, index, out),
    }
}

pub fn call_id(id: &Text<'_>, heading: &Heading<'_>, block: u32, out: &mut Vec<u8>) {
    if id.is_empty() { item_id("call", heading, u64::from(block), out) } else { out.extend_from_slice(id.raw()) }
}

/// A function call whose names are already in `who`, see [`who`].
pub fn function_call(id: &[u8], who: &[u8], status: &str, arguments: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |item| {
        quoted(item.member("id"), id);
        item.str("type", "function_call").str("status", status);
        let rest = item.member("arguments");
        quoted(rest, arguments);
        rest.extend_from_slice(who);
    });
}

/// The same for a tool that takes text.
pub fn freeform_call(id: &[u8], who: &[u8], status: &str, input: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |item| {
        quoted(item.member("id"), id);
        item.str("type", "custom_tool_call").str("status", status);
        let rest = item.member("input");
        quoted(rest, input);
        rest.extend_from_slice(who);
    });
}

/// The members of a function call that say which: a comma in front of each.
pub fn who(call_id: &[u8], name: &Text<'_>, heading: &Heading<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"call_id\":");
    quoted(out, call_id);
    out.extend_from_slice(b",\"name\":");
    match heading.call.spaces.iter().find(|space| space.flat.raw() == name.raw()) {
        Some(space) => {
            quoted(out, space.name.raw());
            out.extend_from_slice(b",\"namespace\":");
            quoted(out, space.space.raw());
        }
        None => quoted(out, name.raw()),
    }
}

pub fn image(id: &[u8], mime: &[u8], base64: &[u8], out: &mut Vec<u8>) {
    Object::write(out, |item| {
        quoted(item.member("id"), id);
        item.str("type", "image_generation_call").str("status", "completed");
        quoted(item.member("output_format"), mime.strip_prefix(b"image/").unwrap_or(b"png"));
        quoted(item.member("result"), base64);
    });
}
