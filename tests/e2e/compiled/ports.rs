//! Where a service listens, what its ports speak, and which pool each of them leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Origin, Request, Wire, system};
use serde_json::{Value, json};

use crate::stage::{self, Play, Row, Set, Stage, at, ip, server, with};

/// The shortest time that a profile of TCP may name, and what is enough to see it and not the usual one, milliseconds.
const IDLE_MS: u64 = 5_000;
const SEEN_MS: u64 = 8_000;

pub const PLAY: Play = Play { workers: 2, has_clock: false, make, rows: ROWS };

fn make(set: &mut Set) {
    set.pool("one", &["one"], json!({}));
    set.pool("two", &["two"], json!({}));
    let one = json!({"pool_ref": at("pool", "one")});
    set.put("poolgroup", "two", json!({"members": [{"pool_ref": at("pool", "two")}]}));
    set.service("plain", one.clone());
    set.service("off", with(one.clone(), json!({"enabled": false})));
    set.service("idle", with(one.clone(), json!({"traffic_enabled": false})));
    addresses(set, &one);
    carried(set, &one);
    selected(set, &one);
    followed(set);
    hosted(set);
    let cores = json!({"lb_algorithm": "LB_ALGORITHM_CORE_AFFINITY", "lb_algorithm_core_nonaffinity": 1});
    set.pool("cores", &["a", "b", "c", "d"], cores);
    set.service("cores", json!({}));
    let body = json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": {"client_body_timeout": 300}});
    set.put("applicationprofile", "body", body);
    set.service("body", with(one, json!({"application_profile_ref": at("applicationprofile", "body")})));
}

/// Consecutive ports, of which the first one gets the door `name`, and each further one `name-1`, `name-2`.
fn ports(set: &mut Set, name: &str, count: u16) -> u16 {
    'again: loop {
        let first = set.lab.address();
        for more in 1..count {
            if set.lab.address().port() != first.port() + more {
                continue 'again;
            }
        }
        for more in 0..count {
            let name = if more == 0 { name.to_owned() } else { format!("{name}-{more}") };
            set.door_at(&name, SocketAddr::new(first.ip(), first.port() + more));
        }
        return first.port();
    }
}

/// A port that is free at the loopback address of IPv6 as well.
fn of_both(set: &mut Set) -> u16 {
    loop {
        let port = set.lab.address().port();
        if system::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).is_ok() {
            return port;
        }
    }
}

fn addresses(set: &mut Set, one: &Value) {
    let (own, other) = (set.lab.ip().into(), set.lab.client_ip(250));
    for name in ["within", "shared"] {
        let port = of_both(set);
        set.door_at(name, SocketAddr::new(own, port));
        set.door_at(&format!("{name}-off"), SocketAddr::new(other, port));
        set.door_at(&format!("{name}-six"), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        let vip = json!([{"vip_id": "1", "ip_address": ip(own)},
            {"vip_id": "2", "ip_address": ip(other), "enabled": false},
            {"vip_id": "3", "ip6_address": ip(Ipv6Addr::LOCALHOST.into())}]);
        let place = match name {
            "within" => json!({"vip": vip}),
            _ => json!({"vsvip_ref": at("vsvip", "shared")}),
        };
        if name == "shared" {
            set.put("vsvip", "shared", json!({"vip": vip}));
        }
        let services = json!({"services": [{"port": port}]});
        set.service(name, with(with(one.clone(), services), place));
    }
    let first = ports(set, "range", 2);
    set.service(
        "range",
        with(one.clone(), json!({"services": [{"port": first, "port_range_end": first + 1}]})),
    );
}

/// What ports speak, and how long they wait for a byte.
fn carried(set: &mut Set, one: &Value) {
    let seconds = IDLE_MS / 1000;
    for (name, profile) in [
        (
            "proxy",
            json!({"type": "PROTOCOL_TYPE_TCP_PROXY",
            "tcp_proxy_profile": {"automatic": false, "idle_connection_timeout": seconds}}),
        ),
        (
            "fast",
            json!({"type": "PROTOCOL_TYPE_TCP_FAST_PATH", "tcp_fast_path_profile": {"session_idle_timeout": seconds}}),
        ),
        (
            "udp-fast",
            json!({"type": "PROTOCOL_TYPE_UDP_FAST_PATH", "udp_fast_path_profile": {"session_idle_timeout": 2}}),
        ),
        (
            "udp-proxy",
            json!({"type": "PROTOCOL_TYPE_UDP_PROXY", "udp_proxy_profile": {"session_idle_timeout": 2}}),
        ),
    ] {
        set.put("networkprofile", name, json!({"profile": profile}));
    }
    let introduced = |version: u8| {
        json!({"type": "APPLICATION_PROFILE_TYPE_L4", "tcp_app_profile": {"proxy_protocol_enabled": true,
            "proxy_protocol_version": format!("PROXY_PROTOCOL_VERSION_{version}")}})
    };
    set.put("applicationprofile", "bytes", json!({"type": "APPLICATION_PROFILE_TYPE_L4"}));
    set.put("applicationprofile", "v1", introduced(1));
    set.put("applicationprofile", "v2", introduced(2));
    let bytes = with(one.clone(), json!({"application_profile_ref": at("applicationprofile", "bytes")}));
    for name in ["proxy", "fast"] {
        set.service(name, with(bytes.clone(), json!({"network_profile_ref": at("networkprofile", name)})));
    }
    let port = set.door("own-network");
    let own = json!([{"port": port, "override_network_profile_ref": at("networkprofile", "proxy")}]);
    set.service("own-network", with(bytes.clone(), json!({"services": own})));
    let answering = set.lab.address();
    set.keep(stage::datagrams("udp", answering));
    set.put("pool", "datagrams", json!({"servers": [server(answering)]}));
    let of_datagrams = json!({"pool_ref": at("pool", "datagrams"), "application_profile_ref": at("applicationprofile", "bytes")});
    for name in ["udp-fast", "udp-proxy"] {
        set.service(
            name,
            with(of_datagrams.clone(), json!({"network_profile_ref": at("networkprofile", name)})),
        );
    }
    let (first, second) = (set.door("own-application"), set.door("own-application-1"));
    let own = json!([{"port": first}, {"port": second, "override_application_profile_ref": at("applicationprofile", "v1")}]);
    set.service("own-application", with(one.clone(), json!({"services": own})));
    let head = set.lab.address();
    let told = set.other_origin(
        "head",
        Origin::start(head, |mut wire, _| {
            let is_second = wire.exactly(12)? == b"\r\n\r\n\0\r\nQUIT\n";
            let who = if is_second { "v2" } else { "other" };
            wire.send(format!("HTTP/1.1 200 OK\r\nX-Server: {who}\r\nContent-Length: 0\r\n\r\n"))?;
            wire.rest().map(drop)
        }),
    );
    set.put("pool", "v2", json!({"servers": [told]}));
    set.service("v2", json!({"application_profile_ref": at("applicationprofile", "v2")}));
    let windows = json!({"type": "APPLICATION_PROFILE_TYPE_HTTP",
        "http_profile": {"http2_profile": {"http2_initial_window_size": 128}}});
    set.put("applicationprofile", "windows", windows);
    let port = set.door("second");
    let second = json!({"services": [{"port": port, "enable_http2": true}],
        "application_profile_ref": at("applicationprofile", "windows")});
    set.service("second", with(one.clone(), second));
}

/// Ports that lead to pools of their own.
fn selected(set: &mut Set, one: &Value) {
    let first = ports(set, "select", 4);
    let shared = set.door("select-both");
    let mut services: Vec<Value> = (first..first + 4).map(|port| json!({"port": port})).collect();
    let bytes = at("applicationprofile", "bytes");
    services.push(json!({"port": shared, "override_application_profile_ref": bytes}));
    services.push(json!({"port": shared, "override_application_profile_ref": bytes,
        "override_network_profile_ref": at("networkprofile", "udp-fast")}));
    let select = json!([
        {"service_port": first + 1, "service_pool_ref": at("pool", "two")},
        {"service_port": first + 2, "service_port_range_end": first + 3, "service_pool_group_ref": at("poolgroup", "two")},
        {"service_port": shared, "service_protocol": "PROTOCOL_TYPE_UDP_FAST_PATH", "service_pool_ref": at("pool", "datagrams")}]);
    set.service("select", with(one.clone(), json!({"services": services, "service_pool_select": select})));
}

/// Servers that are reached at the port that clients come to, whatever port they are said to have.
fn followed(set: &mut Set) {
    let place = set.lab.client_ip(250);
    let mut services = Vec::new();
    for name in ["follows", "follows-1"] {
        let port = set.door(name);
        set.origin_at(name, SocketAddr::new(place, port));
        services.push(json!({"port": port}));
    }
    let servers = json!([{"ip": ip(place), "port": 9}]);
    set.put("pool", "follows", json!({"servers": servers, "use_service_port": true}));
    set.service("follows", json!({"services": services}));
}

/// Children that are told apart by what stands in the path.
fn hosted(set: &mut Set) {
    set.put("stringgroup", "paths", json!({"kv": [{"key": "/from-the-group"}]}));
    let parent =
        json!({"type": "VS_TYPE_VH_PARENT", "vh_type": "VS_TYPE_VH_ENHANCED", "pool_ref": at("pool", "one")});
    set.service("hosted", parent);
    let cased = json!({"match_criteria": "EQUALS", "match_str": ["/Loud"], "match_case": "SENSITIVE"});
    let grouped = json!({"match_criteria": "EQUALS", "string_group_refs": [at("stringgroup", "paths")]});
    let rule = |path: &Value| json!([{"name": "r", "matches": {"path": path}}]);
    let matches = json!([
        {"host": "cased.example", "path": [cased]}, {"host": "grouped.example", "path": [grouped]},
        {"host": "cased-rule.example", "rules": rule(&cased)}, {"host": "grouped-rule.example", "rules": rule(&grouped)}]);
    let child = json!({"type": "VS_TYPE_VH_CHILD", "vh_type": "VS_TYPE_VH_ENHANCED", "pool_ref": at("pool", "two"),
        "vh_parent_vs_ref": at("virtualservice", "hosted"), "vh_matches": matches});
    set.put("virtualservice", "child", child);
}

fn ends(s: &Stage, door: &str) {
    let mut wire = Wire::connect(s.at(door)).expect("it listens");
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    wire.head().expect("an answer");
    assert!(wire.closes_within(ms(SEEN_MS)), "nobody said anything for long");
}

/// A flow is another one, by its port at the server, once nobody has said anything for long.
fn moves_on(s: &Stage, door: &str) {
    let socket = s.datagrams(door);
    let port = || {
        let mut bytes = [0; 512];
        socket.send(b"hello").expect("sent");
        let count = socket.recv(&mut bytes).expect("an answer");
        String::from_utf8_lossy(&bytes[..count]).split(' ').nth(1).expect("a port").to_owned()
    };
    let first = port();
    assert_eq!(port(), first, "the same flow");
    // Sleep: silence is what ends a flow.
    std::thread::sleep(ms(3_500));
    assert_ne!(port(), first, "it was silent for long");
}

fn six(s: &Stage, door: &str) {
    assert_eq!(s.who(door), "one");
}

fn child(s: &Stage, host: &str, hit: &str, miss: &str) {
    for (path, server) in [(hit, "two"), (miss, "one")] {
        let answer = s.send("hosted", &Request::get(path).field(format!("Host: {host}")));
        assert_eq!(answer.field("x-server"), Some(server), "{host}{path}");
    }
}

fn own_application(s: &Stage) {
    assert!(s.get("own-application", "/").text().starts_with("one GET "));
    assert!(s.get("own-application-1", "/").text().starts_with("one PROXY TCP4 "));
}

fn second_version(s: &Stage) {
    let mut wire = Wire::connect(s.at("second")).expect("it listens");
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    let head = wire.exactly(9).expect("a frame");
    assert_eq!(head[3], 4, "settings: {head:?}");
    let length = usize::from(head[1]) * 256 + usize::from(head[2]);
    let settings = wire.exactly(length).expect("a frame");
    let window = settings.chunks(6).find(|one| one[..2] == [0, 4]).expect("it says its window");
    assert_eq!(window[2..], (128 * 1024_u32).to_be_bytes(), "{settings:?}");
}

fn select_by_protocol(s: &Stage) {
    assert_eq!(s.who("select-both"), "one");
    let socket = s.datagrams("select-both");
    socket.send(b"hello").expect("sent");
    let mut bytes = [0; 512];
    let count = socket.recv(&mut bytes).expect("an answer");
    assert!(bytes[..count].starts_with(b"udp "));
}

/// No server is asked by both workers.
fn apart(s: &Stage) {
    for _ in 0..80 {
        s.get("cores", "/cores");
    }
    let mut used: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for line in s.engine.log_lines(80, |line| line["uri_path"] == "/cores") {
        let port = line["server_dest_port"].as_u64().expect("a port");
        used.entry(line["vcpu_id"].as_u64().expect("a number")).or_default().insert(port);
    }
    let sets: Vec<_> = used.values().collect();
    assert!(sets.len() == 2 && sets[0].is_disjoint(sets[1]), "{used:?}");
}

const ROWS: &[Row] = &[
    (&["pool use_service_port"], |s| {
        assert_eq!((s.who("follows"), s.who("follows-1")), ("follows".to_owned(), "follows-1".to_owned()));
    }),
    (&["pool lb_algorithm_core_nonaffinity"], apart),
    (&["virtualservice enabled"], |s| assert!(s.is_closed("off"))),
    (&["virtualservice traffic_enabled"], |s| assert!(s.is_closed("idle"))),
    (&["virtualservice vip[].ip_address.addr"], |s| assert_eq!(s.who("within"), "one")),
    (&["virtualservice vip[].enabled"], |s| assert!(s.is_closed("within-off"))),
    (&["virtualservice vip[].ip6_address.addr"], |s| six(s, "within-six")),
    (&["vsvip vip[].enabled"], |s| assert!(s.is_closed("shared-off"))),
    (&["vsvip vip[].ip6_address.addr"], |s| six(s, "shared-six")),
    (&["virtualservice services[].port_range_end"], |s| assert_eq!(s.who("range-1"), "one")),
    (
        &[
            "virtualservice network_profile_ref",
            "networkprofile profile.tcp_proxy_profile.automatic",
            "networkprofile profile.tcp_proxy_profile.idle_connection_timeout",
        ],
        |s| ends(s, "proxy"),
    ),
    (
        &["networkprofile profile.type", "networkprofile profile.tcp_fast_path_profile.session_idle_timeout"],
        |s| {
            ends(s, "fast");
        },
    ),
    (&["virtualservice services[].override_network_profile_ref"], |s| ends(s, "own-network")),
    (&["networkprofile profile.udp_fast_path_profile.session_idle_timeout"], |s| moves_on(s, "udp-fast")),
    (&["networkprofile profile.udp_proxy_profile.session_idle_timeout"], |s| moves_on(s, "udp-proxy")),
    (
        &["virtualservice services[].override_application_profile_ref", "applicationprofile type"],
        own_application,
    ),
    (&["applicationprofile tcp_app_profile.proxy_protocol_version"], |s| assert_eq!(s.who("v2"), "v2")),
    (
        &[
            "virtualservice services[].enable_http2",
            "applicationprofile http_profile.http2_profile.http2_initial_window_size",
        ],
        second_version,
    ),
    (
        &[
            "virtualservice service_pool_select[].service_port",
            "virtualservice service_pool_select[].service_pool_ref",
        ],
        |s| {
            assert_eq!((s.who("select"), s.who("select-1")), ("one".to_owned(), "two".to_owned()));
        },
    ),
    (
        &[
            "virtualservice service_pool_select[].service_port_range_end",
            "virtualservice service_pool_select[].service_pool_group_ref",
        ],
        |s| assert_eq!(s.who("select-3"), "two"),
    ),
    (&["virtualservice service_pool_select[].service_protocol"], select_by_protocol),
    (&["virtualservice vh_matches[].path[].match_case"], |s| child(s, "cased.example", "/Loud", "/loud")),
    (&["virtualservice vh_matches[].path[].string_group_refs[]"], |s| {
        child(s, "grouped.example", "/from-the-group", "/another");
    }),
    (&["virtualservice vh_matches[].rules[].matches.path.match_case"], |s| {
        child(s, "cased-rule.example", "/Loud", "/loud");
    }),
    (&["virtualservice vh_matches[].rules[].matches.path.string_group_refs[]"], |s| {
        child(s, "grouped-rule.example", "/from-the-group", "/another");
    }),
    (&["applicationprofile http_profile.client_body_timeout"], |s| {
        let closes = |door: &str| {
            let mut wire = Wire::connect(s.at(door)).expect("it listens");
            wire.send("POST /wait/4000 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").expect("sent");
            wire.closes_within(secs(2))
        };
        assert!(closes("body") && !closes("plain"));
    }),
];
