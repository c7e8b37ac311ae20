//! One test or more for each rule of each persistence kind.

mod common;

use common::*;
use forebay_core::id::{PoolId, ServerId, ServerIndex, SiteId, VsId};
use forebay_core::lb::{Pool, PoolConfig, ServerState};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::custom_header::CustomHeader;
use forebay_core::persist::gslb_site::{self, GslbSite};
use forebay_core::persist::http_cookie::{self, HttpCookie, Payload};
use forebay_core::persist::key_value::{LIFETIME_DEFAULT, Persist};
use forebay_core::persist::tls::{self, AuthPolicy, Ticket, Tls};
use forebay_core::persist::{
    self, ClientKey, Found, KINDS, Kind, KindName, Learned, Profile, ServerDown, Stored,
};
use forebay_core::units::{Minutes, Now, Seconds, UnixSeconds};
use forebay_core::{ChosenBy, Effect, Input, KeyOutcome, Verdict, decide};

/// Saturday, 21 November 2026, 10:00 UTC.
const NOVEMBER_2026: UnixSeconds = UnixSeconds(1795255200);

fn cookie() -> HttpCookie {
    HttpCookie { name: "sticky".into(), ..HttpCookie::default() }
}

fn app() -> Kind {
    Kind::AppCookie(AppCookie { name: "JSESSIONID".into(), timeout: Minutes(20) })
}

fn profile(kind: Kind) -> Profile {
    Profile { kind, server_down: ServerDown::PickNewServer }
}

fn opaque<'r>(found: Found<'r>) -> Option<&'r [u8]> {
    match found {
        Found::Key(ClientKey::Opaque(v)) => Some(v),
        _ => None,
    }
}

//= test PERS-FIND-01
#[test]
fn every_kind_is_found_by_its_names() {
    for entry in KINDS {
        assert_eq!(entry.name.entry().name, entry.name, "the table stands in the order of the names");
        assert_eq!(KindName::parse(entry.name.as_str()), Some(entry.name));
        for api in entry.api_names {
            assert_eq!(KindName::parse(api), Some(entry.name));
        }
    }
    for policy in ServerDown::ALL {
        assert_eq!(ServerDown::parse(policy.api_name()), Some(policy));
        assert_eq!(ServerDown::parse(policy.as_str()), Some(policy));
    }
}

//= test PERS-COOKIE-01
#[test]
fn a_cookie_without_a_name_gets_eight_letters_that_stay() {
    let name = http_cookie::default_name("web", "pool");
    assert!(name.len() == 8 && name.bytes().all(|b| b.is_ascii_uppercase()), "{name}");
    assert_eq!(name, http_cookie::default_name("web", "pool"));
    assert_ne!(name, http_cookie::default_name("web", "pool2"));
    assert_ne!(http_cookie::default_name("we", "bpool"), http_cookie::default_name("web", "pool"));
}

//= test PERS-COOKIE-03
//= test PERS-COOKIE-04
#[test]
fn a_foreign_forged_or_stale_cookie_is_ignored_and_replaced() {
    let timeout = Minutes(10);
    let mut pool =
        sticky(4, Kind::HttpCookie(HttpCookie { timeout, ..cookie() }), ServerDown::AbortConnection);
    let wall = UnixSeconds(1_700_000_000);
    let own = Payload::of(&pool, ServerIndex(2), wall);
    let cases = [
        (Stored::Nothing, KeyOutcome::Invalid),
        (Stored::Cookie(Payload { vs: VsId(8), ..own }), KeyOutcome::Foreign),
        (Stored::Cookie(Payload { pool: PoolId(9), ..own }), KeyOutcome::Foreign),
        (Stored::Cookie(Payload { server: endpoint(99), ..own }), KeyOutcome::NotAMember),
        (Stored::Cookie(Payload { issued: UnixSeconds(wall.0 - 600), ..own }), KeyOutcome::Expired),
        (Stored::Entry { server: pool.id_of(ServerIndex(2)), generation: 0 }, KeyOutcome::Invalid),
    ];
    let found = Found::Sealed(persist::SealedCookies::one(b"x"));
    for (stored, outcome) in cases {
        let decision = decide(&mut pool, &Input { found, stored, wall, ..Input::new(client(1)) });
        assert_eq!((decision.reason.key, decision.reason.chosen_by), (outcome, ChosenBy::Algorithm));
        assert!(decision.effects.cookie().is_some(), "a new cookie replaces it");
        assert_eq!(decision.effects.cookie().map(|c| (c.vs, c.pool, c.issued)), Some((VS, POOL, wall)));
    }
    let good = Payload { issued: UnixSeconds(wall.0 - 599), ..own };
    let ahead = Payload { issued: UnixSeconds(wall.0 + 9_999), ..own };
    for payload in [good, ahead] {
        let input = Input { found, stored: Stored::Cookie(payload), wall, ..Input::new(client(1)) };
        assert_eq!(served(&decide(&mut pool, &input)), ServerIndex(2));
    }
}

//= test PERS-COOKIE-07
#[test]
fn the_cookie_is_sent_when_the_server_is_new_or_always_if_asked_for() {
    for always_send in [false, true] {
        let mut pool =
            sticky(2, Kind::HttpCookie(HttpCookie { always_send, ..cookie() }), ServerDown::PickNewServer);
        let stored = Stored::Cookie(Payload::of(&pool, ServerIndex(1), UnixSeconds(5)));
        let found = Found::Sealed(persist::SealedCookies::one(b"x"));
        let input = Input { found, stored, wall: UnixSeconds(9), ..Input::new(client(1)) };
        let again = decide(&mut pool, &input).effects.cookie();
        assert_eq!(again.is_some(), always_send);
        assert!(again.is_none_or(|c| c.issued == UnixSeconds(9) && c.server == endpoint(1)));
    }
}

//= test PERS-COOKIE-05
//= test PERS-COOKIE-06
#[test]
fn the_set_cookie_field_carries_what_the_profile_says() {
    let write = |c: &HttpCookie, tls| {
        let mut out = Vec::new();
        c.write_set_cookie(b"abc", tls, &mut out);
        String::from_utf8(out).expect("text")
    };
    assert_eq!(write(&cookie(), false), "sticky=abc; Path=/");
    let full = HttpCookie { timeout: Minutes(30), http_only: true, ..cookie() };
    assert_eq!(write(&full, true), "sticky=abc; Path=/; Max-Age=1800; HttpOnly; Secure");
    let session = HttpCookie { is_persistent: Some(false), ..full };
    assert_eq!(write(&session, false), "sticky=abc; Path=/; HttpOnly");
    let endless = HttpCookie { is_persistent: Some(true), ..cookie() };
    assert_eq!(endless.max_age(), None);
    assert!(!profile(Kind::HttpCookie(endless)).check().is_empty(), "a lasting cookie needs an end");
}

//= test PERS-COOKIE-02
#[test]
fn of_several_cookies_of_our_name_the_first_that_opens_counts() {
    let mut pool = sticky(4, Kind::HttpCookie(cookie()), ServerDown::PickNewServer);
    let good = seal(&Payload::of(&pool, ServerIndex(3), UnixSeconds(0)));
    let request =
        Request::get("/").with("cookie", "sticky=forged").with("cookie", format!("a=b; sticky={good}"));
    let decision = Host::default().ask(&mut pool, &request, &Input::new(client(1)));
    assert_eq!(served(&decision), ServerIndex(3));
    let many = Request::get("/").with("cookie", format!("{} sticky={good}", "sticky=x;".repeat(50)));
    match persist::find(pool.profile().expect("it has one"), &many) {
        Found::Sealed(cookies) => assert_eq!(cookies.iter().count(), 3, "no more are opened"),
        other => panic!("{other:?}"),
    }
}

//= test PERS-APP-01
//= test PERS-APP-03
#[test]
fn the_application_cookie_is_looked_for_in_cookie_query_and_path() {
    let p = profile(app());
    let find = |r: &Request| opaque(persist::find(&p, r)).map(<[u8]>::to_vec);
    let cookie = Request::get("/a;jsessionid=path?JSESSIONID=query").with("cookie", "x=1; JSESSIONID=cookie");
    assert_eq!(find(&cookie), Some(b"cookie".to_vec()));
    assert_eq!(find(&Request::get("/a;jsessionid=path?x=1&JSESSIONID=query&y=2")), Some(b"query".to_vec()));
    assert_eq!(find(&Request::get("/a;v=1;jsessionid=path/b?x=1")), Some(b"path".to_vec()));
    assert_eq!(find(&Request::get("/a;JSESSIONID=path")), Some(b"path".to_vec()));
    assert_eq!(find(&Request::get("/a?jsessionid=lower")), None, "a query's name has case");
    assert_eq!(find(&Request::get("/jsessionid=no/;xjsessionid=no")), None);
    assert_eq!(find(&Request::get("/").with("cookie", "JSESSIONID=")), None);
}

//= test PERS-APP-02
#[test]
fn the_server_teaches_the_session_and_the_client_sticks_to_it() {
    let mut pool = sticky(4, app(), ServerDown::PickNewServer);
    let p = pool.profile().cloned().expect("it has one");
    let mut host = Host::default();
    let unknown = Request::get("/").with("cookie", "JSESSIONID=invented");
    let first = host.ask(&mut pool, &unknown, &Input::new(client(1)));
    assert_eq!(first.reason.key, KeyOutcome::Miss);
    assert!(first.effects.is_empty(), "a value that no server has issued occupies nothing");
    match persist::learn_from_response(
        &p,
        b"JSESSIONID=node1.0123456789abcdef0123; Path=/; HttpOnly",
        NOVEMBER_2026,
    ) {
        Learned::Key { key, lifetime } => {
            assert_eq!(lifetime, Seconds(1_200));
            let key = key_of(&Found::Key(key)).expect("a key");
            host.table.insert(key, (pool.id_of(ServerIndex(2)), 0));
        }
        other => panic!("{other:?}"),
    }
    let known = Request::get("/").with("cookie", "JSESSIONID=node1.0123456789abcdef0123");
    for _ in 0..100 {
        let decision = host.ask(&mut pool, &known, &Input::new(client(2)));
        assert_eq!(served(&decision), ServerIndex(2));
        assert!(matches!(
            decision.effects.iter().next(),
            Some(Effect::Touch { lifetime: Seconds(1_200), .. })
        ));
    }
}

//= test PERS-APP-02
#[test]
fn only_the_named_cookie_with_a_value_is_learned() {
    let p = profile(app());
    for other in ["OTHER=1", "JSESSIONID=", "JSESSIONID", "jsessionid=x", "XJSESSIONID=x"] {
        assert_eq!(
            persist::learn_from_response(&p, other.as_bytes(), NOVEMBER_2026),
            Learned::Nothing,
            "{other}"
        );
    }
}

//= test PERS-APP-05
#[test]
fn a_session_that_the_server_ends_is_forgotten() {
    let p = profile(app());
    for ended in [
        "JSESSIONID=x; Max-Age=0",
        "JSESSIONID=x; path=/; max-age=-1",
        "JSESSIONID=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "JSESSIONID=x; expires=Tue, 12-Oct-1999 04:00:00 GMT; path=/",
        "JSESSIONID=x; Expires=Sat, 21 Nov 2026 10:00:00 GMT",
        "JSESSIONID=x; Expires=Saturday, 21-Nov-26 10:00:00 GMT; Secure",
        "JSESSIONID=x; Expires=Sat Nov 21 10:00:00 2026",
        "JSESSIONID=x; Expires=Wed, 01 Jan 2020 00:00:00 GMT; HttpOnly",
    ] {
        assert!(
            matches!(persist::learn_from_response(&p, ended.as_bytes(), NOVEMBER_2026), Learned::Ended(_)),
            "{ended}"
        );
    }
    for lives in [
        "JSESSIONID=x; Max-Age=60",
        "JSESSIONID=x; Expires=Wed, 19 Nov 2036 19:19:19 GMT",
        "JSESSIONID=x; Expires=Sat, 21 Nov 2026 10:00:01 GMT",
        "JSESSIONID=x; Expires=never",
        "JSESSIONID=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "JSESSIONID=x-1970; Path=/",
    ] {
        assert!(
            matches!(persist::learn_from_response(&p, lives.as_bytes(), NOVEMBER_2026), Learned::Key { .. }),
            "{lives}"
        );
    }
}

//= test PERS-APP-04
#[test]
fn a_value_above_256_bytes_identifies_nobody() {
    let mut pool = sticky(2, app(), ServerDown::PickNewServer);
    let p = pool.profile().cloned().expect("it has one");
    let with = |n: usize| Request::get("/").with("cookie", format!("JSESSIONID={}", "x".repeat(n)));
    assert!(opaque(persist::find(&p, &with(256))).is_some());
    assert_eq!(persist::find(&p, &with(257)), Found::TooLong);
    let decision = Host::default().ask(&mut pool, &with(257), &Input::new(client(1)));
    assert_eq!((decision.reason.key, decision.effects.is_empty()), (KeyOutcome::TooLong, true));
    let long = format!("JSESSIONID={}", "x".repeat(257));
    assert_eq!(persist::learn_from_response(&p, long.as_bytes(), NOVEMBER_2026), Learned::Nothing);
}

//= test PERS-HDR-01
#[test]
fn a_header_value_leads_to_its_server_and_an_unknown_one_to_the_algorithm() {
    let mut c = config(3, forebay_core::lb::Algorithm::LeastConnections);
    c.persistence = Some(profile(Kind::CustomHeader(CustomHeader { name: "x-shard".into() })));
    for (s, v) in c.servers.iter_mut().zip(["alpha", "beta", ""]) {
        s.header_value = v.into();
    }
    let mut pool = Pool::new(c.clone()).expect("good");
    let mut host = Host::default();
    for _ in 0..10 {
        let d = host.ask(&mut pool, &Request::get("/").with("x-shard", "beta"), &Input::new(client(1)));
        assert_eq!((served(&d), d.reason.key), (ServerIndex(1), KeyOutcome::Hit));
        assert!(d.effects.is_empty());
    }
    let d = host.ask(&mut pool, &Request::get("/").with("x-shard", "Beta"), &Input::new(client(1)));
    assert_eq!((d.reason.key, d.reason.chosen_by), (KeyOutcome::Miss, ChosenBy::Algorithm));
    let d = host.ask(&mut pool, &Request::get("/"), &Input::new(client(1)));
    assert_eq!(d.reason.key, KeyOutcome::Absent);
    c.servers[2].header_value = b"beta".to_vec();
    let problems = Pool::new(c).expect_err("two servers with one value");
    assert_eq!(problems[0].path, "server[2].header_value");
}

//= test PERS-IP-01
#[test]
fn masks_join_neighbours_of_both_families() {
    let ip = ClientIp { mask_v4: 24, mask_v6: 64, ..ClientIp::default() };
    let same = |a: &str, b: &str| ip.masked(a.parse().expect("ip")) == ip.masked(b.parse().expect("ip"));
    assert!(same("10.1.2.3", "10.1.2.255") && !same("10.1.2.3", "10.1.3.3"));
    assert!(same("10.1.2.3", "::ffff:10.1.2.9"), "a mapped address is the IPv4 address");
    assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
    let all = ClientIp { mask_v4: 0, mask_v6: 0, ..ClientIp::default() };
    assert_eq!(all.masked("1.2.3.4".parse().expect("ip")), all.masked("9.9.9.9".parse().expect("ip")));
}

//= test PERS-IP-02
#[test]
fn a_timeout_of_zero_switches_it_off() {
    let mut pool = sticky(
        2,
        Kind::ClientIp(ClientIp { timeout: Minutes(0), ..ClientIp::default() }),
        ServerDown::PickNewServer,
    );
    let d = Host::default().ask(&mut pool, &Request::get("/"), &Input::new(client(1)));
    assert_eq!((d.reason.key, d.effects.is_empty()), (KeyOutcome::Off, true));
}

//= test PERS-IP-03
#[test]
fn a_hit_renews_the_entry_and_a_miss_writes_it_with_the_profiles_timeout() {
    let mut pool = sticky(
        2,
        Kind::ClientIp(ClientIp { timeout: Minutes(7), ..ClientIp::default() }),
        ServerDown::PickNewServer,
    );
    let mut host = Host::default();
    let d = host.ask(&mut pool, &Request::get("/"), &Input::new(client(1)));
    assert!(
        matches!(d.effects.iter().next(), Some(Effect::Write { generation: 0, lifetime: Seconds(420), server, .. }) if *server == pool.id_of(served(&d)))
    );
    let d = host.ask(&mut pool, &Request::get("/"), &Input::new(client(1)));
    assert!(matches!(d.effects.iter().next(), Some(Effect::Touch { lifetime: Seconds(420), .. })));
}

const AUTH: AuthPolicy = AuthPolicy(5);

fn ticket(server: Option<ServerId>) -> Ticket {
    Ticket { vs: VS, auth: AUTH, client: [9; 16], server }
}

//= test PERS-TLS-01
#[test]
fn at_l4_the_ticket_carries_the_server() {
    let kind = Kind::Tls(Tls { carry_server: true, ..Tls::default() });
    let mut pool = sticky(4, kind, ServerDown::PickNewServer);
    let p = pool.profile().cloned().expect("it has one");
    let new = Request { ticket: Some(ticket(None)), ..Request::get("/") };
    let d = decide(&mut pool, &Input { found: persist::find(&p, &new), ..Input::new(client(1)) });
    let carried = match d.effects.iter().next() {
        Some(Effect::SealTicket { server }) => *server,
        other => panic!("{other:?}"),
    };
    assert_eq!(carried, pool.id_of(served(&d)));
    let back = Request { ticket: Some(ticket(Some(carried))), ..Request::get("/") };
    for _ in 0..20 {
        let again = decide(&mut pool, &Input { found: persist::find(&p, &back), ..Input::new(client(1)) });
        assert_eq!((served(&again), again.effects.is_empty()), (served(&d), true));
        pool.connection_opened(served(&d));
    }
}

//= test PERS-TLS-02
#[test]
fn at_l7_the_ticket_carries_a_client_id_that_survives_renewal() {
    let first = tls::issue(None, VS, AUTH, [1; 16]);
    let renewed = tls::issue(Some(first), VS, AUTH, [2; 16]);
    assert_eq!((first.client, renewed.client), ([1; 16], [1; 16]));
    let mut pool = sticky(4, Kind::Tls(Tls::default()), ServerDown::PickNewServer);
    let mut host = Host::default();
    let at = served(&host.ask(
        &mut pool,
        &Request { ticket: Some(first), ..Request::get("/") },
        &Input::new(client(1)),
    ));
    for _ in 0..20 {
        let again = host.ask(
            &mut pool,
            &Request { ticket: Some(renewed), ..Request::get("/") },
            &Input::new(client(2)),
        );
        assert_eq!(served(&again), at);
    }
}

//= test PERS-TLS-03
#[test]
fn a_session_id_stands_in_for_a_ticket() {
    let mut pool = sticky(4, Kind::Tls(Tls::default()), ServerDown::PickNewServer);
    let mut host = Host::default();
    let with = |id: &[u8]| Request { session: id.to_vec(), ..Request::get("/") };
    let at = served(&host.ask(&mut pool, &with(&[7; 32]), &Input::new(client(1))));
    for _ in 0..20 {
        assert_eq!(served(&host.ask(&mut pool, &with(&[7; 32]), &Input::new(client(2)))), at);
    }
    assert_eq!(host.table.len(), 1);
    let none = host.ask(&mut pool, &Request::get("/"), &Input::new(client(3)));
    assert_eq!(none.reason.key, KeyOutcome::Absent);
}

//= test PERS-TLS-04
#[test]
fn a_ticket_is_good_for_its_service_and_its_client_authentication_only() {
    let t = ticket(Some(ServerId(3)));
    assert_eq!(tls::accept(t, VS, AUTH), Ok(t));
    assert_eq!(tls::accept(t, VsId(8), AUTH), Err(tls::Refused::OtherService));
    assert_eq!(tls::accept(t, VS, AuthPolicy(6)), Err(tls::Refused::OtherAuthPolicy));
}

fn site_pool(server_down: ServerDown) -> Pool {
    let kind = Kind::GslbSite(GslbSite {
        cookie_name: "site".into(),
        local: SiteId(1),
        remote: vec![SiteId(2)],
        service: VsId(50),
        http_only: false,
    });
    sticky(2, kind, server_down)
}

fn at_site(site: u32) -> Input<'static> {
    let stored = Stored::Site(gslb_site::Payload { service: VsId(50), site: SiteId(site) });
    Input { found: Found::Sealed(persist::SealedCookies::one(b"x")), stored, ..Input::new(client(1)) }
}

//= test PERS-GSLB-01
#[test]
fn a_new_client_gets_this_sites_cookie_and_a_remote_one_is_sent_to_its_site() {
    let mut pool = site_pool(ServerDown::PickNewServer);
    let d = decide(&mut pool, &Input { found: Found::Absent, ..Input::new(client(1)) });
    let own = gslb_site::Payload { service: VsId(50), site: SiteId(1) };
    assert_eq!(d.effects.iter().next(), Some(&Effect::SetSiteCookie(own)));
    let d = decide(&mut pool, &at_site(2));
    assert_eq!((d.verdict, d.reason.key), (Verdict::Site(SiteId(2)), KeyOutcome::RemoteSite));
    let d = decide(&mut pool, &at_site(1));
    assert_eq!((d.reason.key, d.effects.is_empty()), (KeyOutcome::LocalSite, true));
    let d = decide(&mut pool, &at_site(9));
    assert_eq!(d.reason.key, KeyOutcome::NotAMember);
    let foreign = Stored::Site(gslb_site::Payload { service: VsId(51), site: SiteId(2) });
    let d = decide(&mut pool, &Input { stored: foreign, ..at_site(2) });
    assert_eq!(d.reason.key, KeyOutcome::Foreign);
}

//= test PERS-GSLB-02
//= test PERS-GSLB-03
#[test]
fn a_remote_site_that_is_down_is_served_here_and_the_log_says_so() {
    for policy in ServerDown::ALL {
        let mut pool = site_pool(policy);
        pool.set_site(SiteId(2), false);
        let d = decide(&mut pool, &at_site(2));
        served(&d);
        assert!(d.reason.served_locally_remote_site_down());
        assert_eq!(d.effects.is_empty(), policy != ServerDown::PickNewServer, "{policy}");
        pool.set_site(SiteId(2), true);
        assert_eq!(decide(&mut pool, &at_site(2)).verdict, Verdict::Site(SiteId(2)));
    }
}

//= test PERS-KV-01
#[test]
fn a_computed_key_binds_with_its_own_lifetime_and_is_renewed_by_use() {
    let mut pool = pool(4, forebay_core::lb::Algorithm::RoundRobin { per_se: false });
    let persist = Persist { key: b"user-77", lifetime: None, pool: None };
    let found = persist.found();
    let key = key_of(&found);
    let d = decide(&mut pool, &Input { found, key, ..Input::new(client(1)) });
    assert_eq!(d.reason.persistence, Some(KindName::KeyValue));
    let server = match d.effects.iter().next() {
        Some(Effect::Write { server, lifetime, generation: 0, .. }) if *lifetime == LIFETIME_DEFAULT => {
            *server
        }
        other => panic!("{other:?}"),
    };
    let stored = Stored::Entry { server, generation: 0 };
    for _ in 0..10 {
        let again = decide(&mut pool, &Input { found, key, stored, ..Input::new(client(1)) });
        assert_eq!(served(&again), served(&d));
        assert!(matches!(again.effects.iter().next(), Some(Effect::Touch { .. })));
    }
    assert_eq!(Persist { key: b"", ..persist }.found(), Found::Absent);
    assert_eq!(Persist { key: &[0; 257], ..persist }.found(), Found::TooLong);
}

//= test PERS-KEY-01
#[test]
fn long_values_are_hashed_under_the_secret_and_short_ones_do_not_meet() {
    use forebay_core::table::{Catalog, EngineSlot, Geometry, TableMemory};
    let geometry = Geometry::for_memory(1 << 20, 0).expect("a size");
    let memory = TableMemory::reserve(&geometry);
    let catalog = |secret| Catalog::new(&memory, secret, EngineSlot::default());
    let (a, b) = (catalog([1; 16]), catalog([2; 16]));
    let key = |c: &Catalog, v: &[u8]| Found::Key(ClientKey::Opaque(v)).table_key(c);
    let long = [b'x'; 40];
    assert_ne!(key(&a, &long), key(&b, &long), "the secret counts");
    assert_ne!(key(&a, &long), key(&a, &long[..39]));
    assert_ne!(key(&a, b"ab"), key(&a, b"ab\0"));
    assert_eq!(Found::Header(b"x").table_key(&a), None);
}

//= test PERS-CHECK-01
#[test]
fn profiles_out_of_range_are_refused_with_path_and_remedy() {
    let cases: Vec<(Kind, &str)> = vec![
        (Kind::HttpCookie(HttpCookie { name: "a b".into(), ..HttpCookie::default() }), "cookie_name"),
        (Kind::HttpCookie(HttpCookie { timeout: Minutes(14_401), ..cookie() }), "timeout_min"),
        (Kind::AppCookie(AppCookie { name: String::new(), timeout: Minutes(20) }), "cookie_name"),
        (Kind::AppCookie(AppCookie { name: "a".into(), timeout: Minutes(0) }), "timeout_min"),
        (Kind::ClientIp(ClientIp { timeout: Minutes(721), ..ClientIp::default() }), "timeout_min"),
        (Kind::ClientIp(ClientIp { mask_v4: 33, ..ClientIp::default() }), "mask_v4"),
        (Kind::CustomHeader(CustomHeader { name: "X-Shard".into() }), "header_name"),
        (Kind::Tls(Tls { lifetime: Seconds(0), ..Tls::default() }), "lifetime_s"),
    ];
    for (kind, path) in cases {
        let problems = profile(kind.clone()).check();
        assert_eq!(problems.first().map(|p| p.path.as_str()), Some(path), "{kind:?}");
        let pool = PoolConfig { persistence: Some(profile(kind)), ..config(1, Default::default()) };
        assert!(Pool::new(pool).expect_err("refused")[0].path.starts_with("persistence."));
    }
}

//= test PERS-GONE-01
#[test]
fn a_server_removed_from_the_pool_binds_nobody_and_its_entry_moves() {
    for policy in ServerDown::ALL {
        let mut pool = sticky(3, Kind::ClientIp(ClientIp::default()), policy);
        let mut host = Host::default();
        let key =
            key_of(&persist::find(pool.profile().expect("it has one"), &Request::get("/"))).expect("a key");
        host.table.insert(key, (ServerId(42), 6));
        let d = host.ask(&mut pool, &Request::get("/"), &Input::new(client(1)));
        assert_eq!((d.reason.key, d.reason.chosen_by), (KeyOutcome::NotAMember, ChosenBy::Algorithm));
        assert_eq!(host.table[&key], (pool.id_of(served(&d)), 7), "as a new generation");
    }
}

//= test PERS-GONE-02
#[test]
fn a_server_that_is_removed_and_added_again_serves_its_clients_again() {
    let mut pool = sticky(3, Kind::HttpCookie(cookie()), ServerDown::PickNewServer);
    let stored = Stored::Cookie(Payload::of(&pool, ServerIndex(2), UnixSeconds(0)));
    let found = Found::Sealed(persist::SealedCookies::one(b"x"));
    let without = PoolConfig { servers: pool.config().servers[..2].to_vec(), ..pool.config().clone() };
    let full = pool.config().clone();
    let mut less = Pool::new(without).expect("good");
    less.carry_over(&pool, Now(1));
    let d = decide(&mut less, &Input { found, stored, ..Input::new(client(1)) });
    assert_eq!(d.reason.key, KeyOutcome::NotAMember);
    pool = Pool::new(full).expect("good");
    pool.carry_over(&less, Now(2));
    assert_eq!(served(&decide(&mut pool, &Input { found, stored, ..Input::new(client(1)) })), ServerIndex(2));
    pool.set_state(ServerIndex(2), ServerState::UP, Now(3));
}
