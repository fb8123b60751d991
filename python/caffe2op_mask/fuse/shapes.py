"""Shapes of what an operator writes, from the shapes of what it reads.

Most operators leave this to the runtime, which can be asked without running them. But it may not
be asked of every operator: of some, as of those that optimizers add, it ends the process, and of
others it says what is not so. So those are named here of which it is known to be right.
"""

from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

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
    # sums
    "ReduceMean ReduceSum "
    # new ones
    "ConstantFill GaussianFill GivenTensorBoolFill GivenTensorFill GivenTensorInt64Fill "
    "GivenTensorIntFill MSRAFill UniformFill UniformIntFill XavierFill "
    # this library's
    "BooleanMask BooleanUnmask BernoulliMask Gate Highway MaskedAttention MaskedSoftmax "
    "MixtureGate RandomMask".split()
)


def argument(op, name, default):
    """An argument of an operator, as a number or string, or the default."""
    for arg in op.arg:
        if arg.name == name:
            for field in ("f", "i", "s"):
                if arg.HasField(field):
                    value = getattr(arg, field)
                    return value.decode("utf-8", "replace") if field == "s" else value
    return default


def broadcast(first, second):
    """The shape that two broadcast to, or None."""
    rank = max(len(first), len(second))
    first, second = (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(first, second))


def infer(op, shapes):
    """Shapes of the outputs of an operator, each a tuple or None where it is not known.

    shapes  those of its inputs, tuples or None
    """
    nothing = [None] * len(op.output)
    if op.type == "Where":
        return [shapes[1]] + nothing[1:]
    if None in shapes:
        return nothing
    if op.type == "BatchMatMul":
        return [_of_batch_mat_mul(op, *shapes)] + nothing[1:]
    if op.type not in ASKED or not _may_be_asked(op, shapes):
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


def _may_be_asked(op, shapes):
    """Whether the runtime reads what is there, and all of it."""
    given = {arg.name for arg in op.arg}
    if op.type in ("Concat", "Gather") and () in shapes:
        return False
    if op.type == "Concat" and len({len(shape) for shape in shapes}) > 1:
        return False
    if op.type == "Squeeze" and (() in shapes or "dims" not in given):
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
