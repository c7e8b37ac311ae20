"""The report: medians over rounds, ratios paired by round."""
import statistics

LIVE = ("reached", "p50_ms", "p99_ms", "origin_us", "receiver_us", "alone_us", "wire_bytes", "memory_bytes", "missing")


def median(values):
    values = [v for v in values if v is not None]
    return round(statistics.median(values), 3) if values else None


def show(figures, left_out, line):
    print(f"# {line}")
    for why in left_out:
        print("# left out:", why)
    live = [f for f in figures if f["scene"] == "live"]
    alone = {}
    for f in live:
        if f["size"] == 1:
            alone.setdefault((f["system"], f["rate"]), []).append(f["origin_us"])
    rows = {}
    for f in live:
        if f["size"] > 1:
            rows.setdefault((f["size"], f["rate"], f["system"]), []).append(f)
    if rows:
        print("\nsize   rate system      " + "".join(f"{name:>13}" for name in LIVE) + "   p50 and p99 of haproxy's")
    for (size, rate, system), found in sorted(rows.items()):
        cells = {name: median([f.get(name) for f in found]) for name in LIVE}
        cells["alone_us"] = median(alone.get((system, rate), []))
        ratios = paired(found, rows.get((size, rate, "haproxy"), []))
        print(f"{size:>4} {rate:>6} {system:<12}" + "".join(f"{cell(cells[name]):>13}" for name in LIVE) + "   " + ratios)
    for scene in ("join", "heal"):
        rows = {}
        for f in figures:
            if f["scene"] == scene:
                rows.setdefault(f["system"], []).append(f)
        for system, found in sorted(rows.items()):
            names = [name for name in found[0] if name not in ("scene", "system", "round")]
            print(f"\n{scene} {system}: " + ", ".join(f"{name} {cell(median([f[name] for f in found]))}" for name in names))


def cell(value):
    return "-" if value is None else str(value)


def paired(ours, theirs):
    by_round = {f["round"]: f for f in theirs}
    words = []
    for name in ("p50_ms", "p99_ms"):
        ratios = [f[name] / by_round[f["round"]][name] for f in ours if f["round"] in by_round]
        words.append(cell(median(ratios)))
    return " ".join(words) if ours is not theirs else ""
