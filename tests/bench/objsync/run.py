#!/usr/bin/env python3
"""How fast engines that share a table learn of one another's entries, what it costs, and how they come back.

Every system is measured in the same run, in an own network namespace: its processes talk over loopback, and nothing
else does, so the interface's counters are the bytes on the wire (TCP and IP included). Entries are written to the first
process over its admin socket, in batches; the look-up of every other process is asked for one entry of some batches,
every 0.3 ms, until it is there. The time runs from before the batch is sent.

  run.py                                every system, every rate, 2 and 4 processes; then joining and healing
  run.py --quick                        one rate, 2 processes, 100,000 entries
  run.py --systems haproxy,forebay --rates 10000 --sizes 2 --rounds 5
  run.py --scenes live|join|heal|beside

`beside` asks the first of two engines for 2,000 pages a second while the other one is told all entries, and while the link to
it takes 1 KiB a second (beside.py).

All systems run alike: one worker or thread each for clients (ours has two more, for commands and for object sync, which
counts), no priority, no pinning but with --pin. Of the Redis mode the processor time of each Redis counts for its engine and
that of the distributor for the first one.

CPU is by the process clocks, all threads; "alone" is the same writing without a peer, so that the cost of the admin
socket can be taken off: `origin - alone` and `receiver` are what sharing an entry costs. Rounds are interleaved over
the systems (A, B, B, A). Needs root for the namespace.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "load"))

import machine  # noqa: E402
import live  # noqa: E402
import figures as report  # noqa: E402
import whole  # noqa: E402
import beside  # noqa: E402
from systems import SYSTEMS, LeftOut  # noqa: E402

SCENES = ("live", "join", "heal", "beside")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--systems", default=",".join(SYSTEMS), help="only these, comma-separated")
    p.add_argument("--scenes", default=",".join(SCENES), help="only these, comma-separated")
    p.add_argument("--rates", help="new entries a second, comma-separated")
    p.add_argument("--sizes", help="processes that share the table, comma-separated")
    p.add_argument("--rounds", type=int, help="of each rate; pairs of systems are compared round by round")
    p.add_argument("--secs", type=float, help="of writing at one rate")
    p.add_argument("--entries", type=int, help="of the table that is joined and healed")
    p.add_argument("--pin", action="store_true", help="process n of every system to core n, of as many as there are")
    p.add_argument("--json", help="file for all figures")
    a = p.parse_args()
    numbers = lambda text: [int(n) for n in text.split(",")]
    a.systems = a.systems.split(",")
    a.scenes = a.scenes.split(",")
    a.rates = numbers(a.rates) if a.rates else [10_000] if a.quick else [1_000, 10_000, 50_000]
    a.sizes = numbers(a.sizes) if a.sizes else [2] if a.quick else [2, 4]
    a.rounds = a.rounds or (1 if a.quick else 3)
    a.secs = a.secs or (3.0 if a.quick else 5.0)
    a.entries = a.entries or (100_000 if a.quick else 1_000_000)
    return a


def main():
    options = arguments()
    machine.enter_namespace(os.path.abspath(__file__))
    machine.raise_file_limit()
    work = tempfile.mkdtemp(prefix="forebay-objsync-")
    began = time.time()
    rows, left_out = [], []
    count = [0]

    kinds = {**SYSTEMS, "beside": beside.Beside}

    def start(name, size):
        """A fresh group of processes: what an earlier one holds costs the next one nothing."""
        count[0] += 1
        folder = f"{work}/{name}-{count[0]}"
        os.mkdir(folder)
        return kinds[name](folder, size, options.entries + 500_000, options.pin)

    def measure(name, what, *with_):
        try:
            row = what(start, name, *with_)
        except LeftOut as why:
            if str(why) not in left_out:
                left_out.append(str(why))
            return
        rows.append(row)
        print("#", json.dumps(row), file=sys.stderr)

    try:
        if "live" in options.scenes:
            for size in options.sizes:
                for rate in options.rates:
                    for n in range(options.rounds):
                        for name in options.systems if n % 2 == 0 else options.systems[::-1]:
                            measure(name, live.measure, size, rate, options.secs, n)
                            if size == options.sizes[0]:
                                measure(name, live.measure, 1, rate, options.secs, n)
        for scene in ("join", "heal"):
            if scene in options.scenes:
                for n in range(options.rounds):
                    for name in options.systems if n % 2 == 0 else options.systems[::-1]:
                        measure(name, getattr(whole, scene), options.entries, n)
        if "beside" in options.scenes and "forebay" in options.systems:
            rows += beside.measure(start, "beside", options.entries, options.rounds if options.quick else max(options.rounds, 5))
        line = f"{options.rounds} rounds, {options.secs} s at each rate, {time.time() - began:.0f} s, kernel {os.uname().release}"
        report.show(rows, left_out, line)
        if found := [row for row in rows if row["scene"] == "beside"]:
            beside.show(found)
        if options.json:
            with open(options.json, "w") as out:
                json.dump({"figures": rows, "left_out": left_out}, out, indent=1)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
