//! A service engine's configuration: file, checks and defaults.
//!
//! [`Snapshot`] is what a stand-alone TOML file holds and what a service engine runs. [`check`] is the one
//! way in: it reads a document, reports *all* its problems at once, each with path, line, reason and
//! fix, and gives a snapshot only if there is none. Invariant of a snapshot that `check` gave: names are
//! unique within their kind, every reference names something, every number is within its range, no
//! address is listened on twice. Defaults are those that users of Avi know, with units in the names.

#![forbid(unsafe_code)]

mod conflicts;
pub mod engine;
pub mod health;
pub mod hosts;
mod ignored;
mod inline;
mod l4;
pub mod limits;
mod loops;
mod member;
mod names;
pub mod objsync;
pub mod persistence;
pub mod pool;
pub mod pool_tls;
mod problem;
pub mod profile;
mod read;
mod reference;
mod rules;
mod secret;
pub mod service;
mod sessions;
pub mod sni;
mod suggest;
pub mod tls;

/// Bounds of what the document's parts become.
pub use forebay_core::limits as core_limits;

pub use engine::Engine;
pub use health::HealthMonitor;
pub use inline::{InlineFile, inline_name, settle_inline};
pub use member::{GROUP_NAME_MAX, SLOTS, group_problem, member_name, member_of, reader_name};
pub use names::host_names;
pub use objsync::{Objsync, Other};
pub use persistence::{CookieKey, Persistence};
pub use pool::{Host, Pool, PoolGroup, Server, ServerAddress};
pub use problem::Problem;
pub use profile::{HttpProfile, TcpProfile, UdpProfile};
pub use read::FieldDoc;
pub use reference::reference;
pub use secret::{Hidden, Secret, SecretProblem};
pub use service::{Protocol, VirtualService};
pub use suggest::nearest;
pub use tls::{Certificate, PkiProfile, TlsProfile};

use read::{Reader, Section, section};
use toml::de::DeTable;

/// The version of the document's form that this crate reads.
pub const VERSION: u32 = 1;

section! {
    /// A service engine's configuration.
    pub struct Snapshot {
        /// The version of the document's form.
        version: u32, in 1..=1;
        /// The engine as a process.
        engine: Engine = Engine::default();
        /// How the engine shares its persistence tables with others.
        objsync: Objsync = Objsync::default();
        /// What clients connect to.
        virtual_service: Vec<VirtualService> = Vec::new();
        /// Servers that do the same work.
        pool: Vec<Pool> = Vec::new();
        /// Pools that share or back up each other.
        pool_group: Vec<PoolGroup> = Vec::new();
        /// Ways to keep a client on its server.
        persistence: Vec<Persistence> = Vec::new();
        /// Keys of the cookies that we make.
        cookie_key: Vec<CookieKey> = Vec::new();
        /// Ways to probe a server.
        health_monitor: Vec<HealthMonitor> = Vec::new();
        /// Named lists of strings, for rules.
        string_group: Vec<forebay_core::policy::StringGroup> = Vec::new();
        /// Named lists of addresses and networks, for rules.
        address_group: Vec<forebay_core::policy::AddressGroup> = Vec::new();
        /// Time-outs, limits and header habits.
        http_profile: Vec<HttpProfile> = Vec::new();
        /// Time-outs of TCP services.
        tcp_profile: Vec<TcpProfile> = Vec::new();
        /// Bounds of UDP services.
        udp_profile: Vec<UdpProfile> = Vec::new();
        /// Certificates with their keys.
        certificate: Vec<Certificate> = Vec::new();
        /// Keys of session tickets.
        ticket_key: Vec<tls::TicketKey> = Vec::new();
        /// Habits of services whose clients speak TLS.
        tls_profile: Vec<TlsProfile> = Vec::new();
        /// Whom services trust that ask their clients for certificates.
        pki_profile: Vec<PkiProfile> = Vec::new();
        /// Files that stand in the document itself.
        file: Vec<InlineFile> = Vec::new();
    }
}

/// Reads a document.
///
/// # Errors
/// All problems of the document at once, in the order of their lines.
//= CFG-CHECK-01
//= CFG-PANIC-01
pub fn check(text: &str) -> Result<Snapshot, Vec<Problem>> {
    if text.len() > limits::DOCUMENT_BYTES_MAX {
        return Err(vec![Problem {
            line: None,
            path: "the document".to_owned(),
            reason: format!("it has {} bytes, at most {} are read", text.len(), limits::DOCUMENT_BYTES_MAX),
            fix: "split the configuration".to_owned(),
        }]);
    }
    // Where something is wrong it is read once more, to say in which lines.
    read(text, false).or_else(|_| read(text, true))
}

fn read(text: &str, notes_places: bool) -> Result<Snapshot, Vec<Problem>> {
    let mut reader = Reader::new(text, notes_places);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map(|span| reader.line_at(span.start));
        let fix = "repair the TOML syntax in this line or the one before".to_owned();
        reader.report_line(line, "the document", error.message().trim().replace('\n', "; "), fix);
    }
    // A document that is no TOML gives follow-up problems of lines that were not understood.
    if !errors.is_empty() {
        return Err(sorted(reader.into_problems()));
    }
    let snapshot = Snapshot::read_table(&mut reader, "", table.get_ref(), &[]);
    conflicts::find(&mut reader, &snapshot);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(snapshot) } else { Err(sorted(problems)) }
}

/// Where the admin socket of an engine is, as far as a document says so; otherwise where it is by default. Reads a document
/// that [`check`] refuses as well: an engine goes on with the one that it loaded, and wants to be asked all the same.
//= OBS-CLI-02
pub fn admin_socket(text: &str) -> String {
    let (table, _) = DeTable::parse_recoverable(text);
    let engine = table.get_ref().get("engine").and_then(|engine| engine.get_ref().as_table());
    let said = engine.and_then(|engine| engine.get("admin_socket")).and_then(|path| path.get_ref().as_str());
    said.filter(|path| rules::socket_path(path).is_ok())
        .map_or_else(|| Engine::default().admin_socket, str::to_owned)
}

/// What a document that is right deserves to be warned of.
pub fn warnings(snapshot: &Snapshot) -> Vec<Problem> {
    pool_tls::warnings(snapshot).collect()
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

/// Derives the 32-bit id that stands for a service or pool in cookies and tables from its name (FNV-1a),
/// so it is the same after a restart and on every engine. [`check`] refuses two names with one id.
pub fn name_id(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
