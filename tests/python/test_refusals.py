"""Bad input: what the error says, and that nothing else has happened.

Each message names the operator, the input or argument, what was expected and what came.
"""

import numpy as np
import pytest
from caffe2.python import core, workspace

from refusals import TABLE
from refusals.rows import F, M, ints
from test_registry import ALL
from testers.operators import Case, assert_refused, assert_same, create, feed, run

pytestmark = pytest.mark.operators


@pytest.mark.parametrize(
    "op_type, case, sentence", TABLE, ids=["{0}: {2}".format(*row) for row in TABLE]
)
def test_refusal(op_type, case, sentence):
    assert_refused(op_type, case, sentence)
    # The process goes on.
    assert run("SequenceMask", np.ones((2, 2), "f"), mode="upper", fill_val=0.0).sum() == 3


def test_every_operator_refuses_something():
    assert {row.op_type for row in TABLE} == set(ALL)


@pytest.mark.parametrize(
    "op_type, case",
    [
        ("BooleanMask", Case([F, M], in_place=1)),
        ("BooleanMaskLengths", Case([ints(1, 2), M], in_place=0)),
        ("BooleanMaskJagged", Case([F, ints(1, 2), M], outputs=2, in_place=0)),
        ("BooleanUnmask", Case([M, F], in_place=1)),
        ("SequenceMask", Case([F, ints(1, 1, 1)], {"mode": "sequence"}, in_place=1)),
        ("Gate", Case([F, F], in_place=1)),
        ("MixtureGate", Case([F, F], in_place=0)),
        ("Highway", Case([F, F, F], in_place=2)),
    ]
    + [
        (op_type, Case([F] * count, {"mode": "upper"}))
        for op_type, count in [
            ("BooleanMask", 1),
            ("BooleanMask", 3),
            ("BooleanMaskLengths", 1),
            ("BooleanMaskJagged", 2),
            ("BooleanUnmask", 0),
            ("BooleanUnmaskGradient", 2),
            ("SequenceMask", 0),
            ("SequenceMask", ALL["SequenceMask"].inputs[1] + 1),
            ("MaskedSoftmax", 0),
            ("MaskedSoftmax", ALL["MaskedSoftmax"].inputs[1] + 1),
            ("MaskedAttention", 0),
            ("MaskedAttention", 2),
            ("MaskedAttention", ALL["MaskedAttention"].inputs[1] + 1),
            ("MaskedAttentionJagged", 3),
            ("MaskedAttentionJagged", ALL["MaskedAttentionJagged"].inputs[1] + 1),
        ]
    ],
    ids=lambda it: it if isinstance(it, str) else "{}, {}".format(len(it.inputs), it.in_place),
)
def test_the_schema_refuses(op_type, case):
    """The runtime's own check of numbers of inputs, and of outputs in their place."""
    op = create(op_type, case)
    feed(op.input, case.inputs)
    with pytest.raises(RuntimeError, match="(?s)did not pass schema checking.*" + op_type):
        workspace.RunOperatorOnce(op)
    for name, array in zip(op.input, case.inputs):
        assert_same(workspace.FetchBlob(name), array)


@pytest.mark.parametrize(
    "op_type, inputs, outputs, args",
    [
        ("BernoulliMask", 1, 2, {}),
        ("BooleanMask", 2, 2, {}),
        ("BooleanMaskJagged", 3, 2, {}),
        ("BooleanUnmaskGradient", 5, 2, {}),
        ("Gate", 2, 2, {}),
        ("Gate", 2, 3, {"kind": "hard_concrete"}),
        ("Gate", 2, 3, {"kind": "gumbel_softmax"}),
        ("GateGradient", 3, 2, {}),
        ("HighwayGradient", 4, 3, {}),
        ("MaskedAttention", 3, 2, {}),
        ("MaskedAttentionGradient", 6, 3, {}),
        ("MaskedAttentionJagged", 4, 2, {}),
        ("MaskedAttentionJaggedGradient", 7, 3, {}),
        ("MaskedSoftmax", 1, 2, {}),
        ("MaskedSoftmaxGradient", 3, 2, {"has_bias": 1}),
        ("MixtureGate", 2, 2, {}),
        ("MixtureGateGradient", 3, 2, {}),
    ],
)
def test_one_blob_for_two_outputs(op_type, inputs, outputs, args):
    """The second would take the memory that the first is written to."""
    names = ["input_{}".format(i) for i in range(inputs)]
    for name in names:
        workspace.FeedBlob(name, F)
    for first, second in ((0, outputs - 1), (outputs - 2, outputs - 1)):
        blobs = ["output_{}".format(i) for i in range(outputs)]
        blobs[second] = blobs[first]
        op = core.CreateOperator(op_type, names, blobs, **args)
        message = "{}: outputs must be different blobs, but {} and {} are both '{}'".format(
            op_type, first, second, blobs[first]
        )
        with pytest.raises(RuntimeError, match=message):
            workspace.RunOperatorOnce(op)


def test_a_draw_without_the_gradient_of_log_prob():
    """mask has none: to ask for it is a mistake, and said to be one."""
    op = core.CreateOperator("BernoulliMask", ["z"], ["mask", "log_prob"])
    with pytest.raises(Exception, match="Gradient of output log_prob is not provided"):
        core.GradientRegistry.GetGradientForOp(op, ["mask_grad", None])


def test_input_without_data():
    """A blob that exists but holds nothing."""
    workspace.FeedBlob("mask", M)
    workspace.CreateBlob("nothing")
    for op in (
        core.CreateOperator("BooleanMask", ["nothing", "mask"], ["output"]),
        core.CreateOperator("BooleanMask", ["mask", "nothing"], ["output"]),
        core.CreateOperator("SequenceMask", ["nothing"], ["output"], mode="upper"),
        core.CreateOperator("BooleanUnmask", ["mask", "nothing"], ["output"]),
        core.CreateOperator("BooleanMaskLengths", ["nothing", "mask"], ["output"]),
    ):
        with pytest.raises(RuntimeError):
            workspace.RunOperatorOnce(op)
    assert run("BooleanMask", F, M).shape == (2, 2)


def test_the_same_net_runs_after_its_input_was_mended():
    """An operator keeps nothing of a run that failed."""
    workspace.FeedBlob("mask", M)
    workspace.FeedBlob("values", F)
    net = core.Net("net")
    net.BooleanUnmask(["mask", "values"], ["data"], layout="compact", fill_val=0.0)
    workspace.CreateNet(net)
    with pytest.raises(RuntimeError, match="values_1 must have one row"):
        workspace.RunNet(net)
    workspace.FeedBlob("values", F[:2])
    workspace.RunNet(net)
    assert_same(workspace.FetchBlob("data"), F * M[:, None])
    # Another size of mask, too.
    workspace.FeedBlob("mask", np.arange(9000) % 2 == 0)
    workspace.FeedBlob("values", np.arange(4500, dtype="f"))
    workspace.RunNet(net)
    assert workspace.FetchBlob("data")[8998] == 4499
