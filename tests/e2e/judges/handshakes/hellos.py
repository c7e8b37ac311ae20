"""ClientHellos: what is in them, in which order, and what is left out."""

import struct

from cases import *
from peer import HANDSHAKE, Message, Peer, block, noise, seen

# Extensions (RFC 8446 section 4.2 and others).
NAME, GROUPS, POINTS, SCHEMES, ALPN, PADDING = 0, 10, 11, 13, 16, 21
EMS, LIMIT, TICKET, PSK, EARLY, VERSIONS = 23, 28, 35, 41, 42, 43
COOKIE, MODES, SHARES, HEART, FRAGMENT, RENEGOTIATION = 44, 45, 51, 15, 1, 0xff01
GREASE = 0x3a3a


def two(*numbers):
    return b"".join(struct.pack("!H", number) for number in numbers)


def put(kind, content):
    return lambda h: h.set(kind, content)


def without(*kinds):
    return lambda h: h.drop(*kinds)


def part(**values):
    return lambda h: [setattr(h, key, value) for key, value in values.items()] and None


def share(*entries):
    return block(b"".join(two(group) + block(key) for group, key in entries))


# Versions.
for number, words in ((0x0300, "SSL 3"), (0x0301, "TLS 1.0"), (0x0302, "TLS 1.1")):
    changed(f"a client of {words} only", "RFC 8996 section 2, RFC 8446 section 4.2.1", (VERSION, NO_COMMON),
            lambda h, number=number: part(version=two(number))(h) or h.drop(VERSIONS), ("1.2",))
changed("no version that is known", "RFC 8446 section 4.2.1", VERSION, put(VERSIONS, block(two(0x0305, GREASE), 1)))
changed("only TLS 1.1 among the supported versions", "RFC 8446 section 4.2.1", VERSION,
        put(VERSIONS, block(two(0x0302), 1)))
changed("an empty list of versions", "RFC 8446 section 4.2.1", (DECODE, ILLEGAL), put(VERSIONS, b"\x00"))
changed("half a version", "RFC 8446 section 4.2.1", DECODE, put(VERSIONS, b"\x03\x03\x04\x03"))
changed("versions longer than their extension", "RFC 8446 section 4.2.1", DECODE, put(VERSIONS, b"\x08\x03\x04"))
changed("a legacy version of TLS 1.3 without the extension means TLS 1.2", "RFC 8446 section 4.2.1", SERVED,
        part(version=two(0x0304)), ("1.2",))
changed("TLS 1.3 behind versions that nobody knows", "RFC 8701 section 3.1", SERVED,
        put(VERSIONS, block(two(GREASE, 0x0305, 0x0304), 1)))

# Cipher suites, compression, session.
STATIC = two(0x009c, 0x009d, 0x003c, 0x002f)
for suites, words in ((two(0xdada), "unknown suites"), (STATIC, "static RSA"), (two(0x009e, 0x009f), "finite fields"),
                      (two(0xc009, 0xc00a, 0xc023), "blocks in a chain"), (two(0x0001, 0x0002, 0x003b), "no encryption"),
                      (two(0x0003, 0x0008, 0x0014), "export keys"), (two(0x0034, 0xc018), "nobody's certificate"),
                      (two(0xc007, 0x0005), "RC4"), (two(0xc008, 0x000a), "triple DES"),
                      (two(0x1301, 0x1302), "suites of TLS 1.3")):
    changed(f"only {words}", "RFC 9325 section 4.2, RFC 5246 section 7.4.1.3",
            NO_COMMON, part(suites=suites), ("1.2",))
changed("suites of TLS 1.2 only in a hello of TLS 1.3", "RFC 8446 section 4.1.1", NO_COMMON, part(suites=two(0xc02b)))
changed("an empty list of suites", "RFC 8446 section 4.1.2", (DECODE, ILLEGAL, NO_COMMON), part(suites=b""), BOTH)
changed("half a suite", "RFC 8446 section 4.1.2", DECODE, lambda h: part(suites=h.suites[:-1])(h), BOTH)
changed("no compression at all in the list", "RFC 8446 section 4.1.2", (DECODE, ILLEGAL), part(compression=b""), BOTH)
changed("compression demanded", "RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2", (ILLEGAL, DECODE, NO_COMMON),
        part(compression=b"\x01"), BOTH)
changed("compression offered", "RFC 5246 section 7.4.1.2", SERVED, part(compression=b"\x01\x00"), ("1.2",))
changed("a session of 33 bytes", "RFC 8446 section 4.1.2", (DECODE, ILLEGAL), part(session=noise(33)), BOTH)
changed("a session that nobody knows", "RFC 5246 section 7.4.1.2", SERVED, part(session=noise(32)), ("1.2",))


def sessionless(peer, kind, msg):
    if kind == 1:
        msg.session_id = bytearray()


twisted("no session", "RFC 8446 section 4.1.2", SERVED, sessionless)

# The extensions as a whole.
changed("bytes behind the extensions", "RFC 8446 section 4.1.2", DECODE, part(tail=b"\x00"), BOTH)
changed("extensions that say one byte more", "RFC 8446 section 4.2", DECODE, part(beyond=1), BOTH)
changed("extensions that say one byte less", "RFC 8446 section 4.2", DECODE, part(beyond=-1), BOTH)
changed("an extension cut in its header", "RFC 8446 section 4.2", DECODE,
        lambda h: part(tail=b"\x00\x17\x00", beyond=3)(h), BOTH)
changed("a hello that ends in its random bytes", "RFC 8446 section 4.1.2", DECODE,
        lambda h: b"\x01\x00\x00\x14" + h.write()[4:24], BOTH)
changed("the same extension twice", "RFC 8446 section 4.2", (ILLEGAL, DECODE),
        lambda h: h.extensions.append((SCHEMES, h.get(SCHEMES))), BOTH)
changed("an unknown extension twice", "RFC 8446 section 4.2", (ILLEGAL, DECODE),
        lambda h: h.extensions.extend([(GREASE, b""), (GREASE, b"")]), BOTH)
changed("extensions in the opposite order", "RFC 8446 section 4.2", SERVED, lambda h: h.extensions.reverse(), BOTH)
changed("an unknown extension of 8,000 bytes", "RFC 8446 section 4.1.2", SERVED, put(GREASE, noise(8_000)), BOTH)
changed("padding to 15,000 bytes", "RFC 7685 section 3", SERVED, put(PADDING, bytes(15_000)), BOTH)


def greased(h):
    for kind, size in ((GROUPS, 2), (SCHEMES, 2), (VERSIONS, 1)):
        if h.get(kind) is not None:
            h.set(kind, block(two(GREASE) + h.get(kind)[size:], size))
    if h.get(SHARES) is not None:
        h.set(SHARES, block(two(GREASE) + block(b"\x00") + h.get(SHARES)[2:]))
    h.suites = two(GREASE) + h.suites
    h.extensions = [(0x4a4a, b""), *h.extensions, (0x5a5a, b"\x00")]


changed("values that mean nothing everywhere", "RFC 8701 section 3.1", SERVED, greased, BOTH)
changed("a protocol that means nothing before one that does", "RFC 8701 section 3.1", SERVED, lambda h: None, BOTH,
        alpn=[b"\x3a\x3a", b"http/1.1"])

# Names and protocols.
for content, words in ((b"", "nothing"), (block(b""), "an empty list"), (block(b"\x00" + block(b"")), "an empty name"),
                       (block(b"\x00\x00\xff" + b"app.test"), "a name longer than its list"),
                       (block((b"\x00" + block(b"app.test")) * 2), "two names of one kind")):
    changed(f"a server name of {words}", "RFC 6066 section 3", (DECODE, ILLEGAL, UNRECOGNIZED), put(NAME, content), BOTH)
for content, words in ((b"app\x00.test", "with a zero byte"), (b"-..-", "of dots"), (b"\xff\xfe", "of no characters"),
                       (b"a" * 300, "of 300 letters")):
    changed(f"a server name {words}", "RFC 6066 section 3", (DECODE, ILLEGAL, UNRECOGNIZED, SERVED),
            put(NAME, block(b"\x00" + block(content))), BOTH)
changed("a server name that is an address", "RFC 6066 section 3", (SERVED, ILLEGAL, DECODE, UNRECOGNIZED),
        put(NAME, block(b"\x00" + block(b"192.0.2.1"))), BOTH)
changed("an empty list of protocols", "RFC 7301 section 3.1", (DECODE, ILLEGAL), put(ALPN, block(b"")), BOTH)
changed("an empty protocol", "RFC 7301 section 3.1", (DECODE, ILLEGAL), put(ALPN, block(b"\x00")), BOTH)
changed("no protocol in common", "RFC 7301 section 3.2", NO_PROTOCOL, put(ALPN, block(block(b"gopher", 1))), BOTH)

# Groups, shares and signatures.
changed("no group in common", "RFC 8446 section 4.1.1", (NO_COMMON, INSUFFICIENT),
        lambda h: (h.set(GROUPS, block(two(0x0019, GREASE))), h.set(SHARES, block(b""))) and None)
changed("no group in common", "RFC 8422 section 5.1", (NO_COMMON, INSUFFICIENT),
        put(GROUPS, block(two(0x0019, 0x0100))), ("1.2",))
changed("an empty list of groups", "RFC 8446 section 4.2.7", (DECODE, ILLEGAL, NO_COMMON), put(GROUPS, block(b"")), BOTH)
changed("half a group", "RFC 8446 section 4.2.7", DECODE, put(GROUPS, block(b"\x00\x1d\x00")), BOTH)
changed("no shares extension", "RFC 8446 section 9.2", MISSING, without(SHARES), known=NO_COMMON)
changed("no groups extension", "RFC 8446 section 9.2", MISSING, without(GROUPS), known=NO_COMMON)
changed("no signature schemes", "RFC 8446 section 4.2.3", MISSING, without(SCHEMES), known=NO_COMMON)
changed("an empty list of signature schemes", "RFC 8446 section 4.2.3", (DECODE, ILLEGAL, NO_COMMON),
        put(SCHEMES, block(b"")), BOTH)
changed("no signature scheme in common", "RFC 8446 section 4.1.1", NO_COMMON, put(SCHEMES, block(two(0x0401, 0x0804))),
        BOTH)
changed("only SHA-1 to sign with", "RFC 9155 section 2", NO_COMMON, put(SCHEMES, block(two(0x0201, 0x0203))), BOTH)
changed("a share of a group that was not offered", "RFC 8446 section 4.2.8", (ILLEGAL, SERVED),
        lambda h: h.set(SHARES, block(h.get(SHARES)[2:] + two(0x0018) + block(b"\x04" + bytes(96)))))
changed("two shares of one group", "RFC 8446 section 4.2.8", (ILLEGAL, SERVED),
        lambda h: h.set(SHARES, block(h.get(SHARES)[2:] * 2)))
changed("a share cut short", "RFC 8446 section 4.2.8", DECODE,
        lambda h: h.set(SHARES, block(h.get(SHARES)[2:-3])))
changed("a share without a byte", "RFC 8446 section 4.2.8", (DECODE, ILLEGAL), put(SHARES, share((0x001d, b""))))
for group, key, words in (
        (0x001d, bytes(31), "31 bytes on x25519"), (0x001d, bytes(33), "33 bytes on x25519"),
        (0x001d, bytes(32), "zero on x25519"), (0x001d, b"\x01" + bytes(31), "a point of small order on x25519"),
        (0x0017, b"\x04" + b"\x05" * 64, "a point beside the curve P-256"), (0x0017, b"\x00", "infinity on P-256"),
        (0x0017, b"\x02" + noise(32), "a compressed point on P-256"), (0x0017, b"\x04" + noise(20), "half a point on P-256"),
        (0x0017, b"\x04" + b"\xff" * 64, "numbers beyond the field of P-256"), (0x11ec, noise(1200), "a short hybrid share"),
        (0x11ec, b"\xff" * 1216, "a hybrid share beyond its field")):
    changed(f"a share of {words}", "RFC 8446 sections 4.2.8 and 7.4.2, FIPS 203 section 7.2", (ILLEGAL, DECODE),
            lambda h, group=group, key=key:
                (h.set(GROUPS, block(two(group))), h.set(SHARES, share((group, key)))) and None)
changed("point formats without the plain one", "RFC 8422 section 5.1.2", (ILLEGAL, NO_COMMON),
        put(POINTS, block(b"\x01", 1)), ("1.2",))

# Sessions of before, early data, and what belongs to neither.
IDENTITY = block(block(noise(100)) + bytes(4))
BINDER = block(block(noise(32), 1))


def at_end(kind, content):
    return lambda h: h.extensions.append((kind, content))


changed("a ticket that nobody knows means a whole handshake", "RFC 8446 section 4.2.11", SERVED,
        at_end(PSK, IDENTITY + BINDER))
changed("a ticket of TLS 1.2 that nobody knows", "RFC 5077 section 3.4", SERVED, put(TICKET, noise(180)), ("1.2",))
changed("a ticket that is not the last extension", "RFC 8446 section 4.2.11", (ILLEGAL, DECODE), put(PSK, IDENTITY + BINDER))
changed("a ticket without a way to use it", "RFC 8446 section 4.2.9", (MISSING, ILLEGAL),
        lambda h: h.drop(MODES) or h.extensions.append((PSK, IDENTITY + BINDER)))
changed("ways to use a ticket that nobody knows", "RFC 8446 section 4.2.9", SERVED,
        lambda h: h.set(MODES, b"\x01\x09") or h.extensions.append((PSK, IDENTITY + BINDER)))
changed("an empty list of ways to use a ticket", "RFC 8446 section 4.2.9", (DECODE, ILLEGAL), put(MODES, b"\x00"))
changed("one ticket and two proofs", "RFC 8446 section 4.2.11", (ILLEGAL, DECODE),
        at_end(PSK, IDENTITY + block(block(noise(32), 1) * 2)))
changed("no ticket and no proof", "RFC 8446 section 4.2.11", (ILLEGAL, DECODE), at_end(PSK, block(b"") + block(b"")))
changed("a proof of eight bytes", "RFC 8446 section 4.2.11", (ILLEGAL, DECODE), at_end(PSK, IDENTITY + block(block(noise(8), 1))),
        known=SERVED)
changed("an empty ticket", "RFC 8446 section 4.2.11", (ILLEGAL, DECODE), at_end(PSK, block(block(b"") + bytes(4)) + BINDER))
changed("early data announced and not sent", "RFC 8446 section 4.2.10", (SERVED, ILLEGAL), put(EARLY, b""))
changed("an announcement of early data with content", "RFC 8446 section 4.2.10", (DECODE, ILLEGAL, SERVED), put(EARLY, b"\x00"))
changed("a cookie that nobody gave", "RFC 8446 section 4.2.2", (SERVED, ILLEGAL, UNSUPPORTED), put(COOKIE, block(b"abc")))
changed("an empty cookie", "RFC 8446 section 4.2.2", (DECODE, ILLEGAL, SERVED), put(COOKIE, block(b"")))
changed("a first renegotiation that is none", "RFC 5746 section 3.6", (NO_COMMON, ILLEGAL, DECODE),
        put(RENEGOTIATION, block(noise(12), 1)), ("1.2",), known=SERVED)
changed("no word on renegotiation", "RFC 5746 section 3.6", SERVED,
        lambda h: part(suites=h.suites.replace(two(0x00ff), b""))(h), ("1.2",))
changed("no extended master secret", "RFC 7627 section 5.3, TLS-PROFILE-01", SERVED, without(EMS), ("1.2",),
        useExtendedMasterSecret=False)
changed("an extended master secret with content", "RFC 7627 section 5.1", (DECODE, ILLEGAL, SERVED), put(EMS, b"\x00"),
        ("1.2",))
changed("a heartbeat offered", "RFC 6520 section 2", SERVED, put(HEART, b"\x01"), BOTH)
changed("a limit of records below 64", "RFC 8449 section 4", (ILLEGAL, SERVED), put(LIMIT, two(63)), BOTH)
changed("fragments of a length that there is not", "RFC 6066 section 4", (ILLEGAL, SERVED), put(FRAGMENT, b"\x05"), BOTH)


def sentinel(at):
    """A server of TLS 1.3 that speaks TLS 1.2 says so in its random bytes."""
    peer = Peer(at)
    saw = seen(peer, lambda peer: peer.shake("1.2"))
    return saw if peer._serverRandom[-8:] == b"DOWNGRD\x01" else f"{saw} without the sentinel"


case("a client of TLS 1.2 sees that the server could do better", "RFC 8446 section 4.1.3", SERVED, sentinel)

# The second hello, after the server asked for another share.
RETRY = {"keyShares": []}


def second(name, rule, want, change, **keys):
    def twist(peer, kind, msg):
        if kind != 1 or peer.hellos != 2:
            return None
        return [Message(HANDSHAKE, rewritten(bytes(msg.write()), change))]
    twisted(name, rule, want, twist, **{**RETRY, **keys})


AGAIN = "RFC 8446 sections 4.1.2 and 4.1.4"
second("no share at first, then the right one", AGAIN, SERVED, lambda h: None)
second("a second hello without shares", AGAIN, (ILLEGAL, DECODE), put(SHARES, block(b"")))
second("a second hello without the extension", AGAIN, (MISSING, ILLEGAL), without(SHARES), known=NO_COMMON)
second("a second hello with a share of another group", AGAIN, ILLEGAL,
       put(SHARES, share((0x0018, b"\x04" + bytes(96)))))
second("a second hello with two shares", AGAIN, (ILLEGAL, SERVED),
       lambda h: h.set(SHARES, block(h.get(SHARES)[2:] + two(0x0018) + block(b"\x04" + bytes(96)))))
second("a second hello that falls back to TLS 1.2", AGAIN, (ILLEGAL, VERSION, NO_COMMON), without(VERSIONS))
second("a second hello with early data", "RFC 8446 section 4.2.10", ILLEGAL, put(EARLY, b""))
second("a second hello with other suites", AGAIN, (ILLEGAL, NO_COMMON), part(suites=two(0x1304)))
second("a second hello cut short", AGAIN, DECODE, part(beyond=5))
twisted("a finish in place of the second hello", AGAIN, UNEXPECTED,
        lambda peer, kind, msg: [Message(HANDSHAKE, b"\x14\x00\x00\x20" + noise(32))] if kind == 1 and peer.hellos == 2
        else None, **RETRY)
