//! What a test cannot do to a machine (set its clock, break its disk, make a call fail that never fails) it does to one
//! process: a library of ours between the gateway and the C library, see `shim.c`. The gateway under test is the one that
//! is released.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::Setup;

pub struct Shim(File);

impl Shim {
    /// The gateway that this setup starts runs behind the shim. Needs the C compiler that the build needs, too.
    pub fn install(setup: &mut Setup) -> Self {
        let library = setup.scratch.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/shim.c");
        let mut build = Command::new("cc");
        build.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(build.status().is_ok_and(|status| status.success()), "cc builds the shim");
        let path: PathBuf = setup.scratch.join("shim");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("the scratch folder is writable");
        file.set_len(32).expect("the scratch folder is writable");
        setup.before += &format!("export LD_PRELOAD={} WEIR_SHIM={};", library.display(), path.display());
        Self(file)
    }

    /// The wall clock is so far from the machine's.
    pub fn wall_offset_seconds(&self, seconds: i64) {
        self.order(0, seconds * 1_000_000_000);
    }

    /// So often a request's look at the wall clock fails, which nothing in the gateway expects: it panics.
    pub fn panics(&self, count: i64) {
        self.order(8, count);
    }

    /// Whether the journal's disk refuses to sync.
    pub fn syncs_fail(&self, fail: bool) {
        self.order(16, i64::from(fail));
    }

    /// Whether the first core goes round in circles.
    pub fn sticks(&self, sticks: bool) {
        self.order(24, i64::from(sticks));
    }

    /// What is left of what was ordered.
    pub fn panics_left(&self) -> i64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 8).expect("the shim's file");
        i64::from_ne_bytes(bytes)
    }

    fn order(&self, at: u64, value: i64) {
        self.0.write_all_at(&value.to_ne_bytes(), at).expect("the shim's file");
    }
}
