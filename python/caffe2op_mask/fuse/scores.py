"""Reads off a net what stands before a Softmax: scale, bias and masks, back to the scores."""

import numpy as np
from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse import bands, choices, sequence, sums, views
from caffe2op_mask.fuse.declined import Declined, check_readers, from_the_end, known_shape
from caffe2op_mask.fuse.expressions import both, make, shape_of
from caffe2op_mask.fuse.graph import SCALES, Value, argument, number_argument
from caffe2op_mask.fuse.limits import LOW, VANISHES
from caffe2op_mask.fuse.shapes import broadcasts, product
from caffe2op_mask.mask_shapes import INPUTS, READS, SHAPES, TRIANGLES

# A bias above this is no mask.
_NOT_LOW = -1e3

SOFTMAX = ("Softmax", "MaskedSoftmax")
_FLOATS = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16"}
_BOOL = (int(caffe2_pb2.TensorProto.BOOL), "bool", "BOOL")
_MASKED_SOFTMAX = frozenset(
    "axis diagonal empty_row has_bias has_mask mode radius scale window_left window_right".split()
)

# What takes an operator that stands before scores, called with the Scores, its number and itself.
_TAKE = {
    "SequenceMask": sequence.take_sequence_mask,
    "Where": choices.take_where,
    "ATen": choices.take_aten,
    "Add": sums.take_add,
    "Sub": sums.take_sub,
}


def is_identity(facts, index):
    """Whether the first output of an operator is its first input, gradients included."""
    op = facts.graph.ops[index]
    if op.type in ("Copy", "Alias"):
        return True
    if op.type == "Dropout":
        return argument(op, "is_test", 0) == 1
    if op.type == "Cast":
        to = argument(op, "to", caffe2_pb2.TensorProto.FLOAT, object)
        to = to.upper() if isinstance(to, str) else to
        name = _FLOATS.get(str(facts.type(facts.graph.inputs[index][0])))
        return name is not None and to in (name, caffe2_pb2.TensorProto.DataType.Value(name))
    return False


def checked_scale(scale):
    """A scale; raises Declined where it is not finite as a float, or 0."""
    with np.errstate(over="ignore", under="ignore"):
        if not 0 < abs(np.float32(scale)) < np.inf:
            raise Declined("its scale, {:g}, is beyond a float".format(scale))
    return scale


class Scores(object):
    """What a Softmax reads, as scale * x + bias under masks.

    `indices` are the operators this stands for, the Softmax too; `views` are those among them that
    regroup the rows of the scores, the last first. `walk` reads off the rest.

    Without `regroups` the walk ends where rows are regrouped. With `dares` a finite fill may meet a
    bias that is as low: results are equal but for rows all of whose kept scores are, as those of
    queries that are padding. `dared` says whether one did.
    """

    def __init__(self, facts, softmax, dares=False, regroups=True):
        self._dares = dares
        self.dared = False
        self.facts = facts
        self.graph = facts.graph
        self.softmax = softmax
        self.indices = {softmax}
        self.x = self.graph.inputs[softmax][0]
        self.tail = 0  # dims of 1 behind the columns
        self.views = []
        self.scale = 1.0
        self.fill = None
        self.empty_row = None  # of a MaskedSoftmax
        self.parts = []
        self.side = {}  # what shapes read, and a mask: those that there are
        self.biases = []  # all that is added
        self.radius = None
        self.diagonal = 0
        self.window = [None, None]
        self.notes = []
        self.found = False  # anything that Softmax alone does not do
        self.stopped = None  # why the walk ended
        self.additive = None  # a finite triangle: (its bias, its value, Band, the most it adds)
        self.chain = set()  # of `indices`, what made constants and sizes
        self._take = dict(_TAKE)
        self._take.update((name, Scores._take_scale) for name in SCALES)
        if regroups:
            self._take.update((name, views.take_view) for name in views.VIEWS)
        self._refused = None  # why nothing can be made of it
        if self.graph.ops[softmax].type == "MaskedSoftmax":
            self._read_masked_softmax()

    # Operators that say something of a mask, so that one that is left alone stands in the report.
    MASKS = ("SequenceMask", "Where", "Add", "ATen")

    def walk(self):
        """Walks back from the Softmax while operators fit arguments and inputs of MaskedSoftmax.

        Raises Declined where the first mask or bias on the way does not.
        """
        if self._refused is not None:
            raise Declined(self._refused)
        if self.graph.ops[self.softmax].type == "Softmax":
            self._check_axis()
        while self.x.writer is not None:
            index = self.x.writer
            op = self.graph.ops[index]
            try:
                if is_identity(self.facts, index):
                    check_readers(self.graph, self.x, self.indices)
                    self.passed(index, self.graph.inputs[index][0])
                elif op.type in self._take:
                    check_readers(self.graph, self.x, self.indices)
                    self._take[op.type](self, index, op)
                else:
                    break
            except Declined as declined:
                if op.type in self.MASKS:
                    if not self.found:
                        declined.indices = frozenset(self.indices | {index})
                        raise
                    self.notes.append("{} stays: {}".format(self.graph.said(index), declined))
                else:
                    self.stopped = str(declined)
                break
        sums.settle(self)
        self._check_fill_is_lowest()

    @property
    def is_finite(self):
        return self.fill is not None and np.isfinite(self.fill)

    @property
    def rows_are_known(self):
        """Whether masks are there that go by the position of a row."""
        return bool(set(self.parts) & set(TRIANGLES)) or self.window != [None, None]

    def arguments(self):
        """Arguments of MaskedSoftmax and MaskedAttention, less those that are their defaults."""
        found = {}
        if self.parts:
            found["mode"] = "+".join(self.parts)
        if "window" in self.parts:
            found["radius"] = self.radius
        if self.diagonal:
            found["diagonal"] = self.diagonal
        for name, side in zip(("window_left", "window_right"), self.window):
            if side is not None:
                found[name] = side
        if self.empty_row is not None:
            found["empty_row"] = self.empty_row
        else:
            found["empty_row"] = "uniform" if self.is_finite else "nan"
        if "mask" in self.side:
            found["has_mask"] = 1
        if self.biases:
            found["has_bias"] = 1
        return found

    def side_inputs(self):
        """(name, value or expression) of the inputs behind the first."""
        names = INPUTS + ("mask",)
        found = [(name, self.side[name]) for name in names if name in self.side]
        if self.biases:
            bias = self.biases[0]
            for more in self.biases[1:]:
                bias = both(self.facts, "Add", more, bias)
            found.append(("bias", bias))
        return found

    def caveats(self):
        """What a finite fill takes for granted."""
        if not self.is_finite:
            return []
        bound = "{:.10g}".format(self.fill + VANISHES)
        nothing = ", or it keeps nothing" if self.dared else ""
        return ["equal unless all that a row keeps is {} or below{}".format(bound, nothing)]

    def passed(self, index, x):
        """Makes an operator part of this; `x` is what it read."""
        self.indices.add(index)
        self.x = x

    def masked(self, index, x):
        self.found = True
        self.passed(index, x)

    def _read_masked_softmax(self):
        """Goes on from what was fused before."""
        op = self.graph.ops[self.softmax]
        strange = sorted({arg.name for arg in op.arg} - _MASKED_SOFTMAX)
        mode = argument(op, "mode", "")
        parts = mode.split("+") if mode else []
        if len(op.output) > 1 or strange or set(parts) - set(SHAPES):
            self._refused = "it has outputs, arguments or shapes that are not known here"
            return
        self.parts = parts
        self.radius = argument(op, "radius", 10)
        self.diagonal = argument(op, "diagonal", 0)
        self.scale = number_argument(op, "scale", 1.0)
        self.empty_row = argument(op, "empty_row", "zero")
        sides = [argument(op, name, -1) for name in ("window_left", "window_right")]
        self.window = [None if side < 0 else side for side in sides]
        inputs = self.graph.inputs[self.softmax][1:]
        names = [name for name, part in READS if part in parts]
        if argument(op, "has_mask", 0):
            names.append("mask")
        for name in names:
            self.side[name] = inputs.pop(0)
        self.biases = inputs

    def _check_axis(self):
        """Checks that what the Softmax takes for columns is one dim, with none but 1 behind it."""
        shape = self.facts.shape(self.x)
        axis = argument(self.graph.ops[self.softmax], "axis", 1)
        if shape is None:
            return  # what is read further on may have one; see check_axis_again
        if not -len(shape) <= axis < max(len(shape), 1):
            raise Declined("the axis of Softmax is not an axis of '{}'".format(self.x.blob))
        behind = shape[axis % len(shape) + 1 :] if shape else ()
        if product(behind) != 1:
            raise Declined("the axis of Softmax is not the last")
        self.tail = len(behind)

    def check_axis_again(self):
        """Checks the axis of a Softmax whose input's shape was not known before the walk."""
        if self.graph.ops[self.softmax].type == "MaskedSoftmax":
            return
        axis = argument(self.graph.ops[self.softmax], "axis", 1)
        shape = self.facts.shape(self.graph.inputs[self.softmax][0])
        if shape is None and not self.views:
            shape = self.facts.shape(self.x)
        axis = from_the_end(axis, None if shape is None else len(shape))
        if axis is None:
            raise Declined(
                "the rank of '{}' is not known, so axis {} of Softmax may not be the last".format(
                    self.x.blob, argument(self.graph.ops[self.softmax], "axis", 1)
                ),
                [self.x],
            )
        if axis != -1 - self.tail:
            raise Declined("the axis of Softmax is not the last")

    def take_fill(self, fill):
        """Checks that what is masked vanishes, as it does without any doubt for -inf alone."""
        with np.errstate(all="ignore"):
            fill = float(np.float32(fill) * np.float32(self.scale))
        if not fill <= LOW:
            raise Declined("its fill, {:g}, is not -inf or below {:g}".format(fill, LOW))
        if self.fill not in (None, fill):
            raise Declined("there is another fill, {:g}".format(self.fill))
        if np.isfinite(fill):
            if self.biases and not self.may_dare():
                raise Declined("its fill, {:g}, is finite, and a bias is added to it".format(fill))
            if self.empty_row is not None:
                raise Declined("its fill, {:g}, is finite, and a mask follows".format(fill))
        elif self.empty_row == "uniform":
            raise Declined("a mask with a finite fill follows")
        self.fill = fill

    def _check_fill_is_lowest(self):
        """A finite fill says nothing where the scores may hold another mask's fill, or a bias."""
        before = self.mask_before()
        if self.is_finite and before is not None:
            raise Declined(
                "the fill, {:g}, is finite, and {} before it may be as low".format(
                    self.fill, self.graph.said(before)
                )
            )

    def mask_before(self):
        """Number of an operator that stays and may have made scores as low as a mask, or None."""
        value = self.x
        if self.is_no_mask(value):
            return None
        passed = SCALES + views.VIEWS + ("Copy", "Alias", "Cast", "Dropout")
        while self.graph.type(value) in passed:
            x = self.facts.factor(value.writer)[1] if self.graph.type(value) in SCALES else None
            value = x or self.graph.inputs[value.writer][0]
        return value.writer if self.graph.type(value) in self.MASKS + ("Sub",) else None

    def _take_scale(self, index, _):
        factor, x, constant = self.facts.factor(index)
        if factor is None:
            raise Declined("not a scale")
        self.scale = checked_scale(self.scale * factor)
        self.passed(index, x)
        if constant is not None:
            self.take_constant(constant)

    def take_constant(self, constant):
        """A constant that only this has read goes as well; a number of another net is noted."""
        if constant.writer is None:
            if self.facts.number(constant) is not None:
                note = self.facts.as_init_fills(constant)
                if note not in self.notes:
                    self.notes.append(note)
        elif self.graph.is_only_read_by(constant, self.indices):
            self.absorb(constant.writer)

    def absorb(self, index, first=0):
        """Takes an operator, and what made constants and sizes for its inputs from `first` on alone."""
        self.indices.add(index)
        for value in self.graph.inputs[index][first:]:
            if value.writer is not None and self.facts.is_constant(value):
                if self.graph.is_only_read_by(value, self.indices):
                    self.absorb(value.writer)
                    self.chain.add(value.writer)

    def as_bool(self, mask, may_be_a_number):
        """A mask as a tensor of bool: Where takes no other type, ATen's does."""
        if not isinstance(mask, Value):
            is_bool = dict(mask.arguments).get("to") in _BOOL
        elif self.facts.type(mask) is None:
            is_bool = not may_be_a_number or self.graph.type(mask) in bands.BOOLEAN
        else:
            is_bool = not may_be_a_number or self.facts.type(mask) == np.dtype(bool)
        if is_bool:
            return mask
        shape = shape_of(self.facts, mask)
        return make("Cast", [mask], shape, to=int(caffe2_pb2.TensorProto.BOOL))

    def negated(self, mask):
        """True where a mask is False: what a Not before it read, where that is there."""
        if isinstance(mask, Value) and self.graph.type(mask) == "Not":
            before = self.graph.inputs[mask.writer][0]
            if self.graph.is_there(before, max(self.indices), self.indices | {mask.writer}):
                return before
        return make("Not", [mask], shape_of(self.facts, mask))

    def band_of(self, value, inverted):
        """The Band that a constant mask keeps, or None."""
        array = self.facts.array(value)
        if array is None:
            return None
        keep = array == 0 if inverted else array != 0
        return bands.of_constant(self.facts, value, keep, self.facts.shape(self.x))

    def check_band_fits(self, band):
        if self.tail:
            raise Declined("a dim of 1 follows its columns")
        rank = len(known_shape(self.facts, self.x))
        if rank < 2:
            raise Declined("rows of its triangle are not a dim")

    def add_band(self, band):
        """Cuts the window around the row's own position to a band, too."""
        if band.left is None and band.right == 0 and not self.diagonal:
            if "upper" not in self.parts:
                self.parts.insert(0, "upper")
            return
        for i, side in enumerate(band):
            if side is not None:
                there = self.window[i]
                self.window[i] = side if there is None else min(side, there)

    def may_dare(self):
        self.dared = self.dared or self._dares
        return self._dares

    def is_no_mask(self, bias):
        """Whether no entry of what is added, or of the scores, is low, scaled as it will be."""
        lowest = self.facts.lowest(bias)
        return lowest is not None and self.scale > 0 and lowest * self.scale > _NOT_LOW

    def unexpanded(self, value):
        """A mask or bias before an Expand or Tile to the scores, which broadcast it themselves."""
        casts, index = [], value.writer
        while index is not None and self.graph.ops[index].type == "Cast":
            casts.append(index)
            index = self.graph.inputs[index][0].writer
        if index is None or self.graph.ops[index].type not in ("Expand", "Tile", "NumpyTile"):
            return value
        before = self.graph.inputs[index][0]
        shape, expanded = self.facts.shape(before), self.facts.shape(self.graph.output(index))
        if None in (shape, expanded) or not broadcasts(shape, expanded):
            return value
        for one in casts + [index]:
            if not self.graph.is_only_read_by(self.graph.output(one), self.indices):
                break
            self.absorb(one, first=1)
        for one in reversed(casts):
            to = argument(self.graph.ops[one], "to", 1, object)
            before = make("Cast", [before], shape, to=to)
        return self.unexpanded(before) if isinstance(before, Value) else before

    def add_mask(self, keep):
        there = self.side.get("mask")
        self.side["mask"] = keep if there is None else both(self.facts, "And", there, keep)
