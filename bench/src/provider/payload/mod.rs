//! What the model says, in no vendor's words; one file per dialect writes it down.

pub mod anthropic;
pub mod bedrock;
pub mod cohere;
pub mod error;
pub mod gemini;
pub mod object;
pub mod openai;
pub mod rerank;
pub mod responses;

use super::scenario::{Answer, Done, Scenario, UsageStyle};

/// One event of a stream before it is framed: its name where the dialect has names, and its JSON.
#[derive(Clone, Debug)]
pub struct Frame {
    pub name: Option<&'static str>,
    pub data: String,
    pub part: Part,
}

/// Where in the stream a frame stands. `@K` counts deltas; `usage=late` waits before the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Preamble,
    Delta,
    Between,
    Finish,
    Usage,
    Done,
}

/// Everything that a dialect needs to write one answer.
pub struct Saying {
    pub model: String,
    pub blocks: Vec<Block>,
    pub tokens: Tokens,
    pub finish: Finish,
    pub done: Done,
    pub ids: Ids,
    pub created: u64,
    pub include_usage: bool,
    /// Responses: thoughts come with their sealed form.
    pub sealed: bool,
    /// Cohere: a plan before the calls.
    pub plan: bool,
}

pub enum Block {
    Text(Vec<String>),
    Reasoning(Vec<String>),
    Tool { name: String, arguments: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    Tools,
    Missing,
}

/// Ids of one answer: the prefix that the scenario gives, then the vendor's, then a seed.
pub struct Ids {
    pub prefix: String,
    pub seed: u64,
}

impl Ids {
    pub fn id(&self, vendor: &str, salt: u64) -> String {
        let mut state = self.seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let tail: String = (0..24).map(|_| LETTERS[(next(&mut state) % 62) as usize] as char).collect();
        format!("{vendor}{}{tail}", self.prefix)
    }
}

/// Token counts as they are written: absurd ones are the scenario's wish.
pub struct Tokens {
    style: UsageStyle,
    pub fresh: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

impl Tokens {
    pub fn told(&self) -> bool {
        self.style != UsageStyle::None
    }

    pub fn write(&self, count: u64) -> String {
        match self.style {
            UsageStyle::Negative => format!("-{}", count.max(1)),
            UsageStyle::Text => format!("\"{count}\""),
            UsageStyle::Huge => format!("9{count:030}"),
            UsageStyle::Honest | UsageStyle::None | UsageStyle::Late => count.to_string(),
        }
    }
}

/// What an answer is made for. `echo` is the caller's own text, `tool` the name of the caller's first tool.
#[derive(Clone, Default)]
pub struct Occasion {
    pub seed: u64,
    pub created: u64,
    pub include_usage: bool,
    pub sealed: bool,
    pub echo: Option<String>,
    pub tool: Option<String>,
}

/// What the scenario wants said.
pub fn compose(scenario: &Scenario, model: &str, occasion: Occasion) -> Saying {
    let Occasion { seed, created, include_usage, sealed, echo, tool } = occasion;
    let events = scenario.events as usize;
    let text = |count: usize| match &echo {
        Some(said) => cut_evenly(said, count),
        None => words(count, scenario.text as usize, scenario.utf8),
    };
    let tool = tool.unwrap_or_else(|| "get_weather".to_owned());
    let blocks = match scenario.answer {
        Answer::Text => vec![Block::Text(text(events))],
        Answer::Json => vec![Block::Text(arguments(events))],
        Answer::Tool => vec![Block::Tool { name: tool, arguments: arguments(events) }],
        Answer::Tools => vec![
            Block::Tool { name: tool.clone(), arguments: arguments(events.div_ceil(2)) },
            Block::Tool { name: tool, arguments: arguments(events / 2) },
        ],
        Answer::Reasoning => vec![
            Block::Reasoning(words(events / 2, scenario.text as usize, false)),
            Block::Text(text(events - events / 2)),
        ],
        Answer::Agent => vec![
            Block::Reasoning(words(events.div_ceil(4), scenario.text as usize, false)),
            Block::Text(text(events / 4)),
            Block::Tool { name: tool.clone(), arguments: arguments(events.div_ceil(4)) },
            Block::Tool { name: tool, arguments: arguments(events / 4) },
        ],
    };
    let finish = match (scenario.finish, scenario.length, scenario.answer) {
        (false, ..) => Finish::Missing,
        (_, true, _) => Finish::Length,
        (_, _, Answer::Tool | Answer::Tools | Answer::Agent) => Finish::Tools,
        _ => Finish::Stop,
    };
    let tokens = Tokens {
        style: scenario.usage,
        fresh: scenario.tokens_in,
        cached: scenario.tokens_cached,
        cache_write: scenario.tokens_cache_write,
        output: scenario.tokens_out.unwrap_or(u64::from(scenario.events)).max(scenario.tokens_reasoning),
        reasoning: scenario.tokens_reasoning,
    };
    let ids = Ids { prefix: scenario.id_prefix.clone(), seed };
    Saying {
        model: model.to_owned(),
        blocks,
        tokens,
        finish,
        done: scenario.done,
        ids,
        created,
        include_usage,
        sealed,
        plan: scenario.plan,
    }
}

/// The text of a delta as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A filler of the length that real vendors use to hide how long a delta is.
pub fn obfuscation(index: usize, text: &str) -> String {
    let mut state = index as u64 + 1;
    let count = 16usize.saturating_sub(text.len() % 16);
    (0..count).map(|_| LETTERS[(next(&mut state) % 62) as usize] as char).collect()
}

fn words(count: usize, bytes: usize, utf8: bool) -> Vec<String> {
    let vocabulary: &[&str] = if utf8 { &WIDE_WORDS } else { &WORDS };
    let mut at = 0;
    let mut word = || {
        at += 1;
        vocabulary[(at - 1) % vocabulary.len()]
    };
    (0..count)
        .map(|index| {
            let mut text = String::with_capacity(bytes + 16);
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word());
            while text.len() < bytes {
                text.push(' ');
                text.push_str(word());
            }
            if bytes > 0 {
                let end = (0..=bytes).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
                text.truncate(end);
                text.extend(std::iter::repeat_n('.', bytes - end));
            }
            text
        })
        .collect()
}

/// The pieces of `{"city":"…","days":3}` in exactly `count` deltas (at least one, so that the call has arguments).
fn arguments(count: usize) -> Vec<String> {
    let filler: String = words(count.max(1), 0, false).concat();
    cut_evenly(&format!("{{\"city\":{},\"days\":3}}", quote(&filler)), count.max(1))
}

fn cut_evenly(text: &str, count: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let count = count.max(1);
    (0..count).map(|i| letters[i * letters.len() / count..(i + 1) * letters.len() / count].iter().collect()).collect()
}

/// A small fixed sequence (splitmix64): the rig needs variety, not secrecy.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a: names a credential or a scenario inside an id.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const WORDS: [&str; 24] = [
    "The",
    "water",
    "behind",
    "the",
    "boards",
    "rises",
    "slowly",
    "until",
    "someone",
    "lifts",
    "one",
    "and",
    "lets",
    "it",
    "run",
    "over",
    "\"stone\"",
    "and",
    "moss,",
    "past",
    "the",
    "mill",
    "to",
    "sea.\n",
];
const WIDE_WORDS: [&str; 8] = ["Größe", "naïve", "мельница", "水車", "川の流れ", "🌊", "👩‍🔧", "ελάτη"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_size_asked_for() {
        for text in words(40, 37, true).iter().chain(&words(40, 120, false)) {
            assert!(text.len() == 37 || text.len() == 120, "{text}");
        }
        assert_eq!(words(3, 0, false), ["The", " water", " behind"]);
        let whole: String = arguments(7).concat();
        assert!(serde_json::from_str::<serde_json::Value>(&whole).is_ok(), "{whole}");
        assert_eq!(arguments(7).len(), 7);
    }

    #[test]
    fn huge_is_beyond_64_bits() {
        let tokens = Tokens { style: UsageStyle::Huge, fresh: 1, cached: 0, cache_write: 0, output: 1, reasoning: 0 };
        assert!(tokens.write(7).parse::<u64>().is_err());
    }
}
