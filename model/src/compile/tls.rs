//! TLS: certificates and keys, versions and ciphers, whom to trust. What other objects hold as texts stands in the document
//! as files of its own, which the engine keeps.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cx::{Cx, Making};
use super::hosting::{self, Child};
use super::place::Held;
use super::pool::Speaks;
use super::service::Listener;
use super::suites;
use super::table::Part;
use super::view::View;

/// The longest life of a session, seconds.
const SESSION_S_MAX: i64 = 604_800;

/// A text that the engine reads as a file; gives what stands for its path.
fn file(cx: &mut Cx<'_>, making: &mut Making, held: &Held, name: &str, content: String) -> String {
    let making_file = Making::new(format!("file/{name}"), held);
    cx.done(making_file, Part::named(name).with("content", content));
    making.needs("file", name);
    format!("inline:{name}")
}

/// A text that ends as a file's last line does.
fn line_ended(text: &str) -> String {
    let mut text = text.trim().to_owned();
    text.push('\n');
    text
}

/// Labels of what PEM holds.
const CERTIFICATE: &str = "CERTIFICATE";
const KEY: &str = "PRIVATE KEY";
const NO_PEM: &str = "it is no PEM, and an engine that got it would take nothing new";

/// Says whether a text has a block of PEM whose label ends so, and no such block that cannot be read.
//= COMPILE-PEM-01
fn is_pem(text: &str, label: &str) -> bool {
    let blocks = text.split("-----BEGIN ").skip(1).filter_map(|block| block.split_once("-----"));
    let mut blocks = blocks.filter(|(name, _)| name.ends_with(label)).peekable();
    let is_read = |rest: &str| {
        let content =
            rest.split_once("-----END ").map(|(content, _)| content.split_whitespace().collect::<String>());
        content.is_some_and(|content| STANDARD.decode(content).is_ok())
    };
    blocks.peek().is_some() && blocks.all(|(_, rest)| is_read(rest))
}

/// A text that may be written in base64 once more.
fn plain<'t>(making: &mut Making, held: &Held, path: &str, text: &'t str, is_base64: bool) -> Cow<'t, str> {
    if !is_base64 || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let folded: String = text.split_whitespace().collect();
    match STANDARD.decode(folded).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Cow::Owned(text),
        None => {
            let reason = "it is said to be in base64, and is not";
            making.wrong(held, path, reason, "import it as PEM, or PEM in base64");
            Cow::Borrowed("")
        }
    }
}

/// What the ports of a service show their clients; says whether these get sessions.
pub(super) fn of_service(
    cx: &mut Cx<'_>,
    making: &mut Making,
    held: &Held,
    (listener, children): (&Listener, &[Child]),
    part: &mut Part,
) -> bool {
    let view = held.view();
    let mut names = Vec::new();
    let named = view.references("ssl_key_and_certificate_refs");
    for (at, uuid) in named.iter().enumerate() {
        let field = format!("ssl_key_and_certificate_refs[{at}]");
        let Some(pair) = cx.follow(making, held, &field, "sslkeyandcertificate", uuid) else { continue };
        if !names.contains(uuid) {
            names.extend(certificate(cx, making, &pair));
        }
    }
    if named.is_empty() {
        match cx.built_in("sslkeyandcertificate", "System-Default-Cert") {
            Some(pair) => names.extend(certificate(cx, making, &pair)),
            None => making.wrong(
                held,
                "ssl_key_and_certificate_refs",
                "its clients speak TLS, and it has no certificate",
                "name one",
            ),
        }
    }
    // The engine shows the one that fits the name that a client asks for.
    for pair in hosting::certificates(cx, children) {
        if !names.contains(&pair.uuid) {
            names.extend(certificate(cx, making, &pair));
        }
    }
    part.set_list("certificates", names);
    let asks = clients(cx, making, listener, part);
    let profile = match view.refers("ssl_profile_ref") {
        Some(uuid) => cx.follow(making, held, "ssl_profile_ref", "sslprofile", &uuid),
        None => cx.built_in("sslprofile", "System-Standard"),
    };
    let Some(profile) = profile else { return false };
    // A server of another protocol than HTTP cannot be told that something came early, and may have come twice.
    let (name, lives) = self::profile(cx, making, &profile, listener.speaks == Speaks::Http && !asks);
    part.set("tls_profile", name);
    lives && !asks
}

/// The uuid of the profile that a service speaks TLS by.
pub(super) fn profile_of(cx: &Cx<'_>, held: &Held) -> Option<String> {
    let named = held.view().refers("ssl_profile_ref");
    named.or_else(|| cx.built_in("sslprofile", "System-Standard").map(|profile| profile.uuid))
}

/// Makes the profile of single hosts of some ports; gives its name, and whether sessions live.
pub(super) fn of_host(cx: &mut Cx<'_>, from: &mut Making, by: &Held, listener: &Listener) -> (String, bool) {
    profile(cx, from, by, listener.speaks == Speaks::Http && !asks(&listener.application))
}

/// Makes a certificate with its key; `None`: it cannot be used, and that is said.
fn certificate(cx: &mut Cx<'_>, from: &mut Making, pair: &Held) -> Option<String> {
    from.needs("certificate", &pair.uuid);
    if cx.has("certificate", &pair.uuid) {
        return Some(pair.uuid.clone());
    }
    let mut making = Making::new(format!("certificate/{}", pair.uuid), pair);
    let view = pair.view();
    let own = view.part("certificate").text("certificate");
    if own.is_empty() {
        making.wrong(pair, "certificate.certificate", "it is not there yet", "import the signed certificate");
    }
    if view.text("format") == "SSL_PKCS12" {
        making.wrong(pair, "format", "no engine reads PKCS 12", "import the certificate and its key as PEM");
    }
    if view.has("hardwaresecuritymodulegroup_ref") {
        let field = "hardwaresecuritymodulegroup_ref";
        making.wrong(pair, field, "no engine asks a security module for its key yet", "use a key of its own");
    } else if view.some_text("key").is_none() {
        making.wrong(pair, "key", "there is no key, and clients are shown none without", "import its key");
    } else if view.some_text("key_passphrase").is_some() || view.text("key").contains("ENCRYPTED") {
        let fix = "import the key without one; it is kept sealed";
        making.wrong(pair, "key_passphrase", "no engine opens a key with a passphrase", fix);
    }
    let own = plain(&mut making, pair, "certificate.certificate", own, view.is_on("certificate_base64"));
    let key = plain(&mut making, pair, "key", view.text("key"), view.is_on("key_base64"));
    if making.problems.is_empty() {
        for (field, text, label) in [("certificate.certificate", &own, CERTIFICATE), ("key", &key, KEY)] {
            if !is_pem(text, label) {
                making.wrong(pair, field, NO_PEM, "import it as PEM");
            }
        }
    }
    let mut chain = line_ended(&own);
    for (at, authority) in view.entries("ca_certs") {
        let Some(uuid) = authority.refers("ca_ref") else { continue };
        let field = format!("ca_certs[{at}].ca_ref");
        if let Some(above) = cx.follow(&mut making, pair, &field, "sslkeyandcertificate", &uuid) {
            let text = above.view().part("certificate").text("certificate");
            if !is_pem(text, CERTIFICATE) {
                making.wrong(pair, &field, NO_PEM, "import the authority's certificate as PEM");
            }
            chain.push_str(&line_ended(text));
        }
    }
    let chain = file(cx, &mut making, pair, &format!("{}/chain", pair.uuid), chain);
    let key = file(cx, &mut making, pair, &format!("{}/key", pair.uuid), line_ended(&key));
    cx.done(making, Part::named(&pair.uuid).with("chain_file", chain).with("key_file", key));
    Some(pair.uuid.clone())
}

/// Makes versions and ciphers; gives their name, and whether sessions live. `early`: whoever uses it may take early data.
fn profile(cx: &mut Cx<'_>, from: &mut Making, held: &Held, early: bool) -> (String, bool) {
    let view = held.view();
    let lives = view.is_on("enable_ssl_session_reuse");
    let seconds = view.int("ssl_session_timeout").unwrap_or(86_400).min(SESSION_S_MAX);
    let seconds = if lives { seconds } else { 0 };
    let takes = early && view.is_on("enable_early_data") && seconds > 0;
    let name = if takes { format!("{}/early", held.uuid) } else { held.uuid.clone() };
    from.needs("tls_profile", &name);
    if cx.has("tls_profile", &name) {
        return (name, seconds > 0);
    }
    let mut making = Making::new(format!("tls_profile/{name}"), held);
    let mut part = Part::named(&name).with("session_lifetime_s", seconds);
    let newest = suites::versions(&mut making, held, &mut part);
    suites::groups(&mut making, held, &mut part);
    part.set_if("early_data", takes && newest);
    cx.done(making, part);
    (name, seconds > 0)
}

/// Whether a profile asks clients for certificates.
pub(super) fn asks(profile: &Held) -> bool {
    let view = profile.view();
    ["http_profile", "tcp_app_profile"].iter().any(|part| {
        let mode = view.part(part);
        matches!(
            mode.text("ssl_client_certificate_mode"),
            "SSL_CLIENT_CERTIFICATE_REQUEST" | "SSL_CLIENT_CERTIFICATE_REQUIRE"
        )
    })
}

/// Whether clients show certificates, and who judges them; says whether they are asked.
fn clients(cx: &mut Cx<'_>, from: &mut Making, listener: &Listener, part: &mut Part) -> bool {
    let application = &listener.application;
    let (at, by) = match listener.speaks {
        Speaks::Http => ("http_profile", application.view().part("http_profile")),
        _ => ("tcp_app_profile", application.view().part("tcp_app_profile")),
    };
    let mode = match by.text("ssl_client_certificate_mode") {
        "SSL_CLIENT_CERTIFICATE_REQUEST" => "request",
        "SSL_CLIENT_CERTIFICATE_REQUIRE" => "require",
        _ => return false,
    };
    let field = format!("{at}.pki_profile_ref");
    let Some(uuid) = by.refers("pki_profile_ref") else {
        let reason = "clients are asked for certificates, and nothing says whose are believed";
        from.wrong(application, &field, reason, "name the pkiprofile");
        return true;
    };
    let Some(trusted) = cx.follow(from, application, &field, "pkiprofile", &uuid) else { return true };
    pki(cx, from, &trusted);
    let mut asked = Part::default().with("mode", mode).with("pki_profile", trusted.uuid.as_str());
    if listener.speaks == Speaks::Http {
        let mut headers = Part::default();
        for (n, header) in by.part("ssl_client_certificate_action").entries("headers") {
            let key = match header.text("request_header_value") {
                "HTTP_POLICY_VAR_SSL_CLIENT_SUBJECT" => "subject",
                "HTTP_POLICY_VAR_SSL_CLIENT_ISSUER" => "issuer",
                "HTTP_POLICY_VAR_SSL_CLIENT_SERIAL" => "serial",
                "HTTP_POLICY_VAR_SSL_CLIENT_FINGERPRINT" => "fingerprint",
                "HTTP_POLICY_VAR_SSL_CLIENT_NOTVALIDBEFORE" => "not_before",
                "HTTP_POLICY_VAR_SSL_CLIENT_NOTVALIDAFTER" => "not_after",
                "HTTP_POLICY_VAR_SSL_CLIENT_RAW" | "HTTP_POLICY_VAR_SSL_CLIENT_ESCAPED" => "certificate",
                other => {
                    let field =
                        format!("{at}.ssl_client_certificate_action.headers[{n}].request_header_value");
                    from.idle(
                        application,
                        &field,
                        format!("no engine tells servers {other}"),
                        "leave it out",
                    );
                    continue;
                }
            };
            headers.set(key, header.text("request_header"));
        }
        asked.set("headers", headers);
    }
    part.set("client_certificate", asked);
    true
}

/// Makes whom to trust, and what was revoked.
fn pki(cx: &mut Cx<'_>, from: &mut Making, held: &Held) {
    from.needs("pki_profile", &held.uuid);
    if cx.has("pki_profile", &held.uuid) {
        return;
    }
    let view = held.view();
    let mut making = Making::new(format!("pki_profile/{}", held.uuid), held);
    let mut part = Part::named(&held.uuid);
    part.set("ca_file", authorities(cx, &mut making, held));
    if view.is_on("crl_check") {
        let mut lists = Vec::new();
        for (at, list) in view.entries("crls") {
            match list.some_text("body") {
                Some(body) => {
                    if !is_pem(body, "CRL") {
                        making.wrong(held, &format!("crls[{at}].body"), NO_PEM, "import the list as PEM");
                    }
                    let name = format!("{}/crl-{at:02}", held.uuid);
                    lists.push(file(cx, &mut making, held, &name, line_ended(body)));
                }
                None => making.idle(
                    held,
                    &format!("crls[{at}].server_url"),
                    "nobody fetches the list, and nothing counts as revoked by it",
                    "put the list itself into body",
                ),
            }
        }
        if !lists.is_empty() {
            part.set("validate_only_leaf_crl", view.is_on("validate_only_leaf_crl"));
            let allowed: Vec<&str> = view.texts("allow_pki_errors").collect();
            if !allowed.is_empty() {
                part.set("expired_crl", "accept");
            }
            if allowed.contains(&"ALLOW_ALL_ERRORS") {
                part.set("without_crl", "accept");
            }
        }
        part.set_list("crl_files", lists);
    }
    cx.done(making, part);
}

/// The authorities of a profile, as a file.
fn authorities(cx: &mut Cx<'_>, making: &mut Making, held: &Held) -> String {
    let mut all = String::new();
    for (at, one) in held.view().entries("ca_certs") {
        let Some(text) = one.some_text("certificate") else { continue };
        if !is_pem(text, CERTIFICATE) {
            making.wrong(held, &format!("ca_certs[{at}].certificate"), NO_PEM, "import it as PEM");
        }
        all.push_str(&line_ended(text));
    }
    if all.is_empty() {
        making.wrong(held, "ca_certs", "it names no authority, so nobody is believed", "add a certificate");
    }
    file(cx, making, held, &format!("{}/ca", held.uuid), all)
}

/// How the servers of a pool are reached by TLS, if they are.
pub(super) fn of_pool(
    cx: &mut Cx<'_>,
    making: &mut Making,
    held: &Held,
    (speaks, secured): (Speaks, Option<bool>),
    part: &mut Part,
) {
    let view = held.view();
    let by = match (secured, view.refers("ssl_profile_ref")) {
        (Some(false), _) | (None, None) => return,
        (_, Some(uuid)) => cx.follow(making, held, "ssl_profile_ref", "sslprofile", &uuid),
        (Some(true), None) => cx.built_in("sslprofile", "System-Standard"),
    };
    if speaks == Speaks::Udp {
        let reason = "its service sends datagrams, and TLS needs a stream of bytes";
        making.wrong(held, "ssl_profile_ref", reason, "give the service a pool of its own, or leave it out");
        return;
    }
    let Some(by) = by else { return };
    let mut secured = Part::default().with("tls_profile", profile(cx, making, &by, false).0);
    let trusted = view.refers("pki_profile_ref");
    let trusted = trusted.and_then(|uuid| cx.follow(making, held, "pki_profile_ref", "pkiprofile", &uuid));
    let named = view
        .some_text("server_name")
        .filter(|_| view.is_on("sni_enabled") || view.is_on("host_check_enabled"));
    match &trusted {
        Some(pki) => {
            secured.set("ca_file", authorities(cx, making, pki));
            secured.set("host_check_enabled", view.is_on("host_check_enabled"));
            secured.set_some("server_name", named);
        }
        None => {
            secured.set("verify", false);
            secured.set_some("server_name", named.filter(|_| view.is_on("sni_enabled")));
        }
    }
    secured.set("sni_enabled", view.is_on("sni_enabled"));
    if let Some(uuid) = view.refers("ssl_key_and_certificate_ref") {
        let field = "ssl_key_and_certificate_ref";
        if let Some(pair) = cx.follow(making, held, field, "sslkeyandcertificate", &uuid) {
            secured.set_some("certificate", certificate(cx, making, &pair));
        }
    }
    part.set("tls", secured);
}

/// How a monitor reaches servers by TLS.
pub(super) fn of_monitor(cx: &mut Cx<'_>, making: &mut Making, held: &Held, by: View<'_>, part: &mut Part) {
    let at = "https_monitor.ssl_attributes";
    if let Some(uuid) = by.refers("pki_profile_ref")
        && let Some(pki) = cx.follow(making, held, &format!("{at}.pki_profile_ref"), "pkiprofile", &uuid)
    {
        part.set("ca_file", authorities(cx, making, &pki));
    }
    part.set_some("server_name", by.some_text("server_name"));
    let field = format!("{at}.ssl_key_and_certificate_ref");
    if let Some(uuid) = by.refers("ssl_key_and_certificate_ref")
        && let Some(pair) = cx.follow(making, held, &field, "sslkeyandcertificate", &uuid)
        && let Some(name) = certificate(cx, making, &pair)
    {
        part.set("client_certificate_file", format!("inline:{name}/chain"));
        part.set("client_key_file", format!("inline:{name}/key"));
        making.needs("file", &format!("{name}/chain"));
        making.needs("file", &format!("{name}/key"));
    }
}
