"""Operators that regroup the rows of scores."""

from caffe2op_mask.fuse.declined import Declined, known_shape
from caffe2op_mask.fuse.expressions import squeeze
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.mask_shapes import INPUTS

VIEWS = ("Reshape", "Squeeze", "ExpandDims", "Flatten", "FlattenToVec", "MergeDim", "PrependDim")


def take_view(scores, index, op):
    """A regrouping of rows; masks that were taken must hold for the rows before it as well."""
    x = scores.graph.inputs[index][0]
    after, before = (scores.facts.shape(value) for value in (scores.x, x))
    if after is None or before is None or not after or not before:
        raise Declined("not a view of known shapes")
    if scores.tail:
        after = after[: len(after) - scores.tail]
    if not before or before[-1] != after[-1] or product(before) != product(after):
        # Columns with dims of 1 behind them may come to be last.
        raise Declined("its columns change")
    keeps_rows = before[-2:] == after[-2:]
    if scores.rows_are_known and not keeps_rows:
        raise Declined("rows of a triangle are not the dim before the last of {}".format(before))
    moved = {name: _moved(scores, name, side, after, before) for name, side in scores.side.items()}
    scores.biases = [_moved(scores, "bias", bias, after, before) for bias in scores.biases]
    scores.side = moved
    scores.views.append(index)
    scores.tail = 0
    scores.passed(index, x)


def _moved(scores, name, side, after, before):
    """A side input for rows that are grouped otherwise."""
    shape = known_shape(scores.facts, side)
    if name in INPUTS:
        if shape == (product(after[:-1]),):
            return side  # one for each row
        raise Declined("{} {} are not one for each row".format(name, shape))
    if all(size == 1 for size in shape[:-2]) and before[-2:] == after[-2:]:
        extra = max(len(shape) - len(before), 0)
        return squeeze(scores.facts, side, range(extra)) if extra else side
    if all(size == 1 for size in shape[:-1]):
        extra = max(len(shape) - len(before), 0)
        return squeeze(scores.facts, side, range(extra)) if extra else side
    raise Declined("{} {} is by dims that are regrouped".format(name, shape))
