//! Records survive: a killed process, a full disk, a torn end.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::gateway::{eventually, within};
use weir_tests::wire::PATIENCE;
use weir_tests::{Call, Dialect, Setup, Shim, Wire, clock, journal, process};

/// How often the process is killed in the middle of traffic; the nightly run says more.
fn rounds() -> usize {
    std::env::var("WEIR_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// Whatever a caller saw finished has a record, however the process ended.
#[test]
fn a_killed_process_loses_no_record() {
    let mut setup = Setup::new("journal-kill");
    let model = setup.model(Dialect::OpenAi, "events=5,pace=1ms");
    let mut weir = setup.start();
    let mut finished: BTreeSet<String> = BTreeSet::new();
    for round in 0..rounds() {
        let stop = AtomicBool::new(false);
        let seen: Vec<Vec<String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let (data, key, model, stop) = (weir.data, &weir.key, &model, &stop);
                    scope.spawn(move || {
                        let mut seen = Vec::new();
                        let mut wire = Wire::open(data);
                        let request = Call::Chat.request(model, thread % 2 == 0).bytes(key);
                        while !stop.load(Ordering::Relaxed) && wire.send(&request) {
                            let answer = wire.answer_within(Duration::from_secs(5), false);
                            // Streams count from their last event on, even when the last chunk was lost.
                            let whole = answer.broken.is_none() || answer.text().contains("[DONE]");
                            if answer.status != 200 || !whole {
                                break;
                            }
                            seen.push(answer.request_id());
                        }
                        seen
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(60 + (round as u64 * 37) % 150));
            process::signal(weir.pid(), "KILL");
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        finished.extend(seen.into_iter().flatten());
        weir.reboot();
    }
    let records = weir.records();
    let recorded: BTreeSet<String> = records.iter().map(|record| record.id.to_string()).collect();
    // On a busy machine a round is short; what counts is that there was something to lose in most of them.
    assert!(finished.len() > 2 * rounds(), "only {} requests", finished.len());
    let lost: Vec<_> = finished.difference(&recorded).collect();
    assert!(lost.is_empty(), "{} of {} records are lost: {lost:?}", lost.len(), finished.len());
    assert_eq!(recorded.len(), records.len(), "a record is there twice");
    weir.ctl(&["usage", "verify", "--json"]);
    weir.lives();
}

/// A torn or changed end is cut off, told, and what was before it stays.
#[test]
fn a_torn_end_is_cut_off() {
    let mut setup = Setup::new("journal-torn");
    setup.cores = 1;
    let mut weir = setup.start();
    for _ in 0..20 {
        weir.chat("good-openai");
    }
    assert_eq!(weir.records().len(), 20);
    weir.kill();
    let segment = segments(&weir.state()).pop().expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    // As if the machine had stopped in the middle of the last record.
    bytes[end - 40..].fill(0xa5);
    std::fs::write(&segment, &bytes[..end]).expect("writable");
    weir.reboot();
    assert!(eventually(|| weir.stderr().contains("journal_damaged")), "nobody was told: {}", weir.stderr());
    assert_eq!(weir.records().len(), 19);
    weir.lives();
    assert_eq!(weir.records().len(), 20);
    weir.ctl(&["usage", "verify", "--json"]);
}

fn segments(state: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(state.join("journal/suite"))
        .expect("a journal")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes.iter().take(8).any(|byte| *byte != 0)))
        .collect();
    found.sort();
    found
}

/// A file system of its own, that can be filled. `None` where the machine does not allow it.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: std::path::PathBuf, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("the scratch folder is writable");
        let options = format!("size={megabytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("ballast")).expect("a file");
        let block = vec![1u8; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Usage that cannot be recorded is not sold: refused at once, without a call, and served again as soon as there is room.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut setup = Setup::new("journal-full");
    setup.cores = 1;
    let words = "name=full,events=60,pace=50ms";
    let slow = setup.model(Dialect::OpenAi, words);
    let Some(disk) = Disk::mount(setup.scratch.join("state/journal"), 2) else {
        // Nothing is promised for a machine on which nothing can be mounted; the run says so.
        eprintln!("SKIPPED: a file system of its own needs root and mount(8)");
        return;
    };
    let weir = setup.start();
    assert_eq!(weir.chat("good-openai").status, 200);
    let mut open = weir.wire();
    open.send(Call::Chat.request(&slow, true).bytes(&weir.key));
    open.until(b"data: ");
    disk.fill();
    // What is allocated is used up first.
    let mut ids = Vec::new();
    let request = Call::Chat.request("good-openai", false).bytes(&weir.key);
    let mut wire = weir.wire();
    let refused = loop {
        wire.send(&request);
        let answer = wire.answer();
        if answer.status != 200 {
            break answer;
        }
        ids.push(answer.request_id());
        assert!(ids.len() < 100_000, "the disk never is full");
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "billing_unavailable"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let calls = weir.vendor().counter("name=good,events=3").requests;
    let started = clock::now();
    for _ in 0..20 {
        assert_eq!(weir.chat("good-openai").status, 503);
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(weir.vendor().counter("name=good,events=3").requests, calls, "a call that cannot be recorded");
    assert!(within(Duration::from_secs(5), || weir.ask_admin("/ready").status == 503), "it says that it is ready");
    assert_eq!(weir.ask_admin("/live").status, 200);
    // Who was admitted is served to the end, and recorded.
    open.until(b"data: [DONE]");
    disk.free();
    let started = clock::now();
    assert!(eventually(|| weir.chat("good-openai").status == 200), "it does not recover");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(eventually(|| weir.ask_admin("/ready").status == 200));
    let records = journal::records(&weir.state().join("journal"));
    let recorded: BTreeSet<String> = records.iter().map(|record| record.id.to_string()).collect();
    let lost = ids.iter().filter(|id| !recorded.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", ids.len());
    assert!(records.iter().any(|record| record.model == slow), "the open stream has no record");
    weir.lives();
    drop(weir);
    drop(disk);
}

/// A file whose sync failed takes no more records: the pages that failed count as clean, and a second try would be
/// believed. What is written goes on in other files, and when the disk is well again in one.
#[test]
fn a_failed_sync_retires_the_file() {
    let mut setup = Setup::new("journal-sync");
    setup.cores = 1;
    let shim = Shim::install(&mut setup);
    let weir = setup.start();
    let mut sent = 0;
    let mut call = || {
        sent += 1;
        assert_eq!(weir.chat("good-openai").status, 200);
        sent
    };
    call();
    assert_eq!(segments(&weir.state()).len(), 1);
    shim.syncs_fail(true);
    call();
    assert!(eventually(|| weir.stderr().contains("journal_sync_failed")), "nobody was told: {}", weir.stderr());
    let before = std::fs::read(&segments(&weir.state())[0]).expect("a segment");
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0);
    // The next segment may take a moment to be there; until then there is no other file.
    assert!(within(PATIENCE, || {
        call();
        segments(&weir.state()).len() > 2
    }));
    let after = std::fs::read(&segments(&weir.state())[0]).expect("a segment");
    assert_eq!(used(&after), used(&before), "a file that failed takes another record");
    shim.syncs_fail(false);
    std::thread::sleep(Duration::from_millis(200));
    call();
    let files = segments(&weir.state()).len();
    for _ in 0..20 {
        call();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(segments(&weir.state()).len(), files, "a file that is well is retired");
    let sent = call();
    assert_eq!(weir.records().len(), sent, "a record is lost");
    weir.ctl(&["usage", "verify", "--json"]);
    weir.lives();
}

/// The wall clock goes an hour forward and back under traffic: records keep their order and their cost, and none is
/// further from the time of its request than the clock was.
#[test]
fn a_clock_that_jumps_changes_no_order_and_no_cost() {
    let mut setup = Setup::new("journal-clock");
    setup.cores = 1;
    let shim = Shim::install(&mut setup);
    let weir = setup.start();
    let wall = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    const HOUR_NS: u64 = 3_600_000_000_000;
    let started = wall();
    for offset in [0, 3_600, -3_600, 3_600, 0, -3_600, 0] {
        shim.wall_offset_seconds(offset);
        let until = clock::now() + Duration::from_millis(250);
        while clock::now() < until {
            assert_eq!(weir.chat("good-openai").status, 200);
        }
    }
    let ended = wall();
    let records = weir.records();
    assert!(records.len() > 50, "{}", records.len());
    for pair in records.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert!(pair[1].time_ns > pair[0].time_ns, "{} is not later than {}", pair[1].time_ns, pair[0].time_ns);
        assert_eq!((pair[1].cost, pair[1].usage), (pair[0].cost, pair[0].usage));
    }
    let (first, last) = (records[0].time_ns, records[records.len() - 1].time_ns);
    assert!(first >= started - HOUR_NS - HOUR_NS / 60 && last <= ended + HOUR_NS + HOUR_NS / 60, "{first} {last}");
    weir.ctl(&["usage", "verify", "--json"]);
    weir.lives();
}

/// Segments follow each other without a gap.
#[test]
fn many_segments_are_one_chain() {
    let mut setup = Setup::new("journal-segments");
    setup.cores = 1;
    let Some(disk) = Disk::mount(setup.scratch.join("state/journal"), 1) else {
        eprintln!("SKIPPED: a file system of its own needs root and mount(8)");
        return;
    };
    // On so small a disk segments are small, too.
    let weir = setup.start();
    let request = Call::Chat.request("good-openai", false).bytes(&weir.key);
    let mut wire = weir.wire();
    for number in 0..1_200 {
        wire.send(&request);
        let answer = wire.answer();
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    assert_eq!(weir.records().len(), 1_200);
    weir.ctl(&["usage", "verify", "--json"]);
    drop(weir);
    drop(disk);
}

/// A request that is under way when the process is told to end has its record, too.
#[test]
fn a_drained_process_has_every_record() {
    let mut setup = Setup::new("journal-drain");
    let model = setup.model(Dialect::OpenAi, "events=20,pace=20ms");
    let mut weir = setup.start();
    let mut wires: Vec<_> = (0..10).map(|_| weir.wire()).collect();
    for wire in &mut wires {
        wire.send(Call::Chat.request(&model, true).bytes(&weir.key));
        wire.until(b"data: ");
    }
    weir.terminate();
    for wire in &mut wires {
        let answer = String::from_utf8_lossy(&wire.until(b"[DONE]")).into_owned();
        assert!(!answer.contains("error"), "{answer}");
    }
    assert_eq!(weir.wait_exit(Duration::from_secs(20)), Some(0));
    let records = journal::records(&weir.state().join("journal"));
    assert_eq!(records.iter().filter(|record| record.model == model && record.cost.0 > 0).count(), 10);
    weir.ctl(&["usage", "verify", "--json"]);
}
