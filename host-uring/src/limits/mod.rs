//! Every bound of the process, each with its reason.

pub mod cgroup;
pub mod sizes;

/// Idle server connections that are given up for one new one when the system has no descriptor left. More than one,
/// as another worker may take what the first one freed; few, as each costs a system call.
pub const GIVEN_UP_AT_ONCE_MAX: usize = 8;

/// Pending connections of a listening socket: a burst of one worker's accept rate for some tens of milliseconds.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Messages waiting for one worker: more than one for each server of a pool that changes at once is a storm,
/// and the generation counters tell the worker all the same.
pub const MAILBOX_MESSAGES_MAX: usize = 64;
/// Bytes of one access log line. A longer request's texts are cut.
pub const LOG_LINE_BYTES_MAX: usize = 8_192;
/// Bytes of one text (path, host, user agent) in an access log line, so that one line always fits.
pub const LOG_TEXT_BYTES_MAX: usize = 1_024;
/// Probes under way at the same time. Each takes a file descriptor; later ones wait for a place, which counts
/// as part of their time, so this is well above what a pool of the largest size needs at once.
pub const PROBES_AT_ONCE_MAX: usize = 4_096;
/// Commands of external monitors at the same time: each is a process, and more would take the workers' cores.
pub const COMMANDS_AT_ONCE_MAX: usize = 32;
/// Addresses of one host name that become servers, the lowest first; what is more in one answer is a mistake or an attack.
pub const NAME_ADDRESSES_MAX: usize = 64;
/// Host names that are looked up at the same time: each takes a descriptor or two.
pub const NAME_LOOKUPS_AT_ONCE_MAX: usize = 16;
/// Seconds that the lookup of one name may take, over all name servers and tries: two rounds of what resolv.conf has by
/// default.
pub const NAME_LOOKUP_S: u64 = 20;
/// Milliseconds that one question to a name server of the configuration may take, and how often it is put.
pub const NAME_ASK_MS: u64 = 2_000;
/// How often a question is put to the name servers of the configuration before the lookup has failed.
pub const NAME_ASKS_MAX: usize = 2;
/// Milliseconds that the start and a reload wait for names that were never looked up: longer than a slow answer, and
/// short of what a service manager or a person takes for a hang.
pub const NAME_FIRST_WAIT_MS: u64 = 3_000;
/// Seconds before a lookup that failed is repeated; twice as long each time.
pub const NAME_RETRY_FIRST_S: u64 = 1;
/// The longest of these waits: a name server that is back is asked within this time.
pub const NAME_RETRY_MAX_S: u64 = 30;
/// Milliseconds between two changes of the servers by their names: names that change together change them once, and
/// answers that differ each time cost two configurations a second at most.
pub const NAME_PUBLISH_MS: u64 = 500;
/// Seconds between two looks whether resolv.conf or the hosts file has changed.
pub const NAME_FILES_LOOK_S: u64 = 2;
/// Bytes of a file with a certificate's chain or key: a chain of ten with the longest keys is a fifth of it.
pub const CERTIFICATE_FILE_BYTES_MAX: u64 = 256 << 10;
/// Certificates of a chain: each goes to every client, and no client follows longer ones.
pub const CERTIFICATE_CHAIN_MAX: usize = 10;
/// Bytes of a file of the authorities whose clients are let in: three times what as many of them as are taken have.
pub const AUTHORITIES_FILE_BYTES_MAX: u64 = 256 << 10;
/// Authorities whose clients are let in: each client is told the names of all of them.
pub const AUTHORITIES_MAX: usize = 64;
/// Bytes of a file with lists of revocations: half a million of them.
pub const REVOCATIONS_FILE_BYTES_MAX: u64 = 16 << 20;
/// Seconds after which an engine makes a new key for session tickets: a key that gets lost opens a day's sessions and six
/// hours', and with tickets of a day five keys are kept.
pub const TICKET_KEY_S: u64 = 6 * 3_600;
/// Bytes of a session ticket: an ordinary one has 160, a client's certificate with its chain in it some KiB.
pub const TICKET_BYTES_MAX: usize = 16 << 10;
/// Sessions by ID that a service keeps at most, half a KiB each: those of its clients of TLS 1.2 that have come last. Next
/// to all of them take tickets, which need no memory.
pub const SESSIONS_BY_ID_MAX: usize = 2048;
/// Sessions that a service keeps at most where early data is taken, half a KiB each: those of all its clients, 8 MiB. Who is
/// not among them makes a whole handshake.
pub const EARLY_SESSIONS_MAX: usize = 16_384;
/// Bytes that a client may send with its first message: heads of some requests, and with that message less than
/// [`HANDSHAKE_BYTES_MAX`].
pub const EARLY_DATA_BYTES_MAX: u32 = 16 << 10;
/// Bytes that a client may send before its handshake is over: ten times the longest first message that is sent (keys that
/// withstand quantum computers, a ticket), as no client is asked for certificates. They are kept until the message is
/// whole; so a handshake stays within [`sizes::CONNECTION_BYTES`].
pub const HANDSHAKE_BYTES_MAX: usize = 28 << 10;
/// Bytes that are read and dropped of a client whose handshake failed, so that the close does not overtake the alert that
/// says why: twice what a client sends before it reads (its first message and early data).
pub const PARTING_BYTES_MAX: usize = 256 << 10;
/// Bytes of one such read.
pub const PARTING_READ_BYTES: usize = 4 << 10;
/// How long that takes at most, microseconds.
pub const PARTING_US: u64 = 1_000_000;
/// Names that a worker remembers sessions of with one server: most have one; more are hosts of requests, as many as clients
/// like to send.
pub const SESSION_NAMES_MAX: usize = 4;
/// Sessions of one name that a worker remembers, some KiB together: a server gives one or two with each connection, and
/// each is used once.
pub const SESSION_TICKETS_MAX: usize = 8;
/// Bytes of a name that a client asks for, as the log shows it: a host name has at most 253.
pub const SERVER_NAME_BYTES_MAX: usize = 255;
/// Bytes of one read from a connection that speaks TLS: four of the largest records, so that a large body costs a system
/// call for each 64 KiB. One such buffer for each worker.
pub const TLS_READ_BYTES: usize = 64 * 1024;
/// Bytes of the first such read, and of one after records with little in them: what a request's head begins with, and
/// no more of the smallest records than can be looked at in a millisecond or two.
pub const TLS_READ_FIRST_BYTES: usize = 8 * 1024;
/// Bytes of records beyond their plain text that a connection may have read before the others have a turn: more than the
/// largest record that is not whole yet, and a thousand of the smallest.
pub const TLS_WASTE_BYTES_MAX: usize = 24 * 1024;
/// Bytes of plain text that one write seals at most: what its receiver's socket did not take is kept, sealed.
pub const TLS_WRITE_BYTES: usize = 128 * 1024;
/// Bytes of a file of authorities, or of an own certificate or key: some twenty times the list that browsers trust.
pub const TLS_FILE_BYTES_MAX: u64 = 4 << 20;
/// Milliseconds between two looks of the passive monitors at the workers' counters.
pub const PASSIVE_LOOK_MS: u64 = 100;
/// Milliseconds between two looks of the log's writer at the rings: 4 MiB last for 200 MB/s of lines a worker.
pub const LOG_POLL_MS: u64 = 20;
/// Bytes that the log's writer hands to the system at once: large enough that calls do not count.
pub const LOG_WRITE_BYTES: usize = 256 << 10;
/// Seconds between two complaints about the log, so that a full disk does not fill another one.
pub const LOG_COMPLAINT_S: u64 = 60;
/// Bytes that each worker may have waiting for the control thread, of records that the Controller is told of.
pub const TOLD_RING_BYTES: usize = 1 << 20;
/// Milliseconds between two looks at those rings.
pub const TOLD_LOOK_MS: u64 = 50;
/// Bytes of one look, over all workers: 20 MB/s, some 28,000 records a second, which take the control thread a tenth of a core.
pub const TOLD_LOOK_BYTES: usize = 1 << 20;
/// Milliseconds until records are sent that do not fill a message.
pub const TOLD_BATCH_MS: u64 = 500;
/// Bytes of packed records that wait for the Controller: a minute of a thousand records a second.
pub const TOLD_KEPT_BYTES_MAX: usize = 8 << 20;
/// Milliseconds until a Controller that could not take records is sent some again.
pub const TOLD_REFUSED_MS: u64 = 1_000;
/// Milliseconds between two attempts to open a log that cannot be written.
pub const LOG_RETRY_MS: u64 = 1_000;
/// Clients of the metrics address at the same time; a further one takes the place of one that holds it for nothing.
/// Scrapers and people, not traffic.
pub const WEB_CONNECTIONS_MAX: usize = 32;
/// Seconds in which a request on the metrics address must come: scrapers send it at once.
pub const WEB_HEAD_S: u64 = 2;
/// Seconds for one exchange on the metrics address, reading and writing: a slow client holds a place no longer.
pub const WEB_EXCHANGE_S: u64 = 10;
/// Seconds that a client of the metrics address or the admin socket may take nothing of its answer.
pub const CONTROL_WRITE_S: u64 = 2;
/// Milliseconds without progress of such a client before another one may have its place, when all are taken: some
/// round trips, as a new client's first look must not cost one that reads its place.
pub const CONTROL_DISPLACE_MS: u64 = 100;
/// Milliseconds between two looks for a place while all clients are being answered.
pub const PLACE_LOOK_MS: u64 = 50;
/// Seconds before it is said again that connections cannot be accepted.
pub const ACCEPT_TELL_S: u64 = 60;
/// Bytes of a request's head on the metrics address.
pub const WEB_HEAD_BYTES_MAX: usize = 8_192;
/// Clients of the admin socket at the same time.
pub const ADMIN_CONNECTIONS_MAX: usize = 8;
/// Bytes of one request on the admin socket: `explain` carries a request's head.
pub const ADMIN_REQUEST_BYTES_MAX: usize = 256 << 10;
/// Seconds for one request on the admin socket, writing the answer included.
pub const ADMIN_EXCHANGE_S: u64 = 10;
/// Entries that one `persistence` answer holds at most; the count of what fits the filter goes on.
pub const ADMIN_ENTRIES_MAX: usize = 10_000;
/// Bytes of the persistence table that are made resident between two looks whether the engine stops: some tenths of a
/// millisecond.
pub const TABLE_TOUCH_BYTES: u64 = 1 << 20;
/// Milliseconds between two looks at what workers have freed: as often as they free something.
pub const TRIM_LOOK_MS: u64 = 1_000;
/// Bytes that workers must have freed before they are given back to the system: below that it is not worth the walk
/// through the allocator's lists.
pub const TRIM_BYTES_MIN: u64 = 4 << 20;
/// Milliseconds between two looks at the persistence table's counts: each takes every partition's lock once.
pub const TABLE_LOOK_MS: u64 = 1_000;
/// Percent of the persistence table's room from which it is told that it fills up: before entries are lost.
pub const TABLE_HIGH_PERCENT: u64 = 90;
/// Percent below which it has to fall before that is told again.
pub const TABLE_HIGH_OVER_PERCENT: u64 = 80;
/// Seconds before a full table is told again.
pub const TABLE_FULL_TELL_S: u64 = 60;
/// Milliseconds that a listening address may stay taken at the start: the kernel gives back the sockets in a
/// killed engine's rings only some time after its process is gone.
pub const BIND_WAIT_MS: u64 = 1_500;
/// Milliseconds between two tries to bind.
pub const BIND_LOOK_MS: u64 = 20;
/// Milliseconds for the question whether somebody listens on a taken port: a local one answers at once.
pub const BIND_ASK_MS: u64 = 200;
/// Milliseconds between two looks of the supervisor at the workers' ticks; a worker has to tick more often than
/// `stuck_worker_s`, of which the least is one second.
pub const SUPERVISOR_LOOK_MS: u64 = 100;
/// Milliseconds before a worker that panicked right after its start is started again, so that a fault that
/// always strikes does not take a core; below the second within which a worker must be back.
pub const RESTART_DELAY_MS: u64 = 500;
/// Milliseconds after a stop in which handshakes that have begun may end: the round trip of a far client.
pub const STOP_ACCEPT_MS: u64 = 300;
/// Seconds that workers get to end after the grace is over and everything was told to stop.
pub const STOP_NOW_S: u64 = 2;
/// Milliseconds between two looks whether the engine is ready, for the service manager that waits for it.
pub const READY_LOOK_MS: u64 = 50;
/// Milliseconds after which an engine counts as ready although some server has neither passed nor failed: the usual
/// receive time-out of a monitor and a little.
pub const READY_PATIENCE_MS: u64 = 5_000;

/// Servers of all earlier configurations together by which requests still work, on each worker; the requests of the
/// oldest are cut beyond that. Some 0.5 KiB each: WebSockets that live for days over a reload every minute hold no more
/// than 64 MiB a worker.
pub const RETIRED_SERVERS_MAX: usize = 131_072;
/// Seconds that the answer to a reload waits for all workers; one that stands still takes the configuration when it goes
/// on.
pub const RELOAD_WAIT_S: u64 = 5;
/// Milliseconds between two looks at the configuration file, where it is watched; it is read when two looks in a row
/// have found it the same.
pub const WATCH_LOOK_MS: u64 = 500;
/// Milliseconds that clients in the queue of a removed address have to be accepted.
pub const LEAVE_ACCEPT_MS: u64 = 300;

/// Bytes of one frame that two processes exchange during an upgrade: two hundred servers or fifteen thousand entries.
pub const HANDOVER_FRAME_BYTES_MAX: usize = 1 << 20;
/// Entries of the persistence tables in one frame; what one hold of a partition's lock gives is less.
pub const HANDOVER_ENTRIES_MAX: usize = 8_192;
/// Servers in one frame, each with its reason in the longest spelling of JSON.
pub const HANDOVER_SERVERS_MAX: usize = 200;
/// Keys of session tickets that an old process may hand over: a thousand services with all that they may have.
pub const HANDOVER_KEYS_MAX: usize = 30_000;
/// Names of servers in one frame: 64 addresses each of 42 bytes at most with 300 bytes around them fit into it thrice.
pub const HANDOVER_NAMES_AT_ONCE_MAX: usize = 100;
/// Names of servers that an old process may tell of: beyond this it is no engine. A configuration has a server for each.
pub const HANDOVER_NAMES_MAX: usize = 1 << 20;
/// Bytes that a process which takes over needs beside its tables and its workers' buffers: twice what one has at its start.
pub const HANDOVER_PROCESS_BYTES: u64 = 24 << 20;
/// Bytes of buffers of one worker, as [`sizes::CONNECTION_BYTES`] names them.
pub const HANDOVER_WORKER_BYTES: u64 = 6 << 20;
/// Sockets that go over in an upgrade: more than the file limit of a usual machine allows.
pub const HANDOVER_SOCKETS_MAX: usize = 1 << 20;
/// Bytes of what is said of why a server has its state.
pub const HANDOVER_WHY_BYTES_MAX: usize = 500;
/// Processes that may ask for the sockets at the same time; one gets them, the others are refused.
pub const HANDOVER_CALLERS_MAX: usize = 4;
/// Milliseconds that one of them has for its first word, which it says when it has connected.
pub const HANDOVER_HELLO_MS: u64 = 2_000;
/// Milliseconds between two looks of a process in an upgrade whether it has to stop waiting.
pub const HANDOVER_LOOK_MS: u64 = 5;
/// Seconds for each step of an upgrade that only needs the other process to act.
pub const HANDOVER_STEP_S: u64 = 5;
/// Seconds from the last entry to the new process's readiness: its workers start, and servers that are new to it are
/// probed once ([`READY_PATIENCE_MS`]).
pub const HANDOVER_READY_S: u64 = 30;
/// Milliseconds for the workers to stop accepting; one that stands still accepts nothing anyway.
pub const HANDOVER_PAUSE_MS: u64 = 1_000;
/// Milliseconds from then until the new process serves; clients wait all the while.
pub const HANDOVER_SETTLE_MS: u64 = 1_000;
/// Frames of changes that are on their way to the other process: what it answers to so many always has room.
pub const HANDOVER_FRAMES_MAX: u64 = 4;
/// Milliseconds that a client's answer may wait until the other process knows to which server it is bound: a hundred
/// times what it takes.
pub const HANDOVER_KNOWN_MS: u64 = 50;
/// Milliseconds that all workers together may wait so in an upgrade: meanwhile a worker serves nobody. Some thousand
/// clients' worth where the other process is not slow.
pub const HANDOVER_WAITED_MS: u64 = 1_000;
/// Changes of entries that wait to be told to the other process (some 100 bytes each), one for each entry. Beyond, all entries are told again.
pub const HANDOVER_CHANGES_MAX: usize = 65_536;
/// Entries between two lines of progress in the log.
pub const HANDOVER_PROGRESS_ENTRIES: u64 = 1_000_000;
/// Seconds that the end of a process waits for what it still has to tell, or to hear.
pub const HANDOVER_END_S: u64 = 2;

/// Says whether a connection could not be opened for want of something of ours: descriptors, memory or ports. It
/// says nothing about the other end.
pub fn is_shortage(error: &std::io::Error) -> bool {
    use libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOMEM | ENOBUFS | EADDRNOTAVAIL))
}
