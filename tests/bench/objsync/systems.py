"""The systems under measurement: how a group of processes is started, written to and looked into."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import machine

START_WAIT_S = 30.0
FIRST_PORT = 7000


class LeftOut(Exception):
    """A system that cannot be measured, and why."""


def address(n):
    """The `n`th client: IPv4 addresses in an order that no table is sorted by."""
    n = (n * 2_654_435_761) & 0xFF_FFFF
    return f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"


class Talk:
    """An admin socket that is asked one line at a time."""

    def __init__(self, path, ends):
        self.ends = ends
        end = time.time() + START_WAIT_S
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                return
            except OSError:
                self.socket.close()
                if time.time() > end:
                    raise LeftOut(f"nobody answers at {os.path.basename(path)}")
                time.sleep(.005)

    def ask(self, line, answers=1):
        self.socket.sendall(line)
        said = b""
        while said.count(self.ends) < answers or not said.endswith(self.ends):
            part = self.socket.recv(1 << 18)
            if not part:
                raise ConnectionError("the admin socket was closed")
            said += part
        return said


class Group:
    """Processes that share one table. Each kind says how it is started and what is said at its admin socket."""

    name = ""
    batch = 100
    # After its start it may be busy with what it does only then.
    settles_s = .5

    def __init__(self, folder, size, room, pinned=False):
        self.folder, self.size, self.room, self.pinned = folder, size, room, pinned
        self.running = {}
        self.prepare()

    def prepare(self):
        """What has to stand before the first process."""

    def command(self, n):
        raise NotImplementedError

    def before_exec(self, n):
        """What process `n` does before it is the program."""
        def setup():
            os.setsid()
            if self.pinned:
                os.sched_setaffinity(0, {n % os.cpu_count()})
        return setup

    def talk(self, n):
        raise NotImplementedError

    def words(self, first, count):
        """What is said to write entry `first` and the following, and how many answers come."""
        raise NotImplementedError

    def look(self, talk, n):
        """Whether the process has the entry."""
        raise NotImplementedError

    def count(self, talk):
        """Entries that the process has."""
        raise NotImplementedError

    def start(self, *which):
        for n in which or range(self.size):
            with open(f"{self.folder}/log{n}", "a") as log:
                self.running[n] = subprocess.Popen(
                    self.command(n), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    preexec_fn=self.before_exec(n))

    def ready(self, *which):
        """Waits until the processes have found one another: an entry of the first reaches all."""
        if self.size == 1 or which:
            return
        mark = 8_000_000
        self.talk(0).ask(*self.words(mark, 1))
        for n in range(1, self.size):
            end, talk = time.time() + START_WAIT_S, self.talk(n)
            while not self.look(talk, mark):
                if time.time() > end:
                    raise LeftOut(f"{self.name}: the processes do not find one another")
                time.sleep(.01)

    def pids(self, n):
        return machine.family(self.running[n].pid)

    def stop(self, *which):
        for n in which or list(self.running):
            process = self.running.pop(n)
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except OSError:
                pass
            process.wait()

    def settle(self, n, wanted, wait_s=60.0):
        """Waits until a process has as many entries; gives how long it took, `None` if it never had."""
        began, talk = time.monotonic(), self.talk(n)
        while time.monotonic() - began < wait_s:
            if self.count(talk) >= wanted:
                return time.monotonic() - began
            time.sleep(.005)
        return None


class Haproxy(Group):
    """Debian's, one thread each: a stick table of addresses that keeps the server's number, shared with peers."""

    name = "haproxy"
    # It waits 5 s for an older process of itself, then asks its peers for all they have, and tells nothing meanwhile.
    settles_s = 7.0

    def prepare(self):
        self.program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if not self.program:
            raise LeftOut("haproxy is not installed")
        self.peers = "\n".join(f"    peer p{n} 127.0.0.{2 + n}:{FIRST_PORT}" for n in range(self.size))

    def command(self, n):
        path = f"{self.folder}/{n}.cfg"
        with open(path, "w") as out:
            out.write(f"""global
    stats socket {self.folder}/{n}.sock mode 600 level admin
    stats timeout 1h
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
peers group
{self.peers}
backend clients
    stick-table type ip size {self.room} expire 1h store server_id peers group
    stick on src
    server s1 127.0.0.1:1
""")
        return [self.program, "-f", path, "-L", f"p{n}", "-db"]

    def talk(self, n):
        talk = Talk(f"{self.folder}/{n}.sock", b"\n> ")
        talk.ask(b"prompt\n")
        return talk

    def words(self, first, count):
        words = (f"set table clients key {address(n)} data.server_id 1" for n in range(first, first + count))
        return (";".join(words) + "\n").encode(), count

    def look(self, talk, n):
        return b"key=" in talk.ask(f"show table clients key {address(n)}\n".encode())

    def count(self, talk):
        said = talk.ask(b"show table\n")
        return int(said.rsplit(b"used:", 1)[1].split()[0])


class Forebay(Group):
    """Ours, one worker each, over mutual TLS: a pool whose clients are bound by address."""

    name = "forebay"
    # The table's memory is made resident after the start.
    settles_s = 4.0

    def prepare(self):
        self.program = shutil.which(os.environ.get("PERF_BIN_FOREBAY", "forebay-se"))
        if not self.program:
            raise LeftOut("forebay (no program; PERF_BIN_FOREBAY names one)")
        self.pki("init")
        for n in range(self.size):
            self.pki("issue", "--group", "bench", "--slot", str(n))

    def pki(self, *words):
        subprocess.run([self.program, "pki", *words, "--folder", "pki"], cwd=self.folder, check=True, capture_output=True)

    # Whose clients are bound; nobody asks it.
    server = "127.0.0.1:1"

    def listens(self, n):
        return f"127.0.0.{2 + n}:{FIRST_PORT + 1}"

    def section(self, n):
        members = ", ".join(f'{{ slot = {m}, address = "127.0.0.{2 + m}" }}' for m in range(self.size))
        return f"""[objsync]
address = "127.0.0.{2 + n}"
group = "bench"
slot = {n}
members = [{members}]
ca_file = "pki/ca.pem"
certificate_file = "pki/bench-se-{n}.pem"
key_file = "pki/bench-se-{n}.key"
secret_file = "pki/bench.secret"
""" if self.size > 1 else ""

    def command(self, n):
        path = f"{self.folder}/{n}.toml"
        with open(path, "w") as out:
            out.write(f"""version = 1
[engine]
name = "se-{n}"
workers = 1
memory_gib = 1
admin_socket = "{n}.sock"
access_log = {{ path = "{n}.access.log" }}
{self.section(n)}[[virtual_service]]
name = "clients"
listen = ["{self.listens(n)}"]
pool = "clients"
[[pool]]
name = "clients"
persistence = "clients"
[[pool.server]]
address = "{self.server}"
[[persistence]]
name = "clients"
type = "client_ip"
timeout_min = 60
""")
        return [self.program, "run", "--allow-faults", "--config", path]

    def settle(self, n, wanted, wait_s=60.0):
        """One that is alone waits for the others for a while before it serves."""
        began, talk = time.monotonic(), self.talk(n)
        while b'"ready":true' not in talk.ask(b'{"command":"status"}\n') and time.monotonic() - began < wait_s:
            time.sleep(.005)
        took = super().settle(n, wanted, wait_s)
        return took and time.monotonic() - began

    def talk(self, n):
        return Talk(f"{self.folder}/{n}.sock", b"\n")

    def say(self, deed):
        return json.dumps({"command": "objsync_debug", "pool": "clients", "deed": deed}).encode() + b"\n"

    def words(self, first, count):
        return self.say({"write": [address(n) for n in range(first, first + count)]}), 1

    def look(self, talk, n):
        return b'"found":true' in self.answer(talk, self.say({"look": address(n)}))

    def count(self, talk):
        return json.loads(self.answer(talk, self.say("count")))["data"]["entries"]

    def answer(self, talk, line):
        said = talk.ask(line)
        if not said.startswith(b'{"data"') and b'"ok":true' not in said:
            raise LeftOut(f"forebay: {said[:300].decode()}")
        return said


class Legacy(Forebay):
    """Ours by way of a Redis beside each engine and a distributor, which reaches these over TCP. Its processor time counts
    for the first engine, that of each Redis for its engine."""

    name = "legacy"

    def prepare(self):
        super().prepare()
        self.redis_program = shutil.which("redis-server")
        if not self.redis_program:
            raise LeftOut("redis-server is not installed")
        self.redises, self.distributor = {}, None

    def section(self, n):
        return f"""[objsync]
use_objsync = false
group = "bench"
slot = {n}
secret_file = "pki/bench.secret"
redis_address = "./{n}.redis"
""" if self.size > 1 else ""

    def beside(self, n, words, name):
        with open(f"{self.folder}/{name}.log", "a") as log:
            return subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                    preexec_fn=self.before_exec(n))

    def start(self, *which):
        for n in which or range(self.size):
            if self.size > 1 and n not in self.redises:
                self.redises[n] = self.beside(
                    n, [self.redis_program, "--bind", f"127.0.0.{2 + n}", "--port", "6379", "--protected-mode", "no",
                     "--unixsocket", f"{n}.redis", "--save", "", "--appendonly", "no"], f"redis{n}")
        if self.size > 1 and self.distributor is None:
            engines = [word for n in range(self.size) for word in ("--engine", f"{n}=127.0.0.{2 + n}:6379")]
            self.distributor = self.beside(0, [self.program, "distribute", "--group", "bench", *engines], "distributor")
        super().start(*which)

    def pids(self, n):
        beside = [self.redises[n]] if n in self.redises else []
        if n == 0 and self.distributor:
            beside.append(self.distributor)
        return super().pids(n) + [process.pid for process in beside]

    def stop(self, *which):
        super().stop(*which)
        if not which:
            for process in [*self.redises.values(), *filter(None, [self.distributor])]:
                process.kill()
                process.wait()


SYSTEMS = {kind.name: kind for kind in (Haproxy, Forebay, Legacy)}
