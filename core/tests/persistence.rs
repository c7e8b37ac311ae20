//! Persistence as a client sees it: the same client, the same server, until a rule says otherwise.

mod common;

use common::*;
use forebay_core::lb::ServerState;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::http_cookie::HttpCookie;
use forebay_core::persist::{Kind, ServerDown};
use forebay_core::{ChosenBy, Input, KeyOutcome};

fn cookie() -> Kind {
    Kind::HttpCookie(HttpCookie { name: "sticky".into(), ..HttpCookie::default() })
}

//= test LB-ORDER-01
//= test PERS-COOKIE-02
#[test]
fn a_client_with_a_cookie_meets_one_server() {
    let mut pool = sticky(8, cookie(), ServerDown::PickNewServer);
    let mut host = Host::default();
    let first = served(&host.ask(&mut pool, &Request::get("/"), &Input::new(client(1))));
    let line = format!("other=1; sticky={}", host.cookie.clone().expect("a new client gets a cookie"));
    for _ in 0..1_000 {
        let again = host.ask(&mut pool, &Request::get("/").with("cookie", &line), &Input::new(client(1)));
        assert_eq!(served(&again), first);
        assert_eq!((again.reason.key, again.reason.chosen_by), (KeyOutcome::Hit, ChosenBy::Persistence));
        assert!(again.effects.is_empty(), "a cookie that leads here is not sent again");
        pool.connection_opened(first);
    }
}

//= test PERS-IP-01
#[test]
fn a_client_address_meets_one_server_and_others_are_spread() {
    let mut pool = sticky(4, Kind::ClientIp(ClientIp::default()), ServerDown::PickNewServer);
    let mut host = Host::default();
    let mut seen = [0; 4];
    for c in 0..64 {
        let first = served(&host.ask(&mut pool, &Request::get("/").from(c), &Input::new(client(c))));
        for _ in 0..10 {
            let again = served(&host.ask(&mut pool, &Request::get("/").from(c), &Input::new(client(c))));
            assert_eq!(again, first);
        }
        seen[first.at()] += 1;
    }
    assert_eq!(seen, [16; 4]);
}

//= test PERS-DOWN-02
#[test]
fn a_client_whose_server_is_down_moves_as_a_new_generation_and_stays_there() {
    let mut pool = sticky(4, Kind::ClientIp(ClientIp::default()), ServerDown::PickNewServer);
    let mut host = Host::default();
    let request = Request::get("/").from(9);
    let first = served(&host.ask(&mut pool, &request, &Input::new(client(9))));
    pool.set_state(first, ServerState::DOWN, forebay_core::units::Now(1));
    let moved = host.ask(&mut pool, &request, &Input::new(client(9)));
    assert_ne!(served(&moved), first);
    assert_eq!(host.table.values().next().map(|e| e.1), Some(1));
    pool.set_state(first, ServerState::UP, forebay_core::units::Now(2));
    assert_eq!(served(&host.ask(&mut pool, &request, &Input::new(client(9)))), served(&moved));
}
