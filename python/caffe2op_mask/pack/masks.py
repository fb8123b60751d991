"""What says which rows are padding, whatever blobs say it."""

import collections

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from caffe2op_mask.fuse.facts import CannotRun, feed, is_deterministic, run_operator, view
from caffe2op_mask.fuse.graph import Value, argument
from caffe2op_mask.fuse.limits import LOW
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.fuse.views import VIEWS
from caffe2op_mask.pack.layouts import BATCH, ROW, expanded, layout_of, regrouped

LENGTHS, MASK, BIAS = "lengths", "mask", "bias"

# Rows that are kept: `kind` says how the values numbered `number` say so, lengths ``[B]`` by where
# rows end, a mask ``[B, L]`` (with dims of 1 in between, or not) by True, a bias by what is above
# LOW.
Kept = collections.namedtuple("Kept", "kind number")

_SAME = ("Copy", "StopGradient")

# What makes each entry of a mask of one entry, and may be done again before the net does it.
_REPLAYED = _SAME + tuple("Add And Cast Div EQ GE GT LE LT Mul NE Not Or Sub".split())


class Masks(object):
    """Numbers the values of a net, so that those have one number that are computed alike.

    What differs by dims of 1 alone, or is lengths of another type of integer, has the same.
    """

    def __init__(self, facts):
        self.facts = facts
        self._graph = facts.graph
        self._numbers = {}
        self._known = {}  # number of each key, and key of each number
        self._keys = []
        self._values = collections.defaultdict(list)
        for index, op in enumerate(self._graph.ops):
            for value in self._graph.inputs[index]:
                self.number(value)
            for i in range(len(op.output)):
                self._set(Value(op.output[i], index), index, op, i)

    def number(self, value):
        """The number of a value."""
        if value not in self._numbers:
            self._add(value, (("found", value), (), 0))
        return self._numbers[value]

    def values(self, number):
        """The values that have a number, in the order in which the net has them."""
        return self._values[number]

    def by_lengths(self, value):
        """Rows that lengths keep."""
        return Kept(LENGTHS, self.number(value))

    def by_mask(self, value):
        """Rows that a bool mask keeps."""
        return self._by_mask(self.number(value))

    def _by_mask(self, number):
        for one in self._values[number]:
            lengths = self._lengths_of(one)
            if lengths is not None:
                return self.by_lengths(lengths)
        return Kept(MASK, number)

    def by_keys(self, kind, value):
        """(Kept, its batch) of a mask or bias of keys ``[B, 1, 1, L]`` or ``[B, 1, L]``.

        Heads may be merged into the batch, ``[B * H, 1, L]``; of those the batch is B.
        """
        number, batch = self._repeated(value) or (self.number(value), self.facts.shape(value)[0])
        return self._by_mask(number) if kind == MASK else Kept(kind, number), batch

    def _repeated(self, value):
        """(number, batch) of what all heads of a batch have; None where heads are not merged."""
        graph, facts = self._graph, self.facts
        whole, path, one = facts.shape(value), [], value
        while one.writer is not None:
            op, inputs = graph.ops[one.writer], graph.inputs[one.writer]
            if op.output[0] != one.blob or not inputs:
                return None
            main = self._main(op, inputs)
            if main is None and op.type not in VIEWS + ("Expand",):
                return None
            path.append((one, op, inputs, main or 0))
            one = inputs[main or 0]
            shape = facts.shape(one)
            if shape is None:
                return None
            if op.type == "Expand" and len(shape) > 1 and product(shape[1:-1]) == 1:
                if shape[0] < whole[0] and shape[-1] == whole[-1]:
                    break
        else:
            return None
        layout = layout_of(facts.shape(one), 0, -1)
        sizes = dict(zip((BATCH, ROW), (facts.shape(one)[0], whole[-1])))
        number = self.number(one)
        for after, op, inputs, main in reversed(path):
            to = facts.shape(after)
            if op.type == "Expand":
                layout = expanded(layout, facts.shape(inputs[0]), to)
            elif op.type in VIEWS:
                layout = regrouped(layout, sizes, to)
            else:
                numbers = [self.number(other) for other in inputs]
                numbers[main] = number
                if op.type not in _SAME:
                    number = self._number_of(_key(op, numbers, 0))
            if layout is None:
                return None
        if layout[0][:1] != (BATCH,) or ROW in layout[0] or layout[-1] != (ROW,):
            return None
        return number, sizes[BATCH]

    def _main(self, op, inputs):
        """The place of the input of which an operator makes each entry, with constants or alone."""
        if op.type not in _REPLAYED:
            return None
        beside = [i for i, value in enumerate(inputs) if not self._is_one_number(value)]
        return beside[0] if len(beside) == 1 else None

    def _is_one_number(self, value):
        shape = self.facts.shape(value)
        return self.facts.is_constant(value) and shape is not None and product(shape) == 1

    def named(self, kept):
        """What a report calls the rows that are kept."""
        return self._named(kept.number)

    def _named(self, number):
        if self._values[number]:
            return self._values[number][0].blob
        op, numbers = self._keys[number][:2]
        return "{}({})".format(op[0], ", ".join(map(self._named, numbers)))

    def recipe(self, kept, sizes, first=None):
        """(a value, [(type, arguments, values beside it)]) that says what is kept, or None.

        The value has the dims that a Kept has, and the operators, one after the other, make of it
        what is asked for.

        first    the value and those beside are there before this operator
        """
        steps, number, seen = [], kept.number, set()
        while number not in seen:
            seen.add(number)
            for value in self._values[number]:
                if may_say(self.facts, kept, value, sizes) and self._is_there(value, first):
                    return value, steps[::-1]
            key = self._keys[number]
            if key[0][0] not in _REPLAYED:
                return None
            beside = [self._one_number(one, first) for one in key[1]]
            if beside.count(None) != 1 or key[2] != 0:
                return None
            steps.append((key[0][0], key[0][1], beside))
            number = key[1][beside.index(None)]
        return None

    def _one_number(self, number, first):
        for value in self._values[number]:
            if self._is_one_number(value) and self._is_there(value, first):
                return value
        return None

    def _is_there(self, value, first):
        if first is None:
            return True
        is_before = value.writer is None or value.writer < first
        return is_before and self._graph.is_there(value, first, ())

    def is_of_bool(self, kept):
        """Whether a bias is made of a bool mask, and 0 where it does not hide."""
        steps, number = [], kept.number
        while all(self.facts.type(one) != np.bool_ for one in self._values[number]):
            (op_type, arguments), numbers, output = self._keys[number]
            beside = [self._one_number(one, None) for one in numbers]
            if op_type not in _REPLAYED or beside.count(None) != 1 or output != 0:
                return False
            steps.append((op_type, arguments, beside))
            number = numbers[beside.index(None)]
        biases = self._of_both(steps[::-1])
        return biases is not None and biases.max() == 0 and biases.min() <= LOW

    def _of_both(self, steps):
        """What operators make of False and True, or None."""
        space, blob = workspace.C.Workspace(), "both"
        feed(space, blob, np.array([False, True]))
        for i, (op_type, arguments, beside) in enumerate(steps):
            names = ["{} of {}".format(j, i) for j in range(len(beside))]
            inputs = [blob if value is None else name for name, value in zip(names, beside)]
            for name, value in zip(inputs, beside):
                if value is None:
                    continue
                array = self.facts.array(value)
                if array is None:
                    return None
                feed(space, name, array.reshape(1))
            blob = "made {}".format(i)
            op = core.CreateOperator(op_type, inputs, [blob])
            op.arg.extend(map(caffe2_pb2.Argument.FromString, arguments))
            try:
                run_operator(space, op)
            except CannotRun:
                return None
        return np.array(view(space, blob))

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
            self._add(value, _key(op, [self.number(one) for one in inputs], output))
        else:
            self._add(value, (("made", value), (), 0))

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
        number = self._numbers[value] = self._number_of(key)
        self._values[number].append(value)

    def _number_of(self, key):
        if key not in self._known:
            self._known[key] = len(self._keys)
            self._keys.append(key)
        return self._known[key]


def _key(op, numbers, output):
    """What two operators have alike whose outputs are: ((type, arguments), inputs, output)."""
    arguments = tuple(sorted(arg.SerializeToString() for arg in op.arg))
    return (op.type, arguments), tuple(numbers), output


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

    def ops(self, recipe, reference):
        """(operators, the blob that is the mask, that of the mask without the first rows).

        recipe      of Masks, of what is there when the operators run
        reference   (a blob, the number of its dim that is the batch, that of its rows), for lengths
        """
        source, steps = recipe
        ops, blob = [], source.blob
        if self._kept.kind != LENGTHS:
            blob = self._plain(ops, source)
        for op_type, arguments, beside in steps:
            inputs = [blob if value is None else value.blob for value in beside]
            blob = self._fresh(source.blob + "_" + op_type.lower())
            ops.append(self._make(op_type, inputs, [blob]))
            ops[-1].arg.extend(map(caffe2_pb2.Argument.FromString, arguments))
        if self._kept.kind == LENGTHS:
            name = self._fresh(blob + "_kept")
            ops.append(self._sequence(self._whole(ops, name, reference), blob, name))
            blob = name
        if self._kept.kind == BIAS:
            name, low = self._fresh(source.blob + "_kept"), self._fresh(source.blob + "_low")
            ops.append(self._make("ConstantFill", [], [low], shape=[1], value=float(LOW)))
            ops.append(self._make("GT", [blob, low], [name]))
            blob = name
        said = blob
        if self._first:
            blob = self._with_first(ops, blob)
        if blob == source.blob and self._graph.last(blob) != source:
            blob = self._fresh(source.blob + "_kept")  # it is written again
            ops.append(self._make("Copy", [source.blob], [blob]))
        return ops, blob, said

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
    """Whether a value has the dims of a Kept: the batch, and but for lengths dims of 1 and rows."""
    shape = facts.shape(value)
    batch, rows = sizes
    if shape is None:
        return False
    if kept.kind == LENGTHS:
        return shape == (batch,)
    return len(shape) >= 2 and shape[0] == batch and shape[-1] == rows and (
        product(shape) == batch * rows
    )
