"""What an operator costs where there is little to do: nets of 100 operators on 100 entries.

    python benchmarks/small.py
    python benchmarks/small.py --operators 1000   # nets of so many

Stock nets are created before the library is loaded, ours after; the two run in turn, the best of
the rounds counts. A longer net does not fit into the second-level cache: what is measured then is
how its operators lie in memory, by which the same stock net, created twice, differs by a fifth.
"""

import argparse
import json
import os
import time

import numpy as np

CALLS = 1000  # of an operator, in runs of a net, each time that it is timed

SMALL = {
    "BooleanMask": (["data", "mask"], {}),
    "BooleanMask rows of 8": (["rows", "row_mask"], {}),
    "BooleanMaskGradient": (["mask", "kept"], {}),
    "BooleanMaskLengths": (["lengths", "mask"], {}),
    "BooleanUnmask": (["mask", "kept", "other_mask", "other"], {}),
    "SequenceMask sequence": (["matrix", "row_lengths"], {"mode": "sequence"}),
    "SequenceMask window": (["matrix", "row_lengths"], {"mode": "window", "radius": 2}),
    "SequenceMask upper": (["matrix"], {"mode": "upper"}),
}


def feed(entries):
    from caffe2.python import workspace

    random = np.random.RandomState(1)
    mask = random.rand(entries) < 0.5
    data = random.rand(entries).astype(np.float32)
    blobs = {
        "data": data,
        "mask": mask,
        "kept": data[mask],
        "other_mask": ~mask,
        "other": data[~mask],
        "rows": data[: entries // 8 * 8].reshape(-1, 8),
        "row_mask": mask[: entries // 8].copy(),
        "lengths": np.full(entries // 5, 5, dtype=np.int32),
        "matrix": data.reshape(-1, 10),
        "row_lengths": random.randint(0, 11, size=entries // 10).astype(np.int32),
    }
    for name, value in blobs.items():
        workspace.FeedBlob(name, value)


def nets(prefix, operators):
    from caffe2.python import core, workspace

    names = {}
    for name, (inputs, arguments) in SMALL.items():
        net = core.Net(prefix + "/" + name)
        op = core.CreateOperator(name.split()[0], inputs, [prefix + "_out"], **arguments)
        net.Proto().op.extend([op] * operators)
        workspace.CreateNet(net)
        names[name] = net.Name()
    return names


def measure(entries, operators, rounds):
    """Nanoseconds for one operator: name -> (stock, ours)."""
    from caffe2.python import workspace

    feed(entries)
    runs = max(CALLS // operators, 1)
    stock = nets("stock", operators)
    import caffe2op_mask  # noqa: F401: stock nets must exist before this line

    ours = nets("ours", operators)
    best = {}
    for _ in range(rounds):
        for name in SMALL:
            for side, net in ((0, stock[name]), (1, ours[name])):
                begin = time.perf_counter()
                for _ in range(runs):
                    workspace.RunNet(net)
                spent = (time.perf_counter() - begin) / operators / runs * 1e9
                best[name, side] = min(best.get((name, side), float("inf")), spent)
    return {name: (best[name, 0], best[name, 1]) for name in SMALL}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--entries", type=int, default=100, help="a multiple of 10")
    parser.add_argument("--operators", type=int, default=100, help="in a net")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    figures = measure(options.entries, options.operators, options.rounds)
    print("| operator on {} entries | stock, ns | caffe2op_mask, ns | ratio |".format(
        options.entries))
    print("| --- | --- | --- | --- |")
    for name, (stock, ours) in figures.items():
        print("| {} | {:.0f} | {:.0f} | {:.2f} |".format(name, stock, ours, ours / stock))
    if options.json:
        os.makedirs(os.path.dirname(os.path.abspath(options.json)), exist_ok=True)
        with open(options.json, "w") as out:
            json.dump(figures, out, indent=1)


if __name__ == "__main__":
    main()
