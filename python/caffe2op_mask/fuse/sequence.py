"""Masks by shape: SequenceMask."""

import numpy as np
from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse.declined import Declined, from_the_end
from caffe2op_mask.fuse.expressions import make
from caffe2op_mask.fuse.graph import argument, number_argument
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.mask_shapes import READS, SHAPES, TRIANGLES


def take_sequence_mask(scores, index, op):
    graph, facts = scores.graph, scores.facts
    x, side = graph.inputs[index][0], graph.inputs[index][1:]
    shape = facts.shape(x)
    parts = argument(op, "mode", "").split("+")
    is_mask = parts == ["mask"]
    fill = number_argument(op, "fill_val", 0.0 if is_mask else -np.inf)
    fill = 0.0 if argument(op, "grad", 0) else fill
    if not is_mask and not set(parts) <= set(SHAPES):
        raise Declined("its mode is '{}'".format("+".join(parts)))
    names = [name for name, part in READS + (("mask", "mask"),) if part in parts]
    if len(side) < len(names):
        raise Declined("it has no {}".format(names[len(side)]))
    side = dict(zip(names, side))
    for name in names:
        if name in scores.side:
            raise Declined("there is another input of this kind, " + name)
    if is_mask:
        dims = facts.shape(side["mask"])
        if shape is None or dims is None or len(dims) != len(shape) or scores.tail:
            raise Declined("its mask may have fewer dims than '{}'".format(x.blob))
    else:
        _check_axes(op, x, shape, parts, scores.tail)
        if _repeats_over_batch(op, shape, [facts.shape(value) for value in side.values()]):
            return _take_repeated_mask(scores, index, op, list(side.values()), shape, fill)
        for name, value in side.items():
            _check_prefix(op, name, facts.shape(value), x, shape, value)
    diagonal = argument(op, "diagonal", 0)
    triangles = set(parts) & set(TRIANGLES)
    if triangles and set(scores.parts) & set(TRIANGLES) and diagonal != scores.diagonal:
        raise Declined("there is another diagonal, {}".format(scores.diagonal))
    scores.take_fill(fill)
    if triangles:
        scores.diagonal = diagonal
    if "window" in parts:
        scores.radius = argument(op, "radius", 10)
    if not is_mask:
        scores.parts = parts + [part for part in scores.parts if part not in parts]
    scores.side.update(side)
    scores.masked(index, x)


def _take_repeated_mask(scores, index, op, sides, shape, fill):
    """A SequenceMask with `batch`, by a mask for one batch that is broadcast to all."""
    if scores.tail:
        raise Declined("a dim of 1 follows its columns")
    scores.take_fill(fill)
    batch = argument(op, "batch", None, int) % len(shape)
    of_one = (1,) * (batch + 1) + shape[batch + 1 :]
    kind = int(caffe2_pb2.TensorProto.BOOL)
    ones = make("ConstantFill", [], of_one, shape=of_one, dtype=kind, value=1)
    arguments = {
        name: argument(op, name, None, object)
        for name in ("mode", "radius", "diagonal")
        if argument(op, name, None, object) is not None
    }
    # The runtime's own knows no bool.
    arguments.update(axis=-1, batch=batch, fill_val=0, engine="MASK")
    scores.masked(index, scores.graph.inputs[index][0])
    scores.add_mask(make("SequenceMask", [ones] + sides, of_one, **arguments))


def _repeats_over_batch(op, shape, indices):
    """Whether `indices` are those of the rows behind `batch`, the same for each batch."""
    batch = argument(op, "batch", None, int)
    if batch is None or shape is None or argument(op, "lengths_of", "rows") == "batch":
        return False
    batch, axis = batch % len(shape), argument(op, "axis", 1) % len(shape)
    rows = product(shape[batch + 1 : axis])
    repeats = product(shape[: batch + 1]) != 1
    return bool(repeats and indices and all(one and product(one) == rows for one in indices))


def _check_axes(op, x, shape, parts, tail):
    """Checks that rows and columns of a SequenceMask are the last two dims, before `tail`."""
    rank = None if shape is None else len(shape)
    repeats = any(arg.name == "repeat_from_axis" for arg in op.arg)
    if repeats and not (tail and argument(op, "repeat_from_axis", 0) in (-tail, rank - tail)):
        raise Declined("repeat_from_axis masks dims behind the columns")
    axis = from_the_end(argument(op, "axis", 1), rank)
    if axis is None:
        raise Declined(
            "the rank of '{}' is not known, so its axis may not be the last".format(x.blob), [x]
        )
    if axis != -1 - tail:
        raise Declined("its axis is not the last of '{}'".format(x.blob))
    if not set(parts) & set(TRIANGLES) or rank == 1:
        return
    if tail:
        raise Declined("a dim of 1 follows its columns")
    batch = argument(op, "batch", None, int)
    batch = None if batch is None else from_the_end(batch, rank)
    if batch == -3 or (batch is None and rank == 2):
        return
    if shape is None:
        reason = "rows of its triangle are not known to be one dim of '{}'".format(x.blob)
        raise Declined(reason, [x])
    matrix = shape[:-1] if batch is None else shape[rank + batch + 1 : -1]
    if product(matrix[:-1]) != 1 or (not matrix and shape[-2] != 1):
        raise Declined("rows of its triangle are not the dim before the last of {}".format(shape))


def _check_prefix(op, name, index, x, shape, value):
    """Checks that what a shape reads has one entry for each position of leading dims."""
    if argument(op, "lengths_of", "rows") == "batch":
        return
    if shape is None or index is None:
        reason = "the shapes of '{}' and its {} are not known".format(x.blob, name)
        raise Declined(reason, [x, value])
    axis = argument(op, "axis", 1) % len(shape)
    batch = argument(op, "batch", None, int)
    left = () if batch is None else shape[: (batch % len(shape)) + 1]
    if product(left) == 1 and index == (product(shape[:axis]),):
        return  # one for each row
    if index != shape[: len(index)] or len(index) >= len(shape) or product(left) != 1:
        raise Declined(
            "its {} {} are not by leading dims of '{}' {}".format(name, index, x.blob, shape)
        )
