//! A generateContent body for Google. Schemas go as JSON Schema, which it takes beside its own.

use super::media::{is_kept_by_google, mime_of};
use super::{PARAMS, signature};
use crate::dialect::call::{
    Call, Media, MediaKind, Param, Part, Proof, Role, Source, Thought, Tongue, ToolCall, ToolChoice, ToolResult, What,
};
use crate::dialect::compose::{Array, Object, quoted};
use crate::dialect::hints::{self, Hint};
use crate::dialect::speech::{Lost, Recipient, lose_params};
use crate::dialect::turns::EARLIER_THOUGHTS;
use weir_shared::catalog::Thinking;

pub fn write(call: &Call<'_>, to: &Recipient<'_>, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
    let mut writer = Writer { call, to, lost, levels: Vec::new() };
    Object::write(out, |body| {
        writer.instructions(body);
        body.array("contents", |contents| writer.contents(contents));
        writer.tools(body);
        writer.generation_config(body);
        writer.outer_params(body);
    });
    hints::lose(HINTS, call, lost);
    lose_params(PARAMS, call, Param::ALL, lost);
}

const HINTS: &[Hint] = &[
    Hint::ImageDetail,
    // As the schema's own title and description.
    Hint::SchemaName,
    Hint::SchemaDescription,
    Hint::ThoughtsShown,
    Hint::ThoughtsHidden,
];

pub struct Writer<'w> {
    pub call: &'w Call<'w>,
    pub to: &'w Recipient<'w>,
    pub lost: &'w mut Vec<Lost>,
    /// How closely each image is to be looked at: the third generation is told beside the image, others once for all.
    pub levels: Vec<Option<&'static str>>,
}

/// What Google's documents tell to put where a call was made by another model, so that there is nothing to check.
const NOT_OURS: &str = "skip_thought_signature_validator";

impl Writer<'_> {
    /// The third generation: levels of thinking, signed calls, media within results.
    pub fn is_third(&self) -> bool {
        self.to.thinking == Thinking::Effort
    }

    fn instructions(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        if call.instructions().next().is_none() {
            return;
        }
        body.object("systemInstruction", |content| {
            content.array("parts", |parts| {
                for part in call.instructions() {
                    match &part.what {
                        What::Text(text) | What::Refusal(text) => {
                            parts.object(|part| {
                                part.text("text", text);
                            });
                        }
                        _ => self.lose("anything but text in instructions"),
                    }
                }
            });
        });
    }

    fn contents(&mut self, contents: &mut Array<'_>) {
        if self.call.turns.iter().any(|turn| turn.name.is_some()) {
            self.lose("names of participants");
        }
        let turns = self.call.conversation();
        let answers_only = |parts: &[&Part<'_>]| parts.iter().all(|part| matches!(part.what, What::ToolResult(_)));
        // What the model did since then is the current turn, and its calls are checked.
        let asked = turns.iter().rposition(|(role, parts)| *role == Role::User && !answers_only(parts));
        for (place, (role, parts)) in turns.iter().enumerate() {
            match role {
                Role::Assistant => self.model(parts, asked.is_none_or(|asked| place > asked), contents),
                _ => self.user(parts, contents),
            }
        }
    }

    fn model(&mut self, parts: &[&Part<'_>], current: bool, contents: &mut Array<'_>) {
        let mut inside = Vec::new();
        // Of calls that were made at once, the first is signed.
        let mut to_sign = current && self.is_third();
        each(&mut inside, |list| {
            for part in parts {
                match &part.what {
                    What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                    What::Text(text) | What::Refusal(text) => {
                        list.object(|part| {
                            part.text("text", text);
                        });
                    }
                    What::Reasoning(thought) if is_taken_back(thought) => write_thought(thought, list),
                    What::Reasoning(_) => Lost::Hint(EARLIER_THOUGHTS).tell(self.lost),
                    What::ToolCall(call) => {
                        write_call(call, to_sign, list);
                        to_sign = false;
                    }
                    What::Media(media) => self.media(media, list),
                    What::ToolResult(_) => self.lose("tool results among what the model said"),
                }
            }
        });
        content("model", &inside, contents);
    }

    /// Results stand in a content of their own; what the user says beside them follows.
    fn user(&mut self, parts: &[&Part<'_>], contents: &mut Array<'_>) {
        let (mut results, mut others) = (Vec::new(), Vec::new());
        let mut beside: Vec<&Media<'_>> = Vec::new();
        each(&mut results, |list| {
            for part in parts {
                if let What::ToolResult(result) = &part.what {
                    self.result(result, list, &mut beside);
                }
            }
        });
        each(&mut others, |list| {
            for media in beside {
                self.media(media, list);
            }
            for part in parts {
                match &part.what {
                    What::Text(text) | What::Refusal(text) if text.is_empty() => {}
                    What::Text(text) | What::Refusal(text) => {
                        list.object(|part| {
                            part.text("text", text);
                        });
                    }
                    What::Media(media) => self.media(media, list),
                    What::Reasoning(_) | What::ToolCall(_) => self.lose("thoughts and calls among what the user said"),
                    What::ToolResult(_) => {}
                }
            }
        });
        content("user", &results, contents);
        content("user", &others, contents);
    }

    fn result<'r>(&mut self, result: &'r ToolResult<'_>, list: &mut Array<'_>, beside: &mut Vec<&'r Media<'r>>) {
        let name = result.name.as_ref().unwrap_or(&result.id);
        let media: Vec<&Media<'_>> = result.content.iter().filter_map(media_of).collect();
        list.object(|part| {
            part.object("functionResponse", |response| {
                if !result.id.is_empty() {
                    response.text("id", &result.id);
                }
                response.text("name", name);
                response.object("response", |object| {
                    let mut text = Vec::new();
                    for words in result.content.iter().filter_map(words_of) {
                        if !text.is_empty() {
                            text.extend_from_slice(b"\\n");
                        }
                        text.extend_from_slice(words);
                    }
                    quoted(object.member(if result.failed { "error" } else { "result" }), &text);
                });
                if self.is_third() && !media.is_empty() {
                    response.array("parts", |parts| media.iter().for_each(|media| self.media(media, parts)));
                }
            });
        });
        if !self.is_third() {
            beside.extend(media);
        }
    }

    fn media(&mut self, media: &Media<'_>, list: &mut Array<'_>) {
        let level = media.detail.as_ref().and_then(|detail| match detail.raw() {
            b"low" => Some("MEDIA_RESOLUTION_LOW"),
            b"high" => Some("MEDIA_RESOLUTION_HIGH"),
            _ => {
                Lost::Hint(Hint::ImageDetail.name()).tell(self.lost);
                None
            }
        });
        if media.kind == MediaKind::Image {
            self.levels.push(level);
        }
        let level = level.filter(|_| self.is_third());
        if let Source::Id(id) = &media.source
            && !is_kept_by_google(&id.plain())
        {
            self.lose("files by id");
            return;
        }
        list.object(|part| {
            match &media.source {
                Source::Data { mime, base64 } => {
                    part.object("inlineData", |data| {
                        data.text("mimeType", mime).text("data", base64);
                    });
                }
                Source::Text(text) => {
                    part.text("text", text);
                }
                Source::Url { url, mime } => {
                    part.object("fileData", |file| {
                        match mime {
                            Some(mime) => {
                                file.text("mimeType", mime);
                            }
                            None => {
                                if let Some(mime) = mime_of(&url.plain(), media.kind) {
                                    file.str("mimeType", mime);
                                }
                            }
                        }
                        file.text("fileUri", url);
                    });
                }
                Source::Id(uri) => {
                    part.object("fileData", |file| {
                        file.text("fileUri", uri);
                    });
                }
            }
            if let Some(level) = level {
                part.object("mediaResolution", |resolution| {
                    resolution.str("level", level);
                });
            }
        });
    }

    fn tools(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        if !call.tools.is_empty() {
            body.array("tools", |tools| {
                tools.object(|tool| {
                    tool.array("functionDeclarations", |list| {
                        for tool in &call.tools {
                            list.object(|declaration| {
                                declaration.text("name", &tool.name);
                                if let Some(description) = &tool.description {
                                    declaration.text("description", description);
                                }
                                if let Some(schema) = &tool.schema {
                                    declaration.json("parametersJsonSchema", schema);
                                }
                            });
                        }
                    });
                });
            });
        }
        if call.parallel_tools == Some(false) && !call.tools.is_empty() {
            self.lose("one tool call at a time");
        }
        let strict = call.tools.iter().any(|tool| tool.strict == Some(true));
        let (mode, names): (_, &[_]) = match &call.tool_choice {
            // Calls that keep to their schemas.
            None | Some(ToolChoice::Auto) if strict => ("VALIDATED", &[]),
            None => return,
            Some(ToolChoice::Auto) => ("AUTO", &[]),
            Some(ToolChoice::None) => ("NONE", &[]),
            Some(ToolChoice::Required) => ("ANY", &[]),
            Some(ToolChoice::Named(name)) => ("ANY", std::slice::from_ref(name)),
            Some(ToolChoice::Among { names, required: true }) => ("ANY", names),
            Some(ToolChoice::Among { names, required: false }) => ("VALIDATED", names),
        };
        body.object("toolConfig", |config| {
            config.object("functionCallingConfig", |config| {
                config.str("mode", mode);
                if !names.is_empty() {
                    config.array("allowedFunctionNames", |list| {
                        for name in names {
                            list.text(name);
                        }
                    });
                }
            });
        });
    }

    pub fn lose(&mut self, thing: &'static str) {
        Lost::Thing(thing).tell(self.lost);
    }
}

/// A list of parts, to be looked at before it is placed: Google refuses contents without any.
fn each(inside: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    Array::write(inside, fill);
}

fn content(role: &str, parts: &[u8], contents: &mut Array<'_>) {
    if parts != b"[]" {
        contents.object(|content| {
            content.str("role", role).raw("parts", parts);
        });
    }
}

fn is_taken_back(thought: &Thought<'_>) -> bool {
    !thought.text.is_empty() || thought.proof.as_ref().is_some_and(|proof| proof.of == Tongue::Generate)
}

/// Google takes thoughts back with its own signature or with none; another vendor's proof never reaches it.
fn write_thought(thought: &Thought<'_>, list: &mut Array<'_>) {
    let proof = thought.proof.as_ref().filter(|proof| proof.of == Tongue::Generate);
    list.object(|part| {
        part.text("text", &thought.text);
        // A signature without words stood on text, or at its end.
        if !thought.text.is_empty() {
            part.bool("thought", true);
        }
        if let Some(proof) = proof {
            sign(proof, part);
        }
    });
}

fn write_call(call: &ToolCall<'_>, to_sign: bool, list: &mut Array<'_>) {
    let proof = call.proof.as_ref().filter(|proof| proof.of == Tongue::Generate);
    list.object(|part| {
        part.object("functionCall", |function| {
            if !call.id.is_empty() {
                function.text("id", &call.id);
            }
            function.text("name", &call.name);
            let args = function.member("args");
            let before = args.len();
            if call.arguments.write_object(args).is_none() || args.get(before) != Some(&b'{') {
                // What a model once wrote instead of an object is part of the conversation all the same.
                args.truncate(before);
                Object::write(args, |args| {
                    let mut text = Vec::new();
                    call.arguments.write_in_string(&mut text);
                    quoted(args.member("arguments"), &text);
                });
            }
        });
        match proof {
            Some(proof) => sign(proof, part),
            None if to_sign => {
                part.str("thoughtSignature", NOT_OURS);
            }
            None => {}
        }
    });
}

pub fn sign(proof: &Proof<'_>, part: &mut Object<'_>) {
    let out = part.member("thoughtSignature");
    out.push(b'"');
    signature::write(proof, out);
    out.push(b'"');
}

fn words_of<'p>(part: &'p Part<'_>) -> Option<&'p [u8]> {
    match &part.what {
        What::Text(text) | What::Refusal(text) => Some(text.raw()),
        _ => None,
    }
}

fn media_of<'p>(part: &'p Part<'p>) -> Option<&'p Media<'p>> {
    match &part.what {
        What::Media(media) => Some(media),
        _ => None,
    }
}
