//! What a name leads to: an ordered tree of candidates, as an operator writes it and as it is obeyed.
//!
//! ```toml
//! [[route]]
//! name = "assistant"
//! [route.to]
//! order = [
//!   { when = { tools = true }, model = "openai/gpt-4o" },
//!   { least_cost = ["anthropic/claude-3-5-haiku", "gemini/gemini-1.5-flash"] },
//! ]
//! ```
//!
//! A branch is a model, or a table with exactly one way to choose among branches. The tree says in which order candidates
//! are tried; which of them may be tried at all is not its business ([`crate::routing::Eligible`]).

use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hedging::{Hedge, HedgeDraft};
use super::mirroring::{Mirror, MirrorDraft};
use super::resilience::Trying;
use crate::resolve::Pattern;

/// Candidates of one route. Each costs a look at every call.
pub const CANDIDATES_MAX: usize = 16;
/// Conditions of one route: they stand in the record as one word.
pub const CONDITIONS_MAX: usize = 64;
/// Different things that the branches of one route stick to.
pub const STICKY_MAX: usize = 2;
/// Branches of one route: each has its own dice.
pub const BRANCHES_MAX: usize = 128;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDraft {
    /// What callers say in place of a model's name; a model of the same name is then reached through here.
    pub name: String,
    pub to: BranchDraft,
    /// Only vendors of these regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Only vendors that keep nothing of what they were sent.
    #[serde(default)]
    pub zero_retention: bool,
    /// Only vendors that do not train on what they were sent.
    #[serde(default)]
    pub no_training: bool,
    /// Upstream calls for one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Whether a call that may have been carried out already is said again elsewhere; yes, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ambiguous: Option<bool>,
    /// A stream that breaks off in the middle of its text goes on with the next candidate that can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<bool>,
    /// A second candidate is asked when the first is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeDraft>,
    /// A share of its calls goes to another model as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorDraft>,
    /// So many candidates answer each call, and the caller gets all of their answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<u32>,
}

/// A branch that is only a model may be written as its name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BranchDraft(pub Box<BranchTable>);

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchTable {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The first that is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<BranchDraft>>,
    /// By chance, each in proportion to its `share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Vec<BranchDraft>>,
    /// The same, and the one that is drawn is all there is: for A/B and canaries. Its `name` stands in records and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Vec<BranchDraft>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_cost: Option<Vec<BranchDraft>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_latency: Option<Vec<BranchDraft>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_busy: Option<Vec<BranchDraft>>,
    /// The cheapest of those that begin to answer within `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cheapest_under: Option<Vec<BranchDraft>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<String>,
    /// Always the same one for the same `by`, as long as it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Vec<BranchDraft>>,
    /// `key`, `user`, `conversation`, or `header:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Within `weight`, `split` and `sticky`; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Of a branch of `split`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The branch is there only for calls of which all of this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<WhenDraft>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenDraft {
    /// A pattern of the key's name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `NAME: pattern`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// `NAME: pattern` of the body's `metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// A pattern of a region that the caller is bound to, by its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// More tokens in the prompt than this, as far as its length tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_over: Option<u64>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_up_to: Option<u64>,
}

impl Serialize for BranchDraft {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.model {
            Some(model) if *self.0 == (BranchTable { model: Some(model.clone()), ..BranchTable::default() }) => {
                serializer.serialize_str(model)
            }
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for BranchDraft {
    /// By hand, so that what is wrong within a table is told as what it is and not as "no variant matches".
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = BranchDraft;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a model's name, or a table such as { order = [\"a\", \"b\"] }")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<BranchDraft, E> {
                Ok(BranchDraft(Box::new(BranchTable { model: Some(name.to_owned()), ..BranchTable::default() })))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<BranchDraft, A::Error> {
                BranchTable::deserialize(MapAccessDeserializer::new(map)).map(|table| BranchDraft(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A route as it is obeyed.
#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    pub root: Branch,
    /// Every model that it can lead to, in the order of first mention.
    pub places: Vec<u32>,
    pub conditions: Vec<Condition>,
    pub sticky: Vec<StickyBy>,
    pub require: Require,
    /// One bit for each of `places`: its vendor is known to meet `require`.
    pub met: u16,
    pub trying: Trying,
    pub hedge: Option<Hedge>,
    pub mirror: Option<Mirror>,
    /// Answers to one call; 1 as a rule.
    pub fan_out: u32,
}

#[derive(Debug)]
pub struct Branch {
    /// Counted within the route: each has dice of its own.
    pub number: u8,
    /// One of the route's conditions.
    pub when: Option<u8>,
    pub share: u32,
    pub label: Option<Arc<str>>,
    pub is: Is,
}

#[derive(Debug)]
pub enum Is {
    /// Places within the route's list: a bare name can mean several vendors' models.
    Models(Vec<u8>),
    Order(Vec<Branch>),
    Weight(Vec<Branch>),
    Split(Vec<Branch>),
    Least(Measure, Vec<Branch>),
    /// The bound is quantised like what it is compared with.
    CheapestUnder(u8, Vec<Branch>),
    /// By one of the things that the route sticks to.
    Sticky(u8, Vec<Branch>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    Cost,
    Latency,
    Busy,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StickyBy {
    Key,
    User,
    /// The start of the conversation, so that a vendor's cache of prompts stays warm.
    Conversation,
    /// In lower case.
    Header(Arc<str>),
}

/// What must be true of every vendor that sees a call, whatever the tree says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Require {
    /// Empty: any.
    pub regions: Vec<Arc<str>>,
    pub zero_retention: bool,
    pub no_training: bool,
}

impl Require {
    pub fn is_nothing(&self) -> bool {
        self.regions.is_empty() && !self.zero_retention && !self.no_training
    }
}

/// All of it must be true.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    pub key: Option<Pattern>,
    pub tenant: Option<Pattern>,
    /// Name in lower case.
    pub header: Option<(Arc<str>, Pattern)>,
    pub metadata: Option<(Arc<str>, Pattern)>,
    pub region: Option<Pattern>,
    /// Needs that must be there, and needs that must not.
    pub needs: u16,
    pub needs_not: u16,
    pub prompt_over: Option<u64>,
    pub prompt_up_to: Option<u64>,
}
