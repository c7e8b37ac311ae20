#!/usr/bin/env python3
"""CPU cost of HTTP and TCP proxies on one core, side by side, as ratios in one run.

One core for the proxy (default 1), one for load generator and backends (default 0), an own network
namespace, rounds interleaved over the peers (A, B, C, C, B, A ...). The figure is CPU microseconds
of the proxy (all threads and children) per request, handshake or MiB: it holds on a shared machine
where requests per second do not. Look at the share of the proxy core used: below about 90 % the
generator or the machine was the limit.

  run.py                      every bar (below 10 min)   run.py --quick   (below 60 s)
  run.py --peers haproxy,forebay   only these rows       run.py --base haproxy
  run.py --also forebay-old=/path/forebay-se             one more row: the peer's name begins it, its program is another
The full run ends with the median of the paired ratios beside each bar; so does --json.

A peer is a folder NAME with peer.json:
  {"bin": "haproxy",              program; PERF_BIN_<NAME> in the environment names another
   "cmds": ["{bin} -f {conf}"],   one or more commands that together are the proxy
   "conf": "haproxy.cfg",         optional template in the folder, {placeholders} filled in
   "has": ["h1","tls","h2","l4","udp","grpc"],
   "version": "{bin} -v",         optional
   "log": "{dir}/access.log",     optional: its lines are counted at the end
   "metrics": {"url": "http://127.0.0.1:{admin}/metrics", "sum": {"dropped": "name_total"}}}
Placeholders: {bin} {conf} {dir} {here} {h1} {tls} {l4} {l4bulk} {udp} {grpc} {admin} {be1}..{be4} {sink} {echo}
{begrpc} {cert} {key} {pem}. Ports are numbers; everything listens on 127.0.0.1. Templates write braces as {{ }}.
A peer whose program is missing is left out and named.
Needs gcc, libssl-dev, openssl; wrk and h2load for the TLS scenes, go for those of gRPC; root for the namespace.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine
import peers as peer_list
import report
from scenes import IDLE_TLS_SHARE, QUICK, ROUNDS_MIN, SCENES, USUAL, WARM_UP, read_output

# Longer than asked for, a generator waits for an answer that does not come.
GENERATOR_MAX_S = 20
HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--peers", help="only these, comma-separated")
    p.add_argument("--base", default="haproxy", help="the peer that ratios are to")
    p.add_argument("--scenes", help="only these, comma-separated: " + ", ".join(SCENES))
    p.add_argument("--rounds", type=int)
    p.add_argument("--secs", type=float, help="of one measurement")
    p.add_argument("--idle", type=int, help="idle connections held open to measure memory; 0: none")
    p.add_argument("--proxy-core", type=int, default=1)
    p.add_argument("--gen-core", type=int, default=0)
    p.add_argument("--judge", default="forebay", help="peers that are held to the bars, comma-separated")
    p.add_argument("--json", help="file for all figures")
    p.add_argument("--budget", type=float, help="seconds after which no further round starts")
    p.add_argument("--more", action="append", default=[], help="a further folder that holds peer folders")
    p.add_argument("--also", action="append", default=[], metavar="NAME-WORD=PROGRAM",
                   help="one more row: the peer NAME with another program, to compare two builds in the same rounds")
    a = p.parse_args()
    a.rounds = a.rounds or (1 if a.quick else ROUNDS_MIN)
    a.secs = a.secs or 1.0
    a.idle = a.idle if a.idle is not None else (1000 if a.quick else 8000)
    a.budget = a.budget or (55 if a.quick else 570)
    names = a.scenes.split(",") if a.scenes else QUICK if a.quick else USUAL
    a.scenes = {n: SCENES[n] for n in names if n in SCENES}
    a.peers = a.peers.split(",") if a.peers else None
    return a


def prepare(work):
    """Builds the generator, makes a certificate. Returns the generator and the files by name."""
    lg = work + "/lg"
    sources = sorted(f"{HERE}/{f}" for f in os.listdir(HERE) if f.endswith(".c"))
    subprocess.run(["gcc", "-O2", "-o", lg, *sources, "-lssl", "-lcrypto"], check=True)
    files = {"cert": work + "/cert.pem", "key": work + "/key.pem", "pem": work + "/both.pem"}
    subprocess.run([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", files["key"], "-out", files["cert"], "-days", "30", "-subj", "/CN=www.example.test",
        "-addext", "subjectAltName=DNS:www.example.test,IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    with open(files["pem"], "w") as both:
        for part in ("cert", "key"):
            with open(files[part]) as f:
                both.write(f.read())
    files["upload"] = work + "/upload"
    with open(files["upload"], "wb") as upload:
        upload.write(b"u" * 65536)
    files["grpc_profile"] = os.path.relpath(work, "/tmp") + "/grpc"  # the program puts it there
    return lg, files


def prepare_grpc(work, files):
    """Builds grpc-go's own benchmark, as it is pinned beside this file. Returns the server."""
    for name in ("client", "server"):
        files["grpc_" + name] = f"{work}/grpc-{name}"
        subprocess.run(["go", "build", "-mod=readonly", "-buildvcs=false", "-o", files["grpc_" + name],
                        "google.golang.org/grpc/benchmark/" + name], cwd=HERE + "/grpc", check=True)
    return files["grpc_server"]


class Run:
    """One run over all peers and scenes."""

    def __init__(self, options, lg, files, peers, again):
        """`again` starts a peer once more, beside the first."""
        self.o, self.lg, self.files, self.peers, self.again = options, lg, files, peers, again

    def measure(self, peer, name, secs):
        scene = SCENES[name]
        command = scene.command(peer.port(scene.port), secs)
        for word, value in (("lg", self.lg), *self.files.items()):
            command = [w.replace("{" + word + "}", value) for w in command]
        clocks = lambda: (machine.cpu_ticks(peer.pids), machine.cpu_ns(peer.pids), time.monotonic_ns())
        ticks, cpu, wall = clocks()
        generator = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.o.gen_core}))
        if scene.ready:
            generator.stdout.readline()
            ticks, cpu, wall = clocks()
        try:
            out, err = generator.communicate(timeout=GENERATOR_MAX_S + secs)
        except subprocess.TimeoutExpired:
            generator.kill()
            generator.communicate()
            return {"fail": "the generator did not end"}
        wall, cpu = time.monotonic_ns() - wall, machine.cpu_ns(peer.pids) - cpu
        user, system = (b - a for a, b in zip(ticks, machine.cpu_ticks(peer.pids)))
        try:
            figures = read_output(out, command)
        except (ValueError, AttributeError, IndexError) as error:
            return {"fail": (out + err)[-200:] + repr(error)}
        if not figures.get("done"):
            return {"fail": out[-200:] + err[-200:]}
        figures.update(cpu_us=cpu / 1e3 / figures["done"], busy=cpu / wall, user=user / max(1, user + system))
        return figures

    def idle_memory(self, peer, kind):
        """Bytes of an idle client connection that speaks `kind`, after one request; the peer is fresh but for a few."""
        port = peer.port("h1" if kind == "h1" else "tls")
        count = self.o.idle if kind == "h1" else max(1, self.o.idle // IDLE_TLS_SHARE)

        def holder(count, secs):
            command = [self.lg, "idle", str(port), str(count), secs]
            if kind != "h1":
                command[1:] = ["idle-tls", *command[2:], "h2" if kind == "h2" else "h1"]
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, preexec_fn=machine.on_core(self.o.gen_core))

        holder(8, "0").wait(20)
        time.sleep(.2)
        before = machine.memory_kib(peer.pids)
        held = holder(count, "2")
        line = held.stdout.readline()
        time.sleep(1)
        count, after = (json.loads(line)["open"] if line else 0), machine.memory_kib(peer.pids)
        figures = {"bytes": (after - before) * 1024 / count if count else None, "open": count,
                   "rss_kb": before, "rss_idle_kb": after}
        try:
            held.wait(20)
        except subprocess.TimeoutExpired:
            held.kill()
        time.sleep(.2)
        return figures

    def all_idle(self):
        for peer in self.peers:
            for kind, scene in (("h1", "h1_keep"), ("tls", "https_keep"), ("h2", "h2_tls")):
                if kind not in peer.has or scene not in self.o.scenes:
                    continue
                if kind == "h1":
                    peer.memory[kind] = self.idle_memory(peer, kind)
                    continue
                # What an earlier kind held may be used anew: a process of its own.
                fresh = self.again(peer)
                peer.memory[kind] = self.idle_memory(fresh, kind)
                fresh.stop()

    def rounds(self, began):
        """All rounds that the time allows; returns how many."""
        if self.o.idle:
            self.all_idle()
        for peer in self.peers:
            for name in self.o.scenes:
                slow = name in ("https_keep", "h2_tls") and self.o.quick
                if name in WARM_UP and SCENES[name].needs in peer.has and not slow:
                    self.measure(peer, name, WARM_UP[name])
        for n in range(self.o.rounds):
            if n and (time.time() - began) * (n + 1) / n > self.o.budget:
                print(f"# stopped after {n} rounds: time budget {self.o.budget:.0f} s", file=sys.stderr)
                return n
            for name in self.o.scenes:
                for peer in self.peers if n % 2 == 0 else self.peers[::-1]:
                    if SCENES[name].needs in peer.has:
                        peer.results.setdefault(name, []).append(self.measure(peer, name, self.o.secs))
        return self.o.rounds


def main():
    options = arguments()
    machine.enter_namespace(os.path.abspath(__file__))
    machine.raise_file_limit()
    work = tempfile.mkdtemp(prefix="forebay-bench-")
    os.chmod(work, 0o755)
    starter = peer_list.Starter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.time()
    try:
        lg, files = prepare(work)
        starter.start([lg, "backend", *map(str, peer_list.BACKENDS)], options.gen_core, work + "/backend.log")
        starter.start([lg, "sink", str(peer_list.SINK)], options.gen_core, work + "/sink.log")
        starter.start([lg, "echo", str(peer_list.ECHO)], options.gen_core, work + "/echo.log")
        ports = peer_list.BACKENDS + [peer_list.SINK]
        if any(scene.needs == "grpc" for scene in options.scenes.values()):
            server = [prepare_grpc(work, files), "-test_name", files["grpc_profile"] + "-server", "-port", str(peer_list.GRPC)]
            starter.start(server, options.gen_core, work + "/grpc.log")
            ports.append(peer_list.GRPC)
        for port in ports:
            if not peer_list.answers(port):
                sys.exit(f"the backend does not listen on {port}")
        running, left_out = [], []
        folders = [os.path.join(HERE, os.pardir, "peers"), *options.more]
        needed = {scene.needs for scene in options.scenes.values()}
        found = peer_list.find(folders, options.peers, options.base, needed)
        rows = [(folder, None, None) for folder in found]
        for name, _, program in (also.partition("=") for also in options.also):
            same = [f for f in found if name.startswith(os.path.basename(f) + "-")]
            if not same:
                sys.exit(f"--also {name}: no peer that is measured has a name that begins it")
            rows.append((max(same, key=len), name, program))
        for number, (folder, name, program) in enumerate(rows):
            try:
                running.append(peer_list.Peer(folder, number, work, files, options.proxy_core, starter, name, program))
            except peer_list.LeftOut as why:
                left_out.append(str(why))
        if not running:
            sys.exit("no peer could be measured: " + "; ".join(left_out))
        time.sleep(.5)
        for peer in running:
            peer.settle()

        def again(peer):
            number[0] += 1
            twin = peer_list.Peer(peer.folder, number[0], work, files, options.proxy_core, starter,
                                  f"{peer.name}-again-{number[0]}", peer.values["bin"] or None)
            twin.settle()
            return twin

        number = [len(rows)]
        done = Run(options, lg, files, running, again).rounds(began)
        time.sleep(.5)  # logs that are written in batches
        base = next((p for p in running if p.name == options.base), running[0])
        document = report.collect(running, base, options.scenes)
        line = f"rounds {done}, {options.secs} s each, {time.time() - began:.0f} s"
        report.show(running, base, options.scenes, document, left_out, line, options.judge.split(","))
        if options.json:
            with open(options.json, "w") as out:
                json.dump(document, out, indent=1)
    finally:
        starter.end()
        shutil.rmtree(work, ignore_errors=True)


main()
