//! Watches over the cores: one that does not come back to its pulse takes no new connections, and one that never does ends
//! the process, so that its supervisor starts it anew.
//!
//! What counts is how often the watch looked in vain, not how much time went by: a process that was stopped as a whole, or
//! a machine that slept, has no stuck core.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::core::Phase;
use crate::gauge::Gauges;
use crate::host::Door;
use crate::sync::say;

/// A core's pulse beats every 100 ms.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// More than a second without a beat: out of rotation.
const LOOKS_OUT: u32 = 5;
/// More than ten seconds: not to be waited for.
const LOOKS_LOST: u32 = 41;

/// One core, as the watch sees it.
pub struct Ward {
    core: usize,
    gauges: Arc<Gauges>,
    doors: Vec<Door>,
    pulse: Pulse,
}

impl Ward {
    pub fn new(core: usize, gauges: Arc<Gauges>, doors: Vec<Door>) -> Self {
        Self { core, gauges, doors, pulse: Pulse::default() }
    }

    fn look(&mut self) {
        match self.pulse.look(self.gauges.heartbeat_ms.load(Ordering::Relaxed)) {
            None => {}
            Some(Turn::Out) => {
                // The kernel gives new connections to the others.
                self.doors.iter().for_each(Door::shut);
                self.gauges.out.store(1, Ordering::Relaxed);
                say(
                    "error",
                    "core_stuck",
                    &format!("core {} has no pulse; the others take its new callers", self.core),
                );
            }
            Some(Turn::Back) => {
                // It sees for itself that its listeners are shut, and opens new ones.
                self.gauges.out.store(0, Ordering::Relaxed);
                say("info", "core_back", &format!("core {} has its pulse again", self.core));
            }
            Some(Turn::Lost) => {
                say(
                    "error",
                    "core_lost",
                    &format!("core {} had no pulse for ten seconds; the process ends", self.core),
                );
                std::process::abort();
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Out,
    Back,
    Lost,
}

/// What the looks at one core came to. It has a pulse from its first beat on: until then it reads its journal.
#[derive(Default)]
struct Pulse {
    beat: u64,
    in_vain: u32,
}

impl Pulse {
    fn look(&mut self, beat: u64) -> Option<Turn> {
        if beat != self.beat || beat == 0 {
            self.beat = beat;
            let was_out = std::mem::take(&mut self.in_vain) >= LOOKS_OUT;
            return was_out.then_some(Turn::Back);
        }
        self.in_vain += 1;
        match self.in_vain {
            LOOKS_OUT => Some(Turn::Out),
            LOOKS_LOST.. => Some(Turn::Lost),
            _ => None,
        }
    }
}

/// Looks until the process drains: from then on the drain's own limit holds.
pub fn run(mut wards: Vec<Ward>, phase: &Phase) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        if phase.is_draining() {
            return;
        }
        wards.iter_mut().for_each(Ward::look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_without_pulse_goes_out_comes_back_or_is_lost() {
        let mut pulse = Pulse::default();
        assert!((0..100).all(|_| pulse.look(0).is_none()), "it has not begun yet");
        assert!((1..100).all(|beat| pulse.look(beat).is_none()));
        let turns: Vec<_> = (0..6).map(|_| pulse.look(99)).collect();
        assert_eq!(turns, [None, None, None, None, Some(Turn::Out), None]);
        assert_eq!(pulse.look(100), Some(Turn::Back));
        let looks = (1..).find(|_| pulse.look(100) == Some(Turn::Lost));
        assert_eq!(looks, Some(LOOKS_LOST));
    }
}
