use weir_shared::usage::Class;

use super::figure::{NotAFigure, dollars, most, scaled};
use super::*;

const LITELLM: &str = include_str!("../../../tests/lists/litellm.json");
const MODELS_DEV: &str = include_str!("../../../tests/lists/models_dev.json");

fn said(listing: &Listing, id: &str) -> Said {
    listing.entries.iter().find(|entry| entry.id == id).unwrap().said.clone().unwrap()
}

fn price(said: &Said, tier: Option<&'static str>, above: u64, class: Class) -> Option<u64> {
    said.prices.get(&Place { tier, above }).and_then(|figures| figures.get(&class)).copied()
}

#[test]
fn digits_are_never_a_float() {
    let pico = |text: &str| scaled(text, 12, most(Class::Input)).map(|scaled| (scaled.units, scaled.rounded));
    let table = [
        ("2.5e-07", Ok((250_000, false))),
        ("0.00000025", Ok((250_000, false))),
        ("25E-8", Ok((250_000, false))),
        ("0.0000000000005e6", Ok((500_000, false))),
        ("1e-12", Ok((1, false))),
        ("4.9e-13", Ok((0, true))),
        ("5e-13", Ok((1, true))),
        ("4.99999999999999996e-08", Ok((50_000, true))),
        ("1.00000000000049e-6", Ok((1_000_000, true))),
        ("0", Ok((0, false))),
        ("-0.0", Ok((0, false))),
        ("0e999999999999", Ok((0, false))),
        ("1e-999999999999", Ok((0, true))),
        ("0.001", Ok((1_000_000_000, false))),
        ("0.0010000000005", Err(NotAFigure::Absurd)),
        ("0.002", Err(NotAFigure::Absurd)),
        ("1e999999999999", Err(NotAFigure::Absurd)),
        ("-1e-6", Err(NotAFigure::Negative)),
    ];
    for (text, expected) in table {
        assert_eq!(pico(text), expected, "{text}");
    }
    for text in ["", "NaN", "Infinity", "\"1\"", "1e", "1.", ".5", "1e+-2", "0x1", "1_0", "--1", "[]", "null", "1e5e5"]
    {
        assert_eq!(pico(text), Err(NotAFigure::NoNumber), "{text}");
    }
    assert_eq!(dollars(Class::Input, 250_000), "0.25");
    assert_eq!(dollars(Class::Input, 5_000_001), "5.000001");
    assert_eq!(dollars(Class::Request, 2_000_000_000), "0.002");
}

#[test]
fn the_first_list_is_read_as_its_keepers_mean_it() {
    let listing = read(LITELLM.as_bytes()).unwrap();
    assert_eq!((listing.list, listing.entries.len()), (List::LiteLlm, 17));
    let new = said(&listing, "gpt-test-new");
    assert_eq!((new.kind, new.path, new.reasoning), (Some("chat"), Some("responses"), true));
    assert_eq!((new.context_tokens, new.output_tokens_max), (Some(400_000), None));
    assert_eq!(price(&new, None, 0, Class::Input), Some(1_250_000));
    assert_eq!(price(&new, None, 200_000, Class::Input), Some(2_500_000));
    assert_eq!(price(&new, Some("batch"), 0, Class::Output), Some(5_000_000));
    assert_eq!(price(&new, None, 0, Class::ServerTool), Some(10_000_000_000));
    let tiered = said(&listing, "dashscope/qwen-test");
    assert_eq!(price(&tiered, None, 0, Class::Output), Some(6_000_000));
    assert_eq!(price(&tiered, None, 32_000, Class::Output), Some(12_000_000));
    assert_eq!(price(&said(&listing, "whisper-1"), None, 0, Class::Second), Some(100_000_000));
    assert_eq!(said(&listing, "gpt-test-fine").rounded, ["input_cost_per_token = 4.99999999999999996e-08"]);
    assert_eq!(said(&listing, "gpt-test-odd").unsaid, ["guardrail_cost_per_unit"]);
}

#[test]
fn the_second_list_is_read_as_its_keepers_mean_it() {
    let listing = read(MODELS_DEV.as_bytes()).unwrap();
    assert_eq!((listing.list, listing.entries.len()), (List::ModelsDev, 6));
    let new = said(&listing, "gpt-test-dev");
    assert_eq!((new.kind, new.reasoning, new.context_tokens), (Some("chat"), true, Some(1_048_576)));
    assert_eq!(price(&new, None, 0, Class::CacheWrite5m), Some(1_500_000));
    assert_eq!(price(&new, None, 0, Class::AudioInput), Some(3_000_000));
    assert_eq!(price(&new, None, 200_000, Class::Output), Some(15_000_000));
    assert_eq!(price(&said(&listing, "gpt-test-200k"), None, 200_000, Class::Input), Some(2_000_000));
    assert_eq!(said(&listing, "gpt-test-embed").kind, Some("embedding"));
    assert_eq!(said(&listing, "gpt-test-old").retired.as_deref(), Some("deprecated"));
}

#[test]
fn what_cannot_be_believed_leaves_its_entry_out_with_the_reason() {
    let listing = read(LITELLM.as_bytes()).unwrap();
    let why = |id: &str| listing.entries.iter().find(|entry| entry.id == id).unwrap().said.clone().unwrap_err();
    assert_eq!(why("gpt-test-absurd"), "input_cost_per_token = 0.0025 is more than anybody asks");
    assert_eq!(why("gpt-test-negative"), "input_cost_per_token = -1e-06 is negative");
    assert_eq!(why("gpt-test-text"), "input_cost_per_token = \"1e-06\" is no number");
    assert_eq!(
        why("gpt-test\u{1b}[31m"),
        "its name holds U+001B; only visible ASCII without quotes and backslashes is taken"
    );
    assert_eq!(why("gpt-test-realtime"), "its mode \"realtime\" is not served here");
}

#[test]
fn what_is_no_list_is_refused_as_a_whole() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000_000), "]".repeat(5_000_000));
    let entry = "{\"litellm_provider\":\"openai\",\"mode\":\"chat\"}";
    let twice = format!("{{\"a\":{entry},\"a\":{entry}}}");
    let not_a_number = "{\"a\":{\"litellm_provider\":\"openai\",\"mode\":\"chat\",\"input_cost_per_token\":NaN}}";
    let table = [
        ("", "it is not a list of prices: EOF"),
        ("[]", "it is not a list of prices: invalid type: sequence, expected an object"),
        ("{}", "neither LiteLLM's"),
        ("{\"a\":{\"b\":1}}", "neither LiteLLM's"),
        (not_a_number, "it is not a list of prices: expected value"),
        (&twice, "\"a\" stands there twice"),
        (&deep, "more than 32 deep"),
    ];
    for (text, expected) in table {
        let refused = read(text.as_bytes()).unwrap_err();
        assert!(refused.contains(expected), "{refused:?} lacks {expected:?}");
    }
    assert!(read(b"{\"a\xff\":1}").unwrap_err().contains("not UTF-8"));
    assert!(read(&vec![b' '; BYTES_MAX + 1]).unwrap_err().contains("larger than 64 MiB"));
}
