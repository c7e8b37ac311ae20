//! Persistence, pool groups and rules on real traffic.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use crate::support::{Answer, Engine, Server, eventually, read_answer, read_request};
use forebay_host_uring::config::HealthState;

const KEY: &str = "[[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n";

/// A server that says its name in the body and sets a session cookie on `/login`.
fn named(name: &'static str) -> Server {
    Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while let Some((head, _)) = read_request(&mut stream, &mut rest) {
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            let session = path.strip_prefix("/login/").map_or(String::new(), |session| {
                format!("Set-Cookie: JSESSIONID={session}; Path=/; HttpOnly\r\n")
            });
            let seen = head.contains("STICKY=");
            let content = format!("{name} {path} {seen}");
            let answer =
                format!("HTTP/1.1 200 OK\r\n{session}Content-Length: {}\r\n\r\n{content}", content.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

struct Three {
    servers: [Server; 3],
}

impl Three {
    fn new() -> Three {
        Three { servers: [named("a"), named("b"), named("c")] }
    }

    fn document(&self, pool: &str, more: &str) -> String {
        let servers: String = self
            .servers
            .iter()
            .zip(["one", "two", "three"])
            .map(|(s, value)| {
                let value = match more.contains("type = \"custom_header\"") {
                    true => format!("header_value = \"{value}\"\n"),
                    false => String::new(),
                };
                format!("[[pool.server]]\naddress = \"{}\"\n{value}", s.address)
            })
            .collect();
        format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\nalgorithm = \"round_robin\"\n{pool}\n{servers}{more}"
        )
    }
}

/// One request on a connection of its own, from `from`.
fn ask_from(engine: &Engine, from: IpAddr, path: &str, fields: &str) -> Answer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("bound");
    socket.connect(&engine.addresses[0].into()).expect("connected");
    let mut stream = TcpStream::from(socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    read_answer(&mut stream, &mut Vec::new(), false).expect("an answer")
}

fn ask(engine: &Engine, path: &str, fields: &str) -> Answer {
    ask_from(engine, Ipv4Addr::LOCALHOST.into(), path, fields)
}

fn name(answer: &Answer) -> String {
    answer.text().split(' ').next().unwrap_or("").to_owned()
}

fn cookie(answer: &Answer) -> String {
    let set = answer.field("Set-Cookie").expect("a cookie");
    format!("Cookie: x=y; {}; z=1\r\n", set.split(';').next().expect("a pair"))
}

#[test]
fn without_persistence_all_servers_serve() {
    let three = Three::new();
    let engine = Engine::start(&three.document("", ""), 2);
    let names: BTreeSet<String> = (0..30).map(|_| name(&ask(&engine, "/", ""))).collect();
    assert_eq!(names.len(), 3);
}

//= test SE-PERSIST-03
#[test]
fn a_cookie_keeps_a_client_on_its_server_over_workers_and_is_not_shown_to_servers() {
    let three = Three::new();
    let more = format!(
        "[[persistence]]\nname = \"p\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\nhttp_only = true\n{KEY}"
    );
    let engine = Engine::start(&three.document("persistence = \"p\"", &more), 2);
    for _ in 0..5 {
        let first = ask(&engine, "/", "");
        let set = first.field("Set-Cookie").expect("a cookie").to_owned();
        assert!(set.starts_with("STICKY=k1.") && set.ends_with("; Path=/; HttpOnly"), "{set}");
        let cookie = cookie(&first);
        for _ in 0..20 {
            let next = ask(&engine, "/", &cookie);
            assert_eq!(name(&next), name(&first));
            assert!(next.text().ends_with(" false"), "the server saw our cookie: {}", next.text());
            assert_eq!(next.field("Set-Cookie"), None);
        }
    }
    // Forged, truncated, foreign: as if there were none.
    for forged in ["STICKY=k1.AAAA", "STICKY=", "STICKY=k2.AAAA", "STICKY=..", "STICKY=k1.%%%"] {
        let answer = ask(&engine, "/", &format!("Cookie: {forged}\r\n"));
        assert_eq!(answer.status, 200);
        assert!(answer.field("Set-Cookie").is_some(), "{forged}");
    }
    let mut log = Vec::new();
    eventually("all records", || {
        log.extend(engine.log());
        log.len() == 110
    });
    let hits = log.iter().filter(|r| r["persistence_used"] == true).count();
    assert_eq!(hits, 100);
}

//= test LB-DRAIN-06
#[test]
fn a_server_that_the_file_disables_keeps_its_clients_for_the_grace_from_the_engines_start() {
    let three = Three::new();
    let more =
        format!("[[persistence]]\nname = \"p\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n{KEY}");
    let bound = three.document("persistence = \"p\"", &more);
    let engine = Engine::start(&bound, 1);
    let first = ask(&engine, "/", "");
    let at = ["a", "b", "c"].iter().position(|n| *n == name(&first)).expect("one of them");
    let mark = format!("address = \"{}\"", three.servers[at].address);
    drop(engine);
    for (grace, stays) in [("", true), ("graceful_disable_timeout_min = 0\n", false)] {
        let pool = format!("server_disable = \"allow_persistent\"\n{grace}persistence = \"p\"");
        let disabled = three.document(&pool, &more).replace(&mark, &format!("{mark}\nenabled = false"));
        let engine = Engine::start(&disabled, 2);
        for _ in 0..6 {
            let next = ask(&engine, "/", &cookie(&first));
            assert_eq!(name(&next) == name(&first), stays, "grace {grace:?}");
            assert_ne!(name(&ask(&engine, "/", "")), name(&first), "a new client");
        }
    }
}

//= test OBS-LOG-06
#[test]
fn a_cookie_whose_server_is_down_leads_elsewhere_and_is_replaced() {
    let three = Three::new();
    let more =
        format!("[[persistence]]\nname = \"p\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n{KEY}");
    let engine = Engine::start(&three.document("persistence = \"p\"", &more), 1);
    let first = ask(&engine, "/", "");
    let at = ["a", "b", "c"].iter().position(|n| *n == name(&first)).expect("one of them");
    let pool = &engine.tree.pools[0];
    pool.servers[at].shared.publish(HealthState::Down);
    pool.shared.bump();
    let moved = ask(&engine, "/", &cookie(&first));
    assert_ne!(name(&moved), name(&first));
    pool.servers[at].shared.publish(HealthState::Up);
    pool.shared.bump();
    assert_eq!(name(&ask(&engine, "/", &cookie(&moved))), name(&moved));
    assert!(engine.pools(0, |one| one.persistence.server_down.get()) == 1);
    // Of the three records only that of the move stands out, with the server that it left.
    let mut log = Vec::new();
    eventually("all records", || {
        log.extend(engine.log());
        log.len() == 3
    });
    let flags: Vec<_> = log.iter().map(|r| r["significant"].as_bool()).collect();
    assert_eq!(flags, [Some(false), Some(true), Some(false)], "{log:?}");
    let moved = &log[1];
    assert_eq!(moved["significance"], serde_json::json!(["a persistent client was moved to another server"]));
    let left = three.servers[at].address.to_string();
    assert_eq!(moved["reason"]["bound_server"], left);
    assert_eq!(
        (&moved["reason"]["bound_server_is"], &moved["reason"]["server_down_policy"]),
        (&"down".into(), &"pick_new_server".into())
    );
}

//= test OBS-LOG-06
#[test]
fn a_client_whose_server_left_the_pool_is_moved_and_the_log_says_so() {
    let three = Three::new();
    let more =
        format!("[[persistence]]\nname = \"p\"\ntype = \"http_cookie\"\ncookie_name = \"STICKY\"\n{KEY}");
    let document = three.document("persistence = \"p\"", &more);
    let engine = Engine::start(&document, 1);
    let first = ask(&engine, "/", "");
    let at = ["a", "b", "c"].iter().position(|n| *n == name(&first)).expect("one of them");
    drop(engine);
    let section = format!("[[pool.server]]\naddress = \"{}\"\n", three.servers[at].address);
    assert!(document.contains(&section));
    let engine = Engine::start(&document.replace(&section, ""), 1);
    assert_ne!(name(&ask(&engine, "/", &cookie(&first))), name(&first));
    let mut log = Vec::new();
    eventually("the record", || {
        log.extend(engine.log());
        log.len() == 1
    });
    assert_eq!(
        log[0]["significance"],
        serde_json::json!(["a persistent client was moved to another server"])
    );
    assert_eq!(log[0]["reason"]["key"], "not_a_member");
}

//= test SE-PERSIST-02
#[test]
fn a_session_that_a_server_opened_stays_there_by_cookie_query_and_path() {
    let three = Three::new();
    let more = "[[persistence]]\nname = \"p\"\ntype = \"app_cookie\"\ncookie_name = \"JSESSIONID\"\n";
    let engine = Engine::start(&three.document("persistence = \"p\"", more), 2);
    for n in 0..6 {
        let session = format!("S{n}{}", "x".repeat(n * 10));
        let first = ask(&engine, &format!("/login/{session}"), "");
        for round in 0..6 {
            let next = match round % 3 {
                0 => ask(&engine, "/", &format!("Cookie: JSESSIONID={session}\r\n")),
                1 => ask(&engine, &format!("/a?JSESSIONID={session}&b=c"), ""),
                _ => ask(&engine, &format!("/a;jsessionid={session}"), ""),
            };
            assert_eq!(name(&next), name(&first), "{round}");
        }
    }
    // A session that nobody opened is nobody's.
    let names: BTreeSet<String> =
        (0..30).map(|_| name(&ask(&engine, "/", "Cookie: JSESSIONID=unknown\r\n"))).collect();
    assert_eq!(names.len(), 3);
}

//= test SE-PERSIST-01
#[test]
fn an_address_stays_on_its_server_and_the_countdown_waits_for_its_last_connection() {
    let three = Three::new();
    let more = "[[persistence]]\nname = \"p\"\ntype = \"client_ip\"\ntimeout_min = 1\n";
    let engine = Engine::start(&three.document("persistence = \"p\"", more), 2);
    let mut names = BTreeSet::new();
    for client in 1..=9_u8 {
        let from = IpAddr::from([127, 0, 7, client]);
        let first = name(&ask_from(&engine, from, "/", ""));
        for _ in 0..10 {
            assert_eq!(name(&ask_from(&engine, from, "/", "")), first);
        }
        names.insert(first);
    }
    assert_eq!(names.len(), 3, "different clients, different servers");
    // The table says who holds an entry open.
    let entries = || {
        let mut found = Vec::new();
        for partition in 0..engine.store.partitions() as usize {
            forebay_host_uring::control::Tables::entries(&*engine.store, partition, &mut |entry| {
                found.push(entry);
            });
        }
        found
    };
    eventually("all connections are closed", || entries().iter().all(|e| e.open_connections == 0));
    assert_eq!(entries().len(), 9);
    assert!(entries().iter().all(|e| e.expires_in_s.is_some_and(|s| s <= 60)));
    let mut held = engine.connect();
    held.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    read_answer(&mut held, &mut Vec::new(), false).expect("an answer");
    let own = || entries().into_iter().find(|e| e.key == "127.0.0.1").expect("an entry");
    assert_eq!((own().open_connections, own().expires_in_s), (1, None));
    drop(held);
    eventually("the countdown begins", || own().open_connections == 0 && own().expires_in_s.is_some());
}

#[test]
fn a_header_names_the_server() {
    let three = Three::new();
    let more = "[[persistence]]\nname = \"p\"\ntype = \"custom_header\"\nheader = \"X-Tenant\"\n";
    let engine = Engine::start(&three.document("persistence = \"p\"", more), 1);
    for _ in 0..5 {
        assert_eq!(name(&ask(&engine, "/", "X-Tenant: two\r\n")), "b");
        assert_eq!(name(&ask(&engine, "/", "x-tenant: three\r\n")), "c");
    }
}

#[test]
fn a_consistent_hash_sends_the_same_key_to_the_same_server() {
    let three = Three::new();
    for (by, more) in [("uri", ""), ("custom_header", "hash_header = \"X-Key\""), ("source_ip", "")] {
        let pool = format!("algorithm = \"consistent_hash\"\nhash_by = \"{by}\"\n{more}");
        let document = three.document(&pool, "").replace("algorithm = \"round_robin\"\n", "");
        let engine = Engine::start(&document, 2);
        let mut names = BTreeSet::new();
        for key in 1..=12_u8 {
            let from = IpAddr::from([127, 0, 9, key]);
            let path = if by == "uri" { format!("/{key}?a=b") } else { "/".to_owned() };
            let field = format!("X-Key: {key}\r\n");
            let one = || name(&ask_from(&engine, from, &path, &field));
            let first = one();
            assert!((0..5).all(|_| one() == first), "{by}");
            names.insert(first);
        }
        assert!(names.len() > 1, "{by}: {names:?}");
    }
}

//= test POL-PERSIST-01
#[test]
fn a_rule_gives_the_text_that_a_consistent_hash_takes() {
    let three = Three::new();
    let pool = "algorithm = \"consistent_hash\"\nhash_by = \"custom_string\"";
    let rule = "[[virtual_service.rules]]\nname = \"user\"\nthen = [{ hash_by = { header = \"x-user\" } }]\n[[pool]]";
    let document = three.document(pool, "").replace("algorithm = \"round_robin\"\n", "");
    let engine = Engine::start(&document.replace("[[pool]]", rule), 2);
    let mut names = BTreeSet::new();
    for user in 0..20_u8 {
        let field = format!("X-User: user-{user}\r\n");
        let one = |from: u8| name(&ask_from(&engine, IpAddr::from([127, 0, 11, from]), "/", &field));
        let first = one(1);
        assert!((2..6).all(|from| one(from) == first), "the client's address must not count");
        names.insert(first);
    }
    assert_eq!(names.len(), 3, "{names:?}");
}

//= test SE-RULES-01
#[test]
fn rules_choose_the_pool_edit_rewrite_redirect_answer_and_limit() {
    let (web, api) = (Server::echo("web"), Server::echo("api"));
    let document = format!(
        r#"version = 1
[[virtual_service]]
name = "web"
listen = ["127.0.0.1:1"]
pool = "web"
[[virtual_service.rules]]
name = "api"
when = {{ path = {{ begins_with = ["/api/"] }} }}
then = [{{ pool = "api" }}, {{ replace_prefix = ["/api/", "/v1/"] }}, {{ header = {{ set = ["request", "X-Rule", "api"] }} }}, {{ header = {{ set = ["response", "X-Out", "yes"] }} }}]
[[virtual_service.rules]]
name = "old"
when = {{ path = {{ equals = ["/old"] }} }}
then = [{{ redirect = {{ status = 301, path = "/new" }} }}]
[[virtual_service.rules]]
name = "teapot"
when = {{ path = {{ equals = ["/tea"] }} }}
then = [{{ respond = {{ status = 418, body = "short and stout", content_type = "text/plain" }} }}]
[[virtual_service.rules]]
name = "slow"
when = {{ path = {{ equals = ["/limited"] }} }}
then = [{{ rate_limit = {{ count = 2, period_ms = 3600000, status = 429 }} }}]
[[pool]]
name = "web"
server = [{{ address = "{}" }}]
[[pool]]
name = "api"
server = [{{ address = "{}" }}]
"#,
        web.address, api.address
    );
    let engine = Engine::start(&document, 1);
    assert!(ask(&engine, "/", "").text().starts_with("web\nGET / "));
    let api = ask(&engine, "/api/users?x=1", "");
    assert!(api.text().starts_with("api\nGET /v1/users?x=1 "), "{}", api.text());
    assert!(api.text().contains("X-Rule: api\r\n"));
    assert_eq!(api.field("X-Out"), Some("yes"));
    let old = ask(&engine, "/old", "");
    assert_eq!((old.status, old.field("Location")), (301, Some("http://x/new")));
    let tea = ask(&engine, "/tea", "");
    assert_eq!((tea.status, tea.text().as_str()), (418, "short and stout"));
    assert_eq!(tea.field("Content-Type"), Some("text/plain"));
    let statuses: Vec<u16> = (0..4).map(|_| ask(&engine, "/limited", "").status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn a_pool_group_falls_through_to_the_next_priority() {
    let (first, second) = (named("first"), named("second"));
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool_group = \"g\"\n\
         [[pool_group]]\nname = \"g\"\n[[pool_group.member]]\npool = \"a\"\npriority = 10\n\
         [[pool_group.member]]\npool = \"b\"\npriority = 5\n\
         [[pool]]\nname = \"a\"\nserver = [{{ address = \"{}\" }}]\n\
         [[pool]]\nname = \"b\"\nserver = [{{ address = \"{}\" }}]\n",
        first.address, second.address
    );
    let engine = Engine::start(&document, 1);
    assert_eq!(name(&ask(&engine, "/", "")), "first");
    let pool = &engine.tree.pools[0];
    pool.servers[0].shared.publish(HealthState::Down);
    pool.shared.bump();
    assert_eq!(name(&ask(&engine, "/", "")), "second");
    pool.servers[0].shared.publish(HealthState::Up);
    pool.shared.bump();
    assert_eq!(name(&ask(&engine, "/", "")), "first");
}

//= test LB-GROUP-02
#[test]
fn a_pool_of_ratio_zero_takes_no_new_clients_and_keeps_its_own() {
    let (leaving, staying) = (named("leaving"), named("staying"));
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool_group = \"g\"\n\
         [[pool_group]]\nname = \"g\"\nmember = [{{ pool = \"a\", ratio = 0 }}, {{ pool = \"b\" }}]\n\
         [[persistence]]\nname = \"p\"\ntype = \"custom_header\"\nheader = \"X-To\"\n\
         [[pool]]\nname = \"a\"\npersistence = \"p\"\n\
         server = [{{ address = \"{}\", header_value = \"a\" }}]\n\
         [[pool]]\nname = \"b\"\nserver = [{{ address = \"{}\" }}]\n",
        leaving.address, staying.address
    );
    let engine = Engine::start(&document, 1);
    for _ in 0..6 {
        assert_eq!(name(&ask(&engine, "/", "")), "staying");
        assert_eq!(name(&ask(&engine, "/", "X-To: a\r\n")), "leaving");
    }
    assert_eq!(engine.pools(0, |one| one.persistence.hits.get()), 6);
}

//= test LB-GROUP-03
#[test]
fn a_pool_that_drains_keeps_its_own_clients_in_a_group() {
    let (leaving, staying) = (named("leaving"), named("staying"));
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool_group = \"g\"\n\
         [[pool_group]]\nname = \"g\"\n[[pool_group.member]]\npool = \"a\"\npriority = 10\n\
         [[pool_group.member]]\npool = \"b\"\npriority = 5\n\
         [[persistence]]\nname = \"p\"\ntype = \"custom_header\"\nheader = \"X-To\"\n\
         [[pool]]\nname = \"a\"\npersistence = \"p\"\nserver_disable = \"allow_persistent\"\n\
         graceful_disable_timeout_min = -1\n\
         server = [{{ address = \"{}\", header_value = \"a\", enabled = false }}]\n\
         [[pool]]\nname = \"b\"\nserver = [{{ address = \"{}\" }}]\n",
        leaving.address, staying.address
    );
    let engine = Engine::start(&document, 1);
    for _ in 0..4 {
        assert_eq!(name(&ask(&engine, "/", "X-To: a\r\n")), "leaving", "its own server serves it on");
        assert_eq!(name(&ask(&engine, "/", "")), "staying", "nobody new");
        assert_eq!(name(&ask(&engine, "/", "X-To: b\r\n")), "staying");
    }
    // Down, it serves nobody, and its client goes where the others are.
    engine.tree.pools[0].servers[0].shared.publish(HealthState::Down);
    engine.tree.pools[0].shared.bump();
    assert_eq!(name(&ask(&engine, "/", "X-To: a\r\n")), "staying");
}
