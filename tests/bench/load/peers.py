"""The proxies under measurement: found, configured, started, asked for their own counts."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import machine

BACKENDS = [5001, 5002, 5003, 5004]
SINK = 5010
ECHO = 5011
GRPC = 5012
FIRST_PORT = 6000
PORTS_EACH = 10
START_WAIT_S = 25.0
END_WAIT_S = 8.0
PORT_OF = {"h1": "h1", "tls": "tls", "h2": "tls", "l4": "l4", "udp": "udp", "grpc": "grpc"}


class LeftOut(Exception):
    """A peer that cannot be measured, and why."""


def answers(port, wait_s=START_WAIT_S, processes=()):
    """Whether something listens on a loopback port before the time is over."""
    end = time.time() + wait_s
    while time.time() < end and all(p.poll() is None for p in processes):
        try:
            socket.create_connection(("127.0.0.1", port), .5).close()
            return True
        except OSError:
            time.sleep(.05)
    return False


def echoes(port, wait_s=START_WAIT_S):
    """Whether a datagram to a loopback port is answered before the time is over."""
    end = time.time() + wait_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(.2)
        while time.time() < end:
            try:
                client.sendto(b"alive?", ("127.0.0.1", port))
                client.recv(100)
                return True
            except OSError:
                time.sleep(.05)
    return False


def end_all(processes):
    """First politely: a program that counts its own branches writes them down when it ends."""
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            try:
                os.killpg(process.pid, signal_)
            except OSError:
                pass
        end = time.time() + END_WAIT_S
        while time.time() < end and any(p.poll() is None for p in processes):
            time.sleep(.02)


class Starter:
    """Starts processes on a core, and ends all of them."""

    def __init__(self):
        self.processes = []

    def start(self, command, core, log):
        shell = isinstance(command, str)
        with open(log, "w") as out:
            process = subprocess.Popen(
                command, shell=shell, executable="/bin/bash" if shell else None, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, preexec_fn=machine.on_core(core))
        self.processes.append(process)
        return process

    def end(self):
        end_all(self.processes)


class Peer:
    """One running proxy; `name` and `program` where they are not the folder's."""

    def __init__(self, folder, number, work, files, core, starter, name=None, program=None):
        self.folder = folder
        self.name = name or os.path.basename(folder)
        with open(f"{folder}/peer.json") as f:
            self.form = json.load(f)
        self.has = self.form["has"]
        program = self._program(program)
        own = f"{work}/{self.name}"
        os.mkdir(own)
        os.chmod(own, 0o777)  # some proxies give up root
        base = FIRST_PORT + PORTS_EACH * number
        self.values = dict(
            files, bin=program, here=folder, dir=own, conf=f"{own}/{self.form.get('conf', 'conf')}", sink=SINK,
            h1=base, tls=base + 1, l4=base + 2, l4bulk=base + 3, admin=base + 4, udp=base + 5, grpc=base + 6, echo=ECHO, begrpc=GRPC,
            **{f"be{i + 1}": port for i, port in enumerate(BACKENDS)})
        if "conf" in self.form:
            with open(f"{folder}/{self.form['conf']}") as template, open(self.values["conf"], "w") as out:
                out.write(template.read().format(**self.values))
        self.processes = [
            starter.start("exec " + command.format(**self.values), core, f"{own}/log{i}")
            for i, command in enumerate(self.form["cmds"])]
        for ability in self.has:
            port = self.values[PORT_OF[ability]]
            if not (echoes(port) if ability == "udp" else answers(port, processes=self.processes)):
                with open(f"{own}/log0") as log:
                    raise LeftOut(f"{self.name} (no answer on {ability}: {log.read()[-300:].strip()})")
        self.pids = []
        self.results = {}
        self.memory = {}  # by how the idle client speaks
        self.version = self._version()

    def _program(self, wanted=None):
        wanted = wanted or self.form.get("bin")
        if not wanted:
            return ""
        named = os.environ.get("PERF_BIN_" + self.name.upper().replace("-", "_"), wanted)
        beside = os.path.normpath(os.path.join(self.folder, named))  # a path relative to the peer's folder
        found = shutil.which(named) or next((os.path.abspath(p) for p in (named, beside) if os.path.isfile(p)), None)
        if not found:
            raise LeftOut(f"{self.name} (no program {wanted}; PERF_BIN_ and its name may tell another)")
        return found

    def _version(self):
        if "version" not in self.form:
            return ""
        done = subprocess.run(self.form["version"].format(**self.values), shell=True, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else ""

    def port(self, what):
        return self.values[what]

    def settle(self):
        """Looks up which processes the proxy consists of, once it runs."""
        self.pids = [pid for process in self.processes for pid in machine.family(process.pid)]

    def stop(self):
        end_all(self.processes)

    def records(self):
        """What became of its log records: lines in its log, and the counts that it keeps itself."""
        counts = {}
        if "log" in self.form:
            try:
                with open(self.form["log"].format(**self.values), "rb") as log:
                    counts["lines"] = sum(1 for line in log if line.strip())
            except OSError:
                counts["lines"] = 0
        if "metrics" in self.form:
            counts.update(self._metrics())
        return counts

    def _metrics(self):
        url = self.form["metrics"]["url"].format(**self.values)
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError as error:
            return {"metrics": f"not read: {error}"}
        counts = {}
        for label, name in self.form["metrics"]["sum"].items():
            # A name may be followed by one label: name{result="dropped"}.
            bare, _, only = name.partition("{")
            rows = [l for l in lines if l.split("{")[0].split(" ")[0] == bare and only.rstrip("}") in l]
            counts[label] = int(sum(float(row.rsplit(" ", 1)[1]) for row in rows))
        return counts


def abilities(folder):
    with open(f"{folder}/peer.json") as f:
        return set(json.load(f)["has"])


def find(folders, wanted, base, needed):
    """Folders of peers that can do something of what is needed: the base first, then in the order wanted, else by name."""
    found = [(name, f"{folder}/{name}") for folder in folders for name in os.listdir(folder)
             if os.path.exists(f"{folder}/{name}/peer.json") and abilities(f"{folder}/{name}") & needed]
    if wanted:
        found = [f for f in found if f[0] in wanted]
    found.sort(key=lambda f: (f[0] != base, wanted.index(f[0]) if wanted else 0, f[0]))
    return [path for _, path in found]
