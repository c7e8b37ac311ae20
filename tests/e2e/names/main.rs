//! Servers that are named by host names.

mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Instant;

use forebay_e2e::lab::Demo;
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, Origin, Wire, config, eventually, origin};
use server::{Dnsmasq, NameServer, Reply};

const NAME: &str = "app.internal";

/// Loopback addresses of this lab on which one port is free, with the port.
fn same_port<const N: usize>(lab: &Lab) -> ([Ipv4Addr; N], u16) {
    let ips: [Ipv4Addr; N] = std::array::from_fn(|n| match lab.client_ip(200 + n as u32) {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => panic!("{ip} is no IPv4 address"),
    });
    loop {
        let port = lab.address().port();
        if ips.iter().all(|ip| TcpListener::bind((*ip, port)).is_ok()) {
            return (ips, port);
        }
    }
}

/// Demo servers at the same port of these addresses.
fn demos<const N: usize>(lab: &Lab, names: [&str; N], ips: [Ipv4Addr; N], port: u16) -> [Demo; N] {
    std::array::from_fn(|n| lab.demo_at(names[n], SocketAddr::from((ips[n], port))))
}

/// An engine that asks this name server.
fn engine(lab: &Lab, dns: SocketAddr, keys: &str, text: &str) -> Engine {
    let mut options = Options::default();
    options.engine += &format!("\ndns = {{ servers = [\"{dns}\"], {keys} }}\n");
    lab.engine_with(text, options)
}

/// The service `web` before the servers of these names.
fn web(at: SocketAddr, keys: &str, names: &[String]) -> String {
    let servers: String =
        names.iter().map(|name| format!("[[pool.server]]\naddress = \"{name}\"\n")).collect();
    config::service("web", at) + &config::pool("web", keys, &[]) + &servers
}

/// The servers of the engine that have an address, each with it.
fn servers(engine: &Engine) -> Vec<String> {
    let page = engine.page();
    let rows = page.rows("forebay_server_up", &[]);
    rows.filter_map(|row| row.labels.get("server").cloned()).collect()
}

/// Waits until the pool has these servers and no others.
#[track_caller]
fn expect_servers(engine: &Engine, ips: &[Ipv4Addr], port: u16) {
    let mut want: Vec<String> = ips.iter().map(|ip| format!("{ip}:{port}")).collect();
    want.sort();
    eventually(&format!("the servers are {want:?}"), secs(40), || {
        let mut have = servers(engine);
        have.sort();
        have == want
    });
}

fn log_has(engine: &Engine, event: &str) -> usize {
    engine.process.printed().matches(&format!("event=\"{event}\"")).count()
}

//= test NAME-CHANGE-01
//= test NAME-TTL-01
#[test]
fn an_address_that_is_added_serves_and_one_that_is_gone_drains_and_clients_stay_bound() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let dns = Dnsmasq::start(&lab, lab.address(), &[(NAME, &ips[..1])]);
    let at = lab.address();
    let text = web(at, "algorithm = \"round_robin\"\npersistence = \"p\"", &[format!("{NAME}:{port}")])
        + &config::persistence("p", "http_cookie", "cookie_name = \"STICKY\"")
        + config::COOKIE_KEY;
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &text);
    expect_servers(&engine, &ips[..1], port);
    let mut bound = Client::new(at);
    let answer = bound.get("/").expect("served");
    assert_eq!(answer.server(), "a");
    let cookie = answer.cookie("STICKY").expect("its cookie").to_owned();

    dns.set(&[(NAME, &ips)]);
    expect_servers(&engine, &ips, port);
    eventually("a new client gets the new one", secs(10), || {
        Client::new(at).get_once("/").expect("served").server() == "b"
    });
    for _ in 0..6 {
        assert_eq!(bound.get("/").expect("served").server(), "a", "its cookie leads there");
    }

    let mut slow = Wire::connect(at).expect("it listens");
    let request = format!("GET /slow?ms=3000 HTTP/1.1\r\nHost: x\r\nCookie: STICKY={cookie}\r\n\r\n");
    slow.send(request).expect("sent");
    let label = format!("{}:{port}", ips[0]);
    eventually("it is under way", secs(5), || {
        engine.metric("forebay_server_requests_active", &[("server", &label)]) == 1.0
    });
    dns.set(&[(NAME, &ips[1..])]);
    expect_servers(&engine, &ips[1..], port);
    // The page knows it a moment before the workers do.
    eventually("the other one serves it", secs(10), || bound.get("/").expect("served").server() == "b");
    for _ in 0..6 {
        assert_eq!(bound.get("/").expect("served").server(), "b", "nothing new for the one that is gone");
    }
    let head = slow.head().expect("its answer");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("X-Demo-Server: a"), "{head}");
    assert_eq!(engine.metric("forebay_server_cuts_total", &[]), 0.0, "it ended by itself");
}

//= test NAME-LOST-03
#[test]
fn a_name_that_is_lost_keeps_its_addresses_over_an_upgrade() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let mut dns = Dnsmasq::start(&lab, lab.address(), &[(NAME, &ips[..1])]);
    let at = lab.address();
    let mut engine = engine(&lab, dns.at, "ttl_min_s = 1", &web(at, "", &[format!("{NAME}:{port}")]));
    dns.process.kill();
    let mut olds = Vec::new();
    // Twice: what was inherited is handed on as well.
    for _ in 0..2 {
        olds.push(engine.upgrade(&Options::default()));
        for _ in 0..3 {
            let answer = Client::new(at).get_once("/").expect("served");
            assert_eq!((answer.status, answer.server()), (200, "a"), "the last that was known");
        }
        eventually("the new process has asked for itself", secs(40), || {
            engine.metric("forebay_server_names", &[("state", "lost")]) == 1.0
        });
        expect_servers(&engine, &ips[..1], port);
    }
    let _dns = Dnsmasq::start(&lab, dns.at, &[(NAME, &ips[1..])]);
    expect_servers(&engine, &ips[1..], port);
    eventually("the other one serves", secs(10), || {
        Client::new(at).get_once("/").expect("served").server() == "b"
    });
}

//= test NAME-LOST-01
#[test]
fn a_name_that_is_lost_keeps_its_addresses_until_it_is_back() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let mut dns = Dnsmasq::start(&lab, lab.address(), &[(NAME, &ips[..1])]);
    let at = lab.address();
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &web(at, "", &[format!("{NAME}:{port}")]));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    dns.process.kill();
    let state = |word: &str| engine.metric("forebay_server_names", &[("state", word)]);
    eventually("it is lost", secs(20), || state("lost") == 1.0);
    let failed = || engine.metric("forebay_server_name_lookups_total", &[("result", "failed")]);
    let before = failed();
    eventually("it is tried again", secs(20), || failed() > before);
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    expect_servers(&engine, &ips[..1], port);
    let _dns = Dnsmasq::start(&lab, dns.at, &[(NAME, &ips[1..])]);
    expect_servers(&engine, &ips[1..], port);
    eventually("it is resolved", secs(10), || state("resolved") == 1.0);
    eventually("the other one serves", secs(10), || {
        Client::new(at).get_once("/").expect("served").server() == "b"
    });
    let lost = log_has(&engine, "NAME_LOST");
    assert!(lost > 0 && (lost as f64) < failed(), "said once, however often it is tried");
    assert!(log_has(&engine, "NAME_BACK") > 0);
}

//= test NAME-START-01
//= test NAME-LOST-02
#[test]
fn an_engine_starts_although_a_name_cannot_be_resolved_and_says_so_until_it_can() {
    let lab = Lab::new();
    let (ips, port) = same_port::<1>(&lab);
    let [_a] = demos(&lab, ["a"], ips, port);
    let (dns, at) = (lab.address(), lab.address());
    let name = format!("{NAME}:{port}");
    let keys = "fail_action = { action = \"local_response\", status = 503 }";
    let engine = engine(&lab, dns, "ttl_min_s = 1", &web(at, keys, std::slice::from_ref(&name)));
    assert_eq!(Client::new(at).get_once("/").expect("an answer").status, 503);
    assert_eq!(engine.metric("forebay_server_names", &[("state", "unresolved")]), 1.0);
    eventually("the reason is known", secs(20), || {
        let said = engine.ask(&["servers"]);
        said.contains(&name) && said.contains("down") && said.contains("name not resolved: ")
    });
    assert!(engine.ask(&["status"]).contains("name not resolved"), "{}", engine.ask(&["status"]));
    let page = Client::new(engine.metrics).get_once("/").expect("the status page").text();
    assert!(page.contains(&name) && page.contains("name not resolved"), "{page}");
    let _dns = Dnsmasq::start(&lab, dns, &[(NAME, &ips)]);
    expect_servers(&engine, &ips, port);
    eventually("it serves", secs(10), || Client::new(at).get_once("/").expect("an answer").status == 200);
    assert!(engine.ask(&["servers"]).contains(&format!("{}:{port} ({name})", ips[0])));
}

//= test NAME-LOST-01
#[test]
fn whatever_a_name_server_says_the_last_good_addresses_count() {
    let lab = Lab::new();
    let (ips, port) = same_port::<3>(&lab);
    let [_a, _b, _c] = demos(&lab, ["a", "b", "c"], ips, port);
    let dns = NameServer::start(lab.address(), Reply::Addresses(vec![ips[0]], 0));
    let bad = [
        Reply::Code(2),
        Reply::Code(3),
        Reply::Empty,
        Reply::Garbage,
        Reply::WrongId(ips[2]),
        Reply::Cut(ips[2]),
        Reply::Loop,
        Reply::Silence,
    ];
    // A service, a pool and a name for each.
    let all: Vec<(SocketAddr, String)> =
        (0..bad.len()).map(|n| (lab.address(), format!("case{n}.internal"))).collect();
    let text: String = all
        .iter()
        .map(|(at, name)| {
            web(*at, "", &[format!("{name}:{port}")]).replace("\"web\"", &format!("\"{name}\""))
        })
        .collect();
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &text);
    expect_servers(&engine, &[ips[0]; 8], port);
    for ((_, name), reply) in all.iter().zip(bad) {
        dns.say_of(name, Some(reply));
    }
    let state = |word: &str| engine.metric("forebay_server_names", &[("state", word)]);
    eventually("all are lost", secs(60), || state("lost") == 8.0);
    expect_servers(&engine, &[ips[0]; 8], port);
    for (at, name) in &all {
        assert_eq!(Client::new(*at).get_once("/").expect("served").server(), "a", "{name}");
    }
    dns.say(Reply::Addresses(vec![ips[1]], 0));
    for (_, name) in &all {
        dns.say_of(name, None);
    }
    expect_servers(&engine, &[ips[1]; 8], port);
}

//= test NAME-TTL-01
#[test]
fn a_ttl_of_nothing_asks_no_oftener_than_the_floor_and_an_endless_one_as_often_as_the_ceiling() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let dns = NameServer::start(lab.address(), Reply::Addresses(vec![ips[0]], 0));
    let text = |at| web(at, "", &[format!("{NAME}:{port}")]);
    let began = Instant::now();
    let first = engine(&lab, dns.at, "ttl_min_s = 2", &text(lab.address()));
    let lookups = || first.metric("forebay_server_name_lookups_total", &[("result", "answered")]);
    eventually("it was looked up four times", secs(30), || lookups() >= 4.0);
    assert!(began.elapsed() >= secs(6), "three times two seconds lie between: {:?}", began.elapsed());
    drop(first);
    dns.say(Reply::Addresses(vec![ips[0]], u32::MAX >> 1));
    let engine = engine(&lab, dns.at, "ttl_min_s = 1, ttl_max_s = 1", &text(lab.address()));
    expect_servers(&engine, &ips[..1], port);
    dns.say(Reply::Addresses(vec![ips[1]], u32::MAX >> 1));
    expect_servers(&engine, &ips[1..], port);
}

//= test NAME-TTL-01
#[test]
fn the_family_and_the_name_servers_are_those_of_the_configuration_that_was_loaded_last() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let one = NameServer::start(lab.address(), Reply::Both(ips[0], Ipv6Addr::LOCALHOST));
    let other = NameServer::start(lab.address(), Reply::Both(ips[1], Ipv6Addr::LOCALHOST));
    let at = lab.address();
    // Long enough that nobody asks again by himself.
    let engine = engine(&lab, one.at, "ttl_min_s = 600", &web(at, "", &[format!("{NAME}:{port}")]));
    expect_servers(&engine, &ips[..1], port);
    let document = std::fs::read_to_string(&engine.config).expect("its file");
    let load = |change: &dyn Fn(String) -> String| {
        std::fs::write(&engine.config, change(document.clone())).expect("its file");
        let answer = engine.reload();
        assert_eq!(answer["data"]["outcome"], "loaded", "{answer}");
    };
    let expect = |want: &[String]| {
        let mut want = want.to_vec();
        want.sort();
        eventually(&format!("the servers are {want:?}"), secs(20), || {
            let mut have = servers(&engine);
            have.sort();
            have == want
        });
    };
    let (v4, v6) = (format!("{}:{port}", ips[0]), format!("[::1]:{port}"));
    load(&|text| text.replace("ttl_min_s", "family = \"ipv6_first\", ttl_min_s"));
    expect(std::slice::from_ref(&v6));
    load(&|text| text.replace("ttl_min_s", "family = \"both\", ttl_min_s"));
    expect(&[v4, v6]);
    load(&|text| text.replace(&one.at.to_string(), &other.at.to_string()));
    expect_servers(&engine, &ips[1..], port);
    eventually("the other one serves", secs(10), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "b")
    });
}

//= test NAME-TTL-01
#[test]
fn a_hosts_file_that_has_changed_is_followed_also_where_there_is_no_name_server() {
    let lab = Lab::new();
    let (ips, port) = same_port::<2>(&lab);
    let [_a, _b] = demos(&lab, ["a", "b"], ips, port);
    let (hosts, none) = (lab.folder().join("hosts"), lab.folder().join("resolv.conf"));
    let put = |ip: Ipv4Addr, more: &str| {
        std::fs::write(&hosts, format!("{ip} {NAME}\n{more}")).expect("the lab's folder");
    };
    put(ips[0], "");
    std::fs::write(&none, "").expect("the lab's folder");
    // A namespace of mounts in which the system's two files are ours.
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec \"$@\"",
        hosts.display(),
        none.display()
    );
    let under = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    let possible = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "mount", "--bind"])
        .args([&none, std::path::Path::new("/etc/resolv.conf")])
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        forebay_e2e::skip("this machine gives nobody a namespace of mounts");
        return;
    }
    let at = lab.address();
    let under = under.map(str::to_owned).to_vec();
    let options = Options { under, ..Options::default() };
    let engine = lab.engine_with(&web(at, "", &[format!("{NAME}:{port}")]), options);
    expect_servers(&engine, &ips[..1], port);
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    put(ips[1], "# another size\n");
    expect_servers(&engine, &ips[1..], port);
    eventually("the other one serves", secs(10), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "b")
    });
}

//= test NAME-BOUND-01
#[test]
fn of_a_hundred_addresses_the_first_sixty_four_are_servers() {
    let lab = Lab::new();
    let all: Vec<Ipv4Addr> = (1..=100).rev().map(|n| Ipv4Addr::new(127, 200, 7, n)).collect();
    let dns = Dnsmasq::start(&lab, lab.address(), &[(NAME, &all)]);
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &web(lab.address(), "", &[format!("{NAME}:9")]));
    let first: Vec<Ipv4Addr> = (1..=64).map(|n| Ipv4Addr::new(127, 200, 7, n)).collect();
    expect_servers(&engine, &first, 9);
    assert!(engine.process.printed().contains("left_out=36"), "it is said");
}

//= test NAME-RELOAD-01
//= test NAME-SAME-01
#[test]
fn a_reload_asks_for_new_names_alone_and_knows_them_when_it_takes_effect() {
    let lab = Lab::new();
    let (ips, port) = same_port::<1>(&lab);
    let [_a] = demos(&lab, ["a"], ips, port);
    let dns = NameServer::start(lab.address(), Reply::Addresses(ips.to_vec(), 3_600));
    let at = lab.address();
    let names = |names: &[&str]| names.iter().map(|name| format!("{name}:{port}")).collect::<Vec<_>>();
    let engine = engine(&lab, dns.at, "", &web(at, "", &names(&[NAME])));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    let asked = dns.asked(NAME);
    engine.load(&web(at, "algorithm = \"round_robin\"", &names(&[NAME])));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    engine.load(&web(at, "", &names(&["new.internal", NAME])));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a", "it is known at once");
    // Both lead to one address: it is one server, and the second is said.
    expect_servers(&engine, &ips, port);
    assert_eq!(engine.metric("forebay_server_name_addresses_left_out", &[]), 1.0);
    assert_eq!(log_has(&engine, "NAME_ADDRESS_LEFT_OUT"), 1);
    engine.load(&web(at, "", &names(&["new.internal"])));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    assert_eq!(dns.asked(NAME), asked, "it was known, whatever was loaded");
}

//= test NAME-WAIT-01
//= test NAME-RELOAD-01
#[test]
fn no_request_waits_for_a_lookup_that_hangs() {
    let lab = Lab::new();
    let (ips, port) = same_port::<1>(&lab);
    let [_a] = demos(&lab, ["a"], ips, port);
    let dns = NameServer::start(lab.address(), Reply::Addresses(ips.to_vec(), 0));
    let at = lab.address();
    let names = |names: &[&str]| names.iter().map(|name| format!("{name}:{port}")).collect::<Vec<_>>();
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &web(at, "", &names(&[NAME])));
    expect_servers(&engine, &ips, port);
    // Connections of their own, so that every worker gets some.
    let served = || {
        for _ in 0..20 {
            assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
        }
    };
    dns.say(Reply::Silence);
    let failed = || engine.metric("forebay_server_name_lookups_total", &[("result", "failed")]);
    eventually("all are served while a lookup goes on that gets no answer", secs(60), || {
        let (asked, before) = (dns.asked(NAME), failed());
        eventually("a lookup is under way", secs(40), || dns.asked(NAME) > asked);
        served();
        failed() == before
    });
    // What is loaded already goes on while a reload waits for a new name.
    let mut round = 0;
    eventually("all are served while a reload waits", secs(60), || {
        round += 1;
        let new = format!("new{round}.internal");
        engine.write(&web(at, "", &names(&[&new, NAME])));
        std::thread::scope(|scope| {
            let reload = scope.spawn(|| engine.reload());
            eventually("the new name is asked for", secs(10), || dns.asked(&new) > 0);
            served();
            let in_time = !reload.is_finished();
            let answer = reload.join().expect("an answer");
            assert_eq!(answer["data"]["outcome"], "loaded", "{answer}");
            in_time
        })
    });
    served();
}

//= test NAME-TTL-01
#[test]
fn the_hosts_file_comes_first_and_a_monitor_asks_for_the_name() {
    let lab = Lab::new();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let server = free.local_addr().expect("a bound socket has an address");
    drop(free);
    let origin = Origin::answering(server, |_| Some(origin::ok("hi")));
    let dns = NameServer::start(lab.address(), Reply::Code(3));
    let keys = "health_monitors = [\"m\"]";
    let text = web(lab.address(), keys, &[format!("localhost:{}", server.port())]) + &config::monitor("m");
    let engine = engine(&lab, dns.at, "", &text);
    engine.wait_for_server(server, true);
    assert_eq!(dns.asked("localhost"), 0);
    let host = format!("Host: localhost:{}\r\n", server.port());
    assert!(origin.heads().iter().any(|head| head.contains(&host)), "{:?}", origin.heads());
    let events = engine.process.printed();
    assert!(events.contains(&format!("name=\"localhost:{}\"", server.port())), "{events}");
}

//= test OBS-OVERRIDE-01
#[test]
fn a_decision_by_a_host_name_is_one_about_all_servers_that_it_leads_to() {
    let lab = Lab::new();
    let (ips, port) = same_port::<3>(&lab);
    let _demos = demos(&lab, ["a", "b", "c"], ips, port);
    let other = "other.internal";
    let dns = Dnsmasq::start(&lab, lab.address(), &[(NAME, &ips[..2]), (other, &ips[2..])]);
    let at = lab.address();
    let names = [NAME, other].map(|name| format!("{name}:{port}"));
    let engine = engine(&lab, dns.at, "ttl_min_s = 1", &web(at, "algorithm = \"round_robin\"", &names));
    expect_servers(&engine, &ips, port);
    let server = || Client::new(at).get_once("/").expect("served").server().to_owned();
    let said = engine.ask(&["disable", &format!("web/{NAME}")]);
    assert!(said.contains(&format!("web/{NAME}: disabled")), "{said}");
    for _ in 0..8 {
        assert_eq!(server(), "c");
    }
    assert_eq!(log_has(&engine, "SERVER_OVERRIDE"), 2, "one for each server");
    // By its address a server is still one.
    engine.ask(&["enable", &format!("web/{}:{port}", ips[0])]);
    eventually("that one serves again", secs(5), || server() == "a");
    assert!((0..8).all(|_| server() != "b"));
    let said = engine.ask(&["enable", "--reset", &format!("web/{NAME}:{port}")]);
    assert!(said.contains("as the configuration says"), "{said}");
    eventually("and the other one", secs(5), || server() == "b");
    let unknown = engine
        .admin(&serde_json::json!({ "command": "server", "server": "web/apq.internal", "want": "drain" }));
    assert_eq!(unknown["error"]["code"], "not_found", "{unknown}");
    assert!(unknown["error"]["fix"].to_string().contains(NAME), "{unknown}");
}
