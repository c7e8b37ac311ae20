//! The life of an address's entry: it counts down from the end of the last connection.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Options, Scene, config, eventually, scene};

/// One minute, as configured, and a little more: the engine's clock is coarse.
const MORE_THAN_A_MINUTE: i64 = 75;

fn scene() -> (Scene, Clock) {
    let lab = Lab::new();
    let clock = Clock::new(lab.folder(), Moves::AllClocks);
    let options = Options { env: clock.env(), ..Options::default() };
    let profile = config::persistence("p", "client_ip", "timeout_min = 1");
    let pool = "algorithm = \"round_robin\"\npersistence = \"p\"";
    // A connection that waits must not be ended by the moved clock.
    let patient = config::profile("idle_timeout_ms = 3600000\nheader_timeout_ms = 3600000");
    (Scene::with(lab, pool, &(profile + &patient), options), clock)
}

/// The servers of ten further clients, so that round robin has moved on for sure.
fn others(scene: &Scene, from: u32) {
    for n in from..from + 10 {
        Client::new(scene.at).from(scene.lab.client_ip(n)).get_once("/").unwrap();
    }
}

/// Whether the address has an entry: with one, new connections all reach one server.
fn is_bound(scene: &Scene, ip: std::net::IpAddr) -> bool {
    let seen = (0..12).map(|_| Client::new(scene.at).from(ip).get_once("/").unwrap().server().to_owned());
    scene::tally(seen).len() == 1
}

#[test]
fn an_entry_lives_its_time_after_the_last_connection_and_no_longer() {
    let (scene, clock) = scene();
    // Many clients: round robin gives a third of them the same server again by chance.
    let clients: Vec<_> = (1..=30).map(|n| scene.lab.client_ip(n)).collect();
    let server_of = |ip| Client::new(scene.at).from(ip).get_once("/").unwrap().server().to_owned();
    let first: Vec<String> = clients.iter().map(|ip| server_of(*ip)).collect();
    clock.set(50);
    others(&scene, 100);
    let second: Vec<String> = clients.iter().map(|ip| server_of(*ip)).collect();
    assert_eq!(first, second, "within the minute all stay");
    // Renewed by use: another 50 seconds from the second visit.
    clock.set(100);
    others(&scene, 200);
    let third: Vec<String> = clients.iter().map(|ip| server_of(*ip)).collect();
    assert_eq!(first, third, "each visit starts the minute anew");
    clock.set(100 + MORE_THAN_A_MINUTE);
    scene.client().get_once("/").unwrap();
    let fourth: Vec<String> = clients.iter().map(|ip| server_of(*ip)).collect();
    assert_ne!(first, fourth, "after the minute the algorithm decides anew");
    assert!(is_bound(&scene, clients[0]), "and binds again");
}

#[test]
fn the_countdown_waits_for_the_last_of_overlapping_connections() {
    let (scene, clock) = scene();
    let clients: Vec<_> = (1..=12).map(|n| scene.lab.client_ip(n)).collect();
    let mut held: Vec<Client> = clients.iter().map(|ip| Client::new(scene.at).from(*ip)).collect();
    let homes: Vec<String> = held.iter_mut().map(|c| c.get("/").unwrap().server().to_owned()).collect();
    // A second, short connection of each comes and goes.
    for (ip, home) in clients.iter().zip(&homes) {
        assert_eq!(Client::new(scene.at).from(*ip).get_once("/").unwrap().server(), home);
    }
    clock.set(3 * MORE_THAN_A_MINUTE);
    others(&scene, 100);
    for (ip, home) in clients.iter().zip(&homes) {
        let now = Client::new(scene.at).from(*ip).get_once("/").unwrap().server().to_owned();
        assert_eq!(now, *home, "the first connection is still open");
    }
    for client in &mut held {
        assert!(client.is_connected(), "the first connection was kept");
        client.close();
    }
    // The engine has to see the ends before its clock moves on.
    eventually("the engine has seen the ends", secs(10), || {
        scene.engine.metric("forebay_client_connections_open", &[("virtual_service", "web")]) == 0.0
    });
    clock.set(4 * MORE_THAN_A_MINUTE + 5);
    others(&scene, 200);
    let after: Vec<String> = clients
        .iter()
        .map(|ip| Client::new(scene.at).from(*ip).get_once("/").unwrap().server().to_owned())
        .collect();
    assert_ne!(after, homes, "a minute after the last one the entries are gone");
}
