//! What goes on over a reload.

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Lab, Origin, config, origin};

use crate::web;

//= test RELOAD-KEEP-01
//= test RELOAD-KEEP-03
#[test]
fn counts_go_on_and_kept_connections_are_lent_on() {
    let lab = Lab::new();
    let [a, b] = [lab.address(), lab.address()];
    let served = Origin::answering(a, |_| Some(origin::ok("hi")));
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a]));
    let mut client = Client::new(at);
    // Each worker may open one.
    for _ in 0..4 {
        assert_eq!(client.get("/").expect("served").status, 200);
    }
    let before = served.accepted();
    for round in 1..=5 {
        let algorithm = ["round_robin", "least_connections"][round % 2];
        let other = if round % 2 == 0 { "enabled = false\nratio = 2" } else { "enabled = false" };
        let pool = config::pool_of("web", &format!("algorithm = \"{algorithm}\""), &[(a, ""), (b, other)]);
        engine.load(&(config::service("web", at) + &pool));
        assert_eq!(client.get("/").expect("served").status, 200);
    }
    assert_eq!(served.accepted(), before, "no new connection to a server that stayed");
    let label = a.to_string();
    let of_server = [("server", label.as_str())];
    assert_eq!(
        engine.metric("forebay_server_responses_total", &of_server),
        9.0,
        "its answers are counted on"
    );
    assert_eq!(engine.metric("forebay_requests_total", &[("virtual_service", "web")]), 9.0);
}

//= test RELOAD-HEALTH-01
#[test]
fn a_server_that_is_down_stays_down_and_a_new_one_is_probed() {
    let lab = Lab::new();
    let [mut a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let keys = "health_monitors = [\"looks\"]";
    let document = |keys: &str, servers: &[_]| web(at, keys, servers) + &config::monitor("looks");
    let engine = lab.engine(&document(keys, &[a.address]));
    engine.wait_for_server(a.address, true);
    a.process.kill();
    engine.wait_for_server(a.address, false);
    let changes = engine.metric("forebay_server_state_changes_total", &[("server", &a.address.to_string())]);
    engine.load(&document(&format!("{keys}\nalgorithm = \"round_robin\""), &[a.address, b.address]));
    engine.wait_for_server(b.address, true);
    for _ in 0..4 {
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b");
    }
    let now = engine.metric("forebay_server_state_changes_total", &[("server", &a.address.to_string())]);
    assert_eq!(now, changes, "its state was not begun anew");
    // Nobody judges it any more: it is taken for up.
    engine.load(&document("passive_health_monitor = false", &[a.address, b.address]));
    eventually("it is up", secs(5), || {
        engine.metric("forebay_server_up", &[("server", &a.address.to_string())]) == 1.0
    });
}

//= test RELOAD-KEEP-02
#[test]
fn clients_stay_bound_when_the_time_out_of_their_table_changes() {
    let lab = Lab::new();
    let [a, b, c] = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let document = |minutes: u32, servers: &[_]| {
        let life = format!("timeout_min = {minutes}");
        web(at, "persistence = \"p\"", servers) + &config::persistence("p", "client_ip", &life)
    };
    let engine = lab.engine(&document(5, &[a.address, b.address]));
    let server = |n: u32| {
        let mut client = Client::new(at).from(lab.client_ip(n)).without_jar();
        client.get_once("/").expect("served").server().to_owned()
    };
    let bound: Vec<String> = (1..=12).map(server).collect();
    engine.load(&document(7, &[c.address, b.address, a.address]));
    assert_eq!((1..=12).map(server).collect::<Vec<_>>(), bound);
    engine.load(&document(7, &[b.address, a.address]));
    assert_eq!((1..=12).map(server).collect::<Vec<_>>(), bound);
}
