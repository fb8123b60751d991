"""Does attention cost what its mask keeps? Time against the kept share, beside torch's SDPA.

    python benchmarks/kept_share.py --torch-python other/bin/python
    python benchmarks/kept_share.py --only "padding forward"      some of it

MaskedAttention of 4 x 8 heads, 1024 queries and keys, D = 64, float32: keys padded to ragged
lengths, a window about the diagonal, a causal triangle whose diagonal is moved; forward alone, and
forward with backward. SDPA gets the same mask as a tensor of bools, or is_causal where the triangle
is the usual one. The runtime's torch has no SDPA: without --torch-python ours stands alone.
"""

import os

import harness
import report
from cases import KEPT_SHARE
from cases.case import OURS, OURS_NO_MASK
from cases.masked_attention import SDPA, SDPA_CAUSAL, SDPA_MASKED

# Contenders that are drawn, and how.
STYLES = {
    OURS: "o-C0",
    OURS_NO_MASK: ":C0",
    SDPA_MASKED: "s-C1",
    SDPA_CAUSAL: "^C3",
    SDPA: ":C1",
}


def panels(figures):
    """Mask and direction -> contender -> {% kept: milliseconds}, and how contenders are drawn."""
    found, styles = {}, {}
    for result in figures["results"]:
        fields = result["fields"]
        lines = found.setdefault((fields["mask"], fields["direction"]), {})
        for contender, ms in result["ms"].items():
            name = result["names"][contender]
            if name in STYLES:
                styles[contender] = STYLES[name]
                lines.setdefault(contender, {})[100 * result["kept"]] = ms
    return found, styles


def markdown(figures):
    parts = []
    for panel, lines in panels(figures)[0].items():
        shares = list(lines[OURS])
        parts.append(harness.table(
            [" ".join(panel) + ", % kept"] + ["{:.3g}".format(share) for share in shares],
            [[name + ", ms"] + ["{:.1f}".format(points[share]) if share in points else ""
                                for share in shares]
             for name, points in lines.items()]))
    return "\n".join(parts + [report.machine(figures)])


def chart(figures, path):
    """A row of panels for each direction, a column for each mask."""
    found, styles = panels(figures)
    masks, directions = (list(dict.fromkeys(names)) for names in zip(*found))
    handles = {}
    with harness.chart(
            path, len(directions), len(masks), top=0.94, sharex=True, sharey="row",
            figsize=(1.5 + 3.5 * len(masks), 1 + 3 * len(directions))) as (figure, grid):
        for (mask, direction), lines in found.items():
            axes = grid[directions.index(direction), masks.index(mask)]
            for name, points in lines.items():
                handles[name], = axes.plot(*zip(*points.items()), styles[name], label=name,
                                           markersize=4)
            axes.set_title(mask + " " + direction)
            axes.set_xlim(0, 102)
            axes.grid(alpha=0.3)
        for axes in grid[-1]:
            axes.set_xlabel("kept, %")
        for axes in grid[:, 0]:
            axes.set_ylabel("time, ms")
            axes.set_ylim(bottom=0)  # Of all in the row, and only now: this ends the scaling.
        figure.legend(handles.values(), handles.keys(), loc="upper center", ncol=len(handles),
                      fontsize=8)


def main():
    parser = harness.cases_parser(__doc__, rounds=9)
    options = parser.parse_args()
    figures = harness.run_cases(parser, options, KEPT_SHARE)
    path = os.path.join(options.output, "kept_share")
    harness.write(path + ".json", figures)
    chart(figures, path + ".png")
    print(markdown(figures))


if __name__ == "__main__":
    main()
