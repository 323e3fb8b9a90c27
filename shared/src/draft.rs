//! What an operator wrote, before anything of it is believed.
//!
//! A draft comes from the operator's folder (the control plane reads TOML) or from the store (values are JSON, each with
//! the place it was written at). [`crate::snapshot::Snapshot::compile`] is the only way on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Source;
use crate::key::{KeyDraft, LimitsDraft};
use crate::overlay::OverlayDraft;
use crate::policy::queueing::QueueDraft;
use crate::policy::resilience::BreakerDraft;
use crate::policy::routing::RouteDraft;
use crate::policy::size::SizesDraft;
use crate::policy::time::TimesDraft;
use crate::sealed::SealedDraft;
use crate::stored::{self, Unreadable};

/// The newest form of values that this build understands. A node that meets a newer one refuses the revision.
pub const SCHEMA: u32 = 1;

/// Something an operator wrote, and where.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sourced<T> {
    pub source: Source,
    pub is: T,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Draft {
    pub gateway: Option<Sourced<GatewayDraft>>,
    pub aliases: Vec<Sourced<AliasDraft>>,
    pub tenants: Vec<Sourced<TenantDraft>>,
    /// In the order of preference: of two vendors that serve a bare name, the first written wins.
    pub vendors: Vec<Sourced<VendorDraft>>,
    pub models: Vec<Sourced<ModelDraft>>,
    pub routes: Vec<Sourced<RouteDraft>>,
    pub keys: Vec<KeyDraft>,
    /// What was changed by hand; no part of the folder.
    pub overlay: OverlayDraft,
    /// Vendors' secrets; no part of the folder either.
    pub sealed: Vec<SealedDraft>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayDraft {
    #[serde(default)]
    pub times: TimesDraft,
    #[serde(default)]
    pub sizes: SizesDraft,
    /// Origins that browsers may call from; empty means none, "*" any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors_origins: Vec<String>,
    /// Addresses (or CIDR ranges) whose `X-Forwarded-For` is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// Whether answers tell callers what they cost, in `x-weir-cost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_header: Option<bool>,
    /// What becomes of a parameter that the vendor's dialect has no word for: `refuse` (default) answers 400 and names it;
    /// `drop` leaves it out and names it in `x-weir-dropped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untranslatable: Option<String>,
    /// When a vendor that fails is passed over, and when it is tried again.
    #[serde(default)]
    pub breaker: BreakerDraft,
    /// How long calls wait for a place at vendors whose credentials are at their limits.
    #[serde(default)]
    pub queue: QueueDraft,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasDraft {
    pub name: String,
    pub target: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDraft {
    pub name: String,
    /// On top of the vendor's price, in basis points; negative is a discount.
    #[serde(default)]
    pub markup_bp: i32,
    /// Patterns of model names; empty means every model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Only vendors of these regions see its calls; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Only vendors that keep nothing of what they were sent.
    #[serde(default)]
    pub zero_retention: bool,
    /// Only vendors that do not train on what they were sent.
    #[serde(default)]
    pub no_training: bool,
    /// When the credentials that are its own carry its calls: `first` (when left out), `only`, `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_credentials: Option<String>,
    /// What it pays where they do, in basis points of the list price: it pays the vendor itself. Nothing, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_price_bp: Option<i32>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorDraft {
    pub name: String,
    pub dialect: String,
    pub base_url: String,
    /// A name of [`crate::catalog::AuthScheme`]; the dialect's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// Stands for `{region}` in addresses; signatures are made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Stands for `{project}` in addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Stands for `{api_version}` in addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Of `aws-sigv4`: what is signed for; `bedrock` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What tokens are asked for, when it is not what the cloud's models usually want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Where tokens are fetched, in place of the cloud's own address; `{tenant}` stands for the tenant of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Paths in place of the dialect's own; the first that fits holds.
    #[serde(default, rename = "path", skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathDraft>,
    /// The base URL may lead to a loopback or private address.
    #[serde(default)]
    pub internal: bool,
    /// `bundled`, `system`, or the path of a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// A CONNECT proxy, `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    #[serde(default)]
    pub times: TimesDraft,
    /// What to do with a vendor's stream when the caller hangs up: `abort` (default) or `drain` to the usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hang_up: Option<String>,
    /// Fields that are sent with every request to this vendor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Whether malformed events end the stream (`strict`, default) or are left out (`lenient`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Whether it serves OpenAI's Responses beside chat completions; yes, when left out. Of the dialect `openai` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<bool>,
    /// How it is asked to rank documents: `jina` (when left out), `voyage`, `mixedbread`. Of the dialect `openai` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<String>,
    /// Where it departs from its dialect. With any, its answers are normalised instead of passed byte by byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
    /// Where it works on calls, in words of the operator's, such as "eu". A route or tenant that is bound to regions
    /// reaches it only when all of these are allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// By contract it keeps nothing of what it is sent.
    #[serde(default)]
    pub zero_retention: bool,
    /// By contract it does not train on what it is sent.
    #[serde(default)]
    pub no_training: bool,
    /// In place of the gateway's.
    #[serde(default)]
    pub breaker: BreakerDraft,
    #[serde(default, rename = "credential")]
    pub credentials: Vec<CredentialDraft>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathDraft {
    /// The dialect's endpoint below its version, such as `chat/completions`; `*` is every one.
    pub endpoint: String,
    /// Below `base_url`. `{model}` is the vendor's name for the model, `{path}` the dialect's own path; a query may follow.
    pub to: String,
    /// The same for calls that stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Members of the body that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Members of the body that are set, each to a string.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialDraft {
    pub name: String,
    /// The name of an environment variable of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The path of a file on the node, read anew when it changes. A key is its first line; other secrets take all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// It lies sealed in the store, where `weirctl vendor credential set` puts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Whose it is: a tenant's own carries that tenant's calls and nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u32>,
    /// Parts of these, and of what the vendor says of its limits, that are some keys' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share: Vec<ShareDraft>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareDraft {
    /// A pattern of the key's name or id.
    pub key: String,
    pub percent: u8,
}

impl CredentialDraft {
    pub fn limits(&self) -> LimitsDraft {
        LimitsDraft {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrent_requests: self.concurrent_requests,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDraft {
    pub vendor: String,
    /// What callers say.
    pub id: String,
    /// What the vendor is told, when it is another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// chat, completion, embedding, image, audio, moderation, video, rerank; informative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Thinks before it answers, so that it is waited for longer.
    #[serde(default)]
    pub reasoning: bool,
    /// How it is told how much to think, when that is not its dialect's usual way: `budget` (tokens) or `effort` (a word).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The only path it is served on, where a vendor has several for its kind: `chat` or `responses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// What it can do beside text: any of images, audio, files, tools, schema. Not said, nothing is ruled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can: Option<Vec<String>>,
    /// A model without a price must say so.
    #[serde(default)]
    pub free: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceDraft>,
    /// Where the price comes from, and when it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_source: Option<String>,
    #[serde(default)]
    pub unverified: bool,
}

/// Dollars as decimal strings, keyed by the names of [`crate::usage::Class`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceDraft {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<BandDraft>,
    /// Keyed by tier: batch, flex, priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierDraft>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierDraft {
    pub rates: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<BandDraft>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandDraft {
    pub input_tokens: u64,
    pub rates: BTreeMap<String, String>,
}

/// The names under which a draft's parts stand in a manifest.
pub mod part {
    pub const GATEWAY: &str = "gateway";
    pub const ALIASES: &str = "aliases";
    pub const TENANTS: &str = "tenants";
    pub const VENDORS: &str = "vendors/";
    pub const ROUTES: &str = "routes";
    pub const KEYS: &str = "keys/";
    /// What was changed by hand; neither the folder's nor a key.
    pub const OVERLAY: &str = "overlay";
    /// Vendors' secrets, sealed; neither the folder's nor a key.
    pub const SEALED: &str = "sealed";
    /// Who may speak to the admin API; nodes pass over it.
    pub const TOKENS: &str = "tokens";
    /// The vendors in their order of preference.
    pub const VENDOR_ORDER: &str = "vendor_order";
    /// What begins so is the control plane's alone: a build that does not know it passes over it. Any other unknown part is refused.
    pub const BESIDE: &str = "beside/";
}

impl Draft {
    /// Everything but the keys, as the values of a manifest.
    pub fn to_values(&self) -> BTreeMap<String, Vec<u8>> {
        let mut values = BTreeMap::new();
        if let Some(gateway) = &self.gateway {
            values.insert(part::GATEWAY.to_owned(), stored::list(&[gateway]));
        }
        values.insert(part::ALIASES.to_owned(), stored::list(&self.aliases));
        values.insert(part::TENANTS.to_owned(), stored::list(&self.tenants));
        if !self.routes.is_empty() {
            values.insert(part::ROUTES.to_owned(), stored::list(&self.routes));
        }
        let order: Vec<_> = self.vendors.iter().map(|vendor| &vendor.is.name).collect();
        values.insert(part::VENDOR_ORDER.to_owned(), stored::list(&order));
        for vendor in &self.vendors {
            let of_vendor = |model: &&Sourced<ModelDraft>| model.is.vendor == vendor.is.name;
            let models: Vec<_> = self.models.iter().filter(of_vendor).collect();
            values.insert(format!("{}{}", part::VENDORS, vendor.is.name), stored::vendor(vendor, &models));
        }
        values
    }

    /// Adds one value of a manifest to this draft.
    pub fn add_value(&mut self, name: &str, bytes: &[u8]) -> Result<(), Unreadable> {
        match name {
            part::GATEWAY => self.gateway = stored::read_list(name, bytes)?.into_iter().next(),
            part::ALIASES => self.aliases = stored::read_list(name, bytes)?,
            part::TENANTS => self.tenants = stored::read_list(name, bytes)?,
            part::ROUTES => self.routes = stored::read_list(name, bytes)?,
            part::OVERLAY => self.overlay = read_overlay(bytes)?,
            part::SEALED => self.sealed = read_sealed(bytes)?,
            part::VENDOR_ORDER => {
                let order = stored::read_list::<String>(name, bytes)?;
                let place = |vendor: &Sourced<VendorDraft>| order.iter().position(|name| *name == vendor.is.name);
                self.vendors.sort_by_key(|vendor| place(vendor).unwrap_or(usize::MAX));
            }
            _ if name.starts_with(part::VENDORS) => {
                let (vendor, models) = stored::read_vendor(name, bytes)?;
                self.vendors.push(vendor);
                self.models.extend(models);
            }
            _ if name.starts_with(part::KEYS) => self.keys.extend(stored::read_list::<KeyDraft>(name, bytes)?),
            part::TOKENS => {}
            _ if name.starts_with(part::BESIDE) => {}
            _ => return Err(Unreadable::UnknownPart { part: name.to_owned() }),
        }
        Ok(())
    }

    /// A whole draft from a whole manifest. The order of vendors is read last, when all vendors are there.
    pub fn from_values<'a>(values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Unreadable> {
        let mut draft = Self::default();
        let mut order = None;
        for (name, bytes) in values {
            if name == part::VENDOR_ORDER {
                order = Some(bytes);
            } else {
                draft.add_value(name, bytes)?;
            }
        }
        if let Some(bytes) = order {
            draft.add_value(part::VENDOR_ORDER, bytes)?;
        }
        Ok(draft)
    }
}

pub fn read_overlay(bytes: &[u8]) -> Result<OverlayDraft, Unreadable> {
    stored::read_table(part::OVERLAY, bytes)
}

pub fn write_overlay(overlay: &OverlayDraft) -> Vec<u8> {
    stored::table(overlay)
}

pub fn read_sealed(bytes: &[u8]) -> Result<Vec<SealedDraft>, Unreadable> {
    stored::read_list(part::SEALED, bytes)
}

/// The name of the part that holds a key with this fingerprint.
pub fn key_part(shard: u8) -> String {
    format!("{}{shard:02x}", part::KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_survives_the_store() {
        let source = Source { file: "vendors/a.toml".into(), line: 3 };
        let vendor = |name: &str| Sourced {
            source: source.clone(),
            is: VendorDraft { name: name.into(), dialect: "openai".into(), ..VendorDraft::default() },
        };
        let model = ModelDraft { vendor: "b".into(), id: "m".into(), free: true, ..ModelDraft::default() };
        let draft = Draft {
            vendors: vec![vendor("b"), vendor("a")],
            models: vec![Sourced { source, is: model }],
            ..Draft::default()
        };
        let values = draft.to_values();
        let read = Draft::from_values(values.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        assert_eq!(read, Ok(draft));
    }

    #[test]
    fn a_newer_schema_is_refused_by_name() {
        let newer = br#"{"schema":2,"items":[],"colour":"red"}"#;
        let refused = Draft::default().add_value(part::TENANTS, newer);
        let source = Source::default();
        assert_eq!(refused, Err(Unreadable::NewerSchema { part: "tenants".into(), schema: 2, source }));
        assert!(Draft::default().add_value(part::TENANTS, b"{\"schema\":1").is_err());
    }
}
