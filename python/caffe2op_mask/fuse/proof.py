"""Runs a net before and after fusing on the same inputs: differences and times."""

import collections
import time

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from caffe2op_mask.fuse.facts import CannotRun, feed, is_deterministic, run_operator, view
from caffe2op_mask.fuse.graph import Graph
from caffe2op_mask.text import sentence

# How far an output, or the gradient of an input, is from what it was: its largest difference, and
# the largest number that it is held against.
Difference = collections.namedtuple("Difference", "blob largest magnitude")

_MOST_SECONDS = 1.0  # of timing
_MOST_RUNS = 200


def start(init, feeds):
    """What nets find: a function that puts it into a Workspace, the same each time."""
    drawn = {}
    if init is not None and not all(map(is_deterministic, init.op)):
        first = workspace.C.Workspace()
        _feed_all(first, feeds)
        _run_all(first, init)
        for blob in {blob for op in init.op for blob in op.output}:
            try:
                drawn[blob] = first.create_blob(blob).serialize(blob)
            except RuntimeError:
                pass  # no tensor, such as a mutex: each workspace gets one of its own

    def fill(space):
        _feed_all(space, feeds)
        if init is not None:
            _run_all(space, init)
        for blob, content in drawn.items():
            space.create_blob(blob).deserialize(content)
        _feed_all(space, feeds)

    return fill


def _feed_all(space, feeds):
    for blob, array in feeds.items():
        feed(space, blob, array)


def _run_all(space, net):
    graph = Graph(net)
    for op in graph.ops:
        run_operator(space, graph.runnable(op))


class Running(object):
    """A net in a workspace of its own that is filled."""

    def __init__(self, net, fill):
        self._space = workspace.C.Workspace()
        fill(self._space)
        copy = caffe2_pb2.NetDef()
        copy.CopyFrom(net)
        copy.name = copy.name or "net"
        if copy.external_input:
            # The runtime wants all of them declared, and exporters leave parameters out.
            missing = set(Graph(net).found()) - set(copy.external_input)
            copy.external_input.extend(sorted(missing))
        try:
            self._net = self._space.create_net(copy)
        except RuntimeError as error:
            raise CannotRun("the net cannot be created: {}.".format(sentence(str(error))))

    def run(self):
        """Runs the net; returns seconds."""
        begin = time.perf_counter()
        try:
            self._net.run()
        except (RuntimeError, MemoryError) as error:
            raise CannotRun("the net fails: {}.".format(sentence(str(error))))
        return time.perf_counter() - begin

    def fetch(self, blobs):
        """{blob: a copy of its array} of those that are tensors of numbers."""
        arrays = {blob: view(self._space, blob) for blob in blobs}
        return {
            blob: array.copy()
            for blob, array in arrays.items()
            if array is not None and array.dtype.kind in "fiub"
        }


def compared(before, after):
    """Blobs to compare of two nets: (outputs, gradients)."""
    graphs = [Graph(net) for net in (before, after)]
    alike = {blob for blob in graphs[0].blobs if all(graph.is_written(blob) for graph in graphs)}
    gradients = {name + "_grad" for name in graphs[0].found() + list(before.external_input)} & alike
    outputs = set(graphs[0].outputs()) & alike - gradients
    return sorted(outputs), sorted(gradients)


def differences(before, after, fill, failures):
    """([Difference of each output], [of each gradient]) of two nets on what `fill` gives.

    Where the second does not run all differ by infinity, and the reason is added to `failures`.
    """
    outputs, gradients = compared(before, after)
    old, new = _results(before, fill, outputs + gradients), {}
    try:
        new = _results(after, fill, outputs + gradients)
    except CannotRun as error:
        failures.append(str(error))
    # Some gradients are nothing but rounding: held against the largest of all they are none.
    largest = max([_magnitude(old[blob]) for blob in gradients if blob in old] + [0])
    return (
        [difference(blob, old[blob], new.get(blob), None) for blob in outputs if blob in old],
        [difference(blob, old[blob], new.get(blob), largest) for blob in gradients if blob in old],
    )


def _results(net, fill, blobs):
    running = Running(net, fill)
    running.run()
    return running.fetch(blobs)


def _magnitude(array):
    array = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(array.max()) if array.size else 0.0


def difference(blob, before, after, magnitude):
    magnitude = _magnitude(before) if magnitude is None else magnitude
    if after is None or before.shape != after.shape:
        return Difference(blob, np.inf, magnitude)
    before, after = before.astype(np.float64), after.astype(np.float64)
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(before - after))
    apart = np.where(np.isnan(apart), np.inf, apart)
    return Difference(blob, float(apart.max()) if apart.size else 0.0, magnitude)


def share(difference):
    """A difference as a share of the largest number that it is held against."""
    return difference.largest / (difference.magnitude or 1)


def milliseconds(before, after, fill, least=1):
    """(best time before, best time after, runs of each), in turns, of which there are `least`."""
    nets = [Running(net, fill) for net in (before, after)]
    best, spent, runs = [np.inf, np.inf], 0.0, 0
    for net in nets:
        net.run()
    while runs < least or (spent < _MOST_SECONDS and runs < _MOST_RUNS):
        for i, net in enumerate(nets):
            seconds = net.run()
            spent += seconds
            best[i] = min(best[i], seconds * 1e3)
        runs += 1
    return best[0], best[1], runs
