//! What a worker's pool keeps when the configuration changes.

mod common;

use common::*;
use forebay_core::id::{ServerIndex, SiteId, VsId};
use forebay_core::lb::{Algorithm, HashBy, Pool};
use forebay_core::persist::gslb_site::{self, GslbSite};
use forebay_core::persist::{self, Found, Kind, ServerDown, Stored};
use forebay_core::units::Now;
use forebay_core::{Input, decide};

fn bounded(servers: u16) -> Pool {
    let by = HashBy::SourceIp;
    pool(servers, Algorithm::ConsistentHash { by, ignore_server_port: false, load_max_percent: 125 })
}

/// The next configuration's pool, equal to the one before.
fn reloaded(old: &Pool) -> Pool {
    let mut new = Pool::new(old.config().clone()).expect("it was good before");
    new.carry_over(old, Now(1_000));
    new
}

/// Opens connections of one client, which all hash to one server, and says what each server then has.
fn open_of_one_client(pool: &mut Pool, connections: u32) -> Vec<u32> {
    for _ in 0..connections {
        let at = served(&decide(pool, &Input::new(client(77))));
        pool.connection_opened(at);
    }
    pool.indices().map(|at| pool.open(at)).collect()
}

/// A pool of four whose servers had 250 connections each, of which 25 are left.
fn after_the_rush() -> Pool {
    let mut pool = bounded(4);
    for at in pool.indices() {
        (0..250).for_each(|_| pool.connection_opened(at));
        (0..225).for_each(|_| pool.connection_closed(at));
    }
    pool
}

//= test LB-CH-03
#[test]
fn the_load_bound_counts_the_connections_that_are_open_and_not_those_that_were() {
    let open = open_of_one_client(&mut after_the_rush(), 100);
    // A quarter of 200, and 25 % above it.
    assert!(open.iter().all(|n| *n <= 63), "{open:?}");
    assert!(open.contains(&63), "the client's own server is used up to the bound: {open:?}");
}

//= test LB-RELOAD-01
//= test LB-CH-03
#[test]
fn the_load_bound_is_the_same_after_a_reload() {
    let mut old = after_the_rush();
    let mut new = reloaded(&old);
    assert_eq!(open_of_one_client(&mut new, 100), open_of_one_client(&mut old, 100));
}

//= test LB-RELOAD-01
//= test LB-CA-01
#[test]
fn a_worker_keeps_its_share_of_the_servers_over_a_reload() {
    let first = pool(4, Algorithm::CoreAffinity { nonaffinity: 1 });
    // One server is another after it: whose share that is must be known as well.
    let mut config = first.config().clone();
    config.servers[0].endpoint = endpoint(9);
    for worker in 0..4 {
        let mut pool = Pool::new(config.clone()).expect("good");
        pool.carry_over(&first.for_worker(worker, 4), Now(1_000));
        for _ in 0..8 {
            let at = served(&decide(&mut pool, &Input::new(client(1))));
            assert_eq!(at, ServerIndex(worker), "of worker {worker}");
            pool.connection_opened(at);
        }
    }
}

//= test LB-RELOAD-01
//= test PERS-GSLB-02
#[test]
fn a_site_that_is_down_is_down_after_a_reload() {
    let (local, remote) = (SiteId(1), vec![SiteId(2), SiteId(3)]);
    let cookie_name = "site".into();
    let kind = Kind::GslbSite(GslbSite { cookie_name, local, remote, service: VsId(50), http_only: false });
    let mut old = sticky(2, kind, ServerDown::PickNewServer);
    old.set_site(SiteId(2), false);
    let mut new = reloaded(&old);
    for (site, down) in [(2, true), (3, false)] {
        let stored = Stored::Site(gslb_site::Payload { service: VsId(50), site: SiteId(site) });
        let found = Found::Sealed(persist::SealedCookies::one(b"x"));
        let decision = decide(&mut new, &Input { found, stored, ..Input::new(client(1)) });
        assert_eq!(decision.reason.served_locally_remote_site_down(), down, "site {site}");
    }
}
