//! Price lists that others keep: LiteLLM's map and models.dev's `api.json`, read into one form.
//!
//! A list is a stranger's file. What cannot be believed of an entry leaves that entry out, with the reason; what cannot be
//! read at all is refused as a whole. Figures are never a float: their digits are.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use weir_shared::usage::Class;

pub mod figure;
mod litellm;
mod members;
mod models_dev;

use members::Members;

/// Both lists are between three and five mebibytes long.
pub const BYTES_MAX: usize = 64 << 20;
/// Both lists are four to six levels deep.
const DEPTH_MAX: usize = 32;
/// Both lists have some thousands of entries.
const ENTRIES_MAX: usize = 200_000;
const NAME_BYTES_MAX: usize = 200;
/// No model's window comes near; a larger figure is a mistake.
const TOKENS_MAX: u64 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    LiteLlm,
    ModelsDev,
}

impl List {
    /// As the catalog's files and scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LiteLlm => "litellm",
            Self::ModelsDev => "models.dev",
        }
    }

    /// What a price says about where it comes from.
    pub fn source(self) -> &'static str {
        match self {
            Self::LiteLlm => "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json",
            Self::ModelsDev => "https://models.dev/api.json",
        }
    }
}

#[derive(Debug)]
pub struct Listing {
    pub list: List,
    pub entries: Vec<Entry>,
}

/// One model of one vendor, both as the list calls them.
#[derive(Debug)]
pub struct Entry {
    pub vendor: String,
    pub id: String,
    /// Or why nothing of it is believed.
    pub said: Result<Said, String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Said {
    pub kind: Option<&'static str>,
    /// The only path it is served on.
    pub path: Option<&'static str>,
    pub reasoning: bool,
    pub context_tokens: Option<u64>,
    pub output_tokens_max: Option<u64>,
    /// The last day it is served, or that it is no longer.
    pub retired: Option<String>,
    pub prices: Prices,
    /// Figures that had to be rounded, as the list writes them.
    pub rounded: Vec<String>,
    /// Members about money for which there is no class here.
    pub unsaid: Vec<String>,
}

/// A list of prices within a model: whose tier, and from more than how many tokens of prompt on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Place {
    /// `None` is standard.
    pub tier: Option<&'static str>,
    pub above: u64,
}

/// Pico-dollars per unit, by place and class. A zero says "free" or "unknown", so it is not kept.
pub type Prices = BTreeMap<Place, BTreeMap<Class, u64>>;

/// Reads whichever of the lists it is.
pub fn read(text: &[u8]) -> Result<Listing, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it is larger than {} MiB", BYTES_MAX >> 20));
    }
    let text = std::str::from_utf8(text).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let text = text.trim_start_matches('\u{feff}');
    if too_deep(text) {
        return Err(format!("its values stand in each other more than {DEPTH_MAX} deep"));
    }
    let top = Members::read(text).map_err(|error| format!("it is not a list of prices: {error}"))?;
    let list = which(&top).ok_or(
        "it is not a list of prices: neither LiteLLM's (every member has a litellm_provider) nor models.dev's (every \
         member has models)",
    )?;
    let mut entries = Vec::new();
    match list {
        List::LiteLlm => litellm::entries(&top, &mut entries)?,
        List::ModelsDev => models_dev::entries(&top, &mut entries)?,
    }
    if entries.len() > ENTRIES_MAX {
        return Err(format!("it has more than {ENTRIES_MAX} entries"));
    }
    for entry in &mut entries {
        if let Some(why) = [&entry.vendor, &entry.id].into_iter().find_map(|name| unusable(name)) {
            entry.said = Err(why);
        }
    }
    Ok(Listing { list, entries })
}

fn which(top: &Members<'_>) -> Option<List> {
    top.each().find_map(|(_, value)| {
        let members = Members::of(value)?;
        if members.get("litellm_provider").is_some() {
            return Some(List::LiteLlm);
        }
        members.get("models").and_then(Members::of).map(|_| List::ModelsDev)
    })
}

/// The names go into files and onto screens, so they are what both lists consist of anyway.
fn unusable(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("its name is empty".into());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("its name is longer than {NAME_BYTES_MAX} bytes"));
    }
    let odd = name.chars().find(|letter| !letter.is_ascii_graphic() || matches!(letter, '"' | '\\'))?;
    Some(format!("its name holds U+{:04X}; only visible ASCII without quotes and backslashes is taken", u32::from(odd)))
}

/// Whether brackets outside of strings nest too deeply. What is not JSON is told later.
fn too_deep(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A whole number of tokens; some lists write it as a fraction, and some write words in its place.
fn tokens(value: Option<&RawValue>) -> Option<u64> {
    let count = figure::scaled(value?.get(), 0, TOKENS_MAX).ok()?;
    (!count.rounded && count.units > 0).then_some(count.units)
}

fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

fn flag(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

impl Said {
    /// Takes one figure in; `text` is a JSON number in units of 10^-`decimals` pico-dollars.
    fn price(&mut self, place: Place, class: Class, name: &str, text: &str, decimals: i32) -> Result<(), String> {
        let found = figure::scaled(text, decimals, figure::most(class))
            .map_err(|why| format!("{name} = {} {why}", shown(text)))?;
        if found.rounded {
            self.rounded.push(format!("{name} = {}", shown(text)));
        }
        if found.units > 0 {
            self.prices.entry(place).or_default().entry(class).or_insert(found.units);
        }
        Ok(())
    }
}

/// A stranger's words on a screen: not all of them, and none that moves the cursor.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    crate::table::harmless(&if cut.len() < text.len() { cut + "…" } else { cut })
}

#[cfg(test)]
mod tests;
