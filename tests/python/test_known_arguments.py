"""An argument that an operator does not have is an error, and the schema has all that it has."""

import re

import numpy as np
import pytest
from caffe2.python import brew, core, workspace
from caffe2.python.model_helper import ModelHelper

from testers.operators import Case, assert_same, create, gradients, run, run_case
from test_in_place import CASES
from test_registry import ALL, OWN

F = np.ones((3, 2), "float32")
MASK = np.array([True, False, True])

# The gradient operator of a stock name takes what that has taken.
LENIENT = ["BooleanUnmaskGradient"]
STRICT = sorted(set(OWN) - set(LENIENT))


def schema(name):
    return [argument.name for argument in workspace.C.OpSchema.get(name).args]


def known(name):
    """Arguments of an operator, and of one that it is the gradient of, as its maker copies them."""
    of = name[: -len("Gradient")] if name.endswith("Gradient") else None
    return schema(name) + [one for one in (schema(of) if of else []) if one not in schema(name)]


def error_of(name, **args):
    """What the operator says of its arguments, which come before its inputs."""
    entry = ALL[name]
    inputs = ["x_{}".format(i) for i in range(entry.inputs[0])]
    outputs = ["y_{}".format(i) for i in range(entry.outputs[0])]
    for blob in inputs:
        workspace.FeedBlob(blob, F)
    with pytest.raises(RuntimeError) as error:
        workspace.RunOperatorOnce(core.CreateOperator(name, inputs, outputs, **args))
    return str(error.value)


@pytest.mark.parametrize("name", STRICT)
def test_an_argument_that_is_not_there(name):
    told = error_of(name, zzz=1)
    if known(name):
        listed = "{}: it has no argument 'zzz'; the nearest is '(.*)', of {}\\.".format(
            name, ", ".join(known(name))
        )
        assert re.search(listed, told).group(1) in known(name)
    else:
        assert "{}: it has no argument 'zzz', nor any other.".format(name) in told


@pytest.mark.parametrize(
    "name, given, nearest",
    [
        ("MaskedAttention", "mod", "mode"),
        ("MaskedAttention", "has_mas", "has_mask"),
        ("MaskedAttention", "Scale", "scale"),
        ("MaskedAttentionGradient", "has_d_lsee", "has_d_lse"),
        ("MaskedAttentionJagged", "has_key_length", "has_key_lengths"),
        ("MaskedAttentionJaggedGradient", "has_key_length", "has_key_lengths"),
        ("MaskedSoftmax", "emptyrow", "empty_row"),
        ("MaskedSoftmaxGradient", "window_lef", "window_left"),
        ("Gate", "knd", "kind"),
        ("GateGradient", "zetta", "zeta"),
        ("MixtureGate", "topk", "top_k"),
        ("RandomMask", "prob", "p"),
        ("RandomMask", "span", "span_length"),
    ],
)
def test_the_nearest_is_named(name, given, nearest):
    assert "{}: it has no argument '{}'; the nearest is '{}'".format(
        name, given, nearest
    ) in error_of(name, **{given: 1})


def test_it_comes_before_what_it_has_led_to():
    """Here mode is missing, and so lengths are too many; the misspelling is what is wrong."""
    assert "has no argument 'mod'" in error_of("MaskedSoftmax", mod="sequence", scale="x")


@pytest.mark.parametrize("name", sorted(set(CASES) & set(STRICT)))
def test_what_caffe2_adds(name):
    """ModelHelper and transformations give these to operators of all kinds."""
    case = CASES[name][0]
    added = dict(
        order="NCHW",
        use_cudnn=1,
        cudnn_exhaustive_search=0,
        ws_nbytes_limit=1 << 20,
        is_test=0,
        net_pos=3,
    )
    more = case._replace(args=dict(case.args, **added))
    option = core.DeviceOption(0, random_seed=1)
    expected = run_case(name, case, device_option=option)
    for actual, wanted in zip(run_case(name, more, device_option=option), expected):
        assert_same(actual, wanted)


def test_a_helper_that_passes_all_on():
    def softmax_of_kept(model, blob_in, blob_out, **kwargs):
        return model.net.MaskedSoftmax(blob_in, blob_out, **kwargs)

    brew.Register(softmax_of_kept)
    workspace.FeedBlob("x", F)
    model = ModelHelper(name="model", arg_scope={"order": "NHWC"})
    brew.softmax_of_kept(model, "x", "y", mode="upper")
    workspace.RunNetOnce(model.net)
    np.testing.assert_allclose(workspace.FetchBlob("y"), [[1, 0], [0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(
    "name, case",
    [
        ("BooleanMask", Case([F, MASK], {}, 2)),
        ("BooleanMaskLengths", Case([np.array([1, 2], "int32"), MASK])),
        ("BooleanUnmask", Case([MASK, F], {"layout": "dense", "fill_val": 0.0})),
        ("SequenceMask", Case([F], {"mode": "upper"})),
    ],
)
def test_stock_names_have_any(name, case):
    """Nets of theirs ran before, and so do their gradients."""
    more = case._replace(args=dict(case.args, zzz=1, mod="lower"))
    expected = run_case(name, case)
    for actual, wanted in zip(run_case(name, more), expected):
        assert_same(actual, wanted)
    if ALL[name].gradient:
        expected_grads = gradients(name, case, [np.ones_like(expected[0])])
        for i, grad in gradients(name, more, [np.ones_like(expected[0])]).items():
            assert_same(grad, expected_grads[i])


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_gradient_has_all_that_is_copied(name):
    """Arguments of each operator reach its gradient operator, which must not refuse them."""
    for case in CASES[name]:
        op = create(name, case, device_option=core.DeviceOption(0, random_seed=1))
        grad_ops, _ = core.GradientRegistry.GetGradientForOp(op, ["d_" + o for o in op.output])
        for grad_op in grad_ops:
            if grad_op.type in STRICT:
                assert set(argument.name for argument in grad_op.arg) <= set(known(grad_op.type))


def blobs(kind, count):
    return ["{}_{}".format(kind, i) for i in range(count)]


def own_arguments(name):
    return [(name, argument) for argument in schema(name)]


@pytest.mark.parametrize("name, argument", sum(map(own_arguments, sorted(ALL)), []))
def test_what_the_schema_has_is_read(name, argument):
    """A list is none of an int, a number or a text, and whoever reads the argument says so."""
    entry = ALL[name]
    for blob in blobs("input", max(2, entry.inputs[0])):
        workspace.FeedBlob(blob, F)
    others = {"kind": "gumbel_softmax"} if argument == "is_test" else {}
    op = core.CreateOperator(
        name,
        blobs("input", max(2, entry.inputs[0])),
        blobs("output", entry.outputs[0]),
        **dict(others, **{argument: [1, 2]})
    )
    expected = "{}: argument {} must be .*, but is a list or a message".format(name, argument)
    with pytest.raises(RuntimeError, match=expected):
        workspace.RunOperatorOnce(op)


def test_what_was_run_without_effect():
    q = np.ones((1, 1, 2, 2), "float32")
    with pytest.raises(RuntimeError, match="MaskedAttention: it has no argument 'is_causal'"):
        run("MaskedAttention", q, q, q, is_causal=1)
