//! Connections over changes of the configuration.

use forebay_e2e::{Engine, Lab, Options, config};

use crate::raw::{HEADERS, Raw, get};

/// Services of these names at addresses of their own, all to one server.
fn text(services: &[(&str, std::net::SocketAddr)], server: std::net::SocketAddr) -> String {
    let one = |(name, at): &(&str, std::net::SocketAddr)| {
        config::service_with(name, *at, "http_profile = \"two\"") + &config::pool(name, "", &[server])
    };
    let profile = "[[http_profile]]\nname = \"two\"\nhttp2 = true\n".to_owned();
    services.iter().map(one).fold(profile, |text, service| text + &service)
}

/// Services are numbered by their places: what a connection knew of its own one is that of another, or of none.
//= test RELOAD-ROUTE-01
#[test]
fn an_idle_connection_goes_on_when_a_service_before_its_own_is_taken_out() {
    let lab = Lab::new();
    let server = lab.demo("a");
    let [first, last] = lab.addresses();
    let all = [("first", first), ("last", last)];
    let options = Options { workers: 1, ..Options::default() };
    let engine: Engine = lab.engine_with(&text(&all, server.address), options);
    let mut client = Raw::connect(last, &[]).expect("it listens");
    let answered = |client: &mut Raw, stream: u32| {
        client.send(get(stream, "/")).expect("sent");
        client.find(|frame| frame.kind == HEADERS && frame.stream == stream).is_ok()
    };
    assert!(answered(&mut client, 1));
    engine.load(&text(&all[1..], server.address));
    assert!(answered(&mut client, 3), "on the same connection");
}
