"""fuse: stock operators that mask and then normalise, made into the operators that do both."""

import collections
import operator

from caffe2.proto import caffe2_pb2
from caffe2.python import core

from caffe2op_mask.checks import check_counts, is_shape
from caffe2op_mask.fuse.fusion import fusion_at
from caffe2op_mask.fuse.graph import Graph
from caffe2op_mask.fuse.scores import Declined

__all__ = ["Fused", "LeftAlone", "Report", "fuse"]

Fused = collections.namedtuple("Fused", "operators output into notes")
LeftAlone = collections.namedtuple("LeftAlone", "operators output reason")


class Report(object):
    """What `fuse` did.

    fused       a list of Fused: types of the operators that went, the blob that is their result,
                the type of the operator that is there instead, and notes: what was assumed, or
                stayed as it was
    left_alone  a list of LeftAlone: types of the operators, the blob that is their result, and why
    """

    def __init__(self):
        self.fused = []
        self.left_alone = []

    def __str__(self):
        lines = [
            "{} -> '{}': fused into {}{}".format(
                ", ".join(one.operators),
                one.output,
                one.into,
                "".join("; " + note for note in one.notes),
            )
            for one in self.fused
        ]
        lines += [
            "{} -> '{}': left alone, {}".format(", ".join(one.operators), one.output, one.reason)
            for one in self.left_alone
        ]
        lines.append("{} fused, {} left alone.".format(len(self.fused), len(self.left_alone)))
        return "\n".join(lines)


def fuse(net, shapes=None, init=None):
    """Makes masks and their softmax one operator, in place; returns a Report.

    SequenceMask, a Where that fills with a constant, or an Add, with a scale or not, and the
    Softmax behind them become MaskedSoftmax. With a BatchMatMul before them (trans_b = 1) and one
    behind they become MaskedAttention, with its second output, so that gradients can be added; so
    do BatchMatMul, Softmax and BatchMatMul without a mask.

    net     a core.Net or a NetDef
    shapes  {blob: its shape}, for what does not follow from the net. They are taken as facts: for a
            size that changes from run to run give a number that no other size has, a prime say.
    init    the net (core.Net or NetDef) that fills parameters and constants, if there is one

    Only what gives equal results, to rounding, is fused; the report says why the rest is not. That
    takes for granted

    - that what init fills stays as it is. A scale or fill that is one number there becomes an
      argument, which the report notes, and is not learned any more: leave out of init what is;
    - that nobody fetches a blob between two of the operators, unless it is in external_output;
    - where the fill is finite, that some score kept in each row is more than 104 above it. A fill
      above -1e4 is never fused;
    - that no score or value is NaN or infinite. Stock Softmax spreads a NaN over its row, and so
      does BatchMatMul; here what is masked stays 0 and is not read.

    Rows with nothing kept stay what they were: NaN with a fill of -inf, else uniform. Nets in
    arguments, of If or While, are not looked into; what they name is left as it is.
    """
    proto, init = _proto("net", net), None if init is None else _proto("init", init)
    check_counts("fuse", proto.op)  # the rest relies on it
    shapes = _shapes(shapes)
    graph = Graph(proto, shapes, init)
    for blob in sorted(shapes):
        if blob not in graph.blobs:
            raise ValueError("fuse: shapes names '{}', which is no blob of the net.".format(blob))
    taken = set(graph.blobs)

    def fresh_name(name):
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def types(indices):
        return tuple(graph.ops[index].type for index in sorted(indices))

    report, gone, instead = Report(), set(), {}
    for index, op in enumerate(graph.ops):
        if op.type != "Softmax":
            continue
        try:
            fusion = fusion_at(graph, index, fresh_name)
        except Declined as declined:
            report.left_alone.append(
                LeftAlone(types(declined.indices), op.output[0], str(declined))
            )
            continue
        if fusion is not None:
            gone |= fusion.indices
            instead[fusion.last] = fusion.ops
            output = graph.ops[fusion.last].output[0]
            report.fused.append(
                Fused(types(fusion.indices), output, fusion.type, tuple(fusion.notes))
            )
    ops = []
    for index, op in enumerate(graph.ops):
        ops += instead.get(index, [] if index in gone else [op])
    _replace_ops(net, proto, ops)
    return report


def _proto(name, net):
    if isinstance(net, core.Net):
        return net.Proto()
    if isinstance(net, caffe2_pb2.NetDef):
        return net
    raise TypeError(
        "fuse: {} must be a core.Net or a NetDef, but is {}.".format(name, type(net).__name__)
    )


def _shapes(shapes):
    """The shapes that a caller tells, by the names of their blobs, as tuples of ints of Python."""
    if not isinstance(shapes, (dict, type(None))):
        raise TypeError(
            "fuse: shapes must be a dict from blobs to shapes, but is {!r}.".format(shapes)
        )
    found = {}
    for blob, shape in (shapes or {}).items():
        try:
            dims = tuple(operator.index(size) for size in shape)
        except TypeError:
            dims = (-1,)
        if not is_shape(dims):
            raise ValueError(
                "fuse: the shape of '{}' must be integers of at least 0 whose product is below "
                "2^63, but is {!r}.".format(blob, shape)
            )
        found[str(blob)] = dims
    return found


def _replace_ops(net, proto, ops):
    replaced = caffe2_pb2.NetDef()
    replaced.op.extend(ops)  # copies, before what they are of goes
    del proto.op[:]
    proto.op.extend(replaced.op)
    if isinstance(net, core.Net):
        net._InvalidateLookupTables()
