//! Both processes in a control group that bounds their memory.

use forebay_e2e::cgroup::MemoryGroup;
use forebay_e2e::lively::{echoes, websocket};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, config, eventually};

use crate::web;

const LIMIT: u64 = 256 << 20;

fn within(group: &MemoryGroup) -> Options {
    // Tables as large as the group allows, which the engine of other tests has not.
    Options { under: group.under(), engine: "stop_grace_s = 60".to_owned(), ..Options::default() }
}

/// One that refuses to take over; what it says.
fn refused(engine: &Engine, options: &Options) -> String {
    let mut new = engine.successor(options);
    assert_eq!(new.process.wait(secs(30)).code(), Some(1), "{}", new.process.printed());
    new.process.printed()
}

//= test UPG-MEMORY-01
#[test]
fn a_group_without_room_for_both_refuses_the_new_process_and_kills_nobody() {
    let Some(group) = MemoryGroup::new(LIMIT) else { return };
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let plain = web(at, "", &[a.address]);
    let mut engine = lab.engine_with(&plain, within(&group));
    let mut chat = websocket(at);
    // Without tables two fit.
    let _first = engine.upgrade(&within(&group));
    let text = web(at, "persistence = \"ip\"", &[a.address]) + &config::persistence("ip", "client_ip", "");
    engine.load(&text);
    let serves = |chat: &mut forebay_e2e::Wire| {
        assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
        assert!(echoes(chat), "the first process serves it");
        assert_eq!(group.kills(), 0, "nothing was killed");
    };
    for round in 1..=3 {
        let said = refused(&engine, &within(&group));
        assert!(
            said.contains("of 256 MiB, and") && said.contains("the engine that serves goes on"),
            "{said}"
        );
        eventually("the old one knows it", secs(10), || {
            let printed = engine.process.printed();
            printed.matches("UPGRADE_FAILED").count() == round && printed.contains("MiB are needed")
        });
        serves(&mut chat);
    }
    // A table that fits, as it advises.
    let file = std::fs::read_to_string(&engine.config).expect("its file");
    let small = file.replace("stop_grace_s", "persistence_mem_max_bytes = 8388608\nstop_grace_s");
    assert_ne!(file, small);
    std::fs::write(&engine.config, small).expect("its file");
    let _second = engine.upgrade(&within(&group));
    serves(&mut chat);
}
