"""time the operators beside stock Caffe2's, on this machine

Runs six pieces of work by the operators of this library and by those of the runtime, in turn, and
prints the best time of each. A check first that both compute the same. `make bench` in the
repository measures more: other libraries, gradients, other shapes and types, and what is to be
reached.

examples:
  python -m caffe2op_mask bench
  python -m caffe2op_mask bench --seconds 2
"""

import argparse
import collections
import sys
import time

import numpy as np
from caffe2.python import core, workspace

from caffe2op_mask.commands import version
from caffe2op_mask.commands.progress import progress
from caffe2op_mask.text import columns

_LEAST_ROUNDS = 3
_RELATIVE, _ABSOLUTE = 1e-4, 1e-6  # how much a softmax may differ from stock's

# What is timed: `inputs` are arrays by name. `ours` and `stock` are operators, (type, inputs,
# outputs, arguments); the last one's first output is the result.
Work = collections.namedtuple("Work", "name inputs ours stock")


def seconds(argument):
    try:
        value = float(argument)
    except ValueError:
        value = 0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(
            "seconds must be above 0 and at most 3600, but this is '{}'".format(argument)
        )
    return value


def add_arguments(parser):
    parser.add_argument(
        "--seconds", type=seconds, default=8.0, help="how long to measure, about (default 8)"
    )


def run(options):
    lines = [("work", "stock ms", "here ms", "stock / here")]
    works = [_sequence_mask, _boolean_mask, _boolean_unmask, _lengths, _softmax, _attention]
    for work in progress(works, "bench", total=len(works)):
        work = work(np.random.RandomState(1))
        stock, ours = _best(work, options.seconds / len(works))
        ratio = "{:.1f}".format(stock / ours)
        lines.append((work.name, "{:.2f}".format(stock), "{:.2f}".format(ours), ratio))
    print(version.text())
    print()
    print(columns(lines))
    print()
    print("Best of runs in turn. `make bench` in the repository measures more.")


def _sequence_mask(random):
    operators = [("SequenceMask", ["x"], ["y"], {"mode": "upper", "axis": 2, "batch": 0})]
    return Work(
        "SequenceMask, causal, 32 x 512 x 512",
        {"x": random.rand(32, 512, 512).astype(np.float32)},
        operators,
        operators,
    )


def _boolean_mask(random):
    size = 1 << 23
    operators = [("BooleanMask", ["x", "mask"], ["y"], {})]
    inputs = {"x": random.rand(size).astype(np.float32), "mask": random.rand(size) < 0.5}
    return Work("BooleanMask, 8.4 M, half kept", inputs, operators, operators)


def _boolean_unmask(random):
    mask = random.rand(1 << 21) < 0.5
    count = int(mask.sum())
    inputs = {
        "a": mask,
        "x": random.rand(count).astype(np.float32),
        "b": ~mask,
        "z": random.rand(mask.size - count).astype(np.float32),
    }
    operators = [("BooleanUnmask", ["a", "x", "b", "z"], ["y"], {})]
    return Work("BooleanUnmask, 2.1 M, two masks", inputs, operators, operators)


def _lengths(random):
    segments = 1 << 19
    operators = [("BooleanMaskLengths", ["lengths", "mask"], ["y"], {})]
    inputs = {
        "lengths": np.full(segments, 16, np.int32),
        "mask": random.rand(segments * 16) < 0.5,
    }
    return Work("BooleanMaskLengths, 0.5 M segments of 16", inputs, operators, operators)


def _softmax(random):
    return Work(
        "softmax, causal, 32 x 512 x 512",
        {"x": random.rand(32, 512, 512).astype(np.float32)},
        [("MaskedSoftmax", ["x"], ["y"], {"mode": "upper"})],
        [
            ("SequenceMask", ["x"], ["masked"], {"mode": "upper", "axis": 2, "batch": 0}),
            ("Softmax", ["masked"], ["y"], {"axis": 2}),
        ],
    )


def _attention(random):
    return Work(
        "attention, causal, 2 x 8 x 512 x 64",
        {name: random.rand(2, 8, 512, 64).astype(np.float32) for name in "qkv"},
        [("MaskedAttention", ["q", "k", "v"], ["y"], {"mode": "upper"})],
        [
            ("BatchMatMul", ["q", "k"], ["scores"], {"trans_b": 1}),
            ("Scale", ["scores"], ["scaled"], {"scale": 0.125}),
            ("SequenceMask", ["scaled"], ["masked"], {"mode": "upper", "axis": 3, "batch": 1}),
            ("Softmax", ["masked"], ["weights"], {"axis": 3}),
            ("BatchMatMul", ["weights", "v"], ["y"], {}),
        ],
    )


def _net(prefix, operators, engine):
    """Makes a net whose masks are of `engine`; returns its name, and that of its result."""
    written, net = {}, core.Net(prefix)
    for op_type, inputs, outputs, arguments in operators:
        inputs = [written.get(name, "bench/" + name) for name in inputs]
        written.update((name, "{}/{}".format(prefix, name)) for name in outputs)
        outputs = [written[name] for name in outputs]
        # What the runtime has no engine for takes the only one that there is.
        op = core.CreateOperator(op_type, inputs, outputs, engine=engine, **arguments)
        net.Proto().op.extend([op])
    workspace.CreateNet(net)
    return net.Name(), outputs[0]


def _best(work, budget):
    """Best milliseconds of stock's operators and of ours, run in turn for `budget` seconds."""
    for name, array in work.inputs.items():
        workspace.FeedBlob("bench/" + name, array)
    contenders = [
        _net("bench/stock", work.stock, "DEFAULT"),
        _net("bench/ours", work.ours, "MASK"),
    ]
    for net, _ in contenders:
        workspace.RunNet(net)
    stock, ours = (workspace.FetchBlob(result) for _, result in contenders)
    if not np.allclose(stock, ours, rtol=_RELATIVE, atol=_ABSOLUTE):
        sys.exit("{}: the results of stock and of this library differ.".format(work.name))
    best = [float("inf")] * len(contenders)
    end, rounds = time.perf_counter() + budget, 0
    while rounds < _LEAST_ROUNDS or time.perf_counter() < end:
        for i, (net, _) in enumerate(contenders):
            begin = time.perf_counter()
            workspace.RunNet(net)
            best[i] = min(best[i], (time.perf_counter() - begin) * 1e3)
        rounds += 1
    workspace.ResetWorkspace()
    return best
