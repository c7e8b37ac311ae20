//! What a monitor is: its kind, its timing, and the bounds of both.
//!
//! Further kinds (DNS, mail, LDAP) join [`Kind`] as variants.

use alloc::{format, string::String, vec::Vec};

use crate::limits;

/// One health monitor, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Its name in the user's document.
    pub name: String,
    /// What is sent and what is expected.
    pub kind: Kind,
    /// When, and how many results in a row flip the state.
    pub timing: Timing,
}

/// When to probe, and how many results in a row count.
//= HM-TIME-01
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Seconds from the start of one probe to the start of the next; 1 to 3600, default 10.
    pub send_interval_s: u32,
    /// Seconds that one probe may take, connecting included; 1 to 2400 and below the interval, default 4.
    pub receive_timeout_s: u32,
    /// Failures in a row that mark the server down; 1 to 50, default 2.
    pub failed_checks: u8,
    /// Successes in a row that mark it up; 1 to 50, default 2.
    pub successful_checks: u8,
    /// Probe a new server at once and without waiting between successes; default true.
    pub quick_start: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            send_interval_s: 10,
            receive_timeout_s: 4,
            failed_checks: 2,
            successful_checks: 2,
            quick_start: true,
        }
    }
}

impl Timing {
    pub(crate) fn send_interval_us(&self) -> u64 {
        u64::from(self.send_interval_s) * 1_000_000
    }

    pub(crate) fn receive_timeout_us(&self) -> u64 {
        u64::from(self.receive_timeout_s) * 1_000_000
    }
}

/// The protocol of a monitor, with what it sends and expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connects; sends and matches only if told to.
    Tcp(Tcp),
    /// Sends a request and judges the answer.
    Http(Http),
    /// Sends a datagram; see [`Udp`].
    Udp(Udp),
    /// Asks the server's own health service by gRPC.
    Grpc(Grpc),
    /// Sends an ICMP echo request; its answer is a success.
    Ping,
    /// Runs a command; its exit status decides.
    External(External),
}

/// A TCP monitor: with neither text, a completed connection is a success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Sent after connecting; empty: nothing is sent.
    pub request: Vec<u8>,
    /// Must occur in the first 2 KB received; empty: nothing is expected.
    pub response: Vec<u8>,
    /// If it occurs there, the server is in maintenance; empty: never.
    pub maintenance_response: Vec<u8>,
}

/// A UDP monitor: without a text to expect, any answer and silence pass, and only a refusal fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// The datagram that is sent; empty: one without content.
    pub request: Vec<u8>,
    /// Must occur in the first 2 KB of a datagram received; empty: nothing is expected.
    pub response: Vec<u8>,
    /// If it occurs there, the server is in maintenance; empty: never.
    pub maintenance_response: Vec<u8>,
}

/// A gRPC monitor: `grpc.health.v1.Health/Check` has to say SERVING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grpc {
    /// The service that is asked about; empty: the server as a whole.
    pub service: String,
}

/// A command that judges the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// The program's path and its arguments; no shell reads them.
    pub command: Vec<String>,
}

/// An HTTP monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The request as text: a request line, optionally header lines. See [`Http::request_bytes`].
    pub request: String,
    /// Send `request` byte for byte, adding nothing; default false.
    pub exact: bool,
    /// Which statuses pass; default 2xx.
    pub expect: StatusSet,
    /// Must occur in the first 2 KB of header and body; empty: nothing is expected.
    pub response: Vec<u8>,
    /// Statuses by which a server says that it is in maintenance; at most 4.
    pub maintenance_codes: Vec<u16>,
    /// If it occurs in the first 2 KB, the server is in maintenance; empty: never.
    pub maintenance_response: Vec<u8>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            request: String::from("GET / HTTP/1.0"),
            exact: false,
            expect: StatusSet::class(2),
            response: Vec::new(),
            maintenance_codes: Vec::new(),
            maintenance_response: Vec::new(),
        }
    }
}

impl Http {
    /// Returns the bytes to send to the server that `host` names (`address:port` as a rule).
    ///
    /// Unless [`Http::exact`], line ends become CRLF, and `Host`, `User-Agent` and `Connection: close` are added
    /// where the text does not have them, with the empty line that ends a request head.
    //= HM-HTTP-01
    pub fn request_bytes(&self, host: &str) -> Vec<u8> {
        if self.exact {
            return self.request.as_bytes().to_vec();
        }
        let mut out = Vec::with_capacity(self.request.len() + host.len() + 80);
        let mut lines = self.request.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or("GET / HTTP/1.0");
        out.extend_from_slice(first.as_bytes());
        // `GET /` alone is what people write; without a version most servers answer as in 1991.
        if !first.contains(" HTTP/") {
            out.extend_from_slice(b" HTTP/1.0");
        }
        out.extend_from_slice(b"\r\n");
        let mut has = [false; 3];
        let added = ["host", "user-agent", "connection"];
        for line in lines {
            let name = line.split(':').next().unwrap_or("");
            for (seen, want) in has.iter_mut().zip(added) {
                *seen |= name.eq_ignore_ascii_case(want);
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for (seen, (name, value)) in
            has.into_iter().zip([("Host", host), ("User-Agent", "forebay-health"), ("Connection", "close")])
        {
            if !seen {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// A set of HTTP statuses: whole classes and single codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet {
    /// Bit n: every status n00 to n99, n from 1 to 5.
    classes: u8,
    codes: Vec<u16>,
}

impl StatusSet {
    /// The empty set; nothing passes until something is added.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every status from 100 to 599.
    pub fn any() -> Self {
        Self { classes: 0b11_1110, codes: Vec::new() }
    }

    /// The statuses `class`00 to `class`99; a class outside 1 to 5 adds nothing.
    pub fn class(class: u8) -> Self {
        Self::none().with_class(class)
    }

    /// Adds the statuses `class`00 to `class`99; a class outside 1 to 5 adds nothing.
    pub fn with_class(mut self, class: u8) -> Self {
        if (1..=5).contains(&class) {
            self.classes |= 1 << class;
        }
        self
    }

    /// Adds one status.
    pub fn with_code(mut self, code: u16) -> Self {
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
        self
    }

    /// Returns whether `status` is in the set.
    //= HM-HTTP-04
    pub fn contains(&self, status: u16) -> bool {
        let class = status / 100;
        ((1..=5).contains(&class) && self.classes >> class & 1 == 1) || self.codes.contains(&status)
    }

    /// Returns whether nothing can be in the set.
    pub fn is_empty(&self) -> bool {
        self.classes == 0 && self.codes.is_empty()
    }
}

/// One thing wrong with a monitor: which field, why, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as in the user's document.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
    /// What would be right.
    pub fix: String,
}

impl Monitor {
    /// Returns all problems of the monitor, none if it may be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        let t = &self.timing;
        range(&mut out, "send_interval_s", t.send_interval_s, limits::SEND_INTERVAL_S);
        range(&mut out, "receive_timeout_s", t.receive_timeout_s, limits::RECEIVE_TIMEOUT_S);
        let checks = (u32::from(limits::CHECKS.0), u32::from(limits::CHECKS.1));
        range(&mut out, "failed_checks", u32::from(t.failed_checks), checks);
        range(&mut out, "successful_checks", u32::from(t.successful_checks), checks);
        if t.receive_timeout_s >= t.send_interval_s {
            out.push(Problem {
                field: "receive_timeout_s",
                reason: format!(
                    "{} s is not below send_interval_s = {} s",
                    t.receive_timeout_s, t.send_interval_s
                ),
                fix: String::from("wait less long, or probe less often"),
            });
        }
        match &self.kind {
            Kind::Tcp(tcp) => {
                length(&mut out, "request", tcp.request.len(), limits::REQUEST_BYTES_MAX);
                length(&mut out, "response", tcp.response.len(), limits::MATCH_BYTES_MAX);
                length(
                    &mut out,
                    "maintenance_response",
                    tcp.maintenance_response.len(),
                    limits::MATCH_BYTES_MAX,
                );
            }
            Kind::Http(http) => http_problems(&mut out, http),
            Kind::Udp(udp) => {
                length(&mut out, "request", udp.request.len(), limits::REQUEST_BYTES_MAX);
                length(&mut out, "response", udp.response.len(), limits::MATCH_BYTES_MAX);
                length(
                    &mut out,
                    "maintenance_response",
                    udp.maintenance_response.len(),
                    limits::MATCH_BYTES_MAX,
                );
            }
            Kind::Grpc(grpc) => length(&mut out, "service", grpc.service.len(), limits::MATCH_BYTES_MAX),
            Kind::Ping => {}
            Kind::External(external) => {
                if !external.command.first().is_some_and(|program| program.starts_with('/')) {
                    out.push(Problem {
                        field: "command",
                        reason: String::from("it names no program by its full path"),
                        fix: String::from("write a list such as [\"/usr/local/bin/check\", \"--quick\"]"),
                    });
                }
            }
        }
        out
    }
}

fn http_problems(out: &mut Vec<Problem>, http: &Http) {
    length(out, "request", http.request.len(), limits::REQUEST_BYTES_MAX);
    length(out, "response", http.response.len(), limits::MATCH_BYTES_MAX);
    length(out, "maintenance_response", http.maintenance_response.len(), limits::MATCH_BYTES_MAX);
    if http.request.trim().is_empty() {
        out.push(Problem {
            field: "request",
            reason: String::from("it is empty"),
            fix: String::from("write a request line such as `GET / HTTP/1.0`"),
        });
    }
    if http.expect.is_empty() {
        out.push(Problem {
            field: "expect",
            reason: String::from("no status can pass"),
            fix: String::from("name at least one class or code"),
        });
    }
    if http.maintenance_codes.len() > limits::MAINTENANCE_CODES_MAX {
        out.push(Problem {
            field: "maintenance_codes",
            reason: format!("{} codes", http.maintenance_codes.len()),
            fix: format!("name at most {}", limits::MAINTENANCE_CODES_MAX),
        });
    }
    for code in &http.maintenance_codes {
        if !(100..=599).contains(code) {
            out.push(Problem {
                field: "maintenance_codes",
                reason: format!("{code} is no HTTP status"),
                fix: String::from("use a status from 100 to 599"),
            });
        }
    }
}

fn range(out: &mut Vec<Problem>, field: &'static str, value: u32, (low, high): (u32, u32)) {
    if !(low..=high).contains(&value) {
        out.push(Problem {
            field,
            reason: format!("{value} is out of range"),
            fix: format!("set it to {low} to {high}"),
        });
    }
}

fn length(out: &mut Vec<Problem>, field: &'static str, len: usize, max: usize) {
    if len > max {
        out.push(Problem {
            field,
            reason: format!("{len} bytes are too many"),
            fix: format!("use at most {max} bytes"),
        });
    }
}
