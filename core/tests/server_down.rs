//! A client whose server counts as down: three policies, every way to be down, every kind.

mod common;

use common::*;
use forebay_core::id::ServerIndex;
use forebay_core::lb::{
    Algorithm, DisablePolicy, DisableType, Grace, Health, Pool, PoolConfig, QueueConfig, ServerState,
};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::custom_header::CustomHeader;
use forebay_core::persist::http_cookie::{HttpCookie, Payload};
use forebay_core::persist::tls::Tls;
use forebay_core::persist::{ClientKey, Found, Kind, Profile, SealedCookies, ServerDown, Stored};
use forebay_core::units::{Minutes, Now, Seconds, UnixSeconds};
use forebay_core::{ChosenBy, Decision, Effect, Input, Refusal, SkipWhy, Verdict, decide};

/// The ways in which a client's server counts as down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Health,
    Maintenance,
    Disabled,
    AtLimit,
    FullElsewhere,
    Tried,
}

const WAYS: [Way; 6] =
    [Way::Health, Way::Maintenance, Way::Disabled, Way::AtLimit, Way::FullElsewhere, Way::Tried];
const BOUND: ServerIndex = ServerIndex(1);

/// A pool of three, and the input of a client that is bound to [`BOUND`], for each kind.
fn cases(policy: ServerDown, queue: Option<QueueConfig>) -> Vec<(Pool, Input<'static>)> {
    let key = forebay_core::table::KeyBytes([9; 16]);
    let table = |found| {
        move |pool: &Pool| {
            let stored = Stored::Entry { server: pool.id_of(BOUND), generation: 4 };
            Input { found, key: Some(key), stored, ..Input::new(client(1)) }
        }
    };
    let plain = Found::Key(ClientKey::Plain([9; 16]));
    let cookie = |pool: &Pool| Input {
        found: Found::Sealed(SealedCookies::one(b"x")),
        stored: Stored::Cookie(Payload::of(pool, BOUND, UnixSeconds(0))),
        ..Input::new(client(1))
    };
    let header = |_: &Pool| Input { found: Found::Header(b"b"), ..Input::new(client(1)) };
    let carried = |pool: &Pool| Input { found: Found::Carried(pool.id_of(BOUND)), ..Input::new(client(1)) };
    let script = Found::Script { key: ClientKey::Plain([9; 16]), lifetime: Seconds(300) };
    type Make<'a> = &'a dyn Fn(&Pool) -> Input<'static>;
    let kinds: [(Kind, Make<'_>); 7] = [
        (Kind::HttpCookie(HttpCookie { name: "c".into(), ..HttpCookie::default() }), &cookie),
        (Kind::AppCookie(AppCookie { name: "a".into(), timeout: Minutes(20) }), &table(plain)),
        (Kind::ClientIp(ClientIp::default()), &table(plain)),
        (Kind::ClientIp(ClientIp::default()), &table(script)),
        (Kind::Tls(Tls::default()), &table(plain)),
        (Kind::Tls(Tls { carry_server: true, ..Tls::default() }), &carried),
        (Kind::CustomHeader(CustomHeader { name: "x".into() }), &header),
    ];
    kinds
        .into_iter()
        .map(|(kind, make)| {
            let mut c = config(3, Algorithm::LeastConnections);
            (c.queue, c.connections_max) = (queue, 2);
            c.persistence = Some(Profile { kind, server_down: policy });
            c.servers[1].header_value = b"b".to_vec();
            let pool = Pool::new(c).expect("good");
            let input = make(&pool);
            (pool, input)
        })
        .collect()
}

fn ask(pool: &mut Pool, input: &Input<'_>, way: Way) -> Decision {
    let bound = [BOUND];
    let mut input = Input { now: Now(10), ..*input };
    match way {
        Way::Health => pool.set_state(BOUND, ServerState::DOWN, Now(5)),
        Way::Maintenance => {
            pool.set_state(BOUND, ServerState { health: Health::Maintenance, enabled: true }, Now(5))
        }
        Way::Disabled => pool.set_state(BOUND, ServerState::DISABLED, Now(5)),
        Way::AtLimit => {
            pool.connection_opened(BOUND);
            pool.connection_opened(BOUND);
        }
        Way::FullElsewhere => input.full = &bound,
        Way::Tried => input.tried = &bound,
    }
    decide(pool, &input)
}

//= test PERS-DOWN-01
//= test PERS-DOWN-02
#[test]
fn pick_new_server_moves_the_client_and_its_entry_whatever_makes_the_server_down() {
    for way in WAYS {
        for (mut pool, input) in cases(ServerDown::PickNewServer, None) {
            let d = ask(&mut pool, &input, way);
            let at = served(&d);
            assert_ne!(at, BOUND, "{way:?}");
            assert_eq!(d.reason.chosen_by, ChosenBy::Algorithm);
            let applied = d.reason.policy.expect("the policy is in the record");
            assert_eq!((applied.policy, applied.server), (ServerDown::PickNewServer, BOUND));
            match d.effects.iter().next() {
                Some(Effect::Write { server, generation, .. }) => {
                    assert_eq!((*server, *generation), (pool.id_of(at), 5), "a new generation");
                }
                Some(Effect::SetCookie(p)) => assert_eq!(p.server, pool.endpoint(at)),
                Some(Effect::SealTicket { server }) => assert_eq!(*server, pool.id_of(at)),
                None => assert!(matches!(input.found, Found::Header(_)), "the configuration does not move"),
                other => panic!("{other:?}"),
            }
        }
    }
}

//= test PERS-DOWN-03
#[test]
fn abort_connection_closes_and_leaves_the_binding_alone() {
    for way in WAYS {
        for (mut pool, input) in cases(ServerDown::AbortConnection, None) {
            let d = ask(&mut pool, &input, way);
            assert_eq!(d.verdict, Verdict::Close, "{way:?}");
            assert_eq!(d.reason.refusal, Some(Refusal::PersistentServerDown));
            assert!(d.effects.is_empty());
        }
    }
}

//= test PERS-DOWN-04
#[test]
fn continue_stays_with_the_server_unless_it_has_no_room_or_just_failed() {
    for way in WAYS {
        for (mut pool, input) in cases(ServerDown::ContinuePersistentServer, None) {
            let d = ask(&mut pool, &input, way);
            match way {
                Way::Health | Way::Maintenance | Way::Disabled => {
                    assert_eq!((served(&d), d.reason.chosen_by), (BOUND, ChosenBy::Persistence));
                }
                Way::AtLimit | Way::FullElsewhere => {
                    let why = Refusal::PersistentServerAtLimit;
                    assert_eq!(d.verdict, Verdict::Reject { status: 503, why });
                }
                Way::Tried => {
                    let why = Refusal::PersistentServerFailed;
                    assert_eq!(d.verdict, Verdict::Reject { status: 503, why });
                }
            }
            assert!(d.effects.is_empty(), "the entry is neither renewed nor moved");
        }
    }
}

//= test PERS-DOWN-05
#[test]
fn continue_waits_in_the_queue_for_a_server_without_room() {
    for (queued, verdict) in
        [(0, Verdict::Queue), (1, Verdict::Reject { status: 503, why: Refusal::QueueFull })]
    {
        for (mut pool, input) in cases(ServerDown::ContinuePersistentServer, Some(QueueConfig { depth: 1 })) {
            let d = ask(&mut pool, &Input { queued, ..input }, Way::AtLimit);
            assert_eq!(d.verdict, verdict);
        }
    }
}

//= test PERS-DOWN-06
#[test]
fn a_server_that_is_up_again_serves_the_clients_that_stayed() {
    for policy in [ServerDown::AbortConnection, ServerDown::ContinuePersistentServer] {
        for (mut pool, input) in cases(policy, None) {
            ask(&mut pool, &input, Way::Health);
            pool.set_state(BOUND, ServerState::UP, Now(20));
            let d = decide(&mut pool, &Input { now: Now(21), ..input });
            assert_eq!((served(&d), d.reason.policy), (BOUND, None));
        }
    }
}

//= test PERS-DOWN-07
#[test]
fn the_record_says_what_makes_the_server_down() {
    let whys = [
        SkipWhy::Down,
        SkipWhy::Maintenance,
        SkipWhy::Disabled,
        SkipWhy::AtLimit,
        SkipWhy::AtLimit,
        SkipWhy::Tried,
    ];
    for (way, why) in WAYS.into_iter().zip(whys) {
        for (mut pool, input) in cases(ServerDown::PickNewServer, None) {
            let d = ask(&mut pool, &input, way);
            assert_eq!(d.reason.policy.map(|p| p.why), Some(why));
            let text = d.reason.to_string();
            assert!(text.contains("pick_new_server") && text.contains(why.as_str()), "{text}");
        }
    }
}

fn draining(kind: DisableType, grace: Grace) -> (Pool, Input<'static>) {
    let mut c = config(3, Algorithm::LeastConnections);
    c.disable = DisablePolicy { kind, grace };
    c.persistence =
        Some(Profile { kind: Kind::ClientIp(ClientIp::default()), server_down: ServerDown::PickNewServer });
    let mut pool = Pool::new(c).expect("good");
    let stored = Stored::Entry { server: pool.id_of(BOUND), generation: 0 };
    let key = Some(forebay_core::table::KeyBytes([9; 16]));
    pool.set_state(BOUND, ServerState::DISABLED, Now(1_000));
    (pool, Input { found: Found::Key(ClientKey::Plain([9; 16])), key, stored, ..Input::new(client(1)) })
}

//= test LB-DRAIN-02
#[test]
fn a_draining_server_serves_its_own_clients_until_the_grace_is_over_and_nobody_else() {
    let allow = DisableType::AllowNewConnectionIfPersistencePresent;
    let minute = 60_000_000;
    for (kind, grace, at, own) in [
        (allow, Grace::For(Minutes(1).seconds()), 1_001, true),
        (allow, Grace::For(Minutes(1).seconds()), 999 + minute, true),
        (allow, Grace::For(Minutes(1).seconds()), 1_000 + minute, false),
        (allow, Grace::Unlimited, 1_000 + 600 * minute, true),
        (allow, Grace::Immediate, 1_001, false),
        (DisableType::DisallowNewConnection, Grace::Unlimited, 1_001, false),
    ] {
        let (mut pool, input) = draining(kind, grace);
        let d = decide(&mut pool, &Input { now: Now(at), ..input });
        assert_eq!(served(&d) == BOUND, own, "{kind:?} {grace:?} at {at}");
        assert_eq!(pool.keeps(BOUND), own, "what a pool group is told: {kind:?} {grace:?} at {at}");
        for c in 0..20 {
            let new = decide(
                &mut pool,
                &Input { now: Now(at), stored: Stored::Nothing, ..Input { client: client(c), ..input } },
            );
            assert_ne!(served(&new), BOUND, "a new client");
        }
    }
}

//= test LB-DRAIN-04
#[test]
fn a_draining_server_that_fails_is_down_for_its_clients_too() {
    let (mut pool, input) = draining(DisableType::AllowNewConnectionIfPersistencePresent, Grace::Unlimited);
    pool.set_state(BOUND, ServerState { health: Health::Down, enabled: false }, Now(2_000));
    assert_ne!(served(&decide(&mut pool, &Input { now: Now(2_001), ..input })), BOUND);
}

//= test LB-DRAIN-05
#[test]
fn a_flap_while_draining_does_not_prolong_the_grace() {
    let (mut pool, _) =
        draining(DisableType::AllowNewConnectionIfPersistencePresent, Grace::For(Minutes(1).seconds()));
    let cut = pool.cut_at(BOUND);
    pool.set_state(BOUND, ServerState { health: Health::Down, enabled: false }, Now(30_000_000));
    pool.set_state(BOUND, ServerState::DISABLED, Now(31_000_000));
    assert_eq!(pool.cut_at(BOUND), cut);
}

//= test LB-WEIGHT-02
#[test]
fn a_server_of_ratio_zero_serves_the_clients_that_are_bound_to_it() {
    let mut c = weighted(&[1, 0, 1], Algorithm::LeastConnections);
    c.persistence =
        Some(Profile { kind: Kind::ClientIp(ClientIp::default()), server_down: ServerDown::PickNewServer });
    let mut pool = Pool::new(PoolConfig { ramp: Minutes(0), ..c }).expect("good");
    let stored = Stored::Entry { server: pool.id_of(BOUND), generation: 0 };
    let found = Found::Key(ClientKey::Plain([9; 16]));
    assert_eq!(served(&decide(&mut pool, &Input { found, stored, ..Input::new(client(1)) })), BOUND);
    for _ in 0..10 {
        assert_ne!(served(&decide(&mut pool, &Input::new(client(1)))), BOUND);
    }
}
