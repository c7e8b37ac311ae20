//! Faults and bad input: what must not bring the service down.

mod clock;
mod input;
mod memory;
mod ports;
mod resources;
mod servers;
mod shortage;
mod stop;
mod table;
mod workers;

use forebay_e2e::Scene;

/// The engine is the same process as before, has not panicked, and serves.
#[track_caller]
fn is_well(scene: &mut Scene) {
    assert!(scene.engine.process.ended().is_none(), "the process lives on");
    let printed = scene.engine.process.printed();
    assert!(!printed.contains("panicked"), "{printed}");
    assert_eq!(scene.client().get_once("/").unwrap().status, 200, "it serves");
}
