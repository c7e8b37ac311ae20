//! Answers for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::Table;

/// A value as people read it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The items of a list; none of what is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A span, to two units.
pub fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

fn since(unix_s: &Value) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    unix_s.as_u64().map_or("-".to_owned(), |then| seconds(now.saturating_sub(then)))
}

/// A latency bound.
pub fn millis(us: &Value) -> String {
    match us.as_u64() {
        None => "-".to_owned(),
        Some(u64::MAX) => ">60 s".to_owned(),
        Some(us) if us < 1_000 => format!("<{}.{}ms", us / 1_000, us / 100),
        Some(us) => format!("<{}ms", us.div_ceil(1_000)),
    }
}

/// Which process serves after an upgrade.
pub fn upgraded(data: &Value) -> String {
    format!(
        "process {} serves; process {} ends what it has under way within its grace\n",
        data["pid"], data["old_pid"]
    )
}

/// `forebay-se reload`
pub fn reload(data: &Value) -> String {
    let generation = &data["generation"];
    if data["outcome"] == "unchanged" {
        return format!("the configuration is what it was (generation {generation})\n");
    }
    let mut out = format!("the configuration is loaded (generation {generation})\n");
    for (kind, change) in data["changes"].as_object().into_iter().flatten() {
        for word in ["added", "removed"] {
            let names: Vec<String> = list(&change[word]).iter().map(text).collect();
            if !names.is_empty() {
                let _ = writeln!(out, "  {} {word}: {}", kind.replace('_', " "), names.join(", "));
            }
        }
    }
    let late: Vec<String> = list(&data["late_workers"]).iter().map(text).collect();
    if !late.is_empty() {
        let _ = writeln!(out, "  workers that stand still and take it when they go on: {}", late.join(", "));
    }
    out
}

/// `forebay-se drain`, `enable`, `disable`
pub fn decided(data: &Value) -> String {
    let how = match data["override"].as_str() {
        Some(word) => format!("{word}, whatever the configuration says"),
        None if data["enabled"] == true => "enabled, as the configuration says".to_owned(),
        None => "disabled, as the configuration says".to_owned(),
    };
    format!(
        "{}/{}: {how}; {} connections open, {} requests under way\n",
        text(&data["pool"]),
        text(&data["server"]),
        data["connections_open"],
        data["requests_active"]
    )
}

/// `forebay-se status`
pub fn status(data: &Value) -> String {
    let workers = list(&data["workers"]);
    let stuck = workers.iter().filter(|w| w["stuck"] == true).count();
    let panics: u64 = workers.iter().filter_map(|w| w["panics"].as_u64()).sum();
    let sum = |of: &str| -> u64 { workers.iter().filter_map(|w| w[of].as_u64()).sum() };
    let (open, flows) = (sum("connections_open"), sum("flows_open"));
    let mut out = format!(
        "{} {} {}, up {}; {} workers ({stuck} stuck, {panics} panics), {open} of {} client connections, {flows} flows, {} MiB\n",
        text(&data["engine"]),
        text(&data["version"]),
        if data["ready"] == true { "ready" } else { "NOT READY" },
        seconds(data["uptime_s"].as_u64().unwrap_or(0)),
        workers.len(),
        data["connections_max"],
        data["memory_resident_bytes"].as_u64().unwrap_or(0) >> 20,
    );
    let log = &data["access_log"];
    // Writing to a text cannot fail, here and below.
    let _ = write!(
        out,
        "access log: {} written, {} dropped, {} lost",
        log["written"], log["dropped"], log["lost"]
    );
    if let Some(entries) = data["persistence_entries"].as_u64() {
        let _ = write!(out, "; persistence: {entries} of {} entries", data["persistence_entries_max"]);
    }
    out.push_str("\n\n");
    let mut table = Table::new(&[
        "SERVICE",
        "STATE",
        "LISTEN",
        "POOL",
        "SERVERS UP",
        "PERSISTENCE",
        "REQUESTS",
        "5XX",
        "OPEN",
        "P50",
        "P99",
    ]);
    let mut causes = String::new();
    for service in list(&data["virtual_services"]) {
        for (n, pool) in list(&service["pools"]).iter().enumerate() {
            let once = |cell: String| if n == 0 { cell } else { String::new() };
            table.row(vec![
                once(text(&service["name"])),
                once(text(&service["state"])),
                once(list(&service["listen"]).iter().map(text).collect::<Vec<_>>().join(",")),
                text(&pool["name"]),
                format!("{} of {}", pool["servers_up"], pool["servers"]),
                text(&pool["persistence"]),
                once(text(&service["requests"])),
                once(text(&service["responses_5xx"])),
                once(text(&service["connections_open"])),
                once(millis(&service["duration"]["p50_us"])),
                once(millis(&service["duration"]["p99_us"])),
            ]);
            for server in list(&pool["disabled"]) {
                let rest = format!(
                    "{} of pool {} is disabled: {} connections open\n",
                    text(&server["server"]),
                    text(&pool["name"]),
                    server["connections_open"],
                );
                if !causes.contains(&rest) {
                    causes.push_str(&rest);
                }
            }
            for server in list(&pool["not_up"]) {
                let cause = format!(
                    "{} of pool {} is {}: {}\n",
                    text(&server["server"]),
                    text(&pool["name"]),
                    text(&server["state"]),
                    text(&server["why"])
                );
                // Two services may share a pool.
                if !causes.contains(&cause) {
                    causes.push_str(&cause);
                }
            }
        }
    }
    out.push_str(&table.render());
    if !causes.is_empty() {
        let _ = write!(out, "\n{causes}more: forebay-se servers\n");
    }
    out
}

/// `forebay-se servers`
pub fn servers(data: &Value) -> String {
    let mut table = Table::new(&[
        "POOL",
        "SERVER",
        "STATE",
        "FOR",
        "RATIO",
        "OPEN",
        "ACTIVE",
        "CLIENTS",
        "RESPONSES",
        "5XX",
        "FAILURES",
        "P50",
        "P99",
        "WHY",
    ]);
    for server in list(&data["servers"]) {
        let disabled = server["enabled"] == false;
        table.row(vec![
            text(&server["pool"]),
            match server["name"].as_str().filter(|name| server["server"] != *name) {
                Some(name) => format!("{} ({name})", text(&server["server"])),
                None => text(&server["server"]),
            },
            match server["override"].as_str() {
                // By an operator, not by the document.
                Some(word) if disabled => format!("{word}*"),
                Some(_) => format!("{}*", text(&server["state"])),
                None if disabled => "disabled".to_owned(),
                None => text(&server["state"]),
            },
            since(&server["since_unix_s"]),
            text(&server["ratio"]),
            text(&server["connections_open"]),
            text(&server["requests_active"]),
            text(&server["clients_bound"]),
            text(&server["responses"]),
            text(&server["responses_5xx"]),
            text(&server["failures"]),
            millis(&server["response_time"]["p50_us"]),
            millis(&server["response_time"]["p99_us"]),
            text(&server["why"]),
        ]);
    }
    let mut out = table.render();
    if list(&data["servers"]).iter().any(|s| !s["override"].is_null()) {
        out.push_str("\n*: by an operator, whatever the configuration says; enable, drain or disable with --reset ends that\n");
    }
    let by_clients = |s: &Value| s["clients_bound"].is_null() && !s["persistence"].is_null();
    if list(&data["servers"]).iter().any(by_clients) {
        out.push_str("\nCLIENTS -: the clients keep their binding themselves (cookie, header); nobody can count them\n");
    }
    out
}

/// `forebay-se persistence`
pub fn persistence(data: &Value) -> String {
    let mut table =
        Table::new(&["SERVICE", "POOL", "KIND", "SERVER", "OPEN", "IDLE", "EXPIRES IN", "VERSION", "KEY"]);
    let entries = list(&data["entries"]);
    for entry in entries {
        let left = entry["expires_in_s"].as_u64().map_or("not while open".to_owned(), seconds);
        table.row(vec![
            text(&entry["virtual_service"]),
            text(&entry["pool"]),
            text(&entry["kind"]),
            text(&entry["server"]),
            text(&entry["open_connections"]),
            seconds(entry["idle_s"].as_u64().unwrap_or(0)),
            left,
            text(&entry["version"]),
            text(&entry["key"]),
        ]);
    }
    let mut out = if entries.is_empty() { String::new() } else { table.render() };
    let matching = data["matching"].as_u64().unwrap_or(0);
    let _ = writeln!(
        out,
        "{} shown of {matching} matching; {} entries in all, room for {}",
        entries.len(),
        data["total"],
        data["capacity"]
    );
    out
}

/// `forebay-se explain`
pub fn explain(data: &Value) -> String {
    let mut out = match data["server"].as_str() {
        Some(server) => format!(
            "server {server} (service {}, pool {})\n",
            text(&data["virtual_service"]),
            text(&data["pool"])
        ),
        None => {
            format!("no server: {} (service {})\n", text(&data["verdict"]), text(&data["virtual_service"]))
        }
    };
    for (n, step) in list(&data["steps"]).iter().enumerate() {
        let _ = writeln!(out, "  {}. {}", n + 1, text(step));
    }
    if let Some(note) = data["note"].as_str() {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}
