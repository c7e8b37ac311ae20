//! What is full: one engine's table, and the disk of its snapshot.

use std::path::PathBuf;
use std::process::Command;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, bin, long_or};

use crate::common::{bind, options, wait_until_gone};
use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

/// Clients of the tests, who come before the table fills.
const CLIENTS: u32 = 20;

/// The exit code of a comparison with all members.
fn compared(engine: &Engine) -> Option<i32> {
    let mut command = Command::new(bin::path("forebay-se"));
    let socket = engine.config.with_extension("sock");
    let done = command.args(["objsync", "verify", "--socket"]).arg(socket).output();
    done.expect("forebay-se starts").status.code()
}

//= test SYNC-PARTIAL-01
#[test]
fn an_engine_whose_table_is_full_says_so_and_is_not_sent_the_same_again_and_again() {
    let group = Group::new(2);
    let sizes = ["persistence_mem_max_bytes = 16777216", "persistence_mem_max_bytes = 1048576"];
    let engines = group.start_each(|slot| options(sizes[slot]));
    let homes: Vec<String> = (0..CLIENTS).map(|n| group.by_address(0, n)).collect();
    eventually("both have them", secs(20), || entries(&engines[1]) == CLIENTS as usize);
    let room = engines[1].metric("forebay_persistence_entries_max", &[]);
    let many = (room * 2.0) as u32;
    bind(&engines[0], 0, many);
    assert_eq!(entries(&engines[0]), (CLIENTS + many) as usize, "the larger table has room");
    let gone = || engines[1].metric("forebay_persistence_evictions_total", &[]);
    eventually("the smaller one is full", secs(60), || gone() >= f64::from(many) - room);
    eventually("and says so", secs(10), || engines[1].process.printed().contains("TABLE_FULL"));
    assert!(entries(&engines[1]) as f64 <= room, "it keeps to its memory");
    eventually("a comparison says that it is one in part", secs(60), || compared(&engines[0]) == Some(2));
    // It goes on like that: no entry is sent for nothing, and what a comparison costs does not grow.
    let sent = |what: &str| engines.iter().map(|e| e.metric(what, &[])).sum::<f64>();
    let costs: Vec<[f64; 3]> = (0..long_or(20, 3))
        .map(|_| {
            let before =
                (sent("forebay_objsync_peer_repaired_total"), sent("forebay_objsync_peer_sent_bytes_total"));
            let (evicted, comparisons) =
                (gone(), engines[0].metric("forebay_objsync_peer_comparisons_total", &[]));
            let mut through = 0.0;
            eventually("the next comparison is through", secs(30), || {
                through = engines[0].metric("forebay_objsync_peer_comparisons_total", &[]) - comparisons;
                through >= 1.0
            });
            [
                sent("forebay_objsync_peer_repaired_total") - before.0,
                (sent("forebay_objsync_peer_sent_bytes_total") - before.1) / through,
                gone() - evicted,
            ]
        })
        .collect();
    println!("{many} entries beside room for {room}: each comparison [sent anew, bytes, evicted] {costs:?}");
    for [repaired, bytes, evicted] in costs {
        assert_eq!((repaired, evicted), (0.0, 0.0), "nothing is sent to go again");
        assert!(bytes <= 40.0 * f64::from(many), "{bytes} bytes to compare {many} entries");
    }
    // Both serve; who is bound where there is room stays.
    assert!((0..CLIENTS).all(|n| group.by_address(0, n) == homes[n as usize]));
    for n in 100..100 + CLIENTS {
        let home = group.by_address(1, n);
        assert_eq!(group.by_address(1, n), home, "a new client finds room where older ones went");
    }
}

/// Starts the engine with a file system of 128 KiB at `folder`, in a mount namespace of its own.
fn on_a_small_disk(folder: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o size=128k tmpfs {folder} && exec \"$@\"");
    let unshare = bin::foreign("unshare", "util-linux").to_string_lossy().into_owned();
    [unshare.as_str(), "--mount", "--map-root-user", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

//= test SYNC-DISK-01
//= test SYNC-DISK-02
#[test]
fn a_full_disk_leaves_the_snapshot_before_and_the_engine_serves_on() {
    let group = Group::new(2);
    let folder = group.lab.folder().join("snapshots");
    std::fs::create_dir(&folder).expect("the lab's folder");
    let config = group.config(0).replace("\"0.snapshot\"", "\"snapshots/0.snapshot\"");
    let small = Options { under: on_a_small_disk(&folder.display().to_string()), ..Options::default() };
    let mut engines = [Engine::spawn(&group.lab, &config, &small), group.spawn(1)];
    engines.iter().for_each(ready);
    engines.iter().for_each(|engine| synced(engine, 1));
    let homes: Vec<String> = (0..CLIENTS).map(|n| group.by_address(0, n)).collect();
    let pid = engines[0].process.pid();
    let inside = |name: &str| PathBuf::from(format!("/proc/{pid}/root{}", folder.join(name).display()));
    let snapshot = || std::fs::read(inside("0.snapshot")).unwrap_or_default();
    // The one that is under way may have been begun before the last of them came.
    for _ in 0..2 {
        let now = snapshot();
        eventually("the next snapshot", secs(30), || snapshot() != now);
    }
    // Others fill the disk to its last byte.
    let fill = || {
        let mut file = std::fs::File::create(inside("filler")).expect("the disk is there");
        while std::io::Write::write(&mut file, &[7; 4096]).is_ok_and(|written| written > 0) {}
    };
    fill();
    let told = |engine: &Engine| engine.process.printed().matches("OBJSYNC_SNAPSHOT_FAILED").count();
    eventually("the event says so", secs(30), || told(&engines[0]) > 0);
    let before = snapshot();
    let more: Vec<String> = (CLIENTS..2 * CLIENTS).map(|n| group.by_address(0, n)).collect();
    let failed = told(&engines[0]);
    eventually("again", secs(30), || told(&engines[0]) > failed);
    assert_eq!(snapshot(), before, "the one before stays as it is");
    assert!(!inside("0.snapshot.new").exists(), "nothing half-written lies beside it");
    assert_eq!(engines[0].get("/readyz"), Some(200));
    for n in 0..CLIENTS as usize {
        assert_eq!(group.by_address(0, n as u32), homes[n]);
        assert_eq!(group.by_address(0, CLIENTS + n as u32), more[n]);
    }
    // What is there is whole: both engines die, and one begins with it.
    std::fs::write(group.lab.folder().join("0.snapshot"), &before).expect("the lab's folder");
    // With room again the next one has everybody.
    std::fs::remove_file(inside("filler")).expect("it is there");
    eventually("the next one is written", secs(30), || snapshot().len() > before.len() + 100);
    eventually("both have everybody", secs(20), || entries(&engines[1]) == 2 * CLIENTS as usize);
    engines.iter_mut().for_each(|engine| engine.process.kill());
    for slot in [0, 1] {
        wait_until_gone(&group, slot);
    }
    let alone = group.spawn(0);
    ready(&alone);
    let said = alone.process.printed();
    assert!(said.contains("OBJSYNC_SNAPSHOT_READ"), "{said}");
    assert!((0..CLIENTS as usize).all(|n| group.by_address(0, n as u32) == homes[n]));
    assert!(!verified(&alone), "the other one is gone");
}
