//! What is logged of one request.

use std::net::SocketAddr;

use forebay_core::Reason;

use super::json::{Object, key, two};
use crate::config::Pool;
use crate::limits::{LOG_TEXT_BYTES_MAX as TEXT, SERVER_NAME_BYTES_MAX};
use crate::tls::{Agreed, Identity};

/// What is logged of one request; borrowed from the connection that served it.
///
/// Field names in the log are Avi's where they exist.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// When the request's first byte came: microseconds since 1970.
    pub at_unix_us: u64,
    /// The engine's name.
    pub service_engine: &'a str,
    /// The worker.
    pub worker: usize,
    /// Number of the request within its worker.
    pub request_id: u64,
    /// The virtual service's name.
    pub virtual_service: &'a str,
    /// The pool that was asked for a server.
    pub pool: Option<&'a Pool>,
    /// The client's address, after trusted proxies.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub client_dest: SocketAddr,
    /// The server that answered.
    pub server: Option<SocketAddr>,
    /// Our own address towards the server.
    pub server_src: Option<SocketAddr>,
    /// The request's method.
    pub method: &'a [u8],
    /// Its host, with port if it had one.
    pub host: &'a [u8],
    /// Its path.
    pub uri_path: &'a [u8],
    /// Its query, without `?`.
    pub uri_query: &'a [u8],
    /// Its `User-Agent`.
    pub user_agent: &'a [u8],
    /// The version of HTTP that the client spoke.
    pub http_version: &'static str,
    /// What its connection's TLS is like; `None`: it has none.
    pub tls: Option<Agreed>,
    /// The name that the client asked for in its handshake.
    pub server_name: &'a [u8],
    /// Who the client is, by its certificate.
    pub identity: Option<&'a Identity>,
    /// Bytes of the request, head included.
    pub request_length: u64,
    /// Bytes of the answer, head included.
    pub response_length: u64,
    /// The status that the client got; 0 if none.
    pub response_code: u16,
    /// The status that the server gave; 0 if none.
    pub server_response_code: u16,
    /// Where the time went.
    pub timing: Timing,
    /// Servers tried, this one included.
    pub servers_tried: u8,
    /// Whether the server's connection had served before.
    pub server_connection_reused: bool,
    /// Whether persistence picked the server.
    pub persistence_used: bool,
    /// The rule that ended the request, by its name.
    pub rule: Option<&'a str>,
    /// The last rule that edited fields of a server's answer, by its name.
    pub answer_rule: Option<&'a str>,
    /// Why this server; its indexes are places in `pool`.
    pub reason: Option<&'a Reason>,
    /// How the request ended: `complete`, or what cut it.
    pub request_state: &'static str,
    /// Why the record deserves a look; empty: an ordinary request.
    pub significance: &'a [&'static str],
}

/// Where a request's time went, in microseconds.
///
/// Invariant kept by whoever fills it: `client_rtt + server_rtt + app_response + data_transfer + queue = total`, to a
/// millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Round trip to the client.
    pub client_rtt_us: u64,
    /// Round trip to the server.
    pub server_rtt_us: u64,
    /// From the request at the server to the answer's first byte, the round trip taken off.
    pub app_response_us: u64,
    /// From the answer's first byte to its last at the client.
    pub data_transfer_us: u64,
    /// All of it.
    pub total_us: u64,
    /// Waiting for a server (part of `total_us`, in no other part).
    pub queue_us: u64,
    /// From the request's first byte to the answer's first byte sent to the client.
    pub first_byte_us: u64,
}

/// What becomes one line of the access log.
pub trait Line {
    /// Appends the record as one line of JSON, well below
    /// [`LOG_LINE_BYTES_MAX`](crate::limits::LOG_LINE_BYTES_MAX) bytes whatever the request was.
    fn write_json(&self, out: &mut Vec<u8>);
}

impl Line for AccessRecord<'_> {
    //= OBS-LOG-03
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        let stamp = rfc3339(self.at_unix_us);
        o.key(key!("report_timestamp")).extend_from_slice(&stamp);
        o.text(key!("service_engine"), self.service_engine.as_bytes(), TEXT);
        o.number(key!("vcpu_id"), self.worker as u64);
        o.number(key!("request_id"), self.request_id);
        o.text(key!("virtualservice"), self.virtual_service.as_bytes(), TEXT);
        o.socket(key!("client_ip"), key!("client_src_port"), self.client);
        o.socket(key!("client_dest_ip"), key!("client_dest_port"), self.client_dest);
        o.text(key!("method"), self.method, 64);
        o.text(key!("host"), self.host, TEXT / 4);
        o.text(key!("uri_path"), self.uri_path, TEXT);
        o.text(key!("uri_query"), self.uri_query, TEXT / 2);
        o.text(key!("user_agent"), self.user_agent, TEXT / 4);
        o.word(key!("http_version"), self.http_version);
        //= TLS-LOG-01
        if let Some(tls) = &self.tls {
            o.word(key!("ssl_version"), tls.version);
            o.word(key!("ssl_cipher"), tls.cipher);
            o.text(key!("sni_hostname"), self.server_name, SERVER_NAME_BYTES_MAX);
        }
        //= TLS-CLIENT-04
        if let Some(who) = self.identity {
            o.text(key!("ssl_client_subject"), who.subject.as_bytes(), TEXT / 4);
            o.text(key!("ssl_client_serial"), who.serial.as_bytes(), 64);
            o.text(key!("ssl_client_fingerprint"), who.fingerprint.as_bytes(), 64);
        }
        o.number(key!("request_length"), self.request_length);
        o.number(key!("response_code"), self.response_code.into());
        o.number(key!("response_length"), self.response_length);
        if let Some(pool) = self.pool {
            o.text(key!("pool_name"), pool.name.as_bytes(), TEXT);
        }
        if let Some(server) = self.server {
            o.socket(key!("server_ip"), key!("server_dest_port"), server);
            o.number(key!("server_response_code"), self.server_response_code.into());
            o.flag(key!("server_connection_reused"), self.server_connection_reused);
        }
        if let Some(source) = self.server_src {
            o.socket(key!("server_conn_src_ip"), key!("server_src_port"), source);
        }
        o.number(key!("servers_tried"), self.servers_tried.into());
        o.flag(key!("persistence_used"), self.persistence_used);
        let t = &self.timing;
        o.millis(key!("client_rtt"), t.client_rtt_us);
        o.millis(key!("server_rtt"), t.server_rtt_us);
        o.millis(key!("app_response_time"), t.app_response_us);
        o.millis(key!("data_transfer_time"), t.data_transfer_us);
        o.millis(key!("queue_time"), t.queue_us);
        o.millis(key!("response_time_first_byte"), t.first_byte_us);
        o.millis(key!("total_time"), t.total_us);
        o.text(key!("request_state"), self.request_state.as_bytes(), 64);
        //= OBS-LOG-09
        if let Some(rule) = self.rule {
            o.text(key!("http_request_policy_rule_name"), rule.as_bytes(), TEXT / 4);
        }
        //= OBS-LOG-10
        if let Some(rule) = self.answer_rule {
            o.text(key!("http_response_policy_rule_name"), rule.as_bytes(), TEXT / 4);
        }
        o.flag(key!("significant"), !self.significance.is_empty());
        if !self.significance.is_empty() {
            let list = o.key(key!("significance"));
            list.push(b'[');
            for (n, word) in self.significance.iter().take(8).enumerate() {
                if n > 0 {
                    list.push(b',');
                }
                super::json::text(list, word.as_bytes(), 64);
            }
            list.push(b']');
        }
        if let Some(reason) = self.reason {
            super::reason::write(reason, self.pool, o.key(key!("reason")));
        }
        o.end();
    }
}

/// Microseconds since 1970 as in RFC 3339, in UTC, quotes around it.
pub(super) fn rfc3339(us: u64) -> [u8; 29] {
    let (seconds, us) = (us / 1_000_000, us % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since 1970, counted in eras of 400 years that begin on 1 March of year 0.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
    let parts = [
        (1, year / 100),
        (3, year % 100),
        (6, month),
        (9, day),
        (12, second / 3_600),
        (15, second / 60 % 60),
        (18, second % 60),
        (21, us / 10_000),
        (23, us / 100 % 100),
        (25, us % 100),
    ];
    for (at, value) in parts {
        text[at..at + 2].copy_from_slice(&two(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>() -> AccessRecord<'a> {
        AccessRecord {
            at_unix_us: 1_709_210_096_000_007,
            service_engine: "se",
            worker: 1,
            request_id: 7,
            virtual_service: "web",
            pool: None,
            client: "127.0.0.1:40000".parse().expect("an address"),
            client_dest: "127.0.0.1:8080".parse().expect("an address"),
            server: Some("127.0.0.1:9001".parse().expect("an address")),
            server_src: None,
            method: b"GET",
            host: b"example\"\n",
            uri_path: b"/a",
            uri_query: b"b=c",
            user_agent: b"curl",
            http_version: "1.1",
            tls: None,
            server_name: b"",
            identity: None,
            request_length: 80,
            response_length: 200,
            response_code: 200,
            server_response_code: 200,
            timing: Timing { total_us: 1_500, app_response_us: 1_500, ..Timing::default() },
            servers_tried: 1,
            server_connection_reused: true,
            persistence_used: false,
            rule: None,
            answer_rule: None,
            reason: None,
            request_state: "complete",
            significance: &["closed without an answer"],
        }
    }

    //= test OBS-LOG-03
    #[test]
    fn a_record_is_one_line_of_json_with_the_known_names() {
        let mut out = Vec::new();
        sample().write_json(&mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["report_timestamp"], "2024-02-29T12:34:56.000007Z");
        assert_eq!(value["host"], "example\"\n");
        assert_eq!(value["total_time"], 1.5);
        assert_eq!(value["significance"][0], "closed without an answer");
    }

    #[test]
    fn the_longest_texts_still_fit_a_line() {
        let long = vec![0_u8; 100_000];
        let record = AccessRecord {
            host: &long,
            uri_path: &long,
            uri_query: &long,
            user_agent: &long,
            method: &long,
            ..sample()
        };
        let mut out = Vec::new();
        record.write_json(&mut out);
        assert!(out.len() <= crate::limits::LOG_LINE_BYTES_MAX / 2, "{}", out.len());
    }
}
