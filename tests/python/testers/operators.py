"""How an operator is made, run and compared, and the tests that every operator inherits."""

from collections import namedtuple

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from caffe2.python import hypothesis_test_util as hu
from hypothesis import given

# Every type of the contract that NumPy has.
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


def seeded(seed):
    """The device option that draws the same numbers in every process."""
    return core.DeviceOption(caffe2_pb2.CPU, random_seed=seed)


def feed(names, arrays):
    """Arrays, or tensors of torch, into blobs; None has none."""
    for name, array in zip(names, arrays):
        if array is not None:
            workspace.FeedBlob(name, array)


def fetch(name, as_tensor=False):
    """A blob as an array, or as a tensor, which knows bfloat16."""
    return workspace.FetchTorch(name).clone() if as_tensor else workspace.FetchBlob(name)


def run_case(op_type, case, as_tensor=False, **options):
    """Runs a case in the current workspace; returns its outputs."""
    op = create(op_type, case, **options)
    feed(op.input, case.inputs)
    workspace.RunOperatorOnce(op)
    return [fetch(name, as_tensor) for name in op.output]


def run_seeded(op_type, case, seed):
    """Outputs of a case on the first run of an operator with a seed."""
    return run_case(op_type, case, device_option=seeded(seed))


def run(op_type, *inputs, **args):
    """The first output of an operator."""
    return run_case(op_type, Case(inputs, args))[0]


def gradients(op_type, case, d_outputs, seed=1, as_tensor=False):
    """Runs a case and its gradient: a dict from input number to gradient.

    Outputs whose gradient is None, or behind the last of ``d_outputs``, have none.
    """
    op = create(op_type, case, device_option=seeded(seed))
    run_case(op_type, case, as_tensor, device_option=seeded(seed))
    d_outputs = list(d_outputs) + [None] * (len(op.output) - len(d_outputs))
    names = [None if d is None else "d_" + name for name, d in zip(op.output, d_outputs)]
    feed(names, d_outputs)
    grad_ops, grads = core.GradientRegistry.GetGradientForOp(op, names)
    workspace.RunOperatorsOnce(grad_ops)
    return {i: fetch(grad, as_tensor) for i, grad in enumerate(grads) if grad is not None}


def assert_same(actual, expected):
    """Equal in type, shape and every bit."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype == object:
        assert actual.tolist() == expected.tolist()
    elif actual.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(actual, expected)
        raise AssertionError("equal numbers, but not equal bits (-0.0 or a NaN)")


def assert_refused(op_type, case, message):
    """The operator throws one sentence that names it, and has written nothing before."""
    op = create(op_type, case)
    before = {name: np.array([4.0, 2.0]) for name in op.output}
    before.update((name, np.asarray(array)) for name, array in zip(op.input, case.inputs))
    feed(before, before.values())
    with pytest.raises(RuntimeError, match=r"\b{}: [^\n]*{}".format(op_type, message)):
        workspace.RunOperatorOnce(op)
    for name, array in before.items():
        if array.size:  # the runtime ends at fetching an empty tensor with vast dims
            assert_same(workspace.FetchBlob(name), array)


class OperatorTests(object):
    """Inherited by the tests of each operator, which say what their operator is.

    op_type    the operator's name
    reference  the same as a function of the oracles
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
        grads = gradients(self.op_type, empty_case, [np.ones_like(output)])
        assert sorted(grads) == self.differentiable(empty_case)
        for i, grad in grads.items():
            assert grad.shape == empty_case.inputs[i].shape
