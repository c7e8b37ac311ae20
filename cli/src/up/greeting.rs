//! What `up` says once it runs: for people and for programs.

use std::path::Path;

use serde_json::json;

use super::Running;
use super::config::{CHAIN_FILE, Stick};

/// This program, as it was started.
fn own_program() -> String {
    std::env::current_exe().map_or_else(|_| "forebay".to_owned(), |path| path.display().to_string())
}

/// What is typed to end a run, and to remove what it has made; in the folder that was named for it, if one was.
pub fn down(named: Option<&Path>) -> String {
    match named {
        Some(folder) => format!("{} down --data {}", own_program(), folder.display()),
        None => format!("{} down", own_program()),
    }
}

/// For people: addresses, lines to try, what to stop, in few lines.
pub fn text(running: &Running) -> String {
    use std::fmt::Write;
    let folder = running.folder.path().display();
    let mut t = String::new();
    let mut line = |text: String| writeln!(t, "{text}").expect("a String takes all");
    line(format!(
        "Forebay is up: {} engines with {} workers each, {} servers; the first byte came after {} ms.\n",
        running.engines.len(),
        running.plan.workers,
        running.plan.servers.len(),
        running.first_byte.as_millis()
    ));
    line(format!("  {:<8} {:<24} {}", "service", "address", "knows a client by"));
    for s in &running.plan.services {
        line(format!("  {:<8} {:<24} {}", s.name, format!("http://{}", s.address), s.stick.words()));
    }
    let secure = format!("https://{}", running.plan.secure);
    line(format!("  {:<8} {:<24} {}", "https", secure, "the cookie; HTTP/2, with a certificate of its own"));
    if let Some(controller) = &running.controller {
        line(format!(
            "\n  Controller https://{}  user admin, password {}  (kill {})",
            controller.at,
            controller.password,
            controller.process.pid()
        ));
    }
    line("\nTry:".into());
    for s in &running.plan.services {
        line(match s.stick {
            Stick::Cookie => format!("  curl -b {folder}/jar -c {folder}/jar http://{}/", s.address),
            Stick::Address => format!("  curl --interface 127.0.0.7 http://{}/", s.address),
            Stick::Session => format!("  curl -b {folder}/app -c {folder}/app http://{}/login", s.address),
            Stick::None => format!("  curl http://{}/ ; curl http://{}/", s.address, s.address),
        });
    }
    if let Some(controller) = &running.controller {
        let own = own_program();
        line(format!("  {own} login {} --fingerprint {}", controller.at, controller.fingerprint));
        line(format!("  {own} vs list"));
        line(format!(
            "  {own} scaleout {} --wait   # both engines serve then",
            running.plan.services[0].name
        ));
        line(format!("  {own} shell"));
    }
    line(format!("  curl --cacert {folder}/{CHAIN_FILE} https://{}/", running.plan.secure));
    let first = &running.engines[0];
    line(format!("  curl http://{}/metrics", first.seat.metrics));
    line(format!("  tail -f {folder}/se-*/access.log"));
    let (program, socket) = (running.program.display(), first.admin_socket());
    for command in ["objsync verify", "show serviceengine-objsync"] {
        line(format!("  {program} {command} --socket {}", socket.display()));
    }
    line(String::new());
    let engines: Vec<String> = running
        .engines
        .iter()
        .map(|engine| {
            format!("{} at {} (kill {})", engine.seat.name(), engine.seat.sync, engine.process.pid())
        })
        .collect();
    line(format!("  the engines share their tables, stop one: {}", engines.join(", ")));
    for (name, address) in &running.plan.servers {
        match running.demo.iter().find(|(n, _)| n == name) {
            Some((_, process)) => line(format!("  {name} {address} (stop it: kill {})", process.pid())),
            None => line(format!("  {name} {address}")),
        }
    }
    line(format!("\nStatus page: http://{}/", first.seat.metrics));
    let ends = match running.is_background {
        true => "It goes on in the background",
        false => "Ctrl-C stops all of it; only that folder stays",
    };
    line(format!("Data folder: {folder}\n{ends}. End it and remove all of it: {}\n", running.down));
    t
}

/// For programs: one document.
pub fn json(running: &Running) -> serde_json::Value {
    let services: Vec<_> = running
        .plan
        .services
        .iter()
        .map(|s| json!({ "name": s.name, "url": format!("http://{}", s.address), "knows_by": s.stick.words() }))
        .collect();
    let servers: Vec<_> = running
        .plan
        .servers
        .iter()
        .map(|(name, address)| {
            let pid = running.demo.iter().find(|(n, _)| n == name).map(|(_, p)| p.pid());
            json!({ "name": name, "address": address.to_string(), "pid": pid })
        })
        .collect();
    let engines: Vec<_> = running
        .engines
        .iter()
        .map(|engine| {
            json!({
                "name": engine.seat.name(),
                "pid": engine.process.pid(),
                "object_sync": engine.seat.sync.to_string(),
                "admin_socket": engine.admin_socket(),
                "metrics": format!("http://{}/metrics", engine.seat.metrics),
                "status_page": format!("http://{}/", engine.seat.metrics),
            })
        })
        .collect();
    let controller = running.controller.as_ref().map(|controller| {
        json!({
            "url": format!("https://{}", controller.at),
            "user": "admin",
            "password": controller.password,
            "fingerprint": controller.fingerprint,
            "pid": controller.process.pid(),
            "engines": controller.door.to_string(),
        })
    });
    json!({
        "ready": true,
        "pid": std::process::id(),
        "down": running.down,
        "controller": controller,
        "data": running.folder.path(),
        "engines": engines,
        "workers": running.plan.workers,
        "services": services,
        "servers": servers,
        "https": format!("https://{}", running.plan.secure),
        "certificate": running.folder.path().join(CHAIN_FILE),
        "first_byte_ms": running.first_byte.as_millis() as u64,
        "notes": running.notes,
    })
}
