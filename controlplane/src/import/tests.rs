use super::*;
use crate::pricelist;

const LITELLM: &str = include_str!("../../../tests/lists/litellm.json");
const MODELS_DEV: &str = include_str!("../../../tests/lists/models_dev.json");
const VENDOR: &str = "[[vendor]]\ncatalog = \"openai\"\n";

fn wish() -> Wish {
    Wish { as_of: "2026-08-01".into(), today: "2026-11-28".into(), ..Wish::default() }
}

fn taken(texts: &[(&str, &str)], list: &str, wish: &Wish) -> Outcome {
    let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    import(texts, &Catalog::built_in(), &pricelist::read(list.as_bytes()).unwrap(), wish).unwrap()
}

fn again(outcome: Outcome, list: &str) -> Outcome {
    import(outcome.texts, &Catalog::built_in(), &pricelist::read(list.as_bytes()).unwrap(), &wish()).unwrap()
}

fn change<'a>(outcome: &'a Outcome, model: &str) -> &'a Change {
    outcome.changes.iter().find(|change| change.model == model).unwrap_or_else(|| panic!("{model}: {outcome:#?}"))
}

fn model(outcome: &Outcome, id: &str) -> ModelDraft {
    let folder = Folder::parse(outcome.texts.clone(), &Catalog::built_in());
    folder.compile().unwrap_or_else(|faults| panic!("{faults:#?}"));
    folder.draft.models.iter().find(|model| model.is.id == id).unwrap().is.clone()
}

#[test]
fn what_the_list_says_is_shown_and_written_to_a_file_of_its_own() {
    let outcome = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    assert_eq!(outcome.files.keys().collect::<Vec<_>>(), ["prices/openai.toml"]);
    let cheaper = change(&outcome, "gpt-4o-mini");
    let figure = Changed { price: "input".into(), old: Some("0.15".into()), new: Some("0.20".into()) };
    assert_eq!((cheaper.verb, &cheaper.figures[0]), (Verb::Changed, &figure));
    assert_eq!(change(&outcome, "gpt-test-new").verb, Verb::Added);
    let new = model(&outcome, "gpt-test-new");
    assert_eq!((new.kind.as_deref(), new.path.as_deref(), new.reasoning), (Some("chat"), Some("responses"), true));
    assert!(new.price_source.unwrap().ends_with("model_prices_and_context_window.json as of 2026-08-01"));
    let price = new.price.unwrap();
    assert_eq!(price.above[0].rates["input"], "2.50");
    assert_eq!(price.tiers["batch"].rates["output"], "5.00");
    // A flat fee is not borrowed by tiers and bands, so they repeat it.
    assert_eq!((&*price.tiers["batch"].rates["server_tool"], &*price.above[0].rates["server_tool"]), ("0.01", "0.01"));
    let text = outcome.files["prices/openai.toml"].as_ref().unwrap();
    assert!(
        text.contains("# list: litellm (https://github.com/BerriAI/litellm/")
            && text.contains("as of 2026-08-01, read 2026-11-28")
    );
    // Everything else of the catalog's word stays.
    assert!(model(&outcome, "gpt-4o-mini").price.unwrap().tiers.contains_key("batch"));
}

#[test]
fn what_is_not_known_to_be_the_vendors_price_is_marked() {
    let outcome = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    // Its batch prices stand as they were, though the others moved.
    assert!(model(&outcome, "gpt-4o-mini").unverified && change(&outcome, "gpt-4o-mini").unverified);
    assert!(model(&outcome, "gpt-test-odd").unverified, "money that no class means");
    assert!(!model(&outcome, "gpt-test-new").unverified);
    let resold = MODELS_DEV.replacen("\"openai\": {", "\"openrouter\": {", 1);
    let outcome = taken(&[("v.toml", "[[vendor]]\ncatalog = \"openrouter\"\n")], &resold, &wish());
    assert!(model(&outcome, "gpt-test-dev").unverified, "a reseller's");
}

#[test]
fn what_is_left_out_is_told_and_what_is_rounded_too() {
    let outcome = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    let why = |id: &str| &outcome.left_out.iter().find(|it| it.model == id).unwrap_or_else(|| panic!("{id}")).why;
    assert_eq!(why("gpt-test-free"), "it names no price but zero, which may mean free or unknown");
    assert_eq!(why("gpt-test-half"), "it names no price for both prompts and answers");
    assert_eq!(
        why("gpt-test\u{fffd}[31m"),
        "its name holds U+001B; only visible ASCII without quotes and backslashes is taken"
    );
    assert_eq!(outcome.rounded[0].model, "gpt-test-fine");
    for absent in ["gpt-test-retired", "us/gpt-test-new", "groq/llama-test"] {
        assert!(outcome.changes.iter().all(|change| change.model != absent), "{absent}");
    }
}

#[test]
fn an_import_said_again_changes_nothing_and_what_a_list_drops_goes() {
    let first = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    let second = again(first, LITELLM);
    assert!(second.changes.is_empty() && second.files.is_empty(), "{:?}", second.files);
    let without = LITELLM.replace("\"gpt-test-new\":", "\"gpt-test-newer\":");
    let third = again(second, &without);
    assert_eq!(change(&third, "gpt-test-new").verb, Verb::Removed);
    assert_eq!(change(&third, "gpt-test-newer").verb, Verb::Added);
    // As the catalog says it: nothing is left to write, and the file goes.
    let known = "{\"gpt-5.5\":{\"litellm_provider\":\"openai\",\"mode\":\"chat\",\"input_cost_per_token\":5e-6,\"output_cost_per_token\":3e-5}}";
    let last = again(third, known);
    assert_eq!(last.files["prices/openai.toml"], None);
    assert!(last.texts.iter().all(|(name, _)| name == "v.toml"));
}

#[test]
fn a_second_list_takes_nothing_from_the_first_that_it_has_no_word_for() {
    let first = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    let second = again(first, MODELS_DEV);
    assert!(second.changes.iter().all(|change| change.verb != Verb::Removed), "{:#?}", second.changes);
    assert_eq!(model(&second, "gpt-4o-mini").price.unwrap().rates["input"], "0.25");
    assert_eq!(model(&second, "gpt-test-new").price.unwrap().tiers["batch"].rates["output"], "5.00");
    assert!(again(second, MODELS_DEV).files.is_empty());
}

#[test]
fn what_the_operator_wrote_is_left_alone_and_told() {
    let own = "# dear to me\n[[model]]\nvendor = \"openai\"\nid = \"gpt-4o-mini\"\n[model.price]\ninput = \"0.10\"\noutput = \"0.60\"\n";
    let outcome = taken(&[("own.toml", own), ("v.toml", VENDOR)], LITELLM, &wish());
    assert_eq!(outcome.kept[0].model, "gpt-4o-mini");
    assert!(outcome.texts.iter().any(|(name, text)| name == "own.toml" && text == own));
    assert_eq!(model(&outcome, "gpt-4o-mini").price.unwrap().rates["input"], "0.10");
    // Only what the vendor is to serve.
    let few = "[[vendor]]\ncatalog = \"openai\"\nmodels = [\"gpt-4o*\"]\n";
    let outcome = taken(&[("v.toml", few)], LITELLM, &wish());
    assert_eq!(outcome.changes.iter().map(|it| &*it.model).collect::<Vec<_>>(), ["gpt-4o-mini"]);
    let known = Wish { known_only: true, ..wish() };
    let outcome = taken(&[("v.toml", VENDOR)], LITELLM, &known);
    assert!(outcome.changes.iter().all(|change| change.verb == Verb::Changed));
}

#[test]
fn a_file_that_no_import_wrote_or_that_was_edited_stops_the_import() {
    let list = pricelist::read(LITELLM.as_bytes()).unwrap();
    let outcome = taken(&[("v.toml", VENDOR)], LITELLM, &wish());
    let mut texts = outcome.texts;
    let page = texts.iter_mut().find(|(name, _)| name == "prices/openai.toml").unwrap();
    page.1 = page.1.replace("\"0.20\"", "\"0.30\"");
    let refused = import(texts, &Catalog::built_in(), &list, &wish()).unwrap_err();
    assert!(refused.contains("prices/openai.toml was edited"), "{refused}");
    let foreign = vec![("prices/mine.toml".into(), "# mine\n".into()), ("v.toml".into(), VENDOR.into())];
    let refused = import(foreign, &Catalog::built_in(), &list, &wish()).unwrap_err();
    assert!(refused.contains("was not written by an import"), "{refused}");
}

#[test]
fn a_vendor_of_the_operators_own_is_named() {
    let own = "[[vendor]]\nname = \"mine\"\ndialect = \"openai\"\nbase_url = \"https://v.example/v1\"\n";
    let outcome = taken(&[("v.toml", own)], LITELLM, &wish());
    assert_eq!((outcome.absent.as_slice(), outcome.files.len()), (&["mine".to_owned()][..], 0));
    let called = Wish { called: vec![("groq".into(), "mine".into())], ..wish() };
    let outcome = taken(&[("v.toml", own)], LITELLM, &called);
    assert_eq!(change(&outcome, "llama-test").verb, Verb::Added);
}

#[test]
fn a_slip_of_units_is_pointed_at() {
    let slip = LITELLM.replace("2e-07", "2e-04");
    assert!(change(&taken(&[("v.toml", VENDOR)], &slip, &wish()), "gpt-4o-mini").leap);
    assert!(!change(&taken(&[("v.toml", VENDOR)], LITELLM, &wish()), "gpt-4o-mini").leap);
}
