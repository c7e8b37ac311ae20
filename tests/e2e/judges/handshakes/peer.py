"""A client of tlslite-ng that can be made to break rules, and what it saw of the server."""

import os
import socket
import struct

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSAbruptCloseError, TLSLocalAlert, TLSRemoteAlert
from tlslite.messages import Message

# Seconds in which the server must have said or done something.
PATIENCE = 10
ASK = b"GET /health HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"

CCS, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24


def record(kind, content, version=0x0303, length=None):
    """A record without protection; its length may lie."""
    return struct.pack("!BHH", kind, version, len(content) if length is None else length) + bytes(content)


def message(kind, content, length=None):
    """A handshake message; its length may lie."""
    size = len(content) if length is None else length
    return bytes([kind]) + struct.pack("!I", size)[1:] + bytes(content)


def block(content, size=2):
    """Content behind its length in so many bytes."""
    return struct.pack("!I", len(content))[4 - size:] + bytes(content)


class NoAnswer(Exception):
    """The server ended the connection as one should, without a byte of an answer."""


class Hello:
    """The parts of a ClientHello, each of which may be changed."""

    def __init__(self, written):
        at = 4
        self.version, self.random = written[at:at + 2], written[at + 2:at + 34]
        at += 34
        parts = []
        for size in (1, 2, 1, 2):
            length = int.from_bytes(written[at:at + size], "big")
            parts.append(bytes(written[at + size:at + size + length]))
            at += size + length
        self.session, self.suites, self.compression, rest = parts
        self.extensions = []
        while rest:
            kind, length = struct.unpack("!HH", rest[:4])
            self.extensions.append((kind, rest[4:4 + length]))
            rest = rest[4 + length:]
        # Bytes behind all parts, and what the length in front of the extensions says beyond the truth.
        self.tail, self.beyond = b"", 0

    def get(self, kind):
        return next((content for known, content in self.extensions if known == kind), None)

    def set(self, kind, content):
        """Puts it in place of the one that is there, or in front of all others."""
        if self.get(kind) is None:
            self.extensions.insert(0, (kind, content))
        else:
            self.extensions = [(k, content if k == kind else c) for k, c in self.extensions]

    def drop(self, *kinds):
        self.extensions = [(k, c) for k, c in self.extensions if k not in kinds]

    def write(self):
        extensions = b"".join(struct.pack("!HH", k, len(c)) + c for k, c in self.extensions)
        content = self.version + self.random + block(self.session, 1) + block(self.suites)
        content += block(self.compression, 1)
        content += struct.pack("!H", len(extensions) + self.beyond) + extensions + self.tail
        return message(1, content)


def settings(version, **keys):
    """What an honest client of this version offers; `keys` change it."""
    made = HandshakeSettings()
    both = [(3, 4), (3, 3)]
    made.versions = {"1.2": [(3, 3)], "1.3": [(3, 4)], "both": both}[version]
    made.minVersion, made.maxVersion = min(made.versions), max(made.versions)
    made.keyShares = [] if version == "1.2" else ["x25519"]
    made.eccCurves = ["x25519", "secp256r1", "secp384r1"]
    made.use_heartbeat_extension = False
    made.record_size_limit = None
    for key, value in keys.items():
        setattr(made, key, value)
    return made


class Peer(TLSConnection):
    """A connection; `twist(peer, message)` may give what is sent in place of a message, or None."""

    def __init__(self, at, twist=None, record_size=None):
        stream = socket.create_connection(at, PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(stream)
        self.raw, self.twist, self.hellos = stream, twist, 0
        self.closeSocket = False
        if record_size:
            self.recordSize = record_size

    def _sendMsg(self, msg, randomizeFirstBlock=True, update_hashes=True):
        first = msg.write()[:1] if msg.contentType == HANDSHAKE else b""
        self.hellos += first == b"\x01"
        instead = self.twist(self, msg) if self.twist else None
        for part in [msg] if instead is None else instead:
            if isinstance(part, bytes):
                self.plain(part)
            else:
                yield from super()._sendMsg(part, randomizeFirstBlock, update_hashes)

    def plain(self, content):
        """Bytes as they are."""
        self.sock.flush()
        self.raw.sendall(content)

    def seal(self, kind, content):
        """One record under the keys of this moment, whatever is in it."""
        for _ in self._recordLayer.sendRecord(Message(kind, bytearray(content))):
            pass

    def tell(self, kind, content):
        """A handshake message under the keys of this moment."""
        self.seal(HANDSHAKE, message(kind, content))

    def shake(self, version, session=None, name="app.test", **keys):
        alpn = keys.pop("alpn", None)
        self.handshakeClientCert(
            session=session, settings=settings(version, **keys), serverName=name, alpn=alpn
        )

    def ask(self):
        """The status of an answer that came whole."""
        try:
            self.seal(DATA, ASK)
        except OSError:
            pass  # It has ended the connection; why is read next.
        return self.answer()

    def answer(self):
        said = bytearray()
        while True:
            part = self.read(max=65536)
            if not part:
                break
            said += part
        if not said:
            raise NoAnswer
        return int(bytes(said).split(b" ", 2)[1])

    def over(self):
        """Whether the server ends the connection in time."""
        self.sock.flush()
        return ends(self.raw)


def ends(stream):
    stream.settimeout(PATIENCE)
    try:
        while stream.recv(65536):
            pass
    except socket.timeout:
        return False
    except OSError:
        pass
    return True


def rest(stream):
    """What is still to be read, however it ends."""
    came = b""
    try:
        while part := stream.recv(65536):
            came += part
    except OSError:
        pass
    return came


def said(came):
    """The first alert that is not sealed, or `answered` for a message of a handshake; None if there is neither."""
    answered = None
    while len(came) >= 5:
        kind, _, length = struct.unpack("!BHH", came[:5])
        if kind == ALERT and length == 2:
            return f"alert {came[6]}"
        answered = "answered" if kind == HANDSHAKE else answered
        came = came[5 + length:]
    return answered


def seen(peer, does):
    """What came of it, in one word: `served`, `alert N`, `closed`, `reset`, `silent`."""
    try:
        status = does(peer)
        if status is None:
            status = peer.ask()
        return "served" if status == 200 else f"status {status}"
    except TLSRemoteAlert as alert:
        word = f"alert {alert.description}"
        return word if peer.over() else word + " and left open"
    except TLSLocalAlert as alert:
        return f"the server broke a rule: {alert}"
    except (TLSAbruptCloseError, NoAnswer):
        return "closed"
    except (BrokenPipeError, ConnectionResetError):
        # We wrote after its end; what it said before may still be here.
        return said(bytes(peer.sock._read_buffer) + rest(peer.raw)) or "reset"
    except (socket.timeout, TimeoutError):
        return "silent"
    finally:
        peer.raw.close()


def seen_plain(at, parts, half_close=False):
    """What is said to bytes that follow no state: the first alert that is not sealed, or how it ended."""
    with socket.create_connection(at, PATIENCE) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        came, end = b"", "closed"
        try:
            for part in parts:
                stream.sendall(part)
            if half_close:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            end = "reset"
        try:
            while part := stream.recv(65536):
                came += part
        except socket.timeout:
            end = "silent"
        except OSError:
            end = "reset"
    word = said(came)
    if word and end == "silent":
        return f"{word} and left open"
    return word or end


def hello(version="1.3", **keys):
    """A ClientHello as an honest client writes it, without sending it."""
    written = []

    class Taken(Exception):
        pass

    def take(_, msg):
        written.append(bytes(msg.write()))
        raise Taken

    left, right = socket.socketpair()
    with left, right:
        peer = Peer.__new__(Peer)
        TLSConnection.__init__(peer, left)
        peer.raw, peer.twist, peer.hellos, peer.closeSocket = left, take, 0, False
        try:
            peer.shake(version, **keys)
        except Taken:
            pass
    return Hello(written[0])


def noise(size):
    return os.urandom(size)
