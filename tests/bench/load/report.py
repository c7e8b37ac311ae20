"""The report: medians, ratios paired per round, and what became of the logs."""
import os
import statistics

from scenes import BARS, IDLE_BARS, P99_BAR, P99_SCENE, ROUNDS_MIN


def median(values):
    return statistics.median(values) if values else None


def good(results):
    return [r for r in results if "fail" not in r]


def figures(peer, base, scene, unit):
    """All figures of one peer in one scene; `None` if none of its runs worked."""
    results, of_base = peer.results.get(scene, []), base.results.get(scene, [])
    runs = good(results)
    if not runs:
        return None
    pairs = [(r, b) for r, b in zip(results, of_base) if "fail" not in r and "fail" not in b]
    ratios = [r["cpu_us"] / b["cpu_us"] for r, b in pairs]
    slow = [r["p99_us"] / b["p99_us"] for r, b in pairs if r.get("p99_us") and b.get("p99_us")]
    return {
        "unit": unit,
        "cpu_us": round(median([r["cpu_us"] for r in runs]), 2),
        "ratio": round(median(ratios), 3) if ratios else None,
        "ratios": [round(r, 3) for r in ratios],
        "p99_ratio": round(median(slow), 3) if slow else None,
        "p99_ratios": [round(r, 3) for r in slow],
        "user": round(median([r["user"] for r in runs]), 2),
        "busy": round(median([r["busy"] for r in runs]), 2),
        "per_s": round(median([r.get("rps", r.get("gbit", 0)) for r in runs]), 1),
        "p50": median([r.get("p50_us", 0) for r in runs]),
        "p99": median([r.get("p99_us", 0) for r in runs]),
        "err": sum(r.get("err", 0) for r in runs),
        "resumed": sum(r.get("resumed", 0) for r in runs),
        "cookies": sum(r.get("cookies", 0) for r in runs),
        "done": sum(r["done"] for r in runs),
    }


def collect(peers, base, scenes):
    """Everything as one document, for --json."""
    document = {}
    for peer in peers:
        rows = {name: figures(peer, base, name, scene.unit) for name, scene in scenes.items()}
        document[peer.name] = {name: row for name, row in rows.items() if row}
        document[peer.name].update(idle=peer.memory, version=peer.version, records=peer.records())
        if peer is not base:
            document[peer.name]["verdicts"] = verdicts(peer, document[peer.name])
    return document


def verdicts(peer, row):
    """Each bar that was measured for a peer: what came out, of how many pairs, and whether that is enough."""
    found = []

    def judge(what, figure, bar, pairs):
        met = figure <= bar.most and (pairs is None or pairs >= ROUNDS_MIN)
        word = ("met, and so is the aim" if figure <= bar.aim else "met") if met else (
            "missed" if figure > bar.most else f"too few rounds: {pairs} of {ROUNDS_MIN}")
        found.append({"what": what, "figure": figure, "bar": bar.most, "aim": bar.aim, "pairs": pairs,
                      "met": met, "word": word})

    for scene, bar in BARS.items():
        if row.get(scene, {}).get("ratio"):
            judge(scene, row[scene]["ratio"], bar, len(row[scene]["ratios"]))
    if row.get(P99_SCENE, {}).get("p99_ratio"):
        judge("p99 of " + P99_SCENE, row[P99_SCENE]["p99_ratio"], P99_BAR, len(row[P99_SCENE]["p99_ratios"]))
    for kind, bar in IDLE_BARS.items():
        if peer.memory.get(kind, {}).get("bytes"):
            judge(f"idle {kind} connection, bytes", round(peer.memory[kind]["bytes"]), bar, None)
    return found


def show(peers, base, scenes, document, left_out, run_line, judged):
    """Prints the tables, and how the `judged` peers stand to the bars."""
    print(f"# {run_line}, kernel {os.uname().release}; ratios are to {base.name}; below 1.00 is cheaper")
    for peer in peers:
        print(f"# {peer.name}: {peer.version}")
    for reason in left_out:
        print("# left out:", reason)
    width = max(len(p.name) for p in peers) + 1

    print("\nCPU microseconds of the proxy per unit (median), ratio to base, share of it in user space")
    print(" " * width + "".join(f"{s:>20}" for s in scenes))
    for peer in peers:
        cells = [cost_cell(peer, document[peer.name].get(s), s) for s in scenes]
        print(f"{peer.name:<{width}}" + "".join(cells))

    print("\nmeasured per second (Gbit/s for l4_bulk), share of the proxy core used")
    print(" " * width + "".join(f"{s:>16}" for s in scenes))
    for peer in peers:
        rows = [document[peer.name].get(s) for s in scenes]
        cells = [f"{r['per_s']:>10.0f} {r['busy'] * 100:>4.0f}%" if r else f"{'-':>16}" for r in rows]
        print(f"{peer.name:<{width}}" + "".join(cells))

    print("\nlatency at 2000 requests/s (h1_rate), us; bytes of memory per idle client connection; size")
    for peer in peers:
        d = document[peer.name]
        rate = d.get("h1_rate", {})
        idle = "  ".join(
            f"idle {kind} {m['bytes'] or 0:>6.0f} B ({m['open']} connections, {m['rss_kb']} -> {m['rss_idle_kb']} KiB)"
            for kind, m in d["idle"].items())
        print(f"{peer.name:<{width}} p50 {rate.get('p50') or 0:>8.0f}  p99 {rate.get('p99') or 0:>8.0f}   {idle}")

    print("\nlog records (requests measured; lines found in the log; the proxy's own counts)")
    for peer in peers:
        d = document[peer.name]
        asked = sum(d[s]["done"] for s in scenes if s in d and d[s]["unit"] == "request")
        counts = ", ".join(f"{k} {v}" for k, v in d["records"].items()) or "logs nothing"
        cookies = sum(d[s]["cookies"] for s in scenes if s in d)
        print(f"{peer.name:<{width}} {asked} requests; {counts}; {cookies} cookies given")

    for peer in peers:
        if peer.name in judged and document[peer.name].get("verdicts"):
            print(f"\nbars, by the median of {peer.name}'s ratios to {base.name}, each of two runs in the same round")
            for v in document[peer.name]["verdicts"]:
                pairs = f"{v['pairs']} pairs" if v["pairs"] is not None else "one look"
                print(f"{v['what']:<24}{v['figure']:>8}  bar {v['bar']:<6} aim {v['aim']:<6} {pairs:<9} {v['word']}")

    for peer in peers:
        for scene, results in peer.results.items():
            failed = next((r["fail"] for r in results if "fail" in r), None)
            if failed:
                print("# fail", peer.name, scene, failed[-160:].replace("\n", " "))


def cost_cell(peer, row, scene):
    if not row:
        return f"{'fail' if peer.results.get(scene) else '-':>20}"
    errors = "!" if row["err"] else " "
    return f"{row['cpu_us']:>8.1f} {row['ratio'] or 0:>5.2f} {row['user'] * 100:>3.0f}%{errors}"
