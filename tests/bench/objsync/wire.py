"""The only wire: loopback of this namespace. What else speaks here uses unix sockets."""
import subprocess


def bytes_sent():
    with open("/proc/self/net/dev") as f:
        line = next(line for line in f if line.strip().startswith("lo:"))
    return int(line.split(":", 1)[1].split()[8])


def cut():
    """Nothing passes any more, and nobody is told."""
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)


def heal():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
