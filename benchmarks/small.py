"""What an operator costs where there is little to do: nets of 100 operators on 100 entries.

    python benchmarks/small.py
    python benchmarks/small.py --operators 1000   # nets of so many

Stock operators are those of engine DEFAULT; the two run in turn, the best of the rounds counts. A
longer net does not fit into the second-level cache: what is measured then is how its operators lie
in memory, by which the same stock net, created twice, differs by a fifth.
"""

import numpy as np

import caffe2op_mask  # noqa: F401: the operators
import harness
from caffe2.python import workspace
from cases.case import OURS, STOCK

CALLS = 1000  # of an operator, in runs of a net, each time that it is timed

# Operator, what sets it apart, inputs, arguments.
SMALL = [
    ("BooleanMask", "", ["data", "mask"], {}),
    ("BooleanMask", "rows of 8", ["rows", "row_mask"], {}),
    ("BooleanMaskGradient", "", ["mask", "kept"], {}),
    ("BooleanMaskLengths", "", ["lengths", "mask"], {}),
    ("BooleanUnmask", "", ["mask", "kept", "other_mask", "other"], {}),
    ("SequenceMask", "sequence", ["matrix", "row_lengths"], {"mode": "sequence"}),
    ("SequenceMask", "window", ["matrix", "row_lengths"], {"mode": "window", "radius": 2}),
    ("SequenceMask", "upper", ["matrix"], {"mode": "upper"}),
]


def feed(entries):
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


def measure(entries, operators, rounds):
    """Nanoseconds for one operator: name -> (stock, ours)."""
    feed(entries)
    runs = max(CALLS // operators, 1)

    def repeat(run):
        for _ in range(runs):
            run()

    contenders = {}
    for op, variant, inputs, arguments in SMALL:
        name = " ".join(filter(None, [op, variant]))
        for side, engine in ((STOCK, "DEFAULT"), (OURS, "")):
            run = harness.create(harness.net(
                name, [(op, inputs, [side + "_out"], arguments)] * operators, engine))
            contenders[name, side] = lambda run=run: harness.timed(repeat, run)
    best = harness.best_of(rounds, contenders)
    each = 1e6 / operators / runs
    return {name: (best[name, STOCK] * each, best[name, OURS] * each)
            for name, side in best if side == OURS}


def main():
    parser = harness.parser(__doc__, rounds=50, output=False)
    parser.add_argument("--entries", type=int, default=100, help="a multiple of 10")
    parser.add_argument("--operators", type=int, default=100, help="in a net")
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    figures = measure(options.entries, options.operators, options.rounds)
    print(harness.table(
        ["operator on {} entries".format(options.entries), "stock, ns", "caffe2op_mask, ns",
         "ratio"],
        [[name] + ["{:.0f}".format(stock), "{:.0f}".format(ours), "{:.2f}".format(ours / stock)]
         for name, (stock, ours) in figures.items()]), end="")
    if options.json:
        harness.write(options.json, figures)


if __name__ == "__main__":
    main()
