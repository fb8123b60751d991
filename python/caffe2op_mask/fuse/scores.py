"""Reads off a net what stands before a Softmax: scale, bias and masks, back to the scores."""

import numpy as np
from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse import bands
from caffe2op_mask.fuse.expressions import both, make, shape_of, squeeze
from caffe2op_mask.fuse.graph import Value, argument, number_argument
from caffe2op_mask.fuse.shapes import broadcasts, product

# A fill this low leaves nothing after the softmax, if the largest score that is kept is more than
# 104 above it: there exp of a float32 is 0.
LOW = -1e4
VANISHES = 104

# A bias above this is no mask.
_NOT_LOW = -1e3

SOFTMAX = ("Softmax", "MaskedSoftmax")
VIEWS = ("Reshape", "Squeeze", "ExpandDims", "Flatten", "FlattenToVec", "MergeDim", "PrependDim")
_SCALES = ("Scale", "Mul", "Div")
_BOOL = (int(caffe2_pb2.TensorProto.BOOL), "bool", "BOOL")
_TRIANGLES = ("upper", "lower", "upperdiag", "lowerdiag")
_PARTS = ("sequence", "window") + _TRIANGLES
_MASKED_SOFTMAX = frozenset(
    "axis diagonal empty_row has_bias has_mask mode radius scale window_left window_right".split()
)


class Declined(Exception):
    """Why operators are left alone; `indices` are their numbers, `unknown` values without shape."""

    def __init__(self, reason, unknown=()):
        super(Declined, self).__init__(reason)
        self.unknown = tuple(unknown)
        self.indices = frozenset()


def from_the_end(axis, rank):
    """An axis as a negative number; None if the rank that takes is not known."""
    if axis < 0:
        return axis
    return None if rank is None else axis - rank


def known_shape(facts, value):
    """Shape of a value or expression; raises Declined where it is not known."""
    shape = shape_of(facts, value)
    if shape is None:
        raise Declined("the shape of '{}' is not known".format(value.blob), [value])
    return shape


def check_readers(graph, value, indices):
    """Checks that nobody but the operators `indices` reads a value."""
    if graph.is_kept(value):
        raise Declined("'{}' is an input or output of the net".format(value.blob))
    for index in sorted(graph.readers(value) - indices):
        raise Declined("'{}' is read by {} too".format(value.blob, graph.said(index)))


def _cast_to_bool(mask, shape=None):
    return make("Cast", [mask], shape or mask.shape, to=int(caffe2_pb2.TensorProto.BOOL))


def is_identity(facts, index):
    """Whether the first output of an operator is its first input, gradients included."""
    op = facts.graph.ops[index]
    if op.type in ("Copy", "Alias"):
        return True
    if op.type == "Dropout":
        return argument(op, "is_test", 0) == 1
    if op.type == "Cast":
        kind = facts.type(facts.graph.inputs[index][0])
        names = caffe2_pb2.TensorProto.DataType
        to = argument(op, "to", caffe2_pb2.TensorProto.FLOAT)
        to = to.upper() if isinstance(to, str) else names.Name(to)
        same = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16"}
        return kind is not None and same.get(str(kind)) == to
    return False


class Scores(object):
    """What a Softmax reads, as scale * x + bias under masks.

    `indices` are the operators this stands for, the Softmax too; `views` are those among them that
    regroup the rows of the scores, the last first. `walk` reads off the rest.

    Without `regroups` the walk ends where rows are regrouped. With `dares` a finite fill may meet a bias that is as low: results are equal but for rows all of
    whose kept scores are, as those of queries that are padding. `dared` says whether one did.
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
        self.side = {}  # lengths, centers and mask: those that there are
        self.biases = []  # all that is added
        self.radius = None
        self.diagonal = 0
        self.window = [None, None]
        self.notes = []
        self.found = False  # anything that Softmax alone does not do
        self.stopped = None  # why the walk ended
        self._additive = None  # a finite triangle: (its bias, its value, Band, the most it adds)
        self.chain = set()  # of `indices`, what made constants and sizes
        self._take = {
            "SequenceMask": self._take_sequence_mask,
            "Where": self._take_where,
            "ATen": self._take_aten,
            "Add": self._take_add,
            "Sub": self._take_sub,
        }
        self._take.update((name, self._take_scale) for name in _SCALES)
        if regroups:
            self._take.update((name, self._take_view) for name in VIEWS)
        if self.graph.ops[softmax].type == "MaskedSoftmax":
            self._read_masked_softmax()

    # Operators that say something of a mask, so that one that is left alone stands in the report.
    MASKS = ("SequenceMask", "Where", "Add", "ATen")

    def walk(self):
        """Walks back from the Softmax while operators fit arguments and inputs of MaskedSoftmax.

        Raises Declined where the first mask or bias on the way does not.
        """
        if self.graph.ops[self.softmax].type == "Softmax":
            self._check_axis()
        while self.x.writer is not None:
            index = self.x.writer
            op = self.graph.ops[index]
            try:
                if is_identity(self.facts, index):
                    check_readers(self.graph, self.x, self.indices)
                    self._passed(index, self.graph.inputs[index][0])
                elif op.type in self._take:
                    check_readers(self.graph, self.x, self.indices)
                    self._take[op.type](index, op)
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
        self._settle_additive()
        self._check_fill_is_lowest()

    @property
    def is_finite(self):
        return self.fill is not None and np.isfinite(self.fill)

    @property
    def rows_are_known(self):
        """Whether masks are there that go by the position of a row."""
        return bool(set(self.parts) & set(_TRIANGLES)) or self.window != [None, None]

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
        names = ("lengths", "centers", "mask")
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
        return ["equal unless all that a row keeps is {} or below".format(bound)]

    def _passed(self, index, x):
        """Makes an operator part of this; `x` is what it read."""
        self.indices.add(index)
        self.x = x

    def _masked(self, index, x):
        self.found = True
        self._passed(index, x)

    def _read_masked_softmax(self):
        """Goes on from what was fused before."""
        op = self.graph.ops[self.softmax]
        strange = sorted({arg.name for arg in op.arg} - _MASKED_SOFTMAX)
        mode = argument(op, "mode", "")
        parts = mode.split("+") if mode else []
        if len(op.output) > 1 or strange or set(parts) - set(_PARTS):
            self._take = {}
            return
        self.parts = parts
        self.radius = argument(op, "radius", 10)
        self.diagonal = argument(op, "diagonal", 0)
        self.scale = number_argument(op, "scale", 1.0)
        self.empty_row = argument(op, "empty_row", "zero")
        sides = [argument(op, name, -1) for name in ("window_left", "window_right")]
        self.window = [None if side < 0 else side for side in sides]
        inputs = self.graph.inputs[self.softmax][1:]
        there = (
            ("lengths", "sequence" in parts),
            ("centers", "window" in parts),
            ("mask", argument(op, "has_mask", 0)),
        )
        for name in [name for name, is_there in there if is_there]:
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

    def _take_fill(self, fill):
        """Checks that what is masked vanishes, as it does without any doubt for -inf alone."""
        with np.errstate(all="ignore"):
            fill = float(np.float32(fill) * np.float32(self.scale))
        if not fill <= LOW:
            raise Declined("its fill, {:g}, is not -inf or below {:g}".format(fill, LOW))
        if self.fill not in (None, fill):
            raise Declined("there is another fill, {:g}".format(self.fill))
        if np.isfinite(fill):
            if self.biases and not self._may_dare():
                raise Declined("its fill, {:g}, is finite, and a bias is added to it".format(fill))
            if self.empty_row is not None:
                raise Declined("its fill, {:g}, is finite, and a mask follows".format(fill))
        elif self.empty_row == "uniform":
            raise Declined("a mask with a finite fill follows")
        self.fill = fill

    def _check_fill_is_lowest(self):
        """A finite fill says nothing where the scores may hold another mask's fill, or a bias."""
        value = self.x
        if self._is_no_mask(value):
            return
        passed = self.MASKS + _SCALES + VIEWS + ("Sub", "Copy", "Alias", "Cast", "Dropout")
        while self.is_finite and self.graph.type(value) in passed:
            if self.graph.type(value) in self.MASKS + ("Sub",):
                raise Declined(
                    "the fill, {:g}, is finite, and {} before it may be as low".format(
                        self.fill, self.graph.said(value.writer)
                    )
                )
            inputs = self.graph.inputs[value.writer]
            value = inputs[0]

    def _take_scale(self, index, op):
        inputs = self.graph.inputs[index]
        x, constant, factor = inputs[0], None, None
        if op.type == "Scale":
            factor = argument(op, "scale", 1.0)
        else:
            commutes = op.type == "Mul" and not argument(op, "broadcast", 0)
            swap = commutes and self.facts.number(inputs[1]) is None
            x, constant = inputs[::-1] if swap else inputs
            # One number, of no more dims than any tensor that has a softmax, or than this one.
            shapes = [self.facts.shape(value) for value in (constant, x)]
            if shapes[0] in ((), (1,)) or (None not in shapes and broadcasts(*shapes)):
                factor = self.facts.number(constant)
        if op.type == "Div" and factor:
            factor = 1 / factor
        if not factor or not np.isfinite(factor):
            raise Declined("not a scale")
        self.scale *= factor
        self._passed(index, x)
        if constant is not None:
            self.take_constant(constant)

    def take_constant(self, constant):
        """A constant that only this has read goes as well; a number of another net is noted."""
        if constant.writer is None:
            number = self.facts.number(constant)
            if number is not None:
                note = "'{}' is {:g}, as init fills it".format(constant.blob, number)
                if note not in self.notes:
                    self.notes.append(note)
        elif self.graph.is_only_read_by(constant, self.indices):
            self._absorb(constant.writer)

    def _absorb(self, index, first=0):
        """Takes an operator, and what made constants and sizes for its inputs from `first` on alone."""
        self.indices.add(index)
        for value in self.graph.inputs[index][first:]:
            if value.writer is not None and self.facts.is_constant(value):
                if self.graph.is_only_read_by(value, self.indices):
                    self._absorb(value.writer)
                    self.chain.add(value.writer)

    def _take_where(self, index, op):
        if argument(op, "broadcast_on_rows", 0):
            raise Declined("its mask is by rows (broadcast_on_rows)")
        self._take_choice(index, *self.graph.inputs[index])

    def _take_aten(self, index, op):
        inputs, name = self.graph.inputs[index], argument(op, "operator", "")
        if name == "where" and len(inputs) == 3:
            return self._take_choice(index, *inputs)
        if name == "masked_fill" and len(inputs) in (2, 3):
            fill = argument(op, "value", None)
            filler = inputs[2] if len(inputs) == 3 else None
            fill = self.facts.number(filler) if filler is not None else fill
            return self._take_fill_where(index, inputs[1], inputs[0], fill, filler, True)
        raise Declined("ATen's {} is no mask that is known".format(name or "operator"))

    def _take_choice(self, index, mask, first, second):
        """Where: `first` where the mask is True, `second` elsewhere."""
        fills = [self.facts.number(value) for value in (first, second)]
        if fills[1] is not None and fills[0] is None:
            return self._take_fill_where(index, mask, first, fills[1], second, False)
        if fills[0] is not None and fills[1] is None:
            return self._take_fill_where(index, mask, second, fills[0], first, True)
        raise Declined("'{}' is not a constant of the net".format(second.blob))

    def _take_fill_where(self, index, mask, x, fill, filler, fills_true):
        if fill is None:
            raise Declined("its fill is not a constant of the net")
        if self.tail:
            raise Declined("a dim of 1 follows its columns")
        if self.graph.ops[index].type == "ATen":
            # Of ATen's, either side may be broadcast.
            shapes = [known_shape(self.facts, value) for value in (mask, x)]
            if not broadcasts(*shapes):
                raise Declined("its mask {} does not broadcast to {}".format(*shapes))
        band = self._band_of(mask, fills_true)
        if band is not None:
            self._check_band_fits(band)
        self._take_fill(fill)
        self._masked(index, x)
        if band is not None:
            self._add_band(band)
            self.take_constant(mask)
        else:
            mask = self._unexpanded(mask)
            keep = self._as_bool(mask, self.graph.ops[index].type == "ATen")
            self._add_mask(self._negated(keep) if fills_true else keep)
        if filler is not None:
            self.take_constant(filler)

    def _as_bool(self, mask, may_be_a_number):
        """A mask as a tensor of bool: Where takes no other type, ATen's does."""
        if not isinstance(mask, Value):
            return mask if dict(mask.arguments).get("to") in _BOOL else _cast_to_bool(mask)
        kind = self.facts.type(mask)
        is_bool = self.graph.type(mask) in bands.BOOLEAN if kind is None else kind == np.dtype(bool)
        if is_bool or not may_be_a_number:
            return mask
        return _cast_to_bool(mask, self.facts.shape(mask))

    def _negated(self, mask):
        """True where a mask is False: what a Not before it read, where that is there."""
        if isinstance(mask, Value) and self.graph.type(mask) == "Not":
            before = self.graph.inputs[mask.writer][0]
            if self.graph.is_there(before, max(self.indices), self.indices | {mask.writer}):
                return before
        return make("Not", [mask], shape_of(self.facts, mask))

    def _band_of(self, value, inverted):
        """The Band that a constant mask keeps, or None."""
        array = self.facts.array(value)
        if array is None:
            return None
        keep = array == 0 if inverted else array != 0
        return bands.of_mask(keep, self.facts.shape(self.x))

    def _check_band_fits(self, band):
        if self.tail:
            raise Declined("a dim of 1 follows its columns")
        rank = len(known_shape(self.facts, self.x))
        if rank < 2:
            raise Declined("rows of its triangle are not a dim")

    def _add_band(self, band):
        """Cuts the window around the row's own position to a band, too."""
        if band.left is None and band.right == 0 and not self.diagonal:
            if "upper" not in self.parts:
                self.parts.insert(0, "upper")
            return
        for i, side in enumerate(band):
            if side is not None:
                there = self.window[i]
                self.window[i] = side if there is None else min(side, there)

    def _take_add(self, index, op):
        self._take_sum(index, op, False)

    def _take_sub(self, index, op):
        self._take_sum(index, op, True)

    def _take_sum(self, index, op, subtracts):
        inputs = self.graph.inputs[index]
        if self.tail:
            raise Declined("a dim of 1 follows its columns")
        if self.empty_row == "uniform":
            raise Declined("a mask with a finite fill follows")
        shapes = [known_shape(self.facts, value) for value in inputs]
        legacy = argument(op, "broadcast", 0)
        if legacy and product(shapes[1]) != 1:
            suffix = len(shapes[0]) - len(shapes[1])
            if argument(op, "axis_str", "") or argument(op, "axis", -1) not in (-1, suffix):
                raise Declined("its axis places the bias as NumPy would not")
        # Either may be the scores, if it has the shape of the sum; better the one to walk on by.
        orders = [inputs] if legacy or subtracts else [inputs, inputs[::-1]]
        orders = [
            (x, bias)
            for x, bias in orders
            if broadcasts(self.facts.shape(bias), self.facts.shape(x))
        ]
        if not orders:
            raise Declined("neither of {} and {} broadcasts to the other".format(*shapes))
        x, bias = max(orders, key=self._looks_like_scores)
        if self._take_mask_by_arithmetic(index, x, bias, subtracts):
            return
        if self.is_finite and not self._is_no_mask(bias) and not self._may_dare():
            raise Declined("the fill, {:g}, is finite, and a bias may be as low".format(self.fill))
        if not subtracts and self.scale > 0 and self._take_mask_in_bias(index, x, bias):
            return
        array = self.facts.array(bias)
        keep = None if array is None or array.dtype.kind != "f" else array == 0
        band = None if keep is None else bands.of_mask(keep, self.facts.shape(x))
        triangle = None
        if band is not None:
            lows = -array[~keep] if subtracts else array[~keep]
            if (lows == -np.inf).all() and self.scale > 0:
                self._check_band_fits(band)
                self._take_fill(-np.inf)
                self._masked(index, x)
                self._add_band(band)
                self.take_constant(bias)
                return
            if (lows <= LOW).all() and bands.every_row_keeps(keep) and self.scale == 1:
                triangle = bias, band, float(lows.max())
        self._masked(index, x)
        bias = self._unexpanded(bias)
        added = make("Negative", [bias], self.facts.shape(bias)) if subtracts else bias
        if self.scale != 1.0:
            added = make("Scale", [added], self.facts.shape(bias), scale=self.scale)
        self.biases.append(added)
        if triangle is not None:
            self._additive = (added,) + triangle

    def _may_dare(self):
        self.dared = self.dared or self._dares
        return self._dares

    def _is_no_mask(self, bias):
        lowest = self.facts.lowest(bias)
        return lowest is not None and lowest > _NOT_LOW

    def _looks_like_scores(self, order):
        """Products before what may be scores before what is read from elsewhere."""
        x, bias = order
        kind = self.graph.type(x)
        return (
            not self.facts.is_constant(x),
            kind in ("BatchMatMul", "MatMul"),
            kind in ("SequenceMask", "Where", "Add", "ATen") + _SCALES,
            self.facts.is_constant(bias),
        )

    def _take_mask_by_arithmetic(self, index, x, bias, subtracts):
        """x * b + c with constants: b 1 and c 0 for what is kept, b 0 and c low for the rest."""
        graph, facts = self.graph, self.facts
        low = facts.array(bias)
        if low is None or low.dtype.kind != "f" or graph.type(x) != "Mul":
            return False
        if not graph.is_only_read_by(x, self.indices | {index}):
            return False
        inputs = graph.inputs[x.writer]
        factors = [value for value in inputs if facts.array(value) is not None]
        if len(factors) != 1 or facts.number(factors[0]) is not None:
            return False
        keep = facts.array(factors[0])
        low = -low if subtracts else low
        try:
            keep, low = np.broadcast_arrays(keep, low)
        except ValueError:
            return False
        fills = low[keep == 0]
        if not (((keep == 1) & (low == 0)) | (keep == 0)).all() or not len(set(fills.flat)) == 1:
            return False
        scores = inputs[1] if factors[0] == inputs[0] else inputs[0]
        band = bands.of_mask(keep != 0, facts.shape(scores))
        if band is None:
            return False
        self._check_band_fits(band)
        self._take_fill(float(fills[0]))
        self._masked(index, x)
        self._masked(x.writer, scores)
        self._add_band(band)
        for constant in (factors[0], bias):
            self.take_constant(constant)
        return True

    def _take_mask_in_bias(self, index, x, bias):
        """A bias that a Where made, of -inf and 0 or a triangle of -inf: masks, of which tiles know."""
        graph, facts = self.graph, self.facts
        op = graph.writer(bias)
        if op is None or op.type not in ("Where", "ATen") or argument(op, "broadcast_on_rows", 0):
            return False
        if op.type == "ATen" and argument(op, "operator", "") != "where":
            return False
        if not graph.is_only_read_by(bias, self.indices | {index}):
            return False
        mask, first, second = graph.inputs[bias.writer]
        fills_true = facts.number(first) == -np.inf
        filler, rest = (first, second) if fills_true else (second, first)
        if facts.number(filler) != -np.inf or not broadcasts(
            known_shape(facts, mask), facts.shape(x)
        ):
            return False
        band = None
        if facts.number(rest) != 0:
            array = facts.array(rest)
            if array is None or not np.isin(array, (0, -np.inf)).all():
                return False
            band = bands.of_mask(array == 0, facts.shape(x))
            if band is None:
                return False
            self._check_band_fits(band)
        self._take_fill(-np.inf)
        self._masked(index, x)
        self.indices.add(bias.writer)
        keep = self._as_bool(self._unexpanded(mask), op.type == "ATen")
        self._add_mask(self._negated(keep) if fills_true else keep)
        if band is not None:
            self._add_band(band)
        for constant in (filler, rest):
            self.take_constant(constant)
        return True

    def _unexpanded(self, value):
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
            self._absorb(one, first=1)
        for one in reversed(casts):
            before = make("Cast", [before], shape, to=argument(self.graph.ops[one], "to", 1))
        return self._unexpanded(before) if isinstance(before, Value) else before

    def _add_mask(self, keep):
        there = self.side.get("mask")
        self.side["mask"] = keep if there is None else both(self.facts, "And", there, keep)

    def _settle_additive(self):
        """Makes a finite triangle that is added a mask, unless anything else hides or is added."""
        if self._additive is None or self.empty_row is not None:
            return
        added, value, band, low = self._additive
        masks = self.parts or self.side or self.window != [None, None]
        if added not in self.biases or ((masks or len(self.biases) > 1) and not self._may_dare()):
            return
        self.biases.remove(added)
        self._add_band(band)
        self.take_constant(value)
        self.notes.append(
            "equal unless a score that '{}' lowers by {:.10g} is less than that, or not by {}, above "
            "all that its row keeps".format(value.blob, -low, VANISHES)
        )

    def _take_repeated_mask(self, index, op, x, sides, shape):
        """A SequenceMask with `batch`, by a mask for one batch that is broadcast to all."""
        if self.tail:
            raise Declined("a dim of 1 follows its columns")
        self._take_fill(number_argument(op, "fill_val", -np.inf))
        batch = argument(op, "batch", None) % len(shape)
        of_one = (1,) * (batch + 1) + shape[batch + 1 :]
        kind = int(caffe2_pb2.TensorProto.BOOL)
        ones = make("ConstantFill", [], of_one, shape=of_one, dtype=kind, value=1)
        arguments = {
            name: argument(op, name, None)
            for name in ("mode", "radius", "diagonal")
            if argument(op, name, None) is not None
        }
        # The runtime's own knows no bool.
        arguments.update(axis=-1, batch=batch, fill_val=0, engine="MASK")
        self._masked(index, x)
        self._add_mask(make("SequenceMask", [ones] + sides, of_one, **arguments))

    def _take_view(self, index, op):
        """A regrouping of rows; masks that were taken must hold for the rows before it as well."""
        x = self.graph.inputs[index][0]
        after, before = (self.facts.shape(value) for value in (self.x, x))
        if after is None or before is None or not after or not before:
            raise Declined("not a view of known shapes")
        if self.tail:
            after = after[: len(after) - self.tail]
        if not before or before[-1] != after[-1] or product(before) != product(after):
            # Columns with dims of 1 behind them may come to be last.
            raise Declined("its columns change")
        keeps_rows = before[-2:] == after[-2:]
        if self.rows_are_known and not keeps_rows:
            raise Declined("rows of a triangle are not the dim before the last of {}".format(before))
        moved = {
            name: self._moved(name, side, after, before) for name, side in self.side.items()
        }
        self.biases = [self._moved("bias", bias, after, before) for bias in self.biases]
        self.side = moved
        self.views.append(index)
        self.tail = 0
        self._passed(index, x)

    def _moved(self, name, side, after, before):
        """A mask, bias, lengths or centers for rows that are grouped otherwise."""
        shape = known_shape(self.facts, side)
        if name in ("lengths", "centers"):
            if shape == (product(after[:-1]),):
                return side  # one for each row
            raise Declined("{} {} are not one for each row".format(name, shape))
        if all(size == 1 for size in shape[:-2]) and before[-2:] == after[-2:]:
            extra = max(len(shape) - len(before), 0)
            return squeeze(self.facts, side, range(extra)) if extra else side
        if all(size == 1 for size in shape[:-1]):
            extra = max(len(shape) - len(before), 0)
            return squeeze(self.facts, side, range(extra)) if extra else side
        raise Declined("{} {} is by dims that are regrouped".format(name, shape))

    def _take_sequence_mask(self, index, op):
        graph, facts = self.graph, self.facts
        x, side = graph.inputs[index][0], graph.inputs[index][1:]
        shape = facts.shape(x)
        parts = argument(op, "mode", "").split("+")
        is_mask = parts == ["mask"]
        if not is_mask and not set(parts) <= set(_PARTS):
            raise Declined("its mode is '{}'".format("+".join(parts)))
        reads = ("lengths", "sequence"), ("centers", "window"), ("mask", "mask")
        names = [name for name, part in reads if part in parts]
        if len(side) < len(names):
            raise Declined("it has no {}".format(names[len(side)]))
        side = dict(zip(names, side))
        for name in names:
            if name in self.side:
                raise Declined("there is another input of this kind, " + name)
        if is_mask:
            dims = facts.shape(side["mask"])
            if shape is None or dims is None or len(dims) != len(shape) or self.tail:
                raise Declined("its mask may have fewer dims than '{}'".format(x.blob))
        else:
            _check_axes(op, x, shape, parts, self.tail)
            if _repeats_over_batch(op, shape, [facts.shape(value) for value in side.values()]):
                return self._take_repeated_mask(index, op, x, list(side.values()), shape)
            for name, value in side.items():
                _check_prefix(op, name, facts.shape(value), x, shape, value)
        diagonal = argument(op, "diagonal", 0)
        triangles = set(parts) & set(_TRIANGLES)
        if triangles and set(self.parts) & set(_TRIANGLES) and diagonal != self.diagonal:
            raise Declined("there is another diagonal, {}".format(self.diagonal))
        fill = number_argument(op, "fill_val", 0.0 if is_mask else -np.inf)
        self._take_fill(0.0 if argument(op, "grad", 0) else fill)
        if triangles:
            self.diagonal = diagonal
        if "window" in parts:
            self.radius = argument(op, "radius", 10)
        if not is_mask:
            self.parts = parts + [part for part in self.parts if part not in parts]
        self.side.update(side)
        self._masked(index, x)


def _repeats_over_batch(op, shape, indices):
    """Whether lengths and centers are those of the rows behind `batch`, the same for each batch."""
    batch = argument(op, "batch", None)
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
    if not set(parts) & set(_TRIANGLES) or rank == 1:
        return
    if tail:
        raise Declined("a dim of 1 follows its columns")
    batch = argument(op, "batch", None)
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
    """Checks that lengths or centers have one entry for each position of leading dims."""
    if argument(op, "lengths_of", "rows") == "batch":
        return
    if shape is None or index is None:
        reason = "the shapes of '{}' and its {} are not known".format(x.blob, name)
        raise Declined(reason, [x, value])
    axis = argument(op, "axis", 1) % len(shape)
    batch = argument(op, "batch", None)
    left = () if batch is None else shape[: (batch % len(shape)) + 1]
    if product(left) == 1 and index == (product(shape[:axis]),):
        return  # one for each row
    if index != shape[: len(index)] or len(index) >= len(shape) or product(left) != 1:
        raise Declined(
            "its {} {} are not by leading dims of '{}' {}".format(name, index, x.blob, shape)
        )
