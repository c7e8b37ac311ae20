//! How servers are probed, and what becomes of their clients when they go down.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Origin, Process, bin};
use serde_json::{Value, json};

use crate::stage::{self, Play, Row, Set, Stage, at, server, with};

pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: ROWS };

/// The shortest interval there is for a probe that may take a second.
const QUICK: [(&str, u32); 4] =
    [("send_interval", 2), ("receive_timeout", 1), ("failed_checks", 1), ("successful_checks", 1)];
/// More failures, or successes, than a test waits for.
const MANY: u32 = 20;

fn monitor(set: &mut Set, name: &str, kind: &str, by: &Value, more: Value) {
    let part = format!("{}_monitor", kind.to_ascii_lowercase());
    let mut monitor = json!({"type": format!("HEALTH_MONITOR_{kind}"), part: by});
    for (field, value) in QUICK {
        monitor[field] = json!(value);
    }
    set.put("healthmonitor", name, with(monitor, more));
}

fn watched(name: &str) -> Value {
    json!({"health_monitor_refs": [at("healthmonitor", name)]})
}

/// A request to which a server that is sick answers 500.
fn asks(name: &str) -> String {
    format!("GET /sick-{name} HTTP/1.0")
}

fn make(set: &mut Set) {
    let elsewhere = set.origin("elsewhere")["port"].clone();
    set.sick("elsewhere");
    let origin = Origin::start(set.lab.address(), |mut wire, _| {
        loop {
            let head = wire.head()?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let content = wire.exactly(length.unwrap_or(0))?;
            let status = if head.starts_with("post ") && content != b"ping" { 500 } else { 200 };
            wire.send(format!("HTTP/1.1 {status} Read\r\nX-Server: content\r\nContent-Length: 0\r\n\r\n"))?;
        }
    });
    set.other_origin("content", origin);
    let sick = |name: &str| json!({"http_request": asks(name)});
    let tcp = json!({"tcp_request": format!("{}\r\n\r\n", asks("tcp")), "tcp_response": "Told", "maintenance_response": "500 Told"});
    for (name, kind, by, more) in [
        ("fails", "HTTP", sick("fails"), json!({"failed_checks": MANY})),
        ("returns", "HTTP", sick("returns"), json!({"successful_checks": MANY})),
        ("often", "HTTP", sick("often"), json!({})),
        ("slow", "HTTP", json!({"http_request": "GET /wait/2500 HTTP/1.0"}), json!({"send_interval": 5})),
        (
            "moved",
            "HTTP",
            json!({"http_request": "GET /status/302 HTTP/1.0", "http_response_code": ["HTTP_3XX"]}),
            json!({}),
        ),
        ("port", "HTTP", sick("port"), json!({"monitor_port": elsewhere})),
        (
            "code",
            "HTTP",
            with(sick("code"), json!({"maintenance_code": [500]})),
            json!({"failed_checks": MANY}),
        ),
        (
            "text",
            "HTTP",
            with(sick("text"), json!({"maintenance_response": "500 Told"})),
            json!({"failed_checks": MANY}),
        ),
        ("tcp", "TCP", tcp, json!({})),
        (
            "content",
            "HTTP",
            json!({"http_request": "POST /x HTTP/1.0", "http_request_body": "ping"}),
            json!({}),
        ),
        ("cut", "HTTP", sick("cut"), json!({})),
        ("abort", "HTTP", sick("abort"), json!({})),
    ] {
        monitor(set, name, kind, &by, more);
        let mut pool = watched(name);
        let mut servers = vec![name];
        match name {
            "cut" => pool["graceful_hm_down_disable_timeout"] = json!(1),
            "abort" => {
                servers.push("well");
                pool["lb_algorithm"] = json!("LB_ALGORITHM_ROUND_ROBIN");
                pool["application_persistence_profile_ref"] =
                    json!(at("applicationpersistenceprofile", "abort"));
            }
            _ => {}
        }
        set.pool(name, &servers, pool);
        set.service(name, json!({}));
    }
    set.sick("returns");
    let abort = json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "server_hm_down_recovery": "HM_DOWN_ABORT_CONNECTION"});
    set.put("applicationpersistenceprofile", "abort", abort);
    let nobody = server(set.lab.address());
    let well = set.origin("well");
    set.put(
        "pool",
        "inline",
        json!({"servers": [nobody, well], "inline_health_monitor": false,
        "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "connection_ramp_duration": 0}),
    );
    set.service("inline", json!({}));
    of_datagrams(set);
    secured(set);
}

fn of_datagrams(set: &mut Set) {
    for (name, by) in [
        ("asked", json!({"udp_request": "ping", "udp_response": "ping"})),
        ("unheard", json!({"udp_request": "ping", "udp_response": "pong"})),
        ("away", json!({"udp_request": "ping", "maintenance_response": "answers"})),
    ] {
        let place = set.lab.address();
        set.keep(stage::datagrams("answers", place));
        set.origin_at(name, place);
        monitor(set, name, "UDP", &by, json!({}));
        set.pool(name, &[name], watched(name));
        set.service(name, json!({}));
    }
}

/// Servers that speak TLS, each of which is probed in another way.
fn secured(set: &mut Set) {
    let folder = set.lab.folder();
    for name in ["ca", "others", "owners"] {
        pki::authority(folder, name);
    }
    pki::certificate(folder, "app", "ca", EC, "DNS:app.test", 2);
    pki::certificate(folder, "engine", "owners", EC, "DNS:engine.test", 2);
    for name in ["ca", "others"] {
        let authority = json!([{"certificate": set.file(&format!("{name}.pem"))}]);
        set.put("pkiprofile", name, json!({"ca_certs": authority, "crl_check": false}));
    }
    set.certificate("engine", json!({}));
    set.put("sslprofile", "usual", json!({}));
    let attributes = |more: Value| json!({"ssl_attributes": with(json!({"ssl_profile_ref": at("sslprofile", "usual")}), more)});
    let mut sections = String::new();
    let mut last = None;
    for (name, by) in [
        ("s-request", json!({"http_request": "GET /broken HTTP/1.0"})),
        ("s-text", json!({"http_response": "no such text"})),
        ("s-code", json!({"http_request": "GET /moved HTTP/1.0", "http_response_code": ["HTTP_3XX"]})),
        ("s-exact", json!({"http_request": "GET / HTTP/1.1\r\n\r\n", "exact_http_request": true})),
        ("s-content", json!({"http_request": "GET /content HTTP/1.0", "http_request_body": "ping"})),
        ("s-away-code", json!({"http_request": "GET /away HTTP/1.0", "maintenance_code": [503]})),
        ("s-away-text", json!({"maintenance_response": "fine"})),
        ("s-judged", attributes(json!({"pki_profile_ref": at("pkiprofile", "others")}))),
        (
            "s-named",
            attributes(json!({"pki_profile_ref": at("pkiprofile", "ca"), "server_name": "app.test"})),
        ),
        (
            "s-demands",
            attributes(json!({"ssl_key_and_certificate_ref": at("sslkeyandcertificate", "engine")})),
        ),
    ] {
        let place: SocketAddr = set.lab.address();
        // Who is served is not asked for a certificate; a probe asks for another path.
        let demands =
            if name == "s-demands" { "ssl_verify_client on; ssl_client_certificate owners.pem;" } else { "" };
        sections += &format!(
            "server {{ listen {place} ssl; ssl_certificate app.pem; ssl_certificate_key app.key; {demands}\n\
             location /broken {{ return 500; }} location /moved {{ return 302 /; }} location /away {{ return 503; }}\n\
             location /content {{ if ($content_length != 4) {{ return 500; }} return 200; }}\n\
             location / {{ add_header X-Server {name}; return 200 fine; }} }}\n"
        );
        let by = if by.get("ssl_attributes").is_some() { by } else { with(by, attributes(json!({}))) };
        monitor(
            set,
            name,
            "HTTPS",
            &by,
            if name == "s-away-code" { json!({"failed_checks": MANY}) } else { json!({}) },
        );
        let own = json!({"ssl_key_and_certificate_ref": at("sslkeyandcertificate", "engine"),
            "servers": [server(place)], "ssl_profile_ref": at("sslprofile", "usual")});
        set.put("pool", name, with(own, watched(name)));
        set.service(name, json!({}));
        set.place(name, place);
        last = Some(place);
    }
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         {sections}}}\n"
    );
    let folder = set.lab.folder();
    std::fs::write(folder.join("nginx.conf"), text).expect("the lab's folder");
    let mut command = Command::new(bin::foreign("nginx", "nginx"));
    command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
    let nginx = Process::start("nginx", command, folder);
    let last = last.expect("there are some");
    eventually("nginx listens", secs(10), || TcpStream::connect(last).is_ok());
    set.keep(nginx);
}

/// Waits until a server is in a state, as metrics say.
fn becomes(s: &Stage, name: &str, state: &str) {
    let label = s.place(name).to_string();
    let pool = format!("pool-{name}");
    let row = [("server", label.as_str()), ("pool", pool.as_str()), ("forebay_server_state", state)];
    eventually(&format!("{name} is {state}"), secs(10), || {
        s.engine.metric("forebay_server_state", &row) == 1.0
    });
}

/// The service's one server is well, and serves.
fn serves(s: &Stage, name: &str) {
    becomes(s, name, "up");
    assert_eq!(s.who(name), name);
}

/// The service's one server is in this state, and nobody is served.
fn is_out(s: &Stage, name: &str, state: &str) {
    becomes(s, name, state);
    eventually("nobody is served", secs(2), || s.client(name).get_once("/").is_err());
}

/// How often a server was probed by its own path.
fn probes(s: &Stage, name: &str) -> usize {
    let begin = format!("GET /sick-{name} ");
    s.origins[name].heads().iter().filter(|head| head.starts_with(&begin)).count()
}

/// Waits until a server was probed so many times more.
fn probed(s: &Stage, name: &str, more: usize) {
    let before = probes(s, name);
    eventually(&format!("{name} is probed {more} times more"), secs(15), || probes(s, name) >= before + more);
}

fn fails(s: &Stage) {
    serves(s, "fails");
    s.sick("fails", true);
    probed(s, "fails", 3);
    assert_eq!(s.who("fails"), "fails");
}

fn returns(s: &Stage) {
    is_out(s, "returns", "down");
    s.sick("returns", false);
    probed(s, "returns", 4);
    assert!(s.is_closed("returns"));
}

fn goes_away(s: &Stage, name: &str) {
    serves(s, name);
    s.sick(name, true);
    is_out(s, name, "maintenance");
}

/// A server that nobody answers for is asked again and again, as nobody learns from its failures.
fn inline(s: &Stage) {
    for _ in 0..20 {
        assert_eq!(s.by("inline", "/inline"), "well");
    }
    let lines = s.engine.log_lines(20, |line| line["uri_path"] == "/inline");
    let twice = lines.iter().filter(|line| line["servers_tried"] == 2).count();
    assert!(twice >= 8, "{twice}");
}

/// What a server that is found down still had to say is not waited for.
fn cut(s: &Stage) {
    serves(s, "cut");
    let began = Instant::now();
    let answer = std::thread::scope(|scope| {
        let held = scope.spawn(|| s.client("cut").get_once("/wait/12000"));
        eventually("it is under way", secs(5), || {
            s.engine.metric("forebay_server_requests_active", &[("pool", "pool-cut")]) >= 1.0
        });
        s.sick("cut", true);
        held.join().expect("no panic")
    });
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status != 200));
    assert!(began.elapsed() < secs(9), "{:?}", began.elapsed());
}

/// A client whose server is down is turned away, and another one is served.
fn abort(s: &Stage) {
    becomes(s, "abort", "up");
    let of = |name: &str| {
        eventually_some(name, secs(5), || {
            (1..40).find(|n| s.from("abort", *n).is_some_and(|answer| answer.field("x-server") == Some(name)))
        })
    };
    let (bound, other) = (of("abort"), of("well"));
    s.sick("abort", true);
    becomes(s, "abort", "down");
    assert!(s.from("abort", bound).is_none_or(|answer| answer.status != 200));
    assert!(s.from("abort", other).is_some_and(|answer| answer.status == 200));
}

const ROWS: &[Row] = &[
    (&["healthmonitor failed_checks"], fails),
    (&["healthmonitor successful_checks"], returns),
    (&["healthmonitor send_interval"], |s| {
        eventually("it is probed often", secs(15), || probes(s, "often") >= 4);
    }),
    (&["healthmonitor receive_timeout"], |s| is_out(s, "slow", "down")),
    (&["healthmonitor monitor_port"], |s| is_out(s, "port", "down")),
    (&["healthmonitor http_monitor.http_response_code[]"], |s| serves(s, "moved")),
    (&["healthmonitor http_monitor.maintenance_code[]"], |s| goes_away(s, "code")),
    (&["healthmonitor http_monitor.maintenance_response"], |s| goes_away(s, "text")),
    (&["healthmonitor tcp_monitor.maintenance_response"], |s| goes_away(s, "tcp")),
    (&["healthmonitor udp_monitor.udp_request"], |s| serves(s, "asked")),
    (&["healthmonitor udp_monitor.udp_response"], |s| is_out(s, "unheard", "down")),
    (&["healthmonitor udp_monitor.maintenance_response"], |s| is_out(s, "away", "maintenance")),
    (&["healthmonitor https_monitor.http_request"], |s| is_out(s, "s-request", "down")),
    (&["healthmonitor https_monitor.http_response"], |s| is_out(s, "s-text", "down")),
    (&["healthmonitor https_monitor.http_response_code[]"], |s| serves(s, "s-code")),
    (&["healthmonitor https_monitor.exact_http_request"], |s| is_out(s, "s-exact", "down")),
    (&["healthmonitor http_monitor.http_request_body"], |s| serves(s, "content")),
    (&["healthmonitor https_monitor.http_request_body"], |s| serves(s, "s-content")),
    (&["healthmonitor https_monitor.maintenance_code[]"], |s| is_out(s, "s-away-code", "maintenance")),
    (&["healthmonitor https_monitor.maintenance_response"], |s| is_out(s, "s-away-text", "maintenance")),
    (&["healthmonitor https_monitor.ssl_attributes.pki_profile_ref"], |s| is_out(s, "s-judged", "down")),
    (&["healthmonitor https_monitor.ssl_attributes.server_name"], |s| serves(s, "s-named")),
    (&["healthmonitor https_monitor.ssl_attributes.ssl_key_and_certificate_ref"], |s| serves(s, "s-demands")),
    (&["pool inline_health_monitor"], inline),
    (&["pool graceful_hm_down_disable_timeout"], cut),
    (&["applicationpersistenceprofile server_hm_down_recovery"], abort),
];
