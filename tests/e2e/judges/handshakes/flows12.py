"""TLS 1.2 after the server's hello: keys, the change of ciphers, the finish, renegotiation."""

from cases import *
from peer import (
    ALERT, ASK, CCS, DATA, HANDSHAKE, HEARTBEAT, Message, Peer, block, message, noise, record, seen,
)

CERTIFICATE, PROOF, KEY, FINISH = 11, 15, 16, 20
OLD = ("1.2",)


def at(wanted, does):
    """`does(peer, written)` in place of this message."""
    return lambda peer, kind, msg: does(peer, bytes(msg.write())) if kind == wanted else None


def key(content):
    return at(KEY, lambda p, k: [Message(HANDSHAKE, message(KEY, content))])


def before(wanted, *messages):
    def turn(peer, kind, msg):
        if kind != wanted:
            return None
        return [Message(HANDSHAKE, m) if isinstance(m, bytes) else m for m in messages] + [msg]
    return lambda peer, kind, msg: turn(peer, kind, msg)


def nothing(wanted):
    return at(wanted, lambda p, m: [])


FLOW = "RFC 5246 section 7.3"
POINT = "RFC 8422 section 5.7"
# The client's key. The server's group is P-256 or x25519, by the client's list.
CURVE = {"eccCurves": ["secp256r1"]}
for content, words in ((b"", "without content"), (b"\x00", "of an empty point"), (block(b"\x00", 1), "at infinity"),
                       (block(b"\x04" + b"\x05" * 64, 1), "beside the curve"), (block(b"\x04" + noise(20), 1), "cut short"),
                       (block(b"\x04" + b"\xff" * 64, 1), "beyond the field"), (b"\x41\x04" + noise(10), "that says too much"),
                       (block(b"\x02" + noise(32), 1), "that is compressed")):
    twisted(f"a client's key {words}", POINT, quiet(ILLEGAL, DECODE, DECRYPT), key(content), OLD, **CURVE)
twisted("a client's key with bytes behind it", FLOW, (DECODE, ILLEGAL), at(KEY, lambda p, k: [
    Message(HANDSHAKE, message(KEY, k[4:] + b"\x00\x00"))]), OLD)
twisted("a client's key of zeros on x25519", "RFC 7748 section 6.1", (ILLEGAL, DECODE), key(block(bytes(32), 1)), OLD,
        eccCurves=["x25519", "secp256r1"])
twisted("a client's key twice", FLOW, UNEXPECTED, at(KEY, lambda p, k: [Message(HANDSHAKE, k), Message(HANDSHAKE, k)]), OLD)
twisted("no client's key", FLOW, UNEXPECTED, nothing(KEY), OLD)
twisted("a certificate that nobody asked for", FLOW, UNEXPECTED, before(KEY, message(CERTIFICATE, bytes(3))), OLD)
twisted("a proof that nobody asked for", FLOW, UNEXPECTED, before("ccs", message(PROOF, b"\x04\x03\x00\x00")), OLD)
twisted("another hello in place of the key", FLOW, (UNEXPECTED, DECODE), before(KEY, message(1, bytes(60))), OLD)
twisted("a message of no known type before the key", FLOW, (UNEXPECTED, DECODE), before(KEY, message(77, b"")), OLD)
twisted("a next protocol that was not agreed", FLOW, (UNEXPECTED, DECODE), before(FINISH, message(67, bytes(32))), OLD)
twisted("application data before the key", FLOW, UNEXPECTED, before(KEY, Message(DATA, b"x")), OLD)
twisted("an empty record before the key", "RFC 5246 section 6.2.1", (UNEXPECTED, DECODE), before(KEY, Message(HANDSHAKE, b"")), OLD)
twisted("a heartbeat before the key", "RFC 6520 section 3", (UNEXPECTED, DECODE),
        before(KEY, Message(HEARTBEAT, b"\x01\x00\x10" + bytes(32))), OLD)

# The change of ciphers.
CHANGE = "RFC 5246 section 7.1"
twisted("a change of ciphers before the key", CHANGE + ", CVE-2014-0224", quiet(UNEXPECTED), before(KEY, record(CCS, b"\x01")), OLD)
twisted("two changes of ciphers", CHANGE, quiet(UNEXPECTED, BAD_MAC), before(FINISH, record(CCS, b"\x01")), OLD)
twisted("no change of ciphers", CHANGE, quiet(UNEXPECTED), nothing("ccs"), OLD)
twisted("a change of ciphers to another number", CHANGE, (UNEXPECTED, DECODE, ILLEGAL),
        at("ccs", lambda p, m: [record(CCS, b"\x02")]), OLD)
twisted("a change of ciphers of two bytes", CHANGE, (UNEXPECTED, DECODE), at("ccs", lambda p, m: [record(CCS, b"\x01\x01")]), OLD)
twisted("a change of ciphers of no byte", CHANGE, (UNEXPECTED, DECODE), at("ccs", lambda p, m: [record(CCS, b"")]), OLD)
twisted("a change of ciphers in the middle of a message", CHANGE, quiet(UNEXPECTED),
        at(KEY, lambda p, k: [record(HANDSHAKE, k[:9]), record(CCS, b"\x01"), record(HANDSHAKE, k[9:])]), OLD)

# The finish.
END = "RFC 5246 section 7.4.9"
twisted("a finish that is wrong in one bit", END, DECRYPT,
        at(FINISH, lambda p, f: [Message(HANDSHAKE, f[:-1] + bytes([f[-1] ^ 1]))]), OLD)
twisted("a finish that is short", END, (DECRYPT, DECODE), at(FINISH, lambda p, f: [Message(HANDSHAKE, message(FINISH, f[4:-1]))]), OLD)
twisted("a finish that is long", END, (DECRYPT, DECODE), at(FINISH, lambda p, f: [Message(HANDSHAKE, message(FINISH, f[4:] + b"x"))]), OLD)
twisted("a finish that is not sealed", END, (BAD_MAC, DECODE), at(FINISH, lambda p, f: [record(HANDSHAKE, f)]), OLD)
twisted("a finish before the change of ciphers", END, UNEXPECTED,
        at("ccs", lambda p, m: [record(HANDSHAKE, message(FINISH, bytes(12)))]), OLD)
twisted("application data in place of the finish", FLOW, UNEXPECTED, at(FINISH, lambda p, f: [Message(DATA, ASK)]), OLD)
twisted("noise in place of the finish", "RFC 5246 section 6.2.3.3", (BAD_MAC, DECODE), at(FINISH, lambda p, f: [record(HANDSHAKE, noise(40))]), OLD)
twisted("a sealed record shorter than its nonce", "RFC 5246 section 6.2.3.3", (BAD_MAC, DECODE),
        at(FINISH, lambda p, f: [record(HANDSHAKE, noise(5))]), OLD)
twisted("a sealed record longer than there may be", "RFC 5246 section 6.2.3", (OVERFLOW, BAD_MAC, DECODE),
        at(FINISH, lambda p, f: [record(HANDSHAKE, noise(2 ** 14 + 2049))]), OLD)
twisted("an alert in the middle of the handshake", "RFC 5246 section 7.2", CLOSED, before(KEY, record(ALERT, b"\x02\x28")), OLD)
twisted("close_notify in the middle of the handshake", "RFC 5246 section 7.2.1", (CLOSED, "alert 0"),
        before(KEY, record(ALERT, b"\x01\x00")), OLD)


# After the handshake.
def tells(kind, content):
    return lambda peer: peer.tell(kind, content)


def seals(kind, content, count=1):
    return lambda peer: [peer.seal(kind, content) for _ in range(count)] and None


AGAIN = "RFC 5246 section 7.4.1.1, RFC 9325 section 3.5"
after("a renegotiation by the client", AGAIN, ("alert 100", SERVED, UNEXPECTED),
      lambda p: p.tell(1, first(version="1.2")[9:]), OLD)
after("1,000 renegotiations by the client", AGAIN, quiet("alert 100", UNEXPECTED, "reset"),
      lambda p: [p.tell(1, bytes(60)) for _ in range(1_000)] and None, OLD)
after("a request for a hello by a client", AGAIN, (UNEXPECTED, SERVED), tells(0, b""), OLD)
for kind, content, words in ((FINISH, bytes(12), "a second finish"), (KEY, bytes(33), "a second key"),
                             (CERTIFICATE, bytes(3), "a certificate"), (24, b"\x00", "an update of keys"),
                             (77, b"", "a message of no known type")):
    after(f"{words} after the handshake", FLOW, (UNEXPECTED, DECODE), tells(kind, content), OLD)
after("a change of ciphers after the handshake", CHANGE, (UNEXPECTED, BAD_MAC, DECODE), seals(CCS, b"\x01"), OLD)
after("empty application data", "RFC 5246 section 6.2.1", SERVED, seals(DATA, b"", 3), OLD)
after("a warning after the handshake", "RFC 5246 section 7.2.2", SERVED, seals(ALERT, b"\x01\x5a"), OLD)
after("1,000 warnings after the handshake", "RFC 5246 section 7.2.2, CVE-2016-8610", quiet(UNEXPECTED, DECODE, "reset"),
      seals(ALERT, b"\x01\x5a", 1_000), OLD)
after("application data that is not sealed", "RFC 5246 section 6.2.3.3", (BAD_MAC, DECODE),
      lambda p: p.plain(record(DATA, ASK)), OLD)
after("a record of 2^14 + 1 bytes", "RFC 5246 section 6.2.1", (OVERFLOW, BAD_MAC, DECODE), seals(DATA, bytes(2 ** 14 + 1)), OLD)
after("a heartbeat after the handshake", "RFC 6520 section 3", (UNEXPECTED, DECODE),
      seals(HEARTBEAT, b"\x01\x00\x10" + bytes(32)), OLD)


# Tickets: the server's own.
def resumed(name, rule, want, change, is_resumed):
    def run(at):
        before = Peer(at)
        before.shake("1.2")
        before.ask()
        before.raw.close()

        def twist(peer, msg):
            if msg.contentType != HANDSHAKE or msg.write()[0] != 1:
                return None
            return [Message(HANDSHAKE, rewritten(bytes(msg.write()), change))]
        peer = Peer(at, twist)
        saw = seen(peer, lambda peer: peer.shake("1.2", session=before.session))
        return saw if peer.resumed == is_resumed else f"{saw}, resumed: {peer.resumed}"
    case(f"TLS 1.2: {name}", rule, want, run)


resumed("a ticket of its own resumes", "RFC 5077 section 3.4", SERVED, lambda h: None, True)
resumed("a ticket with the extended master secret in a hello without", "RFC 7627 section 5.3", (NO_COMMON, ILLEGAL),
        lambda h: h.drop(23), False)
