"""Compact first, or mask in place? Where the break-even lies, measured.

    python benchmarks/compact_or_mask.py

Rows [N, 256] go through a layer of work, and only some of them count. Three nets do it:

    mask      the layer on all rows, then BooleanMask with keep_shape
    compact   BooleanMask, the layer on the rows kept, BooleanUnmask back to their places
    discard   BooleanMask, the layer on the rows kept; the result stays compact

The layer is light (one pass of arithmetic over the rows) or heavy (fully connected, 256 x 256).
"""

import os

import numpy as np
import tqdm

import caffe2op_mask  # noqa: F401: the operators
import harness
from caffe2.python import workspace

ROWS, WIDTH = 1 << 14, 256
SHARES = [1, 5, 10, 25, 50, 75, 90, 95, 100]


LAYERS = {
    "light (Mul)": lambda x, y: ("Mul", [x, "scale"], [y], {"broadcast": 1}),
    "heavy (FC 256 x 256)": lambda x, y: ("FC", [x, "weight", "bias"], [y], {}),
}


def _ways(layer):
    """What each way runs."""
    discard = [("BooleanMask", ["rows", "mask"], ["kept"], {}), layer("kept", "done")]
    ways = {
        "mask": [layer("rows", "all"),
                 ("BooleanMask", ["all", "mask"], ["result_mask"], {"keep_shape": 1})],
        "compact": discard + [("BooleanUnmask", ["mask", "done"], ["result_compact"],
                               {"fill_val": 0.0, "layout": "compact"})],
        "discard": discard,
    }
    return {way: harness.create(harness.net(way, operators)) for way, operators in ways.items()}


def measure(rounds):
    """layer -> way -> [[share kept in %, best milliseconds], ..]"""
    random = np.random.RandomState(1)
    for blob, shape in (("rows", (ROWS, WIDTH)), ("scale", (WIDTH,)), ("weight", (WIDTH, WIDTH)),
                        ("bias", (WIDTH,))):
        workspace.FeedBlob(blob, random.rand(*shape).astype(np.float32))
    figures = {name: {} for name in LAYERS}
    order = random.rand(ROWS)
    for share in tqdm.tqdm(SHARES, unit="share"):
        workspace.FeedBlob("mask", order < np.percentile(order, share) if share < 100
                           else np.ones(ROWS, dtype=bool))
        for name, layer in LAYERS.items():
            best = harness.best_of(rounds, {
                way: lambda run=run: harness.timed(run) for way, run in _ways(layer).items()})
            np.testing.assert_allclose(
                workspace.FetchBlob("result_mask"), workspace.FetchBlob("result_compact"),
                rtol=1e-5)
            for way, ms in best.items():
                figures[name].setdefault(way, []).append([share, ms])
    return figures


def table(figures):
    return "\n".join(
        harness.table(
            [name + ", % kept"] + [str(share) for share in SHARES],
            [[way + ", ms"] + ["{:.2f}".format(ms) for _, ms in points]
             for way, points in ways.items()])
        for name, ways in figures.items())


def chart(figures, path):
    with harness.chart(path, 1, len(figures), figsize=(10, 4)) as (_, grid):
        for axes, (name, ways) in zip(grid[0], figures.items()):
            for way, points in ways.items():
                axes.plot(*zip(*points), "o-", label=way, markersize=4)
            axes.set_title(name)
            axes.set_xlabel("rows kept, %")
            axes.set_ylabel("time, ms")
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend()


def main():
    options = harness.parser(__doc__, rounds=25).parse_args()
    figures = measure(options.rounds)
    path = os.path.join(options.output, "compact_or_mask")
    harness.write(path + ".json", figures)
    chart(figures, path + ".png")
    print(table(figures))


if __name__ == "__main__":
    main()
