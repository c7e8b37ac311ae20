//! What an engine or the distributor does not find where it should is not taken for nothing to find.

use std::net::TcpStream;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, Process};

use crate::group::entries;
use crate::redis::{Legacy, connected};

#[track_caller]
fn says(process: &Process, what: &str) {
    eventually(what, secs(60), || process.printed().contains(what));
}

//= test LEGACY-JOIN-01
#[test]
fn an_engine_does_not_take_its_tables_for_complete_when_another_ones_redis_cannot_be_read() {
    let mut legacy = Legacy::new(2);
    let mut engines = legacy.start();
    for n in 0..10 {
        legacy.group.by_address(1, n);
    }
    eventually("every entry is on both engines", secs(20), || entries(&engines[0]) == 10);
    engines[0].process.kill();
    legacy.redises[0].kill();
    legacy.redises[1].signal(libc::SIGSTOP);
    let is_down = |line: &str| line.contains("DISTRIBUTOR_REDIS_DOWN") && line.contains("1.redis");
    eventually("the distributor cannot read it", secs(30), || {
        legacy.distributor.printed().lines().any(is_down)
    });
    legacy.restart_redis(0);
    engines[0] = legacy.spawn(0);
    eventually("it takes connections", secs(60), || TcpStream::connect(legacy.group.vips[0][0]).is_ok());
    says(&engines[0].process, "not every member was heard of");
    assert!(!engines[0].process.printed().contains("the tables are complete"));
    assert_eq!(entries(&engines[0]), 0);
    legacy.redises[1].signal(libc::SIGCONT);
    eventually("it is told them when they can be read", secs(60), || entries(&engines[0]) == 10);
}

//= test LEGACY-WIRING-01
#[test]
fn a_redis_of_another_engine_or_group_is_neither_read_nor_written_and_that_is_said() {
    let mut legacy = Legacy::new(2);
    let mut engines = legacy.start();
    legacy.restart_distributor_as("shop", &[1, 0]);
    says(&legacy.distributor, "the engine with slot 1 writes to it, not the one with slot 0");
    says(&legacy.distributor, "the engine with slot 0 writes to it, not the one with slot 1");
    legacy.group.by_address(0, 1);
    eventually("it is in its own Redis", secs(20), || legacy.entries(0) == 1);
    legacy.restart_distributor_as("shopp", &[]);
    says(&legacy.distributor, "no engine of this group writes to its Redis");
    assert_eq!(entries(&engines[1]), 0, "nobody has told it");
    legacy.restart_distributor();
    eventually("rightly wired it is told", secs(60), || entries(&engines[1]) == 1);
    // Two engines at one Redis: the one that comes later leaves it alone.
    engines[1].process.kill();
    let config = legacy.config(1).replace("./1.redis", "./0.redis");
    let second = Engine::spawn(&legacy.group.lab, &config, &Options::default());
    says(&second.process, "the engine with slot 0 writes to it");
    connected(&engines[0], true);
    assert!(!second.process.printed().contains("OBJSYNC_REDIS_UP"));
}

//= test LEGACY-GAP-01
#[test]
fn a_note_with_the_last_of_all_numbers_ends_nothing() {
    let legacy = Legacy::new(2);
    let engines = legacy.start();
    let twice = r"local note = '\2\1' .. string.rep('\0', 12) .. string.rep('\9', 8) .. string.rep('\255', 8)
                  for i = 1, 2 do redis.call('XADD', 'forebay:shop:inbox', '*', 'm', note) end return 2";
    assert_eq!(legacy.ask(0, &["EVAL", twice, "0"]), "2");
    eventually("it reads anew", secs(30), || {
        engines[0].metric("forebay_objsync_redis_lost_total", &[]) >= 1.0
    });
    connected(&engines[0], true);
    legacy.group.by_address(1, 1);
    eventually("it is told what comes then", secs(30), || entries(&engines[0]) == 1);
}
