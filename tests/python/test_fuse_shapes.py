"""Shapes that fuse goes by, beside those of what runs."""

import itertools

import numpy as np
import pytest
from caffe2.python import brew, core, model_helper, optimizer, workspace

from caffe2op_mask import fuse
from caffe2op_mask.fuse import shapes

X = (2, 3, 4)
HEADS = (2, 3, 4, 5)

# Operators on inputs of these shapes, and their arguments; each runs.
CASES = (
    [
        (name, [X], {})
        for name in "Abs Clip Copy Elu Erf Exp Gelu LeakyRelu Log Logit Negative "
        "Normalize Not Relu Rsqrt Scale Sigmoid Sign Softmax Softplus Softsign Sqr Sqrt "
        "StopGradient Swish Tanh ThresholdedRelu".split()
    ]
    + [("Dropout", [X], {"ratio": 0.5, "is_test": 0}), ("Dropout", [X], {"is_test": 1})]
    + [("Cast", [X], {"to": 2}), ("LayerNorm", [X], {"axis": 2})]
    + [("SequenceMask", [X], {"mode": "upper", "axis": 2})]
    + [(name, [X, (4,)], {}) for name in "Add Sub Mul Div And Or Xor".split()]
    + [("Add", pair, {}) for pair in ([(4,), X], [(2, 1, 4), (3, 1)], [X, ()], [(1,), X])]
    + [("Add", pair, {}) for pair in ([(0, 4), (1, 4)], [(1, 4), (5, 2, 1, 1)], [(), (1,)])]
    + [("Add", [X, (3,)], {"broadcast": 1, "axis": 1}), ("Mul", [X, (1,)], {"broadcast": 1})]
    + [("Sum", [X, X], {}), ("Max", [X, X], {}), ("Min", [X, X], {}), ("Where", [X, X, X], {})]
    + [("PRelu", [X, (1,)], {})]
    + [("FC", [X, (5, 12), (5,)], {}), ("FC", [X, (5, 4), (5,)], {"axis": 2})]
    + [("FCTransposed", [X, (4, 5), (5,)], {"axis": 2}), ("MatMul", [(2, 3), (3, 4)], {})]
    + [("MatMul", [(2, 3), (4, 3)], {"trans_b": 1}), ("MatMul", [X, (4, 5)], {"axis_a": 2})]
    + [("Reshape", [X], {"shape": shape}) for shape in ([0, -1], [-1], [6, 4], [0, 0, 2, 2])]
    + [("Transpose", [X], {}), ("Transpose", [X], {"axes": [1, 0, 2]})]
    + [("Flatten", [X], {"axis": axis}) for axis in (0, 1, 2)] + [("FlattenToVec", [X], {})]
    + [("ExpandDims", [X], {"dims": dims}) for dims in ([0], [1], [3], [0, 2])]
    + [("Squeeze", [(1, 2, 1)], {"dims": dims}) for dims in ([0], [2], [0, 2])]
    + [("MergeDim", [X], {}), ("PrependDim", [X], {"dim_size": 2})]
    + [("Concat", [X, X], {"axis": axis}) for axis in (0, 1, 2, -1)]
    + [("Concat", [X, X], {"axis": axis, "add_axis": 1}) for axis in (0, 1, 3)]
    + [("Split", [X], {"axis": axis}) for axis in (0, 2, -1)]
    + [("Gather", [X, index], {}) for index in ((5,), (2, 2))]
    + [("Gather", [X, (5,)], {"axis": 1})]
    + [
        ("Reduce" + name, [X], {"axes": axes, "keepdims": keep})
        for name in ("Sum", "Mean")
        for axes in ([0], [1, 2])
        for keep in (0, 1)
    ]
    + [("ConstantFill", inputs, args) for inputs, args in (([], {"shape": [2, 3]}), ([X], {}))]
    + [("ConstantFill", [X], {"extra_shape": [2]}), ("ConstantFill", [], {"value": 2.0})]
    + [("GivenTensorFill", [], {"shape": [2], "values": [1.0, 2.0]})]
    + [(name + "Fill", [], {"shape": [3, 4]}) for name in "Gaussian MSRA Uniform Xavier".split()]
    + [
        ("GivenTensor{}Fill".format(name), [], {"shape": [2], "values": [1, 0]})
        for name in ("Bool", "Int", "Int64")
    ]
    + [("UniformIntFill", [], {"shape": [3], "min": 1, "max": 2})]
    + [("BatchMatMul", [HEADS, (2, 3, 5, 6)], {})]
    + [("BatchMatMul", [HEADS, (2, 3, 6, 5)], {"trans_b": 1})]
    + [("BatchMatMul", [HEADS, (2, 3, 4, 6)], {"trans_a": 1})]
    + [("MaskedSoftmax", [X], {}), ("Gate", [X, X], {}), ("Highway", [X, X, X], {})]
    + [("MixtureGate", [(2, 3, 4), (2, 3)], {}), ("RandomMask", [X], {"unit": "row"})]
    + [("MaskedAttention", [HEADS, (2, 3, 6, 5), (2, 3, 6, 7)], {}), ("BooleanMask", [X, (2,)], {})]
    + [("BooleanUnmask", [(2,), (0, 3)], {"fill_val": 0.0}), ("BernoulliMask", [X], {})]
)

KINDS = {
    "And": ("?", "?"),
    "BooleanMask": ("f", "?"),
    "BooleanUnmask": ("?", "f"),
    "Gather": ("f", "i"),
    "Not": ("?",),
    "Or": ("?", "?"),
    "Where": ("?", "f", "f"),
    "Xor": ("?", "?"),
}
OUTPUTS = {"BernoulliMask": 2, "Concat": 2, "LayerNorm": 3, "Reshape": 2, "Split": 2}


def make(op_type, count, args):
    outputs = 2 if "ratio" in args else OUTPUTS.get(op_type, 1)
    names = [["{}_{}".format(side, i) for i in range(n)] for side, n in zip("xy", (count, outputs))]
    return core.CreateOperator(op_type, *names, **args)


def shapes_of_a_run(op, dims):
    """None where it does not run."""
    for name, shape, kind in zip(op.input, dims, KINDS.get(op.type, "f" * len(dims))):
        workspace.FeedBlob(name, np.zeros(shape, kind))
    try:
        workspace.RunOperatorOnce(op)
    except RuntimeError:
        return None
    return [workspace.FetchBlob(name).shape for name in op.output]


def assert_true(op, dims):
    """What is said of an operator, as far as anything is, is so."""
    ran = shapes_of_a_run(op, dims)
    said = shapes.infer(op, dims)
    assert len(said) == len(op.output)
    for one, other in zip(said, ran or said):
        assert one in (None, other), (op.type, dims, said, ran)
    return said, ran


@pytest.mark.parametrize("op_type, dims, args", CASES, ids=str)
def test_what_is_said_is_so(op_type, dims, args):
    said, ran = assert_true(make(op_type, len(dims), args), dims)
    assert ran is not None
    # Shapes that hang on values, or of which the runtime forgets a part, are not known.
    if op_type == "BooleanMask" or "extra_shape" in args:
        assert said[0] is None
    elif op_type != "ReduceMean":  # of which older releases tell nothing
        assert said[0] is not None


def test_nothing_is_asked_about_that_is_not_tested():
    assert shapes.ASKED <= {case[0] for case in CASES}


SIZES = [(), (0,), (3,), (2, 3), (2, 3, 4)]
ODD = [
    {},
    {"axis": 7},
    {"axis": -9},
    {"axis": -1, "add_axis": 1},
    {"axes": [0, 9]},
    {"axes": [-7]},
    {"axes": [0, 0]},
    {"dims": [9]},
    {"dims": [-1]},
    {"split": [1, 1]},
    {"shape": [-1, -1]},
    {"shape": []},
    {"shape": [-5]},
    {"broadcast": 1, "axis": 5},
    {"axis_w": 7, "axis_a": 5, "axis_b": -4},
    {"order": "bogus"},
    {"input_as_shape": 1},
    # of another type than the operator takes
    {"dims": ["a"], "axes": ["a"], "shape": ["a"], "split": ["a"]},
    {"dims": [0.5], "axes": [0.5], "shape": [0.5], "split": [0.5]},
    {"dims": 1, "axes": 1, "shape": 1, "split": 1},
    {"axis": "a", "trans_a": "a", "trans_b": "a", "broadcast": "a", "to": "a", "dtype": "a"},
    {"axis": 0.5, "trans_a": 0.5, "trans_b": 0.5, "broadcast": 0.5, "to": 0.5, "dtype": 0.5},
    {"axis": 2 ** 40, "axis_w": 2 ** 40, "axes": [2 ** 40], "dims": [2 ** 40], "shape": [2 ** 40]},
]


@pytest.mark.parametrize("op_type", sorted(shapes.ASKED))
def test_anything_may_be_asked(op_type):
    """The process lives, whatever is fed and given; operators that do not run are no matter."""
    schema = workspace.C.OpSchema.get(op_type)
    for count in {schema.min_input, min(schema.max_input, 2)}:
        for args, dims in itertools.product(ODD, itertools.product(SIZES, repeat=min(count, 2))):
            dims = list(dims) + [dims[0]] * (count - len(dims)) if dims else []
            said = shapes.infer(make(op_type, count, args), dims)
            assert all(one is None or min(one + (0,)) == 0 for one in said)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("broadcast", [0, 1])
def test_products(broadcast, trans_b):
    """Of all shapes that run; those of batches that broadcast the runtime itself gets wrong."""
    batches = [(), (1,), (2,), (2, 1), (2, 3), (1, 3), (3,)]
    known = 0
    for a, b in itertools.product(batches, repeat=2):
        dims = [a + (4, 5), b + ((6, 5) if trans_b else (5, 6))]
        op = make("BatchMatMul", 2, {"broadcast": broadcast, "trans_b": trans_b})
        said, ran = assert_true(op, dims)
        known += ran is not None and said[0] == ran[0]
    assert known > (20 if broadcast else 6)


@pytest.mark.parametrize("build", ["build_sgd", "build_adagrad", "build_adam"])
def test_nets_that_train(build):
    """Of what optimizers add, AtomicIter for one, the runtime may not be asked."""
    model = model_helper.ModelHelper("model")
    scores = brew.fc(model, "x", "scores", 4, 3)
    masked = model.net.SequenceMask(scores, "masked", mode="upper", axis=1)
    model.net.Softmax(masked, "weights", axis=1)
    model.net.AveragedLoss(model.net.SquaredL2Distance(["weights", "label"], "distance"), "loss")
    model.AddGradientOperators(["loss"])
    getattr(optimizer, build)(model, 0.1)
    assert fuse(model.net, {"x": (5, 4)}, init=model.param_init_net).fused


def test_an_operator_that_the_runtime_cannot_be_asked_about():
    """By asking it more than it tells, stock's inference of this one raises an error."""
    net = core.Net("net")
    net.CosGradient(["x", "g"], "scores")
    net.SequenceMask("scores", "masked", mode="upper", axis=1)
    net.Softmax("masked", "weights", axis=-1)
    assert "the rank of 'scores' is not known" in str(fuse(net, {"x": (2, 3), "g": (2, 3)}))
