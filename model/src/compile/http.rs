//! How a service speaks HTTP.

use super::cx::{Cx, Making};
use super::l4;
use super::service::Listener;
use super::table::Part;

/// The longest step of a request, milliseconds: an hour.
const STEP_MS_MAX: i64 = 3_600_000;
/// Bytes of a KB in limits of sizes.
const KB: i64 = 1024;
/// The most header lines of a head.
const FIELDS_MAX: i64 = 1024;
/// Bytes of a request's first line, unless a head is shorter.
const REQUEST_LINE_BYTES: i64 = 8192;

/// Makes the profile of a service; its name is the service's. `answer_ms`: how long a server may take, where its pool says so.
pub(super) fn profile(cx: &mut Cx<'_>, from: &mut Making, listener: &Listener, answer_ms: Option<i64>) {
    let by = listener.application.view().part("http_profile");
    let making = Making::new(format!("http_profile/{}", listener.name), &listener.application);
    let step = |name: &str| match by.int(name).unwrap_or(0) {
        0 => STEP_MS_MAX,
        ms => ms.min(STEP_MS_MAX),
    };
    let mut part = Part::named(&listener.name);
    part.set("idle_timeout_ms", step("keepalive_timeout"));
    part.set("header_timeout_ms", step("client_header_timeout"));
    part.set("body_timeout_ms", step("client_body_timeout"));
    part.set_some("response_timeout_ms", answer_ms.map(|ms| ms.min(STEP_MS_MAX)));
    part.set_some("requests_per_connection_max", by.int("max_keepalive_requests"));
    let head = by.int("client_max_request_size").unwrap_or(48) * KB;
    part.set("head_bytes_max", head);
    part.set("field_bytes_max", (by.int("client_max_header_size").unwrap_or(12) * KB).min(head));
    part.set("request_line_bytes_max", REQUEST_LINE_BYTES.min(head));
    let fields = by.int("max_header_count").filter(|count| *count != 0).unwrap_or(FIELDS_MAX);
    part.set("fields_max", fields.clamp(8, FIELDS_MAX));
    let body = by.int("client_max_body_size").unwrap_or(0);
    part.set("body_bytes_max", body.saturating_mul(KB));
    let upgrades = by.is_on("websockets_enabled");
    part.set("websockets", upgrades);
    if upgrades {
        part.set("upgraded_idle_timeout_ms", l4::idle_ms(&listener.network));
    }
    part.set(
        "x_forwarded_for",
        match by.text("xff_update") {
            _ if !by.is_on("xff_enabled") => "keep",
            "REPLACE_XFF_HEADERS" => "replace",
            _ => "append",
        },
    );
    part.set("x_forwarded_proto", by.is_on("x_forwarded_proto_enabled"));
    if listener.is_secured && by.is_on("hsts_enabled") {
        part.set("hsts_enabled", true);
        part.set_some("hsts_max_age_days", by.int("hsts_max_age"));
        part.set("hsts_subdomains_enabled", by.is_on("hsts_subdomains_enabled"));
    }
    if listener.has_http2 {
        part.set("http2", true);
        part.set_some("http2_initial_window_kib", by.part("http2_profile").int("http2_initial_window_size"));
    }
    cx.done(making, part);
    from.needs("http_profile", &listener.name);
}
