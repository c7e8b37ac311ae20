"""Whole tables: a process that starts anew among others that have them, and two that grew apart."""
import time

import machine
import wire

FILL_BATCH = 200
GONE_MS = 12_000


def fill(group, first, count):
    talk = group.talk(0)
    for at in range(first, first + count, FILL_BATCH):
        talk.ask(*group.words(at, min(FILL_BATCH, first + count - at)))


def costs(group, began, before, entries):
    return {f"cpu{n}_us": round((machine.cpu_ns(group.pids(n)) - before.get(n, 0)) / 1e3 / entries, 2) for n in group.running}


def join(start, name, entries, round_number):
    """The second process is killed and started again: until it has all entries."""
    group = start(name, 2)
    try:
        group.start(0)
        group.settle(0, 0)
        group.ready(0)
        memory = machine.memory_kib(group.pids(0))
        fill(group, 0, entries)
        memory = machine.memory_kib(group.pids(0)) - memory
        has = group.count(group.talk(0))
        before = {0: machine.cpu_ns(group.pids(0))}
        bytes_before, began = wire.bytes_sent(), time.monotonic()
        group.start(1)
        answers = group.settle(1, 0)
        took = group.settle(1, has)
        took = took and time.monotonic() - began
        return {"scene": "join", "system": name, "round": round_number, "entries": has, "answers_s": round(answers, 3),
                "seconds": took and round(took, 3), "wire_bytes": round((wire.bytes_sent() - bytes_before) / has, 1),
                "memory_bytes": round(memory * 1024 / has, 1), **costs(group, began, before, has)}
    finally:
        group.stop()


def heal(start, name, entries, round_number):
    """The link is cut, a tenth is written on one side, the link is whole again: until the other side has it."""
    group = start(name, 2)
    try:
        group.start()
        for n in (0, 1):
            group.settle(n, 0)
        group.ready()
        fill(group, 0, entries)
        has = group.count(group.talk(0))
        group.settle(1, has)
        wire.cut()
        time.sleep(GONE_MS / 1e3)
        fill(group, entries, entries // 10)
        differ = group.count(group.talk(0)) - has
        before = {n: machine.cpu_ns(group.pids(n)) for n in (0, 1)}
        bytes_before = wire.bytes_sent()
        talk, began, first = group.talk(1), time.monotonic(), None
        wire.heal()
        while True:
            there = group.count(talk)
            if first is None and there > has:
                first = time.monotonic() - began
            if there >= has + differ or time.monotonic() - began > 60:
                break
            time.sleep(.002)
        took = time.monotonic() - began
        return {"scene": "heal", "system": name, "round": round_number, "entries": has, "differ": differ,
                "begins_s": first and round(first, 3), "seconds": round(took, 3), "missing": has + differ - there,
                "mending_s": first and round(took - first, 3),
                "wire_bytes": round((wire.bytes_sent() - bytes_before) / differ, 1), **costs(group, began, before, differ)}
    finally:
        wire.heal()
        group.stop()
