//! How a client comes back to its server.

use super::cx::{Cx, Making};
use super::place::Held;
use super::pool::Use;
use super::table::Part;
use super::view::View;

/// The name of what keeps the clients of this pool, if its profile can be carried out there.
pub(super) fn of_pool(cx: &mut Cx<'_>, making: &mut Making, pool: &Held, used: &Use) -> Option<String> {
    let field = "application_persistence_profile_ref";
    let view = pool.view();
    if !view.has(field) {
        return None;
    }
    let uuid = view.refers(field).unwrap_or_default();
    let profile = cx.follow(making, pool, field, "applicationpersistenceprofile", &uuid)?;
    let kind = profile.view().text("persistence_type");
    let by_address =
        matches!(kind, "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS" | "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS");
    let fix = "choose a profile of another type, or leave it out";
    if !used.is_http && !by_address && kind != "PERSISTENCE_TYPE_TLS" {
        making.idle(
            pool,
            field,
            "its service passes bytes on unread, and sees nothing else than addresses",
            fix,
        );
        return None;
    }
    let has_values = view.entries("servers").any(|(_, server)| server.some_text("prst_hdr_val").is_some());
    match kind {
        "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER" if !has_values => {
            let reason = "no server has a prst_hdr_val, so the header never names one";
            making.idle(pool, field, reason, "give the servers their values");
            return None;
        }
        "PERSISTENCE_TYPE_TLS" if !used.all_have_sessions => {
            let reason = "the clients of a service that uses the pool have no TLS sessions";
            making.idle(pool, field, reason, fix);
            return None;
        }
        "PERSISTENCE_TYPE_GSLB_SITE" | "PERSISTENCE_TYPE_APP_DIAMETER" => {
            making.idle(pool, field, "no engine can do what its persistence_type asks for", fix);
            return None;
        }
        _ => {}
    }
    if !cx.has("persistence", &profile.uuid) {
        make(cx, &profile);
    }
    making.needs("persistence", &profile.uuid);
    Some(profile.uuid)
}

fn make(cx: &mut Cx<'_>, profile: &Held) {
    let mut making = Making::new(format!("persistence/{}", profile.uuid), profile);
    let view = profile.view();
    let mut part = Part::named(&profile.uuid);
    part.set(
        "server_down",
        match view.text("server_hm_down_recovery") {
            "HM_DOWN_ABORT_CONNECTION" => "abort_connection",
            "HM_DOWN_CONTINUE_PERSISTENT_SERVER" => "continue_persistent_server",
            _ => "pick_new_server",
        },
    );
    let kind = view.text("persistence_type");
    match kind {
        "PERSISTENCE_TYPE_HTTP_COOKIE" => {
            part.set("type", "http_cookie");
            cookie(cx, &mut making, profile, view.part("http_cookie_persistence_profile"), &mut part);
        }
        "PERSISTENCE_TYPE_APP_COOKIE" => {
            let by = view.part("app_cookie_persistence_profile");
            part.set("type", "app_cookie");
            part.set("cookie_name", by.text("prst_hdr_name"));
            part.set_some("timeout_min", by.int("timeout"));
        }
        "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER" => {
            part.set("type", "custom_header");
            part.set("header", view.part("hdr_persistence_profile").text("prst_hdr_name"));
        }
        "PERSISTENCE_TYPE_TLS" => part.set("type", "tls"),
        _ => {
            let by = view.part("ip_persistence_profile");
            part.set("type", "client_ip");
            part.set_some("timeout_min", by.int("ip_persistent_timeout"));
            if let Some(bits) = by.int("ip_mask") {
                part.set("ipv4_prefix_bits", bits.min(32));
                // A mask of an IPv4 address says nothing of others, unless all clients are to be one.
                let of_ipv6 = kind == "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS" || bits == 0 || bits > 32;
                part.set("ipv6_prefix_bits", if of_ipv6 { bits } else { 128 });
            }
        }
    }
    cx.done(making, part);
}

//= COMPILE-COOKIE-01
fn cookie(cx: &mut Cx<'_>, making: &mut Making, profile: &Held, by: View<'_>, part: &mut Part) {
    let timeout = by.int("timeout").unwrap_or(0);
    part.set_some("cookie_name", by.some_text("cookie_name"));
    part.set("timeout_min", timeout);
    part.set("always_send_cookie", by.is_on("always_send_cookie"));
    part.set("http_only", by.is_on("http_only"));
    let is_kept = by.is_on("is_persistent_cookie");
    if is_kept && timeout == 0 {
        let reason = "a browser keeps a cookie over its end only for a time, and timeout is 0";
        making.idle(
            profile,
            "http_cookie_persistence_profile.is_persistent_cookie",
            reason,
            "set timeout, in minutes",
        );
    }
    part.set("persistent_cookie", is_kept && timeout != 0);
    let mut names = Vec::new();
    for (at, key) in by.entries("key") {
        let path = format!("http_cookie_persistence_profile.key[{at}].aes_key");
        if let Err(problem) = forebay_snapshot::Secret::<32>::parse(key.text("aes_key")) {
            let fix = "put 32 random bytes there, in base64, or leave key out: the Controller makes one";
            making.wrong(profile, &path, problem.to_string(), fix);
            continue;
        }
        // The name stands in every cookie: short, and another one for each profile.
        let id = forebay_snapshot::name_id(&format!("{}/{}", profile.uuid, key.text("name")));
        let name = format!("{id:08x}");
        let sealed = Making::new(format!("cookie_key/{name}"), profile);
        cx.done(sealed, Part::named(&name).with("key", key.text("aes_key").trim()));
        making.needs("cookie_key", &name);
        names.push(name);
    }
    if names.is_empty() && making.problems.is_empty() {
        making.wrong(
            profile,
            "http_cookie_persistence_profile.key",
            "there is no key that cookies could be sealed with",
            "change the profile once more: the Controller makes a key where there is none",
        );
    }
    part.set_list("cookie_keys", names);
}
