"""Which entries of each value have a say in what the net is run for.

A walk from the last operator to the first. Outputs of the net are wanted whole. An operator that
works row by row wants of its inputs the rows that are wanted of its outputs; one that masks wants
of what it masks the rows that are kept, whatever is wanted of it; all others want their inputs
whole. So a row of padding that is not wanted may hold anything.
"""

import collections

from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse.fusion import engine_is_of_no_matter
from caffe2op_mask.fuse.graph import Value, argument, list_argument, sub_nets
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.fuse.views import VIEWS
from caffe2op_mask.pack.layouts import (
    BATCH,
    ROW,
    dims,
    fits,
    has_labels,
    is_whole,
    layout_of,
    operand,
    regrouped,
    transposed,
)
from caffe2op_mask.pack.masks import BIAS, is_plain_sequence
from caffe2op_mask.pack.nans import may_become_nan
from caffe2op_mask.pack.sources import attention_sides, key_sources

# What is wanted of a value: `Rows`, those that are kept, which stand as `layout` says; or the
# `Whole`, and why. None is nothing, or its sizes alone.
Rows = collections.namedtuple("Rows", "layout")
Whole = collections.namedtuple("Whole", "reason")

# Each entry by itself: of one input, and of several that are broadcast.
UNARY = frozenset(
    "Abs Cast Ceil Clip Copy Cos Elu Erf Exp Floor Gelu HardSigmoid LeakyRelu Log Logit Negative "
    "Not Reciprocal Relu Rsqrt Scale Selu Sigmoid Sign Sin Softplus Softsign Sqr Sqrt StopGradient "
    "Swish Tanh ThresholdedRelu".split()
)
BINARY = frozenset("Add And Div EQ GE GT LE LT Max Min Mul NE Or Pow Sub Sum Where Xor".split())
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")

# Of zeros these may make what is not finite.
NOT_FINITE = frozenset("Div Log Logit Pow Reciprocal Rsqrt".split())

_MOST_FIRST = 4  # rows that are read by their position


class Demands(object):
    """What is wanted of each value, where rows are padding that a mask does not keep.

    masks    a Masks
    kept     a Kept
    sizes    (batch, rows) of its mask
    first    so many rows of each batch are kept whatever the mask says
    zeroed   names of outputs of the net whose rows of padding may become zeros
    """

    def __init__(self, masks, kept, sizes, first=0, zeroed=()):
        self.masks, self.facts, self.kept = masks, masks.facts, kept
        self.graph = masks.facts.graph
        self.sizes = dict(zip((BATCH, ROW), sizes))
        self.first = first
        self.reads_first = 0  # so many rows are wanted whatever the mask says
        self.of_inputs = {}  # what each operator wants of its inputs
        self.takes_for_granted = False
        self.needs_rows = False  # each batch has to keep one: without any, products would be NaN
        # Operators whose rows of padding are zeros, whatever they read there, if it is finite.
        self.zeros = set()
        self._wanted = {}
        self._zeroed = zeroed
        outputs = set(self.graph.outputs())
        for index in reversed(range(len(self.graph.ops))):
            self._go_over(index, outputs)

    def of(self, value):
        """What is wanted of a value."""
        return self._wanted.get(value)

    def layout(self, value):
        """The layout of a value of which rows alone are wanted, or None."""
        wanted = self.of(value)
        return wanted.layout if isinstance(wanted, Rows) else None

    def shape(self, value):
        return self.facts.shape(value)

    def _go_over(self, index, outputs):
        op = self.graph.ops[index]
        for value in self.outputs(index):
            is_output = value.blob in outputs and self.graph.last(value.blob) == value
            if self.graph.is_kept(value) or is_output:
                self._want(value, self._of_output(value, is_output))
        wanted = self.of_inputs[index] = self._of_inputs(index, op)
        for value, one in zip(self.graph.inputs[index], wanted):
            self._want(value, one)
        for value in self.graph.named[index]:
            self._want(value, self._read_whole(value, index))

    def _read_whole(self, value, index):
        return Whole("'{}' is read by {}".format(value.blob, self.graph.said(index)))

    def _of_output(self, value, is_output):
        shape = self.shape(value)
        if is_output and value.blob in self._zeroed and shape is not None and len(shape) > 1:
            for batch, row in ((0, 1), (1, 0)):
                if (shape[batch], shape[row]) == (self.sizes[BATCH], self.sizes[ROW]):
                    return Rows(layout_of(shape, batch, row))
        return Whole("'{}' is an input or output of the net".format(value.blob))

    def _want(self, value, wanted):
        if isinstance(wanted, Rows):
            shape = self.shape(value)
            if shape is None or not is_whole(wanted.layout):
                wanted = Whole("the rows of '{}' are not known".format(value.blob))
            elif not fits(wanted.layout, self.sizes, shape):
                wanted = Whole("the rows of '{}' are not known".format(value.blob))
        before = self._wanted.get(value)
        if before is None or wanted is None:
            self._wanted[value] = before or wanted
        elif isinstance(before, Rows) and before != wanted:
            reason = "'{}' is read by rows of other dims".format(value.blob)
            self._wanted[value] = wanted if isinstance(wanted, Whole) else Whole(reason)

    def _of_inputs(self, index, op):
        """What an operator wants of each input."""
        inputs = self.graph.inputs[index]
        masking = _MASKING.get(op.type)
        if masking is not None:
            found = masking(self, index, op)
            if found is not None:
                return found
        outputs = [self.of(value) for value in self.outputs(index)]
        whole = [self._read_whole(value, index) for value in inputs]
        if op.type in ("Shape", "Size") or _is_like(op):
            return [None] * len(inputs)
        transfer = _transfer(op)
        if transfer is None or not outputs:
            return whole
        wanted = outputs[0]
        if wanted is None:
            # Not even what nobody reads divides integers by the zeros of padding.
            divides = op.type in ("Div", "Pow") and not self.is_float(index)
            return whole if divides or any(outputs) else [None] * len(inputs)
        if isinstance(wanted, Whole):
            shape = self.shape(self.graph.output(index)) or ()
            has_rows = shape[:2] == (self.sizes[BATCH], self.sizes[ROW])
            moves = op.type in VIEWS or op.type == "Transpose"
            return [wanted] * len(inputs) if has_rows or moves else whole
        found = transfer(self, index, op, wanted.layout)
        if found is None:
            return whole
        return [Rows(layout) if layout is not None else one for layout, one in zip(found, whole)]

    def outputs(self, index):
        """The values that an operator writes."""
        return [Value(blob, index) for blob in self.graph.ops[index].output]

    def is_float(self, index):
        kind = self.facts.type(self.graph.output(index))
        return kind is not None and kind.kind == "f"


def can_move(graph, op):
    """Whether an operator may run on rows as far as devices, engines and order go."""
    return (
        engine_is_of_no_matter(op)
        and not op.control_input
        and not any(sub_nets(op))
        and graph.device(op).device_type == caffe2_pb2.CPU
    )


def _is_like(op):
    """Whether an operator reads no more of its input than its sizes."""
    return op.type == "ConstantFill" and not argument(op, "input_as_shape", 0)


def _transfer(op):
    """The function that says which rows of inputs an operator works on, or None."""
    if op.type in UNARY:
        return _unary
    if op.type == "Dropout":
        return _unary if argument(op, "is_test", 0) else None
    if op.type in BINARY:
        return _binary
    if op.type in VIEWS:
        return _view
    if op.type in REDUCTIONS:
        return _reduction
    if op.type == "ATen":
        return _aten if argument(op, "operator", "") == "layer_norm" else None
    return _TRANSFERS.get(op.type)


def _only_first(demands, index, op):
    """Whether nobody wants outputs behind the first."""
    return all(demands.of(value) is None for value in demands.outputs(index)[1:])


def _unary(demands, index, op, layout):
    return [layout] if _only_first(demands, index, op) else None


def _binary(demands, index, op, layout):
    inputs = demands.graph.inputs[index]
    shapes = [demands.shape(value) for value in inputs]
    to = demands.shape(demands.graph.output(index))
    if None in shapes or to is None or not suffixes(op, shapes):
        return None
    if op.type in ("Div", "Pow") and not demands.is_float(index):
        return None  # of integers a 0 may not be divided by
    if op.type == "Where" and argument(op, "broadcast_on_rows", 0):
        return None
    layouts = [operand(layout, shape, to) for shape in shapes]
    # One that is broadcast over the batch, say, is wanted whole.
    return [one if is_whole(one) else None for one in layouts]


def suffixes(op, shapes):
    """Whether operands are broadcast from the last dim on, as NumPy does."""
    if not argument(op, "broadcast", 0):
        return True
    if any(arg.name in ("axis_str", "order") for arg in op.arg):
        return False
    axis = argument(op, "axis", -1)
    return axis == -1 or axis == len(shapes[0]) - len(shapes[1])


def _view(demands, index, op, layout):
    inputs = demands.graph.inputs[index]
    shape = demands.shape(inputs[0])
    if shape is None:
        return None
    before = regrouped(layout, demands.sizes, shape)
    return None if before is None else [before] + [None] * (len(inputs) - 1)


def _transpose(demands, index, op, layout):
    axes = list_argument(op, "axes") or tuple(reversed(range(len(layout))))
    if sorted(axes) != list(range(len(layout))):
        return None
    return [transposed(layout, axes)]


def _products_of_rows(demands, index, op, layout):
    """FC and FCTransposed: dims from `axis` on are one factor."""
    inputs = demands.graph.inputs[index]
    shape = demands.shape(inputs[0])
    if shape is None:
        return None
    axis = argument(op, "axis", 1) % max(len(shape), 1)
    if len(layout) != axis + 1 or has_labels(layout[axis:]):
        return None
    return [layout[:axis] + dims(shape[axis:])] + [None] * (len(inputs) - 1)


def _mat_mul(demands, index, op, layout):
    """MatMul of two matrices, and BatchMatMul: each row of the first with all of the second."""
    inputs = demands.graph.inputs[index]
    shapes = [demands.shape(value) for value in inputs]
    if None in shapes or len(inputs) != 2 or argument(op, "trans_a", 0):
        return None
    if len(shapes[0]) != len(layout) or len(shapes[1]) < 2 or has_labels(layout[-1:]):
        return None
    if op.type == "MatMul":
        axes = [argument(op, name, 1) for name in ("axis_a", "axis_b")]
        if [len(shape) for shape in shapes] != [2, 2] or axes != [1, 1]:
            return None
    # A factor that is broadcast over the batch is no row of it.
    before = operand(layout[:-1], shapes[0][:-1], demands.shape(demands.graph.output(index))[:-1])
    before += dims(shapes[0][-1:])
    return [before, None] if is_whole(before) else None


def _normalised(demands, index, op, layout):
    """LayerNorm and Softmax, over the dims from `axis` on."""
    axis = argument(op, "axis", 1) % len(layout)
    if has_labels(layout[axis:]) or not _only_first(demands, index, op):
        return None
    return [layout] + [None] * (len(op.input) - 1)


def _aten(demands, index, op, layout):
    over = list_argument(op, "normalized_shape")
    if not over or len(over) >= len(layout) or has_labels(layout[-len(over) :]):
        return None
    return [layout] + [None] * (len(op.input) - 1)


def _masked_softmax(demands, index, op, layout):
    if has_labels(layout[-1:]) or not _only_first(demands, index, op):
        return None
    return [layout] + [None] * (len(op.input) - 1)


def _reduction(demands, index, op, layout):
    shape = demands.shape(demands.graph.inputs[index][0])
    axes = list_argument(op, "axes")
    if shape is None or not axes:
        return None
    axes = {axis % len(shape) for axis in axes}
    if argument(op, "keepdims", 1):
        if any(has_labels(layout[axis : axis + 1]) for axis in axes):
            return None
        return [tuple((shape[d],) if d in axes else one for d, one in enumerate(layout))]
    behind = iter(layout)
    return [tuple((shape[d],) if d in axes else next(behind) for d in range(len(shape)))]


def _concat(demands, index, op, layout):
    shapes = [demands.shape(value) for value in demands.graph.inputs[index]]
    if None in shapes or not _only_first(demands, index, op):
        return None
    axis = concat_axis(op, len(layout))
    if has_labels(layout[axis : axis + 1]):
        return None
    if argument(op, "add_axis", 0):
        return [layout[:axis] + layout[axis + 1 :]] * len(shapes)
    return [layout[:axis] + dims(shape[axis : axis + 1]) + layout[axis + 1 :] for shape in shapes]


def concat_axis(op, rank):
    """The dim along which an operator joins or splits tensors of a rank."""
    default = 3 if argument(op, "order", "NCHW") == "NHWC" else 1
    return argument(op, "axis", default) % rank


def _split(demands, index, op):
    """Split wants what is wanted of each of its outputs."""
    inputs = demands.graph.inputs[index]
    shape = demands.shape(inputs[0])
    found = [demands.of(value) for value in demands.outputs(index)]
    wholes = [one for one in found if isinstance(one, Whole)]
    layouts = {one.layout for one in found if isinstance(one, Rows)}
    side = [Whole("'{}' says where to split".format(value.blob)) for value in inputs[1:]]
    if wholes or shape is None:
        return [wholes[0] if wholes else Whole("its shape is not known")] + side
    axis = concat_axis(op, len(shape))
    before = {one[:axis] + dims(shape[axis : axis + 1]) + one[axis + 1 :] for one in layouts}
    if any(has_labels(one[axis : axis + 1]) for one in layouts) or len(before) > 1:
        return [Whole("'{}' is split".format(inputs[0].blob))] + side
    return [Rows(before.pop()) if before else None] + side


def _gather(demands, index, op, layout):
    """Rows of a table, each by an index."""
    shapes = [demands.shape(value) for value in demands.graph.inputs[index]]
    if None in shapes or argument(op, "axis", 0) != 0 or argument(op, "match_outer", 0):
        return None
    indices = layout[: len(shapes[1])]
    return [None, indices] if is_whole(indices) else None


def _reads_first(demands, index, op):
    """Slice and Gather of the first rows alone; None of others."""
    value = demands.graph.inputs[index][0]
    shape = demands.shape(value)
    wanted = demands.of(demands.graph.output(index))
    sizes = demands.sizes[BATCH], demands.sizes[ROW]
    if wanted is None or shape is None or shape[:2] != sizes:
        return None
    if op.type == "Slice":
        count = _sliced_first(demands, index, op, shape)
    else:
        axis = 1 if op.type == "BatchGather" else argument(op, "axis", 0)
        array = demands.facts.array(demands.graph.inputs[index][1])
        if axis != 1 or array is None or not array.size or array.min() < 0:
            return None
        if argument(op, "match_outer", 0):
            return None
        count = int(array.max()) + 1
    if count is None or not 0 < count <= _MOST_FIRST or count >= shape[1]:
        return None
    demands.reads_first = max(demands.reads_first, count)
    side = [Whole("'{}' says what is read".format(v.blob)) for v in demands.graph.inputs[index][1:]]
    return [Rows(layout_of(shape, 0, 1))] + side


def _sliced_first(demands, index, op, shape):
    ends = slice_ends(demands.facts, index, op, shape)
    if ends is None or ends[0] != (0, shape[0]) or ends[1][0] != 0:
        return None
    return ends[1][1]


def slice_ends(facts, index, op, shape):
    """(start, end) of each dim that a Slice keeps, or None where it is not known."""
    inputs = facts.graph.inputs[index]
    if len(inputs) == 3:
        pair = [facts.array(value) for value in inputs[1:]]
        if any(one is None for one in pair):
            return None
        pair = [[int(number) for number in one.flat] for one in pair]
    else:
        pair = [list(list_argument(op, name) or ()) for name in ("starts", "ends")]
    rest = len(shape) - len(pair[0])
    starts, ends = pair[0] + [0] * rest, pair[1] + [-1] * rest
    ends = [size + 1 + end if end < 0 else min(end, size) for end, size in zip(ends, shape)]
    starts = [size + 1 + start if start < 0 else start for start, size in zip(starts, shape)]
    return list(zip(starts, ends))


def _boolean_mask(demands, index, op):
    inputs = demands.graph.inputs[index]
    mask, shape = demands.shape(inputs[1]), demands.shape(inputs[0])
    if demands.masks.by_mask(inputs[1]) != demands.kept or None in (mask, shape):
        return None
    if mask != (demands.sizes[BATCH], demands.sizes[ROW]):
        return None
    return [Rows(layout_of(shape, 0, 1)), Whole("'{}' is a mask".format(inputs[1].blob))]


def _sequence_mask(demands, index, op):
    inputs = demands.graph.inputs[index]
    shape = demands.shape(inputs[0])
    if not is_plain_sequence(op, shape) or len(inputs) != 2:
        return None
    if demands.masks.by_lengths(inputs[1]) != demands.kept:
        return None
    if shape[:2] != (demands.sizes[BATCH], demands.sizes[ROW]):
        return None
    if demands.shape(inputs[1]) != shape[:1]:
        return None
    return [Rows(layout_of(shape, 0, 1)), Whole("'{}' are lengths".format(inputs[1].blob))]


def _mul(demands, index, op):
    """A product with the mask, which is 0 where there is padding."""
    inputs = demands.graph.inputs[index]
    to = demands.shape(demands.graph.output(index))
    sizes = demands.sizes[BATCH], demands.sizes[ROW]
    if to is None or to[:2] != sizes or len(inputs) != 2 or not demands.is_float(index):
        return None
    if argument(op, "broadcast", 0) or not can_move(demands.graph, op):
        return None
    for x, mask in (0, 1), (1, 0):
        shape = demands.shape(inputs[mask])
        if demands.shape(inputs[x]) != to or shape is None or len(shape) != len(to):
            continue
        if shape[:2] != sizes or product(shape[2:]) != 1:
            continue
        if demands.masks.by_factor(inputs[mask]) != demands.kept:
            continue
        wanted = demands.of(demands.graph.output(index))
        if wanted is None:
            return None
        maker, of_no_row = may_become_nan(demands, inputs[x])
        if maker is not None:
            reason = "{} may make NaN of padding".format(demands.graph.said(maker))
            return [Whole(reason)] * 2 if isinstance(wanted, Whole) else None
        demands.needs_rows = demands.needs_rows or of_no_row
        demands.zeros.add(index)
        return [Rows(layout_of(demands.shape(value), 0, 1)) for value in inputs]
    return None


def _masked_attention(demands, index, op):
    """Keys and values that are masked are not read; queries work row by row."""
    graph = demands.graph
    inputs = graph.inputs[index]
    q, k, v = (demands.shape(value) for value in inputs[:3])
    outputs = [demands.of(value) for value in demands.outputs(index)]
    if None in (q, k, v):
        return None
    reason = "'{}' is read by " + graph.said(index)
    found = [Whole(reason.format(value.blob)) for value in inputs]
    found[0] = _of_queries(outputs, q) or found[0]
    if not any(outputs):
        found[0] = None
    sizes = demands.sizes[BATCH], demands.sizes[ROW]
    for kept, of, batch in key_sources(demands.masks, index, op):
        if kept == demands.kept and of == sizes:
            keys = [(batch,) + layout_of(shape, 0, -2)[1:] for shape in (k, v)]
            if _hides_keys(demands, index, op, keys[0]):
                found[1:3] = [Rows(layout) for layout in keys]
            else:
                said = "a query without keys reads the mean of all values in {}"
                if kept.kind == BIAS and not _may_find_itself(op):
                    said = "a query may find no key but those that a bias hides in {}"
                found[1:3] = [Whole(said.format(graph.said(index)))] * 2
    return found


def _of_queries(outputs, shape):
    """What is wanted of queries, whose rows are those of the outputs; None for all."""
    wanted, behind = (outputs + [None])[:2]
    if isinstance(wanted, Whole):
        return wanted
    layouts = {wanted.layout[:-1]} if wanted is not None else set()
    layouts |= {behind.layout} if isinstance(behind, Rows) else set()
    if isinstance(behind, Whole) or len(layouts) != 1:
        return None
    if wanted is not None and has_labels(wanted.layout[-1:]):
        return None
    return Rows(layouts.pop() + dims(shape[-1:]))


def _hides_keys(demands, index, op, layout):
    """Whether no query that is wanted reads keys, which stand as `layout` says, that are masked."""
    empty_row = argument(op, "empty_row", "zero")
    if demands.kept.kind == BIAS:
        # Some key of each query that is wanted has a bias well above the lowest.
        if not _may_find_itself(op):
            return False
        demands.takes_for_granted = True
    if empty_row != "uniform":
        return True
    # A row of which nothing is kept reads all values. One that is a key itself keeps that.
    side = attention_sides(demands.graph, index, op)
    wanted = demands.of(demands.graph.output(index))
    windows = [argument(op, name, -1) for name in ("window_left", "window_right")]
    is_alone = len(side) == 1 and argument(op, "mode", "") in ("", "sequence")
    return (
        demands.kept.kind != BIAS
        and is_alone
        and windows == [-1, -1]
        and not demands.first
        and isinstance(wanted, Rows)
        and wanted.layout[:-1] == layout[:-1]
    )


def _may_find_itself(op):
    """Whether no triangle hides the key of the same number as a query."""
    parts, diagonal = argument(op, "mode", "").split("+"), argument(op, "diagonal", 0)
    return (
        not {"upperdiag", "lowerdiag"} & set(parts)
        and ("upper" not in parts or diagonal >= 0)
        and ("lower" not in parts or diagonal <= 0)
    )


# What wants rows that are kept, whatever is wanted of it; the function returns None of others.
_MASKING = {
    "BatchGather": _reads_first,
    "BooleanMask": _boolean_mask,
    "Gather": _reads_first,
    "MaskedAttention": _masked_attention,
    "Mul": _mul,
    "SequenceMask": _sequence_mask,
    "Slice": _reads_first,
    "Split": _split,
}

_TRANSFERS = {
    "BatchMatMul": _mat_mul,
    "Concat": _concat,
    "FC": _products_of_rows,
    "FCTransposed": _products_of_rows,
    "Gather": _gather,
    "LayerNorm": _normalised,
    "MaskedSoftmax": _masked_softmax,
    "MatMul": _mat_mul,
    "Softmax": _normalised,
    "Transpose": _transpose,
}
