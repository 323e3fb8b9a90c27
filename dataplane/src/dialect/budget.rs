//! How much is thought where thoughts are counted in tokens of the answer, and where rules say when there may be none.

use weir_shared::catalog::Thinking;

use super::call::{Amount, Call, Effort, Part, Role, Tongue, ToolChoice, What};
use super::compose::Object;
use super::speech::{Lost, Recipient};

/// What a vendor is told of thinking, and the limit of the whole answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// `None`: neither the caller nor the catalog names one.
    pub tokens_max: Option<u64>,
    pub thoughts: Thoughts,
    /// For models that are told by a word, also where they may not think aloud.
    pub effort: Option<Effort>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thoughts {
    Unsaid,
    Off,
    Budget(u64),
    Adaptive,
}

impl Plan {
    pub fn thinks(&self) -> bool {
        matches!(self.thoughts, Thoughts::Budget(_) | Thoughts::Adaptive)
    }
}

/// Nobody who names no limit wants more at once, whatever the model could.
const UNASKED_TOKENS_MAX: u64 = 32_000;
const BESIDE_FORCED_TOOL: &str = "thinking beside a forced tool";
/// Fewer are refused.
const BUDGET_MIN: u64 = 1_024;
/// What stays for the answer behind its thoughts when nobody named a limit.
const ANSWER_TOKENS: u64 = 4_096;

/// An amount is what is thought at most. Where the vendor's rules forbid thinking it is nothing, and told: the call is worth
/// more than its thoughts, and its caller cannot know these rules.
pub fn plan(
    call: &Call<'_>,
    to: &Recipient<'_>,
    turns: &[(Role, Vec<&Part<'_>>)],
    own: Tongue,
    lost: &mut Vec<Lost>,
) -> Plan {
    let model = Some(to.output_tokens_max).filter(|most| *most > 0);
    let asked = call.tokens_max.map(|asked| asked.min(model.unwrap_or(u64::MAX)));
    if asked != call.tokens_max {
        Lost::Hint("a limit above the model's own").tell(lost);
    }
    let tokens_max = asked.or(model.map(|model| model.min(UNASKED_TOKENS_MAX)));
    let unsaid = Plan { tokens_max, thoughts: Thoughts::Unsaid, effort: None };
    let Some(amount) = call.reasoning.and_then(|reasoning| reasoning.amount) else { return unsaid };
    if !to.reasoning {
        if !matches!(amount, Amount::Off | Amount::Auto) {
            lost.push(Lost::Thing("thinking, which this model does not do"));
        }
        return unsaid;
    }
    let forced = matches!(
        call.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Among { required: true, .. })
    );
    match (to.thinking, amount) {
        (Thinking::Effort, Amount::Off) => Plan { thoughts: Thoughts::Off, ..unsaid },
        (Thinking::Budget, Amount::Off) => unsaid,
        (Thinking::Effort, amount) => {
            let effort = match amount {
                Amount::Effort(effort) => Some(effort),
                Amount::Tokens(tokens) => Some(Effort::of_tokens(tokens)),
                Amount::Off | Amount::Auto => None,
            };
            if forced {
                Lost::Hint(BESIDE_FORCED_TOOL).tell(lost);
                return Plan { effort, ..unsaid };
            }
            Plan { thoughts: Thoughts::Adaptive, effort, ..unsaid }
        }
        (Thinking::Budget, _) if forced => {
            Lost::Hint(BESIDE_FORCED_TOOL).tell(lost);
            unsaid
        }
        (Thinking::Budget, _) if lacks_its_thought(turns, own) => {
            Lost::Hint("thinking in a loop of tools that began without").tell(lost);
            unsaid
        }
        (Thinking::Budget, amount) => {
            let wished = amount.tokens().max(BUDGET_MIN);
            // Thoughts come out of the answer's limit, and something must be left.
            let with_room = wished.saturating_add(ANSWER_TOKENS);
            let unasked = || model.map_or(with_room, |model| model.min(with_room.max(UNASKED_TOKENS_MAX)));
            let tokens_max = asked.unwrap_or_else(unasked);
            let budget = wished.min(tokens_max.saturating_sub(1));
            if budget < BUDGET_MIN {
                Lost::Hint("thinking under a limit that leaves no room for it").tell(lost);
                return unsaid;
            }
            Plan { tokens_max: Some(tokens_max), thoughts: Thoughts::Budget(budget), effort: None }
        }
    }
}

/// How a vendor was told how much to think.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'s> {
    Budget(u64),
    Effort(&'s str),
}

/// Efforts are words with some vendors and budgets with others, and not everybody knows all words: what is said roughly is
/// told.
pub fn tell(call: &Call<'_>, said: Said<'_>, lost: &mut Vec<Lost>) {
    let is_exact = match (call.reasoning.and_then(|reasoning| reasoning.amount), said) {
        (Some(Amount::Effort(asked)), Said::Effort(word)) => asked.name() == word,
        (Some(Amount::Tokens(asked)), Said::Budget(tokens)) => asked == tokens,
        (Some(Amount::Effort(_) | Amount::Tokens(_)), _) => false,
        (None | Some(Amount::Off | Amount::Auto), _) => true,
    };
    if !is_exact {
        Lost::Hint("the exact amount of thinking").tell(lost);
    }
}

/// The same of a plan whose words are all known.
pub fn tell_plan(call: &Call<'_>, plan: &Plan, word: Option<&str>, lost: &mut Vec<Lost>) {
    match (plan.thoughts, word) {
        (Thoughts::Budget(tokens), _) => tell(call, Said::Budget(tokens), lost),
        (_, Some(word)) => tell(call, Said::Effort(word), lost),
        (Thoughts::Unsaid | Thoughts::Off | Thoughts::Adaptive, None) => {}
    }
}

/// As Anthropic's models are told, here and on Bedrock.
pub fn write(thoughts: Thoughts, shown: Option<bool>, thinking: &mut Object<'_>) {
    match thoughts {
        Thoughts::Unsaid | Thoughts::Off => _ = thinking.str("type", "disabled"),
        Thoughts::Budget(tokens) => _ = thinking.str("type", "enabled").number("budget_tokens", tokens),
        Thoughts::Adaptive => _ = thinking.str("type", "adaptive"),
    }
    match (thoughts, shown) {
        // Who is told by a budget shows them when nothing is said, and takes the word only to leave them out.
        (Thoughts::Adaptive, Some(true)) => _ = thinking.str("display", "summarized"),
        (Thoughts::Adaptive | Thoughts::Budget(_), Some(false)) => _ = thinking.str("display", "omitted"),
        _ => {}
    }
}

/// A loop of tool calls goes on, and what the model thought before the first of them did not come back: by its vendor's
/// rules such a loop goes on without thoughts.
fn lacks_its_thought(turns: &[(Role, Vec<&Part<'_>>)], own: Tongue) -> bool {
    let answers = |parts: &[&Part<'_>]| parts.iter().any(|part| matches!(part.what, What::ToolResult(_)));
    let asked = turns.iter().rposition(|(role, parts)| *role == Role::User && !answers(parts));
    let since = &turns[asked.map_or(0, |place| place + 1)..];
    let is_own = |part: &&Part<'_>| match &part.what {
        What::Reasoning(thought) => thought.proof.as_ref().is_some_and(|proof| proof.of == own),
        _ => false,
    };
    let called = |parts: &[&Part<'_>]| parts.iter().any(|part| matches!(part.what, What::ToolCall(_)));
    since.iter().any(|(role, parts)| *role == Role::Assistant && called(parts) && !parts.first().is_some_and(is_own))
}
