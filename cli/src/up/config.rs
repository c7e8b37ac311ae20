//! The configuration that `up` writes into its data folder: a file to read and to start from.

use std::fmt::Write;
use std::net::SocketAddr;

/// The cookie that the application sets.
pub const SESSION_COOKIE: &str = "JSESSIONID";

/// The certificate that `up` makes, in its data folder.
pub const CHAIN_FILE: &str = "https.pem";
/// Its key.
pub const KEY_FILE: &str = "https.key";

/// A virtual service of `up`.
#[derive(Clone, Copy)]
pub struct Service {
    /// Its name, and its pool's.
    pub name: &'static str,
    /// How it knows a client again.
    pub stick: Stick,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a service knows a client by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stick {
    /// A cookie that the service engine inserts.
    Cookie,
    /// The client's address.
    Address,
    /// The session cookie of the application.
    Session,
    /// Nothing.
    None,
}

impl Stick {
    /// The services, in the order of their ports.
    pub const ALL: [(&'static str, Self); 4] = [
        ("cookie", Self::Cookie),
        ("address", Self::Address),
        ("session", Self::Session),
        ("plain", Self::None),
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Cookie => "a cookie it inserts",
            Self::Address => "the client's address",
            Self::Session => "the application's JSESSIONID",
            Self::None => "nothing: round robin",
        }
    }
}

/// The group of the engines, which stands in their certificates.
pub const GROUP: &str = "up";
/// The folder of their certificates, in the data folder.
pub const PKI_FOLDER: &str = "pki";

/// A service engine of `up`.
#[derive(Clone, Copy)]
pub struct Seat {
    /// Its place in the group of those that share their tables; 1 is `se-1`.
    pub slot: u8,
    /// Where the other one reaches it.
    pub sync: SocketAddr,
    /// Where it serves its metrics.
    pub metrics: SocketAddr,
}

impl Seat {
    /// Its name, and its folder's.
    pub fn name(&self) -> String {
        format!("se-{}", self.slot)
    }
}

/// All that the configuration depends on.
pub struct Plan {
    /// The service engines, which differ in nothing else.
    pub seats: Vec<Seat>,
    /// The virtual services.
    pub services: Vec<Service>,
    /// Name (for people) and address of each server.
    pub servers: Vec<(String, SocketAddr)>,
    /// Whether the servers are ours and have `/health`.
    pub demo: bool,
    /// Where HTTPS is served, for the pool of the first service.
    pub secure: SocketAddr,
    /// Worker threads of each engine.
    pub workers: u16,
    /// Key of the inserted cookie, in base64.
    pub cookie_key: String,
}

impl Plan {
    /// The text of an engine's file.
    pub fn text(&self, seat: &Seat) -> String {
        let mut t = String::new();
        self.engine(seat, &mut t)
            .and_then(|()| self.objsync(seat, &mut t))
            .and_then(|()| self.services(&mut t))
            .expect("a String takes all that is written");
        t
    }

    fn engine(&self, seat: &Seat, t: &mut String) -> std::fmt::Result {
        let command = "forebay-se run --config se.toml";
        writeln!(t, "# Written by `forebay up`. In this folder, `{command}` runs it again.\nversion = 1\n")?;
        writeln!(t, "[engine]\nname = \"{}\"\nworkers = {}\nmemory_gib = 1", seat.name(), self.workers)?;
        writeln!(
            t,
            "persistence_mem_max_bytes = 33_554_432 # room for half a million entries, reserved in no time"
        )?;
        writeln!(t, "admin_socket = \"admin.sock\"\nmetrics_listen = \"{}\"", seat.metrics)?;
        writeln!(t, "access_log = {{ path = \"access.log\", format = \"json\" }}\n")
    }

    /// How the engine knows the others, and they it.
    fn objsync(&self, seat: &Seat, t: &mut String) -> std::fmt::Result {
        let others: Vec<String> =
            self.seats.iter().filter(|other| other.slot != seat.slot).map(Seat::name).collect();
        writeln!(t, "[objsync] # tables that are the same here and at {}", others.join(", "))?;
        writeln!(t, "address = \"{}\"\nport = {}", seat.sync.ip(), seat.sync.port())?;
        writeln!(t, "group = \"{GROUP}\"\nslot = {}", seat.slot)?;
        writeln!(t, "ca_file = \"../{PKI_FOLDER}/ca.pem\"")?;
        for (key, kind) in [("certificate_file", "pem"), ("key_file", "key")] {
            writeln!(t, "{key} = \"../{PKI_FOLDER}/{GROUP}-{}.{kind}\"", seat.name())?;
        }
        writeln!(t, "secret_file = \"../{PKI_FOLDER}/{GROUP}.secret\"")?;
        writeln!(t, "snapshot_file = \"off\" # each run begins with empty tables")?;
        let member = |seat: &Seat| {
            let (slot, sync) = (seat.slot, seat.sync);
            format!("{{ slot = {slot}, address = \"{}\", port = {} }}", sync.ip(), sync.port())
        };
        let members: Vec<String> = self.seats.iter().map(member).collect();
        writeln!(t, "members = [{}]\n", members.join(", "))
    }

    fn services(&self, t: &mut String) -> std::fmt::Result {
        // Both engines listen there, and the kernel shares the clients out.
        let shared = "shared_listener = true";
        for service in &self.services {
            writeln!(
                t,
                "[[virtual_service]]\nname = \"{}\"\nlisten = [\"{}\"]",
                service.name, service.address
            )?;
            writeln!(t, "{shared}\npool = \"{}\"\n", service.name)?;
        }
        writeln!(t, "[[virtual_service]] # https, over HTTP/2 where the client speaks it")?;
        writeln!(
            t,
            "name = \"https\"\nlisten = [\"{}\"]\n{shared}\npool = \"{}\"",
            self.secure, self.services[0].name
        )?;
        writeln!(t, "http_profile = \"two\"\ncertificates = [\"up\"]\n")?;
        writeln!(t, "[[http_profile]]\nname = \"two\"\nhttp2 = true\n")?;
        writeln!(t, "[[certificate]] # made by `up`; it has signed itself")?;
        writeln!(t, "name = \"up\"\nchain_file = \"../{CHAIN_FILE}\"\nkey_file = \"../{KEY_FILE}\"\n")?;
        for service in &self.services {
            let algorithm = if service.stick == Stick::None { "round_robin" } else { "least_connections" };
            writeln!(t, "[[pool]]\nname = \"{}\"\nalgorithm = \"{algorithm}\"", service.name)?;
            if service.stick != Stick::None {
                writeln!(t, "persistence = \"{}\"", service.name)?;
            }
            writeln!(t, "health_monitors = [\"alive\"]\nconnection_ramp_min = 0")?;
            let sorry = "no server is up; see /metrics and the log";
            writeln!(
                t,
                "fail_action = {{ action = \"local_response\", status = 503, body = \"{sorry}\\n\" }}"
            )?;
            for (name, address) in &self.servers {
                writeln!(t, "[[pool.server]] # {name}\naddress = \"{address}\"")?;
            }
            writeln!(t)?;
        }
        for service in &self.services {
            let kind = match service.stick {
                Stick::Cookie => "type = \"http_cookie\"\ncookie_name = \"FOREBAY\"",
                Stick::Address => "type = \"client_ip\"\ntimeout_min = 5",
                Stick::Session => "type = \"app_cookie\"\ncookie_name = \"JSESSIONID\"\ntimeout_min = 20",
                Stick::None => continue,
            };
            writeln!(t, "[[persistence]]\nname = \"{}\"\n{kind}\n", service.name)?;
        }
        writeln!(t, "[[cookie_key]] # the key of this run\nname = \"k1\"\nkey = \"{}\"\n", self.cookie_key)?;
        writeln!(t, "[[health_monitor]]\nname = \"alive\"")?;
        if self.demo {
            writeln!(t, "type = \"http\"\nrequest = \"GET /health HTTP/1.0\"")?;
        } else {
            writeln!(t, "type = \"tcp\"")?;
        }
        writeln!(t, "send_interval_s = 2\nreceive_timeout_s = 1\nfailed_checks = 2\nsuccessful_checks = 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_no_problem() {
        for demo in [true, false] {
            let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let services = Stick::ALL.into_iter().zip(8080..);
            let plan = Plan {
                services: services
                    .map(|((name, stick), port)| Service { name, stick, address: address(port) })
                    .collect(),
                servers: vec![("one".into(), address(9001)), ("two".into(), address(9002))],
                demo,
                secure: address(8084),
                seats: [1, 2]
                    .map(|slot| Seat {
                        slot,
                        sync: SocketAddr::from(([127, 0, 0, 1 + slot], 9001)),
                        metrics: address(9099 + u16::from(slot)),
                    })
                    .into(),
                workers: 2,
                cookie_key: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into(),
            };
            for seat in &plan.seats {
                let text = plan.text(seat);
                forebay_snapshot::check(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
            }
        }
    }
}
