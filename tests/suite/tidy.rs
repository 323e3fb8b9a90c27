//! The shape of the code is a test, too: the law of order, where unsafe code and clocks may be, what stands at the root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use weir_shared::fault::{Code, Exit};
use weir_tests::binary::root;

#[test]
fn a_module_names_only_earlier_ones() {
    let source = root().join("dataplane/src");
    let list = fs::read_to_string(source.join("lib.rs")).expect("dataplane/src/lib.rs");
    let order: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.trim_end().strip_suffix(';')).collect();
    assert!(order.len() > 10, "{order:?}");
    let mut faults = Vec::new();
    for (place, module) in order.iter().enumerate() {
        let folder = source.join(module);
        let files = if folder.is_dir() { rust_files(&folder) } else { Vec::new() };
        for path in files.into_iter().chain([source.join(format!("{module}.rs"))]).filter(|path| path.is_file()) {
            // Prose may point anywhere; a list may go over several lines.
            let text = fs::read_to_string(&path).expect("a file");
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()).collect();
            for named in named_modules(&code.join(" ")) {
                let Some(found) = order.iter().position(|known| *known == named) else { continue };
                if found > place {
                    faults.push(format!("{}: {module} names {named}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every `x` of `crate::x` and `crate::{x, y::z}` in code without line ends.
fn named_modules(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        ' ' => {}
                        _ if start => {
                            names.push(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

#[test]
fn the_reader_of_this_law_reads() {
    assert_eq!(named_modules("use crate::clock;"), ["clock"]);
    assert_eq!(named_modules("use crate::{wire::{self, sse}, tls, log::Line};"), ["wire", "tls", "log"]);
    assert_eq!(named_modules("use crate::{ wire::{ self, sse, }, tls, };"), ["wire", "tls"]);
    assert_eq!(named_modules("let x = crate::parse::is_json(a) && crate::gauge::x();"), ["parse", "gauge"]);
}

#[test]
fn the_root_is_what_the_design_says() {
    const VISIBLE: &[&str] = &[
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "bench",
        "controlplane",
        "dataplane",
        "deploy",
        "shared",
        "tests",
    ];
    for name in tracked().iter().filter_map(|path| path.split('/').next()) {
        assert!(name.starts_with('.') || VISIBLE.contains(&name), "{name} at the root");
    }
}

#[test]
fn every_folder_says_what_it_is() {
    for folder in [".", "bench", "controlplane", "controlplane/catalog", "dataplane", "deploy", "shared", "tests"] {
        assert!(root().join(folder).join("README.md").is_file(), "{folder} has no README.md");
    }
}

/// No large file, and nothing that a machine made.
#[test]
fn files_are_small_and_ours() {
    for path in tracked() {
        let full = root().join(&path);
        let Ok(data) = fs::metadata(&full) else { continue };
        assert!(path == "Cargo.lock" || data.len() < 256 << 10, "{path} is {} bytes", data.len());
        for ending in [".whl", ".log", ".orig", ".rej", ".swp", ".wj"] {
            assert!(!path.ends_with(ending), "{path}");
        }
    }
}

#[test]
fn unsafe_code_only_where_a_file_says_so() {
    for path in all_rust() {
        let text = read(&path);
        if path.ends_with("tests/suite/tidy.rs") {
            continue;
        }
        let allowed = text.contains("#![allow(unsafe_code)]");
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(allowed || !uses, "{} uses unsafe code", path.display());
        assert!(uses || !allowed, "{} does not need its allowance", path.display());
        let (blocks, reasons) = (text.matches("unsafe {").count(), text.matches("SAFETY:").count());
        assert!(reasons >= blocks, "{} has {blocks} blocks and {reasons} reasons", path.display());
    }
    for name in ["shared", "controlplane"] {
        for path in rust_files(&root().join(name).join("src")) {
            assert!(!read(&path).contains("allow(unsafe_code)"), "{}", path.display());
        }
    }
}

/// Time is an argument; one file of each program asks for it.
#[test]
fn only_one_file_asks_for_the_time() {
    for (folder, clock) in [("dataplane/src", "clock.rs"), ("shared/src", ""), ("controlplane/src", "when.rs")] {
        for path in rust_files(&root().join(folder)) {
            if path.file_name().is_some_and(|name| name == clock) {
                continue;
            }
            for (number, line) in code(&path).lines().enumerate() {
                let asks = ["Instant::now", "SystemTime::now", "clock_gettime", "UNIX_EPOCH"];
                let asks = asks.iter().any(|word| line.split("//").next().unwrap_or_default().contains(word));
                assert!(!asks, "{}:{} asks for the time", path.display(), number + 1);
            }
        }
    }
}

/// tokio stays on its own thread.
#[test]
fn tokio_is_where_the_design_says() {
    for path in rust_files(&root().join("dataplane/src")) {
        // The checkout itself may lie anywhere, also below a folder of that name.
        let name = path.strip_prefix(root()).unwrap_or(&path);
        let is_sync = name.starts_with("dataplane/src/sync") || name == Path::new("dataplane/src/sync.rs");
        assert!(is_sync || !code(&path).contains("tokio::"), "{} names tokio", name.display());
    }
}

/// No floats where money is.
#[test]
fn money_has_no_fractions() {
    for name in ["money.rs", "price.rs", "usage.rs", "ledger.rs"] {
        let path = root().join("shared/src").join(name);
        let text = code(&path);
        assert!(!text.contains("f64") && !text.contains("f32"), "{name} names a float");
        assert!(text.contains("#![deny(clippy::float_arithmetic)]"), "{name} does not deny floats");
    }
    let meter = code(&root().join("dataplane/src/meter.rs"));
    assert!(!meter.contains("f64") && !meter.contains("f32"));
}

/// No release build accepts a certificate that it should not.
#[test]
fn no_verifier_of_our_own() {
    for folder in ["dataplane/src", "shared/src", "controlplane/src"] {
        for path in rust_files(&root().join(folder)) {
            assert!(!code(&path).contains("dangerous()"), "{}", path.display());
        }
    }
}

/// A promise of the workspace holds for every crate.
#[test]
fn every_crate_takes_the_workspace_lints() {
    for name in ["bench", "controlplane", "dataplane", "shared", "tests"] {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}");
        assert!(!manifest.contains("git = \""), "{name} has a git dependency");
    }
}

/// Without what stands in a file's tests.
fn code(path: &Path) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let text = read(path);
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn all_rust() -> BTreeSet<PathBuf> {
    ["bench", "controlplane", "dataplane", "shared", "tests"]
        .iter()
        .flat_map(|name| rust_files(&root().join(name)))
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// What git keeps; in an unpacked archive, what is there.
fn tracked() -> Vec<String> {
    let listed = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output();
    match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => fs::read_dir(root())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "target")
            .collect(),
    }
}

/// What scripts and people read off the README is what the code says.
#[test]
fn the_readme_lists_what_there_is() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for exit in Exit::ALL {
        let line = format!("| {} | {} | {} |", *exit as u8, exit.name(), exit.meaning());
        assert!(readme.contains(&line), "no line {line:?}");
    }
    for code in Code::ALL {
        assert!(readme.contains(&format!("| `{}` | {} |", code.name(), code.status())), "no line for {}", code.name());
    }
    // Each binary of the suite, and each module of the data plane, stands in its table.
    let listed = |page: &str, folder: &str, name: &dyn Fn(&str) -> String| {
        let page = fs::read_to_string(root().join(page)).expect("a page");
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let file = entry.expect("an entry").file_name().into_string().expect("a name");
            if let Some(stem) = file.strip_suffix(".rs").filter(|stem| !["lib", "main"].contains(stem)) {
                assert!(page.contains(&name(stem)), "{folder}/{file} is in no table of the page beside it");
            }
        }
    };
    listed("tests/README.md", "tests/suite", &|stem| format!("`{stem}`"));
    listed("dataplane/src/exchange/README.md", "dataplane/src/exchange", &|stem| format!("`{stem}.rs`"));
}
