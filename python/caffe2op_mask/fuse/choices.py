"""Masks by choice: Where, and the where and masked_fill of ATen."""

from caffe2op_mask.fuse.declined import Declined, known_shape
from caffe2op_mask.fuse.graph import argument
from caffe2op_mask.fuse.shapes import broadcasts


def take_where(scores, index, op):
    if argument(op, "broadcast_on_rows", 0):
        raise Declined("its mask is by rows (broadcast_on_rows)")
    _take_choice(scores, index, *scores.graph.inputs[index])


def take_aten(scores, index, op):
    inputs, name = scores.graph.inputs[index], argument(op, "operator", "")
    if name == "where" and len(inputs) == 3:
        return _take_choice(scores, index, *inputs)
    if name == "masked_fill" and len(inputs) in (2, 3):
        fill = argument(op, "value", None, float)
        filler = inputs[2] if len(inputs) == 3 else None
        fill = scores.facts.number(filler) if filler is not None else fill
        return _take_fill_where(scores, index, inputs[1], inputs[0], fill, filler, True)
    raise Declined("ATen's {} is no mask that is known".format(name or "operator"))


def _take_choice(scores, index, mask, first, second):
    """Where: `first` where the mask is True, `second` elsewhere."""
    fills = [scores.facts.number(value) for value in (first, second)]
    if fills[1] is not None and fills[0] is None:
        return _take_fill_where(scores, index, mask, first, fills[1], second, False)
    if fills[0] is not None and fills[1] is None:
        return _take_fill_where(scores, index, mask, second, fills[0], first, True)
    raise Declined("'{}' is not a constant of the net".format(second.blob))


def _take_fill_where(scores, index, mask, x, fill, filler, fills_true):
    if fill is None:
        raise Declined("its fill is not a constant of the net")
    if scores.tail:
        raise Declined("a dim of 1 follows its columns")
    if scores.graph.ops[index].type == "ATen":
        # Of ATen's, either side may be broadcast.
        shapes = [known_shape(scores.facts, value) for value in (mask, x)]
        if not broadcasts(*shapes):
            raise Declined("its mask {} does not broadcast to {}".format(*shapes))
    band = scores.band_of(mask, fills_true)
    if band is not None:
        scores.check_band_fits(band)
    scores.take_fill(fill)
    scores.masked(index, x)
    if band is not None:
        scores.add_band(band)
        scores.take_constant(mask)
    else:
        mask = scores.unexpanded(mask)
        keep = scores.as_bool(mask, scores.graph.ops[index].type == "ATen")
        scores.add_mask(scores.negated(keep) if fills_true else keep)
    if filler is not None:
        scores.take_constant(filler)
