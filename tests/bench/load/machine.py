"""The machine: cores, CPU clocks, memory, a network namespace of our own."""
import os
import re
import resource
import subprocess
import sys
import time

SETTINGS = (
    ("net/ipv4/ip_local_port_range", "12000 65000"),
    ("net/core/somaxconn", "8192"),
    ("net/ipv4/tcp_max_syn_backlog", "8192"),
    ("net/ipv4/tcp_congestion_control", os.environ.get("PERF_CC", "cubic")),
)


def enter_namespace(script):
    """Runs `script` anew in an own network namespace if we may, and sets that one up."""
    if os.environ.get("PERF_NS") != "1":
        if os.geteuid() == 0:
            os.environ["PERF_NS"] = "1"
            os.execvp("unshare", ["unshare", "-n", sys.executable, script, *sys.argv[1:]])
        return
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for key, value in SETTINGS:
        try:
            with open("/proc/sys/" + key, "w") as f:
                f.write(value)
        except OSError:
            pass  # not every kernel has every setting in a namespace


def raise_file_limit():
    """As many open files as we may have, up to what the scenes need."""
    for wanted in (65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            continue


def on_core(core):
    """What a child does before exec: a session of its own, on one core."""
    def setup():
        os.setsid()
        os.sched_setaffinity(0, {core})
    return setup


def family(pid):
    """A process and all that descend from it."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_ns(pids):
    """CPU time by the process clocks: all threads, also ended ones."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            pass
    return total


def cpu_ticks(pids):
    """User and system time, coarse: only for the share between them."""
    user = system = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user, system


def memory_kib(pids):
    """Memory by the kernel's proportional account, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                found = re.search(r"Pss:\s+(\d+)", f.read())
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total
