//! How servers are chosen, reached and spared.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Origin, Process, Request, bin, system};
use serde_json::{Value, json};

use crate::stage::{Play, Row, Set, Stage, at, ip, server, with};

pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: ROWS };

fn make(set: &mut Set) {
    let kept = |field: &str, value: u32| json!({"conn_pool_properties": {format!("upstream_connpool_{field}"): value}});
    for (name, more) in [
        ("brief", kept("conn_idle_tmo", 200)),
        ("short-lived", kept("conn_life_tmo", 300)),
        ("once", kept("conn_max_reuse", 1)),
        ("few-kept", kept("server_max_cache", 1)),
        ("limit", json!({"max_concurrent_connections_per_server": 1})),
        ("queue", json!({"max_concurrent_connections_per_server": 1, "request_queue_enabled": true})),
        (
            "depth",
            json!({"max_concurrent_connections_per_server": 1, "request_queue_enabled": true, "request_queue_depth": 1}),
        ),
        ("hasty", json!({"server_timeout": 300})),
    ] {
        set.pool(name, &[name], more);
        set.service(name, json!({}));
    }
    groups(set);
    places(set);
    second_version(set);
    secured(set);
}

fn groups(set: &mut Set) {
    for name in ["one", "two"] {
        set.pool(name, &[name], json!({}));
    }
    let member = |pool: &str, more: Value| with(json!({"pool_ref": at("pool", pool)}), more);
    let labels = json!({"equivalent_labels": [{"labels": ["gold"]}, {"labels": ["silver"]}]});
    set.put("prioritylabels", "metals", labels);
    let again =
        json!({"enabled": true, "num_retries": 1, "svr_resp_code": {"ranges": [{"begin": 500, "end": 502}]}});
    set.pool("again", &["one", "two", "three"], json!({"server_reselect": again}));
    set.service("again", json!({}));
    for (name, group) in [
        (
            "labelled",
            json!({"members": [
            member("two", json!({"priority_label": "5"})), member("one", json!({"priority_label": "10"}))]}),
        ),
        (
            "heavy",
            json!({"members": [member("one", json!({"ratio": 1})), member("two", json!({"ratio": 1000}))]}),
        ),
        (
            "least",
            json!({"min_servers": 2, "members": [
            member("one", json!({"priority_label": "10"})), member("two", json!({"priority_label": "5"}))]}),
        ),
        (
            "metals",
            json!({"priority_labels_ref": at("prioritylabels", "metals"), "members": [
            member("one", json!({"priority_label": "silver"})), member("two", json!({"priority_label": "gold"}))]}),
        ),
    ] {
        set.put("poolgroup", name, group);
        set.service(name, json!({"pool_group_ref": at("poolgroup", name)}));
    }
}

/// Servers that are known by a name, and servers of which only the ports differ.
fn places(set: &mut Set) {
    // Free at the address that the name leads to, and nobody is there at the one that stands beside the name.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    set.origin_at("named", SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut named = server(SocketAddr::from((set.lab.ip(), port)));
    named["hostname"] = json!("localhost");
    named["resolve_server_by_dns"] = json!(true);
    set.put("pool", "named", json!({"servers": [named]}));
    set.service("named", json!({}));
    let port = set.origin("grouped")["port"].clone();
    set.put("ipaddrgroup", "own", json!({"addrs": [ip(set.lab.ip().into())]}));
    set.put(
        "pool",
        "grouped",
        json!({"ipaddrgroup_ref": at("ipaddrgroup", "own"), "default_server_port": port}),
    );
    set.service("grouped", json!({}));
    let (first, second) = (set.lab.client_ip(201), set.lab.client_ip(202));
    for name in ["ports", "other-ports"] {
        for (server, ip) in [("a", first), ("b", second)] {
            let at = loop {
                let at = SocketAddr::new(ip, set.lab.address().port());
                if system::bind(at).is_ok() {
                    break at;
                }
            };
            set.origin_at(&format!("{server}.{name}"), at);
        }
        let hashed = json!({"lb_algorithm": "LB_ALGORITHM_CONSISTENT_HASH", "ignore_server_port": true,
            "lb_algorithm_hash": "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER", "lb_algorithm_consistent_hash_hdr": "X-Key"});
        set.pool(name, &[&format!("a.{name}"), &format!("b.{name}")], hashed);
        set.service(name, json!({}));
    }
}

/// A server that speaks HTTP/2 without TLS, as far as one answer needs it.
fn second_version(set: &mut Set) {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    let origin = Origin::start(set.lab.address(), |mut wire, _| {
        if wire.exactly(24)? != b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            return Ok(());
        }
        wire.send([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])?;
        loop {
            let head = wire.exactly(9)?;
            let length = usize::from(head[1]) * 256 + usize::from(head[2]);
            wire.exactly(length)?;
            match (head[3], head[4]) {
                (SETTINGS, 0) => wire.send([0, 0, 0, SETTINGS, 1, 0, 0, 0, 0])?,
                // Status 204 (RFC 7541, appendix A), and nothing behind it.
                (HEADERS, _) => wire.send([&[0, 0, 1, HEADERS, 5][..], &head[5..], &[0x89]].concat())?,
                _ => {}
            }
        }
    });
    let told = set.other_origin("second", origin);
    set.put("pool", "second", json!({"servers": [told], "enable_http2": true}));
    set.service("second", json!({}));
    set.put("pool", "of-group", json!({"servers": [told]}));
    set.put(
        "poolgroup",
        "second",
        json!({"enable_http2": true, "members": [{"pool_ref": at("pool", "of-group")}]}),
    );
    set.service("second-group", json!({"pool_group_ref": at("poolgroup", "second")}));
}

/// Servers that speak TLS: one of an authority that is known, and one of another.
fn secured(set: &mut Set) {
    let folder = set.lab.folder();
    for name in ["ca", "others", "owners"] {
        pki::authority(folder, name);
    }
    pki::certificate(folder, "app", "ca", EC, "DNS:app.test", 2);
    pki::certificate(folder, "stranger", "others", EC, "DNS:app.test", 2);
    pki::certificate(folder, "engine", "owners", EC, "DNS:engine.test", 2);
    let places: [SocketAddr; 2] = set.lab.addresses();
    let section = |name: &str, at: SocketAddr| {
        format!(
            "server {{ listen {at} ssl; ssl_certificate {name}.pem; ssl_certificate_key {name}.key;\n\
             ssl_verify_client optional; ssl_client_certificate owners.pem;\n\
             location / {{ return 200 \"{name} <$ssl_server_name> <$ssl_client_s_dn>\"; }} }}\n"
        )
    };
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         {}{}}}\n",
        section("app", places[0]),
        section("stranger", places[1])
    );
    std::fs::write(folder.join("nginx.conf"), text).expect("the lab's folder");
    let mut command = Command::new(bin::foreign("nginx", "nginx"));
    command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
    let nginx = Process::start("nginx", command, folder);
    eventually("nginx listens", secs(10), || TcpStream::connect(places[1]).is_ok());
    set.keep(nginx);
    let authority = set.file("ca.pem");
    set.put("pkiprofile", "ca", json!({"ca_certs": [{"certificate": authority}], "crl_check": false}));
    set.certificate("engine", json!({}));
    set.put("sslprofile", "usual", json!({}));
    let judged = json!({"pki_profile_ref": at("pkiprofile", "ca")});
    for (name, place, more) in [
        (
            "reached",
            places[0],
            json!({"server_name": "app.test",
            "ssl_key_and_certificate_ref": at("sslkeyandcertificate", "engine")}),
        ),
        ("unasked", places[0], json!({"server_name": "app.test", "sni_enabled": false})),
        ("stranger", places[1], judged.clone()),
        (
            "misnamed",
            places[0],
            with(judged, json!({"server_name": "wrong.test", "host_check_enabled": true})),
        ),
    ] {
        let tls = json!({"servers": [server(place)], "ssl_profile_ref": at("sslprofile", "usual"),
            "inline_health_monitor": false});
        set.put("pool", name, with(tls, more));
        set.service(name, json!({}));
    }
}

fn accepted(s: &Stage, server: &str) -> usize {
    s.origins[server].accepted()
}

fn brief(s: &Stage) {
    let mut client = s.client("brief");
    client.get("/").expect("an answer");
    // Sleep: nothing to do for long is what ends a connection.
    std::thread::sleep(ms(900));
    client.get("/").expect("an answer");
    assert_eq!(accepted(s, "brief"), 2);
}

fn short_lived(s: &Stage) {
    let mut client = s.client("short-lived");
    for _ in 0..10 {
        client.get("/wait/90").expect("an answer");
    }
    assert!(accepted(s, "short-lived") >= 2);
}

fn once(s: &Stage) {
    let mut client = s.client("once");
    for _ in 0..3 {
        client.get("/").expect("an answer");
    }
    assert_eq!(accepted(s, "once"), 3);
}

/// Of two connections one is kept: of the next two requests one needs a new one.
fn few_kept(s: &Stage) {
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| s.status("few-kept", "/wait/800"));
            }
        });
    }
    assert_eq!(accepted(s, "few-kept"), 3);
}

/// Sends so many requests while the server works on one, and says how many of them are served.
fn beside(s: &Stage, door: &str, count: usize) -> usize {
    std::thread::scope(|scope| {
        let first = scope.spawn(|| s.status(door, "/wait/2000"));
        eventually("the server works on one", secs(5), || accepted(s, door) == 1);
        let others: Vec<_> = (0..count).map(|_| scope.spawn(|| s.client(door).get_once("/"))).collect();
        let served =
            |answer: std::io::Result<forebay_e2e::Answer>| answer.is_ok_and(|answer| answer.status == 200);
        let count = others.into_iter().map(|other| served(other.join().expect("no panic")));
        let count = count.filter(|is_served| *is_served).count();
        assert_eq!(first.join().expect("no panic"), 200);
        count
    })
}

fn hasty(s: &Stage) {
    assert_eq!(s.status("hasty", "/wait/3000"), 504);
}

fn named(s: &Stage) {
    eventually("the name is looked up, and served", secs(5), || {
        s.client("named").get_once("/").is_ok_and(|answer| answer.field("x-server") == Some("named"))
    });
}

/// Keys go to the same addresses, whatever the ports.
fn ports(s: &Stage) {
    let of = |door: &str, key: usize| {
        let answer = s.send(door, &Request::get("/").field(format!("X-Key: {key}")));
        answer.field("x-server").expect("a name").split('.').next().expect("a name").to_owned()
    };
    let first: Vec<String> = (0..24).map(|key| of("ports", key)).collect();
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2, "{first:?}");
    assert_eq!((0..24).map(|key| of("other-ports", key)).collect::<Vec<_>>(), first);
}

fn heavy(s: &Stage) {
    let two = s.all("heavy", 20).iter().filter(|name| *name == "two").count();
    assert!(two >= 17, "{two}");
}

fn both(s: &Stage) {
    assert_eq!(s.all("least", 20).into_iter().collect::<BTreeSet<_>>().len(), 2);
}

fn metals(s: &Stage) {
    assert!(s.all("metals", 12).iter().all(|name| name == "two"));
}

/// How many servers were asked where each of them answers by this status.
fn asked(s: &Stage, status: u16) -> u64 {
    let path = format!("/status/{status}");
    assert_eq!(s.status("again", &path), status);
    let line = &s.engine.log_lines(1, |line| line["uri_path"] == path.as_str())[0];
    line["servers_tried"].as_u64().expect("a number")
}

fn tls(s: &Stage, door: &str) -> (u16, String) {
    let answer = s.get(door, "/");
    (answer.status, answer.text())
}

const ROWS: &[Row] = &[
    (&["pool conn_pool_properties.upstream_connpool_conn_idle_tmo"], brief),
    (&["pool conn_pool_properties.upstream_connpool_conn_life_tmo"], short_lived),
    (&["pool conn_pool_properties.upstream_connpool_conn_max_reuse"], once),
    (&["pool conn_pool_properties.upstream_connpool_server_max_cache"], few_kept),
    (&["pool max_concurrent_connections_per_server"], |s| assert_eq!(beside(s, "limit", 1), 0)),
    (&["pool request_queue_enabled"], |s| assert_eq!(beside(s, "queue", 2), 2)),
    (&["pool request_queue_depth"], |s| assert_eq!(beside(s, "depth", 3), 1)),
    (&["pool server_timeout"], hasty),
    (&["pool servers[].hostname", "pool servers[].resolve_server_by_dns"], named),
    (&["pool ignore_server_port"], ports),
    (&["poolgroup members[].ratio"], heavy),
    (&["poolgroup members[].priority_label"], |s| {
        assert!(s.all("labelled", 12).iter().all(|name| name == "one"));
    }),
    (&["pool server_reselect.num_retries"], |s| assert_eq!(asked(s, 501), 2)),
    (&["pool server_reselect.svr_resp_code.ranges[].begin"], |s| assert_eq!(asked(s, 418), 1)),
    (&["pool server_reselect.svr_resp_code.ranges[].end"], |s| assert_eq!(asked(s, 503), 1)),
    (&["poolgroup min_servers"], both),
    (&["poolgroup priority_labels_ref"], metals),
    (&["pool ipaddrgroup_ref"], |s| assert_eq!(s.who("grouped"), "grouped")),
    (&["poolgroup enable_http2"], |s| assert_eq!(s.status("second-group", "/"), 204)),
    (&["pool enable_http2"], |s| assert_eq!(s.status("second", "/"), 204)),
    (&["pool ssl_profile_ref", "pool server_name", "pool ssl_key_and_certificate_ref"], |s| {
        assert_eq!(tls(s, "reached"), (200, "app <app.test> <CN=engine>".to_owned()));
    }),
    (&["pool sni_enabled"], |s| assert_eq!(tls(s, "unasked"), (200, "app <> <>".to_owned()))),
    (&["pool pki_profile_ref"], |s| assert_eq!(tls(s, "stranger").0, 502)),
    (&["pool host_check_enabled"], |s| assert_eq!(tls(s, "misnamed").0, 502)),
];
