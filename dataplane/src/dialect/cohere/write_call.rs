//! A chat for Cohere.

use super::PARAMS;
use crate::dialect::budget::{self, Said};
use crate::dialect::call::{
    Amount, Call, Format, Media, MediaKind, Param, Part, Role, Source, ToolCall, ToolChoice, Turn, What,
};
use crate::dialect::compose::{Array, Object, data_url, quoted};
use crate::dialect::hints::{self, Hint};
use crate::dialect::results;
use crate::dialect::speech::{Lost, Recipient, lose_params};
use crate::dialect::text::Text;
use crate::dialect::turns::EARLIER_THOUGHTS;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    let mut writer = Writer { call, to, lost };
    Object::write(out, |body| {
        body.str("model", to.model).bool("stream", call.stream);
        body.array("messages", |messages| ordered(&call.turns).for_each(|turn| writer.turn(turn, messages)));
        writer.tools(body);
        writer.format(body);
        writer.thinking(body);
        if let Some(tokens) = call.tokens_max {
            body.number("max_tokens", tokens);
        }
        if !call.stop.is_empty() {
            body.array("stop_sequences", |list| {
                for stop in &call.stop {
                    list.text(stop);
                }
            });
        }
        for (param, name) in PARAMS {
            if let Some(value) = call.params.get(*param) {
                body.json(name, value);
            }
        }
    });
    if call.choices.is_some_and(|choices| choices > 1) {
        lost.push(Lost::Thing("more than one answer"));
    }
    hints::lose(HINTS, call, lost);
    lose_params(PARAMS, call, Param::ALL, lost);
}

/// Its thoughts are always shown.
const HINTS: &[Hint] = &[Hint::ImageDetail, Hint::ThoughtsShown];

/// Cohere refuses a conversation that ends with instructions: those stand with the first ones.
fn ordered<'t, 'a>(turns: &'t [Turn<'a>]) -> impl Iterator<Item = &'t Turn<'a>> {
    let is_talk = |turn: &Turn<'_>| turn.role != Role::System;
    let first = turns.iter().position(is_talk).unwrap_or(turns.len());
    let end = turns.iter().rposition(is_talk).map_or(turns.len(), |last| last + 1);
    turns[..first].iter().chain(&turns[end..]).chain(&turns[first..end])
}

struct Writer<'w> {
    call: &'w Call<'w>,
    to: &'w Recipient<'w>,
    lost: &'w mut Vec<Lost>,
}

impl Writer<'_> {
    fn turn(&mut self, turn: &Turn<'_>, messages: &mut Array<'_>) {
        if turn.name.is_some() {
            self.lose("names of participants");
        }
        match turn.role {
            Role::System => self.said("system", turn.parts.iter(), messages),
            Role::Assistant => self.assistant(turn, messages),
            Role::User => {
                results::of(turn).for_each(|result| results::write_message(result, messages));
                self.said("user", results::beside(turn), messages);
            }
        }
    }

    fn said<'p>(&mut self, role: &str, parts: impl Iterator<Item = &'p Part<'p>>, messages: &mut Array<'_>) {
        let mut texts: Vec<&Text<'_>> = Vec::new();
        let mut inside = Vec::new();
        let mut rich = false;
        Array::write(&mut inside, |list| {
            for part in parts {
                match &part.what {
                    What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                    What::Text(text) | What::Refusal(text) => {
                        texts.push(text);
                        results::write_text(text, list);
                    }
                    What::Media(media) if role == "user" => {
                        rich = true;
                        self.media(media, list);
                    }
                    What::Media(_) => self.lose("anything but text in instructions"),
                    _ => self.lose("thoughts and calls among what the user said"),
                }
            }
        });
        if inside == b"[]" {
            return;
        }
        messages.object(|message| {
            message.str("role", role);
            match &texts[..] {
                [text] if !rich => {
                    message.text("content", text);
                }
                _ => {
                    message.raw("content", &inside);
                }
            }
        });
    }

    /// What a model without thinking planned goes where Cohere keeps plans.
    fn assistant(&mut self, turn: &Turn<'_>, messages: &mut Array<'_>) {
        let calls: Vec<&ToolCall<'_>> = turn
            .parts
            .iter()
            .filter_map(|part| match &part.what {
                What::ToolCall(call) => Some(call),
                _ => None,
            })
            .collect();
        let planned = !self.to.reasoning && !calls.is_empty();
        let (mut plan, mut inside) = (Vec::new(), Vec::new());
        Array::write(&mut inside, |list| {
            for part in &turn.parts {
                match &part.what {
                    What::Text(text) | What::Refusal(text) if !text.is_empty() => results::write_text(text, list),
                    What::Reasoning(thought) if thought.text.is_empty() => {
                        Lost::Hint(EARLIER_THOUGHTS).tell(self.lost);
                    }
                    What::Reasoning(thought) if planned => plan.extend_from_slice(thought.text.raw()),
                    What::Reasoning(thought) if self.to.reasoning => {
                        list.object(|part| {
                            part.str("type", "thinking").text("thinking", &thought.text);
                        });
                    }
                    What::Media(_) => self.lose("media among what the model said"),
                    What::ToolResult(_) => self.lose("tool results among what the model said"),
                    What::Reasoning(_) => Lost::Hint(EARLIER_THOUGHTS).tell(self.lost),
                    What::Text(_) | What::Refusal(_) | What::ToolCall(_) => {}
                }
            }
        });
        if inside == b"[]" && calls.is_empty() {
            return;
        }
        messages.object(|message| {
            message.str("role", "assistant");
            if !plan.is_empty() {
                quoted(message.member("tool_plan"), &plan);
            }
            if inside != b"[]" {
                message.raw("content", &inside);
            }
            if !calls.is_empty() {
                message.array("tool_calls", |list| {
                    for call in calls {
                        list.object(|object| {
                            object.text("id", &call.id).str("type", "function");
                            object.object("function", |function| {
                                function.text("name", &call.name);
                                let mut arguments = Vec::new();
                                call.arguments.write_in_string(&mut arguments);
                                quoted(function.member("arguments"), &arguments);
                            });
                        });
                    }
                });
            }
        });
    }

    fn media(&mut self, media: &Media<'_>, list: &mut Array<'_>) {
        let mut url = Vec::new();
        match (&media.source, media.kind) {
            (Source::Text(text), _) => return results::write_text(text, list),
            (Source::Data { mime, base64 }, MediaKind::Image) => {
                data_url(mime, base64, &mut url);
            }
            (Source::Url { url: given, .. }, MediaKind::Image) => url.extend_from_slice(given.raw()),
            (Source::Id(_), _) => return self.lose("files by id"),
            _ => return self.lose("media other than images"),
        }
        list.object(|part| {
            part.str("type", "image_url").object("image_url", |image| {
                quoted(image.member("url"), &url);
                if let Some(detail) = &media.detail {
                    image.text("detail", detail);
                }
            });
        });
    }

    /// A choice among some tools is told by offering no others.
    fn tools(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        let chosen = |name: &Text<'_>| match &call.tool_choice {
            Some(ToolChoice::Named(only)) => only.raw() == name.raw(),
            Some(ToolChoice::Among { names, .. }) => names.iter().any(|one| one.raw() == name.raw()),
            _ => true,
        };
        let offered: Vec<_> = call.tools.iter().filter(|tool| chosen(&tool.name)).collect();
        if offered.is_empty() {
            return;
        }
        body.array("tools", |list| {
            for tool in &offered {
                list.object(|object| {
                    object.str("type", "function").object("function", |function| {
                        function.text("name", &tool.name);
                        if let Some(description) = &tool.description {
                            function.text("description", description);
                        }
                        match &tool.schema {
                            Some(schema) => function.json("parameters", schema),
                            None => function.raw("parameters", br#"{"type":"object","properties":{}}"#),
                        };
                    });
                });
            }
        });
        match &call.tool_choice {
            Some(ToolChoice::None) => {
                body.str("tool_choice", "NONE");
            }
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Among { required: true, .. }) => {
                body.str("tool_choice", "REQUIRED");
            }
            None | Some(ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => {}
        }
        let strict = offered.iter().filter(|tool| tool.strict == Some(true)).count();
        if strict == offered.len() {
            body.bool("strict_tools", true);
        } else if strict > 0 {
            self.lose("strict schemas for some tools only");
        }
        if call.parallel_tools == Some(false) {
            self.lose("one tool call at a time");
        }
    }

    fn format(&mut self, body: &mut Object<'_>) {
        match &self.call.format {
            None | Some(Format::Text) => {}
            Some(Format::Json) => {
                body.raw("response_format", br#"{"type":"json_object"}"#);
            }
            Some(Format::Schema { schema, .. }) => {
                body.object("response_format", |format| {
                    format.str("type", "json_object").json("json_schema", schema);
                });
            }
        }
    }

    fn thinking(&mut self, body: &mut Object<'_>) {
        let Some(amount) = self.call.reasoning.and_then(|reasoning| reasoning.amount) else { return };
        if !self.to.reasoning {
            if !matches!(amount, Amount::Off | Amount::Auto) {
                self.lose("thinking, by a model that does not");
            }
            return;
        }
        let budget = match amount {
            Amount::Off => {
                body.raw("thinking", br#"{"type":"disabled"}"#);
                return;
            }
            Amount::Auto => None,
            Amount::Effort(effort) => Some(effort.tokens()),
            Amount::Tokens(tokens) => Some(tokens),
        };
        budget.iter().for_each(|tokens| budget::tell(self.call, Said::Budget(*tokens), self.lost));
        body.object("thinking", |thinking| {
            thinking.str("type", "enabled");
            if let Some(tokens) = budget {
                thinking.number("token_budget", tokens);
            }
        });
    }

    fn lose(&mut self, thing: &'static str) {
        Lost::Thing(thing).tell(self.lost);
    }
}
