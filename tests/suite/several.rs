//! More than one answer to a call: all of them for the caller, or one for nobody.

#[allow(dead_code, reason = "the pairs ask for more")]
#[path = "pairs/caller.rs"]
mod caller;

#[path = "several/fan_out.rs"]
mod fan_out;
#[path = "several/mirror.rs"]
mod mirror;

use weir_tests::{Dialect, Model, Setup};

fn add(setup: &mut Setup, dialect: Dialect, id: &str, words: &str) {
    setup.add(Model::new(dialect, &format!("name={id},{words}")).id(id));
}
