//! Bounds of a configuration document, each with its reason.

/// Bytes of a document: five thousand servers with long names need about 1 MiB; more is a mistake or an attack.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Items of any list but the document's own: a pool holds at most 5,000 servers, and no other list is longer.
pub const LIST_ITEMS_MAX: usize = 10_000;
/// Tables of one kind: ten thousand services have two kinds of ports and certificates of two files each at most, and fill the
/// document with them.
pub const TABLES_MAX: usize = 40_000;
/// Servers of one pool, as in the public limits of the product whose users we serve.
pub const POOL_SERVERS_MAX: usize = 5_000;
/// Health monitors of one pool, for the same reason.
pub const POOL_MONITORS_MAX: usize = 50;
/// Listening addresses of one virtual service: each costs one socket a worker.
pub const LISTEN_MAX: usize = 64;
/// Characters of a name: it stands in metric labels, logs and cookies' names.
pub const NAME_CHARS_MAX: usize = 128;
/// Bytes of a probe's request: one segment on any link, so that a probe is one write.
pub const PROBE_REQUEST_BYTES_MAX: usize = 1_024;
/// Bytes of a text sought in an answer: it fits the searched 2 KiB with room for a head before it.
pub const PROBE_MATCH_BYTES_MAX: usize = 512;
/// Words of a monitor's command, its program included: more is a script that was not written.
pub const COMMAND_WORDS_MAX: usize = 64;
/// Bytes of one of them, for the same reason.
pub const COMMAND_WORD_BYTES_MAX: usize = 4_096;
/// Maintenance codes of a monitor, as in the public limits.
pub const MAINTENANCE_CODES_MAX: usize = 4;
/// Keys of one persistence's cookies: the one that seals and those that still open; they are looked at one by one.
pub const COOKIE_KEYS_MAX: usize = 16;
/// Pools of a group: each choice looks at all of them.
pub const GROUP_MEMBERS_MAX: usize = 256;
/// Different host names among the servers: each is looked up again and again, and a thousand at the shortest interval are
/// two hundred questions a second.
pub const HOST_NAMES_MAX: usize = 1_000;
/// Name servers, as in resolv.conf with room to spare: each that is silent costs time.
pub const NAME_SERVERS_MAX: usize = 8;
/// Keys of session tickets: the one that seals and those that still open, five a day if they are changed every six hours.
pub const TICKET_KEYS_MAX: usize = 16;
/// Lists of what authorities revoked: a handshake looks for the one that is its client's authority's among all of them.
pub const CRL_FILES_MAX: usize = 64;
/// Certificates of one service: a key of 2 KiB and a chain of 4 KiB each, read again with each load.
pub const SERVICE_CERTIFICATES_MAX: usize = 256;
/// TLS profiles of single hosts of a service, beside its own: each has all of its certificates in memory once more.
pub const HOST_TLS_PROFILES_MAX: usize = 16;
/// Names by which one service passes TLS on, or serves hosts otherwise than its others: some hundred bytes each.
pub const SNI_NAMES_MAX: usize = 10_000;
