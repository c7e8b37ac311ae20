"""Requests beside object sync: what do they cost, and how long do they take, while a table is told to another engine?

The first engine has the second core for itself; servers, the generator and the other engine share the first one, the
other engine at the lowest priority, so that what it does of its own is not taken for a delay of the first one. Three
windows follow one another in each round: nothing happens; the other engine is killed and begins anew, so that all entries
are told to it; the link to it takes 1 KiB a second, while entries are written.
"""
import json
import os
import socket
import statistics
import subprocess
import threading
import time

import machine
from systems import FIRST_PORT, Forebay
from whole import fill

LOAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "load")
RATE = 2_000
CONNECTIONS = 32
WINDOW_S = 2.0
BACKEND = 8_001
WINDOWS = ("quiet", "repair", "slow")
ENGINE_CORE, OTHER_CORE = 1, 0


FIRST, OTHER = "127.0.0.2", "127.0.0.3"
# Where the first engine calls the other one, and where that one listens.
CALLED_PORT, OWN_PORT = 9_001, 9_101


class Beside(Forebay):
    """Two engines whose first one serves at 127.0.0.1, with a link between them that may be slow."""

    server = f"127.0.0.1:{BACKEND}"

    def listens(self, n):
        return f"127.0.0.{1 if n == 0 else 2 + n}:{FIRST_PORT + 1}"

    def section(self, n):
        port = CALLED_PORT if n == 0 else OWN_PORT
        first = f'{{ slot = 0, address = "{FIRST}", port = {CALLED_PORT} }}'
        other = f'{{ slot = 1, address = "{OTHER}", port = {port} }}'
        text = super().section(n).splitlines()
        text = [f"members = [{first}, {other}]" if line.startswith("members") else line for line in text]
        return "\n".join([text[0], f"port = {port}", *text[1:]]) + "\n"

    def before_exec(self, n):
        def setup():
            os.setsid()
            os.sched_setaffinity(0, {ENGINE_CORE if n == 0 else OTHER_CORE})
            if n:
                os.nice(19)
        return setup


def threads_ns(pid):
    """Processor time of a process's threads: workers, and the one of object sync."""
    found = {"worker": 0, "sync": 0}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                spent = int(f.read().split()[0])
        except OSError:
            continue
        if name.startswith("forebay-sync"):
            found["sync"] += spent
        elif name.startswith("worker-"):
            found["worker"] += spent
    return found


class Link:
    """What the engines say to one another goes through here, and may take its time: TLS passes as it is."""

    def __init__(self):
        self.slow = False
        self.door = socket.create_server((OTHER, CALLED_PORT), backlog=8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            caller, _ = self.door.accept()
            try:
                # Members know one another by the address from which they call.
                other = socket.create_connection((OTHER, OWN_PORT), source_address=(FIRST, 0))
            except OSError:
                caller.close()
                continue
            for here, there in ((caller, other), (other, caller)):
                here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.carry, args=(here, there), daemon=True).start()

    def carry(self, source, sink):
        try:
            while part := source.recv(1024 if self.slow else 1 << 18):
                sink.sendall(part)
                if self.slow:
                    time.sleep(1)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def generator(folder):
    program = f"{folder}/lg"
    sources = [f"{LOAD}/{name}" for name in sorted(os.listdir(LOAD)) if name.endswith(".c")]
    subprocess.run(["gcc", "-O2", "-o", program, *sources, "-lssl", "-lcrypto"], check=True)
    return program


def on_other_core():
    os.setsid()
    os.sched_setaffinity(0, {OTHER_CORE})


def window(group, program):
    pid = group.running[0].pid
    before = threads_ns(pid)
    command = [program, "gen", str(FIRST_PORT + 1), str(CONNECTIONS), str(WINDOW_S), "/1k", "keep", str(RATE)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=on_other_core).stdout
    figures = json.loads(said.strip().splitlines()[-1])
    after = threads_ns(pid)
    return {"done": figures["done"], "errors": figures["err"], "p99_us": figures["p99_us"],
            "cpu_us": round((after["worker"] - before["worker"]) / 1e3 / figures["done"], 3),
            "sync_ms": round((after["sync"] - before["sync"]) / 1e6, 1)}


def entries(group, n):
    return group.count(group.talk(n))


def measure(start, name, entries_wanted, rounds):
    """All rounds on one pair of engines; a row for each window."""
    group = start(name, 2)
    server = None
    rows = []
    try:
        os.sched_setaffinity(0, {OTHER_CORE})
        link = Link()
        program = generator(group.folder)
        server = subprocess.Popen([program, "backend", str(BACKEND)], preexec_fn=on_other_core)
        group.start()
        for n in (0, 1):
            group.settle(n, 0)
        group.ready()
        fill(group, 0, entries_wanted)
        has = entries(group, 0)
        group.settle(1, has)
        time.sleep(group.settles_s)
        window(group, program)
        written = 20_000_000
        for n in range(rounds):
            for what in WINDOWS if n % 2 == 0 else WINDOWS[::-1]:
                here, told = 0, 0
                if what == "repair":
                    group.stop(1)
                    group.start(1)
                    group.talk(1)
                    here = entries(group, 1)
                elif what == "slow":
                    link.slow = True
                writes = threading.Event()
                thread = None
                if what == "slow":
                    def write(first=written):
                        talk = group.talk(0)
                        while not writes.is_set():
                            talk.ask(*group.words(first, 10))
                            first += 10
                            time.sleep(.01)
                    thread = threading.Thread(target=write)
                    thread.start()
                    written += 100_000
                row = window(group, program)
                if thread:
                    writes.set()
                    thread.join()
                    link.slow = False
                if what == "repair":
                    told = entries(group, 1) - here
                rows.append({"scene": "beside", "system": name, "window": what, "round": n, "entries": has, "told": told, **row})
                # The next window begins when all is told.
                group.settle(1, entries(group, 0))
                time.sleep(1)
    finally:
        if server:
            server.kill()
            server.wait()
        group.stop()
    return rows


def show(rows):
    """Medians, and medians of what each window is of the quiet one of its round."""
    of = {(row["window"], row["round"]): row for row in rows}
    rounds = sorted({row["round"] for row in rows})
    print(f"\nbeside: {RATE} requests a second, {len(rounds)} rounds, {rows[0]['entries']} entries")
    for what in WINDOWS:
        found = [of[what, n] for n in rounds]
        middle = lambda key: round(statistics.median(row[key] for row in found), 2)
        cells = ", ".join(f"{key} {middle(key)}" for key in ("cpu_us", "p99_us", "sync_ms", "told", "errors"))
        ratios = ""
        if what != "quiet":
            ratio = lambda key: round(statistics.median(of[what, n][key] / of["quiet", n][key] for n in rounds), 3)
            ratios = f"; of the quiet window's: cpu {ratio('cpu_us')}, p99 {ratio('p99_us')}"
        print(f"  {what}: {cells}{ratios}")
