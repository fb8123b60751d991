"""Tables, charts and comparisons of what bench.py measured."""

import harness
from cases.case import OURS, STOCK

REFERENCE = "reference (Copy, memcpy or other)"


def _best_peer(result):
    """The fastest other library that does the same work."""
    peers = {name: result["ms"][name] for name in result["peers"]}
    return min(peers.items(), key=lambda item: item[1]) if peers else None


def _cells(result):
    ours = result["ms"][OURS]
    stock = result["ms"].get(STOCK)
    peer = _best_peer(result)
    return [
        result["case"],
        "{:.2f}".format(ours),
        "{:.2f} x {}".format(ours / result["reference_ms"], result["reference"]),
        "{:.2f} ({:.1f} x)".format(stock, stock / ours) if stock else "does not run it",
        "{} {:.2f} ({:.1f} x)".format(peer[0], peer[1], peer[1] / ours) if peer else "",
        "{:.1f}".format(result["moved"] / ours / 1e6) if result["moved"] else "",
    ]


def _target_cells(result, target):
    ours = result["ms"][OURS]
    bound = "{:.2g} x {}".format(target["multiple"], target["of"])
    if target["allowance"]:
        bound += " + {:g} ms".format(target["allowance"])
    if target["of_ms"] is None:
        return [result["case"], bound, "", "not measured"]
    limit = target["multiple"] * target["of_ms"] + target["allowance"]
    return [
        result["case"],
        "{} = {:.2f} ms".format(bound, limit),
        "{:.2f} x = {:.2f} ms".format(ours / target["of_ms"], ours),
        "yes" if ours <= limit else "**no**",
    ]


def machine(figures):
    """What the figures are of."""
    return ("{cpu}, {cores} cores, target {target}, {compiler}, {runtime}, caffe2op_mask "
            "{caffe2op_mask}; ".format(**figures["machine"])
            + "`{}`, best of {} rounds.\n".format(figures["command"], figures["rounds"]))


def markdown(figures):
    """A table of the results, one of the targets, and the machine they are of."""
    results = figures["results"]
    parts = [harness.table(
        ["work", "ms", "ratio", "stock Caffe2, ms", "best other library, ms", "GB/s"],
        [_cells(result) for result in results])]
    targets = [_target_cells(result, target) for result in results for target in result["targets"]]
    if targets:
        parts.append(harness.table(["work", "target", "measured", "met"], targets))
    return "\n".join(parts + [machine(figures)])


def chart(figures, path):
    """How many times as long as ours the others take, for each case."""
    results = figures["results"]
    with harness.chart(path, figsize=(10, 1.2 + 0.42 * len(results))) as (_, [[axes]]):
        for row, result in enumerate(reversed(results)):
            ours = result["ms"][OURS]
            points = {STOCK: result["ms"].get(STOCK), REFERENCE: result["reference_ms"]}
            peer = _best_peer(result)
            points["best other library"] = peer[1] if peer else None
            for name, color, marker in (
                    (STOCK, "tab:red", "o"), ("best other library", "tab:orange", "s"),
                    (REFERENCE, "tab:gray", "|")):
                if points[name]:
                    axes.scatter(points[name] / ours, row, c=color, marker=marker, s=60,
                                 label=name if row == len(results) - 1 else None)
        axes.axvline(1, color="tab:blue", label=OURS)
        axes.set_xscale("log")
        axes.set_yticks(range(len(results)))
        axes.set_yticklabels([result["case"] for result in reversed(results)], fontsize=8)
        axes.set_xlabel("time, as a multiple of caffe2op_mask's (to the right: slower)")
        axes.grid(axis="x", alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles))
        axes.legend(unique.values(), unique.keys(), loc="upper right", fontsize=8)


def compare(before, after, threshold):
    """Prints how each case's ratio to its reference changed; returns the names that got slower.

    Ratios, not times: the two runs need not be of one day, nor of one machine.
    """
    old = {r["case"]: r["ms"][OURS] / r["reference_ms"] for r in before["results"]}
    slower = []
    for result in after["results"]:
        name = result["case"]
        if name not in old:
            print("{}: new".format(name))
            continue
        new = result["ms"][OURS] / result["reference_ms"]
        change = new / old[name]
        verdict = ""
        if change > threshold:
            slower.append(name)
            verdict = "  SLOWER"
        print("{}: {:.2f} -> {:.2f} x {} ({:+.0f} %){}".format(
            name, old[name], new, result["reference"], (change - 1) * 100, verdict))
    print("{} of {} cases slower by more than {:.0f} %.".format(
        len(slower), len(after["results"]), (threshold - 1) * 100))
    return slower
