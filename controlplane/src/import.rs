//! What a price list would change in an operator's folder, and the files that would say it.
//!
//! Files of `prices/` are written by imports and by nobody else. What a model costs after an import follows from three
//! things, the last one wins: the catalog, the list over it figure by figure, a `[[model]]` that the operator wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;
use weir_shared::draft::{BandDraft, ModelDraft, PriceDraft};
use weir_shared::money::Rate;
use weir_shared::price::Rates;
use weir_shared::resolve::Pattern;
use weir_shared::usage::{Class, Unit};

use crate::catalog::{Catalog, Listed, ListedIn, ListedModel, SOURCE_MARK};
use crate::folder::{Folder, Taking};
use crate::pricelist::{Entry, Listing, Place, Prices, Said, figure};

mod page;
pub use page::{Page, is_page_name};

/// What the operator asked for.
#[derive(Debug, Default)]
pub struct Wish {
    /// Only these vendors; all when empty.
    pub vendors: Vec<String>,
    /// What the list calls a vendor, beside what the catalog knows: (name in the list, vendor).
    pub called: Vec<(String, String)>,
    /// No models that are not served already.
    pub known_only: bool,
    /// The day of the list, and today.
    pub as_of: String,
    pub today: String,
}

#[derive(Debug, Default)]
pub struct Outcome {
    /// By path in the folder; `None` takes the file away.
    pub files: BTreeMap<String, Option<String>>,
    pub changes: Vec<Change>,
    pub left_out: Vec<LeftOut>,
    /// Models that the operator wrote a price for, where the list says another.
    pub kept: Vec<Change>,
    pub rounded: Vec<Rounded>,
    /// Vendors of the folder that the list does not have.
    pub absent: Vec<String>,
    /// The folder as it would be.
    pub texts: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Added,
    Changed,
    Removed,
}

#[derive(PartialEq, Debug, Serialize)]
pub struct Change {
    pub verb: Verb,
    pub vendor: String,
    pub model: String,
    pub figures: Vec<Changed>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// A figure became more than ten times larger or smaller: often a slip of units.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leap: bool,
}

#[derive(PartialEq, Debug, Serialize)]
pub struct Changed {
    /// As in a file: `input`, `batch.output`, `above.200000.input`.
    pub price: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct LeftOut {
    pub vendor: String,
    pub model: String,
    pub why: String,
}

#[derive(Debug, Serialize)]
pub struct Rounded {
    pub vendor: String,
    pub model: String,
    pub figure: String,
}

/// `texts` are the files of the folder as they are.
pub fn import(
    texts: Vec<(String, String)>,
    catalog: &Catalog,
    listing: &Listing,
    wish: &Wish,
) -> Result<Outcome, String> {
    let (pages, own): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(name, _)| page::is_page(name));
    let pages = pages.iter().map(|(name, text)| page::read(name, text)).collect::<Result<Vec<_>, _>>()?;
    let with = |pages: &[Page]| {
        let written = pages.iter().map(|page| (page.path(), page.text.clone()));
        let mut all: Vec<_> = own.iter().cloned().chain(written).collect();
        all.sort();
        all
    };
    let before = Folder::parse(with(&pages), catalog);
    let base = Folder::parse(own.clone(), catalog);
    let mut outcome = Outcome::default();
    let mut after = pages.clone();
    for vendor in base.draft.vendors.iter().map(|vendor| vendor.is.name.clone()) {
        if !wish.vendors.is_empty() && !wish.vendors.contains(&vendor) {
            continue;
        }
        let taking = base.taking.iter().find(|taking| taking.vendor == vendor);
        let places = places(&vendor, taking.map(|taking| &taking.listed), listing, wish);
        let page = pages.iter().find(|page| page.vendor == vendor);
        let mut found = Found::new(&vendor, taking, &base, wish, page.map(|page| page.of_other_lists(listing.list)));
        for entry in &listing.entries {
            for place in places.iter().filter(|place| place.name == entry.vendor) {
                found.entry(entry, place, &mut outcome);
            }
        }
        if !found.any {
            outcome.absent.push(vendor);
            continue;
        }
        after.retain(|page| page.vendor != vendor);
        after.extend(Page::write(&vendor, listing.list, &found.all(), wish));
    }
    for page in &pages {
        if !after.iter().any(|kept| kept.vendor == page.vendor) {
            outcome.files.insert(page.path(), None);
        }
    }
    for page in after.iter().filter(|page| !pages.iter().any(|old| old.says_the_same(page))) {
        outcome.files.insert(page.path(), Some(page.text.clone()));
    }
    outcome.texts = with(&after);
    outcome.changes = changes(&before, &Folder::parse(outcome.texts.clone(), catalog));
    Ok(outcome)
}

/// Where the list speaks of this vendor.
fn places(vendor: &str, listed: Option<&Rc<Listed>>, listing: &Listing, wish: &Wish) -> Vec<ListedIn> {
    let own = wish.called.iter().filter(|(_, called)| called == vendor).map(|(name, _)| ListedIn {
        of: listing.list.name().to_owned(),
        name: name.clone(),
        cut: None,
        put: String::new(),
        only: Vec::new(),
        unverified: false,
    });
    let known = listed.into_iter().flat_map(|listed| listed.vendor.lists.iter().cloned());
    own.chain(known.filter(|place| place.of == listing.list.name())).collect()
}

/// What the list says of one vendor's models.
struct Found<'a> {
    vendor: &'a str,
    taking: Option<&'a Taking>,
    base: &'a Folder,
    wish: &'a Wish,
    /// Ids of this vendor may hold slashes.
    slashes: bool,
    any: bool,
    /// What earlier imports took from another list: more figures than this one may have words for.
    others: BTreeMap<String, ModelDraft>,
    models: BTreeMap<String, ModelDraft>,
    /// What the list said, to see when it says it again and differently.
    said: BTreeMap<String, Prices>,
}

impl<'a> Found<'a> {
    fn new(
        vendor: &'a str,
        taking: Option<&'a Taking>,
        base: &'a Folder,
        wish: &'a Wish,
        others: Option<BTreeMap<String, ModelDraft>>,
    ) -> Self {
        let slashes = taking.is_none_or(|taking| taking.listed.models.iter().any(|model| model.is.id.contains('/')));
        let others = others.unwrap_or_default();
        Self { vendor, taking, base, wish, slashes, any: false, others, models: BTreeMap::new(), said: BTreeMap::new() }
    }

    fn entry(&mut self, entry: &Entry, place: &ListedIn, outcome: &mut Outcome) {
        let cut = place.cut.clone().unwrap_or_else(|| format!("{}/", place.name));
        let id = format!("{}{}", place.put, entry.id.strip_prefix(&cut).unwrap_or(&entry.id));
        if !place.only.is_empty() && !place.only.iter().any(|only| Pattern::new(only).matches(&id)) {
            return;
        }
        self.any = true;
        let mut leave = |why: String| {
            let (vendor, model) = (self.vendor.to_owned(), crate::table::harmless(&entry.id));
            outcome.left_out.push(LeftOut { vendor, model, why });
        };
        let said = match &entry.said {
            Ok(said) => said,
            Err(why) => return leave(why.clone()),
        };
        let own = self.base.draft.models.iter().find(|model| model.is.vendor == self.vendor && model.is.id == id);
        if let Some(own) = own.filter(|model| !model.source.file.starts_with(SOURCE_MARK)) {
            let told = told(own.is.price.as_ref(), &overlaid(own.is.price.as_ref(), &said.prices).0);
            if !said.prices.is_empty() && !told.is_empty() {
                let (vendor, leap) = (self.vendor.to_owned(), is_leap(&told));
                outcome.kept.push(Change {
                    verb: Verb::Changed,
                    vendor,
                    model: id,
                    figures: told,
                    unverified: false,
                    leap,
                });
            }
            return;
        }
        let known = self.taking.and_then(|taking| taking.find(&id));
        if known.is_none() && !self.wanted(&id, said) || !self.taking.is_none_or(|taking| taking.wants(&id)) {
            return;
        }
        let mut model = match self.model(&id, said, known) {
            Ok(Some(model)) => model,
            Ok(None) => return,
            Err(why) => return leave(why),
        };
        model.unverified |= place.unverified;
        if let Some(before) = self.said.get(&id) {
            // Of two figures of one list for one model nobody knows which is charged.
            let same = *before == said.prices;
            self.models.entry(id).and_modify(|known| known.unverified |= !same);
            return;
        }
        self.said.insert(id.clone(), said.prices.clone());
        for figure in &said.rounded {
            let (vendor, model, figure) = (self.vendor.to_owned(), id.clone(), figure.clone());
            outcome.rounded.push(Rounded { vendor, model, figure });
        }
        self.models.insert(id, model);
    }

    /// A model that is new here: one size or region of a model has a slash in its name, and what is retired is not begun with.
    fn wanted(&self, id: &str, said: &Said) -> bool {
        let over = said.retired.as_ref().is_some_and(|day| *day <= self.wish.today || day == "deprecated");
        !self.wish.known_only && !over && (self.slashes || !id.contains('/'))
    }

    /// `None` when what is known says the same.
    fn model(&self, id: &str, said: &Said, known: Option<&Rc<ListedModel>>) -> Result<Option<ModelDraft>, String> {
        let kind = known.and_then(|known| known.is.kind.clone()).or_else(|| said.kind.map(str::to_owned));
        let Some(kind) = kind else { return Err("it does not say what kind of model it is".into()) };
        if said.prices.is_empty() {
            let free = known.is_some_and(|known| known.is.free);
            return if free {
                Ok(None)
            } else {
                Err("it names no price but zero, which may mean free or unknown".into())
            };
        }
        let other = self.others.get(id);
        let before = other.or_else(|| known.map(|known| &known.is)).and_then(|model| model.price.as_ref());
        let (price, stale) = overlaid(before, &said.prices);
        let has = |class: Class| price.rates.contains_key(class.name());
        if ["chat", "completion"].contains(&kind.as_str()) && !(has(Class::Input) && has(Class::Output)) {
            return Err("it names no price for both prompts and answers".into());
        }
        if before.is_some_and(|before| told(Some(before), &price).is_empty()) {
            return Ok(None);
        }
        let new = known.is_none();
        Ok(Some(ModelDraft {
            vendor: self.vendor.to_owned(),
            id: id.to_owned(),
            kind: new.then_some(kind),
            reasoning: new && said.reasoning,
            path: new.then_some(said.path).flatten().map(str::to_owned),
            context_tokens: new.then_some(said.context_tokens).flatten(),
            output_tokens_max: new.then_some(said.output_tokens_max).flatten(),
            price: Some(price),
            unverified: stale || !said.unsaid.is_empty(),
            ..ModelDraft::default()
        }))
    }

    fn all(self) -> Vec<ModelDraft> {
        let mut models = self.others;
        models.extend(self.models);
        models.into_values().collect()
    }
}

/// What is said over what is known, and whether something is left that was derived from figures which changed.
fn overlaid(known: Option<&PriceDraft>, said: &Prices) -> (PriceDraft, bool) {
    let mut price = known.cloned().unwrap_or_default();
    let old = prices_of(&price);
    for (place, figures) in said {
        let rates = rates_at(&mut price, *place);
        let paid = effective(rates);
        for (class, pico) in figures {
            if paid.of(*class) != Rate(*pico) {
                rates.insert(class.name().to_owned(), figure::dollars(*class, *pico));
            }
        }
    }
    repeat_fees(&mut price);
    price.above.sort_by_key(|band| band.input_tokens);
    price.tiers.values_mut().for_each(|tier| tier.above.sort_by_key(|band| band.input_tokens));
    let new = prices_of(&price);
    let moved = old.get(&Place::default()).is_some_and(|old| Some(old) != new.get(&Place::default()));
    let stale = moved && old.keys().any(|place| *place != Place::default() && !said.contains_key(place));
    (price, stale)
}

/// The rates of a place, made when it is not there.
fn rates_at(price: &mut PriceDraft, place: Place) -> &mut BTreeMap<String, String> {
    let (rates, above) = match place.tier {
        None => (&mut price.rates, &mut price.above),
        Some(tier) => {
            let tier = price.tiers.entry(tier.to_owned()).or_default();
            (&mut tier.rates, &mut tier.above)
        }
    };
    if place.above == 0 {
        return rates;
    }
    let at = above.iter().position(|band| band.input_tokens == place.above).unwrap_or_else(|| {
        above.push(BandDraft { input_tokens: place.above, rates: BTreeMap::new() });
        above.len() - 1
    });
    &mut above[at].rates
}

/// Flat fees are not borrowed, so tiers and bands repeat them: without a word of its own, a fee is the same everywhere.
fn repeat_fees(price: &mut PriceDraft) {
    let flat = |name: &str| Class::parse(name).is_some_and(|class| class.unit() == Unit::One);
    let fees: Vec<_> = price.rates.iter().filter(|(name, _)| flat(name)).map(|(n, t)| (n.clone(), t.clone())).collect();
    let tiers = price.tiers.values_mut().flat_map(|tier| {
        let bands = tier.above.iter_mut().map(|band| &mut band.rates);
        std::iter::once(&mut tier.rates).chain(bands)
    });
    for rates in price.above.iter_mut().map(|band| &mut band.rates).chain(tiers) {
        for (name, text) in &fees {
            rates.entry(name.clone()).or_insert_with(|| text.clone());
        }
    }
}

fn effective(rates: &BTreeMap<String, String>) -> Rates {
    let list: Vec<_> = rates.iter().filter_map(|(name, text)| rate(name, text)).collect();
    Rates::from_list(&list)
}

fn rate(name: &str, text: &str) -> Option<(Class, Rate)> {
    let class = Class::parse(name)?;
    let rate = match class.unit() {
        Unit::MillionTokens | Unit::MillionCharacters => Rate::per_million(text),
        Unit::One => Rate::per_unit(text),
    };
    Some((class, rate.ok()?))
}

fn prices_of(price: &PriceDraft) -> Prices {
    let mut all = Prices::new();
    let mut take = |tier: Option<&'static str>, above: u64, rates: &BTreeMap<String, String>| {
        let figures = rates.iter().filter_map(|(name, text)| rate(name, text)).map(|(class, rate)| (class, rate.0));
        all.insert(Place { tier, above }, figures.collect());
    };
    take(None, 0, &price.rates);
    price.above.iter().for_each(|band| take(None, band.input_tokens, &band.rates));
    for tier in ["batch", "flex", "priority"] {
        let Some(list) = price.tiers.get(tier) else { continue };
        take(Some(tier), 0, &list.rates);
        list.above.iter().for_each(|band| take(Some(tier), band.input_tokens, &band.rates));
    }
    all
}

/// The figures that differ, as numbers: "5" and "5.00" are one price.
fn told(old: Option<&PriceDraft>, new: &PriceDraft) -> Vec<Changed> {
    let (old, new) = (old.map(prices_of).unwrap_or_default(), prices_of(new));
    let mut figures = Vec::new();
    for place in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        for class in Class::ALL {
            let of = |prices: &Prices| prices.get(place).and_then(|figures| figures.get(class)).copied();
            let (old, new) = (of(&old), of(&new));
            if old != new {
                let text = |pico: Option<u64>| pico.map(|pico| figure::dollars(*class, pico));
                figures.push(Changed { price: name(*place, *class), old: text(old), new: text(new) });
            }
        }
    }
    figures
}

fn name(place: Place, class: Class) -> String {
    let tier = place.tier.map(|tier| format!("{tier}.")).unwrap_or_default();
    let band = if place.above > 0 { format!("above.{}.", place.above) } else { String::new() };
    format!("{tier}{band}{}", class.name())
}

fn is_leap(figures: &[Changed]) -> bool {
    // Texts with a point: compared as whole numbers of their last digit, which is enough for a factor of ten.
    let pico = |text: &Option<String>| Rate::per_unit(text.as_deref()?).ok().map(|rate| rate.0);
    figures.iter().any(|figure| match (pico(&figure.old), pico(&figure.new)) {
        (Some(old), Some(new)) => old > new.saturating_mul(10) || new > old.saturating_mul(10),
        _ => false,
    })
}

/// From one folder to the other, of what is served.
fn changes(before: &Folder, after: &Folder) -> Vec<Change> {
    let models = |folder: &Folder| -> BTreeMap<(String, String), ModelDraft> {
        let models = folder.draft.models.iter().map(|model| model.is.clone());
        models.map(|model| ((model.vendor.clone(), model.id.clone()), model)).collect()
    };
    let (before, after) = (models(before), models(after));
    let mut changes = Vec::new();
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (before.get(key), after.get(key));
        let verb = match (old, new) {
            (None, _) => Verb::Added,
            (_, None) => Verb::Removed,
            _ => Verb::Changed,
        };
        let price = |model: Option<&'_ ModelDraft>| model.and_then(|model| model.price.clone());
        let figures = told(price(old).as_ref(), &price(new).unwrap_or_default());
        if verb == Verb::Changed && figures.is_empty() {
            continue;
        }
        let unverified = new.is_some_and(|new| new.unverified);
        let leap = verb == Verb::Changed && is_leap(&figures);
        changes.push(Change { verb, vendor: key.0.clone(), model: key.1.clone(), figures, unverified, leap });
    }
    changes
}

#[cfg(test)]
mod tests;
