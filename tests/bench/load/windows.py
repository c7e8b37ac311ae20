#!/usr/bin/env python3
"""What windows of HTTP/2 are worth: uploads through the engine by their size, a client's distance and the window.

A relay between client and engine keeps every byte for half of the round trip, both ways; it takes whatever comes, so that only
windows of HTTP/2 stop a client. h2load uploads over one connection, one stream or four at once; the figure is MB of content a
second, and the most memory that the engine had. No ratios and no cores of their own: the distance decides, not the processor.

  PERF_BIN_FOREBAY=/path/forebay-se windows.py [--kib 64,256,1024] [--ms 0,10,50] [--secs 4]
"""
import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from queue import SimpleQueue

import machine
import peers

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINE, RELAY = 6001, 6101
SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20}
STREAMS = (1, 4)
CONF = """version = 1
[engine]
workers = 1
memory_gib = 2
admin_socket = "{dir}/se.sock"
access_log = {{ path = "{dir}/access.log" }}
[[virtual_service]]
name = "web"
listen = ["127.0.0.1:{port}"]
pool = "servers"
http_profile = "two"
[[http_profile]]
name = "two"
http2 = true
http2_initial_window_kib = {kib}
[[pool]]
name = "servers"
server = [{{ address = "127.0.0.1:{backend}" }}]
"""


def relay(delay_s):
    """Hands every byte on after `delay_s`; ends with the process."""
    listener = socket.create_server(("127.0.0.1", RELAY))

    def carry(source, sink):
        waiting = SimpleQueue()

        def send():
            while True:
                due, data = waiting.get()
                time.sleep(max(0, due - time.monotonic()))
                try:
                    if not data:
                        return sink.shutdown(socket.SHUT_WR)
                    sink.sendall(data)
                except OSError:
                    return

        threading.Thread(target=send, daemon=True).start()
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 18)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + delay_s, data))

    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", ENGINE))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=carry, args=pair, daemon=True).start()


def high_water_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1))


def upload(path, streams, secs):
    """MB of content a second."""
    out = subprocess.run(
        ["h2load", "-t1", "-c1", f"-m{streams}", f"-D{secs}", "-d", path, f"http://127.0.0.1:{RELAY}/1k"],
        capture_output=True, text=True, timeout=secs + 30).stdout
    rate = float(re.search(r"([\d.]+) req/s", out).group(1))
    return rate * os.path.getsize(path) / 1e6


def main():
    if sys.argv[1:2] == ["--relay"]:
        return relay(float(sys.argv[2]))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kib", default="64,256,1024,4096")
    p.add_argument("--ms", default="0,10,50")
    p.add_argument("--secs", type=int, default=4)
    o = p.parse_args()
    machine.enter_namespace(os.path.abspath(__file__))
    program = os.environ.get("PERF_BIN_FOREBAY") or os.path.join(HERE, "../../../target/dist/forebay-se")
    work = tempfile.mkdtemp(prefix="forebay-windows-")
    starter = peers.Starter()
    cores = range(os.cpu_count())
    try:
        subprocess.run(["gcc", "-O2", "-o", work + "/lg", *(f"{HERE}/{f}" for f in sorted(os.listdir(HERE)) if f.endswith(".c")),
                        "-lssl", "-lcrypto"], check=True)
        starter.start([work + "/lg", "backend", str(peers.BACKENDS[0])], cores[0], work + "/backend.log")
        for name, size in SIZES.items():
            with open(f"{work}/{size}", "wb") as file:
                file.write(b"u" * size)
        print(f"{'window':>9}{'round trip':>12}" + "".join(f"{name + ' x' + str(n):>14}" for name in SIZES for n in STREAMS)
              + f"{'memory, KiB':>14}")
        for kib in map(int, o.kib.split(",")):
            for ms in map(float, o.ms.split(",")):
                with open(work + "/se.toml", "w") as out:
                    out.write(CONF.format(dir=work, port=ENGINE, kib=kib, backend=peers.BACKENDS[0]))
                engine = starter.start([program, "run", "--config", work + "/se.toml"], cores[-1], work + "/log")
                between = starter.start([sys.executable, __file__, "--relay", str(ms / 2000)], cores[0], work + "/relay.log")
                if not peers.answers(ENGINE, processes=[engine]) or not peers.answers(RELAY, processes=[between]):
                    sys.exit("no answer: " + open(work + "/log").read()[-500:])
                upload(f"{work}/{SIZES['64 KiB']}", 1, 1)
                before = high_water_kib(engine.pid)
                figures = [upload(f"{work}/{size}", n, o.secs) for size in SIZES.values() for n in STREAMS]
                grown = high_water_kib(engine.pid) - before
                print(f"{kib:>5} KiB{ms:>9.1f} ms" + "".join(f"{figure:>14.1f}" for figure in figures) + f"{grown:>14}", flush=True)
                peers.end_all([between, engine])
    finally:
        starter.end()
        shutil.rmtree(work, ignore_errors=True)


main()
