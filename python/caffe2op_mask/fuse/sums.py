"""Biases, and masks that are added: Add and Sub."""

import numpy as np

from caffe2op_mask.fuse import bands
from caffe2op_mask.fuse.declined import Declined, known_shape
from caffe2op_mask.fuse.expressions import make
from caffe2op_mask.fuse.graph import SCALES, argument
from caffe2op_mask.fuse.limits import LARGE, LOW, VANISHES
from caffe2op_mask.fuse.shapes import broadcasts, product


def take_add(scores, index, op):
    _take_sum(scores, index, op, False)


def take_sub(scores, index, op):
    _take_sum(scores, index, op, True)


def _take_sum(scores, index, op, subtracts):
    inputs = scores.graph.inputs[index]
    if scores.tail:
        raise Declined("a dim of 1 follows its columns")
    if scores.empty_row == "uniform":
        raise Declined("a mask with a finite fill follows")
    if abs(scores.scale) > LARGE:
        raise Declined("its scale, {:g}, is that of a mask".format(scores.scale))
    shapes = [known_shape(scores.facts, value) for value in inputs]
    legacy = argument(op, "broadcast", 0)
    if not _is_placed_as_by_numpy(op, shapes):
        raise Declined("its axis places the bias as NumPy would not")
    # Either may be the scores, if it has the shape of the sum; better the one to walk on by.
    orders = [inputs] if legacy or subtracts else [inputs, inputs[::-1]]
    orders = [
        (x, bias)
        for x, bias in orders
        if broadcasts(scores.facts.shape(bias), scores.facts.shape(x))
    ]
    if not orders:
        raise Declined("neither of {} and {} broadcasts to the other".format(*shapes))
    x, bias = max(orders, key=lambda order: _looks_like_scores(scores, order))
    if _take_mask_by_arithmetic(scores, index, x, bias, subtracts):
        return
    if scores.is_finite and not scores.is_no_mask(bias) and not scores.may_dare():
        raise Declined("the fill, {:g}, is finite, and a bias may be as low".format(scores.fill))
    if not subtracts and scores.scale > 0 and _take_mask_in_bias(scores, index, x, bias):
        return
    array = scores.facts.array(bias)
    keep = None if array is None or array.dtype.kind != "f" else array == 0
    shape = scores.facts.shape(x)
    band = None if keep is None else bands.of_constant(scores.facts, bias, keep, shape)
    triangle = None
    if band is not None:
        lows = -array[~keep] if subtracts else array[~keep]
        if (lows == -np.inf).all() and scores.scale > 0:
            scores.check_band_fits(band)
            scores.take_fill(-np.inf)
            scores.masked(index, x)
            scores.add_band(band)
            scores.take_constant(bias)
            return
        if (lows <= LOW).all() and bands.every_row_keeps(keep) and scores.scale == 1:
            triangle = bias, band, float(lows.max())
    scores.masked(index, x)
    bias = scores.unexpanded(bias)
    added = make("Negative", [bias], scores.facts.shape(bias)) if subtracts else bias
    if scores.scale != 1.0:
        added = make("Scale", [added], scores.facts.shape(bias), scale=scores.scale)
    scores.biases.append(added)
    if triangle is not None:
        scores.additive = (added,) + triangle


def _is_placed_as_by_numpy(op, shapes):
    """Whether the second input is aligned to the last dims of the first, or is one number."""
    if not argument(op, "broadcast", 0) or product(shapes[1]) == 1:
        return True
    suffix = len(shapes[0]) - len(shapes[1])
    return not argument(op, "axis_str", "") and argument(op, "axis", -1) in (-1, suffix)


def _looks_like_scores(scores, order):
    """Products before what may be scores before what is read from elsewhere."""
    x, bias = order
    kind = scores.graph.type(x)
    factor = scores.facts.factor(x.writer)[0] if kind in SCALES else None
    return (
        not scores.facts.is_constant(x),
        kind in ("BatchMatMul", "MatMul"),
        kind in ("SequenceMask", "Where", "Add", "ATen") + SCALES and abs(factor or 1) <= LARGE,
        scores.facts.is_constant(bias),
    )


def _take_mask_by_arithmetic(scores, index, x, bias, subtracts):
    """x * b + c with constants: b 1 and c 0 for what is kept, b 0 and c low for the rest."""
    graph, facts = scores.graph, scores.facts
    low = facts.array(bias)
    if low is None or low.dtype.kind != "f" or graph.type(x) != "Mul":
        return False
    if not graph.is_only_read_by(x, scores.indices | {index}):
        return False
    inputs = graph.inputs[x.writer]
    factors = [value for value in inputs if facts.array(value) is not None]
    if len(factors) != 1 or facts.number(factors[0]) is not None:
        return False
    keep = facts.array(factors[0])
    before = inputs[1] if factors[0] == inputs[0] else inputs[0]
    shapes = [known_shape(facts, value) for value in inputs]
    if not broadcasts(keep.shape, known_shape(facts, before)):
        return False
    if not _is_placed_as_by_numpy(graph.ops[x.writer], shapes):
        return False
    low = -low if subtracts else low
    try:
        keep, low = np.broadcast_arrays(keep, low)
    except ValueError:
        return False
    fills = low[keep == 0]
    if not (((keep == 1) & (low == 0)) | (keep == 0)).all() or not len(set(fills.flat)) == 1:
        return False
    band = bands.of_constant(facts, factors[0], keep != 0, facts.shape(before))
    if band is None:
        return False
    scores.check_band_fits(band)
    scores.take_fill(float(fills[0]))
    scores.masked(index, x)
    scores.masked(x.writer, before)
    scores.add_band(band)
    for constant in (factors[0], bias):
        scores.take_constant(constant)
    return True


def _take_mask_in_bias(scores, index, x, bias):
    """A bias that a Where made, of -inf and 0 or a triangle of -inf: masks, of which tiles know."""
    graph, facts = scores.graph, scores.facts
    op = graph.writer(bias)
    if op is None or op.type not in ("Where", "ATen") or argument(op, "broadcast_on_rows", 0):
        return False
    if op.type == "ATen" and argument(op, "operator", "") != "where":
        return False
    if not graph.is_only_read_by(bias, scores.indices | {index}):
        return False
    mask, first, second = graph.inputs[bias.writer]
    fills_true = facts.number(first) == -np.inf
    filler, rest = (first, second) if fills_true else (second, first)
    if facts.number(filler) != -np.inf or not broadcasts(known_shape(facts, mask), facts.shape(x)):
        return False
    band = None
    if facts.number(rest) != 0:
        array = facts.array(rest)
        if array is None or not np.isin(array, (0, -np.inf)).all():
            return False
        band = bands.of_constant(facts, rest, array == 0, facts.shape(x))
        if band is None:
            return False
        scores.check_band_fits(band)
    scores.take_fill(-np.inf)
    scores.masked(index, x)
    scores.indices.add(bias.writer)
    keep = scores.as_bool(scores.unexpanded(mask), op.type == "ATen")
    scores.add_mask(scores.negated(keep) if fills_true else keep)
    if band is not None:
        scores.add_band(band)
    for constant in (filler, rest):
        scores.take_constant(constant)
    return True


def settle(scores):
    """Makes a finite triangle that is added a mask, unless anything else hides or is added."""
    if scores.additive is None or scores.empty_row is not None:
        return
    added, value, band, low = scores.additive
    others = scores.parts or scores.side or scores.window != [None, None]
    others = others or len(scores.biases) > 1 or scores.mask_before() is not None
    if added not in scores.biases or (others and not scores.may_dare()):
        return
    scores.biases.remove(added)
    scores.add_band(band)
    scores.take_constant(value)
    scores.notes.append(
        "equal unless a score that '{}' lowers by {:.10g} is less than that, or not by {}, above "
        "all that its row keeps".format(value.blob, -low, VANISHES)
    )
