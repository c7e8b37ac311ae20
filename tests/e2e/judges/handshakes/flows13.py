"""TLS 1.3 with keys: the client's finish, and what comes after it."""

import time

from cases import *
from peer import ALERT, ASK, CCS, DATA, HANDSHAKE, HEARTBEAT, Message, Peer, message, noise, record, seen

HELLO, TICKET, EARLY_END, CERTIFICATE, REQUEST, PROOF, FINISH, UPDATE = 1, 4, 5, 11, 13, 15, 20, 24
SEALED = "RFC 8446 section 5.2"


def at_finish(does):
    """`does(peer, finish)` in place of the client's finish."""
    return lambda peer, kind, msg: does(peer, bytes(msg.write())) if kind == FINISH else None


def before_finish(kind, content):
    return at_finish(lambda peer, finish: [Message(HANDSHAKE, message(kind, content)), Message(HANDSHAKE, finish)])


def instead(content, kind=HANDSHAKE):
    return at_finish(lambda peer, finish: [Message(kind, content(finish))])


def sealed_as(peer, kind, content):
    """A record of a type that the library does not seal."""
    return record(DATA, peer._recordLayer._encryptThenSeal(bytearray(content) + bytes([kind]), DATA))


# The finish.
twisted("a finish that is wrong in one bit", "RFC 8446 section 4.4.4", DECRYPT,
        instead(lambda f: f[:-1] + bytes([f[-1] ^ 1])))
twisted("a finish of zeros", "RFC 8446 section 4.4.4", DECRYPT, instead(lambda f: f[:4] + bytes(len(f) - 4)))
twisted("a finish that is short", "RFC 8446 section 4.4.4", (DECRYPT, DECODE), instead(lambda f: message(FINISH, f[4:-1])))
twisted("a finish that is long", "RFC 8446 section 4.4.4", (DECRYPT, DECODE), instead(lambda f: message(FINISH, f[4:] + b"x")))
twisted("a finish without content", "RFC 8446 section 4.4.4", (DECRYPT, DECODE), instead(lambda f: message(FINISH, b"")))
twisted("a finish that is not sealed", SEALED, (UNEXPECTED, BAD_MAC, DECODE), at_finish(lambda p, f: [record(HANDSHAKE, f)]))
twisted("a finish with something behind it", "RFC 8446 section 5.1", UNEXPECTED, instead(lambda f: f + message(UPDATE, b"\x00")))
twisted("a finish in two records", "RFC 8446 section 5.1", SERVED,
        at_finish(lambda p, f: [Message(HANDSHAKE, f[:7]), Message(HANDSHAKE, f[7:])]))
twisted("application data between the parts of a finish", "RFC 8446 section 5.1", quiet(UNEXPECTED),
        at_finish(lambda p, f: [Message(HANDSHAKE, f[:7]), Message(DATA, b"x"), Message(HANDSHAKE, f[7:])]))
twisted("a finish as application data", "RFC 8446 section 5", UNEXPECTED, instead(lambda f: f, DATA))
for kind, content, words in ((UPDATE, b"\x00", "an update of keys"), (CERTIFICATE, bytes(4), "a certificate nobody asked for"),
                             (PROOF, b"\x04\x03\x00\x00", "a proof nobody asked for"), (EARLY_END, b"", "an end of early data"),
                             (HELLO, bytes(60), "another hello"), (TICKET, bytes(40), "a ticket"),
                             (8, b"\x00\x00", "encrypted extensions"), (0, b"", "a request for a hello"),
                             (254, bytes(32), "a hash in place of messages"), (77, b"", "a message of no known type")):
    twisted(f"{words} before the finish", "RFC 8446 section 4", (UNEXPECTED, DECODE), before_finish(kind, content))
twisted("application data before the finish", "RFC 8446 section 5", UNEXPECTED,
        at_finish(lambda p, f: [Message(DATA, ASK), Message(HANDSHAKE, f)]))

# Records.
twisted("noise in place of a sealed record", SEALED, BAD_MAC, at_finish(lambda p, f: [record(DATA, noise(60))]))
twisted("a sealed record without a byte", SEALED, (BAD_MAC, DECODE, UNEXPECTED), at_finish(lambda p, f: [record(DATA, b"")]))
twisted("a sealed record shorter than its tag", SEALED, (BAD_MAC, DECODE), at_finish(lambda p, f: [record(DATA, noise(9))]))
twisted("a sealed record longer than there may be", SEALED, (OVERFLOW, BAD_MAC, DECODE),
        at_finish(lambda p, f: [record(DATA, noise(2 ** 14 + 257))]))
twisted("a sealed record that says 65,535 bytes", SEALED, (OVERFLOW, DECODE),
        at_finish(lambda p, f: [record(DATA, noise(60), length=0xffff)]))
twisted("nothing but zeros within a record", "RFC 8446 section 5.4", quiet(UNEXPECTED), instead(lambda f: bytes(20), 0))
twisted("no type within a record", "RFC 8446 section 5.4", quiet(UNEXPECTED), instead(lambda f: b"", 0))
twisted("an empty handshake record", "RFC 8446 section 5.4", UNEXPECTED,
        at_finish(lambda p, f: [Message(HANDSHAKE, b""), Message(HANDSHAKE, f)]), known=SERVED)
twisted("2,000 empty handshake records", "RFC 8446 section 5.4", quiet(UNEXPECTED),
        at_finish(lambda p, f: [Message(HANDSHAKE, b"")] * 2_000 + [Message(HANDSHAKE, f)]))
twisted("a sealed change of ciphers", "RFC 8446 section 5", UNEXPECTED,
        at_finish(lambda p, f: [sealed_as(p, CCS, b"\x01"), Message(HANDSHAKE, f)]))
twisted("a sealed record of no known type", "RFC 8446 section 5", (UNEXPECTED, DECODE),
        at_finish(lambda p, f: [Message(99, b"x"), Message(HANDSHAKE, f)]))
twisted("a change of ciphers of two bytes", "RFC 8446 section 5", (UNEXPECTED, DECODE),
        at_finish(lambda p, f: [record(CCS, b"\x01\x01"), Message(HANDSHAKE, f)]))
twisted("a change of ciphers to another number", "RFC 8446 section 5", (UNEXPECTED, DECODE, ILLEGAL),
        at_finish(lambda p, f: [record(CCS, b"\x02"), Message(HANDSHAKE, f)]))
twisted("a change of ciphers too many", "RFC 8446 section 5", (SERVED, UNEXPECTED),
        at_finish(lambda p, f: [record(CCS, b"\x01"), Message(HANDSHAKE, f)]))
twisted("1,000 changes of ciphers", "RFC 8446 section 5", quiet(UNEXPECTED),
        at_finish(lambda p, f: [record(CCS, b"\x01") * 1_000, Message(HANDSHAKE, f)]))
twisted("a heartbeat before the finish", "RFC 6520 section 3", UNEXPECTED,
        at_finish(lambda p, f: [Message(HEARTBEAT, b"\x01\x00\x10" + bytes(32))]), known=DECODE)
twisted("an alert that is not sealed", SEALED, (UNEXPECTED, BAD_MAC, DECODE, CLOSED),
        at_finish(lambda p, f: [record(ALERT, b"\x02\x28")]))
twisted("a fatal alert in place of the finish", "RFC 8446 section 6.2", CLOSED, instead(lambda f: b"\x02\x28", ALERT))
twisted("close_notify in place of the finish", "RFC 8446 section 6.1", (CLOSED, "alert 0"), instead(lambda f: b"\x01\x00", ALERT),
        known=DECODE)


def padded(peer):
    peer._recordLayer.padding_cb = lambda length, kind, most: min(most, 1_000)


def tells(kind, content):
    return lambda peer: peer.tell(kind, content)


def seals(kind, content):
    return lambda peer: peer.seal(kind, content)


def plainly(content):
    return lambda peer: peer.plain(content)


def times(count, does):
    return lambda peer: [does(peer) for _ in range(count)] and None


# After the handshake.
after("records with 1,000 bytes of padding", "RFC 8446 section 5.4", SERVED, padded)
after("empty application data", "RFC 8446 section 5.1", SERVED, times(3, seals(DATA, b"")))
after("a record of 2^14 bytes", "RFC 8446 section 5.1", (SERVED, "status 431"),
      lambda p: p.seal(DATA, ASK[:-4] + b"\r\nA: " + b"a" * (2 ** 14 - len(ASK) - 5) + b"\r\n\r\n") or p.answer())
after("a record of 2^14 + 2 bytes", "RFC 8446 section 5.4", (OVERFLOW, BAD_MAC), seals(DATA, bytes(2 ** 14 + 1)))
after("noise after the handshake", SEALED, BAD_MAC, plainly(record(DATA, noise(80))))
after("application data that is not sealed", SEALED, (BAD_MAC, DECODE, UNEXPECTED), plainly(record(DATA, ASK)))
after("a handshake message that is not sealed", SEALED, (UNEXPECTED, BAD_MAC, DECODE),
      plainly(record(HANDSHAKE, message(UPDATE, b"\x00"))))
after("a change of ciphers after the handshake", "RFC 8446 section 5", UNEXPECTED, plainly(record(CCS, b"\x01")))
after("a heartbeat after the handshake", "RFC 6520 section 3", UNEXPECTED, seals(HEARTBEAT, b"\x01\x00\x10" + bytes(32)),
      known=DECODE)
after("a record of no known type within", "RFC 8446 section 5", (UNEXPECTED, DECODE), seals(99, b"x"))
for kind, content, words in ((HELLO, bytes(60), "a second handshake"), (FINISH, bytes(32), "a second finish"),
                             (0, b"", "a request for a hello"), (TICKET, bytes(40), "a ticket"),
                             (REQUEST, b"\x00\x00\x00", "a request for a certificate"), (CERTIFICATE, bytes(4), "a certificate"),
                             (EARLY_END, b"", "an end of early data"), (77, b"", "a message of no known type")):
    after(f"{words} after the handshake", "RFC 8446 section 4.6", (UNEXPECTED, DECODE), tells(kind, content))


def update(wanted, count=1):
    def does(peer):
        for _ in range(count):
            try:
                peer.tell(UPDATE, bytes([wanted]))
            except OSError:
                break  # What was said about it is read next.
            session = peer.session
            session.cl_app_secret, session.sr_app_secret = peer._recordLayer.calcTLS1_3KeyUpdate_reciever(
                session.cipherSuite, session.cl_app_secret, session.sr_app_secret)
    return does


after("an update of keys", "RFC 8446 section 4.6.3", SERVED, update(0))
after("an update of keys that wants one back", "RFC 8446 section 4.6.3", SERVED, update(1))
after("ten updates of keys", "RFC 8446 section 4.6.3", SERVED, update(1, 10))
after("1,000 updates of keys that want one back", "RFC 8446 sections 4.6.3 and 5.5", quiet(SERVED, UNEXPECTED), update(1, 1_000))
after("an update of keys that wants what there is not", "RFC 8446 section 4.6.3", ILLEGAL, tells(UPDATE, b"\x02"))
after("an update of keys of two bytes", "RFC 8446 section 4.6.3", DECODE, tells(UPDATE, b"\x00\x00"))
after("an update of keys without content", "RFC 8446 section 4.6.3", DECODE, tells(UPDATE, b""))
after("an update of keys with something behind it", "RFC 8446 section 5.1", UNEXPECTED,
      seals(HANDSHAKE, message(UPDATE, b"\x00") * 2))
after("application data in the middle of a message", "RFC 8446 section 5.1", quiet(UNEXPECTED),
      lambda p: p.seal(HANDSHAKE, message(UPDATE, b"\x00")[:3]))
after("old keys after an update", "RFC 8446 section 4.6.3", BAD_MAC, tells(UPDATE, b"\x00"))


def replayed(peer):
    """The same sealed bytes twice."""
    sent = []
    keep, peer.raw_send = peer.sock.send, None
    peer.sock.send = lambda data: sent.append(bytes(data)) or keep(data)
    peer.seal(DATA, b"GET /health HTTP/1.1\r\n")
    peer.sock.send = keep
    peer.plain(b"".join(sent))


after("a record that comes twice", SEALED, BAD_MAC, replayed, BOTH)


def left(peer):
    """A request, then the word that no more comes: the answer comes whole."""
    peer.seal(DATA, ASK)
    peer.seal(ALERT, b"\x01\x00")
    return peer.answer()


after("a request and then close_notify", "RFC 8446 section 6.1", (SERVED, "alert 0"), left)


def beyond(peer):
    """What follows close_notify is not read."""
    peer.seal(ALERT, b"\x01\x00")
    peer.seal(DATA, ASK)
    return peer.answer()


after("a request behind close_notify", "RFC 8446 section 6.1", (CLOSED, "reset", "alert 0"), beyond, BOTH)
after("a fatal alert after the handshake", "RFC 8446 section 6.2", (CLOSED, "reset"), seals(ALERT, b"\x02\x28"), BOTH)
after("an alert of three bytes", "RFC 8446 section 6", (DECODE, UNEXPECTED), seals(ALERT, b"\x01\x00\x00"))
after("an empty alert", "RFC 8446 section 5.1", (DECODE, UNEXPECTED), seals(ALERT, b""))
after("1,000 warnings after the handshake", "RFC 8446 section 6", (UNEXPECTED, DECODE, CLOSED, "reset"),
      times(1_000, seals(ALERT, b"\x01\x5a")))

# Tickets: the server's own, used wrongly.


def ticket(at):
    """A session with a ticket of the server."""
    peer = Peer(at)
    peer.shake("1.3")
    peer.ask()
    peer.raw.close()
    return peer.session


def resumed(name, rule, want, change, is_resumed=None, **keys):
    def run(at):
        session = ticket(at)

        def twist(peer, msg):
            if peer.hellos != 1 or msg.contentType != HANDSHAKE or msg.write()[0] != HELLO:
                return None
            return [Message(HANDSHAKE, rewritten(bytes(msg.write()), change))]
        peer = Peer(at, twist)
        saw = seen(peer, lambda peer: peer.shake("1.3", session=session, **keys))
        if is_resumed is not None and peer.resumed != is_resumed:
            return f"{saw}, resumed: {peer.resumed}"
        return saw
    case(name, rule, want, run)


def last(change):
    """Changes the extension of the ticket, which is the last one."""
    def run(h):
        kind, content = h.extensions.pop()
        h.extensions.append((kind, change(content)))
    return run


resumed("a ticket of its own resumes", "RFC 8446 section 4.2.11", SERVED, lambda h: None, True)
resumed("a ticket whose proof is wrong", "RFC 8446 section 4.2.11.2", (DECRYPT, ILLEGAL),
        last(lambda c: c[:-1] + bytes([c[-1] ^ 1])))
resumed("a ticket with a proof that is short", "RFC 8446 section 4.2.11", (DECRYPT, ILLEGAL, DECODE),
        last(lambda c: c[:-51] + b"\x00\x21\x20" + c[-32:]))
resumed("a ticket in a hello that was changed after its proof", "RFC 8446 section 4.2.11.2", (DECRYPT, ILLEGAL),
        lambda h: h.set(0x3a3a, b"x"))
resumed("a ticket and a way to use it without a new share", "RFC 8446 section 4.2.9", (SERVED, DECRYPT, ILLEGAL),
        lambda h: h.set(45, b"\x01\x00"))


def early(words, want, announced, size, count):
    """Application data right behind the hello, that nobody can open."""
    def run(at):
        def twist(peer, msg):
            if peer.hellos != 1 or msg.contentType != HANDSHAKE or msg.write()[0] != HELLO:
                return None
            def change(h):
                if announced:
                    h.set(42, b"")
            return [Message(HANDSHAKE, rewritten(bytes(msg.write()), change)), record(DATA, noise(size)) * count]
        return seen(Peer(at, twist), lambda peer: peer.shake("1.3"))
    case(words, "RFC 8446 section 4.2.10", want, run)


early("early data that was announced is passed over", (SERVED, ILLEGAL, UNEXPECTED, BAD_MAC), True, 200, 1)
early("early data that was not announced", (BAD_MAC, UNEXPECTED, DECODE), False, 200, 1)
early("a mebibyte of early data", (BAD_MAC, UNEXPECTED, ILLEGAL, CLOSED, "reset"), True, 16_000, 64)
