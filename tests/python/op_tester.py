"""What the tests of every operator share: how to run one, what equal means, what is inherited."""

from collections import namedtuple

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
from caffe2.python import core, workspace
from caffe2.python import hypothesis_test_util as hu
from hypothesis import given

# Every type of the contract that NumPy has; bfloat16 is tested in C++.
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)
REALS = ("float16", "float32", "float64")
INDICES = ("int32", "int64")

# One call of an operator: input arrays, arguments, how many outputs, and the input that output 0
# is, where it is one.
Case = namedtuple("Case", "inputs args outputs in_place")
Case.__new__.__defaults__ = ({}, 1, None)


def create(op_type, case, **options):
    """The OperatorDef of a case, with blobs input_0, .. and output_0, .."""
    inputs = ["input_{}".format(i) for i in range(len(case.inputs))]
    outputs = ["output_{}".format(i) for i in range(case.outputs)]
    if case.in_place is not None:
        outputs[0] = inputs[case.in_place]
    return core.CreateOperator(op_type, inputs, outputs, **dict(case.args, **options))


def run_case(op_type, case, **options):
    """Runs a case in the current workspace; returns its outputs."""
    op = create(op_type, case, **options)
    for name, array in zip(op.input, case.inputs):
        workspace.FeedBlob(name, array)
    workspace.RunOperatorOnce(op)
    return [workspace.FetchBlob(name) for name in op.output]


def run(op_type, *inputs, **args):
    """The first output of an operator."""
    return run_case(op_type, Case(inputs, args))[0]


def gradient(op_type, case, d_output):
    """Runs a case and its gradient: a dict from input number to gradient."""
    op = create(op_type, case)
    run_case(op_type, case)
    d_outputs = [name + "_grad" if i == 0 else None for i, name in enumerate(op.output)]
    grad_ops, grads = core.GradientRegistry.GetGradientForOp(op, d_outputs)
    workspace.FeedBlob(d_outputs[0], d_output)
    workspace.RunOperatorsOnce(grad_ops)
    return {i: workspace.FetchBlob(grad) for i, grad in enumerate(grads) if grad is not None}


def assert_same(actual, expected):
    """Equal in type, shape and every bit."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype == object:
        assert actual.tolist() == expected.tolist()
    elif actual.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(actual, expected)
        raise AssertionError("equal numbers, but not equal bits (-0.0 or a NaN)")


def arrays(dtype, shape, finite=False):
    """Arrays of any value, NaN and infinities too, or with ``finite`` of [-1, 1]."""
    dtype = np.dtype(dtype)
    finite_floats = st.floats(-1, 1, width=8 * dtype.itemsize) if finite else None
    return hnp.arrays(dtype, shape, elements=finite_floats or hnp.from_dtype(dtype))


def shapes(min_dims, max_dims, max_side=4):
    """Shapes, now and then of an empty tensor."""
    sides = st.integers(1, max_side)
    return st.lists(sides | sides | sides | st.just(0), min_size=min_dims, max_size=max_dims).map(
        tuple
    )


def numbered(dtype, shape):
    """An array in which neighbours differ, so that a row out of its place is seen."""
    return (np.arange(int(np.prod(shape))) % 251).reshape(shape).astype(dtype)


def long_masks():
    """1-D masks past the words and chunks in which kernels work: runs, patterns, a bit of both."""
    pattern = st.sampled_from([b"\x00", b"\xff"]) | st.binary(min_size=1, max_size=9)
    piece = st.tuples(pattern, st.integers(0, 4200)).map(
        lambda drawn: np.resize(np.unpackbits(np.frombuffer(drawn[0], np.uint8)), drawn[1])
    )
    return st.lists(piece, min_size=1, max_size=4).map(lambda pieces: np.hstack(pieces) != 0)


def fill_values(dtype, finite=False):
    """What ``fill_val`` may be for data of a type."""
    if finite:
        return st.floats(-1, 1, width=32)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.integers(0, 1)
    if kind in "iu":
        return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    # Which NaN a NaN becomes in 16 bits is nobody's contract.
    return st.floats(width=min(32, 8 * np.dtype(dtype).itemsize), allow_nan=dtype != "float16")


class OperatorTests(object):
    """Inherited by the tests of each operator, which say what their operator is.

    op_type    the operator's name
    reference  the same as a function of reference.py
    dtypes     element types that ``cases`` takes
    cases      strategy for a Case, given a type; with ``finite`` one that can be differentiated
    empty      Cases of empty tensors
    """

    op_type = None
    reference = None
    dtypes = DTYPES
    empty = ()

    def expect(self, case):
        """What the reference makes of a case."""
        return type(self).reference(*case.inputs, **case.args)[: case.outputs]

    def check(self, case):
        """Caffe2's own check, with shape inference, and then equality to the bit."""
        outputs = hu.HypothesisTestCase().assertReferenceChecks(
            hu.cpu_do,
            create(self.op_type, case),
            case.inputs,
            lambda *_: self.expect(case),
            ensure_outputs_are_inferred=self.inferred(case),
        )
        for actual, expected in zip(outputs, self.expect(case)):
            assert_same(actual, expected)

    def inferred(self, case):
        """Whether the shapes of all outputs follow from those of the inputs."""
        return True

    @given(data=st.data())
    def test_forward(self, dtype, data):
        self.check(data.draw(self.cases(dtype)))

    def test_empty(self, empty_case):
        self.check(empty_case)


class GradientTests(object):
    """Inherited with OperatorTests where the operator has a gradient.

    differentiable  numbers of the inputs of a case that have one
    """

    def differentiable(self, case):
        return [0]

    @given(data=st.data())
    def test_gradient(self, data):
        case = data.draw(self.cases("float32", finite=True))
        for i in self.differentiable(case):
            hu.HypothesisTestCase().assertGradientChecks(
                hu.cpu_do, create(self.op_type, case), list(case.inputs), i, [0]
            )

    def test_gradient_of_empty(self, empty_case):
        output = self.expect(empty_case)[0]
        if output.dtype.kind != "f":
            return
        grads = gradient(self.op_type, empty_case, np.ones_like(output))
        assert sorted(grads) == self.differentiable(empty_case)
        for i, grad in grads.items():
            assert grad.shape == empty_case.inputs[i].shape
