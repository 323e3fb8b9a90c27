use super::*;
use crate::command::testing::Deployment;

const LITELLM: &str = include_str!("../../../../tests/lists/litellm.json");

#[test]
fn nothing_is_written_unless_it_is_said_and_then_the_folder_serves_it() {
    let at = Deployment::new("catalog-import");
    at.write("own.toml", "# mine\n[[vendor]]\ncatalog = \"openai\"\n");
    let list = at.root.join("list.json");
    std::fs::write(&list, LITELLM).unwrap();
    let list = list.to_str().unwrap();
    let shown = at.show(&["catalog", "import", list]);
    assert!(shown.contains("~  openai  gpt-4o-mini    input"), "{shown}");
    assert!(shown.contains("0.15        → 0.20  unverified") && shown.contains("would write"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(!at.root.join("weir.d/prices").exists());

    let written = at.run(&["catalog", "import", list, "--write", "--as-of", "2026-08-01"]).unwrap();
    assert_eq!((&written["written"], &written["files"][0]), (&json!(true), &json!("prices/openai.toml")));
    let checked = at.run(&["check", "--models", "gpt-test-new"]).unwrap();
    assert_eq!(checked["list"].as_array().unwrap().len(), 1, "{checked}");
    assert_eq!(
        std::fs::read_to_string(at.root.join("weir.d/own.toml")).unwrap(),
        "# mine\n[[vendor]]\ncatalog = \"openai\"\n"
    );
    assert_eq!(std::fs::read_dir(at.root.join("weir.d/prices")).unwrap().count(), 1, "no half file stays");
    let again = at.run(&["catalog", "import", list, "--write"]).unwrap();
    assert_eq!((&again["written"], again["changes"].as_array().unwrap().len()), (&json!(false), 0));
}

#[test]
fn what_cannot_be_is_refused_with_words_and_an_exit_code() {
    let at = Deployment::new("catalog-refused");
    at.write("own.toml", "[[vendor]]\ncatalog = \"openai\"\n");
    let list = at.root.join("list.json");
    let list = list.to_str().unwrap();
    assert_eq!(at.run(&["catalog", "import", list]).unwrap_err().exit, Exit::Missing);
    std::fs::write(list, "{\"a\": NaN}").unwrap();
    assert_eq!(at.run(&["catalog", "import", list]).unwrap_err().exit, Exit::Failed);
    std::fs::write(list, LITELLM).unwrap();
    let unknown = at.run(&["catalog", "import", list, "--vendor", "grok"]).unwrap_err();
    assert_eq!((unknown.exit, unknown.what.contains("grok")), (Exit::Missing, true));
    // A folder that has faults already is not added to.
    at.write("alias.toml", "[alias]\nx = \"nowhere/m\"\n");
    let faulty = at.run(&["catalog", "import", list, "--write"]).unwrap_err();
    assert_eq!(faulty.exit, Exit::Faults);
    assert!(!at.root.join("weir.d/prices").exists());
}
