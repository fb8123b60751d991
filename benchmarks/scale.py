"""Time against size: from 2^10 to 2^28 entries, beside a memcpy of as many bytes.

    python benchmarks/scale.py           the chart and the figures, into benchmarks/results/
    python benchmarks/scale.py --huge    once with 2^31 + 1 entries of one byte, results checked
"""

import os

import numpy as np
import tqdm

import caffe2op_mask  # noqa: F401: the operators
import harness
from caffe2.python import workspace


def _net(op, inputs, outputs, **arguments):
    return harness.create(harness.net("scale", [(op, inputs, outputs, arguments)]))


def _boolean_mask(n, random):
    workspace.FeedBlob("data", random.rand(n).astype(np.float32))
    workspace.FeedBlob("mask", random.rand(n) < 0.5)
    return _net("BooleanMask", ["data", "mask"], ["out"])


def _sequence_mask(n, random):
    columns = min(n, 512)
    workspace.FeedBlob("data", random.rand(n // columns, columns).astype(np.float32))
    return _net("SequenceMask", ["data"], ["out"], mode="upper")


def _boolean_unmask(n, random):
    mask = random.rand(n) < 0.5
    for name, one in (("1", mask), ("2", ~mask)):
        workspace.FeedBlob("mask_" + name, one)
        workspace.FeedBlob("values_" + name, np.ones(int(one.sum()), dtype=np.float32))
    return _net("BooleanUnmask", ["mask_1", "values_1", "mask_2", "values_2"], ["out"])


def _boolean_mask_lengths(n, random):
    workspace.FeedBlob("lengths", np.full(n // 16, 16, dtype=np.int32))
    workspace.FeedBlob("mask", random.rand(n) < 0.5)
    return _net("BooleanMaskLengths", ["lengths", "mask"], ["out"])


def _memcpy(n, random):
    source, target = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    return lambda: np.copyto(target, source)


# What is drawn, by its name, and how.
WORK = {
    "memcpy of float32": (_memcpy, "k--"),
    "BooleanMask, half kept": (_boolean_mask, "o-"),
    "SequenceMask upper, rows of 512": (_sequence_mask, "o-"),
    "BooleanUnmask, two masks": (_boolean_unmask, "o-"),
    "BooleanMaskLengths, segments of 16": (_boolean_mask_lengths, "o-"),
}


def measure(exponents):
    """name -> [[entries, best milliseconds], ..]"""
    figures = {name: [] for name in WORK}
    for exponent in tqdm.tqdm(exponents, unit="size"):
        n = 1 << exponent
        for name, (make, _) in WORK.items():
            workspace.ResetWorkspace()
            run = make(n, np.random.RandomState(1))
            rounds = max(5, min(200, (1 << 24) // n))
            best = harness.best_of(rounds, {name: lambda: harness.timed(run)})
            figures[name].append([n, best[name]])
    return figures


def chart(figures, path):
    with harness.chart(path, figsize=(8, 5)) as (_, [[axes]]):
        for name, points in figures.items():
            axes.plot(*zip(*points), WORK[name][1], label=name, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("entries")
        axes.set_ylabel("time, ms (best of several)")
        axes.grid(alpha=0.3)
        axes.legend()


def huge():
    """2^31 + 1 entries: one more than 32 bits with a sign count."""
    n = (1 << 31) + 1
    data = np.arange(n, dtype=np.uint8)
    mask = np.zeros(n, dtype=bool)
    mask[::2] = True
    workspace.FeedBlob("data", data)
    workspace.FeedBlob("mask", mask)
    spent = harness.timed(_net("BooleanMask", ["data", "mask"], ["out"]))
    out = workspace.FetchBlob("out")
    assert out.shape == ((n + 1) // 2,), out.shape
    assert np.array_equal(out[-1000:], data[::2][-1000:])
    assert np.array_equal(out, data[::2])
    print("BooleanMask of {} entries: {} kept, as NumPy keeps them, in {:.2f} s.".format(
        n, out.size, spent / 1e3))


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--huge", action="store_true", help="only the check with 2^31 + 1 entries")
    parser.add_argument("--largest", type=int, default=28, help="exponent of the largest size")
    options = parser.parse_args()
    if options.huge:
        huge()
        return
    figures = measure(range(10, options.largest + 1, 2))
    path = os.path.join(options.output, "scale")
    harness.write(path + ".json", figures)
    chart(figures, path + ".png")
    for name, points in figures.items():
        print("{}: {:.2f} ns an entry at 2^20, {:.2f} at 2^{}".format(
            name, *(ms * 1e6 / n for n, ms in points if n in (1 << 20, 1 << options.largest)),
            options.largest))


if __name__ == "__main__":
    main()
