//! models.dev's `api.json`: one object, a member for each vendor with its `models`, money in dollars per million tokens.

use serde_json::value::RawValue;
use weir_shared::usage::Class;

use super::{Entry, Members, Place, Said, flag, text, tokens};

pub fn entries(top: &Members<'_>, entries: &mut Vec<Entry>) -> Result<(), String> {
    for (vendor, value) in top.each() {
        let wrong = |error: serde_json::Error| format!("{:?}: {error}", super::shown(vendor));
        let Some(models) = Members::read(value.get()).map_err(wrong)?.get("models") else { continue };
        for (id, value) in Members::read(models.get()).map_err(wrong)?.each() {
            let members = Members::read(value.get()).map_err(wrong)?;
            entries.push(Entry { vendor: vendor.to_owned(), id: id.to_owned(), said: said(id, &members) });
        }
    }
    Ok(())
}

fn said(id: &str, members: &Members<'_>) -> Result<Said, String> {
    let limit = members.get("limit").and_then(Members::of);
    let limit = |name: &str| tokens(limit.as_ref().and_then(|limit| limit.get(name)));
    let mut said = Said {
        kind: kind(id, members),
        reasoning: flag(members.get("reasoning")),
        context_tokens: limit("context"),
        output_tokens_max: limit("output"),
        retired: text(members.get("status")).filter(|status| status == "deprecated"),
        ..Said::default()
    };
    let Some(cost) = members.get("cost") else { return Ok(said) };
    let cost = Members::of(cost).ok_or("its cost is no object")?;
    rates(&cost, 0, &mut said)?;
    match cost.get("tiers") {
        Some(tiers) => bands(tiers, &mut said)?,
        None => {
            if let Some(dear) = cost.get("context_over_200k") {
                let dear = Members::of(dear).ok_or("context_over_200k is no object")?;
                rates(&dear, 200_000, &mut said)?;
            }
        }
    }
    Ok(said)
}

fn bands(tiers: &RawValue, said: &mut Said) -> Result<(), String> {
    let wrong = || "tiers is not a list of prices with a size".to_owned();
    let tiers: Vec<&RawValue> = serde_json::from_str(tiers.get()).map_err(|_| wrong())?;
    for band in tiers {
        let band = Members::of(band).ok_or_else(wrong)?;
        let size = band.get("tier").and_then(Members::of).ok_or_else(wrong)?;
        rates(&band, tokens(size.get("size")).ok_or_else(wrong)?, said)?;
    }
    Ok(())
}

fn rates(cost: &Members<'_>, above: u64, said: &mut Said) -> Result<(), String> {
    for (name, value) in cost.each() {
        let class = CLASSES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class);
        match class {
            Some(class) => said.price(Place { tier: None, above }, class, name, value.get(), MICRO)?,
            None if ["tiers", "tier", "context_over_200k"].contains(&name) => {}
            None => said.unsaid.push(super::shown(name)),
        }
    }
    Ok(())
}

/// Pico-dollars a token of a dollar per million.
const MICRO: i32 = 6;

const CLASSES: &[(&str, Class)] = &[
    ("input", Class::Input),
    ("output", Class::Output),
    ("reasoning", Class::Reasoning),
    ("cache_read", Class::CacheRead),
    ("cache_write", Class::CacheWrite5m),
    ("input_audio", Class::AudioInput),
    ("output_audio", Class::AudioOutput),
];

/// The list has no word for it: what a model gives back says it, and where that is text, its family.
fn kind(id: &str, members: &Members<'_>) -> Option<&'static str> {
    let family = text(members.get("family")).unwrap_or_default();
    let called = |word: &str| family.contains(word) || id.to_ascii_lowercase().contains(word);
    let modalities = members.get("modalities").and_then(Members::of)?;
    let output: Vec<String> = serde_json::from_str(modalities.get("output")?.get()).ok()?;
    let gives = |kind: &str| output.iter().any(|output| output == kind);
    match () {
        () if called("rerank") => Some("rerank"),
        () if called("embed") => Some("embedding"),
        () if gives("text") => Some("chat"),
        () if gives("video") => Some("video"),
        () if gives("image") => Some("image"),
        () if gives("audio") => Some("audio"),
        () => None,
    }
}
