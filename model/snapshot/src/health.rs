//! How servers are probed.

use core::fmt;
use core::str::FromStr;

use crate::read::{by_type, section};
use crate::rules;

by_type! {
    /// A way to probe a server.
    pub enum HealthMonitor {
        /// A connection is opened.
        Tcp(TcpMonitor) = "tcp",
        /// A request is sent and its answer judged.
        Http(HttpMonitor) = "http",
        /// As `http`, over TLS.
        Https(HttpsMonitor) = "https",
        /// A datagram is sent and its answer judged.
        Udp(UdpMonitor) = "udp",
        /// The server's own health service is asked by gRPC.
        Grpc(GrpcMonitor) = "grpc",
        /// An ICMP echo request is sent.
        Ping(PingMonitor) = "ping",
        /// A command is run.
        External(ExternalMonitor) = "external",
    }
    common {
        /// Its name.
        name: String;
        /// Seconds between two probes.
        send_interval_s: u16;
        /// Seconds that a probe may take.
        receive_timeout_s: u16;
        /// Failures in a row that make a server down.
        failed_checks: u8;
        /// Successes in a row that make a server up.
        successful_checks: u8;
    }
}

impl HealthMonitor {
    /// The port that is probed; `None`: the server's own, or a monitor that asks no port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(monitor) => monitor.port,
            Self::Http(monitor) => monitor.port,
            Self::Https(monitor) => monitor.port,
            Self::Udp(monitor) => monitor.port,
            Self::Grpc(monitor) => monitor.port,
            Self::External(monitor) => monitor.port,
            Self::Ping(_) => None,
        }
    }
}

/// What `http` and `https` have in common: the request, and how its answer is judged.
pub struct HttpProbe<'m> {
    /// The request.
    pub request: &'m str,
    /// Send it as it stands.
    pub exact_request: bool,
    /// Answers that mean success.
    pub statuses: &'m [StatusRange],
    /// A text that must stand in the answer.
    pub body_match: Option<&'m str>,
    /// Statuses that mean maintenance.
    pub maintenance_codes: &'m [u16],
    /// A text that means maintenance.
    pub maintenance_match: Option<&'m str>,
}

macro_rules! http_probe {
    ($monitor:expr) => {
        Some(HttpProbe {
            request: &$monitor.request,
            exact_request: $monitor.exact_request,
            statuses: &$monitor.statuses,
            body_match: $monitor.body_match.as_deref(),
            maintenance_codes: &$monitor.maintenance_codes,
            maintenance_match: $monitor.maintenance_match.as_deref(),
        })
    };
}

impl HealthMonitor {
    /// What it asks by HTTP; `None`: it asks in another way.
    pub fn http(&self) -> Option<HttpProbe<'_>> {
        match self {
            Self::Http(monitor) => http_probe!(monitor),
            Self::Https(monitor) => http_probe!(monitor),
            Self::Tcp(_) | Self::Udp(_) | Self::Grpc(_) | Self::Ping(_) | Self::External(_) => None,
        }
    }
}

/// Monitors: the settings that every one has, and its own after them.
macro_rules! monitors {
    ($( $(#[doc = $doc:literal])* pub struct $name:ident { $($own:tt)* } )*) => {
        section! {
            $(
                $(#[doc = $doc])*
                pub struct $name {
                    /// Its name.
                    name: String, is rules::name;
                    /// Seconds between two probes.
                    send_interval_s: u16 = 10, in 1..=3600;
                    /// Seconds that a probe may take; below `send_interval_s`.
                    receive_timeout_s: u16 = 4, in 1..=2400;
                    /// Failures in a row that make a server down.
                    failed_checks: u8 = 2, in 1..=50;
                    /// Successes in a row that make a server up.
                    successful_checks: u8 = 2, in 1..=50;
                    $($own)*
                }
            )*
        }
    };
}

monitors! {
    /// A connection is opened; optionally a text is sent and one awaited.
    pub struct TcpMonitor {
        /// The port that is probed; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// A text that is sent.
        send: Option<String> = None, is rules::sought_if_given;
        /// A text that must come within the first 2 KiB.
        expect: Option<String> = None, is rules::sought_if_given;
        /// A text within the first 2 KiB that means maintenance.
        maintenance_match: Option<String> = None, is rules::sought_if_given;
    }

    /// A request is sent and its answer judged.
    pub struct HttpMonitor {
        /// The port that is probed; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// The request: its first line, and header lines after `\r\n` if wanted.
        request: String = "GET / HTTP/1.0".to_owned(), is rules::probe;
        /// Send `request` as it stands, nothing added.
        exact_request: bool = false;
        /// Answers that mean success.
        statuses: Vec<StatusRange> = vec![StatusRange::SUCCESS];
        /// A text that must stand within the first 2 KiB of head and body.
        body_match: Option<String> = None, is rules::sought_if_given;
        /// Statuses that mean maintenance.
        maintenance_codes: Vec<u16> = Vec::new();
        /// A text within the first 2 KiB that means maintenance.
        maintenance_match: Option<String> = None, is rules::sought_if_given;
    }

    /// A request is sent over TLS (1.2 or 1.3) and its answer judged.
    pub struct HttpsMonitor {
        /// The port that is probed; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// The authorities that may have signed the server's certificate, a file in PEM form, read again when it has changed; a relative path counts from the configuration's folder. Absent: the certificate is not judged.
        ca_file: Option<String> = None, is rules::path_if_given;
        /// The engine's own certificate, for a server that asks for one, and after it those that lead to its authority: a file in PEM form, read again when it has changed. With `client_key_file`.
        client_certificate_file: Option<String> = None, is rules::path_if_given;
        /// The private key of that certificate, a file in PEM form.
        client_key_file: Option<String> = None, is rules::path_if_given;
        /// The name that the server is asked for (SNI) and, with `ca_file`, that its certificate must have; absent: the server's own, a host name or its IP address.
        server_name: Option<String> = None, is rules::host_if_given;
        /// The request: its first line, and header lines after `\r\n` if wanted.
        request: String = "GET / HTTP/1.0".to_owned(), is rules::probe;
        /// Send `request` as it stands, nothing added.
        exact_request: bool = false;
        /// Answers that mean success.
        statuses: Vec<StatusRange> = vec![StatusRange::SUCCESS];
        /// A text that must stand within the first 2 KiB of head and body.
        body_match: Option<String> = None, is rules::sought_if_given;
        /// Statuses that mean maintenance.
        maintenance_codes: Vec<u16> = Vec::new();
        /// A text within the first 2 KiB that means maintenance.
        maintenance_match: Option<String> = None, is rules::sought_if_given;
    }

    /// A datagram is sent; a refusal of the port is a failure, silence only where an answer is expected.
    pub struct UdpMonitor {
        /// The port that is probed; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// The text of the datagram; absent: an empty one.
        send: Option<String> = None, is rules::datagram_if_given;
        /// A text that must stand within the first 2 KiB of an answer; absent: silence passes too.
        expect: Option<String> = None, is rules::sought_if_given;
        /// A text there that means maintenance.
        maintenance_match: Option<String> = None, is rules::sought_if_given;
    }

    /// `grpc.health.v1.Health/Check` is called over HTTP/2 in clear text; SERVING is a success.
    pub struct GrpcMonitor {
        /// The port that is probed; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// The service that is asked about; absent: the server as a whole.
        service: Option<String> = None, is rules::sought_if_given;
    }

    /// An ICMP echo request is sent; its answer is a success.
    pub struct PingMonitor {
    }

    /// A command is run; exit status 0 is a success.
    pub struct ExternalMonitor {
        /// The port that `FOREBAY_SERVER_PORT` names; absent: the server's own.
        port: Option<u16> = None, in 1..=65_535;
        /// The program's full path and its arguments; no shell reads them. It finds the server in `FOREBAY_SERVER_ADDRESS` and `FOREBAY_SERVER_PORT`.
        command: Vec<String>, is rules::command;
    }
}

/// A range of status codes, as in `2xx`, `200` or `200-299`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The first code.
    pub low: u16,
    /// The last code.
    pub high: u16,
}

impl StatusRange {
    /// 200 to 299.
    pub const SUCCESS: Self = Self { low: 200, high: 299 };

    /// Whether `status` lies in it.
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

/// The text is no range of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARange;

impl FromStr for StatusRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let code = |t: &str| match t.parse::<u16>() {
            Ok(code @ 100..=599) if t.len() == 3 => Ok(code),
            _ => Err(NotARange),
        };
        if let [digit @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
            let low = u16::from(digit - b'0') * 100;
            return Ok(Self { low, high: low + 99 });
        }
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let range = Self { low: code(low)?, high: code(high)? };
        if range.low > range.high { Err(NotARange) } else { Ok(range) }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low.is_multiple_of(100) && self.high == self.low + 99 {
            write!(f, "{}xx", self.low / 100)
        } else if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

crate::read::text_serde!(StatusRange);
