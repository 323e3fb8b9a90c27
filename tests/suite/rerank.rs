//! Documents in an order: Cohere's callers, in both forms, before Cohere and before vendors that speak one of its variants. The
//! vendors refuse what the real ones refuse.

use serde_json::{Value, json};
use weir_shared::usage::Class;
use weir_tests::table::{ensure, same};
use weir_tests::{Dialect, Gateway, Model, Request, Setup, Table};

/// A model's name, where its vendor is asked, lines of the vendor's table, and what is billed for one call.
type Vendor = (&'static str, &'static str, &'static str, (Class, u64));

const VENDORS: &[Vendor] = &[
    ("jina", "/jina/v1", "", (Class::Input, 26)),
    ("voyage", "/voyage/v1", "rerank = \"voyage\"", (Class::Input, 26)),
    ("mixedbread", "/v1", "rerank = \"mixedbread\"", (Class::Input, 26)),
    ("cohere", "", "", (Class::Request, 1)),
];

fn started(name: &str) -> Gateway {
    let mut setup = Setup::new(name);
    for (id, path, lines, (class, _)) in VENDORS {
        let price = if *class == Class::Request { "request = \"0.002\"\n" } else { "input = \"0.05\"\n" };
        let dialect = if *id == "cohere" { Dialect::Cohere } else { Dialect::OpenAi };
        let words = format!("name={id},strict=yes,tokens_in=26");
        let base = format!("{}{path}", setup.vendor.url(&words));
        setup.add(
            Model::new(dialect, &words).id(id).base_url(&base).vendor(lines).model("kind = \"rerank\"").price(price),
        );
    }
    setup.start()
}

fn ask(weir: &Gateway, path: &str, body: &Value) -> weir_tests::Answer {
    weir.call(&Request::post(path, body.to_string()))
}

#[test]
fn both_forms_reach_every_vendor_and_are_billed_by_its_units() {
    let weir = started("rerank-pairs");
    let mut table = Table::new();
    for (id, _, _, (class, count)) in VENDORS {
        for path in ["/v1/rerank", "/v2/rerank"] {
            let body = json!({"model": id, "query": "what \"now\"?", "documents": ["a\n", "b"], "top_n": 2});
            let answer = ask(&weir, path, &body);
            let outcome =
                same("status", answer.status, 200).map_err(|why| format!("{why}: {}", answer.text())).and_then(|()| {
                    let told = answer.json();
                    let order: Vec<_> =
                        told["results"].as_array().into_iter().flatten().map(|it| it["index"].as_u64()).collect();
                    same("order", order, vec![Some(1), Some(0)])?;
                    same("score", told["results"][0]["relevance_score"].to_string(), "0.9423".to_owned())?;
                    ensure(told["id"].is_string(), "no id")?;
                    let unit = if *class == Class::Request { "search_units" } else { "input_tokens" };
                    same("billed", told["meta"]["billed_units"][unit].as_u64(), Some(*count))?;
                    let record = weir.record(&answer.request_id());
                    same("used", record.usage.each().collect::<Vec<_>>(), vec![(*class, *count)])?;
                    // In nano-dollars: a search, or 50 for a thousand tokens.
                    let cost = if *class == Class::Request { 2_000_000 } else { 1_300 };
                    same("cost", record.cost.0, cost)
                });
            table.case(format!("{id} {path}"), outcome);
        }
    }
    weir.lives();
    table.end();
}

#[test]
fn documents_come_back_when_they_are_asked_for_and_what_cannot_be_asked_is_named() {
    let weir = started("rerank-words");
    for (id, ..) in VENDORS.iter().filter(|(id, ..)| *id != "cohere") {
        let documents = json!([{"text": "a"}, "b\u{e9}"]);
        let body = json!({"model": id, "query": "q", "documents": documents, "return_documents": true});
        let told = ask(&weir, "/v1/rerank", &body).json();
        assert_eq!(told["results"][0]["document"]["text"], "b\u{e9}", "{told}");
        let body = json!({"model": id, "query": "q", "documents": ["a", "b"], "max_tokens_per_doc": 9});
        let refused = ask(&weir, "/v2/rerank", &body);
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("max_tokens_per_doc"), "{}", refused.text());
        let refused = ask(&weir, "/v2/rerank", &json!({"model": id, "documents": ["a"]}));
        assert!(refused.status == 400 && refused.text().contains("query is missing"), "{}", refused.text());
    }
    // To Cohere itself every member passes.
    let body = json!({"model": "cohere", "query": "q", "documents": ["a", "b"], "max_tokens_per_doc": 9});
    assert_eq!(ask(&weir, "/v2/rerank", &body).status, 200);
    weir.lives();
}

#[test]
fn what_does_not_rank_is_not_asked_to() {
    let weir = started("rerank-others");
    let body = json!({"model": "good-openai", "query": "q", "documents": ["a", "b"]});
    let refused = ask(&weir, "/v2/rerank", &body);
    assert!(refused.status == 400 && refused.text().contains("dialect_unsupported"), "{}", refused.text());
    weir.lives();
}
