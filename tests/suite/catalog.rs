//! `weirctl catalog import`: a list's price reaches the bill, and nothing else of the list reaches anything.

use weir_tests::gateway::try_ctl_reading;
use weir_tests::{Request, Setup};

const LITELLM: &str = include_str!("../lists/litellm.json");

#[test]
fn a_model_of_a_list_is_served_and_billed_at_its_price() {
    let weir = Setup::new("catalog-served").start();
    let import = ["catalog", "import", "-", "--called", "groq=vendor-good-openai", "--json"];
    let (code, said) = try_ctl_reading(&weir.setup, &import, LITELLM.as_bytes());
    assert_eq!(code, 0, "{said}");
    let prices = weir.setup.scratch.join("weir.d/prices/vendor-good-openai.toml");
    assert!(!prices.exists(), "it was only shown");
    let (code, said) = try_ctl_reading(&weir.setup, &[&import[..], &["--write"]].concat(), LITELLM.as_bytes());
    assert!(code == 0 && prices.exists(), "{said}");
    weir.ctl(&["apply", "--wait", "--json"]);
    let answer = weir.chat("llama-test");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = weir.record(&answer.request_id());
    let of = |class| record.usage.of(class) as i64;
    use weir_shared::usage::Class;
    // 0.05 and 0.08 dollars a million: 50 and 80 nano-dollars a thousand.
    let prompt = of(Class::Input) + of(Class::CacheRead) + of(Class::CacheWrite5m);
    let pico = prompt * 50_000 + (of(Class::Output) + of(Class::Reasoning)) * 80_000;
    assert_eq!(record.cost.0, (pico + 500) / 1_000);
    weir.lives();
}

#[test]
fn a_hostile_list_is_refused_with_words_and_changes_nothing() {
    let weir = Setup::new("catalog-hostile").start();
    let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(65 << 20));
    for (what, list) in [("deep", &*deep), ("MiB", &*huge), ("not a list of prices", "{\"a\":NaN}"), ("EOF", "{")] {
        let import = ["catalog", "import", "-", "--write"];
        let (code, said) = try_ctl_reading(&weir.setup, &import, list.as_bytes());
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(what) && said.contains("nothing was written"), "{what}: {said}");
    }
    assert!(!weir.setup.scratch.join("weir.d/prices").exists());
    let models = weir.call(&Request::get("/v1/models"));
    assert_eq!(models.status, 200);
    weir.lives();
}
