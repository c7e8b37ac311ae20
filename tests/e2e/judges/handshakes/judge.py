"""Breaks the rules of TLS against a server, one at a time, and says what was seen.

    judge.py ADDRESS PORT CA [NAME-PART]

After each case an honest client of another library must be served. One line of JSON for each case; `ok` says whether
what was seen is what the rule wants (or, `known`, what the server's library is known to do instead) and the honest
client was served.
"""

import json
import socket
import ssl
import sys
import time

import cases
import records
import hellos
import flows13
import flows12


def healthy(at, context):
    """Whether another library's client is served."""
    try:
        with socket.create_connection(at, cases.PATIENCE) as stream:
            with context.wrap_socket(stream, server_hostname="app.test") as client:
                client.sendall(cases.ASK)
                return client.recv(65536).startswith(b"HTTP/1.1 200 ")
    except OSError as error:
        return str(error)


def main():
    at, context = (sys.argv[1], int(sys.argv[2])), ssl.create_default_context(cafile=sys.argv[3])
    part = sys.argv[4] if len(sys.argv) > 4 else ""
    for case in cases.CASES:
        if part not in case.name:
            continue
        began = time.monotonic()
        try:
            saw = case.run(at)
        except Exception as error:  # A judge that stumbles says so of this case and goes on.
            saw = f"the judge stumbled: {type(error).__name__}: {error}"
        took = time.monotonic() - began
        well = healthy(at, context)
        known = saw == case.known
        fits = saw in case.want or known
        ok = fits and well is True
        print(json.dumps({"name": case.name, "rule": case.rule, "want": case.want, "saw": saw, "known": known,
                          "fits": fits, "well": well,
                          "ms": round(took * 1000), "ok": ok}), flush=True)


if __name__ == "__main__":
    main()
