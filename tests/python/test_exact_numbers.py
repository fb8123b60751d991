"""Numbers that float32 does not hold, which a net keeps as texts: exact in float64, or refused."""

import re

import numpy as np
import pytest
from caffe2.python import brew, core, workspace
from caffe2.python.model_helper import ModelHelper

from oracles import gating
from oracles.gating import softmax
from testers.operators import assert_same, run

X = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]], "float64")
Z = np.array([[0.5, -1.0, 2.0], [0.1, 0.7, -0.3]], "float64")
M = np.array([[True, False, True], [False, False, True]])
NO_NUMBERS = ["", " 1", "1 ", "1,5", "1e", "e5", "0x10", "1_0", "one", "--1", "+", ".", "1.5f"]
NO_NUMBERS += ["1e400", "-1e400", "1e-400", "infinity", "nan(1)"]
FILLS = ["1e300", "-1e-300", "0.1", "1e-50", "12345678901234.5", "inf", "-inf", "nan", "5e-324"]


@pytest.mark.parametrize("fill", FILLS)
def test_fill(fill):
    """A fill value of float64 has all the bits that Python's float has."""
    expected = np.where(M, X, float(fill))
    assert_same(run("BooleanMask", X, M, keep_shape=1, fill_val=fill), expected)
    assert_same(run("SequenceMask", X, M, mode="mask", fill_val=fill), expected)
    assert_same(run("BooleanUnmask", M, X, fill_val=fill), expected)
    triangle = np.where(np.tri(2, 3, dtype=bool), X, float(fill))
    assert_same(run("SequenceMask", X, mode="upper", fill_val=fill), triangle)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "fill",
    ["0.1", "-0.3", "1e-7", "1e-50", "inf", "-inf"]
    # By way of a float these would be halfway between two of float16.
    + [repr(1 + 2 ** -11 + 2 ** -30), repr(1 + 3 * 2 ** -11 - 2 ** -30)],
)
def test_fill_is_rounded_once(fill, dtype):
    x = X.astype(dtype)
    expected = np.where(M, x, np.float64(fill).astype(dtype))
    assert_same(run("BooleanMask", x, M, keep_shape=1, fill_val=fill), expected)


@pytest.mark.parametrize("dtype, fill", [("int64", "7"), ("uint8", "2e2"), ("bool", "1")])
def test_fill_of_integers(dtype, fill):
    x = X.astype(dtype)
    expected = np.where(M, x, np.array(float(fill)).astype(dtype))
    assert_same(run("BooleanMask", x, M, keep_shape=1, fill_val=fill), expected)


@pytest.mark.parametrize(
    "dtype, fill, told",
    [
        ("float32", "1e300", "1e\\+300"),
        ("float16", "1e300", "1e\\+300"),
        ("float16", "65520", "65520"),
        ("int32", "0.1", "0.1"),
        ("int32", 1.0000001, "1.0000001"),
        ("int32", "1.00000000000001", "1.00000000000001"),
        ("int64", "1e19", "1e\\+19"),
        ("uint8", "300", "300"),
    ],
)
def test_what_a_type_does_not_hold(dtype, fill, told):
    message = "argument fill_val is {}, which data of type {} cannot hold\\.".format(told, dtype)
    with pytest.raises(RuntimeError, match=message):
        run("BooleanMask", X.astype(dtype), M, keep_shape=1, fill_val=fill)


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize(
    "op_type, inputs, args",
    [
        ("MaskedSoftmax", [X], {"scale": None}),
        ("MaskedAttention", [X[None, None]] * 3, {"softcap": None}),
        ("Gate", [X, Z], {"kind": "hard", "clip": None}),
        ("RandomMask", [X], {"p": None}),
        ("SequenceMask", [X], {"mode": "upper", "fill_val": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_number(op_type, inputs, args, text):
    (name,) = [name for name, value in args.items() if value is None]
    message = "{}: argument {} must be a number, but is the string '{}'\\.".format(
        op_type, name, re.escape(text)
    )
    with pytest.raises(RuntimeError, match=message):
        run(op_type, *inputs, **{key: text if key == name else args[key] for key in args})


@pytest.mark.parametrize("text", ["1", "+1", "1.", "1.0", "01", "10e-1", "1E0", ".1e1"])
def test_how_a_number_is_written(text):
    expected = run("MaskedSoftmax", X, scale=1.0)
    assert_same(run("MaskedSoftmax", X, scale=text), expected)


def test_scale():
    expected = softmax(0.1 * X)
    np.testing.assert_allclose(run("MaskedSoftmax", X, scale="0.1"), expected, rtol=1e-15)
    # What a float argument makes of it.
    assert np.abs(run("MaskedSoftmax", X, scale=0.1) - expected).max() > 1e-10
    actual = run("MaskedSoftmax", X * 1e50, scale="1e-50")
    np.testing.assert_allclose(actual, softmax(X), rtol=1e-15)


def test_scale_and_softcap_of_attention():
    q = X[None, None]
    scores = 0.1 * (X @ X.T)
    for args, scores in (
        ({"scale": 0.1}, scores),
        ({"scale": 0.1, "softcap": 0.3}, 0.3 * np.tanh(scores / 0.3)),
    ):
        expected = (softmax(scores) @ X)[None, None]
        texts = {name: repr(value) for name, value in args.items()}
        actual = run("MaskedAttention", q, q, q, **texts)
        np.testing.assert_allclose(actual, expected, rtol=1e-14)
        assert np.abs(run("MaskedAttention", q, q, q, **args) - expected).max() > 1e-11


@pytest.mark.parametrize("name", ["scale", "softcap"])
@pytest.mark.parametrize("text, told", [("1e300", "1e\\+300"), ("1e-50", "1e-50")])
def test_what_is_computed_in_does_not_hold(name, text, told):
    """float32 and 16-bit types are computed in float32, where one would be infinite or 0."""
    for dtype in ("float16", "float32"):
        q = X.astype(dtype)
        message = "argument {} is {}, which float32 cannot hold\\.".format(name, told)
        with pytest.raises(RuntimeError, match="MaskedAttention: " + message):
            run("MaskedAttention", *[q[None, None]] * 3, **{name: text})
        if name == "scale":
            with pytest.raises(RuntimeError, match="MaskedSoftmax: " + message):
                run("MaskedSoftmax", q, scale=text)
            with pytest.raises(RuntimeError, match="MaskedSoftmaxGradient: " + message):
                run("MaskedSoftmaxGradient", q, q, scale=text)


def test_gates():
    args = dict(kind="hard_concrete", is_test=1, gamma=-0.3, zeta=1.7)
    s = gating.sigmoid(Z)
    expected = X * np.clip(s * (1.7 - -0.3) + -0.3, 0, 1)
    actual = run("Gate", X, Z, **dict(args, gamma="-0.3", zeta="1.7"))
    np.testing.assert_allclose(actual, expected, rtol=1e-15)
    assert np.abs(run("Gate", X, Z, **args) - expected).max() > 1e-10
    soft = run("Gate", X, Z, kind="softmax", tau="0.3")
    np.testing.assert_allclose(soft, X * gating.softmax(Z / 0.3), rtol=1e-13)
    assert np.abs(run("Gate", X, Z, kind="softmax", tau=0.3) - soft).max() > 1e-10
    with pytest.raises(RuntimeError, match="Gate: argument tau is .*, which float32 cannot hold"):
        run("Gate", X, Z, kind="softmax", tau="1e-50")
    for name, value in (("beta", "1e-50"), ("beta", "1e39"), ("gamma", "-1e-50"), ("zeta", "1e39")):
        message = "Gate: argument {} is .*, which float32 cannot hold".format(name)
        with pytest.raises(RuntimeError, match=message):
            run("Gate", X, Z, kind="hard_concrete", **{name: value})


def test_clip_is_between_two_floats():
    """z is beyond the nearest float of clip, and not beyond clip."""
    z = np.array([0.1], "float64")
    x = np.ones(1)
    for clip, slope in (("0.1", True), ("0.09999999999999999", False)):
        d_z = workspace_gradient("GateGradient", [x, z, x], 2, kind="hard", clip=clip)[1]
        assert (d_z != 0).all() == slope


def workspace_gradient(op_type, inputs, outputs, **args):
    names = ["in_{}".format(i) for i in range(len(inputs))]
    for name, array in zip(names, inputs):
        workspace.FeedBlob(name, array)
    made = ["out_{}".format(i) for i in range(outputs)]
    workspace.RunOperatorOnce(core.CreateOperator(op_type, names, made, **args))
    return [workspace.FetchBlob(name) for name in made]


def test_a_number_and_its_text_draw_the_same():
    option = core.DeviceOption(0, random_seed=3)
    x = np.zeros((50, 40), "float32")
    for p in (0.25, 0.5):
        args = dict(device_option=option)
        assert_same(run("RandomMask", x, p=repr(p), **args), run("RandomMask", x, p=p, **args))
    assert run("RandomMask", x, p="1e-300").all()


def argument(net, op_type, name):
    (op,) = [op for op in net.Proto().op if op.type == op_type]
    (found,) = [arg for arg in op.arg if arg.name == name]
    return found


def test_layers_pass_a_text_where_it_is_needed():
    model = ModelHelper(name="model")
    workspace.FeedBlob("x", X)
    brew.masked_softmax(model, "x", "y", scale=0.1)
    assert argument(model.net, "MaskedSoftmax", "scale").s == b"0.1"
    workspace.RunNetOnce(model.net)
    np.testing.assert_allclose(workspace.FetchBlob("y"), softmax(0.1 * X), rtol=1e-15)


@pytest.mark.parametrize("value", [0.5, 1.0, float("inf"), float("-inf"), float("nan"), -0.0])
def test_layers_pass_a_float_where_it_will_do(value):
    model = ModelHelper(name="model")
    brew.masked_softmax(model, "x", "y", scale=value)
    found = argument(model.net, "MaskedSoftmax", "scale")
    assert found.HasField("f") and repr(found.f) == repr(value)


def test_layers_with_a_text_give_what_float_gives_float32():
    """float32 is computed with the float nearest to the number, as it was."""
    workspace.FeedBlob("x", X.astype("float32"))
    model = ModelHelper(name="model")
    brew.masked_softmax(model, "x", "y", scale=0.1)
    workspace.RunNetOnce(model.net)
    assert_same(workspace.FetchBlob("y"), run("MaskedSoftmax", X.astype("float32"), scale=0.1))


def test_a_float_is_gone_before_an_operator_sees_it():
    """What docs/migration.md says of core.CreateOperator."""
    op = core.CreateOperator("SequenceMask", ["x"], ["y"], mode="upper", fill_val=1e300)
    (found,) = [arg.f for arg in op.arg if arg.name == "fill_val"]
    assert found == np.inf
    op = core.CreateOperator("MaskedSoftmax", ["x"], ["y"], scale=1e-50)
    assert [arg.f for arg in op.arg] == [0.0]


def test_texts_pass_through_gradients_and_files(tmp_path):
    net = core.Net("net")
    workspace.FeedBlob("x", X)
    y = net.MaskedSoftmax("x", "y", scale="0.1")
    net.AddGradientOperators({y: net.Copy("x", "d_y")})
    read = core.Net("read")
    read.Proto().ParseFromString(net.Proto().SerializeToString())
    workspace.RunNetOnce(read)
    y = workspace.FetchBlob("y")
    expected = 0.1 * y * (X - (X * y).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(workspace.FetchBlob("x_grad"), expected, rtol=1e-14)
