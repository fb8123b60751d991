"""Times one case in this process, everything in turn, and prints the figures as JSON.

    python benchmarks/measure.py "BooleanUnmask 4.2 M, two masks" --rounds 9

Stock operators are those of engine DEFAULT. Each contender first runs once, and its results are
compared with ours. Then each round runs every contender once; the best of the rounds counts.
"""

import json
import os
import subprocess
import sys
from collections import namedtuple

import numpy as np

import caffe2op_mask  # noqa: F401: the operators
import harness
from caffe2.python import workspace
from cases import find
from cases.case import OURS, OURS_NO_MASK, OURS_PADDED, STOCK, gradient_of

# A name, and of which torch. `run` does the work, and `results` makes of what it returns arrays by
# the names of ours; or `time` returns the milliseconds of one run in another process.
Contender = namedtuple("Contender", "name version run results time")
Contender.__new__.__defaults__ = ("", None, lambda returned: {}, None)


def full_name(contender):
    return " ".join(filter(None, [contender.version, contender.name]))


def _of_caffe2(case, name, operators, engine=""):
    """A net of the operators, and of their gradients to train, with blobs of its own."""
    def own(names):
        return [name + "/" + blob for blob in names]

    read = {blob for operator in operators for blob in operator.inputs}
    there = dict(case.inputs, d_output=case.d_output)
    if operators is not case.ours:
        there.update(case.stock_inputs)
    for blob, value in there.items():
        if blob in read:
            workspace.FeedBlob(name + "/" + blob, value)
    net = harness.net(name, [
        (op, own(inputs), own(outputs), arguments)
        for op, inputs, outputs, arguments in operators], engine)
    blobs = {blob: own([blob])[0] for operator in operators for blob in operator.outputs}
    if case.d_output is not None:
        workspace.FeedBlob(name + "/d_output", there["d_output"])
        output = case.ours[0].outputs[0]
        gradients = net.AddGradientOperators({blobs[output]: name + "/d_output"})
        blobs.update((gradient_of(blob), str(gradients[name + "/" + blob]))
                     for blob in case.trained if blob in read)
    as_ours = (lambda array: array) if operators is case.ours else case.unpad
    return Contender(name, run=harness.create(net), results=lambda returned: {
        result: as_ours(workspace.FetchBlob(blob)) for result, blob in blobs.items()
        if result in case.results})


def _copies(case):
    """What the time is given as a multiple of, beside peers."""
    if case.reference == "Copy":
        workspace.FeedBlob("copy/in", next(iter(case.inputs.values())))
        yield Contender("Copy", run=harness.create(
            harness.net("copy", [("Copy", ["copy/in"], ["copy/out"], {})])))
    if case.moved is not None:
        size = int(case.moved if case.reference == "memcpy_read" else case.moved / 2)
        source, target = np.ones(size, dtype=np.uint8), np.ones(size, dtype=np.uint8)
        yield Contender("memcpy", run=lambda: np.copyto(target, source))


def _peers(case, functions, version=""):
    def results(returned):
        if not isinstance(returned, dict):
            returned = returned if isinstance(returned, tuple) else (returned,)
            returned = dict(zip(case.results, returned))
        return {
            name: case.unpad(np.asarray(value.detach() if hasattr(value, "detach") else value))
            for name, value in returned.items()}

    for name, function in functions.items():
        if name in case.yardsticks:
            yield Contender(name, version, function)
        else:
            yield Contender(name, version, function, results)


def contenders(case):
    """All in this process; ours is the first."""
    import torch

    torch.manual_seed(1)
    version = "torch " + torch.__version__.split("+")[0]
    found = [_of_caffe2(case, OURS, case.ours)]
    if case.stock:
        found.append(_of_caffe2(case, STOCK, case.stock, "DEFAULT"))
    if case.padded:
        found.append(_of_caffe2(case, OURS_PADDED, case.padded))
    if case.no_mask:
        without = _of_caffe2(case, OURS_NO_MASK, case.no_mask)
        found.append(without._replace(results=lambda returned: {}))
    return (found + list(_copies(case)) + list(_peers(case, case.peers))
            + list(_peers(case, case.torch_peers(torch), version)))


def _agree(case, contender, ours, theirs):
    """Stock's operator agrees with ours to the byte; another computes in another order."""
    if ours.shape != theirs.shape:
        return False
    if contender.name == STOCK and case.stock is case.ours:
        return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
    if ours.dtype.kind != "f" and not case.drawn:
        return np.array_equal(ours, theirs)
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if case.drawn:  # The mean and the root of the mean of squares, to a fifth of the latter.
        size = np.sqrt((theirs ** 2).mean())
        return (abs(ours.mean() - theirs.mean()) <= size / 5
                and abs(np.sqrt((ours ** 2).mean()) - size) <= size / 5)
    finite = abs(theirs[np.isfinite(theirs)])
    return np.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * finite.max() if finite.size else 0)


def disagreement(case, contender, ours, theirs):
    """The first of the results that differs, by its name; None where all agree."""
    for result in theirs:
        if result in ours and not _agree(case, contender, ours[result], theirs[result]):
            return result
    return None


def check(name, case, found):
    """Runs each contender once, and ends the process where one has other results than ours."""
    ours = None
    for contender in found:
        theirs = contender.results(contender.run())
        ours = ours or theirs
        result = disagreement(case, contender, ours, theirs)
        if result is not None:
            sys.exit("{}: {} and {} disagree on {}.".format(
                name, full_name(contender), OURS, result))


class Worker:
    """The torch of another Python, run one call at a time from here."""

    def __init__(self, python, case_name):
        self._process = subprocess.Popen(
            [python, os.path.join(harness.FOLDER, "torch_worker.py"), case_name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        self.contenders = [Contender(name, version, time=lambda name=name: self._time(name))
                           for version, name in json.loads(self._process.stdout.readline())]

    def _time(self, name):
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


def measure(spec, rounds, torch_python=None):
    """Best milliseconds of every contender of a case, and what they are held against."""
    case = spec.case()
    found = contenders(case)
    check(spec, case, found)
    worker = Worker(torch_python, str(spec)) if torch_python else None
    found = [one for one in found + (worker.contenders if worker else [])
             if one.name not in case.untimed]
    best = harness.best_of(rounds, {
        full_name(one): one.time or (lambda run=one.run: harness.timed(run)) for one in found},
        _wash)
    if worker:
        worker.close()
    # As the case calls it; of several torches the last, which is the current.
    named = {one.name: full_name(one) for one in found}
    peers = set(case.peers) | {one.name for one in found if one.version}
    reference = named["memcpy" if case.reference == "memcpy_read" else case.reference]
    return {
        "case": str(spec),
        "fields": spec.fields,
        "ms": best,
        "names": {full_name(one): one.name for one in found},
        "peers": [full_name(one) for one in found if one.name in peers - set(case.yardsticks)],
        "moved": None if case.moved is None else int(case.moved),
        "kept": case.kept,
        "reference": reference,
        "reference_ms": best[reference],
        "targets": [dict(target._asdict(), of=named.get(target.of, target.of),
                         of_ms=best.get(named.get(target.of))) for target in case.targets],
    }


def main():
    parser = harness.parser(__doc__, rounds=9, output=False)
    parser.add_argument("case", metavar="CASE", help="its name")
    parser.add_argument("--torch-python", help="a Python with another torch to run beside")
    options = parser.parse_args()
    try:
        spec = find(options.case)
    except KeyError:
        parser.error("no case is named {!r}".format(options.case))
    print(json.dumps(measure(spec, options.rounds, options.torch_python)))


if __name__ == "__main__":
    main()
