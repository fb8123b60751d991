"""What the tests of operators that compute share: tolerances, gradients in float64, sequences."""

import hypothesis.strategies as st
import numpy as np
from caffe2.python import hypothesis_test_util as hu
from caffe2.python import workspace
from hypothesis import given

from testers import fresh_process
from testers.operators import (
    REALS,
    Case,
    OperatorTests,
    create,
    gradients,
    run_case,
    run_seeded,
    seeded,
)

# Relative to the magnitudes that were added up: a few units in the last place.
TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-14}


def numeric_gradients(op_type, case, d_outputs, inputs, seed=1, step=1e-6):
    """The same by central differences of the operator itself, which must be of float64."""

    def weighed(changed):
        outputs = run_seeded(op_type, case._replace(inputs=changed, in_place=None), seed)
        return sum((d * y).sum() for d, y in zip(d_outputs, outputs) if d is not None)

    grads = {}
    for i in inputs:
        grads[i] = np.zeros_like(case.inputs[i])
        for at in np.ndindex(case.inputs[i].shape):
            sides = []
            for sign in (1, -1):
                changed = [array.copy() for array in case.inputs]
                changed[i][at] += sign * step
                sides.append(weighed(changed))
            grads[i][at] = (sides[0] - sides[1]) / (2 * step)
    return grads


def assert_gradients(op_type, case, d_outputs, inputs, seed=1):
    """Gradients are those of differences, to what differences are worth."""
    actual = gradients(op_type, case, d_outputs, seed)
    assert sorted(actual) == list(inputs)
    expected = numeric_gradients(op_type, case, d_outputs, inputs, seed)
    for i in inputs:
        assert actual[i].dtype == case.inputs[i].dtype
        np.testing.assert_allclose(actual[i], expected[i], rtol=1e-6, atol=1e-7, err_msg=str(i))


class RealOperatorTests(OperatorTests):
    """As OperatorTests, for what is computed and not moved: near its reference, and gradients.

    inputs_with_gradient(case)  numbers of the inputs that have one
    """

    dtypes = REALS

    def check(self, case):
        expected = self.expect(case)
        outputs = hu.HypothesisTestCase().assertReferenceChecks(
            hu.cpu_do,
            create(self.op_type, case),
            case.inputs,
            lambda *_: expected,
            threshold=1,
            ensure_outputs_are_inferred=True,
        )
        tolerance = TOLERANCE[str(case.inputs[0].dtype)]
        for actual, output in zip(outputs, expected):
            assert actual.dtype == output.dtype
            assert actual.shape == output.shape
            np.testing.assert_allclose(actual, output, rtol=tolerance, atol=30 * tolerance)

    def check_gradient(self, case):
        """By differences, from gradients of all outputs and from that of the first alone."""
        case = case._replace(in_place=None)
        random = np.random.RandomState(9)
        outputs = run_case(self.op_type, case)
        d_outputs = [np.asarray(random.standard_normal(output.shape)) for output in outputs]
        assert_gradients(self.op_type, case, d_outputs, self.inputs_with_gradient(case))
        if len(d_outputs) > 1:
            assert_gradients(self.op_type, case, d_outputs[:1], self.inputs_with_gradient(case))

    @given(data=st.data())
    def test_gradient(self, data):
        self.check_gradient(data.draw(self.cases("float64", finite=True)))

    def test_gradient_of_empty(self, empty_case):
        outputs = run_case(self.op_type, empty_case)
        grads = gradients(self.op_type, empty_case, [np.ones_like(outputs[0])])
        assert sorted(grads) == self.inputs_with_gradient(empty_case)
        for i, grad in grads.items():
            assert grad.shape == empty_case.inputs[i].shape
            assert not grad.any()


SEQUENCES = """
    import numpy as np
    from caffe2.python import core, workspace
    import caffe2op_mask
    workspace.FeedBlob("input_0", np.zeros((40, 50), dtype=np.float32))
    workspace.FeedBlob("input_1", np.zeros((40, 50), dtype=np.float32))
    for number, definition in enumerate({definitions}):
        net = core.Net("net_{{}}".format(number))
        op = net.Proto().op.add()
        op.ParseFromString(definition)
        workspace.CreateNet(net)
        for _ in range(3):
            workspace.RunNet(net)
            drawn = workspace.FetchBlob(op.output[{output}])
            print(np.packbits(drawn > 0.5).tobytes().hex())
"""


def assert_same_sequence(op_type, args, outputs=1, output=0):
    """What is drawn: anew on each run of a net, and the same again by each net of that seed."""
    inputs = [None] * workspace.C.OpSchema.get(op_type).min_input
    case = Case(inputs, args, outputs)
    seeds = [0, 7, None]
    options = [{} if seed is None else {"device_option": seeded(seed)} for seed in seeds]
    definitions = [create(op_type, case, **option).SerializeToString() for option in options]
    program = SEQUENCES.format(definitions=definitions, output=output)
    first, second = (fresh_process.output(program).split() for _ in range(2))
    assert len(set(first)) == 9, "each run draws anew, and each seed something else"
    assert first[:6] == second[:6], "a seed says what is drawn, 0 too"
    assert not set(first[6:]) & set(second[6:]), "without one it is never the same"
