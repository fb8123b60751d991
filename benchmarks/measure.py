"""Times one case in this process, everything in turn, and prints the figures as JSON.

    python benchmarks/measure.py "BooleanUnmask 4.2 M, two masks" --rounds 9

Stock operators run in a net that is created before the library is loaded, ours in one created
after. Each round runs every contender once; the best of the rounds counts.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import time

import numpy as np

from cases import CASES, KEPT_SHARE, OURS_NO_MASK, find

OURS, STOCK = "caffe2op_mask", "stock Caffe2"


def _net(case, prefix, operators):
    """A net of the operators, and of their gradients to train, with blobs of its own.

    Returns how to run it, and the blobs of its results by the names that the case gives them.
    """
    from caffe2.python import core, workspace

    def own(names):
        return [prefix + "/" + name for name in names]

    read = {name for operator in operators for name in operator.inputs}
    for name, value in list(case.inputs.items()) + list(case.stock_inputs.items()):
        if name in read:
            workspace.FeedBlob(prefix + "/" + name, value)
    net = core.Net(prefix)
    for op, inputs, outputs, arguments in operators:
        net.Proto().op.extend([core.CreateOperator(op, own(inputs), own(outputs), **arguments)])
    results = {name: own([name])[0] for operator in operators for name in operator.outputs}
    if case.d_output is not None:
        workspace.FeedBlob(prefix + "/d_output", case.d_output)
        gradients = net.AddGradientOperators({results[outputs[0]]: prefix + "/d_output"})
        results.update(
            ("gradient of " + name, str(gradients[prefix + "/" + name])) for name in case.trained)
    workspace.CreateNet(net)
    net_name = net.Name()
    return lambda: workspace.RunNet(net_name), results


def _copy(case):
    from caffe2.python import core, workspace

    workspace.FeedBlob("copy/in", next(iter(case.inputs.values())))
    net = core.Net("copy")
    net.Copy("copy/in", "copy/out")
    workspace.CreateNet(net)
    return lambda: workspace.RunNet("copy")


def _check(case, name, stock, ours):
    """Stock's operator and ours agree to the byte; a chain of stock's computes in another order."""
    from caffe2.python import workspace

    for result in set(stock) & set(ours):
        expected, actual = (workspace.FetchBlob(blobs[result]) for blobs in (stock, ours))
        if case.stock is case.ours:
            equal = expected.tobytes() == actual.tobytes()
        else:
            equal = np.allclose(actual, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
        if not equal:
            sys.exit("{}: stock and caffe2op_mask disagree on {}.".format(name, result))


class Worker:
    """The torch of another Python, run one call at a time from here."""

    def __init__(self, python, case_name):
        self._process = subprocess.Popen(
            [python, os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_worker.py"),
             case_name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        self.names = json.loads(self._process.stdout.readline())

    def time(self, name):
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


_WASH = np.ones(1 << 23)


def _wash():
    """Leaves the caches full of what nobody wants and nobody must write back.

    Otherwise each contender would pay for what the one before it wrote. It also takes long enough
    for threads that wait by spinning to come to rest.
    """
    _WASH.sum()


def _timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def measure(case_name, rounds, torch_python=None):
    """Best milliseconds of every contender of a case, and what they are held against."""
    from caffe2.python import workspace

    case = find(case_name)
    contenders = {}  # name -> seconds of one run
    named = {}  # as the case calls it -> name; of several torches the last, which is the current
    peers = []

    def enter(name, run, called=None):
        contenders[name] = run
        named[called or name] = name

    stock = {}
    if case.stock:
        run, stock = _net(case, "stock", case.stock)
        enter(STOCK, functools.partial(_timed, run))
    import caffe2op_mask  # noqa: F401: stock nets must exist before this line

    run, ours = _net(case, "ours", case.ours)
    enter(OURS, functools.partial(_timed, run))
    if case.no_mask:
        enter(OURS_NO_MASK, functools.partial(_timed, _net(case, "no_mask", case.no_mask)[0]))
    if case.reference == "Copy":
        enter("Copy", functools.partial(_timed, _copy(case)))
    if case.moved is not None:
        size = int(case.moved if case.reference == "memcpy_read" else case.moved / 2)
        source, target = np.ones(size, dtype=np.uint8), np.ones(size, dtype=np.uint8)
        enter("memcpy", lambda: _timed(lambda: np.copyto(target, source)))
    for name, function in case.peers.items():
        enter(name, functools.partial(_timed, function))
        peers.append(name)
    import torch

    version = "torch {} ".format(torch.__version__.split("+")[0])
    for name, function in case.torch_peers(torch).items():
        enter(version + name, functools.partial(_timed, function), name)
        peers.append(version + name)
    worker = Worker(torch_python, case_name) if torch_python else None
    for version, name in worker.names if worker else []:
        enter(version + name, functools.partial(worker.time, name), name)
        peers.append(version + name)

    best = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            _wash()
            best[name] = min(best.get(name, float("inf")), run() * 1e3)
    if worker:
        worker.close()
    _check(case, case_name, stock, ours)
    reference = named["memcpy" if case.reference == "memcpy_read" else case.reference]
    yardsticks = {named[name] for name in case.yardsticks if name in named}
    return {
        "case": case_name,
        "ms": best,
        "peers": [name for name in peers if name not in yardsticks],
        "moved": None if case.moved is None else int(case.moved),
        "kept": case.kept,
        "reference": reference,
        "reference_ms": best[reference],
        "targets": [dict(target._asdict(), of=named.get(target.of, target.of),
                         of_ms=best.get(named.get(target.of))) for target in case.targets],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", choices=sorted(CASES) + sorted(KEPT_SHARE), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--torch-python", help="a Python with another torch to run beside")
    options = parser.parse_args()
    print(json.dumps(measure(options.case, options.rounds, options.torch_python)))


if __name__ == "__main__":
    main()
