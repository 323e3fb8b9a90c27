//! Prices as people write them, brought to the form of [`weir_shared::draft::PriceDraft`].
//!
//! In a file the rates stand directly in `[model.price]` and the tiers beside them; a draft keeps rates, bands and tiers
//! apart. Nothing is judged here.

use serde_json::{Map, Value};

use crate::tree::{Is, Node, Table};

/// Does nothing to what is no table: reading it as a draft will tell.
pub fn shape(model: &mut Table) {
    let Some(key_line) = model.key_line("price") else { return };
    let Some(mut price) = model.take("price") else { return };
    if let Is::Table(table) = &mut price.is {
        shape_list(table, price.line, true);
    }
    model.put_back("price", key_line, price);
}

/// A path or a sentence about a draft, in the words of the file.
pub fn as_written(text: &str) -> String {
    text.replace("price.tiers.", "price.").replace(".rates.", ".")
}

/// A draft's price as it stands in a file: rates, bands and tiers in one table.
pub fn written(draft: Value) -> Value {
    let Value::Object(mut draft) = draft else { return draft };
    let mut table = match draft.remove("rates") {
        Some(Value::Object(rates)) => rates,
        _ => Map::new(),
    };
    if let Some(Value::Array(bands)) = draft.remove("above") {
        table.insert("above".into(), bands.into_iter().map(written).collect());
    }
    if let Some(Value::Object(tiers)) = draft.remove("tiers") {
        table.extend(tiers.into_iter().map(|(name, tier)| (name, written(tier))));
    }
    // Of a band: from where on.
    table.extend(draft);
    table.into()
}

fn shape_list(table: &mut Table, line: u32, tiers_too: bool) {
    let (mut rates, mut tiers, mut shaped) = (Table::default(), Table::default(), Table::default());
    for (key, key_line, node) in table.each() {
        let mut node = node.clone();
        match &mut node.is {
            Is::List(bands) if key == "above" => {
                bands.iter_mut().for_each(shape_band);
                shaped.put_back(key, key_line, node);
            }
            Is::Table(tier) if tiers_too => {
                shape_list(tier, node.line, false);
                tiers.put_back(key, key_line, node);
            }
            _ if key == "above" => shaped.put_back(key, key_line, node),
            _ => rates.put_back(key, key_line, node),
        }
    }
    shaped.insert("rates", line, Is::Table(rates));
    if !tiers.is_empty() {
        shaped.insert("tiers", line, Is::Table(tiers));
    }
    *table = shaped;
}

fn shape_band(band: &mut Node) {
    let Is::Table(table) = &mut band.is else { return };
    let mut shaped = Table::default();
    let mut rates = Table::default();
    for (key, key_line, node) in table.each() {
        match key {
            "input_tokens" => shaped.put_back(key, key_line, node.clone()),
            _ => rates.put_back(key, key_line, node.clone()),
        }
    }
    shaped.insert("rates", band.line, Is::Table(rates));
    *table = shaped;
}
