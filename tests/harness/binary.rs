//! Where the gateway's binaries are. `WEIR_BIN_DIR` names their folder; without it they are built, once per test binary,
//! so that a test never runs against yesterday's gateway.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub fn weir() -> PathBuf {
    folder().join("weir")
}

pub fn weirctl() -> PathBuf {
    folder().join("weirctl")
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("WEIR_BIN_DIR") {
        Some(folder) => folder.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    // target/debug/deps/<this test>
    let own = std::env::current_exe().expect("the test binary has a path");
    let profile = own.ancestors().nth(2).expect("it lies in target/<profile>/deps").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--bins", "-p", "weir", "-p", "weirctl", "--target-dir"]);
    command.arg(profile.parent().expect("a profile lies in target")).current_dir(root());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.status().expect("cargo starts");
    assert!(built.success(), "the gateway does not build");
    profile
}
