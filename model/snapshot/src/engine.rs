//! What belongs to the engine as a process: memory, workers, sockets of its own, logs.

use std::net::SocketAddr;

use crate::read::{section, words};
use crate::rules;
use crate::secret::Secret;

section! {
    /// The engine as a process.
    pub struct Engine {
        /// The engine's name in logs and metrics.
        name: String = "forebay-se".to_owned(), is rules::name;
        /// Worker threads; absent: one for each core.
        workers: Option<u16> = None, in 1..=256;
        /// Memory of the process in GiB, from which connections, buffers and tables are sized.
        memory_gib: u16 = 2, in 1..=128;
        /// Share of the memory (percent) for connections and buffers; the rest is for tables.
        connection_memory_percentage: u8 = 50, in 10..=90;
        /// Bytes for persistence tables, if the share is too much; 0: no further bound.
        persistence_mem_max_bytes: u64 = 0, in 0..=33_554_432;
        /// The user that the engine becomes once it listens: a name or a number; absent: it stays who it is.
        user: Option<String> = None, is rules::account_if_given;
        /// The group that it becomes then; absent: the user's own.
        group: Option<String> = None, is rules::account_if_given;
        /// Unix socket for `forebay-se status` and its like (mode 0600); a relative path counts from the configuration's folder.
        admin_socket: String = "forebay-se.sock".to_owned(), is rules::socket_path;
        /// Address of `/metrics`, `/healthz`, `/readyz` and the status page; absent: not served.
        metrics_listen: Option<SocketAddr> = None;
        /// One line for each request.
        access_log: AccessLog = AccessLog::default();
        /// Lines about the engine itself, on standard error.
        process_log: ProcessLog = ProcessLog::default();
        /// How the host names of servers are looked up.
        dns: Dns = Dns::default();
        /// Secret of the persistence tables' hash (16 bytes, base64), equal on the engines of a service; absent: random at start.
        table_secret: Option<Secret<16>> = None;
        /// Seconds that open requests get to end when the engine stops.
        stop_grace_s: u16 = 30, in 0..=3600;
        /// Load this file again whenever it changes.
        watch_config: bool = false;
        /// Seconds without progress of a worker before another one accepts for it.
        stuck_worker_s: u8 = 1, in 1..=60;
    }

    /// How the host names of servers are looked up; /etc/hosts comes first.
    pub struct Dns {
        /// The name servers that are asked; none: those of /etc/resolv.conf, with its search list.
        servers: Vec<SocketAddr> = Vec::new();
        /// Which addresses of a name are taken.
        family: Family = Family::Ipv4First;
        /// Seconds that an answer counts at least, whatever its TTL says.
        ttl_min_s: u16 = 5, in 1..=3600;
        /// Seconds that an answer counts at most.
        ttl_max_s: u32 = 3_600, in 1..=86_400;
    }

    /// One line for each request.
    pub struct AccessLog {
        /// A file, `-` for standard output, `off` for none; a relative path counts from the configuration's folder.
        path: String = "access.log".to_owned(), is rules::path;
        /// The lines' form.
        format: AccessFormat = AccessFormat::Json;
        /// KiB that each worker may have waiting for the disk; what does not fit is dropped and counted.
        ring_kib: u32 = 4096, in 64..=1_048_576;
    }

    /// Lines about the engine itself.
    pub struct ProcessLog {
        /// The least important lines that are shown.
        level: LogLevel = LogLevel::Info;
        /// The lines' form.
        format: ProcessFormat = ProcessFormat::Text;
    }
}

words! {
    /// Which addresses of a host name are taken.
    pub enum Family {
        /// IPv4, and IPv6 only of a name that has no IPv4 address.
        Ipv4First = "ipv4_first",
        /// IPv6, and IPv4 only of a name that has no IPv6 address.
        Ipv6First = "ipv6_first",
        /// Both together.
        Both = "both",
    }

    /// Forms of the access log.
    pub enum AccessFormat {
        /// One JSON object a line.
        Json = "json",
    }

    /// Importance of a line about the engine.
    pub enum LogLevel {
        /// The engine is broken.
        Error = "error",
        /// Somebody should look if it repeats.
        Warn = "warn",
        /// A state that a user notices.
        Info = "info",
        /// A decision off the ordinary path.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }

    /// Forms of the lines about the engine.
    pub enum ProcessFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
