//! Servers that speak TLS, by other people's libraries: nginx, OpenSSL, Python.

mod judged;
mod passed_on;
mod requests;
mod sessions;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::secs;
use forebay_e2e::wire::exchange;
use forebay_e2e::{Engine, Lab, Options, Process, bin, config, eventually};

/// The authority `ca`, and a certificate `app` of it for `app.test`.
fn app(lab: &Lab) {
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
}

/// An nginx with these servers: an address, and what else stands in its section. Each tells under `/` how it was reached.
fn nginx(lab: &Lab, servers: &[(SocketAddr, &str)]) -> Process {
    let said = "<$ssl_server_name> <$ssl_protocol> <$ssl_session_reused> <$ssl_client_s_dn> <$connection>";
    let section = |(at, keys): &(SocketAddr, &str)| {
        let tls = if keys.contains("proxy_protocol") { "ssl proxy_protocol" } else { "ssl" };
        let keys = match keys.contains("ssl_certificate ") {
            true => (*keys).to_owned(),
            false => format!("ssl_certificate app.pem; ssl_certificate_key app.key; {keys}"),
        };
        let keys = keys.replace("proxy_protocol;", "");
        format!(
            "server {{ listen {at} {tls}; {keys}\n location = / {{ return 200 \"{said} <$proxy_protocol_addr>\"; }}\n \
             location /files/ {{ root .; dav_methods PUT; create_full_put_path on; client_max_body_size 0; }} }}\n"
        )
    };
    let sections: String = servers.iter().map(section).collect();
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         ssl_session_cache shared:all:1m; ssl_protocols TLSv1.2 TLSv1.3;\n{sections}}}\n"
    );
    std::fs::write(lab.folder().join("nginx.conf"), text).expect("the lab's folder");
    let mut command = Command::new(bin::foreign("nginx", "nginx"));
    command.arg("-p").arg(lab.folder()).args(["-e", "stderr", "-c", "nginx.conf"]);
    let nginx = Process::start("nginx", command, lab.folder());
    for (at, _) in servers {
        eventually("nginx listens", secs(10), || TcpStream::connect(at).is_ok());
    }
    nginx
}

/// A Python program that serves `at` by `serve(t, n)`: a connection over TLS, its number from 1. `c` is its context, which
/// `setup` may change.
fn python(lab: &Lab, at: SocketAddr, setup: &str, serve: &str) -> Process {
    let text = format!(
        "import socket, ssl, sys, threading, time\n\
         c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('app.pem', 'app.key')\n\
         {setup}\n\
         def head(t):\n\
         \x20   b = b''\n\
         \x20   while b'\\r\\n\\r\\n' not in b:\n\
         \x20       m = t.recv(65536)\n\
         \x20       if not m: return None\n\
         \x20       b += m\n\
         \x20   return b\n\
         def serve(t, n):\n{serve}\n\
         def one(s, n):\n\
         \x20   try: serve(c.wrap_socket(s, server_side=True, suppress_ragged_eofs=False), n)\n\
         \x20   except OSError as e: print(e, file=sys.stderr, flush=True)\n\
         l = socket.create_server(('{}', {})); n = 0\n\
         while True:\n\
         \x20   s, _ = l.accept(); n += 1\n\
         \x20   threading.Thread(target=one, args=(s, n), daemon=True).start()\n",
        at.ip(),
        at.port(),
        serve = serve.lines().map(|line| format!("    {line}\n")).collect::<String>(),
    );
    let file = format!("server-{}.py", at.port());
    std::fs::write(lab.folder().join(&file), text).expect("the lab's folder");
    let mut command = Command::new(bin::foreign("python3", "python3"));
    command.arg(&file);
    let process = Process::start(&format!("python-{}", at.port()), command, lab.folder());
    eventually("the server listens", secs(10), || TcpStream::connect(at).is_ok());
    process
}

/// A service `name` at `at` before a pool of its own name, whose servers are reached by TLS with these keys.
fn before(name: &str, at: SocketAddr, servers: &[SocketAddr], tls: &str, pool: &str) -> String {
    config::service(name, at) + &config::pool(name, &format!("tls = {{ {tls} }}\n{pool}"), servers)
}

/// Status and body of what `at` answers to one request on a connection of its own.
#[track_caller]
fn ask(at: SocketAddr, host: &str) -> (u16, String) {
    let text = exchange(at, format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    let text = text.expect("an answer");
    let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// One worker, so that what it keeps is found again.
fn alone() -> Options {
    Options { workers: 1, ..Options::default() }
}

/// Handshakes with a pool's servers so far, in full or resumed.
fn handshakes(engine: &Engine, pool: &str, kind: &str) -> f64 {
    engine.metric("forebay_server_tls_handshakes_total", &[("pool", pool), ("kind", kind)])
}

/// Handshakes with a pool's servers that failed for this reason.
fn failures(engine: &Engine, pool: &str, why: &str) -> f64 {
    engine.metric("forebay_server_tls_handshake_failures_total", &[("pool", pool), ("why", why)])
}
