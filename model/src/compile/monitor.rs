//! How servers are probed.

use super::cx::{Cx, Making, Section};
use super::place::Held;
use super::table::Part;
use forebay_snapshot::limits::PROBE_REQUEST_BYTES_MAX;

/// The names of the monitors of a pool, those that the engine can do.
pub(super) fn of_pool(cx: &mut Cx<'_>, making: &mut Making, pool: &Held) -> Vec<String> {
    let mut names = Vec::new();
    for (at, uuid) in pool.view().references("health_monitor_refs").into_iter().enumerate() {
        let field = format!("health_monitor_refs[{at}]");
        let Some(monitor) = cx.follow(making, pool, &field, "healthmonitor", &uuid) else { continue };
        if names.contains(&uuid) {
            continue;
        }
        let kind = monitor.view().text("type");
        let Some(word) = word(kind) else {
            let fix = "use a monitor of type TCP, HTTP, HTTPS, UDP or PING";
            making.idle(
                pool,
                &field,
                format!("no engine probes by {kind}: the servers count as up for it"),
                fix,
            );
            continue;
        };
        if !cx.has("health_monitor", &uuid) {
            make(cx, &monitor, word);
        }
        making.needs("health_monitor", &uuid);
        names.push(uuid);
    }
    names
}

/// A monitor that is made by itself; `None`: no engine can do it.
pub(super) fn alone(cx: &mut Cx<'_>, uuid: &str) -> Option<Section> {
    let monitor = cx.get("healthmonitor", uuid)?;
    let word = word(monitor.view().text("type"))?;
    make(cx, &monitor, word);
    cx.made.remove(&format!("health_monitor/{uuid}"))
}

fn word(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "HEALTH_MONITOR_TCP" => "tcp",
        "HEALTH_MONITOR_HTTP" => "http",
        "HEALTH_MONITOR_HTTPS" => "https",
        "HEALTH_MONITOR_UDP" => "udp",
        "HEALTH_MONITOR_PING" => "ping",
        _ => return None,
    })
}

fn make(cx: &mut Cx<'_>, monitor: &Held, word: &str) {
    let mut making = Making::new(format!("health_monitor/{}", monitor.uuid), monitor);
    let view = monitor.view();
    let mut part = Part::named(&monitor.uuid).with("type", word);
    part.set_some("send_interval_s", view.int("send_interval"));
    part.set_some("receive_timeout_s", view.int("receive_timeout"));
    part.set_some("successful_checks", view.int("successful_checks"));
    part.set_some("failed_checks", view.int("failed_checks"));
    if word != "ping" {
        part.set_some("port", view.int("monitor_port").filter(|port| *port != 0));
    }
    match word {
        "tcp" => {
            let by = view.part("tcp_monitor");
            part.set_some("send", by.some_text("tcp_request"));
            part.set_some("expect", by.some_text("tcp_response"));
            part.set_some("maintenance_match", by.some_text("maintenance_response"));
        }
        "udp" => {
            let by = view.part("udp_monitor");
            part.set_some("send", by.some_text("udp_request"));
            part.set_some("expect", by.some_text("udp_response"));
            part.set_some("maintenance_match", by.some_text("maintenance_response"));
        }
        "http" => http(&mut making, monitor, "http_monitor", &mut part),
        "https" => {
            let by = view.part("https_monitor");
            http(&mut making, monitor, "https_monitor", &mut part);
            super::tls::of_monitor(cx, &mut making, monitor, by.part("ssl_attributes"), &mut part);
        }
        _ => {}
    }
    cx.done(making, part);
}

fn http(making: &mut Making, monitor: &Held, of: &str, part: &mut Part) {
    let by = monitor.view().part(of);
    let (request, content) = (by.text("http_request"), by.text("http_request_body"));
    let is_exact = by.is_on("exact_http_request");
    let whole = if is_exact { Some(format!("{request}{content}")) } else { with_content(request, content) };
    let is_long = whole.as_ref().is_some_and(|whole| whole.len() > PROBE_REQUEST_BYTES_MAX);
    // Whoever wrote so much before it was sent had services: they stay.
    //= COMPILE-PROBE-01
    if !content.is_empty() && (whole.is_none() || is_long) {
        let most =
            format!("an engine's probe has {PROBE_REQUEST_BYTES_MAX} bytes at most, its content included");
        let (reason, fix) = match is_long {
            true => (most.as_str(), "shorten it: probes go without content until then"),
            false => (
                "with content a request is sent as it stands, and one of HTTP/1.1 has to name its host",
                "write a line Host: … into http_request, or HTTP/1.0",
            ),
        };
        making.idle(monitor, &format!("{of}.http_request_body"), reason, fix);
    }
    match whole.filter(|_| !content.is_empty() && !is_long) {
        Some(whole) => {
            part.set("request", whole);
            part.set("exact_request", true);
        }
        None => {
            part.set("request", request);
            part.set_if("exact_request", is_exact);
        }
    }
    let statuses = by.texts("http_response_code").map(|code| match code {
        "HTTP_1XX" => "1xx",
        "HTTP_2XX" => "2xx",
        "HTTP_3XX" => "3xx",
        "HTTP_4XX" => "4xx",
        "HTTP_5XX" => "5xx",
        _ => "100-599",
    });
    part.set_list("statuses", statuses);
    part.set_some("body_match", by.some_text("http_response"));
    part.set_list("maintenance_codes", by.ints("maintenance_code"));
    part.set_some("maintenance_match", by.some_text("maintenance_response"));
}

/// A request with content, whole: what the engine adds to one by itself would stand behind the content. `None`: a host has to
/// be named, which is another one for each server.
fn with_content(request: &str, content: &str) -> Option<String> {
    let mut lines = request.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut head = lines.next().unwrap_or("GET /").to_owned();
    if !head.contains(" HTTP/") {
        head.push_str(" HTTP/1.0");
    }
    let fields: Vec<&str> = lines.collect();
    let has = |name: &str| {
        let named =
            |line: &&str| line.split(':').next().is_some_and(|own| own.trim().eq_ignore_ascii_case(name));
        fields.iter().any(named)
    };
    if head.ends_with("/1.1") && !has("Host") {
        return None;
    }
    let own = [("Connection", "close".to_owned()), ("Content-Length", content.len().to_string())];
    for line in &fields {
        head.push_str("\r\n");
        head.push_str(line);
    }
    for (name, value) in own.iter().filter(|(name, _)| !has(name)) {
        head.push_str(&format!("\r\n{name}: {value}"));
    }
    Some(format!("{head}\r\n\r\n{content}"))
}
