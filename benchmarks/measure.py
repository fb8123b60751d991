"""Times one case in this process, everything in turn, and prints the figures as JSON.

    python benchmarks/measure.py "BooleanUnmask 4.2 M, two masks" --rounds 9

Stock operators run in a net that is created before the library is loaded, ours in one created
after. Each round runs every contender once; the best of the rounds counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

from cases import CASES

OURS, STOCK, COPY = "caffe2op_mask", "stock Caffe2", "Caffe2 Copy"


def _net(case, name, in_place_of=None):
    """A net of the case's one operator, with blobs of its own."""
    from caffe2.python import core, workspace

    inputs = [name + "/" + key for key in case.inputs]
    for blob, value in zip(inputs, case.inputs.values()):
        workspace.FeedBlob(blob, value)
    outputs = [inputs[0]] if case.in_place else [name + "/" + key for key in case.outputs]
    net = core.Net(name)
    net.Proto().op.extend([core.CreateOperator(case.op, inputs, outputs, **case.arguments)])
    workspace.CreateNet(net)
    return net.Name(), outputs


def _copy_net(case):
    from caffe2.python import core, workspace

    workspace.FeedBlob("copy/in", next(iter(case.inputs.values())))
    net = core.Net("copy")
    net.Copy("copy/in", "copy/out")
    workspace.CreateNet(net)
    return net.Name()


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

    case = CASES[case_name]()
    contenders = {}
    outputs = {}
    if case.stock:
        net, outputs[STOCK] = _net(case, "stock")
        contenders[STOCK] = lambda net=net: _timed(lambda: workspace.RunNet(net))
    import caffe2op_mask  # noqa: F401: stock nets must exist before this line

    net, outputs[OURS] = _net(case, "ours")
    contenders[OURS] = lambda net=net: _timed(lambda: workspace.RunNet(net))
    if case.reference == "copy":
        copy = _copy_net(case)
        contenders[COPY] = lambda: _timed(lambda: workspace.RunNet(copy))
    size = int(case.moved if case.reference == "memcpy_read" else case.moved / 2)
    source, target = np.ones(size, dtype=np.uint8), np.ones(size, dtype=np.uint8)
    contenders["memcpy"] = lambda: _timed(lambda: np.copyto(target, source))
    for name, function in case.peers.items():
        contenders[name] = lambda function=function: _timed(function)
    import torch

    for name, function in case.torch_peers(torch).items():
        contenders["torch {} {}".format(torch.__version__.split("+")[0], name)] = (
            lambda function=function: _timed(function))
    worker = Worker(torch_python, case_name) if torch_python else None
    for name in worker.names if worker else []:
        contenders[name] = lambda name=name: worker.time(name)

    best = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            _wash()
            best[name] = min(best.get(name, float("inf")), run() * 1e3)
    if worker:
        worker.close()
    if case.stock:
        for stock, ours in zip(outputs[STOCK], outputs[OURS]):
            if workspace.FetchBlob(stock).tobytes() != workspace.FetchBlob(ours).tobytes():
                sys.exit("{}: stock and caffe2op_mask disagree on {}.".format(case_name, ours))
    reference = best[COPY] if case.reference == "copy" else best["memcpy"]
    return {
        "case": case_name,
        "ms": best,
        "moved": int(case.moved),
        "reference": "Copy" if case.reference == "copy" else "memcpy",
        "reference_ms": reference,
        "target_ms": None if case.target is None else case.target * reference + case.allowance,
        "target": case.target,
        "allowance": case.allowance,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--torch-python", help="a Python with another torch to run beside")
    options = parser.parse_args()
    print(json.dumps(measure(options.case, options.rounds, options.torch_python)))


if __name__ == "__main__":
    main()
