"""The scenes: what is asked of a proxy, and how its generator's output is read."""
import json
import re
from collections import namedtuple

# needs: ability of the peer; port: which of its ports; unit: what one measured thing is;
# command: of the generator, given port and seconds.
# ready: the generator says "ready" when what came before is not to be measured.
Scene = namedtuple("Scene", "needs port unit command ready", defaults=[False])

FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: sid=0123456789abcdef0123456789abcdef; theme=dark",
    "Cache-Control: max-age=0",
)
AS_ARGUMENTS = [word for field in FIELDS for word in ("-H", field)]


def generate(conns, path, mode, *rate):
    return lambda port, secs: ["{lg}", "gen", str(port), conns, str(secs), path, mode, *rate]


def datagrams(flows):
    return lambda port, secs: ["{lg}", "udp", str(port), flows, str(secs)]


def whole(secs):
    return str(max(1, int(secs)))


def http2(path, conns, streams, *more):
    return lambda port, secs: ["h2load", "-t1", "-c" + conns, "-m" + streams, "-D" + whole(secs), *more, *AS_ARGUMENTS,
                               f"https://127.0.0.1:{port}{path}"]


def grpc(kind, size):
    """Calls, or messages on streams, by grpc-go's own benchmark: each is asked and answered with as many bytes."""
    return lambda port, secs: ["{grpc_client}", "-test_name", "{grpc_profile}", "-port", str(port), "-c", "4", "-r", "16",
                               "-rpc_type", kind, "-req", str(size), "-resp", str(size), "-w", "0", "-d", whole(secs)]


# A file of 64 KiB that the run makes.
UPLOAD = "{upload}"

SCENES = {
    "h1_keep": Scene("h1", "h1", "request", generate("128", "/1k", "keep")),
    "h1_close": Scene("h1", "h1", "request", generate("64", "/1k", "close")),
    "h1_64k": Scene("h1", "h1", "request", generate("16", "/64k", "keep")),
    "h1_rate": Scene("h1", "h1", "request", generate("32", "/1k", "keep", "2000")),
    "https_keep": Scene("tls", "tls", "request", lambda port, secs: [
        "wrk", "-t1", "-c128", "-d" + whole(secs), "--latency", *AS_ARGUMENTS, f"https://127.0.0.1:{port}/1k"]),
    "https_64k": Scene("tls", "tls", "request", lambda port, secs: [
        "wrk", "-t1", "-c16", "-d" + whole(secs), "--latency", *AS_ARGUMENTS, f"https://127.0.0.1:{port}/64k"]),
    "h2_tls": Scene("h2", "tls", "request", http2("/1k", "8", "16")),
    "h2_64k": Scene("h2", "tls", "request", http2("/64k", "4", "4")),
    "h2_upload": Scene("h2", "tls", "request", http2("/1k", "4", "4", "-d", UPLOAD)),
    "grpc_unary": Scene("grpc", "grpc", "call", grpc("unary", 100)),
    "grpc_stream": Scene("grpc", "grpc", "message and answer", grpc("streaming", 100)),
    "grpc_16k": Scene("grpc", "grpc", "message and answer", grpc("streaming", 16000)),
    "tls_full": Scene("tls", "tls", "handshake", lambda port, secs: ["{lg}", "tls", str(port), str(secs), "full"]),
    "tls_resume": Scene("tls", "tls", "handshake", lambda port, secs: ["{lg}", "tls", str(port), str(secs), "resume"]),
    "l4_small": Scene("l4", "l4", "request", generate("128", "/1k", "keep")),
    "udp_100": Scene("udp", "udp", "datagram and answer", datagrams("100"), True),
    "udp_10k": Scene("udp", "udp", "datagram and answer", datagrams("9900"), True),
    "l4_bulk": Scene("l4", "l4bulk", "MiB", lambda port, secs: ["{lg}", "bulk", str(port), "4", str(secs)]),
}
# What a peer's cost must be of the base's in the same run, and what is aimed at: medians of the paired ratios. A scene that
# has none is measured only if it is asked for.
Bar = namedtuple("Bar", "most aim")
BARS = {
    "h1_keep": Bar(.95, .85),
    "h1_close": Bar(.95, .85),
    "h1_64k": Bar(.70, .60),
    "https_keep": Bar(.75, .60),
    "h2_tls": Bar(.75, .55),
    "tls_full": Bar(.60, .45),
    "tls_resume": Bar(.70, .55),
    "l4_small": Bar(1.05, .90),
    "l4_bulk": Bar(.95, .75),
}
# The 99th percentile of latencies at a fixed rate, in the same way.
P99_SCENE, P99_BAR = "h1_rate", Bar(1.05, 1.05)
# Bytes of an idle client connection, by how it speaks. Each kind is measured on a process of its own.
IDLE_BARS = {"h1": Bar(1361, 520), "tls": Bar(10_000, 7_500), "h2": Bar(16_000, 10_000)}
# The client of TLS holds thirty times as much for each as the proxy is to: there are fewer of them.
IDLE_TLS_SHARE = 4
# One run of one second is no figure.
ROUNDS_MIN = 5
USUAL = (*BARS, P99_SCENE)
QUICK = ("h1_keep", "h1_close", "https_keep", "h2_tls", "l4_small")
# Seconds of warm-up: pools of connections, tickets, lazy binding.
WARM_UP = {"h1_keep": .3, "l4_small": .3, "https_keep": 1.0, "h2_tls": 1.0}


def read_output(text, command):
    """The figures in the output of a generator that was started by `command`."""
    program = command[0]
    if program == "wrk":
        figures = {"done": int(re.search(r"(\d+) requests in", text).group(1)), "err": 0}
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        figures["err"] += int(refused.group(1)) if refused else 0
        figures["err"] += sum(map(int, broken.groups())) if broken else 0
        figures["rps"] = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        return figures
    if program == "h2load":
        counts = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text)
        rate = float(re.search(r"([\d.]+) req/s", text).group(1))
        return {"done": int(counts.group(1)), "err": int(counts.group(2)), "rps": rate}
    if program.endswith("grpc-client"):
        rate = float(re.search(r"qps: ([\d.]+)", text).group(1))
        # The program tells a rate of whole seconds, and ends with its last calls.
        seconds = int(command[command.index("-d") + 1])
        return {"done": round(rate * seconds), "err": 0, "rps": rate}
    return json.loads(text.strip().splitlines()[-1])
