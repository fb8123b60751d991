"""In place, a gradient is that of the net out of place, or the gradient maker refuses.

For each operator with a gradient, and each input in whose place its schema takes an output.
"""

import re

import numpy as np
import pytest
from caffe2.python import core, workspace

from testers.attention import make_case
from testers.operators import Case, create
from test_registry import ALL

X = np.array([[2.0, -1.0, 0.5], [1.5, 3.0, -2.0]], "float32")
Z = np.array([[0.5, 1.0, -0.25], [0.25, -0.5, 2.0]], "float32")
MASK = np.array([[True, False, True], [True, True, False]])
LENGTHS = np.array([1, 3], "int32")
Q = np.sin(np.arange(24, dtype="float32")).reshape(1, 2, 3, 4)

# Of each operator those arguments by which its gradient reads other inputs.
CASES = {
    "BernoulliMask": [Case([Z], {}, 2)],
    "BooleanMask": [Case([X, MASK], {"keep_shape": 1}), Case([X, MASK])],
    "BooleanMaskJagged": [Case([X, np.array([2], "int32"), MASK[:, 0]], {}, 2)],
    "BooleanUnmask": [Case([MASK, X], {"fill_val": 0.0})],
    "Gate": [
        Case([X, Z]),
        Case([X, Z], {"kind": "tanh"}, 2),
        Case([X, Z], {"kind": "softmax"}),
        Case([X, Z, Z - 1], {"kind": "relu"}, 2),
        Case([X, Z], {"kind": "hard"}),
        Case([X, Z], {"kind": "hard_concrete", "is_test": 1}),
        Case([X, Z], {"kind": "hard_concrete"}, 3),
        Case([X, Z], {"kind": "softmax", "hard": 1}),
        Case([X, Z], {"kind": "gumbel_softmax"}, 3),
    ],
    "Highway": [Case([X, Z, Z * 2]), Case([X, Z, Z * 2], {"kind": "hard"})],
    "MaskedAttention": [Case([Q, Q + 1, Q - 1], {"mode": "upper"}, 2)],
    "MaskedAttentionJagged": [
        Case([Q[0], Q[0] + 1, Q[0] - 1, np.array([1, 1], "int32")], {"mode": "upper"}, 2)
    ],
    "MaskedSoftmax": [
        make_case([X], {"empty_row": empty_row}, mask=MASK, bias=Z)
        for empty_row in ("zero", "nan", "uniform")
    ],
    "MixtureGate": [
        Case([np.stack([X, Z], 2), Z], {"top_k": 2}, 2),
        Case([np.stack([X, Z], 2), Z, X[0]], {"top_k": 2, "renormalize": 1}, 2),
    ],
    "SequenceMask": [
        Case([X, LENGTHS], {"mode": "sequence", "fill_val": 0.0}),
        Case([X, MASK], {"mode": "mask"}),
    ],
}
REFUSED = re.compile(
    r"its gradient reads input (\d), so that output (\d) must be another blob in a net that "
    r"trains, but both are 'input_\d'\."
)
SCHEMA = "did not pass schema checking"


def gradients(op_type, case, pair=None):
    """Gradients to all inputs, and whether the gradient maker, the schema or a run refused."""
    workspace.ResetWorkspace()
    op = create(op_type, case, device_option=core.DeviceOption(0, random_seed=1))
    if pair is not None:
        op.output[pair[1]] = op.input[pair[0]]
    net = core.Net("net")
    for name, array in zip(op.input, case.inputs):
        workspace.FeedBlob("kept_" + name, array)
        net.Copy("kept_" + name, name)
    net.Proto().op.extend([op])
    try:
        workspace.RunNetOnce(net)
    except RuntimeError as error:
        return None, str(error)
    outputs = {}
    for name in op.output:
        output = workspace.FetchBlob(name)
        if output.dtype == np.float32:
            d_output = np.cos(np.arange(output.size, dtype="float32")).reshape(output.shape)
            outputs[name] = "d_" + name
            workspace.FeedBlob("kept_d_" + name, d_output)
    assert outputs
    # A net that is written as a user does knows which blob is which version of its name.
    net = core.Net("net")
    for name in op.input:
        net.Copy("kept_" + name, name)
    for d_output in outputs.values():
        net.Copy("kept_" + d_output, d_output)
    net._ExtendOps([op])
    try:
        grads = net.AddGradientOperators(outputs)
    except Exception as error:
        return None, str(error)
    workspace.RunNetOnce(net)
    found = {
        i: workspace.FetchBlob(str(grads["kept_" + name]))
        for i, name in enumerate(op.input)
        if "kept_" + name in grads
    }
    return found, None


def test_all_with_a_gradient_have_cases():
    assert sorted(CASES) == sorted(name for name, entry in ALL.items() if entry.gradient)


@pytest.mark.parametrize(
    "op_type, case",
    [(op_type, case) for op_type in sorted(CASES) for case in CASES[op_type]],
    ids=lambda value: value if isinstance(value, str) else repr(value.args),
)
def test_in_place(op_type, case):
    expected, refused = gradients(op_type, case)
    assert refused is None and expected
    for i in range(len(case.inputs)):
        for j in range(case.outputs):
            found, refused = gradients(op_type, case, (i, j))
            if refused is None:
                assert sorted(found) == sorted(expected)
                for number, gradient in found.items():
                    np.testing.assert_array_equal(gradient, expected[number])
            elif REFUSED.search(refused):
                assert REFUSED.search(refused).groups() == (str(i), str(j))
            else:
                # Such a net does not run, with or without a gradient.
                assert SCHEMA in refused or "must not be data itself" in refused, refused


@pytest.mark.parametrize(
    "op_type, number, refuses",
    [
        ("Gate", 0, True),
        ("Highway", 0, True),
        ("MaskedSoftmax", 0, False),
        ("MaskedSoftmax", 1, True),
        ("SequenceMask", 0, False),
        ("BooleanMask", 0, False),
    ],
)
def test_what_is_taken_and_what_not(op_type, number, refuses):
    """A gradient that needs nothing of what is overwritten is not refused."""
    found, refused = gradients(op_type, CASES[op_type][number], (0, 0))
    assert (found is None) == refuses and (refused is not None) == refuses


def test_gate_that_was_wrong():
    """x = 2, z = .5: dz is x g (1 - g), and was made of y in x's stead."""
    net = core.Net("net")
    net.Copy(["x"], ["a"])
    y = net.Gate(["a", "z"], ["a"])
    with pytest.raises(Exception, match=REFUSED.pattern.replace("input_\\d", "a")):
        net.AddGradientOperators([y])
