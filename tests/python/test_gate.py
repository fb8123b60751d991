"""Gate and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, workspace
from hypothesis import given

from oracles import gating
from testers.arrays import BROADCASTS, broadcast_shapes, normals, shapes, some_reals
from testers.operators import REALS, Case, assert_same, create, gradients, run, run_case, run_seeded
from testers.reals import TOLERANCE, RealOperatorTests, assert_gradients, assert_same_sequence
from testers.threads import same_for_any_threads

pytestmark = pytest.mark.operators

KINDS = ("sigmoid", "tanh", "softmax", "relu", "hard", "hard_concrete", "gumbel_softmax")
NOISY = ("hard_concrete", "gumbel_softmax")
SOFTMAXES = ("softmax", "gumbel_softmax")
MASKING = ("relu", "hard", "hard_concrete")


class TestGate(RealOperatorTests):
    op_type = "Gate"
    reference = staticmethod(gating.gate)
    empty = (
        Case([np.zeros((0, 3), "f"), np.zeros((0, 3), "f")]),
        Case([np.zeros((0, 3), "f"), np.zeros((1, 3), "f")]),
        Case([np.zeros((0, 3), "f"), np.zeros((1, 3), "f")], {}, 2),
        Case([np.zeros((0, 3), "f"), np.zeros((1, 3), "f")], {"kind": "softmax"}, 2),
        Case([np.zeros((3, 0), "f"), np.zeros((3, 1), "f")], {"kind": "tanh"}, 2),
        Case([np.zeros((3, 0), "f"), np.zeros((3, 0), "f")], {"kind": "softmax"}, 2),
        Case([np.zeros((2, 0), "f"), np.zeros((2, 0), "f"), np.ones((), "f")], {"kind": "relu"}),
        Case([np.zeros((0, 2), "f"), np.ones(2, "f"), np.ones(2, "f")], {"kind": "relu"}, 2),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        shape = draw(shapes(0, 4))
        args = {"kind": draw(st.sampled_from([k for k in KINDS if not (finite and k == "hard")]))}
        if args["kind"] in NOISY:
            args["is_test"] = 1
        if args["kind"] in SOFTMAXES:
            args.update(draw(st.sampled_from([{}, {"tau": 0.5}, {"tau": 3, "hard": 0}])))
            if not finite:
                args.update(draw(st.sampled_from([{}, {"hard": 1}])))
        if args["kind"] == "hard_concrete":
            args.update(draw(st.sampled_from([{}, {"gamma": -0.5, "zeta": 1.25}])))
        z_shape = draw(broadcast_shapes(shape))
        inputs = [draw(normals(dtype, shape)), draw(normals(dtype, z_shape, 1))]
        if args["kind"] == "relu" and draw(st.booleans()):
            inputs.append(draw(normals(dtype, draw(broadcast_shapes(z_shape)), 2)))
        in_place = draw(st.sampled_from([None, 0]))
        return Case(inputs, args, 2 if finite else draw(st.integers(1, 2)), in_place)

    def inputs_with_gradient(self, case):
        return list(range(len(case.inputs)))

    @pytest.mark.parametrize("x_shape, z_shape", BROADCASTS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_broadcast(self, kind, x_shape, z_shape):
        args = {"kind": kind, "is_test": 1}
        rows = z_shape[:-1] + (1,) if z_shape else ()
        thresholds = [z_shape, (), z_shape[-1:], rows] if kind == "relu" else [None]
        for threshold in thresholds:
            sizes = (x_shape, z_shape) + (() if threshold is None else (threshold,))
            for dtype in REALS:
                self.check(Case(some_reals(dtype, *sizes), args, 2))
            if kind != "hard":
                self.check_gradient(Case(some_reals("float64", *sizes), args, 2))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_hard_is_straight_through(shape, clip):
    """Its gradient to Z is that of a sigmoid gate; clip cuts it off, and nothing else."""
    random = np.random.RandomState(1)
    x, d_y = random.randn(2, 2, 3)
    z = np.asarray(2 * random.standard_normal(shape))
    args = {"kind": "hard", "clip": clip} if clip else {"kind": "hard"}
    hard = gradients("Gate", Case([x, z], args), [d_y])
    soft = gradients("Gate", Case([x, z], {}), [d_y])
    expected = soft[1] * (np.abs(z) <= clip) if clip else soft[1]
    np.testing.assert_allclose(hard[1], expected, rtol=1e-12)
    np.testing.assert_array_equal(hard[0], np.where(z > 0, d_y, 0))


def concrete(x, z, outputs=3, **args):
    return Case([x, z], dict(args, kind="hard_concrete"), outputs)


class TestHardConcrete(object):
    @pytest.mark.parametrize("z_shape", [(2, 3), (2, 1), (3,), ()])
    def test_gradient_by_the_same_noise(self, z_shape):
        """Differences of the forward pass under one seed are what the gradient must be."""
        random = np.random.RandomState(3)
        case = concrete(random.randn(2, 3), np.asarray(random.standard_normal(z_shape)))
        _, g, noise = run_seeded("Gate", case, 5)
        assert_same(noise, np.array([5, 0]))
        d_y, d_g = random.randn(2, 3), np.asarray(random.standard_normal(z_shape))
        assert_gradients("Gate", case, [d_y, d_g, None], [0, 1], seed=5)
        assert_gradients("Gate", case, [d_y, None, None], [0, 1], seed=5)

    def test_gradient_of_each_run_of_a_net(self):
        """The net draws anew, and its gradient operator what the forward one has just drawn."""
        random = np.random.RandomState(4)
        x, z = random.randn(4, 5), random.randn(4, 5)
        net = core.Net("net")
        net.Gate(["x", "z"], ["y", "g", "noise"], kind="hard_concrete")
        grads = net.AddGradientOperators({"y": "x"})
        workspace.FeedBlob("x", x)
        workspace.FeedBlob("z", z)
        workspace.CreateNet(net)
        seen = []
        for run_number in range(3):
            workspace.RunNet(net)
            g, noise = workspace.FetchBlob("g"), workspace.FetchBlob("noise")
            assert noise[1] == run_number
            # Where g is neither 0 nor 1 it tells s, and that tells the gradient.
            s = (g + 0.1) / 1.2
            slope = np.where((g > 0) & (g < 1), 1.2 * s * (1 - s) * 1.5, 0)
            np.testing.assert_allclose(
                workspace.FetchBlob(grads["z"]), x * x * slope, rtol=1e-6, atol=1e-7
            )
            seen.append(g.tobytes())
        assert len(set(seen)) == 3

    @pytest.mark.parametrize("z", [-3.0, -1.0, 0.0, 2.5])
    @pytest.mark.parametrize("args", [{}, {"beta": 0.4, "gamma": -0.3, "zeta": 1.5}])
    def test_expected_l0(self, z, args):
        """As Louizos et al. have it, within 5 standard errors."""
        count = 400000
        g = run_seeded("Gate", concrete(np.ones(count, "f"), np.full(count, z, "f"), **args), 1)[1]
        beta, gamma, zeta = (
            args.get(name, default)
            for name, default in [("beta", 2 / 3), ("gamma", -0.1), ("zeta", 1.1)]
        )
        p = gating.sigmoid(z - beta * np.log(-gamma / zeta))
        assert abs((g != 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / count)
        one = gating.sigmoid(z - beta * np.log((1 - gamma) / (zeta - 1)))
        assert abs((g == 1).mean() - one) < 5 * np.sqrt(one * (1 - one) / count) + 1e-6

    def test_types_draw_the_same(self):
        z = np.linspace(-2, 2, 100)
        single = run_seeded("Gate", concrete(np.ones(100, "f"), z.astype("f")), 9)[1]
        double = run_seeded("Gate", concrete(np.ones(100), z), 9)[1]
        half = run_seeded("Gate", concrete(np.ones(100, "f2"), z.astype("f2")), 9)[1]
        np.testing.assert_allclose(single, double, atol=1e-6)
        np.testing.assert_allclose(half, double, atol=2e-3)

    def test_sequence(self):
        assert_same_sequence("Gate", {"kind": "hard_concrete"}, outputs=2, output=1)

    def test_is_test_is_deterministic(self):
        z = np.array([-1000, -1, 0, 1, 1000], "f")
        case = concrete(np.ones_like(z), z, is_test=1)
        y, g, noise = run_case("Gate", case)
        np.testing.assert_allclose(g, gating.gate(z, z, **case.args)[1], rtol=1e-6)
        assert_same(noise, np.zeros(2, "int64"))
        assert gradients("Gate", case, [z, None, None])[1][[0, 4]].tolist() == [0, 0]

    def test_stretched_as_far_as_floats_reach(self):
        z = np.array([-200, -104.5, -90, 0, 90], "f")
        args = {"gamma": -1.7e38, "zeta": 1.7e38, "is_test": 1}
        g = run_case("Gate", concrete(np.ones_like(z), z, **args))[1]
        assert_same(g, np.array([0, 0, 0, 0, 1], "f"))

    def test_gradient_needs_the_noise(self):
        op = create("Gate", concrete(None, None, outputs=2))
        with pytest.raises(Exception, match="needs the 3 outputs Y, G and noise, but there are 2"):
            core.GradientRegistry.GetGradientForOp(op, ["output_0_grad", None])


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("kind", KINDS)
def test_saturated_gates_have_finite_gradients(kind, dtype):
    z = np.array([[-1000, 1000, -60, 60], [-20, 20, 0, -1000]], dtype)
    inputs = [np.full((2, 4), 3, dtype), z] + ([np.zeros(1, dtype)] if kind == "relu" else [])
    noisy = kind in NOISY
    case = Case(inputs, {"kind": kind}, 3 if noisy else 2)
    d_outputs = [inputs[0], inputs[0]] + ([None] if noisy else [])
    for grad in gradients("Gate", case, d_outputs).values():
        assert np.isfinite(grad).all()


def test_gradient_keeps_the_small_numbers_of_saturation():
    """1 - g is 0 at Z = 30 in float32; the derivative is not."""
    z = np.array([-30, 30], "f")
    ones = np.ones(2, "f")
    for kind, slope in (("sigmoid", np.exp(-30.0)), ("tanh", 4 * np.exp(-60.0))):
        grads = gradients("Gate", Case([ones, z], {"kind": kind}), [ones])
        np.testing.assert_allclose(grads[1], [slope, slope], rtol=1e-5)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("kind", MASKING)
def test_masked_values_go_nowhere(kind, dtype):
    x = np.array([[np.nan, np.inf, -np.inf], [1, np.nan, 3]], dtype)
    z = np.array([[-90], [90]], dtype)
    threshold = [np.array(89, dtype)] if kind == "relu" else []
    output = run("Gate", x, z, *threshold, kind=kind)
    assert_same(output, np.array([[0, 0, 0], [1, np.nan, 3]], dtype))


def test_soft_gates_multiply():
    x = np.array([np.inf, np.nan, 1], "f")
    z = np.array([-1000, -1000, -1000], "f")
    np.testing.assert_array_equal(run("Gate", x, z), [np.nan, np.nan, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_z(kind):
    threshold = [np.zeros((), "f")] if kind == "relu" else []
    output = run("Gate", np.ones(1, "f"), np.full(1, np.nan, "f"), *threshold, kind=kind)
    assert np.isnan(output[0]) or (kind == "hard" and output[0] == 0)


def test_threshold_is_learned():
    """Gates of [-2, 2] where only Z > 1 should pass: descent finds a threshold there."""
    z = np.linspace(-2, 2, 81)
    target = np.maximum(0, z - 1)
    threshold = np.zeros(1)
    for _ in range(300):
        case = Case([np.ones(81), z, threshold], {"kind": "relu"})
        error = run_case("Gate", case)[0] - target
        threshold = threshold - 0.02 * gradients("Gate", case, [error])[2]
    assert abs(threshold[0] - 1) < 1e-3


def relu_gradients(x, z, threshold, d_y):
    """Of float16 arrays, to X, Z and the threshold."""
    inputs = [np.asarray(array, "float16") for array in (x, z, threshold, d_y)]
    return run_case("GateGradient", Case(inputs, {"kind": "relu"}, 3))


@pytest.mark.parametrize("x_shape, z_shape", [((100000,), (100000,)), ((50000, 2), (50000, 1))])
def test_threshold_sums_what_is_too_small_for_z(x_shape, z_shape):
    """Each product is less than half of the least float16."""
    small = np.full(x_shape, 1e-4, "float16")
    _, d_z, d_threshold = relu_gradients(small, np.ones(z_shape), np.zeros(1), small)
    exact = -1e5 * float(small.flat[0]) ** 2
    np.testing.assert_allclose(d_threshold, [exact], rtol=2e-3)
    if x_shape == z_shape:
        assert not d_z.any()


def test_threshold_sums_what_is_too_large_for_z():
    d_z, d_threshold = relu_gradients([300] * 2, [1] * 2, [0], [300, -300])[1:]
    np.testing.assert_array_equal(d_z, [np.inf, -np.inf])
    assert_same(d_threshold, np.zeros(1, "float16"))


@pytest.mark.parametrize("z_shape", [(700, 300), (700, 1)])
def test_threads_of_a_threshold(z_shape):
    random = np.random.RandomState(1)
    x, d_y = random.randn(2, 700, 300)
    z = 1 + random.standard_normal(z_shape)
    shapes_of_threshold = [(1,), z_shape[-1:], (700, 1)]
    same_for_any_threads(
        lambda: [relu_gradients(x, z, np.zeros(one), d_y)[2] for one in shapes_of_threshold],
    )


@pytest.mark.parametrize("z_shape", [(700, 300), (700, 1), (300,), (1,), ()])
def test_threads(z_shape):
    random = np.random.RandomState(1)
    x, d_y = random.randn(2, 700, 300).astype("f")
    z = random.standard_normal(z_shape).astype("f")

    def everything():
        arrays = []
        for kind in ("sigmoid", "softmax", "hard_concrete", "gumbel_softmax", "hard_gumbel"):
            args = {"kind": kind}
            if kind == "hard_gumbel":
                args = {"kind": "gumbel_softmax", "hard": 1, "tau": 0.5}
            case = Case([x, z], args, 3 if args["kind"] in NOISY else 2)
            arrays += run_seeded("Gate", case, 3)
            d_outputs = [d_y, z] + [None] * (case.outputs - 2)
            arrays += list(gradients("Gate", case, d_outputs, 3).values())
        return arrays

    same_for_any_threads(everything)


@given(data=st.data())
def test_without_g_the_result_is_the_same(data):
    case = data.draw(TestGate.cases("float16"))
    single = run_case("Gate", case._replace(outputs=1))
    both = run_case("Gate", case._replace(outputs=2))
    assert_same(single[0], both[0])


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("x_shape, z_shape", BROADCASTS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_g_alone(kind, x_shape, z_shape, dtype):
    """As with a gradient of Y that is 0; but what X holds, NaN too, does not count."""
    x, z = some_reals(dtype, x_shape, z_shape)
    d_g = np.cos(np.arange(z.size)).reshape(z_shape).astype(dtype)
    inputs = [x, z] + ([np.array(0.25, dtype)] if kind == "relu" else [])
    case = Case(inputs, {"kind": kind}, 3 if kind in NOISY else 2)
    rest = [None] * (case.outputs - 2)
    expected = gradients("Gate", case, [np.zeros_like(x), d_g] + rest)
    unread = case._replace(inputs=[np.full_like(x, np.nan)] + inputs[1:])
    actual = gradients("Gate", unread, [None, d_g] + rest)
    assert sorted(actual) == sorted(expected)
    assert_same(actual[0], np.zeros_like(x))
    for i in sorted(expected)[1:]:
        assert actual[i].dtype == expected[i].dtype
        # A softmax that is broadcast adds up in float64.
        bound = TOLERANCE[dtype] if kind in SOFTMAXES else 0
        np.testing.assert_allclose(actual[i], expected[i], rtol=bound, atol=bound)
    assert kind not in ("sigmoid", "tanh", "hard") or np.abs(actual[1]).max() > 0


def test_gradient_of_g_alone_in_a_net():
    workspace.FeedBlob("x", np.array([[2, 3]], "f"))
    workspace.FeedBlob("z", np.array([[0.5]], "f"))
    net = core.Net("net")
    _, g = net.Gate(["x", "z"], ["y", "g"])
    net.AddGradientOperators([net.Sqr(g, "square")])
    workspace.RunNetOnce(net)
    s = gating.sigmoid(0.5)
    np.testing.assert_allclose(workspace.FetchBlob("z_grad"), [[2 * s * s * (1 - s)]], rtol=1e-6)
    np.testing.assert_array_equal(workspace.FetchBlob("x_grad"), [[0, 0]])


def test_a_gradient_of_the_noise_is_none():
    op = core.CreateOperator("Gate", ["x", "z"], ["y", "g", "noise"], kind="hard_concrete")
    with pytest.raises(Exception, match="Gate: there must be a gradient of an output, but there is"):
        core.GradientRegistry.GetGradientForOp(op, [None, None, "d_noise"])


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("x_shape, z_shape", BROADCASTS)
def test_relu_without_a_threshold(x_shape, z_shape, dtype):
    """Is that with one of 0, to the bit."""
    x, z = some_reals(dtype, x_shape, z_shape)
    d_y = np.cos(np.arange(x.size)).reshape(x_shape).astype(dtype)
    without = Case([x, z], {"kind": "relu"}, 2)
    zero = Case([x, z, np.zeros((), dtype)], {"kind": "relu"}, 2)
    for actual, expected in zip(run_case("Gate", without), run_case("Gate", zero)):
        assert_same(actual, expected)
    expected = gradients("Gate", zero, [d_y, z])
    actual = gradients("Gate", without, [d_y, z])
    assert sorted(actual) == [0, 1]
    for i in actual:
        assert_same(actual[i], expected[i])
    assert_same(gradients("Gate", without, [None, z])[1], gradients("Gate", zero, [None, z])[1])
