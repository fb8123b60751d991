"""Does attention cost what its mask keeps? Time against the kept share, beside torch's SDPA.

    python benchmarks/kept_share.py --torch-python other/bin/python
    python benchmarks/kept_share.py --only "padding forward"      some of it

MaskedAttention of 4 x 8 heads, 1024 queries and keys, D = 64, float32: keys padded to ragged
lengths, a window about the diagonal, a causal triangle whose diagonal is moved; forward alone, and
forward with backward. SDPA gets the same mask as a tensor of bools, or is_causal where the triangle
is the usual one. The runtime's torch has no SDPA: without --torch-python ours stands alone.
"""

import argparse
import json
import os

import report
from bench import FOLDER, run
from cases import KEPT_SHARE, OURS_NO_MASK, SDPA, SDPA_CAUSAL, SDPA_MASKED

# Contenders that are drawn, torch's without their version, and how.
STYLES = {
    report.OURS: "o-C0",
    OURS_NO_MASK: ":C0",
    SDPA_MASKED: "s-C1",
    SDPA_CAUSAL: "^C3",
    SDPA: ":C1",
}


def _style(name):
    return STYLES.get(name) or STYLES.get(name.split(" ", 2)[-1])


def panels(figures):
    """Mask and pass, such as "padding forward" -> contender -> {% kept: milliseconds}"""
    found = {}
    for result in figures["results"]:
        lines = found.setdefault(result["case"].split(",")[0], {})
        for name, ms in result["ms"].items():
            if _style(name):
                lines.setdefault(name, {})[100 * result["kept"]] = ms
    return found


def markdown(figures):
    parts = []
    for panel, lines in panels(figures).items():
        shares = list(lines[report.OURS])
        parts.append(report.table(
            [panel + ", % kept"] + ["{:.3g}".format(share) for share in shares],
            [[name + ", ms"] + ["{:.1f}".format(points[share]) if share in points else ""
                                for share in shares]
             for name, points in lines.items()]))
    return "\n".join(parts + [report.machine(figures)])


def chart(figures, path):
    """A row of panels for each pass, a column for each mask."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = panels(figures)
    passes = list(dict.fromkeys(panel.split()[1] for panel in found))
    masks = list(dict.fromkeys(panel.split()[0] for panel in found))
    figure, grid = plt.subplots(len(passes), len(masks), squeeze=False, sharex=True, sharey="row",
                                figsize=(1.5 + 3.5 * len(masks), 1 + 3 * len(passes)))
    handles = {}
    for panel, lines in found.items():
        mask, direction = panel.split()
        axes = grid[passes.index(direction), masks.index(mask)]
        for name, points in lines.items():
            handles[name], = axes.plot(*zip(*points.items()), _style(name), label=name,
                                       markersize=4)
        axes.set_title(panel)
        axes.set_xlim(0, 102)
        axes.grid(alpha=0.3)
    for axes in grid[-1]:
        axes.set_xlabel("kept, %")
    for axes in grid[:, 0]:
        axes.set_ylabel("time, ms")
        axes.set_ylim(bottom=0)  # Of all in the row, and only now: this ends the scaling.
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncol=len(handles),
                  fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run cases with this in their name")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each contender")
    parser.add_argument("--torch-python", help="a Python with another torch to run beside")
    parser.add_argument("--output", default=os.path.join(FOLDER, "results"), help="folder")
    options = parser.parse_args()
    names = [name for name in KEPT_SHARE if options.only in name]
    if not names:
        parser.error("no case has {!r} in its name".format(options.only))
    figures = run(names, options.rounds, options.torch_python)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, "kept_share")
    with open(path + ".json", "w") as out:
        json.dump(figures, out, indent=1)
    chart(figures, path + ".png")
    print(markdown(figures))


if __name__ == "__main__":
    main()
