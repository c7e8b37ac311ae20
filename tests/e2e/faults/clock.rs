//! Somebody sets the wall clock.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Lab, Options, Origin, Scene, config, eventually};

#[test]
fn a_wall_clock_that_jumps_unbinds_no_address_and_ends_no_connection() {
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
    for seconds in [3600, -3600, 86_400 * 365, -86_400, 0] {
        jump(&clock, seconds);
        assert_eq!(kept.get("/").unwrap().status, 200, "jump of {seconds} s");
        assert!(kept.is_connected(), "jump of {seconds} s: the connection is kept");
        let now: Vec<String> = clients.iter().map(|ip| server_of(&scene, *ip)).collect();
        assert_eq!(now, homes, "jump of {seconds} s: nobody lost the server");
        for server in &scene.servers {
            scene.engine.wait_for_server(server.address, true);
        }
    }
    super::is_well(&mut scene);
}

/// Sets the clock, and waits until the jump is behind every clock that is read now and then only.
fn jump(clock: &Clock, seconds: i64) {
    clock.set(seconds);
    let began = std::time::Instant::now();
    eventually("a moment passes", secs(5), || began.elapsed() > ms(300));
}

//= test PERS-COOKIE-04
#[test]
fn a_timed_cookie_ages_with_the_wall_clock_and_one_from_the_future_is_fresh() {
    let lab = Lab::new();
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let options = Options { env: clock.env(), ..Options::default() };
    let sections = config::persistence("p", "http_cookie", "cookie_name = \"STICKY\"\ntimeout_min = 30");
    let mut scene = Scene::with(lab, "algorithm = \"round_robin\"\npersistence = \"p\"", &sections, options);
    let mut clients: Vec<Client> = (0..12).map(|_| scene.client()).collect();
    // Each client's server, and how many of them got a new cookie.
    let mut round = || {
        let mut renewed = 0;
        let servers: Vec<String> = clients
            .iter_mut()
            .map(|client| {
                let answer = client.get_once("/").unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                renewed += usize::from(answer.cookie("STICKY").is_some());
                answer.server().to_owned()
            })
            .collect();
        (servers, renewed)
    };
    let (homes, renewed) = round();
    assert_eq!(renewed, 12, "each gets its cookie");
    for seconds in [29 * 60, -3600, -86_400, 0] {
        jump(&clock, seconds);
        assert_eq!(round(), (homes.clone(), 0), "jump to {seconds} s: fresh, followed, not replaced");
    }
    jump(&clock, 3600);
    let (later, renewed) = round();
    assert_eq!(renewed, 12, "an hour on, every cookie of 30 minutes is stale and replaced");
    assert_ne!(later, homes, "a stale cookie is not followed");
    assert_eq!(round(), (later.clone(), 0), "the new ones hold");
    jump(&clock, 0);
    assert_eq!(round(), (later, 0), "back again, they come from the future and are fresh");
    super::is_well(&mut scene);
}

//= test PERS-APP-05
#[test]
fn a_session_ends_by_its_date_on_the_wall_clock_and_only_when_its_server_says_so() {
    let lab = Lab::new();
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let soon = std::process::Command::new("date")
        .args(["-u", "-d", "30 minutes", "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let soon = String::from_utf8(soon.stdout).unwrap().trim().to_owned();
    let origin = Origin::answering(lab.address(), move |head| {
        let sets = match head.starts_with("GET /login") {
            true => format!("Set-Cookie: SID=abc; Expires={soon}\r\n"),
            false => String::new(),
        };
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{sets}\r\n").into_bytes())
    });
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "persistence = \"app\"", &[origin.address])
        + &config::persistence("app", "app_cookie", "cookie_name = \"SID\"");
    let options = Options { env: clock.env(), ..Options::default() };
    let engine = lab.engine_with(&text, options);
    let entries = || engine.metric("forebay_persistence_entries", &[]);
    let ask = |path| assert_eq!(Client::new(at).get_once(path).unwrap().status, 200);
    ask("/login");
    assert_eq!(entries(), 1.0, "a date to come");
    for seconds in [3600, -3600, 86_400] {
        jump(&clock, seconds);
        ask("/");
        assert_eq!(entries(), 1.0, "jump to {seconds} s: what was learned is not judged again");
    }
    ask("/login");
    assert_eq!(entries(), 0.0, "the same date lies behind the clock now");
    jump(&clock, -86_400);
    ask("/login");
    assert_eq!(entries(), 1.0, "and before it again");
}

#[test]
fn a_binding_moves_and_stays_moved_although_the_wall_clock_went_back() {
    let lab = Lab::new();
    let clock = Clock::new(lab.folder(), Moves::WallClock);
    let options = Options { env: clock.env(), ..Options::default() };
    let sections = config::persistence("p", "client_ip", "timeout_min = 60") + &config::monitor("m");
    let pool = "algorithm = \"round_robin\"\npersistence = \"p\"\nhealth_monitors = [\"m\"]";
    let mut scene = Scene::with(lab, pool, &sections, options);
    for server in &scene.servers {
        scene.engine.wait_for_server(server.address, true);
    }
    let clients: Vec<_> = (1..=24).map(|n| scene.lab.client_ip(n)).collect();
    let round = |scene: &Scene| -> Vec<String> {
        let ask = |ip| scene.client().from(ip).get_once("/").unwrap().server().to_owned();
        clients.iter().map(|ip| ask(*ip)).collect()
    };
    let homes = round(&scene);
    // Every later write carries an older stamp than the one that it replaces.
    for (seconds, down) in [(-3600, "a"), (-86_400, "b")] {
        jump(&clock, seconds);
        let before = round(&scene);
        if down == "a" {
            assert_eq!(before, homes, "the jump itself moves nobody");
        }
        let address = scene.server(down).address;
        scene.server(down).process.kill();
        scene.engine.wait_for_server(address, false);
        let moved = round(&scene);
        assert!(before.iter().any(|home| home == down), "somebody has to move: {before:?}");
        assert!(!moved.iter().any(|home| home == down), "{moved:?}");
        for (before, moved) in before.iter().zip(&moved) {
            assert!(before == down || before == moved, "only clients of {down} move: {before} to {moved}");
        }
        *scene.server(down) = scene.lab.demo_at(down, address);
        scene.engine.wait_for_server(address, true);
        for _ in 0..3 {
            assert_eq!(round(&scene), moved, "jump to {seconds} s: a move is a move");
        }
    }
    assert_eq!(scene.engine.metric("forebay_persistence_entries", &[]), 24.0);
    super::is_well(&mut scene);
}
