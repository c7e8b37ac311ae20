//! The client's server cannot serve: each policy, and what happens when it comes back.

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Demo, Engine, Scene, config, eventually};

fn scene(policy: &str, kind: &str, keys: &str) -> Scene {
    let profile = config::persistence("p", kind, &format!("server_down = \"{policy}\"\n{keys}"));
    let pool = "algorithm = \"round_robin\"\npersistence = \"p\"\nhealth_monitors = [\"m\"]\nfail_action = { action = \"local_response\", status = 503, body = \"none\" }";
    let scene = Scene::new(pool, &(profile + &config::monitor("m")));
    all_up(&scene.engine, &scene.servers);
    scene
}

fn all_up(engine: &Engine, servers: &[Demo]) {
    for server in servers {
        engine.wait_for_server(server.address, true);
    }
}

/// Stops the server, waits until the engine knows, and returns where it was.
fn stop(scene: &mut Scene, name: &str) -> std::net::SocketAddr {
    let server = scene.server(name);
    server.process.kill();
    let address = server.address;
    scene.engine.wait_for_server(address, false);
    address
}

fn start_again(scene: &mut Scene, name: &str, address: std::net::SocketAddr) {
    let fresh: Demo = scene.lab.demo_at(name, address);
    *scene.server(name) = fresh;
    scene.engine.wait_for_server(address, true);
}

#[test]
fn under_pick_new_server_the_client_moves_and_stays_when_its_server_comes_back() {
    for (kind, keys) in
        [("http_cookie", ""), ("client_ip", ""), ("app_cookie", "cookie_name = \"JSESSIONID\"")]
    {
        let mut scene = scene("pick_new_server", kind, keys);
        let mut client = scene.client();
        let home = client.get_once("/login").unwrap().server().to_owned();
        for _ in 0..10 {
            assert_eq!(client.get_once("/").unwrap().server(), home, "{kind}");
        }
        let address = stop(&mut scene, &home);
        let next = client.get_once("/").unwrap().server().to_owned();
        assert_ne!(next, home, "{kind}");
        for _ in 0..20 {
            assert_eq!(client.get_once("/").unwrap().server(), next, "{kind}: moved once, then stays");
        }
        start_again(&mut scene, &home, address);
        for _ in 0..20 {
            assert_eq!(client.get_once("/").unwrap().server(), next, "{kind}: does not go back");
        }
    }
}

#[test]
fn under_pick_new_server_a_failed_connection_moves_the_client_before_any_health_check() {
    for (kind, keys) in
        [("http_cookie", ""), ("client_ip", ""), ("app_cookie", "cookie_name = \"JSESSIONID\"")]
    {
        let profile = config::persistence("p", kind, keys);
        let mut scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
        let mut client = scene.client();
        let home = client.get_once("/login").unwrap().server().to_owned();
        scene.server(&home).process.kill();
        let answer = client.get_once("/").unwrap();
        assert_eq!(answer.status, 200, "{kind}: the request itself is tried elsewhere");
        let next = answer.server().to_owned();
        assert_ne!(next, home);
        for n in 0..20 {
            assert_eq!(client.get_once("/").unwrap().server(), next, "{kind}, request {n}");
        }
    }
}

#[test]
fn under_abort_connection_the_client_is_cut_off_and_served_again_later() {
    let mut scene = scene("abort_connection", "http_cookie", "");
    let mut client = scene.client();
    let home = client.get_once("/").unwrap().server().to_owned();
    let address = stop(&mut scene, &home);
    for _ in 0..5 {
        assert!(client.get_once("/").is_err(), "closed without an answer");
    }
    assert_eq!(scene.client().get_once("/").unwrap().status, 200, "others are served");
    start_again(&mut scene, &home, address);
    assert_eq!(client.get_once("/").unwrap().server(), home);
}

#[test]
fn under_continue_persistent_server_the_client_is_never_sent_elsewhere() {
    let mut scene = scene("continue_persistent_server", "client_ip", "");
    let mut client = scene.client().from(scene.lab.client_ip(3));
    let home = client.get_once("/").unwrap().server().to_owned();
    let address = stop(&mut scene, &home);
    for _ in 0..5 {
        let answer = client.get_once("/").unwrap();
        assert_eq!((answer.status, answer.server()), (502, ""), "nobody listens there: {answer:?}");
    }
    start_again(&mut scene, &home, address);
    assert_eq!(client.get_once("/").unwrap().server(), home);
}

#[test]
fn when_all_servers_are_down_the_fail_action_answers_and_service_returns_by_itself() {
    let mut scene = scene("pick_new_server", "http_cookie", "");
    let addresses: Vec<_> = ["a", "b", "c"].map(|name| (name, stop(&mut scene, name))).into();
    let answer = scene.client().get_once("/").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (503, "none"));
    let (name, address) = addresses[1];
    start_again(&mut scene, name, address);
    eventually("the service is back", secs(5), || {
        scene.client().get_once("/").is_ok_and(|a| a.status == 200 && a.server() == name)
    });
}

#[test]
fn a_disabled_server_gets_nothing_new_and_keeps_its_clients_only_if_allowed() {
    for (mode, stays) in [("refuse_new", false), ("allow_persistent", true)] {
        let first = scene("pick_new_server", "http_cookie", "cookie_name = \"S\"");
        let mut clients: Vec<(Client, String)> = (0..9)
            .map(|_| {
                let mut client = first.client();
                let home = client.get_once("/").unwrap().server().to_owned();
                (client, home)
            })
            .collect();
        // The same configuration with server `a` disabled, on the same address.
        let Scene { mut engine, servers, at, lab } = first;
        engine.process.end(secs(40));
        let config = std::fs::read_to_string(&engine.config).unwrap();
        let rest = config.split_once("[[cookie_key]]").unwrap().1;
        let wanted = format!("address = \"{}\"\n", servers[0].address);
        assert_eq!(rest.matches(&wanted).count(), 1);
        let disabled = rest.replace(&wanted, &format!("{wanted}enabled = false\n"));
        // `server_disable` is a key of the pool, whose last key stands before its servers.
        let disabled = disabled.replace(
            "algorithm =",
            &format!("server_disable = \"{mode}\"\ngraceful_disable_timeout_min = -1\nalgorithm ="),
        );
        let second = lab.engine(&format!("[[cookie_key]]{disabled}"));
        all_up(&second, &servers);
        for _ in 0..9 {
            assert_ne!(Client::new(at).get_once("/").unwrap().server(), "a", "{mode}: nothing new");
        }
        for (client, home) in &mut clients {
            let now = client.get_once("/").unwrap().server().to_owned();
            if home == "a" && !stays {
                assert_ne!(now, "a", "{mode}");
            } else {
                assert_eq!(now, *home, "{mode}");
            }
        }
        drop(second);
    }
}
