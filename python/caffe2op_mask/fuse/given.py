"""What rewriting of a net is given: nets, inputs, and the runs on them."""

import numbers

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core

from caffe2op_mask.checks import check_counts
from caffe2op_mask.fuse.facts import CannotRun, Facts
from caffe2op_mask.fuse.graph import all_operators


def nets(who, net, init):
    """(NetDef, NetDef or None) of a net and the one that fills its parameters, checked."""
    proto, init = _proto(who, "net", net), None if init is None else _proto(who, "init", init)
    for one in (proto, init or caffe2_pb2.NetDef()):
        check_counts(who, all_operators(one))  # the rest relies on it
    return proto, init


def _proto(who, name, net):
    if isinstance(net, core.Net):
        return net.Proto()
    if isinstance(net, caffe2_pb2.NetDef):
        return net
    raise TypeError(
        "{}: {} must be a core.Net or a NetDef, but is {}.".format(who, name, type(net).__name__)
    )


def check_tolerance(who, tolerance):
    if not isinstance(tolerance, numbers.Real) or not 0 <= tolerance < float("inf"):
        raise ValueError(
            "{}: tolerance must be a number of at least 0, but is {!r}.".format(who, tolerance)
        )


def inputs(who, arrays):
    """A list of {blob: array}."""
    several = [arrays] if isinstance(arrays, dict) else arrays
    if not isinstance(several, (list, tuple)) or not several:
        several = [None]
    if not all(isinstance(feeds, dict) for feeds in several):
        raise TypeError(
            "{}: inputs must be a dict from blobs to arrays, or a list of some, but is "
            "{!r}.".format(who, arrays)
        )
    return [{str(blob): np.asarray(array) for blob, array in feeds.items()} for feeds in several]


def facts_of_runs(who, graph, init, inputs, report):
    """Facts of a run on each of the inputs, to which a second batch may be added."""
    try:
        facts = [Facts(graph, init, feeds) for feeds in inputs]
    except CannotRun as error:
        raise ValueError("{}: {}".format(who, error))
    if len(inputs) > 1:
        return facts
    # RecurrentNetwork trusts its inputs to fit, and time comes before the batch.
    reason = "a RecurrentNetwork does not check others."
    if not any(op.type == "RecurrentNetwork" for op in graph.ops):
        try:
            larger = _larger_batch(inputs[0])
            facts.append(Facts(graph, init, larger))
            inputs.append(larger)
            return facts
        except CannotRun as error:
            reason = str(error)
    report.notes.append("Only the sizes of the inputs were tried: {}".format(reason))
    return facts


def _larger_batch(feeds):
    """The feeds, with those of the first dim that most have twice behind themselves."""
    firsts = [array.shape[0] for array in feeds.values() if array.ndim]
    batch = max(firsts, key=firsts.count) if firsts else None
    return {
        blob: np.concatenate([array, array]) if array.ndim and array.shape[0] == batch else array
        for blob, array in feeds.items()
    }


def replace_operators(net, ops):
    """Gives a core.Net or NetDef other operators."""
    proto = net.Proto() if isinstance(net, core.Net) else net
    ops = [caffe2_pb2.OperatorDef.FromString(op.SerializeToString()) for op in ops]
    del proto.op[:]
    proto.op.extend(ops)
    if isinstance(net, core.Net):
        net._InvalidateLookupTables()
