//! Objects and the assignment of one engine, made into that engine's document.
//!
//! [`compile`] is pure: the same objects and the same assignment give the same text. What it gives is parts of a document
//! ([`Compiled::sections`]), so that a change travels as the parts that differ. All parts in the order of their keys are a
//! document that [`forebay_snapshot::check`] takes.
//!
//! Services, pools and whatever else has a name stand in the document under their uuids, which no change of a name changes;
//! [`uuid_of`] leads back. A service that has several kinds of ports becomes several of the document's.
//!
//! A service that cannot be carried out as its objects say is left out, with the reasons ([`Compiled::left_out`]): the others
//! of its engine do not wait for it. Nothing that could keep a client out is left out silently: what a rule asks for is done,
//! or its service is not.

mod actions;
mod again;
mod cx;
mod engine;
mod hosting;
mod http;
mod l4;
mod matching;
mod monitor;
mod networks;
mod persistence;
mod place;
mod policy;
mod pool;
mod rates;
mod service;
mod suites;
mod table;
mod tls;
mod view;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub use again::{Outline, compile_after};

use crate::Problem;
use crate::kind::Object;

/// Where objects are found. Secrets are open in what it gives.
pub trait Lookup {
    /// The object of this kind and uuid.
    fn get(&self, kind: &str, uuid: &str) -> Option<Object>;
    /// The one that everybody sees of this name, as in `System-HTTP`; of a kind of which there is one, whatever the name.
    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)>;
}

/// All that an engine's document follows from.
pub struct Input<'a> {
    /// The objects.
    pub objects: &'a dyn Lookup,
    /// The engine.
    pub engine: Engine,
    /// What it serves, in any order.
    pub services: Vec<Placed>,
    /// Keys of session tickets, the one that seals first; the same for all engines of a group. None: each engine has its own.
    pub ticket_keys: Vec<TicketKey>,
}

/// The engine that the document is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// Its name in logs and metrics.
    pub name: String,
    /// The uuid of its service engine group.
    pub group: String,
    /// Its place in object sync; `None`: it shares its tables with nobody.
    pub member: Option<Member>,
    /// The other engines of its group that share tables, in any order; the engine itself may stand among them.
    pub peers: Vec<Member>,
    /// One that only reads, whose address is the one from which it calls: the mirror that a Controller keeps.
    pub reader: Option<Member>,
    /// Its certificate for object sync and what belongs to it.
    pub identity: Identity,
    /// The Redis beside it, where its group does without object sync.
    pub redis_address: Option<String>,
    /// Other engines of the same machine listen on the same addresses.
    pub shares_listeners: bool,
}

/// An engine's place in object sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its slot, 0 to 63.
    pub slot: u8,
    /// Its management address.
    pub address: IpAddr,
    /// Its port, where it is another one than the group's: engines of one machine.
    pub port: Option<u16>,
}

/// Files by which engines of a group know one another, as paths from the folder of the engine's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group's name in certificates.
    pub group: String,
    /// The authority's certificate.
    pub ca_file: String,
    /// The engine's certificate.
    pub certificate_file: String,
    /// Its key.
    pub key_file: String,
    /// What the group alone knows.
    pub secret_file: String,
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            group: "default".to_owned(),
            ca_file: "objsync/ca.pem".to_owned(),
            certificate_file: "objsync/engine.pem".to_owned(),
            key_file: "objsync/engine.key".to_owned(),
            secret_file: "objsync/secret".to_owned(),
        }
    }
}

/// A service that is placed on the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The uuid of the virtual service.
    pub service: String,
    /// The `vip_id`s that the engine has; empty: all.
    pub vips: Vec<String>,
    /// On how many engines it is, this one included: bounds for the service as a whole are shared out. 0 counts as 1.
    pub engines: u32,
    /// Since when it is placed, milliseconds since 1970: of two that want one address the elder one has it.
    pub since: u64,
    /// The uuids of the children that it is the parent of, the eldest first: where there is room for some, they have it.
    pub children: Vec<String>,
}

/// A key of session tickets.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// The name by which tickets find it.
    pub name: String,
    /// The key.
    pub key: [u8; 32],
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKey {{ name: {:?}, .. }}", self.name)
    }
}

/// An engine's document, in parts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The text of each part, by `<what>/<name>`. They hold keys: whoever keeps or sends them keeps them secret.
    pub sections: BTreeMap<String, String>,
    /// What was asked for and does nothing, by the uuid of the service that it was asked for, in the words of the user's own
    /// objects. Of a parent it says what stands in its children's pools as well.
    pub warnings: BTreeMap<String, Vec<Problem>>,
    /// Services that are not in the document, by uuid, and why.
    pub left_out: BTreeMap<String, Vec<Problem>>,
    /// What is known of the document beside, for [`compile_after`].
    pub outline: Outline,
}

// Sections hold keys.
//= COMPILE-SECRET-01
impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("sections", &self.sections.keys())
            .field("warnings", &self.warnings)
            .field("left_out", &self.left_out)
            .finish()
    }
}

impl Compiled {
    /// The whole document.
    pub fn document(&self) -> String {
        document(&self.sections)
    }
}

/// The document that these parts are.
pub fn document(sections: &BTreeMap<String, String>) -> String {
    sections.values().map(String::as_str).collect()
}

/// The uuid of the object that a name in the document stands for: engines report by those names.
pub fn uuid_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(uuid, _)| uuid)
}

/// Makes an engine's document.
///
/// # Errors
/// What is wrong with the engine itself or its group; what is wrong with a service leaves that one out.
//= COMPILE-PURE-01
pub fn compile(input: &Input<'_>) -> Result<Compiled, Vec<Problem>> {
    whole::compile(input)
}
