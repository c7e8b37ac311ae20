//! Asking a running engine: `status`, `servers`, `persistence`, `explain`.

use std::process::Command;

use forebay_e2e::{Client, Scene, bin, config};
use serde_json::Value;

fn scene(kind: &str, keys: &str) -> Scene {
    let profile = config::persistence("p", kind, keys);
    Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile)
}

fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    let text = scene.engine.ask(&all);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn status_and_servers_name_what_runs() {
    let scene = scene("client_ip", "");
    for text in [scene.engine.ask(&["status"]), json(&scene, &["status"]).to_string()] {
        assert!(text.contains("web"), "{text}");
    }
    assert!(scene.engine.ask(&["status"]).lines().count() <= 24, "it fits a screen");
    for text in [scene.engine.ask(&["servers"]), json(&scene, &["servers"]).to_string()] {
        for server in &scene.servers {
            assert!(text.contains(&server.address.port().to_string()), "{text}");
        }
    }
}

#[test]
fn persistence_shows_who_is_bound_where_by_client_and_by_server() {
    let scene = scene("client_ip", "");
    let homes: Vec<(String, String)> = (1..=6)
        .map(|n| {
            let ip = scene.lab.client_ip(n);
            let answer = scene.client().from(ip).get_once("/").unwrap();
            let home = scene.servers.iter().find(|s| s.name == answer.server()).unwrap();
            (ip.to_string(), home.address.to_string())
        })
        .collect();
    let (client, home) = &homes[0];
    let one = json(&scene, &["persistence", "--client", client]).to_string();
    assert!(one.contains(client) && one.contains(home), "{one}");
    assert!(!one.contains(&homes[1].0), "only this client: {one}");
    let of_server = json(&scene, &["persistence", "--server", home]).to_string();
    for (client, server) in &homes {
        assert_eq!(of_server.contains(&format!("\"{client}\"")), server == home, "{client} in {of_server}");
    }
}

#[test]
fn persistence_finds_a_session_by_its_cookie() {
    let scene = scene("app_cookie", "cookie_name = \"JSESSIONID\"");
    let answer = scene.client().get_once("/login").unwrap();
    let id = answer.cookie("JSESSIONID").unwrap().to_owned();
    let home = scene.servers.iter().find(|s| s.name == answer.server()).unwrap().address.to_string();
    let found = json(&scene, &["persistence", "--cookie", &id]).to_string();
    assert!(found.contains(&home), "{found}");
    let nobody = json(&scene, &["persistence", "--cookie", "nobody"]).to_string();
    assert!(!nobody.contains(&home), "{nobody}");
}

#[test]
fn explain_names_the_server_that_the_request_then_gets() {
    let scene = scene("http_cookie", "cookie_name = \"STICKY\"");
    for _ in 0..6 {
        let answer = scene.client().get_once("/").unwrap();
        let cookie = format!("Cookie: STICKY={}", answer.cookie("STICKY").unwrap());
        let home = scene.servers.iter().find(|s| s.name == answer.server()).unwrap().address.to_string();
        let url = format!("http://{}/", scene.at);
        let explained = json(&scene, &["explain", &url, "--header", &cookie]).to_string();
        assert!(explained.contains(&home), "{home} in {explained}");
        let words = scene.engine.ask(&["explain", &url, "--header", &cookie]);
        assert!(words.contains(&home), "{home} in {words}");
    }
}

#[test]
fn explain_says_what_is_wrong_with_a_method() {
    let scene = scene("http_cookie", "cookie_name = \"STICKY\"");
    let mut command = Command::new(bin::path("forebay-se"));
    let url = format!("http://{}/", scene.at);
    let socket = scene.engine.config.with_extension("sock");
    command.args(["explain", &url, "--method", "B AD", "--socket"]).arg(socket);
    let done = command.output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && error.contains("\"B AD\" is no method"), "{error}");
}

#[test]
fn an_engine_that_is_not_there_is_said_with_its_own_exit_code() {
    let mut command = Command::new(bin::path("forebay-se"));
    let done = command
        .args(["status", "--socket", "nowhere.sock"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&done.stderr).contains("nowhere.sock"));
}

#[test]
fn the_status_page_says_why_servers_are_down_and_how_many_requests_found_none() {
    let pool = "health_monitors = [\"m\"]";
    let mut scene = Scene::new(pool, &config::monitor("m"));
    for server in &mut scene.servers {
        server.process.kill();
        scene.engine.wait_for_server(server.address, false);
    }
    for _ in 0..3 {
        // The pool closes the connection, which no count of 5xx shows.
        assert!(scene.client().get_once("/").is_err());
    }
    let page = Client::new(scene.engine.metrics).get_once("/").unwrap().text();
    assert!(page.contains("found no server: 3 requests"), "{page}");
    assert_eq!(page.matches("monitor m: no connection: connection refused").count(), 3, "{page}");
    assert!(page.contains("color-scheme:light dark"), "links and scroll bars follow the theme: {page}");
}
