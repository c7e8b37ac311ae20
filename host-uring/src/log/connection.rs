//! What is logged of one connection, or one flow of datagrams, of a service that passes bytes on unread.

use std::net::SocketAddr;

use forebay_core::Reason;

use super::json::{Object, key};
use super::record::{Line, rfc3339};
use crate::config::Pool;
use crate::limits::LOG_TEXT_BYTES_MAX as TEXT;

/// What is logged of one connection; borrowed from the worker that served it.
///
/// Field names in the log are Avi's where they exist.
#[derive(Clone, Debug)]
pub struct ConnectionRecord<'a> {
    /// When it was accepted: microseconds since 1970.
    pub at_unix_us: u64,
    /// The engine's name.
    pub service_engine: &'a str,
    /// The worker.
    pub worker: usize,
    /// Number of the record within its worker.
    pub log_id: u64,
    /// The virtual service's name.
    pub virtual_service: &'a str,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The pool that was asked for a server.
    pub pool: Option<&'a Pool>,
    /// The client.
    pub client: SocketAddr,
    /// The address that it connected to.
    pub client_dest: SocketAddr,
    /// The name that its TLS asks for, where that is passed on.
    pub name: Option<&'a str>,
    /// The server, or the last one tried.
    pub server: Option<SocketAddr>,
    /// Our own address towards it.
    pub server_src: Option<SocketAddr>,
    /// Servers tried, this one included.
    pub servers_tried: u8,
    /// Whether persistence picked the server.
    pub persistence_used: bool,
    /// Round trip to the client, microseconds; 0: not known.
    pub client_rtt_us: u64,
    /// Round trip to the server, microseconds; 0: not known.
    pub server_rtt_us: u64,
    /// Waiting for a server, microseconds.
    pub queue_us: u64,
    /// From the accept to the server's connection, microseconds, without the queue.
    pub connect_us: u64,
    /// From the accept to the end, microseconds.
    pub total_us: u64,
    /// Bytes from the client to the server.
    pub rx_bytes: u64,
    /// Bytes from the server to the client.
    pub tx_bytes: u64,
    /// How it ended: `complete`, or what cut it.
    pub state: &'static str,
    /// Whether the end deserves a look.
    pub significant: bool,
    /// Why this server; its indexes are places in `pool`.
    pub reason: Option<&'a Reason>,
}

impl Line for ConnectionRecord<'_> {
    //= L4-LOG-01
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        let stamp = rfc3339(self.at_unix_us);
        o.key(key!("report_timestamp")).extend_from_slice(&stamp);
        o.text(key!("service_engine"), self.service_engine.as_bytes(), TEXT);
        o.number(key!("vcpu_id"), self.worker as u64);
        o.number(key!("log_id"), self.log_id);
        o.text(key!("virtualservice"), self.virtual_service.as_bytes(), TEXT);
        o.text(key!("protocol"), self.protocol.as_bytes(), 8);
        o.socket(key!("client_ip"), key!("client_src_port"), self.client);
        o.socket(key!("client_dest_ip"), key!("client_dest_port"), self.client_dest);
        if let Some(name) = self.name {
            o.text(key!("sni_hostname"), name.as_bytes(), TEXT);
        }
        if let Some(pool) = self.pool {
            o.text(key!("pool_name"), pool.name.as_bytes(), TEXT);
        }
        if let Some(server) = self.server {
            o.socket(key!("server_ip"), key!("server_dest_port"), server);
        }
        if let Some(source) = self.server_src {
            o.socket(key!("server_conn_src_ip"), key!("server_src_port"), source);
        }
        o.number(key!("servers_tried"), self.servers_tried.into());
        o.flag(key!("persistence_used"), self.persistence_used);
        o.millis(key!("client_rtt"), self.client_rtt_us);
        o.millis(key!("server_rtt"), self.server_rtt_us);
        o.millis(key!("queue_time"), self.queue_us);
        o.millis(key!("connect_time"), self.connect_us);
        o.millis(key!("total_time"), self.total_us);
        o.number(key!("rx_bytes"), self.rx_bytes);
        o.number(key!("tx_bytes"), self.tx_bytes);
        o.text(key!("connection_state"), self.state.as_bytes(), 64);
        o.flag(key!("significant"), self.significant);
        if let Some(reason) = self.reason {
            super::reason::write(reason, self.pool, o.key(key!("reason")));
        }
        o.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test L4-LOG-01
    #[test]
    fn a_record_is_one_line_of_json_with_the_known_names() {
        let record = ConnectionRecord {
            at_unix_us: 1_709_210_096_000_007,
            service_engine: "se",
            worker: 1,
            log_id: 7,
            virtual_service: "db",
            protocol: "tcp",
            pool: None,
            client: "127.0.0.1:40000".parse().expect("an address"),
            client_dest: "127.0.0.1:5432".parse().expect("an address"),
            name: Some("app.test"),
            server: Some("127.0.0.1:9001".parse().expect("an address")),
            server_src: Some("127.0.0.1:50000".parse().expect("an address")),
            servers_tried: 1,
            persistence_used: false,
            client_rtt_us: 40,
            server_rtt_us: 30,
            queue_us: 0,
            connect_us: 120,
            total_us: 1_500,
            rx_bytes: 10,
            tx_bytes: 20,
            state: "complete",
            significant: false,
            reason: None,
        };
        let mut out = Vec::new();
        record.write_json(&mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((value["rx_bytes"].as_u64(), value["tx_bytes"].as_u64()), (Some(10), Some(20)));
        assert_eq!((&value["protocol"], &value["connection_state"]), (&"tcp".into(), &"complete".into()));
        assert_eq!(value["sni_hostname"], "app.test");
        assert_eq!((value["server_rtt"].as_f64(), value["total_time"].as_f64()), (Some(0.03), Some(1.5)));
    }
}
