//! Somebody sets the wall clock.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Options, Scene, config, eventually};

#[test]
fn a_wall_clock_that_jumps_expires_nothing_and_ends_nothing() {
    let lab = Lab::new();
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let options = Options { env: clock.env(), ..Options::default() };
    let sections = config::persistence("p", "client_ip", "timeout_min = 1") + &config::monitor("m");
    let pool = "algorithm = \"round_robin\"\npersistence = \"p\"\nhealth_monitors = [\"m\"]";
    let mut scene = Scene::with(lab, pool, &sections, options);
    for server in &scene.servers {
        scene.engine.wait_for_server(server.address, true);
    }
    let clients: Vec<_> = (1..=20).map(|n| scene.lab.client_ip(n)).collect();
    let server_of = |scene: &Scene, ip| scene.client().from(ip).get_once("/").unwrap().server().to_owned();
    let homes: Vec<String> = clients.iter().map(|ip| server_of(&scene, *ip)).collect();
    let mut kept = scene.client().from(clients[0]);
    kept.get("/").unwrap();
    for jump in [3600, -3600, 86_400 * 365, -86_400, 0] {
        clock.set(jump);
        // So that the jump is behind every clock that is read now and then only.
        let began = std::time::Instant::now();
        eventually("a moment passes", secs(5), || began.elapsed() > ms(300));
        assert_eq!(kept.get("/").unwrap().status, 200, "jump of {jump} s");
        assert!(kept.is_connected(), "jump of {jump} s: the connection is kept");
        let now: Vec<String> = clients.iter().map(|ip| server_of(&scene, *ip)).collect();
        assert_eq!(now, homes, "jump of {jump} s: nobody lost the server");
        for server in &scene.servers {
            scene.engine.wait_for_server(server.address, true);
        }
    }
    super::is_well(&mut scene);
}
