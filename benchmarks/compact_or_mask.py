"""Compact first, or mask in place? Where the break-even lies, measured.

    python benchmarks/compact_or_mask.py

Rows [N, 256] go through a layer of work, and only some of them count. Three nets do it:

    mask      the layer on all rows, then BooleanMask with keep_shape
    compact   BooleanMask, the layer on the rows kept, BooleanUnmask back to their places
    discard   BooleanMask, the layer on the rows kept; the result stays compact

The layer is light (one pass of arithmetic over the rows) or heavy (fully connected, 256 x 256).
"""

import argparse
import json
import os
import time

import numpy as np
import tqdm

import caffe2op_mask  # noqa: F401: the operators
from caffe2.python import core, workspace

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
ROWS, WIDTH = 1 << 14, 256
SHARES = [1, 5, 10, 25, 50, 75, 90, 95, 100]


def _light(net, x, y):
    net.Mul([x, "scale"], y, broadcast=1)


def _heavy(net, x, y):
    net.FC([x, "weight", "bias"], y)


LAYERS = {"light (Mul)": _light, "heavy (FC 256 x 256)": _heavy}


def _nets(name, layer):
    mask = core.Net(name + " mask")
    layer(mask, "rows", "all")
    mask.BooleanMask(["all", "mask"], "result_mask", keep_shape=1)
    compact = core.Net(name + " compact")
    compact.BooleanMask(["rows", "mask"], "kept")
    layer(compact, "kept", "done")
    compact.BooleanUnmask(["mask", "done"], "result_compact", fill_val=0.0, layout="compact")
    discard = core.Net(name + " discard")
    discard.BooleanMask(["rows", "mask"], "kept")
    layer(discard, "kept", "done")
    nets = {"mask": mask, "compact": compact, "discard": discard}
    for net in nets.values():
        workspace.CreateNet(net, overwrite=True)
    return nets


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
            nets = _nets(name, layer)
            best = {}
            for _ in range(rounds):
                for way, net in nets.items():
                    begin = time.perf_counter()
                    workspace.RunNet(net)
                    spent = (time.perf_counter() - begin) * 1e3
                    best[way] = min(best.get(way, float("inf")), spent)
            np.testing.assert_allclose(
                workspace.FetchBlob("result_mask"), workspace.FetchBlob("result_compact"),
                rtol=1e-5)
            for way, ms in best.items():
                figures[name].setdefault(way, []).append([share, ms])
    return figures


def table(figures):
    lines = []
    for name, ways in figures.items():
        lines += ["| {}, % kept | {} |".format(name, " | ".join(str(s) for s in SHARES)),
                  "| --- |" + " --- |" * len(SHARES)]
        for way, points in ways.items():
            lines.append("| {}, ms | {} |".format(
                way, " | ".join("{:.2f}".format(ms) for _, ms in points)))
        lines.append("")
    return "\n".join(lines)


def chart(figures, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(1, len(figures), figsize=(10, 4))
    for axes, (name, ways) in zip(all_axes, figures.items()):
        for way, points in ways.items():
            axes.plot(*zip(*points), "o-", label=way, markersize=4)
        axes.set_title(name)
        axes.set_xlabel("rows kept, %")
        axes.set_ylabel("time, ms")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--output", default=FOLDER, help="folder")
    options = parser.parse_args()
    figures = measure(options.rounds)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, "compact_or_mask")
    with open(path + ".json", "w") as out:
        json.dump(figures, out, indent=1)
    chart(figures, path + ".png")
    print(table(figures))


if __name__ == "__main__":
    main()
