//! One connection's TLS: records in, plain text out, and back.
//!
//! A session has no socket. It is given one with each call, reads what is there and writes what is taken, and never
//! waits. Between calls it holds no plain text that was read unless its reader asked for less, and no record that was
//! written unless the receiver took less.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use forebay_core::id::VsId;
use forebay_core::persist::tls::{AuthPolicy, Ticket, TlsId};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection,
};

use super::known::{self, ClientId};
use super::x509::{self, Identity};
use crate::http::limits::GATHER_SLICES;
use crate::limits::{
    HANDSHAKE_BYTES_MAX, TLS_READ_BYTES, TLS_READ_FIRST_BYTES, TLS_WASTE_BYTES_MAX, TLS_WRITE_BYTES,
};
use crate::rt::Stream;

thread_local! {
    /// Where a worker reads records to. Nothing stays in it between two calls.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The most bytes by which a record is longer than what it carries.
const RECORD_OVERHEAD: usize = 29;
/// The most plain text of a record.
const RECORD_BYTES: usize = 16 * 1024;

/// One connection's TLS.
pub struct Session {
    connection: RefCell<Connection>,
    /// The first byte of the next write is sealed already: see [`Session::write`].
    owed: Cell<bool>,
    /// It ends without saying so: what the peer got is not whole.
    cut: Cell<bool>,
    /// Who the client is, by the session that it has or was given.
    client: Cell<Option<ClientId>>,
    /// What came of a first message waits for its turn.
    awaits_turn: Cell<bool>,
    /// Plain text that came before the handshake was over.
    early: Cell<Early>,
    /// Bytes that came before the handshake was over.
    greeting: Cell<usize>,
    /// Bytes that came since the others had a turn, beyond the plain text that came of them.
    waste: Cell<usize>,
    /// Who the client is, if it has shown a certificate.
    identity: Option<Box<Known>>,
    /// The most bytes of the next read: more, the more of those before was plain text.
    reach: Cell<usize>,
}

/// What is there of plain text that the client sent before its handshake was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    /// None, or all of it was read and no more can come.
    No,
    /// What came was read; more may come.
    Read,
    /// Some may be unread.
    Unread,
}

/// Who a client is, and its certificate as a header field once a server was told of it.
struct Known {
    identity: Identity,
    escaped: OnceCell<Box<str>>,
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes of the peer.
    Read,
    /// Room for ours.
    Write,
    /// Its turn: to answer what came costs a server much.
    Turn,
    /// Nothing: it is over.
    Done,
}

/// Why a handshake ended.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection ended.
    Gone,
    /// The peer sent more than any handshake needs.
    TooLong,
    /// A rule of TLS, or of ours.
    Tls(Error),
}

/// What two peers have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's registered name.
    pub cipher: &'static str,
    /// It goes on with the secrets of an earlier connection.
    pub is_resumed: bool,
}

impl Agreed {
    /// Where it is counted: of TLS 1.2 in full and resumed, then of TLS 1.3.
    pub fn place(&self) -> usize {
        2 * usize::from(self.version == "TLSv1.3") + usize::from(self.is_resumed)
    }
}

impl Session {
    /// The server's side of a new connection.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn accept(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::of(ServerConnection::new(config)?))
    }

    /// Takes in what the client has sent already. What comes of it waits for its turn, which is the caller's to give.
    ///
    /// # Errors
    /// It is more than any first message has.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let connection = self.connection.get_mut();
        while !bytes.is_empty() {
            let count = connection.read_tls(&mut bytes)?;
            if count == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
            self.greeting.set(self.greeting.get() + count);
        }
        self.awaits_turn.set(self.greeting.get() > 0);
        Ok(())
    }

    /// The client's side of a new connection to the server that is asked for by this name.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn connect(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::of(ClientConnection::new(config, name)?))
    }

    fn of(connection: impl Into<Connection>) -> Self {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(TLS_WRITE_BYTES));
        Session {
            connection: RefCell::new(connection),
            owed: Cell::new(false),
            cut: Cell::new(false),
            client: Cell::new(None),
            awaits_turn: Cell::new(false),
            early: Cell::new(Early::No),
            greeting: Cell::new(0),
            waste: Cell::new(0),
            identity: None,
            reach: Cell::new(TLS_READ_FIRST_BYTES),
        }
    }

    /// Goes on with the handshake as far as it comes without waiting. Where early data is taken it is [`Step::Done`] as soon
    /// as that is certain, unless it has to be over `wholly`.
    //= TLS-HANDSHAKE-01
    //= TLS-EARLY-01
    pub(super) fn shake(&self, socket: &impl Stream, wholly: bool) -> Result<Step, Broken> {
        let mut connection = self.connection.borrow_mut();
        loop {
            match flush(&mut connection, socket) {
                Ok(true) => {}
                Ok(false) => return Ok(Step::Write),
                Err(_) => return Err(Broken::Gone),
            }
            if self.early.get() == Early::No && takes_early(&mut connection) {
                self.early.set(Early::Unread);
            }
            if !connection.is_handshaking() || (self.early.get() != Early::No && !wholly) {
                return Ok(Step::Done);
            }
            if !self.awaits_turn.take() {
                match connection.read_tls(&mut Direct(socket)) {
                    Ok(0) => return Err(Broken::Gone),
                    Ok(count) => self.greeting.set(self.greeting.get() + count),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Step::Read),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::InvalidData => return Err(Broken::TooLong),
                    Err(_) => return Err(Broken::Gone),
                }
                if self.greeting.get() > HANDSHAKE_BYTES_MAX {
                    return Err(Broken::TooLong);
                }
                //= TLS-FAIR-02
                if matches!(*connection, Connection::Server(_)) && connection.handshake_kind().is_none() {
                    self.awaits_turn.set(true);
                    return Ok(Step::Turn);
                }
            }
            known::begin(self.client.get());
            let worked = connection.process_new_packets();
            let known = known::end();
            // What was opened counts where the client has gone on with it; else it is as new, and gets an id with its session.
            let is_whole = connection.handshake_kind().is_some_and(|kind| kind != HandshakeKind::Resumed);
            if known.is_issued || !is_whole {
                self.client.set(known.client);
            }
            if let Err(error) = worked {
                // The alert that says so; who does not take it does not learn it.
                let _ = flush(&mut connection, socket);
                return Err(Broken::Tls(error));
            }
        }
    }

    /// Says whether the client may not be who it was: its handshake is not over, and what it has sent may be another's that
    /// heard it.
    pub fn is_early(&self) -> bool {
        self.early.get() != Early::No && self.connection.borrow().is_handshaking()
    }

    /// Says whether plain text of before the end of the handshake may come or is unread.
    pub fn has_early(&self) -> bool {
        self.early.get() != Early::No
    }

    /// Says whether a byte of the handshake has come.
    pub(super) fn has_begun(&self) -> bool {
        self.greeting.get() > 0
    }

    /// What was agreed on, once the handshake is over.
    pub fn agreed(&self) -> Option<Agreed> {
        let connection = self.connection.borrow();
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => return None,
        };
        let cipher = super::server::suite_name(connection.negotiated_cipher_suite()?.suite())?;
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Some(Agreed { version, cipher, is_resumed })
    }

    /// By what the client is known, once the handshake is over: the id in the session that it goes on with, or that it was
    /// given; `None`: it has no sessions. `service` is where the session is good.
    //= PERS-TLS-02
    pub fn known_as(&self, service: VsId) -> Option<TlsId<'static>> {
        let client = self.client.get()?;
        Some(TlsId::Ticket(Ticket { vs: service, auth: AuthPolicy::default(), client, server: None }))
    }

    /// Says whether the peers have agreed on HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.connection.borrow().alpn_protocol() == Some(b"h2")
    }

    /// The handshake is over: from now on it is known who the client is. Gives `false` if it has shown a certificate of
    /// which that cannot be told.
    pub(super) fn meet(&mut self) -> bool {
        let connection = self.connection.get_mut();
        let Some([certificate, ..]) = connection.peer_certificates() else { return true };
        self.identity = x509::identity(certificate)
            .map(|identity| Box::new(Known { identity, escaped: OnceCell::new() }));
        self.identity.is_some()
    }

    /// Who the client is; `None`: it has shown no certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref().map(|known| &known.identity)
    }

    /// The client's certificate in PEM form, percent-encoded; made once for a connection.
    pub fn escaped_certificate(&self) -> Option<&str> {
        let known = self.identity.as_ref()?;
        Some(known.escaped.get_or_init(|| {
            let connection = self.connection.borrow();
            let shown = connection.peer_certificates().and_then(<[_]>::first);
            shown.map(x509::escaped_pem).unwrap_or_default()
        }))
    }

    /// Copies the name that the client asked for, as much of it as there is room for; gives how many bytes that are.
    pub fn server_name(&self, into: &mut [u8]) -> usize {
        let connection = self.connection.borrow();
        let Connection::Server(server) = &*connection else { return 0 };
        let name = server.server_name().unwrap_or("").as_bytes();
        let len = name.len().min(into.len());
        into[..len].copy_from_slice(&name[..len]);
        len
    }

    /// Says whether plain text waits that was read with other.
    pub(super) fn has_text(&self) -> bool {
        if self.early.get() == Early::Unread {
            return true;
        }
        let mut connection = self.connection.borrow_mut();
        let mut reader = connection.reader();
        // An end counts: it is read without the socket.
        !matches!(io::BufRead::fill_buf(&mut reader), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Says whether it is the other connections' turn before more is read, and that they have it now.
    pub(super) fn gives_way(&self) -> bool {
        let is_over = self.is_wasteful();
        self.rested();
        is_over
    }

    /// The others have a turn.
    pub(super) fn rested(&self) {
        self.waste.set(0);
    }

    /// So many records came, and so little in them, that the others have to have a turn first.
    //= TLS-FAIR-01
    fn is_wasteful(&self) -> bool {
        self.waste.get() >= TLS_WASTE_BYTES_MAX
    }

    /// Counts bytes that came, or plain text of them.
    fn weigh(&self, came: usize, text: usize) {
        let waste = (self.waste.get() + came).saturating_sub(text);
        self.waste.set(waste);
        if waste > RECORD_BYTES + RECORD_OVERHEAD {
            self.reach.set(TLS_READ_FIRST_BYTES);
        } else if came == self.reach.get() {
            self.reach.set((2 * came).min(TLS_READ_BYTES));
        }
    }

    /// Reads plain text, as [`Stream::try_read`] does: fills `into` as far as what has come goes. Where that is a great many
    /// records with next to nothing in them it stops before that, and reads no more until [`Session::gives_way`].
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; `UnexpectedEof` if the peer's data ended without a word; `InvalidData` if it
    /// broke a rule.
    //= TLS-CLOSE-02
    //= TLS-SERVER-CLOSE-01
    //= TLS-IDLE-01
    pub(super) fn read(&self, socket: &impl Stream, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            // Who asks for nothing wants to know whether the connection has failed.
            return socket.try_read(into);
        }
        let mut connection = self.connection.borrow_mut();
        let mut got = 0;
        let mut is_dry = false;
        RECORDS.with_borrow_mut(|records| {
            records.resize(TLS_READ_BYTES, 0);
            loop {
                match self.take(&mut connection, &mut into[got..]) {
                    Ok(0) => return Ok(got),
                    Ok(count) => {
                        self.weigh(0, count);
                        got += count;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) if got > 0 => return Ok(got),
                    Err(error) => return Err(error),
                }
                if got == into.len() || (is_dry && got > 0) {
                    return Ok(got);
                }
                if is_dry || self.is_wasteful() {
                    return if got > 0 { Ok(got) } else { Err(ErrorKind::WouldBlock.into()) };
                }
                // No more than fits, so that what is left behind is less than a record.
                let most = (into.len() - got).clamp(1, self.reach.get());
                match socket.try_read(&mut records[..most]) {
                    Ok(count) => {
                        is_dry = count < most;
                        let text = self.feed(&mut connection, socket, &records[..count], &mut into[got..])?;
                        self.weigh(count, text);
                        got += text;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => is_dry = true,
                    Err(_) if got > 0 => return Ok(got),
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// Writes plain text, as [`Stream::try_write`] does.
    ///
    /// What the socket does not take of a record is kept, and cannot be taken back; so that the writer comes again to
    /// have it written, the last byte is not said to be written before all is. The next write begins with that byte.
    ///
    /// # Errors
    /// `WouldBlock` if nothing fits; the socket's own error otherwise.
    //= TLS-WRITE-01
    pub(super) fn write(&self, socket: &impl Stream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(0);
        }
        let mut connection = self.connection.borrow_mut();
        if !flush(&mut connection, socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let owed = usize::from(self.owed.take());
        let mut rest = [IoSlice::new(&[]); GATHER_SLICES];
        let mut count = 0;
        for (slot, piece) in rest.iter_mut().zip(pieces.iter().filter(|piece| !piece.is_empty())) {
            *slot = *piece;
            count += 1;
        }
        if owed > 0 {
            rest[0].advance(owed);
        }
        let sealed = owed + connection.writer().write_vectored(&rest[..count])?;
        if flush(&mut connection, socket)? {
            return Ok(sealed);
        }
        self.owed.set(true);
        match sealed.saturating_sub(1) {
            0 => Err(ErrorKind::WouldBlock.into()),
            written => Ok(written),
        }
    }

    /// Leaves a message to the runtime, as [`Stream::write_soon`] does.
    //= TLS-WRITE-01
    //= SE-TURN-01
    pub(super) fn write_soon(
        &self,
        socket: &impl Stream,
        most: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mut connection = self.connection.borrow_mut();
        // It is one record, behind which nothing waits: all of it goes to the runtime, or nothing is sealed.
        let is_fit = most < RECORD_BYTES && !self.owed.get() && !connection.wants_write();
        is_fit
            && socket.write_soon(most + RECORD_OVERHEAD, |all| {
                let start = all.len();
                fill(all);
                let sealed = connection.writer().write(&all[start..]);
                debug_assert!(
                    sealed.is_ok_and(|sealed| sealed == all.len() - start),
                    "less than a buffer's worth"
                );
                all.truncate(start);
                while connection.wants_write() && connection.write_tls(all).is_ok() {}
            })
    }

    /// Bytes that a write takes where the socket has room for so many.
    pub(super) fn room(&self, socket_room: usize) -> usize {
        let records = socket_room.div_ceil(RECORD_BYTES + RECORD_OVERHEAD);
        match self.connection.borrow().wants_write() {
            true => 0,
            false => socket_room.saturating_sub(records * RECORD_OVERHEAD),
        }
    }

    /// Says to the peer that nothing follows, as far as its socket takes that now.
    //= TLS-CLOSE-01
    pub(super) fn close(&self, socket: &impl Stream) {
        if self.cut.replace(true) {
            return;
        }
        let mut connection = self.connection.borrow_mut();
        if !connection.is_handshaking() || self.early.get() != Early::No {
            connection.send_close_notify();
            // Who does not take it sees the end of the connection.
            let _ = flush(&mut connection, socket);
        }
    }

    /// Lets the peer see that what it got is not whole.
    pub(super) fn cut(&self) {
        self.cut.set(true);
    }
}

/// Says whether the client's early data is taken.
fn takes_early(connection: &mut Connection) -> bool {
    match connection {
        Connection::Server(server) => server.early_data().is_some(),
        Connection::Client(_) => false,
    }
}

impl Session {
    /// Plain text that is there; what came before the handshake was over first.
    fn take(&self, connection: &mut Connection, into: &mut [u8]) -> io::Result<usize> {
        let mut got = self.take_early(connection, into);
        while got < into.len() {
            match connection.reader().read(&mut into[got..]) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if got == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(got)
    }

    fn take_early(&self, connection: &mut Connection, into: &mut [u8]) -> usize {
        if self.early.get() == Early::No || into.is_empty() {
            return 0;
        }
        let Connection::Server(server) = connection else { return 0 };
        let got = server.early_data().and_then(|mut early| early.read(into).ok()).unwrap_or_default();
        if got < into.len() {
            self.early.set(if connection.is_handshaking() { Early::Read } else { Early::No });
        }
        got
    }

    /// Takes records in, an end if there are none, and gives how much plain text of them went `into`.
    fn feed(
        &self,
        connection: &mut Connection,
        socket: &impl Stream,
        mut records: &[u8],
        into: &mut [u8],
    ) -> io::Result<usize> {
        let mut got = 0;
        loop {
            if connection.read_tls(&mut records)? == 0 {
                return Ok(got);
            }
            if let Err(error) = self.process(connection) {
                let _ = flush(connection, socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            // Answers of the library's own: a changed key, a session behind a handshake that is over at last.
            flush(connection, socket)?;
            // What the peer ended is found by who reads next.
            got += self.take(connection, &mut into[got..]).unwrap_or_default();
            if records.is_empty() {
                return Ok(got);
            }
        }
    }

    /// Lets the library work on what was read.
    fn process(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.early.get() == Early::No {
            return connection.process_new_packets().map(drop);
        }
        self.early.set(Early::Unread);
        // The end of the handshake brings the client its next session, which is of the same client.
        known::begin(self.client.get());
        let worked = connection.process_new_packets();
        let known = known::end();
        if known.is_issued {
            self.client.set(known.client);
        }
        worked.map(drop)
    }
}

/// Writes records; `false` if the socket takes no more of them.
fn flush(connection: &mut Connection, socket: &impl Stream) -> io::Result<bool> {
    while connection.wants_write() {
        match connection.write_tls(&mut Direct(socket)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A socket as the library wants it.
struct Direct<'s, S>(&'s S);

impl<S: Stream> Read for Direct<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl<S: Stream> Write for Direct<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
