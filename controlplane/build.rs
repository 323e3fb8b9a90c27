//! Lists the built-in catalog, so that adding a vendor is adding a file and nothing else.

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=catalog");
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&root).join("catalog");
    let entries = std::fs::read_dir(&folder).expect("the catalog is part of the source");
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut out = String::from("pub const FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("names of the catalog are ASCII");
        writeln!(out, "    ({name:?}, include_str!({file:?})),").expect("a string takes everything");
    }
    out.push_str("];\n");
    let target = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&target).join("catalog.rs"), out).expect("cargo made the folder");
}
