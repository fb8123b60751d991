"""Shapes of what an operator writes, from the shapes of what it reads.

Most operators leave this to the runtime, which can be asked without running them. But it may not
be asked of every operator: of some, as of those that optimizers add, it ends the process, and of
others it says what is not so. So those are named here of which it is known to be right.
"""

from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from caffe2op_mask.fuse.graph import argument, list_argument

# What the runtime is asked about; tests compare what it says with what runs.
ASKED = frozenset(
    # each entry by itself, or each row
    "Abs Cast Clip Copy Dropout Elu Erf Exp Gelu LayerNorm LeakyRelu Log Logit Negative "
    "Normalize Not Relu Rsqrt Scale SequenceMask Sigmoid Sign Softmax Softplus Softsign Sqr Sqrt "
    "StopGradient Swish Tanh ThresholdedRelu "
    # with another
    "Add And Div Max Min Mul Or PRelu Sub Sum Xor "
    # products
    "FC FCTransposed MatMul "
    # the same numbers in another shape, or some of them
    "Concat ExpandDims Flatten FlattenToVec Gather Reshape Split Squeeze Transpose "
    # new ones
    "ConstantFill GaussianFill GivenTensorBoolFill GivenTensorFill GivenTensorInt64Fill "
    "GivenTensorIntFill MSRAFill UniformFill UniformIntFill XavierFill "
    # this library's
    "BooleanMask BooleanUnmask BernoulliMask Gate Highway MaskedAttention MaskedSoftmax "
    "MixtureGate RandomMask".split()
)


def product(sizes):
    total = 1
    for size in sizes:
        total *= size
    return total


def broadcasts(shape, to):
    """Whether NumPy takes a shape for another, larger one."""
    pairs = zip(reversed(shape), reversed(to))
    return len(shape) <= len(to) and all(size in (1, other) for size, other in pairs)


def broadcast(first, second):
    """The shape that two broadcast to, or None."""
    rank = max(len(first), len(second))
    first, second = (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(first, second))


def infer(op, shapes, arrays=()):
    """Shapes of the outputs of an operator, each a tuple or None where it is not known.

    shapes  those of its inputs, tuples or None
    arrays  its inputs that are constants, None for all others
    """
    nothing = [None] * len(op.output)
    if op.type == "Where":
        return [shapes[1]] + nothing[1:]
    if op.type in _OF_SHAPES and None not in shapes:
        return [_OF_SHAPES[op.type](op, shapes)] + nothing[1:]
    if op.type in _OF_ARRAYS and shapes[0] is not None and len(shapes) > 1:
        array = arrays[1] if len(arrays) > 1 else None
        found = None if array is None else _OF_ARRAYS[op.type](shapes[0], array)
        return [found] + nothing[1:]
    if None in shapes or op.type not in ASKED or not _may_be_asked(op, shapes):
        return nothing
    return _told(op, shapes)


def _of_batch_mat_mul(op, a, b):
    """With `broadcast` the runtime tells the batch of one factor for that of both."""
    if len(a) < 2 or len(b) < 2:
        return None
    batch = broadcast(a[:-2], b[:-2])
    rows = a[-1 if argument(op, "trans_a", 0) else -2]
    columns = b[-2 if argument(op, "trans_b", 0) else -1]
    return None if batch is None else batch + (rows, columns)


def _of_aten(op, shapes):
    name = argument(op, "operator", "")
    if name in ("masked_fill", "layer_norm"):
        return shapes[0]
    if name != "where" or len(shapes) != 3:
        return None
    first = broadcast(shapes[0], shapes[1])
    return None if first is None else broadcast(first, shapes[2])


def _of_reduction(op, shapes):
    rank = len(shapes[0])
    axes = list_argument(op, "axes")
    axes = range(rank) if axes is None else axes
    if any(not -rank <= axis < rank for axis in axes):
        return None
    axes = {axis % rank for axis in axes}
    if argument(op, "keepdims", 1):
        return tuple(1 if dim in axes else size for dim, size in enumerate(shapes[0]))
    return tuple(size for dim, size in enumerate(shapes[0]) if dim not in axes)


def _of_two(_, shapes):
    return shapes[0] if len(shapes) == 1 else broadcast(*shapes)


def _of_merge_dim(_, shapes):
    shape = shapes[0]
    return None if len(shape) < 2 else (shape[0] * shape[1],) + shape[2:]


def _of_prepend_dim(op, shapes):
    size, shape = argument(op, "dim_size", 0), shapes[0]
    if size <= 0 or not shape or shape[0] % size:
        return None
    return (size, shape[0] // size) + shape[1:]


def _of_tile(op, shapes):
    rank, tiles = len(shapes[0]), argument(op, "tiles", 1)
    axis = argument(op, "axis", 0)
    if len(shapes) > 1 or not -rank <= axis < rank or tiles < 0:
        return None
    return tuple(size * tiles if dim == axis % rank else size for dim, size in enumerate(shapes[0]))


def _of_reshape(shape, array):
    """With 0 for a dim that stays and -1 for what is left, as the runtime has it."""
    dims = [int(size) for size in array.flat]
    if array.dtype.kind != "i" or dims.count(-1) > 1 or min(dims + [0]) < -1:
        return None
    if any(size == 0 and i >= len(shape) for i, size in enumerate(dims)):
        return None
    dims = [shape[i] if size == 0 else size for i, size in enumerate(dims)]
    known = product(size for size in dims if size != -1)
    if -1 in dims:
        if known == 0 or product(shape) % known:
            return None
        dims[dims.index(-1)] = product(shape) // known
    return tuple(dims) if product(dims) == product(shape) else None


def _of_expand(shape, array):
    if array.dtype.kind != "i" or array.ndim != 1 or (array < 0).any():
        return None
    return broadcast(shape, tuple(int(size) for size in array))


# What the runtime is not asked about: by shapes alone, and by a second input that is constant.
_OF_SHAPES = {
    "ATen": _of_aten,
    "BatchMatMul": lambda op, shapes: _of_batch_mat_mul(op, *shapes),
    "MergeDim": _of_merge_dim,
    "Pow": _of_two,
    "PrependDim": _of_prepend_dim,
    "ReduceMean": _of_reduction,
    "ReduceSum": _of_reduction,
    "Tile": _of_tile,
}
_OF_SHAPES.update((name, _of_two) for name in "EQ GE GT LE LT NE".split())
_OF_ARRAYS = {"Expand": _of_expand, "Reshape": _of_reshape}


def _may_be_asked(op, shapes):
    """Whether the runtime reads what is there, and all of it."""
    given = {arg.name for arg in op.arg}
    if op.type in ("Concat", "Gather") and () in shapes:
        return False
    if op.type == "Concat" and len({len(shape) for shape in shapes}) > 1:
        return False
    if op.type == "Squeeze" and (() in shapes or not list_argument(op, "dims")):
        return False
    return "extra_shape" not in given


def _told(op, shapes):
    """What the runtime says.

    Asked about one operator at a time: of a whole net it forgets all that it found at the first
    operator that does not fit, and takes a blob that is written again for one.
    """
    net = caffe2_pb2.NetDef()
    asked = net.op.add(type=op.type)
    asked.input.extend("input_{}".format(i) for i in range(len(op.input)))
    asked.output.extend("output_{}".format(i) for i in range(len(op.output)))
    # Of many values it is enough that they are given.
    values = caffe2_pb2.Argument(name="values")
    asked.arg.extend(values if arg.name == "values" else arg for arg in op.arg)
    dims = {name: list(shape) for name, shape in zip(asked.input, shapes)}
    try:
        known = workspace.InferShapesAndTypes([net], dims, nets_proto=True)[0]
    except (RuntimeError, ValueError, IndexError):
        return [None] * len(op.output)
    told = [known.get(name, [-1]) for name in asked.output]
    return [tuple(shape) if min(shape + [0]) == 0 else None for shape in told]
