"""What is known of the values of a net: shapes, types and constants.

They come from a run on inputs, in a workspace of its own, or without inputs from the runtime's shape
inference. Either way what depends on no input is computed for real: what the init net fills, and what
the net makes of it and of sizes.
"""

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from caffe2op_mask.fuse import steps
from caffe2op_mask.fuse.graph import Graph, Value, argument, list_argument
from caffe2op_mask.fuse.shapes import broadcasts, infer, product
from caffe2op_mask.text import sentence

# What a value depends on, the least first: on nothing that changes from run to run, on the sizes of
# inputs, on their entries or on chance.
CONSTANT, SIZES, ENTRIES = range(3)

# Larger constants are neither computed without a run nor looked at.
_MOST_ENTRIES = 1 << 24

# Operators whose outputs follow from their inputs alone and that are at home in constants.
_DETERMINISTIC = frozenset(
    "Abs Add And Cast Ceil Clip Concat Conditional ConstantFill Copy Cos Div EQ Exp Expand "
    "ExpandDims Flatten Floor GE GT Gather GivenTensorBoolFill GivenTensorDoubleFill GivenTensorFill "
    "GivenTensorInt64Fill GivenTensorIntFill LE LT Load Log Max Min Mul NE Negative Not Or Pow "
    "NumpyTile Range ReduceMax ReduceMin ReduceSum Reshape Round Scale ScatterAssign Shape Sign Sin "
    "Size Slice Split Sqr Sqrt Squeeze Sub Sum Tile Transpose Where Xor".split()
)
_DETERMINISTIC_ATEN = frozenset(
    "add arange clamp div eq expand full ge gt le logical_and logical_not logical_or lt "
    "masked_fill mul ne nonzero ones repeat rsub slice sub tril triu where zeros".split()
)


class CannotRun(ValueError):
    """A net does not run on what it is given; the message is a sentence that says why."""


def run_operator(space, op):
    """Runs an operator in a Workspace; raises CannotRun."""
    try:
        space.run(op)
    except (RuntimeError, MemoryError) as error:
        reason = sentence(str(error)) or type(error).__name__
        raise CannotRun("{} -> {} fails: {}.".format(op.type, ", ".join(op.output), reason))


def feed(space, blob, array):
    """Puts an array into a Workspace; raises CannotRun."""
    try:
        space.create_blob(blob).feed(array)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = sentence(str(error)) or type(error).__name__
        raise CannotRun("'{}' cannot be fed: {}.".format(blob, reason))


def view(space, blob):
    """The array of a blob, in its own memory; None of what NumPy has no array for."""
    tensor = _tensor(space, blob)
    try:
        return None if tensor is None else tensor.data
    except (RuntimeError, TypeError):
        return None


def _tensor(space, blob):
    """A tensor; None of a blob that is none, which would become one."""
    blob = space.create_blob(blob) if space.has_blob(blob) else None
    return blob.tensor() if blob is not None and blob.is_tensor() else None


def _least(array):
    """The least entry of an array of floats, or None."""
    return float(array.min()) if array.dtype.kind == "f" and array.size else None


def is_deterministic(op):
    """Whether the outputs of an operator are known to follow from its inputs alone."""
    if op.type == "ATen":
        return argument(op, "operator", "") in _DETERMINISTIC_ATEN
    return op.type in _DETERMINISTIC


class Facts(object):
    """Facts of the values of a Graph.

    init    NetDef that runs before; without feeds it may fail
    feeds   {blob: array} that the net runs on; None: only constants are computed
    shapes  without feeds, {blob: shape} of what does not follow from the net
    """

    def __init__(self, graph, init=None, feeds=None, shapes=None):
        self.graph = graph
        self._runs = feeds is not None
        self._given_shapes = shapes or {}
        self._space = workspace.C.Workspace()
        self._shapes = {}
        self._types = {}
        self._depends = {}
        self._arrays = {}
        self._lowest = {}
        self._step_feeds = {}
        # An init net of ONNX's backend may hold the whole net, and so read what is fed.
        self._feed(feeds)
        if init is not None:
            self._learn(Graph(init), lambda value: Value(value.blob, None))
            for value in list(self._depends):
                # What the net writes, too, is another number on its next run.
                if graph.is_written(value.blob):
                    self._depends[value] = ENTRIES
            self._feed(feeds)
        self._learn(graph, lambda value: value)

    @property
    def of_a_run(self):
        """Whether the net ran, so that it can run again to prove what is made of it."""
        return self._runs

    def shape(self, value):
        """Shape of a value as a tuple, or None if it is not known."""
        shape = self._shapes.get(value)
        return self._given_shapes.get(value.blob) if shape is None else shape

    def type(self, value):
        """The dtype of a value, or None if it is not known."""
        return self._types.get(value)

    def is_constant(self, value):
        """Whether a value depends on nothing that changes, unless sizes do."""
        return self._depends.get(value, ENTRIES) < ENTRIES

    def array(self, value):
        """The entries of a constant, or None."""
        if value not in self._arrays and value.writer is None and self.is_constant(value):
            self._keep(value)
        return self._arrays.get(value)

    def number(self, value):
        """The number that every entry of a float tensor is, or None if that is not known."""
        op = self.graph.writer(value)
        if op is not None and op.type == "ConstantFill" and len(op.input) < 2:
            float_type = caffe2_pb2.TensorProto.FLOAT
            is_float = argument(op, "dtype", float_type, object) == float_type
            return float(argument(op, "value", 0.0)) if is_float else None
        array = self.array(value)
        if array is None or array.dtype.kind != "f" or not array.size:
            return None
        first = array.flat[0]
        return float(first) if (array == first).all() else None

    def factor(self, index):
        """(number, what it multiplies, its constant) of a Scale, or of a Mul or Div by one number.

        All are None of others; the constant is None of a Scale.
        """
        op, inputs = self.graph.ops[index], self.graph.inputs[index]
        if op.type == "Scale":
            found = [(argument(op, "scale", 1.0), inputs[0], None)]
        else:
            commutes = op.type == "Mul" and not argument(op, "broadcast", 0)
            orders = [inputs, inputs[::-1]] if commutes else [inputs]
            found = [(self.number(constant), x, constant) for x, constant in orders]
        for number, x, constant in found:
            # One number, of no more dims than any tensor that has a softmax, or than this one.
            shapes = [() if one is None else self.shape(one) for one in (constant, x)]
            fits = shapes[0] in ((), (1,)) or (None not in shapes and broadcasts(*shapes))
            if number and fits and np.isfinite(number):
                return (1 / number if op.type == "Div" else number), x, constant
        return None, None, None

    def as_init_fills(self, value):
        """What a report says of a number that the net finds, which `number` knows."""
        return "'{}' is {:g}, as init fills it".format(value.blob, self.number(value))

    def lowest(self, value):
        """The least entry that a value had in a run, or that a constant has; None where not known."""
        if value not in self._lowest:
            array = self.array(value)
            self._lowest[value] = None if array is None else _least(array)
        return self._lowest[value]

    def cuts(self, value):
        """(whole, part) of the constants of which a constant is made by cutting them to a size."""
        ahead, seen = [value], set()
        while ahead:
            one = ahead.pop()
            if one in seen or not self.is_constant(one):
                continue
            seen.add(one)
            whole = one
            while whole.writer is not None and self._is_cut(whole.writer):
                whole = self.graph.inputs[whole.writer][0]
            if whole != one and None not in (self.shape(whole), self.shape(one)):
                yield self.array(whole), self.array(one)
            ahead += [] if whole.writer is None else self.graph.inputs[whole.writer]

    def _is_cut(self, index):
        op = self.graph.ops[index]
        return op.type == "Slice" or (op.type == "ATen" and argument(op, "operator", "") == "slice")

    def step_feeds(self, index):
        """{blob: array} that the step net of a RecurrentNetwork found; the net must have run."""
        return self._step_feeds[index]

    def missing(self, value):
        """Values whose shapes are to be given so that that of `value` may follow."""
        found, seen, ahead = [], set(), [value]
        while ahead:
            value = ahead.pop()
            if value in seen or self.shape(value) is not None:
                continue
            seen.add(value)
            unknown = [] if value.writer is None else self.graph.inputs[value.writer]
            unknown = [one for one in unknown if self.shape(one) is None]
            ahead += unknown
            if not unknown:
                found.append(value.blob)
        return found

    def _feed(self, feeds):
        for blob, array in (feeds or {}).items():
            feed(self._space, blob, array)
            self._see(Value(blob, None), ENTRIES)

    def _learn(self, graph, known_as):
        """Goes over the operators of a graph, whose values are `known_as` values of this one."""
        for index, op in enumerate(graph.ops):
            inputs = [known_as(value) for value in graph.inputs[index]]
            outputs = [known_as(Value(blob, index)) for blob in op.output]
            depends = self._depends_of(op, inputs)
            ran = False
            if self._runs:
                self._check_inputs(graph, index)
                run_operator(self._space, graph.runnable(op))
                ran = True
                net = steps.step_net(op)
                if net is not None:
                    arrays = steps.feeds(op, net, lambda blob: view(self._space, blob))
                    copies = {blob: array.copy() for blob, array in arrays.items()}
                    self._step_feeds[index] = copies
            elif depends < ENTRIES:
                ran = self._compute(graph.runnable(op), inputs)
            shapes = None if ran else self._infer(op, inputs)
            for i, value in enumerate(outputs):
                self._arrays.pop(value, None)  # an init net may write a blob again
                if ran:
                    self._see(value, depends)
                    if value.writer is not None and self.is_constant(value):
                        self._keep(value)
                else:
                    self._shapes[value] = shapes[i]
                    self._depends[value] = ENTRIES

    def _depends_of(self, op, inputs):
        if not is_deterministic(op):
            return ENTRIES
        depends = max([CONSTANT] + [self._depends.get(value, ENTRIES) for value in inputs])
        if op.type in ("Shape", "Size"):
            return min(depends, SIZES)
        if op.type == "ConstantFill" and not argument(op, "input_as_shape", 0):
            return min(depends, SIZES)  # of the shape of its input
        return depends

    def _check_inputs(self, graph, index):
        for blob in graph.ops[index].input:
            if not self._space.has_blob(blob):
                raise CannotRun(
                    "{} reads '{}', which is neither given nor written before.".format(
                        graph.said(index), blob
                    )
                )

    def _compute(self, op, inputs):
        """Runs an operator on constants without a run of the net; False where that cannot be."""
        sizes = [self.shape(value) for value in inputs]
        if op.type == "Shape" and sizes[0] is not None:
            axes = list_argument(op, "axes") or range(len(sizes[0]))
            if not set(axes) <= set(range(len(sizes[0]))):
                return False
            dims = [sizes[0][axis] for axis in axes]
            feed(self._space, op.output[0], np.array(dims, np.int64))
            return True
        if any(not self.is_constant(value) for value in inputs):
            return False
        known = self._infer(op, inputs)
        if any(shape is not None and product(shape) > _MOST_ENTRIES for shape in known):
            return False
        if argument(op, "input_as_shape", 0):
            dims = self.array(inputs[0]) if inputs else None
            if dims is None or product(float(size) for size in dims.flat) > _MOST_ENTRIES:
                return False
        try:
            run_operator(self._space, op)
        except CannotRun:
            return False
        return True

    def _infer(self, op, inputs):
        arrays = [self.array(value) for value in inputs[1:]]
        return infer(op, [self.shape(value) for value in inputs], [None] + arrays)

    def _see(self, value, depends):
        """Reads shape and type of a blob off the workspace."""
        tensor = _tensor(self._space, value.blob)
        shape = None if tensor is None else tuple(tensor.shape)
        if shape and min(shape) < 0:  # of a fill that does not check; what reads it may crash
            shape, depends = None, ENTRIES
        self._shapes[value] = shape
        array = view(self._space, value.blob)
        self._types[value] = None if array is None else array.dtype
        if self._runs and array is not None:
            self._lowest[value] = _least(array)
        self._depends[value] = depends

    def _keep(self, value):
        array = view(self._space, value.blob)
        if array is not None and array.size <= _MOST_ENTRIES:
            self._arrays[value] = array.copy()
