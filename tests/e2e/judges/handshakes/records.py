"""Records before there are keys, alerts, and messages that nobody waits for at the beginning."""

import struct

from cases import *
from peer import ALERT, CCS, DATA, HANDSHAKE, HEARTBEAT, Peer, message, noise, record, seen

LAYER = "RFC 8446 section 5.1"


def cut(written, *places):
    """A message in records that end at these places."""
    ends = [0, *places, len(written)]
    return b"".join(record(HANDSHAKE, written[a:b], 0x0301) for a, b in zip(ends, ends[1:]))


def bare(version="1.3"):
    return first(version=version)[5:]


for kind, words in ((DATA, "application data"), (CCS, "a change of ciphers"), (HEARTBEAT, "a heartbeat"),
                    (99, "a record of no known type")):
    plain(f"{words} before the first hello", "RFC 8446 section 5", (UNEXPECTED, DECODE),
          lambda kind=kind: [record(kind, b"\x01")])
plain("a handshake record of no bytes", LAYER, (UNEXPECTED, DECODE), lambda: [record(HANDSHAKE, b"") + first()])
plain("a plain record of 2^14 + 1 bytes", LAYER, (OVERFLOW, DECODE),
      lambda: [record(HANDSHAKE, message(1, bytes(2 ** 14 - 3)))])
plain("a record that says 65,535 bytes", LAYER, (OVERFLOW, DECODE),
      lambda: [record(HANDSHAKE, bare(), length=0xffff)])
plain("a record cut short by the end", LAYER, (CLOSED, DECODE), lambda: [first()[:-10]], half_close=True)
plain("a header cut short by the end", LAYER, (CLOSED, DECODE), lambda: [first()[:3]], half_close=True)
plain("an end without a byte", LAYER, CLOSED, lambda: [b""], half_close=True)
plain("a record of SSL 2", "RFC 8446 appendix D.5", (VERSION, DECODE, UNEXPECTED, CLOSED),
      lambda: [b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + noise(37)])
plain("a request without TLS", LAYER, (DECODE, UNEXPECTED, VERSION, CLOSED),
      lambda: [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
plain("nothing but noise", LAYER, (DECODE, UNEXPECTED, VERSION, OVERFLOW, CLOSED), lambda: [b"\xff" + noise(600)])
plain("a hello with the next message in its record", LAYER, UNEXPECTED,
      lambda: [record(HANDSHAKE, bare() + message(20, bytes(32)))])
plain("a change of ciphers in the middle of a hello", LAYER, quiet(UNEXPECTED),
      lambda: [record(HANDSHAKE, bare()[:60]) + record(CCS, b"\x01") + record(HANDSHAKE, bare()[60:])])
plain("application data in the middle of a hello", LAYER, quiet(UNEXPECTED),
      lambda: [record(HANDSHAKE, bare()[:60]) + record(DATA, b"x") + record(HANDSHAKE, bare()[60:])])
plain("a message that says 16 MiB", LAYER, quiet(DECODE, ILLEGAL, OVERFLOW),
      lambda: [record(HANDSHAKE, message(1, bytes(2000), length=2 ** 24 - 1))])
plain("a hello of 60,000 bytes", "TLS-HANDSHAKE-01", quiet(DECODE, ILLEGAL, OVERFLOW, "reset"),
      lambda: [cut(message(1, bare()[4:] + bytes(60_000)), 16_000, 32_000, 48_000)])
plain("a hello whose second part never comes", LAYER, (CLOSED, DECODE), lambda: [cut(bare(), 80)[:-40]], half_close=True)

for kind, words in ((0, "a request for a hello"), (2, "a server's hello"), (4, "a ticket"), (5, "the end of early data"),
                    (8, "encrypted extensions"), (11, "a certificate"), (13, "a request for a certificate"),
                    (15, "a proof of a certificate"), (16, "a client's key"), (20, "a finish"), (24, "an update of keys"),
                    (67, "a next protocol"), (77, "a message of no known type"), (254, "a hash in place of messages")):
    plain(f"{words} before the first hello", "RFC 8446 section 4", (UNEXPECTED, DECODE),
          lambda kind=kind: [record(HANDSHAKE, message(kind, bytes(8)))])

plain("close_notify before the first hello", "RFC 8446 section 6.1", (CLOSED, "alert 0"),
      lambda: [record(ALERT, b"\x01\x00")], half_close=True)
plain("a fatal alert before the first hello", "RFC 8446 section 6.2", CLOSED, lambda: [record(ALERT, b"\x02\x28")])
plain("an alert of one byte", "RFC 8446 section 6", (DECODE, UNEXPECTED), lambda: [record(ALERT, b"\x02")])
plain("an alert of no bytes", LAYER, (DECODE, UNEXPECTED), lambda: [record(ALERT, b"")])
plain("an alert of a level that there is not", "RFC 8446 section 6", (ILLEGAL, DECODE, UNEXPECTED, CLOSED),
      lambda: [record(ALERT, b"\x07\x28")])
plain("a flood of 2,000 warnings", "RFC 5246 section 7.2, CVE-2016-8610", (UNEXPECTED, DECODE, CLOSED, "reset"),
      lambda: [record(ALERT, b"\x01\x70") * 2_000])
plain("a flood of 2,000 empty records", LAYER, (UNEXPECTED, DECODE, CLOSED, "reset"),
      lambda: [record(HANDSHAKE, b"") * 2_000])


def honest(name, rule, want, versions=BOTH, **how):
    keys = how.pop("keys", {})
    for version in versions:
        def run(at, version=version):
            return seen(Peer(at, **how), lambda peer: peer.shake(version, **keys))
        case(f"TLS {version}: {name}", rule, want, run)


honest("an honest handshake", "RFC 8446 section 2, RFC 5246 section 7.3", SERVED)
honest("a share of the group that no quantum computer opens", "FIPS 203, draft-ietf-tls-ecdhe-mlkem", SERVED, ("1.3",),
       keys={"keyShares": ["x25519mlkem768"], "eccCurves": ["x25519mlkem768", "secp256r1"]})
honest("all messages in records of one byte", LAYER, SERVED, record_size=1)
honest("all messages in records of 64 bytes", LAYER, SERVED, record_size=64)


def spoken(version):
    """The hello in a record that says another version, which nobody may look at."""
    def twist(peer, msg):
        if peer.hellos == 1 and msg.contentType == HANDSHAKE and not getattr(peer, "said", False):
            peer.said = True
            peer._handshake_hash.update(msg.write())
            return [record(HANDSHAKE, msg.write(), version)]
        return None
    return twist


for version in (0x0300, 0x0301, 0x0302, 0x0303, 0x0304):
    honest(f"a hello in a record of version {version:#06x}", LAYER, SERVED, twist=spoken(version))
for version in (0x0000, 0x0203, 0x0505, 0xffff):
    plain(f"a hello in a record of version {version:#06x}", LAYER, ("answered", VERSION, DECODE, CLOSED),
          lambda version=version: [struct.pack("!BH", 22, version) + first()[3:]])
