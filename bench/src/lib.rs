//! Measures the gateway and plays its vendors: a synthetic vendor with faults on demand, load with an honest clock, a
//! comparison with nginx and HAProxy in one run, what an operator's changes cost a fleet, and a grammar checker that shares
//! no code with the gateway.

mod deployment;
mod gateway;
mod meter;
mod sys;

pub mod clock;
pub mod grammar;
pub mod histogram;
pub mod http;
pub mod provider;
pub mod storm;
pub mod load;
pub mod compare;
pub mod fleet;
pub mod table;

/// Raises the limit of open files for this process and what it starts: ten thousand idle connections need twice as many.
pub fn raise_open_files() -> u64 {
    sys::raise_open_files(OPEN_FILES_WANTED)
}

const OPEN_FILES_WANTED: u64 = 200_000;
