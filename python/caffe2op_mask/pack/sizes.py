"""Sizes that are read of what need not be computed for them."""

from caffe2.proto import caffe2_pb2
from caffe2.python import utils

from caffe2op_mask.fuse import given
from caffe2op_mask.fuse.graph import Graph, list_argument
from caffe2op_mask.pack.demands import can_move


def without_transposes_for_sizes(net):
    """A net whose Shape reads what a Transpose does, which goes where nobody else reads it.

    As exporters write it of keys, whose product with queries fuse takes.
    """
    graph = Graph(net)
    outputs, ops, gone = set(graph.outputs()), list(graph.ops), set()
    for index, op in enumerate(graph.ops):
        if not _is_transpose(graph, op):
            continue
        value, before = graph.output(index), graph.inputs[index][0]
        readers = graph.readers(value)
        is_kept = graph.is_kept(value) or value.blob in outputs and graph.last(value.blob) == value
        if is_kept or not readers or not all(
            _reads_sizes(graph, reader, value) and graph.is_there(before, reader, ())
            for reader in readers
        ):
            continue
        for reader in readers:
            ops[reader] = _of_sizes(ops[reader], before.blob, list_argument(op, "axes"))
        gone.add(index)
    found = caffe2_pb2.NetDef()
    found.CopyFrom(net)
    given.replace_operators(found, [op for index, op in enumerate(ops) if index not in gone])
    return found


def _is_transpose(graph, op):
    return op.type == "Transpose" and bool(list_argument(op, "axes")) and can_move(graph, op)


def _reads_sizes(graph, index, value):
    """Whether an operator reads no more of a value than its sizes."""
    op = graph.ops[index]
    axes = list_argument(op, "axes") or ()
    is_plain = op.type == "Shape" and len(op.input) == 1 and can_move(graph, op)
    return is_plain and value not in graph.named[index] and all(axis >= 0 for axis in axes)


def _of_sizes(op, blob, order):
    """Shape of what was not transposed."""
    found = caffe2_pb2.OperatorDef()
    found.CopyFrom(op)
    del found.input[:], found.arg[:]
    found.input.append(blob)
    axes = list_argument(op, "axes") or range(len(order))
    found.arg.extend([utils.MakeArgument("axes", [order[axis] for axis in axes])])
    return found
