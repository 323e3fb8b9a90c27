//! How a generateContent body wants its answer made: `toolConfig`, `generationConfig`, `serviceTier`.

use super::read_call::{Reader, is_word, list, string, whole};
use super::{PARAMS, camel, schema};
use crate::dialect::call::{Amount, Effort, Format, Param, Reasoning, ToolChoice};
use crate::dialect::given::given;
use crate::dialect::speech::{Unreadable, read_param};
use crate::dialect::text::Json;
use crate::wire::json;

impl<'a> Reader<'a> {
    pub fn tool_config(&mut self, config: &'a [u8]) -> Result<(), Unreadable> {
        for (key, value) in given(config) {
            match &*camel(key) {
                b"functionCallingConfig" => self.function_calling(value)?,
                // How a vendor's own tools are shown: the tools themselves are named where they stand.
                b"includeServerSideToolInvocations" => {
                    self.call.hint("toolConfig.includeServerSideToolInvocations", value);
                }
                _ => self.unmapped("toolConfig.", key, value),
            }
        }
        Ok(())
    }

    fn function_calling(&mut self, config: &'a [u8]) -> Result<(), Unreadable> {
        const AT: &str = "toolConfig.functionCallingConfig";
        let (mut mode, mut names) = (String::from("auto"), Vec::new());
        for (key, value) in given(config) {
            match &*camel(key) {
                b"mode" => mode = json::text(value).unwrap_or_default().to_ascii_lowercase(),
                b"allowedFunctionNames" => {
                    for name in list(value) {
                        names.push(string(name, AT, "allowedFunctionNames")?);
                    }
                }
                // Whole arguments are legal for those who can take pieces.
                b"streamFunctionCallArguments" => {
                    self.call.hint("toolConfig.functionCallingConfig.streamFunctionCallArguments", value);
                }
                _ => self.unmapped("toolConfig.functionCallingConfig.", key, value),
            }
        }
        if mode == "validated" {
            // Others hold to schemas tool by tool, and only to schemas of a certain form.
            self.call.hint("toolConfig.functionCallingConfig.mode: validated", b"true");
        }
        let one = names.len() == 1;
        self.call.tool_choice = match mode.as_str() {
            "none" => Some(ToolChoice::None),
            "any" if names.is_empty() => Some(ToolChoice::Required),
            "any" if one => names.pop().map(ToolChoice::Named),
            "any" => Some(ToolChoice::Among { names, required: true }),
            "auto" | "validated" | "mode_unspecified" if names.is_empty() => Some(ToolChoice::Auto),
            "auto" | "validated" | "mode_unspecified" => Some(ToolChoice::Among { names, required: false }),
            other => return Err(Unreadable(format!("{AT}.mode: {other:?} is not known"))),
        };
        Ok(())
    }

    pub fn generation_config(&mut self, config: &'a [u8]) -> Result<(), Unreadable> {
        const AT: &str = "generationConfig";
        let (mut json_wanted, mut wanted) = (false, None);
        for (key, value) in given(config) {
            match &*camel(key) {
                b"stopSequences" => {
                    for stop in list(value) {
                        self.call.stop.push(string(stop, AT, "stopSequences")?);
                    }
                }
                b"maxOutputTokens" => self.call.tokens_max = Some(whole(value, AT, "maxOutputTokens")?),
                b"candidateCount" => self.call.choices = Some(whole(value, AT, "candidateCount")?),
                b"responseMimeType" if is_word(value, &["application/json"]) => json_wanted = true,
                b"responseMimeType" if is_word(value, &["text/plain", ""]) => {}
                b"responseJsonSchema" => wanted = Some(Json::of(value)),
                b"responseSchema" => wanted = wanted.or_else(|| Some(schema::to_json_schema(value))),
                b"thinkingConfig" => self.thinking(value)?,
                b"topK" => {
                    let whole = value.strip_suffix(b".0").unwrap_or(value);
                    read_param(PARAMS, "generationConfig.", b"topK", whole, &mut self.call.params);
                }
                b"responseModalities" => self.modalities(value),
                b"responseLogprobs" if value == b"false" => {}
                b"logprobs" if value == b"0" => {}
                b"mediaResolution" if is_word(value, &["media_resolution_unspecified"]) => {}
                name if read_param(PARAMS, "generationConfig.", name, value, &mut self.call.params) => {}
                _ => self.unmapped("generationConfig.", key, value),
            }
        }
        self.call.format = match wanted {
            Some(schema) => Some(Format::Schema { name: None, description: None, schema, strict: None }),
            None => json_wanted.then_some(Format::Json),
        };
        Ok(())
    }

    fn thinking(&mut self, config: &'a [u8]) -> Result<(), Unreadable> {
        const AT: &str = "generationConfig.thinkingConfig";
        let mut reasoning = Reasoning::default();
        for (key, value) in given(config) {
            match &*camel(key) {
                b"includeThoughts" => reasoning.shown = Some(value == b"true"),
                b"thinkingBudget" if matches!(value, b"-1" | b"-1.0") => reasoning.amount = Some(Amount::Auto),
                b"thinkingBudget" => {
                    let tokens = whole(value, AT, "thinkingBudget")?;
                    reasoning.amount = Some(if tokens == 0 { Amount::Off } else { Amount::Tokens(tokens) });
                }
                b"thinkingLevel" => {
                    let word = json::text(value).unwrap_or_default().to_ascii_lowercase();
                    match Effort::parse(&word) {
                        Some(effort) => reasoning.amount = Some(Amount::Effort(effort)),
                        None if word == "thinking_level_unspecified" => {}
                        None => return Err(Unreadable(format!("{AT}.thinkingLevel: {word:?} is not known"))),
                    }
                }
                _ => self.unmapped("generationConfig.thinkingConfig.", key, value),
            }
        }
        self.call.reasoning = Some(reasoning);
        Ok(())
    }

    /// In lower case, as everybody else says them. Text alone is what every model gives.
    fn modalities(&mut self, value: &'a [u8]) {
        if list(value).all(|one| is_word(one, &["text"])) {
            return;
        }
        let lower = Json::owned(value.to_ascii_lowercase());
        self.call.params.set(Param::Modalities, lower);
    }

    pub fn service_tier(&mut self, key: &[u8], value: &'a [u8]) {
        use Param::ServiceTier;
        match json::text(value).unwrap_or_default().to_ascii_lowercase().as_str() {
            "unspecified" => {}
            "standard" => self.call.params.set(ServiceTier, Json::of(b"\"default\"")),
            "flex" => self.call.params.set(ServiceTier, Json::of(b"\"flex\"")),
            "priority" => self.call.params.set(ServiceTier, Json::of(b"\"priority\"")),
            _ => self.unmapped("", key, value),
        }
    }
}
