//! What `explain` says just before a request, and what became of the request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::Value;

use crate::rig::{COOKIE_KEY, Engine, address, eventually, secs, service, through};

/// Asks of all sorts.
const REQUESTS: usize = 240;

/// A server that starts a session where the path is `/app/login`: the session's name is the query.
fn server() -> SocketAddr {
    let listener = TcpListener::bind(address()).expect("the address is free");
    let at = listener.local_addr().expect("it is bound");
    // It ends with the test's process.
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = Vec::new();
            let mut piece = [0; 1024];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let target = head.split(' ').nth(1).unwrap_or_default();
            let session = match target.strip_prefix("/app/login?") {
                Some(name) => format!("Set-Cookie: SID={name}; Path=/\r\n"),
                None => String::new(),
            };
            // The engine may have given up.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{session}Connection: close\r\n\r\nok"
            );
        }
    });
    at
}

/// A pool of three servers with these keys; `of` gives each server's own.
fn pool(name: &str, keys: &str, of: [&str; 3]) -> String {
    let mut text = format!(
        "[[pool]]\nname = \"{name}\"\nalgorithm = \"consistent_hash\"\nconnection_ramp_min = 0\n{keys}\n"
    );
    for own in of {
        text += &format!("[[pool.server]]\naddress = \"{}\"\n{own}\n", server());
    }
    text
}

fn document(listen: SocketAddr) -> String {
    let route = |name: &str, also: &str| {
        format!(
            "[[virtual_service.rules]]\nname = \"{name}\"\n\
             when = {{ path = {{ begins_with = [\"/{name}/\"] }} }}\nthen = [{{ pool = \"{name}\" }}{also}]\n"
        )
    };
    let persistence =
        |name: &str, rest: &str| format!("[[persistence]]\nname = \"{name}\"\ntype = \"{name}\"\n{rest}\n");
    format!(
        "{COOKIE_KEY}[[http_profile]]\nname = \"default\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [[virtual_service]]\nname = \"web\"\nlisten = [\"{listen}\"]\npool_group = \"g\"\n"
    ) + &route("second", "")
        + &route("app", "")
        + &route("ip", "")
        + &route("fixed", "")
        + &route("shard", "")
        + &route("custom", ", { hash_by = { header = \"x-key\" } }")
        + &route("leaving", "")
        + "[[virtual_service.rules]]\nname = \"no\"\nwhen = { path = { begins_with = [\"/no/\"] } }\n\
           then = [{ respond = { status = 403 } }]\n"
        + "[[pool_group]]\nname = \"g\"\n[[pool_group.member]]\npool = \"first\"\npriority = 10\n\
           [[pool_group.member]]\npool = \"second\"\npriority = 5\n"
        + &pool("first", "persistence = \"http_cookie\"", [""; 3])
        + &pool("second", "persistence = \"http_cookie\"", [""; 3])
        + &pool("app", "persistence = \"app_cookie\"", [""; 3])
        + &pool("ip", "persistence = \"client_ip\"", [""; 3])
        + &pool(
            "fixed",
            "persistence = \"custom_header\"",
            ["header_value = \"red\"", "header_value = \"green\"", "header_value = \"blue\""],
        )
        + &pool("shard", "hash_by = \"custom_header\"\nhash_header = \"X-Shard\"", [""; 3])
        + &pool("custom", "hash_by = \"custom_string\"", [""; 3])
        + &pool(
            "leaving",
            "persistence = \"http_cookie\"\nserver_disable = \"allow_persistent\"",
            ["enabled = false", "", ""],
        )
        + &persistence("http_cookie", "")
        + &persistence("app_cookie", "cookie_name = \"SID\"")
        + &persistence("client_ip", "")
        + &persistence("custom_header", "header = \"X-Server\"")
}

//= test OBS-EXPLAIN-01
#[test]
fn explain_says_before_each_request_which_pool_and_server_it_gets_and_why() {
    let listen = address();
    let engine = Engine::start("", &document(listen));
    let mut seed = 0x9e37_79b9_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut cookies: Vec<String> = vec!["SID=foreign".into()];
    let (mut bound_below, mut kinds) = (0, std::collections::BTreeMap::<String, usize>::new());
    for n in 0..REQUESTS {
        let path = match random(10) {
            0 | 1 => "/".to_owned(),
            2 => "/second/x".to_owned(),
            3 => format!("/app/login?s{}", random(6)),
            4 => format!("/app/page;sid=s{}", random(6)),
            5 => "/ip/x".to_owned(),
            6 => "/fixed/x".to_owned(),
            7 => "/shard/x".to_owned(),
            8 => "/custom/x".to_owned(),
            _ if random(4) == 0 => "/no/x".to_owned(),
            _ => "/leaving/x".to_owned(),
        };
        let mark = format!("m{n}");
        let mut headers =
            vec![format!("User-Agent: {mark}"), format!("X-Forwarded-For: 192.0.2.{}", random(9))];
        let some =
            |headers: &mut Vec<String>, name: &str, values: &[&str], random: &mut dyn FnMut(u64) -> u64| {
                if random(4) > 0 {
                    headers.push(format!("{name}: {}", values[random(values.len() as u64) as usize]));
                }
            };
        some(&mut headers, "X-Server", &["red", "green", "blue", "grey"], &mut random);
        some(&mut headers, "X-Shard", &["a", "b", "c", "d", "e"], &mut random);
        some(&mut headers, "x-key", &["k1", "k2", "k3", "k4", "k5"], &mut random);
        if random(3) > 0 {
            headers.push(format!("Cookie: {}", cookies[random(cookies.len() as u64) as usize]));
        }
        let mut ask = vec!["explain".to_owned(), path.clone()];
        for header in headers.iter().chain([&"Host: web".to_owned()]) {
            ask.extend(["-H".to_owned(), header.clone()]);
        }
        let ask: Vec<&str> = ask.iter().map(String::as_str).collect();
        let said = engine.json(&ask);

        let lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let answer = through(listen, &path, &lines).expect("an answer");
        for set in answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")) {
            let pair = set.split(';').next().expect("a pair").to_owned();
            if !cookies.contains(&pair) {
                cookies.push(pair);
            }
        }
        let mut line = Value::Null;
        eventually("the request's log line", secs(5), || {
            let log = engine.access_log("access.log");
            let found = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            line = found.into_iter().find(|l| l["user_agent"] == mark.as_str()).unwrap_or_default();
            !line.is_null()
        });
        let what = format!("{path} {headers:?}\nexplain: {said}\nlog: {line}");
        if said["verdict"] == "server" {
            let server =
                format!("{}:{}", line["server_ip"].as_str().unwrap_or_default(), line["server_dest_port"]);
            assert_eq!(said["server"], server, "{what}");
            assert_eq!(said["pool"], line["pool_name"], "{what}");
            assert_eq!(said["reason"], line["reason"], "{what}");
        } else {
            assert_eq!(said["verdict"], format!("answer {} by a rule", line["response_code"]), "{what}");
        }
        bound_below += usize::from(path == "/" && line["pool_name"] == "second");
        *kinds.entry(format!("{} {}", said["pool"], said["reason"]["chosen_by"])).or_default() += 1;
    }
    assert!(bound_below > 0, "some client of the group is bound to its lower pool: {kinds:?}");
    assert!(kinds.len() >= 12, "the requests are of many sorts: {kinds:?}");
}

//= test OBS-EXPLAIN-01
#[test]
fn explain_knows_who_is_under_way_and_who_waits() {
    // Whoever connects is in its queue and gets no answer.
    let silent = TcpListener::bind(address()).expect("the address is free");
    let server = silent.local_addr().expect("it is bound");
    let listen = address();
    let one_and_one =
        "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 1 }\n";
    let engine = Engine::start("", &service("web", listen, one_and_one, &[server]));
    let mut clients = Vec::new();
    for verdict in ["server", "queue", "answer 503 (queue_full)"] {
        let mut said = Value::Null;
        eventually("the requests before are seen", secs(10), || {
            said = engine.json(&["explain", "/"]);
            said["verdict"] == verdict
        });
        let mut client = std::net::TcpStream::connect(listen).expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").expect("sent");
        clients.push(client);
    }
    let mut last = clients.pop().expect("three of them");
    last.set_read_timeout(Some(secs(10))).expect("above zero");
    let mut piece = [0; 512];
    let read = last.read(&mut piece).expect("an answer");
    let refused = String::from_utf8_lossy(&piece[..read]);
    assert!(refused.starts_with("HTTP/1.1 503 "), "as it was said: {refused}");
}
