"""What says which rows are padding, whatever blobs say it."""

import collections

import numpy as np
from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse.facts import is_deterministic
from caffe2op_mask.fuse.graph import Value, argument
from caffe2op_mask.fuse.limits import LOW
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.fuse.views import VIEWS

LENGTHS, MASK, BIAS = "lengths", "mask", "bias"

# Rows that are kept: `kind` says how the values numbered `number` say so, lengths ``[B]`` by where
# rows end, a mask ``[B, L]`` (with dims of 1 in between, or not) by True, a bias by what is above LOW.
Kept = collections.namedtuple("Kept", "kind number")

_SAME = ("Copy", "StopGradient")


class Masks(object):
    """Numbers the values of a net, so that those have one number that are computed alike.

    What differs by dims of 1 alone, or is lengths of another type of integer, has the same.
    """

    def __init__(self, facts):
        self.facts = facts
        self._graph = facts.graph
        self._numbers = {}
        self._known = {}
        self._values = collections.defaultdict(list)
        for index, op in enumerate(self._graph.ops):
            for value in self._graph.inputs[index]:
                self.number(value)
            for i in range(len(op.output)):
                self._set(Value(op.output[i], index), index, op, i)

    def number(self, value):
        """The number of a value."""
        if value not in self._numbers:
            self._add(value, ("found", value))
        return self._numbers[value]

    def values(self, number):
        """The values that have a number, in the order in which the net has them."""
        return self._values[number]

    def by_lengths(self, value):
        """Rows that lengths keep."""
        return Kept(LENGTHS, self.number(value))

    def by_mask(self, value):
        """Rows that a bool mask keeps."""
        number = self.number(value)
        for one in self._values[number]:
            lengths = self._lengths_of(one)
            if lengths is not None:
                return self.by_lengths(lengths)
        return Kept(MASK, number)

    def by_bias(self, value):
        """Keys that a bias keeps."""
        return Kept(BIAS, self.number(value))

    def by_factor(self, value):
        """Rows that a product with a float mask keeps: 1 there, and 0 elsewhere; or None."""
        graph = self._graph
        while value.writer is not None:
            op = graph.ops[value.writer]
            first = graph.inputs[value.writer][0] if op.input else None
            if first is None or op.output[0] != value.blob:
                return None
            dtype = self.facts.type(first)
            if op.type == "Cast" and dtype == np.bool_:
                return self.by_mask(first)
            if self._masks_ones(value.writer, op):
                return self.by_lengths(graph.inputs[value.writer][1])
            if op.type not in VIEWS + _SAME or not self._is_view(first, value):
                return None
            value = first
        return None

    def _lengths_of(self, value):
        if value.writer is None or self.facts.type(value) != np.bool_:
            return None
        if not self._masks_ones(value.writer, self._graph.ops[value.writer]):
            return None
        return self._graph.inputs[value.writer][1]

    def _masks_ones(self, index, op):
        """Whether an operator makes 1 of rows ``[B, L]`` before lengths ``[B]`` and 0 behind."""
        if op.type != "SequenceMask" or len(op.input) != 2:
            return False
        ones, lengths = self._graph.inputs[index]
        shape, entries = self.facts.shape(ones), self.facts.array(ones)
        return (
            is_plain_sequence(op, shape)
            and len(shape) == 2
            and self.facts.shape(lengths) == shape[:1]
            and argument(op, "fill_val", None, object) in (0, "0", 0.0)
            and entries is not None
            and bool((entries == 1).all())
        )

    def _set(self, value, index, op, output):
        inputs = self._graph.inputs[index]
        passes = output == 0 and inputs and (op.type in _SAME or self._is_same(op, inputs, value))
        if passes:
            number = self.number(inputs[0])
            self._numbers[value] = number
            self._values[number].append(value)
        elif is_deterministic(op) or op.type == "SequenceMask":
            arguments = tuple(sorted(arg.SerializeToString() for arg in op.arg))
            numbers = tuple(self.number(one) for one in inputs)
            self._add(value, (op.type, arguments, numbers, output))
        else:
            self._add(value, ("made", value))

    def _is_same(self, op, inputs, value):
        if op.type == "Cast":
            kinds = [self.facts.type(one) for one in (inputs[0], value)]
            return None not in kinds and all(kind in (np.int32, np.int64) for kind in kinds)
        return op.type in VIEWS and self._is_view(inputs[0], value)

    def _is_view(self, before, after):
        """Whether shapes differ by dims of 1 alone."""
        shapes = [self.facts.shape(one) for one in (before, after)]
        if None in shapes:
            return False
        one, other = ([size for size in shape if size != 1] for shape in shapes)
        return one == other

    def _add(self, value, key):
        number = self._known.setdefault(key, len(self._known))
        self._numbers[value] = number
        self._values[number].append(value)


def is_plain_sequence(op, shape):
    """Whether a SequenceMask hides rows, dim 1 behind the batch, from lengths of the batch on."""
    if argument(op, "mode", "") != "sequence" or shape is None or len(shape) < 2:
        return False
    names = {arg.name for arg in op.arg} & {"batch", "grad"}
    repeats = argument(op, "repeat_from_axis", None, int)
    columns_end = len(shape) if repeats is None else repeats % len(shape)
    return not names and argument(op, "axis", 1) % len(shape) == 1 and columns_end == 2


class Emission(object):
    """Makes the bool mask of rows ``[B, L]``.

    kept       a Kept
    first      so many first rows are kept whatever the mask says
    make       called with a type, inputs, outputs and arguments, returns an operator
    fresh      called with a name, returns one that is new
    """

    def __init__(self, masks, kept, first, make, fresh):
        self._facts, self._graph = masks.facts, masks.facts.graph
        self._kept, self._first = kept, first
        self._make, self._fresh = make, fresh

    def ops(self, source, reference):
        """(operators, the blob that is the mask).

        source      the value that says what is kept, there when the operators run
        reference   (a blob, the number of its dim that is the batch, that of its rows), for lengths
        """
        ops, blob = [], source.blob
        if self._kept.kind == LENGTHS:
            name = self._fresh(blob + "_kept")
            ops.append(self._sequence(self._whole(ops, name, reference), blob, name))
            blob = name
        else:
            blob = self._plain(ops, source)
        if self._kept.kind == BIAS:
            name, low = self._fresh(source.blob + "_kept"), self._fresh(source.blob + "_low")
            ops.append(self._make("ConstantFill", [], [low], shape=[1], value=float(LOW)))
            ops.append(self._make("GT", [blob, low], [name]))
            blob = name
        if self._first:
            blob = self._with_first(ops, blob)
        if blob == source.blob and self._graph.last(blob) != source:
            blob = self._fresh(source.blob + "_kept")  # it is written again
            ops.append(self._make("Copy", [source.blob], [blob]))
        return ops, blob

    def _whole(self, ops, name, reference):
        blob, batch, row = reference
        sizes, whole = self._fresh(name + "_dims"), self._fresh(name + "_all")
        ops.append(self._make("Shape", [blob], [sizes], axes=[batch, row]))
        ops.append(self._filled(sizes, whole, caffe2_pb2.TensorProto.BOOL, True))
        return whole

    def _filled(self, sizes, name, kind, value):
        arguments = dict(input_as_shape=1, dtype=int(kind), value=value)
        return self._make("ConstantFill", [sizes], [name], **arguments)

    def _sequence(self, whole, lengths, name):
        # The runtime's own knows no bool.
        arguments = dict(mode="sequence", axis=1, fill_val=0, engine="MASK")
        return self._make("SequenceMask", [whole, lengths], [name], **arguments)

    def _plain(self, ops, source):
        """The value without the dims of 1 between its batch and its rows."""
        shape = self._facts.shape(source)
        spare = list(range(1, len(shape) - 1))
        if not spare:
            return source.blob
        plain = self._fresh(source.blob + "_plain")
        ops.append(self._make("Squeeze", [source.blob], [plain], dims=spare))
        return plain

    def _with_first(self, ops, blob):
        sizes, rows, count, whole, first, either = (
            self._fresh(blob + end)
            for end in ("_sizes", "_batch", "_count", "_whole", "_first", "_or_first")
        )
        ops.append(self._make("Shape", [blob], [sizes]))
        ops.append(self._make("Shape", [blob], [rows], axes=[0]))
        ops.append(self._filled(rows, count, caffe2_pb2.TensorProto.INT32, self._first))
        ops.append(self._filled(sizes, whole, caffe2_pb2.TensorProto.BOOL, True))
        ops.append(self._sequence(whole, count, first))
        ops.append(self._make("Or", [blob, first], [either]))
        return either


def may_say(facts, kept, value, sizes):
    """Whether a value has the dims that a Kept has: the batch, dims of 1, and rows but of lengths."""
    shape = facts.shape(value)
    batch, rows = sizes
    if shape is None:
        return False
    if kept.kind == LENGTHS:
        return shape == (batch,)
    return len(shape) >= 2 and shape[0] == batch and shape[-1] == rows and (
        product(shape) == batch * rows
    )
