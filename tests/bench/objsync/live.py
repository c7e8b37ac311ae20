"""Entries that are written at a steady rate: when do the others have them, and what does it cost?"""
import multiprocessing
import time

import machine
import wire

LOOK_EVERY_S = .000_3
TICK_S = .001
SAMPLES_A_SECOND = 100
LOST_AFTER_S = 30.0


def watch(group, n, samples, found):
    """A process of its own: asks process `n` for each sample until it is there."""
    talk = group.talk(n)
    found.send(None)
    latencies = []
    while (sample := samples.recv()) is not None:
        entry, written = sample
        while not (there := group.look(talk, entry)) and time.monotonic() - written < LOST_AFTER_S:
            time.sleep(LOOK_EVERY_S)
        latencies.append(time.monotonic() - written if there else LOST_AFTER_S)
    found.send(latencies)


def write(group, rate, secs, tell):
    """Writes for so long; gives how many entries and how long it took."""
    talk = group.talk(0)
    total, wanted = 0, int(rate * secs)
    # What is said is put into words before the clock runs.
    each = max(1, min(group.batch, int(rate * TICK_S)))
    batches = [(first, min(each, wanted - first)) for first in range(0, wanted, each)]
    words = [group.words(*batch) for batch in batches]
    every = max(1, rate // each // SAMPLES_A_SECOND)
    began = time.monotonic()
    for number, ((first, count), said) in enumerate(zip(batches, words)):
        early = began + first / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        at = time.monotonic()
        talk.ask(*said)
        total += count
        if number % every == 0:
            tell((first + count - 1, at))
        if time.monotonic() - began > 2 * secs:
            break
    return total, time.monotonic() - began


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(start, name, size, rate, secs, round_number):
    group = start(name, size)
    try:
        group.start()
        for n in range(size):
            group.settle(n, 0)
        group.ready()
        watchers = []
        for n in range(1, size):
            samples, ours = multiprocessing.Pipe(False)
            found, theirs = multiprocessing.Pipe(False)
            process = multiprocessing.Process(target=watch, args=(group, n, samples, theirs), daemon=True)
            process.start()
            found.recv()
            watchers.append((ours, found, process))

        def tell(sample):
            for ours, _, _ in watchers:
                ours.send(sample)

        # The first entries warm up what starts cold; they are counted nowhere.
        warm = group.talk(0)
        warm.ask(*group.words(9_000_000, 10))
        time.sleep(group.settles_s)
        pids = {n: group.pids(n) for n in range(size)}
        memory = {n: machine.memory_kib(pids[n]) for n in pids}
        cpu = {n: machine.cpu_ns(pids[n]) for n in pids}
        bytes_before = wire.bytes_sent()
        total, took = write(group, rate, secs, tell)
        latencies = []
        for ours, found, _ in watchers:
            ours.send(None)
            latencies += found.recv()
        drained = [group.settle(n, total) for n in range(size)]
        bytes_sent = wire.bytes_sent() - bytes_before
        cpu = {n: (machine.cpu_ns(pids[n]) - cpu[n]) / 1e3 / total for n in pids}
        memory = {n: (machine.memory_kib(pids[n]) - memory[n]) * 1024 / total for n in pids}
        for _, _, process in watchers:
            process.join()
        row = {"scene": "live", "system": name, "size": size, "rate": rate, "round": round_number,
               "reached": round(total / took), "entries": total, "origin_us": round(cpu[0], 2),
               "memory_bytes": round(sum(memory.values()) / size, 1), "missing": drained.count(None)}
        if latencies:
            row.update(
                p50_ms=round(percentile(latencies, .5) * 1e3, 2), p99_ms=round(percentile(latencies, .99) * 1e3, 2),
                samples=len(latencies), receiver_us=round(sum(cpu[n] for n in range(1, size)) / (size - 1), 2),
                wire_bytes=round(bytes_sent / total / (size - 1), 1))
        return row
    finally:
        group.stop()
