//! Clients who are to come by TLS only.

use std::process::Command;

use forebay_e2e::pki;
use forebay_e2e::{Lab, Options, Origin, bin, config};

use crate::{app, python};

/// Words of a Python program: what a request gets that is sent over TLS, or in clear to a port.
const ASK: &str = "def ask(path, port=None, method='GET'):\n\
\x20   a = at().getpeername()\n\
\x20   s = socket.create_connection((a[0], port or a[1]), 20)\n\
\x20   t = s if port else talk(over=s)\n\
\x20   t.sendall(f'{method} {path} HTTP/1.1\\r\\nHost: app.test:8080\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n'.encode())\n\
\x20   return rest(t).decode().split('\\r\\n\\r\\n')[0].split('\\r\\n')\n\
def said(*a): return [l for l in ask(*a) if l.lower().startswith('strict-transport-security')]\n";

//= test TLS-HSTS-01
#[test]
fn each_answer_over_tls_says_once_that_clients_are_to_come_by_tls_only() {
    let lab = Lab::new();
    app(&lab);
    let [at, clear, server] = lab.addresses();
    let _origin = Origin::answering(server, |head| {
        let own = if head.contains("/own") { "strict-transport-security: max-age=1\r\n" } else { "" };
        Some(format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n").into_bytes())
    });
    let rules = "rules = [\n\
        { name = \"ours\", when = { path = { equals = [\"/ours\"] } }, then = [{ respond = { status = 403 } }] },\n\
        { name = \"edits\", when = { path = { equals = [\"/edited\"] } }, then = [{ header = { set = [\"response\", \"Strict-Transport-Security\", \"max-age=2\"] } }] },\n\
        { name = \"removes\", when = { path = { equals = [\"/removed\"] } }, then = [{ header = { remove = [\"response\", \"strict-transport-security\"] } }] },\n]";
    let text = config::service_with("web", at, &format!("certificates = [\"app\"]\n{rules}"))
        + &config::service("clear", clear).replace("pool = \"clear\"", "pool = \"web\"")
        + &config::pool("web", "", &[server])
        + &pki::section("app")
        + &config::profile("hsts_enabled = true\nhsts_preload = true\nhsts_max_age_days = 730");
    let _engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let script = format!(
        "{ASK}for path in ['/', '/own', '/ours', '/edited', '/removed']: print(*said(path))\n\
         print(*said('/'), *said('/', {0}), *said('/ours', {0}))\n",
        clear.port()
    );
    let ours = "Strict-Transport-Security: max-age=63072000; includeSubDomains; preload";
    let want = format!(
        "{ours}\nstrict-transport-security: max-age=1\n{ours}\nStrict-Transport-Security: max-age=2\n\n{ours}\n"
    );
    assert_eq!(python(&lab, at, &script), want);
}

//= test TLS-HTTPS-01
#[test]
fn what_no_rule_ends_is_redirected_to_tls() {
    let lab = Lab::new();
    app(&lab);
    let [at, clear, server] = lab.addresses();
    let origin =
        Origin::answering(server, |_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let rule = "{ name = \"challenge\", when = { path = { begins_with = [\"/.well-known/\"] } }, then = [{ respond = { status = 200, body = \"token\" } }] }";
    let text = config::service_with("web", at, "certificates = [\"app\"]")
        + &config::service_with("clear", clear, &format!("http_to_https = true\nrules = [{rule}]"))
            .replace("pool = \"clear\"", "pool = \"web\"")
        + &config::pool("web", "", &[server])
        + &pki::section("app");
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let script = format!(
        "{ASK}for method, path in [('GET', '/a?b=c'), ('POST', '/form'), ('GET', '/.well-known/x')]:\n\
\x20   got = ask(path, {0}, method)\n\
\x20   print(got[0], *[l for l in got if l.startswith('Location')])\n\
         print(ask('/')[0])\n",
        clear.port()
    );
    let want = "HTTP/1.1 308 Permanent Redirect Location: https://app.test/a?b=c\n\
                HTTP/1.1 308 Permanent Redirect Location: https://app.test/form\n\
                HTTP/1.1 200 OK\nHTTP/1.1 200 OK\n";
    assert_eq!(python(&lab, at, &script), want);
    assert_eq!(origin.heads().len(), 1, "only what came over TLS reached the server");
    engine.log_lines(2, |line| line["http_request_policy_rule_name"] == "(http_to_https)");
    // curl goes where it is sent.
    let port = clear.port();
    let output = Command::new(bin::foreign("curl", "curl"))
        .args(["--silent", "--max-time", "20", "--location", "--cacert", "ca.pem", "--data", "x=y"])
        .args([
            "--connect-to",
            &format!("app.test:443:{at}"),
            "--resolve",
            &format!("app.test:{port}:{}", clear.ip()),
        ])
        .args(["--write-out", "%{http_code} %{num_redirects} %{url_effective}"])
        .arg(format!("http://app.test:{port}/form"))
        .current_dir(lab.folder())
        .output()
        .expect("curl starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 1 https://app.test/form");
    assert!(origin.heads()[1].starts_with("POST /form "), "{:?}", origin.heads());
}
