//! How Google is told to make its answer: `generationConfig`, and what stands beside it.

use super::PARAMS;
use super::write_call::Writer;
use crate::dialect::budget::{self, Said};
use crate::dialect::call::{Amount, Effort, Format, Param};
use crate::dialect::compose::Object;
use crate::dialect::speech::Lost;
use crate::dialect::turns;
use crate::wire::json;

impl Writer<'_> {
    pub fn generation_config(&mut self, body: &mut Object<'_>) {
        let call = self.call;
        let mut inside = Vec::new();
        let mut config = Object::open(&mut inside);
        if let Some(count) = call.choices.filter(|count| *count > 1) {
            config.number("candidateCount", count);
        }
        if let Some(tokens) = call.tokens_max {
            config.number("maxOutputTokens", tokens);
        }
        if !call.stop.is_empty() {
            config.array("stopSequences", |list| {
                for stop in &call.stop {
                    list.text(stop);
                }
            });
        }
        for (param, path) in PARAMS {
            let Some(name) = path.strip_prefix("generationConfig.") else { continue };
            match call.params.get(*param) {
                Some(value) if *param == Param::Modalities => {
                    config.raw(name, value.raw().to_ascii_uppercase());
                }
                Some(value) => {
                    config.json(name, value);
                }
                None => {}
            }
        }
        match self.levels[..] {
            [Some(level), ref others @ ..] if !self.is_third() && others.iter().all(|other| *other == Some(level)) => {
                config.str("mediaResolution", level);
            }
            ref levels if !self.is_third() && levels.iter().any(Option::is_some) => {
                Lost::Hint("how closely one image of several is looked at").tell(self.lost);
            }
            _ => {}
        }
        match &call.format {
            None | Some(Format::Text) => {}
            Some(Format::Json) => {
                config.str("responseMimeType", "application/json");
            }
            Some(Format::Schema { name, description, schema, .. }) => {
                config.str("responseMimeType", "application/json");
                let out = config.member("responseJsonSchema");
                turns::described(schema.raw(), name.as_ref(), description.as_ref(), self.lost, out);
            }
        }
        self.thinking(&mut config);
        let empty = config.is_empty();
        config.close();
        if !empty {
            body.raw("generationConfig", inside);
        }
    }

    fn thinking(&mut self, config: &mut Object<'_>) {
        let Some(reasoning) = self.call.reasoning else { return };
        if !self.to.reasoning {
            if !matches!(reasoning.amount, None | Some(Amount::Off | Amount::Auto)) {
                self.lose("thinking, by a model that does not");
            }
            return;
        }
        let third = self.is_third();
        let level = |effort| match effort {
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High | Effort::XHigh | Effort::Max => "high",
        };
        if reasoning.amount.is_none() && reasoning.shown != Some(true) {
            return;
        }
        config.object("thinkingConfig", |thinking| {
            match reasoning.amount {
                // It cannot be switched off where it has levels.
                Some(Amount::Off) if third => {
                    Lost::Hint("that nothing at all is thought").tell(self.lost);
                    thinking.str("thinkingLevel", level(Effort::Minimal));
                }
                Some(amount @ (Amount::Effort(_) | Amount::Tokens(_))) if third => {
                    let word = level(amount.effort());
                    budget::tell(self.call, Said::Effort(word), self.lost);
                    thinking.str("thinkingLevel", word);
                }
                Some(Amount::Auto) if third => {}
                Some(Amount::Off) => {
                    thinking.number("thinkingBudget", 0);
                }
                Some(Amount::Auto) => {
                    thinking.raw("thinkingBudget", "-1");
                }
                Some(amount @ (Amount::Effort(_) | Amount::Tokens(_))) => {
                    let tokens = amount.tokens();
                    budget::tell(self.call, Said::Budget(tokens), self.lost);
                    thinking.number("thinkingBudget", tokens);
                }
                None => {}
            }
            if let Some(shown) = reasoning.shown {
                thinking.bool("includeThoughts", shown);
            }
        });
    }

    pub fn outer_params(&mut self, body: &mut Object<'_>) {
        for (param, path) in PARAMS.iter().filter(|(_, path)| !path.contains('.')) {
            let Some(value) = self.call.params.get(*param) else { continue };
            if *param != Param::ServiceTier {
                body.json(path, value);
                continue;
            }
            match json::text(value.raw()).as_deref() {
                Some("auto" | "default" | "standard" | "standard_only") => {}
                Some(tier @ ("flex" | "priority")) => {
                    body.str(path, tier);
                }
                _ => self.lost.push(Lost::Param(Param::ServiceTier)),
            }
        }
    }
}
