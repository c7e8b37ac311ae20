//! Engines whose wall clocks are wrong.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Options, long_or};

use crate::common::wait_until_gone;
use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

const ENGINES: usize = 3;
/// New clients of each engine after each jump.
const EACH: u32 = 8;
/// Seconds that each engine's clock is wrong by, one row after the other; entries live for 5 minutes.
const WRONG: [[i64; ENGINES]; 4] = [[600, -600, 0], [-600, 0, 600], [0, 600, -600], [0, 0, 0]];

//= test SYNC-TIME-01
#[test]
fn wall_clocks_that_are_ten_minutes_off_and_jump_take_nobody_the_server() {
    let group = Group::new(ENGINES);
    let clocks: Vec<Clock> = (0..ENGINES)
        .map(|slot| {
            let folder = group.lab.folder().join(format!("clock-{slot}"));
            std::fs::create_dir(&folder).expect("the lab's folder");
            Clock::new(&folder, Moves::WallClock)
        })
        .collect();
    let set = |seconds: [i64; ENGINES]| {
        clocks.iter().zip(seconds).for_each(|(clock, seconds)| clock.set(seconds));
    };
    let options = |slot: usize| Options { env: clocks[slot].env(), ..Options::default() };
    // They come with wrong clocks.
    set([0, -600, 600]);
    let mut engines = group.start_each(options);
    let mut homes: Vec<String> = Vec::new();
    for turn in 0..long_or(40, 4) {
        // Whom an engine binds with a wrong clock, and whom it bound before: nobody's entry is over, and none wins.
        for n in 0..EACH * ENGINES as u32 {
            homes.push(group.by_address(n as usize % ENGINES, homes.len() as u32));
        }
        for engine in &engines {
            eventually("every engine has every entry", secs(20), || entries(engine) == homes.len());
        }
        set(WRONG[turn % WRONG.len()]);
        let began = std::time::Instant::now();
        eventually("the jump is behind every clock that is read now and then", secs(5), || {
            began.elapsed() > ms(300)
        });
        for slot in 0..ENGINES {
            let moved =
                homes.iter().zip(0..).filter(|(home, n)| group.by_address(slot, *n) != **home).count();
            assert_eq!(moved, 0, "turn {turn}: at engine {slot}, of {}", homes.len());
        }
        // One of them comes back with a clock that is wrong, and takes the others' time.
        let slot = turn % ENGINES;
        engines[slot].process.kill();
        wait_until_gone(&group, slot);
        engines[slot] = group.spawn_with(slot, &options(slot));
        ready(&engines[slot]);
        for engine in &engines {
            synced(engine, ENGINES - 1);
            assert_eq!(entries(engine), homes.len(), "turn {turn}: every entry is there");
        }
    }
    for (slot, engine) in engines.iter().enumerate() {
        eventually("nothing differs", secs(30), || verified(engine));
        let moved = homes.iter().zip(0..).filter(|(home, n)| group.by_address(slot, *n) != **home).count();
        assert_eq!(moved, 0, "at engine {slot} in the end");
        let said = engine.process.printed();
        assert!(!said.contains("OBJSYNC_CLOCK_AHEAD"), "ten minutes are no hour: {said}");
    }
}
