"""The list of cases, and the forms that they have."""

from dataclasses import dataclass
from typing import Callable

from peer import (
    ASK, CCS, HANDSHAKE, PATIENCE, Hello, Message, Peer, hello, record, seen, seen_plain,
)

# Alerts by what they say (RFC 8446 section 6, RFC 5246 section 7.2).
UNEXPECTED, BAD_MAC, OVERFLOW = "alert 10", "alert 20", "alert 22"
NO_COMMON, ILLEGAL, DECODE, DECRYPT = "alert 40", "alert 47", "alert 50", "alert 51"
VERSION, INSUFFICIENT, MISSING, UNSUPPORTED = "alert 70", "alert 71", "alert 109", "alert 110"
UNRECOGNIZED, NO_PROTOCOL = "alert 112", "alert 120"
SERVED, CLOSED = "served", "closed"

BOTH = ("1.2", "1.3")


@dataclass
class Case:
    """What is done, the rule that it breaks or makes use of, and what may be seen: what the rule wants, or the one
    thing that the library is known to do instead."""

    name: str
    rule: str
    want: tuple
    run: Callable
    known: str | None = None


CASES = []


def quiet(*want):
    """These alerts, or an end without one: who finds a fault should say so, and need not (RFC 8446 section 6.2)."""
    return (*want, CLOSED)


def case(name, rule, want, run, known=None):
    want = (want,) if isinstance(want, str) else tuple(want)
    assert all(other.name != name for other in CASES), name
    CASES.append(Case(name, rule, want, run, known))


def plain(name, rule, want, make, half_close=False):
    """Bytes that follow no state; `make()` gives them in parts."""
    case(name, rule, want, lambda at: seen_plain(at, make(), half_close))


def changed(name, rule, want, change, versions=("1.3",), known=None, **keys):
    """An honest handshake but for its ClientHello, which `change` changes (or gives the bytes instead of)."""
    for version in versions:
        def run(at, version=version):
            def twist(peer, msg):
                if peer.hellos != 1 or msg.contentType != HANDSHAKE or msg.write()[0] != 1:
                    return None
                return [Message(HANDSHAKE, rewritten(bytes(msg.write()), change))]
            return seen(Peer(at, twist), lambda peer: peer.shake(version, **keys))
        case(f"TLS {version}: {name}", rule, want, run, known)


def rewritten(written, change):
    parts = Hello(written)
    return change(parts) or parts.write()


def twisted(name, rule, want, twist, versions=("1.3",), known=None, **keys):
    """An honest handshake but for what `twist(peer, kind, msg)` puts in place of a message; `kind` is that of a
    handshake message, or `ccs`."""
    for version in versions:
        def run(at, version=version):
            def turn(peer, msg):
                if msg.contentType not in (HANDSHAKE, CCS):
                    return None
                return twist(peer, "ccs" if msg.contentType == CCS else msg.write()[0], msg)
            return seen(Peer(at, turn), lambda peer: peer.shake(version, **keys))
        case(f"TLS {version}: {name}", rule, want, run, known)


def after(name, rule, want, does, versions=("1.3",), known=None, **keys):
    """A whole handshake, then `does(peer)`; the answer's status is what it gives, or what a request gets."""
    for version in versions:
        def run(at, version=version):
            def both(peer):
                peer.shake(version, **keys)
                return does(peer)
            return seen(Peer(at), both)
        case(f"TLS {version}: {name}", rule, want, run, known)


def first(change=None, version="1.3", **keys):
    """A ClientHello in one record."""
    parts = hello(version, **keys)
    return record(HANDSHAKE, (change and change(parts)) or parts.write(), 0x0301)
