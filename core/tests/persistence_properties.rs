//! Payloads, tickets and requests of any bytes: read exactly, never followed out of the pool, never a fault.

mod common;

use common::*;
use forebay_core::id::{PoolId, ServerId, SiteId, VsId};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::gslb_site;
use forebay_core::persist::http_cookie::{self, HttpCookie, Payload};
use forebay_core::persist::tls::{AuthPolicy, Ticket};
use forebay_core::persist::{self, Found, Kind, Profile, ServerDown, Stored};
use forebay_core::units::{Minutes, UnixSeconds};
use forebay_core::{ChosenBy, Input, decide};
use proptest::prelude::*;

fn cookie() -> HttpCookie {
    HttpCookie { name: "sticky".into(), ..HttpCookie::default() }
}

fn app() -> Kind {
    Kind::AppCookie(AppCookie { name: "JSESSIONID".into(), timeout: Minutes(20) })
}

fn profile(kind: Kind) -> Profile {
    Profile { kind, server_down: ServerDown::PickNewServer }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    //= test PERS-COOKIE-08
    #[test]
    fn a_payload_is_read_as_it_was_written_and_nothing_else_is(v4: bool, ip: u128, port: u16, vs: u32, pool: u32, issued in 0u64..1 << 40, cut in 0usize..32) {
        let ip: std::net::IpAddr = if v4 {
            std::net::Ipv4Addr::from(ip as u32).into()
        } else {
            forebay_core::id::ip_from_bytes(ip.to_be_bytes())
        };
        let payload = Payload {
            vs: VsId(vs),
            pool: PoolId(pool),
            server: forebay_core::id::Endpoint { ip, port },
            issued: UnixSeconds(issued),
        };
        let mut bytes = [0; http_cookie::PAYLOAD_MAX];
        let n = payload.encode(&mut bytes);
        prop_assert_eq!(Payload::decode(&bytes[..n]), Some(payload));
        prop_assert_eq!(Payload::decode(&bytes[..cut.min(n - 1)]), None);
    }

    //= test PERS-TLS-05
    #[test]
    fn a_ticket_is_read_as_it_was_written_and_random_bytes_are_not(vs: u32, auth: u32, client: [u8; 16], server: Option<u64>, noise in prop::collection::vec(any::<u8>(), 0..40)) {
        let t = Ticket { vs: VsId(vs), auth: AuthPolicy(auth), client, server: server.map(ServerId) };
        prop_assert_eq!(Ticket::decode(&t.encode()), Some(t));
        if let Some(read) = Ticket::decode(&noise) {
            prop_assert_eq!(read.encode().to_vec(), noise);
        }
        let site = gslb_site::Payload { service: VsId(vs), site: SiteId(auth) };
        prop_assert_eq!(gslb_site::Payload::decode(&site.encode()), Some(site));
    }

    //= test PERS-FIND-02
    #[test]
    fn finding_never_fails_on_any_bytes(line in prop::collection::vec(any::<u8>(), 0..200), path in prop::collection::vec(any::<u8>(), 0..100)) {
        let request = Request { path: path.clone(), query: Some(path.clone()), ..Request::get("/") }.with("cookie", &line);
        for kind in [app(), Kind::HttpCookie(cookie())] {
            persist::find(&profile(kind), &request);
        }
        persist::learn_from_response(&profile(app()), &line, UnixSeconds(0));
    }
}

/// Random bytes, or a payload of this or a neighbouring service, pool and server, with a byte changed or not.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let near = (6u32..9, 2u32..5, 0u16..6, any::<u32>(), any::<Option<(u8, u8)>>());
    let near = near.prop_map(|(vs, pool, server, issued, change)| {
        let server = endpoint(server);
        let payload =
            Payload { vs: VsId(vs), pool: PoolId(pool), server, issued: UnixSeconds(issued.into()) };
        let mut bytes = [0; http_cookie::PAYLOAD_MAX];
        let n = payload.encode(&mut bytes);
        if let Some((at, to)) = change {
            bytes[usize::from(at) % n] = to;
        }
        bytes[..n].to_vec()
    });
    prop_oneof![3 => near, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    //= test PERS-COOKIE-03
    #[test]
    fn no_payload_leads_outside_the_pool(bytes in any_payload(), wall: u64) {
        let mut pool = sticky(3, Kind::HttpCookie(cookie()), ServerDown::ContinuePersistentServer);
        let stored = Payload::decode(&bytes).map_or(Stored::Nothing, Stored::Cookie);
        let found = Found::Sealed(persist::SealedCookies::one(&bytes));
        let d = decide(&mut pool, &Input { found, stored, wall: UnixSeconds(wall), ..Input::new(client(1)) });
        prop_assert!(served(&d).at() < 3);
        let member = matches!(stored, Stored::Cookie(p) if p.vs == VS && p.pool == POOL);
        prop_assert!(member || d.reason.chosen_by == ChosenBy::Algorithm);
    }
}
