//! Headers of the PROXY protocol, from a foreign proxy and to one.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Process, Wire, bin, config, eventually};

/// A foreign proxy that sends headers to `se`, and one behind the engine that wants them and answers with the client that
/// they name.
fn haproxy(lab: &Lab, sends: &str, front: SocketAddr, se: SocketAddr, back: SocketAddr) -> Process {
    let text = format!(
        "global\n nbthread 1\ndefaults\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n\
         listen front\n mode tcp\n bind {front}\n server se {se} {sends}\n\
         frontend back\n mode http\n bind {back} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \"client %[src]:%[src_port] at %[dst]:%[dst_port]\\n\"\n"
    );
    let file = lab.folder().join(format!("haproxy-{sends}.cfg"));
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(bin::foreign("haproxy", "haproxy"));
    command.args(["-db", "-f"]).arg(&file);
    let process = Process::start("haproxy", command, lab.folder());
    eventually("haproxy listens", secs(10), || {
        TcpStream::connect(front).is_ok() && TcpStream::connect(back).is_ok()
    });
    process
}

//= test L4-PROXY-01
//= test L4-PROXY-03
#[test]
fn a_client_keeps_its_address_through_foreign_proxies_on_both_sides() {
    for (sends, version) in [("send-proxy", "v2"), ("send-proxy-v2", "v1")] {
        for protocol in ["tcp", "http"] {
            let lab = Lab::new();
            let [front, se, back] = lab.addresses();
            let _haproxy = haproxy(&lab, sends, front, se, back);
            // The monitor's probes must begin with a header as well, or the server would be down.
            let pool = format!("send_proxy_protocol = \"{version}\"\nhealth_monitors = [\"m\"]");
            let keys = format!("protocol = \"{protocol}\"\nproxy_protocol = {{ from = [\"127.0.0.1/32\"] }}");
            let text = config::service_with("s", se, &keys)
                + &config::pool("s", &pool, &[back])
                + &config::monitor("m");
            let engine = lab.engine(&text);
            engine.wait_for_server(back, true);
            let mut wire = Wire::connect_from(lab.client_ip(7), front).unwrap();
            let own = wire.stream().local_addr().unwrap();
            wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let answer = String::from_utf8(wire.rest().unwrap()).unwrap();
            assert!(answer.contains(&format!("client {own} at {front}\n")), "{sends}, {protocol}: {answer}");
            drop(wire);
            let line = &engine.log_lines(1, |line| line["client_src_port"] == own.port())[0];
            assert_eq!(
                (&line["client_ip"], &line["client_dest_port"]),
                (&own.ip().to_string().into(), &front.port().into())
            );
            // Who is no trusted proxy gets nothing, and is not believed.
            let mut forger = Wire::connect_from(lab.client_ip(8), se).unwrap();
            let forged = "PROXY TCP4 203.0.113.9 198.51.100.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
            // A reset that came before the bytes were sent is told to the sender, once.
            assert!(forger.send(forged).is_err() || forger.rest().is_err(), "reset");
            let refused = [("why", "untrusted")];
            assert_eq!(engine.metric("forebay_proxy_headers_refused_total", &refused), 1.0);
            assert!(engine.log().iter().all(|line| line["client_ip"] != "203.0.113.9"));
        }
    }
}
