"""Reads off a net what stands before a Softmax: scale, bias and masks, back to the scores."""

import numpy as np

from caffe2op_mask.fuse.shapes import argument

# A fill this low leaves nothing after the softmax, if the largest score that is kept is more than
# 104 above it: there exp of a float32 is 0.
LOW = -1e4
VANISHES = 104

_MASKS = ("SequenceMask", "Where", "Add")
_SCALES = ("Scale", "Mul", "Div")
_SCORES = ("BatchMatMul", "SequenceMask") + _SCALES
_TRIANGLES = ("upper", "lower", "upperdiag", "lowerdiag")


class Declined(Exception):
    """Why operators are left alone; `indices` are their numbers, where that is known."""

    indices = frozenset()


def product(sizes):
    total = 1
    for size in sizes:
        total *= size
    return total


def from_the_end(axis, rank):
    """An axis as a negative number; None if the rank that takes is not known."""
    if axis < 0:
        return axis
    return None if rank is None else axis - rank


def broadcasts(shape, to):
    """Whether NumPy takes a shape for another, larger one."""
    pairs = zip(reversed(shape), reversed(to))
    return len(shape) <= len(to) and all(size in (1, other) for size, other in pairs)


def check_readers(graph, value, indices):
    """Checks that nobody but the operators `indices` reads a value."""
    if graph.is_kept(value):
        raise Declined("'{}' is an input or output of the net".format(value.blob))
    for index in sorted(graph.readers(value) - indices):
        raise Declined("'{}' is read by {} too".format(value.blob, graph.said(index)))


class Scores(object):
    """What a Softmax reads, as scale * x + bias under masks.

    `indices` are the operators this stands for, the Softmax too. `walk` reads off the rest.
    """

    KINDS = _MASKS + _SCALES

    def __init__(self, graph, softmax):
        self.graph = graph
        self.indices = {softmax}
        self.x = graph.inputs[softmax][0]
        self.scale = 1.0
        self.fill = None
        self.parts = []
        self.side = {}  # lengths, centers, mask and bias: those that there are
        self.radius = None
        self.diagonal = 0
        self.notes = []

    def walk(self):
        """Walks back from the Softmax while operators fit arguments and inputs of MaskedSoftmax.

        Raises Declined where the first mask or bias on the way does not.
        """
        take = {
            "SequenceMask": self._take_sequence_mask,
            "Where": self._take_where,
            "Add": self._take_add,
        }
        take.update((name, self._take_scale) for name in _SCALES)
        while self.graph.type(self.x) in take:
            index = self.x.writer
            try:
                check_readers(self.graph, self.x, self.indices)
                take[self.graph.type(self.x)](index, self.graph.ops[index])
            except Declined as declined:
                if self.graph.type(self.x) in _MASKS:
                    if not self.found:
                        raise
                    self.notes.append("{} stays: {}".format(self.graph.said(index), declined))
                break
        self._check_fill_is_lowest()

    @property
    def found(self):
        """Whether there is anything but a scale."""
        return bool(self.parts or self.side)

    @property
    def is_finite(self):
        return self.fill is not None and np.isfinite(self.fill)

    @property
    def highest_to_vanish(self):
        """A row must keep a score above this for a finite fill to vanish."""
        return self.fill + VANISHES

    def arguments(self):
        """Arguments of MaskedSoftmax and MaskedAttention, less those that are their defaults."""
        found = {}
        if self.parts:
            found["mode"] = "+".join(self.parts)
        if "window" in self.parts:
            found["radius"] = self.radius
        if self.diagonal:
            found["diagonal"] = self.diagonal
        found["empty_row"] = "uniform" if self.is_finite else "nan"
        for name in ("mask", "bias"):
            if name in self.side:
                found["has_" + name] = 1
        return found

    def side_inputs(self):
        names = ("lengths", "centers", "mask", "bias")
        return [(name, self.side[name]) for name in names if name in self.side]

    def _take(self, index, x):
        """Makes an operator part of this; `x` is what it read."""
        self.indices.add(index)
        self.x = x

    def _take_fill(self, fill):
        """Checks that what is masked vanishes, as it does without any doubt for -inf alone."""
        with np.errstate(all="ignore"):
            fill = float(np.float32(fill) * np.float32(self.scale))
        if not fill <= LOW:
            raise Declined("its fill, {:g}, is not -inf or below {:g}".format(fill, LOW))
        if self.fill not in (None, fill):
            raise Declined("there is another fill, {:g}".format(self.fill))
        if np.isfinite(fill) and "bias" in self.side:
            raise Declined("its fill, {:g}, is finite, and a bias is added to it".format(fill))
        self.fill = fill

    def _check_fill_is_lowest(self):
        """A finite fill says nothing where the scores may hold another mask's fill, or a bias."""
        value = self.x
        while self.is_finite and self.graph.type(value) in _MASKS + _SCALES:
            if self.graph.type(value) in _MASKS:
                raise Declined(
                    "the fill, {:g}, is finite, and {} before it may be as low".format(
                        self.fill, self.graph.said(value.writer)
                    )
                )
            value = self.graph.inputs[value.writer][0]

    def _take_scale(self, index, op):
        graph, inputs = self.graph, self.graph.inputs[index]
        x, constant, factor = inputs[0], None, None
        if op.type == "Scale":
            factor = argument(op, "scale", 1.0)
        else:
            commutes = op.type == "Mul" and not argument(op, "broadcast", 0)
            swap = commutes and graph.constant(inputs[1]) is None
            x, constant = inputs[::-1] if swap else inputs
            # One number, of no more dims than any tensor that has a softmax.
            if graph.shape(constant) in ((), (1,)):
                factor = graph.constant(constant)
        if op.type == "Div" and factor:
            factor = 1 / factor
        if not factor or not np.isfinite(factor):
            raise Declined("not a scale")
        self.scale *= factor
        self._take(index, x)
        if constant is not None:
            self._take_constant(constant)

    def _take_constant(self, constant):
        """A constant that only this has read goes as well; that of another net is told."""
        if constant.writer is None:
            number = self.graph.constant(constant)
            self.notes.append("'{}' is {:g}, as init fills it".format(constant.blob, number))
        elif self.graph.is_only_read_by(constant, self.indices):
            self.indices.add(constant.writer)

    def _take_where(self, index, op):
        graph = self.graph
        mask, x, filler = graph.inputs[index]
        fill = graph.constant(filler)
        if fill is None:
            if graph.constant(x) is not None:
                raise Declined("its mask is True where it fills")
            raise Declined("'{}' is not a constant of the net".format(filler.blob))
        if argument(op, "broadcast_on_rows", 0):
            raise Declined("its mask is by rows (broadcast_on_rows)")
        if "mask" in self.side:
            raise Declined("there is a mask already")
        self._take_fill(fill)
        self.side["mask"] = mask
        self._take(index, x)
        self._take_constant(filler)

    def _take_add(self, index, op):
        graph, inputs = self.graph, self.graph.inputs[index]
        if "bias" in self.side:
            raise Declined("there is a bias already")
        if self.scale != 1.0:
            raise Declined("its sum is scaled")
        shapes = [graph.shape(value) for value in inputs]
        for value, shape in zip(inputs, shapes):
            if shape is None:
                raise Declined("the shape of '{}' is not known".format(value.blob))
        legacy = argument(op, "broadcast", 0)
        if legacy and product(shapes[1]) != 1:
            suffix = len(shapes[0]) - len(shapes[1])
            if argument(op, "axis_str", "") or argument(op, "axis", -1) not in (-1, suffix):
                raise Declined("its axis places the bias as NumPy would not")
        # Either may be the scores, if it has the shape of the sum; better the one to walk on by.
        orders = [inputs] if legacy else [inputs, inputs[::-1]]
        orders = [(x, bias) for x, bias in orders if broadcasts(graph.shape(bias), graph.shape(x))]
        if not orders:
            raise Declined("neither of {} and {} broadcasts to the other".format(*shapes))
        x, bias = max(orders, key=lambda order: graph.type(order[0]) in _SCORES)
        if self.is_finite:
            raise Declined("the fill, {:g}, is finite, and a bias may be as low".format(self.fill))
        self.side["bias"] = bias
        self._take(index, x)

    def _take_sequence_mask(self, index, op):
        graph = self.graph
        x, side = graph.inputs[index][0], graph.inputs[index][1:]
        shape = graph.shape(x)
        parts = argument(op, "mode", "").split("+")
        is_mask = parts == ["mask"]
        if not is_mask and not set(parts) <= set(("sequence", "window") + _TRIANGLES):
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
            dims = graph.shape(side["mask"])
            if shape is None or dims is None or len(dims) != len(shape):
                raise Declined("its mask may have fewer dims than '{}'".format(x.blob))
        else:
            _check_axes(op, x.blob, shape, parts)
            for name, value in side.items():
                _check_prefix(op, name, graph.shape(value), x.blob, shape)
        diagonal = argument(op, "diagonal", 0)
        triangles = set(parts) & set(_TRIANGLES)
        if triangles and set(self.parts) & set(_TRIANGLES) and diagonal != self.diagonal:
            raise Declined("there is another diagonal, {}".format(self.diagonal))
        fill = argument(op, "fill_val", 0.0 if is_mask else -np.inf)
        self._take_fill(0.0 if argument(op, "grad", 0) else fill)
        if triangles:
            self.diagonal = diagonal
        if "window" in parts:
            self.radius = argument(op, "radius", 10)
        if not is_mask:
            self.parts = parts + [part for part in self.parts if part not in parts]
        self.side.update(side)
        self._take(index, x)


def _check_axes(op, x, shape, parts):
    """Checks that rows and columns of a SequenceMask are the last two dims."""
    rank = None if shape is None else len(shape)
    if any(arg.name == "repeat_from_axis" for arg in op.arg):
        raise Declined("repeat_from_axis masks dims behind the columns")
    axis = from_the_end(argument(op, "axis", 1), rank)
    if axis is None:
        raise Declined("the rank of '{}' is not known, so its axis may not be the last".format(x))
    if axis != -1:
        raise Declined("its axis is not the last of '{}'".format(x))
    if not set(parts) & set(_TRIANGLES) or rank == 1:
        return
    batch = argument(op, "batch", None)
    batch = None if batch is None else from_the_end(batch, rank)
    if batch == -3 or (batch is None and rank == 2):
        return
    if shape is None:
        raise Declined("rows of its triangle are not known to be one dim of '{}'".format(x))
    matrix = shape[:-1] if batch is None else shape[rank + batch + 1 : -1]
    if product(matrix[:-1]) != 1 or (not matrix and shape[-2] != 1):
        raise Declined("rows of its triangle are not the dim before the last of {}".format(shape))


def _check_prefix(op, name, index, x, shape):
    """Checks that lengths or centers have one entry for each position of leading dims."""
    if argument(op, "lengths_of", "rows") == "batch":
        return
    if shape is None or index is None:
        raise Declined("the shapes of '{}' and its {} are not known".format(x, name))
    batch = argument(op, "batch", None)
    left = () if batch is None else shape[: (batch % len(shape)) + 1]
    if index != shape[: len(index)] or len(index) >= len(shape) or product(left) != 1:
        raise Declined(
            "its {} {} are not by leading dims of '{}' {}".format(name, index, x, shape)
        )
