//! LiteLLM's `model_prices_and_context_window.json`: one object, a member for each model, money in dollars per token.

use serde_json::value::RawValue;
use weir_shared::usage::Class;

use super::{Entry, Members, Place, Said, flag, text, tokens};

/// The example at the head of the list.
const SAMPLE: &str = "sample_spec";

pub fn entries(top: &Members<'_>, entries: &mut Vec<Entry>) -> Result<(), String> {
    for (id, value) in top.each().filter(|(id, _)| *id != SAMPLE) {
        let members = Members::read(value.get()).map_err(|error| format!("{:?}: {error}", super::shown(id)))?;
        // What names no vendor is of no vendor's.
        let Some(vendor) = text(members.get("litellm_provider")) else { continue };
        entries.push(Entry { vendor, id: id.to_owned(), said: said(&members) });
    }
    Ok(())
}

fn said(members: &Members<'_>) -> Result<Said, String> {
    let mode = text(members.get("mode")).unwrap_or_default();
    let (kind, path) = match mode.as_str() {
        "chat" => ("chat", None),
        "responses" => ("chat", Some("responses")),
        "completion" => ("completion", None),
        "embedding" => ("embedding", None),
        "image_generation" | "image_edit" => ("image", None),
        "audio_transcription" | "audio_speech" => ("audio", None),
        "moderation" => ("moderation", None),
        "video_generation" => ("video", None),
        "rerank" => ("rerank", None),
        other => return Err(format!("its mode {:?} is not served here", super::shown(other))),
    };
    let mut said = Said {
        kind: Some(kind),
        path,
        reasoning: flag(members.get("supports_reasoning")),
        context_tokens: tokens(members.get("max_input_tokens")),
        output_tokens_max: tokens(members.get("max_output_tokens")),
        retired: text(members.get("deprecation_date")),
        ..Said::default()
    };
    for (name, value) in members.each() {
        prices(name, value, kind, &mut said)?;
    }
    Ok(said)
}

fn prices(name: &str, value: &RawValue, kind: &str, said: &mut Said) -> Result<(), String> {
    match name {
        "search_context_cost_per_query" => {
            let sizes = Members::of(value);
            let usual = sizes.as_ref().and_then(|sizes| sizes.get("search_context_size_medium"));
            usual.map_or(Ok(()), |usual| said.price(Place::default(), Class::ServerTool, name, usual.get(), PICO))
        }
        "tiered_pricing" => bands(value, said),
        // A picture of the prompt in other kinds, which is counted in tokens.
        "input_cost_per_image" if kind != "image" => Ok(()),
        _ => match place(name) {
            Some((place, class)) => said.price(place, class, name, value.get(), PICO),
            None => {
                let money = ["_cost", "cost_", "pricing"].iter().any(|word| name.contains(word));
                if money && value.get().bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
                    said.unsaid.push(super::shown(name));
                }
                Ok(())
            }
        },
    }
}

/// Pico-dollars of a dollar.
const PICO: i32 = 12;

/// Price lists know up to five.
const BANDS_MAX: usize = 32;

/// `[{"range": [0, 32000], "input_cost_per_token": …}, …]`
fn bands(value: &RawValue, said: &mut Said) -> Result<(), String> {
    let wrong = || "tiered_pricing is not a list of ranges".to_owned();
    let bands: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if bands.len() > BANDS_MAX {
        return Err(format!("tiered_pricing has {} ranges; more than {BANDS_MAX} are nobody's price", bands.len()));
    }
    for band in bands {
        let band = Members::of(band).ok_or_else(wrong)?;
        let range: Vec<&RawValue> =
            band.get("range").and_then(|range| serde_json::from_str(range.get()).ok()).ok_or_else(wrong)?;
        let above = tokens(range.first().copied()).unwrap_or(0);
        for (name, value) in band.each() {
            if let Some((Place { tier, above: 0 }, class)) = place(name) {
                said.price(Place { tier, above }, class, name, value.get(), PICO)?;
            }
        }
    }
    Ok(())
}

/// A name is a class, perhaps a band (`_above_200k_tokens`), perhaps a tier (`_batches`), in this order.
fn place(name: &str) -> Option<(Place, Class)> {
    let tiers = [("_batches", "batch"), ("_flex", "flex"), ("_priority", "priority")];
    let tiered = tiers.iter().find_map(|(ending, tier)| Some((Some(*tier), name.strip_suffix(ending)?)));
    let (tier, rest) = tiered.unwrap_or((None, name));
    let (above, rest) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
        Some((rest, thousands)) => (thousands.parse::<u64>().ok().filter(|k| *k < 1_000_000)? * 1_000, rest),
        None => (0, rest),
    };
    let (_, class) = CLASSES.iter().find(|(known, _)| *known == rest)?;
    Some((Place { tier, above }, *class))
}

/// Of two names for one class the first that the list writes holds.
const CLASSES: &[(&str, Class)] = &[
    ("input_cost_per_token", Class::Input),
    ("output_cost_per_token", Class::Output),
    ("cache_read_input_token_cost", Class::CacheRead),
    ("input_cost_per_token_cache_hit", Class::CacheRead),
    ("cache_creation_input_token_cost", Class::CacheWrite5m),
    ("cache_creation_input_token_cost_above_1hr", Class::CacheWrite1h),
    ("output_cost_per_reasoning_token", Class::Reasoning),
    ("input_cost_per_audio_token", Class::AudioInput),
    ("output_cost_per_audio_token", Class::AudioOutput),
    ("input_cost_per_image_token", Class::ImageInput),
    ("output_cost_per_image_token", Class::ImageOutput),
    ("output_cost_per_image", Class::Image),
    ("input_cost_per_image", Class::Image),
    ("input_cost_per_query", Class::Request),
    ("input_cost_per_request", Class::Request),
    ("input_cost_per_second", Class::Second),
    ("output_cost_per_second", Class::Second),
    ("ocr_cost_per_page", Class::Page),
    ("input_cost_per_character", Class::Character),
];
