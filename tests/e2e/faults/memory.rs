//! The memory of the engine's control group is used up, or would be.

use forebay_e2e::cgroup::MemoryGroup;
use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Options, Scene, Wire, config, eventually, system};

const LIMIT: u64 = 128 << 20;

//= test CFG-LIMIT-03
#[test]
fn at_the_limit_of_its_control_group_new_connections_are_refused_and_nothing_dies() {
    let Some(group) = MemoryGroup::new(LIMIT) else { return };
    system::raise_file_limit();
    // Heads that do not end are not to end by time before all are there.
    let profile = config::profile("header_timeout_ms = 60000");
    let options = Options { under: group.under(), ..Options::default() };
    let mut scene = Scene::with(Lab::new(), "", &profile, options);
    let most = scene.engine.metric("forebay_client_connections_max", &[]);
    // Half of what remains of 128 MiB beside the process itself, at 40 KiB each.
    assert!((1_000.0..1_600.0).contains(&most), "{most} connections");
    let mut kept = scene.client();
    kept.get("/").unwrap();
    // Each holds what a client can make the engine hold: a large head that does not end.
    let mut crowd = Vec::new();
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(7_000));
    for n in 0..most as usize + 500 {
        // The ones over the limit may be closed by now.
        crowd.extend(Wire::connect(scene.at).and_then(|mut wire| wire.send(&head).map(|()| wire)).ok());
        if n % 100 == 0 {
            assert_eq!(kept.get("/bytes?n=100000").unwrap().body.len(), 100_000, "after {n} connections");
        }
    }
    eventually("connections over the limit are refused", secs(30), || {
        scene.engine.metric("forebay_connections_refused_total", &[]) >= 400.0
    });
    // Each worker has its share, rounded up.
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let open = scene.engine.metric("forebay_client_connections_open", &[]);
    assert!(open < most + workers, "{open} of {most}");
    for _ in 0..20 {
        assert_eq!(kept.get("/").unwrap().status, 200, "a kept connection is served all the while");
    }
    drop(crowd);
    eventually("new clients are served again", secs(30), || {
        scene.client().patience(secs(2)).get_once("/").is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(group.kills(), 0, "nothing was killed");
    assert!(group.peak() < LIMIT, "{} of {LIMIT} bytes", group.peak());
    super::is_well(&mut scene);
    drop(scene);
}
